"""Seeds added until settled: when that ends, who gets them, runs taken up again, and how often equals are told apart.

Trials are drawn, not trained; all else is the real run.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.settled_runs import EQUALS, Drawing, Drawn, Setting, bound_plan_of_names, judged, rates, settled
from dlkit.bench.analysis import frames, settling
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.progress import Silent, added_seeds
from dlkit.bench.execution.work import failed
from dlkit.bench.plan.json import from_data, from_json, to_data, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.spec.planner import BoundPlan
from dlkit.bench.stats import Settlement, confidence_sequence, evidence, settle
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from tests.bench.synthetic import fill, make_plan, make_problem, make_summary

RULE = "by a rule that holds at any time (level 5%)"


class Told(Silent):
    """Keeps the lines about added seeds."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def adding(self, seeds: settling.AddedSeeds) -> None:
        self.lines.append(added_seeds(seeds))


def seeds_of(comparison: Comparison) -> dict[str, int]:
    return {result.label: len(result.scores) for result in comparison.results}


# --- when it ends ----------------------------------------------------------------------------------------------------


def test_a_clear_winner_ends_it_early() -> None:
    setting = Setting(gap=20.0, seeds=3)
    told = Told()
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0), progress=told)
    assert told.lines == ["quadratic: 3 seeds, not settled; adding 5"]
    assert seeds_of(found) == {"name 0": 8, "name 1": 8}
    assert (found.verdict.kind, found.verdict.best) == ("winner", ("name 0",))
    scores = np.array([result.scores for result in found.results])
    decided = settle(scores)
    assert decided.decision == "best" and found.verdict.sentence.endswith(
        f"Settled at n = {decided.seeds} seeds {RULE}."
    )


def test_equals_end_at_the_maximum_with_the_trials_of_a_plan_of_so_many() -> None:
    setting = Setting(max_seeds=17)
    told, study, drawing = Told(), bound_plan_of_names(setting), Drawing(setting, 0)
    with Store(None) as store:
        runner.run(study, store, lambda: Drawn(drawing), told)
        found, ids = summarize(store).comparisons[0], store.finished()
    assert told.lines == ["quadratic: 10 seeds, not settled; adding 5", "quadratic: 15 seeds, not settled; adding 2"]
    assert seeds_of(found) == {"name 0": 17, "name 1": 17}
    assert found.verdict.kind == "tie" and found.verdict.sentence.endswith("Not settled within 17 seeds.")
    plan = bound_plan_of_names(Setting(seeds=17)).plan
    for result in found.results:
        assert [each.id for each in result.trials] == [
            each.id for each in plan.final_trials(plan.problems[0], result.contender, result.contender.points[0])
        ]
        assert {each.id for each in result.trials} <= ids


def test_a_margin_ends_it() -> None:
    setting = Setting(margin=3.0)
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0))
    counts = set(seeds_of(found).values())
    assert found.verdict.kind == "tie" and max(counts) < 40
    pair = found.ranking.compared[1].standing.to_best
    assert pair is not None and pair.difference.low <= 0 <= pair.difference.high and pair.adjusted_p > 0.05
    assert (
        "lies within 3 of it." in found.verdict.sentence
        and f"seeds {RULE}: what is not worse" in found.verdict.sentence
    )


@pytest.mark.parametrize("at_a_time", [1, 7, 30])
def test_how_many_are_added_at_a_time_decides_nothing(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    setting = Setting(gap=1.5)
    number, expected = next((n, each) for n in range(50) if 13 <= (each := decided(setting, n)).seeds <= 35)
    assert (expected.decision, expected.leader) == ("best", 0)
    monkeypatch.setattr(settling, "FEWEST_ADDED", at_a_time)
    monkeypatch.setattr(settling, "SHARE_ADDED", 1000)
    verdict = settled(bound_plan_of_names(setting), Drawing(setting, number)).verdict
    assert verdict.kind == "winner" and f"Settled at n = {expected.seeds} seeds" in verdict.sentence


def decided(setting: Setting, number: int) -> Settlement:
    """What the first 40 seeds of a drawing settle, by themselves."""
    plan = replace(bound_plan_of_names(setting).plan, seeds=40)
    scores = [
        [Drawing(setting, number).outcome(trial).curves["error"][-1] for trial in trials]
        for each in plan.contenders
        for trials in [plan.final_trials(plan.problems[0], each, each.points[0])]
    ]
    return settle(scores)


def test_where_only_the_luck_of_tuning_is_left_no_seeds_are_spent() -> None:
    """Two equals of eight points each, tuned on one seed: whatever gap seeds allow, tuning may have made it."""
    setting = Setting(points=8, max_seeds=60)
    study = bound_plan_of_names(setting)
    found = [settled(study, Drawing(setting, number)) for number in range(3)]
    stopped = [each for each in found if "more cannot settle it" in each.verdict.sentence]
    assert stopped, "some end before the maximum"
    for each in stopped:
        assert max(seeds_of(each).values()) < 60 and each.verdict.kind in ("tie", "unsettled")
        assert "use more tuning seeds" in each.verdict.sentence


def test_seeds_do_not_mend_tuning() -> None:
    setting = Setting(points=2, gap=20.0)  # two points are too few for either
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0))
    assert found.verdict.kind == "unsettled" and "not settled" in found.verdict.sentence
    assert "As they are tuned, name 0 is best: settled at n = " in found.verdict.sentence
    assert set(seeds_of(found).values()) == {10}, "nothing was added"


