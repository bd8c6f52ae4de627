"""A trial that ran again beside the stored one: every number, bit for bit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import Done
from dlkit.bench.machine.program import unlike_bits
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.store.models import PackedModel

__all__ = ["Replay", "compared", "raised_again", "ulps_apart", "without_replay"]

NOTHING: np.ndarray[Any, Any] = np.zeros(0)  # in the place of what one of the two does not have
UNSIGNED: Mapping[int, type[np.unsignedinteger[Any]]] = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True, eq=False)
class Replay:
    """How a trial that ran again compares with the stored one.

    Attributes:
        trial: its id.
        exact: whether every number of its curves, its validation metrics, its scores of examples, its samples and its
            counts is the same, bit for bit, and so is its model, where that is kept.
        program: field -> (then, now), for the fields of the program that differ.
        largest: what differs -> largest absolute difference: metrics, ``gradients``, ``example scores``, ``samples``,
            ``final parameters``, counts; infinite where two things cannot be subtracted. Empty if exact.
        then: metric -> the stored curve.
        now: metric -> the curve of the replay.
        diverged_at: the step at which the replay diverged; None if it did not.
        ulps: what differs -> the same difference in units in the last place: how many numbers of its type lie between.
        unpromised: field -> (then, now), for those fields of the program for which bits are not promised; what a run
            does not say is "unknown". Empty where the same bits were promised.
        failure: why there is nothing to compare, in words; empty if there is.
        failed: when it failed: ``"then"`` (it has no numbers), ``"now"`` (it raised when it ran again), or ``"here"``
            (it could not be run here); empty if it did not.
    """

    trial: str
    exact: bool
    program: Mapping[str, tuple[str, str]]
    largest: Mapping[str, float]
    then: Mapping[str, np.ndarray[Any, Any]]
    now: Mapping[str, np.ndarray[Any, Any]]
    diverged_at: int | None
    ulps: Mapping[str, float] = field(default_factory=dict)
    unpromised: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    failure: str = ""
    failed: Literal["", "then", "now", "here"] = ""

    @property
    def is_promised(self) -> bool:
        """Whether both programs promise the same bits."""
        return not self.unpromised

    def __repr__(self) -> str:
        if self.exact:
            return f"<Replay of {self.trial}: every number matches, bit for bit>"
        if self.failure:
            return f"<Replay of {self.trial}: {self.failure}>"
        apart = ", ".join(f"{metric} by up to {difference:g}" for metric, difference in list(self.largest.items())[:8])
        program = f"; program differs in {', '.join(self.program)}" if self.program else ""
        return f"<Replay of {self.trial}: differs in {apart}{program}>"


def compared(outcome: Outcome, then: Mapping[str, str], done: Done, model: PackedModel | None = None) -> Replay:
    """Compares what ran again with what is stored.

    Args:
        outcome: what is stored.
        then: the program that made it.
        done: what ran again, that trial alone.
        model: the model that is kept of it, where `done` has one, too; None to compare none.

    Raises:
        UserError: if it failed this time.
    """
    again, now = done.outcomes[0], done.program
    if not again.counts:
        raise UserError(f"the replay of trial {outcome.trial.id} failed: {again.reason}")
    largest, ulps = dict[str, float](), dict[str, float]()
    for what, before, after in _pairs(outcome, again, model, done):
        if before.shape != after.shape or before.tobytes() != after.tobytes():
            largest[what] = max(largest.get(what, 0.0), _apart(before, after))
            ulps[what] = max(ulps.get(what, 0.0), ulps_apart(before, after))
    same_end = again.status == outcome.status or outcome.status == "cut off"
    if not same_end or again.diverged_at != outcome.diverged_at:
        largest["how it ended"] = ulps["how it ended"] = math.inf
    return Replay(
        outcome.trial.id,
        exact=not largest,
        program=_changed(then, now),
        largest=largest,
        then=outcome.curves,
        now=again.curves,
        diverged_at=again.diverged_at,
        ulps=ulps,
        unpromised=unlike_bits(then, now),
    )


def raised_again(outcome: Outcome, then: Mapping[str, str], done: Done) -> Replay:
    """Returns what there is to say of a trial that did run then, and raised now."""
    again, now = done.outcomes[0], done.program
    found = without_replay(outcome, f"trial {outcome.trial.id} raised when it ran again: {again.reason}", "now")
    return replace(found, program=_changed(then, now), unpromised=unlike_bits(then, now))


def without_replay(outcome: Outcome, why: str, failed: Literal["then", "now", "here"]) -> Replay:
    """Returns what there is to say of a trial that has nothing to compare.

    Args:
        outcome: what is stored.
        why: in words.
        failed: as of `Replay`.
    """
    return Replay(outcome.trial.id, False, {}, {}, outcome.curves, {}, None, failure=why, failed=failed)


def ulps_apart(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Returns how many numbers of their type lie between two arrays, at the place where these are most.

    Neighbours are one apart, and so are the two zeros. Two NaNs are not apart.

    Args:
        first: floating-point numbers, or integers.
        second: others.

    Returns:
        A whole number; infinite where shapes or types differ, or one is NaN and the other is not.

    Example:
        >>> import numpy as np
        >>> one = np.ones(1, np.float32)
        >>> ulps_apart(one, np.nextafter(one, np.float32(2)))
        1.0
    """
    if first.shape != second.shape or first.dtype != second.dtype:
        return math.inf
    if first.dtype.kind != "f":
        return _apart(first, second)
    one_missing, other_missing = np.isnan(first), np.isnan(second)
    if (one_missing != other_missing).any():
        return math.inf
    one, other = _ordered(first[~one_missing]), _ordered(second[~one_missing])
    return float(np.max(np.maximum(one, other) - np.minimum(one, other), initial=0))


