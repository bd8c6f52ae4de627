"""Names, labels, units, reasons and sources of a stranger's run are shown in every output, and obeyed in none."""

import csv
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.cli.failures import in_full
from dlkit.bench.errors import UserError
from dlkit.bench.execution.course import State
from dlkit.bench.execution.displays import bar_line, live_progress, log_line
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
from dlkit.bench.analysis import frames
from dlkit.bench.store.store import Store
from tests.bench.synthetic import PROGRAM, fill, make_contender, make_plan, make_problem

PAYLOADS = (
    "adam [/]", "[bold red]x[/bold red]", "[link=http://evil.test]x[/link]", "a\x1b[31mred\x1b[2J", "nul\x00in", "bell\x07",
    "osc\x1b]8;;http://evil.test\x1b\\x\x1b]8;;\x1b\\", "c1\x9b31m\x85", "rlo\u202e5e-3\u202c", "isolate\u2066x\u2069",
    "zero\u200bwidth\u200d", "bom\ufeff", "lines\u2028and\u2029more", "cr\rover", "back\b\b\bspace", "tab\tand\x0b\x0c",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "'-alert(1)-'",
    "</title></style><script>x</script>", "<a href='javascript:x'>y</a>", "{{ 7*7 }}{% raw %}", "&lt;b&gt;&amp;",
    "[x](javascript:alert(1))", "![i](http://evil.test/x.png)", "| a | b |", "# heading\n- item", "[ref]: http://evil.test",
    "`code` ~~~", "=1+1", "+SUM(A1:A9)", "-2+3", "@import", "\t=1+1", "=HYPERLINK(\"http://evil.test\")", "1,2\n=3;\"q\"",
    "\\input{/etc/passwd}", "\\write18{id}", "$\\frac{1}{0}$ % # & _ ^ ~", "\\end{document}", "../../../etc/passwd",
    "C:\\..\\x", "NUL", "con.txt", "." * 300, "\U000e0041tag", "half\ud800", "\N{FULLWIDTH EQUALS SIGN}1+1",
)  # fmt: skip
FIELDS = ("label", "problem", "hyperparameter", "metric", "unit", "description", "source", "reason", "name", "program")
SEEN_NOT = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LATEX = {
    "begin", "end", "caption", "label", "toprule", "midrule", "bottomrule", "cmidrule", "textbackslash", "textasciitilde",
    "textasciicircum", "textasciigrave", "ttfamily", "char", "beta", "alpha", "textbf", "underline", "centering", "small",
    "footnotesize", "adjustbox", "multicolumn", "textsuperscript", "mbox", "ldots", "dagger", "textdagger", "num", "r", "c",
    "S", "raggedright", "par", "vspace", "smallskip", "medskip", "uparrow", "downarrow", "pm", "times", "tabcolsep", "textit",
    "linewidth", "textwidth", "multirow", "hline", "clearpage", "sidewaystable", "emph", "parbox", "setlength", "minipage",
    "addlinespace", "noindent", "scriptsize", "normalsize", "textcelsius",
}  # fmt: skip


class Rendered(NamedTuple):
    """What one run looks like in every output."""

    summary: Summary
    texts: Mapping[str, str]


def hostile_plan(payload: str) -> Plan:
    """A plan that has a payload wherever somebody else can write a text."""
    problem = replace(
        make_problem(f"p {payload}"),
        metrics={payload: Metric("lower", "linear", f"u {payload}")},
        metric=payload,
        description=f"d {payload}",
        data_source=f"s {payload}",
    )
    plan = make_plan((f"l {payload}", "sgd", payload), problems=[problem, make_problem()], points=2, seeds=3)
    contenders = [make_contender(each.label, points=2, name=payload) for each in plan.contenders]
    return replace(plan, contenders=contenders, name=payload)


def hostile_summary(payload: str) -> Summary:
    """The summary of such a run."""
    plan = hostile_plan(payload)
    raise NotImplementedError
