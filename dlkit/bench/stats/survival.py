"""Times to a target as censored data: Kaplan-Meier, log-rank, restricted mean, expected running time."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, error_rate, samples
from dlkit.bench.stats.intervals import Interval

__all__ = [
    "ExpectedRunningTime",
    "KaplanMeier",
    "LogRank",
    "expected_running_time",
    "kaplan_meier",
    "log_rank",
    "restricted_mean",
]


class KaplanMeier(NamedTuple):
    """A survival curve: the share of runs still without the target; see `kaplan_meier`.

    Attributes:
        steps: the distinct times at which a run reached the target, rising.
        survival: [steps] from each of them on; before the first it is 1.
        low: [steps] lower ends of the pointwise intervals.
        high: [steps] upper ends.
        at_risk: [steps] runs without the target just before.
        events: [steps] runs that reached it then.
        median: the median time to the target.
    """

    steps: Floats
    survival: Floats
    low: Floats
    high: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    median: Interval


class LogRank(NamedTuple):
    """The test that all groups have one survival curve; see `log_rank`.

    Attributes:
        statistic: chi-square.
        degrees: its degrees of freedom, groups - 1.
        p_value: from the chi-square distribution.
        groups: the groups' labels, sorted.
        observed: [groups] targets reached.
        expected: [groups] targets that would be reached, were the groups alike.
    """

    statistic: float
    degrees: int
    p_value: float
    groups: tuple[str, ...]
    observed: Floats
    expected: Floats


class ExpectedRunningTime(NamedTuple):
    """All evaluations spent per target reached; see `expected_running_time`."""

    estimate: float
    spent: float
    hits: int
    trials: int


def kaplan_meier(times: ArrayLike, observed: ArrayLike, *, level: float = 0.95) -> KaplanMeier:
    """The survival curve of times to a target, S(t) = Π over events at t_i <= t of (1 - d_i / n_i).

    Intervals take Greenwood's variance Σ d_i / (n_i (n_i - d_i)) on the complementary log-log scale, log(-log S), so
    that they stay in [0, 1] (Kalbfleisch and Prentice). Where S is 0, which has no such scale, the lower end is 0 and
    the upper end the last one before. The median's interval has the times at which the curve's interval holds 1/2
    (Brookmeyer and Crowley). At the median time both cover 95 to 97 % from n = 5 on (simulated).

    Args:
        times: [n] when each run reached the target, or was last seen without it; `inf` for one that never will
            (diverged), whatever `observed` says.
        observed: [n] whether it reached the target; `isfinite(times)` if missed targets are `inf`.
        level: confidence level, between 0 and 1.

    Returns:
        The curve. Its median is where it falls below 1/2, half-way to the next event where it is 1/2 exactly, and
        `inf` if it does neither: for uncensored times the sample median. With no event the curve is empty: S = 1 and
        the median is `inf`, as is its interval's upper end; its lower end is the last time.

    Raises:
        ValueError: if the arrays are empty, differ in length or have NaN, or `level` is not between 0 and 1.

    Reference:
        Kaplan and Meier, "Nonparametric estimation from incomplete observations", JASA, 1958; Brookmeyer and Crowley,
        "A confidence interval for the median survival time", Biometrics, 1982.

    Example:
        >>> kaplan_meier([100, 200, 300, 300, 300], [True, True, True, False, False]).survival.round(3).tolist()
        [0.8, 0.6, 0.4]
    """
    from scipy.special import ndtri

    reached, events, at_risk = _risk_table(*_checked(times, observed))
    z = -float(ndtri(error_rate(level) / 2))
    survival: Floats = np.cumprod(1 - events / at_risk, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        width = z * np.sqrt(greenwood) / np.abs(np.log(survival))
        # S^exp(± z √Var log(-log S))
        low, high = survival ** np.exp(width), survival ** np.exp(-width)
    if survival.size and survival[-1] == 0:
        low[-1], high[-1] = 0.0, high[-2] if survival.size > 1 else 1.0
    high = np.maximum.accumulate(high[::-1])[::-1]  # a survival curve does not rise, nor do its ends
    low = np.minimum.accumulate(low)
    last = float(np.max(np.asarray(times, dtype=np.float64)))
    median = Interval(_crossing(reached, survival), _first(reached, low <= 0.5 + 1e-12, last), _crossing(reached, high))
    return KaplanMeier(reached, survival, low, high, at_risk, events, median)


def log_rank(times: ArrayLike, observed: ArrayLike, groups: ArrayLike) -> LogRank:
    """The log-rank test: at every event, do the groups share the events as they share the runs at risk?

    The statistic is (O - E)ᵀ V⁻¹ (O - E) with the hypergeometric variances V, chi-square of groups - 1 degrees of
    freedom. At 5 runs a group the approximation rejects equal groups in up to 8 % of cases instead of 5 (simulated).

    Args:
        times: [n] as for `kaplan_meier`.
        observed: [n] whether the target was reached.
        groups: [n] which contender each run belongs to; at least two.

    Returns:
        The test. Without an event at which two groups are at risk nothing can differ: statistic 0, p = 1.

    Raises:
        ValueError: if the arrays are empty, differ in length or have NaN, or there is one group only.

    Reference:
        Mantel, "Evaluation of survival data and two new rank order statistics arising in its consideration", Cancer
        Chemotherapy Reports, 1966.

    Example:
        >>> log_rank([1, 2, 3, 8, 9, 9], [1, 1, 1, 1, 0, 0], ["a", "a", "a", "b", "b", "b"]).observed.tolist()
        [3.0, 1.0]
    """
    from scipy.special import gammaincc

    ends, reached = _checked(times, observed)
    labels = np.asarray(groups)
    if labels.shape != ends.shape:
        raise ValueError(f"groups must have one label a time, got shape {labels.shape} for {ends.size} times")
    names = np.unique(labels)
    if names.size < 2:
        raise ValueError(f"groups must name at least two groups, got {names.tolist()}")
    steps, events, at_risk = _risk_table(ends, reached)
    members = labels == names[:, None]
    risk = np.array([(ends[one] >= steps[:, None]).sum(axis=1) for one in members], dtype=np.float64)
    hits = np.array([((ends[one] == steps[:, None]) & reached[one]).sum(axis=1) for one in members], dtype=np.float64)
    share = risk / at_risk
    expected = share * events
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.where(at_risk > 1, events * (at_risk - events) / (at_risk - 1), 0.0)
    # Cov_jk = Σ d (n - d) / (n - 1) (n_j / n) (δ_jk - n_k / n)
    covariance = np.diag((pooled * share).sum(axis=1)) - (pooled * share) @ share.T
    surplus = (hits - expected).sum(axis=1)
    inverse = np.linalg.pinv(covariance, hermitian=True)
    statistic = max(0.0, float(surplus @ inverse @ surplus))
    degrees = names.size - 1
    p_value = float(gammaincc(degrees / 2, statistic / 2))
    return LogRank(
        statistic, degrees, p_value, tuple(str(name) for name in names), hits.sum(axis=1), expected.sum(axis=1)
    )


def restricted_mean(times: ArrayLike, observed: ArrayLike, horizon: float, *, level: float = 0.95) -> Interval:
    """The mean of min(time, horizon): the area under the survival curve, missed targets counted as the horizon.

    This, not the mean over successes, compares contenders of which some runs miss the target. The interval is
    Student's with Greenwood's variance n / (n - 1) Σ A_i² d_i / (n_i (n_i - d_i)), A_i the area from t_i on; for
    uncensored times it is that of the ordinary mean. If every run misses, or all agree, it has no width. At 95 % it
    covers 90 to 94 % for n = 5, and 93 to 96 % from n = 10 on (simulated).

    Args:
        times: [n] as for `kaplan_meier`.
        observed: [n] whether the target was reached.
        horizon: up to where, > 0; usually the budget.
        level: confidence level, between 0 and 1.

    Returns:
        The mean and its interval, within [0, horizon]; one run says nothing: `0, horizon`.

    Raises:
        ValueError: if the arrays are empty, differ in length or have NaN, `horizon` is not above 0, or runs were cut
            off before it and none was seen until then; or `level` is not between 0 and 1.

    Reference:
        Royston and Parmar, "Restricted mean survival time", BMC Medical Research Methodology, 2013.

    Example:
        >>> restricted_mean([100, 200, 300, 300], [True, True, True, False], 300).estimate
        225.0
    """
    from scipy.special import stdtrit

    ends, reached = _checked(times, observed)
    if not 0 < horizon < math.inf:
        raise ValueError(f"horizon must be a number above 0, got {horizon}; the budget is usual")
    last = float(ends.max())
    if last < horizon and not reached[ends == last].all():
        raise ValueError(f"no run was seen until the horizon {horizon}: the last was cut off at {last}; shorten it")
    steps, events, at_risk = _risk_table(ends, reached & (ends <= horizon))
    survival = np.concatenate([[1.0], np.cumprod(1 - events / at_risk)])
    areas = survival * np.diff(np.concatenate([[0.0], steps, [horizon]]))
    estimate = float(areas.sum())
    if ends.size == 1:
        return Interval(estimate, 0.0, float(horizon))
    later = np.cumsum(areas[::-1])[::-1][1:]
    left = at_risk - events
    # The last event may leave nobody: then nothing lies behind it, and 0 / 0 is 0.
    variance = float(np.sum(np.where(left > 0, later**2 * events / (at_risk * np.maximum(left, 1)), 0.0)))
    n = ends.size
    half_width = -float(stdtrit(n - 1, error_rate(level) / 2)) * math.sqrt(variance * n / (n - 1))
    return Interval(estimate, max(0.0, estimate - half_width), min(float(horizon), estimate + half_width))


def expected_running_time(spent: ArrayLike, hit: ArrayLike, *, miss_costs: float | None = None) -> ExpectedRunningTime:
    """How many evaluations one target costs, if missed runs are repeated until one hits: all spent / hits.

    Every run is charged what it really spent: one that missed the target, what it ran until it ended, diverged or was
    cut off. The other convention, that a run which missed is charged the whole budget however early it ended, is
    `miss_costs`; it is larger where runs end early.

    Args:
        spent: [n] of each run: when it reached the target, or else how long it ran.
        hit: [n] whether it reached the target.
        miss_costs: what every run that missed is charged, usually the budget; what it spent is not used then. None for
            what it spent.

    Returns:
        The expected running time, `inf` if no run hit, with what was spent and the counts.

    Raises:
        ValueError: if the arrays are empty or differ in length, what counts of `spent` is no number of at least 0, or
            `miss_costs` is not above 0.

    Reference:
        Hansen et al., "COCO: performance assessment", 2016; Auger and Hansen, "Performance evaluation of an advanced
        local search evolutionary algorithm", CEC 2005.

    Example:
        >>> expected_running_time([1, 2, 4, 2, 6, 100], [True, False, False, False, False, False])
        ExpectedRunningTime(estimate=115.0, spent=115.0, hits=1, trials=6)
        >>> expected_running_time([100, 300, float("inf")], [True, True, False], miss_costs=1000).estimate
        700.0
    """
    costs = np.asarray(spent, dtype=np.float64)
    hits = np.asarray(hit, dtype=bool)
    if costs.ndim != 1 or costs.size == 0 or hits.shape != costs.shape:
        raise ValueError(f"spent and hit must be vectors of one length > 0, got shapes {costs.shape} and {hits.shape}")
    if miss_costs is not None:
        if not 0 < miss_costs < math.inf:
            raise ValueError(f"miss_costs must be a number above 0, got {miss_costs}; the budget is usual")
        costs = np.where(hits, costs, miss_costs)
    if not ((costs >= 0) & (costs < math.inf)).all():
        raise ValueError(f"every run must have spent a number of at least 0, got {costs.tolist()}")
    total, count = float(costs.sum()), int(hits.sum())
    return ExpectedRunningTime(total / count if count else math.inf, total, count, costs.size)


def _checked(times: ArrayLike, observed: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Times and whether an event came; never at `inf`."""
    ends, flags = samples(times=times, observed=observed)
    if ends.min() < 0:
        raise ValueError(f"times must not be negative, got {ends.min()}")
    return ends, (flags != 0) & np.isfinite(ends)


def _risk_table(ends: Floats, reached: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Distinct event times, events at each, and runs at risk just before."""
    steps, events = np.unique(ends[reached], return_counts=True)
    at_risk = ends.size - np.searchsorted(np.sort(ends), steps, side="left")
    return steps, events.astype(np.int64), at_risk.astype(np.int64)


def _first(steps: Floats, there: NDArray[np.bool_], otherwise: float) -> float:
    return float(steps[np.argmax(there)]) if there.any() else otherwise


def _crossing(steps: Floats, curve: Floats) -> float:
    """Where a falling curve crosses 1/2; half-way to its next fall where it is 1/2 exactly."""
    fallen = np.flatnonzero(curve < 0.5 - 1e-12)
    end = float(steps[fallen[0]]) if fallen.size else math.inf
    level = np.flatnonzero(np.abs(curve - 0.5) <= 1e-12)
    return 0.5 * (float(steps[level[0]]) + end) if level.size else end
