"""Trains in two processes with two CPU devices each.

``python -m tests.bench.training.two_processes train PORT PLACE`` trains one trial, ``alone`` in one process; ``run PORT
PLACE FOLDER`` makes a run that only the first process keeps; ``endless PORT PLACE FOLDER`` begins one whose first call
never ends, and makes the file FOLDER.PLACE when that call begins.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit import bench
from dlkit.bench.execution import lease


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


def run(folder: str) -> dict[str, Any]:
    """A run, in each process; the same once more; and replays."""
    results = [
        bench.compare(
            problems=[problem()],
            optimizers=["sgd"],
            budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
            folder=folder,
            executor="jax.distributed",
            progress=False,
        )
        for _ in range(2)
    ]
    records = [result.summary.records for result in results]
    return {
        "failures": [failure for result in results for failure in result.failures],
        "lanes": sorted({record.program["lanes"] for record in records[0].values()}),
        "trials": sorted(records[0]),
        "errors": {name: float(record.outcome.final("error")) for name, record in records[1].items()},
        "reused": all(each.outcome.seconds == records[1][name].outcome.seconds for name, each in records[0].items()),
        "exact": [results[0].replay(name).exact for name in sorted(records[0])],
    }


def endless(folder: str, place: str) -> None:
    """A run that nothing but a signal ends."""

    def make(learning_rate: Any) -> Any:
        def update(gradients: Any, state: Any, params: Any = None) -> Any:
            # Training has gradients of both signs; those that planning tries are positive, or zero.
            trains = jnp.any(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradients)]) < 0)
            forever = jax.lax.while_loop(lambda _: trains, lambda each: (each + 1) % 1000, jnp.int32(0))
            return jax.tree.map(lambda gradient: -learning_rate * gradient + 0.0 * forever, gradients), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    def listen(event: str, duration_secs: float, **facts: Any) -> None:
        if event == lease.COMPILED and lease.SEGMENT in str(facts.get("fun_name", "")):
            Path(f"{folder}.{place}").touch()

    jax.monitoring.register_event_duration_secs_listener(listen)
    result = bench.compare(
        problems=[problem()],
        optimizers=[bench.Optimizer("endless", make, {"learning_rate": bench.log_uniform(0.1, 1.0)})],
        budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        folder=folder,
        executor="jax.distributed",
        progress=False,
        check=False,
    )
    print(json.dumps({"interrupted": result.interrupted}))


def main() -> None:
    """Prints what was found, as JSON."""
    if sys.argv[1] == "alone":
        print(json.dumps({"curve": curve(1)}))
    elif sys.argv[1] in ("run", "endless"):
        names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        os.environ.update(zip(names, (f"127.0.0.1:{sys.argv[2]}", "2", sys.argv[3]), strict=True))
        if sys.argv[1] == "run":
            print(json.dumps(run(sys.argv[4])))
        else:
            endless(sys.argv[4], sys.argv[3])
    else:
        jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[3]))
        counts = [jax.local_device_count(), jax.device_count()]
        print(json.dumps({"devices": counts, "curve": curve(4), "again": curve(4)}))


if __name__ == "__main__":
    main()
