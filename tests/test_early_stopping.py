"""Early stopping against a plain Python loop, by hand, and under jit, vmap, scan and while_loop."""

import inspect
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.early_stopping import EarlyStoppingFunctions, EarlyStoppingState, early_stopping


class Outcome(NamedTuple):
    """What a run ends with."""

    best: float
    best_params: float
    best_evaluation: int
    evaluations: int
    stale: int
    stopped: bool


def reference(
    metrics: list[float], *, patience: int, min_delta: float = 0.0, higher_is_better: bool = False
) -> list[Outcome]:
    """The outcome after every evaluation, as a loop with a break. Evaluation i has the parameters i."""
    best, best_params, best_evaluation, stale = (-math.inf if higher_is_better else math.inf), -1.0, -1, 0
    outcomes: list[Outcome] = []
    for evaluation, metric in enumerate(metrics):
        if higher_is_better:
            improved = metric > np.float32(best + np.float32(min_delta))
        else:
            improved = metric < np.float32(best - np.float32(min_delta))
        if improved:
            best, best_params, best_evaluation, stale = metric, float(evaluation), evaluation, 0
        else:
            stale += 1
        outcomes.append(Outcome(best, best_params, best_evaluation, evaluation + 1, stale, stale >= patience))
        if stale >= patience:
            break
    return outcomes + [outcomes[-1]] * (len(metrics) - len(outcomes))


def outcome(state: EarlyStoppingState) -> Outcome:
    return Outcome(
        float(state.best),
        float(state.best_params),
        int(state.best_evaluation),
        int(state.evaluations),
        int(state.stale),
        bool(state.stopped),
    )


def run(stopping: EarlyStoppingFunctions, metrics: list[float]) -> list[Outcome]:
    """The outcome after every evaluation, one call at a time."""
    state, outcomes = stopping.init(jnp.array(-1.0)), []
    for evaluation, metric in enumerate(metrics):
        state = stopping.update(state, metric, jnp.array(float(evaluation)))
        outcomes.append(outcome(state))
    return outcomes


@jax.jit
def scanned(metrics: jax.Array, patience: jax.Array, min_delta: jax.Array) -> EarlyStoppingState:
    """All states of a run as a scan."""
    init, update = early_stopping(patience=patience, min_delta=min_delta)

    def step(state: EarlyStoppingState, inputs: tuple[jax.Array, jax.Array]) -> tuple[EarlyStoppingState, Any]:
        state = update(state, *inputs)
        return state, state

    return jax.lax.scan(step, init(jnp.array(-1.0)), (metrics, jnp.arange(float(metrics.size))))[1]


def outcomes_of(states: EarlyStoppingState) -> list[Outcome]:
    count = len(states.best)
    return [outcome(jax.tree.map(lambda leaf, i=i: leaf[i], states)) for i in range(count)]


METRICS = st.lists(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.0, math.nan, math.inf, -math.inf]), min_size=8, max_size=8
)
PATIENCE, DELTA = st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.3])


@pytest.mark.long
@given(METRICS, PATIENCE, DELTA)
def test_a_scan_equals_a_loop_with_a_break(metrics: list[float], patience: int, min_delta: float) -> None:
    states = scanned(jnp.array(metrics), jnp.array(patience), jnp.array(min_delta))
    assert outcomes_of(states) == reference(metrics, patience=patience, min_delta=min_delta)


@given(METRICS, PATIENCE, DELTA, st.booleans())
def test_one_call_at_a_time_equals_it_too(
    metrics: list[float], patience: int, min_delta: float, higher_is_better: bool
) -> None:
    settings = {"patience": patience, "min_delta": min_delta, "higher_is_better": higher_is_better}
    assert run(early_stopping(**settings), metrics[:4]) == reference(metrics[:4], **settings)


@pytest.mark.long
@given(METRICS, PATIENCE)
def test_maximising_mirrors_minimising(metrics: list[float], patience: int) -> None:
    mirrored = [-metric for metric in metrics[:4]]
    lowest = run(early_stopping(patience=patience, min_delta=0.25), metrics[:4])
    highest = run(early_stopping(patience=patience, min_delta=0.25, higher_is_better=True), mirrored)
    assert [each._replace(best=-each.best) for each in highest] == lowest


