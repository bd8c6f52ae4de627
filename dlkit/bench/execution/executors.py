"""The executor that a run asks for."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dlkit.bench.execution.executor import Executor, InlineExecutor
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources, memory_bytes
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
    if resources.executor == "inline" or (resources.executor == "processes" and (not HAS_PIPES or on_accelerator())):
        if nursery is not None:
            nursery.close()
        return InlineExecutor(memory)
    if resources.executor == "processes":
        bound = memory_bytes(resources.worker_memory)
        return ProcessExecutor(workers=resources.workers, memory=memory, worker_memory=bound, say=say, nursery=nursery)
    from dlkit.bench.execution.dask_workers import DaskExecutor

    return DaskExecutor(address=resources.executor, memory=memory)


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
    nursery = NurseryProcess() if resources.executor == "processes" and HAS_PIPES and is_sure else None
    try:
        yield nursery
    finally:
        if nursery is not None:
            nursery.close()
