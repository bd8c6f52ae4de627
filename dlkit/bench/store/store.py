"""What a run folder keeps: plans, programs, drawn points, trials, timings and targets; the driver alone writes it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import canonical, digest
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.parameter_groups import AllGroups, ParameterGroup
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Timing
from dlkit.bench.store.database import Database
from dlkit.bench.store.kept_code import About, KeptCode, about, fetch, insert_code
from dlkit.bench.store.manifest import manifest_of, write_manifest
from dlkit.bench.store.software import software_digest
from dlkit.bench.store.tables import FORMAT, PARTS, TABLES
from dlkit.bench.store.trial_rows import Record, insert, read, storable
from dlkit.bench.tuning.targets import Ending, Frozen

__all__ = ["Apart", "Store"]

ASIDE = ", set aside: "  # marks the software of rows that are kept and not found
BROKEN = ", broken"  # marks that of rows which say why a stored trial does not run any more


class Apart(NamedTuple):
    """Trials that are kept in a run folder and not found, as they are not of the current software, or were set aside.

    Attributes:
        trials: their ids.
        program: what made one of them.
        set_aside: whether they were set aside.
    """

    trials: frozenset[str]
    program: Mapping[str, str]
    set_aside: bool


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

    # --- plans: tables spec, own_code and buffer ---

    def use_plan(
        self, plan: Plan, sources: Mapping[str, str], code: Sequence[About] = (), groups: AllGroups | None = None
    ) -> None:
        """Makes a plan the current one; every plan that ran here is kept.

        Args:
            plan: which.
            sources: file -> text of one's own functions.
            code: what is kept of what is one's own in it.
            groups: which rule trains which parameters.
        """
        kept = {file for each in code for file in each.sources}
        others = {file: text for file, text in sources.items() if file not in kept}
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO spec VALUES (?, ?, ?, ?)",
                (plan.digest, to_json(plan), canonical(others), json.dumps([each.digest for each in code])),
            )
            self._database.set_meta("current", plan.digest)
            self._database.set_meta("groups", to_json(groups or {}))
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

    def groups(self) -> AllGroups:
        """Returns which rule trains which parameters, of the plan that ran here last; empty where nothing tells."""
        text = self._database.meta("groups")
        with self._database.parsing():
            return {} if text is None else from_json(dict[str, dict[str, list[ParameterGroup]]], text)

    def keep_code(self, kept: KeptCode) -> str | None:
        """Stores the code of one of one's own objects; returns its digest, None if it were too much to keep."""
        with self._database.transaction():
            return insert_code(self._database, kept)

    def sources(self, spec: str) -> dict[str, str]:
        """Returns file -> text of those of one's own functions whose code was not kept, by the plan's digest."""
        rows = self._database.execute("SELECT sources FROM spec WHERE digest = ?", (spec,))
        with self._database.parsing():
            return json.loads(rows[0][0]) if rows else {}

    def about_code(self, spec: str) -> list[About]:
        """Returns what is known of the code that was kept with a plan, by the plan's digest."""
        return about(self._database, spec)

    def code(self, spec: str, owner: str) -> KeptCode | None:
        """Returns what was kept with a plan of the code of one owner, with its content; None if nothing was."""
        return fetch(self._database, spec, owner)

    # --- programs: table program ---

    def software(self) -> str | None:
        """Returns the digest of the software that stored trials last, None if there are none."""
        return self._database.meta("software")

    def use_software(self, program: Mapping[str, str]) -> None:
        """Makes the trials of one software the ones that `finished` and `records` answer with."""
        with self._database.transaction():
            self._database.set_meta("software", software_digest(program))

    def program(self) -> Mapping[str, str] | None:
        """Returns a program of the current software; None if it stored nothing yet."""
        rows = self._database.execute("SELECT MIN(fields) FROM program WHERE software = ?", (self.software(),))
        with self._database.parsing():
            return None if rows[0][0] is None else json.loads(rows[0][0])

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
                insert(self._database, outcome, software, name)

    def keep_broken(self, failures: Sequence[Outcome], program: Mapping[str, str]) -> None:
        """Stores why trials do not run any more, in place of what was said of that before; they stay as they are.

        Args:
            failures: one a trial.
            program: the identity of the program that they failed in.
        """
        with self._made_by(program) as (software, name):
            self._database.execute("DELETE FROM trial WHERE software = ?", (software + BROKEN,))
            for outcome in failures:
                insert(self._database, outcome, software + BROKEN, name)

    def broken(self) -> dict[str, Record]:
        """Returns the failures of stored trials of the current software that do not run any more, by id."""
        return read(self._database, f"{self.software()}{BROKEN}", None)

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
        return read(self._database, self.software(), ids)

    def set_aside(
        self,
        *,
        trials: Iterable[str],
        searches: Iterable[str] = (),
        timings: Iterable[str] = (),
        targets: Iterable[str] = (),
    ) -> None:
        """Keeps some of the current software's rows where nothing finds them: they will be made again.

        Args:
            trials: ids.
            searches: whose drawn points, as `add_points` calls them.
            timings: keys.
            targets: the problems whose frozen targets.
        """
        software = self.software()
        columns = {
            "trial.id": trials,
            **{f"{table}.trial": trials for table in (*PARTS, "ending")},
            "drawn.search": searches,
            "timing.key": timings,
            "target.problem": targets,
        }
        (marks,) = self._database.execute(
            "SELECT COUNT(DISTINCT software) FROM trial WHERE instr(software, ?)", (ASIDE,)
        )
        with self._database.transaction():
            for name, values in columns.items():
                table, column = name.split(".")
                for value in values:
                    self._database.execute(
                        f"UPDATE {table} SET software = ? WHERE {column} = ? AND software = ?",
                        (f"{software}{ASIDE}{marks[0] + 1}", value, software),
                    )
        self._write_manifest()

    def apart(self) -> list[Apart]:
        """Returns which trials are kept and not found: of other software than the current, and those set aside."""
        rows = self._database.execute(
            "SELECT trial.software, trial.id, program.fields FROM trial JOIN program ON trial.program = program.digest "
            "WHERE trial.software IS NOT ? AND NOT instr(trial.software, ?) ORDER BY trial.software",
            (self.software(), BROKEN),
        )
        with self._database.parsing():
            by_software = [(name, list(group)) for name, group in groupby(rows, key=itemgetter(0))]
            return [
                Apart(frozenset(row[1] for row in group), json.loads(group[0][2]), ASIDE in name)
                for name, group in by_software
            ]

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
                row = (key, software, name, machine, session, storable(text))
                self._database.execute("INSERT OR REPLACE INTO timing VALUES (?, ?, ?, ?, ?, ?)", row)

    def timings(self) -> dict[str, Timing]:
        """Returns the current software's timings, by key."""
        rows = self._database.execute("SELECT key, timing FROM timing WHERE software = ?", (self.software(),))
        with self._database.parsing():
            return {key: from_json(Timing, text) for key, text in rows}

    def copy_timings(self, other: "Store") -> None:
        """Stores the timings of another store of the same software; they stay timed side by side."""
        rows = other._database.execute(
            "SELECT timing.*, program.fields FROM timing JOIN program ON timing.program = program.digest "
            "WHERE timing.software = ?",
            (self.software(),),
        )
        with self._database.transaction():
            for *row, fields in rows:
                program = (row[2], row[1], fields)
                self._database.execute("INSERT OR IGNORE INTO program VALUES (?, ?, ?)", program)
                self._database.execute("INSERT OR REPLACE INTO timing VALUES (?, ?, ?, ?, ?, ?)", row)

    def timed_together(self, keys: Iterable[str], machine: str) -> bool:
        """Whether all of these were timed side by side on a machine, by the current software."""
        rows = self._database.execute(
            "SELECT key, session FROM timing WHERE software = ? AND machine = ?", (self.software(), machine)
        )
        sessions = dict(rows)
        return len({sessions.get(key) for key in keys} - {None}) == 1 and set(keys) <= sessions.keys()

    # --- targets: tables target, ending ---

    def frozen(self) -> dict[str, Frozen]:
        """Returns the targets that were frozen from the current software's trials, by key."""
        rows = self._database.execute(
            "SELECT key, goals, source, digest FROM target WHERE software = ?", (self.software(),)
        )
        with self._database.parsing():
            return {key: Frozen(tuple(map(float, json.loads(goals))), *rest) for key, goals, *rest in rows}

    def problems_of_targets(self) -> dict[str, str]:
        """Returns whose the current software's frozen targets are: key -> problem."""
        return dict(self._database.execute("SELECT key, problem FROM target WHERE software = ?", (self.software(),)))

    def freeze(self, key: str, problem: str, targets: Frozen) -> None:
        """Keeps targets for good; those of the current software that are there already stay what they are."""
        row = (key, self.software(), problem, canonical(list(targets.values)), targets.source, targets.digest)
        with self._database.transaction():
            self._database.execute("INSERT OR IGNORE INTO target VALUES (?, ?, ?, ?, ?, ?)", row)
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
        return manifest_of(self._database)

    def _write_manifest(self) -> None:
        """Writes the manifest beside the store for people to read; moved into place whole."""
        if self.folder is not None:
            write_manifest(self.folder, self.manifest())
