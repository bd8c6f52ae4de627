"""What the templates get: everything on the page, in the order in which it stands there."""

import json
from typing import Any

import dlkit
from dlkit.bench.analysis.answer import answer, overall
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import file_name
from dlkit.bench.report import plotly_across, plotly_figures, tables_across
from dlkit.bench.report.figure_list import ACROSS, ON_A_PROBLEM
from dlkit.bench.report.looks import DARK
from dlkit.bench.report.page.across import Across, across
from dlkit.bench.report.page.answer_picture import picture
from dlkit.bench.report.page.answer_table import answer_table
from dlkit.bench.report.page.downloads import downloads
from dlkit.bench.report.page.embedding import packed, script_json
from dlkit.bench.report.page.looks import looks
from dlkit.bench.report.page.markup import Drawn, Names
from dlkit.bench.report.page.problem_cards import Card, card
from dlkit.bench.report.page.provenance import failures, provenance
from dlkit.bench.report.page.sentences import budget, shared_notes

__all__ = ["contents"]

MOST_OPEN = 4  # problems whose cards are open at first
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def contents(summary: Summary) -> dict[str, Any]:
    """Returns what the templates get.

    Args:
        summary: the run.
    """
    plan, answered, shown = summary.plan, answer(summary), looks(summary)
    names = Names(
        {label: look.number for label, look in shown.items()},
        {problem.name: number for number, problem in enumerate(plan.problems)},
    )
    shared = shared_notes(summary, answered.caveats)
    said = {*answered.caveats, *(each.text for each in shared)}
    cards = [
        card(summary, comparison, row, names, number, said)
        for number, (comparison, row) in enumerate(zip(summary.comparisons, answered.rows, strict=True))
    ]
    over = across(summary, names)
    return {
        "title": plan.name,
        "budget": budget(plan),
        "answer": answered,
        "overall": overall(summary),
        "looks": [shown[label] for label in answered.contenders],
        "picture": picture(answered, shown),
        "table": answer_table(summary, answered, shown),
        "shared": shared,
        "cards": cards,
        "opens_cards": len(cards) <= MOST_OPEN,
        "across": over,
        "about_figures": _about_figures(summary),
        "level": f"{LEVEL * 100:.0f}\N{NO-BREAK SPACE}%",
        "alpha": f"{1 - LEVEL:.2g}",
        "failures": failures(summary),
        "rests": provenance(summary, names),
        "downloads": downloads(summary),
        "footer": f"dlkit {dlkit.__version__}, spec {plan.digest}",
        "plotly": plotly_figures.javascript(),
        "figures": _figures(cards, over),
        "facts": script_json(
            {
                "template": json.loads(plotly_figures.template()),
                "config": CONFIG,
                "dark": DARK,
                "contenders": list(shown),
                "name": file_name(plan.name),
            }
        ),
    }


def _about_figures(summary: Summary) -> list[tuple[str, str]]:
    """(title, how to read it) of each figure."""
    has_gaps, ladders = summary.overview.has_gaps, tables_across.ladders(summary)
    return [
        (each.title, " ".join(filter(None, [each.text, each.with_gaps if has_gaps else "", targets])))
        for each in (*ON_A_PROBLEM, *ACROSS)
        for targets in [ladders if each.draw is plotly_across.target_ecdf else ""]
    ]


def _figures(cards: list[Card], over: Across) -> list[tuple[str, str]]:
    """(group, compressed JSON of its figures by name): those of a problem together, which are alike."""
    groups: dict[str, list[Drawn]] = {}
    for each in cards:
        own = [figure for panel in each.panels for figure in panel.figures]
        groups[f"p{each.number}"] = [*([each.curves] if each.curves else []), *own]
    groups["a"] = list(over.figures)
    return [(name, packed(_joined(figures))) for name, figures in groups.items() if figures]


def _joined(figures: list[Drawn]) -> str:
    members = (
        f'{json.dumps(each.name)}:{{"figure":{each.json},"axes":{json.dumps(each.axes, separators=(",", ":"))}}}'
        for each in figures
    )
    return f"{{{','.join(members)}}}"
