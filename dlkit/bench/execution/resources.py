"""What a run may use: processes, lanes, memory. Nothing here decides a result, but for the last bits of its numbers."""

import math
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit.bench.errors import UserError, says_what_it_takes

if TYPE_CHECKING:
    from dlkit.bench.plan.shards import Shard

__all__ = ["Resources", "memory_bytes"]

AMOUNT = re.compile(r"(\d+(?:\.\d*)?(?:[eE]\d+)?)\s*([a-zA-Z]*)")
UNITS = {"": 1, "b": 1} | {
    prefix + ending: base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for ending, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


@says_what_it_takes("bench.Resources")
@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a run may use.

    Attributes:
        executor: processes (workers of this machine, one per core), inline (this process), or the address of a dask
            scheduler, such as tcp://10.0.0.1:8786. Code that ends its process costs one trial with workers, and
            the run inline.
        workers: worker processes; by default one per core.
        worker_memory: what each worker process may take in all, such as 4GiB. One that takes more is ended, its trial
            tried once more, alone, and recorded as failed if that takes as much (on Linux). By default there is no
            bound.
        lanes: trials that run side by side in one program, over all local devices; 0 for one at a time. By default one
            at a time on CPU, and on accelerators as many as fit into memory.
        devices: split each batch over so many devices, one trial at a time: for networks that one device is too slow or
            too small for. It takes the place of what a problem says (`devices` of a problem). Many trials that fit a
            device are sooner done side by side, as lanes.
        memory: what training examples may take in each worker, such as 2GiB, or a number of bytes. A larger training
            split stays on the host and streams, with the same order and bits (this needs the extra "streaming"). By
            default half of an accelerator's memory or, on CPU, half of a core's share of the machine's. Validation
            and test data always lie on the device.
        checkpoint_minutes: how often a trial that takes so long is kept in the run's folder: after a kill it goes on
            from there, with the same bits. 0 for never. Where writing takes long it is less often: at most a fiftieth
            of the time.
        trust: reuse stored trials of your own code unseen. By default one of each contender on each problem runs again
            for a moment, and is compared bit for bit: code that computes something else is trained again.
        shard: run one of several equal parts of the work, such as 1/3; `dlkit merge` makes one run of all parts. By
            default all of it is run.

    Raises:
        UserError: for an executor that there is not, or a number or an amount that cannot be; with every mistake.
    """

    executor: str = "processes"
    workers: int | None = None
    worker_memory: int | str | None = None
    lanes: int | None = None
    devices: int | None = None
    memory: int | str | None = None
    checkpoint_minutes: float = 3.0
    trust: bool = False
    shard: str | None = None

    def __post_init__(self) -> None:
        mistakes = []
        if self.executor not in ("processes", "inline") and "://" not in str(self.executor):
            renamed = "; workers of this machine are 'processes' now" if self.executor == "dask" else ""
            mistakes.append(
                f"resources.executor: no executor {self.executor!r}{renamed}; expected 'processes', 'inline', or an "
                "address such as 'tcp://10.0.0.1:8786'"
            )
        if self.workers is not None and not _is_whole(self.workers, at_least=1):
            mistakes.append(f"resources.workers must be a whole number of at least 1, got {self.workers!r}")
        if self.lanes is not None and not _is_whole(self.lanes, at_least=0):
            mistakes.append(
                "resources.lanes must be a whole number of at least 1, or 0 for one trial at a time, "
                f"got {self.lanes!r}"
            )
        if self.devices is not None and not _is_whole(self.devices, at_least=1):
            mistakes.append(
                f"resources.devices must be a whole number of at least 1, got {self.devices!r}; on which platform they "
                "are, JAX_PLATFORMS decides (JAX_PLATFORMS=cuda)"
            )
        elif self.devices and self.lanes:
            mistakes.append(
                "resources: lanes run trials side by side, and devices split each batch of one trial; give one "
                "of the two"
            )
        if not _is_duration(self.checkpoint_minutes):
            mistakes.append(
                "resources.checkpoint_minutes must be a number of minutes, or 0 for no checkpoints, "
                f"got {self.checkpoint_minutes!r}"
            )
        for name in ("memory", "worker_memory"):
            try:
                memory_bytes(getattr(self, name), name)
            except UserError as error:
                mistakes.append(f"resources.{error}")
        if self.worker_memory is not None and (self.executor != "processes" or not sys.platform.startswith("linux")):
            mistakes.append("resources.worker_memory is for worker processes of this machine, on Linux")
        if self.trust not in (True, False):
            mistakes.append(f"resources.trust must be true or false, got {self.trust!r}")
        try:
            self.part  # noqa: B018
        except UserError as error:
            mistakes.append(f"resources.{error}")
        if mistakes:
            raise UserError("\n".join(mistakes))

    @property
    def part(self) -> "Shard | None":
        """Which part of the work is run; None for all of it."""
        if self.shard is None:
            return None
        from dlkit.bench.plan.shards import Shard  # which takes NumPy along

        return Shard.parse(self.shard)

    @property
    def count(self) -> int:
        """How many workers share the work, as far as this process knows."""
        return 1 if self.executor == "inline" else self.workers or os.cpu_count() or 1

    @property
    def is_remote(self) -> bool:
        """Whether workers are those of a cluster, and perhaps on other machines."""
        return "://" in self.executor


def _is_whole(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def memory_bytes(given: int | str | None, name: str = "memory") -> int | None:
    """Returns an amount of memory in bytes, from a number or a text such as ``"2GiB"``; None stays None.

    Args:
        given: the amount.
        name: how a message calls it.

    Raises:
        UserError: for what is no amount, or not positive.

    Example:
        >>> memory_bytes("2GiB"), memory_bytes("300 kB"), memory_bytes(5000)
        (2147483648, 300000, 5000)
    """
    if given is None:
        return None
    amount = 0
    if isinstance(given, int | str) and not isinstance(given, bool):
        match = AMOUNT.fullmatch(str(given).strip())
        if match and match[2].lower() in UNITS:
            amount = int(float(match[1]) * UNITS[match[2].lower()])
    if amount < 1:
        raise UserError(f"{name} must be an amount such as '2GiB' or '500MB', or a number of bytes, got {given!r}")
    return amount
