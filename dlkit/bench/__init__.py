"""The bench: tunes every contender with the same budget, compares the winners on paired fresh seeds, says who is best.

>>> from dlkit import bench
>>> budget = bench.Budget(steps=40, evaluations=4, studies=6, tuning_points=2, seeds=1)
>>> resources = bench.Resources(executor="inline")
>>> result = bench.compare(problems=["quadratic"], optimizers=["sgd", "adam"], budget=budget, resources=resources)
>>> sorted(result.curves().columns)
['metric', 'optimizer', 'problem', 'seed', 'step', 'value']
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from dlkit.distribution import warn_of_another

if TYPE_CHECKING:
    from dlkit.bench.api import Result, check, compare, open_run, run
    from dlkit.bench.data import Dataset, dataset, split
    from dlkit.bench.errors import UserError
    from dlkit.bench.execution.bit_comparison import Replay
    from dlkit.bench.execution.models import KeptModel
    from dlkit.bench.execution.resources import Resources
    from dlkit.bench.execution.single_trial import TrainedModel, train
    from dlkit.bench.optimizers.base import Optimizer
    from dlkit.bench.optimizers.schedules import Schedule
    from dlkit.bench.plan.metric import Metric
    from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule
    from dlkit.bench.plan.space import log_uniform, one_minus_log_uniform, uniform
    from dlkit.bench.plan.trials import Evaluations
    from dlkit.bench.probes.base import Probe
    from dlkit.bench.problems.base import Problem
    from dlkit.bench.problems.frameworks.equinox import problem_from_equinox
    from dlkit.bench.problems.frameworks.flax import problem_from_flax
    from dlkit.bench.problems.frameworks.haiku import problem_from_haiku
    from dlkit.bench.problems.from_dataset import problem_from_dataset
    from dlkit.bench.problems.players import Player
    from dlkit.bench.runs import compare_runs, merge_runs
    from dlkit.bench.spec.budget import Budget
    from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
    from dlkit.bench.spec.toml import load
    from dlkit.bench.upkeep import Verification, convert_run, repair_run, verify_run

# Imported on first use, so that the command line answers --help without JAX. A test compares with the imports above.
_HOMES = {
    "api": ("Result", "check", "compare", "open_run", "run"),
    "data": ("Dataset", "dataset", "split"),
    "errors": ("UserError",),
    "execution.bit_comparison": ("Replay",),
    "execution.models": ("KeptModel",),
    "execution.resources": ("Resources",),
    "execution.single_trial": ("TrainedModel", "train"),
    "optimizers.base": ("Optimizer",),
    "optimizers.schedules": ("Schedule",),
    "plan.metric": ("Metric",),
    "plan.policies": ("EarlyStopping", "Settling", "TargetRule"),
    "plan.space": ("log_uniform", "one_minus_log_uniform", "uniform"),
    "plan.trials": ("Evaluations",),
    "probes.base": ("Probe",),
    "problems.base": ("Problem",),
    "problems.frameworks.equinox": ("problem_from_equinox",),
    "problems.frameworks.flax": ("problem_from_flax",),
    "problems.frameworks.haiku": ("problem_from_haiku",),
    "problems.from_dataset": ("problem_from_dataset",),
    "problems.players": ("Player",),
    "runs": ("compare_runs", "merge_runs"),
    "upkeep": ("Verification", "convert_run", "repair_run", "verify_run"),
    "spec.budget": ("Budget",),
    "spec.entries": ("Contender", "Experiment", "ProblemChoice"),
    "spec.toml": ("load",),
}
_ROOMS = ("data", "optimizers", "probes", "problems", "stats")  # with public names of their own
_NEEDED = ("cattrs", "distributed", "pandas", "platformdirs", "plotly", "rich", "scipy", "sklearn")
_FROM_ELSEWHERE = (
    "torch and keras models are not traced by JAX; write it in flax (bench.problem_from_flax), equinox or haiku"
)
_ELSEWHERE = {  # what people look for here, and where it is
    **{name: f"it is outside: dlkit.{name}" for name in ("activations", "layers", "losses", "models", "regularizers")},
    **dict.fromkeys(("problem_from_torch", "problem_from_pytorch", "problem_from_keras"), _FROM_ELSEWHERE),
    **dict.fromkeys(("adam", "sgd", "adamw"), "optimizers are given by name, such as optimizers=['adam']"),
}
_HOME_OF = {name: f"dlkit.bench.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "Budget",
    "Contender",
    "Dataset",
    "EarlyStopping",
    "Evaluations",
    "Experiment",
    "KeptModel",
    "Metric",
    "Optimizer",
    "Player",
    "Probe",
    "Problem",
    "ProblemChoice",
    "Replay",
    "Resources",
    "Result",
    "Schedule",
    "Settling",
    "TargetRule",
    "TrainedModel",
    "UserError",
    "Verification",
    "check",
    "compare",
    "compare_runs",
    "convert_run",
    "dataset",
    "load",
    "log_uniform",
    "merge_runs",
    "one_minus_log_uniform",
    "open_run",
    "problem_from_dataset",
    "problem_from_equinox",
    "problem_from_flax",
    "problem_from_haiku",
    "repair_run",
    "run",
    "split",
    "train",
    "uniform",
    "verify_run",
]

warn_of_another()  # here too: the other project's `dlkit/__init__.py` may have overwritten ours


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF and name not in _ROOMS:
        from dlkit.hints import nearest

        hint = _ELSEWHERE.get(name) or nearest(name, (*_HOME_OF, *_ROOMS))
        raise AttributeError(f"module 'dlkit.bench' has no attribute '{name}'; {hint}", name=name)
    if missing := [package for package in _NEEDED if importlib.util.find_spec(package) is None]:
        raise ModuleNotFoundError(f"the bench needs {', '.join(missing)}: pip install 'dlkit-jax[bench]'")
    if name in _ROOMS:
        return importlib.import_module(f"dlkit.bench.{name}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
