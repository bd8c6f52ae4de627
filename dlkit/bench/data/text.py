"""Texts as sequences of characters, from Python's help or from a file."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset, require_digest
from dlkit.bench.data.files import content_of
from dlkit.bench.errors import UserError

__all__ = ["characters", "python_topics"]

UNKNOWN = 0  # the id of characters that do not occur in the training part
SHARES = (0.8, 0.9)  # where the training part and the validation part end


def python_topics(*, length: int = 48) -> Dataset:
    """Returns the help texts on Python's own topics, `pydoc_data.topics`, as character ids.

    Topics repeat whole sections of each other, so every line is kept once, where it comes first: otherwise a tenth of
    the validation part's characters and a fifth of the test's would lie in passages of 48 characters or more that the
    training part has. About 355,000 characters are left, of which 1 and 4 % lie in such passages (Python 3.11). The
    text is another in every version of Python, and so is the digest: curves are not comparable between versions, and
    the version is part of the dataset's name.

    Args:
        length: of a sequence.

    Returns:
        As `characters`.
    """
    import platform
    from pydoc_data import topics

    text = _without_repeated_lines("\n\n".join(text for _, text in sorted(topics.topics.items())))
    version = platform.python_version()
    return _dataset(f"python-{version}-topics", text, length, f"pydoc_data.topics of Python {version}")


def _without_repeated_lines(text: str) -> str:
    """Keeps the first of lines that are the same but for spaces, and all empty ones."""
    seen: set[str] = set()
    kept = []
    for line in text.split("\n"):
        words = " ".join(line.split())
        if not words or words not in seen:
            kept.append(line)
        seen.add(words)
    return "\n".join(kept)


def characters(path: str | Path, *, length: int = 48, digest: str = "") -> Dataset:
    """Reads a text file as character ids.

    The first 80 % of the characters are for training, the next 10 % for validation, the last for the test; each part
    is cut into sequences. Ids are the ranks of the training part's characters, from 1; every other character is 0.

    Args:
        path: the file, UTF-8, with a byte order mark or without, packed by gzip or not.
        length: of a sequence.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` [sequences, length] int32, and ``"targets"``, the same one character later.

    Raises:
        UserError: if it cannot be read or is too short, or has another digest.
    """
    file = Path(path)
    try:
        text = content_of(file).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error}); name a text file, or convert it") from error
    return require_digest(_dataset(file.stem, text, length, str(file)), digest)


def _dataset(name: str, text: str, length: int, source: str) -> Dataset:
    if length < 1:
        raise UserError(f"dataset '{name}': length must be at least 1, got {length}")
    if len(text) < 20 * (length + 1):
        raise UserError(
            f"dataset '{name}' from {source}: {len(text)} characters are too few for sequences of {length}; use a "
            "longer text or a smaller length"
        )
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    bounds = [0, *(int(share * len(codes)) for share in SHARES), len(codes)]
    alphabet = np.unique(codes[: bounds[1]])
    places = np.searchsorted(alphabet, codes)
    known = alphabet[np.minimum(places, len(alphabet) - 1)] == codes
    ids = np.where(known, places + 1, UNKNOWN).astype(np.int32)
    train, validation, test = (_sequences(ids[start:end], length) for start, end in itertools.pairwise(bounds))
    return Dataset(name, train, validation, test, source=source)


def _sequences(ids: np.ndarray[Any, np.dtype[np.int32]], length: int) -> dict[str, np.ndarray[Any, Any]]:
    """Sequences one after the other, and each one character later; what does not fill one is left out."""
    count = (len(ids) - 1) // length
    inputs, targets = ids[: count * length], ids[1 : count * length + 1]
    return {"inputs": inputs.reshape(count, length), "targets": targets.reshape(count, length)}
