"""Weights of PyTorch and flax: the same outputs there and here, and back; what does not fit is named."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers, models
from dlkit.layers import Layer

RNG = np.random.default_rng(0)


def filled(layer: Layer, shape: tuple[int, ...], **side: Any) -> tuple[Any, Any]:
    """Parameters and a state that no initializer makes; variances above 0."""
    made = jax.eval_shape(lambda: layer.init(jax.random.key(0), shape, **side))
    rng = np.random.default_rng(1)
    return tuple(
        jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.2, 1.0, leaf.shape), jnp.float32), tree) for tree in made
    )


def random_state(module: Any, torch: Any) -> dict[str, Any]:
    """Numbers for all that a module has."""
    rng = np.random.default_rng(2)
    return {
        name: torch.tensor(rng.uniform(0.1, 0.6, tuple(each.shape)).astype(np.float32) * (1 if "var" in name else 0.8))
        for name, each in module.state_dict().items()
        if each.dtype.is_floating_point
    }


def torch_pairs(torch: Any) -> dict[str, tuple[Layer, tuple[int, ...], Any, dict[str, str], Callable[[Any], Any]]]:
    """Layer, example, module, names, and how the module is called with inputs as ours has them."""
    nn = torch.nn

    def channels_first(module: Any, spatial: int) -> Callable[[Any], Any]:
        return lambda x: module(x.movedim(-1, 1)).movedim(1, -1) if spatial else module(x)

    conv = nn.Conv2d(4, 6, (3, 2), groups=2)
    turned = nn.ConvTranspose1d(3, 5, 4, stride=2)
    chain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    own = layers.serial(
        first=layers.dense(4), norm=layers.batch_norm(), act=jax.nn.relu, last=layers.dense(2, use_bias=False)
    )
    encoder = nn.TransformerEncoderLayer(6, 2, 8, 0.0, activation="gelu", batch_first=True, norm_first=True)
    block = layers.transformer_block(2, mlp_features=8, normalization=layers.layer_norm(epsilon=1e-5))
    of_block = {"attention": "self_attn", "attention_norm": "norm1", "mlp_norm": "norm2"}
    of_block |= {"mlp/hidden": "linear1", "mlp/output": "linear2"}
    recurrent = {
        name: (
            getattr(layers, name)(3, depth=2, bidirectional=True),
            (4, 5),
            getattr(nn, name.upper())(5, 3, 2, bidirectional=True, batch_first=True),
            {"": ""},
        )
        for name in ("rnn", "gru", "lstm")
    }
    return {
        "conv": (layers.conv(6, (3, 2), groups=2, padding="VALID"), (5, 4, 4), conv, {"": ""}, channels_first(conv, 2)),
        "conv_transpose": (
            layers.conv_transpose(5, (4,), strides=2, padding="VALID"),
            (3, 3),
            turned,
            {"": ""},
            channels_first(turned, 1),
        ),
        "chain": (own, (3,), chain, {"first": "0", "norm": "1", "last": "3"}, chain),
        "embedding": (layers.embedding(7, 3), (4,), table := nn.Embedding(7, 3), {"": ""}, table),
        "transformer_block": (block, (4, 6), encoder, of_block, encoder),
        **{name: (*each, lambda x, module=each[2]: module(x)[0]) for name, each in recurrent.items()},
    }


@pytest.mark.long
def test_layers_with_the_weights_of_torch_give_its_outputs() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    for name, (layer, shape, module, names, call) in torch_pairs(torch).items():
        weights = random_state(module, torch)
        module.eval().load_state_dict(weights, strict=False)
        params, state = models.from_torch(layer, *filled(layer, shape), weights, names)
        x = RNG.normal(size=(3, *shape)).astype(np.float32)
        x = RNG.integers(0, 7, (3, *shape)) if name == "embedding" else x
        with torch.no_grad():
            expected = call(torch.tensor(x))
        actual, _ = layer.apply(params, state, jnp.asarray(x))
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
        back = models.to_torch(layer, params, state, names)
        assert set(back) == set(weights), name
        for each, array in back.items():
            if name in ("rnn", "gru", "lstm") and each.startswith("bias"):
                continue  # two biases there are one here
            np.testing.assert_array_equal(array, weights[each].numpy(), err_msg=f"{name}: {each}")


class Network(linen.Module):
    """All kinds of layers that have a like in flax."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Conv(4, (3,), padding="SAME")(x)
        x = linen.BatchNorm(use_running_average=True, epsilon=1e-5)(x)
        x = linen.LayerNorm()(linen.MultiHeadDotProductAttention(2)(x, x))
        x = linen.RNN(linen.GRUCell(3))(x)
        x = linen.RNN(linen.OptimizedLSTMCell(3))(x)
        return linen.Dense(2)(x)


