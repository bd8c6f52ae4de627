"""Runs a plan in rounds: hands out work and stores what comes back; then widens spaces, adds studies or seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dlkit.bench.analysis.settling import more_blocks
from dlkit.bench.errors import UserError
from dlkit.bench.execution.checkpoints import Place
from dlkit.bench.execution.executor import Executor, Workers
from dlkit.bench.execution.guard import Check, checks, same_code
from dlkit.bench.execution.jobs import ContenderJob, Job, TargetJob
from dlkit.bench.execution.keeping import KeepJob, keep_jobs
from dlkit.bench.execution.own_code import keep_own_code
from dlkit.bench.execution.progress import Listener
from dlkit.bench.execution.races import Race, machine_digest, races
from dlkit.bench.execution.slots import (
    Answers,
    Keeping,
    SomeJob,
    Unstored,
    drive,
    require_same_software,
)
from dlkit.bench.execution.step_times import before_training, needs_step_times, races_before, scaled, with_known_times
from dlkit.bench.execution.work import Done, Timed
from dlkit.bench.machine.preparation import bound_threads
from dlkit.bench.machine.program import program_identity, program_of_workers
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.shards import Shard, Share, share_of
from dlkit.bench.plan.trials import Trial, timing_key
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.store.kept_code import About
from dlkit.bench.store.software import differences
from dlkit.bench.store.store import Store
from dlkit.bench.store.trial_rows import Record
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import sets_targets
from dlkit.bench.tuning.widening import ROUNDS
from dlkit.bench.tuning.widening import expand as widened

__all__ = ["Report", "run"]


class Report(NamedTuple):
    """How a run ended.

    Attributes:
        interrupted: whether Ctrl-C ended it.
        bound: what ran, with the spaces that were widened and the studies or seeds that were added.
    """

    interrupted: bool
    bound: BoundPlan


@dataclass(frozen=True)
class _Context:
    """What stays the same over all rounds of a run."""

    store: Store
    workers: Workers
    progress: Listener
    lanes: int | None
    program: Mapping[str, str]
    unstored: Unstored
    code: Sequence[About] = ()  # what is kept of one's own code
    stopped: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # what cannot run now; see `_settle`
    share: Share | None = None  # what of the plan is run; None for all of it
    checkpoints: Place | None = None
    weights: Mapping[str, float] = field(default_factory=dict)  # problem -> seconds of a trial, where that is known


@bound_threads()
def run(
    bound: BoundPlan,
    store: Store,
    make_executor: Callable[[], Executor],
    progress: Listener,
    *,
    lanes: int | None = None,
    trust: bool = False,
    remote: bool = False,
    here: bool = True,
    shard: Shard | None = None,
    keep: bool = False,
    checkpoints: Place | None = None,
    weights: Mapping[str, float] | None = None,
) -> Report:
    """Runs every trial of a plan that the store does not have, and stores it.

    Before stored trials of one's own code are reused, one of each contender on each problem runs again for a moment
    (`guard`). Where it gives other bits, all stored trials of that code are set aside, and run again.

    What the plan says happens in this order. With budgets of seconds, step times that the store does not have are
    measured, on one slot. With `expand`, spaces whose winners lie at an edge are widened, up to
    `widening.ROUNDS` times. With `max_studies` or `max_seeds`, studies or seeds are added until it is settled who is
    best. With `timing`, the tuned contenders' steps are timed, each problem's side by side on one slot while the others
    rest.

    Ctrl-C stores what is finished and ends the workers; it gives up the timing in hand at once.

    A shard runs its part of what was planned. Widening, adding and timing need all parts: a run of the merged folder
    does it.

    Args:
        bound: what to run.
        store: where results go; only this process writes to it.
        make_executor: starts the workers; called only if there is something to run.
        progress: hears how it goes.
        lanes: how many trials run side by side; None for what suits the device.
        trust: whether stored trials of one's own code are reused unseen.
        remote: whether the workers may be on other machines, with another kind of device: they are asked first.
        here: whether trials run in this process, with the threads that its XLA has; local workers have one.
        shard: which part of the plan is run; None for all of it.
        keep: whether the best final trials run once more at the end, to keep their models: see `models`.
        checkpoints: where long trials are kept while they run; None for nowhere.
        weights: problem -> seconds that one of its trials usually takes, where that is known: the longest begin first.

    Returns:
        How it ended.

    Raises:
        UserError: if the workers run other software than this process, or steps cannot be timed that a budget of
            seconds is counted by; and for a shard of a plan with such a budget.
    """
    share = None if shard is None else _share(bound.plan, shard, progress)
    workers = Workers(make_executor)
    try:
        own = program_identity if here else program_of_workers
        program = (workers.start().program if remote else None) or own()
        unstored = Unstored(store, checkpoints)
        context = _Context(store, workers, progress, lanes, program, unstored, share=share, weights=weights or {})
        context = replace(context, checkpoints=checkpoints)
        before = store.software()
        asked, bound = bound, _with_step_times(context, bound)
        history, records = _stored(bound.plan, context)
        if before not in (None, store.software()):
            _say_what_is_apart(context, records)
        guarding = [] if trust else checks(bound, history, records)
        if guarding and _drive(context, guarding, _Comparing()):
            _say_what_is_unchecked(context, guarding)
            return Report(True, bound)
        has_changed = _settle(context, guarding, asked, history, records)
        if has_changed:
            bound = _with_step_times(context, asked)
        if has_changed or context.stopped:
            history, _ = _stored(bound.plan, context)
        context = replace(context, code=keep_own_code(bound, store, progress, anew=has_changed))
        if share is not None:
            return Report(_round(context, bound, history), bound)
        for _ in range(ROUNDS if bound.plan.expand else 0):
            if _round(context, bound, history):
                return Report(True, bound)
            wider = widened(history)
            if wider is None:
                break
            bound, history = replace(bound, plan=wider), history.with_plan(wider)
        while bound.plan.most_blocks is not None:
            if _round(context, bound, history):
                return Report(True, bound)
            addition = more_blocks(history)
            if addition is None:
                break
            for each in addition.problems:
                progress.adding(each)
            bound, history = replace(bound, plan=addition.plan), history.with_plan(addition.plan)
        is_interrupted = _round(context, bound, history) or (bound.plan.timing and _time(context, bound, history))
        is_interrupted = is_interrupted or (keep and _keep_models(context, bound, history))
        return Report(is_interrupted, bound)
    except KeyboardInterrupt:  # between rounds
        return Report(True, bound)
    finally:
        if wrong := workers.close():
            progress.warn(wrong)


def _share(plan: Plan, shard: Shard, progress: Listener) -> Share:
    """What of a plan a shard runs; says what has to wait for the other shards."""
    if needs_step_times(plan):
        raise UserError(
            f"shard {shard}: a budget of seconds is counted by step times that one run measures; divide a budget of "
            "steps, gradients or examples"
        )
    later = [(plan.expand, "widening spaces"), (plan.most_blocks, f"adding {plan.unit}"), (plan.timing, "timing steps")]
    if waits := [words for is_asked, words in later if is_asked]:
        progress.warn(
            f"shard {shard} leaves {' and '.join(waits)} to the run of the merged folder: it takes all shards"
        )
    share = share_of(plan, shard)
    if not share.studies:
        progress.warn(f"shard {shard} has nothing to run: there are fewer tunings than shards")
    return share


def _stored(plan: Plan, context: _Context) -> tuple[History, Mapping[str, Record]]:
    """A plan with the outcomes that need not run again and the points that were drawn; and what was stored of them."""
    context.store.use_software(context.program)
    records = context.store.records(context.store.finished().difference(*context.stopped.values()))
    history = History(plan, {name: record.outcome for name, record in records.items()}, context.store.drawn())
    return history, records


def _say_what_is_apart(context: _Context, records: Mapping[str, Record]) -> None:
    """Says how many stored trials are of other software and have none of this one beside them."""
    for each in context.store.apart():
        many = len(each.trials - records.keys())
        if many and not each.set_aside:
            context.progress.warn(
                f"{many} stored {'trial was' if many == 1 else 'trials were'} made by other software or settings: "
                f"{differences(each.program, context.program)}; they are kept, but never mixed with this one's: "
                "what this run needs of them is trained again"
            )


# --- the guard before reuse ---


class _Comparing:
    """Gives what comes back to its check; nothing is stored."""

    def take(self, check: Check, done: Done) -> None:
        """Compares."""
        check.answer(done)

    def keep(self, check: Check, done: Done) -> None:
        """Nothing to keep."""


def _say_what_is_unchecked(context: _Context, guarding: Sequence[Check]) -> None:
    """Says, after Ctrl-C, which stored trials are shown as they are."""
    trials = sum(len(check.reused) for check in guarding if check.work() is not None)
    if trials:
        context.progress.warn(
            f"stopped before it was known whether your code still computes what it did when {trials} stored "
            f"{'trial' if trials == 1 else 'trials'} ran: what is shown rests on them as they are; run it again"
        )


def _settle(
    context: _Context, guarding: Sequence[Check], asked: BoundPlan, history: History, records: Mapping[str, Record]
) -> bool:
    """Says what checks found, and sets aside what is no longer true; returns whether there was any.

    Trials that do not run any more stay stored. Their contender rests, and its result says why; no wider space and no
    more blocks follow from them meanwhile.
    """
    failures = [check.failure for check in guarding if check.failure is not None]
    context.store.keep_broken(failures, context.program)
    left, is_changed = dict(records), False
    for check in guarding:
        stale = {record.outcome.trial.id: record.outcome.trial for record in same_code(check, left)}
        trials = f"its {len(stale)} stored trials" if len(stale) > 1 else "its stored trial"
        if check.failure is not None:
            reused = {record.outcome.trial.id for record in check.reused}  # of one of the contender's programs
            context.stopped.setdefault((check.problem.name, check.contender.label), set()).update(reused)
        elif check.doubt and stale:
            context.progress.warn(
                f"{check.owner}: whether your code still computes what it did when {trials} ran cannot be told bit "
                f"for bit: {check.doubt}; they are reused"
            )
        elif check.difference and stale:
            context.progress.warn(
                f"{check.owner}: your code computes something else than when {trials} ran ({check.difference}); they "
                "are set aside and trained again"
            )
            _set_aside(context.store, check, stale, asked, history)
            left = {name: record for name, record in left.items() if name not in stale}
            is_changed = True
    return is_changed


def _set_aside(store: Store, check: Check, stale: Mapping[str, Trial], asked: BoundPlan, history: History) -> None:
    """Sets trials aside, and what rests on them: drawn points, step times, targets."""
    plan, problem, contender = history.plan, check.problem, check.contender
    before = next(each for each in asked.plan.problems if each.name == problem.name)
    store.set_aside(
        trials=stale,
        searches=[history.search_key(problem, contender, study) for study in plan.studies(problem, contender)],
        timings={timing_key(trial) for trial in stale.values()} | {before_training(asked.plan, before, contender)},
        targets=[problem.name] if sets_targets(plan, problem, contender) else [],
    )


def _drive(context: _Context, jobs: Sequence[SomeJob], answers: Answers[SomeJob]) -> bool:
    """Runs what is left of some jobs; returns whether Ctrl-C ended it."""
    return drive(context.workers.start(), jobs, answers, context.progress, context.program, weights=context.weights)


def _round(context: _Context, bound: BoundPlan, history: History) -> bool:
    """Runs what is left of a plan; returns whether Ctrl-C ended it."""
    plan = bound.plan
    context.store.use_plan(plan, bound.sources, context.code, bound.groups)
    share = context.share
    jobs = [
        ContenderJob(
            bound,
            problem,
            contender,
            context.unstored,
            history,
            context.lanes,
            share and share.studies[cell],
            context.checkpoints,
        )
        for problem, contender in plan.cells
        if (cell := (problem.name, contender.label)) not in context.stopped and (not share or cell in share.studies)
    ]
    unset = [each for each in plan.problems if each.target is None and (not share or each.name in share.targets)]
    every: list[Job] = [*jobs, *(_target_job(context, bound, each, history, jobs) for each in unset)]
    keeping = Keeping(context.unstored, context.progress, every)
    try:
        return any(job.work() is not None for job in every) and _drive(context, every, keeping)
    except KeyboardInterrupt:
        return True


def _target_job(
    context: _Context, bound: BoundPlan, problem: PlannedProblem, history: History, jobs: Sequence[ContenderJob]
) -> TargetJob:
    """What sets a problem's targets, after its baselines and before everyone else there; no other problem waits."""
    here = [job for job in jobs if job.problem.name == problem.name]
    baselines = [job for job in here if sets_targets(bound.plan, problem, job.contender)]
    setting = TargetJob(
        bound, problem, history, context.lanes, context.checkpoints, store=context.unstored, after=baselines
    )
    if setting.targets() is None:
        for job in here:
            job.after = () if job in baselines else (setting,)
    return setting


