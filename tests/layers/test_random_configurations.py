"""Layers, losses and activations in hundreds of random configurations, in float64 against torch: values and gradients.

Shapes include empty batches, batches of one, masks that allow nothing and sequences of length 0.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import activations, layers, losses

torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
functional = torch.nn.functional

COUNT = int(os.environ.get("CONFIGURATIONS", "300"))  # of a family
BATCHES = ((), (0,), (1,), (3,), (2, 3), (2, 0))
Rng = np.random.Generator


class Case(NamedTuple):
    """The same function twice, the arrays that it is differentiated by, and words for a failure."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    words: str


def pick(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def numbers(rng: Rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def channels_first(x: Any, spatial: int) -> Any:
    """One batch axis, then channels: torch's order."""
    flat = x.reshape(math.prod(x.shape[: x.ndim - spatial - 1]), *x.shape[x.ndim - spatial - 1 :])
    return flat.movedim(-1, 1)


def channels_last(y: Any, batch: tuple[int, ...]) -> Any:
    y = y.movedim(1, -1)
    return y.reshape(*batch, *y.shape[1:])


def applied(layer: layers.Layer, state: Any = None, **settings: Any) -> Callable[..., Any]:
    return lambda params, x: layer.apply(params, state or {}, x, **settings)[0]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Of ceil(size / stride) windows, one more at the end where it is odd."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def padded(x: Any, pairs: list[tuple[int, int]], value: float = 0.0) -> Any:
    return functional.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)


def convolution(rng: Rng) -> Case:
    dimensions, groups = int(rng.integers(1, 4)), pick(rng, (1, 1, 2, 3))
    batch, inputs, outputs = pick(rng, BATCHES), groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    kernel, strides, dilation = ([int(rng.integers(1, 4)) for _ in range(dimensions)] for _ in range(3))
    spatial = [int(rng.integers((k - 1) * d + 1, (k - 1) * d + 6)) for k, d in zip(kernel, dilation, strict=True)]
    settings: dict[str, Any] = {"strides": strides, "dilation": dilation, "groups": groups}
    pairs = {
        "VALID": [(0, 0)] * dimensions,
        "SAME": [same_padding(*row) for row in zip(spatial, kernel, strides, dilation, strict=True)],
        "pairs": [tuple(int(size) for size in rng.integers(0, 3, 2)) for _ in range(dimensions)],
    }
    kind = pick(rng, tuple(pairs))
    layer = layers.conv(outputs, kernel, padding=pairs[kind] if kind == "pairs" else kind, **settings)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[dimensions - 1]

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        x = padded(channels_first(x, dimensions), pairs[kind])
        weight = weight.permute(dimensions + 1, dimensions, *range(dimensions)).contiguous()
        y = convolve(x, weight, bias, stride=strides, dilation=dilation, groups=groups)
        return channels_last(y, batch)

    arrays = (
        numbers(rng, *batch, *spatial, inputs),
        numbers(rng, *kernel, inputs // groups, outputs),
        numbers(rng, outputs),
    )
    return Case(
        lambda x, weight, bias: layer.apply({"kernel": weight, "bias": bias}, {}, x)[0],
        theirs,
        arrays,
        f"{layer} on {arrays[0].shape}",
    )


def transposed_convolution(rng: Rng) -> Case:
    """Without padding: what a stride and a dilation mean is the same everywhere."""
    dimensions, batch = int(rng.integers(1, 4)), pick(rng, BATCHES)
    inputs, outputs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel, strides, dilation = ([int(rng.integers(1, 4)) for _ in range(dimensions)] for _ in range(3))
    spatial = [int(rng.integers(1, 5)) for _ in kernel]
    settings: dict[str, Any] = {"strides": strides, "dilation": dilation, "padding": "VALID"}
    layer = layers.conv_transpose(outputs, kernel, **settings)
    shape = jax.eval_shape(
        lambda x: layer.apply({"kernel": jnp.zeros((*kernel, inputs, outputs)), "bias": jnp.zeros(outputs)}, {}, x)[0],
        jax.ShapeDtypeStruct((*spatial, inputs), "float64"),
    ).shape[:-1]
    convolve = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[dimensions - 1]

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        weight = (
            weight.flip(tuple(range(dimensions))).permute(dimensions, dimensions + 1, *range(dimensions)).contiguous()
        )
        y = convolve(channels_first(x, dimensions), weight, None, stride=strides, dilation=dilation)
        # Where a stride exceeds a kernel, torch leaves out the zeros after the last position.
        y = padded(y, [(0, size - have) for size, have in zip(shape, y.shape[2:], strict=True)])
        return channels_last(y, batch) + bias

    arrays = (numbers(rng, *batch, *spatial, inputs), numbers(rng, *kernel, inputs, outputs), numbers(rng, outputs))
    return Case(
        lambda x, weight, bias: layer.apply({"kernel": weight, "bias": bias}, {}, x)[0],
        theirs,
        arrays,
        f"{layer} on {arrays[0].shape}",
    )


def pooling(rng: Rng) -> Case:
    dimensions, batch, channels = int(rng.integers(1, 4)), pick(rng, BATCHES), int(rng.integers(1, 4))
    window, strides = ([int(rng.integers(1, 4)) for _ in range(dimensions)] for _ in range(2))
    spatial = [int(rng.integers(size, size + 6)) for size in window]
    pairs = {
        "VALID": [(0, 0)] * dimensions,
        "SAME": [same_padding(*row, 1) for row in zip(spatial, window, strides, strict=True)],
        "pairs": [tuple(int(rng.integers(0, size)) for _ in range(2)) for size in window],
    }
    kind, is_max = pick(rng, tuple(pairs)), bool(rng.integers(2))
    make = layers.max_pool if is_max else layers.average_pool
    layer = make(window, strides=strides, padding=pairs[kind] if kind == "pairs" else kind)
    largest = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[dimensions - 1]
    mean = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[dimensions - 1]

    def theirs(x: Any) -> Any:
        x = channels_first(x, dimensions)
        if is_max:
            y = largest(padded(x, pairs[kind], -math.inf), window, strides)
        else:
            there = mean(padded(torch.ones_like(x), pairs[kind]), window, strides)
            y = mean(padded(x, pairs[kind]), window, strides) / there
        return channels_last(y, batch)

    x = numbers(rng, *batch, *spatial, channels)
    return Case(lambda x: layer.apply({}, {}, x)[0], theirs, (x,), f"{layer} on {x.shape}")


def normalization(rng: Rng) -> Case:
    kind, batch = pick(rng, ("layer", "rms", "group", "instance", "batch", "batch, evaluated")), pick(rng, BATCHES)
    batch = (3,) if kind == "batch" and 0 in batch else batch  # nothing to average over is refused
    dimensions, groups = int(rng.integers(1, 3)), pick(rng, (1, 2, 3))
    channels, epsilon = groups * int(rng.integers(2, 4)), pick(rng, (1e-5, 1e-3, 0.1))
    shape = (*batch, *(int(rng.integers(2, 5)) for _ in range(dimensions)), channels)
    axes = int(rng.integers(1, dimensions + 2)) if kind in ("layer", "rms") else 1
    inner = shape[len(shape) - axes :]
    mean, variance = numbers(rng, channels), rng.uniform(0.5, 2.0, channels)
    state = {"mean": mean, "var": variance} if kind.startswith("batch") else {}
    layer = {
        "layer": lambda: layers.layer_norm(axes=axes, epsilon=epsilon),
        "rms": lambda: layers.rms_norm(axes=axes, epsilon=epsilon),
        "group": lambda: layers.group_norm(groups, dimensions=dimensions, epsilon=epsilon),
        "instance": lambda: layers.instance_norm(dimensions=dimensions, epsilon=epsilon),
    }.get(kind, lambda: layers.batch_norm(epsilon=epsilon))()

    def theirs(x: Any, scale: Any, bias: Any) -> Any:
        if kind == "layer":
            return functional.layer_norm(x, inner, scale, bias, epsilon)
        if kind == "rms":
            return functional.rms_norm(x, inner, scale, epsilon) + 0 * bias.sum()
        if kind == "group":
            y = functional.group_norm(channels_first(x, dimensions), groups, scale, bias, epsilon)
            return channels_last(y, batch)
        if kind == "instance":
            y = functional.group_norm(channels_first(x, dimensions), channels, scale, bias, epsilon)
            return channels_last(y, batch)
        if x.numel() == 0:
            return x * scale + bias
        rows = x.reshape(-1, channels)
        running = torch.tensor(mean), torch.tensor(variance)
        y = functional.batch_norm(rows, *running, scale, bias, training=kind == "batch", eps=epsilon)
        return y.reshape(x.shape)

    def ours(x: Any, scale: Any, bias: Any) -> Any:
        params = {"scale": scale} if kind == "rms" else {"scale": scale, "bias": bias}
        return layer.apply(params, jax.tree.map(jnp.asarray, state), x, train=kind == "batch")[0] + (
            0 * bias.sum() if kind == "rms" else 0
        )

    return Case(ours, theirs, (numbers(rng, *shape), numbers(rng, *inner), numbers(rng, *inner)), f"{layer} on {shape}")


def recurrent(rng: Rng) -> Case:
    name, depth, both = pick(rng, ("rnn", "gru", "lstm")), int(rng.integers(1, 3)), bool(rng.integers(2))
    batch, time, inputs, units = (
        int(rng.integers(1, 4)),
        int(rng.integers(1, 6)),
        int(rng.integers(1, 4)),
        int(rng.integers(1, 5)),
    )
    layer = {"rnn": layers.rnn, "gru": layers.gru, "lstm": layers.lstm}[name](units, depth=depth, bidirectional=both)
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), (time, inputs)))
    leaves, tree = jax.tree.flatten(params)
    lengths = rng.integers(0, time + 1, batch) if rng.integers(2) else np.full(batch, time)
    named = [[key.key for key in path] for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]

    def ours(x: Any, *leaves: Any) -> Any:
        y = layer.apply(jax.tree.unflatten(tree, leaves), state, x, lengths=jnp.asarray(lengths))[0]
        return y * (np.arange(time) < lengths[:, None])[..., None]

    def theirs(x: Any, *leaves: Any) -> Any:
        module = getattr(torch.nn, name.upper())(inputs, units, depth, bidirectional=both, batch_first=True).double()
        given = {tuple(path): leaf for path, leaf in zip(named, leaves, strict=True)}
        tensors = {}
        for place, (way, suffix) in itertools.product(range(depth), (("forward", ""), ("backward", "_reverse"))):
            if way == "backward" and not both:
                continue
            of = {part: leaf for (layer, side, part), leaf in given.items() if (layer, side) == (f"layer_{place}", way)}
            second = torch.zeros_like(of["bias"])
            if name == "gru":
                second = torch.cat([second[: 2 * units], of["recurrent_bias"]])
            for kind, tensor in (
                ("weight_ih", of["input_kernel"].T),
                ("weight_hh", of["recurrent_kernel"].T),
                ("bias_ih", of["bias"]),
                ("bias_hh", second),
            ):
                tensors[f"{kind}_l{place}{suffix}"] = tensor
        rows = []
        for row, length in zip(x, lengths, strict=True):  # each by itself: torch packs no sequence of length 0
            y = torch.func.functional_call(module, tensors, (row[None, :length],))[0][0] if length else row[:0, :1]
            wide = units * (1 + both)
            rows.append(torch.cat([y.expand(-1, wide), torch.zeros(time - int(length), wide, dtype=torch.float64)]))
        return torch.stack(rows)

    arrays = tuple(rng.normal(0.0, 0.5, leaf.shape) for leaf in leaves)
    return Case(ours, theirs, (numbers(rng, batch, time, inputs), *arrays), f"{layer}, lengths {lengths} of {time}")


