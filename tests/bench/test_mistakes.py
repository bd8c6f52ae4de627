"""Typical mistakes, in Python and in a spec: each message names the thing and says what to write."""

import dataclasses
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import dlkit
from dlkit import bench
from dlkit.bench import cli

BUDGET = bench.Budget(steps=20, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)
SHORT = "{steps = 20, evaluations = 2, studies = 1, tuning_points = 2, tuning_seeds = 1, seeds = 2}"
LONGEST = 420  # characters of a message: two sentences, and what was given
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)).astype(np.float32), (np.arange(60) % 3).astype(np.int32)
DATA = bench.split("mine", {"inputs": X, "targets": Y})
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


class Mistake(NamedTuple):
    """One that people make.

    Attributes:
        words: what the message says, of the thing and of the fix.
        python: makes it; None where it cannot be made there.
        toml: the lines of a spec that make it, in place of a right spec's; None where it cannot be made there.
        error: what is raised.
    """

    words: tuple[str, ...]
    python: Callable[[], Any] | None = None
    toml: Mapping[str, str] | None = None
    error: type[Exception] = bench.UserError


def compare(**given: Any) -> Any:
    right: dict[str, Any] = {"problems": ["quadratic"], "optimizers": ["sgd"], "budget": BUDGET, "progress": False}
    return bench.compare(**{**right, **given}, executor="inline")


def adam(**space: Any) -> Any:
    return compare(optimizers=[bench.Contender(optimizer="adam", space=space)])


def in_toml(space: str, optimizer: str = "adam") -> Mapping[str, str]:
    return {"optimizers": f'[{{optimizer = "{optimizer}", space = {{{space}}}}}]'}


def of_loss(loss: Any, **changes: Any) -> Any:
    return compare(problems=[problem(loss=loss, **changes)])


def mean_loss(params: Any, batch: Any) -> Any:
    return CROSS_ENTROPY(batch["inputs"] @ params, batch["targets"]).mean()


def problem(**changes: Any) -> Any:
    right: dict[str, Any] = {
        "name": "mine",
        "init": lambda key: (0.1 * jax.random.normal(key, (4, 3)), None),
        "loss": lambda params, state, batch, key: (mean_loss(params, batch), state),
        "evaluate": lambda params, state, batch: {
            "accuracy": (jnp.argmax(batch["inputs"] @ params, -1) == batch["targets"]).mean()
        },
        "dataset": DATA,
        "metrics": {"accuracy": bench.Metric("higher", least=0, most=1)},
        "batch_size": 8,
        "steps": 20,
    }
    return bench.Problem(**{**right, **changes})


def branching(params: Any, state: Any, batch: Any, key: Any) -> Any:
    found = mean_loss(params, batch)
    if found > 1:
        found = found / 2
    return found, state


def in_place(params: Any, state: Any, batch: Any, key: Any) -> Any:
    batch["inputs"][0] = 0
    return mean_loss(params, batch), state


def optimizer(build: Any, **space: Any) -> Any:
    return bench.Optimizer("mine", build, space or {"learning_rate": bench.log_uniform(1e-3, 1.0)})


class Sequential:
    """Stands for a model of torch."""


Sequential.__module__ = "torch.nn.modules.container"


