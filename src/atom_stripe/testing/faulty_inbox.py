"""
An inbox's store with bad days on demand: refusals, lost answers and delays.

    store = FaultyInboxStore(MemoryInboxStore())
    store.faults.next(operation="append", kind="lose_answer")
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.testing.fault_queue import FaultQueue, check_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from atom_stripe.protocols import (
        Appended,
        Arrival,
        AuditEntry,
        BundlingInboxStore,
        Delivery,
        InboxCounts,
        InboxQuery,
        InboxRecord,
        InboxStore,
        Nothing,
        Refusal,
        Step,
        Waiting,
        Wake,
    )

T = TypeVar("T")

InboxOperation = Literal[
    "append", "waiting", "claim", "advance", "extend", "release", "transaction", "commit", "find", "change", "purge", "counts", "log",
    "logged", "value", "keep", "delivered", "together",
]  # fmt: skip
"""A method of a store; ``transaction`` is the beginning of one, and ``commit`` its end, unless an exception ends it."""

InboxFaultKind = Literal["fail", "lose_answer", "delay"]

_FAILED = "the faulty inbox was told to fail"
_LOST = "the faulty inbox was told to lose its answer"


@dataclass(frozen=True, slots=True)
class InboxFault:
    """What one call will meet."""

    operation: InboxOperation | None
    kind: InboxFaultKind
    seconds: float

    def matches(self, operation: InboxOperation) -> bool:
        """Return whether this waits for a call of *operation*: the beginning of a transaction has no answer that could be lost."""
        return self.operation in {None, operation} and not (self.kind == "lose_answer" and operation == "transaction")


@dataclass(frozen=True, slots=True)
class InboxCall:
    """One call of a store, without what it carried. *fault*: the kind that it met."""

    operation: InboxOperation
    fault: InboxFaultKind | None


class InboxFaults(FaultQueue[InboxFault, InboxCall]):
    """The faults of an inbox's store, each for one call, first come, first served. Any number of threads may call."""

    def next(
        self, *, kind: InboxFaultKind, operation: InboxOperation | None = None, seconds: float | None = None, times: int = 1
    ) -> None:
        """
        Let the next call fail, or the next *times* of them.

        *kind*: ``fail`` raises ``StoreError`` and does nothing, at a ``commit`` it undoes everything; ``lose_answer`` does the work and then
        raises ``StoreError``; ``delay`` waits *seconds* before the work. *operation*: wait for a call of this method; without it any will do.

        Raises:
            ConfigurationError: These do not go together.
        """
        check_fault(
            "an inbox", kind, get_args(InboxFaultKind), operation=operation, operations=get_args(InboxOperation), seconds=seconds
        )
        if kind == "lose_answer" and operation == "transaction":
            raise ConfigurationError("a transaction loses its answer at the end: operation='commit'")
        self._add(InboxFault(operation, kind, seconds or 0.0), times)

    def take(self, operation: InboxOperation) -> InboxFault | None:
        """Note a call; remove and return the fault that it meets."""
        return self._take(operation, lambda kind: InboxCall(operation, kind))


