"""What levels of factors do: effects that all pairs of contenders share, and how they depend on other factors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.factor_pairs import (
    LevelPairs,
    Match,
    contrasts,
    groups,
    level_pairs,
    mean_over_pairs,
    weighed_sum,
)
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, ROUNDING
from dlkit.bench.plan.orientation import EXACT, Floored, floored
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.stats import PairedDifference, family_p_values, paired_difference

__all__ = ["Claim", "Effect", "Interaction", "Measured", "Shift", "effects"]

Claim = Literal["main effect", "interaction", "crossing", ""]
Floats = np.ndarray[Any, Any]


class Shift(NamedTuple):
    """How far a level moves a quantity from where the baseline's is, over some pairs of contenders.

    Attributes:
        difference: level less baseline, oriented: lower is better. Of a block, the mean over the pairs.
        adjusted_p: the larger one of its own p-value and of the family's.
        pairs: how many pairs of contenders have the two levels and are otherwise alike.
        agreeing: in how many of them the estimate has the sign of `difference`.
        doubtful: labels of contenders that lost, and that better tuning could bring up to the other of their pair.
        is_settled: whether the difference is beyond chance, by its own test, without the pairs of these.
        ends: in which directions the difference is a bound only, since a final score is at the metric's floor.
    """

    difference: PairedDifference
    adjusted_p: float
    pairs: int
    agreeing: int
    doubtful: tuple[str, ...]
    is_settled: bool
    ends: Floored = EXACT

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the mean over the pairs differs beyond chance."""
        return self.adjusted_p <= ALPHA and self.difference.estimate != 0

    @property
    def is_shared(self) -> bool:
        """Whether it is beyond chance, and all pairs agree."""
        return self.is_beyond_chance and self.agreeing == self.pairs


