"""The hash of plain data: equal data have equal hashes, in every process and whatever the order of their keys."""

import hashlib
import json
from typing import Any

__all__ = ["canonical", "digest", "digest_of"]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, exact floats.

    Example:
        >>> canonical({"b": 0.1, "a": [1, None]})
        '{"a":[1,null],"b":0.1}'
    """
    return _ENCODER.encode(value)


def digest(value: Any, *, length: int = 16) -> str:
    """Returns the first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return digest_of(canonical(value), length=length)


def digest_of(text: str, *, length: int = 16) -> str:
    """Returns the digest of a value whose canonical JSON is at hand."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
