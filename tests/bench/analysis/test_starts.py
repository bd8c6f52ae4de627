"""What is said of trials that went wrong before their first step, and how exactly 0 is written."""

import math

import numpy as np
import pytest

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.starts import wrong_from_start
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import Floored, oriented, unoriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval

METRICS = {"gap": Metric("lower", "log"), "accuracy": Metric("higher")}
PROBLEM = PlannedProblem("bowl", METRICS, "gap", None, 40, 8, "", "", "", "")


def outcome(*, gap=(1.0, 0.5), accuracy=(0.5, 0.6), diverged_at=None, status="diverged"):
    curves = {"gap": np.array(gap, np.float32), "accuracy": np.array(accuracy, np.float32)}
    trial = Trial("t", {})
    return Outcome(trial, status, "", "", diverged_at, 0.0, 0.0, np.array([0, 20]), curves, {})


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        ([outcome(diverged_at=0), outcome(diverged_at=0), None], "the loss is not finite at the initial parameters"),
        ([outcome(gap=(math.nan, 1)), outcome(gap=(math.inf, 1))], "metric 'gap' is not finite at the initial"),
        ([outcome(accuracy=(math.nan, 1))], "metric 'accuracy' is not finite at the initial parameters"),
        ([outcome(gap=(-1.0, -2.0), status="finished")], "metric 'gap' is negative, and its scale is logarithmic"),
        # what steps did is for the space to answer
        ([outcome(diverged_at=0), outcome(diverged_at=3)], ""),
        ([outcome(gap=(1.0, math.nan), diverged_at=20)], ""),
        ([outcome(gap=(-1.0, 2.0), status="finished")], ""),
        ([outcome(status="failed", diverged_at=0)], ""),
        ([None], ""),
    ],
)
def test_what_was_wrong_before_any_step_is_no_fault_of_the_space(outcomes, says) -> None:
    found = wrong_from_start(PROBLEM, outcomes)
    assert found.startswith(says) and bool(found) == bool(says)


def test_exactly_zero_is_written_as_zero_and_not_as_the_smallest_number() -> None:
    score = float(oriented(PROBLEM, "gap", 0.0))
    assert numbers.number(unoriented(PROBLEM, "gap", score)) == "0"
    assert numbers.number(2.4e-38) == "2.40e-38", "a number of its own"
    assert numbers.bounded("0", is_bound=True) == "0" and numbers.bounded("1.00e-12", is_bound=True) == "≤1.00e-12"


def test_a_ratio_to_exactly_zero_has_no_bound_made_of_the_smallest_number() -> None:
    distance = 0.0 - float(oriented(PROBLEM, "gap", 0.0))
    open_above = numbers.oriented_interval(PROBLEM, Interval(distance, distance, distance), Floored(False, True))
    assert open_above == f"{numbers.TIMES}∞ [{numbers.TIMES}∞, no bound]"
    open_below = numbers.oriented_interval(PROBLEM, Interval(-distance, -distance, -distance), Floored(True, False))
    assert open_below == f"{numbers.TIMES}0 [no bound, {numbers.TIMES}0]"
    bounded = numbers.oriented_interval(PROBLEM, Interval(2.0, 1.0, 3.0), Floored(False, True))
    assert bounded.startswith(f"at least {numbers.TIMES}100")
