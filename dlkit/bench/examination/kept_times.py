"""Step times of the catalogue's problems, kept for a day: measuring them compiles each problem once more."""

import contextlib
import json
import time
from pathlib import Path

from dlkit.bench.doors import open_ours
from dlkit.bench.examination.looks import Looker
from dlkit.bench.identity.hashing import digest
from dlkit.bench.machine.environment import cache_folder, keep
from dlkit.bench.machine.program import program_identity
from dlkit.bench.spec.bound_plan import ProblemSource

__all__ = ["timed"]

DAY = 86400.0  # seconds: a machine that was busy then is not for long


def timed(source: ProblemSource) -> Looker:
    """Returns a problem with its time of a step and its memory: as measured within the last day, or now.

    Args:
        source: how the problem is found; what is one's own is measured each time.
    """
    looker = Looker(source.load())
    place = cache_folder() / "step_seconds" / digest([source.key, program_identity()])
    if source.own is None and (known := _known(place)):
        looker.seconds, looker.memory = known
        return looker
    looker.time()
    if source.own is None:
        keep(place, json.dumps([looker.seconds, looker.memory]).encode("ascii"))
    return looker


def _known(place: Path) -> tuple[float, float] | None:
    """What a file holds; None where it is too old, not there, or not what was written."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        if time.time() - place.stat().st_mtime < DAY:
            with open_ours(place) as file:
                seconds, memory = json.load(file)
            return float(seconds), float(memory)
    return None
