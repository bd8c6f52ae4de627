"""Trains trials: calls a program's segment a few times and collects what it returns."""

import itertools
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from dlkit.bench.plan.trials import STAGES, Stage
from dlkit.bench.probes import PROBE_EXAMPLES
from dlkit.bench.problems.base import Batch
from dlkit.bench.training.curve import (
    Clock,
    Ends,
    Points,
    Request,
    Trajectory,
    in_gradients,
    is_bad,
    trajectory_of,
    within,
)
from dlkit.bench.training.data_order import batches_of, trial_order
from dlkit.bench.training.evaluation import split_of
from dlkit.bench.training.lanes import fetched, held_bytes, numbers
from dlkit.bench.training.program import Program
from dlkit.bench.training.segment import Start
from dlkit.bench.training.step import Carry
from dlkit.bench.training.stopping import watched
from dlkit.bench.training.streaming import Block, cut_of, stream
from dlkit.early_stopping import EarlyStoppingState
from dlkit.typing import Array

__all__ = [
    "CALLS",
    "Begun",
    "begin",
    "call_points",
    "train_trial",
    "train_trials",
]

CALLS = 5  # a trial is at least so many calls of its segment: it is looked at for divergence between them
KEPT_BYTES = 2**24  # of what a call hands over to be evaluated; larger models are evaluated after every call


class Begun(NamedTuple):
    """What the calls of a trial's segment need; with lanes, of as many trials.

    Attributes:
        start: the keys of where the trial begins; its parameters and state are in the carry, which is used up.
        carry: of the first call.
        seen: by early stopping; None without.
        values: the hyperparameters: numbers, or with lanes arrays on the device.
        evaluations: that a call covers.
        blocks: of steps, in order; each is made when it is asked for.
        arrays: split -> name -> device array.
        split: that the curve is on.
        metrics: metric -> its value before any step, on the split of the curve.
        looked: [curves] what the probes measure before the first step; None without probes.
    """

    start: Start
    carry: Carry
    seen: EarlyStoppingState | None
    values: Mapping[str, float | Array]
    evaluations: int
    blocks: Iterator[Block]
    arrays: Mapping[str, Batch]
    split: str
    metrics: Mapping[str, Array]
    looked: Array | None = None


