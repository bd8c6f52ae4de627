"""A race times the steps of a problem's tuned contenders side by side, as a task for one worker."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dlkit.bench.execution.executor import Executor, Lost
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.execution.work import Timed, prepare_process, program_alone
from dlkit.bench.identity.hashing import digest
from dlkit.bench.machine.program import program_identity
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Timing, Trial, timing_key
from dlkit.bench.spec.bound_plan import BoundPlan, Group, OwnProblem, ProblemSource
from dlkit.bench.store.store import Store
from dlkit.bench.training.lanes import split_over
from dlkit.bench.training.stopwatch import Contestant, measure
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune

__all__ = ["Entrant", "Race", "machine_digest", "races"]

MACHINE_FIELDS = ("device", "cpu_flags", "system")  # of a program's identity


class Entrant(NamedTuple):
    """A tuned contender in a race.

    Attributes:
        group: its programs, without probes and early stopping.
        hyperparameters: of its winner.
    """

    group: Group
    hyperparameters: Mapping[str, float]


class Race(NamedTuple):
    """The timing of a problem's contenders, as a task.

    Attributes:
        keys: of the timings, in the order of the entrants.
        entrants: whose steps are timed.
        memory: bytes that training examples may take; None for what suits the device.
    """

    keys: tuple[str, ...]
    entrants: tuple[Entrant, ...]
    memory: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets entrants travel apart: each with its own code, in which other modules may have the same names."""
        return _opened, (self.keys, [pack(each) for each in self.entrants], self.memory)

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""
        return self.entrants[0].group.problem

    def with_own(self, own: OwnProblem | None) -> "Race":
        """Returns the race with another object in the place of one's own problem."""
        groups = [replace(each.group, problem=replace(each.group.problem, own=own)) for each in self.entrants]
        entrants = [each._replace(group=group) for each, group in zip(self.entrants, groups, strict=True)]
        return self._replace(entrants=tuple(entrants))

    def within(self, memory: int | None) -> "Race":
        """Returns the race with a bound on what training examples may take."""
        return self._replace(memory=memory)

    def run(self) -> Timed:
        """Times the entrants in this process."""
        program = dict(prepare_process())
        lanes = split_over(self.problem.devices)
        program["lanes"] = str(lanes)
        contestants = [
            Contestant(program_alone(each.group, self.memory, lanes), each.hyperparameters) for each in self.entrants
        ]
        return Timed(tuple(measure(contestants)), program)

    def timed_on(self, executor: Executor) -> Timed:
        """Times the entrants on an executor's first slot. If its worker returns nothing, each timing says why.

        Raises:
            KeyboardInterrupt: if Ctrl-C came; the executor must be closed then.
        """
        executor.submit(0, self)
        _, timed = executor.next()
        if isinstance(timed, Timed):
            return timed
        why = f"its worker {timed.reason}" if isinstance(timed, Lost) else str(timed)
        return Timed(tuple(Timing(failure=why) for _ in self.entrants), program_identity())


def _opened(keys: tuple[str, ...], entrants: Sequence[Parcel], memory: int | None) -> Race:
    return Race(keys, tuple(unpack(each) for each in entrants), memory)


def machine_digest(program: Mapping[str, str], problems: Iterable[ProblemSource] = ()) -> str:
    """Returns the hash of those fields of a program's identity that tell machines apart.

    Args:
        program: the identity.
        problems: that are timed there: those whose batches are split over devices take other times.
    """
    split = {each.name: each.devices for each in problems if each.devices > 1}
    return digest({name: program.get(name, "") for name in MACHINE_FIELDS} | ({"split": split} if split else {}))


def races(bound: BoundPlan, history: History, store: Store, machine: str) -> Iterator[Race]:
    """Yields a race for each problem whose contenders were not all timed side by side on this machine.

    Args:
        bound: what ran.
        history: of its plan.
        store: the timings so far.
        machine: this machine.

    Yields:
        The races, of the contenders whose final trials have all run.
    """
    failed = {key for key, timing in store.timings().items() if timing.failure}
    for problem in bound.plan.problems:
        entrants: dict[str, Entrant] = {}
        for contender in bound.plan.contenders_on(problem):
            point, trials = _first_finals(history, problem, contender)
            if point is not None and all(trial.id in history.outcomes for trial in trials):
                group = bound.group(problem, replace(contender, stopping=None), point.static)
                entrants[timing_key(trials[0])] = Entrant(group, point.hyperparameters)
        known = store.timed_together(entrants, machine) and not failed & entrants.keys()
        if entrants and not known:
            yield Race(tuple(entrants), tuple(entrants.values()))


def _first_finals(
    history: History, problem: PlannedProblem, contender: PlannedContender
) -> tuple[Point | None, Sequence[Trial]]:
    """The winner and the final trials of the first study that found one; None and none before."""
    for study in history.plan.studies(problem, contender):
        tuning = tune(history, problem, contender, study=study)
        if tuning.missing:
            break
        if tuning.point is not None:
            return tuning.point, history.final_trials(problem, contender, tuning.point, study=study)
    return None, ()
