"""One's own functions and objects work wherever they are defined and wherever they run, with the same bits."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]

LIB = {
    "lib/__init__.py": "SCALE = 2.0\n",
    "lib/acts.py": "import jax\nimport lib\n\n\ndef act(x):\n    return lib.SCALE * jax.nn.tanh(x)\n",
    "lib/late.py": "from .acts import act\n\n\ndef goal():\n    return act(0.3)\n\n\nMOMENTUM = 0.5\n",
}
# A Problem with functions of its own, a function that makes one, an Optimizer and the function inside it, a Schedule, a
# Probe; with modules imported in three ways, and a class that JAX must know as a tree.
THINGS = """
import equinox
import jax
import jax.numpy as jnp
import lib
import optax
from dlkit import bench
from lib.acts import act


class Line(equinox.Module):
    weight: jax.Array

    def distance(self):
        from lib.late import goal

        return ((act(self.weight) - goal()) ** 2).sum()


SHIFT = jnp.full(3, 0.125)


def loss(params, state, batch, key):
    return jax.value_and_grad(Line.distance)(Line(params + SHIFT))[0], state


def made(far: float = 1.0):
    return bench.Problem(
        name="made",
        init=lambda key: (far * jax.random.normal(key, (3,)), None),
        loss=loss,
        evaluate=lambda params, state, batch: {"distance": lib.SCALE * loss(params, state, batch, None)[0]},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"distance": bench.Metric("lower")},
        target=0.1,
    )


ready = made(2.0).variant(name="ready")


def heavy(learning_rate):
    import lib.late

    return optax.sgd(learning_rate, lib.late.MOMENTUM)


mine = bench.Optimizer("mine", heavy, {"learning_rate": bench.log_uniform(1e-3, 1e-1)})
falling = bench.Schedule("falling", lambda step, horizon: 1.0 - step / (lib.SCALE * horizon))
probe = bench.Probe("where", ("where",), lambda view: {"where": act(view.params).sum()})
"""
RUN = """
import json
import os

from dlkit import bench


def run(problems, optimizer, schedule, probe):
    budget = bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2)
    found = []
    for executor in json.loads(os.environ["EXECUTORS"]):
        result = bench.compare(
            problems=problems,
            optimizers=[bench.Contender(schedule=schedule, **optimizer)],
            probes=[probe],
            budget=budget,
            resources=bench.Resources(
                executor=executor, workers=1 if executor == "processes" else None, insecure=executor.startswith("tcp")
            ),
            progress=False,
        )
        trials = {
            name: {curve: [float(each).hex() for each in values] for curve, values in record.outcome.curves.items()}
            for name, record in result.summary.records.items()
        }
        threads = {record.program["threads"] for record in result.summary.records.values()}
        assert threads == {"1"}, threads
        found.append({"trials": trials, "failures": list(result.summary.failures), "missing": result.summary.missing})
    with open("results.json", "w") as file:
        json.dump(found, file)


"""
WITH_OBJECTS = 'run([ready, made], {"optimizer": mine}, falling, probe)\n'
WITH_NAMES = """
from dlkit.bench.identity.references import import_attribute

heavy = {"optimizer": "mine.py:heavy", "space": {"learning_rate": [1e-3, 1e-1]}}
falling = import_attribute("mine.py:falling", owner="a test")
run(["mine.py:ready", "mine.py:made"], heavy, falling, "mine.py:probe")
"""
CELLS = """
from pathlib import Path

for number, cell in enumerate(Path("cells.txt").read_text().split("\\n\\n\\n")):
    exec(compile(cell, f"<ipython-input-{number}>", "exec"), globals())
"""
CHANGING = (
    """
import jax

executors = os.environ["EXECUTORS"]
phases = []
OTHER = {
    "jax_enable_x64": True,
    "jax_default_matmul_precision": "float32",
    "jax_threefry_partitionable": not jax.config.jax_threefry_partitionable,
    "jax_default_prng_impl": "rbg",
}
before = {name: getattr(jax.config, name) for name in OTHER}
for scale, settings in (("2.0", before), ("3.0", OTHER), ("2.0", before)):
    with open("lib/__init__.py", "w") as file:
        file.write(f"SCALE = {scale}\\n")
    for name, setting in settings.items():
        jax.config.update(name, setting)
