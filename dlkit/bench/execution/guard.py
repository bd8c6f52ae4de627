"""The guard before reuse: does one's own code still compute what it did when its stored trials ran?

What a program computes is hashed, but a hash cannot see all of it: what a callback does on the host, say. So before
stored trials of somebody's own problem, optimizer or probe are reused, one of them runs again for the first points of
its curve, and every bit is compared.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dlkit.bench.analysis.numbers import number
from dlkit.bench.execution.jobs import Job
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.machine.program import BIT_FIELDS
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.store.trial_rows import Record
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.trajectory import call_points
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import reruns
from dlkit.bench.tuning.winner import tune

__all__ = ["Check", "checks", "difference", "same_code"]


class Check:
    """A job that stores nothing: a stored trial runs again, as far as its first points, and is compared.

    Attributes:
        label: how progress calls it.
        after: no other job.
        problem: whose trial it is.
        contender: of whom.
        trials: none that the run counts.
        done: none.
        reused: the stored trials that the plan reuses.
        difference: what it computes else, in words; empty if nothing, or if that could not be found out.
        failure: of a trial that raised now, what to store of it.
        doubt: why it could not be found out, in words; empty if it could.
    """

    trials = done = 0
    after: Sequence[Job] = ()

    def __init__(
        self, bound: BoundPlan, problem: PlannedProblem, contender: PlannedContender, reused: Sequence[Record]
    ) -> None:
        self.label = f"{problem.name} / {contender.label}"
        self.problem, self.contender = problem, contender
        self.reused = sorted(reused, key=_preference)
        self.difference = self.doubt = ""
        self.failure: Outcome | None = None
        self._bound = bound
        self._record: Record | None = self.reused[0]
        self._has_moved = False  # to a trial of the machine that checks
        self._before: Outcome | None = None  # of the same trial, when it ran again and differed

    @property
    def owner(self) -> str:
        """Whose code it is, for messages."""
        return f"optimizer '{self.contender.label}' on problem '{self.problem.name}'"

    def work(self, in_hand: Collection[str] = ()) -> Work | None:
        """Returns the first points of the trial to run again; None once everything is known."""
        if self._record is None:
            return None
        outcome, program = self._record
        trial = outcome.trial
        # What was over sooner ends so again, but for a clock; and a clock may say something else now.
        until = trial.until if _is_whole(outcome) else min(_first(trial), max(len(outcome.steps) - 1, 1))
        shorter = trial._replace(identity={**trial.identity, "seconds": None, "until": until})
        group = self._bound.group(
            self.problem, self.contender, trial.identity["optimizer"]["static"], stage=trial.stage
        )
        return Work(group, (shorter,), lanes=Lanes.parse(program["lanes"]), bound=trial.seconds)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing to keep."""

    def lose(self, trial: Trial) -> None:
        """What comes next says so."""

    def answer(self, done: Done) -> None:
        """Compares what came back with what is stored."""
        if not done.outcomes or self._record is None:  # Ctrl-C
            return
        (now,), then = done.outcomes, self._record.outcome
        if not now.counts or now.is_empty:
            kept = f"; {_count(len(self.reused))} stored when it did run: they are kept, and count again when it does"
            self.failure = failed(then.trial, now.reason + kept, now.traceback)
            self._record = None
        elif not _same_bits(self._record.program, done.program):
            alike = [each for each in self.reused if _same_bits(each.program, done.program)]
            self._record = alike[0] if alike and not self._has_moved else None
            self._has_moved = True
            if self._record is None:
                self.doubt = "they ran on another machine, or with other threads, where last bits may differ"
        elif self._before is not None:  # it differed, and has run once more
            if difference(self.problem, self._before, now):
                self.doubt = "the same trial, run twice just now, gave two curves"
            else:
                self.difference = difference(self.problem, then, now)
            self._record = None
        elif difference(self.problem, then, now):
            self._before = now
        else:
            self._record = None


def checks(bound: BoundPlan, history: History, records: Mapping[str, Record]) -> list[Check]:
    """Returns a check of each program of one's own whose trials a plan reuses, of every contender on every problem.

    Args:
        bound: the plan.
        history: of it.
        records: what is stored of the current software: id -> record.
    """
    found: list[Check] = []
    own = {name: record for name, record in records.items() if record.outcome.trial.program}
    for problem, contender in bound.plan.cells if own else ():
        planned = (own[name] for name in _planned(history, problem, contender) if name in own)
        reused = [record for record in planned if not record.outcome.is_empty]  # which has nothing to compare
        by_program: dict[tuple[str, ...], list[Record]] = {}
        for record in reused:  # static choices have each their own program
            by_program.setdefault(tuple(record.outcome.trial.program[:2]), []).append(record)
        found += [Check(bound, problem, contender, alike) for alike in by_program.values()]
    return found


