"""Point generators: prefixes, SciPy's discrepancy and uniformity tests as oracles, grids by hand, optuna's answers."""

import importlib.util
import itertools
import math
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from dlkit.bench.errors import UserError
from dlkit.bench.plan.space import Point, log_uniform, one_minus_log_uniform, uniform
from dlkit.bench.tuning.sampling import (
    TUNERS,
    beforehand,
    dimensions,
    grid_points,
    halton_points,
    optuna_points,
    random_points,
    require_tuner,
    spread,
    spread_first,
    zoom_points,
)
from dlkit.bench.tuning.scrambled_halton import scrambled_halton

# --- points ----------------------------------------------------------------------------------------------------------

UNIT = {"a": uniform(0.0, 1.0), "b": uniform(0.0, 1.0)}
CHOICES = ["p", "q", "r"]


def as_array(points, names=("a", "b")):
    return np.array([[point.hyperparameters[name] for name in names] for point in points])


@given(st.integers(1, 12), st.integers(1, 300), st.integers(0, 2**40))
def test_scrambled_halton_is_scipys_to_the_last_bit(width, count, seed):
    expected = qmc.Halton(width, scramble=True, rng=np.random.default_rng(seed)).random(count)
    np.testing.assert_array_equal(scrambled_halton(width, count, seed=seed), expected)


@pytest.mark.parametrize("count", [1, 2, 7, 16, 31])
def test_a_larger_budget_begins_with_the_smaller_ones_points(count):
    assert halton_points(UNIT, {"c": CHOICES}, 40)[:count] == halton_points(UNIT, {"c": CHOICES}, count)


def test_the_seed_decides_the_points():
    assert halton_points(UNIT, {}, 8) == halton_points(UNIT, {}, 8, seed=0)
    assert halton_points(UNIT, {}, 8) != halton_points(UNIT, {}, 8, seed=1)


def test_spaces_of_one_dimensionality_get_the_same_coordinates():
    other = {"x": log_uniform(1e-4, 1.0), "fixed": 3.0, "y": one_minus_log_uniform(0.9, 0.999)}
    first = as_array(halton_points(UNIT, {}, 20))
    second = [
        [other[name].coordinate(point.hyperparameters[name]) for name in ("x", "y")]
        for point in halton_points(other, {}, 20)
    ]
    np.testing.assert_allclose(first, second, atol=1e-4)
    with_choice = halton_points({"x": uniform(0.0, 1.0)}, {"c": CHOICES}, 20)  # a choice is a dimension like any other
    np.testing.assert_array_equal(as_array(with_choice, ["x"])[:, 0], first[:, 0])
    assert [point.static["c"] for point in with_choice] == [CHOICES[int(3 * b)] for b in first[:, 1]]


@pytest.mark.parametrize("count", [8, 16, 32])
@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_points_are_spread_better_than_random_ones(count, dimensions):
    names = [f"x{i}" for i in range(dimensions)]
    drawn = as_array(halton_points(dict.fromkeys(names, uniform(0.0, 1.0)), {}, count), names)
    random = [qmc.discrepancy(np.random.default_rng(seed).random((count, dimensions))) for seed in range(50)]
    assert qmc.discrepancy(drawn) < np.median(random)


