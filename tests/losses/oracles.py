"""What the tests of the losses share: comparisons of values and gradients with a formula or with another library."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

Formula = Callable[..., np.ndarray]


def _with_gradients(
    loss: Callable[..., jax.Array], weights: Any, positions: tuple[int, ...]
) -> Callable[..., tuple[jax.Array, tuple[jax.Array, ...]]]:
    """The losses, and the gradients of their weighted sum; compiled, because that is faster than one by one."""

    def weighted(*arguments: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses = loss(*arguments)
        return (losses.astype(jnp.promote_types(losses.dtype, jnp.float32)) * weights).sum(), losses

    def function(*arguments: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        gradients, losses = jax.grad(weighted, argnums=positions, has_aux=True)(*arguments)
        return losses, gradients

    return jax.jit(function)


def assert_follows(loss: Callable[..., jax.Array], formula: Formula, *arguments: np.ndarray) -> None:
    """Values and gradients of a loss equal those of a formula in NumPy's double precision.

    The gradients, with respect to every argument, are compared with central differences of the formula, so no argument
    may lie on a kink.
    """
    arguments = tuple(np.asarray(each, np.float64) for each in arguments)
    expected, step = formula(*arguments), 1e-6
    weights = np.random.default_rng(0).normal(size=np.shape(expected))
    with jax.enable_x64(True):
        values, gradients = _with_gradients(loss, weights, tuple(range(len(arguments))))(*map(jnp.asarray, arguments))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-13)
    for number, gradient in enumerate(gradients):
        slopes = np.zeros(arguments[number].shape)
        for position in np.ndindex(slopes.shape):
            shift = np.zeros_like(slopes)
            shift[position] = step
            above, below = (
                formula(*arguments[:number], arguments[number] + sign * shift, *arguments[number + 1 :])
                for sign in (1, -1)
            )
            slopes[position] = ((above - below) * weights).sum() / (2 * step)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


def assert_equals(
    loss: Callable[..., jax.Array], reference: Callable[..., jax.Array], *arguments: Any, rtol: float = 1e-5
) -> None:
    """Values and gradients of a loss in float32 equal those of another implementation in JAX."""
    arguments = tuple(jnp.asarray(each) for each in arguments)
    floating = tuple(number for number, each in enumerate(arguments) if jnp.issubdtype(each.dtype, jnp.floating))
    weights = np.random.default_rng(0).normal(size=jax.eval_shape(reference, *arguments).shape).astype(np.float32)
    (ours, our_gradients), (theirs, their_gradients) = (
        _with_gradients(function, weights, floating)(*arguments) for function in (loss, reference)
    )
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-6)
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=10 * rtol, atol=1e-5)


def assert_agrees_with_torch(
    loss: Callable[..., jax.Array], reference: Callable[..., Any], *arguments: np.ndarray
) -> None:
    """Values and gradients of a loss equal those of a function of torch tensors; skipped without torch."""
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    arguments = tuple(np.asarray(each, np.float32) for each in arguments)
    tensors = [torch.tensor(each, requires_grad=True) for each in arguments]
    expected = reference(*tensors)
    weights = np.random.default_rng(0).normal(size=expected.shape).astype(np.float32)
    (expected * torch.tensor(weights)).sum().backward()
    values, gradients = _with_gradients(loss, weights, tuple(range(len(arguments))))(*map(jnp.asarray, arguments))
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-4, atol=1e-5)


def values_and_gradients(
    loss: Callable[..., jax.Array], logits: Any, *others: Any, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The logits after rounding to the dtype, the losses, and the gradient of their sum, all in double precision."""
    rounded = jnp.asarray(logits, dtype)
    losses, (gradient,) = _with_gradients(lambda x: loss(x, *others), 1.0, (0,))(rounded)
    assert losses.dtype == gradient.dtype == rounded.dtype
    rounded, losses, gradient = (np.asarray(each, np.float64) for each in (rounded, losses, gradient))
    return rounded, losses, gradient


def tolerance(dtype: str) -> float:
    """The relative error that one rounding of a result to the dtype, computed in float32, may make."""
    return {"float32": 2e-6, "bfloat16": 2**-8}[dtype]


def refuses(
    loss: Callable[..., jax.Array], arguments: tuple[Any, ...], error: type[Exception], message: str, **settings: Any
) -> None:
    """The loss itself refuses, with its name first: without the test session's shape checks, which come before."""
    function = inspect.unwrap(loss)
    with pytest.raises(error, match=rf"^{function.__name__}: {message}"):
        function(*arguments, **settings)
