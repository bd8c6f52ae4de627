"""Problems that users bring, one of each module library: against loops that its users would write."""

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import cloudpickle
import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from dlkit import bench, losses
from dlkit.bench.data.base import Dataset
from dlkit.bench.training.curve import Request
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin, train_trial
from dlkit.typing import Array

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(120, 4, 4, 2)).astype(np.float32)
LABELS = (IMAGES[..., 0].sum(axis=(1, 2)) > 0).astype(np.int32)
DATA = bench.split("images", {"inputs": IMAGES, "targets": LABELS})
CHANNELS_FIRST = bench.split("images", {"inputs": IMAGES.transpose(0, 3, 1, 2), "targets": LABELS})
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels
RATE, STEPS, POINTS, BATCH = 0.02, 12, 3, 16
ADAM = bench.Optimizer("adam", optax.adam, {"learning_rate": RATE})

# ───────── what users write ─────────


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = linen.Conv(4, (3, 3), use_bias=False)(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return linen.Dense(2)(x.mean(axis=(1, 2)))


class NnxNet(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(2, 4, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(nnx.relu(self.norm(self.conv(x))).mean(axis=(1, 2)))


class EquinoxNet(equinox.Module):
    conv: equinox.nn.Conv2d
    norm: equinox.nn.BatchNorm
    head: equinox.nn.Linear

    def __init__(self, key: Array) -> None:
        key_conv, key_head = jax.random.split(key)
        self.conv = equinox.nn.Conv2d(2, 4, 3, padding=1, use_bias=False, key=key_conv)
        self.norm = equinox.nn.BatchNorm(4, "batch", momentum=0.9, mode="batch")
        self.head = equinox.nn.Linear(4, 2, key=key_head)

    def __call__(self, x: Array, state: Any) -> tuple[Array, Any]:
        x, state = self.norm(self.conv(x), state)
        return self.head(jax.nn.relu(x).mean(axis=(1, 2))), state


@haiku.transform_with_state
def haiku_net(x: Array, is_training: bool) -> Array:
    x = haiku.Conv2D(4, 3, with_bias=False)(x)
    x = jax.nn.relu(haiku.BatchNorm(True, True, 0.9)(x, is_training))
    return haiku.Linear(2)(x.mean(axis=(1, 2)))


# ───────── and the loops they would train it with ─────────

Step = Callable[[Any, Array, Array], Any]


class Own(NamedTuple):
    """A problem made of a module, and the functions of a loop by hand."""

    make: Callable[..., bench.Problem]
    module: Any
    data: Dataset
    begin: Callable[[Any], Any]  # the trainer's start -> what the loop carries
    step: Step
    predict: Callable[[Any, Array], Array]


TRANSFORMATION = optax.adam(RATE)


def with_adam(loss: Callable[..., tuple[Array, Any]]) -> Step:
    """A step of (params, state, optimizer state)."""

    @jax.jit
    def step(carry: Any, x: Array, y: Array) -> Any:
        params, state, opt_state = carry
        gradient, state = jax.grad(loss, has_aux=True)(params, state, x, y)
        updates, opt_state = TRANSFORMATION.update(gradient, opt_state)
        return optax.apply_updates(params, updates), state, opt_state

    return step


def linen_loss(params: Any, state: Any, x: Array, y: Array) -> tuple[Array, Any]:
    logits, state = LinenNet().apply({"params": params, **state}, x, train=True, mutable=["batch_stats"])
    return CROSS_ENTROPY(logits, y).mean(), state


def linen_predict(carry: Any, x: Array) -> Array:
    return LinenNet().apply({"params": carry[0], **carry[1]}, x, train=False)


def nnx_begin(start: Any) -> Any:
    model = NnxNet(rngs=nnx.Rngs(1))
    nnx.update(model, start.params)
    return model, nnx.Optimizer(model, TRANSFORMATION, wrt=nnx.Param)


@nnx.jit
def nnx_update(model: Any, optimizer: Any, x: Array, y: Array) -> None:
    optimizer.update(model, nnx.grad(lambda model: CROSS_ENTROPY(model(x), y).mean())(model))


def nnx_step(carry: Any, x: Array, y: Array) -> Any:
    carry[0].train()
    nnx_update(*carry, x, y)
    return carry


def nnx_predict(carry: Any, x: Array) -> Array:
    carry[0].eval()
    return carry[0](x)


def equinox_begin(start: Any) -> Any:
    """The module of another key, with the arrays of the trainer's start."""
    model, state = equinox.nn.make_with_state(EquinoxNet)(jax.random.key(1))
    where = lambda model: (model.conv.weight, model.norm.weight, model.norm.bias, model.head.weight, model.head.bias)  # noqa: E731
    names = ("conv.weight", "norm.weight", "norm.bias", "head.weight", "head.bias")
    model = equinox.tree_at(where, model, tuple(start.params[name] for name in names))
    return model, state, TRANSFORMATION.init(equinox.filter(model, equinox.is_inexact_array))


def equinox_loss(model: Any, state: Any, x: Array, y: Array) -> tuple[Array, Any]:
    mapped = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    logits, state = mapped(x, state)
    return CROSS_ENTROPY(logits, y).mean(), state


@equinox.filter_jit
def equinox_step(carry: Any, x: Array, y: Array) -> Any:
    model, state, opt_state = carry
    gradient, state = equinox.filter_grad(equinox_loss, has_aux=True)(model, state, x, y)
    updates, opt_state = TRANSFORMATION.update(gradient, opt_state)
    return equinox.apply_updates(model, updates), state, opt_state


def equinox_predict(carry: Any, x: Array) -> Array:
    model = equinox.nn.inference_mode(carry[0])
    return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, carry[1])[0]


def haiku_loss(params: Any, state: Any, x: Array, y: Array) -> tuple[Array, Any]:
    logits, state = haiku_net.apply(params, state, None, x, is_training=True)
    return CROSS_ENTROPY(logits, y).mean(), state


def haiku_predict(carry: Any, x: Array) -> Array:
    return haiku_net.apply(carry[0], carry[1], None, x, is_training=False)[0]


def functional_begin(start: Any) -> Any:
    return start.params, start.state, TRANSFORMATION.init(start.params)


OWN = {
    "linen": Own(bench.problem_from_flax, LinenNet(), DATA, functional_begin, with_adam(linen_loss), linen_predict),
    "nnx": Own(bench.problem_from_flax, lambda rngs: NnxNet(rngs=rngs), DATA, nnx_begin, nnx_step, nnx_predict),
    "equinox": Own(
        bench.problem_from_equinox,
        equinox.nn.make_with_state(EquinoxNet),
        CHANNELS_FIRST,
        equinox_begin,
        equinox_step,
        equinox_predict,
    ),
    "haiku": Own(bench.problem_from_haiku, haiku_net, DATA, functional_begin, with_adam(haiku_loss), haiku_predict),
}


@pytest.mark.long
@pytest.mark.parametrize("library", OWN)
def test_trains_as_its_users_would(library: str) -> None:
    own = OWN[library]
    problem = own.make(own.module, own.data, CROSS_ENTROPY, batch_size=BATCH)
    recipe = Recipe(optimizer=ADAM, steps=STEPS, evaluations=POINTS)
    program = compile_program(compile_problem(problem), recipe)
    found = train_trial(program, {"learning_rate": RATE}, stage="final", seed=0)
    carry = own.begin(begin(program, [Request({"learning_rate": RATE}, "final", 0)]).carry)
    train, test = own.data.train, own.data.test
    rows = next(data_order(problem, "final", 0, segment=STEPS))
    with jax.numpy_rank_promotion("allow"):  # of the libraries themselves
        points = [own.predict(carry, test["inputs"])]
        for number, row in enumerate(rows, start=1):
            carry = own.step(carry, train["inputs"][row], train["targets"][row])
            if number % (STEPS // POINTS) == 0:
                points.append(own.predict(carry, test["inputs"]))
    expected = [CROSS_ENTROPY(point, test["targets"]).mean() for point in points]
    np.testing.assert_allclose(found.curves["loss"], expected, atol=1e-5)
    assert found.curves["loss"][-1] < found.curves["loss"][0]


@pytest.mark.long
def test_dropout_draws_in_training_only() -> None:
    def noisy(x: Array, is_training: bool) -> Array:
        x = haiku.Flatten()(x)
        return haiku.Linear(2)(haiku.dropout(haiku.next_rng_key(), 0.5, x) if is_training else x)

    class Noisy(equinox.Module):
        head: equinox.nn.Linear
        dropout: equinox.nn.Dropout

        def __init__(self, key: Array) -> None:
            self.head, self.dropout = equinox.nn.Linear(32, 2, key=key), equinox.nn.Dropout(0.5)

        def __call__(self, x: Array, *, key: Array | None) -> Array:
            return self.head(self.dropout(x.ravel(), key=key))

    for problem in (
        bench.problem_from_haiku(haiku.transform(noisy), DATA, CROSS_ENTROPY, batch_size=BATCH),
        bench.problem_from_equinox(Noisy, DATA, CROSS_ENTROPY, batch_size=BATCH),
    ):
        params, state = jax.jit(problem.init)(jax.random.key(0))
        loss = jax.jit(problem.loss)
        same, again, other = (loss(params, state, DATA.train, jax.random.key(seed))[0] for seed in (0, 0, 1))
        assert same == again != other
        assert problem.reestimate is None
        score = jax.jit(problem.evaluate)(params, state, DATA.train)["loss"]
        assert abs(score - same) > 1e-3
        # The same linear function without dropout, by hand.
        (weight, bias) = sorted(jax.tree.leaves(params), key=lambda leaf: -leaf.ndim)
        weight = weight if weight.shape == (32, 2) else weight.T
        logits = DATA.train["inputs"].reshape(-1, 32) @ np.asarray(weight) + np.asarray(bias)[None]
        assert score == pytest.approx(float(CROSS_ENTROPY(logits, DATA.train["targets"]).mean()), rel=1e-5)


@pytest.mark.long
def test_an_equinox_module_starts_from_its_present_parameters() -> None:
    model = equinox.nn.MLP(2, 2, 3, 1, key=jax.random.key(5))
    points = bench.split("points", {"inputs": IMAGES[:, 0, 0], "targets": LABELS})
    problem = bench.problem_from_equinox(model, points, CROSS_ENTROPY)
    params, _ = jax.jit(problem.init)(jax.random.key(0))
    assert sorted(params) == ["layers.0.bias", "layers.0.weight", "layers.1.bias", "layers.1.weight"]
    np.testing.assert_array_equal(params["layers.1.weight"], model.layers[1].weight)
    expected = CROSS_ENTROPY(jax.vmap(model)(points.test["inputs"]), points.test["targets"]).mean()
    assert problem.evaluate(params, {"arrays": {}, "state": {}}, points.test)["loss"] == pytest.approx(float(expected))


@pytest.mark.parametrize("made", [False, True])
def test_an_equinox_module_works_after_a_pickle(made: bool) -> None:
    """Equinox compares by `is` what the tree structure of a module holds in place of fields without a value."""
    module = lambda key: equinox.nn.MLP(2, 2, 3, 1, key=key)  # noqa: E731
    points = bench.split("points", {"inputs": IMAGES[:, 0, 0], "targets": LABELS})
    given = module(jax.random.key(5)) if made else module
    problem = bench.problem_from_equinox(given, points, CROSS_ENTROPY)
    opened = pickle.loads(cloudpickle.dumps(problem))
    start = problem.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, opened.init(jax.random.key(0)), start)
    assert opened.evaluate(*start, points.test) == problem.evaluate(*start, points.test)


@pytest.mark.long
@pytest.mark.parametrize("library", ["equinox", "haiku"])
def test_the_state_of_other_parameters_is_re_estimated(library: str) -> None:
    own = OWN[library]
    problem = own.make(own.module, own.data, CROSS_ENTROPY, batch_size=4)
    params, state = jax.jit(problem.init)(jax.random.key(0))
    assert problem.reestimate is not None
    with jax.numpy_rank_promotion("allow"):
        after = jax.jit(problem.reestimate)(params, state, own.data.train)
        in_training, _ = jax.jit(problem.loss)(params, state, own.data.train, jax.random.key(0))
        evaluate = jax.jit(problem.evaluate)
        before, score = (evaluate(params, each, own.data.train)["loss"] for each in (state, after))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert abs(score - in_training) < abs(before - in_training)


WRONG = {
    "equinox": (bench.problem_from_equinox, 3, "problem 'images': expected an equinox module.*got 3"),
    "equinox factory": (bench.problem_from_equinox, lambda key: 3, "expected an equinox module.*it returned none"),
    "equinox class": (bench.problem_from_equinox, equinox.nn.Linear, r"Linear\(key\) raised TypeError"),
    "haiku": (bench.problem_from_haiku, lambda x: x, "problem 'images': expected what haiku.transform.*give it the f"),
    "haiku state": (
        bench.problem_from_haiku,
        haiku.transform(lambda x: haiku.BatchNorm(True, True, 0.9)(x, True)),
        "the module failed on inputs .*use `hk.transform_with_state`",
    ),
    "no parameters": (bench.problem_from_equinox, equinox.nn.Lambda(jnp.mean), "has no parameters to train"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_module_is_refused(case: str) -> None:
    make, module, message = WRONG[case]
    with pytest.raises(bench.UserError, match=f"(?s){message}"):
        make(module, DATA, CROSS_ENTROPY)


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, losses.cross_entropy, losses.multiclass_hinge])
def test_labels_that_the_module_has_no_output_for_are_refused(loss: Any) -> None:
    data = bench.split("mine", {"inputs": np.ones((40, 3), np.float32), "targets": np.arange(40) % 4})
    with pytest.raises(
        bench.UserError, match=r"split 'train', array 'targets': expected class indices from 0 to 2, got"
    ):
        bench.problem_from_flax(linen.Dense(3), data, loss)
