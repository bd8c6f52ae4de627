"""Functions of other packages and files, found by name: ``"package.module:function"``, ``"file.py:function"``."""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.local_code import find_on_disk, read_module
from dlkit.bench.identity.local_imports import LocalModule, Scope

__all__ = ["import_attribute", "imports_anew", "is_import"]

_ANEW: ContextVar[set[tuple[str, ...]] | None] = ContextVar("anew", default=None)  # folders whose files have run again


def is_import(name: str) -> bool:
    """Returns whether a name refers to a package or file, and not to something registered in dlkit.

    Example:
        >>> is_import("rollfast.optim:prism"), is_import("adam")
        (True, False)
    """
    return ":" in name and "=" not in name.partition(":")[0]  # what has '=' names an optimizer for each player


@contextmanager
def imports_anew() -> Iterator[None]:
    """Has local files that are imported meanwhile run again, though their text is the same: what they read may not be.

    Each runs once, so that all that is named in one file shares what the file holds; also if this is nested.
    """
    before = _ANEW.get()
    token = _ANEW.set(set() if before is None else before)
    try:
        yield
    finally:
        _ANEW.reset(token)


def import_attribute(name: str, *, owner: str, folder: Path | None = None) -> Any:
    """Imports what a name refers to.

    The import statements of a file reach the modules beside it, and those beside the spec: they need not be on Python's
    path, and each folder has its own. `importlib.import_module` does not reach them. Files that have changed since are
    imported again, with whatever imports them; others are not, unless `imports_anew` says so.

    Args:
        name: ``"package.module:attribute"`` or ``"file.py:attribute"``.
        owner: who uses it, for messages: ``"optimizer 'file.py:mine'"``.
        folder: where a file's path starts; None for the current folder. A package may stand there, in the current
            folder, or wherever Python finds it.

    Returns:
        The attribute.

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
    path = (folder / where).resolve() if where.endswith(".py") else None
    scope = _scope(folder, Path()) if path is None else _scope(path.parent, folder)
    try:
        return scope.import_module(where) if path is None else _file_module(path, scope)
    except FileNotFoundError as error:
        if error.filename is None or Path(error.filename) != path:
            raise UserError(f"{owner}: importing {where} raised {type(error).__name__}: {error}") from error
        raise UserError(f"{owner}: no file {folder / where}; paths start at {start}") from None
    except ModuleNotFoundError as error:
        if error.name and scope.find(error.name):
            raise UserError(
                f"{owner}: importing {where} raised {type(error).__name__}: {error}; it is there, but importlib finds "
                f"only what is on Python's path: write 'import {error.name}'"
            ) from error
        raise UserError(
            f"{owner}: no module '{error.name}'; install the package that has it, put it beside the file, or correct "
            "the name"
        ) from error
    except SystemExit as error:
        raise UserError(
            f"{owner}: importing {where} raised SystemExit: {error}; put what only a script does below if __name__ == "
            "'__main__'"
        ) from error
    except Exception as error:
        raise UserError(f"{owner}: importing {where} raised {type(error).__name__}: {error}") from error


def _file_module(path: Path, scope: Scope) -> ModuleType:
    """Runs a file as a module, once for each of its contents."""
    content = path.read_bytes()
    known = hashlib.sha256(str(path).encode() + content).hexdigest()[:8]
    name = f"{path.stem}_{known}"
    if name in scope.modules:
        return scope.modules[name]
    return scope.run(name, LocalModule(str(path), importlib.util.decode_source(content), False))


def _scope(*folders: Path) -> Scope:
    """The local modules that code in some folders imports, as far as their files have not changed since."""
    importlib.invalidate_caches()
    places = tuple(dict.fromkeys(str(folder.resolve()) for folder in folders))
    scope = _scope_of_folders(places)
    anew = _ANEW.get()
    if anew is not None and places not in anew:
        anew.add(places)
        scope.forget()
    files = [text for text in scope.texts.values() if not text.is_namespace]
    if any(read_module(text.path, text.is_package) != text for text in files):
        scope.forget()
    return scope


@cache
def _scope_of_folders(folders: tuple[str, ...]) -> Scope:
    def find(name: str) -> LocalModule | None:
        found = find_on_disk(name, [*folders, *sys.path])
        return found if found is not None and found.path.startswith(tuple(each + os.sep for each in folders)) else None

    return Scope(find, shares=True)
