"""
Whose turn it is to write, where only one can.

SQLite lets one connection write at a time, and is not fair to those who wait: some wait for seconds. So the threads of a process stand in
line here. Whoever is first takes along what stands behind it, as one transaction: many small writes cost one visit to the disk, and a lone one
is done at once, in the thread that asked for it.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from threading import Event, Lock, get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from atom_stripe.stores._sql.database import Database
    from atom_stripe.stores._sql.sessions import Session

T = TypeVar("T")

_TOGETHER = 100  # writes in one transaction, at most
_PATIENCE = 30.0  # seconds in line, after which whoever is writing has got stuck


class _Ticket:
    """A place in the line. *work*: ``None`` for who wants to be alone."""

    __slots__ = ("called", "doing", "done", "error", "result", "work")

    def __init__(self, work: Callable[[Session], Any] | None, doing: str) -> None:
        self.work = work
        self.doing = doing
        self.called = Event()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None


class _Line:
    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = Lock()
        self.waiting: deque[_Ticket] = deque()
        self.served = 0  # tickets at the front that are being written
        self.alone: int | None = None  # the thread that is by itself


class Turns:
    """The line in front of *database*. A forked child begins with an empty one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._line = _Line()

    def run(self, work: Callable[[Session], T], doing: str) -> T:
        """
        Return what *work* returns in a transaction, perhaps together with the work of others. It may be run more than once.

        Raises:
            StoreError: It could not be done. The work of the others is not affected.
        """
        line, ticket = self._stand(work, doing)
        if not ticket.done:
            with line.lock:
                batch = self._together(line)
            self._write(line, batch)
        if ticket.error is not None:
            raise ticket.error
        result: T = ticket.result
        return result

    @contextmanager
    def alone(self, doing: str) -> Generator[None]:
        """
        Keep others of this process from writing meanwhile.

        Raises:
            StoreError: It was somebody else's turn for too long.
        """
        line, _ = self._stand(None, doing)
        try:
            line.served, line.alone = 1, get_ident()
            yield
        finally:
            line.alone = None
            self._leave(line)

    def _stand(self, work: Callable[[Session], Any] | None, doing: str) -> tuple[_Line, _Ticket]:
        """Stand in line; return when it is our turn, or when somebody has done our work."""
        if self._line.process != os.getpid():
            self._line = _Line()
        line, ticket = self._line, _Ticket(work, doing)
        if line.alone == get_ident():
            msg = f"the store could not {doing}: this thread is in a transaction of the store, and SQLite has one at a time; end it first"
            raise StoreError(msg, retryable=False)
        with line.lock:
            line.waiting.append(ticket)
            if len(line.waiting) == 1:
                return line, ticket
        try:
            called = ticket.called.wait(_PATIENCE)
        except BaseException:
            if not self._give_up(line, ticket) and not line.served:
                # It is our turn, and nobody else would end it.
                line.served = 1
                self._leave(line)
            raise
        if not called and self._give_up(line, ticket):
            msg = f"the store could not {doing}: somebody else has been writing for {_PATIENCE:.0f} seconds"
            raise StoreError(msg)
        ticket.called.wait()
        return line, ticket

    def _give_up(self, line: _Line, ticket: _Ticket) -> bool:
        """Leave the line, if our turn has not come. Returns whether it had not."""
        with line.lock:
            place = line.waiting.index(ticket) if ticket in line.waiting else 0
            if place < max(line.served, 1):
                return False
            del line.waiting[place]
            return True

    @staticmethod
    def _together(line: _Line) -> list[_Ticket]:
        batch: list[_Ticket] = []
        for ticket in line.waiting:
            if ticket.work is None or len(batch) == _TOGETHER:
                break
            batch.append(ticket)
        line.served = len(batch)
        return batch

    def _write(self, line: _Line, batch: Sequence[_Ticket]) -> None:
        try:
            self._try(batch)
        except BaseException:
            # Something like an interrupt: it is for the thread that writes, and the others must not wait for ever.
            for ticket in batch:
                if not ticket.done:
                    ticket.error = StoreError(f"the store could not {ticket.doing}: the thread that wrote was interrupted")
                    ticket.done = True
            raise
        finally:
            self._leave(line)

    def _try(self, batch: Sequence[_Ticket]) -> None:
        works = [ticket.work for ticket in batch if ticket.work is not None]
        try:
            results = self._database.transact(lambda session: [work(session) for work in works], batch[0].doing)
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            if len(batch) == 1:
                batch[0].error = error
                batch[0].done = True
                return
        else:
            for ticket, result in zip(batch, results, strict=True):
                ticket.result = result
                ticket.done = True
            return
        for ticket in batch:
            self._try([ticket])

    @staticmethod
    def _leave(line: _Line) -> None:
        """Make room, and call those whose work was done, and who is next."""
        with line.lock:
            left = [line.waiting.popleft() for _ in range(line.served)]
            line.served = 0
            if line.waiting:
                left.append(line.waiting[0])
        for ticket in left:
            ticket.called.set()
