"""Focal and Dice losses over classes, ordinal ones, distillation and z-loss against formulas and other libraries."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dlkit import losses
from tests.losses.oracles import assert_agrees_with_torch, assert_follows, refuses

RNG = np.random.default_rng(0)
LOGITS, INDICES = RNG.normal(0.0, 3.0, (5, 4)), np.array([0, 3, 1, 2, 3])
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0])
TEACHER = RNG.normal(0.0, 2.0, (5, 4))


def focal_formula(logits: np.ndarray, gamma: float) -> np.ndarray:
    p = np.take_along_axis(scipy.special.softmax(logits, axis=-1), INDICES[:, None], 1)[:, 0]
    return -((1 - p) ** gamma) * np.log(p)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_multiclass_focal_follows_the_formula(gamma: float) -> None:
    assert_follows(
        lambda x: losses.multiclass_focal(x, jnp.asarray(INDICES), gamma=gamma, class_weights=list(WEIGHTS)),
        lambda x: WEIGHTS[INDICES] * focal_formula(x, gamma),
        LOGITS,
    )


def test_multiclass_focal_of_two_classes_is_focal_of_the_difference() -> None:
    x = jnp.array([-1e4, -30.0, -1.0, 0.0, 2.0, 30.0, 1e4])
    pairs = jnp.stack([jnp.zeros(7), x], axis=-1)
    for target in (0, 1):
        two = losses.multiclass_focal(pairs, jnp.full(7, target), gamma=1.5)
        np.testing.assert_allclose(two, losses.focal(x, jnp.full(7, float(target)), gamma=1.5), rtol=2e-5, atol=1e-30)


def test_multiclass_focal_of_exponent_0_is_the_cross_entropy_in_its_second_derivative() -> None:
    def second(loss):
        return jax.hessian(lambda x: loss(x, jnp.array(1)))(jnp.array([50.0, -50.0, 0.0]))

    expected = second(losses.cross_entropy)
    np.testing.assert_allclose(second(lambda x, t: losses.multiclass_focal(x, t, gamma=0.0)), expected, atol=1e-7)


def dice_formula(p: np.ndarray, t: np.ndarray, smoothing: float) -> np.ndarray:
    return 1 - (2 * (p * t).sum(-1) + smoothing) / (p.sum(-1) + t.sum(-1) + smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_dice_follows_the_formula(smoothing: float) -> None:
    assert_follows(
        lambda x, t: losses.dice(x, t, smoothing=smoothing),
        lambda x, t: dice_formula(scipy.special.expit(x), t, smoothing),
        LOGITS,
        RNG.uniform(0.1, 0.9, (5, 4)),
    )


def test_multiclass_dice_follows_the_formula_and_leaves_out_what_is_ignored() -> None:
    def formula(x: np.ndarray) -> np.ndarray:
        counted = INDICES != 2
        p, t = scipy.special.softmax(x, axis=-1)[counted], np.eye(4)[INDICES[counted]]
        return dice_formula(p.T, t.T, 1.0)

    assert_follows(lambda x: losses.multiclass_dice(x, jnp.asarray(INDICES), ignored_index=2), formula, LOGITS)


def test_dice_of_nothing_found_where_nothing_is_is_0() -> None:
    nothing = jnp.full(3, -jnp.inf)
    value, gradient = jax.value_and_grad(lambda x: losses.dice(x, jnp.zeros(3), smoothing=0.0))(nothing)
    assert value == 0.0 and not gradient.any()


def test_ordinal_is_a_sum_of_decisions() -> None:
    above = (INDICES[:, None] > np.arange(3)).astype(float)
    assert_follows(
        lambda x: losses.ordinal(x, jnp.asarray(INDICES)),
        lambda x: (above * np.logaddexp(0, -x) + (1 - above) * np.logaddexp(0, x)).sum(-1),
        LOGITS[:, :3],
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_follows_the_formula_for_student_and_teacher(temperature: float) -> None:
    def formula(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
        p = scipy.special.log_softmax(student / temperature, axis=-1)
        u = scipy.special.log_softmax(teacher / temperature, axis=-1)
        return temperature**2 * (np.exp(u) * (u - p)).sum(-1)

    assert_follows(lambda x, u: losses.distillation(x, u, temperature=temperature), formula, LOGITS, TEACHER)


def test_distillation_and_focal_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    functional = torch.nn.functional
    assert_agrees_with_torch(
        losses.distillation,
        lambda x, u: (
            4.0
            * functional.kl_div(functional.log_softmax(x / 2, -1), functional.softmax(u / 2, -1), reduction="none").sum(
                -1
            )
        ),
        LOGITS,
        TEACHER,
    )


def test_distillation_of_a_teacher_who_excludes_a_class() -> None:
    student = jnp.array([0.0, 0.0, -jnp.inf])
    loss, gradient = jax.value_and_grad(losses.distillation)(student, jnp.array([1.0, 1.0, -jnp.inf]))
    assert loss == pytest.approx(0.0, abs=1e-6) and np.isfinite(gradient).all()


def test_z_loss_is_the_square_of_the_logarithm_of_the_sum() -> None:
    assert_follows(losses.z_loss, lambda x: scipy.special.logsumexp(x, axis=-1) ** 2, LOGITS)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("multiclass_focal", {}), ("multiclass_hinge", {}), ("ordinal", {}), ("cross_entropy", {"label_smoothing": 0.1})],
)
def test_an_index_out_of_range_is_nan_where_it_cannot_be_seen(name: str, settings: dict[str, float]) -> None:
    loss = getattr(losses, name)
    got = jax.jit(lambda t: loss(jnp.zeros((4, 3)), t, **settings))(jnp.array([-1, 0, 2, 5]))
    np.testing.assert_array_equal(jnp.isnan(got), [True, False, False, True])


def test_wrong_arguments_are_refused() -> None:
    ones, targets = jnp.ones((5, 4)), jnp.ones(5, int)
    message = r"expected floating-point class_weights of shape \(4,\), got float32\[3\]"
    refuses(losses.multiclass_focal, (ones, targets), ValueError, message, class_weights=jnp.ones(3))
    message = r"expected class indices of shape \(5,\), got logits float32\[5,4\] and targets int32\[4\]"
    refuses(losses.ordinal, (ones, jnp.ones(4, int)), ValueError, message)
    refuses(losses.ordinal, (ones, 5 * targets), ValueError, r"expected class indices in \[0, 5\), got 5")
    with pytest.raises(ValueError, match=r"^multiclass_dice: expected logits \[\*batch, elements, classes\]"):
        inspect.unwrap(losses.multiclass_dice)(jnp.ones(3), jnp.array(0))
    refuses(losses.distillation, (ones, ones), ValueError, "expected temperature above 0, got 0.0", temperature=0.0)
