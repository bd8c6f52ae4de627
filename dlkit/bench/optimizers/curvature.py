"""Methods that use the loss's value or curvature beside its gradient. All but sophia are made for full batches."""

from typing import Any

import jax.numpy as jnp
import optax
import optax.contrib

from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform
from dlkit.bench.plan.trials import Evaluations
from dlkit.typing import Array, Key

__all__ = ["OPTIMIZERS"]

INTERVAL = 10  # steps between sophia's looks at the curvature, as in the paper


def _backtracking_sgd(slope_rtol: Array, increase_factor: Array) -> Transformation:
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=30,
        slope_rtol=slope_rtol,
        increase_factor=increase_factor,
        max_learning_rate=10.0,
    )
    return optax.chain(optax.sgd(1.0), search)


def _backtracking_evaluations(opt_state: Any) -> Evaluations:
    return Evaluations(values=opt_state[-1].info.num_linesearch_steps)


def _lbfgs_evaluations(opt_state: Any) -> Evaluations:
    return Evaluations(gradients=1 + opt_state[-1].info.num_linesearch_steps)


def _sophia(learning_rate: Array, b1: Array, gamma: Array, weight_decay: Array, key: Key) -> Transformation:
    return optax.contrib.sophia(
        learning_rate,
        b1=b1,
        gamma=gamma,
        weight_decay=weight_decay,
        update_interval=INTERVAL,
        hessian_diagonal_fn=optax.contrib.hutchinson_estimator_diag_hessian(key),
    )


def _sophia_evaluations(opt_state: Any) -> Evaluations:
    looked = (opt_state[0].count - 1) % INTERVAL == 0
    return Evaluations(hessian_products=looked.astype(jnp.int32))


OPTIMIZERS = (
    Optimizer(
        "sophia",
        _sophia,
        # The rate is what a coordinate moves at most. gamma so that 10 to 50 % of them move less: 0.005 to 0.2 there.
        {
            "learning_rate": log_uniform(1e-4, 0.1),
            "b1": one_minus_log_uniform(0.9, 0.99),
            "gamma": log_uniform(1e-3, 1.0),
            "weight_decay": log_uniform(1e-4, 1.0),
        },
        evaluations=_sophia_evaluations,
        random=True,
        reference="Liu et al., 2023",
    ),
    Optimizer(
        "lbfgs",
        optax.lbfgs,
        {},  # its line search sets the step
        {"memory_size": (10,)},  # 3 to 20 in the book
        evaluations=_lbfgs_evaluations,
        reference="Nocedal and Wright, 1999, algorithms 7.5 and 3.5",
    ),
    Optimizer(
        "backtracking_sgd",
        _backtracking_sgd,
        {"slope_rtol": log_uniform(1e-4, 0.5), "increase_factor": log_uniform(1.05, 4.0)},  # 0.1 and about 2 there
        evaluations=_backtracking_evaluations,
        reference="Vaswani et al., 2019",
    ),
    Optimizer(
        "polyak_sgd",
        optax.polyak_sgd,
        {"max_learning_rate": log_uniform(0.01, 10.0), "scaling": log_uniform(0.1, 2.0)},  # c in 0.2 to 1 there
        reference="Loizou et al., 2021",
    ),
)
