"""This process and its computer: the cache folder, how JAX is configured and compiles, threads, the kind of CPU."""

import hashlib
import os
import platform
import warnings
from functools import cache
from pathlib import Path

from dlkit.bench.doors import private_folder, whole_file

__all__ = [
    "cache_folder",
    "compiler_options",
    "configure_jax",
    "cpu_flags",
    "cpu_model",
    "keep",
    "memory_limit",
    "own_cores",
    "threads",
]


def cache_folder() -> Path:
    """Returns the folder for what can be made again: ``$DLKIT_CACHE``, or the user's cache folder of this system."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("DLKIT_CACHE") or user_cache_path("dlkit"))


def keep(path: Path, content: bytes) -> None:
    """Writes a file of the cache, whole or not at all; a folder that cannot be written costs time, not the run.

    Nor is one written that others may write to: see `doors.private_folder`.

    Args:
        path: which file.
        content: what it holds.
    """
    try:
        private_folder(path.parent)
        with whole_file(path, permissions=0o600) as file:
            file.write(content)
    except OSError:
        pass


@cache
def configure_jax() -> None:
    """Points JAX's persistent compilation cache at the user's cache folder, one folder per kind of CPU.

    A folder that cannot be written costs time, not the run. A cache that the user has already set up is left alone.
    XLA logs an error for every program it loads from that cache on CPUs whose LLVM tuning says "prefer-no-gather"
    (openxla/xla issue 44565); nothing is wrong then, so its log is silenced.
    """
    import jax
    from jaxlib import utils

    utils.absl_set_min_log_level(3)
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = cache_folder() / "xla" / hashlib.sha256(cpu_flags().encode()).hexdigest()[:12]
    try:
        private_folder(folder)
    except OSError as error:
        warnings.warn(f"compilation is not cached: {folder}: {error.strerror}", stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compiler_options() -> dict[str, int]:
    """Returns XLA options for training programs: on CPU, level 1.

    Measured: levels 1 to 3 compile in the same time, with the same bits and speed of steps; level 0 trains 3.5 times
    as slowly. What LLVM can leave out (expensive passes, modules in parts) is worth a tenth at most.
    """
    import jax

    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}


def own_cores() -> list[int]:
    """Returns the cores this process may run on: a batch system or a container may give fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def threads() -> int:
    """Returns the size of XLA's CPU thread pool in this process: it changes the last bits of results.

    On Linux the pool's threads are counted once JAX has started; elsewhere ``$NPROC`` or the number of cores decides.
    """
    import jax

    jax.devices()
    return _pool() or int(os.environ.get("NPROC") or os.cpu_count() or 1)


@cache
def _pool() -> int:
    """How many threads XLA's pool has, once JAX has started: it keeps them. 0 where the system does not tell."""
    try:
        names = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]  # noqa: PTH208
    except OSError:
        return 0
    return sum(name.startswith("tf_XLAEigen") for name in names)


@cache
def cpu_flags() -> str:
    """Returns the instruction sets of this CPU, sorted; its architecture where the system does not tell."""
    return (
        " ".join(sorted(_cpu_says("flags", "Features").split()))
        or f"{platform.machine()} {platform.processor()}".strip()
    )


@cache
def cpu_model() -> str:
    """Returns what this CPU calls itself: compilers and libraries choose by it how they use what it can do."""
    return _cpu_says("model name", "CPU part") or platform.processor() or platform.machine()


def _cpu_says(*names: str) -> str:
    """The first core's answer to one of some names; empty where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(names):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def memory_limit() -> int:
    """Returns the bytes of memory that this process and others beside it may take: the machine's, or its container's.

    Where the system tells neither, 8 GiB.
    """
    limit = 8 * 2**30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory.high", "memory/memory.limit_in_bytes", "memory/memory.soft_limit_in_bytes"):
        try:
            bound = int((Path("/sys/fs/cgroup") / name).read_text())
        except (OSError, ValueError):  # "max", or not there
            continue
        limit = min(limit, bound) if bound > 0 else limit
    return limit
