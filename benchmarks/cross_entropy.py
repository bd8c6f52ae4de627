"""Cross-entropy of class indices: a value and its gradient by dlkit, optax and torch, in time and memory.

    python -m benchmarks.cross_entropy [--rounds 20]

One core, one thread. Each round runs every library once on each size, one after the other, and the least CPU time of a
call counts. Memory is what XLA's compiled program takes beside its arguments and results; torch has no such number.
Torch is left out where it is not installed.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping

os.environ.setdefault("NPROC", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit import losses

SIZES = ((512, 10), (512, 1_000), (512, 10_000), (128, 50_000))  # examples, classes
Loss = Callable[[jax.Array, jax.Array], jax.Array]
SMOOTHING = 0.1


def optax_smoothed(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """What optax has for smoothed targets: probabilities of every class."""
    targets = optax.losses.smooth_labels(jax.nn.one_hot(targets, logits.shape[-1]), SMOOTHING)
    return optax.losses.softmax_cross_entropy(logits, targets)


JAX_LOSSES: Mapping[str, Loss] = {
    "dlkit": losses.cross_entropy,
    "dlkit, smoothed": lambda logits, targets: losses.cross_entropy(logits, targets, label_smoothing=SMOOTHING),
    "optax": optax.losses.softmax_cross_entropy_with_integer_labels,
    "optax, smoothed": optax_smoothed,
}
LEAST_SECONDS = 0.02  # of one measurement: more calls where one is shorter


def compiled(loss: Loss, logits: jax.Array, targets: jax.Array) -> tuple[Callable[[], object], float]:
    """A call that waits for its results, and the program's temporary memory in MB."""
    program = jax.jit(jax.value_and_grad(lambda x, t: loss(x, t).mean())).lower(logits, targets).compile()
    megabytes = program.memory_analysis().temp_size_in_bytes / 1e6
    return lambda: jax.block_until_ready(program(logits, targets)), megabytes


def of_torch(logits: np.ndarray, targets: np.ndarray, smoothing: float = 0.0) -> Callable[[], object] | None:
    """The same by torch, where it is installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    x, t = torch.tensor(logits, requires_grad=True), torch.tensor(targets)

    def call() -> object:
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x, t, label_smoothing=smoothing), x)
        return gradient

    return call


def seconds(call: Callable[[], object], calls: int) -> float:
    """CPU seconds of one call."""
    before = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - before) / calls


def measure(examples: int, classes: int, rounds: int) -> None:
    """Print one size's row for each library."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 3.0, (examples, classes)).astype(np.float32)
    targets = rng.integers(0, classes, examples)
    made = {name: compiled(loss, jnp.asarray(logits), jnp.asarray(targets)) for name, loss in JAX_LOSSES.items()}
    calls = {name: call for name, (call, _) in made.items()}
    for name, smoothing in {"torch": 0.0, "torch, smoothed": SMOOTHING}.items():
        if (torch_call := of_torch(logits, targets, smoothing)) is not None:
            calls[name] = torch_call
    repeats = {name: max(1, int(LEAST_SECONDS / max(seconds(call, 2), 1e-6))) for name, call in calls.items()}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            least[name] = min(least[name], seconds(call, repeats[name]))
    for name in calls:
        memory = f"{made[name][1]:8.2f} MB" if name in made else "           "
        ratio = least[name] / least["optax, smoothed" if "smoothed" in name else "optax"]
        print(f"{examples:5} x {classes:6}  {name:16} {1e3 * least[name]:9.3f} ms {memory}  {ratio:5.2f} of optax's")


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    for examples, classes in SIZES:
        measure(examples, classes, arguments.rounds)


if __name__ == "__main__":
    main()
