"""What makes tuning doubtful, over all studies: edges, gains, what lies beyond; false alarms by simulation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis.contender_result import make_result
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.tuning.doubts import centred, doubts, doubts_of
from dlkit.bench.tuning.sampling import halton_points, random_points
from dlkit.bench.tuning.winner import Tuning
from tests.bench.synthetic import make_plan, play, synthetic_outcome

INF, NAN = math.inf, math.nan
SPACE = {"learning_rate": Range(1e-4, 1.0, "log"), "b1": 0.9}  # coordinates 0, 1/4, 1/2, 3/4 and 1 are powers of ten
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def study(scores, *, places=PLACES, missing=0, too_few=False):
    """How a study went whose points, at these places of the learning rate's range, have these scores."""
    points = [Point({"learning_rate": 10 ** (4 * place - 4), "b1": 0.9}, {}) for place in places]
    scores = np.array(scores, float)
    finite = int(np.isfinite(scores).sum())
    winner = int(np.argmin(scores)) if finite and not missing else None
    needed = finite + 1 if too_few else min(finite, 3)
    return Tuning(points, scores, winner, finite, 5, missing, needed, finals=scores)


FALLING, RISING = [5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]
MIDDLE = [5.0, 3.0, 1.0, 3.0, 5.0]
LOST = replace(study([INF] * 5), winner=None, finite=0)


# --- scores of several studies ---------------------------------------------------------------------------------------


def test_centred_scores_have_the_median_of_all_in_every_study():
    """Medians of what trained are 2 and 20, and that of both together (3 + 10) / 2."""
    found = centred([np.array([1.0, 2.0, 3.0]), np.array([10.0, INF, 30.0, 20.0])])
    assert found.tolist() == [5.5, 6.5, 7.5, -3.5, INF, 16.5, 6.5]
    assert centred([np.array([0.1, 0.2])]).tolist() == [0.1, 0.2]
    assert centred([np.array([INF, INF]), np.array([4.0])]).tolist() == [INF, INF, 4.0]
    assert centred([]).size == 0


# --- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("studies", "edges"),
    [
        ([FALLING] * 4, {"learning_rate": "upper"}),
        ([RISING] * 4, {"learning_rate": "lower"}),
        ([MIDDLE] * 4, {}),
        # the trend is there in all; in half of the studies the winner is outermost, or in one of four
        ([FALLING, FALLING, [5, 4, 3, 1, 2], [5, 4, 3, 1, 2]], {"learning_rate": "upper"}),
        ([FALLING, [5, 4, 3, 1, 2], [5, 4, 3, 1, 2], [5, 4, 3, 1, 2]], {}),
        # outermost in half of the studies, on either side: no trend
        ([FALLING, FALLING, RISING, RISING], {}),
        # outermost without a trend towards that edge
        ([[2, 3, 4, 3, 1]] * 4, {}),
    ],
)
def test_a_hyperparameter_is_at_an_edge_in_half_of_the_studies_with_a_trend(studies, edges):
    assert doubts(SPACE, [study(scores) for scores in studies]).edges == edges


def test_studies_are_compared_by_their_distance_to_their_median():
    """Levels of studies differ by far more than their points: only within a study do scores tell where they fall."""
    levels = [0.0, 300.0, -200.0, 50.0]
    tunings = [study(np.array(FALLING) + level) for level in levels]
    found = doubts(SPACE, tunings)
    assert found.edges == {"learning_rate": "upper"}
    assert found[1:] == pytest.approx(doubts(SPACE, [study(FALLING)] * 4)[1:])


def test_a_study_in_which_nothing_trained_counts_against_an_edge():
    assert doubts(SPACE, [*[study(FALLING)] * 3, LOST]).edges == {"learning_rate": "upper"}
    assert doubts(SPACE, [study(FALLING), LOST, LOST, LOST]).edges == {}


def test_a_study_in_which_nothing_trained_does_not_dilute_the_trend():
    """Of five studies two are lost.

    The trend of the others is -0.7; with ten equal points more it would be less than half of that.
    """
    weak = [4.0, 3.0, 5.0, 2.0, 1.0]
    assert doubts(SPACE, [study(weak)] * 3).edges == {"learning_rate": "upper"}
    assert doubts(SPACE, [*[study(weak)] * 3, LOST, LOST]).edges == {"learning_rate": "upper"}


def test_with_one_study_doubts_are_those_of_its_tuning():
    scores = np.array(FALLING)
    alone = replace(study(FALLING), standing=scores, first=scores, space=SPACE)
    found = doubts(SPACE, [alone])
    assert found.edges == {"learning_rate": "upper"}
    assert found.gain == pytest.approx(6 / 4 - 1), "the least of three of 1 to 5 is 6/4 on average, of all 1"
    assert doubts(SPACE, [study(FALLING)]).edges == {}  # what `tune` did not say


