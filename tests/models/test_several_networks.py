"""Models of several networks: what is inside of them is found by path, as in any layer."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers, models
from dlkit.layers import Layer

KEY = jax.random.key(0)
MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "autoencoder": (models.autoencoder((4, 3), latent=2, hidden=(7,), normalization="batch"), (4, 3)),
    "vae": (models.vae((4, 3), latent=2, hidden=(7,), normalization="batch", dropout=0.2), (4, 3)),
    "dense_gan": (models.dense_gan((4, 3), latent=5, hidden=(7,), normalization="batch", dropout=0.2), (5,)),
    "convolutional_gan": (models.convolutional_gan((4, 4, 1), latent=5, features=(3,)), (5,)),
    "vq_vae": (models.vq_vae((4, 4, 1), entries=5, latent=2, features=(3,)), (4, 4, 1)),
}
every_model = pytest.mark.parametrize("name", MODELS)


@functools.cache
def made(name: str) -> tuple[Any, Any, Any, jax.Array]:
    model, shape = MODELS[name]
    params, state = jax.jit(lambda: model.layer.init(KEY, shape))()
    return model, params, state, jax.random.normal(jax.random.key(1), (6, *shape))


@every_model
def test_all_that_is_inside_is_captured_and_summed_up(name: str) -> None:
    model, params, state, x = made(name)
    y, _, found = jax.eval_shape(lambda: layers.capture(model, params, state, x, key=KEY, train=True))
    assert set(found) == set(model.layer.sublayers)
    rows = {row.path: row for row in layers.summary(model, x.shape[1:]).rows}
    assert set(rows) == {"", *found}
    for path, output in {"": y, **found}.items():
        shapes = jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), output)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), rows[path].output) == shapes
    assert rows[""].parameters == layers.parameter_count(params)


@every_model
def test_a_captured_part_is_what_the_part_makes_by_itself(name: str) -> None:
    model, params, state, x = made(name)
    parts = {path: layer for path, layer in model.layer.sublayers.items() if "/" not in path}

    @jax.jit
    def one_by_one(params: Any, state: Any, x: Any) -> dict[str, Any]:
        made = {}
        for position, (path, part) in enumerate(parts.items()):
            key = jax.random.fold_in(KEY, position)
            own = params.get(path, {}), state.get(path, {})
            made[path], _ = part.apply(*own, x, key=key, train=True)
            x = made[path].vectors if path == "codebook" else made[path]
        return made

    @jax.jit
    def captured(params: Any, state: Any, x: Any) -> Any:
        return layers.capture(model, params, state, x, paths=tuple(parts), key=KEY, train=True)

    whole = jax.jit(lambda *variables: model.layer.apply(*variables, key=KEY, train=True))(params, state, x)
    y, after, found = captured(params, state, x)
    chex.assert_trees_all_close(found, one_by_one(params, state, x), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close((y, after), whole, rtol=1e-5, atol=1e-6)
    *_, last = parts
    np.testing.assert_array_equal(found[last], getattr(y, "reconstruction", y))
    own = {field: part for field, part in model._asdict().items() if field in parts}
    assert len(own) == 2
    assert all(parts[field] == part for field, part in own.items())


def test_layers_inside_of_the_parts_are_captured_also_under_jit_and_grad() -> None:
    model, params, state, x = made("vae")

    def bound(params: Any) -> Any:
        out, _, found = layers.capture(model, params, state, x, paths=("encoder/*/dense", "decoder"))
        return jnp.square(out.reconstruction).sum(), found

    gradient, found = jax.jit(jax.grad(bound, has_aux=True))(params)
    assert set(found) == {"encoder/hidden_0/dense", "encoder/output/dense", "decoder"}
    first = params["encoder"]["hidden_0"]["dense"]
    expected = x.reshape(6, 12) @ first["kernel"] + first["bias"][None]
    np.testing.assert_allclose(found["encoder/hidden_0/dense"], expected, rtol=1e-5, atol=1e-6)
    expected = jax.jit(jax.grad(lambda p: jnp.square(model.apply(p, state, x)[0].reconstruction).sum()))(params)
    chex.assert_trees_all_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_the_code_of_a_vae_is_captured_where_it_is_drawn() -> None:
    model, params, state, x = made("vae")
    for train in (False, True):
        out, _, found = jax.jit(
            lambda x, train=train: layers.capture(model, params, state, x, paths="sampling", key=KEY, train=train)
        )(x)
        noise = jax.random.normal(jax.random.fold_in(KEY, 1), (6, 2)) * train
        expected = out.mean + jnp.exp(out.log_variance / 2) * noise
        np.testing.assert_allclose(found["sampling"], expected, rtol=1e-5, atol=1e-6)


def test_the_codes_of_a_vector_quantized_autoencoder_are_captured() -> None:
    model, params, state, x = made("vq_vae")
    out, _, found = jax.jit(lambda x: layers.capture(model, params, state, x, paths=("encoder", "codebook")))(x)
    quantized = models.quantize(found["encoder"], params["codebook"])
    chex.assert_trees_all_close(found["codebook"], quantized, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["codebook"].codes, out.codes)


@pytest.mark.long
def test_the_network_of_a_diffusion_model_is_seen_through() -> None:
    model = models.u_net(outputs=1, features=(2, 4), time_features=4)
    params, state = jax.jit(lambda: model.init(KEY, (4, 4, 1), time=()))()
    x, time = jax.random.normal(KEY, (3, 4, 4, 1)), jnp.arange(3.0)
    y, _, found = jax.jit(lambda x: layers.capture(model, params, state, x, time=time))(x)
    np.testing.assert_allclose(y, jax.jit(model.apply)(params, state, x, time=time)[0], rtol=1e-5, atol=1e-6)
    assert set(found) >= set(model.sublayers)
    stem, _ = model.sublayers["stem"].apply(params["stem"], {}, x)
    np.testing.assert_allclose(found["stem"], stem, rtol=1e-5, atol=1e-6)
    pooled, _ = model.sublayers["pool"].apply({}, {}, found["down_0"])
    np.testing.assert_allclose(found["pool"], pooled, rtol=1e-5, atol=1e-6)
    rows = layers.summary(model, (4, 4, 1), time=()).rows
    assert {row.path for row in rows} == {"", *model.sublayers}


@every_model
def test_a_part_is_replaced_and_the_model_stays_of_its_kind(name: str) -> None:
    model, params, _, x = made(name)
    place = [path for path, layer in model.layer.sublayers.items() if repr(layer).startswith(("dense", "conv("))][-1]
    other = layers.replaced(model, place, layers.serial(model.layer.sublayers[place], lambda x: 2.0 * x))
    assert type(other) is type(model)
    outer, _, inner = place.partition("/")
    assert getattr(other, outer).sublayers[f"{inner}/layer_0"] == model.layer.sublayers[place]
    assert getattr(other, outer) == other.layer.sublayers[outer]

    @jax.jit
    def begun(x: Any) -> Any:
        variables = other.layer.init(KEY, x.shape[1:])
        return variables[0], other.layer.apply(*variables, x), layers.capture(other, *variables, x)

    other_params, (y, after), (captured, captured_after, found) = begun(x)
    rest = [{path: each for path, each in every.items() if path != outer} for every in (params, other_params)]
    chex.assert_trees_all_close(*rest, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found[place], 2.0 * found[f"{place}/layer_0"])
    chex.assert_trees_all_close((captured, captured_after), (y, after), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"no layer inside is at '{place}s'; did you mean '{place}'"):
        layers.replaced(model, f"{place}s", layers.dense(2))


@pytest.mark.parametrize("name", ["vae", "vq_vae"])
def test_a_model_with_another_part_is_its_layer_too(name: str) -> None:
    model, shape = MODELS[name]
    other = layers.replaced(model, "decoder/output" if name == "vq_vae" else "decoder/reshape", lambda x: x)
    assert other.apply is other.layer.apply is not model.apply
    assert other.encoder is model.encoder
    with pytest.raises(ValueError, match=rf"{name}: expected examples of shape \({shape[0]}, .*, got \(9,\)"):
        other.init(KEY, (9,))


@every_model
def test_a_model_shows_its_networks(name: str) -> None:
    model, _ = MODELS[name]
    lines = repr(model).splitlines()
    assert lines[0] == f"{type(model).__name__}(" and lines[-1] == ")"
    shown = [line.strip().partition("=")[0] for line in lines if line.startswith("    ") and line[4].isalpha()]
    parts = [path for path in model.layer.sublayers if "/" not in path and path != "sampling"]
    assert shown == parts


class Twins(NamedTuple):
    """Two networks of one's own."""

    first: Layer
    second: Layer

    @property
    def layer(self) -> Layer:
        return layers.serial(first=self.first, second=self.second)


