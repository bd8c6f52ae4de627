"""Contrastive losses of batches against sums written out in double precision."""

import jax
import jax.numpy as jnp
import numpy as np

from dlkit import losses
from tests.losses.oracles import assert_follows, refuses

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
LABELS = np.array([0, 1, 0, 1, 1, 2])


def cosine_table(views: np.ndarray) -> np.ndarray:
    unit = views / np.linalg.norm(views, axis=-1, keepdims=True)
    return unit @ unit.T


def nt_xent_formula(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cosines, n = np.exp(cosine_table(np.concatenate([first, second])) / 0.5), len(first)

    def one(i: int, j: int) -> float:
        return -np.log(cosines[i, j] / sum(cosines[i, k] for k in range(2 * n) if k != i))

    return np.array([(one(i, i + n) + one(i + n, i)) / 2 for i in range(n)])


def supervised_formula(vectors: np.ndarray) -> np.ndarray:
    table, n = np.exp(cosine_table(vectors) / 0.1), len(vectors)
    result = []
    for i in range(n):
        others = [a for a in range(n) if a != i]
        positives = [p for p in others if LABELS[p] == LABELS[i]]
        logs = [np.log(table[i, p] / sum(table[i, a] for a in others)) for p in positives]
        result.append(-np.mean(logs) if logs else 0.0)
    return np.array(result)


def test_nt_xent_follows_the_paper() -> None:
    assert_follows(losses.nt_xent, nt_xent_formula, FIRST, SECOND)


def test_supervised_contrastive_follows_the_paper() -> None:
    vectors = np.concatenate([FIRST, SECOND])
    assert_follows(lambda x: losses.supervised_contrastive(x, jnp.asarray(LABELS)), supervised_formula, vectors)


def test_supervised_contrastive_of_two_views_each_with_its_own_label_is_nt_xent() -> None:
    views = jnp.asarray(np.concatenate([FIRST, SECOND]), jnp.float32)
    supervised = losses.supervised_contrastive(views, jnp.array([0, 1, 2, 0, 1, 2]), temperature=0.5)
    np.testing.assert_allclose(
        supervised.reshape(2, 3).mean(0), losses.nt_xent(views[:3], views[3:]), rtol=1e-5, atol=1e-6
    )


def test_an_example_alone_has_no_loss_and_no_gradient() -> None:
    value, gradient = jax.value_and_grad(lambda x: losses.supervised_contrastive(x, jnp.array([0])).sum())(
        jnp.ones((1, 2))
    )
    assert value == 0.0 and not gradient.any()


def test_wrong_arguments_are_refused() -> None:
    ones = jnp.ones((3, 2))
    refuses(losses.nt_xent, (ones, ones), ValueError, "expected temperature above 0, got 0.0", temperature=0.0)
    message = r"expected class indices of shape \(3,\), got predictions float32\[3,2\] and targets int32\[2\]"
    refuses(losses.supervised_contrastive, (ones, jnp.ones(2, int)), ValueError, message)
    refuses(losses.supervised_contrastive, (ones, jnp.ones(3)), TypeError, "expected integer class indices, got")
