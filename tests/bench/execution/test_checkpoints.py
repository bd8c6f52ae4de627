"""Checkpoints: a trial that was killed goes on with the bits of one that was not; what does not fit is not loaded."""

import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench, layers
from dlkit.bench import optimizers, probes, problems
from dlkit.bench.errors import UserError
from dlkit.bench.execution import checkpoints
from dlkit.bench.execution.checkpoints import FileKeeper, Place, keeper_of, kept_checkpoints, trials_beside
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem
from dlkit.bench.training import host_loop
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.lanes import ALONE, Lanes, held_bytes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.snapshots import Snapshot
from dlkit.bench.training.streaming import BLOCKS, Cut
from dlkit.bench.training.trajectory import train_trials

STEPS, EVALUATIONS = 36, 6
MINE = "ab12"


class KilledError(Exception):
    """What stands for a kill: nothing after it runs."""


class Killing(FileKeeper):
    """A keeper whose process dies as soon as it has kept so many snapshots."""

    left = 1
    steps: tuple[int, ...] = ()

    def keep(self, snapshot: Snapshot) -> None:
        super().keep(snapshot)
        self.steps += (snapshot.step,)
        self.left -= 1
        if not self.left:
            raise KilledError


@pytest.fixture(autouse=True)
def at_every_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))  # however long a write takes


def keeper(path: Path, *, kind: type[FileKeeper] = FileKeeper, trials: Sequence[str] = (MINE,), **changes: str) -> Any:
    return kind(path, 0.0, trials, {**program_identity(), **changes}, "adam on digits")


def bits(result: Trajectory) -> list[Any]:
    arrays = [*result.curves.values(), result.gradients, *jax.tree.leaves((result.params, result.state))]
    scores = None if result.example_scores is None else result.example_scores.tobytes()
    ends = (result.status, result.steps.tolist(), result.validation, result.evaluations, scores)
    return [*ends, result.diverged_at, result.restored_at, *(np.asarray(array).tobytes() for array in arrays)]


def killed_again_and_again(program: Program, requests: Sequence[Request], path: Path, **choices: Any) -> Any:
    """Trains with a kill after every snapshot; returns what came out, and the steps it was killed at."""
    died: list[int] = []
    while True:
        killing = keeper(path, kind=Killing)
        try:
            return train_trials(program, requests, keeper=killing, **choices), died
        except KilledError:
            assert not any("not used" in note for note in killing.notes), killing.notes
            died += killing.steps
            assert len(died) < 100, f"it goes on and on: {killing.notes}"


# --- the bits --------------------------------------------------------------------------------------------------------


@cache
def digits(**choices: Any) -> Problem:
    return problems.get("digits-mlp", width=16, **choices).variant(batch_size=8)


class Everything(NamedTuple):
    """A state of all that a state may be made of."""

    key: jax.Array
    raw_key: jax.Array
    average: Any
    count: jax.Array
    flag: jax.Array
    complex_sum: jax.Array
    empty: jax.Array
    nothing: None
    inner: tuple[Any, ...]


