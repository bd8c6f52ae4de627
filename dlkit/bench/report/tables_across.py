"""The tables over all problems as text, each with a caption that says what its numbers are and what they are not."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers, tuning_curves
from dlkit.bench.analysis.across_problems import BUDGETS, MAX_RATIO, Overview, Ranks
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.rank_groups import not_grouped
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.analysis.tuning_curves import FEWEST_GOOD, TOLERANCE, Leaders, Width
from dlkit.bench.report.tables import Table
from dlkit.bench.stats import Interval

__all__ = ["Section", "contenders", "heading", "ladders", "left_out", "sections"]

NO_BREAK = "\N{NO-BREAK SPACE}"
PERCENT = f"{NO_BREAK}%"
MOST_LADDERS, MOST_PAIRS = 6, 4  # that a caption names
FEW_PROBLEMS = 5  # with fewer, a test over problems sees large differences only
NOT_RUN = "not run"
NOT_RANKED = f" {NOT_RUN.capitalize()}: left out by the plan; ranks are among those that ran. –: not ranked."
GAPS = (
    "Not all ran on all problems. Mean ranks come from pairs on the problems that both ran on: easy problems and weak "
    "rivals help nobody. Profile score, targets reached and area are over the problems where a contender ran, and easy "
    "ones do help there: compare targets reached with what the others reach on the same problems (others there)."
)
SAME_MEDIAN = " A contender's scores are shifted to give all its studies the same median, since studies share no seed."


class Section(NamedTuple):
    """A table over all problems.

    Attributes:
        title: what it answers.
        text: what its numbers are, and what they cannot tell.
        table: the cells.
    """

    title: str
    text: str
    table: Table


def heading(summary: Summary) -> str:
    """Returns what the overview is called: with one problem there is nothing to go across."""
    return "Across problems" if len(summary.plan.problems) > 1 else "Overview"


def ladders(summary: Summary) -> str:
    """Returns which targets count, in a sentence; with many problems, where they stand."""
    targeted = {problem.name for problem in summary.overview.targeted}
    found = [each for each in summary.comparisons if each.problem.name in targeted]
    if len(found) > MOST_LADDERS:
        count = sum(len(each.targets.values) for each in found)
        return f"Targets: {count} in all; they stand with each problem."
    each = (f"{one.problem.name} {', '.join(numbers.number(target) for target in one.targets.values)}" for one in found)
    return f"Targets: {'; '.join(each)}." if found else ""


def left_out(summary: Summary) -> list[str]:
    """Returns, in sentences, what is not shown and why, and who lost where."""
    found, plan = summary.overview, summary.plan
    few = [
        f"two {what} that {verb} to the end"
        for what, verb, count in (
            ("problems", "have run", len(found.problems)),
            ("contenders", "trained", len(found.contenders)),
        )
        if count < 2
    ]
    reasons = [f"Ranks and performance profiles need {' and '.join(few)}."] if few else []
    if not few and found.profile is None:
        reasons.append("Performance profiles need two problems with targets.")
    if not found.targeted:
        reasons.append("Shares of targets reached need a problem with targets.")
    elif found.target_ranking is None and len(found.contenders) > 1:
        reasons.append("Who is ahead as budget and target move needs a problem with targets that all ran on.")
    if not few and found.ranks is None:
        reasons.append("Ranks need two contenders that ran on two problems together.")
    if found.ranks is not None and (reason := not_grouped(found)):
        reasons.append(reason)
    if reason := tuning_curves.not_drawn(plan):
        reasons.append(f"Who leads at how many tuning points is not shown: {reason}.")
    if plan.tuner.halving is not None:
        reasons.append("Nor is how wide good ranges are.")
    return [*reasons, *(f"{note}." for note in found.notes)]


def sections(summary: Summary) -> list[Section]:
    """Returns the tables that a run has enough problems, contenders and points for."""
    made = [
        contenders(summary),
        _ranks_by_problem(summary),
        _movement(summary.overview, summary.plan.unit),
        _leaders(summary),
        _widths(summary),
    ]
    return [section for section in made if section.table.rows]


def contenders(summary: Summary) -> Section:
    """Returns the table that has one row a contender, best first; no rows where nothing is over yet."""
    found, level = summary.overview, f"[{LEVEL * 100:.0f}{PERCENT}]"
    lines, ranks = found.by_contender(), found.ranks
    columns: dict[str, list[str]] = {"optimizer": [each.label for each in lines]} if lines else {}
    if ranks is not None:
        least, distances = lines[0].mean_rank.estimate, [ranks.to_best[index] for index in found.order]
        columns[f"mean rank {level}"] = [_interval(each.mean_rank) for each in lines]
        columns["probability best"] = [_or_nothing(numbers.share, each.probability_best) for each in lines]
        gaps = [each.mean_rank.estimate - least for each in lines]
        columns["Nemenyi"] = [_apart(*each) for each in zip(gaps, distances, strict=True)]
    if found.profile is not None:
        columns[f"profile score {level}"] = [_interval(each.profile_score) for each in lines]
    if found.target_ecdf:
        columns[f"targets reached {level}"] = [_interval(each.targets_reached) for each in lines]
        columns["area"] = [_or_nothing("{:.2f}".format, each.target_area) for each in lines]
        if found.has_gaps:
            columns["others there"] = [_or_nothing("{:.2f}".format, each.others_there) for each in lines]
    rows = list(zip(*columns.values(), strict=True)) if len(columns) > 1 else []
    if rows and found.has_gaps:
        there = [f"{each.problems} of {len(found.problems)}" for each in lines]
        columns["ran on"] = there
        rows = list(zip(*columns.values(), strict=True))
    return Section("Contenders", _about_contenders(found, summary.plan.unit), Table([*columns], rows))


def _apart(gap: float, distance: float) -> str:
    """Whether a mean rank is told from the best one, by Nemenyi's distance."""
    if math.isnan(gap) or math.isnan(distance):
        return "not compared"
    if gap > distance:
        return "worse"
    return "not told apart" if gap else "best"


