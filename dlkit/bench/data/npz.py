"""Labelled arrays from an ``.npz`` file, however they are named."""

import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.bounds import DAMAGE, load_npy, npz_members
from dlkit.bench.data.files import labelled, splits_of
from dlkit.bench.errors import UserError

__all__ = ["npz", "role_of"]

PARTS = {
    **dict.fromkeys(("trainingset", "trainset", "training", "train", "tr"), "train"),
    **dict.fromkeys(
        ("validationset", "validation", "validset", "valset", "valid", "val", "devset", "dev", "va"), "validation"
    ),
    **dict.fromkeys(("testset", "testing", "test", "te"), "test"),
}
KINDS = {
    **dict.fromkeys(
        (
            "x",
            "input",
            "inputs",
            "image",
            "images",
            "img",
            "imgs",
            "data",
            "feature",
            "features",
            "fea",
            "sample",
            "samples",
        ),
        "inputs",
    ),
    **dict.fromkeys(("y", "label", "labels", "target", "targets", "class", "classes", "gnd"), "targets"),
}


def npz(path: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads labelled arrays from an ``.npz`` file.

    Args:
        path: the file; it has inputs and targets for training and test, and maybe for validation, under such names as
            ``x_train`` and ``y_train`` (as Keras writes MNIST) or ``val_images`` and ``val_labels`` (as MedMNIST does);
            or one pair to split, such as ``inputs`` and ``targets`` or ``X`` and ``y``. Targets are class indices.
            Inputs of bytes are divided by 255; images without a channel axis, [examples, height, width], get one.
        examples: how many at most are used for training and validation, of all classes; None for all.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` float32 and ``"targets"`` [examples] int32. The file's own test and validation examples
        are those; without the latter a sixth of the others is for validation.

    Raises:
        UserError: for a file that cannot be read, arrays that are missing, of other shapes or not class indices, or
            another digest.
    """
    file = Path(path)
    try:
        if zipfile.is_zipfile(file):
            npz_members(file).close()
        with file.open("rb") as opened:
            stored = np.load(opened, allow_pickle=False) if zipfile.is_zipfile(file) else load_npy(file)
            if isinstance(stored, np.ndarray):
                raise UserError(f"{file}: expected an .npz file of named arrays, got a single array; use np.savez")
            names = _named(file, stored)
            parts = {
                part: labelled(stored[x], stored[y], (f"{file}: {x}", f"{file}: {y}")) for part, (x, y) in names.items()
            }
            used = {name for pair in names.values() for name in pair}
            counts = {len(arrays["targets"]) for arrays in parts.values()}
            unused = [name for name in stored.files if name not in used and (_shape(stored, name) or (0,))[0] in counts]
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{file}: not an .npz file that can be read ({error}); save one with np.savez") from error
    if unused:
        warnings.warn(f"{file}: arrays that are not used: {', '.join(unused)}", stacklevel=2)
    try:
        return splits_of(file.stem, parts, examples=examples, digest=digest, source=str(file))
    except UserError as error:
        read = "; ".join(f"{part}: {', '.join(pair)}" for part, pair in names.items())
        raise UserError(f"{error} (read as {read})") from None


def _named(file: Path, stored: Any) -> dict[str, tuple[str, str]]:
    """The names of inputs and targets by split: of training, and of others."""
    found: dict[str, dict[str, str]] = {}
    for name in stored.files:
        role = role_of(name)
        if role is None:
            continue
        part, kind = role
        if kind in found.setdefault(part, {}):
            raise UserError(
                f"{file}: '{found[part][kind]}' and '{name}' may both be the {part} {kind}".replace("  ", " ")
                + f"; save one of them; {_there(stored, stored.files)}"
            )
        found[part][kind] = name
    whole = found.pop("", {})
    found = found if any(len(pair) == 2 for pair in found.values()) or not whole else {"train": whole}
    if "train" not in found:
        raise UserError(
            f"{file}: no arrays of inputs and targets for training, such as x_train and y_train, or inputs and targets "
            f"to split; {_there(stored, stored.files)}"
        )
    for part, pair in found.items():
        for kind, such in (("inputs", "x"), ("targets", "y")):
            if kind not in pair:
                raise UserError(
                    f"{file}: no {kind} that belong to '{next(iter(pair.values()))}', such as '{such}_{part}'; "
                    f"{_there(stored, stored.files)}"
                )
    if list(found) == ["train"] and not whole:
        raise UserError(
            f"{file}: no array of the test, such as 'x_test'; {_there(stored, stored.files)}; to split one set, call "
            "its arrays 'inputs' and 'targets'"
        )
    return {part: (pair["inputs"], pair["targets"]) for part, pair in found.items()}


def role_of(name: str) -> tuple[str, str] | None:
    """The split that an array's name tells ("" for none) and whether it has inputs or targets; None for neither."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in KINDS:
        return "", KINDS[plain]
    for word, part in PARTS.items():
        for rest in (plain.removeprefix(word), plain.removesuffix(word)):
            if rest != plain and rest in KINDS:
                return part, KINDS[rest]
    return None


def _there(stored: Any, names: Iterable[str]) -> str:
    """Says which arrays a file has."""
    listed = ", ".join(f"{name} {_shape(stored, name) or 'of objects'}" for name in names)
    return f"it has {listed}" if listed else "it is empty"


def _shape(stored: Any, name: str) -> tuple[int, ...] | None:
    """An array's shape; None for one of objects, which is not read."""
    try:
        shape: tuple[int, ...] = stored[name].shape
    except ValueError:
        return None
    return shape
