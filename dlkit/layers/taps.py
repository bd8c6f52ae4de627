"""Outputs of layers inside a model, on their way out: they travel with the state, through loops and maps."""

from collections.abc import Mapping
from typing import Any

import jax

__all__ = ["Tapped", "untapped"]


@jax.tree_util.register_pytree_node_class
class Tapped:
    """A state, and what was tapped: path -> output.

    Attributes:
        outputs: by their paths in the whole model.
        state: the state itself.

    Example:
        >>> Tapped({"stem": 1}, {}).outputs
        {'stem': 1}
    """

    def __init__(self, outputs: Mapping[str, Any], state: Any) -> None:
        """Bind what was tapped to a state.

        Args:
            outputs: by their paths.
            state: of the layer.
        """
        self.outputs, self.state = dict(outputs), state

    def tree_flatten(self) -> tuple[tuple[dict[str, Any], Any], None]:
        """For JAX: both are trees.

        Example:
            >>> Tapped({"stem": 1}, {}).tree_flatten()
            (({'stem': 1}, {}), None)
        """
        return (self.outputs, self.state), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[dict[str, Any], Any]) -> "Tapped":
        """For JAX: from what `tree_flatten` returned.

        Example:
            >>> Tapped.tree_unflatten(None, ({"stem": 1}, {})).outputs
            {'stem': 1}
        """
        made = object.__new__(cls)
        made.outputs, made.state = children
        return made


def untapped(state: Any) -> tuple[dict[str, Any], Any]:
    """The outputs in a state, wherever in it, and the state without them.

    Example:
        >>> untapped({"a": Tapped({"a": 1}, {"count": 0})})
        ({'a': 1}, {'a': {'count': 0}})
    """
    nodes, structure = jax.tree.flatten(state, is_leaf=_is_tapped)
    if not any(map(_is_tapped, nodes)):
        return {}, state
    outputs: dict[str, Any] = {}
    plain = []
    for node in nodes:
        if _is_tapped(node):
            deeper, node_state = untapped(node.state)
            outputs |= {**deeper, **node.outputs}
            plain.append(node_state)
        else:
            plain.append(node)
    return outputs, jax.tree.unflatten(structure, plain)


def _is_tapped(node: Any) -> bool:
    return isinstance(node, Tapped)
