"""Twelve optimizers on twelve problems of all families, with default studies on two workers: what its time goes into.

    python -m benchmarks.large_study                        the whole: fifteen minutes at most on two quiet cores
    python -m benchmarks.large_study --optimizers 2 --problems 2 --studies 2 --steps 40        a look at how it goes
    python -m benchmarks.large_study --folder runs/large    keeps the run; started again, only what is left is trained

The compilation cache is empty at first. Workers say what JAX spends on tracing, lowering and compiling; outcomes, how
long trials trained; one evaluation of each problem, timed afterwards, how much of that were evaluations: these are
seconds of wall time, and sum up to the workers' CPU time on a quiet machine alone. The driver says what the store, the
statistics and the report cost it, in CPU time.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import jax

from benchmarks import CORES
from dlkit import bench
from dlkit.bench.execution import whole_run
from dlkit.bench.store.store import Store
from dlkit.bench.training.program import compile_problem

OPTIMIZERS = (
    "adam",
    "sgd",
    "momentum",
    "rmsprop",
    "adagrad",
    "adamw",
    "nadam",
    "lion",
    "lamb",
    "adabelief",
    "muon",
    "schedule_free_adamw",
)
PROBLEMS = (
    "quadratic",
    "rosenbrock",
    "logistic-regression",
    "diabetes-linear",
    "zipf-logistic",
    "survival-mlp",
    "digits-mlp",
    "digits-deep-mlp",
    "digits-rows",
    "digits-vae",
    "teacher-student",
    "coordinate-network",
)
WORKERS = 2

seconds: Counter[str] = Counter()
_inside: list[str] = []


def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose CPU time is counted, but for calls from within one that is."""

    @wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        if _inside:
            return function(*arguments, **named)
        _inside.append(part)
        began = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            _inside.pop()
            seconds[part] += time.process_time() - began

    return counted


def watch_driver() -> None:
    """Puts clocks around the driver's store and statistics."""
    for name, method in list(vars(Store).items()):
        if callable(method) and not name.startswith("_"):
            setattr(Store, name, timed("store", method))
    whole_run.summarize = timed("statistics", whole_run.summarize)


def evaluation_seconds(result: bench.Result) -> float:
    """Returns about how long all evaluations of a run took: one of each problem, timed here, for every one it made."""
    points: Counter[str] = Counter()
    for record in result.summary.records.values():
        points[record.outcome.trial.identity["problem"]["name"]] += len(record.outcome.steps)
    total = 0.0
    for name, count in points.items():
        shared = compile_problem(bench.problems.get(name))
        params, state = jax.jit(shared.problem.init)(jax.random.key(0))
        evaluate = partial(shared.evaluate, params, state, shared.arrays(0)["validation"])
        jax.block_until_ready(evaluate())
        taken = []
        for _ in range(5):
            began = time.process_time()
            jax.block_until_ready(evaluate())
            taken.append(time.process_time() - began)
        total += min(taken) * count
    return total


def cpu(who: int) -> float:
    """CPU seconds of this process, or of its children that have ended."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def studied(asked: argparse.Namespace, clocks: Path) -> tuple[bench.Result, float]:
    """Runs the study and writes its report; returns the result and seconds of wall time."""
    os.environ["COMPILE_CLOCK"] = str(clocks)
    os.environ["DLKIT_CACHE"] = str(clocks / "cache")
    starting = clocks / "starting"  # Python runs what is called so whenever it starts
    starting.mkdir()
    (starting / "sitecustomize.py").write_text(Path(__file__).with_name("compile_clock.py").read_text())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(starting), *filter(None, [os.environ.get("PYTHONPATH")])])
    watch_driver()
    budget = {name: value for name in ("studies", "steps") if (value := getattr(asked, name)) is not None}
    began = time.perf_counter()
    result = bench.compare(
        problems=PROBLEMS[: asked.problems],
        optimizers=OPTIMIZERS[: asked.optimizers],
        budget=bench.Budget(**budget),
        folder=asked.folder or clocks / "run",
        resources=bench.Resources(workers=WORKERS),
        progress=False,
    )
    timed("report", result.report)((asked.folder or clocks) / "report.html")
    return result, time.perf_counter() - began


def main() -> None:
    """Runs it and prints the split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", type=int, default=len(OPTIMIZERS), help="how many of them")
    parser.add_argument("--problems", type=int, default=len(PROBLEMS), help="how many of them")
    parser.add_argument("--studies", type=int, help="by default the budget's own")
    parser.add_argument("--steps", type=int, help="of each trial; by default each problem's own")
    parser.add_argument("--folder", type=Path, help="where the run is kept; by default nowhere")
    asked = parser.parse_args()
    os.sched_setaffinity(0, set(CORES))
    with tempfile.TemporaryDirectory() as name:
        clocks = Path(name)
        result, wall = studied(asked, clocks)
        driver, workers = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
        for path in clocks.glob("*.json"):
            seconds.update(json.loads(path.read_text()))
        evaluated = evaluation_seconds(result)
    outcomes = [record.outcome for record in result.summary.records.values()]
    trained = sum(outcome.seconds for outcome in outcomes)
    programs = [seconds[part] for part in ("trace", "lower", "compile", "load from the cache")]
    rows = {
        "trace": programs[0],
        "lower": programs[1],
        "compile": programs[2],
        "load from the cache": programs[3],
        "train": trained - evaluated,
        "evaluate": evaluated,
        "the rest of the workers": workers - trained - sum(programs),
        "store": seconds["store"],
        "statistics": seconds["statistics"],
        "report": seconds["report"],
        "the rest of the driver": driver - sum(seconds[part] for part in ("store", "statistics", "report")),
    }
    print(f"\n{len(outcomes):,} trials, {len(CORES)} cores, jax {jax.__version__}: {wall:.1f} s of wall time, ", end="")
    print(f"{driver:.1f} s of CPU in the driver, {workers:.1f} s in workers; failures: {len(result.failures)}\n")
    print("| part | s | share, % |\n|---|---:|---:|")
    for part, taken in rows.items():
        print(f"| {part} | {taken:.1f} | {100 * taken / (driver + workers):.1f} |")
    for failure in result.failures:
        print(failure)


if __name__ == "__main__":
    main()
