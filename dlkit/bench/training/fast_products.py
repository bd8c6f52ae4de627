"""Gives the convolutions and products of a user's own functions the forms that are fast in a compiled loop on CPU.

XLA's CPU backend brings a convolution into the one layout that it has a fast kernel for only outside of loops. Inside
a loop, where the bench trains, the gradients of any convolution and all of those with channels first are computed by a
naive kernel, 20 times slower and more (`benchmarks/own_convolutions.py`). So the programs of such a problem are
rewritten:

- before differentiation, convolutions with few patches, and those of groups, become those of `dlkit.layers`: matrix
  products, which are then faster than XLA's own in either place; and products of more than two axes, as those of
  sequences and of attention, become those of `dlkit.layers` too, whose gradients are faster
  (`benchmarks/product_forms.py`);
- after it, what is left is laid out by hand as XLA does it outside of loops.

Whether and how follows from the problem's functions, its shapes and the platform alone: a program's identity, which has
the digest of the code and the device, names the decision. Problems without either keep their exact program.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from dlkit.bench.identity.tracing import as_trained
from dlkit.bench.problems.base import Problem, example_batch
from dlkit.bench.problems.players import with_step
from dlkit.layers.convolution_forms import convolve, convolve_transposed
from dlkit.layers.products import matmul
from dlkit.layers.window import Window
from dlkit.typing import Array

__all__ = ["Rewrite", "fast_products", "of_products", "with_layout", "with_products"]

Rewrite: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Function -> one that computes the same."""

_Form: TypeAlias = Callable[[Array, Array], Array]

# Equations that run bodies, which are rewritten too. Rules of differentiation stay what their authors wrote.
CALLS = frozenset(
    {
        "checkpoint",
        "closed_call",
        "cond",
        "core_call",
        "custom_jvp_call",
        "custom_vjp_call",
        "jit",
        "pjit",
        "remat2",
        "scan",
        "while",
    }
)
FEW_PATCH_VALUES = 2**20  # measured: beyond, XLA's kernel, which never writes the patches down, is faster


def fast_products(problem: Problem) -> tuple[Problem, Rewrite]:
    """Returns a problem to compile programs of, and how to rewrite those programs.

    Args:
        problem: what is trained. Its loss and `evaluate` are traced once, to see whether they have any convolution, or
            product of more than two axes, that is not of `dlkit.layers`; where they have none, and on other platforms
            than CPU, nothing changes.

    Returns:
        The problem, with the layers' products in place of these and of small convolutions; and a function of functions,
        for whatever is compiled of it.
    """
    if jax.default_backend() != "cpu" or not _has_slow_forms(problem):
        return problem, lambda function: function
    return of_products(problem), with_layout


def of_products(problem: Problem) -> Problem:
    """Returns a problem whose losses and metrics have the layers' products, and them in place of small convolutions."""
    once = functools.cache(with_products)  # a game's loss stays that of one of its players
    players = tuple(replace(player, loss=once(player.loss)) for player in problem.players)
    scores = problem.example_scores
    return replace(
        problem,
        loss=once(problem.loss),
        evaluate=with_products(problem.evaluate),
        example_scores=scores and with_products(scores),
        players=players,
    )


def with_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose products and small convolutions are those of `dlkit.layers`, to be differentiated.

    Those inside of jit, remat, scan, while, cond, and of functions with derivatives of their own, are found.
    What is chosen by platform, as the convolutions of `dlkit.layers` are, stays.

    Args:
        function: pure; takes and returns pytrees of arrays.

    Returns:
        A function of the same arguments. Its results agree up to the order of a sum.

    Example:
        >>> def blurred(x):
        ...     return lax.conv(x, jnp.ones((1, 1, 2)), (1,), "VALID")
        >>> signal = jnp.arange(4.0).reshape(1, 1, 4)
        >>> with_products(blurred)(signal)[0, 0]
        Array([1., 3., 5.], dtype=float32)
        >>> "dot_general" in str(jax.make_jaxpr(with_products(blurred))(signal))
        True
    """
    return _rewritten(function, _as_product)


def with_layout(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose convolutions have the layout that is fast in loops; for what is not differentiated.

    Args:
        function: as in `with_products`.

    Returns:
        A function of the same arguments and results.

    Example:
        >>> def blurred(x):
        ...     return lax.conv(x, jnp.ones((1, 1, 2)), (1,), "VALID")
        >>> with_layout(blurred)(jnp.arange(4.0).reshape(1, 1, 4))[0, 0]
        Array([1., 3., 5.], dtype=float32)
        >>> "transpose" in str(jax.make_jaxpr(with_layout(blurred))(jnp.ones((1, 1, 4))))
        True
    """
    return _rewritten(function, _in_fast_layout)


