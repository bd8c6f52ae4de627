"""An export comes as a whole or not at all, and takes the place of nothing but an earlier export."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from dlkit.bench.errors import UserError
from dlkit.bench.export.contents import FORMAT

__all__ = ["MARK", "place_file", "place_folder"]

MARK = "export.json"  # what tells a folder as an export, in it


def place_folder(folder: Path, fill: Callable[[Path], None]) -> bool:
    """Fills a folder and moves it to its place.

    Args:
        folder: its place.
        fill: of an empty folder beside it, in which it has to leave `MARK`.

    Returns:
        Whether an earlier export was there, which it replaces.

    Raises:
        UserError: if something else is there, or it cannot be written.
    """
    replaces = _require_free(folder, is_file=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
        ) as here:
            made = Path(here) / folder.name
            made.mkdir()
            fill(made)
            _note_files(made)
            if replaces:
                folder.rename(Path(here) / "before")  # goes with the temporary folder
            elif folder.exists():
                folder.rmdir()  # an empty one
            made.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: the export cannot be written: {_why(error)}; give another place") from None
    return replaces


def place_file(path: Path, write: Callable[[Path], None]) -> bool:
    """Writes a file beside its place and moves it there.

    Args:
        path: its place.
        write: to a path.

    Returns:
        Whether an earlier export was there, which it replaces.

    Raises:
        UserError: if something else is there, or it cannot be written.
    """
    replaces = _require_free(path, is_file=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as here:
            made = Path(here) / path.name
            write(made)
            os.replace(made, path)  # noqa: PTH105
    except OSError as error:
        raise UserError(f"{path}: the export cannot be written: {_why(error)}; give another place") from None
    return replaces


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _note_files(folder: Path) -> None:
    """Adds to the mark which files are the export's, so that no other one is ever replaced with it."""
    facts = json.loads((folder / MARK).read_text(encoding="utf-8"))
    facts["files"] = _files(folder)
    (folder / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir())


def _require_free(path: Path, *, is_file: bool) -> bool:
    """Returns whether an earlier export is there; refuses anything else but an empty folder."""
    if not path.exists() and not path.is_symlink():
        return False
    if not is_file and path.is_dir() and not any(path.iterdir()):
        return False
    if is_file:
        is_ours = path.is_file() and _is_mark(path)
    else:
        is_ours = path.is_dir() and not path.is_symlink() and _is_mark(path / MARK)
    if not is_ours:
        raise UserError(f"{path} exists and is no export of dlkit: give another place, or remove it")
    if not is_file and (others := sorted({*_files(path)} - _own_files(path))):
        raise UserError(
            f"{path} has an earlier export, and {others[0]}, which is not of it: give another place, or move that away"
        )
    return True


def _own_files(folder: Path) -> set[str]:
    try:
        return {*json.loads((folder / MARK).read_text(encoding="utf-8")).get("files", ())}
    except ValueError:
        return set()


def _is_mark(path: Path) -> bool:
    """Whether a file begins as exports do."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(len(FORMAT) + 40).lstrip("{ \n").startswith(f'"format": {json.dumps(FORMAT)}')
    except (OSError, UnicodeDecodeError):
        return False
