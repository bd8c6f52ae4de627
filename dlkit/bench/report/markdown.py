"""A run's verdicts and tables as Markdown: the table of a paper, or all of them; GitHub's way with tables."""

import re
from collections.abc import Mapping

from dlkit.bench.analysis.answer_rows import Place
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.paper_table import PaperCell, PaperTable, grid, marks
from dlkit.bench.report.parameter_groups import parameter_groups
from dlkit.bench.report.tables import LABELS, Table, caption, factor_findings, parts, ranking
from dlkit.bench.report.tables_across import heading, left_out, sections

__all__ = ["markdown", "markdown_tables", "paper_markdown"]

SHOWN: Mapping[Place, str] = {"best": "Bold", "tied": "Italic"}
DOUBTFUL = "\N{DAGGER}"
# What Markdown, or GitHub's, would take for something else: also as the first sign of a paragraph.
SPECIAL = re.compile(r"[\\`*|<>&#~$]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])|:(?=[\w+-]+:)")
FIRST = re.compile(r"^(?:[-+=](?=\s|[-=]*$)|\d+(?=[.)]))")


def paper_markdown(table: PaperTable) -> str:
    """Returns the table of a paper as Markdown: its caption, the table, the protocol.

    Args:
        table: which; what stands in rows is contenders, unless it says problems.
    """
    found = grid(table, table.rows or "contenders")
    heads = [found.corner, *(f"{each.name} ({each.below})" if each.below else each.name for each in found.columns)]
    lines = [
        [_escaped(f"{name.name} ({name.below})" if name.below else name.name), *map(_paper_cell, cells)]
        for name, cells in found.rows
    ]
    rules = ["---", *["---:"] * len(found.columns)]
    shown = [list(map(_escaped, heads)), rules, *lines]
    notes = " ".join([marks(table, SHOWN, doubtful=DOUBTFUL), *table.notes])
    parts = [_paragraph(table.caption), "\n".join(f"| {' | '.join(each)} |" for each in shown), _paragraph(notes)]
    return "\n\n".join(parts) + "\n"


def _paper_cell(cell: PaperCell) -> str:
    around = {"best": "**", "tied": "*"}.get(cell.place, "")
    estimate = f"{around}{_escaped(cell.estimate)}{around}{DOUBTFUL * cell.is_doubtful}"
    return f"{estimate} {_escaped(cell.interval)}".rstrip()


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
    lines = [
        [_escaped(name) for name in table.header],
        align,
        *([_escaped(cell) for cell in row] for row in table.rows),
    ]
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


def _paragraph(text: str) -> str:
    """A text as a paragraph, and not as a list or a heading."""
    return FIRST.sub(_marked_first, _escaped(text))


def _marked_first(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if not found[0].isdigit() else f"{found[0]}\\"


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return " ".join(SPECIAL.sub(lambda found: f"\\{found[0]}", text).split())
