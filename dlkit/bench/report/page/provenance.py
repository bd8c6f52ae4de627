"""What the numbers rest on: time, programs, data, the exact spec, and the source of one's own functions."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.json import to_json
from dlkit.bench.report.page.markup import Names, ShownTable, shown_table
from dlkit.bench.report.page.sentences import counted
from dlkit.bench.report.tables import Table

__all__ = ["Failure", "Provenance", "failures", "provenance"]

SHOWN = ("python", "jax", "jaxlib", "optax", "device", "threads", "system")  # of a program's fields, in a sentence


class Failure(NamedTuple):
    """Why something could not run, and the traceback, if it was kept."""

    reason: str
    traceback: str


class Provenance(NamedTuple):
    """What the numbers rest on.

    Attributes:
        sentences: what it took; which trials of the folder are not among these.
        versions: of what matters most, and the machine, in a sentence; empty before anything has run.
        programs: what ran: versions, the machine, the digest of the code; None before anything has.
        data: where each problem's data come from, with their digests.
        spec: the whole plan as JSON.
        sources: name -> text, of one's own functions.
    """

    sentences: Sequence[str]
    versions: str
    programs: ShownTable | None
    data: ShownTable
    spec: str
    sources: Mapping[str, str]


def provenance(summary: Summary, names: Names) -> Provenance:
    """Returns what the numbers rest on.

    Args:
        summary: the run.
        names: of contenders and problems.
    """
    plan, manifest = summary.plan, summary.manifest
    outcomes = [record.outcome for record in summary.records.values()]
    seconds, compiling = sum(each.seconds for each in outcomes), sum(each.compile_seconds for each in outcomes)
    took = (
        f"{counted(len(outcomes), 'trial')}: {seconds:.1f} s of training and {compiling:.1f} s of compilation in all."
    )
    data = [[name, facts["source"], facts["digest"]] for name, facts in sorted(manifest.get("data", {}).items())]
    return Provenance(
        (took, *summary.damaged, *summary.apart),
        _versions(manifest.get("programs", {})),
        _programs(names, manifest.get("programs", {})),
        shown_table(names, Table(("problem", "data from", "digest"), data), "Data", kind="facts"),
        json.dumps(json.loads(to_json(plan)), indent=2, ensure_ascii=False),
        manifest.get("sources", {}).get(plan.digest, {}),
    )


def _versions(programs: Mapping[str, Mapping[str, str]]) -> str:
    """What ran where, in a sentence."""
    every = [{name: each[name] for name in SHOWN if each.get(name)} for each in programs.values()]
    differing = [f"{len(programs)} programs: "] if len(programs) > 1 else []
    told = ["; ".join(dict.fromkeys(", ".join(f"{name} {value}" for name, value in each.items()) for each in every))]
    return "".join([*differing, *told, "."]) if programs else ""


def _programs(names: Names, programs: Mapping[str, Mapping[str, str]]) -> ShownTable | None:
    if not programs:
        return None
    fields = dict.fromkeys(field for program in programs.values() for field in program)
    rows = [[field, *(each.get(field, "") for each in programs.values())] for field in fields]
    header = ("field", *(f"program {name}" for name in programs))
    return shown_table(names, Table(header, rows), "Programs that made the numbers", kind="facts")


def failures(summary: Summary) -> list[Failure]:
    """Returns why contenders could not run, each reason once, with a traceback of it.

    Args:
        summary: the run.
    """
    return [Failure(reason, summary.tracebacks.get(reason, "")) for reason in summary.failures]
