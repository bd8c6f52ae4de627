"""What levels of factors do, in words: each with its size, its interval, and how many pairs of contenders agree."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.effects import Effect, Interaction, Measured, Shift
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.axes import Axis
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval, fewest_blocks

__all__ = ["sentences", "shown_parts"]

MOST_LISTED = 6  # levels of the other factor in a sentence about an interaction
MOST_NAMED = 2  # contenders whose tuning is doubtful; of more it is said how many


class _Words(NamedTuple):
    """How a difference is told: which way it goes, or its size alone."""

    directed: Callable[[Shift], str]
    plain: Callable[[Shift], str]


def sentences(problem: PlannedProblem, effect: Effect, target: float) -> list[str]:
    """Returns what an effect comes to, with its numbers: first in final values, then in steps to the target.

    A main effect is told only where all pairs of contenders agree, an interaction where it is beyond chance. Where
    neither is, the estimate is told with its interval.

    Args:
        problem: where.
        effect: which.
        target: what steps were counted to.
    """

    def ends(shift: Shift) -> str:
        by = "" if problem.judged.scale == "log" else "by "
        return f"ends {'better' if shift.difference.estimate < 0 else 'worse'}, {by}{_size(problem, shift)}"

    where = numbers.on_these_examples(problem, repeats_tuning=effect.about == "methods")
    opening = f"{effect.factor},{where}: " if where else f"{effect.factor}: "
    opening += "" if effect.about == "methods" else "with the settings found, "
    told = _told(effect, effect.final, _Words(ends, lambda shift: _size(problem, shift)))
    if effect.steps is not None:
        directed = partial(_reaches, _of_factor(effect.factor, effect.baseline), numbers.number(target))
        told += _told(effect, effect.steps, _Words(directed, partial(_ratio, problem.axis)))
    return [f"{opening}{text}" for text in told or [_nothing_told(problem, effect)]]


def shown_parts(interaction: Interaction) -> Sequence[tuple[str, Shift]]:
    """Returns which parts of an interaction its sentence has: of many, those that differ the most surely.

    Args:
        interaction: any.

    Returns:
        (level of the other factor, what the level in question does there), in the order of the levels.
    """
    every = list(interaction.shifts.items())
    if len(every) <= MOST_LISTED:
        return every
    first = sorted(every, key=lambda each: (each[0] != interaction.level, each[1].adjusted_p))[:MOST_LISTED]
    return [each for each in every if each in first]


def _size(problem: PlannedProblem, shift: Shift) -> str:
    """A difference of final scores with its interval: as a ratio, or in the metric's units; it may be a bound."""
    shown = numbers.difference(problem, shift.difference, shift.ends)
    return shown if problem.judged.scale == "log" else f"{shown} in {numbers.metric_label(problem)}"


def _ratio(axis: Axis, shift: Shift) -> str:
    return f"{axis} {numbers.ratio_of_steps(shift.difference)}"


def _reaches(baseline: str, target: str, shift: Shift) -> str:
    """How many times sooner or later it is at the target, whichever it is; or which of the two never is."""
    difference = shift.difference
    if math.isinf(difference.estimate):
        first, second = ("reaches", "misses") if difference.estimate < 0 else ("misses", "reaches")
        return f"mostly {first} {target}, which {baseline} {second}"
    return f"reaches {target} {numbers.sooner(Interval(*difference[:3]))}"


# --- what is beyond chance ---


def _told(effect: Effect, measured: Measured, words: _Words) -> list[str]:
    """What is beyond chance in one quantity."""
    if measured.claim == "main effect":
        return [_main_effect(effect, measured, words)]
    return [_interaction(effect, each, words) for each in measured.told]


def _main_effect(effect: Effect, measured: Measured, words: _Words) -> str:
    overall = measured.overall
    text = f"{effect.level}, against {effect.baseline}, {words.directed(overall)}{_all_agree(overall.pairs)}"
    for each in measured.told:
        parts = "; ".join(f"with {_named(each, level)} {words.plain(part)}" for level, part in shown_parts(each))
        text += f"; how much depends on {each.factor} ({_p_value(each)}): {parts}"
    return f"{text}.{_caution(overall.doubtful, is_settled=overall.is_settled)}"


def _interaction(effect: Effect, interaction: Interaction, words: _Words) -> str:
    """Names the levels of the other factor, and what the level does with each."""
    how = "changes sign" if interaction.is_crossing else "depends"
    kind = "crossing interaction" if interaction.is_crossing else "interaction"
    on = "with" if interaction.is_crossing else "on"
    parts = "; ".join(_part(interaction, level, part, words) for level, part in shown_parts(interaction))
    text = (
        f"the effect of {effect.level}, against {effect.baseline}, {how} {on} {interaction.factor} ({kind}, "
        f"{_p_value(interaction)}): {parts}."
    )
    if interaction.is_crossing:
        doubtful = [label for _, part in shown_parts(interaction) for label in part.doubtful]
        return text if interaction.is_settled else f"{text}{_caution(doubtful, is_settled=False)}"
    return f"{text}{_caution(interaction.doubtful, is_settled=interaction.is_settled)}"


def _part(interaction: Interaction, level: str, shift: Shift, words: _Words) -> str:
    """What a level does with one level of another factor; a direction only where it is beyond chance."""
    with_it, shown = f"with {_named(interaction, level)}", words.plain(shift)
    if shift.is_shared:
        return f"{with_it} it {words.directed(shift)}"
    if shift.is_beyond_chance:
        return f"{with_it} pairs disagree ({shown} on average, {shift.agreeing} of {shift.pairs} of this sign)"
    return f"{with_it} no effect is shown ({shown}, adjusted p {numbers.p_value(shift.adjusted_p)})"


def _named(interaction: Interaction, level: str) -> str:
    """A level of the other factor, with the factor's name where the level alone says little."""
    return _of_factor(interaction.factor, level)


def _of_factor(factor: str, level: str) -> str:
    return level if factor == "optimizer" else f"{factor} = {level}"


def _p_value(interaction: Interaction) -> str:
    return f"adjusted p {numbers.p_value(interaction.adjusted_p)}"


def _all_agree(pairs: int) -> str:
    if pairs == 1:
        return ""
    return f" ({'both' if pairs == 2 else f'all {pairs}'} pairs of contenders agree)"


# --- what is not, or not for sure ---


def _caution(doubtful: Sequence[str], *, is_settled: bool) -> str:
    if not doubtful:
        return ""
    names = f"{_doubted(doubtful)} may be undertuned by that much"
    return f" {names}; without, it is beyond chance, too." if is_settled else f" Not settled: {names}."


def _doubted(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} contenders"


def _nothing_told(problem: PlannedProblem, effect: Effect) -> str:
    """The estimate with its interval, and why no effect is told."""
    overall = effect.final.overall
    shown = _size(problem, overall)
    what, needed = f"{effect.level}, against {effect.baseline}", fewest_blocks(LEVEL)
    if effect.blocks < needed:
        unit = "studies" if effect.about == "methods" else "paired seeds"
        return f"{what}: {shown}; {effect.blocks} {unit} can show no effect, however large; {needed} can."
    agree = "" if overall.pairs == 1 else f", of this sign in {overall.agreeing} of {overall.pairs} pairs of contenders"
    doubt = f" {_doubted(overall.doubtful)} may be undertuned." if overall.doubtful else ""
    if overall.is_beyond_chance:
        return f"{what}, shows no effect that all pairs of contenders share: {shown} on average{agree}.{doubt}"
    return f"no effect of {what}, is shown: {shown}, adjusted p {numbers.p_value(overall.adjusted_p)}{agree}.{doubt}"
