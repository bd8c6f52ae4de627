"""Replaying a whole run: which trials, in which order, what is said, and how the command ends."""

import itertools
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.cli import replay as command
from dlkit.bench.cli.exit_codes import DIFFERENT, NOT_PROMISED
from dlkit.bench.execution import replay, work
from dlkit.bench.store.software import software_digest
from dlkit.bench.store.store import Store
from dlkit.bench.store.trial_rows import Record

BUDGET = bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=3, tuning_seeds=1, seeds=2)
INLINE = bench.Resources(executor="inline")


def broken(learning_rate: float) -> Any:
    raise ValueError("out of paper")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two problems, two contenders and 20 trials."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    bench.compare(
        problems=["quadratic", "rosenbrock"],
        optimizers=["sgd", "adam"],
        budget=BUDGET,
        folder=folder,
        resources=INLINE,
        progress=False,
        keep="best",
    )
    return folder


@pytest.fixture
def opened(run: Path) -> bench.Result:
    return bench.open_run(run)


def cells(result: bench.Result, names: list[str]) -> Counter[tuple[str, str]]:
    identities = [result.summary.records[name].outcome.trial.identity for name in names]
    return Counter((each["problem"]["name"], each["optimizer"]["name"]) for each in identities)


def test_every_trial_replays_and_each_program_is_compiled_once(
    opened: bench.Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = []
    build = work.compile_program

    def counted(problem: Any, recipe: Any, **options: Any) -> Any:
        compiled.append((problem.problem.name, recipe.optimizer.name))
        return build(problem, recipe, **options)

    monkeypatch.setattr(work, "compile_program", counted)
    monkeypatch.setattr(work, "KEPT_PROGRAMS", 1)
    work.forget_programs()
    assert opened.folder is not None
    assert command.replay(opened.folder, every=True) == 0
    total = len(opened.summary.records)
    assert capsys.readouterr().out == f"all {total} trials match, bit for bit\n" and total == 20
    assert len(compiled) == len(set(compiled)) == 4


def test_kept_models_are_compared(opened: bench.Result) -> None:
    assert opened.folder is not None
    kept = next(iter((opened.folder / "models").glob("*.json")))
    assert opened.replay(kept.stem).exact


def test_a_sample_has_one_trial_of_everybody_first(opened: bench.Result) -> None:
    four, eight = (replay.chosen(opened.summary, count, seed=3) for count in (4, 8))
    assert set(cells(opened, four).values()) == {1} and len(cells(opened, four)) == 4
    assert set(cells(opened, eight).values()) == {2}
    assert replay.chosen(opened.summary, 4, seed=3) == four
    assert len({tuple(replay.chosen(opened.summary, 4, seed=seed)) for seed in range(6)}) > 1
    assert sorted(replay.chosen(opened.summary, 10_000)) == sorted(opened.summary.records)


def test_trials_of_one_program_follow_each_other(opened: bench.Result) -> None:
    names = replay.chosen(opened.summary)
    order = [tuple(cells(opened, [name])) for name in names]
    assert sum(one != other for one, other in itertools.pairwise(order)) == 3


def test_a_sample_is_said_and_drawn_from_all(opened: bench.Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert opened.folder is not None
    assert command.replay(opened.folder, sample=2) == 0
    assert capsys.readouterr().out == "all 2 trials match, bit for bit\n"
    for named, options in ((None, {}), (None, {"every": True, "sample": 2}), (["a"], {"every": True})):
        with pytest.raises(bench.UserError, match="name the trials to replay, or give --all or --sample N"):
            command.replay(opened.folder, named, **options)  # type: ignore[arg-type]
    with pytest.raises(bench.UserError, match="sample must be at least 1, got 0"):
        command.replay(opened.folder, sample=0)
    with pytest.raises(bench.UserError, match="leave out trials, or sample"):
        opened.replays(["a"], sample=1)


def changed(opened: bench.Result, **changes: Any) -> tuple[bench.Result, str]:
    """A result one of whose trials is stored otherwise; and its id."""
    name, (outcome, program) = next(iter(opened.summary.records.items()))
    fields = changes.pop("program", {})
    other = {key: value for key, value in {**program, **fields}.items() if value is not None}
    record = Record(replace(outcome, **changes), other)
    return replace(opened, summary=replace(opened.summary, records={name: record})), name


def nudged(opened: bench.Result) -> dict[str, Any]:
    """The curves of the first trial, one number of which is the next one."""
    outcome = next(iter(opened.summary.records.values())).outcome
    metric, curve = next(iter(outcome.curves.items()))
    other = curve.copy()
    other[-1] = np.nextafter(other[-1], np.float32(np.inf))
    return {"curves": {**outcome.curves, metric: other}}


def said(result: bench.Result) -> tuple[int, str]:
    found = command._Found()
    for each in result.replays():
        found.add(each)
    return found.code, "\n".join(found.lines())


def test_a_difference_where_bits_are_promised(opened: bench.Result) -> None:
    other, name = changed(opened, **nudged(opened))
    code, text = said(other)
    assert code == DIFFERENT
    assert "0 of 1 trials match, bit for bit\n1 differ, although the same bits are promised" in text
    assert ", 1 ULP" in text and text.endswith(f"they are {name}")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("blas_threads", "2", "blas_threads: 2 then, 1 now"),
        ("blas_core", "Nehalem", "blas_core: Nehalem then"),
        ("blas", None, "linear algebra by unknown then, "),
        (
            "jax_config",
            "jax_enable_x64=True, jax_default_prng_impl=rbg",
            "jax_enable_x64 True then, False now",
        ),
        ("xla_flags", "--xla_cpu_max_isa=AVX", "XLA_FLAGS --xla_cpu_max_isa=AVX then"),
        ("code", "0" * 64, "another dlkit's training code"),
        ("cpu_flags", "avx512f", "instruction sets: avx512f then only"),
    ],
)
def test_a_difference_where_bits_are_not_promised_names_the_reason(
    opened: bench.Result, field: str, value: str | None, words: str
) -> None:
    code, text = said(changed(opened, program={field: value}, **nudged(opened))[0])
    assert code == NOT_PROMISED
    assert "1 differ, or raised now, where the same bits are not promised" in text
    assert "bits are not promised:\n" in text and words in text
    code, text = said(changed(opened, program={field: value})[0])
    assert code == 0 and "they match, although bits are not promised:\n" in text and words in text