def _about_contenders(found: Overview, unit: str) -> str:
    ranks, parts = found.ranks, []
    if ranks is not None:
        count = ranks.problems
        small = f" {count} problems have little power: not told apart is not equal." if count < FEW_PROBLEMS else ""
        expected = ", as expected if all had run on all of them" if found.has_gaps else ""
        named = "Skillings and Mack's" if found.has_gaps else "Friedman's"
        parts += [
            f"Mean rank on {count} problems of the median over {unit} of the judged metric at the end{expected}; "
            f"intervals, and the probability of being best, by drawing problems and {unit} again.",
            f"{named} test that all rank alike, by permuted ranks: p {_compared(ranks.p_value)}; mean ranks more "
            f"than {_distance(ranks)} apart (Nemenyi) differ at {100 * (1 - LEVEL):.0f}{PERCENT}.{small}",
        ]
    if found.profile is not None:
        parts.append(
            "Profile score: area under the performance profile of what the hardest target takes, up to "
            f"{MAX_RATIO:g} times the fastest's, as in AlgoPerf; it depends on who takes part."
        )
    if found.target_ecdf:
        parts.append(
            f"Targets reached: share of (problem, target, {_one(unit)}) by the end of the budget, on these problems; "
            "area: the mean of that share along the budget, 1 if all were reached at once."
        )
    if parts and found.has_gaps:
        parts.append(GAPS)
    return " ".join(parts)


def _distance(ranks: Ranks) -> str:
    """Nemenyi's distance, or where pairs share more or fewer problems, the smallest and the largest."""
    ends = [numbers.number(each) for each in ranks.nearest_and_farthest]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}, by how many problems two share,"


def _or_nothing(text: Callable[[float], str], value: float) -> str:
    """A number as text; a dash where there is none."""
    return numbers.NOTHING if math.isnan(value) else text(value)


