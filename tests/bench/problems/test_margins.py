"""Every problem under the core first-order optimizers beats its trivial score by its margin in its default budget."""

import time

import numpy as np
import pytest

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.problems import ENTRIES, catalog
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

# Learning rates that are tried one after the other until the margin is reached; the other hyperparameters are fixed.
ADAPTIVE = (3e-3, 1e-2, 3e-2, 0.1)
DESCENT = (0.1, 0.3, 1.0, 3.0, 0.03, 0.01, 3e-3, 1e-3)
CORE: dict[str, tuple[tuple[float, ...], dict[str, float]]] = {
    "sgd": (DESCENT, {}),
    "momentum": (DESCENT, {"momentum": 0.9}),
    "nesterov": (DESCENT, {"momentum": 0.9}),
    "adagrad": ((0.1, 0.3, 0.03, 0.01), {}),
    "rmsprop": (ADAPTIVE, {"decay": 0.99}),
    "adam": (ADAPTIVE, {"b1": 0.9, "b2": 0.999}),
    "adamw": (ADAPTIVE, {"b1": 0.9, "b2": 0.999, "weight_decay": 1e-3}),
}
# Games are not won by descending: by problem, what was made for them, or what is used for them.
ADAM = {"b1": 0.5, "b2": 0.99}
GAMES: dict[str, dict[str, tuple[tuple[float, ...], dict[str, float]]]] = {
    "bilinear-game": {
        "optimistic_gradient_descent": ((0.3, 0.1), {}),
        "sgd+extragradient": ((0.5, 0.3), {}),
    },
    "ring-gan": {"adam": ((3e-3, 1e-3), ADAM), "adam+ema": ((3e-3, 1e-3), {**ADAM, "decay": 0.99})},
    "digits-gan": {"adam+ema": ((1e-3,), {**ADAM, "decay": 0.999})},
}
SAMPLE = [
    ("saddle", "momentum"),
    ("lasso", "sgd"),
    ("hinge-svm", "rmsprop"),
    ("wine-mlp", "adam"),
    ("bilinear-game", "sgd+extragradient"),
]
CHOSEN = [(problem, optimizer) for problem in ENTRIES if problem not in GAMES for optimizer in CORE]
CHOSEN += [(problem, optimizer) for problem, contenders in GAMES.items() for optimizer in contenders]


def best_margin(problem_name: str, optimizer_name: str) -> None:
    """Trains with one rate after the other, and prints what came out."""
    problem = catalog.get(problem_name)
    rates, others = GAMES.get(problem_name, CORE)[optimizer_name]
    program = compile_program(
        compile_problem(problem),
        Recipe(optimizer=optimizers.get(optimizer_name), steps=problem.steps, evaluations=10),
    )
    began, scores = time.perf_counter(), {}
    for rate in rates:
        trajectory = train_trial(program, {"learning_rate": rate, **others}, stage="tuning", seed=0)
        if trajectory.status == "finished":
            scores[rate] = float(trajectory.curves[problem.metric][-1])
            if problem.over_trivial(scores[rate]) >= problem.margin:
                break
    sign = 1 if problem.judged.higher_is_better else -1
    rate = max(scores, key=lambda each: sign * scores[each])
    over = problem.over_trivial(scores[rate])
    print(
        f"| {problem_name} | {optimizer_name} | {rate:g} | {scores[rate]:.4g} | {problem.trivial:.4g} | "
        f"{over:.3g} of {problem.margin:g} | {time.perf_counter() - began:.1f} |"
    )
    assert np.isfinite(scores[rate])
    assert over >= problem.margin, scores


@pytest.mark.long
@pytest.mark.parametrize(("problem", "optimizer"), SAMPLE)
def test_a_sample_beats_what_is_trivial(problem: str, optimizer: str) -> None:
    best_margin(problem, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "optimizer"), [each for each in CHOSEN if ENTRIES[each[0]].needs != "choice path"])
def test_every_problem_beats_what_is_trivial(problem: str, optimizer: str) -> None:
    try:
        catalog.get(problem)
    except UserError as error:
        pytest.skip(str(error))
    best_margin(problem, optimizer)