def test_a_study_that_goes_on_does_not_count():
    going_on = study(RISING, missing=2)
    assert doubts(SPACE, [study(FALLING), study(FALLING), going_on]) == doubts(SPACE, [study(FALLING), study(FALLING)])
    nothing = doubts(SPACE, [going_on])
    assert (nothing.edges, nothing.gain, nothing.points, nothing.too_few) == ({}, 0.0, 0, False)


# --- gain ------------------------------------------------------------------------------------------------------------


def test_the_gain_is_what_twice_as_many_of_all_studies_points_find():
    """By enumeration: the mean minimum of all draws of 2 of these 6 centred scores, less that of all draws of 4."""
    lines = [[1.0, 3.0], [10.0, 10.5], [-4.0, -7.0]]
    centred = [-1.0, 1.0, -0.25, 0.25, 1.5, -1.5]
    expected = np.subtract(*(np.mean([min(each) for each in itertools.combinations(centred, k)]) for k in (2, 4)))
    found = doubts(SPACE, [study(line, places=(0.25, 0.75)) for line in lines])
    assert found.gain == pytest.approx(expected)
    assert (found.finite, found.points) == (6, 6)


def test_a_gain_is_taken_of_the_points_that_train():
    """Half of the points diverge: a study has two that train, twice as many are four."""
    lines = [[INF, 1.0, 3.0, INF], [INF, 10.0, 10.5, INF], [INF, -4.0, -7.0, INF]]
    places = (0.0, 0.25, 0.75, 1.0)
    without = [study(line[1:3], places=places[1:3]) for line in lines]
    found = doubts(SPACE, [study(line, places=places) for line in lines])
    assert found.gain == pytest.approx(doubts(SPACE, without).gain)
    assert (found.finite, found.points) == (6, 12)


def test_where_all_points_are_alike_nothing_is_gained():
    assert doubts(SPACE, [study([2.0] * 5), study([3.0] * 5)]).gain == 0.0
    assert doubts(SPACE, [study([2.0], places=(0.5,)), study([INF], places=(0.5,))]).gain == 0.0  # one that trained


@pytest.mark.parametrize(("spread", "most"), [(0.0, 1.15), (10.0, 2.4)])
def test_the_gain_is_no_less_than_what_a_doubled_budget_gains(spread, most):
    """Tuned anew with twice as many points, in a bowl whose points differ far more than noise does.

    Then studies' medians differ by the luck of their points, too: centred scores vary more than points do. If studies'
    levels differ by far more, only centred scores tell, and the gain comes out twice as large as it is.
    """
    rng = np.random.default_rng(0)

    def tuned(count):
        places = rng.random(count)
        scores = 40 * (places - 0.5) ** 2 + 0.02 * rng.normal(size=count) + spread * rng.normal()
        return study(scores, places=places)

    said = [doubts(SPACE, [tuned(4) for _ in range(10)]).gain for _ in range(200)]
    spread = 0.0
    best = [np.mean([tuned(count).scores.min() for _ in range(4000)]) for count in (4, 8)]
    assert 0.9 < np.mean(said) / (best[0] - best[1]) < most


# --- beyond an edge --------------------------------------------------------------------------------------------------


def test_what_lies_beyond_is_told_by_what_nearing_the_edge_gained():
    """Near the upper edge are 2 and 1, farther off 5, 4 and the middle's 3: the best of two of each, twice."""
    tunings = [study(FALLING), study(np.array(FALLING) + 7.0)]
    far = np.array([5, 4, 3, 5, 4, 3], float) - 3
    near = np.array([2, 1, 2, 1], float) - 3
    best = [np.mean([min(each) for each in itertools.combinations(line, 2)]) for line in (far, near)]
    assert doubts(SPACE, tunings).beyond == pytest.approx(best[0] - best[1])


def test_without_an_edge_nothing_lies_beyond():
    assert doubts(SPACE, [study(MIDDLE)] * 4).beyond == 0.0


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_where_only_one_half_trained_nothing_tells_what_lies_beyond(side):
    line = [INF, INF, INF, 2.0, 1.0] if side == "upper" else [1.0, 2.0, INF, INF, INF]
    found = doubts(SPACE, [study(line)] * 4)
    assert found.edges == {"learning_rate": side} and found.beyond == INF


# --- too few points --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lacking", "too_few"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_too_few_points_are_too_few_in_more_than_half_of_the_studies(lacking, too_few):
    tunings = [study(MIDDLE, too_few=number < lacking) for number in range(4)]
    assert doubts(SPACE, tunings).too_few == too_few


