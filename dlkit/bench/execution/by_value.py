"""Pickles what is the user's own by value: functions and classes as they are in memory, with the names that they use.

A class that JAX knows as a tree is one again where it arrives. If only functions that stand elsewhere say how, it
travels by name alone, and its module is run there.
"""

import abc
import dataclasses
import functools
import importlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pickle import PickleBuffer
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
import jax

from dlkit.bench.errors import UserError
from dlkit.bench.identity.local_code import local_module
from dlkit.bench.identity.local_imports import Scope

__all__ = ["FOR_ONE_PROCESS", "Pickler", "opening"]

PLAIN = (type, abc.ABCMeta)
LRU_CACHE = type(functools.lru_cache(len))
FIELD_SETTINGS = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
FOR_ONE_PROCESS = ("__builtins__", "__cached__", "__loader__", "__spec__")  # of a module's names


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what is local, in memory as it is; remembers which functions, classes and modules it met."""

    def __init__(self, file: io.BytesIO, named: frozenset[str], buffer_callback: Callable[[PickleBuffer], Any]) -> None:
        """Starts.

        Args:
            file: where the bytes go.
            named: modules that travel by name alone.
            buffer_callback: gets the arrays.
        """
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.named = named
        self.seen: dict[int, Any] = {}  # kept alive by what is pickled

    def dump(self, value: Any) -> None:
        """Pickles a value; leaves cloudpickle's list of modules that travel by value as it was."""
        before = cloudpickle.list_registry_pickle_by_value()
        try:
            super().dump(value)
        finally:
            for name in cloudpickle.list_registry_pickle_by_value() - before:
                cloudpickle.unregister_pickle_by_value(sys.modules.get(name) or ModuleType(name))

    def reducer_override(self, obj: Any) -> Any:
        """How functions, classes and modules travel."""
        if not isinstance(obj, FunctionType | ModuleType | type):
            return _wrapper(obj) or super().reducer_override(obj)
        name = obj.__name__ if isinstance(obj, ModuleType) else obj.__module__
        module = obj if isinstance(obj, ModuleType) else sys.modules.get(name)
        is_own = module is None or name == "__main__" or local_module(module) is not None
        if not is_own:
            return super().reducer_override(obj)
        self.seen[id(obj)] = obj
        if isinstance(obj, ModuleType):
            return self._module(obj)
        is_remade = isinstance(obj, type) and _is_remade(obj)
        if module is not None and name != "__main__" and _has(module, obj):
            if name in self.named or is_remade:
                return _attribute, (name, obj.__qualname__)
            if name not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
        if is_remade:
            raise UserError(
                f"class '{obj.__qualname__}' of '{name}' cannot be sent: how it is a tree stands elsewhere; "
                "use jax.tree_util.register_pytree_node_class, or move it to a module"
            )
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and isinstance(reduced, tuple):
            return _function, reduced[1], (reduced[5], reduced[2]), None, None, _set_function
        if isinstance(obj, type) and isinstance(reduced, tuple) and _is_tree(obj):
            return _tree(obj, *reduced)
        return reduced

    def _module(self, module: ModuleType) -> Any:
        if module.__name__ in self.named or module.__name__ == "__main__":
            return importlib.import_module, (module.__name__,)
        state = {name: value for name, value in vars(module).items() if name not in FOR_ONE_PROCESS}
        return ModuleType, (module.__name__,), state, None, None, _set_module


def _has(module: ModuleType, value: Any) -> bool:
    """Whether a function, class or wrapper is what its module has under its name, or was before it ran again."""
    found: Any = module
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    if isinstance(value, type):
        return isinstance(found, type) and (found.__module__, found.__qualname__) == (
            module.__name__,
            value.__qualname__,
        )
    if isinstance(value, FunctionType):
        return isinstance(found, FunctionType) and found.__code__ == value.__code__
    return found is value


def _wrapper(value: Any) -> Any:
    """How a wrapper around a function travels whose own way to be pickled needs its module, or is none."""
    if isinstance(value, LRU_CACHE):
        module = sys.modules.get(value.__module__)
        is_installed = module is not None and value.__module__ != "__main__" and local_module(module) is None
        if module is not None and is_installed and _has(module, value):
            return _attribute, (value.__module__, value.__qualname__)
        return _cache, (value.cache_parameters(),), value.__wrapped__, None, None, _set_cache
    if isinstance(value, jax.custom_vjp):
        return object.__new__, (type(value),), vars(value)
    if isinstance(value, functools.cached_property):
        return _cached_property, (value.func, value.attrname)
    if type(value).__module__.partition(".")[0] == "jaxlib" and "LRUCache" in type(value).__name__:  # inside jax.remat
        jaxs = [(name, vars(module)) for name, module in [*sys.modules.items()] if name.startswith("jax.")]
        return _attribute, next((name, key) for name, names in jaxs for key in names if names[key] is value)
    return None


