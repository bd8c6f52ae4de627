"""Losses: (predictions, targets) -> losses, never reduced over the batch; the caller takes the mean.

Losses of regression and likelihoods return one value per element, those of classification and of embeddings reduce the
last axis. All are finite and right, in values and gradients, wherever the mathematics is: at logits of 10,000 too.
`masked_mean` leaves padding out of the mean.
"""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.losses.classification import (
    binary_cross_entropy,
    cross_entropy,
    focal,
    hinge,
    multiclass_hinge,
    squared_hinge,
)
from dlkit.losses.divergences import jensen_shannon, kl_divergence, kl_divergence_normal, reverse_kl_divergence
from dlkit.losses.likelihoods import gaussian_nll, poisson_nll
from dlkit.losses.regression import absolute_error, huber, log_cosh, quantile, squared_error
from dlkit.losses.sequence import ctc
from dlkit.losses.shared import masked_mean
from dlkit.losses.similarity import cosine_distance, info_nce, triplet
from dlkit.losses.survival import aft, concordance_index, cox

__all__ = [
    "absolute_error",
    "aft",
    "binary_cross_entropy",
    "concordance_index",
    "cosine_distance",
    "cox",
    "cross_entropy",
    "ctc",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "info_nce",
    "jensen_shannon",
    "kl_divergence",
    "kl_divergence_normal",
    "log_cosh",
    "masked_mean",
    "multiclass_hinge",
    "poisson_nll",
    "quantile",
    "reverse_kl_divergence",
    "squared_error",
    "squared_hinge",
    "triplet",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__, note=" (losses are not reduced: take .mean())")
