"""Why trials failed, in full."""

from collections.abc import Mapping

__all__ = ["in_full"]


def in_full(tracebacks: Mapping[str, str]) -> str:
    """Returns each reason with its traceback.

    Example:
        >>> in_full({})
        'nothing failed'
    """
    parts = [f"{reason}\n{trace}".rstrip() for reason, trace in tracebacks.items()]
    return "\n\n".join(parts) or "nothing failed"
