"""The command line: arguments to the API, answers to the terminal. A command imports what it needs when it runs."""

import gc
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

try:
    from cyclopts import App, CycloptsError, Parameter
except ModuleNotFoundError:
    sys.exit("error: the dlkit command needs the bench's packages: pip install 'dlkit-jax[bench]'")

import dlkit
from dlkit.bench.cli import completion
from dlkit.bench.cli.exit_codes import DIFFERENT, USER_ERROR, interrupted
from dlkit.bench.cli.letters import lasting, readable_everywhere
from dlkit.bench.cli.replay import replay as run_again
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible
from dlkit.bench.machine.interrupts import ends_in_time, heard_like_ctrl_c
from dlkit.bench.machine.preparation import fill_standard_descriptors, prepare_own_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlkit.bench.machine.doctor import Check

__all__ = ["app", "main"]

END_SECONDS = 5.0  # that a command may take to end after Ctrl-C

app = App(
    name="dlkit",
    help="Which choice trains better? Tunes every contender with the same budget, compares them on paired fresh seeds.",
    version=dlkit.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # its code would be that of Ctrl-C for every signal
)


# Its options come from dataclasses, which are imported when they are needed.
app.command(
    "dlkit.bench.cli.run:run", name="run", help="Run an experiment, or what is left of it, and write its report."
)
app.command(
    "dlkit.bench.cli.runs:compare",
    name="compare",
    help="Compare the contenders of several runs, such as yesterday's baseline and today's.",
)
app.command(
    "dlkit.bench.cli.runs:merge",
    name="merge",
    help="Make one run of the parts of one study that ran in several places.",
)
app.command(
    "dlkit.bench.cli.upkeep:verify", name="verify", help="Look at everything that a run's folder keeps for damage."
)
app.command("dlkit.bench.cli.upkeep:convert", name="convert", help="Convert a run that an older dlkit wrote.")
completion.register(app)


app.command(
    "dlkit.bench.cli.watch:watch", name="watch", help="Follow a run from another terminal: how far it is, its answer."
)


@app.command
def check(spec: Path, /, *, setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None) -> int:
    """Look at an experiment before it runs: your own functions and data, what it can conclude, time and memory.

    Args:
        spec: the experiment, a TOML file.
        setting: KEY=VALUE in the place of what the spec says, such as problems.0.steps=100; may be repeated.
    """
    from dlkit.bench import api
    from dlkit.bench.identity.references import imports_anew
    from dlkit.bench.report.terminal import print_marked
    from dlkit.bench.spec.toml import load

    with imports_anew():
        examination = api.check(load(spec, settings=setting or ()))
    print_marked(str(examination))
    return 0 if examination.right else DIFFERENT


@app.command
def show(run: Path, /, *, tables: bool = False, trials: bool = False, failures: bool = False) -> int:
    """Print a run's answer: who leads on which problem, who is worse, and what is open.

    Args:
        run: the run's folder, such as runs/quickstart.
        tables: print the ranked tables too, and the verdicts with their numbers.
        trials: list every trial with its id, setting and outcome instead.
        failures: print why trials failed instead, each reason with its traceback.
    """
    if tables + trials + failures > 1:
        raise UserError("--tables, --trials and --failures are answers of their own: give one of them")
    gc.disable()  # the process ends in a second or two: looking for garbage would be a twentieth of that
    from dlkit.bench import api
    from dlkit.bench.report.terminal import More, print_summary
    from dlkit.bench.report.trial_list import print_trials

    result = api.open_run(run)
    if failures:
        from dlkit.bench.cli.failures import in_full

        print(in_full(result.tracebacks))  # noqa: T201
    elif trials:
        print_trials(result.trials(), f"dlkit show {shlex.quote(str(run))} --trials | less -S")
    else:
        print_summary(result.summary, More.of(run), tables=tables)
    return 0


