"""Files and folders as sources: which reader a path needs, by its name and by how it begins."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.bounds import DAMAGE, load_npy, npz_members
from dlkit.bench.data.cifar import cifar
from dlkit.bench.data.content import Content, decoded, existing, read_content
from dlkit.bench.data.delimited import is_libsvm, looks_delimited
from dlkit.bench.data.folders import npy
from dlkit.bench.data.idx import idx
from dlkit.bench.data.image_folders import class_folders, read_images
from dlkit.bench.data.matlab import read_matlab
from dlkit.bench.data.roles import Asked
from dlkit.bench.data.series import read_ts, series, standardized_steps
from dlkit.bench.data.sources import Source, of_arrays, of_frame, of_pair
from dlkit.bench.data.splits import split, transformed
from dlkit.bench.data.tables import FORMS, hdf5_arrays, read_libsvm, read_table
from dlkit.bench.data.text import characters
from dlkit.bench.data.unreadable import require_known
from dlkit.bench.doors import require_plain
from dlkit.bench.errors import UserError

__all__ = ["Read", "opened"]

HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".rds", ".rdata")
BYTES = "divided by 255"
OFFICIAL = "test as the source has it, where it has one"
RANK = ", with each class in its share"
STARTS = 20_000  # characters by which a text is told from numbers
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")


class Read(NamedTuple):
    """A dataset whose examples the reader of the format split itself, and what is to be said of it.

    Attributes:
        dataset: the dataset.
        form: of the source, in words.
        files: the files' names, without folders.
        became: what the inputs are, in words.
        split: how examples came into splits, in words.
        classes: their names, where the source has them.
    """

    dataset: Dataset
    form: str
    files: tuple[str, ...]
    became: str
    split: str
    classes: tuple[str, ...] = ()


def opened(path: str | Path, asked: Asked) -> Source | Read:
    """Opens a file or folder.

    Args:
        path: of it.
        asked: what decides how it is read: whether there is a target, sizes of images, lengths of sequences.

    Returns:
        A source of examples; or what was read, where the reader of the format splits them itself.

    Raises:
        UserError: for what is not there, or cannot be read, with what does lie there.
    """
    place = existing(path)
    if place.is_dir():
        return _folder(place, asked)
    source = _file(place, asked)
    if isinstance(source, Read):
        return source
    return replace(source, name=_stem(place), files=(place.name,))


def _stem(place: Path) -> str:
    return place.name.split(".")[0] or place.name


# --- files ---


def _file(place: Path, asked: Asked) -> Source | Read:
    try:
        require_plain(place)
        with place.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error}); name a file") from error
    suffix, where = place.suffix.lower(), str(place)
    if suffix == ".npz" or (start[:4] == b"PK\x03\x04" and _is_npz(place)):
        return of_arrays(_npz(place), where, form="npz", target=asked.target)
    if suffix == ".mat":
        return of_arrays(_matlab(place), where, form="MATLAB", target=asked.target)
    if suffix in HDF5 or start == b"\x89HDF\r\n\x1a\n":
        return of_arrays(hdf5_arrays(place), where, form="HDF5", target=asked.target)
    if suffix == ".npy" or start[:6] == b"\x93NUMPY":
        return _npy(place)
    if suffix == ".ts":
        return _series(place)
    if suffix in PICKLES:
        raise UserError(
            f"{place}: such files run code when they are read; save a table or arrays: .parquet, .csv, .npz"
        )
    if suffix in IMAGES:
        raise UserError(f"{place}: is one image; give the folder that has a folder of images for each class")
    return _content(place, read_content(place), asked)


def _content(place: Path, content: Content, asked: Asked) -> Source | Read:
    """A file that may be packed."""
    where, suffix = str(place), Path(content.name).suffix.lower()
    if suffix not in FORMS:
        require_known(content.data, where)
    if content.data[:2] == b"\0\0" and content.data[2:3] in b"\x08\x09\x0b\x0c\x0d\x0e":
        raise UserError(f"{place}: is an IDX file; give the folder that has images and labels")
    if suffix in FORMS or suffix in (".csv", ".tsv", ".tab"):
        return _table(content, where, asked)
    if content.data[:4] == b"PAR1":
        return _table(content._replace(name=f"{content.name}.parquet"), where, asked)
    if content.data[:6] == b"ARROW1":
        return _table(content._replace(name=f"{content.name}.feather"), where, asked)
    text = decoded(content.data, where)
    if suffix in (".libsvm", ".svm", ".svmlight") or is_libsvm(text):
        features, targets = read_libsvm(content.data, where)
        return replace(of_pair(features, targets, where), form="libsvm")
    if asked.target is not None or looks_delimited(text):
        return _table(content, where, asked)
    start = text[:STARTS]
    digits, letters = (sum(map(kind, start)) for kind in (str.isdigit, str.isalpha))
    if digits > letters / 2:
        raise UserError(
            f"{place}: neither a text nor a table whose lines have the same number of fields; it begins with "
            f"{text.strip()[:60]!r}; read it with pandas.read_fwf or pandas.read_csv(path, skiprows=...) and give the "
            "frame"
        )
    made = characters(place, length=asked.length)
    count = 1 + int(made.train["inputs"].max())
    became = f"indices of {count - 1} characters of the training part, 0 for others; targets are the next ones"
    return Read(made, "text", (place.name,), became, "its first 80 % to train on, 10 % to select on, 10 % to judge on")


def _table(content: Content, where: str, asked: Asked) -> Source:
    found = read_table(content, where, header=asked.header)
    source = of_frame(found.frame, where, form=found.form)
    return replace(source, target=(found.target,) if found.target else (), notes=found.notes)


def _is_npz(place: Path) -> bool:
    try:
        with zipfile.ZipFile(place) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _npz(place: Path) -> dict[str, Any]:
    try:
        npz_members(place).close()
        with np.load(place, allow_pickle=False) as stored:
            if {"format", "shape", "data"} <= {*stored.files}:
                raise UserError(
                    f"{place}: a sparse matrix of scipy, which has no targets; give the pair "
                    "(scipy.sparse.load_npz(path), targets)"
                )
            return {name: stored[name] for name in stored.files}
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{place}: not an .npz file that can be read ({error}); save one with np.savez") from error


def _array(place: Path) -> np.ndarray[Any, Any]:
    try:
        array = load_npy(place)
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{place}: not an .npy file that can be read ({error}); save one with np.save") from error
    return array


def _npy(place: Path) -> Source:
    import pandas as pd

    array = _array(place)
    if array.dtype.names:
        return of_frame(pd.DataFrame(array), str(place), form="npy")
    if array.ndim == 2:
        return of_frame(pd.DataFrame(array), str(place), form="npy")
    raise UserError(
        f"{place}: an array of shape {array.shape} has no targets; give the pair (np.load(inputs), np.load(targets))"
    )


def _matlab(place: Path) -> dict[str, Any]:
    with place.open("rb") as file:
        is_hdf5 = b"\x89HDF\r\n" in file.read(520)
    try:  # of version 7.3 is HDF5, with axes in the other order
        found = {name: value.T for name, value in hdf5_arrays(place).items()} if is_hdf5 else read_matlab(place)
    except UserError:
        raise
    except Exception as error:  # its reader raises nearly anything
        raise UserError(f"{place}: not a MATLAB file that can be read ({error}); save it with -v7") from error
    arrays = {name: value for name, value in found.items() if not name.startswith(("__", "#"))}
    return {
        name: value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value for name, value in arrays.items()
    }


def _series(place: Path) -> Read:
    """Series of a pair of files, ``Name_TRAIN.ts`` and ``Name_TEST.ts``, or of a single one, which is split."""
    name = place.stem.removesuffix("_TRAIN").removesuffix("_TEST")
    became = "standardized per channel"
    files = tuple(f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
    if name != place.stem and all((place.parent / file).is_file() for file in files):
        classes = read_ts(place.parent / files[0]).classes
        said = f"{OFFICIAL}; half of the others for validation"
        return Read(series(place.parent, name=name), "series", files, became, said, classes)
    found = read_ts(place)
    arrays = {"inputs": found.inputs, "targets": found.targets}
    if (found.lengths != found.inputs.shape[1]).any():
        arrays["lengths"] = found.lengths
    made = split(name, arrays, stratify=bool(found.classes), source=str(place), fine=("inputs",), order="series")
    made = transformed(made, standardized_steps)
    return Read(made, "series", (place.name,), became, "at random" + RANK * bool(found.classes), found.classes)


# --- folders ---


def _folder(place: Path, asked: Asked) -> Source | Read:
    """A folder, by what lies in it."""
    entries = [each for each in place.iterdir() if not each.name.startswith((".", "__"))]
    names = [each.name for each in entries]
    lowered = [each.name.lower() for each in entries if each.is_file()]
    if (
        len(entries) == 1
        and entries[0].is_dir()
        and not class_folders(place)
        and not (entries[0] / "inputs.npy").exists()
    ):
        return _folder(entries[0], asked)
    if any("idx" in name or "ubyte" in name for name in lowered):
        return Read(idx(place, examples=asked.examples), "IDX", (place.resolve().name,), BYTES, OFFICIAL)
    is_cifar = any(
        name.startswith(("data_batch", "test_batch")) or name in ("train.bin", "test.bin") for name in lowered
    )
    if is_cifar or {"train", "test"} <= {*lowered}:
        return Read(cifar(place, examples=asked.examples), "CIFAR", (place.resolve().name,), BYTES, OFFICIAL)
    if found := sorted(place.glob("*.ts")):
        return _series(next((each for each in found if each.stem.endswith("_TRAIN")), found[0]))
    if (place / "train").is_dir() and any((place / "train").glob("*.npy")):
        return Read(npy(place), "folder of .npy", (place.resolve().name,), "as they are", "as they lie there")
    if saved := sorted(place.glob("*.npy")):
        arrays = {each.stem: _array(each) for each in saved}
        source = of_arrays(arrays, str(place), form="npy", target=asked.target)
        return replace(source, name=place.resolve().name, files=tuple(each.name for each in saved))
    if class_folders(place):
        return _images(place, asked)
    files = [name for name in sorted(names) if not name.startswith(".")]
    tables = [name for name in files if Path(name).suffix.lower() in (".csv", ".tsv", *FORMS)]
    hint = f"name one of its files, such as {place / tables[0]}" if tables else "name a file"
    raise UserError(
        f"{place}: a folder, but not one of images in folders of their class, of IDX, CIFAR, .ts or .npy files; "
        f"{hint}; in it there are: {', '.join(files[:8]) or 'no files'}"
    )


def _images(place: Path, asked: Asked) -> Source:
    found = read_images(place, size=asked.size)
    parts = [found.parts[part] for part in ("train", "validation", "test") if part in found.parts]
    inputs, targets = (np.concatenate([part[name] for part in parts]) for name in ("inputs", "targets"))
    sizes = {part: len(arrays["targets"]) for part, arrays in found.parts.items()}
    return replace(
        of_pair(inputs, targets, str(place)),
        form="image folder",
        name=place.resolve().name,
        files=(place.resolve().name,),
        classes=found.classes,
        validation=sizes.get("validation", 0),
        test=sizes.get("test", 0),
    )
