"""Studies or seeds added until settled: when that ends, who gets them, their points, runs taken up again, error rates.

Trials are drawn, not trained; all else is the real run.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.settled_runs import (
    EQUALS,
    METHODS,
    Drawing,
    Drawn,
    Setting,
    bound_plan_of_names,
    judged,
    rates,
    settled,
)
from dlkit.bench.analysis import frames, settling
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.execution.progress import Silent, added_blocks
from dlkit.bench.plan.json import from_data, from_json, to_data, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.trials import STUDY_SEEDS
from dlkit.bench.spec.planner import BoundPlan
from dlkit.bench.stats import Settlement, confidence_sequence, evidence, settle
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.widening import expand
from tests.bench.analysis.results_by_hand import in_studies
from tests.bench.synthetic import fill, make_plan, make_problem, make_summary, play, synthetic_outcome

UNITS = ("studies", "seeds")


class Told(Silent):
    """Keeps the lines about what was added."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def adding(self, blocks: settling.Added) -> None:
        self.lines.append(added_blocks(blocks))


def of(unit: str, blocks: int, **more: Any) -> Setting:
    """A setting whose blocks are studies of one fresh seed, or seeds of one study."""
    return Setting(**({"studies": blocks, "seeds": 1} if unit == "studies" else {"seeds": blocks}), **more)


def blocks_of(comparison: Comparison) -> dict[str, int]:
    return {result.label: len(result.blocks) for result in comparison.results}


# --- when it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "added", "end"), [("studies", (2, 2), 7), ("seeds", (5,), 8)])
def test_a_clear_winner_ends_it_early(unit: str, added: tuple[int, ...], end: int) -> None:
    setting, told = of(unit, 3, gap=20.0), Told()
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0), progress=told)
    before = [3 + sum(added[:turn]) for turn in range(len(added))]
    lines = [f"quadratic: {n} {unit}, not settled; adding {more}" for n, more in zip(before, added, strict=True)]
    assert told.lines == lines
    assert blocks_of(found) == {"name 0": end, "name 1": end}
    assert (found.verdict.kind, found.verdict.best) == ("winner", ("name 0",))
    assert found.verdict.about == ("methods" if unit == "studies" else "settings")
    decided = settle(np.array([result.blocks for result in found.results]))
    assert decided.decision == "best" and f"ettled at {decided.seeds} {unit}" in found.verdict.sentence


@pytest.mark.parametrize(
    ("unit", "lines"),
    [("studies", ["10 studies, not settled; adding 2", "12 studies, not settled; adding 3",
                  "15 studies, not settled; adding 2"]),
     ("seeds", ["10 seeds, not settled; adding 5", "15 seeds, not settled; adding 2"])],
)  # fmt: skip
def test_equals_end_at_the_maximum_with_the_trials_of_a_plan_of_so_many(unit: str, lines: list[str]) -> None:
    """Added studies draw the points, and use the seeds, of a plan that had them from the start."""
    setting = of(unit, 10, points=4, most=17)
    told, study, drawing = Told(), bound_plan_of_names(setting), Drawing(setting, 0)
    with Store(None) as store:
        runner.run(study, store, lambda: Drawn(drawing), told, trust=True)
        summary, ids = summarize(store), store.finished()
    found = summary.comparisons[0]
    assert told.lines == [f"quadratic: {line}" for line in lines]
    assert blocks_of(found) == {"name 0": 17, "name 1": 17}
    assert found.verdict.kind == "tie" and found.verdict.sentence.endswith(f"Not settled within 17 {unit}.")
    whole = bound_plan_of_names(of(unit, 17, points=4)).plan
    for result, contender in zip(sorted(found.results, key=lambda each: each.label), whole.contenders, strict=True):
        assert {each.id for each in result.trials} <= ids
        studies = whole.studies(whole.problems[0], contender)
        assert [result.contender.points_of(k) for k in studies] == [contender.points_of(k) for k in studies]
        expected = [
            trial.id
            for k, tuning in zip(studies, result.tunings, strict=True)
            for trial in whole.final_trials(whole.problems[0], contender, tuning.point, study=k)
        ]
        assert [each.id for each in result.trials] == expected


