"""From outcomes to sentences: made-up curves whose conclusion is known, through the store and every table."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Trial
from dlkit.bench.report.tables import ranking
from tests.bench.synthetic import make_contender, make_plan, make_problem, make_summary

SEEDS = 10
SPREAD = np.linspace(-0.2, 0.2, SEEDS)  # of a gap over seeds

Final = Callable[[str, Trial], float]


def summary_of(final: Final, *, points: int = 5) -> Summary:
    """Contenders a and b, the first of which is the baseline, that end where `final` says, after 1.0 before."""
    plan = make_plan(["a", "b"], points=points, tuning_seeds=2, seeds=SEEDS)

    def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        return [*[9.0] * plan.evaluations, final(contender.label, trial)]

    return make_summary(plan, curve=curve)


def place(trial: Trial, points: int) -> int:
    """Which of the tuning points a trial is of."""
    rates = [point.hyperparameters["learning_rate"] for point in make_contender("x", points=points).points]
    return rates.index(trial.hyperparameters["learning_rate"])


def undertuned(gain: float) -> Final:
    """b is behind a by 0.5, more or less by seed, and the last doubling of its four points was worth `gain`.

    Of four points one is better than the three others, by twice the gain: half of all pairs of points have it.
    """

    def final(label: str, trial: Trial) -> float:
        off = {"a": 5.0, "b": 2 * gain}[label] * (place(trial, 4) != 1)
        if trial.stage == "tuning" or label == "a":
            return 1.0 + off + 0.5 * (label == "b")
        return 1.5 + off + SPREAD[trial.seed]

    return final


@pytest.mark.parametrize(
    ("gain", "kind"),
    [(0.2, "winner"), (0.45, "unsettled"), (0.55, "unsettled"), (0.9, "unsettled")],
)
def test_a_loser_could_catch_up_where_its_gain_reaches_the_near_end_of_the_gap(gain: float, kind: str) -> None:
    """The gap's interval is about [0.4, 0.6]: a gain inside of it may be all there is between the two."""
    summary = summary_of(undertuned(gain), points=4)
    comparison = summary.comparisons[0]
    loser = frames.table(summary).set_index("optimizer").loc["b"]
    assert 0.35 < loser.difference_low < 0.45 and 0.55 < loser.difference_high < 0.65
    assert loser["flags"] == "tuning curve still falling"
    assert comparison.verdict.kind == kind
    advised = [note for note in comparison.verdict.notes if note.startswith("b: tuning curve still falling")]
    assert len(advised) == (kind == "unsettled")


def edgy(best: str, gap: float) -> Final:
    """Both contenders want to leave their space at its upper edge; `best` is ahead by `gap` at every point."""

    def final(label: str, trial: Trial) -> float:
        return 2.0 - 0.2 * place(trial, 5) + gap * (label != best) + 0.01 * math.sin(3.0 * trial.seed + (label == "a"))

    return final


@pytest.mark.parametrize("best", ["a", "b"])
def test_nobody_is_told_to_tune_a_winner(best: str) -> None:
    """A winner whose tuning is doubtful wins all the more: only the loser's is worth the time, baseline or not."""
    summary = summary_of(edgy(best, 0.3))
    comparison = summary.comparisons[0]
    assert frames.table(summary)["flags"].str.startswith("learning_rate at the upper edge of its space").all()
    loser = "b" if best == "a" else "a"
    assert comparison.verdict.kind == "unsettled"
    advised = [note.partition(":")[0] for note in comparison.verdict.notes if note.endswith("then run again.")]
    assert advised == [loser]


@pytest.mark.parametrize("best", ["a", "b"])
def test_a_gap_that_tuning_cannot_close_is_settled(best: str) -> None:
    """From one end of the range to the other there is 0.8 to gain: beyond its edge there are not 3."""
    verdict = summary_of(edgy(best, 3.0)).comparisons[0].verdict
    assert (verdict.kind, verdict.best) == ("winner", (best,))
    assert not [note for note in verdict.notes if "run again" in note]


def test_a_doubtful_winner_alone_gets_no_advice() -> None:
    def final(label: str, trial: Trial) -> float:
        off = -0.2 * place(trial, 5) * (label == "b")  # a is the same at every point: nothing to tune
        return 2.0 + off + 3.0 * (label == "a") + 0.01 * math.sin(3.0 * trial.seed + (label == "a"))

    summary = summary_of(final)
    comparison = summary.comparisons[0]
    first = frames.table(summary).iloc[0]
    assert first.optimizer == "b" and first["flags"]
    assert comparison.verdict.kind == "winner" and comparison.verdict.best == ("b",)
    assert not [note for note in comparison.verdict.notes if "run again" in note]


@pytest.mark.parametrize("doubtful", ["a", "b"])
def test_a_tie_is_one_whoever_is_doubtful(doubtful: str) -> None:
    """Better tuning could break it, as more seeds could: nothing is said to be settled but for that."""

    def final(label: str, trial: Trial) -> float:
        if trial.stage == "final":
            return 1.0 + 0.1 * math.sin(5.0 * trial.seed + (label == "a"))
        return -0.2 * place(trial, 5) * (label == doubtful)  # the other one is the same at every point

    verdict = summary_of(final).comparisons[0].verdict
    assert (verdict.kind, sorted(verdict.best)) == ("tie", ["a", "b"])
    assert "undertuned" not in verdict.sentence


def test_validation_and_test_stand_in_their_columns() -> None:
    """The made-up validation values are 1 % above those that judge."""
    summary = summary_of(lambda label, trial: 1.0 + (label == "b") + 0.01 * trial.seed)
    for _, row in frames.table(summary).iterrows():
        assert row.validation == pytest.approx(1.01 * row.value, rel=1e-5)
        assert row.validation_low == pytest.approx(1.01 * row.value_low, rel=1e-5)
    table = ranking(summary.comparisons[0])
    columns = [
        next(i for i, name in enumerate(table.header) if name.startswith(what)) for what in ("test", "validation")
    ]
    values = [[float(row[at].split()[0]) for at in columns] for row in table.rows]
    # medians of 1.00 to 1.09, and of 2.00 to 2.09: a hundredth more on validation
    assert values == [[pytest.approx(1.045, abs=0.006), pytest.approx(1.055, abs=0.006)],
                      [pytest.approx(2.045, abs=0.006), pytest.approx(2.065, abs=0.006)]]  # fmt: skip
    assert all(validation > test for test, validation in values)


def test_steps_are_counted_to_the_hardest_target() -> None:
    problem = replace(make_problem(target=0.3), ladder=(0.8, 0.5))
    plan = make_plan(["a"], problems=[problem], points=1, seeds=6)

    def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        return [1.0, 0.7, 0.4, 0.2, 0.1]

    summary = make_summary(plan, curve=curve)
    assert summary.comparisons[0].target == 0.3
    assert frames.table(summary).steps_to_target.tolist() == [30.0]
    finals = frames.trials(summary).query("stage == 'final'")
    assert set(finals.outcome_step) == {30} and set(finals.outcome) == {"reached"}
