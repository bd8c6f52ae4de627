"""The penalties as formulas in NumPy's double precision, and a mask, for the tests of this folder."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dlkit import regularizers


def everything(path: tuple[str, ...], leaf: jax.Array) -> bool:
    return True


def column_norms(w: np.ndarray) -> np.ndarray:
    return np.sqrt((w.reshape(-1, w.shape[-1]) ** 2).sum(axis=0))


def distance_from_orthogonal(w: np.ndarray) -> float:
    kernel = w.reshape(-1, w.shape[-1])
    # By the singular values: the Gram matrix has the eigenvalues sigma^2.
    return float(((np.linalg.svd(kernel, compute_uv=False) ** 2 - 1.0) ** 2).sum())


# Name, settings, and the formula of one leaf.
PENALTIES: dict[str, tuple[Callable[..., jax.Array], dict[str, Any], Callable[[np.ndarray], float]]] = {
    "l1": (regularizers.l1, {}, lambda w: np.abs(w).sum()),
    "l2": (regularizers.l2, {}, lambda w: (w**2).sum()),
    "elastic_net": (
        regularizers.elastic_net,
        {"l1_ratio": 0.3},
        lambda w: 0.3 * np.abs(w).sum() + 0.35 * (w**2).sum(),
    ),
    "group_lasso": (
        regularizers.group_lasso,
        {},
        lambda w: math.sqrt(w.size / w.shape[-1]) * column_norms(w).sum(),
    ),
    "group_lasso-unweighted": (regularizers.group_lasso, {"size_weighted": False}, lambda w: column_norms(w).sum()),
    "group_lasso-rows": (
        regularizers.group_lasso,
        {"group_axes": (-1,)},
        lambda w: math.sqrt(w.shape[-1]) * np.sqrt((w**2).sum(axis=-1)).sum(),
    ),
    "orthogonality": (regularizers.orthogonality, {}, distance_from_orthogonal),
}
