"""Initial weights by name: He, Glorot, LeCun or orthogonal, and their scale."""

import inspect
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.space import is_number
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.factories import Make
from dlkit.regularizers.masks import Mask, all_of, by_name, none_of, path_names, weights_only
from dlkit.typing import Array, Initializer, Key, Params, State

__all__ = ["DEFAULT", "INITIALIZATIONS", "matrices_only", "reinitialized", "with_initialization"]

DEFAULT = "default"  # what the model's layers draw themselves


def _normal(variance: float, mode: Literal["fan_in", "fan_avg"]) -> Callable[[int, int], Initializer]:
    """A truncated normal whose variance is `variance` over the fan of `mode`."""
    return lambda in_axis, out_axis: jax.nn.initializers.variance_scaling(
        variance, mode, "truncated_normal", in_axis, out_axis
    )


INITIALIZATIONS: Mapping[str, Callable[[int, int], Initializer]] = MappingProxyType(
    {
        "he": _normal(2.0, "fan_in"),
        "glorot": _normal(1.0, "fan_avg"),
        "lecun": _normal(1.0, "fan_in"),
        "orthogonal": lambda in_axis, out_axis: jax.nn.initializers.orthogonal(column_axis=out_axis),
    }
)
"""Name -> ``(in_axis, out_axis) -> initializer``. Normal draws with variance 2 / fan_in, 2 / (fan_in + fan_out) or
1 / fan_in; or orthonormal rows or columns, whichever are fewer. A fan counts a kernel's taps."""

matrices_only: Mask = all_of(weights_only, none_of(by_name("embedding", "*/embedding", "embeddings", "*/embeddings")))
"""Takes matrices and kernels; not biases and normalizations, nor tables of embeddings, whose rows are not summed."""


def reinitialized(
    problem: Problem,
    initialization: str,
    *,
    scale: float = 1.0,
    mask: Mask | None = None,
    in_axis: int = -2,
    out_axis: int = -1,
) -> Problem:
    """Returns the problem with other initial weights; everything else, such as biases and the state, starts as it did.

    A weight's draw follows from the trial's seed and from the names that lead to it: neither from its place among
    others nor from the initialization. So initializations are compared on paired draws. A kernel that holds several
    gates side by side counts as the one matrix that it is.

    Args:
        problem: what is trained.
        initialization: a name of `INITIALIZATIONS`; ``"default"`` for the problem's own draw, scaled.
        scale: what the weights are multiplied with.
        mask: ``(path, leaf) -> bool``: which leaves are weights, all with their axes where `in_axis` and `out_axis`
            say. None for `matrices_only`, which goes by names and shapes: it takes a table of embeddings that is called
            ``weight``, as equinox has it, for a matrix. Leaves of three axes are then refused, since a shape does not
            tell a convolution along time from heads of attention or from stacked layers; of more axes, all but two are
            taken for a convolution's taps.
        in_axis: the axis of a weight that is summed over.
        out_axis: the axis of what comes out; modules of equinox have ``in_axis=1, out_axis=0``.

    Returns:
        The problem; the same object for the default with scale 1.

    Raises:
        UserError: for what is no problem, an unknown name, or a scale that is no number of at least 0. Its `init`
            raises one if there is no weight, or one of three axes without a mask.

    Example:
        >>> from dlkit.bench import problems
        >>> problem = reinitialized(problems.get("wine-mlp"), "orthogonal", scale=2.0)
        >>> kernel = problem.init(jax.random.key(0))[0]["output"]["dense"]["kernel"]
        >>> jnp.abs(kernel.T @ kernel - 4 * jnp.eye(3)).max() < 1e-5
        Array(True, dtype=bool)
    """
    if not isinstance(problem, Problem):
        raise UserError(
            f"reinitialized: expected a bench.Problem, such as bench.problems.get('wine-mlp'), got {problem!r}"
        )
    where = f"problem '{problem.name}'"
    if initialization not in (DEFAULT, *INITIALIZATIONS):
        raise UserError(f"{where}: no initialization '{initialization}'; {nearest(initialization, _names())}")
    if not is_number(scale) or scale < 0:
        raise UserError(f"{where}: the scale of an initialization must be a number of at least 0, got {scale!r}")
    if initialization == DEFAULT and scale == 1:
        return problem
    drawn = None if initialization == DEFAULT else INITIALIZATIONS[initialization](in_axis, out_axis)

    def init(key: Key) -> tuple[Params, State]:
        params, state = problem.init(key)
        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        own = jax.random.fold_in(key, zlib.crc32(b"initialization"))
        paths = [path_names(path) for path, _ in leaves]
        taken = [(mask or matrices_only)(path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)]
        if not any(taken):
            raise UserError(f"{where}: has no weights that '{initialization}' could initialize; leave it out")
        if mask is None and drawn is not None:
            weights = [
                (path, leaf) for path, (_, leaf), is_weight in zip(paths, leaves, taken, strict=True) if is_weight
            ]
            _require_axes(where, initialization, weights)
        new = [
            scale * (leaf if drawn is None else _draw(drawn, own, path, leaf)) if is_weight else leaf
            for path, (_, leaf), is_weight in zip(paths, leaves, taken, strict=True)
        ]
        return jax.tree.unflatten(structure, new), state

    return replace(problem, init=init)


