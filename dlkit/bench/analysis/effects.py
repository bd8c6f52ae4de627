"""Effects of factors: a level against another over contenders that differ in nothing else, paired by seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import ALPHA, LEVEL
from dlkit.bench.plan.plan import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE, level_name
from dlkit.bench.stats import Interval, PairedDifference, holm, paired_difference

__all__ = ["Effect", "effects", "sentence"]

Floats = np.ndarray[Any, Any]


class Effect(NamedTuple):
    """A level of a factor against another one, on one problem.

    Attributes:
        factor: which: the optimizer, the schedule, the batch size or a choice of the problem.
        level: whose effect it is.
        baseline: the level it is compared with: the first contender's.
        pairs: how many pairs of contenders have the two levels and are otherwise alike.
        agreeing: in how many of them the median difference of the final scores has the sign of `final`.
        final: `level - baseline` in the final score, oriented: lower is better. Of a seed, the mean over the pairs.
        ratio: of the steps to the hardest target, `level / baseline`; below 1 is sooner. Of a seed, the median over the
            pairs; two that both miss the target are equally fast. NaN where there is no target, and with schedules or
            trials that were cut off: curves do not compare before the last step then.
        final_p: of the paired test, Holm-adjusted over all that is compared on the problem.
        ratio_p: the same of the steps; 1 where there is no ratio.
    """

    factor: str
    level: str
    baseline: str
    pairs: int
    agreeing: int
    final: PairedDifference
    ratio: Interval
    final_p: float
    ratio_p: float

    @property
    def differs(self) -> bool:
        """Whether the final scores differ beyond chance."""
        return self.final_p <= ALPHA and self.final.estimate != 0

    @property
    def is_faster(self) -> bool:
        """Whether one level reaches the target sooner, beyond chance."""
        return self.ratio_p <= ALPHA and self.ratio.estimate != 1


def effects(
    problem: PlannedProblem, contenders: Sequence[PlannedContender], results: Sequence[ContenderResult]
) -> list[Effect]:
    """Compares the levels of every factor on one problem.

    Args:
        problem: which.
        contenders: in the order of the plan; the first has the levels that the others are compared with.
        results: of the problem; those that are incomplete are left out.

    Returns:
        An effect a level, in the order of the factors; none where the optimizer is the only factor.
    """
    complete = {each.label: each for each in results if each.is_comparable}
    levels = {each.label: _levels(problem, each, contenders) for each in contenders}
    factors = [name for name in levels[contenders[0].label] if len({each[name] for each in levels.values()}) > 1]
    if factors in ([], ["optimizer"]):
        return []
    found = []
    for factor in factors:
        baseline = levels[contenders[0].label][factor]
        for name in dict.fromkeys(each[factor] for each in levels.values()):
            pairs = _pairs(levels, complete, factor, name, baseline) if name != baseline else []
            if pairs:
                found.append(_effect(factor, name, baseline, pairs))
    if not found:
        return []
    adjusted = holm([p for each in found for p in (each.final_p, each.ratio_p)]).reshape(-1, 2)
    return [each._replace(final_p=float(a), ratio_p=float(b)) for each, (a, b) in zip(found, adjusted, strict=True)]


def _levels(
    problem: PlannedProblem, contender: PlannedContender, contenders: Sequence[PlannedContender]
) -> dict[str, str]:
    """Factor -> level, with the problem's own where a contender sets none."""
    own = {"schedule": CONSTANT_SCHEDULE, "batch_size": level_name(problem.batch_size or "full")}
    own |= {name: level_name(value) for name, value in problem.choices.items()}
    names = dict.fromkeys(name for each in contenders for name in each.levels)
    return {name: contender.levels.get(name, own.get(name, "")) for name in names}


