"""Draws the picture of the README and of the documentation from the demo's run: `make pictures`."""

import shutil
import sys
import tempfile
from pathlib import Path

from dlkit import bench

__all__ = ["PICTURES", "draw"]

FOLDER = Path(__file__).parent
PICTURES = {"noisy-quadratic.png": "quickstart.png"}  # figure of the run -> picture of the documentation


def draw(run: str, folder: Path) -> list[Path]:
    """Draws the pictures of a run.

    Args:
        run: the demo's folder.
        folder: where the pictures go.

    Returns:
        Their files.
    """
    with tempfile.TemporaryDirectory() as figures:
        bench.open_run(run).figures(figures, extension="png")
        return [Path(shutil.copy(Path(figures) / name, folder / picture)) for name, picture in PICTURES.items()]


if __name__ == "__main__":
    print(*draw(sys.argv[1], FOLDER), sep="\n")  # noqa: T201
