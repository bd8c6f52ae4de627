"""What holds over all problems, as the page shows it."""

from collections.abc import Sequence
from typing import NamedTuple

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import tables_across
from dlkit.bench.report.figure_list import ACROSS
from dlkit.bench.report.page.markup import Drawn, Names, ShownTable, drawn, shown_table

__all__ = ["Across", "Block", "across"]


class Block(NamedTuple):
    """A table with its title."""

    title: str
    table: ShownTable


class Across(NamedTuple):
    """The section.

    Attributes:
        heading: of the section.
        notes: what is not shown and why, and who lost where.
        figures: in order.
        blocks: tables.
    """

    heading: str
    notes: Sequence[str]
    figures: Sequence[Drawn]
    blocks: Sequence[Block]


def across(summary: Summary, names: Names) -> Across:
    """Returns the section.

    Args:
        summary: the run.
        names: of contenders and problems.
    """
    heading = tables_across.heading(summary)
    figures = [
        drawn(each.draw(summary), f"a-{place}", heading, each.title, each.text) for place, each in enumerate(ACROSS)
    ]
    blocks = [
        Block(each.title, shown_table(names, each.table, each.text, kind="numbers across"))
        for each in tables_across.sections(summary)
    ]
    return Across(heading, tables_across.left_out(summary), [each for each in figures if each], blocks)
