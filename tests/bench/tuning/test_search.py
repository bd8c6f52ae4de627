"""What is tried next: seconds, successive halving and studies by hand, and runs that are killed at any moment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optax
import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, log_uniform, uniform
from dlkit.bench.plan.trials import STUDY_SEEDS, Outcome, Trial
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import halton_points, random_points
from dlkit.bench.tuning.search import MOST_POINTS, next_points, search
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import make_contender, make_plan, make_problem, play, synthetic_outcome

NAN = math.nan


def played(plan, value, *, seconds=0.25):
    """Plays a plan in which a trial's values are those of a function of it."""

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        values = value(trial)
        values = values if isinstance(values, list) else [values] * (plan.evaluations + 1)
        return synthetic_outcome(problem, plan, trial, values, seconds)

    return play(plan, train)


def rate(trial):
    return trial.hyperparameters["learning_rate"]


# --- successive halving ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "points", "evaluations", "expected"),
    [
        (None, 16, 20, [(16, None)]),
        (2, 16, 20, [(16, 3), (8, 5), (4, 10), (2, None)]),
        (4, 16, 20, [(16, 5), (4, None)]),
        (3, 27, 9, [(27, 1), (9, 3), (3, None)]),
        (3, 8, 20, [(8, 7), (2, None)]),
        (2, 64, 4, [(64, 1), (32, 2), (16, None)]),  # no rung is shorter than an evaluation
        (2, 3, 20, [(3, None)]),  # one point alone would be chosen before it is trained to the end
        (5, 1, 20, [(1, None)]),
    ],
)
def test_rungs(factor, points, evaluations, expected):
    assert Tuner(halving=factor).rungs(points, evaluations) == expected


def test_added_points_widen_rungs_and_keep_their_lengths():
    assert Tuner(halving=2).rungs(16, 20, added=16) == [(32, 3), (16, 5), (8, 10), (4, None)]


HALVING = make_plan(["x"], points=8, evaluations=8, seeds=3, tuning_seeds=2, tuner=Tuner(halving=2))


def halved(value, plan=HALVING):
    problem, contender = plan.problems[0], plan.contenders[0]
    history = played(plan, value)
    return history.outcomes, search(history, problem, contender), tune(history, problem, contender)


def test_the_better_half_goes_on_and_one_that_was_trained_to_the_end_wins():
    order = sorted(point.hyperparameters["learning_rate"] for point in HALVING.contenders[0].points)
    # The smallest rates begin best and end worst: by evaluation 2 the first four lead, of those the third wins.
    ends = [4.0, 3.0, 1.0, 2.0, 0.1, 0.1, 0.1, 0.1]

    def value(trial):
        place = order.index(rate(trial))
        return [9.0, 9.0, 1.0 + place, 9.0, ends[place], 9.0, 9.0, 9.0, 10.0 + ends[place]]

    outcomes, found, tuning = halved(value)
    assert [(list(rung.places), rung.until) for rung in found.rungs] == [
        (list(range(8)), 2),
        ([0, 1, 2, 3], 4),
        ([2, 3], None),
    ]
    assert not found.pending(outcomes)
    assert len(outcomes) == 2 * (8 + 4 + 2) + 3
    assert [len(each.curves["error"]) for each in outcomes.values() if each.trial.until == 4] == [5] * 8
    assert tuning.winner == 2 and (tuning.missing, tuning.trials) == (0, 28)
    np.testing.assert_array_equal(tuning.scores, [4.0, 3.0, 11.0, 12.0, 5.0, 6.0, 7.0, 8.0])
    assert list(tuning.until) == [4, 4, None, None, 2, 2, 2, 2]
    # the curve is that of the first rung, which all have: the best of all is 1, of one alone 4.5 on the average
    assert tuning.curve[0] == 4.5 and tuning.curve[-1] == 1.0


def test_a_diverged_point_never_goes_on():
    order = sorted(point.hyperparameters["learning_rate"] for point in HALVING.contenders[0].points)

    def value(trial):
        place = order.index(rate(trial))
        is_bad = place < 5 or (place == 5 and trial.seed == 1)  # one seed is enough
        return [1.0, NAN] if is_bad else float(place)

    _, found, tuning = halved(value)
    assert [list(rung.places) for rung in found.rungs] == [list(range(8)), [6, 7], [6, 7]]
    assert tuning.winner == 6 and tuning.finite == 2 and tuning.too_few


