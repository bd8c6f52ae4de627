"""Whole runs until settled, trials drawn instead of trained: how often equals are told apart, and what certainty costs.

    python -m benchmarks.settled_runs 200

Everything but training is real: points, tuning, rounds of added studies or seeds, tables, verdict. `settled` has runner
and store between them; `judged` comes to the same without, several times as fast.
"""

import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optax

from dlkit.bench.analysis import settling
from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.progress import Listener, Silent
from dlkit.bench.execution.work import Done, Task, Work
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.machine.preparation import bound_threads
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import BoundPlan
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune

__all__ = ["Drawing", "Drawn", "Setting", "bound_plan_of_names", "judged", "rates", "settled"]

PROBLEM = PlannedProblem(
    "quadratic", {"error": Metric("lower", "linear", "error")}, "error", 0.1, 40, 8, "d" * 16, "drawn", False, "drawn"
)
with bound_threads():  # as a run has them, whatever loaded NumPy before
    PROGRAM = program_identity()
NOISE: dict[str, Callable[[np.random.Generator], float]] = {
    "normal": lambda rng: float(rng.normal()),
    "lognormal": lambda rng: float(rng.lognormal()),
    "Student t(2)": lambda rng: float(rng.standard_t(2)),
}


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        contenders: how many.
        noise: which distribution a seed has for all contenders, and each trial for itself.
        gap: how much worse the last contender is, in the latter's units.
        points: tuning points of each study; with one, nothing is tuned.
        studies: of the plan; with one, seeds are added to it.
        seeds: fresh ones of each study.
        most: studies, or with one study, seeds.
        margin: as of a run.
    """

    contenders: int = 2
    noise: str = "normal"
    gap: float = 0.0
    points: int = 1
    studies: int = 1
    seeds: int = 10
    most: int = 40
    margin: float | None = None


@dataclass(frozen=True)
class Drawing:
    """Draws what a trial ends at: the same whenever and wherever it runs."""

    setting: Setting
    study: int

    def outcome(self, trial: Trial) -> Outcome:
        """The outcome of a trial: a shallow bowl over the learning rate, what its seed has, and what it has alone."""
        draw = NOISE[self.setting.noise]
        shared = draw(np.random.default_rng([self.study, zlib.crc32(trial.stage.encode()), trial.seed]))
        facts = [trial.identity["optimizer"]["static"]["name"], trial.stage, trial.seed, dict(trial.hyperparameters)]
        own = draw(np.random.default_rng([self.study, zlib.crc32(canonical(facts).encode())]))
        is_last = trial.identity["optimizer"]["static"]["name"] == f"name {self.setting.contenders - 1}"
        off = np.log10(trial.hyperparameters["learning_rate"]) + 2
        value = 0.3 * off**2 + shared + own + (self.setting.gap if is_last else 0.0)
        curves = {"error": np.array([9.0, value], np.float32)}
        steps = np.array([0, PROBLEM.steps])
        ended = (trial, "finished", "", "", None, 0.0, 0.0)
        return Outcome(*ended, steps, curves, {"error": value}, Evaluations(PROBLEM.steps))


class Drawn:
    """An executor that draws."""

    slots = 2
    vacant = ()
    program = None

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._waiting: deque[tuple[int, Work]] = deque()

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the work."""
        assert isinstance(work, Work)
        self._waiting.append((slot, work))

    def next(self) -> tuple[int, Done]:
        """Draws the outcomes of the work that has waited longest."""
        slot, work = self._waiting.popleft()
        return slot, Done(tuple(map(self._drawing.outcome, work.trials)), PROGRAM)

    def close(self) -> None:
        """Nothing to end."""


def bound_plan_of_names(setting: Setting, **budget: Any) -> BoundPlan:
    """One optimizer under several names, as the planner sees it; what they compute is never run."""

    def build(learning_rate: Any, name: str) -> Any:
        return optax.sgd(learning_rate)

    def named(name: str) -> Contender:
        return Contender(optimizer=Optimizer(name, build, space, static={"name": [name]}))

    space: Mapping[str, Any] = {"learning_rate": 0.01 if setting.points == 1 else log_uniform(1e-4, 1.0)}
    entries = [named(f"name {place}") for place in range(setting.contenders)]
    counts = {"tuning_points": setting.points, "tuning_seeds": 1, "seeds": setting.seeds, "studies": setting.studies}
    given = {**counts, **budget}
    asked = Experiment(
        name="settled",
        problems=(ProblemChoice(problem="quadratic"),),
        optimizers=tuple(entries),
        budget=Budget(steps=40, evaluations=1, **given),
    )
    made = planner.plan(asked)
    problem = replace(PROBLEM, margin=setting.margin)
    limit = {"max_studies" if made.plan.repeats_tuning else "max_seeds": setting.most}
    return replace(made, plan=replace(made.plan, problems=[problem], **limit))


