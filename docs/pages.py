"""Writes the reference pages: a page per family, a section per module, an entry per public name, plots beside it."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from docs.plots import PLOTS, draw
from docs.problem_pages import problems_page

FAMILIES = (
    "activations",
    "losses",
    "gan_losses",
    "regularizers",
    "early_stopping",
    "layers",
    "models",
    "bench",
    "bench.stats",
)
TITLES = {
    "gan_losses": "GAN losses",
    "early_stopping": "Early stopping",
    "bench": "The bench",
    "bench.stats": "Statistics of the bench",
}


def write_pages(folder: Path) -> None:
    """Writes a page per family of public names, and the plots that they show.

    Args:
        folder: where the pages go; made if missing. Only files that change are written, so that Sphinx builds what
            has changed.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        module = importlib.import_module(f"dlkit.{family}")
        _write(folder / f"{family}.md", page(TITLES.get(family, family.capitalize()), module).encode())
    _write(folder / "problems.md", problems_page().encode())
    for name in PLOTS:
        _write(folder / "plots" / f"{name}.svg", draw(name))


def page(title: str, family: ModuleType) -> str:
    """Returns the page of a family in MyST.

    Args:
        title: its heading.
        family: the module or package.

    Returns:
        The text: the family's docstring, then a section per module with an entry for every name of `__all__`.
    """
    lines = [f"# {title}", "", *_rst([f".. automodule:: {family.__name__}", "   :no-members:"])]
    for module, names in _sections(family):
        if module is not family:
            heading, _, rest = (inspect.getdoc(module) or "").partition("\n")
            lines += [f"## {heading.rstrip('.')}", "", *_rst(plain_bars(rest.strip().splitlines()))]
        lines += _rst([line for name in names for line in _entry(family, name)])
    return "\n".join(lines) + "\n"


def plain_bars(lines: list[str]) -> list[str]:
    """Returns the lines of a docstring with the bars of |x| as text; reStructuredText would substitute something.

    Args:
        lines: the docstring; examples (from >>> to the next empty line) stay as they are.
    """
    escaped, example = [], False
    for line in lines:
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        escaped.append(line if example else line.replace("|", r"\|"))
    return escaped


def _sections(family: ModuleType) -> list[tuple[ModuleType, list[str]]]:
    """The names of a family by the module that defines them, in the order of the files."""
    if not hasattr(family, "__path__") or family.__name__ == "dlkit.bench":
        return [(family, sorted(family.__all__))]
    modules = [
        importlib.import_module(each.name) for each in pkgutil.walk_packages(family.__path__, f"{family.__name__}.")
    ]
    sections = []
    left = set(family.__all__)
    for module in modules:
        names = [name for name in module.__all__ if name in left]
        left -= set(names)
        if names:
            sections.append((module, sorted(names)))
    if left:
        raise ValueError(f"{family.__name__}: {sorted(left)} stand in no module's __all__")
    return sections


def _entry(family: ModuleType, name: str) -> list[str]:
    """One public name, and its plot if there is one."""
    value = getattr(family, name)
    kind = (
        "class" if inspect.isclass(value) else "function" if callable(value) and hasattr(value, "__name__") else "data"
    )
    lines = [f".. auto{kind}:: {family.__name__}.{name}"]
    if kind == "class":
        lines.append("   :members:")
        if any(base.__module__.startswith("dlkit.") for base in value.__mro__[1:]):
            lines.append("   :inherited-members:")
    if kind == "data" and "<function" in repr(value):
        lines.append("   :no-value:")  # functions have no readable one
    lines.append("")
    plot = f"{family.__name__.removeprefix('dlkit.')}.{name}"
    if plot in PLOTS:
        lines += [f".. image:: plots/{plot}.svg", f"   :alt: {PLOTS[plot].caption}", ""]
    return lines


def _rst(lines: list[str]) -> list[str]:
    """Lines of reStructuredText within a MyST page."""
    return ["```{eval-rst}", *lines, "```", ""] if lines else []


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
