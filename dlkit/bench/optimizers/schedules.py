"""Learning-rate schedules: the factor that multiplies the tuned rate at each step of a trial."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax.numpy as jnp

from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE
from dlkit.bench.plan.space import Range, Space
from dlkit.typing import Array, Scalar

__all__ = ["CONSTANT", "SCHEDULES", "Schedule", "get"]

Shape = Callable[..., Scalar]


@says_what_it_takes("bench.Schedule")
@dataclass(frozen=True, eq=False)
class Schedule:
    """The shape of a learning rate over a trial; the peak is the optimizer's hyperparameter ``learning_rate``.

    Attributes:
        name: how specs, tables and messages call it.
        shape: ``shape(step, horizon, **settings)`` -> what the peak is multiplied by at a step. `step` counts from 0
            and is traced, `horizon` is the number of steps of the trial, settings are those of `space`, traced.
        space: setting -> range to tune over, or a fixed number.
        anytime: whether the shape does not depend on the horizon, so that a value before the last step means something.
        reference: where it comes from.
    """

    name: str
    shape: Shape
    space: Space = field(default_factory=dict)
    anytime: bool = False
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("a schedule needs a name")
        if not callable(self.shape):
            raise UserError(f"schedule '{self.name}': shape must be a function of (step, horizon), got {self.shape!r}")
        for name, value in self.space.items():
            if not isinstance(value, Range | int | float) or isinstance(value, bool):
                raise UserError(
                    f"schedule '{self.name}': space['{name}'] must be a range such as bench.uniform(0.0, 0.2), or a "
                    f"number, not {value!r}"
                )
        if "learning_rate" in self.space:
            raise UserError(f"schedule '{self.name}': 'learning_rate' is the optimizer's own, the peak")

    @property
    def varies(self) -> bool:
        """Whether the rate is anything but constant."""
        return self.shape is not _constant

    def multiplier(self, step: Array, horizon: int, settings: Mapping[str, Array]) -> Scalar:
        """Returns what the peak is multiplied by at a step (int32, from 0)."""
        # A weakly typed step keeps the rate what a constant rate is: it does not promote parameters of low precision.
        return self.shape(step * 1.0, horizon, **{name: settings[name] for name in self.space})


def _constant(step: Scalar, horizon: int) -> Scalar:
    return 1.0


def _towards(final: Scalar, share: Scalar) -> Scalar:
    """From 1 at share 1 to `final` at share 0."""
    return final + (1.0 - final) * share


def _linear(step: Scalar, horizon: int, final: Scalar) -> Scalar:
    return _towards(final, 1.0 - step / horizon)


def _half_cosine(progress: Scalar) -> Scalar:
    # (1 + cos(pi p)) / 2
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(progress, 0.0, 1.0)))


def _cosine(step: Scalar, horizon: int, final: Scalar) -> Scalar:
    return _towards(final, _half_cosine(step / horizon))


def _rise(step: Scalar, steps: Scalar) -> Scalar:
    """Linear warm-up: (t + 1) / W, so that the first step moves and step W - 1 has the peak."""
    return jnp.minimum(1.0, (step + 1.0) / jnp.maximum(steps, 1.0))


def _warmup_cosine(step: Scalar, horizon: int, warmup: Scalar, final: Scalar) -> Scalar:
    risen = warmup * horizon
    progress = (step - risen) / jnp.maximum(horizon - risen, 1.0)
    return _rise(step, risen) * _towards(final, _half_cosine(progress))


def _warmup_stable_decay(step: Scalar, horizon: int, warmup: Scalar, decay: Scalar, final: Scalar) -> Scalar:
    falling = jnp.maximum(decay * horizon, 1.0)
    return _rise(step, warmup * horizon) * _towards(final, jnp.clip((horizon - step) / falling, 0.0, 1.0))


def _inverse_sqrt(step: Scalar, horizon: int, warmup: Scalar) -> Scalar:
    # min((t + 1) / W, sqrt(W / (t + 1)))
    risen = jnp.maximum(warmup * horizon, 1.0)
    return jnp.minimum((step + 1.0) / risen, jnp.sqrt(risen / (step + 1.0)))


def _step(step: Scalar, horizon: int, factor: Scalar, first: Scalar, second: Scalar) -> Scalar:
    progress = step / horizon
    return jnp.where(progress < first, 1.0, factor) * jnp.where(progress < second, 1.0, factor)


def _one_cycle(step: Scalar, horizon: int, rise: Scalar, start: Scalar, final: Scalar) -> Scalar:
    # Half a cosine up from `start` to 1 and half a cosine down to `final`.
    progress = step / horizon
    up = _towards(start, 1.0 - _half_cosine(progress / jnp.maximum(rise, 1e-6)))
    down = _towards(final, _half_cosine((progress - rise) / jnp.maximum(1.0 - rise, 1e-6)))
    return jnp.where(progress < rise, up, down)


CONSTANT = Schedule(CONSTANT_SCHEDULE, _constant, anytime=True)
SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        schedule.name: schedule
        for schedule in (
            CONSTANT,
            Schedule(
                "linear",
                _linear,
                {"final": 0.0},
                reference="Defazio et al., Adaptive learning rate scheduling by refinement, 2023",
            ),
            Schedule(
                "cosine",
                _cosine,
                {"final": 0.0},
                reference="Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017",
            ),
            Schedule(
                "warmup-cosine",
                _warmup_cosine,
                {"warmup": 0.05, "final": 0.0},
                reference="Goyal et al., Accurate, large minibatch SGD, 2017; Loshchilov and Hutter, 2017",
            ),
            Schedule(
                "warmup-stable-decay",
                _warmup_stable_decay,
                {"warmup": 0.05, "decay": 0.2, "final": 0.0},  # a fifth is enough to match cosine in the paper
                reference="Hägele et al., Scaling laws beyond fixed training durations, 2024",
            ),
            Schedule(
                "inverse-sqrt",
                _inverse_sqrt,
                {"warmup": 0.05},
                reference="Vaswani et al., Attention is all you need, 2017, equation 3",
            ),
            Schedule(
                "step",
                _step,
                {"factor": 0.1, "first": 0.5, "second": 0.75},
                reference="He et al., Deep residual learning for image recognition, 2016, section 4.2",
            ),
            Schedule(
                "one-cycle",
                _one_cycle,
                {"rise": 0.3, "start": 0.04, "final": 4e-6},  # 1/25, and a ten-thousandth of that
                reference="Smith and Topin, Super-convergence, 2018",
            ),
        )
    }
)


def get(name: str) -> Schedule:
    """Returns the schedule of that name.

    Args:
        name: one of `SCHEDULES`.

    Raises:
        UserError: for an unknown name, with the nearest valid one.

    Example:
        >>> round(float(get("cosine").multiplier(jnp.int32(50), 100, {"final": jnp.float32(0.0)})), 3)
        0.5
    """
    if name not in SCHEDULES:
        raise UserError(f"no schedule '{name}'; {nearest(name, SCHEDULES)}")
    return SCHEDULES[name]
