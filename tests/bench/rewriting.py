"""A run whose store says something else than what was trained, digests and all: what replays have to find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlkit.bench.store.database import FILE, Database, connect
from dlkit.bench.store.tables import TABLES

__all__ = ["rewrite"]


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
