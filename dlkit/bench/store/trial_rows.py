"""Trials as rows of a run folder's tables: `trial`, and what many of them share in `identity`."""

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.identity.hashing import canonical, digest_of
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.database import Database
from dlkit.bench.store.example_scores import packed, unpacked
from dlkit.bench.store.sound_trials import require_sound_rows, sound_identity
from dlkit.bench.store.tables import TABLES

__all__ = ["IDENTITIES", "OWN", "Record", "insert", "parsed_objects", "read", "row_of", "split_identity", "storable"]

IDENTITIES = ("identity", "identity_copy")
OWN = ("hyperparameters", "seed")  # what a trial does not share with others of its contender, problem and stage

COUNTS = (
    "gradient_evaluations",
    "value_evaluations",
    "hvp_evaluations",
    "restored_at",
    "diverged_at",
    "seed",
)
_DECODER = json.JSONDecoder()
Row = Sequence[Any]


class Record(NamedTuple):
    """An outcome as it was stored, with the program that made it."""

    outcome: Outcome
    program: Mapping[str, str]


def split_identity(identity: Mapping[str, Any]) -> tuple[str, str, int]:
    """Returns what an identity shares with others as JSON, its hyperparameters as JSON, and its seed."""
    shared = canonical({name: value for name, value in identity.items() if name not in OWN})
    return shared, canonical(dict(identity["hyperparameters"])), identity["seed"]


def insert(database: Database, outcome: Outcome, software: str, program: str) -> None:
    """Writes an outcome, inside a transaction; one of the same trial and software is replaced.

    Args:
        database: where.
        outcome: what.
        software: the digest of what made it, as far as it decides what is compared.
        program: the digest of all that made it.
    """
    shared, hyperparameters, seed = split_identity(outcome.trial.identity)
    name = digest_of(shared)
    for table in IDENTITIES:
        if not database.has(table, name):
            database.put(table, (name, shared))
    database.put("trial", row_of(outcome, (software, program, name, hyperparameters, seed)))


def row_of(outcome: Outcome, made: tuple[str, str, str, str, int]) -> tuple[Any, ...]:
    """Returns the row of an outcome.

    Args:
        outcome: what.
        made: software, program and shared identity by their digests, hyperparameters as JSON, seed.
    """
    samples, scores = outcome.samples, outcome.example_scores
    curves = {name: points.astype("<f4") for name, points in outcome.curves.items()}
    return (
        outcome.trial.id,
        *made,
        outcome.status,
        storable(outcome.reason),
        storable(outcome.traceback),
        outcome.diverged_at,
        outcome.seconds,
        outcome.compile_seconds,
        canonical(dict(outcome.validation)),
        *outcome.evaluations,
        outcome.restored_at,
        outcome.steps.astype("<i8").tobytes(),
        None if outcome.gradients is None else outcome.gradients.astype("<f8").tobytes(),
        json.dumps([[name, len(points)] for name, points in curves.items()]),
        b"".join(points.tobytes() for points in curves.values()),
        *((None, None) if samples is None else (json.dumps(samples.shape), samples.astype("<f4").tobytes())),
        *((None, None, None) if scores is None else packed(scores)),
    )


def read(database: Database, software: str | None) -> dict[str, Record]:
    """Returns stored trials by id.

    Args:
        database: where they are.
        software: the digest of what made them.

    Returns:
        Id -> record, for those that are there.
    """
    with database.snapshot():
        rows = database.rows("trial")  # first: where it is damaged, what is salvaged is read from then on
        made_by = {name: fields for name, _, fields in database.rows("program")}
        shared: dict[str, str] = dict(database.rows("identity"))
    with database.parsing():
        programs = {name: json.loads(fields) for name, fields in made_by.items()}
        own = [row for row in rows if row[1] == software]
        outcomes = _Reader(shared).outcomes(own)
        return {row[0]: Record(outcome, programs[row[2]]) for row, outcome in zip(own, outcomes, strict=True)}


