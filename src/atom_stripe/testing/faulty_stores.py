"""
Token stores with bad days on demand: refusals, lost answers, lies and delays.

    store = FaultyTokenStore(MemoryTokenStore())
    store.faults.next(operation="save", kind="lose_answer")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from atom_stripe._engine.connect.ports import BlockingTokens
from atom_stripe._engine.drive import run
from atom_stripe._engine.ports import blocking_sleep, native_sleep
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.testing.fault_queue import FaultQueue, check_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from atom_stripe._engine.ports import Sleep
    from atom_stripe.protocols import AsyncTokenStore, Authorization, Reference, TokenQuery, TokenRecord, TokenStore

T = TypeVar("T")

StoreOperation = Literal["load", "save", "find", "load_authorization", "save_authorization"]
StoreFaultKind = Literal["fail", "lose", "lose_answer", "delay"]

_SAVES = {"save", "save_authorization"}


@dataclass(frozen=True, slots=True)
class StoreFault:
    """What one call will meet."""

    operation: StoreOperation | None
    kind: StoreFaultKind
    seconds: float

    def matches(self, operation: StoreOperation) -> bool:
        """Return whether this waits for a call of *operation*: only what writes can be lost."""
        return self.operation in {None, operation} and (self.kind != "lose" or operation in _SAVES)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """
    One call of a store, without what it carried.

    *subject*: the user's id that it was about, ``None`` for ``find``, and for ``load_authorization``, which is given a hash. *version*: the
    one that a save named. *fault*: the kind that it met.
    """

    operation: StoreOperation
    subject: str | None
    version: int | None
    fault: StoreFaultKind | None


class StoreFaults(FaultQueue[StoreFault, StoreCall]):
    """The faults of a store, each for one call, first come, first served. Any number of threads may call."""

    def next(
        self, *, kind: StoreFaultKind, operation: StoreOperation | None = None, seconds: float | None = None, times: int = 1
    ) -> None:
        """
        Let the next call fail, or the next *times* of them.

        *kind*: ``fail`` raises ``StoreError`` and does nothing; ``lose_answer`` does the work and then raises ``StoreError``; ``lose`` says that
        it saved, and did not; ``delay`` waits *seconds* before the work. *operation*: wait for a call of this method; without it any will do,
        and a save for ``lose``.

        Raises:
            ConfigurationError: These do not go together.
        """
        check_fault(
            "a store", kind, get_args(StoreFaultKind), operation=operation, operations=get_args(StoreOperation), seconds=seconds
        )
        if kind == "lose" and operation is not None and operation not in _SAVES:
            raise ConfigurationError("only save and save_authorization can lose what they were given")
        self._add(StoreFault(operation, kind, seconds or 0.0), times)

    def take(self, operation: StoreOperation, subject: str | None, version: int | None) -> StoreFault | None:
        """Note a call; remove and return the fault that it meets."""
        return self._take(operation, lambda kind: StoreCall(operation, subject, version, kind))


class _Faulty:
    """What both colours do, once."""

    def __init__(self, store: AsyncTokenStore, sleep: Sleep) -> None:
        self.faults = StoreFaults()
        self._store = store
        self._sleep = sleep

    async def load(self, reference: Reference) -> TokenRecord | None:
        return await self._call("load", lambda: self._store.load(reference), reference.user_id)

    async def save(self, record: TokenRecord) -> bool:
        return await self._call("save", lambda: self._store.save(record), record.user_id, record.version, lost=True)

    async def find(self, query: TokenQuery) -> Sequence[TokenRecord]:
        return await self._call("find", lambda: self._store.find(query))

    async def load_authorization(self, digest: str) -> Authorization | None:
        return await self._call("load_authorization", lambda: self._store.load_authorization(digest))

    async def save_authorization(self, row: Authorization) -> bool:
        return await self._call(
            "save_authorization", lambda: self._store.save_authorization(row), row.user_id, row.version, lost=True
        )

    async def _call(
        self,
        operation: StoreOperation,
        work: Callable[[], Coroutine[Any, Any, T]],
        subject: str | None = None,
        version: int | None = None,
        *,
        lost: T | None = None,
    ) -> T:
        fault = self.faults.take(operation, subject, version)
        kind = fault and fault.kind
        if kind == "fail":
            raise StoreError("the faulty store was told to fail")
        if kind == "lose" and lost is not None:
            return lost
        if fault is not None and kind == "delay":
            await self._sleep(fault.seconds)
        outcome = await work()
        if kind == "lose_answer":
            raise StoreError("the faulty store was told to lose its answer")
        return outcome


class FaultyTokenStore:
    """A ``TokenStore`` in front of *store*, which meets what ``faults`` holds and otherwise does what *store* does."""

    def __init__(self, store: TokenStore) -> None:
        self._faulty = _Faulty(BlockingTokens(store), blocking_sleep)

    @property
    def faults(self) -> StoreFaults:
        """Bad days on demand: ``store.faults.next(kind="fail")``."""
        return self._faulty.faults

    @property
    def calls(self) -> Sequence[StoreCall]:
        """The calls so far, in order."""
        return self._faulty.faults.calls

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """Load from the store behind."""
        return run(self._faulty.load(reference))

    def save(self, record: TokenRecord, /) -> bool:
        """Save to the store behind."""
        return run(self._faulty.save(record))

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Find in the store behind."""
        return run(self._faulty.find(query))

    def load_authorization(self, digest: str, /) -> Authorization | None:
        """Load from the store behind."""
        return run(self._faulty.load_authorization(digest))

    def save_authorization(self, authorization: Authorization, /) -> bool:
        """Save to the store behind."""
        return run(self._faulty.save_authorization(authorization))


class AsyncFaultyTokenStore:
    """An ``AsyncTokenStore`` in front of *store*, with faults as ``FaultyTokenStore`` has, under asyncio and trio."""

    def __init__(self, store: AsyncTokenStore) -> None:
        self._faulty = _Faulty(store, native_sleep)

    @property
    def faults(self) -> StoreFaults:
        """Bad days on demand: ``store.faults.next(kind="fail")``."""
        return self._faulty.faults

    @property
    def calls(self) -> Sequence[StoreCall]:
        """The calls so far, in order."""
        return self._faulty.faults.calls

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Load from the store behind."""
        return await self._faulty.load(reference)

    async def save(self, record: TokenRecord, /) -> bool:
        """Save to the store behind."""
        return await self._faulty.save(record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Find in the store behind."""
        return await self._faulty.find(query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """Load from the store behind."""
        return await self._faulty.load_authorization(digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """Save to the store behind."""
        return await self._faulty.save_authorization(authorization)
