"""Studies: each draws points and seeds of its own, which all contenders share; added ones are what they had been."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench import cli
from dlkit.bench.execution import runner, whole_run
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.plan import Expansion, Plan
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.plan.policies import Settling
from dlkit.bench.plan.space import Point, Range, log_uniform, uniform
from dlkit.bench.plan.trials import STUDY_SEEDS, Evaluations, Outcome, Trial
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand
from dlkit.bench.tuning.search import next_points
from dlkit.bench.tuning.widening import points_beyond
from tests.bench.wiring.walk import WALKER, walk

STUDIES = 3
NARROW = {"gradient": uniform(0.5, 1.5), "own": log_uniform(1e-4, 1e-2)}
WIDE = {"gradient": log_uniform(1e-3, 10.0), "own": uniform(0.0, 7.0)}


def optimizer(name: str, space: Mapping[str, Range], static: Mapping[str, list[str]] | None = None) -> Optimizer:
    return Optimizer(name, WALKER.build, dict(space), dict(static or {}), random=True)


FOUR = (
    Contender(optimizer=optimizer("narrow", NARROW)),
    Contender(optimizer=optimizer("wide", WIDE)),
    Contender(optimizer=optimizer("narrow", NARROW), draw=1),
    Contender(optimizer=optimizer("wide", WIDE), draw=1),
)


def planned(contenders: tuple[Contender, ...] = FOUR, **budget: Any) -> Plan:
    """The plan of these contenders on two problems."""
    settings = {"steps": 6, "evaluations": 3, "tuning_points": 4, "studies": STUDIES} | budget
    problems = tuple(ProblemChoice(problem=walk(name)) for name in ("walk", "walk 2"))
    return plan(Experiment(name="x", problems=problems, optimizers=contenders, budget=Budget(**settings))).plan


def trials_of(made: Plan, contender: PlannedContender, study: int) -> list[Trial]:
    """All trials that a study of a contender can have on the plan's problems, whichever point wins."""
    return [
        trial
        for problem in made.problems
        for row in [
            *made.tuning_trials(problem, contender, study=study),
            *(made.final_trials(problem, contender, point, study=study) for point in contender.points_of(study)),
        ]
        for trial in row
    ]


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [False, True])
@pytest.mark.parametrize("first", [0, 7])
def test_seeds_of_studies_never_meet(first: int, most: bool) -> None:
    """Neither of any two studies, whatever the stage, nor of tuning and judging in one: also with the most seeds."""
    counts = {"tuning_points": 1, "tuning_seeds": 1000, "seeds": 1000} if most else {"tuning_seeds": 2, "seeds": 3}
    made = planned(FOUR[:1], first_study=first, **counts)
    (contender,) = made.contenders
    trials = [trials_of(made, contender, study) for study in range(STUDIES)]
    seeds = [{trial.seed for trial in each} for each in trials]
    assert [min(each) for each in seeds] == [1000 * (first + study) for study in range(STUDIES)]
    assert all(not one & other for one, other in itertools.combinations(seeds, 2))
    for each in trials:
        # one number in two stages gives other keys and another order of the data: see test_streams
        assert len({(trial.stage, trial.seed) for trial in each}) == made.tuning_seeds + made.seeds
        assert {trial.stage for trial in each} == {"tuning", "final"}


def test_contenders_share_the_seeds_of_a_study_and_no_others() -> None:
    made = planned(tuning_seeds=2, seeds=3)
    for study in range(STUDIES):
        seeds = [
            {(trial.stage, trial.seed) for trial in trials_of(made, contender, study)} for contender in made.contenders
        ]
        assert seeds == [{("tuning", 1000 * study + seed) for seed in range(2)}
                         | {("final", 1000 * study + seed) for seed in range(3)}] * 4  # fmt: skip