def test_added_studies_of_a_replication_go_on_from_its_own_first_study() -> None:
    setting = of("studies", 7, points=4, most=9)
    found = carried_out(bound_plan_of_names(setting, first_study=30), None, lambda: Drawn(Drawing(setting, 0)))[1]
    whole = bound_plan_of_names(of("studies", 9, points=4), first_study=30).plan
    for one, other in zip(found.plan.contenders, whole.contenders, strict=True):
        assert (one.points, one.further) == (other.points, other.further)
    seeds = {trial.seed for result in found.comparisons[0].results for trial in result.trials}
    assert seeds == {STUDY_SEEDS * number for number in range(30, 39)}


@pytest.mark.parametrize("unit", UNITS)
def test_a_margin_ends_it(unit: str) -> None:
    setting = of(unit, 10, margin=3.0)
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0))
    counts = set(blocks_of(found).values())
    assert found.verdict.kind == "tie" and max(counts) < 40
    pair = found.ranking.compared[1].standing.to_best
    assert pair is not None and pair.difference.low <= 0 <= pair.difference.high and pair.adjusted_p > 0.05
    assert "lies within 3 of it." in found.verdict.sentence


@pytest.mark.parametrize("at_a_time", [1, 7, 30])
def test_how_many_are_added_at_a_time_decides_nothing(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    setting = Setting(gap=1.5)
    number, expected = next((n, each) for n in range(50) if 13 <= (each := decided(setting, n)).seeds <= 35)
    assert (expected.decision, expected.leader) == ("best", 0)
    monkeypatch.setattr(settling, "FEWEST_ADDED", {"seeds": at_a_time})
    monkeypatch.setattr(settling, "SHARE_ADDED", 1000)
    verdict = settled(bound_plan_of_names(setting), Drawing(setting, number)).verdict
    assert verdict.kind == "winner" and f"ettled at {expected.seeds} seeds" in verdict.sentence


def decided(setting: Setting, number: int) -> Settlement:
    """What the first 40 seeds of a drawing settle, by themselves."""
    plan = replace(bound_plan_of_names(setting).plan, seeds=40)
    scores = [
        [Drawing(setting, number).outcome(trial).curves["error"][-1] for trial in trials]
        for each in plan.contenders
        for trials in [plan.final_trials(plan.problems[0], each, each.points[0])]
    ]
    return settle(scores)


@pytest.mark.parametrize("unit", UNITS)
def test_blocks_do_not_mend_tuning(unit: str) -> None:
    setting = of(unit, 10, points=2, gap=20.0)  # two points are too few for either
    found = settled(bound_plan_of_names(setting), Drawing(setting, 0))
    assert found.verdict.kind == "unsettled" and "name 1 may be undertuned" in found.verdict.sentence
    assert "As they are tuned, it is settled at " in found.verdict.sentence
    assert set(blocks_of(found).values()) == {10}, "nothing was added"


# --- who gets more ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
def test_who_is_beaten_by_everyone_in_question_rests(unit: str) -> None:
    setting = of(unit, 7, contenders=3, gap=20.0, most=20, points=1)
    _, summary = carried_out(bound_plan_of_names(setting), None, lambda: Drawn(Drawing(setting, 0)))
    (found,) = summary.comparisons
    counts = blocks_of(found)
    rested = counts.pop("name 2")
    assert set(counts.values()) == {20} and 7 < rested < 20
    assert set(found.verdict.best) == {"name 0", "name 1"} and "worse: name 2" in found.verdict.sentence
    assert any(f"name 2 rested after {rested} {unit}" in note for note in found.verdict.notes)
    added = getattr(summary.plan, f"added_{unit}")["quadratic"]
    assert added == {"name 0": 13, "name 1": 13, "name 2": rested - 7}
    if unit == "studies":
        assert [1 + len(each.further) for each in summary.plan.contenders] == [20, 20, rested], "no points to spare"
    best, worst = found.results[0], found.results[-1]
    on_common = worst.blocks - best.blocks[:rested]
    pair = found.ranking.standings[worst.label].to_best
    assert pair is not None and pair.adjusted_p == pytest.approx(6 / evidence(-on_common).max(), rel=0.05)
    interval = confidence_sequence(worst.blocks, best.blocks[:rested])
    assert (pair.difference.low, pair.difference.high) == (interval.low, interval.high)


@pytest.mark.parametrize(("unit", "other"), [UNITS, UNITS[::-1]])
def test_several_studies_get_studies_and_one_study_gets_seeds(unit: str, other: str) -> None:
    setting = of(unit, 10, most=13)
    _, summary = carried_out(bound_plan_of_names(setting), None, lambda: Drawn(Drawing(setting, 0)))
    assert getattr(summary.plan, f"added_{unit}") == {"quadratic": {"name 0": 3, "name 1": 3}}
    assert getattr(summary.plan, f"added_{other}") == {}
    per_study = {len(each.trials) for result in summary.comparisons[0].results for each in result.studies}
    assert per_study == ({1} if unit == "studies" else {13})


def test_spaces_that_were_widened_get_points_for_studies_that_are_added() -> None:
    """The same as if the studies had been there when the space was widened."""
    plan = replace(make_plan(("a", "b"), points=4, tuning_seeds=1, seeds=1), expand=True)

    def train(problem: Any, contender: Any, trial: Any) -> Any:
        rate = math.log10(trial.hyperparameters["learning_rate"])
        noise = 0.1 * math.sin(17.0 * trial.seed**2 + (contender.label == "a") + 5 * rate)
        values = [9.0] * plan.evaluations + [(rate - 5.0 if contender.label == "a" else abs(rate + 1.5)) ** 2 + noise]
        return synthetic_outcome(problem, plan, trial, [float(value) for value in values])

    def widened(studies: int) -> Plan:
        found = expand(play(in_studies(plan, studies), train))
        assert found is not None
        return expand(play(found, train)) or found

    few, many = widened(7), widened(9)
    assert [each.contender for each in few.expansions] == ["a"] * len(few.expansions) and len(few.expansions) == 2
    addition = settling.more_blocks(play(replace(few, max_studies=9), train))
    assert addition is not None and addition.problems[0].added == 2
    more = addition.plan
    assert [each.points for each in more.expansions] == [each.points for each in many.expansions]
    assert [each.space for each in more.expansions] == [each.space for each in few.expansions]
    problem, a = more.problems[0], more.contenders[0]
    assert len(more.added_points(problem, a, 8)) == len(more.added_points(problem, a, 0)) > 0


@pytest.mark.long
@pytest.mark.parametrize("unit", UNITS)
def test_a_problem_that_is_settled_stops_while_another_goes_on(unit: str) -> None:
    easy, hard = make_problem("easy"), make_problem("hard")

    def curve(plan: Plan, problem: Any, contender: Any, trial: Any) -> list[float]:
        seed = trial.seed // STUDY_SEEDS + trial.seed % STUDY_SEEDS
        noise = 0.1 * math.sin(17.0 * seed * seed + plan.contenders.index(contender))
        gap = 1.0 * (problem is easy) * plan.contenders.index(contender)
        return [2.0, 1.0 + gap + noise, 1.0 + gap + noise]

    plan = make_plan(("a", "b"), problems=[easy, hard], points=1, evaluations=2)
    plan = replace(in_studies(replace(plan, seeds=1), 10) if unit == "studies" else plan, **{f"max_{unit}": 20})
    while True:
        with Store(None) as store:
            fill(store, plan, curve=curve)
            outcomes = {name: record.outcome for name, record in store.records().items()}
            summary = summarize(store)
        addition = settling.more_blocks(History(plan, outcomes))
        if addition is None:
            break
        assert [each.problem for each in addition.problems] == ["hard"]
        plan = addition.plan
    assert dict(getattr(plan, f"added_{unit}")) == {"hard": {"a": 10, "b": 10}}
    assert [max(blocks_of(each).values()) for each in summary.comparisons] == [10, 20]
    assert summary.missing == 0


@pytest.mark.parametrize("unit", UNITS)
def test_an_unfinished_round_is_told_by_the_blocks_that_pair(unit: str) -> None:
    def number(trial: Any) -> int:
        return trial.seed // STUDY_SEEDS + trial.seed % STUDY_SEEDS

    def noisy(plan: Plan, problem: Any, contender: Any, trial: Any) -> list[float]:
        return [2.0] * 4 + [1.0 + 0.1 * math.sin(17.0 * number(trial) ** 2 + plan.contenders.index(contender))]

    plan = replace(make_plan(("a", "b"), points=1), **{f"max_{unit}": 30, f"added_{unit}": {"bowl": {"a": 5, "b": 5}}})
    if unit == "studies":
        plan = in_studies(replace(plan, seeds=1, tuning_seeds=1), 15)
        plan = replace(plan, tuner=replace(plan.tuner, studies=10))

    def is_missing(label: str, trial: Any) -> bool:
        return label == "b" and trial.stage == "final" and number(trial) in (12, 14)

    summary = make_summary(plan, curve=noisy, missing=is_missing)
    (found,) = summary.comparisons
    assert blocks_of(found) == {"a": 15, "b": 12} and summary.missing == 2
    assert f"12 {unit} yet" in found.verdict.sentence


class Failing(Drawn):
    """Fails at one contender's added studies or seeds."""

    def next(self) -> Any:
        slot, done = super().next()
        outcomes = [
            failed(each.trial, "no more memory")
            if each.trial.seed // STUDY_SEEDS + each.trial.seed % STUDY_SEEDS >= 12
            and each.trial.identity["optimizer"]["static"]["name"] == "name 1"
            else each
            for each in done.outcomes
        ]
        return slot, done._replace(outcomes=tuple(outcomes))


@pytest.mark.parametrize(
    ("unit", "contenders", "blocks"),
    [("seeds", 2, [15]), ("seeds", 3, [20, 20]), ("studies", 2, [15]), ("studies", 3, [20, 20])],
)
def test_a_contender_that_fails_on_the_way_leaves_the_others_going(
    unit: str, contenders: int, blocks: list[int]
) -> None:
    setting = of(unit, 10, contenders=contenders, most=20)
    _, summary = carried_out(bound_plan_of_names(setting), None, lambda: Failing(Drawing(setting, 0)))
    (found,) = summary.comparisons
    assert summary.failures == ["no more memory"]
    others = {each.label: each for each in found.results}
    failing = others.pop("name 1")
    assert [len(each.blocks) for each in others.values()] == blocks
    assert failing.later_failure == "no more memory" and failing.is_comparable, "what was planned has run"
    assert len(failing.blocks) == 12 and failing.label in found.ranking.standings
    assert f"name 1: {unit} that were added could not run: no more memory" in found.verdict.notes


# --- again -----------------------------------------------------------------------------------------------------------


class Interrupted(Drawn):
    """Hears Ctrl-C before its third answer."""

    answers = 0

    def next(self) -> Any:
        self.answers += 1
        if self.answers == 3:
            raise KeyboardInterrupt
        return super().next()


class Alone(Drawn):
    """One worker."""

    slots = 1


def carried_out(study: BoundPlan, folder: Path | None, make: Callable[[], Any]) -> tuple[bool, Summary]:
    with Store(folder) as store:
        report = runner.run(study, store, make, Silent(), trust=True)  # what is drawn computes nothing
        return report.interrupted, summarize(store)


@pytest.mark.parametrize("unit", [pytest.param("studies", marks=pytest.mark.long), "seeds"])
def test_an_interrupted_run_goes_on_to_the_same_end(unit: str, tmp_path: Path) -> None:
    setting = of(unit, 6, contenders=3, gap=20.0, most=16, points=4)
    study, drawing = bound_plan_of_names(setting), Drawing(setting, 0)
    _, whole = carried_out(study, None, lambda: Drawn(drawing))
    turns, ran = 0, [0]
    while True:
        is_interrupted, summary = carried_out(study, tmp_path, lambda: Interrupted(drawing))
        ran.append(len(summary.records))
        if not is_interrupted:
            break
        turns += 1
    assert turns >= 3 and ran[-1] == max(ran), "finished trials are never lost"
    assert summary.records.keys() == whole.records.keys() and summary.planned == whole.planned
    assert frames.table(summary).equals(frames.table(whole)) and summary.plan == whole.plan
    assert summary.comparisons[0].verdict == whole.comparisons[0].verdict

    def never() -> Any:
        raise AssertionError("there is nothing left to run")

    assert carried_out(study, tmp_path, never)[1].plan == whole.plan
    assert carried_out(study, None, lambda: Alone(drawing))[1].plan == whole.plan, "workers decide nothing"
    plain = carried_out(replace(study, plan=replace(study.plan, **{f"max_{unit}": None})), tmp_path, never)[1]
    assert blocks_of(plain.comparisons[0]) == {"name 0": 6, "name 1": 6, "name 2": 6}
    assert "ettled" not in plain.comparisons[0].verdict.sentence


def test_a_plan_with_added_blocks_survives_json_and_older_plans_are_read() -> None:
    problem = replace(make_problem(), margin=0.1)
    plan = replace(make_plan(problems=[problem]), max_seeds=50, added_seeds={"bowl": {"sgd": 5}})
    assert from_json(Plan, to_json(plan)) == plan
    plan = replace(in_studies(plan, 3), max_studies=50, added_studies={"bowl": {"sgd": 5}})
    assert from_json(Plan, to_json(plan)) == plan
    older = to_data(make_plan())
    for name in ("max_seeds", "added_seeds", "max_studies", "added_studies"):
        del older[name]
    for facts in older["problems"]:
        del facts["margin"]
    assert from_data(Plan, older) == make_plan()


# --- how often equals are told apart ---------------------------------------------------------------------------------


def most(runs: int) -> int:
    """How many calls are within chance at 5 %: a true rate of that exceeds it once in a thousand test runs."""
    return int(scipy.stats.binom.ppf(0.999, runs, 0.05))


@pytest.mark.parametrize(
    "setting",
    [
        Setting(gap=1.0),
        Setting(contenders=3, gap=3.0, most=20),
        Setting(margin=3.0),
        Setting(contenders=3, gap=3.0, most=16, **METHODS),
    ],
)
def test_the_simulation_comes_to_what_a_run_does(setting: Setting) -> None:
    study = bound_plan_of_names(setting)
    short, whole = judged(study, Drawing(setting, 1)), settled(study, Drawing(setting, 1))
    assert short.verdict == whole.verdict and blocks_of(short) == blocks_of(whole)


@pytest.mark.long
@pytest.mark.parametrize("unit", [pytest.param("studies", marks=pytest.mark.slow), "seeds"])
def test_equals_are_seldom_told_apart(unit: str) -> None:
    found = rates(of(unit, 8, most=18, points=4 if unit == "studies" else 1), 20)
    assert found["told apart"] * 20 <= most(20) and found["blocks"] > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EQUALS if "margin" not in name])
def test_equals_are_seldom_told_apart_in_long_runs(name: str) -> None:
    assert rates(EQUALS[name], 600)["told apart"] * 600 <= most(600)
