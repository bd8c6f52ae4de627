"""What trained generative models make, drawn for the report: images in a grid, points in a square."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.escapes import in_html

__all__ = ["drawn_samples", "grid_of_images", "png", "square_of_points"]

GAP = 1  # pixels between images
SIDE = 220  # of a picture, in CSS pixels
SHARE = 0.98  # of the points, within the square of a contender
DOT = 1.6


def drawn_samples(comparison: Comparison) -> str:
    """Returns what each contender's first final trial generated, as a row of pictures: HTML; empty if nothing was.

    Args:
        comparison: the problem; its contenders are drawn best first.
    """
    found = [(each.label, samples) for each in comparison.results if (samples := _first(each.outcomes)) is not None]
    if not found:
        return ""
    side = _side([samples for _, samples in found if samples.ndim == 2])
    pictures = [
        f"<figure>{_picture(label, samples, side)}"
        f"<figcaption>{in_html(label)}{_beyond(samples, side)}</figcaption></figure>"
        for label, samples in found
    ]
    return (
        '<div class="samples-of"><p class="about"><b>Samples.</b> What each optimizer\'s first seed generates at its '
        f'end, always from the same latent vectors.</p><div class="samples">{"".join(pictures)}</div></div>'
    )


def grid_of_images(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns images side by side in a grid that is about as wide as high.

    Args:
        images: [samples, height, width] in [0, 1]; what lies outside is cut off, NaN is black.

    Returns:
        [rows, columns] uint8, 0 black.
    """
    count, height, width = images.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    canvas = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP), 255, np.uint8)
    bright = np.round(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
    for place, image in enumerate(bright):
        top, left = place // across * (height + GAP), place % across * (width + GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Returns a grey picture as a PNG file.

    Args:
        pixels: [rows, columns] uint8.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels, np.uint8))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def square_of_points(points: np.ndarray[Any, Any], side: float, label: str) -> str:
    """Returns points as SVG: those of a square around the origin, y upwards.

    Args:
        points: [samples, 2].
        side: half of the square's side.
        label: what the picture is called.
    """
    inside = points[_within(points, side)]
    places = (inside * [1, -1] / side + 1) / 2 * SIDE
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}"/>' for x, y in places)
    return f'<svg viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{in_html(label)}">{dots}</svg>'


def _first(outcomes: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """The samples that can be drawn: points of a plane, or grey images."""
    every = (each.samples for each in outcomes if each is not None and each.samples is not None)
    return next((each for each in every if each.size and (each.ndim == 3 or each.shape[1:] == (2,))), None)


def _picture(label: str, samples: np.ndarray[Any, Any], side: float) -> str:
    name = f"samples of {label}"
    if samples.ndim == 2:
        return square_of_points(samples, side, name)
    data = base64.b64encode(png(grid_of_images(samples))).decode()
    return f'<img alt="{in_html(name)}" src="data:image/png;base64,{data}">'


def _side(points: Sequence[np.ndarray[Any, Any]]) -> float:
    """Half the side of a square, the same for all: it holds almost all points of the contender in the middle."""
    with np.errstate(invalid="ignore"):
        reaches = [np.quantile(np.abs(np.nan_to_num(each)).max(axis=1), SHARE) for each in points]
    return max(float(np.median(reaches)) * 1.25, 1e-6) if reaches else 1.0


def _within(points: np.ndarray[Any, Any], side: float) -> np.ndarray[Any, Any]:
    return np.asarray((np.abs(points) <= side).all(axis=1))


def _beyond(samples: np.ndarray[Any, Any], side: float) -> str:
    outside = 0 if samples.ndim != 2 else int((~_within(samples, side)).sum())
    return f": {outside} of {len(samples)} points lie outside" if outside else ""