def call_points(evaluations: int, model_bytes: int = 0) -> int:
    """Returns how many points of the curve one call of a segment covers.

    Args:
        evaluations: of the trial.
        model_bytes: of the parameters and the state that are evaluated.
    """
    fewest = max(CALLS, -(-evaluations * model_bytes // KEPT_BYTES))
    calls = next(n for n in range(min(fewest, evaluations), evaluations + 1) if evaluations % n == 0)
    return evaluations // calls


def train_trial(
    program: Program,
    hyperparameters: Mapping[str, float],
    *,
    stage: Stage,
    seed: int,
    until: int | None = None,
    seconds: float | None = None,
) -> Trajectory:
    """Trains one trial; see `train_trials`. On lanes, all of them train it.

    Returns:
        The trial's curve and outcome.
    """
    return train_trials(program, [Request(hyperparameters, stage, seed)], until=until, seconds=seconds)[0]


def train_trials(
    program: Program,
    requests: Sequence[Request],
    *,
    until: int | None = None,
    seconds: float | None = None,
) -> list[Trajectory]:
    """Trains one trial, or as many as there are lanes.

    A trial whose loss or metric goes bad ends soon after; its curve ends at the evaluation that shows it.

    Args:
        program: the executables.
        requests: one trial, or up to as many as the program has lanes; missing ones are filled up with the last. They
            are of one study, if each has examples of its own, and all tuning trials or none.
        until: where to stop, in evaluations; None for the end. The curve begins as the whole trial's does.
        seconds: a time budget: no call begins after it. Compilation does not count.

    Returns:
        Each trial's curve and outcome, in the order given.
    """
    lanes = program.shared.lanes
    width = lanes.trials
    if not 1 <= len(requests) <= width:
        raise ValueError(f"expected 1 to {width} trials, as many as there are lanes, got {len(requests)}")
    kinds = {(request.is_judged, request.study if program.shared.redraws else 0) for request in requests}
    if len(kinds) > 1:
        raise ValueError(f"trials side by side need the same examples, so one study, and one stage; got {kinds}")
    filled = [*requests, *[requests[-1]] * (width - len(requests))]
    reached, carry, seen, begun, clock, was_cut = _call(program, filled, until, seconds)
    final = cache(partial(_final, program, begun, carry, seen))
    validation, scores = {}, None
    if until is None and any(map(_is_reported, requests)):
        params, state = final()
        validation, scores = program.shared.evaluate(params, state, begun.arrays["validation"])
        if scores is not None:
            _, scores = program.shared.evaluate(params, state, begun.arrays["test"])
    best = seen and seen.best_evaluation
    start_metrics, best, found = fetched((begun.metrics, best, (validation, scores, begun.looked)))
    ends = Ends(best, seen and _stopped_at(seen, program.recipe.evaluations if until is None else until), *found)
    share = Clock(clock.seconds / len(requests), clock.compile_seconds / len(requests))
    alone = lanes.alone
    lanes_reached = [_lane(reached, lane, alone) for lane in range(len(requests))]
    return [
        trajectory_of(
            program,
            _lane(start_metrics, lane, alone),
            own,
            _lane(ends if _is_reported(request) else ends._replace(validation={}, example_scores=None), lane, alone),
            share,
            was_cut,
            within(own, request, until),
            final if alone else partial(_lane_of, final, lane),
        )
        for lane, (request, own) in enumerate(zip(requests, lanes_reached, strict=True))
    ]


def _stopped_at(seen: EarlyStoppingState, limit: int) -> np.ndarray[Any, Any]:
    """After how many evaluations early stopping ended a trial of so many; -1 where it did not."""
    stopped, evaluations = fetched((seen.stopped, seen.evaluations))
    return np.where(stopped & (evaluations < limit), evaluations, -1)


def _final(program: Program, begun: Begun, carry: Carry, seen: EarlyStoppingState | None) -> tuple[Any, Any]:
    """The parameters and the state to evaluate: early stopping's best, else those after the last step."""
    if seen is not None:
        best: Any = seen.best_params
        return best[0], best[1]
    if program.finish is None:
        return carry.params, carry.state
    finished: tuple[Any, Any] = program.finish(carry, begun.arrays["train"])
    return finished


def _is_reported(request: Request) -> bool:
    """Whether its final parameters are evaluated apart from its curve."""
    return request.stage == "final" and request.gradients is None


def begin(program: Program, requests: Sequence[Request]) -> Begun:
    """Returns what the calls of a trial need, or of as many trials as there are lanes."""
    shared, recipe = program.shared, program.recipe
    problem = shared.problem
    rows = [{name: float(np.float32(one.hyperparameters[name])) for name in recipe.traced} for one in requests]
    values = rows[0] if shared.lanes.alone else numbers(rows, shared.lanes)
    name = zlib.crc32(problem.name.encode())
    words = np.array([[name, STAGES[one.stage], one.seed] for one in requests], np.uint32)
    arrays = shared.arrays(requests[0].study)
    split = split_of(problem, is_judged=requests[0].is_judged)
    start = shared.start(words[0] if shared.lanes.alone else words)
    metrics = shared.metrics(start.params, start.state, arrays[split])
    seen = program.begin_stopping and program.begin_stopping(start.params, start.state)
    carry = program.begin(start, values)
    start = start._replace(params=None, state=None)
    model_bytes = held_bytes((carry.params, carry.state)) // shared.lanes.trials
    evaluations, blocks = _blocks(program, requests, arrays["train"], model_bytes)
    looked = None
    if recipe.probes:
        first = next(blocks)
        looked = program.look(carry, first.indices, values, start, first.train)
        blocks = itertools.chain([first], blocks)
    return Begun(start, carry, seen, values, evaluations, blocks, arrays, split, metrics, looked)


def _blocks(
    program: Program, requests: Sequence[Request], whole: Batch, model_bytes: int
) -> tuple[int, Iterator[Block]]:
    """How many evaluations a call covers, and the blocks of a trial, or of as many as there are lanes."""
    shared, recipe = program.shared, program.recipe
    problem, lanes = shared.problem, shared.lanes
    each, interval = call_points(recipe.evaluations, model_bytes), recipe.segment_steps
    if shared.block_bytes is None:
        calls = recipe.evaluations // each
        every = [trial_order(problem, one.stage, one.seed, (each, interval), calls, one.order) for one in requests]
        parts = every[0] if lanes.alone else map(np.stack, zip(*every, strict=True))
        return each, (Block(part, whole) for part in itertools.islice(parts, calls))
    first = PROBE_EXAMPLES if recipe.probes else 0  # probes look at the split's first examples
    cut = cut_of(problem, lanes.trials, room=shared.block_bytes, points=each, interval=interval, first=first)
    orders = [batches_of(problem, one.stage, one.seed, one.order) for one in requests]
    blocks = stream(problem, whole, orders, cut, lanes, evaluations=recipe.evaluations, interval=interval, first=first)
    return cut.evaluations, blocks


class _Called(NamedTuple):
    """What a call returned, on the device; with lanes these are the first axis.

    Attributes:
        losses: [evaluations, steps, ...]; of an interval in several calls [steps, ...] of each but the last.
        evaluations: [evaluations, 3].
        metrics: of each evaluation, metric -> [].
        void: [evaluations]; None without early stopping.
        looked: [evaluations, curves]; None without probes.
    """

    losses: Sequence[Array]
    evaluations: Array
    metrics: Sequence[Mapping[str, Array]]
    void: Array | None
    looked: Array | None


def _call_once(
    program: Program, begun: Begun, carry: Carry, seen: EarlyStoppingState | None
) -> tuple[Carry, EarlyStoppingState | None, _Called]:
    """Makes the next call, and evaluates what it reached; one whose examples do not fit into a block, in several."""
    losses: list[Array] = []
    while not (block := next(begun.blocks)).is_last:
        carry, part = program.advance(carry, block.indices, begun.values, begun.start, block.train)
        jax.block_until_ready(losses[-1:])  # no more than two blocks lie on the device
        losses.append(part)
    carry, reached = program.segment(carry, block.indices, begun.values, begun.start, block.train)
    shared = program.shared
    models = [(carry.params, carry.state)] if reached.evaluated is None else shared.apart(reached.evaluated)
    metrics, void = [shared.metrics(*model, begun.arrays[begun.split]) for model in models], None
    if seen is not None:
        on_validation = metrics
        if begun.split != "validation":
            on_validation = [shared.metrics(*model, begun.arrays["validation"]) for model in models]
        name = watched(shared.problem, program.recipe)
        seen, void = program.follow(seen, [each[name] for each in on_validation], *reached.evaluated)
    return carry, seen, _Called([*losses, reached.losses], reached.evaluations, metrics, void, reached.looked)


def _call(
    program: Program, requests: Sequence[Request], until: int | None, limit: float | None
) -> tuple[Points, Carry, EarlyStoppingState | None, Begun, Clock, bool]:
    """The host's loop.

    No operation of JAX runs between the calls: one costs as much as ten steps of a small network.

    Returns:
        What was reached, with lanes as the first axis where there are any; the last carry; what early stopping saw;
        what the calls needed; how long they took; whether time was up.
    """
    began = time.perf_counter()
    begun = begin(program, requests)
    carry, seen, each = begun.carry, begun.seen, begun.evaluations
    calls = program.recipe.evaluations // each
    blocks: list[_Called] = []
    first_call = 0.0
    was_cut = False
    for call in range(calls if until is None else min(-(-until // each), calls)):
        carry, seen, called = _call_once(program, begun, carry, seen)
        blocks.append(called)
        if call == 0:
            jax.block_until_ready(called)
            first_call = time.perf_counter() - began
        else:  # looked at one call late, so that the one in flight goes on
            blocks[-2] = fetched(blocks[-2])
            if _over(program, blocks[-2], requests):
                break
            if seen is not None and fetched(seen.stopped).all():  # at once: the next call would be for nothing
                break
        if limit is not None and 0 < call < calls - 1:
            jax.block_until_ready(called)
            # The first call compiled: it counts as much as the later ones took.
            was_cut = (time.perf_counter() - began - first_call) * (call + 1) / call > limit
            if was_cut:
                break
    reached = _points(fetched(blocks), alone=program.shared.lanes.alone)
    seconds = time.perf_counter() - began
    per_call = (seconds - first_call) / max(len(blocks) - 1, 1)
    clock = Clock(seconds - first_call + per_call, max(first_call - per_call, 0.0))
    return reached, carry, seen, begun, clock, was_cut


def _points(blocks: Sequence[_Called], *, alone: bool) -> Points:
    """The points of calls, whose arrays are on the host."""
    axis = 0 if alone else 1  # of the evaluations

    def joined(parts: Sequence[Any]) -> np.ndarray[Any, Any]:
        return np.concatenate(parts, axis) if len(parts) > 1 else parts[0]

    def losses_of(called: _Called) -> np.ndarray[Any, Any]:
        *parts, last = called.losses
        whole = np.concatenate([*(np.expand_dims(part, axis) for part in parts), last], axis + 1) if parts else last
        with np.errstate(over="ignore"):  # of float64: what float32 cannot hold is not finite
            return np.asarray(whole, np.float32)

    evaluations = joined([called.evaluations for called in blocks])
    shape = evaluations.shape[:-1]
    first = blocks[0]
    return Points(
        metrics={
            name: np.stack([point[name] for called in blocks for point in called.metrics], axis)
            for name in first.metrics[0]
        },
        losses=joined([losses_of(called) for called in blocks]),
        evaluations=evaluations,
        void=np.zeros(shape, bool) if first.void is None else joined([called.void for called in blocks]),
        looked=None if first.looked is None else joined([called.looked for called in blocks]),
    )


def _lane(tree: Any, lane: int, alone: bool) -> Any:
    """One lane of a tree whose leaves have lanes as their first axis; the tree itself where a trial is alone."""
    return tree if alone else jax.tree.map(lambda leaf: leaf[lane], tree)


def _lane_of(trees: Callable[[], Any], lane: int) -> Any:
    return _lane(trees(), lane, False)


def _over(program: Program, called: _Called, requests: Sequence[Request]) -> bool:
    """Whether every lane has come to its end."""
    points = _points([called], alone=program.shared.lanes.alone)
    ended = is_bad(program.shared.problem, points) | points.void
    if any(request.gradients is not None for request in requests):
        ended = ended | (in_gradients(points) > np.array([[request.bound] for request in requests]))
    return bool(ended.any(axis=-1).all())
