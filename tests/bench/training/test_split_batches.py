"""Batches split over devices: the curve of one device, one program, the same bits each time, clear refusals."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench import problems
from dlkit.bench.errors import UserError
from dlkit.bench.training.lanes import ALONE, Lanes, compiled, split_over
from dlkit.bench.training.program import compile_problem

FOUR_DEVICES = "tests.bench.training.four_devices"
TWO_PROCESSES = "tests.bench.training.two_processes"


def told(module: str, *arguments: str, devices: int = 4) -> Any:
    """What a process of its own prints last, as JSON."""
    return answer(started(module, *arguments, devices=devices))


def started(module: str, *arguments: str, devices: int = 2) -> "subprocess.Popen[str]":
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def answer(process: "subprocess.Popen[str]") -> Any:
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


# --- four devices ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_four_devices_give_the_curve_of_one() -> None:
    """A loss by hand, with noise of each example, pairs of examples, and splits that four does not divide."""
    found = told(FOUR_DEVICES, "curves", "by hand")
    assert len(found) == 1 and max(found.values()) < 1e-5, found


@pytest.mark.slow
def test_four_devices_give_the_curve_of_one_with_every_kind_of_network() -> None:
    kinds = ["char transformer", "mlp", "mlp, full batch", "batch norm", "rnn", "vae", "dropout", "gan"]
    kinds += ["flax", "haiku", "equinox", "averaged parameters", "probes", "early stopping"]
    found = told(FOUR_DEVICES, "curves", *kinds)
    assert len(found) == len(kinds) and max(found.values()) < 1e-5, found


@pytest.mark.long
def test_one_program_splits_every_batch_and_moves_nothing_between_calls() -> None:
    found = told(FOUR_DEVICES, "program")
    assert found["compiled"] == [] and found["same bits"] and found["used up"]
    assert found["layouts"] == ["P()"] and found["devices"] == [4] and found["a quarter of the batch"]


@pytest.mark.long
def test_a_run_names_its_devices_and_replays_exactly_on_as_many() -> None:
    found = told(FOUR_DEVICES, "run")
    assert not found["failures"] and found["timed"]
    assert found["lanes"] == ["none, each batch split over 4 devices"] and len(found["exact"]) > 2
    assert all(found["exact"])
    assert found["asked for"] == ["none, each batch split over 2 devices"]
    assert found["same trials"]  # devices decide last bits, and no trial's identity


def test_one_device_is_no_mesh() -> None:
    """The same lanes, so the same program, bits and speed as without a word of devices."""
    assert split_over(1) == Lanes(0, 1) == ALONE

    def double(x: Any) -> Any:
        return 2 * x

    lowered = compiled(double, (False,), split_over(1)).lower(jnp.ones(3)).as_text()
    assert "sharding" not in lowered and "num_partitions = 1" in lowered


# --- what cannot be split --------------------------------------------------------------------------------------------


def test_a_batch_that_devices_do_not_divide_is_refused() -> None:
    problem = problems.get("digits-mlp")
    with pytest.raises(UserError) as refused:
        problem.variant(batch_size=30, devices=4)
    assert str(refused.value) == (
        "problem 'digits-mlp': a batch of 30 examples cannot be split evenly over 4 devices; choose a batch_size of "
        "28 or 32, or devices = 3"
    )
    with pytest.raises(UserError, match=r"a batch of 64 examples .* over 3 devices; .* 63 or 66, or devices = 2"):
        compile_problem(problem, Lanes(0, 3))


def test_a_problem_without_data_is_refused() -> None:
    with pytest.raises(UserError, match="problem 'quadratic': has no training data to split over 2 devices"):
        problems.get("quadratic").variant(devices=2)


@pytest.mark.parametrize("devices", [0, -1])
def test_no_devices_are_refused(devices: int) -> None:
    with pytest.raises(UserError, match=f"problem 'digits-mlp': devices must be at least 1, got {devices}"):
        problems.get("digits-mlp").variant(devices=devices)


def test_the_name_of_a_platform_is_no_number_of_devices() -> None:
    with pytest.raises(UserError, match="devices must be a whole number, got 'gpu'"):
        problems.get("digits-mlp").variant(devices="gpu")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"resources.devices must be .* got 'gpu'; .* JAX_PLATFORMS decides"):
        bench.Resources(devices="gpu")  # type: ignore[arg-type]


def test_more_devices_than_there_are_is_refused_with_what_there_is() -> None:
    with pytest.raises(UserError) as refused:
        compile_problem(problems.get("digits-mlp"), Lanes(0, 64))
    assert str(refused.value) == (
        "64 devices are wanted here, and this process has 1 device of platform cpu: ask for at most as many; "
        "XLA_FLAGS=--xla_force_host_platform_device_count=64 makes 64 of it"
    )


def test_other_processes_than_there_were_are_refused() -> None:
    with pytest.raises(UserError, match=r"4 devices of 2 processes: this is 1 process; start as many"):
        Lanes(0, 4, 2).sharding(split=True)
    with pytest.raises(UserError, match="4 devices cannot belong evenly to 3 processes"):
        Lanes(0, 4, 3)


def test_lanes_and_devices_exclude_each_other() -> None:
    with pytest.raises(UserError, match="lanes run trials side by side, and devices split each batch of one trial"):
        bench.Resources(lanes=2, devices=2)
    assert bench.Resources(lanes=0, devices=2).devices == 2


def test_resources_name_every_batch_that_they_cannot_split() -> None:
    with pytest.raises(UserError) as refused:
        bench.compare(
            problems=["digits-mlp"],
            optimizers=["sgd"],
            factors={"batch_size": [30, 64]},
            resources=bench.Resources(executor="inline", devices=4),
            progress=False,
        )
    (line,) = str(refused.value).splitlines()
    assert line.startswith("resources.devices: problem 'digits-mlp': a batch of 30 examples")


def test_a_spec_file_says_devices(tmp_path: Any) -> None:
    spec = tmp_path / "spec.toml"
    text = '{head}optimizers = ["sgd"]\n[[problems]]\nproblem = "digits-mlp"\ndevices = {devices}\n'
    spec.write_text(text.format(head='name = "split"\n', devices=4))
    assert bench.load(spec).problems[0].devices == 4
    spec.write_text(text.format(head='name = "split"\n', devices=7))
    with pytest.raises(UserError, match=r"problems\[0\].devices: .* a batch of 64 examples .* over 7 devices"):
        bench.load(spec)


@pytest.mark.parametrize("lanes", [Lanes(0, 4), Lanes(0, 4, 2), Lanes(0, 2, 2)])
def test_devices_and_processes_are_written_and_read(lanes: Lanes) -> None:
    assert Lanes.parse(str(lanes)) == lanes


def test_what_is_split_is_said_in_words() -> None:
    assert str(Lanes(0, 4, 2)) == "none, each batch split over 4 devices of 2 processes"


# --- two processes ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.long
def test_two_processes_with_two_devices_each_give_the_curve_of_one() -> None:
    port = str(free_port())
    processes = [started(TWO_PROCESSES, "train", port, str(place)) for place in (0, 1)]
    first, second = (answer(process) for process in processes)
    assert first["devices"] == second["devices"] == [2, 4]  # here, and in both
    assert first["curve"] == second["curve"] and first["again"] == first["curve"]  # the same bits, each time
    alone = told(TWO_PROCESSES, "alone", devices=1)
    np.testing.assert_allclose(first["curve"], alone["curve"], rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_two_processes_make_one_run_that_the_first_keeps(tmp_path: Path) -> None:
    port, folders = str(free_port()), [tmp_path / "first", tmp_path / "second"]
    processes = [started(TWO_PROCESSES, "run", port, str(place), str(folders[place])) for place in (0, 1)]
    first, second = (answer(process) for process in processes)
    assert first == second and not first["failures"]
    assert first["lanes"] == ["none, each batch split over 4 devices of 2 processes"]
    assert first["reused"] and len(first["exact"]) == len(first["trials"]) > 2 and all(first["exact"])
    assert folders[0].exists() and not folders[1].exists()
    with pytest.raises(UserError, match="4 devices of 2 processes: this is 1 process; start as many"):
        bench.open_run(folders[0]).replay(first["trials"][0])
