"""Methods that treat parameters by their roles: which leaves get which rule, whatever the layout of a leaf."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit.bench import optimizers
from dlkit.bench.optimizers.by_role import guessed
from dlkit.bench.plan.parameter_groups import Role

SETTINGS: dict[str, dict[str, Any]] = {
    "muon": {"learning_rate": 1.0, "beta": 0.9, "adam_learning_rate": 1e-3},
    "soap": {"learning_rate": 0.1, "b1": 0.9, "b2": 0.9, "frequency": 1},
    "shampoo": {"learning_rate": 0.1, "momentum": 0.9, "epsilon": 1e-3, "frequency": 1},
    "lars": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.01},
    "lamb": {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99, "weight_decay": 0.1},
    "galore": {"learning_rate": 0.1, "weight_decay": 0.1, "rank": 2, "update_proj_gap": 5},
    "fromage": {"learning_rate": 0.1},
    "novograd": {"learning_rate": 0.1, "b1": 0.9, "b2": 0.5, "weight_decay": 0.1},
}
every_method = pytest.mark.parametrize("name", SETTINGS)


def draw(shape: tuple[int, ...], seed: int) -> Any:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def moves(name: str, params: Any, roles: Any, steps: int = 2) -> Any:
    """The update of the last of some steps; gradients are a function of the parameters."""
    transformation = optimizers.get(name).build(**SETTINGS[name], roles=roles)

    @jax.jit
    def moved(params: Any) -> Any:
        state = transformation.init(params)
        for step in range(steps):
            gradient = jax.tree.map(lambda leaf, factor=3 + step: jnp.sin(factor * leaf) + leaf, params)
            updates, state = transformation.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return updates

    return moved(params)


def test_every_method_that_asks_for_roles_is_here() -> None:
    assert {name for name, each in optimizers.OPTIMIZERS.items() if each.roles} == SETTINGS.keys()


@pytest.mark.long
@every_method
def test_layers_move_alike_stacked_or_not_and_in_any_layout(name: str) -> None:
    # of two axes, and kernels [height, width, in, out] as in flax, [out, in, height, width] as in equinox
    w, b, kernel = draw((2, 4, 5), 0), draw((2, 5), 1), draw((2, 2, 2, 8), 0)
    matrix, vector = Role("hidden", (0,), (1,)), Role("vector", (), (0,))
    params = {"w": w, "b": b, "w0": w[0], "b0": b[0], "w1": w[1], "b1": b[1], "last": kernel}
    roles = {
        "w": Role("hidden", (1,), (2,)),
        "b": Role("vector", (), (1,)),
        "w0": matrix,
        "w1": matrix,
        "b0": vector,
        "b1": vector,
        "last": Role("hidden", (0, 1, 2), (3,)),
        "first": Role("hidden", (1, 2, 3), (0,)),
    }
    moved = moves(name, {**params, "first": kernel.transpose(3, 2, 0, 1)}, roles)
    for layer in range(2):
        for leaf in "wb":
            np.testing.assert_allclose(moved[leaf][layer], moved[f"{leaf}{layer}"], rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(moved["first"].transpose(2, 3, 1, 0), moved["last"], rtol=1e-2, atol=2e-4)


ROLES = {
    "embedding": Role("embedding", (0,), (1,)),
    "first": Role("first", (0,), (1,)),
    "hidden": Role("hidden", (0,), (1,)),
    "kernel": Role("hidden", (0, 1, 2), (3,)),
    "head": Role("head", (0,), (1,)),
    "bias": Role("vector", (), (0,)),
    "positions": Role("other"),
}
SHAPES = {name: (2, 2, 4, 6) if name == "kernel" else (6,) if name == "bias" else (6, 6) for name in ROLES}
PARAMS = {name: draw(shape, place) for place, (name, shape) in enumerate(SHAPES.items())}


def test_muon_orthogonalizes_hidden_matrices_and_kernels_and_nothing_else() -> None:
    updates = moves("muon", PARAMS, ROLES, steps=1)
    for name, update in updates.items():
        if name in ("hidden", "kernel"):
            values = np.linalg.svd(np.asarray(update).reshape(-1, 6), compute_uv=False)
            assert values.min() > 0.6 and values.max() < 1.3, name
        else:  # Adam's first step: every entry of the size of its rate
            np.testing.assert_allclose(np.abs(update), 1e-3, rtol=1e-4, err_msg=name)


def test_muon_scales_wide_matrices_by_the_root_of_their_shape() -> None:
    params = {"w": draw((4, 16), 0)}
    update = moves("muon", params, {"w": Role("hidden", (0,), (1,))}, steps=1)["w"]
    turned = moves("muon", {"w": params["w"].T}, {"w": Role("hidden", (0,), (1,))}, steps=1)["w"]
    np.testing.assert_allclose(update, 2 * turned.T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_biases_have_no_ratio_of_norms_and_no_decay(name: str) -> None:
    doubled = jax.tree.map(lambda leaf: 2 * leaf, PARAMS)
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    for decay in (0.0, 0.5):
        transformation = optimizers.get(name).build(**{**SETTINGS[name], "weight_decay": decay}, roles=ROLES)
        small, large = (
            transformation.update(gradient, transformation.init(params), params)[0] for params in (PARAMS, doubled)
        )
        np.testing.assert_allclose(small["bias"], large["bias"], rtol=1e-6)
        for weight in PARAMS.keys() - {"bias"} if not decay else ():
            np.testing.assert_allclose(2 * small[weight], large[weight], rtol=1e-5, err_msg=weight)


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        (("layer", "kernel"), (4, 5), "hidden"),
        (("conv", "kernel"), (3, 3, 4, 5), "hidden"),
        (("conv", "bias"), (5,), "vector"),
        (("params", "Embed_0", "embedding"), (9, 4), "embedding"),
        (("token_embed", "w"), (9, 4), "embedding"),
        (("wte",), (9, 4), "embedding"),
        (("out", "kernel"), (4, 5), "head"),
        (("params", "output", "kernel"), (4, 5), "head"),
        (("lm_head", "kernel"), (4, 5), "head"),
        (("model", "classifier", "kernel"), (4, 5), "head"),
        (("block", "attention", "out", "kernel"), (4, 5), "hidden"),
        (("outer", "kernel"), (4, 5), "hidden"),
        (("overhead", "kernel"), (4, 5), "hidden"),
        (("head", "bias"), (5,), "vector"),
    ],
)
def test_what_is_built_by_hand_is_known_by_names_and_shapes(path: Any, shape: Any, expected: str) -> None:
    role = guessed(tuple(jax.tree_util.DictKey(name) for name in path), jnp.ones(shape))
    assert role.kind == expected
    if expected != "vector":
        assert (role.inputs, role.outputs) == (tuple(range(len(shape) - 1)), (len(shape) - 1,))


def test_muon_built_by_hand_treats_kernels_as_matrices() -> None:
    params = {
        "hidden": {"kernel": draw((3, 3, 8, 16), 0)},
        "out": {"kernel": draw((16, 10), 1), "bias": draw((10,), 2)},
    }
    updates = moves("muon", params, None, steps=1)
    values = np.linalg.svd(np.asarray(updates["hidden"]["kernel"]).reshape(-1, 16), compute_uv=False)
    assert values.max() / values.min() < 2.5
    np.testing.assert_allclose(np.abs(updates["out"]["kernel"]), 1e-3, rtol=1e-4)
