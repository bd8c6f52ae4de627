"""Speed of training a CNN and an LSTM on the digits on one core: dlkit, a flax nnx loop, eager torch, interleaved.

The CNN: 3x3x16, 3x3x32, 2x2 max-pool, 64, 10. The LSTM: the image row by row, 64 units, the last output, 10. Batch 64,
Adam, 200 steps with 20 evaluations. Torch is compared where it is installed. Run it on an idle machine: `make bench`.
"""

import importlib.util

import jax
from flax import nnx

from benchmarks.loops import Loop, dlkit_loop, microseconds, nnx_loop, print_table, torch_loop
from dlkit import activations, layers
from dlkit.bench import data
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.problems import Problem
from dlkit.bench.problems.supervised import classification

STEPS, REPEATS = 200, 9


def problem(name: str, model: layers.Layer, shape: tuple[int, ...]) -> Problem:
    """The digits as examples of a shape, classified by a model."""
    digits = data.digits()

    def shaped(arrays: data.Arrays) -> data.Arrays:
        return {**arrays, "inputs": arrays["inputs"].reshape(-1, *shape)}

    dataset = data.Dataset(name, shaped(digits.train), shaped(digits.validation), shaped(digits.test))
    return classification(name, model, dataset, batch_size=64, steps=STEPS, target=0.95, description=name)


def dlkit_cnn() -> layers.Layer:
    """The CNN from dlkit's layers."""
    return layers.serial(
        layers.conv(16, (3, 3)),
        activations.relu,
        layers.conv(32, (3, 3)),
        activations.relu,
        layers.max_pool((2, 2)),
        layers.flatten(3),
        layers.dense(64),
        activations.relu,
        layers.dense(10),
    )


def dlkit_lstm() -> layers.Layer:
    """The LSTM from dlkit's layers."""
    return layers.serial(layers.lstm(64, output="last"), layers.dense(10))


class FlaxCNN(nnx.Module):
    """The CNN in flax nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 32, 64, rngs=rngs)
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        x = jax.nn.relu(self.second(jax.nn.relu(self.first(x))))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1)
        return self.output(jax.nn.relu(self.hidden(x)))


class FlaxLSTM(nnx.Module):
    """The LSTM in flax nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.recurrent = nnx.RNN(nnx.OptimizedLSTMCell(8, 64, rngs=rngs))
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        return self.output(self.recurrent(x)[:, -1])


def torch_cnn() -> "torch.nn.Module":
    """The CNN in torch, channels first as it likes them."""
    from torch import nn

    return nn.Sequential(
        nn.Flatten(),
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def torch_lstm() -> "torch.nn.Module":
    """The LSTM in torch."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(8, 64, batch_first=True)
            self.output = nn.Linear(64, 10)

        def forward(self, x):
            return self.output(self.recurrent(x)[0][:, -1])

    return Network()


def main() -> None:
    """Prints a table per network."""
    configure_jax()
    installed = importlib.util.find_spec("torch") is not None
    if not installed:
        print("torch is not installed: no comparison with it")
    networks = {
        "CNN": (problem("cnn", dlkit_cnn(), (8, 8, 1)), FlaxCNN, torch_cnn),
        "LSTM": (problem("lstm", dlkit_lstm(), (8, 8)), FlaxLSTM, torch_lstm),
    }
    for name, (task, flax_network, torch_network) in networks.items():
        print(f"\n{name}")
        loops: dict[str, Loop] = {"dlkit": dlkit_loop(task, STEPS), "nnx": nnx_loop(task, STEPS, flax_network)}
        if installed:
            loops["torch"] = torch_loop(task, STEPS, torch_network)
        print_table(microseconds(loops, steps=STEPS, repeats=REPEATS), "dlkit")


if __name__ == "__main__":
    main()