def attention(rng: Rng) -> Case:
    batch, heads, size = pick(rng, ((0,), (1,), (3,), (2, 2))), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    features, time, causal = int(rng.integers(1, 5)), int(rng.integers(1, 6)), bool(rng.integers(2))
    is_cross = not causal and bool(rng.integers(2))
    around, wide = (int(rng.integers(1, 6)), int(rng.integers(1, 5))) if is_cross else (time, features)
    layer = layers.multi_head_attention(
        heads, head_features=size, causal=causal, context_features=wide if is_cross else None
    )
    mask = rng.random((*batch, time, around)) < pick(rng, (0.0, 0.5, 1.0))
    lengths = rng.integers(0, around + 1, batch)
    params, _ = jax.eval_shape(lambda: layer.init(jax.random.key(0), (time, features)))
    leaves, tree = jax.tree.flatten(params)
    allowed = mask & (np.arange(around) < lengths[..., None])[..., None, :]
    allowed = torch.tensor(allowed & np.tri(time, around, dtype=bool) if causal else allowed)

    def ours(x: Any, context: Any, *leaves: Any) -> Any:
        more = {"context": context} if is_cross else {}
        masks = {"mask": jnp.asarray(mask), "lengths": jnp.asarray(lengths)}
        y = layer.apply(jax.tree.unflatten(tree, leaves), {}, x, **masks, **more)[0]
        return y if is_cross else y * (np.arange(time) < lengths[..., None])[..., None] + 0 * context.sum()

    def theirs(x: Any, context: Any, *leaves: Any) -> Any:
        given = jax.tree.unflatten(tree, leaves)

        def project(name: str, values: Any) -> Any:
            y = values @ given[name]["kernel"] + given[name]["bias"]
            return y.unflatten(-1, (heads, size)).movedim(-2, -3)

        counts = (torch.arange(around) < torch.tensor(lengths)[..., None])[..., None]
        keys = torch.where(counts, context if is_cross else x, 0.0)
        query, key, value = project("query", x if is_cross else keys), project("key", keys), project("value", keys)
        logits = query @ key.movedim(-1, -2) / math.sqrt(size)
        some = allowed[..., None, :, :]
        weights = torch.where(some, logits, -1e300).softmax(-1) * some
        y = (weights @ value).movedim(-3, -2).flatten(-2) @ given["output"]["kernel"] + given["output"]["bias"]
        return y if is_cross else y * counts + 0 * context.sum()

    arrays = tuple(rng.normal(0.0, 0.5, leaf.shape) for leaf in leaves)
    inputs = numbers(rng, *batch, time, features), numbers(rng, *batch, around, wide)
    return Case(ours, theirs, (*inputs, *arrays), f"{layer} on {inputs[0].shape}, {inputs[1].shape}, {lengths}")


