"""How contenders are called that differ in more than their optimizer."""

from collections.abc import Sequence
from typing import Any

from dlkit.bench.plan.policies import TUNED, level_name

__all__ = ["labelled", "of_factor"]


def labelled(base: str, parts: Sequence[str]) -> str:
    """Returns a name with what else is said of it in parentheses."""
    return f"{base} ({', '.join(parts)})" if parts else base


def of_factor(name: str, value: Any) -> str:
    """How labels call a factor's value."""
    if name == "batch_size":
        return "full batch" if value == "full" else f"batch {value}"
    if name == "order":
        return f"{value} order"
    if name == "early_stopping":
        return f"early stopping {level_name(value)}" if value else "no early stopping"
    if name == "schedule":
        return level_name(value)
    return f"{name} {TUNED}" if level_name(value) == TUNED else f"{name}={level_name(value)}"
