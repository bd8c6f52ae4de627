"""Contenders by hand: hits, steps to target, intervals in the metric's units, differences; SciPy's tests as oracles."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis.contender_result import make_result
from dlkit.bench.analysis.ranking import compared
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import make_contender, make_plan, make_problem

INF, NAN = math.inf, math.nan
SEEDS = 10


def ended(trial, curve, *, status="finished", test=None, reason=""):
    """What came of a trial that was evaluated at steps 0, 10, 20, ..."""
    points = np.array(curve, np.float32)
    steps = np.arange(len(points)) * 10
    test = {"error": float(points[-1]) if test is None else test} if status == "finished" else {}
    return Outcome(trial, status, reason, "", None, 0.0, 0.0, steps, {"error": points}, test)


def make_results(curves, *, metric=None, target=0.1, points=1, tuning_value=0.5):
    """One result a label from the curves of its final seeds; None has not run, a list ending in NaN diverged."""
    problem = make_problem(metric=metric, target=target)
    plan = make_plan(list(curves), problems=[problem], points=points, seeds=SEEDS)
    results = []
    for contender in plan.contenders:
        outcomes = {}
        for place, row in enumerate(plan.tuning_trials(problem, contender)):
            for trial in row:
                value = tuning_value + abs(place - (points - 1) // 2)
                outcomes[trial.id] = ended(trial, [1.0, value])
        point = tune(History(plan, outcomes), problem, contender).point
        finals = plan.final_trials(problem, contender, point)
        for trial, curve in zip(finals, curves[contender.label], strict=False):
            if isinstance(curve, str):
                outcomes[trial.id] = ended(trial, [], status="failed", reason=curve)
            elif curve is not None:
                outcomes[trial.id] = ended(trial, curve, status="diverged" if math.isnan(curve[-1]) else "finished")
        history, targets = History(plan, outcomes), [] if target is None else [target]
        results.append(make_result(history, problem, contender, tune(history, problem, contender), targets))
    return results


def constant(values):
    return [[1.0, value] for value in values]


# --- one contender ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("curve", "metric", "target", "expected"),
    [
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.5, 10),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.1, 30),  # exactly there
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.3, 20),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.05, INF),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 2.0, 0),  # before any step
        ([1.0, 0.1, 0.9, 0.9], Metric("lower"), 0.2, 10),  # the first time counts
        ([0.1, 0.5, 0.8, 0.9], Metric("higher"), 0.8, 20),
        ([0.1, 0.5, 0.8, 0.95], Metric("higher"), 0.95, 30),  # as float32, 0.95 is below 0.95
        ([0.1, 0.5, 0.8, 0.9], Metric("higher"), 0.99, INF),
        ([1.0, 1e-2, 1e-3, 1e-4], Metric("lower", "log"), 1e-3, 20),
        ([1.0, 1e-2, 0.0], Metric("lower", "log"), 1e-3, 20),
        ([1.0, 0.5, NAN], Metric("lower"), 0.1, INF),  # diverged before it got there
        ([1.0, 0.05, NAN], Metric("lower"), 0.1, 10),  # got there, then diverged
        ([1.0, 0.5, 0.2], Metric("lower"), None, INF),  # no target
        ([1.0, NAN], Metric("higher"), None, INF),
    ],
)
def test_steps_to_target(curve, metric, target, expected):
    (result,) = make_results({"x": [curve] * SEEDS}, metric=metric, target=target)
    np.testing.assert_array_equal(result.steps_to_target, [expected] * SEEDS)


def test_hits_are_wilsons_share():
    curves = [[1.0, 0.05]] * 6 + [[1.0, 0.5]] * 3 + [[1.0, NAN]]
    (result,) = make_results({"x": curves})
    expected = scipy.stats.binomtest(6, 10).proportion_ci(0.95, method="wilson")
    assert result.hits == pytest.approx((0.6, expected.low, expected.high))
    assert result.median_steps.estimate == 10
    assert (result.median_steps.low, result.median_steps.high) == (10, INF)
    assert result.diverged == 1


def test_more_misses_than_hits_have_no_median_time():
    (result,) = make_results({"x": [[1.0, 0.05]] * 4 + [[1.0, 0.5]] * 6})
    assert result.median_steps.estimate == INF
    assert result.hits.estimate == 0.4


# The second smallest and the second largest of ten: P(Binomial(10, 1/2) <= 1) = 11/1024, twice that is 0.021.
VALUES = [0.3, 0.1, 0.9, 0.5, 0.7, 0.2, 0.8, 0.4, 0.6, 1.0]


@pytest.mark.parametrize(
    "metric", [Metric(*kind) for kind in itertools.product(("lower", "higher"), ("linear", "log"))]
)
def test_final_intervals_are_in_the_metrics_units_low_before_high(metric):
    (result,) = make_results({"x": constant(VALUES)}, metric=metric)
    middle = math.sqrt(0.5 * 0.6) if metric.scale == "log" else 0.55
    assert result.final == pytest.approx((middle, 0.2, 0.9), rel=1e-6)
    assert result.test == pytest.approx((middle, 0.2, 0.9), rel=1e-6)


@pytest.mark.parametrize(("direction", "low", "high"), [("lower", 0.2, INF), ("higher", -INF, 0.9)])
def test_diverged_seeds_count_as_the_worst(direction, low, high):
    values = [NAN if value in ((1.0, 0.9) if direction == "lower" else (0.1, 0.2)) else value for value in VALUES]
    (result,) = make_results({"x": constant(values)}, metric=Metric(direction))
    assert result.final == pytest.approx((0.55, low, high), rel=1e-6)
    assert result.diverged == 2
    assert np.isinf(result.scores).sum() == 2


def test_scores_are_oriented():
    (result,) = make_results({"x": constant(VALUES)}, metric=Metric("higher", "log"))
    np.testing.assert_allclose(result.scores, -np.log10(VALUES), rtol=1e-6, atol=1e-7)


def test_what_has_not_run_is_not_complete():
    curves = constant(VALUES)
    (result,) = make_results({"x": [*curves[:4], None, *curves[5:]]})
    assert not result.is_complete
    assert len(result.scores) == 9
    assert result.outcomes[4] is None


def test_a_failure_is_told():
    curves = constant(VALUES)
    (result,) = make_results({"x": [*curves[:4], "no such thing", *curves[5:]]})
    assert not result.is_complete
    assert result.failure == "no such thing"
    assert result.flags == ()


def test_nothing_ran():
    plan = make_plan(["x"], seeds=SEEDS)
    problem, contender = plan.problems[0], plan.contenders[0]
    history = History(plan)
    result = make_result(history, problem, contender, tune(history, problem, contender), [0.1])
    assert not result.is_complete and result.failure == "" and result.flags == ()
    assert (
        math.isnan(result.final.estimate)
        and math.isnan(result.median_steps.estimate)
        and math.isnan(result.hits.estimate)
    )


# --- flags -----------------------------------------------------------------------------------------------------------


def flagged(tuning_values, *, finals=VALUES):
    """The flags of a contender whose learning rates, from 0.001 up, give these values."""
    plan = make_plan(["x"], points=len(tuning_values), tuning_seeds=1, seeds=SEEDS)
    problem, contender = plan.problems[0], plan.contenders[0]
    outcomes = {
        row[0].id: ended(row[0], [1.0, value], status="diverged" if math.isnan(value) else "finished")
        for row, value in zip(plan.tuning_trials(problem, contender), tuning_values, strict=True)
    }
    tuning = tune(History(plan, outcomes), problem, contender)
    for trial, value in zip(plan.final_trials(problem, contender, tuning.point), finals, strict=True):
        outcomes[trial.id] = ended(trial, [1.0, value], status="diverged" if math.isnan(value) else "finished")
    return make_result(History(plan, outcomes), problem, contender, tuning, [0.1]).flags


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ([0.5, 0.4, 0.3, 0.4, 0.5], ()),
        ([0.1, 0.2, 0.3, 0.4, 0.5], ("learning_rate at the lower edge of its space (0.001)",)),
        ([0.5, 0.4, 0.3, 0.2, 0.1], ("learning_rate at the upper edge of its space (1)",)),
        ([NAN, 0.2, 0.1, NAN, NAN], ("only 2 of 5 points trained", "tuning curve still falling")),
        ([3.0, 3.0, 0.1, 3.0, 3.0], ("tuning curve still falling",)),  # the best of three of five is 1.26 on average
    ],
)
def test_flags(values, flags):
    assert flagged(values) == flags


def test_a_gain_within_the_spread_of_the_seeds_is_no_flag():
    values = [0.5, 0.45, 0.3, 0.45, 0.5]  # the best of three of five: 6/10 0.3, 3/10 0.45, 1/10 0.45 or less
    spread = np.std(VALUES, ddof=1)
    assert flagged(values, finals=[0.3 + 0.01 * (value - 0.55) / spread for value in VALUES]) != ()
    assert flagged(values, finals=[0.3 + 0.2 * (value - 0.55) / spread for value in VALUES]) == ()


# --- ranking ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
TABLE = {label: 0.5 + 0.1 * place + 0.2 * RNG.random(SEEDS) for place, label in enumerate("abcd")}


def ranked(table=TABLE, **settings):
    return compared(make_results({label: constant(values) for label, values in table.items()}, **settings))


def second(ranking):
    """How the second contender differs from the best."""
    return ranking.compared[1].standing.to_best


def holm_by_hand(p_values):
    """Holm's step-down, written from its definition."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


