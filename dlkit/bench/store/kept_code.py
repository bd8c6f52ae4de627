"""One's own code as a run folder keeps it, each object by itself: bytes and text, which nothing here opens."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.local_code import LocalCode
from dlkit.bench.identity.local_imports import LocalModule
from dlkit.bench.store.database import Database

__all__ = ["MOST_BYTES", "About", "KeptCode", "about", "content_digest", "fetch", "insert_code", "sources_of"]

MOST_BYTES = 512 * 2**20  # that a run folder keeps of code and the arrays it holds


class About(NamedTuple):
    """What is known of kept code without opening it.

    Attributes:
        digest: its name in the run folder.
        owner: whose it is: ``"problem 'mine'"``.
        code: its local modules, as text.
        python: which Python made it, such as ``"3.12"``: functions by value are that one's byte code.
        kept_at: when it was first kept.
        settings: JAX's, in the process that made it.
        files: where its functions were written, as far as they travel by value.
    """

    digest: str
    owner: str
    code: LocalCode
    python: str
    kept_at: str
    settings: Mapping[str, Any]
    files: Sequence[str] = ()

    @property
    def sources(self) -> dict[str, str]:
        """File -> its text."""
        return {each.path: each.text for each in self.code.modules.values() if each.text}


class KeptCode(NamedTuple):
    """The code of one object with its content, as `execution.parcels` packs it.

    Attributes:
        about: what is known of it; its digest is found when it is stored.
        data: the packed object.
        buffers: its arrays.
    """

    about: About
    data: bytes
    buffers: Sequence[Any]


def content_digest(kept: KeptCode) -> str:
    """Returns the digest of all that opening some code runs, whatever its folder calls it."""
    return _digest(kept.about, [hashlib.sha256(each).hexdigest() for each in (*kept.buffers, kept.data)])


def _digest(about: About, hashes: Sequence[str]) -> str:
    """The digest of code by the hashes of its arrays and, last, of its packed object."""
    *names, data = hashes
    modules = {name: list(each) for name, each in about.code.modules.items()}
    return digest([data, names, modules, dict(about.settings), about.python, about.owner])


def insert_code(database: Database, kept: KeptCode) -> str | None:
    """Writes code, each of its arrays once; inside a transaction.

    Args:
        database: where.
        kept: what.

    Returns:
        Its digest; None if the folder would keep more than `MOST_BYTES`.
    """
    hashes = [hashlib.sha256(each).hexdigest() for each in (*kept.buffers, kept.data)]
    contents = dict(zip(hashes, (*kept.buffers, kept.data), strict=True))
    *names, data = hashes
    new = {name: each for name, each in contents.items() if not database.has("buffer", name)}
    ((held,),) = database.execute("SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM buffer")
    if held + sum(memoryview(each).nbytes for each in new.values()) > MOST_BYTES:
        return None
    modules = {name: list(each) for name, each in kept.about.code.modules.items()}
    settings = dict(kept.about.settings)
    name = _digest(kept.about, hashes)
    for each, content in new.items():
        database.put("buffer", (each, bytes(content)))
    facts: dict[str, Any] = {"owner": kept.about.owner, "python": kept.about.python, "kept_at": kept.about.kept_at}
    facts["files"] = list(kept.about.files)
    if not database.has("own_code", name):
        texts = [json.dumps(each) for each in (facts, modules, settings, names)]
        database.put("own_code", (name, *texts, data))
    return name


def about(database: Database, spec: str) -> list[About]:
    """Returns what is known of the code that was kept with a spec.

    Args:
        database: where.
        spec: the plan's digest.
    """
    row, found = database.get("spec", spec), []
    with database.parsing():
        for name in json.loads(row[3]) if row else ():
            kept = database.get("own_code", str(name))  # what is no digest names nothing
            if kept is not None:  # else it is lost of a damaged store
                _, facts, modules, settings, *_ = kept
                code = LocalCode({module: LocalModule(*parts) for module, parts in json.loads(modules).items()})
                found.append(About(name, code=code, settings=json.loads(settings), **json.loads(facts)))
    return found


def fetch(database: Database, spec: str, owner: str) -> KeptCode | None:
    """Returns the code of an object that was kept with a spec, with its content; its arrays can be written to.

    None if it was not kept, or is lost of a damaged store.
    """
    with database.parsing():
        for known in about(database, spec):
            if known.owner == owner:
                row = database.get("own_code", known.digest)
                names = (*map(str, json.loads(row[4])), row[5]) if row else ()
                if not all(database.has("buffer", name) for name in names):
                    database.rows("buffer")  # says so, where it is damaged
                parts = [part[1] for name in names if (part := database.get("buffer", name))]
                if row and len(parts) == len(names):
                    return KeptCode(known, parts[-1], [bytearray(each) for each in parts[:-1]])
    return None


def sources_of(others: Mapping[str, str], kept: Sequence[About]) -> dict[str, str]:
    """Returns the texts of kept code and of other files, to be read.

    Args:
        others: file -> text.
        kept: the code.

    Returns:
        The last two parts of a file's path, or more where files share those -> its text.
    """
    texts = {**others, **{file: text for each in kept for file, text in each.sources.items()}}
    parts = {file: file.replace("\\", "/").split("/") for file in texts}
    for last in range(2, 2 + max(map(len, parts.values()), default=0)):
        named = {"/".join(parts[file][-last:]): text for file, text in texts.items()}
        if len(named) == len(texts):
            return named
    return texts
