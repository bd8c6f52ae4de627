"""A run as data frames, numbers unrounded; pandas is imported when one is asked for."""

from typing import TYPE_CHECKING

import numpy as np

from dlkit.bench.analysis import frame_rows, tuning_curves
from dlkit.bench.analysis.findings import Evidence
from dlkit.bench.analysis.frame_rows import interval_columns
from dlkit.bench.analysis.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "costs",
    "curves",
    "effects",
    "evidence",
    "groups",
    "overview",
    "sensitivity",
    "table",
    "trials",
    "tuning_leaders",
]


def curves(summary: Summary) -> "pd.DataFrame":
    """Returns every final trial's curves, one row a point.

    Returns:
        Columns problem, optimizer, seed, step, metric, value; metrics are those on test, or the
        objective where nothing is held out, and ``training_loss``.
    """
    import pandas as pd

    frames = []
    for comparison in summary.comparisons:
        for result in comparison.results:
            for trial, outcome in zip(result.trials, result.outcomes, strict=True):
                for metric, values in outcome.curves.items() if outcome else ():
                    assert outcome is not None
                    shown = ~np.isnan(values) | (outcome.steps > 0)  # training has no loss before step 1
                    head = {"problem": comparison.problem.name, "optimizer": result.label, "seed": trial.seed}
                    line = {"step": outcome.steps[shown], "metric": metric, "value": values[shown]}
                    frames.append(pd.DataFrame(head | line))
    columns = ["problem", "optimizer", "seed", "step", "metric", "value"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def trials(summary: Summary) -> "pd.DataFrame":
    """Returns every trial that ran, tuning and final, one row each.

    Returns:
        Columns trial, problem, optimizer, study, stage, seed, status, outcome (against the hardest target: reached,
        missed, diverged, cut off or failed; what had reached it and diverged later is told by its status),
        outcome_step, value (the judged metric with the final parameters: of tuning trials on validation, of final ones
        on test), restored_at, seconds, compile_seconds, gradient_evaluations (of the loss on a batch),
        value_evaluations (without its gradient), hvp_evaluations (products of the Hessian with a vector),
        diverged_at, reason, one column per hyperparameter, and with successive halving ``until``, the evaluation
        that a rung ended at.
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.trials(summary))


def table(summary: Summary) -> "pd.DataFrame":
    """Returns the ranked tables of all problems as one frame, numbers unrounded.

    Returns:
        One row a (problem, optimizer), best first within a problem.
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.table(summary))


def groups(summary: Summary) -> "pd.DataFrame":
    """Returns which rule of each contender trains which parameters, one row a leaf.

    Returns:
        Columns problem, optimizer, path, shape, parameters, role (embedding, first, hidden, head, vector, other), rule,
        decayed (missing where it is not known), share: of the contender's parameters.
    """
    import pandas as pd

    columns = ["problem", "optimizer", "path", "shape", "parameters", "role", "rule", "decayed", "share"]
    rows = [
        (problem, label, each.path, each.shape, each.size, each.role, each.rule, each.decayed, each.size / total)
        for problem, label, leaves in summary.parameter_groups()
        for total in [max(sum(leaf.size for leaf in leaves), 1)]
        for each in leaves
    ]
    return pd.DataFrame(rows, columns=columns).astype({"decayed": "boolean"})


def tuning_leaders(summary: Summary) -> "pd.DataFrame":
    """Returns who leads at 1, 4, 16, ... tuning points; no rows where points are no random sample of the space.

    Returns:
        Columns problem, points, optimizer, expected_best (of so many points of one study, oriented, its median over
        studies; missing where a study has fewer points) and probability (that its best of so many points of all studies
        is the best, of scores shifted to give a contender's studies the same median).
    """
    import pandas as pd

    leaders = [tuning_curves.leaders(summary.plan, each.problem_results) for each in summary.comparisons]
    rows = [
        {
            "problem": each.problem,
            "points": int(points),
            "optimizer": label,
            "expected_best": expected,
            "probability": probability,
        }
        for each in leaders
        if each is not None
        for points, *numbers in zip(each.points, each.expected, each.probability, strict=True)
        for label, expected, probability in zip(each.contenders, *numbers, strict=True)
    ]
    return pd.DataFrame(rows, columns=["problem", "points", "optimizer", "expected_best", "probability"])


def sensitivity(summary: Summary) -> "pd.DataFrame":
    """Returns the range of each tuned hyperparameter within 5 % of the best point.

    Returns:
        One row a (problem, optimizer, hyperparameter): columns problem, optimizer, hyperparameter, points, decades (its
        width; NaN where fewer than three points are good) with _low and _high, low, high, best, good, open_low and
        open_high (good up to the edge).
    """
    import pandas as pd

    rows = [
        {
            "problem": each.problem,
            "optimizer": each.contender,
            "hyperparameter": each.hyperparameter,
            "points": each.points,
            **interval_columns("decades", each.decades),
            **{name: value for name, value in each.found._asdict().items() if name != "decades"},
        }
        for comparison in summary.comparisons
        for each in tuning_curves.widths(summary.plan, comparison.problem_results)
    ]
    return pd.DataFrame(rows)


def evidence(summary: Summary) -> "pd.DataFrame":
    """Returns the numbers behind each sentence of the verdicts, one row a number.

    Returns:
        Columns problem, sentence, and those of `Evidence`; sentences that are all there is have no row.
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.evidence(summary), columns=["problem", "sentence", *Evidence._fields])


def effects(summary: Summary) -> "pd.DataFrame":
    """Returns what the levels of factors do, one row a (problem, factor, level).

    Returns:
        Columns problem, factor, level, baseline, about, pairs, agreeing, difference (of final scores, oriented: lower
        is better; log10 of a ratio for a log-scaled metric) with its interval's _low and _high, p_value (adjusted),
        claim (``"main effect"``, ``"interaction"``, ``"crossing"`` or nothing), settled (whether the claim does not
        rest on doubtful tuning), doubtful (labels), interaction_with (the other factor that it depends on the most
        surely) and interaction_p_value (adjusted), ratio_of_steps with _low and _high, ratio_of_steps_p_value and
        claim_of_steps; see `effects.Effect`. Empty where the optimizer is the only factor.
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.effects(summary))


def costs(summary: Summary) -> "pd.DataFrame":
    """Returns what contenders cost, one row a (problem, optimizer), best first within a problem.

    Returns:
        Columns problem, optimizer, seconds_per_step (warm, median over repeats) with its interval's _low and _high,
        relative (to the fastest), seconds_to_target with _low and _high, evaluation_seconds, compile_seconds (of
        all its trials), parameter_bytes, optimizer_state_bytes, memory_bytes (of the compiled segment),
        gradients_per_step, examples_per_step, steps_saved (by early stopping, a share) and failure (why it could not
        be timed).
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.costs(summary))


def overview(summary: Summary) -> "pd.DataFrame":
    """Returns what holds over all problems, one row a contender, best first.

    Returns:
        Columns optimizer, problems (how many it ran on), mean_rank, probability_best, profile_score (each but the
        probability with _low and _high), targets_reached (share at the end of the budget, with _low and _high),
        target_area, others_there (share of targets that the others reach where it ran); NaN where there are too few
        problems or no targets.
    """
    import pandas as pd

    return pd.DataFrame(frame_rows.overview(summary))
