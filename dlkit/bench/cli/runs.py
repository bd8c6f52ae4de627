"""Commands about several runs: compare and merge."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["compare", "merge"]


def compare(
    *run: Path,
    problem: Annotated[list[str] | None, Parameter(negative="")] = None,
    tables: bool = False,
    report: Path | None = None,
) -> int:
    """Compare the contenders of several runs, such as yesterday's baseline and today's.

    Runs that do not compare are refused, with everything in which they differ.

    Args:
        run: at least two folders of runs; the first contender of the first one is the baseline.
        problem: a problem to compare on; may be repeated. By default all that the runs share.
        tables: print the ranked tables too, and the verdicts with their numbers.
        report: a file to write the report to.
    """
    from dlkit.bench.report.terminal import More, print_summary
    from dlkit.bench.runs import compare_runs

    result = compare_runs(run, problems=problem)
    more = shlex.join(
        [
            "dlkit",
            "compare",
            *map(str, run),
            *(part for name in problem or () for part in ("--problem", name)),
            "--tables",
        ]
    )
    print_summary(result.summary, More(more), tables=tables)
    if report is not None:
        print(f"\nreport: {result.report(report)}")  # noqa: T201
    return 0


def merge(*run: Path, output: Path) -> int:
    """Make one run of the parts of one study that ran in several places.

    Args:
        run: at least two folders of runs: shards of one spec, or some of its problems, contenders or studies.
        output: the new folder; it must not exist, or be empty.
    """
    from dlkit.bench.report.terminal import More, print_summary
    from dlkit.bench.runs import merge_runs

    result = merge_runs(run, output)
    print_summary(result.summary, More.of(output))
    summary = result.summary
    print(f"\nmerged: {len(summary.records)} trials of {len(run)} runs in {output}")  # noqa: T201
    if summary.missing > 0:
        print(  # noqa: T201
            f"{summary.missing} trials are not there yet: `dlkit run SPEC --folder {output}` runs them"
        )
    return 0
