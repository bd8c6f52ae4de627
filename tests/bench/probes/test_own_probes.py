"""Probes of one's own from a file, a step counter in the loss, and probes of games: from the spec to the curves."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench import optimizers, probes, problems
from dlkit.bench.data import Dataset
from dlkit.bench.errors import UserError
from dlkit.bench.probes import Probe, get
from dlkit.bench.problems import Player, Problem, catalog, check_problem
from dlkit.bench.problems.players import with_step
from dlkit.bench.spec.planner import plan
from dlkit.bench.spec.toml import load
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.fast_products import of_products
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial, train_trials

OWN_FILE = """
import jax.numpy as jnp
from dlkit import bench

FACTOR = 2.0


def far(view):
    return {"far": FACTOR * view.params.sum()}


distance = bench.Probe("distance", ("far",), far)


def drifting(slope: float = 1.0) -> bench.Problem:
    return bench.Problem(
        name="drifting",
        init=lambda key: (jnp.zeros(2), None),
        loss=lambda params, state, batch, key, *, step: (-slope * step * params.sum(), state),
        evaluate=lambda params, state, batch: {"place": params.sum()},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"place": bench.Metric("higher")},
        steps=8,
    )
"""
SPEC = """
problems = ["mine.py:drifting"]
optimizers = [{ optimizer = "sgd", space = { learning_rate = 1.0 } }]
probes = ["mine.py:distance", "gradient_norm"]
[budget]
evaluations = 4
studies = 1
tuning_points = 1
tuning_seeds = 1
seeds = 2
"""


def written(folder: Path, own: str = OWN_FILE, spec: str = SPEC) -> bench.Experiment:
    (folder / "mine.py").write_text(own)
    (folder / "spec.toml").write_text(spec)
    return load(folder / "spec.toml")


def test_what_a_probe_computes_is_part_of_final_trials(tmp_path: Path) -> None:
    first, again, other = (
        plan(written(tmp_path, text)).plan
        for text in (OWN_FILE, OWN_FILE + "\n# nothing\n", OWN_FILE.replace("FACTOR = 2.0", "FACTOR = 3.0"))
    )

    def of(planned: Any, stage: str) -> Any:
        (problem,), (contender,) = planned.problems, planned.contenders
        return planned.trial(problem, contender, contender.points[0], stage, 0)

    assert first.probes == {"distance": True, "gradient_norm": False}
    assert of(first, "final").identity["probes"] == sorted(first.probes) and not of(first, "tuning").identity["probes"]
    assert of(first, "final").id == of(again, "final").id != of(other, "final").id
    assert of(first, "tuning").id == of(other, "tuning").id, "what is only looked at changes no tuning"


@pytest.mark.slow
@pytest.mark.parametrize("resources", [{"executor": "inline"}, {"workers": 1}])
def test_a_file_s_probe_and_problem_run_and_replay(tmp_path: Path, resources: dict[str, Any]) -> None:
    experiment = written(tmp_path)
    result = bench.run(experiment, folder=tmp_path / "run", resources=bench.Resources(**resources), progress=False)
    assert not result.failures
    # the gradient at step t is -t in both places: x_T = sum of t < T = T (T - 1) / 2
    places = np.array([steps * (steps - 1) for steps in (0, 2, 4, 6, 8)], np.float32)
    curves = result.curves().query("seed == 0").pivot(index="step", columns="metric", values="value")
    np.testing.assert_array_equal(curves["place"], places)
    np.testing.assert_array_equal(curves["far"], 2 * places)
    np.testing.assert_allclose(curves["gradient_norm"], np.sqrt(2) * np.array([0, 1, 3, 5, 7]), rtol=1e-6)
    names = {record.outcome.trial.stage: name for name, record in result.summary.records.items()}
    assert result.replay(names["final"]).exact
    opened = bench.open_run(tmp_path / "run")
    assert opened.replay(names["final"]).exact
    assert opened.replay(names["final"], experiment).exact


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["mine.py:far"], r"probes\[0\]: probe 'mine\.py:far': expected a bench\.Probe, got <function far"),
        (["mine.py:distanc"], r"'mine\.py:distanc': mine\.py has no 'distanc'; did you mean 'distance'\?"),
        (["none.py:far"], r"probes\[0\]: probe 'none\.py:far': no file .*none\.py; paths start at the spec's folder"),
        ([3], r"probes\[0\]: expected a probe's name, got 3"),
    ],
)
def test_what_is_no_probe_is_refused_with_its_place(tmp_path: Path, asked: list[Any], message: str) -> None:
    spec = SPEC.replace('["mine.py:distance", "gradient_norm"]', repr(asked))
    with pytest.raises(UserError, match=message):
        written(tmp_path, spec=spec)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (Probe("bad", ("bad",), lambda view: {"bad": view.params["nothing"]}), "probe 'bad': compute raised"),
        (Probe("bad", ("bad",), lambda view: {"other": 1.0}), r"probe 'bad': expected the curves \['bad'\]"),
        (Probe("bad", ("gradient_norm",), lambda view: {}), "'bad' and 'gradient_norm' both record 'gradient_norm'"),
        (Probe("bad", ("distance",), lambda view: {"distance": 1.0}), "records 'distance', which is also a metric"),
        (Probe("bad", ("training_loss",), lambda view: {}), "'training_loss', which every trial records"),
        (3, r"expected a probe's name or a bench\.Probe, got 3"),
    ],
)
def test_own_probes_are_tried_before_anything_runs(own: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.compare(problems=["quadratic"], optimizers=["sgd"], probes=["gradient_norm", own], progress=False)


def test_a_probe_of_a_game_is_kept_from_the_players_losses() -> None:
    own = Probe("bad", ("training_loss",), lambda view: {"training_loss": 1.0})
    with pytest.raises(UserError, match="'training_loss_discriminator', which every trial records"):
        probes.check(own, catalog.get("ring-gan", width=4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Probe("a", "abc", dict), r"probe 'a': curves must be a tuple of names, such as \('abc',\)"),
        (lambda: Probe("a", ("b",), dict, batch="all"), "probe 'a': no batch 'all'; expected one of"),
        (
            lambda: bench.compare(problems=["quadratic"], optimizers=["sgd"], probes="sharpness", progress=False),
            r"^probes must be a list of names or probes, got 'sharpness'; write probes=\['sharpness'\]$",
        ),
    ],
)
def test_texts_in_the_place_of_lists_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_each_contender_is_asked_for_adams_preconditioner() -> None:
    with pytest.raises(
        UserError, match=r"^probe 'preconditioned_sharpness', optimizer 'sgd': it needs the state of one"
    ):
        bench.compare(
            problems=["quadratic"], optimizers=["adam", "sgd"], probes=["preconditioned_sharpness"], progress=False
        )


# --- the step, in losses --------------------------------------------------------------------------------------------


def stepping(updates: str = "") -> Problem:
    """Each gradient is minus the number of steps done; of a game, that of player b ten times as much."""

    def loss(params: Any, state: Any, batch: Any, key: Any, step: Any) -> Any:
        assert step.dtype == jnp.int32 and step.shape == ()
        return -step * (params["a"] if updates else params), state

    def other(params: Any, state: Any, batch: Any, key: Any, *, step: Any) -> Any:
        return -10 * step * params["b"], state

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        return dict(params) if updates else {"a": params}

    start = {"a": jnp.zeros(()), "b": jnp.zeros(())} if updates else jnp.zeros(())
    game: dict[str, Any] = {"players": (Player("a", loss), Player("b", other)), "updates": updates} if updates else {}
    return Problem(
        name="stepping",
        init=lambda key: (start, None),
        loss=loss,
        evaluate=evaluate,
        dataset=Dataset("none", {}, {}, {}),
        metrics={"a": bench.Metric("higher")},
        **game,
    )


def trained(problem: Problem, optimizer: str = "sgd", steps: int = 6, **recipe: Any) -> Trajectory:
    made = Recipe(optimizer=optimizers.get(optimizer), steps=steps, evaluations=steps // 2, **recipe)
    values = {"learning_rate": 1.0, "b1": 0.9, "b2": 0.99}
    return train_trial(compile_program(compile_problem(problem), made), values, stage="final", seed=0)


@pytest.mark.long
@pytest.mark.parametrize("updates", ["", "alternating", "simultaneous"])
@pytest.mark.parametrize("form", [lambda problem: problem, of_products], ids=["as it is", "rewritten"])
def test_a_loss_that_asks_is_given_the_step(updates: str, form: Any) -> None:
    problem = form(stepping(updates))
    check_problem(problem)
    curves = trained(problem).curves
    expected = np.array([0, 1, 6, 15])  # sums of the steps before 0, 2, 4, 6
    np.testing.assert_array_equal(curves["a"], expected)
    if updates:
        np.testing.assert_array_equal(curves["b"], 10 * expected)


def test_a_step_with_a_number_of_its_own_keeps_it() -> None:
    def loss(params: Any, state: Any, batch: Any, key: Any, step: Any = 7) -> Any:
        return -step * params, state

    def asking(params: Any, state: Any, batch: Any, key: Any, *, step: Any) -> Any:
        return -step * params, state

    for own in (loss, partial(asking, step=7)):
        assert with_step(own)(1.0, None, {}, None, 3)[0] == -7
        end = trained(replace(stepping(), loss=own)).params
        assert float(end) == 7 * 6, "six steps along a gradient of -7"


def test_a_step_that_is_used_wrongly_is_told_before_training() -> None:
    def loss(params: Any, state: Any, batch: Any, key: Any, *, step: Any) -> Any:
        return params * (1.0 if step < 3 else 2.0), state

    with pytest.raises(UserError, match="problem 'stepping': loss raised TracerBoolConversionError"):
        check_problem(replace(stepping(), loss=loss))


# --- games -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_each_player_of_a_game_is_looked_at_on_its_own(updates: str) -> None:
    seen = Probe("seen", ("mine", "rate"), lambda view: {"mine": view.params, "rate": view.learning_rate})
    probes = [get("update_ratio"), get("weight_norm"), get("gradient_norm"), seen]
    curves = trained(stepping(updates), probes=probes).curves
    place = np.array([0, 1, 6, 15], np.float32)
    for player, factor in (("a", 1), ("b", 10)):
        np.testing.assert_array_equal(curves[f"mine_{player}"], factor * place)
        np.testing.assert_array_equal(curves[f"weight_norm_{player}"], factor * place)
        np.testing.assert_array_equal(curves[f"rate_{player}"], 1.0)
        # the last steps are 1, 3 and 5; there is none before the first
        np.testing.assert_array_equal(curves[f"gradient_norm_{player}"], factor * np.array([0, 1, 3, 5]))
        np.testing.assert_allclose(curves[f"update_ratio_{player}"], [np.nan, 1, 3 / 6, 5 / 15], rtol=1e-6)


@pytest.mark.slow
def test_probes_of_a_game_see_the_others_as_they_are() -> None:
    problem = catalog.get("bilinear-game", dimension=1, updates="simultaneous")
    result = trained(problem, probes=[get("gradient_norm"), get("weight_norm"), get("sharpness")])
    slopes = jax.grad(lambda params: problem.loss(params, None, {}, jax.random.key(0))[0])(result.params)
    for player in ("x", "y"):  # the slope of one is where the other is, and neither has curvature of its own
        assert result.curves[f"gradient_norm_{player}"][-1] == pytest.approx(abs(float(slopes[player][0])), rel=1e-5)
        assert result.curves[f"weight_norm_{player}"][-1] == pytest.approx(
            abs(float(result.params[player][0])), rel=1e-5
        )
        np.testing.assert_allclose(result.curves[f"sharpness_{player}"], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("effective_learning_rate", "players move on several"),
        ("dead_units", "does not tell which activations are whose"),
    ],
)
def test_probes_that_games_cannot_have_say_why(name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"probe '{name}', problem 'ring-gan': .*{message}"):
        bench.compare(problems=["ring-gan"], optimizers=["sgd"], probes=[name], progress=False)


@pytest.mark.slow
def test_adams_preconditioner_is_seen_in_a_trial_and_in_each_player() -> None:
    quadratic = problems.quadratic(condition=10.0, dimension=4)
    probe = get("preconditioned_sharpness")
    curves = trained(quadratic, "adam", probes=[probe]).curves
    assert np.isnan(curves["preconditioned_sharpness"][0]) and np.isfinite(curves["preconditioned_sharpness"][1:]).all()
    game = catalog.get("ring-gan", width=4)
    found = trained(game, "adam", probes=[probe]).curves
    for player in ("discriminator", "generator"):
        assert np.isfinite(found[f"preconditioned_sharpness_{player}"][1:]).all()


@pytest.mark.slow
def test_adams_preconditioned_sharpness_after_steps_is_that_of_its_moments() -> None:
    """Plain NumPy Adam on a quadratic, and the eigenvalues that it sees."""
    scales = np.array([1.0, 4.0, 9.0])
    start = np.array([1.0, -2.0, 0.5])
    problem = Problem(
        name="bowl",
        init=lambda key: (jnp.asarray(start, jnp.float32), None),
        loss=lambda x, state, batch, key: (0.5 * jnp.sum(jnp.asarray(scales, jnp.float32) * x**2), state),
        evaluate=lambda x, state, batch: {"norm": jnp.linalg.norm(x)},
        dataset=Dataset("none", {}, {}, {}),
        metrics={"norm": bench.Metric("lower")},
    )
    rate, b1, b2, x, mu, nu = 0.05, 0.8, 0.95, start.copy(), np.zeros(3), np.zeros(3)
    expected = []
    for step in range(1, 7):
        gradient = scales * x
        mu, nu = b1 * mu + (1 - b1) * gradient, b2 * nu + (1 - b2) * gradient**2
        diagonal = (1 - b1**step) * (np.sqrt(nu / (1 - b2**step)) + 1e-8)
        x = x - rate * mu / diagonal
        expected.append((scales / diagonal).max())
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=6, evaluations=6, probes=[get("preconditioned_sharpness")])
    values = {"learning_rate": rate, "b1": b1, "b2": b2}
    result = train_trial(compile_program(compile_problem(problem), recipe), values, stage="final", seed=0)
    np.testing.assert_allclose(result.params, x, rtol=1e-4)
    np.testing.assert_allclose(result.curves["preconditioned_sharpness"][1:], expected, rtol=1e-3)


@pytest.mark.slow
def test_lanes_look_before_the_first_step_too() -> None:
    problem = problems.get("diabetes-linear")
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=4, evaluations=2, probes=[get("weight_norm")])
    program = compile_program(compile_problem(problem, Lanes(2)), recipe)
    results = train_trials(program, [Request({"learning_rate": 0.1}, "final", seed) for seed in (3, 4)])
    alone = compile_program(compile_problem(problem), recipe)
    for seed, result in zip((3, 4), results, strict=True):
        single = train_trial(alone, {"learning_rate": 0.1}, stage="final", seed=seed)
        np.testing.assert_allclose(result.curves["weight_norm"], single.curves["weight_norm"], rtol=1e-5)
    assert results[0].curves["weight_norm"][0] != results[1].curves["weight_norm"][0]