def test_nothing_goes_on_if_everything_diverged():
    outcomes, found, tuning = halved(lambda trial: [1.0, NAN])
    assert [len(rung.places) for rung in found.rungs] == [8, 0, 0]
    assert (tuning.winner, tuning.missing, tuning.finite) == (None, 0, 0)
    assert len(outcomes) == 16


def test_a_point_that_diverges_late_loses_to_a_worse_one():
    order = sorted(point.hyperparameters["learning_rate"] for point in HALVING.contenders[0].points)

    def value(trial):
        place = order.index(rate(trial))
        return [float(place)] * 7 + [NAN if place == 0 else float(place)]

    assert halved(value)[2].winner == 1


def test_no_winner_before_the_last_rung_is_over():
    outcomes, _, _ = halved(rate)
    problem, contender = HALVING.problems[0], HALVING.contenders[0]
    for name, outcome in outcomes.items():
        if outcome.trial.stage == "tuning":
            some = {key: each for key, each in outcomes.items() if key != name}
            tuning = tune(History(HALVING, some), problem, contender)
            assert tuning.winner is None
            assert tuning.missing == {2: 1 + 8 + 4, 4: 1 + 4, None: 1}[outcome.trial.until]


def test_an_edge_shows_through_the_rungs():
    tuning = halved(rate)[2]
    assert tuning.edges == {"learning_rate": "lower"}
    assert halved(lambda trial: -rate(trial))[2].edges == {"learning_rate": "upper"}
    assert halved(lambda trial: abs(math.log10(rate(trial)) + 1.5))[2].edges == {}


def test_a_rung_is_a_trial_of_its_own_and_a_whole_one_is_what_it_was():
    plan, (problem,), (contender,) = HALVING, HALVING.problems, HALVING.contenders
    point = contender.points[0]
    whole, rung = (plan.trial(problem, contender, point, "tuning", 0, until) for until in (None, 4))
    assert whole.until is None and "until" not in whole.identity
    assert rung.until == 4 and rung.identity == {**whole.identity, "until": 4} and rung.id != whole.id
    assert whole == replace(plan, tuner=Tuner()).tuning_trials(problem, contender)[0][0]


# --- points that are drawn while the run goes on ---------------------------------------------------------------------


def later(tuner, *, count: int | None = None, **settings: Any) -> Plan:
    """A plan of one contender whose points are drawn while it runs."""
    space = {"learning_rate": log_uniform(1e-3, 1.0), "other": uniform(0.0, 1.0)}
    contender = replace(make_contender("x"), space=space, points=[], further=((),) * (tuner.studies - 1), undrawn=count)
    return replace(make_plan(["x"], seeds=3, tuner=tuner, **settings), contenders=[contender])


@pytest.mark.parametrize(("name", "draw"), [("halton", halton_points), ("random", random_points)])
@pytest.mark.parametrize(
    ("seconds", "each", "points"),
    [(10.0, 1.0, 5), (10.5, 1.0, 6), (0.001, 1.0, 1), (7.0, 2.0, 2), (8.0, 2.0, 2), (8.1, 2.0, 3)],
)
def test_points_are_drawn_until_the_seconds_are_spent(name, draw, seconds, each, points):
    """Two trials a point; the last point is the one that reaches the budget."""
    plan = later(Tuner(name, seconds=seconds))
    history = played(plan, rate, seconds=each)
    problem, contender = plan.problems[0], plan.contenders[0]
    tuning = tune(history, problem, contender)
    assert tuning.points == draw(contender.space, {}, points)
    assert tuning.seconds == pytest.approx(2 * each * points) and not tuning.missing
    assert len(history.outcomes) == 2 * points + 3


def test_a_larger_budget_of_seconds_goes_on_and_a_smaller_one_takes_what_it_paid_for():
    small, large = (later(Tuner(seconds=seconds)) for seconds in (4.0, 12.0))
    problem, contender = small.problems[0], small.contenders[0]
    assert small.search_key(problem, contender, 0) == large.search_key(problem, contender, 0)
    history = played(large, rate, seconds=1.0)
    assert len(search(history, problem, contender).points) == 6
    found = search(history.with_plan(small), problem, contender)
    assert len(found.points) == 2 and not found.wanted


