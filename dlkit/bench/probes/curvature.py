"""Sharpness: the largest eigenvalue of the Hessian, by Lanczos with Hessian-vector products."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes.base import Probe, View, probe_batch
from dlkit.typing import Array, Key, Params

__all__ = ["ITERATIONS", "PROBES", "sharpness"]

ITERATIONS = 20
ROUNDING = 1e-6  # of float32: what is left of a vector below this share of it is no direction


def sharpness(loss: Callable[[Params], Array], params: Params, *, key: Key, iterations: int = ITERATIONS) -> Array:
    r"""Returns the largest (algebraic) eigenvalue of the Hessian of a loss.

    Lanczos: in the Krylov space of a random vector v, spanned by v, Hv, H^2 v, ..., H is a tridiagonal matrix T, and
    the largest eigenvalue of T comes close to that of H from below. Full reorthogonalization keeps rounding from adding
    copies of eigenvalues. As many iterations as there are parameters give it exactly.

    Hessian-vector products are forward over reverse: the gradient is linearized once, which costs one gradient, then
    each iteration costs one product. Memory: `iterations` copies of the parameters, and what a
    gradient keeps.

    Args:
        loss: parameters -> scalar, twice differentiable; `relu`'s kinks count as straight.
        params: where.
        key: of the random vector to start from.
        iterations: products; at most as many as there are parameters are made.

    Returns:
        A float32 scalar. Negative if all curvature is; NaN if the Hessian has a NaN.

    Reference:
        Golub and Van Loan, Matrix computations, 2013, chapter 10; Ghorbani et al., "An investigation into neural net
        optimization via Hessian eigenvalue density", 2019, https://arxiv.org/abs/1901.10159.

    Example:
        >>> curvatures = jnp.array([-5.0, 1.0, 3.0])
        >>> sharpness(lambda x: 0.5 * jnp.sum(curvatures * x**2), jnp.ones(3), key=jax.random.key(0)).round(4)
        Array(3., dtype=float32)
    """
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda vector: loss(unravel(vector))), flat)

    def hessian(vector: Array) -> Array:
        image: Array = product(vector.astype(flat.dtype)).astype(jnp.float32)
        return image

    diagonal, beside = _lanczos(hessian, jax.random.normal(key, flat.shape), min(iterations, flat.size))
    tridiagonal = jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
    largest: Array = jnp.linalg.eigvalsh(tridiagonal)[-1]
    return largest


def _lanczos(product: Callable[[Array], Array], start: Array, iterations: int) -> tuple[Array, Array]:
    """The diagonal of T and the one beside it.

    Where the Krylov space is exhausted, the rest of T gets the first diagonal entry and no coupling: a value inside of
    the spectrum, which changes neither of its ends.
    """

    def along(basis: Array, vector: Array) -> Array:
        return jnp.dot(jnp.dot(basis, vector, precision="highest"), basis, precision="highest")

    def iterate(carry: tuple[Array, Array, Array], place: Array) -> tuple[tuple[Array, Array, Array], Array]:
        basis, vector, exhausted = carry
        basis = basis.at[place].set(vector)
        image = product(vector)
        # alpha_k = v_k' H v_k
        alpha = jnp.sum(vector * image)
        # w = H v_k without its part in the basis; once more for what rounding left of it
        rest = image - along(basis, image)
        rest = rest - along(basis, rest)
        # beta_k = ||w||, v_{k+1} = w / beta_k
        beta = jnp.linalg.norm(rest)
        ends = exhausted | (beta <= ROUNDING * jnp.linalg.norm(image))
        vector = jnp.where(ends, 0.0, rest / jnp.where(ends, 1.0, beta))
        return (basis, vector, ends), jnp.stack([alpha, jnp.where(ends, 0.0, beta), exhausted.astype(jnp.float32)])

    basis = jnp.zeros((iterations, start.size))
    carry = (basis, start / jnp.linalg.norm(start), jnp.zeros((), bool))
    _, table = jax.lax.scan(iterate, carry, jnp.arange(iterations))
    alphas, betas, exhausted = table.T
    return jnp.where(exhausted == 1, alphas[0], alphas), betas[:-1]


def _sharpness(view: View) -> Mapping[str, Array]:
    batch = probe_batch(view.train)
    return {"sharpness": sharpness(lambda params: view.loss(params, batch), view.params, key=view.key)}


PROBES = (
    Probe(
        "sharpness",
        ("sharpness",),
        _sharpness,
        cost=Evaluations(gradients=1, hessian_products=ITERATIONS),
        description=f"the largest eigenvalue of the Hessian of the loss on the probe batch, by {ITERATIONS} Lanczos "
        "iterations",
        reference="Cohen et al., 2021, https://arxiv.org/abs/2103.00065",
    ),
)