class FaultyInboxStore:
    """An ``InboxStore`` in front of *store*, which meets what ``faults`` holds and otherwise does what *store* does."""

    def __init__(self, store: InboxStore) -> None:
        self.faults = InboxFaults()
        self._store = store

    @property
    def calls(self) -> Sequence[InboxCall]:
        """The calls so far, in order."""
        return self.faults.calls

    @property
    def wakes(self) -> bool:
        """Whether an engine can tell other processes of what is stored."""
        return getattr(self._store, "wakes", True)

    def append(self, arrivals: Sequence[Arrival | Refusal], wake: Wake | None = None, /) -> Sequence[Appended | StoreError | None]:
        """Append to the store behind."""
        return self._call("append", lambda: self._store.append(arrivals, *([] if wake is None else [wake])))

    def waiting(self, after: int, limit: int, /) -> Sequence[Waiting]:
        """Ask the store behind what waits."""
        return self._call("waiting", lambda: self._store.waiting(after, limit))

    def claim(self, lane: str, run: str, lease: float, /) -> InboxRecord | Nothing:
        """Claim from the store behind."""
        return self._call("claim", lambda: self._store.claim(lane, run, lease))

    def advance(self, step: Step, claim_next: float | None = None, /, *, connection: Any = None) -> InboxRecord | Nothing | None:
        """Write a step to the store behind."""
        return self._call("advance", lambda: self._store.advance(step, claim_next, connection=connection))

    @property
    def bundles(self) -> bool:
        """Whether several events share a transaction in the store behind."""
        return getattr(self._store, "bundles", False)

    def together(
        self, steps: Sequence[Step], claims: Mapping[str, str], lease: float, fits: Callable[[str], bool], /
    ) -> tuple[Sequence[Step], Mapping[str, InboxRecord | Nothing | None]]:
        """Write steps to the store behind, and claim from it."""
        store = cast("BundlingInboxStore", self._store)
        return self._call("together", lambda: store.together(steps, claims, lease, fits))

    def extend(self, runs: Sequence[str], lease: float, /) -> None:
        """Extend claims in the store behind."""
        self._call("extend", lambda: self._store.extend(runs, lease))

    def release(self, run: str, /) -> None:
        """Release a claim in the store behind."""
        self._call("release", lambda: self._store.release(run))

    @contextmanager
    def transaction(self) -> Generator[Any]:
        """Open a transaction of the store behind; its end, unless an exception ends it, meets the faults of ``commit``."""
        self._call("transaction", lambda: None)
        with self._store.transaction() as connection:
            yield connection
            fault = self._begin("commit")
        self._end(fault)

    def find(self, query: InboxQuery, /) -> Sequence[InboxRecord]:
        """Find in the store behind."""
        return self._call("find", lambda: self._store.find(query))

    def change(
        self, ids: Sequence[int], change: Callable[[InboxRecord], InboxRecord | None], entry: AuditEntry | None = None, /
    ) -> Sequence[InboxRecord]:
        """Change events in the store behind."""
        return self._call("change", lambda: self._store.change(ids, change, entry))

    def purge(self, before: float, limit: int, /) -> int:
        """Purge the store behind."""
        return self._call("purge", lambda: self._store.purge(before, limit))

    def counts(self) -> InboxCounts:
        """Count in the store behind."""
        return self._call("counts", self._store.counts)

    def log(self, entry: AuditEntry, /) -> None:
        """Write an audit entry to the store behind."""
        self._call("log", lambda: self._store.log(entry))

    def delivered(self, id: int, limit: int, /) -> Sequence[Delivery]:
        """Read deliveries from the store behind."""
        return self._call("delivered", lambda: self._store.delivered(id, limit))

    def logged(self, after: int, limit: int, /) -> Sequence[tuple[int, AuditEntry]]:
        """Read audit entries from the store behind."""
        return self._call("logged", lambda: self._store.logged(after, limit))

    def value(self, name: str, /) -> str | None:
        """Read a value from the store behind."""
        return self._call("value", lambda: self._store.value(name))

    def keep(self, name: str, value: str | None, /) -> None:
        """Keep a value in the store behind."""
        self._call("keep", lambda: self._store.keep(name, value))

    def _call(self, operation: InboxOperation, work: Callable[[], T]) -> T:
        fault = self._begin(operation)
        outcome = work()
        self._end(fault)
        return outcome

    def _begin(self, operation: InboxOperation) -> InboxFault | None:
        fault = self.faults.take(operation)
        if fault is not None and fault.kind == "fail":
            raise StoreError(_FAILED)
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)
        return fault

    def _end(self, fault: InboxFault | None) -> None:
        if fault is not None and fault.kind == "lose_answer":
            raise StoreError(_LOST)
