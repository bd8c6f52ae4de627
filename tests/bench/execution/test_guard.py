"""The guard before reuse: code that computes something else, where no hash can see it, is said and trained again.

The own optimizer here multiplies its steps by a number that a callback reads from a file on the host, at every step.
"""

import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.executors import make_executor
from dlkit.bench.execution.guard import Check, difference
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.resources import Resources
from dlkit.bench.plan.policies import TargetRule
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.store.trial_rows import Record
from tests.bench.synthetic import make_plan, synthetic_outcome

BUDGET = Budget(steps=10, evaluations=10, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)
ONE_POINT = replace(BUDGET, tuning_points=1)
PREFIX = 2  # evaluations of the first of five calls
TRIALS = 2 + 2


def scaled(name: str, read: Callable[[], float]) -> bench.Optimizer:
    """Gradient descent whose steps are scaled by what `read` says on the host."""

    def host() -> Any:
        return np.float32(read())

    def build(learning_rate: Any) -> optax.GradientTransformation:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            scale = jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32))
            return jax.tree.map(lambda each: each * scale, updates), state

        return optax.chain(
            optax.GradientTransformation(lambda params: optax.EmptyState(), update), optax.sgd(learning_rate)
        )

    return bench.Optimizer(name, build, {"learning_rate": bench.log_uniform(1e-3, 1e-2)})


def reading(file: Path) -> bench.Optimizer:
    """As `scaled`, by the number in a file; named after the file."""
    text = str(file)
    return scaled(file.stem, lambda: float(Path(text).read_text()))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.txt"
    file.write_text("1")
    return file


