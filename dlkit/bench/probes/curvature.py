"""Sharpness: the largest eigenvalue of the Hessian, also as a preconditioner sees it, by Lanczos."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes.base import Probe, View, norm, probe_batch
from dlkit.typing import Array, Key, Params

__all__ = ["ITERATIONS", "PROBES", "preconditioned_sharpness", "sharpness"]

ITERATIONS = 20
ADAM_EPS = 1e-8  # optax's, of optimizers that set none
TRIED_STEPS = 12  # of a method that says it is an Adam: Lookahead and its like differ every few steps only
NEAR = 1e-3  # share of a step, in float32
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


def preconditioned_sharpness(
    loss: Callable[[Params], Array], params: Params, diagonal: Params, *, key: Key, iterations: int = ITERATIONS
) -> Array:
    r"""Returns the largest eigenvalue of P^{-1/2} H P^{-1/2}, for the Hessian H of a loss and a diagonal P.

    It is the sharpness in the coordinates P^{1/2} x, in which a step along -P^{-1} g is one along the gradient.

    Args:
        loss: as in `sharpness`.
        params: where.
        diagonal: of P, positive; shaped like the parameters.
        key: as in `sharpness`.
        iterations: as in `sharpness`.

    Returns:
        A float32 scalar.

    Example:
        >>> loss = lambda x: 0.5 * jnp.sum(jnp.array([4.0, 9.0]) * x**2)
        >>> preconditioned_sharpness(loss, jnp.ones(2), jnp.array([1.0, 3.0]), key=jax.random.key(0)).round(4)
        Array(4., dtype=float32)
    """
    # y = P^{1/2} x has the Hessian P^{-1/2} H P^{-1/2}
    roots = jax.tree.map(jnp.sqrt, diagonal)
    scaled = jax.tree.map(lambda param, root: param * root.astype(param.dtype), params, roots)

    def rescaled_loss(point: Params) -> Array:
        return loss(jax.tree.map(lambda part, root: part / root.astype(part.dtype), point, roots))

    return sharpness(rescaled_loss, scaled, key=key, iterations=iterations)


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


def _preconditioned_sharpness(view: View) -> Mapping[str, Array]:
    batch, diagonal = probe_batch(view.train), _adam_diagonal(view)
    value = preconditioned_sharpness(lambda params: view.loss(params, batch), view.params, diagonal, key=view.key)
    return {"preconditioned_sharpness": value}


def _adam_diagonal(view: View) -> Params:
    """The diagonal of Adam's P = (1 - b1^t) (sqrt(nu / (1 - b2^t)) + eps), so that a step is -rate P^{-1} mu."""
    method, state, settings = view.optimizer
    where = f"probe 'preconditioned_sharpness', optimizer '{method.name}'"
    moments = _moments(state)
    if moments is None or not {"b1", "b2", "learning_rate"} <= settings.keys():
        raise UserError(
            f"{where}: it needs the state of one Adam, 'nu' (the average of squared gradients) with 'mu' and 'count', "
            "and the settings 'learning_rate', 'b1' and 'b2'; ask for it with adam, adamw and their like alone"
        )
    if jax.tree.map(jnp.shape, moments.nu) != jax.tree.map(jnp.shape, view.params):
        raise UserError(f"{where}: its 'nu' does not have the shapes of the parameters")
    leaves, structure = jax.tree.flatten(view.params)
    shapes = tuple(tuple(min(size, 3) for size in jnp.shape(leaf)) for leaf in leaves)
    fixed = tuple(sorted((name, value) for name, value in settings.items() if name not in method.space))
    if not _departure(method, fixed, structure, shapes) < NEAR:
        raise UserError(
            f"{where}: its steps, tried on small arrays, are not those of an Adam, -rate P^-1 mu; ask for it with "
            "adam, adamw and their like alone"
        )
    return _diagonal(moments, settings)


class _Moments(NamedTuple):
    steps: Array
    mu: Params
    nu: Params


def _moments(state: Any) -> _Moments | None:
    """What an optimizer's state keeps of gradients, under the names that Adam gives; None for another kind of state."""
    found = optax.tree_utils.tree_get_all_with_path(state, "nu")
    fields = _beside(state, found[0][0]) if len(found) == 1 else {}
    return _Moments(fields["count"], fields["mu"], found[0][1]) if fields.keys() == {"count", "mu"} else None


