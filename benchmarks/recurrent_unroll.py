"""Speed of training recurrent layers on one core: how far to unroll the loop, and what the layers' own loop is worth.

Cells of 64 units on sequences of 8 or 32 steps of 8 features, batch 64: the mean of the last output is trained by
gradient descent, 20 to 80 steps in one program. "plain" is what JAX makes of a scan over a cell with both products in
it. GFLOP/s count the products alone. Run it on an idle machine: `python -m benchmarks.recurrent_unroll`.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlkit import layers
from dlkit.bench.machine.environment import compiler_options
from dlkit.layers.recurrent.cells import GRU_CELL, LSTM_CELL, Cell, simple_cell

UNITS, BATCH, FEATURES, REPEATS = 64, 64, 8, 9
CELLS: dict[str, tuple[Callable[..., layers.Layer], Cell]] = {
    "rnn": (layers.rnn, simple_cell(jnp.tanh)),
    "gru": (layers.gru, GRU_CELL),
    "lstm": (layers.lstm, LSTM_CELL),
}

Outputs = Callable[[dict, jax.Array], jax.Array]


def dlkit_outputs(name: str, unroll: int) -> Outputs:
    """The last output of the layer."""
    layer = CELLS[name][0](UNITS, output="last", unroll=unroll)
    return lambda params, x: layer.apply(params, {}, x)[0]


def plain_outputs(name: str) -> Outputs:
    """The last output of a scan that is differentiated by JAX."""
    cell = CELLS[name][1]

    def outputs(params, x):
        part = params["layer_0"]["forward"]
        bias = jnp.pad(part.get("recurrent_bias", jnp.zeros(UNITS)), ((cell.gates - 1) * UNITS, 0))

        def step(carry, now):
            inputs, recurrent = now @ part["input_kernel"] + part["bias"], carry[0] @ part["recurrent_kernel"] + bias
            return cell.step(carry, cell.join(inputs, recurrent))[0], None

        start = tuple(jnp.zeros((x.shape[0], UNITS)) for _ in cell.parts)
        return jax.lax.scan(step, start, jnp.moveaxis(x, 1, 0))[0][0]

    return outputs


def compiled(outputs: Outputs, name: str, time_steps: int, steps: int) -> tuple[Callable[[], object], float]:
    """A program of training steps, ready to be called, and the seconds of its compilation."""
    params, _ = CELLS[name][0](UNITS).init(jax.random.key(0), (time_steps, FEATURES))
    x = jax.random.normal(jax.random.key(1), (steps, BATCH, time_steps, FEATURES))

    def train(params, x):
        def step(params, batch):
            loss, gradient = jax.value_and_grad(lambda params: outputs(params, batch).mean())(params)
            return jax.tree.map(lambda leaf, change: leaf - 0.01 * change, params, gradient), loss

        return jax.lax.scan(step, params, x)

    began = time.perf_counter()
    program = jax.jit(train).lower(params, x).compile(compiler_options())
    return functools.partial(program, params, x), time.perf_counter() - began


def microseconds(runs: dict[str, Callable[[], object]], steps: int) -> dict[str, float]:
    """The least time per step of each, taken one after the other in every repeat."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(REPEATS):
        for name, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            least[name] = min(least[name], (time.perf_counter() - began) / steps * 1e6)
    return least


def matmul_speed() -> float:
    """GFLOP/s of the product of a step of the LSTM, [batch, units] by [units, 4 units], alone in a loop."""
    kernel, count = jnp.full((UNITS, 4 * UNITS), 1e-3), 2_000

    def body(_, hidden):
        return (hidden @ kernel)[:, :UNITS]

    program = jax.jit(lambda hidden: jax.lax.fori_loop(0, count, body, hidden))
    hidden = jnp.ones((BATCH, UNITS))
    jax.block_until_ready(program(hidden))
    least = microseconds({"matmul": lambda: program(hidden)}, count)["matmul"]
    return 2 * BATCH * UNITS * 4 * UNITS / least / 1e3


def products(cell: Cell, time_steps: int) -> int:
    """Floating-point operations of the products of a training step: forward, by h and by U, and by W."""
    columns = cell.gates * UNITS
    recurrent, inputs = 2 * BATCH * UNITS * columns, 2 * BATCH * FEATURES * columns
    return (time_steps - 1) * 3 * recurrent + time_steps * 2 * inputs


def main() -> None:
    """Prints a Markdown table."""
    print(f"one core, jax {jax.__version__}; a product of this size alone: {matmul_speed():.0f} GFLOP/s\n")
    print("| cell | time | loop | µs/step | GFLOP/s | compile s |")
    print("|---|---:|---|---:|---:|---:|")
    for name, (_, cell) in CELLS.items():
        for time_steps, steps in ((8, 80), (32, 20)):
            variants = {f"unroll {unroll}": dlkit_outputs(name, unroll) for unroll in (1, 2, 4, 8)}
            variants["plain"] = plain_outputs(name)
            runs, compilation = {}, {}
            for loop, outputs in variants.items():
                runs[loop], compilation[loop] = compiled(outputs, name, time_steps, steps)
            for loop, least in microseconds(runs, steps).items():
                speed = products(cell, time_steps) / least / 1e3
                print(f"| {name} | {time_steps} | {loop} | {least:.0f} | {speed:.0f} | {compilation[loop]:.2f} |")


if __name__ == "__main__":
    main()
