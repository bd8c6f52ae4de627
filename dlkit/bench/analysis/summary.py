"""A run summed up from its store: a comparison for each problem, and an overview over all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dlkit.bench.analysis.across_problems import Overview
from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.problem_results import overview
from dlkit.bench.plan.parameter_groups import AllGroups, ParameterGroup
from dlkit.bench.plan.plan import Plan
from dlkit.bench.store.software import differences
from dlkit.bench.store.store import Store
from dlkit.bench.store.trial_rows import Record
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import Ending, endings

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True, eq=False)
class Summary:
    """Everything tables, figures and reports show of a run.

    Attributes:
        plan: the current spec.
        comparisons: one a problem.
        records: id -> record, of the current spec's trials alone.
        manifest: what the numbers rest on.
        apart: which trials of the folder are not among these, and why; a sentence each.
        damaged: what is lost of the run's store, a sentence each; empty of a sound one.
        groups: which rule trains which parameters; empty where nothing tells.
    """

    plan: Plan
    comparisons: Sequence[Comparison]
    records: Mapping[str, Record]
    manifest: Mapping[str, Any]
    apart: Sequence[str] = ()
    groups: AllGroups = field(default_factory=dict)
    damaged: Sequence[str] = ()

    def __repr__(self) -> str:
        trials = f"{len(self.records):,} of {self.planned:,} trials"
        return f"<Summary of {self.plan.name!r}: {len(self.comparisons)} problems, {trials}>"

    @cached_property
    def overview(self) -> Overview:
        """What holds over all problems; its numbers are computed when they are asked for."""
        return overview(self.plan, [each.problem_results for each in self.comparisons])

    @cached_property
    def failures(self) -> list[str]:
        """Why contenders, or blocks that were added, could not run, each reason once."""
        results = [one for each in self.comparisons for one in each.results]
        reasons = [reason for one in results for reason in (one.failure, one.later_failure) if reason]
        return list(dict.fromkeys(reasons))

    @cached_property
    def tracebacks(self) -> Mapping[str, str]:
        """Reason -> the traceback of the first trial that failed for it, of the user's own frames; empty where none is.

        It has the reasons of `failures`, and those of single trials whose contender has others to show.
        """
        found: dict[str, str] = {}
        for record in self.records.values():
            if record.outcome.reason:
                found.setdefault(record.outcome.reason, record.outcome.traceback)
        return {**dict.fromkeys(self.failures, ""), **found}

    def endings(self) -> dict[str, tuple[float, Ending]]:
        """Returns how each trial came out against its problem's hardest target: id -> (target, ending)."""
        found: dict[str, tuple[float, Ending]] = {}
        for each in self.comparisons:
            there = [self.records[trial.id].outcome for _, _, trial in each.trials() if trial.id in self.records]
            came = endings(each.problem, there, each.target)
            found.update((one.trial.id, (each.target, end)) for one, end in zip(there, came, strict=True))
        return found

    def parameter_groups(self) -> Iterator[tuple[str, str, Sequence[ParameterGroup]]]:
        """Yields (problem, contender, groups) in the plan's order, for those whose groups are known."""
        for problem in self.plan.problems:
            known = self.groups.get(problem.name, {})
            yield from (
                (problem.name, each.label, known[each.label]) for each in self.plan.contenders if each.label in known
            )

    @property
    def missing(self) -> int:
        """How many trials of the plan have not run yet, as far as the tuning so far tells."""
        return self.planned - len(self.records)

    @property
    def planned(self) -> int:
        """How many trials the plan has, as far as the tuning so far tells."""
        results = [result for each in self.comparisons for result in each.results]
        known = {trial.id for result in results for _, trial in result.every_trial}
        tunings = [tuning for result in results for tuning in result.tunings]
        later = sum(each.trials - len(each.known) for each in tunings)  # and the final trials of those that go on
        of_targets = sum(problem.target is None for problem in self.plan.problems) * self.plan.targets.reruns
        return len(known) + of_targets + later + sum(each.missing > 0 for each in tunings) * self.plan.seeds


def summarize(store: Store, plan: Plan | None = None) -> Summary:
    """Computes every table of a run from its store.

    Args:
        store: the run.
        plan: which spec; None for the one that ran last.

    Returns:
        The summary; trials that have not run yet leave gaps, not errors.
    """
    plan = store.current_plan() if plan is None else plan
    stored, frozen, timings = {**store.records(), **store.broken()}, store.frozen(), store.timings()
    history = History(plan, {name: record.outcome for name, record in stored.items()}, store.drawn())
    comparisons = [compare_on(history, problem, frozen=frozen, timings=timings) for problem in plan.problems]
    ids = {trial.id for comparison in comparisons for _, _, trial in comparison.trials()}
    records = {name: stored[name] for name in sorted(ids & stored.keys())}
    read = (store.manifest(), _apart(store), store.groups())
    return Summary(plan, comparisons, records, *read, damaged=store.damaged)


def _apart(store: Store) -> tuple[str, ...]:
    """Says which trials of a folder are kept and not shown."""
    now, sentences = store.program(), []
    for each in store.apart():
        count = len(each.trials)
        trials = "1 trial of this folder was" if count == 1 else f"{count} trials of this folder were"
        if each.set_aside:
            sentences.append(f"{trials} set aside: their code computes something else now.")
        else:
            differing = differences(each.program, now, there="there", here="here") if now else ""
            other = f"other software or settings{f' ({differing})' if differing else ''}"
            sentences.append(f"{trials} made by {other}; they are kept, and not among these numbers.")
    return tuple(sentences)
