"""A replay runs a stored trial again and compares every number, bit for bit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.execution.bit_comparison import Replay, compared
from dlkit.bench.execution.executor import Executor, Lost
from dlkit.bench.execution.executors import make_executor
from dlkit.bench.execution.own_code import bind_kept, open_kept, owners_in, require_this_python, whose
from dlkit.bench.execution.parcels import use_settings
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.step_times import as_stored
from dlkit.bench.execution.work import Done, Task, Work, prepare_process, run_work
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Stage, Trial
from dlkit.bench.spec.bound_plan import BoundPlan, Group, OwnProblem, ProblemSource, bind
from dlkit.bench.store.kept_code import About
from dlkit.bench.store.store import Store
from dlkit.bench.training.lanes import Lanes

__all__ = ["ran_again", "replays"]


def replays(
    summary: Summary, names: Iterable[str], bound: BoundPlan | None = None, folder: Path | None = None
) -> Iterator[Replay]:
    """Runs trials again, at the width and with the threads they had, and compares every number.

    Trials of code that is at hand, or registered, run in this process. Of code that the run folder keeps, they run in a
    process of their own, which is started once and only then opens what was kept; whose code it is, is said before.

    Args:
        summary: of the run that they belong to.
        names: their ids.
        bound: the functions that ran; None to find them again by name, or in the folder.
        folder: the run folder; None for a run in memory.

    Yields:
        The comparisons, in this order.

    Raises:
        UserError: for a trial that failed, or one's own functions that are nowhere or compute something else.
    """
    for outcome, then, done in ran_again(summary, names, bound, folder):
        yield compared(outcome, then, done)


def ran_again(
    summary: Summary,
    names: Iterable[str],
    bound: BoundPlan | None = None,
    folder: Path | None = None,
    *,
    hands_over: bool = False,
) -> Iterator[tuple[Outcome, Mapping[str, str], Done]]:
    """Runs trials again, as `replays` does, and yields what is stored, of which program, and what came back.

    Args:
        summary: of the run that they belong to.
        names: their ids.
        bound: the functions that ran; None to find them again by name, or in the folder.
        folder: the run folder; None for a run in memory.
        hands_over: whether the models that they end with are returned, too.
    """
    with ExitStack() as stack:
        scratch: dict[int, Executor] = {}  # by threads: a process has as many as it starts with
        kept = _kept(summary, folder) if bound is None else []
        told: set[str] = set()
        for name in names:
            outcome, then = summary.records[name]
            if not outcome.counts:
                raise UserError(f"trial {name} did not run: {outcome.reason}")
            if outcome.is_empty:
                raise UserError(f"trial {name} has no curve to compare: {outcome.reason}")
            trial = outcome.trial
            if outcome.status == "cut off":  # by a clock that will not say the same again
                trial = trial._replace(identity={**trial.identity, "seconds": None, "until": len(outcome.steps) - 1})
            lanes, threads = Lanes.parse(then["lanes"]), int(then["threads"])
            at_hand = as_stored(bound, summary.plan) if bound else None
            alone = _alone(at_hand.plan if at_hand else summary.plan, outcome.trial)
            own = owners_in(alone)
            if kept and own and folder is not None:
                _say_whose([each for each in kept if each.owner in own and each.owner not in told], folder)
                told.update(own)
                if threads not in scratch:
                    scratch[threads] = ProcessExecutor(workers=1)
                    stack.callback(scratch[threads].close)
                again = Again(folder, summary.plan.digest, to_json(alone), outcome.trial, trial, lanes, threads)
                again = again._replace(hands_over=hands_over)
                done = _answer(scratch[threads], again)
            else:
                group = _group(at_hand or bind(alone), alone, outcome.trial)
                done = _run_again(Work(group, (trial,), lanes=lanes, hands_over=hands_over), threads)
            yield outcome, then, done


class Again(NamedTuple):
    """A trial of code that a run folder keeps, as a task; nothing in it is of the user.

    Attributes:
        folder: the run folder.
        spec: the digest of the plan that the trial belongs to.
        alone: that plan as JSON, with nothing that the trial is not of.
        trial: the stored one.
        shortened: the same, as it runs.
        lanes: how many trials its program had side by side.
        threads: as of `prepare_process`.
        memory: bytes that training examples may take; None for what suits the device.
        hands_over: whether the model that it ends with is returned, too.
    """

    folder: Path
    spec: str
    alone: str
    trial: Trial
    shortened: Trial
    lanes: Lanes
    threads: int
    memory: int | None = None
    hands_over: bool = False

    @property
    def problem(self) -> ProblemSource:
        """The problem by its name alone: its functions are found where the task runs."""
        return ProblemSource("", self.trial.identity["problem"]["name"], "", (), ())

    def with_own(self, own: OwnProblem | None) -> "Again":
        """Returns the task as it is."""
        return self

    def within(self, memory: int | None) -> "Again":
        """Returns the task with a bound on what training examples may take."""
        return self._replace(memory=memory)

    def run(self) -> Done:
        """Opens the user's code in this process, and runs the trial."""
        prepare_process(self.threads)  # before arrays of the user's can start JAX
        bound, settings = _bound_again(self.folder, self.spec, self.alone)
        use_settings(settings)  # those of the process that asks came with the task
        group = _group(bound, bound.plan, self.trial)
        work = Work(group, (self.shortened,), lanes=self.lanes, memory=self.memory, hands_over=self.hands_over)
        return run_work(work, threads=self.threads)


