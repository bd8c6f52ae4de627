"""Early stopping as a pure state machine: (state, metric, params) -> state.

It works under jit and vmap (lanes stop at different moments), in a scan, and as the condition of a `while_loop`:
`lambda carry: ~carry.stopping.stopped`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32

from dlkit.checks import known_number, require_number
from dlkit.typing import Array, Params, Scalar

__all__ = ["EarlyStoppingFunctions", "EarlyStoppingState", "early_stopping"]

_Tree = TypeVar("_Tree")


class EarlyStoppingState(NamedTuple):
    """What early stopping remembers. Once `stopped` is true, nothing changes any more.

    Attributes:
        best: the best metric so far, in JAX's default floating-point dtype; +-inf before the first improvement.
        best_params: the parameters of that evaluation; those given to `init` before the first improvement; None if
            they are not kept.
        best_evaluation: which evaluation that was, counted from 0; -1 before the first improvement.
        evaluations: how many there have been.
        stale: how many there have been since the last improvement.
        stopped: whether training should stop.
    """

    best: Float[Array, ""]
    best_params: Params | None
    best_evaluation: Int32[Array, ""]
    evaluations: Int32[Array, ""]
    stale: Int32[Array, ""]
    stopped: Bool[Array, ""]


class EarlyStoppingFunctions(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: `init(params) -> state`, with the parameters that training starts from. They are copied, so a training
            step may donate them.
        update: `update(state, metric, params) -> state`, called after every evaluation with its metric, a scalar, and
            the parameters that were evaluated.
    """

    init: Callable[[Params], EarlyStoppingState]
    update: Callable[[EarlyStoppingState, Scalar, Params], EarlyStoppingState]


def early_stopping(
    *, patience: int | Array, min_delta: Scalar = 0.0, higher_is_better: bool = False, restore_best: bool = True
) -> EarlyStoppingFunctions:
    """Stop after `patience` evaluations in a row without improvement.

    An evaluation improves if its metric is better than the best so far by **more** than min_delta: metric < best -
    min_delta, or metric > best + min_delta where higher is better. A NaN is never an improvement, and neither is the
    worst possible value (inf, or -inf where higher is better).

    Args:
        patience: how many **evaluations** (not steps, not epochs) in a row may fail to improve: the last of them stops.
            At least 1; may be traced.
        min_delta: what an improvement has to exceed, in the unit of the metric, at least 0; may be traced.
        higher_is_better: whether the metric is one like accuracy, and not one like a loss.
        restore_best: whether the state keeps a copy of the best parameters, `best_params`. Without it, it is None, and
            the parameters given to `init` and `update` are ignored.

    Returns:
        The functions `init` and `update`.

    Raises:
        ValueError: patience is a Python number below 1, min_delta a negative one; or (from `update`) the metric is no
            scalar, or the parameters are not of the structure, shapes and dtypes given to `init`.

    Reference:
        Prechelt, "Early stopping - but when?", in: Neural Networks: Tricks of the Trade, 1998.

    Example:
        >>> init, update = early_stopping(patience=2)
        >>> state = init({"w": jnp.array(0.0)})
        >>> for step, loss in enumerate([3.0, 1.0, 2.0, 1.0, 0.5]):
        ...     state = update(state, loss, {"w": jnp.array(float(step))})
        >>> bool(state.stopped), float(state.best), float(state.best_params["w"]), int(state.evaluations)
        (True, 1.0, 1.0, 4)
    """
    require_number("early_stopping", "patience", patience, at_least=1)
    require_number("early_stopping", "min_delta", min_delta, at_least=0)

    def init(params: Params) -> EarlyStoppingState:
        return EarlyStoppingState(
            best=jnp.asarray(-jnp.inf if higher_is_better else jnp.inf, float),
            best_params=jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params) if restore_best else None,
            best_evaluation=jnp.asarray(-1, jnp.int32),
            evaluations=jnp.asarray(0, jnp.int32),
            stale=jnp.asarray(0, jnp.int32),
            stopped=jnp.asarray(False),
        )

    def update(state: EarlyStoppingState, metric: Scalar, params: Params) -> EarlyStoppingState:
        if not known_number(metric) and jnp.shape(metric) != ():
            raise ValueError(
                f"early_stopping: expected a scalar metric, got {jax.typeof(metric)}; take its mean, or vmap over runs"
            )
        value = jnp.asarray(metric, state.best.dtype)
        delta = jnp.asarray(min_delta, state.best.dtype)
        # Comparisons with NaN are false.
        improved = value > state.best + delta if higher_is_better else value < state.best - delta
        stale = jnp.where(improved, 0, state.stale + 1)
        updated = EarlyStoppingState(
            best=jnp.where(improved, value, state.best),
            best_params=_select(improved, params, state.best_params) if restore_best else None,
            best_evaluation=jnp.where(improved, state.evaluations, state.best_evaluation),
            evaluations=state.evaluations + 1,
            stale=stale,
            stopped=stale >= patience,
        )
        return _select(~state.stopped, updated, state)

    return EarlyStoppingFunctions(init, update)


def _select(condition: Array, new: _Tree, old: _Tree) -> _Tree:
    """The new tree where the condition holds, else the old one."""
    got, expected = (jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree) for tree in (new, old))
    if got != expected:
        raise ValueError(
            f"early_stopping: expected parameters of the structure, shapes and dtypes given to init, {expected}, "
            f"got {got}"
        )
    selected: _Tree = jax.tree.map(lambda new, old: jnp.where(condition, new, old), new, old)
    return selected
