"""The bench as functions: compare, run, train, replay."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit.bench import planner, plans, results, runner
from dlkit.bench.console import print_summary, text_of
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.executor import Done, Work, check_executor, make_executor, prepare_process, run_work
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.placement import Lanes
from dlkit.bench.planner import Study
from dlkit.bench.plans import TargetRule
from dlkit.bench.problems import Problem, check_problem
from dlkit.bench.recipes import EarlyStopping, Recipe
from dlkit.bench.schedules import Schedule
from dlkit.bench.space import Point, Range
from dlkit.bench.spec import Budget, Experiment, OptimizerEntry, ProblemEntry
from dlkit.bench.store import Store
from dlkit.bench.trainer import compile_problem, compile_program
from dlkit.bench.trials import train_trial
from dlkit.typing import Params, State

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Replay", "Result", "TrainedModel", "compare", "open_run", "run", "train"]


@dataclass(frozen=True, eq=False)
class Replay:
    """What running a trial again showed.

    Attributes:
        trial: its id.
        exact: whether every number of its curves and test metrics is the same, bit for bit.
        program: field -> (then, now), for the fields of the program that differ.
        largest: metric -> largest absolute difference; empty if exact.
        then: metric -> the stored curve.
        now: metric -> the curve of the replay.
    """

    trial: str
    exact: bool
    program: Mapping[str, tuple[str, str]]
    largest: Mapping[str, float]
    then: Mapping[str, np.ndarray[Any, Any]]
    now: Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Result:
    """What a comparison found. Printing it shows the ranked tables and verdicts.

    Attributes:
        summary: the tables and verdicts as data.
        study: the functions that ran; None for a run that was opened from its folder.
        folder: the run's folder; None if it was kept in memory.
        interrupted: whether Ctrl-C ended it early.
    """

    summary: results.Summary
    study: Study | None = None
    folder: Path | None = None
    interrupted: bool = False

    def __str__(self) -> str:
        return text_of(self.summary)

    def show(self) -> None:
        """Prints the ranked tables and verdicts, in colour where the terminal has it."""
        print_summary(self.summary)

    def curves(self) -> "pd.DataFrame":
        """Returns the final trials' curves: columns problem, optimizer, seed, step, metric, value."""
        return self.summary.curves()

    def trials(self) -> "pd.DataFrame":
        """Returns every trial, tuning and final, one row each, with its hyperparameters and outcome."""
        return self.summary.trials()

    def table(self) -> "pd.DataFrame":
        """Returns the ranked tables as one frame, numbers unrounded."""
        return self.summary.table()

    def costs(self) -> "pd.DataFrame":
        """Returns seconds per step, time to target, compilation and memory, one row a (problem, optimizer).

        What was not timed is NaN: see `timing` in `compare`.
        """
        return self.summary.costs()

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
        from dlkit.bench.report import write_report

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
        from dlkit.bench.paper import save_figures

        return save_figures(self.summary, Path(folder), extension=extension)

    def replay(self, trial: str) -> Replay:
        """Runs one trial again and compares its bits.

        Args:
            trial: its id, or the first characters of it.

        Returns:
            What the replay showed.

        Raises:
            UserError: for an id that is not there, a trial that failed, or own functions that are not at hand.
        """
        matches = [name for name in self.summary.records if name.startswith(trial)]
        if len(matches) != 1:
            found = "no trial starts" if not matches else f"{len(matches)} trials start"
            raise UserError(f"{found} with '{trial}'; `dlkit show RUN --trials` and Result.trials() list the ids")
        return _replay(self, matches[0])


