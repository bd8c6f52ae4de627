"""Before the last step: how trials come out against a target, and what compares at half of the budget."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis.along_curves import amount_to, amounts_along, amounts_to, at_half, log_steps, steps_to_target
from dlkit.bench.plan.axes import Allowance
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.spending import along_budget
from dlkit.bench.plan.trials import Outcome
from tests.bench.synthetic import make_plan, make_problem

INF, NAN = math.inf, math.nan
PLAN = make_plan(["x"], tuning_seeds=2)
PROBLEM, CONTENDER = PLAN.problems[0], PLAN.contenders[0]  # 40 steps, evaluated at 0, 10, 20, 30, 40
TRIAL = PLAN.final_trials(PROBLEM, CONTENDER, CONTENDER.points[0])[0]


def ended(curve, status="finished", trial=TRIAL):
    steps = np.arange(len(curve)) * 10
    at = int(steps[-1]) if status == "diverged" else None
    return Outcome(trial, status, "", "", at, 0.0, 0.0, steps, {"error": np.array(curve, np.float32)}, {})


def hit_at(step):
    return ended([0.05 if point * 10 >= step else 1.0 for point in range(5)])


MISS, DIVERGED = ended([1.0] * 5), ended([1.0, 1.0, NAN], "diverged")
CUT = ended([1.0, 1.0, 1.0], "cut off")  # at step 20
STOPPED = ended([1.0, 0.9, 0.9], "stopped")


def reached(outcomes, target=0.1):
    return steps_to_target(PROBLEM, CONTENDER, outcomes, target, level=0.95)


# --- against a target ------------------------------------------------------------------------------------------------


def test_three_ways_not_to_get_there_are_told_apart():
    after = ended([1.0, 0.05, NAN], "diverged")  # it had been there
    found = reached([hit_at(10), hit_at(20), after, MISS, STOPPED, DIVERGED, CUT])
    assert found[:4] == (3, 2, 1, 1)
    assert found.diverged_after == 1, "it counts as both"


def test_without_censoring_they_are_the_ordinary_median_and_mean():
    times = [10, 20, 20, 30, 40, 40]
    found = reached([hit_at(step) for step in times])
    assert found.median == (25.0, 10.0, 40.0)
    assert found.restricted.estimate == pytest.approx(np.mean(times))
    assert found.expected == pytest.approx(np.mean(times))


def test_expected_running_time_charges_what_each_trial_ran():
    # at the target at 10; to the end at 40; stopped early, diverged and cut off at 20: not 40 each
    found = reached([hit_at(10), MISS, STOPPED, DIVERGED, CUT])
    assert found.expected == 10 + 40 + 20 + 20 + 20


def test_all_at_one_evaluation():
    """Kaplan and Meier's interval would have no end here."""
    assert reached([hit_at(20)] * 10).median == (20.0, 20.0, 20.0)


def test_misses_count_as_the_budget_in_the_mean_and_as_later_in_the_median():
    found = reached([hit_at(10), hit_at(20), MISS, DIVERGED])
    assert found.median.estimate == INF
    assert found.restricted.estimate == pytest.approx((10 + 20 + 40 + 40) / 4)
    assert found.expected == pytest.approx((10 + 20 + 40 + 20) / 2)  # the last one diverged at step 20
    nobody = reached([MISS, DIVERGED])
    assert nobody.median.estimate == nobody.expected == INF and nobody.restricted.estimate == 40


def test_what_was_cut_off_is_no_miss():
    """S(10) = 3/4 and, one of three being cut off before, S(30) = 3/4 * 1/2: half are there by 30, not later."""
    cut = ended([1.0, 1.0, 1.0], "cut off")
    found = reached([hit_at(10), cut, hit_at(30), hit_at(40)])
    assert found.cut_off == 1
    assert found.median.estimate == 30.0
    # the area under 1, 3/4 and 3/8 over 10, 20 and 10 steps
    assert found.restricted.estimate == pytest.approx(10 + 15 + 3.75)
    missed = reached([hit_at(10), MISS, hit_at(30), hit_at(40)])
    assert missed.median.estimate == 35.0


