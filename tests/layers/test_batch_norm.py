"""Batch normalization against flax and torch, and the re-estimation of its statistics against direct computation."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers
from dlkit.layers import Layer

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(2.0, 3.0, (6, 5, 4)), jnp.float32)
PARAMS = {"scale": jnp.array([1.0, 0.5, -2.0, 3.0]), "bias": jnp.array([0.0, 1.0, -1.0, 0.5])}
RUNNING = {"mean": jnp.array([1.0, 2.0, 3.0, 4.0]), "var": jnp.array([1.0, 4.0, 9.0, 0.5])}
STATE = RUNNING | {"batch_mean": jnp.zeros(4), "batch_var": jnp.ones(4)}


def pull_back(apply, x):
    """Outputs and gradients of one loss."""

    def results(params, x):
        y, vjp, state = jax.vjp(apply, params, x, has_aux=True)
        return y, vjp(jnp.cos(y)), state

    return jax.jit(results)(PARAMS, x)


@pytest.mark.parametrize("x", [X[:, 0], X, X.reshape(2, 3, 5, 4)], ids=["2", "3", "4"])
@pytest.mark.parametrize("train", [True, False])
def test_equals_flax(x: jax.Array, train: bool) -> None:
    layer = layers.batch_norm(momentum=0.9, epsilon=1e-3)
    reference = linen.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3)

    def expected(params, x):
        variables = {"params": params, "batch_stats": RUNNING}
        if not train:
            return reference.apply(variables, x), RUNNING
        y, updated = reference.apply(variables, x, mutable=["batch_stats"])
        return y, updated["batch_stats"]

    def actual(params, x):
        y, state = layer.apply(params, STATE, x, train=train)
        return y, {name: state[name] for name in RUNNING}

    chex.assert_trees_all_close(pull_back(actual, x), pull_back(expected, x), rtol=1e-4, atol=1e-5)


def test_the_structure_is_that_of_flax() -> None:
    params, state = layers.batch_norm().init(jax.random.key(0), (5, 4))
    expected = linen.BatchNorm(use_running_average=False).init(jax.random.key(0), X)
    chex.assert_trees_all_equal(params, dict(expected["params"]))
    chex.assert_trees_all_equal({name: state[name] for name in RUNNING}, dict(expected["batch_stats"]))
    assert layers.batch_norm(use_scale=False, use_bias=False).init(jax.random.key(0), (4,))[0] == {}


def test_the_defaults_are_those_of_flax() -> None:
    params, state = layers.batch_norm().init(jax.random.key(0), (4,))
    y, state = layers.batch_norm().apply(params, state, 1e-3 * X, train=True)
    reference = linen.BatchNorm(use_running_average=False)
    variables = reference.init(jax.random.key(0), X)
    expected, updated = reference.apply(variables, 1e-3 * X, mutable=["batch_stats"])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["var"], updated["batch_stats"]["var"], rtol=1e-6)


def test_equals_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    tensors = {name: torch.tensor(np.asarray(leaf)) for name, leaf in (PARAMS | RUNNING).items()}
    x = torch.tensor(np.asarray(X)).permute(0, 2, 1).contiguous().requires_grad_()  # torch's channels are axis 1
    y = torch.nn.functional.batch_norm(
        x, tensors["mean"], tensors["var"], tensors["scale"], tensors["bias"], training=True, momentum=0.1, eps=1e-5
    )
    torch.sin(y).sum().backward()
    layer = layers.batch_norm(momentum=0.9)  # torch's momentum is the other share
    actual, (_, gradient), state = pull_back(lambda params, x: layer.apply(params, STATE, x, train=True), X)
    np.testing.assert_allclose(actual, y.detach().permute(0, 2, 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, x.grad.permute(0, 2, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["mean"], tensors["mean"], rtol=1e-5)
    # torch's running variance takes n / (n - 1) times the batch variance; n = 30 values here.
    unbiased = state["var"] + 0.1 * state["batch_var"] / 29
    np.testing.assert_allclose(unbiased, tensors["var"], rtol=1e-5)


def test_the_state_by_hand() -> None:
    layer = layers.batch_norm(momentum=0.75)
    params, state = layer.init(jax.random.key(0), (1,))
    _, state = layer.apply(params, state, jnp.array([[2.0], [6.0]]), train=True)
    # 0.75 * 0 + 0.25 * 4, and 0.75 * 1 + 0.25 * 4
    assert jax.tree.map(float, jax.tree.map(jnp.squeeze, state)) == {
        "mean": 1.0,
        "var": 1.75,
        "batch_mean": 4.0,
        "batch_var": 4.0,
    }


def test_evaluation_leaves_the_state_alone_and_examples_independent() -> None:
    layer = layers.batch_norm()
    y, state = layer.apply(PARAMS, STATE, X)
    assert state is STATE
    np.testing.assert_allclose(layer.apply(PARAMS, STATE, X[0, 0])[0], y[0, 0], rtol=1e-6)
    assert layer.apply(PARAMS, STATE, jnp.zeros((0, 4)))[0].shape == (0, 4)


def test_a_batch_of_one_has_variance_zero() -> None:
    layer = layers.batch_norm(momentum=0.5)

    def results(x):
        y, vjp, state = jax.vjp(lambda x: layer.apply(PARAMS, STATE, x, train=True), x, has_aux=True)
        return y, vjp(jnp.ones_like(y))[0], state

    x = X[:1, 0]
    y, gradient, state = results(x)
    np.testing.assert_array_equal(y, PARAMS["bias"][None])
    np.testing.assert_array_equal(gradient, jnp.zeros((1, 4)))
    np.testing.assert_array_equal(state["batch_mean"], x[0])
    np.testing.assert_array_equal(state["batch_var"], jnp.zeros(4))
    np.testing.assert_array_equal(state["var"], 0.5 * STATE["var"])


@pytest.mark.parametrize("x", [jnp.ones(4), jnp.ones((0, 4)), jnp.ones((2, 0, 4))], ids=lambda x: str(x.shape))
def test_nothing_to_average_over_is_refused(x: jax.Array) -> None:
    with pytest.raises(ValueError, match=r"expected inputs with values to average over while training, \[\*batch, 4\]"):
        layers.batch_norm().apply(PARAMS, STATE, x, train=True)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x = np.asarray(np.random.default_rng(0).normal(1e4, 1.0, (64, 4)), np.float32)
    exact = x.astype(np.float64)
    layer = layers.batch_norm(use_scale=False, use_bias=False, momentum=0.0)
    y, state = layer.apply({}, STATE, jnp.asarray(x), train=True)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["var"], exact.var(0), rtol=1e-5)


def test_an_overflow_in_one_channel_stays_there() -> None:
    x = jnp.stack([X[:, 0, 0], jnp.full(6, jnp.inf), 1e30 * X[:, 0, 0], X[:, 0, 1]], axis=-1)
    y, _ = layers.batch_norm().apply(PARAMS, STATE, x, train=True)
    assert jnp.isfinite(y).all(axis=0).tolist() == [True, False, True, True]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_the_state_keeps_its_dtype_in_a_scan(dtype: str) -> None:
    layer = layers.batch_norm()
    with jax.enable_x64(dtype == "float64"):
        params, state = layer.init(jax.random.key(0), (4,))
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)

        def step(state, x):
            y, state = layer.apply(params, state, x, train=True)
            return state, y

        final, outputs = jax.lax.scan(step, state, X.astype(dtype))
    assert outputs.dtype == jnp.dtype(dtype)
    chex.assert_trees_all_equal_shapes_and_dtypes(final, state)


def test_a_traced_momentum_gives_the_same_state_and_compiles_once() -> None:
    traces = []

    @jax.jit
    def traced(momentum):
        traces.append(momentum)
        return layers.batch_norm(momentum=momentum).apply(PARAMS, STATE, X, train=True)[1]

    traced(jnp.float32(0.5))
    _, expected = layers.batch_norm(momentum=0.9).apply(PARAMS, STATE, X, train=True)
    chex.assert_trees_all_close(traced(jnp.float32(0.9)), expected, rtol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, float("nan")])
def test_a_momentum_outside_its_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="batch_norm: expected momentum at least 0 and below 1, got"):
        layers.batch_norm(momentum=momentum)


def test_bad_inputs_are_refused() -> None:
    layer = layers.batch_norm()
    with pytest.raises(ValueError, match=r"batch_norm: expected inputs \[\*batch, 4\], got float32\[2,1\]"):
        layer.apply(PARAMS, STATE, jnp.ones((2, 1)))
    with pytest.raises(TypeError, match=r"batch_norm: expected floating-point inputs, got int32\[2,4\]"):
        inspect.unwrap(layer.apply)(PARAMS, STATE, jnp.ones((2, 4), jnp.int32))
    with pytest.raises(ValueError, match=r"expected an example shape \(..., channels\), got \(\)"):
        layer.init(jax.random.key(0), ())


# Batches with means and variances of their own: the average of their variances is not the variance of all.
BATCHES = jnp.asarray(
    RNG.normal(size=(5, 8, 3)) * np.linspace(0.5, 2.0, 5).reshape(5, 1, 1) + 3.0 * RNG.normal(size=(5, 1, 3)),
    jnp.float32,
)


def counter() -> Layer:
    """Adds nothing and counts the calls in training."""
    return Layer(
        init=lambda key, input_shape: ({}, {"count": jnp.zeros(())}),
        apply=lambda params, state, x, *, key=None, train=False: (x, {"count": state["count"] + train}),
    )


def test_reestimated_statistics_are_those_of_all_batches_together() -> None:
    layer = layers.batch_norm()
    params, state = layer.init(jax.random.key(0), (3,))
    together = np.asarray(BATCHES, np.float64).reshape(-1, 3)
    new_state = layers.reestimate_batch_statistics(layer, params, state, BATCHES)
    np.testing.assert_allclose(new_state["mean"], together.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new_state["var"], together.var(0), rtol=1e-5)
    # Far from zero too.
    new_state = layers.reestimate_batch_statistics(layer, params, state, BATCHES + 1e4)
    np.testing.assert_allclose(new_state["var"], together.var(0), rtol=1e-3)


def test_reestimation_reaches_every_depth_and_changes_nothing_else() -> None:
    model = layers.serial(
        counter(),
        layers.dense(4),
        layers.batch_norm(momentum=0.3),
        jnp.tanh,
        layers.residual(layers.serial(layers.dense(4), layers.batch_norm(), counter())),
    )
    params, state = model.init(jax.random.key(0), (3,))
    _, state = model.apply(params, state, BATCHES[0] ** 2, train=True)  # what it was before does not matter
    reestimate = jax.jit(lambda params, state: layers.reestimate_batch_statistics(model, params, state, BATCHES))
    new_state = reestimate(params, state)

    first, second = params["layer_1"], params["layer_4"]["branch"]["layer_0"]
    hidden = np.asarray(BATCHES, np.float64) @ np.asarray(first["kernel"], np.float64)
    means, variances = hidden.mean(1, keepdims=True), hidden.var(1, keepdims=True)
    # The second layer sees what the first one normalized batch by batch.
    deeper = np.tanh((hidden - means) / np.sqrt(variances + 1e-5)) @ np.asarray(second["kernel"], np.float64)
    expected = jax.tree.map(lambda leaf: leaf, state)
    for entry, values in ((expected["layer_2"], hidden), (expected["layer_4"]["branch"]["layer_1"], deeper)):
        entry |= {"mean": values.mean((0, 1)), "var": values.var((0, 1))}
    chex.assert_trees_all_close(new_state, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_after_reestimation_on_one_batch_evaluation_is_what_training_gives() -> None:
    model = layers.serial(layers.dense(4), layers.batch_norm(), jnp.tanh, layers.dense(2), layers.batch_norm())
    params, state = model.init(jax.random.key(0), (3,))
    state = layers.reestimate_batch_statistics(model, params, state, BATCHES[:1])
    evaluated, _ = model.apply(params, state, BATCHES[0])
    trained, _ = model.apply(params, state, BATCHES[0], train=True)
    np.testing.assert_allclose(evaluated, trained, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_every_batch_gets_its_own_key() -> None:
    model = layers.serial(layers.dropout(0.5), layers.batch_norm(), names=("dropout", "norm"))
    params, state = model.init(jax.random.key(0), (3,))
    key = jax.random.key(5)
    batches = jnp.broadcast_to(BATCHES[:1], (2, 8, 3))
    new_state = layers.reestimate_batch_statistics(model, params, state, batches, key=key)
    means = [
        model.apply(params, state, batches[0], key=jax.random.fold_in(key, position), train=True)[1]["norm"][
            "batch_mean"
        ]
        for position in (0, 1)
    ]
    assert (means[0] != means[1]).any()
    np.testing.assert_allclose(new_state["norm"]["mean"], (means[0] + means[1]) / 2, rtol=1e-5, atol=1e-6)


def test_a_model_without_batch_norm_is_not_run() -> None:
    def apply(params, state, x, *, key=None, train=False):
        raise AssertionError

    state = {"mean": jnp.ones(3), "var": jnp.ones(3)}
    model = Layer(lambda key, input_shape: ({}, state), apply)
    assert layers.reestimate_batch_statistics(model, {}, state, BATCHES) is state


@pytest.mark.parametrize("shape", [(0, 8, 3), (5, 0, 3), (5,)])
def test_no_batches_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected batches \[count, batch, ...\], got float32"):
        inspect.unwrap(layers.reestimate_batch_statistics)(layers.batch_norm(), {}, STATE, jnp.zeros(shape))


@pytest.mark.parametrize("lengths", [None, jnp.array([5, 0, 3, 0, 0, 1])], ids=["whole", "padded"])
def test_over_a_mapped_axis_it_is_that_of_the_whole_batch(lengths: jax.Array | None) -> None:
    whole, mapped = layers.batch_norm(momentum=0.5), layers.batch_norm(momentum=0.5, axis_name="data")

    def on_devices(params, x):
        """Three devices with two examples each; in the padded batch the second one sees one sequence."""
        apart = x.reshape(3, 2, 5, 4)
        own = None if lengths is None else lengths.reshape(3, 2)
        each = jax.vmap(
            lambda x, own: mapped.apply(params, STATE, x, train=True, lengths=own),
            in_axes=(0, None if own is None else 0),
            axis_name="data",
        )
        y, state = each(apart, own)
        return y.reshape(x.shape), jax.tree.map(lambda leaf: leaf[0], state)

    def at_once(params, x):
        return whole.apply(params, STATE, x, train=True, lengths=lengths)

    chex.assert_trees_all_close(pull_back(on_devices, X), pull_back(at_once, X), rtol=1e-4, atol=1e-5)


def test_over_a_mapped_axis_numbers_stay_in_range_and_constants_are_exact() -> None:
    layer = layers.batch_norm(axis_name="data", use_scale=False, use_bias=False, momentum=0.0)
    far = np.asarray(np.random.default_rng(0).normal(1e4, 1.0, (4, 16)), np.float32)
    x = np.stack([far, np.full((4, 16), 3e38), np.full((4, 16), 0.1), 1e38 * np.sign(far - 1e4)], axis=-1)
    exact = x.astype(np.float64)
    apply = jax.vmap(lambda x: layer.apply({}, STATE, x, train=True), axis_name="data")
    y, state = apply(jnp.asarray(x, jnp.float32))
    expected = (exact - exact.mean((0, 1))) / np.sqrt(exact.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(y[..., 0], expected[..., 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(y[..., 1:3], 0.0)
    np.testing.assert_allclose(y[..., 3], expected[..., 3], rtol=1e-4)
    np.testing.assert_allclose(state["mean"][0], exact.mean((0, 1)), rtol=1e-5)


def test_devices_exchange_two_arrays() -> None:
    layer = layers.batch_norm(axis_name="data")
    mesh = jax.sharding.AbstractMesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, shared = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    mapped = jax.shard_map(
        lambda x, lengths: layer.apply(PARAMS, STATE, x, train=True, lengths=lengths),
        mesh=mesh,
        in_specs=shared,
        out_specs=(shared, everywhere),
    )
    shapes = (jax.ShapeDtypeStruct((8, 5, 4), jnp.float32), jax.ShapeDtypeStruct((8,), jnp.int32))
    primitives = [str(each) for each in primitives_of(jax.make_jaxpr(mapped)(*shapes).jaxpr)]
    collective = [name for name in primitives if name.startswith(("psum", "pmax", "pmin", "all_", "ppermute"))]
    assert len(collective) == 2 and all(name.startswith("psum") for name in collective)


def primitives_of(jaxpr):
    """Names of all that a program does, nested ones too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda each: hasattr(each, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from primitives_of(inner)
