"""The README and the pages of the guide: their code runs, their specs are plans, their commands are parsed."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cyclopts import CycloptsError, MissingArgumentError

from dlkit.bench.cli import app
from dlkit.bench.spec import planner, toml
from tests import guide

ROOT = guide.ROOT
README = guide.read("README.md")
FIRST_QUESTIONS = {  # page -> what answers its reader's question from nothing, in at most 12 lines
    "docs/own_problems.md": "one's own flax model on a CSV",
    "docs/own_optimizer.md": "a new optimizer, to a table for a paper",
    "docs/functions.md": "functions in one's own loop",
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of somebody's own."""
    rng = np.random.default_rng(0)
    lengths = rng.normal(7, 2, 90)
    table = pd.DataFrame({"length": lengths, "edge": rng.choice(["smooth", "toothed"], 90)})
    table.assign(tree=np.where(lengths > 7, "elm", "oak")).to_csv(tmp_path / "leaves.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(script: Path, cwd: Path) -> str:
    ended = subprocess.run([sys.executable, script], cwd=cwd, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.long
@pytest.mark.parametrize("page", guide.pages("python"))
def test_the_python_of_a_page_runs_as_one_script(
    page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = guide.shrink(monkeypatch)
    names = guide.run(page)
    assert len(results) == "\n".join(guide.blocks(page, "python")).count("bench.compare(")
    assert not [failure for result in results for failure in result.failures]
    said, printed = capsys.readouterr().out, re.search(r"^print\(\w+\)$", guide.read(page), re.MULTILINE)
    assert not printed or any(str(result).splitlines()[0][:20] in said for result in results)
    if page == "docs/own_problems.md":
        assert [problem.metric for problem in names["made"]] == ["loss"] * 4
        curve = names["trained"].curve
        assert curve["squared_error"].iloc[-1] < curve["squared_error"].iloc[0]
        assert {"accuracy", "squared_error", "training_loss"} <= set(curve.columns)
    if page == "docs/data.md":
        assert names["card"].classes == ("elm", "oak") and names["grouped"].card.split.startswith("by whole groups")


@pytest.mark.slow
def test_the_tutorial_says_what_its_code_says(tmp_path: Path) -> None:
    """Sentences as quoted, but for their numbers, which are one machine's; who leads, too."""
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(guide.blocks("docs/tutorial.md", "python")))
    said = wordless(run(script, tmp_path))
    quoted = re.findall(r"^> .*(?:\n>.*)*", guide.read("docs/tutorial.md"), re.MULTILINE)
    assert len(quoted) == 3
    for quote in quoted:
        for sentence in re.sub(r"^> ?", "", quote, flags=re.MULTILINE).split("\n\n"):
            assert wordless(sentence) in said


def wordless(text: str) -> str:
    """A text without its numbers and its breaks of lines."""
    return re.sub(r"[×+−-]?\d[\d.e−-]*", "#", re.sub(r"\s+", " ", text.replace("`", "")))


@pytest.mark.parametrize("page", FIRST_QUESTIONS, ids=FIRST_QUESTIONS.values())
def test_a_first_question_is_answered_in_twelve_lines(page: str) -> None:
    scripts = [block for block in guide.blocks(page, "python") if "# the whole script" in block]
    assert len(scripts) == 1
    lines = [line for line in scripts[0].splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 12 and max(map(len, lines)) <= 120
    assert any(line.startswith("from dlkit import") for line in lines)


@pytest.mark.long
@pytest.mark.parametrize("page", guide.pages("toml"))
def test_the_specs_of_a_page_can_be_run(page: str, workplace: Path) -> None:
    for table in guide.blocks(page, "toml"):
        path = workplace / "spec.toml"
        given = tomllib.loads(table)
        missing = {"problems": '["quadratic"]', "optimizers": '["sgd", "adam"]'}
        path.write_text("".join(f"{key} = {value}\n" for key, value in missing.items() if key not in given) + table)
        experiment = toml.load(path)
        assert len(experiment.problems) == len(given.get("problems", "1"))
        assert planner.plan(experiment).plan.contenders


@pytest.mark.parametrize(("page", "command"), sorted({*guide.commands()}))
def test_commands_are_parsed(page: str, command: str) -> None:
    try:  # in a sentence, a command may be called by its name alone
        app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    except MissingArgumentError:
        assert not re.search(r"[A-Z/]", command)
    except CycloptsError as error:
        pytest.fail(f"{page}: {command}: {error}")


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) < 150
    targets = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(ROOT.glob("experiments/*/run.py")), ids=lambda path: path.parent.name)
def test_experiments_run(script: Path, tmp_path: Path) -> None:
    assert "report:" in run(script, tmp_path)


def test_the_quickstart_spec_loads() -> None:
    experiment = toml.load(ROOT / "experiments/quickstart/spec.toml")
    assert [entry.problem for entry in experiment.problems] == ["quadratic", "noisy-quadratic", "digits-mlp"]
    assert len(experiment.optimizers) == 6
