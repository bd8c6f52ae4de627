"""Conformance rows of the losses and of the penalties of GANs.

Arguments that are probabilities, labels or logarithms of variances are made from any real ones inside the function.
"""

import jax
import jax.numpy as jnp

from dlkit import gan_losses, losses
from tests.cases.base import Case, Input, plain


def _probabilities(x: jax.Array) -> jax.Array:
    return jax.nn.softmax(jnp.clip(x, -10.0, 10.0))


def _decisions(loss, **settings):
    return lambda dtype: lambda logits, x: loss(logits, jax.nn.sigmoid(x), **settings)


def _margins(loss):
    return lambda dtype: lambda scores, x: loss(scores, jnp.where(x < 0, -1.0, 1.0).astype(dtype))


def _divergence(loss):
    return lambda dtype: lambda logits, x: loss(jax.nn.log_softmax(logits), _probabilities(x))


def _ctc(logits: jax.Array, labels: jax.Array) -> jax.Array:
    # Five times hold two labels, equal or not.
    return losses.ctc(logits, 1 + labels)


def _linear(dtype: str):
    kernel = jnp.asarray([[1.0, -2.0, 0.5, 0.0], [0.0, 1.0, 1.0, -1.0], [2.0, 0.0, -1.0, 1.0]], dtype)
    return lambda features, targets: losses.linear_cross_entropy(features, targets, kernel, chunk_size=4)


def _aft(distribution: str):
    return lambda dtype: (
        lambda location, times, log_scale: losses.aft(
            10.0 * jnp.tanh(location),
            jnp.exp(jnp.tanh(times)),
            times > 0,
            jnp.tanh(log_scale),
            distribution=distribution,
        )
    )


