"""What a caller of the group commit holds in its hand."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.protocols import Appended, Arrival, Refusal


class Pending:
    """
    A delivery on its way into the store. It ends whatever happens to the writer.

    It is what a ``Future`` is, with plain locks: a ``Future`` makes a condition, and who waits for that waits for two locks one after the other.
    """

    __slots__ = ("_answer", "_callbacks", "_ended", "_has_ended", "_turn", "delivery")

    def __init__(self, delivery: Arrival | Refusal) -> None:
        self.delivery = delivery
        self._ended = Lock()
        self._ended.acquire()
        self._has_ended = False
        self._turn = Lock()
        self._answer: Appended | BaseException | None = None
        self._callbacks: list[Callable[[Pending], object]] = []

    def begin(self) -> bool:
        """Return whether it is to be stored: whoever has given up waiting was told that it is not."""
        return self._turn.acquire(blocking=False)

    def cancel(self) -> bool:
        """Keep it from being stored, if that has not begun. Returns whether it had not."""
        if not self._turn.acquire(blocking=False):
            return False
        self.end(CancelledError())
        return True

    def end(self, answer: Appended | BaseException | None) -> None:
        """Tell whoever waits what became of it."""
        self._answer = answer
        self._has_ended = True
        self._ended.release()
        self._call()

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._has_ended

    @property
    def stored(self) -> Appended | None:
        """What became of it, if it has ended in the store."""
        return None if isinstance(self._answer, BaseException) else self._answer

    def result(self, timeout: float | None = None) -> Appended | None:
        """
        Wait until it has ended, and return what became of it; ``None`` for a refusal.

        Raises:
            TimeoutError: It has not, within *timeout* seconds.
            CancelledError: It was cancelled.
            StoreError: It was not stored, or that is not known.
        """
        if not self._ended.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        self._ended.release()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def add_done_callback(self, call: Callable[[Pending], object]) -> None:
        """Have *call* called when it has ended, in the thread of the writer or, if it has already, in this one. It must not raise."""
        self._callbacks.append(call)
        if self.done():
            self._call()

    def _call(self) -> None:
        while self._callbacks:
            # Two threads may be here at once, and each takes what the other one has not taken.
            with suppress(IndexError):
                self._callbacks.pop()(self)
