"""Probes against closed forms, dense eigensolvers and hand-built networks; their costs against counted evaluations."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse.linalg
from flax import linen
from jax.ad_checkpoint import checkpoint_name
from jax.flatten_util import ravel_pytree

from dlkit import bench, models
from dlkit.bench import optimizers, problems, split
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.probes import (
    PROBES,
    OptimizerView,
    Probe,
    View,
    check,
    curves_of,
    get,
    load,
    marked_activations,
    probe_batch,
    sharpness,
)
from dlkit.bench.probes.base import PROBE_EXAMPLES, norm
from dlkit.bench.probes.curvature import ITERATIONS
from dlkit.bench.probes.gradients import CHUNKS
from dlkit.bench.probes.marked_activations import count_marks
from dlkit.bench.problems import Problem
from dlkit.bench.spec.tracing import require_looking
from dlkit.bench.training.recipe import Recipe
from dlkit.layers.activation import MARK

KEY = jax.random.key(0)
every_probe = pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)


def no_loss(params: Any, batch: Any) -> Any:
    return jnp.zeros(())


def adam_after_its_first_step(params: Any) -> OptimizerView:
    """An Adam whose averages are of one step, along gradients that are all 2: its preconditioner is 2 times 1 - b1."""
    adam = optax.adam(0.1)
    _, state = adam.update(jax.tree.map(lambda leaf: jnp.full_like(leaf, 2.0), params), adam.init(params))
    return OptimizerView(optimizers.get("adam"), state, {"learning_rate": 0.1, "b1": 0.9, "b2": 0.999, "eps": 0.0})


def view(**changes: Any) -> View:
    """A view of nothing: no data, no activations, one parameter."""
    one = {"w": jnp.ones(1)}
    optimizer = adam_after_its_first_step(changes.get("params", one))
    nothing = View(one, None, {"w": jnp.zeros(1)}, {}, {}, no_loss, None, jnp.float32(jnp.nan), KEY, optimizer)
    return nothing._replace(**changes)


def values(name: str, seen: View) -> dict[str, float]:
    return {curve: float(value) for curve, value in curves_of(get(name), seen).items()}


@cache
def network(activation: Any = "tanh") -> View:
    """A small network on 24 examples, after a step of gradient descent at rate 0.5 on the first 8 of them."""
    model = models.mlp((6, 5, 3), activation=activation)
    params, state = model.init(KEY, (4,))
    rng = np.random.default_rng(1)
    train = {
        "inputs": jnp.asarray(rng.normal(size=(24, 4)), jnp.float32),
        "targets": jnp.asarray(rng.normal(size=(24, 3)), jnp.float32),
    }

    def apply(params: Any, batch: Any) -> Any:
        return model.apply(params, state, batch["inputs"])[0]

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean((apply(params, batch) - batch["targets"]) ** 2)

    batch = {name: array[:8] for name, array in train.items()}
    update = jax.tree.map(lambda slope: -0.5 * slope, jax.grad(loss)(params, batch))
    after = jax.tree.map(jnp.add, params, update)
    optimizer = adam_after_its_first_step(params)
    return View(after, state, update, batch, train, loss, apply, jnp.float32(0.5), KEY, optimizer)


# ---- every probe ----


def all_curves(params: Any, update: Any, key: Any) -> dict[str, Any]:
    """Every probe of the network with relu, at these parameters."""
    seen = network("relu")._replace(params=params, update=update, key=key)
    return {name: value for probe in PROBES.values() for name, value in curves_of(probe, seen).items()}


@pytest.fixture(scope="module")
def compiled() -> Any:
    return jax.jit(all_curves)


@pytest.fixture(scope="module")
def lanes() -> Any:
    """The parameters of three lanes, the last of them NaN."""
    return jax.tree.map(
        lambda leaf: jnp.stack([leaf, 0.5 * leaf, jnp.full_like(leaf, jnp.nan)]), network("relu").params
    )


@pytest.fixture(scope="module")
def vmapped(lanes: Any) -> Any:
    seen = network("relu")
    return jax.jit(jax.vmap(lambda params: all_curves(params, seen.update, seen.key)))(lanes)


@pytest.mark.slow
@every_probe
def test_jit_equals_eager_and_values_are_float32_scalars(probe: Probe, compiled: Any) -> None:
    seen = network("relu")
    jitted = compiled(seen.params, seen.update, seen.key)
    eager = curves_of(probe, seen)
    assert tuple(eager) == probe.curves
    for name, value in eager.items():
        assert value.shape == () and value.dtype == jitted[name].dtype == jnp.float32 and np.isfinite(value)
        np.testing.assert_allclose(jitted[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@every_probe
def test_vmapped_lanes_see_their_own_parameters_and_nan_stays_in_its_lane(
    probe: Probe, compiled: Any, lanes: Any, vmapped: Any
) -> None:
    seen = network("relu")
    for lane in range(2):
        alone = compiled(jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes), seen.update, seen.key)
        for name in probe.curves:
            np.testing.assert_allclose(vmapped[name][lane], alone[name], rtol=1e-4, atol=1e-6)
    assert all(np.isnan(vmapped[name][2]) for name in probe.curves if name != "learning_rate")


@pytest.mark.long
@every_probe
def test_without_data_and_activations_curves_are_numbers_or_nan(probe: Probe) -> None:
    seen = view(loss=lambda params, batch: jnp.sum(params["w"] ** 2), update={"w": -0.4 * jnp.ones(1)})
    undefined = {"dead_units", *get("activation_statistics").curves, *get("gradient_noise_scale").curves}
    undefined |= {*get("curvature_noise_scale").curves, *get("coordinates").curves}  # w is one number, not two
    for name, value in values(probe.name, seen).items():
        assert math.isnan(value) if name in undefined | {"learning_rate"} else math.isfinite(value)


def passes(jaxpr: Any, examples: int) -> float:
    """How often a traced computation multiplies by a batch's `inputs`, the only arrays of rank 3, per `examples`."""
    total = 0.0
    for equation in jaxpr.eqns:
        bodies = [body for body in equation.params.values() if hasattr(body, "eqns") or hasattr(body, "jaxpr")]
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += times * sum(passes(getattr(body, "jaxpr", body), examples) for body in bodies)
        if equation.primitive.name == "dot_general":
            inputs = [atom.aval.shape for atom in equation.invars if len(atom.aval.shape) == 3]
            total += sum(shape[0] for shape in inputs) / examples
    return total


