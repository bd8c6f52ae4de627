"""Writes the page of the catalogue of problems: a table per family, then every function with its choices."""

import importlib
import inspect

from dlkit.bench.analysis import numbers
from dlkit.bench.errors import UserError
from dlkit.bench.problems import FAMILIES, catalog
from dlkit.bench.problems.catalog import Entry

__all__ = ["problems_page"]

INTRODUCTION = """
What `dlkit list problems` lists. Each problem is a function of its choices; all variants have its name, and with one
seed the same data order:

```python
from dlkit.bench.problems import catalog

problem = catalog.get("digits-cnn", activation="gelu", norm="batch", l2=1e-4)
```

*Trivial* is the score on validation that needs no training (the class prior, the mean, the unigram entropy, a random
start); every core first-order optimizer beats it by the *margin* within the default steps: a difference, or a factor
where the metric is logarithmic. *Seconds* are those of 1,000 steps of Adam on one core.
"""
HEADER = ("problem", "metric", "target", "trivial", "margin", "steps", "batch", "seconds", "stresses")


def problems_page() -> str:
    """Returns the page in MyST."""
    lines = ["# Problems", INTRODUCTION]
    for family, entries in FAMILIES.items():
        lines += [f"## {family.capitalize()}", ""]
        lines += [_row(HEADER), _row(["---"] * len(HEADER)), *(_row(_cells(*item)) for item in entries.items()), ""]
        for module in dict.fromkeys(entry.make.__module__ for entry in entries.values()):
            names = [entry.make.__name__ for entry in entries.values() if entry.make.__module__ == module]
            lines += ["```{eval-rst}", *(line for name in names for line in (f".. autofunction:: {module}.{name}", ""))]
            lines += ["```", ""]
    return "\n".join(lines)


def _cells(name: str, entry: Entry) -> list[str]:
    needs = f" (needs the {entry.needs})" if entry.needs else ""
    seconds = "–" if entry.seconds is None else numbers.number(entry.seconds)
    try:
        problem = catalog.get(name)
    except UserError:
        first, *_ = (inspect.getdoc(importlib.import_module(entry.make.__module__)) or "").splitlines()
        return [f"`{name}`", *["–"] * 6, seconds, first.rstrip(".") + needs]
    values = (problem.target, problem.trivial, problem.margin)
    batch = "all" if problem.batch_size is None else str(problem.batch_size)
    return [
        f"`{name}`",
        f"`{problem.metric}`",
        *("–" if number is None else numbers.number(number) for number in values),
        str(problem.steps),
        batch,
        seconds,
        problem.stresses + needs,
    ]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
