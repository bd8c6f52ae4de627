"""Trackers read what was exported for them, by their own readers; where a package is absent its test is skipped."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench.api import Result
from dlkit.bench.export.runs import FinalTrial, final_trials, placed
from dlkit.bench.export.write import write
from tests.bench.export.made import LABELS, made

LARGEST = 1.7976931348623157e308


def curves_of(trial: FinalTrial) -> dict[str, list[tuple[int, float]]]:
    """metric -> (step, value), without the loss of a training that has not begun."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, curve in trial.curves.items():
        both = zip(trial.steps.tolist(), np.asarray(curve, float).tolist(), strict=True)
        found[name] = [(step, value) for step, value in both if step > 0 or not math.isnan(value)]
    return found


def require_same(read: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    np.testing.assert_array_equal(np.array(sorted(read), float), np.array(expected, float))


def test_the_run_has_all_that_is_hard_to_carry() -> None:
    values = [value for trial in final_trials(made()) for curve in trial.curves.values() for value in curve.tolist()]
    assert any(map(math.isnan, values)) and any(map(math.isinf, values))
    assert {trial.contender for trial in final_trials(made())} == {*LABELS}


def sentence() -> str:
    """The verdict on the first problem, on one line."""
    return " ".join(made().comparisons[0].verdict.sentence.splitlines())


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length, checksum, data, checksum."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + size]
        place += 16 + size


def test_tensorboard_files_have_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    from tensorboardX.proto.event_pb2 import Event

    folder = Result(made()).export(tmp_path / "events", kind="tensorboard")
    for trial, place in placed(final_trials(made())):
        (path,) = (folder / place).glob("events.out.tfevents.*")
        read: dict[str, list[tuple[int, float]]] = {}
        for record in records(path):
            event: Any = Event.FromString(record)
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    read.setdefault(value.tag, []).append((event.step, value.simple_value))
        expected = curves_of(trial)
        assert read.keys() == expected.keys()
        for metric, points in read.items():
            require_same(points, expected[metric])


@pytest.mark.long
def test_tensorboard_reads_its_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_multiplexer", reason="tensorboard is not installed"
    )
    folder = write(made(), tmp_path / "events", "tensorboard").path
    found = reader.EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    runs = {place: trial for trial, place in placed(final_trials(made()))}
    assert {*found.Runs()} == {*runs, "verdicts"}
    for place, trial in runs.items():
        for metric, points in curves_of(trial).items():
            require_same([(each.step, each.value) for each in found.Scalars(place, metric)], points)
        assert "_hparams_/session_start_info" in found.GetAccumulator(place).summary_metadata
    (text,) = found.Tensors("verdicts", "verdict/bowl/text_summary")
    assert sentence() in text.tensor_proto.string_val[0].decode()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_its_store(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    folder = write(made(), tmp_path / "store", "mlflow").path
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(made().plan.name)
    assert experiment.tags["verdict.bowl"].startswith(sentence())
    assert experiment.artifact_location == (folder / "artifacts").as_uri()
    runs = {each.data.tags["trial"]: each for each in client.search_runs([experiment.experiment_id], max_results=1000)}
    trials = list(final_trials(made()))
    assert {*runs} == {trial.id for trial in trials}
    for trial in trials:
        run = runs[trial.id]
        assert run.data.params == {name: str(value) for name, value in trial.parameters.items()}
        assert run.data.tags["contender"] == trial.contender and run.data.tags["status"] == trial.status
        for metric, points in curves_of(trial).items():
            read = [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, metric)]
            require_same(read, [(step, LARGEST if value == math.inf else value) for step, value in points])


def blocks(path: Path) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format: blocks of 32 kB, of checksum, length, kind and data."""
    data, size, place, parts = path.read_bytes(), 32768, 7, b""
    while place + 7 <= len(data):
        if size - place % size < 7:  # what is left of a block is empty
            place += size - place % size
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_offline_runs(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto.wandb_internal_pb2 import Record

    folder = write(made(), tmp_path / "offline", "wandb").path
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    trials = {trial.name: trial for trial in final_trials(made())}
    assert len(paths) == len(trials)
    seen = set()
    for path in paths:
        read: dict[str, list[tuple[int, float]]] = {}
        name = ""
        for data in blocks(path):
            record: Any = Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                name = record.run.display_name
            if record.WhichOneof("record_type") == "history":
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                step = int(record.history.step.num if record.history.HasField("step") else items["_step"])
                for key, value in items.items():
                    if not key.startswith("_"):
                        read.setdefault(key, []).append((step, float(value.strip('"'))))
        seen.add(name)
        for metric, points in curves_of(trials[name]).items():
            require_same(read[metric], points)
    assert seen == {*trials}
