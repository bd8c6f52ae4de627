"""Work is some trials of one compile group: what a worker gets, how it runs them, what it returns."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, Protocol

from dlkit.bench.errors import UserError
from dlkit.bench.execution import lease
from dlkit.bench.execution.checkpoints import Place, keeper_of, trials_beside
from dlkit.bench.execution.outcomes import failure, outcome_of, owner
from dlkit.bench.execution.packed_models import Packed, packed_or_why
from dlkit.bench.identity.replaced import Replaced, replaced_functions
from dlkit.bench.machine.boundary import is_asked_to_stop
from dlkit.bench.machine.preparation import bound_threads, prepare_process
from dlkit.bench.machine.program import jax_settings
from dlkit.bench.plan.trials import Outcome, Timing, Trial
from dlkit.bench.problems import Problem
from dlkit.bench.spec.bound_plan import Group, OwnProblem, ProblemSource
from dlkit.bench.spec.programs import forget_checked, require_same_programs
from dlkit.bench.training.curve import Request
from dlkit.bench.training.lane_memory import lane_bytes
from dlkit.bench.training.lanes import ALONE, Lanes, agreed, asked_for, fitting, is_out_of_memory, on_accelerator
from dlkit.bench.training.program import ProblemProgram, Program, compile_problem, compile_program
from dlkit.bench.training.trajectory import train_trials

__all__ = [
    "SLICE_SECONDS",
    "Done",
    "Task",
    "Timed",
    "Work",
    "forget_own_programs",
    "forget_programs",
    "program_alone",
    "run_work",
]

KEPT_PROBLEMS = 8  # whose data stay on the device
KEPT_PROGRAMS = 32
SLICE_SECONDS = 2.0  # a worker reports at least this often, after the trial in hand


class Work(NamedTuple):
    """Some trials of one compile group, as a task.

    Attributes:
        group: problem and recipe, which the trials share.
        trials: in the order in which they run.
        seconds: after so many, no further trial starts.
        lanes: how many run side by side, over all local devices or as given in full; None for the problem's devices,
            and of one what suits it: one at a time on CPU, and elsewhere as many as fit into memory.
        planned: how many trials the group has in this stage and a study, finished ones included.
        studies: how many studies there are. Their trials run side by side where they have the same examples; more
            lanes than such trials are no use.
        memory: bytes that training examples may take; None for what suits the device.
        sampled_seed: the seed whose final trial keeps what its model generates, where a problem has samples; None for
            no trial.
        hands_over: whether the models that its trials end with are returned, too.
        checkpoints: where long trials are kept while they run; None for nowhere.
        bound: seconds that each trial should train at most, where the trials themselves do not say so.
    """

    group: Group
    trials: tuple[Trial, ...]
    seconds: float = SLICE_SECONDS
    lanes: Lanes | int | None = None
    planned: int = 1
    studies: int = 1
    memory: int | None = None
    sampled_seed: int | None = None
    hands_over: bool = False
    checkpoints: Place | None = None
    bound: float | None = None

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""
        return self.group.problem

    @property
    def patience(self) -> float | None:
        """How many seconds each trial should train at most; None for no bound."""
        return self.trials[0].seconds if self.bound is None else self.bound

    def with_own(self, own: OwnProblem | None) -> "Work":
        """Returns the work with another object in the place of one's own problem."""
        return self._replace(group=replace(self.group, problem=replace(self.group.problem, own=own)))

    def within(self, memory: int | None) -> "Work":
        """Returns the work with a bound on what training examples may take."""
        return self._replace(memory=memory)

    def run(self) -> "Done":
        """Runs the work in this process."""
        return run_work(self)


class Task(Protocol):
    """What an executor runs on a slot."""

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""

    def with_own(self, own: OwnProblem | None) -> "Task":
        """Returns the task with another object in the place of one's own problem."""

    def within(self, memory: int | None) -> "Task":
        """Returns the task with a bound on what training examples may take."""

    def run(self) -> "Done | Timed":
        """Runs the task in this process."""


