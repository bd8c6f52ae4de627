"""Imports of local modules, where the text of each is known: a folder's files, or what came with a task.

Two folders may have a module of the same name, and a process may meet two texts of one module, one after another. So
code does not share `sys.modules` for its local modules: each `Scope` keeps its own, and the code that it runs asks it
first for whatever it imports, at its top and inside functions.
"""

import builtins
import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ["LocalModule", "Scope", "scope_of", "show_lines"]


class LocalModule(NamedTuple):
    """A module as text.

    Attributes:
        path: of its file; of its folder, for a package without ``__init__.py``.
        text: its source.
        is_package: whether other modules stand in it.
    """

    path: str
    text: str
    is_package: bool

    @property
    def is_namespace(self) -> bool:
        """Whether it is a package without a file of its own."""
        return self.is_package and not self.path.endswith(".py")


class Scope:
    """The local modules of some code: how they are found, and those that are imported."""

    def __init__(self, find: Callable[[str], LocalModule | None], *, shares: bool = False) -> None:
        """Starts with nothing imported.

        Args:
            find: name -> the module, None for what is not local.
            shares: whether a file that Python has imported by itself counts as imported: what a notebook has changed in
                it holds.
        """
        self._find = find
        self._shares = shares
        self.texts: dict[str, LocalModule] = {}  # what was found, as it was then
        self.modules: dict[str, ModuleType] = {}
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}

    def find(self, name: str) -> LocalModule | None:
        """Returns the text that a name stands for; None for what is not local."""
        if name not in self.texts and (found := self._find(name)) is not None:
            self.texts[name] = found
        return self.texts.get(name)

    def import_module(self, name: str) -> ModuleType:
        """Imports a module, local or not."""
        self._import(name)
        return self.modules.get(name) or sys.modules[name]

    def run(self, name: str, module: LocalModule) -> ModuleType:
        """Runs a file as a module of the scope, under any name.

        Raises:
            Exception: whatever the file raises; it is not there then.
        """
        self.texts[name] = module
        found = sys.modules[name] = importlib.util.module_from_spec(_spec(self, name, module))
        try:
            _execute(self, module, found)
        except BaseException:
            del self.texts[name], sys.modules[name]
            raise
        return found

    def take_over(self, names: Sequence[str]) -> None:
        """Makes modules of the scope what the whole process imports under their names, until another scope does."""
        for name in {name.partition(".")[0] for name in names}:
            _replace(_below(name, sys.modules), _below(name, self.modules))
        others = [each for each in sys.meta_path if not isinstance(each, _Finder) or each.top]
        sys.meta_path[:] = [_Finder(self), *others]

    def forget(self) -> None:
        """Imports everything anew from now on."""
        for name, module in self.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        self.modules.clear()
        self.texts.clear()

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """Stands for ``__import__`` in the scope's code."""
        start = name if level == 0 else str((globals or {}).get("__package__") or (globals or {}).get("__name__"))
        top = start.partition(".")[0]
        given = (globals, locals, fromlist, level)
        if top not in self.modules and not self._is_first(top):
            return __import__(name, *given)
        with self._in_front(top):
            return __import__(name, *given)

    def _is_first(self, top: str) -> bool:
        """Whether a name is that of a local module, and not one that Python's own import of it stands for."""
        found, there = self.find(top), sys.modules.get(top)
        if found is None or there is None or not self._shares:
            return found is not None
        return vars(there).get("__file__") != found.path or scope_of(vars(there)) is not None

    @contextmanager
    def _in_front(self, top: str) -> Iterator[None]:
        """Has the scope's modules below a name imported in place of others, which are put back afterwards."""
        own, others = _below(top, self.modules), _below(top, sys.modules)
        if is_other := any(own.get(name) is not module for name, module in others.items()):
            _replace(others, own)
        else:
            sys.modules.update(own)
        finder = _Finder(self, top)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            now = _below(top, sys.modules)
            self.modules.update(now)
            if is_other:
                _replace(now, others)


def scope_of(names: Mapping[str, Any] | None) -> Scope | None:
    """Returns the scope of some code by its global names; None for code that Python imported by itself."""
    own = (names or {}).get("__builtins__")
    scope = getattr(own.get("__import__"), "__self__", None) if isinstance(own, dict) else None
    return scope if isinstance(scope, Scope) else None


class _Finder(MetaPathFinder):
    """Finds a scope's modules for Python's import system: all of them, or those below a name."""

    def __init__(self, scope: Scope, top: str = "") -> None:
        self.scope = scope
        self.top = top

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if self.top and name.partition(".")[0] != self.top:
            return None
        module = self.scope.find(name)
        return None if module is None else _spec(self.scope, name, module)


class _Loader(Loader):
    """Runs a module's text in its scope."""

    def __init__(self, scope: Scope, module: LocalModule) -> None:
        self.scope = scope
        self.module = module

    def exec_module(self, module: ModuleType) -> None:
        _execute(self.scope, self.module, module)

    def get_source(self, name: str) -> str:
        return self.module.text

    def is_package(self, name: str) -> bool:
        return self.module.is_package


def _spec(scope: Scope, name: str, module: LocalModule) -> ModuleSpec:
    loader = _Loader(scope, module)
    spec = ModuleSpec(name, loader, is_package=module.is_package)
    if not module.is_namespace:
        spec.origin, spec.has_location = module.path, True
    if spec.submodule_search_locations is not None:
        folder = Path(module.path) if module.is_namespace else Path(module.path).parent
        spec.submodule_search_locations.append(str(folder))
    return spec


def _execute(scope: Scope, text: LocalModule, module: ModuleType) -> None:
    show_lines(text)
    vars(module)["__builtins__"] = scope.builtins
    scope.modules[module.__name__] = module  # what it imports may import it
    try:
        exec(compile(text.text, text.path, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del scope.modules[module.__name__]
        raise


def show_lines(module: LocalModule) -> None:
    """Lets tracebacks and `inspect` show a module's text, whatever its file says by then."""
    if not module.is_namespace:
        lines = module.text.splitlines(keepends=True)
        linecache.cache[module.path] = (len(module.text), None, lines, module.path)


def _below(top: str, modules: Mapping[str, ModuleType]) -> dict[str, ModuleType]:
    start = f"{top}."
    return {name: module for name, module in modules.items() if name == top or name.startswith(start)}


def _replace(old: Mapping[str, ModuleType], new: Mapping[str, ModuleType]) -> None:
    for name in old:
        sys.modules.pop(name, None)
    sys.modules.update(new)
