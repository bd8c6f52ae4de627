"""SOAP and Shampoo against the equations of their papers, typed in as NumPy loops over one leaf."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit.bench.optimizers import shampoo as shampoo_module
from dlkit.bench.optimizers import soap as soap_module
from dlkit.bench.optimizers.shampoo import scale_by_shampoo, shampoo
from dlkit.bench.optimizers.soap import scale_by_soap, soap

SHAPES = {"matrix": (5, 3), "square": (4, 4), "vector": (4,), "tensor": (2, 2, 4), "scalar": ()}
GRADIENTS = [
    {
        name: np.random.default_rng([step, place]).normal(size=shape)
        for place, (name, shape) in enumerate(SHAPES.items())
    }
    for step in range(12)
]


def directions(transformation: Any, gradients: Any = GRADIENTS) -> list[Any]:
    """What the transformation makes of the gradients, one step after another, in double precision."""
    with jax.enable_x64(True):
        update = jax.jit(transformation.update)
        state, results = transformation.init(jax.tree.map(jnp.asarray, gradients[0])), []
        for gradient in gradients:
            result, state = update(jax.tree.map(jnp.asarray, gradient), state)
            results.append(jax.tree.map(np.asarray, result))
    return results


# --- SOAP ------------------------------------------------------------------------------------------------------------


def soap_by_the_paper(
    gradients: list[Any], b1: float, b2: float, eps: float, frequency: int, *, left_turns: bool = True
) -> list[Any]:
    """Algorithm 3 for a matrix; the first gradient makes the first eigenvectors, as in the authors' program."""
    m, n = gradients[0].shape
    left, right = np.zeros((m, m)), np.zeros((n, n))
    basis_left, basis_right = np.eye(m), np.eye(n)
    momentum, squares = np.zeros((m, n)), np.zeros((m, n))
    results = []
    for step, gradient in enumerate(gradients):
        if step > 0:
            rotated = basis_left.T @ gradient @ basis_right
            momentum = b1 * momentum + (1 - b1) * gradient
            squares = b2 * squares + (1 - b2) * rotated**2
            unbiased = basis_left.T @ momentum @ basis_right / (1 - b1**step)
            adam = unbiased / (np.sqrt(squares / (1 - b2**step)) + eps)
            results.append(basis_left @ adam @ basis_right.T)
        else:
            results.append(np.zeros((m, n)))
        left = b2 * left + (1 - b2) * gradient @ gradient.T
        right = b2 * right + (1 - b2) * gradient.T @ gradient
        if step == 0:
            basis_left, basis_right = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
        elif step % frequency == 0:
            basis_left, basis_right = np.linalg.qr(left @ basis_left)[0], np.linalg.qr(right @ basis_right)[0]
        if not left_turns:
            basis_left = np.eye(m)
    return results


@pytest.mark.long
@pytest.mark.parametrize("frequency", [1, 4])
def test_soap_is_the_papers(frequency: int) -> None:
    # Both sides are square: of a first gradient with fewer columns than rows, some eigenvectors would be arbitrary.
    ours = directions(scale_by_soap(0.9, 0.8, 1e-8, frequency=frequency))
    for name in ("square", "tensor"):
        flat = [gradient[name].reshape(-1, SHAPES[name][-1]) for gradient in GRADIENTS]
        theirs = soap_by_the_paper(flat, 0.9, 0.8, 1e-8, frequency)
        for result, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(result[name].reshape(expected.shape), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.long
def test_soap_trains_vectors_and_scalars_by_adam() -> None:
    ours = directions(scale_by_soap(0.9, 0.8, 1e-8))
    adam = directions(optax.scale_by_adam(0.9, 0.8, 1e-8), GRADIENTS[1:])
    for result, expected in zip(ours[1:], adam, strict=True):
        for name in ("vector", "scalar"):
            np.testing.assert_allclose(result[name], expected[name], rtol=1e-10)


def test_soap_does_not_see_a_rotation() -> None:
    # Rotated gradients give rotated directions: eigenvectors turn along. Adam's directions would not.
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    plain = [{"w": gradient["square"][:3, :3]} for gradient in GRADIENTS]
    turned = [{"w": turn @ gradient["w"]} for gradient in plain]
    transformation = scale_by_soap(0.9, 0.8, frequency=1)
    for before, after in zip(directions(transformation, plain), directions(transformation, turned), strict=True):
        np.testing.assert_allclose(after["w"], turn @ before["w"], rtol=1e-6, atol=1e-8)


def test_soap_leaves_long_sides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soap_module, "LARGEST", 4)
    matrices = [gradient["matrix"] for gradient in GRADIENTS]
    ours = directions(scale_by_soap(0.9, 0.8, 1e-8, frequency=4), [{"w": matrix} for matrix in matrices])
    theirs = soap_by_the_paper(matrices, 0.9, 0.8, 1e-8, 4, left_turns=False)
    for result, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(result["w"], expected, rtol=1e-7, atol=1e-9)


