"""Writes the report: one HTML file with the answer, tables and figures, which opens without a network."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.doors import whole_file
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible
from dlkit.bench.report.page.contents import contents
from dlkit.bench.report.plotly_bundle import library_hash, policy_hash

__all__ = ["write_report", "write_text"]


def write_report(summary: Summary, path: Path) -> Path:
    """Writes the report: the answer, a card a problem, what holds over all, how to read it, what it rests on.

    Args:
        summary: the run.
        path: of the file; it is replaced as a whole, or left as it was.

    Returns:
        The path.

    Raises:
        UserError: if it cannot be written there.
    """
    templates = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = contents(summary)
    plotly, script = found.pop("plotly"), _source("page.js")
    page = templates.get_template("page.html").render(
        found,
        style=Markup(_source("page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        scripts=Markup(" ".join([*(policy_hash(each.encode()) for each in (plotly, script)), library_hash()])),
    )
    return write_text(path, page)


def write_text(path: Path, text: str) -> Path:
    """Writes a file as a whole or not at all.

    Args:
        path: of the file; missing folders are made.
        text: its content.

    Returns:
        The path.

    Raises:
        UserError: if it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written: {error.strerror}; name another file") from None
    return path


def _seen(value: Any) -> Any:
    """What a template writes: of each text all signs are seen; what is HTML already stays."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(name: str) -> str:
    """A template's text, or the page's style or script."""
    folder = resources.files("dlkit.bench.report.page").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
