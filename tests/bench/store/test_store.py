"""The store: what goes in comes out bit for bit, or not at all; one writer; damage is a message, not a traceback."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dlkit.bench.errors import UserError
from dlkit.bench.machine.program import SOFTWARE_FIELDS, THREAD_FIELDS
from dlkit.bench.plan.json import from_data, to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point, Range, one_minus_log_uniform
from dlkit.bench.plan.trials import Outcome, Timing, Trial
from dlkit.bench.store.database import FILE
from dlkit.bench.store.example_scores import packed
from dlkit.bench.store.software import differences, software_digest
from dlkit.bench.store.store import Store
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.tuning.targets import Ending, Frozen
from tests.bench.synthetic import PROGRAM, make_contender, make_plan, make_problem

ROOT = Path(__file__).parents[3]
PLAN = make_plan()


def trial(number=0):
    return Trial(f"{number:016x}", {"stage": "final", "seed": number, "hyperparameters": {"learning_rate": 0.1}})


def outcome(number=0, *, status="finished", value=0.5, **changes):
    curves = {"error": np.array([1.0, value], np.float32)}
    made = Outcome(trial(number), status, "", "", None, 1.0, 2.0, np.array([0, 40]), curves, {"error": value})
    return replace(made, **changes)


def opened(folder=None):
    """A store whose current software is PROGRAM's."""
    store = Store(folder)
    store.use_software(PROGRAM)
    return store


def same_bits(first, second):
    """Whether two outcomes agree in every bit, type and name."""
    assert set(first.curves) == set(second.curves)
    for metric, points in first.curves.items():
        assert second.curves[metric].tobytes() == points.tobytes()
        assert second.curves[metric].dtype == np.float32
    assert second.steps.tobytes() == first.steps.tobytes() and second.steps.dtype == np.int64
    assert (first.gradients is None) == (second.gradients is None)
    assert first.gradients is None or first.gradients.tobytes() == second.gradients.tobytes()
    assert {name: repr(value) for name, value in first.validation.items()} == {
        name: repr(value) for name, value in second.validation.items()
    }
    assert (first.example_scores is None) == (second.example_scores is None)
    if first.example_scores is not None:
        assert second.example_scores.tobytes() == first.example_scores.tobytes()
        assert second.example_scores.dtype == np.float32
    for name in ("trial", "status", "reason", "traceback", "diverged_at", "seconds", "compile_seconds"):
        assert getattr(first, name) == getattr(second, name), name
    return True


# --- round trips -----------------------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
outcomes = st.builds(
    outcome,
    number=st.integers(0, 2**60),
    status=st.sampled_from(["finished", "diverged"]),
    reason=st.text(),
    traceback=st.text(),
    diverged_at=st.none() | st.integers(0, 2**40),
    seconds=finite,
    compile_seconds=finite,
    steps=arrays(np.int64, st.integers(0, 4)),
    curves=st.dictionaries(st.text(), arrays(np.float32, st.integers(0, 4)), max_size=3),
    validation=st.dictionaries(st.text(), st.floats(), max_size=3),
    example_scores=st.none()
    | arrays(np.float32, st.integers(0, 20))
    | arrays(np.float32, st.integers(0, 20), elements=st.sampled_from([0.0, 1.0])),
    gradients=st.none() | arrays(np.float64, st.integers(0, 4)),
)


@settings(max_examples=60)
@given(st.lists(outcomes, max_size=3, unique_by=lambda each: each.trial.id))
def test_outcomes_come_back_bit_for_bit(given_outcomes):
    with opened() as store:
        store.add(given_outcomes, PROGRAM)
        records = store.records()
    assert records.keys() == {each.trial.id for each in given_outcomes}
    for each in given_outcomes:
        assert same_bits(each, records[each.trial.id].outcome)
        assert records[each.trial.id].program == PROGRAM


SPECIAL = np.array([math.nan, -math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-45, 3.4e38, 0.1], np.float32)


def test_special_numbers_survive_closing_the_file(tmp_path):
    given_outcome = outcome(
        curves={"error": SPECIAL, "empty": np.zeros(0, np.float32)},
        validation={"a": math.nan, "b": -math.inf, "c": -0.0, "d": 5e-324, "e": 0.1},
        steps=np.array([0, 2**62]),
        example_scores=SPECIAL,
    )
    with opened(tmp_path / "run") as store:
        store.add([given_outcome], PROGRAM)
    with Store(tmp_path / "run", write=False) as store:
        assert same_bits(given_outcome, store.records()[given_outcome.trial.id].outcome)


