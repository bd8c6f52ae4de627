"""Problems from haiku functions, transformed or not, taken as they are: state, dropout and all."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

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
    pass_over,
    problem_of_model,
)
from dlkit.bench.problems.inputs import InputNames, Inputs, binding
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["problem_from_haiku"]


@says_what_it_takes("bench.problem_from_haiku")
def problem_from_haiku(
    transformed: Any,
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
    """Makes a problem of a haiku transform: predict targets from inputs, minimising the mean of a loss.

    The function is called with the inputs and with each of the arguments ``train``, ``training``, ``is_training``,
    ``deterministic`` and ``use_running_average`` that it has. Haiku's state is the problem's: training updates it,
    evaluation does not. Where an optimizer evaluates other parameters than it trains, it is re-estimated by one pass
    over the training split. Each step has a fresh key; whatever is drawn in evaluation is the same each time.

    Args:
        transformed: what ``haiku.transform`` or ``haiku.transform_with_state`` returns.
        dataset: as in `problem_from_flax`, like everything below.
        loss: ``loss(predictions, targets)``.
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
        The problem.

    Raises:
        UserError: as `problem_from_flax` does.
    """
    require_dataset(dataset, "bench.problem_from_haiku")
    names = InputNames.of(f"problem '{name or dataset.name}'", inputs)

    def reestimation(model: Layer) -> Reestimate | None:
        try:
            _, state = jax.eval_shape(lambda: model.init(jax.random.key(0), ()))
        except Exception:
            return None  # the checks that follow say what is wrong with the function
        return pass_over(model, dataset, names, batch_size) if jax.tree.leaves(state) else None

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
    return problem_of_model(task, lambda where: _model(where, transformed, names, dataset), reestimation)


def _model(where: str, transformed: Any, names: InputNames, dataset: Dataset) -> Layer:
    """Turns what haiku transformed into the functions of a layer."""
    import haiku

    if not isinstance(transformed, (haiku.Transformed, haiku.TransformedWithState)):
        raise UserError(
            f"{where}: expected what haiku.transform or haiku.transform_with_state returns, got {transformed!r}; give "
            "it the function"
        )
    pair = haiku.with_empty_state(transformed) if isinstance(transformed, haiku.Transformed) else transformed
    arguments = binding(where, names, transformed.init, without=NO_INPUTS | {"rng"})

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        ordered, by_name = arguments(names.example(dataset))
        params, state = pair.init(fold(key, "init"), *ordered, **by_name, **modes(transformed.init, train=True))
        return params, state

    def apply(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        ordered, by_name = arguments(x)
        options = {**by_name, **modes(transformed.apply, train=train)}
        predictions, updated = pair.apply(params, state, fold(key, "apply"), *ordered, **options)
        return predictions, like(state, updated) if train else state

    return Layer(init, apply)
