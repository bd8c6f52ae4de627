"""The bench as functions: compare, run, open a run. What trains is imported when it is called: opening needs no JAX."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dlkit.bench.again import Repeatable
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.outputs import Outputs
from dlkit.bench.plan.plan import Plan
from dlkit.bench.report.shown import Shown
from dlkit.bench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from dlkit.bench.examination.ticks import Examination
    from dlkit.bench.execution.resources import Resources
    from dlkit.bench.execution.whole_run import EndedRun
    from dlkit.bench.optimizers import Optimizer
    from dlkit.bench.plan.card import DataCard
    from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule
    from dlkit.bench.probes import Probe
    from dlkit.bench.problems import Problem, ProblemFactory
    from dlkit.bench.problems.factories import Make
    from dlkit.bench.spec.bound_plan import BoundPlan
    from dlkit.bench.spec.budget import Budget
    from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

__all__ = ["Result", "check", "compare", "open_run", "result_of", "run"]

MOST_TRIALS = 10**8  # of a plan that is read


@dataclass(frozen=True, eq=False, repr=False)
class Result(Shown, Outputs, Repeatable):
    """What a comparison found. Printing it shows the answer; so does a notebook.

    Attributes:
        summary: the tables and verdicts as data.
        bound: the plan with the functions that ran; None for a run that was opened from its folder.
        folder: the run's folder; None if it was kept in memory.
        interrupted: whether Ctrl-C ended it early.
    """

    summary: Summary
    bound: "BoundPlan | None" = None
    folder: Path | None = None
    interrupted: bool = False

    def curves(self) -> "pd.DataFrame":
        """Returns the final trials' curves: columns problem, optimizer, seed, step, metric, value."""
        return frames.curves(self.summary)

    def trials(self) -> "pd.DataFrame":
        """Returns every trial, tuning and final, one row each, with its hyperparameters and outcome."""
        return frames.trials(self.summary)

    def table(self) -> "pd.DataFrame":
        """Returns the ranked tables as one frame, numbers unrounded."""
        return frames.table(self.summary)

    def evidence(self) -> "pd.DataFrame":
        """Returns the numbers behind each sentence of the verdicts, one row a number: see `findings.Evidence`."""
        return frames.evidence(self.summary)

    def costs(self) -> "pd.DataFrame":
        """Returns seconds per step, time to target, compiling, memory, a row a (problem, optimizer); NaN if untimed."""
        return frames.costs(self.summary)

    def data_cards(self) -> "dict[str, DataCard]":
        """Returns what was done to the data of `bench.dataset`: problem -> card."""
        return {each.name: each.card for each in self.summary.plan.problems if each.card is not None}

    def overview(self) -> "pd.DataFrame":
        """Returns one row a contender, best first: mean rank, probability of being best, profile score, targets.

        With intervals, unrounded; NaN where there are too few problems. `summary.overview` has what lies behind them.
        """
        return frames.overview(self.summary)

    def tuning_leaders(self) -> "pd.DataFrame":
        """Returns how probably each contender has the best of 1, 4, 16, ... tuning points, and its expected best.

        The expected best is that of points of one study, its median over studies; NaN where a study has fewer points.
        """
        return frames.tuning_leaders(self.summary)

    def sensitivity(self) -> "pd.DataFrame":
        """Returns each tuned hyperparameter's range within 5 % of the best point, and its width in decades."""
        return frames.sensitivity(self.summary)

    def effects(self) -> "pd.DataFrame":
        """Returns what the levels of factors do, one row a (problem, factor, level); empty without factors."""
        return frames.effects(self.summary)

    def groups(self) -> "pd.DataFrame":
        """Returns what trains which parameters, one row a (problem, optimizer, leaf): see `frames.groups`."""
        return frames.groups(self.summary)

    @property
    def verdicts(self) -> dict[str, str]:
        """Problem -> the sentence that sums it up."""
        return {each.problem.name: each.verdict.sentence for each in self.summary.comparisons}

    @property
    def failures(self) -> list[str]:
        """Why contenders could not run, each reason once; empty if all could."""
        return self.summary.failures

    @property
    def tracebacks(self) -> Mapping[str, str]:
        """Why trials failed -> the traceback, of the user's own frames: `dlkit show RUN --failures` prints it."""
        return self.summary.tracebacks


