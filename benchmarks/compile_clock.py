"""No script: what a worker of `large_study` loads first, to count what JAX spends on its programs.

Dask's workers take it as a preload, by its path. Each keeps one file of sums in the folder that `$COMPILE_CLOCK` names.
"""

import atexit
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax.monitoring

PARTS = {
    "jaxpr_trace_duration": "trace",
    "jaxpr_to_mlir_module_duration": "lower",
    "backend_compile_duration": "compile",
    "cache_retrieval_time_sec": "load from the cache",
}
KEPT_EVERY = 1.0  # seconds: a worker may end without notice

seconds: Counter[str] = Counter()
kept = [0.0]


def write() -> None:
    """Keeps the sums."""
    kept[0] = time.monotonic()
    path = Path(os.environ["COMPILE_CLOCK"]) / f"{os.getpid()}.json"
    path.write_text(json.dumps(seconds))


def count(event: str, duration: float, **_: Any) -> None:
    """Adds what JAX reports."""
    if part := PARTS.get(event.rsplit("/", 1)[-1]):
        seconds[part] += duration
        if time.monotonic() - kept[0] > KEPT_EVERY:
            write()


def dask_setup(worker: Any) -> None:
    """Begins to listen; dask calls this."""
    del worker
    jax.monitoring.register_event_duration_secs_listener(count)
    atexit.register(write)


def dask_teardown(worker: Any) -> None:
    """Keeps the last sums; dask calls this, too."""
    del worker
    write()
