"""On these test examples or on new ones: from scores of examples to verdicts, with what is true known beforehand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis.contender_result import make_result as result_of_outcomes
from dlkit.bench.analysis.new_examples import block_scores, on_new_examples
from dlkit.bench.analysis.numbers import largest_p_value
from dlkit.bench.analysis.ranking import compared
from dlkit.bench.analysis.settling import Reason, rank
from dlkit.bench.analysis.verdict import conclude, verdict
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.trials import STUDY_SEEDS, Outcome, Trial
from dlkit.bench.stats import crossed_difference, holm
from tests.bench.analysis.results_by_hand import BLOCKS, in_studies, judged, make_result
from tests.bench.synthetic import make_plan, make_problem, play

ACCURACY = make_problem(metric=Metric("higher", "linear", "accuracy"))


def result(label, hits, *, studies=True, scores=True):
    """A contender whose blocks [blocks, examples] hit these test examples."""
    made = make_result(label, list(np.mean(hits, axis=1)), studies=studies, problem=ACCURACY)
    return replace(made, example_scores=-np.asarray(hits, float)) if scores else made


def of(examples):
    """The problem with so many test examples."""
    return replace(ACCURACY, examples=(1000, 100, examples))


def verdict_of(**hits):
    (examples,) = {table.shape[1] for table in hits.values()}
    return judged(*(result(label, table) for label, table in hits.items()), problem=of(examples))


def hits_of(rng, share, examples, *, blocks=BLOCKS):
    """An accuracy of that share: which examples are hit belongs to the example in nine of ten cases, else to chance."""
    own = rng.random((1, examples)) < share
    return np.where(rng.random((blocks, examples)) < 0.9, own, rng.random((blocks, examples)) < share).astype(float)


def won(examples, ours, theirs):
    """So many examples that each side alone hits, in every block but for one study's slip."""
    a, b = np.ones((BLOCKS, examples)), np.ones((BLOCKS, examples))
    b[:, :ours] = 0
    a[:, ours : ours + theirs] = 0
    a[0, -1] = b[1, -2] = 0
    return a, b


# --- the gate --------------------------------------------------------------------------------------------------------


def test_a_difference_on_these_examples_alone_is_no_win():
    """Six of 360 examples against three, the same ones in each study: sure by studies, p = 0.3 by a sign test."""
    a, b = won(360, 6, 3)
    by_studies = judged(result("a", a, scores=False), result("b", b, scores=False), problem=of(360))
    assert by_studies.kind == "winner"
    found = verdict_of(a=a, b=b)
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "a is ahead of b (−0.0083 [" in found.sentence and "on these 360 test examples" in found.sentence
    assert "(10 studies); on new examples it is not told apart from b (−0.0083 [−0.0" in found.sentence
    low, high = crossed_difference(b - a)[1:3]
    assert low < 0 < high
    assert all(not claim for claim in (" best" in found.sentence, "also on new" in found.sentence))


def test_what_holds_on_new_examples_is_said_to():
    a, b = won(360, 60, 12)
    found = verdict_of(a=a, b=b)
    assert (found.kind, found.best) == ("winner", ("a",))
    assert "; also on new examples (b −0.13 [−0.18, −0.0" in found.sentence and "p <0.001)." in found.sentence


def test_an_accuracy_of_095_against_080_is_told_apart():
    rng = np.random.default_rng(0)
    for _ in range(10):
        found = verdict_of(a=hits_of(rng, 0.95, 300), b=hits_of(rng, 0.80, 300))
        assert (found.kind, found.best) == ("winner", ("a",))


@pytest.mark.parametrize("studies", [True, False])
def test_without_scores_of_examples_the_verdict_says_on_which_it_holds(studies):
    a, b = won(360, 6, 3)
    both = [result(label, hits, studies=studies, scores=False) for label, hits in (("a", a), ("b", b))]
    one = [both[0], replace(both[1], example_scores=-b)]
    for results in (both, one):
        found = judged(*results, problem=of(360))
        assert found.kind == "winner"
        assert "a is best on these 360 test examples, with test " in found.sentence
        assert not any("new examples" in text for text in (found.sentence, *found.notes))
        assert found.sentence.count("these") == 1
        doubtful = replace(results[1], doubts=results[1].doubts._replace(gain=1.0), flags=("doubtful",))
        found = judged(results[0], doubtful, problem=of(360))
        assert found.kind == "unsettled" and "a is ahead on these 360 test examples, with test " in found.sentence


