"""What is kept: one SQLite file a run, written by the driver alone.

- `database`: the file: its lock, its format, transactions, damage; `tables`: what a new one has.
- `store`: what is in it: plans, trials, targets, timings, the manifest.
- `trial_rows`: an outcome as rows, and back; `example_scores`: scores as few bytes.
- `kept_code`: one's own code, which a run folder keeps unopened.
- `software`: what may stand in one comparison, and how to say what differs.
"""

__all__ = ["database", "example_scores", "kept_code", "software", "store", "tables", "trial_rows"]