def _has_slow_forms(problem: Problem) -> bool:
    try:
        params, state = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
        key, validation = jax.eval_shape(lambda: jax.random.key(0)), dict(problem.dataset.validation)
        step = jax.ShapeDtypeStruct((), jnp.int32)
        with as_trained():
            traces = (
                jax.make_jaxpr(with_step(problem.loss))(params, state, example_batch(problem), key, step),
                jax.make_jaxpr(problem.evaluate)(params, state, validation),
            )
    except Exception:
        return False  # the same comes up again when the program is traced, where the trial is known
    return any(_is_any(traced.jaxpr, _slow_form) for traced in traces)


def _slow_form(equation: core.JaxprEqn) -> Any:
    """Something for what has, or may have after differentiation, another form."""
    return _is_convolution(equation) or _of_many_axes(equation)


def _rewritten(function: Callable[..., Any], form_of: Callable[[core.JaxprEqn], _Form | None]) -> Callable[..., Any]:
    """A function whose convolutions and products are computed by other forms, where there is one."""

    @functools.wraps(function)
    def computed(*arguments: Any, **named: Any) -> Any:
        traced, results = jax.make_jaxpr(function, return_shape=True)(*arguments, **named)
        outputs = _evaluate(traced, jax.tree.leaves((arguments, named)), form_of)
        return jax.tree.unflatten(jax.tree.structure(results), outputs)

    # `wraps` finds no name on a partial; profiles show the executable by it
    computed.__name__ = getattr(getattr(function, "func", function), "__name__", "computed")
    return computed


def _evaluate(traced: core.ClosedJaxpr, arguments: Sequence[Any], form_of: Any) -> list[Any]:
    """Evaluates equation by equation."""
    jaxpr = traced.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*traced.consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        primitive, parameters = equation.primitive, equation.params
        form = form_of(equation)
        if form is not None:
            outputs = [form(*inputs)]
        else:
            inside = _inside(equation, form_of)
            if any(_is_any(body, inside) for body in _bodies(equation)):
                parameters = {name: _rewritten_body(value, inside) for name, value in parameters.items()}
            result = primitive.bind(*inputs, **primitive.get_bind_params(parameters))
            outputs = result if primitive.multiple_results else [result]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rewritten_body(parameter: Any, form_of: Any) -> Any:
    """An equation's parameter, rewritten where it is a body, or several, with what has another form."""
    if isinstance(parameter, tuple):
        return tuple(_rewritten_body(part, form_of) for part in parameter)
    if isinstance(parameter, core.ClosedJaxpr) and _is_any(parameter.jaxpr, form_of):
        return jax.make_jaxpr(lambda *arguments: _evaluate(parameter, arguments, form_of))(*parameter.in_avals)
    if isinstance(parameter, core.Jaxpr) and _is_any(parameter, form_of):
        return _rewritten_body(core.ClosedJaxpr(parameter, ()), form_of).jaxpr
    return parameter


def _is_any(jaxpr: core.Jaxpr, form_of: Any) -> bool:
    """Whether there is an equation with another form, at this level or below."""
    return any(
        form_of(equation) or any(_is_any(body, _inside(equation, form_of)) for body in _bodies(equation))
        for equation in jaxpr.eqns
    )


def _inside(equation: core.JaxprEqn, form_of: Any) -> Any:
    """The forms inside a call: where derivatives are its author's own, a product's form would change no gradient."""
    if not equation.primitive.name.startswith("custom_"):
        return form_of
    return lambda inner: form_of(inner) if _is_convolution(inner) else None


