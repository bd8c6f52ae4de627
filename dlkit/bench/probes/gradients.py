"""Probes of the gradient: its norm, its noise, and the effective learning rate of an update."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes.base import Probe, View, norm, probe_batch
from dlkit.bench.problems.base import Batch
from dlkit.typing import Array, Params

__all__ = ["CHUNKS", "PROBES"]

CHUNKS = 32  # of the probe batch, for the noise scale


def _gradient_norm(view: View) -> Mapping[str, Array]:
    gradient = jax.grad(view.loss)(view.params, probe_batch(view.train))
    return {"gradient_norm": norm(gradient)}


def _gradient_noise_scale(view: View) -> Mapping[str, Array]:
    """The simple noise scale tr(Sigma) / |G|^2."""
    noise, signal = _noise_and_signal(view, probe_batch(view.train), lambda gradient: gradient)
    return {"gradient_noise_scale": noise / signal, "gradient_noise": noise, "gradient_signal": signal}


def _curvature_noise_scale(view: View) -> Mapping[str, Array]:
    """The noise scale with the Hessian H of the loss on the probe batch, tr(H Sigma) / (G' H G)."""
    batch = probe_batch(view.train)
    _, product = jax.linearize(jax.grad(lambda params: view.loss(params, batch)), view.params)

    def hessian(gradient: Params) -> Params:
        return _float32(product(jax.tree.map(lambda part, param: part.astype(param.dtype), gradient, view.params)))

    noise, signal = _noise_and_signal(view, batch, hessian)
    return {"curvature_noise_scale": noise / signal, "curvature_noise": noise, "curvature_signal": signal}


def _noise_and_signal(view: View, batch: Batch, weigh: Callable[[Params], Params]) -> tuple[Array, Array]:
    """Estimates tr(W Sigma) and G' W G from the gradients of chunks and that of all of them together.

    With g_b the mean gradient of b independent examples, E g_b' W g_b = G' W G + tr(W Sigma) / b. Two batch sizes, b
    for one of the `CHUNKS` chunks and B for all, give unbiased estimates of both unknowns. Their ratio is biased, and
    of another sign where chance makes the estimate of G' W G so: average the two over points before dividing. Examples
    that do not fill a chunk are left out. NaN with fewer than two examples.

    Args:
        view: what the probe sees.
        batch: name -> [examples, ...].
        weigh: ``weigh(gradient) -> W gradient``, for a symmetric W.
    """
    examples = min((len(array) for array in batch.values()), default=0)
    if examples < 2:
        return jnp.float32(jnp.nan), jnp.float32(jnp.nan)
    chunks = min(CHUNKS, examples)
    size = examples // chunks
    pieces = {name: array[: chunks * size].reshape(chunks, size, *array.shape[1:]) for name, array in batch.items()}

    def add(carry: tuple[Params, Array], piece: Mapping[str, Array]) -> tuple[tuple[Params, Array], None]:
        total, squares = carry
        gradient = _float32(jax.grad(view.loss)(view.params, piece))
        return (jax.tree.map(jnp.add, total, gradient), squares + _dot(gradient, weigh(gradient))), None

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), view.params)
    (total, squares), _ = jax.lax.scan(add, (zeros, jnp.float32(0)), pieces)
    small, large = squares / chunks, _dot(total, weigh(total)) / chunks**2
    everything = chunks * size
    # G' W G = (B g_B' W g_B - b g_b' W g_b) / (B - b)
    signal = (everything * large - size * small) / (everything - size)
    # tr(W Sigma) = (g_b' W g_b - g_B' W g_B) / (1/b - 1/B)
    noise = (small - large) / (1 / size - 1 / everything)
    return noise, signal


def _effective_learning_rate(view: View) -> Mapping[str, Array]:
    """The c that explains the update best as u = -c g, by least squares: c = -<u, g> / <g, g>.

    g is the gradient of the last minibatch where the step began, so that for plain SGD, c is the learning rate (but for
    noise such as dropout, whose key is another). Momentum, adaptive methods and clipping move differently for the same
    nominal rate; c is comparable between them. Negative: the step went up the gradient. NaN where the gradient is 0.
    Dividing by the square of `weight_norm` gives the rate that acts on weights whose scale does not matter.
    """
    began = jax.tree.map(lambda param, change: param - change, view.params, view.update)
    gradient, update = _float32(jax.grad(view.loss)(began, view.batch)), _float32(view.update)
    size = norm(gradient)
    direction = jax.tree.map(lambda leaf: leaf / size, gradient)
    # c = -<u, g / |g|> / |g|
    return {
        "effective_learning_rate": -_dot(update, direction) / size,
        "learning_rate": jnp.asarray(view.learning_rate, jnp.float32),
    }


def _float32(tree: Params) -> Params:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def _dot(left: Params, right: Params) -> Array:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)
    total: Array = sum(jax.tree.leaves(products), jnp.float32(0))
    return total


PROBES = (
    Probe(
        "gradient_norm",
        ("gradient_norm",),
        _gradient_norm,
        cost=Evaluations(gradients=1),
        description="the norm of the gradient of the loss on the probe batch",
    ),
    Probe(
        "gradient_noise_scale",
        ("gradient_noise_scale", "gradient_noise", "gradient_signal"),
        _gradient_noise_scale,
        cost=Evaluations(gradients=1),
        description=f"tr(Sigma) / |G|^2, the batch size at which noise and gradient balance, and both parts; one "
        f"gradient for each of {CHUNKS} chunks of the probe batch; NaN without data",
        reference="McCandlish et al., 2018, appendix A, https://arxiv.org/abs/1812.06162",
    ),
    Probe(
        "curvature_noise_scale",
        ("curvature_noise_scale", "curvature_noise", "curvature_signal"),
        _curvature_noise_scale,
        cost=Evaluations(gradients=2, hessian_products=CHUNKS + 1),
        description=f"tr(H Sigma) / (G' H G), the batch size at which noise costs a step half of its gain, and both "
        f"parts; a gradient and a Hessian-vector product for each of {CHUNKS} chunks of the probe batch; NaN without "
        "data",
        reference="McCandlish et al., 2018, section 2.2, https://arxiv.org/abs/1812.06162",
    ),
    Probe(
        "effective_learning_rate",
        ("effective_learning_rate", "learning_rate"),
        _effective_learning_rate,
        cost=Evaluations(gradients=1),
        batch="minibatch",
        needs_update=True,
        description="the rate of plain gradient descent that comes closest to the last update, and the scheduled rate",
        reference="van Laarhoven, 2017, https://arxiv.org/abs/1706.05350, on why the nominal rate is not what acts",
    ),
)
