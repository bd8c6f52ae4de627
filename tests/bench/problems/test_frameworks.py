"""Flax modules as problems: against hand-written flax loops, and what a careless adapter would get wrong."""

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from dlkit import bench, losses
from dlkit.bench.problems import check_problem
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin, train_trial

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(160, 3)).astype(np.float32)
DATA = bench.split("mine", {"inputs": INPUTS, "targets": (INPUTS.sum(axis=1) > 0).astype(np.int32)})
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels
ADAM = bench.Optimizer("adam", optax.adam, {"learning_rate": 0.02})
STEPS, POINTS = 24, 4


def accuracy(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return predictions.argmax(axis=-1) == targets


METRICS = {"loss": (CROSS_ENTROPY, bench.Metric("lower")), "accuracy": (accuracy, bench.Metric("higher"))}


class LinenMLP(linen.Module):
    width: int = 8

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return linen.Dense(2)(linen.relu(linen.Dense(self.width)(x)))


class LinenNorm(linen.Module):
    rate: float = 0.0

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(linen.Dense(8, use_bias=False)(x))
        return linen.Dense(2)(linen.Dropout(self.rate, deterministic=not train)(linen.relu(x)))


class NnxNorm(nnx.Module):
    def __init__(self, rate: float = 0.0, *, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(3, 8, use_bias=False, rngs=rngs)  # a gradient of zero, up to rounding, grows in Adam
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(8, 2, rngs=rngs)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.heads[0](self.dropout(nnx.relu(self.norm(self.hidden(x)))))


class NnxNoise(nnx.Module):
    """Keeps a typed key of its own, and a count."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(3, 2, rngs=rngs)
        self.key = nnx.Variable(rngs.noise())
        self.count = nnx.Variable(jnp.int32(0))

    def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
        if not deterministic:
            self.key[...], key_noise = jax.random.split(self.key[...])
            self.count[...] += 1
            x = x + 0.1 * jax.random.normal(key_noise, x.shape)
        return self.linear(x)


def make(module: Any, **options: Any) -> bench.Problem:
    return bench.problem_from_flax(module, DATA, CROSS_ENTROPY, **{"metrics": METRICS, "batch_size": 16, **options})


def train(problem: bench.Problem, *seeds: int) -> tuple[list[Trajectory], Program]:
    recipe = Recipe(optimizer=ADAM, steps=STEPS, evaluations=POINTS)
    program = compile_program(compile_problem(problem), recipe)
    rate = {"learning_rate": 0.02}
    return [train_trial(program, rate, stage="final", seed=seed) for seed in seeds], program


def by_hand(problem: bench.Problem, step: Callable[[Any, Any], None], predict: Callable[[Any], jax.Array]) -> Any:
    """A flax user's own loop over the trainer's batches; returns the curves."""
    points = [predict(DATA.test["inputs"])]
    rows = next(data_order(problem, "final", 0, segment=STEPS))
    for number, row in enumerate(rows, start=1):
        step(DATA.train["inputs"][row], DATA.train["targets"][row])
        if number % (STEPS // POINTS) == 0:
            points.append(predict(DATA.test["inputs"]))
    targets = DATA.test["targets"]
    return {
        "loss": np.array([CROSS_ENTROPY(point, targets).mean() for point in points]),
        "accuracy": np.array([accuracy(point, targets).mean() for point in points]),
    }


def start_of(program: Program) -> Any:
    return begin(program, [Request({"learning_rate": 0.02}, "final", 0)]).carry


def assert_same_curves(trajectory: Trajectory, expected: Any) -> None:
    for metric, curve in expected.items():
        np.testing.assert_allclose(trajectory.curves[metric], curve, atol=1e-5)
    assert trajectory.curves["loss"][-1] < trajectory.curves["loss"][0] - 0.1


@pytest.mark.long
@pytest.mark.parametrize("module", [LinenMLP(), LinenNorm()], ids=["plain", "batch norm"])
def test_linen_trains_as_a_hand_written_loop(module: Any) -> None:
    problem = make(module)
    (trajectory,), program = train(problem, 0)
    start = start_of(program)
    optimizer = optax.adam(0.02)
    now = {"params": start.params, "state": start.state, "opt": optimizer.init(start.params)}
    normed = isinstance(module, LinenNorm)

    def loss(params: Any, x: Any, y: Any) -> Any:
        if not normed:
            return CROSS_ENTROPY(module.apply({"params": params}, x), y).mean(), {}
        variables = {"params": params, **now["state"]}
        logits, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
        return CROSS_ENTROPY(logits, y).mean(), updated

    def step(x: Any, y: Any) -> None:
        gradient, now["state"] = jax.grad(loss, has_aux=True)(now["params"], x, y)
        updates, now["opt"] = optimizer.update(gradient, now["opt"])
        now["params"] = optax.apply_updates(now["params"], updates)

    def predict(x: Any) -> jax.Array:
        options = {"train": False} if normed else {}
        return module.apply({"params": now["params"], **now["state"]}, x, **options)

    assert_same_curves(trajectory, by_hand(problem, step, predict))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), trajectory.state, now["state"])
    assert bool(jax.tree.leaves(trajectory.state)) == normed


@pytest.mark.long
def test_nnx_trains_as_a_hand_written_loop() -> None:
    problem = make(lambda rngs: NnxNorm(rngs=rngs))
    (trajectory,), program = train(problem, 0)
    model = NnxNorm(rngs=nnx.Rngs(1))
    nnx.update(model, start_of(program).params)
    optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)

    @nnx.jit
    def update(model: Any, optimizer: Any, x: Any, y: Any) -> None:
        optimizer.update(model, nnx.grad(lambda model: CROSS_ENTROPY(model(x), y).mean())(model))

    def step(x: Any, y: Any) -> None:
        model.train()
        update(model, optimizer, x, y)

    def predict(x: Any) -> jax.Array:
        model.eval()
        return model(x)

    assert_same_curves(trajectory, by_hand(problem, step, predict))
    np.testing.assert_allclose(trajectory.state["norm"]["mean"], model.norm.mean[...], atol=1e-5)
    np.testing.assert_allclose(trajectory.state["norm"]["var"], model.norm.var[...], atol=1e-5)


STOCHASTIC = {
    "linen": lambda: LinenNorm(rate=0.5),
    "nnx factory": lambda: lambda rngs: NnxNorm(0.5, rngs=rngs),
    "nnx class": lambda: NnxNoise,
    "nnx instance": lambda: NnxNorm(0.5, rngs=nnx.Rngs(0)),
}
every_kind = pytest.mark.parametrize("kind", STOCHASTIC)


@pytest.mark.long
@every_kind
def test_draws_in_training_only_and_updates_the_state(kind: str) -> None:
    problem = make(STOCHASTIC[kind]())
    check_problem(problem)
    params, state = problem.init(jax.random.key(3))
    before = jax.tree.map(jnp.copy, state)
    batch = DATA.train
    value, updated = problem.loss(params, state, batch, jax.random.key(0))
    again, _ = problem.loss(params, state, batch, jax.random.key(0))
    other, _ = problem.loss(params, state, batch, jax.random.key(1))
    assert value == again
    assert (value == other) == (kind == "nnx class")  # which draws from its own key
    assert problem.loss(params, updated, batch, jax.random.key(0))[0] != value or kind != "nnx class"
    assert problem.evaluate(params, state, batch) == problem.evaluate(params, state, batch)
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state, updated)
    assert all(jax.tree.leaves(changed)) and jax.tree.leaves(changed)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state, before))
    assert jax.tree.map(lambda leaf: leaf.dtype, state) == jax.tree.map(lambda leaf: leaf.dtype, updated)


@pytest.mark.long
@every_kind
def test_trains_in_one_compilation_after_a_pickle(kind: str) -> None:
    problem = pickle.loads(cloudpickle.dumps(make(STOCHASTIC[kind]())))
    trajectories, program = train(problem, 0, 0, 1)
    same, again, other = (trajectory.curves["loss"] for trajectory in trajectories)
    assert np.array_equal(same, again) and not np.array_equal(same, other)
    assert (same[0] == other[0]) == (kind == "nnx instance")  # which starts from the same parameters at every seed
    assert same[-1] < same[0]
    assert program.segment._cache_size() == 1
    if kind == "nnx class":
        assert int(trajectories[0].state["count"]) == STEPS


@pytest.mark.long
def test_the_loss_is_traced_once_for_all_seeds_after_a_look_for_convolutions() -> None:
    traced = []

    def loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        traced.append(predictions.shape)
        return CROSS_ENTROPY(predictions, targets)

    problem = bench.problem_from_flax(LinenNorm(0.5), DATA, loss, metrics=METRICS, batch_size=16)
    traced.clear()
    train(problem, 0, 1, 2)
    assert traced == [(16, 2)] * 2


@pytest.mark.long
def test_an_instance_is_copied() -> None:
    model = NnxNorm(0.5, rngs=nnx.Rngs(0))
    model.eval()
    before = nnx.to_pure_dict(nnx.state(nnx.clone(model)))
    problem = make(model)
    train(problem, 0)
    after = nnx.to_pure_dict(nnx.state(model))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), before, after))
    assert model.norm.use_running_average and model.dropout.deterministic
    model.hidden.kernel[...] = jnp.zeros((3, 8))  # nor do its later changes reach the problem
    params, _ = problem.init(jax.random.key(0))
    assert np.array_equal(params["hidden"]["kernel"], before["hidden"]["kernel"])


def test_defaults() -> None:
    problem = make(LinenMLP(), metrics=None, batch_size=None)
    assert (problem.name, problem.metric, problem.batch_size) == ("mine", "loss", None)
    params, state = problem.init(jax.random.key(0))
    value, _ = problem.loss(params, state, DATA.validation, jax.random.key(0))
    assert problem.evaluate(params, state, DATA.validation) == {"loss": value}


def test_half_precision_is_averaged_in_single() -> None:
    def loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        return CROSS_ENTROPY(predictions, targets).astype(jnp.bfloat16)

    problem = bench.problem_from_flax(LinenMLP(), DATA, loss)
    assert problem.loss(*problem.init(jax.random.key(0)), DATA.train, jax.random.key(0))[0].dtype == jnp.float32


class NoParameters(linen.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


FAILURES = {
    "linen class": (LinenMLP, {}, r"problem 'mine': expected a flax linen.*got the class LinenMLP; make an instance"),
    "not a module": (3, {}, "problem 'mine': expected a flax linen module.*got 3"),
    "function": (lambda x: x, {}, r"expected a flax linen.*<lambda>\(rngs=...\) raised TypeError"),
    "factory of nothing": (lambda rngs: 3, {}, "expected a flax linen.*but it returned none"),
    "broken factory": (lambda rngs: nnx.Linear(1, rngs=rngs), {}, "nnx module.*raised TypeError"),
    "no parameters": (NoParameters(), {"name": "own"}, "problem 'own': the module has no parameters to train"),
    "shape": (
        nnx.Linear(5, 2, rngs=nnx.Rngs(0)),
        {},
        r"'mine': the module failed on inputs float32\(16, 3\): \w+Error",
    ),
    "metrics": (LinenMLP(), {"metrics": {"x": bench.Metric()}}, r"metric 'x' must be \(function, Metric\)"),
    "metric": (
        LinenMLP(),
        {"metrics": {"x": (lambda p, t: p @ t, bench.Metric())}},
        r"metric 'x' failed on predictions \(16, 2\) and targets \(16,\): TypeError",
    ),
    "batch size": (LinenMLP(), {"batch_size": 0}, "batch_size must lie between"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_mistakes_are_named(case: str) -> None:
    module, options, message = FAILURES[case]
    with pytest.raises(bench.UserError, match="(?s)" + message):
        make(module, **options)


def test_a_loss_that_broadcasts_is_refused() -> None:
    data = bench.split("column", {"inputs": INPUTS, "targets": INPUTS[:, 0]})

    def squared(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        with jax.numpy_rank_promotion("allow"):  # as it is outside of this test session
            return (predictions - targets) ** 2

    with pytest.raises(bench.UserError, match=r"the loss broadcasts predictions \(16, 1\) and targets \(16,\) to"):
        bench.problem_from_flax(linen.Dense(1), data, squared, batch_size=16)
    columns = bench.split("column", {"inputs": INPUTS, "targets": INPUTS[:, :1]})
    assert bench.problem_from_flax(linen.Dense(1), columns, losses.squared_error, batch_size=16).name == "column"


def test_a_dataset_without_targets_is_refused() -> None:
    with pytest.raises(bench.UserError, match=r"problem 'bare': its dataset needs 'inputs' and 'targets'"):
        bench.problem_from_flax(LinenMLP(), bench.split("bare", {"inputs": INPUTS}), CROSS_ENTROPY)


MODELS = """
    import jax, numpy as np, optax
    from flax import linen, nnx
    from dlkit import bench
    from dlkit.bench.identity.fingerprints import fingerprint

    def activation(x):
        return ACTIVATION(x)

    class Linen(linen.Module):
        width: int
        def setup(self):
            self.first, self.last = linen.Dense(self.width), linen.Dense(OUTPUTS)
        def __call__(self, x):
            return self.last(activation(self.first(x)))

    class Nnx(nnx.Module):
        def __init__(self, width, *, rngs):
            self.first, self.last = nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, OUTPUTS, rngs=rngs)
        def __call__(self, x):
            return self.last(activation(self.first(x)))

    data = bench.split("mine", {"inputs": np.ones((20, 3), np.float32), "targets": np.zeros(20, np.int32)})
    for width in (4, 5):
        for module in (Linen(width), lambda rngs: Nnx(width, rngs=rngs), Nnx(width, rngs=nnx.Rngs(0))):
            p = bench.problem_from_flax(module, data, optax.softmax_cross_entropy_with_integer_labels)
            print(fingerprint(p.init, p.loss, p.evaluate))
"""


PLAIN = ("jax.nn.relu", 2)


def fingerprints(folder: Path, *, seed: int, variants: tuple[tuple[str, int], ...]) -> list[list[str]]:
    """Of the six modules in each variant, each in a file of its own, from one new process."""
    names = [f"models_{number}" for number in range(len(variants))]
    for name, (activation, outputs) in zip(names, variants, strict=True):
        text = textwrap.dedent(MODELS).replace("ACTIVATION", activation).replace("OUTPUTS", str(outputs))
        (folder / f"{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path.cwd())}
    code = "import runpy; " + "; ".join(f"runpy.run_path({name + '.py'!r}, run_name='__main__')" for name in names)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=folder
    )
    printed = process.stdout.split()
    return [printed[start : start + 6] for start in range(0, 6 * len(variants), 6)]


@pytest.mark.long
def test_the_fingerprint_is_the_content_of_the_module(tmp_path: Path) -> None:
    variants = (PLAIN, PLAIN, ("jax.nn.tanh", 2), ("jax.nn.relu", 3))
    first, same, other_activation, other_outputs = fingerprints(tmp_path, seed=1, variants=variants)
    assert len(set(first)) == 6  # three kinds of module, two widths
    assert same == first  # the file's name is no part of it
    assert fingerprints(tmp_path, seed=2, variants=(PLAIN,)) == [first]
    assert not set(other_activation) & set(first)
    assert not set(other_outputs) & set(first)


# --- running averages for other parameters ---------------------------------------------------------------------------


class LinenTwoNorms(linen.Module):
    momentum: float

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(2):
            x = 40.0 + 30.0 * linen.Dense(8)(x)  # far from what the averages start with
            x = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=self.momentum)(x))
        return linen.Dense(2)(x)


class NnxTwoNorms(nnx.Module):
    def __init__(self, momentum: float, *, rngs: nnx.Rngs) -> None:
        self.dense = nnx.List([nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)])
        self.norms = nnx.List([nnx.BatchNorm(8, momentum=momentum, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for dense, norm in zip(self.dense, self.norms, strict=True):
            x = nnx.relu(norm(40.0 + 30.0 * dense(x)))
        return self.head(x)


def two_norms(kind: str, momentum: float) -> bench.Problem:
    if kind == "linen":
        return make(LinenTwoNorms(momentum))
    return make(lambda rngs: NnxTwoNorms(momentum, rngs=rngs))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_running_averages_are_those_of_all_batches(kind: str) -> None:
    problem, without_memory = two_norms(kind, 0.99), two_norms(kind, 0.0)
    params, state = problem.init(jax.random.key(1))
    assert problem.reestimate is not None and without_memory.reestimate is not None
    found = jax.jit(problem.reestimate)(params, state, DATA.train)
    # With momentum 0 a step in training mode leaves the batch's own statistics behind.
    count = DATA.examples // 16
    steps = [
        without_memory.loss(params, state, {k: v[16 * b : 16 * b + 16] for k, v in DATA.train.items()}, None)[1]
        for b in range(count)
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)

    def all_together(path: Any, each: np.ndarray) -> np.ndarray:
        if path[-1].key == "mean":
            return each.mean(axis=0)
        means = stacked
        for entry in path[:-1]:
            means = means[entry.key]
        return each.mean(axis=0) + means["mean"].var(axis=0)

    expected = jax.tree_util.tree_map_with_path(all_together, stacked)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, state)
    # What the problem evaluates then is about what it trains: far from it with the averages of the start.
    score = problem.evaluate(params, found, DATA.train)["loss"]
    in_training, _ = problem.loss(params, state, DATA.train, None)
    assert abs(score - in_training) < 0.2 < abs(problem.evaluate(params, state, DATA.train)["loss"] - in_training)


@pytest.mark.long
def test_other_state_is_not_re_estimated() -> None:
    assert make(LinenMLP()).reestimate is None
    assert make(NnxNoise).reestimate is None

    class Frozen(linen.Module):
        @linen.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            mean = self.variable("scaling", "mean", lambda: jnp.full(3, 2.0))
            var = self.variable("scaling", "var", lambda: jnp.full(3, 5.0))
            return linen.Dense(2)((x - mean.value[None]) / var.value[None])

    problem = make(Frozen())
    params, state = problem.init(jax.random.key(0))
    assert problem.reestimate is not None
    after = problem.reestimate(params, state, DATA.train)
    jax.tree.map(np.testing.assert_array_equal, after, state)
