"""How trials lie on devices: as lanes side by side in one executable, or one at a time with each batch split."""

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
from dlkit.bench.identity.tracing import as_trained
from dlkit.bench.machine.environment import compiler_options
from dlkit.typing import Array

__all__ = [
    "ALONE",
    "Lanes",
    "agreed",
    "asked_for",
    "compiled",
    "fetched",
    "fitting",
    "held_bytes",
    "is_out_of_memory",
    "numbers",
    "on_accelerator",
    "placed",
    "split_examples",
    "split_over",
    "spread",
    "traced_bytes",
]

AXIS = "lanes"
SPLIT = ", each batch split"  # in the text of lanes, where one trial has several devices
WIDEST = 4096  # lanes; more were not measured
SHARE = 0.5  # of a device's free memory that lanes are planned to take


@dataclass(frozen=True)
class Lanes:
    """How trials lie on devices: the last bits of a trial depend on it.

    Attributes:
        width: how many trials run side by side in one executable; 0 for one trial at a time, not vectorized.
        devices: over how many devices lanes are spread, and divide the width; of one trial at a time, over how many
            devices each of its batches is split.
        processes: how many processes these devices belong to, the same number to each; several train one trial
            together, after `jax.distributed.initialize`.
    """

    width: int = 0
    devices: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        if self.width < 0 or self.devices < 1 or self.width % self.devices:
            raise UserError(f"{self.width} lanes cannot be spread evenly over {self.devices} devices")
        if self.processes < 1 or self.devices % self.processes:
            raise UserError(
                f"{_count(self.devices, 'device')} cannot belong evenly to {_count(self.processes, 'process')}: every "
                "process takes the same number"
            )
        if self.processes > 1 and self.width:
            raise UserError("several processes train one trial at a time, together: leave out lanes")

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

    @property
    def splits_batches(self) -> bool:
        """Whether a trial's batches are split over devices."""
        return self.alone and self.devices > 1

    def sharding(self, *, split: bool) -> jax.sharding.Sharding:
        """Returns how an array is placed on the devices: cut along its first axis, or whole on every device.

        Raises:
            UserError: if there are fewer devices here, or other processes.
        """
        mesh = _mesh(self.devices, self.processes)
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*([AXIS] if split else [])))

    def __str__(self) -> str:
        text = f"none{SPLIT if self.splits_batches else ''}" if self.alone else str(self.width)
        text = text if self.devices == 1 else f"{text} over {self.devices} devices"
        return text if self.processes == 1 else f"{text} of {self.processes} processes"

    @staticmethod
    def parse(text: str) -> "Lanes":
        """Returns what `str` wrote.

        Example:
            >>> Lanes.parse(str(Lanes(8, 2)))
            Lanes(width=8, devices=2, processes=1)
            >>> str(Lanes(0, 4))
            'none, each batch split over 4 devices'
        """
        width, _, rest = text.partition(" over ")
        devices, processes = (int(part.split()[0]) if part else 1 for part in f"{rest} of ".split(" of ")[:2])
        return Lanes(0 if width.removesuffix(SPLIT) == "none" else int(width), devices, processes)


ALONE = Lanes()


@cache
def _mesh(devices: int, processes: int) -> jax.sharding.Mesh:
    """The first devices here, or of every process, in a row; XLA finds out what else is split along it."""
    if processes != 1 and processes != jax.process_count():
        raise UserError(
            f"{devices} devices of {processes} processes: this is {_count(jax.process_count(), 'process')}; start as "
            "many, each after jax.distributed.initialize (docs/cluster.md: More than one device)"
        )
    each = devices // processes
    found = [device for process in _processes(processes) for device in jax.local_devices(process)[:each]]
    if len(found) < devices:
        there = _count(jax.local_device_count(), "device")
        platform = jax.default_backend()
        more = (
            f"; XLA_FLAGS=--xla_force_host_platform_device_count={each} makes {each} of it" if platform == "cpu" else ""
        )
        where = "here" if processes == 1 else "in each process"
        raise UserError(
            f"{each} devices are wanted {where}, and this process has {there} of platform {platform}: ask for at most "
            f"as many{more}"
        )
    return jax.sharding.Mesh(np.asarray(found), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,))


