"""Which rule trains which parameters: what a parameter does in its network, and what an optimizer does with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["AllGroups", "Kind", "ParameterGroup", "Role"]

Kind = Literal["embedding", "first", "hidden", "head", "vector", "other"]


@dataclass(frozen=True)
class Role:
    """What a leaf of the parameters does in its network.

    Attributes:
        kind: ``"embedding"``: its rows are looked up by integers of the data; ``"first"``: it multiplies data that no
            other weight has multiplied before; ``"head"``: no weight multiplies what it makes; ``"hidden"``: any other
            weight that multiplies; ``"vector"``: a bias, a gain, a scalar; ``"other"``: of more axes, and only added or
            multiplied element by element, such as positions.
        inputs: the axes that its product sums over, of a convolution those of its size too; empty for what is no
            matrix.
        outputs: the axes that are left, of a vector all of them. Axes in neither tell matrices or vectors of one leaf
            apart, such as stacked layers.
    """

    kind: Kind
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies."""
        return bool(self.inputs)

    def stack(self, dimensions: int) -> tuple[int, ...]:
        """Returns the axes that tell matrices or vectors of one leaf apart."""
        return (
            ()
            if self.kind == "other"
            else tuple(axis for axis in range(dimensions) if axis not in (*self.inputs, *self.outputs))
        )


@dataclass(frozen=True)
class ParameterGroup:
    """A leaf of the parameters as a contender trains it.

    Attributes:
        path: where it stands, such as ``dense.kernel``.
        shape: of it.
        role: its kind of `Role`.
        rule: what trains it: the name of the optimizer, or of the part of it.
        decayed: whether weight decay moves it; None where that is not known.
    """

    path: str
    shape: tuple[int, ...]
    role: Kind
    rule: str
    decayed: bool | None

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


# Problem -> contender -> a group for each leaf.
AllGroups: TypeAlias = Mapping[str, Mapping[str, Sequence[ParameterGroup]]]