@every_probe
def test_costs_are_what_is_evaluated(probe: Probe) -> None:
    # A linear model: one product with the inputs forward, one more backward, two in a Hessian-vector product.
    size, examples, minibatch = 2 * ITERATIONS, 64, 16

    def apply(params: Any, batch: Any) -> Any:
        return checkpoint_name(batch["inputs"] @ params["w"], MARK)

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean(apply(params, batch) ** 3)

    train = {"inputs": jnp.ones((examples, 2, size))}
    batch = {"inputs": train["inputs"][:minibatch]}
    seen = view(params={"w": jnp.ones(size)}, update={"w": jnp.ones(size)}, train=train, batch=batch, loss=loss)
    traced = jax.make_jaxpr(lambda params: curves_of(probe, seen._replace(params=params, apply=apply)))(seen.params)
    counted = passes(traced.jaxpr, minibatch if probe.batch == "minibatch" else examples)
    assert counted == probe.cost.values + 2 * probe.cost.gradients + 2 * probe.cost.hessian_products


def test_unknown_names_and_what_is_no_probe_are_refused() -> None:
    with pytest.raises(UserError, match="no probe 'sharpnes'; did you mean 'sharpness'"):
        get("sharpnes")
    with pytest.raises(UserError, match="probe 'mine': curves must name"):
        Probe("mine", (), lambda seen: {})
    with pytest.raises(UserError, match="probe 'mine': cost must be"):
        Probe("mine", ("a",), lambda seen: {}, cost=2)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"probe 'mine': expected the curves \['a'\], got \['b'\]"):
        curves_of(Probe("mine", ("a",), lambda seen: {"b": jnp.ones(())}), view())
    with pytest.raises(UserError, match=r"probe 'mine': 'a' must be one number, got shape \(2,\)"):
        curves_of(Probe("mine", ("a",), lambda seen: {"a": jnp.ones(2)}), view())


def test_own_probes_are_loaded_by_reference(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import jax.numpy as jnp\nfrom dlkit import bench\n"
        "first = bench.Probe('first', ('first',), lambda view: {'first': view.params['w'][0]})\nnothing = 3\n"
    )
    own = load("mine.py:first", folder=tmp_path)
    assert (own.name, float(curves_of(own, view())["first"])) == ("first", 1.0)
    assert load(own) is own and load("sharpness") is get("sharpness")
    with pytest.raises(UserError, match=r"^probe 'mine\.py:nothing': expected a bench\.Probe, got 3"):
        load("mine.py:nothing", folder=tmp_path)
    with pytest.raises(UserError, match=r"^probe 'mine\.py:frist': mine\.py has no 'frist'; did you mean 'first'\?"):
        load("mine.py:frist", folder=tmp_path)
    with pytest.raises(UserError, match=r"probe 'mine': compute raised KeyError: 'no'"):
        curves_of(Probe("mine", ("a",), lambda seen: {"a": seen.params["no"]}), view())


def test_curves_have_different_names() -> None:
    names = [curve for probe in PROBES.values() for curve in probe.curves]
    assert len(set(names)) == len(names)


