"""Trials side by side: the results of one at a time, bits that no neighbour changes, memory that is not enough."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dlkit import bench, layers
from dlkit.bench import optimizers, problems
from dlkit.bench.errors import UserError
from dlkit.bench.execution import executors, work
from dlkit.bench.execution.work import Work, run_work
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.training import lanes
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.lane_memory import lane_bytes
from dlkit.bench.training.lanes import ALONE, Lanes, fitting, traced_bytes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trials

BUDGET = Budget(steps=20, evaluations=4, studies=1, tuning_points=3, tuning_seeds=1, seeds=2)


def program_of(lanes: Lanes, *, stopping: EarlyStopping | None = None) -> Program:
    recipe = Recipe(
        optimizer=optimizers.get("momentum"),
        steps=40,
        evaluations=20,
        schedule=get_schedule("cosine"),
        stopping=stopping,
    )
    return compile_program(compile_problem(problems.get("digits-mlp"), lanes), recipe)


def request(rate: float = 0.05, seed: int = 0) -> Request:
    return Request({"learning_rate": rate, "momentum": 0.9, "final": 0.0}, "final", seed)


def bits(trial: Trajectory) -> dict[str, bytes]:
    return {name: curve.tobytes() for name, curve in trial.curves.items()}


@pytest.fixture(scope="module")
def four() -> Program:
    return program_of(Lanes(4), stopping=EarlyStopping(patience=2))


@pytest.mark.long
def test_lanes_train_what_one_at_a_time_trains(four: Program) -> None:
    # The lanes stop at different moments, one diverges, and one is padding.
    requests = [request(0.05), request(math.inf), request(0.5, seed=1)]
    alone = program_of(ALONE, stopping=EarlyStopping(patience=2))
    for ours, one in zip(train_trials(four, requests), requests, strict=True):
        theirs = train_trials(alone, [one])[0]
        assert (ours.status, ours.diverged_at, ours.restored_at) == (
            theirs.status,
            theirs.diverged_at,
            theirs.restored_at,
        )
        assert ours.steps.tolist() == theirs.steps.tolist() and ours.evaluations == theirs.evaluations
        assert ours.validation.keys() == theirs.validation.keys()
        for name, curve in theirs.curves.items():
            np.testing.assert_allclose(ours.curves[name], curve, rtol=1e-3, atol=1e-4, equal_nan=True)


@pytest.mark.long
@pytest.mark.parametrize("rate", [math.inf, math.nan, 1e30])
def test_no_neighbour_and_no_position_changes_a_lanes_bits(four: Program, rate: float) -> None:
    ours = request(0.05, seed=3)
    first = bits(train_trials(four, [ours])[0])  # beside three copies of itself
    for position in range(4):
        crowd = [request(rate, seed) for seed in range(4)]
        crowd[position] = ours
        assert bits(train_trials(four, crowd)[position]) == first


def test_what_is_trained_has_its_convolutions_as_products() -> None:
    x, kernel = jax.numpy.ones((2, 8, 8, 16)), jax.numpy.ones((3, 3, 16, 8))
    layer = layers.conv(8, (3, 3), use_bias=False)
    jitted = lanes.compiled(lambda kernel: layer.apply({"kernel": kernel}, {}, x)[0], (False,), ALONE)
    text = jitted.trace(kernel).lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.dot_general" in text and "stablehlo.convolution" not in text


def test_too_many_trials_are_refused(four: Program) -> None:
    with pytest.raises(ValueError, match="expected 1 to 4 trials, as many as there are lanes, got 5"):
        train_trials(four, [request()] * 5)


def experiment(*names: str) -> Experiment:
    return Experiment(
        name="lanes",
        problems=(ProblemChoice(problem="digits-mlp"),),
        optimizers=tuple(Contender(optimizer=name) for name in names),
        budget=BUDGET,
    )


@pytest.mark.long
def test_a_run_on_lanes_replays_at_its_width_and_resumes(tmp_path: Path) -> None:
    first = bench.run(
        experiment("sgd"), folder=tmp_path, resources=bench.Resources(executor="inline", lanes=2), progress=False
    )
    assert not first.failures
    for name, record in first.summary.records.items():
        assert record.program["lanes"] == "2"
        replay = first.replay(name)
        assert replay.exact and not replay.program
    again = bench.run(
        experiment("sgd", "adam"),
        folder=tmp_path,
        resources=bench.Resources(executor="inline", lanes=2),
        progress=False,
    )
    assert again.summary.records.keys() > first.summary.records.keys()
    for name, record in first.summary.records.items():
        assert again.summary.records[name].outcome.seconds == record.outcome.seconds, "it was not run again"


@pytest.mark.long
@pytest.mark.parametrize(("problem", "sides"), [("quadratic", [6, 4]), ("diabetes-linear", [3, 3, 2, 2])])
def test_studies_run_side_by_side_where_their_examples_are_the_same(
    monkeypatch: pytest.MonkeyPatch, problem: str, sides: list[int]
) -> None:
    seen = []
    real = work.train_trials
    monkeypatch.setattr(
        work,
        "train_trials",
        lambda program, requests, **rest: seen.append(len(requests)) or real(program, requests, **rest),
    )
    result = bench.compare(
        problems=[problem],
        optimizers=["sgd"],
        budget=replace(BUDGET, studies=2),
        resources=bench.Resources(executor="inline", lanes=8),
        progress=False,
    )
    assert not result.failures and seen == sides
    last = list(result.summary.records)[-1]
    assert result.replay(last).exact


@pytest.mark.parametrize(("problem", "expected"), [("quadratic", 12), ("diabetes-linear", 3)])
def test_lanes_are_planned_for_trials_with_the_same_examples(
    monkeypatch: pytest.MonkeyPatch, problem: str, expected: int
) -> None:
    study = bench_plan(replace(experiment("sgd"), problems=(ProblemChoice(problem=problem),)))
    group = study.group(study.plan.problems[0], study.plan.contenders[0], {})
    planned = []
    monkeypatch.setattr(work, "fitting", lambda trials, lane: planned.append(trials) or Lanes(4))
    monkeypatch.setattr(work, "on_accelerator", lambda: True)
    assert work._lanes(Work(group, (), planned=3, studies=4)) == Lanes(4) and planned == [expected]
    work._fitting.cache_clear()


@pytest.mark.long
def test_a_failure_on_lanes_names_the_optimizer() -> None:
    def broken(learning_rate: Any) -> Any:
        raise KeyError("nothing")

    result = bench.compare(
        problems=["digits-mlp"],
        optimizers=["sgd", bench.Optimizer("broken", broken, {"learning_rate": bench.log_uniform(0.1, 1.0)})],
        budget=BUDGET,
        resources=bench.Resources(executor="inline", lanes=2),
        progress=False,
        check=False,
    )
    assert len(result.failures) == 1 and "optimizer 'broken': build raised KeyError" in result.failures[0]


@pytest.mark.long
def test_too_little_memory_halves_the_lanes_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    real = work.train_trials

    def small(program: Program, requests: Any, **rest: Any) -> Any:
        widths.append(program.shared.lanes.width)
        if widths[-1] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")
        return real(program, requests, **rest)

    monkeypatch.setattr(work, "train_trials", small)
    work._narrowed().clear()
    result = bench.compare(
        problems=["digits-mlp"],
        optimizers=["sgd", "adam"],
        budget=BUDGET,
        resources=bench.Resources(executor="inline", lanes=8),
        progress=False,
    )
    assert not result.failures
    assert {record.program["lanes"] for record in result.summary.records.values()} == {"2"}
    assert widths[:3] == [8, 4, 2] and widths.count(8) == 2, "a group asks once"
    work._narrowed().clear()


def test_one_lane_that_does_not_fit_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(program: Program, requests: Any, **rest: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")

    monkeypatch.setattr(work, "train_trials", never)
    work._narrowed().clear()
    study = bench_plan(experiment("sgd"))
    problem, contender = study.plan.problems[0], study.plan.contenders[0]
    trials = tuple(row[0] for row in study.plan.tuning_trials(problem, contender))
    done = run_work(Work(study.group(problem, contender, {}), trials, lanes=Lanes(2)))
    assert [outcome.status for outcome in done.outcomes] == ["failed"]
    assert "RESOURCE_EXHAUSTED" in done.outcomes[0].reason and done.program["lanes"] == "1"
    work._narrowed().clear()


def bench_plan(asked: Experiment) -> Any:
    from dlkit.bench.spec.planner import plan

    return plan(asked)


# --- how many fit ----------------------------------------------------------------------------------------------------


class Device:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def memory_stats(self) -> dict[str, int]:
        return {"bytes_limit": self.limit}


@pytest.mark.parametrize(
    ("planned", "lane", "limit", "devices", "expected"),
    [
        (20, 1, 10**9, 1, Lanes(32)),  # the power of two that holds the plan
        (20, 10**8, 10**9, 1, Lanes(4)),  # half of the memory, in a power of two
        (20, 10**12, 10**9, 1, Lanes(1)),  # never none
        (20, 1, 10**9, 4, Lanes(32, 4)),  # eight a device
        (10**6, 1, 10**12, 1, Lanes(lanes.WIDEST)),
        (1, 1, 10**9, 1, Lanes(1)),
    ],
)
def test_the_width_comes_from_memory_and_plan(
    monkeypatch: pytest.MonkeyPatch, planned: int, lane: int, limit: int, devices: int, expected: Lanes
) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(limit)] * devices)
    monkeypatch.setattr(jax, "local_device_count", lambda: devices)
    assert fitting(planned, lane) == expected


@pytest.mark.slow
def test_on_an_accelerator_the_width_is_chosen_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (work, executors):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)
    result = bench.compare(
        problems=["digits-mlp"],
        optimizers=["sgd"],
        budget=replace(BUDGET, tuning_seeds=2),
        progress=False,
    )
    widths = {record.outcome.trial.stage: record.program["lanes"] for record in result.summary.records.values()}
    assert widths == {"tuning": "8", "final": "2"}, "6 and 2 trials"


def test_the_estimate_of_a_lane_holds_its_arrays() -> None:
    program = program_of(ALONE)
    parameters = 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    hidden = 359 * (64 + 64 + 10)  # of the validation split
    assert 4 * (2 * parameters + hidden) < lane_bytes(program) < 100 * 4 * (2 * parameters + hidden)


def test_traced_bytes_are_counted_by_hand() -> None:
    def two(x: Any) -> Any:
        inner = jax.jit(lambda y: (y + 1.0) * 2.0)  # two arrays of 40 bytes
        return inner(x) - 1.0  # its result and the difference: two more

    assert traced_bytes(jax.make_jaxpr(two)(np.ones(10, np.float32))) == 160


@pytest.mark.parametrize("lanes", [ALONE, Lanes(4), Lanes(8, 2)])
def test_lanes_are_written_and_read(lanes: Lanes) -> None:
    assert Lanes.parse(str(lanes)) == lanes


@pytest.mark.parametrize(("width", "devices"), [(-1, 1), (3, 2), (2, 0)])
def test_lanes_that_cannot_be_are_refused(width: int, devices: int) -> None:
    with pytest.raises(UserError, match="cannot be spread evenly"):
        Lanes(width, devices)


def test_missing_devices_are_named() -> None:
    with pytest.raises(
        UserError, match=r"64 devices are wanted here, and this process has \d+ devices? of platform cpu"
    ):
        compile_problem(problems.get("quadratic"), Lanes(64, 64))


SCRIPT = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from dlkit import bench, layers
from dlkit.bench.spec.budget import Budget
result = bench.compare(
    problems=["digits-mlp"], optimizers=["sgd"], resources=bench.Resources(executor="inline", lanes=4), progress=False,
    budget=Budget(steps=20, evaluations=4, studies=1, tuning_points=3, tuning_seeds=1, seeds=2),
)
records = result.summary.records
exact = [result.replay(name).exact for name in records]
final = {name: float(each.outcome.final("accuracy")) for name, each in records.items()}
print(json.dumps([result.failures, sorted({each.program["lanes"] for each in records.values()}), exact, final]))
"""


@pytest.mark.slow
def test_lanes_over_two_devices() -> None:
    """In a process of its own, as the number of CPU devices is fixed when JAX starts."""
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    failures, lanes, exact, final = json.loads(process.stdout.splitlines()[-1])
    assert not failures and lanes == ["4 over 2 devices"] and len(exact) == 5 and all(exact)
    single = bench.run(experiment("sgd"), resources=bench.Resources(executor="inline", lanes=4), progress=False)
    for name, record in single.summary.records.items():
        assert final[name] == pytest.approx(record.outcome.final("accuracy"), abs=0.01)
