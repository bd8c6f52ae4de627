"""Random streams: each depends on its own coordinates and on nothing else.

Expected draws are made here from JAX's and NumPy's generators, by the rule that the documentation states: what is drawn
follows from the problem's name, the stage, the seed, and the purpose. So two streams that are mixed up, and one that is
a step off, are found, which tests of shapes and of repetition do not find.
"""

import itertools
import zlib
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench import optimizers
from dlkit.bench.optimizers import Optimizer, schedules
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.probes import Probe
from dlkit.bench.problems import Player
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.store.store import Store
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial, train_trials
from dlkit.bench.tuning.sampling import beforehand
from tests.bench.synthetic import fill, make_plan
from tests.bench.wiring.walk import OWN_DRAWS, STEP_DRAWS, WALKER, key_of, order_of, walk

STEPS = 6
START = ("walk", "tuning", 0)
OTHERS = [("walk 2", "tuning", 0), ("walk", "final", 0), ("walk", "target", 0), ("walk", "tuning", 1)]
EACH = pytest.mark.parametrize(("name", "stage", "seed"), [START, *OTHERS])


def program_of(name: str = "walk", optimizer: Optimizer = WALKER, **choices: Any) -> Program:
    recipe = {"optimizer": optimizer, "steps": STEPS, "evaluations": STEPS} | choices
    lanes = recipe.pop("lanes", Lanes())
    return compile_program(compile_problem(recipe.pop("problem", None) or walk(name), lanes), Recipe(**recipe))


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    return {name: program_of(name) for name in ("walk", "walk 2")}


def positions(result: Trajectory) -> np.ndarray[Any, Any]:
    """[steps + 1, 3] Where the walk was."""
    shown = np.stack([result.curves[f"x{axis}"] for axis in range(3)], axis=1)
    return shown - 100 * (shown > 50)  # on test, 100 is added


def expected_start(name: str, stage: str, seed: int) -> np.ndarray[Any, Any]:
    # the parameters' dictionary has its names in order: `init` draws x from its whole key
    return np.asarray(jax.random.normal(key_of(name, stage, seed, "init"), (3,)))


def step_draws(name: str, stage: str, seed: int) -> np.ndarray[Any, Any]:
    key = key_of(name, stage, seed, "steps")
    return np.stack([jax.random.normal(jax.random.fold_in(key, step), (3,)) for step in range(STEPS)])


# --- the draws of a trial, as whole values ---------------------------------------------------------------------------


@pytest.mark.long
@EACH
def test_initial_parameters(programs: dict[str, Program], name: str, stage: Any, seed: int) -> None:
    result = train_trial(programs[name], STEP_DRAWS, stage=stage, seed=seed, until=1)
    np.testing.assert_allclose(positions(result)[0], expected_start(name, stage, seed), atol=1e-5)


@EACH
def test_the_key_of_every_step(programs: dict[str, Program], name: str, stage: Any, seed: int) -> None:
    result = train_trial(programs[name], STEP_DRAWS, stage=stage, seed=seed)
    np.testing.assert_allclose(-np.diff(positions(result), axis=0), step_draws(name, stage, seed), atol=1e-5)


@EACH
def test_the_optimizers_own_key(programs: dict[str, Program], name: str, stage: Any, seed: int) -> None:
    result = train_trial(programs[name], OWN_DRAWS, stage=stage, seed=seed)
    drawn = jax.random.normal(key_of(name, stage, seed, "optimizer"), (3,))
    np.testing.assert_allclose(np.diff(positions(result), axis=0), np.tile(drawn, (STEPS, 1)), atol=1e-5)


@EACH
def test_the_examples_of_every_step(programs: dict[str, Program], name: str, stage: Any, seed: int) -> None:
    """Six steps of four of twelve examples: two epochs, each another permutation."""
    result = train_trial(programs[name], STEP_DRAWS, stage=stage, seed=seed)
    sums = (2.0 ** order_of(name, stage, seed, STEPS)).sum(axis=1)
    np.testing.assert_array_equal(-np.diff(result.curves["rows"]), sums)


@EACH
def test_the_order_of_the_data(name: str, stage: Any, seed: int) -> None:
    order = next(data_order(walk(name), stage, seed, segment=STEPS))
    np.testing.assert_array_equal(order, order_of(name, stage, seed, STEPS))


# --- different where its own coordinate differs ----------------------------------------------------------------------

