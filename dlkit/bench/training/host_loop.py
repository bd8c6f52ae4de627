"""The host's loop: calls a program's executables until a trial has come to its end.

Long trials are cut into short calls as soon as it shows that they are long: between two calls a trial can be kept, told
to stop, or cut off. No bit depends on how it is cut.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from dlkit.bench.machine.boundary import StoppedAtBoundaryError, is_asked_to_stop
from dlkit.bench.problems.base import Batch
from dlkit.bench.training.curve import Points, Request, in_gradients, is_bad
from dlkit.bench.training.lanes import agreed, fetched
from dlkit.bench.training.program import Program
from dlkit.bench.training.segment import Start
from dlkit.bench.training.snapshots import Keeper, Snapshot, Spent, is_continuation, leaves_of, placed_like
from dlkit.bench.training.step import Carry
from dlkit.bench.training.stopping import watched
from dlkit.bench.training.streaming import Block, Cut
from dlkit.early_stopping import EarlyStoppingState
from dlkit.typing import Array

__all__ = ["Begun", "Reached", "finer", "run_calls"]

LONG_SECONDS = 120.0  # what is left of a trial that is worth other executables, with shorter calls
COLD = 5.0  # times as long, while all that is known of a trial's pace includes what was compiled
LONGEST_CALL = 5.0  # seconds: calls of a long trial that take more are cut
CALL_SECONDS = 2.5  # that a call takes then
MOMENT_SECONDS = 2.0  # what is left of a trial that ends although it was asked to stop


class Begun(NamedTuple):
    """What the calls of a trial's segment need; with lanes, of as many trials.

    Attributes:
        start: the keys of where the trial begins; its parameters and state are in the carry, which is used up.
        carry: of the first call.
        seen: by early stopping; None without.
        values: the hyperparameters: numbers, or with lanes arrays on the device.
        cut: of the trial's steps into calls.
        blocks: of steps, in order; each is made when it is asked for.
        blocks_from: ``blocks_from(cut, step)``: the same steps from one of them on, cut in another way.
        arrays: split -> name -> device array.
        split: that the curve is on.
        metrics: metric -> its value before any step, on the split of the curve.
        looked: [curves] what the probes measure before the first step; None without probes.
    """

    start: Start
    carry: Carry
    seen: EarlyStoppingState | None
    values: Mapping[str, float | Array]
    cut: Cut
    blocks: Iterator[Block]
    blocks_from: Callable[[Cut, int], Iterator[Block]]
    arrays: Mapping[str, Batch]
    split: str
    metrics: Mapping[str, Array]
    looked: Array | None = None


class Reached(NamedTuple):
    """What the calls came to.

    Attributes:
        points: with lanes as the first axis where there are any.
        carry: after the last call.
        seen: by early stopping.
        spent: how long they took.
        was_cut: whether time was up.
    """

    points: Points
    carry: Carry
    seen: EarlyStoppingState | None
    spent: Spent
    was_cut: bool


class _Called(NamedTuple):
    """What calls up to an evaluation, or to several, returned, on the device; with lanes these are the first axis.

    Attributes:
        losses: [evaluations, steps, ...]; of an interval in several calls [steps, ...] of each but the last.
        evaluations: [evaluations, 3].
        metrics: of each evaluation, metric -> [].
        void: [evaluations]; None without early stopping.
        looked: [evaluations, curves]; None without probes.
    """

    losses: Sequence[Any]
    evaluations: Array
    metrics: Sequence[Mapping[str, Array]]
    void: Array | None
    looked: Array | None


class _Watch:
    """Times calls; the first of an executable, and whatever happens between `pause` and `go_on`, apart."""

    def __init__(self, began: float, before: Spent) -> None:
        self._began, self._before = began, before
        self._cold, self._paused, self._fastest = 0.0, 0.0, before.fastest
        self._steps = {False: 0, True: 0}  # of warm calls, of cold ones

    def took(self, steps: int, cold_seconds: float | None) -> None:
        """A call has been made; of a cold one, how long it took."""
        self._steps[cold_seconds is not None] += steps
        if cold_seconds is not None:
            self._cold += cold_seconds
            self._fastest = min(self._fastest, cold_seconds / steps)

    def paused(self, seconds: float) -> None:
        """Something else was done."""
        self._paused += seconds

    def spent(self) -> Spent:
        """Returns all that the trial has taken so far."""
        warm = time.perf_counter() - self._began - self._cold - self._paused
        before = self._before
        return Spent(
            before.warm_seconds + warm,
            before.warm_steps + self._steps[False],
            before.cold_seconds + self._cold,
            before.cold_steps + self._steps[True],
            self._fastest,
            before.lives,
        )


class _Run:
    """Where a trial is: what the next call gets, and what those before it returned."""

    def __init__(self, program: Program, begun: Begun, keeper: Keeper | None, began: float) -> None:
        self.program, self.begun, self.keeper = program, begun, keeper
        self.interval, self.alone = program.recipe.segment_steps, program.shared.lanes.alone
        self.carry, self.seen, self.cut, self.blocks = begun.carry, begun.seen, begun.cut, begun.blocks
        self.points: list[Points] = []
        self.losses: list[Any] = []  # of the parts of the interval in hand
        self.step = 0
        self.warm: set[tuple[int, bool]] = set()  # what blocks the executables have been called with
        self.cold_since = began  # the first call is timed from here
        spent = Spent()
        if keeper is not None and (found := self._restored(keeper)) is not None:
            spent = replace(found.spent, lives=found.spent.lives + 1)
        self.watch = _Watch(began, spent)

    def _restored(self, keeper: Keeper) -> Snapshot | None:
        """Goes on where a keeper says that the trial was."""
        begun = self.carry, self.seen
        found = keeper.restored(lambda: leaves_of(begun))
        if found is None:
            return None
        recipe, lanes = self.program.recipe, self.program.shared.lanes
        width = () if self.alone else (lanes.width,)
        if not is_continuation(found, self.interval, recipe.steps, self.begun.metrics, width):
            keeper.refuse("its curve is not that of this trial")
            return None
        like = leaves_of(begun)
        for array in jax.tree.leaves(begun):
            array.delete()  # there may be no room for both
        self.carry, self.seen = placed_like(found.device, like)
        self.points = [] if found.points is None else [found.points]
        self.losses, self.step = list(found.losses), found.step
        self.blocks = self.begun.blocks_from(self.cut, self.step)
        return found

    def call(self) -> _Called | None:
        """Makes the next call; where it ends with an evaluation, evaluates what it reached."""
        block = next(self.blocks)
        kind = block.steps, block.is_last
        is_cold = kind not in self.warm
        if is_cold:
            self.warm.add(kind)
            if len(self.warm) > 1:
                jax.block_until_ready((self.carry, self.losses))
                self.cold_since = time.perf_counter()
        called = None
        if block.is_last:
            called = self._evaluated(block)
        else:
            self._train(block)
        if is_cold:
            jax.block_until_ready((self.carry, self.seen, called))
        self.watch.took(block.steps, time.perf_counter() - self.cold_since if is_cold else None)
        self.step += block.steps
        return called

    def _train(self, block: Block) -> None:
        begun = self.begun
        self.carry, part = self.program.advance(self.carry, block.indices, begun.values, begun.start, block.train)
        jax.block_until_ready(self.losses[-1:])  # no more than two blocks lie on the device
        self.losses.append(part)

    def _evaluated(self, block: Block) -> _Called:
        begun, program, shared = self.begun, self.program, self.program.shared
        self.carry, reached = program.segment(self.carry, block.indices, begun.values, begun.start, block.train)
        carry = self.carry
        models = [(carry.params, carry.state)] if reached.evaluated is None else shared.apart(reached.evaluated)
        metrics, void = [shared.metrics(*model, begun.arrays[begun.split]) for model in models], None
        if self.seen is not None:
            on_validation = metrics
            if begun.split != "validation":
                on_validation = [shared.metrics(*model, begun.arrays["validation"]) for model in models]
            name = watched(shared.problem, program.recipe)
            self.seen, void = program.follow(self.seen, [each[name] for each in on_validation], *reached.evaluated)
        losses, self.losses = [*self.losses, reached.losses], []
        return _Called(losses, reached.evaluations, metrics, void, reached.looked)

    def take(self, called: _Called) -> None:
        """Adds what a call returned to the curve."""
        self.points.append(_points(fetched(called), alone=self.alone))

    def cut_finer(self, left: int) -> None:
        """Cuts what is left of a long trial into shorter calls, if those so far are long.

        Args:
            left: steps of the trial.
        """
        spent = self.watch.spent()
        long = LONG_SECONDS * (COLD if spent.pace is None else 1.0)
        found = finer(self.cut, self.interval, spent.slowest_pace, left, long) or self.cut
        cut = Cut(*(agreed(number, self.program.shared.lanes) for number in found))
        if cut != self.cut:
            self.cut = cut
            self.blocks = self.begun.blocks_from(cut, self.step)

    def keep(self, keeper: Keeper) -> None:
        """Hands all that the trial needs to go on to a keeper; nothing is in flight meanwhile."""
        jax.block_until_ready((self.carry, self.seen))
        spent, since = self.watch.spent(), time.perf_counter()
        points = _joined(self.points, alone=self.alone) if self.points else None
        self.points = [] if points is None else [points]
        self.losses = list(fetched(self.losses))
        keeper.keep(Snapshot((self.carry, self.seen), points, self.losses, self.step, spent))
        self.watch.paused(time.perf_counter() - since)


def run_calls(
    program: Program,
    requests: Sequence[Request],
    begun: Begun,
    *,
    began: float,
    until: int | None = None,
    limit: float | None = None,
    keeper: Keeper | None = None,
) -> Reached:
    """Makes the calls of a trial, or of as many as there are lanes.

    No operation of JAX runs between the calls: one costs as much as ten steps of a small network.

    Args:
        program: the executables.
        requests: one for each lane.
        begun: what the calls need; it is used up.
        began: when, by `time.perf_counter`.
        until: as in `train_trials`.
        limit: seconds of training, after which no call begins.
        keeper: keeps where the trial is, and knows where it was; None for nobody.

    Returns:
        What they came to.

    Raises:
        StoppedAtBoundaryError: if this process was asked to stop; the keeper has kept where the trial is.
    """
    lanes = program.shared.lanes
    each, interval, evaluations = begun.cut.evaluations, program.recipe.segment_steps, program.recipe.evaluations
    goal = interval * (evaluations if until is None else min(-(-until // each) * each, evaluations))
    run = _Run(program, begun, keeper, began)
    if 0 < run.step < goal:
        run.cut_finer(goal - run.step)  # its pace is known
    last: _Called | None = None  # the call in flight: it is looked at one call late, so that it goes on meanwhile
    was_cut = False
    while run.step < goal:
        called = run.call()
        if called is not None:
            before, last = last, called
            if before is not None:
                run.take(before)
            if run.points and _over(program, run.points[-1], requests):
                break
            if run.points and run.seen is not None and fetched(run.seen.stopped).all():
                break  # at once: the next call would be for nothing
            if run.step < goal and limit is not None and run.watch.spent().is_known:
                jax.block_until_ready(called)
                was_cut = bool(agreed(run.watch.spent().clock.seconds > limit, lanes))
                if was_cut:
                    break
            if run.step < goal:
                run.cut_finer(goal - run.step)
        if run.step == goal:
            break
        is_stopping = agreed(_is_to_stop(run, goal), lanes)
        if is_stopping or (keeper is not None and keeper.is_due() and not is_asked_to_stop()):
            if last is not None:
                run.take(last)
                last = None
            if keeper is not None:
                run.keep(keeper)
            if is_stopping:
                raise StoppedAtBoundaryError
    if last is not None:
        run.take(last)
    return Reached(_joined(run.points, alone=run.alone), run.carry, run.seen, run.watch.spent(), was_cut)


def _is_to_stop(run: _Run, goal: int) -> bool:
    """Whether a trial is asked to stop, and does not end within moments."""
    return is_asked_to_stop() and run.watch.spent().slowest_pace * (goal - run.step) > MOMENT_SECONDS


def finer(cut: Cut, interval: int, pace: float, left: int, long: float) -> Cut | None:
    """Returns shorter calls for a trial that is long; None if it is short, or its calls are.

    Args:
        cut: the calls it has.
        interval: steps from one evaluation to the next.
        pace: seconds of a step.
        left: steps of the trial.
        long: seconds that are left of a trial that is long.
    """
    if pace * left <= long or pace * cut.evaluations * min(cut.steps, interval) <= LONGEST_CALL:
        return None
    steps = max(int(CALL_SECONDS / pace), 1)
    if steps < interval:
        return Cut(1, math.ceil(interval / math.ceil(interval / steps)))  # in parts that are about equal
    fitting = [n for n in range(1, cut.evaluations + 1) if cut.evaluations % n == 0 and n * interval <= steps]
    return Cut(max(fitting), interval)


def _points(called: _Called, *, alone: bool) -> Points:
    """The points of a call, whose arrays are on the host."""
    axis = 0 if alone else 1  # of the evaluations
    *parts, last = called.losses
    losses = np.concatenate([*(np.expand_dims(part, axis) for part in parts), last], axis + 1) if parts else last
    with np.errstate(over="ignore"):  # of float64: what float32 cannot hold is not finite
        losses = np.asarray(losses, np.float32)
    shape = called.evaluations.shape[:-1]
    return Points(
        metrics={name: np.stack([point[name] for point in called.metrics], axis) for name in called.metrics[0]},
        losses=losses,
        evaluations=called.evaluations,
        void=np.zeros(shape, bool) if called.void is None else called.void,
        looked=called.looked,
    )


def _joined(parts: Sequence[Points], *, alone: bool) -> Points:
    """The points of some calls, one after another."""
    axis = 0 if alone else 1  # of the evaluations
    joined: Points = parts[0]
    if len(parts) > 1:
        joined = jax.tree.map(lambda *each: np.concatenate(each, axis), *parts)
    return joined


def _over(program: Program, points: Points, requests: Sequence[Request]) -> bool:
    """Whether every lane has come to its end."""
    ended = is_bad(program.shared.problem, points) | points.void
    if any(request.gradients is not None for request in requests):
        ended = ended | (in_gradients(points) > np.array([[request.bound] for request in requests]))
    return bool(ended.any(axis=-1).all())
