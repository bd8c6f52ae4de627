"""Models of sequences: recurrent networks and transformers, as classifiers and as language models."""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Float

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.models.parts import dense_block, feature_normalization
from dlkit.typing import Array, ArrayFunction, Key, Params, Scalar, Shape, State

__all__ = [
    "recurrent_classifier",
    "recurrent_language_model",
    "transformer_classifier",
    "transformer_language_model",
]

_CELLS: dict[str, Callable[..., Layer]] = {"rnn": layers.rnn, "gru": layers.gru, "lstm": layers.lstm}


def recurrent_classifier(
    cell: str,
    *,
    outputs: int,
    features: int = 64,
    depth: int = 1,
    bidirectional: bool = False,
    hidden: Sequence[int] = (),
    vocabulary: int | None = None,
    activation: str | ArrayFunction = "tanh",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
) -> Layer:
    """Recurrent network that reads a sequence and answers at its end: e.g. its class.

    Recurrent layers, the output at the last step, normalization, dropout, dense hidden layers, a linear output.

    Args:
        cell: "rnn", "gru" or "lstm".
        outputs: number of outputs, e.g. classes.
        features: size of the recurrent state.
        depth: number of recurrent layers.
        bidirectional: whether the sequence is read from both ends.
        hidden: widths of dense hidden layers after the recurrent ones.
        vocabulary: number of token ids, for examples that are ids, which are embedded in so many features; None
            for examples that are vectors.
        activation: of the dense hidden layers, and of the cell "rnn", where it has no parameters: a name that
            `layers.activation` knows, or a function.
        normalization: of the last output and the hidden layers: a name that `layers.normalization` knows, or None.
        dropout: probability of dropping a value between recurrent layers, after them, and in hidden layers; may be
            traced.

    Returns:
        A layer for examples `(time, features)`, or `(time,)` with a vocabulary; its outputs are `[*batch, outputs]`.
        Its `apply` takes `lengths=`, how many steps of each sequence count, `[*batch]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.

    Example:
        >>> import jax
        >>> model = recurrent_classifier("lstm", outputs=10, features=16)
        >>> params, state = model.init(jax.random.key(0), (8, 4))
        >>> x = jnp.zeros((5, 8, 4))
        >>> model.apply(params, state, x, lengths=jnp.array([8, 3, 1, 8, 8]))[0].shape
        (5, 10)
    """
    where = "recurrent_classifier"
    make = _cell(where, cell, activation)
    checks.require_size(where, outputs=outputs, features=features)
    width = 2 * features if bidirectional else features
    return _sequence_model(
        where,
        vocabulary,
        features,
        {
            cell: make(features, depth=depth, bidirectional=bidirectional, dropout=dropout, output="last"),
            **_head(width, hidden, outputs, activation=activation, normalization=normalization, dropout=dropout),
        },
    )


def recurrent_language_model(
    cell: str,
    *,
    vocabulary: int,
    features: int = 128,
    depth: int = 1,
    hidden: Sequence[int] = (),
    activation: str | ArrayFunction = "tanh",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    carry_batch_shape: Shape | None = None,
    tied: bool = False,
) -> Layer:
    """Recurrent network that predicts, at every step, the next token from those read so far.

    Embedding, dropout, recurrent layers, normalization, dropout, dense hidden layers, logits. Train it with
    `losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])`.

    Args:
        cell: "rnn", "gru" or "lstm".
        vocabulary: number of token ids.
        features: size of the embedding and of the recurrent state.
        depth: number of recurrent layers.
        hidden: widths of dense hidden layers after the recurrent ones.
        activation: of the dense hidden layers, and of the cell "rnn", where it has no parameters: a name that
            `layers.activation` knows, or a function.
        normalization: of the recurrent output and the hidden layers, per step: a name that `layers.normalization`
            knows; None for none.
        dropout: probability of dropping a value; may be traced.
        carry_batch_shape: shape of the batch axes, for truncated backpropagation: the state then carries the recurrent
            state from one call to the next; None starts every call afresh.
        tied: whether the logits are x E^T, with the table E of the embedding, and no layer of their own; the last
            hidden layer then has `features` of them.

    Returns:
        A layer for examples `(time,)` of integer token ids; its outputs are logits `[*batch, time, vocabulary]`. Its
        `apply` takes `lengths=`, how many steps of each sequence count, `[*batch]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        Mikolov et al., "Recurrent neural network based language model", Interspeech 2010.

    Example:
        >>> import jax
        >>> model = recurrent_language_model("gru", vocabulary=20, features=16)
        >>> params, state = model.init(jax.random.key(0), (8,))
        >>> model.apply(params, state, jnp.zeros((5, 8), jnp.int32))[0].shape
        (5, 8, 20)
    """
    where = "recurrent_language_model"
    make = _cell(where, cell, activation)
    checks.require_size(where, vocabulary=vocabulary)
    recurrent = make(features, depth=depth, dropout=dropout, output="sequence", carry_batch_shape=carry_batch_shape)
    return _sequence_model(
        where,
        vocabulary,
        features,
        {
            "input_dropout": layers.dropout(dropout),
            cell: recurrent,
            **_head(features, hidden, vocabulary, activation=activation, normalization=normalization, dropout=dropout),
        },
        tied=tied,
    )


