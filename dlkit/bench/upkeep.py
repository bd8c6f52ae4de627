"""A run folder looked after: verified, repaired, converted. Nothing is trained but what is replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlkit.bench import api
from dlkit.bench.errors import UserError
from dlkit.bench.store.opening import Opened
from dlkit.bench.store.store import Store
from dlkit.bench.store.tables import FORMAT
from dlkit.bench.store.verification import mistakes_in

__all__ = ["Verification", "convert_run", "repair_run", "verify_run"]


@dataclass(frozen=True)
class Verification:
    """What was found wrong with a run.

    Attributes:
        trials: how many trials of the current software could be read.
        mistakes: what is wrong, a sentence each.
        replayed: ids of the trials that ran again.
        differing: those of them whose numbers were others, and how, a sentence each.
    """

    trials: int
    mistakes: Sequence[str]
    replayed: Sequence[str] = ()
    differing: Sequence[str] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.mistakes and not self.differing

    def __str__(self) -> str:
        count = f"{self.trials:,} trial{'' if self.trials == 1 else 's'}"
        if self.mistakes:
            first = f"damaged: {count} could be read"
        else:
            first = f"sound: {count}; every row is what was written, and none is missing"
        again = f"{len(self.replayed)} ran again: {len(self.replayed) - len(self.differing)} gave the same bits"
        return "\n".join([first, *([again] if self.replayed else []), *self.mistakes, *self.differing])


def verify_run(run: str | Path, *, replay: int = 0) -> Verification:
    """Looks at everything that a run folder keeps: SQLite's own structure, each row, each table, models, the manifest.

    Args:
        run: the run folder. Nothing is written there.
        replay: how many of its trials run again, drawn at random, the same ones each time, to compare their bits.

    Returns:
        What is wrong, if anything is.

    Raises:
        UserError: if there is no run, or none that can be read at all.
    """
    folder = Path(run)
    if replay < 0:
        raise UserError(f"replay must be 0 or more, got {replay}")
    mistakes = mistakes_in(folder)
    result = api.open_run(folder) if replay else None
    with Store(folder, write=False) as store:
        trials = len(store.records())
    ran = [] if result is None else list(result.replays(sample=replay))
    differing = [
        f"trial {each.trial}: {', '.join(f'{name} differs by up to {by:g}' for name, by in each.largest.items())}"
        for each in ran
        if not each.exact
    ]
    return Verification(trials, mistakes, [each.trial for each in ran], differing)


def repair_run(run: str | Path) -> list[str]:
    """Writes what is left of a damaged store anew, and keeps the damaged file beside it; the next run trains the rest.

    Args:
        run: the run folder.

    Returns:
        What was done, a sentence each; nothing for a store that is sound.

    Raises:
        UserError: if there is no run, if it is in use, or nothing of it can be read.
    """
    said = list[str]()
    _require_run(Path(run))
    Opened(Path(run), write=True, say=said.append).close()
    return said


def convert_run(run: str | Path) -> list[str]:
    """Converts a run of an older store format; the old file is kept beside the new one.

    Args:
        run: the run folder.

    Returns:
        What was done, a sentence each; nothing for a run of today's format.

    Raises:
        UserError: if there is no run, if it is in use, if it is damaged, or of a format that is too old or too new.
    """
    folder = Path(run)
    _require_run(folder)
    with Store(folder, write=False) as store:
        found = store.format
    if found == FORMAT:
        return []
    return repair_run(folder)


def _require_run(folder: Path) -> None:
    Store(folder, write=False).close()
