"""The README's examples, typed in."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dlkit.bench.spec import planner, toml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(script: Path, cwd: Path) -> str:
    ended = subprocess.run([sys.executable, script], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["small", "as written"])
def test_the_python_examples_run_as_one_script(tmp_path: Path, budget: str) -> None:
    script, text = tmp_path / "examples.py", "\n".join(blocks("python"))
    if budget == "small":
        text = re.sub(r"studies=\d+", "studies=2", re.sub(r"steps=\d+", "steps=40", text))
    script.write_text(text)
    out = run(script, tmp_path)
    assert "digits-mlp: accuracy" in out and "clipped-adam" in out
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.long
@pytest.mark.parametrize(
    "table",
    blocks("toml"),
    ids=["first", "axes", "choices", "factors", "tuning", "settling", "protocol"],
)
def test_the_specs_can_be_run(tmp_path: Path, table: str) -> None:
    path = tmp_path / "spec.toml"
    if "problems" not in tomllib.loads(table):  # a part of a spec
        table = f'problems = ["quadratic"]\noptimizers = ["sgd", "adam"]\n{table}'
    path.write_text(table)
    experiment = toml.load(path)
    assert len(experiment.problems) == len(tomllib.loads(table)["problems"])
    assert planner.plan(experiment).plan.contenders


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(ROOT.glob("experiments/*/run.py")), ids=lambda path: path.parent.name)
def test_experiments_run(script: Path, tmp_path: Path) -> None:
    assert "report:" in run(script, tmp_path)


def test_the_quickstart_spec_loads() -> None:
    experiment = toml.load(ROOT / "experiments/quickstart/spec.toml")
    assert {entry.problem for entry in experiment.problems} == {"digits-mlp", "diabetes-linear", "quadratic"}
    assert len(experiment.optimizers) == 6