def classification(rng: Rng) -> Case:
    """The cross-entropy of indices and of distributions, with all its settings."""
    batch, classes, smoothing = pick(rng, BATCHES), int(rng.integers(2, 7)), float(pick(rng, (0.0, 0.1, 0.9)))
    weights = rng.uniform(0.1, 2.0, classes) if rng.integers(2) else None
    ignored = pick(rng, (None, 0, -1))
    x = pick(rng, (0.1, 1.0, 30.0)) * numbers(rng, *batch, classes)
    if rng.integers(2):
        drawn = rng.integers(0, classes, batch)
        indices = np.where(rng.random(batch) < 0.3, drawn if ignored is None else ignored, drawn)

        def theirs(logits: Any) -> Any:
            y = functional.cross_entropy(
                logits.reshape(-1, classes) if logits.numel() else logits.reshape(0, classes),
                torch.tensor(indices).reshape(-1).long(),
                weight=None if weights is None else torch.tensor(weights),
                label_smoothing=smoothing,
                reduction="none",
                ignore_index=-100 if ignored is None else ignored,
            )
            return y.reshape(batch)

        ours = lambda logits: losses.cross_entropy(  # noqa: E731
            logits,
            jnp.asarray(indices, jnp.int32),
            label_smoothing=smoothing,
            class_weights=weights,
            ignored_index=ignored,
        )
        return Case(ours, theirs, (x,), f"cross_entropy of {x.shape}, {smoothing}, {weights}, {ignored}")
    chosen = rng.dirichlet(np.ones(classes), batch)

    def distributed(logits: Any) -> Any:
        y = functional.cross_entropy(
            logits.reshape(-1, classes) if logits.numel() else logits.reshape(0, classes),
            torch.tensor(chosen).reshape(-1, classes) if logits.numel() else logits.reshape(0, classes).detach(),
            weight=None if weights is None else torch.tensor(weights),
            label_smoothing=smoothing,
            reduction="none",
        )
        return y.reshape(batch)

    return Case(
        lambda logits: losses.cross_entropy(logits, chosen, label_smoothing=smoothing, class_weights=weights),
        distributed,
        (x,),
        f"cross_entropy of distributions, {x.shape}, {smoothing}, {weights}",
    )


