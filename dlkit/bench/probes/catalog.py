"""Every registered probe; finds a probe by its name and checks that it fits a problem."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import jax

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.references import import_attribute, is_import
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.probes import activations, curvature, gradients, weights
from dlkit.bench.probes.base import PROBE_EXAMPLES, Probe
from dlkit.bench.probes.marked_activations import count_marks
from dlkit.bench.problems.base import Problem

__all__ = ["PROBES", "check", "curve_names", "get", "load"]

PROBES: Mapping[str, Probe] = MappingProxyType(
    {probe.name: probe for probe in (*gradients.PROBES, *weights.PROBES, *activations.PROBES, *curvature.PROBES)}
)


def get(name: str) -> Probe:
    """Returns the probe of that name.

    Args:
        name: a registered name, such as ``"sharpness"``.

    Returns:
        The probe.

    Raises:
        UserError: for an unknown name, with the nearest valid one.

    Example:
        >>> get("dead_units").curves
        ('dead_units',)
    """
    if name not in PROBES:
        raise UserError(f"no probe '{name}'; {nearest(name, PROBES)}")
    return PROBES[name]


def load(probe: str | Probe, *, folder: Path | None = None) -> Probe:
    """Returns a probe by its name, or one's own.

    Args:
        probe: a registered name; ``"package.module:probe"`` or ``"file.py:probe"``; or a `Probe`.
        folder: where a file's path starts; None for the current folder.

    Raises:
        UserError: for an unknown name, a file or module that cannot be imported, or what is no probe.
    """
    found = probe
    if isinstance(probe, str):
        if not is_import(probe):
            return get(probe)
        found = import_attribute(probe, owner=f"probe '{probe}'", folder=folder)
        if not isinstance(found, Probe):
            raise UserError(f"probe '{probe}': expected a bench.Probe, got {found!r}")
    if not isinstance(found, Probe):
        raise UserError(f"expected a probe's name or a bench.Probe, got {found!r}")
    return found


def curve_names(probe: Probe, problem: Problem) -> list[str]:
    """Returns what a probe's curves are called on a problem: of a game, each with the name of each player."""
    if not problem.players:
        return list(probe.curves)
    return [f"{curve}_{player.name}" for player in problem.players for curve in probe.curves]


def check(probe: Probe, problem: Problem) -> None:
    """Traces a problem's `evaluate` without computing, and says why a probe cannot look at it.

    Args:
        probe: the probe.
        problem: a problem whose functions are known to work.

    Raises:
        UserError: if the probe needs activations and the problem marks none, or is a game; if it needs the minibatch of
            a game's step; or if a metric or a training loss has the name of a curve.

    Example:
        >>> from dlkit.bench import problems
        >>> check(get("dead_units"), problems.get("digits-mlp"))
    """
    where = f"probe '{probe.name}', problem '{problem.name}'"
    if problem.players and probe.needs_activations:
        raise UserError(
            f"{where}: evaluate runs all players, and does not tell which activations are whose; leave it out"
        )
    if problem.players and probe.batch == "minibatch":
        raise UserError(
            f"{where}: it needs the one minibatch of the last step, and the position it was seen from; players move on "
            "several, and from positions between steps; leave it out"
        )
    params, state = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
    batch = {
        name: jax.ShapeDtypeStruct(
            (min(len(array), PROBE_EXAMPLES), *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype)
        )
        for name, array in problem.dataset.train.items()
    }
    traced, metrics = jax.make_jaxpr(problem.evaluate, return_shape=True)(params, state, batch)
    curves = curve_names(probe, problem)
    if taken := sorted(set(curves) & set(metrics)):
        raise UserError(
            f"{where}: the probe records '{taken[0]}', which is also a metric; give one of them another name"
        )
    losses = {TRAINING_LOSS, *(f"{TRAINING_LOSS}_{player.name}" for player in problem.players)}
    if taken := sorted(losses.intersection(curves)):
        raise UserError(
            f"{where}: the probe records '{taken[0]}', which every trial records; give the curve another name"
        )
    if probe.needs_activations and not count_marks(traced):
        raise UserError(
            f"{where}: no activation is marked in what evaluate computes; use dlkit.layers.activation, or mark your "
            "own with jax.ad_checkpoint.checkpoint_name(x, 'activation'), outside of scan, while and cond"
        )
