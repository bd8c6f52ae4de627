"""The watch on speed: what it calls slower, and what it does about rows that only one side has."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import speed_watch
from benchmarks.speed_watch import compared, machine_kind, sentences

COMMITTED = {"MLP: step": 2.0, "CNN: step": 50.0, "LSTM: step": 30.0}


def test_what_got_slower_by_more_than_a_tenth_is_named_the_worst_first() -> None:
    found = compared(COMMITTED, {"MLP: step": 2.21, "CNN: step": 100.0, "LSTM: step": 32.9})
    assert list(found.slower) == ["CNN: step", "MLP: step"]
    assert found.slower["CNN: step"] == 2.0 and found.slower["MLP: step"] == pytest.approx(1.105)
    assert sentences(found)[:2] == ["slower: CNN: step, 2.00 times as long", "slower: MLP: step, 1.10 times as long"]


def test_what_got_faster_is_no_complaint() -> None:
    found = compared(COMMITTED, {**COMMITTED, "CNN: step": 25.0})
    assert not found.slower and list(found.faster) == ["CNN: step"]
    assert sentences(found) == ["faster: CNN: step, 0.50 times as long", "nothing is slower by more than 10%"]


def test_new_and_missing_rows_are_said_and_not_compared() -> None:
    found = compared(COMMITTED, {"MLP: step": 2.0, "GAN: step": 9.0})
    assert (found.new, found.missing) == (("GAN: step",), ("CNN: step", "LSTM: step"))
    assert not found.slower and not found.faster
    assert "new, not compared: GAN: step" in sentences(found) and "not measured: LSTM: step" in sentences(found)


@pytest.mark.parametrize(
    ("committed", "arguments", "kept"),
    [(None, [], 3.0), ({"MLP: step": 2.0}, [], 2.0), ({"MLP: step": 2.0}, ["--write"], 3.0)],
)
def test_ratios_are_written_where_there_are_none_or_when_asked(
    committed: Mapping[str, float] | None,
    arguments: list[str],
    kept: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{machine_kind()}.json"
    if committed is not None:
        path.write_text(json.dumps(committed))
    monkeypatch.setattr(speed_watch, "FOLDER", tmp_path)
    monkeypatch.setattr(speed_watch, "measured", lambda: {"MLP: step": 3.0})
    monkeypatch.setattr("sys.argv", ["speed_watch", *arguments])
    speed_watch.main()  # slower by half, and no error
    said = capsys.readouterr().out
    assert ("slower: MLP: step, 1.50 times as long" in said) == (committed is not None)
    assert json.loads(path.read_text()) == {"MLP: step": kept}


def test_a_kind_of_machine_is_a_plain_file_name_with_the_version_of_jax() -> None:
    assert re.fullmatch(r"[a-z0-9.-]+-jax-\d+\.\d+\.\d+[a-z0-9.]*", machine_kind())
