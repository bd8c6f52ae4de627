"""Pairs and their letters: laws of the groups, SciPy's test, the family's error by simulation, how sure a sign is."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.analysis.pairs import all_pairs, beats_all, common, letters
from dlkit.bench.stats import paired_difference

INF = math.inf

relations = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.sets(st.sampled_from([(i, j) for i in range(count) for j in range(i + 1, count)] or [(0, 0)])),
    )
)


@given(relations)
def test_letters_are_shared_by_those_not_told_apart_and_by_no_others(relation):
    count, apart = relation
    apart = {pair for pair in apart if pair[0] != pair[1]}
    found = letters(count, apart)
    for pair in itertools.combinations(range(count), 2):
        assert bool(set(found[pair[0]]) & set(found[pair[1]])) == (pair not in apart)
    groups = [{k for k in range(count) if letter in found[k]} for letter in sorted(set("".join(found)))]
    assert not any(one < other for one, other in itertools.permutations(groups, 2))  # none says nothing new
    assert found[0].startswith("a") and sorted(set("".join(found))) == [chr(97 + k) for k in range(len(groups))]


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        (set(), ["a", "a", "a", "a"]),
        ({(0, 3)}, ["a", "ab", "ab", "b"]),
        ({(0, 2), (0, 3), (1, 3)}, ["a", "ab", "bc", "c"]),
        (set(itertools.combinations(range(4), 2)), ["a", "b", "c", "d"]),
    ],
)
def test_letters_by_hand(apart, expected):
    assert letters(4, apart) == expected


# --- p-values --------------------------------------------------------------------------------------------------------


def test_pairs_are_tested_by_signed_ranks():
    rng = np.random.default_rng(0)
    table = [0.5 * k + rng.normal(size=12) for k in range(4)]
    pairs = all_pairs(table)
    assert list(pairs) == list(itertools.combinations(range(4), 2))
    for (i, j), pair in pairs.items():
        assert pair.difference == paired_difference(table[j], table[i])
        expected = scipy.stats.wilcoxon(table[j], table[i], method="exact").pvalue
        assert pair.difference.p_value == pytest.approx(expected)
    assert all_pairs([table[0]]) == {} == all_pairs([])


numbers = st.sampled_from([0.1, 0.2, 0.3, INF]) | st.floats(-1, 1)
tables = st.tuples(st.integers(2, 5), st.integers(1, 9)).flatmap(
    lambda shape: st.lists(
        st.lists(numbers, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@settings(max_examples=100)
@given(tables)
def test_an_adjusted_p_is_never_below_the_pairs_own(table):
    pairs = all_pairs([np.array(line) for line in table])
    for pair in pairs.values():
        assert pair.difference.p_value <= pair.adjusted_p <= 1
        assert len(pairs) > 1 or pair.adjusted_p == pair.difference.p_value
    assert not beats_all(pairs.values()) or all(pair.difference.estimate > 0 for pair in pairs.values())


@settings(max_examples=60)
@given(tables, st.data())
def test_who_is_named_first_changes_signs_alone(table, data):
    order = data.draw(st.permutations(range(len(table))))
    pairs, turned = (all_pairs([np.array(table[k]) for k in which]) for which in (range(len(table)), order))
    for (i, j), pair in turned.items():
        first, second = order[i], order[j]
        sign = 1 if first < second else -1
        other = pairs[min(first, second), max(first, second)]
        assert pair.difference.estimate == pytest.approx(sign * other.difference.estimate)
        assert pair.adjusted_p == pytest.approx(other.adjusted_p)
        assert pair.is_apart == other.is_apart


def test_a_clear_gap_is_found_among_many():
    """Of 28 pairs of 8 contenders each has p = 0.002 at least: Holm would find none, at ten blocks."""
    rng = np.random.default_rng(1)
    common_part = rng.normal(size=10)
    pairs = all_pairs([common_part + 5.0 * k + rng.normal(size=10) for k in range(8)])
    assert sum(pair.is_apart for pair in pairs.values()) >= 20
    assert all(28 * pair.difference.p_value > 0.05 for pair in pairs.values())


def test_too_few_blocks_tell_nobody_apart():
    pairs = all_pairs([np.arange(5.0) + 100.0 * k for k in range(3)])
    assert not any(pair.is_apart for pair in pairs.values())
    assert all(pair.difference.p_value == 2 / 2**5 for pair in pairs.values())


def test_equals_are_not_apart_whatever_the_p_value():
    """Three infinities on either side: the estimate is 0, and a difference of no size has no direction."""
    pair = all_pairs([np.zeros(8), np.zeros(8)])[0, 1]
    assert pair.adjusted_p == 1.0 and not pair.is_apart
    sure = pair._replace(difference=pair.difference._replace(p_value=0.0))
    assert not sure.is_worse(adjusted=False) and not sure.is_worse_here(adjusted=False)


def test_who_rested_early_is_compared_on_the_blocks_that_both_have():
    rng = np.random.default_rng(2)
    long, short = rng.normal(size=12), rng.normal(size=7)
    assert [len(each) for each in common(long, short)] == [7, 7]
    assert all_pairs([long, short])[0, 1] == all_pairs([long[:7], short])[0, 1]
    three = all_pairs([long, long + 1, short])
    assert three[0, 1].difference == paired_difference(long + 1, long)


# --- how sure the sign is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        ([1.0] * 8 + [-0.1, -0.2], 0.8),
        ([1.0] * 8 + [0.0, -0.1], 0.85),  # a tie is half
        ([-1.0] * 9 + [5.0], 0.9),  # of the sign that the difference has
        ([INF] * 10, 1.0),
        ([0.0] * 10, 0.5),
    ],
)
def test_how_many_blocks_keep_the_order(others, kept):
    pair = all_pairs([np.zeros(10), np.array(others)])[0, 1]
    assert pair.keeps.estimate == pytest.approx(kept)
    if kept * 10 == round(kept * 10):
        expected = scipy.stats.binomtest(round(kept * 10), 10).proportion_ci(0.95, method="wilson")
        assert pair.keeps[1:] == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_new_block_keeps_the_order_as_often_as_was_said():
    """With a mean of 1 sd a new difference is above 0 with probability 0.84; Wilson's interval has it in 92 %."""
    rng = np.random.default_rng(3)
    said = [all_pairs([np.zeros(10), 1.0 + rng.normal(size=10)])[0, 1].keeps for _ in range(300)]
    true = scipy.stats.norm.cdf(1.0)
    intervals = [scipy.stats.binomtest(k, 10).proportion_ci(0.95, method="wilson") for k in range(11)]
    weights = scipy.stats.binom.pmf(range(11), 10, true)
    covered = sum(w for w, each in zip(weights, intervals, strict=True) if each.low <= true <= each.high)
    assert np.mean([each.estimate for each in said]) == pytest.approx(true, abs=0.02)
    assert np.mean([each.low <= true <= each.high for each in said]) == pytest.approx(covered, abs=0.05)


