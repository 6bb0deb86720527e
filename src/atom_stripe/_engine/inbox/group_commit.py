"""
Many callers, one commit.

A writer takes whatever has come in as one batch. There is no timer: a lone event waits for nothing, and the busier the store is, the larger the
batches become.
"""

from __future__ import annotations

import time
from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING

from atom_stripe._engine.inbox.pending import Pending
from atom_stripe._engine.process import PerProcess
from atom_stripe.errors import ClientClosedError, InboxBusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import Appended, Arrival, InboxStore, Refusal, Wake

    _Append = Callable[[Sequence[Arrival | Refusal]], Sequence[Appended | StoreError | None]]

_QUEUE = 10_000  # arrivals
_BATCH = 100
_STALL = 10.0  # seconds that a batch may take before nothing more is let in
_RETRY_AFTER = 5.0
_DRAIN = 10.0  # seconds

_FULL = "the inbox has no room for more events that wait to be stored"
_STALLED = "the inbox has been waiting for its store for too long"
_CLOSED = "this inbox is closed"
_ENDED = "the inbox was closed before the event was stored"
_BROKEN = "the store failed in a way of its own"


class _Writers:
    """The queue and the threads of one process."""

    def __init__(self, append: _Append, count: int, *, room: int, batch: int, retry_after: float) -> None:
        self._append = append
        self._room = room
        self._batch = batch
        self._retry_after = retry_after
        self._queue: deque[Pending] = deque()
        self._changed = Condition()
        self._threads: list[Thread | None] = [None] * count
        self._since: dict[int, float] = {}  # when a writer began with its batch
        self._idle = 0
        self._closed = False

    def put(self, delivery: Arrival | Refusal) -> Pending:
        pending = Pending(delivery)
        with self._changed:
            if self._closed:
                raise ClientClosedError(_CLOSED)
            if len(self._queue) >= self._room:
                raise InboxBusyError(_FULL, retry_after=self._retry_after)
            if len(self._since) == len(self._threads) and time.monotonic() - max(self._since.values()) > _STALL:
                raise InboxBusyError(_STALLED, retry_after=self._retry_after)
            self._queue.append(pending)
            if self._idle:
                self._changed.notify()
            else:
                self._start()
        return pending

    def _start(self) -> None:
        """Start one writer, if one has not been started, or has died."""
        for number, thread in enumerate(self._threads):
            if thread is None or not thread.is_alive():
                self._since.pop(number, None)
                started = Thread(target=self._run, args=(number,), name=f"atom-stripe-inbox-{number}", daemon=True)
                self._threads[number] = started
                started.start()
                return

    def _run(self, number: int) -> None:
        while True:
            with self._changed:
                self._since.pop(number, None)
                while not self._queue:
                    if self._closed:
                        return
                    self._idle += 1
                    try:
                        self._changed.wait()
                    finally:
                        self._idle -= 1
                taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
                self._since[number] = time.monotonic()
            batch = [pending for pending in taken if pending.begin()]
            if batch:
                self._write(batch)

    def _write(self, batch: Sequence[Pending]) -> None:
        """Store *batch* and tell each caller. Nothing that a store may raise ends the thread, or leaves a caller waiting."""
        try:
            results = self._append([pending.delivery for pending in batch])
            answers = list(zip(batch, results, strict=True))
        except (StoreError, InboxBusyError) as error:
            # One each: an error that several threads raise gathers the traces of all of them.
            for pending in batch:
                pending.end(_same(error))
        except BaseException as error:  # noqa: BLE001 - the thread belongs to the callers, and each is told
            for pending in batch:
                failed = StoreError(f"{_BROKEN}: {type(error).__name__}")
                failed.__cause__ = error
                pending.end(failed)
        else:
            for pending, result in answers:
                pending.end(result)

    def close(self, deadline: float) -> None:
        with self._changed:
            self._closed = True
            if self._queue:
                self._start()
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        for pending in left:
            if pending.begin():
                pending.end(InboxBusyError(_ENDED, retry_after=self._retry_after))


class GroupCommit:
    """
    Stores arrivals for any number of callers in batches. A forked child begins with an empty queue and writers of its own.

    *writers*: threads, each with a batch at a time; ``None`` for as many as the store says in ``writers``, else one. *room*: arrivals that may
    wait. *batch*: how many are stored at once, at most. *retry_after*: seconds, of the errors. *drain*: how many seconds ``close`` takes at
    most. *wake*: see ``InboxStore.append``. *committing*: told how large each batch is. Threads start with the first arrival.
    """

    def __init__(
        self,
        store: InboxStore,
        *,
        writers: int | None = None,
        room: int = _QUEUE,
        batch: int = _BATCH,
        retry_after: float = _RETRY_AFTER,
        drain: float = _DRAIN,
        wake: Wake | None = None,
        committing: Callable[[int], object] | None = None,
    ) -> None:
        self._drain = drain
        count = getattr(store, "writers", 1) if writers is None else writers

        def append(batch: Sequence[Arrival | Refusal]) -> Sequence[Appended | StoreError | None]:
            if committing is not None:
                committing(len(batch))
            return store.append(batch) if wake is None else store.append(batch, wake)

        self._writers = PerProcess(lambda: _Writers(append, count, room=room, batch=batch, retry_after=retry_after))

    def submit(self, delivery: Arrival | Refusal, /) -> Pending:
        """
        Have *delivery* stored, and return what will say what became of it. Never waits for the store.

        Who gives up waiting should cancel it: what has not been begun is not stored then.

        Raises:
            InboxBusyError: Too much is waiting, or the store does not answer. It was not taken.
            ClientClosedError: This is closed.
        """
        return self._writers.get().put(delivery)

    def close(self) -> None:
        """
        Take nothing more, store what is waiting, and stop, within *drain* seconds.

        What was not begun by then ends with ``InboxBusyError``. A batch that the store still has may yet be stored.
        """
        self._writers.get().close(time.monotonic() + self._drain)


def _same(error: StoreError | InboxBusyError) -> StoreError | InboxBusyError:
    if isinstance(error, StoreError):
        return StoreError(str(error), retryable=error.retryable)
    return InboxBusyError(str(error), retry_after=error.retry_after)
