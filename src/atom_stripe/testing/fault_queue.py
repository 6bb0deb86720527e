"""Faults that wait for the calls of a store, and the calls that it got."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from atom_stripe.config import is_finite
from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


class _Fault(Protocol):
    @property
    def kind(self) -> Any: ...

    def matches(self, operation: Any) -> bool: ...


FaultT = TypeVar("FaultT", bound=_Fault)
CallT = TypeVar("CallT")


class FaultQueue(Generic[FaultT, CallT]):
    """Faults, each for one call, first come, first served. Any number of threads may call."""

    def __init__(self) -> None:
        self._waiting: list[FaultT] = []
        self._calls: list[CallT] = []
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget what is still waiting."""
        with self._lock:
            self._waiting.clear()

    @property
    def calls(self) -> Sequence[CallT]:
        """The calls so far, in order."""
        with self._lock:
            return tuple(self._calls)

    def __len__(self) -> int:
        """Return how many faults are still waiting."""
        return len(self._waiting)

    def _add(self, fault: FaultT, times: int) -> None:
        if times < 1:
            raise ConfigurationError("times= is 1 or more")
        with self._lock:
            self._waiting += [fault] * times

    def _take(self, operation: str, call: Callable[[Any], CallT]) -> FaultT | None:
        """Note what *call* makes of the kind of the fault that a call of *operation* meets; remove and return the fault."""
        with self._lock:
            found = next((index for index, fault in enumerate(self._waiting) if fault.matches(operation)), None)
            fault = None if found is None else self._waiting.pop(found)
            self._calls.append(call(None if fault is None else fault.kind))
        return fault


def check_fault(
    what: str, kind: object, kinds: Collection[str], *, operation: object, operations: Collection[str], seconds: float | None
) -> None:
    """Raise ``ConfigurationError`` for parameters of a fault that do not go together. *what*: whose fault it is."""
    if kind not in kinds:
        raise ConfigurationError(f"{what}'s fault is one of {', '.join(kinds)}")
    if operation is not None and operation not in operations:
        raise ConfigurationError(f"{what}'s operation is one of {', '.join(operations)}")
    if (kind == "delay") != (seconds is not None):
        raise ConfigurationError("seconds= goes with kind='delay', and the other way round")
    if seconds is not None and not (is_finite(seconds) and seconds >= 0):
        raise ConfigurationError("seconds= is 0 or more")
