"""Models from one sequence to another, and decoding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import models
from dlkit.layers import Layer

RNG = np.random.default_rng(0)
SOURCE = jnp.asarray(RNG.integers(0, 7, (3, 5)), jnp.int32)
TARGET = jnp.asarray(RNG.integers(0, 6, (3, 4)), jnp.int32)
LENGTHS = jnp.array([5, 2, 0])
MODEL = models.transformer_encoder_decoder(vocabulary=6, source_vocabulary=7, features=8, heads=2, depth=2, tied=True)
STRUCTURE = jax.ShapeDtypeStruct((5,), jnp.int32)


def filled(model: Layer, shape: tuple[int, ...], **side: Any) -> tuple[Any, Any]:
    params, state = model.init(jax.random.key(0), shape, **side)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.5, leaf.shape), jnp.float32), params), state


@pytest.mark.long
def test_the_output_depends_on_the_source_and_on_no_later_token() -> None:
    params, state = filled(MODEL, (4,), source=STRUCTURE)
    assert "output" not in params["decoder"], "the table is tied"
    apply = jax.jit(MODEL.apply)
    y, _ = apply(params, state, TARGET, source=SOURCE)
    later, _ = apply(params, state, TARGET.at[:, 2].add(1) % 6, source=SOURCE)
    np.testing.assert_array_equal(later[:, :2], y[:, :2])
    assert jnp.abs(later[:, 2:] - y[:, 2:]).max() > 1e-3
    other, _ = apply(params, state, TARGET, source=SOURCE.at[:, 4].add(1) % 7)
    assert jnp.abs(other - y).max(axis=(1, 2)).min() > 1e-4
    padded, _ = apply(params, state, TARGET, source=SOURCE.at[1, 2:].set(0), source_lengths=LENGTHS)
    short, _ = apply(params, state, TARGET, source=SOURCE, source_lengths=LENGTHS)
    np.testing.assert_array_equal(padded, short)


def greedy(model: Layer, params: Any, state: Any, prompt: jax.Array, steps: int, **side: Any) -> jax.Array:
    """The likeliest tokens, each from all those before by the whole model."""
    rows, time = prompt.shape
    tokens = jnp.zeros((rows, time + steps), prompt.dtype).at[:, :time].set(prompt)
    predicted = jax.jit(lambda tokens: model.apply(params, state, tokens, **side)[0].argmax(-1))
    for place in range(time, time + steps):  # what stands later does not matter
        tokens = tokens.at[:, place].set(predicted(tokens)[:, place - 1].astype(prompt.dtype))
    return tokens[:, time:]


@pytest.mark.long
def test_generate_takes_the_likeliest_tokens_one_after_the_other() -> None:
    params, state = filled(MODEL, (4,), source=STRUCTURE)
    side = {"source": SOURCE, "source_lengths": LENGTHS}
    actual = jax.jit(lambda prompt: models.generate(MODEL, params, state, prompt, steps=5, context_length=5, **side))(
        TARGET
    )
    np.testing.assert_array_equal(actual, greedy(MODEL, params, state, TARGET, 5, **side))


@pytest.mark.long
@pytest.mark.parametrize(
    "model",
    [
        models.transformer_language_model(vocabulary=6, features=8, heads=2, depth=1),
        models.recurrent_language_model("gru", vocabulary=6, features=4),
    ],
    ids=["transformer", "gru"],
)
def test_generate_goes_on_with_prompts_of_unequal_lengths(model: Layer) -> None:
    params, state = filled(model, (8,))
    lengths = jnp.array([4, 1, 3])
    actual = jax.jit(lambda prompt: models.generate(model, params, state, prompt, steps=4, lengths=lengths))(TARGET)
    for row, length in enumerate(lengths.tolist()):
        prompt = TARGET[row : row + 1, :length]
        np.testing.assert_array_equal(actual[row : row + 1], greedy(model, params, state, prompt, 4))


@pytest.mark.long
def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    model = models.recurrent_language_model("gru", vocabulary=6, features=4)
    params, state = filled(model, (2,))
    rows, temperature = 20_000, 0.7
    prompt = jnp.tile(TARGET[:1, :2], (rows, 1))
    drawn = models.generate(model, params, state, prompt, steps=1, temperature=temperature, key=jax.random.key(0))
    logits, _ = model.apply(params, state, prompt[:1])
    expected = np.asarray(jax.nn.softmax(logits[0, -1] / temperature))
    shares = np.bincount(np.asarray(drawn[:, 0]), minlength=6) / rows
    # Five standard deviations of a share.
    np.testing.assert_array_less(np.abs(shares - expected), 5 * np.sqrt(expected * (1 - expected) / rows))
    with pytest.raises(ValueError, match="expected a key for a temperature above 0"):
        models.generate(model, params, state, prompt, steps=1, temperature=0.5)
