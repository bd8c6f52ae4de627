"""An experiment is looked at before its first trial: by `check`, by `run`, on the command line."""

import dataclasses
import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from dlkit import bench
from dlkit.bench import cli
from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.examination import examine as room
from dlkit.bench.examination.costs import Cost, cost_of, steps_of
from dlkit.bench.examination.longest import longest_step, operations
from dlkit.bench.examination.looks import Looker
from dlkit.bench.examination.ticks import Examination, Tick
from dlkit.bench.problems import get
from dlkit.bench.spec import planner

BUDGET = bench.Budget(steps=20, tuning_points=2, studies=2, seeds=1, evaluations=2)
INLINE = bench.Resources(executor="inline")
OWN = '{optimizer = "own.py:mine", space = {learning_rate = [0.001, 0.1, "log"]}}'
SPEC = f"""
problems = ["quadratic"]
optimizers = ["sgd", {OWN}]
budget = {{steps = 20, evaluations = 2, tuning_points = 2, studies = 2, seeds = 1}}
"""
MASKED = "import optax\n\ndef mine(learning_rate):\n    return optax.scale(learning_rate)\n"
RIGHT = MASKED.replace("scale(", "sgd(")


def own(build=optax.sgd, name="mine"):
    return bench.Optimizer(name, build, {"learning_rate": bench.log_uniform(1e-3, 0.1)})


UPHILL = own(lambda learning_rate: optax.scale(learning_rate))


def test_a_check_is_a_page_of_ticks() -> None:
    found = bench.check("quadratic", "sgd", own(), budget=BUDGET)
    assert found.right and found.foresight.contenders == 2 and found.sentences == found.foresight.sentences
    lines = str(found).splitlines()
    assert lines[0].startswith("ok    same program: optimizer 'mine'") and len(lines) == len(found.ticks)
    assert any(line.startswith("      cost: 1 problem, 12 trials") for line in lines)


def test_what_is_registered_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "purity_ticks", lambda bound: pytest.fail("computed"))
    found = bench.check("quadratic", "sgd", "adam", budget=BUDGET)
    assert found.right and {tick.subject for tick in found.ticks} == {"conclusion", "cost"}
    assert math.isnan(found.cost.seconds) and found.cost.text == ""  # the catalogue's times alone


def test_an_experiment_has_its_own_optimizers() -> None:
    experiment = bench.Experiment(
        name="x", problems=(bench.ProblemChoice(problem="quadratic"),), optimizers=(bench.Contender(optimizer="sgd"),)
    )
    assert bench.check(experiment).foresight.contenders == 1
    with pytest.raises(bench.UserError, match="an experiment has its optimizers"):
        bench.check(experiment, "adam")


def test_a_run_trains_nothing_while_something_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    wrong = own(lambda learning_rate: optax.scale(2 * learning_rate), "other")
    with pytest.raises(bench.UserError, match="go uphill") as refused:
        bench.compare(
            problems=["quadratic"], optimizers=[UPHILL, wrong], budget=BUDGET, folder=folder, resources=INLINE
        )
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["optimizer 'mine'", "optimizer 'other'"]
    assert "check=False" in lines[2] and len(lines) == 3 and not folder.exists()