def test_of_three_without_scores_the_worse_are_so_on_these_examples():
    a, b = won(360, 6, 3)
    c = a.copy()
    c[0], c[1] = a[1], a[0]
    results = [result(label, hits, scores=False) for label, hits in (("a", a), ("b", b), ("c", c))]
    found = judged(*results, problem=of(360))
    assert found.kind == "tie" and "; worse on these 360 test examples: b (" in found.sentence


def test_who_lacks_scores_is_beaten_on_these_examples_alone():
    """Of a pair of which one has none nothing is known on new examples, so that it passes one test, not two."""
    a, b = won(360, 60, 12)
    results = [result("a", a), result("b", b), result("c", a * (np.arange(360) % 4 > 0), scores=False)]
    found = judged(*results, problem=of(360))
    assert (found.kind, found.best) == ("winner", ("a",))
    assert "a is best on these 360 test examples, with" in found.sentence
    assert "; also on new examples (b " in found.sentence and " against b)." in found.sentence
    tie = [result(label, hits) for label, hits in zip("ab", won(360, 6, 3), strict=True)]
    found = judged(*tie, results[2], problem=of(360))
    assert found.kind == "tie" and "; worse on these: c (" in found.sentence
    assert found.sentence.count("on these 360 test examples") == 1


def test_the_objective_and_new_splits_are_not_these_examples():
    a, b = won(360, 6, 3)
    both = [result(label, hits, scores=False) for label, hits in (("a", a), ("b", b))]
    for problem in (replace(of(360), judged_on="objective"), replace(of(360), redraws_split=True)):
        assert "these 360" not in judged(*both, problem=problem).sentence


def test_the_settings_of_one_study_are_held_against_new_examples_too():
    a, b = won(360, 6, 3)
    found = judged(*(result(label, hits, studies=False) for label, hits in (("a", a), ("b", b))), problem=of(360))
    assert found.kind == "tie" and "10 paired seeds" in found.sentence and "on new examples" in found.sentence


def test_who_wins_by_studies_must_win_by_examples():
    """Fourteen studies favour a by a little, and one favours b by much: the mean over examples is for b."""
    gaps = np.array([0.01] * 14 + [-0.5])
    a, b = np.tile(0.5 + gaps[:, None], (1, 200)), np.full((15, 200), 0.5)
    (pair,) = (each.standing.to_best for each in compared([result("a", a), result("b", b)]).compared[1:])
    assert pair.difference.estimate > 0 and pair.is_worse_here(adjusted=False)
    assert pair.new_examples.difference.estimate < 0
    sure = pair.new_examples._replace(difference=pair.new_examples.difference._replace(p_value=0.0), adjusted_p=0.0)
    for adjusted in (True, False):
        assert not pair._replace(new_examples=sure).is_worse(adjusted=adjusted)
    assert not pair._replace(new_examples=sure).is_apart


def test_of_three_some_hold_on_new_examples():
    a, b = won(360, 6, 3)
    c = np.where(np.arange(360) % 4 == 0, 0.0, a)
    found = verdict_of(a=a, b=b, c=c)
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "; worse: c (" in found.sentence
    assert "; worse: c (" in found.sentence and "; also on new examples (c −0.25 [" in found.sentence
    ranked = compared([result(label, hits) for label, hits in (("a", a), ("b", b), ("c", c))]).compared
    groups = {each.label: set(each.standing.group) for each in ranked}
    assert groups["a"] & groups["b"] and not groups["a"] & groups["c"] and not groups["b"] & groups["c"]
    found = [each.standing.to_best.new_examples for each in ranked[1:]]
    every = on_new_examples([-a, -b, -c], [(0, 1), (0, 2), (1, 2)], level=0.95)
    alone = [crossed_difference(x - y) for x, y in ((a, b), (a, c), (b, c))]
    assert [each.adjusted_p for each in every.values()] == pytest.approx(holm([each.p_value for each in alone]))
    assert found == [every[0, 1], every[0, 2]]


def test_open_on_these_examples_and_open_on_new_ones():
    a, b = won(360, 6, 3)
    rng = np.random.default_rng(1)
    c = a * (rng.random((BLOCKS, 360)) < 0.999)
    c[0], a[0] = a[0], c[0]
    found = verdict_of(a=a, b=b, c=c)
    assert found.kind == "tie" and set(found.best) == {"a", "b", "c"}
    assert "not told apart from c (" in found.sentence and "; it is ahead of b (" in found.sentence


