"""The manifest: what a run's numbers rest on, for people to read."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.store.database import Database
from dlkit.bench.store.kept_code import about, sources_of
from dlkit.bench.store.tables import FORMAT

__all__ = ["manifest_of", "write_manifest"]


def manifest_of(database: Database) -> dict[str, Any]:
    """Returns what a run's numbers rest on: specs in canonical form, programs, data, sources of own functions."""
    with database.snapshot():
        current = database.meta("current")
        specs = database.execute("SELECT digest, plan, sources FROM spec ORDER BY digest = ?, digest", (current,))
        programs = database.execute("SELECT digest, fields FROM program ORDER BY digest")
        frozen = database.execute(
            "SELECT problem, goals, source, digest FROM target WHERE software = ? ORDER BY problem, key",
            (database.meta("software"),),
        )
        kept = {name: about(database, name) for name, _, _ in specs}
    with database.parsing():
        plans = {name: json.loads(text) for name, text, _ in specs}
        problems = [facts for each in plans.values() for facts in each["problems"]]  # the current spec's come last
        data = {facts["name"]: {"digest": facts["data"], "source": facts["data_source"]} for facts in problems}
        return {
            "format": FORMAT,
            "current": current,
            "specs": plans,
            "programs": {name: json.loads(text) for name, text in programs},
            "data": data,
            "targets": [
                {"problem": problem, "values": json.loads(goals), "source": source, "digest": name}
                for problem, goals, source, name in frozen
            ],
            "sources": {name: sources_of(json.loads(text), kept[name]) for name, _, text in specs},
        }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest beside the store; moved into place whole.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
            json.dump(manifest, file, indent=1, sort_keys=True)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(folder / "manifest.json")
    except OSError as error:
        raise UserError(f"{folder}: manifest.json cannot be written: {error.strerror}") from None