def test_the_probe_batch_is_all_of_a_small_split_and_the_first_examples_of_a_large_one() -> None:
    small, large = jnp.arange(5.0), jnp.arange(2.0 * PROBE_EXAMPLES)
    assert probe_batch({"x": small})["x"].tolist() == small.tolist()
    assert probe_batch({"x": large})["x"].tolist() == large[:PROBE_EXAMPLES].tolist()
    assert probe_batch({}) == {}


# ---- parameters and gradients ----


def test_norms_by_hand_where_squares_overflow_and_underflow() -> None:
    for scale in (1e-30, 1.0, 1e30):
        tree = {"a": scale * jnp.array([[2.0], [3.0]]), "b": scale * jnp.array(6.0)}
        np.testing.assert_allclose(norm(tree), 7 * scale, rtol=1e-6)
    assert norm({"a": jnp.zeros(3)}) == 0
    assert norm({"a": jnp.array([3, 4], jnp.bfloat16)}).dtype == jnp.float32


def test_update_ratio_weight_norm_and_sparsity_by_hand() -> None:
    params = {"a": jnp.array([[3.0, 0.0]]), "b": jnp.array([4.0, -0.0])}
    update = {"a": jnp.array([[0.0, 0.1]]), "b": jnp.zeros(2)}
    seen = view(params=params, update=update)
    assert values("update_ratio", seen) == pytest.approx({"update_ratio": 0.02})
    assert values("weight_norm", seen) == pytest.approx({"weight_norm": 5.0})
    assert values("sparsity", seen) == {"sparsity": 0.5}


def test_coordinates_are_the_parameters_where_there_are_two() -> None:
    assert values("coordinates", view(params={"x": jnp.array([1.5, -2.0])})) == {
        "coordinate_1": 1.5,
        "coordinate_2": -2.0,
    }
    assert list(values("coordinates", view(params={"a": jnp.array(3.0), "b": jnp.array([[4.0]])})).values()) == [
        3.0,
        4.0,
    ]
    three = values("coordinates", view(params={"x": jnp.zeros(3)}))
    assert all(math.isnan(each) for each in three.values())
    half = values("coordinates", view(params={"x": jnp.array([1.0, jnp.nan])}))
    assert all(math.isnan(each) for each in half.values())


def test_the_update_ratio_at_weights_of_0() -> None:
    zeros = {"w": jnp.zeros(2)}
    assert values("update_ratio", view(params=zeros, update=zeros)) == {"update_ratio": 0.0}
    assert values("update_ratio", view(params=zeros, update={"w": jnp.ones(2)})) == {"update_ratio": math.inf}
    assert values("weight_norm", view(params=zeros)) == {"weight_norm": 0.0}
    assert values("sparsity", view(params=zeros)) == {"sparsity": 1.0}


def test_the_gradient_norm_is_that_on_the_first_training_examples() -> None:
    train = {"x": jnp.concatenate([jnp.full(PROBE_EXAMPLES, 3.0), jnp.full(100, 1e6)])}
    seen = view(
        params={"w": jnp.zeros(4)}, train=train, loss=lambda params, batch: batch["x"].mean() * params["w"].sum()
    )
    assert values("gradient_norm", seen) == pytest.approx({"gradient_norm": 6.0})


@pytest.mark.long
def test_the_effective_learning_rate_of_gradient_descent_is_its_rate() -> None:
    seen = network()
    assert values("effective_learning_rate", seen) == pytest.approx(
        {"effective_learning_rate": 0.5, "learning_rate": 0.5}, rel=1e-4
    )
    # What is orthogonal to the gradient explains nothing; twice the step is twice the rate, back is negative.
    loss = lambda params, batch: params["w"][0] * 1e-25  # noqa: E731
    for update, expected in (([-2e-25, 7.0], 2.0), ([-4e-25, 0.0], 4.0), ([3e-25, 0.0], -3.0)):
        small = view(params={"w": jnp.ones(2)}, update={"w": jnp.array(update)}, loss=loss)
        assert values("effective_learning_rate", small)["effective_learning_rate"] == pytest.approx(expected)
    assert math.isnan(values("effective_learning_rate", view())["effective_learning_rate"])


def test_the_effective_learning_rate_of_heavy_ball_momentum() -> None:
    # On a linear loss, the gradient never changes: the velocity tends to rate / (1 - momentum) times it.
    def step(carry: Any, _: Any) -> Any:
        params, velocity = carry
        velocity = 0.9 * velocity + slope
        return (params - 0.01 * velocity, velocity), -0.01 * velocity

    slope = jnp.array([1.0, -2.0])
    (params, _), updates = jax.lax.scan(step, (jnp.zeros(2), jnp.zeros(2)), None, length=200)
    seen = view(params={"w": params}, update={"w": updates[-1]}, loss=lambda params, batch: params["w"] @ slope)
    assert values("effective_learning_rate", seen)["effective_learning_rate"] == pytest.approx(0.1, rel=1e-4)


