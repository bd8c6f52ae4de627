"""Executables that are kept between processes: the same bits without a trace, and nothing that is not whole."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dlkit import bench
from dlkit.bench import optimizers, problems
from dlkit.bench.machine.program import program_identity
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import STAGES
from dlkit.bench.training import executables
from dlkit.bench.training.executables import Kept
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)  # what XLA's cache gives back is not kept
    compilation_cache.reset_cache()
    yield tmp_path / "executables"
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


class Traced:
    """A function that counts how often it is traced; its numbers are new to XLA's cache."""

    def __init__(self, key: str = "sum", by: float | None = None) -> None:
        self.count = 0
        self.by = float(np.random.default_rng().uniform()) if by is None else by
        self.function = Kept(jax.jit(self.trace), key)

    def trace(self, tree: Any) -> Any:
        self.count += 1
        return {"sum": tree["a"].sum() * self.by}

    def again(self, key: str = "sum") -> "Traced":
        return Traced(key, self.by)


ONES = {"a": jnp.ones(3)}


def test_another_process_loads_what_one_compiled(folder: Path) -> None:
    first = Traced()
    expected = first.function(ONES)
    again = first.again()
    found = [again.function(ONES), again.function(ONES)]
    assert (first.count, again.count) == (1, 0)
    assert found == [expected, expected]


class Slow(Traced):
    """Takes its time to be traced."""

    def trace(self, tree: Any) -> Any:
        time.sleep(0.5)
        return super().trace(tree)

    def again(self, key: str = "sum") -> "Slow":
        return Slow(key, self.by)


def test_who_needs_what_another_one_makes_waits_for_it(folder: Path) -> None:
    """Each has the file open for itself, as processes have."""
    first = Slow()
    several = [first, first.again(), first.again()]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda each: each.function(ONES)["sum"].item(), several))
    assert sum(each.count for each in several) == 1 and len({*found}) == 1
    assert not any((folder.parent / "locks").iterdir())


def test_nobody_waits_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executables, "LONGEST_WAIT", 0.1)
    first = Slow()
    several = [first, first.again()]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda each: each.function(ONES)["sum"].item(), several))
    assert [each.count for each in several] == [1, 1] and len({*found}) == 1


def test_what_raises_lets_others_go_on(folder: Path) -> None:
    def fails(tree: Any) -> Any:
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        Kept(jax.jit(fails), "sum")(ONES)
    first = Traced()
    assert first.function(ONES)["sum"] > 0 and first.count == 1


def test_other_types_and_keys_are_other_executables(folder: Path) -> None:
    first = Traced()
    first.function(ONES)
    assert first.function({"a": np.ones(5, np.float32)})["sum"] == np.float32(5 * np.float32(first.by))
    assert first.function(ONES)["sum"] == first.again().function(ONES)["sum"]
    other = first.again("another")
    other.function(ONES)
    assert (first.count, other.count) == (2, 1)


SLICES = """
import sys
import jax, jax.numpy as jnp
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.training.executables import Kept

def apart(values):
    return [(each, each[::2]) for each in values]

configure_jax()
values = jnp.arange(120.0).reshape(4, 30)
for key in sys.argv[1:]:
    for each in (Kept(jax.jit(apart), key) if key != "own" else jax.jit(apart))(values):
        jax.block_until_ready(each)
"""


@pytest.mark.long
@pytest.mark.parametrize("first", ["one", "own"])
def test_what_xlas_cache_gave_back_is_not_written_again(first: str, tmp_path: Path) -> None:
    """Nor what this process has kept of it for another function that computes the same: it lacks functions then."""
    environment = {**os.environ, "DLKIT_CACHE": str(tmp_path)}

    def run(*keys: str) -> None:
        subprocess.run([sys.executable, "-c", SLICES, *keys], env=environment, check=True, capture_output=True)

    run("one")
    for file in (tmp_path / "executables").iterdir():
        file.unlink()
    run(first, "two")
    run("one", "two")


@pytest.mark.parametrize("fault", ["cut off", "another's", "a bit flipped", "no executable"])
@pytest.mark.parametrize("largest", [False, True], ids=["name", "executable"])
def test_a_file_that_is_not_whole_is_made_anew(fault: str, largest: bool, folder: Path) -> None:
    first = Traced()
    expected = first.function(ONES)
    size = lambda path: path.stat().st_size  # noqa: E731
    path = (max if largest else min)(folder.iterdir(), key=size)
    content = path.read_bytes()
    if fault == "another's":
        here = set(folder.iterdir())
        Traced("another").function(ONES)
        content = (max if largest else min)(set(folder.iterdir()) - here, key=size).read_bytes()
    faulty = {"cut off": content[:-1], "another's": content, "no executable": b"no"}
    path.write_bytes(faulty.get(fault, bytes([content[0] ^ 1]) + content[1:]))
    again = first.again()
    assert again.function(ONES) == expected and again.count == 1
    last = first.again()
    assert last.function(ONES) == expected and last.count == 0