def test_hits_take_a_bit_each():
    """One of -0.0 among them does not: it would come back as 0.0."""
    hits = (np.random.default_rng(0).random(80_000) < 0.5).astype(np.float32)
    sizes = [len(packed(scores)[2]) for scores in (hits, np.where(hits == 0, np.float32(-0.0), hits))]
    assert sizes[0] < 80_000 / 8 * 1.01 < sizes[1]


@pytest.mark.parametrize("wrong", [lambda blob: blob[:-4], lambda blob: b"", lambda blob: zlib.compress(bytes(3))])
def test_damaged_scores_of_examples_cost_one_trial(tmp_path, wrong):
    with opened(tmp_path) as store:
        store.add([outcome(0, example_scores=SPECIAL), outcome(1, example_scores=SPECIAL)], PROGRAM)
    file = sqlite3.connect(tmp_path / FILE)
    (blob,) = file.execute("SELECT scores FROM trial WHERE id = ?", [trial(0).id]).fetchone()
    file.execute("UPDATE trial SET scores = ? WHERE id = ?", [wrong(blob), trial(0).id])
    file.commit()
    file.close()
    with Store(tmp_path, write=False) as store:
        assert store.records().keys() == {trial(1).id}
        assert f"1 trial is lost ({trial(0).id}) and left out of every number" in store.damaged[0]


def test_arrays_of_another_byte_order_keep_their_values():
    given_outcome = outcome(curves={"error": SPECIAL[4:].astype(">f4")}, steps=np.array([0, 40], ">i8"))
    with opened() as store:
        store.add([given_outcome], PROGRAM)
        found = store.records()[given_outcome.trial.id].outcome
    np.testing.assert_array_equal(found.curves["error"], SPECIAL[4:])
    np.testing.assert_array_equal(found.steps, [0, 40])


def test_a_reason_that_is_not_utf_8():
    with opened() as store:
        store.add([outcome(status="failed", reason="file 'a\udcff'", traceback="\udcff\0")], PROGRAM)
        assert store.records()[trial().id].outcome.reason == "file 'a?'"


def test_a_trial_stored_again_replaces_the_old_one():
    with opened() as store:
        old = {"old": SPECIAL, "error": SPECIAL}
        store.add([outcome(value=1.0, curves=old, samples=np.zeros((2, 2)), example_scores=SPECIAL)], PROGRAM)
        store.add([outcome(value=2.0)], PROGRAM)
        (record,) = store.records().values()
    assert same_bits(outcome(value=2.0), record.outcome) and record.outcome.samples is None


def test_failed_trials_run_again():
    made = [outcome(0), outcome(1, status="diverged"), outcome(2, status="failed", reason="it raised")]
    with opened() as store:
        store.add(made, PROGRAM)
        assert store.finished() == {trial(0).id, trial(1).id}
        assert store.records()[trial(2).id].outcome.reason == "it raised"


def test_records_of_some_ids():
    with opened() as store:
        store.add([outcome(number) for number in range(4)], PROGRAM)
        assert store.records([trial(1).id, trial(3).id, "unknown"]).keys() == {trial(1).id, trial(3).id}
        assert store.records([]) == {}


# --- programs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", SOFTWARE_FIELDS + THREAD_FIELDS)
def test_trials_of_other_software_are_kept_apart(field):
    other = {**PROGRAM, field: "another"}
    with opened() as store:
        store.add([outcome(0, value=1.0), outcome(1)], PROGRAM)
        store.add([outcome(0, value=2.0)], other)
        assert store.records()[trial(0).id].outcome.validation == {"error": 1.0}
        assert store.finished() == {trial(0).id, trial(1).id}
        store.use_software(other)
        assert store.finished() == {trial(0).id}
        (record,) = store.records().values()
        assert (record.outcome.validation, record.program) == ({"error": 2.0}, other)


@pytest.mark.parametrize("field", THREAD_FIELDS)
def test_threads_decide_nothing_on_an_accelerator(field):
    ours, other = {**PROGRAM, "device": "H200"}, {**PROGRAM, "device": "H200", field: "16"}
    assert software_digest(other) == software_digest(ours) != software_digest(PROGRAM)
    assert differences(ours, PROGRAM) == "kind of device H200 then, cpu now"