def noise_view(rng: np.random.Generator, mean: Any, deviations: Any, examples: int) -> View:
    """The gradient of each example is a draw from N(mean, diag(deviations^2))."""
    draws = jnp.asarray(mean + deviations * rng.normal(size=(examples, len(mean))), jnp.float32)

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean(batch["x"] @ params["a"] + batch["x"][:, 0] * (params["b"] - params["a"][0]))

    return view(params={"a": jnp.zeros(len(mean)), "b": jnp.zeros(())}, train={"x": draws}, loss=loss)


@pytest.mark.slow
def test_the_noise_scale_has_the_known_trace_and_signal_on_average() -> None:
    mean, deviations = np.array([0.5, -1.0, 0.0]), np.array([1.0, 3.0, 2.0])
    trace, signal = 14.0, 1.25
    rng = np.random.default_rng(0)
    compiled = jax.jit(lambda x: curves_of(get("gradient_noise_scale"), first._replace(train={"x": x})))
    for examples in (1000, 67):  # 31 or 2 examples a chunk; 8 or 3 left out
        first = noise_view(rng, mean, deviations, examples)
        runs = [compiled(noise_view(rng, mean, deviations, examples).train["x"]) for _ in range(300)]
        noise = np.array([float(run["gradient_noise"]) for run in runs])
        square = np.array([float(run["gradient_signal"]) for run in runs])
        for got, expected in ((noise, trace), (square, signal)):
            error = got.std() / math.sqrt(len(got))
            assert abs(got.mean() - expected) < 4 * error < 0.5 * expected
        assert np.mean(noise) / np.mean(square) == pytest.approx(trace / signal, rel=0.25)
    for run in runs[:5]:
        assert float(run["gradient_noise_scale"]) == pytest.approx(
            float(run["gradient_noise"]) / float(run["gradient_signal"]), rel=1e-5
        )


@pytest.mark.parametrize(("examples", "size"), [(20, 1), (67, 2), (1000, 31)])
def test_the_noise_scale_from_the_gradients_of_chunks_by_numpy(examples: int, size: int) -> None:
    # tr(Sigma) is `size` times the sample variance of the chunks' means, |G|^2 the squared mean less its own variance.
    seen = noise_view(np.random.default_rng(1), np.ones(3), np.ones(3), examples)
    chunks = examples // size if examples < CHUNKS else CHUNKS
    means = np.asarray(seen.train["x"], np.float64)[: chunks * size].reshape(chunks, size, 3).mean(axis=1)
    trace = size * means.var(axis=0, ddof=1).sum()
    signal = (means.mean(axis=0) ** 2).sum() - trace / (chunks * size)
    expected = {"gradient_noise": trace, "gradient_signal": signal, "gradient_noise_scale": trace / signal}
    assert values("gradient_noise_scale", seen) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["gradient_noise_scale", "curvature_noise_scale"])
def test_one_example_has_no_noise_scale(name: str) -> None:
    seen = noise_view(np.random.default_rng(1), np.ones(3), np.ones(3), 1)
    assert all(math.isnan(value) for value in values(name, seen).values())


def gaussian_bowl(draws: Any, curvature: Any) -> View:
    """The loss 1/2 (x - z)' H (x - z) of draws z, at x = 0: an example's gradient is -H z, the Hessian is H."""

    def loss(params: Any, batch: Any) -> Any:
        apart = jnp.concatenate([params["a"], params["b"][None]])[None] - batch["z"]
        return 0.5 * jnp.mean(jnp.sum(apart @ curvature * apart, axis=-1))

    params = {"a": jnp.zeros(len(curvature) - 1), "b": jnp.zeros(())}
    return view(params=params, train={"z": jnp.asarray(draws, jnp.float32)}, loss=loss)


def random_curvature(rng: np.random.Generator, size: int = 4) -> np.ndarray[Any, Any]:
    root = rng.normal(size=(size, size))
    return np.asarray(root @ root.T / size)


@pytest.mark.long
def test_the_noise_scale_with_the_hessian_is_that_of_a_gaussian_bowl_on_average() -> None:
    # Gradients are -H z with z ~ N(m, S): G = -H m, Sigma = H S H; tr(H Sigma) = tr(H^3 S) and G' H G = m' H^3 m.
    rng = np.random.default_rng(3)
    curvature, mean, deviations = random_curvature(rng), np.array([0.5, -1.0, 0.0, 0.3]), np.array([1.0, 2.0, 0.5, 1.0])
    cube = np.linalg.matrix_power(curvature, 3)
    trace, signal = np.trace(cube @ np.diag(deviations**2)), mean @ cube @ mean
    assert trace / signal != pytest.approx(
        np.sum((curvature @ np.diag(deviations)) ** 2) / np.sum((curvature @ mean) ** 2)
    )
    seen = gaussian_bowl(np.zeros((1000, 4)), curvature)
    compute = jax.jit(jax.vmap(lambda z: curves_of(get("curvature_noise_scale"), seen._replace(train={"z": z}))))
    runs = compute(jnp.asarray(mean + deviations * rng.normal(size=(300, 1000, 4)), jnp.float32))
    for name, expected in (("curvature_noise", trace), ("curvature_signal", signal)):
        got = np.asarray(runs[name], np.float64)
        error = got.std() / math.sqrt(len(got))
        assert abs(got.mean() - expected) < 4 * error < 0.2 * expected


