"""The command line as a user meets it: output, exit codes, messages without tracebacks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.command_line import dlkit

SPEC = """
problems = ["quadratic"]
optimizers = ["sgd", "adam"]
[budget]
steps = 20
evaluations = 4
studies = 1
tuning_points = 2
tuning_seeds = 2
seeds = 6
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "spec.toml").write_text('name = "small"' + SPEC)
    return folder


@pytest.fixture(scope="module")
def first(work: Path) -> subprocess.CompletedProcess[str]:
    return dlkit("run", "spec.toml", "--executor", "inline", "--time", cwd=work)


def test_run_prints_tables_verdict_and_report(first: subprocess.CompletedProcess[str], work: Path) -> None:
    assert first.returncode == 0, first.stderr
    assert "suboptimality ↓" in first.stdout and "quadratic: with the settings found" not in first.stdout
    assert "tables: dlkit show runs/small --tables" in first.stdout
    assert "report: runs/small/report.html" in first.stdout
    page = (work / "runs/small/report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert {"store.sqlite", "manifest.json"} <= {path.name for path in (work / "runs/small").iterdir()}


@pytest.mark.long
def test_show_prints_the_same_answer_and_the_tables(first: subprocess.CompletedProcess[str], work: Path) -> None:
    shown = dlkit("show", "runs/small", cwd=work)
    assert (shown.returncode, shown.stdout) == (0, first.stdout)
    tables = dlkit("show", "runs/small", "--tables", cwd=work).stdout
    assert "quadratic: suboptimality, lower is better" in tables and "quadratic: with the settings found" in tables
    assert "One trial at a time, warm" in tables and "could not be timed" not in tables


@pytest.mark.long
def test_replay_by_the_id_that_show_lists(first: subprocess.CompletedProcess[str], work: Path) -> None:
    listed = dlkit("show", "runs/small", "--trials", cwd=work).stdout.splitlines()
    assert len(listed) == 1 + 2 * (2 * 2 + 6)
    trial = listed[3].split()[0]
    replayed = dlkit("replay", "runs/small", trial[:8], cwd=work)
    assert (replayed.returncode, replayed.stdout) == (0, f"trial {trial}: every number matches, bit for bit\n")


@pytest.mark.long
def test_how_to_tune_can_be_said_on_the_command_line(work: Path) -> None:
    command = [
        "run",
        "spec.toml",
        "--executor",
        "inline",
        "--folder",
        "runs/tuned",
        "--seeds",
        "2",
        "--no-report",
        "--tables",
    ]
    tuning = ["--tuner", "random", "--tuning-points-per-dimension", "1", "--tuning-seeds", "1", "--studies", "2"]
    ended = dlkit(*command, *tuning, "--expand", cwd=work)
    assert ended.returncode == 0, ended.stderr
    assert "studies" in ended.stdout and "report:" not in ended.stdout
    again = dlkit(*command, "--tuning-seconds", "1e-9", "--tuning-seeds", "1", cwd=work)
    assert again.returncode == 0, again.stderr
    assert re.search(r"1/1 in \S+ s", again.stdout) and "only 1 point" in again.stdout


@pytest.mark.slow
def test_a_run_until_settled_goes_on_and_replays_an_added_seed(work: Path) -> None:
    text = SPEC.replace("quadratic", "noisy-quadratic").replace('"adam"', '"momentum"')
    (work / "settled.toml").write_text('name = "settled"' + text.replace("tuning_points = 2", "tuning_points = 3"))
    command = ["run", "settled.toml", "--executor", "inline", "--tables", "--until-settled", "--max-seeds"]
    first = dlkit(*command, "9", "--margin", "1.000001", cwd=work)
    assert first.returncode == 0, first.stderr
    said = " ".join(first.stdout.split())
    assert "Not settled within 9 seeds." in said or "ettled at n = " in said or "more cannot settle it" in said
    again = dlkit(*command, "9", "--margin", "1.000001", cwd=work)
    assert again.stdout == first.stdout
    listed = [line.split() for line in dlkit("show", "runs/settled", "--trials", cwd=work).stdout.splitlines()]
    places = {name: place for place, name in enumerate(listed[0])}
    added = [each[0] for each in listed[1:] if each[places["stage"]] == "final" and int(each[places["seed"]]) >= 6]
    assert 2 <= len(added) <= 6
    replayed = dlkit("replay", "runs/settled", added[-1], cwd=work)
    assert (replayed.returncode, replayed.stdout) == (0, f"trial {added[-1]}: every number matches, bit for bit\n")


@pytest.mark.long
def test_report_in_other_formats(first: subprocess.CompletedProcess[str], work: Path) -> None:
    markdown = dlkit("report", "runs/small", "--format", "markdown", cwd=work)
    assert markdown.returncode == 0 and "| adam" in (work / "runs/small/report.md").read_text()
    figures = dlkit("report", "runs/small", "--format", "svg", "--output", "figures", cwd=work)
    assert figures.returncode == 0 and (work / "figures/quadratic.svg").stat().st_size > 1000


@pytest.mark.long
def test_list_and_doctor(work: Path) -> None:
    problems = dlkit("list", "problems", cwd=work).stdout
    assert all(name in problems for name in ("digits-mlp", "diabetes-linear", "quadratic"))
    choices = dlkit("list", "problems", "digits-cnn", cwd=work).stdout
    assert "dropout" in choices and "a range" in choices and "normalization of the convolutions" in choices
    optimizers = dlkit("list", "optimizers", cwd=work).stdout
    assert all(name in optimizers for name in ("sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw"))
    doctor = dlkit("doctor", cwd=work)
    assert doctor.returncode == 0, doctor.stdout
    assert "WRONG" not in doctor.stdout and doctor.stdout.count("ok ") >= 5
    assert "linear algebra of SciPy and JAX: " in doctor.stdout and "instruction sets: " in doctor.stdout
    assert "in a worker XLA has 1, linear algebra 1; here linear algebra has 1 while it trains" in doctor.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nothing.toml"], ["nothing.toml", "no such file"]),
        (["run", "wrong.toml"], ["wrong.toml: unknown key 'budget.sedes'; did you mean 'budget.seeds'?", "'adm'"]),
        (["run", "spec.toml", "--seeds", "0"], ["error: --seeds must be a whole number of at least 1, got 0"]),
        (["run", "spec.toml", "--workers", "0"], ["error: --workers must be a whole number of at least 1, got 0"]),
        (["run", "spec.toml", "--seeds", "many"], ["--seeds", "many"]),
        (["run", "spec.toml", "--sedes", "3"], ["--sedes", "--seeds"]),
        (["run", "spec.toml", "--tuner", "haltn"], ["--tuner: no tuner 'haltn'; did you mean 'halton'?"]),
        (["run", "spec.toml", "--tuning-seconds", "1", "--halving", "2"], ["halving", "tuning_seconds"]),
        (
            ["run", "spec.toml", "--tuning-seconds", "1", "--tuning-points", "2"],
            ["give one of", "tuning_seconds = 1.0"],
        ),
        (
            ["run", "spec.toml", "--until-settled", "--max-seeds", "5"],
            ["--max-seeds must be at least the 6 seeds", "got 5"],
        ),
        (["run", "spec.toml", "--margin", "1.1"], ["--margin: nothing is to be settled", "--until-settled"]),
        (
            ["run", "spec.toml", "--until-settled", "--margin", "-1"],
            ["--margin must be a number above 0, got -1.0"],
        ),
        (["run", "spec.toml", "--executor", "dsk"], ["executor 'dsk'"]),
        (["run", "spec.toml", "--folder", "spec.toml/run"], ["spec.toml/run", "cannot be written"]),
        (["show", "runs/other"], ["runs/other", "no run there"]),
        (["show", "runs/other", "--tables", "--trials"], ["give one of them"]),
        (["replay", "runs/other", "abc"], ["runs/other", "no run there"]),
        (["report", "runs/other"], ["runs/other", "no run there"]),
        (["report", "runs/other", "--format", "latex", "--width", "column"], ["--width", "latex"]),
        (["list", "optimisers"], ["optimisers", "optimizers"]),
        (["list", "optimizers", "adam"], ["takes no name", "adam"]),
        (["list", "problems", "digit-cnn"], ["no problem 'digit-cnn'", "digits-cnn"]),
        (["rnu", "spec.toml"], ["rnu", "run"]),
    ],
)
def test_a_users_mistake_ends_with_a_message_and_code_2(work: Path, arguments: list[str], words: list[str]) -> None:
    (work / "wrong.toml").write_text('problems = ["quadratic"]\noptimizers = ["adm"]\n[budget]\nsedes = 3\n')
    before = sorted(path.name for path in work.rglob("*"))
    ended = dlkit(*arguments, cwd=work)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "Traceback" not in said
    assert all(word in said for word in words), said
    assert sorted(path.name for path in work.rglob("*")) == before, "nothing half-written"


