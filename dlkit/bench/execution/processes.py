"""Worker processes of this machine as an executor: one a core, over inherited pipes; no port is opened.

A worker that ends under its task is told (`Lost`), with the trial that it had in hand, and replaced. One that trains a
trial for far longer than it may is ended, and so is one that takes more memory than it may.
"""

import os
import selectors
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress

from dlkit.bench.errors import UserError
from dlkit.bench.examination.costs import duration
from dlkit.bench.execution.executor import KEPT, Lost
from dlkit.bench.execution.in_hand import InHand, hanging
from dlkit.bench.execution.lease import Phase, Sign
from dlkit.bench.execution.messages import send
from dlkit.bench.execution.parcels import Parcel, pack
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.work import Done, Task, Timed
from dlkit.bench.execution.worker_handle import Ending, NurseryProcess, Printed, Worker, how_it_ended
from dlkit.bench.execution.worker_process import Own, Request
from dlkit.bench.machine.environment import own_cores
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.spec.bound_plan import OwnProblem

__all__ = ["ProcessExecutor"]

QUIET_SECONDS = 300.0  # without a sign: it is said, and again after twice as long
GRACE_SECONDS = 2.0  # that trials in hand have after Ctrl-C
LOOK_SECONDS = 0.5  # between looks at workers with a bound
MOST_STARTS = 3  # of workers that end before they do anything