def test_an_edit_that_leaves_a_program_what_it_was_compiles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Traced()
    expected = first.function(ONES)
    monkeypatch.setattr(executables, "program_identity", lambda: {**program_identity(), "code": "another"})
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **more: compiled.append(event) if "backend_compile" in event else None
    )
    again = first.again()
    assert again.function(ONES) == expected and (again.count, compiled) == (1, [])
    last = first.again()
    assert last.function(ONES) == expected and last.count == 0


def test_a_setting_of_jax_makes_another_executable(folder: Path) -> None:
    first = Traced()
    first.function(ONES)
    with jax.default_matmul_precision("highest"):
        again = first.again()
        again.function(ONES)
    assert again.count == 1


def test_equal_numbers_in_another_structure_are_another_executable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an edit: what is lowered does not say what its results are called where nothing stands."""
    by = float(np.random.default_rng().uniform())
    Kept(jax.jit(lambda x: {"a": x * by}), "sum")(ONES["a"])
    monkeypatch.setattr(executables, "program_identity", lambda: {**program_identity(), "code": "another"})
    assert Kept(jax.jit(lambda x: {"a": x * by, "b": None}), "sum")(ONES["a"]).keys() == {"a", "b"}


def test_with_several_devices_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    jitted = jax.jit(jnp.sum)
    for devices, keeps in ((1, True), (4, False)):
        monkeypatch.setattr(jax, "device_count", lambda count=devices: count)
        assert isinstance(executables.kept(jitted, "a group", "sum"), Kept) == keeps
        assert executables.kept(jitted, "", "sum") is jitted


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "file"))
    first = Traced()
    assert first.function(ONES) == first.again().function(ONES)


def test_a_kept_program_gives_the_same_bits(folder: Path) -> None:
    def curve(key: str) -> list[bytes]:
        recipe = Recipe(optimizer=optimizers.get("adam"), steps=6, evaluations=2)
        program = compile_program(compile_problem(problems.get("diabetes-linear"), key=key), recipe, key=key)
        values = {"learning_rate": 0.03, "b1": 0.9, "b2": 0.99, "eps": 1e-8}
        result = train_trial(program, {name: values[name] for name in recipe.traced}, stage="final", seed=0)
        return [np.asarray(leaf).tobytes() for leaf in (*result.curves.values(), *jax.tree.leaves(result.params))]

    assert curve("") == curve("a group") == curve("a group")


LAPACK = """
import jax, jax.numpy as jnp
from dlkit.bench.training.executables import Kept

def f(x):
    square = x @ x.T + jnp.eye(len(x))
    q = jnp.linalg.qr(x)[0].sum() + jnp.linalg.eigh(square)[0].sum() + jnp.linalg.svd(x, compute_uv=False).sum()
    return q + jnp.linalg.cholesky(square).sum() + jnp.linalg.solve(square, x).sum()

def g(x):
    print("traced")
    return f(x)

print(float(Kept(jax.jit(g), "lapack")(jnp.arange(12.0).reshape(3, 4))))
"""


def test_a_new_process_calls_lapack_from_what_it_loads(folder: Path, tmp_path: Path) -> None:
    """JAX looks LAPACK's functions up while it lowers, and a process that loads an executable lowers nothing."""
    environment = {**os.environ, "DLKIT_CACHE": str(tmp_path)}
    shown = [
        subprocess.run(
            [sys.executable, "-c", LAPACK], capture_output=True, text=True, check=True, env=environment
        ).stdout.split()
        for _ in range(2)
    ]
    assert [each[:-1] for each in shown] == [["traced"], []]
    assert shown[0][-1] == shown[1][-1]


def test_edited_functions_of_ones_own_are_never_answered_from_the_cache(folder: Path) -> None:
    """Under one name, with one number changed."""

    def trained(factor: float) -> float:
        own = bench.Optimizer("own", lambda learning_rate: optax.sgd(factor * learning_rate), {"learning_rate": 0.1})
        model = bench.train("quadratic", own, steps=2, evaluations=1, learning_rate=0.01)
        return float(model.curve["suboptimality"].iloc[-1])

    assert len({trained(factor) for factor in (1.0, 2.0, 3.0)}) == 3
    assert trained(1.0) == trained(1.0)


@pytest.mark.parametrize("stopping", [None, pytest.param(EarlyStopping(patience=9), marks=pytest.mark.long)])
def test_a_study_compiles_each_program_once(stopping: EarlyStopping | None) -> None:
    """Tuning on validation and a final trial on test: one segment an optimizer, one evaluation for all of them."""
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **more: compiled.append(more["fun_name"]) if "backend_compile" in event else None
    )
    shared = compile_problem(problems.get("diabetes-linear"))
    for name in ("sgd", "adam"):
        optimizer = optimizers.get(name)
        program = compile_program(shared, Recipe(optimizer=optimizer, steps=6, evaluations=2, stopping=stopping))
        values = {key: span.low if isinstance(span, Range) else span for key, span in optimizer.space.items()}
        for stage in STAGES:
            train_trial(program, values, stage=stage, seed=0)
    names = ("start", "judged", "at", "begin", "segment", "finish")
    counts = {name: compiled.count(f"jit({name})") for name in names}
    own = {"start": 1, "judged": 1, "at": 1, "begin": 2, "segment": 2}
    assert counts == dict.fromkeys(names, 0) | own
