"""The code that one's own things need: the local modules that they use, as text, so that it can be taken elsewhere.

Local are the files that are neither installed packages, nor the standard library, nor dlkit.
"""

import ast
import dis
import os
import sys
import sysconfig
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.local_imports import LocalModule, Scope, scope_of, show_lines

__all__ = ["LocalCode", "find_on_disk", "is_local", "local_code", "local_module", "read_module"]

SITES = frozenset({"site-packages", "dist-packages"})  # also the user's own, and the system's under an environment


@dataclass(frozen=True)
class LocalCode:
    """Local modules as text.

    Attributes:
        modules: name -> module.
    """

    modules: Mapping[str, LocalModule] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The hash of names and texts; where the files lie does not count."""
        return digest({name: [each.text, each.is_package] for name, each in self.modules.items()}, length=64)

    def install(self) -> Scope:
        """Makes the modules what this process imports under their names, in place of any with other content.

        Returns:
            Their scope: the same for the same code, as long as it is among the last that were installed.
        """
        scope = _scope(self)
        scope.take_over([*self.modules])
        for module in self.modules.values():
            show_lines(module)
        return scope

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=16)
def _scope(code: LocalCode) -> Scope:
    return Scope(code.modules.get)


def is_local(path: str) -> bool:
    """Whether a file is the user's own: no installed package, nor the standard library, nor dlkit.

    What was typed at a prompt is the user's, too (``<stdin>``); what Python has within itself (``<frozen os>``) is not.
    """
    return not path.startswith(_not_local()) and not SITES & set(Path(path).parts)


@cache
def _not_local() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(str(Path(__file__).parents[2]))
    return (*(folder + os.sep for folder in sorted(folders)), "<builtin>", "<frozen")


# By name: what a module's text was when it was first asked for, as long as it is not imported again.
_TEXTS: dict[str, tuple[ModuleSpec | None, LocalModule | None]] = {}


def local_module(module: ModuleType) -> LocalModule | None:
    """Returns an imported module as text; None for one that is not local or has no text, and for ``__main__``.

    The text is read once: what the file says later is not what was imported.
    """
    name, spec = module.__name__, getattr(module, "__spec__", None)
    if name == "__main__":
        return None
    known = _TEXTS.get(name)
    if known is None or known[0] is not spec:
        known = _TEXTS[name] = spec, _read(module)
    return known[1]


def _read(module: ModuleType) -> LocalModule | None:
    if (scope := scope_of(vars(module))) is not None:
        return scope.find(module.__name__)
    file, folders = getattr(module, "__file__", None), [*getattr(module, "__path__", ())]
    if file is None:
        return LocalModule(folders[0], "", True) if folders and is_local(folders[0] + os.sep) else None
    return read_module(file, bool(folders))


def read_module(file: str, is_package: bool) -> LocalModule | None:
    """Reads a file as a local module; None if it is not local, or no source text."""
    if not is_local(file) or not file.endswith(".py"):
        return None
    try:
        with tokenize.open(file) as opened:
            return LocalModule(file, opened.read(), is_package)
    except (OSError, SyntaxError, UnicodeError):
        return None


def find_on_disk(name: str, folders: Sequence[str]) -> LocalModule | None:
    """Finds a local module in folders, as Python does, but without importing the packages that it stands in.

    Args:
        name: the module's, with those of its packages before it.
        folders: where the outermost package is looked for.
    """
    places: Sequence[str] = folders
    spec = None
    for last in name.split("."):
        spec = PathFinder.find_spec(last, [*places])
        places = (spec and spec.submodule_search_locations) or ()
    if spec is None:
        return None
    if spec.origin is None or not spec.has_location:
        return LocalModule(str(places[0]), "", True) if places and is_local(str(places[0]) + os.sep) else None
    return read_module(spec.origin, bool(places))


def local_code(*values: FunctionType | type | ModuleType) -> LocalCode:
    """Returns the local modules that functions, classes and modules stand in, and those that these import.

    Imports are followed in the source, also those inside functions. What is imported already below a local package
    belongs to it, however it was imported.

    Args:
        *values: where it starts. What was typed at a prompt, or stands in a script, starts with its own imports.

    Raises:
        UserError: if two different files are called by one name.
    """
    found: dict[str, LocalModule] = {}
    waiting: list[tuple[str, Scope | None]] = []
    for value in values:
        waiting += [(name, _scope_around(value)) for name in _starts(value)]
    seen = set()
    while waiting:
        name, scope = waiting.pop()
        if (name, id(scope)) in seen:
            continue
        seen.add((name, id(scope)))
        text, scope = _find(name, scope)
        if text is None:
            continue
        if found.setdefault(name, text).text != text.text:
            raise UserError(
                f"two files are imported as '{name}': {found[name].path} and {text.path}; rename one of them"
            )
        inside = [each for each in [*sys.modules] if each.startswith(f"{name}.")] if text.is_package else []
        waiting += [(each, scope) for each in (*inside, *_packages(name), *_imported_by(name, text))]
    return LocalCode(dict(sorted(found.items())))


def _starts(value: FunctionType | type | ModuleType) -> list[str]:
    """The modules that a value needs: its own, and those that it imports when it is called."""
    if isinstance(value, ModuleType):
        return [value.__name__]
    if isinstance(value, type):
        return [value.__module__]
    package = str(value.__globals__.get("__package__") or "")  # of ``python -m package.module``
    return [value.__module__ or "", *_imported_by_code(value.__code__, package)]


def _scope_around(value: FunctionType | type | ModuleType) -> Scope | None:
    """The scope that a value was made in."""
    if isinstance(value, ModuleType):
        return scope_of(vars(value))
    if isinstance(value, FunctionType):
        return scope_of(value.__globals__)
    methods = [each for each in vars(value).values() if isinstance(each, FunctionType)]
    scopes = [scope for each in methods if each.__module__ == value.__module__ and (scope := _scope_around(each))]
    return scopes[0] if scopes else scope_of(vars(sys.modules.get(value.__module__, object)))


def _find(name: str, scope: Scope | None) -> tuple[LocalModule | None, Scope | None]:
    """A module by its name, as code in a scope imports it, and the scope that it is in."""
    if scope is not None and (found := scope.find(name)) is not None:
        return found, scope
    if (module := sys.modules.get(name)) is not None:
        return local_module(module), scope_of(vars(module))
    return find_on_disk(name, sys.path) if name else None, None


def _packages(name: str) -> list[str]:
    """The packages that a module stands in."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


