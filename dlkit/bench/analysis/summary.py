"""Store -> tidy tables -> statistics -> verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.analysis import tuning_curves
from dlkit.bench.analysis.across_problems import Overview, overview
from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.comparison import Comparison, compare_on, every_trial
from dlkit.bench.analysis.costs import Cost
from dlkit.bench.analysis.effects import Effect
from dlkit.bench.analysis.numbers import power_of_two
from dlkit.bench.analysis.ranking import Row
from dlkit.bench.analysis.verdict import Evidence
from dlkit.bench.plan.orientation import final_value
from dlkit.bench.plan.plan import Plan, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, PairedDifference
from dlkit.bench.store.store import Record, Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import Ending, ending

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True, eq=False)
class Summary:
    """Everything tables, figures and reports show of a run.

    Attributes:
        plan: the current spec.
        comparisons: one a problem.
        records: id -> record, of the current spec's trials alone.
        manifest: what the numbers rest on.
    """

    plan: Plan
    comparisons: Sequence[Comparison]
    records: Mapping[str, Record]
    manifest: Mapping[str, Any]

    @cached_property
    def overview(self) -> Overview:
        """What holds over all problems; its numbers are computed when they are asked for."""
        return overview(self.plan, [each.standing for each in self.comparisons])

    @cached_property
    def failures(self) -> list[str]:
        """Why contenders could not run, each reason once."""
        return list(dict.fromkeys(row.failure for each in self.comparisons for row in each.rows if row.failure))

    def endings(self) -> dict[str, tuple[float, Ending]]:
        """Returns how each trial came out against its problem's hardest target: id -> (target, ending)."""
        return {
            trial.id: (each.target, ending(each.problem, self.records[trial.id].outcome, each.target))
            for each in self.comparisons
            for _, _, trial in each.trials()
            if trial.id in self.records
        }

    @property
    def missing(self) -> int:
        """How many trials of the plan have not run yet, as far as the tuning so far tells."""
        return self.planned - len(self.records)

    @property
    def planned(self) -> int:
        """How many trials the plan has, as far as the tuning so far tells."""
        rows = [row for each in self.comparisons for row in each.rows]
        known = {trial.id for row in rows for _, trial in every_trial(row)}
        tunings = [tuning for row in rows for tuning in [row.tuning, *(each.tuning for each in row.repetitions)]]
        later = sum(each.trials - len(each.known) for each in tunings)
        of_targets = sum(problem.target is None for problem in self.plan.problems) * self.plan.targets.reruns
        return len(known) + of_targets + later + sum(each.missing > 0 for each in tunings) * self.plan.seeds

    def curves(self) -> "pd.DataFrame":
        """Returns every final trial's curves, one row a point.

        Returns:
            Columns problem, optimizer, seed, step, metric, value; metrics are those on validation, and
            ``training_loss``.
        """
        import pandas as pd

        frames = []
        for comparison in self.comparisons:
            for row in comparison.rows:
                for trial, outcome in zip(row.trials, row.outcomes, strict=True):
                    for metric, values in outcome.curves.items() if outcome else ():
                        assert outcome is not None
                        shown = ~np.isnan(values) | (outcome.steps > 0)  # training has no loss before step 1
                        frames.append(
                            pd.DataFrame(
                                {
                                    "problem": comparison.problem.name,
                                    "optimizer": row.label,
                                    "seed": trial.seed,
                                    "step": outcome.steps[shown],
                                    "metric": metric,
                                    "value": values[shown],
                                }
                            )
                        )
        columns = ["problem", "optimizer", "seed", "step", "metric", "value"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    def trials(self) -> "pd.DataFrame":
        """Returns every trial that ran, tuning and final, one row each.

        Returns:
            Columns trial, problem, optimizer, study, stage, seed, status, outcome (against the hardest target: reached,
            missed, diverged, cut off or failed), outcome_step, value (the judged metric on validation with the final
            parameters), restored_at, seconds, compile_seconds, gradient_evaluations (of the loss on a batch),
            value_evaluations (without its gradient), hvp_evaluations (products of the Hessian with a vector),
            diverged_at, reason, one column per hyperparameter, and with successive halving ``until``, the evaluation
            that a rung ended at. A trial that several studies share stands with the first of them.
        """
        import pandas as pd

        rows = []
        for comparison in self.comparisons:
            problem = comparison.problem
            once: dict[str, tuple[str, int, Trial]] = {}
            for label, study, trial in comparison.trials():
                once.setdefault(trial.id, (label, study, trial))
            rows += [
                _trial_row(problem, label, study, trial, self.records[trial.id].outcome, comparison.target)
                for label, study, trial in once.values()
                if trial.id in self.records
            ]
        frame = pd.DataFrame(rows)
        return frame if self.plan.tuner.halving or frame.empty else frame.drop(columns="until")

    def table(self) -> "pd.DataFrame":
        """Returns the ranked tables of all problems as one frame, numbers unrounded.

        Returns:
            One row a (problem, optimizer), best first within a problem.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                _table_row(comparison, rank, row, cost)
                for comparison in self.comparisons
                for rank, (row, cost) in enumerate(zip(comparison.rows, comparison.costs, strict=True), 1)
            ]
        )

    def tuning_leaders(self) -> "pd.DataFrame":
        """Returns who leads at 1, 4, 16, ... tuning points; no rows where points are no random sample of the space.

        Returns:
            Columns problem, points, optimizer, expected_best (oriented) and probability.
        """
        found = [tuning_curves.leaders(self.plan, each.standing) for each in self.comparisons]
        return tuning_curves.leaders_frame([each for each in found if each is not None])

    def sensitivity(self) -> "pd.DataFrame":
        """Returns the range of each tuned hyperparameter within 5 % of the best point.

        Returns:
            Columns problem, optimizer, hyperparameter, points, decades (its width; NaN where fewer than three points
            are good) with _low and _high, low, high, best, good, open_low and open_high (good up to the edge).
        """
        found = [tuning_curves.widths(self.plan, each.standing) for each in self.comparisons]
        return tuning_curves.widths_frame([width for each in found for width in each])

    def evidence(self) -> "pd.DataFrame":
        """Returns the numbers behind each sentence of the verdicts, one row a number.

        Returns:
            Columns problem, sentence, and those of `Evidence`; sentences that are all there is have no row.
        """
        import pandas as pd

        rows = [
            {"problem": comparison.problem.name, "sentence": finding.text, **each._asdict()}
            for comparison in self.comparisons
            for finding in comparison.verdict.findings
            for each in finding.evidence
        ]
        return pd.DataFrame(rows, columns=["problem", "sentence", *Evidence._fields])

    def effects(self) -> "pd.DataFrame":
        """Returns what the levels of factors do, one row a (problem, factor, level).

        Returns:
            Columns problem, factor, level, baseline, pairs, agreeing, difference (of final scores, oriented: lower is
            better; log10 of a ratio for a log-scaled metric) with its interval's _low and _high, p_value (adjusted),
            luck, ratio_of_steps with _low and _high, ratio_of_steps_p_value and ratio_of_steps_luck; see
            `effects.Effect`. Empty where the optimizer is the only factor.
        """
        import pandas as pd

        return pd.DataFrame(
            [_effect_row(comparison.problem, each) for comparison in self.comparisons for each in comparison.effects]
        )

    def costs(self) -> "pd.DataFrame":
        """Returns what contenders cost, one row a (problem, optimizer), best first within a problem.

        Returns:
            Columns problem, optimizer, seconds_per_step (warm, median over repeats) with its interval's _low and _high,
            relative (to the fastest), seconds_to_target with _low and _high, evaluation_seconds, compile_seconds (of
            all its trials), parameter_bytes, optimizer_state_bytes, memory_bytes (of the compiled segment),
            steps_saved (by early stopping, a share) and failure (why it could not be timed).
        """
        import pandas as pd

        rows = [_cost_row(comparison.problem, cost) for comparison in self.comparisons for cost in comparison.costs]
        return pd.DataFrame(rows)


def _trial_row(
    problem: PlannedProblem, label: str, study: int, trial: Trial, outcome: Outcome, target: float
) -> dict[str, Any]:
    came = ending(problem, outcome, target)
    return {
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
        **trial.hyperparameters,
        **trial.identity["optimizer"]["static"],
    }


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
        "steps_saved": cost.saved,
        "failure": timing.failure if timing else "",
    }


def _effect_row(problem: PlannedProblem, effect: Effect) -> dict[str, Any]:
    return {
        "problem": problem.name,
        "factor": effect.factor,
        "level": effect.level,
        "baseline": effect.baseline,
        "pairs": effect.pairs,
        "agreeing": effect.agreeing,
        **_interval_columns("difference", Interval(*effect.final[:3])),
        "p_value": effect.final_p,
        "luck": effect.luck,
        **_interval_columns("ratio_of_steps", effect.ratio),
        "ratio_of_steps_p_value": effect.ratio_p,
        "ratio_of_steps_luck": effect.ratio_luck,
    }


def _interval_columns(name: str, value: Interval) -> dict[str, float]:
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


def _ratio(log_ratio: PairedDifference) -> Interval:
    return Interval(*(power_of_two(value) for value in log_ratio[:3]))


def _table_row(comparison: Comparison, rank: int, row: Row, cost: Cost) -> dict[str, Any]:
    difference, steps, ratio = row.difference, row.steps, row.among.steps
    return {
        "problem": comparison.problem.name,
        "rank": rank,
        "optimizer": row.label,
        "hits": row.hits.estimate * len(row.scores) if len(row.scores) else 0,
        "seeds": len(row.outcomes),
        "missed": steps.missed if steps else math.nan,
        "diverged_before_target": steps.diverged if steps else math.nan,
        "cut_off": steps.cut_off if steps else math.nan,
        **_interval_columns("steps_to_target", row.time),
        **_interval_columns("mean_to_budget", steps.restricted if steps else UNKNOWN),
        "expected_running_time": steps.expected if steps else math.nan,
        **_interval_columns("ratio_of_steps", _ratio(ratio.difference) if ratio else UNKNOWN),
        "ratio_of_steps_p_value": ratio.adjusted_p if ratio else math.nan,
        "group": row.among.group,
        "mean_rank": row.among.mean_rank,
        **_interval_columns("validation", row.final),
        **_interval_columns("test", row.test),
        **_interval_columns("difference", Interval(*difference[:3]) if difference else UNKNOWN),
        "p_value": row.adjusted_p,
        "diverged": row.diverged,
        "tuning_points": len(row.tuning.points),
        "studies": 1 + len(row.repetitions),
        **_interval_columns("across_studies", row.across or UNKNOWN),
        "widened": row.widened,
        **_interval_columns("seconds_per_step", cost.per_step),
        **_interval_columns("seconds_to_target", cost.to_target),
        "flags": "; ".join(row.flags),
        "failure": row.failure,
        **(row.tuning.point.hyperparameters if row.tuning.point else {}),
        **(row.tuning.point.static if row.tuning.point else {}),
    }


def summarize(store: Store, plan: Plan | None = None) -> Summary:
    """Computes every table of a run from its store.

    Args:
        store: the run.
        plan: which spec; None for the one that ran last.

    Returns:
        The summary; trials that have not run yet leave gaps, not errors.
    """
    plan = store.current_plan() if plan is None else plan
    stored, frozen, timings = store.records(), store.frozen(), store.timings()
    history = History(plan, {name: record.outcome for name, record in stored.items()}, store.drawn())
    comparisons = [compare_on(history, problem, frozen=frozen, timings=timings) for problem in plan.problems]
    ids = {trial.id for comparison in comparisons for _, _, trial in comparison.trials()}
    return Summary(plan, comparisons, {name: stored[name] for name in sorted(ids & stored.keys())}, store.manifest())
