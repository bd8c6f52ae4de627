"""Sentences beside the verdict: each from scores made for it, with its numbers, and what keeps each from being said."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis.ranking import compared
from dlkit.bench.analysis.verdict import verdict
from dlkit.bench.plan.metric import Metric
from dlkit.bench.stats import paired_difference
from tests.bench.analysis.results_by_hand import BLOCKS, SPREAD, judged, make_result, values
from tests.bench.synthetic import make_problem

INF = math.inf
RNG = np.random.default_rng(5)


def said(*results, **settings):
    """What verdicts say beside the conclusion, of several studies: no note is about settings."""
    return judged(*(replace(each, repeats_tuning=True) for each in results), **settings)


def note_of(verdict, start):
    """The finding whose text starts so; None if there is none."""
    return next((finding for finding in verdict.findings[1:] if start in finding.text), None)


# --- steps to the target ---------------------------------------------------------------------------------------------

SLOW, FAST = 2.0 ** (4.0 + np.arange(BLOCKS) / 20), 2.0 ** (3.0 + np.arange(BLOCKS) / 20)


def test_one_is_faster_and_the_other_ends_better():
    best, first = make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST)
    found = said(best, first)
    assert found.kind == "winner"
    (note,) = found.notes
    assert note == (
        "fast is faster to 0.100, slow ends better: fast is there ×2.00 sooner [×2.00, ×2.00] than slow "
        "(adjusted p 0.002), and ends +0.30 [+0.30, +0.30] away (adjusted p 0.002)."
    )
    ratio, difference, keeps = found.findings[1].evidence
    assert keeps.name == "keeps the order" and keeps.estimate == 1.0
    assert (ratio.name, ratio.contender, ratio.other, ratio.blocks) == ("ratio of steps", "fast", "slow", 10)
    assert ratio[3:6] == pytest.approx((0.5, 0.5, 0.5))
    assert ratio.p_value == ratio.adjusted_p == pytest.approx(2 / 2**BLOCKS)
    assert difference.estimate == pytest.approx(0.3, abs=1e-6) and difference.name == "difference"


def test_ratios_have_the_interval_of_the_signed_ranks_of_logarithms():
    noise = RNG.normal(0, 0.3, BLOCKS)
    times = FAST * 2**noise
    found = said(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=times))
    expected = paired_difference(np.log2(times), np.log2(SLOW))
    evidence = note_of(found, "is faster to").evidence[0]
    assert evidence[3:7] == pytest.approx((*(2.0**value for value in expected[:3]), expected.p_value))


def test_faster_to_the_target_and_no_worse_in_the_end():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    found = said(make_result("a", values(0.2), times=SLOW), make_result("b", values(0.24, noise=noise), times=FAST))
    assert found.kind == "tie"
    note = note_of(found, "b is faster to 0.100: it is there ×2.00 sooner [×2.00, ×2.00] than a (adjusted p 0.002)")
    assert note is not None and note.text.endswith("from which it is not told apart at the end.")


def test_steps_that_differ_by_chance_are_told_as_such():
    times = [10.0] * 6 + [40.0] * 4
    found = said(make_result("slow", values(0.2), times=[20.0] * 10), make_result("fast", values(0.5), times=times))
    assert found.notes == ("First to 0.100: fast, median 10 [10, 40] steps (slow: 20 [20, 20]); not beyond chance.",)


def test_the_best_may_be_the_first_as_well():
    results = [make_result("a", values(0.2), times=FAST), make_result("b", values(0.5), times=SLOW)]
    third = make_result("c", values(0.9), times=2 * SLOW)
    found = said(*results, third)
    assert found.notes == (
        "a is the first to 0.100, too: ×2.00 sooner [×2.00, ×2.00] than b, the next there (p ≤ 0.002 against each).",
    )
    assert [evidence.contender for evidence in found.findings[1].evidence] == ["b", "c"]
    assert said(*results, make_result("c", values(0.9), times=FAST)).notes == ()  # not ahead of all


def test_a_target_that_others_miss():
    results = [make_result("a", values(0.2), times=FAST), make_result("b", values(0.5), times=[16.0] + [INF] * 9)]
    note = "a is the first to 0.100, too: in 10/10 trials, against 1/10 of b, the next there (p ≤ 0.002 against each)."
    assert said(*results).notes == (note,)
    missed = [make_result(label, values(level), times=[INF] * 10) for label, level in (("a", 0.2), ("b", 0.5))]
    assert said(*missed).notes == ()


def test_a_missed_seed_counts_as_slower_not_as_nothing():
    """One miss in ten takes the last rank: the interval widens, the estimate stays a number."""
    times = np.where(np.arange(BLOCKS) == 9, INF, FAST)
    found = said(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=times))
    ratio = note_of(found, "First to 0.100: fast").evidence[0]
    # nine ranks of 5 against one of 10: of the 2^10 sign flips, none, one or two of the nine, or the ten alone
    assert ratio.estimate == pytest.approx(0.5) and ratio.p_value == pytest.approx(2 * (1 + 9 + 36 + 1) / 2**BLOCKS)


def test_curves_do_not_compare_where_one_contender_has_none():
    results = [make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST)]
    assert said(replace(results[0], log_steps=None), results[1]).notes == ()


# --- half of the budget ----------------------------------------------------------------------------------------------


def halves(best, other):
    return [
        make_result("late", values(0.2), half=values(best)),
        make_result("early", values(0.5), half=values(other, noise=0)),
    ]


def test_the_ranking_flips():
    found = said(*halves(0.9, 0.7))
    assert found.kind == "winner" and found.best == ("late",)
    assert found.notes == (
        "The ranking flips if the budget is halved: after 20 steps early leads, −0.20 [−0.20, −0.20] from late "
        "(adjusted p 0.002); after 40 steps late does, early is +0.30 [+0.30, +0.30] away (adjusted p 0.002). Both "
        "were tuned for 40 steps.",
    )
    half, end, _ = found.findings[1].evidence
    assert (half.name, end.name) == ("difference at half", "difference")
    assert half.estimate == pytest.approx(-0.2, abs=2e-3) and end.estimate == pytest.approx(0.3, abs=1e-6)


def test_a_flip_where_high_is_good():
    problem = make_problem(metric=Metric("higher"))
    results = [
        make_result("late", values(0.8), half=values(0.2), problem=problem),
        make_result("early", values(0.5), half=values(0.4), problem=problem),
    ]
    found = note_of(said(*results, problem=problem), "The ranking flips")
    assert found is not None and "after 20 steps early leads, +0.20" in found.text
    assert found.evidence[0].estimate == pytest.approx(0.2, abs=1e-6)


def test_no_flip_without_two_supported_leads():
    wide = 0.3 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    assert said(*halves(0.6, 0.7)).notes == ()  # the same leads
    by_chance = [halves(0.9, 0.85)[0], make_result("early", values(0.5), half=values(0.85, noise=wide))]
    assert said(*by_chance).notes == ()
    tied = [
        make_result("late", values(0.2), half=values(0.9)),
        make_result("early", values(0.3, noise=wide), half=values(0.7)),
    ]
    assert note_of(said(*tied), "The ranking flips") is None
    # p = 0.049 by itself, of three pairs more than 0.05
    nearly = 0.02 * np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, -7.5])
    three = [
        make_result("late", values(0.2), half=0.9 + SPREAD),
        make_result("early", values(0.5), half=0.9 + SPREAD - nearly),
    ]
    assert note_of(said(*three), "The ranking flips")
    turned = 0.02 * np.array([1, -2, 3, -4, 5, -6, 7, -8, 9, -10])
    third = make_result("third", values(0.8), half=0.9 + SPREAD + turned)
    assert note_of(said(*three, third), "The ranking flips") is None
    late, early = halves(0.9, 0.7)
    assert said(late, replace(early, half=None)).notes == ()
    assert said(late, replace(early, half=early.half._replace(at=18))).notes == ()


# --- the numbers of a conclusion -------------------------------------------------------------------------------------


def test_every_difference_to_the_best_is_there_with_how_sure_its_sign_is():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    results = [make_result("a", values(0.2)), make_result("b", values(0.22, noise=noise)), make_result("c", values(1))]
    final, *others = said(*results).findings[0].evidence
    assert final[:4] == ("final value", "a", "", pytest.approx(float(np.median(values(0.2))))) and final.blocks == 10
    assert [(each.name, each.contender, each.other) for each in others] == [
        (name, label, "a") for label in "bc" for name in ("difference", "keeps the order")
    ]
    expected = paired_difference(results[1].blocks, results[0].blocks)
    assert others[0][3:7] == pytest.approx((*expected[:3], expected.p_value), rel=1e-5)
    above = np.mean(results[1].blocks > results[0].blocks)
    assert others[1].estimate == pytest.approx(above if expected.estimate > 0 else 1 - above)
    assert others[3].estimate == 1.0 and all(each.blocks == 10 for each in others)


@pytest.mark.parametrize(
    ("metric", "gap", "expected"),
    [(Metric("lower"), 0.5, 0.5), (Metric("higher"), -0.5, -0.5), (Metric("lower", "log"), None, 100.0)],
)
def test_differences_are_in_the_metrics_units(metric, gap, expected):
    problem = make_problem(metric=metric)
    best = values(1.0)
    other = best * 100 if gap is None else best + gap
    found = said(*(make_result(*each, problem=problem) for each in (("a", best), ("b", other))), problem=problem)
    difference = found.findings[0].evidence[1]
    assert (difference.name, difference.contender) == ("difference", "b")
    assert difference[3:6] == pytest.approx((expected,) * 3, rel=1e-4)


# --- what would settle a tie -----------------------------------------------------------------------------------------


def tie(rng, *, metric=None, blocks=10, count=2, scale=1.0):
    problem = make_problem(metric=metric)
    lines = scale * (rng.normal(size=blocks) + 0.5 * rng.normal(size=(count, blocks)))
    lines = 10**lines if metric is not None and metric.scale == "log" else lines
    results = [make_result(f"x{k}", line, problem=problem) for k, line in enumerate(lines)]
    return said(*results, problem=problem, foretells=True)


def shown(found):
    """The differences that the blocks there are, and twice as many, would settle."""
    note = note_of(found, "would settle a difference of")
    return None if note is None else [(each.blocks, each.estimate) for each in note.evidence]


@pytest.mark.long
def test_a_tie_says_which_difference_would_be_settled():
    found = tie(np.random.default_rng(2))
    assert found.kind == "tie"
    (now, difference), (later, smaller) = shown(found)
    assert (now, later) == (10, 20) and 0 < smaller < difference
    # of paired differences with a deviation of 0.7: (1.96 + 0.84) 0.7 / sqrt 10 is 0.63, more by signed ranks
    assert 0.4 < difference < 1.2
    scaled = shown(tie(np.random.default_rng(2), scale=5.0))
    assert scaled[0][1] == pytest.approx(5 * difference, rel=0.1)
    ratio = shown(tie(np.random.default_rng(2), metric=Metric("lower", "log")))
    assert math.log10(ratio[0][1]) == pytest.approx(difference, rel=0.1)


@pytest.mark.parametrize(
    "results",
    [
        lambda: [make_result(label, values(0.2)) for label in "ab"],  # nothing varies
        lambda: [make_result(label, [math.nan] * BLOCKS) for label in "ab"],
        lambda: [make_result(label, values(0.2)[:4]) for label in "ab"],
        lambda: [make_result("a", values(0.2)), make_result("b", values(0.5))],  # no tie
    ],
)
def test_where_nothing_can_be_said_of_more_blocks(results):
    assert shown(said(*results(), foretells=True)) is None


def test_where_blocks_are_added_it_is_not_said_how_many_it_takes():
    rng = np.random.default_rng(2)
    ranking = compared([make_result(label, rng.normal(size=8)) for label in "ab"])
    assert shown(verdict(make_problem(), ranking, 0.1, adds_blocks=True)) is None


def test_every_note_is_a_finding():
    found = said(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST))
    assert [finding.text for finding in found.findings] == [found.sentence, *found.notes]
