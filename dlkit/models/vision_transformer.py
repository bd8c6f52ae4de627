"""Vision transformers."""

import jax.numpy as jnp
from jaxtyping import Float

from dlkit import checks, layers
from dlkit.layers import Layer, described
from dlkit.typing import Array, ArrayFunction, Key, Params, Scalar, Shape, State

__all__ = ["vit"]


def vit(
    *,
    outputs: int,
    patch_size: int = 16,
    features: int = 768,
    heads: int = 12,
    depth: int = 12,
    mlp_features: int | None = None,
    activation: str | ArrayFunction = "gelu",
    normalization: str | Layer | None = None,
    dropout: Scalar = 0.0,
) -> Layer:
    """Vision transformer: the patches of an image are the steps of a sequence; the defaults are those of ViT-B/16.

    A convolution makes a vector of each patch, a learned vector (the class token) is put in front, learned positions
    are added; then pre-normalized blocks, normalization, and a linear output of the class token's vector. torchvision's
    weights are taken by `models.from_torch` with `models.torch_names(model)`.

    Args:
        outputs: number of outputs, e.g. classes.
        patch_size: height and width of a patch; what is left at an edge is dropped.
        features: size of the vector at each step.
        heads: attention heads of a block.
        depth: number of blocks.
        mlp_features: hidden features of the perceptrons; None takes 4 features.
        activation: of the blocks: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows, or a layer; None takes `layer_norm(epsilon=1e-6)`.
        dropout: probability of dropping a value; may be traced.

    Returns:
        A layer for examples `(height, width, channels)`; its outputs are `[*batch, outputs]`.

    Raises:
        ValueError: a size is no positive integer, or features is not divisible by heads; a name is unknown; or the
            examples do not fit.

    Reference:
        Dosovitskiy et al., "An image is worth 16x16 words", 2020, https://arxiv.org/abs/2010.11929.

    Example:
        >>> import jax
        >>> model = vit(outputs=10, patch_size=4, features=16, heads=2, depth=1)
        >>> params, state = jax.eval_shape(lambda key: model.init(key, (8, 12, 3)), jax.random.key(0))
        >>> y, _ = jax.eval_shape(model.apply, params, state, jnp.zeros((5, 8, 12, 3)))
        >>> params["positions"]["embedding"].shape, y.shape
        ((7, 16), (5, 10))
    """
    checks.require_size("vit", outputs=outputs, patch_size=patch_size, features=features, depth=depth)
    norm = layers.layer_norm(epsilon=1e-6) if normalization is None else layers.normalization(normalization)
    blocks = {
        f"block_{place}": layers.transformer_block(
            heads, mlp_features=mlp_features, activation=activation, normalization=norm, dropout=dropout
        )
        for place in range(depth)
    }
    parts: dict[str, Layer] = {
        "patches": layers.conv(features, (patch_size, patch_size), strides=patch_size, padding="VALID"),
        "steps": layers.lambda_(_steps),
        "token": _class_token(),
        "positions": layers.learned_positions(),
        "input_dropout": layers.dropout(dropout),
        **blocks,
        "normalization": norm,
        "first": layers.lambda_(_first),
        "output": layers.dense(outputs),
    }
    return layers.serial(*parts.values(), names=tuple(parts))


@described
def _class_token() -> Layer:
    """A learned vector before the first step. Parameters: `{"token": [features]}`; at first 0, as in the paper."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key
        return {"token": jnp.zeros(input_shape[-1:], jnp.float32)}, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch steps features"], State]:
        del key, train
        dtype = jnp.result_type(x, params["token"])
        token = jnp.zeros_like(x[..., :1, :], dtype) + params["token"].reshape((1,) * (x.ndim - 1) + (-1,))
        return jnp.concatenate([token, x.astype(dtype)], axis=-2), state

    return Layer(init, apply)


def _steps(x: Array) -> Array:
    """Rows and columns in one axis."""
    *batch, rows, columns, features = x.shape
    return x.reshape(*batch, rows * columns, features)


def _first(x: Array) -> Array:
    return x[..., 0, :]
