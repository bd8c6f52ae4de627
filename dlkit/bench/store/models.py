"""Trained models beside a run's store: one of each contender on each problem, in a file that flax reads too."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlkit.bench.doors import most_unpacked, read_plain, whole_file
from dlkit.bench.errors import UserError

__all__ = ["FOLDER", "ModelFile", "PackedModel", "copy_models", "every_model", "read_model", "write_model"]

FOLDER = "models"  # in a run folder
TRIAL = re.compile("[0-9a-f]{4,64}")  # an id: files have it as their names
MOST_ABOUT = 2**24  # bytes of a description


@dataclass(frozen=True)
class PackedModel:
    """The parameters and the state of a model as bytes.

    Attributes:
        data: msgpack, as `flax.serialization.msgpack_restore` reads it: path of an array -> the array.
        structure: how the arrays are put together again, as JSON has it.
    """

    data: bytes
    structure: Any


@dataclass(frozen=True)
class ModelFile:
    """What is known of a kept model without opening it.

    Attributes:
        trial: the id of the final trial that it is of; its file has that name.
        problem: name of the problem.
        contender: label.
        bytes: size of the file.
        sha256: of the file.
        structure: as of `PackedModel`.
    """

    trial: str
    problem: str
    contender: str
    bytes: int
    sha256: str
    structure: Any


def write_model(folder: Path, trial: str, problem: str, contender: str, packed: PackedModel) -> ModelFile:
    """Keeps the model of a contender on a problem, in the place of the one that was kept before.

    Args:
        folder: the run folder.
        trial: the id of its trial.
        problem: name of the problem.
        contender: label.
        packed: the model.

    Returns:
        What was written.

    Raises:
        UserError: if it cannot be written; then the one from before is there still.
    """
    about = ModelFile(
        trial, problem, contender, len(packed.data), hashlib.sha256(packed.data).hexdigest(), packed.structure
    )
    before = [each for each in every_model(folder) if (each.problem, each.contender) == (problem, contender)]
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        _write_whole(_data_file(folder, trial), packed.data)
        _write_whole(_about_file(folder, trial), json.dumps(asdict(about), indent=1).encode())
        for each in before:
            if each.trial != trial:
                _about_file(folder, each.trial).unlink(missing_ok=True)
                _data_file(folder, each.trial).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder / FOLDER}: the model of {contender} on {problem} cannot be written: {error.strerror}; make room, "
            "then run the same command again: it trains this one trial only"
        ) from None
    return about


def every_model(folder: Path) -> Iterator[ModelFile]:
    """Yields what is known of a run folder's models.

    Raises:
        UserError: for a description that is damaged.
    """
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            yield _described(path)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: {_damaged(error)}") from None


def _described(path: Path) -> ModelFile:
    """What a description says; of somebody else's run it may say anything.

    Raises:
        OSError: if it is no plain file.
        TypeError: for other fields than those of `ModelFile`.
        ValueError: if they are not of their kinds, or of another trial than the file's name says.
    """
    found = ModelFile(**json.loads(read_plain(path, MOST_ABOUT)))
    texts = (found.trial, found.problem, found.contender, found.sha256)
    if not all(isinstance(each, str) for each in texts) or type(found.bytes) is not int:
        raise ValueError("its description has something else where a text or a number belongs")
    if found.trial != path.stem or not TRIAL.fullmatch(found.trial):
        raise ValueError(f"it says that it is of trial {found.trial!r}")
    return found


def read_model(folder: Path, about: ModelFile) -> bytes:
    """Returns the bytes of a model.

    Raises:
        UserError: for a file that is missing, or is not what was written.
    """
    path = _data_file(folder, about.trial)
    try:
        data = read_plain(path, most_unpacked())
    except OSError as error:
        raise UserError(f"{path}: {_damaged(error)}") from None
    if hashlib.sha256(data).hexdigest() != about.sha256:
        raise UserError(f"{path}: {_damaged(ValueError('its checksum is not the one that was written'))}")
    return data


def copy_models(folder: Path, into: Path) -> None:
    """Copies the models of a run folder of which another one has none yet, with their checksums looked at."""
    there = {(each.problem, each.contender) for each in every_model(into)}
    for each in every_model(folder):
        if (each.problem, each.contender) not in there:
            packed = PackedModel(read_model(folder, each), each.structure)
            write_model(into, each.trial, each.problem, each.contender, packed)


def _damaged(error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) else error
    return f"the kept model cannot be used: {why}; delete the file and run the spec again: it trains this trial only"


def _data_file(folder: Path, trial: str) -> Path:
    return folder / FOLDER / f"{trial}.msgpack"


def _about_file(folder: Path, trial: str) -> Path:
    return folder / FOLDER / f"{trial}.json"


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all."""
    with whole_file(path, durable=True) as file:
        file.write(data)
