"""Where events are kept until they have been handled, and afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from atom_stripe.errors import StoreError
    from atom_stripe.protocols.engines import Wake

EventStatus = Literal["pending", "done", "parked", "discarded"]
"""
What became of a stored event. ``pending``: handlers have yet to run, or run again; ``done``: nothing is left to do; ``parked``: a handler gave up
and none is pending; ``discarded``: somebody decided that nothing more is to be done.
"""

HandlerStatus = Literal["pending", "done", "parked", "discarded"]

DeliveryOutcome = Literal["stored", "duplicate", "requeued", "refused"]
"""What became of one delivery. ``requeued``: a duplicate of an event that was parked, which is tried again."""

EVENT_STATUSES: tuple[EventStatus, ...] = get_args(EventStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerState:
    """
    How far one handler is with one event. *attempts*: how often it was begun, counted before it runs. *due_at*: not before this moment.
    *error*: why it failed last: a type and a shortened message. Times are seconds since 1970.
    """

    status: HandlerStatus = "pending"
    attempts: int = 0
    due_at: float | None = None
    error: str | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    A verified event on its way into the store.

    *account*: the connected account that it arose in, ``""`` for the platform's own. *lane*: events of one lane are handled one at a time, in the
    order in which they arrived. *payload*: the exact bytes. *endpoint*: the name of ours at which it came in, or ``"reconcile"``.
    """

    event_id: str
    type: str
    account: str
    livemode: bool
    lane: str
    payload: bytes = field(repr=False)
    endpoint: str
    received_at: float
    api_version: str | None = None
    created: float | None = None
    object_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A delivery that was not accepted. *reason*: the name of the error; nothing of what was sent is kept."""

    endpoint: str
    reason: str
    received_at: float


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one arrival. *id*: of the stored row, in order of arrival; of the earlier row for a duplicate. *lane*: of that row."""

    outcome: DeliveryOutcome
    id: int
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRecord:
    """
    One stored event. Times are seconds since 1970.

    *id*: counts up in order of arrival. *payload*: ``None`` once it was purged. *handlers*: by name, those that have begun or whose state was set.
    *due_at*: when the earliest pending handler is due, ``None`` for at once. *attempts*: how often it was claimed. *run*, *run_until*: who is at
    work on it, and until when nobody else will be. *finished_at*: since when it is done, discarded or parked; ``None`` while it is pending.
    """

    id: int
    event_id: str
    type: str
    account: str
    livemode: bool
    lane: str
    endpoint: str
    status: EventStatus
    received_at: float
    payload: bytes | None = field(default=None, repr=False)
    api_version: str | None = None
    created: float | None = None
    object_id: str | None = None
    handlers: Mapping[str, HandlerState] = field(default_factory=dict)
    due_at: float | None = None
    attempts: int = 0
    run: str | None = None
    run_until: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """
    That a lane has nothing to claim. *due_at*: when its head is due, or its holder's time is up, by the clock of the store; ``None`` if
    the lane is empty. *now*: the store's time.
    """

    due_at: float | None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    What became of a claimed event so far.

    *run*: who claimed it. *handlers*: all states, as they are now. *status*, *due_at*: those of the event. *lane*: another lane for it, so that it no
    longer holds up its own. *keep*: go on holding it, for another handler; otherwise the claim ends.
    """

    id: int
    run: str
    handlers: Mapping[str, HandlerState]
    status: EventStatus
    due_at: float | None = None
    lane: str | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxQuery:
    """
    Which events to find: those that meet everything given here, ids above *after*, *limit* at most, in the order of their ids.

    *received_after* includes its moment, *received_before* does not. *handler*: events that have a state of a handler of this name.
    """

    status: EventStatus | None = None
    types: frozenset[str] | None = None
    account: str | None = None
    livemode: bool | None = None
    event_id: str | None = None
    object_id: str | None = None
    lane: str | None = None
    handler: str | None = None
    received_after: float | None = None
    received_before: float | None = None
    after: int = 0
    limit: int = 100
    payloads: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending event, as far as a scheduler needs it. *run_until*: when the claim on it ends, if there is one."""

    id: int
    lane: str
    due_at: float | None
    run_until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """
    How full an inbox is. *oldest_pending_at*: when the oldest pending event arrived. *delayed*: pending ones that wait for another attempt.
    """

    pending: int
    parked: int
    delayed: int = 0
    running: int = 0
    oldest_pending_at: float | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of an operator or of the inbox itself. *subject*: what it was done to. *detail*: what else, without payloads or secrets."""

    at: float
    actor: str
    action: str
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery of a stored event. *at*: when it came. *endpoint*: the name of ours at which it did."""

    at: float
    endpoint: str
    outcome: DeliveryOutcome


