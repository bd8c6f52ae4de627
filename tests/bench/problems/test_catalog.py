"""Every problem of the catalogue through the same properties, and how names and choices become problems."""

import subprocess
import sys
import zlib
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.problems import ENTRIES, FAMILIES, PROBLEMS, catalog, check_problem, choices_of, tunable
from dlkit.bench.problems.base import Problem
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

ROWS = 8


def available(name: str) -> bool:
    try:
        catalog.get(name)
    except UserError:
        return False
    return True


LONG = ("digits-resnet", "digits-deep-mlp", "digits-transformer", "text-transformer")  # take seconds to trace


def named(names: Any) -> list[Any]:
    """Names as parameters; what an optional package or a path is missing for is skipped."""
    missing = {name: pytest.mark.skipif(not available(name), reason=ENTRIES[name].needs) for name in names}
    return [
        pytest.param(
            name,
            marks=[*([missing[name]] if ENTRIES[name].needs else []), *([pytest.mark.slow] if name in LONG else [])],
        )
        for name in names
    ]


every_problem = pytest.mark.parametrize("name", named(ENTRIES))
# One of each kind; the others differ in layers that have tests of their own, and compile for a minute.
QUICK = (
    "quadratic",
    "noisy-quadratic",
    "saddle",
    "lasso",
    "hinge-svm",
    "diabetes-quantile",
    "digits-mlp",
)


def some(problem: Problem, rows: int = ROWS) -> dict[str, jax.Array]:
    return {key: jnp.asarray(array[:rows]) for key, array in problem.dataset.train.items()}


@pytest.mark.long
@every_problem
def test_is_described_and_can_be_traced(name: str) -> None:
    problem = catalog.get(name)
    check_problem(problem)
    assert problem.name == name
    assert problem.description and problem.stresses and "\n" not in problem.description + problem.stresses
    assert problem.target is not None and problem.trivial is not None and problem.margin is not None
    assert problem.steps % 20 == 0  # the default number of evaluations
    # The target lies beyond the trivial score and the margin.
    assert problem.over_trivial(problem.target) >= problem.margin * (0.7 if problem.judged.scale == "linear" else 1)
    documentation = " ".join((PROBLEMS[name].__doc__ or "").split())
    assert f"Margin: {problem.margin:g} " in documentation or f"Margin: {problem.margin:.1f} " in documentation
    for choice in choices_of(name):
        assert f" {choice}: " in documentation


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in ENTRIES]
)
def test_loss_and_gradients_are_finite_and_the_start_is_the_seeds(name: str) -> None:
    if not available(name):
        pytest.skip(ENTRIES[name].needs)
    problem = catalog.get(name)

    @jax.jit
    def graded(key: Any, batch: Any) -> Any:
        params, state = problem.init(key)
        (value, _), gradient = jax.value_and_grad(problem.loss, has_aux=True)(params, state, batch, key)
        return params, value, gradient

    batch = some(problem)
    params, value, gradient = graded(jax.random.key(1), batch)
    again, other = graded(jax.random.key(1), batch)[0], graded(jax.random.key(2), batch)[0]
    jax.tree.map(np.testing.assert_array_equal, params, again)
    differ = jax.tree.map(lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()), params, other)
    assert any(jax.tree.leaves(differ))
    assert np.isfinite(value)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0
    problem_again = PROBLEMS[name]()
    assert problem_again is not problem and problem_again.dataset.digest == problem.dataset.digest


# --- what is trivial -------------------------------------------------------------------------------------------------


@cache
def little_training(name: str, steps: int = 20) -> tuple[Problem, Trajectory]:
    problem = catalog.get(name)
    program = compile_program(
        compile_problem(problem), Recipe(optimizer=optimizers.get("adam"), steps=steps, evaluations=2)
    )
    point = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.999}
    return problem, train_trial(program, point, stage="tuning", seed=0)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["saddle", "diabetes-quantile", "digits-mlp", pytest.param("digits-vae", marks=pytest.mark.slow)]
)
def test_a_little_training_betters_every_metric(name: str) -> None:
    problem, trajectory = little_training(name, 60)
    for metric, meaning in problem.metrics.items():
        first, *_, last = trajectory.curves[metric]
        assert (last > first) == meaning.higher_is_better, (metric, first, last)


