"""Parcels: values with the code that they need, to be opened in another process.

What is the user's own travels by value. Import statements inside it meet the modules that travel along as text. A
module travels by name alone, and is run where it arrives, if it holds what cannot be pickled, such as a lock.
"""

import dataclasses
import io
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from pickle import PickleBuffer
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import jax

from dlkit.bench.errors import UserError
from dlkit.bench.execution.by_value import FOR_ONE_PROCESS, Pickler, opening
from dlkit.bench.identity.local_code import LocalCode, is_local, local_code
from dlkit.bench.machine.program import jax_settings

__all__ = ["Parcel", "pack", "unpack", "use_settings"]

PROMPTS = ("<stdin>", "<ipython-input")  # how Python and IPython call what was typed there


@dataclasses.dataclass(frozen=True, eq=False)
class Parcel:
    """A value that can be sent or stored: bytes and text only.

    Attributes:
        data: the pickled value.
        buffers: its arrays' bytes; not copied when it was packed here.
        code: the local modules that it needs.
        settings: JAX's settings in the process that packed it.
        files: where the functions in it were written: also scripts, which are no modules of `code`.
    """

    data: bytes
    buffers: Sequence[Any]
    code: LocalCode
    settings: Mapping[str, Any]
    files: Sequence[str] = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Lets arrays be sent as they are, without a copy."""
        out_of_band = PickleBuffer if protocol >= 5 else bytes
        return Parcel, (
            self.data,
            [out_of_band(each) for each in self.buffers],
            self.code,
            dict(self.settings),
            self.files,
        )


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
        pickler = Pickler(stream, named, buffers.append)
        try:
            pickler.dump(value)
        except UserError:
            raise
        except Exception as error:  # whatever an object's own __reduce__ raises
            more = _more_by_name(pickler.seen, named)
            if more == named:
                raise UserError(_why(error, pickler.seen)) from error
            named = more
        else:
            code = local_code(*pickler.seen.values())
            arrays = [each.raw() for each in buffers]
            return Parcel(stream.getvalue(), arrays, code, jax_settings(), _files(pickler.seen))


def unpack(parcel: Parcel) -> Any:
    """Opens a parcel: applies JAX's settings, makes its code importable, and only then unpickles.

    Raises:
        Exception: whatever the user's own code raises on the way.
    """
    use_settings(parcel.settings)
    with opening(parcel.code.install()):
        return pickle.loads(parcel.data, buffers=parcel.buffers)


def use_settings(settings: Mapping[str, Any]) -> None:
    """Applies JAX's settings, those that are not so already."""
    for name, setting in settings.items():
        if getattr(jax.config, name) != setting:
            jax.config.update(name, setting)


def _files(seen: Mapping[int, Any]) -> list[str]:
    """The files, prompts and cells that functions were written in; not what a library has generated."""
    names = {each.__code__.co_filename for each in seen.values() if isinstance(each, FunctionType)}
    return sorted(each for each in names if (is_local(each) and each[:1] != "<") or each.startswith(PROMPTS))


def _more_by_name(seen: Mapping[int, Any], named: frozenset[str]) -> frozenset[str]:
    """The modules to send by name alone after all: those that hold what cannot be pickled; then all that can be."""
    names = {each.__name__ if isinstance(each, ModuleType) else each.__module__ for each in seen.values()}
    modules = {name: sys.modules[name] for name in names if name in sys.modules and name != "__main__"}
    every = frozenset(modules) | named
    some = named | {
        name
        for name, module in modules.items()
        if any(_mistake(value, every) for key, value in vars(module).items() if key not in FOR_ONE_PROCESS)
    }
    return every if some == named else some


def _mistake(value: Any, named: frozenset[str]) -> str:
    """Why a value cannot be pickled, with functions of some modules by name; nothing if it can."""
    try:
        Pickler(io.BytesIO(), named, lambda buffer: None).dump(value)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _why(error: Exception, seen: Mapping[int, Any]) -> str:
    """Says which of the objects that functions use cannot be sent: the innermost, which was met last."""
    advice = "make it inside the function that uses it"
    own = [each for each in seen.values() if isinstance(each, FunctionType)]
    every = frozenset(each.__module__ for each in own if each.__module__)
    for function in reversed(own):
        where = f"of module '{function.__module__}' ({function.__code__.co_filename})"
        for name, value in _globals_of(function):
            if id(value) not in seen and (reason := _mistake(value, every)):
                return f"'{name}' {where}, which '{function.__qualname__}' uses, cannot be sent: {reason}; {advice}"
        for name, value in _own_values_of(function):
            if id(value) not in seen and (reason := _mistake(value, every)):
                return f"'{name}' in '{function.__qualname__}' {where} cannot be sent: {reason}; {advice}"
    return f"what the run uses cannot be sent to a worker: {error}; {advice}"


def _globals_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The names of its module that a function uses, also in the functions inside it."""
    codes = [function.__code__]
    for code in codes:
        yield from ((name, function.__globals__[name]) for name in code.co_names if name in function.__globals__)
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]


def _own_values_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The names of the functions around it that a function uses, and the defaults of its arguments."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():  # of a name that has no value yet
            yield name, cell.cell_contents
    arguments, defaults = function.__code__.co_varnames[: function.__code__.co_argcount], function.__defaults__ or ()
    yield from zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
