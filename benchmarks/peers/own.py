"""dlkit's trainer, as its workers call it: segments and host loop, data order, start, final metrics and all."""

from benchmarks.peers.tasks import VALUES, Task
from benchmarks.peers.timing import Loop
from dlkit.bench import optimizers
from dlkit.bench.training.curve import Request
from dlkit.bench.training.lanes import ALONE, Lanes
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trials


def loop(task: Task, lanes: Lanes = ALONE) -> Loop:
    """One trial, or as many as there are lanes."""
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=task.steps, evaluations=task.evaluations)
    program = compile_program(compile_problem(task.problem, lanes), recipe)
    requests = [Request(VALUES, "final", seed) for seed in range(lanes.trials)]

    def run() -> float:
        return float(train_trials(program, requests)[0].curves[task.metric][-1])

    return Loop(run, task.parameters, lanes.trials)
