"""Scores of test examples as bytes: a bit an example where all are 0 or 1, as hits are, else float32; deflated."""

import zlib
from typing import Any

import numpy as np

__all__ = ["packed", "unpacked"]

Floats = np.ndarray[Any, Any]
MOST_EXAMPLES = 2**28  # of a trial: 1 GiB of float32
ONE = np.float32(1).view(np.uint32)


def packed(scores: Floats) -> tuple[int, str, bytes]:
    """Returns how many scores there are, in which form they are written, and the bytes.

    Args:
        scores: [examples] float32.

    Example:
        >>> unpacked(*packed(np.array([1.0, 0.0, 1.0], np.float32)))
        array([1., 0., 1.], dtype=float32)
    """
    numbers = scores.astype("<f4")
    words = numbers.view("<u4")
    if ((words == 0) | (words == ONE)).all():  # by bits: -0.0 is no 0
        return len(numbers), "bits", zlib.compress(np.packbits(words != 0).tobytes())
    return len(numbers), "float32", zlib.compress(numbers.tobytes())


def unpacked(count: int, form: str, blob: bytes) -> Floats:
    """Returns the scores [count] float32, bit for bit.

    Raises:
        ValueError: if the bytes are damaged.
    """
    size = {"bits": -(-count // 8), "float32": 4 * count}.get(form)
    if size is None or not 0 <= count <= MOST_EXAMPLES:
        raise ValueError(f"scores of examples: {count} in the form {form!r}, of at most {MOST_EXAMPLES}")
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(blob, size + 1)  # what is damaged may unpack to any size
    except zlib.error as error:
        raise ValueError(f"scores of examples: {error}") from None
    if len(raw) != size or not unpacking.eof:
        raise ValueError(
            f"scores of examples: expected {size} bytes, found {len(raw)}{'' if unpacking.eof else ' and more'}"
        )
    if form == "bits":
        scores = np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(np.float32)
    else:
        scores = np.frombuffer(raw, "<f4").astype(np.float32)
    return scores
