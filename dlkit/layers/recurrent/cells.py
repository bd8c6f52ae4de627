"""What recurrent layers are made of: one step of each cell, and the loop over time.

The matrix products of a step are apart from its cell, which is elementwise over the units. So the products with the
inputs are one product for all steps, and so is the gradient of the recurrent kernel, whatever the cell.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dlkit.layers.products import is_sharded, shared_like
from dlkit.typing import Array, ArrayFunction, Params

__all__ = ["GRU_CELL", "LSTM_CELL", "Carry", "Cell", "recurrence", "simple_cell"]

Carry: TypeAlias = tuple[Array, ...]
"""What a cell hands from step to step, each `[batch, units]`; the first is its output h."""


class Cell(NamedTuple):
    """One step of a recurrence, without its matrix products, and its derivative.

    The derivative is written out: what JAX would keep of a step for it is twice as much, and a long sequence is bound
    by that traffic.

    Attributes:
        gates: how many blocks of `units` columns the kernels have.
        parts: the names of the arrays in the carry; the first is the output.
        join: `(inputs, recurrent) -> z`, linear: what the cell needs of inputs = x_t W + b and
            recurrent = h_{t-1} U + b', each `[batch, gates * units]`.
        step: `(carry, z) -> (carry, coefficients)`, with a tree of arrays as coefficients of the derivative.
        push: `(coefficients, d_carry, d_z) -> d_carry`, the derivative of the new carry, linear in d_carry and d_z.
        candidate_bias: whether the last gate has a bias of its own in `recurrent`, b'.
    """

    gates: int
    parts: tuple[str, ...]
    join: Callable[[Array, Array], Array]
    step: Callable[[Carry, Array], tuple[Carry, Any]]
    push: Callable[[Any, Carry, Array], Carry]
    candidate_bias: bool = False


def simple_cell(activation: ArrayFunction) -> Cell:
    """The cell of a simple (Elman) network: h_t = activation(x_t W + b + h_{t-1} U).

    Args:
        activation: keeps the shape.

    Returns:
        The cell; its carry is (h,).

    Example:
        >>> (hidden,), _ = simple_cell(jnp.abs).step((jnp.zeros(1),), jnp.array([-2.0]))
        >>> hidden
        Array([2.], dtype=float32)
    """

    def step(carry: Carry, z: Array) -> tuple[Carry, Any]:
        del carry
        # h_t = activation(x_t W + b + h_{t-1} U)
        hidden, derivative = jax.linearize(activation, z)
        return (hidden,), derivative

    def push(derivative: Any, d_carry: Carry, d_z: Array) -> Carry:
        del d_carry
        return (derivative(d_z),)

    return Cell(gates=1, parts=("hidden",), join=operator.add, step=step, push=push)


def _sigmoid(x: Array) -> Array:
    """The logistic function by way of tanh: one division fewer, and exact to rounding at 1."""
    # 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _join_gru(inputs: Array, recurrent: Array) -> Array:
    """The candidate's two summands stay apart: the reset gate stands between them."""
    units = inputs.shape[-1] // 3
    gates = inputs[..., : 2 * units] + recurrent[..., : 2 * units]
    return jnp.concatenate([gates, inputs[..., 2 * units :], recurrent[..., 2 * units :]], axis=-1)


def _step_gru(carry: Carry, z: Array) -> tuple[Carry, tuple[Array, ...]]:
    (hidden,) = carry
    gates, input_candidate, recurrent_candidate = jnp.split(z, [z.shape[-1] // 2, z.shape[-1] * 3 // 4], axis=-1)
    # r = sigmoid(x W_r + b_r + h U_r), z = sigmoid(x W_z + b_z + h U_z)
    reset, update = jnp.split(_sigmoid(gates), 2, axis=-1)
    # n = tanh(x W_n + b_n + r (h U_n + b'_n))
    candidate = jnp.tanh(input_candidate + reset * recurrent_candidate)
    # dh' = z dh + (h - n) z (1 - z) dz + (1 - z) (1 - n^2) dn
    by_update = (hidden - candidate) * update * (1.0 - update)
    by_candidate = (1.0 - update) * (1.0 - candidate * candidate)
    # dn = d(x W_n + b_n) + r d(h U_n + b'_n) + (h U_n + b'_n) r (1 - r) dr
    by_reset = recurrent_candidate * reset * (1.0 - reset)
    # h' = (1 - z) n + z h
    hidden = (1.0 - update) * candidate + update * hidden
    return (hidden,), (update, by_update, by_candidate, reset, by_reset)


def _push_gru(coefficients: tuple[Array, ...], d_carry: Carry, d_z: Array) -> Carry:
    update, by_update, by_candidate, reset, by_reset = coefficients
    d_reset, d_update, d_inputs, d_recurrent = jnp.split(d_z, 4, axis=-1)
    d_candidate = d_inputs + reset * d_recurrent + by_reset * d_reset
    return (update * d_carry[0] + by_update * d_update + by_candidate * d_candidate,)


def _step_lstm(carry: Carry, z: Array) -> tuple[Carry, tuple[Array, ...]]:
    _, memory = carry
    # i, f, g, o = x W + b + h U, and one pass over all: a sigmoid is a tanh of half, halved and raised by a half
    units = z.shape[-1] // 4
    scale = jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], z.dtype), units)
    squashed = jnp.tanh(z * scale.reshape(1, -1))
    input_gate, forget_gate, candidate, output_gate = jnp.split(squashed, 4, axis=-1)
    input_gate, forget_gate, output_gate = (0.5 * gate + 0.5 for gate in (input_gate, forget_gate, output_gate))
    # dc' = f dc + g i (1 - i) di + c f (1 - f) df + i (1 - g^2) dg
    by_input = candidate * input_gate * (1.0 - input_gate)
    by_forget = memory * forget_gate * (1.0 - forget_gate)
    by_candidate = input_gate * (1.0 - candidate * candidate)
    # c' = sigmoid(f) c + sigmoid(i) tanh(g)
    memory = forget_gate * memory + input_gate * candidate
    squashed = jnp.tanh(memory)
    # dh' = o (1 - tanh(c')^2) dc' + tanh(c') o (1 - o) do
    by_memory = output_gate * (1.0 - squashed * squashed)
    by_output = squashed * output_gate * (1.0 - output_gate)
    # h' = sigmoid(o) tanh(c')
    return (output_gate * squashed, memory), (forget_gate, by_input, by_forget, by_candidate, by_memory, by_output)


