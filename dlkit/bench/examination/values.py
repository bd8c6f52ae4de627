"""Losses, gradients and metrics of one's own problem: finite at its start, of the scale that is said, and moving."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from dlkit.bench.examination.looks import HELD, Arrays, Look, Looker, batch_of, held_of
from dlkit.bench.examination.pairs import unpaired
from dlkit.bench.examination.ticks import Tick
from dlkit.bench.identity.own_errors import in_words, where_raised
from dlkit.bench.identity.places import place_within
from dlkit.bench.problems.base import Problem

__all__ = ["value_ticks"]

SEEDS = 3
STEPS = 30  # of Adam on one batch
RATE = 1e-2
QUICK = 0.3  # seconds that those steps may always take
SHARE = 0.01  # of all steps of the study, that they may take else
LOWER = 1e-3  # relative: by how much the loss on one batch has to fall
NOISE = 0.1  # of perturbed parameters


def value_ticks(looker: Looker, *, study_steps: float) -> Iterator[Tick]:
    """Looks at losses, gradients and metrics of one's own problem.

    At the initial parameters of several seeds, at perturbed ones, and after some steps of Adam on one batch: what is
    wrong at the start alone, such as a correlation with predictions that are all the same, is no mistake.

    Args:
        looker: of the problem.
        study_steps: how many training steps the study takes, of which these are to be a small part.

    Yields:
        A tick for each thing that was looked at.
    """
    problem = looker.problem
    owner = f"problem '{problem.name}'"
    try:
        yield from _looked_at(looker, owner, study_steps)
    except Exception as error:
        place = where_raised(error)
        text = f"its functions raised {in_words(error)}"
        yield Tick("values", text, False, owner, place, "mend what raises there")


def _looked_at(looker: Looker, owner: str, study_steps: float) -> Iterator[Tick]:
    problem = looker.problem
    held = {part: held_of(problem, part) for part in ("validation", "test")}
    parts = ("validation", "test") if problem.dataset.holds_out else ("validation",)
    looks: list[Look] = []
    for seed in range(SEEDS):
        params, state = looker.start(seed)
        batch = batch_of(problem, seed)
        looks += [looker.look(params, state, batch, held[part]) for part in parts]
    ticks = [*_losses(problem, owner, looks)]
    yield from ticks
    if any(tick.right is False for tick in ticks):
        return
    looker.time()
    params, state = looker.start(0)
    batch = batch_of(problem, 0)
    shaken = _shaken(params)
    looks.append(looker.look(shaken, state, batch, held["validation"]))
    trained, path = _descended(looker, params, state, batch, held["validation"], study_steps)
    later = [looks[-1], *path[-1:]]
    yield from _metrics(looker, owner, looks, later, (trained, state))
    yield from unpaired(looker, owner, (shaken, trained), state, batch, held["validation"])
    yield from _idle(owner, [*looks, *path])
    yield from _overfits(problem, owner, path)


def _losses(problem: Problem, owner: str, looks: Sequence[Look]) -> Iterator[Tick]:
    """Whether losses and gradients are finite at the start."""
    losses = {player.name: player.loss for player in problem.players} or {"": problem.loss}
    for name, function in losses.items():
        whose = f"the loss of player '{name}'" if name else "the loss"
        values = [each.losses[name] for each in looks]
        if not np.isfinite(values).all():
            text = f"{whose} is {_first_bad(values)} at the initial parameters"
            yield Tick("loss", f"{text}{_labels(problem)}", False, owner, place_within(function), _mend(problem))
            return
    gradients = [leaf for each in looks for leaf in _leaves(each.gradients)]
    bad = sorted({path for path, leaf in gradients if not np.isfinite(leaf).all()})
    if bad:
        remedy = (
            "look for roots, logarithms and divisions at 0 (jax.debug_nans shows where), and for where() around them"
        )
        text = f"the gradient of {bad[0]} is not finite at the initial parameters"
        yield Tick("loss", text, False, owner, place_within(problem.loss), remedy)
        return
    yield Tick("loss", f"{owner}: finite at the start with {SEEDS} seeds, and so are its gradients", True)


def _labels(problem: Problem) -> str:
    """What a loss of labels would stumble over."""
    for name, array in problem.dataset.train.items():
        if array.dtype.kind in "iu" and array.ndim == 1 and array.size:
            low, high, count = int(array.min()), int(array.max()), len(np.unique(array))
            if low == 1 and high == count:
                return f"; labels '{name}' run from 1 to {high}, and class indices start at 0"
            if low < 0:
                return f"; labels '{name}' go down to {low}, and class indices start at 0"
    return ""


def _mend(problem: Problem) -> str:
    if _labels(problem):
        return "number the classes from 0"
    return "look for logarithms and divisions at 0, and for inputs that need scaling"


def _metrics(
    looker: Looker, owner: str, looks: Sequence[Look], later: Sequence[Look], trained: tuple[Any, Any]
) -> Iterator[Tick]:
    """Whether metrics are finite and have the scale that is said: at the start, or at least after some steps."""
    problem = looker.problem
    start = looks[: len(looks) - 1]
    right = True
    for name, meaning in problem.metrics.items():
        is_judged = name == problem.metric
        first, then = ([each.metrics[name] for each in them] for them in (start, later))
        verdict = False if is_judged else None
        place = place_within(problem.example_scores or problem.evaluate)
        if not np.isfinite(then).all() and _stays_bad(looker, name, trained):
            text = f"metric '{name}' is {_first_bad(then)} at the start, and after some steps too"
            remedy = "mend it, or judge by another metric" if is_judged else "mend it, or leave it out"
            yield Tick("metrics", f"{text}{_labels(problem)}", verdict, owner, place, remedy)
            right &= not is_judged
        elif meaning.scale == "log" and min(first + then) < -(meaning.floor or 0.0):
            text = f"metric '{name}' is {min(first + then):.3g}, and its scale is logarithmic"
            remedy = "give it the scale 'linear', or a floor if that is rounding"
            yield Tick("metrics", text, verdict, owner, place, remedy)
            right &= not is_judged
        elif meaning.scale == "log" and not any(first + then):
            text = f"metric '{name}' is exactly 0 before and after some steps: ratios of it say nothing"
            yield Tick("metrics", text, None, owner, place, "give it the scale 'linear', or mend it")
        elif not np.isfinite(first).all():
            text = f"metric '{name}' is {_first_bad(first)} at the initial parameters, and finite after some steps"
            yield Tick("metrics", text, None, owner, place)
    if right:
        yield Tick("metrics", f"{owner}: '{problem.metric}' is finite", True)


def _stays_bad(looker: Looker, name: str, trained: tuple[Any, Any]) -> bool:
    """Whether a metric is not finite on the whole of validation either."""
    problem = looker.problem
    validation = dict(problem.dataset.validation)
    if max(problem.dataset.sizes[1:]) <= HELD:
        return True
    return not np.isfinite(float(jax.jit(problem.evaluate)(*trained, validation)[name]))


def _shaken(params: Any) -> Any:
    """Parameters with noise."""
    rng = np.random.default_rng(0)

    def moved(leaf: Any) -> Any:
        array = np.asarray(leaf)
        if not np.issubdtype(array.dtype, np.floating) and array.dtype.kind != "V":
            return array
        return (array + NOISE * rng.normal(size=array.shape)).astype(array.dtype)

    return jax.tree.map(moved, params)


def _descended(
    looker: Looker, params: Any, state: Any, batch: Arrays, held: Arrays, study_steps: float
) -> tuple[Any, list[Look]]:
    """Parameters after some steps of Adam on one batch, and what was seen on the way; none for games."""
    if looker.problem.players or not jax.tree.leaves(params):
        return params, []
    leaves, tree = jax.tree.flatten(params)
    first = [np.zeros(np.shape(leaf), np.float32) for leaf in leaves]
    second = [np.zeros(np.shape(leaf), np.float32) for leaf in leaves]
    path: list[Look] = []
    last = max(0, (looker.problem.steps or 1) - 1)  # of a loss that is a schedule's, what it ends as
    allowed = max(QUICK / looker.seconds, SHARE * study_steps if np.isfinite(study_steps) else 0)
    for step in range(1, 1 + int(min(STEPS, allowed))):
        path.append(looker.look(jax.tree.unflatten(tree, leaves), state, batch, held, last))
        for place, gradient in enumerate(np.asarray(each, np.float32) for each in jax.tree.leaves(path[-1].gradients)):
            # m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w - a m / sqrt v, each average without its start
            first[place] = 0.9 * first[place] + 0.1 * gradient
            second[place] = 0.999 * second[place] + 0.001 * gradient**2
            move = first[place] / (1 - 0.9**step) / (np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8)
            leaves[place] = (leaves[place] - RATE * move).astype(np.asarray(leaves[place]).dtype)
    trained = jax.tree.unflatten(tree, leaves)
    if path:
        path.append(looker.look(trained, state, batch, held, last))
    return trained, path


def _idle(owner: str, looks: Sequence[Look]) -> Iterator[Tick]:
    """Parameters that no look gave a gradient."""
    moved: dict[str, bool] = {}
    for each in looks:
        for path, leaf in _leaves(each.gradients):
            moved[path] = moved.get(path, False) or bool(np.any(leaf))
    idle = [path for path, has_moved in moved.items() if not has_moved]
    if idle:
        many = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        text = f"parameter {idle[0]}{many} never gets a gradient: the loss does not depend on it"
        yield Tick("gradients", text, None, owner, "", "leave it out if it is not meant")


def _overfits(problem: Problem, owner: str, path: Sequence[Look]) -> Iterator[Tick]:
    """Whether a few steps lower the loss on one batch."""
    if len(path) <= STEPS // 2:
        return
    losses = [each.losses[""] for each in path]
    fell = losses[0] - np.nanmin(losses[1:])
    shown = f"{len(path) - 1} steps of Adam on one batch took the loss from {losses[0]:.4g} to {np.nanmin(losses):.4g}"
    if fell > LOWER * abs(losses[0]):
        yield Tick("one batch", f"{owner}: {shown}", True)
    else:
        remedy = "if that is not its minimum, look for a gradient that is cut off (stop_gradient, argmax, rounding)"
        yield Tick("one batch", f"{shown}: it does not fall", None, owner, place_within(problem.loss), remedy)


def _first_bad(values: Sequence[float]) -> str:
    bad = next(value for value in values if not np.isfinite(value))
    return "NaN" if np.isnan(bad) else f"{bad:g}"


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), np.asarray(leaf, np.float32)) for path, leaf in found]
