"""Trained models: as bytes and back, which trial they are of, kept at the end of a run, trained again."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from dlkit import bench, losses
from dlkit.bench import api, runs
from dlkit.bench.analysis.best_trial import best_trial
from dlkit.bench.analysis.contender_result import make_result
from dlkit.bench.errors import UserError
from dlkit.bench.execution.packed_models import pack_model, packed_or_why, unpack_model
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.store import models
from dlkit.bench.store.models import PackedModel, every_model, read_model, write_model
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from tests.bench.synthetic import fill, make_plan

# --- as bytes --------------------------------------------------------------------------------------------------------


def no_problem() -> Any:
    raise AssertionError("a plain structure needs no problem")


@pytest.mark.parametrize(
    ("params", "state"),
    [
        ({"w": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float16)}, None),
        ([{"w": jnp.ones((2, 2), jnp.bfloat16)}, (), {}, (np.int8(3), [np.array([True])])], {"steps": np.int64(7)}),
        (np.array([np.nan, -0.0, np.inf], np.float32), (np.zeros((0, 4)), None)),
        ([np.full(2, n) for n in range(12)], {f"k{n}": np.float32(n) for n in range(12)}),
        ({"z": np.array(1.0), "a/b": np.array(2.0), "a": {"b": np.array(3.0)}}, {"n": np.array(1 + 2j, np.complex64)}),
    ],
)
def test_a_model_comes_back_bit_for_bit(params: Any, state: Any) -> None:
    packed = pack_model(params, state)
    again = unpack_model(replace(packed, structure=json.loads(json.dumps(packed.structure))), no_problem)
    assert jax.tree_util.tree_structure(again) == jax.tree_util.tree_structure((params, state))
    for one, other in zip(jax.tree.leaves((params, state)), jax.tree.leaves(again), strict=True):
        assert np.asarray(one).dtype == other.dtype and np.asarray(one).tobytes() == other.tobytes()


def test_flax_reads_the_file_by_itself() -> None:
    restored = serialization.msgpack_restore(pack_model({"w": np.arange(3.0)}, None).data)
    assert list(restored) == ["['params']['w']"] and restored["['params']['w']"].tolist() == [0.0, 1.0, 2.0]


class Layer(NamedTuple):
    kernel: Any
    bias: Any


def test_nodes_of_ones_own_come_back_by_the_problem() -> None:
    def load() -> Any:
        class Made:
            name = "mine"

            @staticmethod
            def init(key: Any) -> Any:
                return Layer(jnp.zeros(3), jnp.zeros(1)), None

        return Made

    packed = pack_model(Layer(np.arange(3.0), np.ones(1)), None)
    params, state = unpack_model(packed, load)
    assert isinstance(params, Layer) and params.kernel.tolist() == [0.0, 1.0, 2.0] and state is None
    other = pack_model({"layer": Layer(np.arange(3.0), np.ones(1))}, None)
    with pytest.raises(UserError, match="problem 'mine': its parameters have another structure now"):
        unpack_model(other, load)


def test_what_is_no_array_is_named() -> None:
    assert packed_or_why({"w": "text"}, None) == (
        "a model can be kept if its leaves are arrays of numbers, but['params']['w'] is 'text'"
    )


# --- files -----------------------------------------------------------------------------------------------------------

PACKED = PackedModel(b"some bytes", "array")


def test_one_model_of_each_contender_on_each_problem_is_kept(tmp_path: Path) -> None:
    write_model(tmp_path, "aaaa", "bowl", "adam", PACKED)
    write_model(tmp_path, "bbbb", "bowl", "sgd", PACKED)
    write_model(tmp_path, "cccc", "bowl", "adam", PACKED)  # in the place of the first
    kept = {each.trial: (each.problem, each.contender, each.bytes) for each in every_model(tmp_path)}
    assert kept == {"bbbb": ("bowl", "sgd", 10), "cccc": ("bowl", "adam", 10)}
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        *("bbbb.json", "bbbb.msgpack", "cccc.json", "cccc.msgpack")
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("aaaa.msgpack", b"some bites", "its checksum is not the one that was written"),
        ("aaaa.msgpack", None, "No such file or directory"),
        ("aaaa.json", b"{", "Expecting property name"),
        ("aaaa.json", b'{"trial": 1}', "missing 5 required positional arguments"),
    ],
)
def test_damage_names_the_file_and_what_to_do(name: str, content: bytes | None, expected: str, tmp_path: Path) -> None:
    write_model(tmp_path, "aaaa", "bowl", "adam", PACKED)
    path = tmp_path / "models" / name
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(UserError, match=rf"{name}: the kept model cannot be used: .*delete the file and run") as raised:
        (about,) = every_model(tmp_path)
        read_model(tmp_path, about)
    assert expected in str(raised.value)


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_model_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path, "aaaa", "bowl", "adam", PACKED)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="model of adam on bowl cannot be written: No space left on device; make room"):
        write_model(tmp_path, "bbbb", "bowl", "adam", PackedModel(b"other", "array"))
    (about,) = every_model(tmp_path)
    assert read_model(tmp_path, about) == b"some bytes"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["aaaa.json", "aaaa.msgpack"]


# --- which trial -----------------------------------------------------------------------------------------------------


def test_the_typical_studys_trial_that_is_best_on_validation_stands_for_a_contender() -> None:
    plan = make_plan(["sgd"], points=1, seeds=3, tuning_seeds=1, tuner=Tuner(studies=3))
    plan = replace(plan, contenders=[replace(each, further=(each.points,) * 2) for each in plan.contenders])
    of_study = {0: 0.9, 1: 0.5, 2: 0.1}  # on test: the study of 0.5 is the median

    def curve(_: Any, problem: Any, contender: Any, trial: Any) -> list[float]:
        return [1.0, 1.0, 1.0, 1.0, of_study[trial.study] + 0.01 * (trial.seed % 1000)]

    with Store(None) as store:
        fill(store, plan, curve=curve)
        outcomes = {name: record.outcome for name, record in store.records().items()}
    for name, outcome in outcomes.items():  # on validation the last seed is best, on test the first
        outcomes[name] = replace(outcome, validation={"error": 1.0 - 0.01 * outcome.trial.seed})
    history = History(plan, outcomes)
    problem, contender = plan.cells[0]
    best = best_trial(problem, make_result(history, problem, contender, ()))
    assert not isinstance(best, str) and best.trial.seed == 1002
    missing = History(plan, {name: each for name, each in outcomes.items() if each.trial.study != 2})
    assert best_trial(problem, make_result(missing, problem, contender, ())) == "its trials have not all run yet"


# --- in runs ---------------------------------------------------------------------------------------------------------

BUDGET = bench.Budget(steps=8, evaluations=2, studies=2, tuning_points=1, tuning_seeds=1, seeds=2)


def compared(folder: Path | None, optimizers: Sequence[Any] = ("sgd", "adam"), **options: Any) -> api.Result:
    problems = options.pop("problems", ["quadratic"])
    return bench.compare(
        problems=problems,
        optimizers=optimizers,
        budget=BUDGET,
        folder=folder,
        executor="inline",
        progress=False,
        **options,
    )


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.mark.long
def test_a_kept_model_is_that_of_the_table_and_of_training_again(tmp_path: Path) -> None:
    plain = compared(tmp_path / "run")
    assert not (tmp_path / "run" / "models").exists()
    with pytest.raises(UserError, match=r"adam on quadratic: its model was not kept; give result.best\(..., retrain"):
        plain.best("adam")
    again = plain.best("adam", retrain=True)
    kept_run = compared(tmp_path / "run", keep="best")  # a finished run keeps later
    assert kept_run.summary.plan.digest == plain.summary.plan.digest  # it decides no number
    kept = api.open_run(tmp_path / "run").best("adam", "quadratic")
    assert kept.trial == again.trial and same(kept.params, again.params)
    problem = kept.load_problem()
    found = problem.evaluate(kept.params, kept.state, problem.dataset.test)
    assert {name: float(value) for name, value in found.items()} == kept.test
    (row,) = (row for row in kept_run.trials().to_dict("records") if row["trial"] == kept.trial)
    assert row["value"] == kept.test[problem.metric] and row["learning_rate"] == kept.hyperparameters["learning_rate"]
    assert len(list(every_model(tmp_path / "run"))) == 2
    for names, message in ((("adm",), "did you mean 'adam'"), (("adam", "quadratik"), "did you mean 'quadratic'")):
        with pytest.raises(UserError, match=message):
            kept_run.best(*names)


@pytest.mark.long
def test_models_come_along_in_a_merge(tmp_path: Path) -> None:
    one = compared(tmp_path / "one", ["sgd"], keep="best")
    two = compared(tmp_path / "two", ["adam"], keep="best")
    merged = runs.merge_runs([one, two], tmp_path / "merged")
    assert same(merged.best("adam").params, two.best("adam").params)
    assert same(merged.best("sgd").params, one.best("sgd").params)


@pytest.mark.long
def test_a_run_is_not_lost_where_its_models_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "_write_whole", full)
    result = compared(tmp_path / "run", keep="best")
    assert not result.summary.missing and not list((tmp_path / "run").glob("models/*"))
    assert "its model is not kept" in capsys.readouterr().err


@pytest.mark.long
def test_modules_of_equinox_are_kept(tmp_path: Path) -> None:
    equinox = pytest.importorskip("equinox")
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    data = bench.split("rows", {"inputs": rows, "targets": rows.sum(axis=1, keepdims=True)})
    problem = bench.problem_from_equinox(
        lambda key: equinox.nn.Linear(3, 1, key=key), data, losses.squared_error, name="mine", steps=8, batch_size=8
    )
    result = compared(tmp_path / "run", ["sgd"], problems=[problem], keep="best")
    kept = api.open_run(result.folder).best("sgd")
    found = problem.evaluate(kept.params, kept.state, jax.tree.map(jnp.asarray, dict(problem.dataset.test)))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(kept.test, rel=1e-6)
    with pytest.raises(UserError, match="problem 'mine' is your own: use your problem's functions with the model's"):
        kept.load_problem()


def test_keep_needs_a_folder_and_a_choice_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep = 'best' keeps models in the run's folder: give folder="):
        compared(None, keep="best")
    with pytest.raises(UserError, match="keep: no choice 'bets'; did you mean 'best'"):
        compared(tmp_path, keep="bets")
    spec = tmp_path / "spec.toml"
    spec.write_text('problems = ["quadratic"]\noptimizers = ["sgd"]\nkeep = "bets"\n')
    with pytest.raises(UserError, match="keep: no choice 'bets'; did you mean 'best'"):
        bench.load(spec)
    assert bench.load(spec, settings=["keep=best"]).keep == "best"
