"""The transformer block."""

from typing import Any

import jax
import jax.numpy as jnp

from dlkit import checks
from dlkit.layers.activation import activation as activation_layer
from dlkit.layers.base import About, Layer, described
from dlkit.layers.by_name import normalization as normalization_layer
from dlkit.layers.calls import Call, Ran, Shapes, composite
from dlkit.layers.children import Children, named_children
from dlkit.layers.combine import serial
from dlkit.layers.dense import default_kernel_init, dense
from dlkit.layers.descriptions import Made
from dlkit.layers.dropout import dropout as dropout_layer
from dlkit.layers.lengths import within_lengths
from dlkit.layers.multi_head_attention import multi_head_attention
from dlkit.layers.wrapped import renamed
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["transformer_block"]


@described
def transformer_block(
    heads: int,
    *,
    kv_heads: int | None = None,
    mlp_features: int | None = None,
    context_features: int | None = None,
    activation: str | ArrayFunction | Layer = "gelu",
    normalization: str | Layer | None = "layer",
    pre_norm: bool = True,
    causal: bool = False,
    position_bias: Layer | ArrayFunction | None = None,
    rotation: ArrayFunction | None = None,
    dropout: Scalar = 0.0,
    use_bias: bool = True,
    kernel_init: Initializer = default_kernel_init,
) -> Layer:
    """Transformer block: self-attention, then a perceptron at each position, each around a shortcut.

    h = x + attention(norm(x)), y = h + mlp(norm(h)), where mlp(h) = activation(h W_1 + b_1) W_2 + b_2. With `pre_norm`
    false the normalization comes last, as in the paper: h = norm(x + attention(x)), y = norm(h + mlp(h)). While
    training, dropout acts on the attention weights, after the activation, and on what is added to a shortcut.

    With `context_features` it is a block of a decoder: between the two stands attention to a context, such as what an
    encoder makes of its sequence, likewise around a shortcut.

    `apply` takes `mask=`, `bias=` and `lengths=` beside the usual arguments, as that of `multi_head_attention`. With
    lengths, padding enters as 0, so that what it holds matters to nothing, even if it is NaN; nor does a batch
    normalization count it. With a context, it takes `context=`, `context_mask=`, `context_bias=` and
    `context_lengths=`, too. In `stepwise` it has to be causal.

    Parameters: `{"attention_norm", "attention", "mlp_norm", "mlp": {"hidden", "output"}}`, each as its layer makes it,
    with a context `"context_norm"` and `"context_attention"`, too.

    Args:
        heads: number of attention heads; divides the features.
        kv_heads: number of heads of keys and values, which divides heads; None takes heads.
        mlp_features: outputs of W_1; None takes 4 features. A gated activation halves them before W_2: "swiglu" with
            16/3 features has as many weights as "gelu" with 4.
        context_features: size of the context's last axis; None for a block without a context.
        activation: a name, function or layer, as `layers.activation` takes it.
        normalization: a name or layer, as `layers.normalization` takes it; None for none.
        pre_norm: whether the normalization comes before attention and perceptron, or after their shortcuts.
        causal: whether a position may attend to itself and earlier ones only.
        position_bias: what is added to the logits of self-attention for the distance of two positions, as
            `multi_head_attention` takes it.
        rotation: applied to queries and keys of self-attention, e.g. `layers.rotary`.
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
    same: dict[str, Any] = {"dropout": dropout, "use_bias": use_bias, "kernel_init": kernel_init}
    attention = multi_head_attention(
        heads, kv_heads=kv_heads, causal=causal, position_bias=position_bias, rotation=rotation, **same
    )
    norm, drop = normalization_layer(normalization), dropout_layer(dropout)
    mlp = _perceptron(mlp_features, activation_layer(activation), drop, use_bias=use_bias, kernel_init=kernel_init)
    parts = {"attention_norm": norm, "attention": attention, "attention_dropout": drop}
    if context_features is not None:
        around = multi_head_attention(heads, kv_heads=kv_heads, context_features=context_features, **same)
        told = {"mask": "context_mask", "bias": "context_bias", "lengths": "context_lengths"}
        parts |= {"context_norm": norm, "context_attention": renamed(around, **told), "context_dropout": drop}
    return _block({**parts, "mlp_norm": norm, "mlp": mlp, "mlp_dropout": drop}, pre_norm=pre_norm)


def _block(layers: dict[str, Layer], *, pre_norm: bool) -> Layer:
    """The block with these layers inside: normalization, what it does, dropout, again and again."""
    inside = Children(named_children("transformer_block", (), None, layers))
    names = tuple(layers)
    thirds = tuple(zip(names[::3], names[1::3], names[2::3], strict=True))

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        if len(input_shape) != 2 or min(input_shape) < 1:
            raise ValueError(f"transformer_block: expected an example shape (time, features), got {tuple(input_shape)}")
        beginning = inside.begin(key, shapes)
        for name in names:
            beginning.init(name, input_shape)
        return beginning.params, beginning.state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        lengths = call.lengths
        x = _checked(params["attention"]["query"]["kernel"].shape[0], x, lengths)
        running = inside.run(params, state, call)

        def through(x: Array, *names: str) -> Array:
            for name in names:
                x, _ = running.apply(name, x, lengths)
            return x

        for norm, change, drop in thirds:
            if pre_norm:
                x = x + through(x, norm, change, drop)
            else:
                x = through(x + through(x, change, drop), norm)
        return x, running.next_state(), lengths

    def rebuild(others: tuple[Layer, ...]) -> Layer:
        return _block(dict(zip(names, others, strict=True)), pre_norm=pre_norm)

    return composite("transformer_block", init, run, About(parts=inside.parts(), rebuild=rebuild))


def _checked(features: int, x: Array, lengths: Array | None) -> Array:
    """The inputs, if they fit, with 0 as padding."""
    checks.require_floating("transformer_block", inputs=x)
    if x.ndim < 2 or x.shape[-1] != features:
        raise ValueError(f"transformer_block: expected inputs [*batch, time, {features}], got {jax.typeof(x)}")
    if lengths is None:
        return x
    within = within_lengths("transformer_block", lengths, x.shape[:-1])
    return jnp.where(jnp.expand_dims(within, -1), x, 0)


class _OfFeatures(str):
    """A size that is known when the features of the inputs are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _perceptron(
    mlp_features: int | None, function: Layer, drop: Layer, *, use_bias: bool, kernel_init: Initializer
) -> Layer:
    """What the block does at each position: a chain of two dense layers, whose sizes follow from the features."""

    def sized(size: int | None, label: str) -> Layer:
        made = dense(size or 1, use_bias=use_bias, kernel_init=kernel_init)
        if size is not None:
            return made
        call = Made(dense, (_OfFeatures(label),), {"use_bias": use_bias})
        return Layer(made.init, made.apply, about=About(made=call))

    hidden, output = sized(mlp_features, "4 * features"), sized(None, "features")

    def chained(layers: tuple[Layer, ...]) -> Layer:
        chain = serial(*layers, names=("hidden", "activation", "dropout", "output"))

        def init(key: Key, input_shape: Shape, **shapes: Any) -> tuple[Params, State]:
            features = input_shape[-1]
            sizes = {id(hidden): mlp_features or 4 * features, id(output): features}
            known = [
                dense(sizes[id(layer)], use_bias=use_bias, kernel_init=kernel_init) if id(layer) in sizes else layer
                for layer in layers
            ]
            return serial(*known, names=tuple(part.name for part in chain.parts)).init(key, input_shape, **shapes)

        return Layer(init, chain.apply, chain.ragged, chain.about._replace(rebuild=chained))

    return chained((hidden, function, drop, output))