def test_points_that_cost_nothing_come_to_an_end():
    plan = later(Tuner(seconds=1.0), tuning_seeds=1)
    key = plan.search_key(plan.problems[0], plan.contenders[0], 0)
    points = random_points(plan.contenders[0].space, {}, MOST_POINTS + 1)
    rows = plan.tuning_trials(plan.problems[0], plan.contenders[0], points)
    outcomes = {row[0].id: synthetic_outcome(plan.problems[0], plan, row[0], [1.0, NAN], 0.0) for row in rows}
    for count, wanted in ((MOST_POINTS - 1, 1), (MOST_POINTS, 0), (MOST_POINTS + 1, 0)):
        found = search(History(plan, outcomes, {key: points[:count]}), plan.problems[0], plan.contenders[0])
        assert found.wanted == wanted and len(found.points) <= MOST_POINTS


def test_more_points_wait_for_those_before():
    plan = later(Tuner(seconds=10.0))
    history = History(plan)
    about = (history, plan.problems[0], plan.contenders[0])
    first = next_points(*about)
    assert len(first) == 1
    history.draw(plan.search_key(*about[1:], 0), first)
    assert next_points(*about) == []
    assert len(search(*about).pending({})) == 2
    tuning = tune(*about)
    assert tuning.winner is None and tuning.missing == 2 + 2, "at least one point more"


def test_optuna_is_asked_in_batches_until_there_are_enough():
    pytest.importorskip("optuna")
    plan = later(Tuner("optuna", batch=3), count=8)
    history = played(plan, lambda trial: abs(math.log10(rate(trial)) + 1.5))
    about = (plan.problems[0], plan.contenders[0])
    tuning = tune(history, *about)
    assert len(tuning.points) == 8 and not tuning.missing and tuning.trials == 16
    np.testing.assert_array_equal(tuning.curve, np.minimum.accumulate(tuning.scores))
    points = list(history.drawn(*about, 0))
    few = {trial.id: history.outcomes[trial.id] for row in plan.tuning_trials(*about, points[:3]) for trial in row}
    key = plan.search_key(*about, 0)
    assert next_points(History(plan, few, {key: points[:3]}), *about) == points[3:6]
    assert tune(History(plan, few, {key: points[:3]}), *about).missing == 10
    smaller = replace(plan, contenders=[replace(plan.contenders[0], undrawn=5)])
    assert smaller.search_key(*about, 0) == key
    assert list(tune(history.with_plan(smaller), about[0], smaller.contenders[0]).points) == points[:5]


@pytest.mark.parametrize(
    "change",
    [
        {"tuning_seeds": 3}, {"evaluations": 8}, {"tuner": Tuner("optuna", batch=3)}, {"tuner": Tuner("halton")},
        {"problems": [replace(make_problem(), metric="accuracy")]}, {"problems": [make_problem("other")]},
    ],
)  # fmt: skip
def test_points_are_not_taken_from_another_search(change):
    plan = later(Tuner("optuna"), count=8)
    other = replace(plan, **change)
    keys = {each.search_key(each.problems[0], each.contenders[0], study) for each in (plan, other) for study in (0, 1)}
    assert len(keys) == 4


# --- studies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tuner", ["halton", "random"])
def test_studies_share_no_point_and_no_seed(tuner):
    budget = Budget(steps=40, evaluations=4, tuning_points=5, tuning_seeds=3, seeds=4, studies=3, tuner=tuner)
    plan = planner.plan(asked(["sgd"], budget)).plan
    problem, contender = plan.problems[0], plan.contenders[0]
    points = [contender.points_of(study) for study in range(3)]
    assert len({point.hyperparameters["learning_rate"] for each in points for point in each}) == 15
    for study, first in enumerate((0, STUDY_SEEDS, 2 * STUDY_SEEDS)):
        tuning = [trial for row in plan.tuning_trials(problem, contender, study=study) for trial in row]
        finals = plan.final_trials(problem, contender, points[study][0], study=study)
        assert {(trial.stage, trial.seed) for trial in tuning} == {("tuning", first + seed) for seed in range(3)}
        assert [(trial.stage, trial.seed) for trial in finals] == [("final", first + seed) for seed in range(4)]


# --- runs ------------------------------------------------------------------------------------------------------------


