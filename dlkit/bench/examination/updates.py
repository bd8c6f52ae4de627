"""Where one's own optimizers move the parameters: downhill on made-up gradients, each leaf, by each hyperparameter."""

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.examination.ticks import Tick
from dlkit.bench.identity.own_errors import in_words, where_raised
from dlkit.bench.identity.places import place_of, place_within
from dlkit.bench.machine.quick_compilation import quickly_compiled
from dlkit.bench.optimizers.base import Optimizer, require_matching
from dlkit.bench.plan.space import Range
from dlkit.bench.problems.base import Problem
from dlkit.bench.training import transformation
from dlkit.bench.training.recipe import Recipe

__all__ = ["update_ticks"]

STEPS = 64
FEWEST_STEPS = 16  # from which on what does not move is still
MOST_NUMBERS = 20_000_000  # parameters times steps
CURVATURE = 0.1  # of the made-up loss
FEWEST_NUMBERS = 5  # parameters from which on a direction is no chance
GROWS = 0.9  # cosine between parameters and what they moved by without a gradient, from which on they grow
RISE = 0.5  # cosine between what a leaf moved by and its gradient, from which on it climbs
SAME = 1e-5  # relative, of an update that is the gradient
SIZES = (1.0, 1e-5, 1e3)  # of gradients: some hyperparameters matter for small ones alone, or for large ones
SGD_MASK = (
    "optax.masked hands the gradients on that it leaves out: use optax.partition with optax.set_to_zero for those"
)


class _Moves(NamedTuple):
    """What came of some steps, for each leaf.

    Attributes:
        cosine: between what it moved by and its gradient.
        largest: the largest update in size.
        apart: how far the first update that is not 0 is from the gradient, relative to it.
        trace: a number that tells two runs apart.
        growth: cosine between what all parameters moved by and the parameters.
    """

    cosine: Any
    largest: Any
    apart: Any
    trace: Any
    growth: Any


def update_ticks(problem: Problem, recipe: Recipe, *, label: str) -> Iterator[Tick]:
    """Looks at the updates that one's own optimizer makes of made-up gradients of a problem's parameters.

    Args:
        problem: whose parameters.
        recipe: the optimizer, its schedule, and the first of its static choices.
        label: how tables call the contender.

    Yields:
        A tick for each thing that was looked at.
    """
    owner, optimizer = f"optimizer '{label}'", recipe.optimizer
    place = place_within(optimizer.build)
    misfit = _misfit(optimizer)
    if misfit:
        yield Tick("hyperparameters", misfit, False, owner, place, "give build and its space the same names")
        return
    try:
        yield from _moved(problem, recipe, owner, place)
    except Exception as error:
        where = where_raised(error) or place
        text = str(error).removeprefix(f"optimizer '{optimizer.name}': ")
        text = text if isinstance(error, UserError) else f"its update raised {in_words(error)}"
        yield Tick("updates", text, False, owner, where, "mend what raises there")


def _misfit(optimizer: Optimizer) -> str:
    """What is wrong with the names that build takes; empty if nothing is, or it does not tell."""
    if optimizer.players:
        return ""
    given = [
        *optimizer.space,
        *optimizer.static,
        *(["key"] if optimizer.random else []),
        *(["roles"] if optimizer.roles else []),
    ]
    try:
        signature = inspect.signature(optimizer.build)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(**dict.fromkeys(given))
    except TypeError as error:
        if place_of(optimizer.build):
            return f"build is given {', '.join(given) or 'nothing'}, and takes {signature}: {error}"
    return ""


