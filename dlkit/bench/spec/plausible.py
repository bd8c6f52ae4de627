"""What nobody can mean, though it could be computed: targets that no metric reaches, rates below 0, labels alike."""

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.catalog import OPTIMIZERS
from dlkit.bench.optimizers.schedules import SCHEDULES, Schedule
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.spec.bound_plan import Method, ProblemSource
from dlkit.typing import Array

__all__ = ["implausible", "implausible_settings", "repeated"]


class Span(NamedTuple):
    """The values that can be meant, and how a message calls them.

    Attributes:
        low: the smallest.
        high: the largest.
        open: whether `high` itself is none.
        words: what has to hold.
    """

    low: float
    high: float
    open: bool
    words: str

    def holds(self, value: float) -> bool:
        """Whether a value can be meant."""
        return self.low <= value and (value < self.high if self.open else value <= self.high)


NOT_NEGATIVE = Span(0.0, math.inf, False, "must not be negative")
RATE = {"learning_rate": NOT_NEGATIVE}  # of one's own optimizers, too
SETTINGS = {  # what every registered optimizer that has a hyperparameter of this name means by it
    **RATE,
    "weight_decay": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
    "momentum": Span(-1.0, 1.0, False, "must lie between -1 and 1"),  # negative ones are tried in games
    "b1": Span(-1.0, 1.0, True, "must lie between -1 and 1, 1 excluded"),
    "b2": Span(0.0, 1.0, True, "must lie between 0 and 1, 1 excluded"),
}
SHARE = Span(0.0, 1.0, False, "is a share of the trial, between 0 and 1")
MULTIPLE = Span(0.0, math.inf, False, "is a multiple of the peak, and must not be negative")
SHAPE_SETTINGS = {  # of the registered schedules
    **dict.fromkeys(("warmup", "decay", "first", "second", "rise"), SHARE),
    **dict.fromkeys(("final", "factor", "start"), MULTIPLE),
}
VARIATION_SELECTORS = range(0xFE00, 0xFE10)  # they change no letter
BREAKING = frozenset({"Cc", "Zl", "Zp"})  # categories: new lines, tabs, what terminals obey
TURNING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))  # what follows runs the other way


def implausible(
    problems: Sequence[tuple[PlannedProblem, ProblemSource]], contenders: Sequence[tuple[PlannedContender, Method]]
) -> list[str]:
    """Returns what nobody can mean in a plan's problems and contenders.

    Args:
        problems: as planned, and where they come from.
        contenders: as planned, and what carries them out.

    Returns:
        The mistakes, each with what to do.
    """
    mistakes = [line for facts, source in problems for line in _wrong_goals(facts, source)]
    for facts, method in contenders:
        settings = {**facts.space, **facts.static}
        found = implausible_settings(
            settings,
            method.optimizer,
            method.schedule,
            horizons=[each.steps for each, _ in problems if facts.runs_on(each.name)],
        )
        mistakes += [f"optimizer '{facts.label}': {line}" for line in found]
    mistakes += _lookalikes("problems", [facts.name for facts, _ in problems])
    return mistakes + _lookalikes("optimizers", [facts.label for facts, _ in contenders])


def implausible_settings(
    settings: Mapping[str, Range | float | Sequence[Any]],
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    horizons: Sequence[int] = (),
) -> list[str]:
    """Returns what no registered optimizer or schedule can mean by its settings, and one's own by its learning rate.

    Args:
        settings: hyperparameter or setting of the schedule -> number, range, or choices; those of a game's player are
            called ``"player.name"``.
        optimizer: whose hyperparameters they are.
        schedule: of the learning rate.
        horizons: how many steps trials have.

    Returns:
        The mistakes, each with what to do.
    """
    known = SHAPE_SETTINGS if _is_registered(schedule) else {}
    mistakes = []
    for name, setting in settings.items():
        in_shape = name in schedule.space
        player, _, own = name.rpartition(".")
        is_known = _is_known(optimizer.players.get(player, optimizer))
        span = known.get(name) if in_shape else (SETTINGS if is_known else RATE).get(own)
        wrong = [value for value in _extremes(setting) if span is not None and not span.holds(value)]
        if span is not None and wrong:
            owner = f"schedule '{schedule.name}', setting" if in_shape else "hyperparameter"
            hint = _as_share(wrong[0], horizons) if span is SHARE else ""
            hint += "" if in_shape or is_known else "; if yours means something else by it, give it another name"
            mistakes.append(f"{owner} '{name}' {span.words}, got {wrong[0]:g}{hint}")
    both = [settings[name] for name in ("warmup", "decay") if name in schedule.space and name in settings and known]
    if not mistakes and len(both) == 2 and sum(min(_extremes(each)) for each in both) > 1:
        mistakes.append(
            f"schedule '{schedule.name}': warmup and decay are shares of the trial and together more than all of it; "
            "lower one of them"
        )
    return mistakes