@pytest.mark.parametrize(("metric", "order"), [(Metric("lower"), "abcd"), (Metric("higher"), "dcba")])
def test_differences_to_the_best(metric, order):
    ranking = ranked(dict(reversed(TABLE.items())), metric=metric)
    assert "".join(each.label for each in ranking.compared) == order
    best, *others = ranking.compared
    assert best.standing.to_best is None
    table = {label: values.astype(np.float32).astype(float) for label, values in TABLE.items()}
    sign = 1 if metric.direction == "lower" else -1
    for other in others:
        differences = sign * (table[other.label] - table[best.label])
        found = other.standing.to_best.difference
        walsh = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(differences, 2)]
        assert found.estimate == pytest.approx(np.median(walsh), abs=1e-6)
        assert found.estimate > 0  # worse than the best, whichever way is better
        assert found.low < found.estimate < found.high
        assert found.p_value == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)
        assert found.losses == sum(differences > 0)


def test_p_values_are_adjusted_over_all_pairs():
    best, *others = ranked().compared
    pairs = list(itertools.combinations("abcd", 2))
    p_values = [scipy.stats.wilcoxon(TABLE[x] - TABLE[y], method="exact").pvalue for x, y in pairs]
    adjusted = dict(zip(pairs, holm_by_hand(p_values), strict=True))
    for other in others:
        assert other.standing.to_best.adjusted_p == pytest.approx(adjusted[best.label, other.label])


