"""`dlkit export`: a run as files of other tools."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dlkit.bench.export.write import Kind, default_place, write

__all__ = ["export"]


def export(
    run: Path, /, *, kind: Annotated[Kind, Parameter(name="--format")] = "csv", output: Path | None = None
) -> int:
    """Write everything that a run says in a form that other tools read.

    It is written as a whole or not at all, in the place of nothing but an earlier export.

    Args:
        run: the run's folder.
        kind: tables with each column's unit and meaning (csv, parquet, json), or the final trials' curves for a
            tracker (tensorboard, mlflow, wandb, which is offline). All but csv and json need a package.
        output: a folder, or a file for json; RUN/export/FORMAT or RUN/export/run.json by default.
    """
    from dlkit.bench import api

    written = write(api.open_run(run).summary, output or default_place(run, kind), kind)
    many = f" ({written.files} files)" if written.files > 1 else ""
    print(f"export: {written.path}{many}{', in place of an earlier one' if written.replaced else ''}")  # noqa: T201
    return 0