def _processes(count: int) -> Sequence[int]:
    return range(count) if count > 1 else [jax.process_index()]


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"


def split_over(devices: int) -> Lanes:
    """Returns one trial at a time, each of its batches split over devices; of all processes where there are several."""
    return ALONE if devices == 1 else Lanes(0, devices, jax.process_count())


def spread(width: int) -> Lanes:
    """Returns lanes over as many of the local devices as divide their number; 0 for one trial at a time."""
    return Lanes(width, math.gcd(width, jax.local_device_count())) if width else ALONE


def asked_for(lanes: Lanes | int | None, devices: int) -> Lanes | None:
    """Returns how trials lie where that was asked for; None where it is left to the device.

    Args:
        lanes: how many run side by side, or in full how they lie; None if nothing was said.
        devices: that each batch of the problem is split over, if its trials run one at a time.
    """
    if isinstance(lanes, Lanes):
        return lanes
    if lanes or (lanes == 0 and devices == 1):
        return spread(lanes)
    return split_over(devices) if devices > 1 else None


def agreed(said: int, lanes: Lanes) -> int:
    """Returns the number that the first process has where several train a trial together: each has its own clock.

    Args:
        said: a truth value, or a number within int32.
        lanes: how trials lie.
    """
    if lanes.processes == 1:
        return said
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.asarray(said, np.int32)))


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


def split_examples(batch: Mapping[str, Array], lanes: Lanes) -> Mapping[str, Array]:
    """Splits examples over the devices, in a function that is compiled; the same arrays where a trial has one device.

    What is computed of them is split as they are, and a sum over all examples is one over all devices: that is XLA's
    matter, and no function of a problem knows of it.

    Args:
        batch: name -> [examples, ...]; their number need not be a multiple of the devices.
        lanes: how trials lie.
    """
    if not lanes.splits_batches:
        return batch
    where = lanes.sharding(split=True)
    return {
        name: jax.lax.with_sharding_constraint(array, where) if array.size else array for name, array in batch.items()
    }


def placed(arrays: Mapping[str, Any], lanes: Lanes) -> Mapping[str, Array]:
    """Puts data that every lane reads on the device, or whole on each of them."""
    where = lanes.sharding(split=False) if lanes.devices > 1 else None
    if lanes.processes > 1:  # each has the data: nothing is sent
        given = {name: np.asarray(array) for name, array in arrays.items()}
        given = {name: array.astype(jax.dtypes.canonicalize_dtype(array.dtype)) for name, array in given.items()}
        return {
            name: jax.make_array_from_process_local_data(where, array, array.shape) for name, array in given.items()
        }
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


def _of_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose convolutions are products."""
    computed = as_trained()(function)
    # `wraps` finds no name on a partial; profiles show the executable by it
    computed.__name__ = getattr(getattr(function, "func", function), "__name__", "computed")
    return computed


def compiled(function: Callable[..., Any], laned: Sequence[bool], lanes: Lanes, *, donated: Sequence[int] = ()) -> Any:
    """Compiles a function of one trial, for one at a time or for lanes.

    Args:
        function: of one trial.
        laned: for each argument, whether every lane has its own.
        lanes: how many trials run side by side, and on how many devices. All arguments and results of one trial lie
            whole on each of its devices: what is split is said inside (`split_examples`).
        donated: the arguments whose memory becomes that of the results; a caller does not use them again.

    Returns:
        The jitted function. With lanes, its results and the laned arguments have the lanes as their first axis.
    """
    function = _of_products(function)
    jitted = partial(jax.jit, compiler_options=compiler_options(), donate_argnums=tuple(donated))
    if lanes.splits_batches:
        whole = lanes.sharding(split=False)
        return jitted(function, in_shardings=whole, out_shardings=whole)
    if lanes.alone:
        return jitted(function)
    mapped = jax.vmap(function, in_axes=tuple(0 if each else None for each in laned))
    if lanes.devices == 1:
        return jitted(mapped)
    shardings = tuple(lanes.sharding(split=each) for each in laned)
    return jitted(mapped, in_shardings=shardings, out_shardings=lanes.sharding(split=True))
