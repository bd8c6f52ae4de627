"""How functions of problems are traced, to be trained, hashed, or looked at: one way for all."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["as_trained"]


@contextmanager
def as_trained() -> Iterator[None]:
    """A block, or what a function that it decorates traces, in which convolutions are products.

    So are those of every trial: its bits are those that they always had, whatever else is measured to be fast.

    Example:
        >>> from dlkit.layers.lowering import resolved
        >>> with as_trained():
        ...     resolved("auto")
        'matmul'
    """
    from dlkit.layers.lowering import default_lowering

    with default_lowering("matmul"):
        yield
