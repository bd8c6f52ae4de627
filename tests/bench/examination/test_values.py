"""What is found wrong with one's own problem before its first trial, and what is not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.data import split
from dlkit.bench.examination.datasets import data_ticks
from dlkit.bench.examination.looks import Looker
from dlkit.bench.examination.values import value_ticks
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import Player, Problem

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
CE = optax.softmax_cross_entropy_with_integer_labels
QUICK = ("labels from 1", "negative", "pairs", "pairs in a metric", "zero", "squares", "contrastive")
MSE, LOG = Metric("lower"), Metric("lower", "log")


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Users' arrays broadcast."""
    with jax.numpy_rank_promotion("allow"):
        yield


def some_are_long(kinds):
    return [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.long) for kind in kinds]


def squares(predictions, targets):
    return ((predictions - targets) ** 2).mean()


def made(loss, *, targets=X[:, 0], metrics=None, outputs=1, scale=0.5, apply=None, **arrays):
    """A linear model whose predictions are [n, outputs]; metrics: name -> (function, meaning)."""
    scores = {"loss": (loss, MSE)} if metrics is None else metrics

    def predictions(params, inputs):
        return inputs @ params["w"] if apply is None else apply(params, inputs)

    return Problem(
        name="own",
        init=lambda key: ({"w": scale * jax.random.normal(key, (4, outputs)), "b": jnp.zeros(1)}, None),
        loss=lambda p, s, b, k: (loss(predictions(p, b["inputs"]) + p["b"], b["targets"]), s),
        evaluate=lambda p, s, b: {
            name: function(predictions(p, b["inputs"]) + p["b"], b["targets"]) for name, (function, _) in scores.items()
        },
        dataset=split("table", {"inputs": X, "targets": targets, **arrays}, redraw=False),
        metrics={name: meaning for name, (_, meaning) in scores.items()},
        batch_size=16,
        steps=40,
    )


def ticks_of(problem):
    return list(value_ticks(Looker(problem), study_steps=1e6))


def right(predictions, targets):
    return squares(predictions[:, 0], targets)


def accuracy(predictions, targets):
    return (jnp.sign(predictions) == jnp.sign(targets)).mean()


def correlation(predictions, targets):
    return jnp.corrcoef(predictions[:, 0], targets)[0, 1]


def energy(predictions, targets):
    """A distance of distributions, with the idiom for all pairs."""

    def between(a, b):
        return jnp.abs(a[:, None] - b).mean()

    return 2 * between(predictions, targets) - between(predictions, predictions) - between(targets, targets)


def explained(predictions, targets):
    return 1 - ((predictions[:, 0] - targets) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()


WRONG = {
    "labels from 1": (made(lambda p, t: CE(p, t).mean(), targets=Y + 1, outputs=2), "class indices start at 0"),
    "labels from 1, taken": (
        made(lambda p, t: -jnp.take_along_axis(jax.nn.log_softmax(p), t[:, None], 1).mean(), targets=Y + 1, outputs=2),
        "the loss is NaN at the initial parameters",
    ),
    "logarithm of what is negative": (made(lambda p, t: jnp.log(p).mean()), "the loss is NaN"),
    "infinite": (made(lambda p, t: right(p, t) + 1 / jnp.sum(0 * p)), "the loss is inf at the initial parameters"),
    "root at 0": (made(lambda p, t: jnp.sqrt(right(p, t) * 0)), "gradient of ['b'] is not finite"),
    "metric": (made(right, metrics={"m": (lambda p, t: jnp.log(-(p**2)).mean(), MSE)}), "metric 'm' is NaN"),
    "negative": (made(right, metrics={"m": (lambda p, t: -right(p, t), LOG)}), "and its scale is logarithmic"),
    "pairs": (made(squares), "the loss is the same however 'targets' are shuffled"),
    "pairs, where": (made(lambda p, t: jnp.where(t > 0, -p, p).mean()), "broadcast to all pairs"),
    "pairs, absolute": (made(lambda p, t: jnp.abs(p - t).mean()), "broadcast to all pairs"),
    "pairs, huber": (made(lambda p, t: optax.huber_loss(p, jnp.broadcast_to(t, (16, 16))).mean()
                          if len(t) == 16 else right(p, t)), "broadcast to all pairs"),
    "pairs, column": (made(lambda p, t: squares(p[:, 0], t), targets=X[:, :1]), "broadcast to all pairs"),
    "pairs in a metric": (made(right, metrics={"m": (accuracy, Metric("higher"))}), "metric 'm' is the same however"),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.long) for kind in WRONG]
)
def test_what_is_wrong_says_whose_it_is_and_where(kind) -> None:
    problem, words = WRONG[kind]
    wrong = [tick for tick in ticks_of(problem) if tick.right is False]
    assert len(wrong) == 1 and words in wrong[0].sentence and wrong[0].owner == "problem 'own'" and wrong[0].remedy
    assert "test_values.py:" in wrong[0].place