def _with_step_times(context: _Context, bound: BoundPlan) -> BoundPlan:
    """A plan whose budgets of seconds are numbers of steps: by the times that are stored, or that are measured now."""
    if not needs_step_times(bound.plan):
        return bound
    context.store.use_software(context.program)
    for race, yardstick in races_before(bound, context.store.timings()):
        timings = _race(context, race)
        found = scaled(race, timings.timings, yardstick, context.store.timings())
        context.store.keep_timings(found, timings.program, machine_digest(context.program))
    return with_known_times(bound, context.store.timings())


def _race(context: _Context, race: Race) -> Timed:
    """Runs a race while everything else rests."""
    context.progress.timing(f"{race.problem.name} / timing")
    timed = race.timed_on(context.workers.start())
    if not timed.program:  # no worker answered
        return timed._replace(program=context.program)
    require_same_software(timed.program, context.program)
    return timed


def _time(context: _Context, bound: BoundPlan, history: History) -> bool:
    """Times the contenders of each problem that are not timed yet; returns whether Ctrl-C ended it."""
    machine = machine_digest(context.program, bound.problems.values())
    try:
        for race in races(bound, history, context.store, machine):
            timed = _race(context, race)
            context.store.keep_timings(dict(zip(race.keys, timed.timings, strict=True)), timed.program, machine)
        return False
    except KeyboardInterrupt:
        return True


# --- models ---


class _KeepingModels:
    """Writes what comes back beside the store."""

    def take(self, job: KeepJob, done: Done) -> None:
        """Nothing is next."""
        job.finish()

    def keep(self, job: KeepJob, done: Done) -> None:
        """Writes."""
        job.keep(done)


def _keep_models(context: _Context, bound: BoundPlan, history: History) -> bool:
    """Keeps the models of the best final trials that are not kept yet; returns whether Ctrl-C ended it."""
    folder = context.store.folder
    assert folder is not None
    jobs = list(keep_jobs(bound, history, context.store.records(), folder))
    try:
        is_interrupted = bool(jobs) and _drive(context, jobs, _KeepingModels())
    except KeyboardInterrupt:
        return True
    for job in jobs:
        if job.warning:
            context.progress.warn(job.warning)
    return is_interrupted
