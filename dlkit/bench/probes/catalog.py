"""Every registered probe; finds a probe by its name and checks that it fits a problem."""

from collections.abc import Mapping
from types import MappingProxyType

import jax

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.probes import activations, curvature, gradients, weights
from dlkit.bench.probes.base import PROBE_EXAMPLES, Probe
from dlkit.bench.probes.marked_activations import count_marks
from dlkit.bench.problems.base import Problem

__all__ = ["PROBES", "check", "get"]

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


def check(probe: Probe, problem: Problem) -> None:
    """Traces a problem's `evaluate` without computing, and says why a probe cannot look at it.

    Args:
        probe: the probe.
        problem: a problem whose functions are known to work.

    Raises:
        UserError: if the problem is a game; if the probe needs activations and the problem marks none; or if a metric
            has the name of a curve.

    Example:
        >>> from dlkit.bench import problems
        >>> check(get("dead_units"), problems.get("digits-mlp"))
    """
    where = f"probe '{probe.name}', problem '{problem.name}'"
    if problem.players:
        names = ", ".join(player.name for player in problem.players)
        raise UserError(f"{where}: probes look at one loss of all parameters, and each player ({names}) has its own")
    params, state = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
    batch = {
        name: jax.ShapeDtypeStruct(
            (min(len(array), PROBE_EXAMPLES), *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype)
        )
        for name, array in problem.dataset.train.items()
    }
    traced, metrics = jax.make_jaxpr(problem.evaluate, return_shape=True)(params, state, batch)
    if taken := sorted(set(probe.curves) & set(metrics)):
        raise UserError(
            f"{where}: the probe records '{taken[0]}', which is also a metric; give the metric another name"
        )
    if probe.needs_activations and not count_marks(traced):
        raise UserError(
            f"{where}: no activation is marked in what evaluate computes; use dlkit.layers.activation, or mark your "
            "own with jax.ad_checkpoint.checkpoint_name(x, 'activation'), outside of scan, while and cond"
        )
