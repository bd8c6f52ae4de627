"""Conformance rows of the layers that have no module of their own."""

from typing import Any

from dlkit import activations, layers
from dlkit.typing import Array
from tests.cases.base import layer


def skip(inside: Any, x: Array) -> Array:
    """A skip around two layers."""
    return x + inside.up(activations.tanh(inside.down(x)))


CASES = (
    layer("layers.dense", layers.dense(3), (4,)),
    layer("layers.dense-no_bias", layers.dense(3, use_bias=False), (2, 4)),
    layer("layers.dropout", layers.dropout(0.5), (4,), limit=3.3e38),
    layer("layers.dropout-train", layers.dropout(0.5), (4,), train=True),
    layer("layers.dropout-spatial", layers.dropout(0.5, shared_axes=(-2,)), (3, 4), train=True),
    layer("layers.drop_path", layers.drop_path(0.5, axes=2), (3, 4), limit=3.3e38),
    layer("layers.drop_path-train", layers.drop_path(0.5, axes=1), (4,), train=True),
    layer("layers.alpha_dropout", layers.alpha_dropout(0.5), (4,), limit=3.3e38),
    layer("layers.alpha_dropout-train", layers.alpha_dropout(0.5), (4,), train=True),
    layer("layers.gaussian_noise", layers.gaussian_noise(0.5), (4,), limit=3.3e38),
    layer("layers.gaussian_noise-train", layers.gaussian_noise(0.5), (4,), train=True),
    layer("layers.serial", layers.serial(layers.dense(3), activations.tanh, layers.dropout(0.5)), (4,)),
    layer("layers.serial-train", layers.serial(layers.dense(3), layers.dropout(0.5)), (4,), train=True),
    layer("layers.parallel", layers.parallel(layers.dense(3), activations.tanh), (4,)),
    layer("layers.parallel-sum", layers.parallel(layers.dense(3), layers.dense(3), combine=sum), (4,)),
    layer("layers.residual", layers.residual(layers.dense(4)), (4,)),
    layer("layers.residual-shortcut", layers.residual(layers.dense(3), shortcut=layers.dense(3)), (4,)),
    layer("layers.repeat", layers.repeat(layers.serial(layers.dense(4), activations.tanh), 2), (4,)),
    layer("layers.ensemble", layers.ensemble(layers.dense(3), 2), (4,)),
    layer("layers.remat", layers.remat(layers.serial(layers.dense(3), activations.tanh)), (4,)),
    layer(
        "layers.with_precision",
        layers.with_precision(layers.dense(3), layers.Precision("bfloat16")),
        (4,),
        tolerance=2e4,
    ),
    layer("layers.renamed", layers.renamed(layers.layer_norm(), lengths="steps"), (4,)),
    layer("layers.shared", layers.shared(layers.dense(3)), (4,)),
    layer("layers.unembedding", layers.unembedding(layers.embedding(3, 4)), (4,)),
    layer("layers.graph", layers.graph(skip, down=layers.dense(2), up=layers.dense(4)), (4,)),
    layer("layers.spectral_norm", layers.spectral_norm(layers.dense(3)), (4,)),
    layer("layers.weight_norm", layers.weight_norm(layers.dense(3)), (4,)),
    layer("layers.weight_norm-conv", layers.weight_norm(layers.conv(3, (2,))), (4, 2)),
    layer("layers.lambda_", layers.lambda_(activations.tanh), (4,), limit=3.2e38),
    layer("layers.activation", layers.activation("silu"), (4,), limit=3.2e38),
    layer("layers.prelu", layers.prelu(), (2, 4), limit=3.2e38),
    layer("layers.prelu-shared", layers.prelu(shared=True), (4,), limit=3.2e38),
    layer("layers.flatten", layers.flatten(2), (2, 3), limit=3.2e38),
    layer("layers.resize", layers.resize((4, 6)), (2, 3, 2), limit=1.6e38),
    layer("layers.resize-smaller", layers.resize((3,), method="cubic"), (5, 2), limit=1e38),
    layer("layers.resize-nearest", layers.resize((3,), method="nearest"), (5, 2), limit=3.2e38),
    layer("layers.pixel_shuffle", layers.pixel_shuffle(2), (2, 3, 8), limit=3.2e38),
    layer("layers.adaptive_average_pool", layers.adaptive_average_pool((2, 3)), (5, 2, 2), limit=3.2e38),
    layer("layers.adaptive_max_pool", layers.adaptive_max_pool((2, 3)), (5, 2, 2), limit=3.2e38),
    layer("layers.reshape", layers.reshape((2, 3), (3, 1, 2)), (2, 3), limit=3.2e38),
)
