"""The engine end to end: executors agree bit for bit, runs resume, failures stay where they happen."""

import os
import signal
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optax
import pytest
from distributed import LocalCluster

from dlkit import bench
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.executors import make_executor
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.work import Work, run_work
from dlkit.bench.machine.program import program_identity
from dlkit.bench.report.markdown import markdown_tables
from dlkit.bench.report.page import write_report
from dlkit.bench.report.terminal import text_of
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store

BUDGET = Budget(steps=40, evaluations=4, studies=1, tuning_points=3, tuning_seeds=2, seeds=6)
PROBLEMS = ("digits-mlp", "quadratic")


def experiment(*optimizers: Any, problems: tuple[Any, ...] = PROBLEMS, budget: Budget = BUDGET) -> Experiment:
    return Experiment(
        name="test",
        problems=tuple(ProblemChoice(problem=each) for each in problems),
        optimizers=tuple(Contender(optimizer=each) for each in optimizers or ("sgd", "adam")),
        budget=budget,
    )


def carry_out(
    asked: Experiment, store: Store, make: Callable[[], Any] = InlineExecutor, *, remote: bool = False
) -> Summary:
    runner.run(planner.plan(asked), store, make, Silent(), remote=remote)
    return summarize(store)


def bits(summary: Summary) -> dict[str, dict[str, bytes]]:
    return {
        name: {metric: curve.tobytes() for metric, curve in record.outcome.curves.items()}
        for name, record in summary.records.items()
    }


class Counting(InlineExecutor):
    """Counts the trials it runs."""

    ran = 0

    def next(self) -> Any:
        slot, done = super().next()
        type(self).ran += len(done.outcomes)
        return slot, done


@pytest.fixture(scope="module")
def undisturbed() -> Summary:
    with Store(None) as store:
        return carry_out(experiment(), store)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_bits_of_this_process(undisturbed: Summary, workers: int) -> None:
    with Store(None) as store:
        there = carry_out(experiment(), store, lambda: make_executor(Resources(workers=workers)))
    assert len(there.records) == there.planned == len(undisturbed.records)
    assert bits(there) == bits(undisturbed)
    assert frames.table(there).equals(frames.table(undisturbed))


@pytest.mark.long
def test_a_cluster_by_its_address(undisturbed: Summary) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
    ) as cluster:
        with Store(None) as store:
            resources = Resources(executor=cluster.scheduler_address, insecure=True)
            there = carry_out(experiment(), store, lambda: make_executor(resources), remote=resources.is_remote)
        assert len(cluster.scheduler_info["workers"]) == 1, "the cluster is left as it is"
    assert bits(there) == bits(undisturbed)


@pytest.mark.long
def test_an_address_without_an_answer_is_said() -> None:
    with pytest.raises(bench.UserError, match=r"no dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        make_executor(Resources(executor="tcp://127.0.0.1:9", insecure=True))


def test_every_trial_is_there_once_and_seeds_are_fresh(undisturbed: Summary) -> None:
    frame = frames.trials(undisturbed)
    assert len(frame) == len(PROBLEMS) * 2 * (3 * 2 + 6)
    assert frame["trial"].is_unique
    counts = frame.groupby(["problem", "optimizer", "stage"]).size().unstack()
    assert (counts["tuning"] == 6).all() and (counts["final"] == 6).all()
    curves = frames.curves(undisturbed)
    assert list(curves.columns) == ["problem", "optimizer", "seed", "step", "metric", "value"]
    accuracy = curves[(curves.problem == "digits-mlp") & (curves.metric == "accuracy")]
    assert sorted(accuracy.step.unique()) == [0, 10, 20, 30, 40]
    start = accuracy[accuracy.step == 0].pivot_table(index="seed", columns="optimizer", values="value")
    assert (start["sgd"] == start["adam"]).all(), "contenders with one seed start from the same parameters"


def test_the_winner_is_the_best_mean_over_tuning_seeds(undisturbed: Summary) -> None:
    frame = frames.trials(undisturbed)
    tuning = frame[(frame.problem == "digits-mlp") & (frame.optimizer == "sgd") & (frame.stage == "tuning")]
    best = tuning.groupby("learning_rate")["value"].mean().idxmax()
    final = frame[(frame.problem == "digits-mlp") & (frame.optimizer == "sgd") & (frame.stage == "final")]
    assert set(final.learning_rate) == {best}


def test_a_second_run_does_nothing_and_starts_no_worker(tmp_path: Path, undisturbed: Summary) -> None:
    with Store(tmp_path) as store:
        first = carry_out(experiment(), store)

    def never() -> Any:
        raise AssertionError("an executor was started")

    with Store(tmp_path) as store:
        second = carry_out(experiment(), store, never)
    assert bits(first) == bits(second) == bits(undisturbed)


class Upgraded(InlineExecutor):
    """Runs another version of JAX than the one that is imported."""

    def next(self) -> Any:
        slot, done = super().next()
        return slot, done._replace(program=upgraded())


def upgraded(field: str = "jax") -> dict[str, str]:
    return {**program_identity(), field: "99"}


def test_other_software_is_said_once_and_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = experiment("sgd", problems=("quadratic",))
    with Store(tmp_path) as store:
        carry_out(asked, store)
        monkeypatch.setattr(runner, "program_identity", upgraded)
        new = carry_out(asked, store, Upgraded)
        said = capsys.readouterr().err
        before = metadata.version("jax")
        assert said.startswith(
            f"12 stored trials were made by other software or settings: jax {before} then, 99 now; they are kept"
        )
        assert new.missing == 0 and {record.program["jax"] for record in new.records.values()} == {"99"}
        shown = "12 trials of this folder were made by other software or settings"
        shown += f" (jax {before} there, 99 here); they are kept, and"
        assert new.apart == (f"{shown} not among these numbers.",)
        for text in (
            text_of(new, tables=True),
            markdown_tables(new),
            write_report(new, tmp_path / "report.html").read_text(),
        ):
            assert "12 trials of this folder were made by other software or settings" in " ".join(text.split())
        carry_out(asked, store, Upgraded)
        monkeypatch.undo()
        assert not carry_out(asked, store).missing and not capsys.readouterr().err, "nothing is trained again"


def test_workers_on_another_kind_of_device_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "program_identity", lambda: upgraded("device"))
    words = (
        "the workers run other software than this process: kind of device cpu there, 99 here; install the same on both"
    )
    with Store(None) as store, pytest.raises(bench.UserError, match=words):
        carry_out(experiment("sgd", problems=("quadratic",)), store)


