"""A run's verdicts and tables as Markdown: the table of a paper, or all of them; GitHub's way with tables."""

from collections.abc import Mapping

from dlkit.bench.analysis.answer_rows import Place
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import in_markdown, starting_markdown
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.paper_table import PaperCell, PaperTable, grid, marks
from dlkit.bench.report.parameter_groups import parameter_groups
from dlkit.bench.report.tables import LABELS, Table, caption, factor_findings, parts, ranking
from dlkit.bench.report.tables_across import heading, left_out, sections

__all__ = ["markdown", "markdown_tables", "paper_markdown"]

SHOWN: Mapping[Place, str] = {"best": "Bold", "tied": "Italic"}
DOUBTFUL = "\N{DAGGER}"


def paper_markdown(table: PaperTable) -> str:
    """Returns the table of a paper as Markdown: its caption, the table, the protocol.

    Args:
        table: which; what stands in rows is contenders, unless it says problems.
    """
    found = grid(table, table.rows or "contenders")
    heads = [found.corner, *(f"{each.name} ({each.below})" if each.below else each.name for each in found.columns)]
    lines = [
        [in_markdown(f"{name.name} ({name.below})" if name.below else name.name), *map(_paper_cell, cells)]
        for name, cells in found.rows
    ]
    rules = ["---", *["---:"] * len(found.columns)]
    shown = [list(map(in_markdown, heads)), rules, *lines]
    notes = " ".join([marks(table, SHOWN, doubtful=DOUBTFUL), *table.notes])
    parts = [
        starting_markdown(table.caption),
        "\n".join(f"| {' | '.join(each)} |" for each in shown),
        starting_markdown(notes),
    ]
    return "\n\n".join(parts) + "\n"


def _paper_cell(cell: PaperCell) -> str:
    around = {"best": "**", "tied": "*"}.get(cell.place, "")
    estimate = f"{around}{in_markdown(cell.estimate)}{around}{DOUBTFUL * cell.is_doubtful}"
    return f"{estimate} {in_markdown(cell.interval)}".rstrip()


def markdown_tables(summary: Summary) -> str:
    """Returns verdicts and tables as Markdown: a section a problem, then what holds over all of them."""
    parts = [f"## {in_markdown(heading(summary))}", "\n".join(f"- {in_markdown(note)}" for note in left_out(summary))]
    for each in sections(summary):
        parts += [f"### {in_markdown(each.title)}", in_markdown(each.text), markdown(each.table, numbers=True)]
    parts += map(in_markdown, (*summary.damaged, *summary.apart))
    problems = "\n\n".join(_problem(summary, each) for each in summary.comparisons)
    return problems + "\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def markdown(table: Table, *, numbers: bool) -> str:
    """Returns a table as Markdown; columns of numbers are aligned at the right, all but those of labels."""
    align = ["---:" if numbers and name not in LABELS else "---" for name in table.header]
    lines = [
        [in_markdown(name) for name in table.header],
        align,
        *([in_markdown(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _problem(summary: Summary, comparison: Comparison) -> str:
    """A problem's section: its verdict, its ranking and its other tables."""
    verdict = comparison.verdict
    paragraphs = [
        f"## {in_markdown(comparison.problem.name)}",
        in_markdown(verdict.sentence),
        "\n".join(f"- {in_markdown(note)}" for note in [*factor_findings(comparison), *verdict.notes]),
        f"{in_markdown(caption(comparison))}.",
        markdown(ranking(comparison), numbers=True),
    ]
    groups = parameter_groups(summary, comparison.problem.name)
    tables = [*parts(comparison), *([groups] if groups.table.rows else []), *card_parts(comparison.problem)]
    for part in tables:
        paragraphs += [
            f"{in_markdown(part.caption)}." if part.caption else "",
            markdown(part.table, numbers=part.numbers),
        ]
    paragraphs.append("\n".join(f"- {in_markdown(note)}" for note in card_notes(comparison.problem)))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
