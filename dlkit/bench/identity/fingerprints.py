"""The hash of a user's functions and objects: it changes with what they do, and is the same in every process."""

import dataclasses
import dis
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.identity.local_code import is_local
from dlkit.bench.identity.local_imports import scope_of

__all__ = ["fingerprint", "source_files"]

# Of a class: where it stands, and what Python keeps there for itself.
NOT_BEHAVIOUR = frozenset({"__dict__", "__doc__", "__firstlineno__", "__module__", "__weakref__", "_abc_impl"})

KINDS_OF_CODE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE


def fingerprint(*values: Any) -> str:
    """Returns a hash of what a user's functions and objects do, as far as their content tells.

    A function counts with its code, defaults and closure, and with the functions and constants that it uses of the
    user's own modules; its comments, documentation and place do not count. An array counts with its bytes, a dataclass
    or plain object with its attributes. What is installed counts by its name only.
    """
    hasher = hashlib.sha256()
    seen: dict[int, tuple[int, Any]] = {}
    for value in values:
        _feed(value, hasher.update, seen)
    return hasher.hexdigest()[:16]


def _feed(value: Any, update: Callable[[bytes], None], seen: dict[int, tuple[int, Any]]) -> None:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "dtype")):
        try:
            array = np.asarray(value)
        except TypeError:  # a typed PRNG key has no NumPy form
            update(str(value).encode())
            return
        update(f"array:{array.dtype.str}{array.shape};".encode() + np.ascontiguousarray(array).tobytes())
    elif isinstance(value, tuple):  # whether equal ones are one object depends on the compiler
        _feed_object(value, update, seen)
    elif id(value) in seen:
        update(b"again:%d;" % seen[id(value)][0])
    else:
        seen[id(value)] = (len(seen), value)  # kept alive: an id belongs to one object only while that lives
        _feed_object(value, update, seen)


def _feed_object(value: Any, update: Callable[[bytes], None], seen: dict[int, tuple[int, Any]]) -> None:
    if isinstance(value, types.ModuleType):
        update(f"module:{value.__name__ if _installed(value) else ''};".encode())
        return
    update(f"{_home(type(value))}.{type(value).__qualname__}(".encode())
    parts: Any
    if isinstance(value, types.FunctionType):
        parts = _function_parts(value)
    elif isinstance(value, types.CodeType):
        parts = _code_parts(value)
    elif isinstance(value, types.MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, functools.partial):
        parts = [value.func, value.args, value.keywords]
    elif isinstance(value, type):
        parts = [_home(value), value.__qualname__, *_class_parts(value)]
    elif isinstance(value, Mapping):
        parts = sorted(((str(key), item) for key, item in value.items()), key=lambda pair: pair[0])
    elif isinstance(value, set | frozenset):
        parts = sorted(map(repr, value))
    elif isinstance(value, list | tuple):
        parts = value
    elif dataclasses.is_dataclass(value):
        parts = [(item.name, getattr(value, item.name, None)) for item in dataclasses.fields(value)]
    elif hasattr(value, "__wrapped__"):  # jax.jit, functools.wraps, static methods; jax.custom_vjp has rules beside it
        parts = [value.__wrapped__, *(getattr(value, rule, None) for rule in ("fwd", "bwd", "jvp"))]
    elif isinstance(value, property):
        parts = [value.fget]
    elif vars_of := getattr(value, "__dict__", None):
        parts = sorted(vars_of.items())
    else:
        parts = [getattr(value, "__module__", ""), getattr(value, "__qualname__", ""), *_content(value)]
    for part in parts:
        _feed(part, update, seen)
    if not isinstance(value, type) and not _installed(type(value)):
        _feed(type(value), update, seen)
    update(b")")


def _home(value: types.FunctionType | type) -> str:
    """The module of what is installed; none for the user's own, which is ``__main__`` or not, as it is run.

    Of dlkit itself, its family (``dlkit.losses``, ``dlkit.bench``): where a file of it lies changes no identity.
    """
    if not _installed(value):
        return ""
    module = str(value.__module__)
    return ".".join(module.split(".")[:2]) if module.partition(".")[0] == "dlkit" else module