def test_each_dimension_is_stratified():
    points = as_array(halton_points(UNIT, {}, 24))
    for column, base, blocks in ((0, 2, 8), (1, 3, 9)):  # Halton: base 2, then base 3; scrambling keeps the strata
        for start in range(0, 24 // blocks * blocks, blocks):
            assert sorted((points[start : start + blocks, column] * blocks).astype(int)) == list(range(blocks)), base


def test_points_lie_inside_their_ranges():
    space = {"a": log_uniform(1e-5, 1e-1), "b": one_minus_log_uniform(0.9, 0.9999), "c": uniform(-1.0, 3.0)}
    for point in halton_points(space, {}, 64):
        assert all(space[name].low <= value <= space[name].high for name, value in point.hyperparameters.items())


@pytest.mark.parametrize("options", [2, 3, 5, 7])
def test_every_static_choice_is_covered(options):
    points = halton_points(UNIT, {"c": list(range(options))}, 40)
    counts = np.bincount([point.static["c"] for point in points], minlength=options)
    assert counts.min() >= 40 // options - 2 and counts.max() <= 40 // options + 3


def test_static_choices_alone_are_drawn_too():
    points = halton_points({}, {"c": CHOICES}, 9)
    assert sorted(point.static["c"] for point in points) == sorted(CHOICES * 3)


def test_nothing_to_draw_is_one_point():
    assert halton_points({"a": 2, "b": 0.5}, {"c": ["only"]}, 16) == [Point({"a": 2.0, "b": 0.5}, {"c": "only"})]
    assert halton_points({}, {}, 16) == [Point({}, {})]


def test_fixed_values_stand_in_every_point_and_names_keep_their_order():
    points = halton_points({"z": 3, "a": uniform(0.0, 1.0), "m": -1.5}, {"c": ["only"], "d": CHOICES}, 5)
    assert len(points) == 5
    for point in points:
        assert list(point.hyperparameters) == ["z", "a", "m"]
        assert (point.hyperparameters["z"], point.hyperparameters["m"], point.static["c"]) == (3.0, -1.5, "only")
        assert isinstance(point.hyperparameters["z"], float)


# --- what Halton's points and random ones have in common -------------------------------------------------------------

both = pytest.mark.parametrize("draw", [halton_points, random_points])
SPACE = {"a": log_uniform(1e-5, 1e-1), "fixed": 2.0, "b": one_minus_log_uniform(0.9, 0.9999), "c": uniform(-1.0, 3.0)}


@both
@pytest.mark.parametrize("seed", [0, 3])
def test_fewer_points_are_the_first_of_more(draw, seed):
    every = draw(SPACE, {"d": CHOICES}, 40, seed=seed)
    for count in (1, 5, 16, 39):
        assert draw(SPACE, {"d": CHOICES}, count, seed=seed) == every[:count]


@both
def test_another_seed_shares_no_point(draw):
    first, second = (draw(SPACE, {}, 64, seed=seed) for seed in (0, 1))
    assert not {tuple(point.hyperparameters.values()) for point in first} & {
        tuple(point.hyperparameters.values()) for point in second
    }


@both
def test_points_stay_inside_and_keep_the_order_of_names(draw):
    for point in draw(SPACE, {"d": CHOICES, "e": ["only"]}, 64):
        assert list(point.hyperparameters) == list(SPACE)
        assert point.hyperparameters["fixed"] == 2.0 and point.static["e"] == "only" and point.static["d"] in CHOICES
        for name in ("a", "b", "c"):
            assert SPACE[name].low <= point.hyperparameters[name] <= SPACE[name].high
    assert draw({"x": 0.5}, {"e": ["only"]}, 9) == [Point({"x": 0.5}, {"e": "only"})]


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_random_points_are_uniform_on_their_scale(name):
    """Kolmogorov and Smirnov's test at 0.1 %; the other scale of the same values fails it."""
    values = [point.hyperparameters[name] for point in random_points(SPACE, {}, 400, seed=5)]
    where = [SPACE[name].coordinate(value) for value in values]
    assert scipy.stats.kstest(where, "uniform").pvalue > 1e-3
    span = SPACE[name]
    if name != "c":
        linear = [(value - span.low) / (span.high - span.low) for value in values]
        assert scipy.stats.kstest(linear, "uniform").pvalue < 1e-6


def test_random_dimensions_are_independent():
    points = random_points({f"x{i}": uniform(0.0, 1.0) for i in range(3)}, {"d": list(range(4))}, 600)
    table = np.array([[*point.hyperparameters.values(), point.static["d"]] for point in points])
    correlations = np.corrcoef(table.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 3.9 / math.sqrt(600)
    assert scipy.stats.chisquare(np.bincount(table[:, 3].astype(int))).pvalue > 1e-3


# --- grids -----------------------------------------------------------------------------------------------------------


def values_of(points, name):
    return sorted({point.hyperparameters[name] for point in points})


def test_a_grid_has_its_corners_and_crosses_everything():
    space = {"a": log_uniform(1e-4, 1.0), "fixed": 2, "b": uniform(0.0, 1.0)}
    points = grid_points(space, {"c": ["p", "q"], "e": ["only"]}, 30)
    assert values_of(points, "a") == pytest.approx([1e-4, 10 ** (-8 / 3), 10 ** (-4 / 3), 1.0], rel=1e-5)
    assert values_of(points, "b") == [0.0, 0.5, 1.0]  # 2 choices leave 15: four by three
    expected = itertools.product(values_of(points, "a"), [2.0], [0.0, 0.5, 1.0], ["p", "q"], ["only"])
    assert [(*p.hyperparameters.values(), *p.static.values()) for p in points] == list(expected)


@pytest.mark.parametrize(
    ("dims", "count", "sizes"),
    [
        (1, 1, [1]), (1, 7, [7]), (2, 3, [2, 1]), (2, 4, [2, 2]), (2, 8, [3, 2]), (2, 11, [3, 3]), (2, 12, [4, 3]),
        (3, 7, [2, 2, 1]), (3, 8, [2, 2, 2]), (3, 12, [3, 2, 2]), (3, 18, [3, 3, 2]),
    ],
)  # fmt: skip
def test_the_size_of_a_grid(dims, count, sizes):
    points = grid_points({f"x{i}": uniform(0.0, 1.0) for i in range(dims)}, {}, count)
    assert len(points) == math.prod(sizes) <= count
    assert [len(values_of(points, f"x{i}")) for i in range(dims)] == sizes


@given(st.integers(1, 3), st.integers(1, 200), st.integers(1, 3))
def test_a_grid_is_never_larger_than_allowed_and_never_needlessly_small(dims, count, options):
    space = {f"x{i}": uniform(0.0, 1.0) for i in range(dims)}
    static = {"c": list(range(options))}
    if count < options:
        with pytest.raises(UserError, match=f"has at least {options} points; allow so many, not {count}"):
            grid_points(space, static, count)
        return
    points = grid_points(space, static, count)
    sizes = [len(values_of(points, name)) for name in space]
    assert len(points) == math.prod(sizes) * options <= count
    assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1
    smallest = sizes.index(sizes[-1])  # one more value there would be one too many
    assert math.prod(sizes) // sizes[smallest] * (sizes[smallest] + 1) * options > count


def test_numbers_of_values_can_be_named():
    space = {"rate": log_uniform(1e-3, 1.0), "b": uniform(0.0, 1.0)}
    points = grid_points(space, {}, 16, counts={"rate": 5, "elsewhere": 9})
    assert (len(values_of(points, "rate")), len(values_of(points, "b"))) == (5, 3)
    assert values_of(grid_points(space, {}, 16, counts={"rate": 16}), "b") == [0.5]
    with pytest.raises(UserError, match="at least 17 points"):
        grid_points(space, {}, 16, counts={"rate": 17})
    assert spread(uniform(0.0, 2.0), 3) == [0.0, 1.0, 2.0]


def test_nothing_to_lay_a_grid_over():
    assert grid_points({"x": 0.5}, {"e": ["only"]}, 16) == [Point({"x": 0.5}, {"e": "only"})]
    assert [point.static["c"] for point in grid_points({}, {"c": CHOICES}, 16)] == CHOICES


def test_dimensions_are_what_there_is_to_tune():
    assert dimensions(SPACE, {"d": CHOICES, "e": ["only"]}) == 4
    assert dimensions({"x": 1.0}, {}) == 0


def test_each_name_means_its_generator():
    assert set(TUNERS) == {"halton", "random", "grid", "optuna", "zoom"}
    assert beforehand("halton", UNIT, {}, 5, seed=2) == halton_points(UNIT, {}, 5, seed=2)
    assert beforehand("random", UNIT, {}, 5, seed=2) == random_points(UNIT, {}, 5, seed=2)
    assert beforehand("grid", UNIT, {}, 5, counts={"a": 5}) == grid_points(UNIT, {}, 5, counts={"a": 5})


# --- optuna ----------------------------------------------------------------------------------------------------------

STATIC = {"d": CHOICES, "e": ["only"]}


def surface(point):
    """Best at a = 0.001 with choice q; rates near the top diverge."""
    rate = math.log10(point.hyperparameters["a"])
    return math.inf if rate > -1.5 else (rate + 3) ** 2 + (point.static["d"] != "q")


def asked(batches, count=4, seed=0):
    points, scores = [], []
    for _ in range(batches):
        points += optuna_points(SPACE, STATIC, points, scores, count, seed=seed)
        scores = [surface(point) for point in points]
    return points


def test_optuna_depends_on_what_it_was_told_alone():
    pytest.importorskip("optuna")
    points = asked(5)
    scores = [surface(point) for point in points]
    for before in (0, 4, 16):
        again = optuna_points(SPACE, STATIC, points[:before], scores[:before], 4)
        assert again == points[before : before + 4]
        assert optuna_points(SPACE, STATIC, points[:before], scores[:before], 1) == again[:1]
    assert asked(2, seed=1)[:4] != points[:4]
    other = optuna_points(SPACE, STATIC, points[:16], scores[15::-1], 4)
    assert other != points[16:20], "scores count"


def test_optuna_stays_inside_and_says_nothing(capfd):
    pytest.importorskip("optuna")
    for point in asked(3):
        assert list(point.hyperparameters) == list(SPACE) and point.static["e"] == "only"
        assert all(SPACE[name].low <= point.hyperparameters[name] <= SPACE[name].high for name in ("a", "b", "c"))
    assert all(captured == "" for captured in capfd.readouterr())


def test_optuna_looks_where_it_was_good():
    pytest.importorskip("optuna")
    late = [surface(point) for seed in range(4) for point in asked(10, seed=seed)[20:]]
    early = [surface(point) for seed in range(4) for point in random_points(SPACE, STATIC, 20, seed=seed)]
    assert np.median(late) < 0.5 * np.median(early)


def test_optuna_goes_on_when_everything_diverged():
    pytest.importorskip("optuna")
    told = random_points(SPACE, STATIC, 12)
    assert len(optuna_points(SPACE, STATIC, told, [math.inf] * 12, 4)) == 4


def test_a_missing_optuna_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tuner 'optuna' needs the package optuna: pip install 'dlkit-jax\[optuna\]'"):
        require_tuner("optuna")
    for name in ("halton", "random", "grid"):
        require_tuner(name)


# --- zoom ------------------------------------------------------------------------------------------------------------


def zoomed(total, *, space=SPACE, static=STATIC, seed=0, score=surface, batch=3):
    """All points of a search, drawn in batches."""
    points = []
    while len(points) < total:
        count = min(batch, total - len(points))
        if len(points) < spread_first(total):
            count = min(count, spread_first(total) - len(points))
        points += zoom_points(space, static, points, [score(point) for point in points], count, total=total, seed=seed)
    return points


@pytest.mark.parametrize(("total", "first"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4), (16, 8)])
def test_half_of_zooms_points_are_haltons(total, first):
    assert spread_first(total) == first
    points = zoomed(total, seed=2)
    assert len(points) == total
    assert points[:first] == halton_points(SPACE, STATIC, first, seed=2)
    assert points[first:] != halton_points(SPACE, STATIC, total, seed=2)[first:] or first == total


def test_zoom_depends_on_what_it_was_told_alone():
    points = zoomed(16)
    scores = [surface(point) for point in points]
    for before in (0, 3, 8, 11, 14):
        count = {0: 3, 3: 3, 8: 3, 11: 3, 14: 2}[before]
        again = zoom_points(SPACE, STATIC, points[:before], scores[:before], count, total=16)
        assert again == points[before : before + count]
        assert zoom_points(SPACE, STATIC, points[:before], scores[:before], 1, total=16) == again[:1]
    assert zoomed(16, seed=1)[8:] != points[8:]
    assert zoom_points(SPACE, STATIC, points[:8], scores[7::-1], 3, total=16) != points[8:11], "scores count"


def test_zoom_looks_around_the_best_three_in_turn():
    """A box has an edge of 4^(-1/2), half of each range, if 4 points are spread over two ranges."""
    told = [Point({"a": a, "b": b}, {}) for a, b in ((0.5, 0.5), (0.9, 0.9), (0.1, 0.1), (0.3, 0.7))]
    points = zoom_points(UNIT, {}, told, [3.0, 2.0, math.inf, 1.0], 300, total=8)
    assert len(points) == 300
    for turn, centre in enumerate(((0.3, 0.7), (0.9, 0.9), (0.5, 0.5))):
        there = as_array(points[turn::3])
        for column, middle in enumerate(centre):
            low, high = middle - 0.25, middle + 0.25
            assert low - 1e-6 <= there[:, column].min() and there[:, column].max() <= min(high, 1.0) + 1e-6
            assert there[:, column].min() < low + 0.05 and there[:, column].max() > min(high, 1.0) - 0.05
    # Of a box from 0.65 to 1.15, what lies above 1 is reflected: 0.3 of 0.5 parts lie above 0.85, twice as dense.
    assert np.mean(as_array(points[1::3]) > 0.85) == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 200))