def _quadratic_critic(x: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(jnp.square(x), axis=-1)


# The penalties take one batch axis; here any number of axes, also none, is made into one.
def _gradient_penalty(real: jax.Array, fake: jax.Array) -> jax.Array:
    penalties = gan_losses.gradient_penalty(
        _quadratic_critic, real.reshape(-1, 3), fake.reshape(-1, 3), key=jax.random.key(0)
    )
    return penalties.reshape(real.shape[:-1])


def _r1_penalty(real: jax.Array) -> jax.Array:
    return gan_losses.r1_penalty(_quadratic_critic, real.reshape(-1, 3)).reshape(real.shape[:-1])


TWO = (Input((3,)), Input((3,)))
# An exponential has the relative error of its exponent, which goes to 80 here, as many times larger.
EXPONENTIAL = 4.0
LOGITS_AND_INDEX = (Input((4,)), Input((), classes=4))

CASES = (
    Case("losses.squared_error", plain(losses.squared_error), TWO, 1e18),
    Case("losses.absolute_error", plain(losses.absolute_error), TWO, 1e38),
    Case("losses.huber", plain(losses.huber), TWO, 1e38),
    Case("losses.huber-wide", plain(losses.huber, delta=30.0), TWO, 5e36),
    Case("losses.log_cosh", plain(losses.log_cosh), TWO, 7e37),
    Case("losses.quantile", plain(losses.quantile, level=0.9), TWO, 1e38),
    Case("losses.cross_entropy", plain(losses.cross_entropy), LOGITS_AND_INDEX, 1e38),
    Case("losses.cross_entropy-soft", plain(losses.cross_entropy), (Input((4,)), Input((4,))), 1e18),
    Case("losses.cross_entropy-smoothed", plain(losses.cross_entropy, label_smoothing=0.1), LOGITS_AND_INDEX, 1e37),
    Case("losses.cross_entropy-ignored", plain(losses.cross_entropy, ignored_index=2), LOGITS_AND_INDEX, 1e38),
    Case(
        "losses.cross_entropy-weighted",
        lambda dtype: lambda *inputs: losses.cross_entropy(*inputs, class_weights=jnp.array([0.0, 1.0, 0.5, 2.0])),
        LOGITS_AND_INDEX,
        5e37,
    ),
    Case("losses.binary_cross_entropy", _decisions(losses.binary_cross_entropy), TWO, 1e38),
    Case(
        "losses.binary_cross_entropy-weighted", _decisions(losses.binary_cross_entropy, positive_weight=3.0), TWO, 5e37
    ),
    Case("losses.focal", _decisions(losses.focal), TWO, 1e38),
    Case("losses.focal-weighted", _decisions(losses.focal, gamma=0.5, alpha=0.25), TWO, 1e38),
    Case("losses.cox", lambda dtype: lambda r, t: losses.cox(r, t, t > 0), (Input((4,)), Input((4,))), 1e37),
    Case(
        "losses.cox-breslow",
        lambda dtype: lambda r, t: losses.cox(r, jnp.sign(t), t > 0, ties="breslow"),
        (Input((4,)), Input((4,))),
        1e37,
    ),
    Case("losses.aft", _aft("weibull"), (*TWO, Input((3,))), 1e30, tolerance=EXPONENTIAL),
    Case("losses.aft-log-normal", _aft("log-normal"), (*TWO, Input((3,))), 1e30, tolerance=EXPONENTIAL),
    Case("losses.aft-log-logistic", _aft("log-logistic"), (*TWO, Input((3,))), 1e30),
    Case("losses.hinge", _margins(losses.hinge), TWO, 1e38),
    Case("losses.squared_hinge", _margins(losses.squared_hinge), TWO, 1e18),
    Case("losses.multiclass_hinge", plain(losses.multiclass_hinge), LOGITS_AND_INDEX, 1e38),
    Case("losses.kl_divergence", _divergence(losses.kl_divergence), (Input((4,)), Input((4,))), 1e37),
    Case("losses.reverse_kl_divergence", _divergence(losses.reverse_kl_divergence), (Input((4,)), Input((4,))), 1e37),
    Case("losses.jensen_shannon", _divergence(losses.jensen_shannon), (Input((4,)), Input((4,))), 1e37),
    Case(
        "losses.kl_divergence_normal",
        lambda dtype: lambda mean, x: losses.kl_divergence_normal(mean, 80.0 * jnp.tanh(x)),
        TWO,
        1e18,
    ),
    Case(
        "losses.gaussian_nll",
        lambda dtype: lambda mean, targets, x: losses.gaussian_nll(mean, targets, 20.0 * jnp.tanh(x)),
        (*TWO, Input((3,))),
        1e14,
    ),
    Case(
        "losses.gaussian_nll-full",
        lambda dtype: lambda mean, targets, x: losses.gaussian_nll(mean, targets, 20.0 * jnp.tanh(x), full=True),
        (*TWO, Input((3,))),
        1e14,
    ),
    Case(
        "losses.poisson_nll",
        lambda dtype: lambda x, targets: losses.poisson_nll(80.0 * jnp.tanh(x), jnp.abs(targets)),
        TWO,
        1e36,
        tolerance=EXPONENTIAL,
    ),
    Case(
        "losses.poisson_nll-full",
        lambda dtype: lambda x, targets: losses.poisson_nll(80.0 * jnp.tanh(x), jnp.abs(targets), full=True),
        TWO,
        1e36,
        tolerance=EXPONENTIAL,
    ),
    Case("losses.cosine_distance", plain(losses.cosine_distance), TWO, 1e38),
    Case("losses.triplet", plain(losses.triplet), (*TWO, Input((3,))), 5e37),
    Case("losses.info_nce", plain(losses.info_nce), (Input((4, 3)), Input((4, 3))), 1e38),
    Case("losses.linear_cross_entropy", _linear, (Input((3,)), Input((), classes=4)), 1e36),
    Case("losses.distillation", plain(losses.distillation), (Input((4,)), Input((4,))), 1e36),
    Case("losses.z_loss", plain(losses.z_loss), (Input((4,)),), 1e18),
    Case("losses.dice", _decisions(losses.dice), TWO, 1e38),
    Case("losses.multiclass_dice", plain(losses.multiclass_dice), (Input((3, 4)), Input((3,), classes=4)), 1e38),
    Case("losses.multiclass_focal", plain(losses.multiclass_focal), LOGITS_AND_INDEX, 1e38),
    Case("losses.multiclass_focal-half", plain(losses.multiclass_focal, gamma=0.5), LOGITS_AND_INDEX, 1e38),
    Case("losses.ordinal", plain(losses.ordinal), (Input((3,)), Input((), classes=4)), 1e37),
    Case("losses.nt_xent", plain(losses.nt_xent), (Input((4, 3)), Input((4, 3))), 1e38),
    Case(
        "losses.supervised_contrastive",
        plain(losses.supervised_contrastive),
        (Input((4, 3)), Input((4,), classes=2)),
        1e38,
    ),
    Case("losses.list_net", plain(losses.list_net), (Input((4,)), Input((4,))), 1e37),
    Case("losses.list_mle", plain(losses.list_mle), (Input((4,)), Input((4,))), 1e37),
    Case(
        "losses.student_t_nll",
        lambda dtype: (
            lambda location, targets, x: losses.student_t_nll(
                location, targets, 20.0 * jnp.tanh(x), degrees_of_freedom=3.0, full=True
            )
        ),
        (*TWO, Input((3,))),
        1e28,
    ),
    Case("losses.mixture_nll", plain(losses.mixture_nll), TWO, 1e37),
    Case(
        "losses.maximum_mean_discrepancy",
        plain(losses.maximum_mean_discrepancy),
        (Input((3, 2)), Input((4, 2))),
        1e18,
    ),
    Case("losses.sinkhorn", plain(losses.sinkhorn, iterations=5), (Input((3, 2)), Input((4, 2))), 1e15, tolerance=30.0),
    Case("losses.ctc", plain(_ctc), (Input((5, 3)), Input((2,), classes=2)), 1e37),
    Case("gan_losses.gradient_penalty", plain(_gradient_penalty), TWO, 1e18, batched=False),
    Case("gan_losses.r1_penalty", plain(_r1_penalty), (Input((3,)),), 1e18),
)