def _is_known(optimizer: Optimizer) -> bool:
    """Whether an optimizer is registered, alone or with wrappers."""
    name, _, wrappers = optimizer.name.partition("+")
    registered = OPTIMIZERS.get(name)
    return registered is not None and (bool(wrappers) or registered.build is optimizer.build)


def _is_registered(schedule: Schedule) -> bool:
    return schedule.name in SCHEDULES and SCHEDULES[schedule.name].shape is schedule.shape


def _extremes(setting: Range | float | Sequence[Any]) -> list[float]:
    """The values between which all of a setting's lie."""
    if isinstance(setting, Range):
        return [setting.low, setting.high]
    values = setting if isinstance(setting, list | tuple) else [setting]
    return [float(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)]


def _as_share(value: float, horizons: Sequence[int]) -> str:
    """What to write in place of a number of steps."""
    steps = min(horizons, default=0)
    if value < 0 or not steps:
        return ""
    if value > steps or value < 2 or value != int(value):
        return f"; 0.05 are the first {math.ceil(0.05 * steps)} of {steps} steps"
    return f"; {value:g} of {steps} steps are {value / steps:.2g}"


def _wrong_goals(facts: PlannedProblem, source: ProblemSource) -> Iterator[str]:
    """What is wrong with a problem's targets."""
    metric, name = facts.judged, facts.metric
    where = f"problem '{facts.name}'"
    for target in [*facts.ladder, *([] if facts.target is None else [facts.target])]:
        if metric.scale == "log" and target <= 0:
            yield (
                f"{where}: values of '{name}' are compared as ratios, so that a target must be above 0, got {target:g}"
            )
        elif (metric.least is not None and target < metric.least) or (metric.most is not None and target > metric.most):
            yield f"{where}: no '{name}' is {target:g}, as it {metric.within}{metric.in_percent(target)}"
        elif _unlike_at_start(facts, target, source):
            yield (
                f"{where}: target {target:g} of '{name}', which lies between 0 and 1 before training"
                f"{Metric(least=0.0, most=1.0).in_percent(target)} If it is in percent, say so: "
                f"bench.Metric('{metric.direction}', least=0, most=100)"
            )


def _unlike_at_start(facts: PlannedProblem, target: float, source: ProblemSource) -> bool:
    """Whether an accuracy without bounds is to be above 1, and is a share before training: it is then no percentage.

    What calls itself a percentage may be one, and start below 1.
    """
    metric = facts.judged
    said = f"{facts.metric} {metric.label}".lower()
    is_open = metric.higher_is_better and metric.least is None and metric.most is None
    if target <= 1 or not is_open or "accuracy" not in facts.metric.lower() or "%" in said or "percent" in said:
        return False
    return _is_share(source.load(), facts.metric)


def _is_share(problem: Problem, metric: str) -> bool:
    """Whether a metric lies between 0 and 1 before training."""

    def at_start(validation: Batch) -> Array:
        return problem.evaluate(*problem.init(jax.random.key(0)), validation)[metric]

    return 0 <= float(jax.jit(at_start)(dict(problem.dataset.validation))) <= 1


def repeated(what: str, names: Sequence[str], remedy: str) -> list[str]:
    """Returns a line for each name that is there more than once.

    Args:
        what: the list that they are from.
        names: all of them.
        remedy: what to do.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{what}: '{name}' is there more than once; {remedy}" for name in twice]


def _lookalikes(what: str, labels: Sequence[str]) -> list[str]:
    """Labels that are not the same and look so, and those without anything to see."""
    mistakes = [f"{what}: label {label!a} shows nothing; give it letters" for label in labels if not _look(label)]
    mistakes += [
        f"{what}: label {label!a} has {broken[0]!a}, which breaks lines of text; take it out"
        for label in labels
        if (broken := [letter for letter in label if unicodedata.category(letter) in BREAKING or letter in TURNING])
    ]
    first: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        twin = first.setdefault(_look(label), label)
        if twin != label and _look(label):
            mistakes.append(f"{what}: {twin!a} and {label!a} look the same; give each a label of its own")
    return mistakes


def _look(label: str) -> str:
    """A label as it is seen: composed, without what is invisible, spaces as one."""
    seen = "".join(_glyph(letter) for letter in unicodedata.normalize("NFC", label))
    return unicodedata.normalize("NFC", " ".join(seen.split()))


def _glyph(letter: str) -> str:
    """A letter as it is seen: nothing for what has no width; ligatures and the micro sign as their letters."""
    if (unicodedata.category(letter) in ("Cf", "Cc") and not letter.isspace()) or ord(letter) in VARIATION_SELECTORS:
        return ""
    # Superscripts, circles and the like have tags of their own: they look different.
    is_alike = unicodedata.decomposition(letter).startswith(("<compat>", "<noBreak>"))
    return unicodedata.normalize("NFKC", letter) if is_alike else letter
