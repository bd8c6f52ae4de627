"""Draws the picture of the README from the first screen of the demo's report: `make pictures`. It takes a Chromium."""

import subprocess
import sys
import tempfile
from pathlib import Path

from dlkit import bench
from tests.browser.chromium import executable

__all__ = ["PICTURE", "draw"]

PICTURE = Path(__file__).parent / "quickstart.png"
SIZE = (1200, 900)  # pixels: the first screen of a report


def draw(run: str, picture: Path) -> Path:
    """Draws the first screen of a run's report.

    Args:
        run: the run's folder.
        picture: a PNG file to write.

    Returns:
        The file.

    Raises:
        RuntimeError: if there is no Chromium.
    """
    browser = executable()
    if browser is None:
        raise RuntimeError("no Chromium: apt-get install chromium, or name one in the variable CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        report = bench.open_run(run).report(Path(folder) / "report.html")
        quiet = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        )
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        command = [browser, *quiet, size, "--virtual-time-budget=8000", f"--screenshot={picture}", report.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    return picture


if __name__ == "__main__":
    print(draw(sys.argv[1], PICTURE))  # noqa: T201
