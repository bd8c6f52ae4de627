"""Methods that set their own step size. Each keeps the one or two knobs that its authors leave to the user."""

import optax
import optax.contrib

from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.optimizers.plain import WIDE
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform
from dlkit.typing import Array

__all__ = ["OPTIMIZERS"]


def _dog(learning_rate: Array, initial_distance: Array) -> Transformation:
    return optax.contrib.dog(learning_rate, init_step=("heuristic", initial_distance))


def _mechanic_adam(learning_rate: Array, s_init: Array, weight_decay: Array) -> Transformation:
    return optax.contrib.mechanize(optax.adam(learning_rate), weight_decay=weight_decay, s_init=s_init)


OPTIMIZERS = (
    Optimizer(
        "prodigy",
        optax.contrib.prodigy,
        # The authors' one knob, 0.5 to 2. The learning rate stays 1, for schedules to shape.
        {"learning_rate": 1.0, "estim_lr_coef": log_uniform(0.3, 3.0)},
        reference="Mishchenko and Defazio, 2023",
    ),
    Optimizer(
        "dadapt_adamw",
        optax.contrib.dadapt_adamw,
        {"learning_rate": log_uniform(0.1, 3.0)},  # 1 is the method; the authors suggest 0.1 to 1 where it is unstable
        reference="Defazio and Mishchenko, 2023",
    ),
    Optimizer(
        "dog",
        _dog,
        # 1 is the method. It starts initial_distance x (1 + norm) away: 1e-6 to 1e-4 there, more where runs are short.
        {"learning_rate": log_uniform(0.3, 3.0), "initial_distance": log_uniform(1e-4, 0.1)},
        reference="Ivgi, Hinder and Carmon, 2023",
    ),
    Optimizer(
        "dowg",
        optax.contrib.dowg,
        {"learning_rate": log_uniform(0.1, 3.0), "init_estim_sq_dist": log_uniform(1e-6, 1e-2)},  # as for dog
        reference="Khaled, Mishchenko and Jin, 2023",
    ),
    Optimizer(
        "cocob",
        optax.contrib.cocob,
        {"alpha": log_uniform(1.0, 1000.0)},  # 100 in the paper; the update has no scale, so no rate changes it
        reference="Orabona and Tommasi, 2017",
    ),
    Optimizer(
        "momo",
        optax.contrib.momo,
        {"learning_rate": log_uniform(1e-2, 100.0)},  # an upper bound of the step: "rather large"
        reference="Schaipp et al., 2023",
    ),
    Optimizer(
        "momo_adam",
        optax.contrib.momo_adam,
        {"learning_rate": log_uniform(1e-3, 30.0)},  # as for momo, times Adam's scale
        reference="Schaipp et al., 2023",
    ),
    Optimizer(
        "mechanize",
        _mechanic_adam,
        # Starts at s_init, which the paper takes from 1e-8 up, and decays weights by 0.01 and 0.1.
        {"learning_rate": 1.0, "s_init": log_uniform(1e-6, 1.0), "weight_decay": log_uniform(1e-3, 0.1)},
        reference="Cutkosky, Defazio and Mehta, 2023 (around Adam)",
    ),
    Optimizer(
        "schedule_free_sgd",
        optax.contrib.schedule_free_sgd,
        {"learning_rate": log_uniform(1e-2, 100.0), "b1": one_minus_log_uniform(0.8, 0.98)},  # b1 0.9 to 0.98 there
        eval_params=optax.contrib.schedule_free_eval_params,
        reference="Defazio et al., 2024",
    ),
    Optimizer(
        "schedule_free_adamw",
        optax.contrib.schedule_free_adamw,
        {
            "learning_rate": WIDE,
            "b1": one_minus_log_uniform(0.8, 0.98),
            "weight_decay": log_uniform(1e-4, 0.1),
        },
        eval_params=optax.contrib.schedule_free_eval_params,
        reference="Defazio et al., 2024",
    ),
)
