"""Conformance rows of dlkit.layers: attention."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from dlkit import layers
from tests.cases.base import Case, Input, layer, plain, with_side

# A logit is a product of two values: 1e18 squared is still finite.
PRODUCT = 1e18


def tied_logits(dtype: str) -> Callable[[jax.Array], jax.Array]:
    table = layers.embedding(5, 4).init(jax.random.key(0), ())[0]["embedding"].astype(dtype)
    return lambda x: layers.tied_logits(x, table)


def masked(dtype: str) -> Callable[..., jax.Array]:
    """The last query may attend to nothing."""
    allowed = np.array([[True, False, True], [True, True, True], [False, False, False]])

    def function(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
        mask = allowed.reshape((1,) * (queries.ndim - 2) + (3, 3))
        return layers.dot_product_attention(queries, keys, values, mask=jax.numpy.asarray(mask))

    return function


QUERIES, KEYS, VALUES = Input((3, 4)), Input((3, 4)), Input((3, 2))

CASES: tuple[Case, ...] = (
    layer("layers.embedding", layers.embedding(5, 4), (3,), classes=5),
    layer("layers.embedding-scalar", layers.embedding(5, 4), (), classes=5),
    Case(
        "layers.tied_logits",
        tied_logits,
        (Input((4,)),),
        1e37,
        init=lambda: layers.embedding(5, 4).init(jax.random.key(0), ())[0]["embedding"],
        apply=lambda table, x: layers.tied_logits(x, table),
    ),
    layer("layers.learned_positions", layers.learned_positions(max_length=5), (3, 4), limit=3e38),
    layer("layers.sinusoidal_positions", layers.sinusoidal_positions(), (3, 5), limit=3e38),
    Case("layers.rotary", plain(layers.rotary), (Input((3, 4)),), 1e38),
    Case("layers.rotary-offset", plain(layers.rotary, offset=7, base=100.0), (Input((3, 4)),), 1e38),
    Case("layers.dot_product_attention", plain(layers.dot_product_attention), (QUERIES, KEYS, VALUES), PRODUCT),
    Case("layers.dot_product_attention-masked", masked, (QUERIES, KEYS, VALUES), PRODUCT),
    layer("layers.multi_head_attention", layers.multi_head_attention(2), (3, 4), limit=PRODUCT),
    layer(
        "layers.multi_head_attention-causal_rotary",
        layers.multi_head_attention(2, causal=True, rotation=partial(layers.rotary, base=100.0), use_bias=False),
        (3, 4),
        limit=PRODUCT,
    ),
    layer(
        "layers.multi_head_attention-train",
        layers.multi_head_attention(2, dropout=0.5, features=6, head_features=5),
        (3, 4),
        limit=PRODUCT,
        train=True,
    ),
    layer(
        "layers.multi_head_attention-grouped",
        layers.multi_head_attention(4, kv_heads=2, causal=True, position_bias=layers.alibi(4)),
        (3, 4),
        limit=PRODUCT,
    ),
    layer(
        "layers.multi_head_attention-relative",
        layers.multi_head_attention(2, position_bias=layers.relative_positions(2, buckets=4, max_distance=3)),
        (3, 4),
        limit=PRODUCT,
    ),
    layer("layers.alibi", layers.alibi(3), (3, 3), classes=4),
    layer("layers.relative_positions", layers.relative_positions(2, buckets=4, max_distance=3), (3, 3), classes=4),
    with_side(
        "layers.transformer_block-context",
        layers.transformer_block(2, context_features=5, causal=True),
        Input((3, 4)),
        context=Input((4, 5)),
    ),
    layer("layers.transformer_block", layers.transformer_block(2), (3, 4), limit=1e30),
    layer(
        "layers.transformer_block-swiglu",
        layers.transformer_block(2, activation="swiglu", normalization="rms", causal=True, rotation=layers.rotary),
        (3, 4),
        limit=1e30,
    ),
    layer("layers.transformer_block-post_norm", layers.transformer_block(2, pre_norm=False), (3, 4), limit=PRODUCT),
    layer("layers.transformer_block-train", layers.transformer_block(2, dropout=0.5), (3, 4), limit=1e30, train=True),
)