STREAMS = {
    "initial parameters": expected_start,
    "steps": step_draws,
    "data order": lambda *at: order_of(*at, STEPS),
    "optimizer": lambda *at: np.asarray(jax.random.normal(key_of(*at, "optimizer"), (3,))),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_no_two_coordinates_share_a_draw(stream: str) -> None:
    """So the tests above would find a coordinate that is left out."""
    draws = [STREAMS[stream](*at) for at in (START, *OTHERS)]
    assert all(not np.array_equal(one, other) for one, other in itertools.combinations(draws, 2))


def test_no_two_streams_of_a_trial_share_a_draw() -> None:
    values = [*step_draws(*START), *(STREAMS[name](*START) for name in ("initial parameters", "optimizer"))]
    assert len({value.tobytes() for value in values}) == STEPS + 2


def test_epochs_and_steps_differ() -> None:
    order = order_of(*START, STEPS)
    assert not np.array_equal(order[:3], order[3:])
    assert len({row.tobytes() for row in step_draws(*START)}) == STEPS


# --- the same where only something else differs ----------------------------------------------------------------------


def test_contenders_share_the_start_the_steps_keys_and_the_data(programs: dict[str, Program]) -> None:
    """Gradient descent at rate 1 makes the walk of the walker, from the same place on the same examples."""
    ours = train_trial(programs["walk"], STEP_DRAWS, stage="final", seed=3)
    theirs = train_trial(program_of(optimizer=optimizers.get("sgd")), {"learning_rate": 1.0}, stage="final", seed=3)
    np.testing.assert_array_equal(positions(ours)[0], positions(theirs)[0])
    np.testing.assert_allclose(positions(ours), positions(theirs), atol=1e-5)
    np.testing.assert_array_equal(ours.curves["rows"], theirs.curves["rows"])


def test_what_ran_before_changes_nothing(programs: dict[str, Program]) -> None:
    first = train_trial(programs["walk"], STEP_DRAWS, stage="final", seed=0)
    for stage, seed in itertools.product(("tuning", "final", "target"), (1, 0)):
        train_trial(programs["walk"], OWN_DRAWS, stage=stage, seed=seed)  # type: ignore[arg-type]
    again = train_trial(programs["walk"], STEP_DRAWS, stage="final", seed=0)
    assert positions(first).tobytes() == positions(again).tobytes()
    assert first.curves["rows"].tobytes() == again.curves["rows"].tobytes()


@pytest.mark.long
def test_the_place_among_lanes_changes_nothing() -> None:
    program = program_of(lanes=Lanes(3))
    requests = [Request(STEP_DRAWS, "target", 0), Request(STEP_DRAWS, "final", 0), Request(STEP_DRAWS, "final", 1)]
    ahead, back = train_trials(program, requests), train_trials(program, requests[::-1])[::-1]
    for request, one, other in zip(requests, ahead, back, strict=True):
        assert positions(one).tobytes() == positions(other).tobytes()
        at = ("walk", request.stage, request.seed)
        np.testing.assert_allclose(positions(one)[0], expected_start(*at), atol=1e-5)
        np.testing.assert_allclose(-np.diff(positions(one), axis=0), step_draws(*at), atol=1e-5)
        np.testing.assert_array_equal(-np.diff(one.curves["rows"]), (2.0 ** order_of(*at, STEPS)).sum(axis=1))


# --- players ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_every_player_and_every_move_has_a_key_of_its_own() -> None:
    """Two players whose gradients are draws from the keys of their moves; one of them moves twice a step."""

    def init(key: Any) -> Any:
        return {"a": jnp.zeros(3), "b": jnp.zeros(3)}, None

    def loss_of(player: str) -> Any:
        return lambda params, state, batch, key: (jnp.sum(jax.random.normal(key, (3,)) * params[player]), state)

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        return {f"{name}{axis}": params[name][axis] for name in "ab" for axis in range(3)} | {"x0": params["a"][0]}

    losses = {name: loss_of(name) for name in "ab"}
    players = (Player("a", losses["a"], moves=2), Player("b", losses["b"]))
    game = replace(walk("game"), init=init, loss=losses["a"], evaluate=evaluate, players=players)
    program = program_of(problem=game)
    at = ("game", "final", 2)
    moved = train_trial(program, STEP_DRAWS, stage="final", seed=2)
    key = key_of(*at, "steps")
    for name, moves in (("a", 2), ("b", 1)):
        path = np.stack([moved.curves[f"{name}{axis}"] for axis in range(3)], axis=1)
        expected = []
        for step in range(STEPS):
            own = jax.random.fold_in(jax.random.fold_in(key, step), zlib.crc32(name.encode()))
            expected.append(sum(jax.random.normal(jax.random.fold_in(own, move), (3,)) for move in range(moves)))
        np.testing.assert_allclose(-np.diff(path, axis=0), np.stack(expected), atol=1e-5)
    drawn = train_trial(program, OWN_DRAWS, stage="final", seed=2, until=1)
    for name, moves in (("a", 2), ("b", 1)):
        own = jax.random.fold_in(key_of(*at, "optimizer"), zlib.crc32(name.encode()))
        path = np.stack([drawn.curves[f"{name}{axis}"] for axis in range(3)], axis=1)
        np.testing.assert_allclose(path[1], moves * np.asarray(jax.random.normal(own, (3,))), atol=1e-5)


# --- probes ----------------------------------------------------------------------------------------------------------


def _looked(view: Any) -> dict[str, Any]:
    drawn = jax.random.normal(view.key, (3,))
    return {
        **{f"drawn{axis}": drawn[axis] for axis in range(3)},
        **{f"moved{axis}": view.update["x"][axis] for axis in range(3)},
        "seen": jnp.sum(2.0 ** view.batch["index"]),
        "rate": view.learning_rate,
    }


CURVES = (*(f"{name}{axis}" for name in ("drawn", "moved") for axis in range(3)), "seen", "rate")
LOOK = Probe("look", CURVES, _looked)


@pytest.fixture(scope="module")
def looked() -> tuple[Trajectory, Trajectory]:
    """The same trial with a probe that shows what it sees, and without, at every second step."""
    settings: dict[str, Any] = {
        "optimizer": optimizers.get("sgd"),
        "evaluations": STEPS // 2,
        "schedule": schedules.get("linear"),
    }
    values = {"learning_rate": 1.0, "final": 0.0}
    return (
        train_trial(program_of(probes=(LOOK,), **settings), values, stage="final", seed=5),
        train_trial(program_of(**settings), values, stage="final", seed=5),
    )


SEEN_AT = np.array([2, 4, 6])  # steps done at each evaluation


@pytest.mark.long
def test_a_probes_key_is_that_of_its_purpose_and_step(looked: tuple[Trajectory, Trajectory]) -> None:
    curves = looked[0].curves
    key = jax.random.fold_in(key_of("walk", "final", 5, "steps"), zlib.crc32(b"probes"))
    expected = np.stack([jax.random.normal(jax.random.fold_in(key, int(step)), (3,)) for step in SEEN_AT])
    drawn = np.stack([curves[f"drawn{axis}"][1:] for axis in range(3)], axis=1)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5)


