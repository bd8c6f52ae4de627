"""Attention against flax, jax.nn and torch, and what a position may see."""

import inspect
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers
from dlkit.layers.lengths import within_lengths

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
HEADS, TIME, FEATURES = 3, 5, 6
X = jnp.asarray(RNG.normal(size=(2, TIME, FEATURES)), jnp.float32)
CONTEXT = jnp.asarray(RNG.normal(size=(2, 4, 7)), jnp.float32)
LENGTHS = jnp.array([3, 5])
WITHIN = jnp.arange(TIME)[None, :] < LENGTHS[:, None]
CAUSAL = jnp.tri(TIME, dtype=bool)[None]
# Every query may attend to the first key at least: with none, flax takes the mean of all values.
MASK = jnp.asarray(RNG.random((2, TIME, TIME)) < 0.5).at[..., 0].set(True)


def filled(layer: layers.Layer):
    """Parameters whose biases are not 0, and the state."""
    params, state = layer.init(KEY, (TIME, FEATURES))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(0.0, 0.3, leaf.shape), jnp.float32), params), state


def pull_back(function, *arguments):
    """The value of a function and the gradients of one loss of it."""

    def results(*arguments):
        y, vjp = jax.vjp(function, *arguments)
        return y, vjp(jnp.cos(y))

    return jax.jit(results)(*arguments)


