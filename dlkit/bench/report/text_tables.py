"""Tables as lines of text that fit a width. Nothing in them is cut: what does not fit goes below, name by name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from dlkit.bench.escapes import visible
from dlkit.bench.report.tables import LABELS, Table

__all__ = ["natural_width", "paragraph", "table_lines"]

GAP = "  "  # between columns
LEAST = 24  # columns that a text wants beside others, before it gets lines of its own
INDENT = "  "
RANK = "rank"  # a number that names a row; it stands there once

Styles = Mapping[tuple[int, int], str]
"""(row, column) -> the style of a cell, in rich's words."""


def table_lines(
    table: Table,
    *,
    width: int,
    words: Collection[str] = LABELS,
    styles: Styles | None = None,
    apart: bool = False,
) -> list[Text]:
    """Returns a table as lines no longer than a width, unless a single word is.

    Columns that do not fit beside the others go below, with the columns that name the rows again. Texts wrap in the
    last column of such a block. A column that fits beside the names nowhere becomes a list, a line a row; where names
    leave no room for any column, each row becomes one.

    Args:
        table: the cells; a cell may have several lines.
        width: columns of the terminal.
        words: names of the columns that hold words; the others are numbers, and stand at the right.
        styles: of cells.
        apart: whether each row becomes a list where the columns do not fit side by side.

    Returns:
        The lines; none without rows.
    """
    if not table.rows:
        return []
    styles = styles or {}
    columns = [_column(table, place, words) for place in range(len(table.header))]
    keys, rest = columns[: (count := _keys(table.header))], columns[count:]
    taken = sum(each.width + len(GAP) for each in keys)
    if taken + min((each.least for each in rest), default=0) > width:
        return list(_records(columns, count, len(table.rows), width, styles))
    lines: list[Text] = []
    blocks = list(_blocks(rest, width - taken))
    if apart and len(blocks) > 1:
        return list(_records(columns, count, len(table.rows), width, styles))
    for block in blocks:
        if lines:
            lines.append(Text())
            keys = [each for each in keys if each.name != RANK]
            taken = sum(each.width + len(GAP) for each in keys)
        if taken + block[-1].least > width:
            lines += _list(keys, block[0], width, styles)
        else:
            lines += _block([*keys, *block], width, styles)
    return lines


def natural_width(table: Table) -> int:
    """Returns how wide a table is with all of its columns side by side."""
    columns = [_column(table, place, ()) for place in range(len(table.header))]
    return sum(each.width for each in columns) + len(GAP) * (len(columns) - 1)


