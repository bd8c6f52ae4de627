"""What a user writes, as text: loaded as files of a folder, and told by what it computes."""

import importlib
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.programs import hash_program
from dlkit.bench.problems.base import Problem, example_batch

__all__ = ["functions_of", "identity_of", "load"]

COUNTER = itertools.count()
KEY = jax.eval_shape(lambda: jax.random.key(0))
Traced = tuple[Callable[..., Any], tuple[Any, ...]]


def load(folder: Path, files: Mapping[str, str], name: str = "study") -> ModuleType:
    """Writes files to a new folder, and imports one of them as a fresh process would.

    Args:
        folder: where the new folder is made.
        files: path -> text.
        name: the module that is imported.
    """
    here = folder / f"folder_{next(COUNTER)}"
    for path, text in files.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text)
    own = {Path(path).parts[0].removesuffix(".py") for path in files if path.endswith(".py")}
    for each in [each for each in sys.modules if each.partition(".")[0] in own]:
        del sys.modules[each]
    importlib.invalidate_caches()
    sys.path.insert(0, str(here))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(str(here))


def functions_of(module: ModuleType) -> dict[str, Traced]:
    """The functions that training compiles of a module's problem, optimizer and schedule, with their arguments.

    A module may have ``problem()``, a `Problem`, ``optimizer(learning_rate)``, an optax transformation, and
    ``schedule(step, horizon)``.
    """
    found: dict[str, Traced] = {}
    if hasattr(module, "problem"):
        found |= _of_problem(module.problem())
    if hasattr(module, "optimizer"):
        rate, params = jax.ShapeDtypeStruct((), jnp.float32), {"w": jax.ShapeDtypeStruct((4, 3), jnp.float32)}

        def moved(rate: Any, params: Any, gradient: Any) -> Any:
            transformation = module.optimizer(rate)
            updates, state = transformation.update(gradient, transformation.init(params), params)
            return optax.apply_updates(params, updates), state

        found["optimizer"] = (moved, (rate, params, params))
    if hasattr(module, "schedule"):
        found["schedule"] = (lambda step: module.schedule(step, 100), (jax.ShapeDtypeStruct((), jnp.float32),))
    return found


def _of_problem(problem: Problem) -> dict[str, Traced]:
    params, state = jax.eval_shape(problem.init, KEY)
    batch = example_batch(problem)
    found: dict[str, Traced] = {"init": (problem.init, (KEY,)), "evaluate": (problem.evaluate, (params, state, batch))}
    losses = {player.name: player.loss for player in problem.players} or {"loss": problem.loss}
    for name, loss in losses.items():
        found[name] = (jax.value_and_grad(loss, has_aux=True), (params, state, batch, KEY))
    if problem.reestimate is not None:
        found["reestimate"] = (problem.reestimate, (params, state, batch))
    return found


def identity_of(module: ModuleType) -> str:
    """The identity of all that a module has: its programs, and its problem's data."""
    programs = {}
    for name, (function, arguments) in functions_of(module).items():
        programs[name] = hash_program(function, *arguments)
        assert programs[name].unhashable == ()
    data = module.problem().dataset.digest if hasattr(module, "problem") else ""
    return digest([data, {name: each.digest for name, each in programs.items()}])