def score_of(problem: Problem, predict: Any) -> float:
    """The judged metric of constant predictions, by the problem's own evaluation."""
    params, state = zeros(problem)
    validation = {key: jnp.asarray(array) for key, array in problem.dataset.validation.items()}
    return float(jax.jit(problem.evaluate)(predict(params), state, validation)[problem.metric])


def zeros(problem: Problem) -> tuple[Any, Any]:
    shapes = jax.eval_shape(lambda: problem.init(jax.random.key(0)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def with_bias(bias: Any) -> Any:
    def predict(params: Any) -> Any:
        params["output"]["dense"]["bias"] = np.asarray(bias, np.float32)
        return params

    return predict


@pytest.mark.long
def test_trivial_scores_are_those_of_constant_predictions() -> None:
    for name in ("digits-mlp", "wine-mlp"):
        problem = catalog.get(name)
        counts = np.bincount(problem.dataset.train["targets"])
        assert score_of(problem, with_bias(np.log(counts / counts.sum()))) == pytest.approx(problem.trivial, rel=1e-5)
    for name, constant in (("diabetes-linear", np.mean), ("diabetes-outliers", np.median)):
        problem = catalog.get(name)
        bias = [constant(problem.dataset.train["targets"])]
        assert score_of(problem, with_bias(bias)) == pytest.approx(problem.trivial, rel=1e-5)
    lasso = catalog.get("lasso")
    bias = [lasso.dataset.train["targets"].mean()]
    assert score_of(lasso, with_bias(bias)) == pytest.approx(lasso.trivial, rel=1e-4)
    for name in ("logistic-regression", "softmax-regression"):
        problem = catalog.get(name)
        counts = np.bincount(problem.dataset.train["targets"])
        logits = np.log(counts / counts.sum())
        bias = logits if len(counts) == 3 else [logits[1] - logits[0]]
        assert score_of(problem, with_bias(bias)) == pytest.approx(problem.trivial, rel=1e-4)
    assert score_of(catalog.get("hinge-svm"), with_bias([1.0])) == pytest.approx(catalog.get("hinge-svm").trivial, 1e-4)


def test_trivial_scores_of_images_and_texts() -> None:
    autoencoder = catalog.get("digits-autoencoder")
    images = autoencoder.dataset
    mean = images.train["inputs"].astype(np.float64).mean(axis=0)
    assert autoencoder.trivial == pytest.approx(((images.validation["inputs"] - mean) ** 2).mean(), rel=1e-6)
    # A decoder that ignores the code and gives every pixel the logit of its mean, and an encoder that gives N(0, I).
    vae = catalog.get("digits-vae")
    params, state = zeros(vae)
    shares = np.clip(mean, 1e-4, 1 - 1e-4)
    params["decoder"]["mlp"]["output"]["dense"]["bias"] = np.log(shares / (1 - shares)).astype(np.float32)
    found = jax.jit(vae.evaluate)(params, state, {"inputs": jnp.asarray(images.validation["inputs"])})
    assert float(found["negative_elbo"]) == pytest.approx(vae.trivial, rel=1e-4)
    assert float(found["reconstruction"]) == float(found["negative_elbo"])
    text = catalog.get("text-lstm")
    counts = np.bincount(text.dataset.train["targets"].ravel(), minlength=100)
    shares = counts / counts.sum()
    seen = text.dataset.validation["targets"][text.dataset.validation["targets"] > 0]
    assert text.trivial == pytest.approx(-np.log2(shares[seen]).mean(), rel=2e-3)
    assert -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() == pytest.approx(text.trivial, rel=0.05)


def test_a_margin_is_a_difference_or_a_factor() -> None:
    accuracy, error, ratio = catalog.get("digits-mlp"), catalog.get("diabetes-linear"), catalog.get("quadratic")
    assert accuracy.over_trivial(0.5) == pytest.approx(0.5 - accuracy.trivial)
    assert error.over_trivial(0.5) == pytest.approx(error.trivial - 0.5)
    assert ratio.over_trivial(ratio.trivial / 8) == pytest.approx(8)
    assert ratio.variant(metric="distance").trivial is None
    with pytest.raises(UserError, match="problem 'quadratic': has no trivial score"):
        ratio.variant(metric="distance").over_trivial(1.0)


# --- batch statistics ------------------------------------------------------------------------------------------------

WITH_STATISTICS = {"digits-mlp": {"norm": "batch"}, "digits-vae": {"norm": "batch"}}


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in WITH_STATISTICS]
)
def test_batch_statistics_can_be_re_estimated(name: str) -> None:
    problem = catalog.get(name, **WITH_STATISTICS[name])
    params, state = jax.jit(problem.init)(jax.random.key(0))
    train = some(problem, 256)
    assert problem.reestimate is not None
    found = jax.jit(problem.reestimate)(params, state, train)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, state)
    key = jax.random.key(0)  # each batch draws with a key of its own
    # Batches of the problem's size in the order of the data: what a training step leaves behind, averaged.
    rows = problem.batch_size
    assert rows == 64
    batches = [{key: array[rows * b : rows * b + rows] for key, array in train.items()} for b in range(4)]
    step = jax.jit(lambda batch, number: problem.loss(params, state, batch, jax.random.fold_in(key, number))[1])
    steps = [step(batch, number) for number, batch in enumerate(batches)]
    means = {
        jax.tree_util.keystr(path[:-1]): np.mean([np.asarray(leaf) for leaf in leaves], axis=0)
        for path, *leaves in zip(
            *(
                [[path for path, _ in jax.tree_util.tree_leaves_with_path(steps[0])]]
                + [jax.tree.leaves(step) for step in steps]
            ),
            strict=True,
        )
        if path[-1].key == "batch_mean"
    }
    checked = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        if path[-1].key == "mean":
            np.testing.assert_allclose(leaf, means[jax.tree_util.keystr(path[:-1])], atol=1e-5)
            checked += 1
    assert checked == len(means) > 0


