"""Differences over blocks and examples: closed forms, Student's test where one of the two is all, simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import CrossedDifference, crossed_difference, crossed_mean, examples_needed

INF = math.inf


def test_mean_squares_by_hand():
    """Block means 1, 3 and example means 1, 2, 3: A = 6, B = 2, and E by its definition is between them and 0."""
    table = np.array([[0.5, 0.5, 2.0], [1.5, 3.5, 4.0]])
    residuals = table - [[1.0], [3.0]] - np.array([1.0, 2.0, 3.0]) + 2.0
    rest = float(np.sum(residuals**2)) / 2
    found = crossed_difference(table)
    assert found.estimate == 2.0
    assert (found.of_blocks, found.of_examples, found.of_both) == pytest.approx(
        ((6 - rest) / 6, (2 - rest) / 6, rest / 6)
    )
    student = scipy.stats.ttest_1samp([1.0, 3.0], 0.0)  # with two blocks their own test is the wider one
    assert found.p_value == pytest.approx(student.pvalue)
    assert found[1:3] == pytest.approx((student.confidence_interval().low, student.confidence_interval().high))


def test_satterthwaites_degrees_by_hand():
    """Ten blocks, twenty examples, where both matter: the variance (A + B - E) / (a n) and its degrees of freedom."""
    rng = np.random.default_rng(3)
    table = 0.4 + rng.normal(size=(10, 1)) + 2 * rng.normal(size=(1, 20)) + rng.normal(size=(10, 20))
    a = 20 * table.mean(axis=1).var(ddof=1)
    b = 10 * table.mean(axis=0).var(ddof=1)
    centred = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    e = np.square(centred).sum() / (9 * 19)
    degrees = (a + b - e) ** 2 / (a**2 / 9 + b**2 / 19 + e**2 / (9 * 19))
    error = math.sqrt((a + b - e) / 200)
    found = crossed_difference(table, level=0.9)
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(abs(table.mean()) / error, degrees))
    assert found.high - found.estimate == pytest.approx(scipy.stats.t.ppf(0.95, degrees) * error)


def test_blocks_that_agree_are_a_test_over_examples():
    examples = np.array([0.3, -0.1, 0.8, 0.4, -0.2, 0.5, 0.1])
    found, student = crossed_difference(np.tile(examples, (6, 1))), scipy.stats.ttest_1samp(examples, 0.0)
    assert found.p_value == pytest.approx(student.pvalue)
    assert found.high == pytest.approx(student.confidence_interval().high)
    assert (found.of_blocks, found.of_both) == pytest.approx((0, 0), abs=1e-12)


def test_examples_that_agree_are_a_test_over_blocks():
    blocks = np.array([0.3, -0.1, 0.8, 0.4, -0.2, 0.5])
    found, student = crossed_difference(np.tile(blocks[:, None], (1, 9))), scipy.stats.ttest_1samp(blocks, 0.0)
    assert found.p_value == pytest.approx(student.pvalue)
    assert found.high == pytest.approx(student.confidence_interval().high)


def test_what_little_says():
    assert crossed_difference(np.zeros((6, 9)))[:4] == (0.0, 0.0, 0.0, 1.0)
    assert crossed_difference(np.ones((6, 9)))[:4] == (1.0, 1.0, 1.0, 0.0)
    for table in ([[1.0, 2.0]], [[1.0], [2.0]]):
        assert crossed_difference(table)[1:4] == (-INF, INF, 1.0)
    with pytest.raises(ValueError, match="differences must be finite"):
        crossed_difference([[1.0, INF], [1.0, 2.0]])
    with pytest.raises(ValueError, match=r"array \[blocks, examples\]"):
        crossed_difference([1.0, 2.0])


def test_the_interval_of_a_mean_over_common_seeds_is_the_same():
    table = np.random.default_rng(0).normal(size=(5, 7))
    assert crossed_mean(table).with_tuning == crossed_difference(table)[:3]


# --- how often it is wrong -------------------------------------------------------------------------------------------

MOST = 6.0  # percent


def disagreements(rng, blocks, examples, contested):
    """Differences of 0/1 scores: most disagreements have a sign that belongs to the example, the others are chance."""
    is_contested = rng.random((1, examples)) < contested
    own = np.where(rng.random((1, examples)) < 0.8, rng.choice([-1.0, 1.0], (1, examples)), 0.0)
    return is_contested * np.where(own == 0, rng.choice([-1.0, 0.0, 1.0], (blocks, examples)), own)


WORLDS = {
    "normal": lambda rng, a, n: rng.normal(size=(1, n)) + 0.3 * rng.normal(size=(a, 1)) + rng.normal(size=(a, n)),
    "heavy tails": lambda rng, a, n: rng.standard_t(3, size=(1, n)) + rng.standard_t(3, size=(a, n)),
    "few disagreements": lambda rng, a, n: disagreements(rng, a, n, 5 / n),
    "many disagreements": lambda rng, a, n: disagreements(rng, a, n, 0.3),
    "nothing but chance": lambda rng, a, n: rng.normal(size=(a, n)),
}


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("examples", [27, 360])
def test_no_difference_on_new_examples_is_seldom_called_one(world, examples):
    """Six percent at the most, and chance on top of it, which a right test exceeds once in a thousand runs."""
    rng, repeats = np.random.default_rng(5), 800
    wrong = sum(crossed_difference(world(rng, 10, examples)).p_value <= 0.05 for _ in range(repeats))
    assert wrong <= scipy.stats.binom.ppf(0.999, repeats, MOST / 100)


@pytest.mark.long
def test_a_test_over_blocks_alone_is_often_wrong():
    """So the worlds above could fail the test: the mean over these examples is not 0."""
    rng = np.random.default_rng(5)
    tables = [disagreements(rng, 10, 360, 0.3) for _ in range(300)]
    assert np.mean([scipy.stats.ttest_1samp(table.mean(axis=1), 0).pvalue <= 0.05 for table in tables]) > 0.5


@pytest.mark.long
def test_the_interval_holds_the_mean():
    rng, repeats = np.random.default_rng(6), 800
    tables = (1.0 + WORLDS["normal"](rng, 10, 90) for _ in range(repeats))
    held = sum(found.low <= 1.0 <= found.high for found in map(crossed_difference, tables))
    assert scipy.stats.binom.ppf(0.001, repeats, 0.94) <= held


# --- how many examples -----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_so_many_examples_find_the_difference_four_times_in_five():
    rng = np.random.default_rng(7)

    def draw(examples, blocks=10):
        own = 0.1 + rng.normal(size=(1, examples)) + 0.02 * rng.normal(size=(blocks, 1))
        return own + 0.5 * rng.normal(size=(blocks, examples))

    # The truth: (0.1 / 2.8)^2 - 0.02^2 / 10 is left for examples, whose means vary by 1 + 0.5^2 / 10.
    expected = (1 + 0.25 / 10) / ((0.1 / 2.8016) ** 2 - 0.0004 / 10)
    found = CrossedDifference(-0.1, -1, 1, 0.5, of_blocks=0.0004 / 10, of_examples=1 / 400, of_both=0.25 / 4000)
    assert examples_needed(found, 400) == (pytest.approx(expected, rel=0.002), True)
    shown = np.mean([crossed_difference(draw(round(expected))).p_value <= 0.05 for _ in range(300)])
    assert shown == pytest.approx(0.8, abs=0.08)


def test_whether_more_blocks_can():
    """A difference of 2 standard errors of its examples can be found with 50 of them, not one of 1.9: t(49) is 2.01."""
    for size, can in ((2.05, True), (1.95, False)):
        found = crossed_difference(np.zeros((2, 2)))._replace(
            estimate=-size, of_blocks=1.0, of_examples=1.0, of_both=1.0
        )
        assert examples_needed(found, 50)[1] is can
    assert examples_needed(crossed_difference(np.zeros((3, 3))), 3) == (INF, False)