def asked(optimizers: Sequence[Any], budget: Budget) -> Experiment:
    entries = tuple(Contender(optimizer=each) for each in optimizers)
    return Experiment(name="x", problems=(ProblemChoice(problem="quadratic"),), optimizers=entries, budget=budget)


def closed_form(trial: Trial) -> Outcome:
    """Best at a rate of 0.03 for the first seeds and elsewhere for others; rates above 0.5 diverge."""
    rate = trial.hyperparameters["learning_rate"]
    evaluations = trial.identity["evaluations"] if trial.until is None else trial.until
    off = abs(math.log10(rate) + 1.5 + 0.1 * math.sin(trial.seed))
    values = np.array([1.0 + off * point / evaluations for point in range(evaluations + 1)], np.float32)
    if rate > 0.5:
        values = np.array([1.0, NAN], np.float32)
    steps = np.arange(len(values)) * (trial.identity["steps"] // trial.identity["evaluations"])
    status = "diverged" if rate > 0.5 else "finished"
    test = {} if rate > 0.5 or trial.until else {"suboptimality": float(values[-1])}
    curves = {"suboptimality": values, "training_loss": values}
    return Outcome(trial, status, "", "", None, 0.3 + 0.01 * trial.seed % 1, 0.0, steps, curves, test)


class ClosedForm:
    """An executor that computes outcomes in closed form; it is killed after some works, in the middle of one."""

    vacant = ()
    program = None

    def __init__(self, slots: int = 1, *, lives: float = math.inf) -> None:
        self.slots, self.lives, self.ran = slots, lives, []
        self._works: dict[int, Work] = {}

    def submit(self, slot: int, work: Work) -> None:
        self._works[slot] = work

    def next(self) -> tuple[int, Done]:
        if self.lives <= 0:
            raise RuntimeError("killed")
        self.lives -= 1
        slot = max(self._works)  # a later slot may well be first
        trials = self._works.pop(slot).trials
        kept = trials if self.lives > 0 else trials[: max(1, len(trials) // 2)]
        self.ran += [trial.id for trial in kept]
        return slot, Done(tuple(map(closed_form, kept)), program_identity())

    def close(self) -> None:
        pass


RATES = {"learning_rate": log_uniform(1e-3, 1.0)}
OWN = Optimizer("own", optax.sgd, {"learning_rate": log_uniform(1e-4, 1e-2)})  # the best rate lies outside
CHOICE = Optimizer("choice", lambda learning_rate, n: optax.sgd(learning_rate), RATES, {"n": [1, 2]})
COMMON = {"steps": 40, "evaluations": 4, "tuning_seeds": 2, "seeds": 6, "studies": 1}
BUDGETS = {
    "halton": {"tuning_points": 6},
    "random": {"tuner": "random", "tuning_points_per_dimension": 4},
    "grid": {"tuner": "grid", "tuning_points": 8},
    "optuna": {"tuner": "optuna", "tuning_points": 7, "tuning_batch": 3},
    "seconds": {"tuning_seconds": 3.0},
    "optuna, seconds": {"tuner": "optuna", "tuning_seconds": 4.0, "tuning_batch": 2},
    "halving": {"tuning_points": 8, "halving": 2},
    "studies": {"tuning_points": 4, "studies": 3},
    "optuna, studies": {"tuner": "optuna", "tuning_points": 4, "studies": 2},
    "zoom": {"tuner": "zoom", "tuning_points": 9, "tuning_batch": 3},
    "zoom, studies": {"tuner": "zoom", "tuning_points": 5, "studies": 2},
    "zoom by area": {"tuner": "zoom", "tuning_points": 6, "tuning_batch": 2, "objective": "area"},
    "halving by area": {"tuning_points": 8, "halving": 2, "objective": "area"},
}


def facts(store: Store) -> Mapping[str, Any]:
    """What a run found, as data."""
    summary = summarize(store)
    assert summary.missing == 0 and summary.planned == len(summary.records)
    return {
        "table": frames.table(summary).to_csv(),
        "trials": frames.trials(summary).to_csv(),
        "drawn": store.drawn(),
        "plan": summary.plan.digest,
        "expansions": summary.plan.expansions,
        "verdicts": [each.verdict for each in summary.comparisons],
    }


@pytest.mark.long
@pytest.mark.parametrize("what", BUDGETS)
@pytest.mark.parametrize("expand", [False, True])
def test_a_run_that_is_killed_again_and_again_finds_what_an_undisturbed_one_does(what, expand):
    if "optuna" in what:
        pytest.importorskip("optuna")
    bound = planner.plan(replace(asked([OWN, CHOICE], Budget(**{**COMMON, **BUDGETS[what]})), expand=expand))
    with Store(None) as store:
        undisturbed = ClosedForm()
        runner.run(bound, store, lambda: undisturbed, Silent())
        expected = facts(store)
    with Store(None) as store:
        ran: list[str] = []
        for attempt in range(300):
            executor = ClosedForm(1 + attempt % 3, lives=1 + attempt % 2)
            try:
                runner.run(bound, store, lambda: executor, Silent(), trust=True)  # noqa: B023
                break
            except RuntimeError:
                pass
            finally:
                ran += executor.ran
        else:
            raise AssertionError("it never ended")
        assert facts(store) == expected
    assert sorted(ran) == sorted(undisturbed.ran), "no trial ran twice, none that was not needed"
    assert attempt > 3
    assert expand == bool(expected["expansions"])


def test_an_edited_budget_runs_only_what_is_new():
    a_study = 2 * (4 * 2 + 6)
    with Store(None) as store:
        for budget, trials in (
            ({"tuning_points": 4}, a_study),
            ({"tuning_points": 4, "studies": 3}, 2 * a_study),
            ({"tuning_points": 4, "studies": 2}, 0),
            ({"tuning_points": 4, "studies": 2, "first_study": 2}, a_study),
            ({"tuning_points": 4}, 0),
        ):
            executor = ClosedForm()
            made = planner.plan(asked([OWN, CHOICE], Budget(**{**COMMON, **budget})))
            runner.run(made, store, lambda: executor, Silent(), trust=True)  # noqa: B023
            assert len(executor.ran) == trials


def test_a_stored_run_with_asked_points_needs_no_optuna(monkeypatch):
    pytest.importorskip("optuna")
    bound = planner.plan(asked([OWN], Budget(**{**COMMON, **BUDGETS["optuna"]})))
    with Store(None) as store:
        runner.run(bound, store, ClosedForm, Silent())
        monkeypatch.setitem(__import__("sys").modules, "optuna", None)
        summary = summarize(store)
    assert summary.comparisons[0].results[0].is_complete and len(frames.trials(summary)) == 7 * 2 + 6


def test_a_study_of_several_is_what_it_is_alone():
    """A run of three studies has the trials of three runs of one study each; its values are their means, by hand."""

    def summary(**budget):
        with Store(None) as store:
            made = planner.plan(asked([OWN, CHOICE], Budget(**{**COMMON, "tuning_points": 3, **budget})))
            runner.run(made, store, ClosedForm, Silent())
            return summarize(store)

    together, *alone = summary(studies=3), *[summary(first_study=study) for study in range(3)]
    assert together.records.keys() == {name for each in alone for name in each.records}
    for result in together.comparisons[0].results:
        own = [each for one in alone for each in one.comparisons[0].results if each.label == result.label]
        assert [each.tuning.point for each in result.studies] == [each.tuning.point for each in own]
        # the metric's scale is logarithmic: a mean of the logarithms
        finals = [[math.log10(outcome.final("suboptimality")) for outcome in each.outcomes] for each in own]
        assert result.blocks == pytest.approx(np.mean(finals, axis=1), rel=1e-5) and np.isfinite(result.blocks).all()
        assert [len(each.blocks) for each in own] == [6, 6, 6]


def test_points_of_a_contender_without_ranges_are_its_choices():
    choices = Optimizer("choices", lambda n: None, {}, {"n": [1, 2, 3]})
    fixed = Optimizer("fixed", lambda learning_rate: None, {"learning_rate": 0.1})
    for budget in ({"tuning_seconds": 100.0}, {"tuner": "grid"}):
        plan = planner.plan(asked([choices, fixed], Budget(**{**COMMON, **budget}))).plan
        assert [point.static["n"] for point in plan.contenders[0].points] == [1, 2, 3]
        assert plan.contenders[1].points == [Point({"learning_rate": 0.1}, {})]
        assert [each.undrawn for each in plan.contenders] == [0, 0]
