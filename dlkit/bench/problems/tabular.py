"""Linear models and small networks on small tables: diabetes, wine, breast cancer, synthetic documents."""

from functools import partial

import numpy as np

from dlkit import losses, models
from dlkit.bench import data
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.fitting import functions_of
from dlkit.bench.problems.supervised import classification, regression
from dlkit.checks import require_number
from dlkit.typing import Array, Scalar

__all__ = [
    "breast_cancer_mlp",
    "diabetes_linear",
    "diabetes_outliers",
    "diabetes_quantile",
    "wine_mlp",
    "zipf_logistic",
]


def diabetes_linear(*, loss: str = "squared_error", l1: Scalar = 0.0, l2: Scalar = 0.0) -> Problem:
    """Makes the linear regression on scikit-learn's diabetes, batches of 37.

    Margin: 0.3 in mean squared error below the mean's.

    Args:
        loss: what is minimised, a name of `REGRESSION_LOSSES`.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.

    Returns:
        The problem.
    """
    return regression(
        "diabetes-linear",
        models.mlp((1,)),
        data.diabetes(),
        batch_size=37,
        steps=400,
        target=0.55,
        description="linear regression on scikit-learn's diabetes, standardized, batch 37",
        stresses="few noisy examples: minibatch noise, overfitting",
        margin=0.3,
        loss=loss,
        l1=l1,
        l2=l2,
    )


def diabetes_outliers(
    *, loss: str = "huber", share: float = 0.1, size: float = 10.0, l1: Scalar = 0.0, l2: Scalar = 0.0
) -> Problem:
    """Makes the robust linear regression on diabetes: a share of the training targets is far too high.

    Validation data are clean and judged by their mean absolute error: the squared error, which follows the outliers,
    does badly here.

    Margin: 0.15 in mean absolute error below the training median's.

    Args:
        loss: what is minimised, a name of `REGRESSION_LOSSES`.
        share: of the training targets that are outliers.
        size: by how many standard deviations they are moved.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.

    Returns:
        The problem.

    Reference:
        Huber, "Robust estimation of a location parameter", 1964.
    """
    return regression(
        "diabetes-outliers",
        models.mlp((1,)),
        data.diabetes_outliers(share=share, size=size),
        batch_size=37,
        steps=400,
        target=0.615,
        description=f"linear regression on diabetes, {share:.0%} of the training targets {size:g} deviations too high",
        stresses="outliers: heavy-tailed gradients",
        metric="mean_absolute_error",
        margin=0.15,
        loss=loss,
        l1=l1,
        l2=l2,
    )


def diabetes_quantile(*, level: float = 0.9, l1: Scalar = 0.0, l2: Scalar = 0.0) -> Problem:
    """Makes the linear regression of a quantile of diabetes progression, by the quantile (pinball) loss.

    Margin: 0.02 in quantile loss below the training targets' own quantile.

    Args:
        level: which quantile, in (0, 1).
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.

    Returns:
        The problem, with metric ``quantile_loss``.

    Reference:
        Koenker and Bassett, "Regression quantiles", 1978.
    """
    require_number("diabetes_quantile", "level", level, above=0, below=1)
    dataset = data.diabetes()
    loss = partial(losses.quantile, level=level)

    def losses_of(predictions: Array, batch: Batch) -> Array:
        return loss(predictions[..., 0], batch["targets"])

    functions = functions_of(
        models.mlp((1,)), dataset, losses_of, {"quantile_loss": losses_of}, batch_size=37, l1=l1, l2=l2
    )
    errors = dataset.validation["targets"] - np.quantile(dataset.train["targets"], level)
    return Problem(
        name="diabetes-quantile",
        init=functions.init,
        loss=functions.loss,
        example_scores=functions.example_scores,
        dataset=dataset,
        metrics={"quantile_loss": Metric("lower", label="quantile loss")},
        batch_size=37,
        steps=200,
        target=0.135,
        description=f"linear regression of the {level:g} quantile of diabetes, batch 37",
        stresses="kinks, and gradients of two sizes",
        trivial=float(np.maximum(level * errors, (level - 1) * errors).mean()),
        margin=0.02,
    )


def wine_mlp(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
) -> Problem:
    """Makes the classification of three wines by a small network, judged by cross-entropy.

    Margin: 0.7 in cross-entropy below the class prior's.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of a hidden layer.
        depth: how many hidden layers.

    Returns:
        The problem.
    """
    return classification(
        "wine-mlp",
        models.mlp((width,) * depth + (3,), activation=activation, normalization=norm, dropout=dropout),
        data.wine(),
        batch_size=30,
        steps=200,
        target=0.16,
        description=f"MLP of {depth} x {width} on scikit-learn's wine, batch 30",
        stresses="few examples",
        metric="cross_entropy",
        margin=0.7,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )


def breast_cancer_mlp(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 2,
) -> Problem:
    """Makes the classification of breast tumours by a small network, judged by cross-entropy.

    Margin: 0.25 in cross-entropy below the class prior's.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of a hidden layer.
        depth: how many hidden layers.

    Returns:
        The problem.
    """
    return classification(
        "breast-cancer-mlp",
        models.mlp((width,) * depth + (2,), activation=activation, normalization=norm, dropout=dropout),
        data.breast_cancer(),
        batch_size=57,
        steps=200,
        target=0.1,
        description=f"MLP of {depth} x {width} on scikit-learn's breast cancer, batch 57",
        stresses="overfitting: confident mistakes cost much",
        metric="cross_entropy",
        margin=0.25,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )


def zipf_logistic(*, loss: str = "cross_entropy", l1: Scalar = 0.0, l2: Scalar = 0.0, features: int = 400) -> Problem:
    """Makes the logistic regression of synthetic documents whose words follow Zipf's law.

    Most words are rare, so most coordinates of a gradient are zero at most steps.

    Margin: 0.3 in cross-entropy below the class prior's.

    Args:
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        features: how many words there are.

    Returns:
        The problem.

    Reference:
        Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011, section 1.1 (rare features).
    """
    return classification(
        "zipf-logistic",
        models.mlp((2,)),
        data.zipf_words(features=features),
        batch_size=50,
        steps=600,
        target=0.32,
        description=f"logistic regression of documents of {features} words, frequencies by Zipf's law, batch 50",
        stresses="rare features: coordinates of very different scale",
        metric="cross_entropy",
        margin=0.3,
        loss=loss,
        l1=l1,
        l2=l2,
    )
