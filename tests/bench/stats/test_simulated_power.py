"""Oracle: the rule itself, applied to blocks drawn from distributions that are known. Laws, and the promise kept."""

import itertools
import math

import numpy as np
import pytest

from dlkit.bench.stats import (
    family_p_values,
    fewest_blocks,
    least_blocks,
    least_difference,
    paired_difference,
    simulated_power,
)

SCORES = np.random.default_rng(0).normal(size=(2, 10))
SIX = np.random.default_rng(1).normal(size=(6, 10))


def told_apart(scores):
    """The whole rule for the first two contenders."""
    if paired_difference(scores[0], scores[1]).p_value > 0.05:
        return False
    rows = [x - y for x, y in itertools.combinations(scores, 2)]
    return bool(family_p_values(rows, draws=400)[0] <= 0.05)


def true_power(draw, difference, repeats):
    rng = np.random.default_rng(7)
    drawn = [draw(rng) for _ in range(repeats)]
    return np.mean([told_apart(scores + difference * np.eye(len(scores), 1)) for scores in drawn])


@pytest.mark.parametrize(
    ("contenders", "blocks", "difference"), [(2, 8, 1.5), (2, 10, 1.0), (5, 10, 2.0), (5, 16, 1.2)]
)
def test_with_many_stored_blocks_the_power_is_the_true_one(contenders, blocks, difference):
    raw = np.random.default_rng(3).normal(size=(400, contenders))
    stored = math.sqrt(400) * np.linalg.qr(raw - raw.mean(axis=0))[0].T  # means 0, variances 1, no correlation
    true = true_power(lambda rng: rng.normal(size=(contenders, blocks)), difference, 1000)
    assert 0.2 < true < 0.95
    assert simulated_power(stored, (0, 1), difference, blocks) == pytest.approx(true, abs=0.06)


def test_power_rises_with_the_difference_and_the_blocks():
    for scores in (SCORES, SIX):
        by_difference = [simulated_power(scores, (0, 1), size, 10) for size in (0.0, 0.5, 1.0, 2.0, 4.0, 50.0)]
        by_blocks = [simulated_power(scores, (0, 1), 1.5, blocks) for blocks in (5, 6, 8, 12, 24, 64)]
        for powers in (by_difference, by_blocks):
            assert powers == sorted(powers)
            assert powers[0] < 0.06
            assert powers[-1] > 0.95


def test_fewer_blocks_than_any_test_needs_find_nothing():
    assert simulated_power(SIX, (0, 1), 1e6, fewest_blocks() - 1) == 0
    assert least_difference(SIX, (0, 1), fewest_blocks() - 1) == math.inf
    assert least_blocks(SIX, (0, 1), 1e6) == fewest_blocks()
    assert least_blocks(SIX, (0, 1), 1e6, level=0.99) == fewest_blocks(0.99)


@pytest.mark.parametrize("scores", [SCORES, SIX], ids=["2", "6"])
def test_units_and_the_order_of_contenders_do_not_matter(scores):
    usual = least_difference(scores, (0, 1), 10)
    assert least_difference(8 * scores + 1, (0, 1), 10) == pytest.approx(8 * usual)
    assert least_difference(scores, (1, 0), 10) == usual
    assert least_difference(-scores, (0, 1), 10) == pytest.approx(usual, rel=0.1)
    swapped = scores[[1, 0, *range(2, len(scores))]]
    assert least_difference(swapped, (1, 0), 10) == pytest.approx(usual, rel=0.05)
    assert simulated_power(scores, (0, 1), 1.0, 10) == simulated_power(scores, (1, 0), -1.0, 10)
    # what all contenders have in common is not in their differences
    common = 100 * np.random.default_rng(2).normal(size=scores.shape[1])
    assert least_difference(scores + common, (0, 1), 10) == pytest.approx(usual, rel=1e-6)


def test_the_same_seed_gives_the_same_result():
    assert least_difference(SIX, (2, 4), 9, seed=3) == least_difference(SIX, (2, 4), 9, seed=3)
    assert least_difference(SIX, (2, 4), 9, seed=3) != least_difference(SIX, (2, 4), 9, seed=4)
    assert least_difference(SIX, (2, 4), 9, seed=3) == pytest.approx(least_difference(SIX, (2, 4), 9, seed=4), rel=0.15)


