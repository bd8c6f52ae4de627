"""Probes of the parameters and their last update; they do not evaluate the loss."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlkit.bench.probes.base import Probe, View, norm
from dlkit.typing import Array

__all__ = ["PROBES"]

COORDINATES = ("coordinate_1", "coordinate_2")  # as `analysis.surface_paths` reads them


def _update_ratio(view: View) -> Mapping[str, Array]:
    update, weight = norm(view.update), norm(view.params)
    # ||w_t - w_{t-1}|| / ||w_t||, and 0 where nothing moved, also at w = 0
    return {"update_ratio": jnp.where(update == 0, 0 * weight, update / weight)}


def _weight_norm(view: View) -> Mapping[str, Array]:
    return {"weight_norm": norm(view.params)}


def _sparsity(view: View) -> Mapping[str, Array]:
    leaves = jax.tree.leaves(view.params)
    zeros = sum((jnp.sum(leaf == 0, dtype=jnp.float32) for leaf in leaves), jnp.float32(0))
    share = zeros / sum(leaf.size for leaf in leaves)
    undefined = jnp.any(jnp.stack([jnp.isnan(leaf).any() for leaf in leaves]))
    return {"sparsity": jnp.where(undefined, jnp.nan, share)}


def _coordinates(view: View) -> Mapping[str, Array]:
    leaves = jax.tree.leaves(view.params)
    if sum(leaf.size for leaf in leaves) != len(COORDINATES):
        return dict.fromkeys(COORDINATES, jnp.float32(jnp.nan))
    values = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
    undefined = jnp.isnan(values).any()
    return {name: jnp.where(undefined, jnp.nan, value) for name, value in zip(COORDINATES, values, strict=True)}


PROBES = (
    Probe(
        "coordinates",
        COORDINATES,
        _coordinates,
        description="the parameters themselves, where there are two: reports draw the paths on rosenbrock and beale",
    ),
    Probe(
        "update_ratio",
        ("update_ratio",),
        _update_ratio,
        needs_update=True,
        description="the norm of the last update over that of the weights, all parameters together; infinite if the "
        "update ended at weights that are all 0",
        reference="Karpathy, CS231n notes, Neural networks part 3, 2015: about 1e-3 is healthy",
    ),
    Probe("weight_norm", ("weight_norm",), _weight_norm, description="the norm of all parameters together"),
    Probe(
        "sparsity",
        ("sparsity",),
        _sparsity,
        description="the share of parameters, biases included, that are exactly 0",
        reference="Hoefler et al., 2021, https://arxiv.org/abs/2102.00554",
    ),
)
