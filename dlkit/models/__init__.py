"""Models: layers built from layers only. A model is a `Layer` like any other.

Each takes the activation, the normalization and the dropout rate as arguments, so that they can be compared.
"""

from dlkit.models.autoencoders import Autoencoder, Vae, VaeApply, VaeOutput, autoencoder, vae
from dlkit.models.mlp import mlp
from dlkit.models.sequences import (
    recurrent_classifier,
    recurrent_language_model,
    transformer_classifier,
    transformer_language_model,
)

__all__ = [
    "Autoencoder",
    "Vae",
    "VaeApply",
    "VaeOutput",
    "autoencoder",
    "mlp",
    "recurrent_classifier",
    "recurrent_language_model",
    "transformer_classifier",
    "transformer_language_model",
    "vae",
]
