"""Problems: what is trained. One family per file; `catalog` finds them by name."""

from dlkit.bench.problems.base import Batch, Metric, Problem, classification, regression
from dlkit.bench.problems.catalog import PROBLEMS, get
from dlkit.bench.problems.checks import check_problem
from dlkit.bench.problems.quadratics import quadratic

__all__ = [
    "PROBLEMS",
    "Batch",
    "Metric",
    "Problem",
    "check_problem",
    "classification",
    "get",
    "quadratic",
    "regression",
]
