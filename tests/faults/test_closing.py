"""Workers that do not end: the result is returned and stored all the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.execution import whole_run
from dlkit.bench.execution.executor import InlineExecutor

BUDGET = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, seeds=2)


class Stubborn(InlineExecutor):
    """Workers that cannot be ended."""

    def close(self) -> None:
        raise TimeoutError("the workers hang")


def test_a_close_that_raises_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole_run, "make_executor", lambda resources, **_: Stubborn())
    given: dict[str, Any] = {"problems": ["quadratic"], "optimizers": ["sgd", "adam"], "budget": BUDGET}
    result = bench.compare(**given, folder=tmp_path / "run", executor="inline", progress=False)
    assert result.summary.missing == 0 and not result.interrupted
    assert "could not be shut down: TimeoutError: the workers hang; what is finished is kept" in capsys.readouterr().err
    stored = bench.open_run(tmp_path / "run")
    assert stored.verdicts == result.verdicts and len(stored.trials()) == len(result.trials())


@pytest.mark.long
@pytest.mark.parametrize("how", ["raise OSError('no scheduler')", "threading.Event().wait()"])
def test_a_cluster_that_does_not_end_costs_no_result(tmp_path: Path, how: str) -> None:
    (tmp_path / "script.py").write_text(
        "import threading\n"
        "import distributed\n"
        "from dlkit import bench\n"
        "from dlkit.bench.execution import dask_workers\n"
        "dask_workers.END_SECONDS = 2.0\n"
        "def stuck(*_, **__):\n"
        f"    {how}\n"
        "distributed.Client.__exit__ = stuck\n"
        "budget = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, seeds=2)\n"
        "resources = bench.Resources(workers=1)\n"
        "result = bench.compare(problems=['quadratic'], optimizers=['sgd', 'adam'], budget=budget, folder='run',\n"
        "                       resources=resources)\n"
        "print(result.summary.missing, 'missing')\n"
    )
    command = [sys.executable, "script.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "0 missing\n" and "Traceback" not in ended.stderr
    assert ("could not be shut down (OSError: no scheduler)" in ended.stderr) == ("raise" in how)
    assert bench.open_run(tmp_path / "run").summary.missing == 0