@pytest.mark.parametrize(("examples", "size"), [(20, 1), (32, 1), (67, 2)])
def test_the_noise_scale_with_the_hessian_by_numpy(examples: int, size: int) -> None:
    # tr(H Sigma) is `size` times the sample variance of the chunks' mean gradients as H weighs it.
    rng = np.random.default_rng(4)
    curvature = random_curvature(rng)
    seen = gaussian_bowl(rng.normal(size=(examples, 4)) + 1, curvature)
    chunks = examples // size if examples < CHUNKS else CHUNKS
    gradients = -np.asarray(seen.train["z"], np.float64)[: chunks * size] @ curvature
    means = gradients.reshape(chunks, size, 4).mean(axis=1)
    trace = size * np.trace(curvature @ np.cov(means, rowvar=False))
    center = means.mean(axis=0)
    signal = center @ curvature @ center - trace / (chunks * size)
    expected = {"curvature_noise": trace, "curvature_signal": signal, "curvature_noise_scale": trace / signal}
    assert values("curvature_noise_scale", seen) == pytest.approx(expected, rel=1e-3)


def test_isotropic_curvature_weighs_nothing() -> None:
    seen = gaussian_bowl(np.random.default_rng(5).normal(size=(64, 3)) + 1, 0.5 * np.eye(3))
    plain, weighed = values("gradient_noise_scale", seen), values("curvature_noise_scale", seen)
    assert weighed["curvature_noise_scale"] == pytest.approx(plain["gradient_noise_scale"], rel=1e-4)


# ---- sharpness ----

SPECTRA = {
    "spread": np.linspace(-1, 5, 40),
    "nearly degenerate": np.array([*np.linspace(0, 1, 37), 3.0, 3.003, 3.003]),
    "the largest in magnitude is negative": np.array([-50.0, *np.linspace(-1, 2, 39)]),
    "all negative": -np.geomspace(1e-3, 10, 40),
    "one value": np.full(40, 2.5),
    "few values": np.repeat([-3.0, 0.0, 7.0], [10, 20, 10]),
    "ill-conditioned": np.geomspace(1e-6, 1e6, 40),
    "zero": np.zeros(40),
}


@pytest.fixture(scope="module")
def sharpness_of_a_matrix() -> Any:
    def compute(matrix: Any, key: Any) -> Any:
        return sharpness(lambda x: 0.5 * (x["a"] @ (matrix @ x["a"])), {"a": jnp.ones(40)}, key=key)

    return jax.jit(compute)


@pytest.mark.long
@pytest.mark.parametrize("name", SPECTRA)
def test_sharpness_of_quadratics_with_known_spectra(name: str, sharpness_of_a_matrix: Any) -> None:
    spectrum = SPECTRA[name]
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    matrix = (directions * spectrum) @ directions.T
    for seed in range(3):
        got = sharpness_of_a_matrix(jnp.asarray(matrix, jnp.float32), jax.random.key(seed))
        tolerance = 0.01 * abs(spectrum).max() if name == "all negative" else 0.01 * spectrum.max()
        assert abs(float(got) - spectrum.max()) <= tolerance


@pytest.mark.long
def test_as_many_iterations_as_parameters_are_exact_and_more_change_nothing() -> None:
    spectrum = jnp.array([-4.0, -2.0, -1.5, -1.0])  # all negative: what padding adds must not be 0
    for iterations in (4, 50):
        got = sharpness(lambda x: 0.5 * jnp.sum(spectrum * x**2), jnp.ones(4), key=KEY, iterations=iterations)
        np.testing.assert_allclose(got, -1.0, rtol=1e-5)


@pytest.mark.slow
def test_sharpness_of_an_exhausted_krylov_space_stays_inside_of_the_spectrum() -> None:
    # Two eigenvalues: two iterations exhaust the space, whatever follows is rounding or padding.
    spectrum = jnp.array([-3.0] * 15 + [-1.0] * 15)
    got = sharpness(lambda x: 0.5 * jnp.sum(spectrum * x**2), jnp.ones(30), key=KEY, iterations=25)
    np.testing.assert_allclose(got, -1.0, rtol=1e-5)


