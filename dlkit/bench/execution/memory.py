"""Amounts of memory, as people write them."""

import re

from dlkit.bench.errors import UserError

__all__ = ["memory_bytes"]

AMOUNT = re.compile(r"(\d+(?:\.\d*)?(?:[eE]\d+)?)\s*([a-zA-Z]*)")
UNITS = {"": 1, "b": 1} | {
    prefix + ending: base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for ending, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


def memory_bytes(given: int | str | None, name: str = "memory") -> int | None:
    """Returns an amount of memory in bytes, from a number or a text such as ``"2GiB"``; None stays None.

    Args:
        given: the amount.
        name: how a message calls it.

    Raises:
        UserError: for what is no amount, or not positive.

    Example:
        >>> memory_bytes("2GiB"), memory_bytes("300 kB"), memory_bytes(5000)
        (2147483648, 300000, 5000)
    """
    if given is None:
        return None
    amount = 0
    if isinstance(given, int | str) and not isinstance(given, bool):
        match = AMOUNT.fullmatch(str(given).strip())
        if match and match[2].lower() in UNITS:
            amount = int(float(match[1]) * UNITS[match[2].lower()])
    if amount < 1:
        raise UserError(f"{name} must be an amount such as '2GiB' or '500MB', or a number of bytes, got {given!r}")
    return amount
