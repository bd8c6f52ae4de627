"""Weight normalization: the lengths of kernels as parameters apart from their directions."""

from typing import Any

import jax
import jax.numpy as jnp

from dlkit.layers.base import About, Layer, Part, described
from dlkit.layers.calls import Call, Ran, Shapes, apply_inside, composite, init_inside
from dlkit.regularizers.groups import group_norms
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["weight_norm"]


@described
def weight_norm(layer: Layer) -> Layer:
    """Weight normalization: a layer with each of its kernels W = g V / ||V||, for every output by itself.

    Kernels are the parameters with at least two axes; g has one number for each of the last axis, and ||V|| is taken
    over all the others. Biases and scales stay as they are. At the start g = ||V||, so W is the layer's own.

    Parameters: `{"layer": the layer's, with V in place of W, "scale": {kernel: g}}`, with kernels by their paths. Where
    a column of V is zero, so is that of W.

    Args:
        layer: what to normalize; `lengths=` and side inputs reach it.

    Returns:
        A layer of the same inputs and outputs.

    Reference:
        Salimans and Kingma, "Weight normalization", 2016, https://arxiv.org/abs/1602.07868.

    Example:
        >>> from dlkit.layers import dense
        >>> kernel = jnp.array([[3.0, 0.0], [4.0, 2.0]])
        >>> normalized = weight_norm(dense(2, kernel_init=lambda key, shape, dtype: kernel))
        >>> params, state = normalized.init(jax.random.key(0), (2,))
        >>> params["scale"]["['kernel']"].tolist()
        [5.0, 2.0]
        >>> params["scale"]["['kernel']"] = jnp.array([10.0, 1.0])
        >>> normalized.apply(params, state, jnp.array([1.0, 1.0]))[0].tolist()
        [14.0, 1.0]
    """

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        params, state = init_inside(layer, key, input_shape, shapes)
        leaves = jax.tree_util.tree_leaves_with_path(params)
        scales = {
            jax.tree_util.keystr(path): _lengths(leaf)[0].reshape(leaf.shape[-1:]).astype(leaf.dtype)
            for path, leaf in leaves
            if leaf.ndim >= 2
        }
        return {"layer": params, "scale": scales}, state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        def kernel(path: tuple[Any, ...], leaf: Array) -> Array:
            name = jax.tree_util.keystr(path)
            if name not in params["scale"]:
                return leaf
            scale: Array = params["scale"][name].reshape((1,) * (leaf.ndim - 1) + leaf.shape[-1:])
            # W = g V / ||V||
            return (scale * _lengths(leaf)[1]).astype(leaf.dtype)

        kernels = jax.tree_util.tree_map_with_path(kernel, params["layer"])
        return apply_inside(layer, kernels, state, x, call)

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return weight_norm(layers[0])

    return composite("weight_norm", init, run, About(parts=(Part("", layer, apart=True),), rebuild=rebuild))


def _lengths(kernel: Array) -> tuple[Array, Array]:
    """||V|| for every output, and V / ||V||, in at least float32."""
    return group_norms("weight_norm", kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32)), None)
