"""Whether seeds begin at different parameters: a seed that changes nothing is no repetition."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from dlkit.bench.examination.looks import Looker
from dlkit.bench.examination.ticks import Tick
from dlkit.bench.identity.places import place_within

__all__ = ["start_ticks"]


def start_ticks(looker: Looker, owner: str) -> Iterator[Tick]:
    """Looks at the initial parameters of two seeds.

    Args:
        looker: of the problem.
        owner: how messages call it.

    Yields:
        A tick; none for a problem without parameters.
    """
    problem = looker.problem
    first, second = (jax.tree.leaves(looker.start(seed)[0]) for seed in (0, 1))
    if not first:
        return
    if any(not np.array_equal(_plain(one), _plain(other)) for one, other in zip(first, second, strict=True)):
        yield Tick("starts", f"{owner}: another seed begins at other parameters", True)
        return
    differ = "so that seeds differ in the order of their examples alone"
    if problem.batch_size is None:
        differ = "so that seeds differ in nothing but what the loss draws: trials of one setting may all be the same"
    constant = all(np.ptp(_plain(leaf)) == 0 for leaf in first if np.size(leaf))
    values = sorted({float(_plain(leaf).flat[0]) for leaf in first if np.size(leaf)})
    which = f" ({', '.join(f'all {value:g}' for value in values[:3])})" if constant else ""
    text = f"every seed begins at the same parameters{which}: init does not use its key, {differ}"
    remedy = "if that is meant, as for a linear model, all is well"
    if not constant:
        remedy = "draw them from the key; an instance of a module holds one draw: give a function that makes it, such "
        remedy += "as lambda rngs: MyModule(rngs=rngs). If they are pretrained, all is well"
    yield Tick("starts", text, None, owner, place_within(problem.init), remedy)


def _plain(leaf: Any) -> np.ndarray[Any, Any]:
    return np.asarray(leaf, np.float64) if np.asarray(leaf).dtype.kind in "fiub" else np.asarray(leaf, np.float32)
