"""Embeddings against flax, and positions against their formulas and laws."""

import inspect
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers

RNG = np.random.default_rng(0)
IDS = jnp.array([[1, 4, 1], [0, 4, 4]])
TABLE = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
X = jnp.asarray(RNG.normal(size=(2, 6, 4)), jnp.float32)


def lookup(ids: jax.Array, table: jax.Array = TABLE) -> jax.Array:
    return layers.embedding(*table.shape).apply({"embedding": table}, {}, ids)[0]


def test_embedding_equals_flax_in_values_and_gradients() -> None:
    reference = linen.Embed(5, 3)

    def loss(table):
        return jnp.sum(jnp.sin(lookup(IDS, table)))

    def reference_loss(table):
        return jnp.sum(jnp.sin(reference.apply({"params": {"embedding": table}}, IDS)))

    np.testing.assert_array_equal(lookup(IDS), np.asarray(TABLE)[np.asarray(IDS)])
    gradient = jax.jit(jax.grad(loss))(TABLE)
    np.testing.assert_allclose(gradient, jax.grad(reference_loss)(TABLE), rtol=1e-6)
    # Rows 2 and 3 stand nowhere, row 4 in three places.
    assert not gradient[2:4].any()
    np.testing.assert_allclose(gradient[4], 3 * np.cos(TABLE[4]), rtol=1e-6)


