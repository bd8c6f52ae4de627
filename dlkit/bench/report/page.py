"""The report: one HTML file with verdicts, tables and figures, which opens without a network."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import dlkit
from dlkit.bench.analysis import units
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.foresight import gaps
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.plan.json import to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.policies import OBJECTIVES
from dlkit.bench.report import plotly_across, plotly_figures, samples, tables_across
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.figure_list import ACROSS, ON_A_PROBLEM
from dlkit.bench.report.parameter_groups import parameter_groups, parameter_leaves
from dlkit.bench.report.tables import Part, Table, caption, factor_findings, parts, ranking

__all__ = ["write_report", "write_text"]

KINDS = {
    "winner": "winner",
    "tie": "no winner",
    "unsettled": "not settled",
    "incomplete": "incomplete",
}
ORDERS = {"reshuffle": "", "fixed": " in one order for all epochs", "iid": ", each drawn on its own"}
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def write_report(summary: Summary, path: Path) -> Path:
    """Writes the report: verdicts, tables, figures, how to read them, and what the numbers rest on.

    Args:
        summary: the run.
        path: of the file; it is replaced as a whole, or left as it was.

    Returns:
        The path.

    Raises:
        UserError: if it cannot be written there.
    """
    skeleton = Template(resources.files("dlkit.bench.report").joinpath("page.html").read_text(encoding="utf-8"))
    page = skeleton.substitute(
        title=escape(summary.plan.name),
        budget=escape(_budget(summary.plan)),
        banner=_banner(summary),
        verdicts="\n".join(_card(number, each) for number, each in enumerate(summary.comparisons, 1)),
        problems="\n".join(_problem(number, summary, each) for number, each in enumerate(summary.comparisons, 1)),
        heading=tables_across.heading(summary),
        across=_across(summary),
        level=f"{LEVEL * 100:.0f} %",
        alpha=f"{1 - LEVEL:.2g}",
        failures=_failures(summary),
        foundations=_foundations(summary),
        footer=escape(f"dlkit {dlkit.__version__}, spec {summary.plan.digest}"),
        plotly=plotly_figures.javascript(),
        template=_script_json(plotly_figures.template()),
        config=_script_json(json.dumps(CONFIG)),
    )
    return write_text(path, page)


def write_text(path: Path, text: str) -> Path:
    """Writes a file as a whole or not at all.

    Args:
        path: of the file; missing folders are made.
        text: its content.

    Returns:
        The path.

    Raises:
        UserError: if it cannot be written there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o644)
        os.replace(temporary, path)  # noqa: PTH105
        temporary = None
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written: {error.strerror}; name another file") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


# --- the parts of the page ---


def _budget(plan: Plan) -> str:
    """What was compared and what each contender got, in a sentence or two."""
    budgets: dict[str, list[str]] = {}
    for problem in plan.problems:
        budgets.setdefault(_each_trial(problem), []).append(problem.name)
    lengths = ", ".join(
        budget + (f" ({', '.join(names)})" if len(budgets) > 1 else "") for budget, names in budgets.items()
    )
    most = plan.most_blocks
    more = "" if most is None else f", and more until it is settled, up to {most}"
    studies = f", in each of {plan.tuner.studies} studies{more}" if plan.repeats_tuning else ""
    return (
        f"{_count(len(plan.contenders), 'contender')} on {_count(len(plan.problems), 'problem')}. "
        f"Each contender on each problem{' where it runs' if plan.has_gaps else ''}{studies}: {_tuning(plan)}, "
        f"then the best point on {_count(plan.seeds, 'fresh paired seed')}{'' if studies else more}; {lengths}, "
        f"{_count(plan.evaluations, 'evaluation')} along the way."
        f"{''.join(f' {sentence}' for sentence in gaps(plan))}"
    )