MISTAKES: dict[str, Mistake] = {
    # optimizers
    "a misspelled optimizer": Mistake(
        ("no optimizer 'adm'", "did you mean 'adam'?"),
        lambda: compare(optimizers=["adm"]),
        {"optimizers": '["adm"]'},
    ),
    "another library's capitals": Mistake(
        ("no optimizer 'AdamW'", "did you mean 'adamw'?"),
        lambda: compare(optimizers=["AdamW"]),
        {"optimizers": '["AdamW"]'},
    ),
    "one optimizer without a list": Mistake(
        ("optimizers", "list", "'adam'", "write"),
        lambda: compare(optimizers="adam"),
        {"optimizers": '"adam"'},
    ),
    "a set of optimizers": Mistake(
        ("optimizers", "order", "write optimizers=['adam', 'sgd']"), lambda: compare(optimizers={"adam", "sgd"})
    ),
    "a generator of optimizers": Mistake(
        ("optimizers", "write optimizers=list(...)"), lambda: compare(optimizers=(name for name in ["adam"]))
    ),
    "a dictionary of optimizers": Mistake(
        ("optimizers", "list", "write optimizers=['adam']"),
        lambda: compare(optimizers={"adam": optax.adam}),
    ),
    "no optimizers": Mistake(
        ("optimizers: the list is empty", "name at least one"),
        lambda: compare(optimizers=[]),
        {"optimizers": "[]"},
    ),
    "an optimizer that is built": Mistake(
        ("GradientTransformation", "built", "such as optax.adam", "bench.Optimizer('mine'"),
        lambda: compare(optimizers=[optax.adam(1e-3)]),
    ),
    "a function of optax that is registered with more": Mistake(
        ("noisy_sgd", "write 'noisy_sgd'"), lambda: compare(optimizers=[optax.noisy_sgd])
    ),
    "a function without a space": Mistake(
        ("a lambda", "bench.Optimizer('mine', build, {'lr': bench.log_uniform(1e-4, 1.0)})"),
        lambda: compare(optimizers=[lambda lr: optax.adam(lr)]),
    ),
    "the class of optimizers": Mistake(
        ("the class Optimizer", "bench.Optimizer(name, build, space)"), lambda: compare(optimizers=[bench.Optimizer])
    ),
    "no optimizer at all": Mistake(
        ("optimizer", "None", "dlkit list optimizers"),
        lambda: compare(optimizers=[None]),
    ),
    "an optimizer of torch": Mistake(
        ("torch does not train here", "write 'adam'"), lambda: compare(optimizers=[Sequential()])
    ),
    "the same optimizer twice": Mistake(
        ("optimizers: 'adam' is there more than once", "label of its own"),
        lambda: compare(optimizers=["adam", "adam"]),
        {"optimizers": '["adam", "adam"]'},
    ),
    "lr in a space": Mistake(
        ("optimizer 'adam': no hyperparameter 'lr'", "did you mean 'learning_rate'?"),
        lambda: adam(lr=1e-3),
        in_toml("lr = 0.001"),
    ),
    "wd in a space": Mistake(
        ("no hyperparameter 'wd'", "did you mean 'weight_decay'?"),
        lambda: compare(optimizers=[bench.Contender(optimizer="adamw", space={"wd": 0.1})]),
        in_toml("wd = 0.1", "adamw"),
    ),
    "beta1 in a space": Mistake(
        ("no hyperparameter 'beta1'", "did you mean 'b1'?"), lambda: adam(beta1=0.9), in_toml("beta1 = 0.9")
    ),
    "a hyperparameter beside the space": Mistake(
        ("lr'", "hyperparameters stand in its space", "learning_rate"),
        lambda: bench.Contender(optimizer="adam", lr=1e-3),  # type: ignore[call-arg]
        {"optimizers": '[{optimizer = "adam", lr = 0.001}]'},
    ),
    "a hyperparameter beside the optimizers": Mistake(
        ("'lr'", "hyperparameters stand in the space of an optimizer", "learning_rate"),
        lambda: compare(lr=1e-3),
        {"lr": "0.001"},
    ),
    "a hyperparameter in the budget": Mistake(
        ("lr'", "hyperparameters stand in the space of an optimizer"),
        lambda: bench.Budget(lr=1e-3),  # type: ignore[call-arg]
        {"budget": "{lr = 0.001}"},
    ),
    "a hyperparameter as a factor": Mistake(
        ("factors.lr", "tuned, not crossed", "'learning_rate' in its space"),
        lambda: compare(factors={"lr": [0.1, 0.2]}),
        {"factors": "{lr = [0.1, 0.2]}"},
    ),
    "a reversed range": Mistake(
        ("'learning_rate'", "low < high", "write [0.001, 0.1]"),
        lambda: adam(learning_rate=[0.1, 0.001]),
        in_toml("learning_rate = [0.1, 0.001]"),
    ),
    "a range of one number": Mistake(
        ("'learning_rate'", "write 0.1 alone"),
        lambda: adam(learning_rate=[0.1, 0.1]),
        in_toml("learning_rate = [0.1, 0.1]"),
    ),
    "a logarithmic range from 0": Mistake(
        ("'learning_rate'", "low > 0", "write [1e-05, 0.01], or the scale 'linear'"),
        lambda: adam(learning_rate=[0, 0.01]),
        in_toml("learning_rate = [0, 0.01]"),
    ),
    "a negative learning rate": Mistake(
        ("'learning_rate'", "must not be negative", "-0.1"),
        lambda: adam(learning_rate=-0.1),
        in_toml("learning_rate = -0.1"),
    ),
    "a text in place of a number": Mistake(
        ("'learning_rate'", "'1e-3'", "write 1e-3 without quotes"),
        lambda: adam(learning_rate="1e-3"),
        in_toml('learning_rate = "1e-3"'),
    ),
    "a grid in place of a range": Mistake(
        ("'learning_rate'", "[low, high]", "write [0.001, 0.1]"),
        lambda: adam(learning_rate=[0.001, 0.01, 0.1]),
        in_toml("learning_rate = [0.001, 0.01, 0.1]"),
    ),
    "a misspelled scale": Mistake(
        ("'learning_rate'", "no scale 'lgo'", "did you mean 'log'?"),
        lambda: adam(learning_rate=[0.001, 0.1, "lgo"]),
        in_toml('learning_rate = [0.001, 0.1, "lgo"]'),
    ),
    "a space that is a list": Mistake(
        ("'adam'", "space", "{'learning_rate': [1e-4, 1e-1]}"),
        lambda: bench.Contender(optimizer="adam", space=[0.1]),  # type: ignore[arg-type]
    ),
    "a static choice that is none": Mistake(
        ("'adam'", "no static choice 'nesterov'", "there are none"),
        lambda: compare(optimizers=[bench.Contender(optimizer="adam", static={"nesterov": [1]})]),
        {"optimizers": '[{optimizer = "adam", static = {nesterov = [1]}}]'},
    ),
    "bounds in place of a range": Mistake(
        ("'mine'", "space['learning_rate']", "bench.log_uniform(0.001, 0.1)"),
        lambda: optimizer(optax.sgd, learning_rate=(0.001, 0.1)),
    ),
    "a name that build does not take": Mistake(
        ("'mine'", "takes no 'lr'", "did you mean 'learning_rate'?"),
        lambda: optimizer(optax.adam, lr=bench.log_uniform(0.001, 0.1)),
    ),
    "a setting that build is not given": Mistake(
        ("'mine'", "build needs 'beta'", "in the space"),
        lambda: optimizer(lambda learning_rate, beta: optax.sgd(learning_rate, beta)),
    ),
    "an optimizer made of what is built": Mistake(
        ("'mine'", "built already", "give the function"), lambda: optimizer(optax.adam(1e-3))
    ),
    "traced and static": Mistake(
        ("'mine'", "['learning_rate']", "leave one of them out"),
        lambda: bench.Optimizer("mine", optax.sgd, {"learning_rate": 1.0}, static={"learning_rate": [1]}),
    ),
    "an optimizer without a space": Mistake(
        ("bench.Optimizer needs 'space'", "bench.Optimizer(name, build, space)"),
        lambda: bench.Optimizer("mine", optax.sgd),  # type: ignore[call-arg]
    ),
    "a misspelled schedule": Mistake(
        ("no schedule 'cosin'", "did you mean 'cosine'?"),
        lambda: compare(optimizers=[bench.Contender(optimizer="adam", schedule="cosin")]),
        {"optimizers": '[{optimizer = "adam", schedule = "cosin"}]'},
    ),
    "a schedule of optax": Mistake(
        ("optimizer 'adam', schedule", "a name such as 'cosine'", "dlkit list schedules"),
        lambda: compare(
            optimizers=[bench.Contender(optimizer="adam", schedule=optax.cosine_decay_schedule(1.0, 10))]  # type: ignore[arg-type]
        ),
    ),
    "a schedule for what has no learning rate": Mistake(
        ("'mine'", "no 'learning_rate'", "the schedule 'constant'"),
        lambda: compare(
            optimizers=[
                bench.Contender(
                    optimizer=optimizer(lambda b: optax.scale(-b), b=bench.log_uniform(0.01, 1.0)), schedule="cosine"
                )
            ]
        ),
    ),
    # problems and data
    "a misspelled problem": Mistake(
        ("no problem 'quadratc'", "did you mean 'quadratic'?"),
        lambda: compare(problems=["quadratc"]),
        {"problems": '["quadratc"]'},
    ),
    "one problem without a list": Mistake(
        ("problems", "list", "'quadratic'", "write"),
        lambda: compare(problems="quadratic"),
        {"problems": '"quadratic"'},
    ),
    "a dictionary of problems": Mistake(
        ("problems", "list", "write problems=['a']"), lambda: compare(problems={"a": "quadratic"})
    ),
    "arrays as problems": Mistake(
        ("an array of shape (60, 4)", "bench.dataset((X, y))"), lambda: compare(problems=(X, Y))
    ),
    "a pair as a problem": Mistake(("a tuple of 2", "bench.dataset((X, y))"), lambda: compare(problems=[(X, Y)])),
    "data beside the problems": Mistake(
        ("'data'", "data are part of a problem"), lambda: compare(data=(X, Y)), {"data": '"my.csv"'}
    ),
    "a file of data as a problem": Mistake(
        ("'my.csv' is data", "bench.dataset('my.csv', target=...)"),
        lambda: compare(problems=["my.csv"]),
        {"problems": '["my.csv"]'},
    ),
    "a spec as a problem": Mistake(
        ("'spec.toml' is a spec", "bench.load('spec.toml')"), lambda: bench.check("spec.toml")
    ),
    "a model of torch": Mistake(
        ("torch", "not traced by JAX", "bench.problem_from_flax"), lambda: compare(problems=[Sequential()])
    ),
    "a flax module as a problem": Mistake(
        ("a Dense", "bench.problem_from_flax(model, dataset, loss)"),
        lambda: compare(problems=[linen.Dense(3)]),
    ),
    "a module's class": Mistake(
        ("the class Dense", "make an instance: Dense(...)"),
        lambda: bench.problem_from_flax(linen.Dense, DATA, CROSS_ENTROPY, batch_size=8),
    ),
    "a pair as a dataset": Mistake(
        ("dataset must be a bench.Dataset", "a tuple", "bench.dataset((X, y))"),
        lambda: bench.problem_from_flax(linen.Dense(3), (X, Y), CROSS_ENTROPY),  # type: ignore[arg-type]
    ),
    "a dictionary as a dataset": Mistake(
        ("'mine'", "a dict", "bench.split('mine', arrays)"), lambda: problem(dataset={"inputs": X})
    ),
    "a name in place of a loss": Mistake(
        ("the loss failed", "give the function, such as losses.squared_error"),
        lambda: bench.problem_from_flax(linen.Dense(3), DATA, "mse"),  # type: ignore[arg-type]
    ),
    "no loss": Mistake(
        ("bench.problem_from_flax needs 'loss'", "(module, dataset, loss)"),
        lambda: bench.problem_from_flax(linen.Dense(3), DATA),  # type: ignore[call-arg]
    ),
    "inputs and targets apart": Mistake(
        ("bench.dataset", "write bench.dataset((X, y))"),
        lambda: bench.dataset(X, Y),  # type: ignore[misc]
    ),
    "an empty dataset": Mistake(
        ("dataset 'none'", "no examples"), lambda: bench.split("none", {"inputs": X[:0], "targets": Y[:0]})
    ),
    "arrays of other lengths": Mistake(
        ("dataset 'odd'", "same number of examples", "50"),
        lambda: bench.split("odd", {"inputs": X, "targets": Y[:50]}),
    ),
    "NaN in the data": Mistake(
        ("dataset 'holes'", "array 'inputs'", "NaN", "(3, 1)", "remove or impute them"),
        lambda: bench.split(
            "holes", {"inputs": np.where(np.arange(240).reshape(60, 4) == 13, np.nan, X), "targets": Y}
        ),
    ),
    "targets that are texts": Mistake(
        ("array 'targets'", "texts", "encode categories as integers"),
        lambda: bench.split("words", {"inputs": X, "targets": np.array(["a", "b", "c"])[Y]}),
    ),
    "a batch of none": Mistake(
        ("batch_size must lie between 1 and", "got 0"),
        lambda: compare(problems=[bench.ProblemChoice(problem="wine-mlp", batch_size=0)]),
        {"problems": '[{problem = "wine-mlp", batch_size = 0}]'},
    ),
    "a batch that is too large": Mistake(
        ("'mine'", "batch_size must lie between 1 and the 36 training examples", "got 100"),
        lambda: problem(batch_size=100),
    ),
    "a choice beside the choices": Mistake(
        ("width'", "stands in choices"),
        lambda: bench.ProblemChoice(problem="wine-mlp", width=64),  # type: ignore[call-arg]
        {"problems": '[{problem = "wine-mlp", width = 64}]'},
    ),
    "a misspelled choice": Mistake(
        ("'wine-mlp'", "no choice 'widht'", "did you mean 'width'?"),
        lambda: compare(problems=[bench.ProblemChoice(problem="wine-mlp", choices={"widht": 3})]),
        {"problems": '[{problem = "wine-mlp", choices = {widht = 3}}]'},
    ),
    "another library's activation": Mistake(
        ("unknown activation 'ReLU'", "did you mean 'relu'?"),
        lambda: compare(problems=[bench.ProblemChoice(problem="wine-mlp", choices={"activation": "ReLU"})]),
        {"problems": '[{problem = "wine-mlp", choices = {activation = "ReLU"}}]'},
    ),
    "a misspelled metric": Mistake(
        ("'wine-mlp'", "no metric 'acuracy'", "did you mean 'accuracy'?"),
        lambda: compare(problems=[bench.ProblemChoice(problem="wine-mlp", metric="acuracy")]),
        {"problems": '[{problem = "wine-mlp", metric = "acuracy"}]'},
    ),
    "a target in percent": Mistake(
        ("'mine'", "'accuracy'", "did you mean 0.9?"), lambda: compare(problems=[problem(target=90)])
    ),
    "a target that is a text": Mistake(
        ("target", "finite number", "'high'"),
        lambda: compare(problems=[bench.ProblemChoice(problem="quadratic", target="high")]),  # type: ignore[arg-type]
        {"problems": '[{problem = "quadratic", target = "high"}]'},
    ),
    "a metric that is a word": Mistake(
        ("'mine'", "metric 'accuracy' must be a bench.Metric", "bench.Metric('higher')"),
        lambda: problem(metrics={"accuracy": "higher"}),
    ),
    "metrics in a list": Mistake(
        ("'mine'", "metrics={'loss': bench.Metric('lower')}", "['accuracy']"), lambda: problem(metrics=["accuracy"])
    ),
    "a direction of another library": Mistake(
        ("'lower' or 'higher'", "'max'", "write 'higher'"), lambda: bench.Metric("max")
    ),  # type: ignore[arg-type]
    "an order of another library": Mistake(
        ("'mine'", "no order 'shuffle'", "did you mean 'reshuffle'?"), lambda: problem(order="shuffle")
    ),
    # one's own functions
    "a loss of each example": Mistake(
        ("problem 'mine'", "loss must return one number", "take the mean"),
        lambda: of_loss(lambda p, s, b, k: (CROSS_ENTROPY(b["inputs"] @ p, b["targets"]), s)),
    ),
    "a loss without its state": Mistake(
        ("problem 'mine'", "(scalar, state)", "return loss, state"), lambda: of_loss(lambda p, s, b, k: mean_loss(p, b))
    ),
    "a loss of two arguments": Mistake(
        ("problem 'mine'", "called with (params, state, batch, key)", "test_mistakes.py"),
        lambda: of_loss(lambda p, b: mean_loss(p, b)),
    ),
    "a loss that asks for what no batch has": Mistake(
        ("problem 'mine'", "KeyError: 'x'", "'inputs', 'targets'", "test_mistakes.py"),
        lambda: of_loss(lambda p, s, b, k: (b["x"].mean(), s)),
    ),
    "numpy in a loss": Mistake(
        ("problem 'mine'", "numpy", "use jax.numpy", "test_mistakes.py"),
        lambda: of_loss(lambda p, s, b, k: (np.square(np.asarray(p)).mean(), s)),
    ),
    "an if in a loss": Mistake(
        ("problem 'mine'", "a Python if", "jnp.where", "test_mistakes.py", "if found > 1:"), lambda: of_loss(branching)
    ),
    "a change in place": Mistake(
        ("problem 'mine'", "x.at[index].set(value)", 'batch["inputs"][0] = 0'), lambda: of_loss(in_place)
    ),
    "item in a loss": Mistake(
        ("problem 'mine'", ".item()", "keep it an array"), lambda: of_loss(lambda p, s, b, k: (p.sum().item(), s))
    ),
    "a loss of whole numbers": Mistake(
        ("problem 'mine'", "int32", "no gradient"), lambda: of_loss(lambda p, s, b, k: (jnp.sum(p > 0), s))
    ),
    "shapes that do not fit": Mistake(
        ("problem 'mine'", "(4,) and (3,)", "test_mistakes.py"),
        lambda: of_loss(lambda p, s, b, k: ((b["inputs"] @ p.T).mean(), s)),
    ),
    "parameters of whole numbers": Mistake(
        ("problem 'mine'", "int32", "give it a dtype"),
        lambda: compare(problems=[problem(init=lambda key: (jnp.zeros((4, 3), int), None))]),
    ),
    "an init without a state": Mistake(
        ("problem 'mine'", "init must return (params, state)", "None"),
        lambda: compare(problems=[problem(init=lambda key: jnp.zeros((4, 3)))]),
    ),
    "an init without a key": Mistake(
        ("problem 'mine'", "called with (key)"), lambda: compare(problems=[problem(init=lambda: (jnp.zeros(3), None))])
    ),
    "metrics that are no dictionary": Mistake(
        ("problem 'mine'", "evaluate must return {metric: number}"),
        lambda: compare(problems=[problem(evaluate=lambda p, s, b: p.mean())]),
    ),
    "a metric of each example": Mistake(
        ("problem 'mine'", "metric 'accuracy' must be one number", "take the mean"),
        lambda: compare(problems=[problem(evaluate=lambda p, s, b: {"accuracy": b["targets"] > 0})]),
    ),
    # budgets and calls
    "a seed": Mistake(
        ("seed'", "'seeds' is how many there are", "first_study"),
        lambda: bench.Budget(seed=3),  # type: ignore[call-arg]
        {"budget": "{seed = 3}"},
    ),
    "trials": Mistake(
        ("trials'", "tuning_points'?"),
        lambda: bench.Budget(trials=10),  # type: ignore[call-arg]
        {"budget": "{trials = 10}"},
    ),
    "epochs": Mistake(
        ("epochs'", "'steps' are counted"),
        lambda: bench.Budget(epochs=10),  # type: ignore[call-arg]
        {"budget": "{epochs = 10}"},
    ),
    "no steps": Mistake(
        ("budget.steps must be a whole number of at least 1", "got 0"),
        lambda: bench.Budget(steps=0),
        {"budget": "{steps = 0}"},
    ),
    "a float of steps": Mistake(
        ("budget.steps", "whole number", "1000.0"),
        lambda: bench.Budget(steps=1e3),  # type: ignore[arg-type]
        {"budget": "{steps = 1e3}"},
    ),
    "evaluations that do not divide": Mistake(
        ("50 steps", "use 40 or 60 steps"), lambda: bench.Budget(steps=50), {"budget": "{steps = 50}"}
    ),
    "a misspelled tuner": Mistake(
        ("no tuner 'haltn'", "did you mean 'halton'?"),
        lambda: bench.Budget(tuner="haltn"),
        {"budget": '{tuner = "haltn"}'},
    ),
    "a table as a budget": Mistake(
        ("budget must be a bench.Budget", "bench.Budget(steps=10)"), lambda: compare(budget={"steps": 10})
    ),
    "seeds beside the budget": Mistake(("'seeds'", "seeds"), lambda: compare(seeds=3), {"seeds": "3"}),
    "workers beside the resources": Mistake(("'workers'", "workers"), lambda: compare(workers=2), {"workers": "2"}),
    "British spelling": Mistake(
        ("'optimisers'", "did you mean 'optimizers'?"),
        lambda: compare(optimisers=["adam"]),
        {"optimisers": '["adam"]'},
    ),
    "lists by their place": Mistake(
        ("bench.compare", "by name", "problems=['quadratic']"),
        lambda: bench.compare(["quadratic"], ["adam"]),  # type: ignore[call-arg, misc]
    ),
    "an experiment by its place": Mistake(
        ("bench.Experiment", "by name", "name='adam'"),
        lambda: bench.Experiment("adam"),  # type: ignore[call-arg, misc]
    ),
    "a misspelled factor": Mistake(
        ("no factor 'schedul'", "did you mean 'schedule'?"),
        lambda: compare(factors={"schedul": ["cosine"]}),
        {"factors": '{schedul = ["cosine"]}'},
    ),
    "one level without a list": Mistake(
        ("factors.schedule", "list", "'cosine'", "write"),
        lambda: compare(factors={"schedule": "cosine"}),
        {"factors": '{schedule = "cosine"}'},
    ),
    "a factor without levels": Mistake(
        ("factors.schedule", "list"), lambda: compare(factors={"schedule": []}), {"factors": "{schedule = []}"}
    ),
    "one probe without a list": Mistake(
        ("probes", "list", "'sharpness'", "write"), lambda: compare(probes="sharpness"), {"probes": '"sharpness"'}
    ),
    "a misspelled probe": Mistake(
        ("no probe 'sharpnes'", "did you mean 'sharpness'?"),
        lambda: compare(probes=["sharpnes"]),
        {"probes": '["sharpnes"]'},
    ),
    "patience alone": Mistake(("early_stopping", "bench.EarlyStopping(patience=5)"), lambda: compare(early_stopping=5)),
    "a target for all": Mistake(
        ("targets must be a bench.TargetRule", "bench.ProblemChoice(problem=..., target=0.5)"),
        lambda: compare(targets=0.5),
    ),
    "an unknown problem of an optimizer": Mistake(
        ("optimizer 'adam', problems", "no problem 'quadratik'", "did you mean 'quadratic'?"),
        lambda: compare(optimizers=[bench.Contender(optimizer="adam", problems=["quadratik"])]),
        {"optimizers": '[{optimizer = "adam", problems = ["quadratik"]}]'},
    ),
    "an unknown executor": Mistake(("no executor 'inlin'", "'inline'"), lambda: bench.Resources(executor="inlin")),
    "a path where an experiment is wanted": Mistake(
        ("bench.Experiment", "bench.load('spec.toml')"),
        lambda: bench.run("spec.toml"),  # type: ignore[arg-type]
    ),
    "lr by hand": Mistake(
        ("optimizer 'adam': no hyperparameter 'lr'", "did you mean 'learning_rate'?"),
        lambda: bench.train("quadratic", "adam", lr=1e-3),
    ),
    # names
    **{
        f"{home.__name__}.{name}": Mistake(
            (f"no attribute '{name}'", hint), partial(getattr, home, name), error=AttributeError
        )
        for home, name, hint in (
            (dlkit.losses, "mse", "did you mean 'squared_error'? (losses are not reduced: take .mean())"),
            (dlkit.losses, "CrossEntropyLoss", "did you mean 'cross_entropy'?"),
            (dlkit.layers, "Dense", "did you mean 'dense'?"),
            (dlkit.layers, "Conv2d", "did you mean 'conv'?"),
            (dlkit.layers, "Sequential", "did you mean 'serial'?"),
            (dlkit.activations, "Relu", "did you mean 'relu'?"),
            (dlkit.models, "MLP", "did you mean 'mlp'?"),
            (bench, "Optimiser", "did you mean 'Optimizer'?"),
            (bench, "optimizer", "did you mean 'Optimizer'?"),
            (bench, "losses", "dlkit.losses"),
            (bench, "problem_from_torch", "bench.problem_from_flax"),
            (dlkit, "optimizers", "from dlkit import bench"),
        )
    },
}
# What shows when functions are computed, not traced: seconds each.
COMPUTED: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "NaN at once": (
        lambda: of_loss(lambda p, s, b, k: (jnp.log(p.sum() - 100), s)),
        ("problem 'mine'", "NaN at the initial parameters", "logarithms"),
    ),
    "random in a loss": (
        lambda: of_loss(lambda p, s, b, k: (random.random() * mean_loss(p, b), s)),
        ("problem 'mine'", "random.random draws anew", "draw with jax.random", "test_mistakes.py"),
    ),
    "one class": (
        lambda: compare(problems=[problem(dataset=bench.split("one", {"inputs": X, "targets": 0 * Y}))]),
        ("dataset 'one'", "all examples have targets 0", "see that the right array was taken"),
    ),
    "an if on a hyperparameter": (
        lambda: compare(
            optimizers=[optimizer(lambda learning_rate: optax.sgd(learning_rate if learning_rate > 0 else 1.0))]
        ),
        ("optimizer 'mine'", "jax.numpy.where", "static"),
    ),
    "an update that raises": (
        lambda: compare(
            optimizers=[
                optimizer(
                    lambda learning_rate: optax.GradientTransformation(
                        lambda params: (), lambda grads, state, params: grads["w"]
                    )
                )
            ]
        ),
        ("optimizer 'mine'", "test_mistakes.py"),
    ),
}


