"""Trains one trial in two processes with two CPU devices each: ``python -m ... train PORT PLACE``; ``alone`` in one."""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit import bench


def data() -> bench.Dataset:
    """90 examples: 54 train, 18 validate, 18 test."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(90, 6)).astype(np.float32)
    return bench.split("mine", {"inputs": inputs, "targets": (inputs[:, 0] > 0).astype(np.float32)})


def problem(devices: int = 1) -> bench.Problem:
    """A network with a noise of its own for each example."""

    def init(key: Any) -> Any:
        return {"w": jax.random.normal(key, (6, 4)), "v": jnp.ones(4)}, None

    def outputs(params: Any, inputs: Any) -> Any:
        return jnp.tanh(inputs @ params["w"]) @ params["v"]

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        noise = 0.1 * jax.random.normal(key, batch["inputs"].shape)
        return jnp.mean((outputs(params, batch["inputs"] + noise) - batch["targets"]) ** 2), state

    def evaluate(params: Any, state: Any, split: Any) -> Any:
        return {"error": jnp.mean((outputs(params, split["inputs"]) - split["targets"]) ** 2)}

    return bench.Problem(
        name="two",
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=data(),
        metrics={"error": bench.Metric("lower")},
        batch_size=8,
        devices=devices,
    )


def curve(devices: int) -> list[float]:
    """The numbers of one trial's curve."""
    trained = bench.train(problem(devices), "adam", learning_rate=0.01, steps=6, evaluations=3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.params))
    return [float(value) for name in ("error", "training_loss") for value in trained.curve[name][1:]]


def main() -> None:
    """Prints what was found, as JSON."""
    if sys.argv[1] == "alone":
        print(json.dumps({"curve": curve(1)}))
    else:
        jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[3]))
        counts = [jax.local_device_count(), jax.device_count()]
        print(json.dumps({"devices": counts, "curve": curve(4), "again": curve(4)}))


if __name__ == "__main__":
    main()
