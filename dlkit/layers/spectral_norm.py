"""Spectral normalization: kernels divided by their largest singular value."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.checks import require_size
from dlkit.layers.base import About, Layer, Part, described
from dlkit.layers.calls import Call, Ran, Shapes, apply_inside, composite, init_inside
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["spectral_norm"]

_TINY = 1e-30  # keeps the norm of a vector of zeros from dividing
_START_ITERATIONS = 30  # at the start, when no step has been made that could have begun the iteration


@described
def spectral_norm(layer: Layer, *, iterations: int = 1) -> Layer:
    """Spectral normalization: a layer with each of its kernels W divided by sigma(W), its largest singular value.

    Kernels are the parameters with at least two axes, taken as matrices `[everything else, outputs]`; biases and scales
    stay as they are. With activations that are 1-Lipschitz, a chain of dense layers is then 1-Lipschitz too. (Of a
    convolution, the matrix is the paper's: it bounds the norm of the map up to a factor.)

    sigma is v' W u, with u and v from the power iteration v <- W u / |W u|, u <- W' v / |W' v|, which goes on while
    `train` is true, from where the last step left it; they count as constants in gradients.

    Parameters: those of the layer, from the same bits. State: `{"layer": the layer's, "singular": {kernel: u}}`.

    Args:
        layer: what to normalize; `lengths=` and side inputs reach it.
        iterations: of the power method at each application with `train`.

    Returns:
        A layer of the same inputs and outputs.

    Raises:
        ValueError: iterations is no positive integer.

    Reference:
        Miyato et al., "Spectral normalization for generative adversarial networks", 2018,
        https://arxiv.org/abs/1802.05957.

    Example:
        >>> from dlkit.layers import dense
        >>> normalized = spectral_norm(dense(2, kernel_init=lambda key, shape, dtype: jnp.diag(jnp.array([4.0, 2.0]))))
        >>> params, state = normalized.init(jax.random.key(0), (2,))
        >>> normalized.apply(params, state, jnp.array([1.0, 1.0]))[0]
        Array([1. , 0.5], dtype=float32)
    """
    require_size("spectral_norm", iterations=iterations)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        params, state = init_inside(layer, key, input_shape, shapes)
        singular = {}
        for name, kernel in _kernels(params).items():
            start = jax.random.normal(jax.random.fold_in(key, zlib.crc32(name.encode())), kernel.shape[-1:])
            singular[name] = _iterated(kernel, _unit(start), _START_ITERATIONS)
        return params, {"layer": state, "singular": singular}

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        singular = state["singular"]
        if call.train:
            kernels = _kernels(jax.lax.stop_gradient(params))
            singular = {name: _iterated(kernel, singular[name], iterations) for name, kernel in kernels.items()}

        def normalized(path: tuple[Any, ...], leaf: Array) -> Array:
            name = jax.tree_util.keystr(path)
            return leaf / _largest(leaf, singular[name]).astype(leaf.dtype) if name in singular else leaf

        params = jax.tree_util.tree_map_with_path(normalized, params)
        y, inner, after = apply_inside(layer, params, state["layer"], x, call)
        return y, {"layer": inner, "singular": singular}, after

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return spectral_norm(layers[0], iterations=iterations)

    return composite("spectral_norm", init, run, About(parts=(Part("", layer, apart=True),), rebuild=rebuild))


def _kernels(params: Params) -> dict[str, Array]:
    """Path -> parameter, of those with at least two axes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.ndim >= 2}


def _matrix(kernel: Array) -> Array:
    return kernel.reshape(-1, kernel.shape[-1]).astype(jnp.promote_types(kernel.dtype, jnp.float32))


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), _TINY)


def _iterated(kernel: Array, right: Array, iterations: int) -> Array:
    """The right singular vector after some steps of the power method."""
    matrix = _matrix(kernel)

    def step(_: Array | int, right: Array) -> Array:
        # u <- W' v / |W' v| with v = W u / |W u|
        return _unit(matrix.T @ _unit(matrix @ right))

    right = right.astype(matrix.dtype)
    right = step(0, right) if iterations == 1 else jax.lax.fori_loop(0, iterations, step, right)
    return right.astype(jnp.float32)


def _largest(kernel: Array, right: Array) -> Array:
    """The largest singular value: sigma = v' W u; 1 for a kernel of zeros."""
    matrix = _matrix(kernel)
    right = right.astype(matrix.dtype)
    left = jax.lax.stop_gradient(_unit(matrix @ right))
    sigma = left @ matrix @ right
    return jnp.where(sigma > 0, sigma, 1.0)
