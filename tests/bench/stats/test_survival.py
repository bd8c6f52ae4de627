"""Published: Freireich's leukaemia data. Closed forms, and what censoring may not change."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.stats import (
    expected_running_time,
    kaplan_meier,
    log_rank,
    median_interval,
    restricted_mean,
)
from tests.bench.stats.published import PLACEBO_WEEKS, TREATED_RELAPSED, TREATED_WEEKS

INF = math.inf
runs = st.lists(st.tuples(st.integers(1, 12).map(float), st.booleans()), min_size=1, max_size=15)


def test_freireichs_medians_and_curve():
    treated = kaplan_meier(TREATED_WEEKS, TREATED_RELAPSED)
    placebo = kaplan_meier(PLACEBO_WEEKS, [True] * 21)
    assert treated.median == (23.0, 13.0, INF)
    assert placebo.median == (8.0, 4.0, 11.0)
    # Cox and Oakes, table 4.1
    assert treated.steps.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert treated.survival == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=6e-4)
    assert treated.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert treated.events.tolist() == [3, 1, 1, 1, 1, 1, 1]


def test_freireichs_log_rank_test():
    groups = ["treated"] * 21 + ["placebo"] * 21
    result = log_rank(TREATED_WEEKS + PLACEBO_WEEKS, TREATED_RELAPSED + [1] * 21, groups)
    assert result.statistic == pytest.approx(16.79, abs=0.005)
    assert result.groups == ("placebo", "treated")
    assert result.observed.tolist() == [21.0, 9.0]
    assert result.expected == pytest.approx([10.75, 19.25], abs=0.005)
    assert result.p_value == pytest.approx(scipy.stats.chi2.sf(result.statistic, 1))


@given(runs)
def test_curve_matches_scipy(pairs):
    times, observed = map(np.array, zip(*pairs, strict=True))
    curve = kaplan_meier(times, observed)
    data = scipy.stats.CensoredData(uncensored=times[observed], right=times[~observed])
    expected = scipy.stats.ecdf(data).sf
    assert curve.survival == pytest.approx(expected.evaluate(curve.steps), abs=1e-12)
    inside = (curve.survival > 0) & (curve.survival < 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined where nobody is left
        ends = expected.confidence_interval(0.95, method="log-log")
    # Where few are left scipy's ends may rise again; a survival curve does not.
    low, high = (end.evaluate(curve.steps)[inside] for end in ends)
    assert curve.low[inside] == pytest.approx(np.minimum.accumulate(low), abs=1e-12)
    assert curve.high[inside] == pytest.approx(np.maximum.accumulate(high[::-1])[::-1], abs=1e-12)


@given(runs)
def test_laws_of_the_curve(pairs):
    times, observed = zip(*pairs, strict=True)
    curve = kaplan_meier(times, observed)
    assert (np.diff(curve.survival) < 0).all()
    for end in (curve.low, curve.high):
        assert (np.diff(end) <= 0).all()
    assert ((curve.low >= 0) & (curve.low <= curve.survival) & (curve.survival <= curve.high) & (curve.high <= 1)).all()
    assert curve.median.low <= curve.median.estimate <= curve.median.high or math.isinf(curve.median.estimate)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_without_censoring_it_is_the_sample(times):
    curve = kaplan_meier(times, [True] * len(times))
    assert curve.median.estimate == pytest.approx(np.median(times))
    assert curve.survival == pytest.approx([np.mean(np.array(times) > step) for step in curve.steps], abs=1e-12)


def test_a_missed_target_is_inf_or_cut_off_at_the_budget_alike():
    times = np.array([100.0, 250.0, INF, 400.0, INF, 900.0])
    by_inf = kaplan_meier(times, np.isfinite(times))
    by_budget = kaplan_meier(np.minimum(times, 1000.0), np.isfinite(times))
    assert by_inf.survival.tolist() == by_budget.survival.tolist()
    assert by_inf.median.estimate == by_budget.median.estimate == 650.0 == median_interval(times).estimate
    assert kaplan_meier(times, [True] * 6).survival.tolist() == by_inf.survival.tolist()


def test_all_missed_and_single_runs():
    missed = kaplan_meier([500.0] * 4, [False] * 4)
    assert missed.steps.size == 0
    assert missed.median == (INF, 500.0, INF)
    assert kaplan_meier([INF] * 3, [False] * 3).median == (INF, INF, INF)
    single = kaplan_meier([7.0], [True])
    assert (single.survival.tolist(), single.low.tolist(), single.high.tolist()) == ([0.0], [0.0], [1.0])
    assert single.median == (7.0, 7.0, INF)


# --- log_rank --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [2, 3])
def test_log_rank_matches_scipy_and_the_definition(groups):
    rng = np.random.default_rng(groups)
    times = rng.integers(1, 12, size=10 * groups).astype(float)
    observed = rng.random(times.size) < 0.7
    labels = np.repeat(np.arange(groups), 10)
    result = log_rank(times, observed, labels)
    if groups == 2:
        first, second = (
            scipy.stats.CensoredData(uncensored=times[of & observed], right=times[of & ~observed])
            for of in (labels == 0, labels == 1)
        )
        assert result.statistic == pytest.approx(scipy.stats.logrank(first, second).statistic ** 2)
    # Σ over events of (O - E) and of the hypergeometric covariance, written out; the last group is redundant.
    surplus, covariance = np.zeros(groups), np.zeros((groups, groups))
    for step in np.unique(times[observed]):
        risk = np.array([np.sum((times >= step) & (labels == g)) for g in range(groups)])
        hits = np.array([np.sum((times == step) & observed & (labels == g)) for g in range(groups)])
        n, d = risk.sum(), hits.sum()
        surplus += hits - d * risk / n
        if n > 1:
            covariance += d * (n - d) / (n - 1) * (np.diag(risk / n) - np.outer(risk, risk) / n**2)
    reduced = surplus[:-1] @ np.linalg.solve(covariance[:-1, :-1], surplus[:-1])
    assert result.statistic == pytest.approx(reduced)
    assert result.degrees == groups - 1
    assert result.p_value == pytest.approx(scipy.stats.chi2.sf(reduced, groups - 1))


def test_log_rank_without_events_or_with_equal_groups_finds_nothing():
    assert log_rank([5, 5, 5, 5], [0, 0, 0, 0], [0, 0, 1, 1])[:3] == (0.0, 1, 1.0)
    assert log_rank([1, 2, 1, 2], [1, 1, 1, 1], [0, 0, 1, 1]).p_value == 1.0
    assert log_rank([INF, INF, 3, 4], [0, 0, 1, 1], ["a", "a", "b", "b"]).observed.tolist() == [0.0, 2.0]


def test_log_rank_needs_two_groups_and_a_label_a_time():
    with pytest.raises(ValueError, match="at least two groups, got \\['a'\\]"):
        log_rank([1, 2], [1, 1], ["a", "a"])
    with pytest.raises(ValueError, match="one label a time"):
        log_rank([1, 2], [1, 1], ["a"])


# --- restricted_mean -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 30) | st.just(INF), min_size=2, max_size=12), st.integers(1, 40))
def test_restricted_mean_of_seen_times_is_the_mean_of_the_minimum(times, horizon):
    """Missed for good or reached: nothing is unknown, and the interval is Student's."""
    capped = np.minimum(times, horizon).astype(float)
    result = restricted_mean(times, np.isfinite(times), horizon)
    assert result.estimate == pytest.approx(capped.mean())
    half = scipy.stats.t.ppf(0.975, capped.size - 1) * capped.std(ddof=1) / math.sqrt(capped.size)
    assert result.low == pytest.approx(max(0.0, capped.mean() - half), abs=1e-9)
    assert result.high == pytest.approx(min(horizon, capped.mean() + half), abs=1e-9)