def _ordered(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floating-point numbers as whole ones that stand in the same order, one after another."""
    unsigned = UNSIGNED[numbers.dtype.itemsize]
    bits = np.ascontiguousarray(numbers).view(unsigned)
    sign = unsigned(1 << (8 * numbers.dtype.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def _apart(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """The largest absolute difference; infinite where two arrays cannot be subtracted."""
    if first.shape != second.shape or first.dtype.kind not in "biufV":  # V: as bfloat16
        return math.inf
    one, other = (each.astype(np.float64) for each in (first, second))
    if (np.isnan(one) != np.isnan(other)).any():
        return math.inf
    with np.errstate(invalid="ignore"):  # infinity from infinity
        return float(np.nanmax(np.abs(one - other), initial=0.0))


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (then[name], now.get(name, "")) for name in then if then[name] != now.get(name)}


Pair = tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _pairs(outcome: Outcome, again: Outcome, model: PackedModel | None, done: Done) -> Iterator[Pair]:
    """Yields what is compared: its name, what is stored, what came back.

    Of a trial that a clock cut off, what it has at its end is not compared: its end is another one.
    """
    was_cut = outcome.status == "cut off"
    before, after = (_arrays(each, has_ended=not was_cut) for each in (outcome, again))
    for name in dict.fromkeys([*before, *after]):
        yield name, before.get(name, NOTHING), after.get(name, NOTHING)
    handed = done.models[0] if model is not None and done.models else None
    if model is not None and isinstance(handed, PackedModel):
        kept, made = (_leaves(each) for each in (model, handed))
        for name in dict.fromkeys([*kept, *made]):
            yield "final parameters", kept.get(name, NOTHING), made.get(name, NOTHING)


def _arrays(outcome: Outcome, *, has_ended: bool) -> Mapping[str, np.ndarray[Any, Any]]:
    """What is stored of an outcome, as arrays: curves, what points cost, and what a trial that has ended ends with."""
    found = {"steps": outcome.steps, **outcome.curves, "gradients": outcome.gradients}
    if has_ended:
        found |= {"example scores": outcome.example_scores, "samples": outcome.samples}
        found |= {"evaluations": np.asarray([float(each) for each in outcome.evaluations])}
        found |= {"restored step": np.asarray(math.nan if outcome.restored_at is None else outcome.restored_at, float)}
        if outcome.trial.stage == "final":
            for name, value in outcome.validation.items():  # stored as text, in which every NaN is the same
                found[f"validation {name}"] = np.asarray(math.nan if math.isnan(value) else value)
    return {name: np.asarray(array) for name, array in found.items() if array is not None}


def _leaves(model: PackedModel) -> dict[str, np.ndarray[Any, Any]]:
    """A model's arrays, by their paths."""
    from flax.serialization import msgpack_restore

    return {name: np.asarray(array) for name, array in msgpack_restore(model.data).items()}
