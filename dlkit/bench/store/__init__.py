"""What is kept: one SQLite file a run, written by the driver alone.

- `store`: plans, trials, targets, timings, the manifest.
"""

__all__ = ["store"]
