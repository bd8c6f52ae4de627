"""A budget's numbers: what it leaves open until it is known whether there are several studies."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from dlkit.bench.errors import UserError
from dlkit.bench.plan.policies import Settling
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan


def numbers(budget: Budget) -> tuple[Any, ...]:
    """Studies, and per study the points, tuning seeds and fresh seeds."""
    filled = budget.filled()
    return filled.studies, filled.tuning_points, filled.tuning_seeds, filled.seeds


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(), (10, 4, 1, 2)),
        (Budget(studies=1), (1, 16, 2, 10)),
        (Budget(studies=2), (2, 4, 1, 2)),
        (replace(Budget(), studies=1), (1, 16, 2, 10)),
        (replace(Budget(studies=1), studies=10), (10, 4, 1, 2)),
        (replace(Budget(seeds=7), studies=1), (1, 16, 2, 7)),
        (replace(Budget(tuning_points=4, tuning_seeds=1), studies=1), (1, 4, 1, 10)),
        (Budget(tuning_points=9), (10, 9, 1, 2)),
    ],
)
def test_what_is_open_follows_the_number_of_studies(budget: Budget, expected: tuple[int, ...]) -> None:
    assert numbers(budget) == expected


@pytest.mark.parametrize("studies", [1, 10])
@pytest.mark.parametrize("amount", ["tuning_points_per_dimension", "tuning_seconds"])
def test_points_that_are_counted_otherwise_get_no_number(studies: int, amount: str) -> None:
    filled = Budget(studies=studies, **{amount: 3}).filled()  # type: ignore[arg-type]
    assert (filled.tuning_points, getattr(filled, amount)) == (None, 3)


def test_filling_is_done_once() -> None:
    """So a filled budget of ten studies keeps its numbers where one study is asked for: what is said stays."""
    filled = Budget(steps=40, halving=2, first_study=3).filled()
    assert filled.filled() == filled
    assert numbers(replace(filled, studies=1)) == (1, 4, 1, 2)
    assert (filled.steps, filled.halving, filled.first_study) == (40, 2, 3)


def test_the_default_budget_is_at_most_sixty_trials_a_contender() -> None:
    studies, points, tuning_seeds, seeds = numbers(Budget())
    assert studies * (points * tuning_seeds + seeds) == 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"studies": 0}, "budget.studies must be a whole number of at least 1, got 0"),
        ({"studies": None}, "budget.studies must be a whole number of at least 1, got None"),
        ({"seeds": 0}, "budget.seeds must be a whole number of at least 1, got 0"),
        ({"seeds": 1001}, "budget.seeds must be at most 1000, got 1001"),
        ({"tuning_seeds": 1001}, "budget.tuning_seeds must be at most 1000, got 1001"),
        ({"first_study": -1}, "budget.first_study must be a whole number from 0 to 999999, got -1"),
        ({"first_study": 1_000_000}, "budget.first_study must be a whole number from 0 to 999999, got 1000000"),
        ({"first_study": True}, "budget.first_study must be a whole number from 0 to 999999, got True"),
        ({"first_study": 1.0}, "budget.first_study must be a whole number from 0 to 999999, got 1.0"),
        ({"first_study": 999_991}, "budget.studies must be at most 9 from study 999991 on, got 10"),
        ({"first_study": 999_999, "studies": 2}, "budget.studies must be at most 1 from study 999999 on, got 2"),
    ],
)
def test_numbers_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Budget(**settings)


@pytest.mark.parametrize("draw", [-1, True, 0.5, "b"])
def test_a_draw_that_cannot_be_is_refused(draw: Any) -> None:
    with pytest.raises(UserError, match=r"optimizer 'sgd.*': draw must be a whole number of at least 0, got "):
        Contender(optimizer="sgd", draw=draw)


def test_a_draw_tells_contenders_apart_that_are_crossed_with_factors() -> None:
    problems = (ProblemChoice(problem="rosenbrock"),)
    entries = (Contender(optimizer="sgd"), Contender(optimizer="sgd", draw=1))
    crossed = Experiment(name="e", problems=problems, optimizers=entries, factors={"schedule": ["constant", "cosine"]})
    levels = [dict(each.levels) for each in crossed.contenders()]
    assert [each["optimizer"] for each in levels] == ["sgd", "sgd", "sgd, draw 1", "sgd, draw 1"]
    assert len({tuple(each.values()) for each in levels}) == 4


@pytest.mark.parametrize(("first_study", "is_refused"), [(999_960, False), (999_961, True)])
def test_studies_that_may_be_added_do_not_run_into_the_next_draw(first_study: int, is_refused: bool) -> None:
    """Study 1,000,000 of one draw of points would be study 0 of the next."""
    experiment = Experiment(
        name="e",
        problems=(ProblemChoice(problem="rosenbrock"),),
        optimizers=(Contender(optimizer="sgd"), Contender(optimizer="adam")),
        budget=Budget(first_study=first_study, steps=20),
        settling=Settling(max_studies=40),
    )
    refused = pytest.raises(UserError, match=r"settling\.max_studies must be at most 39 from study 999961 on, got 40")
    with refused if is_refused else nullcontext():
        plan(experiment)


def test_a_draw_is_part_of_a_made_up_name() -> None:
    assert [Contender(optimizer="sgd", draw=draw).name for draw in (0, 2)] == ["sgd", "sgd (draw 2)"]
    assert Contender(optimizer="sgd", draw=2, label="again").name == "again"
