"""Finding, changing, purging and counting events."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from atom_stripe.protocols import EVENT_STATUSES, AuditEntry, HandlerState, InboxQuery
from atom_stripe.testing._conformance.inbox_keeping import last_number
from atom_stripe.testing._conformance.inbox_place import (
    DONE,
    LONG,
    NOW,
    append,
    appended,
    claimed,
    compare_handlers,
    near,
    outcomes,
    record,
    step,
)
from atom_stripe.testing._conformance.stage import ConformanceError, demand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.protocols import Arrival, EventStatus, InboxRecord, InboxStore
    from atom_stripe.testing._conformance.inbox_place import InboxPlace


def finds_by_every_field(place: InboxPlace) -> None:
    """``find`` returns the events that meet everything in the query and no others; ``received_after`` includes its moment, the end does not."""
    store = place.open()
    other = f"{place.account} 2"
    object_id = f"in_{place.mark}"
    arrivals = [
        place.arrival("a", lane=place.lane("a"), object_id=object_id),
        place.arrival("b", lane=place.lane("b"), type="charge.failed", received_at=NOW + 10),
        place.arrival("c", lane=place.lane("c"), livemode=True, object_id=object_id.upper(), received_at=NOW + 20.5),
        place.arrival("a", lane=place.lane("d"), account=other, type="invoice.paid.not"),
        place.arrival("A", lane=place.lane("A"), account=place.account.upper(), received_at=NOW + 30),
        place.arrival("a", lane=place.lane("e"), livemode=True, type="Invoice.paid"),
    ]
    ids = append(store, *arrivals)
    _try_queries(place, store, arrivals, ids)
    statuses: list[tuple[EventStatus, dict[str, HandlerState]]] = [
        ("done", {"h": HandlerState(status="done")}),
        ("parked", {"h": HandlerState(status="parked"), "i": HandlerState(status="done")}),
        ("discarded", {"hh": HandlerState(status="discarded")}),
        ("pending", {"%": HandlerState(), 'a"b\\': HandlerState(error='"c":{"status"')}),
    ]
    for (status, handlers), arrival in zip(statuses, arrivals, strict=False):
        row = store.claim(arrival.lane, "r", LONG)
        store.advance(step(claimed(row, ids[arrivals.index(arrival)], "r"), status, handlers=handlers))
    _try_queries(place, store, arrivals, ids)


def _try_queries(place: InboxPlace, store: InboxStore, arrivals: Sequence[Arrival], ids: Sequence[int]) -> None:
    first = arrivals[0]
    queries = [
        InboxQuery(),
        *(InboxQuery(status=status) for status in EVENT_STATUSES),
        InboxQuery(types=frozenset(["invoice.paid"])),
        InboxQuery(types=frozenset(["invoice.paid", "charge.failed", "unknown"])),
        InboxQuery(types=frozenset()),
        *(InboxQuery(account=arrival.account) for arrival in arrivals),
        *(InboxQuery(livemode=mode) for mode in (False, True)),
        InboxQuery(event_id=first.event_id),
        InboxQuery(event_id=first.event_id, account=first.account, livemode=True),
        InboxQuery(object_id=first.object_id),
        *(InboxQuery(lane=place.lane(name)) for name in ("a", "A", "never")),
        *(InboxQuery(handler=name) for name in ("h", "i", "hh", "%", 'a"b\\', "c", "nobody")),
        *(InboxQuery(received_after=NOW + moment) for moment in (5, 10, 10.5, 25)),
        *(InboxQuery(received_before=NOW + moment) for moment in (5, 10, 20.5, 31)),
        InboxQuery(received_after=NOW + 5, received_before=NOW + 20.5),
        InboxQuery(status="done", handler="h", account=first.account, livemode=False, lane=first.lane),
        InboxQuery(status="parked", handler="hh"),
        InboxQuery(after=ids[2]),
    ]
    rows = {id_: record(store, id_) for id_ in ids}
    for query in queries:
        asked = ", ".join(f"{part.name}=…" for part in fields(query) if getattr(query, part.name) != part.default)
        found = [row for row in _pages(store, replace(query, after=max(query.after, ids[0] - 1))) if row.id in rows]
        expected = [id_ for id_, row in rows.items() if id_ > query.after and _meets(query, row)]
        demand([row.id for row in found] == expected, f"find({asked}) did not return the events that meet the query")
        demand(all(row == rows[row.id] for row in found), f"find({asked}) returned an event that differs")


def _meets(query: InboxQuery, row: InboxRecord) -> bool:
    asked = ("status", "account", "livemode", "event_id", "object_id", "lane")
    return (
        all(getattr(query, name) in {None, getattr(row, name)} for name in asked)
        and (query.types is None or row.type in query.types)
        and (query.handler is None or query.handler in row.handlers)
        and (query.received_after is None or row.received_at >= query.received_after)
        and (query.received_before is None or row.received_at < query.received_before)
    )


def _pages(store: InboxStore, query: InboxQuery) -> list[InboxRecord]:
    found: list[InboxRecord] = []
    while True:
        page = store.find(query)
        demand(len(page) <= query.limit, f"find() with limit={query.limit} returned {len(page)} events")
        found += page
        if len(page) < query.limit:
            return found
        demand(page[-1].id > query.after, "find() with after= returned events up to that id again")
        query = replace(query, after=page[-1].id)


def finds_in_order(place: InboxPlace) -> None:
    """``find`` returns events in the order of their ids, *limit* at most, and goes on behind *after*."""
    store = place.open()
    # Neither the order of their names nor that of their times.
    arrivals = [place.arrival(name, received_at=NOW - index) for index, name in enumerate(["z", "_", "a", "10", "9", "B", "b"])]
    ids = append(store, *arrivals)
    row = claimed(store.claim(place.lane(), "r", LONG), ids[0], "r")
    store.advance(step(row, "pending"))
    for limit in (1, 3, len(ids), 100):
        query = InboxQuery(account=place.account, limit=limit)
        page = [row.id for row in store.find(query)]
        demand(page == ids[:limit], f"find(limit={limit}) did not return the first events in the order of their ids")
        demand(
            [row.id for row in _pages(store, query)] == ids,
            f"pages of {limit} did not show each event once, in the order of their ids",
        )
    for after, expected in ((ids[2], ids[3:]), (ids[-1], []), (0, ids)):
        found = [row.id for row in store.find(InboxQuery(account=place.account, after=after))]
        demand(found == expected, "find(after=…) did not go on behind that id")


def changes_the_unclaimed(place: InboxPlace) -> None:
    """``change`` writes handlers, status, due_at and lane of events that nobody has claimed, nothing else and no others, and returns them."""
    store = place.open()
    lanes = [place.lane(str(index)) for index in range(5)]
    ids = append(store, *[place.arrival(str(index), lane=lane, payload=b"\x00") for index, lane in enumerate(lanes)])
    claimed(store.claim(lanes[1], "r", LONG), ids[1], "r")
    before = [record(store, id_, payloads=True) for id_ in ids]
    due = store.counts().now + LONG
    seen: list[int] = []

    def change(row: InboxRecord) -> InboxRecord | None:
        seen.append(row.id)
        if row.id == ids[2]:
            return None
        status: EventStatus = "parked" if row.id == ids[0] else "pending"
        # What is not to be changed stays whatever is said of it.
        return replace(
            row, handlers=DONE, status=status, due_at=due, lane=f"{row.lane} new", type="changed", account="", attempts=99
        )

    changed = store.change([*ids[:4], 2**40], change)
    demand([row.id for row in changed] == [ids[0], ids[3]], "change() did not return the events that it changed")
    demand(set(seen) == {ids[0], ids[2], ids[3]}, "change() asked about an event that is claimed, or not about one that is not")
    for index, id_ in enumerate(ids):
        row, old = record(store, id_, payloads=True), before[index]
        if index in {0, 3}:
            status: EventStatus = "parked" if index == 0 else "pending"
            written = (row.status, row.lane, dict(row.handlers)) == (status, f"{lanes[index]} new", DONE) and near(row.due_at, due)
            demand(written, "change() did not write what it was given")
            finished = row.finished_at
            old = replace(old, handlers=DONE, status=status, due_at=row.due_at, lane=row.lane, finished_at=finished)
        demand(row == old, "change() changed more than handlers, status, due_at and lane")
    demand(near(changed[1].due_at, due) and changed[1].lane == f"{lanes[3]} new", "change() did not return events as they are now")
    # What was changed is found and claimed by what it is now.
    store.change([ids[3]], lambda row: replace(row, due_at=None))
    claimed(store.claim(f"{lanes[3]} new", "s", LONG), ids[3], "s")
    store.change([ids[0]], lambda row: replace(row, status="pending", due_at=None, handlers={}))
    row = claimed(store.claim(f"{lanes[0]} new", "s", LONG), ids[0], "s")
    compare_handlers({}, row, "an event that was changed")


def audits_changes(place: InboxPlace) -> None:
    """The audit entry of a change is written with it, once, or with an exception neither is."""
    store = place.open()
    ids = append(store, *place.arrivals(3))
    last = last_number(store)
    entry = AuditEntry(at=NOW, actor="somebody", action="discard", subject=place.mark, detail="three")

    def fail_late(row: InboxRecord) -> InboxRecord:
        if row.id == ids[2]:
            raise ZeroDivisionError
        return replace(row, status="discarded")

    try:
        store.change(ids, fail_late, entry)
    except ZeroDivisionError:
        pass
    else:
        msg = "change() swallowed an exception"
        raise ConformanceError(msg)
    demand(not store.logged(last, 10), "change() wrote the audit entry of a change that did not happen")
    demand({record(store, id_).status for id_ in ids} == {"pending"}, "change() wrote a part of what an exception ended")
    store.change(ids, lambda row: replace(row, status="discarded"), entry)
    demand([each for _number, each in store.logged(last, 10)] == [entry], "change() did not write its audit entry once")
    store.change(ids, lambda row: replace(row, status="pending"))
    demand(len(store.logged(last, 10)) == 1, "change() without an audit entry wrote one")


def purges_payloads(place: InboxPlace) -> None:
    """``purge`` empties the payloads of up to *limit* events that were done or discarded before; the rows stay, and nothing is stored again."""
    store = place.open()
    everything = store.counts().now + LONG
    # What others have left here is purged first, so that what is counted below is ours.
    while store.purge(everything, 1_000):
        pass
    statuses: list[EventStatus] = ["done", "parked", "discarded", "pending", "done", "done"]
    arrivals = [place.arrival(str(index), lane=place.lane(str(index)), payload=b"secret") for index in range(len(statuses))]
    ids = append(store, *arrivals)
    for arrival, id_, status in zip(arrivals, ids, statuses, strict=True):
        row = claimed(store.claim(arrival.lane, "r", LONG), id_, "r")
        store.advance(step(row, status))
    before = [record(store, id_) for id_ in ids]
    first = min(row.finished_at or everything for row in before)
    demand(store.purge(first - 1.0, 100) == 0, "purge() emptied events that were finished later")
    demand(
        all(record(store, id_, payloads=True).payload == b"secret" for id_ in ids),
        "purge() emptied events that were finished later",
    )
    counts = [store.purge(everything, 3), store.purge(everything, 3), store.purge(everything, 3)]
    demand(counts == [3, 1, 0], f"purge() with a limit of 3 emptied {counts} of 4 events that were done or discarded")
    for row, id_, status in zip(before, ids, statuses, strict=True):
        kept = record(store, id_, payloads=True)
        payload = b"secret" if status in {"parked", "pending"} else None
        demand(
            kept.payload == payload,
            f"after purge() the payload of an event that is {status} is {'there' if kept.payload else 'gone'}",
        )
        demand(replace(kept, payload=None) == row, "purge() changed more than the payload")
    again = outcomes(store, arrivals[0], arrivals[2])
    demand([appended(each, "duplicate").id for each in again] == [ids[0], ids[2]], "an event that was purged was stored again")
    demand(record(store, ids[0], payloads=True).payload is None, "a duplicate brought a purged payload back")


def counts(place: InboxPlace) -> None:
    """``counts`` says how many events are pending, delayed, claimed and parked, and when the oldest pending one arrived."""
    store = place.open()
    start = store.counts()
    oldest = min(NOW, start.oldest_pending_at or NOW) - 100.5
    lanes = [place.lane(str(index)) for index in range(6)]
    ids = append(store, *[place.arrival(str(index), lane=lane, received_at=oldest + index) for index, lane in enumerate(lanes)])
    _demand_counts(store, start, (6, 0, 0, 0))
    demand(near(store.counts().oldest_pending_at, oldest), "counts() did not say when the oldest pending event arrived")
    rows = [claimed(store.claim(lane, f"r{index}", LONG), ids[index], f"r{index}") for index, lane in enumerate(lanes)]
    _demand_counts(store, start, (6, 0, 0, 6))
    store.advance(step(rows[0], "parked"))
    store.advance(step(rows[1], "done"))
    store.advance(step(rows[2], "discarded"))
    store.advance(step(rows[3], "pending", due_at=store.counts().now + LONG))
    store.advance(step(rows[4], "pending", due_at=store.counts().now - 1.0))
    _demand_counts(store, start, (3, 1, 1, 1))
    demand(near(store.counts().oldest_pending_at, oldest + 3), "counts() did not say when the oldest pending event arrived")
    store.release("r5")
    store.change(ids, lambda row: replace(row, status="done"))
    _demand_counts(store, start, (0, 0, 0, 0))
    demand(
        near(store.counts().oldest_pending_at, start.oldest_pending_at), "counts() named an event that is not pending as the oldest"
    )


def _demand_counts(store: InboxStore, start: object, expected: tuple[int, ...]) -> None:
    now = store.counts()
    for name, more in zip(("pending", "parked", "delayed", "running"), expected, strict=True):
        found = getattr(now, name) - getattr(start, name)
        demand(found == more, f"counts() showed {found} {name} events instead of {more}")
