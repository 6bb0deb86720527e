"""The rows of an inbox in memory, and what becomes of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from atom_stripe._engine.inbox.values import UNPARSABLE
from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import ClaimLostError
from atom_stripe.protocols import HandlerState, InboxRecord, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atom_stripe.protocols import Arrival, AuditEntry, DeliveryOutcome, InboxQuery, Step

_FINISHED = frozenset({"done", "discarded"})
_LOST = "another run has taken over the event, or the claim on it has ended; nothing was written"


class LoggedDelivery(NamedTuple):
    """One delivery. *event*: the id of the stored row, ``None`` for a refusal. *reason*: why it was refused."""

    at: float
    endpoint: str
    outcome: DeliveryOutcome
    event: int | None
    reason: str


class InboxRows:
    """The rows, and the indexes over them. Callers hold the lock."""

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.events: dict[int, InboxRecord] = {}
        self.ids: dict[tuple[str, bool, str], int] = {}
        # Ids of pending events, sorted: all of them, and by lane.
        self.pending: list[int] = []
        self.lanes: dict[str, list[int]] = {}
        # Ids of events that carry a claim, by lane; its time may be up.
        self.claimed: dict[str, set[int]] = {}
        self.deliveries: list[LoggedDelivery] = []
        self.audit: list[AuditEntry] = []
        self.values: dict[str, str] = {}
        self.effects: list[Any] = []

    def put(self, row: InboxRecord) -> InboxRecord:
        before = self.events.get(row.id)
        if before is not None:
            self._unlist(before)
        self.events[row.id] = row
        if row.status == "pending":
            insort(self.pending, row.id)
            insort(self.lanes.setdefault(row.lane, []), row.id)
        if row.run is not None:
            self.claimed.setdefault(row.lane, set()).add(row.id)
        return row

    def _unlist(self, row: InboxRecord) -> None:
        if row.status == "pending":
            for ids in (self.pending, self.lanes[row.lane]):
                del ids[bisect_left(ids, row.id)]
            if not self.lanes[row.lane]:
                del self.lanes[row.lane]
        if row.run is not None:
            self.claimed[row.lane].remove(row.id)
            if not self.claimed[row.lane]:
                del self.claimed[row.lane]

    def claims(self, lane: str, now: float) -> list[InboxRecord]:
        return [row for row in map(self.events.__getitem__, self.claimed.get(lane, ())) if is_held(row, now)]

    def of(self, run: str, now: float) -> list[InboxRecord]:
        claimed = (self.events[id_] for ids in self.claimed.values() for id_ in ids)
        return [row for row in claimed if row.run == run and is_held(row, now)]

    def claim(self, lane: str, run: str, lease: float, now: float) -> InboxRecord | Nothing:
        held = [row.run_until for row in self.claims(lane, now) if row.run_until is not None]
        if held:
            return Nothing(max(held), now)
        if lane not in self.lanes:
            return Nothing(None, now)
        head = self.events[self.lanes[lane][0]]
        if head.due_at is not None and head.due_at > now:
            return Nothing(head.due_at, now)
        return copied(self.put(replace(head, attempts=head.attempts + 1, run=run, run_until=now + lease)))

    def claim_fresh(
        self, lane: str, run: str, lease: float, now: float, fits: Callable[[str], bool]
    ) -> InboxRecord | Nothing | None:
        head = self.events[self.lanes[lane][0]] if lane in self.lanes else None
        fresh = head is None or (head.attempts == 0 and not head.handlers and head.due_at is None and fits(head.type))
        if fresh or self.claims(lane, now) or (head is not None and head.due_at is not None and head.due_at > now):
            return self.claim(lane, run, lease, now)
        return None

    def holds(self, step: Step, now: float) -> bool:
        row = self.events.get(step.id)
        return row is not None and row.run == step.run and is_held(row, now)

    def step(self, step: Step, row: InboxRecord | None, now: float) -> InboxRecord:
        """Return *row* as *step* leaves it; nothing is written."""
        if row is None or row.run != step.run or not is_held(row, now):
            raise ClaimLostError(_LOST)
        return replace(
            row,
            handlers=dict(step.handlers),
            status=step.status,
            due_at=step.due_at,
            lane=row.lane if step.lane is None else step.lane,
            run=row.run if step.keep else None,
            run_until=row.run_until if step.keep else None,
            finished_at=finished_at(row, step.status, now),
        )

    def steps(self, steps: Sequence[Step], now: float) -> dict[int, InboxRecord]:
        """Return the rows as *steps* leave them, one after the other; nothing is written."""
        rows: dict[int, InboxRecord] = {}
        for step in steps:
            rows[step.id] = self.step(step, rows.get(step.id, self.events.get(step.id)), now)
        return rows


def new_record(id_: int, arrival: Arrival) -> InboxRecord:
    return InboxRecord(
        id=id_,
        event_id=arrival.event_id,
        type=arrival.type,
        account=arrival.account,
        livemode=arrival.livemode,
        lane=arrival.lane,
        endpoint=arrival.endpoint,
        status="pending",
        received_at=arrival.received_at,
        payload=bytes(arrival.payload),
        api_version=arrival.api_version,
        created=arrival.created,
        object_id=arrival.object_id,
    )


def requeued(row: InboxRecord) -> InboxRecord | None:
    """Return *row* as a duplicate leaves it: its parked handlers are pending. ``None`` if nothing is; bytes that are no event stay parked."""
    if row.status != "parked" or row.type == UNPARSABLE:
        return None
    return replace(
        row,
        status="pending",
        due_at=None,
        finished_at=None,
        handlers={
            name: HandlerState(error=state.error) if state.status == "parked" else state for name, state in row.handlers.items()
        },
    )


def copied(row: InboxRecord, *, payload: bool = True) -> InboxRecord:
    # Handlers are copied: what a caller does to them must not reach the row.
    handlers: Mapping[str, HandlerState] = dict(row.handlers)
    return replace(row, handlers=handlers, payload=row.payload if payload else None)


def is_held(row: InboxRecord, now: float) -> bool:
    return row.run_until is not None and row.run_until > now


def finished_at(row: InboxRecord, status: str, now: float) -> float | None:
    if status == "pending":
        return None
    return row.finished_at if row.status == status else now


def is_purgeable(row: InboxRecord, before: float) -> bool:
    return row.status in _FINISHED and row.payload is not None and row.finished_at is not None and row.finished_at < before


def is_text(arrival: Arrival) -> bool:
    texts = (
        arrival.event_id,
        arrival.type,
        arrival.account,
        arrival.lane,
        arrival.endpoint,
        arrival.api_version,
        arrival.object_id,
    )
    try:
        "".join(text for text in texts if text is not None).encode()
    except UnicodeEncodeError:
        return False
    return True


def matches(query: InboxQuery, row: InboxRecord) -> bool:
    return (
        row.id > query.after
        and query.status in {None, row.status}
        and (query.types is None or row.type in query.types)
        and query.account in {None, row.account}
        and query.livemode in {None, row.livemode}
        and query.event_id in {None, row.event_id}
        and query.object_id in {None, row.object_id}
        and query.lane in {None, row.lane}
        and (query.handler is None or query.handler in row.handlers)
        and (query.received_after is None or row.received_at >= query.received_after)
        and (query.received_before is None or row.received_at < query.received_before)
    )