def settled(
    study: BoundPlan, drawing: Drawing, *, store: Store | None = None, progress: Listener | None = None
) -> Comparison:
    """Runs a study until it is settled; returns what it says."""
    with store or Store(None) as opened:
        runner.run(study, opened, lambda: Drawn(drawing), progress or Silent(), trust=True)
        return summarize(opened).comparisons[0]


def judged(study: BoundPlan, drawing: Drawing) -> Comparison:
    """What `settled` comes to, of a study whose tuning points are known before it runs."""
    plan = study.plan
    (problem,) = plan.problems  # with the margin
    history = History(plan)
    while True:
        for contender in plan.contenders:
            for study_number in plan.studies(problem, contender):
                trials = [trial for row in plan.tuning_trials(problem, contender, study=study_number) for trial in row]
                history.add(drawing.outcome(trial) for trial in trials if trial.id not in history.outcomes)
                point = tune(history, problem, contender, study=study_number).point
                finals = history.final_trials(problem, contender, point, study=study_number) if point else ()
                history.add(drawing.outcome(trial) for trial in finals if trial.id not in history.outcomes)
        addition = settling.more_blocks(history)
        if addition is None:
            return compare_on(history, problem)
        plan, history = addition.plan, history.with_plan(addition.plan)


def rates(setting: Setting, runs: int, *, first: int = 0) -> dict[str, float]:
    """How often contenders are told apart, and called the same, and how many studies or seeds a contender takes.

    Args:
        setting: what is simulated.
        runs: how many.
        first: number of the first; others are other draws.

    Returns:
        Shares of runs that call anyone better than another; that call the first best; that settle within the margin;
        and the mean number of studies, or with one, of seeds, of a contender.
    """
    study = bound_plan_of_names(setting)
    counts = dict.fromkeys(("told apart", "first is best", "within margin"), 0)
    blocks = 0.0
    for number in range(first, first + runs):
        found = judged(study, Drawing(setting, number))
        verdict = found.verdict
        counts["told apart"] += verdict.kind == "unsettled" or len(verdict.best) < setting.contenders
        counts["first is best"] += verdict.best == ("name 0",)
        counts["within margin"] += "lies within" in verdict.sentence
        blocks += sum(len(each.blocks) for each in found.results) / len(found.results)
    return {name: count / runs for name, count in counts.items()} | {"blocks": blocks / runs}


METHODS = {"studies": 10, "points": 4, "seeds": 2}  # the default budget; the others are about settings
EQUALS = {
    **{f"2 equals, {noise}": Setting(noise=noise) for noise in NOISE},
    "4 equals, normal": Setting(contenders=4),
    "2 equal methods": Setting(**METHODS),
    "4 equal methods": Setting(contenders=4, **METHODS),
    "2 equals, margin 1 sd": Setting(margin=1.0),
}
DIFFERENT = {
    **{f"2, gap {gap} sd": Setting(gap=gap) for gap in (0.5, 1.0, 2.0)},
    "4, the last worse by 2 sd": Setting(contenders=4, gap=2.0),
    "2 methods, gap 1 sd": Setting(gap=1.0, **METHODS),
    "2, gap of the margin, 1 sd": Setting(gap=1.0, margin=1.0),
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    start = time.perf_counter()
    for title, settings in (("equal contenders", EQUALS), ("different contenders", DIFFERENT)):
        print(f"| {title} | told apart | first is best | within margin | mean blocks |\n|---|---|---|---|---|")
        for name, setting in settings.items():
            found = rates(setting, runs)
            *shares, blocks = found.values()
            cells = [f"{100 * share:.1f} %" for share in shares] + [f"{blocks:.0f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"{runs} runs each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
