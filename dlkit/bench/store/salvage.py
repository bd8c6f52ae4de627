"""What a damaged file still has: every row that is what was written; and what is lost, by name where that is known."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.doors import MOST_UNPACKED, read_plain
from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import canonical, digest, digest_of
from dlkit.bench.store.database import FILE, PAGE
from dlkit.bench.store.pages import Found, rows_in
from dlkit.bench.store.row_digests import Sum
from dlkit.bench.store.tables import FORMAT, SUM, TABLES

__all__ = ["MANIFEST", "Damage", "Salvaged", "manifest_beside", "salvage"]

MANIFEST = "manifest.json"
MOST_NAMED = 5  # trials in one sentence
ID = re.compile("[0-9a-f]{16}")
Row = tuple[Any, ...]
NAMES = {
    "spec": ("spec", "a report of its sources lacks them"),
    "own_code": ("object of your own code", "to replay its trials, name the spec"),
    "buffer": ("array of your own code", "to replay its trials, name the spec"),
    "program": ("program", "who made which trial is not known"),
    "drawn": ("drawn point", "they are drawn again"),
    "trial": ("trial", ""),
    "timing": ("timing", "`dlkit run --time` times them again"),
    "target": ("target", "they are frozen again, from the same trials"),
    "ending": ("ending", "they are written again"),
    "meta": ("fact about the run", "they are written again"),
}


class Damage(NamedTuple):
    """What is lost of a store.

    Attributes:
        trials: ids of trials that are damaged, as far as they can be read.
        lost: table -> how many of its rows are not there any more, or are not what was written; -1 where how many there
            were is not known.
    """

    trials: Sequence[str]
    lost: Mapping[str, int]

    @property
    def lost_trials(self) -> int:
        """How many trials are lost, or -1 if that is not known."""
        known = self.lost.get("trial", 0)
        return known if known < 0 else max(known, len(self.trials))

    def sentences(self) -> list[str]:
        """Returns what to tell the user, a sentence each; the first one says what of the numbers is concerned."""
        found, count = list[str](), self.lost_trials
        if count:
            named = ", ".join(self.trials[:MOST_NAMED])
            more = "" if count <= len(self.trials[:MOST_NAMED]) else ", ..." if named else ""
            which = f" ({named}{more})" if named else ""
            many = f"{count} trials are" if count > 1 else "1 trial is" if count == 1 else "Trials may be"
            found.append(
                f"This run's store is damaged. {many} lost{which} and left out of every number; the same spec run "
                "again trains what is missing."
            )
        else:
            found.append("This run's store is damaged, and every trial in it could be read.")
        for table, lost in self.lost.items():
            name, then = NAMES.get(table, ("", ""))
            if lost and then:
                many = f"{lost} {name}s are" if lost > 1 else f"1 {name} is" if lost == 1 else f"Some {name}s may be"
                found.append(f"{many} lost, too: {then}.")
        return found


class Salvaged(NamedTuple):
    """Rows of a damaged file.

    Attributes:
        rows: table -> those that are what was written.
        damage: what is lost.
    """

    rows: Mapping[str, Sequence[Row]]
    damage: Damage


def salvage(folder: Path) -> Salvaged:
    """Reads a damaged store, whatever SQLite says of it. Nothing is written.

    Args:
        folder: the run folder. What its manifest knows of specs and programs takes the place of what is lost of them.

    Raises:
        UserError: if nothing in the file is a row of a store.
    """
    try:
        data = (folder / FILE).read_bytes()
    except OSError as error:
        raise UserError(f"{folder}: {FILE} cannot be read: {error.strerror}") from None
    said = int.from_bytes(data[16:18])
    sizes = {PAGE, said} if said in (512, 1024, 2048, 4096, 8192, 16384, 32768) else {PAGE}
    found = max((list(rows_in(data, size)) for size in sizes), key=lambda each: sum(row.is_right for row in each))
    rows = _right(found)
    if not any(rows.values()):
        raise UserError(
            f"{folder}: {FILE} cannot be used: nothing in its {len(data):,} bytes is a row of a run's store; put it "
            "back from a copy, or name another folder"
        )
    meta = {key: value for key, value in rows["meta"].values() if not key.startswith(SUM)}
    expected = _sums(rows["meta"].values())
    counts = {name: len(meta if name == "meta" else rows[name]) for name in TABLES}
    lost = {name: expected[name].rows - counts[name] if name in expected else -1 for name in TABLES}
    broken = [row.row for row in found if row.table.name == "trial" and not row.is_right]
    _complete(rows, meta, manifest_beside(folder))
    lost["program"] -= len(rows["program"]) - counts["program"] if lost["program"] > 0 else 0
    shared = {**rows["identity_copy"], **rows["identity"]}
    for name in ("identity", "identity_copy"):
        rows[name] = dict(shared)
        lost.pop(name)
    homeless = [
        key for key, row in rows["trial"].items() if (row[3],) not in shared or (row[2],) not in rows["program"]
    ]
    for key in homeless:
        del rows["trial"][key]
    lost["trial"] += len(homeless) if lost["trial"] >= 0 else 0
    names = [*(_named(row, shared) for row in broken), *(name for name, _ in homeless)]
    names = [name for name in names if ID.fullmatch(name)]  # else it is no id any more
    known = {name for name, _ in rows["trial"]}
    kept: dict[str, Sequence[Row]] = {name: list(each.values()) for name, each in rows.items()}
    kept["drawn"] = _unbroken(rows["drawn"].values())
    kept["meta"] = list({**meta, "format": str(FORMAT)}.items())
    damage = Damage(
        [name for name in dict.fromkeys(names) if name not in known],
        {name: count for name, count in lost.items() if count},
    )
    return Salvaged(kept, damage)


def _sums(meta: Iterable[Row]) -> dict[str, Sum]:
    """How many rows tables had, as far as that can be read."""
    found: dict[str, Sum] = {}
    for key, value in meta:
        if key.startswith(SUM):
            with suppress(ValueError):
                found[key[len(SUM) :]] = Sum.parse(value)
    return found


def manifest_beside(folder: Path) -> Mapping[str, Any]:
    """Returns what a run folder's manifest says; nothing if there is none, or it is not what was written."""
    try:
        manifest = json.loads(read_plain(folder / MANIFEST, MOST_UNPACKED))
        said = manifest.pop("digest", None)
        return manifest if said == digest(manifest, length=64) else {}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _right(found: Iterable[Found]) -> dict[str, dict[Any, Row]]:
    """The rows that are what was written, by table and key. Of two with one key neither is known to be the last."""
    rows: dict[str, dict[Any, Row]] = {name: {} for name in TABLES}
    twice = set[tuple[str, Any]]()
    for table, row, is_right in found:
        key = row[: table.keys]
        if is_right and rows[table.name].setdefault(key, row) != row:
            twice.add((table.name, key))
    for name, key in twice:
        del rows[name][key]
    return rows