def flax_attention(params, *inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """The attention of flax with the same parameters in its shapes."""
    inner, features = params["output"]["kernel"].shape
    split = (HEADS, inner // HEADS)
    variables = {
        name: jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-1], *split), params[name])
        for name in ("query", "key", "value")
    }
    variables["out"] = params["output"] | {"kernel": params["output"]["kernel"].reshape(*split, features)}
    module = linen.MultiHeadDotProductAttention(HEADS, qkv_features=inner, out_features=features)
    return module.apply({"params": variables}, *inputs, mask=None if mask is None else mask[:, None])


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "inputs", "mask"),
    [
        ({"features": 4, "head_features": 5}, {}, None),
        ({"causal": True}, {}, CAUSAL),
        ({}, {"mask": MASK}, MASK),
        ({"causal": True}, {"lengths": LENGTHS, "mask": MASK[:, :1]}, CAUSAL & WITHIN[:, None, :] & MASK[:, :1]),
    ],
    ids=["sizes", "causal", "mask", "all_at_once"],
)
def test_self_attention_equals_flax_in_values_and_gradients(settings, inputs, mask) -> None:
    layer = layers.multi_head_attention(HEADS, **settings)
    params, state = filled(layer)

    def expected(params, x):
        x = jnp.where(WITHIN[..., None], x, 0) if "lengths" in inputs else x
        return flax_attention(params, x, mask=mask)

    actual = pull_back(lambda params, x: layer.apply(params, state, x, **inputs)[0], params, X)
    chex.assert_trees_all_close(actual, pull_back(expected, params, X), rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_cross_attention_equals_flax_in_values_and_gradients() -> None:
    layer = layers.multi_head_attention(HEADS, context_features=7)
    params, state = filled(layer)
    lengths = jnp.array([4, 2])
    within = jnp.arange(4)[None, :] < lengths[:, None]

    def expected(params, x, context):
        return flax_attention(params, x, jnp.where(within[..., None], context, 0), mask=within[:, None, :])

    def attend(params, x, context):
        return layer.apply(params, state, x, context=context, lengths=lengths)[0]

    chex.assert_trees_all_close(
        pull_back(attend, params, X, CONTEXT), pull_back(expected, params, X, CONTEXT), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        layer.apply(params, state, X, context=CONTEXT)[0], flax_attention(params, X, CONTEXT), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("mask", [None, MASK, MASK[:1, :1], MASK[:, :, :1]], ids=["none", "full", "rows", "columns"])
def test_dot_product_attention_equals_jax_nn(mask: jax.Array | None) -> None:
    queries, keys, values = (jnp.asarray(RNG.normal(size=(2, 1, TIME, size)), jnp.float32) for size in (8, 8, 3))

    def expected(queries, keys, values):
        # Heads stand after the time there; values have as many features as keys.
        queries, keys, values = (x.swapaxes(1, 2) for x in (queries, keys, values))
        padded = jnp.concatenate([values, jnp.zeros((2, TIME, 1, 5))], axis=-1)
        allowed = None if mask is None else jnp.broadcast_to(mask[:, None], (2, 1, TIME, TIME))
        return jax.nn.dot_product_attention(queries, keys, padded, mask=allowed).swapaxes(1, 2)[..., :3]

    def attend(queries, keys, values):
        allowed = None if mask is None else mask[:, None]
        return layers.dot_product_attention(queries, keys, values, mask=allowed)

    chex.assert_trees_all_close(
        pull_back(attend, queries, keys, values), pull_back(expected, queries, keys, values), rtol=1e-4, atol=1e-5
    )


def test_dot_product_attention_by_hand() -> None:
    queries, keys = jnp.array([[2.0, 0.0, 0.0, 0.0]]), jnp.array([[np.log(3.0), 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]])
    # Logits 2 ln 3 / sqrt(4) and 0: weights 3/4 and 1/4.
    y = layers.dot_product_attention(queries, keys, jnp.array([[4.0], [8.0]]))
    np.testing.assert_allclose(y, [[5.0]], rtol=1e-6)


def test_dot_product_attention_equals_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    arrays = [RNG.normal(size=(2, TIME, 8)).astype(np.float32) for _ in range(3)]
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=torch.tensor(np.asarray(MASK)))
    torch.sin(y).sum().backward()  # whose cotangent is cos(y), as in pull_back
    actual, gradients = pull_back(partial(layers.dot_product_attention, mask=MASK), *map(jnp.asarray, arrays))
    np.testing.assert_allclose(actual, y.detach(), rtol=1e-4, atol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_attention_equals_torch(cross: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    layer = layers.multi_head_attention(HEADS, context_features=7 if cross else None)
    params, state = filled(layer)
    reference = torch.nn.MultiheadAttention(
        FEATURES, HEADS, batch_first=True, **({"kdim": 7, "vdim": 7} if cross else {})
    )
    parts = [params[name] for name in ("query", "key", "value")]
    kernels = [torch.tensor(np.asarray(part["kernel"]).T.copy()) for part in parts]
    with torch.no_grad():
        if cross:
            for name, kernel in zip("qkv", kernels, strict=True):
                getattr(reference, f"{name}_proj_weight").copy_(kernel)
        else:
            reference.in_proj_weight.copy_(torch.cat(kernels))
        reference.in_proj_bias.copy_(torch.tensor(np.concatenate([part["bias"] for part in parts])))
        reference.out_proj.weight.copy_(torch.tensor(np.asarray(params["output"]["kernel"]).T.copy()))
        reference.out_proj.bias.copy_(torch.tensor(np.asarray(params["output"]["bias"])))
    x, around = torch.tensor(np.asarray(X)), torch.tensor(np.asarray(CONTEXT if cross else X))
    lengths = jnp.array([3, around.shape[1]])
    padding = torch.arange(around.shape[1])[None] >= torch.tensor(np.asarray(lengths))[:, None]
    y, _ = reference(x, around, around, key_padding_mask=padding)
    inputs = {"lengths": lengths} | ({"context": CONTEXT} if cross else {})
    actual, _ = layer.apply(params, state, X, **inputs)
    # In self-attention, what stands past the length is a query of 0 here.
    seen = np.ones((2, TIME), bool) if cross else np.asarray(WITHIN)
    np.testing.assert_allclose(actual[seen], y.detach().numpy()[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_grouped_queries_equal_heads_whose_keys_and_values_are_repeated(kv_heads: int) -> None:
    heads, size = 4, 3
    layer = layers.multi_head_attention(heads, kv_heads=kv_heads, head_features=size)
    params, _ = filled(layer)
    assert params["key"]["kernel"].shape == params["value"]["kernel"].shape == (FEATURES, kv_heads * size)

    def repeated(leaf: jax.Array) -> jax.Array:
        apart = leaf.reshape(*leaf.shape[:-1], kv_heads, size)
        return jnp.repeat(apart, heads // kv_heads, axis=-2).reshape(*leaf.shape[:-1], heads * size)

    whole = params | {name: jax.tree.map(repeated, params[name]) for name in ("key", "value")}
    per_head = jnp.asarray(RNG.random((2, heads, TIME, TIME)) < 0.6)
    bias = jnp.asarray(RNG.normal(size=(2, 1, TIME, TIME)), jnp.float32)
    plain = layers.multi_head_attention(heads, head_features=size)
    for given in ({}, {"mask": MASK}, {"mask": per_head, "bias": bias}, {"bias": bias[:, :, :1], "lengths": LENGTHS}):
        expected, _ = plain.apply(whole, {}, X, **given)
        actual, _ = layer.apply(params, {}, X, **given)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_grouped_queries_and_biases_equal_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    heads, kv_heads, size = 4, 2, 3
    layer = layers.multi_head_attention(heads, kv_heads=kv_heads, head_features=size)
    params, _ = filled(layer)
    bias = RNG.normal(size=(2, heads, TIME, TIME)).astype(np.float32)

    def project(name: str, count: int) -> "torch.Tensor":
        kernel, shift = (torch.tensor(np.asarray(params[name][part])) for part in ("kernel", "bias"))
        return (torch.tensor(np.asarray(X)) @ kernel + shift).unflatten(-1, (count, size)).movedim(-2, -3)

    y = torch.nn.functional.scaled_dot_product_attention(
        project("query", heads),
        project("key", kv_heads),
        project("value", kv_heads),
        attn_mask=torch.tensor(bias),
        enable_gqa=True,
    )
    kernel, shift = (torch.tensor(np.asarray(params["output"][part])) for part in ("kernel", "bias"))
    expected = y.movedim(-3, -2).flatten(-2) @ kernel + shift
    actual, _ = layer.apply(params, {}, X, bias=jnp.asarray(bias))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_each_head_may_have_a_mask_of_its_own() -> None:
    layer = layers.multi_head_attention(HEADS)
    params, _ = filled(layer)
    masks = jnp.asarray(RNG.random((2, HEADS, TIME, TIME)) < 0.5).at[..., 0].set(True)
    size = FEATURES // HEADS
    expected = params["output"]["bias"].reshape(1, 1, -1)
    for head in range(HEADS):
        # One head alone: what it adds to the output.
        own = slice(head * size, (head + 1) * size)
        alone = {
            name: {"kernel": params[name]["kernel"][:, own], "bias": params[name]["bias"][own]}
            for name in ("query", "key", "value")
        }
        alone["output"] = {"kernel": params["output"]["kernel"][own], "bias": jnp.zeros(FEATURES)}
        one = layers.multi_head_attention(1, head_features=size, features=FEATURES)
        expected = expected + one.apply(alone, {}, X, mask=masks[:, head])[0]
    actual, _ = layer.apply(params, {}, X, mask=masks)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_alibi_has_the_slopes_of_the_paper() -> None:
    """1/2, 1/4, ... for eight heads; for twelve, those of eight and every other one of sixteen."""
    bias, _ = layers.alibi(8).apply({}, {}, jnp.array([[-1, 0, 2]]))
    np.testing.assert_allclose(bias[:, 0, 0], -(2.0 ** -np.arange(1, 9)))
    np.testing.assert_allclose(bias[:, 0, 2], 2 * bias[:, 0, 0])
    twelve, _ = layers.alibi(12).apply({}, {}, jnp.array([[1]]))
    np.testing.assert_allclose(
        -twelve[:, 0, 0], [2.0**-n for n in range(1, 9)] + [2.0**-n for n in (0.5, 1.5, 2.5, 3.5)]
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_positions_have_the_buckets_of_t5(bidirectional: bool) -> None:
    """By hand, of 32 buckets up to distance 128: 16 a side if bidirectional, of which 8 have a distance each."""
    layer = layers.relative_positions(2, bidirectional=bidirectional)
    params = {"embedding": jnp.arange(32.0)[:, None] + jnp.array([[0.0, 100.0]])}
    side, exact = (16, 8) if bidirectional else (32, 16)

    def bucket(distance: int) -> int:
        away = abs(distance) if bidirectional else max(-distance, 0)
        further = side if bidirectional and distance > 0 else 0
        if away < exact:
            return further + away
        log = np.log(away / exact) / np.log(128 / exact) * (side - exact)
        return further + min(exact + int(log), side - 1)

    distances = np.setdiff1d(np.arange(-200, 200), [-128, 128, -32, 32, -64, 64, -16, 16])  # where a log is whole
    bias, _ = layer.apply(params, {}, jnp.asarray(distances)[None])
    np.testing.assert_array_equal(bias[0, 0], [bucket(int(distance)) for distance in distances])
    np.testing.assert_array_equal(bias[1], bias[0] + 100)


def test_a_position_bias_is_added_to_the_logits() -> None:
    layer = layers.multi_head_attention(HEADS, position_bias=layers.alibi(HEADS))
    params, _ = filled(layer)
    distances = np.arange(TIME)[None, :] - np.arange(TIME)[:, None]
    bias, _ = layers.alibi(HEADS).apply({}, {}, jnp.asarray(distances))
    expected, _ = layers.multi_head_attention(HEADS).apply(params, {}, X, bias=bias[None])
    np.testing.assert_allclose(layer.apply(params, {}, X)[0], expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"position_bias that makes \[1, 3, 5, 5\] of distances \[1, 5, 5\]"):
        layers.multi_head_attention(HEADS, position_bias=layers.alibi(2)).apply(params, {}, X)


def test_what_may_attend_to_nothing_gives_zero_with_gradient_zero() -> None:
    mask = jnp.array([[True, False], [False, False]])
    queries, keys, values = (jnp.asarray(RNG.normal(size=(2, 3)), jnp.float32) for _ in range(3))
    y, gradients = pull_back(partial(layers.dot_product_attention, mask=mask), queries, keys, values)
    np.testing.assert_allclose(y, jnp.stack([values[0], jnp.zeros(3)]), rtol=1e-6)
    chex.assert_tree_all_finite(gradients)
    # Only the first value reaches an output: nothing else matters.
    of_queries, of_keys, of_values = gradients
    assert not of_queries.any() and not of_keys.any() and not of_values[1].any()

    layer = layers.multi_head_attention(HEADS)
    params, state = filled(layer)
    y, _ = layer.apply(params, state, X, lengths=jnp.array([0, 5]))
    np.testing.assert_array_equal(y[0], np.broadcast_to(params["output"]["bias"], (TIME, FEATURES)))


@pytest.mark.long
@pytest.mark.parametrize("padding", [100.0, np.nan])
def test_lengths_equal_cutting_whatever_the_padding_holds(padding: float) -> None:
    layer = layers.multi_head_attention(HEADS)
    params, state = filled(layer)
    x = jnp.where(WITHIN[..., None], X, padding)

    def total(params, x):
        y, _ = layer.apply(params, state, x, lengths=LENGTHS)
        return jnp.sum(jnp.where(WITHIN[..., None], jnp.sin(y), 0)), y

    (_, y), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(params, x)
    for position, length in enumerate(LENGTHS.tolist()):
        alone, _ = layer.apply(params, state, X[position, :length])
        np.testing.assert_allclose(y[position, :length], alone, rtol=1e-5, atol=1e-6)
    chex.assert_tree_all_finite(gradients)
    assert not jnp.where(WITHIN[..., None], 0, gradients[1]).any()


def test_a_causal_position_sees_itself_and_the_past_only() -> None:
    layer = layers.multi_head_attention(HEADS, causal=True, rotation=layers.rotary)
    params, state = filled(layer)
    jacobian = jax.jit(jax.jacobian(lambda x: layer.apply(params, state, x)[0].sum(-1)))(X[0])
    depends = np.abs(np.asarray(jacobian)).max(-1) > 0
    np.testing.assert_array_equal(depends, np.tri(TIME, dtype=bool))


def test_the_rotation_acts_on_queries_and_keys_of_every_head() -> None:
    layer = layers.multi_head_attention(HEADS, rotation=layers.rotary)
    params, state = filled(layer)
    y, _ = layer.apply(params, state, X)

    def split(name: str) -> jax.Array:
        return layers.dense(FEATURES).apply(params[name], {}, X)[0].reshape(2, TIME, HEADS, 2).swapaxes(1, 2)

    averages = layers.dot_product_attention(layers.rotary(split("query")), layers.rotary(split("key")), split("value"))
    expected, _ = layers.dense(FEATURES).apply(params["output"], {}, averages.swapaxes(1, 2).reshape(2, TIME, FEATURES))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(y - layers.multi_head_attention(HEADS).apply(params, state, X)[0])).max() > 0.01


@pytest.mark.parametrize("magnitude", [1e4, 1e6, 1e9, 1e15])
@pytest.mark.parametrize("features", [2, 3, 16])
def test_far_apart_logits_select_one_value_in_a_compiled_program_too(features: int, magnitude: float) -> None:
    """A maximum that is rounded otherwise than what it is subtracted from would leave exp(a big number)."""
    queries, keys = (jnp.asarray(magnitude * RNG.normal(size=(4, TIME, features)), jnp.float32) for _ in range(2))
    values = jnp.asarray(RNG.normal(size=(4, TIME, 2)), jnp.float32)
    greatest = np.argmax(np.asarray(queries, np.float64) @ np.asarray(keys, np.float64).swapaxes(-1, -2), -1)
    y, gradients = pull_back(layers.dot_product_attention, queries, keys, values)
    np.testing.assert_array_equal(y, np.take_along_axis(np.asarray(values), greatest[..., None], axis=1))
    chex.assert_tree_all_finite(gradients)


def test_bfloat16_has_a_softmax_in_float32() -> None:
    """With 1,000 equal logits: in bfloat16 the sum of exponentials would stop at 256."""
    zeros = jnp.zeros((1, 1_000, 4), jnp.bfloat16)
    y = layers.dot_product_attention(zeros[:, :1], zeros, jnp.ones((1, 1_000, 1), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, np.float32), [[[1.0]]], rtol=5e-3)


def test_dropout_drops_weights_and_keeps_the_mean() -> None:
    zeros = jnp.zeros((1, 2_000, 1))
    y = layers.dot_product_attention(zeros[:, :50], zeros, zeros + 1, dropout=0.5, key=jax.random.key(1))
    # Sums of 2,000 weights that are 0 or 2 / 2,000: the deviation of each is 1 / sqrt(2000).
    assert float(y.mean()) == pytest.approx(1.0, abs=5 / np.sqrt(2_000 * 50))
    assert float(y.std()) == pytest.approx(1 / np.sqrt(2_000), rel=0.5)


def test_dropout_acts_while_training_only_and_may_be_traced() -> None:
    params, state = filled(layers.multi_head_attention(HEADS))
    plain, _ = layers.multi_head_attention(HEADS).apply(params, state, X)

    @jax.jit
    def trained(rate: jax.Array, key: jax.Array) -> jax.Array:
        return layers.multi_head_attention(HEADS, dropout=rate).apply(params, state, X, key=key, train=True)[0]

    key = jax.random.key(1)
    np.testing.assert_allclose(trained(jnp.float32(0.0), key), plain, rtol=1e-5, atol=1e-6)
    layer = layers.multi_head_attention(HEADS, dropout=0.5)
    np.testing.assert_array_equal(layer.apply(params, state, X)[0], plain)
    first, _ = layer.apply(params, state, X, key=key, train=True)
    np.testing.assert_allclose(trained(jnp.float32(0.5), key), first, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(first - trained(jnp.float32(0.5), jax.random.key(2)))).max() > 0.01
    with pytest.raises(ValueError, match="multi_head_attention: expected a key while training, got None"):
        layer.apply(params, state, X, train=True)
    with pytest.raises(ValueError, match="dot_product_attention: expected a key while training, got None"):
        layers.dot_product_attention(X, X, X, dropout=0.5)


def test_the_structure_of_the_parameters_and_their_initial_values() -> None:
    layer = layers.multi_head_attention(2, features=8, head_features=3, context_features=7)
    params, state = layer.init(KEY, (TIME, 6))
    assert jax.tree.map(jnp.shape, params) == {
        "query": {"kernel": (6, 6), "bias": (6,)},
        "key": {"kernel": (7, 6), "bias": (6,)},
        "value": {"kernel": (7, 6), "bias": (6,)},
        "output": {"kernel": (6, 8), "bias": (8,)},
    }
    assert state == {}
    assert not any(part["bias"].any() for part in params.values())
    assert (params["key"]["kernel"] != params["value"]["kernel"]).all()

    normal = jax.nn.initializers.normal(1.0)
    params, _ = layers.multi_head_attention(2, use_bias=False, kernel_init=normal).init(KEY, (TIME, 6))
    assert {name: sorted(part) for name, part in params.items()} == {name: ["kernel"] for name in params}
    params, _ = layers.multi_head_attention(2, bias_init=normal).init(KEY, (TIME, 100))
    # LeCun normal with 100 inputs: 0.1, from 10,000 values each.
    assert all(float(part["kernel"].std()) == pytest.approx(0.1, rel=0.05) for part in params.values())
    assert all(float(part["bias"].std()) == pytest.approx(1.0, rel=0.5) for part in params.values())


@pytest.mark.long
def test_leading_axes_are_batch_axes_of_inputs_context_mask_and_lengths() -> None:
    layer = layers.multi_head_attention(HEADS, context_features=7)
    params, state = filled(layer)
    x, context = jnp.stack([X, 2 * X, 3 * X]), jnp.stack([CONTEXT, -CONTEXT, CONTEXT])
    lengths, mask = jnp.array([[1, 2], [3, 4], [4, 0]]), MASK[None, :, :, :4]
    y, _ = layer.apply(params, state, x, context=context, lengths=lengths, mask=mask)
    for place in range(3):
        each, _ = layer.apply(params, state, x[place], context=context[place], lengths=lengths[place], mask=mask[0])
        np.testing.assert_allclose(y[place], each, rtol=1e-5, atol=1e-6)
    each, _ = layer.apply(params, state, x[1, 0], context=context[1, 0], lengths=lengths[1, 0], mask=mask[0, 0])
    np.testing.assert_allclose(y[1, 0], each, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.multi_head_attention(0), "multi_head_attention: expected heads to be an integer of at least 1"),
        (lambda: layers.multi_head_attention(2, head_features=0), "expected head_features to be an integer of at le"),
        (lambda: layers.multi_head_attention(2, dropout=1.0), "expected dropout at least 0 and below 1, got 1.0"),
        (
            lambda: layers.multi_head_attention(2, causal=True, context_features=3),
            "expected causal or context_features, got both; give cross-attention a mask",
        ),
        (
            lambda: layers.multi_head_attention(4).init(KEY, (5, 6)),
            r"that 4 heads divide, got 6; pass head_features=\.\.\.",
        ),
        (lambda: layers.multi_head_attention(2).init(KEY, (6,)), r"an example shape \(time, features\), got \(6,\)"),
        (lambda: layers.dot_product_attention(X, X, X, dropout=-1.0), "expected dropout at least 0 .*, got -1.0"),
    ],
)
def test_bad_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "inputs", "error", "message"),
    [
        (jnp.ones((2, TIME, 5)), {}, ValueError, r"expected inputs \[\*batch, time, 6\], got float32\[2,5,5\]"),
        (jnp.ones(FEATURES), {}, ValueError, r"expected inputs \[\*batch, time, 6\], got float32\[6\]"),
        (jnp.ones((2, TIME, 6), jnp.int32), {}, TypeError, r"expected floating-point inputs, got int32\[2,5,6\]"),
        (X, {"context": X}, ValueError, r"expected no context in self-attention, got .*; make the layer with context_"),
        (
            X,
            {"mask": MASK[0]},
            ValueError,
            r"expected a mask \[2, 5, 5\], or \[2, 2, 5, 5\] for each head, any of its axes may ",
        ),
        (X, {"mask": MASK[..., :2]}, ValueError, r"expected a mask \[2, 5, 5\], or .*, got bool\[2,5,2\]"),
        (X, {"mask": MASK.astype(jnp.float32)}, TypeError, r"expected a boolean mask, true where .*, got float32\[2,5"),
        (X, {"lengths": jnp.array([1, 2, 3])}, ValueError, r"one length per sequence, shape \[2\], got int32\[3\]"),
    ],
)
def test_bad_inputs_of_self_attention_are_refused(x, inputs, error: type[Exception], message: str) -> None:
    layer = layers.multi_head_attention(2)
    params, state = filled(layer)
    with pytest.raises(error, match=f"multi_head_attention: .*{message}"):
        inspect.unwrap(layer.apply)(params, state, x, **inputs)


def test_lengths_are_integers() -> None:
    with pytest.raises(TypeError, match=r"attention: expected integer lengths, got float32\[2\]"):
        inspect.unwrap(within_lengths)("attention", jnp.ones(2), (2, 3))


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        (None, ValueError, r"expected a context \[\*batch, context_time, 7\], got None; pass context=\.\.\."),
        (CONTEXT[..., :6], ValueError, r"expected a context \[2, context_time, 7\], got float32\[2,4,6\]"),
        (CONTEXT[:1], ValueError, r"expected a context \[2, context_time, 7\], got float32\[1,4,7\]"),
        (CONTEXT[0], ValueError, r"expected a context \[2, context_time, 7\], got float32\[4,7\]"),
        (CONTEXT.astype(jnp.int32), TypeError, r"expected floating-point context, got int32\[2,4,7\]; cast them"),
    ],
)
def test_bad_contexts_are_refused(context, error: type[Exception], message: str) -> None:
    layer = layers.multi_head_attention(HEADS, context_features=7)
    params, state = filled(layer)
    with pytest.raises(error, match=f"multi_head_attention: {message}"):
        inspect.unwrap(layer.apply)(params, state, X, context=context)


