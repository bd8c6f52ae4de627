"""What levels of factors do, in words: each with its size, its interval, and how many pairs of contenders agree."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.effects import Effect, Interaction, Measured, Shift
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.stats import PairedDifference, fewest_blocks

__all__ = ["sentence"]

MOST_LISTED = 6  # levels of the other factor in a sentence about an interaction


class _Words(NamedTuple):
    """How a difference is told: which way it goes, or its size alone."""

    directed: Callable[[PairedDifference], str]
    plain: Callable[[PairedDifference], str]


def sentence(problem: PlannedProblem, effect: Effect, target: float) -> str:
    """Returns what an effect comes to, with its numbers.

    A main effect is told only where all pairs of contenders agree, an interaction where it is beyond chance. Where
    neither is, the estimate is told with its interval.

    Args:
        problem: where.
        effect: which.
        target: what steps were counted to.
    """

    def ends(difference: PairedDifference) -> str:
        by = "" if problem.judged.scale == "log" else "by "
        return f"ends {'better' if difference.estimate < 0 else 'worse'}, {by}{_size(problem, difference)}"

    opening = "" if effect.about == "methods" else "with the settings found, "
    told = _told(effect, effect.final, _Words(ends, lambda difference: _size(problem, difference)))
    if effect.steps is not None:
        to_target = f"reaches {numbers.number(target)}"
        told += _told(effect, effect.steps, _Words(lambda each: f"{to_target} {_sooner(each)}", _ratio))
    if not told:
        return f"{effect.factor}: {opening}{_nothing_told(problem, effect)}"
    return " ".join(f"{effect.factor}: {opening}{text}" for text in told)


def _size(problem: PlannedProblem, difference: PairedDifference) -> str:
    """A difference of final scores with its interval: as a ratio, or in the metric's units."""
    shown = numbers.difference(problem, difference)
    return shown if problem.judged.scale == "log" else f"{shown} in {problem.judged.label or problem.metric}"


def _ratio(difference: PairedDifference) -> str:
    return f"steps {numbers.ratio_of_steps(difference)}"


def _sooner(difference: PairedDifference) -> str:
    """How many times sooner or later, whichever it is, with the interval."""
    sign = -1 if difference.estimate < 0 else 1
    logs = (sign * difference.estimate, *sorted((sign * difference.low, sign * difference.high)))
    times, *ends = (numbers.number(numbers.power_of_two(each)) for each in logs)
    return f"{numbers.TIMES}{times} {'sooner' if difference.estimate < 0 else 'later'} [{', '.join(ends)}]"


# --- what is beyond chance ---


def _told(effect: Effect, measured: Measured, words: _Words) -> list[str]:
    """What is beyond chance in one quantity."""
    if measured.claim == "main effect":
        return [_main_effect(effect, measured, words)]
    return [_interaction(effect, each, words) for each in measured.told]


def _main_effect(effect: Effect, measured: Measured, words: _Words) -> str:
    overall = measured.overall
    text = f"{effect.level}, against {effect.baseline}, {words.directed(overall.difference)}{_all_agree(overall.pairs)}"
    for each in measured.told:
        parts = "; ".join(f"with {_named(each, level)} {words.plain(part.difference)}" for level, part in _shown(each))
        text += f"; how much depends on {each.factor} ({_p_value(each)}): {parts}{_doubt(each.doubtful)}"
    return f"{text}.{_caution(overall.doubtful, is_settled=overall.is_settled)}"


def _interaction(effect: Effect, interaction: Interaction, words: _Words) -> str:
    """Names the levels of the other factor, and what the level does with each."""
    how = "changes sign" if interaction.is_crossing else "depends"
    kind = "crossing interaction" if interaction.is_crossing else "interaction"
    on = "with" if interaction.is_crossing else "on"
    parts = "; ".join(_part(interaction, level, part, words) for level, part in _shown(interaction))
    text = (
        f"the effect of {effect.level}, against {effect.baseline}, {how} {on} {interaction.factor} ({kind}, "
        f"{_p_value(interaction)}): {parts}."
    )
    if interaction.is_crossing:
        return f"{text}{'' if interaction.is_settled else ' Not settled: one side rests on tuning that is doubtful.'}"
    return f"{text}{_caution(interaction.doubtful, is_settled=interaction.is_settled)}"


def _part(interaction: Interaction, level: str, shift: Shift, words: _Words) -> str:
    """What a level does with one level of another factor; a direction only where it is beyond chance."""
    with_it = f"with {_named(interaction, level)}"
    if not shift.is_shared:
        agree = "" if shift.pairs == 1 else f", {shift.agreeing} of {shift.pairs} pairs agree"
        p_value = numbers.p_value(shift.adjusted_p)
        return f"{with_it} no effect is shown ({words.plain(shift.difference)}, adjusted p {p_value}{agree})"
    return f"{with_it} it {words.directed(shift.difference)}{_doubt(shift.doubtful)}"


def _shown(interaction: Interaction) -> Sequence[tuple[str, Shift]]:
    """The levels of the other factor with what the level does there; of many, those that are told apart from none."""
    every = list(interaction.shifts.items())
    if len(every) <= MOST_LISTED:
        return every
    first = sorted(every, key=lambda each: (each[0] != interaction.level, each[1].adjusted_p))[:MOST_LISTED]
    return [each for each in every if each in first]


def _named(interaction: Interaction, level: str) -> str:
    """A level of the other factor, with the factor's name where the level alone says little."""
    return level if interaction.factor == "optimizer" else f"{interaction.factor} = {level}"


def _p_value(interaction: Interaction) -> str:
    return f"adjusted p {numbers.p_value(interaction.adjusted_p)}"


def _all_agree(pairs: int) -> str:
    if pairs == 1:
        return ""
    return f" ({'both' if pairs == 2 else f'all {pairs}'} pairs of contenders agree)"


# --- what is not, or not for sure ---


def _doubt(doubtful: Sequence[str]) -> str:
    return f" ({', '.join(doubtful)} may be undertuned by that much)" if doubtful else ""


def _caution(doubtful: Sequence[str], *, is_settled: bool) -> str:
    if not doubtful:
        return ""
    names = f"{', '.join(doubtful)} may be undertuned by that much"
    return f" {names}; without, it is beyond chance, too." if is_settled else f" Not settled: {names}."


def _nothing_told(problem: PlannedProblem, effect: Effect) -> str:
    """The estimate with its interval, and why no effect is told."""
    overall = effect.final.overall
    shown = _size(problem, overall.difference)
    what, needed = f"{effect.level}, against {effect.baseline}", fewest_blocks(LEVEL)
    if effect.blocks < needed:
        unit = "studies" if effect.about == "methods" else "paired seeds"
        return f"{what}: {shown}; {effect.blocks} {unit} can show no effect, however large; {needed} can."
    agree = "" if overall.pairs == 1 else f", of this sign in {overall.agreeing} of {overall.pairs} pairs of contenders"
    doubt = f" {', '.join(overall.doubtful)} may be undertuned." if overall.doubtful else ""
    if overall.is_beyond_chance:
        return f"{what}, shows no effect that all pairs of contenders share: {shown} on average{agree}.{doubt}"
    return f"no effect of {what}, is shown: {shown}, adjusted p {numbers.p_value(overall.adjusted_p)}{agree}.{doubt}"
