"""What a process that replays is given: a trial of code that the run folder keeps, or work for other threads."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.execution.own_code import bind_kept, open_kept, owners_in
from dlkit.bench.execution.parcels import use_settings
from dlkit.bench.execution.work import Done, Work, run_work
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.plan.json import from_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Stage, Trial
from dlkit.bench.spec.bound_plan import BoundPlan, Group, OwnProblem, ProblemSource
from dlkit.bench.store.store import Store
from dlkit.bench.training.lanes import Lanes

__all__ = ["Again", "WithThreads", "group_of", "point_of"]


class WithThreads(NamedTuple):
    """Work for a process whose XLA has so many threads, as a task.

    Attributes:
        work: what runs.
        threads: of XLA.
    """

    work: Work
    threads: int

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""
        return self.work.problem

    def with_own(self, own: OwnProblem | None) -> "WithThreads":
        """Returns the task with another object in the place of one's own problem."""
        return self._replace(work=self.work.with_own(own))

    def within(self, memory: int | None) -> "WithThreads":
        """Returns the task with a bound on what training examples may take."""
        return self._replace(work=self.work.within(memory))

    def run(self) -> Done:
        """Runs the work in this process."""
        return run_work(self.work, threads=self.threads)


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
        is_sampled: whether what its model generates is kept.
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
    is_sampled: bool = False

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
        group = group_of(bound, bound.plan, self.trial)
        work = Work(group, (self.shortened,), lanes=self.lanes, memory=self.memory, hands_over=self.hands_over)
        seed = self.trial.seed if self.is_sampled else None
        return run_work(work._replace(sampled_seed=seed), threads=self.threads)


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


def point_of(trial: Trial) -> Point:
    """Returns the setting that a trial was run with."""
    return Point(dict(trial.hyperparameters), dict(trial.identity["optimizer"]["static"]))


def group_of(bound: BoundPlan, alone: Plan, trial: Trial) -> Group:
    """Returns the functions to run a trial with.

    Args:
        bound: a plan with its functions.
        alone: the plan with nothing that the trial is not of.
        trial: which.

    Raises:
        UserError: for one's own functions that are nowhere.
    """
    (problem,), (contender,) = alone.problems, alone.contenders
    _require_functions(bound, trial.stage, problem.name, contender.label)
    return bound.group(problem, contender, point_of(trial).static, stage=trial.stage)


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
