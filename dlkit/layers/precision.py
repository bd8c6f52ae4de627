"""Mixed precision: in which dtypes parameters are kept, a layer computes, and its outputs are handed on."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from dlkit.layers.base import About, Layer, Part, as_layer, described
from dlkit.layers.calls import Call, Ran, Shapes, apply_inside, composite, init_inside
from dlkit.regularizers.masks import path_names
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["Precision", "with_precision"]

_Places: TypeAlias = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Precision:
    """The dtypes of a layer, for `with_precision`. Each is a floating-point dtype or its name.

    Attributes:
        parameters: in which parameters are made, kept and get their gradients.
        compute: to which parameters, inputs and side inputs are cast for the layer's own arithmetic.
        output: in which outputs are handed on; None for the dtype that the inputs came in, or if they are not floating
            point, such as token ids, for `compute`.

    Raises:
        TypeError: one of them is no floating-point dtype.

    Example:
        >>> Precision(output="float32")
        Precision(parameters=float32, compute=bfloat16, output=float32)
    """

    parameters: DTypeLike = jnp.float32
    compute: DTypeLike = jnp.bfloat16
    output: DTypeLike | None = None

    def __post_init__(self) -> None:
        """Make them dtypes, so that the same ones are equal."""
        for name in ("parameters", "compute", "output"):
            given = getattr(self, name)
            if given is None and name == "output":
                continue
            dtype = None if given is None else jnp.dtype(given)
            if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(f"Precision: expected a floating-point dtype for {name}, got {given!r}")
            object.__setattr__(self, name, dtype)

    def __repr__(self) -> str:
        return f"Precision(parameters={self.parameters}, compute={self.compute}, output={self.output})"

    @property
    def identity_key(self) -> Hashable:
        """What is the same for precisions that are equal.

        Example:
            >>> Precision(compute="float16").identity_key == Precision(compute=jnp.float16).identity_key
            True
        """
        return ("precision", str(self.parameters), str(self.compute), str(self.output))


@described
def with_precision(layer: Layer | ArrayFunction, precision: Precision) -> Layer:
    """Let a layer, and all that is inside it, compute in another precision than its parameters are kept in.

    Parameters are made in `precision.parameters`. In `apply` they, the inputs and floating-point side inputs are cast
    to `precision.compute`, and the outputs to `precision.output`. The casts are differentiated: gradients come in the
    dtype of the parameters, which an optimizer then updates without rounding to the short dtype. The state (running
    statistics, a recurrent carry) stays as the layer makes it.

    What a short dtype would spoil is float32 all the same, here as anywhere in these layers: the statistics of
    normalizations, softmax and log-sum-exp, the carry of recurrent layers, the sum of a pool; and the losses, which
    widen the logits that they are given. Outputs are rounded to `compute` before they are cast to
    `output`: logits that are not come from a head of its own with `Precision("float32", "float32", "float32")`.

    **A part with a precision of its own** keeps it: `with_precision(serial(body=..., head=with_precision(dense(10),
    Precision(compute="float32"))), Precision())` hands the head the parameters as they are kept, not rounded ones. In
    the middle of a chain leave `output` as None, so that what follows gets the dtype that it computes in: layers
    compute in what their inputs and parameters promote to. The parameters of a `shared` layer are rounded, or not, as
    its first place says.

    **Loss scaling** is not part of it. bfloat16 has the exponents of float32, and needs none. In float16 gradients
    below about 6e-8 vanish, and values above 65504 overflow: there multiply the loss by a factor such as 2**12, divide
    the gradients by it, and leave out steps that are not finite (`optax.apply_if_finite`). A factor that adapts to the
    gradients is not offered here.

    Args:
        layer: a layer, with others inside or not.
        precision: the dtypes.

    Returns:
        The layer, with parameters and state of the same structure.

    Raises:
        TypeError: the layer is neither a layer nor a function, or precision is no `Precision`.

    Reference:
        Micikevicius et al., "Mixed precision training", 2017, https://arxiv.org/abs/1710.03740; Kalamkar et al., "A
        study of BFLOAT16 for deep learning training", 2019, https://arxiv.org/abs/1905.12322.

    Example:
        >>> from dlkit.layers import dense, serial
        >>> model = with_precision(serial(dense(8), jnp.tanh, dense(2)), Precision())
        >>> params, state = model.init(jax.random.key(0), (4,))
        >>> slopes = jax.grad(lambda params: model.apply(params, state, jnp.ones((3, 4)))[0].sum())(params)
        >>> {str(leaf.dtype) for leaf in jax.tree.leaves((params, slopes))}
        {'float32'}
    """
    if not isinstance(precision, Precision):
        raise TypeError(f"with_precision: expected a Precision, got {type(precision).__name__}: {precision!r}")
    inner = as_layer(layer)
    own = _own_places(inner)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        params, state = init_inside(inner, key, input_shape, shapes)
        return _cast(params, precision.parameters, but=own), state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        handed_on = precision.output or (x.dtype if _is_floating(x) else precision.compute)
        call = call._replace(side=_cast(dict(call.side), precision.compute))
        params, x = _cast(params, precision.compute, but=own), _cast(x, precision.compute)
        y, state, after = apply_inside(inner, params, state, x, call)
        return _cast(y, handed_on), state, after

    about = About(
        parts=(Part("", inner),),
        rebuild=lambda layers: with_precision(layers[0], precision),
        own_precision=True,
    )
    return composite("with_precision", init, run, about)


def _own_places(layer: Layer, path: tuple[str, ...] = ()) -> _Places:
    """The paths, in the parameters of a layer, of what is inside and casts its parameters itself."""
    if layer.about.own_precision:
        return frozenset({path})
    below = (_own_places(part.layer, (*path, part.name) if part.name else path) for part in layer.parts)
    return frozenset[tuple[str, ...]]().union(*below)


def _cast(tree: Any, dtype: DTypeLike, *, but: _Places = frozenset()) -> Any:
    """The floating-point leaves of a tree in another dtype, but for what stands at or below some paths."""

    def cast(keys: tuple[Any, ...], leaf: Any) -> Any:
        path = path_names(keys)
        if any(path[: len(place)] == place for place in but) or not _is_floating(leaf):
            return leaf
        return leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, tree)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.floating))
