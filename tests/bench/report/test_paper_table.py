"""The table of a paper: what stands in its cells, how it is marked, and that LaTeX and Markdown show what was meant."""

import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.api import Result
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.report.latex_text import escaped, foreign
from dlkit.bench.report.markdown import paper_markdown
from dlkit.bench.report.paper_latex import paper_latex
from dlkit.bench.report.paper_table import PaperTable, paper_table
from tests.bench.synthetic import make_plan, make_problem, make_summary

SEEDS = 10
NASTY = (
    r"\input{x} & 50% $x_1^2$ #1 ~ {a} \\",
    "[0] *star* <b>|\"`'",
    "β₁ Ångström Łódź naïve — “q”… 1² ≥",
    "漢 --- ,, '' ?` \x07",
    "adam+clip batch_size=64 schedule=warmup_cosine",
    "a|b @x :smile: ~~s~~ $y$ _it_ `c`",
)


def ends(label: str, seed: int) -> float:
    """Where a trial ends: "even" is a little ahead of "odd" for half of the seeds, and both far ahead of "far"."""
    common = 0.01 * seed
    own = {"even": 0.001 * (-1) ** seed, "odd": -0.001 * (-1) ** seed, "far": 0.5, "twin": 0.0}
    return 0.1 + common + own[label]


def summary_of(labels: tuple[str, ...], *, problems: tuple[str, ...] = ("bowl",), **how: object) -> Summary:
    plan = make_plan(labels, problems=[make_problem(name) for name in problems], points=1, seeds=SEEDS)
    return make_summary(
        plan, curve=lambda plan, problem, contender, trial: [1.0] * 4 + [ends(contender.label, trial.seed % 100)], **how
    )


def median_of(summary: Summary, label: str) -> float:
    """The median by NumPy of the final trials' last values."""
    (comparison,) = summary.comparisons
    (result,) = (each for each in comparison.results if each.label == label)
    return float(np.median([outcome.curves["error"][-1] for outcome in result.outcomes if outcome is not None]))


def test_cells_have_medians_and_say_who_leads_and_who_is_not_told_apart() -> None:
    summary = summary_of(("far", "even", "odd"))
    table = paper_table(summary)
    cells = table.cells["bowl"]
    for label, cell in cells.items():
        assert float(cell.estimate) == pytest.approx(median_of(summary, label), abs=6e-4)
        low, high = map(float, re.findall(r"[\d.]+", cell.interval))
        assert low < float(cell.estimate) < high
    places = {label: cell.place for label, cell in cells.items()}
    assert places.pop("far") == "worse" and sorted(places.values()) == ["best", "tied"]
    assert table.contenders[-1] == "far" and table.mean_ranks == {}


def test_a_failure_and_what_did_not_run_stand_there_in_words() -> None:
    problems = [make_problem("bowl"), make_problem("cup")]
    plan = make_plan(["even", "odd", "far"], problems=problems, points=1, seeds=SEEDS)
    contenders = [replace(plan.contenders[0], problems=("cup",)), *plan.contenders[1:]]
    summary = make_summary(
        replace(plan, contenders=contenders),
        curve=lambda plan, problem, contender, trial: [1.0] * 4 + [ends(contender.label, trial.seed % 100)],
        failed=["far"],
    )
    cells = paper_table(summary).cells
    assert (cells["bowl"]["even"].estimate, cells["bowl"]["far"].estimate) == ("not run", "failed")
    assert not cells["bowl"]["far"].is_number and cells["bowl"]["odd"].is_number
    text = paper_latex(paper_table(summary))
    assert r"\textit{not run}" in text and r"\textit{failed}" in text
    assert "even runs on 1 of 2 problems: cup." in text and "far failed on 2 of 2 problems." in text


def test_words_of_one_that_is_not_told_apart_are_marked_as_numbers_are() -> None:
    plan = make_plan(("even", "odd"), points=1, seeds=3)
    few = paper_table(make_summary(plan, diverged=lambda label, trial: label == "odd" and trial.stage == "final"))
    (cell,) = (each for each in few.cells["bowl"].values() if not each.is_number)
    assert (cell.estimate, cell.place) == ("diverged", "tied")  # 3 seeds tell nobody apart
    assert r"\underline{\textit{diverged}}" in paper_latex(few)
    assert "*diverged*" in paper_markdown(few)


def test_mean_ranks_are_those_of_the_medians() -> None:
    summary = summary_of(("far", "even", "twin"), problems=("bowl", "cup"))
    ranks = paper_table(summary).mean_ranks
    assert ranks["far"].estimate == "3.00"  # last on both
    assert {ranks["even"].estimate, ranks["twin"].estimate} <= {"1.00", "1.50", "2.00"}
    assert "Mean ranks over 2 problems" in paper_markdown(paper_table(summary))


