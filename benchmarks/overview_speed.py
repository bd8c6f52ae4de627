"""How long the overview of a large comparison takes, and how much memory, on one core: from outcomes to all its tables.

12 contenders, 20 problems, 20 seeds, curves of 50 evaluations, ladders of 5 targets, 16 tuning points, 10,000 draws;
the outcomes are made up. `taskset --cpu-list 0 python -m benchmarks.overview_speed`
"""

import math
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.report import tables_across
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune

CONTENDERS, SEEDS, PROBLEMS, EVALUATIONS, POINTS = 12, 20, 20, 50, 16
STEPS = np.arange(EVALUATIONS + 1) * 10


def main() -> None:
    """Prints the seconds of each part, their sum, and the most memory the process held."""
    plan = _plan()
    history = _history(plan)
    before = _memory()
    total = 0.0
    print("| part | CPU seconds |\n|---|---:|")

    def timed(label: str, make: Callable[[], object]) -> None:
        nonlocal total
        start = time.process_time()
        make()
        spent = time.process_time() - start
        total += spent
        print(f"| {label} | {spent:.2f} |", flush=True)

    start = time.process_time()
    history = history.with_plan(plan)  # which has hashed nothing yet
    comparisons = [compare_on(history, problem) for problem in plan.problems]
    of_problems = time.process_time() - start
    found = Summary(plan, comparisons, {}, {})
    timed("gathering outcomes", lambda: found.overview)
    timed("ranks, Friedman, Nemenyi", lambda: found.overview.ranks)
    timed("performance profile with bands", lambda: found.overview.profile)
    timed("targets reached with bands", lambda: found.overview.target_ecdf)
    timed("ranking by target and budget", lambda: found.overview.target_ranking)
    timed("tables as text, tuning leaders and good ranges among them", lambda: tables_across.sections(found))
    print(f"| all | {total:.2f} |\n")
    print(f"{_memory():.0f} MB at most, {before:.0f} MB of them before. Tables by problem: {of_problems:.2f} s")


def _plan() -> Plan:
    space = {"learning_rate": Range(1e-4, 1.0, "log"), "b1": Range(0.5, 0.999, "one_minus_log")}
    rng = np.random.default_rng(0)
    points = [
        Point({name: space[name].value(share) for name, share in zip(space, shares, strict=True)}, {})
        for shares in rng.random((POINTS, 2))
    ]
    contenders = [
        PlannedContender(f"optimizer-{index}", f"optimizer-{index}", "", space, points) for index in range(CONTENDERS)
    ]
    metric = {"error": Metric("lower", "log")}
    ladder = (2.0, 1.0, 0.5, 0.25)
    problems = [
        PlannedProblem(f"problem-{index}", metric, "error", 0.1, int(STEPS[-1]), 8, "", "", "", "", None, ladder)
        for index in range(PROBLEMS)
    ]
    return Plan("speed", problems, contenders, EVALUATIONS, 2, SEEDS)


def _history(plan: Plan) -> History:
    """What running the plan could have brought: the better the learning rate, the faster the curve falls."""
    rng = np.random.default_rng(1)
    history = History(plan)

    def ran(trial: Trial, rate: float) -> Outcome:
        values = 3 * np.exp(-rate * STEPS / 125) + rng.exponential(0.05)
        curves = {"error": values.astype(np.float32)}
        test = {"error": float(values[-1])}
        steps = STEPS.astype(np.int64)
        return Outcome(trial, "finished", "", "", None, 0.1, 0.1, steps, curves, test, Evaluations(int(STEPS[-1])))

    for problem in plan.problems:
        for contender in plan.contenders:
            speed = rng.lognormal(0.0, 0.5)
            history.add(
                ran(trial, speed / (1 + abs(math.log10(trial.hyperparameters["learning_rate"]) + 2)))
                for row in plan.tuning_trials(problem, contender)
                for trial in row
            )
            winner = tune(history, problem, contender).point
            assert winner is not None
            history.add(ran(trial, speed) for trial in plan.final_trials(problem, contender, winner))
    return history


def _memory() -> float:
    unit = 1024 if sys.platform == "linux" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