def same_code(check: Check, records: Mapping[str, Record]) -> list[Record]:
    """Returns every stored trial of the code that a check is of, of whatever budget."""
    codes = {_code(each.outcome.trial) for each in check.reused}
    return [record for record in records.values() if _code(record.outcome.trial) in codes]


def difference(problem: PlannedProblem, then: Outcome, now: Outcome) -> str:
    """Returns where two curves of one trial first differ in a bit, as far as both go; empty if nowhere.

    Args:
        problem: whose.
        then: the stored one.
        now: the one that ran again; it may be shorter.

    Returns:
        Such as ``"accuracy 0.5325 then, 0.6557 now at step 10"``.
    """
    points = min(len(then.steps), len(now.steps))
    if _is_whole(then) and (then.status, then.diverged_at) != (now.status, now.diverged_at):
        return f"{_ended(then)} then, {_ended(now)} now"
    if points < min(2, len(then.steps)) or then.steps[:points].tobytes() != now.steps[:points].tobytes():
        return "another number of steps"
    if then.curves.keys() != now.curves.keys():
        return f"{', '.join(sorted(then.curves))} then, {', '.join(sorted(now.curves))} now"
    differing = []
    for metric in sorted(then.curves, key=lambda name: (name != problem.metric, name)):
        before, after = (np.ascontiguousarray(each.curves[metric][:points], "<f4") for each in (then, now))
        places = np.flatnonzero(before.view("<u4") != after.view("<u4"))
        if len(places):
            at = int(places[0])
            differing.append((at, metric, float(before[at]), float(after[at])))
    if not differing:
        spent, again = then.gradients_so_far[:points], now.gradients_so_far[:points]
        return "" if spent.tobytes() == again.tobytes() else "another number of gradients a step"
    at, metric, before_value, after_value = min(differing, key=lambda each: each[0])
    before_text, after_text = (number(value, digits=4) for value in (before_value, after_value))
    if before_text == after_text:  # in the last bits
        before_text, after_text = f"{before_value:.9g}", f"{after_value:.9g}"
    return f"{metric.replace('_', ' ')} {before_text} then, {after_text} now at step {int(then.steps[at])}"


def _planned(history: History, problem: PlannedProblem, contender: PlannedContender) -> dict[str, None]:
    """The ids of a contender's trials in a plan, as far as they are known, those that set targets included."""
    trials: list[Trial] = []
    for study in history.plan.studies(problem, contender):
        tuning = tune(history, problem, contender, study=study)
        trials += tuning.known
        if tuning.point is not None:
            trials += history.final_trials(problem, contender, tuning.point, study=study)
    again = reruns(history, problem) if problem.target is None else None
    if again is not None and again.contender is contender:
        trials += again.trials
    return dict.fromkeys(trial.id for trial in trials)


def _code(trial: Trial) -> str:
    """What a trial was of, whatever its budget, its setting and what looked at it."""
    problem, optimizer = trial.identity["problem"], trial.identity["optimizer"]
    facts = _without(problem, ("batch_size", "order")), _without(optimizer, ("static",))
    return canonical([*facts, trial.program[:2]])


def _without(facts: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def _preference(record: Record) -> tuple[bool, ...]:
    """Sorts the trials that show most to the front: whole ones, and of those final ones, which have probes."""
    outcome = record.outcome
    return outcome.status == "diverged", len(outcome.steps) <= _first(outcome.trial), outcome.trial.stage != "final"


def _first(trial: Trial) -> int:
    """The evaluation at which the first call of a trial's segment ends."""
    return min(call_points(trial.identity["evaluations"]), trial.until or trial.identity["evaluations"])


def _is_whole(outcome: Outcome) -> bool:
    """Whether a trial is over so soon that all of it runs again."""
    return outcome.status != "cut off" and len(outcome.steps) <= _first(outcome.trial)


def _same_bits(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two programs of one software promise the same bits."""
    return all(then.get(field) == now.get(field) for field in BIT_FIELDS)


def _ended(outcome: Outcome) -> str:
    return outcome.status if outcome.diverged_at is None else f"diverged at step {outcome.diverged_at}"


def _count(trials: int) -> str:
    return "1 trial was" if trials == 1 else f"{trials} trials were"