def transformer_classifier(
    *,
    outputs: int,
    features: int = 64,
    heads: int = 4,
    depth: int = 2,
    vocabulary: int | None = None,
    activation: str | ArrayFunction = "gelu",
    normalization: str | None = "layer",
    dropout: Scalar = 0.0,
) -> Layer:
    """Transformer that reads a sequence, all steps at once, and answers with the mean of what it made of them.

    A dense layer (or an embedding) to `features`, learned positions, pre-normalized blocks, normalization, the mean
    over time, a linear output. An image is a sequence of its patches.

    Args:
        outputs: number of outputs, e.g. classes.
        features: size of the vector at each step.
        heads: attention heads of a block.
        depth: number of blocks.
        vocabulary: number of token ids, for examples that are ids; None for examples that are vectors.
        activation: of the blocks: a name that `layers.activation` knows, or a function.
        normalization: of the blocks: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a value; may be traced.

    Returns:
        A layer for examples `(time, in_features)`, or `(time,)` with a vocabulary; its outputs are `[*batch, outputs]`.
        Its `apply` takes `lengths=`, how many steps of each sequence count, `[*batch]`.

    Raises:
        ValueError: a size is no positive integer, or features is not divisible by heads; a name is unknown; or the
            examples do not fit.

    Reference:
        Dosovitskiy et al., "An image is worth 16x16 words", 2020, https://arxiv.org/abs/2010.11929.

    Example:
        >>> import jax
        >>> model = transformer_classifier(outputs=10, features=16, heads=2, depth=1)
        >>> params, state = model.init(jax.random.key(0), (4, 12))
        >>> model.apply(params, state, jnp.zeros((5, 4, 12)))[0].shape
        (5, 10)
    """
    where = "transformer_classifier"
    checks.require_size(where, outputs=outputs, features=features, depth=depth)
    blocks = _blocks(
        features, heads, depth, causal=False, activation=activation, normalization=normalization, dropout=dropout
    )
    return _sequence_model(
        where,
        vocabulary,
        features,
        {
            **({"projection": layers.dense(features)} if vocabulary is None else {}),
            "positions": layers.learned_positions(),
            "input_dropout": layers.dropout(dropout),
            **blocks,
            "normalization": feature_normalization(normalization, features),
            "pool": _mean_over_time(),
            "output": layers.dense(outputs),
        },
    )


