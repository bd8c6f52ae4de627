"""Runs as one: the rows of several run folders in one store, each trial once; what contradicts itself is found."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.plan.joining import joined
from dlkit.bench.plan.parameter_groups import AllGroups
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.protocol import Part
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.store.kept_code import About
from dlkit.bench.store.models import copy_models
from dlkit.bench.store.opening import is_in_use
from dlkit.bench.store.software import differences, software_digest
from dlkit.bench.store.store import Store
from dlkit.bench.store.trial_rows import Record

__all__ = ["Conflict", "Run", "gather", "merge", "names_of", "open_runs", "unlike"]

MOST_CONFLICTS = 20  # that are told one by one


class Run(NamedTuple):
    """A run that is read.

    Attributes:
        name: how messages call it.
        folder: where it is.
        store: its store, to be read.
        plan: what ran there last.
    """

    name: str
    folder: Path
    store: Store
    plan: Plan

    @property
    def part(self) -> Part:
        """The plan with the name."""
        return Part(self.name, self.plan)


class Conflict(NamedTuple):
    """A trial that two runs have, with other numbers.

    Attributes:
        first: the run that has it first.
        other: the other one.
        record: of the first.
        text: what differs, in words.
    """

    first: str
    other: str
    record: Record
    text: str


def names_of(folders: Sequence[Path]) -> list[str]:
    """Returns short names for run folders: the last parts of their paths, as many as tell them apart.

    Example:
        >>> names_of([Path("monday/adam"), Path("tuesday/adam")])
        ['monday/adam', 'tuesday/adam']
    """
    paths = [folder.resolve().parts for folder in folders]
    for last in range(1, 1 + max(map(len, paths))):
        names = ["/".join(parts[-last:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


@contextmanager
def open_runs(folders: Sequence[Path], *, to: str) -> Iterator[list[Run]]:
    """Opens runs to be read.

    Args:
        folders: at least two, each of which is named once.
        to: what is done with them, for messages.

    Yields:
        The runs.

    Raises:
        UserError: for a folder that holds no run, or one of another format, with every such folder; for too few.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = sorted({str(folder) for folder, real in zip(folders, resolved, strict=True) if resolved.count(real) > 1})
    if twice:
        raise UserError(f"{twice[0]}: named twice; name each run once")
    if len(folders) < 2:
        raise UserError(f"there is nothing to {to}: name at least two runs, got {len(folders)}")
    mistakes, runs = list[str](), list[Run]()
    with ExitStack() as stack:
        for name, folder in zip(names_of(folders), folders, strict=True):
            try:
                store = stack.enter_context(Store(folder, write=False))
                runs.append(Run(name, folder, store, store.current_plan()))
            except UserError as error:
                mistakes += str(error).splitlines()
        if mistakes:
            raise UserError("\n".join(mistakes))
        yield runs


def unlike(runs: Sequence[Run]) -> list[str]:
    """Returns in what the software of runs differs from the first one's, a line each; runs without trials have none."""
    programs = [(run.name, program) for run in runs if (program := run.store.program()) is not None]
    if not programs:
        return []
    (first, then), *others = programs
    return [
        f"software: {differences(then, now, there=f'in {first}', here=f'in {other}')}"
        for other, now in others
        if software_digest(then) != software_digest(now)
    ]


def gather(runs: Sequence[Run], into: Store, *, timings: bool = True) -> list[Conflict]:
    """Puts the trials of runs of one software into a store, with drawn points, timings and targets.

    Of a trial that several runs have, the first run's is taken; a failure gives way to a result.

    Args:
        runs: in this order.
        into: a store that is empty.
        timings: whether timings are put there.

    Returns:
        The trials that two runs have with other numbers.
    """
    program = next((found for run in runs if (found := run.store.program()) is not None), None)
    if program is None:
        return []
    into.use_software(program)
    chosen: dict[str, tuple[str, Record]] = {}
    broken: dict[str, Record] = {}
    conflicts, drawn = list[Conflict](), dict[str, Any]()
    for run in runs:
        for trial, record in run.store.records().items():
            before = chosen.get(trial)
            if before is None or (not before[1].outcome.counts and record.outcome.counts):
                chosen[trial] = (run.name, record)
            elif record.outcome.counts and (text := _apart(before[1], record)):
                conflicts.append(Conflict(before[0], run.name, before[1], text))
        for trial, record in run.store.broken().items():
            broken.setdefault(trial, record)
        for search, points in run.store.drawn().items():
            if len(points) > len(drawn.get(search, ())):
                drawn[search] = points
    by_program: dict[str, tuple[Mapping[str, str], list[Outcome]]] = {}
    for _, record in chosen.values():
        made_by = by_program.setdefault(json.dumps(dict(record.program), sort_keys=True), (record.program, []))
        made_by[1].append(record.outcome)
    for made_by_program, outcomes in by_program.values():
        into.add(outcomes, made_by_program)
    if broken:
        into.keep_broken([record.outcome for record in broken.values()], next(iter(broken.values())).program)
    for search, points in drawn.items():
        into.add_points(search, 0, points)
    for run in reversed(runs) if timings else ():  # what is written last stays
        into.copy_timings(run.store)
    for run in runs:
        problems = run.store.problems_of_targets()
        for key, targets in run.store.frozen().items():
            into.freeze(key, problems[key], targets)
    return conflicts


