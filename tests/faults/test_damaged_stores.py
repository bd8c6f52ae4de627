"""A store whose bytes change: no number changes without a word, and what is whole stays usable.

A flip of each tenth of the file is among the quick ones. `FLIPS=10000` makes the slow test as long as one likes.
"""

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.analysis.answer import answer
from dlkit.bench.errors import UserError
from dlkit.bench.store.database import FILE, PAGE
from dlkit.bench.store.row_digests import row_digest
from dlkit.bench.store.salvage import _named
from dlkit.bench.store.store import Store
from dlkit.bench.store.tables import TABLES
from dlkit.bench.upkeep import repair_run, verify_run
from tests.bench.rewriting import rewrite
from tests.bench.synthetic import PROGRAM, fill
from tests.faults.stores import PLAN, Seen, make_full_store, see

FLIPS = int(os.environ.get("FLIPS", "10000"))
OF_ALL = ("plan", "manifest", "apart", "program")  # what is there once, and may lose a part


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    make_full_store(folder)
    return folder


@pytest.fixture(scope="module")
def truth(whole: Path) -> Seen:
    seen = see(whole)
    assert not seen.said and len(seen.parts["records"]) == 12
    return seen


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def write(run: Path, data: bytes) -> None:
    (run / FILE).write_bytes(data)
    (run / f"{FILE}-journal").unlink(missing_ok=True)


def lost(seen: Seen, truth: Seen) -> int:
    """How many trials are not there any more; everything that is there is as it was."""
    for name, was in truth.parts.items():
        now = seen.parts[name]
        if name == "drawn":  # up to the first that is lost
            assert all(was[key][: len(points)] == points for key, points in now.items())
        elif name not in OF_ALL:
            assert now.items() <= was.items() if name != "code" else all(was[key] == each for key, each in now.items())
    assert seen.parts["plan"]["text"] == truth.parts["plan"]["text"]
    return len(truth.parts["records"]) - len(seen.parts["records"])


def require_said(run: Path, truth: Seen, at: int) -> str:
    """Sees a damaged store; returns what came of it."""
    seen = see(run)
    if not seen.said:
        assert seen.parts == truth.parts, f"bit {at} changed something without a word"
        return "nothing lost"
    count = lost(seen, truth)
    assert count <= 1, f"bit {at} cost {count} trials"
    assert count == 0 or "left out of every number" in seen.said[0], f"bit {at}: {seen.said}"
    return "one trial lost" if count else "no trial lost"


