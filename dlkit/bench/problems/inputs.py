"""Which arrays of a dataset a model is called with: one, several, or groups of them with shared parameters."""

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.errors import UserError
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, State

__all__ = ["InputNames", "Inputs", "batches_of", "binding", "layer_inputs", "of_groups"]

Inputs: TypeAlias = str | Sequence[str] | Sequence[Sequence[str]]
"""The name of an array; names of several for one call; or groups of them, one call each."""

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]  # positional, by name


@dataclass(frozen=True)
class InputNames:
    """The arrays that a model is called with.

    Attributes:
        groups: the names of each call.
        grouped: whether there are several calls, or one in a list.
    """

    groups: tuple[tuple[str, ...], ...]
    grouped: bool

    @classmethod
    def of(cls, where: str, inputs: Inputs) -> "InputNames":
        """Reads the argument `inputs` of a constructor.

        Raises:
            UserError: if it names nothing, mixes names with groups, or its groups are not of one size.
        """
        if isinstance(inputs, str):
            return cls(((inputs,),), grouped=False)
        entries = [*inputs]
        grouped = bool(entries) and not any(isinstance(each, str) for each in entries)
        groups: tuple[tuple[Any, ...], ...] = tuple(map(tuple, entries)) if grouped else (tuple(entries),)
        names = [name for group in groups for name in group]
        if not all(isinstance(name, str) for name in names) or not all(groups) or len(set(map(len, groups))) > 1:
            raise UserError(
                f"{where}: inputs must be the name of an array, names of several, or groups of names of one size, such "
                f'as [("first",), ("second",)], got {inputs!r}'
            )
        return cls(groups, grouped)

    @property
    def all(self) -> list[str]:
        """Every array's name."""
        return [name for group in self.groups for name in group]

    def values(self, batch: Any) -> Any:
        """Returns what a model gets of a batch: an array, a tuple of arrays, or a tuple of these for groups."""
        values = tuple(
            batch[group[0]] if len(group) == 1 else tuple(batch[name] for name in group) for group in self.groups
        )
        return values if self.grouped else values[0]

    def example(self, dataset: Dataset) -> Any:
        """Returns one example of zeros as the first call gets it, [1, ...], with the types on the device."""
        arrays = [dataset.train[name] for name in self.groups[0]]
        zeros = tuple(jnp.zeros((1, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype)) for array in arrays)
        return zeros[0] if len(zeros) == 1 else zeros


def binding(
    where: str, names: InputNames, call: Callable[..., Any], *, without: Collection[str]
) -> Callable[[Any], Arguments]:
    """Returns how a call gets its arrays: those that are named as its parameters by name, the others in their order.

    Args:
        where: how messages begin.
        names: of the arrays; those of the first group decide.
        call: what is called.
        without: parameters of the call that are no inputs.

    Returns:
        ``arguments(x) -> (positional, by name)``, for x an array or a tuple of arrays.

    Raises:
        UserError: if the call takes another number of inputs; the message has its parameters.

    Example:
        >>> arguments = binding("p", InputNames.of("p", ("a", "mask")), lambda x, lengths=0, mask=0: 0, without=())
        >>> arguments((1, 2))
        ((), {'x': 1, 'mask': 2})
    """
    group = names.groups[0]
    if len(group) == 1:
        return lambda x: ((x,), {})
    parameters = {name: each for name, each in inspect.signature(call).parameters.items() if name not in without}
    named = {name for name in group if name in parameters and parameters[name].kind not in _UNNAMED}
    slots = [name for name, each in parameters.items() if each.kind in _IN_ORDER and name not in named]
    rest = [name for name in group if name not in named]
    many = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters.values())
    filled = named | set(slots[: len(rest)])
    needed = {
        name
        for name, each in parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in _VARIABLE and name not in filled
    }
    if (len(rest) > len(slots) and not many) or needed:
        raise UserError(
            f"{where}: inputs are the arrays {', '.join(map(repr, group))}, but the model's call takes "
            f"({', '.join(parameters)}); give the arrays that it needs, in its order or named as its parameters"
        )
    by_name = [] if many else [name for name in slots[: len(rest)] if parameters[name].kind not in _UNNAMED]

    def arguments(x: Any) -> Arguments:
        values = dict(zip(group, x, strict=True))
        ordered = [values[name] for name in rest]
        first = len(ordered) - len(by_name)
        options = {name: values[name] for name in group if name in named}
        return tuple(ordered[:first]), {**dict(zip(by_name, ordered[first:], strict=True)), **options}

    return arguments


_UNNAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_IN_ORDER = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def of_groups(model: Layer, names: InputNames) -> Layer:
    """Returns the model that is called once for each group with the same parameters; it puts out a tuple.

    The state goes from call to call, and each has a key of its own. Without groups it is the model itself.
    """
    if not names.grouped:
        return model

    def apply(
        params: Params, state: State, x: Any, *, key: Key | None = None, train: bool = False
    ) -> tuple[Any, State]:
        predictions = []
        for place, group in enumerate(x):
            own = None if key is None else jax.random.fold_in(key, place)
            made, state = model.apply(params, state, group, key=own, train=train)
            predictions.append(made)
        return tuple(predictions), state

    return Layer(model.init, apply)


def layer_inputs(where: str, model: Layer, dataset: Dataset, inputs: Inputs) -> tuple[Layer, InputNames, str]:
    """Returns a layer as a function of what `InputNames.values` returns, those names, and the array of lengths.

    Args:
        where: how messages begin.
        model: the layer.
        dataset: has the arrays.
        inputs: their names, the layer's input first.

    Raises:
        UserError: if an array is missing, the layer does not take it, or a length is no length.
    """
    names = InputNames.of(where, inputs)
    missing = [name for name in names.all if name not in dataset.train]
    if missing or names.grouped:
        found = ", ".join(map(repr, sorted(dataset.train)))
        raise UserError(f"{where}: inputs must name arrays of its dataset, which has {found}, got {inputs!r}")
    group = names.groups[0]
    if len(group) == 1:
        return model, names, ""
    arguments = binding(where, names, model.apply, without=("params", "state", "key", "train"))
    if "lengths" in group:
        _require_lengths(where, dataset, group[0])

    def apply(
        params: Params, state: State, x: Any, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        ordered, by_name = arguments(x)
        called: Callable[..., tuple[Array, State]] = model.apply
        return called(params, state, *ordered, key=key, train=train, **by_name)

    return Layer(model.init, apply), names, "lengths" if "lengths" in group else ""


def batches_of(values: Any, rows: int) -> Any:
    """Returns arrays [examples, ...] as batches [count, rows, ...]; what does not fill a batch is left out."""
    return jax.tree.map(lambda array: array[: len(array) // rows * rows].reshape(-1, rows, *array.shape[1:]), values)


def _require_lengths(where: str, dataset: Dataset, sequences: str) -> None:
    """Refuses lengths that are no whole numbers from 0 to the time axis: compiled code could not say so."""
    for split in SPLITS:
        arrays = getattr(dataset, split)
        lengths, time = np.asarray(arrays["lengths"]), arrays[sequences].shape[1]
        right = lengths.ndim == 1 and np.issubdtype(lengths.dtype, np.integer)
        if not right or ((lengths < 0) | (lengths > time)).any():
            found = f"{lengths.min()} to {lengths.max()}" if right else f"{lengths.dtype}{list(lengths.shape)}"
            raise UserError(
                f"{where}: 'lengths' of split '{split}' must be a whole number for each example, from 0 to the {time} "
                f"steps of '{sequences}', got {found}"
            )
