"""What every loop trains: eight networks on the digits, batches of 64, Adam; all get the same batches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from dlkit import layers
from dlkit.bench import data, problems
from dlkit.bench.problems import Metric, Problem
from dlkit.bench.problems.sample_quality import energy_distance
from dlkit.bench.problems.supervised import classification
from dlkit.bench.training.data_order import data_order

BATCH = 64
LATENT, SHOWN = 16, 36  # of the GAN: numbers of a latent vector, images that it is judged by
VALUES = {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999}  # Adam's


@dataclass(frozen=True)
class Task:
    """A network to train.

    Attributes:
        name: of the row, and of the network in each library's module.
        problem: as dlkit has it.
        metric: what loops return of the test split at their end.
        steps: of a run.
        evaluations: of a run, evenly spaced: on the whole test split.
    """

    name: str
    problem: Problem
    metric: str
    steps: int
    evaluations: int = 20

    @property
    def interval(self) -> int:
        """Steps between evaluations."""
        return self.steps // self.evaluations

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        shapes = jax.eval_shape(self.problem.init, jax.random.key(0))[0]
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    @property
    def train(self) -> Mapping[str, np.ndarray]:
        """The training split."""
        return self.problem.dataset.train

    @property
    def test(self) -> Mapping[str, np.ndarray]:
        """What evaluations are on."""
        return self.problem.dataset.test

    def order(self) -> np.ndarray:
        """int32 [evaluations, interval, rows]: the examples of each step; of the GAN two batches after one another."""
        drawn = data_order(self.problem, "final", 0, segment=self.interval)
        return np.stack([rows for rows, _ in zip(drawn, range(self.evaluations), strict=False)])


def recurrent(name: str, make: Callable[..., layers.Layer]) -> Problem:
    """Images read row by row: eight steps of eight pixels, 64 units, the last output, 10 classes."""
    digits = data.digits()

    def rows(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {**arrays, "inputs": arrays["inputs"].reshape(-1, 8, 8)}

    model = layers.serial(make(64, output="last"), layers.dense(10))
    dataset = data.Dataset(name, rows(digits.train), rows(digits.validation), rows(digits.test))
    return classification(name, model, dataset, batch_size=BATCH, steps=400)


def gan() -> Problem:
    """digits-gan, judged by one distance alone: its other metrics cost more than the steps between them."""
    problem = problems.get("digits-gan")

    def evaluate(params: Any, state: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        del state
        return {"energy_distance": energy_distance(problem.samples(params, {}).reshape(-1, 64), batch["inputs"])}

    metrics = {"energy_distance": Metric("lower")}
    return replace(problem, evaluate=evaluate, metrics=metrics, metric="energy_distance", target=None)


MAKERS: Mapping[str, tuple[Callable[[], Problem], str, int]] = {  # name -> problem, metric, steps
    "MLP": (lambda: problems.get("digits-mlp"), "cross_entropy", 600),
    "CNN": (lambda: problems.get("digits-cnn"), "cross_entropy", 400),
    "LSTM": (lambda: recurrent("lstm", layers.lstm), "cross_entropy", 400),
    "GRU": (lambda: recurrent("gru", layers.gru), "cross_entropy", 400),
    "transformer": (lambda: problems.get("digits-transformer"), "cross_entropy", 400),
    "resnet": (lambda: problems.get("digits-resnet"), "cross_entropy", 400),
    "VAE": (lambda: problems.get("digits-vae"), "negative_elbo", 600),
    "GAN": (gan, "energy_distance", 600),
}


def task(name: str, share: float = 1.0) -> Task:
    """Returns a row's task, with a share of its steps and evaluations."""
    make, metric, steps = MAKERS[name]
    evaluations = max(round(20 * share), 1)
    return Task(name, make(), metric, steps // 20 * evaluations, evaluations)