@pytest.mark.long
def test_there_is_a_way_on_and_what_was_trained_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"problems": ["quadratic"], "budget": BUDGET, "resources": INLINE, "progress": False}
    result = bench.compare(**given, optimizers=["sgd", UPHILL], folder=tmp_path, check=False)
    assert len(result.trials()) == 12
    monkeypatch.setattr(room, "purity_ticks", lambda bound: pytest.fail("looked at again"))
    assert len(bench.compare(**given, optimizers=["sgd", UPHILL], folder=tmp_path).trials()) == 12
    with pytest.raises(pytest.fail.Exception, match="looked at again"):
        bench.compare(**given, optimizers=["sgd", own(optax.sgd)], folder=tmp_path)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """How a command ends, and all that it prints."""
    monkeypatch.setattr("sys.argv", ["dlkit", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


@pytest.mark.parametrize("right", [True, False])
def test_the_command_line_checks(tmp_path: Path, monkeypatch, capsys, right: bool) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(SPEC)
    Path("own.py").write_text(RIGHT if right else MASKED)
    code, text = said(monkeypatch, capsys, "check", "spec.toml")
    assert code == (0 if right else 1)
    assert ("WRONG updates: optimizer 'own.py:mine'" in text) != right and ("own.py:3)" in text) != right
    code, text = said(monkeypatch, capsys, "run", "spec.toml", "--dry-run")
    assert code == (0 if right else 1) and not Path("runs").exists()
    assert text.endswith(
        "quadratic / sgd: 6 trials of up to 20 steps\nquadratic / own.py:mine: 6 trials of up to 20 steps\n"
        "0 trials are stored already\n"
    )
    if not right:
        code, text = said(monkeypatch, capsys, "run", "spec.toml", "--executor", "inline")
        assert code == 2 and "go uphill" in text and "--no-check" in text and not Path("runs").exists()


def test_more_than_an_hour_wants_to_be_asked_for(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(SPEC.replace(OWN, '"adam"'))
    spent = Cost(9000.0, "quadratic", 0.7, 3e9, 2)
    found = Examination((), foresee(planner.plan(experiment()).plan), spent)
    monkeypatch.setattr("dlkit.bench.execution.whole_run.examine", lambda *_, **__: found)
    code, text = said(monkeypatch, capsys, "run", "spec.toml", "--executor", "inline")
    assert code == 2 and "about 2.5 h of training on 2 workers, 70% of it for problem 'quadratic'" in text
    assert "--yes runs it" in text and "--steps" in text and not Path("runs").exists()
    code, text = said(monkeypatch, capsys, "run", "spec.toml", "--executor", "inline", "--yes", "--no-report")
    assert code == 0 and Path("runs").exists()


def experiment() -> bench.Experiment:
    return bench.Experiment(
        name="x",
        problems=(bench.ProblemChoice(problem="quadratic"), bench.ProblemChoice(problem="rosenbrock", steps=40)),
        optimizers=(bench.Contender(optimizer="sgd"), bench.Contender(optimizer="adam")),
        budget=bench.Budget(tuning_points=2, studies=2, seeds=1, evaluations=2, steps=20),
    )


def test_time_is_steps_times_seconds_over_workers() -> None:
    plan = planner.plan(experiment()).plan
    assert steps_of(plan) == {"quadratic": 240.0, "rosenbrock": 480.0}
    cost = cost_of(plan, {"quadratic": 1.0, "rosenbrock": 2.0}, float("nan"), workers=4, left=0.5)
    assert cost.seconds == (240 + 960) * 0.5 / 4 and cost.dearest == "rosenbrock" and cost.share == 0.8
    assert cost.text.startswith("about 3 min of training on 4 workers, 80% of it for problem 'rosenbrock'")


@pytest.mark.long
def test_problems_of_the_catalogue_are_timed_where_the_run_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlkit.bench.examination.costs.LONG", 0.01)
    cost = bench.check(experiment()).cost
    assert 0 < cost.seconds < 60 and cost.text.startswith("about ")


def test_only_a_run_that_could_last_long_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))  # no times are kept there
    timed = []

    def time(looker: Looker) -> None:
        timed.append(looker.problem.name)
        looker.seconds = 1e-6

    monkeypatch.setattr(Looker, "time", time)
    bound = planner.plan(experiment())
    most = sum(steps * longest_step(get(name)) for name, steps in steps_of(bound.plan).items())
    trials = foresee(bound.plan).trials
    for times, workers, stored in ((1.1, 1, 0), (0.6, 2, 0), (0.6, 1, trials // 2)):
        found = room.examine(bound, times=times * most, workers=workers, stored=stored)
        assert math.isnan(found.cost.seconds) and "time" not in [tick.subject for tick in found.ticks] and not timed
    assert room.examine(bound, times=0.9 * most).cost.seconds == pytest.approx(720e-6)
    assert timed == ["quadratic", "rosenbrock"]


def test_operations_of_a_step_are_counted_within_loops_and_calls() -> None:
    def count(function, *shapes):
        return operations(jax.make_jaxpr(function)(*map(jnp.ones, shapes)).jaxpr)

    assert count(jnp.matmul, (2, 3), (3, 4)) == 2 * 2 * 3 * 4
    assert count(jax.jit(lambda a, b: jnp.sin(a @ b)), (2, 3), (3, 4)) >= 48 + 8
    assert count(lambda a, b: jax.lax.conv(a, b, (1, 1), "VALID"), (2, 3, 8, 8), (5, 3, 3, 3)) == 2 * 2 * 5 * 36 * 27
    loop = partial(jax.lax.scan, lambda a, _: (a @ a, None), length=7)
    assert 7 * 54 <= count(loop, (3, 3)) <= 7 * 54 + 9
    assert count(lambda a: jax.lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a, a), (3, 3)) >= 2 * 54
    assert count(lambda a: jax.lax.while_loop(lambda a: a[0] > 0, lambda a: a - 1, a), (3,)) == math.inf


def test_a_tick_says_whose_fault_it_is_where_and_what_to_do() -> None:
    tick = Tick("loss", "it is NaN", False, "problem 'mine'", "study.py:41", "mend it")
    assert tick.sentence == "problem 'mine': it is NaN; mend it (study.py:41)"


def test_an_own_optimizer_that_runs_on_some_problems_alone_is_looked_at_there() -> None:
    mine = bench.Optimizer("mine", lambda learning_rate: optax.sgd(learning_rate), {"learning_rate": 0.1})
    some = dataclasses.replace(
        experiment(),
        optimizers=(bench.Contender(optimizer="sgd"), bench.Contender(optimizer=mine, problems=("quadratic",))),
    )
    assert [tick.sentence for tick in bench.check(some).failed] == []
