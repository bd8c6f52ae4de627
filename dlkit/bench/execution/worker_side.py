"""What a worker of a cluster does: it says what it is, and runs tasks."""

import socket
from collections.abc import Mapping
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from dlkit.bench.errors import UserError
from dlkit.bench.execution.parcels import Parcel, unpack, use_settings
from dlkit.bench.execution.work import Done, Task, Timed
from dlkit.bench.machine.preparation import prepare_own_process, prepare_process
from dlkit.bench.spec.bound_plan import OwnProblem

__all__ = ["introduced", "run_on_worker"]


def introduced(settings: Mapping[str, Any]) -> dict[str, Any] | str:
    """What this worker is: where, and its programs' identity under JAX's settings, as tasks bring them; or why it
    cannot train.
    """
    _prepare_worker()
    use_settings(settings)
    try:
        return {"host": socket.gethostname(), "program": dict(prepare_process())}
    except UserError as error:
        return str(error)


def run_on_worker(work: Parcel, own: Parcel | None) -> Done | Timed | UserError:
    """Runs a task on a worker, with the user's own problem put back into it.

    Nothing of the user's is raised here: the class of an exception may not exist elsewhere.
    """
    _prepare_worker()
    try:
        task: Task = unpack(work)
        return (task if own is None else task.with_own(_opened(own))).run()
    except UserError as error:
        return UserError(str(error))
    except (Exception, SystemExit) as error:
        return UserError(f"the worker raised {type(error).__name__}: {error}")


# The problems that a worker has opened: as long as dask keeps their parcels.
_OPENED: WeakKeyDictionary[Parcel, OwnProblem] = WeakKeyDictionary()


def _opened(parcel: Parcel) -> OwnProblem:
    if parcel not in _OPENED:
        _OPENED[parcel] = unpack(parcel)
    return _OPENED[parcel]


@cache
def _prepare_worker() -> None:
    """Asks for one thread of each kind before anything computes: XLA may start with the first array."""
    prepare_own_process()
