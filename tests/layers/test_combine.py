"""Layers made of layers: serial, parallel, residual."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from jax.example_libraries import stax

from dlkit import activations, layers
from dlkit.layers import Layer


def counter() -> Layer:
    """Adds the number of earlier calls in training."""
    return Layer(
        init=lambda key, input_shape: ({}, {"count": jnp.zeros(())}),
        apply=lambda params, state, x, *, key=None, train=False: (
            x + state["count"],
            {"count": state["count"] + train},
        ),
    )


def noise() -> Layer:
    """One number drawn from the key it is given."""
    return Layer(
        init=lambda key, input_shape: ({}, {}),
        apply=lambda params, state, x, *, key=None, train=False: (x + jax.random.normal(key, ()), state),
    )


def test_a_chain_is_the_composition_of_its_layers() -> None:
    first, second = layers.dense(5), layers.dense(2)
    chain = layers.serial(first, jnp.sin, second)
    params, state = chain.init(jax.random.key(0), (3,))
    x = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
    hidden, _ = first.apply(params["layer_0"], {}, x)
    expected, _ = second.apply(params["layer_2"], {}, jnp.sin(hidden))
    chex.assert_trees_all_equal(chain.apply(params, state, x), (expected, {}))


def test_params_and_state_are_named_by_position_and_hold_no_empty_entries() -> None:
    chain = layers.serial(layers.dense(5), activations.relu, counter(), layers.serial(jnp.sin, layers.dense(2)))
    params, state = chain.init(jax.random.key(0), (3,))
    assert jax.tree.map(jnp.shape, params) == {
        "layer_0": {"kernel": (3, 5), "bias": (5,)},
        "layer_3": {"layer_1": {"kernel": (5, 2), "bias": (2,)}},
    }
    assert state == {"layer_2": {"count": 0.0}}


def test_names_replace_positions() -> None:
    chain = layers.serial(layers.dense(5), activations.relu, layers.dense(2), names=("hidden", "activation", "output"))
    params, _ = chain.init(jax.random.key(0), (3,))
    positional, _ = layers.serial(layers.dense(5), activations.relu, layers.dense(2)).init(jax.random.key(0), (3,))
    assert list(params) == ["hidden", "output"]
    chex.assert_trees_all_equal(params["output"], positional["layer_2"])


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", "b", "c"), ("a", "b/c"), ("", "b"), "ab"])
def test_names_that_are_no_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected 2 different identifiers as names"):
        layers.serial(jnp.sin, jnp.cos, names=names)


def test_parameters_survive_msgpack() -> None:
    params, _ = layers.serial(layers.dense(5), activations.relu, layers.dense(2)).init(jax.random.key(0), (3,))
    chex.assert_trees_all_equal(serialization.msgpack_restore(serialization.to_bytes(params)), params)


def test_state_is_threaded_and_keeps_its_structure() -> None:
    chain = layers.serial(counter(), layers.dense(2), counter())
    params, state = chain.init(jax.random.key(0), (3,))

    def step(state, x):
        _, state = chain.apply(params, state, x, train=True)
        return state, None

    final, _ = jax.lax.scan(step, state, jnp.zeros((4, 3)))
    assert final == {"layer_0": {"count": 4.0}, "layer_2": {"count": 4.0}}
    _, unchanged = chain.apply(params, final, jnp.zeros((1, 3)), train=False)
    assert unchanged == final


def test_every_layer_gets_its_own_subkey() -> None:
    chain = layers.serial(noise(), noise())
    key = jax.random.key(7)
    draws = [jax.random.normal(jax.random.fold_in(key, position), ()) for position in (0, 1)]
    y, _ = chain.apply({}, {}, jnp.zeros(()), key=key)
    np.testing.assert_allclose(y, draws[0] + draws[1], rtol=1e-6)
    assert draws[0] != draws[1]


def test_appending_a_layer_changes_nothing_before_it() -> None:
    short, _ = layers.serial(layers.dense(3)).init(jax.random.key(0), (3,))
    long, _ = layers.serial(layers.dense(3), layers.dense(3)).init(jax.random.key(0), (3,))
    chex.assert_trees_all_equal(short["layer_0"], long["layer_0"])
    assert (long["layer_0"]["kernel"] != long["layer_1"]["kernel"]).all()


def test_another_key_gives_other_parameters() -> None:
    one, _ = layers.serial(layers.dense(3)).init(jax.random.key(0), (3,))
    other, _ = layers.serial(layers.dense(3)).init(jax.random.key(1), (3,))
    assert (one["layer_0"]["kernel"] != other["layer_0"]["kernel"]).all()


def test_grouping_does_not_change_the_function() -> None:
    flat = layers.serial(jnp.sin, jnp.exp, jnp.cos)
    grouped = layers.serial(layers.serial(jnp.sin, jnp.exp), jnp.cos)
    x = jnp.linspace(-1.0, 1.0, 5)
    chex.assert_trees_all_equal(flat.apply({}, {}, x), grouped.apply({}, {}, x))


def test_the_empty_chain_is_the_identity() -> None:
    params, state = layers.serial().init(jax.random.key(0), (3,))
    y, _ = layers.serial().apply(params, state, jnp.arange(3.0))
    assert (params, state, y.tolist()) == ({}, {}, [0.0, 1.0, 2.0])


def test_init_works_under_jit_and_takes_raw_keys() -> None:
    chain = layers.serial(layers.dense(3), activations.relu)
    eager, _ = chain.init(jax.random.PRNGKey(0), (2,))
    compiled, _ = jax.jit(lambda key: chain.init(key, (2,)))(jax.random.PRNGKey(0))
    chex.assert_trees_all_close(eager, compiled, rtol=1e-6)


def test_the_dtype_of_the_examples_is_declared() -> None:
    table = Layer(
        init=lambda key, input_shape: ({"embedding": jnp.ones((9, 4))}, {}),
        apply=lambda params, state, x, *, key=None, train=False: (params["embedding"][x], state),
    )
    chain = layers.serial(table, layers.dense(2), input_dtype=jnp.int32)
    params, state = chain.init(jax.random.key(0), (6,))
    y, _ = chain.apply(params, state, jnp.zeros((3, 6), jnp.int32))
    assert y.shape == (3, 6, 2)


def test_an_error_names_the_layer_its_position_and_the_input_shape() -> None:
    chain = layers.serial(jnp.sin, layers.serial(layers.dense(3), jnp.linalg.inv, names=("project", "invert")))
    with pytest.raises(ValueError) as caught:
        chain.init(jax.random.key(0), (5, 4))
    assert [note for note in caught.value.__notes__ if note.startswith("in serial")] == [
        "in serial: layer 1 ('invert'), input shape (5, 3)",
        "in serial: layer 1 ('layer_1'), input shape (5, 4)",
    ]
    working = layers.serial(jnp.sin, layers.dense(3))
    params, state = working.init(jax.random.key(0), (4,))
    with pytest.raises(ValueError) as caught:
        working.apply(params, state, jnp.ones((2, 5)))
    assert caught.value.__notes__[-1] == "in serial: layer 1 ('layer_1'), input shape (2, 5)"


def test_a_layer_that_merges_the_batch_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an output \[\*batch, ...\] for inputs float32\[2,3\]"):
        layers.serial(jnp.ravel).init(jax.random.key(0), (3,))


def test_parallel_concatenates_on_the_last_axis() -> None:
    first, second = layers.dense(3), layers.dense(2)
    layer = layers.parallel(first, jnp.sin, second)
    params, state = layer.init(jax.random.key(0), (4,))
    x = jnp.linspace(-1.0, 1.0, 20).reshape(5, 4)
    outputs = [first.apply(params["layer_0"], {}, x)[0], jnp.sin(x), second.apply(params["layer_2"], {}, x)[0]]
    chex.assert_trees_all_equal(layer.apply(params, state, x), (jnp.concatenate(outputs, axis=-1), {}))


def test_parallel_equals_stax_in_values_and_gradients() -> None:
    init, apply = stax.serial(
        stax.FanOut(2), stax.parallel(stax.Dense(3), stax.serial(stax.Dense(3), stax.Tanh)), stax.FanInSum
    )
    _, (_, ((w0, b0), ((w1, b1), _)), _) = init(jax.random.key(0), (-1, 4))
    layer = layers.parallel(
        layers.dense(3),
        layers.serial(layers.dense(3), jnp.tanh, names=("dense", "tanh")),
        names=("a", "b"),
        combine=sum,
    )
    params = {"a": {"kernel": w0, "bias": b0}, "b": {"dense": {"kernel": w1, "bias": b1}}}
    made, state = layer.init(jax.random.key(0), (4,))
    chex.assert_trees_all_equal_shapes(params, made)
    x = jnp.linspace(-1.0, 1.0, 20).reshape(5, 4)

    def loss(params, x):
        return jnp.sum(jnp.sin(layer.apply(params, state, x)[0]))

    def reference_loss(params, x):
        a, b = params["a"], params["b"]["dense"]
        tree = ((), ((a["kernel"], a["bias"]), ((b["kernel"], b["bias"]), ())), ())
        with jax.numpy_rank_promotion("allow"):
            return jnp.sum(jnp.sin(apply(tree, x)))

    chex.assert_trees_all_close(
        jax.value_and_grad(loss, argnums=(0, 1))(params, x),
        jax.value_and_grad(reference_loss, argnums=(0, 1))(params, x),
        rtol=1e-5,
        atol=1e-6,
    )


def test_parallel_gives_every_layer_its_own_subkey_and_state() -> None:
    layer = layers.parallel(noise(), counter(), noise(), combine=lambda outputs: jnp.stack(outputs, axis=-1))
    key = jax.random.key(7)
    params, state = layer.init(jax.random.key(0), (1,))
    assert (params, state) == ({}, {"layer_1": {"count": 0.0}})
    y, state = layer.apply(params, state, jnp.zeros((2, 1)), key=key, train=True)
    draws = [jax.random.normal(jax.random.fold_in(key, position), ()) for position in (0, 2)]
    np.testing.assert_allclose(y[1, 0], [draws[0], 0.0, draws[1]], rtol=1e-6)
    assert state == {"layer_1": {"count": 1.0}}


def test_parallel_refuses_what_cannot_be_concatenated() -> None:
    layer = layers.parallel(jnp.sin, lambda x: x[..., :1, :])
    with pytest.raises(ValueError, match=r"differ in their last axis only, got float32\[2,3,4\], float32\[2,1,4\]"):
        layer.apply({}, {}, jnp.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"differ in their last axis only, got float32\[\], float32\[\]"):
        layers.parallel(jnp.sin, jnp.cos).apply({}, {}, jnp.zeros(()))
    with pytest.raises(ValueError, match="parallel: expected at least one layer, got none"):
        layers.parallel()
    with pytest.raises(ValueError, match="parallel: expected 2 different identifiers as names"):
        layers.parallel(jnp.sin, jnp.cos, names=("a",))


def test_an_error_names_the_branch() -> None:
    chain = layers.serial(layers.residual(layers.parallel(jnp.sin, jnp.linalg.inv), shortcut=jnp.sin))
    with pytest.raises(ValueError) as caught:
        chain.init(jax.random.key(0), (5, 4))
    assert [note for note in caught.value.__notes__ if note.startswith("in ")] == [
        "in parallel: layer 1 ('layer_1'), input shape (2, 5, 4)",
        "in residual: layer 0 ('branch'), input shape (2, 5, 4)",
        "in serial: layer 0 ('layer_0'), input shape (5, 4)",
    ]
    with pytest.raises(ValueError) as caught:
        layers.parallel(jnp.sin, layers.dense(3)).init(jax.random.key(0), ())
    assert caught.value.__notes__[-1] == "in parallel: layer 1 ('layer_1'), input shape ()"


def test_residual_adds_the_input_with_its_gradient() -> None:
    branch = layers.dense(4)
    layer = layers.residual(branch)
    params, state = layer.init(jax.random.key(0), (4,))
    assert set(params) == {"branch"}
    x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)

    def loss(params, x):
        return jnp.sum(jnp.sin(layer.apply(params, state, x)[0]))

    def composed(params, x):
        return jnp.sum(jnp.sin(x @ params["branch"]["kernel"] + params["branch"]["bias"][None] + x))

    chex.assert_trees_all_close(
        jax.value_and_grad(loss, argnums=(0, 1))(params, x),
        jax.value_and_grad(composed, argnums=(0, 1))(params, x),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_shortcut_with_parameters_and_state() -> None:
    branch, around = layers.serial(layers.dense(3), counter()), layers.dense(3, use_bias=False)
    layer = layers.residual(branch, shortcut=around)
    key = jax.random.key(0)
    params, state = layer.init(key, (4,))
    chex.assert_trees_all_equal(params["branch"], branch.init(jax.random.fold_in(key, 0), (4,))[0])
    chex.assert_trees_all_equal(params["shortcut"], around.init(jax.random.fold_in(key, 1), (4,))[0])
    assert state == {"branch": {"layer_1": {"count": 0.0}}}
    x = jnp.linspace(-1.0, 1.0, 8).reshape(2, 4)
    y, state = layer.apply(params, state, x, train=True)
    dense = params["branch"]["layer_0"]
    np.testing.assert_allclose(
        y, x @ dense["kernel"] + dense["bias"][None] + x @ params["shortcut"]["kernel"], rtol=1e-5, atol=1e-6
    )
    assert state == {"branch": {"layer_1": {"count": 1.0}}}


def test_a_residual_of_two_shapes_is_refused() -> None:
    narrow = layers.residual(layers.dense(1))
    params, state = narrow.init(jax.random.key(0), (4,))
    message = r"got float32\[2,1\] from the branch and float32\[2,4\] from the input; pass shortcut=..."
    with pytest.raises(ValueError, match=message):  # broadcasting would have added them silently
        narrow.apply(params, state, jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"float32\[2,2\] from the shortcut; change one of them"):
        layers.residual(jnp.sin, shortcut=lambda x: x[..., :2]).apply({}, {}, jnp.zeros((2, 4)))
