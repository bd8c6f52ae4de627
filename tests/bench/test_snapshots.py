"""What a user reads, word for word: the help of every command, and what is said of common mistakes.

A change of these texts shows as a change of a file under `snapshots/`. `UPDATE_SNAPSHOTS=1 pytest <this file>` writes
them anew.
"""

import os
import shlex
import sys
from pathlib import Path

import pytest

from dlkit.bench import cli

FOLDER = Path(__file__).parent / "snapshots"
COMMANDS = (
    *("", "check", "run", "show", "report", "export", "replay", "list", "doctor", "watch", "compare", "merge"),
    *("verify", "convert"),
)
GOOD = """
problems = ["quadratic"]
optimizers = ["sgd", "adam"]
budget = {steps = 20, evaluations = 4, tuning_points = 2}
"""
WRONG = """
problems = ["quadratc", {problem = "quadratic", margin = 0.5, tragets = 1}]
optimizers = ["adm", {optimizer = "adam", space = {learning_rat = 0.1}}]
expand = "yes"
timin = true
probes = ["sharpnes"]
budget = {sedes = 3}
settling = {max_seed = 9}
factors = {schedule = ["cosin"]}
"""
MISTAKES = (
    "run nothing.toml",
    "run wrong.toml",
    "run good.toml --sedes 3",
    "run good.toml --seeds many",
    "run good.toml --seeds 0 --halving 1",
    "run good.toml --tuner haltn",
    "run good.toml --tuning-points 2 --tuning-seconds 1",
    "run good.toml --steps 30",
    "run good.toml --first-study -1 --studies 0",
    "run good.toml --tuner grid --tuning-points 4 --grid.learning_rat 2",
    "run good.toml --margin 1.1",
    "run good.toml --until-settled --max-studies 5 --margin 0.5",
    "run good.toml --studies 1 --until-settled --max-seeds 5",
    "run good.toml --until-settled --max-studies 0 --max-seeds 0 --margin -1",
    "run good.toml --executor dsk --workers 0 --lanes -1 --memory much",
    "run good.toml --folder good.toml/run",
    "show runs/other",
    "replay runs/other abc",
    "report runs/other --format pfd",
    "list optimisers",
    "list optimizers adam",
    "list problems digit-cnn",
    "rnu good.toml",
    "run good.toml --set budget.evaluatons=4",
    "run good.toml --set budget.evaluations=four --set problems.1.steps=9 --set problems.0.stesp=9",
    "check good.toml --set budget",
    "run good.toml --shard 4/3",
    "compare runs/other",
    "compare runs/other runs/another",
    "merge runs/other runs/another --output runs",
    "merge runs/other runs/another",
)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What the command line prints for its arguments, and how it ends."""
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "wrong.toml").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)

    def call(arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["dlkit", *shlex.split(arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        lines = (line.rstrip() for line in (printed.out + printed.err).splitlines())
        return "\n".join([f"$ {' '.join(['dlkit', arguments]).rstrip()}", *lines, f"[{ended.value.code or 0}]", ""])

    return call


def require_snapshot(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} has another text: see this module's first lines"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_said(said, command: str) -> None:
    require_snapshot(f"help_{command or 'dlkit'}", said(f"{command} --help".strip()))


def test_mistakes_are_told_as_they_were(said) -> None:
    found = [said(arguments) for arguments in MISTAKES]
    assert all(each.endswith("[2]\n") for each in found), "a user's mistake ends with code 2"
    require_snapshot("mistakes", "\n".join(found))


def test_every_command_has_its_snapshot() -> None:
    assert {name for name in cli.app if not name.startswith("-")} == {*COMMANDS} - {""}
    names = {f"help_{command or 'dlkit'}.txt" for command in COMMANDS} | {"mistakes.txt"}
    assert {path.name for path in FOLDER.iterdir()} == names
