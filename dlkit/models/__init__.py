"""Models: layers built from layers only. A model is a `Layer` like any other.

Each takes the activation, the normalization and the dropout rate as arguments, so that they can be compared.
"""

from typing import TYPE_CHECKING

from dlkit.hints import missing_attribute
from dlkit.models.autoencoders import Autoencoder, Vae, VaeApply, VaeOutput, autoencoder, vae
from dlkit.models.convolutional import cnn, resnet
from dlkit.models.gan import Gan, convolutional_gan, dense_gan
from dlkit.models.mlp import mlp
from dlkit.models.sequences import (
    recurrent_classifier,
    recurrent_language_model,
    transformer_classifier,
    transformer_language_model,
)
from dlkit.models.translation import generate, transformer_encoder_decoder

__all__ = [
    "Autoencoder",
    "Gan",
    "Vae",
    "VaeApply",
    "VaeOutput",
    "autoencoder",
    "cnn",
    "convolutional_gan",
    "dense_gan",
    "generate",
    "mlp",
    "recurrent_classifier",
    "recurrent_language_model",
    "resnet",
    "transformer_classifier",
    "transformer_encoder_decoder",
    "transformer_language_model",
    "vae",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