@pytest.mark.parametrize("tuner", ["halton", "random"])
@pytest.mark.parametrize("beyond", [3, 5])
def test_a_replication_shares_no_trial_with_the_first(tuner: str, beyond: int) -> None:
    first, again = (planned(tuner=tuner, first_study=number) for number in (0, beyond))
    found = [
        {trial.id for contender in made.contenders for study in range(STUDIES)
         for trial in trials_of(made, contender, study)}
        for made in (first, again)
    ]  # fmt: skip
    assert len(found[0]) == len(found[1]) and not found[0] & found[1]
    points = [
        {value for contender in made.contenders for study in range(STUDIES)
         for point in contender.points_of(study) for value in point.hyperparameters.values()}
        for made in (first, again)
    ]  # fmt: skip
    assert not points[0] & points[1]
    keys = [
        {made.search_key(made.problems[0], contender, study)
         for contender in made.contenders for study in range(STUDIES)}
        for made in (first, again)
    ]  # fmt: skip
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("tuner", ["halton", "random"])
def test_a_study_is_known_by_its_number(tuner: str) -> None:
    """The studies that two runs have in common are the same ones, whichever comes first."""
    first, later = planned(tuner=tuner), planned(tuner=tuner, first_study=2)
    for one, other in zip(first.contenders, later.contenders, strict=True):
        assert one.points_of(2) == other.points_of(0)
        assert trials_of(first, one, 2) == trials_of(later, other, 0)


# --- points ----------------------------------------------------------------------------------------------------------


def coordinates(made: Plan, contender: PlannedContender, points: Any) -> np.ndarray[Any, Any]:
    """[points, hyperparameters] Where points lie in the space, 0 to 1 along each range."""
    spans = contender.space
    return np.array([[spans[name].coordinate(value) for name, value in point.hyperparameters.items()]  # type: ignore[union-attr]
                     for point in points])  # fmt: skip


def beforehand_of(made: Plan, contender: PlannedContender, study: int) -> Any:
    return contender.points_of(study)


def asked_of(made: Plan, contender: PlannedContender, study: int) -> Any:
    """The first batch of points that are drawn while a run goes on."""
    return next_points(History(made), made.problems[0], contender, study=study)


def beyond_of(made: Plan, contender: PlannedContender, study: int) -> Any:
    """Points in what is added where one range becomes twice as wide."""
    span = contender.space["own"]
    assert isinstance(span, Range)
    added = span.beyond("upper", span.width)
    assert added is not None
    wider = {**contender.space, "own": Range(span.low, added.high, span.scale)}
    expanded = replace(made, expansions=(Expansion("walk", contender.label, wider, []),))
    (points,) = points_beyond(expanded, made.problems[0], contender, study)
    return points


WAYS: dict[str, tuple[dict[str, Any], Callable[[Plan, PlannedContender, int], Any]]] = {
    "halton": ({}, beforehand_of),
    "random": ({"tuner": "random"}, beforehand_of),
    "seconds": ({"tuning_points": None, "tuning_seconds": 5.0}, asked_of),
    "optuna": ({"tuner": "optuna"}, asked_of),
    "widened": ({}, beyond_of),
    "widened, random": ({"tuner": "random"}, beyond_of),
}


@pytest.mark.parametrize("way", WAYS)
def test_contenders_of_a_draw_try_the_same_places(way: str) -> None:
    """In a study; other draws and other studies have other places."""
    if way == "optuna":
        pytest.importorskip("optuna")
    budget, drawn = WAYS[way]
    made = planned(**budget)
    seen = []
    for study in range(STUDIES):
        narrow, wide, narrow_again, wide_again = (
            coordinates(made, contender, drawn(made, contender, study)) for contender in made.contenders
        )
        # to the six digits that points are rounded to
        np.testing.assert_allclose(narrow, wide, atol=1e-4)
        np.testing.assert_allclose(narrow_again, wide_again, atol=1e-4)
        seen += [narrow, narrow_again]
    for one, other in itertools.combinations(seen, 2):
        assert np.abs(one - other).min() > 1e-5


def test_draws_and_studies_never_take_each_others_points() -> None:
    """A draw is further from another one in seeds than there are studies."""
    made = planned((FOUR[0], replace(FOUR[0], draw=1), replace(FOUR[0], draw=2)))
    late = planned((FOUR[0],), first_study=999_990)
    seeds = [
        each.draw_seed(contender, study)
        for each in (made, late)
        for contender in each.contenders
        for study in range(STUDIES)
    ]
    assert len(set(seeds)) == len(seeds)


