"""One's own code as a run folder keeps it: bytes and text, which nothing here opens."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.local_code import LocalCode
from dlkit.bench.identity.local_imports import LocalModule
from dlkit.bench.store.database import Database

__all__ = ["MOST_BYTES", "About", "KeptCode", "about", "fetch", "insert_code"]

MOST_BYTES = 512 * 2**20  # that a run folder keeps of code and the arrays it holds


class About(NamedTuple):
    """What is known of kept code without opening it.

    Attributes:
        digest: its name in the run folder.
        owners: whose it is: ``"problem 'mine'"``.
        code: its local modules, as text.
        python: which Python made it, such as ``"3.12"``: functions by value are that one's byte code.
        kept_at: when it was first kept.
        settings: JAX's, in the process that made it.
        files: where its functions were written, as far as they travel by value.
    """

    digest: str
    owners: Sequence[str]
    code: LocalCode
    python: str
    kept_at: str
    settings: Mapping[str, Any]
    files: Sequence[str] = ()

    @property
    def sources(self) -> dict[str, str]:
        """File, with the folder it is in -> its text."""
        return {"/".join(each.path.split("/")[-2:]): each.text for each in self.code.modules.values() if each.text}


class KeptCode(NamedTuple):
    """Code with its content, as `execution.parcels` packs it.

    Attributes:
        about: what is known of it; its digest is found when it is stored.
        data: the packed objects.
        buffers: their arrays.
    """

    about: About
    data: bytes
    buffers: Sequence[Any]


def insert_code(database: Database, kept: KeptCode) -> str | None:
    """Writes code, each of its arrays once; inside a transaction.

    Args:
        database: where.
        kept: what.

    Returns:
        Its digest; None if the folder would keep more than `MOST_BYTES`.
    """
    names = [hashlib.sha256(each).hexdigest() for each in kept.buffers]
    known = {row[0] for row in database.execute("SELECT digest FROM buffer")}
    new = {name: each for name, each in zip(names, kept.buffers, strict=True) if name not in known}
    held = database.execute("SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM buffer")[0][0]
    held += database.execute("SELECT COALESCE(SUM(LENGTH(data)), 0) FROM own_code")[0][0]
    if held + len(kept.data) + sum(memoryview(each).nbytes for each in new.values()) > MOST_BYTES:
        return None
    modules = {name: list(each) for name, each in kept.about.code.modules.items()}
    data = hashlib.sha256(kept.data).hexdigest()
    settings = dict(kept.about.settings)
    name = digest([data, names, modules, settings, kept.about.python, list(kept.about.owners)])
    for each, content in new.items():
        database.execute("INSERT INTO buffer VALUES (?, ?)", (each, content))
    facts = {"owners": list(kept.about.owners), "python": kept.about.python, "kept_at": kept.about.kept_at}
    facts["files"] = list(kept.about.files)
    texts = [json.dumps(each) for each in (facts, modules, settings, names)]
    database.execute("INSERT OR IGNORE INTO own_code VALUES (?, ?, ?, ?, ?, ?)", (name, *texts, kept.data))
    return name


def about(database: Database, spec: str) -> About | None:
    """Returns what is known of the code that was kept with a spec; None if none was.

    Args:
        database: where.
        spec: the plan's digest.
    """
    rows = database.execute(
        "SELECT own_code.digest, facts, modules, settings FROM own_code JOIN spec ON spec.own_code = own_code.digest "
        "WHERE spec.digest = ?",
        (spec,),
    )
    if not rows:
        return None
    name, facts, modules, settings = rows[0]
    with database.parsing():
        code = LocalCode({module: LocalModule(*parts) for module, parts in json.loads(modules).items()})
        return About(name, code=code, settings=json.loads(settings), **json.loads(facts))


def fetch(database: Database, spec: str) -> KeptCode | None:
    """Returns the code that was kept with a spec, with its content; None if none was."""
    with database.snapshot():
        known = about(database, spec)
        if known is None:
            return None
        ((names, data),) = database.execute("SELECT buffers, data FROM own_code WHERE digest = ?", (known.digest,))
        with database.parsing():
            wanted = json.loads(names)
            contents = {
                name: database.execute("SELECT bytes FROM buffer WHERE digest = ?", (name,))[0][0] for name in wanted
            }
            return KeptCode(known, data, [contents[name] for name in wanted])
