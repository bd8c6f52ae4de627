"""Many pairs at once are what each is alone: the formulas, written here pair by pair, are the law; SciPy's ranks."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import keeps_order, paired_difference
from dlkit.bench.stats.families import keep_orders
from dlkit.bench.stats.order_statistics import doubled_midranks
from dlkit.bench.stats.pairs import signed_difference_rows, signed_differences
from dlkit.bench.stats.signed_ranks import paired_differences

INF = math.inf
SPECIAL = [-INF, INF, 0.0, -0.0, 1.0, 1.0 + 1e-9, -1.0, 1e-30, 3.0]


def differences_of_pair(x, y, resolution):
    """Signed differences of one pair: those not told apart by rounding get the least magnitude of their run."""
    first, second = np.asarray(x, float), np.asarray(y, float)
    gaps = [0.0 if a == b else a - b for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    if resolution is not None:
        near = [resolution * (abs(a) + abs(b)) for a, b in zip(first, second, strict=True)]
        gaps = [0.0 if math.isfinite(g) and abs(g) <= r else g for g, r in zip(gaps, near, strict=True)]
    epsilon = resolution or max(
        float(np.finfo(each.dtype).eps) if np.asarray(each).dtype.kind == "f" else 0.0 for each in (x, y)
    )
    usual = sorted(
        (place for place, g in enumerate(gaps) if math.isfinite(g) and g), key=lambda place: abs(gaps[place])
    )
    found, start, before, rounding_before = list(gaps), 0.0, -INF, 0.0
    for place in usual:
        size, rounding = abs(gaps[place]), epsilon * abs(first[place]) + epsilon * abs(second[place])
        if size - before > rounding + rounding_before:
            start = size
        found[place] = math.copysign(start, gaps[place])
        before, rounding_before = size, rounding
    return found


def tables(kind, rows=40, blocks=9):
    """Two tables of scores: with ties, rounding, infinities and zeros; or as float32."""
    rng = np.random.default_rng(list(kind.encode()))
    x, y = rng.normal(size=(2, rows, blocks))
    if kind == "tied":
        x, y = np.round(x, 0), np.round(y, 0)
    if kind == "close":
        x = y + rng.choice([1e-7, -1e-7, 2e-7, 0.5], size=x.shape) * (1 + rng.choice([0, 1e-8], size=x.shape))
    if kind == "special":
        x, y = rng.choice(SPECIAL, size=(2, rows, blocks))
    if kind == "diverged":
        x, y = (np.where(rng.random(each.shape) < 0.3, INF, each) for each in (x, y))
    if kind == "float32":
        x, y = (np.round(each, 2).astype(np.float32) for each in (x, y))
    return x, y


KINDS = ("normal", "tied", "close", "special", "diverged", "float32")


@pytest.mark.parametrize("resolution", [None, 1e-7])
@pytest.mark.parametrize("kind", KINDS)
def test_signed_differences_of_all_rows_are_those_of_each(kind, resolution):
    x, y = tables(kind)
    found = signed_difference_rows(x, y, resolution=resolution)
    for row, ours, theirs in zip(found, x, y, strict=True):
        expected = differences_of_pair(ours, theirs, resolution)
        assert row.tolist() == expected
        assert signed_differences(ours, theirs, resolution=resolution).tolist() == expected


def pair_by_itself(gaps, level):
    """Estimate and interval from the Walsh averages of one pair, with the untied null distribution counted by hand."""
    n = len(gaps)
    with np.errstate(invalid="ignore"):
        averages = np.array([0.5 * a + 0.5 * b for place, a in enumerate(gaps) for b in gaps[place:]])
    known = np.sort(averages[~np.isnan(averages)])
    middle = 0.5 * known[(known.size - 1) // 2] + 0.5 * known[known.size // 2]
    sums = np.zeros(n * (n + 1) // 2 + 1)
    sums[0] = 1.0
    for rank in range(1, n + 1):
        sums = 0.5 * (sums + np.concatenate([np.zeros(rank), sums[:-rank]]))
    tail = int((2 * np.cumsum(sums) <= 1 - level).sum())
    lowest, highest = (np.sort(np.where(np.isnan(averages), worst, averages)) for worst in (-INF, INF))
    low, high = (lowest[tail - 1], highest[-tail]) if tail else (-INF, INF)
    return (0.0 if math.isnan(middle) else middle), low, high


@pytest.mark.parametrize("blocks", [1, 5, 6, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_paired_differences_of_all_rows_are_those_of_each(kind, blocks):
    x, y = tables(kind, blocks=blocks)
    gaps = signed_difference_rows(x, y)
    for row, found in zip(gaps, paired_differences(gaps, level=0.9), strict=True):
        assert found == paired_difference(row, np.zeros(blocks), level=0.9)
        estimate, low, high = pair_by_itself(differences_of_pair(row, np.zeros(blocks), None), 0.9)
        if found.p_value > 1 - 0.9:
            low, high = min(low, 0.0), max(high, 0.0)
        assert found[:3] == (estimate, low, high)
        assert found[4:] == ((row < 0).sum(), (row > 0).sum(), (row == 0).sum())


def test_so_many_pairs_that_they_are_taken_in_parts(monkeypatch):
    gaps = signed_difference_rows(*tables("tied"))
    whole = paired_differences(gaps)
    monkeypatch.setattr("dlkit.bench.stats.signed_ranks.MOST_AVERAGES", 3 * gaps.shape[1] ** 2)
    assert paired_differences(gaps) == whole


def test_how_many_blocks_keep_the_order_of_all_rows_at_once():
    gaps = signed_difference_rows(*tables("special"))
    estimates = [each.estimate for each in paired_differences(gaps)]
    assert 0.0 in estimates, "the sign that more blocks have"
    found = keep_orders(gaps, estimates)
    assert found == [keeps_order(row, estimate=estimate) for row, estimate in zip(gaps, estimates, strict=True)]
    assert found == [keeps_order(row) for row in gaps]


@pytest.mark.parametrize("kind", KINDS)
def test_midranks_are_scipys(kind):
    for row in tables(kind)[0]:
        assert (doubled_midranks(row) == 2 * scipy.stats.rankdata(row)).all()


def test_what_is_refused():
    rows = np.zeros((2, 3))
    with pytest.raises(ValueError, match="x and y must be paired"):
        signed_difference_rows(rows, rows[:, :2])
    with pytest.raises(ValueError, match="x has NaN in 1 places"):
        signed_difference_rows([[1.0, math.nan]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"differences must be an array \[pairs, seeds\]"):
        paired_differences(rows[0])
    with pytest.raises(ValueError, match="level must lie between"):
        paired_differences(rows, level=1.0)
