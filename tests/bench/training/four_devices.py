"""Trains small problems on one and on four CPU devices, in a process that XLA_FLAGS gives four.

``python -m tests.bench.training.four_devices curves NAME...`` prints, as JSON, how far apart the curves are,
``program`` what calls of one program compile and move, ``run`` what a run and its replays say.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from dlkit import bench
from dlkit.bench import problems
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.probes import get as get_probe
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.lanes import ALONE, Lanes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin, train_trials

FOUR = Lanes(0, 4)
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


def data() -> bench.Dataset:
    """90 examples: 54 train, 18 validate, 18 test, none of which four divides."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(90, 6)).astype(np.float32)
    return bench.split("mine", {"inputs": inputs, "targets": (inputs[:, 0] > 0).astype(np.int32)})


class Linen(linen.Module):
    """A network with batch statistics."""

    @linen.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = linen.BatchNorm(use_running_average=not train, momentum=0.5)(linen.Dense(8)(x))
        return linen.Dense(2)(linen.relu(x))


def of_haiku(x: Any) -> Any:
    """A network with dropout."""
    x = jax.nn.tanh(haiku.Linear(8)(x))
    return haiku.Linear(2)(haiku.dropout(haiku.next_rng_key(), 0.5, x))


def of_equinox(key: Any) -> Any:
    """A network of one example."""
    return equinox.nn.MLP(6, 2, 8, 1, key=key)


def by_hand() -> bench.Problem:
    """A problem whose loss has a mean over the batch, a noise of its own for each example, and pairs of examples."""

    def init(key: Any) -> Any:
        return {"w": jax.random.normal(key, (6,)), "b": jnp.zeros(())}, None

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        noise = jax.random.normal(key, batch["inputs"].shape)
        out = (batch["inputs"] + 0.1 * noise) @ params["w"] + params["b"]
        apart = out[:, None] - out[None]  # of all pairs, whichever devices they are on
        return jnp.mean((out - batch["targets"]) ** 2) + 0.01 * jnp.mean(apart**2), state

    def evaluate(params: Any, state: Any, split: Any) -> Any:
        out = split["inputs"] @ params["w"] + params["b"]
        return {"error": jnp.mean(jnp.abs(out - split["targets"])), "spread": jnp.std(out), "largest": out.max()}

    lower = bench.Metric("lower")
    return bench.Problem(
        name="by-hand",
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=data(),
        metrics={"error": lower, "spread": lower, "largest": lower},
        batch_size=8,
    )


def games() -> bench.Problem:
    """The smallest game with data."""
    return problems.get("ring-gan", width=8)


MAKERS: dict[str, Callable[[], bench.Problem]] = {
    "char transformer": lambda: problems.get("text-transformer", width=8, depth=1, length=16),
    "mlp": lambda: problems.get("digits-mlp", width=8),
    "mlp, full batch": lambda: problems.get("digits-mlp", width=8).variant(batch_size="full"),
    "batch norm": lambda: problems.get("digits-cnn-batch-norm", width=2),
    "rnn": lambda: problems.get("digits-rows", width=4),
    "vae": lambda: problems.get("digits-vae", width=8, latent=2),
    "dropout": lambda: problems.get("digits-mlp", width=8, dropout=0.5),
    "gan": games,
    "flax": lambda: bench.problem_from_flax(Linen(), data(), CROSS_ENTROPY, batch_size=8),
    "haiku": lambda: bench.problem_from_haiku(haiku.transform(of_haiku), data(), CROSS_ENTROPY, batch_size=8),
    "equinox": lambda: bench.problem_from_equinox(of_equinox, data(), CROSS_ENTROPY, batch_size=8),
    "by hand": by_hand,
}
RATES = {"gan": 0.01}


def program_of(problem: bench.Problem, lanes: Lanes, optimizer: str = "sgd", **more: Any) -> Program:
    """The program of a few steps."""
    recipe = Recipe(optimizer=get_optimizer(optimizer), steps=6, evaluations=2, **more)
    return compile_program(compile_problem(problem, lanes), recipe)


