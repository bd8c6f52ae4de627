"""A cluster as an executor: workers of a dask scheduler, which join, leave and die while a run goes on.

Every worker is asked what it is before it gets a trial: one with other software is refused, by name, and the others go
on. Each has one slot, and a slot has one worker for good: who joins later gets a slot of its own, and the slot of who
has left stays vacant.
"""

import atexit
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Any, Literal, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.execution.connection import GONE, dask_is_silent, innermost, scheduler_is_there
from dlkit.bench.execution.executor import KEPT, Changed, Lost
from dlkit.bench.execution.in_hand import InHand
from dlkit.bench.execution.newcomers import Member, introduction, other_software, question
from dlkit.bench.execution.parcels import pack
from dlkit.bench.execution.waiting import Waiting
from dlkit.bench.execution.work import Done, Task, Timed
from dlkit.bench.execution.worker_side import Sent, Unable, run_on_worker, stop_on_worker
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.machine.program import program_of_workers
from dlkit.bench.spec.bound_plan import OwnProblem

__all__ = ["ClusterExecutor"]

END_SECONDS = 20.0  # that the end of this process waits for the connection, and for jobs, to end
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 2.0  # so often the scheduler is asked who is there
STOP_SECONDS = 3.5  # that trials in hand have after Ctrl-C: the workers' two, and the way there and back
GREETING_SECONDS = 120.0  # a worker that has not said what it is by then is not waited for at the start


class _Event(NamedTuple):
    """What dask's threads tell this one.

    Attributes:
        kind: what happened.
        whose: the address of a worker, or the key of a task.
        expected: of a worker that is gone, whether it was asked to go.
    """

    kind: Literal["joined", "greeted", "closing", "gone", "ended", "interrupt"]
    whose: str = ""
    expected: bool = False