def _require_axes(where: str, initialization: str, weights: Sequence[tuple[tuple[str, ...], Array]]) -> None:
    """Refuses a weight whose shape leaves open which axes are summed over."""
    for path, leaf in weights:
        if leaf.ndim == 3:
            raise UserError(
                f"{where}: weight '{'/'.join(path)}' has the three axes {leaf.shape}, and its shape does not tell "
                f"whether they are a convolution's, heads of attention or stacked layers, which '{initialization}' "
                "depends on; give reinitialized a mask that leaves it out, or, if in_axis and out_axis name its axes, "
                "mask=bench.problems.matrices_only"
            )


def _draw(initializer: Initializer, key: Key, path: tuple[str, ...], leaf: Array) -> Array:
    """A weight's draw by the names that lead to it, at least in float32."""
    key_leaf = jax.random.fold_in(key, zlib.crc32("/".join(path).encode()))
    return initializer(key_leaf, leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)).astype(leaf.dtype)


def _names() -> list[str]:
    return [DEFAULT, *INITIALIZATIONS]


def with_initialization(make: Make) -> Make:
    """Returns a function of choices that has two more: ``initialization`` and ``init_scale``, as of `reinitialized`.

    Args:
        make: ``make(**choices) -> Problem``; its docstring has an `Args` section.

    Example:
        >>> from dlkit.bench.problems.tabular import zipf_logistic
        >>> list(inspect.signature(with_initialization(zipf_logistic)).parameters)[-2:]
        ['initialization', 'init_scale']
    """

    @wraps(make)
    def made(*, initialization: str = DEFAULT, init_scale: float = 1.0, **choices: Any) -> Problem:
        return reinitialized(make(**choices), initialization, scale=init_scale)

    signature = inspect.signature(make)
    more = [
        each for each in inspect.signature(made, follow_wrapped=False).parameters.values() if each.default != each.empty
    ]
    made.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    made.__doc__ = _documented(make.__doc__ or "")
    return made


def _documented(text: str) -> str:
    """A docstring with the two choices at the end of its `Args`."""
    names = ", ".join(f'``"{name}"``' for name in _names())
    lines = (
        f"initialization: of matrices and kernels: {names}; as of `reinitialized`.",
        "init_scale: what initial matrices and kernels are multiplied with.",
    )

    def before(match: re.Match[str]) -> str:
        return "".join(f"\n{match[1]}    {line}" for line in lines) + match[0]

    return re.sub(r"\n\n( *)Returns:", before, text, count=1)
