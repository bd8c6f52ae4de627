"""Trains trials: calls a program's segment a few times and collects what it returns."""

import itertools
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from dlkit.bench.plan.trials import STAGES, Stage
from dlkit.bench.probes import PROBE_EXAMPLES
from dlkit.bench.problems.base import Batch
from dlkit.bench.training.curve import (
    Clock,
    Ends,
    Request,
    Trajectory,
    trajectory_of,
    within,
)
from dlkit.bench.training.data_order import batches_of, trial_order
from dlkit.bench.training.evaluation import split_of
from dlkit.bench.training.host_loop import Begun, run_calls
from dlkit.bench.training.lanes import fetched, held_bytes, numbers
from dlkit.bench.training.program import Program
from dlkit.bench.training.snapshots import Keeper
from dlkit.bench.training.step import Carry
from dlkit.bench.training.streaming import Block, Cut, cut_of, stream
from dlkit.early_stopping import EarlyStoppingState

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
    keeper: Keeper | None = None,
) -> Trajectory:
    """Trains one trial; see `train_trials`. On lanes, all of them train it.

    Returns:
        The trial's curve and outcome.
    """
    request = Request(hyperparameters, stage, seed)
    return train_trials(program, [request], until=until, seconds=seconds, keeper=keeper)[0]


def train_trials(
    program: Program,
    requests: Sequence[Request],
    *,
    until: int | None = None,
    seconds: float | None = None,
    keeper: Keeper | None = None,
) -> list[Trajectory]:
    """Trains one trial, or as many as there are lanes.

    A trial whose loss or metric goes bad ends soon after; its curve ends at the evaluation that shows it.

    Args:
        program: the executables.
        requests: one trial, or up to as many as the program has lanes; missing ones are filled up with the last. They
            are of one study, if each has examples of its own, and all tuning trials or none.
        until: where to stop, in evaluations; None for the end. The curve begins as the whole trial's does.
        seconds: a time budget: no call begins after it. Compilation does not count; what a trial took before it was
            killed and went on does.
        keeper: keeps where the trials are between two calls, and knows where they were; None for nobody. Those that go
            on have the bits of those that were never interrupted.

    Returns:
        Each trial's curve and outcome, in the order given.

    Raises:
        StoppedAtBoundaryError: if this process was asked to stop (`machine.boundary`), between two calls.
    """
    lanes = program.shared.lanes
    width = lanes.trials
    if not 1 <= len(requests) <= width:
        raise ValueError(f"expected 1 to {width} trials, as many as there are lanes, got {len(requests)}")
    kinds = {(request.is_judged, request.study if program.shared.redraws else 0) for request in requests}
    if len(kinds) > 1:
        raise ValueError(f"trials side by side need the same examples, so one study, and one stage; got {kinds}")
    filled = [*requests, *[requests[-1]] * (width - len(requests))]
    began = time.perf_counter()
    begun = begin(program, filled)
    run = run_calls(program, filled, begun, began=began, until=until, limit=seconds, keeper=keeper)
    reached, carry, seen, was_cut = run.points, run.carry, run.seen, run.was_cut
    clock = run.spent.clock
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
    cut, blocks, blocks_from = _blocks(program, requests, arrays["train"], model_bytes)
    looked = None
    if recipe.probes:
        first = next(blocks)
        looked = program.look(carry, first.indices, values, start, first.train)
        blocks = itertools.chain([first], blocks)
    return Begun(start, carry, seen, values, cut, blocks, blocks_from, arrays, split, metrics, looked)


def _blocks(
    program: Program, requests: Sequence[Request], whole: Batch, model_bytes: int
) -> tuple[Cut, Iterator[Block], Callable[[Cut, int], Iterator[Block]]]:
    """How trials are cut into calls; their blocks, of as many as there are lanes; and the blocks of any other cut."""
    shared, recipe = program.shared, program.recipe
    problem, lanes = shared.problem, shared.lanes
    each, interval = call_points(recipe.evaluations, model_bytes), recipe.segment_steps
    if shared.block_bytes is None:
        calls = recipe.evaluations // each
        every = [trial_order(problem, one.stage, one.seed, (each, interval), calls, one.order) for one in requests]
        parts = every[0] if lanes.alone else map(np.stack, zip(*every, strict=True))
        blocks = (Block(part, whole) for part in itertools.islice(parts, calls))
        return Cut(each, interval), blocks, partial(_resident, program, requests, whole)
    first = PROBE_EXAMPLES if recipe.probes else 0  # probes look at the split's first examples
    cut = cut_of(problem, lanes.trials, room=shared.block_bytes, points=each, interval=interval, first=first)

    def blocks_from(cut: Cut, step: int) -> Iterator[Block]:
        orders = [batches_of(problem, one.stage, one.seed, one.order) for one in requests]
        sizes = {"evaluations": recipe.evaluations, "interval": interval, "first": first, "at": step}
        return stream(problem, whole, orders, cut, lanes, **sizes)

    return cut, blocks_from(cut, 0), blocks_from


def _resident(program: Program, requests: Sequence[Request], whole: Batch, cut: Cut, step: int) -> Iterator[Block]:
    """Yields the blocks of a cut from a step on, of a training split that lies on the device."""
    problem, recipe, lanes = program.shared.problem, program.recipe, program.shared.lanes
    has_batches = problem.batch_size is not None
    orders = [batches_of(problem, one.stage, one.seed, one.order) for one in requests if has_batches]
    for begin, end, is_last in cut.blocks(recipe.evaluations, recipe.segment_steps, step):
        axes = *cut.shape(end - begin, recipe.segment_steps, is_last=is_last), problem.rows_per_step
        parts = [batches(begin, end).reshape(axes) for batches in orders]
        if not has_batches:  # every step uses the whole split
            parts = [np.zeros(axes, np.int32)] * len(requests)
        yield Block(parts[0] if lanes.alone else np.stack(parts), whole, is_last)


def _lane(tree: Any, lane: int, alone: bool) -> Any:
    """One lane of a tree whose leaves have lanes as their first axis; the tree itself where a trial is alone."""
    return tree if alone else jax.tree.map(lambda leaf: leaf[lane], tree)


def _lane_of(trees: Callable[[], Any], lane: int) -> Any:
    return _lane(trees(), lane, False)