def test_a_probe_sees_the_last_step_its_rate_and_its_examples(looked: tuple[Trajectory, Trajectory]) -> None:
    curves = looked[0].curves
    last = SEEN_AT - 1  # the step that was last, counted from 0
    rates = 1 - last / STEPS
    np.testing.assert_allclose(curves["rate"][1:], rates, rtol=1e-6)
    np.testing.assert_array_equal(curves["seen"][1:], (2.0 ** order_of("walk", "final", 5, STEPS)[last]).sum(axis=1))
    moved = np.stack([curves[f"moved{axis}"][1:] for axis in range(3)], axis=1)
    np.testing.assert_allclose(moved, -rates[:, None] * step_draws("walk", "final", 5)[last], atol=1e-5)


def test_looking_changes_nothing(looked: tuple[Trajectory, Trajectory]) -> None:
    with_probe, without = looked
    np.testing.assert_allclose(positions(with_probe), positions(without), rtol=1e-6)


# --- tuning points ---------------------------------------------------------------------------------------------------


def points_of(contenders: list[Contender], tuner: str, studies: int, problems: tuple[Any, ...] = ()) -> Any:
    """[contenders][studies][points] The learning rates that are drawn before anything runs."""
    budget = Budget(steps=6, evaluations=3, tuning_points=5, tuning_seeds=1, seeds=2, tuner=tuner, studies=studies)
    entries = tuple(ProblemChoice(problem=each) for each in problems or (walk(),))
    made = plan(Experiment(name="x", problems=entries, optimizers=tuple(contenders), budget=budget)).plan
    return [
        [[point.hyperparameters["learning_rate"] for point in contender.points_of(study)] for study in range(studies)]
        for contender in made.contenders
    ]


@pytest.mark.parametrize("tuner", ["halton", "random"])
def test_studies_have_points_of_their_own_and_nothing_else_changes_them(tuner: str) -> None:
    sgd = Contender(optimizer="sgd", space={"learning_rate": [1e-3, 1.0]})
    twin = Contender(optimizer="sgd", space={"learning_rate": [1e-3, 1.0]}, label="twin")
    wider = Contender(optimizer="momentum")
    (three,) = points_of([sgd], tuner, 3)
    assert len({rate for study in three for rate in study}) == 15
    (two,) = points_of([sgd], tuner, 2, (walk("walk 2"), walk("walk 3")))
    assert two == three[:2], "neither the number of studies nor the problems"
    _, among, again = points_of([wider, sgd, twin], tuner, 3)
    assert among == again == three, "neither the others, nor the place among them, nor the label"


@pytest.mark.parametrize("tuner", ["halton", "random"])
def test_points_that_are_drawn_while_a_run_goes_on_are_those_of_their_study(tuner: str) -> None:
    """Where seconds count, points are drawn one by one: the same ones, in each study its own."""
    studies = Tuner(tuner, seconds=1.0, studies=2)  # a made-up trial takes a quarter of a second
    made = make_plan(["x"], tuner=studies, tuning_seeds=1)
    (contender,) = made.contenders
    made = replace(made, contenders=[replace(contender, points=(), undrawn=None)])
    with Store(None) as store:
        fill(store, made, curve=lambda *_: [1.0] * 5)
        drawn = store.drawn()
    (contender,) = made.contenders
    found = [drawn[made.search_key(made.problems[0], contender, study)] for study in range(2)]
    assert found == [beforehand(tuner, contender.space, {}, 4, seed=study) for study in range(2)]
    assert len({point.hyperparameters["learning_rate"] for points in found for point in points}) == 8
