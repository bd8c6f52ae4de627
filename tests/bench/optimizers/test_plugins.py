"""Optimizers of other packages and files: found by name, with errors that say what to do, and known by what they do."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlkit import bench
from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import forget_programs
from dlkit.bench.optimizers import load_plugin
from dlkit.bench.plan.space import Range
from dlkit.bench.spec import planner
from dlkit.bench.spec.entries import Contender
from dlkit.bench.spec.toml import load

INLINE = bench.Resources(executor="inline")

SOURCE = """
from dataclasses import dataclass
import optax
from dlkit import bench

@dataclass
class Settings:
    momentum: float = 0.9

def heavy(learning_rate, momentum=0.9, nesterov=False):
    return optax.sgd(learning_rate, momentum, nesterov=nesterov)

ready = bench.Optimizer("ready", heavy, {"learning_rate": bench.log_uniform(1e-3, 1.0)})
number = 3
"""
SPACE = {"learning_rate": [1e-4, 1e-1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package as pip installs it."""
    site = tmp_path / "site-packages"
    (site / "optpack").mkdir(parents=True)
    (site / "optpack" / "__init__.py").write_text("")
    (site / "optpack" / "methods.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(site)
    yield site
    for name in [name for name in sys.modules if name.split(".")[0] == "optpack"]:
        del sys.modules[name]


def spec(folder: Path, optimizer: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(
        f'name = "plug"\nproblems = ["quadratic"]\noptimizers = ["sgd", {optimizer}]\n'
        "[budget]\nsteps = 20\nevaluations = 4\ntuning_points = 2\ntuning_seeds = 1\nseeds = 2\n"
    )
    return path


def test_a_file_beside_the_spec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{optimizer = "mine.py:heavy", label = "heavy", space = {learning_rate = [1e-3, 1e-1], momentum = 0.5}}'
    path = spec(folder, line)
    monkeypatch.chdir("/")
    result = bench.run(load(path), resources=INLINE, progress=False)
    assert not result.failures and set(result.trials().optimizer) == {"sgd", "heavy"}
    contender = result.summary.plan.contenders[1]
    assert contender.optimizer == "mine.py:heavy" and contender.is_own
    assert contender.space == {"learning_rate": Range(1e-3, 1e-1, "log"), "momentum": 0.5}
    assert SOURCE in result.summary.manifest["sources"][result.summary.plan.digest].values()
    assert result.trials().gradient_evaluations.tolist() == [20] * len(result.trials())


def test_an_edited_file_is_another_optimizer(folder: Path) -> None:
    path = spec(folder, '{optimizer = "mine.py:heavy", space = {learning_rate = 0.1}}')

    def trial() -> str:
        planned = planner.plan(load(path)).plan
        return planned.tuning_trials(planned.problems[0], planned.contenders[1])[0][0].id

    before = trial()
    (folder / "mine.py").write_text(SOURCE + "# nothing\n")
    assert trial() == before
    (folder / "mine.py").write_text(SOURCE.replace("momentum, nesterov=nesterov", "momentum / 2, nesterov=nesterov"))
    assert trial() != before


@pytest.mark.long
def test_a_packages_optimizer_can_be_replayed_from_the_run_alone(package: Path, tmp_path: Path) -> None:
    line = '{optimizer = "optpack.methods:heavy+clip", space = {learning_rate = [1e-3, 1e-1], max_norm = 2.0}}'
    bench.run(load(spec(tmp_path, line)), folder=tmp_path / "run", resources=INLINE, progress=False)
    opened = bench.open_run(tmp_path / "run")
    trials = opened.trials()
    trial = trials[trials.optimizer == "optpack.methods:heavy+clip"].trial.iloc[0]
    assert opened.replay(trial).exact
    methods = package / "optpack" / "methods.py"
    methods.write_text(SOURCE.replace("momentum, nesterov=nesterov", "momentum / 2, nesterov=nesterov"))
    importlib.invalidate_caches()
    sys.modules.pop("optpack.methods")
    forget_programs()  # as in a new process: what is kept is what ran
    with pytest.raises(UserError, match=r"optimizer 'optpack.methods:heavy\+clip': computes something else"):
        bench.open_run(tmp_path / "run").replay(trial)


def test_an_optimizer_object_brings_its_space(folder: Path) -> None:
    ready = load_plugin("mine.py:ready", {}, {}, folder=folder)
    assert ready.name == "mine.py:ready" and ready.space == {"learning_rate": Range(1e-3, 1.0, "log")}
    assert load_plugin("mine.py:ready+clip", {"max_norm": 1.0}, {}, folder=folder).space["max_norm"] == 1.0


def test_scales_and_static_choices(folder: Path) -> None:
    space = {"learning_rate": [1e-3, 1.0], "momentum": [0.8, 0.99, "one_minus_log"]}
    optimizer = load_plugin("mine.py:heavy+ema", {**space, "decay": 0.9}, {"nesterov": [False, True]}, folder=folder)
    assert optimizer.space["momentum"] == Range(0.8, 0.99, "one_minus_log") and optimizer.space["decay"] == 0.9
    assert optimizer.static == {"nesterov": [False, True]}
    path = spec(folder, '{optimizer = "mine.py:heavy", space = {learning_rate = 0.1}, static = {nesterov = true}}')
    assert load(path).optimizers[1].load().static == {"nesterov": [True]}


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("no_such_package.optim:prism", SPACE, "no module 'no_such_package'; install the package"),
        ("other.py:heavy", SPACE, r"no file .*other\.py; paths start at the spec's folder"),
        ("mine.py:hevy", SPACE, "has no 'hevy'; did you mean 'heavy'"),
        ("mine.py:number", SPACE, "'number' is no function"),
        ("mine.py:heavy", {}, "give the space to tune it over, such as space ="),
        ("mine.py:heavy", {"learning_rte": 0.1}, "it takes no 'learning_rte'; did you mean 'learning_rate'"),
        ("mine.py:heavy", {"learning_rate": "x"}, "expected a number, or two numbers"),
        ("mine.py:heavy", {"learning_rate": [1, 2, "lg"]}, "no scale 'lg'; did you mean 'log'"),
        ("mine.py:heavy+clp", SPACE, "no wrapper 'clp'; did you mean 'clip'"),
        ("broken.py:heavy", SPACE, "importing broken.py raised ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder: Path, name: str, space: dict[str, object], message: str) -> None:
    (folder / "broken.py").write_text("1 / 0")
    with pytest.raises(UserError, match=message) as caught:
        load_plugin(name, space, {}, folder=folder)
    assert f"optimizer '{name}'" in str(caught.value)


def test_mistakes_of_a_spec_are_named_with_their_place(folder: Path) -> None:
    path = spec(folder, '{optimizer = "mine.py:heavy"}, "adam+clp", {optimizer = "galore", static = {rnk = 4}}')
    with pytest.raises(UserError) as caught:
        load(path)
    lines = [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]
    assert len(lines) == 3
    assert lines[0].startswith("optimizers[1]: optimizer 'mine.py:heavy': give the space")
    assert lines[1] == "optimizers[2]: optimizer 'adam+clp': no wrapper 'clp'; did you mean 'clip'?"
    assert lines[2].startswith("optimizers[3].static: optimizer 'galore': no static choice 'rnk'; ")


def test_registered_choices_can_be_changed() -> None:
    galore = Contender(optimizer="galore", static={"rank": [4, 8]}).load()
    assert galore.static == {"rank": [4, 8], "update_proj_gap": (50,)}
    with pytest.raises(UserError, match="optimizer 'galore': no static choice 'rnk'; did you mean 'rank'"):
        Contender(optimizer="galore", static={"rnk": [4]}).load()
