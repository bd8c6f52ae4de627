"""Padding never matters: padded sequences in a batch give what each gives alone, values and gradients."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers, losses, models
from dlkit.layers import Layer
from tests.losses.oracles import refuses

TIME, FEATURES = 9, 4
LENGTHS = (5, 9, 4, 7)


def scaled() -> Layer:
    """A layer of a user's own that looks at each step by itself."""

    def apply(params: Any, state: Any, x: jax.Array, *, key: Any = None, train: bool = False) -> Any:
        return params * x, state

    return Layer(lambda key, shape: (jnp.float32(2), {}), apply)


def every_other() -> Layer:
    """A layer of a user's own that changes the time axis and says so."""

    def ragged(
        params: Any, state: Any, x: jax.Array, lengths: jax.Array, *, key: Any = None, train: bool = False
    ) -> Any:
        return x[..., ::2, :], state, (lengths + 1) // 2

    return layers.lambda_(lambda x: x[..., ::2, :])._replace(ragged=ragged)


attention = layers.multi_head_attention(2)
TABLE: dict[str, Layer] = {
    "lstm": layers.lstm(3),
    "lstm-last": layers.serial(layers.dense(4), layers.lstm(3, bidirectional=True, output="last")),
    "gru-deep": layers.serial(layers.gru(3, depth=2, bidirectional=True), layers.dense(2)),
    "rnn-then-gru": layers.serial(layers.rnn(3), layers.serial(layers.gru(3, output="last"), layers.dense(2))),
    "attention": layers.residual(attention),
    "causal-attention": layers.serial(layers.multi_head_attention(2, causal=True), layers.dense(2)),
    "transformer": layers.serial(
        layers.learned_positions(), layers.transformer_block(2), layers.transformer_block(2, pre_norm=False)
    ),
    "layer_norm": layers.serial(layers.layer_norm(), layers.global_average_pool(1)),
    "instance_norm": layers.serial(layers.instance_norm(dimensions=1), layers.global_max_pool(1)),
    "group_norm": layers.group_norm(2, dimensions=1),
    "conv-same": layers.serial(layers.conv(3, (3,)), jnp.tanh, layers.conv(3, (4,), dilation=2), layers.conv(2, (5,))),
    "conv-strides": layers.serial(
        layers.conv(3, (3,), strides=2, padding=[(1, 1)]), layers.conv(3, (2,), padding="VALID"), layers.lstm(2)
    ),
    "conv-transpose": layers.serial(layers.conv_transpose(3, (4,), strides=2), layers.global_max_pool(1)),
    "max_pool": layers.serial(layers.conv(3, (3,)), layers.max_pool((2,)), layers.gru(3, output="last")),
    "max_pool-overlapping": layers.max_pool((3,), strides=1, padding="SAME"),
    "average_pool": layers.serial(layers.average_pool((3,), strides=1, padding="SAME"), layers.dense(2)),
    "average_pool-tiles": layers.serial(layers.average_pool((2,)), layers.global_average_pool(1)),
    "average_pool-padded": layers.average_pool((3,), strides=2, padding=[(1, 1)]),
    "parallel": layers.parallel(layers.conv(2, (3,)), layers.gru(2), layers.dense(2)),
    "parallel-pools": layers.parallel(layers.global_average_pool(1), layers.global_max_pool(1)),
    "residual": layers.residual(layers.lstm(2), shortcut=layers.dense(2)),
    "spectral_norm": layers.serial(layers.spectral_norm(layers.conv(3, (3,))), layers.lstm(2, output="last")),
    "activations": layers.serial(layers.prelu(), jax.nn.softplus, layers.rms_norm(), layers.dropout(0.5)),
    "own": layers.serial(scaled(), every_other(), layers.gru(2, output="last")),
    "recurrent_classifier": models.recurrent_classifier("gru", outputs=2, features=3, bidirectional=True),
    "transformer_classifier": models.transformer_classifier(outputs=2, features=4, heads=2, depth=1),
    "recurrent_language_model": models.recurrent_language_model("lstm", vocabulary=5, features=3),
}


# Loops and blocks that take seconds to compile; the others have the same parts.
HEAVY = (
    "gru-deep",
    "rnn-then-gru",
    "residual",
    "transformer",
    "recurrent_classifier",
    "transformer_classifier",
    "conv-strides",
)


