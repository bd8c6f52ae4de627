"""Losses of embeddings against scipy, optax, torch, closed forms, hand-computed values and laws."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.spatial.distance
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit import losses
from tests.losses.oracles import assert_agrees_with_torch, assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(3, 4, 5))
# Far enough from zero that the direction has digits.
VECTORS = hnp.arrays(np.float32, (2, 3), elements=st.floats(0.5, 4, width=32) | st.floats(-4, -0.5, width=32))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ── Cosine distance ──


def test_cosine_distance_follows_the_formula() -> None:
    assert_follows(losses.cosine_distance, lambda p, t: 1.0 - (unit(p) * unit(t)).sum(-1), A, B)


@pytest.mark.parametrize("length", [1e-37, 1e-20, 1.0, 1e38])
def test_a_constant_of_any_length_has_its_direction(length: float) -> None:
    constant = jnp.array([length, 0.0])
    found = jax.jit(lambda p: losses.cosine_distance(p, constant))(jnp.array([3.0, 4.0]))
    assert found == pytest.approx(1 - 3 / 5, rel=1e-6)


def test_cosine_distance_agrees_with_scipy_and_optax() -> None:
    a, b = A.astype(np.float32), B.astype(np.float32)
    expected = [scipy.spatial.distance.cosine(p, t) for p, t in zip(A, B, strict=True)]
    np.testing.assert_allclose(losses.cosine_distance(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-5)
    assert_equals(losses.cosine_distance, optax.losses.cosine_distance, a, b)


@pytest.mark.long
@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 3e38])
def test_the_length_of_a_vector_does_not_matter(scale: float) -> None:
    p, t = scale * jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 3.0], [5.0, 0.0]])
    for first, second in ((p, t), (t, p)):
        np.testing.assert_allclose(losses.cosine_distance(first, second), [0.0, 1.0, 2.0], atol=1e-6)
        np.testing.assert_allclose(jax.jit(losses.cosine_distance)(first, second), [0.0, 1.0, 2.0], atol=1e-6)
    # The gradient is across the vector, and the smaller the longer it is.
    gradient = jax.grad(lambda p: losses.cosine_distance(p, t).sum())(p)
    expected = -1.0 if scale < 1e37 else 0.0  # beyond, it is no normal number any more
    np.testing.assert_allclose(gradient * scale, [[0.0, 0.0], [0.0, expected], [0.0, 0.0]], atol=1e-6)


def test_small_angles_keep_their_digits() -> None:
    # 1 - cos(angle) = angle^2 / 2: as a difference from 1 in float32, nothing would be left.
    angle = 1e-5
    distance = losses.cosine_distance(jnp.array([1.0, 0.0]), jnp.array([math.cos(angle), math.sin(angle)]))
    assert distance == pytest.approx(angle**2 / 2, rel=1e-4)


@pytest.mark.long
def test_a_zero_vector_is_orthogonal_to_everything_without_a_gradient() -> None:
    p, t = jnp.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [1e-39, 0.0]]), jnp.array([[1.0, 2.0]] + [[0.0, 0.0]] * 3)
    values, gradients = jax.value_and_grad(lambda p, t: losses.cosine_distance(p, t).sum(), argnums=(0, 1))(p, t)
    assert values == 4.0
    assert not gradients[0].any() and not gradients[1].any()


@pytest.mark.long
@given(VECTORS, st.floats(0.125, 8, width=32))
def test_cosine_distance_laws(both: np.ndarray, factor: float) -> None:
    p, t = jnp.asarray(both)
    distance = losses.cosine_distance(p, t)
    assert 0.0 <= distance <= 2.0 + 1e-6
    assert distance == losses.cosine_distance(t, p)
    assert losses.cosine_distance(p, p) == 0.0
    assert losses.cosine_distance(factor * p, t) == pytest.approx(float(distance), abs=1e-6)
    assert losses.cosine_distance(-p, t) == pytest.approx(2.0 - float(distance), abs=1e-6)


# ── Triplet ──


def test_triplet_follows_the_formula() -> None:
    def formula(a: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
        return np.maximum(0, np.linalg.norm(a - p, axis=-1) - np.linalg.norm(a - n, axis=-1) + 1.5)

    assert (formula(A, B, C) > 0).any()
    assert_follows(lambda *arguments: losses.triplet(*arguments, margin=1.5), formula, A, B, C)


def test_triplet_agrees_with_torch_and_optax() -> None:
    def reference(a: Any, p: Any, n: Any) -> Any:
        import torch

        return torch.nn.functional.triplet_margin_loss(a, p, n, margin=2.0, eps=0.0, reduction="none")

    a, b, c = (each.astype(np.float32) for each in (A, B, C))
    assert_equals(losses.triplet, lambda a, p, n: optax.losses.triplet_margin_loss(a, p, n, eps=0.0), a, b, c)
    assert_agrees_with_torch(lambda *arguments: losses.triplet(*arguments, margin=2.0), reference, A, B, C)


def test_triplet_by_hand_with_the_kinks() -> None:
    zero, near, far = jnp.zeros(2), jnp.array([3.0, 4.0]), jnp.array([0.0, 5.5])
    assert losses.triplet(zero, near, far) == 0.5
    assert losses.triplet(zero, near, far, margin=0.5) == 0.0
    assert losses.triplet(zero, far, near, margin=0.0) == 0.5
    gradients = jax.grad(losses.triplet, argnums=(0, 1, 2))(zero, near, far)
    np.testing.assert_allclose(gradients, [[-0.6, 0.2], [0.6, 0.8], [0.0, -1.0]], rtol=1e-6, atol=1e-7)
    # On the kink, and beyond it, nothing pulls; a distance of 0 has no direction.
    assert not np.any(jax.grad(lambda *x: losses.triplet(*x, margin=0.5), argnums=(0, 1, 2))(zero, near, far))
    collapsed = jax.grad(losses.triplet, argnums=(0, 1, 2))(near, near, near)
    assert losses.triplet(near, near, near) == 1.0 and not np.any(collapsed)


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e19, 1e37])
def test_the_squares_of_the_distances_neither_overflow_nor_underflow(scale: float) -> None:
    anchor, positive, negative = jnp.zeros(2), scale * jnp.array([3.0, 4.0]), scale * jnp.array([0.0, 1.0])
    value, gradient = jax.value_and_grad(lambda p: losses.triplet(anchor, p, negative, margin=0.0))(positive)
    assert value == pytest.approx(4.0 * scale, rel=1e-6)
    np.testing.assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)


@given(hnp.arrays(np.float32, (3, 2), elements=st.floats(-8, 8, width=32)), st.floats(0, 4, width=32))
def test_triplet_laws(points: np.ndarray, margin: float) -> None:
    a, p, n = jnp.asarray(points)
    loss, swapped = losses.triplet(a, p, n, margin=margin), losses.triplet(a, n, p, margin=margin)
    # One of both is at least the margin, and the other one makes up for it.
    assert loss >= 0 and max(loss, swapped) >= margin
    assert losses.triplet(a, p, p, margin=margin) == margin
    distance = float(np.linalg.norm(points[0].astype(np.float64) - points[1]))
    assert losses.triplet(a, p, a, margin=margin) == pytest.approx(distance + margin, rel=1e-5, abs=1e-6)


# ── InfoNCE ──


def info_nce_formula(q: np.ndarray, k: np.ndarray, temperature: float) -> np.ndarray:
    logits = unit(q) @ unit(k).T / temperature
    return -np.diagonal(scipy.special.log_softmax(logits, axis=-1))


def test_info_nce_follows_the_formula() -> None:
    assert_follows(lambda q, k: losses.info_nce(q, k, temperature=0.3), lambda q, k: info_nce_formula(q, k, 0.3), A, B)


def test_info_nce_is_the_cross_entropy_of_the_cosines() -> None:
    q, k = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    logits = optax.losses.cosine_similarity(
        jnp.broadcast_to(q[:, None], (4, 4, 5)), jnp.broadcast_to(k[None], (4, 4, 5))
    )
    expected = losses.cross_entropy(logits / 0.07, jnp.arange(4))
    np.testing.assert_allclose(losses.info_nce(q, k), expected, rtol=1e-4)


def test_the_mean_of_both_directions_is_the_loss_of_clip() -> None:
    def reference(q: Any, k: Any) -> Any:
        import torch

        logits = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(k).T / 0.2
        labels = torch.arange(4)
        sides = [torch.nn.functional.cross_entropy(each, labels, reduction="none") for each in (logits, logits.T)]
        return (sides[0] + sides[1]) / 2

    def ours(q: jax.Array, k: jax.Array) -> jax.Array:
        return (losses.info_nce(q, k, temperature=0.2) + losses.info_nce(k, q, temperature=0.2)) / 2

    assert_agrees_with_torch(ours, reference, A, B)


@pytest.mark.long
def test_info_nce_by_hand() -> None:
    # Each query has its key with the cosine 1 and two others with 0.
    expected = np.full(3, math.log(1 + 2 / math.e))
    np.testing.assert_allclose(losses.info_nce(jnp.eye(3), jnp.eye(3), temperature=1.0), expected, rtol=1e-6)
    # All directions alike: every key is as likely. One pair alone: nothing to be told from.
    np.testing.assert_allclose(losses.info_nce(jnp.ones((4, 2)), jnp.ones((4, 2))), math.log(4.0), rtol=1e-6)
    assert losses.info_nce(jnp.ones((1, 2)), -jnp.ones((1, 2))) == 0.0


def test_batches_of_pairs_do_not_see_each_other() -> None:
    q, k = jnp.asarray(RNG.normal(size=(2, 3, 4, 5)), jnp.float32)
    together = losses.info_nce(q, k)
    for number in range(3):
        np.testing.assert_allclose(together[number], losses.info_nce(q[number], k[number]), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@given(st.permutations(range(4)), st.floats(0.125, 8, width=32), st.floats(0.25, 4, width=32))
def test_info_nce_laws(order: list[int], factor: float, temperature: float) -> None:
    q, k, chosen = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32), jnp.array(order)
    loss = losses.info_nce(q, k, temperature=temperature)
    assert (loss >= 0).all()
    # The cosines lie between -1 and 1, so the loss is at most that of the worst case.
    assert (loss <= math.log(1 + 3 * math.exp(2 / temperature)) + 1e-5).all()
    permuted = losses.info_nce(q[chosen], k[chosen], temperature=temperature)
    np.testing.assert_allclose(permuted, loss[chosen], rtol=1e-5, atol=1e-6)
    scaled = losses.info_nce(factor * q, k, temperature=temperature)
    np.testing.assert_allclose(scaled, loss, rtol=1e-4, atol=1e-5)


# ── Refusals ──


@pytest.mark.parametrize(("name", "count"), [("cosine_distance", 2), ("triplet", 3), ("info_nce", 2)])
def test_shapes_and_dtypes_are_refused(name: str, count: int) -> None:
    loss, ones, fewer = getattr(losses, name), jnp.ones((2, 3)), jnp.ones(3)
    for position in range(count):
        arguments = [ones] * count
        arguments[position] = fewer
        refuses(loss, tuple(arguments), ValueError, r"expected .* of one shape, got .*; reshape one of them")
        arguments[position] = jnp.ones((2, 3), int)
        refuses(loss, tuple(arguments), TypeError, r"expected floating-point \w+, got int32\[2,3\]; cast them")
    too_few = jnp.ones(3) if name == "info_nce" else jnp.ones(())
    expected = r"expected \w+ \[\*batch, (pairs, )?features\], got float32\["
    refuses(loss, (too_few,) * count, ValueError, expected)


def test_settings_out_of_range_are_refused() -> None:
    ones = jnp.ones((2, 3))
    refuses(losses.triplet, (ones,) * 3, ValueError, "expected margin at least 0, got -1", margin=-1)
    for temperature in (0.0, -1.0, math.nan):
        refuses(losses.info_nce, (ones,) * 2, ValueError, "expected temperature above 0, got", temperature=temperature)
