"""Second and third derivatives of losses are finite far from and near the targets: what curvature probes ask for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import losses

FAR = (-1000.0, -100.0, -20.0, 0.0, 20.0, 100.0, 1000.0)
DECISIONS = [(name, target) for name in ("binary_cross_entropy", "focal") for target in (0.0, 0.25, 1.0)]


def _in_classes(loss: Callable[..., jax.Array], targets: jax.Array) -> Callable[[jax.Array], jax.Array]:
    return lambda x: loss(jnp.stack([x, -x, 0 * x]), targets)


def _of_probabilities(loss: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
    shares = jnp.array([0.2, 0.5, 0.3])
    return lambda x: loss(jax.nn.log_softmax(jnp.stack([x, -x, 0 * x])), shares.astype(x.dtype))


def _of_vectors(loss: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
    others = jnp.array([[1.0, 2.0], [3.0, 2.0]])
    return lambda x: loss(jnp.stack([x, 0 * x + 1]), *others.astype(x.dtype))


def _error(loss: Callable[..., jax.Array], target: float = 1.0) -> Callable[[jax.Array], jax.Array]:
    return lambda x: loss(x, jnp.asarray(target, x.dtype))


TABLE: dict[str, Callable[[jax.Array], jax.Array]] = {
    **{f"{name}-{target}": _error(getattr(losses, name), target) for name, target in DECISIONS},
    **{
        f"focal-{gamma}-{target}": _error(
            lambda x, t, gamma=gamma: losses.focal(x, t, gamma=gamma, alpha=0.25), target=target
        )
        for gamma, target in ((0.0, 1.0), (0.0, 0.0), (0.5, 1.0), (0.5, 0.25), (1.0, 0.0), (1.5, 1.0), (3.0, 0.25))
    },
    "cross_entropy": _in_classes(losses.cross_entropy, jnp.int32(0)),
    "cross_entropy-soft": _in_classes(losses.cross_entropy, jnp.array([0.2, 0.5, 0.3])),
    "distillation": _in_classes(lambda x, t: losses.distillation(x, t), jnp.array([0.2, 0.5, 0.3])),
    "z_loss": _in_classes(lambda x, _: losses.z_loss(x), jnp.int32(0)),
    **{
        f"multiclass_focal-{gamma}": _in_classes(
            lambda x, t, gamma=gamma: losses.multiclass_focal(x, t, gamma=gamma), jnp.int32(0)
        )
        for gamma in (0.0, 0.5, 2.0)
    },
    "dice": _in_classes(losses.dice, jnp.array([1.0, 0.0, 1.0])),
    "ordinal": _in_classes(losses.ordinal, jnp.int32(2)),
    "list_net": _in_classes(losses.list_net, jnp.array([2.0, 0.0, 1.0])),
    "list_mle": _in_classes(losses.list_mle, jnp.array([2.0, 0.0, 1.0])),
    "student_t_nll": _error(lambda x, t: losses.student_t_nll(x, t, 0 * t, degrees_of_freedom=2.0)),
    "mixture_nll": _in_classes(losses.mixture_nll, jnp.array([2.0, 0.0, 1.0])),
    "multiclass_hinge": _in_classes(losses.multiclass_hinge, jnp.int32(1)),
    "hinge": _error(losses.hinge),
    "squared_hinge": _error(losses.squared_hinge),
    "squared_error": _error(losses.squared_error),
    "absolute_error": _error(losses.absolute_error),
    "huber": _error(losses.huber),
    "log_cosh": _error(losses.log_cosh),
    "quantile": _error(lambda x, t: losses.quantile(x, t, level=0.3)),
    "gaussian_nll": _error(lambda x, t: losses.gaussian_nll(x, t, 0 * t)),
    "kl_divergence": _of_probabilities(losses.kl_divergence),
    "reverse_kl_divergence": _of_probabilities(losses.reverse_kl_divergence),
    "jensen_shannon": _of_probabilities(losses.jensen_shannon),
    "kl_divergence_normal": lambda x: losses.kl_divergence_normal(x[None], 0 * x[None]),
    "cosine_distance": _of_vectors(lambda p, t, _: losses.cosine_distance(p, t)),
    "triplet": _of_vectors(losses.triplet),
    "info_nce": lambda x: losses.info_nce(jnp.stack([x, x + 1, 0 * x + 1, x]).reshape(2, 2), jnp.eye(2, dtype=x.dtype))[
        0
    ],
    "ctc": lambda x: losses.ctc(jnp.stack([x, -x, 0 * x] * 3).reshape(3, 3), jnp.array([1])),
    "poisson_nll": _error(lambda x, t: losses.poisson_nll(jnp.minimum(x, 20), t)),
    "cox": lambda x: losses.cox(jnp.stack([x, -x, 0 * x, x]), jnp.array([1.0, 2, 2, 3], x.dtype), jnp.ones(4)).sum(),
    **{
        f"aft-{distribution}": lambda x, distribution=distribution: losses.aft(
            *(jnp.stack([each, each]) for each in (x, 0 * x + 2.0)),
            jnp.array([0.0, 1.0]),
            jnp.zeros(2, x.dtype),
            distribution=distribution,
        ).sum()
        for distribution in ("log-logistic", "log-normal")
    },
    "aft-weibull": lambda x: losses.aft(
        jnp.maximum(x, -20.0)[None], 2.0 + 0 * x[None], jnp.ones(1), 0 * x[None], distribution="weibull"
    )[0],
}


@pytest.mark.long
@pytest.mark.parametrize("name", TABLE)
def test_second_derivatives_are_finite(name: str) -> None:
    function = TABLE[name]
    second = jax.grad(jax.grad(function))
    assert np.isfinite(jax.jit(lambda points: jax.lax.map(second, points))(jnp.array(FAR))).all()


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_third_derivatives_of_decisions_are_finite_in_any_precision(dtype: str) -> None:
    third = [jax.grad(jax.grad(jax.grad(function))) for name, function in TABLE.items() if name.startswith("focal")]
    every = jax.jit(lambda points: jax.lax.map(lambda x: jnp.stack([each(x) for each in third]), points))
    assert np.isfinite(every(jnp.array(FAR, dtype)).astype(jnp.float32)).all()


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_focal_of_exponent_0_is_the_cross_entropy_in_every_derivative(target: float) -> None:
    def derivatives(loss: Callable[..., jax.Array]) -> list[jax.Array]:
        functions = [_error(loss, target)]
        for _ in range(2):
            functions.append(jax.grad(functions[-1]))
        return [jax.jit(jax.vmap(function))(jnp.array(FAR)) for function in functions]

    for focal, plain in zip(
        derivatives(lambda x, t: losses.focal(x, t, gamma=0.0)), derivatives(losses.binary_cross_entropy), strict=True
    ):
        np.testing.assert_allclose(focal, plain, rtol=1e-6, atol=1e-30)
    if target != 0.25:
        right = jnp.where(jnp.array(target) == 1, 1000.0, -1000.0)
        assert jax.grad(jax.grad(_error(lambda x, t: losses.focal(x, t, gamma=0.0), target)))(right) == 0


def test_focal_has_the_slope_of_its_targets_at_a_certain_target() -> None:
    # d/dt of (t softplus(-x) + (1 - t) softplus(x)) q^2 at t = 1, by differences in double precision
    x = np.array([-3.0, 0.5, 4.0])

    def formula(t: float) -> np.ndarray:
        p = 1 / (1 + np.exp(-x))
        return (t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)) * ((1 - t) * p + t * (1 - p)) ** 2

    slopes = jax.grad(lambda t: losses.focal(jnp.asarray(x, jnp.float32), t).sum())(jnp.ones(3))
    np.testing.assert_allclose(slopes, (formula(1 + 1e-6) - formula(1 - 1e-6)) / 2e-6, rtol=1e-4)
