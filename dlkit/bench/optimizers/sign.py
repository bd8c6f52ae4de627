"""Methods that look at signs or norms of gradients: sign, layer-wise and low-memory steps, made for large batches."""

import optax
import optax.contrib

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.layerwise import (
    fromage,
    fromage_rules,
    galore,
    galore_rules,
    lamb,
    lamb_rules,
    lars,
    lars_rules,
    novograd,
)
from dlkit.bench.optimizers.plain import ADAPTIVE, MOMENTUM, SQUARES, WEIGHT_DECAY, WIDE
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform, uniform

__all__ = ["OPTIMIZERS"]

# As in plain.py, whose comments say where ranges come from that have no source here.
SIGN = log_uniform(1e-5, 1e-1)  # every coordinate moves by the rate: 3 to 10 times less than Adam's (Lion, section 5)

OPTIMIZERS = (
    Optimizer(
        "sign_sgd",
        optax.sign_sgd,
        {"learning_rate": SIGN},
        reference="Bernstein et al., 2018",
    ),
    Optimizer(
        "signum",
        optax.signum,
        {"learning_rate": SIGN, "beta": MOMENTUM},
        reference="Bernstein et al., 2018",
    ),
    Optimizer(
        "rprop",  # meant for full batches
        optax.rprop,
        # The paper has 0.5 and 1.2, and a first step of 0.1.
        {"learning_rate": SIGN, "eta_minus": uniform(0.3, 0.7), "eta_plus": uniform(1.1, 1.3)},
        reference="Riedmiller and Braun, 1993",
    ),
    Optimizer(
        "lion",
        optax.lion,
        # b1 0.9 or 0.95, b2 0.98 or 0.99, and 3 to 10 times AdamW's weight decay (section 5 of the paper).
        {
            "learning_rate": SIGN,
            "b1": MOMENTUM,
            "b2": one_minus_log_uniform(0.9, 0.999),
            "weight_decay": log_uniform(1e-3, 10.0),
        },
        reference="Chen et al., 2023",
    ),
    Optimizer(
        "lars",
        lars,
        # The rate of biases and gains is that of gradient descent; that of weights is multiplied by the trust
        # coefficient, 0.001 with rates up to 32 in the paper, for batches of thousands. Small problems need larger
        # steps of weights at rates that biases stand.
        {
            "learning_rate": log_uniform(0.01, 30.0),
            "momentum": MOMENTUM,
            "weight_decay": log_uniform(1e-5, 1e-2),
            "trust_coefficient": log_uniform(1e-3, 0.1),
        },
        roles=True,
        rules=lars_rules,
        reference="You, Gitman and Ginsburg, 2017",
    ),
    Optimizer(
        "lamb",
        lamb,
        # In AlgoPerf rates are 1e-4 to 1e-2, 1 - b1 is 0.05 to 0.3, weight decay 1e-3 to 1; 0.01 in the paper.
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": SQUARES, "weight_decay": WEIGHT_DECAY},
        roles=True,
        rules=lamb_rules,
        reference="You et al., 2020",
    ),
    Optimizer(
        "fromage",
        fromage,
        {"learning_rate": log_uniform(1e-3, 0.3)},  # 0.01 in the paper
        roles=True,
        rules=fromage_rules,
        reference="Bernstein et al., 2020",
    ),
    Optimizer(
        "novograd",
        novograd,
        # b1 0.95, b2 0.98 in the paper, 0.25 in its code and optax.
        {
            "learning_rate": ADAPTIVE,
            "b1": MOMENTUM,
            "b2": one_minus_log_uniform(0.2, 0.99),
            "weight_decay": log_uniform(1e-5, 1e-2),
        },
        roles=True,
        reference="Ginsburg et al., 2019",
    ),
    Optimizer(
        "adafactor",
        optax.adafactor,
        # Steps are relative to a parameter's norm, so rates are those of relative change: 1e-2 at most in the paper,
        # 1e-4 to 1e-2 in AlgoPerf, whose version has momentum and weight decay too. decay_rate is 0.8 in the paper.
        # Matrices are factored from 8 rows and columns on, which is what the method is about; optax's 128 would leave
        # small networks as they are.
        {"learning_rate": ADAPTIVE, "decay_rate": uniform(0.5, 0.95)},
        {"min_dim_size_to_factor": (8,)},
        reference="Shazeer and Stern, 2018",
    ),
    Optimizer(
        "sm3",
        optax.sm3,
        # Momentum is 0.9 in the paper. Steps shrink as adagrad's do, and a parameter shares its squares with others.
        {"learning_rate": log_uniform(1e-3, 30.0), "momentum": one_minus_log_uniform(0.5, 0.99)},
        reference="Anil et al., 2019",
    ),
    Optimizer(
        "adan",
        optax.adan,
        # The paper's betas 0.02, 0.08 and 0.01 are 1 - b1, 1 - b2 and 1 - b3 here.
        {
            "learning_rate": WIDE,
            "b1": one_minus_log_uniform(0.9, 0.99),
            "b2": one_minus_log_uniform(0.8, 0.98),
            "b3": one_minus_log_uniform(0.9, 0.999),
        },
        reference="Xie et al., 2022",
    ),
    Optimizer(
        "madgrad",
        optax.contrib.madgrad,
        {"learning_rate": WIDE, "momentum": one_minus_log_uniform(0.5, 0.99)},  # 0.9 is the authors' default
        reference="Defazio and Jelassi, 2021",
    ),
    Optimizer(
        "ademamix",
        optax.contrib.ademamix,
        # alpha 4 to 10; b3 0.9999 over 10^5 steps or more: a memory of a tenth of the steps (section 4 of the paper).
        {
            "learning_rate": ADAPTIVE,
            "b2": SQUARES,
            "b3": one_minus_log_uniform(0.98, 0.9999),
            "alpha": uniform(1.0, 10.0),
        },
        reference="Pagliardini, Ablin and Grangier, 2024",
    ),
    Optimizer(
        "simplified_ademamix",
        optax.contrib.simplified_ademamix,
        # The momentum is a sum, 1 / (1 - b1) times an average, so rates are that much smaller.
        {
            "learning_rate": log_uniform(1e-5, 1e-2),
            "b1": one_minus_log_uniform(0.9, 0.999),
            "b2": one_minus_log_uniform(0.9, 0.999),
            "alpha": uniform(0.0, 10.0),
        },
        reference="Morwani et al., 2025",
    ),
    Optimizer(
        "adopt",
        optax.contrib.adopt,
        {"learning_rate": ADAPTIVE, "b1": MOMENTUM, "b2": one_minus_log_uniform(0.9, 0.9999)},
        reference="Taniguchi et al., 2024",
    ),
    Optimizer(
        "galore",
        galore,
        # A rank of a quarter of the width, new projections every 50 to 1000 steps (figure 5 of the paper).
        {"learning_rate": WIDE, "weight_decay": WEIGHT_DECAY},
        {"rank": (16,), "update_proj_gap": (50,)},
        roles=True,
        rules=galore_rules,
        reference="Zhao et al., 2024",
    ),
)
