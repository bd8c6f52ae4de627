"""Measures how long a compiled step takes and how much memory: contenders in turn, one trial at a time, on one device.

It times the calls that trials make. Where they are too short to time, because the host's share would count, it times a
longer call of the same segment. Evaluations are timed apart; what a segment computes for them, as an average of
parameters, is timed apart too, and subtracted. Where training examples stream, one block stays on the device: steps are
timed, not transfers.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.machine.environment import threads
from dlkit.bench.plan.trials import Timing
from dlkit.bench.problems.base import Batch
from dlkit.bench.training import segment
from dlkit.bench.training.curve import Request
from dlkit.bench.training.evaluation import is_carried
from dlkit.bench.training.executables import executable_of
from dlkit.bench.training.lanes import compiled, held_bytes, split_examples
from dlkit.bench.training.program import Program
from dlkit.bench.training.step import Carry
from dlkit.bench.training.streaming import Block
from dlkit.bench.training.trajectory import CALLS, Begun, begin

__all__ = ["Contestant", "Stretch", "interleaved", "measure", "step_clock"]

REPEATS = 9  # the fewest whose interval for the median leaves out the largest and the smallest
STRETCH_SECONDS = 0.03  # of a repeat, at least
SHORT_SECONDS = 0.005  # of a call: the host may take some tenths of a millisecond for it
LONG_SECONDS = 0.02  # of the longer call that is timed instead
LONGEST_INDICES = 2**23  # numbers
EVALUATIONS = 8  # in one call of the loop that times them


class Contestant(NamedTuple):
    """A contender to be timed.

    Attributes:
        program: for one trial at a time, without probes and early stopping.
        hyperparameters: of its winner.
    """

    program: Program
    hyperparameters: Mapping[str, float]


class Stretch(Protocol):
    """Something to time: a call that can be repeated."""

    def reset(self) -> None:
        """Makes ready for the next repeat; not timed."""

    def run(self, calls: int) -> None:
        """Makes some calls, and waits until they are done."""


def step_clock() -> Callable[[], float]:
    """Returns the clock for steps: the processor's time where one thread does all the work, else the wall clock's.

    The processor's time leaves out what other processes took of the core. Alone on a core both clocks agree.
    """
    alone = jax.default_backend() == "cpu" and threads() == 1
    return time.process_time if alone else time.perf_counter


def measure(
    contestants: Sequence[Contestant],
    *,
    repeats: int = REPEATS,
    seconds: float = STRETCH_SECONDS,
    clock: Callable[[], float] | None = None,
) -> list[Timing]:
    """Times the steps of one problem's contenders in turn.

    Args:
        contestants: contenders on one problem.
        repeats: how often each is timed.
        seconds: how long a repeat takes, at least.
        clock: tells seconds; None for `step_clock`, and where steps take several devices for the wall clock's.

    Returns:
        One timing a contestant. One that raises has its reason and no numbers; the others are timed.
    """
    is_split = any(each.program.shared.lanes.devices > 1 for each in contestants)
    clock = clock or (time.perf_counter if is_split else step_clock())
    timings: list[Timing | None] = [None] * len(contestants)
    trials: dict[int, _Training] = {}
    judges: dict[tuple[int, int], _Judging] = {}
    averages: dict[int, _Judging] = {}
    judge_of: dict[int, tuple[int, int]] = {}
    for place, contestant in enumerate(contestants):
        program = contestant.program
        has_own = not is_carried(program.recipe.optimizer)
        judge_of[place] = (id(program.shared), id(program if has_own else None))  # the others are all evaluated alike
        try:
            training = _Training(contestant, clock)
            if judge_of[place] not in judges:
                judges[judge_of[place]] = _Judging(contestant)
            if has_own:
                averages[place] = _Judging(contestant, evaluates=False)
        except Exception as error:
            timings[place] = Timing(failure=f"{type(error).__name__}: {error}")
        else:
            trials[place] = training
    stretches: list[Stretch] = [*trials.values(), *judges.values(), *averages.values()]
    times = interleaved(stretches, repeats=repeats, seconds=seconds, clock=clock)
    each = iter(np.median(times[len(trials) :], axis=1) / EVALUATIONS)
    evaluation = {key: float(next(each)) for key in judges}
    within = {place: float(next(each)) for place in averages}
    for (place, training), row in zip(trials.items(), times[: len(trials)], strict=True):
        timings[place] = training.timing(row, evaluation[judge_of[place]], within.get(place, 0.0))
    return [timing for timing in timings if timing is not None]


def interleaved(
    stretches: Sequence[Stretch],
    *,
    repeats: int = REPEATS,
    seconds: float = STRETCH_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray[Any, Any]:
    """Times stretches in turn, in an order that is shuffled anew for each repeat: a slow moment hits all alike.

    Args:
        stretches: what to time.
        repeats: how often.
        seconds: how long a repeat takes, at least; its number of calls is found first.
        clock: tells seconds.

    Returns:
        [stretches, repeats] seconds of a call.
    """
    counts = [_count(stretch, seconds, clock) for stretch in stretches]
    times = np.zeros((len(stretches), repeats))
    for repeat in range(repeats):
        for index in np.random.default_rng(repeat).permutation(len(stretches)):
            times[index, repeat] = _took(stretches[index], counts[index], clock) / counts[index]
    return times


def _took(stretch: Stretch, calls: int, clock: Callable[[], float]) -> float:
    stretch.reset()
    began = clock()
    stretch.run(calls)
    return clock() - began


def _count(stretch: Stretch, seconds: float, clock: Callable[[], float]) -> int:
    """How many calls last so long; the first, which may compile, is not looked at."""
    stretch.reset()
    stretch.run(1)
    calls = 1
    while (took := _took(stretch, calls, clock)) < seconds / 4:
        calls = math.ceil(calls * min(seconds / max(took, 1e-9), 50.0))
    return max(calls, math.ceil(calls * seconds / took))


def _request(contestant: Contestant) -> Request:
    """A trial that selects: it evaluates on validation alone, also with early stopping."""
    return Request(contestant.hyperparameters, "tuning", 0)


class _Training:
    """A trial's first calls, over and over: after the last comes the first again, and training goes on."""

    def __init__(self, contestant: Contestant, clock: Callable[[], float]) -> None:
        self._program = contestant.program
        self._request = _request(contestant)
        begun = begin(self._program, [self._request])
        streams = self._program.shared.block_bytes is not None
        self._blocks = [_whole(block) for block in itertools.islice(begun.blocks, 1 if streams else CALLS)]
        arguments = self._arguments(begun, begun.carry, self._blocks[0])
        jax.block_until_ready(self._program.segment(*arguments))  # compiles, unless trials of this process did
        self._memory = _memory_bytes(executable_of(self._program.segment, *arguments))
        self._sizes = (held_bytes(begun.carry.params), held_bytes(begun.carry.opt_state))
        call = _took(self, 1, clock)
        if call < SHORT_SECONDS:
            # by powers of four, so that a program can be found in the compilation cache
            times = 4 ** math.ceil(math.log(LONG_SECONDS / max(call, 1e-6), 4))
            self._blocks = [_longer(self._blocks, times)]

    def _arguments(self, begun: Begun, carry: Carry, block: Block) -> tuple[Any, ...]:
        return carry, block.indices, begun.values, begun.start, block.train

    def reset(self) -> None:
        self._begun = begin(self._program, [self._request])
        jax.block_until_ready(self._begun.carry)

    def run(self, calls: int) -> None:
        begun, carry = self._begun, self._begun.carry
        del self._begun  # the other contenders' turns need the memory
        for call in range(calls):
            block = self._blocks[call % len(self._blocks)]
            carry, _ = self._program.segment(*self._arguments(begun, carry, block))
        jax.block_until_ready(carry)

    def timing(self, call_seconds: np.ndarray[Any, Any], evaluation: float, within: float) -> Timing:
        """The timing that follows from seconds of a call, [repeats], of an evaluation, and of its part in the call."""
        points, steps = self._blocks[0].indices.shape[:2]
        # a call is `points` times (`steps` steps and what is to be evaluated)
        per_step = np.maximum(call_seconds / points - within, 0.0) / steps
        return Timing(tuple(map(float, per_step)), evaluation, *self._sizes, self._memory)


