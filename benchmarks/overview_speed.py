"""How long all tables and verdicts of a large comparison take, and how much memory, on one core: from outcomes on.

12 contenders, 20 problems, 10 studies of 4 points and 2 fresh seeds, curves of 50 evaluations, ladders of 5 targets,
10,000 draws; the outcomes are made up. `taskset --cpu-list 0 python -m benchmarks.overview_speed`
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
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.report import tables, tables_across
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.winner import tune

CONTENDERS, STUDIES, POINTS, SEEDS, PROBLEMS, EVALUATIONS = 12, 10, 4, 2, 20, 50
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
    for comparison in comparisons:
        tables.ranking(comparison), tables.parts(comparison)
    of_problems = time.process_time() - start
    found = Summary(plan, comparisons, {}, {})
    timed("gathering outcomes", lambda: found.overview)
    timed("ranks, Friedman, Nemenyi", lambda: found.overview.ranks)
    timed("performance profile with bands", lambda: found.overview.profile)
    timed("targets reached with bands", lambda: found.overview.target_ecdf)
    timed("ranking by target and budget", lambda: found.overview.target_ranking)
    timed("tables as text, tuning leaders and good ranges among them", lambda: tables_across.sections(found))
    print(f"| all | {total:.2f} |\n")
    print(f"{_memory():.0f} MB at most, {before:.0f} MB before. Verdicts and tables by problem: {of_problems:.2f} s")


def _plan() -> Plan:
    space = {"learning_rate": Range(1e-4, 1.0, "log"), "b1": Range(0.5, 0.999, "one_minus_log")}
    first, *further = (halton_points(space, {}, POINTS, seed=study) for study in range(STUDIES))
    contenders = [
        PlannedContender(f"optimizer-{index}", f"optimizer-{index}", False, space, first, further=tuple(further))
        for index in range(CONTENDERS)
    ]
    metric = {"error": Metric("lower", "log")}
    ladder = (2.0, 1.0, 0.5, 0.25)
    problems = [
        PlannedProblem(f"problem-{index}", metric, "error", 0.1, int(STEPS[-1]), 8, "", "", False, "", None, ladder)
        for index in range(PROBLEMS)
    ]
    return Plan("speed", problems, contenders, EVALUATIONS, 1, SEEDS, Tuner(studies=STUDIES))


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
            for study in range(STUDIES):
                history.add(
                    ran(trial, speed / (1 + abs(math.log10(trial.hyperparameters["learning_rate"]) + 2)))
                    for row in plan.tuning_trials(problem, contender, study=study)
                    for trial in row
                )
                winner = tune(history, problem, contender, study=study).point
                assert winner is not None
                history.add(ran(trial, speed) for trial in plan.final_trials(problem, contender, winner, study=study))
    return history


def _memory() -> float:
    unit = 1024 if sys.platform == "linux" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
