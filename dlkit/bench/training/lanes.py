"""Lanes: trials that run side by side in one executable, spread over the local devices."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.identity.bodies import bodies
from dlkit.bench.machine.environment import compiler_options
from dlkit.typing import Array

__all__ = [
    "ALONE",
    "Lanes",
    "compiled",
    "fetched",
    "fitting",
    "held_bytes",
    "is_out_of_memory",
    "numbers",
    "on_accelerator",
    "placed",
    "spread",
    "traced_bytes",
]

AXIS = "lanes"
WIDEST = 4096  # lanes; more were not measured
SHARE = 0.5  # of a device's free memory that lanes are planned to take


@dataclass(frozen=True)
class Lanes:
    """How many trials run side by side in one executable: the last bits of a trial depend on it.

    Attributes:
        width: how many lanes; 0 for one trial at a time, not vectorized.
        devices: how many local devices they are spread over; divides the width.
    """

    width: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        if self.width < 0 or self.devices < 1 or self.width % self.devices:
            raise UserError(f"{self.width} lanes cannot be spread evenly over {self.devices} devices")

    @property
    def alone(self) -> bool:
        """Whether there is one trial at a time."""
        return self.width == 0

    @property
    def trials(self) -> int:
        """How many trials run at once."""
        return max(self.width, 1)

    def halved(self) -> "Lanes | None":
        """Returns half the lanes on the same devices; None if there are no fewer."""
        return Lanes(self.width // 2, self.devices) if self.width // 2 >= self.devices else None

    def sharding(self, *, split: bool) -> jax.sharding.Sharding:
        """Returns how an array is placed on the devices: cut along its first axis, or whole on every device.

        Raises:
            UserError: if there are fewer devices here.
        """
        if self.devices > jax.local_device_count():
            raise UserError(f"lanes over {self.devices} devices: there are {jax.local_device_count()} here")
        mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()[: self.devices]), (AXIS,))
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*([AXIS] if split else [])))

    def __str__(self) -> str:
        text = "none" if self.alone else str(self.width)
        return text if self.devices == 1 else f"{text} over {self.devices} devices"

    @staticmethod
    def parse(text: str) -> "Lanes":
        """Returns what `str` wrote.

        Example:
            >>> Lanes.parse(str(Lanes(8, 2)))
            Lanes(width=8, devices=2)
        """
        width, _, rest = text.partition(" over ")
        return Lanes(0 if width == "none" else int(width), int(rest.partition(" ")[0] or 1))


ALONE = Lanes()


def spread(width: int) -> Lanes:
    """Returns lanes over as many of the local devices as divide their number; 0 for one trial at a time."""
    return Lanes(width, math.gcd(width, jax.local_device_count())) if width else ALONE


def on_accelerator() -> bool:
    """Whether trials run on something else than a CPU."""
    return jax.default_backend() != "cpu"


def fitting(planned: int, lane_bytes: int) -> Lanes:
    """Chooses lanes from a device's memory.

    Args:
        planned: how many trials there will be; more lanes than that are no use.
        lane_bytes: what one lane takes, about.

    Returns:
        A power of two of lanes on each device, at least one; their number depends on the plan and the device alone, not
        on how much of the plan is done.
    """
    devices = jax.local_device_count()
    statistics = jax.local_devices()[0].memory_stats() or {}
    room = SHARE * float(statistics.get("bytes_limit", math.inf))
    most = min(room / max(lane_bytes, 1), WIDEST)
    wanted = math.ceil(planned / devices)
    each = 2 ** max(math.floor(math.log2(max(min(most, 2 ** math.ceil(math.log2(max(wanted, 1)))), 1))), 0)
    return Lanes(each * devices, devices)


def held_bytes(tree: Any) -> int:
    """Returns the bytes of a tree's arrays, or of their shapes and types."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def traced_bytes(jaxpr: Any) -> int:
    """Returns about what a traced computation holds: all it computes at one level and the largest of the levels below.

    An estimate from above, as if nothing was freed or fused: lanes are planned with it before anything is compiled.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    own = 0
    below = [0]
    for equation in inner.eqns:
        own += sum(math.prod(var.aval.shape) * var.aval.dtype.itemsize for var in equation.outvars)
        below += map(traced_bytes, bodies(equation))
    return int(own) + max(below)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device has no memory left."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def placed(arrays: Mapping[str, Any], lanes: Lanes) -> Mapping[str, Array]:
    """Puts data that every lane reads on the device, or whole on each of them."""
    where = lanes.sharding(split=False) if lanes.devices > 1 else None
    on_device: Mapping[str, Array] = jax.device_put(dict(arrays), where)
    return on_device


def numbers(rows: Sequence[Mapping[str, float]], lanes: Lanes) -> Mapping[str, Array]:
    """Puts the numbers of trials on the device, in one transfer.

    Args:
        rows: name -> number, of every lane.
        lanes: how the trials lie.

    Returns:
        Name -> float32 [lanes], weakly typed as constants are: a traced decay keeps an average of bfloat16 what it is.
    """
    table = np.array([[row[name] for row in rows] for name in rows[0]], np.float32)
    return dict(zip(rows[0], _weakly_typed(lanes)(table), strict=True))


@cache
def _weakly_typed(lanes: Lanes) -> Any:
    """Jitted: [names, lanes] -> one weakly typed array a name."""
    where = lanes.sharding(split=True) if lanes.devices > 1 else None
    return jax.jit(lambda table: [jnp.full(len(row), 0.0).at[:].set(row) for row in table], out_shardings=where)


def fetched(tree: Any) -> Any:
    """Returns a tree of arrays on the host; where they lie there already, nothing is copied, and they are read-only."""
    # device_get starts all transfers before it waits for one; on CPU, that takes six times as long as looking
    return jax.device_get(tree) if on_accelerator() else jax.tree.map(np.asarray, tree)


def compiled(function: Callable[..., Any], laned: Sequence[bool], lanes: Lanes, *, donated: Sequence[int] = ()) -> Any:
    """Compiles a function of one trial, for one at a time or for lanes.

    Args:
        function: of one trial.
        laned: for each argument, whether every lane has its own.
        lanes: how many trials run side by side, and on how many devices.
        donated: the arguments whose memory becomes that of the results; a caller does not use them again.

    Returns:
        The jitted function. With lanes, its results and the laned arguments have the lanes as their first axis.
    """
    jitted = partial(jax.jit, compiler_options=compiler_options(), donate_argnums=tuple(donated))
    if lanes.alone:
        return jitted(function)
    mapped = jax.vmap(function, in_axes=tuple(0 if each else None for each in laned))
    if lanes.devices == 1:
        return jitted(mapped)
    shardings = tuple(lanes.sharding(split=each) for each in laned)
    return jitted(mapped, in_shardings=shardings, out_shardings=lanes.sharding(split=True))
