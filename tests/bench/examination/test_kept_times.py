"""Step times that are kept: measured once a day for what is registered, each time for what is one's own."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench import problems
from dlkit.bench.examination import kept_times
from dlkit.bench.examination.kept_times import timed
from dlkit.bench.examination.looks import Looker
from dlkit.bench.spec import planner
from dlkit.bench.spec.bound_plan import ProblemSource
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The problems that were timed, in order; each takes half a second more than the one before."""
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    names: list[str] = []

    def measure(looker: Looker) -> None:
        names.append(looker.problem.name)
        looker.seconds, looker.memory = 0.5 * len(names), 8.0

    monkeypatch.setattr(Looker, "time", measure)
    return names


def source(problem: Any) -> ProblemSource:
    asked = Experiment(name="x", problems=(ProblemChoice(problem=problem),), optimizers=(Contender(optimizer="sgd"),))
    (found,) = planner.plan(asked).problems.values()
    return found


def test_a_registered_problem_is_timed_once_a_day(measured: list[str], tmp_path: Path) -> None:
    quadratic, linear = source("quadratic"), source("diabetes-linear")
    seen = [(timed(each).seconds, timed(each).memory) for each in (quadratic, linear, quadratic)]
    assert seen == [(0.5, 8.0), (1.0, 8.0), (0.5, 8.0)] and measured == ["quadratic", "diabetes-linear"]
    for path in (tmp_path / "step_seconds").iterdir():
        os.utime(path, (time.time() - kept_times.DAY - 1,) * 2)
    assert timed(quadratic).seconds == 1.5


@pytest.mark.parametrize("content", ["", "[1.0]", "{", "null", '["a", 2]'])
def test_what_cannot_be_read_is_measured_again(content: str, measured: list[str], tmp_path: Path) -> None:
    quadratic = source("quadratic")
    timed(quadratic)
    (path,) = (tmp_path / "step_seconds").iterdir()
    path.write_text(content)
    assert timed(quadratic).seconds == 1.0 == timed(quadratic).seconds


def test_other_settings_and_software_are_other_times(measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quadratic = source("quadratic")
    timed(quadratic)
    monkeypatch.setattr(kept_times, "program_identity", lambda: {"code": "another"})
    timed(quadratic)
    assert len(measured) == 2


def test_ones_own_problem_is_timed_each_time(measured: list[str], tmp_path: Path) -> None:
    own = source(replace(problems.get("quadratic"), name="own"))
    assert [timed(own).seconds, timed(own).seconds] == [0.5, 1.0] and not (tmp_path / "step_seconds").exists()