def compare(
    *,
    problems: Sequence[str | Problem | ProblemEntry],
    optimizers: Sequence[str | Optimizer | OptimizerEntry],
    budget: Budget | None = None,
    factors: Mapping[str, Sequence[Any]] | None = None,
    early_stopping: EarlyStopping | None = None,
    probes: Sequence[str] = (),
    targets: TargetRule | None = None,
    folder: str | Path | None = None,
    executor: str = "dask",
    workers: int | None = None,
    lanes: int | None = None,
    timing: bool = False,
    progress: bool = True,
    expand: bool = False,
) -> Result:
    """Tunes every optimizer on every problem with the same budget, and compares the winners on fresh paired seeds.

    Args:
        problems: names of the catalogue, or one's own.
        optimizers: registered names, or one's own; the first is the baseline.
        budget: what every contender gets.
        factors: ``"schedule"`` or ``"batch_size"`` -> values to cross every optimizer with, such as
            ``{"schedule": ["constant", "cosine"]}``.
        early_stopping: when trials may end early.
        probes: names of diagnostics to compute along the final trials' curves.
        targets: how baselines set targets, in place of the problems' own.
        folder: where the run is kept and taken up again; None keeps it in memory.
        executor: ``"dask"`` for one worker process a core, ``"inline"`` for this process, or a scheduler's address.
        workers: how many worker processes; None for one per core.
        lanes: how many trials run side by side in one program, over all local devices; 0 for one at a time. None for
            one at a time on CPU, and on accelerators for as many as fit into memory.
        timing: whether the tuned contenders' steps are timed at the end, side by side, for seconds per step, time to
            target and memory; a run that is finished can be timed later.
        progress: whether a live display is shown while it runs.
        expand: whether spaces whose winners lie at an edge are widened, and tuned further there.

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
    entries = [each if isinstance(each, ProblemEntry) else ProblemEntry(problem=each) for each in problems]
    contenders = [each if isinstance(each, OptimizerEntry) else OptimizerEntry(optimizer=each) for each in optimizers]
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
        timing=timing,
        progress=progress,
        expand=expand,
    )


def run(
    experiment: Experiment,
    *,
    folder: str | Path | None = None,
    executor: str = "dask",
    workers: int | None = None,
    lanes: int | None = None,
    timing: bool = False,
    progress: bool = True,
    expand: bool = False,
) -> Result:
    """Runs an experiment, or what is left of it, and sums it up.

    Args:
        experiment: what to compare, from `load` or built by hand.
        folder: as in `compare`.
        executor: as in `compare`.
        workers: as in `compare`.
        lanes: as in `compare`.
        timing: as in `compare`.
        progress: as in `compare`.
        expand: as in `compare`.

    Returns:
        The result; of what has run so far, if Ctrl-C interrupted it.

    Raises:
        UserError: for input that cannot work.
    """
    from dlkit.bench.console import live_progress

    check_executor(executor, workers)
    if lanes is not None and lanes < 0:
        raise UserError(f"lanes must be at least 1, or 0 for one trial at a time, got {lanes}")
    if executor == "inline":
        prepare_process()
    study = planner.plan(experiment)
    where = Path(folder) if folder is not None else None
    with Store(where) as store:
        with live_progress(progress) as display:
            report = runner.run(
                study,
                store,
                lambda: make_executor(executor, workers=workers),
                display,
                lanes=lanes,
                expand=expand,
                timing=timing,
            )
        summary = results.summary(store)
        store.keep_endings(summary.endings())
        return Result(summary, report.study, where, report.interrupted)


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
        return Result(results.summary(store), folder=Path(folder))


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """One trial by hand.

    Attributes:
        curve: columns step, and one per metric on validation, and ``training_loss``.
        params: the final parameters.
        state: the final state.
        test: metric -> value on the test split; empty if it diverged.
        status: ``"finished"``, ``"stopped"`` (early) or ``"diverged"``.
    """

    curve: "pd.DataFrame"
    params: Params
    state: State
    test: Mapping[str, float]
    status: str


def train(
    problem: str | Problem,
    optimizer: str | Optimizer,
    *,
    seed: int = 0,
    steps: int | None = None,
    evaluations: int = 20,
    schedule: str | Schedule | None = None,
    batch_size: int | Literal["full"] | None = None,
    early_stopping: EarlyStopping | None = None,
    **hyperparameters: Any,
) -> TrainedModel:
    """Trains once, in this process: the trial that a comparison would run with that seed and those hyperparameters.

    Args:
        problem: a catalogue name, or one's own.
        optimizer: a registered name, or one's own.
        seed: of the final stage.
        steps: None for the problem's default.
        evaluations: points of the curve after step 0; divides the steps.
        schedule: of the learning rate; None for constant.
        batch_size: examples a step, ``"full"`` for the whole training split; None for the problem's own.
        early_stopping: when to end early, with the best parameters; None for never.
        **hyperparameters: a number for each hyperparameter of the optimizer's space and setting of the schedule, a
            choice for each static one; those with a fixed value, a single choice, or a default of the function that
            builds it may be left out.

    Returns:
        The curve and the final parameters.

    Raises:
        UserError: for names, hyperparameters or steps that do not fit.
    """
    import pandas as pd

    prepare_process()
    loaded = ProblemEntry(problem=problem, batch_size=batch_size).load()
    check_problem(loaded)
    chosen = get_optimizer(optimizer) if isinstance(optimizer, str) else optimizer
    shape = OptimizerEntry(optimizer=chosen, schedule=schedule).load_schedule()
    traced, static = _settings(chosen, shape, hyperparameters)
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    budget = Budget(steps=steps, evaluations=evaluations)
    recipe = Recipe(
        optimizer=chosen,
        steps=budget.steps_for(f"problem '{loaded.name}'", loaded.steps),
        evaluations=evaluations,
        static=static,
        schedule=shape,
        stopping=early_stopping,
    )
    result = train_trial(compile_program(compile_problem(loaded), recipe), traced, stage="final", seed=seed)
    curve = pd.DataFrame({"step": result.steps, **result.curves})
    return TrainedModel(curve, result.params, result.state, result.test, result.status)


def _settings(
    optimizer: Optimizer, schedule: Schedule, given: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Splits hyperparameters into traced and static ones, and names those that are unknown or missing."""
    space = {**optimizer.space, **schedule.space}
    known = [*space, *optimizer.static]
    mistakes = [f"no hyperparameter '{name}'; {nearest(name, known)}" for name in given if name not in known]
    parameters = inspect.signature(optimizer.build).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    traced: dict[str, float] = {}
    for name, span in space.items():
        value = given.get(name, defaults.get(name) if isinstance(span, Range) else span)
        if not isinstance(value, int | float) or isinstance(value, bool):
            mistakes.append(f"hyperparameter '{name}' needs a number, got {value!r}")
        else:
            traced[name] = float(value)
    static = {}
    for name, options in optimizer.static.items():
        if name not in given and len(options) > 1:
            mistakes.append(f"hyperparameter '{name}' needs one of {list(options)}")
        static[name] = given.get(name, options[0])
    if mistakes:
        raise UserError("\n".join(f"optimizer '{optimizer.name}': {mistake}" for mistake in mistakes))
    return traced, static