def test_zoom_stays_inside_and_keeps_names_and_fixed_values():
    for point in zoomed(30):
        assert list(point.hyperparameters) == list(SPACE)
        assert point.hyperparameters["fixed"] == 2.0 and point.static["e"] == "only" and point.static["d"] in CHOICES
        assert all(SPACE[name].low <= point.hyperparameters[name] <= SPACE[name].high for name in ("a", "b", "c"))


def test_zoom_takes_most_static_choices_from_the_centre():
    """One in four is drawn anew, and one of three of those is the centre's: 5 in 6 are; binomial, 4 deviations."""
    told = [Point({"a": 0.5, "b": 0.5}, {"d": "q"})]
    points = zoom_points(UNIT, {"d": CHOICES}, told, [0.0], 600, total=2)
    kept = sum(point.static["d"] == "q" for point in points)
    assert abs(kept - 500) < 4 * math.sqrt(600 * 5 / 36)
    assert {point.static["d"] for point in points} == set(CHOICES)


def test_zoom_spreads_on_while_everything_diverged():
    told = halton_points(SPACE, STATIC, 4)
    assert zoom_points(SPACE, STATIC, told, [math.inf] * 4, 3, total=8) == halton_points(SPACE, STATIC, 7)[4:]


def test_zoom_finds_better_points_than_halton():
    best = [
        np.median([min(map(surface, draw)) for draw in draws])
        for draws in (
            [zoomed(16, seed=seed) for seed in range(40)],
            [halton_points(SPACE, STATIC, 16, seed=seed) for seed in range(40)],
        )
    ]
    assert best[0] < 0.5 * best[1]
