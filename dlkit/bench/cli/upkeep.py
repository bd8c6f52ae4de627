"""Commands that look after a run's folder: verify and convert."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dlkit.bench.cli.exit_codes import DIFFERENT
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible

__all__ = ["convert", "verify"]


def verify(
    run: Path,
    /,
    *,
    replay: int = 0,
    repair: bool = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Look at everything that a run's folder keeps, and say what is damaged; exit code 1 if something is.

    Args:
        run: the run's folder, such as runs/quickstart.
        replay: how many trials run again, drawn at random, to compare their bits.
        repair: write what is left of a damaged store anew; the damaged file is kept beside it, and the next run trains
            what is missing.
        yes: with --replay, run also code that was not made here, without asking.
    """
    from dlkit.bench.cli.consent import require_consent
    from dlkit.bench.upkeep import repair_run, verify_run

    if repair:
        if replay:
            raise UserError("--repair goes alone; verify with --replay afterwards")
        for sentence in repair_run(run):
            _say(sentence)
    if replay > 0:
        require_consent(run, yes=yes)
    found = verify_run(run, replay=replay)
    _say(str(found))
    return 0 if found.sound else DIFFERENT


def convert(run: Path, /) -> int:
    """Convert a run that an older dlkit wrote to today's store format; the old file is kept beside the new one.

    Args:
        run: the run's folder.
    """
    from dlkit.bench.upkeep import convert_run

    done = convert_run(run)
    for sentence in done or ["nothing to do: it is of today's format"]:
        _say(sentence)
    return 0


def _say(text: str) -> None:
    """Prints what may have words of whoever made the run."""
    for line in text.splitlines():
        print(visible(line))  # noqa: T201
