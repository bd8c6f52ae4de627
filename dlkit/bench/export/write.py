"""A run written in one of the forms, by its name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import dlkit
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.escapes import in_markdown
from dlkit.bench.export.contents import FORMAT, VERSION, contents
from dlkit.bench.export.csv_files import write_csv
from dlkit.bench.export.json_file import write_json
from dlkit.bench.export.mlflow_store import HOW as MLFLOW
from dlkit.bench.export.mlflow_store import write_mlflow
from dlkit.bench.export.parquet_files import write_parquet
from dlkit.bench.export.placing import MARK, place_file, place_folder
from dlkit.bench.export.tensorboard_events import HOW as TENSORBOARD
from dlkit.bench.export.tensorboard_events import write_tensorboard
from dlkit.bench.export.wandb_offline import HOW as WANDB
from dlkit.bench.export.wandb_offline import write_wandb

__all__ = ["KINDS", "Kind", "Written", "default_place", "write"]

Kind = Literal["csv", "parquet", "json", "tensorboard", "mlflow", "wandb"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Written(NamedTuple):
    """An export that was written.

    Attributes:
        path: the folder, or the file.
        files: how many there are.
        replaced: whether an earlier export was there.
    """

    path: Path
    files: int
    replaced: bool


def default_place(folder: Path, kind: Kind) -> Path:
    """Returns where a run's export goes unless another place is given.

    Args:
        folder: of the run.
        kind: of the export.
    """
    return folder / "export" / ("run.json" if kind == "json" else kind)


def write(summary: Summary, path: Path, kind: Kind) -> Written:
    """Writes a run as a whole or not at all.

    Args:
        summary: the run.
        path: a file for JSON, a folder for the others; an earlier export there is replaced.
        kind: one of `KINDS`.

    Returns:
        What was written.

    Raises:
        UserError: for another kind, a package that is missing, a place where something else is or that cannot be
            written.
    """
    if kind not in KINDS:
        raise UserError(f"there is no export to {kind!r}; {nearest(str(kind), KINDS)}")
    if kind == "json":
        replaced = place_file(path, lambda here: write_json(contents(summary), here))
        return Written(path, 1, replaced)
    replaced = place_folder(path, _filler(summary, kind, path))
    return Written(path, sum(each.is_file() for each in path.rglob("*")), replaced)


def _filler(summary: Summary, kind: Kind, path: Path) -> Callable[[Path], None]:
    """What fills a folder."""
    match kind:
        case "csv":
            return lambda here: write_csv(contents(summary), here)
        case "parquet":
            return lambda here: write_parquet(contents(summary), here)
        case "tensorboard":
            return lambda here: _tracked(summary, here, TENSORBOARD, write_tensorboard)
        case "mlflow":
            return lambda here: _tracked(summary, here, MLFLOW, lambda each, to: write_mlflow(each, to, final=path))
        case _:
            return lambda here: _tracked(summary, here, WANDB, write_wandb)


def _tracked(summary: Summary, here: Path, how: str, fill: Callable[[Summary, Path], None]) -> None:
    """Fills the folder of a tracker and says what it is."""
    fill(summary, here)
    plan = summary.plan
    facts = {"format": FORMAT, "version": VERSION, "dlkit": dlkit.__version__, "run": plan.name, "spec": plan.digest}
    (here / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    text = f"# {in_markdown(plan.name)}\n\n{how}\n\nWritten by dlkit {dlkit.__version__} from spec {plan.digest}.\n"
    (here / "README.md").write_text(text, encoding="utf-8")