@pytest.mark.slow
def test_sharpness_of_a_network_by_numpy_and_scipy() -> None:
    seen = network()

    def loss(params: Any) -> Any:
        return seen.loss(params, seen.train)

    flat, unravel = ravel_pytree(seen.params)
    hessian = np.asarray(jax.jit(jax.hessian(lambda vector: loss(unravel(vector))))(flat), np.float64)
    expected = np.linalg.eigvalsh(hessian)[-1]
    (largest,) = scipy.sparse.linalg.eigsh(hessian, k=1, which="LA", return_eigenvectors=False)
    assert largest == pytest.approx(expected, rel=1e-6) and expected > 0
    for iterations, tolerance in ((ITERATIONS, 0.01), (60, 1e-4)):
        compute = jax.jit(lambda params, key, k=iterations: sharpness(loss, params, key=key, iterations=k))
        assert float(compute(seen.params, KEY)) == pytest.approx(expected, rel=tolerance)


@pytest.mark.long
def test_sharpness_sees_trees_of_mixed_precision() -> None:
    params = {"half": jnp.ones(3, jnp.bfloat16), "single": jnp.ones(())}
    got = sharpness(lambda x: 2 * jnp.sum(x["half"] ** 2) + 0.5 * x["single"] ** 2, params, key=KEY)
    np.testing.assert_allclose(got, 4.0, rtol=0.01)


# ---- sharpness as Adam sees it ----


@pytest.mark.long
@pytest.mark.parametrize(("steps", "eps"), [(3, 1e-8), (500, 0.3)])
def test_preconditioned_sharpness_of_a_quadratic_and_a_constructed_state(steps: int, eps: float) -> None:
    rng = np.random.default_rng(6)
    curvature, squares = random_curvature(rng, 6), rng.uniform(0.01, 4.0, size=6)
    b1, b2 = 0.8, 0.99
    # P = (1 - b1^t) (sqrt(nu / (1 - b2^t)) + eps)
    diagonal = (1 - b1**steps) * (np.sqrt(squares / (1 - b2**steps)) + eps)
    roots = np.diag(diagonal**-0.5)
    expected = np.linalg.eigvalsh(roots @ curvature @ roots)[-1]
    params = {"x": jnp.asarray(rng.normal(size=6), jnp.float32)}
    moments = optax.ScaleByAdamState(jnp.int32(steps), params, {"x": jnp.asarray(squares, jnp.float32)})
    adam = bench.Optimizer("mine", partial(optax.adam, eps=eps), {"learning_rate": 0.1, "b1": b1, "b2": b2})
    settings = {"learning_rate": 0.1, "b1": b1, "b2": b2, "eps": eps}
    optimizer = OptimizerView(adam, (optax.EmptyState(), (moments, optax.EmptyState())), settings)
    seen = view(params=params, loss=lambda p, batch: 0.5 * p["x"] @ (curvature @ p["x"]), optimizer=optimizer)
    found = values("preconditioned_sharpness", seen)
    assert found == pytest.approx({"preconditioned_sharpness": expected}, rel=1e-3)
    assert found["preconditioned_sharpness"] != pytest.approx(np.linalg.eigvalsh(curvature)[-1], rel=0.05)


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "amsgrad", "adafactor", "novograd", "shampoo"])
def test_optimizers_without_adams_moments_are_told(name: str) -> None:
    with pytest.raises(UserError, match=r"probe 'preconditioned_sharpness', optimizer '.*'.*'nu'"):
        look_for_adam(optimizers.get(name))


def own_adam(build: Any) -> bench.Optimizer:
    return bench.Optimizer("own", build, {"learning_rate": bench.log_uniform(1e-4, 1.0), "b1": 0.9, "b2": 0.99})


@pytest.mark.parametrize(
    "optimizer",
    [
        "radam",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("lamb", "adopt", "acprop", "optimistic_adam_v2")),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("nadam", "adam+lookahead", "adam+accumulate")),
        pytest.param(own_adam(optax.adamax), id="own adamax"),
    ],
)
def test_adams_moments_do_not_make_an_adam(optimizer: Any) -> None:
    """Their states have Adam's names, and their steps are others: rectified, scaled by layer, of an older average."""
    told = "its (steps, tried on small|'nu' does not have the shapes of the parameters)"
    with pytest.raises(UserError, match=f"^probe 'preconditioned_sharpness', optimizer '.*': {told}"):
        look_for_adam(optimizers.get(optimizer) if isinstance(optimizer, str) else optimizer)


@pytest.mark.parametrize(
    "optimizer",
    [
        "adamw",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("adam", "adam+clip", "adam+sam", "adabelief")),
        pytest.param(own_adam(partial(optax.adam, eps=1e-3)), id="own adam"),
    ],
)
def test_adams_of_every_kind_are_looked_at(optimizer: Any) -> None:
    look_for_adam(optimizers.get(optimizer) if isinstance(optimizer, str) else optimizer)


