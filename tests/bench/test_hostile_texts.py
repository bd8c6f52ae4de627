"""Names, labels, units, reasons and sources of a stranger's run are shown in every output, and obeyed in none."""

import base64
import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path, PureWindowsPath

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.cli.failures import in_full
from dlkit.bench.execution.course import State
from dlkit.bench.execution.displays import bar_line, log_line
from dlkit.bench.execution.progress import say
from dlkit.bench.export.contents import contents
from dlkit.bench.export.csv_files import write_csv
from dlkit.bench.export.json_file import read_json, write_json
from dlkit.bench.export.runs import final_trials, placed
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.report.latex import latex_tables
from dlkit.bench.report.markdown import markdown_tables, paper_markdown
from dlkit.bench.report.matplotlib_figures import save_figures
from dlkit.bench.report.notebook import card, short_text
from dlkit.bench.report.page import write_report
from dlkit.bench.report.page.contents import contents as of_page
from dlkit.bench.report.paper_latex import paper_latex
from dlkit.bench.report.paper_table import paper_table
from dlkit.bench.report.terminal import More, answer_lines, print_lines, text_of
from dlkit.bench.report.trial_list import trial_lines
from dlkit.bench.store.store import Store
from tests.bench.synthetic import PROGRAM, fill, make_contender, make_plan, make_problem

PAYLOADS = (
    "adam [/]", "[bold red]x[/bold red]", "[link=http://evil.test]x[/link]", "a\x1b[31mred\x1b[2J", "nul\x00in",
    "bell\x07", "osc\x1b]8;;http://evil.test\x1b\\x\x1b]8;;\x1b\\", "c1\x9b31m\x85", "rlo\u202e5e-3\u202c",
    "isolate\u2066x\u2069", "zero\u200bwidth\u200d", "bom\ufeff", "lines\u2028and\u2029more", "cr\rover",
    "back\b\b\bspace", "tab\tand\x0b\x0c", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>", "'-alert(1)-'", "</title></style><script>x</script>", "<a href='javascript:x'>y</a>",
    "{{ 7*7 }}{% raw %}", "&lt;b&gt;&amp;", "[x](javascript:alert(1))", "![i](http://evil.test/x.png)", "| a | b |",
    "# heading\n- item", "[ref]: http://evil.test", "`code` ~~~", "=1+1", "+SUM(A1:A9)", "-2+3", "@import", "\t=1+1",
    "=HYPERLINK(\"http://evil.test\")", "1,2\n=3;\"q\"", "\\input{/etc/passwd}", "\\write18{id}",
    "$\\frac{1}{0}$ % # & _ ^ ~", "\\end{document}", "../../../etc/passwd", "C:\\..\\x", "NUL", "con.txt", "." * 300,
    "\U000e0041tag", "half\ud800", "\N{FULLWIDTH EQUALS SIGN}1+1",
)  # fmt: skip
FIELDS = ("label", "problem", "hyperparameter", "metric", "unit", "description", "source", "reason", "name", "program")
SEEN_NOT = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LATEX = {
    "begin", "end", "caption", "label", "toprule", "midrule", "bottomrule", "cmidrule", "textbackslash",
    "textasciitilde", "textasciicircum", "textasciigrave", "ttfamily", "char", "beta", "alpha", "textbf",
    "underline", "centering", "small", "footnotesize", "adjustbox", "multicolumn", "textsuperscript", "mbox",
    "ldots", "dagger", "textdagger", "num", "r", "c", "S", "raggedright", "par", "vspace", "smallskip", "medskip",
    "uparrow", "downarrow", "pm", "times", "tabcolsep", "textit", "linewidth", "geq", "leq", "textwidth", "multirow",
    "hline", "clearpage", "sidewaystable", "emph", "parbox", "setlength", "minipage", "addlinespace", "noindent",
    "scriptsize", "normalsize", "textcelsius",
}  # fmt: skip


def hostile_plan(payload: str) -> Plan:
    """A plan that has a payload wherever somebody else can write a text; halves of characters cannot be hashed."""
    payload = payload.encode("utf-8", "replace").decode()
    problem = replace(
        make_problem(f"p {payload}"),
        metrics={payload: Metric("lower", "linear", f"u {payload}")},
        metric=payload,
        description=f"d {payload}",
        data_source=f"s {payload}",
    )
    plan = make_plan(
        (f"l {payload}", "sgd", payload),
        problems=[problem, make_problem()],
        points=2,
        seeds=2,
        tuning_seeds=1,
        evaluations=2,
    )
    contenders = [make_contender(each.label, points=2, name=payload) for each in plan.contenders]
    return replace(plan, contenders=contenders, name=payload)