@lru_cache(maxsize=1024)
def _imported_by(name: str, module: LocalModule) -> frozenset[str]:
    """What may be the name of a module in a module's import statements."""
    try:
        tree = ast.parse(module.text)
    except SyntaxError:
        return frozenset()
    package = name if module.is_package else name.rpartition(".")[0]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= _from(package, node.module or "", node.level, [alias.name for alias in node.names])
    return frozenset(names)


def _imported_by_code(code: CodeType, package: str) -> set[str]:
    """What may be the name of a module in the import statements of compiled code, which stands in a package or none."""
    names: set[str] = set()
    constants: list[Any] = []  # the last two: level and names of an import
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, listed = constants[-2:]
            names |= {instruction.argval} if level == 0 else set()
            names |= _from(package, instruction.argval, level, listed or ())
        elif instruction.opname.startswith("LOAD_"):
            constants.append(instruction.argval)
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names.union(*(_imported_by_code(each, package) for each in inner))


def _from(package: str, module: str, level: int, names: Sequence[str]) -> set[str]:
    """What ``from module import names`` may import; what is imported from a package may be a module or not."""
    parts = package.split(".")
    base = ".".join([*(parts[: len(parts) - level + 1] if level else ()), *([module] if module else ())])
    return {base, *(f"{base}.{name}" for name in names if name != "*")}
