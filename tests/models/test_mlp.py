"""Models against the same network written in flax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from dlkit import losses, models
from tests.compiled import compiled

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 2, 3)), jnp.float32)


class Reference(linen.Module):
    """mlp((5, 4, 2), activation="tanh") in flax."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        x = jnp.tanh(linen.Dense(5, name="hidden_0")(x))
        x = jnp.tanh(linen.Dense(4, name="hidden_1")(x))
        return linen.Dense(2, name="output")(x)


@pytest.mark.long
def test_mlp_equals_flax_in_values_and_gradients() -> None:
    model = compiled(models.mlp((5, 4, 2), activation="tanh"))
    params, state = model.init(jax.random.key(0), (2, 3))
    copied = {name: block["dense"] for name, block in params.items()}
    expected = Reference().apply({"params": copied}, X)
    np.testing.assert_allclose(model.apply(params, state, X)[0], expected, rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(model.apply(params, state, X)[0] ** 2)))(params)
    reference_gradient = jax.jit(jax.grad(lambda params: jnp.sum(Reference().apply({"params": params}, X) ** 2)))(
        copied
    )
    chex.assert_trees_all_close(
        {name: block["dense"] for name, block in gradient.items()}, reference_gradient, rtol=1e-4, atol=1e-5
    )


def test_the_structure_of_the_parameters() -> None:
    params, state = models.mlp((5, 4, 2)).init(jax.random.key(0), (2, 3))
    assert jax.tree.map(jnp.shape, params) == {
        "hidden_0": {"dense": {"kernel": (6, 5), "bias": (5,)}},
        "hidden_1": {"dense": {"kernel": (5, 4), "bias": (4,)}},
        "output": {"dense": {"kernel": (4, 2), "bias": (2,)}},
    }
    assert state == {}


def test_one_entry_is_a_linear_model() -> None:
    model = models.mlp((2,))
    params, state = model.init(jax.random.key(0), (3,))
    x = jnp.array([[1.0, -2.0, 3.0]])
    np.testing.assert_allclose(model.apply(params, state, x)[0], x @ params["output"]["dense"]["kernel"], rtol=1e-6)


def test_activation_and_dropout_do_not_change_the_initial_parameters() -> None:
    plain, _ = models.mlp((5, 2)).init(jax.random.key(0), (3,))
    other, _ = models.mlp((5, 2), activation=jnp.sin, dropout=0.3).init(jax.random.key(0), (3,))
    chex.assert_trees_all_equal(plain, other)


def test_a_function_and_its_name_are_the_same_activation() -> None:
    params, state = models.mlp((5, 2)).init(jax.random.key(0), (2, 3))
    named, _ = models.mlp((5, 2), activation="silu").apply(params, state, X)
    given, _ = models.mlp((5, 2), activation=jax.nn.silu).apply(params, state, X)
    np.testing.assert_array_equal(named, given)


@pytest.mark.long
def test_dropout_acts_on_hidden_values_while_training_only() -> None:
    model = models.mlp((500, 1), dropout=0.5)
    params, state = compiled(model).init(jax.random.key(0), (2, 3))
    evaluated, _ = model.apply(params, state, X)
    trained, _ = model.apply(params, state, X, key=jax.random.key(1), train=True)
    plain, _ = models.mlp((500, 1)).apply(params, state, X)
    np.testing.assert_array_equal(evaluated, plain)
    assert (evaluated != trained).all()
    with pytest.raises(ValueError, match="expected a key while training"):
        model.apply(params, state, X, train=True)


def test_the_dropout_rate_may_be_traced() -> None:
    params, state = models.mlp((5, 2)).init(jax.random.key(0), (2, 3))

    @jax.jit
    def outputs(rate: jax.Array) -> jax.Array:
        return models.mlp((5, 2), dropout=rate).apply(params, state, X, key=jax.random.key(1), train=True)[0]

    np.testing.assert_allclose(outputs(jnp.float32(0.0)), models.mlp((5, 2)).apply(params, state, X)[0], rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (1,), (6, 1), (2, 4)])
@pytest.mark.parametrize("example", [(6,), (2, 3), (3, 2, 1), (6, 1, 1), (1,)])
def test_examples_of_any_shape_are_flattened(batch: tuple[int, ...], example: tuple[int, ...]) -> None:
    model = models.mlp((3, 2))
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), example))
    y = jax.eval_shape(model.apply, params, state, jnp.ones(batch + example))[0]
    assert y.shape == (*batch, 2)


def test_kernel_init_reaches_every_kernel() -> None:
    params, _ = models.mlp((3, 2), kernel_init=jax.nn.initializers.ones).init(jax.random.key(0), (4,))
    assert all((block["dense"]["kernel"] == 1).all() for block in params.values())


@pytest.mark.long
def test_it_learns() -> None:
    # XOR cannot be fitted by anything linear: cross-entropy ln 2 is the best there.
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = jnp.array([0, 1, 1, 0])
    model, optimizer = models.mlp((16, 2), activation="tanh"), optax.adam(0.05)
    params, state = model.init(jax.random.key(0), (2,))

    def loss(params):
        return losses.cross_entropy(model.apply(params, state, x)[0], targets).mean()

    def step(carry, _):
        params, optimizer_state = carry
        updates, optimizer_state = optimizer.update(jax.grad(loss)(params), optimizer_state)
        return (optax.apply_updates(params, updates), optimizer_state), None

    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=200))((params, optimizer.init(params)))
    assert loss(params) < 0.05


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"at least one axis and none of size 0, got \(\)"),
        ((3, 0), r"none of size 0, got \(3, 0\)"),
        ((1, 28, 28), r"got \(1, 28, 28\); drop the axis, or put it last: \(28, 28, 1\)"),
    ],
)
def test_example_shapes_that_cannot_be_flattened_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.mlp((3, 2)).init(jax.random.key(0), shape)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least the number of outputs"):
        models.mlp(())
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        models.mlp((3, 2), activation="rellu")
    with pytest.raises(ValueError, match=r"probability of dropping, in \[0, 1\)"):
        models.mlp((3, 2), dropout=1.5)
    model = models.mlp((3, 2))
    params, state = model.init(jax.random.key(0), (2, 3))
    with pytest.raises(ValueError, match=r"expected examples of 6 values as the last axes, got float32\[7,4\]"):
        model.apply(params, state, jnp.ones((7, 4)))


@pytest.mark.long
@pytest.mark.parametrize("width", [2, 4, 8, 12, 20, 32])
def test_group_normalization_leaves_something_of_any_width(width: int) -> None:
    """A group of one feature would be normalized to 0."""
    model = compiled(models.mlp((width, 3), normalization="group", activation="tanh"))
    params, state = model.init(jax.random.key(0), (4,))
    x = jax.random.normal(jax.random.key(1), (5, 4))
    assert float(model.apply(params, state, x)[0].std(axis=0).min()) > 1e-3