def look_for_adam(optimizer: bench.Optimizer) -> None:
    recipe = Recipe(
        optimizer=optimizer,
        steps=1,
        evaluations=1,
        static={key: options[0] for key, options in optimizer.static.items()},
        probes=(get("preconditioned_sharpness"),),
    )
    require_looking(problems.get("wine-mlp"), recipe)


# ---- activations ----


def marked(x: Any) -> Any:
    return checkpoint_name(x, MARK)


@jax.custom_vjp
def own_rule(x: Any) -> Any:
    return marked(3.0 * x)


own_rule.defvjp(lambda x: (own_rule(x), None), lambda _, cotangent: (cotangent,))


@jax.custom_jvp
def own_tangent(x: Any) -> Any:
    return marked(jnp.square(x))


own_tangent.defjvp(lambda primals, tangents: (own_tangent(*primals), tangents[0]))


def nested(x: Any) -> Any:
    """Marks x + 1, relu of that, gelu of that, its square, and three times that; not what loops and branches mark."""
    x = marked(x + 1.0)
    x = jax.jit(lambda x: jax.jit(lambda x: marked(jax.nn.relu(x)))(x))(x)
    x = jax.checkpoint(lambda x: marked(jax.nn.gelu(x)))(x)
    x = own_rule(own_tangent(x))
    x, _ = jax.lax.scan(lambda x, _: (marked(x), None), x, None, length=2)
    x = jax.lax.cond(x.sum() > 0, marked, jnp.negative, x)
    return checkpoint_name(x, "something else").sum()


@pytest.mark.long
def test_marks_are_found_in_nested_calls_in_order_and_only_once() -> None:
    x = jnp.array([-2.0, 0.5, 1.0])
    first = x + 1
    second = jnp.maximum(first, 0)
    third = jax.nn.gelu(second)
    expected = [first, second, third, third**2, 3 * third**2]
    for found in (marked_activations(nested, x), jax.jit(lambda x: marked_activations(nested, x))(x)):
        assert len(found) == 5
        for got, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-6)


@pytest.mark.long
def test_marks_are_found_under_vmap_and_inside_of_it() -> None:
    x = jnp.linspace(-1, 1, 6).reshape(2, 3)
    alone = [marked_activations(nested, row) for row in x]
    lanes = jax.vmap(lambda row: marked_activations(nested, row))(x)
    inside = marked_activations(lambda x: jax.vmap(nested)(x), x)[:5]  # vmap runs both branches of cond: the sixth
    for place, (lane, whole) in enumerate(zip(lanes, inside, strict=True)):
        for row in range(2):
            np.testing.assert_allclose(lane[row], alone[row][place], rtol=1e-6)
            np.testing.assert_allclose(whole[row], alone[row][place], rtol=1e-6)


def test_a_function_without_marks_is_not_evaluated() -> None:
    assert marked_activations(lambda tree: {"a": tree["b"] + 1}, {"b": jnp.ones(2)}) == []


@pytest.mark.parametrize(
    ("model", "shape", "layers_marked"),
    [
        (models.mlp((4, 3, 2), activation="prelu"), (5,), 2),
        (models.mlp((4, 2), activation=lambda x: jnp.maximum(x, 0.1 * x)), (5,), 1),
        (models.cnn(((2,),), outputs=2, hidden=(3,), normalization="batch"), (4, 4, 1), 2),
        (models.resnet((1,), outputs=2, features=2), (4, 4, 1), 3),
        (models.transformer_classifier(outputs=2, features=4, heads=2, depth=2), (3, 5), 2),
    ],
    ids=["mlp-prelu", "mlp-own", "cnn", "resnet", "transformer"],
)
def test_models_mark_each_of_their_activations(model: Any, shape: Any, layers_marked: int) -> None:
    params, state = jax.eval_shape(lambda key: model.init(key, shape), KEY)
    inputs = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    traced = jax.make_jaxpr(lambda params, state, x: model.apply(params, state, x)[0])(params, state, inputs)
    assert count_marks(traced) == layers_marked


def units(*columns: list[float]) -> Any:
    """[examples, units] from the values of each unit."""
    return jnp.asarray(columns, jnp.float32).T


def seen_activations(*arrays: Any) -> View:
    """A view of a model that marks these arrays."""
    return view(apply=lambda params, batch: [marked(array * params["w"][0]) for array in arrays])


