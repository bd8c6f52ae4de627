"""A run to export: both scales, trials that diverge, infinite losses, labels and hyperparameters of all kinds."""

import math
from dataclasses import replace
from functools import cache

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import Point
from tests.bench.synthetic import make_plan, make_problem, make_summary

__all__ = ["LABELS", "made"]

LABELS = ("sgd", 'a/b "c", NA;\n漢', "null")


@cache
def made() -> Summary:
    """The last contender's losses are infinite at its second point, the second one diverges on one seed."""
    metrics = [Metric("lower", "log", "gap"), Metric("higher", "linear", "accuracy")]
    problems = [make_problem(name, metric=metric) for name, metric in zip(("bowl", "c,up"), metrics, strict=True)]
    plan = make_plan(LABELS, problems=problems, points=2, seeds=6)
    first, *others = plan.contenders
    points = [
        Point({"learning_rate": 0.1, "seed": 3.0}, {"nesterov": True, "kind": "a"}),
        Point({"learning_rate": 0.3, "seed": 4.0}, {"nesterov": False, "kind": "b"}),
    ]
    contenders = [replace(first, points=points), *others]

    def curve(plan, problem, contender, trial):
        values = [0.9, 0.5, 0.3, 0.2, 0.1 + 0.01 * (trial.seed % 7)]
        return [values[0], math.inf, *values[2:]] if contender.label == LABELS[2] else values

    return make_summary(
        replace(plan, contenders=contenders),
        curve=curve,
        diverged=lambda label, trial: label == LABELS[1] and trial.seed % 100 == 2 and trial.stage == "final",
    )
