"""The connection to a dask scheduler: what is said where it breaks, and what dask says of it, which nobody sees."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dlkit.bench.errors import UserError
from dlkit.bench.execution.executor import KEPT

__all__ = ["GONE", "dask_is_silent", "innermost", "scheduler_is_there"]

GONE = f"the dask scheduler is gone, or lost what it held; {KEPT}, once it is there"


@contextmanager
def scheduler_is_there() -> Iterator[None]:
    """Says it if dask's scheduler does not answer any more; nothing else can go wrong in what is asked of it."""
    from distributed import TimeoutError as LateError

    try:
        yield
    except LateError:
        raise
    except Exception:
        raise UserError(GONE) from None


@contextmanager
def dask_is_silent() -> Iterator[None]:
    """Leaves it to messages of dlkit to say what dask reports in its log, in the middle of the progress display."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "tornado")]
    for name in names:
        logging.getLogger(name).addFilter(nothing)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(nothing)


def innermost(error: BaseException) -> BaseException:
    """The first cause of an error: why a connection failed, rather than that it did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
