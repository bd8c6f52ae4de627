"""Quality against cost: which panels there are, and who is on the front."""

from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.analysis.pareto import front, pareto
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.trials import Timing, timing_key
from dlkit.bench.report.matplotlib_figures import COST, save_figures
from dlkit.bench.report.plotly_pareto import quality_against_cost
from tests.bench.analysis.results_by_hand import NOISE, ended
from tests.bench.figures import checked
from tests.bench.synthetic import make_plan, make_problem, play

PROBLEM = make_problem()


def summary(costs, finals, *, seconds=None, batches=None):
    """A run of contenders that end at these values, with these gradients a step and seconds a step."""
    plan = make_plan(list(costs), problems=[PROBLEM], points=1, tuning_seeds=1, seeds=10)
    contenders = [replace(each, batch_size=(batches or {}).get(each.label)) for each in plan.contenders]
    plan = replace(plan, contenders=contenders)

    def train(problem, contender, trial):
        end = finals[contender.label] + NOISE[trial.seed % 10]
        found = ended(trial, [1.0, 1.0, 1.0, 1.0, end])
        return replace(found, gradients=costs[contender.label] * found.steps.astype(float))

    history = play(plan, train)
    timings = {}
    for contender in plan.contenders if seconds else ():
        (trial, *_) = history.final_trials(PROBLEM, contender, contender.points[0])
        each = seconds[contender.label]
        timings[timing_key(trial)] = Timing((each,) * 9, 0.0, parameter_bytes=100, state_bytes=int(1e6 * each))
    return Summary(plan, [compare_on(history, PROBLEM, timings=timings)], {}, {})


def shown(found):
    return {
        panel.name: [(point.result.label, point.cost, point.is_on_front) for point in panel.points]
        for panel in pareto(found.comparisons[0])
    }


def test_the_front_is_who_nobody_beats_in_both():
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs, scores = rng.integers(0, 5, size=(2, 8)).astype(float)
        # by another way: sorted by cost, then score, a running minimum; ties of both are all on it
        best, expected = np.inf, set()
        for cost, score in sorted(set(zip(costs.tolist(), scores.tolist(), strict=True))):
            if score < best:
                expected.add((cost, score))
                best = score
        found = front(costs.tolist(), scores.tolist())
        assert found == [each in expected for each in zip(costs.tolist(), scores.tolist(), strict=True)]


def test_a_panel_for_each_cost_that_differs():
    found = shown(summary({"cheap": 1.0, "dear": 2.0, "waste": 3.0}, {"cheap": 0.5, "dear": 0.2, "waste": 0.3}))
    # all make 40 steps, batches are of one size, and nothing was timed
    assert found == {"gradients": [("cheap", 40.0, True), ("dear", 80.0, True), ("waste", 120.0, False)]}


def test_seconds_and_bytes_need_steps_that_were_timed():
    seconds = {"slow": 3e-3, "fast": 1e-3}
    found = shown(summary({"slow": 1.0, "fast": 1.0}, {"slow": 0.5, "fast": 0.2}, seconds=seconds))
    assert found["seconds"] == [("fast", pytest.approx(0.04), True), ("slow", pytest.approx(0.12), False)]
    assert found["bytes"] == [("fast", 1100.0, True), ("slow", 3100.0, False)]
    assert found.keys() == {"seconds", "bytes"}


def test_examples_have_a_panel_where_batches_differ():
    found = shown(summary({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.2}, batches={"b": 16}))
    assert found == {"examples": [("a", 320.0, True), ("b", 640.0, True)]}


def test_trials_without_a_step_have_no_cost_a_step():
    """No panel divides by what they took."""
    found = summary({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 0.2})
    comparison = found.comparisons[0]
    unknown = [replace(each, gradients=np.nan, examples=np.nan) for each in comparison.costs]
    assert pareto(replace(comparison, costs=unknown)) == []


def test_figures_are_drawn_where_costs_differ(tmp_path):
    same = summary({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.2})
    assert [path.stem for path in save_figures(same, tmp_path, extension="svg")] == ["bowl"]
    assert not quality_against_cost(same, same.comparisons[0]).data
    seconds = {"a": 1e-3, "b": 20e-3}
    differ = summary({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 0.2}, seconds=seconds)
    assert [path.stem for path in save_figures(differ, tmp_path, extension="svg")] == ["bowl", f"bowl-{COST}"]
    figure = checked(quality_against_cost(differ, differ.comparisons[0]))
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(lines) == 3 and all(len(trace.x) == 2 for trace in lines)  # gradients, seconds, bytes
    assert figure.layout.xaxis2.type == "log" and figure.layout.xaxis.type == "linear"
    assert {trace.name for trace in figure.data if trace.showlegend} == {"a", "b"}
