"""A plan with the outcomes so far and the points drawn on the way: what every function of tuning starts from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial

__all__ = ["History"]

Answer = TypeVar("Answer")
Cell = tuple[int, int, int]  # a study of a contender on a problem


class History:
    """A plan, the outcomes so far, and the points drawn while it ran.

    Outcomes and points are added through `add` and `draw` alone, so the history knows which of its answers still hold:

    - Trials follow from the plan. They are hashed once.
    - What `answer` computed of a study depends on the outcomes of trials and on points that were asked for with that
      study. It is dropped as soon as one of those is added: a run of many studies pays for those that change.

    Problems, contenders and points are told apart as objects, not by their values: 1, 1.0 and True are equal in Python
    and make three different trials. An equal object is not mixed up with another one; it costs its own hashes.

    Attributes:
        plan: the plan. It never changes: `with_plan` gives another history.
    """

    def __init__(
        self,
        plan: Plan,
        outcomes: Mapping[str, Outcome] | None = None,
        drawn: Mapping[str, Sequence[Point]] | None = None,
    ) -> None:
        """Starts a history; the mappings are copied.

        Args:
            plan: the plan.
            outcomes: trial id -> outcome. Those of other plans do no harm.
            drawn: `Plan.search_key` -> the points drawn while the plan ran, in order.
        """
        self.plan = plan
        self._outcomes: dict[str, Outcome] = dict(outcomes or {})
        self._drawn: dict[str, list[Point]] = {key: list(points) for key, points in (drawn or {}).items()}
        self._search_keys: dict[tuple[int, int, int], str] = {}
        self._trials: dict[tuple[str, int, int, int, int | None, bool], dict[int, Sequence[Trial]]] = {}
        self._answers: dict[Cell, dict[Any, Any]] = {}
        self._asked: dict[str, tuple[Cell, ...]] = {}  # id of a trial, or search key -> who may have looked at it
        self._alive: dict[int, object] = {}

    def with_plan(self, plan: Plan) -> "History":
        """Returns a history of another plan with the same outcomes and points."""
        return History(plan, self._outcomes, self._drawn)

    # --- what was added ---

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Trial id -> outcome, to be read only."""
        return MappingProxyType(self._outcomes)

    def found(self, trials: Iterable[Trial]) -> list[Outcome | None]:
        """Returns what came of trials, in order; None for those that have not run."""
        return list(map(self._outcomes.get, [trial.id for trial in trials]))

    @property
    def has_begun(self) -> bool:
        """Whether there are outcomes or points drawn while it ran, be they of other plans."""
        return bool(self._outcomes or self._drawn)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Adds outcomes; one of a trial that has an outcome replaces it."""
        for outcome in outcomes:
            self._outcomes[outcome.trial.id] = outcome
            self._forget(outcome.trial.id)

    def draw(self, key: str, points: Iterable[Point]) -> None:
        """Adds points that were drawn.

        Args:
            key: what they were drawn for, as `search_key` calls it.
            points: they come after those drawn before.
        """
        self._drawn.setdefault(key, []).extend(points)
        self._forget(key)

    def drawn(self, problem: PlannedProblem, contender: PlannedContender, study: int) -> Sequence[Point]:
        """Returns the points that a study drew while it ran, in order."""
        return tuple(self._drawn.get(self.search_key(problem, contender, study), ()))

    # --- what follows from the plan ---

    def search_key(self, problem: PlannedProblem, contender: PlannedContender, study: int) -> str:
        """Returns `Plan.search_key`."""
        key = (self._id(problem), self._id(contender), study)
        if key not in self._search_keys:
            self._search_keys[key] = self.plan.search_key(problem, contender, study)
            self._remember([self._search_keys[key]], key)
        return self._search_keys[key]

    def tuning_trials(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        points: Sequence[Point],
        *,
        study: int = 0,
        until: int | None = None,
        again: bool = False,
    ) -> list[Sequence[Trial]]:
        """Returns `Plan.tuning_trials`: one row a point, one column a seed."""
        cell = (self._id(problem), self._id(contender), study)
        known = self._trials.setdefault(("tuning", *cell, until, again), {})
        new = [point for point in points if id(point) not in known]
        if new:
            rows = self.plan.tuning_trials(problem, contender, new, study=study, until=until, again=again)
            known.update((self._id(point), tuple(row)) for point, row in zip(new, rows, strict=True))
            self._remember([trial.id for row in rows for trial in row], cell)
        return [known[id(point)] for point in points]

    def final_trials(
        self, problem: PlannedProblem, contender: PlannedContender, winner: Point, *, study: int = 0
    ) -> Sequence[Trial]:
        """Returns `Plan.final_trials`, in seed order."""
        cell = (self._id(problem), self._id(contender), study)
        known = self._trials.setdefault(("final", *cell, None, False), {})
        if id(winner) not in known:
            known[self._id(winner)] = trials = tuple(self.plan.final_trials(problem, contender, winner, study=study))
            self._remember([trial.id for trial in trials], cell)
        return known[id(winner)]

    def reruns(self, problem: PlannedProblem, baseline: PlannedContender, winner: Point) -> Sequence[Trial]:
        """Returns `Plan.reruns`, in seed order."""
        known = self._trials.setdefault(("target", self._id(problem), self._id(baseline), 0, None, False), {})
        if id(winner) not in known:
            known[self._id(winner)] = tuple(self.plan.reruns(problem, baseline, winner))
        return known[id(winner)]

    # --- what follows from the plan and what was added ---

    def answer(
        self,
        question: Callable[["History", PlannedProblem, PlannedContender, int], Answer],
        problem: PlannedProblem,
        contender: PlannedContender,
        study: int,
    ) -> Answer:
        """Returns ``question(history, problem, contender, study)``, computed once until something of it is added.

        Args:
            question: a function that depends on its arguments alone: of the history on the plan, on the trials that it
                asks for with this study, and on the points drawn in it. Nobody may change what it returned.
            problem: which.
            contender: which.
            study: which.

        Returns:
            The answer.
        """
        answers = self._answers.setdefault((self._id(problem), self._id(contender), study), {})
        if question not in answers:
            answers[question] = question(self, problem, contender, study)
        found: Answer = answers[question]
        return found

    def _remember(self, names: Iterable[str], cell: Cell) -> None:
        """Keeps who asked for trials, by id, or for a search key: contenders may share them."""
        own = (cell,)
        for name in names:
            asked = self._asked.setdefault(name, own)
            if cell not in asked:
                self._asked[name] = (*asked, cell)

    def _forget(self, name: str) -> None:
        """Drops the answers of who asked for a trial or a search key."""
        for cell in self._asked.get(name, ()):
            self._answers.pop(cell, None)

    def _id(self, thing: object) -> int:
        """What tells an object from all others: it is kept, so that no other one gets its id."""
        self._alive.setdefault(id(thing), thing)
        return id(thing)