class InboxStore(Protocol):
    """
    Where events are kept. Its methods are called from many threads.

    Promises: what ``append`` returned survives a crash, once for each account, mode and event id, however many deliveries come at once. Of one
    lane, at most one event is claimed at a time, the earliest pending one first, in all processes. A claim ends by ``advance``, ``release`` or by its
    lease, measured by the store's clock; whoever lost it writes nothing more. A store that cannot do its work raises ``StoreError``.
    """

    def append(self, arrivals: Sequence[Arrival | Refusal], wake: Wake | None = None, /) -> Sequence[Appended | StoreError | None]:
        """
        Store *arrivals* durably, and return for each what became of it; ``None`` for a refusal.

        Every one leaves a row in the log of deliveries. An arrival that the database does not take fails alone: its entry is the error,
        and the others are stored. A duplicate of a parked event makes its parked handlers pending again, unless the event could not be read.
        *wake* is called inside the transaction, with the lanes in which there is something new to do; if it raises, nothing is stored. Instead of
        being called, a ``SqlWake`` may be part of the statement that stores an event. No event is stored without its wake-up.
        """
        ...

    def waiting(self, after: int, limit: int, /) -> Sequence[Waiting]:
        """Return the pending events with ids above *after*, in the order of their ids."""
        ...

    def claim(self, lane: str, run: str, lease: float, /) -> InboxRecord | Nothing:
        """
        Claim the head of *lane* under the name *run* for *lease* seconds, count the attempt, and return it with its payload.

        Durable before it returns. Nothing is claimed while another event of the lane is, or before the head is due.
        """
        ...

    def advance(self, step: Step, claim_next: float | None = None, /, *, connection: Any = None) -> InboxRecord | Nothing | None:
        """
        Write *step*, if its claim still holds: one whose time is up is lost even if nobody took it. With *claim_next*, claim the next head of the
        lane that the event was in before the step, in the same transaction, under the same name and for that many seconds, and return it.

        *connection*: one that ``transaction()`` gave: the step then becomes part of that transaction, and nothing is claimed.

        Raises:
            ClaimLostError: Another run has taken over. Nothing was written.
        """
        ...

    def extend(self, runs: Sequence[str], lease: float, /) -> None:
        """Let the claims of *runs* last *lease* seconds from now on, those that still hold."""
        ...

    def release(self, run: str, /) -> None:
        """End the claim of *run*, if it still holds, without counting it as an attempt of a handler."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction for a handler: yields the connection, commits at the end, and undoes everything after an exception."""
        ...

    def find(self, query: InboxQuery, /) -> Sequence[InboxRecord]:
        """Return the events that *query* asks for."""
        ...

    def change(
        self, ids: Sequence[int], change: Callable[[InboxRecord], InboxRecord | None], entry: AuditEntry | None = None, /
    ) -> Sequence[InboxRecord]:
        """
        Change the handlers, status, due_at and lane of events that nobody has claimed, each as *change* returns it (``None`` leaves it), and
        write *entry* in the same transaction. Returns those that were changed; a claimed one is not among them.
        """
        ...

    def purge(self, before: float, limit: int, /) -> int:
        """Empty the payloads of up to *limit* events that were done or discarded before this moment; their ids stay. Returns how many."""
        ...

    def counts(self) -> InboxCounts:
        """Return how full the inbox is."""
        ...

    def log(self, entry: AuditEntry, /) -> None:
        """Write an audit entry."""
        ...

    def logged(self, after: int, limit: int, /) -> Sequence[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, above *after*, in order."""
        ...

    def delivered(self, id: int, limit: int, /) -> Sequence[Delivery]:
        """Return the deliveries of the event with that id, *limit* at most, in the order in which they came. Those that were purged are gone."""
        ...

    def value(self, name: str, /) -> str | None:
        """Return what was kept under *name*: cursors of a reconciliation, handlers that are paused."""
        ...

    def keep(self, name: str, value: str | None, /) -> None:
        """Keep *value* under *name*; ``None`` forgets it."""
        ...


class BundlingInboxStore(InboxStore, Protocol):
    """
    A store that can also write, and claim, for several events in one transaction. Optional: with another one every event has transactions of its own.

    *bundles*: whether it does; an ``InboxStore`` without this attribute does not.
    """

    @property
    def bundles(self) -> bool:
        """Whether ``together`` is to be called."""
        ...

    def together(
        self, steps: Sequence[Step], claims: Mapping[str, str], lease: float, fits: Callable[[str], bool], /
    ) -> tuple[Sequence[Step], Mapping[str, InboxRecord | Nothing | None]]:
        """
        Write *steps*, each if its claim still holds, and then claim heads of lanes for *lease* seconds, all in one transaction.

        *claims*: the lanes, and under which name to claim in each. Only a fresh head is claimed: one that nobody has ever claimed, of which no
        handler has a state, that has no time to be due, and whose type *fits*. *fits* may be called more than once, and must not call the store.

        Returns the steps that were not written, because their claims are lost; and for each lane what ``claim()`` would have returned, or
        ``None`` for a head that may be claimed, but only with ``claim()``.
        """
        ...
