"""Games of several players against theory and a hand-written loop, and what they refuse."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench import optimizers
from dlkit.bench.data import split
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.metric import TRAINING_LOSS, Metric
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems import Player, Problem, catalog, check_problem
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial, train_trials

INLINE = bench.Resources(executor="inline")

RATE = 0.3


@cache
def bilinear(updates: str) -> Problem:
    """x y, with both as metrics: seen from the equilibrium, each is the slope of the other."""
    problem = catalog.get("bilinear-game", dimension=1, updates=updates)

    def slopes(params: Any) -> Any:
        return jax.grad(lambda params: problem.loss(params, None, {}, jax.random.key(0))[0])(params)

    start, _ = problem.init(jax.random.key(0))
    payoff = float(jax.jacfwd(slopes)(start)["x"]["y"][0, 0])  # 1 or -1; where it is -1, y is looked at from below
    assert abs(payoff) == 1

    def evaluate(params: Any, state: Any, batch: Any) -> Mapping[str, Any]:
        slope = slopes(params)
        return {**problem.evaluate(params, state, batch), "x": payoff * slope["y"][0], "y": slope["x"][0]}

    return replace(problem, evaluate=evaluate)


def run(problem: Problem, name: str | Optimizer, steps: int = 20, evaluations: int | None = None, **values: Any) -> Any:
    optimizer = optimizers.get(name) if isinstance(name, str) else name
    of_recipe = {key: values.pop(key) for key in [*values] if key in Recipe.__dataclass_fields__}
    recipe = Recipe(optimizer=optimizer, steps=steps, evaluations=evaluations or steps, **of_recipe)
    return train_trial(compile_program(compile_problem(problem), recipe), values, stage="final", seed=0)


def ratios(result: Trajectory) -> np.ndarray:
    distance = result.curves["distance"].astype(np.float64)
    return distance[1:] / distance[:-1]


# --- theory ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", math.sqrt(1 + RATE**2)),
        ("sgd+extragradient", math.sqrt(1 - RATE**2 + RATE**4)),
    ],
)
def test_simultaneous_moves_turn_by_the_known_factor(name: str, expected: float) -> None:
    np.testing.assert_allclose(ratios(run(bilinear("simultaneous"), name, learning_rate=RATE)), expected, rtol=1e-4)


@pytest.mark.slow
def test_extragradient_contracts_in_any_dimension_at_the_rate_of_the_smallest_singular_value() -> None:
    problem = catalog.get("bilinear-game", dimension=6, condition=4.0)
    result = run(problem, "sgd+extragradient", steps=400, evaluations=20, learning_rate=0.5)
    # each pair of singular vectors turns on its own: 1 - (r s)^2 + (r s)^4, largest for s = 1/4
    slowest = 1 - (0.5 / 4) ** 2 + (0.5 / 4) ** 4
    assert ratios(result)[-5:] == pytest.approx(slowest ** (20 / 2), rel=1e-3)


@pytest.mark.long
def test_alternating_moves_stay_on_their_ellipse() -> None:
    result = run(bilinear("alternating"), "sgd", steps=200, learning_rate=RATE)
    x, y = (result.curves[name].astype(np.float64) for name in ("x", "y"))
    # x' = x - r y, y' = y + r x' keeps x^2 + y^2 - r x y
    kept = x**2 + y**2 - RATE * x * y
    np.testing.assert_allclose(kept, kept[0], rtol=1e-4)
    assert x.min() < -0.5 < 0.5 < x.max()


@pytest.mark.long
def test_looking_ahead_alone_changes_nothing_without_curvature_of_ones_own() -> None:
    plain = run(bilinear("alternating"), "sgd", learning_rate=RATE)
    ahead = run(bilinear("alternating"), "sgd+extragradient", learning_rate=RATE)
    np.testing.assert_array_equal(plain.curves["x"], ahead.curves["x"])


@pytest.mark.long
def test_optimism_converges_at_the_rate_of_its_characteristic_equation() -> None:
    result = run(bilinear("simultaneous"), "optimistic_gradient_descent", steps=100, evaluations=10, learning_rate=RATE)
    # z' = z - 2 i r z + i r z_before: lambda^2 - (1 - 2 i r) lambda - i r = 0
    slowest = np.abs(np.roots([1, -(1 - 2j * RATE), -1j * RATE])).max()
    assert slowest < 1
    assert ratios(result)[-5:] == pytest.approx(slowest**10, rel=1e-3)


@pytest.mark.long
def test_extra_adam_is_its_algorithm() -> None:
    result = run(bilinear("simultaneous"), "adam+extragradient", learning_rate=0.1, b1=0.5, b2=0.9)
    z = np.array([result.curves["x"][0], result.curves["y"][0]], np.float64)
    mean, square, path = np.zeros(2), np.zeros(2), [z]
    for step in range(20):
        at = z
        for half in (1, 2):
            gradient = np.array([at[1], -at[0]])
            mean, square = 0.5 * mean + 0.5 * gradient, 0.9 * square + 0.1 * gradient**2
            count = 2 * step + half
            at = z - 0.1 * (mean / (1 - 0.5**count)) / (np.sqrt(square / (1 - 0.9**count)) + 1e-8)
        z = at
        path.append(z)
    np.testing.assert_allclose(np.stack([result.curves["x"], result.curves["y"]], 1), path, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_on_one_player_extragradient_is_the_proximal_points_approximation(name: str) -> None:
    """w - r g(w - r g(w)) on a quadratic: 1 - r h + (r h)^2 along each eigenvector."""
    problem = catalog.get("quadratic", dimension=4, condition=10.0)
    values = {"learning_rate": 0.01 if name == "adam" else 0.3} | ({"b1": 0.9, "b2": 0.99} if name == "adam" else {})
    result = run(problem, f"{name}+extragradient", steps=200, evaluations=10, **values)
    assert result.evaluations.gradients == 400
    assert result.curves["distance"][-1] < result.curves["distance"][0]
    if name == "sgd":
        slowest = 1 - 0.03 + 0.03**2
        assert ratios(result)[-1] == pytest.approx(slowest**20, rel=0.02)


# --- a hand-written loop ---------------------------------------------------------------------------------------------


@cache
def game(moves: int = 1, updates: str = "alternating", batch_size: int | None = 8) -> Problem:
    """A line through shifted points: the critic's loss and the generator's share a batch, noise and a counter."""
    rng = np.random.default_rng(3)
    arrays = {"inputs": (rng.normal(size=(64, 3)) + 2).astype(np.float32)}

    def init(key: Any) -> Any:
        params = {"critic": {"w": jnp.ones(3)}, "generator": {"b": jax.random.normal(key, (3,))}}
        return params, {"calls": jnp.zeros((), jnp.int32)}

    def fake(params: Any, key: Any) -> Any:
        return params["generator"]["b"][None] + jax.random.normal(key, (8, 3))

    def critic(params: Any, state: Any, batch: Any, key: Any) -> Any:
        w = params["critic"]["w"]
        gap = (fake(params, key) @ w).mean() - (batch["inputs"] @ w).mean()
        return gap + 0.5 * w @ w, {"calls": state["calls"] + 1}

    def generator(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return -(fake(params, key) @ params["critic"]["w"]).mean(), {"calls": state["calls"] + 10}

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        off = params["generator"]["b"] - batch["inputs"].mean(axis=0)
        return {"error": (off**2).sum(), "calls": state["calls"].astype(jnp.float32)}

    return Problem(
        name="shift",
        init=init,
        loss=generator,
        evaluate=evaluate,
        dataset=split("shift", arrays),
        metrics={"error": Metric("lower")},
        batch_size=batch_size,
        players=(Player("critic", critic, moves=moves), Player("generator", generator)),
        updates=updates,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "moves", "updates", "batch_size"),
    [
        pytest.param("critic=adam,generator=sgd", 3, "alternating", 8, marks=pytest.mark.slow),
        ("adam", 1, "simultaneous", 8),
        pytest.param("adam", 1, "alternating", 8, marks=pytest.mark.slow),
        pytest.param("adam", 2, "alternating", None, marks=pytest.mark.slow),
        pytest.param("critic=adam,generator=sgd", 1, "simultaneous", 8, marks=pytest.mark.slow),
    ],
)
def test_equals_a_hand_written_loop(name: str, moves: int, updates: str, batch_size: int | None) -> None:
    problem = game(moves, updates, batch_size)
    adam, sgd = {"learning_rate": 0.05, "b1": 0.5, "b2": 0.9}, {"learning_rate": 0.2}
    per_player = "=" in name
    of_critic, of_generator = (adam, sgd) if per_player else (adam, adam)
    values = {f"critic.{k}": v for k, v in adam.items()} | {"generator.learning_rate": 0.2} if per_player else adam
    result = run(problem, name, steps=6, evaluations=3, **values)

    key = jax.random.key(0)
    for word in (zlib.crc32(b"shift"), 1, 0):
        key = jax.random.fold_in(key, word)
    params, state = problem.init(jax.random.fold_in(key, zlib.crc32(b"init")))
    key = jax.random.fold_in(key, zlib.crc32(b"steps"))
    built = {
        "critic": optax.adam(**of_critic),
        "generator": optax.sgd(**of_generator) if per_player else optax.adam(**adam),
    }
    opt_state = {player: built[player].init(params[player]) for player in built}
    batches = moves + 1 if updates == "alternating" else 1
    rows = next(data_order(problem, "final", 0, segment=6))
    assert rows.shape == (6, batches * (batch_size or 0))
    calls, losses = 0, {"critic": [], "generator": []}
    for step in range(6):
        key_step = jax.random.fold_in(key, step)
        before, place = params, 0
        for player in problem.players:
            for number in range(player.moves):
                key_move = jax.random.fold_in(jax.random.fold_in(key_step, zlib.crc32(player.name.encode())), number)
                index = rows[step].reshape(batches, -1)[place if updates == "alternating" else 0]
                batch = {"inputs": problem.dataset.train["inputs"]}
                if batch_size:
                    batch = {"inputs": batch["inputs"][index]}
                seen = params if updates == "alternating" else before
                value, gradient = jax.value_and_grad(player.loss, has_aux=True)(seen, state, batch, key_move)
                moved, opt_state[player.name] = built[player.name].update(
                    gradient[player.name], opt_state[player.name], params[player.name]
                )
                params = {**params, player.name: optax.apply_updates(params[player.name], moved)}
                losses[player.name].append(float(value[0]))
                calls += 10 if player.name == "generator" else 1
                place += 1
    for ours, theirs in zip(jax.tree.leaves(result.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert result.state["calls"] == calls
    curves = {"generator": TRAINING_LOSS, "critic": f"{TRAINING_LOSS}_critic"}
    for player, each in losses.items():
        expected = np.mean(np.reshape(each, (3, -1)), axis=1)
        np.testing.assert_allclose(result.curves[curves[player]][1:], expected, rtol=1e-4, atol=1e-5)
    assert result.evaluations == Evaluations(6 * (moves + 1))


def test_every_move_of_a_step_has_examples_of_its_own() -> None:
    rows = next(data_order(game(3), "final", 0, segment=2))
    examples = game(3).dataset.examples
    per_epoch = examples // 8 * 8
    assert len(set(rows.ravel()[:per_epoch].tolist())) == per_epoch
    one = next(data_order(replace(game(3), players=()), "final", 0, segment=8))
    np.testing.assert_array_equal(rows.reshape(8, 8), one)


# --- what trials of other problems have ------------------------------------------------------------------------------


@pytest.mark.long
def test_gradients_are_counted_for_every_player() -> None:
    simultaneous = bilinear("simultaneous")
    assert run(simultaneous, "sgd", learning_rate=0.1).evaluations == Evaluations(40)
    assert run(simultaneous, "sgd+extragradient", learning_rate=0.1).evaluations == Evaluations(80)
    calls = []
    problem = game(2)

    def counted(player: Player) -> Player:
        def loss(*arguments: Any) -> Any:
            jax.debug.callback(lambda: calls.append(player.name))
            return player.loss(*arguments)

        return replace(player, loss=loss)

    critic, generator = map(counted, problem.players)
    problem = replace(problem, players=(critic, generator), loss=generator.loss)
    result = run(problem, "critic=adam+sam,generator=sgd", steps=4, evaluations=2, **CRITIC_SAM)
    jax.effects_barrier()
    assert calls.count("critic") == 16 and calls.count("generator") == 4
    assert result.evaluations == Evaluations(20)


CRITIC_SAM = {
    "critic.learning_rate": 0.01,
    "critic.b1": 0.9,
    "critic.b2": 0.99,
    "critic.rho": 0.05,
    "generator.learning_rate": 0.01,
}


@pytest.mark.slow
def test_a_rate_that_is_too_large_diverges_by_either_players_loss() -> None:
    result = run(bilinear("simultaneous"), "sgd", steps=40, evaluations=10, learning_rate=10.0)
    assert result.status == "diverged" and result.diverged_at is not None
    for player in ("critic", "generator"):
        broken = [
            replace(each, loss=lambda *a, each=each: (each.loss(*a)[0] * jnp.nan, each.loss(*a)[1]))
            if each.name == player
            else each
            for each in game().players
        ]
        problem = replace(game(), players=tuple(broken), loss=broken[1].loss)
        assert run(problem, "sgd", steps=4, evaluations=2, learning_rate=0.1).diverged_at == 0


ADAM = {"learning_rate": 0.05, "b1": 0.5, "b2": 0.9}
ADAM_EACH = {f"{player}.{name}": value for player in ("critic", "generator") for name, value in ADAM.items()}


@pytest.mark.slow
def test_averages_are_evaluated_for_each_player() -> None:
    plain, averaged = run(game(2), "adam", 6, 2, **ADAM), run(game(2), "adam+ema", 6, 2, **ADAM, decay=0.5)
    assert plain.curves[TRAINING_LOSS][1:].tobytes() == averaged.curves[TRAINING_LOSS][1:].tobytes()
    assert plain.curves["error"][-1] != averaged.curves["error"][-1]
    only = run(game(2), "critic=adam,generator=adam+ema", 6, 2, **ADAM_EACH, **{"generator.decay": 0.5})
    np.testing.assert_allclose(only.params["critic"]["w"], plain.params["critic"]["w"], rtol=1e-6)
    np.testing.assert_allclose(only.params["generator"]["b"], averaged.params["generator"]["b"], rtol=1e-6)


@pytest.mark.slow
def test_schedules_lanes_and_early_stopping_work() -> None:
    problem = game(2)
    plain, schedule = run(problem, "adam", 10, 10, **ADAM), get_schedule("cosine")
    settings = dict.fromkeys(schedule.space, 0.1)
    cosine = run(problem, "adam", 10, 10, **ADAM, schedule=schedule, **settings)
    each = run(problem, "critic=adam,generator=adam", 10, 10, **ADAM_EACH, schedule=schedule, **settings)
    np.testing.assert_array_equal(cosine.curves["error"], each.curves["error"])
    assert cosine.curves["error"][-1] != plain.curves["error"][-1]
    stopped = run(problem, "adam", steps=200, evaluations=50, **ADAM, stopping=EarlyStopping(patience=2))
    assert stopped.status == "stopped" and len(stopped.steps) < 51
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=10, evaluations=10)
    lanes = train_trials(
        compile_program(compile_problem(problem, Lanes(2)), recipe), [Request(ADAM, "final", seed) for seed in (0, 1)]
    )
    np.testing.assert_allclose(lanes[0].curves["error"], plain.curves["error"], rtol=1e-4)
    assert lanes[1].curves["error"][0] != lanes[0].curves["error"][0]


@pytest.mark.slow
def test_of_random_optimizers_each_player_draws_its_own() -> None:
    def build(key: Any) -> Any:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            return jax.tree.map(lambda u: jax.random.normal(key, u.shape), updates), state

        return optax.GradientTransformation(lambda params: (), update)

    result = run(game(), Optimizer("noise", build, {}, random=True), steps=2, evaluations=2)
    critic = np.asarray(result.params["critic"]["w"]) - 1
    start = run(game(), "sgd", steps=2, evaluations=2, learning_rate=0.0).params["generator"]["b"]
    assert not np.allclose(critic, np.asarray(result.params["generator"]["b"]) - start)


@pytest.mark.long
def test_an_optimizer_for_players_is_a_contender_by_name() -> None:
    name = "x=optimistic_gradient_descent,y=sgd+extragradient"
    result = bench.compare(
        problems=["bilinear-game"],
        optimizers=[name, Contender(optimizer="x=sgd,y=sgd", label="two rates", space={"x.learning_rate": 0.01})],
        budget=Budget(steps=8, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        resources=INLINE,
    )
    assert set(result.trials()["optimizer"]) == {name, "two rates"}
    whole = optimizers.get(name)
    params = {"x": jnp.ones(2), "y": jnp.ones(3)}
    both = optimizers.get("x=sgd,y=adam")
    settings = {"x.learning_rate": 0.5, "y.learning_rate": 0.1, "y.b1": 0.9, "y.b2": 0.99}
    transformation = both.build(**settings)
    updates, _ = transformation.update(params, transformation.init(params), params)
    np.testing.assert_allclose(updates["x"], -0.5)
    np.testing.assert_allclose(updates["y"], -0.1, rtol=1e-5)
    assert whole.learning_rates == ["x.learning_rate", "y.learning_rate"]


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "problem", "words"),
    [
        ("x=sgd,y=sgd", "quadratic", "problem 'quadratic' is no game"),
        ("x=sgd,z=sgd", "bilinear-game", "has no player 'z'; expected one of 'x', 'y'"),
        ("x=sgd", "bilinear-game", "no optimizer for player 'y'"),
    ],
)
def test_players_that_a_problem_does_not_have(optimizer: str, problem: str, words: str) -> None:
    from dlkit.bench.spec.planner import plan

    budget = Budget(studies=1, tuning_points=1, tuning_seeds=1, seeds=2)
    experiment = Experiment(
        name="wrong",
        problems=[ProblemChoice(problem=problem)],
        optimizers=[Contender(optimizer=optimizer)],
        budget=budget,
    )
    with pytest.raises(UserError, match=words):
        plan(experiment)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x=,y=sgd", "expected one optimizer for each player"),
        ("x=sgd,x=sgd", "expected one optimizer for each player"),
        ("x=sgd,y=adm", "no optimizer 'adm'; did you mean 'adam'"),
        ("x=sgd,sgd", "expected one optimizer for each player"),
        ("sgd+extragradient+extragradient", "no single step"),
        ("sgd+ema+extragradient", "before what averages"),
        ("sgd+extragradient+accumulate", "looks ahead"),
        ("lbfgs+extragradient", "no single step"),
    ],
)
def test_names_that_make_no_optimizer(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        optimizers.get(name)


def test_games_that_are_none() -> None:
    problem = game()
    critic, generator = problem.players
    with pytest.raises(UserError, match="no updates 'alternatin'; did you mean 'alternating'"):
        replace(problem, updates="alternatin")
    with pytest.raises(UserError, match="loss must be that of one of the players"):
        replace(problem, loss=lambda *arguments: generator.loss(*arguments))
    with pytest.raises(UserError, match="a name of its own"):
        replace(problem, players=(critic, replace(generator, name="critic")))
    with pytest.raises(UserError, match="'critic' has 3 moves"):
        replace(game(3), updates="simultaneous")
    with pytest.raises(UserError, match="moves must be a whole number"):
        Player("critic", critic.loss, moves=0)
    with pytest.raises(UserError, match="letters, digits"):
        Player("the=critic", critic.loss)
    check_problem(problem)
    with pytest.raises(UserError, match=r"dictionary of the players \['critic', 'generator'\]"):
        check_problem(replace(problem, init=lambda key: ({"critic": jnp.ones(3)}, None)))

    def taken(params: Any, state: Any, batch: Any) -> Any:
        return {"error": params["critic"]["w"][0], f"{TRAINING_LOSS}_critic": params["critic"]["w"][0]}

    mute = replace(critic, loss=lambda p, s, b, k: (p["critic"]["w"], s))
    with pytest.raises(UserError, match="loss of player 'critic' must return one number"):
        check_problem(replace(problem, players=(mute, generator)))
    with pytest.raises(UserError, match=f"'{TRAINING_LOSS}_critic' is recorded"):
        check_problem(replace(problem, evaluate=taken))
