"""TOML of files that may be anything: what is larger or deeper than a spec can be is not parsed, which took minutes."""

import re
import tomllib
from pathlib import Path
from typing import Any

from dlkit.bench.doors import read_plain

__all__ = ["read_toml"]

MOST_BYTES, MOST_PARTS = 2**24, 64  # of a file, and of a key


def read_toml(path: Path) -> dict[str, Any]:
    """Returns what a file says.

    Args:
        path: the file; links are followed.

    Raises:
        OSError: if it cannot be read, is no plain file, or is too large.
        ValueError: if it is no TOML, or no text.
        RecursionError: for what is too deep.
    """
    text = read_plain(path, MOST_BYTES, follow=True).decode("utf-8-sig")
    if any(part.count(".") > MOST_PARTS for part in re.split(r"[=,\[\]{}\n#'\"]", text)):
        raise ValueError(f"a key of more than {MOST_PARTS} parts")
    return tomllib.loads(text)
