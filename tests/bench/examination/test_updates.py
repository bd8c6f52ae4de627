"""Where one's own optimizers move the parameters: what climbs, what stands still, what is only unusual."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dlkit import bench
from dlkit.bench import optimizers
from dlkit.bench.examination.ticks import Examination
from dlkit.bench.examination.updates import update_ticks
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.optimizers.transformations import lookahead, sharpness_aware
from dlkit.bench.training.recipe import Recipe

RATE = {"learning_rate": bench.log_uniform(1e-3, 0.1)}
MASK = {"w": True, "frozen": {"c": False}}
LABELS = {"w": "moves", "frozen": {"c": "stays"}}


def bowl(**changes):
    """Two leaves in a bowl."""
    return bench.Problem(
        name="bowl",
        init=lambda key: ({"w": jax.random.normal(key, (3,)), "frozen": {"c": jnp.ones((2, 2))}}, None),
        loss=lambda p, s, b, k: ((p["w"] ** 2).sum() + (p["frozen"]["c"] ** 2).sum(), s),
        evaluate=lambda p, s, b: {"m": (p["w"] ** 2).sum()},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"m": bench.Metric("lower")},
        steps=40,
        **changes,
    )


def some_are_long(kinds):
    quick = ("masked", "sign of adam", "clip", "roles")
    return [pytest.param(kind, marks=() if kind in quick else pytest.mark.long) for kind in kinds]


def ticks_of(build, space=RATE, *, schedule="constant", **more):
    made = build if isinstance(build, bench.Optimizer) else bench.Optimizer("mine", build, space, **more)
    static = {name: options[0] for name, options in made.static.items()}
    recipe = Recipe(optimizer=made, steps=200, evaluations=2, static=static, schedule=get_schedule(schedule))
    return list(update_ticks(bowl(), recipe, label="mine"))


def partition(rest):
    return lambda learning_rate: optax.partition({"moves": optax.sgd(learning_rate), "stays": rest}, LABELS)


def divided(learning_rate):
    halve = optax.stateless(lambda updates, params: jax.tree.map(lambda u: u / jnp.zeros_like(u), updates))
    return optax.chain(halve, optax.scale(-learning_rate))


def summed(learning_rate):
    return optax.stateless(lambda updates, params: jax.tree.map(lambda u: -learning_rate * u.sum(), updates))


def returned(learning_rate):
    return optax.stateless(lambda updates, params: jax.tree.map(lambda u, p: p - learning_rate * u, updates, params))


def ahead(learning_rate):
    """Takes `grad_fn` by name, and none of the other things that updates are given."""
    step = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    return optax.contrib.sam(optax.sgd(learning_rate), step, opaque_mode=True)


RAW = "is the raw gradient, which is added: that goes uphill; optax.masked"
CLIMBS = "its updates go uphill, for every parameter"
WRONG = {
    "masked": (lambda learning_rate: optax.masked(optax.sgd(learning_rate), MASK), RAW),
    "masked adam": (lambda learning_rate: optax.masked(optax.adam(learning_rate), MASK), RAW),
    "masked, clipped": (
        lambda learning_rate: optax.chain(optax.clip_by_global_norm(1.0), optax.masked(optax.sgd(learning_rate), MASK)),
        RAW,
    ),
    "nothing": (lambda learning_rate: optax.identity(), RAW),
    "sign": (lambda learning_rate: optax.scale(learning_rate), CLIMBS),
    "sign of adam": (lambda learning_rate: optax.chain(optax.scale_by_adam(), optax.scale(learning_rate)), CLIMBS),
    "sign of momentum": (lambda learning_rate: optax.sgd(-learning_rate, momentum=0.9), CLIMBS),
    "new parameters": (returned, "return the change, not the new parameters"),
    "not finite": (divided, "is not finite for gradients of size 1"),
    "shape": (summed, "an update must match every parameter"),
    "raises": (lambda learning_rate: optax.sgd(learning_rat), "build raised NameError"),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ("masked", "sign of adam") else pytest.mark.long) for kind in WRONG],
)
def test_what_cannot_be_meant_says_which_parameter_and_where(kind) -> None:
    build, words = WRONG[kind]
    (wrong,) = [tick for tick in ticks_of(build) if tick.right is False]
    assert words in wrong.sentence and wrong.owner == "optimizer 'mine'" and "test_updates.py:" in wrong.place
    assert words is not RAW or kind == "nothing" or "its update of ['frozen']['c'] is" in wrong.text


NOTED = {
    "frozen": (partition(optax.set_to_zero()), RATE, "parameter ['frozen']['c'] is frozen: no update moves it"),
    "multiplier": (
        lambda learning_rate: partition(optax.sgd(-learning_rate))(learning_rate),
        RATE,
        "its update of ['frozen']['c'] goes uphill; right for what is to be maximised",
    ),
    "unused": (
        lambda learning_rate, beta: optax.sgd(learning_rate),
        {**RATE, "beta": bench.uniform(0.0, 1.0)},
        "hyperparameter 'beta' changes no update",
    ),
    "still": (lambda learning_rate: optax.set_to_zero(), RATE, "it moves no parameter in its first 64 steps"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", NOTED)
def test_what_may_be_meant_is_noted(kind) -> None:
    build, space, words = NOTED[kind]
    ticks = ticks_of(build, space)
    assert not [tick for tick in ticks if tick.right is False]
    assert any(words in tick.sentence for tick in ticks if tick.right is None)


ADAM = {
    **RATE,
    "b1": bench.uniform(0.8, 0.95),
    "b2": bench.uniform(0.9, 0.999),
    "eps": bench.log_uniform(1e-10, 1e-6),
    "weight_decay": bench.log_uniform(1e-4, 0.1),
}
FINE = {
    "adamw": (lambda **given: optax.adamw(**given), ADAM),
    "clip": (
        lambda learning_rate, norm: optax.chain(optax.clip_by_global_norm(norm), optax.sgd(learning_rate)),
        {**RATE, "norm": bench.log_uniform(0.1, 10.0)},
    ),
    "accumulation": (
        lambda learning_rate: optax.MultiSteps(optax.adam(learning_rate), 4).gradient_transformation(),
        RATE,
    ),
    "lookahead": (lambda learning_rate: lookahead(optax.sgd(learning_rate), 0.5, sync_period=5), RATE),
    "sharpness": (lambda learning_rate: sharpness_aware(optax.sgd(learning_rate), 0.1), RATE),
    "sharpness of optax": (ahead, RATE),
    "schedule-free": (lambda learning_rate: optax.contrib.schedule_free_adamw(learning_rate), RATE),
    "lion": (lambda learning_rate: optax.lion(learning_rate), RATE),
    "polyak": (lambda learning_rate: optax.polyak_sgd(learning_rate), RATE),
    "wrapped": (optimizers.with_lookahead(optimizers.get("adam")), {}),
}


def by_roles(learning_rate, roles):
    rates = jax.tree.map(lambda role: 2.0 if role.kind == "vector" else 1.0, roles)
    scaled = optax.stateless(lambda updates, params: jax.tree.map(lambda u, rate: rate * u, updates, rates))
    return optax.chain(optax.sgd(learning_rate), scaled)


FINE["roles"] = (bench.Optimizer("mine", by_roles, RATE, roles=True), {})


@pytest.mark.parametrize("kind", some_are_long(FINE))
def test_what_goes_downhill_is_not_flagged(kind) -> None:
    build, space = FINE[kind]
    ticks = ticks_of(build, space, schedule="cosine" if kind == "clip" else "constant")
    assert [tick.sentence for tick in ticks if tick.right is not True] == []


def test_a_schedule_is_asked_for_no_step_beyond_the_last() -> None:
    falling = bench.Schedule("falling", lambda step, horizon: 1.0 - step / (2.0 * horizon))
    own = bench.Optimizer("own", optax.sgd, {"learning_rate": bench.log_uniform(1e-3, 1e-1)})
    short = bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=1)
    assert bench.check("quadratic", bench.Contender(optimizer=own, schedule=falling), budget=short).right


def test_what_is_wrong_with_two_labels_of_one_optimizer_is_said_once():
    climbing = bench.Optimizer("climbing", optax.scale, {"step_size": bench.log_uniform(1e-3, 0.1)})
    recipe = Recipe(optimizer=climbing, steps=200, evaluations=2, static={}, schedule=get_schedule("constant"))
    ticks = [each for label in ("one", "other") for each in update_ticks(bowl(), recipe, label=label)]
    examination = Examination(ticks, None, None)  # type: ignore[arg-type]
    with pytest.raises(bench.UserError) as caught:
        examination.require_right()
    first, _ = str(caught.value).splitlines()
    assert first.startswith("optimizers 'one', 'other': ") and CLIMBS in first
    (wrong,) = [line for line in str(examination).splitlines() if line.startswith("WRONG")]
    assert first in wrong
