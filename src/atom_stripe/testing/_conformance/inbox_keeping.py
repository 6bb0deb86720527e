"""What is stored comes back as it was, once for each event."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atom_stripe.errors import StoreError
from atom_stripe.protocols import AuditEntry, HandlerState, InboxQuery, Refusal
from atom_stripe.testing._conformance.inbox_place import (
    LONG,
    LONG_TEXT,
    NOW,
    append,
    appended,
    claimed,
    compare_arrival,
    compare_handlers,
    outcomes,
    record,
    step,
)
from atom_stripe.testing._conformance.stage import brief, demand

if TYPE_CHECKING:
    from atom_stripe.protocols import InboxStore
    from atom_stripe.testing._conformance.inbox_place import InboxPlace


def keeps_every_field(place: InboxPlace) -> None:
    """A stored event comes back as it arrived, in every field, pending and untouched."""
    store = place.open()
    arrivals = [
        place.arrival("a"),
        place.arrival(
            "b",
            type="customer.subscription.updated",
            livemode=True,
            lane=place.lane("b"),
            endpoint="connect",
            received_at=NOW + 0.123456,
            api_version="2026-01-28.clover",
            created=NOW - 1.0,
            object_id=f"sub_{place.mark}",
        ),
        place.arrival("c", type=LONG_TEXT, lane=place.lane(LONG_TEXT), endpoint=LONG_TEXT, object_id=LONG_TEXT, account=""),
        place.arrival("d", api_version="", object_id=""),
    ]
    for arrival, id_ in zip(arrivals, append(store, *arrivals), strict=True):
        row = record(store, id_, payloads=True)
        compare_arrival(arrival, row, "an event")
        demand(row.status == "pending", f"a new event is {row.status!r} instead of 'pending'")
        untouched = (row.attempts, row.due_at, row.run, row.run_until, row.finished_at, dict(row.handlers))
        demand(untouched == (0, None, None, None, None, {}), "a new event came back with traces of work")


def keeps_exact_bytes(place: InboxPlace) -> None:
    """Payloads come back byte for byte: empty, with NUL, invalid as UTF-8, and of a mebibyte; ``find`` gives them only if asked."""
    store = place.open()
    payloads = [
        b"",
        b"\x00",
        b"a\x00b\x00",
        b"\xff\xfe\xed\xa0\x80",
        bytes(range(256)),
        b'{"a": "\\u0000", "a":1e400} \r\n',
        b"\x80ab" * 349_526,
    ]
    arrivals = [place.arrival(str(index), payload=payload, lane=place.lane(str(index))) for index, payload in enumerate(payloads)]
    for arrival, id_ in zip(arrivals, append(store, *arrivals), strict=True):
        what = f"a payload of {len(arrival.payload)} bytes"
        demand(record(store, id_).payload is None, "find() returned a payload that was not asked for")
        for row in (record(store, id_, payloads=True), claimed(store.claim(arrival.lane, "r", LONG), id_, "r")):
            demand(type(row.payload) is bytes, f"{what} came back as {type(row.payload).__name__}")
            demand(row.payload == arrival.payload, f"{what} came back changed: {brief(row.payload)}")


def keeps_handler_states(place: InboxPlace) -> None:
    """The states of handlers come back as they were written, under any name."""
    store = place.open()
    (id_,) = append(store, place.arrival())
    states = {
        "pending": HandlerState(attempts=3, due_at=NOW + 0.25, error="KeyError: 'a'"),
        "done": HandlerState(status="done", attempts=1, finished_at=NOW + 0.123456),
        "parked": HandlerState(status="parked", attempts=2_000, error=LONG_TEXT, finished_at=NOW),
        "discarded": HandlerState(status="discarded", error=""),
        f"module.{LONG_TEXT}": HandlerState(),
    }
    for handlers in (states, {"one": HandlerState(status="done")}, {}):
        row = claimed(store.claim(place.lane(), "r", LONG), id_, "r")
        store.advance(step(row, "pending", handlers=handlers))
        compare_handlers(handlers, record(store, id_), "an event")
    compare_handlers({}, claimed(store.claim(place.lane(), "r", LONG), id_, "r"), "a claimed event")


def stores_once(place: InboxPlace) -> None:
    """An event is stored once, within a batch, across batches, and after it was done or discarded: the first delivery is the one that is kept."""
    store = place.open()
    first = place.arrival("a", payload=b"first")
    again = replace(first, payload=b"again", lane=place.lane("other"), received_at=NOW + 9, endpoint="other")
    outcome = outcomes(store, first, again, place.arrival("b", lane=place.lane("b")), first)
    id_ = appended(outcome[0], "stored").id
    appended(outcome[2], "stored")
    later = outcomes(store, again, place.arrival("c", lane=place.lane("c")))
    appended(later[1], "stored")
    for each in (outcome[1], outcome[3], later[0]):
        _demand_duplicate(each, id_, first.lane)
    row = claimed(store.claim(first.lane, "r", LONG), id_, "r")
    _demand_duplicate(outcomes(store, again)[0], id_, first.lane)
    store.advance(step(row))
    _demand_duplicate(outcomes(store, again)[0], id_, first.lane)
    compare_arrival(first, record(store, id_, payloads=True), "an event that was delivered again")
    demand(record(store, id_).status == "done", "an event that was done is not any more, after a duplicate")
    found = store.find(InboxQuery(event_id=first.event_id, account=place.account))
    demand(len(found) == 1, f"{len(found)} rows for one event")
    store.change([id_], lambda row: replace(row, status="discarded"))
    _demand_duplicate(outcomes(store, again)[0], id_, first.lane)
    demand(record(store, id_).status == "discarded", "an event that was discarded is not any more, after a duplicate")


def _demand_duplicate(outcome: object, id_: int, lane: str) -> None:
    duplicate = appended(outcome, "duplicate")
    demand(duplicate.id == id_, "append() did not return the id of the earlier row for a duplicate")
    demand(duplicate.lane == lane, "append() did not return the lane of the earlier row for a duplicate")


def tells_events_apart(place: InboxPlace) -> None:
    """One id for two accounts, or in both modes, is several events; so are ids that only look alike."""
    store = place.open()
    names = ["a", "A", "a ", " a", "\u00e9", "e\u0301", "%", "_"]
    keys = [(name, f"{place.account}", False) for name in names]
    keys += [
        ("a", place.account, True),
        ("a", f"{place.account} 2", False),
        ("a", place.account.upper(), False),
        ("a", "", False),
        ("a", "", True),
    ]
    arrivals = [
        place.arrival(name, account=account, livemode=mode, payload=f"{name} {account} {mode}".encode())
        for name, account, mode in keys
    ]
    ids = append(store, *arrivals)
    demand(len(set(ids)) == len(ids), "append() returned one id for two events")
    for arrival, id_ in zip(arrivals, ids, strict=True):
        _demand_duplicate(outcomes(store, arrival)[0], id_, arrival.lane)
        compare_arrival(arrival, record(store, id_, payloads=True), "an event")


def isolates_arrivals(place: InboxPlace) -> None:
    """An arrival that the database does not take fails alone, and a refused delivery is logged: the others of the batch are stored."""
    store = place.open()
    # A lone surrogate has no UTF-8 form; NUL is what PostgreSQL's text does not take.
    odd = [place.arrival("\ud800"), place.arrival("n", type="\x00")]
    refusal = Refusal(endpoint="default", reason="InvalidSignatureError", received_at=NOW)
    good = [place.arrival("a"), place.arrival("b"), place.arrival("c")]
    found = outcomes(store, good[0], odd[0], refusal, good[1], odd[1], good[2], refusal)
    demand(found[2] is None and found[6] is None, "append() did not return None for a refusal")
    for outcome in (found[1], found[4]):
        if not isinstance(outcome, StoreError):
            appended(outcome, "stored")
    ids = [appended(found[index], "stored").id for index in (0, 3, 5)]
    for arrival, id_ in zip(good, ids, strict=True):
        compare_arrival(arrival, record(store, id_, payloads=True), "an event beside one that was not taken")
    demand(list(outcomes(store)) == [], "append() of nothing did not return nothing")


def requeues_parked(place: InboxPlace) -> None:
    """A duplicate of a parked event makes its parked handlers pending again, and it can be claimed at once; other handlers stay as they are."""
    store = place.open()
    arrival = place.arrival()
    (id_,) = append(store, arrival)
    done = HandlerState(status="done", attempts=2, finished_at=NOW)
    discarded = HandlerState(status="discarded", attempts=1, finished_at=NOW)
    parked = HandlerState(status="parked", attempts=5, error="ValueError: no", finished_at=NOW)
    row = claimed(store.claim(arrival.lane, "r", LONG), id_, "r")
    handlers = {"a": done, "b": parked, "c": discarded}
    store.advance(step(row, "parked", handlers=handlers))
    compare_handlers(handlers, record(store, id_), "a parked event")
    outcome = outcomes(store, arrival, arrival)
    demand(appended(outcome[0], "requeued").id == id_, "append() did not return the id of the row that was parked")
    _demand_duplicate(outcome[1], id_, arrival.lane)
    row = record(store, id_)
    demand(row.status == "pending", f"a parked event is {row.status!r} after a duplicate instead of 'pending'")
    state = row.handlers["b"]
    demand(state.status == "pending", f"a parked handler is {state.status!r} after a duplicate instead of 'pending'")
    demand(state.due_at is None and row.due_at is None, "a parked event that was delivered again is not due at once")
    compare_handlers({"a": done, "b": state, "c": discarded}, row, "a parked event that was delivered again")
    row = claimed(store.claim(arrival.lane, "s", LONG), id_, "s")
    store.advance(step(row, "parked", handlers={}))
    appended(outcomes(store, arrival)[0], "requeued")
    demand(record(store, id_).status == "pending", "an event that was parked without a handler is not pending after a duplicate")


def keeps_the_audit_log(place: InboxPlace) -> None:
    """Audit entries come back as they were written, in that order, under numbers that count up, page by page; none is changed or replaced."""
    store = place.open()
    last = last_number(store)
    entries = [
        AuditEntry(at=NOW + index / 8, actor=f"user {index % 2}", action="replay", subject=f"evt_{place.mark}", detail=detail)
        for index, detail in enumerate(["", LONG_TEXT, "same", "same", "x" * 5_000])
    ]
    for entry in entries:
        store.log(entry)
    found = list(store.logged(last, 100))
    demand([entry for _number, entry in found] == entries, "logged() did not return the entries as they were written, in order")
    numbers = [number for number, _entry in found]
    demand(numbers == sorted(set(numbers)) and min(numbers) > last, "the numbers of audit entries do not count up")
    demand(list(store.logged(last, 2)) == found[:2], "logged() did not keep to its limit")
    demand(list(store.logged(numbers[1], 2)) == found[2:4], "logged() did not go on behind a number")
    store.log(entries[0])
    demand(list(store.logged(last, len(found))) == found, "an audit entry changed when another was written")
    demand(last_number(store) > numbers[-1], "the numbers of audit entries do not count up")


def last_number(store: InboxStore) -> int:
    last = 0
    while page := store.logged(last, 1_000):
        demand(page[-1][0] > last, "logged() returned entries up to a number again")
        last = page[-1][0]
    return last


def keeps_values(place: InboxPlace) -> None:
    """A value is kept under its name until it is replaced or forgotten."""
    store = place.open()
    one, other = f"{place.mark} {LONG_TEXT}", f"{place.mark} b"
    demand(store.value(one) is None, "value() of a name that was never used did not return None")
    for value in ("", LONG_TEXT, "x" * 10_000, "last"):
        store.keep(one, value)
        demand(store.value(one) == value, f"value() returned {brief(store.value(one))} instead of {brief(value)}")
    demand(store.value(other) is None, "value() returned what was kept under another name")
    store.keep(other, "b")
    store.keep(one, None)
    store.keep(one, None)
    demand(store.value(one) is None, "value() returned what was forgotten")
    demand(store.value(other) == "b", "keep() of one name changed another")