def _elsewhere(name: str) -> str:
    """What to write in place of an argument that `compare` does not take."""
    from dlkit.bench.spec.words import COMPARED, elsewhere

    return elsewhere(name, "experiment", COMPARED)


@says_what_it_takes("bench.compare", _elsewhere)
def compare(
    *,
    problems: "Sequence[str | Make | ProblemFactory | Problem | ProblemChoice]",
    optimizers: "Sequence[str | Optimizer | Contender]",
    budget: "Budget | None" = None,
    factors: Mapping[str, Sequence[Any]] | None = None,
    early_stopping: "EarlyStopping | None" = None,
    probes: "Sequence[str | Probe]" = (),
    targets: "TargetRule | None" = None,
    settling: "Settling | None" = None,
    expand: bool = False,
    timing: bool = False,
    keep: Literal["nothing", "best"] = "nothing",
    folder: str | Path | None = None,
    resources: "Resources | None" = None,
    executor: str | None = None,
    progress: bool = True,
    check: bool = True,
) -> Result:
    """Tunes every optimizer on every problem with the same budget, and compares the winners on fresh paired seeds.

    Args:
        problems: names of the catalogue, one's own, functions that make them from choices, or datasets, which get a
            model that suits them.
        optimizers: registered names, the functions of optax that they are built by, or one's own; the first is the
            baseline.
        budget: what every contender gets.
        factors: ``"schedule"``, ``"batch_size"``, ``"order"``, ``"early_stopping"`` or a choice of the problems ->
            values to cross every optimizer with, such as ``{"schedule": ["constant", "cosine"], "activation": ["relu",
            "gelu"]}``.
        early_stopping: when trials may end early.
        probes: diagnostics to compute along the final trials' curves: registered names, ``"file.py:probe"``, or
            `Probe` objects.
        targets: how baselines set targets, in place of the problems' own.
        settling: how studies are added to the budget's until it is settled who is best; None adds none.
        expand: whether spaces whose winners lie at an edge are widened, and tuned further there.
        timing: whether the tuned contenders' steps are timed at the end, side by side, for seconds per step, time to
            target and memory; a run that is finished can be timed later.
        keep: ``"best"`` keeps the models that `Result.best` returns in the run's folder.
        folder: where the run is kept and taken up again; None keeps it in memory.
        resources: what the run may use; None for one worker process per core.
        executor: short for ``resources=Resources(executor=...)``: ``"inline"`` trains in this process.
        progress: whether a live display is shown while it runs.
        check: whether your own problems and optimizers are looked at first, as `check` does.

    Returns:
        The result; of what has run so far, if Ctrl-C, or interrupting a notebook's cell, ended it.

    Raises:
        UserError: for input that cannot work, with every mistake found. A contender that fails while it runs does not
            raise: the result says so, and the others go on.
    """
    from dlkit.bench.execution.resources import Resources
    from dlkit.bench.spec.budget import Budget
    from dlkit.bench.spec.entries import Experiment

    if executor is not None:
        if resources is not None:
            raise UserError("resources has an executor; leave out executor, or resources")
        resources = Resources(executor=executor)
    experiment = Experiment(
        name=Path(folder).name if folder else "comparison",
        problems=problems,  # type: ignore[arg-type]
        optimizers=optimizers,  # type: ignore[arg-type]
        budget=Budget() if budget is None else budget,
        factors={} if factors is None else factors,
        early_stopping=early_stopping,
        probes=probes,
        targets=targets,
        settling=settling,
        expand=expand,
        timing=timing,
        keep=keep,
    )
    return run(experiment, folder=folder, resources=resources, progress=progress, check=check)


@says_what_it_takes("bench.run")
def run(
    experiment: "Experiment",
    *,
    folder: str | Path | None = None,
    resources: "Resources | None" = None,
    progress: bool = True,
    check: bool = True,
) -> Result:
    """Runs an experiment, or what is left of it, and sums it up.

    Args:
        experiment: what to compare, from `load` or built by hand.
        folder: where the run is kept and taken up again; None keeps it in memory.
        resources: what the run may use; None for what the experiment says, or one worker process per core.
        progress: whether a live display is shown while it runs.
        check: whether your own problems and optimizers are looked at first, as `check` does: nothing is trained if
            something is wrong. What stored trials were trained with is not looked at again.

    Returns:
        The result; of what has run so far, if Ctrl-C, or interrupting a notebook's cell, ended it.

    Raises:
        UserError: for input that cannot work, with every mistake found.
    """
    from dlkit.bench.execution.whole_run import carry_out

    where = Path(folder).absolute() if folder is not None else None  # the user's code may change the working directory
    look = _require_right if check else None
    return result_of(carry_out(experiment, folder=where, resources=resources, progress=progress, look=look), where)