def test_a_mean_to_the_budget_that_nobody_saw():
    found = reached([hit_at(10), CUT])
    assert math.isnan(found.restricted.estimate) and found.expected == pytest.approx(10 + 20)


def test_without_a_target_there_are_no_steps():
    assert reached([MISS], NAN) is None
    assert reached([]) is None


# --- along curves ----------------------------------------------------------------------------------------------------


def along(finals, *, contender=CONTENDER, target=0.1):
    """Steps and scores at half."""
    return log_steps(PROBLEM, contender, finals, target), at_half(PROBLEM, contender, finals)


def test_steps_are_logarithms_and_step_0_counts_as_1():
    steps, _ = along([hit_at(0), hit_at(20), MISS, DIVERGED])
    np.testing.assert_allclose(steps.values, [0.0, math.log2(20), INF, INF])
    assert steps.at is None


def test_the_score_at_half_of_the_budget():
    later = ended([1.0, 0.9, 0.7, 0.5, NAN], "diverged")
    _, half = along([ended([1.0, 0.8, 0.6, 0.4, 0.2]), later, DIVERGED])
    np.testing.assert_allclose(half.values, np.array([0.6, 0.7, INF]), rtol=1e-6)
    assert half.at == 20


@pytest.mark.parametrize(
    ("change", "steps_compare"),
    [
        ({"schedule": "cosine"}, False),
        ({"stopping": EarlyStopping(patience=2)}, True),
    ],
)
def test_whose_curves_do_not_say_what_half_of_the_budget_gives(change, steps_compare):
    steps, half = along([hit_at(10)], contender=replace(CONTENDER, **change))
    assert half is None and (steps is not None) == steps_compare


def test_what_was_cut_off_does_not_compare_before_its_end():
    assert along([hit_at(10), CUT]) == (None, None)


def test_half_must_have_been_evaluated():
    coarse = [replace(hit_at(10), steps=np.array([0, 40]), curves={"error": np.array([1.0, 0.1], np.float32)})]
    steps, half = along(coarse)
    assert half is None and steps is not None
    assert along([hit_at(10)], target=NAN)[0] is None


def test_high_metrics_are_turned():
    problem = make_problem(metric=Metric("higher", "log"))
    half = at_half(problem, CONTENDER, [ended([0.1, 1.0, 10.0, 10.0, 10.0])])
    np.testing.assert_allclose(half.values, [-1.0])


def test_no_trial_has_no_curve():
    assert at_half(PROBLEM, CONTENDER, []) is None and len(log_steps(PROBLEM, CONTENDER, [], 0.1).values) == 0


# --- budgets that are not counted in steps ---------------------------------------------------------------------------


def counted(axis, amount, *, allowance=None, **more):
    """The problem with its budget in other units."""
    allowances = {} if allowance is None else {"x": allowance}
    return replace(PROBLEM, axis=axis, amount=amount, allowances=allowances, examples=(100, 10, 10), **more)


def searching(curve, gradients):
    """A trial whose steps cost differently much, with a bound of 40 gradients."""
    bounded = TRIAL._replace(identity={**TRIAL.identity, "gradients": 40.0})
    return replace(ended(curve, trial=bounded), gradients=np.array(gradients, np.float64))


def test_targets_are_counted_in_what_the_budget_is():
    twice = [replace(hit_at(step), gradients=2.0 * np.arange(5) * 10) for step in (10, 20, 30)]
    problem = counted("gradients", 80.0, allowance=Allowance(40))
    found = steps_to_target(problem, CONTENDER, [*twice, replace(MISS, gradients=twice[0].gradients)], 0.1, level=0.95)
    assert found.median.estimate == 50.0 and found.restricted.estimate == pytest.approx((20 + 40 + 60 + 80) / 4)
    assert found.expected == pytest.approx((20 + 40 + 60 + 80) / 3)
    np.testing.assert_allclose(log_steps(problem, CONTENDER, twice, 0.1).values, np.log2([20, 40, 60]))
    half = at_half(problem, CONTENDER, twice)
    assert half.at == 40.0