class Timed(NamedTuple):
    """What a timing returns.

    Attributes:
        timings: one a contender.
        program: what they are timings of.
    """

    timings: tuple[Timing, ...]
    program: Mapping[str, str]


class Done(NamedTuple):
    """What work returns; one program made all of it.

    Attributes:
        outcomes: of its first trials; the others did not start.
        program: what ran them.
        interrupted: whether Ctrl-C ended it.
        models: of the outcomes, where work hands them over; of one that cannot be, why.
        notes: what the user is to hear.
    """

    outcomes: tuple[Outcome, ...]
    program: Mapping[str, str]
    interrupted: bool = False
    models: tuple[Packed, ...] = ()
    notes: tuple[str, ...] = ()


class _Conditions(NamedTuple):
    """What a program is compiled under, beside its group.

    Attributes:
        lanes: how many trials run side by side.
        memory: bytes that training examples may take.
        settings: JAX's, by name.
        replaced: functions that are other ones than dlkit's and the libraries'.
    """

    lanes: Lanes
    memory: int | None
    settings: tuple[tuple[str, Any], ...]
    replaced: tuple[Replaced, ...]

    def key(self, key: str, *, is_own: bool) -> str:
        """The key that executables are kept under: none for what is one's own, or uses what is."""
        return "" if is_own or self.replaced else key


def _conditions(lanes: Lanes, memory: int | None) -> _Conditions:
    return _Conditions(lanes, memory, tuple(jax_settings().items()), replaced_functions())


# Sources and groups are equal if they compute the same: see `Group.key`.
@lru_cache(maxsize=KEPT_PROBLEMS)
def _problem_program(source: ProblemSource, under: _Conditions) -> ProblemProgram:
    key = under.key(source.key, is_own=source.own is not None)
    return compile_problem(_loaded(source), under.lanes, under.memory, key=key)


def _loaded(source: ProblemSource, **traced: Any) -> Problem:
    """The problem, which is the one that was planned: what is compiled is kept as that, and its data are part of it."""
    problem = source.load(**traced)
    if source.own is None and problem.dataset.digest != source.data:
        raise UserError(
            f"problem '{source.name}': its data have digest {problem.dataset.digest[:12]} here, and had "
            f"{source.data[:12]} when this was planned; leave its files as they are until the run is over, and run "
            "again for what they hold now"
        )
    return problem


@lru_cache(maxsize=KEPT_PROGRAMS)
def _program(group: Group, under: _Conditions) -> Program:
    if group.is_own:
        require_same_programs(group)
        _OWN.add(group.key)
    variant = partial(_loaded, group.problem) if group.recipe.choices else None
    key = under.key(group.key, is_own=group.is_own)
    return compile_program(_problem_program(group.problem, under), group.recipe, variant=variant, key=key)


_OWN: set[str] = set()  # keys of the groups of one's own among those that were compiled


def forget_programs() -> None:
    """Drops the programs that this process keeps, with the data that they hold."""
    _program.cache_clear()
    _problem_program.cache_clear()
    forget_checked()
    _OWN.clear()


def forget_own_programs() -> None:
    """Drops the programs that this process keeps if some are of the user's own functions."""
    if _OWN:
        forget_programs()


@cache
def _narrowed() -> dict[str, Lanes]:
    """Group key -> the lanes to try next, of groups that did not fit into memory in this process."""
    return {}


@lru_cache(maxsize=32)
def _fitting(group: Group, planned: int, studies: int, memory: int | None) -> Lanes:
    """The lanes of a group that fit into memory; the answer takes a trace, so it is kept."""
    program = program_alone(group, memory)
    return fitting(planned * (1 if program.shared.redraws else studies), lane_bytes(program))


def _lanes(work: Work) -> Lanes:
    """The lanes of some work: those asked for, or what fits; fewer once memory was not enough."""
    lanes = asked_for(work.lanes, work.problem.devices)
    if lanes is None:
        fits = on_accelerator()
        lanes = _fitting(work.group, work.planned, work.studies, work.memory) if fits else ALONE
    less = _narrowed().get(work.group.key)
    return less if less is not None and less.width < lanes.width else lanes