NOTED = {
    "other metric": (
        made(right, metrics={"loss": (right, MSE), "m": (lambda p, t: jnp.log(-(p**2)).mean(), MSE)}),
        "metric 'm' is NaN",
    ),
    "zero": (made(right, metrics={"m": (lambda p, t: 0 * right(p, t), LOG)}), "is exactly 0 before and after"),
    "at the start alone": (
        made(right, metrics={"m": (correlation, Metric("higher"))}, scale=0.0),
        "metric 'm' is NaN at the initial parameters, and finite after some steps",
    ),
    "distributions": (made(lambda p, t: (p.mean() - t.mean()) ** 2), "if it compares distributions, that is right"),
    "energy": (made(lambda p, t: energy(p[:, 0], t)), "if it compares distributions, that is right"),
    "unused": (made(right, apply=lambda p, x: x @ p["w"] - p["b"]), "parameter ['b'] never gets a gradient"),
    "cut off": (made(lambda p, t: right(jnp.round(p), t) + 0 * right(p, t)), "it does not fall"),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "zero" else pytest.mark.long) for kind in NOTED]
)
def test_what_may_be_meant_is_noted(kind) -> None:
    problem, words = NOTED[kind]
    ticks = ticks_of(problem)
    assert not [tick for tick in ticks if tick.right is False]
    assert any(words in tick.sentence for tick in ticks if tick.right is None)


def similar(predictions, targets):
    """A contrastive loss of embeddings: all pairs, and yet which belongs to which counts."""
    return CE(predictions @ targets.T, jnp.arange(len(targets))).mean()


def normalized(params, inputs):
    values = inputs @ params["w"]
    return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)


def embedded(params, inputs):
    return params["w"][(inputs[:, 0] > 0).astype(int)][:, :1]


FINE = {
    "squares": made(right),
    "columns": made(squares, targets=X[:, :1]),
    "classes": made(lambda p, t: CE(p, t).mean(), targets=Y, outputs=2),
    "more outputs": made(lambda p, t: CE(p, t).mean(), targets=Y, outputs=5),
    "contrastive": made(similar, targets=X[:, :2], outputs=2),
    "batch statistics": made(right, apply=normalized),
    "embedding": made(right, apply=embedded),
    "labels unused": made(lambda p, t: (p**2).mean() + 0 * t.sum()),
    "metric of predictions alone": made(right, metrics={"m": (lambda p, t: (p**2).mean(), MSE)}),
    "zero head": made(right, scale=0.0),
    "accuracy": made(right, metrics={"m": (lambda p, t: accuracy(p[:, 0], t), Metric("higher"))}),
    "log": made(right, metrics={"m": (right, LOG)}),
    "explained variance": made(right, metrics={"m": (explained, Metric("higher"))}),
}


@pytest.mark.parametrize("kind", some_are_long(FINE))
def test_what_is_right_is_not_flagged(kind) -> None:
    ticks = ticks_of(FINE[kind])
    assert [tick.sentence for tick in ticks if tick.right is not True] == []
    assert {"loss", "metrics"} <= {tick.subject for tick in ticks}