def storable(text: str) -> str:
    """Returns what SQLite can hold of a message: file names that are not UTF-8 leave halves of characters in it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _parsed(text: str) -> Any:
    """What JSON text without blanks means, as `json.loads` has it, in half of the time."""
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise ValueError(f"expected JSON and nothing else, got {text[:40]!r}")
    return value


def parsed_objects(texts: Sequence[str]) -> list[Any]:
    """Returns what each of many JSON texts means; equal texts mean one object.

    Texts that are objects without objects in them are parsed as one list: a raw line end is in no JSON string, so that
    between two of them is where one ends and the next begins.
    """
    unique = list(dict.fromkeys(texts))
    count, together = len(unique), ",\n".join(unique)
    is_plain = (
        count > 0
        and together.count("\n") == together.count("},\n{") == count - 1
        and together.count("{") == together.count("}") == count
        and together[0] == "{"
        and together[-1] == "}"
    )
    try:
        values = _DECODER.decode(f"[{together}]") if is_plain else [*map(_parsed, unique)]
    except ValueError:  # one by one, to say which
        values = [*map(_parsed, unique)]
    meaning = dict(zip(unique, values, strict=True))
    return [meaning[text] for text in texts]


class _Reader:
    """Makes outcomes of rows. What many rows have alike is parsed once, and is one object: nobody may write to it."""

    def __init__(self, shared: Mapping[str, str]) -> None:
        self._shared = shared
        self._identities: dict[str, dict[str, Any]] = {}
        self._metrics: dict[str, list[tuple[str, slice]]] = {}
        self._steps: dict[bytes, np.ndarray[Any, Any]] = {}
        self._kinds: set[tuple[type, ...]] = set()

    def outcomes(self, rows: Sequence[Row]) -> list[Outcome]:
        """The outcomes in rows of the table `trial`.

        Raises:
            ValueError: for a row of which no numbers can be made, and other such errors.
        """
        for row in rows:
            self._require_kinds(row)
        if not rows:
            return []
        columns = list(zip(*rows, strict=True))
        at = {each.name: place for place, each in enumerate(TABLES["trial"].columns)}
        numbers = [parsed_objects(columns[at[name]]) for name in ("hyperparameters", "validation")]
        require_sound_rows(columns[0], [columns[at[name]] for name in COUNTS], columns[at["status"]], numbers)
        return list(map(self._outcome, rows, *numbers))

    def _outcome(self, row: Row, hyperparameters: dict[str, float], validation: dict[str, float]) -> Outcome:
        name, _, _, shared, _, seed, status, reason, trace, diverged_at, seconds, compile_seconds, _ = row[:13]
        *counts, restored, steps, gradients, metrics, blob, shape, samples, examples, form, scores = row[13:]
        return Outcome(
            Trial(name, {**self._identity(shared), "hyperparameters": hyperparameters, "seed": seed}),
            status,
            reason,
            trace,
            diverged_at,
            seconds,
            compile_seconds,
            self._array(steps),
            self._curves(metrics, blob),
            validation,
            Evaluations(*counts),
            restored,
            None if samples is None else np.frombuffer(samples, "<f4").reshape(json.loads(shape)),
            None if scores is None else unpacked(examples, form, scores),
            None if gradients is None else np.frombuffer(gradients, "<f8"),
        )

    def _require_kinds(self, row: Row) -> None:
        """Refuses a row with values of other kinds than its columns'."""
        kinds = tuple(map(type, row))
        if kinds not in self._kinds:
            if not TABLES["trial"].fits(row):
                raise ValueError(f"trial {row[0]!r}: its row cannot be right")
            self._kinds.add(kinds)

    def _identity(self, name: str) -> dict[str, Any]:
        if name not in self._identities:
            self._identities[name] = sound_identity(name, json.loads(self._shared[name]))
        return self._identities[name]

    def _array(self, blob: bytes) -> np.ndarray[Any, Any]:
        if blob not in self._steps:
            self._steps[blob] = np.frombuffer(blob, "<i8")
        return self._steps[blob]

    def _curves(self, metrics: str, blob: bytes) -> dict[str, np.ndarray[Any, Any]]:
        if metrics not in self._metrics:
            known = [(name, count) for name, count in json.loads(metrics)]
            if not all(isinstance(name, str) and type(count) is int and count >= 0 for name, count in known):
                raise ValueError("names of curves cannot be right")
            ends = [0, *accumulate(count for _, count in known)]
            self._metrics[metrics] = [
                (name, slice(*between)) for (name, _), between in zip(known, pairwise(ends), strict=True)
            ]
        points = np.frombuffer(blob, "<f4")
        return {name: points[part] for name, part in self._metrics[metrics]}
