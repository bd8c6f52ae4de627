"""Optimizers by name: how to build each from its hyperparameters, and the space it is tuned over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import optax

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.space import Range, Space, log_uniform, one_minus_log_uniform
from dlkit.typing import Params

__all__ = ["OPTIMIZERS", "Optimizer", "get"]

Build = Callable[..., optax.GradientTransformation | optax.GradientTransformationExtraArgs]


@dataclass(frozen=True, eq=False)
class Optimizer:
    """An optimizer as a contender: how to build it, and what may be tuned.

    Attributes:
        name: how specs, tables and messages call it.
        build: called with every name of `space` and `static` as keyword; returns an optax transformation whose updates
            are added to the parameters. Values of `space` arrive as traced float32 scalars, so that one executable
            serves all of them; what decides structure or shapes belongs into `static`.
        space: name -> range to tune over, or a fixed number.
        static: name -> the choices to tune over; each combination is compiled on its own.
        eval_params: ``eval_params(opt_state, params)`` -> the parameters to evaluate, where they are not the ones that
            are trained (averaging, schedule-free).
        reference: where it comes from.
    """

    name: str
    build: Build
    space: Space
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    eval_params: Callable[[Any, Params], Params] | None = None
    reference: str = ""

    def __post_init__(self) -> None:
        where = f"optimizer '{self.name}'"
        if not self.name:
            raise UserError("an optimizer needs a name")
        if not callable(self.build):
            raise UserError(f"{where}: build must be a function that returns an optax transformation")
        for name, value in self.space.items():
            if not isinstance(value, Range | int | float) or isinstance(value, bool):
                raise UserError(
                    f"{where}: space['{name}'] must be a range such as bench.log_uniform(1e-4, 1.0), or a number, "
                    f"not {value!r}"
                )
        for name, options in self.static.items():
            if isinstance(options, str) or not options:
                raise UserError(f"{where}: static['{name}'] must list at least one choice, got {options!r}")
            if wrong := [option for option in options if not isinstance(option, str | int | float | None)]:
                raise UserError(f"{where}: static['{name}'] may hold numbers, texts and None, not {wrong[0]!r}")
        if both := set(self.space) & set(self.static):
            raise UserError(f"{where}: {sorted(both)} cannot be both traced (space) and static")


_CORE = (
    Optimizer(
        "sgd",
        optax.sgd,
        {"learning_rate": log_uniform(1e-3, 3.0)},
        reference="Robbins and Monro, 1951",
    ),
    Optimizer(
        "momentum",
        optax.sgd,
        {"learning_rate": log_uniform(1e-4, 1.0), "momentum": one_minus_log_uniform(0.8, 0.99)},
        reference="Polyak, 1964 (heavy ball)",
    ),
    Optimizer(
        "rmsprop",
        optax.rmsprop,
        {"learning_rate": log_uniform(1e-4, 1.0), "decay": one_minus_log_uniform(0.9, 0.999)},
        reference="Tieleman and Hinton, 2012",
    ),
    Optimizer(
        "adagrad",
        optax.adagrad,
        {"learning_rate": log_uniform(1e-3, 3.0)},
        reference="Duchi, Hazan and Singer, 2011",
    ),
    Optimizer(
        "adam",
        optax.adam,
        {
            "learning_rate": log_uniform(1e-4, 1.0),
            "b1": one_minus_log_uniform(0.8, 0.99),
            "b2": one_minus_log_uniform(0.9, 0.9999),
        },
        reference="Kingma and Ba, 2015",
    ),
    Optimizer(
        "adamw",
        optax.adamw,
        {
            "learning_rate": log_uniform(1e-4, 1.0),
            "b1": one_minus_log_uniform(0.8, 0.99),
            "b2": one_minus_log_uniform(0.9, 0.9999),
            "weight_decay": log_uniform(1e-4, 1.0),
        },
        reference="Loshchilov and Hutter, 2019",
    ),
)
OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType({optimizer.name: optimizer for optimizer in _CORE})


def get(name: str) -> Optimizer:
    """Returns the optimizer of that name.

    Raises:
        UserError: for an unknown name, with the nearest valid one.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"no optimizer '{name}'; {nearest(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]
