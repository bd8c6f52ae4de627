"""The transformer block."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from dlkit import checks
from dlkit.layers.activation import activation as activation_layer
from dlkit.layers.attention import multi_head_attention
from dlkit.layers.base import Layer
from dlkit.layers.by_name import normalization as normalization_layer
from dlkit.layers.combine import serial
from dlkit.layers.dense import default_kernel_init, dense
from dlkit.layers.dropout import dropout as dropout_layer
from dlkit.layers.ragged import apply_ragged, within_lengths
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["transformer_block"]


def transformer_block(
    heads: int,
    *,
    mlp_features: int | None = None,
    activation: str | ArrayFunction | Layer = "gelu",
    normalization: str | Layer | None = "layer",
    pre_norm: bool = True,
    causal: bool = False,
    rotation: ArrayFunction | None = None,
    dropout: Scalar = 0.0,
    use_bias: bool = True,
    kernel_init: Initializer = default_kernel_init,
) -> Layer:
    """Transformer block: self-attention, then a perceptron at each position, each around a shortcut.

    h = x + attention(norm(x)), y = h + mlp(norm(h)), where mlp(h) = activation(h W_1 + b_1) W_2 + b_2. With `pre_norm`
    false the normalization comes last, as in the paper: h = norm(x + attention(x)), y = norm(h + mlp(h)). While
    training, dropout acts on the attention weights, after the activation, and on what is added to a shortcut.

    `apply` takes `mask=` and `lengths=` beside the usual arguments, as that of `multi_head_attention`. With lengths,
    padding enters as 0, so that what it holds matters to nothing, even if it is NaN; nor does a batch normalization
    count it.

    Parameters: `{"attention_norm", "attention", "mlp_norm", "mlp": {"hidden", "output"}}`, each as its layer makes it.

    Args:
        heads: number of attention heads; divides the features.
        mlp_features: outputs of W_1; None takes 4 features. A gated activation halves them before W_2: "swiglu" with
            16/3 features has as many weights as "gelu" with 4.
        activation: a name, function or layer, as `layers.activation` takes it.
        normalization: a name or layer, as `layers.normalization` takes it; None for none.
        pre_norm: whether the normalization comes before attention and perceptron, or after their shortcuts.
        causal: whether a position may attend to itself and earlier ones only.
        rotation: applied to queries and keys, e.g. `layers.rotary`.
        dropout: probability of dropping a value; may be traced.
        use_bias: whether the maps of attention and perceptron have a bias.
        kernel_init: initialization of every kernel; LeCun normal.

    Returns:
        A layer for inputs `[*batch, time, features]`; the shape is kept.

    Raises:
        ValueError: a size is no positive integer; heads does not divide the features; a name is unknown; dropout is a
            Python number out of range; the inputs, mask and lengths do not fit; or there is no key where dropout needs
            one.
        TypeError: the inputs are not floating point, the mask not boolean, or the lengths not integers.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762;
        Xiong et al., "On layer normalization in the transformer architecture", 2020, https://arxiv.org/abs/2002.04745.

    Example:
        >>> layer = transformer_block(2, activation="swiglu", normalization="rms", causal=True)
        >>> params, state = layer.init(jax.random.key(0), (5, 8))
        >>> y, state = layer.apply(params, state, jnp.ones((3, 5, 8)))
        >>> y.shape, params["mlp"]["hidden"]["kernel"].shape, params["mlp"]["output"]["kernel"].shape
        ((3, 5, 8), (8, 32), (16, 8))
    """
    sizes = {"heads": heads} if mlp_features is None else {"heads": heads, "mlp_features": mlp_features}
    checks.require_size("transformer_block", **sizes)
    attention = multi_head_attention(
        heads, causal=causal, rotation=rotation, dropout=dropout, use_bias=use_bias, kernel_init=kernel_init
    )
    norm, function, drop = normalization_layer(normalization), activation_layer(activation), dropout_layer(dropout)

    def parts(features: int) -> dict[str, Layer]:
        hidden = dense(mlp_features or 4 * features, use_bias=use_bias, kernel_init=kernel_init)
        output = dense(features, use_bias=use_bias, kernel_init=kernel_init)
        return {
            "attention_norm": norm,
            "attention": attention,
            "attention_dropout": drop,
            "mlp_norm": norm,
            "mlp": serial(hidden, function, drop, output, names=("hidden", "activation", "dropout", "output")),
            "mlp_dropout": drop,
        }

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        if len(input_shape) != 2 or min(input_shape) < 1:
            raise ValueError(f"transformer_block: expected an example shape (time, features), got {tuple(input_shape)}")
        return _init_parts(parts(input_shape[1]), key, input_shape)

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
        mask: Bool[Array, "..."] | None = None,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time features"], State]:
        checks.require_floating("transformer_block", inputs=x)
        features = params["attention"]["query"]["kernel"].shape[0]
        if x.ndim < 2 or x.shape[-1] != features:
            raise ValueError(f"transformer_block: expected inputs [*batch, time, {features}], got {jax.typeof(x)}")
        if lengths is not None:
            within = within_lengths("transformer_block", lengths, x.shape[:-1])
            x = jnp.where(jnp.expand_dims(within, -1), x, 0)
        run, new_state = _runner(parts(features), params, state, lengths, key=key, train=train, mask=mask)

        def attend(x: Array) -> Array:
            return run("attention_dropout", run("attention", x))

        def transform(x: Array) -> Array:
            return run("mlp_dropout", run("mlp", x))

        if pre_norm:
            h = x + attend(run("attention_norm", x))
            return h + transform(run("mlp_norm", h)), new_state
        h = run("attention_norm", x + attend(x))
        return run("mlp_norm", h + transform(h)), new_state

    return Layer(init, apply)


def _init_parts(parts: dict[str, Layer], key: Key, input_shape: Shape) -> tuple[Params, State]:
    """Initialize layers with the same input shape; those without parameters or state have no entry there."""
    params: dict[str, Params] = {}
    state: dict[str, State] = {}
    for place, (name, layer) in enumerate(parts.items()):
        layer_params, layer_state = layer.init(jax.random.fold_in(key, place), input_shape)
        params |= {name: layer_params} if layer_params else {}
        state |= {name: layer_state} if layer_state else {}
    return params, state


def _runner(
    parts: dict[str, Layer],
    params: Params,
    state: State,
    lengths: Array | None,
    *,
    key: Key | None,
    train: bool,
    mask: Array | None,
) -> tuple[Callable[[str, Array], Array], dict[str, State]]:
    """A function that applies one of the layers by name, and the dictionary in which it enters their next state."""
    places = {name: place for place, name in enumerate(parts)}
    new_state: dict[str, State] = {}

    def run(name: str, x: Array) -> Array:
        layer_key = None if key is None else jax.random.fold_in(key, places[name])
        own = params.get(name, {}), state.get(name, {})
        y, layer_state, _ = apply_ragged(parts[name], *own, x, lengths, key=layer_key, train=train, mask=mask)
        if layer_state:
            new_state[name] = layer_state
        return y

    return run, new_state
