"""Optimizers of other packages and files, by name: ``"package.module:function"`` and ``"file.py:function"``."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.references import import_attribute
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.catalog import wrap
from dlkit.bench.plan.space import Range, narrow

__all__ = ["load_plugin"]

EXAMPLE = "space = { learning_rate = [1e-4, 1e-1] }"


def load_plugin(
    name: str,
    space: Mapping[str, Any],
    static: Mapping[str, Sequence[Any]],
    *,
    folder: Path | None = None,
) -> Optimizer:
    """Imports a function that returns an optax transformation, and makes an optimizer of it.

    Args:
        name: ``"package.module:function"`` or ``"file.py:function"``, with wrappers after it: ``"...:function+clip"``.
            In place of a function it may name an `Optimizer`, which then needs no space.
        space: hyperparameter -> number, ``[low, high]`` or ``[low, high, scale]``; log-uniform where low > 0.
        static: hyperparameter -> choices.
        folder: where a file's path starts; None for the current folder.

    Returns:
        The optimizer.

    Raises:
        UserError: if there is no such module, file or function, no space, or a hyperparameter it does not take.
    """
    where, _, attribute = name.partition(":")
    function, *wrappers = attribute.split("+")
    found = import_attribute(f"{where}:{function}", owner=f"optimizer '{name}'", folder=folder)
    if not callable(found) and not isinstance(found, Optimizer):
        raise UserError(f"optimizer '{name}': '{function}' is no function that returns an optax transformation")
    plugin = f"{where}:{function}"
    if isinstance(found, Optimizer):
        optimizer = replace(found, name=plugin, static={**found.static, **static})
        own = {key: value for key, value in space.items() if key in found.space or not wrappers}
    else:
        added = set(wrap(Optimizer(plugin, found, {}), wrappers).space)
        own = {key: value for key, value in space.items() if key not in added or key in _parameters(found)}
        if not own:
            raise UserError(f"optimizer '{name}': give the space to tune it over, such as {EXAMPLE}")
        _require_taken(name, found, [*own, *static])
        ranges: dict[str, Range | float] = dict.fromkeys(own, 0.0)
        optimizer = Optimizer(plugin, found, ranges, dict(static))
    optimizer = replace(optimizer, space=narrow(optimizer.space, own, owner=f"optimizer '{name}'"))
    wrapped = wrap(optimizer, wrappers)
    rest = {key: value for key, value in space.items() if key not in own}
    return replace(wrapped, space=narrow(wrapped.space, rest, owner=f"optimizer '{name}'"))


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # built in: it may take anything
        return {"settings": inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD)}


def _require_taken(name: str, function: Callable[..., Any], settings: Sequence[str]) -> None:
    parameters = _parameters(function)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    if mistakes := [
        f"optimizer '{name}': it takes no '{setting}'; {nearest(setting, parameters)}"
        for setting in settings
        if setting not in parameters
    ]:
        raise UserError("\n".join(mistakes))