@app.command
def report(
    run: Path,
    /,
    *,
    output: Path | None = None,
    kind: Annotated[Literal["html", "markdown", "latex", "pdf", "svg", "png"], Parameter(name="--format")] = "html",
    all_tables: Annotated[bool, Parameter(negative="")] = False,
    width: Literal["text", "column"] = "text",
) -> int:
    """Write a run's report again: the page, the table of a paper as Markdown or LaTeX, or figures for a paper.

    Args:
        run: the run's folder.
        output: a file, or a folder for figures; RUN/report.html, .md, .tex or RUN/figures by default.
        kind: the page; the one table of a paper, with the protocol, as Markdown or LaTeX; or figures in a format.
        all_tables: with markdown and latex, let all other tables and verdicts follow that one.
        width: of figures: a page's text (6.75 inches) or one of its two columns (3.25 inches).
    """
    from dlkit.bench import api
    from dlkit.bench.report.latex import latex_tables
    from dlkit.bench.report.markdown import markdown_tables
    from dlkit.bench.report.page import write_text

    if all_tables and kind not in ("markdown", "latex"):
        raise UserError(f"--all-tables goes with --format markdown or latex, not {kind}")
    if width != "text" and kind in ("html", "markdown", "latex"):
        raise UserError(f"--width goes with --format pdf, svg or png, not {kind}")
    result = api.open_run(run)
    if kind == "html":
        written = [result.report(output or run / "report.html")]
    elif kind == "markdown":
        more = f"\n{markdown_tables(result.summary)}" if all_tables else ""
        written = [write_text(output or run / "report.md", result.markdown() + more)]
    elif kind == "latex":
        more = f"\n{latex_tables(result.summary)}" if all_tables else ""
        written = [write_text(output or run / "report.tex", result.latex() + more)]
    else:
        written = result.figures(output or run / "figures", extension=kind, width=width)
    for path in written:
        print(f"report: {path}")  # noqa: T201
    return 0


app.command("dlkit.bench.cli.export:export", name="export", help="Write a run as files that other tools read.")


app.command(run_again, name="replay")


@app.command(name="list")
def list_(what: Literal["problems", "optimizers", "schedules", "probes"], problem: str | None = None, /) -> int:
    """List what there is to compare, and to look at.

    Args:
        what: problems, optimizers, schedules or probes.
        problem: one of the problems, for its choices.
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
def doctor(*, deep: bool = False, repeats: int = 20) -> int:
    """Check this machine: versions, devices, threads, cache, wrong sums, and whether replays can be exact here.

    Args:
        deep: also run studies whose truth is known, a few minutes, and count how often sentences of verdicts are wrong.
        repeats: of each simulated study of these.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dlkit.bench.machine.doctor import examine

    if repeats < 1:
        raise UserError(f"--repeats must be at least 1, got {repeats}")
    healthy = _shown(examine())
    if deep:
        from dlkit.bench.execution.deep_doctor import examine_deeply

        healthy &= _shown(examine_deeply(repeats=repeats))
    return 0 if healthy else DIFFERENT


def _shown(checks: "Iterator[Check]") -> bool:
    """Prints checks as they come; returns whether none is wrong."""
    from dlkit.bench.report.terminal import print_marked

    healthy = True
    for check in checks:
        mark = {True: "ok   ", False: "WRONG", None: "     "}[check.right]
        print_marked(f"{mark} {check.subject}: {check.text}")
        healthy &= check.right is not False
    return healthy


def main() -> None:
    """Runs the command line; a user's mistake ends with its message and exit code 2."""
    fill_standard_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, written = lasting(sys.stdout)
    sys.stderr, _ = lasting(sys.stderr)
    readable_everywhere(sys.stdout, sys.stderr)
    if sys.argv[1:2] != ["doctor"]:  # which looks at what this machine does with all of its threads, too
        prepare_own_process()
    try:
        status = _status()
        _flush(sys.stdout)
        if written is not None and written.error is not None:
            print(f"error: the output could not be written: {written.error.strerror}", file=sys.stderr)  # noqa: T201
            status = status or USER_ERROR
        _flush(sys.stderr)
    finally:
        sys.stdout, sys.stderr = before
    sys.exit(status)


def _flush(stream: TextIO | None) -> None:
    """Hands on what was printed, if there is where to."""
    if stream is not None:
        stream.flush()


def _status() -> int:
    """Runs the command line and returns its exit code."""
    try:
        with heard_like_ctrl_c(), ends_in_time(END_SECONDS):
            return app(sys.argv[1:], result_action="return_value", exit_on_error=False) or 0
    except CycloptsError:  # already printed, with the nearest valid name
        return USER_ERROR
    except UserError as error:
        print("\n".join(f"error: {visible(line)}" for line in str(error).splitlines()), file=sys.stderr)  # noqa: T201
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return interrupted()