@pytest.mark.parametrize(
    ("keys", "values", "mask", "error", "message"),
    [
        (
            X[..., :5],
            X,
            None,
            ValueError,
            r"expected queries \[\*batch, time, features\], keys .*keys float32\[2,5,5\]",
        ),
        (X, X[:, :4], None, ValueError, r"and values \[\*batch, context_time, value_features\], got .*\[2,4,6\]"),
        (X[:1], X[:1], None, ValueError, r"expected queries \[\*batch, time, features\], keys .*\[1,5,6\]"),
        (X[0, 0], X, None, ValueError, r"expected arrays \[\*batch, time, features\], got .* keys float32\[6\]"),
        (X, X.astype(jnp.int32), None, TypeError, r"expected floating-point values, got int32\[2,5,6\]; cast them"),
        (X, X, MASK[:, None], ValueError, r"expected a mask \[2, 5, 5\], any .* got bool\[2,1,5,5\]"),
        (X, X, MASK.astype(jnp.int32), TypeError, r"expected a boolean mask, .* got int32\[2,5,5\]"),
    ],
)
def test_bad_arguments_of_dot_product_attention_are_refused(keys, values, mask, error, message: str) -> None:
    with pytest.raises(error, match=f"dot_product_attention: .*{message}"):
        inspect.unwrap(layers.dot_product_attention)(X, keys, values, mask=mask)
