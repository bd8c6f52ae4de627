"""A run's verdicts and tables as Markdown."""

import re

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.parameter_groups import parameter_groups
from dlkit.bench.report.tables import LABELS, Table, caption, factor_findings, parts, ranking
from dlkit.bench.report.tables_across import heading, left_out, sections

__all__ = ["markdown", "markdown_tables"]


def markdown_tables(summary: Summary) -> str:
    """Returns verdicts and tables as Markdown: a section a problem, then what holds over all of them."""
    parts = [f"## {heading(summary)}", "\n".join(f"- {_escaped(note)}" for note in left_out(summary))]
    for each in sections(summary):
        parts += [f"### {_escaped(each.title)}", _escaped(each.text), markdown(each.table, numbers=True)]
    parts += map(_escaped, summary.apart)
    problems = "\n\n".join(_problem(summary, each) for each in summary.comparisons)
    return problems + "\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def markdown(table: Table, *, numbers: bool) -> str:
    """Returns a table as Markdown; columns of numbers are aligned at the right, all but those of labels."""
    align = ["---:" if numbers and name not in LABELS else "---" for name in table.header]
    lines = [table.header, align, *([_escaped(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _problem(summary: Summary, comparison: Comparison) -> str:
    """A problem's section: its verdict, its ranking and its other tables."""
    verdict = comparison.verdict
    paragraphs = [
        f"## {_escaped(comparison.problem.name)}",
        _escaped(verdict.sentence),
        "\n".join(f"- {_escaped(note)}" for note in [*factor_findings(comparison), *verdict.notes]),
        f"{_escaped(caption(comparison))}.",
        markdown(ranking(comparison), numbers=True),
    ]
    groups = parameter_groups(summary, comparison.problem.name)
    tables = [*parts(comparison), *([groups] if groups.table.rows else []), *card_parts(comparison.problem)]
    for part in tables:
        paragraphs += [f"{_escaped(part.caption)}." if part.caption else "", markdown(part.table, numbers=part.numbers)]
    paragraphs.append("\n".join(f"- {_escaped(note)}" for note in card_notes(comparison.problem)))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    marked = re.sub(r"[\\`*|<>&#]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])", lambda found: f"\\{found[0]}", text)
    return " ".join(marked.split())
