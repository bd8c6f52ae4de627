"""Edited code shows new numbers: the same command, in the same folder, says what a fresh folder says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from dlkit import bench
from dlkit.bench.spec.toml import load

MINE = '''
import json
import os
from pathlib import Path

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import linen, nnx

import lib.acts
from dlkit import bench

HERE = Path(__file__).parent
FACTOR = 1.0
FRAME = pd.DataFrame({"scale": [1.0, 2.0]})

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3)).astype(np.float32)
DATA = bench.Dataset("lines", *({"inputs": each, "targets": np.tanh(each).sum(1)} for each in np.split(X, 3)))


def squared(predictions, targets):
    return (predictions[:, 0] - targets) ** 2


def with_linen():
    layers = [linen.Dense(4), linen.relu, linen.Dense(4), linen.tanh, linen.Dense(4), linen.relu, linen.Dense(1)]
    return bench.problem_from_flax(linen.Sequential(layers), DATA, squared, name="linen", batch_size=4)


def with_nnx():
    def network(rngs):
        sizes = [(3, 4), (4, 4), (4, 4), (4, 1)]
        dense = [nnx.Linear(*each, rngs=rngs) for each in sizes]
        return nnx.Sequential(dense[0], nnx.relu, dense[1], nnx.tanh, dense[2], nnx.relu, dense[3])

    return bench.problem_from_flax(network, DATA, squared, name="nnx", batch_size=4)


def with_equinox():
    def network(key):
        keys = jax.random.split(key, 4)
        sizes = [(3, 4), (4, 4), (4, 4), (4, 1)]
        dense = [equinox.nn.Linear(*size, key=each) for size, each in zip(sizes, keys)]
        acts = [equinox.nn.Lambda(each) for each in (jax.nn.relu, jnp.tanh, jax.nn.relu)]
        return equinox.nn.Sequential([dense[0], acts[0], dense[1], acts[1], dense[2], acts[2], dense[3]])

    return bench.problem_from_equinox(network, DATA, squared, name="equinox", batch_size=4)


def with_haiku():
    def network(x):
        acts = [jax.nn.relu, jnp.tanh, jax.nn.relu]
        layers = [part for act in acts for part in (haiku.Linear(4), act)]
        return haiku.Sequential([*layers, haiku.Linear(1)])(x)

    return bench.problem_from_haiku(haiku.transform(network), DATA, squared, name="haiku", batch_size=4)


def plain(name, act, **more):
    """Least squares through a function."""

    def error(params, batch):
        return ((act(batch["inputs"] @ params) - batch["targets"]) ** 2).mean()

    return bench.Problem(
        name=name,
        init=lambda key: (jax.random.normal(key, (3,)), jnp.float32(0)),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch) + state},
        dataset=DATA,
        metrics={"error": bench.Metric("lower")},
        batch_size=4,
        **more,
    )


def by_module():
    return plain("module", lambda x: lib.acts.act(x))


def by_inner_import():
    def act(x):
        from lib.acts import act

        return act(x)

    return plain("inner", act)


def by_frame():
    return plain("frame", lambda x: x * FRAME["scale"].iloc[1])


def by_environment():
    return plain("environment", lambda x: x * float(os.environ["SCALE"]))


def by_file():
    return plain("file", lambda x: x * json.loads((HERE / "scale.json").read_text()))


def by_constant():
    return plain("constant", lambda x: x * FACTOR)


def by_reestimate():
    return plain("reestimate", lambda x: x, reestimate=lambda params, state, train: state + 0.0)
'''
EDITS = [
    ("mine.py", "linen.tanh, linen.Dense(4), linen.relu", "linen.tanh, linen.Dense(4), linen.tanh"),
    ("mine.py", "nnx.tanh, dense[2], nnx.relu", "nnx.tanh, dense[2], nnx.tanh"),
    ("mine.py", "(jax.nn.relu, jnp.tanh, jax.nn.relu)", "(jax.nn.relu, jnp.tanh, jnp.tanh)"),
    ("mine.py", "[jax.nn.relu, jnp.tanh, jax.nn.relu]", "[jax.nn.relu, jnp.tanh, jnp.tanh]"),
    ("lib/acts.py", "return x", "return 2 * x"),
    ("mine.py", "[1.0, 2.0]", "[1.0, 3.0]"),
    ("scale.json", "1.5", "2.5"),
    ("mine.py", "FACTOR = 1.0", "FACTOR = 1.5"),
    ("mine.py", "state + 0.0", "state + 100.0"),
]
MODULES = ("with_linen", "with_nnx", "with_equinox", "with_haiku")
FUNCTIONS = (
    "by_module",
    "by_inner_import",
    "by_frame",
    "by_environment",
    "by_file",
    "by_constant",
    "by_reestimate",
)
EVERY = (*MODULES, *FUNCTIONS)
SPEC = """
name = "edited"
problems = [{problems}]
optimizers = ["schedule_free_sgd"]
[budget]
steps = 4
evaluations = 2
studies = 1
tuning_points = 1
tuning_seeds = 1
seeds = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    (tmp_path / "lib" / "acts.py").write_text("def act(x):\n    return x\n")
    (tmp_path / "scale.json").write_text("1.5")
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def write_spec(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "spec.toml"
    path.write_text(SPEC.format(problems=", ".join(f'"mine.py:{name}"' for name in names)))
    return path


def edit(folder: Path) -> None:
    """Edits everything at once: each problem has an edit of its own."""
    for name, before, after in EDITS:
        text = (folder / name).read_text()
        assert text.count(before) == 1, before
        (folder / name).write_text(text.replace(before, after))


Numbers = dict[str, float]


def numbers(result: bench.Result) -> Numbers:
    """Problem -> the last point of the first seed's curve."""
    assert not result.failures, result.failures
    curves = result.curves().query("seed == 0 and metric != 'training_loss'")
    return {str(problem): float(points.value.iloc[-1]) for problem, points in curves.groupby("problem")}


def require_truth(run: Callable[[str], Numbers], change: Callable[[], None]) -> None:
    """The same run before and after an edit; what it shows then is what a fresh folder shows."""
    before = run("run")
    again = run("run")
    assert again == before
    change()
    shown, truth = run("run"), run("fresh")
    assert shown == truth
    unchanged = [name for name in before if before[name] == truth[name]]
    assert not unchanged, f"these edits change no number, so that they test nothing: {unchanged}"


@pytest.mark.long
def test_in_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE", "1.0")
    spec = write_spec(folder, FUNCTIONS)

    def run(where: str) -> Numbers:
        inline = bench.Resources(executor="inline")
        return numbers(bench.run(load(spec), folder=folder / where, resources=inline, progress=False))

    def change() -> None:
        edit(folder)
        monkeypatch.setenv("SCALE", "3.0")

    require_truth(run, change)


@pytest.mark.long
def test_a_notebooks_constant() -> None:
    """A function stays the same object, and what it reads changes between two cells."""
    cell: dict[str, object] = {}
    exec(compile(NOTEBOOK, "<cell 1>", "exec"), cell)
    problem = cell["problem"]

    def run() -> float:
        result = bench.compare(
            problems=[problem],  # type: ignore[list-item]
            optimizers=["sgd"],
            budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
            resources=bench.Resources(executor="inline"),
            progress=False,
        )
        return float(result.curves().query("metric == 'error'").value.iloc[-1])

    first = run()
    cell["CONSTANT"] = 10.0
    assert run() == pytest.approx(100 * first, rel=1e-5), "the error is the constant's square, at any parameters"
    cell["CONSTANT"] = 1.0
    assert run() == first


NOTEBOOK = """
import jax, jax.numpy as jnp
from dlkit import bench

CONSTANT = 1.0

@jax.jit
def scaled(x):
    return CONSTANT * x

def body(carry, x):
    return carry + CONSTANT * x, None

def error(params):
    return jax.lax.scan(body, 0.0, jnp.ones(2))[0] * scaled(1.0 + 0.0 * params.sum())

problem = bench.Problem(
    name="cells", init=lambda key: (jnp.ones(2), None), dataset=bench.Dataset("none", {}, {}, {}),
    loss=lambda params, state, batch, key: (error(params), state),
    evaluate=lambda params, state, batch: {"error": error(params)}, metrics={"error": bench.Metric("lower")},
)
"""

SCRIPT = """
import json, sys
from dlkit import bench
from dlkit.bench.spec.toml import load

spec, where, executor = sys.argv[1:]
resources = bench.Resources(executor=executor, workers=1 if executor == "processes" else None)
result = bench.run(load(spec), folder=where, resources=resources, progress=False)
assert not result.failures, result.failures
curves = result.curves().query("seed == 0 and metric != 'training_loss'")
print(json.dumps({problem: float(points.value.iloc[-1]) for problem, points in curves.groupby("problem")}))
"""


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster whose worker runs on, by its address."""
    from distributed import LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": "CRITICAL"}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as found:  # type: ignore[no-untyped-call]
        yield found.scheduler_address


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes", "address"])
def test_in_new_processes(folder: Path, executor: str) -> None:
    scale = ["1.0"]
    # a worker that runs on has the environment it was started with
    spec = write_spec(folder, tuple(each for each in EVERY if executor != "address" or each != "by_environment"))

    def run_on(name: str, where: str) -> Numbers:
        command = [sys.executable, "-c", SCRIPT, str(spec), str(folder / where), name]
        environment = {**os.environ, "SCALE": scale[0]}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: Numbers = json.loads(done.stdout.splitlines()[-1])
        return found

    def change() -> None:
        edit(folder)
        scale[0] = "3.0"

    with cluster() if executor == "address" else nullcontext(executor) as name:
        require_truth(lambda where: run_on(name, where), change)
