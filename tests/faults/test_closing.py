"""Workers that do not end: the result is returned and stored all the same."""

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
