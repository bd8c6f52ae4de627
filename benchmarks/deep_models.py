"""What depth costs before the first step: initializing and compiling a transformer language model of 12 blocks.

    python -m benchmarks.deep_models
    python -m benchmarks.deep_models --depth 24

Processor seconds of this process: of `init` traced without computing, and of compiling the gradient of the loss with
the blocks one by one (`transformer_language_model`) and in a loop (`layers.repeat`). Each number is the smallest of a
few repetitions; the persistent cache of JAX is off. Then what a token costs: as one of a whole sequence, as the next
one with the keys and values of those before (`layers.stepwise`), and without them, from the start again.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlkit import layers, losses, models
from dlkit.layers import Layer

VOCABULARY, FEATURES, HEADS, TIME, BATCH = 1000, 256, 8, 128, 4


def one_by_one(depth: int) -> Layer:
    """Returns the model whose blocks are apart."""
    return models.transformer_language_model(vocabulary=VOCABULARY, features=FEATURES, heads=HEADS, depth=depth)


def in_a_loop(depth: int) -> Layer:
    """Returns the same model, with its blocks in a loop."""
    return layers.serial(
        embedding=layers.embedding(VOCABULARY, FEATURES),
        positions=layers.learned_positions(),
        blocks=layers.repeat(layers.transformer_block(HEADS, causal=True), depth),
        normalization=layers.layer_norm(),
        output=layers.dense(VOCABULARY),
        input_dtype=jnp.int32,
    )


def abstract_start(model: Layer) -> Any:
    """Returns the shapes of parameters and state; nothing is computed."""
    return jax.eval_shape(lambda key: model.init(key, (TIME,)), jax.random.key(0))


def compiled_gradient(model: Layer) -> Any:
    """Returns the compiled gradient of the model's loss."""
    params, state = abstract_start(model)
    evaluate = layers.evaluate(model)

    def loss(params: Any, tokens: Any) -> Any:
        return losses.cross_entropy(evaluate(params, state, tokens), tokens).mean()

    tokens = jax.ShapeDtypeStruct((BATCH, TIME), jnp.int32)
    return jax.jit(jax.value_and_grad(loss)).lower(params, tokens).compile()


def seconds(function: Callable[[], Any], repetitions: int) -> float:
    """Returns the processor seconds of the fastest of some calls."""
    found = []
    for _ in range(repetitions):
        jax.clear_caches()
        before = time.process_time()
        function()
        found.append(time.process_time() - before)
    return min(found)


def token_costs(model: Layer, calls: int = 20) -> dict[str, float]:
    """Returns milliseconds of the processor for one token of each sequence, by how it is computed."""
    params, state = jax.jit(lambda key: model.init(key, (TIME,)))(jax.random.key(0))
    decoder = layers.stepwise(model, batch_shape=(BATCH,), max_length=TIME)
    begun = layers.initial_state(decoder, (1,), state=state)
    tokens = jnp.zeros((BATCH, TIME), jnp.int32)
    whole = jax.jit(lambda params, tokens: model.apply(params, state, tokens)[0])
    _, late = jax.jit(decoder.apply)(params, begun, tokens[:, : TIME - calls - 1])
    step = jax.jit(decoder.apply, donate_argnums=1)

    def cost(function: Callable[[], Any]) -> float:
        jax.block_until_ready(function())
        found = []
        for _ in range(calls):
            before = time.process_time()
            jax.block_until_ready(function())
            found.append(1000 * (time.process_time() - before))
        return min(found)

    def next_step() -> Any:
        nonlocal late
        y, late = step(params, late, tokens[:, :1])
        return y

    again = cost(lambda: whole(params, tokens))
    return {
        "of a whole sequence": again / TIME,
        "the next one, with a cache": cost(next_step),
        "alone, of a sequence of one": cost(lambda: whole(params, tokens[:, :1])),
        "the next one, from the start again": again,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=12, help="number of blocks")
    parser.add_argument("--repetitions", type=int, default=3, help="of which the fastest counts")
    asked = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    made = {"one by one": one_by_one(asked.depth), "in a loop": in_a_loop(asked.depth)}
    print(f"| {asked.depth} blocks | abstract init, CPU s | trace and compile the gradient, CPU s |\n|---|---|---|")
    for name, model in made.items():
        start = seconds(lambda model=model: abstract_start(model), asked.repetitions)  # type: ignore[misc]
        compiled = seconds(lambda model=model: compiled_gradient(model), asked.repetitions)  # type: ignore[misc]
        print(f"| {name} | {start:.2f} | {compiled:.2f} |", flush=True)
    print(f"\n| a token of {BATCH} sequences of {TIME} | CPU ms |\n|---|---|")
    for name, each in token_costs(made["one by one"]).items():
        print(f"| {name} | {each:.2f} |")


if __name__ == "__main__":
    main()