def flips(size: int, count: int, seed: int) -> Iterator[int]:
    """Bits of a file: evenly over all of it, each at random in its part."""
    rng = random.Random(seed)
    for number in range(count):
        yield rng.randrange(8 * size * number // count, 8 * size * (number + 1) // count)


def flipped(whole: Path, run: Path, truth: Seen, count: int, seed: int) -> Mapping[str, int]:
    good, found = (whole / FILE).read_bytes(), Counter[str]()
    for at in flips(len(good), count, seed):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        write(run, bytes(data))
        found[require_said(run, truth, at)] += 1
    return found


def test_no_flipped_bit_is_silent(whole: Path, run: Path, truth: Seen) -> None:
    assert flipped(whole, run, truth, 40, 0).keys() >= {"nothing lost", "no trial lost", "one trial lost"}


@pytest.mark.long
def test_no_flipped_bit_of_more_is_silent(whole: Path, run: Path, truth: Seen) -> None:
    assert sum(flipped(whole, run, truth, 300, 1).values()) == 300


@pytest.mark.slow
def test_no_flipped_bit_of_ten_thousand_is_silent(whole: Path, run: Path, truth: Seen) -> None:
    found = flipped(whole, run, truth, FLIPS, 2)
    print(dict(found))
    assert sum(found.values()) == FLIPS


@pytest.mark.parametrize("page", range(1, 8))
def test_a_page_of_zeros_is_said(whole: Path, run: Path, truth: Seen, page: int) -> None:
    """A page of the file's pages, evenly taken; what the others hold stays."""
    good = bytearray((whole / FILE).read_bytes())
    start = (len(good) // PAGE * page // 8) * PAGE
    good[start : start + PAGE] = bytes(PAGE)
    write(run, bytes(good))
    seen = see(run)
    if seen.parts != truth.parts:
        assert seen.said
    assert lost(seen, truth) < 12


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_said(whole: Path, run: Path, truth: Seen, share: float) -> None:
    good = (whole / FILE).read_bytes()
    write(run, good[: int(len(good) * share)])
    seen = see(run)
    assert seen.said
    lost(seen, truth)


def test_a_file_of_which_nothing_is_left_is_a_message(run: Path) -> None:
    for data in (b"no database" * 1000, bytes(3 * PAGE), (run / FILE).read_bytes()[:100]):
        write(run, data)
        for opens in (lambda: see(run), lambda: Store(run, say=print), lambda: verify_run(run)):
            with pytest.raises(UserError, match=r"store.sqlite cannot be used: nothing in its .* bytes is a row of a"):
                opens()


def changed(run: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(run / FILE) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize("column", ["curves", "id", "hyperparameters", "validation", "seed"])
def test_rows_that_change_places_are_said(run: Path, truth: Seen, column: str) -> None:
    """Two trials exchange a column: each value is one that was written, but not there."""
    with sqlite3.connect(run / FILE) as connection:
        of = dict(connection.execute(f"SELECT id, {column} FROM trial"))
        first, *others = sorted(truth.parts["records"])
        second = next(name for name in others if of[name] != of[first])
        spare = "" if isinstance(of[first], str) else -1 if isinstance(of[first], int) else b""
        for name, value in ((first, spare), (second, of[first]), (first if column != "id" else "", of[second])):
            connection.execute(f"UPDATE trial SET {column} = ? WHERE id = ?", [value, name])
    connection.close()
    seen = see(run)
    assert seen.said and lost(seen, truth) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trial WHERE id = (SELECT MIN(id) FROM trial)",
        "DELETE FROM drawn WHERE position = 1",
        "DELETE FROM timing",
        "DELETE FROM meta WHERE key = 'software'",
        "DELETE FROM meta WHERE key = 'sum:trial'",
        "DELETE FROM program",
        "DELETE FROM identity",
        "UPDATE target SET goals = '[0.7]'",
        "UPDATE ending SET kind = 'missed'",
        "UPDATE spec SET plan = replace(plan, 'bowl', 'bawl')",
        "DROP TABLE timing",
        "CREATE TABLE more (x)",
    ],
)
def test_what_is_changed_by_hand_is_said(run: Path, truth: Seen, statement: str) -> None:
    changed(run, statement)
    seen = see(run)
    assert seen.said and lost(seen, truth) <= 1
    assert seen.parts["program"] == truth.parts["program"], "the manifest knows it, too"
    assert not verify_run(run).sound


def test_an_emptied_or_deleted_store_is_not_begun_anew(run: Path) -> None:
    for data, words in ((None, "is missing"), (b"", "is empty")):
        (run / FILE).unlink()
        if data is not None:
            (run / FILE).write_bytes(data)
        for write_it in (True, False):
            with pytest.raises(UserError, match=rf"store.sqlite {words}, but manifest.json says that a run was here"):
                Store(run, write=write_it, say=print)
        (run / FILE).write_bytes(b"")


def test_damage_is_said_wherever_numbers_are(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = min(see(run).parts["records"])
    changed(run, "UPDATE trial SET seconds = seconds + 1 WHERE id = ?", name)
    result = bench.open_run(run)
    said = "This run's store is damaged. "
    assert name in result.summary.damaged[0] and name not in result.summary.records
    assert any(each.startswith(said) for each in answer(result.summary).caveats)
    assert said in " ".join(str(result).split())
    result.report(tmp_path / "report.html")
    assert said.replace("'", "&#39;") in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said[:9] in result.markdown()
    found = verify_run(run)
    assert not found.sound and name in str(found)


def test_the_next_run_trains_what_is_lost_and_nothing_else(run: Path, truth: Seen) -> None:
    names = sorted(truth.parts["records"])
    changed(run, "UPDATE trial SET curves = zeroblob(length(curves)) WHERE id = ?", names[3])
    with pytest.raises(UserError, match=r"1 trial is lost .* `dlkit verify .* --repair` writes what is left anew"):
        Store(run)
    damaged = (run / FILE).read_bytes()
    said = list[str]()
    with Store(run, say=said.append) as store:
        assert store.finished() == {*names} - {names[3]}
    assert names[3] in said[0] and "The damaged file is kept as store.damaged.sqlite" in said[0]
    assert (run / "store.damaged.sqlite").read_bytes() == damaged
    with Store(run) as store:  # it is sound now
        fill(store, PLAN)
    assert see(run).said == [] and len(see(run).parts["records"]) == 12


def test_repairing_keeps_everything_that_is_whole(whole: Path, run: Path, truth: Seen) -> None:
    assert repair_run(run) == []
    good = bytearray((whole / FILE).read_bytes())
    for start in range(PAGE, len(good), PAGE):
        if good[start] in (2, 10):  # pages of rows: without their heads nothing says where those are
            good[start : start + 8] = bytes(8)
    for number in range(2):
        write(run, bytes(good))
        assert "every trial in it could be read" in repair_run(run)[0]
        assert (run / f"store.damaged{'-2' * number}.sqlite").read_bytes() == bytes(good)
        seen = see(run)
        assert not seen.said and seen.parts["records"] == truth.parts["records"]
        with Store(run) as store:
            store.use_plan(PLAN, {})  # as the next run does, which writes the manifest anew
        assert verify_run(run).sound


def test_verify_says_what_is_wrong(run: Path) -> None:
    found = verify_run(run)
    assert found.sound and found.trials == 12 and str(found).startswith("sound: 12 trials")
    (run / "manifest.json").write_text("{}")
    assert verify_run(run).mistakes == [
        "manifest.json says something else than the store; the next run writes it again"
    ]
    (run / "models").mkdir()
    (run / "models/abc.json").write_text("{")
    assert any("models/abc.json" in each for each in verify_run(run).mistakes)


def test_a_row_that_is_right_by_itself_is_looked_at_all_the_same(run: Path) -> None:
    """A store that somebody wrote, digests and all, whose trial is none of its content."""
    from tests.bench.rewriting import rewrite

    name = min(see(run).parts["records"])
    rewrite(run, "trial", lambda row: {"seed": row["seed"] + 1} if row["id"] == name else {})
    assert f"trial {name}: its content has another id" in verify_run(run).mistakes
    assert PROGRAM


def test_a_number_of_rows_that_is_none_is_said(run: Path, truth: Seen) -> None:
    """As somebody writes it who knows how rows are digested."""
    with closing(sqlite3.connect(run / FILE)) as connection, connection:
        row = ("sum:timing", "x")
        connection.execute(
            "UPDATE meta SET value = ?, row_digest = ? WHERE key = ?", (row[1], row_digest(TABLES["meta"], row), row[0])
        )
    seen = see(run)
    assert seen.said and seen.parts["records"] == truth.parts["records"]


@pytest.mark.parametrize("seed", [b"\0", "\ud800"])
def test_the_id_of_a_damaged_trial_is_read_whatever_its_values_have_become(seed: Any) -> None:
    """A flipped bit makes bytes of a number; digests are of neither."""
    shared = {("shared",): ("shared", '{"a":1}')}
    assert _named(("0123456789abcdef", "", "", "shared", "{}", seed), shared) == "0123456789abcdef"


@pytest.mark.parametrize("own_code", ["[", "[" * 100_000, "[[]]", '["nobody"]', "1"])
def test_own_code_that_cannot_be_read_is_a_sentence(run: Path, own_code: str) -> None:
    rewrite(run, "spec", lambda _: {"own_code": own_code})
    assert any("some of its own code is not in the store" in each for each in verify_run(run).mistakes)
    with suppress(UserError):
        bench.open_run(run)


def test_a_manifest_without_an_end_is_a_sentence(run: Path) -> None:
    (run / "manifest.json").write_text("[" * 100_000)
    assert any(each.startswith("manifest.json cannot be read") for each in verify_run(run).mistakes)
    write(run, (run / FILE).read_bytes()[:-PAGE])
    assert verify_run(run).mistakes