# --- who gets more ---------------------------------------------------------------------------------------------------


def test_who_is_beaten_by_everyone_in_question_rests() -> None:
    setting = Setting(contenders=3, gap=20.0, seeds=6, max_seeds=20)
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0))
    assert seeds_of(found) == {"name 0": 20, "name 1": 20, "name 2": 11}
    assert set(found.verdict.best) == {"name 0", "name 1"} and "; worse: name 2." in found.verdict.sentence
    assert "name 2 rested after 11 seeds, beaten by everyone still in question." in found.verdict.notes
    best, worst = found.results[0], found.results[-1]
    on_common = worst.scores - best.scores[:11]
    pair = found.ranking.standings[worst.label].to_best
    assert pair is not None and pair.adjusted_p == pytest.approx(6 / evidence(-on_common).max(), rel=0.05)
    interval = confidence_sequence(worst.scores, best.scores[:11])
    assert (pair.difference.low, pair.difference.high) == (interval.low, interval.high)


def test_only_the_first_study_gets_more() -> None:
    setting = Setting(max_seeds=15)
    found = settled(bound_plan_of_names(setting, studies=2), Drawing(setting, 0))
    for result in found.results:
        assert len(result.trials) == 15 and [len(each.trials) for each in result.repetitions] == [10]
        assert result.across is not None


def test_a_problem_that_is_settled_stops_while_another_goes_on() -> None:
    easy, hard = make_problem("easy"), make_problem("hard")

    def curve(plan: Plan, problem: Any, contender: Any, trial: Any) -> list[float]:
        noise = 0.1 * math.sin(17.0 * trial.seed * trial.seed + plan.contenders.index(contender))
        gap = 1.0 * (problem is easy) * plan.contenders.index(contender)
        return [2.0, 1.0 + gap + noise, 1.0 + gap + noise]

    plan = replace(make_plan(("a", "b"), problems=[easy, hard], points=1, evaluations=2), max_seeds=20)
    while True:
        with Store(None) as store:
            fill(store, plan, curve=curve)
            outcomes = {name: record.outcome for name, record in store.records().items()}
            summary = summarize(store)
        addition = settling.more_seeds(History(plan, outcomes))
        if addition is None:
            break
        assert [each.problem for each in addition.problems] == ["hard"]
        plan = addition.plan
    assert dict(plan.added_seeds) == {"hard": {"a": 10, "b": 10}}
    assert [max(seeds_of(each).values()) for each in summary.comparisons] == [10, 20]
    assert summary.missing == 0


def test_an_unfinished_round_is_told_by_the_seeds_that_pair() -> None:
    plan = replace(make_plan(("a", "b"), points=1), max_seeds=30, added_seeds={"bowl": {"a": 5, "b": 5}})

    def noisy(plan: Plan, problem: Any, contender: Any, trial: Any) -> list[float]:
        return [2.0] * 4 + [1.0 + 0.1 * math.sin(17.0 * trial.seed * trial.seed + plan.contenders.index(contender))]

    summary = make_summary(plan, curve=noisy, missing=lambda label, trial: label == "b" and trial.seed in (12, 14))
    (found,) = summary.comparisons
    assert seeds_of(found) == {"a": 15, "b": 12} and summary.missing == 2
    assert found.verdict.sentence.endswith("Not settled at 12 seeds yet.")


class Failing(Drawn):
    """Fails at one contender's added seeds."""

    def next(self) -> Any:
        slot, done = super().next()
        outcomes = [
            failed(each.trial, "no more memory")
            if each.trial.seed >= 12 and each.trial.identity["optimizer"]["name"] == "name 1"
            else each
            for each in done.outcomes
        ]
        return slot, done._replace(outcomes=tuple(outcomes))


