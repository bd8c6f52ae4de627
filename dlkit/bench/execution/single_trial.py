"""Trains one trial by hand, without plan or store."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.execution.checkpoints import FileKeeper
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.work import program_alone
from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.programs import forget_traces
from dlkit.bench.identity.references import imports_anew
from dlkit.bench.machine.boundary import ask_to_stop, forget_to_stop
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.machine.preparation import bound_threads, prepare_process
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.optimizers.schedules import Schedule
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Range, narrow
from dlkit.bench.plan.trials import Order
from dlkit.bench.problems import Problem, ProblemFactory, check_problem
from dlkit.bench.problems.factories import Make
from dlkit.bench.spec.bound_plan import Group, ProblemSource
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, ProblemChoice, is_own, registered_or_own
from dlkit.bench.spec.plausible import implausible_settings
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.lanes import split_over
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin, train_trial
from dlkit.typing import Params, State

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrainedModel", "train"]

NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """What one trial by hand returns.

    Attributes:
        curve: columns step, and one per metric on test, and ``training_loss``.
        params: the final parameters.
        state: the final state.
        test: metric -> value on test with the final parameters; empty if it diverged.
        validation: the same on validation.
        status: ``"finished"``, ``"stopped"`` (early) or ``"diverged"``.
        diverged_at: the step at which it diverged; None if it did not.
    """

    curve: "pd.DataFrame"
    params: Params
    state: State
    test: Mapping[str, float]
    validation: Mapping[str, float]
    status: str
    diverged_at: int | None

    def __repr__(self) -> str:
        ended = self.status if self.diverged_at is None else f"{self.status} at step {self.diverged_at}"
        numbers = ", ".join(f"{metric} {value:.4g}" for metric, value in list(self.test.items())[:8])
        count = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))
        return f"<TrainedModel, {ended}: {f'{numbers}; ' if numbers else ''}{count:,} parameters>"


@bound_threads()
@imports_anew()
def train(
    problem: str | Make | ProblemFactory | Problem,
    optimizer: str | Optimizer,
    *,
    choices: Mapping[str, Any] | None = None,
    seed: int = 0,
    steps: int | None = None,
    evaluations: int = 20,
    schedule: str | Schedule | None = None,
    batch_size: int | Literal["full"] | None = None,
    order: Order | None = None,
    devices: int | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | Path | None = None,
    **hyperparameters: Any,
) -> TrainedModel:
    """Trains once, in this process: the trial that a comparison would run with that seed and those hyperparameters.

    Args:
        problem: a catalogue name, one's own, or a function that makes it from choices.
        optimizer: a registered name, or one's own.
        choices: of the problem. A penalty or rate is compiled in here; where a comparison traces it, the last bits may
            differ.
        seed: of the final stage.
        steps: None for the problem's default.
        evaluations: points of the curve after step 0; divides the steps.
        schedule: of the learning rate; None for constant.
        batch_size: examples a step, ``"full"`` for the whole training split; None for the problem's own.
        order: how batches are drawn: ``"reshuffle"``, ``"fixed"`` or ``"iid"``; None for the problem's own.
        devices: over how many devices each batch is split; None for what the problem says, as a rule one. Where
            `jax.distributed` was started, they are those of all processes, each of which makes this same call.
        early_stopping: when to end early, with the best parameters; None for never.
        checkpoint: a file that is written every few minutes. After a kill the same call goes on from it, with the same
            bits; so does it after Ctrl-C, which is heeded between two calls of the program. It is removed when training
            ends. None for no file.
        **hyperparameters: a number for each hyperparameter of the optimizer's space and setting of the schedule, a
            choice for each static one; those with a fixed value, a single choice, or a default of the function that
            builds it may be left out.

    Returns:
        The curve and the final parameters.

    Raises:
        UserError: for names, hyperparameters or steps that do not fit, and a checkpoint in a folder that there is not.
    """
    import pandas as pd

    prepare_process()
    if is_own(problem, optimizer, schedule):
        forget_traces()  # of functions that read something that has changed since
    choice = ProblemChoice(problem=problem, choices=choices or {}, batch_size=batch_size, order=order, devices=devices)
    loaded = choice.load()
    check_problem(loaded)
    chosen = registered_or_own(optimizer)
    shape = Contender(optimizer=chosen, schedule=schedule).load_schedule()
    traced, static = _settings(chosen, shape, hyperparameters)
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    budget = Budget(steps=steps, evaluations=evaluations)
    recipe = Recipe(
        optimizer=chosen,
        steps=budget.steps_for(f"problem '{loaded.name}'", loaded.steps),
        evaluations=evaluations,
        static=static,
        schedule=shape,
        stopping=early_stopping,
    )
    plain = all(map(_is_plain, [*(choices or {}).values(), *static.values()]))
    if is_own(problem, optimizer, schedule) or not plain:
        # anew: what a function reads may have changed
        program = compile_program(compile_problem(loaded, split_over(loaded.devices)), recipe)
    else:
        changes = {"batch_size": batch_size, "order": order}
        program = _kept_program(loaded, recipe, choices or {}, changes, [problem, optimizer, schedule])
    keeper = None if checkpoint is None else _keeper(Path(checkpoint), program, Request(traced, "final", seed))
    with nullcontext() if keeper is None else _heeding_ctrl_c():
        result = train_trial(program, traced, stage="final", seed=seed, keeper=keeper)
    if keeper is not None:
        keeper.forget()
    curve = pd.DataFrame({"step": result.steps, **result.curves})
    ended = _at_end(result), result.validation, result.status, result.diverged_at
    return TrainedModel(curve, result.params, result.state, *ended)


def _is_plain(choice: Any) -> bool:
    """Whether a choice of a problem or an optimizer says all that it stands for."""
    return isinstance(choice, str | int | float | None) and not is_own(choice if isinstance(choice, str) else None)


def _kept_program(
    problem: Problem, recipe: Recipe, choices: Mapping[str, Any], changes: Mapping[str, Any], names: Sequence[Any]
) -> Program:
    """The program of what is registered in dlkit; this process keeps it, so that another seed or rate compiles nothing.

    Args:
        problem: what is trained.
        recipe: what trains it.
        choices: of the function that makes the problem.
        changes: what `Problem.variant` replaces.
        names: of problem, optimizer and schedule, as they are registered.
    """
    made = [*names, dict(choices), dict(changes), problem.dataset.digest]
    key = digest(["train", *made])
    made_of = tuple(choices.items()), tuple(changes.items())
    source = ProblemSource(key, problem.name, names[0], *made_of, data=problem.dataset.digest)
    rest = [recipe.steps, recipe.evaluations, dict(recipe.static), recipe.stopping and asdict(recipe.stopping)]
    return program_alone(Group(digest([key, *rest]), source, recipe), lanes=split_over(problem.devices))


class _SayingKeeper(FileKeeper):
    """A keeper that says at once what is to be told."""

    def note(self, sentence: str) -> None:
        """Says it on the standard error."""
        say(sentence)


@contextmanager
def _heeding_ctrl_c() -> Iterator[None]:
    """Lets the first Ctrl-C stop training between two calls, where it is kept, and raise then."""
    try:
        with first_interrupt(ask_to_stop):
            yield
    finally:
        forget_to_stop()


def _keeper(path: Path, program: Program, request: Request) -> FileKeeper:
    """Returns what keeps a trial in a file of the user's.

    Whose file it is is told by what is computed: the program as it is compiled, and its data.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"checkpoint '{path}': there is no folder '{path.parent}'; make it, or give another file")
    shared, recipe = program.shared, program.recipe
    begun = begin(program, [request])
    block = next(begun.blocks)
    model = begun.carry.params, begun.carry.state
    words = jax.ShapeDtypeStruct((3,) if shared.lanes.alone else (shared.lanes.trials, 3), np.uint32)
    computed = [
        shared.start.trace(words),
        program.segment.trace(begun.carry, block.indices, begun.values, begun.start, block.train),
        *(shared.metrics.trace(*model, begun.arrays[name]) for name in ("validation", "test")),
    ]
    facts = [recipe.steps, recipe.evaluations, recipe.stopping and asdict(recipe.stopping), shared.problem.order]
    asked = [dict(request.hyperparameters), request.seed, shared.problem.name, shared.problem.dataset.digest]
    trial = digest([*(each.lower().as_text() for each in computed), *facts, *asked])
    identity = {**program_identity(), "lanes": str(shared.lanes)}
    seconds = 60.0 * Resources().checkpoint_minutes
    return _SayingKeeper(path, seconds, [trial], identity, f"{recipe.optimizer.name} on {shared.problem.name}")


