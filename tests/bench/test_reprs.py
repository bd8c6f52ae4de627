"""What stands below a cell that ends with an object: a short text, whatever the object holds."""

import numpy as np
import pandas as pd
import pytest

from dlkit import bench
from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.api import Result
from dlkit.bench.examination.costs import Cost
from dlkit.bench.examination.ticks import Examination, Tick
from dlkit.bench.execution.replay import Replay
from dlkit.bench.problems import get as get_problem
from tests.bench.synthetic import make_plan, make_problem, make_summary

MOST = 2000
DIGITS = get_problem("digits-mlp")
EXPERIMENT = bench.Experiment(
    name="large",
    problems=tuple(bench.ProblemChoice(problem=DIGITS, label=f"digits-{place}") for place in range(40)),
    optimizers=tuple(bench.Contender(optimizer=bench.optimizers.get("adam"), label=f"adam {n}") for n in range(40)),
    factors={"schedule": ["constant", "cosine"]},
)
CURVES = {f"metric {place}": np.zeros(1000) for place in range(50)}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            DIGITS,
            "Problem('digits-mlp': accuracy, 600 steps of 64; Dataset(name='digits', source=",
        ),
        (DIGITS.dataset, "Dataset(name='digits', source="),
        (bench.ProblemChoice(problem=DIGITS), "Problem('digits-mlp'"),
        (bench.optimizers.get("adamw+clip"), "adamw+clip"),
        (bench.Contender(optimizer=bench.optimizers.get("adamw")), "adamw"),
        (EXPERIMENT, "Experiment('large': problems digits-0, digits-1, "),
        (bench.Budget(), "Budget("),
        (
            Replay("8ed0", False, {"jax": ("1", "2")}, dict.fromkeys(CURVES, 0.5), CURVES, CURVES, None),
            "<Replay of 8ed0: differs",
        ),
        (Replay("8ed0", True, {}, {}, CURVES, CURVES, None), "<Replay of 8ed0: every number matches, bit for bit>"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_public_objects_are_told_shortly(value: object, words: str) -> None:
    text = repr(value)
    assert words in text and len(text) < MOST


def test_a_trained_model_and_an_examination_are_told_shortly() -> None:
    params = {"kernel": np.zeros((100, 20)), "bias": np.zeros(20)}
    trained = bench.TrainedModel(pd.DataFrame({"step": range(900)}), params, {}, {"accuracy": 0.5}, {}, "diverged", 12)
    assert repr(trained) == "<TrainedModel, diverged at step 12: accuracy 0.5; 2,020 parameters>"
    ticks = [Tick("loss", "is <not> finite", False, "problem 'mine'"), *[Tick("cost", "x" * 90)] * 50]
    wrong = Examination(ticks, foresee(make_plan()), Cost())
    assert repr(wrong) == "<Examination of 51 ticks, 1 wrong: problem 'mine': is <not> finite>"
    assert "WRONG loss: problem &#x27;mine&#x27;: is &lt;not&gt; finite" in wrong._repr_html_()
    right = Examination(ticks[1:], foresee(make_plan()), Cost())
    assert repr(right) == "<Examination of 50 ticks, nothing wrong>"


@pytest.mark.parametrize("problems", [1, 5])
def test_a_result_is_less_than_a_kilobyte_and_says_what_ran(problems: int) -> None:
    labels = [f"{'a_contender_with_a_long_name' * 3}_{place}" for place in range(12)]
    plan = make_plan(
        labels, problems=[make_problem(f"bowl-{n}") for n in range(problems)], points=1, seeds=4, tuning_seeds=1
    )
    summary = make_summary(plan)
    text = repr(Result(summary))
    assert len(text) < 1000
    assert f"{problems} problem" in text and "12 contenders" in text
    assert f"{len(summary.records):,} of {summary.planned:,} trials" in text
    for part in (summary, summary.plan, summary.comparisons[0]):
        assert len(repr(part)) < MOST
