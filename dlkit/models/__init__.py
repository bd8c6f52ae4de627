"""Models: layers built from layers only. A model is a `Layer` like any other.

Each takes the activation, the normalization and the dropout rate as arguments, so that they can be compared.
"""

from dlkit.models.autoencoders import Autoencoder, Vae, VaeApply, VaeOutput, autoencoder, vae
from dlkit.models.mlp import mlp

__all__ = [
    "Autoencoder",
    "Vae",
    "VaeApply",
    "VaeOutput",
    "autoencoder",
    "mlp",
    "vae",
]