def _pairs(
    levels: Mapping[str, Mapping[str, str]],
    complete: Mapping[str, ContenderResult],
    factor: str,
    name: str,
    baseline: str,
) -> list[tuple[ContenderResult, ContenderResult]]:
    """Contenders that have a level and its baseline, and are otherwise alike."""

    def by_the_rest(wanted: str) -> dict[tuple[str, ...], ContenderResult]:
        return {
            tuple(value for key, value in levels[label].items() if key != factor): result
            for label, result in complete.items()
            if levels[label][factor] == wanted
        }

    ours, theirs = by_the_rest(name), by_the_rest(baseline)
    return [(result, theirs[rest]) for rest, result in ours.items() if rest in theirs]


def _effect(factor: str, name: str, baseline: str, pairs: Sequence[tuple[ContenderResult, ContenderResult]]) -> Effect:
    """Compares two levels on the seeds that were planned."""
    ours, theirs = (np.mean([pair[side].planned(pair[side].blocks) for pair in pairs], axis=0) for side in (0, 1))
    final = paired_difference(ours, theirs, level=LEVEL)
    each = [paired_difference(a.planned(a.blocks), b.planned(b.blocks), level=LEVEL) for a, b in pairs]
    steps = _steps(pairs)
    ratio = Interval(*(numbers.power_of_two(bound) if steps else math.nan for bound in (steps or final)[:3]))
    return Effect(
        factor,
        name,
        baseline,
        len(pairs),
        sum(int(np.sign(one.estimate) == np.sign(final.estimate)) for one in each),
        final,
        ratio,
        final.p_value,
        steps.p_value if steps else 1.0,
    )


def _steps(pairs: Sequence[tuple[ContenderResult, ContenderResult]]) -> PairedDifference | None:
    """The difference of log2 steps to the target, of a seed the median over the pairs; None where there is none."""
    logs = []
    for a, b in pairs:
        if a.log_steps is None or b.log_steps is None:
            return None
        with np.errstate(invalid="ignore"):
            logs.append(_or_equal(a.planned(a.log_steps.values) - b.planned(b.log_steps.values)))
    ordered = np.sort(logs, axis=0)
    if not np.isfinite(ordered).any():
        return None
    with np.errstate(invalid="ignore"):
        middle = 0.5 * ordered[(len(pairs) - 1) // 2] + 0.5 * ordered[len(pairs) // 2]
    return paired_difference(_or_equal(middle), np.zeros(len(middle)), level=LEVEL)


def _or_equal(differences: Floats) -> Floats:
    """Differences of what may be infinite: two of the same infinity are equal."""
    return np.where(np.isnan(differences), 0.0, differences)


def sentence(problem: PlannedProblem, effect: Effect, target: float) -> str:
    """Returns what an effect comes to, with its numbers.

    Args:
        problem: where.
        effect: which.
        target: what steps were counted to.
    """
    what = f"{effect.factor}: {effect.level}"
    metric = problem.judged.label or problem.metric
    findings = []
    if effect.is_faster:
        sooner = effect.ratio.estimate < 1
        bounds = [1 / bound if bound else math.inf for bound in effect.ratio] if sooner else list(effect.ratio)
        times = f"{numbers.TIMES}{numbers.number(bounds[0])}"
        low, high = sorted(bounds[1:])
        pace = "sooner" if sooner else "later"
        findings.append(
            f"reaches {numbers.number(target)} {times} {pace} [{numbers.number(low)}, {numbers.number(high)}]"
        )
    if effect.differs:
        ends = "better" if effect.final.estimate < 0 else "worse"
        findings.append(f"ends {ends}, by {numbers.difference(problem, effect.final)} in {metric}")
    if not findings:
        return f"{what} and {effect.baseline} cannot be told apart{_over(effect)}."
    return f"{what}, against {effect.baseline}, {' and '.join(findings)}{_over(effect)}."


def _over(effect: Effect) -> str:
    if effect.pairs == 1:
        return ""
    agreeing = f"; {effect.agreeing} of them agree on which ends better" if effect.differs else ""
    return f" (over {effect.pairs} pairs of contenders{agreeing})"
