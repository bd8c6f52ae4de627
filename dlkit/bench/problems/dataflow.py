"""How parameters meet data inside a loss: its equations, followed from the arguments to the result without computing.

Every value of a traced function is described by what it is made of. A value that only depends on parameters keeps a
view of each: which of its axes come from which axes of the leaf. Where such a value is multiplied with data, or with
what layers have made of data, the leaf's axes are those of a matrix: the ones that are summed over, and the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from dlkit.bench.problems.views import (
    NEUTRAL,
    Axes,
    Value,
    View,
    each_view,
    placed,
    reshaped,
    row,
    sliced,
    stacked,
    take,
    union,
)

__all__ = ["Flow", "Use"]

ROUNDS = 10  # of a loop's body, until what it carries is described
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "ne"})


class Use(NamedTuple):
    """One use of a leaf as a matrix.

    Attributes:
        inputs: its axes that are summed over, or looked up.
        outputs: the others, but for those that tell matrices apart.
        how: ``"lookup"``; ``"product"`` with data; ``"parameters"``: a product with another parameter.
        is_deep: whether a weight had multiplied the data before.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    how: Literal["lookup", "product", "parameters"]
    is_deep: bool


@dataclass
class Flow:
    """What was found on the way.

    Attributes:
        shapes: of the leaves.
        uses: leaf -> how it was used as a matrix.
        closed: the leaves whose products another weight has multiplied.
        looped: leaf -> the axes that were taken one by one before it was added to data or multiplied with it.
    """

    shapes: Sequence[tuple[int, ...]]
    uses: dict[int, list[Use]] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    looped: dict[int, frozenset[int]] = field(default_factory=dict)

    def follow(self, jaxpr: core.Jaxpr, arguments: Sequence[Value]) -> list[Value]:
        """Follows the equations of a body.

        Args:
            jaxpr: the body.
            arguments: what its arguments are made of.

        Returns:
            What its results are made of.
        """
        values: dict[Any, Value] = dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            return NEUTRAL if isinstance(atom, core.Literal) else values.get(atom, NEUTRAL)

        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        name = equation.primitive.name
        special: dict[str, Callable[[core.JaxprEqn, Sequence[Value]], list[Value]]] = {
            "scan": self._scan,
            "while": self._while,
            "cond": self._cond,
            "dot_general": self._dot,
            "conv_general_dilated": self._convolution,
            "gather": self._gather,
            "dynamic_slice": self._dynamic_slice,
        }
        if name in special:
            return special[name](equation, inputs)
        for parameter in equation.params.values():
            body = parameter.jaxpr if isinstance(parameter, core.ClosedJaxpr) else parameter
            if not isinstance(body, core.Jaxpr) or name.startswith("reduce"):
                continue
            if (len(body.invars), len(body.outvars)) == (len(inputs), len(equation.outvars)):
                return self.follow(body, inputs)
        moved = [_moved(equation, value) for value in inputs]
        return [self._joined(moved, atom.aval, name) for atom in equation.outvars]

    # --- bodies ---

    def _scan(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        consts, carried = equation.params["num_consts"], equation.params["num_carry"]
        body = equation.params["jaxpr"].jaxpr
        fixed, carry = inputs[:consts], list(inputs[consts : consts + carried])
        rows = [row(value) for value in inputs[consts + carried :]]
        for _ in range(ROUNDS):
            results = self.follow(body, [*fixed, *carry, *rows])
            after = self._both(carry, results[:carried], body.outvars)
            if after == carry:
                break
            carry = after
        return [*carry, *(stacked(value) for value in results[carried:])]

    def _while(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        skipped, consts = equation.params["cond_nconsts"], equation.params["body_nconsts"]
        body = equation.params["body_jaxpr"].jaxpr
        fixed, carry = inputs[skipped : skipped + consts], list(inputs[skipped + consts :])
        for _ in range(ROUNDS):
            after = self._both(carry, self.follow(body, [*fixed, *carry]), body.outvars)
            if after == carry:
                break
            carry = after
        return carry

    def _cond(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        branches = [each.jaxpr for each in equation.params["branches"]]
        if equation.params.get("branches_platforms") is not None:
            branches = branches[-1:]  # they compute the same; the last is for every other platform
        results = self.follow(branches[0], inputs[1:])
        for branch in branches[1:]:
            results = self._both(results, self.follow(branch, inputs[1:]), branch.outvars)
        return results

    def _both(self, first: Sequence[Value], second: Sequence[Value], atoms: Sequence[Any]) -> list[Value]:
        """What may be made of either."""
        return [self._joined(pair, atom.aval, "") for *pair, atom in zip(first, second, atoms, strict=False)]

    # --- products and lookups ---

    def _dot(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        (left, right), (left_batch, right_batch) = equation.params["dimension_numbers"]
        ranks = [len(_shape(atom)) for atom in equation.invars]
        sides = [
            (value, contracted, [axis for axis in range(rank) if axis not in (*contracted, *batch)], batch)
            for value, contracted, batch, rank in zip(
                inputs, (left, right), (left_batch, right_batch), ranks, strict=True
            )
        ]
        free = [len(side[2]) for side in sides]
        paddings = [((), ((),) * free[1]), (((),) * free[0], ())]
        moved = []
        for (value, _, kept, batch), (before, after) in zip(sides, paddings, strict=True):
            views = {
                leaf: view._replace(
                    axes=(*take(view.axes, batch), *before, *take(view.axes, kept), *after),
                )
                for leaf, view in value.views.items()
            }
            moved.append(value._replace(views=views))
        return self._product(equation, [side[:3] for side in sides], moved)

    def _convolution(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        numbers, groups = equation.params["dimension_numbers"], equation.params["feature_group_count"]
        x, kernel = inputs
        batch, *rest = numbers.lhs_spec
        out, *size = numbers.rhs_spec
        if groups > 1:  # a convolution that was mapped over kernels
            views = {leaf: self._ungrouped(leaf, view, out, groups) for leaf, view in kernel.views.items()}
            kernel = kernel._replace(views=views)
        nothing: Axes = ((),) * len(_shape(equation.outvars[0]))
        moved = [
            value._replace(views={leaf: view._replace(axes=nothing) for leaf, view in value.views.items()})
            for value in (x, kernel)
        ]
        return self._product(equation, [(x, rest, [batch]), (kernel, size, [out])], moved)

    def _ungrouped(self, leaf: int, view: View, out: int, groups: int) -> View:
        """A view of a kernel without the axes that make its groups."""
        taken, product = 0, 1
        while taken < len(view.axes[out]) - 1 and product < groups:
            product *= self.shapes[leaf][view.axes[out][taken]]
            taken += 1
        if product != groups:
            return view
        axes = [*view.axes]
        gone, axes[out] = view.axes[out][:taken], view.axes[out][taken:]
        return View(tuple(axes), view.looped | {*gone})

    def _product(
        self,
        equation: core.JaxprEqn,
        sides: Sequence[tuple[Value, Sequence[int], Sequence[int]]],
        moved: Sequence[Value],
    ) -> list[Value]:
        """A product of two values, each with the axes that are summed over and those that are kept."""
        (aval,) = (atom.aval for atom in equation.outvars)
        made: set[int] = set()
        still_open: frozenset[int] = frozenset()
        for (value, contracted, kept), (other, _, _) in zip(sides, reversed(sides), strict=True):
            if not value.views or not contracted or value.is_active:
                continue
            if other.is_input:
                how: Literal["lookup", "product"] = "lookup" if other.discrete == "one_hot" else "product"
                uses = [
                    self._use(leaf, view, contracted, kept, how, is_deep=other.is_deep)
                    for leaf, view in value.views.items()
                ]
                made |= value.views.keys()
                if any(uses):
                    self.closed |= other.open
                else:
                    still_open |= other.open
            elif other.views:
                for leaf, view in value.views.items():
                    self._use(leaf, view, contracted, kept, "parameters", is_deep=False)
        if not made:
            return [self._joined(moved, aval, "")]
        matrices = frozenset(leaf for leaf in made if len(self.shapes[leaf]) > 1)
        return [Value(is_source=True, is_active=True, is_deep=True, open=matrices | still_open)]

    def _use(
        self,
        leaf: int,
        view: View,
        contracted: Iterable[int],
        kept: Iterable[int],
        how: Literal["lookup", "product", "parameters"],
        *,
        is_deep: bool,
    ) -> bool:
        """Notes a use; returns whether it sums over the same axes as the first product: derivatives over the others."""
        inputs = {axis for each in take(view.axes, contracted) for axis in each}
        outputs = {axis for each in take(view.axes, kept) for axis in each} - inputs
        seen = {axis for each in view.axes for axis in each}
        # what an earlier product with another parameter has summed over stands on the other side
        gone = set(range(len(self.shapes[leaf]))) - seen - view.looped
        if inputs:
            outputs |= gone
        else:
            inputs = gone
        uses = self.uses.setdefault(leaf, [])
        uses.append(Use(tuple(sorted(inputs)), tuple(sorted(outputs)), how, is_deep))
        return next((use.inputs for use in uses if use.how == how), ()) == uses[-1].inputs

    def _gather(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        operand, indices = inputs
        numbers, aval = equation.params["dimension_numbers"], equation.outvars[0].aval
        batching = numbers.operand_batching_dims
        sizes = equation.params["slice_sizes"]
        kept = [axis for axis in range(len(sizes)) if axis not in (*numbers.collapsed_slice_dims, *batching)]
        looked_up = [axis for axis in numbers.start_index_map if sizes[axis] < _shape(equation.invars[0])[axis]]
        if operand.views and not operand.is_active and indices.discrete == "index" and looked_up:
            for leaf, view in operand.views.items():
                self._use(leaf, view, looked_up, [*kept, *batching], "lookup", is_deep=False)
            return [Value(is_source=True, is_active=True, is_deep=True, open=frozenset(operand.views))]
        views = {}
        for leaf, view in operand.views.items():
            places: list[tuple[int, ...]] = [()] * len(_shape(equation.outvars[0]))
            for place, axis in zip(numbers.offset_dims, kept, strict=True):
                places[place] = view.axes[axis]
            looped = {axis for each in take(view.axes, looked_up) for axis in each} - {*sum(places, ())}
            views[leaf] = View(tuple(places), view.looped | looped)
        chosen = operand._replace(views=views, is_source=operand.is_source or indices.is_source)
        return [self._joined([chosen, NEUTRAL], aval, "")]

    def _dynamic_slice(self, equation: core.JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
        operand, *starts = inputs
        before, after = _shape(equation.invars[0]), _shape(equation.outvars[0])
        looked_up = [axis for axis, start in enumerate(starts) if start.discrete and after[axis] < before[axis]]
        if operand.views and not operand.is_active and looked_up:
            kept = [axis for axis in range(len(before)) if axis not in looked_up]
            for leaf, view in operand.views.items():
                self._use(leaf, view, looked_up, kept, "lookup", is_deep=False)
            return [Value(is_source=True, is_active=True, is_deep=True, open=frozenset(operand.views))]
        return [self._joined([sliced(operand, before, after)], equation.outvars[0].aval, "")]

    # --- everything else ---

    def _joined(self, values: Sequence[Value], aval: Any, name: str) -> Value:
        """What is made of several values of the result's axes, element by element."""
        is_active = any(value.is_active for value in values)
        rank = len(getattr(aval, "shape", ()))
        views: dict[int, View] = {}
        for value in values:
            for leaf, view in value.views.items():
                axes = view.axes if len(view.axes) == rank else ((),) * rank
                before = views.get(leaf, View(((),) * rank))
                both = tuple(union(*pair) for pair in zip(before.axes, axes, strict=True))
                views[leaf] = View(both, before.looped | view.looped)
        if is_active:
            for leaf, view in views.items():
                self.looped[leaf] = self.looped.get(leaf, frozenset()) | view.looped
        return Value(
            {} if is_active else views,
            any(value.is_source for value in values),
            is_active,
            _discrete(values, aval, name),
            any(value.is_deep for value in values),
            frozenset[int]().union(*(value.open for value in values)),
        )


def _shape(atom: Any) -> tuple[int, ...]:
    return getattr(atom.aval, "shape", ())


def _discrete(values: Sequence[Value], aval: Any, name: str) -> Literal["", "index", "one_hot"]:
    kinds = {value.discrete for value in values if value.is_source or value.views}
    if len(kinds) != 1:
        return ""
    (kind,) = kinds
    if kind == "index":
        if name == "eq":
            return "one_hot"
        stays = name in COMPARISONS or jnp.issubdtype(getattr(aval, "dtype", jnp.float32), jnp.integer)
        return "index" if stays else ""
    return kind


def _moved(equation: core.JaxprEqn, value: Value) -> Value:
    """A value whose views have the axes of an equation's result."""
    if not value.views:
        return value
    name, setting = equation.primitive.name, equation.params
    before, after = _shape(equation.invars[0]), _shape(equation.outvars[0])
    if name == "transpose":
        return each_view(value, lambda axes: take(axes, setting["permutation"]))
    if name == "broadcast_in_dim":
        places = setting["broadcast_dimensions"]
        return each_view(value, lambda axes: placed(axes, places, len(after)))
    if name == "reshape":
        return each_view(value, lambda axes: reshaped(axes, before, after))
    if name == "slice":
        return sliced(value, before, after)
    if name == "squeeze":
        gone = [axis % len(before) for axis in setting["dimensions"]]
    elif name.startswith(("reduce", "arg")) and "axes" in setting:
        gone = [*setting["axes"]]
    else:
        return value
    return each_view(value, lambda axes: tuple(each for axis, each in enumerate(axes) if axis not in gone))
