"""Images in folders, one folder a class: ``cat/1.png``, or the same below ``train`` and ``test``; by pillow."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.data.tables import need
from dlkit.bench.errors import UserError

__all__ = ["Images", "class_folders", "read_images"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
LARGEST = 2**31  # bytes of all images


class Images(NamedTuple):
    """Images that were read.

    Attributes:
        parts: ``"train"``, and ``"validation"`` and ``"test"`` where they are there -> arrays: ``"inputs"`` [images,
            height, width, channels] uint8, ``"targets"`` [images] int32.
        classes: the folders' names, in order.
    """

    parts: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    classes: tuple[str, ...]


def class_folders(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Returns split -> class -> files of images; nothing where there are no images in folders."""
    own = {
        part: next((each for each in sorted(folder.iterdir()) if each.is_dir() and each.name.lower() in names), None)
        for part, names in PARTS.items()
    }
    places = {part: place for part, place in own.items() if place} if own["train"] else {"train": folder}
    found: dict[str, dict[str, list[Path]]] = {}
    for part, place in places.items():
        classes = {each.name: _images(each) for each in sorted(place.iterdir()) if each.is_dir()}
        if kept := {name: files for name, files in classes.items() if files}:
            found[part] = kept
    if len(found.get("train", {})) == 1 and not own["train"]:  # a folder above those of the classes
        (name,) = found["train"]
        below = class_folders(folder / name)
        return below if len(below.get("train", {})) > 1 else found
    return found if "train" in found else {}


def _images(folder: Path) -> list[Path]:
    return sorted(
        each for each in folder.rglob("*") if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
    )


def read_images(folder: Path, *, size: tuple[int, int] | None = None) -> Images:
    """Reads the images of a folder.

    Args:
        folder: as `class_folders` understands it.
        size: (height, width) that every image is resized to; None where all have the same.

    Raises:
        UserError: for a file that is no image, images of several sizes, a class of one split alone, or a single class.
    """
    need("PIL", str(folder))
    found = class_folders(folder)
    classes = tuple(sorted({name for part in found.values() for name in part}))
    if len(classes) < 2:
        raise UserError(f"{folder}: expected a folder of images for each class, got {', '.join(classes) or 'none'}")
    for part, of_class in found.items():
        if unknown := sorted({*of_class} - {*found["train"]}):
            raise UserError(
                f"{folder}: '{part}' has the classes {unknown}, which 'train' lacks; put images of them there"
            )
    files = [file for part in found.values() for of_class in part.values() for file in of_class]
    read = [_pixels(file, size) for file in files]
    _require_one_size(folder, files, read)
    if max(each.shape[2] for each in read) == 3:
        read = [np.repeat(each, 3, axis=2) if each.shape[2] == 1 else each for each in read]
    images = np.stack(read)
    parts, start = {}, 0
    for part, of_class in found.items():
        labels = [classes.index(name) for name, each in of_class.items() for _ in each]
        parts[part] = {"inputs": images[start:][: len(labels)], "targets": np.array(labels, np.int32)}
        start += len(labels)
    return Images(parts, classes)


def _pixels(file: Path, size: tuple[int, int] | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image as bytes [height, width, channels]: 1 channel if it is gray, else 3."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # 16 bits as 8: converting would cut bright pixels off
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            if image.mode in ("I", "F"):
                raise UserError(f"{file}: pixels of 32 bits; save images of 8 or 16, or give arrays")
            image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
            if size is not None:
                image = image.resize((size[1], size[0]))
            pixels = np.asarray(image, np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: not an image that can be read ({error}); remove it, or get it again") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _require_one_size(folder: Path, files: Sequence[Path], images: Sequence[np.ndarray[Any, Any]]) -> None:
    sizes = Counter(each.shape[:2] for each in images)
    (height, width), _ = sizes.most_common(1)[0]
    if len(sizes) > 1:
        other = next(file for file, each in zip(files, images, strict=True) if each.shape[:2] != (height, width))
        raise UserError(
            f"{folder}: images of {len(sizes)} sizes: most are {height}x{width}, {other.name} is not; "
            f"resize them all: size=({height}, {width})"
        )
    if (total := len(images) * height * width * 3 * 4) > LARGEST:
        raise UserError(
            f"{folder}: {len(images)} images of {height}x{width} take {total / 2**30:.1f} GiB as numbers; choose a "
            f"smaller size, such as size=({max(1, height // 4)}, {max(1, width // 4)})"
        )