def _bodies(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """What a call runs; nothing for a choice by platform: its author has chosen."""
    if equation.primitive.name not in CALLS or equation.params.get("branches_platforms") is not None:
        return
    for parameter in equation.params.values():
        for part in parameter if isinstance(parameter, tuple) else (parameter,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part


def _is_convolution(equation: core.JaxprEqn) -> bool:
    """Whether an equation is a convolution of real numbers over one to three axes, none of them empty."""
    if equation.primitive.name != "conv_general_dilated":
        return False
    x, kernel, y = _shapes(equation)
    return (
        x.dtype == kernel.dtype == y.dtype
        and jnp.issubdtype(x.dtype, jnp.floating)
        and 1 <= x.ndim - 2 <= 3
        and min(*x.shape, *kernel.shape, *y.shape) > 0
    )


def _of_many_axes(equation: core.JaxprEqn) -> bool:
    """Whether an equation is a product of real numbers in their own precision with more than two axes on a side."""
    if equation.primitive.name != "dot_general":
        return False
    x, kernel, y = _shapes(equation)
    contracted, batch = equation.params["dimension_numbers"]
    axes = len(contracted[0]) + len(batch[0])
    return (
        x.dtype == kernel.dtype == y.dtype
        and jnp.issubdtype(x.dtype, jnp.floating)
        and equation.params["precision"] is None
        and max(x.ndim, kernel.ndim) > 2
        and bool(contracted[0])
        and min(x.ndim, kernel.ndim) > axes
        and min(*x.shape, *kernel.shape) > 0
    )


def _as_layers_product(equation: core.JaxprEqn) -> _Form:
    """The product as `matmul` of [*batch, rows, inputs] and [*batch, inputs, outputs]."""
    (x_inputs, kernel_inputs), (x_batch, kernel_batch) = equation.params["dimension_numbers"]
    x, kernel, y = _shapes(equation)
    rows = [axis for axis in range(x.ndim) if axis not in (*x_inputs, *x_batch)]
    outputs = [axis for axis in range(kernel.ndim) if axis not in (*kernel_inputs, *kernel_batch)]
    batch = [x.shape[axis] for axis in x_batch]
    inputs = math.prod(x.shape[axis] for axis in x_inputs)

    def product(x: Array, kernel: Array) -> Array:
        x = jnp.transpose(x, (*x_batch, *rows, *x_inputs)).reshape(*batch, -1, inputs)
        kernel = jnp.transpose(kernel, (*kernel_batch, *kernel_inputs, *outputs)).reshape(*batch, inputs, -1)
        if kernel.shape[-1] > x.shape[-2]:  # W x, as frameworks that map over examples have it: W is the kernel
            kernel, x = jnp.swapaxes(x, -1, -2), jnp.swapaxes(kernel, -1, -2)
            return jnp.swapaxes(matmul(x, kernel), -1, -2).reshape(y.shape)
        return matmul(x, kernel).reshape(y.shape)

    return product


def _shapes(equation: core.JaxprEqn) -> list[Any]:
    """Shapes and types of inputs, kernel and outputs."""
    return [atom.aval for atom in (*equation.invars, *equation.outvars)]


def _as_product(equation: core.JaxprEqn) -> _Form | None:
    """The layers' form of a convolution or product; None where they have none, or XLA's is faster."""
    if not _is_convolution(equation):
        return _as_layers_product(equation) if _of_many_axes(equation) else None
    setting = equation.params
    stride, spread = math.prod(setting["window_strides"]), math.prod(setting["lhs_dilation"])
    groups, numbers = setting["feature_group_count"], setting["dimension_numbers"]
    x, kernel, y = _shapes(equation)
    if (
        setting["batch_group_count"] > 1
        or (spread > 1 and (stride > 1 or groups > 1))
        or min(map(min, setting["padding"])) < 0
    ):
        return None
    # Each input of a spread convolution brings all taps of all outputs; each output of another sees all taps of inputs.
    taps = kernel.size // kernel.shape[numbers.rhs_spec[1 if spread > 1 else 0]]
    features = numbers.lhs_spec[1] if spread > 1 else numbers.out_spec[1]
    base = x if spread > 1 else y
    if groups == 1 and taps * base.size // base.shape[features] > FEW_PATCH_VALUES:
        return None
    form = convolve_transposed if spread > 1 else convolve
    strides = tuple(setting["lhs_dilation" if spread > 1 else "window_strides"])

    def product(x: Array, kernel: Array) -> Array:
        x, kernel, back = _channels_last(x, kernel, numbers)
        return back(form(x, kernel, Window(kernel.shape[:-2], strides, setting["rhs_dilation"], setting["padding"])))

    return product


def _in_fast_layout(equation: core.JaxprEqn) -> _Form | None:
    """XLA's convolution between transpositions; None where it has the fast layout, or there is none."""
    if not _is_convolution(equation):
        return None
    setting = dict(equation.params)
    numbers = setting.pop("dimension_numbers")
    axes = tuple(range(_shapes(equation)[0].ndim))
    last = (0, axes[-1], *axes[1:-1])
    fast = lax.ConvDimensionNumbers(last, (axes[-1], axes[-2], *axes[:-2]), last)
    if numbers == fast or setting["feature_group_count"] > 1 or setting["batch_group_count"] > 1:
        return None

    def convolution(x: Array, kernel: Array) -> Array:
        x, kernel, back = _channels_last(x, kernel, numbers)
        y = equation.primitive.bind(x, kernel, dimension_numbers=fast, **setting)
        return back(y)

    return convolution


def _channels_last(x: Array, kernel: Array, numbers: Any) -> tuple[Array, Array, Callable[[Array], Array]]:
    """Inputs [batch, *spatial, in], the kernel [*size, in, out], and what brings outputs like the inputs back."""
    (batch, channels, *spatial), (outputs, inputs, *size) = numbers.lhs_spec, numbers.rhs_spec
    x, kernel = jnp.transpose(x, (batch, *spatial, channels)), jnp.transpose(kernel, (*size, inputs, outputs))
    batch, channels, *spatial = numbers.out_spec
    places = (batch, *spatial, channels)
    return x, kernel, lambda y: jnp.transpose(y, [places.index(axis) for axis in range(y.ndim)])
