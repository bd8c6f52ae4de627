r"""The table of a paper in LaTeX: for the packages booktabs and adjustbox, and rotating where it stands sideways.

A cell takes two lines, the number and its interval. What is somewhat wider than the text is set smaller; a wider table
stands sideways; what would then be too small, or is too long for a page, goes on in further tables.
"""

import itertools
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlkit.bench.analysis.answer_rows import Place
from dlkit.bench.errors import UserError
from dlkit.bench.report.latex_text import escaped, foreign
from dlkit.bench.report.paper_table import MEAN_RANK, Grid, Heading, PaperCell, PaperTable, grid, marks

__all__ = ["paper_latex"]

INCH = 72.27  # points
PORTRAIT, SIDEWAYS = "table", "sidewaystable"
SMALLEST = {PORTRAIT: 0.85, SIDEWAYS: 0.62}  # how small a table may be set, as a share of its own size
BODY, SMALL = 8.0, 7.0  # sizes of type, in points
GAP, ROW, HEAD, CAPTION_LINE = 8.0, 21.0, 32.0, 12.0  # between columns; heights
SHOWN: Mapping[Place, str] = {"best": "Bold", "tied": "Underlined"}
DOUBTFUL = "\N{DAGGER}"
LONGEST, LONGEST_NAME = 16, 22  # letters on a line of a heading, of a column and of a row
BOLD_NUMBERS = (
    r"\sisetup{mode = match, reset-math-version = false, reset-text-series = false, text-series-to-math = true}"
)
NUMBER = re.compile(r"(\N{MINUS SIGN}?)(\d[\d.]*)(?:e([+-]?\d+))?")
WORD, PART = re.compile(r"\S+\s*"), re.compile(r"[^_+/,:-]+[_+/,:-]*|[_+/,:-]+")  # where a heading may be broken
THIN = frozenset(".,:;'|![]()il ")


class _Layout(NamedTuple):
    """How a table is set.

    Attributes:
        environment: of LaTeX.
        columns: what each float takes of the columns.
        rows: what each float takes of the rows.
    """

    environment: str
    columns: Sequence[slice]
    rows: Sequence[slice]


def paper_latex(table: PaperTable, *, width: float = 4.75, height: float = 7.5, siunitx: bool = False) -> str:
    r"""Returns a table as LaTeX: a float with caption and label, and the protocol below it.

    Args:
        table: which.
        width: of the text, in inches; what comes out a little wider is set smaller by LaTeX.
        height: of the text on a page, in inches.
        siunitx: whether numbers are written for the package siunitx, as `\num{1.2e-3}`.

    Raises:
        UserError: for a page without width or height.
    """
    if not (width > 0 and height > 0):
        raise UserError(f"width and height of the text must be above 0 inches, got {width!r} and {height!r}")
    found, layout = _chosen(table, width * INCH, height * INCH)
    packages = ["booktabs", "adjustbox"]
    packages += ["rotating"] * (layout.environment == SIDEWAYS) + ["siunitx"] * siunitx
    head = ["% Needs " + " ".join(f"\\usepackage{{{name}}}" for name in packages)]
    for number, sign in foreign(_every_text(table)).items():
        head.append(f"% {number} is written for that sign: {unicodedata.name(sign, 'one without a name').lower()}")
    floats = [(columns, rows) for columns in layout.columns for rows in layout.rows]
    for place, (columns, rows) in enumerate(floats):
        part = Grid(found.corner, found.columns[columns], [(name, cells[columns]) for name, cells in found.rows[rows]])
        head += [rf"\begin{{{layout.environment}}}", r"\centering", *_caption(table, place)]
        head += _tabular(part, siunitx=siunitx)
        head += _notes(table, layout.environment) if place == len(floats) - 1 else []
        head += [rf"\end{{{layout.environment}}}"]
    return "\n".join(head) + "\n"


# --- how it is set ---