@cache
def hostile_summary(payload: str) -> Summary:
    """The summary of such a run, one of whose contenders failed with the payload as its reason."""
    plan = hostile_plan(payload)
    program = {**PROGRAM, "device": f"g {plan.name}", f"x {plan.name}": plan.name}
    with Store(None) as store:
        fill(
            store,
            plan,
            failed=[plan.name],
            reason=f"r {payload}",
            program=program,
            sources={f"f {plan.name}": plan.name},
        )
        return summarize(store)


def seen(text: str) -> str:
    """A text with what cannot be seen as Python writes it, and without blanks and line ends, written or not."""
    shown = "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) in SEEN_NOT else sign for sign in text
    )
    return re.sub(r"\\([nrt]|x0b|x0c|x85|u2028|u2029)", "", "".join(shown.split()))


def unseen(text: str, keep: str = "\n") -> set[str]:
    """The signs of a text that cannot be seen, but for some."""
    return {sign for sign in text if unicodedata.category(sign) in SEEN_NOT} - {*keep}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def dangers(self) -> list[tuple[str, str]]:
        """Attributes that run or fetch something."""
        return [
            (name, value)
            for name, value in self.attributes
            if name.startswith("on") or (name in ("href", "src", "action") and not value.startswith(("#", "data:")))
        ]


every_payload = pytest.mark.parametrize("payload", PAYLOADS, ids=[f"{place}" for place in range(len(PAYLOADS))])
some_payloads = pytest.mark.parametrize(  # a page takes a while; the others are looked at by `make test-long`
    "payload",
    [
        pytest.param(each, id=f"{place}", marks=[pytest.mark.long] * (place % 4 > 0))
        for place, each in enumerate(PAYLOADS)
    ],
)
HARMLESS = "adam"


def test_there_are_enough_of_them() -> None:
    assert len({*PAYLOADS}) * len(FIELDS) >= 200


@every_payload
def test_the_terminal_gets_no_command(payload: str, capsys: pytest.CaptureFixture[str]) -> None:
    summary, out = hostile_summary(payload), io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system="truecolor", markup=False, highlight=False)
    trials = trial_lines(frames.trials(summary), 100, "elsewhere")
    print_lines(console, [*answer_lines(summary, 100, More("elsewhere")), *trials])
    names = tuple(each.label for each in summary.plan.contenders)
    state = State(9, 1, names[:2], names[2:], "", 60.0, False, "host", 1, 0.0)
    console.print(bar_line(state, 200))
    plain = COLOUR.sub("", out.getvalue())
    texts = [plain, text_of(summary, tables=True), short_text(summary, None), log_line(state, 0.0)]
    say(payload)
    texts += [capsys.readouterr().err, in_full(dict.fromkeys(summary.failures, payload))]
    assert not set().union(*(unseen(text, "\n\t") for text in texts))
    assert seen(summary.plan.contenders[0].label)[:20] in seen(texts[1])


@some_payloads
def test_the_page_and_the_card_have_no_element_of_the_run(payload: str, tmp_path: Path) -> None:
    made = []
    for each in (payload, HARMLESS):
        text = write_report(hostile_summary(each), tmp_path / "report.html").read_text(encoding="utf-8")
        made.append((Page(re.sub(r"(?s)<script>window.*?</script>", "<script></script>", text)), text))
    (page, text), (harmless, _) = made
    assert not unseen(text, "\n\t\r") and not page.dangers
    assert {*page.elements} <= {*harmless.elements}
    assert (
        page.elements["script"] == harmless.elements["script"] and page.elements["style"] == harmless.elements["style"]
    )
    assert seen(hostile_plan(payload).contenders[0].label) in seen("".join(page.words))
    shown = card(hostile_summary(payload), More(payload))
    assert not unseen(shown, "\n\t") and not Page(shown).dangers
    assert {*Page(shown).elements} <= {"div", "table", "thead", "tbody", "tr", "th", "td", "span", "ul", "li", "b"}


@some_payloads
def test_the_page_draws_labels_as_words(payload: str) -> None:
    """Plotly reads a kind of HTML: links, bold, line breaks."""
    for _, packed in of_page(hostile_summary(payload))["figures"]:
        for figure in json.loads(gzip.decompress(base64.b64decode(packed))).values():
            for text in strings_of(figure["figure"]):
                assert not re.search(r"<(?!br>|b>|/b>)", text) and not unseen(text, "\n\t")


