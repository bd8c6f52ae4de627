"""Functions of other packages and files, found by name: ``"package.module:function"``, ``"file.py:function"``."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.bench.errors import UserError, nearest

__all__ = ["import_attribute", "is_import"]


def is_import(name: str) -> bool:
    """Returns whether a name refers to a package or file, and not to something registered in dlkit.

    Example:
        >>> is_import("rollfast.optim:prism"), is_import("adam")
        (True, False)
    """
    return ":" in name and "=" not in name.partition(":")[0]  # what has '=' names an optimizer for each player


def import_attribute(name: str, *, owner: str, folder: Path | None = None) -> Any:
    """Imports what a name refers to.

    Args:
        name: ``"package.module:attribute"`` or ``"file.py:attribute"``.
        owner: who uses it, for messages: ``"optimizer 'file.py:mine'"``.
        folder: where a file's path starts; None for the current folder.

    Returns:
        The attribute. What a file defines is sent to workers by value: they need not have the file.

    Raises:
        UserError: if there is no such module, file or attribute, or the import raises.
    """
    where, _, attribute = name.partition(":")
    module = _module(owner, where, folder)
    found = getattr(module, attribute, None)
    if found is None:
        public = [each for each, value in vars(module).items() if each[:1] != "_" and not isinstance(value, ModuleType)]
        raise UserError(f"{owner}: {where} has no '{attribute}'; {nearest(attribute, public)}")
    return found


def _module(owner: str, where: str, folder: Path | None) -> ModuleType:
    start = "the current folder" if folder is None else "the spec's folder"
    folder = folder or Path()
    try:
        return _file_module(folder / where) if where.endswith(".py") else importlib.import_module(where)
    except FileNotFoundError:
        raise UserError(f"{owner}: no file {folder / where}; paths start at {start}") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"{owner}: no module '{error.name}'; install the package that has it, or correct the name"
        ) from error
    except Exception as error:
        raise UserError(f"{owner}: importing {where} raised {type(error).__name__}: {error}") from error


def _file_module(path: Path) -> ModuleType:
    """Runs a file as a module, once for each of its contents."""
    import cloudpickle

    path = path.resolve()
    known = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:8]
    name = f"{path.stem}_{known}"
    if name in sys.modules:
        return sys.modules[name]
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
