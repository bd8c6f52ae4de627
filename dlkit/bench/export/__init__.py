"""A run in the forms that other tools read, with a description of every column. Never imports JAX.

- `columns`: what tables have, each column with its kind, unit and meaning; `contents`: a run as such tables.
- `runs`: the final trials as trackers take them: parameters, curves, last values.
- `csv_files`, `parquet_files`, `json_file`: for any tool; `json_file` also reads back.
- `tensorboard_events`, `mlflow_store`, `wandb_offline`: for trackers, each by its own package.
- `placing`: written as a whole or not at all, and over nothing but an earlier export; `packages`: what may be missing.
- `write`: one of them, by its name.
"""

__all__ = [
    "columns",
    "contents",
    "csv_files",
    "json_file",
    "mlflow_store",
    "packages",
    "parquet_files",
    "placing",
    "runs",
    "tensorboard_events",
    "wandb_offline",
    "write",
]