def trained(program: Program, rate: float = 0.1, seed: int = 0) -> Trajectory:
    """One final trial."""
    values = dict.fromkeys(program.recipe.traced, rate)
    return train_trials(program, [Request(values, "final", seed)])[0]


def apart(one: Trajectory, four: Trajectory) -> float:
    """The largest difference of curves, parameters, state and scores, relative to numbers above 1."""
    ends = [[each.params, each.state, dict(each.validation), each.example_scores] for each in (one, four)]
    pairs = [(one.curves[name], four.curves[name]) for name in one.curves]
    pairs += zip(*map(jax.tree.leaves, ends), strict=True)
    return max(float(np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(a)))) for a, b in map(_arrays, pairs))


def _arrays(pair: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(each, np.float64) for each in pair]


CASES: dict[str, Callable[[], Any]] = {name: lambda make=make: (make(), "sgd", {}) for name, make in MAKERS.items()} | {
    "averaged parameters": lambda: (MAKERS["flax"](), "sgd+ema", {}),
    "probes": lambda: (by_hand(), "sgd", {"probes": [get_probe(name) for name in ("gradient_norm", "sharpness")]}),
    "early stopping": lambda: (by_hand(), "sgd", {"stopping": EarlyStopping(patience=1)}),
}


def curves(*names: str) -> dict[str, float]:
    """How far four devices are from one, in each case."""
    found = {}
    for name in names:
        problem, optimizer, more = CASES[name]()
        rate = RATES.get(name, 0.1)
        found[name] = apart(*(trained(program_of(problem, each, optimizer, **more), rate) for each in (ALONE, FOUR)))
    return found


def main() -> None:
    """Prints one of the answers."""
    print(json.dumps({"curves": curves, "program": program, "run": run}[sys.argv[1]](*sys.argv[2:])))


def program() -> dict[str, Any]:
    """What two trials of one program compile and move beyond the first, what is used up, and what is split."""
    made = program_of(by_hand(), FOUR, "adam")
    trained(made)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event) if "compile" in event else None
    )
    with jax.transfer_guard_device_to_device("disallow"):
        first, again = trained(made, 0.05, seed=1), trained(made, 0.05, seed=1)
    begun = begin(made, [Request(dict.fromkeys(made.recipe.traced, 0.1), "final", 0)])
    block = next(begun.blocks)
    arguments = (begun.carry, block.indices, begun.values, begun.start, block.train)
    text = made.segment.lower(*arguments).compile().as_text()
    carry, _ = made.segment(*arguments)
    return {
        "compiled": compiled,
        "same bits": all(first.curves[name].tobytes() == again.curves[name].tobytes() for name in first.curves),
        "used up": all(leaf.is_deleted() for leaf in jax.tree.leaves(begun.carry.opt_state)),
        "layouts": sorted({str(leaf.sharding.spec) for leaf in jax.tree.leaves(carry)}),
        "devices": sorted({len(leaf.sharding.device_set) for leaf in jax.tree.leaves(carry)}),
        "a quarter of the batch": "f32[2,6]" in text,
        "one device is no mesh": Lanes(0, 1) == ALONE,
    }


def run() -> dict[str, Any]:
    """A run over four devices, its replays, a second run of what is left, and one that is asked for by resources."""
    result = bench.compare(
        problems=[bench.ProblemChoice(problem=by_hand(), devices=4)],
        optimizers=["sgd"],
        budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
        executor="inline",
        timing=True,
        progress=False,
    )
    records = result.summary.records
    alone = bench.compare(
        problems=[by_hand()],
        optimizers=["sgd"],
        budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
        resources=bench.Resources(executor="inline", devices=2),
        progress=False,
    )
    return {
        "failures": [*result.failures, *alone.failures],
        "lanes": sorted({each.program["lanes"] for each in records.values()}),
        "exact": [result.replay(name).exact for name in records],
        "asked for": sorted({each.program["lanes"] for each in alone.summary.records.values()}),
        "same trials": sorted(records) == sorted(alone.summary.records),
        "timed": bool(result.costs()["seconds_per_step"].gt(0).all()),
    }


if __name__ == "__main__":
    main()
