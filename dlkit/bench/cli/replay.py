"""`dlkit replay`: runs trials again, compares them bit for bit, and says what the comparison is worth."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from dlkit.bench.cli.exit_codes import DIFFERENT, NOT_PROMISED
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from dlkit.bench.execution.bit_comparison import Replay

__all__ = ["replay"]

MINUTE = 60.0
SHOWN = 20  # trials that are named one by one


def replay(
    run: Path,
    trial: list[str] | None = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    sample: int | None = None,
    seed: int = 0,
    spec: Path | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run trials again and say whether they match bit for bit: curves, counts, scores of examples, samples, models.

    Trials of somebody's own code run the code that the run's folder keeps, in a process of its own, after saying whose
    it is. Code that was not made here is shown if you like, and runs only if you agree.

    Ends with 0 where every number matches; with 1 where one differs although the same bits are promised; with 3 where
    one differs, or cannot run, on another machine or with other software, for which they are not.

    Args:
        run: the run's folder.
        trial: one or several of their ids, or the first characters of each; `dlkit show RUN --trials` lists them.
        every: all trials of the run.
        sample: so many of them, of as many contenders and problems as there are.
        seed: of the draw of the sample.
        spec: the spec that ran, to take functions from files of your own instead of the run's folder.
        yes: run also code that was not made here, without asking, as where no terminal is there.
    """
    from dlkit.bench import api
    from dlkit.bench.cli.consent import require_consent
    from dlkit.bench.spec.toml import load

    if sum((bool(trial), every, sample is not None)) != 1:
        raise UserError("name the trials to replay, or give --all or --sample N; `dlkit show RUN --trials` lists them")
    result, experiment = api.open_run(run), load(spec) if spec else None
    if experiment is None:
        require_consent(run, yes=yes)
    if trial:
        return _shown(result.replays(trial, experiment))
    replays = result.replays(experiment=experiment, sample=sample, seed=seed)
    records = result.summary.records
    total = len(records) if sample is None else min(sample, sum(each.outcome.counts for each in records.values()))
    if not total:
        raise UserError(f"{run}: there is no trial to replay; run its spec first")
    found = _Found()
    with _progress(total) as advance:
        for each in replays:
            found.add(each)
            advance(found)
    print("\n".join(map(visible, found.lines())))  # noqa: T201
    return found.code


def _shown(replays: "Iterator[Replay]") -> int:
    """Prints replays of trials that were named, as they come."""
    found = _Found()
    for each in replays:
        found.add(each)
        for name, (then, now) in each.program.items():
            print(f"program differs in {visible(name)}: {_short(then)} then, {_short(now)} now")  # noqa: T201
        for name, (then, now) in each.unpromised.items():
            if name not in each.program:
                print(visible(f"bits are not promised: {_why(name, then, now)}"))  # noqa: T201
        if each.diverged_at is not None:
            print(f"trial {each.trial}: diverged at step {each.diverged_at}")  # noqa: T201
        if each.exact:
            print(f"trial {each.trial}: every number matches, bit for bit", flush=True)  # noqa: T201
        for what, difference in each.largest.items():
            distance = _distance(difference, each.ulps[what])
            print(f"trial {each.trial}: {visible(what)} differs by up to {distance}")  # noqa: T201
    return found.code


class _Found:
    """What replays of many trials showed."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.largest: dict[str, tuple[float, float]] = {}  # what -> absolute difference, ULP
        self.reasons: Counter[str] = Counter()  # why bits are not promised
        self.failures: Counter[str] = Counter()
        self.named: list[str] = []

    def add(self, replay: "Replay") -> None:
        """Counts one."""
        kind = _kind(replay)
        self.kinds[kind] += 1
        if replay.failure:
            self.failures[replay.failure.replace(f"trial {replay.trial}", "a trial")] += 1
        for what, difference in replay.largest.items():
            before = self.largest.get(what, (0.0, 0.0))
            self.largest[what] = max(before[0], difference), max(before[1], replay.ulps[what])
        self.reasons.update(_why(name, then, now) for name, (then, now) in replay.unpromised.items())
        if kind in ("differs", "now"):
            self.named.append(replay.trial)

    @property
    def code(self) -> int:
        """How the command ends."""
        if self.kinds["differs"] + self.kinds["now"]:
            return DIFFERENT
        return NOT_PROMISED if self.kinds["not promised"] + self.kinds["here"] else 0

    def lines(self) -> Iterator[str]:
        """Says it."""
        total, exact = sum(self.kinds.values()), self.kinds["exact"]
        yield (
            f"{exact:,} of {total:,} trials match, bit for bit"
            if exact < total
            else (f"all {total:,} trials match, bit for bit" if total > 1 else "the trial matches, bit for bit")
        )
        said: Mapping[str, str] = {
            "differs": "differ, although the same bits are promised",
            "now": "raised now, although they ran then",
            "not promised": "differ, or raised now, where the same bits are not promised",
            "here": "cannot run here",
            "then": "have no numbers to compare",
        }
        yield from (f"{self.kinds[kind]:,} {words}" for kind, words in said.items() if self.kinds[kind])
        for what, (difference, ulps) in sorted(self.largest.items()):
            yield f"  {what}: by up to {_distance(difference, ulps)}"
        yield from (f"  {count:,} x {reason}" for reason, count in self.failures.most_common())
        if self.reasons:
            yield "bits are not promised:" if exact < total else "they match, although bits are not promised:"
            yield from (f"  {count:,} x {reason}" for reason, count in self.reasons.most_common())
        if self.named:
            more = f" and {len(self.named) - SHOWN:,} more" if len(self.named) > SHOWN else ""
            yield f"they are {', '.join(self.named[:SHOWN])}{more}"


def _kind(replay: "Replay") -> str:
    if replay.exact:
        return "exact"
    if replay.failed in ("then", "here"):
        return replay.failed
    return (replay.failed or "differs") if replay.is_promised else "not promised"


class _Line(NamedTuple):
    """A line of progress in a log, once a minute."""

    total: int
    since: list[float]

    def __call__(self, found: _Found) -> None:
        now, done = time.monotonic(), sum(found.kinds.values())
        if now - self.since[0] > MINUTE:
            self.since[0] = now
            print(f"replayed {done:,} of {self.total:,} trials, {found.kinds['exact']:,} exact", file=sys.stderr)  # noqa: T201


class _Bar(NamedTuple):
    """A bar of progress in a terminal."""

    progress: "Progress"

    def __call__(self, found: _Found) -> None:
        self.progress.update(self.progress.task_ids[0], advance=1, description=f"{found.kinds['exact']:,} exact")


@contextmanager
def _progress(total: int) -> "Iterator[_Line | _Bar]":
    """Shows on the standard error how far it has come."""
    if not sys.stderr.isatty():
        yield _Line(total, [time.monotonic()])
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task("replaying", total=total)
        yield _Bar(progress)


def _distance(difference: float, ulps: float) -> str:
    return f"{difference:g}, {ulps:,.0f} ULP" if ulps < float("inf") else f"{difference:g}"


def _why(name: str, then: str, now: str) -> str:
    """Says in which field two programs differ, or what of it is not known."""
    from dlkit.bench.store.software import differences

    if then == now:
        return f"{name} is not known, then and now"
    if name == "cpu_flags":
        before, after = set(then.split()), set(now.split())
        less, more = (" ".join(sorted(each)) or "nothing" for each in (before - after, after - before))
        return f"instruction sets: {_short(less)} then only, {_short(more)} now only"
    return differences({name: then}, {name: now}) or f"{name}: {_short(then)} then, {_short(now)} now"


def _short(value: str) -> str:
    shown = visible(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
