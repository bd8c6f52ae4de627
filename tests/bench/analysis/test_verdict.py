"""Verdicts: each kind from scores made for it, and how often equal contenders are told apart by mistake."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.analysis.along_curves import AlongCurve, StepsToTarget
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.ranking import compared
from dlkit.bench.analysis.verdict import verdict
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import oriented, unoriented
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, median_interval, wilson_interval
from dlkit.bench.tuning.winner import Tuning
from tests.bench.synthetic import make_contender, make_problem

INF, NAN = math.inf, math.nan
PROBLEM = make_problem()
SEEDS = 10
SPREAD = np.linspace(0.0, 0.09, SEEDS)  # what the seeds have in common
NOISE = 1e-3 * np.array([3, -1, 4, -1, 5, -9, 2, -6, 5, -3])  # and what they have not


def make_result(
    label,
    values,
    *,
    problem=PROBLEM,
    times=None,
    half=None,
    edges=None,
    gain=0.0,
    finite=5,
    missing=0,
    winner=2,
    flags=(),
    failure="",
):
    """A result with these final values, in the metric's own units; None has not run."""
    contender = make_contender(label)
    tuning = Tuning(contender.points, np.zeros(5), winner, np.zeros(5), edges or {}, gain, finite, 10, missing)
    trials = [Trial(f"{label}{seed}", {"seed": seed}) for seed in range(len(values))]
    empty = np.zeros(0, np.int64)
    outcomes = [
        None if value is None else Outcome(trial, "finished", "", "", None, 0.0, 0.0, empty, {}, {})
        for trial, value in zip(trials, values, strict=True)
    ]
    there = [value for value in values if value is not None]
    scores = oriented(problem, "error", there)
    steps = np.full(len(there), 20.0) if times is None else np.array(times, float)
    median = median_interval(steps) if there else Interval(NAN, NAN, NAN)
    hits = int(np.isfinite(steps).sum())
    middle = median_interval(scores) if there else Interval(NAN, NAN, NAN)
    low, high = sorted(unoriented(problem, "error", bound) for bound in middle[1:])
    return ContenderResult(
        contender=contender,
        tuning=tuning,
        trials=trials,
        outcomes=outcomes,
        steps_to_target=steps,
        ladder=(),
        scores=scores,
        hits=wilson_interval(hits, len(there)),
        median_steps=median,
        final=Interval(unoriented(problem, "error", middle.estimate), low, high),
        test=Interval(NAN, NAN, NAN),
        diverged=0,
        failure=failure,
        flags=tuple(flags),
        widened="",
        repetitions=(),
        to_target=StepsToTarget(hits, len(there) - hits, 0, 0, median, Interval(NAN, NAN, NAN), NAN),
        log_steps=AlongCurve(np.log2(steps), np.zeros(5), math.log2(80)),
        half=None if half is None else AlongCurve(oriented(problem, "error", half), np.zeros(5), step=20),
        required=None,
    )


def judged(*results, problem=PROBLEM, target=0.1, baseline=""):
    return verdict(problem, compared(results), target, baseline=baseline)


def values(level, *, noise=NOISE):
    return level + SPREAD + noise


# --- each kind -------------------------------------------------------------------------------------------------------


def test_a_winner():
    found = judged(make_result("b", values(0.5)), make_result("a", values(0.2, noise=0)), make_result("c", values(0.8)))
    assert (found.kind, found.best, found.notes) == ("winner", ("a",), ())
    # medians of ten: 0.2 + 0.045; the second smallest and second largest; Walsh averages of 0.3 + noise
    assert found.sentence == (
        "bowl: a is best, with validation error 0.245 [0.210, 0.280] after 40 steps; b, the next, is +0.30 "
        "[+0.30, +0.30] away (p ≤ 0.002 against each, 10 paired seeds)."
    )


def test_a_winner_where_high_is_good():
    problem = make_problem(metric=Metric("higher", "linear", "accuracy"))
    results = [make_result(label, values(level), problem=problem) for label, level in (("low", 0.2), ("high", 0.6))]
    found = judged(*results, problem=problem)
    assert (found.kind, found.best) == ("winner", ("high",))
    assert "high is best, with validation accuracy 0.64" in found.sentence
    assert "low, the next, is −0.40 [−0.40, −0.40] away" in found.sentence


def test_a_winner_by_a_ratio():
    problem = make_problem(metric=Metric("lower", "log"))
    results = [
        make_result(label, scale * values(1.0), problem=problem) for label, scale in (("near", 1e-6), ("far", 1e-4))
    ]
    found = judged(*results, problem=problem)
    assert found.kind == "winner"
    assert "far, the next, is ×100 [×100, ×100] away" in found.sentence
    assert "validation error 1.04e-06" in found.sentence


def test_a_tie():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.24, noise=noise)))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert found.sentence.startswith("bowl: a, b cannot be told apart at 10 seeds (a: validation error 0.2")
    assert "worse" not in found.sentence


