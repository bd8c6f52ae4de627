"""Sentences beside the verdict: each from scores made for it, with its numbers, and what keeps each from being said."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis.contender_result import Repetition
from dlkit.bench.plan.metric import Metric
from dlkit.bench.stats import crossed_mean, paired_difference
from tests.bench.analysis.test_verdict import NOISE, SEEDS, SPREAD, judged, make_result, values
from tests.bench.synthetic import make_problem

INF = math.inf
RNG = np.random.default_rng(5)


def tuned_apart(result, name, *, scores, values):
    """The result after a tuning whose points have these scores and these values along their curves."""
    tuning = replace(result.tuning, scores=np.array(scores), points=result.tuning.points[: len(scores)])
    return replace(result, tuning=tuning, **{name: replace(getattr(result, name), tuned=np.array(values))})


def note_of(verdict, start):
    """The finding whose text starts so; None if there is none."""
    return next((finding for finding in verdict.findings[1:] if start in finding.text), None)


# --- steps to the target ---------------------------------------------------------------------------------------------

SLOW, FAST = 2.0 ** (4.0 + np.arange(SEEDS) / 20), 2.0 ** (3.0 + np.arange(SEEDS) / 20)


def test_one_is_faster_and_the_other_ends_better():
    best, first = make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST)
    found = judged(best, first)
    assert found.kind == "winner"
    (note,) = found.notes
    assert note == (
        "fast is faster to 0.100, slow ends better: fast is there 2.00× sooner [2.00, 2.00] than slow "
        "(adjusted p 0.002), and ends +0.30 [+0.30, +0.30] away (adjusted p 0.002)."
    )
    ratio, difference = found.findings[1].evidence
    assert (ratio.name, ratio.contender, ratio.other, ratio.seeds) == ("ratio of steps", "fast", "slow", 10)
    assert ratio[3:6] == pytest.approx((0.5, 0.5, 0.5))
    assert ratio.p_value == ratio.adjusted_p == pytest.approx(2 / 2**SEEDS)
    assert difference.estimate == pytest.approx(0.3, abs=1e-6) and difference.name == "difference"


def test_ratios_have_the_interval_of_the_signed_ranks_of_logarithms():
    noise = RNG.normal(0, 0.3, SEEDS)
    times = FAST * 2**noise
    found = judged(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=times))
    expected = paired_difference(np.log2(times), np.log2(SLOW))
    evidence = note_of(found, "is faster to").evidence[0]
    assert evidence[3:7] == pytest.approx((*(2.0**value for value in expected[:3]), expected.p_value))


def test_faster_to_the_target_and_no_worse_in_the_end():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    found = judged(make_result("a", values(0.2), times=SLOW), make_result("b", values(0.24, noise=noise), times=FAST))
    assert found.kind == "tie"
    assert found.notes == (
        "b is faster to 0.100: it is there 2.00× sooner [2.00, 2.00] than a (adjusted p 0.002), from which it is not "
        "told apart at the end.",
    )


def test_steps_that_differ_by_chance_are_told_as_such():
    times = [10.0] * 6 + [40.0] * 4
    found = judged(make_result("slow", values(0.2), times=[20.0] * 10), make_result("fast", values(0.5), times=times))
    assert found.notes == ("First to 0.100: fast, median 10 [10, 40] steps (slow: 20 [20, 20]); not beyond chance.",)


def test_steps_that_another_tuning_could_change_are_told_as_such():
    results = [make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST)]
    points = {"scores": [0.0, 0.0, 0.5, 0.9], "values": [3.0, 4.5, 4.0, 4.0]}  # two equally good ones, not equally fast
    found = judged(*(tuned_apart(result, "log_steps", **points) for result in results))
    assert found.notes == (
        "First to 0.100 at the points that tuning picked: fast, 2.00× sooner [2.00, 2.00] than slow (adjusted p "
        "0.002); other tuning points could change that.",
    )
    assert found.findings[1].evidence[0].luck > 0.05
    alike = {"scores": [0.0, 0.0, 0.5, 0.9], "values": [3.0, 3.0, 3.0, 3.0]}
    assert note_of(judged(*(tuned_apart(result, "log_steps", **alike) for result in results)), "slow ends better")


def test_the_best_may_be_the_first_as_well():
    results = [make_result("a", values(0.2), times=FAST), make_result("b", values(0.5), times=SLOW)]
    third = make_result("c", values(0.9), times=2 * SLOW)
    found = judged(*results, third)
    assert found.notes == (
        "a is the first to 0.100, too: 2.00× sooner [2.00, 2.00] than b, the next there (p ≤ 0.002 against each).",
    )
    assert [evidence.contender for evidence in found.findings[1].evidence] == ["b", "c"]
    assert judged(*results, make_result("c", values(0.9), times=FAST)).notes == ()  # not ahead of all
    points = {"scores": [0.0, 0.0, 0.5, 0.9], "values": [3.0, 4.5, 4.0, 4.0]}
    assert judged(*(tuned_apart(result, "log_steps", **points) for result in results)).notes == ()


def test_a_target_that_others_miss():
    results = [make_result("a", values(0.2), times=FAST), make_result("b", values(0.5), times=[16.0] + [INF] * 9)]
    note = "a is the first to 0.100, too: in 10/10 seeds, against 1/10 of b, the next there (p ≤ 0.002 against each)."
    assert judged(*results).notes == (note,)
    missed = [make_result(label, values(level), times=[INF] * 10) for label, level in (("a", 0.2), ("b", 0.5))]
    assert judged(*missed).notes == ()


def test_a_missed_seed_counts_as_slower_not_as_nothing():
    """One miss in ten takes the last rank: the interval widens, the estimate stays a number."""
    times = np.where(np.arange(SEEDS) == 9, INF, FAST)
    found = judged(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=times))
    ratio = note_of(found, "First to 0.100: fast").evidence[0]
    # nine ranks of 5 against one of 10: of the 2^10 sign flips, none, one or two of the nine, or the ten alone
    assert ratio.estimate == pytest.approx(0.5) and ratio.p_value == pytest.approx(2 * (1 + 9 + 36 + 1) / 2**SEEDS)


def test_curves_do_not_compare_where_one_contender_has_none():
    results = [make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST)]
    assert judged(replace(results[0], log_steps=None), results[1]).notes == ()


# --- half of the budget ----------------------------------------------------------------------------------------------


def halves(best, other):
    return [
        make_result("late", values(0.2), half=values(best)),
        make_result("early", values(0.5), half=values(other, noise=0)),
    ]


def test_the_ranking_flips():
    found = judged(*halves(0.9, 0.7))
    assert found.kind == "winner" and found.best == ("late",)
    assert found.notes == (
        "The ranking flips if the budget is halved: after 20 steps early leads, −0.20 [−0.20, −0.20] from late "
        "(adjusted p 0.002); after 40 late does, early is +0.30 [+0.30, +0.30] away (adjusted p 0.002). Both were "
        "tuned for 40 steps.",
    )
    half, end = found.findings[1].evidence
    assert (half.name, end.name) == ("difference at half", "difference")
    assert half.estimate == pytest.approx(-0.2, abs=2e-3) and end.estimate == pytest.approx(0.3, abs=1e-6)


def test_a_flip_where_high_is_good():
    problem = make_problem(metric=Metric("higher"))
    results = [
        make_result("late", values(0.8), half=values(0.2), problem=problem),
        make_result("early", values(0.5), half=values(0.4), problem=problem),
    ]
    found = note_of(judged(*results, problem=problem), "The ranking flips")
    assert found is not None and "after 20 steps early leads, +0.20" in found.text
    assert found.evidence[0].estimate == pytest.approx(0.2, abs=1e-6)


def test_no_flip_without_two_supported_leads():
    wide = 0.3 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    assert judged(*halves(0.6, 0.7)).notes == ()  # the same leads
    by_chance = [halves(0.9, 0.85)[0], make_result("early", values(0.5), half=values(0.85, noise=wide))]
    assert judged(*by_chance).notes == ()
    tied = [
        make_result("late", values(0.2), half=values(0.9)),
        make_result("early", values(0.3, noise=wide), half=values(0.7)),
    ]
    assert note_of(judged(*tied), "The ranking flips") is None
    points = {"scores": [0.0, 0.0, 0.5, 0.9], "values": [0.5, 0.9, 0.7, 0.7]}
    by_luck = [tuned_apart(result, "half", **points) for result in halves(0.9, 0.7)]
    assert judged(*by_luck).notes == ()
    # p = 0.049 by itself, of three pairs more than 0.05
    nearly = 0.02 * np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, -7.5])
    three = [
        make_result("late", values(0.2), half=0.9 + SPREAD),
        make_result("early", values(0.5), half=0.9 + SPREAD - nearly),
    ]
    assert note_of(judged(*three), "The ranking flips")
    assert note_of(judged(*three, make_result("third", values(0.8), half=0.9 + SPREAD)), "The ranking flips") is None
    late, early = halves(0.9, 0.7)
    assert judged(late, replace(early, half=None)).notes == ()
    assert judged(late, replace(early, half=replace(early.half, step=18))).notes == ()


# --- a tie -----------------------------------------------------------------------------------------------------------


def tie(seeds, rng, *, gap=0.0, common=1.0, count=2):
    level = common * rng.normal(size=seeds)
    return [make_result(f"x{k}", level + rng.normal(size=seeds) + gap * k) for k in range(count)]


def needed(verdict):
    found = {evidence.name: evidence for evidence in verdict.findings[0].evidence}
    return found["seeds needed"].estimate, found["difference shown"].estimate


def test_a_tie_says_how_many_seeds_settle_a_standard_deviation():
    """Without anything in common, the paired differences have sqrt 2 of the scores' deviation: 17.7 pairs and one."""
    found = judged(*tie(200, np.random.default_rng(2), common=0.0))
    assert found.kind == "tie"
    count, shown = needed(found)
    assert 15 <= count <= 21  # Cohen's 17 a group, give or take the noise of 200 seeds
    assert f"{count:.0f} paired seeds would settle a difference of 1 sd (" in found.sentence
    # δ = (1.96 + 0.84) sqrt 2 / sqrt n
    assert shown == pytest.approx(2.802 * math.sqrt(2 / 200), rel=0.12)


