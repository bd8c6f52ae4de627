"""Steps that cost differently much: the sentence, the order at equal cost, and what is not said."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis import step_costs as costs_module
from dlkit.bench.analysis.claims import Claim, claims
from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.analysis.step_costs import StepCosts, axis_title, step_costs
from dlkit.bench.plan.axes import Allowance
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.report.tables import costs as costs_table
from dlkit.bench.stats import paired_difference
from tests.bench.analysis.results_by_hand import NOISE, SPREAD, ended
from tests.bench.synthetic import make_plan, make_problem, play

OPENING = "Steps do not cost the same"
# at steps 0, 10, 20, 30, 40: the dear one ends better, and at its step 20, where it has spent what plain steps cost in
# all, it is behind
PLAIN, DEAR = [1.0, 0.8, 0.6, 0.5, 0.4], [1.0, 0.9, 0.7, 0.3, 0.1]


def compared(curves, costs, *, batches=None, change=None, spread=NOISE, problem=None, finals=None):
    """The comparison of contenders with these curves on ten paired seeds, whose steps cost so many gradients."""
    problem = problem or make_problem()
    plan = make_plan(list(curves), problems=[problem], points=1, tuning_seeds=1, seeds=10)
    changed = [
        replace(each, **(change or {}).get(each.label, {}), batch_size=(batches or {}).get(each.label))
        for each in plan.contenders
    ]
    plan = replace(plan, contenders=changed)
    sign = dict(zip(curves, itertools.cycle((1, -1)), strict=False))

    def train(problem, contender, trial):
        noise = SPREAD[trial.seed % 10] + sign[contender.label] * spread[trial.seed % 10]
        curve = {**curves, **(finals if finals and trial.stage == "final" else {})}[contender.label]
        found = ended(trial, np.array(curve) + noise)
        return replace(found, gradients=costs[contender.label] * found.steps.astype(float))

    return compare_on(play(plan, train), problem)


def note(comparison):
    return next((each for each in comparison.verdict.findings if each.text.startswith(OPENING)), None)


def gaps(comparison):
    return [each for each in note(comparison).evidence if each.name == "difference at the same cost"]


def test_the_order_after_as_many_gradients_is_tested_on_the_scores_there():
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0})
    assert found.verdict.best == ("dear",) and found.verdict.findings[1] is note(found)  # right after the conclusion
    # the dear one at step 20 against the plain one at step 40: 0.7 - 0.4 and the noise of both
    by_hand = paired_difference(0.3 - 2 * NOISE, np.zeros(10), level=0.95)
    *taken, gap = note(found).evidence
    assert {each.contender: each.estimate for each in taken} == {"plain": 1.0, "dear": 2.0}
    assert (gap.contender, gap.other) == ("dear", "plain")
    assert gap[3:7] == pytest.approx([*by_hand[:3], by_hand.p_value], abs=1e-6)
    assert "dear took 2 gradients a step, plain 1. After 40 gradients each" in note(found).text
    assert "the order is plain, dear (+0.30 " in note(found).text and "tuned for 40 steps" in note(found).text
    assert Claim("at the same cost", "plain", "dear") in claims(found)


def test_the_order_is_that_on_the_test_examples_of_all_blocks():
    curves, costs = {"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0}
    found = compared(curves, costs, problem=replace(make_problem(), examples=(800, 100, 360)))
    assert "the order on these 360 test examples is plain, dear (+0.30 " in note(found).text


def test_what_is_within_chance_is_no_claim():
    wide = 0.3 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0}, spread=wide)
    assert note(found) is not None
    assert not [each for each in claims(found) if each.sentence == "at the same cost"]


@pytest.mark.parametrize("costs", [{"plain": 1.0, "dear": 1.0}, {"plain": 2.21, "dear": 2.2}])
def test_nothing_is_said_where_steps_cost_the_same(costs):
    found = compared({"plain": PLAIN, "dear": DEAR}, costs)
    assert note(found) is None and costs_table(found).rows == []


def test_nothing_is_said_where_the_budget_counts_the_cost():
    allowances = {"plain": Allowance(40), "dear": Allowance(20)}
    problem = replace(make_problem(), axis="gradients", amount=40.0, allowances=allowances)
    found = compared({"plain": PLAIN, "dear": PLAIN[:3]}, {"plain": 1.0, "dear": 2.0}, problem=problem)
    assert note(found) is None and axis_title(problem, found.results) == "gradients"
    assert [row[-1] for row in costs_table(found).rows] == ["1.00", "2.00"]  # what steps cost is shown all the same


def test_batches_of_different_sizes_are_counted_in_examples():
    found = compared({"plain": PLAIN, "wide": DEAR}, {"plain": 1.0, "wide": 1.0}, batches={"wide": 16})
    assert step_costs(found.problem, found.results) == StepCosts("examples", {"plain": 8.0, "wide": 16.0})
    assert "wide took 16 examples a step, plain 8. After 320 examples each" in note(found).text


@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"stopping": EarlyStopping(patience=9)}])
def test_without_curves_that_compare_there_is_no_order(change):
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0}, change={"dear": change})
    assert "is not known" in note(found).text and "A budget whose axis is gradients tells." in note(found).text
    assert {each.name for each in note(found).evidence} == {"gradients per step"}


def test_who_costs_the_same_is_named_together():
    curves = {"a": PLAIN, "b": [x + 0.01 for x in PLAIN], "c": DEAR, "d": [x + 0.02 for x in DEAR]}
    found = compared(curves, {"a": 1.0, "b": 1.0, "c": 2.0, "d": 1.95})
    assert f"{OPENING}: c took 2 gradients a step, d 1.95, the others 1. After 40 gradients" in note(found).text


def test_a_curve_counts_up_to_its_last_evaluation_within():
    # 2.1 gradients a step: after 10 steps 21, after 20 steps 42, after 30 steps 63
    steep = {"plain": [*PLAIN, 0.3], "dear": [*DEAR, 0.0]}
    found = compared(steep, {"plain": 1.3, "dear": 2.1})  # the plain one's are at 13, 26, ..., 65
    (gap,) = gaps(found)
    assert "After 65 gradients each" in note(found).text
    assert gap.estimate == pytest.approx(0.0, abs=0.02)  # 0.3 - 0.3


@pytest.mark.parametrize("cost", [5.0, 41.0])
def test_who_was_not_evaluated_near_the_cost_is_not_ordered(cost):
    """At 41 gradients a step the first evaluation costs more than all that the plain one spends: step 0 is no result.

    At 5 it is at 50, beyond the plain one's 40, too.
    """
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": cost})
    assert gaps(found) == [] and not [each for each in claims(found) if each.sentence == "at the same cost"]
    assert "is not known: no evaluation of dear is near 40 gradients. More evaluations tell" in note(found).text
    # the others are ordered without it
    three = {"plain": PLAIN, "dear": DEAR, "other": [x + 0.2 for x in PLAIN]}
    found = compared(three, {"plain": 1.0, "dear": cost, "other": 1.0})
    assert [(each.contender, each.other) for each in gaps(found)] == [("other", "plain")]
    assert "Where dear would be is not known: no evaluation is near." in note(found).text


def test_a_smaller_cost_counts_where_only_near_that_everyone_was_evaluated():
    # the dear one is evaluated at 15, 30, 45: at 30 of the plain one's 40 it would be read too early
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 1.5})
    (gap,) = gaps(found)
    assert "After 33 gradients each" in note(found).text
    assert gap.estimate == pytest.approx(0.2, abs=0.02)  # 0.7 after 20 steps - 0.5 after 30


def test_who_diverged_before_the_cost_is_last_there():
    """It was evaluated at 20 of 40 gradients for the last time, and will never be again."""
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0}, finals={"dear": [1.0, np.nan]})
    (gap,) = gaps(found)
    assert gap.contender == "dear" and gap.estimate == np.inf


def test_the_order_on_shared_examples_is_said_to_be_on_them(monkeypatch):
    monkeypatch.setattr(costs_module, "these", lambda problem, compared: " on these 360 test examples")
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0})
    assert "(by the last evaluation within) the order on these 360 test examples is plain" in note(found).text


@pytest.mark.parametrize("axis", ["gradients", "examples"])
def test_gradients_of_batches_of_different_sizes_are_told_apart(axis):
    problem = replace(make_problem(), axis=axis, amount={"gradients": 40.0, "examples": 640.0}[axis])
    found = compared({"plain": PLAIN, "wide": DEAR}, {"plain": 1.0, "wide": 1.0}, batches={"wide": 16}, problem=problem)
    (told,) = [each for each in found.verdict.findings if each.text.startswith("Gradients do not cost the same")]
    assert told.text == (
        f"Gradients do not cost the same: wide took 16 examples a gradient, plain 8. The budget counts {axis}."
    )
    assert {each.contender: each.estimate for each in told.evidence} == {"plain": 8.0, "wide": 16.0}
    assert {each.name for each in told.evidence} == {"examples per gradient"}
    titles = {"gradients": "gradients, which take 8 to 16 examples", "examples": "examples"}
    assert axis_title(problem, found.results) == titles[axis]


def test_with_budgets_of_seconds_steps_that_cost_differently_much_are_said():
    problem = replace(make_problem(), axis="seconds", amount=40.0)
    found = compared({"plain": PLAIN, "dear": DEAR}, {"plain": 1.0, "dear": 2.0}, problem=problem)
    assert note(found).text == f"{OPENING}: dear took 2 gradients a step, plain 1. The budget counts seconds."
    assert gaps(found) == []


def test_what_is_left_of_a_budget_is_said():
    """Of 100 gradients 80 and 96 are spent: who spends the most of it is not named."""
    problem = replace(make_problem(), axis="gradients", amount=100.0)
    found = compared({"most": PLAIN, "less": PLAIN}, {"most": 2.4, "less": 2.0}, problem=problem)
    assert found.verdict.findings[1].text == (
        "Not all could spend the whole budget of 100 gradients: less spent 80 gradients. Trials end with an "
        "evaluation, and evaluations are equally many steps apart: with more of them less is left. Who spent less "
        "may end behind for that reason alone."
    )
    whole = replace(problem, amount=96.0)
    found = compared({"most": PLAIN, "less": PLAIN}, {"most": 2.4, "less": 2.3}, problem=whole)
    assert not [note for note in found.verdict.notes if "whole budget of" in note]
