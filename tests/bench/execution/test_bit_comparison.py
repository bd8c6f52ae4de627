"""How far apart two numbers are, and what a comparison of a trial with itself looks at."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.errors import UserError
from dlkit.bench.execution.bit_comparison import compared, raised_again, ulps_apart
from dlkit.bench.execution.packed_models import pack_model
from dlkit.bench.execution.work import Done
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.models import PackedModel
from tests.bench.synthetic import PROGRAM


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(start=st.floats(0, 2.0**100, width=32), steps=st.integers(0, 5), sign=st.sampled_from([1, -1]))
def test_neighbours_are_one_apart(kind: type[Any], start: float, steps: int, sign: int) -> None:
    here = there = np.array([sign * start], kind)
    for _ in range(steps):
        there = np.nextafter(there, kind(sign * np.inf))
    assert ulps_apart(here, there) == ulps_apart(there, here) == steps


def test_distances_by_hand() -> None:
    one = np.array([1.0, 2.0], np.float32)
    # 2**23 numbers from 1 to 2, and as many from 2 to 4
    assert ulps_apart(one[:1], one[1:]) == 2.0**23
    assert ulps_apart(one, np.array([1.0, 4.0], np.float32)) == 2.0**23
    assert ulps_apart(np.array([0.0]), np.array([-0.0])) == 1
    assert ulps_apart(np.array([math.nan, 1.0]), np.array([-math.nan, 1.0])) == 0
    assert ulps_apart(np.array([math.nan]), np.array([1.0])) == math.inf
    assert ulps_apart(np.zeros(2), np.zeros(3)) == ulps_apart(np.zeros(2), np.zeros(2, np.float32)) == math.inf
    assert ulps_apart(np.array([3, 5]), np.array([3, 9])) == 4


TRIAL = Trial("f" * 16, {"stage": "final", "seed": 0, "hyperparameters": {}})
STORED = Outcome(
    TRIAL,
    "finished",
    "",
    "",
    None,
    1.0,
    2.0,
    np.array([0, 5, 10]),
    {"loss": np.array([1.0, 0.5, 0.25], np.float32)},
    {"loss": 0.125, "accuracy": math.nan},
    Evaluations(10, 3, 0),
    restored_at=5,
    samples=np.ones((4, 2), np.float32),
    example_scores=np.array([0.0, 1.0], np.float32),
    gradients=np.array([0.0, 10.0, 20.0]),
)


def model(*values: float) -> PackedModel:
    return pack_model({"w": np.array(values, np.float32)}, None)


def test_a_trial_matches_itself() -> None:
    shown = compared(STORED, PROGRAM, Done((STORED,), PROGRAM, models=(model(1, 2),)), model(1, 2))
    assert shown.exact and shown.is_promised and not shown.largest and not shown.failed
    other_nan = replace(STORED, validation={"loss": 0.125, "accuracy": -math.nan})
    assert compared(STORED, PROGRAM, Done((other_nan,), PROGRAM)).exact, "text has one NaN"


CHANGES: dict[str, tuple[Any, float, float]] = {
    "loss": ({"curves": {"loss": np.array([1.0, 0.5, 0.5], np.float32)}}, 0.25, 2.0**23),
    "steps": ({"steps": np.array([0, 5, 12])}, 2, 2),
    "gradients": ({"gradients": np.array([0.0, 10.0, np.nextafter(20, 30)])}, 2.0**-48, 1),
    "validation loss": ({"validation": {"loss": 0.25, "accuracy": math.nan}}, 0.125, 2.0**52),
    "evaluations": ({"evaluations": Evaluations(12, 3, 0)}, 2, 2.0**52 / 4),
    "restored step": ({"restored_at": None}, math.inf, math.inf),
    "samples": ({"samples": None}, math.inf, math.inf),
    "example scores": ({"example_scores": np.array([0.0, 2.0], np.float32)}, 1.0, 2.0**23),
    "how it ended": ({"status": "stopped"}, math.inf, math.inf),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_named_with_its_distance(what: str) -> None:
    change, difference, ulps = CHANGES[what]
    shown = compared(STORED, PROGRAM, Done((replace(STORED, **change),), PROGRAM))
    assert not shown.exact and shown.largest == {what: difference}
    assert shown.ulps == {what: ulps}


def test_final_parameters_are_compared_where_a_model_is_kept() -> None:
    done = Done((STORED,), PROGRAM, models=(model(1, 4),))
    shown = compared(STORED, PROGRAM, done, model(1, 2))
    assert shown.largest == {"final parameters": 2} and shown.ulps == {"final parameters": 2.0**23}
    assert compared(STORED, PROGRAM, done).exact
    other = Done((STORED,), PROGRAM, models=(pack_model({"v": np.ones(2, np.float32)}, None),))
    assert compared(STORED, PROGRAM, other, model(1, 2)).largest == {"final parameters": math.inf}


def test_the_end_of_a_trial_that_a_clock_cut_off_is_not_compared() -> None:
    cut = replace(STORED, status="cut off", samples=None, example_scores=None, validation={}, restored_at=None)
    assert compared(cut, PROGRAM, Done((STORED,), PROGRAM)).exact


def test_a_trial_that_raises_now_is_no_match() -> None:
    failed = replace(STORED, status="failed", reason="out of paper")
    with pytest.raises(UserError, match=f"replay of trial {TRIAL.id} failed: out of paper"):
        compared(STORED, PROGRAM, Done((failed,), PROGRAM))
    shown = raised_again(STORED, PROGRAM, Done((failed,), {**PROGRAM, "jax": "9"}))
    assert (shown.exact, shown.failed, shown.unpromised) == (False, "now", {"jax": ("1", "9")})
    assert "out of paper" in shown.failure
