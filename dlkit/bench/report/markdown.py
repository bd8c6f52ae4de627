"""A run's tables as Markdown."""

import re

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.tables import LABELS, Table, caption, factor_findings, parts, ranking
from dlkit.bench.report.tables_across import heading, left_out, sections

__all__ = ["escaped", "markdown", "markdown_tables"]


def _by_problem(summary: Summary) -> str:
    """Returns verdicts and tables as Markdown, a section a problem."""
    sections = []
    for comparison in summary.comparisons:
        verdict = comparison.verdict
        text = "\n".join(f"- {escaped(note)}" for note in [*factor_findings(comparison), *verdict.notes])
        paragraphs = [
            f"## {escaped(comparison.problem.name)}",
            escaped(verdict.sentence),
            text,
            f"{escaped(caption(comparison))}.",
            markdown(ranking(comparison), numbers=True),
        ]
        for part in parts(comparison):
            paragraphs += [
                f"{escaped(part.caption)}." if part.caption else "",
                markdown(part.table, numbers=part.numbers),
            ]
        sections.append("\n\n".join(paragraph for paragraph in paragraphs if paragraph))
    return "\n\n".join(sections) + "\n"


def markdown(table: Table, *, numbers: bool) -> str:
    """Returns a table as Markdown; columns of numbers are aligned at the right, all but those of labels."""
    align = ["---:" if numbers and name not in LABELS else "---" for name in table.header]
    lines = [table.header, align, *([escaped(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Returns a text that Markdown shows as it is, on one line."""
    marked = re.sub(r"[\\`*|<>&#]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])", lambda found: f"\\{found[0]}", text)
    return " ".join(marked.split())


def markdown_tables(summary: Summary) -> str:
    """Returns verdicts and tables as Markdown: a section a problem, then what holds over all of them."""
    parts = [f"## {heading(summary)}", "\n".join(f"- {escaped(note)}" for note in left_out(summary))]
    for each in sections(summary):
        parts += [f"### {escaped(each.title)}", escaped(each.text), markdown(each.table, numbers=True)]
    return _by_problem(summary) + "\n" + "\n\n".join(part for part in parts if part) + "\n"
