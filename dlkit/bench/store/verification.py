"""Everything that can be wrong with a run folder, found without training: file, rows, models, manifest."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from dlkit.bench.doors import MOST_UNPACKED, read_plain
from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest, digest_of
from dlkit.bench.plan.json import from_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.store.database import FILE, Damaged, Database, Row, connect
from dlkit.bench.store.manifest import manifest_of
from dlkit.bench.store.models import every_model, read_model
from dlkit.bench.store.opening import Opened, require_sound
from dlkit.bench.store.salvage import MANIFEST
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.store.trial_rows import IDENTITIES, read

__all__ = ["mistakes_in"]


def mistakes_in(folder: Path) -> list[str]:
    """Returns what is wrong with a run folder, a sentence each; nothing of a sound one. Nothing is written.

    Args:
        folder: the run folder.

    Raises:
        UserError: if there is no run, or none that can be read at all.
    """
    opened = Opened(folder, write=False)
    try:
        database = opened.database
        found = [] if opened.format < FORMAT else list(_of_the_file(folder))
        for name in ("trial", "buffer"):  # which opening leaves out
            database.rows(name)
        if opened.damage is not None:
            found += opened.damage.sentences()
            found += [f"trial {name}: its row is not what was written" for name in opened.damage.trials]
        else:
            found += _of_trials(database)
            found += _of_links(database)
            found += _of_the_manifest(folder, database, is_current=opened.format == FORMAT)
        found += _of_models(folder)
        return found
    finally:
        opened.close()


def _of_the_file(folder: Path) -> Iterator[str]:
    """SQLite's own structure, each row's digest and each table's sum."""
    connection = connect(folder / FILE)
    try:
        require_sound(Database(connection, folder))
    except (Damaged, sqlite3.DatabaseError) as error:
        yield f"{FILE}: {error.what if isinstance(error, Damaged) else error}"
    finally:
        connection.close()


def _of_trials(database: Database) -> Iterator[str]:
    """What trials say of themselves: that their ids are those of their content, and curves as long as their steps."""
    for software in sorted({row[1] for row in database.rows("trial")}):
        try:
            records = read(database, software)
        except (ValueError, KeyError, TypeError) as error:
            yield f"a trial of software {software} cannot be read: {error}"
            continue
        for name, (outcome, _) in records.items():
            if digest(dict(outcome.trial.identity)) != name:
                yield f"trial {name}: its content has another id"
            lengths = {len(points) for points in outcome.curves.values()}
            if outcome.counts and lengths - {len(outcome.steps)}:
                yield f"trial {name}: its curves have other lengths than its steps"


def _of_links(database: Database) -> Iterator[str]:
    """What one table says of another; and hashes that name what they are of."""
    programs = {row[0] for row in database.rows("program")}
    for table in ("trial", "timing"):
        for row in database.rows(table):
            if row[2] not in programs:
                yield f"{table} {row[0]}: its program is not in the store"
    copies: list[dict[str, str]] = [dict(database.rows(name)) for name in IDENTITIES]
    first, second = copies
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name) or digest_of(first.get(name, "")) != name:
            yield f"identity {name}: its two copies differ, or it is another one's"
    kept = {row[0]: row for row in database.rows("own_code")}
    buffers = {row[0] for row in database.rows("buffer")}
    for name, plan, _, own_code in database.rows("spec"):
        if digest_of(plan) != name:
            yield f"spec {name}: its content has another hash"
        try:
            from_json(Plan, plan)
        except UserError as error:
            yield f"spec {name}: {error}"
        if not _is_whole(own_code, kept, buffers):
            yield f"spec {name}: some of its own code is not in the store"
    current = database.meta("current")
    if current is not None and not database.has("spec", current):
        yield f"the current spec {current} is not in the store"


def _is_whole(own_code: str, kept: Mapping[str, Row], buffers: set[str]) -> bool:
    """Whether all code that a spec names is there, with its arrays."""
    try:
        return all({*json.loads(kept[each][4]), kept[each][5]} <= buffers for each in json.loads(own_code))
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _of_the_manifest(folder: Path, database: Database, *, is_current: bool) -> Iterator[str]:
    """The manifest says what the store says."""
    try:
        said = json.loads(read_plain(folder / MANIFEST, MOST_UNPACKED))
    except (OSError, ValueError, RecursionError) as error:
        yield f"{MANIFEST} cannot be read: {getattr(error, 'strerror', None) or error}; the next run writes it again"
        return
    try:
        right = json.loads(json.dumps(manifest_of(database))) if is_current else said
    except UserError as error:
        yield str(error)
        return
    if said != right:
        yield f"{MANIFEST} says something else than the store; the next run writes it again"


def _of_models(folder: Path) -> Iterator[str]:
    """Models beside the store have their checksums."""
    try:
        for each in every_model(folder):
            try:
                read_model(folder, each)
            except UserError as error:
                yield str(error)
    except UserError as error:
        yield str(error)
