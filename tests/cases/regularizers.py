"""Conformance rows of the regularizers."""

from collections.abc import Callable
from typing import Any

import jax

from dlkit import regularizers
from tests.cases.base import Case, Input, plain


def penalty(name: str, limit: float, /, **settings: Any) -> Case:
    function = getattr(regularizers, name.split("-")[0])
    return Case(
        f"regularizers.{name}",
        lambda dtype: lambda w: function({"w": w}, **settings),
        (Input((3, 2)),),
        limit,
        batched=False,
    )


def operator(name: str, limit: float, /, **settings: Any) -> Case:
    function = getattr(regularizers, name.split("-")[0])
    return Case(
        f"regularizers.{name}",
        lambda dtype: lambda w: function({"w": w}, **settings)["w"],
        (Input((3, 2)),),
        limit,
        batched=False,
    )


def noise(name: str, limit: float, /, **settings: Any) -> Case:
    function = getattr(regularizers, name.split("-")[0])
    return Case(
        f"regularizers.{name}",
        lambda dtype: lambda x: function(x, key=jax.random.key(0), **settings),
        (Input((4, 3)),),
        limit,
        batched=False,
    )


def mixed(dtype: str) -> Callable[..., jax.Array]:
    return lambda x, targets: sum(regularizers.mixup(x, targets, key=jax.random.key(0), alpha=0.4))


def cut(dtype: str) -> Callable[..., jax.Array]:
    return lambda x, targets: sum(regularizers.cutmix(x, targets, key=jax.random.key(0), alpha=1.0))


def jacobian(dtype: str) -> Callable[[jax.Array], jax.Array]:
    return lambda x: regularizers.jacobian_penalty(jax.numpy.tanh, x, key=jax.random.key(0), projections=2)


CASES = (
    penalty("l1", 5e37),
    penalty("l2", 1e18),
    penalty("elastic_net", 1e18),
    penalty("elastic_net-lasso", 5e37, l1_ratio=1.0),
    penalty("group_lasso", 2e37),
    penalty("group_lasso-rows", 2e37, group_axes=(-1,), size_weighted=False),
    penalty("orthogonality", 1e9),
    operator("proximal_l1", 3e38, strength=0.5),
    operator("proximal_elastic_net", 3e38, strength=0.5, l1_ratio=0.3),
    operator("proximal_group_lasso", 1e38, strength=0.5),
    operator("max_norm", 3e38, limit=1.5),
    noise("dropout", 1.5e38, rate=0.5),
    noise("dropout-shared", 1.5e38, rate=0.5, shared_axes=(-1,)),
    noise("drop_path", 1.5e38, rate=0.5, axes=1),
    noise("alpha_dropout", 1e38, rate=0.5),
    noise("gaussian_noise", 3e38, deviation=0.1),
    Case(
        "regularizers.label_smoothing",
        lambda dtype: lambda targets: regularizers.label_smoothing(targets, smoothing=0.1),
        (Input((4,)),),
        3e38,
    ),
    Case("regularizers.activity_l1", plain(regularizers.activity_l1), (Input((4,)),), 5e37),
    Case("regularizers.activity_l2", plain(regularizers.activity_l2), (Input((4,)),), 1e18),
    Case("regularizers.confidence_penalty", plain(regularizers.confidence_penalty), (Input((4,)),), 1.6e38),
    Case("regularizers.jacobian_penalty", jacobian, (Input((4, 3)),), 3e38, batched=False),
    Case("regularizers.cutmix", cut, (Input((4, 3, 1)), Input((4, 3, 1))), 5e37, batched=False),
    Case("regularizers.mixup", mixed, (Input((4, 3)), Input((4, 3))), 5e37, batched=False),
)
