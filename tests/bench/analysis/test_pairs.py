"""Pairs and their letters: laws of the groups, SciPy's test, and what curves show under the luck of tuning."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.analysis.along_curves import AlongCurve
from dlkit.bench.analysis.pairs import all_pairs, curve_luck, letters
from dlkit.bench.analysis.ranking import compared
from dlkit.bench.stats import friedman, paired_difference
from dlkit.bench.tuning.winner import Tuning
from tests.bench.analysis.test_verdict import judged, make_result, values
from tests.bench.synthetic import make_contender

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


def test_pairs_are_tested_by_signed_ranks_and_adjusted_together():
    rng = np.random.default_rng(0)
    table = [0.5 * k + rng.normal(size=12) for k in range(4)]
    pairs = all_pairs(table, lambda i, j, difference: 0.1 * i + j)
    p_values = {(i, j): scipy.stats.wilcoxon(table[j], table[i], method="exact").pvalue for i, j in pairs}
    assert list(pairs) == list(itertools.combinations(range(4), 2))
    for (i, j), pair in pairs.items():
        assert pair.difference == paired_difference(table[j], table[i])
        assert pair.luck == pytest.approx(0.1 * i + j)
        smaller = sorted(p_values.values())
        holm = max(min(1.0, (6 - rank) * p) for rank, p in enumerate(smaller) if p <= p_values[i, j])
        assert pair.adjusted_p == pytest.approx(holm)
    assert all_pairs([table[0]], lambda *_: 0.0) == {}


# --- the luck of tuning along curves ----------------------------------------------------------------------------------

CONTENDER = make_contender("x", points=4)
GOOD, BAD = np.linspace(3.0, 3.5, 10), np.linspace(4.0, 4.6, 10)


def side(values, *, scores=(0.0, 0.01, 0.9, 0.9), tuned=(3.0, 3.0, 3.0, 3.0), most=8.0):
    tuning = Tuning(CONTENDER.points, np.array(scores), 0, np.zeros(4), {}, 0.0, 4, 8, 0)
    return tuning, AlongCurve(np.asarray(values), np.array(tuned), most)


def luck(ours, theirs, *, noise=0.3):
    scores = noise * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5]) / 3
    return curve_luck(ours, theirs, paired_difference(scores, np.zeros(10)))


def test_points_alike_along_their_curves_leave_nothing_to_luck():
    assert luck(side(GOOD), side(BAD)) == 0.0
    assert luck(side(GOOD, tuned=(3.0, 5.0, 3.0, 3.0)), side(BAD)) > 0.2
    assert luck(side(GOOD), side(BAD, tuned=(3.0, 5.0, 3.0, 3.0))) > 0.2


def test_points_that_are_never_picked_do_not_matter():
    far = {"scores": (0.0, 50.0, 50.0, 50.0), "tuned": (3.0, 9.0, 9.0, 9.0)}
    assert luck(side(GOOD, **far), side(BAD, **far)) > 0.3  # the best one is drawn in two of three tunings only
    everywhere = {"scores": (0.0, 0.0, 0.0, 50.0), "tuned": (3.0, 3.0, 3.0, 9.0)}
    assert luck(side(GOOD, **everywhere), side(BAD, **everywhere)) < 0.02


def test_missed_seeds_count_as_a_little_beyond_the_budget():
    missed = np.where(np.arange(10) < 8, math.inf, BAD)
    assert luck(side(GOOD), side(missed)) == 0.0
    spread = {"tuned": (3.0, 8.0, 3.0, 3.0)}
    assert luck(side(GOOD, **spread), side(missed, **spread)) > 0.2
    diverged = np.full(10, math.inf)
    assert luck(side(GOOD, most=math.inf), side(diverged, most=math.inf)) == 1.0


def test_a_gap_without_spread_is_not_certain():
    same, later = np.full(10, 3.0), np.full(10, 4.0)
    assert luck(side(same), side(later)) == 0.0
    assert luck(side(same, tuned=(3.0, 5.0, 3.0, 3.0)), side(later)) > 0.1


def test_too_few_seeds_leave_all_to_luck():
    few = paired_difference([0.1, 0.2, 0.3], [0.2, 0.1, 0.3])
    assert curve_luck(side(GOOD), side(BAD), few) == 1.0


# --- among the others ------------------------------------------------------------------------------------------------


def test_a_winner_stands_alone_in_its_group():
    """Each comparison passes at 5 %, all six together do not: the winner is one by its own test."""
    wide = 0.05 * np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, -7.5])
    results = [
        make_result("a", values(0.2, noise=0)),
        *(make_result(label, values(0.2, noise=wide)) for label in "bcd"),
    ]
    standings = list(compared(results).standings.values())
    assert [each.to_best.adjusted_p > 0.05 for each in standings[1:]] == [True] * 3
    assert judged(*results).kind == "winner"
    assert [each.group for each in standings] == ["a", "b", "b", "b"]


def test_groups_are_those_of_the_verdict():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    results = [
        make_result("a", values(0.2)),
        make_result("b", values(0.24, noise=noise)),
        make_result("c", values(0.7)),
    ]
    ranking = compared([*results, make_result("gone", [None] * 10)])
    assert [each.standing.group for each in ranking.compared] == ["a", "a", "b"]
    assert [each.label for each in ranking.others] == ["gone"]


def test_mean_ranks_are_friedmans():
    results = [make_result(label, np.random.default_rng(k).normal(size=10)) for k, label in enumerate("abc")]
    ranking = compared(results)
    expected = friedman([each.scores for each in ranking.results]).mean_ranks
    np.testing.assert_allclose([each.standing.mean_rank for each in ranking.compared], expected)
    by_hand = scipy.stats.rankdata([each.scores for each in ranking.results], axis=0).mean(axis=1)
    np.testing.assert_allclose(expected, by_hand)