@jax.tree_util.register_pytree_node_class
class Box:
    """A node of one's own, without names for what is in it."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.content,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Box":
        return cls(*children)


def build_everything(learning_rate: Any) -> optax.GradientTransformation:
    """Noisy momentum in bfloat16: every part of its state has a say in the next step."""

    def init(params: Any) -> Everything:
        return Everything(
            key=jax.random.key(3),
            raw_key=jax.random.PRNGKey(4),
            average=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), params),
            count=jnp.int8(0),
            flag=jnp.array(False),
            complex_sum=jnp.complex64(0),
            empty=jnp.zeros((0, 3)),
            nothing=None,
            inner=(Box({"a": jnp.float16(1.0)}), [jnp.zeros(2, jnp.uint8)]),
        )

    def update(gradient: Any, state: Everything, params: Any = None) -> tuple[Any, Everything]:
        noise_key, next_key = jax.random.split(state.key)
        noise = jax.random.normal(noise_key) + jax.random.normal(state.raw_key)
        average = jax.tree.map(lambda m, g: (0.9 * m + g).astype(jnp.bfloat16), state.average, gradient)
        box, (small,) = state.inner
        scale = 1 + 1e-3 * (noise + state.count + state.flag + jnp.abs(state.complex_sum) + box.content["a"] + small[0])
        after = Everything(
            next_key,
            jax.random.fold_in(state.raw_key, 1),
            average,
            state.count + jnp.int8(1),
            ~state.flag,
            (state.complex_sum * 0.5 + noise * (1 + 1j)).astype(jnp.complex64),
            state.empty,
            None,
            (Box({"a": box.content["a"] * jnp.float16(0.5)}), [small + jnp.uint8(3)]),
        )
        return jax.tree.map(lambda m: -learning_rate * scale * m.astype(jnp.float32), average), after

    return optax.GradientTransformation(init, update)


EVERYTHING = Optimizer("everything", build_everything, {"learning_rate": bench.log_uniform(1e-4, 1)})


def batch_norm() -> Problem:
    model = layers.serial(layers.dense(8), layers.batch_norm(), layers.dropout(0.2), layers.dense(10))
    return problems.classification("bn", model, digits().dataset, batch_size=8, steps=STEPS, target=0.9, description="")


def program_of(
    problem: Problem, optimizer: Any = "adam", lanes: Lanes = ALONE, memory: int | None = None, **choices: Any
) -> Program:
    chosen = optimizers.get(optimizer) if isinstance(optimizer, str) else optimizer
    recipe = Recipe(**{"optimizer": chosen, "steps": STEPS, "evaluations": EVALUATIONS} | choices)
    return compile_program(compile_problem(problem, lanes, memory), recipe)


def requests_of(program: Program, *rates: float, stage: Any = "final") -> list[Request]:
    space = {**program.recipe.optimizer.space, **program.recipe.schedule.space}
    usual = {name: 0.9 if isinstance(span, Range) else span for name, span in space.items()}
    return [Request({**usual, "learning_rate": rate}, stage, seed) for seed, rate in enumerate(rates)]


def streamed_bytes(steps: int) -> int:
    train = dict(digits().dataset.train)
    return BLOCKS * steps * 8 * (held_bytes(train) // digits().dataset.examples + 4)


@cache
def plain() -> Program:
    """What tests train that ask for nothing else."""
    return program_of(digits())


CASES: dict[str, tuple[Callable[[], Program], tuple[float, ...]]] = {
    "full batches": (lambda: program_of(problems.get("quadratic"), "momentum"), (0.01,)),
}
SLOW = {
    "lanes that stop early",
    "streams, two intervals at once",
    "probes",
    "other parameters are evaluated",
    "two players",
    "divergence",
}
LONG_CASES: dict[str, tuple[Callable[[], Program], tuple[float, ...]]] = {
    "every kind of leaf": (lambda: program_of(digits(), EVERYTHING), (0.01,)),
    "early stopping, a schedule": (
        lambda: program_of(digits(), "sgd", stopping=EarlyStopping(patience=2), schedule=get_schedule("cosine")),
        (2.0,),
    ),
    "a model with a state, dropout": (lambda: program_of(batch_norm()), (0.01,)),
    "lanes": (lambda: program_of(digits(dropout=0.1), "adam", Lanes(4)), (0.01, 0.1, 1e30)),
    "lanes that stop early": (
        lambda: program_of(digits(), "sgd", Lanes(2), stopping=EarlyStopping(patience=1)),
        (0.1, 3.0),
    ),
    "streams, in parts of intervals": (lambda: program_of(digits(), memory=streamed_bytes(4)), (0.01,)),
    "streams, two intervals at once": (lambda: program_of(digits(), memory=streamed_bytes(12)), (0.01,)),
    "probes": (lambda: program_of(digits(), probes=(probes.get("gradient_norm"), probes.get("update_ratio"))), (0.01,)),
    "a line search": (lambda: program_of(problems.get("quadratic"), "lbfgs"), (0.5,)),
    "other parameters are evaluated": (lambda: program_of(digits(), "schedule_free_adamw"), (0.01,)),
    "two players": (lambda: program_of(problems.get("ring-gan").variant(batch_size=16)), (0.001,)),
    "divergence": (lambda: program_of(digits(), "sgd"), (1e30,)),
}


@pytest.mark.parametrize(
    "name",
    [
        *CASES,
        *(pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.long) for name in LONG_CASES),
    ],
)
def test_a_trial_that_is_killed_at_every_boundary_has_the_bits_of_one_that_is_not(name: str, tmp_path: Path) -> None:
    make, rates = {**CASES, **LONG_CASES}[name]
    program = make()
    requests = requests_of(program, *rates)
    whole = [bits(each) for each in train_trials(program, requests)]
    results, died = killed_again_and_again(program, requests, tmp_path / "one.msgpack")
    assert [bits(each) for each in results] == whole
    assert died == sorted(set(died)) and died and died[0] > 0, "it went on, each time from where it was"


@pytest.mark.long
def test_a_rung_goes_on_and_ends_where_it_is_to_end(tmp_path: Path) -> None:
    program = plain()
    requests = requests_of(program, 0.01, stage="tuning")
    whole = train_trials(program, requests, until=4)
    results, died = killed_again_and_again(program, requests, tmp_path / "one.msgpack", until=4)
    assert bits(results[0]) == bits(whole[0]) and len(results[0].steps) == 5 and died[-1] == 18


# --- short calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pace", "left", "expected"),
    [
        (1e-3, 100_000, None),  # 100 s are left
        (1e-3, 200_000, Cut(2, 1000)),  # a call of 8 s becomes one of 2
        (2e-4, 1_000_000, None),  # its calls take 1.6 s
        (2e-3, 200_000, Cut(1, 1000)),
        (1.0, 200, Cut(1, 2)),
        (10.0, 20, Cut(1, 1)),  # a step is the shortest there is
    ],
)
def test_long_trials_are_cut_into_short_calls(pace: float, left: int, expected: Cut | None) -> None:
    assert host_loop.finer(Cut(8, 1000), 1000, pace, left, 120.0) == expected


@pytest.mark.parametrize(
    ("cut", "lanes"),
    [
        pytest.param(Cut(1, 4), ALONE, marks=pytest.mark.long),
        *(pytest.param(cut, ALONE, marks=pytest.mark.slow) for cut in (Cut(1, 6), Cut(1, 1))),
        *(pytest.param(cut, Lanes(2), marks=pytest.mark.slow) for cut in (Cut(1, 6), Cut(1, 4), Cut(1, 1))),
    ],
)
def test_no_bit_depends_on_how_a_trial_is_cut(
    cut: Cut, lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = program_of(digits(dropout=0.1), "adam", lanes, evaluations=EVALUATIONS)
    requests = requests_of(program, *([0.01] if lanes.alone else [0.01, 0.1]))
    whole = [bits(each) for each in train_trials(program, requests)]
    wanted = iter([cut])
    monkeypatch.setattr(host_loop, "finer", lambda *_: next(wanted, None))
    assert [bits(each) for each in train_trials(program, requests)] == whole
    assert next(wanted, None) is None, "it was cut"
    wanted = iter([cut] * 100)  # at every evaluation, and after every kill
    results, died = killed_again_and_again(program, requests, tmp_path / "one.msgpack")
    assert [bits(each) for each in results] == whole
    assert died == sorted(set(died)) and len(died) >= (STEPS - 12) // min(cut.steps, 6)


# --- what is not loaded ----------------------------------------------------------------------------------------------


def kept(path: Path, **changes: Any) -> tuple[Program, list[Request]]:
    program = plain()
    requests = requests_of(program, 0.01)
    with pytest.raises(KilledError):
        train_trials(program, requests, keeper=keeper(path, kind=Killing, **changes))
    return program, requests


def restored(path: Path, program: Program, requests: Sequence[Request], **changes: Any) -> list[str]:
    """The notes of a trial that finds this checkpoint; whatever they say, its numbers are right."""
    ours = keeper(path, **changes)
    (result,) = train_trials(program, requests, keeper=ours)
    assert bits(result) == bits(train_trials(program, requests)[0])
    return list(ours.notes)


@pytest.mark.long
def test_what_does_not_fit_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "one.msgpack"
    program, requests = kept(path)
    right = path.read_bytes()

    def notes(content: bytes | None = None, **changes: Any) -> str:
        path.write_bytes(right if content is None else content)
        path.chmod(0o600)
        return "; ".join(restored(path, program, requests, **changes))

    assert notes() == "adam on digits: a trial goes on at step 6, from its checkpoint"
    assert "is of another trial, or of others beside it; its trial begins anew" in notes(trials=["cd34"])
    assert "is of another trial, or of others beside it" in notes(trials=[MINE, "cd34"])
    assert "another program wrote it, which differs in jax, lanes" in notes(jax="0.0.1", lanes="8")
    assert "is damaged" in notes(right[:-1]) and "is damaged" in notes(b"") and "is damaged" in notes(right + b"x")
    for place in (0, 30, len(right) // 2, len(right) - 1):
        flipped = bytearray(right)
        flipped[place] ^= 1
        assert "is damaged" in notes(bytes(flipped))

    def signed(content: bytes) -> bytes:
        return content + hashlib.sha256(content).digest()

    assert "no checkpoint of this version" in notes(signed(b"x" * 100))
    assert "larger than they can be" in notes(signed(right[:19] + b"\xff" * 8 + right[27:-32]))
    assert "cannot be read" in notes(signed(right[:-40]))
    # of another model, though it has this trial's name and digest
    other = program_of(digits().variant(batch_size=8), "sgd")
    path.write_bytes(right)
    found = restored(path, other, requests_of(other, 0.01))
    assert "other parameters or another optimizer's state" in found[0]


@pytest.mark.long
def test_shapes_and_curves_that_are_not_the_trials_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "one.msgpack"
    kept(path)
    right = path.read_bytes()
    wider = program_of(problems.get("digits-mlp", width=17).variant(batch_size=8))
    (note,) = restored(path, wider, requests_of(wider, 0.01))
    assert "has an array of float32[17]" in note or "has an array of float32[64, 17]" in note
    path.write_bytes(right)
    other = program_of(digits(), evaluations=4)  # nine steps an interval
    (note,) = restored(path, other, requests_of(other, 0.01))[1:]
    assert "its curve is not that of this trial" in note


def test_nobody_else_can_read_or_replace_a_checkpoint(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "checkpoints"), 0.0)
    Path(place.folder).mkdir(mode=0o700)
    path = Path(place.folder) / f"{MINE}.msgpack"
    program, requests = kept(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(place.folder) == [path.name], "nothing half is left"  # noqa: PTH208
    path.chmod(0o622)
    assert "others may write it" in restored(path, program, requests)[0]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert "is not used" in restored(path, program, requests)[0]
    assert not path.is_symlink() and elsewhere.read_bytes() == before, "it is replaced, not followed"
    assert keeper_of(place, [MINE], {}, "") is not None
    Path(place.folder).chmod(0o777)
    assert keeper_of(place, [MINE], {}, "") is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert keeper_of(Place(str(tmp_path / "link"), 0.0), [MINE], {}, "") is None
    assert keeper_of(Place(str(tmp_path / "missing"), 0.0), [MINE], {}, "") is None
    with pytest.raises(ValueError, match="expected the id of a trial"):
        keeper_of(Place(str(tmp_path), 0.0), ["../up"], {}, "")


def test_a_disk_that_is_full_costs_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.msgpack"
    program, requests = kept(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    goes_on, note = restored(path, program, requests)
    assert "goes on at step 6" in goes_on
    assert note == (
        f"{tmp_path}: a checkpoint cannot be written: No space left on device; its trial goes on, and would begin anew "
        "if it was killed"
    )
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [path.name]


def test_memory_that_does_not_suffice_for_a_copy_costs_one_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(checkpoints, "on_host", too_large)
    keeper = FileKeeper(tmp_path / "one.msgpack", 0.0, ["one"], program_identity(), "")
    for _ in range(2):
        keeper.keep(Snapshot(jnp.zeros(3), None, [], 1, host_loop.Spent()))
    (note,) = keeper.notes
    assert "a checkpoint cannot be written: MemoryError; its trial goes on" in note
    assert not list(tmp_path.iterdir())


# --- when, and how long ----------------------------------------------------------------------------------------------


def test_writing_takes_a_fiftieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SHARE", 0.02)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ours = FileKeeper(tmp_path / "one.msgpack", 180.0, [MINE], {}, "")
    assert not ours.is_due()
    now[0] += 179
    assert not ours.is_due()
    now[0] += 1
    assert ours.is_due()

    def slowly(*_: Any) -> None:
        now[0] += 10

    monkeypatch.setattr(checkpoints, "_write", slowly)
    ours.keep(Snapshot(jnp.zeros(3), None, [], 1, host_loop.Spent()))
    now[0] += 499
    assert not ours.is_due(), "500 s are fifty times as long"
    now[0] += 2
    assert ours.is_due()


def test_seconds_before_a_kill_count_and_those_of_writing_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = plain()
    requests = requests_of(program, 0.01)
    train_trials(program, requests)  # compiles
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    real = host_loop._Run.call

    def call(run: Any) -> Any:
        now[0] += 10.0
        return real(run)

    class Slow(Killing):
        def keep(self, snapshot: Snapshot) -> None:
            now[0] += 500.0
            super().keep(snapshot)

    monkeypatch.setattr(host_loop._Run, "call", call)
    path = tmp_path / "one.msgpack"
    (whole,) = train_trials(program, requests)
    assert whole.seconds == pytest.approx(60.0) and whole.compile_seconds == pytest.approx(0.0)
    died = []
    while True:
        try:
            (result,) = train_trials(program, requests, keeper=(killing := keeper(path, kind=Slow)))
            break
        except KilledError:
            died += killing.steps
            assert len(died) < 10, killing.notes
    assert died == [6, 12, 18, 24, 30] and result.seconds == pytest.approx(60.0)
    # A budget of 35 s is over after the fourth call, whoever was killed in between.
    (cut,) = train_trials(program, requests, seconds=35.0)
    assert cut.status == "cut off" and cut.steps[-1] == 24
    path.unlink()
    results, died = killed_again_and_again(program, requests, path, seconds=35.0)
    assert results[0].status == "cut off" and results[0].steps[-1] == 24 and died == [6, 12, 18]


# --- of a run --------------------------------------------------------------------------------------------------------


def test_a_run_removes_what_nobody_needs(tmp_path: Path) -> None:
    ours = program_identity()
    folder = tmp_path / "checkpoints"
    with kept_checkpoints(tmp_path, 3.0, dict, lambda: ()) as (place, wrong):
        assert place == Place(str(folder), 180.0) and wrong == ""
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists(), "a run that needed none leaves nothing"
    with kept_checkpoints(tmp_path, 0, dict, lambda: ()) as found:
        assert found == (None, "") and not folder.exists()
    with kept_checkpoints(None, 3.0, dict, lambda: ()) as found:
        assert found == (None, "")
    folder.mkdir(mode=0o700)
    for name, program in {"done": ours, "open": ours, "stale": {**ours, "jax": "0"}, "old": ours}.items():
        snapshot = Snapshot(jnp.zeros(3), None, [], 1, host_loop.Spent())
        FileKeeper(folder / f"{name}.msgpack", 0.0, [name, "beside"], program, "").keep(snapshot)
    (folder / "open.msgpack.77.part").write_bytes(b"half")
    os.utime(folder / "old.msgpack", (0, 0))
    with kept_checkpoints(tmp_path, 3.0, lambda: ours, lambda: ["done"]) as (place, _):
        assert [each.name for each in folder.iterdir()] == ["open.msgpack"]
        assert trials_beside(place, "open") == ["open", "beside"] and trials_beside(place, "done") == ()
        checkpoints.forget_checkpoints(place, ["open", "done"])
    assert not folder.exists()


def test_a_store_that_does_not_answer_at_the_end_costs_no_result(tmp_path: Path) -> None:
    def finished() -> list[str]:
        raise UserError("the store cannot be read")

    def run() -> str:
        with kept_checkpoints(tmp_path, 3.0, dict, finished) as (place, _):
            assert place is not None
            (Path(place.folder) / "one.msgpack").write_bytes(b"of a trial that was interrupted")
            return "what came of it"

    assert run() == "what came of it"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with kept_checkpoints(tmp_path, 3.0, dict, lambda: ()) as (place, wrong):
        assert place is None and "checkpoints: File exists: long trials are not kept there" in wrong
    (tmp_path / "checkpoints").unlink()
    (tmp_path / "checkpoints").symlink_to(tmp_path)
    with kept_checkpoints(tmp_path, 3.0, dict, lambda: ()) as (place, wrong):
        assert place is None and "it is a link, or others may write there" in wrong


# --- of one trial by hand --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_training_by_hand_goes_on_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(rate: float = 0.01, **choices: Any) -> list[Any]:
        own = Optimizer("own", lambda learning_rate: optax.sgd(learning_rate), {"learning_rate": 0.1})
        model = bench.train(digits(), own, steps=STEPS, evaluations=EVALUATIONS, learning_rate=rate, **choices)
        return [
            model.status,
            *(np.asarray(each).tobytes() for each in jax.tree.leaves((model.params, model.curve.to_numpy()))),
        ]

    path = tmp_path / "mine.ckpt"
    whole = train()
    assert train(checkpoint=path) == whole and not path.exists(), "no checkpoint was due"
    real = FileKeeper.keep
    monkeypatch.setattr(FileKeeper, "is_due", lambda _: True)

    def keep(self: FileKeeper, snapshot: Snapshot) -> None:
        real(self, snapshot)
        if snapshot.step == 18:
            os.kill(os.getpid(), signal.SIGINT)  # heeded at the next boundary

    monkeypatch.setattr(FileKeeper, "keep", keep)
    monkeypatch.setattr(host_loop, "MOMENT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path)
    monkeypatch.setattr(FileKeeper, "keep", real)
    before = path.read_bytes()
    assert train(0.02, checkpoint=str(path)) == train(0.02)
    assert "is of another trial" in capsys.readouterr().err
    path.write_bytes(before)
    assert train(checkpoint=path) == whole and not path.exists()
    assert "own on digits-mlp: a trial goes on at step 24, from its checkpoint" in capsys.readouterr().err
    with pytest.raises(UserError, match="there is no folder"):
        train(checkpoint=tmp_path / "missing" / "mine.ckpt")
