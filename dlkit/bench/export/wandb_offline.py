"""A run as offline runs of Weights & Biases, one a final trial; ``wandb sync`` sends them, and nothing before that.

Curves are history, at their steps; NaN and infinities are kept. Hyperparameters, problem, contender, study and seed are
the configuration; problem is the group, contender the job type.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import file_name, visible
from dlkit.bench.export.packages import require
from dlkit.bench.export.runs import final_trials, verdicts

__all__ = ["HOW", "write_wandb"]

LONGEST = 100  # letters of a project's name
HOW = """`wandb sync wandb/offline-run-*`, in this folder, sends it to a server; the export sent nothing. A W&B run each
final trial, grouped by problem. NaN and infinities are kept."""


def write_wandb(summary: Summary, folder: Path) -> None:
    """Writes the offline runs.

    Args:
        summary: the run.
        folder: an empty one.

    Raises:
        UserError: without wandb.
        OSError: if it cannot be written.
    """
    with _offline():
        wandb: Any = require("wandb", "wandb>=0.20", "wandb")
        settings = wandb.Settings(
            mode="offline", silent=True, console="off", x_disable_stats=True, disable_git=True, x_disable_meta=True
        )
        texts = verdicts(summary)
        for trial in final_trials(summary):
            about = {"problem": trial.problem, "contender": trial.contender, "study": trial.study, "seed": trial.seed}
            about |= {"trial": trial.id, "spec": summary.plan.digest}
            run = wandb.init(
                project=file_name(summary.plan.name)[:LONGEST],
                name=trial.name[:128],
                group=visible(trial.problem)[:128],
                job_type=visible(trial.contender)[:64],
                dir=str(folder),
                config={**about, "hyperparameters": dict(trial.parameters)},
                settings=settings,
                reinit="create_new",
            )
            for step, values in trial.points():
                run.log(values, step=step)
            run.summary["status"], run.summary["place"] = trial.status, trial.place
            run.summary["verdict"], run.summary["reason"] = texts.get(trial.problem, ""), trial.reason
            run.finish()
        wandb.teardown()


@contextmanager
def _offline() -> Iterator[None]:
    """Whatever the environment says: nothing is sent."""
    before = {name: os.environ.get(name) for name in ("WANDB_MODE", "WANDB_SILENT")}
    os.environ.update({"WANDB_MODE": "offline", "WANDB_SILENT": "true"})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