def test_notes_say_the_protocol() -> None:
    plan = make_plan(["sgd", "adam"], points=5, seeds=8, tuning_seeds=2)
    text = " ".join(paper_table(make_summary(plan)).notes)
    assert "medians over 8 fresh seeds of the setting that one tuning found" in text
    assert "5 tuning points of a scrambled Halton sequence on 2 seeds" in text
    assert "Budget of a trial: 40 steps." in text and plan.digest in text
    assert "about the settings that one tuning found, not about the methods" in text


def test_a_run_that_is_not_over_says_so() -> None:
    summary = make_summary(make_plan(["sgd", "adam"]), missing=lambda label, trial: trial.stage == "final")
    table = paper_table(summary)
    assert {cell.estimate for cell in table.cells["bowl"].values()} == {"not done"}
    assert any("trials have run" in note for note in table.notes)


def test_who_is_doubtful_has_a_mark_and_no_sentence_of_names() -> None:
    table = paper_table(make_summary(make_plan(["sgd", "adam", "lion"])))
    marked = [label for label, cell in table.cells["bowl"].items() if cell.is_doubtful]
    assert marked
    assert not any("Better tuning might change the place of" in note for note in table.notes)
    text = paper_latex(table)
    assert text.count(r"\textsuperscript{\textdagger}") == len(marked)
    assert r"\textdagger{}: its tuning is doubtful" in text


def test_caption_label_and_rows_are_taken() -> None:
    result = Result(summary_of(("even", "odd")))
    text = result.latex(caption="50% of $x_1$", label="tab:main_1", rows="problems")
    assert r"\caption{50\% of \$x\_1\$}" in text and r"\label{tab:main_1}" in text
    assert re.search(r"^problem & (even & odd|odd & even)", text, re.MULTILINE)
    assert re.search(r"^contender & bowl", result.latex(rows="contenders"), re.MULTILINE)
    assert result.markdown(caption="Mine").startswith("Mine\n\n| contender |")
    with pytest.raises(UserError, match="label must be of letters"):
        result.latex(label="tab:50%")
    with pytest.raises(UserError, match="rows must be 'problems' or 'contenders', got 'methods'"):
        result.paper_table(rows="methods")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="above 0 inches"):
        result.latex(width=0)