# --- the command line ------------------------------------------------------------------------------------------------

SPEC = 'problems = ["quadratic"]\noptimizers = ["sgd", "adam"]\n[budget]\nsteps = 40\nevaluations = 4\n'


@pytest.mark.parametrize(
    ("said", "options", "expected"),
    [
        ("", [], (10, 4, 1, 2)),
        ("", ["--studies", "1"], (1, 16, 2, 10)),
        ("studies = 1", [], (1, 16, 2, 10)),
        ("studies = 1", ["--studies", "8"], (8, 4, 1, 2)),
        ("seeds = 3", ["--studies", "1"], (1, 16, 2, 3)),  # what the spec says stays
        ("tuning_points = 6\ntuning_seeds = 3", ["--studies", "1", "--seeds", "5"], (1, 6, 3, 5)),
    ],
)
def test_the_number_of_studies_brings_its_defaults(
    said: str, options: list[str], expected: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC + said)
    found: list[Plan] = []

    class Asked(Exception):
        """Ends a run where it would begin."""

    def run(experiment: Experiment, **_: Any) -> None:
        found.append(plan(experiment).plan)
        raise Asked

    monkeypatch.setattr(whole_run, "carry_out", run)
    with pytest.raises(Asked):
        cli.app(["run", str(path), *options], result_action="return_value")
    (made,) = found
    studies, points, tuning_seeds, seeds = expected
    assert (made.tuner.studies, made.tuning_seeds, made.seeds) == (studies, tuning_seeds, seeds)
    for contender in made.contenders:
        assert [len(contender.points_of(study)) for study in range(studies)] == [points] * studies


# --- studies that are added ------------------------------------------------------------------------------------------