def inputs(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if "language_model" in name:
        return rng.integers(0, 5, (len(LENGTHS), TIME))
    return rng.normal(size=(len(LENGTHS), TIME, FEATURES)).astype(np.float32)


def padded(x: np.ndarray, fill: float) -> jax.Array:
    within = np.arange(TIME) < np.array(LENGTHS)[:, None]
    return jnp.asarray(np.where(within.reshape(within.shape + (1,) * (x.ndim - 2)), x, x.dtype.type(fill)))


def value_and_gradients(layer: Layer, state: Any, params: Any, x: jax.Array, lengths: Any) -> Any:
    """Outputs, lengths after the layer, and gradients of a weighted sum over the first sequence's outputs."""
    reals = jnp.issubdtype(x.dtype, jnp.floating)

    def total(params: Any, x: Any) -> Any:
        y, _, after = layers.apply_ragged(layer, params, state, x, lengths)
        weights = jnp.cos(1.0 + 3.0 * jnp.arange(y.shape[1]))  # of steps or features: the same for any padding
        return (y[0] * weights.reshape(-1, *(1,) * (y.ndim - 2))).sum(), (y, after)

    (_, (y, after)), gradients = jax.value_and_grad(total, argnums=(0, 1) if reals else (0,), has_aux=True)(params, x)
    return y, after, gradients


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in TABLE]
)
@pytest.mark.long
def test_padding_never_matters(name: str) -> None:
    layer, x = TABLE[name], inputs(name)
    params, state = jax.jit(layer.init, static_argnums=1)(jax.random.key(0), x.shape[1:])
    fills = (np.nan, 1e30) if x.dtype == np.float32 else (-1, 4)
    run = jax.jit(functools.partial(value_and_gradients, layer, state))
    results = [run(params, padded(x, fill), jnp.array(LENGTHS)) for fill in fills]
    jax.tree.map(np.testing.assert_array_equal, *results)
    y, after, gradients = results[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((y, gradients)))
    # The first sequence, whose outputs alone are in the sum, against itself without padding.
    length = LENGTHS[0]
    alone, _, expected = run(params, jnp.asarray(x[:1, :length]), None)
    steps = None if after is None else int(after[0])
    assert steps in (None, alone.shape[1])
    np.testing.assert_allclose(y[0, :steps], alone[0], rtol=1e-4, atol=1e-5)
    assert steps is None or not np.asarray(y[0, steps:]).any()
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), gradients[0], expected[0])
    for by_x, own in zip(gradients[1:], expected[1:], strict=True):
        np.testing.assert_allclose(by_x[0, :length], own[0], rtol=1e-3, atol=1e-4)
        assert not np.asarray(by_x[0, length:]).any()


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_counts_valid_steps_only(train: bool) -> None:
    layer, x = layers.batch_norm(momentum=0.5), inputs("batch_norm")
    params, state = layer.init(jax.random.key(0), x.shape[1:])
    state = state | {"mean": jnp.full(FEATURES, 0.5)}
    steps = jnp.concatenate([jnp.asarray(each[:length]) for each, length in zip(x, LENGTHS, strict=True)])

    def run(x: jax.Array, lengths: jax.Array | None) -> Any:
        def total(x: jax.Array) -> Any:
            y, new_state = layer.apply(
                params, state, x, train=train, **({} if lengths is None else {"lengths": lengths})
            )
            return (y**3).sum(), (y, new_state)

        return jax.grad(total, has_aux=True)(x)

    by_steps, (expected, expected_state) = run(steps, None)
    gradient, (y, new_state) = run(padded(x, np.nan), jnp.array(LENGTHS))
    within = np.arange(TIME) < np.array(LENGTHS)[:, None]
    np.testing.assert_allclose(y[within], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient[within], by_steps, rtol=1e-3, atol=1e-4)
    assert not np.asarray(y)[~within].any() and not np.asarray(gradient)[~within].any()
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), new_state, expected_state)


def test_a_batch_without_steps_leaves_batch_statistics_alone() -> None:
    layer = layers.serial(layers.batch_norm(), layers.global_average_pool(1))
    params, state = layer.init(jax.random.key(0), (TIME, FEATURES))
    y, new_state = layer.apply(
        params, state, jnp.full((2, TIME, FEATURES), jnp.nan), train=True, lengths=jnp.array([0, 0])
    )
    jax.tree.map(np.testing.assert_array_equal, new_state, state)
    assert not np.asarray(y).any()


