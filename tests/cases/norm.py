"""Conformance rows of dlkit.layers: norm."""

from dlkit import layers
from tests.cases.base import Case, layer

LARGEST = 3.2e38  # does not round to infinity in bfloat16

CASES: tuple[Case, ...] = (
    layer("layers.batch_norm", layers.batch_norm(), (4,), limit=LARGEST),
    # An example with an axis to average over, so that a single one can be applied in training mode too.
    layer("layers.batch_norm-train", layers.batch_norm(), (5, 4), train=True, limit=LARGEST),
    layer("layers.layer_norm", layers.layer_norm(), (4,), limit=LARGEST),
    layer("layers.layer_norm-axes", layers.layer_norm(axes=2, use_bias=False), (3, 4), limit=LARGEST),
    layer("layers.rms_norm", layers.rms_norm(), (4,), limit=LARGEST),
    layer("layers.group_norm", layers.group_norm(2, dimensions=1), (3, 4), limit=LARGEST),
    layer("layers.instance_norm", layers.instance_norm(dimensions=2), (3, 2, 4), limit=LARGEST),
    layer("layers.normalization", layers.normalization("group", dimensions=1, groups=2), (3, 4), limit=LARGEST),
)
