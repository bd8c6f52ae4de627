"""Schedules against optax's, closed forms, and what a scheduled trial has to equal."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench import optimizers, problems
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import schedules
from dlkit.bench.plan.space import Range
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe, require_schedulable
from dlkit.bench.training.trajectory import train_trial
from tests.bench.optimizers import tasks

INLINE = bench.Resources(executor="inline")

HORIZON = 40


def multipliers(name: str, horizon: int = HORIZON, **settings: float) -> np.ndarray:
    schedule = schedules.get(name)
    given = {key: jnp.asarray(float(value)) for key, value in {**schedule.space, **settings}.items()}
    shape = jax.jit(jax.vmap(lambda step: jnp.asarray(schedule.multiplier(step, horizon, given))))
    return np.asarray(shape(jnp.arange(horizon)))


def of_optax(schedule: optax.Schedule) -> np.ndarray:
    return np.array([schedule(step) for step in range(HORIZON)])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "settings", "oracle"),
    [
        ("constant", {}, optax.constant_schedule(1.0)),
        ("linear", {"final": 0.1}, optax.linear_schedule(1.0, 0.1, HORIZON)),
        ("cosine", {"final": 0.2}, optax.cosine_decay_schedule(1.0, HORIZON, alpha=0.2)),
        (
            "warmup-cosine",
            {"warmup": 0.25},
            # optax starts at 0 and has the peak at step 10; here step 0 moves, and step 9 has it
            optax.join_schedules([optax.linear_schedule(0.1, 1.1, 10), optax.cosine_decay_schedule(1.0, 30)], [10]),
        ),
        (
            "warmup-stable-decay",
            {"warmup": 0.1, "decay": 0.5},
            optax.join_schedules(
                [
                    optax.linear_schedule(0.25, 1.25, 4),
                    optax.constant_schedule(1.0),
                    optax.linear_schedule(1.0, 0.0, 20),
                ],
                [4, 20],
            ),
        ),
        ("step", {}, optax.piecewise_constant_schedule(1.0, {20: 0.1, 30: 0.1})),
        ("one-cycle", {"rise": 0.25}, optax.cosine_onecycle_schedule(HORIZON, 1.0, 0.25, 25.0, 1e4)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shapes_are_those_of_optax(name: str, settings: dict[str, float], oracle: optax.Schedule) -> None:
    np.testing.assert_allclose(multipliers(name, **settings), of_optax(oracle), rtol=2e-5, atol=1e-6)


def test_inverse_sqrt_is_the_papers_formula() -> None:
    # d^-0.5 min(t^-0.5, t W^-1.5), relative to its peak at t = W
    step, warmup = np.arange(1, HORIZON + 1), 8
    formula = np.minimum(step**-0.5, step * warmup**-1.5) / warmup**-0.5
    np.testing.assert_allclose(multipliers("inverse-sqrt", warmup=0.2), formula, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_rates_stay_between_nothing_and_the_peak_for_any_horizon(name: str, horizon: int) -> None:
    for setting in schedules.get(name).space:
        for extreme in (0.0, 1.0):
            values = multipliers(name, horizon, **{setting: extreme})
            assert np.all((values >= 0) & (values <= 1 + 1e-6)), (setting, extreme, values)
    assert multipliers(name, horizon)[0] > 0, "the first step moves"


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_is_described(name: str) -> None:
    schedule = schedules.get(name)
    assert schedule.name == name
    assert bool(schedule.reference) == schedule.varies
    assert schedule.anytime == (name == "constant")


@pytest.mark.long
def test_a_scheduled_trial_equals_optax_with_the_same_schedule() -> None:
    peak = 0.2
    recipe = Recipe(
        optimizer=optimizers.get("momentum"), steps=tasks.STEPS, evaluations=5, schedule=schedules.get("cosine")
    )
    values = {"learning_rate": peak, "momentum": 0.9, "final": 0.0}
    ours = train_trial(compile_program(tasks.shared(), recipe), values, stage="tuning", seed=0)
    theirs = optimizers.Optimizer(
        "theirs",
        lambda momentum: optax.sgd(optax.cosine_decay_schedule(peak, tasks.STEPS), momentum),
        {"momentum": 0.9},
    )
    expected = tasks.train(tasks.program(theirs, {}), {"momentum": 0.9})
    np.testing.assert_allclose(ours.curves["error"], expected.curves["error"], rtol=1e-5)


@pytest.mark.long
def test_one_trace_serves_every_setting_of_a_schedule() -> None:
    recipe = Recipe(
        optimizer=optimizers.get("sgd"), steps=tasks.STEPS, evaluations=5, schedule=schedules.get("warmup-cosine")
    )
    program = compile_program(tasks.shared(), recipe)
    for warmup in (0.0, 0.1):
        for rate in (0.1, 0.2):
            values = {"learning_rate": rate, "warmup": warmup, "final": 0.0}
            train_trial(program, values, stage="tuning", seed=0)
    assert program.segment._cache_size() == program.begin._cache_size() == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name for name in optimizers.OPTIMIZERS if "learning_rate" in optimizers.get(name).space]
)
def test_every_optimizer_with_a_rate_can_be_scheduled(name: str) -> None:
    optimizer = optimizers.get(name)
    schedule = schedules.get("linear")
    point = tasks.points(optimizer)[0]
    program = compile_program(
        tasks.shared(), Recipe(optimizer=optimizer, steps=10, evaluations=5, static=point.static, schedule=schedule)
    )
    values = {key: jnp.asarray(value) for key, value in {**point.hyperparameters, **schedule.space}.items()}
    arrays = program.shared.arrays(0)
    start = jax.eval_shape(program.shared.start, jax.ShapeDtypeStruct((3,), jnp.uint32))
    carry = jax.eval_shape(program.begin, start, values)
    indices = jax.ShapeDtypeStruct((1, 2, tasks.problem().batch_size or 0), jnp.int32)
    after, _ = jax.eval_shape(program.segment, carry, indices, values, start, arrays["train"])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), carry
    )


def test_what_cannot_be_scheduled_says_so() -> None:
    cosine = schedules.get("cosine")
    with pytest.raises(UserError, match="optimizer 'lbfgs': has no 'learning_rate' that the schedule 'cosine' could"):
        require_schedulable(optimizers.get("lbfgs"), cosine)
    clash = optimizers.Optimizer(
        "own", lambda learning_rate, final: optax.sgd(learning_rate), {"learning_rate": 0.1, "final": 0.2}
    )
    with pytest.raises(UserError, match=r"optimizer 'own': \['final'\] are also settings of the schedule 'cosine'"):
        require_schedulable(clash, cosine)
    require_schedulable(optimizers.get("lbfgs"), schedules.CONSTANT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.get("cosin"), "no schedule 'cosin'; did you mean 'cosine'?"),
        (lambda: bench.Schedule("", lambda step, horizon: 1.0), "a schedule needs a name"),
        (lambda: bench.Schedule("flat", 1.0), "schedule 'flat': shape must be a function of"),  # type: ignore[arg-type]
        (lambda: bench.Schedule("s", lambda step, horizon: 1.0, {"w": "x"}), r"schedule 's': space\['w'\] must be a"),  # type: ignore[dict-item]
        (lambda: bench.Schedule("s", lambda step, horizon: 1.0, {"learning_rate": 0.1}), "is the optimizer's own"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        make()


@pytest.mark.long
def test_ones_own_schedule_trains_and_is_tuned() -> None:
    halves = bench.Schedule(
        "halves", lambda step, horizon, at: jnp.where(step < at * horizon, 1.0, 0.5), {"at": bench.uniform(0.2, 0.8)}
    )
    result = bench.compare(
        problems=["quadratic"],
        optimizers=[bench.Contender(optimizer="sgd", schedule=halves), "sgd"],
        budget=bench.Budget(steps=20, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
        resources=INLINE,
    )
    first = result.summary.plan.contenders[0]
    assert first.label == "sgd (halves)" and first.schedule == "halves" and first.is_own
    assert first.space["at"] == Range(0.2, 0.8) and not result.failures
    assert result.replay(next(iter(result.summary.records))).exact


def test_rates_keep_low_precision_what_it_is() -> None:
    # A strongly typed float32 rate would turn bfloat16 updates, and states that hold the rate, into float32.
    schedule = schedules.get("warmup-cosine")

    def scaled(step, warmup, final):
        rate = 0.1 * schedule.multiplier(step, 10, {"warmup": warmup, "final": final})
        return jnp.ones(3, jnp.bfloat16) * rate

    assert jax.eval_shape(scaled, jnp.int32(0), jnp.asarray(0.1), jnp.asarray(0.0)).dtype == jnp.bfloat16


@pytest.mark.long
def test_compiles_with_a_problem_of_its_own() -> None:
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=4, evaluations=2, schedule=schedules.get("linear"))
    program = compile_program(compile_problem(problems.quadratic(condition=1.0, dimension=1)), recipe)
    result = train_trial(program, {"learning_rate": 0.5, "final": 0.0}, stage="final", seed=0)
    # H = 1: the distance shrinks by (1 - lr (1 - t/4)) at step t
    expected = np.prod([1 - 0.5 * (1 - t / 4) for t in range(4)])
    assert result.curves["distance"][-1] / result.curves["distance"][0] == pytest.approx(expected, rel=1e-5)
