"""Losses: (predictions, targets) -> losses, never reduced over the batch; the caller takes the mean.

Losses of regression and likelihoods return one value per element, those of classification and of embeddings reduce the
last axis. All are finite and right, in values and gradients, wherever the mathematics is: at logits of 10,000 too.
`masked_mean` leaves padding out of the mean.
"""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.losses.classification import cross_entropy, distillation, linear_cross_entropy, z_loss
from dlkit.losses.contrast import nt_xent, supervised_contrastive
from dlkit.losses.decisions import binary_cross_entropy, dice, focal, hinge, squared_hinge
from dlkit.losses.divergences import jensen_shannon, kl_divergence, kl_divergence_normal, reverse_kl_divergence
from dlkit.losses.likelihoods import gaussian_nll, mixture_nll, poisson_nll, student_t_nll
from dlkit.losses.multiclass import multiclass_dice, multiclass_focal, multiclass_hinge, ordinal
from dlkit.losses.ranking import list_mle, list_net
from dlkit.losses.regression import absolute_error, huber, log_cosh, quantile, squared_error
from dlkit.losses.samples import maximum_mean_discrepancy, sinkhorn
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
    "dice",
    "distillation",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "info_nce",
    "jensen_shannon",
    "kl_divergence",
    "kl_divergence_normal",
    "linear_cross_entropy",
    "list_mle",
    "list_net",
    "log_cosh",
    "masked_mean",
    "maximum_mean_discrepancy",
    "mixture_nll",
    "multiclass_dice",
    "multiclass_focal",
    "multiclass_hinge",
    "nt_xent",
    "ordinal",
    "poisson_nll",
    "quantile",
    "reverse_kl_divergence",
    "sinkhorn",
    "squared_error",
    "squared_hinge",
    "student_t_nll",
    "supervised_contrastive",
    "triplet",
    "z_loss",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__, note=" (losses are not reduced: take .mean())")