@pytest.mark.long
def test_dead_units_by_hand() -> None:
    # Two of three are 0 everywhere; a negative value, and one example, keep a unit alive. The second layer: 1 of 2.
    first = units([0.0, -0.0, 0.0], [0.0, 0.0, 0.0], [0.0, -1e-20, 0.0])
    second = units([0.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    assert values("dead_units", seen_activations(first, second)) == pytest.approx({"dead_units": 3 / 5})
    # A channel lives if it does so at one position of one example.
    maps = jnp.zeros((2, 4, 4, 5)).at[1, 2, 3, 0].set(0.1).at[0, 0, 0, 4].set(2.0)
    assert values("dead_units", seen_activations(maps)) == pytest.approx({"dead_units": 3 / 5})


@pytest.mark.long
def test_dead_units_of_a_network_whose_biases_kill_a_known_share() -> None:
    seen = network("relu")
    params = jax.tree.map(jnp.copy, seen.params)
    seen = seen._replace(params=params)
    assert set(params) == {"hidden_0", "hidden_1", "output"}
    params["hidden_0"]["dense"]["bias"] = jnp.array([-100.0, 0.0, -100.0, 0.0, 0.0, 0.0])
    params["hidden_1"]["dense"]["bias"] = jnp.array([0.0, 0.0, 0.0, -100.0, 100.0])
    alive = [layer.max(axis=0) > 0 for layer in marked_activations(seen.apply, params, seen.train)]  # type: ignore[arg-type]
    assert not alive[0][0] and not alive[0][2] and not alive[1][3]
    expected = sum(int((~layer).sum()) for layer in alive) / 11
    assert values("dead_units", seen) == pytest.approx({"dead_units": expected})
    assert values("dead_units", network("tanh")) == {"dead_units": 0.0}


def test_activation_statistics_by_hand() -> None:
    first, second = units([-1.0, 1.0], [1.0, 3.0]), units([5.0, 5.0], [5.0, 5.0])
    got = values("activation_statistics", seen_activations(first, second))
    assert got == pytest.approx(
        {
            "activation_mean": (1.0 + 5.0) / 2,
            "activation_std": math.sqrt(2) / 2,  # variances 2 and 0
            "activation_saturation": (0.5 + 1.0) / 2,  # -1 and 3 of four values; all of a constant
        }
    )


@pytest.mark.long
def test_saturation_of_tanh_is_the_share_of_large_inputs_and_of_relu_that_of_negative_ones() -> None:
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(500, 40)), jnp.float32)
    edge = float(np.arctanh(0.98))  # 1 % of the range from either end
    wide = values("activation_statistics", seen_activations(jnp.tanh(3 * inputs)))["activation_saturation"]
    assert wide == pytest.approx(float((jnp.abs(3 * inputs) > edge).mean()), abs=1e-3)
    rectified = jnp.maximum(inputs, 0)
    share = values("activation_statistics", seen_activations(rectified))["activation_saturation"]
    assert share == pytest.approx(float((inputs < 0.01 * inputs.max()).mean()), abs=1e-3)


class Network(linen.Module):
    """A flax module whose author marked one of its two activations."""

    mark: bool = True

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.relu(linen.Dense(6, bias_init=linen.initializers.constant(-100.0))(x))
        x = checkpoint_name(x, "activation") if self.mark else x
        return linen.Dense(2)(jnp.tanh(x))


def flax_problem(*, mark: bool) -> Problem:
    from dlkit import bench, losses

    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.normal(size=(40, 3)).astype(np.float32), "targets": rng.integers(2, size=40)}
    return bench.problem_from_flax(Network(mark), split("mine", arrays), losses.cross_entropy, batch_size=5)


@pytest.mark.long
def test_activations_of_a_flax_module_are_found_where_they_are_marked() -> None:
    problem = flax_problem(mark=True)
    check(get("dead_units"), problem)
    params, state = problem.init(KEY)
    train = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    seen = view(params=params, train=train, apply=lambda params, batch: problem.evaluate(params, state, batch))
    assert values("dead_units", seen) == {"dead_units": 1.0}


@every_probe
def test_problems_are_checked_before_they_are_trained(probe: Probe) -> None:
    unmarked = flax_problem(mark=False)
    if probe.needs_activations:
        for problem in (unmarked, problems.get("quadratic")):
            with pytest.raises(UserError, match=rf"probe '{probe.name}', problem '{problem.name}': no activation"):
                check(probe, problem)
    else:
        check(probe, unmarked)
        check(probe, problems.get("quadratic"))
    check(probe, problems.get("digits-mlp"))


def test_a_metric_with_the_name_of_a_curve_is_refused() -> None:
    quadratic = problems.get("quadratic")

    def evaluate(params: Any, state: Any, batch: Any) -> Mapping[str, Any]:
        return {"sharpness": quadratic.evaluate(params, state, batch)["distance"]}

    clash = replace(quadratic, evaluate=evaluate, metrics={"sharpness": Metric("lower")}, metric="sharpness")
    with pytest.raises(UserError, match="problem 'quadratic': the probe records 'sharpness', which is also a metric"):
        check(get("sharpness"), clash)
