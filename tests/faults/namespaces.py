"""Two machines in one: network namespaces, a scheduler in one of them and workers in the other, with certificates."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
PORT = 8786


def certificates(folder: Path) -> list[str]:
    """Makes an authority and a certificate by it; returns dask's options for them."""
    folder.mkdir(parents=True, exist_ok=True)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
    for command in (
        ("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"),
        ("req", *new_key, "-subj", "/CN=node", "-keyout", "key.pem", "-out", "request.pem"),
        ("x509", "-req", "-in", "request.pem", *signed, "-CAcreateserial", "-days", "2", "-out", "cert.pem"),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    given = {"--tls-ca-file": "ca.pem", "--tls-cert": "cert.pem", "--tls-key": "key.pem"}
    return [word for option, file in given.items() for word in (option, str(folder / file))]


def eventually(what: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)


class Machines:
    """Two network namespaces with a cable between them.

    Attributes:
        here: the name of the one with driver and scheduler.
        there: the name of the one with the workers.
        folder: where logs and certificates lie.
        tls: dask's options for the certificates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here, self.there = f"dlkit-a{os.getpid()}", f"dlkit-b{os.getpid()}"
        self.tls = certificates(folder / "certificates")
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"10.78.0.1:{PORT}"

    def start(self) -> None:
        """Makes the namespaces."""
        ends = f"va{os.getpid()}", f"vb{os.getpid()}"
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]], check=True)
        for name, end, last in zip((self.here, self.there), ends, (1, 2), strict=True):
            subprocess.run(["ip", "link", "set", end, "netns", name], check=True)
            for command in (f"addr add 10.78.0.{last}/24 dev {end}", f"link set {end} up", "link set lo up"):
                subprocess.run(["ip", "-n", name, *command.split()], check=True)

    def end_all(self) -> None:
        """Ends what runs in them."""
        while self._running:
            self.kill(self._running.pop())

    def stop(self) -> None:
        """Ends what runs in them, and removes them."""
        self.end_all()
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def run(
        self, where: str, command: Sequence[str], log: str, *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a process in a namespace, in a group of its own; its output goes to a file."""
        with (self.folder / log).open("wb") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", where, sys.executable, *command],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def said(self, log: str) -> str:
        """The output of a process so far."""
        return (self.folder / log).read_text(errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process and all of its group, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)

    def scheduler(self, log: str = "scheduler.log") -> subprocess.Popen[bytes]:
        """Starts a scheduler, and waits until it listens."""
        options = ["--protocol", "tls", "--host", "10.78.0.1", "--port", str(PORT), "--no-dashboard", *self.tls]
        process = self.run(self.here, ["-m", "distributed.cli.dask_scheduler", *options], log, cwd=self.folder)
        eventually(lambda: "Scheduler at" in self.said(log))
        return process

    def worker(
        self, log: str, *options: str, env: Mapping[str, str] | None = None, tls: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Starts a worker on the other machine: in another folder, and with another home."""
        place = self.folder / f"place of {log}"
        place.mkdir()
        given = ["--protocol", "tls", "--nthreads", "1", "--no-dashboard", *(options or ("--no-nanny",))]
        command = ["-m", "distributed.cli.dask_worker", f"tls://{self.address}", *given, *(tls or self.tls)]
        home = {"HOME": str(place), "XDG_CACHE_HOME": str(self.folder / "cache"), **(env or {})}
        return self.run(self.there, command, log, cwd=place, env=home)

    def is_there(self, log: str) -> bool:
        """Whether a worker has reached the scheduler."""
        return "Starting established connection" in self.said(log)

    def driver(self, spec: Path, log: str, *options: str, tls: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Starts `dlkit run` beside the scheduler, in the folder of the spec."""
        given = [word.replace("--tls-ca-file", "--tls-ca") for word in (tls or self.tls)]
        command = ["-m", "dlkit", "run", spec.name, "--executor", f"tls://{self.address}", *given, "--no-report"]
        return self.run(self.here, [*command, "--no-check", *options], log, cwd=spec.parent)


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """Two machines; skips where they cannot be made."""
    if shutil.which("ip") is None or shutil.which("openssl") is None:
        pytest.skip("needs the commands ip and openssl")
    made = Machines(folder)
    try:
        made.start()
    except subprocess.CalledProcessError as error:
        made.stop()
        pytest.skip(f"no network namespaces here: {(error.stderr or b'').decode().strip() or error}")
    try:
        yield made
    finally:
        made.stop()


def stored(run: Path) -> int:
    """How many trials of a run are stored."""
    file = run / "store.sqlite"
    if not file.is_file():
        return 0
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db,
    ):
        return int(db.execute("SELECT COUNT(*) FROM trial").fetchone()[0])
    return 0