def _chosen(table: PaperTable, width: float, height: float) -> tuple[Grid, _Layout]:
    """The way around that is narrower, if that is open, and how it fits on a page; lengths in points."""
    grids = [grid(table, table.rows)] if table.rows else [grid(table, "contenders"), grid(table, "problems")]
    found = min(grids, key=lambda each: sum(_widths(each)))
    natural, everything = sum(_widths(found)), [slice(0, len(found.columns))]
    for environment, across, down in ((PORTRAIT, width, height), (SIDEWAYS, height, width)):
        if natural * SMALLEST[environment] <= across:
            rows = _cut(len(found.rows), _lines(table, across, down, min(1.0, across / natural)))
            return found, _Layout(environment, everything, rows)
    parts = math.ceil(natural * SMALLEST[SIDEWAYS] / height)
    columns = _cut(len(found.columns), math.ceil(len(found.columns) / parts))
    return found, _Layout(SIDEWAYS, columns, _cut(len(found.rows), _lines(table, height, width, SMALLEST[SIDEWAYS])))


def _cut(count: int, most: int) -> list[slice]:
    """Parts of about equal length, of at most so many."""
    parts = math.ceil(count / most)
    ends = [round(count * part / parts) for part in range(parts + 1)]
    return [slice(*each) for each in itertools.pairwise(ends)]


def _widths(found: Grid) -> list[float]:
    """About how wide each column is, the names first, with the gap after it; in points."""
    names = [max(_width(piece, BODY) for piece in _pieces(heading.name, LONGEST_NAME)) for heading, _ in found.rows]
    names += [_width(heading.below, SMALL) for heading, _ in found.rows]
    widths = [max(names, default=0.0)]
    for place, heading in enumerate(found.columns):
        pieces = [_width(piece, BODY) for piece in _pieces(heading.name)]
        pieces += [_width(piece, SMALL) for piece in _pieces(heading.below)]
        cells = [cells[place] for _, cells in found.rows]
        pieces += [each for cell in cells for each in (_width(cell.estimate, BODY), _width(cell.interval, SMALL))]
        widths.append(max(pieces))
    return [each + GAP for each in widths]


def _width(text: str, size: float) -> float:
    """About how wide a text is; an exponent is written as a power of ten."""
    plain = NUMBER.sub(lambda found: found[2] + ("x10" + "." * len(str(int(found[3]))) if found[3] else ""), text)
    return size * sum(0.28 if sign in THIN else 0.52 for sign in plain)


