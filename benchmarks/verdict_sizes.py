"""How often do sentences of a verdict tell equal contenders apart, and how often do they see what is there?

Simulates whole runs, from tuning in several studies to the verdict, of one optimizer under several names, without
training, and prints the Markdown table of the documentation: `python -m benchmarks.verdict_sizes`. A rate from R runs
has a standard error of sqrt(p (1 - p) / R).
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Outcome, Trial
from tests.bench.synthetic import make_problem, play, synthetic_outcome

EVALUATIONS = 20
START = 10.0
DRAWS: dict[str, Callable[[np.random.Generator], float]] = {
    "normal": lambda rng: float(rng.normal()),
    "Student t(2)": lambda rng: float(rng.standard_t(2)),
}


class Contest(NamedTuple):
    """What contenders do at a learning rate 10^x, the best x being 0: where they end, and how soon they are there.

    Attributes:
        bowl: curvature of the final value in x, in standard deviations of a seed's noise.
        trade: how many e-folds of the rate of convergence one unit of x buys.
        late: by how much the last contender converges slower, in e-folds.
        better: by how much it ends better.
        target: what steps are counted to; training starts at 10 and ends around 0.
    """

    bowl: float = 0.3
    trade: float = 0.7
    late: float = 0.0
    better: float = 0.0
    target: float = 5.0


def plan_of(
    rng: np.random.Generator,
    target: float,
    *,
    count: int,
    studies: int,
    points: int,
    seeds: int,
    tuning_seeds: int,
    apart: bool,
) -> Plan:
    """A plan whose contenders try the same learning rates in a study, or each their own where they are `apart`."""
    space = {"learning_rate": Range(1e-2, 1e2, "log")}

    def drawn() -> list[list[Point]]:
        rates = 10 ** rng.uniform(-2, 2, (studies, points))
        return [[Point({"learning_rate": float(rate)}, {}) for rate in line] for line in rates]

    common, contenders = drawn(), []
    for k in range(count):
        first, *further = drawn() if apart else common
        contenders.append(PlannedContender(f"x{k}", f"x{k}", "", space, first, further=tuple(further)))
    problem = make_problem(metric=Metric("lower", "linear", "error"), target=target)
    return Plan("sizes", [problem], contenders, EVALUATIONS, tuning_seeds, seeds, Tuner(studies=studies))


def played(plan: Plan, rng: np.random.Generator, contest: Contest, noise: Callable[[], float]) -> Comparison:
    """One run: what a seed has for all contenders, and what each trial has alone, in the end and in the rate."""
    common: dict[tuple[str, int], float] = {}

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        is_last = contender is plan.contenders[-1]
        x = math.log10(trial.hyperparameters["learning_rate"])
        seed = common.setdefault((trial.stage, trial.seed), noise())
        end = contest.bowl * x * x + seed + noise() - contest.better * is_last
        rate = min(math.exp(contest.trade * x + 0.15 * (seed + noise()) - contest.late * is_last), 50.0)
        share = np.arange(EVALUATIONS + 1) / EVALUATIONS
        # exponentially from the start to the end, which is reached at the last step; a low rate makes a line
        curve = end + (START - end) * np.expm1(4 * rate * (1 - share)) / np.expm1(4 * rate)
        return synthetic_outcome(problem, plan, trial, [float(value) for value in curve])

    return compare_on(play(plan, train), plan.problems[0])


def claims(comparison: Comparison) -> dict[str, bool]:
    """Which sentences claim a difference."""
    found = comparison.verdict
    texts = [found.sentence, *found.notes]
    groups = [set(standing.group) for standing in comparison.ranking.standings.values()]
    return {
        "winner or worse": found.kind == "unsettled" or len(found.best) < len(groups),
        "groups": any(not one & other for one in groups for other in groups),
        "faster": any(" is faster to " in text or " is the first to " in text for text in texts),
        "faster, ends better": any(" ends better: " in text for text in texts),
        "flips": any(text.startswith("The ranking flips") for text in texts),
    }


def rates(
    repeats: int,
    contest: Contest,
    *,
    count: int = 2,
    studies: int = 10,
    points: int = 4,
    seeds: int = 2,
    tuning_seeds: int = 1,
    noise: str = "normal",
    apart: bool = True,
) -> dict[str, float]:
    """Shares of runs in which each sentence claims a difference."""
    rng = np.random.default_rng([count, studies, points, seeds, tuning_seeds, apart])
    total: dict[str, int] = {}
    for _ in range(repeats):
        sizes = {"count": count, "studies": studies, "points": points, "seeds": seeds, "tuning_seeds": tuning_seeds}
        plan = plan_of(rng, contest.target, **sizes, apart=apart)
        for name, value in claims(played(plan, rng, contest, lambda: DRAWS[noise](rng))).items():
            total[name] = total.get(name, 0) + value
    return {name: value / repeats for name, value in total.items()}


BENT = Contest(bowl=3.0, trade=0.1, late=2.5, better=2.5, target=6.5)  # the last one: slower, and better in the end
# label, what contenders do, what differs from two contenders of 10 studies, each of 4 points and 2 fresh seeds
CASES: tuple[tuple[str, Contest, Mapping[str, Any]], ...] = (
    ("equal", Contest(), {}),
    ("equal, the same points", Contest(), {"apart": False}),
    ("equal, 8 points", Contest(), {"points": 8}),
    ("equal, 6 studies", Contest(), {"studies": 6, "seeds": 3}),
    ("equal, 20 studies", Contest(), {"studies": 20}),
    ("equal, heavy tails", Contest(), {"noise": "Student t(2)"}),
    ("4 equals", Contest(), {"count": 4}),
    ("equal, half of the seeds miss", Contest(target=0.5), {}),
    ("equal, the score is sharp", Contest(bowl=3.0), {}),
    ("equal, rate apart from score", Contest(trade=0.0), {}),
    ("equal, rate against score", Contest(trade=1.5), {}),
    ("one faster, the other better", BENT, {}),
    ("one faster, the other better, 20 studies", BENT, {"studies": 20}),
)


def main() -> None:
    """Prints the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    names: list[str] = []
    for label, contest, setting in CASES:
        found = rates(repeats, contest, **setting)
        if not names:
            names = list(found)
            print("| runs | " + " | ".join(names) + " |")
            print("|---|" + "---:|" * len(names))
        print(f"| {label} | " + " | ".join(f"{100 * found[name]:.1f}" for name in names) + " |", flush=True)


if __name__ == "__main__":
    main()
