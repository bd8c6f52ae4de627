"""Convolutions on CPU, inside and outside of compiled loops: milliseconds of CPU time on one core, interleaved.

Each row has the forms of `layers.conv`, lax's convolution and, where it is installed, torch's: outputs alone, and a
training step, which moves kernel and inputs by the gradient of the sum of squares. In a loop, lax's convolution is left
out of training, which takes it 20 times as long. MiB are those that a compiled training step takes beside its arguments
and results. `python -m benchmarks.convolutions [PART OF A NAME ...]`; an idle machine takes a quarter of an hour.
"""

import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.layers.convolution_forms import convolve_by_xla
from dlkit.layers.measured_convolutions import convolve_lowered
from dlkit.layers.window import Window, window_for
from dlkit.typing import Array

STEPS, REPEATS, SLOW = 3, 7, 0.5  # of a loop; what takes more than SLOW seconds is timed once
LOWERINGS = ("auto", "xla", "matmul")


class Row(NamedTuple):
    """A convolution: batch, spatial shape, channels in and out, kernel and settings."""

    batch: int
    spatial: tuple[int, ...]
    inputs: int
    outputs: int
    size: tuple[int, ...]
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        """The row's name."""
        axes, size = ("x".join(map(str, each)) for each in (self.spatial, self.size))
        more = f", stride {self.stride}" * (self.stride > 1) + f", {self.groups} groups" * (self.groups > 1)
        return f"{size} {self.inputs} to {self.outputs}{more}, {self.batch} of {axes}"


ROWS = (
    Row(32, (256,), 1, 16, (3,)),
    Row(8, (128,), 32, 32, (9,)),
    Row(32, (128,), 16, 32, (5,)),
    Row(16, (512,), 64, 64, (3,), stride=2),
    Row(16, (14, 14), 64, 256, (1, 1)),
    Row(8, (32, 32), 256, 64, (1, 1)),
    Row(64, (28, 28), 1, 32, (3, 3)),
    Row(64, (14, 14), 32, 64, (3, 3)),
    Row(64, (8, 8), 16, 32, (3, 3)),
    Row(8, (32, 32), 64, 64, (3, 3)),
    Row(32, (16, 16), 32, 32, (3, 3)),
    Row(1, (7, 7), 512, 512, (3, 3)),
    Row(1, (64, 64), 64, 64, (3, 3)),
    Row(128, (8, 8), 128, 128, (3, 3)),
    Row(16, (16, 16), 64, 128, (3, 3), stride=2),
    Row(128, (16, 16), 8, 8, (5, 5)),
    Row(16, (16, 16), 8, 8, (7, 7)),
    Row(4, (64, 64), 3, 64, (7, 7), stride=2),
    Row(4, (32, 32), 16, 16, (11, 11)),
    Row(4, (12, 12, 12), 8, 16, (3, 3, 3)),
    Row(2, (16, 16, 16), 16, 32, (3, 3, 3)),
    Row(8, (32, 32), 64, 64, (3, 3), groups=4),
    Row(8, (32, 32), 64, 64, (3, 3), groups=16),
    Row(32, (16, 16), 32, 32, (3, 3), groups=32),
    Row(8, (14, 14), 256, 256, (3, 3), groups=256),
)


