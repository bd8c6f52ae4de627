"""Packages that an export needs and that may be missing."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from dlkit.bench.errors import UserError

__all__ = ["quiet", "require"]


def require(module: str, requirement: str, kind: str) -> Any:
    """Returns a module that a format needs.

    Args:
        module: its name, as it is imported.
        requirement: what installs it, such as ``"tensorboardX>=2.6"``.
        kind: the format, for the message.

    Raises:
        UserError: if it is not installed, with the command that installs it.
    """
    try:
        found: ModuleType = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = "" if error.name == module.partition(".")[0] else f", which needs {error.name}"
        raise UserError(
            f"export to {kind} needs the package {module.partition('.')[0]}{missing}: pip install '{requirement}'"
        ) from None
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Without log messages, such as those about a new database or about a number that is not finite."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
