"""Trials as rows of a run folder's tables: `trial`, and what many of them share in `identity`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
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

EVALUATIONS = ("gradient_evaluations", "value_evaluations", "hvp_evaluations")
COUNTS = (*EVALUATIONS, "restored_at", "diverged_at", "seed")
SHORT = 4096  # bytes of a trial's curves that are copied beside others'; longer ones are views of what was read
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
        outcomes = _outcomes(own, shared)
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


def _outcomes(rows: Sequence[Row], shared: Mapping[str, str]) -> list[Outcome]:
    """The outcomes in rows of the table `trial`, made a column at a time.

    What many rows have alike is parsed once, and is one object: nobody may write to it.

    Args:
        rows: of the table.
        shared: digest -> what identities share.

    Raises:
        ValueError: for a row of which no numbers can be made, and other such errors.
    """
    if not rows:
        return []
    table = TABLES["trial"]
    columns = list(zip(*rows, strict=True))
    if not all(
        each.takes(kind) for each, column in zip(table.columns, columns, strict=True) for kind in {*map(type, column)}
    ):
        wrong = next(row for row in rows if not table.fits(row))
        raise ValueError(f"trial {wrong[0]!r}: its row cannot be right")
    of = {each.name: column for each, column in zip(table.columns, columns, strict=True)}
    hyperparameters, validation = parsed_objects(of["hyperparameters"]), parsed_objects(of["validation"])
    require_sound_rows(of["id"], [of[name] for name in COUNTS], of["status"], [hyperparameters, validation])
    identity = {name: sound_identity(name, json.loads(shared[name])) for name in dict.fromkeys(of["identity"])}
    own = zip(of["identity"], hyperparameters, of["seed"], strict=True)
    identities = [{**identity[name], "hyperparameters": values, "seed": seed} for name, values, seed in own]
    counts = list(zip(*(of[name] for name in EVALUATIONS), strict=True))
    steps = {blob: np.frombuffer(blob, "<i8") for blob in dict.fromkeys(of["steps"])}
    evaluations = {each: Evaluations(*each) for each in dict.fromkeys(counts)}
    samples = zip(of["samples"], of["sample_shape"], strict=True)
    scores = zip(of["examples"], of["form"], of["scores"], strict=True)
    made: dict[str, Iterable[Any]] = {
        **of,
        "trial": map(Trial, of["id"], identities),
        "steps": map(steps.__getitem__, of["steps"]),
        "curves": _curves(of["metrics"], of["curves"]),
        "validation": validation,
        "evaluations": map(evaluations.__getitem__, counts),
        "samples": [
            None if each is None else np.frombuffer(each, "<f4").reshape(json.loads(shape)) for each, shape in samples
        ],
        "example_scores": [None if each[-1] is None else unpacked(*each) for each in scores],
        "gradients": [None if blob is None else np.frombuffer(blob, "<f8") for blob in of["gradients"]],
    }
    return _assembled(made)


def _assembled(columns: Mapping[str, Iterable[Any]]) -> list[Outcome]:
    """Outcomes from the values of their fields: there are 100,000, and the constructor would take most of the time."""
    names, outcomes = [each.name for each in fields(Outcome)], list[Outcome]()
    for values in zip(*(columns[name] for name in names), strict=True):
        outcome = object.__new__(Outcome)
        vars(outcome).update(zip(names, values, strict=True))
        outcomes.append(outcome)
    return outcomes


def _curves(metrics: Sequence[str], blobs: Sequence[bytes]) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Each trial's curves: short ones are views of one array of all trials that have as many points."""
    alike: dict[tuple[str, int], list[int]] = {}
    for place, key in enumerate(zip(metrics, map(len, blobs), strict=True)):
        alike.setdefault(key, []).append(place)
    found: list[dict[str, np.ndarray[Any, Any]]] = [{}] * len(blobs)
    for (text, size), places in alike.items():
        parts = _parts(text)
        if size % 4:
            raise ValueError(f"a curve of {size} bytes cannot be right")
        group = len(places) if size <= SHORT else 1
        for first in range(0, len(places), group):
            chosen = places[first : first + group]
            blob = blobs[chosen[0]] if group == 1 else b"".join([blobs[place] for place in chosen])
            points = np.frombuffer(blob, "<f4").reshape(len(chosen), size // 4)
            for place, *values in zip(chosen, *(points[:, part] for part in parts.values()), strict=True):
                found[place] = dict(zip(parts, values, strict=True))
    return found


def _parts(metrics: str) -> dict[str, slice]:
    """Where each curve lies in the blob of a trial, from their names and lengths."""
    known = [(name, count) for name, count in json.loads(metrics)]
    if not all(isinstance(name, str) and type(count) is int and count >= 0 for name, count in known):
        raise ValueError("names of curves cannot be right")
    ends = [0, *accumulate(count for _, count in known)]
    return {name: slice(*between) for (name, _), between in zip(known, pairwise(ends), strict=True)}
