"""The transformer block against flax and torch, and what its parts see."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers

RNG = np.random.default_rng(0)
TIME, FEATURES, HEADS = 5, 6, 2
X = jnp.asarray(RNG.normal(size=(3, TIME, FEATURES)), jnp.float32)
LENGTHS = jnp.array([5, 2, 2])
WITHIN = jnp.arange(TIME)[None, :] < LENGTHS[:, None]


def filled(layer: layers.Layer):
    """Parameters that are not at their special initial values, and the state."""
    params, state = layer.init(jax.random.key(0), (TIME, FEATURES))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(0.0, 0.3, leaf.shape), jnp.float32), params), state


class Reference(linen.Module):
    """The block in flax, with GELU and layer normalization."""

    pre_norm: bool

    @linen.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        norms = linen.LayerNorm(name="attention_norm"), linen.LayerNorm(name="mlp_norm")
        attention = linen.MultiHeadDotProductAttention(HEADS, name="attention")
        hidden, output = linen.Dense(4 * FEATURES, name="hidden"), linen.Dense(FEATURES, name="output")

        def transform(h):
            return output(linen.gelu(hidden(h), approximate=False))

        if self.pre_norm:
            h = x + attention(norms[0](x), mask=mask)
            return h + transform(norms[1](h))
        h = norms[0](x + attention(x, mask=mask))
        return norms[1](h + transform(h))


def in_flax(params):
    """The parameters with the names and shapes of `Reference`."""
    heads = (HEADS, FEATURES // HEADS)
    attention = {
        name: jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-1], *heads), params["attention"][name])
        for name in ("query", "key", "value")
    }
    kernel, bias = params["attention"]["output"]["kernel"], params["attention"]["output"]["bias"]
    attention["out"] = {"kernel": kernel.reshape(*heads, FEATURES), "bias": bias}
    return {name: params[name] for name in ("attention_norm", "mlp_norm")} | {"attention": attention} | params["mlp"]


@pytest.mark.long
@pytest.mark.parametrize("pre_norm", [True, False])
def test_equals_flax_in_values_and_gradients(pre_norm: bool) -> None:
    layer = layers.transformer_block(HEADS, pre_norm=pre_norm, causal=True)
    params, state = filled(layer)
    mask = linen.make_causal_mask(X[..., 0], dtype=bool)

    def pull_back(apply):
        def results(params, x):
            y, vjp = jax.vjp(apply, params, x)
            return y, vjp(jnp.cos(y))

        return jax.jit(results)(params, X)

    chex.assert_trees_all_close(
        pull_back(lambda params, x: layer.apply(params, state, x)[0]),
        pull_back(lambda params, x: Reference(pre_norm).apply({"params": in_flax(params)}, x, mask)),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("pre_norm", [True, False])
def test_equals_torch(pre_norm: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    layer = layers.transformer_block(
        HEADS, pre_norm=pre_norm, activation="relu", normalization=layers.layer_norm(epsilon=1e-5), mlp_features=7
    )
    params, state = filled(layer)
    reference = torch.nn.TransformerEncoderLayer(
        FEATURES, HEADS, dim_feedforward=7, dropout=0.0, batch_first=True, norm_first=pre_norm
    )
    attention = params["attention"]
    projections = [attention[name] for name in ("query", "key", "value")]
    copied = {
        "self_attn.in_proj_weight": np.concatenate([each["kernel"].T for each in projections]),
        "self_attn.in_proj_bias": np.concatenate([each["bias"] for each in projections]),
        "self_attn.out_proj.weight": attention["output"]["kernel"].T,
        "self_attn.out_proj.bias": attention["output"]["bias"],
        **{
            f"norm{place}.{torch_name}": params[norm][name]
            for place, norm in ((1, "attention_norm"), (2, "mlp_norm"))
            for torch_name, name in (("weight", "scale"), ("bias", "bias"))
        },
        "linear1.weight": params["mlp"]["hidden"]["kernel"].T,
        "linear1.bias": params["mlp"]["hidden"]["bias"],
        "linear2.weight": params["mlp"]["output"]["kernel"].T,
        "linear2.bias": params["mlp"]["output"]["bias"],
    }
    reference.load_state_dict({name: torch.tensor(np.array(leaf)) for name, leaf in copied.items()})
    x = torch.tensor(np.array(X), requires_grad=True)
    y = reference(x)  # in training mode: torch's fast path for evaluation is another implementation
    torch.sin(y).sum().backward()
    actual, vjp = jax.vjp(lambda x: layer.apply(params, state, x)[0], X)
    np.testing.assert_allclose(actual, y.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vjp(jnp.cos(actual))[0], x.grad, rtol=1e-3, atol=1e-4)


def test_the_structure_of_the_parameters() -> None:
    params, state = layers.transformer_block(HEADS).init(jax.random.key(0), (TIME, FEATURES))
    square, norm = {"kernel": (6, 6), "bias": (6,)}, {"scale": (6,), "bias": (6,)}
    assert jax.tree.map(jnp.shape, params) == {
        "attention_norm": norm,
        "attention": dict.fromkeys(("query", "key", "value", "output"), square),
        "mlp_norm": norm,
        "mlp": {"hidden": {"kernel": (6, 24), "bias": (24,)}, "output": {"kernel": (24, 6), "bias": (6,)}},
    }
    assert state == {}
    kernels = [params["attention"]["query"]["kernel"], params["attention"]["key"]["kernel"]]
    assert (kernels[0] != kernels[1]).all()

    layer = layers.transformer_block(
        HEADS, normalization=None, use_bias=False, kernel_init=jax.nn.initializers.ones, mlp_features=8
    )
    params, _ = layer.init(jax.random.key(0), (TIME, FEATURES))
    assert sorted(params) == ["attention", "mlp"] and all((leaf == 1).all() for leaf in jax.tree.leaves(params))
    assert params["mlp"]["hidden"]["kernel"].shape == (6, 8)


@pytest.mark.long
def test_a_gated_activation_halves_the_hidden_features() -> None:
    layer = layers.transformer_block(HEADS, activation="swiglu", normalization="rms", mlp_features=8)
    params, state = filled(layer)
    assert params["mlp"]["output"]["kernel"].shape == (4, FEATURES)
    params["attention"]["output"] = jax.tree.map(jnp.zeros_like, params["attention"]["output"])
    y, _ = layer.apply(params, state, X)
    # By hand, without attention: x + (silu(a) * b) W_2 + b_2 with [a, b] = norm(x) W_1 + b_1.
    x = np.asarray(X, np.float64)
    mlp = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["mlp"])
    h = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * np.asarray(params["mlp_norm"]["scale"])
    gate, value = np.split(h @ mlp["hidden"]["kernel"] + mlp["hidden"]["bias"], 2, axis=-1)
    expected = x + gate / (1 + np.exp(-gate)) * value @ mlp["output"]["kernel"] + mlp["output"]["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("pre_norm", [True, False])
def test_lengths_equal_cutting_even_if_the_padding_is_nan(pre_norm: bool) -> None:
    layer = layers.transformer_block(HEADS, pre_norm=pre_norm)
    params, state = filled(layer)
    x = jnp.where(WITHIN[..., None], X, jnp.nan)

    def total(params, x):
        y, _ = layer.apply(params, state, x, lengths=LENGTHS)
        return jnp.sum(jnp.where(WITHIN[..., None], jnp.sin(y), 0)), y

    (_, y), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(params, x)
    cut = jax.jit(lambda params, x: layer.apply(params, state, x)[0])
    for position, length in enumerate(LENGTHS.tolist()):
        alone = cut(params, X[position, :length])
        np.testing.assert_allclose(y[position, :length], alone, rtol=1e-4, atol=1e-5)
    chex.assert_tree_all_finite(gradients)


def test_a_mask_and_causality_decide_what_a_position_sees() -> None:
    allowed = jnp.eye(TIME, dtype=bool)[None].at[0, 3, 1].set(True).at[0, 0, 4].set(True)
    layer = layers.transformer_block(HEADS, causal=True)
    params, state = filled(layer)
    jacobian = jax.jit(jax.jacobian(lambda x: layer.apply(params, state, x, mask=allowed)[0].sum((0, 2))))(X[:1])
    depends = np.abs(np.asarray(jacobian)).max((1, 3)) > 0
    np.testing.assert_array_equal(depends, np.asarray(allowed[0]) & np.tri(TIME, dtype=bool))


@pytest.mark.long
def test_dropout_acts_in_every_place_with_its_own_subkey_while_training() -> None:
    @jax.jit
    def trained(rate: jax.Array, params, x: jax.Array, key: jax.Array) -> jax.Array:
        return layers.transformer_block(HEADS, dropout=rate).apply(params, state, x, key=key, train=True)[0]

    plain, layer, key = layers.transformer_block(HEADS), layers.transformer_block(HEADS, dropout=0.5), jax.random.key(1)
    params, state = filled(plain)
    evaluated, _ = layer.apply(params, state, X)
    np.testing.assert_array_equal(evaluated, plain.apply(params, state, X)[0])
    with pytest.raises(ValueError, match="expected a key while training, got None"):
        layer.apply(params, state, X, train=True)
    first, second = (trained(0.5, params, X, jax.random.key(seed)) for seed in (1, 2))
    np.testing.assert_allclose(layer.apply(params, state, X, key=key, train=True)[0], first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trained(0.0, params, X, key), evaluated, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(first - second)).max() > 0.1

    # Biases only: what is added to the shortcuts is b_o and b_2, each kept (and doubled) or dropped by itself.
    only = jax.tree.map(jnp.zeros_like, params)
    only["attention"]["output"]["bias"] = jnp.full(FEATURES, 1.0)
    only["mlp"]["output"]["bias"] = jnp.full(FEATURES, 10.0)
    values, counts = np.unique(trained(0.5, only, jnp.zeros((200, TIME, FEATURES)), key), return_counts=True)
    assert values.tolist() == [0.0, 2.0, 20.0, 22.0]
    # 6,000 values, a quarter each: five standard deviations of a binomial share.
    np.testing.assert_allclose(counts / 6_000, np.full(4, 0.25), atol=5 * np.sqrt(0.25 * 0.75 / 6_000))


def test_both_batch_normalizations_keep_a_state_of_their_own() -> None:
    layer = layers.transformer_block(HEADS, normalization="batch")
    params, state = filled(layer)
    _, new_state = layer.apply(params, state, X, train=True)
    assert sorted(new_state) == ["attention_norm", "mlp_norm"]
    np.testing.assert_allclose(new_state["attention_norm"]["batch_mean"], X.mean((0, 1)), rtol=1e-4, atol=1e-6)
    assert np.abs(np.asarray(new_state["mlp_norm"]["batch_mean"] - X.mean((0, 1)))).min() > 1e-4
    chex.assert_trees_all_equal(layer.apply(params, state, X)[1], state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.transformer_block(0),
            "transformer_block: expected heads to be an integer of at least 1, got 0",
        ),
        (lambda: layers.transformer_block(2, mlp_features=0), "expected mlp_features to be an integer of at least 1"),
        (lambda: layers.transformer_block(2, activation="gelo"), "did you mean 'gelu'"),
        (lambda: layers.transformer_block(2, normalization="lay"), "did you mean 'layer'"),
        (lambda: layers.transformer_block(2, dropout=1.5), "expected dropout at least 0 and below 1, got 1.5"),
        (
            lambda: layers.transformer_block(4).init(jax.random.key(0), (TIME, FEATURES)),
            "expected features that 4 heads divide, got 6",
        ),
        (
            lambda: layers.transformer_block(2).init(jax.random.key(0), (FEATURES,)),
            r"transformer_block: expected an example shape \(time, features\), got \(6,\)",
        ),
    ],
)
def test_bad_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "inputs", "error", "message"),
    [
        (X[..., :4], {}, ValueError, r"transformer_block: expected inputs \[\*batch, time, 6\], got float32\[3,5,4\]"),
        (X[0, 0], {}, ValueError, r"transformer_block: expected inputs \[\*batch, time, 6\], got float32\[6\]"),
        (X.astype(jnp.int32), {}, TypeError, r"transformer_block: expected floating-point inputs, got int32\[3,5,6\]"),
        (X, {"lengths": LENGTHS[:2]}, ValueError, r"transformer_block: expected one length .* \[3\], got int32\[2\]"),
        (X, {"mask": WITHIN}, ValueError, r"expected a mask \[3, 5, 5\], .* got bool\[3,5\]"),
    ],
)
def test_bad_inputs_are_refused(x, inputs, error: type[Exception], message: str) -> None:
    layer = layers.transformer_block(HEADS)
    params, state = filled(layer)
    with pytest.raises(error, match=message):
        inspect.unwrap(layer.apply)(params, state, x, **inputs)


@pytest.mark.long
def test_a_block_with_a_context_equals_the_decoder_layer_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    heads, features, hidden = 2, 6, 5
    block = layers.transformer_block(
        heads,
        mlp_features=hidden,
        context_features=features,
        causal=True,
        activation="relu",
        normalization=layers.layer_norm(epsilon=1e-5),
    )
    params, _ = block.init(jax.random.key(0), (4, features), context=(3, features))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.5, leaf.shape), jnp.float32), params)
    reference = torch.nn.TransformerDecoderLayer(features, heads, hidden, 0.0, batch_first=True, norm_first=True)

    def tensor(array: jax.Array) -> "torch.Tensor":
        return torch.tensor(np.array(array))

    values = {
        f"linear{place}.{kind}": tensor(params["mlp"][name][part].T)
        for place, name in ((1, "hidden"), (2, "output"))
        for kind, part in (("weight", "kernel"), ("bias", "bias"))
    }
    for theirs, ours in (("self_attn", "attention"), ("multihead_attn", "context_attention")):
        parts = [params[ours][name] for name in ("query", "key", "value")]
        values[f"{theirs}.in_proj_weight"] = torch.cat([tensor(part["kernel"].T) for part in parts])
        values[f"{theirs}.in_proj_bias"] = torch.cat([tensor(part["bias"]) for part in parts])
        values[f"{theirs}.out_proj.weight"] = tensor(params[ours]["output"]["kernel"].T)
        values[f"{theirs}.out_proj.bias"] = tensor(params[ours]["output"]["bias"])
    for place, name in enumerate(("attention_norm", "context_norm", "mlp_norm"), start=1):
        values[f"norm{place}.weight"], values[f"norm{place}.bias"] = map(
            tensor, (params[name]["scale"], params[name]["bias"])
        )
    reference.load_state_dict(values)
    x, context = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, features), (2, 3, features)))
    lengths = np.array([3, 1])
    expected = reference.eval()(
        torch.tensor(x),
        torch.tensor(context),
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(4),
        memory_key_padding_mask=torch.arange(3)[None] >= torch.tensor(lengths)[:, None],
    )
    actual, _ = block.apply(
        params, {}, jnp.asarray(x), context=jnp.asarray(context), context_lengths=jnp.asarray(lengths)
    )
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
