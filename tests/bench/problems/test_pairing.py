"""Problems of modules whose loss or metric pairs all examples, or takes classes that the model has no output for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from dlkit import bench

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
CE = optax.softmax_cross_entropy_with_integer_labels


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Users' arrays broadcast."""
    with jax.numpy_rank_promotion("allow"):
        yield


class Flat(linen.Module):
    """Predictions [n]."""

    @linen.compact
    def __call__(self, inputs):
        return linen.Dense(1)(inputs)[:, 0]


def squares(predictions, targets):
    return ((predictions - targets) ** 2).mean()


def make(loss, targets=X[:, 0], module=None, *, metrics=None, names="targets"):
    dataset = bench.split("table", {"inputs": X, "targets": targets, "weights": np.abs(X[:, 1])})
    module = linen.Dense(1) if module is None else module
    return bench.problem_from_flax(
        module, dataset, loss, name="own", batch_size=16, steps=4, metrics=metrics, targets=names
    )


def weighted(predictions, arrays):
    return (arrays["weights"] * (predictions - arrays["targets"]) ** 2).mean()


def distance(predictions, targets):
    """The energy distance of two samples, with the idiom for all pairs."""

    def between(a, b):
        return jnp.abs(a[:, None] - b).mean()

    return 2 * between(predictions, targets) - between(predictions, predictions) - between(targets, targets)


def transport(predictions, targets):
    """The same by costs of all pairs."""
    return jax.nn.logsumexp(-((predictions - targets[None]) ** 2), axis=1).mean()


def metric(score):
    return {"m": (lambda p, t: score(p, t).mean(), bench.Metric("higher"))}


PAIRS = {
    "squares": (squares,),
    "absolute": (lambda p, t: jnp.abs(p - t).mean(),),
    "root": (lambda p, t: jnp.sqrt(squares(p, t)),),
    "where": (lambda p, t: jnp.where(t > 0, jax.nn.softplus(-p), jax.nn.softplus(p)).mean(),),
    "row by row": (lambda p, t: ((p - t) ** 2).mean(-1),),
    "column": (squares, X[:, :1], Flat()),
    "two columns": (squares, X[:, :1, None], Flat()),
    "accuracy": (lambda p, t: (p[:, 0] - t) ** 2, X[:, 0], None, metric(lambda p, t: (p > 0) == (t > 0))),
    "classes": (lambda p, t: CE(p, t[:, 0]), Y[:, None], linen.Dense(2), metric(lambda p, t: p.argmax(-1) == t)),
    "weights": (weighted, X[:, 0], None, None, ("targets", "weights")),
}
CLASSES = {
    "from 1": (lambda p, t: CE(p, t).mean(), Y + 1),
    "one-hot": (lambda p, t: optax.softmax_cross_entropy(p, jax.nn.one_hot(t, 2)), Y + 1),
    "floats": (lambda p, t: CE(p, t.astype(jnp.int32)), (Y + 1).astype(np.float32)),
    "taken": (lambda p, t: -jax.nn.log_softmax(p)[jnp.arange(len(t)), t], Y + 1),
    "below 0": (lambda p, t: CE(p, t), Y * 2 - 1),
}
FINE = {
    "squares": (lambda p, t: ((p[:, 0] - t) ** 2).mean(),),
    "columns": (squares, X[:, :1]),
    "classes": (lambda p, t: CE(p, t).mean(), Y, linen.Dense(2)),
    "predictions alone": (lambda p, t: (p[:, 0] - t) ** 2, X[:, 0], None, metric(lambda p, t: jnp.abs(p))),
    "distributions": (lambda p, t: (p.mean() - t.mean()) ** 2, X[:, :1]),
    "sorted": (lambda p, t: squares(jnp.sort(p[:, 0]), jnp.sort(t)),),
    "proportions": (lambda p, t: (jax.nn.softmax(p)[:, 1].mean() - t.mean()) ** 2, Y, linen.Dense(2)),
    "energy": (lambda p, t: distance(p[:, 0], t),),
    "energy, flat": (lambda p, t: distance(p.ravel(), t),),
    "transport": (transport,),
    "counts": (lambda p, t: jnp.exp(p[:, 0]) - t * p[:, 0] + p[:, 1] ** 2, np.arange(60), linen.Dense(2)),
    "quantiles": (lambda p, t: jnp.maximum(t[:, None] - p, p - t[:, None]).mean(), X[:, 0], linen.Dense(3)),
    "contrastive": (lambda p, t: CE(p @ t.T, jnp.arange(len(p))).mean(), X[:, :2], linen.Dense(2)),
}


def made(loss, targets=X[:, 0], module=None, metrics=None, names="targets"):
    return make(loss, targets, module, metrics=metrics, names=names)


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_of_all_examples_are_refused_with_both_shapes(kind) -> None:
    with pytest.raises(bench.UserError, match="broadcast to all pairs of examples") as refused:
        made(*PAIRS[kind])
    text = str(refused.value)
    assert "predictions of shape (n" in text and "targets of shape " in text and "test_pairing.py:" in text
    assert ("metric 'm'" in text) == (kind in ("accuracy", "classes"))


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_beyond_the_outputs_are_refused(kind) -> None:
    loss, targets = CLASSES[kind]
    label = -1 if kind == "below 0" else 2
    with pytest.raises(bench.UserError, match=f"class index {label} of 2 outputs") as refused:
        made(loss, targets, linen.Dense(2))
    assert "number the classes from 0" in str(refused.value) and "test_pairing.py:" in str(refused.value)


@pytest.mark.parametrize("kind", FINE)
def test_other_scores_are_not(kind) -> None:
    assert made(*FINE[kind]).name == "own"


def test_what_raises_in_a_loss_is_told_with_its_line() -> None:
    def wrong(predictions, targets):
        return predictions.missing

    with pytest.raises(bench.UserError, match="the loss failed on") as refused:
        made(wrong)
    assert f"test_pairing.py:{wrong.__code__.co_firstlineno + 1}: return predictions.missing)" in str(refused.value)