class Watching(InlineExecutor):
    """Counts what it runs: whole trials, and checks."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = self.checks = 0

    def next(self) -> Any:
        slot, done = super().next()
        for each in done.outcomes:
            if each.trial.until == PREFIX:
                self.checks += 1
            else:
                self.whole += 1
        return slot, done


PLAN = make_plan()
PROBLEM = PLAN.problems[0]


def outcome(*values: float, until: int | None = None, **changes: Any) -> Outcome:
    """A trial with these values at its evaluations, 10 steps apart."""
    trial = PLAN.trial(PROBLEM, PLAN.contenders[0], PLAN.contenders[0].points[0], "tuning", 0, until)
    return replace(synthetic_outcome(PROBLEM, PLAN, trial, values), **changes)


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        (outcome(1.0, 0.5, 0.25, 0.2, 0.1), outcome(1.0, 0.5), ""),
        (outcome(1.0, 0.5, 0.25, 0.2, 0.1), outcome(1.0, 0.25), "error 0.5000 then, 0.2500 now at step 10"),
        (outcome(2.0, 0.5), outcome(1.0, 0.25), "error 2.000 then, 1.000 now at step 0"),
        (outcome(1.0, 0.5), outcome(1.0, 0.5 + 2**-24), "error 0.5 then, 0.50000006 now at step 10"),
        (outcome(1.0, 0.0), outcome(1.0, -0.0), "error 0 then, -0 now at step 10"),
        (outcome(1.0, 0.5, math.nan), outcome(1.0, math.nan), "error 0.5000 then, – now at step 10"),
        (outcome(1.0, 0.5, math.nan), outcome(1.0, 0.5, math.nan), ""),
        (outcome(1.0, math.nan), outcome(1.0, math.nan), ""),
        (outcome(1.0), outcome(1.0, status="diverged", diverged_at=3), "finished then, diverged at step 3 now"),
        (outcome(1.0, 0.5, 0.25), outcome(1.0), "another number of steps"),
        (outcome(1.0, 0.5), outcome(1.0, 0.5, steps=np.array([0, 20])), "another number of steps"),
        (outcome(1.0, 0.5), outcome(1.0, 0.5, gradients=np.array([0.0, 20.0])), "another number of gradients a step"),
        (
            outcome(1.0, 0.5),
            outcome(1.0, 0.5, curves={"error": np.array([1.0, 0.5], np.float32)}),
            "error, training_loss then, error now",
        ),
    ],
)
def test_what_differs_is_told(then: Outcome, now: Outcome, words: str) -> None:
    assert difference(PROBLEM, then, now) == words


def test_a_whole_final_trial_is_looked_at_first() -> None:
    """Its curve goes further than what runs again, and has what probes measured."""
    point = PLAN.contenders[0].points[0]
    final = replace(outcome(1.0, 0.5, 0.2), trial=PLAN.trial(PROBLEM, PLAN.contenders[0], point, "final", 5))
    each = [outcome(1.0, 0.5, math.nan), outcome(1.0), outcome(1.0, 0.5, 0.25), final]
    check = Check(None, PROBLEM, PLAN.contenders[0], [Record(one, {}) for one in each])  # type: ignore[arg-type]
    assert [record.outcome for record in check.reused] == [each[3], each[2], each[1], each[0]]


def experiment(*optimizers: Any, budget: Budget = BUDGET, targets: TargetRule | None = None) -> Experiment:
    return Experiment(
        name="test",
        problems=(ProblemChoice(problem="quadratic"),),
        optimizers=tuple(Contender(optimizer=each) for each in optimizers),
        budget=budget,
        targets=targets,
    )


def carry_out(asked: Experiment, store: Store, **options: Any) -> tuple[Summary, Watching]:
    executor = Watching()
    runner.run(planner.plan(asked), store, lambda: executor, Silent(), **options)
    return summarize(store), executor


def rows(folder: Path) -> list[Any]:
    """The whole table of trials, each with what it shares with others."""
    with sqlite3.connect(folder / "store.sqlite") as connection:
        found = connection.execute(
            "SELECT trial.*, shared FROM trial JOIN identity ON trial.identity = identity.digest"
        ).fetchall()
    connection.close()
    return found


def test_unchanged_code_is_looked_at_once_and_nothing_is_trained(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = experiment("sgd", reading(mine))
    with Store(tmp_path) as store:
        first, ran = carry_out(asked, store)
        assert (ran.whole, ran.checks) == (2 * TRIALS, 0)
        before = rows(tmp_path)
        again, ran = carry_out(asked, store)
    assert (ran.whole, ran.checks) == (0, 1), "one of the own optimizer's, none of the registered one's"
    assert rows(tmp_path) == before
    assert frames.curves(first).equals(frames.curves(again))
    assert capsys.readouterr() == ("", "")


@pytest.mark.long
def test_code_that_computes_something_else_is_said_and_trained_again(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every number is that of a run in an empty folder: targets and drawn points included, which rest on trials."""
    zoom = Budget(steps=10, evaluations=10, studies=1, tuner="zoom", tuning_points=4, tuning_batch=2, seeds=2)
    other = tmp_path / "other.txt"
    other.write_text("1")
    asked = experiment(reading(mine), reading(other), budget=zoom, targets=TargetRule(reruns=2))
    with Store(tmp_path) as store:
        old, _ = carry_out(asked, store)
        programs = planner.plan(asked).plan.programs["quadratic"]
        kept = {row for row in rows(tmp_path) if programs["other"]["{}"].method in row[-1]}
        mine.write_text("2")
        new, ran = carry_out(asked, store)
        frozen, drawn = store.frozen(), store.drawn()
        assert kept and kept <= set(rows(tmp_path)), "what has not changed is not touched"
        total = len(rows(tmp_path))
    said = capsys.readouterr().err
    trials = sum(programs["mine"]["{}"].method in each.outcome.trial.program for each in old.records.values())
    assert said.count("\n") == 1 and "other" not in said
    assert f"optimizer 'mine' on problem 'quadratic': your code computes something else than when its {trials}" in said
    assert (
        "stored trials ran (suboptimality " in said and " now at step 1); they are set aside and trained again" in said
    )
    assert ran.checks == 1 + 1 + 1, "one of each contender, and what differed once more"
    with Store(None) as store:
        fresh, _ = carry_out(asked, store)
        assert frozen and drawn and (store.frozen(), store.drawn()) == (frozen, drawn)
    for frame in (frames.table, frames.curves):
        assert frame(new).equals(frame(fresh)) and not frame(new).equals(frame(old))
    assert total == trials + len(new.records), "what was set aside is kept in the file"
    assert new.apart == (f"{trials} trials of this folder were set aside: their code computes something else now.",)


@pytest.mark.long
def test_a_run_of_another_budget_is_set_aside_as_well(tmp_path: Path, mine: Path) -> None:
    """Of one point there is one winner: the reruns that set the target are called what they were, and yet set anew."""
    asked, longer = (
        experiment(reading(mine), budget=replace(ONE_POINT, steps=steps), targets=TargetRule(reruns=2))
        for steps in (10, 20)
    )
    with Store(tmp_path) as store:
        _, ran = carry_out(longer, store)
        carry_out(asked, store)
        keys = store.frozen().keys()
        mine.write_text("2")
        carry_out(asked, store)
        assert len(store.finished()) == ran.whole
        _, again = carry_out(longer, store)
        assert (again.whole, again.checks) == (ran.whole, 0)
        found = store.frozen()
    with Store(None) as store:
        for each in (asked, longer):
            carry_out(each, store)
        assert store.frozen() == found and found.keys() == keys and len(keys) == 2


