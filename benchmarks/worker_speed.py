"""Training time of 64 trials of the digits MLP by one pinned worker and by two: `python -m benchmarks.worker_speed`."""

import os
import time

from benchmarks import CORES
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.work import Work
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

TRIALS = 64


def seconds(count: int) -> float:
    """Seconds that so many workers take, compiled; the best of three."""
    asked = Experiment(
        name="speed",
        problems=(ProblemChoice(problem="digits-mlp"),),
        optimizers=(Contender(optimizer="adam"),),
        budget=Budget(tuning_points=TRIALS, tuning_seeds=1, seeds=1),
    )
    study = planner.plan(asked)
    problem, contender = study.plan.problems[0], study.plan.contenders[0]
    every = [row[0] for row in study.plan.tuning_trials(problem, contender)]
    executor = ProcessExecutor(workers=count)
    try:
        group = study.group(problem, contender, {})
        best = float("inf")
        for attempt in range(4):
            began = time.perf_counter()
            for slot in range(count):
                share = every[slot::count] if attempt else every[:1]  # the first attempt compiles
                executor.submit(slot, Work(group, tuple(share), seconds=1e9))
            for _ in range(count):
                executor.next()
            if attempt:
                best = min(best, time.perf_counter() - began)
        return best
    finally:
        executor.close()


def main() -> None:
    """Prints both times and their ratio."""
    os.sched_setaffinity(0, set(CORES))
    one, two = seconds(1), seconds(2)
    print(f"{TRIALS} trials of 600 steps: one pinned worker {one:.2f} s, two {two:.2f} s: {one / two:.2f}x")


if __name__ == "__main__":
    main()