class Interaction(NamedTuple):
    """How what a level does depends on another factor.

    Attributes:
        factor: the other one.
        level: of the other one; with it the effect stands out most.
        contrast: the effect with that level, less the mean effect with the other ones.
        adjusted_p: of the contrast, the larger one of its own p-value and of the family's.
        shifts: level of the other factor -> what the level in question does with it. Their p-values are adjusted over
            those of all interactions.
        doubtful: labels of contenders that better tuning could move by as much as the contrast.
    """

    factor: str
    level: str
    contrast: PairedDifference
    adjusted_p: float
    shifts: Mapping[str, Shift]
    doubtful: tuple[str, ...]

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the effect depends on the other factor beyond chance."""
        return self.adjusted_p <= ALPHA and self.contrast.estimate != 0

    @property
    def is_crossing(self) -> bool:
        """Whether the level helps with one level of the other factor and harms with another, both beyond chance."""
        return self.is_beyond_chance and all(self._told(sign) for sign in (-1, 1))

    @property
    def is_settled(self) -> bool:
        """Whether it does not rest on contenders whose tuning is doubtful."""
        if self.is_crossing:
            return all(any(each.is_settled for each in self._told(sign)) for sign in (-1, 1))
        return not self.doubtful

    def _told(self, sign: int) -> list[Shift]:
        shifts = self.shifts.values()
        return [each for each in shifts if each.is_shared and np.sign(each.difference.estimate) == sign]


class Measured(NamedTuple):
    """What a level does to one quantity.

    Attributes:
        overall: over all pairs of contenders.
        interactions: one for each other factor in which pairs differ.
    """

    overall: Shift
    interactions: tuple[Interaction, ...]

    @property
    def told(self) -> list[Interaction]:
        """The interactions beyond chance."""
        return [each for each in self.interactions if each.is_beyond_chance]

    @property
    def claim(self) -> Claim:
        """What there is to tell: a main effect only where all pairs agree.

        Where the effect depends on another factor, estimates of one sign are not enough: it must be beyond chance with
        each level of that factor.
        """
        if self.overall.is_shared and all(part.is_shared for each in self.told for part in each.shifts.values()):
            return "main effect"
        if self.told:
            return "crossing" if any(each.is_crossing for each in self.told) else "interaction"
        return ""

    @property
    def is_settled(self) -> bool:
        """Whether there is something to tell, and it does not rest on contenders whose tuning is doubtful."""
        if self.claim == "main effect":
            return self.overall.is_settled
        return any(each.is_settled for each in self.told)


class Effect(NamedTuple):
    """A level of a factor against another one, on one problem.

    Attributes:
        factor: which: the optimizer, the schedule, the batch size or a choice of the problem.
        level: whose effect it is.
        baseline: the level it is compared with: the first contender's.
        blocks: how many there are of each contender.
        about: whether blocks are studies, so that what is said is about ``"methods"``, or seeds of the ``"settings"``
            that one study found.
        final: in the final score.
        steps: in log2 of the steps to the hardest target; two that both miss it are equally fast. None where there is
            no target, and with schedules or trials that were cut off: curves do not compare before the last step then.
    """

    factor: str
    level: str
    baseline: str
    blocks: int
    about: Literal["methods", "settings"]
    final: Measured
    steps: Measured | None


def effects(
    problem: PlannedProblem, contenders: Sequence[PlannedContender], results: Sequence[ContenderResult]
) -> list[Effect]:
    """Compares the levels of every factor on one problem, block by block.

    Every level is compared with the first contender's over all pairs of contenders that differ in nothing else. For
    each quantity, all levels and the contrasts of their pairs are one family.

    Args:
        problem: which.
        contenders: in the order of the plan; the first has the levels that the others are compared with.
        results: of the problem; those that are incomplete are left out.

    Returns:
        An effect a level, in the order of the factors; none where the optimizer is the only factor.
    """
    compared = level_pairs(problem, contenders, results)
    finals = _measure(compared, _final, floors=problem)
    with_steps = [each for each in compared if _has_steps(each.matches)]
    steps = dict(zip([each[:2] for each in with_steps], _measure(with_steps, _log_steps), strict=True))
    found = []
    for each, final in zip(compared, finals, strict=True):
        first = each.matches[0].ours
        about: Literal["methods", "settings"] = "methods" if first.repeats_tuning else "settings"
        found.append(Effect(*each[:3], len(_final(first)), about, final, steps.get(each[:2])))
    return found


def _final(result: ContenderResult) -> Floats:
    return result.planned(result.blocks)


def _log_steps(result: ContenderResult) -> Floats:
    assert result.log_steps is not None
    return result.planned(result.log_steps.values)


def _has_steps(matches: Sequence[Match]) -> bool:
    """Whether curves compare before the last step, and anyone reaches the target."""
    sides = [side for match in matches for side in match.sides]
    if any(side.log_steps is None for side in sides):
        return False
    return any(bool(np.isfinite(_log_steps(side)).any()) for side in sides)


class _Compared(NamedTuple):
    """A quantity of the pairs of one level.

    Attributes:
        matches: the pairs.
        table: [pairs, blocks] differences; NaN for two of the same infinity.
        sizes: [blocks] the largest finite value that they were taken of.
        singles: [pairs] the test of each pair by itself.
        of_scores: whether it is the score that tuning goes by, so that tuning points tell what better tuning gains.
        ends: [pairs] in which directions the differences of each are bounds.
    """

    matches: Sequence[Match]
    table: Floats
    sizes: Floats
    singles: Sequence[PairedDifference]
    of_scores: bool
    ends: Sequence[Floored]


_Key = tuple[int, str, str]  # place of a level, another factor, its level; of a level on the whole both are empty
_Tests = Mapping[_Key, tuple[PairedDifference, float]]


class _Row(NamedTuple):
    """A weighed sum of pairs.

    Attributes:
        differences: [blocks].
        spread: how much they vary, where those of single pairs vary by 1: the norm of the weights.
    """

    differences: Floats
    spread: float


def _measure(
    levels: Sequence[LevelPairs], quantity: Callable[[ContenderResult], Floats], *, floors: PlannedProblem | None = None
) -> list[Measured]:
    """Tests one quantity of all levels: what each does on the whole, and how that depends on the other factors.

    `floors` is the problem where the quantity is its score, whose floor makes differences bounds.
    """
    every = [_compare(each.matches, quantity, floors) for each in levels]
    rows = {(place, "", ""): _mean(each.table) for place, each in enumerate(every)}
    parts: dict[_Key, _Row] = {}
    for place, each in enumerate(every):
        for other, of_levels in groups(each.matches).items():
            for level, weights in contrasts(each.matches, other).items():
                total = weighed_sum(each.table, weights, each.sizes)
                rows[place, other, level] = _Row(total, float(np.linalg.norm(weights)))
            parts |= {(place, other, level): _mean(each.table[at]) for level, at in of_levels.items()}
    tests, own = _tests(rows), _tests(parts)
    return [_measured(place, each, tests, own) for place, each in enumerate(every)]


def _mean(table: Floats) -> _Row:
    return _Row(mean_over_pairs(table), len(table) ** -0.5)


def _compare(
    matches: Sequence[Match], quantity: Callable[[ContenderResult], Floats], floors: PlannedProblem | None
) -> _Compared:
    ours, theirs = (np.stack([quantity(match.sides[side]) for match in matches]) for side in (0, 1))
    with np.errstate(invalid="ignore"):
        table: Floats = ours - theirs
        table[np.isfinite(table) & (np.abs(table) <= ROUNDING * (np.abs(ours) + np.abs(theirs)))] = 0.0
    values = np.abs(np.concatenate([ours, theirs]))
    sizes = np.max(values, axis=0, where=np.isfinite(values), initial=0.0)
    singles = [_test(mean_over_pairs(row[None])) for row in table]
    ends = [_ends(floors, match) if floors else EXACT for match in matches]
    return _Compared(matches, table, sizes, singles, floors is not None, ends)


def _ends(problem: PlannedProblem, match: Match) -> Floored:
    """In which directions the differences of a pair's final scores are bounds."""
    differ = _final(match.ours) != _final(match.theirs)
    return floored(problem, *(side.planned(side.at_floor) for side in match.sides), differ=differ)


