"""The verdict on a problem: who is best, how sure that is, and what leaves it open."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dlkit.bench.analysis import example_sentences, numbers, units
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.findings import Finding, behind, differences, ends_behind, flip, power, speed, these
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, blocks_needed
from dlkit.bench.analysis.ranking import Ranked, Ranking
from dlkit.bench.analysis.settling import Reason, Settled
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem

__all__ = ["Verdict", "conclude", "verdict"]

Kind = Literal["winner", "tie", "unsettled", "incomplete"]
RULE = f"by a rule that holds at any time (level {ALPHA:.0%})"
ABOUT_SETTINGS = (
    "This is about the settings that one tuning found, not about the methods: another tuning may find others. Tune in "
    "several studies (10 is the default) to compare the methods."
)


class Verdict(NamedTuple):
    """A conclusion.

    Attributes:
        kind: ``"winner"``; ``"tie"``: the best is not told apart from others; ``"unsettled"``: one is ahead, but the
            tuning of another is doubtful, and better tuning could close the gap; ``"incomplete"``: too little ran.
        best: labels of the contenders that nothing here says are worse than another.
        findings: the conclusion first, then what else there is to say, each with the numbers it rests on.
        about: what is compared: ``"methods"``, tuned in several studies, or the ``"settings"`` that one study found.
    """

    kind: Kind
    best: tuple[str, ...]
    findings: tuple[Finding, ...]
    about: Literal["methods", "settings"] = "methods"

    @property
    def sentence(self) -> str:
        """The conclusion with its numbers."""
        return self.findings[0].text

    @property
    def notes(self) -> tuple[str, ...]:
        """Further sentences.

        They say who could not run, whose tuning is doubtful and what to change, who is fastest, whether half of the
        budget would turn the ranking around, and what would settle what is open.
        """
        return tuple(finding.text for finding in self.findings[1:])

    def with_notes(self, findings: Sequence[Finding]) -> "Verdict":
        """Returns the verdict with something to say right after the conclusion."""
        first, *others = self.findings
        return self._replace(findings=(first, *findings, *others))


def verdict(problem: PlannedProblem, ranking: Ranking, target: float, *, adds_blocks: bool = False) -> Verdict:
    """Concludes from a ranking.

    The best contender wins if every other is worse by the paired signed-rank test over blocks, and better tuning could
    not close the gap to any of them. Without a winner, contenders are called worse than the best by the tests that are
    adjusted over all pairs.

    Args:
        problem: what was trained.
        ranking: of its contenders.
        target: what steps were counted to.
        adds_blocks: whether blocks are added until it is settled, so that it is not said how many would settle it.

    Returns:
        The verdict.
    """
    notes = (
        [Finding(each) for each in (*problem.leaks, *problem.unseen)]
        + _failures(ranking.results)
        + _untuned(ranking.results)
    )
    compared = ranking.compared
    repeats_tuning = all(each.repeats_tuning for each in ranking.results)
    about: Literal["methods", "settings"] = "methods" if repeats_tuning else "settings"
    if not compared:
        finished = next((each.label for each in ranking.others if each.is_comparable), None)
        ended = "no contender finished" if finished is None else f"only {finished} finished"
        sentence = Finding(f"{problem.name}: {ended}; there is nothing to compare.")
        return Verdict("incomplete", (), (sentence, *notes), about)
    best, others = compared[0], compared[1:]
    tied = [each for each in others if not each.standing.is_worse]
    doubtful = [each for each in others if each.could_close_gap]
    missing = _too_few(best.result, len(compared), adds_blocks=adds_blocks)
    open_here = [each for each in tied if not each.standing.is_worse_here]
    if open_here and not adds_blocks:
        missing += [finding] if (finding := power(problem, compared, open_here[0])) else []
    more = example_sentences.more_examples(problem, best, others, "studies" if about == "methods" else "seeds")
    missing += [more] if more else []
    if about == "settings" and any(len(each.tuning.points) > 1 for each in ranking.results):
        missing.append(Finding(ABOUT_SETTINGS))
    advice = _advice([each.result for each in doubtful if each not in tied or _is_misplaced(each.result)])
    beside = [finding for finding in (speed(problem, compared, target), flip(problem, compared)) if finding]
    notes = [*missing, *notes, *advice, *beside]
    open_ = [each for each in doubtful if each not in tied]
    if tied:
        labels = tuple(each.label for each in compared if each is best or each in tied or each in open_)
        return Verdict("tie", labels, (_tie(problem, compared, tied), *notes), about)
    if open_:
        labels = (best.label, *(each.label for each in open_))
        return Verdict("unsettled", labels, (_ahead(problem, compared, open_), *notes), about)
    return Verdict("winner", (best.label,), (_winner(problem, compared), *notes), about)


def _is_misplaced(result: ContenderResult) -> bool:
    """Whether its space is wrong: more points there would not mend that."""
    return bool(result.doubts.edges) or result.doubts.too_few


def _gaps(others: Sequence[Ranked]) -> list[Pair]:
    """How contenders differ from the best."""
    return [pair for each in others if (pair := each.standing.to_best)]


# --- the sentence ---


def _tie(problem: PlannedProblem, compared: Sequence[Ranked], tied: Sequence[Ranked]) -> Finding:
    """A verdict without a winner: who leads, who is not told apart, who is worse, each with the difference."""
    best, others = compared[0], compared[1:]
    here_alone = [each for each in tied if example_sentences.holds_here_alone(each)]
    open_here = [each for each in tied if each not in here_alone]
    # Estimates of pairs need not agree on one order: the first is ahead of most others.
    leads = "leads" if all(pair.difference.estimate >= 0 for pair in _gaps(others)) else "is ahead of most others"
    text = f"{_opening(problem, best)} {best.label}"
    if open_here:
        text += (
            f" {leads}, with {_score(problem, best)}, but is not told apart from {_listed(problem, best, open_here)} "
            f"({_blocks(best.result)})"
        )
    if here_alone:
        text += "; it" if open_here else ""
        text += f" is ahead of {_listed(problem, best, here_alone)}{these(problem, here_alone)}"
        text += "" if open_here else f", with {_score(problem, best)} ({_blocks(best.result)})"
        text += f"; on new examples it is not told apart from {example_sentences.listed(problem, here_alone)}"
    if worse := [each for each in others if each not in tied]:
        bound = numbers.largest_p_value([pair.adjusted_p for pair in _gaps(worse)])
        also = example_sentences.also(problem, worse, adjusted=True)
        here = example_sentences.here(problem, worse)
        here = " on these" if here and here_alone else here  # how many was said
        text += f"; worse{here}: {_listed(problem, best, worse)} (adjusted p {bound}){also}"
    return Finding(f"{text}.", differences(problem, best, others))


def _ahead(problem: PlannedProblem, compared: Sequence[Ranked], doubtful: Sequence[Ranked]) -> Finding:
    """Says that the first contender is ahead of others whose tuning is doubtful."""
    best, others = compared[0], compared[1:]
    names = ", ".join(each.label for each in doubtful)
    text = (
        f"{_opening(problem, best)} {best.label} is ahead{example_sentences.here(problem, others)}, with "
        f"{_score(problem, best)}; {_margin(problem, compared)}. "
        f"Not settled: {names} may be undertuned by as much as the near end of that interval."
    )
    return Finding(text, differences(problem, best, others))


def _winner(problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding:
    best, others = compared[0], compared[1:]
    text = (
        f"{_opening(problem, best)} {best.label} is best{example_sentences.here(problem, others)}, with "
        f"{_score(problem, best)}; {_margin(problem, compared)}"
        f"{example_sentences.also(problem, others)}."
    )
    return Finding(text, differences(problem, best, others))


def _opening(problem: PlannedProblem, best: Ranked) -> str:
    return f"{problem.name}:" if best.result.repeats_tuning else f"{problem.name}: with the settings found,"


def _listed(problem: PlannedProblem, best: Ranked, ranked: Sequence[Ranked]) -> str:
    """Labels with their differences to the best; of many, some: the table has all."""
    shown = [
        f"{each.label} ({behind(problem, best.result, each.result, pair.difference)})"
        for each in ranked
        for pair in _gaps([each])
    ]
    return numbers.listed(shown)


def _score(problem: PlannedProblem, ranked: Ranked) -> str:
    shown = numbers.interval(ranked.result.final, floor=problem.judged.floor)
    return f"{numbers.judged_label(problem)} {shown} after {units.amount(problem.axis, problem.budget)}"


def _margin(problem: PlannedProblem, compared: Sequence[Ranked]) -> str:
    """How far behind the others are, and how sure that is."""
    best, others = compared[0], compared[1:]
    pairs = _gaps(others)
    bound = numbers.largest_p_value([pair.difference.p_value for pair in pairs])
    unit = "study" if best.result.repeats_tuning else "seed"
    away = numbers.away(problem, pairs[0].difference, ends_behind(problem, best.result, others[0].result))
    text = (
        f"{others[0].label}, the next, is {away} (p {bound} against "
        f"each, {_blocks(best.result)}; another {unit} has the two in this order with probability "
        f"{numbers.interval(pairs[0].keeps)})"
    )
    return f"{text}; then {_listed(problem, best, others[1:])}" if others[1:] else text


def _blocks(result: ContenderResult) -> str:
    """How much there is to compare, in words: studies, or paired seeds."""
    count = len(result.blocks)
    return f"{count} studies" if result.repeats_tuning else f"{count} paired seed{'s' * (count != 1)}"


# --- notes ---


def _advice(doubtful: Sequence[ContenderResult]) -> list[Finding]:
    notes = []
    for each in doubtful:
        if each.doubts.edges:
            change = "widen that range (--expand does)"
        elif each.doubts.too_few and each.doubts.finite < each.doubts.points:
            change = "narrow its space to where it trains, or give more tuning points"
        else:
            change = "give more tuning points"
        notes.append(Finding(f"{each.label}: {'; '.join(each.flags)}; {change}, then run again."))
    return notes


def _failures(results: Sequence[ContenderResult]) -> list[Finding]:
    notes = [f"{each.label} could not run: {each.failure}" for each in results if each.failure]
    for each in results:
        if each.later_failure and not each.failure:
            unit = "studies" if each.repeats_tuning else "seeds"
            notes.append(f"{each.label}: {unit} that were added could not run: {each.later_failure}")
    return [Finding(note) for note in notes]


def _untuned(results: Sequence[ContenderResult]) -> list[Finding]:
    notes = []
    for each in results:
        if each.failure:
            continue
        tunings = each.tunings
        if any(one.missing for one in tunings):
            total, missing = sum(one.trials for one in tunings), sum(one.missing for one in tunings)
            notes.append(f"{each.label}: {total - missing} of {total} tuning trials have run.")
        elif each.found_nothing:
            why = each.wrong_from_start
            cause = f"{why}: see the problem, not the space" if why else "its space may be wrong"
            notes.append(f"{each.label}: no tuning point trained on every tuning seed; {cause}.")
        elif not each.is_complete:
            ran = sum(outcome is not None for outcome in each.outcomes)
            notes.append(f"{each.label}: {ran} of {len(each.outcomes)} final trials have run; it is not compared yet.")
        elif lost := sum(one.winner is None for one in tunings):
            notes.append(
                f"{each.label}: no tuning point trained in {lost} of {len(tunings)} studies; they count as its worst."
            )
    return [Finding(note) for note in notes]


def _too_few(result: ContenderResult, contenders: int, *, adds_blocks: bool) -> list[Finding]:
    """Says when no difference, however large, could pass the test at this number of blocks."""
    needed = blocks_needed(contenders, adds_blocks=adds_blocks)
    if len(result.blocks) >= needed:
        return []
    what = "no two methods" if result.repeats_tuning else "no two settings"
    return [Finding(f"{_blocks(result)}: {what} can be told apart at {LEVEL:.0%}, however they differ; {needed} can.")]


# --- blocks that were added ---


def conclude(
    conclusion: Verdict, plan: Plan, problem: PlannedProblem, ranking: Ranking, settled: Settled | None
) -> Verdict:
    """Adds to a verdict what the blocks settled, and how.

    Args:
        conclusion: from the ranking that `rank` returned.
        plan: the plan.
        problem: which.
        ranking: that ranking.
        settled: what `rank` returned with it; without one the verdict stays what it is.

    Returns:
        The verdict.
    """
    if settled is None:
        return conclusion
    unit = plan.unit
    notes = [
        f"{each.label} rested after {len(each.blocks)} {unit}, beaten by everyone still in question."
        for each in ranking.results
        if each.label in settled.labels and each.label not in settled.in_question and len(each.blocks) < settled.blocks
    ]
    is_known = any(pair.new_examples for pair in _gaps(ranking.compared))
    new = "; those on new examples are doubled, as they are looked at when this ends" if is_known else ""
    notes.append(
        f"P-values and intervals of differences hold at any time, as {unit} were added; other intervals only describe"
        f"{new}."
    )
    first, *others = conclusion.findings
    here = these(problem, ranking.compared)
    here = here if is_known or here not in first.text else ""  # said already, and nothing is known of others
    ending = _why_it_ends(plan, problem, settled, here) or f"Not settled at {settled.blocks} {unit} yet."
    if conclusion.kind == "unsettled" and settled.ends is Reason.BEST:  # blocks do not mend tuning
        ending = f"As they are tuned, it is {ending[0].lower()}{ending[1:]}"
    findings = (first._replace(text=f"{first.text} {ending}"), *others, *map(Finding, notes))
    return conclusion._replace(findings=findings)


def _why_it_ends(plan: Plan, problem: PlannedProblem, settled: Settled, here: str) -> str:
    """Why no blocks are added, in words; empty if there may be more."""
    count, unit = settled.settlement.seeds, plan.unit
    match settled.ends:
        case None:
            return ""
        case Reason.BEST:
            return f"Settled{here} at {count} {unit} {RULE}."
        case Reason.WITHIN_MARGIN:
            assert problem.margin is not None
            width = f"a ratio of {problem.margin:g}" if problem.judged.scale == "log" else f"{problem.margin:g}"
            return (
                f"Settled{here} at {count} {unit} {RULE}: what is not worse than {settled.leader} lies within {width} "
                "of it."
            )
        case Reason.MOST:
            return f"Not settled within {plan.most_blocks} {unit}."
