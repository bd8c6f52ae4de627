"""The deep doctor: it passes what is sound, fails what is not, and runs from the command line."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import scipy.stats

from dlkit.bench.analysis import pairs, ranking
from dlkit.bench.cli import app
from dlkit.bench.execution import deep_doctor
from dlkit.bench.execution.deep_doctor import SIMULATED, Case, least, most, simulated
from dlkit.bench.execution.self_deceptions import TRAINED
from dlkit.bench.execution.simulation import World
from dlkit.bench.machine import doctor
from dlkit.bench.machine.doctor import Check
from dlkit.bench.training.curve import Request

CASES: Mapping[str, Case] = {case.subject: case for case in SIMULATED}
PLANTED = CASES["a planted difference of 2 sd"]


def test_limits_are_those_of_binomial_counts() -> None:
    for repeats in (10, 60, 400):
        limit = most(repeats)
        assert scipy.stats.binomtest(limit + 1, repeats, 0.05, alternative="greater").pvalue < 1e-3
        assert scipy.stats.binomtest(limit, repeats, 0.05, alternative="greater").pvalue > 1e-3
        assert least(repeats) == repeats - limit  # a power of 95 % misses in 5 %


@pytest.mark.long
@pytest.mark.parametrize("case", SIMULATED, ids=list(CASES))
def test_every_sentence_holds_what_it_promises(case: Case) -> None:
    check = simulated(case, 15)
    assert check.right, check


def test_a_planted_difference_is_missed_where_there_is_none() -> None:
    check = simulated(PLANTED._replace(world=World()), 8)
    assert check.right is False and check.text.startswith("found in 0 of 8"), check


def test_a_bench_that_claims_too_much_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test at 60 % instead of 5 % calls most equals different."""
    monkeypatch.setattr(pairs, "ALPHA", 0.6)
    check = simulated(CASES["an optimizer against itself, 1 hyperparameters"], 15)
    assert check.right is False, check


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_nobody_is_deceived(name: str) -> None:
    check = TRAINED[name]()
    assert check.right, check


@pytest.mark.slow
@pytest.mark.parametrize("name", ["never stopped", "meaningless labels"])
def test_where_the_examples_that_select_also_judge_something_would_be_claimed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cases can fail: with final curves on validation, and no test on new examples, someone is said to be ahead."""
    monkeypatch.setattr(Request, "is_judged", property(lambda request: False))
    monkeypatch.setattr(ranking, "on_new_examples", lambda *scores, **settings: {})
    check = TRAINED[name]()
    assert check.right is None and "before" in check.text, check


def test_the_command_runs_it_when_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def examined(*, repeats: int) -> Any:
        asked.append(repeats)
        return iter([Check("truth", "wrong", False)])

    monkeypatch.setattr(doctor, "examine", lambda: iter([Check("machine", "fine", True)]))
    monkeypatch.setattr(deep_doctor, "examine_deeply", examined)
    assert app(["doctor"], result_action="return_value") == 0 and not asked
    assert app(["doctor", "--deep", "--repeats", "7"], result_action="return_value") != 0 and asked == [7]
    assert capsys.readouterr().out.splitlines()[-1] == "WRONG truth: wrong"


def test_nothing_is_right_about_zero_repetitions() -> None:
    with pytest.raises(Exception, match="at least 1"):
        app(["doctor", "--deep", "--repeats", "0"], result_action="return_value", exit_on_error=False)


def test_the_worlds_of_equals_have_nothing_to_find() -> None:
    for case in SIMULATED:
        alike = case.world.shuffled or not (case.world.advantage or case.world.late)
        assert alike != case.is_planted
    assert replace(PLANTED.world, advantage=0.0) == World()