def test_a_tie_that_leaves_some_behind():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    results = [
        make_result("d", values(0.7)),
        make_result("b", values(0.24, noise=noise)),
        make_result("a", values(0.2)),
    ]
    found = judged(*results, make_result("c", values(0.5)))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "after 40 steps); worse: c, d. " in found.sentence


def test_exactly_equal_contenders_tie():
    found = judged(*(make_result(label, values(0.2)) for label in "abc"))
    assert (found.kind, set(found.best)) == ("tie", {"a", "b", "c"})


def test_contenders_that_all_diverged_tie():
    found = judged(*(make_result(label, [NAN] * SEEDS) for label in "ab"))
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "validation error diverged" in found.sentence


def test_a_contender_that_diverged_everywhere_loses():
    found = judged(make_result("a", [NAN] * SEEDS), make_result("b", values(0.2)))
    assert (found.kind, found.best) == ("winner", ("b",))
    assert "a, the next, is diverged" in found.sentence and "∞" not in found.sentence


FALLING = ("tuning curve still falling",)


@pytest.mark.parametrize(
    ("doubt", "kind"),
    [
        ({}, "winner"),
        ({"gain": 0.5}, "winner"),  # without a flag, the gain is within the spread of the seeds
        ({"gain": 0.1, "flags": FALLING}, "winner"),  # another such gain does not close the gap of 0.3
        ({"gain": 0.5, "flags": FALLING}, "unsettled"),
        ({"gain": INF, "flags": FALLING}, "unsettled"),
        ({"edges": {"learning_rate": "upper"}, "flags": ("learning_rate at the upper edge",)}, "unsettled"),
        ({"finite": 2, "flags": ("only 2 of 5 points trained",)}, "unsettled"),
    ],
)
def test_a_doubtful_loser_leaves_it_open(doubt, kind):
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.5), **doubt), make_result("c", values(0.9)))
    assert found.kind == kind
    assert found.best == (("a", "b") if kind == "unsettled" else ("a",))
    if kind == "unsettled":
        assert found.sentence.startswith("bowl: not settled. a is ahead, with validation error 0.2")
        assert found.sentence.endswith("; but b may be undertuned.")
        remedy = "narrow its space to where it trains, or give more tuning points"
        remedy = "widen that range (--expand does)" if "edges" in doubt else remedy
        remedy = "give more tuning points" if "gain" in doubt else remedy
        assert found.notes == (f"b: {doubt['flags'][0]}; {remedy}, then run again.",)
    else:
        assert found.notes == ()


@pytest.mark.parametrize(
    "doubt", [{"edges": {"learning_rate": "upper"}}, {"gain": INF, "flags": FALLING}, {"finite": 1}]
)
def test_a_doubtful_winner_wins_all_the_more(doubt):
    assert judged(make_result("a", values(0.2), **doubt), make_result("b", values(0.5))).kind == "winner"


def test_a_doubtful_loser_of_a_tie_is_noted():
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    worse = make_result("c", values(0.7), edges={"learning_rate": "lower"}, flags=["learning_rate at the lower edge"])
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.24, noise=noise)), worse)
    assert found.kind == "tie"
    assert found.notes == ("c: learning_rate at the lower edge; widen that range (--expand does), then run again.",)


AT_EDGE = {"edges": {"learning_rate": "lower"}, "flags": ["learning_rate at the lower edge of its space (0.001)"]}


@pytest.mark.parametrize(
    ("doubt", "remedy"),
    [
        (AT_EDGE, "widen that range (--expand does)"),
        ({"gain": 0.001, "flags": FALLING}, "give more tuning points"),  # however far it is behind
        ({"finite": 2, "flags": ["only 2 of 5 points trained"]}, "narrow its space to where it trains, or give more"),
    ],
)
def test_a_doubtful_baseline_settles_nothing(doubt, remedy):
    found = judged(
        make_result("a", values(0.2)),
        make_result("c", values(0.4)),
        make_result("b", values(0.5), **doubt),
        baseline="b",
    )
    assert (found.kind, found.best) == ("unsettled", ("a", "b"))
    assert found.sentence.startswith("bowl: not settled: baseline undertuned. a is ahead, with validation error 0.2")
    assert found.sentence.endswith("; but b may be undertuned.")
    assert len(found.notes) == 1 and found.notes[0].startswith(f"b: {doubt['flags'][0]}; {remedy}")
    assert judged(make_result("a", values(0.2)), make_result("b", values(0.5)), baseline="b").kind == "winner"


def test_a_doubtful_baseline_that_wins_wins_all_the_more():
    assert (
        judged(make_result("a", values(0.2), **AT_EDGE), make_result("b", values(0.5)), baseline="a").kind == "winner"
    )


