"""What the wrappers share: building an optimizer around another, with the spaces and the costs of both."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Evaluations

__all__ = ["evaluations_of", "last_part", "plus", "wrapped"]

InnerState = Callable[[Any], Any]  # a wrapper's state -> that of what it wraps


def wrapped(
    optimizer: Optimizer,
    suffix: str,
    build: Callable[..., Transformation],
    space: Mapping[str, Range | float],
    static: Mapping[str, Sequence[int]] | None = None,
    *,
    inner: InnerState = lambda state: state,
) -> Optimizer:
    """Returns an optimizer around another, which keeps what the inner one says about evaluation and cost.

    Args:
        optimizer: the inner one.
        suffix: what its name gets, after a ``"+"``.
        build: of the outer one.
        space: what it adds to the inner one's space.
        static: what it adds to the inner one's choices.
        inner: from the outer one's state to the inner one's.

    Raises:
        UserError: if the inner one has a hyperparameter of that name already.
    """
    if twice := {*optimizer.space, *optimizer.static} & {*space, *(static or {})}:
        raise UserError(f"optimizer '{optimizer.name}' has {sorted(twice)} already; '+{suffix}' cannot add it again")
    build.__signature__ = _defaults(optimizer)  # type: ignore[attr-defined]
    evaluate, cost = optimizer.eval_params, optimizer.evaluations
    return Optimizer(
        f"{optimizer.name}+{suffix}",
        build,
        {**optimizer.space, **space},
        {**optimizer.static, **(static or {})},
        eval_params=None if evaluate is None else lambda state, params: evaluate(inner(state), params),
        evaluations=cost if isinstance(cost, Evaluations) else lambda state: cost(inner(state)),
        random=optimizer.random,
        roles=optimizer.roles,
        rules=optimizer.rules,
        extrapolates=optimizer.extrapolates,
        reference=optimizer.reference,
    )


def _defaults(optimizer: Optimizer) -> inspect.Signature:
    """The hyperparameters of an optimizer that may be left out, as the signature of what wraps it."""
    try:
        parameters = [*inspect.signature(optimizer.build).parameters.values()]
    except (TypeError, ValueError):  # built in: it does not tell
        parameters = []
    known = {*optimizer.space, *optimizer.static}
    plain = [inspect.Parameter(p.name, p.KEYWORD_ONLY, default=p.default) for p in parameters if p.name in known]
    return inspect.Signature(plain)


def last_part(state: tuple[Any, ...]) -> Any:
    """Returns the state of the last part of a chain."""
    return state[-1]


def evaluations_of(cost: Evaluations | Callable[[Any], Evaluations], state: Any) -> Evaluations:
    """Returns what a step costs that ended in a state."""
    return cost if isinstance(cost, Evaluations) else cost(state)


def plus(
    cost: Evaluations | Callable[[Any], Evaluations], extra: Evaluations
) -> Evaluations | Callable[[Any], Evaluations]:
    """Returns the sum of what two evaluate."""

    def total(state: Any) -> Evaluations:
        return Evaluations(*(a + b for a, b in zip(evaluations_of(cost, state), extra, strict=True)))

    return total(None) if isinstance(cost, Evaluations) else total