@pytest.mark.parametrize("name", ["lstm-last", "attention", "parallel-pools", "average_pool-padded", "transformer"])
@pytest.mark.long
def test_a_sequence_of_length_0_is_finite(name: str) -> None:
    layer, x = TABLE[name], inputs(name)
    params, state = layer.init(jax.random.key(0), x.shape[1:])
    run = jax.jit(functools.partial(value_and_gradients, layer, state))
    y, _, gradients = run(params, padded(x, np.nan).at[0].set(jnp.nan), jnp.array([0, 9, 4, 7]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((y, gradients)))
    assert name == "lstm-last" or not np.asarray(y[0]).any()


def test_frames_are_convolved_and_pooled_one_by_one() -> None:
    frames = layers.conv(2, (3, 3), strides=2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 6, 1)), jnp.float32)
    params, state = frames.init(jax.random.key(0), x.shape[2:])

    def read(x: jax.Array, lengths: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        y, _, after = layers.apply_ragged(frames, params, state, x, lengths)
        y, _, after = layers.apply_ragged(layers.max_pool((2, 2)), {}, {}, y, after)
        y, _, after = layers.apply_ragged(layers.global_average_pool(2), {}, {}, y, after)
        return y, after

    y, after = read(x.at[0, 2:].set(jnp.nan), jnp.array([2, 4]))
    assert after is not None and after.tolist() == [2, 4]
    np.testing.assert_allclose(y[0, :2], read(x[:1, :2], None)[0][0], rtol=1e-4, atol=1e-6)
    assert not np.asarray(y[0, 2:]).any()


def test_masks_reach_attention_at_any_depth() -> None:
    layer = layers.serial(layers.dense(4), layers.residual(layers.serial(layers.multi_head_attention(2))))
    x = jnp.asarray(inputs("x")[:1])
    params, state = layer.init(jax.random.key(0), x.shape[1:])
    mask = jnp.eye(TIME, dtype=bool)[None]
    masked, _ = layer.apply(params, state, x, mask=mask)
    alone, _ = layer.apply(params, state, x[:, 2:3])
    np.testing.assert_allclose(masked[:, 2:3], alone, rtol=1e-5, atol=1e-6)
    both, _ = layer.apply(params, state, x, mask=mask, lengths=jnp.array([5]))
    np.testing.assert_allclose(both[:, :5], masked[:, :5], rtol=1e-5, atol=1e-6)
    # To nothing: the average of no positions is 0, not NaN.
    nothing, _ = layer.apply(params, state, x, mask=jnp.zeros((1, 1, TIME), bool))
    assert np.isfinite(nothing).all()
    with pytest.raises(TypeError, match="mask"):
        layers.serial(layers.dense(4)).apply({}, {}, x, mask=mask)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.flatten(2), r"keeps the time axis .*, \[4, 9, 4\], got outputs \[4, 36\].*global_average_pool"),
        (lambda x: x[..., -1, :], "keeps the time axis"),
        (lambda x: x.mean(axis=-2), "keeps the time axis"),
        (layers.reshape((9, 4), (3, 12)), "keeps the time axis"),
        (layers.conv(2, (3,), strides=2), r"'SAME' with a stride of 2 along time; use padding='VALID'"),
        (layers.max_pool((3,), strides=2, padding="SAME"), "'SAME' with a stride of 2"),
        (
            layers.parallel(layers.global_max_pool(1), layers.dense(2), combine=lambda made: made[0]),
            "all keep the time axis or all remove it",
        ),
    ],
)
def test_what_would_take_padding_for_data_is_refused(layer: Any, message: str) -> None:
    chain = layers.serial(layer)
    x = jnp.asarray(inputs("x"))
    params, state = chain.init(jax.random.key(0), x.shape[1:])
    with pytest.raises(ValueError, match=message) as caught:
        chain.apply(params, state, x, lengths=jnp.array(LENGTHS))
    assert "layer 0" in "".join(caught.value.__notes__)
    chain.apply(params, state, x)


def test_lengths_after_strides_are_those_that_ctc_needs() -> None:
    encoder = layers.serial(layers.conv(4, (3,), strides=2, padding="VALID"), layers.gru(3), layers.dense(5))
    x = jnp.asarray(inputs("x"))
    params, state = encoder.init(jax.random.key(0), x.shape[1:])
    logits, _, steps = layers.apply_ragged(encoder, params, state, padded(inputs("x"), np.nan), jnp.array(LENGTHS))
    assert steps.tolist() == [2, 4, 1, 3]
    labels = jnp.ones((4, 1), int)
    together = losses.ctc(logits, labels, logit_lengths=steps)
    alone, _ = encoder.apply(params, state, x[:1, :5])
    np.testing.assert_allclose(together[:1], losses.ctc(alone, labels[:1]), rtol=1e-5)


def test_masked_mean_leaves_padding_out() -> None:
    within = jnp.arange(TIME)[None] < jnp.array(LENGTHS)[:, None]
    errors = padded(inputs("x"), np.nan)
    kept = np.concatenate([each[:length] for each, length in zip(inputs("x"), LENGTHS, strict=True)])
    value, gradient = jax.value_and_grad(losses.masked_mean)(errors, within)
    np.testing.assert_allclose(value, kept.mean(), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(gradient)[np.asarray(within)], 1 / kept.size, rtol=1e-5)
    assert not np.asarray(gradient)[~np.asarray(within)].any()
    assert losses.masked_mean(errors[..., 0] > 0, within, axis=1).shape == (4,)
    assert losses.masked_mean(errors, jnp.zeros((4, TIME), bool)) == 0
    with pytest.raises(ValueError, match="of the shape of the values or of their first axes"):
        losses.masked_mean(errors, within.T)
    refuses(losses.masked_mean, (errors, within.astype(jnp.float32)), TypeError, "expected a boolean mask")
