"""Convolutional networks against the same networks in flax linen, with copied parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import models
from tests.compiled import compiled

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 2)), jnp.float32)


class LinenCNN(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3), name="conv_0")(x))
        x = linen.relu(linen.Conv(6, (3, 3), name="conv_1")(x))
        x = linen.max_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1)
        return linen.Dense(3, name="output")(linen.relu(linen.Dense(5, name="hidden")(x)))


def test_cnn_equals_flax() -> None:
    model = compiled(models.cnn(((4, 6),), outputs=3, hidden=(5,)))
    params, state = model.init(jax.random.key(0), (8, 8, 2))
    stage = params["stage_0"]
    copied = {
        "conv_0": stage["conv_0"]["conv"],
        "conv_1": stage["conv_1"]["conv"],
        "hidden": params["hidden_0"]["dense"],
        "output": params["output"],
    }
    expected = jax.jit(LinenCNN().apply)({"params": copied}, X)
    np.testing.assert_allclose(model.apply(params, state, X)[0], expected, rtol=1e-4, atol=1e-5)


class LinenBlock(linen.Module):
    channels: int
    stride: int
    train: bool

    @linen.compact
    def __call__(self, x):
        def norm(name):
            return linen.BatchNorm(use_running_average=not self.train, name=name)

        strides = (self.stride, self.stride)
        y = linen.Conv(self.channels, (3, 3), strides=strides, use_bias=False, name="first")(x)
        y = linen.relu(norm("first_norm")(y))
        y = norm("second_norm")(linen.Conv(self.channels, (3, 3), use_bias=False, name="second")(y))
        if x.shape != y.shape:
            x = linen.Conv(self.channels, (1, 1), strides=strides, use_bias=False, name="shortcut")(x)
            x = norm("shortcut_norm")(x)
        return linen.relu(x + y)


class LinenResnet(linen.Module):
    train: bool

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3), use_bias=False, name="stem")(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not self.train, name="stem_norm")(x))
        x = LinenBlock(4, 1, self.train, name="block_0")(x)
        x = LinenBlock(8, 2, self.train, name="block_1")(x)
        return linen.Dense(3, name="output")(x.mean((1, 2)))


def linen_tree(tree, part):
    """dlkit's parameters ("conv") or normalization entries under linen's names."""

    def pair(name, entry):
        return {name: entry["conv"]} if part == "conv" else {f"{name}_norm": entry["normalization"]}

    def block(entry):
        residual = entry["residual"]
        made = {**pair("first", residual["branch"]["first"]), **pair("second", residual["branch"]["second"])}
        return made | (pair("shortcut", residual["shortcut"]) if "shortcut" in residual else {})

    return {
        **pair("stem", tree["stem"]["first"]),
        "block_0": block(tree["stage_0_block_0"]),
        "block_1": block(tree["stage_1_block_0"]),
    }


def merged(first, second):
    return {
        name: merged(first.get(name, {}), second.get(name, {}))
        if isinstance(first.get(name, second.get(name)), dict) and name.startswith("block")
        else first.get(name, second.get(name))
        for name in {**first, **second}
    }


@pytest.mark.long
@pytest.mark.parametrize("train", [True, False])
def test_resnet_equals_flax(train: bool) -> None:
    model = compiled(models.resnet((1, 1), outputs=3, features=4))
    params, state = model.init(jax.random.key(0), (8, 8, 2))
    state = jax.tree.map(lambda leaf: leaf + 0.25, state)
    copied = merged(linen_tree(params, "conv"), linen_tree(params, "norm")) | {"output": params["output"]}
    statistics = jax.tree.map(
        lambda entry: {"mean": entry["mean"], "var": entry["var"]},
        linen_tree(state, "norm"),
        is_leaf=lambda entry: isinstance(entry, dict) and "mean" in entry,
    )
    variables = {"params": copied, "batch_stats": statistics}
    reference = jax.jit(lambda variables, x: LinenResnet(train=train).apply(variables, x, mutable=["batch_stats"]))
    expected, _ = reference(variables, X)
    y, _ = model.apply(params, state, X, key=jax.random.key(1), train=train)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_resnet_20_has_the_papers_number_of_parameters() -> None:
    """He et al., 2015, table 6: 0.27 million for CIFAR-10."""
    model = models.resnet((3, 3, 3), outputs=10)
    params, _ = jax.eval_shape(lambda key: model.init(key, (32, 32, 3)), jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    # 3x3 convolutions: stem, 6 + 6 + 6 in the stages; two 1x1 shortcuts; batch norms; the output.
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64) + 16 * 32 + 32 * 64
    normalizations = 2 * (7 * 16 + 7 * 32 + 7 * 64)
    assert count == convolutions + normalizations + 64 * 10 + 10
    assert 0.27e6 < count < 0.28e6


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (models.cnn, {"stages": ((4,),), "hidden": (5,), "outputs": 3}),
        (models.resnet, {"blocks": (1,), "features": 4, "outputs": 3}),
    ],
)
@pytest.mark.parametrize("normalization", [None, "batch", "layer", "group", "instance"])
def test_normalizations_are_arguments(model, changes, normalization) -> None:
    made = compiled(model(normalization=normalization, activation="prelu", dropout=0.5, **changes))
    params, state = made.init(jax.random.key(0), (8, 8, 2))

    def total(params, x):
        y, new_state = made.apply(params, state, x, key=jax.random.key(1), train=True)
        return y.sum(), new_state

    (value, new_state), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(params, X)
    assert np.isfinite(float(value))
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    assert bool(jax.tree.leaves(state)) == (normalization == "batch")
    slopes = [leaf for path, leaf in jax.tree.leaves_with_path(gradients) if "negative_slope" in str(path)]
    assert slopes and all(np.any(np.asarray(leaf) != 0) for leaf in slopes)


def test_the_same_seed_gives_the_same_bits_with_another_activation_or_normalization() -> None:
    plain, _ = models.cnn(((4,),), outputs=3).init(jax.random.key(0), (8, 8, 2))
    other, _ = models.cnn(((4,),), outputs=3, activation="tanh", normalization="batch", dropout=0.5).init(
        jax.random.key(0), (8, 8, 2)
    )
    for name in ("stage_0", "hidden_0"):
        entry, changed = (tree[name].get("conv_0", tree[name]) for tree in (plain, other))
        kernel = "conv" if "conv" in entry else "dense"
        np.testing.assert_array_equal(entry[kernel]["kernel"], changed[kernel]["kernel"])


@pytest.mark.parametrize("normalization", [None, "none"])
def test_without_normalization_a_resnet_has_biases(normalization) -> None:
    model = models.resnet((1,), outputs=3, features=4, normalization=normalization)
    params, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), (8, 8, 2)))
    assert params["stem"]["first"]["conv"]["bias"].shape == (4,)


def test_cnn_in_one_dimension() -> None:
    model = compiled(models.cnn(((4,), (4,)), outputs=2, kernel_size=(3,), hidden=()))
    params, state = model.init(jax.random.key(0), (16, 3))
    assert model.apply(params, state, jnp.ones((2, 5, 16, 3)))[0].shape == (2, 5, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.cnn((), outputs=3), "cnn: expected stages to list the channels"),
        (lambda: models.cnn(((),), outputs=3), "cnn: expected stages to list the channels"),
        (lambda: models.cnn(((4,),), outputs=0), "cnn: expected outputs to be an integer of at least 1"),
        (lambda: models.resnet((), outputs=3), "resnet: expected blocks"),
        (lambda: models.resnet((1, 0), outputs=3), r"resnet: expected blocks\[1\] to be an integer of at least 1"),
    ],
)
def test_refuses(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