@pytest.mark.long
@given(st.lists(METRICS, min_size=3, max_size=3), st.lists(PATIENCE, min_size=3, max_size=3))
def test_lanes_of_a_vmap_stop_one_by_one(metrics: list[list[float]], patience: list[int]) -> None:
    lanes = jax.vmap(scanned)(jnp.array(metrics), jnp.array(patience), jnp.zeros(3))
    for lane in range(3):
        states = jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)
        assert outcomes_of(states) == reference(metrics[lane], patience=patience[lane])


def test_by_hand() -> None:
    outcomes = run(early_stopping(patience=2), [3.0, 1.0, 2.0, 1.0, 0.5])
    assert [each.best for each in outcomes] == [3.0, 1.0, 1.0, 1.0, 1.0]
    assert [each.stale for each in outcomes] == [0, 0, 1, 2, 2]
    assert [each.stopped for each in outcomes] == [False, False, False, True, True]
    # The better metric after the stop changes nothing any more.
    assert outcomes[3] == outcomes[4] == Outcome(1.0, 1.0, 1, 4, 2, True)


def test_patience_counts_evaluations_in_a_row() -> None:
    metrics = [1.0, 2.0, 0.9, 2.0, 2.0, 0.8, 2.0, 2.0, 2.0]
    assert [each.stopped for each in run(early_stopping(patience=3), metrics)] == [False] * 8 + [True]
    assert run(early_stopping(patience=1), metrics)[1].stopped


def test_an_improvement_must_exceed_min_delta() -> None:
    # 0.5 better is not more than 0.5 better; the best stays where it was, so small steps add up.
    outcomes = run(early_stopping(patience=10, min_delta=0.5), [2.0, 1.5, 1.25, 1.0])
    assert [each.best for each in outcomes] == [2.0, 2.0, 1.25, 1.25]
    outcomes = run(early_stopping(patience=10, min_delta=0.5, higher_is_better=True), [0.0, 0.5, 0.75])
    assert [each.best_evaluation for each in outcomes] == [0, 0, 2]


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_a_run_that_diverges_from_the_start_keeps_its_first_parameters(worst: float) -> None:
    outcomes = run(early_stopping(patience=3), [worst] * 3)
    assert outcomes[-1] == Outcome(math.inf, -1.0, -1, 3, 3, True)
    highest = run(early_stopping(patience=3, higher_is_better=True), [-worst] * 3)
    assert highest[-1] == Outcome(-math.inf, -1.0, -1, 3, 3, True)


def test_a_nan_is_no_improvement_and_does_not_hide_later_ones() -> None:
    outcomes = run(early_stopping(patience=3), [1.0, math.nan, 0.5, math.nan])
    assert [each.best for each in outcomes] == [1.0, 1.0, 0.5, 0.5]
    assert [each.stale for each in outcomes] == [0, 1, 0, 1]


# ── Parameters ──

PARAMS = {"kernel": jnp.ones((2, 3), jnp.bfloat16), "parts": [jnp.arange(3), {"flag": jnp.array(True)}]}


def test_the_best_parameters_are_kept_in_structure_dtype_and_bits() -> None:
    init, update = early_stopping(patience=5)
    state, history = init(PARAMS), []
    for evaluation, metric in enumerate([3.0, 1.0, 2.0]):
        history.append(jax.tree.map(lambda leaf, n=evaluation: jnp.roll(leaf, n) + leaf.astype(leaf.dtype), PARAMS))
        state = jax.jit(update)(state, metric, history[-1])
    chex.assert_trees_all_equal(state.best_params, history[1])
    chex.assert_trees_all_equal_dtypes(state.best_params, PARAMS)


