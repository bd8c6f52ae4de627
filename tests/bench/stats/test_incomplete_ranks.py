"""Published: Skillings and Mack's example. Oracles: Friedman's test, Nemenyi's distance, every order of small cases."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlkit.bench import stats
from dlkit.bench.stats.incomplete_ranks import are_joined

NAN, INF = math.nan, math.inf
# Skillings and Mack 1981: times of 4 assembly methods [blocks, methods], T = 15.493 with 3 degrees of freedom.
ASSEMBLY = [
    [3.2, 4.1, 3.8, 4.2],
    [3.1, 3.9, 3.4, 4.0],
    [4.3, 3.5, 4.6, 4.8],
    [3.5, 3.6, 3.9, 4.0],
    [3.6, 4.2, 3.7, 3.9],
    [4.5, 4.7, 3.7, NAN],
    [NAN, 4.2, 3.4, NAN],
    [4.3, 4.6, 4.4, 4.9],
    [3.5, NAN, 3.7, 3.9],
]


def tables(ties: bool) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    shapes = [(2, 3), (3, 6), (4, 5), (6, 12)]
    return [rng.integers(0, 4, shape).astype(float) if ties else rng.normal(size=shape) for shape in shapes]


def test_the_published_example() -> None:
    found = stats.skillings_mack(np.array(ASSEMBLY).T)
    assert found.statistic == pytest.approx(15.493, abs=5e-4)
    assert found.degrees == 3 and found.p_value == pytest.approx(0.00144, abs=5e-6)


@pytest.mark.parametrize("scores", [*tables(ties=False), *tables(ties=True)], ids=lambda each: f"{each.shape}")
def test_without_gaps_all_is_as_friedman_and_nemenyi_have_it(scores: np.ndarray[Any, Any]) -> None:
    expected, found = stats.friedman(scores), stats.skillings_mack(scores)
    assert found.statistic == pytest.approx(expected.tied_chi_square)
    assert found.p_value == pytest.approx(expected.tied_chi_square_p)
    assert stats.skillings_mack_permutation(scores, resamples=500, seed=3) == stats.friedman_permutation(
        scores, resamples=500, seed=3
    )
    assert stats.expected_ranks(scores[None])[0] == pytest.approx(expected.mean_ranks)
    assert stats.midranks(scores).mean(axis=1) == pytest.approx(expected.mean_ranks)
    k, n = scores.shape
    apart = np.where(np.eye(k, dtype=bool), 0.0, stats.nemenyi_distance(k, n))
    assert stats.nemenyi_distances(np.ones_like(scores)) == pytest.approx(apart)
    assert all(part.all() for part in stats.connected(~np.isnan(scores)))


def test_permuted_ranks_against_every_order() -> None:
    """Three problems, on one of which the third contender did not run: 6 · 6 · 2 orders."""
    scores = np.array([[1.0, 1.0, 1.0], [2.0, 3.0, 2.0], [3.0, 2.0, NAN]])
    observed = stats.skillings_mack(scores).statistic
    orders = itertools.product(*(itertools.permutations(column[~np.isnan(column)]) for column in scores.T))
    filled = []
    for order in orders:
        table = np.full(scores.shape, NAN)
        for place, values in enumerate(order):
            table[~np.isnan(scores[:, place]), place] = values
        filled.append(stats.skillings_mack(table).statistic)
    exact = np.mean(np.array(filled) >= observed - 1e-9)
    assert stats.skillings_mack_permutation(scores, resamples=20_000, seed=0) == pytest.approx(exact, abs=0.01)


def test_a_problem_on_which_one_ran_alone_and_equal_scores_say_nothing() -> None:
    scores = np.array([[1.0, 2.0, 1.0], [2.0, 1.0, 3.0], [3.0, 3.0, 2.0]])
    more = np.column_stack([scores, [NAN, 5.0, NAN], [4.0, 4.0, 4.0]])
    assert stats.skillings_mack(more).statistic == pytest.approx(stats.skillings_mack(scores).statistic)
    alone = np.column_stack([scores, [NAN, 5.0, NAN]])
    assert stats.expected_ranks(alone[None]) == pytest.approx(stats.expected_ranks(scores[None]))
    assert stats.skillings_mack(np.zeros((3, 2))) == (0.0, 2, 1.0)
    assert stats.skillings_mack_permutation(np.zeros((3, 2)), resamples=9, seed=0) == 1.0


def test_infinity_is_the_worst_rank_and_a_gap_is_none() -> None:
    scores = np.array([[1.0, 1.0], [2.0, INF], [3.0, NAN]])
    assert stats.midranks(scores).tolist()[:2] == [[1.0, 1.0], [2.0, 2.0]]
    np.testing.assert_array_equal(stats.midranks(scores)[2], [3.0, NAN])


def test_who_met_weak_rivals_alone_ranks_no_better() -> None:
    """Each is worse than the one before wherever they meet; the third wins where the fourth alone is there."""
    scores = np.array(
        [
            [1.0, 1.0, 1.0, 1.0, NAN, NAN, NAN],
            [2.0, 2.0, 2.0, 2.0, NAN, NAN, NAN],
            [NAN, NAN, 3.0, 3.0, 1.0, 1.0, 1.0],
            [NAN, NAN, NAN, 4.0, 2.0, 2.0, 2.0],
        ]
    )
    plain = np.nanmean(stats.midranks(scores), axis=1)
    assert plain[2] < plain[1]  # what a mean over the problems where one ran would say
    ranks = stats.expected_ranks(scores[None])[0]
    assert ranks.tolist() == sorted(ranks) and ranks[2] > ranks[1] + 0.5


def test_expected_ranks_solve_the_normal_equations() -> None:
    """By hand: a is ahead of b on 2 problems, b of c on 2 others: t is -1/2, 0, 1/2, and ranks 1/2 and 7/2 are cut."""
    scores = np.array([[1.0, 1.0, NAN, NAN], [2.0, 2.0, 1.0, 1.0], [NAN, NAN, 2.0, 2.0]])
    assert stats.expected_ranks(scores[None])[0] == pytest.approx([1.0, 2.0, 3.0])
    scores[0, 1], scores[1, 1] = 2.0, 1.0  # now a and b are equal: t is -1/6, -1/6, 1/3
    assert stats.expected_ranks(scores[None])[0] == pytest.approx([1.5, 1.5, 3.0])


def test_a_draw_leaves_open_what_it_has_no_problem_of() -> None:
    scores = np.array([[1.0, 1.0, NAN, NAN], [2.0, 2.0, 1.0, 2.0], [NAN, NAN, 2.0, 1.0]])
    draws = np.stack([scores[:, [0, 0, 1, 1]], scores[:, [0, 1, 2, 3]]])
    found = stats.expected_ranks(draws, whole=scores)
    assert found[0] == pytest.approx(stats.expected_ranks(scores[None])[0], abs=1e-4)
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_nemenyis_distances_grow_as_problems_are_fewer() -> None:
    ran = np.ones((4, 12), dtype=bool)
    ran[3, 4:] = False
    ran[2, :4] = False
    found = stats.nemenyi_distances(ran)
    assert np.isnan(found[2, 3]) and np.isnan(found[3, 2])  # no problem in common
    assert stats.nemenyi_distance(4, 12) < found[0, 1] < found[0, 2] < found[0, 3]
    assert found == pytest.approx(found.T, nan_ok=True)


@pytest.mark.parametrize(
    ("ran", "contenders", "problems"),
    [
        (["111", "110", "001"], "110", "110"),  # on one problem alone
        (["1111", "1111", "1000"], "110", "1111"),
        (["1100", "1100", "0011", "0011"], "1100", "1100"),  # two parts alike: the first
        (["11000", "11000", "00111", "00111", "00111"], "00111", "00111"),  # two parts: the larger
        (["1100", "0110", "0011", "1001"], "1111", "1111"),  # joined by others
        (["10", "01"], "00", "00"),
        (["1", "1"], "00", "0"),
        (["111"], "0", "000"),
    ],
)
def test_who_can_be_compared(ran: list[str], contenders: str, problems: str) -> None:
    found = stats.connected([[cell == "1" for cell in row] for row in ran])
    assert ["".join(map(str, each.astype(int))) for each in found] == [contenders, problems]


@pytest.mark.parametrize(
    "function", [stats.skillings_mack, lambda scores: stats.rank_bootstrap(scores[:, None], seed=0)]
)
def test_what_nothing_joins_is_refused(function: Callable[[Any], Any]) -> None:
    assert not are_joined(np.array([[True, False], [False, True]]))
    with pytest.raises(ValueError, match="joined by problems that they have in common"):
        function(np.array([[1.0, NAN], [NAN, 2.0]]))


def test_the_bootstrap_of_incomplete_ranks() -> None:
    """Ends are wider for who ran on fewer problems; 1 to k for two of them."""
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(4, 5, 12)) + np.arange(4)[:, None, None] * 0.5
    scores[2, :, 5:] = NAN
    scores[3, :, 2:] = NAN
    found = stats.rank_bootstrap(scores, resamples=2000, seed=0)
    assert found.mean_ranks == pytest.approx(stats.expected_ranks(np.median(scores, axis=1)[None])[0])
    widths = found.high - found.low
    assert widths[0] < widths[2] < widths[3] and (found.low[3], found.high[3]) == (1.0, 4.0)
    assert found.probability_best.sum() == pytest.approx(1.0)
    assert (found.low <= found.mean_ranks).all() and (found.mean_ranks <= found.high).all()


@pytest.mark.long
@pytest.mark.parametrize("case", ["at random", "on easy problems"])
def test_the_size_of_the_test_with_gaps(case: str) -> None:
    """Equal contenders, 5 of them on 10 problems: 20 % of cells missing, or the first on the easier half alone."""
    rng, ran = np.random.default_rng(2), np.ones((5, 10), dtype=bool)
    ran[0, 5:] = False
    rejected = []
    for seed in range(400):
        while case == "at random" and not stats.connected(ran := rng.random((5, 10)) >= 0.2)[0].all():
            pass
        scores = np.where(ran, rng.normal(size=(5, 10)) + np.linspace(0, 10, 10), NAN)
        rejected.append(stats.skillings_mack_permutation(scores, resamples=199, seed=seed) <= 0.05)
    assert np.mean(rejected) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
