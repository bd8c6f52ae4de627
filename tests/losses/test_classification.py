"""Losses of classification against closed forms, optax, scikit-learn, hand-computed values and laws."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit import losses
from tests.losses.oracles import assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.0, 3.0, (5, 4)).astype(np.float32)
INDICES = np.array([0, 3, 1, 2, 3])
SOFT = RNG.dirichlet(np.ones(4), 5).astype(np.float32)
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0], np.float32)
SCORES, SIGNS = RNG.normal(0.0, 2.0, 9), RNG.choice([-1.0, 1.0], 9)

logits_strategy = hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def cross_entropy_formula(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return -(targets * scipy.special.log_softmax(logits, axis=-1)).sum(axis=-1)


# ── Cross-entropy ──


def test_cross_entropy_follows_the_formula_also_in_the_gradient_of_the_targets() -> None:
    assert_follows(losses.cross_entropy, cross_entropy_formula, LOGITS, SOFT)


def test_cross_entropy_agrees_with_optax() -> None:
    assert_equals(losses.cross_entropy, optax.losses.softmax_cross_entropy_with_integer_labels, LOGITS, INDICES)
    assert_equals(losses.cross_entropy, optax.losses.softmax_cross_entropy, LOGITS, SOFT)


def test_cross_entropy_by_hand() -> None:
    # softmax = (1/4, 3/4)
    logits = jnp.log(jnp.array([1.0, 3.0]))
    assert losses.cross_entropy(logits, jnp.array(0)) == pytest.approx(math.log(4.0))
    assert losses.cross_entropy(logits, jnp.array([0.5, 0.5])) == pytest.approx(math.log(4.0) - math.log(3.0) / 2)
    weighted = losses.cross_entropy(logits, jnp.array(0), class_weights=jnp.array([3.0, 5.0]))
    assert weighted == pytest.approx(3.0 * math.log(4.0))


@pytest.mark.parametrize("smoothing", [0.1, jnp.float32(0.1)])
def test_label_smoothing_agrees_with_optax(smoothing: float | jax.Array) -> None:
    one_hot = jax.nn.one_hot(INDICES, 4)
    expected = optax.losses.softmax_cross_entropy(jnp.asarray(LOGITS), optax.losses.smooth_labels(one_hot, 0.1))
    for targets in (jnp.asarray(INDICES), one_hot):
        smoothed = losses.cross_entropy(jnp.asarray(LOGITS), targets, label_smoothing=smoothing)
        np.testing.assert_allclose(smoothed, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 2])
def test_smoothing_class_weights_and_ignored_indices_agree_with_torch(smoothing: float, ignored: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    settings = {"label_smoothing": smoothing, "ignore_index": ignored, "reduction": "none"}
    logits = torch.tensor(LOGITS, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        logits, torch.tensor(INDICES), weight=torch.tensor(WEIGHTS), **settings
    )
    expected.sum().backward()

    def ours(logits: jax.Array) -> jax.Array:
        return losses.cross_entropy(
            logits,
            jnp.asarray(INDICES),
            label_smoothing=smoothing,
            ignored_index=ignored,
            class_weights=jnp.asarray(WEIGHTS),
        )

    np.testing.assert_allclose(ours(jnp.asarray(LOGITS)), expected.detach().numpy(), rtol=1e-5)
    gradient = jax.grad(lambda logits: ours(logits).sum())(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, logits.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_multiply_each_class_after_smoothing(smoothing: float) -> None:
    def formula(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return cross_entropy_formula(logits, WEIGHTS * ((1 - smoothing) * targets + smoothing / 4))

    def loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.cross_entropy(
            logits, targets, label_smoothing=smoothing, class_weights=jnp.asarray(WEIGHTS, logits.dtype)
        )

    assert_follows(loss, formula, LOGITS, SOFT)
    one_hot = np.eye(4, dtype=np.float32)[INDICES]
    by_index = losses.cross_entropy(
        jnp.asarray(LOGITS), jnp.asarray(INDICES), label_smoothing=smoothing, class_weights=jnp.asarray(WEIGHTS)
    )
    np.testing.assert_allclose(by_index, formula(LOGITS, one_hot), rtol=1e-5)


@pytest.mark.long
def test_an_ignored_example_has_no_loss_and_no_gradient_whatever_its_logits_are() -> None:
    logits = jnp.array([[1.0, 2.0, 3.0], [jnp.nan, jnp.inf, -jnp.inf], [1e38, -1e38, 0.0]])
    targets = jnp.array([2, -1, -1])
    function = jax.value_and_grad(
        lambda x: losses.cross_entropy(x, targets, ignored_index=-1, label_smoothing=0.1).sum()
    )
    value, gradient = function(logits)
    assert value == pytest.approx(float(losses.cross_entropy(logits[:1], targets[:1], label_smoothing=0.1)[0]))
    assert gradient[0].all() and not gradient[1:].any()
    # Also in a compiled function, where the index cannot be seen, and for an index that is a class.
    assert not jax.jit(lambda t: losses.cross_entropy(logits[:1], t, ignored_index=2))(jnp.array([2])).any()


@pytest.mark.parametrize("masked", [-np.inf, -3e38])
@pytest.mark.parametrize("targets", [jnp.array([0.5, 0.0, 0.5]), jnp.array(0)])
def test_a_masked_class_without_weight_adds_nothing(masked: float, targets: jax.Array) -> None:
    loss, gradient = jax.value_and_grad(losses.cross_entropy)(jnp.array([2.0, masked, 2.0]), targets)
    assert loss == pytest.approx(math.log(2.0))
    assert gradient[1] == 0.0 and jnp.isfinite(gradient).all()


def test_a_class_index_out_of_range_is_refused_and_nan_where_it_cannot_be_seen() -> None:
    logits, targets = jnp.zeros((4, 3)), jnp.array([-1, 0, 2, 3])
    for loss in (losses.cross_entropy, losses.multiclass_hinge):
        refuses(loss, (logits, targets), ValueError, r"expected class indices in \[0, 3\), got -1 at position \(0,\)")
        np.testing.assert_array_equal(jnp.isnan(jax.jit(loss)(logits, targets)), [True, False, False, True])
    message = r"expected class indices in \[0, 3\) or -1, got 3 at position \(3,\)"
    refuses(losses.cross_entropy, (logits, targets), ValueError, message, ignored_index=-1)


def test_small_integer_dtypes_count_all_classes() -> None:
    logits = jnp.zeros(300).at[256].set(50.0)
    assert losses.cross_entropy(logits, jnp.array(200, jnp.uint8)) == pytest.approx(50.0, rel=1e-5)
    # A signed byte holds the index -1, an unsigned one cannot: neither is class 255.
    loss = losses.cross_entropy(logits, jnp.array(-1, jnp.int8), ignored_index=-1)
    assert loss == 0.0


@pytest.mark.long
@given(logits_strategy, st.floats(-100, 100, width=32), st.permutations(range(4)))
def test_cross_entropy_laws(logits: np.ndarray, shift: float, order: list[int]) -> None:
    logits, targets = jnp.asarray(logits), jnp.asarray(SOFT[:3])
    loss = losses.cross_entropy(logits, targets)
    permuted = losses.cross_entropy(logits[:, jnp.array(order)], targets[:, jnp.array(order)])
    np.testing.assert_allclose(losses.cross_entropy(logits + shift, targets), loss, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(permuted, loss, rtol=1e-4, atol=1e-4)
    # Gibbs: the cross-entropy is at least the entropy of the targets.
    assert (loss >= -jnp.sum(targets * jnp.log(targets), axis=-1) - 1e-4).all()


@given(logits_strategy, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_integer_and_one_hot_targets_agree(logits: np.ndarray, indices: list[int]) -> None:
    targets = jnp.array(indices)
    np.testing.assert_array_equal(
        losses.cross_entropy(jnp.asarray(logits), targets),
        losses.cross_entropy(jnp.asarray(logits), jax.nn.one_hot(targets, 4)),
    )


def test_every_mode_of_differentiation_of_indices_agrees_with_one_hot_targets() -> None:
    logits, indices, one_hot = jnp.asarray(LOGITS), jnp.asarray(INDICES), jnp.eye(4)[INDICES]
    for mode in (jax.jacfwd, jax.jacrev, jax.hessian):
        ours, theirs = (
            jax.jit(mode(lambda x, t=t: losses.cross_entropy(x, t, label_smoothing=0.1).sum()))(logits)
            for t in (indices, one_hot)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_for_indices_needs_no_memory_of_the_size_of_the_logits_beside_itself(smoothing: float) -> None:
    logits, targets = jax.ShapeDtypeStruct((64, 5000), jnp.float32), jax.ShapeDtypeStruct((64,), jnp.int32)

    def mean(logits: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.cross_entropy(logits, targets, label_smoothing=smoothing).mean()

    memory = jax.jit(jax.grad(mean)).lower(logits, targets).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.1 * 64 * 5000 * 4


def linear_arguments(tokens: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(tokens, 3)), rng.integers(0, 6, tokens), rng.normal(size=(3, 6)), rng.normal(size=6)


@pytest.mark.parametrize("chunk_size", [3, 7, 100])
def test_linear_cross_entropy_follows_the_formula_for_any_chunks(chunk_size: int) -> None:
    x, targets, kernel, bias = linear_arguments(7)
    assert_follows(
        lambda x, kernel, bias: losses.linear_cross_entropy(
            x, jnp.asarray(targets), kernel, bias=bias, chunk_size=chunk_size, label_smoothing=0.1, ignored_index=2
        ),
        lambda x, kernel, bias: (
            cross_entropy_formula(x @ kernel + bias, 0.9 * np.eye(6)[targets] + 0.1 / 6) * (targets != 2)
        ),
        x,
        kernel,
        bias,
    )


def test_linear_cross_entropy_never_has_all_logits() -> None:
    shapes = [(4096, 16), (16, 1000)]
    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    targets = jax.ShapeDtypeStruct((4096,), jnp.int32)

    def mean(x: jax.Array, kernel: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.linear_cross_entropy(x, targets, kernel, chunk_size=128).mean()

    memory = jax.jit(jax.grad(mean, argnums=(0, 1))).lower(x, kernel, targets).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.25 * 4096 * 1000 * 4


def test_linear_cross_entropy_refuses_what_does_not_belong_together() -> None:
    x, targets, kernel = (jnp.asarray(each) for each in linear_arguments(4)[:3])
    refuses(
        losses.linear_cross_entropy, (x, targets[:3], kernel), ValueError, r"expected class indices of shape \(4,\)"
    )
    refuses(losses.linear_cross_entropy, (x, targets, kernel.T), ValueError, r"expected features \[\*batch, features\]")
    refuses(losses.linear_cross_entropy, (x, targets, kernel), ValueError, "expected chunk_size", chunk_size=0)
    refuses(losses.linear_cross_entropy, (x, targets + 6, kernel), ValueError, r"expected class indices in \[0, 6\)")


# ── Yes-or-no decisions ──


def binary_formula(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)


def focal_formula(x: np.ndarray, t: np.ndarray, gamma: float = 2.0) -> np.ndarray:
    p = scipy.special.expit(x)
    return binary_formula(x, t) * ((1 - t) * p + t * (1 - p)) ** gamma


def test_binary_losses_follow_the_formula() -> None:
    x, t = RNG.normal(0.0, 3.0, 8), RNG.uniform(0.1, 0.9, 8)
    assert_follows(losses.binary_cross_entropy, binary_formula, x, t)
    assert_follows(
        lambda x, t: losses.binary_cross_entropy(x, t, positive_weight=3.0),
        lambda x, t: binary_formula(x, t) + 2.0 * t * np.logaddexp(0, -x),
        x,
        t,
    )
    assert_follows(losses.focal, focal_formula, x, t)
    assert_follows(
        lambda x, t: losses.focal(x, t, gamma=0.7, alpha=0.25),
        lambda x, t: focal_formula(x, t, 0.7) * (0.25 * t + 0.75 * (1 - t)),
        x,
        t,
    )


def test_binary_losses_agree_with_optax() -> None:
    x, t = RNG.normal(0.0, 3.0, 8).astype(np.float32), jnp.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.3, 0.8])
    assert_equals(losses.binary_cross_entropy, optax.losses.sigmoid_binary_cross_entropy, x, t)
    for gamma, alpha in ((2.0, None), (1.5, 0.3)):
        assert_equals(
            lambda x, gamma=gamma, alpha=alpha: losses.focal(x, t, gamma=gamma, alpha=alpha),
            lambda x, gamma=gamma, alpha=alpha: optax.losses.sigmoid_focal_loss(x, t, alpha=alpha, gamma=gamma),
            x,
        )


def test_binary_cross_entropy_is_the_cross_entropy_of_two_classes() -> None:
    x, t = jnp.asarray(LOGITS[:, 0]), jnp.asarray(SOFT[:, 0])
    pairs, shares = jnp.stack([jnp.zeros(5), x], axis=-1), jnp.stack([1 - t, t], axis=-1)
    np.testing.assert_allclose(
        losses.binary_cross_entropy(x, t), losses.cross_entropy(pairs, shares), rtol=1e-5, atol=1e-6
    )


@given(st.floats(-50, 50, width=32), st.floats(0, 1, width=32), st.floats(0, 4))
def test_binary_laws(x: float, t: float, gamma: float) -> None:
    logit, target = jnp.float32(x), jnp.float32(t)
    entropy, focused = losses.binary_cross_entropy(logit, target), losses.focal(logit, target, gamma=gamma)
    # The mirrored decision has the same loss; focusing only takes away; gamma = 0 takes nothing.
    assert losses.binary_cross_entropy(-logit, 1 - target) == pytest.approx(float(entropy), rel=1e-4, abs=1e-6)
    assert losses.focal(-logit, 1 - target, gamma=gamma) == pytest.approx(float(focused), rel=1e-3, abs=1e-6)
    assert 0 <= focused <= entropy * (1 + 1e-6)
    assert losses.focal(logit, target, gamma=0.0) == pytest.approx(float(entropy), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_gradients_of_focal_by_gamma_and_at_certainty_are_finite(gamma: float) -> None:
    for logit in (0.0, 40.0, 100.0, 1e4, -100.0, -1e4):
        slopes = jax.grad(lambda x, g: losses.focal(x, jnp.float32(1.0), gamma=g), argnums=(0, 1))(
            jnp.float32(logit), jnp.float32(gamma)
        )
        assert np.isfinite(slopes).all()
        q, surprise = scipy.special.expit(-logit), np.logaddexp(0, -logit)
        expected = -(gamma * q**gamma * (1 - q) * surprise + q ** (gamma + 1)) if q else 0.0
        assert slopes[0] == pytest.approx(expected, rel=1e-5, abs=1e-12)


# ── Margins ──


def test_margin_losses_follow_the_formula() -> None:
    def hinge_formula(s: np.ndarray) -> np.ndarray:
        return np.maximum(0, 1 - SIGNS * s)

    with jax.enable_x64(True):
        signs = jnp.asarray(SIGNS)
    assert_follows(lambda s: losses.hinge(s, signs), hinge_formula, SCORES)
    assert_follows(lambda s: losses.squared_hinge(s, signs), lambda s: hinge_formula(s) ** 2, SCORES)
    assert_follows(
        lambda s: losses.multiclass_hinge(s, jnp.asarray(INDICES)),
        lambda s: np.maximum(
            0, np.max(s + 1 - np.eye(4)[INDICES], -1) - np.take_along_axis(s, INDICES[:, None], 1)[:, 0]
        ),
        LOGITS,
    )


def test_margin_losses_agree_with_optax_and_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, signs = jnp.asarray(SCORES, jnp.float32), jnp.asarray(SIGNS, jnp.float32)
    assert_equals(lambda s: losses.hinge(s, signs), lambda s: optax.losses.hinge_loss(s, signs), scores)
    assert_equals(losses.multiclass_hinge, optax.losses.multiclass_hinge_loss, LOGITS, INDICES)
    assert losses.hinge(scores, signs).mean() == pytest.approx(metrics.hinge_loss(signs, scores), rel=1e-6)
    assert losses.multiclass_hinge(jnp.asarray(LOGITS), jnp.asarray(INDICES)).mean() == pytest.approx(
        metrics.hinge_loss(INDICES, LOGITS, labels=[0, 1, 2, 3]), rel=1e-6
    )


@pytest.mark.parametrize(
    ("loss", "values", "slopes"),
    [(losses.hinge, [0.0, 0.0, 0.5, 3.0], [0, 0, -1, -1]), (losses.squared_hinge, [0, 0, 0.25, 9], [0, 0, -1, -6])],
)
def test_margins_by_hand_with_the_kink(loss: Callable[..., jax.Array], values: Any, slopes: Any) -> None:
    scores, targets = jnp.array([2.0, 1.0, 0.5, -2.0]), jnp.ones(4)
    assert loss(scores, targets).tolist() == values
    assert jax.grad(lambda s: loss(s, targets).sum())(scores).tolist() == slopes
    mirrored = jax.grad(lambda s: loss(s, -targets).sum())(-scores)
    assert loss(-scores, -targets).tolist() == values and mirrored.tolist() == [-slope for slope in slopes]


def test_multiclass_hinge_of_ties_shares_the_gradient_and_a_masked_class_adds_nothing() -> None:
    gradient = jax.grad(losses.multiclass_hinge)
    assert gradient(jnp.array([1.0, 2.0, 2.0]), jnp.array(0)).tolist() == [-1.0, 0.5, 0.5]
    assert gradient(jnp.array([5.0, 2.0, 2.0]), jnp.array(0)).tolist() == [0.0, 0.0, 0.0]
    masked = jnp.array([1.0, -jnp.inf, 0.5])
    assert losses.multiclass_hinge(masked, jnp.array(0)) == 0.5
    assert gradient(masked, jnp.array(0)).tolist() == [-1.0, 0.0, 1.0]


# ── Refusals ──


@pytest.mark.parametrize("name", ["cross_entropy", "multiclass_hinge"])
@pytest.mark.parametrize(
    ("scores", "targets", "error", "message"),
    [
        ((5, 4), jnp.ones((5, 1), int), ValueError, r"expected class indices of shape \(5,\), got .* int32\[5,1\]$"),
        ((5, 4), jnp.ones((5, 4), int), ValueError, r".* targets int32\[5,4\]; cast one-hot targets to a floating"),
        ((5, 4), jnp.ones(5, bool), TypeError, r"expected integer class indices.* got .*bool\[5\]"),
        ((), jnp.ones((), int), ValueError, r"expected (logits|scores) \[\*batch, classes\], got a scalar"),
    ],
)
def test_losses_over_classes_refuse(
    name: str, scores: tuple[int, ...], targets: jax.Array, error: type, message: str
) -> None:
    refuses(getattr(losses, name), (jnp.ones(scores), targets), error, message)


@pytest.mark.parametrize("name", ["cross_entropy", "multiclass_hinge"])
def test_losses_over_classes_refuse_integer_scores(name: str) -> None:
    arguments = jnp.ones((5, 4), int), jnp.ones(5, int)
    refuses(
        getattr(losses, name), arguments, TypeError, r"expected floating-point (logits|scores), got int32\[5,4\]; cast"
    )


def test_soft_targets_are_refused_where_they_have_no_meaning() -> None:
    soft, logits = jnp.ones(5), jnp.ones((5, 4))
    message = r"expected soft targets of the shape of the logits, got .* targets float32\[5\]"
    refuses(losses.cross_entropy, (logits, soft), ValueError, message)
    refuses(losses.multiclass_hinge, (logits, soft), TypeError, r"expected integer class indices, got float32\[5\]")
    message = "expected class indices as targets beside ignored_index, got"
    refuses(losses.cross_entropy, (logits, logits), ValueError, message, ignored_index=0)


def test_class_weights_must_belong_to_the_classes() -> None:
    arguments, wrong = (jnp.ones((5, 4)), jnp.ones(5, int)), jnp.ones(3)
    message = r"expected class_weights of shape \(4,\), got float32\[3\]"
    refuses(losses.cross_entropy, arguments, ValueError, message, class_weights=wrong)
    message = r"expected floating-point class_weights, got int32\[4\]"
    refuses(losses.cross_entropy, arguments, TypeError, message, class_weights=jnp.ones(4, int))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "focal", "hinge", "squared_hinge"])
def test_losses_of_one_score_refuse(name: str) -> None:
    loss, ones = getattr(losses, name), jnp.ones(3)
    refuses(
        loss, (ones, jnp.ones((3, 1))), ValueError, r"expected .* of one shape, got float32\[3\] and float32\[3,1\]"
    )
    refuses(loss, (ones, jnp.ones(3, int)), TypeError, r"expected floating-point targets, got int32\[3\]; cast them")
    refuses(loss, (jnp.ones(3, int), ones), TypeError, r"expected floating-point (logits|scores), got int32\[3\]")


def test_targets_out_of_range_are_refused_by_value_and_position() -> None:
    scores, wrong = jnp.zeros((2, 2)), jnp.array([[1.0, 1.0], [1.0, 2.0]])
    for loss in (losses.binary_cross_entropy, losses.focal):
        refuses(loss, (scores, wrong), ValueError, r"expected targets in \[0, 1\], got 2.0 at position \(1, 1\)")
        refuses(loss, (scores, -wrong), ValueError, r"expected targets in \[0, 1\], got -1.0 at position \(0, 0\)")
        refuses(loss, (scores, jnp.nan * wrong), ValueError, r"expected targets in \[0, 1\], got nan")
        refuses(loss, (scores[0, 0], wrong[1, 1]), ValueError, r"expected targets in \[0, 1\], got 2.0$")
        loss(scores, jnp.full((2, 2), 1.0 + 1e-6))  # rounding of mixed probabilities is no mistake
    for loss in (losses.hinge, losses.squared_hinge):
        refuses(loss, (scores, wrong), ValueError, r"expected targets of -1 and \+1, got 2.0 at position \(1, 1\)")
        refuses(loss, (scores, scores), ValueError, r"expected targets of -1 and \+1, got 0.0 at position \(0, 0\)")


@pytest.mark.parametrize(
    ("name", "setting", "value", "message"),
    [
        ("cross_entropy", "label_smoothing", -0.1, "expected label_smoothing at least 0 and below 1, got -0.1"),
        ("cross_entropy", "label_smoothing", 1.0, "expected label_smoothing at least 0 and below 1, got 1.0"),
        ("cross_entropy", "label_smoothing", math.nan, "expected label_smoothing at least 0 and below 1, got nan"),
        ("binary_cross_entropy", "positive_weight", -1.0, "expected positive_weight at least 0, got -1.0"),
        ("focal", "gamma", -1.0, "expected gamma at least 0, got -1.0"),
        ("focal", "alpha", 1.5, "expected alpha at least 0 and at most 1, got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, setting: str, value: float, message: str) -> None:
    refuses(getattr(losses, name), (jnp.ones(2), jnp.ones(2)), ValueError, message, **{setting: value})
