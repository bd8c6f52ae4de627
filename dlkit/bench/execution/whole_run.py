"""A run from its experiment to its summary: planned, looked at, carried out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError
from dlkit.bench.examination.examine import examine
from dlkit.bench.examination.opening import opening
from dlkit.bench.examination.ticks import Examination
from dlkit.bench.execution import runner
from dlkit.bench.execution.checkpoints import kept_checkpoints
from dlkit.bench.execution.displays import live_progress
from dlkit.bench.execution.executor import Executor
from dlkit.bench.execution.executors import early_workers, make_executor
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources, resources_of
from dlkit.bench.machine.preparation import bound_threads, fill_standard_descriptors, prepare_process
from dlkit.bench.machine.program import program_identity, program_of_workers
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.spec import planner
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.entries import Experiment
from dlkit.bench.spec.given import briefly
from dlkit.bench.spec.parameter_groups import with_groups
from dlkit.bench.store.database import FILE
from dlkit.bench.store.store import Store

__all__ = ["EndedRun", "carry_out", "examined", "planned"]


class EndedRun(NamedTuple):
    """What came of a run.

    Attributes:
        summary: the tables and verdicts as data.
        bound: the plan with the functions that ran.
        interrupted: whether Ctrl-C ended it early.
        followed: whether another process planned and stored it, and this one only trained along.
    """

    summary: Summary
    bound: BoundPlan
    interrupted: bool
    followed: bool = False


@bound_threads()
def carry_out(
    experiment: Experiment,
    *,
    folder: Path | None,
    resources: Resources | None,
    progress: bool = True,
    look: Callable[[Examination], None] | None = None,
    times: float = math.inf,
) -> EndedRun:
    """Runs an experiment, or what is left of it, and sums it up.

    Args:
        experiment: what to compare.
        folder: where the run is kept and taken up again; None keeps it in memory.
        resources: what the run may use; None for what the experiment says, or one worker process per core.
        progress: whether a live display is shown while it runs.
        look: is given what was found before the first trial, and raises if it is not to run; None to look at nothing.
        times: problems of the catalogue are timed, too, where the run could last so many seconds.

    Returns:
        What came of it.

    Raises:
        UserError: for input that cannot work, with every mistake found; and what `look` raises.
    """
    fill_standard_descriptors()
    asked: Any = experiment
    if not isinstance(asked, Experiment):
        written = f"bench.load('{asked}')" if isinstance(asked, str | Path) else "bench.load('spec.toml')"
        raise UserError(f"expected a bench.Experiment, such as {written}, got {briefly(asked)}")
    allowed = resources_of(experiment.resources) if resources is None else resources
    if not isinstance(allowed, Resources):
        raise UserError(f"resources must be a bench.Resources, such as bench.Resources(workers=2), got {resources!r}")
    if experiment.keep == "best" and folder is None:
        raise UserError(
            "keep = 'best' keeps models in the run's folder: give folder='runs/mine', or leave it out and train them "
            "again with result.best(..., retrain=True)"
        )
    if allowed.is_together:
        return _carried_out_together(experiment, folder, allowed, progress=progress, look=look, times=times)
    if allowed.executor == "inline":
        prepare_process()
    with early_workers(allowed, folder) as nursery:
        make = partial(make_executor, allowed, nursery=nursery)
        return _carried_out(experiment, folder, allowed, make, progress=progress, look=look, times=times)


def _carried_out_together(
    experiment: Experiment,
    folder: Path | None,
    allowed: Resources,
    *,
    progress: bool,
    look: Callable[[Examination], None] | None,
    times: float,
) -> EndedRun:
    """As `carry_out`, in several processes that train each trial together."""
    from dlkit.bench.execution import together

    together.join()
    prepare_process()
    if together.follows():
        try:
            bound = planned(experiment, allowed)
        except UserError:
            together.follow()  # the first process has found the same
            raise
        summary, interrupted = together.follow()
        return EndedRun(summary, replace(bound, plan=summary.plan), interrupted, followed=True)

    def make(say: Callable[[str], None]) -> Executor:
        return together.make_executor(allowed)

    with together.telling_the_others() as said:
        ended = _carried_out(experiment, folder, allowed, make, progress=progress, look=look, times=times)
        said.append((ended.summary, ended.interrupted))
    return ended


def _carried_out(
    experiment: Experiment,
    folder: Path | None,
    allowed: Resources,
    make: Callable[..., Executor],
    *,
    progress: bool,
    look: Callable[[Examination], None] | None,
    times: float,
) -> EndedRun:
    """Plans an experiment, runs it and sums it up."""
    bound = planned(experiment, allowed)
    weights: Mapping[str, float] = {}
    if look is None:
        foresight = foresee(bound.plan)
    else:
        examination = examined(bound, folder, allowed, times=times)
        look(examination)
        foresight, weights = examination.foresight._replace(sentences=opening(examination)), examination.cost.weights
    bound = with_groups(bound)
    program = program_identity if allowed.is_here else program_of_workers
    with (
        Store(folder, say=say) as store,
        live_progress(progress, folder) as display,
        kept_checkpoints(folder, allowed.checkpoint_minutes, program, store.finished) as (checkpoints, wrong),
    ):
        if wrong:
            display.warn(wrong)
        display.foreseeing(foresight)
        display.weighing(weights)
        report = runner.run(
            bound,
            store,
            partial(make, say=display.wrote),
            display,
            lanes=allowed.lanes,
            trust=allowed.trust,
            remote=allowed.is_remote,
            here=allowed.is_here,
            shard=allowed.part,
            keep=experiment.keep == "best",
            checkpoints=checkpoints,
            weights=weights,
        )
        display.summing()
        found = summarize(store, report.bound.plan)
        store.keep_endings(found.endings())
        return EndedRun(found, report.bound, report.interrupted)


def planned(experiment: Experiment, resources: Resources) -> BoundPlan:
    """Returns the plan of an experiment, with the devices that the run's resources say.

    Raises:
        UserError: for input that cannot be planned, with every mistake found.
    """
    bound = planner.plan(experiment)
    if resources.is_together:
        from dlkit.bench.execution.together import over_all

        return over_all(bound, resources.devices)
    return bound if resources.devices is None else bound.over(resources.devices)


def examined(
    bound: BoundPlan, folder: Path | None, resources: Resources, *, times: float, anew: bool = False
) -> Examination:
    """Returns what is known of a plan before its first trial.

    Args:
        bound: the plan with its functions.
        folder: of a run that may have begun: what its trials were trained with is only counted.
        resources: what the run may use.
        times: problems of the catalogue are timed, too, where the run could last so many seconds.
        anew: whether what stored trials were trained with is looked at again.
    """
    stored: list[Outcome] = []
    if folder is not None and (folder / FILE).is_file():
        with Store(folder, write=False) as store:
            stored = [record.outcome for record in store.records(store.finished()).values()]
    programs = [each.trial.program for each in stored if each.trial.program and not anew]
    trained = {(program[0], program[1]) for program in programs}
    share = 1.0 if resources.part is None else 1 / resources.part.total
    return examine(bound, trained=trained, stored=len(stored), workers=resources.count, times=times, share=share)
