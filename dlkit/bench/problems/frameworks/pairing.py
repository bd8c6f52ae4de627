"""Whether a score pairs each prediction with its own target, and knows every class: tried on made-up predictions.

A mean over all pairs of examples has the shape of the mean over examples, and a class that is left out or replaced by
another makes no error. Values tell them apart.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.errors import UserError
from dlkit.bench.identity.places import at, place_of
from dlkit.bench.identity.programs import forget_traces

__all__ = ["ROWS", "broadcasts_to_pairs", "require_classes", "require_pairing", "same_number"]

ROWS = 32  # examples that are enough to tell
ORDERS = 3  # in which they are shuffled
BEYOND = (0, 1, 5)  # classes after the last that a loss of labels cannot tell apart
AGREE = 2e-5  # relative, of sums in another order

Value = Callable[[Any, Any], float]


def same_number(first: float, second: float) -> bool:
    """Whether two sums are the same but for the order of their terms."""
    return bool(np.isclose(first, second, rtol=AGREE, atol=1e-30))


def broadcasts_to_pairs(function: Callable[..., Any], *arguments: Any, count: int) -> bool:
    """Whether a function combines an array of examples with a column of examples, which broadcasts to all pairs.

    Only what NumPy's rules add an axis to counts: ``a[:, None] - b[None]`` is written by those who mean all pairs.

    Args:
        function: which; it is traced.
        *arguments: shapes and types that it is traced with.
        count: how many examples these have.
    """
    forget_traces()  # what was traced before does not warn again
    with warnings.catch_warnings(record=True) as caught, jax.numpy_rank_promotion("warn"):
        warnings.simplefilter("always")
        jaxpr = jax.make_jaxpr(lambda *given: function(*given))(*arguments).jaxpr
    for text in (str(each.message) for each in caught):
        shapes = [tuple(map(int, re.findall(r"\d+", found))) for found in re.findall(r"\(([\d, ]+)\)", text)]
        if "rank promotion" in text and _grows(shapes, np.broadcast_shapes(*shapes), count):
            return True
    return _broadcasts(jaxpr, count)


def _grows(shapes: Sequence[tuple[int, ...]], into: tuple[int, ...], count: int) -> bool:
    return into.count(count) > max((shape.count(count) for shape in shapes), default=0) > 0


def _broadcasts(jaxpr: Any, count: int) -> bool:
    """Whether a program broadcasts one axis of examples to all pairs at once, as `jax.numpy.where` does."""
    for equation in jaxpr.eqns:
        shapes = [tuple(getattr(each.aval, "shape", ())) for each in (*equation.invars[:1], *equation.outvars[:1])]
        if (
            equation.primitive.name == "broadcast_in_dim"
            and len(shapes[0]) == 1
            and _grows(shapes[:1], shapes[1], count)
        ):
            return True
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns") and _broadcasts(inner, count):
                return True
    return False


def require_pairing(where: str, what: str, score: Any, predictions: Any, targets: Any) -> None:
    """Refuses a score of predictions and targets of other shapes that is the same however the targets are shuffled.

    What does not depend on the targets' values at all pairs nothing, and is no mistake here. Nor is a distance of
    distributions, whose shapes do not broadcast by themselves, or which pairs nothing if they are alike either.

    Args:
        where: how messages begin.
        what: how messages call the score.
        score: ``score(predictions, targets)``: numbers of which the mean counts.
        predictions: the shapes and types of a model's predictions on a batch, as a tree.
        targets: some examples' targets, as a tree of NumPy arrays.

    Raises:
        UserError: with both shapes, and the place of the score.
    """
    count = _count(targets)
    if count < 3:
        return
    value = _value_of(score)
    for made in _made_up(predictions, count):
        found = _pairs(value, made, targets, count)
        if found is None:
            continue
        is_mistake = (
            found is False
            and broadcasts_to_pairs(score, made, targets, count=count)
            and any(_pairs(value, *alike, count) for alike in _alike(made, targets))
        )
        if not is_mistake:
            return
        raise UserError(
            f"{where}: {what} is the same however the targets are shuffled among the examples: predictions of shape "
            f"{_shape(predictions)} and targets of shape {_shape(targets)} broadcast to all pairs of examples; "
            f"give both the same shape, such as predictions[:, 0]{at(place_of(score))}"
        )


def require_classes(where: str, what: str, score: Any, predictions: Any, dataset: Dataset, name: str) -> None:
    """Refuses class indices for which a model has no output, where a score takes targets for class indices.

    Such a score is not finite for them, or takes all of them for one, while it tells the first two classes apart.

    Args:
        where: how messages begin.
        what: how messages call the score.
        score: ``score(predictions, targets)``: numbers of which the mean counts.
        predictions: the shapes and types of a model's predictions on a batch, as a tree.
        dataset: the data.
        name: its array of targets.

    Raises:
        UserError: with the class, the number of outputs and the place of the score.
    """
    leaves = jax.tree.leaves(predictions)
    if len(leaves) != 1 or leaves[0].ndim < 2 or leaves[0].shape[-1] < 2:
        return
    outputs = leaves[0].shape[-1]
    wrong = _first_beyond(dataset, name, outputs)
    if wrong is None:
        return
    part, label, first = wrong
    count = min(ROWS, dataset.examples)
    targets = dataset.train[name][:count]
    value = _value_of(score)

    for made in _made_up(predictions, count):

        def of_class(index: float, made: Any = made) -> float:
            return value(made, np.full_like(targets, index))

        try:
            known = [of_class(each) for each in (0, 1)]
            beyond = (
                [of_class(outputs + each) for each in BEYOND] if label > 0 else [of_class(-1), of_class(outputs - 1)]
            )
            found = of_class(label)
        except Exception:
            return
        if not np.isfinite(known).all():
            continue
        takes_one_for_another = known[0] != known[1] and len({*beyond}) == 1
        if np.isfinite(found) and not takes_one_for_another:
            return
        becomes = "takes it for another, or leaves it out" if np.isfinite(found) else "is not finite there"
        raise UserError(
            f"{where}: class index {label:g} of {outputs} outputs in dataset '{dataset.name}', split '{part}', array "
            f"'{name}', first at index {first}: {what} {becomes}; number the classes from 0, or give the model more "
            f"outputs{at(place_of(score))}"
        )


def _first_beyond(dataset: Dataset, name: str, outputs: int) -> tuple[str, float, int] | None:
    """The first whole number that is no class: its split, itself, its index; None where targets are no classes."""
    found = None
    for part in SPLITS:
        array = getattr(dataset, part)[name]
        if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and (array % 1 != 0).any()):
            return None
        bad = ((array < 0) | (array >= outputs)).reshape(len(array), -1).any(axis=1)
        if found is None and bad.any():
            first = int(bad.argmax())
            row = array[first]
            found = part, float(row[(row < 0) | (row >= outputs)].ravel()[0] if row.ndim else row), first
    return found


def _pairs(value: Value, predictions: Any, targets: Any, count: int) -> bool | None:
    """Whether a score depends on which target belongs to which prediction.

    None where that cannot be told: it is not finite, depends on no targets, or raises, as what takes batches of one
    size alone does.
    """
    try:
        base = value(predictions, targets)
        orders = [np.random.default_rng(order).permutation(count) for order in range(ORDERS)]
        shuffled = [value(predictions, _rows(targets, order)) for order in orders]
        others = [value(predictions, _rows(targets, np.full(count, row))) for row in (0, count // 2, count - 1)]
    except Exception:
        return None
    if not np.isfinite([base, *shuffled, *others]).all() or all(same_number(base, each) for each in others):
        return None
    return not all(same_number(base, each) for each in shuffled)


def _alike(predictions: Any, targets: Any) -> Iterator[tuple[Any, Any]]:
    """Predictions in the shape of targets of one number an example, and such targets without further axes."""

    def shaped(tree: Any, shape: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda leaf: leaf.reshape(shape) if leaf.size == len(leaf) else leaf, tree)

    shapes = [leaf.shape for leaf in jax.tree.leaves(targets) if leaf.size == len(leaf)]
    if shapes:
        yield shaped(predictions, min(shapes, key=len)), targets
        yield predictions, shaped(targets, shapes[0][:1])


def _value_of(score: Any) -> Value:
    """The mean of a score, as a number."""

    def mean(predictions: Any, targets: Any) -> Any:
        return jnp.mean(jnp.asarray(score(predictions, targets)), dtype=jnp.float32)

    compiled = jax.jit(mean)
    return lambda predictions, targets: float(compiled(predictions, targets))


def _made_up(predictions: Any, count: int) -> Iterator[Any]:
    """Predictions of some examples: any numbers, then such as are probabilities, for what takes only those."""
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=(count, *leaf.shape[1:])), predictions)
    for change in (lambda values: values, _probabilities):
        yield jax.tree.map(lambda values, leaf, change=change: change(values).astype(leaf.dtype), drawn, predictions)


def _probabilities(values: Any) -> Any:
    grown = np.exp(values)
    return (
        grown / grown.sum(axis=-1, keepdims=True) if values.ndim > 1 and values.shape[-1] > 1 else grown / (1 + grown)
    )


def _count(targets: Any) -> int:
    return min((len(leaf) for leaf in jax.tree.leaves(targets)), default=0)


def _rows(tree: Any, rows: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _shape(tree: Any) -> str:
    """The shape of arrays of n examples as text, ``(n, 1)``; those of several arrays by name."""
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"'{name}': {_shape(each)}" for name, each in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(map(_shape, tree)) + ")"
    return f"({', '.join(map(str, ('n', *tree.shape[1:])))}{',' if tree.ndim == 1 else ''})"
