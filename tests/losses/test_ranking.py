"""Losses of ranking against optax, sums over orders, and laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from dlkit import losses
from tests.losses.oracles import assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
SCORES, RELEVANCES = RNG.normal(0.0, 2.0, (3, 4)), RNG.normal(0.0, 1.0, (3, 4))
MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0]], bool)


def test_list_net_follows_the_formula() -> None:
    assert_follows(
        losses.list_net,
        lambda s, t: -(scipy.special.softmax(t, -1) * scipy.special.log_softmax(s, -1)).sum(-1),
        SCORES,
        RELEVANCES,
    )


def test_list_net_agrees_with_the_softmax_loss_of_optax_also_with_padding() -> None:
    weights = np.where(MASK, np.exp(RELEVANCES), 0.0)
    labels = jnp.asarray(weights / weights.sum(-1, keepdims=True), jnp.float32)
    relevances, mask = jnp.asarray(RELEVANCES, jnp.float32), jnp.asarray(MASK)
    assert_equals(
        lambda s: losses.list_net(s, relevances, mask=mask),
        lambda s: optax.losses.ranking_softmax_loss(s, labels, where=mask, reduce_fn=None),
        SCORES.astype(np.float32),
    )


def list_mle_formula(scores: np.ndarray, relevances: np.ndarray) -> np.ndarray:
    result = []
    for s, t in zip(scores, relevances, strict=True):
        left, loss = list(np.argsort(-t)), 0.0
        while left:
            loss += scipy.special.logsumexp([s[j] for j in left]) - s[left.pop(0)]
        result.append(loss)
    return np.array(result)


def test_list_mle_draws_one_item_after_the_other() -> None:
    assert_follows(
        lambda s: losses.list_mle(s, jnp.asarray(RELEVANCES)), lambda s: list_mle_formula(s, RELEVANCES), SCORES
    )


def test_the_probabilities_of_all_orders_sum_to_1() -> None:
    orders = jnp.array(list(itertools.permutations([0.0, 1.0, 2.0, 3.0])))
    scores = jnp.broadcast_to(jnp.asarray(SCORES[:1], jnp.float32), orders.shape)
    assert jnp.exp(-losses.list_mle(scores, orders)).sum() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("name", ["list_net", "list_mle"])
def test_padding_may_be_anything_and_has_no_gradient(name: str) -> None:
    loss = getattr(losses, name)
    scores, targets = jnp.array([1.0, jnp.nan, -1.0, jnp.inf]), jnp.array([0.0, jnp.inf, 1.0, jnp.nan])
    mask = jnp.array([True, False, True, False])
    value, gradient = jax.value_and_grad(lambda s: loss(s, targets, mask=mask))(scores)
    assert value == pytest.approx(float(loss(scores[::2], targets[::2])), rel=1e-6)
    assert gradient[0] != 0 and not gradient[1] and not gradient[3]
    assert loss(scores, targets, mask=jnp.zeros(4, bool)) == 0.0


def test_wrong_arguments_are_refused() -> None:
    ones = jnp.ones(3)
    for loss in (losses.list_net, losses.list_mle):
        refuses(loss, (ones, ones), TypeError, "expected a boolean mask, true for items", mask=ones)
        refuses(loss, (ones, jnp.ones(2)), ValueError, "expected scores and targets and mask of one shape")