def test_restricted_mean_by_hand_with_censoring():
    # S = 3/4 from 1 on, 3/8 from 3 on (2 at risk): areas 1 + 2 · 3/4 + 1 · 3/8 up to 4
    result = restricted_mean([1, 2, 3, 5], [True, False, True, False], 4.0)
    assert result.estimate == pytest.approx(1 + 1.5 + 0.375)
    variance = (1.875**2 / (4 * 3) + 0.375**2 / (2 * 1)) * 4 / 3
    assert result.low == pytest.approx(max(0.0, result.estimate - scipy.stats.t.ppf(0.975, 3) * math.sqrt(variance)))


def test_restricted_mean_refuses_what_nobody_saw():
    with pytest.raises(ValueError, match=r"no run was seen until the horizon 500: the last was cut off at 300"):
        restricted_mean([100, 300], [True, False], 500)
    assert restricted_mean([100, 300], [True, True], 500).estimate == 200.0
    assert restricted_mean([7.0], [True], 10.0) == (7.0, 0.0, 10.0)
    assert restricted_mean([INF] * 5, [False] * 5, 10.0) == (10.0, 10.0, 10.0)


def test_lognormal_times_that_the_budget_cuts():
    """Median 1000, mean 1377, budget 1200: the truth is known, the mean over successes is far off it."""
    deviation = math.sqrt(2 * math.log(1.377))
    times = np.random.default_rng(0).lognormal(math.log(1000), deviation, size=20_000)
    assert times.mean() == pytest.approx(1377, rel=0.02)
    hit = times <= 1200
    assert hit.mean() == pytest.approx(0.59, abs=0.01)
    ends = np.minimum(times, 1200)
    curve = kaplan_meier(ends, hit)
    assert curve.median.estimate == pytest.approx(1000, rel=0.02)
    assert curve.median.low < 1000 < curve.median.high
    # E min(T, b) = e^(μ + σ²/2) Φ((log b - μ) / σ - σ) + b P(T > b)
    place = math.log(1.2) / deviation
    truth = 1377 * scipy.stats.norm.cdf(place - deviation) + 1200 * scipy.stats.norm.sf(place)
    result = restricted_mean(ends, hit, 1200)
    assert result.low < truth < result.high
    assert result.estimate == pytest.approx(truth, rel=0.01)
    assert times[hit].mean() < 0.75 * truth


