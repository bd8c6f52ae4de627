"""Runs without training: plans by hand, and stores filled with curves of a closed form."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution.simulation import play
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.store import Store

__all__ = [
    "PROGRAM",
    "failed_outcome",
    "fill",
    "make_contender",
    "make_plan",
    "make_problem",
    "make_summary",
    "play",
    "synthetic_outcome",
]

PROGRAM = dict.fromkeys(("code", "jax", "jaxlib", "optax", "flax", "numpy", "lanes", "xla_flags", "jax_config"), "1")
PROGRAM |= {"optimization": "1", "device": "cpu", "cpu_flags": "avx2 fma", "threads": "1", "python": "3.11.0"}
PROGRAM |= {"blas": "openblas 0.3.30 pthreads", "blas_core": "Haswell", "blas_threads": "1", "cpu": "a CPU"}


def make_problem(name: str = "bowl", *, metric: Metric | None = None, target: float | None = 0.1) -> PlannedProblem:
    """A problem of 40 steps whose metric is "error"."""
    meaning = metric or Metric("lower", "linear", "error")
    return PlannedProblem(name, {"error": meaning}, "error", target, 40, 8, "d" * 16, "made up", False, "a bowl")


def make_contender(label: str, *, points: int = 5, name: str = "learning_rate") -> PlannedContender:
    """A contender with log-spaced learning rates from 0.001 to 1; with one point, nothing is tuned."""
    if points == 1:
        return PlannedContender(label, label, False, {name: 0.1}, [Point({name: 0.1}, {})])
    rates = [float(f"{rate:.6g}") for rate in np.geomspace(1e-3, 1.0, points)]
    return PlannedContender(
        label, label, False, {name: Range(1e-3, 1.0, "log")}, [Point({name: rate}, {}) for rate in rates]
    )


def make_plan(
    labels: Sequence[str] = ("sgd", "adam", "lion"),
    *,
    problems: Sequence[PlannedProblem] = (),
    points: int = 5,
    evaluations: int = 4,
    tuning_seeds: int = 2,
    seeds: int = 10,
    tuner: Tuner | None = None,
) -> Plan:
    """A plan of contenders that differ by their labels alone."""
    contenders = [make_contender(label, points=points) for label in labels]
    facts = list(problems) or [make_problem()]
    return Plan("synthetic", facts, contenders, evaluations, tuning_seeds, seeds, tuner or Tuner())


def decay(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
    """A curve from about 1 towards 0: later contenders are better, and the middle of the learning rates is best.

    Metrics whose high values are good get 1 minus that.
    """
    place = plan.contenders.index(contender)
    rate = next(iter(trial.hyperparameters.values()))
    off = abs(math.log10(rate) + 1.5)
    noise = 1 + 0.05 * math.sin(7.0 * trial.seed + place)
    values = [noise * (1 + off) / (1 + (1 + place) * point) for point in range(plan.evaluations + 1)]
    return [1 - value for value in values] if problem.judged.higher_is_better else values


def synthetic_outcome(
    problem: PlannedProblem, plan: Plan, trial: Trial, values: Sequence[float], seconds: float = 0.25
) -> Outcome:
    """The outcome of a trial with these values at its evaluations; it diverged if the last of them is NaN."""
    values = values[: None if trial.until is None else trial.until + 1]
    is_bad = math.isnan(values[-1])
    steps = np.arange(len(values)) * (problem.steps // plan.evaluations)
    curves = {problem.metric: np.array(values, np.float32), "training_loss": np.array(values, np.float32)}
    validation = {} if is_bad or trial.until is not None else {problem.metric: values[-1] * 1.01}
    status = "diverged" if is_bad else "finished"
    at = int(steps[-1]) if is_bad else None
    ended = (trial, status, "", "", at, seconds, 0.5)
    return Outcome(*ended, steps.astype(np.int64), curves, validation, Evaluations(int(steps[-1])))


def failed_outcome(trial: Trial, reason: str) -> Outcome:
    """The outcome of a trial that an exception ended."""
    empty = np.zeros(0, np.int64)
    return Outcome(trial, "failed", reason, "Traceback", None, 0.0, 0.0, empty, {}, {}, Evaluations(0))


def fill(
    store: Store,
    plan: Plan,
    *,
    curve: Callable[[Plan, PlannedProblem, PlannedContender, Trial], list[float]] = decay,
    diverged: Callable[[str, Trial], bool] = lambda label, trial: False,
    missing: Callable[[str, Trial], bool] = lambda label, trial: False,
    failed: Collection[str] = (),
    reason: str = "its update raised ValueError: no such thing",
    program: Mapping[str, str] = PROGRAM,
    sources: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Stores what running a plan would have: all tuning trials, then the winners on the fresh seeds.

    Args:
        store: where.
        plan: which.
        curve: the values at each evaluation; a diverged trial keeps the first two and then has NaN.
        diverged: of a label and a trial, whether it diverges.
        missing: of a label and a trial, whether it has not run.
        failed: labels of contenders whose every trial fails.
        reason: why they do.
        program: which made the trials.
        sources: file -> text of one's own functions.
    """
    store.use_plan(plan, sources)
    store.use_software(program)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        if missing(contender.label, trial):
            return None
        if contender.label in failed:
            return failed_outcome(trial, f"{contender.label}: {reason}")
        values = curve(plan, problem, contender, trial)
        return synthetic_outcome(
            problem, plan, trial, [*values[:2], math.nan] if diverged(contender.label, trial) else values
        )

    history = play(plan, train)
    store.add(list(history.outcomes.values()), program)
    for problem, contender in plan.cells:
        for study in plan.studies(problem, contender):
            points = history.drawn(problem, contender, study)
            store.add_points(history.search_key(problem, contender, study), 0, points)


def make_summary(
    plan: Plan | None = None,
    *,
    curve: Callable[[Plan, PlannedProblem, PlannedContender, Trial], list[float]] = decay,
    diverged: Callable[[str, Trial], bool] = lambda label, trial: False,
    missing: Callable[[str, Trial], bool] = lambda label, trial: False,
    failed: Collection[str] = (),
    reason: str = "its update raised ValueError: no such thing",
) -> Summary:
    """The summary of a filled store; arguments as of `fill`."""
    plan = plan or make_plan()
    with Store(None) as store:
        fill(store, plan, curve=curve, diverged=diverged, missing=missing, failed=failed, reason=reason)
        return summarize(store)