class Elsewhere(InlineExecutor):
    """A worker on a kind of device that this process has not."""

    def __init__(self) -> None:
        super().__init__()
        self.program = {**program_identity(), "device": "fast"}

    def next(self) -> Any:
        slot, done = super().next()
        return slot, done._replace(program={**done.program, "device": "fast"})


def test_a_cluster_has_its_own_kind_of_device() -> None:
    bound = planner.plan(experiment("sgd", problems=("quadratic",)))
    with Store(None) as store:
        runner.run(bound, store, Elsewhere, Silent(), remote=True)
        assert {record.program["device"] for record in store.records().values()} == {"fast"}
        assert summarize(store).missing == 0 and not store.apart()


@pytest.mark.long
def test_an_edited_spec_runs_only_what_is_new(tmp_path: Path) -> None:
    Counting.ran = 0
    with Store(tmp_path) as store:
        carry_out(experiment("sgd", "adam"), store, Counting)
        assert Counting.ran == 2 * 2 * 12
        more_seeds = Budget(steps=40, evaluations=4, studies=1, tuning_points=3, tuning_seeds=2, seeds=8)
        Counting.ran = 0
        summary = carry_out(experiment("sgd", "adam", budget=more_seeds), store, Counting)
        assert Counting.ran == 2 * 2 * 2, "two more seeds for two optimizers on two problems"
        assert summary.missing == 0
        Counting.ran = 0
        summary = carry_out(experiment("adam", "rmsprop"), store, Counting)
        assert Counting.ran == 2 * 12, "rmsprop alone"
        assert {row.label for each in summary.comparisons for row in each.results} == {"adam", "rmsprop"}
        assert set(frames.trials(summary).optimizer) == {"adam", "rmsprop"}, (
            "tables show the current spec's trials alone"
        )
        Counting.ran = 0
        carry_out(experiment("sgd", "adam"), store, Counting)
        assert Counting.ran == 0
        assert len(store.manifest()["specs"]) == 3


