"""The page on sharing results: its Python as one script, then its commands on the run that the script leaves."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench import cli

PAGE = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text(encoding="utf-8")
NEEDED = {"parquet": "pyarrow", "tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


@pytest.mark.long
def test_the_page_runs_as_one_script_and_its_commands_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "sharing"}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), names)
    assert r"\label{tab:surfaces}" in names["text"] and "siunitx" in names["text"]
    assert names["page"].count("\n| ") == 2 + 2  # head and rule, a row a contender
    assert names["leaders"].keys() == {"quadratic", "rosenbrock"} and all(map(len, names["leaders"].values()))
    assert names["units"]["seconds"] == "s" and len(names["trials"]) == len(names["result"].trials())
    commands = re.findall(r"^\$ dlkit (.*)$", "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)), re.M)
    assert len(commands) == 8
    for command in commands:
        arguments, _, comment = command.partition("#")
        package = NEEDED.get(arguments.split()[-1], "sys")
        monkeypatch.setattr(sys, "argv", ["dlkit", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        if importlib.util.find_spec(package) is None:
            assert ended.value.code == 2 and f"pip install '{package}" in said.err
            continue
        assert not ended.value.code, said.err
        for path in re.findall(r"runs/small/[\w/.]+", comment):
            assert (tmp_path / path).exists() and path in said.out
