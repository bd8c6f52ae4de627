"""A run whose cluster has no worker left: it is said once, and the run ends when it has waited long enough."""

import time
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from dlkit.bench.errors import UserError
from dlkit.bench.execution import cluster
from dlkit.bench.execution.cluster import ClusterExecutor
from dlkit.bench.execution.executor import Changed
from dlkit.bench.execution.waiting import Waiting


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> ClusterExecutor:
    """An executor without a connection, whose one worker is gone."""
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.02)
    executor: Any = object.__new__(ClusterExecutor)
    executor._look = lambda: None
    executor._where, executor._waiting = "tls://here", Waiting(seconds=0.3)
    executor._events, executor._by_slot, executor._vacant = SimpleQueue(), [SimpleNamespace(slot=0)], {0}
    executor._workers, executor._greetings, executor._tasks, executor._sentences = {}, {}, {}, []
    executor._looked, executor._alone_since, executor._given_up_at = 0.0, None, None
    return executor  # type: ignore[no-any-return]


def test_it_is_said_once_that_no_worker_is_left_and_the_wait_ends(left: ClusterExecutor) -> None:
    said, began = list[Any](), time.monotonic()
    with pytest.raises(UserError, match="every worker is gone; what is finished is kept"):
        while time.monotonic() - began < 5.0:
            said.append(left.next())
    assert said == [(-1, Changed("no worker is left at 'tls://here'; waiting for a worker"))]
