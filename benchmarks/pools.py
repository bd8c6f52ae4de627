"""Pools and transposed convolutions on CPU, inside and outside of compiled loops: milliseconds of CPU time on one core.

Each row has the layer, lax's `reduce_window` or `conv_transpose`, and torch's where it is installed: outputs alone, and
a training step, which moves inputs (and kernel) by the gradient of the sum of squares. A training loop of lax's
transposed convolution is left out: it takes 20 times as long. `python -m benchmarks.pools [PART OF A NAME ...]`.
"""

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.convolutions import STEPS, compiled, milliseconds
from dlkit import layers
from dlkit.typing import Array


class Row(NamedTuple):
    """A pool or a transposed convolution: batch, spatial shape, channels, window, and channels that come out."""

    kind: Literal["max", "average", "transposed"]
    batch: int
    spatial: tuple[int, ...]
    channels: int
    size: int
    stride: int
    outputs: int = 0

    def __str__(self) -> str:
        """The row's name."""
        size, axes = "x".join([str(self.size)] * len(self.spatial)), "x".join(map(str, self.spatial))
        channels = f"{self.channels} to {self.outputs}" if self.outputs else f"{self.channels} channels"
        return f"{self.kind} {size}, stride {self.stride}, {channels}, {self.batch} of {axes}"


ROWS = (
    Row("max", 64, (28, 28), 32, 2, 2),
    Row("max", 64, (8, 8), 16, 2, 2),
    Row("max", 8, (112, 112), 64, 3, 2),
    Row("max", 32, (16, 16), 32, 3, 1),
    Row("max", 32, (256,), 32, 4, 4),
    Row("max", 4, (16, 16, 16), 16, 2, 2),
    Row("average", 64, (28, 28), 32, 2, 2),
    Row("average", 8, (32, 32), 64, 3, 2),
    Row("average", 32, (16, 16), 32, 5, 1),
    Row("average", 32, (256,), 32, 4, 4),
    Row("transposed", 64, (7, 7), 64, 4, 2, 32),
    Row("transposed", 16, (16, 16), 64, 2, 2, 64),
    Row("transposed", 64, (14, 14), 32, 3, 2, 1),
    Row("transposed", 8, (32, 32), 32, 3, 1, 32),
    Row("transposed", 32, (128,), 32, 4, 2, 16),
    Row("transposed", 2, (8, 8, 8), 16, 3, 2, 8),
)


def arrays(row: Row) -> list[Array]:
    """The inputs, and the kernel of a convolution."""
    rng = np.random.default_rng(0)
    shapes = [(row.batch, *row.spatial, row.channels)]
    if row.outputs:
        shapes.append((row.size,) * len(row.spatial) + (row.channels, row.outputs))
    return [jnp.asarray(rng.normal(size=shape) / math.sqrt(row.size), jnp.float32) for shape in shapes]


def own(row: Row) -> Callable[..., Array]:
    """The layer."""
    if row.kind != "transposed":
        pool = (layers.max_pool if row.kind == "max" else layers.average_pool)(
            (row.size,) * len(row.spatial), strides=row.stride
        )
        return lambda x: pool.apply({}, {}, x)[0]
    layer = layers.conv_transpose(
        row.outputs, (row.size,) * len(row.spatial), strides=row.stride, padding="VALID", use_bias=False
    )
    return lambda x, kernel: layer.apply({"kernel": kernel}, {}, x)[0]


def laxs(row: Row) -> Callable[..., Array]:
    """XLA's own."""
    dimensions = len(row.spatial)
    if row.kind == "transposed":
        letters = "DHW"[-dimensions:]
        numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        return lambda x, kernel: jax.lax.conv_transpose(
            x, kernel, (row.stride,) * dimensions, "VALID", dimension_numbers=numbers
        )
    window, strides = (1, *(row.size,) * dimensions, 1), (1, *(row.stride,) * dimensions, 1)
    if row.kind == "max":
        return lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "VALID")
    return lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "VALID") / row.size**dimensions


def torchs(row: Row, inputs: list[Array], *, training: bool) -> Callable[[], Any]:
    """The same step of eager torch."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    dimensions = len(row.spatial)
    tensors = [torch.tensor(np.moveaxis(np.asarray(inputs[0]), -1, 1).copy(), requires_grad=training)]
    if row.outputs:
        kernel = np.moveaxis(np.asarray(inputs[1]), (-2, -1), (0, 1)).copy()
        tensors.append(torch.tensor(kernel, requires_grad=training))
    names = {"max": "max_pool", "average": "avg_pool", "transposed": "conv_transpose"}
    function = getattr(torch.nn.functional, f"{names[row.kind]}{dimensions}d")
    settings = {"stride": row.stride} | ({} if row.outputs else {"kernel_size": row.size})

    def step() -> None:
        y = function(*tensors, **settings)
        if training:
            slopes = torch.autograd.grad(y.square().sum(), tensors)
            with torch.no_grad():
                for tensor, slope in zip(tensors, slopes, strict=True):
                    tensor.sub_(slope, alpha=1e-6)

    return step


def main() -> None:
    """Prints a table for each of outputs and training."""
    wanted = sys.argv[1:]
    rows = [row for row in ROWS if not wanted or any(part in str(row) for part in wanted)]
    has_torch = importlib.util.find_spec("torch") is not None
    for training in (False, True):
        print(f"\n{'training step' if training else 'outputs'}, ms of CPU time, jax {jax.__version__}\n")
        names = ["lax", "dlkit", "torch", "lax in a loop", "dlkit in a loop"]
        print("| layer | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
        for row in rows:
            inputs = arrays(row)
            functions: dict[str, tuple[Callable[[], Any], int]] = {}
            for name, function in (("lax", laxs(row)), ("dlkit", own(row))):
                functions[name] = (compiled(function, *inputs, training=training, steps=1)[0], 1)
                if not (training and name == "lax" and row.outputs):
                    loop, _ = compiled(function, *inputs, training=training, steps=STEPS)
                    functions[f"{name} in a loop"] = (loop, STEPS)
            if has_torch:
                functions["torch"] = (torchs(row, inputs, training=training), 1)
            times = milliseconds(functions)
            cells = [f"{times[name]:.3f}" if name in times else "" for name in names]
            print(f"| {row} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
