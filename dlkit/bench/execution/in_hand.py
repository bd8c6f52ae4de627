"""What a worker has in hand, as far as it is known without opening it, and for how long it may give no sign."""

from dataclasses import dataclass

from dlkit.bench.examination.costs import duration
from dlkit.bench.execution.executor import Kind
from dlkit.bench.execution.lease import Phase, Sign
from dlkit.bench.execution.work import Task, Work

__all__ = ["InHand", "hanging"]

TRAINING_FACTOR, TRAINING_MARGIN = 2.0, 10.0  # without a sign for so many times its seconds, and so many more: it hangs
PREPARING_SECONDS = 120.0  # without a sign, at least, while it is not compiled, where a trial has a bound
COMPILING_SECONDS = 1800.0  # of one program, where a trial has a bound


@dataclass(frozen=True)
class InHand:
    """What of a task is known without opening it.

    Attributes:
        label: whom it trains, for messages.
        patience: seconds that each of its trials may train; None for no bound.
        trials: their ids.
    """

    label: str = "its task"
    patience: float | None = None
    trials: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Task) -> "InHand":
        """Returns what a task is."""
        if not isinstance(task, Work):
            return cls()
        label = f"{task.problem.name} / {task.group.recipe.optimizer.name}"
        return cls(label, task.patience, tuple(trial.id for trial in task.trials))

    def trial(self, sign: Sign) -> str | None:
        """Returns the id of the trial that a worker had begun, as its lease says; None for none."""
        return self.trials[sign.trial] if self.trials and sign.phase in (Phase.PREPARING, Phase.TRAINING) else None


def hanging(sign: Sign, seconds: float, answering: float = 0.0) -> tuple[str, Kind] | None:
    """Returns how a worker is said to be ended whose trial may train for so long; None if it goes on.

    Args:
        sign: what its lease says.
        seconds: that the trial may train.
        answering: for how long nothing more of its answer has come; 0 where none has begun.
    """
    bound = TRAINING_FACTOR * seconds + TRAINING_MARGIN
    if answering > bound:
        return f"stopped in the middle of its answer, {duration(answering)} ago; it was ended", "hung"
    if sign.phase == Phase.TRAINING and not sign.is_compiling:
        if sign.silent > bound:
            return (
                f"trained without a sign for {duration(sign.silent)}, where trial_seconds is {seconds:g}; it was ended",
                "hung",
            )
        return None
    bound = COMPILING_SECONDS if sign.is_compiling else max(bound, PREPARING_SECONDS)
    if sign.phase in (Phase.OPENING, Phase.PREPARING, Phase.TRAINING) and sign.silent > bound:
        what = "compiled" if sign.is_compiling else "did not begin to train"
        return f"{what} for {duration(sign.silent)} without a sign; it was ended", "never began"
    return None