def strings_of(value: object, key: str = "") -> Iterator[str]:
    """The texts of a figure that are drawn: keys of groups are compared only."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from strings_of(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from strings_of(each, key)
    elif isinstance(value, str) and key not in ("legendgroup", "bdata"):
        yield value


@every_payload
def test_markdown_has_no_element_of_the_run(payload: str) -> None:
    summary = hostile_summary(payload)
    text = paper_markdown(paper_table(summary)) + markdown_tables(summary)
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not unseen(text)
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "code_inline",
        "fence",
        "s_open",
        "code_block",
    }
    headings = [inner for token, inner in itertools.pairwise(tokens) if token.type == "heading_open"]
    problems = len(summary.plan.problems)
    assert sum(token.type == "heading_open" and token.tag == "h2" for token in tokens) == problems + 1
    assert any(
        seen(summary.plan.problems[0].name) == seen("".join(each.content for each in head.children or ()))
        for head in headings
    )


@every_payload
def test_latex_has_no_command_of_the_run(payload: str) -> None:
    summary = hostile_summary(payload)
    text = latex_tables(summary) + paper_latex(paper_table(summary))
    assert text.isascii() and not unseen(text)
    body = "\n".join(re.sub(r"(?<!\\)%.*", "", line) for line in text.splitlines())
    assert {*re.findall(r"\\([a-zA-Z]+)", body)} <= LATEX
    braces = re.sub(r"\\[{}]", "", body)
    assert braces.count("{") == braces.count("}") and body.count(r"\end{tabular}") == body.count(r"\begin{tabular}")


@every_payload
def test_tables_of_numbers_hold_no_formula_and_the_file_reads_back(payload: str, tmp_path: Path) -> None:
    summary = hostile_summary(payload)
    found = contents(summary)
    write_csv(found, tmp_path)
    for path in tmp_path.glob("*.csv"):
        text = path.read_text(encoding="utf-8")
        assert not unseen(text, "\n\r\t")
        for row in csv.reader(io.StringIO(text, newline="")):
            for cell in row:
                assert cell.lstrip()[:1] not in FORMULAS or is_number(cell), (path.name, cell)
    write_json(found, tmp_path / "run.json")
    back = read_json(tmp_path / "run.json")
    assert all(back[table.name].equals(table.frame) for table in found.tables)
    said = MarkdownIt("commonmark", {"html": True}).enable("table").render((tmp_path / "README.md").read_text("utf-8"))
    assert {*Page(said).elements} <= {"h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "em"}


FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@every_payload
def test_names_of_files_stay_in_their_folder(payload: str) -> None:
    for _, place in placed(final_trials(hostile_summary(payload))):
        parts = place.split("/")
        assert len(parts) == 3 and not any(part.startswith(".") or part.endswith((".", " ")) for part in parts)
        assert all(len(part.encode()) < 200 and not re.search(r'[<>:"|?*\\\x00-\x1f]', part) for part in parts)
        assert not any(PureWindowsPath(part).is_reserved() for part in parts)


@pytest.mark.long
@pytest.mark.parametrize("payload", ["".join(PAYLOADS[:16]), *PAYLOADS[16:22], "$x$ _a_ \x1b"])
def test_figures_for_papers_draw_words(payload: str, tmp_path: Path) -> None:
    for path in save_figures(hostile_summary(payload), tmp_path / "figures", extension="svg"):
        assert path.parent == tmp_path / "figures"
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        tags = {each.tag.rpartition("}")[2] for each in root.iter()}
        assert not tags & {"script", "a", "image", "foreignObject"}
        links = [value for each in root.iter() for name, value in each.attrib.items() if name.endswith("href")]
        assert all(link.startswith("#") for link in links)


def test_a_live_display_takes_what_looks_like_markup() -> None:
    """Also what is written to the standard error meanwhile, of which rich shows the unfinished line."""
    script = (
        "import sys\nfrom dlkit.bench.execution.displays import live_progress\n"
        "with live_progress(True) as course:\n"
        "    course.plan(3, 0)\n    course.compiling('adam [/]')\n    course.warn('odd [/] sentence')\n"
        "    print('half a [/] line', end='', file=sys.stderr, flush=True)\n    course.advance('adam [/]', 1)\n"
    )
    into, out = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out, env=environment)
    os.close(out)
    found = []
    with contextlib.suppress(OSError):  # of a terminal whose other end is closed
        while part := os.read(into, 1 << 16):
            found.append(part)
    os.close(into)
    text = b"".join(found).decode()
    assert process.wait() == 0, text
    assert "odd [/] sentence" in text
