"""The canonical form of what equations of a program are made with: their parameters, constants and types."""

import dataclasses
import enum
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from dlkit.bench.identity.fingerprints import fingerprint

__all__ = ["CanonicalForms", "code_of", "mix", "type_of"]

NOT_COMPUTED = frozenset({"debug_info", "logging_record", "name", "name_and_src_info", "np_printoptions", "weak_type"})
UNSET_PRECISIONS = {"None", "DEFAULT"}
DEEPEST_WRAPPER = 4
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}", re.IGNORECASE)


class CanonicalForms:
    """Writes values as bytes that are the same in every process, and notes what has no such form.

    Attributes:
        hidden: the names of what runs outside of the program.
        unhashable: what has no canonical form.
    """

    def __init__(self, program: Callable[[Any], bytes]) -> None:
        """Takes the function that returns the form of a jaxpr."""
        self.hidden: set[str] = set()
        self.unhashable: set[str] = set()
        self.program = program
        self.known: dict[tuple[int, Any], tuple[Any, bytes]] = {}  # with the value: an id is its only while it lives

    def parameters(self, name: str, params: Mapping[str, Any]) -> bytes:
        """Returns the form of a primitive's parameters, without names and places in a file."""
        if name == "ffi_call":
            self.hidden.add(str(params.get("target_name", name)))
        parts = []
        for key in sorted(params.keys() - NOT_COMPUTED):
            value = params[key]
            if key == "precision" and {str(each) for each in np.ravel(value)} <= UNSET_PRECISIONS:
                value = None
            if name == "remat2" and key == "policy":
                continue  # it has chosen what is computed again
            parts += [key.encode(), self.called(value) if key == "callback" else self.canonical(value)]
        return mix(*parts)

    def canonical(self, value: Any) -> bytes:
        """Returns the form of a parameter."""
        if value is None or isinstance(value, bool | str | bytes):
            return f"{type(value).__name__}:{value!r}".encode()
        if isinstance(value, enum.Enum):
            return f"{type(value).__name__}.{value.name}".encode()
        if isinstance(value, int | np.integer):
            return b"int:%d" % value
        if isinstance(value, float):
            return f"float:{value.hex()}".encode()
        if isinstance(value, tuple | list):
            return mix(b"sequence", *map(self.canonical, value))
        if isinstance(value, np.dtype | type):
            return f"type:{getattr(value, 'name', getattr(value, '__qualname__', ''))}".encode()
        return self._canonical_of_jax(value)

    def _canonical_of_jax(self, value: Any) -> bytes:
        import jax
        from jax.extend.core import ClosedJaxpr, Effect, Jaxpr, Primitive

        if isinstance(value, ClosedJaxpr | Jaxpr):
            return self.program(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return self.constant(value, value)
        if isinstance(value, Mapping):
            return mix(b"mapping", *sorted(mix(*map(self.canonical, item)) for item in value.items()))
        if isinstance(value, set | frozenset):
            return mix(b"set", *sorted(map(self.canonical, value)))
        if isinstance(value, Primitive):
            return f"primitive:{value.name}".encode()
        if isinstance(value, Effect):
            return f"effect:{type(value).__name__}".encode()
        if dataclasses.is_dataclass(value):
            fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
            return mix(type(value).__name__.encode(), *(self.canonical(field) for field in fields))
        if isinstance(value, FunctionType) and f"{value.__module__}.".startswith("jax.") and not value.__closure__:
            return f"function:{value.__module__}.{value.__qualname__}".encode()  # of a kind of key
        if isinstance(value, FunctionType | functools.partial):
            return code_of(value)
        return self.written(value)

    def written(self, value: Any) -> bytes:
        """Returns the form of an object that is told by its text, such as a sharding."""
        text = repr(value)
        if ADDRESS.search(text):
            return self.no_form(type(value).__name__)
        return f"{type(value).__name__}:{text}".encode()

    def no_form(self, name: str) -> bytes:
        """Notes what has no canonical form."""
        self.unhashable.add(name)
        return b"unhashable"

    def called(self, function: Any) -> bytes:
        """Returns the form of Python code that runs beside the program, and notes its name."""
        users = next(_functions_in(function), function)
        users = getattr(users, "func", users)  # of a partial
        self.hidden.add(str(getattr(users, "__qualname__", type(users).__name__)))
        return code_of(function)

    def constant(self, value: Any, aval: Any) -> bytes:
        """Returns the form of a constant: type, shape and bytes, and of a key its kind, too."""
        import jax

        if jax.numpy.issubdtype(aval.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(value)
            return mix(b"key", str(jax.random.key_impl(value)).encode(), self.constant(data, data))
        key = (id(value), aval.dtype)
        if key in self.known:
            return self.known[key][1]
        array = np.asarray(value)
        array = np.ascontiguousarray(array if array.dtype == aval.dtype else array.astype(aval.dtype))
        found = mix(b"constant", type_of(aval), hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest())
        if array.ndim:
            self.known[key] = (value, found)
        return found


def code_of(function: Any) -> bytes:
    """Returns the form of Python code, which may not tell all that it does."""
    return f"code:{fingerprint(function)}".encode()


def mix(*parts: bytes) -> bytes:
    """Returns a hash of a sequence of bytes: no two sequences are written alike."""
    return hashlib.sha256(b"".join([b"%d:%b" % (len(part), part) for part in parts])).digest()


@functools.lru_cache(maxsize=4096)
def _shape_and_type(shape: Any, dtype: Any) -> bytes:
    return f"{dtype}{list(shape)}".encode()


def type_of(aval: Any) -> bytes:
    """Returns the shape and type of a value, as bytes; weak types mean nothing once a program is traced."""
    try:
        return _shape_and_type(aval.shape, aval.dtype)
    except AttributeError:  # a token, a reference
        return str(aval).encode()


def _functions_in(function: Any, depth: int = 0) -> Iterator[Any]:
    """The functions inside of JAX's wrapper around a callback that are not JAX's own."""
    if not str(getattr(function, "__module__", "")).startswith("jax."):
        yield function
    elif depth < DEEPEST_WRAPPER:
        cells = getattr(function, "__closure__", None) or ()
        for each in (getattr(function, "callback_func", None), *(cell.cell_contents for cell in cells)):
            if callable(each):
                yield from _functions_in(each, depth + 1)
