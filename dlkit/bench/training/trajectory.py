"""Trains trials: calls a program's segment a few times and collects what it returns."""

import itertools
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.plan.trials import STAGES, Stage
from dlkit.bench.probes import PROBE_EXAMPLES
from dlkit.bench.problems.base import Batch
from dlkit.bench.training.curve import Clock, Ends, Request, Trajectory, in_gradients, trajectory_of, within
from dlkit.bench.training.data_order import batches_of, trial_order
from dlkit.bench.training.evaluation import HeldOut, held_out_of
from dlkit.bench.training.lanes import fetched, numbers
from dlkit.bench.training.program import Program
from dlkit.bench.training.segment import Reached, Start
from dlkit.bench.training.step import Carry
from dlkit.bench.training.streaming import Block, cut_of, stream
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


class Begun(NamedTuple):
    """What the calls of a trial's segment need; with lanes, of as many trials.

    Attributes:
        start: where the trial begins.
        carry: of the first call.
        values: the hyperparameters: numbers, or with lanes arrays on the device.
        evaluations: that a call covers.
        blocks: of steps, in order; each is made when it is asked for.
        arrays: split -> name -> device array.
        held_out: what evaluations are on.
        metrics: metric -> its value before any step, on the split of the curve.
        looked: [curves] what the probes measure before the first step; None without probes.
    """

    start: Start
    carry: Carry
    values: Mapping[str, float | Array]
    evaluations: int
    blocks: Iterator[Block]
    arrays: Mapping[str, Batch]
    held_out: HeldOut
    metrics: Mapping[str, Array]
    looked: Array | None = None


def call_points(evaluations: int) -> int:
    """Returns how many points of the curve one call of a segment covers."""
    calls = next(n for n in range(min(CALLS, evaluations), evaluations + 1) if evaluations % n == 0)
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
    reached, carry, begun, clock, was_cut = _call(program, filled, until, seconds)
    final = cache(partial(program.finish, carry, begun.arrays["train"]))
    validation, scores = {}, None
    if until is None and any(map(_is_reported, requests)):
        params, state = final()
        validation, scores = program.shared.evaluate(params, state, begun.arrays["validation"])
        if scores is not None:
            _, scores = program.shared.evaluate(params, state, begun.arrays["test"])
    best = carry.stopping and carry.stopping.best_evaluation
    ends = Ends(carry.diverged_at, best, validation, scores, begun.looked)
    start_metrics, ends = fetched((begun.metrics, ends))
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
    is_judged = requests[0].is_judged
    held_out = held_out_of(arrays, is_judged=is_judged, is_watched=recipe.stopping is not None)
    start = shared.start(words[0] if shared.lanes.alone else words)
    metrics, _ = shared.evaluate(start.params, start.state, arrays["test" if is_judged else "validation"])
    carry = program.begin(start, values)
    evaluations, blocks = _blocks(program, requests, arrays["train"])
    looked = None
    if recipe.probes:
        first = next(blocks)
        looked = program.look(carry, first.indices, values, start, first.train)
        blocks = itertools.chain([first], blocks)
    return Begun(start, carry, values, evaluations, blocks, arrays, held_out, metrics, looked)


def _blocks(program: Program, requests: Sequence[Request], whole: Batch) -> tuple[int, Iterator[Block]]:
    """How many evaluations a call covers, and the blocks of a trial, or of as many as there are lanes."""
    shared, recipe = program.shared, program.recipe
    problem, lanes = shared.problem, shared.lanes
    each, interval = call_points(recipe.evaluations), recipe.segment_steps
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


def _call_once(program: Program, begun: Begun, carry: Carry) -> tuple[Carry, Reached]:
    """Makes the next call; one whose examples do not fit into a block, in several."""
    losses = []
    while not (block := next(begun.blocks)).is_last:
        before = carry.step
        carry, part = program.advance(carry, block.indices, begun.values, begun.start, block.train)
        losses.append(part)
        jax.block_until_ready(before)  # no more than two blocks lie on the device
    if losses:
        rest = (
            jnp.concatenate(losses, axis=0 if program.shared.lanes.alone else 1),
            block.indices,
            begun.values,
            begun.start,
            block.train,
            begun.held_out,
        )
        done: tuple[Carry, Reached] = program.complete(carry, *rest)
    else:
        done = program.segment(carry, block.indices, begun.values, begun.start, block.train, begun.held_out)
    return done


def _call(
    program: Program, requests: Sequence[Request], until: int | None, limit: float | None
) -> tuple[Reached, Carry, Begun, Clock, bool]:
    """The host's loop.

    No operation of JAX runs between the calls: one costs as much as ten steps of a small network.

    Returns:
        What was reached, [points, ...], with lanes as the first axis where there are any; the last carry; what the
        calls needed; how long they took; whether time was up.
    """
    began = time.perf_counter()
    begun = begin(program, requests)
    carry, each = begun.carry, begun.evaluations
    calls = program.recipe.evaluations // each
    blocks: list[Reached] = []
    first_call = 0.0
    was_cut = False
    for call in range(calls if until is None else min(-(-until // each), calls)):
        carry, reached = _call_once(program, begun, carry)
        blocks.append(reached)
        if call == 0:
            jax.block_until_ready(reached)
            first_call = time.perf_counter() - began
        else:  # looked at one call late, so that the one in flight goes on
            blocks[-2] = fetched(blocks[-2])
            if _over(blocks[-2], requests):
                break
        if limit is not None and 0 < call < calls - 1:
            jax.block_until_ready(reached)
            # The first call compiled: it counts as much as the later ones took.
            was_cut = (time.perf_counter() - began - first_call) * (call + 1) / call > limit
            if was_cut:
                break
    axis = 0 if program.shared.lanes.alone else 1
    table: Reached = jax.tree.map(lambda *parts: np.concatenate(parts, axis), *fetched(blocks))
    seconds = time.perf_counter() - began
    per_call = (seconds - first_call) / max(len(blocks) - 1, 1)
    clock = Clock(seconds - first_call + per_call, max(first_call - per_call, 0.0))
    return table, carry, begun, clock, was_cut


def _lane(tree: Any, lane: int, alone: bool) -> Any:
    """One lane of a tree whose leaves have lanes as their first axis; the tree itself where a trial is alone."""
    return tree if alone else jax.tree.map(lambda leaf: leaf[lane], tree)


def _lane_of(trees: Callable[[], Any], lane: int) -> Any:
    return _lane(trees(), lane, False)


def _over(block: Reached, requests: Sequence[Request]) -> bool:
    """Whether every lane has come to its end."""
    ended = block.bad | block.void
    if any(request.gradients is not None for request in requests):
        ended = ended | (in_gradients(block) > np.array([[request.bound] for request in requests]))
    return bool(ended.any(axis=-1).all())
