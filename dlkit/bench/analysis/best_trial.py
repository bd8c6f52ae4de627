"""Which final trial stands for a contender on a problem, where one model is asked for."""

import math

from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.plan.orientation import final_value, oriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["best_trial"]


def best_trial(problem: PlannedProblem, result: ContenderResult) -> Outcome | str:
    """Returns the final trial of the typical study whose final value is best on validation.

    The typical study is the one whose value is the median of all studies': the setting that tables show. Among its
    fresh seeds validation chooses, so that the value on test is not flattered. Where nothing is held out, the objective
    itself does.

    Args:
        problem: which.
        result: of the contender on it.

    Returns:
        The outcome; or why there is none, in words.
    """
    if not result.is_complete:
        return result.failure or "its trials have not all run yet"
    ended = [each for each in result.typical.ended if each.status in ("finished", "stopped")]
    if any(each.trial.gradients is not None for each in ended):
        return (
            "its curves end within a budget of gradients or examples, and the parameters that it has then are not kept "
            "by any trial"
        )
    metric = problem.metric
    values = [each.validation.get(metric, final_value(each, metric)) for each in ended]
    scores = [float(score) for score in oriented(problem, metric, values)]
    if not any(map(math.isfinite, scores)):
        return "no final trial of its typical study trained to the end"
    return ended[scores.index(min(scores))]
