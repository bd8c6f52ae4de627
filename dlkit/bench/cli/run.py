"""`dlkit run`: its options are the fields of `Budget`, `Settling` and `Resources`, with the help that stands there."""

import inspect
import math
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from dlkit.bench.cli.exit_codes import DIFFERENT, USER_ERROR, interrupted
from dlkit.bench.doors import stranger_in
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible
from dlkit.bench.execution.resources import Resources, resources_of
from dlkit.bench.plan.policies import Settling
from dlkit.bench.spec.budget import Budget

__all__ = ["run"]

RUNS = Path("runs")


def _part_of(options: type) -> Any:
    """Returns the type of a dictionary with those fields of a dataclass that are given, each with its help."""
    make: Any = TypedDict
    make_dict: Any = dict.__class_getitem__
    hints = get_type_hints(options)
    types = {each.name: hints[each.name] for each in fields(options)}
    # --grid.learning_rate 5: the command line can fill a dict, not every Mapping
    types = {name: make_dict(get_args(hint)) if get_origin(hint) is Mapping else hint for name, hint in types.items()}
    part = make(f"PartOf{options.__name__}", types, total=False)
    part.__doc__ = re.sub(r"\n {8,}", " ", inspect.cleandoc(options.__doc__ or ""))  # a field's help is one paragraph
    return part


if TYPE_CHECKING:
    from dlkit.bench.examination.ticks import Examination

    SomeBudget = Mapping[str, Any]
    SomeSettling = Mapping[str, Any]
    SomeResources = Mapping[str, Any]
else:
    SomeBudget, SomeSettling, SomeResources = map(_part_of, (Budget, Settling, Resources))
Flat = Parameter(name="*")  # fields are options of their own


def _require(examination: "Examination", *, yes: bool) -> None:
    """Refuses to run what is wrong, and what takes longer than an hour unless that is asked for."""
    from dlkit.bench.examination.costs import HOUR

    examination.require_right()
    if examination.cost.seconds > HOUR and not yes:
        raise UserError(
            f"it takes {examination.cost.text}; --yes runs it. Fewer --steps, --tuning-points or --studies, or more "
            "--workers make it shorter"
        )


@contextmanager
def _as_typed(**given: Mapping[str, Any] | None) -> Iterator[None]:
    """Lets messages on settings that the user typed name the option, such as ``--workers`` for ``resources.workers``.

    Args:
        **given: part of an experiment or a call, such as ``resources`` -> what was typed of it.
    """
    try:
        yield
    except UserError as error:
        typed = {f"{part}.{name}": f"--{name.replace('_', '-')}" for part, each in given.items() for name in each or ()}
        if not typed:
            raise
        setting = re.compile(rf"(?<![\w.])(?<!--set )({'|'.join(map(re.escape, typed))})(?![\w.])")
        raise UserError(setting.sub(lambda match: typed[match[1]], str(error))) from None


def _warn_of_strangers(folder: Path) -> None:
    """Says who else can change what a run keeps: its numbers, and the code that `dlkit replay` runs."""
    if said := stranger_in(folder):
        print(  # noqa: T201
            f"warning: {said}: whoever can write there can change the run, and the code that a replay of it runs",
            file=sys.stderr,
        )


def run(
    spec: Path,
    /,
    *,
    setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    budget: Annotated[SomeBudget | None, Flat] = None,
    until_settled: bool | None = None,
    settling: Annotated[SomeSettling | None, Flat] = None,
    expand: bool | None = None,
    time: bool | None = None,
    probe: Annotated[list[str] | None, Parameter(negative="")] = None,
    folder: Path | None = None,
    resources: Annotated[SomeResources | None, Flat] = None,
    report: bool = True,
    tables: bool = False,
    check: bool = True,
    yes: bool = False,
    dry_run: bool = False,
) -> int:
    """Run an experiment, or what is left of it, and write its report.

    What is given here of the budget and of the other settings takes the place of what the spec says.

    Args:
        spec: the experiment, a TOML file.
        setting: KEY=VALUE in the place of what the spec says, such as problems.0.steps=100; may be repeated.
        budget: settings of `Budget`.
        until_settled: add studies (or seeds) until one contender is best, or all that are not worse lie in the margin.
        settling: settings of `Settling`.
        expand: widen spaces whose winners lie at an edge, and go on there.
        time: time the tuned contenders' steps at the end, side by side; a finished run can be timed later.
        probe: a diagnostic along the final trials, by name or file.py:probe, from the current folder; may be repeated.
            They take the place of the spec's.
        folder: where the run is kept and taken up again; by default runs/NAME.
        resources: settings of `Resources`.
        report: write report.html into the run's folder.
        tables: print the ranked tables too, and the verdicts with their numbers.
        check: look at your own problems and optimizers before the first trial, as `dlkit check` does, and train nothing
            if something is wrong.
        yes: run also what takes more than an hour.
        dry_run: only look, and say what would run, whether it can conclude, and what it costs.
    """
    from dlkit.bench import api
    from dlkit.bench.analysis.units import byte_count
    from dlkit.bench.examination.costs import HOUR
    from dlkit.bench.execution.whole_run import carry_out
    from dlkit.bench.identity.references import imports_anew
    from dlkit.bench.machine.interrupts import settled
    from dlkit.bench.report.terminal import More, print_marked, print_summary
    from dlkit.bench.spec.changes import changed
    from dlkit.bench.spec.toml import load
    from dlkit.bench.store.models import every_model

    with _as_typed(resources=resources, budget=budget, settling=settling), imports_anew():  # once for spec and probes
        experiment = changed(
            load(spec, settings=setting or ()),
            budget=budget,
            until_settled=until_settled,
            settling=settling,
            expand=expand,
            timing=time,
            probes=probe,
        )
        where, allowed = folder or RUNS / experiment.name, resources_of(experiment.resources, resources)
        if dry_run:
            examination = api.check(experiment, folder=where, resources=allowed)
            print_marked(str(examination))
            print("\n".join(examination.work))  # noqa: T201
            return 0 if examination.right else DIFFERENT
        _warn_of_strangers(where)
        look = partial(_require, yes=yes) if check else None
        ended = carry_out(experiment, folder=where, resources=allowed, look=look, times=math.inf if yes else HOUR)
        if ended.followed:  # the first process reports
            return interrupted() if ended.interrupted else 0
        settled()
        result = api.result_of(ended, where)
    print_summary(result.summary, More.of(where)._replace(report=None), tables=tables, failures=False)
    if report:
        print(f"report: {result.report(where / 'report.html')}")  # noqa: T201
    if experiment.keep == "best" and (kept := list(every_model(where))):
        size = byte_count(sum(each.bytes for each in kept))
        print(f"models: {len(kept)} of {size} in {where / 'models'}; Result.best(OPTIMIZER, PROBLEM) returns them")  # noqa: T201
    if result.interrupted:
        done = len(result.summary.records)
        print(f"interrupted: {done} of {result.summary.planned} trials are done; the same command goes on from there")  # noqa: T201
        return interrupted()
    if allowed.part is not None:
        print(f"shard {allowed.part} is done: `dlkit merge RUN... --output FOLDER` makes one run of all shards")  # noqa: T201
    for reason in result.failures:
        print(f"error: {visible(reason)}", file=sys.stderr)  # noqa: T201
    if any(result.tracebacks.values()):
        print(f"dlkit show {shlex.quote(str(where))} --failures shows the traceback", file=sys.stderr)  # noqa: T201
    return USER_ERROR if result.failures else 0