def test_what_failed_then_is_counted_and_is_no_difference(opened: bench.Result) -> None:
    failed = changed(opened, status="failed", reason="adam: raised ValueError: out of paper")[0]
    code, text = said(failed)
    assert code == 0
    assert "1 have no numbers to compare\n  1 x a trial did not run: adam: raised ValueError: out of paper" in text
    nothing = changed(opened, status="cut off", steps=np.array([0]))[0]
    assert "1 x a trial was cut off before its first evaluation" in said(nothing)[1]
    with pytest.raises(bench.UserError, match="did not run: adam: raised"):
        failed.replay(next(iter(failed.summary.records)))


def test_a_trial_that_was_cut_off_is_compared_as_far_as_it_came(opened: bench.Result) -> None:
    outcome = next(each.outcome for each in opened.summary.records.values())
    short = {name: curve[:2] for name, curve in outcome.curves.items()}
    spent = None if outcome.gradients is None else outcome.gradients[:2]
    ended = {"status": "cut off", "steps": outcome.steps[:2], "curves": short, "gradients": spent, "validation": {}}
    assert said(changed(opened, **ended)[0]) == (0, "the trial matches, bit for bit")


def test_what_cannot_run_here_is_said_and_the_others_go_on(opened: bench.Result) -> None:
    records = dict(opened.summary.records)
    name, (outcome, program) = next(iter(records.items()))
    trial = outcome.trial._replace(identity={**outcome.trial.identity, "seed": 77})
    records[name] = Record(replace(outcome, trial=trial), program)
    code, text = said(replace(opened, summary=replace(opened.summary, records=records)))
    assert code == NOT_PROMISED and "19 of 20 trials match, bit for bit\n1 cannot run here" in text
    assert "a trial is not one of this spec's" in text


def test_a_trial_that_raises_now_is_a_difference(opened: bench.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    work.forget_programs()
    monkeypatch.setattr(work, "compile_program", broken)
    code, text = said(changed(opened)[0])
    assert code == DIFFERENT and "1 raised now, although they ran then" in text


def test_a_run_of_before_says_what_is_not_known(run: Path) -> None:
    """Its program says nothing of linear algebra: bits are not promised, and its trials are another software's."""
    with Store(run, write=False) as store:
        program = store.program()
    assert program is not None
    before = {name: value for name, value in program.items() if not name.startswith("blas") and name != "cpu"}
    assert software_digest(before) != software_digest(program)
    shown, _ = changed(bench.open_run(run), program=dict.fromkeys(program.keys() - before.keys()))
    code, text = said(shown)
    assert code == 0 and "they match, although bits are not promised" in text
    for words in ("linear algebra by unknown then", "blas_threads: unknown then, 1 now", "blas_core: unknown then"):
        assert words in text


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted on Linux")
def test_a_trial_of_other_threads_runs_in_a_process_that_has_as_many(opened: bench.Result) -> None:
    """JAX has started here with one."""
    other, name = changed(opened, program={"threads": "2"})
    (shown,) = other.replays()
    assert shown.trial == name and not shown.failure
    assert shown.is_promised, "it had two threads there, too"
