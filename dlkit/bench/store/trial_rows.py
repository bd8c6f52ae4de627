"""Trials as rows of a run folder's tables: trial, curve, sample and example_score."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.database import Database
from dlkit.bench.store.example_scores import packed, unpacked
from dlkit.bench.store.sound_trials import sound
from dlkit.bench.store.tables import PARTS

__all__ = ["Record", "insert", "read", "storable"]


class Record(NamedTuple):
    """An outcome as it was stored, with the program that made it."""

    outcome: Outcome
    program: Mapping[str, str]


def insert(database: Database, outcome: Outcome, software: str, program: str) -> None:
    """Writes an outcome, inside a transaction; one of the same trial and software is replaced.

    Args:
        database: where.
        outcome: what.
        software: the digest of what made it, as far as it decides what is compared.
        program: the digest of all that made it.
    """
    key = (outcome.trial.id, software)
    for table in PARTS:
        database.execute(f"DELETE FROM {table} WHERE trial = ? AND software = ?", key)
    database.execute(
        f"INSERT OR REPLACE INTO trial VALUES ({', '.join('?' * 17)})",
        (
            *key,
            program,
            canonical(outcome.trial.identity),
            outcome.status,
            storable(outcome.reason),
            storable(outcome.traceback),
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
        database.execute("INSERT INTO sample VALUES (?, ?, ?, ?)", (*key, shape, numbers))
    if outcome.example_scores is not None:
        row = (*key, *packed(outcome.example_scores))
        database.execute("INSERT INTO example_score VALUES (?, ?, ?, ?, ?)", row)
    for metric, points in outcome.curves.items():
        database.execute("INSERT INTO curve VALUES (?, ?, ?, ?)", (*key, metric, points.astype("<f4").tobytes()))


def read(database: Database, software: str | None, ids: Iterable[str] | None) -> dict[str, Record]:
    """Returns stored trials by id.

    Args:
        database: where they are.
        software: the digest of what made them.
        ids: which; None for all.

    Returns:
        Id -> record, for those that are there.
    """
    with database.snapshot():
        programs = database.execute("SELECT digest, fields FROM program")
        points = database.execute("SELECT trial, metric, points FROM curve WHERE software = ?", (software,))
        generated = database.execute("SELECT trial, shape, numbers FROM sample WHERE software = ?", (software,))
        scored = database.execute(
            "SELECT trial, examples, form, scores FROM example_score WHERE software = ?", (software,)
        )
        rows = database.execute(
            "SELECT id, program, identity, status, reason, traceback, diverged_at, seconds, compile_seconds, "
            "validation, steps, gradient_evaluations, value_evaluations, hvp_evaluations, restored_at, gradients "
            "FROM trial WHERE software = ?",
            (software,),
        )
    wanted = None if ids is None else set(ids)
    with database.parsing():
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


def storable(text: str) -> str:
    """Returns what SQLite can hold of a message: file names that are not UTF-8 leave halves of characters in it."""
    return text.encode("utf-8", "replace").decode("utf-8")


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
    found = Outcome(
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
    return sound(found)
