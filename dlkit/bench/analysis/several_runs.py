"""Several runs in one comparison: yesterday's baseline against today's contenders."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError
from dlkit.bench.plan.parameter_groups import AllGroups, ParameterGroup
from dlkit.bench.plan.side_by_side import SideBySide, side_by_side
from dlkit.bench.store.merging import Conflict, Run, gather, open_runs, unlike
from dlkit.bench.store.store import Store

__all__ = ["summarize_together"]

SOFTWARE = "run one of them again with the software of the other: what differs is trained anew in the same folder"


def summarize_together(folders: Sequence[Path], problems: Sequence[str] | None = None) -> Summary:
    """Compares the contenders of several runs on the problems that all of them have.

    Args:
        folders: of the runs; the first contender of the first one is the baseline.
        problems: names of the problems to compare on; None for all that they share.

    Returns:
        The summary of all contenders, as if one run had had them. Tests are adjusted over all of them.

    Raises:
        UserError: for folders without runs, and runs that do not compare: with everything in which they differ.
    """
    with open_runs(folders, to="compare") as runs, Store(None) as store:
        mistakes = [f"{line}; {SOFTWARE}" for line in unlike(runs)]
        try:
            together = side_by_side([run.part for run in runs], problems)
        except UserError as error:
            raise UserError("\n".join([*str(error).splitlines(), *mistakes])) from None
        if mistakes:
            raise UserError("\n".join(["these runs do not compare:", *mistakes]))
        conflicts = gather(runs, store, timings=False)  # nobody was timed beside the contenders of another run
        store.use_plan(together.plan, {}, groups=_groups(together, runs))
        found = summarize(store, together.plan)
        damaged = [f"{run.name}: {sentence}" for run in runs for sentence in run.store.damaged]
        return replace(found, apart=[*together.notes, *_about(conflicts, runs)], damaged=damaged)


def _groups(together: SideBySide, runs: Sequence[Run]) -> AllGroups:
    """Which rule trains which parameters, by the labels of now."""
    groups: dict[str, dict[str, Sequence[ParameterGroup]]] = {}
    for run, labels in zip(runs, together.labels, strict=True):
        for problem, of_contenders in run.store.groups().items():
            for label, known in of_contenders.items():
                if label in labels:
                    groups.setdefault(problem, {}).setdefault(labels[label], known)
    return groups


def _about(conflicts: Sequence[Conflict], runs: Sequence[Run]) -> Iterator[str]:
    """What there is to say of trials that two runs have, and of times."""
    if conflicts:
        first, many = conflicts[0], len(conflicts)
        what = "1 trial that two runs have has" if many == 1 else f"{many} trials that two runs have have"
        yield (
            f"{what} other numbers in each, such as {first.record.outcome.trial.id} in {first.first} and {first.other} "
            f"({first.text}); those of the run that is named first are shown."
        )
    if any(run.store.timings() for run in runs):
        yield "Seconds per step are left out: contenders of different runs were not timed side by side."
