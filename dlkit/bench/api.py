"""The bench as functions: compare, run, train, replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.settling import with_rule
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError
from dlkit.bench.execution import runner
from dlkit.bench.execution.dask_workers import check_executor, make_executor
from dlkit.bench.execution.replay import Replay, replay
from dlkit.bench.execution.work import prepare_process
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.policies import EarlyStopping, TargetRule
from dlkit.bench.problems import Problem, ProblemFactory
from dlkit.bench.problems.factories import Make
from dlkit.bench.report.terminal import print_summary, text_of
from dlkit.bench.spec import planner
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.training.streaming import memory_bytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Replay", "Result", "compare", "open_run", "run"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a comparison found. Printing it shows the ranked tables and verdicts.

    Attributes:
        summary: the tables and verdicts as data.
        study: the functions that ran; None for a run that was opened from its folder.
        folder: the run's folder; None if it was kept in memory.
        interrupted: whether Ctrl-C ended it early.
    """

    summary: Summary
    study: BoundPlan | None = None
    folder: Path | None = None
    interrupted: bool = False

    def __str__(self) -> str:
        return text_of(self.summary)

    def show(self) -> None:
        """Prints the ranked tables and verdicts, in colour where the terminal has it."""
        print_summary(self.summary)

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
        """Returns seconds per step, time to target, compilation and memory, one row a (problem, optimizer).

        What was not timed is NaN: see `timing` in `compare`.
        """
        return frames.costs(self.summary)

    def overview(self) -> "pd.DataFrame":
        """Returns one row a contender, best first: mean rank, probability of being best, profile score, targets.

        With intervals, unrounded; NaN where there are too few problems. `summary.overview` has what lies behind them.
        """
        return frames.overview(self.summary)

    def tuning_leaders(self) -> "pd.DataFrame":
        """Returns how probably each contender has the best of 1, 4, 16, ... tuning points, and its expected best."""
        return frames.tuning_leaders(self.summary)

    def sensitivity(self) -> "pd.DataFrame":
        """Returns each tuned hyperparameter's range within 5 % of the best point, and its width in decades."""
        return frames.sensitivity(self.summary)

    def effects(self) -> "pd.DataFrame":
        """Returns what the levels of factors do, one row a (problem, factor, level); empty without factors."""
        return frames.effects(self.summary)

    @property
    def verdicts(self) -> dict[str, str]:
        """Problem -> the sentence that sums it up."""
        return {each.problem.name: each.verdict.sentence for each in self.summary.comparisons}

    @property
    def failures(self) -> list[str]:
        """Why contenders could not run, each reason once; empty if all could."""
        return self.summary.failures

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML file that needs no network.

        Args:
            path: where; an existing file is replaced.

        Returns:
            The path.

        Raises:
            UserError: if it cannot be written there.
        """
        from dlkit.bench.report.page import write_report

        return write_report(self.summary, Path(path))

    def figures(self, folder: str | Path, *, extension: str = "pdf") -> list[Path]:
        """Draws one figure of curves per problem, for papers.

        Args:
            folder: where; made if missing.
            extension: a file ending that matplotlib knows, such as ``"pdf"``, ``"svg"``, ``"png"``.

        Returns:
            The files.

        Raises:
            UserError: if they cannot be written there.
        """
        from dlkit.bench.report.matplotlib_figures import save_figures

        return save_figures(self.summary, Path(folder), extension=extension)

    def replay(self, trial: str, experiment: Experiment | None = None) -> Replay:
        """Runs one trial again and compares its bits.

        Args:
            trial: its id, or the first characters of it.
            experiment: what ran, where that has functions of one's own and the run was opened from its folder.

        Returns:
            What the replay showed.

        Raises:
            UserError: for an id that is not there, a trial that failed, or own functions that are not at hand.
        """
        matches = [name for name in self.summary.records if name.startswith(trial)]
        if len(matches) != 1:
            found = "no trial starts" if not matches else f"{len(matches)} trials start"
            raise UserError(f"{found} with '{trial}'; `dlkit show RUN --trials` and Result.trials() list the ids")
        study = planner.plan(experiment) if experiment else self.study
        return replay(self.summary, matches[0], study)


def compare(
    *,
    problems: Sequence[str | Make | ProblemFactory | Problem | ProblemChoice],
    optimizers: Sequence[str | Optimizer | Contender],
    budget: Budget | None = None,
    factors: Mapping[str, Sequence[Any]] | None = None,
    early_stopping: EarlyStopping | None = None,
    probes: Sequence[str] = (),
    targets: TargetRule | None = None,
    folder: str | Path | None = None,
    executor: str = "dask",
    workers: int | None = None,
    lanes: int | None = None,
    memory: int | str | None = None,
    timing: bool = False,
    progress: bool = True,
    expand: bool = False,
    until_settled: bool = False,
    max_seeds: int | None = None,
    margin: float | None = None,
) -> Result:
    """Tunes every optimizer on every problem with the same budget, and compares the winners on fresh paired seeds.

    Args:
        problems: names of the catalogue, one's own, or functions that make them from choices.
        optimizers: registered names, or one's own; the first is the baseline.
        budget: what every contender gets.
        factors: ``"schedule"``, ``"batch_size"``, ``"early_stopping"`` or a choice of the problems -> values to cross
            every optimizer with, such as ``{"schedule": ["constant", "cosine"], "activation": ["relu", "gelu"]}``.
        early_stopping: when trials may end early.
        probes: names of diagnostics to compute along the final trials' curves.
        targets: how baselines set targets, in place of the problems' own.
        folder: where the run is kept and taken up again; None keeps it in memory.
        executor: ``"dask"`` for one worker process a core, ``"inline"`` for this process, or a scheduler's address.
        workers: how many worker processes; None for one per core.
        lanes: how many trials run side by side in one program, over all local devices; 0 for one at a time. None for
            one at a time on CPU, and on accelerators for as many as fit into memory.
        memory: what training examples may take in each worker, such as ``"2GiB"`` or a number of bytes; a training
            split that is larger stays on the host and streams, with the same order and bits (needs
            ``dlkit-jax[streaming]``). None for half of an accelerator's memory or, on CPU, half of a core's share of
            the machine's. Validation and test data always lie on the device.
        timing: whether the tuned contenders' steps are timed at the end, side by side, for seconds per step, time to
            target and memory; a run that is finished can be timed later.
        progress: whether a live display is shown while it runs.
        expand: whether spaces whose winners lie at an edge are widened, and tuned further there.
        until_settled: whether seeds are added to the budget's until one contender is best, or those not worse lie
            within the margin: by a rule that holds however often one looks.
        max_seeds: the most that are run until settled; None for 100.
        margin: differences that do not matter, on problems that do not say: in the metric's units, or a ratio above 1.

    Returns:
        The result.

    Raises:
        UserError: for input that cannot work, with every mistake found. A contender that fails while it runs does not
            raise: the result says so, and the others go on.
    """
    for name, given in (("problems", problems), ("optimizers", optimizers)):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise UserError(f"{name} must be a list, such as {name}=[...], got {given!r}")
    if not isinstance(budget, Budget | None):
        raise UserError(f"budget must be a bench.Budget, such as bench.Budget(seeds=10), got {budget!r}")
    entries = [each if isinstance(each, ProblemChoice) else ProblemChoice(problem=each) for each in problems]
    contenders = [each if isinstance(each, Contender) else Contender(optimizer=each) for each in optimizers]
    experiment = Experiment(
        name=Path(folder).name if folder else "comparison",
        problems=tuple(entries),
        optimizers=tuple(contenders),
        budget=budget or Budget(),
        factors=factors or {},
        early_stopping=early_stopping,
        probes=tuple(probes),
        targets=targets,
    )
    return run(
        experiment,
        folder=folder,
        executor=executor,
        workers=workers,
        lanes=lanes,
        memory=memory,
        timing=timing,
        progress=progress,
        expand=expand,
        until_settled=until_settled,
        max_seeds=max_seeds,
        margin=margin,
    )


def run(
    experiment: Experiment,
    *,
    folder: str | Path | None = None,
    executor: str = "dask",
    workers: int | None = None,
    lanes: int | None = None,
    memory: int | str | None = None,
    timing: bool = False,
    progress: bool = True,
    expand: bool = False,
    until_settled: bool = False,
    max_seeds: int | None = None,
    margin: float | None = None,
) -> Result:
    """Runs an experiment, or what is left of it, and sums it up.

    Args:
        experiment: what to compare, from `load` or built by hand.
        folder: as in `compare`.
        executor: as in `compare`.
        workers: as in `compare`.
        lanes: as in `compare`.
        memory: as in `compare`.
        timing: as in `compare`.
        progress: as in `compare`.
        expand: as in `compare`.
        until_settled: as in `compare`.
        max_seeds: as in `compare`.
        margin: as in `compare`.

    Returns:
        The result; of what has run so far, if Ctrl-C interrupted it.

    Raises:
        UserError: for input that cannot work.
    """
    from dlkit.bench.execution.progress import live_progress

    check_executor(executor, workers)
    if lanes is not None and lanes < 0:
        raise UserError(f"lanes must be at least 1, or 0 for one trial at a time, got {lanes}")
    room = memory_bytes(memory)
    if executor == "inline":
        prepare_process()
    study = planner.plan(experiment)
    study = replace(study, plan=with_rule(study.plan, until_settled, max_seeds=max_seeds, margin=margin))
    where = Path(folder) if folder is not None else None
    with Store(where) as store:
        with live_progress(progress) as display:
            report = runner.run(
                study,
                store,
                lambda: make_executor(executor, workers=workers, memory=room),
                display,
                lanes=lanes,
                expand=expand,
                timing=timing,
            )
        found = summarize(store)
        store.keep_endings(found.endings())
        return Result(found, report.study, where, report.interrupted)


def open_run(folder: str | Path) -> Result:
    """Opens a run's folder and sums up the spec that ran there last.

    Args:
        folder: the run folder, such as ``runs/quickstart``.

    Returns:
        The result.

    Raises:
        UserError: if there is no run, or one of another format.
    """
    with Store(Path(folder), write=False) as store:
        return Result(summarize(store), folder=Path(folder))