def test_a_training_step_may_donate_the_parameters_given_to_init() -> None:
    init, _ = early_stopping(patience=1)
    params = {"kernel": jnp.arange(4.0)}
    state = init(params)
    jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)(params)
    assert state.best_params["kernel"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_without_restoring_no_parameters_are_kept_or_looked_at() -> None:
    init, update = early_stopping(patience=1, restore_best=False)
    state = update(update(init(PARAMS), 1.0, None), 2.0, {"other": jnp.ones(1)})
    assert state.best_params is None and state.stopped and state.best == 1.0
    assert len(jax.tree.leaves(state)) == 5


# ── In loops ──


def test_the_condition_of_a_while_loop() -> None:
    # Gradient descent on (w - 3)^2 / 2 with the rate 0.5: the error halves, until halving it is no longer worth 0.01.
    init, update = early_stopping(patience=2, min_delta=0.01)

    def train(w: jax.Array) -> tuple[jax.Array, EarlyStoppingState]:
        def step(carry: tuple[jax.Array, EarlyStoppingState]) -> tuple[jax.Array, EarlyStoppingState]:
            w, stopping = carry
            w = w - 0.5 * (w - 3.0)
            return w, update(stopping, 0.5 * (w - 3.0) ** 2, w)

        return jax.lax.while_loop(lambda carry: ~carry[1].stopped, step, (w, init(w)))

    _, single = jax.jit(train)(jnp.array(1.0))
    # The losses are 2 / 4^n: 0.5, 0.125, 0.03125, 0.0078, ...; the one after 0.0078 gains less than 0.01, and so on.
    assert outcome(single) == Outcome(2 / 4**4, 3 - 2 / 2**4, 3, 6, 2, True)
    _, lanes = jax.jit(jax.vmap(train))(jnp.array([1.0, 3.0, 100.0]))
    assert lanes.stopped.all() and lanes.evaluations.tolist() == [6, 3, 12]
    assert jax.tree.map(lambda leaf: leaf[0], lanes) == single


def test_settings_may_be_traced_and_nothing_is_compiled_twice() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def stopped(patience: jax.Array, min_delta: jax.Array) -> jax.Array:
        init, update = early_stopping(patience=patience, min_delta=min_delta)
        state = init(jnp.zeros(()))
        for metric in (1.0, 0.9, 0.8):
            state = update(state, metric, jnp.zeros(()))
        return state.stopped

    assert [
        bool(stopped(jnp.array(patience), jnp.array(delta))) for patience, delta in ((2, 0.5), (3, 0.5), (2, 0.0))
    ] == [
        True,
        False,
        False,
    ]


def test_the_metric_may_be_of_any_dtype() -> None:
    init, update = early_stopping(patience=2, higher_is_better=True)
    state = init(jnp.zeros(()))
    for metric in (1, 2.5, jnp.float16(3.0), jnp.bfloat16(4.0)):
        state = update(state, metric, jnp.zeros(()))
    assert state.best == 4.0 and state.best.dtype == jnp.float32


# ── Refusals ──


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 0}, "expected patience at least 1, got 0"),
        ({"patience": -3}, "expected patience at least 1, got -3"),
        ({"patience": 1, "min_delta": -0.1}, "expected min_delta at least 0, got -0.1"),
        ({"patience": 1, "min_delta": math.nan}, "expected min_delta at least 0, got nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^early_stopping: {message}"):
        early_stopping(**settings)


def test_a_metric_per_example_is_refused() -> None:
    init, update = early_stopping(patience=1)
    state = init(jnp.zeros(()))
    with pytest.raises(ValueError, match=r"^early_stopping: expected a scalar metric, got float32\[3\]; take its mean"):
        inspect.unwrap(update)(state, jnp.ones(3), jnp.zeros(()))


@pytest.mark.parametrize(
    "params",
    [{"w": jnp.ones(3)}, {"w": jnp.ones(2, jnp.bfloat16)}, {"v": jnp.ones(2)}, [jnp.ones(2)]],
    ids=["shape", "dtype", "name", "structure"],
)
def test_other_parameters_than_those_given_to_init_are_refused(params: Any) -> None:
    init, update = early_stopping(patience=1)
    message = (
        r"^early_stopping: expected parameters of the structure, shapes and dtypes given to init, \{'w': 'float32\[2"
    )
    with pytest.raises(ValueError, match=message):
        update(init({"w": jnp.ones(2)}), 1.0, params)
