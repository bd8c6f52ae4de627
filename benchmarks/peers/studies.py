"""A tuning study as users of other libraries write it: `python -m benchmarks.peers.studies WAY FOLDER [--share 0.1]`.

Every optimizer's points are trained on the tuning seeds, the best on validation on the final seeds, judged on test. The
folder has the data and the points; nothing of dlkit is imported. `study_speed` starts this, one process a study.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH, STEPS, EVALUATIONS = 64, 600, 20
INTERVAL = STEPS // EVALUATIONS
WIDTH = 4  # trials side by side under vmap: the fastest here, and it divides both stages

Trial = tuple[Mapping[str, float], int]  # hyperparameters and seed
Trainer = Callable[[Sequence[Trial], str], np.ndarray]  # (trials, split) -> accuracy at each evaluation


def orders(seed: int, examples: int) -> np.ndarray:
    """int32 [steps, batch]: one permutation after another."""
    rng = np.random.default_rng(seed)
    epochs = -(-STEPS // (examples // BATCH))
    rows = np.concatenate([rng.permutation(examples)[: examples // BATCH * BATCH] for _ in range(epochs)])
    return rows.reshape(-1, BATCH)[:STEPS].astype(np.int32)


class Jax:
    """What the three ways with JAX share: a linen network, its losses and optax's optimizers."""

    def __init__(self, data: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        import jax
        import jax.numpy as jnp
        import optax
        from flax import linen as nn

        class Network(nn.Module):
            @nn.compact
            def __call__(self, x):
                for width in (64, 64):
                    x = nn.relu(nn.Dense(width)(x))
                return nn.Dense(10)(x)

        network, entropy = Network(), optax.softmax_cross_entropy_with_integer_labels
        self.makers = {
            "sgd": optax.sgd,
            "momentum": optax.sgd,
            "rmsprop": optax.rmsprop,
            "adagrad": optax.adagrad,
            "adam": optax.adam,
            "adamw": optax.adamw,
        }
        self.data = jax.device_put(data)
        self.init = jax.jit(lambda seed: network.init(jax.random.key(seed), jnp.zeros((1, 64))))

        def take_step(transformation, params, opt_state, train, index):
            def loss_of(params):
                return entropy(network.apply(params, train["inputs"][index]), train["targets"][index]).mean()

            loss, gradient = jax.value_and_grad(loss_of)(params)
            updates, opt_state = transformation.update(gradient, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, loss

        def evaluate(params, held_out):
            logits = network.apply(params, held_out["inputs"])
            right = (logits.argmax(axis=-1) == held_out["targets"]).mean()
            return jnp.stack([right, entropy(logits, held_out["targets"]).mean()])

        self.take_step, self.evaluate = take_step, evaluate

    def order(self, seed: int) -> np.ndarray:
        """The batches of a seed."""
        return orders(seed, len(self.data["train"]["inputs"]))


def linen(data: Mapping[str, Any]) -> Callable[[str], Trainer]:
    """A careful step loop: hyperparameters traced, so that one compiled step serves all trials; donated carry."""
    import jax
    import jax.numpy as jnp

    own = Jax(data)
    evaluate = jax.jit(own.evaluate)

    def trainer(optimizer: str) -> Trainer:
        make = own.makers[optimizer]
        begin = jax.jit(lambda params, values: make(**values).init(params))

        def step(carry, values, train, order):
            params, opt_state, number, total = carry
            params, opt_state, loss = own.take_step(make(**values), params, opt_state, train, order[number])
            return params, opt_state, number + 1, total + loss

        jitted = jax.jit(step, donate_argnums=0)

        def train(trials: Sequence[Trial], split: str) -> np.ndarray:
            curves = []
            for hyperparameters, seed in trials:
                values = {name: jnp.float32(value) for name, value in hyperparameters.items()}
                order, params = jax.device_put(own.order(seed)), own.init(seed)
                carry = params, begin(params, values), jnp.int32(0), jnp.float32(0)
                points = []
                for _ in range(EVALUATIONS):
                    for _ in range(INTERVAL):
                        carry = jitted(carry, values, own.data["train"], order)
                    points.append(evaluate(carry[0], own.data[split]))
                curves.append(jax.device_get(points))
            return np.array(curves)[..., 0]

        return train

    return trainer


def whole_trial(own: Jax, make: Callable[..., Any]) -> Callable[..., Any]:
    """A trial as one function: steps and evaluations in nested scans."""
    import jax

    def trial(params, values, order, train, held_out):
        transformation = make(**values)

        def step(carry, index):
            params, opt_state, loss = own.take_step(transformation, *carry, train, index)
            return (params, opt_state), loss

        def interval(carry, indices):
            carry, losses = jax.lax.scan(step, carry, indices)
            return carry, (own.evaluate(carry[0], held_out), losses.mean())

        start = params, transformation.init(params)
        return jax.lax.scan(interval, start, order.reshape(EVALUATIONS, INTERVAL, BATCH))[1][0]

    return trial


def scan(data: Mapping[str, Any]) -> Callable[[str], Trainer]:
    """One compiled trial per optimizer, hyperparameters traced, one trial after the other."""
    import jax

    own = Jax(data)

    def trainer(optimizer: str) -> Trainer:
        jitted = jax.jit(whole_trial(own, own.makers[optimizer]))

        def train(trials: Sequence[Trial], split: str) -> np.ndarray:
            curves = [
                jitted(own.init(seed), values, own.order(seed), own.data["train"], own.data[split])
                for values, seed in trials
            ]
            return np.array(jax.device_get(curves))[..., 0]

        return train

    return trainer


def vmap(data: Mapping[str, Any]) -> Callable[[str], Trainer]:
    """As `scan`, for several trials side by side."""
    import jax

    own = Jax(data)
    init = jax.jit(jax.vmap(own.init))

    def trainer(optimizer: str) -> Trainer:
        trial = whole_trial(own, own.makers[optimizer])
        jitted = jax.jit(jax.vmap(trial, in_axes=(0, 0, 0, None, None)))

        def train(trials: Sequence[Trial], split: str) -> np.ndarray:
            curves = []
            for first in range(0, len(trials), WIDTH):
                group = trials[first : first + WIDTH]
                values = {name: np.array([each[0][name] for each in group], np.float32) for name in group[0][0]}
                seeds = np.array([seed for _, seed in group])
                order = np.stack([own.order(seed) for seed in seeds])
                curves.append(jitted(init(seeds), values, order, own.data["train"], own.data[split]))
            return np.concatenate(jax.device_get(curves))[..., 0]

        return train

    return trainer


def torch_trainer(data: Mapping[str, Any]) -> Callable[[str], Trainer]:
    """Eager torch on one thread, fused optimizers where there are any."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    kinds = {"inputs": np.float32, "targets": np.int64}
    tensors = {
        split: {name: torch.tensor(np.asarray(each, kinds[name])) for name, each in arrays.items()}
        for split, arrays in data.items()
    }
    inputs, targets = tensors["train"]["inputs"], tensors["train"]["targets"]
    entropy = nn.functional.cross_entropy
    makers: dict[str, Callable[..., Any]] = {
        "sgd": lambda p, learning_rate: torch.optim.SGD(p, learning_rate, fused=True),
        "momentum": lambda p, learning_rate, momentum: torch.optim.SGD(p, learning_rate, momentum, fused=True),
        "rmsprop": lambda p, learning_rate, decay: torch.optim.RMSprop(p, learning_rate, decay),
        "adagrad": lambda p, learning_rate: torch.optim.Adagrad(p, learning_rate, fused=True),
        "adam": lambda p, learning_rate, b1, b2: torch.optim.Adam(p, learning_rate, (b1, b2), fused=True),
        "adamw": lambda p, learning_rate, b1, b2, weight_decay: torch.optim.AdamW(
            p, learning_rate, (b1, b2), weight_decay=weight_decay, fused=True
        ),
    }

    def trainer(optimizer: str) -> Trainer:
        def one(values: Mapping[str, float], seed: int, held_out: Mapping[str, Any]) -> list[float]:
            torch.manual_seed(seed)
            parts = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
            model = nn.Sequential(*parts)
            moves = makers[optimizer](model.parameters(), **values)
            curve = []
            order = torch.tensor(orders(seed, len(inputs)), dtype=torch.int64)
            for indices in order.reshape(EVALUATIONS, INTERVAL, BATCH):
                for index in indices:
                    moves.zero_grad()
                    entropy(model(inputs[index]), targets[index]).backward()
                    moves.step()
                with torch.no_grad():
                    logits = model(held_out["inputs"])
                    entropy(logits, held_out["targets"]).item()
                    curve.append((logits.argmax(dim=-1) == held_out["targets"]).float().mean().item())
            return curve

        def train(trials: Sequence[Trial], split: str) -> np.ndarray:
            return np.array([one(values, seed, tensors[split]) for values, seed in trials])

        return train

    return trainer


def suggested(trial: Any, spaces: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Optuna's next point of a space: name -> low, high, scale."""
    point = {}
    for name, (low, high, scale) in spaces.items():
        if scale == "one_minus_log":
            point[name] = 1 - trial.suggest_float(name, 1 - high, 1 - low, log=True)
        else:
            point[name] = trial.suggest_float(name, low, high, log=scale == "log")
    return point


def optuna_best(train: Trainer, space: Mapping[str, Any], seeds: Sequence[int], count: int) -> Mapping[str, float]:
    """What optuna's default sampler finds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    found = {}

    def objective(trial: Any) -> float:
        found[trial.number] = point = suggested(trial, space)
        return float(train([(point, seed) for seed in seeds], "validation")[:, -1].mean())

    study.optimize(objective, n_trials=count)
    return found[study.best_trial.number]


WAYS: Mapping[str, Callable[[Mapping[str, Any]], Callable[[str], Trainer]]] = {
    "linen": linen,
    "scan": scan,
    "vmap": vmap,
    "optuna+torch": torch_trainer,
}


def main() -> None:
    """Runs a study and prints, as JSON, how many trials it made, what they took, and what was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    asked = parser.parse_args()
    plan = json.loads((asked.folder / "study.json").read_text())
    arrays = np.load(asked.folder / "data.npz")
    data: dict[str, dict[str, np.ndarray]] = {}
    for name in arrays:
        part, _, kind = name.partition(".")
        data.setdefault(part, {})[kind] = arrays[name]
    trainer = WAYS[asked.way](data)
    began = time.process_time()
    trained, reached = 0, {}
    final = plan["seeds"][: max(round(len(plan["seeds"]) * asked.share), 1)]
    for optimizer, entry in plan["optimizers"].items():
        train = trainer(optimizer)
        points = entry["points"][: max(round(len(entry["points"]) * asked.share), 1)]
        tuning = plan["tuning_seeds"]
        if asked.way == "optuna+torch":
            best = optuna_best(train, entry["space"], tuning, len(points))
        else:
            curves = train([(point, seed) for point in points for seed in tuning], "validation")
            scores = curves[:, -1].reshape(len(points), len(tuning)).mean(axis=1)
            best = points[int(scores.argmax())]
        curves = train([(best, seed) for seed in final], "test")
        trained += len(points) * len(tuning) + len(final)
        reached[optimizer] = float(np.median(curves[:, -1]))
    print(json.dumps({"trials": trained, "seconds": time.process_time() - began, "accuracy": reached}))


if __name__ == "__main__":
    main()
