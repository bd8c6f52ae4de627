"""Problems from equinox modules, taken as they are: written for one example, with state, dropout and all."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlkit.bench.data.base import Dataset, require_dataset
from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Problem, Reestimate
from dlkit.bench.problems.frameworks.model import (
    NO_INPUTS,
    Score,
    Task,
    fold,
    like,
    modes,
    of_another_library,
    pass_over,
    problem_of_model,
)
from dlkit.bench.problems.inputs import InputNames, Inputs, binding
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["problem_from_equinox"]

BATCH = "batch"  # the axis name that equinox's documentation gives batch normalization


@says_what_it_takes("bench.problem_from_equinox")
def problem_from_equinox(
    module: Any,
    dataset: Dataset,
    loss: Score,
    *,
    name: str = "",
    metrics: Mapping[str, tuple[Score, Metric]] | None = None,
    inputs: Inputs = "inputs",
    targets: str | Sequence[str] = "targets",
    weights: str = "",
    batch_size: int | None = None,
    steps: int = 600,
    target: float | None = None,
    description: str = "",
) -> Problem:
    """Makes a problem of an equinox module: predict targets from inputs, minimising the mean of a loss.

    The module is mapped over the examples of a batch, along an axis called ``"batch"`` (batch normalization); it is
    called with one example, with its state if it has one (beside several inputs as ``state=``), and with a fresh key
    for each example if its ``__call__`` has an argument ``key``. Evaluation is in `equinox.nn.inference_mode`.
    Floating-point arrays are trained; other arrays and the module's `equinox.nn.State` are the problem's state. Where
    an optimizer evaluates other parameters than it trains, the state is re-estimated by one pass over the training
    split.

    Args:
        module: a function of a key that returns a module, ``lambda key: MyModule(64, key=key)``, or a module and its
            state, ``equinox.nn.make_with_state(MyModule)``, so that every seed has its own initial parameters; or a
            module, or such a pair: every seed then starts from its present parameters, as in fine-tuning.
        dataset: as in `problem_from_flax`, like everything below.
        loss: ``loss(predictions, targets)``, of a whole batch.
        name: the problem's name; by default the dataset's.
        metrics: name -> ``(function, Metric)``.
        inputs: the array, arrays or groups of arrays that the module is called with.
        targets: the array, or arrays, that losses and metrics get.
        weights: the array of weights.
        batch_size: examples a step; None for the whole training split at every step.
        steps: the default budget.
        target: the value of the first metric that steps to target count to.
        description: a line for lists.

    Returns:
        The problem. Its parameters are a dictionary: the path of an array in the module -> the array.

    Raises:
        UserError: as `problem_from_flax` does.
    """
    require_dataset(dataset, "bench.problem_from_equinox")
    names = InputNames.of(f"problem '{name or dataset.name}'", inputs)

    def reestimation(model: Layer) -> Reestimate | None:
        _, state = jax.eval_shape(lambda: model.init(jax.random.key(0), ()))
        return pass_over(model, dataset, names, batch_size) if state["state"] else None

    task = Task(
        dataset=dataset,
        inputs=names,
        loss=loss,
        name=name,
        metrics=metrics,
        targets=targets,
        weights=weights,
        batch_size=batch_size,
        steps=steps,
        target=target,
        description=description,
    )
    return problem_of_model(task, lambda where: _model(where, module, names), reestimation)


def _model(where: str, module: Any, names: InputNames) -> Layer:
    """Turns an equinox module into pure functions over dictionaries of its arrays."""
    import equinox

    expected = (
        f"{where}: expected an equinox module, or a function of a key that returns one, alone or with its state, such "
        "as lambda key: MyModule(64, key=key), "
    )
    source = _Source(module)
    if not source.is_there:
        if not callable(module):
            raise UserError(f"{expected}got {of_another_library(module)}")
        try:
            made = equinox.filter_eval_shape(module, jax.random.key(0))
        except Exception as error:
            called = f"{getattr(module, '__qualname__', type(module).__name__)}(key)"
            raise UserError(f"{expected}but {called} raised {type(error).__name__}: {error}") from error
        if not isinstance(_pair(made)[0], equinox.Module):
            raise UserError(f"{expected}but it returned none")
    return _layer(where, source, names)


def _pair(made: Any) -> tuple[Any, Any]:
    """A module and its state, or none."""
    return made if isinstance(made, tuple) else (made, None)


class _Parts(NamedTuple):
    """What a module with its state is made of.

    Attributes:
        structure: its tree.
        names: of the leaves.
        kinds: of the leaves: the dictionary that each belongs to; empty for what is no array.
        fixed: the leaves that are no arrays; None for the others.
        has_state: whether there is a state beside the module.
        call: its ``__call__``.
    """

    structure: Any
    names: list[str]
    kinds: list[str]
    fixed: list[Any]
    has_state: bool
    call: Callable[..., Any]


class _Source:
    """Where a module comes from; it is taken apart once in each process.

    Its parts do not travel: Equinox compares some of what a tree's structure holds by `is`, so that one that was
    pickled fits no tree.
    """

    def __init__(self, module: Any) -> None:
        """Takes a module, or a function of a key that returns one, alone or with its state."""
        self.module = module

    def __reduce__(self) -> Any:
        return _Source, (self.module,)

    @property
    def is_there(self) -> bool:
        """Whether the module need not be made."""
        import equinox

        return not isinstance(self.module, type) and isinstance(_pair(self.module)[0], equinox.Module)

    def make(self, key: Key) -> tuple[Any, Any]:
        """Returns the module, and its state or none."""
        return _pair(self.module if self.is_there else self.module(key))

    @cached_property
    def parts(self) -> _Parts:
        """What it is made of."""
        import equinox

        key = jax.random.key(0)
        abstract = self.make(key) if self.is_there else equinox.filter_eval_shape(self.make, key)
        leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
        kinds = [_kind(path, leaf) for path, leaf in leaves]
        return _Parts(
            structure=structure,
            names=[jax.tree_util.keystr(path[1:], simple=True, separator=".") for path, _ in leaves],
            kinds=kinds,
            fixed=[None if kind else leaf for kind, (_, leaf) in zip(kinds, leaves, strict=True)],
            has_state=abstract[1] is not None,
            call=type(abstract[0]).__call__,
        )

    def gathered(self, values: Sequence[Any], kind: str) -> dict[str, Array]:
        """Returns the leaves of a kind by name."""
        found = zip(self.parts.names, self.parts.kinds, values, strict=True)
        return {name: jnp.asarray(value) for name, one, value in found if one == kind}


def _layer(where: str, source: _Source, names: InputNames) -> Layer:
    """A module's functions of its arrays."""
    arguments = binding(where, names, source.parts.call, without=NO_INPUTS | {"key", "state"})

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        values = jax.tree.leaves(source.make(key))
        return source.gathered(values, "params"), {kind: source.gathered(values, kind) for kind in ("arrays", "state")}

    def apply(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        import equinox

        groups = {"params": params, **state}
        structure, leaves, kinds, fixed, has_state, call = source.parts
        values = [groups[kind][name] if kind else leaf for kind, name, leaf in zip(kinds, leaves, fixed, strict=True)]
        module, carried = jax.tree.unflatten(structure, values)
        module = equinox.nn.inference_mode(module, value=not train)
        options = modes(type(module).__call__, train=train)

        takes_key, several = "key" in inspect.signature(call).parameters, len(names.groups[0]) > 1

        def one(x: Any, key: Key) -> Any:
            ordered, by_name = arguments(x)
            given = {**by_name, **options, "key": key} if takes_key else {**by_name, **options}
            if not has_state:
                return module(*ordered, **given), None
            return module(*ordered, state=carried, **given) if several else module(*ordered, carried, **given)

        keys = jax.random.split(fold(key, "examples"), len(jax.tree.leaves(x)[0]))
        predictions, carried = jax.vmap(one, axis_name=BATCH, out_axes=(0, None))(x, keys)
        if not (train and has_state):
            return predictions, state
        after = source.gathered(jax.tree.leaves((module, carried)), "state")
        return predictions, {**state, "state": like(state["state"], after)}

    return Layer(init, apply)


def _kind(path: Any, leaf: Any) -> str:
    """Which of the dictionaries a leaf belongs to; none for what is not an array."""
    if not hasattr(leaf, "dtype"):
        return ""
    if path[0].idx == 1:
        return "state"
    return "params" if jnp.issubdtype(leaf.dtype, jnp.inexact) else "arrays"
