"""Data frames: every number of the evidence belongs to a sentence that the verdict says."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Trial
from tests.bench.analysis.results_by_hand import in_studies
from tests.bench.synthetic import make_plan, make_problem, make_summary

Curve = Callable[[Plan, PlannedProblem, PlannedContender, Trial], list[float]]


def apart(gap: float) -> Curve:
    """Curves that end a gap apart, up to noise that a contender and a seed have of their own."""

    def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        place = plan.contenders.index(contender)
        end = 1.0 + gap * place + 0.1 * math.sin(17.0 * trial.seed * trial.seed + place)
        return [2.0 + end, 1.5 + end, 1.0 + end, 0.5 + end, end]

    return curve


def several_studies() -> Summary:
    return make_summary(in_studies(make_plan(), 3))


def until_settled(
    gap: float, *, blocks: int, studies: bool = False, points: int = 1, margin: float | None = None
) -> Summary:
    plan = make_plan(("a", "b"), problems=[replace(make_problem(), margin=margin)], points=points, seeds=blocks)
    if studies:
        return make_summary(replace(in_studies(replace(plan, seeds=1), blocks), max_studies=blocks), curve=apart(gap))
    return make_summary(replace(plan, max_seeds=blocks), curve=apart(gap))


def with_factors() -> Summary:
    plan = make_plan(("relu", "tanh"), points=1)
    contenders = [replace(each, levels={"optimizer": "adam", "activation": each.label}) for each in plan.contenders]
    return make_summary(replace(plan, contenders=contenders), curve=apart(1.0))


# name -> (the run, words of its verdict)
RUNS: dict[str, tuple[Callable[[], Summary], str]] = {
    "plain": (lambda: make_summary(make_plan(problems=[make_problem("bowl"), make_problem("cup")])), "bowl: "),
    "several studies": (several_studies, "3 studies"),
    "settled: one is best": (lambda: until_settled(5.0, blocks=20), "Settled at 7 seeds"),
    "settled: one method is best": (lambda: until_settled(5.0, blocks=20, studies=True), "Settled at 7 studies"),
    "settled: within a margin": (lambda: until_settled(0.0, blocks=60, margin=1.0), "lies within 1 of it."),
    "not settled": (lambda: until_settled(0.0, blocks=10), "Not settled within 10 seeds."),
    "best, but undertuned": (lambda: until_settled(5.0, blocks=20, points=2), "b may be undertuned"),
    "factors": (with_factors, "relu is best"),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_evidence_is_of_sentences_that_the_verdict_says(name: str) -> None:
    make, words = RUNS[name]
    summary = make()
    evidence = frames.evidence(summary)
    assert words in summary.comparisons[0].verdict.sentence
    for comparison in summary.comparisons:
        verdict = comparison.verdict
        told = set(evidence[evidence["problem"] == comparison.problem.name]["sentence"])
        assert verdict.sentence in told, "the conclusion has numbers"
        assert told <= {verdict.sentence, *verdict.notes}
