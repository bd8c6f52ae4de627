"""Methods that treat a weight as a matrix: orthogonalized, and preconditioned on its two sides."""

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.muon import muon, muon_rules
from dlkit.bench.optimizers.plain import ADAPTIVE, DESCENT, MOMENTUM
from dlkit.bench.optimizers.shampoo import shampoo, shampoo_rules
from dlkit.bench.optimizers.soap import soap, soap_rules
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform

__all__ = ["OPTIMIZERS"]

OPTIMIZERS = (
    Optimizer(
        "muon",
        muon,
        # Adam, with a rate of its own, trains what is no hidden matrix (0.02 and 3e-4 in Jordan's runs), and does so
        # alone where nothing is one.
        {"learning_rate": log_uniform(1e-3, 1.0), "beta": MOMENTUM, "adam_learning_rate": ADAPTIVE},
        roles=True,
        rules=muon_rules,
        reference="Jordan et al., 2024",
    ),
    Optimizer(
        "soap",
        soap,
        # Steps are as large as Adam's. b1 and b2 are 0.95 and the frequency 10 in the paper's runs.
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": one_minus_log_uniform(0.9, 0.999)},
        {"frequency": (10,)},
        roles=True,
        rules=soap_rules,
        reference="Vyas et al., 2024",
    ),
    Optimizer(
        "shampoo",
        shampoo,
        # Not grafted on another method's step, as AlgoPerf's is (rates 1e-4 to 1e-2, 1 - momentum 0.01 to 0.15): rates
        # are those of adagrad. Frequencies of 1 to 100 are without loss in section 7 of the paper.
        {"learning_rate": DESCENT, "momentum": MOMENTUM, "epsilon": log_uniform(1e-8, 1e-2)},
        {"frequency": (10,)},
        roles=True,
        rules=shampoo_rules,
        reference="Gupta, Koren and Singer, 2018",
    ),
)
