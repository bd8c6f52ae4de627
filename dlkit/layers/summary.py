"""What a model is, as a table: the layers inside, what they make, how many numbers they hold, what they compute."""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from dlkit.layers.base import Layer, Networks, as_layer
from dlkit.layers.calls import Call, Ran, apply_inside, around, init_inside
from dlkit.layers.inside import with_each
from dlkit.layers.probe import batched, probing
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["Row", "Summary", "parameter_count", "summary"]

_HEAD = ("path", "layer", "output", "parameters", "FLOPs")
_LONGEST = 40  # of the text of a layer


class Row(NamedTuple):
    """One layer.

    Attributes:
        path: of names; "" for the whole.
        layer: what it is, as text.
        output: shape and dtype of what it makes of one example; a tree of them where it makes more than one array.
        parameters: how many numbers it holds, those of the layers inside it included.
        operations: floating-point operations of matrix products and convolutions, for one example.
    """

    path: str
    layer: str
    output: Any
    parameters: int
    operations: int


@dataclass(frozen=True, repr=False)
class Summary:
    """A model as a table; its text is the table, and a notebook shows it as one.

    Attributes:
        rows: the whole first, then the layers inside, outer ones before inner ones.
    """

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """The table."""
        lines = [_HEAD, *map(_cells, self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        texts = []
        for line in lines:
            cells = [
                cell.rjust(width) if column > 2 else cell.ljust(width) for column, (cell, width) in _sized(line, widths)
            ]
            texts.append("  ".join(cells).rstrip())
        return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:]])

    def __repr__(self) -> str:
        """The table, for a console."""
        return str(self)

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in _HEAD)
        rows = (f"<td>{'</td><td>'.join(map(html.escape, _cells(row)))}</td>" for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def parameter_count(params: Any) -> int:
    """How many numbers parameters hold.

    Args:
        params: a tree of arrays, or of their shapes, as `jax.eval_shape` of an `init` returns it.

    Returns:
        The sum of the sizes of its leaves.

    Example:
        >>> from dlkit.layers import dense
        >>> parameter_count(dense(8).init(jax.random.key(0), (4,))[0])
        40
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def summary(
    layer: Layer | Networks | ArrayFunction,
    input_shape: Shape,
    *,
    input_dtype: DTypeLike = jnp.float32,
    **side_shapes: Shape | jax.ShapeDtypeStruct,
) -> Summary:
    """A table of a model: path, layer, output shape, parameters and FLOPs of every layer inside. Nothing is computed.

    FLOPs are those of matrix products and convolutions, two for each multiplication with its addition, for one example
    and its outputs alone: training takes about three times as many. A loop counts with its length.

    Inside of `repeat` and `ensemble` a row is of one copy; the row of all of them is around it. A layer that is shared
    has its parameters in the row of each of its places, and once in the first row.

    Args:
        layer: the model; one of several networks is summed up as its `layer`.
        input_shape: shape of one example, without batch axes.
        input_dtype: dtype of the examples; `jnp.int32` for token ids.
        **side_shapes: shapes of side inputs for one example, as for `init`.

    Returns:
        The table; `print` it, or take its `rows`.

    Raises:
        ValueError: the example does not fit.

    Example:
        >>> from dlkit.layers import dense, serial
        >>> summary(serial(hidden=dense(8), activation=jnp.tanh, output=dense(2)), (4,))
        path        layer          output      parameters  FLOPs
        ----------  -------------  ----------  ----------  -----
                    serial         float32[2]          58     96
        hidden      dense(8)       float32[8]          40     64
        activation  lambda_(tanh)  float32[8]           0      0
        output      dense(2)       float32[2]          18     32
    """
    model = as_layer(layer)
    shape = tuple(input_shape)
    shapes = {name: each for name, each in side_shapes.items() if name in model.side_inputs}
    params, state = jax.eval_shape(lambda: init_inside(model, jax.random.key(0), shape, shapes))
    side = {name: batched(each, batch=1) for name, each in shapes.items()}
    found: dict[str, Row] = {}
    watched = _watched(with_each(model, lambda path, inner: _watched(inner, path, found)), "", found)
    with probing():
        jax.eval_shape(
            lambda params, state, x, side: watched.apply(params, state, x, **side)[0],
            params,
            state,
            batched(shape, input_dtype, batch=1),
            side,
        )
    whole = found[""]._replace(layer=_name(model), parameters=parameter_count(params))
    inside = [found[path]._replace(layer=_name(inner)) for path, inner in model.sublayers.items() if path in found]
    return Summary((whole, *inside))


def _watched(layer: Layer, path: str, found: dict[str, Row]) -> Layer:
    """The layer, which enters its row when it is traced."""

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        def inner(params: Params, state: State, x: Array, key: Key | None, lengths: Array | None, side: Any) -> Ran:
            return apply_inside(layer, params, state, x, Call(key, call.train, lengths, side))

        arguments = params, state, x, call.key, call.lengths, dict(call.side)
        # Traced once, then run as it was traced: layers inside enter their rows in there.
        program, outputs = jax.make_jaxpr(inner, return_shape=True)(*arguments)
        made: Ran = jax.tree.unflatten(
            jax.tree.structure(outputs), core.jaxpr_as_fun(program)(*jax.tree.leaves(arguments))
        )
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), made[0])
        found.setdefault(path, Row(path, "", example, parameter_count(params), _operations(program.jaxpr)))
        return made

    return around("summary", layer, run, lambda layers: _watched(layers[0], path, found))


def _operations(program: core.Jaxpr) -> int:
    """Floating-point operations of the matrix products and convolutions of a program."""
    total = 0
    for equation in program.eqns:
        name = equation.primitive.name
        output = math.prod(_shape(equation.outvars[0])) if equation.outvars else 0
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * output * math.prod(_shape(equation.invars[0])[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = _shape(equation.invars[1])
            features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * output * (math.prod(kernel) // max(features, 1))
        else:
            inner = [_operations(each) for value in equation.params.values() for each in _programs(value)]
            times = equation.params["length"] if name == "scan" else 1
            # Of the branches of a condition one is run: the two forms of a convolution are such.
            total += times * (max(inner, default=0) if name == "cond" else sum(inner))
    return total


def _shape(variable: Any) -> Shape:
    return tuple(variable.aval.shape)


def _programs(value: Any) -> Iterator[core.Jaxpr]:
    """The programs in a parameter of an equation."""
    if isinstance(value, core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _programs(each)


def _name(layer: Layer) -> str:
    """A layer in a cell: its call, or only the constructor where that is long."""
    made = layer.about.made
    text = repr(layer)
    if made is not None and ("\n" in text or len(text) > _LONGEST):
        return getattr(made.constructor, "__name__", "layer")
    return "layer" if "\n" in text or len(text) > _LONGEST else text


def _cells(row: Row) -> tuple[str, ...]:
    output = ", ".join(f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for leaf in jax.tree.leaves(row.output))
    return row.path, row.layer, output, f"{row.parameters:,}", f"{row.operations:,}"


def _sized(line: tuple[str, ...], widths: list[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    return enumerate(zip(line, widths, strict=True))
