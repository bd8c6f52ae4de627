"""The rows of data frames, as plain dictionaries, numbers unrounded: whoever writes them needs no pandas."""

import math
from collections.abc import Mapping
from typing import Any

from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.costs import Cost
from dlkit.bench.analysis.effects import Effect
from dlkit.bench.analysis.numbers import power_of_two
from dlkit.bench.analysis.ranking import Standing
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.orientation import final_value
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, PairedDifference
from dlkit.bench.tuning.targets import ending

__all__ = ["Row", "costs", "effects", "evidence", "interval_columns", "overview", "table", "trials"]

Row = dict[str, Any]
"""Column -> value; a column that a row has not is missing there."""


def trials(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.trials`."""
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
    if not summary.plan.tuner.halving:
        for row in rows:
            del row["until"]
    return rows


def table(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.table`."""
    return [
        _table_row(comparison, rank, result, cost)
        for comparison in summary.comparisons
        for rank, (result, cost) in enumerate(zip(comparison.results, comparison.costs, strict=True), 1)
    ]


def evidence(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.evidence`."""
    return [
        {"problem": comparison.problem.name, "sentence": finding.text, **each._asdict()}
        for comparison in summary.comparisons
        for finding in comparison.verdict.findings
        for each in finding.evidence
    ]


def effects(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.effects`."""
    return [_effect_row(comparison.problem, each) for comparison in summary.comparisons for each in comparison.effects]


def costs(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.costs`."""
    return [_cost_row(comparison.problem, cost) for comparison in summary.comparisons for cost in comparison.costs]


def overview(summary: Summary) -> list[Row]:
    """Returns the rows of `frames.overview`."""
    return [
        {
            "optimizer": each.label,
            "problems": each.problems,
            **interval_columns("mean_rank", each.mean_rank),
            "probability_best": each.probability_best,
            **interval_columns("profile_score", each.profile_score),
            **interval_columns("targets_reached", each.targets_reached),
            "target_area": each.target_area,
            "others_there": each.others_there,
        }
        for each in summary.overview.by_contender()
    ]


def interval_columns(name: str, value: Interval) -> dict[str, float]:
    """Returns an estimate and the ends of its interval as columns: its name, and with ``_low`` and ``_high``."""
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


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
        **interval_columns("seconds_per_step", cost.per_step),
        "relative": cost.ratio,
        **interval_columns("seconds_to_target", cost.to_target),
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
        **interval_columns("difference", Interval(*overall.difference[:3])),
        "p_value": overall.adjusted_p,
        "claim": effect.final.claim,
        "settled": effect.final.is_settled,
        "doubtful": "; ".join(overall.doubtful),
        "interaction_with": surest.factor if surest else "",
        "interaction_p_value": surest.adjusted_p if surest else math.nan,
        **interval_columns("ratio_of_steps", _ratio(steps.overall.difference) if steps else UNKNOWN),
        "ratio_of_steps_p_value": steps.overall.adjusted_p if steps else math.nan,
        "claim_of_steps": steps.claim if steps else "",
    }


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
        **interval_columns("seconds_per_step", cost.per_step),
        **interval_columns("seconds_to_target", cost.to_target),
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
        **interval_columns("steps_to_target", result.median_steps),
        **interval_columns("mean_to_budget", steps.restricted if steps else UNKNOWN),
        "expected_running_time": steps.expected if steps else math.nan,
    }


def _standing_columns(result: ContenderResult, standing: Standing | None) -> dict[str, Any]:
    ratio, to_best = (standing.steps_ratio, standing.to_best) if standing else (None, None)
    new = to_best.new_examples if to_best else None
    return {
        **interval_columns("ratio_of_steps", _ratio(ratio.difference) if ratio else UNKNOWN),
        "ratio_of_steps_p_value": ratio.adjusted_p if ratio else math.nan,
        "group": standing.group if standing else "",
        "mean_rank": standing.mean_rank if standing else math.nan,
        **interval_columns("value", result.final),
        **interval_columns("validation", result.validation),
        **interval_columns("difference", Interval(*to_best.difference[:3]) if to_best else UNKNOWN),
        "p_value": to_best.adjusted_p if to_best else math.nan,
        **interval_columns("new_examples", Interval(*new.difference[:3]) if new else UNKNOWN),
        "new_examples_p_value": new.adjusted_p if new else math.nan,
    }