"""
    + WITH_NAMES.replace("\n", "\n    ")
    + """
    with open("results.json") as file:
        phases += json.load(file)
with open("results.json", "w") as file:
    json.dump(phases, file)
"""
)
# Place -> its files, how it is started, and whether workers of this machine are tried there.
PLACES = {
    "file": ({"mine.py": THINGS, "other/script.py": RUN + WITH_NAMES}, ["other/script.py"], True),
    "package": (
        {"own/things.py": THINGS, "script.py": RUN + "from own.things import *\n" + WITH_OBJECTS},
        ["script.py"],
        False,
    ),
    "script": ({"script.py": RUN + THINGS + WITH_OBJECTS}, ["script.py"], True),
    "notebook": ({"cells.txt": THINGS, "script.py": RUN + CELLS + WITH_OBJECTS}, ["script.py"], False),
    "test module": (
        {"test_mine.py": RUN + THINGS + "def test_mine():\n    " + WITH_OBJECTS},
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        False,
    ),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NPROC"}
    return {**kept, "PYTHONPATH": str(ROOT), "DLKIT_CACHE": str(folder)}


class Cluster:
    """A scheduler and a worker as processes of their own, in a folder without the user's files."""

    def __init__(self, folder: Path, cache: Path) -> None:
        folder.mkdir()
        here: dict[str, Any] = {"cwd": folder, "env": environment(cache), "stderr": subprocess.DEVNULL}
        known, dask = folder / "scheduler.json", [sys.executable, "-m", "dask"]
        options = ["--scheduler-file", str(known), "--host", "127.0.0.1", "--port", "0"]
        self.scheduler = subprocess.Popen([*dask, "scheduler", *options, "--dashboard-address", "127.0.0.1:0"], **here)
        options = ["--scheduler-file", str(known), "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        self.worker = subprocess.Popen([*dask, "worker", *options], **here)
        while not known.exists():
            time.sleep(0.1)
        self.address = json.loads(known.read_text())["address"]
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(1)

    def close(self) -> None:
        for process in (self.worker, self.scheduler):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster") / "elsewhere", cache)
    yield started
    started.close()


def results(folder: Path, command: list[str], executors: list[str], cache: Path) -> list[Any]:
    """What a script of the user's finds with each executor."""
    known = {**environment(cache), "EXECUTORS": json.dumps(executors), "NPROC": "1"}  # they make arrays before they run
    done = subprocess.run([sys.executable, *command], cwd=folder, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[Any] = json.loads((folder / "results.json").read_text())
    for each in found:
        assert not each["failures"] and not each["missing"]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_own_things_run_everywhere_with_the_same_bits(
    place: str, cluster: Cluster, cache: Path, tmp_path: Path
) -> None:
    files, command, locally = PLACES[place]
    write(tmp_path, {**files, **LIB})
    here, *there = results(tmp_path, command, ["inline", cluster.address, *(["processes"] if locally else [])], cache)
    assert len(here["trials"]) == 2 * 3
    for each in there:
        assert each == here


def test_running_workers_follow_edits_and_settings(cluster: Cluster, cache: Path, tmp_path: Path) -> None:
    """In one process with the same workers: a helper is edited, JAX is configured anew, and all of it taken back."""
    write(tmp_path, {"mine.py": THINGS, "other/script.py": RUN + CHANGING, **LIB})
    found = results(tmp_path, ["other/script.py"], ["inline", cluster.address], cache)
    assert len(found) == 3 * 2
    here, there = found[::2], found[1::2]
    assert there == here
    first, other, again = (each["trials"] for each in there)
    assert again == first
    assert not {str(each) for each in other.values()} & {str(each) for each in first.values()}
    assert not other.keys() & first.keys(), "another program has other trials"