class Noisy:
    """An executor that makes outcomes up: noise by seed, the same for all contenders but for a little of their own."""

    slots = 1
    vacant = ()
    program = None

    def __init__(self, lives: float = math.inf) -> None:
        self.lives, self.ran = lives, list[tuple[str, str]]()
        self._works: dict[int, Work] = {}

    def submit(self, slot: int, work: Work) -> None:
        self._works[slot] = work

    def next(self) -> tuple[int, Done]:
        if self.lives <= 0:
            raise RuntimeError("killed")
        self.lives -= 1
        slot, work = self._works.popitem()
        kept = work.trials if self.lives > 0 else work.trials[: max(1, len(work.trials) // 2)]
        self.ran += [(trial.stage, trial.id) for trial in kept]
        return slot, Done(tuple(map(made_up, kept)), program_identity())

    def close(self) -> None:
        pass


def made_up(trial: Trial) -> Outcome:
    own = np.random.default_rng([trial.seed, int(trial.id[:8], 16)]).normal()
    if trial.stage == "final":  # one study the one is ahead, the next study the other: nothing is ever settled
        is_narrow = all(span.low <= trial.hyperparameters[name] <= span.high for name, span in NARROW.items())
        own = (-1.0) ** (trial.seed // STUDY_SEEDS) * (1 if is_narrow else -1)
    value = 10 + np.random.default_rng(trial.seed).normal() + own + 0.01 * abs(trial.hyperparameters["gradient"] - 1)
    points = trial.identity["evaluations"] + 1
    steps = np.arange(points) * (trial.identity["steps"] // (points - 1))
    curves = {"x0": np.full(points, value, np.float32), "training_loss": np.full(points, value, np.float32)}
    return Outcome(
        trial, "finished", "", "", None, 0.25, 0.0, steps, curves, {"x0": value}, Evaluations(int(steps[-1]))
    )


SETTLING = Settling(max_studies=9)
PAIR = (Contender(optimizer=optimizer("narrow", NARROW)), Contender(optimizer=optimizer("wide", WIDE), draw=2))
ADDING: dict[str, dict[str, Any]] = {
    "halton": {},
    "random": {"tuner": "random"},
    "grid": {"tuner": "grid"},
    "seconds": {"tuning_points": None, "tuning_seconds": 0.6},
    "first study": {"first_study": 4},
}


def bound_of(how: str, settling: Settling | None = SETTLING, **budget: Any) -> BoundPlan:
    settings = {"steps": 6, "evaluations": 3, "tuning_points": 4, "studies": STUDIES, **ADDING[how], **budget}
    problems = tuple(ProblemChoice(problem=walk(name)) for name in ("walk", "walk 2"))
    return plan(Experiment(name="x", problems=problems, optimizers=PAIR, budget=Budget(**settings), settling=settling))


def carry_out(bound: BoundPlan, store: Store, executor: Noisy) -> Plan:
    return runner.run(bound, store, lambda: executor, Silent(), trust=True).bound.plan


@pytest.mark.parametrize("how", ADDING)
def test_added_studies_are_those_that_a_larger_budget_has(how: str) -> None:
    """Contenders hardly differ, so all studies that are allowed are added, each with the draw of its number."""
    executor = Noisy()
    with Store(None) as store:
        made = carry_out(bound_of(how), store, executor)
        ran, drawn = [each for each in executor.ran if each[0] != "target"], store.drawn()
    assert made.added_studies == {name: {"narrow": 6, "wide (draw 2)": 6} for name in ("walk", "walk 2")}
    with Store(None) as store:
        executor = Noisy()
        larger = carry_out(bound_of(how, settling=None, studies=9), store, executor)
        # but for those that set targets: these come from the studies that were planned
        assert sorted(ran) == sorted(each for each in executor.ran if each[0] != "target")
        assert store.drawn() == drawn
    for contender, other in zip(made.contenders, larger.contenders, strict=True):
        assert [list(contender.points_of(study)) for study in range(9)] == [
            list(other.points_of(study)) for study in range(9)
        ]
        if how in ("halton", "random", "first study"):
            number, name = made.tuner.first_study + 8, made.tuner.name
            seed = number + 1_000_000 * contender.draw
            assert contender.points_of(8) == beforehand(name, contender.space, {}, 4, seed=seed)


@pytest.mark.long
@pytest.mark.parametrize("how", ["halton", "seconds"])
def test_a_run_until_settled_that_is_killed_adds_the_same_studies(how: str) -> None:
    bound = bound_of(how)
    with Store(None) as store:
        undisturbed = Noisy()
        expected = carry_out(bound, store, undisturbed)
    ran: list[tuple[str, str]] = []
    with Store(None) as store:
        for attempt in range(200):
            executor = Noisy(lives=2 + attempt % 3)
            try:
                found = carry_out(bound, store, executor)
                break
            except RuntimeError:
                pass
            finally:
                ran += executor.ran
        else:
            raise AssertionError("it never ended")
        assert attempt > 3
        assert store.current_plan() == expected == found
        again = Noisy()
        assert carry_out(bound, store, again) == expected and not again.ran
    assert sorted(ran) == sorted(undisturbed.ran), "no trial ran twice, none that was not needed"


def test_added_studies_of_a_widened_plan_have_points_in_what_was_added() -> None:
    """The points that the study would have had, had it been there when the space was widened."""
    made = planned((FOUR[0],), studies=5)
    few = planned((FOUR[0],), studies=2)
    (contender,) = made.contenders
    once = {**contender.space, "gradient": uniform(0.5, 2.5)}
    twice = {"gradient": uniform(0.5, 2.5), "own": log_uniform(1e-4, 1.0)}
    expansions = [Expansion("walk", contender.label, space, []) for space in (once, twice)]
    for study in range(5):
        whole, part = (
            points_beyond(replace(each, expansions=tuple(expansions)), each.problems[0], each.contenders[0], study)
            for each in (made, few)
        )
        assert whole == part and [len(points) for points in whole] == [4, 8]
        first, second = whole
        assert all(1.5 < point.hyperparameters["gradient"] <= 2.5 for point in first)
        assert all(1e-2 < point.hyperparameters["own"] <= 1.0 for point in second)
    assert points_beyond(replace(made, expansions=tuple(expansions)), made.problems[1], contender, 3) == []


def test_one_study_of_points_is_not_another_ones() -> None:
    contender = replace(planned((FOUR[0],)).contenders[0], further=([Point({"gradient": 1.0, "own": 0.0}, {})],))
    assert [len(contender.points_of(study)) for study in range(4)] == [4, 1, 0, 0]
