"""Optimizers: the registry by family, wrappers around any of them, and those of other packages by name."""

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.catalog import FAMILIES, OPTIMIZERS, get
from dlkit.bench.optimizers.players import for_players
from dlkit.bench.optimizers.plugins import load_plugin
from dlkit.bench.optimizers.wrappers import (
    WRAPPERS,
    with_accumulation,
    with_adaptive_clipping,
    with_averaging,
    with_caution,
    with_clipping,
    with_ema,
    with_extragradient,
    with_lookahead,
    with_sharpness_awareness,
    with_weight_decay,
)
from dlkit.bench.plan.trials import Evaluations

__all__ = [
    "FAMILIES",
    "OPTIMIZERS",
    "WRAPPERS",
    "Evaluations",
    "Optimizer",
    "for_players",
    "get",
    "load_plugin",
    "with_accumulation",
    "with_adaptive_clipping",
    "with_averaging",
    "with_caution",
    "with_clipping",
    "with_ema",
    "with_extragradient",
    "with_lookahead",
    "with_sharpness_awareness",
    "with_weight_decay",
]
