"""CTC against the sum over all alignments, optax, torch, hand-computed values and laws."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from dlkit import losses
from tests.losses.oracles import assert_agrees_with_torch, assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.0, 2.0, (3, 5, 4)).astype(np.float32)  # 3 sequences, 5 steps, 4 classes
LABELS = np.array([[1, 2], [3, 3], [2, 1]])
compiled = jax.jit(losses.ctc)


def collapsed(path: tuple[int, ...], blank: int) -> list[int]:
    """An alignment without repeats, then without blanks."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


def by_enumeration(logits: np.ndarray, labels: list[int], blank: int = 0) -> float:
    """-log of the total probability of all classes ** time paths that collapse to the labels."""
    log_probabilities = scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)
    time, classes = log_probabilities.shape
    paths = [path for path in itertools.product(range(classes), repeat=time) if collapsed(path, blank) == labels]
    totals = [log_probabilities[np.arange(time), list(path)].sum() for path in paths]
    return -float(scipy.special.logsumexp(totals)) if totals else math.inf


@pytest.mark.long
@pytest.mark.parametrize(("labels", "blank"), [([1, 3], 0), ([3, 3], 2), ([3, 1, 3], 0)])
def test_the_loss_is_the_sum_over_all_alignments(labels: list[int], blank: int) -> None:
    assert_follows(
        lambda x: losses.ctc(x, jnp.array(labels), blank=blank),
        lambda x: np.asarray(by_enumeration(x, labels, blank)),
        LOGITS[0, :4],
    )


@pytest.mark.long
def test_lengths_leave_out_the_padding() -> None:
    logit_lengths, label_lengths = np.array([5, 3, 2]), np.array([2, 1, 0])
    padded = np.where(np.arange(2) < label_lengths[:, None], LABELS, 99)  # anything
    noise = np.where(np.arange(5)[:, None] < logit_lengths[:, None, None], LOGITS, np.inf)

    @jax.jit
    def loss(logits: jax.Array) -> jax.Array:
        return losses.ctc(
            logits,
            jnp.asarray(padded),
            logit_lengths=jnp.asarray(logit_lengths),
            target_lengths=jnp.asarray(label_lengths),
        )

    expected = [by_enumeration(LOGITS[n, : logit_lengths[n]], LABELS[n, : label_lengths[n]].tolist()) for n in range(3)]
    np.testing.assert_allclose(loss(jnp.asarray(LOGITS)), expected, rtol=1e-5)
    slopes = jax.jit(jax.grad(lambda x: loss(x).sum()))
    gradient = slopes(jnp.asarray(LOGITS))
    for number, length in enumerate(logit_lengths):
        assert gradient[number, :length].all() and not gradient[number, length:].any()
    # Not even what is not finite comes through from the padding.
    np.testing.assert_allclose(loss(jnp.asarray(noise, jnp.float32)), expected, rtol=1e-5)
    np.testing.assert_array_equal(slopes(jnp.asarray(noise, jnp.float32)), gradient)


@pytest.mark.long
def test_agrees_with_optax() -> None:
    logits, labels = LOGITS, jnp.asarray(LABELS)
    times, counts = jnp.array([5, 4, 5]), jnp.array([2, 2, 1])

    def ours(logits: jax.Array) -> jax.Array:
        return losses.ctc(logits, labels, logit_lengths=times, target_lengths=counts)

    def reference(logits: jax.Array) -> jax.Array:
        logit_paddings = jnp.asarray(np.arange(5) >= np.array(times)[:, None], jnp.float32)
        label_paddings = jnp.asarray(np.arange(2) >= np.array(counts)[:, None], jnp.float32)
        with jax.numpy_rank_promotion("allow"):
            return optax.losses.ctc_loss(logits, logit_paddings, labels, label_paddings)

    assert_equals(ours, reference, logits)


def test_agrees_with_torch() -> None:
    times, counts = [5, 4, 5], [2, 2, 1]

    def reference(logits: Any) -> Any:
        import torch

        log_probabilities = torch.log_softmax(logits, -1).transpose(0, 1)
        labels, lengths = torch.tensor(LABELS), (torch.tensor(times), torch.tensor(counts))
        return torch.nn.functional.ctc_loss(log_probabilities, labels, *lengths, reduction="none")

    def ours(logits: jax.Array) -> jax.Array:
        return losses.ctc(logits, jnp.asarray(LABELS), logit_lengths=jnp.array(times), target_lengths=jnp.array(counts))

    assert_agrees_with_torch(ours, reference, LOGITS)


@pytest.mark.long
def test_by_hand() -> None:
    # Two steps, three equal classes: 0 1, 1 0 and 1 1 of nine paths give the label 1; only 0 0 gives nothing.
    # No labels at all: the product of the probabilities of the blank.
    even, labels = jnp.zeros((3, 2, 3)), jnp.array([[1, 0], [1, 2], [2, 2]])
    expected = [math.log(9 / 3), math.log(9), math.log(9)]
    np.testing.assert_allclose(compiled(even, labels, target_lengths=jnp.array([1, 2, 0])), expected, rtol=1e-6)
    assert compiled(even[0], jnp.zeros((0,), int)) == pytest.approx(math.log(9))