# --- expected_running_time -------------------------------------------------------------------------------------------


def test_expected_running_time_is_cocos():
    """Successes [1], failures [2, 4, 2, 6, 100] (Hansen et al., 2016): (1 + 2 + 4 + 2 + 6 + 100) / 1."""
    assert expected_running_time([1, 2, 4, 2, 6, 100], [1, 0, 0, 0, 0, 0]) == (115.0, 115.0, 1, 6)
    assert expected_running_time([10, 30, 40], [1, 1, 0]) == (40.0, 80.0, 2, 3)
    assert expected_running_time([10, 30], [0, 0]) == (INF, 40.0, 0, 2)


def test_expected_running_time_charges_whole_budgets_by_name():
    assert expected_running_time([10, 30, INF, 999], [1, 1, 0, 0], miss_costs=100) == (120.0, 240.0, 2, 4)
    assert expected_running_time([INF, math.nan], [False, False], miss_costs=100) == (INF, 200.0, 0, 2)


def test_expected_running_time_of_cocos_is_never_the_larger_one():
    rng = np.random.default_rng(1)
    for _ in range(20):
        spent, hit = rng.uniform(0, 60, size=12), rng.random(12) < 0.5
        both = expected_running_time(spent, hit), expected_running_time(spent, hit, miss_costs=60.0)
        assert both[0].estimate <= both[1].estimate


def test_expected_running_time_is_the_cost_of_repeating_until_a_hit():
    rng = np.random.default_rng(0)
    times = rng.exponential(100.0, size=50_000)
    hit = times <= 60.0
    # Memoryless: restarting changes nothing, so the expected time is that of one endless run.
    found = expected_running_time(np.minimum(times, 60.0), hit)
    assert found.estimate == pytest.approx(100.0, rel=0.02)
    assert found == expected_running_time(times, hit, miss_costs=60.0)


def test_expected_running_time_with_runs_that_diverge_is_what_restarting_costs():
    """A run diverges at step 40 with probability 1/2, else it hits at step 100: (40 + 100) / 1 on average."""
    rng = np.random.default_rng(2)
    hit = rng.random(50_000) < 0.5
    assert expected_running_time(np.where(hit, 100.0, 40.0), hit).estimate == pytest.approx(140.0, rel=0.02)


@pytest.mark.parametrize(
    ("spent", "hit", "miss_costs", "message"),
    [
        ([], [], None, "vectors of one length"),
        ([1.0], [True, False], None, "vectors of one length"),
        ([-1.0], [True], None, "spent a number of at least 0"),
        ([math.nan], [True], 10, "spent a number of at least 0"),
        ([1.0, INF], [True, False], None, "spent a number of at least 0"),
        ([1.0], [True], 0, "miss_costs must be a number above 0"),
    ],
)
def test_expected_running_time_refuses_impossible_runs(spent, hit, miss_costs, message):
    with pytest.raises(ValueError, match=message):
        expected_running_time(spent, hit, miss_costs=miss_costs)