def _push_lstm(coefficients: tuple[Array, ...], d_carry: Carry, d_z: Array) -> Carry:
    forget_gate, by_input, by_forget, by_candidate, by_memory, by_output = coefficients
    d_input, d_forget, d_candidate, d_output = jnp.split(d_z, 4, axis=-1)
    d_memory = forget_gate * d_carry[1] + by_input * d_input + by_forget * d_forget + by_candidate * d_candidate
    return by_memory * d_memory + by_output * d_output, d_memory


GRU_CELL = Cell(gates=3, parts=("hidden",), join=_join_gru, step=_step_gru, push=_push_gru, candidate_bias=True)
"""Gates r (reset), z (update), n (candidate), in this order; r acts after the product with U_n."""

LSTM_CELL = Cell(gates=4, parts=("hidden", "memory"), join=operator.add, step=_step_lstm, push=_push_lstm)
"""Gates i (input), f (forget), g (candidate), o (output), in this order."""


@functools.partial(jax.jit, static_argnames=("cell", "unroll"))
def recurrence(
    params: Params,
    inputs: Float[Array, "time batch features"],
    carry: Carry | None,
    *,
    cell: Cell,
    valid: Bool[Array, "time batch 1"] | None = None,
    mask: Float[Array, "batch units"] | None = None,
    unroll: int = 1,
) -> tuple[Float[Array, "time batch units"], Carry]:
    """Run a cell over time, which is the leading axis.

    The carry is kept in at least float32; so is what is returned. Differentiable any number of times, in both modes.

    Args:
        params: `{"input_kernel": [features, gates * units], "recurrent_kernel": [units, gates * units],
            "bias": [gates * units]}`, and for a GRU `"recurrent_bias": [units]`.
        inputs: x_t for every t, at least one.
        carry: what the first step starts from; None for zeros.
        cell: the cell.
        valid: where it is false the step changes nothing; None for true everywhere.
        mask: multiplies h_{t-1} before its product with the recurrent kernel, the same at every t; no gradient flows
            into it.
        unroll: steps per iteration of the compiled loop.

    Returns:
        h_t for every t, and the carry after the last one.

    Example:
        >>> params = {"input_kernel": jnp.eye(1), "recurrent_kernel": jnp.full((1, 1), 0.5), "bias": jnp.zeros(1)}
        >>> hidden, _ = recurrence(params, jnp.ones((3, 1, 1)), None, cell=simple_cell(jnp.abs))
        >>> hidden.ravel()
        Array([1.  , 1.5 , 1.75], dtype=float32)
    """
    time, batch, _ = inputs.shape
    kernel = params["recurrent_kernel"]
    units, columns = kernel.shape
    dtype = jnp.promote_types(jnp.result_type(inputs, kernel), jnp.float32)
    input_kernel = jnp.concatenate([params["input_kernel"], params["bias"].reshape(1, columns)])

    def project(inputs: Array) -> Array:
        """x_t W + b for all t at once, [x_t 1] times W over b: so is the bias' gradient a row of the product's."""
        rows = _rows(inputs)
        flat = jnp.pad(rows, ((0, 0),) * (rows.ndim - 1) + ((0, 1),), constant_values=1)
        return (flat @ input_kernel).astype(dtype).reshape(*inputs.shape[:-1], columns)

    # b' is 0 but for the last gate, the candidate of a GRU.
    bias = params.get("recurrent_bias")
    bias = None if bias is None else jnp.pad(bias, (columns - units, 0)).astype(dtype)
    mask = None if mask is None else jax.lax.stop_gradient(mask).astype(dtype)
    loop = _loop(cell, unroll)
    if carry is not None:
        start = tuple(shared_like(part.astype(dtype), inputs, 1) for part in carry)
        return loop(kernel, bias, project(inputs), start, valid, mask)
    # h_0 = 0: the first step needs no product, neither here nor in the gradient.
    zeros = tuple(shared_like(jnp.zeros((batch, units), dtype), inputs, 1) for _ in cell.parts)
    recurrent = jnp.zeros((batch, columns), dtype)
    recurrent = shared_like(recurrent if bias is None else recurrent + bias.reshape(1, columns), inputs, 1)
    advanced, _ = cell.step(zeros, cell.join(project(inputs[0]), recurrent))
    first = _where(None if valid is None else valid[0], advanced, zeros)
    if time == 1:
        return jnp.expand_dims(first[0], 0), first
    hidden, last = loop(kernel, bias, project(inputs[1:]), first, None if valid is None else valid[1:], mask)
    return jnp.concatenate([jnp.expand_dims(first[0], 0), hidden]), last


