"""The executables of a compile group: the functions of `segment`, bound to one problem and recipe and compiled.

What all optimizers on a problem share is compiled once for all of them: where trials begin, and evaluations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench import probes
from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.problems.base import Batch, Problem, are_means, require_splittable
from dlkit.bench.training import evaluation, games, segment, stopping, transformation
from dlkit.bench.training.executables import kept
from dlkit.bench.training.fast_products import Rewrite, fast_products, of_products, with_layout
from dlkit.bench.training.lanes import ALONE, Lanes, compiled, placed, split_examples
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.segment import Setup
from dlkit.bench.training.step import Carry
from dlkit.bench.training.streaming import block_bytes

__all__ = ["ProblemProgram", "Program", "compile_problem", "compile_program"]

KEPT_STUDIES = 2  # whose arrays lie on the device: trials come study by study


@dataclass(frozen=True, eq=False)
class ProblemProgram:
    """The executables that every optimizer on a problem shares, and the data they run on.

    With lanes, every argument and result but the data has the lanes as its first axis.

    Attributes:
        problem: what is trained.
        lanes: how many trials run side by side, and on how many devices.
        rewritten: function -> the one to compile in its place, with fast convolutions and products.
        start: ``start(words) -> Start``: initial parameters and keys.
        evaluate: ``evaluate(params, state, split) -> (metrics, scores)``: on validation or on test; scores are the
            judged metric's [examples], as `Outcome.example_scores`, None where there are none.
        metrics: ``metrics(params, state, split) -> metrics`` of a point of the curve.
        apart: ``apart(evaluated) -> [(params, state), ...]``: the models of a call, [evaluations, ...], one by one.
        samples: ``samples(params, state)`` of one trial, as `Problem.samples`; None where nothing is generated.
        arrays: ``arrays(study)``: split -> name -> device array, as a study splits the examples; if the training split
            streams, that lies on the host.
        block_bytes: how much a block of training examples may take; None for a split that lies on the device.
    """

    problem: Problem
    lanes: Lanes
    rewritten: Rewrite
    start: Any
    evaluate: Any
    metrics: Any
    apart: Any
    samples: Any
    arrays: Callable[[int], Mapping[str, Batch]]
    block_bytes: int | None = None

    @property
    def redraws(self) -> bool:
        """Whether each study has examples of its own."""
        return self.problem.dataset.redraw is not None


@dataclass(frozen=True, eq=False)
class Program:
    """The executables of one problem and recipe: the functions of `segment` with their setup bound.

    Attributes:
        shared: the executables of the problem.
        setup: what holds for the compile group.
        begin: ``begin(start, hyperparameters) -> Carry``. It may hold the arrays of `start`.
        look: ``look(carry, indices[..., rows], hyperparameters, start, train) -> [curves]``: what the probes measure
            before the first step.
        segment: ``segment(carry, indices[evaluations, steps, rows], hyperparameters, start, train)
            -> (carry, Reached[evaluations])``: after every `steps` what is to be evaluated. The carry that is given is
            used up: its memory becomes that of the one that is returned. Of `start` it needs the keys.
        advance: ``advance(carry, indices[steps, rows], hyperparameters, start, train) -> (carry, losses[steps])``: the
            first steps of an interval; else as `segment`.
        finish: ``finish(carry, train) -> (params, state)`` to evaluate; None where they are those of the carry.
        begin_stopping: ``begin_stopping(params, state) -> EarlyStoppingState``; None without early stopping.
        follow: ``follow(seen, metric, params, state) -> (seen, void)``, early stopping's look at the points of a call:
            a metric for each, parameters and states [evaluations, ...]; None without.
    """

    shared: ProblemProgram
    setup: Setup
    begin: Any
    look: Any
    segment: Any
    advance: Any
    finish: Any
    begin_stopping: Any = None
    follow: Any = None

    @property
    def recipe(self) -> Recipe:
        """What trains the problem."""
        return self.setup.recipe

    @property
    def player_curves(self) -> Sequence[str]:
        """The names of the curves that further players' losses add to the metrics."""
        return [f"{TRAINING_LOSS}_{player.name}" for player in games.others(self.shared.problem)]

    @property
    def probe_curves(self) -> Sequence[str]:
        """The names of the curves that probes add to the metrics and losses."""
        return [curve for probe in self.recipe.probes for curve in probes.curve_names(probe, self.shared.problem)]