@pytest.mark.parametrize(("scores", "pair"), [(SCORES, (0, 1)), (SIX, (4, 2))], ids=["2", "6"])
def test_the_least_is_the_least(scores, pair):
    for power in (0.6, 0.8):
        size = least_difference(scores, pair, 12, power=power)
        found = max(simulated_power(scores, pair, sign * size, 12) for sign in (-1, 1))
        assert power <= found < power + 0.02
        assert max(simulated_power(scores, pair, sign * 0.98 * size, 12) for sign in (-1, 1)) < power
        blocks = least_blocks(scores, pair, 1.3, power=power)
        assert simulated_power(scores, pair, 1.3, blocks) >= power > simulated_power(scores, pair, 1.3, blocks - 1)


def test_a_family_asks_for_more_than_a_pair():
    alone = least_difference(SIX[:2], (0, 1), 10)
    assert 1.05 * alone < least_difference(SIX, (0, 1), 10) < 2 * alone


def test_beyond_64_blocks_by_the_square_root():
    assert simulated_power(SCORES, (0, 1), 0.2, 256) == simulated_power(SCORES, (0, 1), 0.4, 64)
    blocks = least_blocks(SCORES, (0, 1), 0.2)
    assert blocks > 64
    assert least_difference(SCORES, (0, 1), blocks) == pytest.approx(0.2, rel=0.02)


def test_trials_that_diverged():
    scores = SCORES.copy()
    scores[1, :3] = math.inf  # the second loses three blocks in ten, whatever the difference
    wins, loses = (simulated_power(scores, (0, 1), size, 10) for size in (-8.0, 8.0))
    assert wins > 0.9
    assert loses < 0.5
    assert least_blocks(scores, (0, 1), -8.0) is not None
    scores[1, :8] = math.inf
    assert least_blocks(scores, (0, 1), 8.0) is None
    assert least_difference(scores, (0, 1), 40) == 0
    both = np.concatenate([SCORES, np.full((2, 10), math.inf)], axis=1)  # ties in half of the blocks
    assert least_difference(both, (0, 1), 10) > 1.2 * least_difference(SCORES, (0, 1), 10)


def test_blocks_that_agree_exactly():
    assert least_difference(np.array([[1.0] * 6, [2.0] * 6]), (0, 1), 6) == 0
    assert least_blocks(np.array([[1.0] * 6, [2.0] * 6]), (0, 1), 1e-9) == 6


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"pair must be two positions of 2 contenders, got \(0, 2\)"):
        simulated_power(SCORES, (0, 2), 1.0, 10)
    with pytest.raises(ValueError, match="pair must be two positions"):
        simulated_power(SCORES, (1, 1), 1.0, 10)
    with pytest.raises(ValueError, match="difference must be a number, got inf"):
        simulated_power(SCORES, (0, 1), math.inf, 10)
    with pytest.raises(ValueError, match="difference must be a number other than 0"):
        least_blocks(SCORES, (0, 1), 0.0)
    with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
        simulated_power(SCORES, (0, 1), 1.0, 0)
    for power in (0.05, 1.0):
        with pytest.raises(ValueError, match="power must lie between"):
            least_difference(SCORES, (0, 1), 10, power=power)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        simulated_power(SCORES, (0, 1), 1.0, 10, level=95)
    with pytest.raises(ValueError, match=r"the pair \(0, 1\) has finite scores in 1 of 2 blocks"):
        simulated_power([[1.0, math.inf], [2.0, 3.0]], (0, 1), 1.0, 10)
    with pytest.raises(ValueError, match="scores has NaN in 1 places"):
        simulated_power([[1.0, math.nan], [2.0, 3.0]], (0, 1), 1.0, 10)


NOISE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t(3)": lambda rng, size: rng.standard_t(3, size=size) / math.sqrt(3),
    "lognormal": lambda rng, size: rng.lognormal(size=size) / 2.16,
    "unequal": lambda rng, size: rng.normal(size=size) * np.where(np.arange(size[0]) % 2, 1.5, 0.5)[:, None],
}


@pytest.mark.slow
@pytest.mark.parametrize("contenders", [2, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NOISE)
def test_where_80_percent_is_promised_about_80_percent_is_kept(name, contenders):
    noise, stored, blocks = NOISE[name], 8, 10
    sizes = np.linspace(0.6, 4.0, 8)
    powers = [true_power(lambda rng: noise(rng, (contenders, blocks)), size, 150) for size in sizes]
    rng = np.random.default_rng(11)
    promised = [least_difference(noise(rng, (contenders, stored)), (0, 1), blocks, seed=i) for i in range(60)]
    kept = np.interp(promised, [0.0, *sizes, 12.0], [0.0, *powers, 1.0]).mean()
    assert 0.70 <= kept <= 0.93  # 75 to 90 %, and two standard errors of 60 promises
