"""Wrappers, such as clipping and averaging: each function takes an optimizer and returns one with more hyperparameters.

In a spec, and wherever an optimizer is named, ``"adam+clip"`` is Adam with clipped gradients; ``"adam+clip+ema"`` adds
an average of that. The one on the right is outermost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import optax

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import transformations
from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.optimizers.wrapping import evaluations_of, last_part, plus, wrapped
from dlkit.bench.plan.space import Range, log_uniform, one_minus_log_uniform, uniform
from dlkit.bench.plan.trials import Evaluations
from dlkit.typing import Array, Params

__all__ = [
    "WRAPPERS",
    "with_accumulation",
    "with_adaptive_clipping",
    "with_averaging",
    "with_caution",
    "with_clipping",
    "with_ema",
    "with_extragradient",
    "with_lookahead",
    "with_sharpness_awareness",
    "with_weight_decay",
]

RHO = log_uniform(0.01, 0.5)  # 0.01, 0.02 and 0.05 in AlgoPerf (Dahl et al., 2023)
SLOW_STEP_SIZE = uniform(0.2, 0.8)
DECAY = one_minus_log_uniform(0.9, 0.999)
MAX_NORM = log_uniform(0.1, 10.0)
CLIPPING = log_uniform(1e-3, 0.3)
WEIGHT_DECAY = log_uniform(1e-4, 1.0)


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
    inner = optimizer.build  # alone: what is built must not hold the optimizer's space

    def build(rho: Array, **settings: Any) -> Transformation:
        return transformations.sharpness_aware(inner(**settings), rho)

    extra = Evaluations(gradients=1)
    return replace(wrapped(optimizer, "sam", build, {"rho": rho}), evaluations=plus(optimizer.evaluations, extra))


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
    outer = wrapped(optimizer, "lookahead", build, space, static, inner=attrgetter("inner"))
    return replace(outer, eval_params=slow)


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
    outer = wrapped(optimizer, "ema", build, {"decay": decay}, inner=attrgetter("inner"))
    return replace(outer, eval_params=transformations.average_of)


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
    outer = wrapped(optimizer, "polyak", build, {}, inner=attrgetter("inner"))
    return replace(outer, eval_params=transformations.average_of)


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

    return wrapped(optimizer, "clip", build, {"max_norm": max_norm}, inner=last_part)


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

    return wrapped(optimizer, "adaptive-clip", build, {"clipping": clipping}, inner=last_part)


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

    return wrapped(optimizer, "cautious", build, {})


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

    outer = wrapped(optimizer, "decay", build, {"weight_decay": weight_decay})
    rules = optimizer.rules
    return outer if rules is None else replace(outer, rules=lambda *leaf: rules(*leaf)._replace(is_decayed=True))


def with_accumulation(optimizer: Optimizer, *, every: Sequence[int] = (4,)) -> Optimizer:
    """Returns the optimizer on the mean gradient of several steps' batches; parameters stand still between.

    Args:
        optimizer: what to wrap.
        every: choices of how many steps.

    Returns:
        The optimizer, named with ``"+accumulate"``.

    Raises:
        UserError: if the optimizer extrapolates.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_accumulation(optimizers.get("sgd"), every=(8,)).static
        {'every': (8,)}
    """
    if optimizer.extrapolates:
        raise UserError(f"optimizer '{optimizer.name}' looks ahead at every step; '+accumulate' would skip steps")
    inner = optimizer.build

    def build(every: int, **settings: Any) -> Transformation:
        return transformations.accumulation(inner(**settings), every=every)

    cost = optimizer.evaluations

    def evaluations(state: transformations.AccumulationState) -> Evaluations:
        moved = (state.step == 0).astype(int)  # what it evaluates itself, beside the gradient that every step has
        pairs = zip(Evaluations(), evaluations_of(cost, state.inner), strict=True)
        return Evaluations(*(every_step + moved * (its - every_step) for every_step, its in pairs))

    outer = wrapped(optimizer, "accumulate", build, {}, {"every": tuple(every)}, inner=attrgetter("inner"))
    return outer if cost == Evaluations() else replace(outer, evaluations=evaluations)


def with_extragradient(optimizer: Optimizer) -> Optimizer:
    """Returns the optimizer with every step taken along the gradient at the point it would reach: two gradients a step.

        w' = w + u(g(w)),  w <- w + u(g(w'))

    With SGD that is Korpelevich's method, with Adam, whose averages see both gradients, the ExtraAdam of the paper.
    Players that move simultaneously all look ahead at once, g being the field of the game. One that takes its turn
    looks ahead alone, the others standing still: in a game without curvature of its own that changes nothing.

    Args:
        optimizer: what to wrap.

    Returns:
        The optimizer, named with ``"+extragradient"``.

    Raises:
        UserError: if the optimizer has parameters of its own to evaluate, looks ahead already, or evaluates now more
            and now less.

    Reference:
        Korpelevich, "The extragradient method for finding saddle points and other problems", 1976; Gidel et al., "A
        variational inequality perspective on generative adversarial networks", 2019, algorithms 2 and 4.

    Example:
        >>> from dlkit.bench import optimizers
        >>> with_extragradient(optimizers.get("adam")).evaluations.gradients
        2
    """
    inner, cost = optimizer.build, optimizer.evaluations

    def build(**settings: Any) -> Transformation:
        return transformations.extragradient(inner(**settings))

    if optimizer.eval_params is not None:
        raise UserError(f"optimizer '{optimizer.name}' averages; write '+extragradient' before what averages")
    if optimizer.extrapolates or not isinstance(cost, Evaluations):
        raise UserError(
            f"optimizer '{optimizer.name}': a step of it is no single step that '+extragradient' could take"
        )
    outer = wrapped(optimizer, "extragradient", build, {})
    return replace(outer, evaluations=plus(cost, cost), extrapolates=True)


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
        "extragradient": with_extragradient,
    }
)


def _require_trained_evaluated(optimizer: Optimizer, suffix: str) -> None:
    if optimizer.eval_params is not None:
        raise UserError(
            f"optimizer '{optimizer.name}' is evaluated at parameters of its own; '+{suffix}' would evaluate others"
        )
