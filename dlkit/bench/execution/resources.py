"""What a run may use: processes, lanes, memory. Nothing here decides a result, but for the last bits of its numbers."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.execution.memory import memory_bytes
from dlkit.bench.machine.environment import own_cores

if TYPE_CHECKING:
    from dlkit.bench.execution.job_options import BatchSystem, JobOptions
    from dlkit.bench.plan.shards import Shard

    Jobs = str | Mapping[str, Any]
else:
    Jobs = str  # what the command line can give

__all__ = ["TOGETHER", "Resources", "resources_of"]

TOGETHER = "jax.distributed"
WORKERS = ("executor", "slurm", "pbs")  # settings that say where workers are
DOORS = ("tls_ca", "tls_cert", "tls_key", "insecure")  # and how they are reached


@says_what_it_takes("bench.Resources")
@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a run may use.

    Attributes:
        executor: processes (workers of this machine, one per core), inline (this process), the address of a dask
            scheduler, such as tls://10.0.0.1:8786, or jax.distributed: this process and others that run the same
            command train each trial together, over all of their devices. Code that ends its process costs one trial
            with workers, and the run inline.
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
        tls_ca: the certificate of the authority that signed those of a cluster at tls://, a PEM file. What is not given
            of the three is taken from dask's own settings.
        tls_cert: this process's certificate for such a cluster, a PEM file.
        tls_key: the key of that certificate, a PEM file; not needed where the certificate's file has it.
        insecure: use a cluster at tcp://, which encrypts nothing and asks nobody who they are. Whoever reaches a port
            of it can run code as you.
        slurm: train on jobs of SLURM, such as "cores=8, memory=16GB, walltime=02:00:00, jobs=4, --partition=short".
        pbs: train on jobs of PBS, such as "cores=8, memory=16GB, walltime=02:00:00, jobs=4, queue=short".

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
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False
    slurm: Jobs | None = None
    pbs: Jobs | None = None

    def __post_init__(self) -> None:
        mistakes = [f"resources.{line}" for line in self._cluster_mistakes()]
        if self.executor not in ("processes", "inline", TOGETHER) and "://" not in str(self.executor):
            renamed = "; workers of this machine are 'processes' now" if self.executor == "dask" else ""
            mistakes.append(
                f"resources.executor: no executor {self.executor!r}{renamed}; expected 'processes', 'inline', "
                "'jax.distributed', or an address such as 'tls://10.0.0.1:8786'"
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
        elif self.lanes and (self.devices or self.is_together):
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

    def _cluster_mistakes(self) -> list[str]:
        """What is wrong with what is said of a cluster."""
        mistakes = []
        kind, is_address, where = str(self.executor).partition("://")
        if is_address and kind == "tcp" and not self.insecure:
            mistakes.append(
                f"executor: '{self.executor}' encrypts nothing and asks nobody who they are: whoever reaches that port "
                f"can run code as you, there and here; write 'tls://{where}' with --tls-ca, --tls-cert and --tls-key "
                "(tls_ca, tls_cert, tls_key), or, where nobody else is on that network, --insecure (insecure=True)"
            )
        elif is_address and kind not in ("tcp", "tls"):
            mistakes.append(f"executor: no kind of address '{kind}://'; expected 'tls://{where}'")
        if self.insecure not in (True, False):
            mistakes.append(f"insecure must be true or false, got {self.insecure!r}")
        elif self.insecure and kind != "tcp":
            mistakes.append("insecure is for an executor at 'tcp://'; leave it out")
        given = [name for name in ("tls_ca", "tls_cert", "tls_key") if getattr(self, name) is not None]
        if given and kind != "tls":
            mistakes.append(f"{given[0]} is for an executor at 'tls://'; leave it out")
        if self.slurm is not None and self.pbs is not None:
            mistakes.append("slurm and pbs: give one of them")
        elif is_address and self.batch_system is not None:
            mistakes.append(f"{self.batch_system} starts a cluster of its own; leave out executor='{self.executor}'")
        try:
            self.jobs  # noqa: B018
        except UserError as error:
            mistakes += str(error).splitlines()
        return mistakes

    @property
    def batch_system(self) -> "BatchSystem | None":
        """Whose jobs train; None for no batch system's."""
        return "slurm" if self.slurm is not None else "pbs" if self.pbs is not None else None

    @property
    def jobs(self) -> "JobOptions | None":
        """What its jobs ask for; None without a batch system.

        Raises:
            UserError: for options that there are not, or that cannot be.
        """
        system = self.batch_system
        if system is None:
            return None
        from dlkit.bench.execution.job_options import job_options

        return job_options(system, self.slurm if self.slurm is not None else self.pbs or "")

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
        if jobs := self.jobs:
            return jobs.jobs * jobs.processes
        return 1 if self.is_here else self.workers or len(own_cores())

    @property
    def is_here(self) -> bool:
        """Whether this process trains: alone, or together with others."""
        return self.executor == "inline" or self.is_together

    @property
    def is_together(self) -> bool:
        """Whether several processes train each trial together."""
        return self.executor == TOGETHER

    @property
    def is_remote(self) -> bool:
        """Whether workers are those of a cluster, and perhaps on other machines."""
        return "://" in self.executor or self.batch_system is not None


def resources_of(asked: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Resources:
    """Returns what a run may use.

    Args:
        asked: settings of the experiment.
        given: settings of the call, which take the place of the experiment's; who names workers names them all.

    Raises:
        UserError: as of `Resources`.
    """
    chosen = dict(given or {})
    if not {*WORKERS} & chosen.keys():
        return Resources(**{**asked, **chosen})
    kept = {name: value for name, value in asked.items() if name not in (*WORKERS, *DOORS)}
    return Resources(**{**kept, **chosen})


def _is_whole(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
