"""Which of the code that run folders keep was made here, or was agreed to: a replay runs that without asking.

A name in the user's cache folder for each: the digest of all that opening the code runs. Whoever edits a run's folder
makes another one of it.
"""

from contextlib import suppress
from pathlib import Path

from dlkit.bench.doors import private_folder, stranger_in
from dlkit.bench.machine.environment import cache_folder
from dlkit.bench.store.kept_code import KeptCode, content_digest
from dlkit.bench.store.store import Store

__all__ = ["remember", "strange_code"]

FOLDER = "known_code"


def remember(digest: str) -> None:
    """Notes that some code may run here; nothing where the cache cannot be written: then it is asked for again.

    Args:
        digest: of the code.
    """
    with suppress(OSError):
        (private_folder(cache_folder() / FOLDER) / digest).touch(mode=0o600)


def strange_code(folder: Path) -> list[KeptCode]:
    """Returns the code that a run folder keeps and that was not made here, nor agreed to; nothing of it is opened.

    Args:
        folder: the run folder.
    """
    known = cache_folder() / FOLDER
    is_ours = known.is_dir() and not stranger_in(known)
    with Store(folder, write=False) as store:
        spec = store.current_plan().digest
        every = [store.code(spec, about.owner) for about in store.about_code(spec)]
    return [each for each in every if each and not (is_ours and (known / content_digest(each)).is_file())]
