"""What is kept: one SQLite file a run, written by the driver alone.

- `database`: the file: its lock, its format, transactions, damage; `tables`: what a new one has.
- `store`: what is in it: plans, trials, targets, timings, the manifest.
"""

__all__ = ["database", "store", "tables"]