def _apart(one: Record, other: Record) -> str:
    """In which numbers two outcomes of one trial differ, in words; empty if in none. Times are no such numbers."""
    first, second = one.outcome, other.outcome
    found = [
        f"{name} is {getattr(first, name)} and {getattr(second, name)}"
        for name in ("status", "diverged_at", "restored_at")
        if getattr(first, name) != getattr(second, name)
    ]
    before, after = _arrays(first), _arrays(second)
    for name in before.keys() | after.keys():
        a, b = (np.asarray(each.get(name, ())) for each in (before, after))
        if a.tobytes() != b.tobytes():
            with np.errstate(all="ignore"):
                by = float(np.nanmax(np.abs(a - b), initial=0.0)) if a.shape == b.shape else float("nan")
            found.append(f"{name} differs by up to {by:.3g}" if by == by else f"{name} has another length")
    numbers = [json.dumps([dict(each.validation), list(each.evaluations)], sort_keys=True) for each in (first, second)]
    if numbers[0] != numbers[1] and not found:
        found.append("its values on validation, or its counts of evaluations, differ")
    if not found:
        return ""
    fields = sorted(name for name in one.program if one.program[name] != other.program.get(name))
    text = "; ".join(sorted(found))
    return f"{text} (their programs differ in {', '.join(fields)})" if fields else text


def _arrays(outcome: Outcome) -> dict[str, Any]:
    others = {
        "steps": outcome.steps,
        "gradients": outcome.gradients,
        "samples": outcome.samples,
        "example scores": outcome.example_scores,
    }
    curves = {f"curve '{name}'": points for name, points in outcome.curves.items()}
    return {**curves, **{name: array for name, array in others.items() if array is not None}}


# --- a run folder of several ---


def merge(folders: Sequence[Path], output: Path) -> Plan:
    """Makes one run folder of several that are parts of one study; the folder is there whole, or not at all.

    Args:
        folders: the parts; nothing is written there.
        output: the new folder; it must not exist, or be empty.

    Returns:
        The plan of the whole.

    Raises:
        UserError: for runs that are in use, of other software or of other specs, for a trial that two of them have with
            other numbers, and if the folder cannot be written: with everything that is wrong.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: is there already; name a folder that is not, or an empty one")
    with open_runs(folders, to="merge") as runs:
        mistakes = [
            f"{run.folder}: another dlkit is using this run; wait for it" for run in runs if is_in_use(run.folder)
        ]
        mistakes += [
            f"{run.folder}: its store is damaged; `dlkit verify {run.folder} --repair` writes what is left of it anew"
            for run in runs
            if run.store.records() and run.store.damaged
        ]
        mistakes += unlike(runs)
        try:
            plan = joined([run.part for run in runs])
        except UserError as error:
            mistakes += str(error).splitlines()
        if mistakes:
            raise UserError(_listed(mistakes, "these runs are no parts of one study"))
        with _whole(output) as folder, Store(folder) as store:
            conflicts = gather(runs, store)
            if conflicts:
                raise UserError(_listed(list(map(_told, conflicts)), "nothing was merged"))
            _use(plan, runs, store)
            for run in runs:
                copy_models(run.folder, folder)
        return plan


def _told(conflict: Conflict) -> str:
    trial = conflict.record.outcome.trial
    optimizer = trial.identity["optimizer"]["name"] or "an optimizer of yours"
    return (
        f"trial {trial.id} ({optimizer} on {trial.identity['problem']['name']}, {trial.stage}, seed {trial.seed}): "
        f"{conflict.first} and {conflict.other} have other numbers: {conflict.text}; `dlkit replay RUN {trial.id}` "
        "says which of them holds here: leave out the other run, or run it again"
    )


def _listed(mistakes: Sequence[str], heading: str) -> str:
    more = len(mistakes) - MOST_CONFLICTS
    lines = [heading + ":", *mistakes[:MOST_CONFLICTS]]
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


def _use(plan: Plan, runs: Sequence[Run], store: Store) -> None:
    """Makes a plan the current one of a store, with the sources, the kept code and the parameter groups of runs."""
    sources: dict[str, str] = {}
    code: dict[str, About] = {}
    groups: dict[str, dict[str, Any]] = {}
    for run in runs:
        for file, text in run.store.sources(run.plan.digest).items():
            sources.setdefault(file, text)
        for about in run.store.about_code(run.plan.digest):
            kept = None if about.owner in code else run.store.code(run.plan.digest, about.owner)
            if kept is not None:
                name = store.keep_code(kept)
                if name is None:
                    raise UserError(f"{run.folder}: the merged run would keep more code and arrays than a run may")
                code[about.owner] = about._replace(digest=name)
        for problem, of_contenders in run.store.groups().items():
            groups.setdefault(problem, {}).update(of_contenders)
    known: AllGroups = groups
    store.use_plan(plan, sources, list(code.values()), known)


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder beside the output that takes its place when the block ends; if it raises, nothing is left."""
    scratch: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        scratch.chmod(0o755)
        yield scratch
        if output.is_dir():
            output.rmdir()
        scratch.rename(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}; nothing was written") from None
    except UserError as error:
        if scratch is None:
            raise
        text = str(error).replace(str(scratch), str(output))
        raise UserError(text) from None
    finally:
        if scratch is not None and scratch.exists():
            shutil.rmtree(scratch, ignore_errors=True)
