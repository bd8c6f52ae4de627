"""What tuning tries next: points, the rungs of successive halving, and the best points on fresh seeds.

Everything follows from the plan, the points drawn so far and the outcomes so far. So a run that was killed goes on as
if it had not been.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.objective import mean_finals, mean_scores
from dlkit.bench.tuning.sampling import beforehand, optuna_points, spread_first, zoom_points

__all__ = ["MOST_POINTS", "Rung", "Search", "next_points", "search"]

MOST_POINTS = 1000  # that a study draws within its seconds, however soon they diverge

Floats = np.ndarray[Any, Any]


class Rung(NamedTuple):
    """Points that are trained equally long: all of them, those that successive halving kept, or the best once more.

    Attributes:
        places: which of the points.
        trials: one row a point, one column a tuning seed.
        scores: [points] as in `Tuning.scores`.
        finals: [points] as in `Tuning.finals`.
        missing: [points] how many trials of each have not run.
        until: the evaluation they end at; None for the last one.
    """

    places: Sequence[int]
    trials: Sequence[Sequence[Trial]]
    scores: Floats
    finals: Floats
    missing: np.ndarray[Any, np.dtype[np.int64]]
    until: int | None


class Search(NamedTuple):
    """How far a study of a contender on a problem has come.

    Attributes:
        points: what has been drawn.
        rungs: what is trained, as far as the outcomes tell: one rung, more with successive halving, and where a tuner
            scores its best points again, those on fresh seeds.
        wanted: how many points are to be drawn next, once these have run.
        later: how many trials will come after those of the rungs, as far as is known.
    """

    points: Sequence[Point]
    rungs: Sequence[Rung]
    wanted: int
    later: int

    def pending(self, outcomes: Mapping[str, Outcome]) -> list[tuple[Point, Trial]]:
        """Returns the trials that can run now and have not, each with its point."""
        return [
            (self.points[place], trial)
            for rung in self.rungs
            for place, row in zip(rung.places, rung.trials, strict=True)
            for trial in row
            if trial.id not in outcomes
        ]


def search(history: History, problem: PlannedProblem, contender: PlannedContender, *, study: int = 0) -> Search:
    """Returns how far a study has come, from the outcomes so far.

    With successive halving a rung follows from the scores of the one before, once all of its trials have run: the best
    go on, a point of which a seed diverged never does. Where the best points are scored again, that is so once all
    points have run; one that diverges on a fresh seed is out, and if all of them do, the next best ones are scored.

    Args:
        history: the plan and the outcomes so far.
        problem: what is trained.
        contender: by what.
        study: which of the plan's studies.

    Returns:
        The search.
    """
    return history.answer(_search, problem, contender, study)


def _search(history: History, problem: PlannedProblem, contender: PlannedContender, study: int) -> Search:
    plan = history.plan
    drawn_points, wanted, left = _drawn_points(history, problem, contender, study)
    added = plan.added_points(problem, contender, study)
    points = [*drawn_points, *added]
    lengths = plan.tuner.rungs(len(drawn_points), plan.evaluations, added=len(added))
    later = left * plan.tuning_seeds
    rungs: list[Rung] = []
    places: Sequence[int] = range(len(points))
    for position, (_, until) in enumerate(lengths):
        chosen = [points[place] for place in places]
        rows = history.tuning_trials(problem, contender, chosen, study=study, until=until)
        rungs.append(_rung(history, problem, places, rows, until))
        following = lengths[position + 1 :]
        if rungs[-1].missing.any():
            later += sum(size for size, _ in following) * plan.tuning_seeds
            break
        if following:
            order = np.argsort(rungs[-1].scores, kind="stable")
            kept = [places[place] for place in order[: following[0][0]] if np.isfinite(rungs[-1].scores[place])]
            places = sorted(kept)
    found = Search(points, rungs, wanted, later)
    return _scored_again(history, problem, contender, study, found) if plan.tuner.scored_again else found


def _rung(
    history: History,
    problem: PlannedProblem,
    places: Sequence[int],
    rows: Sequence[Sequence[Trial]],
    until: int | None = None,
    before: Sequence[Sequence[Trial]] = (),
) -> Rung:
    """A rung of these trials; scores are means over the trials that its points had before as well."""
    plan = history.plan
    found = [history.found(row) for row in rows]
    missing = np.array([row.count(None) for row in found], np.int64)
    if before:
        found = [[*history.found(row), *more] for row, more in zip(before, found, strict=True)]
    if not any(any(row) for row in found):
        return Rung(places, rows, np.full(len(rows), np.inf), np.full(len(rows), np.inf), missing, until)
    scores = mean_scores(plan, problem, found, until=until)
    finals = scores if plan.tuner.objective == "final" else mean_finals(problem, found)
    return Rung(places, rows, scores, finals, missing, until)


def _scored_again(
    history: History, problem: PlannedProblem, contender: PlannedContender, study: int, found: Search
) -> Search:
    """A search without successive halving, with its best points on fresh seeds: one of these wins."""
    plan, first = history.plan, found.rungs[0]
    group = plan.tuner.scored_again
    if found.later or first.missing.any():
        count = len(found.points) + found.later // plan.tuning_seeds
        return found._replace(later=found.later + (min(group, count) * plan.tuning_seeds if count > 1 else 0))
    order = [place for place in np.argsort(first.scores, kind="stable").tolist() if np.isfinite(first.scores[place])]
    rungs = [first]
    for start in range(0, len(order) if len(order) > 1 else 0, group):
        places = sorted(order[start : start + group])
        points = [found.points[place] for place in places]
        rows = history.tuning_trials(problem, contender, points, study=study, again=True)
        rungs.append(_rung(history, problem, places, rows, before=[first.trials[place] for place in places]))
        if rungs[-1].missing.any() or np.isfinite(rungs[-1].scores).any():
            break
    return found._replace(rungs=rungs)


def _drawn_points(
    history: History, problem: PlannedProblem, contender: PlannedContender, study: int
) -> tuple[Sequence[Point], int, int]:
    """A study's points but for those of expansions, how many it draws next, and how many more at all, if known.

    Where seconds decide, they are added up in the order of the points, so that a smaller budget's points are the first
    of a larger one's.
    """
    if contender.undrawn == 0:
        return contender.points_of(study), 0, 0
    tuner, outcomes = history.plan.tuner, history.outcomes
    points = history.drawn(problem, contender, study)
    batch = tuner.batch if tuner.is_adaptive else 1
    if contender.undrawn is not None:
        left = max(contender.undrawn - len(points), 0)
        if tuner.name == "zoom" and len(points) < spread_first(contender.undrawn):
            batch = spread_first(contender.undrawn) - len(points)
        return points[: contender.undrawn], min(batch, left), left
    budget, spent = tuner.seconds or 0.0, 0.0
    for number, row in enumerate(history.tuning_trials(problem, contender, points[:MOST_POINTS], study=study)):
        if number and number % batch == 0 and spent >= budget:
            return points[:number], 0, 0
        spent += sum(outcomes[trial.id].seconds for trial in row if trial.id in outcomes)
    is_over = bool(points) and (spent >= budget or len(points) >= MOST_POINTS)
    wanted = 0 if is_over else batch
    return points[:MOST_POINTS], wanted, wanted


def next_points(
    history: History, problem: PlannedProblem, contender: PlannedContender, *, study: int = 0
) -> list[Point]:
    """Draws the points that a study tries next, where they could not be drawn before anything ran.

    Args:
        history: as in `search`.
        problem: as in `search`.
        contender: as in `search`.
        study: as in `search`.

    Returns:
        The points, to be put after those drawn before; none if there are enough, or if some of those have not run.
    """
    plan = history.plan
    found = search(history, problem, contender, study=study)
    if not found.wanted or found.rungs[0].missing.any():
        return []
    before = len(found.points) - len(plan.added_points(problem, contender, study))
    told, scores = found.points[:before], found.rungs[0].scores[:before]
    seed = plan.draw_seed(contender, study)
    if plan.tuner.name == "optuna":
        return optuna_points(contender.space, contender.static, told, scores.tolist(), found.wanted, seed=seed)
    if plan.tuner.name == "zoom":
        assert contender.undrawn is not None, "zoom counts its points: half of them are spread"
        count, total = found.wanted, contender.undrawn
        return zoom_points(contender.space, contender.static, told, scores.tolist(), count, total=total, seed=seed)
    count = before + found.wanted
    return beforehand(plan.tuner.name, contender.space, contender.static, count, seed=seed)[before:]
