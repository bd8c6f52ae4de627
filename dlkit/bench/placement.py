"""Where trials lie: one after another, or side by side in lanes over the local devices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dlkit.bench.environment import compiler_options
from dlkit.bench.errors import UserError
from dlkit.typing import Array

__all__ = ["Lanes", "compiled", "placed"]

AXIS = "lanes"


@dataclass(frozen=True)
class Lanes:
    """Trials that run side by side in one executable, at a fixed width: the bits of a lane depend on it.

    Attributes:
        width: how many lanes.
        devices: how many local devices they are spread over; divides the width.

    Raises:
        UserError: for a width below 1, more devices than there are, or a width they do not divide.
    """

    width: int
    devices: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UserError(f"lanes must be at least 1, got {self.width}")
        if not 1 <= self.devices <= jax.local_device_count():
            raise UserError(f"lanes over {self.devices} devices: there are {jax.local_device_count()} here")
        if self.width % self.devices:
            raise UserError(f"{self.width} lanes cannot be spread evenly over {self.devices} devices")

    def __str__(self) -> str:
        return f"{self.width}" if self.devices == 1 else f"{self.width} over {self.devices} devices"

    @staticmethod
    def parse(text: str) -> "Lanes | None":
        """Returns what was written with `str`; None for ``"none"``: one trial at a time."""
        if text == "none":
            return None
        width, _, rest = text.partition(" over ")
        return Lanes(int(width), int(rest.partition(" ")[0] or 1))

    def sharding(self, *, split: bool) -> jax.sharding.Sharding:
        """Returns where an array lies: cut along its first axis, or whole on every device."""
        mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()[: self.devices]), (AXIS,))
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS if split else None))


def placed(arrays: Mapping[str, Any], lanes: Lanes | None) -> Mapping[str, Array]:
    """Puts data that every lane reads on the device, or whole on each of them."""
    where = lanes.sharding(split=False) if lanes is not None and lanes.devices > 1 else None
    on_device: Mapping[str, Array] = jax.device_put(dict(arrays), where)
    return on_device


def compiled(function: Callable[..., Any], laned: Sequence[bool], lanes: Lanes | None) -> Any:
    """Compiles a function of one trial, for one at a time or for lanes.

    Args:
        function: of one trial.
        laned: for each argument, whether every lane has its own.
        lanes: how trials lie; None for one at a time.

    Returns:
        The jitted function. With lanes, its results and the laned arguments have the lanes as their first axis.
    """
    options = compiler_options()
    if lanes is None:
        return jax.jit(function, compiler_options=options)
    mapped = jax.vmap(function, in_axes=tuple(0 if each else None for each in laned))
    if lanes.devices == 1:
        return jax.jit(mapped, compiler_options=options)
    shardings = tuple(lanes.sharding(split=each) for each in laned)
    out = lanes.sharding(split=True)
    return jax.jit(mapped, in_shardings=shardings, out_shardings=out, compiler_options=options)
