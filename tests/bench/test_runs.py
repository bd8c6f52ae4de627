"""Several runs: contenders of several in one comparison, and the parts of one study as one run folder."""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench import api, runs
from dlkit.bench.errors import UserError
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import TargetRule, Tuner
from dlkit.bench.plan.programs import Programs
from dlkit.bench.plan.shards import Shard, share_of
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Timing, Trial
from dlkit.bench.store import merging
from dlkit.bench.store.database import FILE
from dlkit.bench.store.merging import names_of
from dlkit.bench.store.store import Store
from tests.bench.rewriting import rewrite
from tests.bench.synthetic import PROGRAM, fill, make_contender, make_plan, make_problem, synthetic_outcome

STUDIES = Tuner(studies=6)


def by_name(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
    """A curve that depends on what the contender is, whatever its label and its place."""
    draw = np.random.default_rng([zlib.crc32(contender.optimizer.encode()), trial.seed])
    quality = 1 + zlib.crc32(contender.optimizer.encode()) % 5
    return [(1 + 0.1 * draw.normal()) / (1 + quality * point) for point in range(plan.evaluations + 1)]


def study_plan(labels: Sequence[str], **changes: Any) -> Plan:
    """A plan of six studies, each of whose contenders has points of its own in each."""
    plan = make_plan(labels, points=3, seeds=2, tuning_seeds=1, tuner=STUDIES)
    first = plan.tuner.first_study
    contenders = [with_points(each, range(first, first + 6)) for each in plan.contenders]
    return replace(plan, contenders=contenders, **changes)


def with_points(contender: PlannedContender, studies: Sequence[int]) -> PlannedContender:
    drawn = [[Point({"learning_rate": rate}, {}) for rate in (0.01 + 0.001 * n, 0.1, 0.5)] for n in studies]
    return replace(contender, points=drawn[0], further=tuple(drawn[1:]))


def some_studies(plan: Plan, first: int, count: int) -> Plan:
    """The part of a plan that has so many of its studies."""
    tuner = replace(plan.tuner, first_study=first, studies=count)
    contenders = [with_points(each, range(first, first + count)) for each in plan.contenders]
    return replace(plan, tuner=tuner, contenders=contenders)


def make_run(folder: Path, plan: Plan, **options: Any) -> Path:
    with Store(folder) as store:
        fill(store, plan, curve=by_name, **options)
    return folder


def of_software(folder: Path, plan: Plan, **fields: str) -> Path:
    """A run with one trial of other software."""
    program = PROGRAM | fields
    with Store(folder) as store:
        store.use_plan(plan, {})
        store.use_software(program)
        problem, contender = plan.cells[0]
        trial = plan.tuning_trials(problem, contender)[0][0]
        store.add([synthetic_outcome(problem, plan, trial, by_name(plan, problem, contender, trial))], program)
    return folder


def bits(folder: Path) -> dict[str, Any]:
    """Everything about a run's trials but how long they took."""
    found = {}
    for name, record in api.open_run(folder).summary.records.items():
        outcome = record.outcome
        curves = {metric: points.tobytes() for metric, points in outcome.curves.items()}
        found[name] = (outcome.status, outcome.steps.tobytes(), curves, dict(outcome.validation), dict(record.program))
    return found


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# --- compare ---------------------------------------------------------------------------------------------------------


def test_contenders_of_two_runs_compare_as_those_of_one(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", study_plan(["sgd", "adam"]))
    two = make_run(tmp_path / "two", study_plan(["adam", "lion", "nadam"]))
    whole = api.open_run(make_run(tmp_path / "whole", study_plan(["sgd", "adam", "lion", "nadam"])))
    both = runs.compare_runs([one, two])
    assert both.table().equals(whole.table())  # ranks, differences, p-values adjusted over all four
    assert both.evidence().equals(whole.evidence())
    assert both.overview().equals(whole.overview())
    assert both.verdicts == whole.verdicts
    assert both.folder is None and "adam of one is the same contender in two: it is shown once." in str(both)


def test_results_are_given_as_well_as_folders(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", study_plan(["sgd"]))
    two = make_run(tmp_path / "two", study_plan(["adam"]))
    both = runs.compare_runs([api.open_run(one), str(two)])
    assert [each.label for each in both.summary.plan.contenders] == ["sgd", "adam"]
    with pytest.raises(UserError, match="was kept in memory has no run folder"):
        runs.compare_runs([replace(both, folder=None), one])
    with pytest.raises(UserError, match="runs must be a list"):
        runs.compare_runs(str(one))


def test_the_report_of_several_runs_can_be_written(tmp_path: Path) -> None:
    one = make_run(tmp_path / "monday", study_plan(["sgd"]))
    two = make_run(tmp_path / "tuesday", study_plan(["adam"]))
    page = runs.compare_runs([one, two]).report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "monday and tuesday" in page


def test_two_of_one_name_that_differ_get_the_names_of_their_runs(tmp_path: Path) -> None:
    plan = study_plan(["sgd", "adam"])
    narrower = replace(plan.contenders[1], space={"learning_rate": Range(1e-2, 1.0, "log")})
    one = make_run(tmp_path / "one", plan)
    two = make_run(tmp_path / "two", replace(plan, contenders=[narrower]))
    both = runs.compare_runs([one, two])
    assert [each.label for each in both.summary.plan.contenders] == ["sgd", "adam (one)", "adam (two)"]
    (note,) = (line for line in both.summary.apart if "not the same" in line)
    assert 'space.learning_rate is [0.001, 1.0, "log"] and [0.01, 1.0, "log"]' in note


def test_the_same_contender_by_two_names_is_shown_once(tmp_path: Path) -> None:
    plan = study_plan(["adam", "sgd"])
    renamed = replace(plan.contenders[0], label="mine")
    one = make_run(tmp_path / "one", plan)
    two = make_run(tmp_path / "two", replace(plan, contenders=[renamed]))
    both = runs.compare_runs([one, two])
    assert [each.label for each in both.summary.plan.contenders] == ["adam", "sgd"]
    assert "adam of one is the same contender in two (mine): it is shown once." in both.summary.apart


def test_only_shared_problems_are_compared(tmp_path: Path) -> None:
    names = [make_problem(name) for name in ("bowl", "well", "hill")]
    one = make_run(tmp_path / "one", study_plan(["sgd"], problems=names[:2]))
    two = make_run(tmp_path / "two", study_plan(["adam"], problems=names[1:]))
    both = runs.compare_runs([one, two])
    assert [each.problem.name for each in both.summary.comparisons] == ["well"]
    assert "Left out, as not all of the runs have them: bowl, hill." in both.summary.apart
    three = make_run(tmp_path / "three", study_plan(["lion"], problems=names[:1]))
    with pytest.raises(UserError, match=r"share no problem, .*: two has well, hill; three has bowl"):
        runs.compare_runs([two, three])
    with pytest.raises(UserError, match=r"problem 'wel': not all of these runs have it; did you mean 'well'\?"):
        runs.compare_runs([one, two], problems=["wel"])


def test_what_was_added_until_settled_does_not_count(tmp_path: Path) -> None:
    plan = study_plan(["sgd", "adam"])
    longer = replace(
        plan,
        contenders=[with_points(each, range(8)) for each in plan.contenders],
        max_studies=20,
        added_studies={"bowl": {"sgd": 2, "adam": 2}},
    )
    one = make_run(tmp_path / "one", longer)
    two = make_run(tmp_path / "two", study_plan(["lion"]))
    whole = api.open_run(make_run(tmp_path / "whole", study_plan(["sgd", "adam", "lion"])))
    both = runs.compare_runs([one, two])
    assert both.table().equals(whole.table())
    note = "Studies that were added until a run was settled are left out"
    assert any(each.startswith(note) for each in both.summary.apart)
    assert note in " ".join(str(both).split())


def test_times_of_different_runs_are_not_compared(tmp_path: Path) -> None:
    plan = study_plan(["sgd"])
    one = make_run(tmp_path / "one", plan)
    two = make_run(tmp_path / "two", study_plan(["adam"]))
    with Store(one) as store:
        store.keep_timings({"key": Timing((0.1, 0.2), 0.3, 4, 8)}, PROGRAM, "machine")
    both = runs.compare_runs([one, two])
    assert any("Seconds per step are left out" in line for line in both.summary.apart)
    assert all(cost.timing is None for each in both.summary.comparisons for cost in each.costs)


PLAN = study_plan(["sgd"])


def with_problem(**changes: Any) -> Plan:
    return replace(PLAN, problems=[replace(PLAN.problems[0], **changes)])


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (replace(PLAN, evaluations=8), "budget.evaluations is 4 in one, 8 in two; run two again with --set budget.ev"),
        (
            replace(PLAN, seeds=3),
            "budget.seeds is 2 in one, 3 in two; run one again in its folder with --set budget.se",
        ),
        (replace(PLAN, trial_seconds=9.0), "budget.trial_seconds is none in one, 9.0 in two"),
        (replace(PLAN, expand=True), "expand is false in one, true in two; give both runs the same expand"),
        (replace(PLAN, probes={"sharpness": False}), 'probes is [] in one, ["sharpness"] in two'),
        (some_studies(PLAN, 0, 4), "budget.studies is 6 in one, 4 in two; run two again in its folder with --set"),
        (some_studies(PLAN, 6, 6), "budget.first_study is 0 in one, 6 in two"),
        (replace(PLAN, tuner=replace(STUDIES, name="random")), "budget.tuner is halton in one, random in two"),
        (replace(PLAN, tuner=replace(STUDIES, objective="area")), "budget.objective is final in one, area in two"),
        (replace(PLAN, tuner=replace(STUDIES, halving=2)), "budget.halving is none in one, 2 in two"),
        (
            with_problem(data="e" * 16),
            "problem 'bowl': data digest is dddddddddddd in one, eeeeeeeeeeee in two; they wer",
        ),
        (with_problem(steps=80), "problem 'bowl': steps is 40 in one, 80 in two; run two again with the same steps"),
        (with_problem(batch_size=16), "problem 'bowl': batch_size is 8 in one, 16 in two"),
        (with_problem(target=0.2), "problem 'bowl': target is [0.1] in one, [0.2] in two"),
        (with_problem(is_own=True), "problem 'bowl': origin is the catalogue in one, your own code in two"),
        (
            replace(
                PLAN,
                contenders=[
                    replace(with_points(make_contender("lion"), range(6)), points=[Point({"learning_rate": 0.1}, {})])
                ],
            ),
            "budget.tuning_points: sgd of one is tuned with 3 points over 1 hyperparameter, lion of two with 1",
        ),
    ],
    ids=str,
)
def test_runs_that_differ_are_refused_by_name(plan: Plan, expected: str, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", PLAN)
    two = make_run(tmp_path / "two", plan, missing=lambda label, trial: True)
    with pytest.raises(UserError) as raised:
        runs.compare_runs([one, two])
    heading, *lines = str(raised.value).splitlines()
    assert heading == "these runs do not compare:"
    assert any(line.startswith(expected) for line in lines), lines


def test_a_problem_whose_code_has_changed_is_refused(tmp_path: Path) -> None:
    plan = with_problem(is_own=True)
    (then, now) = (replace(plan, programs={"bowl": {"sgd": {"{}": Programs(code, "", "")}}}) for code in ("abc", "def"))
    folders = [make_run(tmp_path / name, each) for name, each in (("one", then), ("two", now))]
    with pytest.raises(UserError, match="problem 'bowl': code digest is abc in one, def in two; its code has changed"):
        runs.compare_runs(folders)


def test_optimizers_of_ones_own_whose_code_has_changed_are_two(tmp_path: Path) -> None:
    own = replace(PLAN, contenders=[replace(PLAN.contenders[0], is_own=True)])
    (then, now) = (replace(own, programs={"bowl": {"sgd": {"{}": Programs("", code, "")}}}) for code in ("abc", "def"))
    folders = [make_run(tmp_path / name, each) for name, each in (("one", then), ("two", now))]
    both = runs.compare_runs(folders)
    assert [each.label for each in both.summary.plan.contenders] == ["sgd (one)", "sgd (two)"]
    assert not both.summary.missing  # trials are found by what their code computes


def test_other_software_is_refused_by_name(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", PLAN)
    two = of_software(tmp_path / "two", study_plan(["adam"]), jax="2")
    with pytest.raises(UserError, match="software: jax 1 in one, 2 in two; run one of them again with the software of"):
        runs.compare_runs([one, two])


def test_a_trial_with_other_numbers_in_each_is_said(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", PLAN)
    name = change_one(two)
    (note,) = (line for line in runs.compare_runs([one, two]).summary.apart if "other numbers" in line)
    assert note.startswith(f"1 trial that two runs have has other numbers in each, such as {name} in one and two")


def test_names_are_as_long_as_they_need_be() -> None:
    assert names_of([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert names_of([Path("/a/x"), Path("/b/x"), Path("/b/y")]) == ["a/x", "b/x", "b/y"]


# --- merge -----------------------------------------------------------------------------------------------------------

BOTH = [make_problem("bowl"), make_problem("well", target=None)]


def change_one(folder: Path) -> str:
    """Changes a number of one stored trial; returns its id."""
    with Store(folder) as store:
        name, record = sorted(store.records().items())[0]
        curves = {metric: points + 1 for metric, points in record.outcome.curves.items()}
        store.add([replace(record.outcome, curves=curves)], record.program)
    return name


def parts_by_studies(plan: Plan) -> list[Plan]:
    return [some_studies(plan, 0, 2), some_studies(plan, 2, 4)]


def parts_by_problems(plan: Plan) -> list[Plan]:
    return [replace(plan, problems=[problem]) for problem in plan.problems]


def parts_by_contenders(plan: Plan) -> list[Plan]:
    return [replace(plan, contenders=plan.contenders[:1]), replace(plan, contenders=plan.contenders[1:])]


@pytest.mark.long
@pytest.mark.parametrize("cut", [parts_by_studies, parts_by_problems, parts_by_contenders])
def test_merged_parts_are_the_whole(cut: Callable[[Plan], list[Plan]], tmp_path: Path) -> None:
    plan = study_plan(["sgd", "adam", "lion"], problems=BOTH)
    whole = make_run(tmp_path / "whole", plan)
    parts = [make_run(tmp_path / f"part{n}", part) for n, part in enumerate(cut(plan))]
    before = [content(part) for part in parts]
    merged = runs.merge_runs(parts, tmp_path / "merged")
    assert merged.summary.plan.digest == plan.digest
    assert bits(tmp_path / "merged") == bits(whole)
    assert str(merged) == str(api.open_run(whole))
    assert [content(part) for part in parts] == before
    assert {path.name for path in (tmp_path / "merged").iterdir()} >= {FILE, "manifest.json"}
    assert not list(tmp_path.glob(".merged*"))


def test_a_contender_on_some_problems_alone_stays_so(tmp_path: Path) -> None:
    plan = study_plan(["sgd", "adam"], problems=BOTH)
    one = make_run(tmp_path / "one", replace(plan, problems=BOTH[:1]))
    two = make_run(tmp_path / "two", replace(plan, problems=BOTH[1:], contenders=plan.contenders[:1]))
    merged = runs.merge_runs([one, two], tmp_path / "merged").summary.plan
    assert [(each.label, each.problems) for each in merged.contenders] == [("sgd", ()), ("adam", ("bowl",))]


def test_a_failure_gives_way_to_a_result(tmp_path: Path) -> None:
    failing = make_run(tmp_path / "one", PLAN, failed=["sgd"])
    right = make_run(tmp_path / "two", PLAN)
    merged = runs.merge_runs([failing, right], tmp_path / "merged")
    assert not merged.failures and bits(tmp_path / "merged") == bits(right)


def test_timings_and_targets_come_along(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", study_plan(["adam"]))
    timed = {"first": Timing((0.1,), 0.3, 4, 8), "second": Timing((0.2,), 0.3, 4, 8)}
    with Store(one) as store:
        store.keep_timings(timed, PROGRAM, "machine")
    runs.merge_runs([one, two], tmp_path / "merged")
    with Store(tmp_path / "merged", write=False) as store:
        assert store.timings() == timed and store.timed_together(timed, "machine")


def test_two_outcomes_of_a_trial_are_refused_with_its_id(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", PLAN)
    name = change_one(two)
    with pytest.raises(
        UserError, match=rf"nothing was merged:\ntrial {name} \(sgd on bowl, .*curve 'error' differs by "
    ):
        runs.merge_runs([one, two], tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (replace(PLAN, evaluations=8), "budget.evaluations is 4 in one, 8 in two"),
        (replace(PLAN, max_studies=9), "settling.max_studies is none in one, 9 in two"),
        (with_problem(data="e" * 16), "problem 'bowl': data digest is"),
        (some_studies(PLAN, 8, 2), "budget.first_study: no run has the studies 6 to 7, and two begins with 8"),
        (
            replace(PLAN, contenders=[replace(PLAN.contenders[0], schedule="cosine")]),
            "optimizer 'sgd': schedule is constant in one, cosine in two",
        ),
        (
            replace(PLAN, contenders=[with_points(PLAN.contenders[0], range(1, 7))]),
            "optimizer 'sgd': two has other tuning points in study 0, 1, 2, 3, 4, 5",
        ),
    ],
    ids=str,
)
def test_what_are_no_parts_of_one_study_is_refused(plan: Plan, expected: str, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", PLAN)
    two = make_run(tmp_path / "two", plan, missing=lambda label, trial: True)
    with pytest.raises(UserError, match="these runs are no parts of one study:") as raised:
        runs.merge_runs([one, two], tmp_path / "merged")
    assert any(line.startswith(expected) for line in str(raised.value).splitlines()), raised.value
    assert not (tmp_path / "merged").exists()


def test_other_software_cannot_be_merged(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), of_software(tmp_path / "two", PLAN, device="gpu")
    with pytest.raises(UserError, match="software: kind of device cpu in one, gpu in two"):
        runs.merge_runs([one, two], tmp_path / "merged")


def missing(folder: Path) -> str:
    return f"{folder}: no run there"


def half_written(folder: Path) -> str:
    make_run(folder, PLAN)
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:5000])
    return f"{folder}: {FILE} cannot be used"


def of_another_format(folder: Path) -> str:
    make_run(folder, PLAN)
    rewrite(folder, "meta", lambda row: {"value": "999"} if row["key"] == "format" else {})
    return f"{folder}: this run was written in store format 999"


def not_begun(folder: Path) -> str:
    Store(folder).close()
    return f"{folder}: nothing ran in this folder yet"


@pytest.mark.parametrize("make", [missing, half_written, of_another_format, not_begun])
@pytest.mark.parametrize("what", ["compare", "merge"])
def test_a_folder_without_a_whole_run_is_named(make: Callable[[Path], str], what: str, tmp_path: Path) -> None:
    one, expected = make_run(tmp_path / "one", PLAN), make(tmp_path / "two")
    with pytest.raises(UserError) as raised:
        if what == "compare":
            runs.compare_runs([one, tmp_path / "two"])
        else:
            runs.merge_runs([one, tmp_path / "two"], tmp_path / "merged")
    assert str(raised.value).startswith(expected)
    assert not (tmp_path / "merged").exists()


def test_a_run_in_use_is_compared_and_not_merged(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", study_plan(["adam"]))
    descriptor = os.open(two / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert runs.compare_runs([one, two]).summary.records
        with pytest.raises(UserError, match=f"{two}: another dlkit is using this run; wait for it"):
            runs.merge_runs([one, two], tmp_path / "merged")
    finally:
        os.close(descriptor)
    assert runs.merge_runs([one, two], tmp_path / "merged").summary.records


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", study_plan(["adam"]))
    (tmp_path / "file").write_text("mine")
    for taken in ("one", "file"):
        with pytest.raises(UserError, match=f"{tmp_path / taken}: is there already"):
            runs.merge_runs([one, two], tmp_path / taken)
    (tmp_path / "empty").mkdir()
    assert runs.merge_runs([one, two], tmp_path / "empty").folder == tmp_path / "empty"
    with pytest.raises(UserError, match=r"file/merged: cannot be written: .*; nothing was written"):
        runs.merge_runs([one, two], tmp_path / "file" / "merged")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "full"])
def test_a_merge_that_ends_early_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_run(tmp_path / "one", PLAN), make_run(tmp_path / "two", study_plan(["adam"]))
    before = [content(one), content(two)]

    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(merging.Store, "use_plan", stop)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else UserError):
        runs.merge_runs([one, two], tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert [content(one), content(two)] == before


# --- shards ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(contenders=st.integers(1, 5), studies=st.integers(1, 7), shards=st.integers(1, 9), baselines=st.integers(0, 2))
def test_every_study_is_in_one_shard(contenders: int, studies: int, shards: int, baselines: int) -> None:
    labels = [f"c{n}" for n in range(contenders)]
    plan = make_plan(labels, problems=BOTH, points=1, tuner=Tuner(studies=studies))
    plan = replace(plan, targets=TargetRule(baselines=tuple(labels[:baselines])))
    shares = [share_of(plan, Shard(number, shards)) for number in range(1, shards + 1)]
    every = [(*cell, study) for share in shares for cell, numbers in share.studies.items() for study in numbers]
    assert sorted(every) == sorted((p.name, c.label, n) for p, c in plan.cells for n in range(studies))
    assert [name for share in shares for name in share.targets] == ["well"]  # the one without a target of its own
    setting = labels[: max(min(baselines, contenders), 1)]
    (owner,) = (share for share in shares if share.targets)
    assert all(owner.studies["well", label] == list(range(studies)) for label in setting)
    sizes = [sum(len(n) for (problem, _), n in share.studies.items() if problem == "bowl") for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "one/two", "1/0", "", "-1/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="shard must be one part of several, such as '1/3'"):
        Shard.parse(text)
