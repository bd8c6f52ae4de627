"""Early stopping's look at the evaluations of calls: by hand, cut into calls as one likes, and side by side."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench.training import stopping
from dlkit.early_stopping import early_stopping

METRIC = [3.0, 2.0, 2.5, 1.0, 1.5, 1.25, 0.5, 0.25]  # with a patience of 2, the sixth ends it: the fourth is the best
FUNCTIONS = early_stopping(patience=2)


def followed(cuts: Sequence[int]) -> tuple[float, int, list[bool]]:
    """The best parameters and evaluation, and which evaluations are void, if calls end at these evaluations."""
    seen = stopping.begin_stopping(FUNCTIONS, jnp.float32(-1.0), None)
    void: list[bool] = []
    for begin, end in zip([0, *cuts], [*cuts, len(METRIC)], strict=True):
        params = jnp.arange(begin, end, dtype=jnp.float32)
        seen, ended = stopping.follow(FUNCTIONS, seen, METRIC[begin:end], params, None)
        void += ended.tolist()
    assert seen.best_params is not None
    return float(seen.best_params[0]), int(seen.best_evaluation), void


@pytest.mark.parametrize("cuts", [[], [4], [1, 2, 3, 4, 5, 6, 7], [6], [5, 7]])
def test_what_comes_after_the_end_is_void_and_the_best_is_kept(cuts: list[int]) -> None:
    assert followed(cuts) == (3.0, 3, [False] * 6 + [True] * 2)


def test_before_any_improvement_the_best_is_where_the_trial_began() -> None:
    seen = stopping.begin_stopping(FUNCTIONS, jnp.float32(-1.0), None)
    seen, void = stopping.follow(FUNCTIONS, seen, [math.nan] * 3, jnp.arange(3.0), None)
    assert (float(seen.best_params[0]), int(seen.best_evaluation)) == (-1.0, -1)
    assert void.tolist() == [False, False, True]


def test_lanes_end_each_by_itself() -> None:
    metrics = jnp.array([METRIC, METRIC[::-1]])
    params = jnp.stack([jnp.arange(8.0)] * 2)
    seen = jax.vmap(lambda params: stopping.begin_stopping(FUNCTIONS, params, None))(jnp.zeros(2))
    seen, void = jax.vmap(lambda seen, metric, params: stopping.follow(FUNCTIONS, seen, list(metric), params, None))(
        seen, metrics, params
    )
    np.testing.assert_array_equal(void.sum(axis=1), [2, 5])  # the second rises from its start on
    assert seen.best_params[0].tolist() == [3.0, 0.0]