def program_alone(group: Group, memory: int | None = None, lanes: Lanes = ALONE) -> Program:
    """Returns a group's program for one trial at a time; trials of this process may have compiled it."""
    return _program(group, _conditions(lanes, memory))


@bound_threads()
def run_work(work: Work, *, threads: int = 1) -> Done:
    """Runs trials of one group in this process until its seconds are over; at least one.

    A trial that raises becomes an outcome that says why, and ends the group's turn.

    Args:
        work: what to run.
        threads: of XLA, as in `prepare_process`. Linear algebra has one.

    Returns:
        The outcomes of the trials that ended.
    """
    program = dict(prepare_process(threads))
    outcomes: list[Outcome] = []
    models: list[Packed] = []
    notes: list[str] = []
    deadline = time.monotonic() + work.seconds
    try:
        lanes = _lanes(work)
    except (Exception, SystemExit) as error:  # tracing calls the user's functions
        return Done((failure(work.group, work.trials[0], error),), program)
    under = _conditions(lanes, work.memory)  # once a task: it looks through modules, and trials may take a millisecond
    while len(outcomes) < len(work.trials):
        program["lanes"] = str(under.lanes)
        done = {each.trial.id for each in outcomes}
        rest = [trial for trial in work.trials if trial.id not in done]
        lease.takes(work.trials.index(rest[0]))
        try:
            ready = _program(work.group, under)
            outcomes += _run_trials(ready, _batch(rest, ready, work.checkpoints), work, models, program, notes)
        except KeyboardInterrupt:
            return Done(tuple(outcomes), program, True, tuple(models), tuple(notes))
        except (Exception, SystemExit) as error:
            fewer = under.lanes.halved() if is_out_of_memory(error) else None
            if fewer is None:
                outcomes.append(failure(work.group, rest[0], error))
                break
            _narrowed()[work.group.key] = fewer
            forget_programs()  # their memory is needed
            if outcomes:
                break  # they were run by another program than the next ones will be
            under = under._replace(lanes=fewer)
            continue
        if agreed(time.monotonic() > deadline or is_asked_to_stop(), under.lanes):
            break
    return Done(tuple(outcomes), program, is_asked_to_stop(), tuple(models), tuple(notes))


def _batch(trials: Sequence[Trial], program: Program, checkpoints: Place | None) -> Sequence[Trial]:
    """The first trials that can run side by side: of the same examples, evaluated on one split, until the same end.

    Lanes that were killed together go on together.
    """
    left = {trial.id: trial for trial in trials}
    if not program.shared.lanes.alone:
        beside = trials_beside(checkpoints, trials[0].id)
        if beside and len(beside) <= program.shared.lanes.trials and left.keys() >= set(beside):
            return [left[each] for each in beside]

    def kind(trial: Trial) -> tuple[Any, ...]:
        return trial.is_judged, trial.study if program.shared.redraws else 0, trial.until, trial.seconds

    alike = itertools.takewhile(lambda each: kind(each) == kind(trials[0]), trials)
    return list(itertools.islice(alike, program.shared.lanes.trials))


def _run_trials(
    program: Program,
    trials: Sequence[Trial],
    work: Work,
    models: list[Packed],
    identity: Mapping[str, str],
    notes: list[str],
) -> list[Outcome]:
    requests = [
        Request(trial.hyperparameters, trial.stage, trial.seed, trial.gradients, trial.order) for trial in trials
    ]
    first = trials[0]
    segment, advance = lease.with_signs(program.segment), lease.with_signs(program.advance)
    program = replace(program, segment=segment, advance=advance)
    keeper = keeper_of(work.checkpoints, [trial.id for trial in trials], identity, owner(work.group))
    try:
        results = train_trials(program, requests, until=first.until, seconds=first.seconds, keeper=keeper)
    finally:
        notes += [] if keeper is None else keeper.notes
    models += [packed_or_why(each.params, each.state) for each in results] if work.hands_over else []
    sampled = work.sampled_seed
    return [
        outcome_of(work.group, program, trial, result, sampled) for trial, result in zip(trials, results, strict=True)
    ]
