"""Problems whose model is called with several arrays: lengths, pairs, triplets, censored targets."""

from typing import Any

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from dlkit import bench, layers, losses, models
from dlkit.bench.problems.inputs import InputNames, binding

RNG = np.random.default_rng(0)
N, TIME = 40, 6
LENGTHS = RNG.integers(1, TIME + 1, N).astype(np.int32)
SERIES = RNG.normal(size=(N, TIME, 3)).astype(np.float32)
WITHIN = np.arange(TIME) < LENGTHS[:, None]
ARRAYS = {
    "inputs": SERIES,
    "lengths": LENGTHS,
    "targets": (np.where(WITHIN, SERIES[..., 0], 0).sum(axis=1) > 0).astype(np.int32),
    "labels": (SERIES[..., 0] > 0).astype(np.int32),
}
CE = optax.softmax_cross_entropy_with_integer_labels


def dataset(fill: float | None = None, **changes: np.ndarray) -> bench.Dataset:
    arrays = {**ARRAYS, **changes}
    if fill is not None:
        arrays["inputs"] = np.where(WITHIN[..., None], SERIES, np.float32(fill))
        arrays["labels"] = np.where(WITHIN, arrays["labels"], 0)
    return bench.split("ragged", arrays)


def score(problem: bench.Problem) -> dict[str, float]:
    """The loss on a batch and the metrics at the start, and after a step that moves every parameter a little."""
    params, state = problem.init(jax.random.key(0))
    batch = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    loss, _ = problem.loss(params, state, batch, jax.random.key(1))
    return {"training_loss": loss, **problem.evaluate(params, state, batch)}


