"""What a run costs as it grows: planned, shown, taken up again. Nothing is trained: outcomes are made up.

    python -m benchmarks.growth                     10,400 and 100,000 trials, and curves of 10,000 points
    python -m benchmarks.growth --trials 10400      one of them

Each figure is of a process of its own: seconds, and the most memory that it held.
"""

import math
from pathlib import Path

import numpy as np

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.winner import tune

__all__ = ["PROGRAM", "make_plan", "write_run"]

SIZES = {10_400: (13, 8, 4), 100_000: (25, 16, 10)}  # contenders, problems, studies of 20 points and 5 seeds
POINTS, SEEDS = 20, 5
PROGRAM = dict.fromkeys(("code", "jax", "jaxlib", "optax", "flax", "numpy", "lanes", "xla_flags", "jax_config"), "1")
PROGRAM |= {"optimization": "1", "device": "cpu", "cpu_flags": "avx2 fma", "threads": "1", "python": "3.11.0"}
RUN = """
import sys, time, resource, gc
began = time.perf_counter()
{code}
took = time.perf_counter() - began
print("figures", took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, *globals().get("more", ()))
"""
SHOW = "from dlkit.bench.cli import app\napp(['show', {folder!r}], result_action='return_value')"
STORED = (
    "from dlkit.bench.store.store import Store\nfrom pathlib import Path\nstore = Store(Path({folder!r}), write=True)\n"
)
RESUME = (
    STORED + "from dlkit.bench.execution.runner import run\nfrom dlkit.bench.execution.progress import Silent\n"
    "from dlkit.bench.analysis.summary import summarize\nfrom benchmarks.growth import take_up\n"
    "more = [take_up(store)]\n"
)


def make_plan(contenders: int, problems: int, studies: int, *, evaluations: int = 10) -> Plan:
    """A plan of contenders that differ by their names alone, on problems that do so, too."""
    space = {"learning_rate": Range(1e-3, 1.0, "log"), "momentum": Range(0.0, 0.99)}
    rate = Metric("lower", "linear", "error")
    facts = [
        PlannedProblem(f"problem {number}", {"error": rate}, "error", 0.2, 1000, 32, "d" * 16, "made up", False, "")
        for number in range(problems)
    ]
    planned = []
    for number in range(contenders):
        first, *further = (halton_points(space, {}, POINTS, seed=study) for study in range(studies))
        label = f"contender {number}"
        planned.append(PlannedContender(label, label, False, space, first, further=tuple(further)))
    return Plan("growth", facts, planned, evaluations, 1, SEEDS, Tuner(studies=studies))


def outcome(plan: Plan, problem: PlannedProblem, place: int, trial: Trial, rng: np.random.Generator) -> Outcome:
    """A curve that falls to a value that depends on the contender's place, the setting and chance."""
    off = abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5)
    end = 0.1 + 0.05 * off + 0.002 * place + 0.01 * rng.normal()
    along = np.arange(plan.evaluations + 1) / plan.evaluations
    curve = (end + (1 - end) * np.exp(-5 * along)).astype(np.float32)
    steps = np.round(along * problem.steps).astype(np.int64)
    curves = {"error": curve, "training_loss": curve}
    ended = (trial, "finished", "", "", None, 0.5, 0.1)
    return Outcome(*ended, steps, curves, {"error": end}, Evaluations(problem.steps))


def write_run(folder: Path, plan: Plan) -> int:
    """Writes a run of a plan; returns how many trials it has."""
    rng, count = np.random.default_rng(0), 0
    with Store(folder) as store:
        store.use_plan(plan, {})
        store.use_software(PROGRAM)
        for place, (problem, contender) in enumerate(plan.cells):
            history = History(plan)
            for study in plan.studies(problem, contender):
                rows = history.tuning_trials(problem, contender, contender.points_of(study), study=study)
                made = [outcome(plan, problem, place % 7, trial, rng) for row in rows for trial in row]
                history.add(made)
                winner = tune(history, problem, contender, study=study).point
                assert winner is not None
                finals = history.final_trials(problem, contender, winner, study=study)
                made += [outcome(plan, problem, place % 7, trial, rng) for trial in finals]
                store.add(made, PROGRAM)
                count += len(made)
    return count
