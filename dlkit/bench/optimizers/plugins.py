"""Optimizers of other packages and files, by name: ``"package.module:function"`` and ``"file.py:function"``."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.catalog import wrap
from dlkit.bench.space import Range, narrow

__all__ = ["is_plugin", "load_plugin"]

EXAMPLE = "space = { learning_rate = [1e-4, 1e-1] }"


def is_plugin(name: str) -> bool:
    """Returns whether a name means a function elsewhere, rather than a registered optimizer.

    Example:
        >>> is_plugin("rollfast.optim:prism"), is_plugin("adam")
        (True, False)
    """
    return ":" in name


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
    found = _attribute(name, _module(name, where, folder or Path()), function)
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


def _module(name: str, where: str, folder: Path) -> ModuleType:
    try:
        return _file_module(folder / where) if where.endswith(".py") else importlib.import_module(where)
    except FileNotFoundError:
        raise UserError(f"optimizer '{name}': no file {folder / where}; paths start at the spec's folder") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"optimizer '{name}': no module '{error.name}'; install the package that has it, or correct the name"
        ) from error
    except Exception as error:
        raise UserError(f"optimizer '{name}': importing {where} raised {type(error).__name__}: {error}") from error


def _file_module(path: Path) -> ModuleType:
    """Runs a file as a module. Its functions travel to workers by value: they need not have the file."""
    import cloudpickle

    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    cloudpickle.register_pickle_by_value(module)
    return module


def _attribute(name: str, module: ModuleType, attribute: str) -> Any:
    found = getattr(module, attribute, None)
    if found is None:
        public = [each for each in dir(module) if not each.startswith("_") and callable(getattr(module, each))]
        raise UserError(f"optimizer '{name}': {module.__name__} has no '{attribute}'; {nearest(attribute, public)}")
    if not callable(found) and not isinstance(found, Optimizer):
        raise UserError(f"optimizer '{name}': '{attribute}' is no function that returns an optax transformation")
    return found


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
