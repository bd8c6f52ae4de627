"""A run in a notebook: a card with the answer, and a short text where there is no room for one."""

from pathlib import Path

from dlkit.bench.analysis.answer import answer
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import in_html, visible
from dlkit.bench.report.answer_table import answer_table, legend, verdicts
from dlkit.bench.report.terminal import More

__all__ = ["card", "short_text"]

MOST_LETTERS = 600  # of a headline in a short text
LINE = "border-bottom:1px solid rgba(128,128,128,0.3)"
PLACES = {  # colours that can be read on light and on dark pages, beside the marks
    "best": "font-weight:bold;background:rgba(46,160,67,0.25)",
    "tied": "background:rgba(46,160,67,0.12)",
    "doubtful": "background:rgba(210,153,34,0.2)",
    "failed": "background:rgba(218,54,51,0.18)",
}
QUIET = "opacity:0.7;font-size:0.9em"


def short_text(summary: Summary, folder: Path | None) -> str:
    """Returns what a run is in less than a kilobyte: what ran, how many trials, the headline.

    Args:
        summary: the run.
        folder: its folder; None for a run in memory.
    """
    plan, headline = summary.plan, answer(summary).headline
    name = repr(plan.name) if len(plan.name) < 100 else "of an experiment with a long name"
    place = f", in {folder}" if folder and len(str(folder)) < 200 else ""
    parts = [
        f"{name}: {_count(len(plan.problems), 'problem')}, {_count(len(plan.contenders), 'contender')}",
        f"{len(summary.records):,} of {_count(summary.planned, 'trial')}{place}",
    ]
    if len(headline) <= MOST_LETTERS:
        parts.append(headline)
    return visible(f"<Result {'; '.join(parts)}>")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def card(summary: Summary, more: More) -> str:
    """Returns the answer as HTML that needs nothing beside it: no script, no style sheet, no network.

    Args:
        summary: the run.
        more: what there is beside the answer.
    """
    found = answer(summary)
    parts = [f'<div style="font-weight:bold;font-size:1.1em;margin-bottom:0.5em">{in_html(found.headline)}</div>']
    made = answer_table(found, intervals=True)
    if made.table.rows:
        head = "".join(_head(name, place) for place, name in enumerate(made.table.header))
        rows = "".join(
            f"<tr>{''.join(_cell(text, made.places.get((i, j), ''), first=j == 0) for j, text in enumerate(row))}</tr>"
            for i, row in enumerate(made.table.rows)
        )
        parts.append(
            '<div style="overflow-x:auto"><table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
        parts.append(f'<div style="{QUIET}">{in_html(legend(found, unit=summary.plan.unit))}</div>')
    if made.table.rows and len(found.rows) > 1:
        said = [f"<b>{in_html(name)}</b>{in_html(text)}" for name, text in verdicts(found)]
        parts.append(_list(said))
    notes = [in_html(each) for each in (*found.caveats, *summary.apart)]
    notes += [f'<span style="color:#d73a49">failed:</span> {in_html(reason)}' for reason in summary.failures]
    parts.append(_list(notes, QUIET))
    ends = [f"tables: {more.tables}"] * bool(more.tables) + [f"report: {more.report}"] * bool(more.report)
    parts += [f'<div style="{QUIET}">{in_html(each)}</div>' for each in ends]
    return f'<div style="font-family:sans-serif;line-height:1.4;max-width:70em">{"".join(parts)}</div>'


def _head(name: str, place: int) -> str:
    side = "left" if place == 0 else "right"
    return f'<th scope="col" style="text-align:{side};padding:0.2em 0.7em;{LINE}">{in_html(name)}</th>'


def _cell(text: str, place: str, *, first: bool) -> str:
    if first:
        return f'<th scope="row" style="text-align:left;padding:0.2em 0.7em;{LINE}">{in_html(text)}</th>'
    estimate, bracket, interval = text.partition(" [")
    small = f' <span style="font-weight:normal;{QUIET};white-space:nowrap">[{in_html(interval)}</span>'
    style = f"text-align:right;padding:0.2em 0.7em;{LINE};{PLACES.get(place, '')}"
    return f'<td style="{style}">{in_html(estimate)}{small if bracket else ""}</td>'


def _list(items: list[str], style: str = "") -> str:
    lines = "".join(f"<li>{each}</li>" for each in items)
    return f'<ul style="margin:0.5em 0;padding-left:1.2em;{style}">{lines}</ul>' if items else ""