def result_of(ended: "EndedRun", folder: Path | None) -> Result:
    """Returns the result of a run that has ended."""
    return Result(ended.summary, ended.bound, None if ended.followed else folder, ended.interrupted)


def _require_right(examination: "Examination") -> None:
    examination.require_right()


@says_what_it_takes("bench.check")
def check(
    what: "Experiment | str | Make | ProblemFactory | Problem | ProblemChoice",
    *optimizers: "str | Optimizer | Contender",
    budget: "Budget | None" = None,
    folder: str | Path | None = None,
    resources: "Resources | None" = None,
) -> "Examination":
    """Looks at an experiment before it runs: one's own functions are tried, and time and memory are estimated.

    What is registered has tests of its own, and is only counted. `run` and `compare` do the same before their first
    trial.

    Args:
        what: an experiment, from `load` or built by hand; or a problem, looked at with the optimizers that follow.
        *optimizers: registered names, or one's own; Adam where a problem comes alone.
        budget: of a problem with optimizers; an experiment has its own.
        folder: of a run that may have begun, to see how much is left of it.
        resources: what the run may use.

    Returns:
        A page of ticks. Printing it shows it: what is right, what is wrong and whose fault it is, and notes.

    Raises:
        UserError: for input that cannot be planned, with every mistake found.

    Example:
        >>> from dlkit import bench
        >>> bench.check("quadratic", "sgd", "adam").right
        True
    """
    from dlkit.bench.examination.costs import LONG
    from dlkit.bench.execution.resources import resources_of
    from dlkit.bench.execution.whole_run import examined, planned
    from dlkit.bench.machine.preparation import bound_threads
    from dlkit.bench.spec.budget import Budget
    from dlkit.bench.spec.entries import Experiment

    if isinstance(what, Experiment):
        if optimizers or budget is not None:
            raise UserError("an experiment has its optimizers and its budget; give them to a problem alone")
        experiment = what
    else:
        experiment = Experiment(
            name="check",
            problems=(what,),  # type: ignore[arg-type]
            optimizers=optimizers or ("adam",),  # type: ignore[arg-type]
            budget=Budget() if budget is None else budget,
        )
    allowed = resources_of(experiment.resources) if resources is None else resources
    where = Path(folder) if folder is not None else None
    with bound_threads():
        return examined(planned(experiment, allowed), where, allowed, times=LONG, anew=True)


def open_run(folder: str | Path) -> Result:
    """Opens a run's folder and sums up the spec that ran there last.

    Args:
        folder: the run folder, such as ``runs/quickstart``.

    Returns:
        The result.

    Raises:
        UserError: if there is no run, or one of another format.
    """
    asked: Any = folder
    if not isinstance(asked, str | os.PathLike):
        hint = "; a run without a folder is its result alone" if asked is None else ""
        raise UserError(f"bench.open_run takes a run's folder, such as 'runs/quickstart', got {asked!r}{hint}")
    with Store(Path(folder), write=False) as store:
        _require_bounds(store.current_plan(), folder)
        try:
            return Result(summarize(store), folder=Path(folder))
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise UserError(
                f"{folder}: what is stored there does not fit together ({type(error).__name__}: {error}): it was "
                "edited, or damaged; if neither is so, this is a mistake of dlkit's: report it with the folder"
            ) from error


def _require_bounds(plan: Plan, folder: str | Path) -> None:
    """Refuses a plan of more trials than anybody runs: going through them would not end."""
    studies = plan.tuner.studies or 1
    points = max((len(each.points) + (each.undrawn or 0) for each in plan.contenders), default=1)
    trials = len(plan.cells) * studies * (plan.seeds + plan.tuning_seeds * points)
    if trials > MOST_TRIALS or plan.evaluations > MOST_TRIALS:
        raise UserError(f"{folder}: its plan has {trials:,} trials, more than the {MOST_TRIALS:,} that are read")
