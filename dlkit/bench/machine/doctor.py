"""Checks of this machine: whether JAX computes right sums here, and whether the same program gives the same bits."""

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dlkit.bench.doors import private_folder
from dlkit.bench.machine.canaries import canaries
from dlkit.bench.machine.environment import cache_folder, configure_jax, cpu_model
from dlkit.bench.machine.kept_programs import MOST_BYTES, program_folders
from dlkit.bench.machine.linear_algebra import UNKNOWN, blas_threads, libraries
from dlkit.bench.machine.preparation import bound_threads, thread_variables
from dlkit.bench.machine.program import program_identity

__all__ = ["Check", "examine"]


class Check(NamedTuple):
    """What one look at this machine showed.

    Attributes:
        subject: what was looked at.
        text: what was found, in words.
        right: whether it is as it should be; None where nothing can be wrong.
    """

    subject: str
    text: str
    right: bool | None = None


def examine() -> Iterator[Check]:
    """Yields what matters to a run here: versions, devices, libraries, threads, cache, canaries, repeated bits."""
    import jax

    configure_jax()
    identity = program_identity()
    yield Check("python", f"{identity['python']} ({sys.executable})")
    yield Check(
        "versions", ", ".join(f"{name} {identity[name]}" for name in ("jax", "jaxlib", "optax", "flax", "numpy"))
    )
    yield Check("SQLite", sqlite3.sqlite_version)
    kinds = Counter(f"{device.platform}: {device.device_kind}" for device in jax.devices())
    several = "; --devices splits each batch of one trial over some of them" if jax.device_count() > 1 else ""
    yield Check("devices", ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) + several)
    yield Check("processor", cpu_model())
    yield Check("instruction sets", _instruction_sets(identity["cpu_flags"]))
    for each in libraries():
        caller = "SciPy and JAX" if each.package == "scipy" else "NumPy"
        yield Check(f"linear algebra of {caller}", f"{each.name}, kernels for {each.core}")
    yield Check(
        "threads",
        f"{os.cpu_count()} cores; left alone, as in this process, XLA takes {identity['threads']} threads and linear "
        f"algebra {identity['blas_threads']}",
    )
    yield _threads()
    yield _cache()
    for name, right in canaries().items():
        yield Check(f"canary, {name}", "right in 100 of 100" if right else "wrong results; install another jax", right)
    yield _repeated_bits()


def _instruction_sets(flags: str) -> str:
    """The vector instructions of this CPU, and the bound that XLA is given, if any."""
    bound = re.search(r"--xla_cpu_max_isa=(\S+)", os.environ.get("XLA_FLAGS", ""))
    found = " ".join(each for each in flags.split() if each.startswith(("avx", "amx", "asimd", "sve", "fma"))) or "–"
    return f"{found}; XLA_FLAGS let XLA use no more than {bound[1]}" if bound else found


def _threads() -> Check:
    """Checks whether what trains has one thread of each kind, by the account of a process started as a worker."""
    with bound_threads():
        here = blas_threads()
    code = (
        "from dlkit.bench.machine.preparation import prepare_own_process, start_jax; prepare_own_process(); "
        "start_jax(1); from dlkit.bench.machine.program import program_identity; found = program_identity(); "
        "print(found['threads'], found['blas_threads'], sep='|')"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **thread_variables()}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    xla, _, worker = ended.stdout.strip().partition("|")
    if ended.returncode:
        return Check("threads of trials", f"a worker cannot be started: {ended.stderr.strip()[-300:]}", False)
    found = f"in a worker XLA has {xla}, linear algebra {worker}; here linear algebra has {here} while it trains"
    if {xla, worker, here} == {"1"}:
        return Check("threads of trials", found, True)
    unknown = UNKNOWN in f"{worker}{here}"
    return Check("threads of trials", f"{found}; replays are exact where it is 1 each", None if unknown else False)


def _cache() -> Check:
    """Checks whether compiled programs and data can be kept."""
    folder = cache_folder()
    try:
        private_folder(folder)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("cache", f"{folder}: {error.strerror}; set DLKIT_CACHE to a folder that can be written", False)
    whole, *programs = map(_bytes_in, (folder, *program_folders()))
    return Check(
        "cache",
        f"{folder}, {whole / 1e6:.1f} MB, of which {sum(programs) / 1e6:.1f} MB are compiled programs (xla and "
        f"executables keep at most {MOST_BYTES / 2**30:.0f} GiB each, what was used last); it can be deleted while "
        "nothing runs",
        True,
    )


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _repeated_bits() -> Check:
    """Checks whether a small training run and eigenvectors give the same bits every time: replays need that."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    @jax.jit
    def descend(weights: jax.Array, inputs: jax.Array) -> jax.Array:
        def step(weights: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            loss, gradient = jax.value_and_grad(lambda w: jnp.tanh(inputs @ w).var())(weights)
            return weights + 0.1 * gradient, loss

        return jax.lax.scan(step, weights, None, length=200)[1]

    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(64, 64)).astype(np.float32), rng.normal(size=(256, 64)).astype(np.float32)
    decompose = jax.jit(lambda x: (jnp.linalg.eigh(x.T @ x), jnp.linalg.qr(x)[0]))

    def numbers() -> bytes:
        return b"".join(
            np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((descend(*arrays), decompose(arrays[1])))
        )

    with bound_threads():
        curves = {numbers() for _ in range(20)}
    if len(curves) == 1:
        return Check("replays", "exact: 20 runs of one program gave the same bits", True)
    return Check("replays", f"not exact: 20 runs of one program gave {len(curves)} different curves", False)