def test_the_structure_and_the_initial_values_are_those_of_flax() -> None:
    params, state = layers.embedding(400, 100).init(jax.random.key(0), (3,))
    expected = linen.Embed(400, 100).init(jax.random.key(0), IDS)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(params, dict(expected))
    assert state == {}
    # Standard deviation 1 / sqrt(100), from 40,000 values.
    assert float(params["embedding"].std()) == pytest.approx(0.1, rel=0.02)
    params, _ = layers.embedding(2, 3, embedding_init=jax.nn.initializers.ones).init(jax.random.key(0), ())
    assert (params["embedding"] == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
def test_ids_of_every_integer_dtype_name_the_same_rows(dtype: str) -> None:
    table = jnp.arange(300.0).reshape(300, 1)
    ids = jnp.array([0, 127, 255 if dtype != "int8" else 1]).astype(dtype)
    np.testing.assert_array_equal(lookup(ids, table)[:, 0], np.asarray(ids, np.float32))
    np.testing.assert_array_equal(jax.jit(lookup)(ids, table)[:, 0], np.asarray(ids, np.float32))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_id_out_of_range_is_refused_or_gives_nan_and_no_gradient(wrong: int) -> None:
    ids = jnp.array([1, wrong])
    message = rf"embedding: expected class indices in \[0, 5\), got {wrong} at position \(1,\)"
    with pytest.raises(ValueError, match=message):
        lookup(ids)
    y, vjp = jax.vjp(jax.jit(lookup), ids, TABLE)
    assert jnp.isnan(y[1]).all() and (y[0] == TABLE[1]).all()
    np.testing.assert_array_equal(vjp(jnp.ones((2, 3)))[1], np.outer(np.eye(5)[1], np.ones(3)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.embedding(0, 3), ValueError, "embedding: expected vocabulary to be an integer of at least 1"),
        (lambda: layers.embedding(3, 0), ValueError, "embedding: expected features to be an integer of at least 1"),
        (
            lambda: inspect.unwrap(layers.embedding(5, 3).apply)({"embedding": TABLE}, {}, jnp.ones(2)),
            TypeError,
            r"embedding: expected integer token ids, got float32\[2\]; cast them, or in a chain set serial",
        ),
        (
            lambda: layers.embedding(5, 4).apply({"embedding": TABLE}, {}, IDS),
            ValueError,
            r"embedding: expected a table \[5, 4\], got float32\[5,3\]",
        ),
        (
            lambda: inspect.unwrap(layers.tied_logits)(jnp.ones((2, 4)), TABLE),
            ValueError,
            r"tied_logits: expected x \[\*batch, features\] and a table \[vocabulary, features\], got float32\[2,4\]",
        ),
        (
            lambda: inspect.unwrap(layers.tied_logits)(jnp.ones(3, jnp.int32), TABLE),
            TypeError,
            r"tied_logits: expected floating-point x, got int32\[3\]; cast them",
        ),
    ],
)
def test_bad_arguments_of_embeddings_are_refused(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_tied_logits_equal_flax_attend() -> None:
    x = jnp.asarray(RNG.normal(size=(2, 4, 3)), jnp.float32)
    expected = linen.Embed(5, 3).apply({"params": {"embedding": TABLE}}, x, method="attend")
    np.testing.assert_allclose(layers.tied_logits(x, TABLE), expected, rtol=1e-6)
    # Both uses of the table give it a gradient.
    gradient = jax.grad(lambda table: layers.tied_logits(lookup(IDS[0], table), table)[0, 2])(TABLE)
    np.testing.assert_allclose(gradient, np.outer(np.eye(5)[1], TABLE[2]) + np.outer(np.eye(5)[2], TABLE[1]), rtol=1e-6)


def test_learned_positions_add_the_first_rows_of_the_table() -> None:
    layer = layers.learned_positions(max_length=8)
    params, state = layer.init(jax.random.key(0), (6, 4))
    assert jax.tree.map(jnp.shape, params) == {"embedding": (8, 4)} and state == {}
    y, vjp = jax.vjp(lambda params: layer.apply(params, state, X)[0], params)
    np.testing.assert_allclose(y, np.asarray(X) + np.asarray(params["embedding"])[:6], rtol=1e-6)
    # A row's gradient is the sum over the batch.
    (gradient,) = vjp(jnp.ones_like(y))
    np.testing.assert_array_equal(gradient["embedding"], np.repeat([2.0, 0.0], [6, 2])[:, None] * np.ones(4))
    table, _ = layers.learned_positions().init(jax.random.key(0), (100, 200))
    assert float(table["embedding"].std()) == pytest.approx(0.02, rel=0.03)


def sinusoids(time: int, features: int, base: float = 10_000.0) -> np.ndarray:
    """The table, entry by entry, in Python."""
    return np.array(
        [
            [(math.cos if i % 2 else math.sin)(t / base ** (2 * (i // 2) / features)) for i in range(features)]
            for t in range(time)
        ]
    )


@pytest.mark.parametrize(("features", "base"), [(4, 10_000.0), (5, 100.0), (1, 10_000.0)])
def test_sinusoidal_positions_follow_the_formula(features: int, base: float) -> None:
    x = jnp.asarray(RNG.normal(size=(2, 6, features)), jnp.float32)
    y, state = layers.sinusoidal_positions(base=base).apply({}, {}, x)
    np.testing.assert_allclose(y, np.asarray(x, np.float64) + sinusoids(6, features, base), rtol=1e-5, atol=1e-6)
    assert state == {}


def test_sinusoidal_positions_are_exact_late_too() -> None:
    # In float32, t = 19,999 has an angle with an error of 1e-3.
    y, _ = jax.jit(layers.sinusoidal_positions().apply)({}, {}, jnp.zeros((20_000, 4)))
    np.testing.assert_allclose(y[-1], sinusoids(20_000, 4)[-1], atol=1e-6)


def test_a_shift_of_sinusoidal_positions_is_a_rotation() -> None:
    """P_{t+k} = R(k) P_t with a matrix that does not depend on t: why attention can learn relative positions."""
    y, _ = layers.sinusoidal_positions(base=50.0).apply({}, {}, jnp.zeros((12, 4)))
    shift = np.linalg.lstsq(np.asarray(y[:8]), np.asarray(y[3:11]))[0]
    np.testing.assert_allclose(y[4:9] @ shift, y[7:], atol=1e-5)
    np.testing.assert_allclose(shift @ shift.T, np.eye(4), atol=1e-4)


def rotated(x: np.ndarray, positions: np.ndarray, base: float) -> np.ndarray:
    """Feature pairs (i, i + d/2) as complex numbers, times exp(1j t / base^(2i/d))."""
    half = x.shape[-1] // 2
    turns = positions[:, None] / base ** (2 * np.arange(half) / x.shape[-1])
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * turns)
    return np.concatenate([z.real, z.imag], axis=-1)


@pytest.mark.parametrize("base", [10_000.0, 100.0])
@pytest.mark.parametrize("offset", [0, 7, 100_000])
def test_rotary_is_a_multiplication_of_complex_numbers(base: float, offset: int) -> None:
    y = layers.rotary(X, base=base, offset=offset)
    expected = rotated(np.asarray(X, np.float64), offset + np.arange(6), base)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(X, axis=-1), rtol=1e-5)


def test_rotary_scores_depend_on_the_distance_only() -> None:
    query, key = (jnp.broadcast_to(jnp.asarray(RNG.normal(size=6), jnp.float32)[None], (9, 6)) for _ in range(2))
    scores = np.asarray(layers.rotary(query, base=20.0) @ layers.rotary(key, base=20.0).T)
    for distance in range(-8, 9):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, np.full_like(diagonal, diagonal[0]), rtol=1e-4, atol=1e-5)
    assert np.ptp(scores[0]) > 0.1
    shifted = layers.rotary(query, base=20.0, offset=50) @ layers.rotary(key, base=20.0, offset=50).T
    np.testing.assert_allclose(shifted, scores, rtol=1e-4, atol=1e-4)


def test_a_traced_offset_continues_a_sequence_and_compiles_once() -> None:
    whole = layers.rotary(X)
    continued = jax.jit(chex.assert_max_traces(lambda x, offset: layers.rotary(x, offset=offset), n=1))
    for offset in (2, 5):
        np.testing.assert_allclose(
            continued(X[:, offset : offset + 1], offset), whole[:, offset : offset + 1], atol=1e-6
        )


def test_rotary_in_bfloat16_is_rounded_once() -> None:
    x = X.astype(jnp.bfloat16)
    exact = rotated(np.asarray(x, np.float64), 300 + np.arange(6), 10_000.0)
    np.testing.assert_array_equal(layers.rotary(x, offset=300), jnp.asarray(exact, jnp.float32).astype(jnp.bfloat16))


POSITIONS = {
    "learned_positions": layers.learned_positions(),
    "sinusoidal_positions": layers.sinusoidal_positions(),
    "rotary": layers.lambda_(inspect.unwrap(layers.rotary)),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_bad_inputs_of_positions_are_refused(name: str) -> None:
    layer = POSITIONS[name]
    params, state = layer.init(jax.random.key(0), (6, 4))
    with pytest.raises(ValueError, match=rf"{name}: expected inputs \[\*batch, time, .* got float32\[4\]"):
        inspect.unwrap(layer.apply)(params, state, jnp.ones(4))
    with pytest.raises(TypeError, match=rf"{name}: expected floating-point inputs, got int32\[6,4\]; cast them"):
        inspect.unwrap(layer.apply)(params, state, jnp.ones((6, 4), jnp.int32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.learned_positions(max_length=0),
            "learned_positions: expected max_length to be an integer of at",
        ),
        (
            lambda: layers.learned_positions(max_length=4).init(jax.random.key(0), (5, 3)),
            "learned_positions: expected at most max_length = 4 positions, got 5",
        ),
        (
            lambda: layers.learned_positions().init(jax.random.key(0), (5,)),
            r"learned_positions: expected an example shape \(time, features\), got \(5,\)",
        ),
        (
            lambda: layers.learned_positions().apply({"embedding": TABLE}, {}, jnp.ones((2, 6, 3))),
            r"expected at most 5 positions, the rows of the table, got float32\[2,6,3\]; make a longer table",
        ),
        (
            lambda: layers.learned_positions().apply({"embedding": TABLE}, {}, jnp.ones((2, 5, 4))),
            r"learned_positions: expected inputs \[\*batch, time, 3\], got float32\[2,5,4\]",
        ),
        (lambda: layers.sinusoidal_positions(base=0.0), "sinusoidal_positions: expected base above 0, got 0.0"),
        (
            lambda: layers.sinusoidal_positions().init(jax.random.key(0), (5,)),
            r"sinusoidal_positions: expected an example shape \(time, features\), got \(5,\)",
        ),
        (lambda: layers.rotary(X, base=-1.0), "rotary: expected base above 0, got -1.0"),
        (lambda: layers.rotary(X[..., :3]), r"with an even number of features, got float32\[2,6,3\]"),
    ],
)
def test_bad_settings_of_positions_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
