"""What is kept: one SQLite file a run, written by the driver alone.

- `database`: an open file: transactions, checked reads; `tables`: what a new one has; `row_digests`: how it is checked.
- `opening`: a folder's file, opened whole, salvaged or converted, by one writer; `older_formats`: those of before.
- `salvage`, `pages`: what a damaged file still has; `verification`: everything that can be wrong with a folder.
- `store`: what is in it: plans, trials, targets, timings, the manifest.
- `given_files`: what of a file that somebody else may have made is refused before it is opened.
- `trial_rows`: an outcome as a row, and back; `example_scores`: scores as few bytes.
- `kept_code`: one's own code, which a run folder keeps unopened.
- `sound_trials`: what a stored trial has to be before numbers are made of it.
- `manifest`: what a run's numbers rest on, for people to read.
- `models`: trained models beside the store.
- `merging`: several run folders as one.
- `software`: what may stand in one comparison, and how to say what differs.
"""

__all__ = [
    "database",
    "example_scores",
    "given_files",
    "kept_code",
    "manifest",
    "merging",
    "models",
    "older_formats",
    "opening",
    "pages",
    "row_digests",
    "salvage",
    "software",
    "sound_trials",
    "store",
    "tables",
    "trial_rows",
    "verification",
]
