"""Masks: what they take by name and shape, in dlkit's and in flax's parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from dlkit import regularizers


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        (("dense", "kernel"), (2, 3), True),
        (("conv", "kernel"), (3, 3, 2, 4), True),
        (("embed", "embedding"), (7, 2), True),
        (("dense", "bias"), (3,), False),
        (("attention", "bias"), (2, 3), False),
        (("norm", "scale"), (2, 3), False),
        (("norm", "anything"), (3,), False),
        (("bias", "kernel"), (2, 3), True),
        (("dense", "kernel", "value"), (2, 3), True),
        (("dense", "bias", "value"), (2, 3), False),
        ((), (2, 3), True),
    ],
)
def test_weights_only(path: tuple[str, ...], shape: tuple[int, ...], expected: bool) -> None:
    assert regularizers.weights_only(path, jnp.zeros(shape)) is expected


@pytest.mark.long
def test_models_of_flax_are_understood() -> None:
    attention = linen.MultiHeadDotProductAttention(num_heads=2)  # biases of shape [heads, head_dim]
    variables = attention.init(jax.random.key(0), jnp.ones((1, 3, 4)))
    params = jax.tree.map(jnp.ones_like, variables["params"])
    # four kernels of 4 x 4
    assert regularizers.l2(params) == 64.0
    nnx_params = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    assert regularizers.l2(jax.tree.map(jnp.ones_like, nnx_params)) == 6.0


def test_the_mask_sees_paths_as_names() -> None:
    seen = []
    regularizers.l2({"a": [jnp.ones(1), {"b": jnp.ones(1)}]}, mask=lambda path, leaf: bool(seen.append(path)))
    assert seen == [("a", "0"), ("a", "1", "b")]


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (("encoder/*",), ("encoder", "dense", "kernel"), True),
        (("encoder/*",), ("decoder", "encoder", "kernel"), False),
        (("*/kernel",), ("a", "b", "kernel"), True),
        (("*/kernel",), ("kernel",), False),
        (("*/kernel",), ("a", "kernel", "value"), True),
        (("*/Kernel",), ("a", "kernel"), False),
        (("layer_?/*", "head/*"), ("head", "bias"), True),
        (("layer_[02]/*",), ("layer_1", "bias"), False),
    ],
)
def test_masks_by_name(patterns: tuple[str, ...], path: tuple[str, ...], expected: bool) -> None:
    assert regularizers.by_name(*patterns)(path, jnp.ones(3)) is expected
    assert regularizers.none_of(regularizers.by_name(*patterns))(path, jnp.ones(3)) is not expected


def test_masks_combine() -> None:
    kernels, heads = regularizers.weights_only, regularizers.by_name("head/*")
    both, neither = regularizers.all_of(kernels, heads), regularizers.none_of(kernels, heads)
    paths = [(("head", "kernel"), 2), (("head", "bias"), 1), (("body", "kernel"), 2), (("body", "bias"), 1)]
    leaves = [(path, jnp.ones((1,) * ndim)) for path, ndim in paths]
    assert [both(*leaf) for leaf in leaves] == [True, False, False, False]
    assert [neither(*leaf) for leaf in leaves] == [False, False, False, True]


def test_a_mask_by_name_needs_a_pattern() -> None:
    with pytest.raises(ValueError, match=r"^by_name: expected at least one pattern"):
        regularizers.by_name()


def test_a_tree_of_a_mask_is_a_mask_of_optax() -> None:
    params = {"head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "body": {"kernel": jnp.full((2, 2), 3.0)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    heads = regularizers.by_name("head/*")
    for mask, decayed in (
        (regularizers.mask_tree(params), {"head/kernel", "body/kernel"}),
        (regularizers.mask_tree, {"head/kernel", "body/kernel"}),
        (regularizers.mask_tree(params, mask=heads), {"head/kernel", "head/bias"}),
        (partial(regularizers.mask_tree, mask=heads), {"head/kernel", "head/bias"}),
    ):
        optimizer = optax.adamw(0.1, weight_decay=0.5, mask=mask)
        updates, _ = jax.jit(optimizer.update)(zeros, optimizer.init(params), params)
        # Without a gradient AdamW's update is the decay alone: - rate * decay * w.
        for keys, update in jax.tree_util.tree_leaves_with_path(updates):
            path = "/".join(key.key for key in keys)
            w = params[keys[0].key][keys[1].key]
            np.testing.assert_allclose(update, -0.05 * w if path in decayed else 0 * w, rtol=1e-6)


def test_a_tree_of_a_mask_freezes_a_part() -> None:
    params = {"head": {"kernel": jnp.ones((2, 2))}, "body": {"kernel": jnp.ones((2, 2))}}
    labels = regularizers.mask_tree(jax.eval_shape(lambda: params), mask=regularizers.by_name("head/*"))
    optimizer = optax.partition({True: optax.sgd(0.5), False: optax.set_to_zero()}, labels)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert (updates["head"]["kernel"] == -0.5).all() and not updates["body"]["kernel"].any()