def _is_remade(kind: type) -> bool:
    """Whether JAX knows a class as a tree by functions that only the source of its module can name again."""
    says_how = dataclasses.is_dataclass(kind) or hasattr(kind, "tree_flatten") or type(kind) not in PLAIN
    return not says_how and _is_tree(kind)


def _is_tree(kind: type) -> bool:
    """Whether JAX knows a class as a tree."""
    try:
        blank: Any = object.__new__(kind)
    except TypeError:  # built on another type, such as a tuple
        return False
    try:
        return not jax.tree_util.treedef_is_leaf(jax.tree.structure(blank))
    except Exception:  # it was taken apart, though nothing is in it
        return True


def _tree(kind: type, make: Any, given: tuple[Any, ...], state: Any, *rest: Any) -> tuple[Any, ...]:
    """How a class that JAX knows as a tree travels by value: with what it takes to be one again."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    if type(kind) not in PLAIN:  # it looks at these when it makes a class: Equinox
        given[3].update(_declared(kind, fields))
    blank: Any = object.__new__(kind)
    values = {field.name: object() for field in fields}
    for name, value in values.items():
        object.__setattr__(blank, name, value)
    leaves = {id(each) for each in jax.tree.leaves(blank)} if fields else ()
    parts = [[name for name, value in values.items() if (id(value) in leaves) is is_leaf] for is_leaf in (True, False)]
    return make, given, (rest[-1], state, parts), None, None, _set_tree


def _declared(kind: type, fields: Sequence[Any]) -> dict[str, Any]:
    """What stood in a class's body of its fields, and whether it has an ``__init__`` of its own."""
    annotated = vars(kind).get("__annotations__", {})
    mine = [field for field in fields if field.name in annotated]
    own: dict[str, Any] = {"__annotations__": dict.fromkeys((field.name for field in mine), Any)}
    for field in mine:
        own[field.name] = dataclasses.field(**{name: getattr(field, name) for name in FIELD_SETTINGS})
    init = vars(kind).get("__init__")
    if isinstance(init, FunctionType) and init.__code__.co_filename != "<string>":  # where dataclasses write theirs
        own["__init__"] = _set_later
    return own


# --- what the data name: called where they are unpickled ---

_SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)  # of what is unpickled


@contextmanager
def opening(scope: Scope) -> Iterator[None]:
    """Lets what is unpickled import the modules of a scope, then and later."""
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def _attribute(module: str, name: str) -> Any:
    scope = _SCOPE.get()
    assert scope is not None
    found: Any = scope.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _function(code: Any, names: dict[str, Any], *rest: Any) -> FunctionType:
    """A function whose import statements meet the parcel's code."""
    scope = _SCOPE.get()
    if scope is not None:
        names["__builtins__"] = scope.builtins
    return FunctionType(code, names, *rest)


def _set_function(function: FunctionType, state: tuple[Callable[..., Any], Any]) -> None:
    fill, content = state
    builtins = function.__globals__["__builtins__"]
    fill(function, content)
    function.__globals__["__builtins__"] = builtins  # also for the functions inside it


class _Later:
    """A function that is not there yet."""

    function: Callable[..., Any]

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.function(*given, **named)


def _cache(settings: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**settings)(_Later())


def _set_cache(cached: Any, function: Callable[..., Any]) -> None:
    cached.__wrapped__.function = function
    functools.update_wrapper(cached, function)


def _cached_property(function: Callable[[Any], Any], name: str) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


def _set_later(self: Any) -> None:
    """In place of an ``__init__`` until it is there."""


def _set_tree(kind: type, state: tuple[Callable[..., Any], Any, list[list[str]]]) -> None:
    fill, content, (leaves, others) = state
    fill(kind, content)
    if _is_tree(kind):
        return
    if hasattr(kind, "tree_flatten_with_keys"):
        jax.tree_util.register_pytree_with_keys_class(kind)
    elif hasattr(kind, "tree_flatten"):
        jax.tree_util.register_pytree_node_class(kind)
    elif dataclasses.is_dataclass(kind):
        jax.tree_util.register_dataclass(kind, leaves, others)


def _set_module(module: ModuleType, state: Mapping[str, Any]) -> None:
    vars(module).update(state)
