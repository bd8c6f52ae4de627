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
from dlkit.layers.attention import dot_product_attention, multi_head_attention
from dlkit.layers.base import ApplyFunction, InitFunction, Layer, RaggedFunction, as_layer, lambda_, output_shape
from dlkit.layers.batch_norm import batch_norm, has_batch_statistics, reestimate_batch_statistics
from dlkit.layers.by_name import NORMALIZATIONS, normalization
from dlkit.layers.combine import parallel, residual, serial
from dlkit.layers.conv import conv, conv_transpose
from dlkit.layers.dense import default_kernel_init, dense
from dlkit.layers.dropout import dropout, gaussian_noise
from dlkit.layers.embed import embedding, learned_positions, rotary, sinusoidal_positions, tied_logits
from dlkit.layers.lowering import default_lowering
from dlkit.layers.norm import group_norm, instance_norm, layer_norm, rms_norm
from dlkit.layers.pool import average_pool, global_average_pool, global_max_pool, max_pool
from dlkit.layers.ragged import apply_ragged
from dlkit.layers.recurrent.layers import gru, lstm, rnn
from dlkit.layers.shape import flatten, reshape
from dlkit.layers.spectral_norm import spectral_norm
from dlkit.layers.transformer import transformer_block

__all__ = [
    "NORMALIZATIONS",
    "ApplyFunction",
    "InitFunction",
    "Layer",
    "RaggedFunction",
    "activation",
    "apply_ragged",
    "as_layer",
    "average_pool",
    "batch_norm",
    "conv",
    "conv_transpose",
    "default_kernel_init",
    "default_lowering",
    "dense",
    "dot_product_attention",
    "dropout",
    "embedding",
    "flatten",
    "gaussian_noise",
    "global_average_pool",
    "global_max_pool",
    "group_norm",
    "gru",
    "has_batch_statistics",
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
    "prelu",
    "reestimate_batch_statistics",
    "reshape",
    "residual",
    "rms_norm",
    "rnn",
    "rotary",
    "serial",
    "sinusoidal_positions",
    "spectral_norm",
    "tied_logits",
    "transformer_block",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