def transformer_language_model(
    *,
    vocabulary: int,
    features: int = 128,
    heads: int = 4,
    depth: int = 2,
    activation: str | ArrayFunction = "gelu",
    normalization: str | None = "layer",
    dropout: Scalar = 0.0,
    tied: bool = False,
) -> Layer:
    """Transformer that predicts, at every step, the next token from those up to there (causal attention).

    Embedding, learned positions, pre-normalized blocks, normalization, logits. Train it as `recurrent_language_model`.

    Args:
        vocabulary: number of token ids.
        features: size of the vector at each step.
        heads: attention heads of a block.
        depth: number of blocks.
        activation: of the blocks: a name that `layers.activation` knows, or a function.
        normalization: of the blocks: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a value; may be traced.
        tied: whether the logits are x E^T, with the table E of the embedding, and no layer of their own.

    Returns:
        A layer for examples `(time,)` of integer token ids; its outputs are logits `[*batch, time, vocabulary]`. Its
        `apply` takes `lengths=`, how many steps of each sequence count, `[*batch]`.

    Raises:
        ValueError: a size is no positive integer, or features is not divisible by heads; a name is unknown; or the
            examples do not fit.

    Reference:
        Radford et al., "Language models are unsupervised multitask learners", 2019.

    Example:
        >>> import jax
        >>> model = transformer_language_model(vocabulary=20, features=16, heads=2, depth=1)
        >>> params, state = model.init(jax.random.key(0), (8,))
        >>> model.apply(params, state, jnp.zeros((5, 8), jnp.int32))[0].shape
        (5, 8, 20)
    """
    where = "transformer_language_model"
    checks.require_size(where, vocabulary=vocabulary, features=features, depth=depth)
    blocks = _blocks(
        features, heads, depth, causal=True, activation=activation, normalization=normalization, dropout=dropout
    )
    return _sequence_model(
        where,
        vocabulary,
        features,
        {
            "positions": layers.learned_positions(),
            "input_dropout": layers.dropout(dropout),
            **blocks,
            "normalization": feature_normalization(normalization, features),
            "output": layers.dense(vocabulary),
        },
        tied=tied,
    )


def _cell(where: str, name: str, activation: str | ArrayFunction) -> Callable[..., Layer]:
    """The constructor of a recurrent layer."""
    if name not in _CELLS:
        raise ValueError(f"{where}: expected a cell among {', '.join(_CELLS)}, got {name!r}")
    return functools.partial(layers.rnn, activation=activation) if name == "rnn" else _CELLS[name]


def _sequence_model(
    where: str, vocabulary: int | None, features: int, parts: dict[str, Layer], *, tied: bool = False
) -> Layer:
    """The chain of the parts, after an embedding where the examples are token ids; if tied, it is the output too."""
    if vocabulary is None:
        return layers.serial(*parts.values(), names=tuple(parts))
    checks.require_size(where, vocabulary=vocabulary)
    embedding = layers.embedding(vocabulary, features)
    if tied:
        embedding = layers.shared(embedding)
        parts = {**parts, "output": layers.unembedding(embedding)}
    parts = {"embedding": embedding, **parts}
    return layers.serial(*parts.values(), names=tuple(parts), input_dtype=jnp.int32)


def _head(
    width: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str | ArrayFunction,
    normalization: str | None,
    dropout: Scalar,
) -> dict[str, Layer]:
    """What follows the recurrent layers, applied to the last axis."""
    blocks = {
        f"hidden_{place}": dense_block(
            width,
            activation=activation,
            normalization=normalization,
            dropout=dropout,
            kernel_init=layers.default_kernel_init,
        )
        for place, width in enumerate(hidden)
    }
    return {
        "normalization": feature_normalization(normalization, width),
        "dropout": layers.dropout(dropout),
        **blocks,
        "output": layers.dense(outputs),
    }


def _blocks(
    features: int,
    heads: int,
    depth: int,
    *,
    causal: bool,
    activation: str | ArrayFunction,
    normalization: str | None,
    dropout: Scalar,
) -> dict[str, Layer]:
    """Transformer blocks by name."""
    return {
        f"block_{place}": layers.transformer_block(
            heads,
            activation=activation,
            normalization=feature_normalization(normalization, features),
            dropout=dropout,
            causal=causal,
        )
        for place in range(depth)
    }


def _mean_over_time() -> Layer:
    """The mean of the steps that count; 0 for a sequence without any."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key, input_shape
        return {}, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch features"], State]:
        del params, key, train
        return x.mean(axis=-2), state

    return Layer(init, apply, layers.global_average_pool(1).ragged)
