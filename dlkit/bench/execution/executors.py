"""The executor that a run asks for."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dlkit.bench.errors import UserError
from dlkit.bench.execution.executor import Executor, InlineExecutor
from dlkit.bench.execution.memory import memory_bytes
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.worker_handle import NurseryProcess
from dlkit.bench.store.database import FILE
from dlkit.bench.training.lanes import on_accelerator

__all__ = ["early_workers", "make_executor"]

HAS_PIPES = os.name != "nt"


def make_executor(
    resources: Resources, say: Callable[[str], None] = say, nursery: NurseryProcess | None = None
) -> Executor:
    """Makes the executor that a run asks for.

    On an accelerator ``"processes"`` is this process: lanes fill the device, and worker processes would share its
    memory. So it is on Windows, which has no such pipes.

    Args:
        resources: what the run may use.
        say: shows what workers print.
        nursery: the workers' parent process, if it was started before.

    Returns:
        The executor.

    Raises:
        UserError: for an address that does not answer.
    """
    memory = memory_bytes(resources.memory)
    if resources.is_remote:
        return _cluster(resources, memory)
    if resources.executor == "inline" or not HAS_PIPES or on_accelerator():
        if nursery is not None:
            nursery.close()
        return InlineExecutor(memory)
    bound = memory_bytes(resources.worker_memory)
    return ProcessExecutor(workers=resources.workers, memory=memory, worker_memory=bound, say=say, nursery=nursery)


def _cluster(resources: Resources, memory: int | None) -> Executor:
    """Connects to a cluster, or starts one of jobs."""
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("a cluster needs the extra 'cluster': pip install 'dlkit-jax[bench,cluster]'") from None
    from dlkit.bench.execution.certificates import security_of
    from dlkit.bench.execution.cluster import ClusterExecutor

    system, jobs = resources.batch_system, resources.jobs
    if system is None or jobs is None:
        return ClusterExecutor(resources.executor, security=security_of(resources), memory=memory)
    from dlkit.bench.execution.batch_system import started_jobs, waiting_for

    with ExitStack() as started:
        cluster = started.enter_context(started_jobs(system, jobs))
        how = {"security": cluster.security, "waiting": waiting_for(system, cluster, jobs)}
        return ClusterExecutor(cluster.scheduler_address, **how, memory=memory, started=started.pop_all())
    raise AssertionError


@contextmanager
def early_workers(resources: Resources, folder: Path | None) -> Iterator[NurseryProcess | None]:
    """Starts the workers' parent process where workers will be needed: it imports while this process plans.

    Args:
        resources: what the run may use.
        folder: of the run; one that has begun may have nothing left to train.

    Yields:
        The process, for `make_executor`; None where nobody is sure to need it. It ends with the block.
    """
    is_sure = folder is None or not (folder / FILE).exists()
    is_local = resources.executor == "processes" and not resources.is_remote
    nursery = NurseryProcess() if is_local and HAS_PIPES and is_sure else None
    try:
        yield nursery
    finally:
        if nursery is not None:
            with suppress(TimeoutError):  # it was killed; what the run came to is not lost for that
                nursery.close()