@pytest.mark.long
def test_a_loss_that_grows_with_the_steps_is_not_flagged() -> None:
    def loss(params, state, batch, key, step):
        return jnp.minimum(step / 30, 1.0) * right(batch["inputs"] @ params["w"] + params["b"], batch["targets"]), state

    ticks = ticks_of(dataclasses.replace(FINE["squares"], loss=loss))
    assert [tick.sentence for tick in ticks if tick.right is not True] == []


@pytest.mark.long
def test_weights_that_broadcast_to_all_pairs_are_wrong() -> None:
    def loss(params, state, batch, key):
        errors = batch["inputs"] @ params["w"] + params["b"] - batch["targets"][:, None]
        return (batch["weights"] * errors**2).mean(), state

    problem = dataclasses.replace(
        FINE["squares"], loss=loss, dataset=split("t", {"inputs": X, "targets": X[:, 0], "weights": np.abs(X[:, 1])})
    )
    (wrong,) = [tick for tick in ticks_of(problem) if tick.right is False]
    assert "the loss is the same however 'weights' is shuffled" in wrong.text


@pytest.mark.long
def test_players_and_dropout_are_not_flagged() -> None:
    def height(params, state, batch, key):
        return (params["a"]["w"] * params["b"]["w"]).sum(), state

    def depth(params, state, batch, key):
        return -height(params, state, batch, key)[0], state

    game = Problem(
        name="game",
        init=lambda key: ({name: {"w": jax.random.normal(key, (3,))} for name in "ab"}, None),
        loss=height,
        players=[Player("a", height), Player("b", depth)],
        evaluate=lambda p, s, b: {"m": jnp.abs(height(p, s, b, None)[0])},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"m": LOG},
        steps=40,
    )

    def dropped(params, state, batch, key):
        kept = jax.random.bernoulli(key, 0.5, batch["inputs"].shape)
        return right((batch["inputs"] * kept) @ params["w"] + params["b"], batch["targets"]), state

    plain = made(right)
    dropout = Problem(
        name="dropout",
        init=plain.init,
        loss=dropped,
        evaluate=plain.evaluate,
        dataset=plain.dataset,
        metrics=plain.metrics,
        batch_size=16,
        steps=40,
    )
    for problem in (game, dropout):
        assert [tick.sentence for tick in ticks_of(problem) if tick.right is not True] == []


def of_data(inputs=X, targets=Y, validation=Y[:40]):
    splits = {"inputs": inputs, "targets": targets}, {"inputs": X[:40] + 9, "targets": validation}
    return bench.Dataset("mine", *splits, {"inputs": X[:40] + 5, "targets": Y[:40]})


@pytest.mark.parametrize(
    ("dataset", "right", "words"),
    [
        (of_data(), True, "all 2 classes of 'targets' are in every split"),
        (of_data(targets=0 * Y), False, "all training examples have targets 0, of 2 classes in all"),
        (of_data(validation=0 * Y[:40]), None, "split 'validation' has no example of class 1 of 'targets'"),
        (of_data(validation=Y[:40] * 2), None, "split 'train' has no example of class 2 of 'targets'"),
        (of_data(inputs=5000 * X), None, "inputs are as large as"),
        (of_data(inputs=0 * X), None, "array 'inputs' is the same for every training example"),
    ],
)
def test_data_are_looked_through(dataset, right, words) -> None:
    found = [tick for tick in data_ticks(dataset) if tick.right is right]
    assert any(words in tick.sentence for tick in found)
    assert {tick.right for tick in data_ticks(dataset)} <= {True, right}


def test_counts_are_no_classes() -> None:
    counts = np.random.default_rng(0).integers(0, 100, 120).astype(np.int32)
    assert list(data_ticks(of_data(targets=counts, validation=counts[:40] + 7))) == []