@pytest.mark.parametrize(("contenders", "seeds"), [(2, [15]), (3, [20, 20])])
def test_a_contender_that_fails_on_the_way_leaves_the_others_going(contenders: int, seeds: list[int]) -> None:
    setting = Setting(contenders=contenders, max_seeds=20)
    _, summary = carried_out(bound_plan_of_names(setting), None, lambda: Failing(Drawing(setting, 0)))
    (found,) = summary.comparisons
    assert summary.failures == ["no more memory"] and found.results[-1].label == "name 1"
    assert [len(result.scores) for result in found.results[:-1]] == seeds
    assert any("name 1 could not run: no more memory" in note for note in found.verdict.notes)


# --- again -----------------------------------------------------------------------------------------------------------


class Interrupted(Drawn):
    """Hears Ctrl-C before its third answer."""

    answers = 0

    def next(self) -> Any:
        self.answers += 1
        if self.answers == 3:
            raise KeyboardInterrupt
        return super().next()


class Alone(Drawn):
    """One worker."""

    slots = 1


def carried_out(study: BoundPlan, folder: Path | None, make: Callable[[], Any]) -> tuple[bool, Summary]:
    with Store(folder) as store:
        report = runner.run(study, store, make, Silent())
        return report.interrupted, summarize(store)


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    setting = Setting(contenders=3, gap=20.0, seeds=6, max_seeds=16)
    study, drawing = bound_plan_of_names(setting), Drawing(setting, 0)
    _, whole = carried_out(study, None, lambda: Drawn(drawing))
    turns, ran = 0, [0]
    while True:
        is_interrupted, summary = carried_out(study, tmp_path, lambda: Interrupted(drawing))
        ran.append(len(summary.records))
        if not is_interrupted:
            break
        turns += 1
    assert turns >= 3 and ran[-1] == max(ran), "finished trials are never lost"
    assert summary.records.keys() == whole.records.keys() and summary.planned == whole.planned
    assert frames.table(summary).equals(frames.table(whole)) and summary.plan == whole.plan
    assert summary.comparisons[0].verdict == whole.comparisons[0].verdict

    def never() -> Any:
        raise AssertionError("there is nothing left to run")

    assert carried_out(study, tmp_path, never)[1].plan == whole.plan
    assert carried_out(study, None, lambda: Alone(drawing))[1].plan == whole.plan, "workers decide nothing"
    plain = carried_out(replace(study, plan=replace(study.plan, max_seeds=None)), tmp_path, never)[1]
    assert seeds_of(plain.comparisons[0]) == {"name 0": 6, "name 1": 6, "name 2": 6}
    assert "ettled" not in plain.comparisons[0].verdict.sentence


def test_a_plan_with_added_seeds_survives_json_and_older_plans_are_read() -> None:
    problem = replace(make_problem(), margin=0.1)
    plan = replace(make_plan(problems=[problem]), max_seeds=50, added_seeds={"bowl": {"sgd": 5}})
    assert from_json(Plan, to_json(plan)) == plan
    older = to_data(make_plan())
    for name in ("max_seeds", "added_seeds"):
        del older[name]
    for facts in older["problems"]:
        del facts["margin"]
    assert from_data(Plan, older) == make_plan()


# --- how often equals are told apart ---------------------------------------------------------------------------------


def most(studies: int) -> int:
    """How many calls are within chance at 5 %: a true rate of that exceeds it once in a thousand test runs."""
    return int(scipy.stats.binom.ppf(0.999, studies, 0.05))


@pytest.mark.parametrize(
    "setting", [Setting(gap=1.0), Setting(contenders=3, gap=3.0, max_seeds=20), Setting(margin=3.0), Setting(points=8)]
)
def test_the_simulation_comes_to_what_a_run_does(setting: Setting) -> None:
    study = bound_plan_of_names(setting)
    short, whole = judged(study, Drawing(setting, 1)), settled(study, Drawing(setting, 1))
    assert short.verdict == whole.verdict and seeds_of(short) == seeds_of(whole)


@pytest.mark.long
def test_equals_are_seldom_told_apart() -> None:
    found = rates(Setting(seeds=8, max_seeds=18), 50)
    assert found["told apart"] * 50 <= most(50) and found["seeds"] > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EQUALS if "margin" not in name])
def test_equals_are_seldom_told_apart_in_long_runs(name: str) -> None:
    assert rates(EQUALS[name], 600)["told apart"] * 600 <= most(600)
