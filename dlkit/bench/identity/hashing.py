"""The hash of plain data: equal data have equal hashes, in every process and whatever the order of their keys."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

__all__ = ["canonical", "digest", "digest_after", "digest_of"]

LENGTH = 16  # hexadecimal digits

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, exact floats.

    Example:
        >>> canonical({"b": 0.1, "a": [1, None]})
        '{"a":[1,null],"b":0.1}'
    """
    return _ENCODER.encode(value)


def digest(value: Any, *, length: int = LENGTH) -> str:
    """Returns the first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return digest_of(canonical(value), length=length)


def digest_of(text: str, *, length: int = LENGTH) -> str:
    """Returns the digest of a value whose canonical JSON is at hand."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest_after(beginning: str) -> Callable[[str], str]:
    """Returns `digest_of` of texts that begin alike, as a function of what follows: the beginning is hashed once.

    Example:
        >>> digest_after('{"a":')("1}") == digest_of('{"a":1}') == digest({"a": 1})
        True
    """
    begun = hashlib.sha256(beginning.encode())

    def digest_with(rest: str) -> str:
        whole = begun.copy()
        whole.update(rest.encode())
        return whole.hexdigest()[:LENGTH]

    return digest_with
