"""What may be put around any optimizer: each function takes an optimizer and returns one, with its own hyperparameters.

In a spec, and wherever an optimizer is named, ``"adam+clip"`` is Adam with clipped gradients; ``"adam+clip+ema"`` adds
an average of that. The one on the right is outermost.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import optax

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import transformations
from dlkit.bench.optimizers.base import Evaluations, Optimizer, Transformation
from dlkit.bench.space import Range, log_uniform, one_minus_log_uniform, uniform
from dlkit.typing import Array, Params

__all__ = [
    "WRAPPERS",
    "with_accumulation",
    "with_adaptive_clipping",
    "with_averaging",
    "with_caution",
    "with_clipping",
    "with_ema",
    "with_lookahead",
    "with_sharpness_awareness",
    "with_weight_decay",
]

RHO = log_uniform(0.01, 0.5)
SLOW_STEP_SIZE = uniform(0.2, 0.8)
DECAY = one_minus_log_uniform(0.9, 0.999)
MAX_NORM = log_uniform(0.1, 10.0)
CLIPPING = log_uniform(1e-3, 0.3)
WEIGHT_DECAY = log_uniform(1e-4, 1.0)

InnerState = Callable[[Any], Any]  # a wrapper's state -> that of what it wraps


def with_sharpness_awareness(optimizer: Optimizer, *, rho: Range | float = RHO) -> Optimizer:
    """Returns the optimizer on the gradient at the worst point near the parameters (SAM): two gradients a step.

    Args:
        optimizer: what to wrap.
        rho: how near; 0.01 to 0.5 in the paper.

    Returns:
        The optimizer, named with ``"+sam"``.

    Reference:
        Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_sharpness_awareness(optimizers.get("sgd")).evaluations.gradients
        2
    """
    inner = optimizer.build  # alone: the optimizer's space is no part of what is built

    def build(rho: Array, **settings: Any) -> Transformation:
        return transformations.sharpness_aware(inner(**settings), rho)

    extra = Evaluations(gradients=1)
    return replace(_wrapped(optimizer, "sam", build, {"rho": rho}), evaluations=_plus(optimizer.evaluations, extra))


def with_lookahead(
    optimizer: Optimizer, *, slow_step_size: Range | float = SLOW_STEP_SIZE, sync_period: Sequence[int] = (5,)
) -> Optimizer:
    """Returns the optimizer with slow parameters that it is pulled back to; the slow ones are evaluated.

    Args:
        optimizer: what to wrap.
        slow_step_size: how far the slow parameters follow; 0.2 to 0.8 in the paper.
        sync_period: choices of the steps between; 5 and 10 in the paper.

    Returns:
        The optimizer, named with ``"+lookahead"``.

    Raises:
        UserError: if the optimizer has parameters of its own to evaluate.

    Reference:
        Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019.

    Example:
        >>> from dlkit.bench import optimizers
        >>> list(with_lookahead(optimizers.get("sgd")).space)
        ['learning_rate', 'slow_step_size']
    """
    inner = optimizer.build

    def build(slow_step_size: Array, sync_period: int, **settings: Any) -> Transformation:
        return transformations.lookahead(inner(**settings), slow_step_size, sync_period=sync_period)

    def slow(state: transformations.LookaheadState, params: Params) -> Params:
        return state.slow

    _require_trained_evaluated(optimizer, "lookahead")
    space, static = {"slow_step_size": slow_step_size}, {"sync_period": tuple(sync_period)}
    wrapped = _wrapped(optimizer, "lookahead", build, space, static, inner=attrgetter("inner"))
    return replace(wrapped, eval_params=slow)


def with_ema(optimizer: Optimizer, *, decay: Range | float = DECAY) -> Optimizer:
    """Returns the optimizer evaluated at the exponential average of its parameters, without the bias of its start.

    Args:
        optimizer: what to wrap.
        decay: of the average.

    Returns:
        The optimizer, named with ``"+ema"``.

    Raises:
        UserError: if the optimizer has parameters of its own to evaluate.

    Reference:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, section 7.2; Morales-Brotons, Vogels and
        Hendrikx, "Exponential Moving Average of Weights in Deep Learning", 2024, for the range.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_ema(optimizers.get("sgd")).name
        'sgd+ema'
    """
    inner = optimizer.build

    def build(decay: Array, **settings: Any) -> Transformation:
        return transformations.average(inner(**settings), decay)

    _require_trained_evaluated(optimizer, "ema")
    wrapped = _wrapped(optimizer, "ema", build, {"decay": decay}, inner=attrgetter("inner"))
    return replace(wrapped, eval_params=transformations.average_of)


def with_averaging(optimizer: Optimizer) -> Optimizer:
    """Returns the optimizer evaluated at the mean of all parameters so far (Polyak-Ruppert averaging).

    Args:
        optimizer: what to wrap.

    Returns:
        The optimizer, named with ``"+polyak"``.

    Raises:
        UserError: if the optimizer has parameters of its own to evaluate.

    Reference:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.

    Example:
        >>> from dlkit.bench import optimizers
        >>> list(with_averaging(optimizers.get("sgd")).space)
        ['learning_rate']
    """
    inner = optimizer.build

    def build(**settings: Any) -> Transformation:
        return transformations.average(inner(**settings), 1.0)

    _require_trained_evaluated(optimizer, "polyak")
    wrapped = _wrapped(optimizer, "polyak", build, {}, inner=attrgetter("inner"))
    return replace(wrapped, eval_params=transformations.average_of)


def with_clipping(optimizer: Optimizer, *, max_norm: Range | float = MAX_NORM) -> Optimizer:
    """Returns the optimizer on gradients whose norm over all parameters is at most `max_norm`.

    Args:
        optimizer: what to wrap.
        max_norm: the largest norm.

    Returns:
        The optimizer, named with ``"+clip"``.

    Reference:
        Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_clipping(optimizers.get("adam"), max_norm=1.0).space["max_norm"]
        1.0
    """
    inner = optimizer.build

    def build(max_norm: Array, **settings: Any) -> Transformation:
        return optax.chain(optax.clip_by_global_norm(max_norm), inner(**settings))

    return _wrapped(optimizer, "clip", build, {"max_norm": max_norm}, inner=_last)


def with_adaptive_clipping(optimizer: Optimizer, *, clipping: Range | float = CLIPPING) -> Optimizer:
    """Returns the optimizer on gradients clipped, unit by unit, to a fraction of their weights' norm.

    Args:
        optimizer: what to wrap.
        clipping: the fraction; 0.01 to 0.16 in the paper.

    Returns:
        The optimizer, named with ``"+adaptive-clip"``.

    Reference:
        Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization", 2021, equation 3.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_adaptive_clipping(optimizers.get("sgd")).name
        'sgd+adaptive-clip'
    """
    inner = optimizer.build

    def build(clipping: Array, **settings: Any) -> Transformation:
        return optax.chain(optax.adaptive_grad_clip(clipping), inner(**settings))

    return _wrapped(optimizer, "adaptive-clip", build, {"clipping": clipping}, inner=_last)


def with_caution(optimizer: Optimizer) -> Optimizer:
    """Returns the optimizer without the coordinates of a step that go against the gradient.

    Args:
        optimizer: what to wrap.

    Returns:
        The optimizer, named with ``"+cautious"``.

    Reference:
        Liang et al., "Cautious Optimizers: Improving Training with One Line of Code", 2024.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_caution(optimizers.get("adam")).name
        'adam+cautious'
    """
    inner = optimizer.build

    def build(**settings: Any) -> Transformation:
        return transformations.cautious(inner(**settings))

    return _wrapped(optimizer, "cautious", build, {})


def with_weight_decay(optimizer: Optimizer, *, weight_decay: Range | float = WEIGHT_DECAY) -> Optimizer:
    """Returns the optimizer with decoupled weight decay, times its learning rate if it has one.

    Args:
        optimizer: what to wrap.
        weight_decay: the fraction of a parameter that is subtracted at a step, before the learning rate.

    Returns:
        The optimizer, named with ``"+decay"``.

    Raises:
        UserError: if it has a weight decay already.

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.

    Example:
        >>> from dlkit.bench import optimizers
        >>> list(with_weight_decay(optimizers.get("sgd")).space)
        ['learning_rate', 'weight_decay']
    """
    inner = optimizer.build

    def build(weight_decay: Array, **settings: Any) -> Transformation:
        rate = settings.get("learning_rate", 1.0) * weight_decay
        return transformations.decoupled_decay(inner(**settings), rate)

    return _wrapped(optimizer, "decay", build, {"weight_decay": weight_decay})


def with_accumulation(optimizer: Optimizer, *, every: Sequence[int] = (4,)) -> Optimizer:
    """Returns the optimizer on the mean gradient of several steps' batches; parameters stand still between.

    Args:
        optimizer: what to wrap.
        every: choices of how many steps.

    Returns:
        The optimizer, named with ``"+accumulate"``.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_accumulation(optimizers.get("sgd"), every=(8,)).static
        {'every': (8,)}
    """
    inner = optimizer.build

    def build(every: int, **settings: Any) -> Transformation:
        return transformations.accumulation(inner(**settings), every=every)

    cost = optimizer.evaluations

    def evaluations(state: transformations.AccumulationState) -> Evaluations:
        moved = (state.step == 0).astype(int)  # what it evaluates itself, beside the gradient that every step has
        pairs = zip(Evaluations(), _evaluations(cost, state.inner), strict=True)
        return Evaluations(*(every_step + moved * (its - every_step) for every_step, its in pairs))

    wrapped = _wrapped(optimizer, "accumulate", build, {}, {"every": tuple(every)}, inner=attrgetter("inner"))
    return wrapped if cost == Evaluations() else replace(wrapped, evaluations=evaluations)


WRAPPERS: Mapping[str, Callable[[Optimizer], Optimizer]] = MappingProxyType(
    {
        "sam": with_sharpness_awareness,
        "lookahead": with_lookahead,
        "ema": with_ema,
        "polyak": with_averaging,
        "clip": with_clipping,
        "adaptive-clip": with_adaptive_clipping,
        "cautious": with_caution,
        "decay": with_weight_decay,
        "accumulate": with_accumulation,
    }
)


def _wrapped(
    optimizer: Optimizer,
    suffix: str,
    build: Callable[..., Transformation],
    space: Mapping[str, Range | float],
    static: Mapping[str, Sequence[int]] | None = None,
    *,
    inner: InnerState = lambda state: state,
) -> Optimizer:
    """An optimizer around another, which keeps what the inner one says about evaluation and cost."""
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


def _last(state: tuple[Any, ...]) -> Any:
    """The state of the last part of a chain."""
    return state[-1]


def _evaluations(cost: Evaluations | Callable[[Any], Evaluations], state: Any) -> Evaluations:
    return cost if isinstance(cost, Evaluations) else cost(state)


def _plus(
    cost: Evaluations | Callable[[Any], Evaluations], extra: Evaluations
) -> Evaluations | Callable[[Any], Evaluations]:
    """The sum of what two evaluate."""

    def total(state: Any) -> Evaluations:
        return Evaluations(*(a + b for a, b in zip(_evaluations(cost, state), extra, strict=True)))

    return total(None) if isinstance(cost, Evaluations) else total


def _require_trained_evaluated(optimizer: Optimizer, suffix: str) -> None:
    if optimizer.eval_params is not None:
        raise UserError(
            f"optimizer '{optimizer.name}' is evaluated at parameters of its own; '+{suffix}' would evaluate others"
        )
