"""Forms of a product's gradients on CPU: microseconds in a compiled loop, on one core, interleaved.

The gradient of the kernel, x' g with x [rows, inputs] and g [rows, outputs], for rows of their own and for each of a
batch of products:

- as JAX derives it from a product of more than two axes;
- from two axes (of a batch: the same as before);
- with x, or with g and the result, transposed apart;
- with g as the first operand, and the result transposed apart.

`dlkit.layers.products` chooses among the last four; its choice is marked. Run it on an idle machine:
`python -m benchmarks.product_forms`; it takes a minute.
"""

import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlkit.bench.machine.environment import compiler_options
from dlkit.layers import products
from dlkit.typing import Array

STEPS, REPEATS = 20, 9
SHAPES = (  # batch, rows, inputs, outputs
    (0, 64, 64, 64),
    (0, 64, 512, 64),
    (0, 64, 128, 10),
    (0, 512, 72, 256),
    (0, 256, 256, 256),
    (0, 1024, 32, 32),
    (0, 1024, 32, 128),
    (0, 1024, 128, 32),
    (0, 1024, 144, 16),
    (0, 4096, 9, 16),
    (0, 4096, 72, 8),
    (0, 4096, 72, 16),
    (0, 4096, 144, 32),
    (0, 16384, 288, 32),
    (256, 16, 8, 16),
    (256, 16, 16, 8),
    (64, 64, 16, 64),
    (64, 64, 64, 16),
)


def of_many_axes(x: Array, kernel: Array, _: None) -> Array:
    """The product as it stands in most code: of sequences."""
    return x @ kernel if x.ndim > 2 else (x.reshape(-1, 8, x.shape[-1]) @ kernel).reshape(len(x), -1)


FORMS = {
    "of many axes": of_many_axes,
    "of two axes": products._dot,
    "x transposed": products._dot_of_transposed_inputs,
    "g transposed": products._dot_of_transposed_kernel,
    "g first": products._dot_of_kernel_first,
}
NAMES = {form: name for name, form in FORMS.items()}


def loop(form: Callable[..., Array], x: Array, g: Array) -> Callable[[], object]:
    """A compiled loop over the gradient of the kernel."""
    kernel = jax.ShapeDtypeStruct((*x.shape[:-2], x.shape[-1], g.shape[-1]), x.dtype)

    def gradient(x: Array, g: Array) -> Array:
        return jax.linear_transpose(lambda kernel: form(x, kernel, None), kernel)(g)[0]

    def run(x: Array, g: Array) -> tuple[Array, ...]:
        start = (jnp.zeros(kernel.shape, kernel.dtype), x, g)
        # behind a barrier, or XLA would take it out of the loop
        return lax.fori_loop(0, STEPS, lambda _, at: lax.optimization_barrier((gradient(*at[1:]), *at[1:])), start)

    compiled = jax.jit(run, compiler_options=compiler_options())
    return lambda: jax.block_until_ready(compiled(x, g))


def microseconds(loops: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The smallest time of a turn of each loop, of the processor."""
    best = dict.fromkeys(loops, math.inf)
    for _ in range(1 + REPEATS):
        for name, run in loops.items():
            began = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - began)
    return {name: seconds / STEPS * 1e6 for name, seconds in best.items()}


def main() -> None:
    """Prints the table."""
    print(f"jax {jax.__version__}, one core\n")
    print(f"| batch x rows x inputs x outputs | {' | '.join(FORMS)} |")
    print("|---" * (1 + len(FORMS)) + "|")
    rng = np.random.default_rng(0)
    for batch, rows, inputs, outputs in SHAPES:
        of = (batch,) if batch else ()
        x = jnp.asarray(rng.normal(size=(*of, rows, inputs)), jnp.float32)
        g = jnp.asarray(rng.normal(size=(*of, rows, outputs)), jnp.float32)
        times = microseconds({name: loop(form, x, g) for name, form in FORMS.items()})
        chosen = NAMES[products._form_of_kernel(x, jnp.zeros((*of, inputs, outputs)))]
        cells = [f"**{time:.0f}**" if name == chosen else f"{time:.0f}" for name, time in times.items()]
        print(f"| {batch or '-'} x {rows} x {inputs} x {outputs} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