def test_what_an_older_run_does_not_say_is_unknown_and_like_nothing():
    older = {name: value for name, value in PROGRAM.items() if not name.startswith("blas")}
    with opened() as store:
        store.add([outcome(0)], older)
        assert store.finished() == set()
        store.use_software(older)
        assert store.finished() == {trial(0).id}
    said = differences(older, PROGRAM)
    assert said == (
        "linear algebra by unknown then, openblas 0.3.30 pthreads now, threads of linear algebra unknown then, 1 now"
    )


@pytest.mark.parametrize("field", sorted(PROGRAM.keys() - set(SOFTWARE_FIELDS + THREAD_FIELDS)))
def test_trials_of_another_machine_count_and_keep_its_name(field):
    other = {**PROGRAM, field: "another"}
    assert software_digest(other) == software_digest(PROGRAM)
    with opened() as store:
        store.add([outcome(0)], PROGRAM)
        store.add([outcome(1)], other)
        assert [store.records()[trial(number).id].program for number in (0, 1)] == [PROGRAM, other]


def test_what_is_set_aside_is_kept_and_not_found(tmp_path):
    targets = Frozen((0.5,), "first", "d1")
    scores = np.ones(3, np.float32)
    with opened(tmp_path) as store:
        for turn in (1.0, 2.0):  # the same trials, a second time
            store.add([outcome(0, value=turn, example_scores=scores), outcome(1, value=turn)], PROGRAM)
            store.add_points("search", 0, [Point({"rate": turn}, {})])
            store.add_points("other search", 0, [Point({"rate": turn}, {})])
            store.keep_timings({"timing": Timing((turn,)), "other timing": Timing((turn,))}, PROGRAM, "here")
            store.freeze("key", "bowl", targets)
            store.freeze("other key", "other", targets)
            store.keep_endings({trial(0).id: (0.5, Ending("reached", 40))})
            assert store.frozen()["key"] == targets
            store.set_aside(trials=[trial(0).id], searches=["search"], timings=["timing"], targets=["bowl"])
            assert store.records().keys() == store.finished() == {trial(1).id}
            assert store.drawn().keys() == {"other search"} and store.timings().keys() == {"other timing"}
            assert store.frozen().keys() == {"other key"} and store.endings() == {}
        assert [(each.trials, each.set_aside) for each in store.apart()] == [({trial(0).id}, True)] * 2
        store.add([outcome(0, value=3.0)], PROGRAM)
        assert store.records()[trial(0).id].outcome.validation == {"error": 3.0}
    file = sqlite3.connect(tmp_path / FILE)
    kept = [
        json.loads(row[0])["error"] for row in file.execute("SELECT validation FROM trial WHERE id = ?", [trial(0).id])
    ]
    file.close()
    assert sorted(kept) == [1.0, 2.0, 3.0]


def test_what_is_apart():
    with opened() as store:
        assert (store.apart(), store.program()) == ([], None)
        store.add([outcome(0), outcome(1)], PROGRAM)
        assert (store.apart(), store.program()) == ([], PROGRAM)
        other = {**PROGRAM, "device": "gpu", "jax_config": "jax_enable_x64=True"}
        store.use_software(other)
        (apart,) = store.apart()
        assert (apart.trials, apart.program, apart.set_aside) == ({trial(0).id, trial(1).id}, PROGRAM, False)
        assert store.program() is None
        assert (
            differences(apart.program, other)
            == "jax_config 1 then, jax_enable_x64=True now, kind of device cpu then, gpu now"
        )


def test_targets_of_other_software_are_frozen_anew():
    first, second = (Frozen((value,), "", str(value)) for value in (0.5, 0.4))
    with opened() as store:
        store.freeze("key", "bowl", first)
        store.use_software({**PROGRAM, "jax": "another"})
        assert store.frozen() == {} and store.manifest()["targets"] == []
        store.freeze("key", "bowl", second)
        assert store.frozen() == {"key": second}
        store.use_software(PROGRAM)
        assert store.frozen() == {"key": first}


def test_an_empty_store_answers():
    with Store(None) as store:
        assert (store.finished(), store.records(), store.software()) == (set(), {}, None)
        with pytest.raises(UserError, match="nothing ran in this folder yet"):
            store.current_plan()


# --- plans and the manifest ------------------------------------------------------------------------------------------

