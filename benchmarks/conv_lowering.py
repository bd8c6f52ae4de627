"""Forms of convolutions and pools on CPU: microseconds per step of a compiled loop with gradients, on one core,
interleaved.

A step computes the gradient of sum(y^2) with respect to kernel and inputs (of the first layers: the kernel only) and
moves them. GFLOP/s are those of the form that `layers.conv` chooses, beside a plain product of the same matrices, for
forward pass and gradients alike. Run it on an idle machine: `python -m benchmarks.conv_lowering`; it takes a minute.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlkit.bench.machine.environment import compiler_options
from dlkit.layers import Layer, average_pool, max_pool
from dlkit.layers.convolution_forms import (
    convolve,
    convolve_by_matmul,
    convolve_by_xla,
    convolve_transposed,
    transposed_by_xla,
)
from dlkit.layers.window import transposed_window_for, window_for
from dlkit.typing import Array

STEPS, REPEATS, LIMIT = 4, 7, 1.0  # a form that takes more than LIMIT seconds is timed once


class Row(NamedTuple):
    """A convolution: name, batch, spatial shape, channels, kernel and settings."""

    name: str
    batch: int
    spatial: tuple[int, ...]
    inputs: int
    outputs: int
    size: tuple[int, ...]
    stride: int = 1
    groups: int = 1
    first: bool = False


ROWS = (
    Row("digits, first", 64, (8, 8), 1, 16, (3, 3), first=True),
    Row("digits, second", 64, (8, 8), 16, 32, (3, 3)),
    Row("3x3, 16x16", 32, (16, 16), 32, 32, (3, 3)),
    Row("3x3, stride 2", 32, (16, 16), 32, 64, (3, 3), stride=2),
    Row("1x1", 32, (16, 16), 64, 64, (1, 1)),
    Row("7x7", 16, (16, 16), 8, 8, (7, 7)),
    Row("7x7, stride 2, first", 16, (32, 32), 3, 16, (7, 7), stride=2, first=True),
    Row("1-D, 5", 32, (128,), 16, 32, (5,)),
    Row("3-D, 3x3x3", 4, (8, 8, 8), 8, 16, (3, 3, 3)),
    Row("4 groups", 32, (16, 16), 32, 32, (3, 3), groups=4),
    Row("depthwise", 32, (16, 16), 32, 32, (3, 3), groups=32),
)


def loop(step: Callable[..., tuple[Array, ...]], *arrays: Array) -> Callable[[], object]:
    """A compiled loop over a step that maps arrays to arrays of the same shapes."""

    def run(*arrays: Array) -> tuple[Array, ...]:
        return jax.lax.scan(lambda carry, _: (step(*carry), None), arrays, None, length=STEPS)[0]

    compiled = jax.jit(run, compiler_options=compiler_options())
    return lambda: jax.block_until_ready(compiled(*arrays))


def training(row: Row, form: Callable[..., Array]) -> Callable[[], object]:
    """The loop of a form."""
    window = window_for("benchmark", "size", row.size, strides=row.stride, padding="SAME")(row.spatial)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(row.batch, *row.spatial, row.inputs)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*row.size, row.inputs // row.groups, row.outputs)), jnp.float32)

    def loss(kernel: Array, x: Array) -> Array:
        return 1e-3 * jnp.sum(form(x, kernel, window) ** 2)

    def step(kernel: Array, x: Array) -> tuple[Array, ...]:
        gradients = jax.grad(loss, argnums=(0,) if row.first else (0, 1))(kernel, x)
        return tuple(a - 1e-6 * g for a, g in zip((kernel, x), (*gradients, 0.0), strict=False))

    return loop(step, kernel, x)


def product(row: Row) -> Callable[[], object]:
    """The loop of one plain product of the same matrices: patches and kernel of a group."""
    positions = row.batch * math.prod(-(-size // row.stride) for size in row.spatial)
    patches = jnp.ones((positions, math.prod(row.size) * row.inputs // row.groups))
    kernel = jnp.ones((patches.shape[1], row.outputs // row.groups))
    return loop(
        lambda kernel, y: (kernel + 1e-9, y + patches @ kernel), kernel, jnp.zeros((positions, kernel.shape[1]))
    )


def microseconds(loops: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The smallest time of a step of each loop."""
    best = dict.fromkeys(loops, math.inf)
    for run in loops.values():
        run()
    for _ in range(REPEATS):
        for name, run in loops.items():
            if best[name] == math.inf or best[name] < LIMIT:
                began = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - began)
    return {name: seconds / STEPS * 1e6 for name, seconds in best.items()}


