"""What a value of a traced function is made of, and how its axes change in reshapes, slices and loops."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

__all__ = [
    "NEUTRAL",
    "Axes",
    "Value",
    "View",
    "each_view",
    "placed",
    "reshaped",
    "row",
    "sliced",
    "stacked",
    "take",
    "union",
]

Axes = tuple[tuple[int, ...], ...]


class View(NamedTuple):
    """How a value comes from a leaf of the parameters.

    Attributes:
        axes: for each axis of the value, the leaf's axes that it is made of.
        looped: the leaf's axes that were taken one by one: stacked layers.
    """

    axes: Axes
    looped: frozenset[int] = frozenset()


class Value(NamedTuple):
    """What a value is made of.

    Attributes:
        views: leaf -> how the value comes from it; none once data are in it.
        is_source: whether data or random numbers are in it.
        is_active: whether data are in it, or a product of parameters with random numbers.
        discrete: ``"index"`` for integers of the data, ``"one_hot"`` for what compares them.
        is_deep: whether a weight has multiplied it, or it was looked up.
        open: the leaves whose products it holds with no weight in between.
    """

    views: Mapping[int, View] = {}
    is_source: bool = False
    is_active: bool = False
    discrete: Literal["", "index", "one_hot"] = ""
    is_deep: bool = False
    open: frozenset[int] = frozenset()

    @property
    def is_input(self) -> bool:
        """Whether it is what weights multiply."""
        return self.is_active or (self.is_source and not self.views)


NEUTRAL = Value()


def each_view(value: Value, change: Callable[[Axes], Axes]) -> Value:
    """Returns a value whose views have other axes."""
    return value._replace(views={leaf: view._replace(axes=change(view.axes)) for leaf, view in value.views.items()})


def take(axes: Axes, places: Iterable[int]) -> Axes:
    """Returns the axes at some places."""
    return tuple(axes[place] for place in places)


def placed(axes: Axes, places: Sequence[int], rank: int) -> Axes:
    """Returns the axes at other places of a value of more axes."""
    found: list[tuple[int, ...]] = [()] * rank
    for place, each in zip(places, axes, strict=False):
        found[place] = each
    return tuple(found)


def union(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the axes of both, each once."""
    return (*first, *(axis for axis in second if axis not in first))


def row(value: Value) -> Value:
    """Returns one element along the first axis."""
    views = {leaf: View(view.axes[1:], view.looped | {*view.axes[0]}) for leaf, view in value.views.items()}
    return value._replace(views=views)


def stacked(value: Value) -> Value:
    """Returns the values of a loop's rounds along a new first axis."""
    return each_view(value, lambda axes: ((), *axes))


def sliced(value: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    """Returns a part of a value: an axis of which one element is left was taken one by one."""
    single = [axis for axis, (old, new) in enumerate(zip(before, after, strict=True)) if new == 1 < old]
    views = {}
    for leaf, view in value.views.items():
        axes = tuple(() if axis in single else each for axis, each in enumerate(view.axes))
        looped = {axis for each in take(view.axes, single) for axis in each} - {*sum(axes, ())}
        views[leaf] = View(axes, view.looped | looped)
    return value._replace(views=views)


def reshaped(axes: Axes, before: Sequence[int], after: Sequence[int]) -> Axes:
    """Returns the axes after a reshape: those of every run of axes that keeps its number of elements."""
    old = [axis for axis, size in enumerate(before) if size != 1]
    new = [axis for axis, size in enumerate(after) if size != 1]
    found: list[tuple[int, ...]] = [()] * len(after)
    while old and new and 0 not in before:
        run_old, run_new = [old.pop(0)], [new.pop(0)]
        while (left := math.prod(before[axis] for axis in run_old)) != (
            right := math.prod(after[axis] for axis in run_new)
        ):
            if left < right:
                run_old.append(old.pop(0))
            else:
                run_new.append(new.pop(0))
        merged = sum((axes[axis] for axis in run_old), ())
        for axis in run_new:
            found[axis] = merged
    return tuple(found)
