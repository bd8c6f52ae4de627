"""Measurements of dlkit itself: speed against hand-written loops, honesty of its statistics.

Importing this package pins the process to one core and XLA to one thread, which has to happen before jax is imported.
"""

import os

os.environ["NPROC"] = "1"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
if CORES:
    os.sched_setaffinity(0, {CORES[0]})