@pytest.mark.long
def test_a_model_with_the_variables_of_flax_gives_its_outputs() -> None:
    layer = layers.serial(
        conv=layers.conv(4, (3,)),
        norm=layers.batch_norm(),
        attention=layers.multi_head_attention(2),
        scale=layers.layer_norm(),
        gru=layers.gru(3),
        lstm=layers.lstm(3),
        head=layers.dense(2),
    )
    names = {
        "conv": "Conv_0",
        "norm": "BatchNorm_0",
        "attention": "MultiHeadDotProductAttention_0",
        "scale": "LayerNorm_0",
        "gru": "GRUCell_0",
        "lstm": "OptimizedLSTMCell_0",
        "head": "Dense_0",
    }
    x = jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32)
    made = jax.eval_shape(Network().init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: jnp.asarray(RNG.uniform(0.2, 1.0, leaf.shape), jnp.float32), made)
    params, state = models.from_flax(layer, *filled(layer, (5, 3)), variables, names)
    expected = Network().apply(variables, x)
    np.testing.assert_allclose(layer.apply(params, state, x)[0], expected, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(models.to_flax(layer, params, state, names), variables)


def resnet_of_torch(functional: Any, x: Any, weights: dict[str, Any], blocks: tuple[int, ...], convs: int) -> Any:
    """The network of torchvision, written down by its names."""

    def conv(x: Any, name: str, norm: str, stride: int) -> Any:
        kernel = weights[f"{name}.weight"]
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        parts = [weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    x = functional.max_pool2d(functional.relu(conv(x, "conv1", "bn1", 2)), 3, 2, 1)
    for stage, count in enumerate(blocks, start=1):
        for place in range(count):
            name, stride = f"layer{stage}.{place}", 2 if stage > 1 and place == 0 else 1
            h = x
            for number in range(1, convs + 1):
                strided = stride if number == (1 if convs == 2 else 2) else 1
                h = conv(h, f"{name}.conv{number}", f"{name}.bn{number}", strided)
                h = functional.relu(h) if number < convs else h
            if f"{name}.downsample.0.weight" in weights:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = functional.relu(h + x)
    return functional.linear(x.mean((2, 3)), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.long
@pytest.mark.parametrize(("make", "convs"), [(models.resnet18, 2), (models.resnet50, 3)], ids=["18", "50"])
def test_a_resnet_is_that_of_torchvision(make: Callable[..., Layer], convs: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    model = make(outputs=3, features=2)
    params, state = filled(model, (33, 33, 3))
    params = jax.tree.map(lambda leaf: (leaf - 0.6) / np.sqrt(max(leaf[..., 0].size, 1)), params)
    names = models.torch_names(model)
    weights = {name: torch.tensor(array) for name, array in models.to_torch(model, params, state, names).items()}
    x = RNG.normal(size=(2, 33, 33, 3)).astype(np.float32)
    blocks = (2, 2, 2, 2) if convs == 2 else (3, 4, 6, 3)
    expected = resnet_of_torch(torch.nn.functional, torch.tensor(x).movedim(-1, 1), weights, blocks, convs)
    actual = jax.jit(layers.evaluate(model))(params, state, x)
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-4, atol=1e-5)
    again = models.from_torch(model, *filled(model, (33, 33, 3)), weights, names)
    chex.assert_trees_all_equal(again[0], params)
    for path, name in names.items():  # the statistics of the last batch are ours alone
        if name.startswith(("bn", "layer")) and "normalization" in path:
            here, there = again[1], state
            for part in path.split("/"):
                here, there = here[part], there[part]
            np.testing.assert_array_equal(here["var"], there["var"])


@pytest.mark.long
def test_published_models_have_as_many_parameters() -> None:
    """As torchvision counts them, for 1,000 classes."""
    counts = {
        models.resnet18(outputs=1000): 11_689_512,
        models.resnet50(outputs=1000): 25_557_032,
        models.vit(outputs=1000): 86_567_656,
    }
    for model, count in counts.items():
        params, _ = jax.eval_shape(lambda key, model=model: model.init(key, (224, 224, 3)), jax.random.key(0))
        assert layers.parameter_count(params) == count


@pytest.mark.long
def test_a_vision_transformer_is_that_of_torchvision() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    model = models.vit(outputs=3, patch_size=4, features=8, heads=2, depth=2)
    params, state = filled(model, (8, 12, 3))
    params = jax.tree.map(lambda leaf: leaf - 0.6, params)
    names = models.torch_names(model)
    weights = {name: torch.tensor(array) for name, array in models.to_torch(model, params, state, names).items()}
    x = RNG.normal(size=(2, 8, 12, 3)).astype(np.float32)
    functional = torch.nn.functional
    patches = functional.conv2d(
        torch.tensor(x).movedim(-1, 1), weights["conv_proj.weight"], weights["conv_proj.bias"], stride=4
    )
    h = patches.flatten(2).movedim(1, 2)
    h = torch.cat([weights["class_token"].expand(2, -1, -1), h], dim=1) + weights["encoder.pos_embedding"]

    def norm(h: Any, name: str) -> Any:
        return functional.layer_norm(h, (8,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def linear(h: Any, name: str) -> Any:
        return functional.linear(h, weights[f"{name}.weight"], weights[f"{name}.bias"])

    for place in range(2):
        name = f"encoder.layers.encoder_layer_{place}"
        attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        prefix = f"{name}.self_attention."
        attention.load_state_dict({key.removeprefix(prefix): w for key, w in weights.items() if key.startswith(prefix)})
        seen = norm(h, f"{name}.ln_1")
        h = h + attention(seen, seen, seen)[0]
        hidden = functional.linear(
            norm(h, f"{name}.ln_2"), weights[f"{name}.mlp.0.weight"], weights[f"{name}.mlp.0.bias"]
        )
        h = h + functional.linear(
            functional.gelu(hidden), weights[f"{name}.mlp.3.weight"], weights[f"{name}.mlp.3.bias"]
        )
    expected = linear(norm(h, "encoder.ln")[:, 0], "heads.head")
    np.testing.assert_allclose(
        layers.evaluate(model)(params, state, jnp.asarray(x)), expected.detach().numpy(), rtol=1e-4, atol=1e-4
    )
    chex.assert_trees_all_equal(models.from_torch(model, *filled(model, (8, 12, 3)), weights, names)[0], params)


def test_what_does_not_fit_is_named() -> None:
    layer = layers.serial(first=layers.dense(4), act=jax.nn.relu, last=layers.dense(2))
    params, state = filled(layer, (3,))
    names = {"first": "0", "last": "2"}
    weights = models.to_torch(layer, params, state, names)
    wrong: list[tuple[dict[str, Any], dict[str, str], type[Exception], str]] = [
        (weights, {"first": "0"}, ValueError, "names for all layers with parameters, got none for 'last/bias'"),
        (weights, {"frist": "0"}, ValueError, "no layer inside is at 'frist'; did you mean 'first'"),
        (weights, {**names, "act": "1"}, TypeError, "has no like there that is known"),
        ({**weights, "3.weight": np.ones(2)}, names, ValueError, "a use for every entry, got none for '3.weight'"),
        (
            {**weights, "0.weight": np.ones((4, 5))},
            names,
            ValueError,
            r"expected \[3, 4\] for 'kernel' .* got \[5, 4\]",
        ),
        ({**weights, "2.num_batches_tracked": np.ones(())}, {"first": "0", "last": "4"}, ValueError, "'4.weight'"),
    ]
    for given, table, error, words in wrong:
        with pytest.raises(error, match=words):
            models.from_torch(layer, params, state, given, table)
    with pytest.raises(ValueError, match="expected a model as resnet18, resnet50 or vit make it"):
        models.torch_names(layer)