# --- how often equals are told apart ---------------------------------------------------------------------------------

DRAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, size=shape),
    "skewed": lambda rng, shape: rng.lognormal(size=shape),
    "ties": lambda rng, shape: rng.binomial(20, 0.9, size=shape) / 20,
    "30 % diverge": lambda rng, shape: np.where(rng.random(shape) < 0.3, INF, rng.normal(size=shape)),
    "unequal variances": lambda rng, shape: rng.normal(size=shape) * (1 + np.arange(shape[0]))[:, None],
}


def most(repeats):
    """How many calls are within chance at 5 %: a true rate of that exceeds it once in a thousand test runs."""
    return int(scipy.stats.binom.ppf(0.999, repeats, 0.05))


@pytest.mark.long
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_of_six_equals_anyone_is_told_apart_seldom(draw):
    rng = np.random.default_rng(6)
    wrong = sum(
        any(pair.is_apart for pair in all_pairs(rng.normal(size=10) + draw(rng, (6, 10))).values()) for _ in range(200)
    )
    assert wrong <= most(200)


@pytest.mark.long
def test_equals_among_others_that_differ_are_told_apart_seldom():
    """The error is kept over the true nulls whichever they are: three equals, and three that are far apart."""
    rng = np.random.default_rng(7)
    wrong = found = 0
    for _ in range(200):
        table = rng.normal(size=(6, 10)) + np.array([0, 0, 0, 3, 6, 9])[:, None]
        pairs = all_pairs(table)
        wrong += any(pairs[key].is_apart for key in itertools.combinations(range(3), 2))
        found += pairs[0, 4].is_apart
    assert wrong <= most(200) and found >= 195


def test_one_enormous_block_does_not_hide_what_the_others_show() -> None:
    """Rounding is that of each block's own values, not of the largest one."""
    ours = np.full(10, 0.5)
    theirs = ours + np.linspace(0.26, 0.35, 10)
    theirs[-1] = 1e6
    (pair,) = all_pairs([ours, theirs]).values()
    assert pair.is_apart and 0.2 < pair.difference.low < pair.difference.estimate < 0.5
