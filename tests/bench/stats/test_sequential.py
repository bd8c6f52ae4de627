"""The betting is fair by enumeration of all signs; false decisions under optional stopping are simulated."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.stats_coverage import DISTRIBUTIONS, false_settlements
from dlkit.bench.stats import Settlement, confidence_sequence, evidence, settle

INF = math.inf
magnitudes = st.lists(st.sampled_from([0.0, 0.1, 1.0, 1.5, 20.0, INF]), min_size=1, max_size=9)


@given(magnitudes)
@settings(max_examples=40)
def test_money_is_fair_whatever_the_magnitudes(sizes):
    """Averaged over all sign flips it stays 1 after every seed."""
    flips = itertools.product((-1.0, 1.0), repeat=len(sizes))
    paths = [
        evidence([sign * size if size else 0.0 for sign, size in zip(signs, sizes, strict=True)]) for signs in flips
    ]
    assert np.mean(paths, axis=0) == pytest.approx(np.ones(len(sizes)), rel=1e-9)
    assert np.min(paths) > 0  # nobody is ever broke


@given(magnitudes)
@settings(max_examples=40)
def test_what_came_before_is_not_changed_by_what_comes(sizes):
    whole = evidence(np.negative(sizes))
    for count in range(1, len(sizes)):
        assert evidence(np.negative(sizes[:count])) == pytest.approx(whole[:count])


def test_units_do_not_matter_and_ties_change_nothing():
    differences = np.random.default_rng(0).normal(-0.5, size=30)
    assert evidence(1024 * differences) == pytest.approx(evidence(differences))
    assert evidence([0.0, 0.0, 0.0]).tolist() == [1.0] * 3
    assert evidence([-1.0] * 2000)[-1] > 1e300


@pytest.mark.long
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_decisions_under_optional_stopping(name):
    """Looking after each of 100 seeds, equal contenders are settled, and a margin met exactly, in 5 % at most."""
    rates = false_settlements(name, 2, 300, np.random.default_rng(1))
    assert max(rates.values()) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
@pytest.mark.parametrize("contenders", [2, 3, 5])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_decisions_of_several_contenders(name, contenders):
    rates = false_settlements(name, contenders, 1500, np.random.default_rng(2))
    assert max(rates.values()) <= 0.06


def test_a_clear_winner_takes_seven_seeds():
    """Equal differences: after n seeds the money is the mean of (1 + tanh λ)^n, 25 for n = 6 and 46 for n = 7."""
    scores = np.array([np.zeros(20), np.ones(20)])
    result = settle(scores)
    assert (result.decision, result.leader, result.seeds) == ("best", 0, 7)
    assert result.evidence[0, 1] == pytest.approx(
        np.mean([(1 + math.tanh(2.0**power)) ** 7 for power in (-2, -1, 0, 1)])
    )
    assert result.threshold == pytest.approx(40.0)
    assert result.evidence[0, 1] >= 40.0 > result.evidence[1, 0]
    assert result.latest[0, 1] == pytest.approx(evidence(-np.ones(20))[-1])
    assert settle(scores[:, :6]).decision == "continue"
    assert settle(scores[::-1]).leader == 1


def test_a_decision_does_not_change_with_more_seeds():
    scores = np.random.default_rng(0).normal(size=(3, 80)) + np.array([[0.0], [1.0], [1.5]])
    result = settle(scores)
    assert (result.decision, result.leader) == ("best", 0)
    for seeds in range(1, 80, 7):
        partial = settle(scores[:, :seeds])
        assert partial.decision == ("continue" if seeds < result.seeds else "best")
        assert partial.seeds == min(seeds, result.seeds)


def test_evidence_once_there_is_not_lost():
    """Five wins, then losses: what counts is the most money there ever was."""
    differences = np.array([-1.0] * 5 + [1.0] * 10)
    result = settle([differences, np.zeros(15)])
    assert (result.latest == result.evidence).all()
    assert result.decision == "continue"
    assert result.evidence[0, 1] == pytest.approx(evidence(differences)[4])
    assert result.evidence[1, 0] == pytest.approx(evidence(-differences).max())


def test_a_difference_inside_the_margin_settles_as_such():
    noise = np.random.default_rng(0).normal(0.0, 0.1, size=(2, 60))
    assert settle(noise).decision == "continue"
    result = settle(noise, margin=0.5)
    assert result.decision == "within margin"
    assert result.seeds < 15
    beaten = np.vstack([noise, noise[0] + 5.0])
    three = settle(beaten, margin=0.5)
    assert three.decision == "within margin"
    assert three.leader in (0, 1)


def test_diverged_seeds_are_evidence():
    scores = np.array([np.zeros(14), np.full(14, INF)])
    assert settle(scores).decision == "best"
    both = settle(np.full((2, 50), INF))
    assert (both.decision, both.leader, both.seeds) == ("continue", None, 50)
    assert (both.evidence == 1.0).all()


@pytest.mark.parametrize("margin", [0.0, -1.0, INF, math.nan])
def test_margins_that_are_none_are_refused(margin):
    with pytest.raises(ValueError, match="margin must be a number above 0"):
        settle([[1.0], [2.0]], margin=margin)


def test_one_contender_is_refused():
    with pytest.raises(ValueError, match="at least two contenders, got 1"):
        settle([[1.0, 2.0]])


# --- rest ------------------------------------------------------------------------------------------------------------


def of_beaten(pairs, k=4):
    """A settlement in which these beat those, by just enough."""
    found = np.ones((k, k))
    for better, worse in pairs:
        found[better, worse] = (k - 1) * k / 0.05
    return Settlement("continue", None, 10, found, k / 0.05, found)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], [0, 1, 2, 3]),
        ([(0, 3), (1, 3)], [0, 1, 2, 3]),  # 2 has not beaten 3, and may still be best
        ([(0, 3), (1, 3), (2, 3)], [0, 1, 2]),
        ([(0, 2), (0, 3), (1, 2), (1, 3)], [0, 1]),
        ([(2, 0), (2, 1), (2, 3)], [2]),
        ([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)], [0, 1, 2]),  # a circle
        ([(0, 1), (1, 0), (0, 2), (0, 3), (1, 2), (1, 3)], [0, 1]),  # both ways says nothing
    ],
)
def test_who_may_rest(pairs, expected):
    assert np.flatnonzero(of_beaten(pairs).in_question).tolist() == expected


def test_a_contender_at_rest_keeps_its_evidence():
    scores = np.random.default_rng(0).normal(size=(3, 40)) + np.array([[0.0], [0.2], [4.0]])
    early = settle(scores[:, :20])
    assert early.in_question.tolist() == [True, True, False]
    scores[2, 20:] = -100.0  # whatever it would have had
    resting = settle(scores, seeds=[40, 40, 20])
    assert resting.evidence[:, 2] == pytest.approx(early.evidence[:, 2])
    assert resting.evidence[2] == pytest.approx(early.evidence[2])
    assert resting.evidence[:2, :2] == pytest.approx(settle(scores).evidence[:2, :2])
    assert settle(scores, seeds=[40, 40, 40]).evidence[2, 0] > 10 * resting.evidence[2, 0]
    for wrong in ([40, 40], [40, 40, 41], [40, 40, 0]):
        with pytest.raises(ValueError, match="seeds must be 3 numbers from 1 to 40"):
            settle(scores, seeds=wrong)


# --- confidence sequences --------------------------------------------------------------------------------------------


def test_an_interval_ends_where_the_evidence_is_just_enough():
    differences = np.random.default_rng(0).normal(0.3, size=30)
    found = confidence_sequence(differences, np.zeros(30))
    assert found.low < np.median(differences) < found.high
    for end, sign in ((found.high, 1.0), (found.low, -1.0)):
        inside, outside = (evidence(sign * (differences - end) + step).max() for step in (1e-3, -1e-3))
        assert inside < 40 <= outside


def test_intervals_begin_with_seven_seeds_and_only_narrow():
    x = np.random.default_rng(1).normal(size=40)
    found = [confidence_sequence(x[:count], np.zeros(count)) for count in (1, 6, 7, 8, 12, 20, 30, 40)]
    assert all(np.isinf(each[1:]).all() for each in found[:2])  # the mean of (1 + tanh λ)^6 is 25, less than 40
    assert np.isfinite(found[2][1:]).all()
    for wide, narrow in itertools.pairwise(found):
        assert wide.low <= narrow.low + 1e-3 and narrow.high <= wide.high + 1e-3


def test_intervals_move_with_the_differences_and_stand_infinities():
    x = np.append(np.random.default_rng(2).normal(size=20), INF)
    y = np.zeros(21)
    found, moved = confidence_sequence(x, y), confidence_sequence(3 * x + 5, y)
    assert np.isfinite(found).all()
    assert moved == pytest.approx(3 * np.array(found) + 5, rel=1e-3, abs=1e-2)
    swapped = confidence_sequence(y, x)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    assert confidence_sequence([INF] * 9, [0.0] * 9)[1:] == (-INF, INF)  # nothing tells by how much
    assert confidence_sequence([INF] * 9, [INF] * 9)[1:] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert confidence_sequence([1.0] * 9, [0.0] * 9)[1:] == pytest.approx((1.0, 1.0), abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", ["normal", "Student t(2)"])
def test_all_intervals_of_a_sequence_hold_the_centre(name):
    """The last one is the narrowest: it holds the centre in 95 % at least."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        x, y = DISTRIBUTIONS[name].draw(rng, (2, 40))
        found = confidence_sequence(x + 1.0, y)
        missed += not found.low <= 1.0 <= found.high
    assert missed <= 20  # 5 % of 200 are 10; more than 20 are one in a thousand
