"""A training split that streams: the same examples in the same order, and the bits of one on the device."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench, layers, models
from dlkit.bench import data, optimizers, probes, problems
from dlkit.bench.data import split
from dlkit.bench.errors import UserError
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.trials import Order
from dlkit.bench.probes import PROBE_EXAMPLES
from dlkit.bench.problems import Problem
from dlkit.bench.training import streaming
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.data_order import batches_of, data_order
from dlkit.bench.training.lanes import ALONE, Lanes, held_bytes
from dlkit.bench.training.loop import scan
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.stopwatch import Contestant, measure
from dlkit.bench.training.streaming import BLOCKS, Cut, block_bytes, cut_of, stream
from dlkit.bench.training.trajectory import begin, train_trials

SGD = optimizers.get("sgd")
STEPS, EVALUATIONS = 42, 6  # seven steps an interval: no cut divides it


@cache
def digits(**choices: Any) -> Problem:
    return problems.get("digits-mlp", width=16, **choices).variant(batch_size=8)


def step_bytes(problem: Problem) -> int:
    example = held_bytes(dict(problem.dataset.train)) // problem.dataset.examples
    return (problem.batch_size or 0) * (example + 4)


def program_of(problem: Problem, steps: int | None, lanes: Lanes = ALONE, **choices: Any) -> Program:
    """A program whose blocks hold so many steps; None for data on the device."""
    memory = None if steps is None else BLOCKS * steps * step_bytes(problem) * lanes.trials
    recipe = Recipe(**{"optimizer": SGD, "steps": STEPS, "evaluations": EVALUATIONS} | choices)
    program = compile_program(compile_problem(problem, lanes, memory), recipe)
    assert (program.shared.block_bytes is None) == (steps is None), "it does what was asked"
    return program


def bits(result: Trajectory) -> list[Any]:
    arrays = [*result.curves.values(), *jax.tree.leaves((result.params, result.state))]
    ends = (result.status, result.steps.tolist(), result.validation, result.evaluations)
    return [*ends, result.diverged_at, result.restored_at, *(np.asarray(array).tobytes() for array in arrays)]


def run(program: Program, rate: float = 0.3, *, seeds: Sequence[int] = (0,), **choices: Any) -> list[list[Any]]:
    values = {"learning_rate": rate, **dict.fromkeys(program.recipe.schedule.space, 0.1)}
    requests = [Request(values, "final", seed) for seed in seeds]
    return [bits(each) for each in train_trials(program, requests, **choices)]


# --- the bits --------------------------------------------------------------------------------------------------------


@cache
def resident() -> Program:
    return program_of(digits(), None)


# two intervals a call; one; parts of 4 + 3; of 2 + 2 + 2 + 1; of single steps
@pytest.mark.long
@pytest.mark.parametrize("steps", [*(pytest.param(steps, marks=pytest.mark.slow) for steps in (14, 7, 4, 2)), 1])
def test_a_streamed_trial_has_the_bits_of_one_on_the_device(steps: int) -> None:
    cut = program_of(digits(), steps)
    for seed in (0, 3):
        assert run(cut, seeds=[seed]) == run(resident(), seeds=[seed])
    assert run(cut, seeds=[0]) != run(resident(), seeds=[3])
    assert run(cut, until=3) == run(resident(), until=3)
    assert run(cut, 1e30) == run(resident(), 1e30), "divergence is seen at the same step"


@pytest.mark.long
@pytest.mark.parametrize("order", [pytest.param("fixed", marks=pytest.mark.slow), "iid"])
def test_every_order_streams(order: Order) -> None:
    usual = digits().variant(batch_size=64)  # in so many steps, two epochs and a half
    problem = usual.variant(order=order)
    assert run(program_of(problem, 3)) == run(program_of(problem, None)) != run(program_of(usual, None))


@pytest.mark.slow
def test_dropout_early_stopping_and_a_schedule_stream() -> None:
    choices: dict[str, Any] = {"stopping": EarlyStopping(patience=1), "schedule": bench.schedules.get("cosine")}
    whole, cut = (program_of(digits(dropout=0.2), each, **choices) for each in (None, 4))
    rates = (0.3, 10.0)
    for rate in rates:
        assert run(cut, rate) == run(whole, rate)
    assert run(whole, rates[1])[0][0] == "stopped", "one of them does stop"


@pytest.mark.slow
@pytest.mark.parametrize("steps", [14, pytest.param(4, marks=pytest.mark.slow)])
def test_lanes_find_their_examples_in_one_block(steps: int) -> None:
    lanes = Lanes(2)
    whole, cut = program_of(digits(), None, lanes), program_of(digits(), steps, lanes)
    assert run(cut, seeds=(0, 1)) == run(whole, seeds=(0, 1))
    assert run(cut, seeds=(1,)) == run(whole, seeds=(1,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-cnn", "digits-rows"])
@pytest.mark.parametrize("steps", [14, 7, 4, 2, 1])
def test_convolutions_and_recurrence_stream(name: str, steps: int) -> None:
    problem = problems.get(name).variant(batch_size=4)
    assert run(program_of(problem, steps)) == run(program_of(problem, None))


@pytest.mark.slow
def test_probes_see_the_examples_they_see_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROBE_EXAMPLES == 1024
    wide = np.random.default_rng(0).normal(size=(8000, 2)).astype(np.float32)
    own = split("wide", {"inputs": wide, "targets": wide[:, 0] * wide[:, 1]})
    problem = problems.regression("wide", models.mlp((4,)), own, batch_size=4, steps=STEPS, target=0.1, description="")
    choices = {"probes": (probes.get("gradient_norm"),)}
    recipe = Recipe(optimizer=SGD, steps=STEPS, evaluations=EVALUATIONS, **choices)  # type: ignore[arg-type]
    memory = BLOCKS * (PROBE_EXAMPLES * 12 + 4 * step_bytes(problem))
    cut = compile_program(compile_problem(problem, memory=memory), recipe)
    assert cut.shared.block_bytes is not None
    assert run(cut, 0.1) == run(program_of(problem, None, **choices), 0.1)


def test_a_loop_of_one_turn_stays_a_loop() -> None:
    def body(carry: Any, row: Any) -> Any:
        return carry + row.sum(), (carry, row)

    for turns in (1, 2):
        rows = jnp.arange(turns * 3.0).reshape(turns, 3)
        ours, theirs = (jax.jit(lambda c, r, f=f: f(body, c, r)) for f in (scan, jax.lax.scan))
        for mine, other in zip(jax.tree.leaves(ours(1.0, rows)), jax.tree.leaves(theirs(1.0, rows)), strict=True):
            np.testing.assert_array_equal(mine, other)
        assert " while(" in ours.lower(1.0, rows).compile().as_text()
    lanes = jax.vmap(lambda row: scan(body, 0.0, row)[0])(jnp.arange(6.0).reshape(2, 1, 3))
    assert lanes.tolist() == [3.0, 12.0]


# --- what is streamed ------------------------------------------------------------------------------------------------


def test_blocks_are_the_batches_of_the_order() -> None:
    problem, cut = digits(), Cut(1, 4)
    orders = [batches_of(problem, "final", seed) for seed in (0, 5)]
    blocks = list(stream(problem, problem.dataset.train, orders, cut, Lanes(2), evaluations=3, interval=7))
    assert [block.is_last for block in blocks] == [False, True] * 3
    assert blocks[0].indices.shape == (2, 4, 8) and blocks[1].indices.shape == (2, 1, 3, 8)
    for lane, seed in enumerate((0, 5)):
        expected = next(data_order(problem, "final", seed, segment=21))
        seen = [np.asarray(block.train["inputs"])[np.asarray(block.indices[lane]).reshape(-1, 8)] for block in blocks]
        np.testing.assert_array_equal(np.concatenate(seen), problem.dataset.train["inputs"][expected])


def test_an_order_asked_for_anywhere_is_the_one_asked_for_in_turn() -> None:
    problem = digits()
    whole = next(data_order(problem, "tuning", 2, segment=500))  # more than three epochs
    batches = batches_of(problem, "tuning", 2)
    for first, last in ((0, 3), (150, 170), (490, 500), (10, 480), (3, 4)):
        np.testing.assert_array_equal(batches(first, last), whole[first:last])


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (100, Cut(4, 7)),  # all of a call fits
        (27, Cut(2, 7)),  # 21 would, but does not divide it
        (13, Cut(1, 7)),
        (6, Cut(1, 4)),  # in two parts that are about equal
        (3, Cut(1, 3)),
        (1, Cut(1, 1)),
    ],
)
def test_cuts_are_the_largest_that_fit(room: int, expected: Cut) -> None:
    problem = digits()
    cut = cut_of(problem, 2, room=room * 2 * step_bytes(problem), points=4, interval=7)
    assert cut == expected
    blocks = cut.blocks(8, 7)
    assert [step for first, last, _ in blocks for step in range(first, last)] == list(range(56))
    assert max(last - first for first, last, _ in blocks) <= room
    assert [last for _, last, is_last in blocks if is_last][-1] == 56


def test_a_split_streams_if_it_is_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits()
    size = held_bytes(dict(problem.dataset.train))
    assert block_bytes(problem, size) is None
    assert block_bytes(problem, size - 1) == (size - 1) // 4
    assert block_bytes(problem, None) is None, "small splits do not ask"
    monkeypatch.setattr(streaming, "SMALL_SPLIT", 0)
    assert block_bytes(problem, None) is None, "this machine has room"
    monkeypatch.setattr(streaming, "_usual_memory", lambda: size // 2)
    assert block_bytes(problem, None) == size // 2 // 4
    assert block_bytes(problem.variant(batch_size="full"), None) is None, "nobody asked to stream"
    assert block_bytes(problems.get("quadratic"), 1) is None, "there is nothing to stream"


def test_what_cannot_stream_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits()
    with pytest.raises(UserError, match="every step needs all of it; give the problem a batch_size, or allow more"):
        compile_problem(problem.variant(batch_size="full"), memory=4096)
    need = BLOCKS * step_bytes(problem)
    with pytest.raises(UserError, match=rf"hold a step \(8 examples\): allow at least {need:,} bytes"):
        run(compile_program(compile_problem(problem, memory=need - 4), Recipe(optimizer=SGD, steps=4, evaluations=2)))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grain" else found(name))
    with pytest.raises(UserError, match=r"needs grain: pip install 'dlkit-jax\[streaming\]'"):
        compile_problem(problem, memory=4096)


def test_batch_statistics_of_averages_do_not_stream() -> None:
    model = layers.serial(layers.dense(4), layers.batch_norm(), layers.dense(10))
    own = problems.classification("bn", model, digits().dataset, batch_size=8, steps=4, target=0.9, description="")
    shared = compile_problem(own, memory=2**16)
    recipe = Recipe(optimizer=optimizers.get("schedule_free_sgd"), steps=4, evaluations=2)
    with pytest.raises(
        UserError, match=r"optimizer 'schedule_free_sgd' evaluates other .* problem 'bn' has batch stat"
    ):
        compile_program(shared, recipe)
    compile_program(shared, replace(recipe, optimizer=SGD))


# --- whole runs ------------------------------------------------------------------------------------------------------


def outcomes(result: bench.Result) -> Mapping[str, Any]:
    assert not result.failures
    return {
        name: ({metric: curve.tobytes() for metric, curve in each.outcome.curves.items()}, each.outcome.validation)
        for name, each in result.summary.records.items()
    }


@pytest.mark.slow
def test_a_run_with_little_memory_is_the_run_without_a_bound() -> None:
    def compare(*, memory: str | None = None, timing: bool = False) -> bench.Result:
        return bench.compare(
            problems=[digits()],
            optimizers=["sgd", "adam"],
            budget=bench.Budget(steps=12, evaluations=3, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
            timing=timing,
            resources=bench.Resources(executor="inline", memory=memory),
            progress=False,
        )

    small = compare(memory="40kB", timing=True)
    assert outcomes(small) == outcomes(compare())
    assert all(small.replay(name).exact for name in list(small.summary.records)[:2])
    assert (small.costs()["seconds_per_step"] > 0).all()


@pytest.mark.slow
def test_timing_takes_parts_of_intervals() -> None:
    values = {"learning_rate": 0.1}
    (timing,) = measure([Contestant(program_of(digits(), 4), values)], repeats=2, seconds=1e-4)
    assert timing.failure == "" and len(timing.seconds) == 2
    assert begin(program_of(digits(), 4), [Request(values, "final", 0)]).cut.evaluations == 1


def mapped_digits(place: Path) -> Problem:
    for part in ("train", "validation", "test"):
        (place / part).mkdir(parents=True)
        for name, array in getattr(digits().dataset, part).items():
            np.save(place / part / f"{name}.npy", array)
    return replace(digits(), dataset=data.npy(place))


@pytest.mark.slow
def test_mapped_examples_stream_without_being_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = mapped_digits(tmp_path / "digits")
    sizes = []
    real = streaming.placed
    monkeypatch.setattr(
        streaming, "placed", lambda arrays, lanes: sizes.append(held_bytes(arrays)) or real(arrays, lanes)
    )
    assert run(program_of(mapped, 4)) == run(resident())
    assert len(sizes) == 2 * EVALUATIONS and max(sizes) <= 4 * step_bytes(mapped)


SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from dlkit import bench
from dlkit.bench import data, problems

if __name__ == "__main__":
    own = problems.get("digits-mlp", width=16).variant(batch_size=8)
    place = Path(sys.argv[1])
    for part in ("train", "validation", "test"):
        (place / part).mkdir(parents=True)
        for name, array in getattr(own.dataset, part).items():
            np.save(place / part / f"{name}.npy", array)
    mapped = replace(own, dataset=data.npy(place))
    budget = bench.Budget(steps=12, evaluations=3, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)
    found = []
    for problem, resources in (
        (mapped, bench.Resources(workers=1, memory="40kB")),
        (own, bench.Resources(executor="inline")),
    ):
        asked = {"problems": [problem], "optimizers": ["sgd"], "budget": budget}
        result = bench.compare(**asked, resources=resources, progress=False)
        assert not result.failures, result.failures
        records = {name: each.outcome for name, each in result.summary.records.items()}
        curves = {name: {m: c.tobytes() for m, c in each.curves.items()} for name, each in records.items()}
        found.append((curves, {name: each.validation for name, each in records.items()}))
    print(json.dumps([len(found[0][0]), found[0] == found[1]]))
"""


@pytest.mark.slow
def test_workers_map_the_files_and_stream(tmp_path: Path) -> None:
    """In a process of its own: here, functions are wrapped for checks and cannot be sent."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "digits")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == [4, True]