# --- LaTeX -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5% #1 {x} $y$", r"a\_b \& 5\% \#1 \{x\} \$y\$"),
        (r"\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("a--b ,,c'' --- ?`", r"a-{}-b ,{},c'{}' -{}-{}- ?\textasciigrave{}"),
        ("é ç Å Łódź ğ", r"\'{e} \c{c} \r{A} \L{}\'{o}d\'{z} \u{g}"),
        ("λ₂ ≥ 1e−3 µ ∞", r"$\lambda$$_{2}$ $\geq$ 1e$-$3 $\mu$ $\infty$"),
        ("ﬁt １ ½ 𝛽", r"fit 1 1/2 $\beta$"),
        ("line\nbreak\t and  spaces ", "line break and spaces"),
        ("a\N{NO-BREAK SPACE}b \N{HORIZONTAL ELLIPSIS}", r"a~b \ldots{}"),
        ("\x00\x1b\N{ZERO WIDTH SPACE}", "U+0000U+001BU+200B"),
        ("", ""),
    ],
)
def test_any_text_is_written_so_that_latex_shows_it(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_every_sign_of_the_first_planes_comes_out_as_ascii() -> None:
    for code in [*range(0x3000), *range(0xFB00, 0xFB10), *range(0x1D400, 0x1D800), 0x1F642]:
        written = escaped(chr(code))
        assert written.isascii() and written.count("{") - written.count(r"\{") == written.count("}") - written.count(
            r"\}"
        ), f"{code:x}: {written}"
        assert ("U+" in written) == bool(foreign(chr(code))), f"{code:x}"


def rows_of(text: str) -> list[str]:
    """The rows of the tabulars that are not inside another one."""
    found = []
    for body in re.findall(r"\\begin\{tabular\}\{@\{\}l(?:.*?)\n(.*?)\n\\end\{tabular\}\n", text, re.DOTALL):
        flat = re.sub(r"\\begin\{tabular\}\[.\].*?\\end\{tabular\}", "X", body)
        found += [line for line in flat.splitlines() if "&" in line]
    return found


@cache
def small() -> PaperTable:
    return paper_table(summary_of(("even", "odd")))


def large(contenders: int, problems: int) -> PaperTable:
    """A table of so many contenders and problems, each cell of a number of its own."""
    few = small()
    cell = few.cells["bowl"]["even"]
    labels = tuple(f"contender-{place}" for place in range(contenders))
    headings = tuple(few.problems[0]._replace(name=f"problem-{place}") for place in range(problems))
    cells = {
        each.name: {
            label: cell._replace(
                estimate=f"0.{1000 + problems * row + column}", interval="[0.123, 0.456]", place="worse"
            )
            for row, label in enumerate(labels)
        }
        for column, each in enumerate(headings)
    }
    ranks = {label: cell._replace(estimate="2.00", interval="[1.00, 3.00]") for label in labels}
    return replace(few, contenders=labels, problems=headings, cells=cells, mean_ranks=ranks)


@pytest.mark.parametrize(
    ("contenders", "problems", "environment", "floats"),
    [(3, 3, "table", 1), (6, 4, "table", 1), (12, 12, "sidewaystable", 1), (40, 3, "table", 3), (30, 30, "", 4)],
)
def test_a_table_fits_its_page_and_nothing_is_left_out(
    contenders: int, problems: int, environment: str, floats: int
) -> None:
    table = large(contenders, problems)
    text = paper_latex(table)
    found = re.findall(r"\\begin\{(table|sidewaystable)\}", text)
    assert len(found) == floats if environment else len(found) >= floats
    assert set(found) == ({environment} if environment else {"sidewaystable"})
    assert (r"\usepackage{rotating}" in text) == ("sidewaystable" in found)
    assert text.count(r"\caption{") == text.count(r"\label{") == 1
    assert text.count("(continued)") == len(found) - 1
    for cells in table.cells.values():
        for cell in cells.values():
            assert len(re.findall(rf"(?<![\d.]){re.escape(cell.estimate)}(?!\d)", text)) == 1
    columns = {line.count("&") for line in rows_of(text)}
    assert len(columns) <= 1 + (len(found) > 1)


def test_numbers_are_powers_of_ten_and_bold_where_they_lead() -> None:
    few = large(1, 1)
    cell = few.cells["problem-0"]["contender-0"]._replace(estimate="≤1.65e-08", interval="[no bound, −2.00e+10]")
    for place, expected in {
        "best": r"\textbf{\boldmath $\leq$$1.65\times10^{-8}$}",
        "tied": r"\underline{$\leq$$1.65\times10^{-8}$}",
        "worse": r"$\leq$$1.65\times10^{-8}$",
    }.items():
        table = replace(few, cells={"problem-0": {"contender-0": cell._replace(place=place)}}, mean_ranks={})
        text = paper_latex(table)
        assert f"contender-0 & {expected} " in text or f"problem-0 & {expected} " in text
        assert r"\scriptsize [no bound, $-2.00\times10^{10}$]" in text
        assert r"\num{1.65e-8}" in paper_latex(table, siunitx=True)


def nasty() -> Summary:
    judged = [Metric("lower", "log", "err_or^2 {μ}"), Metric("higher", "linear", "accuracy #1")]
    names = ["pro_blem & 1%", "mean rank"]
    problems = [make_problem(name, metric=metric) for name, metric in zip(names, judged, strict=True)]
    plan = replace(make_plan(NASTY, problems=problems, points=2, seeds=6), name="näme_of $run%")
    return make_summary(plan, diverged=lambda label, trial: label == NASTY[1] and trial.stage == "final")


def compiled(folder: Path, body: str, label: str, *packages: str) -> tuple[str, str]:
    """What LaTeX says, and the text of the pages."""
    for program in ("pdflatex", "pdftotext", "kpsewhich"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: texlive-latex-extra and poppler-utils have it")
    for package in ("adjustbox", "cmap", *packages):
        if not subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True, check=False).stdout:
            pytest.skip(f"this LaTeX has no package {package}")
    needed = "".join(rf"\usepackage{{{name}}}" for name in ("booktabs", "adjustbox", "rotating", *packages))
    (folder / "paper.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{cmap}}\usepackage[T1]{{fontenc}}{needed}\begin{{document}}Table~\ref{{{label}}}."
        f"\n{body}\n\\end{{document}}\n",
        encoding="ascii",
    )
    for _ in range(2):  # the second time with references
        ended = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-2000:]
    text = subprocess.run(
        ["pdftotext", "-raw", "paper.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True
    )
    return ended.stdout, text.stdout


@pytest.mark.long
@pytest.mark.parametrize("rows", ["contenders", "problems"])
def test_latex_takes_every_label_literally(rows: str, tmp_path: Path) -> None:
    summary = nasty()
    table = paper_table(summary, rows=rows)  # type: ignore[arg-type]
    whole = [rf"\noindent {escaped(label)}\par" for label in NASTY]  # where no cell breaks it
    said, text = compiled(tmp_path, "\n".join([*whole, paper_latex(table)]), table.label)
    assert "undefined" not in said and "Overfull" not in said and "Missing character" not in said
    shown = _letters(text)
    for label in NASTY:
        assert _letters("".join(f"U+{ord(sign):04X}" if sign in "漢\x07" else sign for sign in label)) in shown, label
    assert _letters("accuracy #1 ↑") in shown and "Table 1." in text


@pytest.mark.long
@pytest.mark.parametrize(("size", "pages"), [(12, 2), (30, 5)])
def test_a_large_table_is_as_many_pages_as_floats_beside_the_text(size: int, pages: int, tmp_path: Path) -> None:
    said, text = compiled(tmp_path, paper_latex(large(size, size)), "tab:synthetic")
    assert "Overfull" not in said and "too large" not in said and text.count("\f") == pages
    for number in range(1000, 1000 + size**2):
        assert f"0.{number}" in text


@pytest.mark.long
def test_siunitx_takes_the_numbers(tmp_path: Path) -> None:
    table = paper_table(make_summary(make_plan(problems=[make_problem(metric=Metric("lower", "log", "gap"))])))
    said, text = compiled(tmp_path, paper_latex(table, siunitx=True), table.label, "siunitx")
    assert "undefined" not in said
    assert table.cells["bowl"][table.contenders[0]].estimate in text.replace(" ", "")


def _letters(text: str) -> str:
    """A text without spaces, and with the quotation marks and dashes of fonts as they are typed."""
    plain = "".join(unicodedata.normalize("NFKC", text).split())
    alike = {"’": "'", "‘": "`", "−": "-", "∼": "~", "˜": "~", "ˆ": "^", "µ": "μ", "∗": "*"}
    for sign, other in alike.items():
        plain = plain.replace(sign, other)
    return plain


# --- Markdown --------------------------------------------------------------------------------------------------------


def cells_of(text: str) -> tuple[list[list[str]], list[str]]:
    """The cells of the tables of a text, by a library, and the texts of its paragraphs."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows: list[list[str]] = []
    paragraphs: list[str] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        inline = [each for each in tokens[place + 1 : place + 2] if each.type == "inline"]
        if token.type in ("th_open", "td_open", "paragraph_open"):
            assert all(
                child.type
                in ("text", "text_special", "strong_open", "strong_close", "em_open", "em_close", "softbreak")
                for child in inline[0].children or []
            ), inline[0].content
            shown = "".join(child.content for child in inline[0].children or [])
            (paragraphs if token.type == "paragraph_open" else rows[-1]).append(shown)
    assert {token.type.split("_")[0] for token in tokens} <= {
        *("table", "thead", "tbody", "tr", "th", "td", "inline", "paragraph")
    }
    return rows, paragraphs


def test_markdown_shows_labels_and_numbers_literally() -> None:
    table = paper_table(nasty(), rows="contenders", caption="1. Not a list, *nor* $math$")
    rows, (caption, notes) = cells_of(paper_markdown(table))
    assert caption == "1. Not a list, *nor* $math$" and "spec" in notes
    assert rows[0] == ["contender", *(f"{each.name} ({each.below})" for each in table.problems), "mean rank (↓)"]
    for row, label in zip(rows[1:], table.contenders, strict=True):
        cells = [*(table.cells[each.name][label] for each in table.problems), table.mean_ranks[label]]
        expected = [f"{each.estimate}{'†' * each.is_doubtful} {each.interval}".rstrip() for each in cells]
        seen = " ".join(label.split()).replace("\x07", "\\x07")  # what cannot be seen is written out
        assert row == [seen, *expected]


def test_markdown_marks_the_leader_bold_and_who_is_tied_italic() -> None:
    table = paper_table(summary_of(("far", "even", "odd")))
    text = paper_markdown(table)
    for label, around in {"best": "**", "tied": "*"}.items():
        (cell,) = (each for each in table.cells["bowl"].values() if each.place == label)
        assert f"| {around}{cell.estimate}{around} " in text
    assert "Bold: the leader" in text and "Italic: not told apart" in text
    (far,) = (each for each in table.cells["bowl"].values() if each.place == "worse")
    assert f"| {far.estimate} " in text and "No mark: worse" in text
