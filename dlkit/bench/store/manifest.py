"""The manifest: what a run's numbers rest on, for people to read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlkit.bench.doors import whole_file
from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest
from dlkit.bench.store.database import Database
from dlkit.bench.store.kept_code import about, sources_of
from dlkit.bench.store.tables import FORMAT

__all__ = ["manifest_of", "write_manifest"]


def manifest_of(database: Database) -> dict[str, Any]:
    """Returns what a run's numbers rest on: specs in canonical form, programs, data, sources of own functions.

    Its digest is of all the rest of it.
    """
    with database.snapshot():
        current, software = database.meta("current"), database.meta("software")
        specs = sorted(database.rows("spec"), key=lambda row: (row[0] == current, row[0]))
        programs = sorted(database.rows("program"))
        frozen = sorted((row[2], row[0], *row[3:]) for row in database.rows("target") if row[1] == software)
        kept = {name: about(database, name) for name, *_ in specs}
    with database.parsing():
        plans = {name: json.loads(text) for name, text, *_ in specs}
        problems = [facts for each in plans.values() for facts in each["problems"]]  # the current spec's come last
        manifest = {
            "format": FORMAT,
            "current": current,
            "software": software,
            "specs": plans,
            "programs": {name: json.loads(text) for name, _, text in programs},
            "data": {facts["name"]: {"digest": facts["data"], "source": facts["data_source"]} for facts in problems},
            "targets": [
                {"problem": problem, "values": json.loads(goals), "source": source, "digest": name}
                for problem, _, goals, source, name in frozen
            ],
            "sources": {name: sources_of(json.loads(text), kept[name]) for name, _, text, _ in specs},
        }
    return {**manifest, "digest": digest(manifest, length=64)}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest beside the store; moved into place whole.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with whole_file(folder / "manifest.json", "w") as file:
            json.dump(manifest, file, indent=1, sort_keys=True)
    except OSError as error:
        raise UserError(f"{folder}: manifest.json cannot be written: {error.strerror}") from None