def paragraph(text: str, *, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """Returns a text in lines no longer than a width, unless a single word is.

    Args:
        text: words.
        width: of the lines.
        indent: what each line begins with.
        first: what the first line begins with, in place of `indent`.

    Example:
        >>> paragraph("one two three", width=9, indent="  ", first="- ")
        ['- one two', '  three']
    """
    start = indent if first is None else first
    lines, line = [], ""
    for word in visible(text).split(" "):
        longer = f"{line} {word}" if line else word
        if line and cell_len(start) + cell_len(longer) > width:
            lines.append(start + line)
            start, longer = indent, word
        line = longer
    return [*lines, (start + line).rstrip()]


# --- columns ---


class _Column(NamedTuple):
    """A column: its place, its name, its cells as lines, and how they are set."""

    place: int
    name: str
    cells: Sequence[Sequence[str]]
    is_words: bool
    width: int

    @property
    def least(self) -> int:
        """The width with which it may stand beside others: texts wrap."""
        return min(self.width, max(LEAST, self._longest)) if self.is_words else self.width

    @property
    def _longest(self) -> int:
        parts = [self.name, *(line for cell in self.cells for line in cell)]
        return max(cell_len(word) for part in parts for word in part.split(" "))


def _column(table: Table, place: int, words: Collection[str]) -> _Column:
    name = visible(table.header[place])
    cells = [[visible(line) for line in row[place].split("\n")] for row in table.rows]
    widest = max(cell_len(line) for cell in cells for line in cell)
    longest = max(cell_len(word) for word in name.split(" "))
    return _Column(place, name, cells, name in words, max(widest, longest))


def _keys(header: Sequence[str]) -> int:
    """How many columns name the rows: those of labels at the front, and a rank before them."""
    count = 1 if header[0] == RANK and len(header) > 1 else 0
    while count < len(header) and header[count] in LABELS:
        count += 1
    return max(count, 1)


def _blocks(columns: Sequence[_Column], room: int) -> Iterator[list[_Column]]:
    """Columns that stand side by side; a text that has to wrap is the last of its block."""
    block: list[_Column] = []
    left = room
    for column in columns:
        wraps = column is columns[-1] or column.width > room
        wanted = column.width + len(GAP) * bool(block)
        if wanted <= left:
            block.append(column)
            left -= wanted
            continue
        if block and wraps and column.least + len(GAP) <= left:
            yield [*block, column]
            block, left = [], room
            continue
        if block:
            yield block
        block, left = [column], room - column.width
        if left < 0:
            yield block
            block, left = [], room
    if block or not columns:
        yield block


# --- lines ---


def _block(columns: Sequence[_Column], width: int, styles: Styles) -> Iterator[Text]:
    """Columns side by side under their names."""
    before = sum(each.width + len(GAP) for each in columns[:-1])
    widths = [each.width for each in columns[:-1]] + [min(columns[-1].width, max(width - before, columns[-1].least))]
    heads = [paragraph(each.name, width=size) for each, size in zip(columns, widths, strict=True)]
    deep = max(map(len, heads))
    heads = [[""] * (deep - len(head)) + head for head in heads]
    yield from (_line(columns, widths, cells, ["bold"] * len(columns)) for cells in zip(*heads, strict=True))
    yield Text("─" * min(sum(widths) + len(GAP) * (len(widths) - 1), max(width, 1)), style="dim")
    for row in range(len(columns[0].cells)):
        cells = [each.cells[row] for each in columns]
        cells[-1] = [part for line in cells[-1] for part in paragraph(line, width=widths[-1])]
        deep = max(map(len, cells))
        looks = [styles.get((row, each.place), "") for each in columns]
        for parts in zip(*([*cell, *[""] * (deep - len(cell))] for cell in cells), strict=True):
            yield _line(columns, widths, parts, looks)


def _line(columns: Sequence[_Column], widths: Sequence[int], parts: Sequence[str], looks: Sequence[str]) -> Text:
    line = Text()
    for place, (column, size, part, look) in enumerate(zip(columns, widths, parts, looks, strict=True)):
        pad = " " * max(size - cell_len(part), 0)
        line.append(GAP if place else "")
        line.append("" if column.is_words else pad)
        line.append(part, style=look)
        line.append(pad if column.is_words else "")
    line.rstrip()
    return line


def _list(keys: Sequence[_Column], column: _Column, width: int, styles: Styles) -> Iterator[Text]:
    """One column as a list: a line a row."""
    yield from (Text(line, style="bold") for line in paragraph(column.name, width=width))
    for row in range(len(column.cells)):
        name = " ".join(" ".join(each.cells[row]) for each in keys)
        yield from _item(name, column, row, width, styles)


def _records(columns: Sequence[_Column], keys: int, rows: int, width: int, styles: Styles) -> Iterator[Text]:
    """A row as a list: its name, then a line a column."""
    for row in range(rows):
        name = " ".join(" ".join(each.cells[row]) for each in columns[:keys])
        look = styles.get((row, keys - 1), "")
        yield from (Text(line, style=look or "bold") for line in paragraph(name, width=width))
        for each in columns[keys:]:
            yield from _item(each.name, each, row, width, styles)


def _item(name: str, column: _Column, row: int, width: int, styles: Styles) -> Iterator[Text]:
    """A cell on lines of its own, after a name; nothing for an empty one."""
    if not any(column.cells[row]):
        return
    text = f"{name}: {'; '.join(column.cells[row])}"
    look = styles.get((row, column.place), "")
    yield from (Text(line, style=look) for line in paragraph(text, width=width, indent=INDENT * 2, first=INDENT))
