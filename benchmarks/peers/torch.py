"""torch on one thread: an eager loop, and one whose loss is compiled; Adam is the fused one in both."""

import importlib.util
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.tasks import BATCH, LATENT, SHOWN, VALUES, Task
from benchmarks.peers.timing import Loop

INSTALLED = importlib.util.find_spec("torch") is not None
DOUBLE_BIASES = {"LSTM": 256, "GRU": 128}  # torch's cells have a second bias, which adds nothing

if INSTALLED:
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)

    class Recurrent(nn.Module):
        """A recurrent layer, its last output, a dense layer."""

        def __init__(self, cell):
            super().__init__()
            self.recurrent = cell(8, 64, batch_first=True)
            self.output = nn.Linear(64, 10)

        def forward(self, x):
            """Returns logits."""
            return self.output(self.recurrent(x)[0][:, -1])

    class Block(nn.Module):
        """A pre-normalized block of four heads, with torch's own attention."""

        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(2)])
            self.inputs, self.merged = nn.Linear(32, 96), nn.Linear(32, 32)
            self.mlp = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32))

        def forward(self, x):
            """Keeps the shape."""
            parts = self.inputs(self.norms[0](x)).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
            averages = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
            x = x + self.merged(averages.transpose(1, 2).flatten(2))
            return x + self.mlp(self.norms[1](x))

    class Transformer(nn.Module):
        """Two blocks on sixteen patches of four pixels."""

        def __init__(self):
            super().__init__()
            self.projection = nn.Linear(4, 32)
            self.positions = nn.Parameter(0.02 * torch.randn(16, 32))
            self.blocks = nn.Sequential(Block(), Block())
            self.norm, self.output = nn.LayerNorm(32), nn.Linear(32, 10)

        def forward(self, x):
            """Returns logits."""
            x = x.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
            x = self.blocks(self.projection(x) + self.positions)
            return self.output(self.norm(x).mean(dim=1))

    class ResNet(nn.Module):
        """A stem and two basic blocks, of 8 and 16 channels."""

        def __init__(self):
            super().__init__()
            sizes = [(1, 8, 3, 1), (8, 8, 3, 1), (8, 8, 3, 1), (8, 16, 3, 2), (16, 16, 3, 1), (8, 16, 1, 2)]
            self.parts = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
                    nn.BatchNorm2d(outputs, momentum=0.01),
                )
                for inputs, outputs, size, stride in sizes
            )
            self.output = nn.Linear(16, 10)

        def forward(self, x):
            """Returns logits."""
            stem, first, second, third, fourth, shortcut = self.parts
            x = functional.relu(stem(x.reshape(-1, 1, 8, 8)))
            x = functional.relu(x + second(functional.relu(first(x))))
            x = functional.relu(shortcut(x) + fourth(functional.relu(third(x))))
            return self.output(x.mean(dim=(2, 3)))