def regression(rng: Rng) -> Case:
    """Losses of two arrays of one shape."""
    shape = (*pick(rng, BATCHES), int(rng.integers(1, 5)))
    delta, level = float(rng.uniform(0.2, 2.0)), float(rng.uniform(0.05, 0.95))
    x, y = pick(rng, (0.1, 1.0, 10.0)) * numbers(rng, *shape), numbers(rng, *shape)
    zeros_and_ones, counts = (y > 0).astype(float), rng.poisson(2.0, shape).astype(float)
    log_variance = torch.tensor(rng.normal(size=shape))
    keep = {"reduction": "none"}
    known: dict[str, tuple[Callable[..., Any], Callable[..., Any], np.ndarray]] = {
        "squared_error": (losses.squared_error, lambda x, y: functional.mse_loss(x, y, **keep), y),
        "absolute_error": (losses.absolute_error, lambda x, y: functional.l1_loss(x, y, **keep), y),
        "huber": (
            lambda x, y: losses.huber(x, y, delta=delta),
            lambda x, y: functional.huber_loss(x, y, delta=delta, **keep),
            y,
        ),
        "quantile": (
            lambda x, y: losses.quantile(x, y, level=level),
            lambda x, y: torch.where(y >= x, level * (y - x), (1 - level) * (x - y)),
            y,
        ),
        "binary_cross_entropy": (
            lambda x, y: losses.binary_cross_entropy(x, y, positive_weight=delta),
            lambda x, y: functional.binary_cross_entropy_with_logits(
                x, y, pos_weight=torch.tensor(delta, dtype=torch.float64), **keep
            ),
            zeros_and_ones,
        ),
        "poisson_nll": (
            losses.poisson_nll,
            lambda x, y: functional.poisson_nll_loss(x, y, log_input=True, full=False, **keep),
            counts,
        ),
        "gaussian_nll": (
            lambda x, y: losses.gaussian_nll(x, y, jnp.asarray(log_variance.numpy())),
            lambda x, y: functional.gaussian_nll_loss(x, y, log_variance.exp(), eps=1e-300, **keep),
            y,
        ),
        "kl_divergence": (
            lambda x, y: losses.kl_divergence(jax.nn.log_softmax(x), y),
            lambda x, y: functional.kl_div(x.log_softmax(-1), y, **keep).sum(-1),
            rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
        ),
        "hinge": (losses.hinge, lambda x, y: (1 - x * y).clamp(min=0), np.where(y > 0, 1.0, -1.0)),
    }
    name = pick(rng, tuple(known))
    ours, theirs, targets = known[name]
    return Case(
        lambda x: ours(x, jnp.asarray(targets)), lambda x: theirs(x, torch.tensor(targets)), (x,), f"{name} of {shape}"
    )