def _beside(state: Any, path: Any) -> dict[str, Any]:
    """What stands beside a field of an optimizer's state, of the names that Adam and its variants give."""
    named = ((name, optax.tree_utils.tree_get_all_with_path(state, name)) for name in ("count", "mu", "nu_max"))
    return {name: value for name, found in named for at, value in found if at[:-1] == path[:-1]}


def _diagonal(moments: _Moments, settings: Mapping[str, Any]) -> Params:
    steps, eps = jnp.asarray(moments.steps, jnp.float32), settings.get("eps", ADAM_EPS)
    first_left, second_left = (1 - jnp.asarray(settings[decay], jnp.float32) ** steps for decay in ("b1", "b2"))
    return jax.tree.map(lambda part: first_left * (jnp.sqrt(part.astype(jnp.float32) / second_left) + eps), moments.nu)


@lru_cache(maxsize=64)
def _departure(
    method: Optimizer, fixed: tuple[tuple[str, Any], ...], structure: Any, shapes: tuple[tuple[int, ...], ...]
) -> float:
    """How far a method's steps are from -rate P^{-1} mu, as a share of them, at most; weight decay is left out.

    The names in a state do not tell how it is used: of the same moments, RAdam, LAMB and Nesterov's Adam make other
    steps. So some steps are made, with numbers from the middle of the method's space and gradients that vary.
    """
    middle = {name: span.value(0.5) if isinstance(span, Range) else span for name, span in method.space.items()}
    with jax.ensure_compile_time_eval():
        values = {name: jnp.float32(value) for name, value in middle.items()}
        settings = {**dict(fixed), **values}
        key = {"key": jax.random.key(0)} if method.random else {}
        static = {name: settings[name] for name in method.static}
        transformation = optax.with_extra_args_support(method.build(**static, **values, **key))
        rate = settings["learning_rate"]
        decay = rate * settings.get("weight_decay", 0.0)

        def randoms(number: int) -> Params:
            keys = jax.random.split(jax.random.key(number), len(shapes))
            return jax.tree.unflatten(structure, list(map(jax.random.normal, keys, shapes)))

        @jax.jit
        def step(params: Params, state: Any, slopes: Params) -> tuple[Params, Any, Array]:
            def loss(point: Params) -> Array:
                parts = jax.tree.map(lambda x, slope: jnp.sum(0.5 * x**2 + slope * x), point, slopes)
                return jnp.sum(jnp.stack(jax.tree.leaves(parts)))

            value, gradient = jax.value_and_grad(loss)(params)
            more = {"value": value, "grad": gradient, "value_fn": loss, "obj_fn": loss, "grad_fn": jax.grad(loss)}
            updates, state = transformation.update(gradient, state, params, **more)
            moments = _moments(state)
            assert moments is not None

            def rest(update: Array, mu: Array, diagonal: Array, x: Array) -> Array:
                left = update + rate * mu / diagonal
                decayed = left + decay * x  # a mask may spare a part
                return jnp.where(jnp.linalg.norm(decayed) < jnp.linalg.norm(left), decayed, left)

            left = jax.tree.map(rest, updates, moments.mu, _diagonal(moments, settings), params)
            return optax.apply_updates(params, updates), state, norm(left) / norm(updates)

        params = randoms(0)
        state, shares = transformation.init(params), []
        for number in range(TRIED_STEPS):
            params, state, share = step(params, state, randoms(1 + number))
            shares.append(float(share))
    return max(shares)


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
    Probe(
        "preconditioned_sharpness",
        ("preconditioned_sharpness",),
        _preconditioned_sharpness,
        cost=Evaluations(gradients=1, hessian_products=ITERATIONS),
        needs_update=True,
        reads_optimizer=True,
        description="the largest eigenvalue of P^-1/2 H P^-1/2 with Adam's preconditioner P; at the edge of stability "
        "it is (2 + 2 b1) / ((1 - b1) rate): 38 / rate for b1 = 0.9",
        reference="Cohen et al., 2022, https://arxiv.org/abs/2207.14484",
    ),
)
