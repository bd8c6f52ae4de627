"""Whether losses and metrics depend on which target belongs to which example.

A mean over all pairs of examples, which [n, 1] against [n] makes by broadcasting, has the shape of the mean over
examples, and does not.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from dlkit.bench.examination.looks import Arrays, Look, Looker
from dlkit.bench.examination.ticks import Tick
from dlkit.bench.identity.places import place_within
from dlkit.bench.problems.base import Problem, example_batch
from dlkit.bench.problems.frameworks.pairing import broadcasts_to_pairs, same_number
from dlkit.bench.problems.players import with_step

__all__ = ["unpaired"]

ORDERS = 3  # in which targets are shuffled
MOST_CANCELS = 100.0  # times a sum's own size, of what cancels in it
ALONE = 16  # targets that are tried alone
ADVICE = "give predictions and targets the same shape, such as predictions[:, 0], before they are compared"


def unpaired(
    looker: Looker, owner: str, places: Sequence[Any], state: Any, batch: Arrays, held: Arrays
) -> Iterator[Tick]:
    """Looks at a problem with its targets shuffled among the examples.

    Args:
        looker: of the problem.
        owner: how messages call it.
        places: parameters that are no special ones, so that predictions differ from example to example.
        state: of these parameters.
        batch: of training examples.
        held: held-out examples.

    Yields:
        A tick for the loss, and for every metric that does not depend on the pairing but on the targets.
    """
    problem = looker.problem
    names = [name for name in batch if name != "inputs"] if "inputs" in batch else [*batch][1:]
    if problem.players or not names or len(batch) < 2:
        return
    looked = [_Shuffled(looker, params, state, batch, held, names) for params in places]
    plain = all(np.prod(batch[name].shape[1:]) == 1 for name in names)
    if _ignores(looked, lambda look: look.losses[""]):
        is_mistake = plain and _is_mean(looked, lambda look: look.losses[""]) and _has_pairs(problem)
        text = f"the loss is the same however {_listed(names)} are shuffled among the examples"
        cause = (
            f": shapes such as {tuple(batch[names[0]].shape)} and (n, 1) broadcast to all pairs" if is_mistake else ""
        )
        right = False if is_mistake else None
        remedy = ADVICE if is_mistake else f"if it compares distributions, that is right; if not, {ADVICE}"
        yield Tick("pairs", text + cause, right, owner, place_within(problem.loss), remedy)
        return
    if plain and len(names) > 1 and _has_pairs(problem):
        for name in names:
            alone = [_Shuffled(looker, params, state, batch, held, [name]) for params in places]
            if _ignores(alone, lambda look: look.losses[""]) and _is_mean(alone, lambda look: look.losses[""]):
                text = f"the loss is the same however '{name}' is shuffled among the examples, and the others are not"
                cause = ": shapes such as (n,) and (n, 1) broadcast to all pairs"
                yield Tick("pairs", text + cause, False, owner, place_within(problem.loss), ADVICE)
                return
    wrong = [
        name
        for name in problem.metrics
        if _ignores(looked, lambda look, name=name: look.metrics[name])  # type: ignore[misc]
    ]
    for name in wrong:
        text = f"metric '{name}' is the same however {_listed(names)} are shuffled among the examples"
        sign = 1 if problem.metrics[name].direction == "lower" else -1
        is_mean = _is_mean(looked, lambda look, name=name, sign=sign: sign * look.metrics[name])  # type: ignore[misc]
        right = False if plain and name == problem.metric and is_mean and _has_pairs(problem, held) else None
        place = place_within(problem.example_scores or problem.evaluate)
        yield Tick("pairs", f"{text}: do shapes broadcast to all pairs?", right, owner, place, ADVICE)
    if not wrong:
        yield Tick("pairs", f"{owner}: loss and metrics depend on which target belongs to which example", True)


class _Shuffled:
    """Looks with targets in other orders, and with one example's targets for all."""

    def __init__(
        self, looker: Looker, params: Any, state: Any, batch: Arrays, held: Arrays, names: Sequence[str]
    ) -> None:
        def look(rows_of: Callable[[int], Any]) -> Look:
            def changed(arrays: Arrays) -> Arrays:
                return {name: array[rows_of(len(array))] if name in names else array for name, array in arrays.items()}

            return looker.look(params, state, changed(batch), changed(held))

        self.look = look
        self.base = look(np.arange)
        self.shuffled = [look(np.random.default_rng(order).permutation) for order in range(ORDERS)]
        self.alike = [look(partial(_row, share)) for share in (0.0, 0.5, 1.0)]

    def is_fixed(self, of: Callable[[Look], float]) -> bool:
        """Whether a number is the same for all orders."""
        base, shuffled = of(self.base), [of(each) for each in self.shuffled]
        largest = max(abs(of(each)) for each in (self.base, *self.alike))  # of what may cancel in sums
        largest = min(largest, MOST_CANCELS * max(abs(each) for each in (base, *shuffled)))  # not of what divides by 0
        return bool(np.isfinite([base, *shuffled]).all()) and all(
            same_number(base + largest, each + largest) for each in shuffled
        )

    def depends(self, of: Callable[[Look], float]) -> bool:
        """Whether a number is another one for other targets."""
        others = [of(each) for each in self.alike]
        return bool(np.isfinite(others).all()) and not all(same_number(of(self.base), each) for each in others)


def _ignores(looked: Sequence[_Shuffled], of: Callable[[Look], float]) -> bool:
    """Whether a number depends on the targets, and not on which belongs to which example."""
    return all(each.is_fixed(of) for each in looked) and any(each.depends(of) for each in looked)


def _is_mean(looked: Sequence[_Shuffled], of: Callable[[Look], float]) -> bool:
    """Whether a number may be a mean over all pairs.

    A distance of distributions is smaller than that to each target alone, which no mean is.
    """
    for each in looked:
        base = of(each.base)
        alone = [of(each.look(partial(_row, share))) for share in np.linspace(0, 1, ALONE)]
        if base < min(alone) < MOST_CANCELS * abs(base):
            return False
    return True


def _row(share: float, count: int) -> Any:
    return np.full(count, int(share * (count - 1)))


def _has_pairs(problem: Problem, held: Arrays | None = None) -> bool:
    """Whether shapes broadcast to all pairs of examples in the loss, or in the metrics of held-out examples."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(problem.init, key)
    if held is not None:
        count = len(next(iter(held.values())))
        evaluate = lambda *given: dict(problem.evaluate(*given))  # noqa: E731
        return broadcasts_to_pairs(evaluate, params, state, dict(held), count=count)
    batch, step = example_batch(problem), jax.ShapeDtypeStruct((), np.int32)
    count = next(iter(batch.values())).shape[0]
    return broadcasts_to_pairs(with_step(problem.loss), params, state, batch, key, step, count=count)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