class ClusterExecutor:
    """Runs tasks on the workers of a dask scheduler, one at a time on each.

    Attributes:
        slots: how many workers there have been.
        program: what the workers' programs are.
    """

    def __init__(
        self,
        address: str,
        *,
        security: Any = None,
        memory: int | None = None,
        waiting: Waiting | None = None,
        started: ExitStack | None = None,
    ) -> None:
        """Connects, and asks every worker that is there what it is.

        Args:
            address: the scheduler's, such as ``tls://10.0.0.1:8786``.
            security: dask's, with the certificates; None for connections that are not encrypted.
            memory: bytes that a worker's training examples may take; None for what suits its device.
            waiting: how long to wait while there is no worker.
            started: what was started for this executor, and ends with it.

        Raises:
            UserError: if no scheduler answers, no worker comes, or all of them are refused.
        """
        import dask
        from distributed import Client

        self._where = address
        self._memory, self._waiting = memory, waiting or Waiting()
        self._resources, self._connection = ExitStack(), ExitStack()
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._workers: dict[str, Member] = {}
        self._by_slot: list[Member] = []
        self._vacant: set[int] = set()
        self._refusals: set[str] = set()  # that were said: a worker that loses its connection comes again
        self._greetings: dict[str, Any] = {}  # address -> future
        self._tasks: dict[str, tuple[int, Any]] = {}  # key -> slot, future
        self._sentences: list[str] = []
        self._run = uuid.uuid4().hex
        self._own: dict[int, tuple[int, OwnProblem, Any]] = {}  # by the id of what is kept alive here: number, future
        self._given_up_at: float | None = None
        self._looked = 0.0
        self._alone_since: float | None = None  # since when there is no worker
        self.program: Mapping[str, str] = {}
        self._resources.enter_context(dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"}))
        self._connection.enter_context(dask_is_silent())
        if started is not None:
            self._connection.enter_context(started)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other versions of dask: what differs is said by name
                client = Client(address, security=security, set_as_default=False, timeout=CONNECT_SECONDS)
            self._client = self._connection.enter_context(client)
            self._resources.enter_context(first_interrupt(lambda: self._events.put(_Event("interrupt"))))
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            self.close()
            raise UserError(f"no dask scheduler answers at '{self._where}': {innermost(error)}") from None
        try:
            self._look()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """How many workers have had a slot so far."""
        return len(self._by_slot)

    @property
    def vacant(self) -> Collection[int]:
        """The slots whose workers are gone."""
        return self._vacant

    # --- tasks ---

    def submit(self, slot: int, work: Task) -> None:
        """Sends a task to the slot's worker; a problem of the user's own is sent there once."""
        parcel = pack(work.within(self._memory).with_own(None))
        place = {"workers": [self._by_slot[slot].address], "allow_other_workers": False}
        with scheduler_is_there():
            number, own = self._sent(work.problem.own)
            sent = Sent(self._run, InHand.of(work), parcel, number)
            future = self._client.submit(run_on_worker, sent, own, pure=False, retries=0, **place)
            self._tasks[future.key] = slot, future
            future.add_done_callback(lambda ended: self._events.put(_Event("ended", ended.key)))

    def next(self) -> tuple[int, Done | Timed | UserError | Lost | Changed]:
        """Waits for any worker: for its answer, or for its end; or until workers have come.

        The first Ctrl-C is raised here and nowhere else, so that it costs no answer. Trials in hand have a few seconds
        from then on; a worker that has not answered by then is given up.

        Raises:
            UserError: if the scheduler is gone, or no worker is left and none comes.
        """
        while True:
            if self._sentences:
                return -1, Changed(self._sentences.pop(0))
            if self._given_up_at is not None and time.monotonic() > self._given_up_at and self._tasks:
                return self._given_up()
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look()
            try:
                event = self._events.get(timeout=LOOK_SECONDS if self._given_up_at is None else 0.1)
            except Empty:
                is_alone = len(self._vacant) == len(self._by_slot) and not self._greetings
                if is_alone and self._alone_since is None:
                    self._alone_since = time.monotonic()
                    return -1, Changed(f"no worker is left at '{self._where}'; waiting for {self._waiting.whom}")
                self._give_up(self._alone_since or time.monotonic(), f"every worker is gone; {KEPT}")
                continue
            answer = self._take(event)
            if answer is not None:
                return answer

    def _take(self, event: _Event) -> tuple[int, Done | Timed | UserError | Lost | Changed] | None:
        """What follows from an event, for who runs the tasks; None for nothing."""
        match event.kind:
            case "interrupt":
                self._ask_to_stop()
                raise KeyboardInterrupt
            case "joined":
                self._greet(event.whose)
            case "closing":
                if event.whose in self._workers:
                    self._workers[event.whose].is_leaving = True
            case "greeted":
                return self._admit(event.whose)
            case "gone":
                return self._dismiss(event.whose, event.expected)
            case "ended" if event.whose in self._tasks:
                return self._answer(*self._tasks[event.whose])
        return None

    def _answer(self, slot: int, future: Any) -> tuple[int, Done | Timed | UserError | Lost | Changed] | None:
        """The answer of a task; nothing yet if its worker is gone, which will be told."""
        if future.status in ("cancelled", "lost"):
            self._require_connection(future)
            del self._tasks[future.key]
            return slot, Lost("was sent data that is gone with another worker", kind="left")
        from distributed import TimeoutError as LateError

        try:
            with scheduler_is_there():
                error = future.exception(timeout=LOOK_SECONDS)
                found: Any = future.result(timeout=LOOK_SECONDS) if error is None else None
        except LateError:  # the worker is gone with its answer, or slow
            self._look()
            self._events.put(_Event("ended", future.key))
            return None
        del self._tasks[future.key]
        if isinstance(found, Unable):
            self._vacant.add(slot)
            self._sentences.append(f"worker {self._by_slot[slot].where} can train no more: {found.reason}")
            return slot, Lost("can train no more", kind="left")
        if isinstance(found, Lost):  # its process ended, and it has another one
            return slot, found._replace(reason=f"{found.reason}; at {self._by_slot[slot].where}")
        if error is None:
            return slot, found
        if type(error).__name__ == "KilledWorker":
            return slot, Lost(f"at {self._by_slot[slot].where} died")
        return slot, UserError(f"the worker at {self._by_slot[slot].where} raised {type(error).__name__}: {error}")

    def _sent(self, problem: OwnProblem | None) -> tuple[int | None, Any]:
        """The number and the future of a problem of the user's own.

        It is sent again where every worker that had it is gone.
        """
        if problem is None:
            return None, None
        number, _, future = self._own.get(id(problem), (uuid.uuid4().int, problem, None))
        if future is None or future.status != "finished":
            content = pack(problem)
            # To those that train, and to no others: dlkit's own objects are nothing to a worker without dlkit.
            there = [worker.address for worker in self._by_slot if worker.slot not in self._vacant]
            future = self._client.scatter(content, workers=there, broadcast=True, hash=False)
            self._own[id(problem)] = number, problem, future
        return number, future

    def _ask_to_stop(self) -> None:
        """Lets trials in hand stop where they can be kept, within a few seconds."""
        self._given_up_at = time.monotonic() + STOP_SECONDS
        there = [self._by_slot[slot].address for slot, _ in self._tasks.values()]

        def ask() -> None:
            with suppress(Exception):  # who does not hear it is given up
                self._client.run(stop_on_worker, self._run, workers=there, on_error="ignore")

        if there:
            threading.Thread(target=ask, name="dlkit stops its cluster", daemon=True).start()

    def _given_up(self) -> tuple[int, Lost]:
        """A task that has not been answered a few seconds after Ctrl-C; its worker hears that nobody waits for it."""
        key, (slot, future) = next(iter(self._tasks.items()))
        del self._tasks[key]
        with suppress(Exception):
            future.cancel()
        return slot, Lost("was given up")

    # --- workers ---

    def _look(self) -> None:
        """Asks who is there: who has come, and whether a word of who has gone was lost.

        The scheduler could tell of all that happens, but breaks a connection off where it cannot pickle what it tells.
        """
        self._looked = time.monotonic()
        with scheduler_is_there():
            there = self._client.scheduler_info(n_workers=-1)["workers"]
        for address in there.keys() - self._workers.keys():
            self._events.put(_Event("joined", address))
        for address in self._workers.keys() - there.keys():
            self._events.put(_Event("gone", address))

    def _greet(self, address: str) -> None:
        """Asks a worker that has come what it is."""
        if address in self._workers:
            return
        self._workers[address] = Member(address, address)

        def hear(event: tuple[float, Any]) -> None:  # in a thread of dask's
            said = event[1] if isinstance(event[1], dict) else {}
            if said.get("action") == "closing-worker":
                self._events.put(_Event("closing", address))
            elif said.get("action") == "remove-worker":
                self._events.put(_Event("gone", address, bool(said.get("expected"))))

        with scheduler_is_there():
            self._client.subscribe_topic(address, hear)
            place = {"workers": [address], "allow_other_workers": False}
            future = self._client.submit(eval, question(self._run), pure=False, retries=0, **place)
            self._greetings[address] = future
            future.add_done_callback(lambda _: self._events.put(_Event("greeted", address)))

    def _admit(self, address: str) -> tuple[int, Changed] | None:
        """Gives a worker a slot, or refuses it."""
        future, worker = self._greetings.pop(address, None), self._workers.get(address)
        if future is None or worker is None:
            return None
        said, wrong = introduction(future)
        if said is not None:
            worker.where = f"{address} ({said['host']})"
            program = said["program"]
            worker.device = program.get("device", "")
            wrong = other_software(program, self.program or {**program_of_workers(), "device": worker.device})
        if wrong:
            news = {f"worker {worker.where} is refused: {wrong}; the others go on"} - self._refusals
            self._refusals |= news
            return -1, Changed(*news)
        worker.slot = len(self._by_slot)
        self._by_slot.append(worker)
        self._alone_since = None
        return -1, Changed()

    def _dismiss(self, address: str, expected: bool) -> tuple[int, Lost | Changed] | None:
        """Notes that a worker is gone; says whose task that ends."""
        worker = self._workers.pop(address, None)
        if self._greetings.pop(address, None) is not None and not expected:
            return -1, Changed(f"worker {address} ended before it had said what it is")
        if worker is None or worker.slot is None:
            return None
        self._vacant.add(worker.slot)
        for key, (slot, future) in list(self._tasks.items()):
            if slot == worker.slot:
                del self._tasks[key]
                with suppress(Exception):
                    future.cancel()
                if expected or worker.is_leaving:
                    return slot, Lost(f"at {worker.where} left", kind="left")
                return slot, Lost(f"at {worker.where} died")
        return -1, Changed()

    def _start(self) -> None:
        """Waits until every worker that is there has said what it is, and one of them may train."""
        since, refused = time.monotonic(), list[str]()
        while True:
            waited = time.monotonic() - since
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look()
            if self.slots > len(self._vacant) and (not self._greetings or waited > GREETING_SECONDS):
                self._sentences += refused
                self._require_one_device()
                return
            if not self._greetings and not self._workers and not refused:
                self._give_up(since, f"the dask cluster at '{self._where}' has no workers; start some, then run again")
            elif refused and not self._greetings and self._events.empty():
                whole = "\n".join(each.removesuffix("; the others go on") for each in refused)
                raise UserError(f"no worker at '{self._where}' may train\n{whole}")
            try:
                event = self._events.get(timeout=0.5)
            except Empty:
                continue
            answer = self._take(event)
            if answer is not None and isinstance(answer[1], Changed) and answer[1].sentence:
                refused.append(answer[1].sentence)

    def _require_one_device(self) -> None:
        """Refuses workers of which some train on another kind of device; who comes later is held against the others."""
        devices = {worker.device: worker for worker in self._by_slot if worker.slot not in self._vacant}
        if len(devices) > 1:
            kinds = ", ".join(f"{device} at {worker.where}" for device, worker in sorted(devices.items()))
            raise UserError(f"the workers differ: {kinds}; trials of both are never mixed: use workers that are alike")
        self.program = {**program_of_workers(), "device": next(iter(devices))}

    def _give_up(self, since: float, sentence: str) -> None:
        """Ends a run that has waited long enough for a worker."""
        if len(self._vacant) < len(self._by_slot) or self._greetings:
            return
        reason = self._waiting.why_not()
        if reason or time.monotonic() - since > self._waiting.seconds:
            raise UserError(f"{sentence}{f' ({reason})' if reason else ''}")

    def _require_connection(self, future: Any) -> None:
        """Says that the scheduler is gone, if that cancelled a task; one that begins anew knows nothing of this run."""
        reason = getattr(getattr(future._state, "exception", None), "reason", "")
        if reason == "scheduler-connection-lost" or self._client.status != "running":
            raise UserError(GONE)

    # --- the end ---

    def close(self) -> None:
        """Ends the connection, and a cluster that was started for the run; others are left as they are.

        It may take seconds, which this process can use: it waits when it ends itself, at the latest.
        """
        self._resources.close()
        thread = threading.Thread(target=self._end, name="dlkit leaves its cluster", daemon=True)
        thread.start()
        atexit.register(thread.join, END_SECONDS)

    def _end(self) -> None:
        """Ends connection and jobs; what goes wrong there has no part in what was found."""
        try:
            self._connection.close()
        except Exception as error:
            note = f"note: the cluster could not be left ({type(error).__name__}: {error}); no result depends on it"
            print(note, file=sys.stderr)  # noqa: T201