def test_a_target_or_metric_changes_the_tables_not_the_trials(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        carry_out(experiment(problems=("digits-mlp",)), store)
        Counting.ran = 0
        entry = ProblemChoice(problem="digits-mlp", target=0.2)
        changed = Experiment(name="test", problems=(entry,), optimizers=experiment().optimizers, budget=BUDGET)
        summary = carry_out(changed, store, Counting)
        assert Counting.ran == 0
        assert summary.comparisons[0].target == 0.2


def broken(learning_rate: Any) -> optax.GradientTransformation:
    raise RuntimeError("out of ideas")


def test_a_contender_that_raises_harms_no_other(undisturbed: Summary) -> None:
    mine = bench.Optimizer("mine", broken, {"learning_rate": bench.log_uniform(1e-3, 1)})
    with Store(None) as store:
        summary = carry_out(experiment("sgd", mine, "adam"), store)
    assert [reason for reason in summary.failures if "'mine'" in reason and "out of ideas" in reason]
    assert bits(undisturbed).items() <= bits(summary).items()
    for comparison in summary.comparisons:
        assert [row.label for row in comparison.results][-1] == "mine"
        assert any("mine could not run" in note for note in comparison.verdict.notes)
        assert comparison.verdict.kind in ("winner", "tie", "unsettled")


def test_a_failed_trial_is_tried_again(tmp_path: Path) -> None:
    def contender(build: Any) -> bench.Optimizer:
        return bench.Optimizer("mine", build, {"learning_rate": bench.log_uniform(1e-3, 1)})

    with Store(tmp_path) as store:
        assert carry_out(experiment(contender(broken), problems=("quadratic",)), store).failures
        # Another function under the same name is another contender: nothing of the first is reused.
        summary = carry_out(experiment(contender(optax.sgd), problems=("quadratic",)), store)
        assert not summary.failures and summary.missing == 0


@pytest.mark.long
def test_static_choices_are_tuned_in_groups_of_their_own() -> None:
    nesterov = bench.Optimizer(
        "choice",
        lambda learning_rate, nesterov: optax.sgd(learning_rate, 0.9, nesterov=nesterov),
        {"learning_rate": bench.log_uniform(1e-3, 1)},
        {"nesterov": (False, True)},
    )
    with Store(None) as store:
        summary = carry_out(experiment(nesterov, problems=("quadratic",)), store)
    row = summary.comparisons[0].results[0]
    assert row.is_complete
    assert {point.static["nesterov"] for point in row.contender.points} == {False, True}
    assert set(frames.trials(summary)["nesterov"]) == {False, True}


def test_a_worker_reports_within_its_time() -> None:
    bound = planner.plan(experiment("sgd", problems=("quadratic",)))
    problem, contender = bound.plan.problems[0], bound.plan.contenders[0]
    trials = tuple(trial for row in bound.plan.tuning_trials(problem, contender) for trial in row)
    group = bound.group(problem, contender, {})
    done = run_work(Work(group, trials, seconds=0.0))
    assert [outcome.trial for outcome in done.outcomes] == [trials[0]], "at least one, then the time is up"
    assert len(run_work(Work(group, trials, seconds=60.0)).outcomes) == len(trials)


def test_interrupted_by_hand_keeps_what_is_done() -> None:
    class Interrupted(InlineExecutor):
        calls = 0

        def next(self) -> Any:
            type(self).calls += 1
            if type(self).calls == 2:
                raise KeyboardInterrupt
            return super().next()

    with Store(None) as store:
        bound = planner.plan(experiment())
        report = runner.run(bound, store, Interrupted, Silent())
        summary = summarize(store)
        assert report.interrupted
        assert 0 < len(summary.records) < summary.planned
        assert [c.verdict.kind for c in summary.comparisons] == ["incomplete", "incomplete"]
        finished = carry_out(experiment(), store)
        assert finished.missing == 0


def test_ctrl_c_while_an_answer_is_taken_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # Python runs the handler between two instructions of this thread
        return "the answer"

    class Answered:
        """A worker that has answered."""

        request: Any = None
        lease = SimpleNamespace(stop=lambda: None)
        answers = SimpleNamespace(read=interrupted)

    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a background job, perhaps
    executor = ProcessExecutor(workers=1)
    workers = executor._workers
    try:
        executor._workers = {0: Answered()}  # type: ignore[dict-item]
        executor._hear_answer(0)
        assert executor._found == [(0, "the answer")]
        with pytest.raises(KeyboardInterrupt):
            while True:
                executor.next()
        with pytest.raises(KeyboardInterrupt):  # the second one is heard at once
            interrupted()
    finally:
        executor._workers = workers
        executor.close()
        after = signal.signal(signal.SIGINT, ignored)
    assert after is signal.default_int_handler


def test_all_points_diverging_is_said() -> None:
    wild = bench.Optimizer("wild", optax.sgd, {"learning_rate": bench.log_uniform(1e20, 1e30)})
    with Store(None) as store:
        summary = carry_out(experiment("sgd", wild, problems=("digits-mlp",)), store)
    row = summary.comparisons[0].results[-1]
    assert row.label == "wild" and row.tuning.finite == 0 and not row.trials
    assert any("wild: no tuning point trained" in note for note in summary.comparisons[0].verdict.notes)
    outcomes = [record.outcome for record in summary.records.values() if record.outcome.status == "diverged"]
    assert len(outcomes) >= 6 and all(outcome.diverged_at is not None for outcome in outcomes)
    assert np.isinf(row.tuning.scores).all()