def test_in_a_tie_the_p_values_on_new_examples_are_the_adjusted_ones_that_decided():
    """Of three c is worse, sure enough; Holm multiplies its p-value by three, as it is the smallest of the family."""
    a, b = won(360, 6, 3)
    c = np.where(np.arange(360) % 36 == 0, 0.0, a)
    single = [crossed_difference(x - y).p_value for x, y in ((a, b), (a, c), (b, c))]
    adjusted = holm(single)[1]
    assert single[1] == min(single) and adjusted == pytest.approx(3 * single[1]) and 0.001 < single[1] < adjusted < 0.05
    found = verdict_of(a=a, b=b, c=c)
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    told = found.sentence.rpartition("; also on new examples (c ")[2]
    assert told.endswith(f", adjusted p {largest_p_value([adjusted])}).")
    assert largest_p_value([adjusted]) != largest_p_value([single[1]])


# --- what would settle it --------------------------------------------------------------------------------------------


def test_more_studies_do_not_help_where_examples_are_few():
    """Of the three lost of nine disputed examples in 360, N (2.8 s / d)^2 with s^2 = 9 / 360, d = 3 / 360 is 2,830."""
    a, b = won(360, 6, 3)
    (note,) = (note for note in verdict_of(a=a, b=b).notes if "on new examples" in note)
    assert "More studies cannot settle a against b on new examples" in note and "there are 360." in note
    needed = float(note.split("about ")[1].split(" test")[0].replace(",", ""))
    assert needed == pytest.approx(2830, rel=0.1)


def test_of_very_many_examples_it_is_said_how_many_were_looked_at():
    results = [result(label, hits) for label, hits in zip("ab", won(360, 6, 3), strict=True)]
    (note,) = (note for note in judged(*results, problem=of(720)).notes if "on new examples" in note)
    assert note.endswith(" test examples; of the 720 here 360 were looked at.")
    assert float(note.split("about ")[1].split(" test")[0].replace(",", "")) == pytest.approx(2830, rel=0.1)


def test_more_studies_do_not_help_is_not_said_where_they_may():
    rng = np.random.default_rng(2)
    gaps = 0.002 + 0.0028 * rng.normal(size=(BLOCKS, 1)) + 0.5 * rng.normal(size=(BLOCKS, 20_000))
    gaps += 0.004 + np.linspace(0, 1e-3, BLOCKS)[:, None] - gaps.mean(axis=1, keepdims=True)
    gaps[0] -= 0.0101
    a, b = 0.5 + gaps / 2, 0.5 - gaps / 2
    found = verdict_of(a=a, b=b)
    assert found.kind == "tie"
    notes = [note for note in found.notes if "on new examples" in note]
    assert all("cannot settle" not in note for note in notes)


def test_added_studies_end_at_the_difference_on_these_examples():
    """Six of 60 examples against three: studies settle it for these, and no more of them could for new ones."""
    hits = [result(label, hits) for label, hits in zip("ab", won(60, 6, 3), strict=True)]
    plan = replace(in_studies(make_plan(["a", "b"], problems=[of(60)], points=1, seeds=1), BLOCKS), max_studies=40)
    ranking, settled = rank(plan, of(60), hits)
    assert settled.ends is Reason.BEST
    found = conclude(verdict(of(60), ranking, math.nan, adds_blocks=True), plan, of(60), ranking, settled)
    assert (found.kind, found.best) == ("tie", ("a", "b"))
    assert "Settled on these 60 test examples at " in found.sentence and "on new examples" in found.sentence
    assert any("More studies cannot settle a against b on new examples" in note for note in found.notes)
    assert any("those on new examples are doubled" in note for note in found.notes)
    hits = [replace(each, example_scores=None) for each in hits]
    ranking, settled = rank(plan, of(60), hits)
    found = conclude(verdict(of(60), ranking, math.nan, adds_blocks=True), plan, of(60), ranking, settled)
    assert "a is best on these 60 test examples" in found.sentence and " Settled at " in found.sentence
    assert not any("new examples" in note for note in found.notes)


def test_differences_that_ended_a_run_count_double():
    a, b = won(360, 60, 12)
    once, twice = crossed_difference(b - a), crossed_difference(b - a, level=0.975)
    (new,) = on_new_examples([b, a], [(0, 1)], level=0.95, adds_blocks=True).values()
    assert new.difference.p_value == pytest.approx(2 * once.p_value)
    assert new.difference.high - new.difference.low == pytest.approx(twice.high - twice.low)
    assert new.adjusted_p == new.difference.p_value


