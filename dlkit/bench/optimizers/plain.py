"""Gradient descent, momentum, and the adaptive methods that scale each parameter on its own."""

import optax
import optax.contrib

from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform
from dlkit.typing import Array, Key

__all__ = ["OPTIMIZERS"]

# AlgoPerf stands for the spaces of the baselines of Dahl et al., "Benchmarking neural network training algorithms",
# 2023, which have warmup and decay; rates here are constant by default, and problems small, so most reach further up.
# What has no source beside it is this project's choice. docs/optimizers.md has how often winners lie at an edge.
DESCENT = log_uniform(1e-3, 3.0)  # of steps as large as the gradient: from 1 / curvature of the sharpest problems
HEAVY = log_uniform(1e-4, 5.0)  # with momentum: 0.02 to 5 in AlgoPerf (Nesterov), with 1 - momentum 0.005 to 0.3
ADAPTIVE = log_uniform(1e-4, 1.0)  # of steps about as large as the rate: AlgoPerf has 1e-4 to 1e-2 for all of them
WIDE = log_uniform(1e-4, 10.0)  # of those whose winners lay at the upper edge of the former
MOMENTUM = one_minus_log_uniform(0.8, 0.99)  # in AlgoPerf 1 - b1 is 0.02 to 0.5 (AdamW), 0.004 to 0.1 (NadamW)
SQUARES = one_minus_log_uniform(0.9, 0.9999)  # the average of squared gradients: 0.999 in AlgoPerf
WEIGHT_DECAY = log_uniform(1e-4, 1.0)  # 5e-3 to 1 in AlgoPerf


def _nesterov(learning_rate: Array, momentum: Array) -> Transformation:
    return optax.sgd(learning_rate, momentum, nesterov=True)


def _noisy_sgd(learning_rate: Array, eta: Array, key: Key) -> Transformation:
    return optax.noisy_sgd(learning_rate, eta, key=key)


OPTIMIZERS = (
    Optimizer(
        "sgd",
        optax.sgd,
        {"learning_rate": DESCENT},
        reference="Robbins and Monro, 1951",
    ),
    Optimizer(
        "momentum",
        optax.sgd,
        {"learning_rate": HEAVY, "momentum": MOMENTUM},
        reference="Polyak, 1964 (heavy ball)",
    ),
    Optimizer(
        "nesterov",
        _nesterov,
        {"learning_rate": HEAVY, "momentum": MOMENTUM},
        reference="Nesterov, 1983; Sutskever et al., 2013",
    ),
    Optimizer(
        "optimistic_gradient_descent",
        optax.optimistic_gradient_descent,
        {"learning_rate": DESCENT},
        reference="Mokhtari, Ozdaglar and Pattathil, 2020",
    ),
    Optimizer(
        "noisy_sgd",
        _noisy_sgd,
        {"learning_rate": DESCENT, "eta": log_uniform(1e-4, 1.0)},  # 0.01, 0.3 and 1 in the paper, less for short runs
        random=True,
        reference="Neelakantan et al., 2015",
    ),
    Optimizer(
        "rmsprop",
        optax.rmsprop,
        {"learning_rate": ADAPTIVE, "decay": one_minus_log_uniform(0.9, 0.999)},  # 0.9 in the lecture
        reference="Tieleman and Hinton, 2012",
    ),
    Optimizer(
        "adagrad",
        optax.adagrad,
        {"learning_rate": DESCENT},  # steps shrink as 1 / sqrt(t), so rates are larger than Adam's
        reference="Duchi, Hazan and Singer, 2011",
    ),
    Optimizer(
        "adadelta",
        optax.adadelta,
        # The first step is sqrt(eps) long: eps is what a learning rate is elsewhere (table 2 of the paper: rho 0.9 to
        # 0.99, eps 1e-8 to 1e-2). The rate, 1 in the paper, is left to tune for schedules and short runs.
        {
            "learning_rate": log_uniform(0.1, 10.0),
            "rho": one_minus_log_uniform(0.9, 0.99),
            "eps": log_uniform(1e-8, 1e-2),
        },
        reference="Zeiler, 2012",
    ),
    Optimizer(
        "adam",  # b1 0 and 0.9, b2 0.99 to 0.9999, rates 1e-5 to 1e-1 in section 6.4 of the paper
        optax.adam,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Kingma and Ba, 2015",
    ),
    Optimizer(
        "adamax",
        optax.adamax,
        {"learning_rate": WIDE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Kingma and Ba, 2015",
    ),
    Optimizer(
        "nadam",
        optax.nadam,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Dozat, 2016",
    ),
    Optimizer(
        "amsgrad",
        optax.amsgrad,
        {"learning_rate": WIDE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Reddi, Kale and Kumar, 2018",
    ),
    Optimizer(
        "yogi",
        optax.yogi,
        {"learning_rate": WIDE, "b1": MOMENTUM, "b2": SQUARES, "eps": log_uniform(1e-8, 1e-2)},  # 1e-3 in the paper
        reference="Zaheer et al., 2018",
    ),
    Optimizer(
        "adabelief",
        optax.adabelief,
        {
            "learning_rate": ADAPTIVE,
            "b1": MOMENTUM,
            "b2": SQUARES,
            "eps": log_uniform(1e-16, 1e-8),
        },  # both in the paper
        reference="Zhuang et al., 2020",
    ),
    Optimizer(
        "radam",
        optax.radam,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Liu et al., 2020",
    ),
    Optimizer(
        "acprop",
        optax.contrib.acprop,
        # A step is scaled by the squares before it: a sudden gradient is not held back, and large rates diverge.
        {"learning_rate": log_uniform(1e-5, 1e-1), "b1": MOMENTUM, "b2": SQUARES},
        reference="Zhuang et al., 2021",
    ),
    Optimizer(
        "optimistic_adam_v2",
        optax.optimistic_adam_v2,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES},
        reference="Daskalakis et al., 2018",
    ),
    Optimizer(
        "adamw",
        optax.adamw,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES, "weight_decay": WEIGHT_DECAY},
        reference="Loshchilov and Hutter, 2019",
    ),
    Optimizer(
        "nadamw",
        optax.nadamw,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES, "weight_decay": WEIGHT_DECAY},
        reference="Dozat, 2016; Dahl et al., 2023 (AlgoPerf's baseline)",
    ),
    Optimizer(
        "adamaxw",
        optax.adamaxw,
        {"learning_rate": WIDE, "b1": MOMENTUM, "b2": SQUARES, "weight_decay": WEIGHT_DECAY},
        reference="Kingma and Ba, 2015; Loshchilov and Hutter, 2019",
    ),
)