AWKWARD = Plan(
    'ä "quoted" name',
    [
        make_problem(),
        PlannedProblem(
            "p",
            {"loss": Metric("lower", "log", "Löss"), "hits": Metric("higher")},
            "hits",
            None,
            7,
            None,
            "d",
            "",
            True,
            "",
        ),
    ],
    [
        make_contender("sgd"),
        PlannedContender(
            "own",
            "adam",
            True,
            {"b1": one_minus_log_uniform(0.8, 0.99), "rate": Range(-1.0, 2.0), "fixed": 0.1},
            [
                Point(
                    {"b1": 0.9, "rate": 1 / 3, "fixed": 0.1}, {"nesterov": True, "kind": "a", "power": 2, "none": None}
                ),
                Point(
                    {"b1": 0.98, "rate": -1e-17, "fixed": 0.1},
                    {"nesterov": False, "kind": "b", "power": 0.5, "none": 1},
                ),
            ],
        ),
    ],
    7,
    1,
    3,
)


@pytest.mark.parametrize("plan", [PLAN, AWKWARD], ids=["synthetic", "awkward"])
def test_plans_come_back_as_they_were(plan, tmp_path):
    with Store(tmp_path) as store:
        store.use_plan(plan, {})
    with Store(tmp_path, write=False) as store:
        found = store.current_plan()
    assert found == plan
    assert to_json(found) == to_json(plan) and found.digest == plan.digest
    for problem, again in zip(plan.problems, found.problems, strict=True):
        for contender, other in zip(plan.contenders, found.contenders, strict=True):
            assert plan.tuning_trials(problem, contender) == found.tuning_trials(again, other)
            assert all(isinstance(point, Point) for point in other.points)


def test_the_last_plan_is_the_current_one_and_all_are_kept(tmp_path):
    plans = [make_plan(seeds=seeds) for seeds in (3, 4, 5)]
    with Store(tmp_path) as store:
        for plan in [*plans, plans[0]]:
            store.use_plan(plan, {})
        assert store.current_plan() == plans[0]
        assert store.manifest()["specs"].keys() == {plan.digest for plan in plans}


def test_the_manifest(tmp_path):
    sources = {"/here/mine/own.py": "def f():\n    return 'ä'\n", "/a/lib/x.py": "X = 1", "/b/lib/x.py": "X = 2"}
    changed = [replace(make_problem(), data=name * 16, data_source=name) for name in "abc"]
    with opened(tmp_path) as store:
        for problem in changed:
            store.use_plan(make_plan(problems=[problem]), sources)
        store.add([outcome()], PROGRAM)
        kept = store.manifest()
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == kept
    current = make_plan(problems=[changed[-1]])
    assert manifest["format"] == FORMAT
    assert manifest["current"] == current.digest
    assert from_data(Plan, manifest["specs"][current.digest]) == current
    assert len(manifest["specs"]) == 3
    assert list(manifest["programs"].values()) == [PROGRAM]
    assert manifest["data"] == {"bowl": {"digest": "c" * 16, "source": "c"}}  # the current spec's
    named = dict(zip(("here/mine/own.py", "a/lib/x.py", "b/lib/x.py"), sources.values(), strict=True))
    assert manifest["sources"][current.digest] == named
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "manifest.json", FILE]


def test_a_store_in_memory_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened() as store:
        store.use_plan(PLAN, {})
        store.add([outcome()], PROGRAM)
        assert store.current_plan() == PLAN
        assert store.finished() == {trial().id}
    assert list(tmp_path.iterdir()) == []


# --- all or nothing --------------------------------------------------------------------------------------------------


class Unwritable:
    """Takes the place of a curve whose bytes cannot be had."""

    def astype(self, dtype):
        raise KeyboardInterrupt


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path):
    with opened(tmp_path) as store:
        store.add([outcome(0, value=1.0)], PROGRAM)
        with pytest.raises(KeyboardInterrupt):
            store.add([outcome(0, value=2.0), outcome(1), outcome(2, curves={"error": Unwritable()})], PROGRAM)
        assert store.records().keys() == {trial(0).id}
        assert store.records()[trial(0).id].outcome.curves["error"][-1] == 1.0
        store.add([outcome(3)], PROGRAM)  # and it goes on
        assert store.finished() == {trial(0).id, trial(3).id}


def test_a_mistake_of_the_program_is_not_called_the_users():
    with opened() as store, pytest.raises(sqlite3.IntegrityError):
        store.add([replace(outcome(), reason="x", seconds=math.nan)], PROGRAM)


