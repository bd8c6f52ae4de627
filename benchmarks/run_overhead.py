"""What a run costs beside training: CPU time of the driver per trial, from 1,000 trials of one millisecond on.

Contenders on `quadratic`, ten studies each. An executor of made-up outcomes stands for the workers, so that all that is
measured are points, identities, jobs, the store and the summary. Workers report every 2 s: up to 2,000 trials of a
millisecond, or 20 of a tenth of a second. `taskset --cpu-list 0 python -m benchmarks.run_overhead`
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from dlkit.bench.analysis.summary import summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.work import Done, Task, Timed, Work
from dlkit.bench.machine.program import program_identity
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw", "nadam", "radam", "lion", "adamax")
STUDIES, SEEDS, EVALUATIONS = 10, 2, 20


class MadeUp:
    """An executor whose trials take no time."""

    slots = 2
    vacant = ()
    program = None

    def __init__(self, report: int) -> None:
        self._report = report
        self._work: dict[int, Work] = {}
        self._program = program_identity()

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the work until `next` answers it."""
        assert isinstance(work, Work)
        self._work[slot] = work

    def next(self) -> tuple[int, Done | Timed]:
        """Answers the oldest work."""
        slot = next(iter(self._work))
        work = self._work.pop(slot)
        return slot, Done(tuple(map(_outcome, work.trials[: self._report])), self._program)

    def close(self) -> None:
        """Nothing to end."""


def _outcome(trial: Trial) -> Outcome:
    steps = np.arange(EVALUATIONS + 1, dtype=np.int64)
    final = abs(np.log10(trial.hyperparameters.get("learning_rate", 1.0)) + 2) + trial.seed % 7 / 10 + 0.1
    curves = {"suboptimality": np.geomspace(10.0, final, EVALUATIONS + 1).astype(np.float32)}
    validation = {} if trial.stage == "tuning" else {"suboptimality": float(final)}
    return Outcome(trial, "finished", "", "", None, 1e-3, 0.0, steps, curves, validation, Evaluations(EVALUATIONS))


@contextmanager
def _timed(label: str, trials: int, report: int) -> Iterator[None]:
    start = time.process_time()
    yield
    spent = time.process_time() - start
    print(f"| {trials} | {report} | {label} | {spent:.2f} | {1e3 * spent / trials:.3f} |", flush=True)


def main() -> None:
    """Prints seconds and milliseconds a trial for each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--report", type=int, nargs="*", default=[20, 2000], help="trials a report of a worker has")
    given = parser.parse_args()
    print("| trials | in reports of | part | CPU seconds | ms a trial |\n|---:|---:|---|---:|---:|")
    for trials in given.trials:
        for report in given.report:
            _measure(trials, report)


def _measure(trials: int, report: int) -> None:
    points = trials // (len(OPTIMIZERS) * STUDIES) - SEEDS
    budget = Budget(studies=STUDIES, tuning_points=points, tuning_seeds=1, seeds=SEEDS, evaluations=EVALUATIONS)
    contenders = tuple(Contender(optimizer=name) for name in OPTIMIZERS)
    problem = ProblemChoice(problem="quadratic")
    experiment = Experiment(name="overhead", problems=(problem,), optimizers=contenders, budget=budget)
    with _timed("plan", trials, report):
        bound = planner.plan(experiment)
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            with _timed("run", trials, report):
                ended = runner.run(bound, store, partial(MadeUp, report), Silent())
            with _timed("summary", trials, report):
                summarize(store, ended.bound.plan)
            assert len(store.finished()) == trials
        with Store(Path(folder)) as store, _timed("run again, nothing to do", trials, report):
            runner.run(bound, store, partial(MadeUp, report), Silent())


if __name__ == "__main__":
    main()
