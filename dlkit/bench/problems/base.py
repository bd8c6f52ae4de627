"""A problem: pure functions, a dataset, and what its metrics mean; all that training needs to know of it."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.data.base import Dataset, require_dataset
from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import is_number
from dlkit.bench.plan.trials import Order, require_order
from dlkit.bench.problems.players import Batch, Loss, Player, Updates, require_players
from dlkit.typing import Array, Key, Params, State

__all__ = [
    "Batch",
    "Evaluate",
    "ExampleScores",
    "Init",
    "Loss",
    "Player",
    "Problem",
    "Reestimate",
    "Samples",
    "Updates",
    "are_means",
    "by_example",
    "example_batch",
    "means_of",
    "require_splittable",
]

Init = Callable[[Key], tuple[Params, State]]
Evaluate = Callable[[Params, State, Batch], Mapping[str, Array]]
ExampleScores = Callable[[Params, State, Batch], Mapping[str, Array]]
Samples = Callable[[Params, State], Array]
Reestimate = Callable[[Params, State, Batch], State]


ELSEWHERE = {  # what people look for in a problem -> where it stands
    **dict.fromkeys(
        ("lr", "learning_rate", "weight_decay", "optimizer"),
        "hyperparameters stand in the space of an optimizer, and both in bench.compare(optimizers=[...])",
    ),
    **dict.fromkeys(("model", "module"), "it is made of a model with bench.problem_from_flax(model, dataset, loss)"),
    "seed": "seeds are the budget's",
}


def _unset(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
    """Stands for the mean of `Problem.example_scores`, until the problem is made."""
    raise NotImplementedError


@says_what_it_takes("bench.Problem", ELSEWHERE)
@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A training problem: how to start, what to minimise, how to judge, on which data.

    Attributes:
        name: how specs, tables and messages call it; with the seed it decides initial parameters and data order.
        init: ``init(key) -> (params, state)``. State is what changes without gradients (batch statistics), or None.
        loss: ``loss(params, state, batch, key) -> (scalar, state)``: what one step minimises. `batch` maps the names of
            the dataset's arrays to `batch_size` examples; `key` is fresh at every step (dropout). A loss with a
            parameter named ``step`` without a default is also given the number of steps done, an int32 scalar: for
            annealing, or data that change. With `players`, the loss of one of them, whose curve is the training loss.
        evaluate: ``evaluate(params, state, batch) -> {metric: scalar}`` over a whole split; by default the means of
            `example_scores`.
        example_scores: ``example_scores(params, state, batch) -> {metric: [examples]}``: for each metric that is a mean
            over examples, what it is a mean of. With it verdicts also say what holds on new examples, instead of on
            these test examples alone. None if no metric is such a mean.
        dataset: the data.
        metrics: metric -> what it means. Each must be among what `evaluate` returns.
        metric: the one that is tuned, ranked and compared; by default the first of `metrics`.
        batch_size: examples a step; None for the whole training split at every step.
        order: how batches are drawn: ``"reshuffle"``, a fresh permutation of the training examples each epoch;
            ``"fixed"``, one permutation for all epochs of a trial; ``"iid"``, every batch uniformly, without repeats
            inside of it and independently of the others. It means nothing where every step uses the whole split.
        steps: the default budget.
        target: the value of `metric` on held-out examples that steps to target count to; None to take it from the
            baseline.
        reestimate: ``reestimate(params, state, train) -> state``: the state that belongs to parameters which no step
            has seen (averages), given the training split; batch statistics, as a rule. None if the state depends on
            no parameters.
        diverged_above: a training loss beyond which a trial counts as diverged, be it at one step. None for the rule
            that holds for any problem but a game: a trial diverged if its losses end more than a million times their
            size above where they started; a number as large as 1e38 switches that off.
        description: a line for lists.
        stresses: what about training it is hard, in a line.
        trivial: the value of `metric` on held-out examples that needs no training (of the class prior, the mean, a
            random start); None if it is unknown.
        margin: by how much a tuned first-order optimizer beats `trivial` within `steps`: a difference, or a factor
            where `metric` is logarithmic.
        players: of a game, in the order of their moves; parameters are then a dictionary by player. None for the
            usual case: one loss of all parameters.
        updates: ``"alternating"``: at every step the players move one after another, each as often as its `moves`, on
            a batch of its own each time, and sees where the others have gone; ``"simultaneous"``: they move once, all
            from the same point on the same batch.
        devices: over how many devices each step's batch is split, and every evaluation: for a network that one device
            is too slow or too small for. The numbers are those of one device but for the last bits: means are over the
            whole batch, as are batch statistics. It divides the batch size.
        samples: ``samples(params, state)``: what a trained model generates, to be looked at in reports: points
            [samples, 2], or images [samples, height, width] with values in [0, 1]. None where nothing is generated.
    """

    name: str
    init: Init
    loss: Loss
    evaluate: Evaluate = _unset
    dataset: Dataset
    metrics: Mapping[str, Metric]
    metric: str = ""
    batch_size: int | None = None
    order: Order = "reshuffle"
    steps: int = 600
    target: float | None = None
    reestimate: Reestimate | None = None
    diverged_above: float | None = None
    description: str = ""
    stresses: str = ""
    trivial: float | None = None
    margin: float | None = None
    players: Sequence[Player] = ()
    updates: Updates = "alternating"
    devices: int = 1
    samples: Samples | None = None
    example_scores: ExampleScores | None = None

    def __post_init__(self) -> None:
        where = f"problem '{self.name}'"
        if not self.name:
            raise UserError("a problem needs a name")
        if self.evaluate is _unset:
            if self.example_scores is None:
                raise UserError(f"{where}: needs evaluate, or example_scores whose means it is")
            object.__setattr__(self, "evaluate", means_of(self.example_scores))
        self._require_kinds(where)
        object.__setattr__(self, "metric", self.metric or next(iter(self.metrics)))
        if self.metric not in self.metrics:
            raise UserError(f"{where}: no metric '{self.metric}'; {nearest(self.metric, self.metrics)}")
        self._make_plain(where)
        if self.dataset.too_fine:
            raise UserError(f"{where}: {self.dataset.too_fine[0]}")
        if self.steps < 1:
            raise UserError(f"{where}: steps must be at least 1, got {self.steps}")
        if self.batch_size is not None:
            if self.dataset.examples == 0:
                raise UserError(f"{where}: has no training data, so batch_size must be None, got {self.batch_size}")
            if not 1 <= self.batch_size <= self.dataset.examples:
                raise UserError(
                    f"{where}: batch_size must lie between 1 and the {self.dataset.examples} training examples, "
                    f"got {self.batch_size}"
                )
        require_splittable(self, self.devices)
        require_order(self.order, owner=where)
        require_players(where, self.players, self.updates, self.loss)

    def _require_kinds(self, where: str) -> None:
        """Refuses data that are no dataset, and metrics that are no dictionary of what they mean."""
        given: Any = self  # of any type, whatever is declared
        require_dataset(given.dataset, where)
        example = "metrics={'loss': bench.Metric('lower')}"
        if not isinstance(given.metrics, Mapping) or not given.metrics:
            raise UserError(f"{where}: needs at least one metric, such as {example}, got {given.metrics!r}")
        for name, meaning in given.metrics.items():
            if not isinstance(meaning, Metric):
                direction = meaning if meaning in ("lower", "higher") else "lower"
                written = f"metrics={{'{name}': bench.Metric('{direction}')}}"
                raise UserError(f"{where}: metric '{name}' must be a bench.Metric, got {meaning!r}; write {written}")

    def _make_plain(self, where: str) -> None:
        """Turns NumPy's numbers into Python's, which JSON can hold, and refuses everything else."""
        for name in ("steps", "batch_size", "devices"):
            number = getattr(self, name)
            if number is not None or name != "batch_size":
                try:
                    object.__setattr__(self, name, operator.index(number))
                except TypeError:
                    raise UserError(f"{where}: {name} must be a whole number, got {number!r}") from None
        for name in ("target", "trivial", "margin", "diverged_above"):
            number = getattr(self, name)
            if number is not None:
                if not is_number(number):
                    raise UserError(f"{where}: {name} must be a finite number, got {number!r}")
                object.__setattr__(self, name, float(number))

    def __repr__(self) -> str:
        batch = "all examples" if self.batch_size is None else str(self.batch_size)
        data = f"{self.dataset!r} of {' + '.join(map(str, self.dataset.sizes))} examples"
        return f"Problem({self.name!r}: {self.metric}, {self.steps} steps of {batch}; {data})"

    @property
    def judged(self) -> Metric:
        """What `metric` means."""
        return self.metrics[self.metric]

    @property
    def batches_per_step(self) -> int:
        """How many batches a step draws: one, or one for every move of players that take turns."""
        alternating = self.players and self.updates == "alternating"
        return sum(player.moves for player in self.players) if alternating else 1

    @property
    def rows_per_step(self) -> int:
        """How many examples a step draws, in all its batches; 0 for the whole split."""
        return (self.batch_size or 0) * self.batches_per_step

    def variant(
        self,
        *,
        name: str | None = None,
        steps: int | None = None,
        batch_size: int | Literal["full"] | None = None,
        order: Order | None = None,
        metric: str | None = None,
        target: float | None = None,
        diverged_above: float | None = None,
        devices: int | None = None,
    ) -> "Problem":
        """Returns the problem with some of its choices replaced; None keeps a choice.

        A batch size of ``"full"`` is the whole training split at every step. Target, trivial score and margin belong to
        a metric: with another one, the problem's own are dropped.
        """
        changes: dict[str, Any] = {
            "name": name,
            "steps": steps,
            "batch_size": batch_size,
            "order": order,
            "metric": metric,
            "target": target,
            "diverged_above": diverged_above,
            "devices": devices,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        if batch_size == "full":
            given["batch_size"] = None
        if metric not in (None, self.metric):
            given = {"target": None, "trivial": None, "margin": None, **given}
        return replace(self, **given)

    def over_trivial(self, score: float) -> float:
        """Returns how much better than `trivial` a score is: a difference, or a factor where `metric` is logarithmic.

        Args:
            score: a value of `metric` on held-out examples.

        Raises:
            UserError: if the problem has no trivial score.
        """
        if self.trivial is None:
            raise UserError(f"problem '{self.name}': has no trivial score to compare with")
        better, worse = (score, self.trivial) if self.judged.higher_is_better else (self.trivial, score)
        if self.judged.scale == "linear":
            return better - worse
        return better / worse if worse > 0 else float("inf")


def require_splittable(problem: Problem, devices: int) -> None:
    """Refuses devices that a problem's batches cannot be split over.

    Args:
        problem: whose batches.
        devices: how many.

    Raises:
        UserError: for no device, a problem without data, or a batch size that is no multiple of the devices.
    """
    where, size = f"problem '{problem.name}'", problem.batch_size
    if devices < 1:
        raise UserError(f"{where}: devices must be at least 1, got {devices}")
    if devices > 1 and problem.dataset.examples == 0:
        raise UserError(f"{where}: has no training data to split over {devices} devices; leave out devices")
    if size is not None and size % devices:
        around = (size // devices * devices, -(-size // devices) * devices)
        near = [each for each in around if 0 < each <= problem.dataset.examples]
        few = max(each for each in range(1, devices) if size % each == 0)
        sizes = f"a batch_size of {' or '.join(map(str, near))}, or " if near else ""
        raise UserError(
            f"{where}: a batch of {size} examples cannot be split evenly over {devices} devices; choose {sizes}"
            f"devices = {few}"
        )


def by_example(values: Array) -> Array:
    """Averages what a score returns over everything but the examples.

    Args:
        values: [examples, ...]: a number per example, or per element of one; of any type.

    Returns:
        [examples], at least in single precision.
    """
    return values.astype(jnp.promote_types(values.dtype, jnp.float32)).mean(axis=tuple(range(1, values.ndim)))


def means_of(example_scores: ExampleScores) -> Evaluate:
    """Returns the `evaluate` whose metrics are the means over examples of these scores."""
    return partial(_means, example_scores)


def _means(example_scores: ExampleScores, params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
    return {name: scores.mean() for name, scores in example_scores(params, state, batch).items()}


def are_means(problem: Problem) -> bool:
    """Whether a problem's `evaluate` was made of its `example_scores`, so that the two cannot disagree."""
    evaluate = problem.evaluate
    return isinstance(evaluate, partial) and evaluate.func is _means and evaluate.args == (problem.example_scores,)


def example_batch(problem: Problem) -> Batch:
    """Returns the shapes and types of one training batch, for tracing without computing.

    Args:
        problem: the problem.

    Returns:
        Name -> `jax.ShapeDtypeStruct`.
    """
    rows = problem.batch_size

    def describe(array: np.ndarray[Any, Any]) -> jax.ShapeDtypeStruct:
        shape = array.shape if rows is None else (rows, *array.shape[1:])
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(array.dtype))

    return {name: describe(array) for name, array in problem.dataset.train.items()}  # type: ignore[misc]