def _where(valid: Array | None, advanced: Carry, carry: Carry) -> Carry:
    """The new carry where the step is valid, the old one elsewhere."""
    if valid is None:
        return advanced
    return tuple(jnp.where(valid, new, old) for new, old in zip(advanced, carry, strict=True))


def _product(hidden: Array, kernel: Array, bias: Array | None, mask: Array | None) -> Array:
    """(h m) U + b', for one step [batch, units] or for all."""
    if mask is not None:
        hidden = hidden * mask
    product = (hidden.astype(kernel.dtype) @ kernel).astype(hidden.dtype)
    return product if bias is None else product + bias.reshape((1,) * (product.ndim - 1) + bias.shape)


def _rows(x: Array) -> Array:
    """All steps, or one, as [rows, features]: in three dimensions XLA transposes all that a gradient reads.

    Where devices share the batch it stays as it is, or they would have to exchange it.
    """
    return x if x.ndim == 2 or is_sharded(x, (1,)) else x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _loop(cell: Cell, unroll: int) -> Callable[..., tuple[Array, Carry]]:
    """The scan over time, `(kernel, bias, projected, carry, valid, mask) -> (hidden, carry)`.

    Plain differentiation of a scan adds up the gradient of the recurrent kernel step by step: at small batches, that
    is where the time goes. Here the tangents h_{t-1} dU stand outside of the scan over the tangents, one product for
    all t, and JAX transposes it into one product for the gradient. The scan itself is linear in what is left.
    """

    @jax.custom_jvp
    def loop(
        kernel: Array, bias: Array | None, projected: Array, carry: Carry, valid: Array | None, mask: Array | None
    ) -> tuple[Array, Carry]:
        def step(carry: Carry, now: tuple[Array, Array | None]) -> tuple[Carry, Array]:
            advanced, _ = cell.step(carry, cell.join(now[0], _product(carry[0], kernel, bias, mask)))
            carry = _where(now[1], advanced, carry)
            return carry, carry[0]

        last, hidden = jax.lax.scan(step, carry, (projected, valid), unroll=unroll)
        return hidden, last

    @loop.defjvp
    def loop_jvp(primals, tangents):  # type: ignore[no-untyped-def]
        kernel, bias, projected, carry, valid, mask = primals
        d_kernel, d_bias, d_projected, d_carry, _, _ = tangents

        def step(carry, now):  # type: ignore[no-untyped-def]
            inputs, valid = now
            advanced, coefficients = cell.step(carry, cell.join(inputs, _product(carry[0], kernel, bias, mask)))
            carry = _where(valid, advanced, carry)
            return carry, (carry[0], coefficients)

        last, (hidden, coefficients) = jax.lax.scan(step, carry, (projected, valid), unroll=unroll)
        before = jnp.concatenate([jnp.expand_dims(carry[0], 0), hidden[:-1]])
        if mask is not None:
            before = before * jnp.expand_dims(mask, 0)
        # d(h_{t-1} U + b') = h_{t-1} dU + db' + dh_{t-1} U: the first two here, for all t at once
        d_recurrent = _product(_rows(before), d_kernel, d_bias, None).reshape(projected.shape)
        d_z = cell.join(d_projected, d_recurrent)

        def tangent_step(d_carry, now):  # type: ignore[no-untyped-def]
            d_z, coefficients, valid = now
            d_recurrent = _product(d_carry[0], kernel, None, mask)
            pushed = cell.push(coefficients, d_carry, d_z + cell.join(jnp.zeros_like(d_recurrent), d_recurrent))
            d_carry = _where(valid, pushed, d_carry)
            return d_carry, d_carry[0]

        d_last, d_hidden = jax.lax.scan(tangent_step, d_carry, (d_z, coefficients, valid), unroll=unroll)
        return (hidden, last), (d_hidden, d_last)

    return loop
