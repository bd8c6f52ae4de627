"""Stores of older formats, as rows of today's. Their rows have no digests: only what is plainly wrong is found."""

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest_of
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.store.trial_rows import split_identity

__all__ = ["OLDEST", "rows_of_older"]

OLDEST = 4  # of the formats before, final trials were judged on validation: their numbers mean something else
Row = tuple[Any, ...]


def rows_of_older(connection: sqlite3.Connection) -> dict[str, Sequence[Row]]:
    """Returns the rows of a store of an older format, as today's tables have them.

    Args:
        connection: to the file.

    Raises:
        UserError: for a row that cannot be what was written.
        sqlite3.Error: for a damaged file.
    """
    connection.execute("BEGIN")
    try:
        (state,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        own_code, buffers = _own_code(connection)
        rows: dict[str, Sequence[Row]] = {
            "meta": list({**meta, "format": str(FORMAT)}.items()),
            "spec": list(_specs(connection, {name for name, *_ in own_code})),
            "own_code": own_code,
            "buffer": buffers,
            **{name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("program", "drawn", "timing")},
            "target": list(_targets(connection, meta.get("software", ""))),
            "ending": connection.execute("SELECT * FROM ending").fetchall(),
        }
        shared: dict[str, str] = {}
        rows["trial"] = list(_trials(connection, shared))
        rows["identity"] = rows["identity_copy"] = list(shared.items())
        return rows
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"a row of this store is damaged: {error}") from None
    finally:
        connection.execute("ROLLBACK")


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _specs(connection: sqlite3.Connection, kept: set[str]) -> Iterator[Row]:
    """Specs; code that was kept in one piece for all its owners is left out."""
    with_code = "own_code" in _columns(connection, "spec")
    for name, plan, sources, *code in connection.execute("SELECT * FROM spec"):
        listed = code[0] if with_code and str(code[0]).startswith("[") else "[]"
        yield name, plan, sources, json.dumps([each for each in json.loads(listed) if each in kept])


def _own_code(connection: sqlite3.Connection) -> tuple[list[Row], list[Row]]:
    """What was kept of one's own code, its content among the arrays."""
    if not _columns(connection, "own_code"):
        return [], []
    buffers = dict(connection.execute("SELECT digest, bytes FROM buffer"))
    found = []
    for name, facts, modules, settings, names, data in connection.execute("SELECT * FROM own_code"):
        if "owner" in json.loads(facts):
            content = hashlib.sha256(data).hexdigest()
            buffers[content] = data
            found.append((name, facts, modules, settings, names, content))
    return found, list(buffers.items())


def _targets(connection: sqlite3.Connection, software: str) -> Iterator[Row]:
    """Frozen targets; at first they did not say of which software they are."""
    is_said = "software" in _columns(connection, "target")
    for row in connection.execute("SELECT * FROM target"):
        yield row if is_said else (row[0], software, *row[1:])


def _trials(connection: sqlite3.Connection, shared: dict[str, str]) -> Iterator[Row]:
    """Trials with their curves, samples and scores, which had tables of their own.

    Args:
        connection: to the file.
        shared: gets what identities share, by its digest.
    """
    curves: dict[tuple[str, str], list[tuple[str, bytes]]] = defaultdict(list)
    for trial, software, metric, points in connection.execute("SELECT trial, software, metric, points FROM curve"):
        curves[trial, software].append((metric, points))
    samples = _by_trial(connection, "sample", "shape, numbers")
    scores = _by_trial(connection, "example_score", "examples, form, scores")
    for row in connection.execute(
        "SELECT id, software, program, identity, status, reason, traceback, diverged_at, seconds, compile_seconds, "
        "validation, gradient_evaluations, value_evaluations, hvp_evaluations, restored_at, steps, gradients FROM trial"
    ):
        name, software, program, identity, *rest = row
        common, hyperparameters, seed = split_identity(json.loads(identity))
        digest = digest_of(common)
        shared[digest] = common
        own = curves[name, software]
        yield (
            name,
            software,
            program,
            digest,
            hyperparameters,
            seed,
            *rest,
            json.dumps([[metric, len(points) // 4] for metric, points in own]),
            b"".join(points for _, points in own),
            *samples.get((name, software), (None, None)),
            *scores.get((name, software), (None, None, None)),
        )


def _by_trial(connection: sqlite3.Connection, table: str, columns: str) -> Mapping[tuple[str, str], Row]:
    return {
        (trial, software): tuple(rest)
        for trial, software, *rest in connection.execute(f"SELECT trial, software, {columns} FROM {table}")
    }