def activation(rng: Rng) -> Case:
    x = pick(rng, (0.1, 1.0, 20.0)) * numbers(rng, *pick(rng, BATCHES), 2 * int(rng.integers(1, 4)))
    alpha = float(rng.uniform(0.2, 2.0))
    known: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        name: (getattr(activations, name), getattr(functional, other))
        for name, other in {
            "relu": "relu",
            "relu6": "relu6",
            "selu": "selu",
            "silu": "silu",
            "mish": "mish",
            "softplus": "softplus",
            "softsign": "softsign",
            "tanh": "tanh",
            "sigmoid": "sigmoid",
            "log_sigmoid": "logsigmoid",
            "hard_tanh": "hardtanh",
            "glu": "glu",
            "gelu": "gelu",
        }.items()
    }
    known |= {
        "softplus": (activations.softplus, lambda x: functional.softplus(x, threshold=700.0)),
        # torch's own have a sixth, and the gradient of celu 1 / alpha, in single precision.
        "hard_sigmoid": (activations.hard_sigmoid, lambda x: functional.relu6(x + 3) / 6),
        "hard_silu": (activations.hard_silu, lambda x: x * functional.relu6(x + 3) / 6),
        "elu": (lambda x: activations.elu(x, alpha=alpha), lambda x: functional.elu(x, alpha)),
        "celu": (lambda x: activations.celu(x, alpha=alpha), lambda x: alpha * functional.elu(x / alpha)),
        "leaky_relu": (
            lambda x: activations.leaky_relu(x, negative_slope=alpha),
            lambda x: functional.leaky_relu(x, alpha),
        ),
        "gelu, approximate": (
            lambda x: activations.gelu(x, approximate=True),
            lambda x: functional.gelu(x, approximate="tanh"),
        ),
        "softmax": (activations.softmax, lambda x: x.softmax(-1)),
        "log_softmax": (activations.log_softmax, lambda x: x.log_softmax(-1)),
    }
    name = pick(rng, tuple(known))
    return Case(*known[name], (x,), f"{name} of {x.shape}")


FAMILIES = {
    function.__name__: function
    for function in (
        convolution,
        transposed_convolution,
        pooling,
        normalization,
        recurrent,
        attention,
        classification,
        regression,
        activation,
    )
}


def cases(family: str) -> Iterator[Case]:
    rng = np.random.default_rng(list(FAMILIES).index(family))
    for _ in range(COUNT):
        yield FAMILIES[family](rng)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_those_of_torch(family: str) -> None:
    with jax.enable_x64(True):
        for case in cases(family):
            tensors = [torch.tensor(array, requires_grad=True) for array in case.arrays]
            expected = case.theirs(*tensors)
            torch.sin(expected).sum().backward()

            @jax.jit
            def pulled_back(*arrays: Any, ours: Callable[..., Any] = case.ours) -> Any:
                y, vjp = jax.vjp(ours, *arrays)
                return y, vjp(jnp.cos(y))

            y, gradients = pulled_back(*map(jnp.asarray, case.arrays))
            assert y.shape == tuple(expected.shape) and y.dtype == "float64", case.words
            np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-9, atol=1e-9, err_msg=case.words)
            for gradient, tensor in zip(gradients, tensors, strict=True):
                wanted = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
                np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-9, err_msg=case.words)
