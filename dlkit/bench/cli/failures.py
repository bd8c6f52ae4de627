"""Why trials failed, in full."""

from collections.abc import Mapping

from dlkit.bench.escapes import visible

__all__ = ["in_full"]


def in_full(tracebacks: Mapping[str, str]) -> str:
    """Returns each reason with its traceback.

    Example:
        >>> in_full({})
        'nothing failed'
    """
    parts = [visible(f"{reason}\n{trace}".rstrip(), keep="\n\t") for reason, trace in tracebacks.items()]
    return "\n\n".join(parts) or "nothing failed"
