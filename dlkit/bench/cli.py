"""The command line: parses arguments, calls the API, prints. Imports what a command needs when it runs."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    from cyclopts import App, CycloptsError, Parameter
except ModuleNotFoundError:
    sys.exit("error: the dlkit command needs the bench's packages: pip install 'dlkit-jax[bench]'")

import dlkit
from dlkit.bench.errors import UserError

__all__ = ["app", "main"]

USER_ERROR = 2
INTERRUPTED = 130
RUNS = Path("runs")

app = App(
    name="dlkit",
    help="Which choice trains better? Tunes every contender with the same budget, compares them on paired fresh seeds.",
    version=dlkit.__version__,
    help_format="plaintext",
)


@app.command
def run(
    spec: Path,
    /,
    *,
    seeds: int | None = None,
    steps: int | None = None,
    tuner: Literal["halton", "random", "grid", "optuna"] | None = None,
    tuning_points: int | None = None,
    tuning_points_per_dimension: int | None = None,
    tuning_seconds: float | None = None,
    tuning_seeds: int | None = None,
    studies: int | None = None,
    halving: int | None = None,
    expand: bool = False,
    until_settled: bool = False,
    max_seeds: int | None = None,
    margin: float | None = None,
    folder: Path | None = None,
    executor: str = "dask",
    workers: int | None = None,
    lanes: int | None = None,
    memory: str | None = None,
    time: bool = False,
    report: bool = True,
) -> int:
    """Run an experiment, or what is left of it, and write its report.

    Args:
        spec: The experiment, a TOML file.
        seeds: Fresh seeds each tuned contender is trained on, in place of the spec's.
        steps: Training steps of every trial, in place of the problems' own.
        tuner: Where tuning points come from, in place of the spec's.
        tuning_points: Points tried per contender and problem, in place of what the spec says of them.
        tuning_points_per_dimension: Points tried per hyperparameter that is tuned, likewise.
        tuning_seconds: Seconds of training that points are drawn for, likewise.
        tuning_seeds: Seeds each point is tried on, in place of the spec's.
        studies: How often tuning is repeated with fresh points and seeds, in place of the spec's.
        halving: Successive halving: one point in so many goes on, in place of the spec's.
        expand: Whether spaces whose winners lie at an edge are widened, and the run goes on there.
        until_settled: Whether fresh seeds are added until one contender is best, or those that are not worse lie
            within the margin, by a rule that holds however often one looks.
        max_seeds: With --until-settled, the most seeds any contender gets; 100 by default.
        margin: With --until-settled, how large a difference does not matter, on problems whose spec does not say: in
            the metric's units, or a ratio such as 1.1 where values are compared as ratios.
        folder: Where the run is kept and taken up again; runs/NAME by default.
        executor: dask (one process per core), inline (this process), or the address of a dask scheduler.
        workers: How many worker processes; one per core by default.
        lanes: How many trials run side by side in one program; by default one at a time on CPU, and on accelerators as
            many as fit into memory.
        memory: What training examples may take in each worker, such as 2GiB; a larger training split streams from the
            host, with the same results. By default half of an accelerator's memory, or half of a core's share of the
            machine's.
        time: Whether the tuned optimizers' steps are timed at the end, side by side: seconds per step, time to target,
            memory. A finished run can be timed later.
        report: Whether report.html is written into the run's folder.
    """
    from dataclasses import replace

    from dlkit.bench import api
    from dlkit.bench.execution.resources import Resources
    from dlkit.bench.spec.budget import AMOUNTS
    from dlkit.bench.spec.toml import load

    experiment = load(spec)
    given: dict[str, Any] = {"seeds": seeds, "steps": steps, "tuner": tuner, "tuning_seeds": tuning_seeds}
    given |= {"studies": studies, "halving": halving}
    amounts = dict(zip(AMOUNTS, (tuning_points, tuning_points_per_dimension, tuning_seconds), strict=True))
    changes = {name: value for name, value in given.items() if value is not None}
    if any(value is not None for value in amounts.values()):
        changes |= amounts
    experiment = replace(experiment, budget=replace(experiment.budget, **changes))
    where = folder or RUNS / experiment.name
    result = api.run(
        experiment,
        folder=where,
        resources=Resources(executor=executor, workers=workers, lanes=lanes, memory=memory),
        timing=time,
        expand=expand,
        until_settled=until_settled,
        max_seeds=max_seeds,
        margin=margin,
    )
    result.show()
    print()  # noqa: T201
    if report:
        print(f"report: {result.report(where / 'report.html')}")  # noqa: T201
    if result.interrupted:
        done = len(result.summary.records)
        print(f"interrupted: {done} of {result.summary.planned} trials are done; the same command goes on from there")  # noqa: T201
        return INTERRUPTED
    return _complain(result.failures)


def _complain(failures: list[str]) -> int:
    for reason in failures:
        print(f"error: {reason}", file=sys.stderr)  # noqa: T201
    return USER_ERROR if failures else 0


@app.command
def show(run: Path, /, *, trials: bool = False) -> int:
    """Print a run's tables and verdicts.

    Args:
        run: The run's folder, such as runs/quickstart.
        trials: List every trial with its id, setting and outcome instead.
    """
    from dlkit.bench import api

    result = api.open_run(run)
    if trials:
        print(result.trials().to_string(index=False, na_rep=""))  # noqa: T201
    else:
        result.show()
    return 0


@app.command
def report(
    run: Path,
    /,
    *,
    output: Path | None = None,
    kind: Annotated[Literal["html", "markdown", "latex", "pdf", "svg", "png"], Parameter(name="--format")] = "html",
) -> int:
    """Write a run's report again: the page, its tables as Markdown or LaTeX, or figures for a paper.

    Args:
        run: The run's folder.
        output: A file, or a folder for figures; RUN/report.html, .md, .tex or RUN/figures by default.
        kind: The page, its tables as Markdown or LaTeX, or figures in one of these formats.
    """
    from dlkit.bench import api
    from dlkit.bench.report.latex import latex_tables
    from dlkit.bench.report.markdown import markdown_tables
    from dlkit.bench.report.page import write_text

    result = api.open_run(run)
    if kind == "html":
        written = [result.report(output or run / "report.html")]
    elif kind == "markdown":
        written = [write_text(output or run / "report.md", markdown_tables(result.summary))]
    elif kind == "latex":
        written = [write_text(output or run / "report.tex", latex_tables(result.summary))]
    else:
        written = result.figures(output or run / "figures", extension=kind)
    for path in written:
        print(f"report: {path}")  # noqa: T201
    return 0


@app.command
def replay(run: Path, trial: str, /, *, spec: Path | None = None) -> int:
    """Run one trial again and say whether its curve matches bit for bit.

    Args:
        run: The run's folder.
        trial: The trial's id, or its first characters; `dlkit show RUN --trials` lists them.
        spec: The spec that ran, where it names functions in files of your own.
    """
    from dlkit.bench import api
    from dlkit.bench.spec.toml import load

    outcome = api.open_run(run).replay(trial, load(spec) if spec else None)
    for field, (then, now) in outcome.program.items():
        print(f"program differs in {field}: {_short(then)} then, {_short(now)} now")  # noqa: T201
    if outcome.exact:
        print(f"trial {outcome.trial}: every number matches, bit for bit")  # noqa: T201
        return 0
    for metric, difference in outcome.largest.items():
        print(f"trial {outcome.trial}: {metric} differs by up to {difference:g}")  # noqa: T201
    return 1


def _short(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:57]}..."


@app.command(name="list")
def list_(what: Literal["problems", "optimizers", "schedules", "probes"], problem: str | None = None, /) -> int:
    """List what there is to compare, and to look at.

    Args:
        what: problems, optimizers, schedules or probes.
        problem: One of the problems, for its choices.
    """
    from dlkit.bench import listing

    if problem is not None:
        if what != "problems":
            raise UserError(f"dlkit list {what} takes no name, got '{problem}'; only 'dlkit list problems NAME' does")
        listing.print_choices(problem)
        return 0
    {
        "problems": listing.print_problems,
        "optimizers": listing.print_optimizers,
        "schedules": listing.print_schedules,
        "probes": listing.print_probes,
    }[what]()
    return 0


@app.command
def doctor() -> int:
    """Check this machine: versions, devices, threads, cache, wrong sums, and whether replays can be exact here."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dlkit.bench.machine.doctor import examine

    healthy = True
    for finding in examine():
        mark = {True: "ok   ", False: "WRONG", None: "     "}[finding.right]
        print(f"{mark} {finding.subject}: {finding.text}")  # noqa: T201
        healthy &= finding.right is not False
    return 0 if healthy else 1


def main() -> None:
    """Runs the command line; a user's mistake ends with its message and exit code 2."""
    try:
        sys.exit(app(result_action="return_value", exit_on_error=False))
    except CycloptsError:  # already printed, with the nearest valid name
        sys.exit(USER_ERROR)
    except UserError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)  # noqa: T201
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
