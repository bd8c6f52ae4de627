"""Methods that treat a weight as a matrix: orthogonalized, and preconditioned on its two sides."""

import optax.contrib

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.shampoo import shampoo
from dlkit.bench.optimizers.soap import soap
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform

__all__ = ["OPTIMIZERS"]

MOMENTUM = one_minus_log_uniform(0.8, 0.99)

OPTIMIZERS = (
    Optimizer(
        "muon",
        optax.contrib.muon,
        # Adam, with a rate of its own, trains what is not a matrix (0.02 and 3e-4 in Jordan's runs).
        {"learning_rate": log_uniform(1e-3, 1.0), "beta": MOMENTUM, "adam_learning_rate": log_uniform(1e-4, 1e-1)},
        reference="Jordan et al., 2024",
    ),
    Optimizer(
        "soap",
        soap,
        {"learning_rate": log_uniform(1e-4, 1.0), "b1": MOMENTUM, "b2": one_minus_log_uniform(0.9, 0.999)},
        {"frequency": (10,)},  # of the paper's runs
        reference="Vyas et al., 2024",
    ),
    Optimizer(
        "shampoo",
        shampoo,
        {"learning_rate": log_uniform(1e-3, 3.0), "momentum": MOMENTUM, "epsilon": log_uniform(1e-8, 1e-2)},
        {"frequency": (10,)},  # 1 to 100 in section 7 of the paper, without loss
        reference="Gupta, Koren and Singer, 2018",
    ),
)
