"""Every function with empty, NaN and senseless input; what an import costs."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench import stats
from dlkit.bench.stats import (
    confidence_sequence,
    evidence,
    expected_best,
    friedman,
    holm,
    iqm,
    kaplan_meier,
    log_rank,
    median_interval,
    nested_mean,
    optimality_gap,
    paired_difference,
    paired_effects,
    paired_ratio,
    performance_profile,
    probability_of_improvement,
    profile_bands,
    rank_bootstrap,
    rank_correlation,
    restricted_mean,
    sensitivity,
    settle,
    stratified_bootstrap,
    target_ecdf,
    target_ranking,
    times_to_targets,
    tuning_bands,
    tuning_leaders,
    wilcoxon,
    wilson_interval,
)

samples = st.lists(st.integers(-50, 50) | st.just(math.inf), min_size=1, max_size=25)


ON_SAMPLES = {
    "median_interval": median_interval,
    "paired_difference x": lambda values: paired_difference(values, [0.0] * len(values)),
    "paired_difference y": lambda values: paired_difference([0.0] * len(values), values),
    "holm": holm,
    "expected_best": lambda values: expected_best(values, 1),
    "rank_correlation": lambda values: rank_correlation(values, values),
}


@pytest.mark.parametrize("function", ON_SAMPLES.values(), ids=ON_SAMPLES.keys())
def test_empty_matrix_and_nan_are_refused_with_advice(function):
    with pytest.raises(ValueError, match="must be a vector of at least one number"):
        function([])
    with pytest.raises(ValueError, match=r"must be a vector .* got shape \(2, 2\)|paired"):
        function([[1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"has NaN at \[1\]; encode a diverged"):
        function([0.5, math.nan])


@pytest.mark.parametrize("function", [paired_difference, rank_correlation])
def test_unpaired_samples_are_refused(function):
    with pytest.raises(ValueError, match=r"x and y must be paired, got \[3, 2\] numbers"):
        function([1, 2, 3], [1, 2])


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.5, math.nan])
def test_levels_that_are_none_are_refused(level):
    for call in (
        lambda: wilson_interval(1, 2, level=level),
        lambda: median_interval([1.0], level=level),
        lambda: paired_difference([1.0], [2.0], level=level),
    ):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            call()


@given(samples)
@settings(deadline=None)
def test_results_are_plain_numbers_and_inputs_are_left_alone(values):
    array = np.array(values, dtype=float)
    results = [*median_interval(array), *paired_difference(array, np.zeros(array.size)), expected_best(array, 1)]
    assert {type(value) for value in results} <= {float, int}
    assert array.tolist() == values


def test_importing_stats_loads_neither_scipy_nor_jax():
    program = (
        "import sys, dlkit.bench.stats;assert not {'jax', 'scipy', 'pandas'} & set(sys.modules), 'imported too much'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


VECTORS = {
    "keeps_order": stats.keeps_order,
    "wilcoxon": lambda v: wilcoxon(v, v),
    "paired_effects": lambda v: paired_effects(v, v, resamples=9, seed=0),
    "paired_ratio": lambda v: paired_ratio(v, v, resamples=9, seed=0),
    "kaplan_meier": lambda v: kaplan_meier(v, [True] * len(v)),
    "log_rank": lambda v: log_rank(v, [True] * len(v), range(len(v))),
    "restricted_mean": lambda v: restricted_mean(v, [True] * len(v), 1.0),
    "tuning_bands": tuning_bands,
    "tuning_leaders": lambda v: tuning_leaders([v], [1]),
    "sensitivity": lambda v: sensitivity([1.0] * len(v), v),
    "evidence": evidence,
    "confidence_sequence": lambda v: confidence_sequence(v, v),
    "iqm": iqm,
    "optimality_gap": lambda v: optimality_gap(v, threshold=0.0),
    "probability_of_improvement": lambda v: probability_of_improvement(v, [1.0]),
    "probability_of_improvement y": lambda v: probability_of_improvement([1.0], v),
}
ARRAYS = {
    "family_p_values": (stats.family_p_values, 2),
    "least_difference": (lambda a: stats.least_difference(a, (0, 1), 8), 2),
    "stratified_bootstrap": (lambda a: stratified_bootstrap(a, iqm, resamples=9, seed=0), 2),
    "friedman": (friedman, 2),
    "nested_mean": (nested_mean, 2),
    "crossed_difference": (stats.crossed_difference, 2),
    "settle": (settle, 2),
    "rank_bootstrap": (lambda a: rank_bootstrap(a, resamples=9, seed=0), 3),
    "target_ranking": (lambda a: target_ranking(a, [1.0]), 4),
    "target_ecdf, targets": (lambda a: target_ecdf([[[1.0], [2.0]]], a, budget=1, resamples=9, seed=0), 2),
}
MISSED_IF_NAN = {
    "performance_profile": (performance_profile, 2),
    "profile_bands": (lambda a: profile_bands(a, resamples=9, seed=0), 3),
    "times_to_targets": (lambda a: times_to_targets(a, [[1.0]] * np.shape(a)[1], budget=1), 3),
}


@pytest.mark.parametrize("function", VECTORS.values(), ids=VECTORS.keys())
def test_vectors_are_refused_if_empty_or_with_nan(function):
    with pytest.raises(ValueError, match=r"at least one number|empty"):
        function([])
    with pytest.raises(ValueError, match="has NaN"):
        function([0.5, math.nan])


@pytest.mark.parametrize(("function", "axes"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_are_refused_if_empty_flat_or_with_nan(function, axes):
    for wrong in (np.ones((0, *[2] * (axes - 1))), np.ones(3), np.ones([2] * (axes + 1))):
        with pytest.raises(ValueError, match=r"must be an array \[.*\] without an empty axis, got shape"):
            function(wrong)
    with pytest.raises(ValueError, match="has NaN in 1 places"):
        function(np.where(np.arange(2**axes).reshape([2] * axes) == 1, np.nan, 1.0))


@pytest.mark.parametrize(("function", "axes"), MISSED_IF_NAN.values(), ids=MISSED_IF_NAN.keys())
def test_where_nan_is_a_missed_target(function, axes):
    with pytest.raises(ValueError, match=r"must be an array \[.*\] without an empty axis"):
        function(np.ones((0, *[2] * (axes - 1))))
    shape = [2] * axes
    holes = np.arange(2**axes).reshape(shape) % 3 == 0
    results = [function(np.where(holes, hole, 1.0)) for hole in (math.nan, math.inf)]
    for nan, inf in zip(*([each] if isinstance(each, np.ndarray) else each for each in results), strict=True):
        assert str(nan) == str(inf)


LEVELS = {
    "fewest_blocks": stats.fewest_blocks,
    "keeps_order": lambda level: stats.keeps_order([1.0], level=level),
    "least_blocks": lambda level: stats.least_blocks([[1.0, 2.0], [3.0, 5.0]], (0, 1), 1.0, level=level),
    "paired_effects": lambda level: paired_effects([1.0], [2.0], level=level, resamples=9, seed=0),
    "stratified_bootstrap": lambda level: stratified_bootstrap([[1.0]], iqm, level=level, resamples=9, seed=0),
    "probability_of_improvement": lambda level: probability_of_improvement([1.0], [2.0], level=level),
    "kaplan_meier": lambda level: kaplan_meier([1.0], [True], level=level),
    "restricted_mean": lambda level: restricted_mean([1.0, 2.0], [True, True], 1.0, level=level),
    "profile_bands": lambda level: profile_bands([[[1.0]]], level=level, resamples=9, seed=0),
    "rank_bootstrap": lambda level: rank_bootstrap([[[1.0]]], level=level, resamples=9, seed=0),
    "target_ecdf": lambda level: target_ecdf([[[1.0]]], [[1.0]], budget=1, level=level, resamples=9, seed=0),
    "tuning_bands": lambda level: tuning_bands([1.0], level=level),
    "nested_mean": lambda level: nested_mean([[1.0]], level=level),
    "crossed_difference": lambda level: stats.crossed_difference([[1.0]], level=level),
    "settle": lambda level: settle([[1.0], [2.0]], level=level),
    "confidence_sequence": lambda level: confidence_sequence([1.0], [2.0], level=level),
    "nemenyi_distance": lambda level: stats.nemenyi_distance(3, 3, level),
}


@pytest.mark.parametrize("function", LEVELS.values(), ids=LEVELS.keys())
def test_every_level_is_checked(function):
    for level in (0.0, 1.0, 95, math.nan):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            function(level)


def test_inputs_are_left_alone():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 25.0)).reshape(2, 3, 4)
    before = scores.copy()
    stratified_bootstrap(scores[0], iqm, resamples=9, seed=0)
    rank_bootstrap(scores, resamples=9, seed=0)
    profile_bands(scores, resamples=9, seed=0)
    paired_effects(scores[0, 0], scores[0, 1], resamples=9, seed=0)
    times_to_targets(scores, np.ones((3, 1)), budget=4)
    settle(scores[0])
    assert (scores == before).all()
