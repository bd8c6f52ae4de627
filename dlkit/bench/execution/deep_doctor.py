"""Studies whose truth is known: whether what verdicts say here is true.

Most are simulated: everything but training is real. Others train small problems: `self_deceptions`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dlkit.bench.analysis.claims import Sentence
from dlkit.bench.execution.self_deceptions import TRAINED
from dlkit.bench.execution.simulation import World
from dlkit.bench.execution.truths import shares
from dlkit.bench.machine.doctor import Check
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.spec.budget import Budget

__all__ = ["SIMULATED", "Case", "examine_deeply", "least", "most"]

LEVEL = 0.05  # at which a sentence may be wrong
POWER = 0.95  # with which a planted difference of 2 sd is found
CHANCE = 1e-3  # that a sound sentence fails its limit
SAID: tuple[Sentence, ...] = ("winner", "worse", "groups", "faster", "flips")


class Case(NamedTuple):
    """Studies in a simulated world.

    Attributes:
        subject: what they are about, in words.
        world: where the truth is known.
        planned: further arguments of `simulated_plan`.
        is_planted: whether there is a difference to find.
        studies: of the budget: with one, settings are compared.
    """

    subject: str
    world: World
    planned: Mapping[str, Any] = {}
    is_planted: bool = False
    studies: int = 10


SIMULATED = (
    *(
        Case(f"an optimizer against itself, {count} hyperparameters", World(dimensions=count, curvature=1.0))
        for count in (1, 3, 5)
    ),
    Case("six names of one optimizer", World(dimensions=3, curvature=1.0), {"contenders": 6}),
    Case("a hyperparameter that does nothing", World(curvature=0.0, trade=0.0)),
    Case("a third of the space diverges", World(dimensions=2, curvature=1.0, forbidden=0.33)),
    Case("settings that one tuning found", World(dimensions=3, curvature=1.0), studies=1),
    Case("permuted labels: 2 sd, but names change places", World(advantage=2.0, shuffled=True)),
    Case("a planted difference of 2 sd", World(advantage=2.0), is_planted=True),
)


def most(repeats: int, share: float = LEVEL) -> int:
    """Returns the most of so many repetitions in which something of that probability comes up, but for 1 in 1,000."""
    from scipy.stats import binom

    return int(binom.ppf(1 - CHANCE, repeats, share))


def least(repeats: int, share: float = POWER) -> int:
    """Returns the fewest of so many repetitions in which something of that probability comes up, but for 1 in 1,000."""
    return repeats - most(repeats, 1 - share)


def simulated(case: Case, repeats: int) -> Check:
    """Plays a case again and again.

    Args:
        case: which.
        repeats: how often.

    Returns:
        How often each sentence was wrong, or where there is something to find, how often it was found.
    """
    found = shares(case.world, Budget(studies=case.studies), repeats=repeats, **case.planned)
    limit = most(repeats)
    wrong = {name: count for name, count in found.wrong.items() if name in SAID}
    text = ", ".join(f"{name} {count}" for name, count in wrong.items())
    text = f"wrong in so many of {repeats}: {text} (each may be in {limit})"
    right = max(wrong.values()) <= limit
    if case.is_planted:
        needed = least(repeats)
        text = f"found in {found.right['winner']} of {repeats} (at least {needed}); {text}"
        right &= found.right["winner"] >= needed
    return Check(case.subject, text, right)


def examine_deeply(*, repeats: int = 20) -> Iterator[Check]:
    """Yields what studies whose truth is known come to; each is right, wrong, or cannot be told from one run.

    Args:
        repeats: of each simulated study; with more, smaller errors show.
    """
    prepare_process()
    for case in SIMULATED:
        yield simulated(case, max(1, math.ceil(repeats)))
    for check in TRAINED.values():
        yield check()
