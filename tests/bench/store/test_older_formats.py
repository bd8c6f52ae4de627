"""Runs of older store formats: what the dlkit that wrote them read there is read here.

`older/format_N.sql` and `.json` are a store as SQL, and what it holds as JSON, both written by the commit that had that
format (d12b90b, 85113b0): a plan of two contenders with everything that a store may keep.
"""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench.analysis.summary import summarize
from dlkit.bench.api import open_run
from dlkit.bench.errors import UserError
from dlkit.bench.plan.json import to_json
from dlkit.bench.store.database import FILE
from dlkit.bench.store.store import Store
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.upkeep import convert_run, verify_run

OLDER = Path(__file__).parent / "older"
FORMATS = (5, 6)


@pytest.fixture(params=FORMATS)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    """A run folder of an older format, and what the dlkit of then read in it."""
    folder = tmp_path / "run"
    folder.mkdir()
    with sqlite3.connect(folder / FILE) as connection:
        connection.executescript((OLDER / f"format_{request.param}.sql").read_text(encoding="utf-8"))
    connection.close()
    then = json.loads((OLDER / f"format_{request.param}.json").read_text(encoding="utf-8"))
    del then["plan"]  # its hash: plans may say more now
    return folder, then


def sha(array: np.ndarray[Any, Any] | None) -> str | None:
    return None if array is None else hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def read(folder: Path) -> Any:
    """What is read in a run now, in the form of the JSON files."""
    with Store(folder, write=False) as store:
        plan = store.current_plan()
        code = store.code(plan.digest, "problem 'bowl'")
        trials = {
            name: [
                outcome.status,
                outcome.seconds,
                dict(outcome.validation),
                list(outcome.evaluations),
                sha(outcome.steps),
                {metric: sha(curve) for metric, curve in outcome.curves.items()},
                *map(sha, (outcome.samples, outcome.example_scores, outcome.gradients)),
                dict(outcome.trial.identity),
                program["jax"],
            ]
            for name, (outcome, program) in store.records().items()
        }
        return {
            "verdicts": {each.problem.name: each.verdict.sentence for each in summarize(store).comparisons},
            "trials": trials,
            "drawn": {key: list(map(to_json, points)) for key, points in store.drawn().items()},
            "timings": {key: to_json(each) for key, each in store.timings().items()},
            "targets": {key: [list(each.values), each.source, each.digest] for key, each in store.frozen().items()},
            "endings": {key: [each.kind, each.step] for key, each in store.endings().items()},
            "code": code and code.data.decode(),
            "apart": [len(each.trials) for each in store.apart()],
        }


def test_an_older_run_is_read_as_it_was_and_left_as_it_is(older: tuple[Path, Any]) -> None:
    folder, then = older
    before = (folder / FILE).read_bytes()
    assert read(folder) == then
    assert "adam" in str(open_run(folder))
    assert [path.name for path in folder.iterdir()] == [FILE] and (folder / FILE).read_bytes() == before


def test_an_older_run_is_converted_when_it_is_asked_for(older: tuple[Path, Any]) -> None:
    folder, then = older
    before = (folder / FILE).read_bytes()
    with pytest.raises(UserError, match=rf"written in store format \d, and .* writes format {FORMAT}: `dlkit convert"):
        Store(folder)
    assert (folder / FILE).read_bytes() == before
    (said,) = convert_run(folder)
    (kept,) = folder.glob("store.format-*.sqlite")
    assert said.endswith(f"it is converted to format {FORMAT}, and the old file is kept as {kept.name}")
    assert kept.read_bytes() == before
    assert convert_run(folder) == [] and read(folder) == then
    with Store(folder) as store:
        store.use_plan(store.current_plan(), {})  # a run would write the manifest
    assert verify_run(folder).sound


def test_an_older_run_that_is_damaged_is_refused(older: tuple[Path, Any]) -> None:
    folder, _ = older
    data = bytearray((folder / FILE).read_bytes())
    data[4096 : 3 * 4096] = bytes(2 * 4096)
    (folder / FILE).write_bytes(data)
    for opens in (lambda: Store(folder, write=False), lambda: convert_run(folder)):
        with pytest.raises(UserError, match=r"store.sqlite cannot be used"):
            opens()


def test_what_is_too_old_is_refused_by_name(older: tuple[Path, Any]) -> None:
    folder, _ = older
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("UPDATE meta SET value = '3' WHERE key = 'format'")
    connection.close()
    with pytest.raises(UserError, match=rf"store format 3, and this dlkit reads formats 5 to {FORMAT}; use the dlkit"):
        Store(folder, write=False)