@pytest.mark.parametrize("name", ["digits-cnn", "digits-vae", "diabetes-linear", "quadratic"])
def test_without_batch_statistics_there_is_nothing_to_re_estimate(name: str) -> None:
    assert catalog.get(name).reestimate is None


# --- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_plain_case_keeps_its_bits() -> None:
    """The start and the losses of digits-mlp, as classification by mlp((64, 64, 10)) always had them."""
    from dlkit import losses, models
    from dlkit.bench import data

    problem, model, digits = catalog.get("digits-mlp"), models.mlp((64, 64, 10)), data.digits()
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"init"))
    (params, state), (expected, _) = problem.init(key), model.init(key, (64,))
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    batch = some(problem)
    value, _ = problem.loss(params, state, batch, jax.random.key(1))
    logits, _ = model.apply(expected, {}, batch["inputs"], train=True, key=jax.random.key(1))
    assert value == losses.cross_entropy(logits, batch["targets"]).mean()
    assert problem.description == "MLP 64-64-64-10 on scikit-learn's digits, batch 64"
    assert (problem.batch_size, problem.steps, problem.target) == (64, 600, 0.95)
    assert problem.dataset.digest == digits.digest


@pytest.mark.slow
def test_choices_change_what_they_say() -> None:
    plain = catalog.get("digits-mlp")
    key, batch = jax.random.key(0), some(plain)

    def loss(**choices: Any) -> float:
        problem = catalog.get("digits-mlp", **choices)
        params, state = jax.jit(problem.init)(key)
        return float(jax.jit(problem.loss)(params, state, batch, jax.random.key(1))[0])

    base = loss()
    weights = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(plain.init(key)[0]) if leaf.ndim == 2]
    squares, magnitudes = sum((leaf**2).sum() for leaf in weights), sum(np.abs(leaf).sum() for leaf in weights)
    assert loss(l2=0.01) == pytest.approx(base + 0.01 * squares, rel=1e-5)
    assert loss(l1=0.01) == pytest.approx(base + 0.01 * magnitudes, rel=1e-5)
    others = [loss(dropout=0.5), loss(activation="tanh"), loss(norm="batch"), loss(loss="focal", width=8)]
    assert len({base, *others}) == 5
    assert catalog.get("digits-mlp", width=64, l2=0) is plain is catalog.get("digits-mlp")
    assert catalog.get("digits-mlp", l2=1) is catalog.get("digits-mlp", l2=1.0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["digits-mlp", "diabetes-linear", pytest.param("digits-vae", marks=pytest.mark.slow)])
