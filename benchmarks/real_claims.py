"""An optimizer against itself, trained: how often a run with the default budget claims a difference that is none.

    python -m benchmarks.real_claims quadratic digits-mlp --repeats 40

Each repetition has studies of its own numbers, and each contender a draw of points of its own. Prints a line for each
repetition that claims something, and at the end a row of docs/statistics.md.
"""

import argparse
import time
from collections import Counter

from dlkit import bench
from dlkit.bench.analysis.claims import claims

__all__ = ["claimed"]

OPTIMIZERS = {"quadratic": "adam", "digits-mlp": "momentum"}
APART = 100  # first studies of two repetitions: more than a repetition has studies


def claimed(problem: str, optimizer: str, repetition: int) -> set[str]:
    """Runs an optimizer against itself and returns which sentences claim a difference.

    Args:
        problem: of the catalogue.
        optimizer: of the registry.
        repetition: which.
    """
    again = bench.Contender(optimizer=optimizer, draw=1, label=f"{optimizer} again")
    result = bench.compare(
        problems=[problem],
        optimizers=[bench.Contender(optimizer=optimizer), again],
        budget=bench.Budget(first_study=APART * repetition),
        resources=bench.Resources(executor="inline"),
        progress=False,
    )
    (comparison,) = result.summary.comparisons
    found = {claim.sentence for claim in claims(comparison)}
    if found:
        print(f"{repetition}: {sorted(found)}: {comparison.verdict.sentence}", flush=True)
    return {str(sentence) for sentence in found}


def main() -> None:
    """Prints what was claimed."""
    parser = argparse.ArgumentParser(description="An optimizer against itself, trained.")
    parser.add_argument("problems", nargs="*", default=list(OPTIMIZERS))
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="the first repetition")
    asked = parser.parse_args()
    for problem in asked.problems:
        optimizer, start, counts = OPTIMIZERS[problem], time.perf_counter(), Counter[str]()
        for done in range(1, asked.repeats + 1):
            counts.update(claimed(problem, optimizer, asked.first + done - 1))
            took = time.perf_counter() - start
            row = f"| {optimizer} against itself on {problem} | {done} | {dict(counts)} | {took:.0f} s |"
            if done == asked.repeats or done % 5 == 0:
                print(row, flush=True)


if __name__ == "__main__":
    main()
