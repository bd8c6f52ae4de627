"""Bits after a run that was interrupted, taken up in another order, and finished: those of an undisturbed one."""

from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store

INLINE = bench.Resources(executor="inline")

PROBLEMS = ("digits-mlp", "diabetes-linear")
CONTENDERS = (
    Contender(optimizer="adam"),
    Contender(optimizer="schedule_free_sgd"),
    Contender(optimizer="noisy_sgd+clip", schedule="cosine", batch_size=16),
    Contender(optimizer="lion", early_stopping=EarlyStopping(patience=1)),
)
BUDGET = Budget(steps=20, evaluations=4, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)


def asked(*, reverse: bool = False) -> Experiment:
    problems = tuple(ProblemChoice(problem=name, target=None) for name in PROBLEMS)
    return Experiment(
        name="replays",
        problems=problems[::-1] if reverse else problems,
        optimizers=CONTENDERS[::-1] if reverse else CONTENDERS,
        budget=BUDGET,
    )


class Interrupted(InlineExecutor):
    """Hears Ctrl-C before its third answer."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = 0

    def next(self) -> Any:
        self._answers += 1
        if self._answers == 3:
            raise KeyboardInterrupt
        return super().next()


@pytest.mark.long
def test_eight_pairs_replay_bit_for_bit_after_a_disturbed_run(tmp_path: Path) -> None:
    whole = bench.run(asked(), resources=INLINE, progress=False)
    assert not whole.failures
    for turn in range(50):
        with Store(tmp_path) as store:
            report = runner.run(planner.plan(asked(reverse=bool(turn % 2))), store, Interrupted, Silent())
        if not report.interrupted and not turn % 2:
            break
    assert 3 < turn < 49, "it was interrupted"
    disturbed = bench.open_run(tmp_path)
    assert disturbed.table().equals(whole.table())
    pairs = set()
    for name, record in disturbed.summary.records.items():
        other = whole.summary.records[name].outcome
        assert {k: c.tobytes() for k, c in record.outcome.curves.items()} == {
            k: c.tobytes() for k, c in other.curves.items()
        }
        identity = record.outcome.trial.identity
        pair = (identity["problem"]["name"], identity["optimizer"]["name"])
        if identity["stage"] == "final" and pair not in pairs:
            pairs.add(pair)
            assert disturbed.replay(name).exact
    assert len(pairs) == 8


def test_summaries_of_a_disturbed_run_miss_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert runner.run(planner.plan(asked()), store, Interrupted, Silent()).interrupted
        partial = summarize(store)
        assert 0 < partial.missing < partial.planned
        assert all(each.verdict.kind == "incomplete" for each in partial.comparisons)