def _content(value: Any) -> list[Any]:
    """What an object without attributes holds: how it is written (`range(3)`, a regular expression), or its slots."""
    written = repr(value)
    if " at 0x" not in written and _installed(type(value)):
        return [written]  # slots may hold what was computed on the way: a path's text
    slots = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    return ["" if " at 0x" in written else written, *((name, getattr(value, name)) for name in slots)]


def _slots(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    return [names] if isinstance(names, str) else [*names]


def _class_parts(kind: type) -> list[Any]:
    """What a class's behaviour depends on; nothing for those of packages."""
    if _installed(kind):
        return []
    members = [(name, member) for name, member in sorted(vars(kind).items()) if name not in NOT_BEHAVIOUR]
    return [kind.__bases__, members]


def _function_parts(function: types.FunctionType) -> list[Any]:
    """What a function's behaviour depends on."""
    parts: list[Any] = [_home(function), function.__qualname__]
    cells = [cell.cell_contents for cell in function.__closure__ or () if not _empty(cell)]
    parts += [function.__defaults__, function.__kwdefaults__, cells]
    if _installed(function):
        return parts
    return [*parts, function.__code__, _used(function)]


def _code_parts(code: types.CodeType) -> list[Any]:
    """What compiled code does: neither its place, nor the names of its local variables, nor its documentation."""
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    constants = [None if _is_documentation(code, index) else each for index, each in enumerate(code.co_consts)]
    return [code.co_code, code.co_exceptiontable, code.co_flags & KINDS_OF_CODE, code.co_names, arguments, *constants]


def _is_documentation(code: types.CodeType, index: int) -> bool:
    """Whether a constant is a function's docstring: the first one, which no instruction loads as a rule."""
    loaded = [each.arg for each in dis.get_instructions(code) if each.opcode in dis.hasconst]
    return index == 0 and isinstance(code.co_consts[0], str) and 0 not in loaded


def _used(function: types.FunctionType) -> list[Any]:
    """The values that a function finds by name: globals, and what it takes from the user's own modules."""
    names = _names(function.__code__)
    package = function.__globals__.get("__package__") or ""
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    scope = scope_of(function.__globals__)
    modules_of = {**sys.modules, **(scope.modules if scope else {})}
    imported = (modules_of.get(each) for name in names for each in (name, f"{package}.{name}"))
    waiting = [each for each in (*found, *imported) if isinstance(each, types.ModuleType) and not _installed(each)]
    modules: list[types.ModuleType] = []
    while waiting:
        module = waiting.pop(0)
        if module not in modules:
            modules.append(module)
            members = [vars(module)[name] for name in names if name in vars(module)]
            found += members
            waiting += [each for each in members if isinstance(each, types.ModuleType) and not _installed(each)]
    return found


def _names(code: types.CodeType) -> list[str]:
    """Global names a function and the functions inside it may use, in order of appearance."""
    nested = [name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in _names(constant)]
    return list(dict.fromkeys([*code.co_names, *nested]))


def _empty(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _installed(value: types.FunctionType | types.ModuleType | type) -> bool:
    """Whether a function, class or module comes from a package or from dlkit, rather than from the user."""
    file = _file(value)
    return file is not None and not is_local(file)


def _file(value: types.FunctionType | types.ModuleType | type) -> str | None:
    """Where a function, class or module says it is defined; None for what was typed at a prompt."""
    if isinstance(value, types.FunctionType):
        return value.__code__.co_filename
    module = value if isinstance(value, types.ModuleType) else sys.modules.get(value.__module__)
    if module is not None and module.__name__ in sys.builtin_module_names:
        return "<builtin>"
    return getattr(module, "__file__", None)


def source_files(*values: Any) -> dict[str, str]:
    """Returns the files of a user's functions and classes, to be stored beside a run.

    Args:
        *values: functions, classes, partials. Anything else has no file and is skipped.

    Returns:
        File -> its text.
    """
    texts = {}
    for value in values:
        inner = inspect.unwrap(value.func if isinstance(value, functools.partial) else value)
        inner = inner.__func__ if isinstance(inner, types.MethodType) else inner
        if not isinstance(inner, types.FunctionType | type) or _installed(inner):
            continue
        file = _file(inner)
        if file and Path(file).is_file():
            texts[file] = Path(file).read_text(encoding="utf-8", errors="replace")
    return texts
