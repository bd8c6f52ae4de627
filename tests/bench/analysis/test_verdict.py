"""Verdicts: each kind from scores made for it, what each is about, and how often equals are told apart by mistake."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.analysis.ranking import compared
from dlkit.bench.plan.metric import Metric
from dlkit.bench.stats import paired_difference
from tests.bench.analysis.results_by_hand import BLOCKS, judged, make_result, values
from tests.bench.synthetic import make_problem

INF, NAN = math.inf, math.nan
WIDE = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])  # noise that hides a gap of 0.04


# --- each kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("studies", [False, True])
def test_a_winner(studies):
    levels = (("b", 0.5), ("c", 0.8))
    others = [make_result(label, values(level), studies=studies) for label, level in levels]
    found = judged(*others, make_result("a", values(0.2, noise=0), studies=studies))
    assert (found.kind, found.best) == ("winner", ("a",))
    # medians of ten: 0.2 + 0.045; the second smallest and second largest; Walsh averages of 0.3 + noise
    for words in ("a is best", "0.245 [0.210, 0.280] after 40 steps", "b, the next, is +0.30 [+0.30, +0.30] away"):
        assert words in found.sentence
    assert "p ≤ 0.002 against each" in found.sentence and "c (+0.60 [+0.60, +0.60])" in found.sentence
    assert ("10 studies" if studies else "10 paired seeds") in found.sentence


def test_a_winner_where_high_is_good():
    problem = make_problem(metric=Metric("higher", "linear", "accuracy"))
    results = [make_result(label, values(level), problem=problem) for label, level in (("low", 0.2), ("high", 0.6))]
    found = judged(*results, problem=problem)
    assert (found.kind, found.best) == ("winner", ("high",))
    assert "high is best, with test accuracy 0.64" in found.sentence
    assert "low, the next, is −0.40 [−0.40, −0.40] away" in found.sentence


def test_a_winner_by_a_ratio():
    problem = make_problem(metric=Metric("lower", "log"))
    results = [
        make_result(label, scale * values(1.0), problem=problem) for label, scale in (("near", 1e-6), ("far", 1e-4))
    ]
    found = judged(*results, problem=problem)
    assert found.kind == "winner"
    assert "far, the next, is ×100 [×100, ×100] away" in found.sentence
    assert "test error 1.04e-06" in found.sentence


def test_a_tie():
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.24, noise=WIDE)))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "a leads" in found.sentence and "not told apart from b (+0.0" in found.sentence  # with its interval
    assert "worse" not in found.sentence


def test_a_tie_that_leaves_some_behind():
    results = [
        make_result("d", values(0.7)),
        make_result("b", values(0.24, noise=WIDE)),
        make_result("a", values(0.2)),
    ]
    found = judged(*results, make_result("c", values(0.5)))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "; worse: c (+0.30 [+0.30, +0.30]), d (+0.50 [+0.50, +0.50])" in found.sentence


def test_of_many_contenders_a_sentence_lists_some():
    results = [make_result(f"x{place:02}", values(0.2 + 0.1 * place)) for place in range(14)]
    found = judged(*results)
    assert found.kind == "winner" and "x01" in found.sentence and "x13" not in found.sentence
    assert " more" in found.sentence
    assert {each.contender for each in found.findings[0].evidence} == {each.label for each in results}


def test_exactly_equal_contenders_tie():
    found = judged(*(make_result(label, values(0.2)) for label in "abc"))
    assert (found.kind, set(found.best)) == ("tie", {"a", "b", "c"})


def test_contenders_that_all_diverged_tie():
    found = judged(*(make_result(label, [NAN] * BLOCKS) for label in "ab"))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "test error diverged" in found.sentence


def test_a_contender_that_diverged_everywhere_loses():
    found = judged(make_result("a", [NAN] * BLOCKS), make_result("b", values(0.2)))
    assert (found.kind, found.best) == ("winner", ("b",))
    assert "a, the next" in found.sentence and "diverged" in found.sentence and "∞" not in found.sentence


# --- methods and settings --------------------------------------------------------------------------------------------


def hints(found):
    """The notes that say how to compare the methods."""
    return [note for note in found.notes if "methods" in note and "studies" in note]


CASES = {
    "winner": ([0.2, 0.5], [0, 0]),
    "tie": ([0.2, 0.2], [0, WIDE]),
    "unsettled": ([0.2, 0.5], [0, 0]),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("studies", [False, True])
def test_one_study_is_about_settings_and_several_are_about_methods(kind, studies):
    doubt = {"doubts": {"gain": 1.0}, "flags": FALLING} if kind == "unsettled" else {}
    levels, noises = CASES[kind]
    results = [
        make_result(label, values(level, noise=noise), studies=studies, **doubt)
        for label, level, noise in zip("ab", levels, noises, strict=True)
    ]
    found = judged(*results)
    assert found.kind == kind
    assert found.about == ("methods" if studies else "settings")
    assert len(hints(found)) == (not studies)
    assert ("with the settings found" in found.sentence) == (not studies)
    assert ("studies" in found.sentence) == studies and ("seed" in found.sentence) == (not studies)


def test_where_nothing_is_compared_one_study_is_about_settings_too():
    assert judged(make_result("a", values(0.2))).about == "settings"
    assert judged(make_result("a", values(0.2), studies=True)).about == "methods"


# --- doubts ----------------------------------------------------------------------------------------------------------

FALLING = ("tuning curve still falling",)
AT_EDGE = ("learning_rate at the upper edge of its space (1)",)
FEW = ("only 2 of 5 points trained",)


@pytest.mark.parametrize(
    ("doubts", "flags", "kind"),
    [
        ({}, (), "winner"),
        ({"gain": 0.5}, (), "winner"),  # without a flag, the gain is within the spread of blocks
        ({"gain": 0.1}, FALLING, "winner"),  # another such gain does not close the gap of 0.3
        ({"gain": 0.5}, FALLING, "unsettled"),
        ({"gain": INF}, FALLING, "unsettled"),
        ({"edges": {"learning_rate": "upper"}, "beyond": 0.5}, AT_EDGE, "unsettled"),
        ({"edges": {"learning_rate": "upper"}, "beyond": 0.1}, AT_EDGE, "winner"),  # nearing it gained too little
        ({"edges": {"learning_rate": "upper"}, "beyond": 0.2, "gain": 0.2}, AT_EDGE, "unsettled"),  # together
        ({"edges": {"learning_rate": "upper"}, "beyond": INF}, AT_EDGE, "unsettled"),
        ({"finite": 2, "too_few": True}, FEW, "unsettled"),
    ],
)
@pytest.mark.parametrize("place", ["baseline", "challenger"])
def test_a_doubtful_loser_leaves_it_open_where_it_could_catch_up(doubts, flags, kind, place):
    """Whether it was named first or not: there is no rule for baselines alone."""
    loser = make_result("b", values(0.5), doubts=doubts, flags=flags)
    others = [make_result("a", values(0.2)), make_result("c", values(0.9))]
    found = judged(*([loser, *others] if place == "baseline" else [*others, loser]))
    assert found.kind == kind
    assert found.best == (("a", "b") if kind == "unsettled" else ("a",))
    advised = [note for note in found.notes if note.startswith("b: ")]
    assert len(advised) == (kind == "unsettled")
    if kind == "unsettled":
        assert "a is ahead" in found.sentence and "b may be undertuned" in found.sentence
        assert "+0.30 [+0.30, +0.30]" in found.sentence  # the difference, though it is not settled
        remedy = "widen that range (--expand does)" if "edges" in doubts else "give more tuning points"
        remedy = "narrow its space to where it trains" if "too_few" in doubts else remedy
        assert flags[0] in advised[0] and remedy in advised[0]


def test_a_gap_of_x130_is_not_blocked_by_a_baseline_whose_doubling_gains_x2():
    problem = make_problem(metric=Metric("lower", "log"))
    gain = {"doubts": {"gain": math.log10(2.0)}, "flags": FALLING}
    noise = 10 ** (0.1 * np.sin(np.arange(10)))
    base = make_result("base", 1.3e-2 * noise, problem=problem, studies=True, **gain)
    found = judged(base, make_result("new", 1e-4 * noise[::-1], problem=problem, studies=True), problem=problem)
    assert (found.kind, found.best) == ("winner", ("new",)) and "×130" in found.sentence
    near = make_result("near", 9e-5 * noise, problem=problem, studies=True, **gain)
    best = make_result("new", 6e-5 * noise, problem=problem, studies=True)
    assert judged(near, best, problem=problem).kind == "unsettled"  # x1.5


def test_only_a_gain_that_reaches_the_near_end_of_the_gap_can_close_it():
    loser = make_result("b", values(0.5, noise=WIDE))
    ranking = compared([make_result("a", values(0.2)), loser])
    low = ranking.compared[1].standing.to_best.difference.low
    assert 0.2 < low < 0.3
    for gain, expected in ((low - 1e-6, False), (low + 1e-6, True)):
        loser = make_result("b", values(0.5, noise=WIDE), doubts={"gain": gain}, flags=FALLING)
        assert loser.could_gain(low) == expected


@pytest.mark.parametrize(
    ("doubts", "flags"),
    [
        ({"edges": {"learning_rate": "upper"}, "beyond": 9.0}, AT_EDGE),
        ({"gain": INF}, FALLING),
        ({"finite": 1, "too_few": True}, FEW),
    ],
)
def test_a_doubtful_winner_wins_all_the_more(doubts, flags):
    best = make_result("a", values(0.2), doubts=doubts, flags=flags)
    found = judged(best, make_result("b", values(0.5)))
    assert (found.kind, found.best) == ("winner", ("a",))
    assert not any("run again" in note for note in found.notes)


@pytest.mark.parametrize("first", [True, False])
def test_a_doubtful_loser_of_a_tie_is_in_question_with_those_that_lead(first):
    doubtful = {"doubts": {"edges": {"learning_rate": "lower"}, "beyond": 9.0}, "flags": AT_EDGE}
    leaders = [make_result("a", values(0.2)), make_result("b", values(0.24, noise=WIDE))]
    worse = make_result("c", values(0.7), **doubtful)
    found = judged(*([worse, *leaders] if first else [*leaders, worse]))
    assert (found.kind, found.best) == ("tie", ("a", "b", "c"))
    assert any(note.startswith("c: ") and "widen that range" in note for note in found.notes)
    sound = judged(*leaders, make_result("c", values(0.7)))
    assert (sound.kind, sound.best) == ("tie", ("a", "b")) and not any(note.startswith("c: ") for note in sound.notes)


# --- too little ------------------------------------------------------------------------------------------------------


def test_nothing_to_compare():
    unfinished = make_result("b", [*values(0.5)[:9], None])
    failed = make_result("c", [], failure="optimizer 'c': build raised TypeError")
    untuned = make_result("d", [], missing=4, winner=None)
    hopeless = make_result("e", [], winner=None, doubts={"finite": 0})
    alone = judged(make_result("a", values(0.2)), unfinished, failed, untuned, hopeless)
    assert (alone.kind, alone.best) == ("incomplete", ())
    assert alone.sentence == "bowl: only a finished; there is nothing to compare."
    expected = {
        "b": "9 of 10 final trials",
        "c": "c could not run: optimizer 'c': build raised TypeError",
        "d": "6 of 10 tuning trials",
        "e": "no tuning point trained",
    }
    for label, words in expected.items():
        assert sum(note.startswith(label) and words in note for note in alone.notes) == 1
    nobody = judged(unfinished, failed)
    assert nobody.sentence == "bowl: no contender finished; there is nothing to compare."


def test_who_could_not_run_is_noted_beside_the_verdict():
    failed = make_result("c", [], failure="it raised")
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.5)), failed)
    assert (found.kind, found.best) == ("winner", ("a",)) and "c could not run: it raised" in found.notes


@pytest.mark.parametrize(("blocks", "kind"), [(1, "tie"), (3, "tie"), (5, "tie"), (6, "winner"), (10, "winner")])
@pytest.mark.parametrize("studies", [False, True])
def test_too_few_blocks_are_told(blocks, kind, studies):
    """2 / 2^n is the smallest p-value of n pairs: 0.0625 at five, 0.03125 at six."""
    lines = values(0.2)[:blocks], values(0.9)[:blocks]
    found = judged(*(make_result(label, line, studies=studies) for label, line in zip("ab", lines, strict=True)))
    assert found.kind == kind
    told = [note for note in found.notes if "can be told apart at 95%" in note]
    assert len(told) == (blocks < 6) and all("; 6 can" in note for note in told)
    assert all(("no two methods" in note) == studies for note in told)


# --- laws ------------------------------------------------------------------------------------------------------------

tables = st.integers(2, 5).flatmap(
    lambda count: st.lists(
        st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, NAN]), min_size=8, max_size=8),
        min_size=count,
        max_size=count,
    )
)


@pytest.mark.long
@settings(max_examples=60)
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_contenders_does_not_matter(table, random):
    results = [make_result(f"x{i}", line) for i, line in enumerate(table)]
    shuffled = list(results)
    random.shuffle(shuffled)
    first, second = judged(*results), judged(*shuffled)
    if decided(results):  # else the data do not say who comes first
        assert (first.kind, set(first.best)) == (second.kind, set(second.best))


def decided(results):
    """Whether one contender is ahead of all others."""
    return any(
        all(paired_difference(one.blocks, other.blocks).estimate < 0 for other in results if other is not one)
        for one in results
    )


@pytest.mark.long
@settings(max_examples=60)
@given(tables)
def test_flipping_the_metric_flips_nothing_else(table):
    higher = make_problem(metric=Metric("higher"))
    down = judged(*(make_result(f"x{i}", line) for i, line in enumerate(table)))
    up = judged(
        *(make_result(f"x{i}", [-value for value in line], problem=higher) for i, line in enumerate(table)),
        problem=higher,
    )
    assert (down.kind, down.best) == (up.kind, up.best)


# --- how often equal contenders are told apart -----------------------------------------------------------------------


def false_claims(count, repeats, draw):
    """The shares of runs of equal contenders with a winner, and with anyone called worse."""
    rng = np.random.default_rng(count)
    winners = claims = 0
    for _ in range(repeats):
        common = draw(rng, BLOCKS)
        results = [make_result(f"x{i}", common + draw(rng, BLOCKS), studies=True) for i in range(count)]
        found = judged(*results)
        winners += found.kind == "winner"
        claims += len(found.best) < count
    return winners / repeats, claims / repeats


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "accuracies of few examples": lambda rng, n: rng.binomial(20, 0.9, size=n) / 20,
}


@pytest.mark.long
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize(("count", "repeats"), [(2, 400), (6, 100)])
def test_equal_contenders_are_seldom_told_apart(count, repeats, draw):
    winners, claims = false_claims(count, repeats, draw)
    most = scipy.stats.binom.ppf(0.999, repeats, 0.05) / repeats
    assert winners <= most and claims <= most


def test_unequal_contenders_are_told_apart():
    """What the level is worth: three standard deviations apart, a winner is nearly always found."""
    rng = np.random.default_rng(0)
    found = [
        judged(*(make_result(f"x{i}", 3.0 * min(i, 1) + rng.normal(size=BLOCKS)) for i in range(3))) for _ in range(100)
    ]
    assert sum(each.kind == "winner" and each.best == ("x0",) for each in found) >= 95
