"""Probes of the activations inside of a model, on the probe batch in evaluation mode."""

from collections.abc import Mapping

import jax.numpy as jnp

from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes.base import Probe, View, probe_batch
from dlkit.bench.probes.marked_activations import marked_activations
from dlkit.typing import Array

__all__ = ["EDGE", "PROBES"]

EDGE = 0.01  # the share of a layer's range, at each end, that counts as saturated


def _activations(view: View) -> list[Array]:
    """The marked activations as [..., units] float32."""
    if view.apply is None:
        return []
    found = marked_activations(view.apply, view.params, probe_batch(view.train))
    return [jnp.atleast_1d(array).astype(jnp.float32) for array in found]


def _dead_units(view: View) -> Mapping[str, Array]:
    """The share of units that are exactly 0 for all examples, of the units of all layers together.

    A unit is a place on the last axis: a channel of a convolution is dead if it is so at every position, as all of them
    share its weights; a feature of a sequence model, if it is so at every step. Nothing can revive a dead rectifier but
    a change of what comes before it. Activations that do not vanish on an interval, such as tanh, are never dead.
    """
    layers = _activations(view)
    if not layers:
        return {"dead_units": jnp.float32(jnp.nan)}
    dead = [jnp.all(layer == 0, axis=tuple(range(layer.ndim - 1))) for layer in layers]
    share = sum((jnp.sum(units, dtype=jnp.float32) for units in dead), jnp.float32(0)) / sum(map(jnp.size, dead))
    undefined = jnp.any(jnp.stack([jnp.isnan(layer).any() for layer in layers]))
    return {"dead_units": jnp.where(undefined, jnp.nan, share)}


def _activation_statistics(view: View) -> Mapping[str, Array]:
    """Mean, standard deviation and saturated share of each layer's values, then the mean over layers.

    A value is saturated if it lies within `EDGE` of the layer's range from its lowest or its highest value, as tanh's
    do when its inputs are large; for a rectifier, these are the zeros, where it passes no gradient. The range is that
    of the values seen, so that it needs no knowledge of the function; a constant layer is wholly saturated.
    """
    layers = _activations(view)
    if not layers:
        undefined = jnp.float32(jnp.nan)
        return {"activation_mean": undefined, "activation_std": undefined, "activation_saturation": undefined}
    return {
        "activation_mean": jnp.mean(jnp.stack([layer.mean() for layer in layers])),
        "activation_std": jnp.mean(jnp.stack([layer.std() for layer in layers])),
        "activation_saturation": jnp.mean(jnp.stack([_saturated(layer) for layer in layers])),
    }


def _saturated(layer: Array) -> Array:
    lowest, highest = layer.min(), layer.max()
    edge = EDGE * (highest - lowest)
    saturated = jnp.mean((layer <= lowest + edge) | (layer >= highest - edge), dtype=jnp.float32)
    return jnp.where(jnp.isnan(edge), jnp.nan, saturated)


PROBES = (
    Probe(
        "dead_units",
        ("dead_units",),
        _dead_units,
        cost=Evaluations(gradients=0, values=1),
        needs_activations=True,
        description="the share of units, or channels at all positions, whose activation is 0 for every example of the "
        "probe batch",
        reference="Sokar et al., 2023, https://arxiv.org/abs/2302.12902, with threshold 0",
    ),
    Probe(
        "activation_statistics",
        ("activation_mean", "activation_std", "activation_saturation"),
        _activation_statistics,
        cost=Evaluations(gradients=0, values=1),
        needs_activations=True,
        description=f"mean, standard deviation, and share of values within {EDGE:.0%} of the range from either of its "
        "ends, averaged over activation layers",
        reference="Glorot and Bengio, 2010; Rakitianskaia and Engelbrecht, 2015, on saturation",
    ),
)