def _replay(result: Result, name: str) -> Replay:
    outcome, then = result.summary.records[name]
    if outcome.status == "failed":
        raise UserError(f"trial {name} did not run: {outcome.reason}")
    trial = outcome.trial
    group = _find_group(result.study or planner.study_of(result.summary.plan), trial)
    was_cut = outcome.status == "cut off"
    if was_cut:  # by a clock that will not say the same again
        trial = trial._replace(identity={**trial.identity, "seconds": None, "until": len(outcome.steps) - 1})
    done = _run_again(Work(group, (trial,), lanes=Lanes.parse(then["lanes"])), int(then["threads"]))
    again, now = done.outcomes[0], done.program
    if again.status == "failed":
        raise UserError(f"the replay of trial {name} failed: {again.reason}")
    changed = {field: (then[field], now.get(field, "")) for field in then if then[field] != now.get(field)}
    largest = {}
    for metric in outcome.curves.keys() | again.curves.keys():
        a, b = (np.asarray(each.curves.get(metric, ())) for each in (outcome, again))
        if a.tobytes() != b.tobytes():
            same_shape = a.shape == b.shape
            largest[metric] = float(np.nanmax(np.abs(a - b), initial=0.0)) if same_shape else float("inf")
    for metric in () if was_cut else outcome.test.keys() | again.test.keys():
        x, y = (each.test.get(metric, float("nan")) for each in (outcome, again))
        if x != y and not (math.isnan(x) and math.isnan(y)):
            largest[f"test {metric}"] = abs(x - y)
    same_end = again.status == outcome.status or was_cut
    exact = not largest and same_end and again.diverged_at == outcome.diverged_at
    return Replay(name, exact, changed, largest, outcome.curves, again.curves)


def _run_again(work: Work, threads: int) -> Done:
    """Runs here, or on a worker if JAX has started here with other threads than the worker that ran the trial had."""
    if threads != 1 or prepare_process(threads)["threads"] == "1":
        return run_work(work, threads=threads)
    executor = make_executor("dask", workers=1)
    try:
        executor.submit(0, work)
        _, done = executor.next()
    finally:
        executor.close()
    if isinstance(done, UserError):
        raise done
    assert isinstance(done, Done)
    return done


def _find_group(study: Study, trial: plans.Trial) -> planner.Group:
    """Finds the functions to run a trial with: those of the contender for which it would have the same id."""
    point = Point(dict(trial.hyperparameters), dict(trial.identity["optimizer"]["static"]))
    for problem in study.plan.problems:
        for contender in study.plan.contenders:
            again = study.plan.trial(problem, contender, point, trial.stage, trial.seed, trial.until)
            if again.id == trial.id:
                _require_functions(study, problem.name, contender.label)
                return study.group(problem, contender, point.static, stage=trial.stage)
    raise UserError(f"trial {trial.id} is not one of this spec's; run its spec again, then replay it")


def _require_functions(study: Study, problem: str, optimizer: str) -> None:
    missing = [f"problem '{problem}'"] if problem not in study.problems else []
    missing += [f"optimizer '{optimizer}'"] if optimizer not in study.methods else []
    if missing:
        raise UserError(
            f"{' and '.join(missing)} came from a script, and functions are not stored as programs; run the script "
            "again with the same folder (finished trials are reused) and call result.replay(trial)"
        )
