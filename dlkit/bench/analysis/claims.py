"""What a comparison claims, as data: who is said to be ahead of whom, and by which sentence."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.effect_sentences import shown_parts
from dlkit.bench.analysis.effects import Effect, Measured
from dlkit.bench.analysis.findings import Finding
from dlkit.bench.analysis.pairs import ALPHA
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.analysis.step_costs import PER_COST

__all__ = ["SENTENCES", "Claim", "Sentence", "claims"]

Sentence = Literal[
    "winner",
    "worse",
    "groups",
    "faster",
    "flips",
    "factors",
    "factors, steps",
    "interactions",
    "interactions, steps",
    "parts",
    "parts, steps",
    "at the same cost",
]
SENTENCES: tuple[Sentence, ...] = get_args(Sentence)
OF_SPEED = (" is faster to ", " is the first to ")  # what is said softly, such as "First to ...", claims nothing


class Claim(NamedTuple):
    """One contender, or level of a factor, said to be ahead of another.

    Attributes:
        sentence: what says so: ``"winner"``, ``"worse"`` of a verdict without a winner, ``"groups"`` that share no
            letter, ``"faster"`` to the target, ``"flips"`` of the ranking at half of the budget, ``"factors"`` by final
            values or ``"factors, steps"`` by steps to the target, ``"interactions"`` and
            ``"interactions, steps"``: more so than with other levels of another factor; ``"parts"`` and ``"parts,
            steps"`` of an interaction that is told: with that level of the other factor; ``"at the same cost"``: after
            as many gradients or examples.
        ahead: label of the contender, or the level.
        behind: the same of the other one.
        factor: whose levels they are; empty for contenders.
        given: of an interaction and its parts, the other factor and the level of it with which this is so.
    """

    sentence: Sentence
    ahead: str
    behind: str
    factor: str = ""
    given: tuple[str, str] = ("", "")


def claims(comparison: Comparison) -> list[Claim]:
    """Returns everything that a comparison claims beyond chance.

    Args:
        comparison: of all contenders on one problem.

    Returns:
        The claims, sentence by sentence.
    """
    ranked = comparison.ranking.compared
    if not ranked:
        return []
    findings = comparison.verdict.findings
    found = [*_of_verdict(comparison, ranked), *_of_groups(ranked)]
    found += [claim for finding in findings for claim in _of_speed(finding)]
    found += [claim for finding in findings for claim in _of_flip(finding)]
    found += [claim for finding in findings for claim in _of_same_cost(finding)]
    for effect in comparison.effects:
        found += _of_factor(effect, effect.final, ("factors", "interactions", "parts"))
        if effect.steps:
            found += _of_factor(effect, effect.steps, ("factors, steps", "interactions, steps", "parts, steps"))
    return found


def _of_verdict(comparison: Comparison, ranked: Sequence[Ranked]) -> list[Claim]:
    best, others = ranked[0], ranked[1:]
    if comparison.verdict.kind in ("winner", "unsettled"):
        return [Claim("winner", best.label, each.label) for each in others]
    return [Claim("worse", best.label, each.label) for each in others if each.standing.is_worse]


def _of_groups(ranked: Sequence[Ranked]) -> list[Claim]:
    return [
        Claim("groups", one.label, other.label)
        for place, one in enumerate(ranked)
        for other in ranked[place + 1 :]
        if not set(one.standing.group) & set(other.standing.group)
    ]


def _of_factor(effect: Effect, measured: Measured, names: tuple[Sentence, Sentence, Sentence]) -> list[Claim]:
    alone, together, part_of_it = names
    found = []
    if measured.claim == "main effect":
        is_ahead = measured.overall.difference.estimate < 0
        found.append(Claim(alone, *_levels(effect, is_ahead=is_ahead), effect.factor))
    for each in measured.told:
        levels = _levels(effect, is_ahead=each.contrast.estimate < 0)
        found.append(Claim(together, *levels, effect.factor, (each.factor, each.level)))
        for level, part in shown_parts(each):
            if part.is_shared:
                levels = _levels(effect, is_ahead=part.difference.estimate < 0)
                found.append(Claim(part_of_it, *levels, effect.factor, (each.factor, level)))
    return found


def _levels(effect: Effect, *, is_ahead: bool) -> tuple[str, str]:
    return (effect.level, effect.baseline) if is_ahead else (effect.baseline, effect.level)


def _of_speed(finding: Finding) -> list[Claim]:
    if not any(text in finding.text for text in OF_SPEED):
        return []
    ratios = [each for each in finding.evidence if each.name == "ratio of steps"]
    pairs = [(each.contender, each.other) if each.estimate < 1 else (each.other, each.contender) for each in ratios]
    return [Claim("faster", *pair) for pair in pairs]


def _of_flip(finding: Finding) -> list[Claim]:
    at_half = [each for each in finding.evidence if each.name == "difference at half"]
    return [Claim("flips", each.contender, each.other) for each in at_half]


def _of_same_cost(finding: Finding) -> list[Claim]:
    told = [each for each in finding.evidence if each.name == PER_COST and each.adjusted_p <= ALPHA]
    return [Claim("at the same cost", each.other, each.contender) for each in told if each.estimate != 0]
