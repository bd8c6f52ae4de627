"""Several runs: compared, or merged into one. Neither trains anything."""

from collections.abc import Sequence
from pathlib import Path

from dlkit.bench.analysis.several_runs import summarize_together
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.api import Result
from dlkit.bench.errors import UserError
from dlkit.bench.store.merging import merge
from dlkit.bench.store.store import Store

__all__ = ["compare_runs", "merge_runs"]


def compare_runs(runs: Sequence[str | Path | Result], *, problems: Sequence[str] | None = None) -> Result:
    """Compares the contenders of several runs on the problems that all of them have, as if one run had had them all.

    Runs compare where everything but the contenders is the same: the budget, the studies and seeds, the tuner, the
    data, what problems compute, and the software. Then contenders are paired as in one run, and tests are adjusted over
    all that are shown. A contender that several runs have is shown once; two of one name that differ get the names of
    their runs behind theirs. What was added until a run was settled does not count, and seconds per step are left out.

    Args:
        runs: their folders, or results that have one; the first contender of the first is the baseline.
        problems: names of the problems to compare on; None for all that the runs share.

    Returns:
        The result. It has no folder; its trials are replayed in the runs they are of.

    Raises:
        UserError: for folders without runs, and for runs that do not compare: with everything in which they differ, and
            what to do.
    """
    if isinstance(runs, str | Path | Result) or not isinstance(runs, Sequence):
        raise UserError(f"runs must be a list of at least two folders or results, got {runs!r}")
    if isinstance(problems, str):
        raise UserError(f"problems must be a list of names, such as [{problems!r}], got {problems!r}")
    return Result(summarize_together([_folder(run) for run in runs], problems))


def merge_runs(runs: Sequence[str | Path | Result], output: str | Path) -> Result:
    """Makes one run folder of the parts of one study: shards, or runs of some problems, contenders or studies of it.

    Args:
        runs: their folders, or results that have one; nothing is written there.
        output: the new folder, which must not exist, or be empty. It is there whole, or not at all.

    Returns:
        The result of the merged run.

    Raises:
        UserError: for runs that are no parts of one study, that are in use, or that have one trial with two outcomes;
            and if the folder cannot be written.
    """
    if isinstance(runs, str | Path | Result) or not isinstance(runs, Sequence):
        raise UserError(f"runs must be a list of at least two folders or results, got {runs!r}")
    where = Path(output)
    merge([_folder(run) for run in runs], where)
    with Store(where) as store:
        found = summarize(store)
        store.keep_endings(found.endings())
    return Result(found, folder=where)


def _folder(run: str | Path | Result) -> Path:
    if not isinstance(run, Result):
        return Path(run)
    if run.folder is None:
        raise UserError("a result that was kept in memory has no run folder; run it with folder=...")
    return run.folder
