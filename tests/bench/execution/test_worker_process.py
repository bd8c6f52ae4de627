"""What a worker answers where the user's code raises what ends a process."""

from types import SimpleNamespace
from typing import Any

import pytest

from dlkit.bench.execution import parcels
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.execution.worker_handle import Printed
from dlkit.bench.execution.worker_process import Request, _answer
from dlkit.bench.plan.trials import Trial


@pytest.mark.parametrize("ended", [(), ("a",), ("b",), ("a", "c")])
def test_the_first_trial_without_an_outcome_is_the_one_that_raised(
    ended: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes that went on from a checkpoint end first, wherever they stand in the work."""
    trials = tuple(Trial(name, {}) for name in "abc")

    class Raising(Work):
        def run(self) -> Done:
            done = tuple(failed(trial, "before") for trial in trials if trial.id in ended)
            return Done(done, {}, interrupted=True)

    group: Any = SimpleNamespace(
        recipe=SimpleNamespace(optimizer=SimpleNamespace(name="sgd")), problem=SimpleNamespace(name="bowl")
    )
    monkeypatch.setattr(parcels, "unpack", lambda parcel: Raising(group, trials))
    answer = _answer(Request(None, None), {})
    *before, last = [(each.trial.id, each.reason) for each in answer.outcomes]
    assert [name for name, _ in before] == list(ended) and not answer.interrupted
    assert last == (next(each for each in "abc" if each not in ended), "sgd on bowl: raised KeyboardInterrupt")


def test_what_a_worker_prints_is_shown_as_its_terminal_would_show_it() -> None:
    said: list[str] = []
    printed = Printed("worker 1", said.append)
    printed.feed(b"one\r\n\x1b[31mtwo\x1b[0m\n 50%\r100%\r\nrest")
    printed.end()
    assert said == ["worker 1: one\nworker 1: two\nworker 1: 100%", "worker 1: rest"]
