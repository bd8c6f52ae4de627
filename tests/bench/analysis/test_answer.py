"""The answer: who leads, who is worse and what is open, in sentences, from runs whose values are made for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from dlkit.bench.analysis.answer import answer, overall
from dlkit.bench.analysis.headline import headline_of
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Trial
from tests.bench.analysis.results_by_hand import NOISE
from tests.bench.synthetic import make_plan, make_problem, make_summary

CLEAR, SMALL = 0.5, 1e-5  # gaps: of one that is found, and one that the noise of 0.001 hides


def made(
    levels: Mapping[str, Sequence[float]],
    *,
    seeds: int = 10,
    metric: Metric | None = None,
    only: Mapping[str, str] | None = None,
    **how: object,
) -> Summary:
    """A run with these levels: label -> where its trials end on problems p1, p2, ...; seeds add noise of their own."""
    count = len(next(iter(levels.values())))
    problems = [make_problem(f"p{number}", metric=metric) for number in range(1, count + 1)]
    plan = make_plan(list(levels), problems=problems, points=1, tuning_seeds=1, seeds=seeds)
    contenders = [replace(each, problems=((only or {}).get(each.label, ()))) for each in plan.contenders]
    plan = replace(plan, contenders=contenders)

    def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        place = list(levels).index(contender.label)
        level = levels[contender.label][problems.index(problem)] if trial.stage == "final" else 0.0
        noise = float(NOISE[(trial.seed * (place + 1) + 3 * place) % len(NOISE)])
        return [1.0 + level + noise] * (plan.evaluations + 1)

    return make_summary(plan, curve=curve, **how)  # type: ignore[arg-type]


def test_one_problem_with_a_winner() -> None:
    found = answer(made({"b": [CLEAR], "a": [0.0], "c": [2 * CLEAR]}))
    assert found.headline == "p1: a is best; b and c are worse."
    (row,) = found.rows
    assert {label: cell.place for label, cell in row.cells.items()} == {"a": "best", "b": "worse", "c": "worse"}
    assert found.contenders == ("a", "b", "c") == tuple(row.cells)  # best first
    assert row.cells["b"].gap is not None and row.cells["b"].gap.estimate == pytest.approx(CLEAR, abs=0.02)
    assert row.cells["a"].gap is None


def test_a_tie_names_who_is_not_told_apart_and_who_is_worse() -> None:
    (row,) = answer(made({"a": [0.0], "b": [SMALL], "c": [CLEAR]})).rows
    leader, tied = row.labels("best") + row.labels("tied")
    assert {leader, tied} == {"a", "b"}
    assert row.sentence == f"{leader} leads; {tied} is not told apart from it; c is worse"


def test_nobody_told_apart_on_one_problem_and_on_several() -> None:
    levels = {"a": [0.0, 0.0], "b": [SMALL, 0.0], "c": [0.0, SMALL]}
    found = answer(made(levels))
    assert found.headline == "No contender is told apart from the leader on either of 2 problems."
    assert any("does not mean equal" in each for each in found.caveats)
    (row,) = answer(made({label: each[:1] for label, each in levels.items()})).rows
    assert row.sentence.endswith("leads; none of the 2 others is told apart from it")


def test_of_few_problems_the_leaders_are_named_one_by_one() -> None:
    levels = {"a": [0.0, 0.0, 0.0], "b": [CLEAR, 0.0, SMALL], "c": [2 * CLEAR, CLEAR, CLEAR]}
    assert answer(made(levels)).headline == "a is best on p1; a and b share the lead on p2 and p3."
    open_ = {"a": [0.0, 0.0, CLEAR], "b": [SMALL, 0.0, 0.0]}
    assert answer(made(open_)).headline == "b is best on p3; nobody is told apart from the leader on p1 and p2."


def test_a_headline_counts_wins_shared_leads_and_losses() -> None:
    levels = {"a": [0.0] * 6, "b": [CLEAR, 0.0, SMALL, 0.0, 0.0, SMALL], "c": [2 * CLEAR, *[CLEAR] * 5]}
    found = answer(made(levels))
    assert found.headline == (
        "a is best on p1 and shares the lead on 5 of 6 problems; b is worse on p1; c is worse on all 6 problems; "
        "nobody else is told apart from a leader."
    )


def test_who_is_best_everywhere() -> None:
    found = answer(made({"a": [0.0, 0.0], "b": [CLEAR, CLEAR]}))
    assert found.headline == "a is best on both problems."
    assert not any("does not mean equal" in each for each in found.caveats)  # nothing is open
    found = answer(made({"a": [0.0] * 5, "b": [CLEAR] * 5}))
    assert found.headline == "a is best on all 5 problems; b is worse on all 5 problems."


def test_each_winner_is_named() -> None:
    levels = {"a": [0.0, CLEAR, 0.0, 0.0, 0.0], "b": [CLEAR, 0.0, CLEAR, CLEAR, CLEAR]}
    found = answer(made(levels))
    assert "a is best on 4 of 5 problems" in found.headline and "b is best on p2" in found.headline
    assert answer(made({label: each[:3] for label, each in levels.items()})).headline == (
        "a is best on p1 and p3; b is best on p2."
    )


def test_labels_with_words_in_them_stay_as_they_are() -> None:
    found = answer(made({"this is {x}": [0.0] * 5, "iris is": [CLEAR] * 5}))
    assert found.headline == "this is {x} is best on all 5 problems; iris is is worse on all 5 problems."


def test_two_that_lead_together_take_a_plural_the_better_one_first() -> None:
    levels = {"a": [0.0] * 5, "b": [SMALL] * 5, "c": [2 * CLEAR, *[CLEAR] * 4], "d": [CLEAR] * 5}
    found = answer(made(levels))
    first, second, *behind = found.contenders
    assert {first, second} == {"a", "b"} and {*behind} == {"c", "d"}
    assert found.headline == (
        f"{first} and {second} share the lead on all 5 problems; {' and '.join(behind)} are worse on all 5 problems; "
        "nobody else is told apart from a leader."
    )
    assert answer(made({label: each[:2] for label, each in levels.items()})).headline == (
        "a and b share the lead on both problems."
    )


def test_many_kinds_of_losers_are_counted() -> None:
    gaps = {"b": "10000", "c": "01000", "d": "00100", "e": "11111"}
    levels = {"a": [0.0] * 5} | {label: [CLEAR * int(each) for each in code] for label, code in gaps.items()}
    found = answer(made(levels))
    *others, last = (each for each in found.contenders if each != "a")
    assert last == "e"
    assert f"{', '.join(others)} and e are worse on 1 to 5 of 5 problems" in found.headline


def test_high_values_are_good_where_the_metric_says_so() -> None:
    metric = Metric("higher", "linear", "accuracy")
    (row,) = answer(made({"low": [0.0], "high": [CLEAR]}, metric=metric)).rows
    assert row.labels("best") == ["high"] and row.labels("worse") == ["low"]
    gap = row.cells["low"].gap
    assert gap is not None and gap.estimate > 0  # oriented: worse is above 0


def test_scores_put_the_leader_at_one_and_the_farthest_end_at_zero() -> None:
    (row,) = answer(made({"a": [0.0], "b": [CLEAR], "c": [2 * CLEAR]})).rows
    scores = {label: cell.score for label, cell in row.cells.items()}
    assert scores["a"] == (1.0, 1.0, 1.0)
    assert scores["b"] is not None and scores["b"].estimate == pytest.approx(0.5, abs=0.03)
    assert scores["c"] is not None and scores["c"].low == pytest.approx(0.0)
    assert all(score.low <= score.estimate <= score.high for score in scores.values() if score)


def test_a_contender_whose_every_block_diverged_has_no_bound() -> None:
    (row,) = answer(
        made({"a": [0.0], "b": [0.0]}, diverged=lambda label, trial: label == "b" and trial.stage == "final")
    ).rows
    cell = row.cells["b"]
    assert cell.place == "worse" and cell.score is not None and cell.score.estimate == -math.inf


def test_where_everyone_diverges_nobody_leads() -> None:
    (row,) = answer(made({"a": [0.0], "b": [0.0]}, diverged=lambda label, trial: trial.stage == "final")).rows
    assert row.sentence == "at least half of the seeds of everyone diverged"


def test_failures_and_gaps_have_words() -> None:
    levels = {"a": [0.0, 0.0], "b": [CLEAR, CLEAR], "bad": [0.0, 0.0], "picky": [SMALL, 0.0]}
    found = answer(made(levels, failed=("bad",), only={"picky": ("p1",)}))
    first, second = found.rows
    assert (first.cells["bad"].place, first.cells["bad"].text) == ("failed", "failed")
    assert (second.cells["picky"].place, second.cells["picky"].text) == ("not run", "not run")
    assert "bad failed on 2 of 2 problems." in found.caveats
    assert found.contenders[-1] == "bad"
    assert math.isnan(first.cells["bad"].final.estimate) and first.cells["bad"].gap is None


def test_a_contender_none_of_whose_points_trained_did_not_train_and_did_not_fail() -> None:
    levels = {"a": [0.0], "b": [CLEAR], "lost": [0.0]}
    found = answer(made(levels, diverged=lambda label, trial: label == "lost"))
    assert (found.rows[0].cells["lost"].place, found.rows[0].cells["lost"].text) == ("failed", "did not train")
    assert "lost did not train." in found.caveats and not any("failed" in each for each in found.caveats)


def test_one_that_diverged_at_its_end_has_finished_as_the_verdict_says() -> None:
    summary = made({"a": [0.0]}, diverged=lambda label, trial: trial.stage == "final")
    (row,) = answer(summary).rows
    assert row.sentence == "nothing to compare: only a finished" and row.cells["a"].text.startswith("diverged")
    assert row.comparison.verdict.sentence == "p1: only a finished; there is nothing to compare."


def test_a_run_that_goes_on_says_so() -> None:
    found = answer(made({"a": [0.0], "b": [CLEAR], "c": [0.0]}, missing=lambda label, trial: label == "c"))
    assert found.headline.startswith("So far: p1: a is best")
    assert any("trials have run" in each for each in found.caveats)
    assert found.rows[0].cells["c"].place == "incomplete"


def test_problems_without_results_do_not_count() -> None:
    levels = {"a": [0.0] * 3, "b": [CLEAR] * 3}
    found = answer(made(levels, missing=lambda label, trial: trial.identity["problem"]["name"] == "p2"))
    assert found.headline == "So far: a is best on both problems compared."
    assert found.rows[1].sentence == "nothing to compare: no contender finished"


def test_with_one_finished_contender_there_is_nothing_to_compare() -> None:
    found = answer(made({"a": [0.0], "c": [0.0]}, missing=lambda label, trial: label == "c"))
    assert found.headline == "p1: nothing to compare: only a finished."
    assert found.rows[0].cells["a"].text.startswith("1.0")  # what it came to is shown
    nothing = answer(made({"a": [0.0, 0.0], "c": [0.0, 0.0]}, missing=lambda label, trial: True))
    assert nothing.headline == "Nothing to compare yet: no two contenders finished on a problem."
    over = answer(made({"a": [0.0, 0.0], "c": [0.0, 0.0]}, failed=("a", "c")))
    assert over.headline == "Nothing to compare: no two contenders finished on a problem."


def test_who_is_told_apart_and_may_be_undertuned_is_open() -> None:
    found = answer(made({"a": [0.0] * 5, "b": [0.0] * 5, "c": [CLEAR] * 5}))
    assert found.headline.endswith("c is worse on all 5 problems; nobody else is told apart from a leader.")
    rows = [replace(row, cells={**row.cells, "c": row.cells["c"]._replace(place="doubtful")}) for row in found.rows]
    said = headline_of(rows, found.contenders, goes_on=False)
    assert said.endswith("share the lead on all 5 problems; whether anybody else is worse is open.")


def test_too_few_seeds_to_tell_anything_apart_are_named() -> None:
    found = answer(made({"a": [0.0], "b": [CLEAR]}, seeds=3))
    assert any(each.startswith("With 3 seeds nothing can be told apart") for each in found.caveats)
    assert found.rows[0].kind == "tie"


def test_overall_follows_the_mean_ranks() -> None:
    problems = 8
    summary = made({"a": [0.0] * problems, "b": [CLEAR] * problems, "c": [2 * CLEAR] * problems})
    assert overall(summary).startswith("Mean ranks over 8 problems: a has the best, 1.00; c is worse (p ")
    assert overall(made({"a": [0.0], "b": [CLEAR]})) == ""  # one problem: nothing to rank over