@pytest.mark.parametrize("level", [0.2, 0.7])
def test_a_tie_is_no_tie_if_the_baseline_is_doubtful(level):
    """Whether it is among the best or behind them: it might be better than all if it were tuned."""
    noise = 0.02 * np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    results = [make_result("a", values(0.2)), make_result("b", values(0.24, noise=noise))]
    found = judged(*results, make_result("base", values(level), **AT_EDGE), baseline="base")
    assert found.kind == "unsettled" and "base" in found.best
    assert found.sentence.startswith("bowl: not settled: baseline undertuned. ")
    assert "cannot be told apart at 10 seeds" in found.sentence
    assert found.notes[0].endswith("widen that range (--expand does), then run again.")
    assert judged(*results, make_result("base", values(level)), baseline="base").kind == "tie"


# --- too little ------------------------------------------------------------------------------------------------------


def test_nothing_to_compare():
    unfinished = make_result("b", [*values(0.5)[:9], None])
    failed = make_result("c", [], failure="optimizer 'c': build raised TypeError")
    untuned = make_result("d", [], missing=4, winner=None)
    hopeless = make_result("e", [], winner=None, finite=0)
    alone = judged(make_result("a", values(0.2)), unfinished, failed, untuned, hopeless)
    assert (alone.kind, alone.best) == ("incomplete", ())
    assert alone.sentence == "bowl: only a finished; there is nothing to compare."
    assert set(alone.notes) == {
        "b: 9 of 10 seeds have run; it is not compared yet.",
        "c could not run: optimizer 'c': build raised TypeError",
        "d: 6 of 10 tuning trials have run.",
        "e: no tuning point trained on every tuning seed; its space may be wrong.",
    }
    nobody = judged(unfinished, failed)
    assert nobody.sentence == "bowl: no contender finished; there is nothing to compare."


def test_who_could_not_run_is_noted_beside_the_verdict():
    failed = make_result("c", [], failure="it raised")
    found = judged(make_result("a", values(0.2)), make_result("b", values(0.5)), failed)
    assert (found.kind, found.best, found.notes) == ("winner", ("a",), ("c could not run: it raised",))


@pytest.mark.parametrize(("seeds", "kind"), [(1, "tie"), (3, "tie"), (5, "tie"), (6, "winner"), (10, "winner")])
def test_too_few_seeds_are_told(seeds, kind):
    """2 / 2^n is the smallest p-value of n pairs: 0.0625 at five, 0.03125 at six."""
    found = judged(make_result("a", values(0.2)[:seeds]), make_result("b", values(0.9)[:seeds]))
    assert found.kind == kind
    note = f"{seeds} paired seeds cannot show any difference at 95%, however large; use 6 or more."
    assert found.notes == ((note,) if seeds < 6 else ())


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
    medians = sorted(float(np.median(result.scores)) for result in results)
    if medians[0] < medians[1]:  # else the data do not say who comes first
        assert (first.kind, set(first.best)) == (second.kind, set(second.best))


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
    """The shares of studies of equal contenders with a winner, and with anyone called worse."""
    rng = np.random.default_rng(count)
    winners = claims = 0
    for _ in range(repeats):
        seeds = draw(rng, SEEDS)
        results = [make_result(f"x{i}", seeds + draw(rng, SEEDS)) for i in range(count)]
        found = judged(*results)
        winners += found.kind == "winner"
        claims += found.kind == "winner" or "; worse: " in found.sentence
    return winners / repeats, claims / repeats


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "accuracies of few examples": lambda rng, n: rng.binomial(20, 0.9, size=n) / 20,
}


@pytest.mark.long
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize(("count", "repeats"), [(2, 1000), (3, 600), (6, 300)])
def test_equal_contenders_are_seldom_told_apart(count, repeats, draw):
    winners, claims = false_claims(count, repeats, draw)
    assert winners <= 0.06
    assert claims <= 0.06


def test_unequal_contenders_are_told_apart():
    """What the level is worth: three standard deviations apart, a winner is nearly always found."""
    rng = np.random.default_rng(0)
    found = [
        judged(*(make_result(f"x{i}", 3.0 * min(i, 1) + rng.normal(size=SEEDS)) for i in range(3))) for _ in range(100)
    ]
    assert sum(each.kind == "winner" and each.best == ("x0",) for each in found) >= 95


def test_what_tuning_might_change_is_no_winner():
    """Another tuning may turn the gap around: the best points are 0.3 apart, and the noise of a score is as much."""
    rng = np.random.default_rng(0)
    noise = 0.3 * rng.normal(size=SEEDS)
    noise -= np.median(noise)
    results = [make_result("a", values(0.2)), make_result("b", values(0.45, noise=noise))]
    assert judged(*results).kind == "winner"
    close = [
        replace(result, tuning=replace(result.tuning, scores=np.array([0.0, 0.3, 0.6, 0.9, 1.2]))) for result in results
    ]
    found = judged(*close)
    assert found.kind == "tie" and "a, b cannot be told apart" in found.sentence
    assert found.notes[0].startswith("b is +0.") and found.notes[0].endswith(
        "away, but tuning on 1 seed could set equals so far apart by luck; use more tuning seeds."
    )
    many = [replace(result, tuning=replace(result.tuning, seeds=200)) for result in close]
    assert judged(*many).kind == "winner"
