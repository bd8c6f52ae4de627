"""No script: what a worker of `large_study` loads first, to count what JAX spends on its programs.

Python runs it when it starts, as `sitecustomize`; workers are copies of a process that has. Each keeps one file of sums
in the folder that `$COMPILE_CLOCK` names, and writes it whenever there is something new: a worker ends without notice.
"""

import json
import os
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

seconds: Counter[str] = Counter()


def write() -> None:
    """Keeps the sums."""
    path = Path(os.environ["COMPILE_CLOCK"]) / f"{os.getpid()}.json"
    path.write_text(json.dumps(seconds))


def count(event: str, duration: float, **_: Any) -> None:
    """Adds what JAX reports."""
    if part := PARTS.get(event.rsplit("/", 1)[-1]):
        seconds[part] += duration
        write()


jax.monitoring.register_event_duration_secs_listener(count)
