"""One layer many times: one after the other in a compiled loop (`repeat`), side by side with one input (`ensemble`).

The parameters of all stand in one tree, stacked on a first axis. XLA sees the layer once, so that what is traced and
compiled does not grow with their number.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlkit.checks import require_size
from dlkit.layers.base import About, Layer, Part, as_layer, described
from dlkit.layers.calls import Call, Ran, Shapes, apply_inside, composite, init_inside
from dlkit.layers.probe import output_shape
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["ensemble", "repeat"]


@described
def repeat(layer: Layer | ArrayFunction, depth: int, *, unroll: int = 1, input_dtype: DTypeLike = jnp.float32) -> Layer:
    """Apply copies of a layer one after the other, in a compiled loop: y = f_depth(... f_2(f_1(x))).

    The same as a `serial` of the copies, but for the parameters, which stand in one tree: `{"kernel": [depth, ...]}`
    where the layer has `{"kernel": [...]}`; the state likewise. Copy i gets the subkeys `fold_in(key, i)`, as in
    `serial`, and with them the same bits. Side inputs and lengths reach every copy. With `remat` around the layer, only
    what goes from one copy to the next is kept for the gradient.

    Args:
        layer: keeps the shape of its input.
        depth: number of copies.
        unroll: copies per iteration of the loop; more of them compile longer, and may run faster.
        input_dtype: dtype of the examples, for the check of the shape in `init`.

    Returns:
        A layer for what the layer takes. Where parameters promote the dtype of the inputs, they are cast at the start.

    Raises:
        TypeError: the layer is neither a layer nor a function.
        ValueError: depth or unroll is no positive integer; or, in `init`, the layer changes the shape of its input.

    Reference:
        `jax.lax.scan` over stacked parameters.

    Example:
        >>> from dlkit.layers import dense
        >>> deep = repeat(dense(3), 12)
        >>> params, state = deep.init(jax.random.key(0), (3,))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (12, 3), 'kernel': (12, 3, 3)}
    """
    require_size("repeat", depth=depth, unroll=unroll)
    inner = as_layer(layer)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        params, state = _init_copies(inner, depth, key, input_shape, shapes)
        own, own_state = jax.tree.map(lambda leaf: leaf[0], (params, state))
        after = output_shape(inner, own, own_state, input_shape, input_dtype=input_dtype, **shapes)
        if after.shape != tuple(input_shape):
            raise ValueError(
                f"repeat: expected a layer that keeps the shape of its input, {tuple(input_shape)}, got one that makes "
                f"{after.shape} of it"
            )
        return params, state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        def step(x: Array, own: tuple[Params, State, Array]) -> tuple[Array, State]:
            params, state, place = own
            key = None if call.key is None else jax.random.fold_in(call.key, place)
            y, state, _ = apply_inside(inner, params, state, x, call._replace(key=key))
            return y, state

        stacks = params, state, jnp.arange(depth, dtype=jnp.uint32)
        x = _promoted(step, x, stacks)
        y, state = jax.lax.scan(step, x, stacks, length=depth, unroll=min(unroll, depth))
        return y, state, call.lengths

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return repeat(layers[0], depth, unroll=unroll, input_dtype=input_dtype)

    return composite("repeat", init, run, About(parts=(Part("", inner, apart=True),), rebuild=rebuild))


@described
def ensemble(layer: Layer | ArrayFunction, members: int, *, axis: int = -2) -> Layer:
    """Apply copies of a layer to the same input, all at once: y = stack([f_1(x), ..., f_members(x)]).

    Parameters and state are stacked as in `repeat`; member i gets the subkeys `fold_in(key, i)`, and with them the bits
    of the layer that is initialized alone with this subkey. A chain goes on with their mean by
    `serial(ensemble(model, 5), lambda y: y.mean(axis=-2))`.

    Args:
        layer: a layer.
        members: how many.
        axis: where the members stand in the outputs, from the end, so that the batch axes stay in front: -2 is before
            the features, -1 the last.

    Returns:
        A layer for what the layer takes; outputs `[*batch, ..., members, features]`.

    Raises:
        TypeError: the layer is neither a layer nor a function.
        ValueError: members is no positive integer; or axis is not negative.

    Reference:
        Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", 2016,
        https://arxiv.org/abs/1612.01474.

    Example:
        >>> from dlkit.layers import dense
        >>> five = ensemble(dense(3), 5)
        >>> params, state = five.init(jax.random.key(0), (2,))
        >>> params["kernel"].shape, five.apply(params, state, jnp.ones((4, 2)))[0].shape
        ((5, 2, 3), (4, 5, 3))
    """
    require_size("ensemble", members=members)
    if axis >= 0:
        raise ValueError(f"ensemble: expected a negative axis, because the batch axes come first, got {axis}")
    inner = as_layer(layer)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        return _init_copies(inner, members, key, input_shape, shapes)

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        def member(params: Params, state: State, place: Array) -> Ran:
            key = None if call.key is None else jax.random.fold_in(call.key, place)
            return apply_inside(inner, params, state, x, call._replace(key=key))

        places = jnp.arange(members, dtype=jnp.uint32)
        y, state, after = jax.vmap(member, out_axes=(0, 0, None))(params, state, places)
        return jnp.moveaxis(y, 0, axis), state, after

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return ensemble(layers[0], members, axis=axis)

    return composite("ensemble", init, run, About(parts=(Part("", inner, apart=True),), rebuild=rebuild))


def _init_copies(layer: Layer, copies: int, key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
    """Parameters and states of all copies, stacked; each as if it were initialized alone."""

    def one(place: Array) -> tuple[Params, State]:
        return init_inside(layer, jax.random.fold_in(key, place), input_shape, shapes)

    return jax.vmap(one)(jnp.arange(copies, dtype=jnp.uint32))


def _promoted(step: Callable[..., tuple[Array, State]], x: Array, stacks: tuple[Params, State, Array]) -> Array:
    """The inputs in the dtype of the outputs, which a loop has to begin with."""
    first = jax.tree.map(lambda leaf: leaf[0], stacks)
    after, _ = jax.eval_shape(step, x, first)
    return x.astype(after.dtype)
