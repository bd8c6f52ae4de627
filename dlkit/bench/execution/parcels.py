"""Parcels: values with the code that they need, to be opened in another process.

What is the user's own travels by value: functions and classes as they are in memory, with the global names that they
use. Import statements inside them meet the modules that travel along as text. A module travels by name alone, and is
run where it arrives, if it holds what cannot be pickled, such as a lock; and so does a class that JAX knows as a tree
by functions that stand elsewhere.
"""

import abc
import dataclasses
import importlib
import io
import pickle
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
from dlkit.bench.identity.local_code import LocalCode, local_code, local_module
from dlkit.bench.identity.local_imports import Scope
from dlkit.bench.machine.program import JAX_SETTINGS

__all__ = ["Parcel", "pack", "unpack"]

PLAIN = (type, abc.ABCMeta)
FIELD_SETTINGS = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
FOR_ONE_PROCESS = ("__builtins__", "__cached__", "__loader__", "__spec__")  # of a module's names


@dataclasses.dataclass(frozen=True, eq=False)
class Parcel:
    """A value that can be sent or stored: bytes and text only.

    Attributes:
        data: the pickled value.
        buffers: its arrays' bytes; not copied when it was packed here.
        code: the local modules that it needs.
        settings: JAX's settings in the process that packed it.
    """

    data: bytes
    buffers: Sequence[Any]
    code: LocalCode
    settings: Mapping[str, Any]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Lets arrays be sent as they are, without a copy."""
        out_of_band = PickleBuffer if protocol >= 5 else bytes
        return Parcel, (self.data, [out_of_band(each) for each in self.buffers], self.code, dict(self.settings))


def pack(value: Any) -> Parcel:
    """Packs a value with the code that it needs.

    Args:
        value: anything, with functions and objects of the user's own in it.

    Returns:
        The parcel.

    Raises:
        UserError: for what cannot be sent, with its name and module.
    """
    named: frozenset[str] = frozenset()
    while True:
        buffers: list[PickleBuffer] = []
        stream = io.BytesIO()
        pickler = _Pickler(stream, named, buffers.append)
        try:
            with pickler.registered():
                pickler.dump(value)
        except UserError:
            raise
        except Exception as error:  # whatever an object's own __reduce__ raises
            held_back = _with_what_cannot_be_sent(pickler.seen) | named
            if held_back == named:
                raise UserError(_why(error, pickler.seen)) from error
            named = held_back
        else:
            code = local_code(*pickler.seen.values())
            settings = {name: getattr(jax.config, name) for name in JAX_SETTINGS}
            return Parcel(stream.getvalue(), [each.raw() for each in buffers], code, settings)


def unpack(parcel: Parcel) -> Any:
    """Opens a parcel: applies JAX's settings, makes its code importable, and only then unpickles.

    Raises:
        Exception: whatever the user's own code raises on the way.
    """
    for name, setting in parcel.settings.items():
        if getattr(jax.config, name) != setting:
            jax.config.update(name, setting)
    token = _SCOPE.set(parcel.code.install())
    try:
        return pickle.loads(parcel.data, buffers=parcel.buffers)
    finally:
        _SCOPE.reset(token)


# --- packing ---


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
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

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Leaves cloudpickle's list of modules that travel by value as it was."""
        before = cloudpickle.list_registry_pickle_by_value()
        try:
            yield
        finally:
            for name in cloudpickle.list_registry_pickle_by_value() - before:
                cloudpickle.unregister_pickle_by_value(sys.modules.get(name) or ModuleType(name))

    def reducer_override(self, obj: Any) -> Any:
        """How functions, classes and modules travel."""
        if not isinstance(obj, FunctionType | ModuleType | type):
            return super().reducer_override(obj)
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
    """Whether a function or class is what its module has under its name."""
    found: Any = module
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


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


def _with_what_cannot_be_sent(seen: Mapping[int, Any]) -> frozenset[str]:
    """The modules some of whose values cannot be pickled."""
    names = {each.__name__ if isinstance(each, ModuleType) else each.__module__ for each in seen.values()}
    modules = {name: sys.modules[name] for name in names if name in sys.modules and name != "__main__"}
    every = frozenset(modules)
    return frozenset(
        name
        for name, module in modules.items()
        if any(_mistake(value, every) for key, value in vars(module).items() if key not in FOR_ONE_PROCESS)
    )


def _mistake(value: Any, named: frozenset[str]) -> str:
    """Why a value cannot be pickled, with functions of some modules by name; nothing if it can."""
    pickler = _Pickler(io.BytesIO(), named, lambda buffer: None)
    try:
        with pickler.registered():
            pickler.dump(value)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _why(error: Exception, seen: Mapping[int, Any]) -> str:
    """Says which of the objects that functions use cannot be sent."""
    functions = [each for each in seen.values() if isinstance(each, FunctionType)]
    every = frozenset(each.__module__ for each in functions if each.__module__)
    advice = "make it inside the function that uses it"
    for function in functions:
        where = f"of module '{function.__module__}' ({function.__code__.co_filename})"
        for name in function.__code__.co_names:
            if name in function.__globals__ and (reason := _mistake(function.__globals__[name], every)):
                return f"'{name}' {where}, which '{function.__qualname__}' uses, cannot be sent: {reason}; {advice}"
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if reason := _mistake(cell.cell_contents, every):
                return f"'{name}' in '{function.__qualname__}' {where} cannot be sent: {reason}; {advice}"
    return f"what the run uses cannot be sent to a worker: {error}; {advice}"


# --- unpacking: called by name from a parcel's data ---

_SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)  # of the parcel in hand


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