def descending(function: Callable[..., Array], *arrays: Array) -> Callable[[], object]:
    """The loop that moves all arrays by the gradient of the sum of squares."""

    def step(*arrays: Array) -> tuple[Array, ...]:
        gradients = jax.grad(lambda *a: jnp.sum(function(*a) ** 2), argnums=tuple(range(len(arrays))))(*arrays)
        return tuple(a - 1e-6 * g for a, g in zip(arrays, gradients, strict=True))

    return loop(step, *arrays)


def other_forms() -> dict[str, dict[str, Callable[[], object]]]:
    """Pools and the transposed convolution: XLA's form and that of the layers."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(64, 8, 8, 32)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(4, 4, 32, 16)), jnp.float32)

    def by_xla(start: float, combine: Callable[..., Array], size: int, stride: int) -> Callable[[Array], Array]:
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        return lambda x: lax.reduce_window(x, start, combine, window, strides, "VALID")

    def by_layer(layer: Layer) -> Callable[[Array], Array]:
        return lambda x: layer.apply({}, {}, x)[0]

    pools = {
        "max-pool 2x2": (by_xla(-jnp.inf, lax.max, 2, 2), max_pool((2, 2))),
        "max-pool 3x3, stride 1": (by_xla(-jnp.inf, lax.max, 3, 1), max_pool((3, 3), strides=1)),
        "average-pool 2x2": (by_xla(0.0, lax.add, 2, 2), average_pool((2, 2))),
        "average-pool 3x3, stride 1": (by_xla(0.0, lax.add, 3, 1), average_pool((3, 3), strides=1)),
    }
    rows = {
        name: {"xla": descending(xla, x), "layer": descending(by_layer(layer), x)}
        for name, (xla, layer) in pools.items()
    }
    window = transposed_window_for("benchmark", "size", (4, 4), strides=2, padding="SAME")((8, 8))
    transposed = {"xla": transposed_by_xla, "layer": convolve_transposed}
    rows["conv_transpose 4x4, stride 2"] = {
        name: descending(lambda kernel, x, form=form: form(x, kernel, window), kernel, x)
        for name, form in transposed.items()
    }
    return rows


def main() -> None:
    """Prints the tables."""
    print(f"jax {jax.__version__}, one core\n")
    print("| convolution | lax.conv, µs | matrix product, µs | layers.conv, µs | GFLOP/s | plain product, GFLOP/s |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in ROWS:
        forms = {"xla": convolve_by_xla, "matmul": convolve_by_matmul, "chosen": convolve}
        loops = {name: training(row, form) for name, form in forms.items()}
        times = microseconds(loops | {"product": product(row)})
        positions = row.batch * math.prod(-(-size // row.stride) for size in row.spatial)
        work = 2e-3 * positions * math.prod(row.size) * row.inputs // row.groups * row.outputs
        speed = work * (2 if row.first else 3) / times["chosen"]
        peak = work / row.groups / times["product"]
        print(
            f"| {row.name} | {times['xla']:,.0f} | {times['matmul']:,.0f} | {times['chosen']:,.0f} "
            f"| {speed:.1f} | {peak:.1f} |"
        )
    print("\n| batch 64, 8x8, 32 channels | XLA's form, µs | layer, µs |")
    print("|---|---:|---:|")
    for name, loops in other_forms().items():
        times = microseconds(loops)
        print(f"| {name} | {times['xla']:,.0f} | {times['layer']:,.0f} |")


if __name__ == "__main__":
    main()
