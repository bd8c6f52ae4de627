"""What is kept: one SQLite file a run, written by the driver alone.

- `database`: the file: its lock, its format, transactions, damage; `tables`: what a new one has.
- `store`: what is in it: plans, trials, targets, timings, the manifest; `example_scores`: scores as few bytes.
"""

__all__ = ["database", "example_scores", "store", "tables"]
