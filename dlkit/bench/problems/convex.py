"""Linear models whose objective has a known minimum: least squares, lasso, logistic and softmax regression, an SVM.

Nothing is held out: all three splits are all of the examples, and the training objective itself is judged. The
minimum is found in float64 when the problem is made, so penalties must be plain numbers here.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dlkit import losses, models
from dlkit.bench import data
from dlkit.bench.data import Dataset
from dlkit.bench.data.base import SPLITS
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import known_optima
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.known_optima import Float64, Optimum
from dlkit.bench.problems.sections import penalized
from dlkit.typing import Array, Key, Params, State

__all__ = [
    "hinge_svm",
    "lasso",
    "linear_regression",
    "logistic_regression",
    "ridge_regression",
    "softmax_regression",
]

FLOOR = 1e-6  # an objective's rounding in float32 is a tenth of this; smaller suboptimalities are counted as this


class _Penalties(NamedTuple):
    """Strengths of the penalties of an objective."""

    l1: float = 0.0
    l2: float = 0.0


def linear_regression() -> Problem:
    """Makes the least-squares regression of diabetes progression on ten features, all examples at every step.

    Two features are nearly collinear: the condition number is about 470. Metric: ``suboptimality``, mean (y - x'w -
    b)^2 minus its minimum, counted as at least 1e-6.

    Margin: 50 times below predicting the mean.

    Returns:
        The convex problem.
    """
    return _least_squares("linear-regression", _Penalties(), target=1e-5, stresses="collinear features, no noise")


def ridge_regression(*, l2: float = 0.01) -> Problem:
    """Makes the ridge regression of diabetes progression: mean (y - x'w - b)^2 + l2 ||w||^2.

    Metric: ``suboptimality``, the objective minus its minimum, counted as at least 1e-6.

    Margin: 50 times below predicting the mean.

    Args:
        l2: strength of the penalty; scikit-learn's alpha is the number of examples times this.

    Returns:
        The convex problem.
    """
    return _least_squares(
        "ridge-regression", _Penalties(l2=l2), target=1e-5, stresses="a strongly convex bowl, no noise"
    )


def lasso(*, l1: float = 0.1) -> Problem:
    """Makes the lasso of diabetes progression: mean (y - x'w - b)^2 + l1 ||w||_1, not differentiable at zeros.

    Metric: ``suboptimality``, the objective minus its minimum, counted as at least 1e-6.

    Margin: 50 times below predicting the mean.

    Args:
        l1: strength of the penalty; scikit-learn's alpha is half of it.

    Returns:
        The convex problem.

    Reference:
        Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    return _least_squares("lasso", _Penalties(l1=l1), target=5e-4, stresses="kinks where the optimum is sparse")


def logistic_regression(*, l2: float = 1e-3) -> Problem:
    """Makes the logistic regression of breast cancer on thirty features: mean cross-entropy + l2 ||w||^2.

    Metric: ``suboptimality``, the objective minus its minimum, counted as at least 1e-6.

    Margin: 50 times below predicting the prior.

    Args:
        l2: strength of the penalty, above 0.

    Returns:
        The convex problem.
    """
    dataset = _undivided(data.breast_cancer(), "inputs")
    inputs, targets = _float64(dataset)
    # Two classes of softmax share w: ||w_0||^2 + ||w_1||^2 = ||w||^2 / 2 with w = w_1 - w_0.
    both = known_optima.softmax_regression(inputs, targets.astype(int), classes=2, l2=2 * l2)
    optimum = Optimum(both.kernel[:, 1:] - both.kernel[:, :1], both.bias[1:] - both.bias[:1], both.value)

    def loss(logits: Array, batch: Batch) -> Array:
        return losses.binary_cross_entropy(logits[..., 0], batch["targets"].astype(logits.dtype)).mean()

    return _convex(
        "logistic-regression",
        loss,
        dataset,
        optimum,
        _Penalties(l2=l2),
        trivial=_entropy(targets),
        target=2e-4,
        description=f"logistic regression on breast cancer, l2 {l2:g}",
        stresses="correlated features, flat far from the optimum",
    )


def softmax_regression(*, l2: float = 1e-3) -> Problem:
    """Makes the softmax regression of three wines on thirteen features: mean cross-entropy + l2 ||W||^2.

    Metric: ``suboptimality``, the objective minus its minimum, counted as at least 1e-6.

    Margin: 50 times below predicting the prior.

    Args:
        l2: strength of the penalty, above 0.

    Returns:
        The convex problem.
    """
    dataset = _undivided(data.wine(), "inputs")
    inputs, targets = _float64(dataset)
    return _convex(
        "softmax-regression",
        lambda logits, batch: losses.cross_entropy(logits, batch["targets"]).mean(),
        dataset,
        known_optima.softmax_regression(inputs, targets.astype(int), classes=3, l2=l2),
        _Penalties(l2=l2),
        trivial=_entropy(targets),
        target=2e-4,
        description=f"softmax regression on wine, l2 {l2:g}",
        stresses="smooth and convex, no noise",
    )


def hinge_svm(*, l2: float = 1e-3) -> Problem:
    """Makes the linear support vector machine of breast cancer: mean max(0, 1 - y (x'w + b)) + l2 ||w||^2.

    Metric: ``suboptimality``, the objective minus its minimum, counted as at least 1e-6.

    Margin: 50 times below a constant prediction.

    Args:
        l2: strength of the penalty, above 0; scikit-learn's C is 1 / (2 l2 n).

    Returns:
        The convex problem.

    Reference:
        Cortes and Vapnik, "Support-vector networks", 1995.
    """
    dataset = _undivided(data.breast_cancer(), "inputs")
    inputs, targets = _float64(dataset)

    def loss(scores: Array, batch: Batch) -> Array:
        return losses.hinge(scores[..., 0], 2 * batch["targets"].astype(scores.dtype) - 1).mean()

    return _convex(
        "hinge-svm",
        loss,
        dataset,
        known_optima.hinge_svm(inputs, 2 * targets - 1, l2=l2),
        _Penalties(l2=l2),
        trivial=2 * min(targets.mean(), 1 - targets.mean()),
        target=2e-3,
        description=f"support vector machine on breast cancer, l2 {l2:g}",
        stresses="kinks: the gradient does not vanish at the optimum",
    )


def _undivided(dataset: Dataset, *standardized: str) -> Dataset:
    """A dataset whose splits are all of its examples, with these arrays standardized over them."""
    splits = [getattr(dataset, part) for part in SPLITS]
    examples = {name: np.concatenate([split[name] for split in splits]) for name in dataset.train}
    whole = data.standardize(Dataset(dataset.name, examples, examples, examples), *standardized).train
    return Dataset(dataset.name, whole, whole, whole, source=dataset.source)


def _float64(dataset: Dataset) -> tuple[Float64, Float64]:
    return dataset.train["inputs"].astype(np.float64), dataset.train["targets"].astype(np.float64)


def _entropy(targets: Float64) -> float:
    """Of the class frequencies, in nats: the cross-entropy of the prior."""
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    return float(-(shares * np.log(shares)).sum())


def _least_squares(name: str, penalties: _Penalties, *, target: float, stresses: str) -> Problem:
    dataset = _undivided(data.diabetes(), "inputs", "targets")
    inputs, targets = _float64(dataset)
    l1, l2 = penalties
    optimum = known_optima.lasso(inputs, targets, l1=l1) if l1 else known_optima.least_squares(inputs, targets, l2=l2)
    described = "".join(f", {name} {strength:g}" for name, strength in penalties._asdict().items() if strength)
    return _convex(
        name,
        lambda predictions, batch: losses.squared_error(predictions[..., 0], batch["targets"]).mean(),
        dataset,
        optimum,
        penalties,
        trivial=float(targets.var()),
        target=target,
        description=f"least squares on diabetes{described}",
        stresses=stresses,
    )


def _convex(
    name: str,
    loss: Callable[[Array, Batch], Array],
    dataset: Dataset,
    optimum: Optimum,
    penalties: _Penalties,
    *,
    trivial: float,
    target: float,
    description: str,
    stresses: str,
) -> Problem:
    """A linear model's objective, judged by how far it is above its minimum."""
    model = models.mlp((len(optimum.bias),))
    l1, l2 = penalties

    def init(key: Key) -> tuple[Params, State]:
        return model.init(key, dataset.train["inputs"].shape[1:])

    def objective(params: Params, state: State, batch: Batch, key: Key | None = None) -> tuple[Array, State]:
        predictions, state = model.apply(params, state, batch["inputs"])
        return penalized(loss(predictions, batch), params, l1=l1, l2=l2), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        value, _ = objective(params, state, batch)
        return {"suboptimality": jnp.maximum(value - optimum.value, FLOOR), "objective": value}

    return Problem(
        name=name,
        init=init,
        loss=objective,
        evaluate=evaluate,
        dataset=dataset,
        metrics={"suboptimality": Metric("lower", "log", floor=FLOOR), "objective": Metric("lower")},
        steps=400,
        target=target,
        description=description,
        stresses=stresses,
        trivial=trivial - optimum.value,
        margin=50.0,
    )
