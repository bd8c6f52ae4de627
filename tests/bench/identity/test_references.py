"""Functions by name: what a file imports beside it, each folder for itself, and anew when it has changed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench.errors import UserError
from dlkit.bench.identity.references import import_attribute, imports_anew
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.spec.toml import load as load_spec

ROOT = Path(__file__).parents[3]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def load(folder: Path | None, name: str) -> Any:
    return import_attribute(name, owner="a test", folder=folder)


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """Starts without, and leaves nothing of, the modules that these tests write."""
    path = list(sys.path)
    _forget_written()
    yield
    _forget_written()
    sys.path[:] = path


def _forget_written() -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("lib", "own"):
            del sys.modules[name]


LIB = {"lib/__init__.py": "", "lib/acts.py": "def act(): return 'first'\n"}
STATEMENTS = {
    "at the top": "from lib.acts import act\ndef f(): return act()\n",
    "a module": "import lib.acts\ndef f(): return lib.acts.act()\n",
    "inside": "def f():\n    from lib.acts import act\n    return act()\n",
    "relative": "from lib import other\ndef f(): return other.g()\n",
}
OTHER = {
    "lib/other.py": "from .acts import act\nfrom . import acts\ndef g():\n    assert acts.act is act\n    return act()"
}
every_statement = pytest.mark.parametrize("text", STATEMENTS.values(), ids=STATEMENTS)


@every_statement
def test_a_file_imports_what_stands_beside_it(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"mine.py": text, **LIB, **OTHER})
    path = list(sys.path)
    assert load(tmp_path, "mine.py:f")() == "first"
    assert sys.path == path


@every_statement
def test_a_file_imports_what_stands_beside_the_spec(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"sub/mine.py": text, **LIB, **OTHER})
    assert load(tmp_path, "sub/mine.py:f")() == "first"


@every_statement
def test_what_has_changed_is_imported_anew(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"mine.py": text, **LIB, **OTHER})
    before = load(tmp_path, "mine.py:f")
    assert before() == "first" and load(tmp_path, "mine.py:f") is before
    write(tmp_path, {"lib/acts.py": "def act(): return 'other'\n"})  # as long, and in the same second
    after = load(tmp_path, "mine.py:f")
    assert after() == "other" and after is not before


@every_statement
def test_folders_have_their_own_modules(tmp_path: Path, text: str) -> None:
    functions = {}
    for name in ("one", "two"):
        write(tmp_path / name, {"mine.py": text, **OTHER, **LIB, "lib/acts.py": f"def act(): return '{name}'\n"})
        functions[name] = load(tmp_path / name, "mine.py:f")
    assert [functions[name]() for name in ("two", "one", "two")] == ["two", "one", "two"]


@every_statement
def test_what_a_script_has_imported_is_shared_and_left_alone(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"mine.py": text, **LIB, **OTHER})
    write(tmp_path / "elsewhere", {"mine.py": text, **OTHER, **LIB, "lib/acts.py": "def act(): return 'elsewhere'\n"})
    sys.path.insert(0, str(tmp_path))
    import lib.acts  # type: ignore[import-not-found]

    lib.acts.act = lambda: "changed in a notebook"
    assert load(tmp_path, "mine.py:f")() == "changed in a notebook"
    assert load(tmp_path / "elsewhere", "mine.py:f")() == "elsewhere"
    assert sys.modules["lib.acts"] is lib.acts and sys.modules["lib"] is lib
    assert load(tmp_path, "lib.acts:act") is lib.acts.act


def test_a_package_stands_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "here", {"own/opt.py": "from own.more import f\n", "own/more.py": "def f(): return 'here'\n"})
    monkeypatch.chdir(tmp_path / "here")
    assert load(None, "own.opt:f")() == "here"
    assert load(tmp_path, "own.opt:f")() == "here"
    assert load(tmp_path / "here", "own.opt:f")() == "here"


def test_an_installed_package_is_found_beside_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optax

    (tmp_path / "optax").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load(None, "optax:adam") is optax.adam


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import lob\n", r"no module 'lob'; install the package that has it, put it beside the file, or correct"),
        (
            "import importlib\nimportlib.import_module('lib.acts')\n",
            r"importing mine\.py raised .*'lib'; it is there, but importlib finds only .*: write 'import lib'",
        ),
        ("open('table.npy')\n", r"importing mine\.py raised FileNotFoundError: .*table\.npy"),
        ("import lib.acts\n1 / 0\n", r"importing mine\.py raised ZeroDivisionError"),
        ("import sys\nsys.exit('bye')\n", r"importing mine\.py raised SystemExit: bye; put what only a script does"),
        ("def g(): pass\n", r"mine\.py has no 'f'; expected one of 'g'"),
        ("f = '\xff'.encode('latin-1').decode()\n", r"importing mine\.py raised UnicodeDecodeError"),
        ("def f(:\n", r"importing mine\.py raised SyntaxError"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, {"mine.py": text, **LIB})
    for _ in range(2):
        with pytest.raises(UserError, match=f"a test: {message}"):
            load(tmp_path, "mine.py:f")


READS = """
import optax
from lib.rates import RATE
with open(f"{__file__}.runs", "a") as file: file.write("x")
def one(learning_rate): return optax.sgd(RATE * learning_rate)
def two(learning_rate): return optax.sgd(RATE * learning_rate)
"""


@pytest.mark.parametrize("by", ["a spec", "names"])
def test_a_file_runs_again_for_each_spec_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    names, space = ("mine.py:one", "mine.py:two"), {"learning_rate": [0.01, 0.1]}
    tables = [
        f'{{ optimizer = "{name}", label = "{name[-3:]}", space = {space} }}'.replace(": ", "=") for name in names
    ]
    tables = [each.replace("'learning_rate'", "learning_rate") for each in tables]
    rates = "from pathlib import Path\nRATE = float(Path(__file__).with_name('rate.txt').read_text())\n"
    write(tmp_path, {"mine.py": READS, "lib/rates.py": rates})
    monkeypatch.chdir(tmp_path)
    for runs, rate in (("x", "1.0"), ("xx", "0.5")):
        write(
            tmp_path, {"lib/rate.txt": rate, "s.toml": f"problems = ['quadratic']\noptimizers = [{', '.join(tables)}]"}
        )
        if by == "a spec":
            made: list[Any] = [each.optimizer for each in load_spec("s.toml").optimizers]
        else:
            contenders = [Contender(optimizer=name, label=name[-3:], space=space) for name in names]
            bound = plan(Experiment(name="", problems=[ProblemChoice(problem="quadratic")], optimizers=contenders))
            made = [method.optimizer for method in bound.methods.values()]
        first, second = (each.build.__globals__ for each in made)
        assert first is second and first["RATE"] == float(rate)
        assert (tmp_path / "mine.py.runs").read_text() == runs


def test_nested_imports_share_what_has_run_again(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "def f(): pass\n"})
    before = load(tmp_path, "mine.py:f")
    with imports_anew():
        first = load(tmp_path, "mine.py:f")
        with imports_anew():
            assert load(tmp_path, "mine.py:f") is first is not before
    assert load(tmp_path, "mine.py:f") is first


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a test: no file .*mine\.py; paths start at the spec's folder"):
        load(tmp_path, "mine.py:f")


SPEC = """
problems = ["quadratic"]
optimizers = [{ optimizer = "mine.py:heavy", space = { learning_rate = [0.01, 0.1] } },
              { optimizer = "own.opt:heavy", label = "own", space = { learning_rate = [0.01, 0.1] } }]
[budget]
steps = 4
evaluations = 2
studies = 1
tuning_points = 1
tuning_seeds = 1
seeds = 2
"""


@pytest.mark.long
def test_the_command_needs_no_path(tmp_path: Path) -> None:
    """The console script's folder is its own; what a spec names stands beside the spec or in the current folder."""
    rate = {"lib/__init__.py": "", "lib/rates.py": "TWICE = 2.0\n"}
    text = (
        "import optax\nfrom lib.rates import TWICE\ndef heavy(learning_rate): return optax.sgd(TWICE * learning_rate)\n"
    )
    write(tmp_path, {"spec.toml": SPEC, "mine.py": text, "own/opt.py": text, **rate})
    command = [sys.executable, "-P", "-c", "from dlkit.bench.cli import main; main()"]  # -P: not this folder
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = ["run", "spec.toml", "--executor", "inline"]
    done = subprocess.run([*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "own" in done.stdout