def test_there_are_sixty_in_each_language() -> None:
    assert len([each for each in MISTAKES.values() if each.python]) >= 60
    assert len(MISTAKES) + len(COMPUTED) >= 100 and len([each for each in MISTAKES.values() if each.toml]) >= 40


@pytest.mark.parametrize("name", [name for name, each in MISTAKES.items() if each.python])
def test_a_mistake_in_python(name: str) -> None:
    made = MISTAKES[name]
    assert made.python is not None
    with pytest.raises(made.error) as caught:
        made.python()
    text = str(caught.value)
    assert [word for word in made.words if word not in text] == [], text
    assert all(len(line) <= LONGEST for line in text.splitlines()), text


@pytest.mark.parametrize("name", [name for name, each in MISTAKES.items() if each.toml])
def test_a_mistake_in_a_spec(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MISTAKES[name]
    right = {"problems": '["quadratic"]', "optimizers": '["sgd"]', "budget": SHORT}
    (tmp_path / "spec.toml").write_text(
        "".join(f"{key} = {value}\n" for key, value in {**right, **(made.toml or {})}.items())
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["dlkit", "run", "spec.toml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and "Traceback" not in said.err
    assert [word for word in made.words if word not in said.err] == [], said.err


@pytest.mark.long
@pytest.mark.parametrize("name", list(COMPUTED))
def test_a_mistake_that_shows_when_functions_are_computed(name: str) -> None:
    make, words = COMPUTED[name]
    with pytest.raises(bench.UserError) as caught:
        make()
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_a_function_of_optax_gets_its_registered_space() -> None:
    (entry,) = bench.Experiment(name="x", problems=["quadratic"], optimizers=[optax.adam]).optimizers  # type: ignore[arg-type]
    assert entry.optimizer == "adam" and entry.name == "adam"


def test_a_table_is_an_entry_as_in_a_spec() -> None:
    table: Any = {"optimizer": "adam", "space": {"learning_rate": 0.1}}
    (entry,) = bench.Experiment(name="x", problems=["quadratic"], optimizers=[table]).optimizers  # type: ignore[arg-type]
    assert entry == bench.Contender(optimizer="adam", space={"learning_rate": 0.1})


def test_a_dataset_is_a_problem() -> None:
    (entry,) = bench.Experiment(name="x", problems=[DATA], optimizers=["sgd"]).problems  # type: ignore[arg-type]
    assert isinstance(entry.problem, bench.Problem) and entry.problem.name == "mine"


def test_every_mistake_of_a_call_is_told_at_once() -> None:
    with pytest.raises(bench.UserError) as caught:
        compare(problems=["quadratc", 3], optimizers=["adm", optax.sgd(0.1)])
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.long
@pytest.mark.parametrize("kind", ["a module's instance", "a fixed draw", "drawn", "zeros"])
def test_it_is_told_where_every_seed_begins_alike(kind: str) -> None:
    fixed = RNG.normal(size=(4, 3)).astype(np.float32)
    made = {
        "a module's instance": lambda: bench.problem_from_flax(
            nnx.Linear(4, 3, rngs=nnx.Rngs(0)), DATA, CROSS_ENTROPY, batch_size=8, steps=20
        ),
        "a fixed draw": lambda: problem(init=lambda key: (jnp.asarray(fixed), None)),
        "drawn": problem,
        "zeros": lambda: problem(init=lambda key: (jnp.zeros((4, 3)), None)),
    }[kind]()
    (tick,) = [tick for tick in bench.check(made, "sgd", budget=BUDGET).ticks if tick.subject == "starts"]
    assert tick.right is (True if kind == "drawn" else None)
    assert kind == "drawn" or "every seed begins at the same parameters" in tick.text
    assert ("give a function that makes it" in tick.remedy) == (kind in ("a module's instance", "a fixed draw"))


@pytest.mark.long
def test_it_is_told_where_a_loss_makes_a_key_of_its_own() -> None:
    def noisy(params: Any, state: Any, batch: Any, key: Any) -> Any:
        noise = jax.random.normal(jax.random.key(0), batch["inputs"].shape)
        return mean_loss(params, {**batch, "inputs": batch["inputs"] + noise}), state

    notes = bench.check(problem(loss=noisy), "sgd", budget=BUDGET).own_notes
    assert any("jax.random.key" in note.text and "same at every step" in note.text for note in notes)
    drawn = dataclasses.replace(problem(), loss=lambda p, s, b, k: (mean_loss(p, b) + 0 * jax.random.normal(k), s))
    assert not bench.check(drawn, "sgd", budget=BUDGET).own_notes
