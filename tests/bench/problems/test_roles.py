"""Roles of parameters, of small networks whose roles are known by hand."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.data import split
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import Problem
from dlkit.bench.problems.roles import roles_of
from dlkit.bench.training.fast_products import of_products

RNG = np.random.default_rng(0)
ROWS = 12
DATA = {
    "x": RNG.normal(size=(ROWS, 6)).astype(np.float32),
    "image": RNG.normal(size=(ROWS, 8, 8, 3)).astype(np.float32),
    "bytes": RNG.integers(0, 255, (ROWS, 6)).astype(np.uint8),
    "series": RNG.normal(size=(ROWS, 5, 6)).astype(np.float32),
    "tokens": RNG.integers(0, 9, (ROWS, 5)).astype(np.int32),
    "label": RNG.integers(0, 2, ROWS).astype(np.int32),
}

Network = Callable[[Any, Any], Any]
Expected = dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]


def made(shapes: dict[str, tuple[int, ...]], network: Network, name: str = "net", **more: Any) -> Problem:
    """A problem whose loss is the mean of what a network makes of the data."""

    def init(key: Any) -> Any:
        return {name: jax.random.normal(key, shape) for name, shape in shapes.items()}, None

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        with jax.numpy_rank_promotion("allow"):
            return jnp.mean(network(params, {**batch, "key": key})), state

    return Problem(
        name=name,
        init=init,
        loss=loss,
        evaluate=lambda params, state, batch: {"m": loss(params, state, batch, jax.random.key(0))[0]},
        dataset=split("data", DATA),
        metrics={"m": Metric("lower")},
        batch_size=4,
        **more,
    )


def found(problem: Problem) -> Expected:
    roles = roles_of(problem)
    return {name: (role.kind, role.inputs, role.outputs) for name, role in roles.items()}


def relu(x: Any) -> Any:
    return jnp.maximum(x, 0)


def conv(x: Any, kernel: Any, numbers: Any = ("NHWC", "HWIO", "NHWC"), groups: int = 1) -> Any:
    sizes = (1,) * (x.ndim - 2)
    return jax.lax.conv_general_dilated(x, kernel, sizes, "SAME", dimension_numbers=numbers, feature_group_count=groups)


def recurrent(params: Any, data: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        return jnp.tanh(x @ params["first"] + h @ params["recurrent"]), None

    last, _ = jax.lax.scan(step, jnp.zeros((4, 7)), data["series"].swapaxes(0, 1))
    return last @ params["head"]


def fused(params: Any, data: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        return jnp.tanh(jnp.concatenate([data["series"][:, i], h], axis=1) @ params["cell"])

    return jax.lax.fori_loop(0, 5, step, jnp.zeros((4, 7))) @ params["head"]


def scanned(params: Any, data: Any) -> Any:
    @jax.checkpoint
    def layer(h: Any, own: Any) -> Any:
        return h + jnp.tanh(h @ own[0] + own[1]), None

    h, _ = jax.lax.scan(layer, data["x"] @ params["first"], (params["layers"], params["biases"]))
    return h @ params["head"]


def attention(params: Any, data: Any) -> Any:
    x = params["table"][data["tokens"]] + params["positions"]
    q, k, v = (jnp.einsum("btd,dhe->bthe", x, params[name]) for name in "qkv")
    weights = jax.nn.softmax(jnp.einsum("bqhe,bkhe->bhqk", q + params["q_bias"], k))
    y = x + jnp.einsum("bhqk,bkhe,hed->bqd", weights, v, params["o"])
    return jax.nn.log_softmax(y @ params["table"].T)


def penalized(params: Any, data: Any) -> Any:
    def score(x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ params["first"]) @ params["hidden"]) @ params["head"]

    return score(data["x"]).mean() + (jax.vmap(jax.grad(lambda x: score(x)[0]))(data["x"]) ** 2).sum()


def experts(params: Any, data: Any) -> Any:
    h = relu(data["x"] @ params["first"])
    chosen = jnp.argmax(h @ params["router"], axis=1)
    return jnp.einsum("bd,bde->be", h, params["experts"][chosen]) @ params["head"]


FIRST, HIDDEN, HEAD = (("first", (0,), (1,)), ("hidden", (0,), (1,)), ("head", (0,), (1,)))
EMBEDDING = ("embedding", (0,), (1,))
VECTOR = ("vector", (), (0,))
OTHER = ("other", (), ())
CASES: dict[str, tuple[dict[str, tuple[int, ...]], Network, Expected]] = {
    "perceptron": (
        {"a": (6, 7), "bias": (7,), "b": (7, 7), "c": (7, 2)},
        lambda p, d: relu(relu(d["x"] @ p["a"] + p["bias"]) @ p["b"]) @ p["c"],
        {"a": FIRST, "bias": VECTOR, "b": HIDDEN, "c": HEAD},
    ),
    "transposed weights": (
        {"a": (7, 6), "b": (7, 7), "c": (2, 7)},
        lambda p, d: jax.vmap(lambda x: p["c"] @ relu(p["b"] @ relu(p["a"] @ x)))(d["x"]),
        {"a": ("first", (1,), (0,)), "b": ("hidden", (1,), (0,)), "c": ("head", (1,), (0,))},
    ),
    "linear model": ({"w": (6, 2)}, lambda p, d: d["x"] @ p["w"], {"w": HEAD}),
    "bytes are no tokens": (
        {"a": (6, 7), "c": (7, 2)},
        lambda p, d: relu(d["bytes"].astype(jnp.float32) @ p["a"]) @ p["c"],
        {"a": FIRST, "c": HEAD},
    ),
    "one-hot is a lookup": (
        {"a": (9, 7), "b": (7, 7), "c": (7, 2)},
        lambda p, d: relu(relu(jax.nn.one_hot(d["tokens"], 9) @ p["a"]) @ p["b"]) @ p["c"],
        {"a": EMBEDDING, "b": HIDDEN, "c": HEAD},
    ),
    "attention, tied table": (
        {
            "table": (9, 6),
            "positions": (5, 6),
            **dict.fromkeys("qkv", (6, 2, 3)),
            "q_bias": (2, 3),
            "o": (2, 3, 6),
        },
        attention,
        {
            "table": EMBEDDING,
            "positions": OTHER,
            **dict.fromkeys("qkv", ("hidden", (0,), (1, 2))),
            "q_bias": ("vector", (), (0, 1)),
            "o": ("hidden", (0, 1), (2,)),
        },
    ),
    "convolutions": (
        {"a": (3, 3, 3, 4), "b": (3, 3, 4, 4), "depthwise": (3, 3, 1, 4), "grouped": (3, 3, 2, 8), "c": (8, 2)},
        lambda p, d: (
            conv(conv(conv(conv(d["image"], p["a"]), p["b"]), p["depthwise"], groups=4), p["grouped"], groups=2).mean(
                (1, 2)
            )
            @ p["c"]
        ),
        {
            "a": ("first", (0, 1, 2), (3,)),
            **dict.fromkeys(("b", "depthwise", "grouped"), ("hidden", (0, 1, 2), (3,))),
            "c": HEAD,
        },
    ),
    "channels first": (
        {"a": (4, 3, 3, 3), "b": (4, 4, 3, 3), "c": (4, 2)},
        lambda p, d: (
            conv(
                conv(jnp.moveaxis(d["image"], 3, 1), p["a"], ("NCHW", "OIHW", "NCHW")),
                p["b"],
                ("NCHW", "OIHW", "NCHW"),
            ).mean((2, 3))
            @ p["c"]
        ),
        {"a": ("first", (1, 2, 3), (0,)), "b": ("hidden", (1, 2, 3), (0,)), "c": HEAD},
    ),
    "convolutions over time": (
        {"a": (3, 6, 4), "b": (3, 4, 4), "c": (4, 2)},
        lambda p, d: (
            conv(conv(d["series"], p["a"], ("NHC", "HIO", "NHC")), p["b"], ("NHC", "HIO", "NHC")).mean(1) @ p["c"]
        ),
        {"a": ("first", (0, 1), (2,)), "b": ("hidden", (0, 1), (2,)), "c": HEAD},
    ),
    "recurrent": (
        {"first": (6, 7), "recurrent": (7, 7), "head": (7, 2)},
        recurrent,
        {"first": FIRST, "recurrent": HIDDEN, "head": HEAD},
    ),
    "fused recurrent": ({"cell": (13, 7), "head": (7, 2)}, fused, {"cell": HIDDEN, "head": HEAD}),
    "scanned layers": (
        {"first": (6, 7), "layers": (3, 7, 7), "biases": (3, 7), "head": (7, 2)},
        scanned,
        {"first": FIRST, "layers": ("hidden", (1,), (2,)), "biases": ("vector", (), (1,)), "head": HEAD},
    ),
    "stacked layers, one by one": (
        {"first": (6, 7), "layers": (2, 7, 7), "head": (7, 2)},
        lambda p, d: relu(relu(d["x"] @ p["first"] @ p["layers"][0]) @ p["layers"][1]) @ p["head"],
        {"first": FIRST, "layers": ("hidden", (1,), (2,)), "head": HEAD},
    ),
    "ensemble": (
        {"a": (3, 6, 7), "b": (3, 7, 7), "c": (3, 7, 2)},
        lambda p, d: jax.vmap(lambda a, b, c: relu(relu(d["x"] @ a) @ b) @ c)(p["a"], p["b"], p["c"]),
        {"a": ("first", (1,), (0, 2)), "b": ("hidden", (1,), (2,)), "c": ("head", (1,), (2,))},
    ),
    "low rank": (
        {"first": (6, 7), "left": (7, 2), "right": (2, 7), "head": (7, 2)},
        lambda p, d: relu(relu(d["x"] @ p["first"]) @ (p["left"] @ p["right"])) @ p["head"],
        {"first": FIRST, "left": HIDDEN, "right": HIDDEN, "head": HEAD},
    ),
    "weight normalization and dropped weights": (
        {"a": (6, 7), "gain": (7,), "b": (7, 7), "head": (7, 2)},
        lambda p, d: (
            relu(
                relu(d["x"] @ (p["gain"] * p["a"] / jnp.linalg.norm(p["a"], axis=0)))
                @ (p["b"] * jax.random.bernoulli(d["key"], 0.5, (7, 7)))
            )
            @ p["head"]
        ),
        {"a": FIRST, "gain": VECTOR, "b": HIDDEN, "head": HEAD},
    ),
    "gradient penalty": (
        {"first": (6, 7), "hidden": (7, 7), "head": (7, 1)},
        penalized,
        {"first": FIRST, "hidden": HIDDEN, "head": HEAD},
    ),
    "experts": (
        {"first": (6, 7), "router": (7, 3), "experts": (3, 7, 7), "head": (7, 2)},
        experts,
        {"first": FIRST, "experts": ("hidden", (1,), (2,)), "head": HEAD},
    ),
    "two heads": (
        {"first": (6, 7), "hidden": (7, 7), "mean": (7, 2), "scale": (7, 2)},
        lambda p, d: (
            relu(relu(d["x"] @ p["first"]) @ p["hidden"]) @ p["mean"]
            + jnp.exp(relu(relu(d["x"] @ p["first"]) @ p["hidden"]) @ p["scale"])
        ),
        {"first": FIRST, "hidden": HIDDEN, "mean": HEAD, "scale": HEAD},
    ),
    "an auxiliary loss makes no head": (
        {"first": (6, 7), "hidden": (7, 7), "head": (7, 2)},
        lambda p, d: (
            (relu(relu(d["x"] @ p["first"]) @ p["hidden"]) @ p["head"]).sum()
            + (relu(d["x"] @ p["first"]) @ p["hidden"]).sum()
        ),
        {"first": FIRST, "hidden": HIDDEN, "head": HEAD},
    ),
    "a penalty changes nothing": (
        {"a": (6, 7), "b": (7, 7), "c": (7, 2)},
        lambda p, d: (
            (relu(relu(d["x"] @ p["a"]) @ p["b"]) @ p["c"]).sum() + jnp.vdot(p["b"], p["b"]) + (p["b"].T @ p["b"]).sum()
        ),
        {"a": FIRST, "b": HIDDEN, "c": HEAD},
    ),
    "matrices without data": (
        {"u": (6, 2), "v": (2, 6)},
        lambda p, d: (p["u"] @ p["v"] - 1) ** 2,
        {"u": ("hidden", (1,), (0,)), "v": HIDDEN},
    ),
    "a point": (
        {"x": (3,), "s": ()},
        lambda p, d: p["s"] * (p["x"] ** 2).sum(),
        {"x": VECTOR, "s": ("vector", (), ())},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_roles_are_those_known_by_hand(name: str) -> None:
    shapes, network, expected = CASES[name]
    roles = found(made(shapes, network))
    assert {leaf: roles[leaf] for leaf in expected} == expected


@pytest.mark.parametrize("name", ["convolutions", "channels first", "convolutions over time"])
def test_roles_stay_where_convolutions_are_computed_as_products(name: str) -> None:
    shapes, network, _ = CASES[name]
    problem = made(shapes, network)
    assert found(of_products(problem)) == found(problem)


def test_each_player_of_a_game_has_a_first_layer_and_a_head() -> None:
    shapes = {"d": {"a": (6, 7), "b": (7, 7), "c": (7, 1)}, "g": {"a": (4, 7), "b": (7, 7), "c": (7, 6)}}

    def network(params: Any, x: Any) -> Any:
        return relu(relu(x @ params["a"]) @ params["b"]) @ params["c"]

    def discriminate(params: Any, state: Any, batch: Any, key: Any) -> Any:
        fake = network(params["g"], jax.random.normal(key, (4, 4)))
        return (network(params["d"], fake) - network(params["d"], batch["x"])).mean(), state

    def fool(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return -network(params["d"], network(params["g"], jax.random.normal(key, (4, 4)))).mean(), state

    problem = Problem(
        name="game",
        init=lambda key: (
            jax.tree.map(lambda s: jax.random.normal(key, s), shapes, is_leaf=lambda s: isinstance(s, tuple)),
            None,
        ),
        loss=fool,
        evaluate=lambda params, state, batch: {"m": params["d"]["a"].sum()},
        dataset=split("data", DATA),
        metrics={"m": Metric("lower")},
        batch_size=4,
        players=(bench.Player("d", discriminate), bench.Player("g", fool)),
    )
    kinds = jax.tree.map(lambda role: role.kind, roles_of(problem))
    assert kinds == {player: {"a": "first", "b": "hidden", "c": "head"} for player in ("d", "g")}


def test_biases_of_an_ensemble_are_vectors() -> None:
    shapes = {
        "a": {"w": (2, 5, 6), "b": (2, 6)},
        "m": {"w": (2, 6, 6), "b": (2, 6)},
        "z": {"w": (2, 6, 3), "b": (2, 3)},
    }

    def one(params: Any, x: Any) -> Any:
        for layer in ("a", "m"):
            x = jnp.tanh(x @ params[layer]["w"] + params[layer]["b"][None])
        return x @ params["z"]["w"] + params["z"]["b"][None]

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return (jax.vmap(one, (0, None))(params, batch["x"]).mean(0) ** 2).mean(), state

    problem = Problem(
        name="ensemble",
        init=lambda key: (jax.tree.map(jnp.ones, shapes, is_leaf=lambda s: isinstance(s, tuple)), None),
        loss=loss,
        evaluate=lambda params, state, batch: {"m": loss(params, state, batch, None)[0]},
        dataset=split("x", {"x": np.ones((40, 5), np.float32)}),
        metrics={"m": Metric("lower")},
        batch_size=4,
    )
    kinds = jax.tree.map(lambda role: role.kind, roles_of(problem))
    assert {layer: (kinds[layer]["w"], kinds[layer]["b"]) for layer in kinds} == {
        "a": ("first", "vector"),
        "m": ("hidden", "vector"),
        "z": ("head", "vector"),
    }


def in_flax() -> Problem:
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.table = nnx.Embed(9, 6, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
            self.out = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.out(self.attention(self.table(x)).mean(1))

    return bench.problem_from_flax(Network(nnx.Rngs(0)), tokens(), cross_entropy, name="p", batch_size=4, steps=4)


def in_equinox() -> Problem:
    import equinox

    class Network(equinox.Module):
        table: equinox.nn.Embedding
        cell: equinox.nn.LSTMCell
        attention: equinox.nn.MultiheadAttention
        out: equinox.nn.Linear

        def __init__(self, key: Any) -> None:
            keys = jax.random.split(key, 4)
            self.table = equinox.nn.Embedding(9, 6, key=keys[0])
            self.cell = equinox.nn.LSTMCell(6, 6, key=keys[1])
            self.attention = equinox.nn.MultiheadAttention(2, 6, key=keys[2])
            self.out = equinox.nn.Linear(6, 2, key=keys[3])

        def __call__(self, x: Any, key: Any = None) -> Any:
            x = jax.vmap(self.table)(x)
            x = self.attention(x, x, x)
            (h, _), _ = jax.lax.scan(lambda c, x: (self.cell(x, c), None), (jnp.zeros(6), jnp.zeros(6)), x)
            return self.out(h)

    return bench.problem_from_equinox(Network, tokens(), cross_entropy, name="p", batch_size=4, steps=4)


def in_haiku() -> Problem:
    import haiku

    def network(x: Any) -> Any:
        x = haiku.Embed(9, 6)(x)
        x = haiku.MultiHeadAttention(2, 3, w_init=haiku.initializers.VarianceScaling(1.0))(x, x, x)
        cell = haiku.LSTM(6)
        x, _ = haiku.dynamic_unroll(cell, x, cell.initial_state(x.shape[0]), time_major=False)
        return haiku.Linear(2, name="out")(x[:, -1])

    transformed = haiku.transform(network)
    return bench.problem_from_haiku(transformed, tokens(), cross_entropy, name="p", batch_size=4, steps=4)


cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def tokens() -> Any:
    return split("tokens", {"inputs": DATA["tokens"], "targets": DATA["label"]})


@pytest.mark.long
@pytest.mark.parametrize("make", [in_flax, in_equinox, in_haiku])
def test_roles_in_modules_of_libraries(make: Callable[[], Problem]) -> None:
    problem = make()
    params, _ = jax.eval_shape(problem.init, jax.random.key(0))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    kinds = dict(zip(paths, (role.kind for role in jax.tree.leaves(roles_of(problem))), strict=True))
    for path, kind in kinds.items():
        matrix = not path.endswith(("bias']", ".bias", "['b']", "bias"))
        expected = "embedding" if "table" in path or "embed" in path else "head" if "out" in path else "hidden"
        if "attention" in path:  # has an output of its own
            expected = "hidden"
        assert kind == (expected if matrix else "vector"), (path, kind)
