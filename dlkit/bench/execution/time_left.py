"""How long a run goes on: by the seconds that its own trials took, contender by contender."""

import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Estimate", "TimeLeft"]

SHORT = 10.0  # seconds: what a contender needs alone is shared among free workers where it is more


class Estimate(NamedTuple):
    """How long a run goes on.

    Attributes:
        seconds: until its last trial ends; NaN before the first has ended.
        is_guess: whether trials are among them of problems of which none has ended.
    """

    seconds: float
    is_guess: bool


class TimeLeft:
    """What trials took so far, and how many are left.

    A contender's trials are taken to last as long as its own did; where none has ended, as long as those of others on
    its problem, and else as those of the other problems: longer by as much as is usual, where that is known. Who has
    not begun takes as long to get ready as the others did. Workers share what is left.

    Attributes:
        workers: how many there are.
        weights: problem -> seconds that a trial usually takes, for their ratios.
    """

    def __init__(self) -> None:
        self.workers = 1
        self.weights: Mapping[str, float] = {}
        self._left: dict[str, int] = {}
        self._trained: dict[str, tuple[float, int]] = {}  # label -> seconds, trials
        self._prepared: dict[str, float] = {}  # label -> seconds that were no training

    def expect(self, label: str, trials: int) -> None:
        """So many trials are left of a contender on a problem, ``"problem / contender"``."""
        self._left[label] = trials

    def took(self, label: str, trials: int, seconds: float, training: float) -> None:
        """Some trials of it have ended; what is not expected, such as a look at stored trials, tells nothing.

        Args:
            label: of the contender on the problem.
            trials: how many.
            seconds: they took one worker.
            training: of these; the others go to compiling, and to getting ready.
        """
        if label not in self._left:
            return
        spent, count = self._trained.get(label, (0.0, 0))
        self._trained[label] = (spent + training, count + trials)
        self._prepared[label] = self._prepared.get(label, 0.0) + max(seconds - training, 0.0)

    def estimate(self) -> Estimate:
        """Returns how long it goes on."""
        paces = {label: spent / count for label, (spent, count) in self._trained.items() if count}
        if not paces:
            return Estimate(math.nan, is_guess=True)
        by_problem: dict[str, list[float]] = {}
        for label, pace in paces.items():
            by_problem.setdefault(_problem(label), []).append(pace)
        usual = {problem: _mean(each) for problem, each in by_problem.items()}
        preparing = _mean(list(self._prepared.values()))
        spans, is_guess = [], False
        for label, trials in self._left.items():
            if trials < 1:
                continue
            problem = _problem(label)
            is_guess |= problem not in usual
            first = 0.0 if label in self._prepared else preparing
            pace = paces.get(label) or usual.get(problem) or self._guess(problem, usual)
            spans.append(trials * pace + first)
        shared = sum(spans) / max(self.workers, 1)
        return Estimate(max(shared, min(max(spans, default=0.0), SHORT)), is_guess)

    def pace(self, label: str) -> float:
        """Returns the seconds that a trial of a contender on a problem takes, as far as they can be known; else NaN."""
        spent, count = self._trained.get(label, (0.0, 0))
        if count:
            return spent / count
        problem = _problem(label)
        alike = [spent / count for name, (spent, count) in self._trained.items() if count and _problem(name) == problem]
        return _mean(alike) if alike else self.weights.get(problem, math.nan)

    def span(self, label: str, trials: int) -> float:
        """Returns the seconds that some trials take one worker, with what it needs to get ready; infinite if unknown.

        Args:
            label: of the contender on the problem.
            trials: how many are left of it.
        """
        pace = self.pace(label)
        if math.isnan(pace):
            return math.inf
        preparing = 0.0 if label in self._prepared or not self._prepared else _mean(list(self._prepared.values()))
        return trials * pace + preparing

    def _guess(self, problem: str, usual: Mapping[str, float]) -> float:
        """Seconds of a trial on a problem of which none has ended, by the others'."""
        shares = [usual[name] / weight for name, weight in self.weights.items() if name in usual and weight > 0]
        if problem in self.weights and shares:
            return self.weights[problem] * _mean(shares)
        return _mean(list(usual.values()))


def _problem(label: str) -> str:
    return label.partition(" / ")[0]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
