"""Stores of older formats, as rows of today's. Their rows have no digests: only what is plainly wrong is found."""

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest_of
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.store.trial_rows import split_identity

__all__ = ["OLDEST", "rows_of_older"]

OLDEST = 5  # of those before, trials and specs said less of what was trained: nothing tells which trials are whose
SAME = ("program", "drawn", "timing", "target", "ending")  # tables that are what they were
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
        specs = dict(_specs(connection, {name for name, *_ in own_code}))
        if meta.get("current") in specs:
            meta["current"] = specs[meta["current"]][0]
        rows: dict[str, Sequence[Row]] = {
            "meta": list({**meta, "format": str(FORMAT)}.items()),
            "spec": list({row[0]: row for row in specs.values()}.values()),
            "own_code": own_code,
            "buffer": buffers,
            **{name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in SAME},
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


def _specs(connection: sqlite3.Connection, kept: set[str]) -> Iterator[tuple[str, Row]]:
    """Yields each spec under its former hash: plans may say more now, and their hash is that of all they say.

    Code that was kept in one piece for all its owners is left out.
    """
    with_code = "own_code" in _columns(connection, "spec")
    for name, text, sources, *code in connection.execute("SELECT * FROM spec"):
        listed = code[0] if with_code and str(code[0]).startswith("[") else "[]"
        plan = from_json(Plan, text)
        own = [each for each in json.loads(listed) if each in kept]
        yield name, (plan.digest, to_json(plan), sources, json.dumps(own))


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
