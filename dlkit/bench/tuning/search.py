"""What tuning tries next: points, and the rungs of successive halving.

Everything follows from the plan, the points drawn so far and the outcomes so far. So a run that was killed goes on as
if it had not been.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.orientation import final_value, oriented
from dlkit.bench.plan.plan import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand, optuna_points

__all__ = ["MOST_POINTS", "Rung", "Search", "next_points", "search"]

MOST_POINTS = 1000  # that a study draws within its seconds, however soon they diverge

Floats = np.ndarray[Any, Any]


class Rung(NamedTuple):
    """Points that are trained equally long: all of them, or those that successive halving kept.

    Attributes:
        places: which of the points.
        trials: one row a point, one column a tuning seed.
        scores: [points] as in `Tuning.scores`.
        missing: [points] how many trials of each have not run.
        until: the evaluation they end at; None for the last one.
    """

    places: Sequence[int]
    trials: Sequence[Sequence[Trial]]
    scores: Floats
    missing: np.ndarray[Any, np.dtype[np.int64]]
    until: int | None


class Search(NamedTuple):
    """How far a study of a contender on a problem has come.

    Attributes:
        points: what has been drawn.
        rungs: what is trained, as far as the outcomes tell; without successive halving, one rung.
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
    go on, a point of which a seed diverged never does.

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
        rungs.append(_rung(problem, places, rows, history.outcomes, until))
        following = lengths[position + 1 :]
        if rungs[-1].missing.any():
            later += sum(size for size, _ in following) * plan.tuning_seeds
            break
        if following:
            order = np.argsort(rungs[-1].scores, kind="stable")
            kept = [places[place] for place in order[: following[0][0]] if np.isfinite(rungs[-1].scores[place])]
            places = sorted(kept)
    return Search(points, rungs, wanted, later)


def _rung(
    problem: PlannedProblem,
    places: Sequence[int],
    rows: Sequence[Sequence[Trial]],
    outcomes: Mapping[str, Outcome],
    until: int | None,
) -> Rung:
    found = [[outcomes.get(trial.id) for trial in row] for row in rows]
    missing = np.array([sum(outcome is None for outcome in row) for row in found], np.int64)
    return Rung(places, rows, _mean_scores(problem, found), missing, until)


def _mean_scores(problem: PlannedProblem, rows: Sequence[Sequence[Outcome | None]]) -> Floats:
    """[rows] The mean over a row's outcomes, oriented; +inf where one is missing or diverged."""
    if not rows:
        return np.zeros(0)
    finals = [[final_value(outcome, problem.metric) for outcome in row] for row in rows]
    scores: Floats = oriented(problem, problem.metric, finals).mean(axis=1, dtype=np.float64)
    return scores


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
    batch = tuner.batch if tuner.name == "optuna" else 1
    if contender.undrawn is not None:
        left = max(contender.undrawn - len(points), 0)
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
    count = before + found.wanted
    return beforehand(plan.tuner.name, contender.space, contender.static, count, seed=seed)[before:]