class _Judging:
    """Evaluations in a loop, with the parameters that the optimizer says to evaluate; or what these take alone."""

    def __init__(self, contestant: Contestant, *, evaluates: bool = True) -> None:
        program = contestant.program
        begun = begin(program, [_request(contestant)])
        self._arrays, carry = begun.arrays, begun.carry
        self._carry = carry._replace(opt_state=()) if is_carried(program.recipe.optimizer) else carry
        repeated = program.shared.rewritten(_evaluations(program, evaluates=evaluates))
        self._judge = compiled(repeated, (True, False, False), program.shared.lanes)
        self.run(1)

    def reset(self) -> None:
        pass

    def run(self, calls: int) -> None:
        for _ in range(calls):
            metrics = self._judge(self._carry, self._arrays["train"], self._arrays["validation"])
        jax.block_until_ready(metrics)


def _evaluations(program: Program, *, evaluates: bool) -> Callable[[Carry, Batch, Batch], Any]:
    """Some evaluations, one after another."""
    problem, finish = program.shared.problem, partial(segment.finish, program.setup)

    def repeat(carry: Carry, train: Batch, validation: Batch) -> Any:
        validation = split_examples(validation, program.shared.lanes)

        def found(carry: Carry) -> Any:
            params, state = finish(carry, train)
            return problem.evaluate(params, state, validation) if evaluates else (params, state)

        def once(at: tuple[Carry, Any], _: None) -> tuple[tuple[Carry, Any], None]:
            # XLA must not see that the next evaluation is the same: it would do it once, before the loop.
            after: tuple[Carry, Any] = jax.lax.optimization_barrier((at[0], found(at[0])))
            return after, None

        nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), jax.eval_shape(found, carry))
        return jax.lax.scan(once, (carry, nothing), length=EVALUATIONS)[0][1]

    return repeat


def _whole(block: Block) -> Block:
    """A block as the segment takes it: a part of an interval as an interval of its own."""
    return block if block.is_last else block._replace(indices=block.indices[None], is_last=True)


def _longer(blocks: Sequence[Block], times: int) -> Block:
    """One call with one evaluation and so many times the steps of a block, in the order of a trial."""
    points, each, batch = blocks[0].indices.shape
    steps = np.concatenate([np.asarray(block.indices).reshape(points * each, batch) for block in blocks])
    count = min(times * points * each, LONGEST_INDICES // max(batch, 1))
    return blocks[0]._replace(indices=jnp.asarray(steps[np.arange(count) % len(steps)][None]))


def _memory_bytes(executable: Any) -> int | None:
    """What an executable takes: arguments, results and temporaries; what is both is counted once."""
    found = executable.memory_analysis()
    if found is None:
        return None
    parts = found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes
    return int(sum(parts) - found.alias_size_in_bytes)
