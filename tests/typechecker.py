"""Makes the session's checks of types and shapes cheap. They stay the same checks; without this they take longer."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import beartype

F = TypeVar("F", bound=Callable[..., Any])


def once(decorate: Callable[[F], F]) -> Callable[[F], F]:
    """A decorator that writes each check once.

    jaxtyping has beartype check an empty function of the same signature. A function defined inside another is decorated
    at each call of the outer one: twice beartype writes and compiles the check that it wrote the time before.
    """
    written: dict[tuple[str, ...], F] = {}

    def decorated(function: F) -> F:
        # As text, because the same annotation of an array is another class each time it is evaluated.
        key = (function.__module__, function.__qualname__, str(inspect.signature(function)))
        if key not in written:
            written[key] = decorate(function)
        return written[key]

    return decorated


def instances(typechecked: Callable[[F], F]) -> Callable[[F], F]:
    """A decorator that checks the one argument of a function by `isinstance` where its annotation is a class of arrays.

    jaxtyping checks each leaf of a `PyTree[Array]` through typeguard, which inspects the signature each time.
    """
    import jax

    def decorated(function: F) -> F:
        if list(function.__annotations__.values()) != [jax.Array]:
            return typechecked(function)

        def check(value: object) -> None:
            if not isinstance(value, jax.Array):
                raise TypeError(f"expected an array, got {type(value).__name__}")

        return check  # type: ignore[return-value]

    return decorated


def install() -> None:
    """Replaces the two decorators that the import hook of jaxtyping calls, where it has them."""
    beartype.beartype = once(beartype.beartype)
    try:
        from jaxtyping import _typeguard
    except ImportError:
        return
    _typeguard.typechecked = instances(_typeguard.typechecked)