class Opaque:
    """Has its networks as one layer alone."""

    layer = layers.serial(first=layers.dense(2))


def test_a_model_of_ones_own_is_taken_too() -> None:
    model = Twins(layers.dense(3), layers.dense(2))
    params, state = model.layer.init(KEY, (4,))
    found = layers.capture(model, params, state, jnp.ones((5, 4)))[2]
    assert {path: output.shape for path, output in found.items()} == {"first": (5, 3), "second": (5, 2)}
    assert layers.replaced(model, "second", layers.dense(7)) == Twins(layers.dense(3), layers.dense(7))
    assert [row.path for row in layers.summary(Opaque(), (4,)).rows] == ["", "first"]
    with pytest.raises(TypeError, match="replaced: expected a NamedTuple of networks, got Opaque"):
        layers.replaced(Opaque(), "first", layers.dense(3))


def test_a_layer_that_was_changed_by_hand_does_not_seem_empty() -> None:
    chain = layers.serial(first=layers.dense(2))
    changed = chain._replace(init=chain.init)
    params, state = changed.init(KEY, (4,))
    with pytest.raises(ValueError, match="capture: the layer around 'first' cannot be made with other layers inside"):
        layers.capture(changed, params, state, jnp.ones((5, 4)))
    around = layers.serial(inner=changed, act=jnp.tanh)
    params, state = around.init(KEY, (4,))
    assert list(layers.capture(around, params, state, jnp.ones((5, 4)))[2]) == ["inner", "act"]
    with pytest.raises(ValueError, match="capture: the layer around 'inner/first' cannot"):
        layers.capture(around, params, state, jnp.ones((5, 4)), paths="inner/*")


def test_a_graph_of_several_outputs_takes_no_lengths() -> None:
    model = layers.graph(lambda inside, x: {"a": inside.a(x), "b": x}, a=layers.dense(2))
    params, state = model.init(KEY, (3, 4))
    x = jnp.ones((5, 3, 4))
    assert jax.tree.map(jnp.shape, model.apply(params, state, x)[0]) == {"a": (5, 3, 2), "b": (5, 3, 4)}
    assert "float32[3,2], float32[3,4]" in str(layers.summary(model, (3, 4)))
    with pytest.raises(ValueError, match="one array for sequences of unequal lengths, got dict"):
        model.apply(params, state, x, lengths=jnp.array([3, 1, 2, 3, 3]))