@pytest.mark.long
def test_trusted_trials_are_not_looked_at(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"problems": ["quadratic"], "optimizers": [reading(mine)], "budget": BUDGET}
    asked |= {"folder": tmp_path, "progress": False}
    first = bench.compare(**asked, resources=bench.Resources(executor="inline"))
    mine.write_text("2")
    again = bench.compare(**asked, resources=bench.Resources(executor="inline", trust=True))
    assert again.curves().equals(first.curves()) and not capsys.readouterr().err
    looked_at = bench.compare(**asked, resources=bench.Resources(executor="inline"))
    assert not looked_at.curves().equals(first.curves())


@pytest.mark.long
def test_each_static_choice_is_looked_at(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a program of its own: the choice that tuning rejected was rejected by its numbers."""
    host = reading(mine)

    def build(learning_rate: Any, kind: str) -> Any:
        return optax.sgd(learning_rate) if kind == "plain" else host.build(learning_rate)

    both = bench.Optimizer("both", build, {"learning_rate": 0.01}, static={"kind": ("plain", "host")})
    with Store(tmp_path) as store:
        _, ran = carry_out(experiment(both), store)
        assert (ran.whole, ran.checks) == (TRIALS, 0)
        mine.write_text("0.5")
        shown, ran = carry_out(experiment(both), store)
    assert ran.checks == 3 and ran.whole, "one look at each choice, and one more to be sure"
    assert "your code computes something else" in capsys.readouterr().err
    with Store(None) as store:
        fresh, _ = carry_out(experiment(both), store)
    assert frames.curves(shown).equals(frames.curves(fresh))


class Interrupted(Watching):
    """Hears Ctrl-C before its first answer."""

    def next(self) -> Any:
        if not self.checks:
            self.checks += 1
            raise KeyboardInterrupt
        return super().next()


@pytest.mark.long
def test_ctrl_c_while_it_looks_loses_nothing(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = experiment(reading(mine), scaled("fixed", lambda: 1.0))
    with Store(tmp_path) as store:
        carry_out(asked, store)
        before = rows(tmp_path)
        mine.write_text("2")
        report = runner.run(planner.plan(asked), store, Interrupted, Silent())
        assert report.interrupted and rows(tmp_path) == before
        said = " ".join(capsys.readouterr().err.split())
        assert "stopped before it was known whether your code still computes what it did when 8 stored trials" in said
        summary, ran = carry_out(asked, store)
    assert summary.missing == 0 and (ran.whole, ran.checks) == (TRIALS, 3)


@pytest.mark.long
def test_workers_look_as_this_process_does(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = planner.plan(experiment(reading(mine)))
    with Store(tmp_path) as store:
        runner.run(asked, store, InlineExecutor, Silent())
        mine.write_text("2")
        runner.run(asked, store, lambda: make_executor(Resources(workers=1)), Silent())
        new = summarize(store)
    assert "computes something else" in capsys.readouterr().err
    with Store(None) as store:
        assert frames.curves(carry_out(experiment(reading(mine)), store)[0]).equals(frames.curves(new))


@pytest.mark.long
def test_code_that_raises_now_keeps_its_trials_until_it_is_mended(tmp_path: Path, mine: Path) -> None:
    """Also those of a space that was widened: it is not while the code does not run."""
    asked = replace(experiment("sgd", reading(mine), budget=replace(BUDGET, tuning_points=3)), expand=True)
    with Store(tmp_path) as store:
        first, _ = carry_out(asked, store)
        assert "mine" in [each.contender for each in first.plan.expansions]
        before = rows(tmp_path)
        mine.unlink()
        for _ in range(2):
            broken, ran = carry_out(asked, store)
            (reason,) = broken.failures
            assert "optimizer 'mine' on problem 'quadratic': raised" in reason and "mine.txt" in reason
            assert "5 trials were stored when it did run: they are kept" in reason
            assert (ran.whole, ran.checks) == (0, 1) and not broken.apart
            assert [row for row in rows(tmp_path) if row in before] == before
        mine.write_text("1")
        mended, ran = carry_out(asked, store)
        assert not mended.failures and (ran.whole, ran.checks) == (0, 1)
        assert rows(tmp_path) == before
    assert frames.curves(mended).equals(frames.curves(first))


@pytest.mark.long
def test_all_programs_of_a_contender_that_raise_rest(tmp_path: Path, mine: Path) -> None:
    """Each is looked at; nothing is trained, nothing widened, and every stored row stays."""
    host = reading(mine)

    def build(learning_rate: Any, times: float) -> Any:
        return optax.chain(host.build(learning_rate), optax.scale(times))

    both = bench.Optimizer("both", build, host.space, static={"times": (1.0, 2.0)})
    asked = replace(experiment("sgd", both, budget=replace(BUDGET, tuning_points=4)), expand=True)
    with Store(tmp_path) as store:
        first, _ = carry_out(asked, store)
        assert "both" in [each.contender for each in first.plan.expansions]
        before = rows(tmp_path)
        mine.unlink()
        broken, ran = carry_out(asked, store)
        assert (ran.whole, ran.checks) == (0, 2) and "both" not in [each.contender for each in broken.plan.expansions]
        assert broken.failures and all("mine.txt" in reason for reason in broken.failures)
        assert [row for row in rows(tmp_path) if row in before] == before


class Dying(Watching):
    """Its worker dies with every task."""

    def next(self) -> Any:
        super().next()
        return 0, UserError("the worker process died several times (killed, or out of memory?)")


@pytest.mark.long
def test_a_worker_that_dies_while_it_looks_loses_nothing(tmp_path: Path, mine: Path) -> None:
    asked = experiment(reading(mine))
    with Store(tmp_path) as store:
        carry_out(asked, store)
        before = rows(tmp_path)
        runner.run(planner.plan(asked), store, Dying, Silent())
        (reason,) = summarize(store).failures
        assert "the worker process died" in reason and "they are kept" in reason
        trusted, ran = carry_out(asked, store, trust=True)
        assert not trusted.failures and (ran.whole, ran.checks) == (0, 0)
        assert rows(tmp_path) == before


class Elsewhere(Watching):
    """Says that it runs on another processor."""

    def next(self) -> Any:
        slot, done = super().next()
        return slot, done._replace(program={**done.program, "cpu_flags": "other"})


def test_another_machine_cannot_tell(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = planner.plan(experiment(reading(mine)))
    with Store(tmp_path) as store:
        runner.run(asked, store, InlineExecutor, Silent())
        before = rows(tmp_path)
        runner.run(asked, store, Elsewhere, Silent())
        assert rows(tmp_path) == before
        said = capsys.readouterr().err
        assert "cannot be told bit for bit: they ran on another machine" in said and "they are reused" in said


@pytest.mark.long
def test_a_trial_of_the_machine_that_looks_is_taken_if_there_is_one(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer, more = (
        Budget(steps=10, evaluations=10, studies=1, tuning_points=n, tuning_seeds=1, seeds=2) for n in (2, 3)
    )
    with Store(tmp_path) as store:
        runner.run(planner.plan(experiment(reading(mine), budget=fewer)), store, InlineExecutor, Silent())
        runner.run(planner.plan(experiment(reading(mine), budget=more)), store, Elsewhere, Silent(), trust=True)
        mine.write_text("2")
        runner.run(planner.plan(experiment(reading(mine), budget=more)), store, Elsewhere, Silent())
    assert "computes something else" in capsys.readouterr().err


@pytest.mark.long
def test_code_that_is_never_the_same_twice_is_said(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(mine)

    def count() -> float:
        number = float(Path(text).read_text())
        Path(text).write_text(str(number + 1))
        return number

    asked = experiment(scaled("counting", count))
    with Store(tmp_path) as store:
        first, _ = carry_out(asked, store)
        again, ran = carry_out(asked, store)
    assert "run twice just now, gave two curves; they are reused" in capsys.readouterr().err
    assert (ran.whole, ran.checks) == (0, 2) and frames.curves(again).equals(frames.curves(first))


def test_a_program_that_calls_python_is_compiled_anew_for_each_run(mine: Path) -> None:
    """A running cluster may have kept it, with Python that was another one."""

    def keys(optimizer: Any) -> set[str]:
        bounds = [planner.plan(experiment(optimizer)) for _ in range(2)]
        return {bound.group(bound.plan.problems[0], bound.plan.contenders[0], {}).key for bound in bounds}

    assert len(keys(reading(mine))) == 2 and len(keys("sgd")) == 1