def _tuning(plan: Plan) -> str:
    """What tuning each contender got."""
    tuner = plan.tuner
    points = [len(each.points) + (each.undrawn or 0) for each in plan.contenders]
    fewest, most = min(points, default=0), max(points, default=0)
    if tuner.seconds is not None:
        amount = f"tuning points for {tuner.seconds:g} seconds of training (how many depends on the machine)"
    else:
        amount = f"{fewest} to {_count(most, 'tuning point')}" if 1 < fewest < most else _count(most, "tuning point")
    ways = [] if tuner.name == "halton" else [tuner.name]
    ways += [] if tuner.objective == "final" else [OBJECTIVES[tuner.objective]]
    ways += [f"successive halving by {tuner.halving}"] if tuner.halving else []
    more = f" ({', '.join(ways)})" if ways else ""
    return f"{amount}{more} on {_count(plan.tuning_seeds, 'tuning seed')}"


def _each_trial(problem: PlannedProblem) -> str:
    """What each trial may spend."""
    if problem.axis == "steps":
        return _count(problem.steps, "step")
    return "as many seconds as all others" if problem.amount is None else units.amount(problem.axis, problem.budget)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _banner(summary: Summary) -> str:
    if summary.missing <= 0:
        return ""
    done = summary.planned - summary.missing
    text = f"{done} of {summary.planned} trials have run; the same command goes on."
    return f'<p class="banner" role="status">{text}</p>'


def _card(number: int, comparison: Comparison) -> str:
    verdict = comparison.verdict
    notes = "".join(f"<li>{escape(note)}</li>" for note in [*factor_findings(comparison), *verdict.notes])
    return (
        f'<article class="card {verdict.kind}"><h3><a href="#problem-{number}">{escape(comparison.problem.name)}</a> '
        f'<span class="kind">{KINDS[verdict.kind]}</span></h3><p>{escape(verdict.sentence)}</p>'
        + (f"<ul>{notes}</ul>" if notes else "")
        + "</article>"
    )


def _problem(number: int, summary: Summary, comparison: Comparison) -> str:
    problem = comparison.problem
    drawn = f"batches of {problem.batch_size}{ORDERS[problem.order]}"
    batch = drawn if problem.batch_size else "all examples at every step"
    about = [problem.description, f"{_each_trial(problem)}, {batch}"]
    return (
        f'<section aria-labelledby="problem-{number}"><h2 id="problem-{number}">{escape(problem.name)}</h2>'
        f'<p class="about">{escape("; ".join(part for part in about if part))}.</p>'
        + _table(ranking(comparison), caption(comparison), heading=1, kind="numbers")
        + "".join(map(_part, parts(comparison)))
        + _parameters(summary, problem.name)
        + _figures(summary, comparison)
        + samples.drawn_samples(comparison)
        + _data_card(problem)
        + "</section>"
    )


def _parameters(summary: Summary, problem: str) -> str:
    """Which rule trains which parameters: by rule, and every leaf to unfold."""
    part = parameter_groups(summary, problem)
    if not part.table.rows:
        return ""
    leaves = _table(parameter_leaves(summary, problem), "Every leaf of the parameters", heading=0)
    return f"{_part(part)}<details><summary>Every leaf of the parameters</summary>{leaves}</details>"


def _data_card(problem: PlannedProblem) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in card_notes(problem))
    return "".join(map(_part, card_parts(problem))) + (f"<ul>{notes}</ul>" if notes else "")


def _part(part: Part) -> str:
    title = part.caption or part.name.capitalize()
    return _table(part.table, title, heading=0, kind="numbers" if part.numbers else "words")