def test_what_seeds_have_in_common_saves_seeds():
    few, _ = needed(judged(*tie(200, np.random.default_rng(2), common=3.0)))
    assert few == 6  # the fewest with which the signed-rank test can pass


@pytest.mark.long
@pytest.mark.parametrize("seeds", [12, 30])
def test_the_difference_shown_is_found_in_four_of_five_studies(seeds):
    rng = np.random.default_rng(seeds)
    shown = np.median([needed(found)[1] for _ in range(60) if (found := judged(*tie(seeds, rng))).kind == "tie"])
    p_values = [
        paired_difference(result.scores, best.scores).p_value
        for best, result in (tie(seeds, rng, gap=float(shown)) for _ in range(400))
    ]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.8, abs=0.09)


def test_more_contenders_take_more_seeds():
    rng = np.random.default_rng(4)
    found = judged(*tie(200, rng, common=0.0, count=4))
    two, four = 16, needed(found)[0]
    assert found.kind == "tie" and four > two + 5  # at 5 % over 6 pairs


@pytest.mark.parametrize(
    "results",
    [
        lambda: [make_result(label, values(0.2)) for label in "ab"],  # nothing varies
        lambda: [make_result(label, [math.nan] * SEEDS) for label in "ab"],
        lambda: [make_result(label, values(0.2)[:1]) for label in "ab"],
    ],
)
def test_where_nothing_can_be_said_of_seeds(results):
    found = judged(*results())
    assert found.kind == "tie" and "settle" not in found.sentence
    assert {evidence.name for evidence in found.findings[0].evidence} == {"final value", "difference"}


