"""What a run folder keeps: plans, programs, drawn points, trials, timings and targets; the driver alone writes it."""

import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import canonical, digest
from dlkit.bench.machine.program import SOFTWARE_FIELDS
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Evaluations, Outcome, Timing, Trial
from dlkit.bench.store.database import Database
from dlkit.bench.store.example_scores import packed, unpacked
from dlkit.bench.store.tables import FORMAT, PARTS, TABLES
from dlkit.bench.tuning.targets import Ending, Frozen

__all__ = ["Record", "Store", "software_digest"]


class Record(NamedTuple):
    """An outcome as it was stored, with the program that made it."""

    outcome: Outcome
    program: Mapping[str, str]


class Store:
    """The results of a run. A context manager: a writer holds the run folder's lock until it is closed.

    Attributes:
        folder: the run folder; None for a store in memory.
    """

    def __init__(self, folder: Path | None, *, write: bool = True) -> None:
        """Opens or makes a run folder's store.

        Args:
            folder: the run folder; None keeps everything in memory.
            write: whether trials will be added; a run can be read while another process writes to it.

        Raises:
            UserError: for a folder that is missing, cannot be written, is in use, or was written in another format.
        """
        self.folder = folder
        self._database = Database(folder, write=write, version=FORMAT, tables=TABLES)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and gives the folder back."""
        self._database.close()

    # --- plans: table spec ---

    def use_plan(self, plan: Plan, sources: Mapping[str, str]) -> None:
        """Makes a plan the current one; every plan that ran here is kept."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO spec VALUES (?, ?, ?)", (plan.digest, to_json(plan), canonical(dict(sources)))
            )
            self._database.set_meta("current", plan.digest)
        self._write_manifest()

    def current_plan(self) -> Plan:
        """Returns the plan that ran here last.

        Raises:
            UserError: if none did.
        """
        rows = self._database.execute(
            "SELECT plan FROM spec JOIN meta ON meta.value = spec.digest WHERE meta.key = 'current'"
        )
        if not rows:
            raise UserError(f"{self.folder}: nothing ran in this folder yet")
        with self._database.parsing():
            return from_json(Plan, rows[0][0])

    # --- programs: table program ---

    def software(self) -> str | None:
        """Returns the digest of the software that stored trials last, None if there are none."""
        return self._database.meta("software")

    def use_software(self, program: Mapping[str, str]) -> None:
        """Makes the trials of one software the ones that `finished` and `records` answer with."""
        with self._database.transaction():
            self._database.set_meta("software", software_digest(program))

    @contextmanager
    def _made_by(self, program: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """A transaction for what a program made; yields the digests of its software and of all of it."""
        software, name = software_digest(program), digest(dict(program))
        new = not self._database.execute("SELECT 1 FROM program WHERE digest = ?", (name,))
        with self._database.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO program VALUES (?, ?, ?)", (name, software, canonical(dict(program)))
            )
            yield software, name
        if new:
            self._write_manifest()

    # --- drawn points: table drawn ---

    def add_points(self, search: str, before: int, points: Sequence[Point]) -> None:
        """Stores points that were drawn while a run goes on.

        Args:
            search: what they were drawn for, as `Plan.search_key` calls it.
            before: how many points it had.
            points: the next ones.
        """
        software = self.software()
        with self._database.transaction():
            for position, point in enumerate(points, before):
                row = (search, software, position, to_json(point))
                self._database.execute("INSERT OR REPLACE INTO drawn VALUES (?, ?, ?, ?)", row)

    def drawn(self) -> dict[str, list[Point]]:
        """Returns the points that were drawn while runs of the current software went on, in order."""
        rows = self._database.execute(
            "SELECT search, point FROM drawn WHERE software = ? ORDER BY search, position", (self.software(),)
        )
        found: dict[str, list[Point]] = {}
        with self._database.parsing():
            for search, point in rows:
                found.setdefault(search, []).append(from_json(Point, point))
        return found

    # --- trials: tables trial, curve, sample, example_score ---

    def add(self, outcomes: Sequence[Outcome], program: Mapping[str, str]) -> None:
        """Stores outcomes in one transaction.

        Args:
            outcomes: of one batch.
            program: the identity of the program that made them.
        """
        with self._made_by(program) as (software, name):
            for outcome in outcomes:
                self._insert(outcome, software, name)

    def _insert(self, outcome: Outcome, software: str, program: str) -> None:
        key = (outcome.trial.id, software)
        for table in PARTS:
            self._database.execute(f"DELETE FROM {table} WHERE trial = ? AND software = ?", key)
        self._database.execute(
            f"INSERT OR REPLACE INTO trial VALUES ({', '.join('?' * 17)})",
            (
                *key,
                program,
                canonical(outcome.trial.identity),
                outcome.status,
                _storable(outcome.reason),
                _storable(outcome.traceback),
                outcome.diverged_at,
                outcome.seconds,
                outcome.compile_seconds,
                canonical(dict(outcome.validation)),
                outcome.steps.astype("<i8").tobytes(),
                *outcome.evaluations,
                outcome.restored_at,
                None if outcome.gradients is None else outcome.gradients.astype("<f8").tobytes(),
            ),
        )
        if outcome.samples is not None:
            numbers = outcome.samples.astype("<f4").tobytes()
            shape = canonical(list(outcome.samples.shape))
            self._database.execute("INSERT INTO sample VALUES (?, ?, ?, ?)", (*key, shape, numbers))
        if outcome.example_scores is not None:
            row = (*key, *packed(outcome.example_scores))
            self._database.execute("INSERT INTO example_score VALUES (?, ?, ?, ?, ?)", row)
        for metric, points in outcome.curves.items():
            self._database.execute(
                "INSERT INTO curve VALUES (?, ?, ?, ?)", (*key, metric, points.astype("<f4").tobytes())
            )

    def finished(self) -> set[str]:
        """Returns the ids of the trials that need not run again: all but failed ones, by the current software."""
        rows = self._database.execute(
            "SELECT id FROM trial WHERE software = ? AND status != 'failed'", (self.software(),)
        )
        return {row[0] for row in rows}

    def records(self, ids: Iterable[str] | None = None) -> dict[str, Record]:
        """Returns stored trials by id.

        Args:
            ids: which; None for all of the current software.

        Returns:
            Id -> record, for those that are there.
        """
        with self._database.snapshot():
            software = self.software()
            programs = self._database.execute("SELECT digest, fields FROM program")
            points = self._database.execute("SELECT trial, metric, points FROM curve WHERE software = ?", (software,))
            generated = self._database.execute(
                "SELECT trial, shape, numbers FROM sample WHERE software = ?", (software,)
            )
            scored = self._database.execute(
                "SELECT trial, examples, form, scores FROM example_score WHERE software = ?", (software,)
            )
            rows = self._database.execute(
                "SELECT id, program, identity, status, reason, traceback, diverged_at, seconds, compile_seconds, "
                "validation, steps, gradient_evaluations, value_evaluations, hvp_evaluations, restored_at, gradients "
                "FROM trial WHERE software = ?",
                (software,),
            )
        wanted = None if ids is None else set(ids)
        with self._database.parsing():
            made_by = {name: json.loads(text) for name, text in programs}
            curves: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
            for trial, metric, blob in points:
                curves.setdefault(trial, {})[metric] = np.frombuffer(blob, "<f4")
            samples = {name: np.frombuffer(blob, "<f4").reshape(json.loads(shape)) for name, shape, blob in generated}
            scores = {name: unpacked(*packing) for name, *packing in scored}
            return {
                row[0]: Record(
                    _outcome(row, curves.get(row[0], {}), samples.get(row[0]), scores.get(row[0])), made_by[row[1]]
                )
                for row in rows
                if wanted is None or row[0] in wanted
            }

    # --- timings: table timing ---

    def keep_timings(self, timings: Mapping[str, Timing], program: Mapping[str, str], machine: str) -> None:
        """Stores what was timed side by side, by key; earlier timings of the same are replaced.

        Args:
            timings: of one problem's contenders.
            program: the identity of the program they are timings of.
            machine: which machine they are worth something on.
        """
        texts = {key: to_json(timing) for key, timing in timings.items()}
        session = digest(texts)
        with self._made_by(program) as (software, name):
            for key, text in texts.items():
                row = (key, software, name, machine, session, _storable(text))
                self._database.execute("INSERT OR REPLACE INTO timing VALUES (?, ?, ?, ?, ?, ?)", row)

    def timings(self) -> dict[str, Timing]:
        """Returns the current software's timings, by key."""
        rows = self._database.execute("SELECT key, timing FROM timing WHERE software = ?", (self.software(),))
        with self._database.parsing():
            return {key: from_json(Timing, text) for key, text in rows}

    def timed_together(self, keys: Iterable[str], machine: str) -> bool:
        """Whether all of these were timed side by side on a machine, by the current software."""
        rows = self._database.execute(
            "SELECT key, session FROM timing WHERE software = ? AND machine = ?", (self.software(), machine)
        )
        sessions = dict(rows)
        return len({sessions.get(key) for key in keys} - {None}) == 1 and set(keys) <= sessions.keys()

    # --- targets: tables target, ending ---

    def frozen(self) -> dict[str, Frozen]:
        """Returns the targets that were frozen, by key."""
        rows = self._database.execute("SELECT key, goals, source, digest FROM target")
        with self._database.parsing():
            return {key: Frozen(tuple(map(float, json.loads(goals))), *rest) for key, goals, *rest in rows}

    def freeze(self, key: str, problem: str, targets: Frozen) -> None:
        """Keeps targets for good; those that are there already stay what they are."""
        goals = canonical(list(targets.values))
        with self._database.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO target VALUES (?, ?, ?, ?, ?)",
                (key, problem, goals, targets.source, targets.digest),
            )
        self._write_manifest()

    def keep_endings(self, endings: Mapping[str, tuple[float, Ending]]) -> None:
        """Stores how trials came out against a target, by id; an earlier ending of the same trial is replaced."""
        software = self.software()
        with self._database.transaction():
            for name, (target, (kind, step)) in endings.items():
                goal = None if math.isnan(target) else target
                self._database.execute(
                    "INSERT OR REPLACE INTO ending VALUES (?, ?, ?, ?, ?)", (name, software, goal, kind, step)
                )

    def endings(self) -> dict[str, Ending]:
        """Returns how the current software's trials came out, by id."""
        rows = self._database.execute("SELECT trial, kind, step FROM ending WHERE software = ?", (self.software(),))
        return {name: Ending(kind, step) for name, kind, step in rows}

    # --- manifest ---

    def manifest(self) -> dict[str, Any]:
        """Returns what the run's numbers rest on: specs in canonical form, programs, data, sources of own functions."""
        with self._database.snapshot():
            current = self._database.meta("current")
            specs = self._database.execute(
                "SELECT digest, plan, sources FROM spec ORDER BY digest = ?, digest", (current,)
            )
            programs = self._database.execute("SELECT digest, fields FROM program ORDER BY digest")
            frozen = self._database.execute("SELECT problem, goals, source, digest FROM target ORDER BY problem, key")
        with self._database.parsing():
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
                "sources": {name: json.loads(text) for name, _, text in specs},
            }

    def _write_manifest(self) -> None:
        """Writes the manifest beside the store for people to read; moved into place whole."""
        if self.folder is None:
            return
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self.folder, suffix=".tmp", delete=False, encoding="utf-8"
            ) as file:
                json.dump(self.manifest(), file, indent=1, sort_keys=True)
            Path(file.name).chmod(0o644)
            Path(file.name).replace(self.folder / "manifest.json")
        except OSError as error:
            raise UserError(f"{self.folder}: manifest.json cannot be written: {error.strerror}") from None


def software_digest(program: Mapping[str, str]) -> str:
    """Returns the hash of the fields in which programs must agree for their trials to be compared."""
    return digest({name: program[name] for name in SOFTWARE_FIELDS})


def _outcome(
    row: Sequence[Any],
    curves: Mapping[str, np.ndarray[Any, Any]],
    samples: np.ndarray[Any, Any] | None,
    example_scores: np.ndarray[Any, Any] | None,
) -> Outcome:
    """Returns the outcome in a row of the table `trial`."""
    *row, restored, gradients = row
    name, _, identity, status, reason, trace, diverged_at, seconds, compile_seconds, validation, steps, *counts = row
    trial = Trial(name, json.loads(identity))
    done = np.frombuffer(steps, "<i8")
    ended = (status, reason, trace, diverged_at, seconds, compile_seconds)
    spent = None if gradients is None else np.frombuffer(gradients, "<f8")
    return Outcome(
        trial,
        *ended,
        done,
        curves,
        json.loads(validation),
        Evaluations(*counts),
        restored,
        samples,
        example_scores,
        spent,
    )


def _storable(text: str) -> str:
    """What SQLite can hold of a message: file names that are not UTF-8 leave halves of characters in it."""
    return text.encode("utf-8", "replace").decode("utf-8")
