"""Tables of a run as files: they read back as they were, say what their columns are, and come whole or not at all."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.answer import answer
from dlkit.bench.api import Result
from dlkit.bench.errors import UserError
from dlkit.bench.export import json_file
from dlkit.bench.export.columns import TABLES
from dlkit.bench.export.contents import contents
from dlkit.bench.export.json_file import read_json
from dlkit.bench.export.placing import MARK, place_folder
from dlkit.bench.export.runs import final_trials, placed
from dlkit.bench.export.write import KINDS, default_place, write
from dlkit.bench.plan.policies import Tuner
from tests.bench.export.made import made
from tests.bench.synthetic import make_plan, make_summary

DTYPES = {"text": "str", "integer": "Int64", "number": "float64", "boolean": "boolean"}


def strict(text: str):
    """JSON without the words that JavaScript alone has."""

    def refuse(word: str):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_tables_have_the_numbers_of_the_frames() -> None:
    summary, found = made(), contents(made())
    assert [each.name for each in found.tables] == [*TABLES]
    trials = frames.trials(summary)
    assert found["trials"]["trial"].tolist() == trials["trial"].tolist()
    np.testing.assert_array_equal(found["trials"]["value"], trials["value"].to_numpy(float))
    np.testing.assert_array_equal(found["results"]["value_low"], frames.table(summary)["value_low"])
    final = found["curves"].query("stage == 'final'")
    curves = frames.curves(summary)
    assert len(final) == len(curves) and len(found["curves"]) > len(final)
    columns = ["problem", "optimizer", "seed", "step", "metric"]
    both = final.merge(curves, on=columns, suffixes=("", "_frame"))
    assert len(both) == len(curves)
    np.testing.assert_array_equal(both["value"], both["value_frame"].astype(float))
    places = found["places"].set_index(["problem", "optimizer"])["place"]
    assert all(
        places[row.name, label] == cell.place for row in answer(summary).rows for label, cell in row.cells.items()
    )


def test_a_hyperparameter_takes_no_other_columns_place() -> None:
    trials = contents(made())["trials"]
    assert trials["seed"].tolist() == frames.trials(made())["seed"].tolist()
    tuned = trials[trials["optimizer"] == "sgd"]
    assert set(tuned["hyperparameter_seed"]) == {3.0, 4.0} and set(tuned["hyperparameter_kind"]) == {"a", "b"}
    assert set(trials.loc[trials["optimizer"] != "sgd", "hyperparameter_nesterov"]) == {""}


@pytest.mark.parametrize(
    "summary",
    [
        lambda: make_summary(missing=lambda label, trial: True),
        lambda: make_summary(make_plan(["sgd"])),
        lambda: make_summary(failed=["adam"]),
        lambda: make_summary(make_plan(points=8, tuner=Tuner(halving=2))),
    ],
    ids=["nothing ran", "one contender", "a failure", "halving"],
)
def test_every_run_has_every_table(summary, tmp_path: Path) -> None:
    found = contents(summary())
    for each in found.tables:
        assert list(each.frame.columns) == [column.name for column in each.columns]
        assert {column.name: str(each.frame[column.name].dtype) for column in each.columns} == {
            column.name: DTYPES[column.kind] for column in each.columns
        }
        assert all(column.text for column in each.columns)
    path = write(summary(), tmp_path / "run.json", "json").path
    require_equal(read_json(path), found)


def require_equal(read, found) -> None:
    assert dict(read.facts) == dict(found.facts) and read.spec == json_file.strict(found.spec)
    for one, other in zip(read.tables, found.tables, strict=True):
        assert (one.name, one.text, one.columns) == (other.name, other.text, other.columns)
        pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)


def test_json_is_strict_and_reads_back_as_it_was(tmp_path: Path) -> None:
    path = Result(made()).export(tmp_path / "run.json", kind="json")
    data = strict(path.read_text(encoding="utf-8"))
    assert (data["format"], data["version"]) == ("dlkit-export", 1)
    assert data["spec"] == made().plan.digest and data["answer"]
    values = data["tables"]["curves"]["values"]["value"]
    assert "NaN" in values and "Infinity" in values and None not in values
    assert None in data["tables"]["results"]["values"]["difference"]  # the best has none
    require_equal(read_json(path), contents(made()))


def test_what_is_no_export_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for text in ("{}", "no json", '{"format": "other"}', "[1]"):
        path.write_text(text)
        with pytest.raises(UserError, match="is no JSON export of dlkit"):
            read_json(path)
    path.write_text('{"format": "dlkit-export", "version": 99}')
    with pytest.raises(UserError, match="has version 99 of the format"):
        read_json(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path / "nothing.json")


def test_csv_reads_back_as_it_was(tmp_path: Path) -> None:
    folder = Result(made()).export(tmp_path / "csv")
    facts = strict((folder / MARK).read_text(encoding="utf-8"))
    found = contents(made())
    for each in found.tables:
        described = facts["tables"][each.name]["columns"]
        assert [column["name"] for column in described] == list(each.frame.columns)
        read = pd.read_csv(
            folder / f"{each.name}.csv",
            dtype={column["name"]: DTYPES[column["kind"]] for column in described},
            keep_default_na=False,
            na_values={column["name"]: ["", "NaN"] for column in described if column["kind"] != "text"},
        )
        pd.testing.assert_frame_equal(read, each.frame, check_exact=True)
    with (folder / "curves.csv").open(newline="", encoding="utf-8") as file:
        values = [row["value"] for row in csv.DictReader(file)]
    assert {"NaN", "inf"} <= {*values} and "" not in values
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"## {name}.csv" in readme for name in TABLES)
    assert "| seconds | number | s | of training |" in readme


def test_parquet_reads_back_with_units(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = Result(made()).export(tmp_path / "parquet", kind="parquet")
    for each in contents(made()).tables:
        read = parquet.read_table(folder / f"{each.name}.parquet")
        for column in each.columns:
            assert read.schema.field(column.name).metadata[b"unit"].decode() == column.unit
            values = read.column(column.name).to_pylist()
            expected = each.frame[column.name]
            missing = expected.isna()
            if column.kind == "number" and column.holds_nan:
                np.testing.assert_array_equal(values, expected)
            else:
                assert [value is None for value in values] == missing.tolist()
                assert [each for each in values if each is not None] == expected[~missing].tolist()
    assert json.loads(read.schema.metadata[b"spec"]) == made().plan.digest


def test_nothing_is_overwritten_but_an_earlier_export(tmp_path: Path) -> None:
    folder = default_place(tmp_path, "csv")
    assert not write(made(), folder, "csv").replaced
    other = make_summary()
    again = write(other, folder, "csv")
    assert again.replaced and again.files == len(TABLES) + 2
    assert strict((folder / MARK).read_text())["spec"] == other.plan.digest
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"an earlier export, and notes\.txt, which is not of it"):
        write(made(), folder, "csv")
    assert (folder / "notes.txt").read_text() == "mine"
    for path, kind in ((tmp_path / "a.json", "json"), (tmp_path / "a", "csv")):
        (path if kind == "json" else path / "b").parent.mkdir(exist_ok=True)
        (path if kind == "json" else path / "b").write_text("mine")
        with pytest.raises(UserError, match="exists and is no export of dlkit"):
            write(made(), path, kind)
    (tmp_path / "empty").mkdir()
    assert not write(made(), tmp_path / "empty", "csv").replaced


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = tmp_path / "csv", tmp_path / "run.json"
    write(made(), folder, "csv")
    write(made(), path, "json")
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    monkeypatch.setattr(json, "dump", full)
    for where, kind in ((folder, "csv"), (path, "json"), (tmp_path / "new", "csv")):
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            write(made(), where, kind)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["csv", "run.json"]


def test_an_export_that_fills_nothing_in_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        place_folder(tmp_path / "csv", lambda here: print(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no export to 'jsn'; did you mean 'json'"):
        Result(made()).export(tmp_path / "x", kind="jsn")  # type: ignore[arg-type]
    needed = {"parquet": "pyarrow", "tensorboard": "tensorboardX", "mlflow": "sqlalchemy", "wandb": "wandb"}
    assert {*needed} == {*KINDS} - {"csv", "json"}
    for kind, package in needed.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=rf"export to {kind} needs the package {package}: pip install '"):
            Result(made()).export(tmp_path / kind, kind=kind)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_labels_are_told_apart_in_paths() -> None:
    trials = list(final_trials(made()))
    alike = [trials[0]._replace(contender=label) for label in ("a/b", "a b", "A.b", "..", "con/..")]
    paths = [path for _, path in placed([*trials, *alike])]
    assert len({path.lower() for path in paths}) == len(trials) + len(alike)
    assert all(part not in ("", ".", "..") for path in paths for part in path.split("/"))
    assert all(path.count("/") == 2 for path in paths)
