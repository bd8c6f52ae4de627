"""Sequences in pieces: what a layer makes of them is what it makes of the whole, whatever the pieces."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers, models
from dlkit.layers import Layer

TIME, FEATURES, BATCH = 6, 8, (3,)
X = np.random.default_rng(0).normal(size=(*BATCH, TIME, FEATURES))
CONTEXT = np.random.default_rng(1).normal(size=(*BATCH, 4, 5))
TOKENS = np.random.default_rng(2).integers(0, 11, (*BATCH, TIME)).astype(np.int32)
LENGTHS = np.array([6, 2, 4], np.int32)
rotary = partial(layers.rotary, base=100.0)

MAKE: dict[str, Callable[[], Layer]] = {
    "attention": lambda: layers.multi_head_attention(4, causal=True),
    "grouped": lambda: layers.multi_head_attention(4, kv_heads=2, causal=True, rotation=rotary),
    "one_for_all": lambda: layers.multi_head_attention(4, kv_heads=1, causal=True, position_bias=layers.alibi(4)),
    "relative": lambda: layers.multi_head_attention(
        2, causal=True, position_bias=layers.relative_positions(2, buckets=4, max_distance=4, bidirectional=False)
    ),
    "learned": lambda: layers.learned_positions(max_length=TIME),
    "waves": lambda: layers.sinusoidal_positions(),
    "rotated": lambda: layers.serial(layers.dense(4), rotary),
    "rnn": lambda: layers.rnn(3),
    "gru": lambda: layers.gru(3, depth=2),
    "lstm": lambda: layers.serial(layers.dense(4), layers.lstm(3), layers.layer_norm()),
    "block": lambda: layers.transformer_block(2, causal=True, normalization="rms", activation="swiglu"),
    "post_norm": lambda: layers.transformer_block(2, causal=True, pre_norm=False),
    "repeated": lambda: layers.repeat(layers.remat(layers.transformer_block(2, causal=True, rotation=rotary)), 3),
    "ensemble": lambda: layers.ensemble(layers.gru(3), 2),
    "statistics": lambda: layers.serial(layers.batch_norm(), layers.residual(layers.gru(FEATURES))),
    "graph": lambda: layers.graph(
        lambda inside, x: inside.first(x) + inside.second(x),
        first=layers.gru(3),
        second=layers.multi_head_attention(2, features=3, head_features=2, causal=True),
    ),
}


def filled(layer: Layer, *shape: Any, **side: Any) -> tuple[Any, Any]:
    """Parameters of which none is 0, in float64, and the state."""
    params, state = layer.init(jax.random.key(0), *shape, **side)
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.5, leaf.shape)), params), jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64), state
    )


def in_pieces(layer: Layer, params: Any, state: Any, x: Any, sizes: tuple[int, ...], **first: Any) -> jax.Array:
    """The outputs of pieces of these sizes; side inputs go with the first one alone."""
    apply = jax.jit(layer.apply)
    outputs, at = [], 0
    for size in sizes:
        y, state = apply(params, state, x[:, at : at + size], **first)
        outputs.append(y)
        at, first = at + size, {}
    return jnp.concatenate(outputs, axis=1)


@pytest.mark.parametrize("name", MAKE)
def test_pieces_give_what_the_whole_gives(name: str) -> None:
    with jax.enable_x64(True):
        layer, x = MAKE[name](), jnp.asarray(X)
        params, trained = filled(layer, (TIME, FEATURES))
        expected, _ = layer.apply(params, trained, x)
        pieces = layers.stepwise(layer, batch_shape=BATCH, max_length=TIME, dtype=jnp.float64)
        assert jax.tree.map(jnp.shape, pieces.init(jax.random.key(0), (1, FEATURES))[0]) == jax.tree.map(
            jnp.shape, params
        )
        state = layers.initial_state(pieces, (1, FEATURES), state=trained)
        for sizes in ((1,) * TIME, (3, 1, 2)):
            np.testing.assert_allclose(
                in_pieces(pieces, params, state, x, sizes), expected, rtol=1e-9, atol=1e-9, err_msg=str(sizes)
            )


@pytest.mark.long
@pytest.mark.parametrize("name", ["grouped", "learned", "waves", "rotated", "gru", "block", "repeated", "statistics"])
def test_a_piece_of_unequal_lengths_goes_on_where_each_sequence_ends(name: str) -> None:
    """Prompts are padded at their ends; what stands there matters to nothing, not even NaN."""
    with jax.enable_x64(True):
        layer = MAKE[name]()
        params, trained = filled(layer, (TIME, FEATURES))
        pieces = layers.stepwise(layer, batch_shape=BATCH, max_length=TIME + 1, dtype=jnp.float64)
        if name == "learned":
            params = {"embedding": jnp.asarray(np.random.default_rng(4).normal(size=(TIME + 1, FEATURES)))}
        state = layers.initial_state(pieces, (1, FEATURES), state=trained)
        prompt = np.where((np.arange(TIME) < LENGTHS[:, None])[..., None], X, np.nan)
        last = np.random.default_rng(5).normal(size=(*BATCH, 1, FEATURES))
        takes = {"lengths": jnp.asarray(LENGTHS)} if "lengths" in pieces.side_inputs else {}
        begun, state = pieces.apply(params, state, jnp.asarray(prompt), **takes)
        ended, _ = pieces.apply(params, state, jnp.asarray(last))
        for row, length in enumerate(LENGTHS):
            whole = np.concatenate([X[row, :length], last[row]])[None]
            expected, _ = layer.apply(params, trained, jnp.asarray(whole))
            np.testing.assert_allclose(begun[row, :length], expected[0, :length], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(ended[row, 0], expected[0, length], rtol=1e-9, atol=1e-9)


@pytest.mark.long
def test_a_context_is_given_once() -> None:
    with jax.enable_x64(True):
        layer = layers.transformer_block(2, kv_heads=1, context_features=5, causal=True)
        params, _ = filled(layer, (TIME, FEATURES), context=(4, 5))
        given = {"context": jnp.asarray(CONTEXT), "context_lengths": jnp.array([4, 0, 2])}
        expected, _ = layer.apply(params, {}, jnp.asarray(X), **given)
        pieces = layers.stepwise(layer, batch_shape=BATCH, max_length=TIME, context_length=7, dtype=jnp.float64)
        state = layers.initial_state(pieces, (1, FEATURES), context=(4, 5))
        actual = in_pieces(pieces, params, state, jnp.asarray(X), (2, 1, 1, 2), **given)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
        with pytest.raises(ValueError, match="context of at most 7 positions, got 8"):
            pieces.apply(params, state, jnp.asarray(X[:, :1]), context=jnp.zeros((3, 8, 5)))


@pytest.mark.parametrize(
    "model",
    [
        models.transformer_language_model(vocabulary=11, features=8, heads=2, depth=2, tied=True),
        models.recurrent_language_model("lstm", vocabulary=11, features=4, depth=2, hidden=(5,), tied=False),
    ],
    ids=["transformer", "lstm"],
)
def test_language_models_decode_what_they_predict(model: Layer) -> None:
    with jax.enable_x64(True):
        params, trained = filled(model, (TIME,))
        expected, _ = model.apply(params, trained, jnp.asarray(TOKENS))
        pieces = layers.stepwise(model, batch_shape=BATCH, max_length=TIME, dtype=jnp.float64)
        state = layers.initial_state(pieces, (1,), state=trained)

        def step(state: Any, token: jax.Array) -> Any:
            logits, state = pieces.apply(params, state, token[:, None])
            return state, logits[:, 0]

        _, logits = jax.jit(lambda state, tokens: jax.lax.scan(step, state, tokens))(state, jnp.asarray(TOKENS).T)
        np.testing.assert_allclose(jnp.moveaxis(logits, 0, 1), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.long
def test_a_step_reads_one_position() -> None:
    """Its products grow with the features, not with the steps before: but for the look at the keys."""
    layer = layers.transformer_block(2, causal=True)
    params, _ = layer.init(jax.random.key(0), (TIME, 64))

    def flops(function: Callable[..., Any], *arguments: Any) -> float:
        cost = jax.jit(function).lower(*arguments).compile().cost_analysis()
        return float((cost[0] if isinstance(cost, list) else cost)["flops"])

    pieces = layers.stepwise(layer, max_length=256)
    state = layers.initial_state(pieces, (1, 64))
    one = flops(lambda state, x: pieces.apply(params, state, x), state, jnp.zeros((1, 64)))
    whole = flops(lambda x: layer.apply(params, {}, x), jnp.zeros((256, 64)))
    assert one < 1.5 * whole / 256


def test_a_cache_may_have_half_the_bits() -> None:
    layer = layers.multi_head_attention(2, causal=True)
    params, _ = layer.init(jax.random.key(0), (TIME, FEATURES))
    pieces = layers.stepwise(layer, batch_shape=BATCH, max_length=TIME, dtype=jnp.bfloat16)
    state = layers.initial_state(pieces, (1, FEATURES))
    x = jnp.asarray(X, jnp.float32)
    assert state["steps"]["keys"].dtype == jnp.bfloat16
    expected, _ = layer.apply(params, {}, x)
    # Keys and values have 8 bits each: an output errs by a few of their last places.
    assert jnp.abs(in_pieces(pieces, params, state, x, (1,) * TIME) - expected).max() < 0.05


def test_too_many_steps_are_refused_and_under_jit_nan() -> None:
    layer = layers.stepwise(layers.multi_head_attention(2, causal=True), batch_shape=BATCH, max_length=2)
    params, _ = layer.init(jax.random.key(0), (1, FEATURES))
    state, x = layers.initial_state(layer, (1, FEATURES)), jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match="at most 2 steps, got one of 3"):
        layer.apply(params, state, x[:, :3])
    y, _ = jax.jit(layer.apply)(params, state, x[:, :3])
    assert jnp.isfinite(y[:, :2]).all() and jnp.isnan(y[:, 2]).all()
    with pytest.raises(ValueError, match=r"batch axes \[3\] of the state, got \[2\]"):
        layer.apply(params, state, x[:2, :1])


def test_a_table_of_positions_has_to_be_long_enough() -> None:
    params, _ = layers.learned_positions().init(jax.random.key(0), (3, FEATURES))
    layer = layers.stepwise(layers.learned_positions(), max_length=4)
    state = layers.initial_state(layer, (1, FEATURES))
    with pytest.raises(ValueError, match=r"at least max_length = 4 positions, got float32\[3,8\]"):
        jax.jit(layer.apply)(params, state, jnp.zeros((1, FEATURES)))


def test_half_precision_goes_on_step_by_step() -> None:
    """The policy is that of the layer: its values, but for what bfloat16 rounds."""
    layer = layers.with_precision(
        layers.serial(layers.dense(FEATURES), layers.transformer_block(2, causal=True)),
        layers.Precision(compute="bfloat16", output="float32"),
    )
    params, _ = layer.init(jax.random.key(0), (TIME, FEATURES))
    pieces = layers.stepwise(layer, batch_shape=BATCH, max_length=TIME)
    x, state = jnp.asarray(X, jnp.float32), layers.initial_state(pieces, (1, FEATURES))
    expected, _ = layer.apply(params, {}, x)
    actual = in_pieces(pieces, params, state, x, (2, 1, 3))
    assert actual.dtype == jnp.float32
    assert jnp.abs(actual - expected).max() < 0.1


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (layers.serial(body=layers.multi_head_attention(2)), "expected causal attention"),
        (layers.multi_head_attention(2, causal=True, rotation=lambda x: x), "takes offset="),
        (
            layers.serial(layers.dense(3), pool=layers.global_average_pool(1)),
            "at 'pool' looks at several steps at once",
        ),
        (layers.conv(3, (3,)), "looks at several steps at once"),
        (layers.group_norm(2, dimensions=1), "looks at several steps at once"),
        (layers.gru(3, bidirectional=True), "one that is bidirectional"),
        (layers.multi_head_attention(2, context_features=3), "pass stepwise(..., context_length=...)"),
    ],
    ids=["all_positions", "rotation", "pool", "conv", "norm", "both_ways", "context"],
)
def test_what_cannot_go_on_is_refused(layer: Layer, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        layers.stepwise(layer, max_length=4)
