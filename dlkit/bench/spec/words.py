"""Where a setting stands that was given in another place: hyperparameters, budgets, data, models."""

from collections.abc import Collection
from dataclasses import fields

from dlkit.bench.plan.policies import Settling
from dlkit.bench.spec.budget import DRAWS, ELSEWHERE, Budget
from dlkit.hints import closest, nearest

__all__ = ["COMPARED", "HYPERPARAMETERS", "elsewhere"]

COMPARED = (  # what `compare` takes
    *("problems", "optimizers", "budget", "factors", "early_stopping", "probes", "targets", "settling", "expand"),
    *("timing", "folder", "resources", "executor", "progress", "check"),
)

HYPERPARAMETERS = ("learning_rate", "weight_decay", "momentum", "b1", "b2", "eps")
DATA = frozenset({"dataset", "data", "x", "X", "y", "Y", "inputs", "targets", "train", "X_train", "y_train"})
MODELS = frozenset({"model", "module", "network", "net"})
RESOURCES = ("workers", "lanes", "devices", "memory")


def elsewhere(name: str, owner: str, valid: Collection[str], *, toml: bool = False) -> str:
    """Returns what to write in place of a setting that its owner does not have.

    Args:
        name: of the setting.
        owner: ``"experiment"``, ``"budget"``, ``"optimizer"`` (an entry of the optimizers) or ``"problem"``.
        valid: the settings that it has.
        toml: whether it is written as in a spec file, not as in Python.

    Example:
        >>> elsewhere("lr", "optimizer", ["optimizer", "space"], toml=True)
        'hyperparameters stand in its space: space = {learning_rate = 0.001}'
    """
    hyperparameter = closest(name, HYPERPARAMETERS, spelled_so=True)
    if owner == "budget":
        return ELSEWHERE.get(name) or nearest(name, valid)
    if hyperparameter and not closest(name, valid):
        space = f"space = {{{hyperparameter} = 0.001}}" if toml else f"space={{'{hyperparameter}': 0.001}}"
        if owner == "optimizer":
            return f"hyperparameters stand in its space: {space}"
        entry = f"{{optimizer = 'adam', {space}}}" if toml else f"bench.Contender(optimizer='adam', {space})"
        return f"hyperparameters stand in the space of an optimizer: {entry}"
    if owner == "experiment":
        return _beside_experiment(name, valid, toml=toml)
    found = nearest(name, valid)
    if owner in ("problem", "optimizer") and not closest(name, valid):
        choice = f"choices = {{{name} = ...}}" if toml else f"choices={{'{name}': ...}}"
        if name in _of_budget():
            return f"every contender has the same; {_in_budget(name, toml=toml)}"
        return f"{found}; what a problem lets one choose stands in {choice}"
    return found


def _beside_experiment(name: str, valid: Collection[str], *, toml: bool) -> str:
    """Where what is no setting of a whole experiment stands."""
    budget = closest(name, _of_budget(), spelled_so=True)
    if name in ("seed", "random_state"):
        return DRAWS
    if name in _of_budget() or (budget and not closest(name, valid)):
        return _in_budget(budget or name, toml=toml)
    if name in DATA:
        if toml:
            return "data are part of a problem: {problem = 'data-file', choices = {path = 'my.csv', target = 'y'}}"
        return "data are part of a problem: problems=[bench.dataset((X, y))]"
    if name in MODELS:
        if toml:
            return "a model is part of a problem: {problem = 'file.py:function'}"
        return "a model is part of a problem: problems=[bench.problem_from_flax(model, dataset, loss)]"
    if name in ("schedule", "batch_size", "order", "activation"):
        return f"write factors.{name} = [...]" if toml else f"write factors={{'{name}': [...]}}"
    if name in [each.name for each in fields(Settling)]:
        return f"it is one of [settling]: {name} = ..." if toml else f"write settling=bench.Settling({name}=...)"
    if (resource := closest(name, RESOURCES, spelled_so=True)) and not closest(name, valid):
        if toml:
            return f"it is one of [resources]: {resource} = ...; or dlkit run SPEC --{resource} ..."
        return f"write resources=bench.Resources({resource}=...)"
    return nearest(name, valid)


def _of_budget() -> list[str]:
    return [each.name for each in fields(Budget)]


def _in_budget(name: str, *, toml: bool) -> str:
    return (
        f"it belongs into [budget]: {name} = ..." if toml else f"it is of the budget: budget=bench.Budget({name}=...)"
    )