# --- Shampoo ---------------------------------------------------------------------------------------------------------


def power(matrix: Any, exponent: float) -> Any:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


def shampoo_by_the_paper(gradients: list[Any], epsilon: float, frequency: int) -> list[Any]:
    """Algorithm 1 for a matrix, algorithm 2 for a tensor of three axes, both as sums over indices."""
    order = gradients[0].ndim
    letters = "abc"[:order]
    preconditioners = [epsilon * np.eye(length) for length in gradients[0].shape]
    results = []
    for step, gradient in enumerate(gradients):
        for axis in range(order):
            other = letters.replace(letters[axis], "z")
            preconditioners[axis] += np.einsum(f"{letters},{other}->{letters[axis]}z", gradient, gradient)
        if step % frequency == 0:
            roots = [power(each, -1 / (2 * order)) for each in preconditioners]
        result = gradient
        for axis, root in enumerate(roots):
            other = letters.replace(letters[axis], "z")
            result = np.einsum(f"z{letters[axis]},{letters}->{other}", root, result)
        results.append(result)
    return results


@pytest.mark.long
@pytest.mark.parametrize("frequency", [1, 4])
def test_shampoo_is_the_papers(frequency: int) -> None:
    ours = directions(scale_by_shampoo(0.01, frequency=frequency))
    for name in ("matrix", "vector", "tensor"):
        theirs = shampoo_by_the_paper([gradient[name] for gradient in GRADIENTS], 0.01, frequency)
        for result, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(result[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.long
def test_shampoo_of_a_scalar_and_of_long_axes_is_adagrad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shampoo_module, "LARGEST", 2)
    ours = directions(scale_by_shampoo(0.01, frequency=1))
    for name in ("scalar", "vector"):
        total = np.full(SHAPES[name], 0.01)
        for result, gradient in zip(ours, GRADIENTS, strict=True):
            total = total + gradient[name] ** 2
            np.testing.assert_allclose(result[name], gradient[name] / np.sqrt(total), rtol=1e-9)
    # A matrix with both axes diagonal: rows and columns scaled by fourth roots of their summed squares.
    rows, columns = np.full((5, 1), 0.01), np.full((1, 3), 0.01)
    for result, gradient in zip(ours, GRADIENTS, strict=True):
        rows = rows + (gradient["matrix"] ** 2).sum(axis=1, keepdims=True)
        columns = columns + (gradient["matrix"] ** 2).sum(axis=0, keepdims=True)
        np.testing.assert_allclose(result["matrix"], gradient["matrix"] / (rows * columns) ** 0.25, rtol=1e-9)


# --- both as optimizers ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_learning_rate_and_weight_decay_of_soap() -> None:
    gradient = {"w": jnp.ones((2, 2))}
    transformation = soap(0.1, weight_decay=0.5)
    params = {"w": jnp.full((2, 2), 3.0)}
    updates, _ = transformation.update(gradient, transformation.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.1 * 0.5 * 3.0, rtol=1e-6)


@pytest.mark.long
def test_the_learning_rate_and_momentum_of_shampoo() -> None:
    gradient = {"w": jnp.asarray(2.0)}
    transformation = shampoo(0.1, momentum=0.75, epsilon=0.0)
    state = transformation.init(gradient)
    updates, _ = transformation.update(gradient, state)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)  # a scalar's first direction is its sign