def test_examples_are_gradients_times_the_batch():
    problem = counted("examples", 320.0)  # batches of 8
    np.testing.assert_allclose(log_steps(problem, CONTENDER, [hit_at(20)], 0.1).values, [math.log2(160)])
    full = replace(CONTENDER, batch_size="full")
    np.testing.assert_allclose(log_steps(problem, full, [hit_at(20)], 0.1).values, [math.log2(20 * 100)])


def test_seconds_are_steps_times_what_one_takes():
    problem = counted("seconds", 0.02, allowance=Allowance(40, step_seconds=5e-4))
    found = steps_to_target(problem, CONTENDER, [hit_at(20), DIVERGED], 0.1, level=0.95)
    assert found.restricted.estimate == pytest.approx((0.01 + 0.02) / 2)
    assert found.expected == pytest.approx(0.01 + 0.01)  # the other one diverged at step 20
    # at step 0 as soon as one can: after a step
    np.testing.assert_allclose(log_steps(problem, CONTENDER, [hit_at(0)], 0.1).values, [math.log2(5e-4)])


def test_where_costs_vary_curves_are_read_at_shares_of_the_budget():
    problem = counted("gradients", 40.0, allowance=Allowance(40, gradients=40.0))
    outcome = searching([1.0, 0.8, 0.6], [0.0, 18.0, 39.0])  # at 10, 20, 30, 40 gradients: the last point within
    np.testing.assert_allclose(along_budget(outcome, "error", 4), [1.0, 1.0, 0.8, 0.8, 0.6], rtol=1e-6)
    np.testing.assert_allclose(amounts_along(problem, CONTENDER, [outcome], 4), [0, 10, 20, 30, 40])
    wild = replace(searching([1.0, 2.0, 1e9], [0.0, 10.0, 25.0]), status="diverged", diverged_at=15)
    np.testing.assert_allclose(along_budget(wild, "error", 8), [1, 1, 2, 2, 2, 1e9, NAN, NAN, NAN])
    assert at_half(problem, CONTENDER, [outcome]) is None  # trials are at different amounts then
    # of steps that cost the same, evaluations are at equal shares already, up to the steps that were rounded off
    even = replace(ended([1.0, 0.8, 0.6, 0.4, 0.2]), gradients=2.4 * np.arange(5) * 10)
    problem = counted("gradients", 100.0, allowance=Allowance(40))
    np.testing.assert_allclose(along_budget(even, "error", 4), even.curves["error"])
    np.testing.assert_allclose(amounts_along(problem, CONTENDER, [even], 4), [0, 24, 48, 72, 96])


# --- many trials at once ---------------------------------------------------------------------------------------------


def test_of_many_trials_at_once_each_has_its_own_first_step_at_the_target():
    after, at_once, short = ended([1.0, 0.05, NAN], "diverged"), ended([0.05] * 5), ended([0.1])
    outcomes = [hit_at(30), MISS, after, at_once, CUT, short, DIVERGED, hit_at(40), STOPPED]
    expected = [30.0, INF, 10.0, 0.0, INF, 0.0, INF, 40.0, INF]
    assert amounts_to(PROBLEM, CONTENDER, outcomes, 0.1).tolist() == expected
    assert [amount_to(PROBLEM, CONTENDER, outcome, 0.1) for outcome in outcomes] == expected
    assert amounts_to(PROBLEM, CONTENDER, outcomes, NAN).tolist() == [INF] * len(outcomes)
    assert amounts_to(PROBLEM, CONTENDER, [], 0.1).tolist() == []


def test_trials_that_were_evaluated_at_other_steps_are_charged_their_own():
    late = replace(hit_at(20), steps=np.array([0, 15, 25, 35, 45]))
    costly = replace(hit_at(20), gradients=np.array([0.0, 30.0, 60.0, 90.0, 120.0]))
    assert amounts_to(PROBLEM, CONTENDER, [hit_at(20), late, hit_at(20)], 0.1).tolist() == [20.0, 25.0, 20.0]
    by_gradients = replace(PROBLEM, axis="gradients")
    assert amounts_to(by_gradients, CONTENDER, [costly, hit_at(20)], 0.1).tolist() == [60.0, 20.0]
