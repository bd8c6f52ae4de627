"""Data in the page: compressed, as text that a script element can hold."""

import base64
import gzip
import json
from typing import Any

from markupsafe import Markup

__all__ = ["packed", "script_json"]


def packed(text: str) -> Markup:
    """Returns a text compressed by gzip in base64, to stand in a script element; the page's script unpacks it.

    Example:
        >>> gzip.decompress(base64.b64decode(packed("ab<c"))).decode()
        'ab<c'
    """
    return Markup(base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode())


def script_json(value: Any) -> Markup:
    r"""Returns JSON that can stand in a script element, whatever its strings are.

    Example:
        >>> print(script_json(["</script>"]))
        ["\u003c/script>"]
    """
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