def _named(row: Row, shared: Mapping[Any, Row]) -> str:
    """The id of a damaged trial: as it stands there, or, where it is that itself which is damaged, of its content."""
    name, _, _, identity, hyperparameters, seed, *_ = row
    try:
        whole = {**json.loads(shared[identity,][1]), "hyperparameters": json.loads(hyperparameters), "seed": seed}
        content = digest(whole)
    except (ValueError, KeyError, TypeError, RecursionError):
        return str(name)
    differing = sum(one != other for one, other in zip(str(name), content, strict=False))
    return content if len(content) == len(str(name)) and differing == 1 else str(name)


def _complete(rows: dict[str, dict[Any, Row]], meta: dict[str, str], manifest: Mapping[str, Any]) -> None:
    """Adds what the manifest knows: specs and programs are named by their own hash."""
    for name, plan in manifest.get("specs", {}).items():
        text = canonical(plan)
        if (name,) not in rows["spec"] and digest_of(text) == name:
            sources = canonical(manifest.get("sources", {}).get(name, {}))
            rows["spec"][name,] = (name, text, sources, "[]")
    made = {row[2]: row[1].partition(", ")[0] for row in (*rows["timing"].values(), *rows["trial"].values())}
    for name, fields in manifest.get("programs", {}).items():
        if name in made and (name,) not in rows["program"] and digest(fields) == name:
            rows["program"][name,] = (name, made[name], canonical(fields))
    for key in ("current", "software"):
        if key not in meta and manifest.get(key):
            meta[key] = manifest[key]


def _unbroken(rows: Iterable[Row]) -> list[Row]:
    """Drawn points up to the first that is lost: each follows from those before it."""
    kept, expected = list[Row](), dict[tuple[str, str], int]()
    for row in sorted(rows):
        search = (row[0], row[1])
        if row[2] == expected.get(search, 0):
            kept.append(row)
            expected[search] = row[2] + 1
    return kept