def _at_end(result: Trajectory) -> dict[str, float]:
    """The curves' values with the final parameters; none if it diverged."""
    ended = result.validation  # the metrics that are no losses
    at = -1 if result.restored_at is None else int(np.searchsorted(result.steps, result.restored_at))
    return {name: float(result.curves[name][at]) for name in ended}


def _settings(
    optimizer: Optimizer, schedule: Schedule, given: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Splits hyperparameters into traced and static ones, and names those that are unknown or missing."""
    space = {**optimizer.space, **schedule.space}
    known = [*space, *optimizer.static]
    mistakes = [f"no hyperparameter '{name}'; {nearest(name, known)}" for name in given if name not in known]
    parameters = inspect.signature(optimizer.build).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    traced: dict[str, float] = {}
    missing = {
        name: span
        for name, span in space.items()
        if isinstance(span, Range) and name not in given and defaults.get(name, NO_DEFAULT) is NO_DEFAULT
    }
    if missing:
        ranges = ", ".join(f"'{name}' ({span.low:g} to {span.high:g})" for name, span in missing.items())
        mistakes.append(f"needs a number for {ranges}; give each by name: {next(iter(missing))}=...")
    for name, span in space.items():
        if name in missing:
            continue
        value = given.get(name, defaults.get(name) if isinstance(span, Range) else span)
        if not isinstance(value, int | float) or isinstance(value, bool):
            mistakes.append(f"hyperparameter '{name}' needs a number, got {value!r}")
        elif not math.isfinite(value):
            mistakes.append(f"hyperparameter '{name}' needs a finite number, got {value!r}")
        else:
            traced[name] = float(value)
    static = {}
    for name, options in optimizer.static.items():
        if name not in given and len(options) > 1:
            mistakes.append(f"hyperparameter '{name}' needs one of {list(options)}")
        static[name] = given.get(name, options[0])
    mistakes += implausible_settings({**traced, **static}, optimizer, schedule)
    if mistakes:
        raise UserError("\n".join(f"optimizer '{optimizer.name}': {mistake}" for mistake in mistakes))
    narrow(space, traced, owner=f"optimizer '{optimizer.name}'")  # what their scales rule out
    return traced, static