def arrays(row: Row) -> tuple[Array, Array, Window]:
    """Inputs, kernel and window."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(row.batch, *row.spatial, row.inputs)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*row.size, row.inputs // row.groups, row.outputs)), jnp.float32)
    window = window_for("benchmark", "size", row.size, strides=row.stride, padding="SAME")(row.spatial)
    return x, kernel / math.sqrt(kernel[..., 0].size), window


def step_of(function: Callable[..., Array], *, training: bool) -> Callable[..., tuple[Array, ...]]:
    """A step from arrays, such as inputs and kernel, to others of the same shapes."""

    def train(*arrays: Array) -> tuple[Array, ...]:
        slopes = jax.grad(lambda arrays: jnp.sum(function(*arrays) ** 2))(arrays)
        return tuple(array - 1e-6 * slope for array, slope in zip(arrays, slopes, strict=True))

    def compute(*arrays: Array) -> tuple[Array, ...]:
        y = jax.lax.optimization_barrier(function(*arrays))  # all of it
        return *arrays[:-1], arrays[-1] * (1 + 1e-30 * y.reshape(-1)[0])

    return train if training else compute


def compiled(
    function: Callable[..., Array], *inputs: Array, training: bool, steps: int
) -> tuple[Callable[[], Any], float]:
    """A call of so many steps, a loop if more than one, and the MiB that it takes."""
    step = step_of(function, training=training)

    def loop(*arrays: Array) -> tuple[Array, ...]:
        return jax.lax.scan(lambda carry, _: (step(*carry), None), arrays, None, length=steps)[0]

    executable = jax.jit(loop if steps > 1 else step).lower(*inputs).compile()
    memory = executable.memory_analysis()
    return lambda: jax.block_until_ready(executable(*inputs)), memory.temp_size_in_bytes / 2**20 if memory else 0.0


def convolution(row: Row, form: str, *, training: bool, steps: int) -> tuple[Callable[[], Any], float]:
    """The same of a row's convolution in one form."""
    x, kernel, window = arrays(row)
    computed = (
        (lambda x, kernel: convolve_by_xla(x, kernel, window))
        if form == "lax"
        else (lambda x, kernel: convolve_lowered(x, kernel, window, form))  # type: ignore[arg-type]
    )
    return compiled(computed, x, kernel, training=training, steps=steps)


def torchs(row: Row, *, training: bool) -> Callable[[], Any]:
    """The same step of eager torch."""
    torch: Any = importlib.import_module("torch")

    torch.set_num_threads(1)
    dimensions = len(row.size)
    x, kernel, window = arrays(row)
    images = torch.tensor(np.moveaxis(np.asarray(x), -1, 1).copy(), requires_grad=training)
    weights = torch.tensor(np.moveaxis(np.asarray(kernel), (-1, -2), (0, 1)).copy(), requires_grad=training)
    convolution = getattr(torch.nn.functional, f"conv{dimensions}d")
    computed = partial(
        convolution, stride=row.stride, padding=[after for _, after in window.padding], groups=row.groups
    )

    def step() -> None:
        if not training:
            computed(images, weights)
            return
        gradients = torch.autograd.grad(computed(images, weights).square().sum(), (images, weights))
        with torch.no_grad():
            images.sub_(gradients[0], alpha=1e-6)
            weights.sub_(gradients[1], alpha=1e-6)

    return step


def milliseconds(functions: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
    """The smallest CPU time of a step of each function, in turns."""
    best = dict.fromkeys(functions, math.inf)
    for run, _ in functions.values():
        run()
    for _ in range(REPEATS):
        for name, (run, steps) in functions.items():
            if best[name] == math.inf or best[name] * steps < SLOW:
                began = time.process_time()
                run()
                best[name] = min(best[name], (time.process_time() - began) / steps)
    return {name: 1e3 * seconds for name, seconds in best.items()}


def main() -> None:
    """Prints a table for each of outputs and training."""
    wanted = sys.argv[1:]
    rows = [row for row in ROWS if not wanted or any(part in str(row) for part in wanted)]
    has_torch = importlib.util.find_spec("torch") is not None
    for training in (False, True):
        print(f"\n{'training step' if training else 'outputs'}, ms of CPU time, jax {jax.__version__}\n")
        outside = ("lax", *LOWERINGS)
        inside = LOWERINGS if training else outside
        names = [*outside, "torch", *(f"{form} in a loop" for form in inside), "MiB of auto", "MiB of lax"]
        print("| convolution | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
        for row in rows:
            functions: dict[str, tuple[Callable[[], Any], int]] = {}
            memory = {}
            for form in outside:
                run, memory[form] = convolution(row, form, training=training, steps=1)
                functions[form] = (run, 1)
            for form in inside:
                functions[f"{form} in a loop"] = (convolution(row, form, training=training, steps=STEPS)[0], STEPS)
            if has_torch:
                functions["torch"] = (torchs(row, training=training), 1)
            times = milliseconds(functions)
            cells = [f"{times[name]:.2f}" if name in times else "" for name in names[:-2]]
            cells += [f"{memory['auto']:.1f}", f"{memory['lax']:.1f}"]
            print(f"| {row} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
