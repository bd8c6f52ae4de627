"""A run as data frames, numbers unrounded; pandas is imported when one is asked for."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.analysis import tuning_curves
from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.costs import Cost
from dlkit.bench.analysis.effects import Effect
from dlkit.bench.analysis.findings import Evidence
from dlkit.bench.analysis.numbers import power_of_two
from dlkit.bench.analysis.ranking import Standing
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.orientation import final_value
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, PairedDifference
from dlkit.bench.tuning.targets import ending

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

    rows = []
    for comparison in summary.comparisons:
        problem = comparison.problem
        once: dict[str, tuple[str, int, Trial]] = {}
        for label, study, trial in comparison.trials():
            once.setdefault(trial.id, (label, study, trial))
        rows += [
            _trial_row(problem, label, study, trial, summary.records[trial.id].outcome, comparison.target)
            for label, study, trial in once.values()
            if trial.id in summary.records
        ]
    frame = pd.DataFrame(rows)
    return frame if summary.plan.tuner.halving or frame.empty else frame.drop(columns="until")


def table(summary: Summary) -> "pd.DataFrame":
    """Returns the ranked tables of all problems as one frame, numbers unrounded.

    Returns:
        One row a (problem, optimizer), best first within a problem.
    """
    import pandas as pd

    return pd.DataFrame(
        [
            _table_row(comparison, rank, result, cost)
            for comparison in summary.comparisons
            for rank, (result, cost) in enumerate(zip(comparison.results, comparison.costs, strict=True), 1)
        ]
    )


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
        Columns problem, points, optimizer, expected_best (oriented) and probability.
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
        for points, *numbers in zip(each.found.points, each.found.expected, each.found.probability, strict=True)
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
            **_interval_columns("decades", each.decades),
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

    rows = [
        {"problem": comparison.problem.name, "sentence": finding.text, **each._asdict()}
        for comparison in summary.comparisons
        for finding in comparison.verdict.findings
        for each in finding.evidence
    ]
    return pd.DataFrame(rows, columns=["problem", "sentence", *Evidence._fields])


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

    return pd.DataFrame(
        [_effect_row(comparison.problem, each) for comparison in summary.comparisons for each in comparison.effects]
    )


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

    rows = [_cost_row(comparison.problem, cost) for comparison in summary.comparisons for cost in comparison.costs]
    return pd.DataFrame(rows)


def overview(summary: Summary) -> "pd.DataFrame":
    """Returns what holds over all problems, one row a contender, best first.

    Returns:
        Columns optimizer, problems (how many it ran on), mean_rank, probability_best, profile_score (each but the
        probability with _low and _high), targets_reached (share at the end of the budget, with _low and _high),
        target_area, others_there (share of targets that the others reach where it ran); NaN where there are too few
        problems or no targets.
    """
    import pandas as pd

    rows = [
        {
            "optimizer": each.label,
            "problems": each.problems,
            **_interval_columns("mean_rank", each.mean_rank),
            "probability_best": each.probability_best,
            **_interval_columns("profile_score", each.profile_score),
            **_interval_columns("targets_reached", each.targets_reached),
            "target_area": each.target_area,
            "others_there": each.others_there,
        }
        for each in summary.overview.by_contender()
    ]
    return pd.DataFrame(rows)


def _trial_row(
    problem: PlannedProblem, label: str, study: int, trial: Trial, outcome: Outcome, target: float
) -> dict[str, Any]:
    came = ending(problem, outcome, target)
    row = {
        "trial": trial.id,
        "problem": problem.name,
        "optimizer": label,
        "study": study,
        "stage": trial.stage,
        "seed": trial.seed,
        "status": outcome.status,
        "outcome": came.kind,
        "outcome_step": came.step,
        "value": final_value(outcome, problem.metric),
        "restored_at": outcome.restored_at,
        "seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
        "gradient_evaluations": outcome.evaluations.gradients,
        "value_evaluations": outcome.evaluations.values,
        "hvp_evaluations": outcome.evaluations.hessian_products,
        "diverged_at": outcome.diverged_at,
        "reason": outcome.reason,
        "until": trial.until,
    }
    return row | _setting(row, trial.hyperparameters, trial.identity["optimizer"]["static"])


def _setting(row: Mapping[str, Any], hyperparameters: Mapping[str, Any], static: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of hyperparameters in the order of a stored run; one that is called as another column says so."""
    values = {**dict(sorted(hyperparameters.items())), **static}
    return {f"hyperparameter_{name}" if name in row else name: value for name, value in values.items()}