def test_penalties_and_rates_can_be_traced(name: str) -> None:
    strengths = {"l1": 1e-3, "l2": 1e-2, "dropout": 0.2, "label_smoothing": 0.1, "kl_weight": 0.5}
    chosen = {key: value for key, value in strengths.items() if key in tunable(name)}
    assert set(tunable(name)) == set(chosen)
    constant = catalog.get(name, **chosen)
    params, state = jax.jit(constant.init)(jax.random.key(0))
    batch = some(constant)

    @jax.jit
    def traced(values: Any) -> jax.Array:
        return PROBLEMS[name](**values).loss(params, state, batch, jax.random.key(1))[0]

    value = traced({key: jnp.float32(each) for key, each in chosen.items()})
    expected, _ = jax.jit(constant.loss)(params, state, batch, jax.random.key(1))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


MISTAKES = {
    "name": (("digits-mpl", {}), "no problem 'digits-mpl'; did you mean 'digits-mlp'"),
    "choice": (("digits-cnn", {"wdth": 3}), "problem 'digits-cnn': no choice 'wdth'; did you mean 'width'"),
    "no choices": (("beale", {"width": 3}), "problem 'beale': no choice 'width'; it has none"),
    "whole": (("digits-cnn", {"width": 1.5}), "problem 'digits-cnn': choice 'width' must be a whole number, got 1.5"),
    "true": (("digits-cnn", {"width": True}), "choice 'width' must be a whole number, got True"),
    "number": (("digits-cnn", {"l2": "x"}), "choice 'l2' must be a finite number, got 'x'"),
    "NaN": (("digits-cnn", {"l2": float("nan")}), "choice 'l2' must be a finite number, got nan"),
    "text": (("digits-cnn", {"norm": None}), "choice 'norm' must be a text, got None"),
    "activation": (
        ("digits-cnn", {"activation": "rlu"}),
        "'digits-cnn': unknown activation 'rlu'; did you mean 'relu'",
    ),
    "norm": (("digits-cnn", {"norm": "bach"}), "'digits-cnn': unknown normalization 'bach'; did you mean 'batch'"),
    "loss": (("digits-cnn", {"loss": "focl"}), "problem 'digits-cnn': no loss 'focl'; did you mean 'focal'"),
    "negative": (("digits-cnn", {"l2": -1.0}), "problem 'digits-cnn': a penalty: expected l2 .* got -1.0"),
    "rate": (("digits-cnn", {"dropout": 1.5}), r"problem 'digits-cnn': dropout: expected rate, .* got 1.5"),
    "size": (("digits-cnn", {"width": 0}), "problem 'digits-cnn': .*got 0"),
    "smoothing": (
        ("digits-cnn", {"loss": "focal", "label_smoothing": 0.1}),
        "problem 'digits-cnn': only the loss 'cross_entropy' takes label_smoothing, not 'focal'",
    ),
    "architecture": (("adding", {"architecture": "ltsm"}), "'adding': no architecture 'ltsm'; did you mean 'lstm'"),
    "length": (("adding", {"length": 1}), "problem 'adding': dataset 'adding': length must be at least 2"),
    "share": (("diabetes-outliers", {"share": 2.0}), r"share must lie in \[0, 1\], got 2.0"),
    "level": (("diabetes-quantile", {"level": 1.0}), "problem 'diabetes-quantile': .*level.* got 1.0"),
    "two": (("digits-cnn", {"wdth": 3, "l2": "x"}), "(?s)no choice 'wdth'.*choice 'l2' must be"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    (name, choices), message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        catalog.get(name, **choices)


def test_families_share_no_name_and_optional_problems_say_what_they_need() -> None:
    assert sum(map(len, FAMILIES.values())) == len(ENTRIES) == len(PROBLEMS)
    needy = [name for name, entry in ENTRIES.items() if entry.needs]
    assert needy == ["data-file", "mnist-5k-mlp", "mnist-5k-cnn", "image-file", "basic-motions", "series-file"]
    assert all(entry.seconds is None or entry.seconds > 0 for entry in ENTRIES.values())


@pytest.mark.long
def test_making_a_problem_does_not_start_jax() -> None:
    """Workers set what XLA reads from the environment before it starts; plans are made before workers are."""
    code = (
        "from dlkit.bench.problems import catalog; from jax._src import xla_bridge;"
        "[catalog.get(name) for name in ('quadratic', 'saddle', 'lasso', 'digits-cnn-batch-norm', 'text-lstm')];"
        "print(len(xla_bridge._backends))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "0"
