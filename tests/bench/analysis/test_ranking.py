"""Contenders ranked: the order is that of what is tested; differences, groups and ranks, SciPy's tests as oracles."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.analysis.ranking import compared
from dlkit.bench.plan.metric import Metric
from dlkit.bench.stats import friedman, paired_difference
from tests.bench.analysis.results_by_hand import (
    BLOCKS,
    NOISE,
    constant,
    judged,
    make_result,
    results_of_curves,
    values,
)

INF, NAN = math.inf, math.nan
VALUES = [0.3, 0.1, 0.9, 0.5, 0.7, 0.2, 0.8, 0.4, 0.6, 1.0]

# --- ranking ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
TABLE = {label: 0.5 + 0.1 * place + 0.2 * RNG.random(BLOCKS) for place, label in enumerate("abcd")}


def ranked(table=TABLE, **settings):
    return compared(results_of_curves({label: constant(values) for label, values in table.items()}, **settings))


def second(ranking):
    """How the second contender differs from the best."""
    return ranking.compared[1].standing.to_best


@pytest.mark.parametrize(("metric", "order"), [(Metric("lower"), "abcd"), (Metric("higher"), "dcba")])
def test_differences_to_the_best(metric, order):
    ranking = ranked(dict(reversed(TABLE.items())), metric=metric)
    assert "".join(each.label for each in ranking.compared) == order
    best, *others = ranking.compared
    assert best.standing.to_best is None
    table = {label: values.astype(np.float32).astype(float) for label, values in TABLE.items()}
    sign = 1 if metric.direction == "lower" else -1
    for other in others:
        differences = sign * (table[other.label] - table[best.label])
        found = other.standing.to_best.difference
        walsh = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(differences, 2)]
        assert found.estimate == pytest.approx(np.median(walsh), abs=1e-6)
        assert found.estimate > 0  # worse than the best, whichever way is better
        assert found.low < found.estimate < found.high
        assert found.p_value == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)
        assert found.losses == sum(differences > 0)


def test_two_contenders_have_nothing_to_adjust():
    ranking = ranked({"a": TABLE["a"], "d": TABLE["d"]})
    assert second(ranking).adjusted_p == second(ranking).difference.p_value


def test_a_log_scale_compares_ratios():
    ranking = ranked(
        {"a": np.full(BLOCKS, 1e-6) * (1 + TABLE["a"]), "b": np.full(BLOCKS, 1e-4) * (1 + TABLE["a"])},
        metric=Metric("lower", "log"),
    )
    assert second(ranking).difference.estimate == pytest.approx(2.0, abs=1e-5)


def test_differences_are_paired_by_block():
    """A shift far smaller than the spread over seeds is found, since every block shows it."""
    ranking = ranked({"a": np.array(VALUES), "b": np.array(VALUES) + 0.01})
    assert second(ranking).difference.p_value == pytest.approx(2 / 2**BLOCKS)
    shuffled = ranked({"a": np.array(VALUES), "b": np.roll(VALUES, 3) + 0.01})
    assert second(shuffled).difference.p_value > 0.05


def test_equals_in_the_end_are_ordered_by_steps_to_target():
    curves = {"slow": [[1.0, 0.5, 0.05]] * BLOCKS, "fast": [[1.0, 0.05, 0.05]] * BLOCKS}
    assert [each.label for each in compared(results_of_curves(curves)).compared] == ["fast", "slow"]


def test_a_contender_that_diverged_everywhere_is_last_but_compared():
    ranking = ranked({"a": [NAN] * BLOCKS, "b": TABLE["b"]})
    assert [each.label for each in ranking.compared] == ["b", "a"]
    assert second(ranking).difference.estimate == INF
    assert second(ranking).difference.p_value == pytest.approx(2 / 2**BLOCKS)


def test_incomplete_rows_come_last_and_are_not_compared():
    curves = {label: constant(values) for label, values in TABLE.items()}
    curves["a"] = [None, *curves["a"][1:]]
    curves["b"] = ["it raised", *curves["b"][1:]]
    ranking = compared(results_of_curves(curves))
    assert [each.label for each in ranking.results] == ["c", "d", "a", "b"]
    assert list(ranking.standings) == ["c", "d"] and [each.label for each in ranking.others] == ["a", "b"]
    assert second(ranking).adjusted_p == second(ranking).difference.p_value  # one pair: nothing to adjust


def test_one_alone_is_compared_with_nobody():
    (alone,) = results_of_curves({"a": constant(VALUES)})
    assert compared([alone]).results == [alone] and not compared([alone]).compared
    (unfinished,) = results_of_curves({"b": [None] * BLOCKS})
    assert compared([unfinished, alone]).others == [alone, unfinished]
    assert not compared([]).results


# --- the order -------------------------------------------------------------------------------------------------------


def gaps(ranking):
    """The differences to the best that tables show, in their order."""
    return [each.standing.to_best.difference.estimate for each in ranking.compared[1:]]


def is_ahead_of_all(results):
    """Labels of the contenders that are ahead of every other one by the estimated difference."""
    return [
        one.label
        for one in results
        if all(paired_difference(one.blocks, other.blocks).estimate < 0 for other in results if other is not one)
    ]


tables = st.integers(2, 5).flatmap(
    lambda count: st.lists(
        st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, NAN]) | st.floats(-1, 1), min_size=7, max_size=7),
        min_size=count,
        max_size=count,
    )
)


@settings(max_examples=100)
@given(tables, st.booleans())
def test_the_order_never_contradicts_the_differences_that_are_shown(table, studies):
    results = [make_result(f"x{i}", line, studies=studies) for i, line in enumerate(table)]
    ranking = compared(results)
    assert gaps(ranking) == sorted(gaps(ranking))
    for label in is_ahead_of_all(results):
        assert ranking.compared[0].label == label and gaps(ranking)[0] > 0


def test_the_order_is_that_of_differences_not_of_medians():
    """b has the better median, a is ahead of it in eight of ten blocks."""
    a = np.array([1.0, 2.0, 3.0, 4.0, 5.2, 5.3, 7.0, 8.0, 9.0, 10.0])
    b = np.array([1.5, 2.5, 3.5, 4.5, 5.0, 5.1, 7.5, 8.5, 9.5, 10.5])
    assert np.median(b) < np.median(a) and np.median(b - a) > 0
    ranking = compared([make_result("b", b), make_result("a", a)])
    assert [each.label for each in ranking.compared] == ["a", "b"] and gaps(ranking)[0] > 0


def test_a_contender_ahead_of_most_is_first_where_nobody_is_ahead_of_all():
    """Rock, scissors, paper: each is ahead of the next in two blocks of three; a fourth is behind all of them."""
    cycle = np.tile([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]], 3)
    results = [make_result(label, line) for label, line in zip("abc", cycle, strict=True)]
    assert is_ahead_of_all(results) == []
    ranking = compared([make_result("d", cycle[0] + 5.0), *results])
    assert ranking.compared[-1].label == "d" and gaps(ranking) == sorted(gaps(ranking))


def test_who_is_known_to_be_best_comes_first():
    ranking = compared([make_result("a", values(0.2)), make_result("b", values(0.3))], first="b")
    assert [each.label for each in ranking.compared] == ["b", "a"] and gaps(ranking)[0] < 0


@pytest.mark.long
def test_cycles_are_rare():
    """Of six equals drawn independently someone is ahead of all others in nearly every run."""
    rng = np.random.default_rng(0)
    first = [gaps(compared([make_result(f"x{k}", rng.normal(size=10)) for k in range(6)]))[0] for _ in range(100)]
    assert np.mean(np.array(first) < 0) <= 0.1


# --- among the others ------------------------------------------------------------------------------------------------


def test_a_winner_stands_alone_in_its_group():
    """Each comparison passes at 5 %, all six together do not: the winner is one by its own test."""
    wide = 0.05 * np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, -7.5])
    others = [
        make_result(label, values(0.2, noise=np.roll(wide, turn))) for label, turn in (("b", 0), ("c", 3), ("d", 6))
    ]
    results = [make_result("a", values(0.2, noise=0)), *others]
    standings = list(compared(results).standings.values())
    assert all(each.to_best.difference.p_value <= 0.05 < each.to_best.adjusted_p for each in standings[1:])
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
    expected = friedman([each.blocks for each in ranking.results]).mean_ranks
    np.testing.assert_allclose([each.standing.mean_rank for each in ranking.compared], expected)
    by_hand = scipy.stats.rankdata([each.blocks for each in ranking.results], axis=0).mean(axis=1)
    np.testing.assert_allclose(expected, by_hand)


def test_studies_are_compared_as_seeds_are():
    """Only the words differ: the numbers of ten studies are those of ten seeds."""
    lines = [values(0.2), values(0.24, noise=30 * NOISE), values(0.7)]
    one, other = (
        compared([make_result(f"x{k}", line, studies=studies) for k, line in enumerate(lines)])
        for studies in (True, False)
    )
    assert one.standings == other.standings


def test_blocks_are_what_is_compared_not_seeds():
    """Two studies of five fresh seeds each are two blocks, with which no two methods can be told apart."""
    table = {"a": np.array(VALUES), "b": np.array(VALUES) + 5.0}
    assert second(ranked(table)).difference.p_value == pytest.approx(2 / 2**10)
    in_two = second(ranked(table, studies=2, seeds=5))
    assert in_two.difference.estimate == pytest.approx(5.0, rel=1e-5)
    assert in_two.difference.p_value == pytest.approx(2 / 2**2) and not in_two.is_apart