def _tests(rows: Mapping[_Key, _Row]) -> _Tests:
    """Tests each row by itself, and as one of the family of all rows.

    The family's statistics share a part of the usual row's spread: rows are brought to the spread of a single pair.
    """
    singles = {key: _test(row.differences) for key, row in rows.items()}
    scaled = [row.differences / row.spread for row in rows.values()]
    family = family_p_values(np.stack(scaled)) if len(rows) > 1 else [0.0] * len(rows)
    return {
        key: (single, max(single.p_value, float(p))) for (key, single), p in zip(singles.items(), family, strict=True)
    }


def _test(differences: Floats) -> PairedDifference:
    return paired_difference(differences, np.zeros(len(differences)), level=LEVEL)


def _measured(place: int, compared: _Compared, tests: _Tests, own: _Tests) -> Measured:
    """Puts together what was tested of one level."""
    overall = _shift(compared, list(range(len(compared.matches))), *tests[place, "", ""])
    interactions = []
    for other, of_levels in groups(compared.matches).items():
        held = [level for level in of_levels if (place, other, level) in tests]
        if not held:
            continue
        level = min(held, key=lambda level: tests[place, other, level][1])
        contrast, p_value = tests[place, other, level]
        shifts = {name: _shift(compared, places, *own[place, other, name]) for name, places in of_levels.items()}
        sides = [side for match in compared.matches for side in match.sides]
        doubtful = _labels(side for side in sides if _could_gain(side, _least(contrast), compared.of_scores))
        interactions.append(Interaction(other, level, contrast, p_value, shifts, doubtful))
    return Measured(overall, tuple(interactions))


def _shift(compared: _Compared, places: Sequence[int], difference: PairedDifference, adjusted_p: float) -> Shift:
    """What a level does over some of its pairs, how many agree, and whether it rests on doubtful tuning."""
    sign = np.sign(difference.estimate)
    singles = [compared.singles[place] for place in places]
    losers = [compared.matches[place].sides[0 if sign > 0 else 1] for place in places]
    gaps = [single.low if sign > 0 else -single.high for single in singles]
    doubted = [_could_gain(loser, gap, compared.of_scores) for loser, gap in zip(losers, gaps, strict=True)]
    clean = [place for place, is_doubtful in zip(places, doubted, strict=True) if not is_doubtful]
    is_settled = bool(clean)
    if clean and len(clean) < len(places):
        rest = _test(mean_over_pairs(compared.table[clean]))
        is_settled = bool(rest.p_value <= ALPHA and np.sign(rest.estimate) == sign)
    return Shift(
        difference,
        adjusted_p,
        len(places),
        sum(bool(np.sign(single.estimate) == sign) for single in singles),
        _labels(loser for loser, is_doubtful in zip(losers, doubted, strict=True) if is_doubtful),
        is_settled,
        Floored(*(any(compared.ends[place][side] for place in places) for side in (0, 1))),
    )


def _could_gain(result: ContenderResult, gap: float, of_scores: bool) -> bool:
    """Whether better tuning of a contender could gain a gap, as far as its points tell.

    Points are scored by the end of training, so that they tell nothing of steps to a target.
    """
    return result.could_gain(gap) if of_scores else bool(result.flags)


def _least(difference: PairedDifference) -> float:
    """How large a difference is at least: 0 where its sign is open."""
    return max(difference.low, -difference.high, 0.0)


def _labels(results: Iterable[ContenderResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.label for each in results))