class Mean(linen.Module):
    @linen.compact
    def __call__(self, x: Any, lengths: Any, *, train: bool = False) -> Any:
        within = (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
        return linen.Dense(2)(jnp.where(within, x, 0).sum(axis=1))


class MeanByOrder(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, series: Any, steps: Any) -> Any:
        return self.dense(jnp.where((jnp.arange(TIME)[None] < steps[:, None])[..., None], series, 0).sum(axis=1))


class MeanOfOne(equinox.Module):
    dense: equinox.nn.Linear

    def __init__(self, key: Any) -> None:
        self.dense = equinox.nn.Linear(3, 2, key=key)

    def __call__(self, lengths: Any, inputs: Any, *, key: Any) -> Any:
        return self.dense(jnp.where((jnp.arange(TIME) < lengths)[:, None], inputs, 0).sum(axis=0))


def mean_of_haiku(x: Any, lengths: Any, is_training: bool) -> Any:
    return haiku.Linear(2)(jnp.where((jnp.arange(TIME)[None] < lengths[:, None])[..., None], x, 0).sum(axis=1))


MAKERS: dict[str, Any] = {
    "linen": lambda data: bench.problem_from_flax(Mean(), data, CE, inputs=("inputs", "lengths")),
    "nnx": lambda data: bench.problem_from_flax(MeanByOrder, data, CE, inputs=("inputs", "lengths")),
    "equinox": lambda data: bench.problem_from_equinox(
        lambda key: MeanOfOne(key), data, CE, inputs=("inputs", "lengths")
    ),
    "haiku": lambda data: bench.problem_from_haiku(
        haiku.transform(mean_of_haiku), data, CE, inputs=("inputs", "lengths")
    ),
    "classification": lambda data: bench.problems.classification(
        "ragged",
        models.recurrent_classifier("gru", outputs=2, features=3, normalization="batch"),
        data,
        inputs=("inputs", "lengths"),
        batch_size=8,
        steps=20,
    ),
    "regression": lambda data: bench.problems.regression(
        "ragged",
        layers.serial(layers.conv(2, (3,)), layers.global_max_pool(1), layers.dense(1)),
        bench.Dataset(
            "real",
            *({**split, "targets": split["targets"] * 1.0} for split in (data.train, data.validation, data.test)),
        ),
        inputs=("inputs", "lengths"),
        batch_size=8,
        steps=20,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", MAKERS)
def test_lengths_reach_the_model_and_padding_does_not(kind: str) -> None:
    quiet, loud = (score(MAKERS[kind](dataset(fill))) for fill in (0.0, 1e6))
    assert quiet == loud and all(np.isfinite(value) for value in quiet.values())


@pytest.mark.long
def test_steps_after_a_length_count_neither_in_the_loss_nor_in_the_metrics() -> None:
    def made(data: bench.Dataset) -> bench.Problem:
        return bench.problems.classification(
            "steps",
            layers.serial(layers.gru(3), layers.batch_norm(), layers.dense(2)),
            data,
            inputs=("inputs", "lengths"),
            batch_size=8,
            steps=20,
        )

    first, second = (score(made(dataset(0.0, targets=np.where(WITHIN, ARRAYS["labels"], label)))) for label in (0, 1))
    assert first == second
    problem = made(dataset(0.0, targets=ARRAYS["labels"]))
    params, state = problem.init(jax.random.key(0))
    batch = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    assert problem.reestimate is not None
    for name, leaf in problem.reestimate(params, state, batch)["layer_1"].items():
        assert np.isfinite(leaf).all(), name


def test_series_of_a_file_bring_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(fill: float) -> Any:
        monkeypatch.setattr(bench.data, "series", lambda path, digest: dataset(fill))
        return score(bench.problems.PROBLEMS["series-file"](path="mine"))

    assert loss(0.0) == loss(9.0)


@pytest.mark.long
def test_a_ragged_problem_trains() -> None:
    curve = bench.train(MAKERS["classification"](dataset(7.0)), "adam", learning_rate=0.02, evaluations=2).curve
    assert np.isfinite(curve["accuracy"]).all()


@pytest.mark.parametrize(
    ("call", "names", "expected"),
    [
        (lambda x: x, ("a",), ((1,), {})),
        (lambda x, y: x, ("a", "b"), ((), {"x": 1, "y": 2})),
        (lambda x, mask, lengths: x, ("a", "lengths", "mask"), ((), {"x": 1, "lengths": 2, "mask": 3})),
        (lambda lengths, inputs: x, ("inputs", "steps"), ((), {"inputs": 1, "lengths": 2})),
        (lambda *arrays: arrays, ("a", "b"), ((1, 2), {})),
        (lambda x, /, y: x, ("a", "b"), ((1,), {"y": 2})),
        (lambda x, *, lengths=None: x, ("a", "lengths"), ((), {"x": 1, "lengths": 2})),
        (lambda x, y, train=False: x, ("a", "b"), ((), {"x": 1, "y": 2})),
    ],
)
def test_how_arrays_meet_parameters(call: Any, names: tuple[str, ...], expected: Any) -> None:
    arguments = binding("p", InputNames.of("p", names), call, without=("train",))
    assert arguments(1 if len(names) == 1 else tuple(range(1, len(names) + 1))) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda data: bench.problem_from_flax(linen.Dense(2), data, CE, inputs=("inputs", "lengths")),
            r"'inputs', 'lengths', but the model's call takes \(inputs\)",
        ),
        (
            lambda data: bench.problem_from_flax(Mean(), data, CE, inputs=("inputs", "lengths", "labels")),
            r"'labels', but the model's call takes \(x, lengths\)",
        ),
        (
            lambda data: bench.problem_from_flax(Mean(), data, CE, inputs=("inputs", "length")),
            "needs .*'length'.*lengths",
        ),
        (lambda data: bench.problem_from_flax(Mean(), data, CE, inputs=()), "inputs must be the name of an array"),
        (
            lambda data: bench.problem_from_flax(Mean(), data, CE, inputs=[("inputs", "lengths"), ("inputs",)]),
            "groups of names of one size",
        ),
        (
            lambda data: bench.problems.classification(
                "p", layers.dense(2), data, inputs=("inputs", "lengths"), batch_size=8, steps=20
            ),
            r"the model's call takes \(x\)",
        ),
        (
            lambda data: bench.problems.classification(
                "p", models.mlp((2,)), data, inputs="series", batch_size=8, steps=20
            ),
            "must name arrays of its dataset, which has 'inputs', 'labels', 'lengths', 'targets'",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(bench.UserError, match=message):
        make(dataset())


@pytest.mark.parametrize(
    ("lengths", "found"), [(LENGTHS + TIME, "got 7 to 1"), (LENGTHS - 2, "got -1"), (LENGTHS * 1.0, "got float")]
)
def test_lengths_that_are_none_are_refused(lengths: np.ndarray, found: str) -> None:
    with pytest.raises(bench.UserError, match=f"from 0 to the 6 steps of 'inputs', {found}"):
        MAKERS["classification"](dataset(lengths=lengths))


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
def test_pairs_and_triplets_share_a_model(count: int) -> None:
    names = ("first", "second", "third")[:count]
    middles = RNG.normal(size=(N, 3)).astype(np.float32)
    arrays = {name: middles + 0.1 * RNG.normal(size=(N, 3)).astype(np.float32) for name in names}
    data = bench.split("groups", arrays)
    loss = losses.info_nce if count == 2 else losses.triplet
    problem = bench.problem_from_flax(
        linen.Dense(2), data, loss, inputs=[(name,) for name in names], targets=(), batch_size=10, steps=20
    )
    params, state = problem.init(jax.random.key(0))
    batch = {name: jnp.asarray(array) for name, array in data.train.items()}
    value, _ = problem.loss(params, state, batch, jax.random.key(1))
    outputs = [batch[name] @ params["kernel"] + params["bias"][None] for name in names]
    np.testing.assert_allclose(value, loss(*outputs).mean(), rtol=1e-5)
    # A contrast depends on the other examples of the batch: it is no mean over examples.
    assert (problem.example_scores is None) == (count == 2)
    assert np.isfinite(bench.train(problem, "adam", learning_rate=0.01, evaluations=2).curve["loss"]).all()


@pytest.mark.long
def test_groups_with_targets_and_a_state() -> None:
    arrays = {"first": SERIES[:, 0], "second": SERIES[:, 1], "targets": (RNG.random(N) > 0.5).astype(np.float32)}

    class Tower(linen.Module):
        @linen.compact
        def __call__(self, x: Any, train: bool) -> Any:
            return linen.Dense(2)(linen.BatchNorm(use_running_average=not train, momentum=0.5)(x))

    def loss(predictions: Any, targets: Any) -> Any:
        first, second = predictions
        return (losses.cosine_distance(first, second) - targets) ** 2

    problem = bench.problem_from_flax(
        Tower(), bench.split("towers", arrays), loss, inputs=[("first",), ("second",)], batch_size=10, steps=20
    )
    params, state = problem.init(jax.random.key(0))
    batch = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    _, new_state = problem.loss(params, state, batch, jax.random.key(1))
    means = [batch[name].mean(axis=0) for name in ("first", "second")]
    np.testing.assert_allclose(
        new_state["batch_stats"]["BatchNorm_0"]["mean"], 0.25 * means[0] + 0.5 * means[1], rtol=1e-4, atol=1e-6
    )
    assert problem.reestimate is not None and problem.example_scores is not None


@pytest.mark.long
def test_censored_targets_are_a_dictionary() -> None:
    data = bench.data.survival_times(examples=300)
    problem = bench.problem_from_flax(
        linen.Dense(1),
        data,
        lambda p, t: losses.cox(p[:, 0], t["time"], t["event"]),
        targets=("time", "event"),
        metrics={
            "concordance_index": (
                lambda p, t: losses.concordance_index(p[:, 0], t["time"], t["event"]),
                bench.Metric("higher", least=0, most=1),
            )
        },
        batch_size=60,
        steps=20,
    )
    assert problem.example_scores is None
    assert 0 < score(problem)["concordance_index"] < 1
