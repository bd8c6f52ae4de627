"""statsmodels and scikit-posthocs on random data; skipped where they are not installed.

They are no dependencies of the development environment (statsmodels alone has 90 MB); what they agree on with published
figures is tested without them.
"""

import math
import warnings

import numpy as np
import pytest

from dlkit.bench.stats import (
    friedman,
    holm,
    kaplan_meier,
    log_rank,
    nemenyi_distance,
    wilson_interval,
)


def survival_data(seed, groups=2):
    rng = np.random.default_rng(seed)
    times = rng.integers(1, 30, size=12 * groups).astype(float)
    return times, rng.random(times.size) < 0.7, np.repeat(np.arange(groups), 12)


@pytest.mark.parametrize("seed", range(5))
def test_kaplan_meier_matches_statsmodels(seed):
    duration = pytest.importorskip("statsmodels.duration.survfunc")
    times, observed, _ = survival_data(seed)
    expected = duration.SurvfuncRight(times, observed)
    curve = kaplan_meier(times, observed)
    there = np.isin(expected.surv_times, curve.steps)
    assert curve.survival == pytest.approx(expected.surv_prob[there])
    assert curve.at_risk.tolist() == expected.n_risk[there].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes the log of 0 at the ends
        low, high = expected.quantile_ci(0.5, method="cloglog")
    assert curve.median.low == low
    assert curve.median.high == (high if math.isfinite(high) else math.inf)
    # Greenwood's variance, from the interval back to the scale of S
    inside = curve.survival > 0
    scale = np.log(-np.log(curve.low[inside])) - np.log(-np.log(curve.survival[inside]))
    error = scale / 1.959963984540054 * np.abs(np.log(curve.survival[inside])) * curve.survival[inside]
    falling = np.minimum.accumulate(curve.low[inside]) < np.concatenate([[2.0], curve.low[inside][:-1]])
    assert error[falling] == pytest.approx(expected.surv_prob_se[there][inside][falling], rel=1e-6)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_log_rank_matches_statsmodels(groups):
    duration = pytest.importorskip("statsmodels.duration.survfunc")
    times, observed, labels = survival_data(groups, groups)
    statistic, p_value = duration.survdiff(times, observed, labels)
    result = log_rank(times, observed, labels)
    assert result.statistic == pytest.approx(float(np.squeeze(statistic)))
    assert result.p_value == pytest.approx(float(np.squeeze(p_value)))


def test_holm_matches_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(0).random(20) ** 3
    assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize(("hits", "trials"), [(1, 7), (10, 10), (30, 90)])
def test_wilson_matches_statsmodels(hits, trials):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportion.proportion_confint(hits, trials, method="wilson")
    assert wilson_interval(hits, trials)[1:] == pytest.approx(expected)


def test_nemenyi_matches_scikit_posthocs():
    """Its p-value of a pair is below 5 % exactly where the mean ranks lie further apart than the critical distance."""
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = np.random.default_rng(0).normal(size=(5, 12)) + 0.7 * np.arange(5)[:, None]
    p_values = posthocs.posthoc_nemenyi_friedman(scores.T).to_numpy()
    ranks = friedman(scores).mean_ranks
    apart = np.abs(ranks[:, None] - ranks)
    distinct = ~np.eye(5, dtype=bool)
    for alpha in (0.01, 0.05, 0.2):
        assert ((p_values < alpha) == (apart > nemenyi_distance(5, 12, alpha)))[distinct].all()
