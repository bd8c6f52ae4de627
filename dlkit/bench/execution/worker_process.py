"""A worker process of this machine: what it gets through its pipe, how it answers, what it never does.

Whatever the user's code raises comes back as text, since the class of an exception may not exist elsewhere. What it
prints goes to a pipe of its own. It ends when the process that it works for does.
"""

import faulthandler
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.execution.lease import Lease, Phase, hold
from dlkit.bench.execution.messages import Incoming, send

__all__ = ["Own", "Request", "become_worker", "main"]


class Own(NamedTuple):
    """A problem of the user's own, sent once: requests name it by its number.

    Attributes:
        number: of it.
        parcel: the problem, packed.
    """

    number: int
    parcel: Any


class Request(NamedTuple):
    """A task.

    Attributes:
        parcel: the task, packed, without a problem of the user's own.
        own: the number of that; None where there is none.
    """

    parcel: Any
    own: int | None


def become_worker(output: int, core: int | None) -> None:
    """Makes this process a worker: apart from Ctrl-C, on a core, with its output in a pipe, and no input.

    Args:
        output: the pipe that takes what is printed.
        core: to run on; None for any.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    faulthandler.enable()  # a fault in native code prints where Python was
    _die_first()


def _die_first() -> None:
    """Where memory runs out, Linux ends this process rather than the one that stores results."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main(connection: int, memory: int) -> None:
    """Answers requests until there are none any more.

    Args:
        connection: file descriptor of a pipe in both directions.
        memory: file descriptor of the memory of the lease.
    """
    lease = Lease(memory)
    hold(lease)
    os.register_at_fork(after_in_child=lambda: _close(connection))  # a child of the user's must not seem to be this one
    with socket.socket(fileno=connection) as pipe:
        requests = Incoming(pipe)
        own: dict[int, Any] = {}  # number -> packed, then opened
        lease.write(Phase.WAITING)
        while True:
            try:
                message = requests.read(wait=True)
            except (EOFError, OSError):
                return
            if isinstance(message, Own):
                own[message.number] = message.parcel
                continue
            lease.write(Phase.OPENING)
            answer = _answer(message, own)
            lease.write(Phase.WAITING)
            try:
                _flush(sys.stdout, sys.stderr)
                send(pipe, answer)
            except OSError:
                return
            except Exception as error:  # it cannot be pickled
                send(pipe, UserError(f"the worker could not send what it found: {type(error).__name__}: {error}"))


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def _flush(*streams: Any) -> None:
    """Hands on what was printed, if the streams are still what they were."""
    for stream in streams:
        try:
            stream.flush()
        except Exception:  # closed, or replaced by something else
            continue


def _answer(request: Request, own: dict[int, Any]) -> Any:
    """Runs a task, with the user's own problem put back into it.

    Nothing of the user's is raised here.
    """
    from dlkit.bench.execution.outcomes import failed
    from dlkit.bench.execution.parcels import Parcel, unpack
    from dlkit.bench.execution.work import Done, Work
    from dlkit.bench.machine.boundary import is_asked_to_stop

    task = None
    try:
        task = unpack(request.parcel)
        if request.own is not None:
            if isinstance(own[request.own], Parcel):
                own[request.own] = unpack(own[request.own])
            task = task.with_own(own[request.own])
        done = task.run()
    except UserError as error:
        return UserError(str(error))
    except BaseException as error:
        return UserError(f"the worker raised {type(error).__name__}: {error}")
    if isinstance(done, Done) and done.interrupted and isinstance(task, Work) and not is_asked_to_stop():
        # Ctrl-C does not reach a worker: it was the user's code that raised it.
        ended = {outcome.trial.id for outcome in done.outcomes}  # lanes that go on from a checkpoint end out of order
        trial = next(each for each in task.trials if each.id not in ended)
        reason = f"{task.group.recipe.optimizer.name} on {task.problem.name}: raised KeyboardInterrupt"
        return done._replace(outcomes=(*done.outcomes, failed(trial, reason)), interrupted=False)
    return done
