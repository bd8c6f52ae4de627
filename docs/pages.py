"""Writes the reference pages: a page per family, a section per module, an entry per public name, plots beside it."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from docs.command_page import commands_page
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
SHORT = {  # headings of modules whose first line is a longer one
    "dlkit.activations.registry": "Activations by name",
    "dlkit.bench.stats.incomplete_ranks": "Ranks where not every contender ran",
    "dlkit.bench.stats.paired": "Mean and median differences",
    "dlkit.bench.stats.rank_bootstrap": "Mean ranks with intervals",
    "dlkit.bench.stats.runtime_profiles": "Runtime profiles over targets",
    "dlkit.bench.stats.simulated_power": "What more blocks would settle",
    "dlkit.layers.adaptive_pool": "Pools to a given shape",
    "dlkit.layers.batch_norm": "Batch normalization",
    "dlkit.layers.by_name": "Normalization layers by name",
    "dlkit.layers.conv": "Convolutions",
    "dlkit.layers.embed": "Embeddings",
    "dlkit.layers.functions": "Layers as plain functions",
    "dlkit.layers.graph": "Graphs of layers",
    "dlkit.layers.inside": "What is inside a model",
    "dlkit.layers.lowering": "Forms of convolutions",
    "dlkit.layers.multi_head_attention": "Multi-head attention",
    "dlkit.layers.position_bias": "Biases of positions",
    "dlkit.layers.probe": "Shapes of outputs",
    "dlkit.layers.ragged": "Sequences of unequal lengths",
    "dlkit.layers.shape": "Layers that change the shape",
    "dlkit.layers.sharing": "Shared parameters",
    "dlkit.layers.stacked": "Copies of a layer",
    "dlkit.layers.steps": "What is kept of steps",
    "dlkit.layers.summary": "Models as tables",
    "dlkit.layers.wrapped": "Layers that call another one",
    "dlkit.models.residual": "Residual networks as published",
    "dlkit.models.vector_quantized": "Vector-quantized autoencoders",
    "dlkit.losses.classification": "Cross-entropies",
    "dlkit.losses.contrast": "Contrastive losses",
    "dlkit.losses.decisions": "Losses of yes-or-no decisions",
    "dlkit.losses.divergences": "Divergences",
    "dlkit.losses.likelihoods": "Negative log-likelihoods",
    "dlkit.losses.multiclass": "Focused, overlapping and ordered classes",
    "dlkit.losses.ranking": "Losses of ranking",
    "dlkit.losses.samples": "Distances between samples",
    "dlkit.losses.sequence": "Losses of sequences",
    "dlkit.losses.similarity": "Losses of embeddings",
    "dlkit.losses.survival": "Losses of times until an event",
    "dlkit.regularizers.outputs": "Penalties of outputs",
    "dlkit.regularizers.proximal": "Proximal operators and projections",
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
    _write(folder / "command_line.md", commands_page().encode())
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
            lines += [f"## {heading(module)}", "", *_rst(plain_bars(_rest(module).splitlines()))]
        lines += _rst([line for name in names for line in _entry(family, name)])
    return "\n".join(lines) + "\n"


def heading(module: ModuleType) -> str:
    """Returns a short heading for a module: the first line of its docstring, up to a colon."""
    return SHORT.get(module.__name__) or _first_line(module).partition(":")[0].rstrip(".")


def with_formula(lines: list[str], formula: str) -> list[str]:
    """Returns the lines of a docstring with a formula after its first paragraph.

    Args:
        lines: the docstring.
        formula: in LaTeX.
    """
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return [*lines[:end], "", ".. math::", "", f"   {formula}", "", *lines[end:]]


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


def _first_line(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").partition("\n")[0]


def _rest(module: ModuleType) -> str:
    """A module's docstring below its heading, which begins with what the heading leaves out."""
    first, _, rest = (inspect.getdoc(module) or "").partition("\n")
    left_out = "" if first.rstrip(".") == heading(module) else f"{first}\n"
    return f"{left_out}{rest}".strip()


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
