"""What the suites of all stores stand on: making stores, letting callers loose on them, and comparing what comes back."""

from __future__ import annotations

import inspect
import sys
import threading
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atom_stripe.errors import AtomStripeError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

T = TypeVar("T")

# Stores may keep times as microseconds; a float of today is exact to a quarter of one.
_TIME_PRECISION = 1.5e-6
# Seconds for threads to begin in, and to run for before another has its turn.
PATIENCE = 30.0
_SWITCH_INTERVAL = 1e-5


class ConformanceError(AtomStripeError, AssertionError):
    """A store broke a promise. The message says which, and how."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise. *shared*: the stores that are made must be on the same place, as those of two processes are."""

    name: str
    promise: str
    shared: bool

    @property
    def __name__(self) -> str:
        """What pytest calls a test by."""
        return self.name

    @contextmanager
    def judged(self) -> Generator[None]:
        """Turn whatever goes wrong into a ``ConformanceError`` that names this promise."""
        try:
            yield
        except ConformanceError as error:
            msg = f"{self.name}: {error}"
            raise ConformanceError(msg) from None
        except Exception as error:
            msg = f"{self.name}: the store raised {type(error).__name__}"
            raise ConformanceError(msg) from error


def words(flow: Callable[..., Any]) -> tuple[str, str]:
    """Return the name of *flow* and the promise that its docstring gives."""
    return getattr(flow, "__name__", ""), (flow.__doc__ or "").strip()


class Stage:
    """It makes stores, and closes them at the end. *mark*: text that no other check has."""

    def __init__(self, make_store: Callable[[], Any]) -> None:
        self._make_store = make_store
        self._opened: list[Any] = []
        self.mark = uuid.uuid4().hex[:16]

    def made(self) -> Any:
        """Make a store."""
        store = self._make_store()
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Close what can be closed."""
        for store in self._opened:
            close = getattr(store, "close", None) or getattr(store, "aclose", None)
            if close is not None:
                closing = close()
                if inspect.isawaitable(closing):
                    await closing


class Outcome(Generic[T]):
    """What one of several callers got."""

    def __init__(self) -> None:
        self._values: list[T] = []
        self._error: Exception | None = None

    @contextmanager
    def caught(self) -> Generator[Callable[[T], None]]:
        """Keep an error for ``get()``, where the check waits for it; yields what to call with the value."""
        try:
            yield self._values.append
        except Exception as error:  # noqa: BLE001 - get() raises it
            self._error = error

    def get(self) -> T:
        if self._error is not None:
            raise self._error
        return self._values[0]


def in_threads(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do *works* at the same time, and return what they return."""
    # Nobody begins before all are there; a thread that never comes must not keep the others, or us, forever.
    barrier = threading.Barrier(len(works) + 1, timeout=PATIENCE)

    def settle(work: Callable[[], T], outcome: Outcome[T]) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
        with outcome.caught() as note:
            note(work())

    outcomes = [Outcome[T]() for _ in works]
    threads = [threading.Thread(target=settle, args=each, daemon=True) for each in zip(works, outcomes, strict=True)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    # Threads that take turns often meet in the gap between a comparison and a write, if there is one.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return [outcome.get() for outcome in outcomes]


def demand(kept: bool, broken: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not kept:
        raise ConformanceError(broken)


def same(before: object, after: object) -> bool:
    """Return whether a value came back as it was: of the same type, and times to the microsecond."""
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) < _TIME_PRECISION
    return type(before) is type(after) and before == after


def brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:40]}… ({len(shown)} characters)"
