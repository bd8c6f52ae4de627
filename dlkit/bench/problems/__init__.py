"""Problems: what is trained. One family per file; `catalog` finds them by name."""

from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Player, Problem
from dlkit.bench.problems.catalog import ENTRIES, FAMILIES, PROBLEMS, choices_of, get, maker, tunable
from dlkit.bench.problems.checks import check_problem
from dlkit.bench.problems.factories import ProblemFactory
from dlkit.bench.problems.from_dataset import problem_from_dataset
from dlkit.bench.problems.initialization import matrices_only, reinitialized
from dlkit.bench.problems.quadratics import noisy_quadratic, quadratic
from dlkit.bench.problems.supervised import classification, regression

__all__ = [
    "ENTRIES",
    "FAMILIES",
    "PROBLEMS",
    "Batch",
    "Metric",
    "Player",
    "Problem",
    "ProblemFactory",
    "check_problem",
    "choices_of",
    "classification",
    "get",
    "maker",
    "matrices_only",
    "noisy_quadratic",
    "problem_from_dataset",
    "quadratic",
    "regression",
    "reinitialized",
    "tunable",
]
