"""Models: layers built from layers only. A model is a `Layer` like any other.

Each takes the activation, the normalization and the dropout rate as arguments, so that they can be compared.
"""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.models.autoencoders import Autoencoder, Vae, VaeApply, VaeOutput, autoencoder, vae
from dlkit.models.convolutional import cnn, resnet
from dlkit.models.diffusion import denoising_loss, diffuse, noise_schedule, sample_diffusion
from dlkit.models.gan import Gan, convolutional_gan, dense_gan
from dlkit.models.mlp import mlp
from dlkit.models.residual import resnet18, resnet50
from dlkit.models.sequences import (
    recurrent_classifier,
    recurrent_language_model,
    transformer_classifier,
    transformer_language_model,
)
from dlkit.models.translation import generate, transformer_encoder_decoder
from dlkit.models.u_net import u_net
from dlkit.models.vector_quantized import Quantized, VqVae, VqVaeApply, VqVaeOutput, quantize, vq_vae
from dlkit.models.vision_transformer import vit
from dlkit.models.weights import from_flax, from_torch, to_flax, to_torch, torch_names

__all__ = [
    "Autoencoder",
    "Gan",
    "Quantized",
    "Vae",
    "VaeApply",
    "VaeOutput",
    "VqVae",
    "VqVaeApply",
    "VqVaeOutput",
    "autoencoder",
    "cnn",
    "convolutional_gan",
    "denoising_loss",
    "dense_gan",
    "diffuse",
    "from_flax",
    "from_torch",
    "generate",
    "mlp",
    "noise_schedule",
    "quantize",
    "recurrent_classifier",
    "recurrent_language_model",
    "resnet",
    "resnet18",
    "resnet50",
    "sample_diffusion",
    "to_flax",
    "to_torch",
    "torch_names",
    "transformer_classifier",
    "transformer_encoder_decoder",
    "transformer_language_model",
    "u_net",
    "vae",
    "vit",
    "vq_vae",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