@cache
def _bound_again(folder: Path, spec: str, alone: str) -> tuple[BoundPlan, Mapping[str, Any]]:
    """A plan with its functions, from a run folder, and the settings of JAX that they were kept with."""
    plan = from_json(Plan, alone)
    found = {owner: _opened(folder, spec, owner) for owner in owners_in(plan)}
    opened = {owner: each for owner, each in found.items() if each is not None}
    settings = {name: setting for _, each in opened.values() for name, setting in each.items()}
    return bind_kept(plan, {owner: value for owner, (value, _) in opened.items()}), settings


@cache
def _opened(folder: Path, spec: str, owner: str) -> tuple[Any, Mapping[str, Any]] | None:
    """One of the user's objects, from a run folder, with JAX's settings as above; None if it was not kept."""
    with Store(folder, write=False) as store:
        kept = store.code(spec, owner)
    return kept and (open_kept(kept), kept.about.settings)


def _kept(summary: Summary, folder: Path | None) -> list[About]:
    if folder is None:
        return []
    with Store(folder, write=False) as store:
        return store.about_code(summary.plan.digest)


def _say_whose(kept: Sequence[About], folder: Path) -> None:
    """Says whose code runs from now on; refuses what this Python cannot open."""
    for each in kept:
        require_this_python(each)
    if kept:
        say(f"running code that {folder} has kept since {min(each.kept_at for each in kept)}: {whose(kept)}")


def _answer(executor: Executor, task: Task) -> Done:
    """Runs a task on an executor's first slot.

    Raises:
        UserError: if its worker returned nothing.
    """
    executor.submit(0, task)
    _, done = executor.next()
    if isinstance(done, UserError):
        raise done
    if isinstance(done, Lost):
        raise UserError(f"its worker {done.reason}")
    assert isinstance(done, Done)
    return done


def _run_again(work: Work, threads: int) -> Done:
    """Runs here, or on a worker if JAX has started here with other threads than the worker that ran the trial had."""
    if threads != 1 or prepare_process(threads)["threads"] == "1":
        return run_work(work, threads=threads)
    executor = make_executor(Resources(workers=1))
    try:
        return _answer(executor, work)
    finally:
        executor.close()


def _alone(plan: Plan, trial: Trial) -> Plan:
    """A plan with nothing that a trial is not of: neither the code nor the data of others need be there.

    Raises:
        UserError: if no contender would have a trial of this id.
    """
    point = _point(trial)
    for problem, contender in plan.cells:
        if plan.trial(problem, contender, point, trial.stage, trial.seed, trial.until).id == trial.id:
            probes = plan.probes if trial.stage == "final" else {}
            return replace(plan, problems=[problem], contenders=[contender], probes=probes)
    raise UserError(f"trial {trial.id} is not one of this spec's; run its spec again, then replay it")


def _point(trial: Trial) -> Point:
    return Point(dict(trial.hyperparameters), dict(trial.identity["optimizer"]["static"]))


def _group(bound: BoundPlan, alone: Plan, trial: Trial) -> Group:
    """The functions to run a trial with."""
    (problem,), (contender,) = alone.problems, alone.contenders
    _require_functions(bound, trial.stage, problem.name, contender.label)
    return bound.group(problem, contender, _point(trial).static, stage=trial.stage)


def _require_functions(bound: BoundPlan, stage: Stage, problem: str, optimizer: str) -> None:
    missing = [f"problem '{problem}'"] if problem not in bound.problems else []
    missing += [f"optimizer '{optimizer}'"] if optimizer not in bound.methods else []
    looking = bound.plan.probes if stage == "final" else {}
    missing += [f"probe '{name}'" for name in looking if name not in bound.probes]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} came from your own code, which is not kept with this run; name the spec (dlkit "
            "replay RUN TRIAL --spec SPEC), or run your script again with the same folder (finished trials are reused) "
            "and call result.replay(trial)"
        )
