"""A run's tables in LaTeX, for the package booktabs."""

from collections.abc import Sequence

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import tables, tables_across
from dlkit.bench.report.latex_text import escaped
from dlkit.bench.report.tables import LABELS, Table

__all__ = ["latex", "latex_tables"]


def latex_tables(summary: Summary) -> str:
    """Returns the tables as LaTeX, problem by problem, then those over all of them; they need the package booktabs."""
    parts = []
    for comparison in summary.comparisons:
        name = comparison.problem.name
        parts.append(latex(tables.ranking(comparison), f"{name}: {tables.caption(comparison)}"))
        parts += [latex(part.table, f"{name}: {part.caption or part.name}") for part in tables.parts(comparison)]
    parts += [latex(each.table, f"{each.title}. {each.text}") for each in tables_across.sections(summary)]
    parts += [f"% {escaped(note)}" for note in tables_across.left_out(summary)]
    return "\n\n".join(parts) + "\n"


def latex(table: Table, caption: str) -> str:
    r"""Returns a table with its caption.

    Args:
        table: the cells as text; they are shown as they are.
        caption: what it shows.

    Example:
        >>> print(latex(Table(["optimizer", "rank [95 %]"], [["adam_w", "1"]]), "Ranks"))
        \begin{table}
        \caption{Ranks}
        \begin{tabular}{lr}
        \toprule
        optimizer & rank [95 \%] \\
        \midrule
        adam\_w & 1 \\
        \bottomrule
        \end{tabular}
        \end{table}
    """
    columns = "".join("l" if name in LABELS else "r" for name in table.header)
    lines = [r"\begin{table}", rf"\caption{{{escaped(caption)}}}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [_line(table.header), r"\midrule", *map(_line, table.rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _line(cells: Sequence[str]) -> str:
    # A bracket or a star after the line before would be taken for a part of its end.
    shown = [escaped(cell) for cell in cells]
    return f"{'{}' if shown[0].startswith(('[', '*')) else ''}{' & '.join(shown)} \\\\"
