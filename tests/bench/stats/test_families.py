"""Oracles: enumeration of all flips in plain Python, and simulations of partial null hypotheses."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy.stats import binomtest

from dlkit.bench.stats import family_p_values, fewest_blocks, keeps_order


def slow_p_values(rows):
    """Closed testing: a comparison's p-value is the largest max-T p-value of any subset that holds it."""
    blocks, count = len(rows[0]), len(rows)
    clipped = []
    for row in rows:
        limit = 3 * statistics.median(abs(value) for value in row if value != 0)
        clipped.append([math.copysign(min(abs(value), limit), value) for value in row])
    squares = [sum(value**2 for value in row) for row in clipped]
    scale = [math.sqrt(own + 0.25 * statistics.median(squares)) for own in squares]
    flips = list(itertools.product((1, -1), repeat=blocks))
    under = [
        [abs(sum(s * value for s, value in zip(signs, row, strict=True))) / size for signs in flips]
        for row, size in zip(clipped, scale, strict=True)
    ]
    adjusted = [0.0] * count
    for size in range(1, count + 1):
        for subset in itertools.combinations(range(count), size):
            observed = max(under[i][0] for i in subset)
            largest = [max(under[i][flip] for i in subset) for flip in range(len(flips))]
            p_value = sum(value >= observed - 1e-9 for value in largest) / len(flips)
            for i in subset:
                adjusted[i] = max(adjusted[i], p_value)
    return adjusted


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(1, 7), (2, 6), (3, 8), (5, 5)])
def test_all_flips_and_all_subsets_counted_one_by_one(shape, seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(2, size=shape) + rng.choice([0.0, 1.5], size=(shape[0], 1))
    if seed % 3 == 0:
        rows = np.round(rows) + 1e-3 * np.eye(*shape)  # ties, but none all ties
    assert family_p_values(rows).tolist() == pytest.approx(slow_p_values(rows.tolist()), abs=1e-12)


def test_one_comparison_alone_is_the_sign_flip_test_of_clipped_differences():
    differences = [0.5, 1.0, -0.2, 2.0, 0.9, 40.0, 1.1]  # median 1: 40 counts as 3
    clipped = [*differences[:5], 3.0, 1.1]
    sums = [abs(np.dot(signs, clipped)) for signs in itertools.product((1, -1), repeat=7)]
    assert family_p_values([differences])[0] == np.mean(np.array(sums) >= sums[0] - 1e-9)


def pairs_of(scores):
    """Differences [pairs, blocks] of scores [..., contenders, blocks]; equal infinities tie."""
    first, second = np.array(list(itertools.combinations(range(scores.shape[-2]), 2))).T
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(scores[..., second, :] - scores[..., first, :], nan=0.0, posinf=np.inf, neginf=-np.inf)


@pytest.mark.parametrize("blocks", [7, 12])
def test_order_and_direction_do_not_matter(blocks):
    rng = np.random.default_rng(blocks)
    rows = pairs_of(rng.standard_t(2, size=(5, blocks)) + np.arange(5)[:, None])
    usual = family_p_values(rows)
    assert family_p_values(rows * rng.choice([-1, 1], size=(10, 1))).tolist() == pytest.approx(usual.tolist())
    assert family_p_values(1e-3 * rows).tolist() == pytest.approx(usual.tolist())
    assert family_p_values(rows[:, rng.permutation(blocks)]).tolist() == pytest.approx(usual.tolist())
    order = rng.permutation(10)
    assert family_p_values(rows[order]).tolist() == pytest.approx(usual[order].tolist())
    assert len(set(usual.tolist())) > 2


def test_drawn_flips_estimate_the_exact_p_values_and_follow_the_seed():
    rows = pairs_of(np.random.default_rng(3).normal(size=(4, 13)) + np.array([[0.0], [0.4], [0.8], [1.2]]))
    flips = np.array(list(itertools.product((1.0, -1.0), repeat=13)))
    limits = 3 * np.median(np.abs(rows), axis=1, keepdims=True)
    clipped = np.clip(rows, -limits, limits)
    squares = (clipped**2).sum(axis=1)
    statistic = np.abs(clipped @ flips.T) / np.sqrt(squares + 0.25 * np.median(squares))[:, None]
    strongest = statistic[:, 0].argmax()
    exact = np.mean(statistic.max(axis=0) >= statistic[strongest, 0] - 1e-9)
    drawn = family_p_values(rows, draws=20_000, seed=1)
    assert drawn[strongest] == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert (drawn == family_p_values(rows, draws=20_000, seed=1)).all()
    assert (drawn != family_p_values(rows, draws=20_000, seed=2)).any()
    assert family_p_values(np.ones((2, 40)), draws=99)[0] == 0.01  # the identity alone reaches it


def test_infinities_and_ties():
    always, never = [math.inf] * 6, [0.0] * 6
    assert family_p_values([always]).tolist() == [2**-5]
    assert family_p_values([never, never]).tolist() == [1.0, 1.0]
    assert family_p_values([[1.0, 2, 1, 1, 2, 1], always, never]).tolist() == [2**-5, 2**-5, 1.0]
    assert family_p_values([[1e200, 2e200, 1e200, 1e200, 3e200, 1e200]]).tolist() == [2**-5]
    assert family_p_values([[1e200] * 6, [1e-200] * 6]).tolist() == [2**-5, 1.0]  # too small beside the other
    assert family_p_values([[1e-200] * 6, never]).tolist() == [2**-5, 1.0]
    mostly = [math.inf] * 5 + [-1.0]  # each infinity counts as the 1
    assert family_p_values([mostly])[0] == 14 / 64  # at most one sign of six differs, either way


def test_what_is_refused():
    for wrong in ([1.0, 2.0], [], [[]]):
        with pytest.raises(ValueError, match=r"differences must be an array \[comparisons, blocks\]"):
            family_p_values(wrong)
    with pytest.raises(ValueError, match="has NaN in 1 places"):
        family_p_values([[1.0, math.nan]])
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        family_p_values(np.ones((1, 20)), draws=0)


@pytest.mark.parametrize(("level", "blocks"), [(0.5, 2), (0.75, 3), (0.9, 5), (0.95, 6), (0.99, 8), (1 - 2**-9, 10)])
def test_the_fewest_blocks_that_can_reject(level, blocks):
    assert fewest_blocks(level) == blocks
    assert family_p_values(np.ones((3, blocks))).max() <= 1 - level + 1e-12
    assert family_p_values(np.ones((3, blocks - 1))).min() > 1 - level


def test_a_sign_that_most_blocks_keep():
    interval = keeps_order([-1.0, -2.0, -0.5, 0.3, -math.inf, -1.0, -3.0, 1.0])
    wilson = binomtest(6, 8).proportion_ci(method="wilson")
    assert interval == pytest.approx((0.75, wilson.low, wilson.high))
    assert keeps_order(np.negative([-1.0, -2.0, -0.5, 0.3, -math.inf, -1.0, -3.0, 1.0])) == interval
    assert keeps_order([1.0] * 5).high == 1.0
    # ties count half: 1 of 2 is as 2 of 4 with the interval of 2 blocks
    assert keeps_order([1.0, 1.0, 0.0, 0.0]).estimate == 0.75
    low, high = (keeps_order([1.0] * kept + [-0.1] * (4 - kept)) for kept in (2, 3))
    assert low.low < keeps_order([1.0, 1.0, 0.0, -0.1]).low < high.low
    assert keeps_order([0.0, 0.0]).estimate == 0.5
    # the estimate goes by the sizes too: one large loss outweighs two small wins
    assert keeps_order([-1.0, -1.0, 10.0]).estimate == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="has NaN"):
        keeps_order([math.nan])


DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t(2)": lambda rng, size: rng.standard_t(2, size=size),
    "lognormal": lambda rng, size: rng.lognormal(sigma=1.5, size=size),
    "ties": lambda rng, size: np.round(rng.normal(size=size)),
    "30 % diverged": lambda rng, size: np.where(rng.random(size) < 0.3, np.inf, rng.normal(size=size)),
    "unequal": lambda rng, size: rng.normal(size=size) * np.where(np.arange(size[0]) % 2, 1.0, 10.0)[:, None],
}
SHIFTS = {"all equal": [0.0] * 6, "two groups": [0.0, 0.0, 0.0, 3.0, 3.0, 3.0], "one apart": [0.0] * 5 + [8.0]}


@pytest.mark.long
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shifts", SHIFTS)
def test_equal_contenders_are_seldom_told_apart_whatever_the_others_do(name, shifts):
    rng = np.random.default_rng(0)
    shift = np.array(SHIFTS[shifts])
    first, second = np.array(list(itertools.combinations(range(6), 2))).T
    equal = shift[first] == shift[second]
    repeats = 2000
    wrong = 0
    for _ in range(repeats):
        common = 2 * rng.normal(size=8)
        rows = pairs_of(DRAWS[name](rng, (6, 8)) + shift[:, None] + common)
        wrong += (family_p_values(rows)[equal] <= 0.05).any()
    assert wrong / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