class ProcessExecutor:
    """Runs tasks on processes of this machine, each with one thread and, where there are enough, a core of its own."""

    vacant: Collection[int] = ()
    program: Mapping[str, str] | None = None

    def __init__(
        self,
        *,
        workers: int | None = None,
        memory: int | None = None,
        worker_memory: int | None = None,
        bound_by: str = "worker_memory",
        pinned: bool = True,
        say: Callable[[str], None] = say,
        nursery: NurseryProcess | None = None,
    ) -> None:
        """Starts the workers, and does not wait until they are there.

        Args:
            workers: how many; None for one per core this process may use.
            memory: bytes that a worker's training examples may take; None for what suits its device.
            worker_memory: bytes of memory that a worker may have; None for no bound.
            bound_by: how messages call that bound.
            pinned: whether each worker has a core of its own, where there are enough.
            say: shows what workers print, and what is to be known of them.
            nursery: the workers' parent, if it was started before; None to start it now.
        """
        self._memory, self._worker_memory, self._bound_by, self._say = memory, worker_memory, bound_by, say
        self._cores, self._pinned = own_cores(), pinned and hasattr(os, "sched_setaffinity")
        self.slots = workers or len(self._cores)
        self._packed: dict[int, tuple[OwnProblem, Own]] = {}  # by the id of what is kept alive here
        self._own: dict[int, Own] = {}  # by number
        self._tasks: dict[int, InHand] = {}  # by the slot that has it in hand
        self._said: dict[int, float] = {}  # slot -> seconds of silence that were told
        self._found: list[tuple[int, Done | Timed | UserError | Lost]] = []
        self._useless = 0  # starts in a row that came to nothing
        self._given_up_at: float | None = None
        self._is_interrupted = self._has_stopped = False
        self._printed = {slot: Printed(f"worker {slot + 1}", say) for slot in range(self.slots)}
        self._resources = ExitStack()
        self._wake, self._woken = os.pipe()
        for each in (self._wake, self._woken):
            self._resources.callback(os.close, each)
            os.set_blocking(each, False)
        self._resources.enter_context(first_interrupt(lambda: os.write(self._woken, b"!")))
        self._nursery = nursery or NurseryProcess()
        self._begin()

    def _begin(self) -> None:
        """Asks for all workers."""
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._wake, selectors.EVENT_READ, ("wake", 0))
        self._ready.register(self._nursery.control, selectors.EVENT_READ, ("nursery", 0))
        self._ready.register(self._nursery.output, selectors.EVENT_READ, ("words", 0))
        self._words = Printed("the workers", self._say)
        self._workers = {slot: self._start(slot) for slot in range(self.slots)}

    def _start(self, slot: int) -> Worker:
        core = self._cores[slot % len(self._cores)] if self._pinned else None
        worker = Worker(self._nursery, slot, core)
        self._ready.register(worker.pipe, selectors.EVENT_READ, ("answer", slot))
        self._ready.register(worker.output, selectors.EVENT_READ, ("printed", slot))
        return worker

    # --- what is sent ---

    def submit(self, slot: int, work: Task) -> None:
        """Sends a task to the slot's worker; a problem of the user's own is sent there once.

        Raises:
            UserError: for what cannot be sent, with its name and module.
        """
        problem = work.problem.own
        parcel = pack(work.within(self._memory).with_own(None))
        if problem is not None and id(problem) not in self._packed:
            self._packed[id(problem)] = problem, Own(len(self._packed), pack(problem))
        self.hand_on(slot, InHand.of(work), parcel, None if problem is None else self._packed[id(problem)][1])

    def hand_on(self, slot: int, what: InHand, parcel: Parcel, own: Own | None = None) -> None:
        """Sends a task that is packed already.

        Args:
            slot: whose worker gets it.
            what: the task.
            parcel: the task, without a problem of the user's own.
            own: that problem, which is sent once; None where there is none.
        """
        if own is not None:
            self._own.setdefault(own.number, own)
        self._tasks[slot] = what
        self._send(slot, Request(parcel, None if own is None else own.number))

    def _send(self, slot: int, request: Request) -> None:
        """Sends a request; if nobody is there to read it, that is heard from the nursery."""
        worker = self._workers[slot]
        worker.request = request
        with suppress(OSError):
            if request.own is not None and request.own not in worker.owned:
                worker.owned.add(request.own)
                send(worker.pipe, self._own[request.own])
            send(worker.pipe, request)

    # --- what comes back ---

    def next(self, *, is_wanted: Callable[[], bool] | None = None) -> tuple[int, Done | Timed | UserError | Lost]:
        """Waits for any worker. The first Ctrl-C is raised here and nowhere else, so that it costs no answer.

        Trials in hand have a few seconds from then on; a worker that has not answered by then is given up.

        Args:
            is_wanted: asked now and then; where it says no, trials in hand are stopped as by Ctrl-C.

        Raises:
            UserError: if workers end before they do anything.
        """
        while True:
            if self._is_interrupted:
                self._is_interrupted = False
                raise KeyboardInterrupt
            if self._found:
                return self._found.pop(0)
            if is_wanted is not None and not self._has_stopped and not is_wanted():
                self._ask_to_stop()
            if self._given_up_at is not None and time.monotonic() > self._given_up_at:
                self._give_up()
                continue
            patience = self._patience(LOOK_SECONDS if is_wanted is not None else QUIET_SECONDS / 10)
            for key, _ in sorted(self._ready.select(patience), key=lambda each: each[0].data[0]):
                what, slot = key.data
                if self._ready.get_map().get(key.fd) is not key:
                    continue  # of a worker that has ended meanwhile
                _HEARING[what](self, slot)
            self._look_at_bounds()

    def _patience(self, longest: float) -> float | None:
        """How long nothing has to be looked at; None for as long as nothing comes."""
        if self._given_up_at is not None:
            return max(self._given_up_at - time.monotonic(), 0.01)
        if not self._tasks:
            return None
        bounded = any(task.patience is not None for task in self._tasks.values())
        return LOOK_SECONDS if bounded or self._worker_memory is not None else longest

    def _hear_ctrl_c(self, _: int) -> None:
        os.read(self._wake, 64)
        self._ask_to_stop()
        self._is_interrupted = True

    def _ask_to_stop(self) -> None:
        """Lets trials in hand stop where they can be kept, within a few seconds."""
        self._given_up_at, self._has_stopped = time.monotonic() + GRACE_SECONDS, True
        for worker in self._workers.values():
            worker.lease.stop()

    def _hear_words(self, _: int) -> None:
        """Hears what the workers' parent prints."""
        content = os.read(self._nursery.output, 2**16)
        if content:
            self._words.feed(content)
        else:
            self._ready.unregister(self._nursery.output)

    def _hear_printed(self, slot: int) -> None:
        content = self._workers[slot].printed()
        if content:
            self._printed[slot].feed(content)
        else:
            self._ready.unregister(self._workers[slot].output)

    def _hear_answer(self, slot: int) -> None:
        worker = self._workers[slot]
        try:
            answer = worker.answers.read()
        except (EOFError, OSError):  # it has ended, which the nursery says
            self._ready.unregister(worker.pipe)
            return
        if answer is None:  # there is more to come
            return
        self._useless = 0
        worker.request = None
        self._tasks.pop(slot, None)
        self._said.pop(slot, None)
        self._found.append((slot, answer))

    def _hear_nursery(self, _: int) -> None:
        heard = self._nursery.hear()
        if heard is None:
            self._start_again()
        elif isinstance(heard, Ending):
            slot = next((slot for slot, each in self._workers.items() if each.process == heard.process), None)
            if slot is not None:
                self._replace(slot, heard)
        else:
            slot, process = heard
            self._workers[slot].process = process

    # --- workers that end ---

    def _replace(self, slot: int, ending: Ending) -> None:
        """Starts another worker in the place of one that has ended, and says what became of its task."""
        worker = self._workers[slot]
        if worker.request is not None and worker.pipe in self._ready.get_map():
            self._hear_answer(slot)  # it had answered
        while content := worker.printed():
            self._printed[slot].feed(content)
        self._printed[slot].end()
        sign, request = worker.lease.read(), worker.request
        reason, kind = worker.ending or (how_it_ended(ending), "died")
        if request is None or sign.phase in (Phase.STARTING, Phase.WAITING):  # no fault of what it was to do
            self._useless += 1
            self._require_useful(f"a worker {reason}", self._printed[slot])
        self._forget(worker)
        self._workers[slot] = self._start(slot)
        if request is None:
            return
        if sign.phase in (Phase.STARTING, Phase.WAITING):
            self._send(slot, request)
            return
        task = self._tasks.pop(slot)
        self._said.pop(slot, None)
        self._found.append((slot, Lost(reason, task.trial(sign), kind)))

    @property
    def has_stopped(self) -> bool:
        """Whether workers were asked to stop: they do no more, until each is renewed."""
        return self._has_stopped

    def renew(self, slot: int) -> None:
        """Starts a new worker in the place of one, which knows nothing of what was done before, and has no task.

        Args:
            slot: whose.

        Raises:
            UserError: if workers end before they do anything.
        """
        while (process := self._workers[slot].process) is None:
            self._hear_nursery(0)
        self._nursery.kill(process)
        for number in self._workers[slot].owned:
            self._own.pop(number, None)
        self._forget(self._workers[slot])
        self._workers[slot] = self._start(slot)
        self._printed[slot] = Printed(f"worker {slot + 1}", self._say)
        self._tasks.pop(slot, None)
        self._said.pop(slot, None)
        self._found = [each for each in self._found if each[0] != slot]
        self._given_up_at, self._has_stopped = None, False

    def _start_again(self) -> None:
        """Starts everything anew after the workers' parent was ended, and its workers with it."""
        with suppress(OSError):
            self._words.feed(os.read(self._nursery.output, 2**16))
        self._words.end()
        self._useless += 1
        self._require_useful("their parent process ended", self._words)
        requests = {slot: each.request for slot, each in self._workers.items() if each.request is not None}
        for worker in self._workers.values():
            self._forget(worker)
        self._ready.close()
        self._nursery.close()
        self._nursery = NurseryProcess()
        self._begin()
        for slot, request in requests.items():
            self._send(slot, request)

    def _require_useful(self, what: str, printed: Printed) -> None:
        """Gives up if workers end again and again before they do anything."""
        if self._useless >= MOST_STARTS:
            words = f"; its last words: {' / '.join(printed.last)}" if printed.last else ""
            raise UserError(
                f"the workers end before they do anything, {self._useless} times by now: {what}{words}; {KEPT}, or "
                "without workers (--executor inline)"
            )

    def _forget(self, worker: Worker) -> None:
        for each in (worker.pipe, worker.output):
            if each in self._ready.get_map():
                self._ready.unregister(each)
        worker.close()

    def _give_up(self) -> None:
        """Ends the workers that have a task yet, a few seconds after Ctrl-C."""
        for slot in sorted(self._tasks):
            worker = self._workers[slot]
            if worker.process is not None:
                self._nursery.kill(worker.process)
            worker.request = None
            self._found.append((slot, Lost("was given up")))
        self._tasks.clear()
        self._given_up_at = None

    # --- workers that do not end ---

    def _look_at_bounds(self) -> None:
        """Ends workers that hang, or have more memory than they may; says of others that they are silent."""
        for slot in self._tasks:
            worker = self._workers[slot]
            if worker.process is None or worker.ending is not None:
                continue
            if self._worker_memory is not None and (used := worker.memory) > self._worker_memory:
                allowed = f"where {self._bound_by} allows {self._worker_memory / 2**30:.3g}"
                worker.ending = f"used {used / 2**30:.3g} GiB of memory, {allowed}, and was ended", "died"
            else:
                sign, seconds = worker.lease.read(), self._tasks[slot].patience
                worker.ending = None if seconds is None else hanging(sign, seconds, worker.answers.silent)
                self._say_if_silent(slot, sign)
            if worker.ending is not None:
                self._nursery.kill(worker.process)

    def _say_if_silent(self, slot: int, sign: Sign) -> None:
        """Says that a worker has given no sign for long; again when it is twice as long."""
        told = self._said.get(slot, 0.0)
        if sign.silent > max(QUIET_SECONDS, 2 * told) and sign.phase != Phase.WAITING:
            self._said[slot] = sign.silent
            whom = self._tasks[slot].label
            doing = "compiling" if sign.is_compiling else _DOING.get(sign.phase, "at")
            self._say(f"worker {slot + 1} has been {doing} {whom} for {duration(sign.silent)} without a sign")

    def close(self) -> None:
        """Ends the workers and whatever they started.

        Raises:
            TimeoutError: if they do not end.
        """
        self._resources.close()
        workers, self._workers = self._workers, {}
        for slot, worker in workers.items():
            while content := worker.printed():
                self._printed[slot].feed(content)
            self._printed[slot].end()
            worker.close()
        self._ready.close()
        self._nursery.close()


_HEARING: dict[str, Callable[[ProcessExecutor, int], None]] = {
    "answer": ProcessExecutor._hear_answer,
    "nursery": ProcessExecutor._hear_nursery,
    "printed": ProcessExecutor._hear_printed,
    "wake": ProcessExecutor._hear_ctrl_c,
    "words": ProcessExecutor._hear_words,
}
_DOING = {Phase.OPENING: "opening", Phase.PREPARING: "preparing", Phase.TRAINING: "training"}