def test_a_reader_sees_one_state_while_another_writes(tmp_path):
    """A batch that is stored between two of the reader's queries is seen whole or not at all."""
    opened(tmp_path).close()

    def write():
        with Store(tmp_path) as store:
            store.add([outcome(number) for number in range(10)], PROGRAM)

    writing = threading.Thread(target=write)
    with Store(tmp_path, write=False) as reader:
        execute = reader._database.execute

        def interrupted(statement, parameters=()):
            rows = execute(statement, parameters)
            if "FROM trial" in statement:
                writing.start()
                writing.join(0.5)  # done by now, or waiting for the reader
            return rows

        reader._database.execute = interrupted
        assert reader.records() == {}
        reader._database.execute = execute
        writing.join()
        assert reader.records().keys() == {trial(number).id for number in range(10)}


def test_a_writer_killed_at_any_moment_leaves_whole_batches(tmp_path):
    script = """
import sys
from tests.bench.store.test_store import PROGRAM, opened, outcome
from pathlib import Path
with opened(Path(sys.argv[1])) as store:
    print("ready", flush=True)
    for batch in range(10_000):
        store.add([outcome(10 * batch + number, value=float(batch)) for number in range(10)], PROGRAM)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ}
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(UserError, match="another dlkit is using this run; wait for it, or name another folder"):
            Store(tmp_path)
        with Store(tmp_path, write=False) as reader:  # it can be looked at meanwhile
            assert len(reader.records()) % 10 == 0
        deadline = 200
        while not (tmp_path / FILE).stat().st_size > 150_000 and (deadline := deadline - 1):
            signal.sigtimedwait([], 0.05)
        process.send_signal(signal.SIGKILL)
    with Store(tmp_path, write=False) as store:  # the lock is free again
        records = store.records()
        assert store.finished() == records.keys()
    assert len(records) % 10 == 0 and len(records) > 0
    for number in range(len(records)):
        assert same_bits(outcome(number, value=float(number // 10)), records[trial(number).id].outcome)


# --- one at a time ---------------------------------------------------------------------------------------------------


def test_a_folder_is_used_by_one_store_at_a_time(tmp_path):
    with Store(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError, match="another dlkit is using this run"):
                Store(tmp_path)
        with Store(tmp_path / "other"):
            pass
    with Store(tmp_path):
        pass


def test_a_store_that_could_not_be_opened_gives_the_folder_back(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database, and longer than a header of one hundred bytes" * 10)
    for _ in range(2):
        with pytest.raises(UserError, match="cannot be used"):
            Store(tmp_path)


def test_closing_twice_and_after_an_exception(tmp_path):
    store = Store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(ZeroDivisionError), Store(tmp_path):
        raise ZeroDivisionError
    Store(tmp_path).close()


def test_a_file_system_without_locks_is_not_a_run_in_use(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with Store(tmp_path) as store:
        store.use_plan(PLAN, {})


# --- folders and files that are not as expected ----------------------------------------------------------------------


def test_no_run_there(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            UserError, match=r"no run there \(no store.sqlite\); give the folder that `dlkit run` printed"
        ):
            Store(folder, write=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "run", "Not a directory")):
        with pytest.raises(
            UserError, match=f"{folder}: the run folder cannot be written: {reason}; name another folder"
        ):
            Store(folder)


def test_the_manifest_cannot_be_written(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    with Store(tmp_path) as store, pytest.raises(UserError, match=r"manifest\.json cannot be written: Is a directory"):
        store.use_plan(PLAN, {})


def test_a_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("ALTER TABLE meta ADD COLUMN more TEXT")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", [str(FORMAT + 1)])
    connection.close()
    for write in (False, True):
        with pytest.raises(
            UserError, match=rf"store format {FORMAT + 1}, and this dlkit reads formats 5 to {FORMAT}; use that dlkit"
        ):
            Store(tmp_path, write=write)


def test_a_database_of_something_else(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.close()
    with pytest.raises(UserError, match="store format None"):
        Store(tmp_path)


def use_everything(folder):
    """Calls whatever reads a store."""
    with Store(folder, write=False) as store:
        store.current_plan()
        store.manifest()
        store.finished()
        store.records()


@pytest.fixture
def filled(tmp_path):
    with opened(tmp_path) as store:
        store.use_plan(PLAN, {"own.py": "text"})
        store.add([outcome(number) for number in range(200)], PROGRAM)
    use_everything(tmp_path)
    return tmp_path


def test_a_full_disk(filled):
    with opened(filled) as store:
        (pages,) = store._database.execute("PRAGMA page_count")[0]
        store._database.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(UserError, match="database or disk is full"):
            store.add([outcome(1000 + number) for number in range(200)], PROGRAM)
        assert len(store.records()) == 200  # nothing of the batch is there