def perceptron(*sizes: int) -> "nn.Sequential":
    """Dense layers with relu between them."""
    parts: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def cnn() -> "nn.Sequential":
    """Two convolutions, a pool, a hidden layer; channels first, as torch likes them."""
    return nn.Sequential(
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


Parts = tuple[Mapping[str, Any], Mapping[str, Callable[..., Any]], Callable[..., Any]]  # models, losses, metric


def classifier(model: Any) -> Parts:
    """Cross-entropy of logits."""

    def loss(models, batch):
        return functional.cross_entropy(models[""](batch["inputs"]), batch["targets"])

    return {"": model}, {"": loss}, loss


def vae() -> Parts:
    """The negative evidence lower bound."""

    def negative_elbo(models, batch):
        encoder, decoder = models[""]
        images = batch["inputs"]
        mean, log_variance = encoder(images).chunk(2, dim=-1)
        logits = decoder(mean + torch.exp(log_variance / 2) * torch.randn_like(mean))
        pixels = functional.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(dim=-1)
        divergence = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(dim=-1)
        return (pixels + divergence).mean()

    return {"": nn.ModuleList([perceptron(64, 64, 16), perceptron(8, 64, 64)])}, {"": negative_elbo}, negative_elbo


def gan() -> Parts:
    """A non-saturating game with a penalty of the discriminator's gradient at real images."""

    def generate(models, many):
        return torch.sigmoid(models["generator"](torch.randn(many, LATENT)))

    def discriminate(models, batch):
        critic, real = models["discriminator"], batch["inputs"].detach().requires_grad_()
        with torch.no_grad():
            fake = generate(models, BATCH)
        real_scores, fake_scores = critic(real), critic(fake)
        slope = torch.autograd.grad(real_scores.sum(), real, create_graph=True)[0]
        penalty = 0.5 * slope.square().sum(dim=-1).mean()
        return functional.softplus(-real_scores).mean() + functional.softplus(fake_scores).mean() + penalty

    def fool(models, batch):
        return functional.softplus(-models["discriminator"](generate(models, BATCH))).mean()

    def evaluate(models, batch):
        samples, images = generate(models, SHOWN), batch["inputs"]
        within = [torch.cdist(each, each).sum() / (len(each) * (len(each) - 1)) for each in (samples, images)]
        return 2 * torch.cdist(samples, images).mean() - within[0] - within[1]

    models = {"discriminator": perceptron(64, 128, 128, 1), "generator": perceptron(LATENT, 128, 128, 64)}
    return models, {"discriminator": discriminate, "generator": fool}, evaluate


NETWORKS: Mapping[str, Callable[[], Parts]] = {
    "MLP": lambda: classifier(perceptron(64, 64, 64, 10)),
    "CNN": lambda: classifier(cnn()),
    "LSTM": lambda: classifier(Recurrent(nn.LSTM)),
    "GRU": lambda: classifier(Recurrent(nn.GRU)),
    "transformer": lambda: classifier(Transformer()),
    "resnet": lambda: classifier(ResNet()),
    "VAE": vae,
    "GAN": gan,
}


def tensors(split: Mapping[str, np.ndarray]) -> dict[str, "torch.Tensor"]:
    """A split as torch likes it: int64 targets."""
    wide = {name: np.int64 if array.dtype.kind in "iu" else np.float32 for name, array in split.items()}
    return {name: torch.tensor(np.asarray(array, wide[name])) for name, array in split.items()}


def loop(task: Task, *, is_compiled: bool = False) -> Loop:
    """A loop as its documentation writes it; compiled, each player's loss is one graph."""
    train, test = tensors(task.train), tensors(task.test)
    order = torch.tensor(np.asarray(task.order(), np.int64))
    models, losses, metric = NETWORKS[task.name]()
    compiled = {name: torch.compile(loss, fullgraph=True) for name, loss in losses.items()} if is_compiled else losses
    starts = {name: {key: value.clone() for key, value in model.state_dict().items()} for name, model in models.items()}

    def run() -> float:
        torch.manual_seed(0)
        for name, model in models.items():  # a compiled loss belongs to its model
            model.load_state_dict(starts[name])
            model.train()
        betas = (VALUES["b1"], VALUES["b2"])
        optimizers = {
            name: torch.optim.Adam(model.parameters(), VALUES["learning_rate"], betas, fused=True)
            for name, model in models.items()
        }
        reached = 0.0
        for indices in order:
            for rows in indices:
                for place, (player, loss) in enumerate(compiled.items()):
                    index = rows[place * BATCH : (place + 1) * BATCH]
                    batch = {name: array[index] for name, array in train.items()}
                    optimizers[player].zero_grad()
                    loss(models, batch).backward()
                    optimizers[player].step()
            for model in models.values():
                model.eval()
            with torch.no_grad():
                reached = float(metric(models, test))
            for model in models.values():
                model.train()
        return reached

    count = sum(each.numel() for model in models.values() for each in model.parameters())
    return Loop(run, count - DOUBLE_BIASES.get(task.name, 0))
