"""A replay runs a stored trial again and compares every number, bit for bit."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.execution.bit_comparison import Replay, compared, raised_again, without_replay
from dlkit.bench.execution.executor import Executor, Lost, answer_of
from dlkit.bench.execution.own_code import owners_in, require_this_python, whose
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.replay_tasks import Again, WithThreads, group_of, point_of
from dlkit.bench.execution.step_times import as_stored
from dlkit.bench.execution.work import Done, Task, Work, run_work
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.machine.preparation import bound_threads, prepare_process
from dlkit.bench.plan.json import to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec.bound_plan import BoundPlan, bind
from dlkit.bench.store.kept_code import About
from dlkit.bench.store.models import ModelFile, PackedModel, every_model, read_model
from dlkit.bench.store.store import Store
from dlkit.bench.training.lanes import Lanes, on_accelerator

__all__ = ["chosen", "in_groups", "ran_again", "replays"]


def replays(
    summary: Summary,
    names: Iterable[str],
    bound: BoundPlan | None = None,
    folder: Path | None = None,
    *,
    tolerant: bool = False,
) -> Iterator[Replay]:
    """Runs trials again, at the width and with the threads they had, and compares every number.

    Trials of code that is at hand, or registered, run in this process. Of code that the run folder keeps, they run in a
    process of their own, which is started once and only then opens what was kept; whose code it is, is said before.

    Args:
        summary: of the run that they belong to.
        names: their ids.
        bound: the functions that ran; None to find them again by name, or in the folder.
        folder: the run folder; None for a run in memory.
        tolerant: whether a trial that cannot run again is said to be so, and the others go on.

    Yields:
        The comparisons, in this order.

    Raises:
        UserError: unless `tolerant`, for a trial that failed, or one's own functions that are nowhere or compute
            something else.
    """
    models = {} if folder is None else {each.trial: each for each in every_model(folder)}
    with _Again(summary, bound, folder) as again:
        for name in names:
            outcome, then = summary.records[name]
            about = models.get(name)
            try:
                done = again.run(name, hands_over=about is not None)
                kept = _model(folder, about)
                failed_now = tolerant and not done.outcomes[0].counts
                shown = raised_again(outcome, then, done) if failed_now else compared(outcome, then, done, kept)
            except UserError as error:
                if not tolerant:
                    raise
                shown = without_replay(outcome, str(error), "here" if _has_numbers(outcome) else "then")
            yield shown


def _model(folder: Path | None, about: ModelFile | None) -> PackedModel | None:
    return None if about is None or folder is None else PackedModel(read_model(folder, about), about.structure)


def chosen(summary: Summary, sample: int | None = None, seed: int = 0) -> list[str]:
    """Returns the ids of a run's trials to replay, in the order in which each program is compiled once.

    Args:
        summary: of the run.
        sample: how many of those that ran; they are drawn in turn from each contender on each problem, so that as many
            as there are of these have one of everybody's. None for every trial, failed ones among them.
        seed: of the draw.
    """
    if sample is None:
        return in_groups(summary, summary.records)
    rng = random.Random(seed)
    by_cell: dict[str, list[str]] = {}
    for name, (outcome, _) in sorted(summary.records.items()):
        if outcome.counts:
            by_cell.setdefault(_cell(outcome.trial), []).append(name)
    cells = [by_cell[cell] for cell in sorted(by_cell)]
    rng.shuffle(cells)
    for each in cells:
        rng.shuffle(each)
    turns = (name for turn in itertools.zip_longest(*cells) for name in turn if name is not None)
    return in_groups(summary, itertools.islice(turns, sample))


def in_groups(summary: Summary, names: Iterable[str]) -> list[str]:
    """Returns ids of trials, those of one program after another: a program is compiled once."""

    def place(name: str) -> tuple[str, ...]:
        (outcome, then), trial = summary.records[name], summary.records[name].outcome.trial
        compiled = canonical(dict(trial.identity["optimizer"]["static"])), str(trial.stage == "final")
        return then.get("threads", ""), then.get("lanes", ""), _cell(outcome.trial), *compiled, name

    return sorted(names, key=place)


def _cell(trial: Trial) -> str:
    """Tells trials of one contender on one problem from others."""
    facts = trial.identity
    method = [facts["optimizer"]["name"], facts["schedule"], facts["early_stopping"], list(trial.program)]
    return canonical([facts["problem"], method])


def ran_again(
    summary: Summary,
    names: Iterable[str],
    bound: BoundPlan | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[Outcome, Mapping[str, str], Done]]:
    """Runs trials again, as `replays` does, and yields what is stored, of which program, and what came back.

    The models that they end with are handed over.

    Args:
        summary: of the run that they belong to.
        names: their ids.
        bound: the functions that ran; None to find them again by name, or in the folder.
        folder: the run folder; None for a run in memory.
    """
    with _Again(summary, bound, folder) as again:
        for name in names:
            yield *summary.records[name], again.run(name, hands_over=True)


class _Again:
    """Runs a run's trials again: it keeps what it found, and the processes that it started, until it ends."""

    def __init__(self, summary: Summary, bound: BoundPlan | None, folder: Path | None) -> None:
        self._summary, self._folder = summary, folder
        self._at_hand = as_stored(bound, summary.plan) if bound else None
        self._plan = self._at_hand.plan if self._at_hand else summary.plan
        self._kept = _kept(summary, folder) if bound is None else []
        self._told: set[str] = set()
        self._processes: dict[int, Executor] = {}  # by threads: a process has as many as it starts with
        self._bound: dict[tuple[str, str, bool], tuple[Plan, BoundPlan | None]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "_Again":
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def run(self, name: str, *, hands_over: bool) -> Done:
        """Runs a trial again.

        Args:
            name: its id.
            hands_over: whether the model that it ends with is returned, too.

        Raises:
            KeyboardInterrupt: if Ctrl-C came.
        """
        with bound_threads():
            done = self._run(name, hands_over=hands_over)
        if not done.outcomes:
            raise KeyboardInterrupt
        return done

    def _run(self, name: str, *, hands_over: bool) -> Done:
        outcome, then = self._summary.records[name]
        trial = _to_run(outcome)
        lanes, threads = Lanes.parse(then["lanes"]), int(then["threads"])
        alone, bound = self._alone(outcome.trial)
        own = owners_in(alone)
        if self._kept and own and self._folder is not None:
            new = [each for each in self._kept if each.owner in own and each.owner not in self._told]
            _say_whose(new, self._folder)
            self._told.update(own)
            again = Again(self._folder, self._summary.plan.digest, to_json(alone), outcome.trial, trial, lanes, threads)
            sampled = outcome.samples is not None
            return _answer(self._process(threads), again._replace(hands_over=hands_over, is_sampled=sampled))
        group = group_of(bound or bind(alone), alone, outcome.trial)
        seed = trial.seed if outcome.samples is not None else None
        work = Work(group, (trial,), lanes=lanes, hands_over=hands_over, sampled_seed=seed)
        if on_accelerator() or prepare_process(threads)["threads"] == str(threads):
            return _run_here(work, threads)
        return _answer(self._process(threads), WithThreads(work, threads))

    def _alone(self, trial: Trial) -> tuple[Plan, BoundPlan | None]:
        """The plan with nothing that a trial is not of, and its functions; None where the folder keeps them."""
        problem, contender = self._cell(trial)
        key = (problem.name, contender.label, trial.stage == "final")
        if key not in self._bound:
            alone = replace(
                self._plan,
                problems=[problem],
                contenders=[contender],
                probes=self._plan.probes if trial.stage == "final" else {},
            )
            is_kept = bool(self._kept and owners_in(alone))
            self._bound[key] = alone, self._at_hand or (None if is_kept else bind(alone))
        return self._bound[key]

    def _cell(self, trial: Trial) -> tuple[PlannedProblem, PlannedContender]:
        """The contender that a trial is of, and the problem.

        Raises:
            UserError: if no contender would have a trial of this id.
        """
        point, name = point_of(trial), trial.identity["optimizer"]["name"]
        for problem, contender in self._plan.cells:
            might = problem.name == trial.identity["problem"]["name"] and name == (
                "" if contender.is_own else contender.optimizer
            )
            if (
                might
                and self._plan.trial(problem, contender, point, trial.stage, trial.seed, trial.until).id == trial.id
            ):
                return problem, contender
        raise UserError(f"trial {trial.id} is not one of this spec's; run its spec again, then replay it")

    def _process(self, threads: int) -> Executor:
        """The process for trials of so many threads; it is started if there is none."""
        if threads not in self._processes:
            self._processes[threads] = ProcessExecutor(workers=1)
            self._stack.callback(self._processes[threads].close)
        return self._processes[threads]


def _to_run(outcome: Outcome) -> Trial:
    """A stored trial, as it runs again.

    Raises:
        UserError: if there is nothing to compare it with.
    """
    trial = outcome.trial
    if not outcome.counts:
        raise UserError(f"trial {trial.id} did not run: {outcome.reason}")
    if not _has_numbers(outcome):
        raise UserError(f"trial {trial.id} was cut off before its first evaluation: there is nothing to compare")
    if outcome.status != "cut off":
        return trial
    until = len(outcome.steps) - 1  # by a clock that will not say the same again
    return trial._replace(identity={**trial.identity, "seconds": None, "until": until})


def _has_numbers(outcome: Outcome) -> bool:
    return outcome.counts and (outcome.status != "cut off" or len(outcome.steps) > 1)


def _kept(summary: Summary, folder: Path | None) -> list[About]:
    if folder is None:
        return []
    with Store(folder, write=False) as store:
        return store.about_code(summary.plan.digest)


def _say_whose(kept: Sequence[About], folder: Path) -> None:
    """Says whose code runs from now on; refuses what this Python cannot open."""
    for each in kept:
        require_this_python(each)
    if kept:
        say(f"running code that {folder} has kept since {min(each.kept_at for each in kept)}: {whose(kept)}")


def _run_here(work: Work, threads: int) -> Done:
    """Runs work in this process. Ctrl-C ends it, though an executor that was started for other trials listens, too."""
    with first_interrupt(_interrupt):
        return run_work(work, threads=threads)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _answer(executor: Executor, task: Task) -> Done:
    """Runs a task on an executor.

    Raises:
        UserError: if its worker returned nothing.
    """
    done = answer_of(executor, task)
    if isinstance(done, UserError):
        raise done
    if isinstance(done, Lost):
        raise UserError(f"its worker {done.reason}")
    assert isinstance(done, Done)
    return done