def _table(table: Table, title: str, *, heading: int, kind: str = "words") -> str:
    """A table in a container that scrolls by itself; one column heads its rows."""
    header = "".join(
        f'<th scope="col" class="{"name" if column == heading else "cell"}">{escape(name)}</th>'
        for column, name in enumerate(table.header)
    )
    body = []
    for row in table.rows:
        cells = [
            f'<th scope="row">{escape(cell)}</th>' if column == heading else f"<td>{_cell(cell)}</td>"
            for column, cell in enumerate(row)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table class="{kind}">'
        f"<caption><span>{escape(title)}</span></caption><thead><tr>{header}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A cell whose interval, if it has one, stays in one piece."""
    estimate, bracket, rest = text.partition(" [")
    if not bracket:
        return escape(text)
    return f'{escape(estimate)} <span class="interval">[{escape(rest)}</span>'


def _figures(summary: Summary, comparison: Comparison) -> str:
    name = comparison.problem.name
    parts = [_drawn(each.draw(summary, comparison), name, each.title, each.text) for each in ON_A_PROBLEM]
    return f'<div class="figures">{"".join(parts)}</div>' if any(parts) else "<p>No trial to draw yet.</p>"


def _drawn(figure: Any, about: str, title: str, text: str) -> str:
    """A figure with its caption; nothing where it shows nothing."""
    if not any(trace.x is not None and any(x is not None for x in trace.x) for trace in figure.data):
        return ""
    label, data = escape(f"{about}: {title}."), _script_json(figure.to_json())
    return (
        f'<figure><figcaption><b>{title}.</b> {escape(text)}</figcaption><div class="figure" role="img" '
        f'aria-label="{label}">The figures need JavaScript.</div>'
        f'<script type="application/json" class="figure-data">{data}</script></figure>'
    )


def _across(summary: Summary) -> str:
    """What holds over all problems: tables, figures, and what is not shown and why."""
    name = tables_across.heading(summary)
    ladders = tables_across.ladders(summary)
    parts = []
    for each in ACROSS:
        more = [each.with_gaps] if summary.overview.has_gaps else []
        more += [ladders] if each.draw is plotly_across.target_ecdf else []
        parts.append(_drawn(each.draw(summary), name, each.title, " ".join([each.text, *more])))
    tables = [
        f"<h3>{escape(each.title)}</h3>{_table(each.table, each.text, heading=0, kind='numbers across')}"
        for each in tables_across.sections(summary)
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in tables_across.left_out(summary))
    return (
        f'<section aria-labelledby="across"><h2 id="across">{name}</h2>'
        + (f"<ul>{notes}</ul>" if notes else "")
        + "".join(tables[:1])
        + (f'<div class="figures">{"".join(parts)}</div>' if any(parts) else "")
        + "".join(tables[1:])
        + "</section>"
    )


def _script_json(text: str) -> str:
    """JSON that can stand in a script element, whatever its strings are."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _failures(summary: Summary) -> str:
    if not summary.failures:
        return ""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in summary.failures)
    return f'<section aria-labelledby="failures"><h2 id="failures">What could not run</h2><ul>{reasons}</ul></section>'


def _foundations(summary: Summary) -> str:
    """The spec, the programs, the data, one's own functions, and what it all took."""
    plan, manifest = summary.plan, summary.manifest
    outcomes = [record.outcome for record in summary.records.values()]
    seconds, compiling = sum(each.seconds for each in outcomes), sum(each.compile_seconds for each in outcomes)
    took = f"{_count(len(outcomes), 'trial')}: {seconds:.1f} s of training and {compiling:.1f} s of compilation in all."
    spec = json.dumps(json.loads(to_json(plan)), indent=2, ensure_ascii=False)
    data = [[name, facts["source"], facts["digest"]] for name, facts in sorted(manifest.get("data", {}).items())]
    sources: Mapping[str, str] = manifest.get("sources", {}).get(plan.digest, {})
    parts = [f"<p>{escape(text)}</p>" for text in (took, *summary.apart)]
    parts.append(_programs(manifest.get("programs", {})))
    parts.append(_table(Table(("problem", "data from", "digest"), data), "Data", heading=0, kind="facts"))
    parts.append(_details(f"The exact spec ({plan.digest})", spec))
    parts += [_details(f"Source of own functions: {name}", text) for name, text in sources.items()]
    return "\n".join(parts)


def _programs(programs: Mapping[str, Mapping[str, str]]) -> str:
    if not programs:
        return "<p>No program has run yet.</p>"
    fields: Iterable[str] = dict.fromkeys(field for program in programs.values() for field in program)
    rows: Sequence[Sequence[str]] = [[field, *(each.get(field, "") for each in programs.values())] for field in fields]
    names = [f"program {name}" for name in programs]
    return _table(Table(("field", *names), rows), "Programs that made the numbers", heading=0, kind="facts")


def _details(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre><code>{escape(text)}</code></pre></details>"
