"""Minima of convex objectives in float64, by methods of their own: closed forms, Newton, coordinate descent."""

from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.errors import UserError

__all__ = ["Optimum", "hinge_svm", "lasso", "least_squares", "softmax_regression"]

Float64 = np.ndarray[Any, np.dtype[np.float64]]

NEWTON_STEPS = 100
SWEEPS = 100_000  # of coordinate descent
TOLERANCE = 1e-13


class Optimum(NamedTuple):
    """Where a linear model's objective is least.

    Attributes:
        kernel: [features, outputs].
        bias: [outputs].
        value: of the objective there.
    """

    kernel: Float64
    bias: Float64
    value: float


def least_squares(inputs: Float64, targets: Float64, *, l2: float = 0.0) -> Optimum:
    """Minimises mean (y - x'w - b)^2 + l2 ||w||^2: the normal equations, with the bias left free by centring.

    Args:
        inputs: [examples, features].
        targets: [examples].
        l2: strength of the penalty.

    Returns:
        The minimum, in closed form.
    """
    centred, offset = inputs - inputs.mean(axis=0), targets - targets.mean()
    # (X'X / n + l2 I) w = X'y / n, as the least squares of [X / sqrt n; sqrt(l2) I] w = [y / sqrt n; 0]
    rows = np.concatenate([centred / np.sqrt(len(inputs)), np.sqrt(l2) * np.eye(inputs.shape[1])])
    kernel = np.linalg.lstsq(rows, np.append(offset / np.sqrt(len(inputs)), np.zeros(inputs.shape[1])), rcond=None)[0]
    value = np.square(offset - centred @ kernel).mean() + l2 * kernel @ kernel
    return Optimum(kernel[:, None], np.array([targets.mean() - inputs.mean(axis=0) @ kernel]), float(value))


def lasso(inputs: Float64, targets: Float64, *, l1: float) -> Optimum:
    """Minimises mean (y - x'w - b)^2 + l1 ||w||_1 by coordinate descent, each coordinate by soft thresholding.

    Args:
        inputs: [examples, features].
        targets: [examples].
        l1: strength of the penalty.

    Returns:
        The minimum, up to 1e-13 in every coordinate's last move.

    Raises:
        UserError: if it is not found.

    Reference:
        Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
        2010.
    """
    centred, offset = inputs - inputs.mean(axis=0), targets - targets.mean()
    gram, moments = centred.T @ centred / len(inputs), centred.T @ offset / len(inputs)
    kernel = np.zeros(inputs.shape[1])
    for _ in range(SWEEPS):
        before = kernel.copy()
        for j, curvature in enumerate(np.diag(gram)):
            pull = moments[j] - gram[j] @ kernel + curvature * kernel[j]
            kernel[j] = np.sign(pull) * max(abs(pull) - l1 / 2, 0) / curvature
        if np.abs(kernel - before).max() <= TOLERANCE * max(np.abs(kernel).max(), 1):
            value = np.square(offset - centred @ kernel).mean() + l1 * np.abs(kernel).sum()
            return Optimum(kernel[:, None], np.array([targets.mean() - inputs.mean(axis=0) @ kernel]), float(value))
    raise UserError(f"the lasso with l1 = {l1:g} did not converge; use a larger l1")


def softmax_regression(inputs: Float64, targets: np.ndarray[Any, Any], *, classes: int, l2: float) -> Optimum:
    """Minimises mean cross-entropy of softmax(x'W + b) + l2 ||W||^2 by Newton's method with halved steps.

    Args:
        inputs: [examples, features].
        targets: [examples] class indices.
        classes: how many.
        l2: strength of the penalty, above 0: without it separable classes have no minimum.

    Returns:
        The minimum; the biases sum to 0.

    Raises:
        UserError: for a strength that is not above 0, or if no minimum is found.
    """
    if not l2 > 0:
        raise UserError(
            f"classes that can be separated have no minimum without a penalty: l2 must be above 0, got {l2}"
        )
    rows, features = inputs.shape
    extended = np.column_stack([inputs, np.ones(rows)])
    truth = np.eye(classes)[targets]
    ridge = 2 * l2 * np.kron(np.diag(np.append(np.ones(features), 0)), np.eye(classes))

    def objective(weights: Float64) -> tuple[float, Float64]:
        logits = extended @ weights
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -(truth * log_probabilities).sum() / rows + l2 * np.square(weights[:-1]).sum(), np.exp(log_probabilities)

    weights = np.zeros((features + 1, classes))
    value, shares = objective(weights)
    for _ in range(NEWTON_STEPS):
        gradient = (extended.T @ (shares - truth) / rows).ravel() + ridge @ weights.ravel()
        if np.abs(gradient).max() <= TOLERANCE:
            break
        # Blocks of the Hessian: x x' (x) (diag p - p p'); equal shifts of all biases change nothing, hence lstsq.
        curvature = shares[:, :, None] * np.eye(classes) - shares[:, :, None] * shares[:, None, :]
        hessian = np.einsum("nf,ng,nab->fagb", extended, extended, curvature, optimize=True).reshape(ridge.shape) / rows
        direction = -np.linalg.lstsq(hessian + ridge, gradient, rcond=1e-12)[0].reshape(weights.shape)
        step = 1.0
        while step > 1e-10 and objective(weights + step * direction)[0] > value:
            step /= 2
        moved = objective(weights + step * direction)
        if moved[0] >= value:
            break  # as low as float64 resolves
        weights, (value, shares) = weights + step * direction, moved
    else:
        raise UserError(f"the regression with l2 = {l2:g} did not converge; use a larger l2")
    return Optimum(weights[:-1], weights[-1] - weights[-1].mean(), float(value))


def hinge_svm(inputs: Float64, signs: Float64, *, l2: float) -> Optimum:
    """Minimises mean max(0, 1 - y (x'w + b)) + l2 ||w||^2 by libsvm's sequential minimal optimization.

    Args:
        inputs: [examples, features].
        signs: [examples] of -1 and 1.
        l2: strength of the penalty, above 0.

    Returns:
        The minimum, to about 1e-9 of its value.

    Raises:
        UserError: for a strength that is not above 0.
    """
    from sklearn.svm import SVC

    if not l2 > 0:
        raise UserError(f"a support vector machine needs a penalty: l2 must be above 0, got {l2}")
    # libsvm minimises 1/2 ||w||^2 + C sum hinge
    model = SVC(kernel="linear", C=1 / (2 * len(inputs) * l2), tol=1e-9).fit(inputs, signs)
    kernel, bias = model.coef_[0], _best_bias(inputs @ model.coef_[0], signs)
    value = np.maximum(0, 1 - signs * (inputs @ kernel + bias)).mean() + l2 * kernel @ kernel
    return Optimum(kernel[:, None], np.array([bias]), float(value))


def _best_bias(scores: Float64, signs: Float64) -> float:
    """The bias that minimises the mean hinge loss: the loss is piecewise linear with kinks at y - score."""
    kinks = np.sort(signs - scores)
    values = [np.maximum(0, 1 - signs * (scores + kink)).mean() for kink in kinks]
    return float(kinks[int(np.argmin(values))])
