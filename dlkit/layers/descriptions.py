"""What made a layer, as data: the text that shows it, and the key by which two are told apart.

A layer is a pair of functions, and functions are opaque. The constructor and its arguments are not.
"""

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.hints import nearest

__all__ = ["Made", "key_of", "on_lines", "require_arguments", "shown"]

_WIDTH = 100  # of a line, above which each argument has its own
_INDENT = "    "


class Made(NamedTuple):
    """The call that made a layer.

    Attributes:
        constructor: the function, such as `layers.dense`.
        args: its positional arguments.
        kwargs: its arguments by name.
    """

    constructor: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def arguments(self) -> tuple[tuple[str, Any], ...]:
        """What was given and is not the default: `(name, value)`, with the name "" where the position tells.

        Example:
            >>> Made(round, (1.5,), {"ndigits": None}).arguments()
            (('', 1.5),)
        """
        found: list[tuple[str, Any]] = []
        signature = inspect.signature(self.constructor)
        for name, value in signature.bind(*self.args, **self.kwargs).arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                found.extend(("", each) for each in value)
            elif parameter.kind is parameter.VAR_KEYWORD:
                found.extend(value.items())
            elif parameter.kind is parameter.KEYWORD_ONLY:
                if not _is_default(value, parameter.default):
                    found.append((name, value))
            elif not _is_default(value, parameter.default):
                found.append(("", value))
        return _named(found)

    def __str__(self) -> str:
        """The call as text, on several lines where one would be too long or a layer is among the arguments."""
        arguments = self.arguments()
        texts = [f"{name}={shown(value)}" if name else shown(value) for name, value in arguments]
        name = getattr(self.constructor, "__name__", "layer")
        line = f"{name}({', '.join(texts)})"
        layers = [value for _, value in arguments if hasattr(value, "apply")]
        nested = (bool(layers) and len(texts) > 1) or any(getattr(layer, "parts", ()) for layer in layers)
        if "\n" not in line and len(line) <= _WIDTH and not nested:
            return line
        return on_lines(name, texts)


def on_lines(name: str, texts: Sequence[str]) -> str:
    """A call as text, with a line for each argument, and more lines for those that have more.

    Example:
        >>> print(on_lines("serial", ["act=tanh", "head=dense(2)"]))
        serial(
            act=tanh,
            head=dense(2),
        )
    """
    inner = "".join(f"{_INDENT}{text},\n".replace("\n", f"\n{_INDENT}")[: -len(_INDENT)] for text in texts)
    return f"{name}(\n{inner})"


def shown(value: Any) -> str:
    """An argument as text: a function by its name, an array by its type.

    Example:
        >>> shown(np.tanh), shown((2, 3)), shown(np.zeros(3, np.float32))
        ('tanh', '(2, 3)', 'float32[3]')
    """
    if isinstance(value, functools.partial):
        parts = [shown(value.func), *map(shown, value.args), *(f"{k}={shown(v)}" for k, v in value.keywords.items())]
        return f"partial({', '.join(parts)})"
    if isinstance(value, jax.Array | np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, type) or (callable(value) and not hasattr(value, "apply")):
        return str(getattr(value, "__name__", repr(value)))
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        inner = ", ".join(map(shown, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    return repr(value)


def key_of(value: Any) -> Hashable:
    """What two arguments have in common if and only if a layer made with one does the same as with the other.

    Functions are the same if they are one object: what two of them compute cannot be known. So are traced values.

    Example:
        >>> key_of([1, np.zeros(2)]) == key_of([1, np.zeros(2)]), key_of(1) == key_of(1.0)
        (True, False)
    """
    if hasattr(value, "identity_key"):
        found: Hashable = value.identity_key
        return found
    if isinstance(value, functools.partial):
        return ("partial", key_of(value.func), key_of(value.args), key_of(value.keywords))
    if isinstance(value, tuple | list):
        return (type(value), *map(key_of, value))
    if isinstance(value, Mapping):
        return ("mapping", tuple((name, key_of(each)) for name, each in sorted(value.items())))
    if isinstance(value, np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return ("key", str(value.dtype), np.asarray(jax.random.key_data(value)).tobytes())
        array = np.asarray(value)
        return ("array", str(array.dtype), array.shape, array.tobytes())
    if isinstance(value, bool | int | float | complex | str | bytes | type(None) | np.generic):
        return (type(value), value)
    return _Same(value)


def require_arguments(make: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments by names that a function does not have, with the name that was meant.

    Args:
        make: the function.
        kwargs: what it was given by name.

    Raises:
        TypeError: it has no argument of a name.

    Example:
        >>> require_arguments(lambda features: features, {"features": 3})
    """
    parameters = inspect.signature(make).parameters
    unknown = [name for name in kwargs if name not in parameters]
    if unknown and all(each.kind is not each.VAR_KEYWORD for each in parameters.values()):
        name = make.__name__
        raise TypeError(f"{name}: there is no argument {unknown[0]!r}; {nearest(unknown[0], parameters)}") from None


def _named(arguments: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """Arguments with the names that `names=` gives to those by position: `names=("a",)` says what `a=` does."""
    names = dict(arguments).get("names")
    positional = [value for name, value in arguments if not name]
    if names is None or len(names) != len(positional):
        return tuple(arguments)
    others = [(name, value) for name, value in arguments if name and name != "names"]
    return (*zip(names, positional, strict=True), *others)


class _Same:
    """An object that equals itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (
        isinstance(value, bool | int | float | str) and type(value) is type(default) and value == default
    )
