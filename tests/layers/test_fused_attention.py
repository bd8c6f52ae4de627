"""Attention by JAX's kernels for accelerators: what layers.dot_product_attention gives, by XLA's on this machine."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers

RNG = np.random.default_rng(0)
BATCH, HEADS, TIME, AROUND, FEATURES = (3, 2), 4, 5, 6, 8


def pull_back(function: Callable[..., jax.Array], *arrays: jax.Array) -> Any:
    """The value of a function and its gradients."""

    def results(*arrays: jax.Array) -> Any:
        y, vjp = jax.vjp(function, *arrays)
        return y, vjp(jnp.cos(y))

    return jax.jit(results)(*arrays)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


QUERIES = normal(*BATCH, HEADS, TIME, FEATURES)
KEYS, VALUES = normal(*BATCH, HEADS, AROUND, FEATURES), normal(*BATCH, HEADS, AROUND, FEATURES)
MASK = jnp.asarray(RNG.random((*BATCH, HEADS, TIME, AROUND)) < 0.4).at[0, 0, :, 0].set(False)


@pytest.mark.parametrize(
    "mask",
    [None, MASK, MASK[:1], MASK[:, :1, :1], MASK[..., :1, :], MASK[..., :1]],
    ids=["none", "full", "batch", "heads", "rows", "columns"],
)
@pytest.mark.parametrize("is_biased", [False, True])
def test_it_gives_what_dot_product_attention_gives(mask: jax.Array | None, is_biased: bool) -> None:
    bias = normal(1, 1, HEADS, TIME, AROUND) if is_biased else None
    one, other = (
        pull_back(partial(attention, bias=bias, mask=mask), QUERIES, KEYS, VALUES)
        for attention in (layers.fused_attention, layers.dot_product_attention)
    )
    chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_any_batch_axes(axes: int) -> None:
    place = (0,) * (QUERIES.ndim - axes)
    arrays = [each[place] for each in (QUERIES, KEYS, VALUES)]
    mask = jnp.asarray(RNG.random(MASK[place].shape) < 0.5)
    y, expected = (
        attention(*arrays, mask=mask) for attention in (layers.fused_attention, layers.dot_product_attention)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_what_the_kernels_cannot_do_is_done() -> None:
    narrow, key = VALUES[..., :3], jax.random.key(1)
    for values, more in ((narrow, {}), (VALUES, {"dropout": 0.5, "key": key})):
        np.testing.assert_array_equal(
            layers.fused_attention(QUERIES, KEYS, values, **more),
            layers.dot_product_attention(QUERIES, KEYS, values, **more),
        )
    assert layers.fused_attention(QUERIES[:0], KEYS[:0], VALUES[:0]).shape == (0, *QUERIES.shape[1:])


MAKE: dict[str, Callable[..., layers.Layer]] = {
    "heads": lambda **more: layers.multi_head_attention(4, kv_heads=2, causal=True, **more),
    "context": lambda **more: layers.multi_head_attention(4, context_features=8, **more),
    "block": lambda **more: layers.transformer_block(4, causal=True, position_bias=layers.alibi(4), **more),
}


@pytest.mark.parametrize("name", MAKE)
def test_layers_use_it(name: str) -> None:
    x = QUERIES[0]
    side: dict[str, Any] = {"context": KEYS[0]} if name == "context" else {}
    calls = []

    def counted(*arrays: jax.Array, **more: Any) -> jax.Array:
        calls.append(len(arrays))
        return layers.fused_attention(*arrays, **more)

    layer, other = MAKE[name](attention=counted), MAKE[name]()
    params, state = other.init(jax.random.key(0), (TIME, FEATURES))
    y, _ = layer.apply(params, state, x, **side)
    expected, _ = other.apply(params, state, x, **side)
    assert calls == [3]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_steps_use_it() -> None:
    x = QUERIES[0, 0]
    layer = layers.multi_head_attention(4, causal=True, attention=layers.fused_attention)
    params, trained = layer.init(jax.random.key(0), (TIME, FEATURES))
    pieces = layers.stepwise(layer, batch_shape=(HEADS,), max_length=TIME)
    state, outputs = layers.initial_state(pieces, (1, FEATURES)), []
    for at in range(TIME):
        y, state = pieces.apply(params, state, x[:, at : at + 1])
        outputs.append(y)
    expected, _ = layer.apply(params, trained, x)
    np.testing.assert_allclose(jnp.concatenate(outputs, axis=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "dtype", "features", "expected"),
    [
        ("cpu", jnp.bfloat16, 64, "xla"),
        ("gpu", jnp.bfloat16, 64, "cudnn"),
        ("gpu", jnp.float16, 128, "cudnn"),
        ("gpu", jnp.float32, 64, "xla"),
        ("gpu", jnp.bfloat16, 12, "xla"),
        ("gpu", jnp.bfloat16, 256, "xla"),
    ],
)
def test_the_kernel_is_chosen_by_backend_type_and_size(
    monkeypatch: pytest.MonkeyPatch, backend: str, dtype: Any, features: int, expected: str
) -> None:
    asked = []

    def kernel(q: jax.Array, k: jax.Array, v: jax.Array, *rest: Any, implementation: str) -> jax.Array:
        asked.append(implementation)
        return q

    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    # the package's attribute of this name is the function
    monkeypatch.setattr(sys.modules["dlkit.layers.fused_attention"], "is_cuda", lambda: backend == "gpu")
    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    x = jnp.ones((2, 3, features), dtype)
    layers.fused_attention(x, x, x)
    layers.fused_attention(x, x, x, implementation="cudnn")
    assert asked == [expected, "cudnn"]


def test_bad_arguments_are_refused() -> None:
    x, attend = QUERIES[0, 0], inspect.unwrap(layers.fused_attention)
    with pytest.raises(ValueError, match=r"fused_attention: expected an implementation of .*got 'flash'"):
        attend(x, x, x, implementation="flash")
    with pytest.raises(ValueError, match="fused_attention: expected queries"):
        attend(x, x[:1], x)
    with pytest.raises(ValueError, match=r"fused_attention: expected a mask \[4, 5, 5\]"):
        attend(x, x, x, mask=jnp.ones((2, 5, 5), bool))
