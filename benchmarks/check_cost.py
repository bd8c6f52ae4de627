"""What the look before the first trial costs, against the study that follows it.

    python -m benchmarks.check_cost
    python -m benchmarks.check_cost --problems digits-mlp --optimizers sgd adam adamw

Each problem of the catalogue is taken for one's own, and so is an optimizer; the study has the default budget, in this
process, in one thread. Processor seconds of `examine`, and of planning and running the study without it; JAX forgets
all traces before each, and there is no compilation cache. Prints a row for each problem as soon as it is done.
"""

import argparse
import time

import jax
import optax

from dlkit import bench
from dlkit.bench.examination.examine import examine
from dlkit.bench.identity.programs import forget_traces
from dlkit.bench.problems import catalog
from dlkit.bench.spec import planner

__all__ = ["measure"]


def measure(problem: str, optimizers: list[str]) -> tuple[float, float]:
    """Returns the seconds of the look, and of the study.

    Args:
        problem: of the catalogue.
        optimizers: registered ones; one's own runs beside them.
    """
    own = bench.Optimizer("own", optax.sgd, {"learning_rate": bench.log_uniform(1e-4, 1.0)})
    experiment = bench.Experiment(
        name="cost",
        problems=(bench.ProblemChoice(problem=catalog.get(problem)),),
        optimizers=tuple(bench.Contender(optimizer=each) for each in (*optimizers, own)),
    )
    bound = planner.plan(experiment)
    forget_traces()
    began = time.process_time()
    found = examine(bound)
    looked = time.process_time() - began
    assert found.right, str(found)
    forget_traces()
    began = time.process_time()
    bench.run(experiment, resources=bench.Resources(executor="inline"), progress=False, check=False)
    return looked, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", nargs="+", default=["quadratic", "diabetes-linear", "digits-mlp"])
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adam"])
    given = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    print(f"{'problem':20} {'look, s':>8} {'study, s':>9} {'share, %':>9}")
    for problem in given.problems:
        looked, studied = measure(problem, given.optimizers)
        print(f"{problem:20} {looked:8.2f} {studied:9.1f} {100 * looked / studied:9.1f}", flush=True)


if __name__ == "__main__":
    main()