@pytest.mark.long
@pytest.mark.parametrize(("labels", "time"), [([1, 1], 2), ([1, 2, 3], 2)])
def test_labels_that_do_not_fit_have_an_infinite_loss_and_no_gradient(labels: list[int], time: int) -> None:
    function = jax.jit(jax.value_and_grad(lambda x, time: losses.ctc(x, jnp.array(labels), logit_lengths=time)))
    assert by_enumeration(LOGITS[0, :time], labels) == math.inf
    value, gradient = function(jnp.asarray(LOGITS[0]), jnp.array(time))
    assert value == math.inf and not gradient.any()
    # One more step is enough for the missing label, or for the blank between equal ones.
    value, gradient = function(jnp.asarray(LOGITS[0]), jnp.array(time + 1))
    assert jnp.isfinite(value) and gradient[: time + 1].any() and jnp.isfinite(gradient).all()


def test_a_long_sequence_loses_no_digits() -> None:
    # The only label has the probability 1/2 in every step: T (T + 1) / 2 alignments of 2^-T each.
    time = 2000
    value = compiled(jnp.zeros((time, 2)), jnp.array([1]))
    assert value == pytest.approx(time * math.log(2.0) - math.log(time * (time + 1) / 2), rel=1e-6)


@given(st.integers(0, 2**31), st.floats(-100, 100, width=32), st.permutations([1, 2, 3]))
def test_laws(seed: int, shift: float, order: list[int]) -> None:
    logits = jnp.asarray(np.random.default_rng(seed).normal(0.0, 3.0, (4, 4)), jnp.float32)
    labels = jnp.array([1, 3])
    loss = compiled(logits, labels)
    assert loss >= 0
    assert compiled(logits + shift, labels) == pytest.approx(float(loss), rel=1e-3, abs=1e-3)
    # Renaming the classes, and reading backwards, change nothing.
    renamed = jnp.concatenate([logits[:, :1], logits[:, jnp.array(order)]], axis=1)
    names = jnp.array([1 + order.index(1), 1 + order.index(3)])
    assert compiled(renamed, names) == pytest.approx(float(loss), rel=1e-4, abs=1e-5)
    assert compiled(logits[::-1], labels[::-1]) == pytest.approx(float(loss), rel=1e-4, abs=1e-5)


def test_the_probabilities_of_all_labellings_add_up_to_one() -> None:
    logits = jnp.asarray(LOGITS[0, :3, :3])
    labellings = [list(each) for n in range(4) for each in itertools.product((1, 2), repeat=n)]
    padded = jnp.array([each + [1] * (3 - len(each)) for each in labellings])
    counts = jnp.array([len(each) for each in labellings])
    together = compiled(jnp.broadcast_to(logits[None], (len(labellings), 3, 3)), padded, target_lengths=counts)
    assert jnp.exp(-together).sum() == pytest.approx(1.0, rel=1e-5)


# ── Refusals ──

ONES, LABEL = jnp.ones((2, 4, 3)), jnp.ones((2, 2), int)


@pytest.mark.parametrize(
    ("arguments", "more", "error", "message"),
    [
        ((jnp.ones(3), LABEL), {}, ValueError, r"expected logits \[\*batch, time, classes\], got float32\[3\]"),
        ((ONES.astype(int), LABEL), {}, TypeError, r"expected floating-point logits, got int32\[2,4,3\]; cast them"),
        ((ONES, LABEL.astype(float)), {}, TypeError, r"expected integer targets, got float32\[2,2\]"),
        ((ONES, LABEL[0]), {}, ValueError, r"expected targets of shape \(2, 'labels'\) for logits .*, got int32\[2\]"),
        ((ONES, jnp.ones((3, 2), int)), {}, ValueError, r"expected targets of shape .* got int32\[3,2\]"),
        ((ONES, LABEL), {"blank": 3}, ValueError, r"expected blank in \[0, 3\), got 3"),
        ((ONES, LABEL), {"blank": -1}, ValueError, r"expected blank in \[0, 3\), got -1"),
        (
            (ONES, LABEL),
            {"logit_lengths": jnp.ones(3, int)},
            ValueError,
            r"expected logit_lengths of shape \(2,\), one per sequence, got int32\[3\]",
        ),
        (
            (ONES, LABEL),
            {"target_lengths": jnp.ones(2)},
            TypeError,
            r"expected integer target_lengths, got float32\[2\]",
        ),
        (
            (ONES, LABEL),
            {"logit_lengths": jnp.array([5, 1])},
            ValueError,
            r"expected logit_lengths in \[0, 4\], got \[5",
        ),
        (
            (ONES, LABEL),
            {"target_lengths": jnp.array([2, -1])},
            ValueError,
            r"expected target_lengths in \[0, 2\], got",
        ),
        ((ONES, 3 * LABEL), {}, ValueError, r"expected class indices in \[0, 3\), got 3 at position \(0, 0\)"),
        ((ONES, 0 * LABEL), {}, ValueError, r"expected targets without the blank 0, got \[\[0, 0\], \[0, 0\]\]"),
    ],
)
def test_refuses(arguments: tuple[Any, ...], more: dict[str, Any], error: type, message: str) -> None:
    refuses(losses.ctc, arguments, error, message, **more)


def test_what_cannot_be_seen_in_a_compiled_function_is_nan_for_its_example_only() -> None:
    ctc = jax.jit(lambda labels, times, counts: losses.ctc(ONES, labels, logit_lengths=times, target_lengths=counts))
    good = (LABEL, jnp.array([4, 4]), jnp.array([2, 2]))
    wrong = (
        (LABEL.at[1, 0].set(0), *good[1:]),
        (LABEL.at[1, 1].set(3), *good[1:]),
        (LABEL, jnp.array([4, 5]), good[2]),
        (LABEL, good[1], jnp.array([2, 3])),
    )
    assert jnp.isfinite(ctc(*good)).all()
    for each in wrong:
        assert jnp.isnan(ctc(*each)).tolist() == [False, True]
