"""Trains trials: calls a program's segment a few times and collects what it returns as a trajectory."""

import itertools
import math
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.plan.trials import NOTHING, STAGES, Evaluations, Stage, study_of
from dlkit.bench.probes import PROBE_EXAMPLES
from dlkit.bench.problems.base import Batch
from dlkit.bench.training.data_order import batches_of, trial_order
from dlkit.bench.training.evaluation import HeldOut
from dlkit.bench.training.program import Program
from dlkit.bench.training.segment import Reached, Start
from dlkit.bench.training.step import Carry
from dlkit.bench.training.streaming import Block, cut_of, stream
from dlkit.typing import Array, Params, State

__all__ = [
    "CALLS",
    "Begun",
    "Request",
    "Status",
    "Trajectory",
    "begin",
    "call_points",
    "train_trial",
    "train_trials",
]

CALLS = 5  # a trial is at least so many calls of its segment: it is looked at for divergence between them
Status = Literal["finished", "stopped", "diverged", "cut off"]


class Request(NamedTuple):
    """One trial of a program.

    Attributes:
        hyperparameters: a number for each of `Recipe.traced`.
        stage: what the trial is for; the seeds of stages are disjoint.
        seed: which initial parameters, data order and step keys.
        gradients: that may be evaluated: the curve ends at the last point within; None for no bound.
    """

    hyperparameters: Mapping[str, float]
    stage: Stage
    seed: int
    gradients: float | None = None

    @property
    def bound(self) -> float:
        """The gradients that may be evaluated, without end where there is no bound."""
        return math.inf if self.gradients is None else self.gradients

    @property
    def is_judged(self) -> bool:
        """Whether its curve is on test: nothing is selected from it."""
        return self.stage != "tuning"

    @property
    def study(self) -> int:
        """The study whose split of the examples it has."""
        return study_of(self.seed)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one trial returns.

    Attributes:
        status: ``"finished"``; ``"stopped"``: early, by its policy; ``"diverged"``: a loss or metric that is not
            finite, or a loss above the problem's bound; ``"cut off"``: its time was up.
        steps: [points] the steps at which metrics were evaluated, from 0.
        curves: metric -> [points] float32, of tuning on validation, else on test; the training loss starts with NaN, as
            nothing was trained yet.
        validation: metric -> value on validation with the parameters to evaluate, of final trials; empty if it
            diverged, or was to stop before its end.
        evaluations: of the loss on batches, up to the last point of the curve.
        gradients: [points] float64: the same up to each point, in gradients.
        diverged_at: the step whose loss was bad, or the evaluation whose metric was; None if there was none.
        restored_at: the step whose parameters early stopping restored; None without early stopping.
        seconds: training time, host loop included, compilation excluded; of lanes, an equal share.
        compile_seconds: time of the first calls, where they compiled.
        params: the final parameters (those to evaluate). Of a trial with a bound of gradients, which is only looked at
            between calls, they may lie beyond it: no metric is computed from them.
        state: the final state.
    """

    status: Status
    steps: np.ndarray[Any, Any]
    curves: Mapping[str, np.ndarray[Any, Any]]
    validation: Mapping[str, float]
    evaluations: Evaluations
    gradients: np.ndarray[Any, Any]
    diverged_at: int | None
    restored_at: int | None
    seconds: float
    compile_seconds: float
    params: Params
    state: State


class Begun(NamedTuple):
    """What the calls of a trial's segment need; with lanes, of as many trials.

    Attributes:
        start: where the trial begins.
        carry: of the first call.
        values: the hyperparameters, on the device.
        evaluations: that a call covers.
        blocks: of steps, in order; each is made when it is asked for.
        arrays: split -> name -> device array.
        held_out: what evaluations are on.
    """

    start: Start
    carry: Carry
    values: Mapping[str, Array]
    evaluations: int
    blocks: Iterator[Block]
    arrays: Mapping[str, Batch]
    held_out: HeldOut


class _Ends(NamedTuple):
    diverged_at: Any
    best_evaluation: Any
    validation: Mapping[str, Any]


class _Clock(NamedTuple):
    seconds: float
    compile_seconds: float


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
    program: Program, requests: Sequence[Request], *, until: int | None = None, seconds: float | None = None
) -> list[Trajectory]:
    """Trains one trial, or as many as there are lanes.

    A trial whose loss or metric goes bad ends soon after; its curve ends at the evaluation that shows it.

    Args:
        program: the executables.
        requests: one trial, or up to as many as the program has lanes; missing ones are filled up with the last. They
            are of one study, and all tuning trials or none.
        until: where to stop, in evaluations; None for the end. The curve begins as the whole trial's does.
        seconds: a time budget: no call begins after it. Compilation does not count.

    Returns:
        Each trial's curve and outcome, in the order given.
    """
    lanes = program.shared.lanes
    width = lanes.trials
    if not 1 <= len(requests) <= width:
        raise ValueError(f"expected 1 to {width} trials, as many as there are lanes, got {len(requests)}")
    if len({(request.is_judged, request.study) for request in requests}) > 1:
        raise ValueError(f"trials side by side need the same examples, so one study, and one stage; got {requests}")
    filled = [*requests, *[requests[-1]] * (width - len(requests))]
    reached, carry, begun, clock, was_cut = _call(program, filled, until, seconds)
    params, state = program.finish(carry, begun.arrays["train"])
    is_reported = until is None and any(map(_is_reported, requests))
    validation = program.shared.evaluate(params, state, begun.held_out.validation) if is_reported else {}
    start_metrics, ends = jax.device_get(
        (begun.start.metrics, _Ends(carry.diverged_at, carry.stopping and carry.stopping.best_evaluation, validation))
    )
    share = _Clock(clock.seconds / len(requests), clock.compile_seconds / len(requests))
    alone = lanes.alone
    return [
        _trajectory(
            program,
            _lane(start_metrics, lane, alone),
            _lane(reached, lane, False),
            _lane(ends if _is_reported(request) else ends._replace(validation={}), lane, alone),
            share,
            was_cut,
            _within(_lane(reached, lane, False), request, until),
            _lane((params, state), lane, alone),
        )
        for lane, request in enumerate(requests)
    ]


def _is_reported(request: Request) -> bool:
    """Whether its final parameters are evaluated apart from its curve."""
    return request.stage == "final" and request.gradients is None


def begin(program: Program, requests: Sequence[Request]) -> Begun:
    """Returns what the calls of a trial need, or of as many trials as there are lanes."""
    shared, recipe = program.shared, program.recipe
    problem = shared.problem
    stacked = _single if shared.lanes.alone else _stacked
    # Weakly typed, as constants are: a traced decay keeps an average of bfloat16 what it is.
    traced = recipe.traced
    values = {name: stacked([float(np.float32(one.hyperparameters[name])) for one in requests]) for name in traced}
    name = zlib.crc32(problem.name.encode())
    words = stacked([np.array([name, STAGES[one.stage], one.seed], np.uint32) for one in requests])
    arrays = shared.arrays(requests[0].study)
    held_out = _held_out(arrays, is_judged=requests[0].is_judged)
    start = shared.start(words, held_out)
    blocks = _blocks(program, requests, arrays["train"])
    return Begun(start, program.begin(start, values), values, *blocks, arrays, held_out)


def _held_out(arrays: Mapping[str, Batch], *, is_judged: bool) -> HeldOut:
    return HeldOut(arrays["validation"], arrays["test"], jnp.bool_(is_judged))


def _blocks(program: Program, requests: Sequence[Request], whole: Batch) -> tuple[int, Iterator[Block]]:
    """How many evaluations a call covers, and the blocks of a trial, or of as many as there are lanes."""
    shared, recipe = program.shared, program.recipe
    problem, lanes = shared.problem, shared.lanes
    each, interval = call_points(recipe.evaluations), recipe.segment_steps
    if shared.block_bytes is None:
        stacked = _single if lanes.alone else _stacked
        calls = recipe.evaluations // each
        every = [trial_order(problem, one.stage, one.seed, (each, interval), calls) for one in requests]
        return each, (Block(stacked(part), whole) for part in itertools.islice(zip(*every, strict=True), calls))
    first = PROBE_EXAMPLES if recipe.probes else 0  # probes look at the split's first examples
    cut = cut_of(problem, lanes.trials, room=shared.block_bytes, points=each, interval=interval, first=first)
    orders = [batches_of(problem, one.stage, one.seed) for one in requests]
    train = problem.dataset.of_study(requests[0].study).train
    blocks = stream(problem, train, orders, cut, lanes, evaluations=recipe.evaluations, interval=interval, first=first)
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
) -> tuple[Reached, Carry, Begun, _Clock, bool]:
    """The host's loop. Returns what was reached as [lanes, points, ...], the last carry, and how long it took."""
    alone = program.shared.lanes.alone
    began = time.perf_counter()
    begun = begin(program, requests)
    carry, each = begun.carry, begun.evaluations
    calls = program.recipe.evaluations // each
    blocks: list[Reached] = []
    first_call = 0.0
    was_cut = False
    for call in range(calls if until is None else min(-(-until // each), calls)):
        carry, reached = _call_once(program, begun, carry)
        blocks.append(jax.tree.map(lambda leaf: leaf[None], reached) if alone else reached)
        if call == 0:
            jax.block_until_ready(reached)
            first_call = time.perf_counter() - began
        elif _over(blocks[-2], requests):  # looked at one call late, so that the one in flight goes on
            break
        if limit is not None and 0 < call < calls - 1:
            jax.block_until_ready(reached)
            # The first call compiled: it counts as much as the later ones took.
            was_cut = (time.perf_counter() - began - first_call) * (call + 1) / call > limit
            if was_cut:
                break
    table = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *blocks)
    seconds = time.perf_counter() - began
    per_call = (seconds - first_call) / max(len(blocks) - 1, 1)
    clock = _Clock(seconds - first_call + per_call, max(first_call - per_call, 0.0))
    return table, carry, begun, clock, was_cut


def _lane(tree: Any, lane: int, alone: bool) -> Any:
    """One lane of a tree whose leaves have lanes as their first axis; the tree itself where a trial is alone."""
    return tree if alone else jax.tree.map(lambda leaf: leaf[lane], tree)


def _single(items: Sequence[Any]) -> Any:
    return jnp.asarray(items[0])


def _stacked(items: Sequence[Any]) -> Any:
    return jnp.stack([jnp.asarray(item) for item in items])


def _over(block: Reached, requests: Sequence[Request]) -> bool:
    """Whether every lane has come to its end."""
    bounds = np.array([[request.bound] for request in requests])
    ended = np.asarray(block.bad) | np.asarray(block.void) | (_in_gradients(block) > bounds)
    return bool(np.all(np.any(ended, axis=1)))


def _in_gradients(reached: Reached) -> np.ndarray[Any, Any]:
    """What was evaluated up to each point, in gradients: [..., points] float64."""
    counts = np.moveaxis(np.asarray(reached.evaluations, np.float64), -1, 0)
    return np.asarray(Evaluations(*counts).in_gradients, np.float64)


def _within(reached: Reached, request: Request, until: int | None) -> int:
    """How many of the points that a lane reached belong to its trial."""
    ran = len(reached.void) if until is None else min(len(reached.void), until)
    return int(np.searchsorted(_in_gradients(reached)[:ran], request.bound, side="right"))


def _trajectory(
    program: Program,
    start_metrics: Mapping[str, Any],
    reached: Reached,
    ends: _Ends,
    clock: _Clock,
    was_cut: bool,
    ran: int,
    final: tuple[Params, State],
) -> Trajectory:
    """One lane's table and last carry as what a trial returns."""
    recipe = program.recipe
    diverged_at, best, validation = ends
    count = min(int(np.argmax(reached.void)) if reached.void.any() else ran, ran)
    bad = reached.bad[:count]
    diverged = bool(bad.any())
    if diverged:  # whatever was still in flight, the curve ends where it went wrong
        count = int(bad.argmax()) + 1
    status: Status = "finished"
    if diverged:
        status = "diverged"
    elif count < ran:
        status = "stopped"
    elif was_cut and ran == len(reached.void):
        status = "cut off"
    names = sorted(start_metrics)
    start_row = np.full(reached.point.shape[1], np.nan, np.float32)  # losses and probes: nothing was trained yet
    start_row[: len(names)] = [start_metrics[name] for name in names]
    table = np.concatenate([start_row[None], reached.point[:count]])
    columns = [*names, TRAINING_LOSS, *program.player_curves, *program.probe_curves]
    steps = np.arange(count + 1, dtype=np.int64) * recipe.segment_steps
    last = int(steps[-1])
    return Trajectory(
        status=status,
        steps=steps,
        curves={name: np.ascontiguousarray(column) for name, column in zip(columns, table.T, strict=True)},
        validation={} if diverged else {name: float(value) for name, value in validation.items()},
        evaluations=Evaluations(*map(int, reached.evaluations[count - 1])) if count else NOTHING,
        gradients=np.concatenate([[0.0], _in_gradients(reached)[:count]]),
        diverged_at=(int(diverged_at) if 0 <= diverged_at < last else last) if diverged else None,
        restored_at=None if best is None else (int(best) + 1) * recipe.segment_steps,
        seconds=clock.seconds,
        compile_seconds=clock.compile_seconds,
        params=final[0],
        state=final[1],
    )