def _moved(problem: Problem, recipe: Recipe, owner: str, place: str) -> Iterator[Tick]:
    params = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))[0]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    steps = min(STEPS, recipe.steps, MOST_NUMBERS // max(numbers, 1))
    if not steps or not paths:
        return
    middle = {name: _value(span, 0.5) for name, span in _space(recipe).items()}
    drawn = [_Drawn.of(params, seed, steps) for seed in (0, 1)]
    roles = transformation.needed_roles(problem, recipe.optimizer)
    run = quickly_compiled(partial(_run, problem, recipe, roles), middle, drawn[0], np.float32(1))
    found = [_host(run(middle, each, np.float32(sign))) for each in drawn for sign in (1, -1)]
    first = found[0]
    if not np.isfinite([first.cosine, first.largest]).all():
        bad = paths[int(np.argmin(np.isfinite(first.largest) & np.isfinite(first.cosine)))]
        text = f"its update of {bad} is not finite for gradients of size 1"
        yield Tick("updates", text, False, owner, place, "look for divisions by 0 in its first steps")
        return
    if numbers >= FEWEST_NUMBERS and all(_host(run(middle, each, np.float32(0))).growth > GROWS for each in drawn):
        remedy = "an update is added to the parameters: return the change, not the new parameters"
        yield Tick("updates", "without a gradient it makes the parameters larger", False, owner, place, remedy)
        return
    others: dict[str, list[tuple[_Moves, _Moves]]] = {}
    for name, span in _space(recipe).items():
        if isinstance(span, Range):
            low, high = ({**middle, name: _value(span, share)} for share in (0.0, 1.0))
            pairs = others[name] = []
            for size in map(np.float32, SIZES):
                pairs.append((_host(run(low, drawn[0], size)), _host(run(high, drawn[0], size))))
                if not _alike(*pairs[-1]):
                    break
    climbing = np.all([each.cosine > RISE for each in found], axis=0)
    yield from _climbers(problem, owner, place, paths, found, climbing, others)
    yield from _still(owner, place, paths, first, steps)
    if steps >= FEWEST_STEPS:
        yield from _idle(owner, place, others)


def _climbers(
    problem: Problem,
    owner: str,
    place: str,
    paths: list[str],
    found: list[_Moves],
    climbing: Any,
    others: Mapping[str, Any],
) -> Iterator[Tick]:
    """Whether parameters move uphill."""
    if not climbing.any():
        yield Tick("updates", f"{owner}: every parameter moves downhill, or not at all", True)
        return
    raw = climbing & np.all([each.apart < SAME for each in found], axis=0)
    fixed = climbing & np.all(
        [each.trace == found[0].trace for sizes in others.values() for each in sizes[0]] or [raw], axis=0
    )
    raw |= fixed
    which = paths[int(np.argmax(raw if raw.any() else climbing))]
    more = int((raw if raw.any() else climbing).sum()) - 1
    named = f"{which}{f' and {more} more' if more else ''}"
    if raw.any() and not problem.players:
        text = f"its update of {named} is the raw gradient, which is added: that goes uphill"
        yield Tick("updates", text, False, owner, place, SGD_MASK)
    elif climbing.all() and not problem.players:
        text = f"its updates go uphill, for every parameter ({named})"
        remedy = "updates are added to the parameters: end with optax.scale(-learning_rate), or scale_by_learning_rate"
        yield Tick("updates", text, False, owner, place, remedy)
    else:
        text = f"its update of {named} goes uphill"
        yield Tick("updates", text, None, owner, place, f"right for what is to be maximised; if not, {SGD_MASK}")


def _still(owner: str, place: str, paths: list[str], first: _Moves, steps: int) -> Iterator[Tick]:
    """Whether parameters never move."""
    still = first.largest == 0
    if steps < FEWEST_STEPS or not still.any():
        return
    if still.all():
        text = f"it moves no parameter in its first {steps} steps"
        yield Tick("updates", text, None, owner, place, "see that a warmup or an accumulation is that long on purpose")
        return
    more = f" and {int(still.sum()) - 1} more" if still.sum() > 1 else ""
    text = f"parameter {paths[int(np.argmax(still))]}{more} is frozen: no update moves it"
    yield Tick("updates", text, None, owner, place)


def _idle(owner: str, place: str, others: Mapping[str, Any]) -> Iterator[Tick]:
    """Hyperparameters that change nothing."""
    for name, sizes in others.items():
        if all(_alike(low, high) for low, high in sizes):
            text = f"hyperparameter '{name}' changes no update"
            yield Tick("hyperparameters", text, None, owner, place, "use it in build, or leave it out of the space")


def _alike(first: _Moves, second: _Moves) -> bool:
    return np.array_equal(first.trace, second.trace, equal_nan=True)


def _space(recipe: Recipe) -> dict[str, Range | float]:
    return {**recipe.optimizer.space, **recipe.schedule.space}


def _value(span: Range | float, share: float) -> Any:
    return np.float32(span.value(share) if isinstance(span, Range) else span)


def _host(moves: Any) -> _Moves:
    found: _Moves = jax.tree.map(np.asarray, jax.device_get(moves))
    return found


class _Drawn(NamedTuple):
    """What is drawn on the host, since a program that draws takes long to compile.

    Attributes:
        params: made-up parameters.
        gradient: made-up gradients, no entry of which is near 0.
        factors: [steps] by which gradients differ in size from step to step.
        key_data: of the key for what an optimizer draws itself.
    """

    params: Any
    gradient: Any
    factors: Any
    key_data: Any

    @classmethod
    def of(cls, shapes: Any, seed: int, steps: int) -> "_Drawn":
        """Draws parameters and gradients of some shapes."""
        rng = np.random.default_rng(seed)
        params, other = (
            jax.tree.map(lambda leaf: np.asarray(rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes) for _ in "ab"
        )
        gradient = jax.tree.map(lambda leaf: np.where(leaf < 0, leaf - 0.5, leaf + 0.5).astype(leaf.dtype), other)
        factors = np.exp(0.5 * rng.normal(size=steps)).astype(np.float32)
        return cls(params, gradient, factors, np.asarray(jax.random.key_data(jax.random.key(seed))))


def _run(problem: Problem, recipe: Recipe, roles: Any, values: Any, drawn: _Drawn, size: Any) -> _Moves:
    """Some steps on a loss whose gradient is made up, and what they came to."""
    params, key_data, steps = drawn.params, drawn.key_data, len(drawn.factors)
    base = jax.tree.map(lambda leaf: (size * leaf).astype(leaf.dtype), drawn.gradient)
    every = max(1, recipe.steps // steps)
    opt_state = transformation.first_state(problem, recipe, values, params, key_data, roles)

    def step(carry: Any, number: Any) -> Any:
        params, opt_state, moved, largest, apart = carry
        gradient = jax.tree.map(lambda g: (g * drawn.factors[number]).astype(g.dtype), base)
        built = transformation.transformations(problem, recipe, values, number * every, key_data, roles)
        updates, opt_state = _update(problem, recipe.optimizer, built, gradient, opt_state, params)
        now = [jnp.abs(u - g).max() / jnp.abs(g).max() for u, g in _zipped(updates, gradient)]
        sizes = [jnp.abs(leaf).max() for leaf in _floats(updates)]
        first = [(was < 0) & (size > 0) for was, size in zip(apart, sizes, strict=True)]
        apart = jnp.stack([jnp.where(new, each, was) for new, each, was in zip(first, now, apart, strict=True)])
        moved = jax.tree.map(lambda m, u: m + u.astype(m.dtype), moved, updates)
        params = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates)
        return (params, opt_state, moved, jnp.maximum(largest, jnp.stack(sizes)), apart), None

    count = len(jax.tree.leaves(params))
    still = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params)
    carry = (params, _strong(opt_state), still, jnp.zeros(count), -jnp.ones(count))
    (params, opt_state, moved, largest, apart), _ = jax.lax.scan(step, carry, jnp.arange(steps))
    products = jnp.stack([(m * g).sum() for m, g in _zipped(moved, base)])
    lengths = jnp.stack([jnp.linalg.norm(m) * jnp.linalg.norm(g) for m, g in _zipped(moved, base)])
    trace = products + _evaluated(problem, recipe.optimizer, opt_state, params, base)
    growth = _cosine(_floats(moved), _floats(drawn.params))
    return _Moves(products / jnp.where(lengths == 0, 1, lengths), largest, jnp.abs(apart), trace, growth)


def _cosine(first: list[Any], second: list[Any]) -> Any:
    """Between two lists of arrays as one vector; 0 where one of them is."""
    one, other = (jnp.concatenate([leaf.ravel() for leaf in each]) for each in (first, second))
    one = one / jnp.maximum(jnp.abs(one).max(), 1e-30)  # of what grew without end, squares overflow
    lengths = jnp.linalg.norm(one) * jnp.linalg.norm(other)
    return one @ other / jnp.where(lengths == 0, 1, lengths)


def _update(problem: Problem, optimizer: Optimizer, built: Any, gradient: Any, state: Any, params: Any) -> Any:
    """The updates of all parameters: of players, each by its own."""
    if not problem.players:
        return _update_alone(optimizer, built, gradient, state, params)
    each = {
        name: _update_alone(optimizer.of(name), built[name], gradient[name], state[name], params[name])
        for name in params
    }
    return {name: found[0] for name, found in each.items()}, {name: found[1] for name, found in each.items()}


def _update_alone(optimizer: Optimizer, built: Any, gradient: Any, state: Any, params: Any) -> Any:
    def value_of(where: Any, obj_fn: Any = None, grad_fn: Any = None) -> Any:
        # 1 + g (w - p) + c (w - p)^2 / 2: its gradient at p is g
        terms = [
            (g * (w - p)).sum() + 0.5 * CURVATURE * ((w - p) ** 2).sum()
            for w, p, g in zip(*map(jax.tree.leaves, (where, params, gradient)), strict=True)
        ]
        return 1.0 + jnp.asarray(terms).sum()

    def gradient_of(where: Any, *_: Any) -> Any:
        return jax.grad(value_of)(where)

    more = {"value": jnp.float32(1), "grad": gradient, "value_fn": value_of, "obj_fn": value_of, "grad_fn": gradient_of}
    updates, new = built.update(gradient, state, params, **more)
    require_matching(optimizer, updates, params)
    return updates, _like(state, new)


def _evaluated(problem: Problem, optimizer: Optimizer, opt_state: Any, params: Any, base: Any) -> Any:
    """Numbers of the parameters that would be evaluated."""
    if optimizer.eval_params is None or problem.players:
        return 0.0
    shown = optimizer.eval_params(opt_state, params)
    return jnp.stack([(s * g).sum() for s, g in _zipped(shown, base)])


def _zipped(first: Any, second: Any) -> list[tuple[Any, Any]]:
    return list(zip(_floats(first), _floats(second), strict=True))


def _floats(tree: Any) -> list[Any]:
    return [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]


def _strong(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf if _is_key(leaf) else jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def _like(state: Any, new: Any) -> Any:
    """A new state with the types of the old one, which a loop needs."""
    return jax.tree.map(
        lambda old, now: now if _is_key(old) else jnp.asarray(now).astype(jnp.asarray(old).dtype), state, new
    )


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key))