def test_claims_by_studies_alone_say_so():
    """Who is first at a target, and who led at half of the budget, is compared study by study."""
    a, b = won(360, 60, 12)
    early = {"times": [5.0] * BLOCKS, "half": [0.9] * BLOCKS}
    late = {"times": [20.0] * BLOCKS, "half": [0.5] * BLOCKS}
    fast, slow = (
        replace(
            make_result(label, list(hits.mean(axis=1)), studies=True, problem=ACCURACY, **moments), example_scores=-hits
        )
        for label, hits, moments in (("b", b, early), ("a", a, late))
    )
    for results in ((fast, slow), [replace(each, example_scores=None) for each in (fast, slow)]):
        notes = judged(*results, problem=of(360)).notes
        assert any(note.startswith("b is faster to 0.100 on these 360 test examples, a ends better:") for note in notes)
        flips = "The ranking flips on these 360 test examples if the budget is halved"
        assert any(note.startswith(flips) for note in notes)
    anew = judged(fast, slow, problem=replace(of(360), redraws_split=True)).notes
    assert any(note.startswith("b is faster to 0.100, a ends better:") for note in anew)
    assert not any("these 360" in note for note in anew)


# --- which scores count ----------------------------------------------------------------------------------------------


def outcome(scores, status="finished"):
    made = Outcome(Trial("0", {"seed": 0}), status, "", "", None, 0.0, 0.0, np.zeros(1), {}, {})
    return replace(made, example_scores=None if scores is None else np.array(scores, np.float32))


def test_a_blocks_scores_are_the_means_over_its_trials():
    diverged = outcome(None, "diverged")
    blocks = [[outcome([0, 1, 1]), outcome([1, 1, 0])], [outcome([1, 1, 1]), diverged], []]
    table = block_scores(ACCURACY, blocks)
    assert table[0].tolist() == [-0.5, -1.0, -0.5] and np.isnan(table[1:]).all()  # oriented: lower is better
    assert block_scores(make_problem(), blocks)[0].tolist() == [0.5, 1.0, 0.5]
    assert block_scores(make_problem(metric=Metric("lower", "log")), blocks) is None
    assert block_scores(ACCURACY, [[diverged]]) is None
    assert block_scores(ACCURACY, [[outcome([1.0, 0.0])], [outcome(None)]]) is None  # it is no divergence
    assert block_scores(ACCURACY, [[outcome([1.0])], [outcome([1.0, 0.0])]]) is None  # other examples


def test_diverged_blocks_are_as_bad_on_any_examples():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(10, 50)), rng.normal(size=(10, 50))
    theirs[:4] = np.nan
    (new,) = on_new_examples([ours, theirs], [(0, 1)], level=0.95).values()
    assert new.difference == crossed_difference(theirs[4:] - ours[4:]) and new.examples == 50
    theirs[4] = np.nan  # half of them: that may be the difference
    assert on_new_examples([ours, theirs], [(0, 1)], level=0.95) == {}


def test_who_rested_is_compared_on_the_first_blocks():
    rng = np.random.default_rng(4)
    ours, theirs = rng.normal(size=(14, 50)), rng.normal(size=(8, 50))
    (new,) = on_new_examples([ours, theirs], [(0, 1)], level=0.95).values()
    assert new.difference == crossed_difference(theirs - ours[:8])


def played(problem, studies, *, seeds=2):
    """The results of a plan whose trials hit examples: those of b fewer, the same ones in every study."""
    plan = in_studies(make_plan(["a", "b"], problems=[problem], points=1, tuning_seeds=1, seeds=seeds), studies)
    hits = dict(zip("ab", (each[0] for each in won(60, 6, 3)), strict=True))

    def train(problem, contender, trial):
        study, seed = divmod(trial.seed, STUDY_SEEDS)
        own = np.roll(hits[contender.label], study * seeds + seed).astype(np.float32)
        curve = np.array([0.0, own.mean()], np.float32)
        made = Outcome(trial, "finished", "", "", None, 0.0, 0.0, np.array([0, 40]), {"error": curve}, {})
        return replace(made, example_scores=own if trial.stage == "final" else None)

    history = play(plan, train)
    return hits, [result_of_outcomes(history, problem, contender, ()) for contender in plan.contenders]


