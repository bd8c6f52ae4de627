"""A run whose store says something else than what was trained, digests and all: what replays have to find."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlkit.bench.store.database import FILE, Database, connect
from dlkit.bench.store.row_digests import row_digest, sum_of
from dlkit.bench.store.tables import SUM, TABLES

__all__ = ["rewrite", "sign"]


def rewrite(folder: Path, table: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Changes the rows of a table.

    Args:
        folder: the run folder.
        table: which.
        change: column -> value, to what is to be changed of it: column -> new value.
    """
    database = Database(connect(folder / FILE), folder)
    names = [each.name for each in TABLES[table].columns]
    with database.transaction():
        for row in database.rows(table):
            known = dict(zip(names, row, strict=True))
            if changed := change(known):
                database.remove(table, row[: TABLES[table].keys])
                database.put(table, list((known | changed).values()))
    database.close()


def sign(connection: sqlite3.Connection) -> None:
    """Gives every row of a store the digest that it should have, and every table its sum; `meta` comes last."""
    sums = {}
    for name in (*(name for name in TABLES if name != "meta"), "meta"):
        table = TABLES[name]
        if name == "meta":
            for each, total in sums.items():
                connection.execute("UPDATE meta SET value = ? WHERE key = ?", (str(total), f"{SUM}{each}"))
        rows = [row[:-1] for row in connection.execute(f"SELECT * FROM {name}")]
        digests = {row: row_digest(table, row) for row in rows}
        for row, digest in digests.items():
            where = (*row[: table.keys],)
            connection.execute(f"UPDATE {name} SET row_digest = ? WHERE {table.where}", (digest, *where))
        counted = [digest for row, digest in digests.items() if name != "meta" or not str(row[0]).startswith(SUM)]
        sums[name] = sum_of(counted)
    key, total = f"{SUM}meta", str(sums["meta"])
    connection.execute(
        "UPDATE meta SET value = ?, row_digest = ? WHERE key = ?",
        (total, row_digest(TABLES["meta"], (key, total)), key),
    )
