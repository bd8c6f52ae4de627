"""The command line over several runs, shards of one, completion, and ``python -m dlkit``."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dlkit import bench
from dlkit.bench import api, runs
from dlkit.bench.cli import app
from tests.bench.command_line import dlkit
from tests.bench.test_runs import bits, make_run, study_plan

BUDGET = bench.Budget(steps=8, evaluations=2, studies=2, tuning_points=2, tuning_seeds=1, seeds=2)


@pytest.mark.long
def test_compare_and_merge_print_what_the_functions_return(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", study_plan(["sgd"]))
    two = make_run(tmp_path / "two", study_plan(["adam"]))
    shown = dlkit("compare", "one", "two", "--report", "both.html", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "sgd" in shown.stdout and "tables: dlkit compare one two --tables\n" in shown.stdout
    in_full = dlkit("compare", "one", "two", "--tables", cwd=tmp_path)
    assert runs.compare_runs([one, two]).verdicts["bowl"][:40] in in_full.stdout.replace("\n", " ")
    assert shown.stdout.endswith("report: both.html\n") and (tmp_path / "both.html").stat().st_size > 100_000
    merged = dlkit("merge", "one", "two", "--output", "whole", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    assert f"merged: {len(bits(one)) + len(bits(two))} trials of 2 runs in whole" in merged.stdout
    again = dlkit("merge", "one", "two", "--output", "whole", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        2,
        "error: whole: is there already; name a folder that is not, or an empty one\n",
    )


@pytest.mark.parametrize("tuner", ["halton", "zoom"])
@pytest.mark.long
def test_merged_shards_are_the_run_in_one_piece(tuner: str, tmp_path: Path) -> None:
    experiment = bench.Experiment(
        name="small",
        problems=(bench.ProblemChoice(problem="quadratic"), bench.ProblemChoice(problem="beale")),
        optimizers=(bench.Contender(optimizer="sgd"), bench.Contender(optimizer="adam")),
        budget=replace(BUDGET, tuner=tuner),
        targets=bench.TargetRule(reruns=3),
    )

    def ran(folder: str, shard: str | None = None) -> Path:
        allowed = bench.Resources(executor="inline", shard=shard)
        return bench.run(experiment, folder=tmp_path / folder, resources=allowed, progress=False).folder or Path()

    whole, shards = ran("whole"), [ran(f"shard{n}", f"{n}/3") for n in (1, 2, 3)]
    sizes = [len(bits(shard)) for shard in shards]
    assert all(sizes) and sum(sizes) == len(bits(whole))  # nothing is trained twice
    merged = runs.merge_runs(shards, tmp_path / "merged")
    assert bits(tmp_path / "merged") == bits(whole)
    assert merged.summary.plan.digest == api.open_run(whole).summary.plan.digest
    assert str(merged) == str(api.open_run(whole))
    trial = next(iter(merged.summary.records))
    assert api.open_run(tmp_path / "merged").replay(trial).exact


@pytest.mark.long
def test_what_takes_all_shards_waits_for_the_merged_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"problems": ["quadratic"], "optimizers": ["sgd", "adam"], "budget": BUDGET, "progress": False}
    allowed = bench.Resources(executor="inline", shard="1/2")
    bench.compare(**options, expand=True, timing=True, folder=tmp_path / "one", resources=allowed)
    said = capsys.readouterr().err
    assert "shard 1/2 leaves widening spaces and timing steps to the run of the merged folder" in said
    options["budget"] = replace(BUDGET, axis="seconds")
    with pytest.raises(bench.UserError, match="shard 1/2: a budget of seconds is counted by step times"):
        bench.compare(**options, resources=allowed)


def test_python_dash_m_is_the_command(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dlkit", "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (ended.returncode, ended.stdout) == (0, dlkit("--version", cwd=tmp_path).stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dlkit", "re"], {"report", "replay"}),
        (["dlkit", "run", "spec.toml", "--tuning-s"], {"--tuning-seconds", "--tuning-seeds"}),
        (["dlkit", "merge", "one", "two", "--ou"], {"--output"}),
        (["dlkit", "report", "one", "--format", "s"], {"svg"}),
    ],
)
def test_bash_completes_commands_and_options(words: list[str], expected: set[str], tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(app.generate_completion(prog_name="dlkit", shell="bash"))
    line = " ".join(words)
    ask = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        "_dlkit; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    ended = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=100)
    assert {each.strip() for each in ended.stdout.split("\n") if each.strip()} == expected, ended


def test_completion_is_installed_where_the_shell_looks(tmp_path: Path) -> None:
    ended = dlkit("--install-completion", "--shell", "bash", cwd=tmp_path, HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    script = tmp_path / ".local/share/bash-completion/completions/dlkit"
    assert f"completion of bash: {script}" in ended.stdout and "_dlkit()" in script.read_text()
    elsewhere = dlkit("--install-completion", "--shell", "zsh", "--output", "mine", cwd=tmp_path, HOME="/dev/null")
    assert (elsewhere.returncode, elsewhere.stdout) == (
        0,
        f"completion of zsh: {tmp_path}/mine\ntry it: source {tmp_path}/mine\n",
    )
    refused = dlkit("--install-completion", "--shell", "bash", cwd=tmp_path, HOME="/dev/null")
    assert refused.returncode == 2 and "the completion cannot be written: " in refused.stderr
    assert "Traceback" not in refused.stderr
