"""Conformance rows of the convolutions and pools."""

from dlkit import layers
from tests.cases.base import Case, layer

CASES: tuple[Case, ...] = (
    layer("layers.conv", layers.conv(3, (3, 3)), (4, 5, 2)),
    layer("layers.conv-strided", layers.conv(4, (3,), strides=2, dilation=2, groups=2, padding="VALID"), (7, 4)),
    layer("layers.conv-depthwise", layers.conv(4, (3, 2), groups=2), (4, 3, 2)),
    layer("layers.conv_transpose", layers.conv_transpose(3, (4, 4), strides=2), (2, 3, 2)),
    layer("layers.max_pool", layers.max_pool((2, 2)), (4, 5, 2), limit=3.2e38),
    layer("layers.max_pool-overlapping", layers.max_pool((3,), strides=2, padding="SAME"), (6, 2), limit=3.2e38),
    layer("layers.average_pool", layers.average_pool((2, 2)), (4, 5, 2)),
    layer("layers.average_pool-overlapping", layers.average_pool((3,), strides=2, padding="SAME"), (6, 2)),
    layer("layers.global_max_pool", layers.global_max_pool(2), (3, 2, 2), limit=3.2e38),
    layer("layers.global_average_pool", layers.global_average_pool(2), (3, 2, 2)),
)
