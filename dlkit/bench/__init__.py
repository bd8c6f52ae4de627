"""The bench: tunes every contender with the same budget, compares the winners on paired fresh seeds, says who is best.

>>> from dlkit import bench
>>> budget = bench.Budget(steps=40, evaluations=4, tuning_points=2, seeds=6)
>>> result = bench.compare(problems=["quadratic"], optimizers=["sgd", "adam"], budget=budget, executor="inline")
>>> sorted(result.curves().columns)
['metric', 'optimizer', 'problem', 'seed', 'step', 'value']
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlkit.bench.api import Result, compare, open_run, run
    from dlkit.bench.budgets import Budget
    from dlkit.bench.data import Dataset, split
    from dlkit.bench.equinox_modules import problem_from_equinox
    from dlkit.bench.errors import UserError
    from dlkit.bench.flax_modules import problem_from_flax
    from dlkit.bench.haiku_modules import problem_from_haiku
    from dlkit.bench.optimizers import (
        Evaluations,
        Optimizer,
        with_accumulation,
        with_adaptive_clipping,
        with_averaging,
        with_caution,
        with_clipping,
        with_ema,
        with_lookahead,
        with_sharpness_awareness,
        with_weight_decay,
    )
    from dlkit.bench.problems import Metric, Player, Problem, classification, quadratic, regression
    from dlkit.bench.recipes import EarlyStopping
    from dlkit.bench.rules import TargetRule
    from dlkit.bench.schedules import Schedule
    from dlkit.bench.space import log_uniform, one_minus_log_uniform, uniform
    from dlkit.bench.spec import Experiment, OptimizerEntry, ProblemEntry
    from dlkit.bench.spec_files import load
    from dlkit.bench.training import TrainedModel, train

# Imported on first use: the command line answers --help without JAX.
_HOMES = {
    "dlkit.bench.api": ("Result", "compare", "open_run", "run"),
    "dlkit.bench.data": ("Dataset", "split"),
    "dlkit.bench.equinox_modules": ("problem_from_equinox",),
    "dlkit.bench.errors": ("UserError",),
    "dlkit.bench.flax_modules": ("problem_from_flax",),
    "dlkit.bench.haiku_modules": ("problem_from_haiku",),
    "dlkit.bench.optimizers": (
        "Evaluations",
        "Optimizer",
        "with_accumulation",
        "with_adaptive_clipping",
        "with_averaging",
        "with_caution",
        "with_clipping",
        "with_ema",
        "with_lookahead",
        "with_sharpness_awareness",
        "with_weight_decay",
    ),
    "dlkit.bench.problems": ("Metric", "Player", "Problem", "classification", "quadratic", "regression"),
    "dlkit.bench.rules": ("TargetRule",),
    "dlkit.bench.recipes": ("EarlyStopping",),
    "dlkit.bench.schedules": ("Schedule",),
    "dlkit.bench.space": ("log_uniform", "one_minus_log_uniform", "uniform"),
    "dlkit.bench.budgets": ("Budget",),
    "dlkit.bench.spec": ("Experiment", "OptimizerEntry", "ProblemEntry"),
    "dlkit.bench.spec_files": ("load",),
    "dlkit.bench.training": ("TrainedModel", "train"),
}
_NEEDED = ("distributed", "pandas", "platformdirs", "plotly", "rich", "scipy", "sklearn")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Budget",
    "Dataset",
    "EarlyStopping",
    "Evaluations",
    "Experiment",
    "Metric",
    "Optimizer",
    "OptimizerEntry",
    "Player",
    "Problem",
    "ProblemEntry",
    "Result",
    "Schedule",
    "TargetRule",
    "TrainedModel",
    "UserError",
    "classification",
    "compare",
    "load",
    "log_uniform",
    "one_minus_log_uniform",
    "open_run",
    "problem_from_equinox",
    "problem_from_flax",
    "problem_from_haiku",
    "quadratic",
    "regression",
    "run",
    "split",
    "train",
    "uniform",
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


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dlkit.bench' has no attribute '{name}'")
    if missing := [package for package in _NEEDED if importlib.util.find_spec(package) is None]:
        raise ModuleNotFoundError(f"the bench needs {', '.join(missing)}: pip install 'dlkit-jax[bench]'")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
