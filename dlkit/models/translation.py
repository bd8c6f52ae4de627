"""From one sequence to another: an encoder, and a decoder that looks at what it made."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.models.parts import feature_normalization
from dlkit.typing import Array, ArrayFunction, Key, Params, Scalar, State

__all__ = ["generate", "transformer_encoder_decoder"]


def transformer_encoder_decoder(
    *,
    vocabulary: int,
    source_vocabulary: int | None = None,
    features: int = 128,
    heads: int = 4,
    depth: int = 2,
    activation: str | ArrayFunction = "gelu",
    normalization: str | None = "layer",
    dropout: Scalar = 0.0,
    tied: bool = False,
) -> Layer:
    """Transformer that predicts a sequence from another one, token by token: translation, summaries.

    The encoder reads the source, all steps at once: embedding, sinusoidal positions, pre-normalized blocks. Those of
    the decoder attend to the target up to there, then to what the encoder made. Train it with the target as inputs and,
    one step later, as targets: `losses.cross_entropy(model(target[:, :-1], source=source), target[:, 1:])`.

    Args:
        vocabulary: number of token ids of the target.
        source_vocabulary: number of token ids of the source; None for a source of vectors.
        features: size of the vector at each step.
        heads: attention heads of a block.
        depth: number of blocks of the encoder, and of the decoder.
        activation: of the blocks: a name that `layers.activation` knows, or a function.
        normalization: of the blocks: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a value; may be traced.
        tied: whether the logits are x E^T, with the table E that embeds the target, and no layer of their own.

    Returns:
        A layer for examples `(time,)` of integer token ids; its outputs are logits `[*batch, time, vocabulary]`. Its
        `apply` takes `source=`, `[*batch, source_time]` token ids or `[*batch, source_time, source_features]`, and
        `source_lengths=` and `lengths=`, how many steps of each count, `[*batch]`. Its `init` takes the shape of a
        source: `model.init(key, (20,), source=jax.ShapeDtypeStruct((30,), jnp.int32))`. In `layers.stepwise`, with
        `context_length=`, the source is given with the first piece alone.

    Raises:
        ValueError: a size is no positive integer, or features is not divisible by heads; a name is unknown; or the
            examples do not fit. In `apply`, TypeError: there is no source.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762.

    Example:
        >>> model = transformer_encoder_decoder(vocabulary=20, source_vocabulary=30, features=16, heads=2, depth=1)
        >>> source = jnp.zeros((5, 12), jnp.int32)
        >>> of_source = jax.ShapeDtypeStruct((12,), jnp.int32)
        >>> variables = jax.eval_shape(lambda key: model.init(key, (8,), source=of_source), jax.random.key(0))
        >>> jax.eval_shape(model.apply, *variables, jnp.zeros((5, 8), jnp.int32), source=source)[0].shape
        (5, 8, 20)
    """
    where = "transformer_encoder_decoder"
    sizes = {"vocabulary": vocabulary, "features": features, "depth": depth}
    checks.require_size(where, **sizes)

    def blocks(**settings: Any) -> dict[str, Layer]:
        return {
            f"block_{place}": layers.transformer_block(
                heads,
                activation=activation,
                normalization=feature_normalization(normalization, features),
                dropout=dropout,
                **settings,
            )
            for place in range(depth)
        }

    def beginning(entry: Layer) -> dict[str, Layer]:
        return {
            "embedding": entry,
            "positions": layers.sinusoidal_positions(),
            "input_dropout": layers.dropout(dropout),
        }

    norm = feature_normalization(normalization, features)
    entry = layers.dense(features)
    if source_vocabulary is not None:
        checks.require_size(where, source_vocabulary=source_vocabulary)
        entry = layers.embedding(source_vocabulary, features)
    embedding = layers.embedding(vocabulary, features)
    embedding = layers.shared(embedding) if tied else embedding
    output = layers.unembedding(embedding) if tied else layers.dense(vocabulary)
    encoder = {**beginning(entry), **blocks(), "normalization": norm}
    decoder = {
        **beginning(embedding),
        **blocks(causal=True, context_features=features),
        "normalization": norm,
        "output": output,
    }
    of_ids = jnp.int32
    return layers.graph(
        _translate,
        input_dtype=of_ids,
        encoder=layers.at_once(
            layers.serial(
                *encoder.values(),
                names=tuple(encoder),
                input_dtype=jnp.float32 if source_vocabulary is None else of_ids,
            )
        ),
        decoder=layers.serial(*decoder.values(), names=tuple(decoder), input_dtype=of_ids),
    )


def generate(
    model: Layer,
    params: Params,
    state: State,
    prompt: Integer[Array, "*batch time"],
    *,
    steps: int,
    lengths: Integer[Array, "*batch"] | None = None,
    temperature: float = 0.0,
    key: Key | None = None,
    context_length: int | None = None,
    **side: Any,
) -> Integer[Array, "*batch steps"]:
    """Go on with sequences of tokens, one at a time, each drawn from what the model predicts after those before.

    A compiled loop over the model in `layers.stepwise`: a step costs what one position costs. It may be inside of
    `jax.jit`; for many prompts of one shape it should be.

    Args:
        model: a language model, whose outputs are logits `[*batch, time, vocabulary]`.
        params: its parameters.
        state: its state.
        prompt: the tokens to go on with; at least one for each sequence.
        steps: how many tokens to add.
        lengths: how many tokens of each prompt count; None for all.
        temperature: the logits are divided by it before a token is drawn; 0 takes the likeliest.
        key: PRNG key, for a temperature above 0.
        context_length: as for `layers.stepwise`.
        **side: what else the model takes by name, such as `source=`.

    Returns:
        The tokens that were added.

    Raises:
        ValueError: steps is no positive integer; temperature is negative; there is no key where one is needed; or the
            model cannot decode step by step.

    Example:
        >>> from dlkit import models
        >>> model = models.transformer_language_model(vocabulary=20, features=16, heads=2, depth=1)
        >>> params, state = model.init(jax.random.key(0), (8,))
        >>> generate(model, params, state, jnp.zeros((5, 3), jnp.int32), steps=4).shape
        (5, 4)
    """
    checks.require_size("generate", steps=steps)
    checks.require_number("generate", "temperature", temperature, at_least=0)
    is_drawn = not checks.known_zero(temperature)
    if is_drawn and key is None:
        raise ValueError("generate: expected a key for a temperature above 0, got None; pass key=jax.random.key(0)")
    batch, time = prompt.shape[:-1], prompt.shape[-1]
    if time < 1:
        raise ValueError(f"generate: expected prompts of at least one token, got {jax.typeof(prompt)}")
    if lengths is not None and not isinstance(lengths, jax.core.Tracer) and (np.asarray(lengths) < 1).any():
        raise ValueError(
            f"generate: expected at least one token of each prompt to count, got lengths {lengths.tolist()}"
        )
    decoder = layers.stepwise(
        model, batch_shape=batch, max_length=time + steps - 1, context_length=context_length, dtype=_dtype(params)
    )
    kept = len(batch)
    shapes: dict[str, Any] = {
        name: jax.ShapeDtypeStruct(array.shape[kept:], array.dtype) for name, array in side.items()
    }
    begun = layers.initial_state(decoder, (1,), state=state, **shapes)
    given = {"lengths": lengths} if lengths is not None else {}
    logits, begun = decoder.apply(params, begun, prompt, **given, **side)
    ends = jnp.full(batch, time) if lengths is None else lengths
    last = jnp.take_along_axis(logits, (ends - 1).reshape(*batch, 1, 1), axis=-2)[..., 0, :]

    def chosen(logits: Float[Array, "*batch vocabulary"], place: Array) -> Integer[Array, "*batch"]:
        if not is_drawn or key is None:
            return jnp.argmax(logits, axis=-1).astype(prompt.dtype)
        drawn = jax.random.categorical(jax.random.fold_in(key, place), logits / temperature)
        return drawn.astype(prompt.dtype)

    def step(carry: tuple[State, Array], place: Array) -> tuple[tuple[State, Array], Array]:
        state, token = carry
        logits, state = decoder.apply(params, state, jnp.expand_dims(token, -1))
        token = chosen(logits[..., 0, :], place)
        return (state, token), token

    first = chosen(last, jnp.asarray(0, jnp.uint32))
    _, rest = jax.lax.scan(step, (begun, first), jnp.arange(1, steps, dtype=jnp.uint32))
    return jnp.concatenate([jnp.expand_dims(first, -1), jnp.moveaxis(rest, 0, -1)], axis=-1)


def _translate(inside: Any, x: Array, source: Array | None = None, source_lengths: Array | None = None) -> Any:
    """The decoder, after the encoder where there is a source: what goes on step by step has seen it."""
    if source is None:
        return inside.decoder(x)
    encoded = inside.encoder(source, lengths=source_lengths)
    return inside.decoder(x, context=encoded, context_lengths=source_lengths)


def _dtype(params: Params) -> Any:
    """That of the parameters, together."""
    return jnp.result_type(*jax.tree.leaves(params))