def test_a_ratio_settles_a_log_scaled_metric():
    problem = make_problem(metric=Metric("lower", "log"))
    rng = np.random.default_rng(0)
    results = [make_result(label, 10 ** rng.normal(size=20), problem=problem) for label in "ab"]
    found = judged(*results, problem=problem)
    assert "would settle a difference of 1 sd (×" in found.sentence and "these 20 one of ×" in found.sentence


# --- studies ---------------------------------------------------------------------------------------------------------


def repeated(result, *levels, noise):
    """The result with further studies, whose winners lie at these levels."""
    further = [level + np.asarray(result.scores) + 0.001 * noise for level in levels]
    return replace(result, repetitions=[Repetition(result.tuning, result.trials, 0.0, scores) for scores in further])


def test_with_the_noise_of_tuning_a_difference_may_be_none():
    best = repeated(make_result("a", values(0.2)), 0.3, -0.1, noise=NOISE)
    other = repeated(make_result("b", values(0.3)), 0.5, 0.2, noise=-NOISE)
    found = judged(best, other)
    scores = [
        np.array([result.scores, *(each.scores for each in result.repetitions)], float) for result in (best, other)
    ]
    expected = crossed_mean(scores[1] - scores[0])
    note = note_of(found, "Over 3 studies b is ")
    assert note is not None and note.text.endswith("; another tuning could undo it.")
    with_tuning, alone = note.evidence
    assert with_tuning[3:6] == pytest.approx(expected.with_tuning) and alone[3:6] == pytest.approx(expected.seeds_only)
    assert with_tuning.low < 0 < alone.low


def test_studies_that_agree_leave_no_doubt():
    best, other = (
        repeated(make_result(*each), 0.001, -0.001, noise=NOISE) for each in (("a", values(0.2)), ("b", values(0.5)))
    )
    note = note_of(judged(best, other), "Over 3 studies b is +0.30 [")
    assert note is not None and "undo" not in note.text
    assert judged(make_result("a", values(0.2)), make_result("b", values(0.5))).notes == ()  # one study


def test_every_note_is_a_finding():
    found = judged(make_result("slow", values(0.2), times=SLOW), make_result("fast", values(0.5), times=FAST))
    assert [finding.text for finding in found.findings] == [found.sentence, *found.notes]
    assert found.findings[0].evidence[0][:4] == ("final value", "slow", "", pytest.approx(found_median(0.2)))


def found_median(level):
    return float(np.median(values(level)))