def _ranks_by_problem(summary: Summary) -> Section:
    """One row a problem, one column a contender, best mean rank first."""
    found = summary.overview
    text = (
        f"Rank by the median over {summary.plan.unit}; = stands where the optimizer is not told apart from the "
        "problem's best, × where it could not run or no point trained."
        f"{NOT_RANKED if found.has_gaps else ''}"
    )
    if found.ranks is None:
        return Section("Ranks by problem", text, Table([], []))
    comparisons = {each.problem.name: each for each in summary.comparisons}
    cells = []
    for place, problem in enumerate(found.problems):
        standings = comparisons[problem.name].ranking.standings
        finished = {each.label for each in comparisons[problem.name].results if each.is_comparable}
        line = [problem.name]
        for index in found.order:
            label, rank = found.contenders[index], found.ranks.by_problem[index, place]
            if not found.ran[index, place]:
                line.append(NOT_RUN)
                continue
            if math.isnan(rank):
                line.append(numbers.NOTHING)
                continue
            standing = standings.get(label)
            mark = "" if standing is None or standing.to_best is None or standing.is_worse else " ="
            line.append(f"{rank:g}{mark if label in finished else ' ×'}")
        cells.append(line)
    return Section("Ranks by problem", text, Table(["problem", *_ordered(found)], cells))


def _one(unit: str) -> str:
    """A block in words; a study stands there with its first fresh seed."""
    return "first seed of a study" if unit == "studies" else "seed"


def _movement(found: Overview, unit: str) -> Section:
    """Who is ahead at each budget and target."""
    moved = found.target_ranking
    text = (
        f"Ahead by the mean over problems and {unit} of min(what the target takes, budget) / budget, which stands "
        "beside: a "
        "miss counts as the whole budget. No intervals: the figure's bands have them."
        f"{' Only problems that all ran on count.' if found.has_gaps else ''}"
    )
    if moved is None:
        return Section("Who is ahead as budget and target move", text, Table([], []))
    count = found.rungs
    names = ["target"] if count == 1 else ["easiest target", *(f"{k} of {count}" for k in range(2, count)), "hardest"]
    rows = []
    for budget, costs, ranks in zip(BUDGETS, moved.costs, moved.ranks, strict=True):
        cells = [_ahead(found, *each) for each in zip(costs, ranks, strict=True)]
        rows.append([f"{100 * budget:.0f}{PERCENT}", *cells])
    flips = np.argwhere(np.triu(moved.flips)).tolist()
    pairs = [f"{found.contenders[first]} and {found.contenders[second]}" for first, second in flips]
    if len(pairs) > MOST_PAIRS:
        text += f" {len(pairs)} of {math.comb(len(found.contenders), 2)} pairs change places."
    else:
        text += f" Change places: {'; '.join(pairs)}." if pairs else " No pair changes places."
    return Section("Who is ahead as budget and target move", text, Table(["budget", *names], rows))


def _ahead(found: Overview, costs: np.ndarray[Any, Any], ranks: np.ndarray[Any, Any]) -> str:
    if costs.min() >= 1:
        return "none before"
    first = [found.contenders[index] for index in np.flatnonzero(ranks == ranks.min()).tolist()]
    return f"{' = '.join(first)} {numbers.number(costs.min(), digits=2)}"


def _leaders(summary: Summary) -> Section:
    """One row a problem, one column a number of tuning points."""
    plan = summary.plan
    each = [tuning_curves.leaders(plan, comparison.problem_results) for comparison in summary.comparisons]
    found = [one for one in each if one is not None]
    has_studies = plan.tuner.studies > 1
    studies = f"the points of all {plan.tuner.studies} studies" if has_studies else "those that were tried"
    text = (
        f"Who most probably has the best tuning score of so many points drawn from {studies}: other draws of them, not "
        "other points. At all points nothing is left to draw, so no probability stands there."
        f"{SAME_MEDIAN if has_studies else ''}"
    )
    title = "Who leads at how many tuning points"
    columns = sorted({int(k) for one in found for k in one.points})
    rows = [[one.problem, *(_leader(one, k) for k in columns)] for one in found]
    shared = {problem.name for problem in plan.problems if len(plan.contenders_on(problem)) == len(plan.contenders)}
    of_all = [one for one in found if one.problem in shared]
    if len(of_all) > 1:
        name = "all problems" if len(shared) == len(plan.problems) else "problems that all ran on"
        rows.append([f"{name}, mean probability", *(_leader_of_all(of_all, k) for k in columns)])
    return Section(title, text, Table(["problem", *(f"{k} points" if k > 1 else "1 point" for k in columns)], rows))


