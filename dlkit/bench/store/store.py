"""What a run folder keeps: plans, programs, drawn points, trials, timings and targets; the driver alone writes it."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

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
from dlkit.bench.store.opening import Opened
from dlkit.bench.store.software import Apart, software_digest
from dlkit.bench.store.tables import TABLES
from dlkit.bench.store.trial_rows import Record, insert, read, storable
from dlkit.bench.tuning.targets import Ending, Frozen

__all__ = ["Store"]

ASIDE = ", set aside: "  # marks the software of rows that are kept and not found
BROKEN = ", broken"  # marks that of rows which say why a stored trial does not run any more


class Store:
    """The results of a run. A context manager: a writer holds the run folder's lock until it is closed.

    Attributes:
        folder: the run folder; None for a store in memory.
    """

    def __init__(self, folder: Path | None, *, write: bool = True, say: Callable[[str], None] | None = None) -> None:
        """Opens or makes a run folder's store.

        Args:
            folder: the run folder; None keeps everything in memory.
            write: whether trials will be added; a run can be read while another process writes to it.
            say: is told before a damaged store is repaired, or one of an older format converted; without it a writer
                refuses such a store, and names the command. A reader changes nothing.

        Raises:
            UserError: for a folder that is missing, cannot be written, is in use, or was written in a newer format.
        """
        self.folder = folder
        self._opened = Opened(folder, write=write, say=say)
        self._parsed: tuple[Any, str | None, Mapping[str, Record]] = (None, None, {})

    @property
    def _database(self) -> Database:
        return self._opened.database

    @property
    def format(self) -> int:
        """The format of the file: an older one of a run that is only read."""
        return self._opened.format

    @property
    def damaged(self) -> list[str]:
        """What is lost of a damaged store, a sentence each, as far as it was noticed; empty of a sound one."""
        return [] if self._opened.damage is None else self._opened.damage.sentences()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and gives the folder back."""
        self._opened.close()

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
            self._database.put(
                "spec", (plan.digest, to_json(plan), canonical(others), json.dumps([each.digest for each in code]))
            )
            self._database.set_meta("current", plan.digest)
            self._database.set_meta("groups", to_json(groups or {}))
        self._write_manifest()

    def current_plan(self) -> Plan:
        """Returns the plan that ran here last.

        Raises:
            UserError: if none did.
        """
        name = self._database.meta("current")
        row = None if name is None else self._database.get("spec", name)
        if row is None:
            raise UserError(f"{self.folder}: nothing ran in this folder yet")
        with self._database.parsing():
            return from_json(Plan, row[1])

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
        row = self._database.get("spec", spec)
        with self._database.parsing():
            return {} if row is None else json.loads(row[2])

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
        software = software_digest(program)
        if software != self.software():
            with self._database.transaction():
                self._database.set_meta("software", software)
            self._write_manifest()

    def program(self) -> Mapping[str, str] | None:
        """Returns a program of the current software; None if it stored nothing yet."""
        software = self.software()
        fields = [row[2] for row in self._database.rows("program") if row[1] == software]
        with self._database.parsing():
            return json.loads(min(fields)) if fields else None

    @contextmanager
    def _made_by(self, program: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """A transaction for what a program made; yields the digests of its software and of all of it."""
        software, name = software_digest(program), digest(dict(program))
        new = not self._database.has("program", name)
        with self._database.transaction():
            if new:
                self._database.put("program", (name, software, canonical(dict(program))))
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
                self._database.put("drawn", (search, software, position, to_json(point)))

    def drawn(self) -> dict[str, list[Point]]:
        """Returns the points that were drawn while runs of the current software went on, in order."""
        now, found = self.software(), dict[str, list[Point]]()
        with self._database.parsing():
            for search, software, _, point in sorted(self._database.rows("drawn")):
                if software == now:
                    found.setdefault(search, []).append(from_json(Point, point))
        return found

    # --- trials: tables trial, identity ---

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
            for trial, of, *_ in self._database.rows("trial"):
                if of == software + BROKEN:
                    self._database.remove("trial", (trial, of))
            for outcome in failures:
                insert(self._database, outcome, software + BROKEN, name)

    def broken(self) -> dict[str, Record]:
        """Returns the failures of stored trials of the current software that do not run any more, by id."""
        return read(self._database, f"{self.software()}{BROKEN}")

    def finished(self) -> set[str]:
        """Returns the ids of the trials that need not run again: all but failed ones, by the current software."""
        now, status = self.software(), TABLES["trial"].place("status")
        return {row[0] for row in self._database.rows("trial") if row[1] == now and row[status] != "failed"}

    def records(self, ids: Iterable[str] | None = None) -> dict[str, Record]:
        """Returns stored trials by id.

        Args:
            ids: which; None for all of the current software.

        Returns:
            Id -> record, for those that are there.
        """
        known = self._known(self.software())
        return dict(known) if ids is None else {name: known[name] for name in set(ids) if name in known}

    def _known(self, software: str | None) -> Mapping[str, Record]:
        """The trials of a software, parsed once as long as nothing is written."""
        with self._database.snapshot():
            rows = self._database.rows("trial")
            if self._parsed[0] is not rows or self._parsed[1] != software:
                self._parsed = (rows, software, read(self._database, software))
        return self._parsed[2]

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
        chosen = {
            "trial.id": set(trials),
            "ending.trial": set(trials),
            "drawn.search": set(searches),
            "timing.key": set(timings),
            "target.problem": set(targets),
        }
        software = self.software()
        marks = {row[1] for row in self._database.rows("trial") if ASIDE in row[1]}
        with self._database.transaction():
            for name, values in chosen.items():
                table, column = name.split(".")
                at, of = (TABLES[table].place(each) for each in (column, "software"))
                for row in self._database.rows(table) if values else ():
                    if row[at] in values and row[of] == software:
                        self._database.remove(table, row[: TABLES[table].keys])
                        self._database.put(table, (*row[:of], f"{software}{ASIDE}{len(marks) + 1}", *row[of + 1 :]))
        self._database.execute("VACUUM")  # what was set aside is nowhere in the file under its former name
        self._write_manifest()

    def apart(self) -> list[Apart]:
        """Returns which trials are kept and not found: of other software than the current, and those set aside."""
        now, programs = self.software(), {name: fields for name, _, fields in self._database.rows("program")}
        by_software: dict[str, list[tuple[str, str]]] = {}
        for trial, software, program, *_ in self._database.rows("trial"):
            if software != now and BROKEN not in software:
                by_software.setdefault(software, []).append((trial, program))
        with self._database.parsing():
            return [
                Apart(frozenset(trial for trial, _ in rows), json.loads(programs[rows[0][1]]), ASIDE in software)
                for software, rows in sorted(by_software.items())
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
                self._database.put("timing", (key, software, name, machine, session, storable(text)))

    def timings(self) -> dict[str, Timing]:
        """Returns the current software's timings, by key."""
        with self._database.parsing():
            return {row[0]: from_json(Timing, row[5]) for row in self._of_now("timing")}

    def copy_timings(self, other: "Store") -> None:
        """Stores the timings of another store of the same software; they stay timed side by side."""
        now, programs = self.software(), {row[0]: row for row in other._database.rows("program")}
        with other._database.parsing(), self._database.transaction():
            for row in other._database.rows("timing"):
                if row[1] == now:
                    if not self._database.has("program", row[2]):
                        self._database.put("program", programs[row[2]])
                    self._database.put("timing", row)

    def timed_together(self, keys: Iterable[str], machine: str) -> bool:
        """Whether all of these were timed side by side on a machine, by the current software."""
        sessions = {row[0]: row[4] for row in self._of_now("timing") if row[3] == machine}
        return len({sessions.get(key) for key in keys} - {None}) == 1 and set(keys) <= sessions.keys()

    # --- targets: tables target, ending ---

    def frozen(self) -> dict[str, Frozen]:
        """Returns the targets that were frozen from the current software's trials, by key."""
        with self._database.parsing():
            return {
                key: Frozen(tuple(map(float, json.loads(goals))), *rest)
                for key, _, _, goals, *rest in self._of_now("target")
            }

    def problems_of_targets(self) -> dict[str, str]:
        """Returns whose the current software's frozen targets are: key -> problem."""
        return {row[0]: row[2] for row in self._of_now("target")}

    def freeze(self, key: str, problem: str, targets: Frozen) -> None:
        """Keeps targets for good; those of the current software that are there already stay what they are."""
        row = (key, self.software(), problem, canonical(list(targets.values)), targets.source, targets.digest)
        with self._database.transaction():
            if not self._database.has("target", *row[:2]):
                self._database.put("target", row)
        self._write_manifest()

    def keep_endings(self, endings: Mapping[str, tuple[float, Ending]]) -> None:
        """Stores how trials came out against a target, by id; an earlier ending of the same trial is replaced."""
        software, known = self.software(), {*self._database.rows("ending")}
        with self._database.transaction():
            for name, (target, (kind, step)) in endings.items():
                row = (name, software, None if math.isnan(target) else target, kind, step)
                if row not in known:
                    self._database.put("ending", row)

    def endings(self) -> dict[str, Ending]:
        """Returns how the current software's trials came out, by id."""
        return {name: Ending(kind, step) for name, _, _, kind, step in self._of_now("ending")}

    def _of_now(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a table that are of the current software."""
        now, at = self.software(), TABLES[name].place("software")
        return [row for row in self._database.rows(name) if row[at] == now]

    # --- manifest ---

    def manifest(self) -> dict[str, Any]:
        """Returns what the run's numbers rest on: specs in canonical form, programs, data, sources of own functions."""
        return manifest_of(self._database)

    def _write_manifest(self) -> None:
        """Writes the manifest beside the store for people to read; moved into place whole."""
        if self.folder is not None:
            write_manifest(self.folder, self.manifest())
