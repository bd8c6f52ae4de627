"""Regularizers: penalties of parameters and of outputs, proximal operators, projections, and noise."""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.regularizers.masks import Mask, all_of, by_name, mask_tree, none_of, weights_only
from dlkit.regularizers.noise import alpha_dropout, cutmix, drop_path, dropout, gaussian_noise, label_smoothing, mixup
from dlkit.regularizers.outputs import activity_l1, activity_l2, confidence_penalty, jacobian_penalty
from dlkit.regularizers.penalties import elastic_net, group_lasso, l1, l2, orthogonality
from dlkit.regularizers.proximal import max_norm, proximal_elastic_net, proximal_group_lasso, proximal_l1

__all__ = [
    "Mask",
    "activity_l1",
    "activity_l2",
    "all_of",
    "alpha_dropout",
    "by_name",
    "confidence_penalty",
    "cutmix",
    "drop_path",
    "dropout",
    "elastic_net",
    "gaussian_noise",
    "group_lasso",
    "jacobian_penalty",
    "l1",
    "l2",
    "label_smoothing",
    "mask_tree",
    "max_norm",
    "mixup",
    "none_of",
    "orthogonality",
    "proximal_elastic_net",
    "proximal_group_lasso",
    "proximal_l1",
    "weights_only",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