def test_scores_come_from_final_trials_block_by_block():
    hits, (a, _) = played(ACCURACY, 3)
    assert a.example_scores.shape == (3, 60)
    expected = [-(np.roll(hits["a"], 2 * study) + np.roll(hits["a"], 2 * study + 1)) / 2 for study in range(3)]
    assert a.example_scores == pytest.approx(np.array(expected))
    assert a.example_scores.mean(axis=1) == pytest.approx(a.blocks)
    _, (a, _) = played(ACCURACY, 1)
    assert a.example_scores.shape == (2, 60)


def test_studies_that_split_the_examples_anew_are_about_new_splits():
    problem = replace(ACCURACY, redraws_split=True)
    _, results = played(problem, 3)
    assert all(each.example_scores is None for each in results)
    _, results = played(problem, 1)  # the seeds of one study share a split
    assert all(each.example_scores is not None for each in results)
    made = [
        replace(make_result(label, [share + 0.01 * k for k in range(10)], studies=True, problem=problem))
        for label, share in (("a", 0.8), ("b", 0.5))
    ]
    assert "each study with a new split of these examples" in judged(*made, problem=problem).sentence


# --- tables and frames -----------------------------------------------------------------------------------------------


def test_the_difference_on_new_examples_is_in_tables_frames_and_evidence():
    found = verdict_of(a=won(360, 60, 12)[0], b=won(360, 60, 12)[1])
    (evidence,) = (each for each in found.findings[0].evidence if each.name == "difference on new examples")
    expected = crossed_difference(won(360, 60, 12)[1] - won(360, 60, 12)[0])
    assert (evidence.contender, evidence.other) == ("b", "a")
    assert evidence[3:7] == pytest.approx(expected[:4]) and evidence.adjusted_p == evidence.p_value


# --- how often it is wrong -------------------------------------------------------------------------------------------


def chosen_offset(rng, *, test=90, validation=45, offsets=64):
    """A contender that adds one of 64 fixed random offsets to what the other predicts, chosen on validation.

    An example is hit if its margin is above 0. Studies differ in noise, and in which offset looked best to them; the
    examples are the same ones. The other margins' mean makes up for what offsets cost: (0.8 + 0.0944) / sqrt(1.2^2 +
    0.6^2) = 0.8 / 1.2, so that both have the same accuracy on new examples.
    """
    shift = 0.0944 + 0.6 * rng.normal(size=(offsets, validation + test))
    margins = 0.8 + 1.2 * rng.normal(size=validation + test)
    plain, fitted = [], []
    for _ in range(BLOCKS):
        noise = 0.15 * rng.normal(size=(2, validation + test))
        tried = margins + noise[1] + shift > 0
        best = int(np.argmax(tried[:, :validation].mean(axis=1)))
        plain.append((margins + noise[0] > 0)[validation:])
        fitted.append(tried[best, validation:])
    return np.array(plain, float), np.array(fitted, float)


def sign_of(found):
    return found.best[0] if found.kind in ("winner", "unsettled") else None


@pytest.mark.long
def test_an_offset_that_was_chosen_on_validation_does_not_win_on_new_examples():
    """It does no good on average. On the test examples at hand it does to some, and all studies agree about that."""
    rng, repeats = np.random.default_rng(8), 150
    new, here = [], []
    for _ in range(repeats):
        plain, fitted = chosen_offset(rng)
        new.append(sign_of(verdict_of(plain=plain, offset=fitted)))
        results = [result(label, hits, scores=False) for label, hits in (("plain", plain), ("offset", fitted))]
        here.append(sign_of(judged(*results, problem=ACCURACY)))
    assert new.count("offset") <= scipy.stats.binom.ppf(0.999, repeats, 0.025)
    assert here.count("offset") >= 0.05 * repeats > new.count("offset")


@pytest.mark.long
@pytest.mark.parametrize("examples", [27, 90, 360])
def test_equals_on_new_examples_are_seldom_told_apart(examples):
    """Two classifiers of the same accuracy that hit different examples; by studies alone most are told apart."""
    rng, repeats = np.random.default_rng(9), 150
    new = here = 0
    for _ in range(repeats):
        a, b = hits_of(rng, 0.9, examples), hits_of(rng, 0.9, examples)
        new += verdict_of(a=a, b=b).kind == "winner"
        results = [result(label, hits, scores=False) for label, hits in (("a", a), ("b", b))]
        here += judged(*results, problem=ACCURACY).kind == "winner"
    assert new <= scipy.stats.binom.ppf(0.999, repeats, 0.05)
    assert here > 0.4 * repeats