def compile_problem(
    problem: Problem, lanes: Lanes = ALONE, memory: int | None = None, *, key: str = ""
) -> ProblemProgram:
    """Prepares the executables of a problem and puts its data on the device; JAX compiles at the first call.

    Args:
        problem: what is trained.
        lanes: how many trials run side by side, and on how many devices; or over how many each batch is split.
        memory: bytes that training examples may take; a split that is larger stays on the host and streams. None for
            what suits the device.
        key: tells a problem of the catalogue from all others, in every process: its executables are kept then. Empty
            for one's own.

    Returns:
        The program.

    Raises:
        UserError: for a split that has to stream and cannot; for batches that cannot be split over the devices.
    """
    key = key and digest([key, str(lanes)])
    if lanes.splits_batches:
        require_splittable(problem, lanes.devices)
    means = are_means(problem)
    problem, rewritten = fast_products(problem)
    room = block_bytes(problem, memory)

    @lru_cache(maxsize=KEPT_STUDIES)
    def arrays(study: int) -> Mapping[str, Batch]:
        data = problem.dataset.of_study(study)
        held_out = {name: placed(getattr(data, name), lanes) for name in ("validation", "test")}
        train: Mapping[str, Any] = data.train if room is not None else placed(data.train, lanes)
        return {"train": train, **held_out}

    def evaluating(function: Callable[..., Any], *more: Any) -> Any:
        of_split = _with_split_examples(partial(function, problem, *more), lanes)
        return kept(compiled(rewritten(of_split), (True, True, False), lanes), key, function.__name__)

    return ProblemProgram(
        problem,
        lanes,
        rewritten,
        start=kept(compiled(rewritten(partial(segment.start, problem)), (True,), lanes), key, "start"),
        evaluate=evaluating(evaluation.judged, means),
        metrics=evaluating(evaluation.at),
        apart=kept(compiled(evaluation.apart, (True,), lanes), key, "apart"),
        samples=problem.samples and compiled(problem.samples, (False, False), ALONE),
        arrays=arrays if problem.dataset.redraw is not None else lambda study: arrays(0),
        block_bytes=room,
    )


def compile_program(
    shared: ProblemProgram, recipe: Recipe, *, variant: Callable[..., Problem] | None = None, key: str = ""
) -> Program:
    """Prepares the executables of a compile group; JAX compiles each at its first call.

    Hyperparameters are traced, so one program serves every point, seed and stage.

    Args:
        shared: the problem's executables.
        recipe: what trains it.
        variant: returns the problem with the traced values of `recipe.choices`; None where there are none.
        key: as of `compile_problem`, of the compile group.

    Returns:
        The program.

    Raises:
        UserError: for what needs the whole training split at every evaluation, if it streams.
    """
    problem = shared.problem
    transformation.require_fitting(problem, recipe.optimizer)
    _require_streamable(shared, recipe)
    if variant is not None and shared.rewritten is with_layout:
        variant = partial(_of_products, variant)
    lanes = shared.lanes
    setup = Setup(problem, recipe, variant, lanes)
    key = key and digest([key, str(lanes)])

    def executable(function: Callable[..., Any], laned: Sequence[bool], *, donated: Sequence[int] = ()) -> Any:
        jitted = compiled(shared.rewritten(partial(function, setup)), laned, lanes, donated=donated)
        return kept(jitted, key, function.__name__)

    functions = stopping.functions_of(problem, recipe)
    watching: dict[str, Any] = {}
    if functions is not None:
        for function, arguments in ((stopping.begin_stopping, 2), (stopping.follow, 4)):
            jitted = compiled(partial(function, functions), (True,) * arguments, lanes)
            watching[function.__name__] = kept(jitted, key, function.__name__)
    return Program(
        shared,
        setup,
        # Nothing to rewrite: it has no network.
        begin=kept(compiled(_with_own_arrays(partial(segment.begin, setup)), (True, True), lanes), key, "begin"),
        look=executable(segment.look, (True, True, True, True, False)),
        segment=executable(segment.segment, (True, True, True, True, False), donated=(0,)),
        advance=executable(segment.advance, (True, True, True, True, False), donated=(0,)),
        finish=None if evaluation.is_carried(recipe.optimizer) else executable(segment.finish, (True, False)),
        **watching,
    )


def _with_own_arrays(function: Callable[..., Carry]) -> Callable[..., Carry]:
    """Returns a function that returns a carry whose arrays are all apart: what is used up must not be there twice."""

    def begin(*arguments: Any) -> Carry:
        carry = function(*arguments)
        copied: Carry = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), carry._replace(params=None, state=None))
        return copied._replace(params=carry.params, state=carry.state)

    return begin


def _with_split_examples(function: Callable[..., Any], lanes: Lanes) -> Callable[..., Any]:
    """Returns a function whose last argument, a split of the data, lies over a trial's devices."""
    if not lanes.splits_batches:
        return function
    return lambda *arguments: function(*arguments[:-1], split_examples(arguments[-1], lanes))


def _of_products(variant: Callable[..., Problem], **choices: Any) -> Problem:
    return of_products(variant(**choices))


def _require_streamable(shared: ProblemProgram, recipe: Recipe) -> None:
    """Refuses what needs the whole training split at every evaluation, if it streams."""
    optimizer, problem = recipe.optimizer, shared.problem
    if shared.block_bytes is not None and optimizer.eval_params is not None and problem.reestimate is not None:
        raise UserError(
            f"optimizer '{optimizer.name}' evaluates other parameters than it trains, and problem "
            f"'{problem.name}' has batch statistics: every evaluation re-estimates them on the whole training split, "
            "which cannot stream; allow more memory, or use a normalization without batch statistics"
        )