def test_a_log_scale_compares_ratios():
    ranking = ranked(
        {"a": np.full(SEEDS, 1e-6) * (1 + TABLE["a"]), "b": np.full(SEEDS, 1e-4) * (1 + TABLE["a"])},
        metric=Metric("lower", "log"),
    )
    assert second(ranking).difference.estimate == pytest.approx(2.0, abs=1e-5)


def test_differences_are_paired_by_seed():
    """A shift far smaller than the spread over seeds is found, since every seed shows it."""
    ranking = ranked({"a": np.array(VALUES), "b": np.array(VALUES) + 0.01})
    assert second(ranking).difference.p_value == pytest.approx(2 / 2**SEEDS)
    shuffled = ranked({"a": np.array(VALUES), "b": np.roll(VALUES, 3) + 0.01})
    assert second(shuffled).difference.p_value > 0.05


def test_equal_finals_are_ranked_by_steps_to_target():
    curves = {"slow": [[1.0, 0.5, 0.05]] * SEEDS, "fast": [[1.0, 0.05, 0.05]] * SEEDS}
    assert [each.label for each in compared(make_results(curves)).compared] == ["fast", "slow"]


def test_a_contender_that_diverged_everywhere_is_last_but_compared():
    ranking = ranked({"a": [NAN] * SEEDS, "b": TABLE["b"]})
    assert [each.label for each in ranking.compared] == ["b", "a"]
    assert second(ranking).difference.estimate == INF
    assert second(ranking).difference.p_value == pytest.approx(2 / 2**SEEDS)


def test_incomplete_rows_come_last_and_are_not_compared():
    curves = {label: constant(values) for label, values in TABLE.items()}
    curves["a"] = [None, *curves["a"][1:]]
    curves["b"] = ["it raised", *curves["b"][1:]]
    ranking = compared(make_results(curves))
    assert [each.label for each in ranking.results] == ["c", "d", "a", "b"]
    assert list(ranking.standings) == ["c", "d"] and [each.label for each in ranking.others] == ["a", "b"]
    assert second(ranking).adjusted_p == second(ranking).difference.p_value  # one pair: nothing to adjust


def test_one_alone_is_compared_with_nobody():
    (alone,) = make_results({"a": constant(VALUES)})
    assert compared([alone]).results == [alone] and not compared([alone]).compared
    (unfinished,) = make_results({"b": [None] * SEEDS})
    assert compared([unfinished, alone]).others == [alone, unfinished]
    assert not compared([]).results


def test_tuning_is_kept_as_it_is():
    (result,) = make_results({"x": constant(VALUES)}, points=5)
    assert result.tuning.winner == 2
    assert result.label == "x" and len(result.trials) == SEEDS
    assert replace(result, flags=("a",)).contender == make_contender("x")
