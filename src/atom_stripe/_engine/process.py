"""What must not be shared between a process and the copy of it that ``fork`` makes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Generic, Self, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class ForkSafeLock:
    """A lock that is free in a forked child, even if another thread held it at the moment of the fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_error: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Forget the lock of the parent."""
        self._lock = threading.Lock()


_LOCKS: WeakSet[ForkSafeLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_LOCKS):
        lock.renew()


# Registering is the one thing done at import: it has no effect before a fork, and it cannot be done later.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class PerProcess(Generic[T]):
    """One value for each process, made when it is first asked for. Connections cannot be shared with a forked child."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = ForkSafeLock()
        self._made: tuple[int, T] | None = None
        # The parent's connections, kept from being closed here: closing them could say goodbye to Stripe in the parent's name.
        self._inherited: list[T] = []

    def get(self) -> T:
        """Return this process's value."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        with self._lock:
            made = self._made
            if made is None or made[0] != os.getpid():
                if made is not None:
                    self._inherited.append(made[1])
                made = self._made = (os.getpid(), self._make())
            return made[1]

    def pop(self) -> T | None:
        """Take this process's value out, if there is one."""
        with self._lock:
            made, self._made = self._made, None
            if made is not None and made[0] != os.getpid():
                self._inherited.append(made[1])
                return None
            return made and made[1]