def _cost_row(problem: PlannedProblem, cost: Cost) -> dict[str, Any]:
    timing = cost.timing
    timed = timing is not None and not timing.failure
    return {
        "problem": problem.name,
        "optimizer": cost.label,
        **_interval_columns("seconds_per_step", cost.per_step),
        "relative": cost.ratio,
        **_interval_columns("seconds_to_target", cost.to_target),
        "evaluation_seconds": timing.evaluation_seconds if timing else math.nan,
        "compile_seconds": cost.compile_seconds,
        "parameter_bytes": timing.parameter_bytes if timing and timed else math.nan,
        "optimizer_state_bytes": timing.state_bytes if timing and timed else math.nan,
        "memory_bytes": timing.memory_bytes if timing and timed else math.nan,
        "gradients_per_step": cost.gradients,
        "examples_per_step": cost.examples,
        "steps_saved": cost.saved,
        "failure": timing.failure if timing else "",
    }


def _effect_row(problem: PlannedProblem, effect: Effect) -> dict[str, Any]:
    overall, steps = effect.final.overall, effect.steps
    surest = min(effect.final.interactions, key=lambda each: each.adjusted_p, default=None)
    return {
        "problem": problem.name,
        "factor": effect.factor,
        "level": effect.level,
        "baseline": effect.baseline,
        "about": effect.about,
        "pairs": overall.pairs,
        "agreeing": overall.agreeing,
        **_interval_columns("difference", Interval(*overall.difference[:3])),
        "p_value": overall.adjusted_p,
        "claim": effect.final.claim,
        "settled": effect.final.is_settled,
        "doubtful": "; ".join(overall.doubtful),
        "interaction_with": surest.factor if surest else "",
        "interaction_p_value": surest.adjusted_p if surest else math.nan,
        **_interval_columns("ratio_of_steps", _ratio(steps.overall.difference) if steps else UNKNOWN),
        "ratio_of_steps_p_value": steps.overall.adjusted_p if steps else math.nan,
        "claim_of_steps": steps.claim if steps else "",
    }


def _interval_columns(name: str, value: Interval) -> dict[str, float]:
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


def _ratio(log_ratio: PairedDifference) -> Interval:
    return Interval(*(power_of_two(value) for value in log_ratio[:3]))


def _table_row(comparison: Comparison, rank: int, result: ContenderResult, cost: Cost) -> dict[str, Any]:
    point = result.tuning.point
    row = {
        "problem": comparison.problem.name,
        "rank": rank,
        "optimizer": result.label,
        "hits": result.hits.estimate * len(result.scores) if len(result.scores) else 0,
        "seeds": len(result.outcomes),
        **_steps_columns(result),
        **_standing_columns(result, comparison.ranking.standings.get(result.label)),
        "diverged": result.diverged,
        "tuning_points": len(result.tuning.points),
        "studies": len(result.tunings),
        "widened": result.widened,
        **_interval_columns("seconds_per_step", cost.per_step),
        **_interval_columns("seconds_to_target", cost.to_target),
        "flags": "; ".join(result.flags),
        "failure": result.failure,
    }
    return row | (_setting(row, point.hyperparameters, point.static) if point else {})


def _steps_columns(result: ContenderResult) -> dict[str, Any]:
    steps = result.to_target
    return {
        "missed": steps.missed if steps else math.nan,
        "diverged_before_target": steps.diverged if steps else math.nan,
        "diverged_after_target": steps.diverged_after if steps else math.nan,
        "cut_off": steps.cut_off if steps else math.nan,
        **_interval_columns("steps_to_target", result.median_steps),
        **_interval_columns("mean_to_budget", steps.restricted if steps else UNKNOWN),
        "expected_running_time": steps.expected if steps else math.nan,
    }


def _standing_columns(result: ContenderResult, standing: Standing | None) -> dict[str, Any]:
    ratio, to_best = (standing.steps_ratio, standing.to_best) if standing else (None, None)
    new = to_best.new_examples if to_best else None
    return {
        **_interval_columns("ratio_of_steps", _ratio(ratio.difference) if ratio else UNKNOWN),
        "ratio_of_steps_p_value": ratio.adjusted_p if ratio else math.nan,
        "group": standing.group if standing else "",
        "mean_rank": standing.mean_rank if standing else math.nan,
        **_interval_columns("value", result.final),
        **_interval_columns("validation", result.validation),
        **_interval_columns("difference", Interval(*to_best.difference[:3]) if to_best else UNKNOWN),
        "p_value": to_best.adjusted_p if to_best else math.nan,
        **_interval_columns("new_examples", Interval(*new.difference[:3]) if new else UNKNOWN),
        "new_examples_p_value": new.adjusted_p if new else math.nan,
    }
