"""Before code that a run's folder keeps runs as the user: whose it is, its text, and the question whether it may."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible

if TYPE_CHECKING:
    from dlkit.bench.store.kept_code import KeptCode

__all__ = ["require_consent"]

QUESTION = "run it as you? [y]es, [n]o, [s]how its text: "


def require_consent(run: Path, *, yes: bool) -> None:
    """Asks before code runs that a run's folder keeps, unless it was made here or was agreed to before.

    Args:
        run: the run's folder.
        yes: whether the user agrees beforehand.

    Raises:
        UserError: if the user does not agree, or nobody is there to be asked.
    """
    from dlkit.bench.execution.known_code import remember, strange_code
    from dlkit.bench.execution.own_code import whose
    from dlkit.bench.store.kept_code import content_digest

    strange = strange_code(run)
    if not strange:
        return
    what = f"{run} keeps code that was not made here, and a replay runs it: {whose([each.about for each in strange])}"
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UserError(
            f"{what}. No terminal is there to ask whether it may: `dlkit replay` in a terminal shows it first; "
            "--yes runs it"
        )
    if not yes and not _agrees(what, strange):
        raise UserError("nothing was run; --spec SPEC takes the functions from files of your own")
    for each in strange:
        remember(content_digest(each))


def _agrees(what: str, strange: "Sequence[KeptCode]") -> bool:
    """Asks, and shows the text where that is asked for."""
    print(visible(what), file=sys.stderr)  # noqa: T201
    while True:
        print(QUESTION, end="", file=sys.stderr, flush=True)  # noqa: T201
        answer = sys.stdin.readline().strip().lower()
        if answer in ("s", "show"):
            for line in _text(strange):
                print(visible(line), file=sys.stderr)  # noqa: T201
        elif answer in ("y", "yes"):
            return True
        elif answer in ("", "n", "no"):
            return False


def _text(strange: "Sequence[KeptCode]") -> Iterator[str]:
    """The text that came along with some code, and what has none."""
    texts = {file: text for each in strange for file, text in each.about.sources.items()}
    for file, text in texts.items():
        yield f"--- {file}"
        yield from text.splitlines()
    for each in strange:
        if bare := [file for file in each.about.files if file not in texts]:
            yield f"--- {each.about.owner}: of {', '.join(bare)} only the byte code of functions is kept, without text"