def test_help_imports_neither_jax_nor_optax(work: Path) -> None:
    code = (
        "import sys\nfrom dlkit.bench import cli\ncli.app(['--help'], result_action='return_value')\n"
        "loaded = {'jax', 'optax', 'numpy', 'distributed', 'plotly', 'rich.progress'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "run" in ended.stdout and "replay" in ended.stdout


BLOCKED = """
import sys
from importlib.machinery import ModuleSpec
class Blocker:
    def find_spec(self, name, path=None, target=None):
        blocked = name.partition(".")[0] in ("jax", "jaxlib", "optax", "flax", "dask", "distributed")
        return ModuleSpec(name, self) if blocked else None
    def create_module(self, spec):
        raise ImportError(f"{spec.name} is not to be imported")
    def exec_module(self, module): ...
sys.meta_path.insert(0, Blocker())
from dlkit.bench.cli import main
try:
    main()
finally:
    print(*sorted({"pandas", "scipy.stats", "plotly", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (("show", "runs/small"), []),
        (("show", "runs/small", "--trials"), ["pandas"]),
        (("report", "runs/small", "--format", "markdown", "--output", "blocked.md"), []),
        (("report", "runs/small", "--output", "blocked.html"), ["plotly"]),
    ],
)
def test_a_stored_run_is_shown_without_what_trains(
    first: subprocess.CompletedProcess[str], work: Path, arguments: tuple[str, ...], loaded: list[str]
) -> None:
    """In an interpreter where importing JAX raises; and what is slow to import is loaded where it is needed only."""
    command = [sys.executable, "-c", BLOCKED, *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    ended = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == dlkit(*arguments, cwd=work).stdout
    assert ended.stderr.split() == loaded