def _leader(one: Leaders, k: int) -> str:
    if k not in one.points:
        return numbers.NOTHING
    chances = dict(zip(one.contenders, one.probability[one.points.index(k)], strict=True))
    return _first(chances, with_chance=k < one.all_points)


def _leader_of_all(found: Sequence[Leaders], k: int) -> str:
    chances: dict[str, float] = {}
    for one in found:
        if k not in one.points or k == one.all_points:
            return numbers.NOTHING
        of_one = one.probability[one.points.index(k)]
        for label, chance in zip(one.contenders, of_one, strict=True):
            chances[label] = chances.get(label, 0.0) + float(chance) / len(found)
    return _first(chances)


def _first(chances: Mapping[str, float], *, with_chance: bool = True) -> str:
    """The most probable one, or all of them that are, and how probable."""
    most = max(chances.values())
    names = " = ".join(label for label, chance in chances.items() if math.isclose(chance, most, abs_tol=1e-9))
    return f"{names} {numbers.share(most)}" if with_chance else names


def _widths(summary: Summary) -> Section:
    """One row a hyperparameter of a contender, one column a problem."""
    found = [
        width
        for comparison in summary.comparisons
        for width in tuning_curves.widths(summary.plan, comparison.problem_results)
    ]
    studies = ", over the points of all studies" if summary.plan.tuner.studies > 1 else ""
    text = (
        f"Decades from the least to the greatest value that scored within {100 * TOLERANCE:.0f}{PERCENT} of the best "
        f"point{studies}; the interval's upper end is what so few points can have missed, if good settings fill an "
        "ellipsoid. Noise in scores is not in it. ≥: good up to the edge of the space. Too few: fewer than "
        f"{FEWEST_GOOD} of the points are good.{SAME_MEDIAN if studies else ''}"
    )
    names = list(dict.fromkeys(width.problem for width in found))
    cells: dict[tuple[str, str], dict[str, Width]] = {}
    for width in found:
        cells.setdefault((width.contender, width.hyperparameter), {})[width.problem] = width
    rows = []
    for (contender, name), by_problem in cells.items():
        row = [
            contender,
            name,
            *(_width(by_problem[each]) if each in by_problem else numbers.NOTHING for each in names),
        ]
        known = [width.decades.estimate for width in by_problem.values() if not np.isnan(width.decades.estimate)]
        middle = (
            f"{numbers.number(float(np.median(known)))}{NO_BREAK}({len(known)}/{len(names)})"
            if known
            else numbers.NOTHING
        )
        rows.append([*row, middle] if len(names) > 1 else row)
    header = ["optimizer", "hyperparameter", *names, *(["median"] if len(names) > 1 else [])]
    title = f"How exactly a hyperparameter has to be hit: decades within {100 * TOLERANCE:.0f}{PERCENT} of the best"
    return Section(title, text, Table(header, rows))


def _width(width: Width) -> str:
    if np.isnan(width.decades.estimate):
        return f"too{NO_BREAK}few ({width.found.good}/{width.points})"
    return ("≥" if width.found.open_low or width.found.open_high else "") + numbers.interval(width.decades)


def _ordered(found: Overview) -> list[str]:
    return [found.contenders[index] for index in found.order]


def _interval(value: Interval) -> str:
    if math.isnan(value.estimate):
        return numbers.NOTHING
    return f"{value.estimate:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _compared(p_value: float) -> str:
    text = numbers.p_value(p_value)
    return text if text.startswith("<") else f"= {text}"
