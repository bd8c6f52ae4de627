"""Runs without training: plans by hand, and stores filled with curves of a closed form."""

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from dlkit.bench.optimizers import Evaluations
from dlkit.bench.plans import Contender, Outcome, Plan, ProblemFacts, Trial
from dlkit.bench.problems.base import Metric
from dlkit.bench.results import Summary, summary
from dlkit.bench.space import Point, Range
from dlkit.bench.store import Store

__all__ = ["PROGRAM", "fill", "make_contender", "make_plan", "make_problem", "make_summary"]

PROGRAM = dict.fromkeys(("code", "jax", "jaxlib", "optax", "flax", "numpy", "lanes", "xla_flags", "jax_config"), "1")
PROGRAM |= {"optimization": "1", "device": "cpu", "cpu_flags": "avx2 fma", "threads": "1", "python": "3.11.0"}


def make_problem(name: str = "bowl", *, metric: Metric | None = None, target: float | None = 0.1) -> ProblemFacts:
    """A problem of 40 steps whose metric is "error"."""
    meaning = metric or Metric("lower", "linear", "error")
    return ProblemFacts(name, {"error": meaning}, "error", target, 40, 8, "d" * 16, "made up", "", "a bowl")


def make_contender(label: str, *, points: int = 5, name: str = "learning_rate") -> Contender:
    """A contender with log-spaced learning rates from 0.001 to 1; with one point, nothing is tuned."""
    if points == 1:
        return Contender(label, label, "", {name: 0.1}, [Point({name: 0.1}, {})])
    rates = [float(f"{rate:.6g}") for rate in np.geomspace(1e-3, 1.0, points)]
    return Contender(label, label, "", {name: Range(1e-3, 1.0, "log")}, [Point({name: rate}, {}) for rate in rates])


def make_plan(
    labels: Sequence[str] = ("sgd", "adam", "lion"),
    *,
    problems: Sequence[ProblemFacts] = (),
    points: int = 5,
    evaluations: int = 4,
    tuning_seeds: int = 2,
    seeds: int = 10,
) -> Plan:
    """A plan of contenders that differ by their labels alone."""
    contenders = [make_contender(label, points=points) for label in labels]
    return Plan("synthetic", list(problems) or [make_problem()], contenders, evaluations, tuning_seeds, seeds)


def decay(plan: Plan, problem: ProblemFacts, contender: Contender, trial: Trial) -> list[float]:
    """A curve from about 1 towards 0: later contenders are better, and the middle of the learning rates is best.

    Metrics whose high values are good get 1 minus that.
    """
    place = plan.contenders.index(contender)
    rate = next(iter(trial.hyperparameters.values()))
    off = abs(math.log10(rate) + 1.5)
    noise = 1 + 0.05 * math.sin(7.0 * trial.seed + place)
    values = [noise * (1 + off) / (1 + (1 + place) * point) for point in range(plan.evaluations + 1)]
    return [1 - value for value in values] if problem.judged.higher_is_better else values


def fill(
    store: Store,
    plan: Plan,
    *,
    curve: Callable[[Plan, ProblemFacts, Contender, Trial], list[float]] = decay,
    diverged: Callable[[str, Trial], bool] = lambda label, trial: False,
    missing: Callable[[str, Trial], bool] = lambda label, trial: False,
    failed: Collection[str] = (),
    reason: str = "its update raised ValueError: no such thing",
) -> None:
    """Stores what running a plan would have: all tuning trials, then the winners on the final seeds.

    Args:
        store: where.
        plan: which.
        curve: the values at each evaluation; a diverged trial keeps the first two and then has NaN.
        diverged: of a label and a trial, whether it diverges.
        missing: of a label and a trial, whether it has not run.
        failed: labels of contenders whose every trial fails.
        reason: why they do.
    """
    from dlkit.bench.tuning import tune

    store.use_plan(plan, {})
    store.use_software(PROGRAM)

    def outcome(problem: ProblemFacts, contender: Contender, trial: Trial) -> Outcome:
        if contender.label in failed:
            empty = np.zeros(0, np.int64)
            return Outcome(
                trial,
                "failed",
                f"{contender.label}: {reason}",
                "Traceback",
                None,
                0.0,
                0.0,
                empty,
                {},
                {},
                Evaluations(0),
            )
        values = curve(plan, problem, contender, trial)
        is_bad = diverged(contender.label, trial)
        values = [*values[:2], math.nan] if is_bad else values
        steps = np.arange(len(values)) * (problem.steps // plan.evaluations)
        curves = {"error": np.array(values, np.float32), "training_loss": np.array(values, np.float32)}
        test = {} if is_bad else {"error": values[-1] * 1.01}
        status = "diverged" if is_bad else "finished"
        at = int(steps[-1]) if is_bad else None
        return Outcome(
            trial, status, "", "", at, 0.25, 0.5, steps.astype(np.int64), curves, test, Evaluations(int(steps[-1]))
        )

    for problem in plan.problems:
        for contender in plan.contenders:
            trials = [trial for line in plan.tuning_trials(problem, contender) for trial in line]
            store.add(
                [outcome(problem, contender, each) for each in trials if not missing(contender.label, each)], PROGRAM
            )
            known = {name: record.outcome for name, record in store.records().items()}
            winner = tune(plan, problem, contender, known).point
            finals = plan.final_trials(problem, contender, winner) if winner else []
            store.add(
                [outcome(problem, contender, each) for each in finals if not missing(contender.label, each)], PROGRAM
            )


def make_summary(
    plan: Plan | None = None,
    *,
    curve: Callable[[Plan, ProblemFacts, Contender, Trial], list[float]] = decay,
    diverged: Callable[[str, Trial], bool] = lambda label, trial: False,
    missing: Callable[[str, Trial], bool] = lambda label, trial: False,
    failed: Collection[str] = (),
    reason: str = "its update raised ValueError: no such thing",
) -> Summary:
    """The summary of a filled store; arguments as of `fill`."""
    plan = plan or make_plan()
    with Store(None) as store:
        fill(store, plan, curve=curve, diverged=diverged, missing=missing, failed=failed, reason=reason)
        return summary(store)