def test_the_doubts_of_a_run_are_those_of_its_tunings_on_the_space_as_it_is():
    plan = make_plan(["x"], points=5, tuning_seeds=1, seeds=2)
    points = plan.contenders[0].points
    contenders = [replace(plan.contenders[0], further=(points, points))]
    plan = replace(plan, contenders=contenders, tuner=replace(plan.tuner, studies=3))

    def train(problem, contender, trial):
        place = [each.hyperparameters for each in points].index(trial.hyperparameters)
        end = [3.0, 2.0, 1.0, 0.5, 0.1][place] + trial.seed / 1000
        return synthetic_outcome(problem, plan, trial, [9.0] * plan.evaluations + [end])

    history = play(plan, train)
    found = doubts_of(history, plan.problems[0], plan.contenders[0])
    assert found.edges == {"learning_rate": "upper"} and found.points == 15
    result = make_result(history, plan.problems[0], plan.contenders[0], ())
    assert result.doubts == found and result.flags[0] == "learning_rate at the upper edge of its space (1)"


# --- how often sound tuning is doubted -------------------------------------------------------------------------------


def alarms(repeats, *, dimensions, curvature, points=4, studies=10, draw=halton_points):
    """How often each flag is raised where the optimum is in the middle of every range.

    A score is a bowl over the places in [-1, 1] and noise of one standard deviation; a block is the mean of two such
    scores of the winner on fresh seeds, and what its winner is behind the optimum.
    """
    rng = np.random.default_rng([dimensions, int(10 * curvature), points, studies])
    space = {f"x{d}": Range(0.0, 1.0, "linear") for d in range(dimensions)}
    counts = {"edge": 0, "too few": 0, "still falling": 0}
    for repeat in range(repeats):
        tunings, blocks = [], []
        for number in range(studies):
            drawn = draw(space, {}, points, seed=repeat * studies + number)
            places = np.array([list(point.hyperparameters.values()) for point in drawn])
            bowl = curvature * ((2 * places - 1) ** 2).sum(axis=1)
            scores = bowl + rng.normal(size=points)
            winner = int(np.argmin(scores))
            tunings.append(Tuning(drawn, scores, winner, points, points, 0, finals=scores))
            blocks.append(bowl[winner] + rng.normal(size=2).mean())
        found = doubts(space, tunings)
        counts["edge"] += bool(found.edges)
        counts["too few"] += found.too_few
        counts["still falling"] += bool(found.gain > np.std(blocks, ddof=1))
    return {name: count / repeats for name, count in counts.items()}


def share_at_edge(studies, points, curve, *, repeats=300):
    """How often an edge is seen: scores are a curve over the range and noise of 1; points are evenly spread."""
    rng = np.random.default_rng([studies, points])
    seen = 0
    for _ in range(repeats):
        places = (np.arange(points) / points + rng.random((studies, 1))) % 1
        scores = curve(places) + rng.normal(size=places.shape)
        tunings = [study(line, places=where) for line, where in zip(scores, places, strict=True)]
        seen += bool(doubts(SPACE, tunings).edges)
    return seen / repeats


@pytest.mark.parametrize(
    ("studies", "points"), [(2, 2), (4, 2), (10, 2), (2, 3), (3, 3), (2, 4), (3, 4), (4, 4), (10, 4)]
)
def test_a_range_that_does_nothing_is_seldom_flagged(studies, points):
    assert share_at_edge(studies, points, np.zeros_like) <= 0.03


@pytest.mark.parametrize(("studies", "points", "least"), [(10, 2, 0.95), (3, 3, 0.6), (3, 4, 0.9), (10, 4, 0.95)])
def test_an_optimum_one_range_width_outside_is_seen(studies, points, least):
    assert share_at_edge(studies, points, lambda places: (2 * places - 4) ** 2) >= least


@pytest.mark.long
@pytest.mark.parametrize("draw", [halton_points, random_points])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_tuning_whose_optimum_is_in_the_middle_is_seldom_flagged(dimensions, draw):
    found = alarms(60, dimensions=dimensions, curvature=1.0, draw=draw)
    assert found["edge"] <= 0.05 and found["too few"] == 0
    assert found["still falling"] <= 0.15


def test_studies_are_centred_on_numpys_medians() -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=size) for size in (1, 2, 7, 20)]
    values[2][:3], values[3][0] = INF, INF
    middle = [np.median(each[np.isfinite(each)]) for each in (*values, np.concatenate(values))]
    expected = np.concatenate([each - own for each, own in zip(values, middle, strict=False)]) + middle[-1]
    assert centred(values).tolist() == expected.tolist()
    assert centred([np.array([INF, INF]), np.array([2.0])]).tolist() == [INF, INF, 2.0]
