"""A run as event files of TensorBoard, by tensorboardX: a run each final trial, and the verdicts as text.

Scalars are curves, under the metric's name; NaN and infinities stay what they are. Hyperparameters stand in the HParams
tab. Times are those of the export: a run keeps seconds of training, but not when they were.
"""

import time
from pathlib import Path
from typing import Any

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import starting_markdown, visible
from dlkit.bench.export.packages import quiet, require
from dlkit.bench.export.runs import FinalTrial, final_trials, placed, verdicts

__all__ = ["HOW", "write_tensorboard"]

HOW = """`tensorboard --logdir .` shows it. A run each final trial: problem, contender, study and seed. NaN and
infinities are kept. Times are those of the export."""


def write_tensorboard(summary: Summary, folder: Path) -> None:
    """Writes event files: a folder each final trial, and one of the verdicts.

    Args:
        summary: the run.
        folder: an empty one.

    Raises:
        UserError: without tensorboardX.
        OSError: if it cannot be written.
    """
    package: Any = require("tensorboardX", "tensorboardX>=2.6", "tensorboard")
    made = require("tensorboardX.summary", "tensorboardX>=2.6", "tensorboard").hparams
    now = time.time()
    with package.SummaryWriter(str(folder / "verdicts")) as writer:
        for problem, text in verdicts(summary).items():
            shown = "\n\n".join(map(starting_markdown, text.split("\n")))  # its page reads Markdown
            writer.add_text(f"verdict/{visible(problem)}" if problem else "answer", shown, 0, walltime=now)
    with quiet():
        for trial, place in placed(final_trials(summary)):
            with package.SummaryWriter(str(folder / place)) as writer:
                for part in made(_parameters(trial), dict.fromkeys(trial.curves, 0.0)):
                    writer.file_writer.add_summary(part, walltime=now)
                for step, values in trial.points():
                    for metric, value in values.items():
                        writer.add_scalar(metric, value, step, walltime=now)


def _parameters(trial: FinalTrial) -> dict[str, Any]:
    about = {"problem": trial.problem, "contender": trial.contender, "study": trial.study, "seed": trial.seed}
    about |= {"trial": trial.id, "status": trial.status, "place": trial.place}
    values = {f"hyperparameter/{visible(name)}": value for name, value in trial.parameters.items()}
    return {
        name: value if isinstance(value, bool | int | float) else visible(str(value))
        for name, value in (about | values).items()
    }
