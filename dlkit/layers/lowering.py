"""What a convolution is computed by on CPU: chosen by what was measured, or by a word of the user's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, cast

import jax

__all__ = ["LOWERINGS", "Lowering", "checked_lowering", "default_lowering", "resolved"]

Lowering: TypeAlias = Literal["auto", "xla", "matmul"]
"""`"auto"` for what was measured to be fast, `"xla"` for XLA's convolution, `"matmul"` for matrix products."""

LOWERINGS: tuple[Lowering, ...] = ("auto", "xla", "matmul")

# JAX traces a function anew where the value is another: what was traced under one is never used under the other.
_default = jax.make_user_context(default_value="auto")


@contextmanager
def default_lowering(lowering: Lowering) -> Iterator[None]:
    """What `lowering="auto"` means for all that is traced inside.

    Args:
        lowering: one of `LOWERINGS`.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> with default_lowering("matmul"):
        ...     resolved("auto")
        'matmul'
    """
    with _default(checked_lowering("default_lowering", lowering)):
        yield


def resolved(lowering: Lowering) -> Lowering:
    """The lowering, where it is "auto" that of the surroundings; "auto" where these do not say.

    Example:
        >>> resolved("auto"), resolved("xla")
        ('auto', 'xla')
    """
    return cast(Lowering, _default.value) if lowering == "auto" else lowering


def checked_lowering(where: str, lowering: str) -> Lowering:
    """The lowering, if it is one.

    Raises:
        ValueError: it is none.

    Example:
        >>> checked_lowering("conv", "xla")
        'xla'
    """
    if lowering not in LOWERINGS:
        raise ValueError(f"{where}: expected lowering to be 'auto', 'xla' or 'matmul', got {lowering!r}")
    return lowering
