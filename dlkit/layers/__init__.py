"""Layers: pairs of pure functions `(init, apply)`, and what chains them.

Example:
    >>> import jax
    >>> from dlkit import activations, layers
    >>> model = layers.serial(layers.dense(4), activations.relu, layers.dense(2))
    >>> params, state = model.init(jax.random.key(0), (3,))
    >>> sorted(params)
    ['layer_0', 'layer_2']
"""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.layers.activation import activation, prelu
from dlkit.layers.adaptive_pool import adaptive_average_pool, adaptive_max_pool
from dlkit.layers.attention import dot_product_attention
from dlkit.layers.base import (
    About,
    ApplyFunction,
    InitFunction,
    Layer,
    Networks,
    Part,
    RaggedFunction,
    as_layer,
    described,
    lambda_,
)
from dlkit.layers.batch_norm import batch_norm, has_batch_statistics, reestimate_batch_statistics
from dlkit.layers.by_name import NORMALIZATIONS, normalization
from dlkit.layers.combine import parallel, residual, serial
from dlkit.layers.conv import conv, conv_transpose
from dlkit.layers.dense import default_kernel_init, dense
from dlkit.layers.dropout import alpha_dropout, drop_path, dropout, gaussian_noise
from dlkit.layers.embed import embedding, learned_positions, rotary, sinusoidal_positions, tied_logits
from dlkit.layers.functions import EvaluateFunction, TrainFunction, evaluate, train
from dlkit.layers.fused_attention import fused_attention
from dlkit.layers.graph import graph
from dlkit.layers.inside import capture, replaced
from dlkit.layers.lowering import default_lowering
from dlkit.layers.multi_head_attention import multi_head_attention
from dlkit.layers.norm import group_norm, instance_norm, layer_norm, rms_norm
from dlkit.layers.pool import average_pool, global_average_pool, global_max_pool, max_pool
from dlkit.layers.position_bias import alibi, relative_positions
from dlkit.layers.precision import Precision, with_precision
from dlkit.layers.probe import output_shape
from dlkit.layers.ragged import apply_ragged
from dlkit.layers.recurrent.layers import gru, lstm, rnn
from dlkit.layers.resize import pixel_shuffle, resize
from dlkit.layers.shape import flatten, reshape
from dlkit.layers.sharing import shared, unembedding
from dlkit.layers.spectral_norm import spectral_norm
from dlkit.layers.stacked import ensemble, repeat
from dlkit.layers.steps import Steps
from dlkit.layers.stepwise import at_once, initial_state, stepwise
from dlkit.layers.summary import Summary, parameter_count, summary
from dlkit.layers.transformer import transformer_block
from dlkit.layers.weight_norm import weight_norm
from dlkit.layers.wrapped import remat, renamed

__all__ = [
    "NORMALIZATIONS",
    "About",
    "ApplyFunction",
    "EvaluateFunction",
    "InitFunction",
    "Layer",
    "Networks",
    "Part",
    "Precision",
    "RaggedFunction",
    "Steps",
    "Summary",
    "TrainFunction",
    "activation",
    "adaptive_average_pool",
    "adaptive_max_pool",
    "alibi",
    "alpha_dropout",
    "apply_ragged",
    "as_layer",
    "at_once",
    "average_pool",
    "batch_norm",
    "capture",
    "conv",
    "conv_transpose",
    "default_kernel_init",
    "default_lowering",
    "dense",
    "described",
    "dot_product_attention",
    "drop_path",
    "dropout",
    "embedding",
    "ensemble",
    "evaluate",
    "flatten",
    "fused_attention",
    "gaussian_noise",
    "global_average_pool",
    "global_max_pool",
    "graph",
    "group_norm",
    "gru",
    "has_batch_statistics",
    "initial_state",
    "instance_norm",
    "lambda_",
    "layer_norm",
    "learned_positions",
    "lstm",
    "max_pool",
    "multi_head_attention",
    "normalization",
    "output_shape",
    "parallel",
    "parameter_count",
    "pixel_shuffle",
    "prelu",
    "reestimate_batch_statistics",
    "relative_positions",
    "remat",
    "renamed",
    "repeat",
    "replaced",
    "reshape",
    "residual",
    "resize",
    "rms_norm",
    "rnn",
    "rotary",
    "serial",
    "shared",
    "sinusoidal_positions",
    "spectral_norm",
    "stepwise",
    "summary",
    "tied_logits",
    "train",
    "transformer_block",
    "unembedding",
    "weight_norm",
    "with_precision",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
