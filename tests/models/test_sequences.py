"""Models of sequences: what a step may depend on, and that padding is none of it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import losses, models
from tests.compiled import compiled

CELLS = ("rnn", "gru", "lstm")
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 4)), jnp.float32)
TOKENS = jnp.asarray(np.random.default_rng(1).integers(0, 7, (3, 6)))
LENGTHS = jnp.array([6, 2, 4])


def classifiers(**changes):
    yield from (models.recurrent_classifier(cell, outputs=2, features=5, hidden=(4,), **changes) for cell in CELLS)
    yield models.transformer_classifier(outputs=2, features=8, heads=2, depth=2, **changes)


def language_models(**changes):
    yield from (models.recurrent_language_model(cell, vocabulary=7, features=5, **changes) for cell in CELLS)
    yield models.transformer_language_model(vocabulary=7, features=8, heads=2, depth=2, **changes)


NAMES = (*CELLS, "transformer")
every_classifier = pytest.mark.parametrize("model", list(classifiers()), ids=NAMES)
every_language_model = pytest.mark.parametrize("model", list(language_models()), ids=NAMES)


@pytest.mark.long
@every_classifier
def test_what_stands_after_a_sequence_does_not_matter(model) -> None:
    model = compiled(model)
    params, state = model.init(jax.random.key(0), (6, 4))
    padding = jnp.arange(6)[None, :, None] >= LENGTHS[:, None, None]
    other = jnp.where(padding, 100.0, X)

    def outputs(params, x):
        return model.apply(params, state, x, lengths=LENGTHS)[0]

    np.testing.assert_allclose(outputs(params, X), outputs(params, other), rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: outputs(params, x).sum()))(X)
    assert not np.any(np.asarray(jnp.where(padding, gradient, 0)))
    assert np.any(np.asarray(gradient[:, 0]))


@pytest.mark.long
@every_classifier
def test_lengths_equal_cutting_the_sequence(model) -> None:
    model = compiled(model)
    params, state = model.init(jax.random.key(0), (6, 4))
    together = model.apply(params, state, X, lengths=LENGTHS)[0]
    for position, length in enumerate(LENGTHS.tolist()):
        alone = model.apply(params, state, X[position, :length])[0]
        np.testing.assert_allclose(together[position], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.apply(params, state, X, lengths=jnp.array([6, 6, 6]))[0], model.apply(params, state, X)[0], atol=1e-5
    )


@pytest.mark.long
@every_language_model
def test_no_step_sees_the_future(model) -> None:
    model = compiled(model)
    params, state = model.init(jax.random.key(0), (6,))
    changed = TOKENS.at[:, 4:].set((TOKENS[:, 4:] + 1) % 7)
    first, second = (model.apply(params, state, tokens)[0] for tokens in (TOKENS, changed))
    assert first.shape == (3, 6, 7)
    np.testing.assert_allclose(first[:, :4], second[:, :4], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(first[:, 4:] - second[:, 4:])).max() > 1e-3


@pytest.mark.long
@every_language_model
def test_gradients_reach_every_parameter(model) -> None:
    model = compiled(model)
    params, state = model.init(jax.random.key(0), (6,))

    def loss(params):
        logits, _ = model.apply(params, state, TOKENS[:, :-1])
        return losses.cross_entropy(logits, TOKENS[:, 1:]).mean()

    for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        # The softmax over keys does not see a bias that all keys share.
        assert np.any(np.asarray(leaf) != 0) or "key" in jax.tree_util.keystr(path), jax.tree_util.keystr(path)


@pytest.mark.long
@pytest.mark.parametrize("cell", CELLS)
def test_a_carried_state_continues_the_sequence(cell) -> None:
    whole = compiled(models.recurrent_language_model(cell, vocabulary=7, features=5))
    chunked = compiled(models.recurrent_language_model(cell, vocabulary=7, features=5, carry_batch_shape=(3,)))
    params, _ = whole.init(jax.random.key(0), (6,))
    _, state = chunked.init(jax.random.key(0), (2,))
    outputs = []
    for start in range(0, 6, 2):
        logits, state = chunked.apply(params, state, TOKENS[:, start : start + 2])
        outputs.append(logits)
    expected = whole.apply(params, {}, TOKENS)[0]
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("normalization", [None, "layer", "rms", "group"])
def test_activation_normalization_and_dropout_are_arguments(normalization) -> None:
    changes = {"normalization": normalization, "activation": "silu", "dropout": 0.3}
    for model in map(compiled, classifiers(**changes)):
        params, state = model.init(jax.random.key(0), (6, 4))
        first, second = (model.apply(params, state, X, key=jax.random.key(seed), train=True)[0] for seed in (0, 1))
        assert np.abs(np.asarray(first - second)).max() > 1e-4
        with pytest.raises(ValueError, match="expected a key while training"):
            model.apply(params, state, X, train=True)


def test_groups_divide_any_width() -> None:
    for model in (
        models.recurrent_classifier("gru", outputs=2, features=5, bidirectional=True, normalization="group"),
        models.transformer_classifier(outputs=2, features=20, heads=2, depth=1, normalization="group"),
    ):
        params, state = jax.eval_shape(lambda model=model: model.init(jax.random.key(0), (6, 4)))
        assert jax.eval_shape(model.apply, params, state, X)[0].shape == (3, 2)


@pytest.mark.long
def test_the_activation_is_that_of_the_simple_cell_too() -> None:
    x = jnp.ones((1, 3, 1))
    outputs = {}
    for name in ("relu", "tanh"):
        model = compiled(models.recurrent_classifier("rnn", outputs=1, features=2, activation=name))
        params, state = model.init(jax.random.key(0), (3, 1))
        params = jax.tree.map(jnp.ones_like, params)
        outputs[name] = float(model.apply(params, state, x)[0][0, 0])
    # h_t = f(1 + 1 + 2 h_{t-1}), and the output is 2 h_3 + 1
    assert outputs["relu"] == 2.0 * 14.0 + 1.0
    assert outputs["tanh"] == pytest.approx(2.0 * np.tanh(2 + 2 * np.tanh(2 + 2 * np.tanh(2))) + 1.0, rel=1e-6)


@pytest.mark.long
@every_classifier
def test_lengths_out_of_range_are_refused(model) -> None:
    params, state = compiled(model).init(jax.random.key(0), (6, 4))
    with pytest.raises(ValueError, match=r"expected lengths in \[0, 6\], got 7 at position \(1,\)"):
        model.apply(params, state, X, lengths=jnp.array([6, 7, 1]))


@pytest.mark.long
def test_token_classifiers_embed() -> None:
    for model in map(compiled, classifiers(vocabulary=7)):
        params, state = model.init(jax.random.key(0), (6,))
        assert model.apply(params, state, TOKENS)[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: models.recurrent_classifier("ltsm", outputs=2),
            "recurrent_classifier: expected a cell among rnn, gru, lstm, got 'ltsm'",
        ),
        (lambda: models.recurrent_language_model("gru", vocabulary=0), "expected vocabulary to be an integer of at le"),
        (lambda: models.transformer_classifier(outputs=2, depth=0), "expected depth to be an integer of at least 1"),
    ],
)
def test_refuses(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(make)()


@pytest.mark.long
def test_an_unknown_part_of_a_chain_is_located() -> None:
    model = models.transformer_classifier(outputs=2, features=8, heads=2, depth=1)
    params, state = compiled(model).init(jax.random.key(0), (6, 4))
    with pytest.raises(Exception) as caught:
        model.apply(params, state, jnp.ones((3, 6, 5)))
    assert any("'projection'" in note for note in getattr(caught.value, "__notes__", []))