def _lines(table: PaperTable, across: float, down: float, scale: float) -> int:
    """How many rows fit on a page beside the caption and the notes."""
    caption = math.ceil(len(table.caption) * 4.6 / across) * CAPTION_LINE
    notes = math.ceil(sum(map(len, table.notes), 300) * 3.4 / across) * 8.5
    return max(4, int(((down - caption - notes) / scale - HEAD) // ROW))


def _pieces(name: str, longest: int = LONGEST) -> list[str]:
    """The lines of a heading: broken between words, and in words that are longer than a line."""
    parts = [part for word in WORD.findall(name) for part in ([word] if len(word) <= longest else PART.findall(word))]
    lines = [""]
    for piece in (part[start : start + longest] for part in parts for start in range(0, len(part), longest)):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > longest:
            lines.append("")
        lines[-1] += piece
    return lines


# --- what is written ---


def _every_text(table: PaperTable) -> str:
    problems = [word for each in table.problems for word in each]
    return " ".join([table.caption, *table.notes, *table.contenders, *problems])


def _caption(table: PaperTable, place: int) -> list[str]:
    if place:
        return [r"\addtocounter{table}{-1}", r"\caption[]{(continued)}"]
    return [rf"\caption{{{escaped(table.caption)}}}", rf"\label{{{table.label}}}", r"\par\smallskip"]


def _tabular(part: Grid, *, siunitx: bool) -> list[str]:
    heads = [_stacked(_pieces(each.name), "bc") for each in part.columns]
    lines = [
        *([BOLD_NUMBERS] if siunitx else []),
        r"\begin{adjustbox}{max width=\linewidth}",
        r"\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}l{'c' * len(heads)}@{{}}}}",
        r"\toprule",
        _line([escaped(part.corner), *heads]),
    ]
    if any(each.below for each in part.columns):
        lines.append(_line(["", *(_small(_stacked(_pieces(each.below), "tc")) for each in part.columns)]))
    for place, (heading, cells) in enumerate(part.rows):
        is_apart = not place or heading.name == MEAN_RANK
        lines += [r"\midrule" if is_apart else r"\addlinespace[2pt]", *_row(heading, cells, siunitx=siunitx)]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}"]


def _row(heading: Heading, cells: Sequence[PaperCell], *, siunitx: bool) -> list[str]:
    """A row of two lines or more: numbers beside the name, then intervals beside what stands below it."""
    names = [
        *map(_start, _pieces(heading.name, LONGEST_NAME)),
        *([_small(escaped(heading.below))] if heading.below else []),
    ]
    estimates = [_estimate(cell, siunitx=siunitx) for cell in cells]
    intervals = [_small(_numbers(cell.interval, siunitx=siunitx)) if cell.interval else "" for cell in cells]
    lines = [estimates, *([intervals] if any(intervals) or len(names) > 1 else [])]
    lines += [[""] * len(cells)] * (len(names) - len(lines))
    below = "[1pt]" if any(intervals) else ""
    return [
        _line([names[place] if place < len(names) else "", *line]) + below * (place == 0)
        for place, line in enumerate(lines)
    ]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _start(piece: str) -> str:
    """A text at the start of a line, where a bracket or a star would be taken for a part of the command before."""
    written = escaped(piece)
    return f"{{}}{written}" if written.startswith(("[", "*")) else written


def _stacked(pieces: Sequence[str], how: str) -> str:
    """Lines above each other; `how` says which of them is on the line of the others, and how they are aligned."""
    if len(pieces) == 1:
        return _start(pieces[0])
    lines = r" \\ ".join(map(_start, pieces))
    return rf"\begin{{tabular}}[{how[0]}]{{@{{}}{how[1]}@{{}}}}{lines}\end{{tabular}}"


def _small(written: str) -> str:
    return rf"\scriptsize {written}" if written else ""


def _estimate(cell: PaperCell, *, siunitx: bool) -> str:
    written = _numbers(cell.estimate, siunitx=siunitx) if cell.is_number else rf"\textit{{{escaped(cell.estimate)}}}"
    if cell.place == "best":
        bold = "\\boldmath " if "$" in written or siunitx else ""
        written = rf"\textbf{{{bold}{written}}}"
    elif cell.place == "tied":
        written = rf"\underline{{{written}}}"
    return rf"{written}\textsuperscript{{\textdagger}}" if cell.is_doubtful else written


def _numbers(text: str, *, siunitx: bool) -> str:
    """A text whose numbers are written as powers of ten where they have an exponent."""
    parts, end = [], 0
    for found in NUMBER.finditer(text):
        sign, digits, exponent = found[1] and "-", found[2], found[3]
        power = "" if exponent is None else rf"\times10^{{{int(exponent)}}}"
        if siunitx:
            number = rf"\num{{{sign}{digits}{'' if exponent is None else f'e{int(exponent)}'}}}"
        else:
            number = f"${sign}{digits}{power}$" if sign or power else digits
        parts += [_between(text[end : found.start()]), number]
        end = found.end()
    return "".join([*parts, _between(text[end:])])


def _between(text: str) -> str:
    """Escaped with the spaces around it."""
    first, last = " " * text.startswith(" "), " " * (len(text) > 1 and text.endswith(" "))
    return f"{first}{escaped(text)}{last}"


def _notes(table: PaperTable, environment: str) -> list[str]:
    size = r"\footnotesize" if environment == PORTRAIT else r"\scriptsize"
    text = escaped(" ".join([marks(table, SHOWN, doubtful=DOUBTFUL), *table.notes]))
    return [r"\par\smallskip", rf"\begin{{minipage}}{{\linewidth}}{size}\raggedright", text, r"\end{minipage}"]
