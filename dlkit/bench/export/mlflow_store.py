"""A run as an MLflow store in one SQLite file: an experiment of the run's name, an MLflow run each final trial.

MLflow keeps NaN, and has the largest float in place of infinity. Metrics are curves; parameters are hyperparameters;
tags say problem, contender, study, seed, status and place. The verdicts are tags of the experiment.
"""

import time
from pathlib import Path
from typing import Any

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import visible
from dlkit.bench.export.packages import quiet, require
from dlkit.bench.export.runs import FinalTrial, final_trials, verdicts

__all__ = ["FILE", "HOW", "write_mlflow"]

FILE = "mlflow.db"
MOST_METRICS, LONGEST_TAG, LONGEST_PARAMETER = 1000, 5000, 6000  # that MLflow takes at a time, and of letters
HOW = f"""`mlflow ui --backend-store-uri sqlite:///{FILE}`, in this folder, shows it. An MLflow run each final trial.
NaN is kept; MLflow has the largest float, 1.8e308, in place of infinity. Times are those of the export."""


def write_mlflow(summary: Summary, folder: Path, *, final: Path) -> None:
    """Writes the store.

    Args:
        summary: the run.
        folder: an empty one.
        final: where that folder will be: MLflow notes where artifacts of its runs would go.

    Raises:
        UserError: without mlflow and SQLAlchemy.
        OSError: if it cannot be written.
    """
    require("sqlalchemy", "mlflow>=3.17", "mlflow")
    with quiet():
        mlflow: Any = require("mlflow", "mlflow>=3.17", "mlflow")
        entities: Any = require("mlflow.entities", "mlflow>=3.17", "mlflow")
        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / FILE}")
        tags = {f"verdict.{name}" if name else "answer": text for name, text in verdicts(summary).items()}
        experiment = client.create_experiment(
            visible(summary.plan.name),
            artifact_location=(final.absolute() / "artifacts").as_uri(),
            tags={_key(name): text[:LONGEST_TAG] for name, text in tags.items()} | {"spec": summary.plan.digest},
        )
        now = int(1000 * time.time())
        for trial in final_trials(summary):
            _write(client, entities, experiment, trial, now)


def _write(client: Any, entities: Any, experiment: str, trial: FinalTrial, now: int) -> None:
    """An MLflow run; times in milliseconds."""
    tags = {"problem": trial.problem, "contender": trial.contender, "study": trial.study, "seed": trial.seed}
    tags |= {"trial": trial.id, "status": trial.status, "place": trial.place, "reason": trial.reason}
    made = client.create_run(
        experiment,
        start_time=now,
        run_name=trial.name,
        tags={name: visible(str(value), keep="\n")[:LONGEST_TAG] for name, value in tags.items()},
    )
    parameters = [
        entities.Param(_key(name), visible(str(value))[:LONGEST_PARAMETER]) for name, value in trial.parameters.items()
    ]
    metrics = [
        entities.Metric(_key(name), value, now, step)
        for step, values in trial.points()
        for name, value in values.items()
    ]
    client.log_batch(made.info.run_id, params=parameters, metrics=metrics[:MOST_METRICS])
    for first in range(MOST_METRICS, len(metrics), MOST_METRICS):
        client.log_batch(made.info.run_id, metrics=metrics[first : first + MOST_METRICS])
    client.set_terminated(made.info.run_id, "FAILED" if trial.status == "failed" else "FINISHED", now)


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return "".join(sign if sign.isalnum() or sign in "_-. :/" else "_" for sign in name)[:250]
