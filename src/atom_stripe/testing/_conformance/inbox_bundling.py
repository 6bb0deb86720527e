"""What a store does for several events in one transaction. Stores that have no bundles pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from atom_stripe.protocols import HandlerState
from atom_stripe.testing._conformance.inbox_place import (
    DONE,
    LONG,
    SHORT,
    append,
    claimed,
    compare_arrival,
    compare_handlers,
    lapse,
    loses,
    near,
    record,
    refused,
    step,
)
from atom_stripe.testing._conformance.stage import demand

if TYPE_CHECKING:
    from atom_stripe.protocols import BundlingInboxStore, InboxRecord, InboxStore
    from atom_stripe.testing._conformance.inbox_place import InboxPlace


def bundling(store: InboxStore) -> BundlingInboxStore | None:
    """Return *store* if it bundles."""
    return cast("BundlingInboxStore", store) if getattr(store, "bundles", False) else None


def _any(_type: str) -> bool:
    return True


def bundles_fresh_heads(place: InboxPlace) -> None:
    """``together`` claims the heads of several lanes, each under a name of its own, counts the attempt, and writes it before it returns."""
    store = bundling(place.open())
    if store is None:
        return
    lanes = [place.lane(str(index)) for index in range(3)]
    arrivals = [place.arrival(f"{depth}-{lane}", lane=lane, payload=lane.encode()) for depth in range(2) for lane in lanes]
    ids = append(store, *arrivals)
    before = store.counts().now
    lost, found = store.together([], {lane: f"r{index}" for index, lane in enumerate(lanes)}, LONG, _any)
    demand(not lost and set(found) == set(lanes), "together() did not say what it found in each lane, and nothing else")
    for index, lane in enumerate(lanes):
        row = claimed(found[lane], ids[index], f"r{index}", "together()")
        compare_arrival(arrivals[index], row, "an event that together() claimed")
        written = record(store, ids[index])
        for seen, what in ((row, "returned"), (written, "wrote")):
            demand(seen.attempts == 1, f"together() {what} {seen.attempts} attempts for the first claim of an event")
            demand(seen.run == f"r{index}", f"together() {what} no claim")
        demand(
            row.run_until is not None and before + LONG - 1e-5 <= row.run_until <= store.counts().now + LONG + 1e-5,
            "a claim of together() does not end after the seconds that it was made for",
        )
        demand(near(written.run_until, row.run_until), "together() wrote another end of a claim than it returned")
        refused(store.claim(lane, "s", LONG), "together() has claimed in the lane")
    demand(not any(store.together([], {}, LONG, _any)), "together() of nothing returned something")


def bundles_nothing_else(place: InboxPlace) -> None:
    """``together`` leaves alone what was claimed before, what a handler began with, what has a date, and what does not fit; the others it claims."""
    store = bundling(place.open())
    if store is None:
        return
    names = ("fresh", "released", "begun", "due", "later", "held", "unfit")
    lanes: dict[str, str] = {name: place.lane(name) for name in names}
    ids: dict[str, int] = dict(
        zip(names, append(store, *[place.arrival(name, lane=lanes[name], type=name) for name in names]), strict=True)
    )
    claimed(store.claim(lanes["released"], "x", LONG), ids["released"], "x")
    store.release("x")
    now = store.counts().now
    store.change([ids["begun"]], lambda row: replace(row, handlers={"h": HandlerState()}))
    store.change([ids["due"]], lambda row: replace(row, due_at=now - 1.0))
    store.change([ids["later"]], lambda row: replace(row, due_at=now + LONG))
    holder = claimed(store.claim(lanes["held"], "holder", LONG), ids["held"], "holder")
    empty = place.lane("empty")
    before: dict[str, InboxRecord] = {name: record(store, ids[name]) for name in names if name != "fresh"}
    _, found = store.together(
        [], {lane: f"run of {lane}" for lane in (*lanes.values(), empty)}, LONG, lambda type_: type_ != "unfit"
    )
    claimed(found[lanes["fresh"]], ids["fresh"], f"run of {lanes['fresh']}", "together()")
    for name in ("released", "begun", "due", "unfit"):
        demand(found[lanes[name]] is None, f"together() did not leave an event to claim() that is {name}")
    for name, due_at in (("later", now + LONG), ("held", holder.run_until)):
        nothing = refused(found[lanes[name]], f"the head of the lane is {name}", "together()")
        demand(near(nothing.due_at, due_at), "together() did not say when to come again")
    demand(refused(found[empty], "the lane is empty", "together()").due_at is None, "together() gave an empty lane a date")
    demand(before == {name: record(store, ids[name]) for name in before}, "together() changed an event that it did not claim")
    for name in ("released", "begun", "due", "unfit"):
        claimed(store.claim(lanes[name], "s", LONG), ids[name], "s")


def bundles_steps(place: InboxPlace) -> None:
    """``together`` writes each step whose claim holds, returns the others, and claims in lanes that the steps have left."""
    store = bundling(place.open())
    if store is None:
        return
    names = ("a", "b", "lost", "taken")
    lanes = [place.lane(name) for name in names]
    first = append(store, *[place.arrival(name, lane=lane) for name, lane in zip(names, lanes, strict=True)])
    second = append(store, *[place.arrival(f"{name}2", lane=lane) for name, lane in zip(names, lanes, strict=True)])
    rows = [
        claimed(store.claim(lane, name, SHORT if name in {"lost", "taken"} else LONG), id_, name)
        for name, lane, id_ in zip(names, lanes, first, strict=True)
    ]
    for row in rows[2:]:
        lapse(store, row.run_until)
    claimed(store.claim(lanes[3], "holder", LONG), first[3], "holder")
    aside = place.lane("aside")
    steps = [step(rows[0]), replace(step(rows[1], "pending"), lane=aside), step(rows[2]), step(rows[3])]
    lost, found = store.together(steps, {lane: f"next of {lane}" for lane in lanes[:2]}, LONG, _any)
    demand(list(lost) == steps[2:], "together() did not return the steps whose claims were lost, and no others")
    done, moved, lapsed, taken = (record(store, id_) for id_ in first)
    demand(done.status == "done" and done.run is None and done.finished_at is not None, "together() did not write a step")
    compare_handlers(DONE, done, "an event after together()")
    demand((moved.status, moved.lane, moved.run) == ("pending", aside, None), "together() did not move an event to another lane")
    demand(lapsed.status == taken.status == "pending" and taken.run == "holder", "together() wrote a step without its claim")
    for lane, id_ in zip(lanes[:2], second[:2], strict=True):
        claimed(found[lane], id_, f"next of {lane}", "together()")
    for row in rows:
        loses(store, lambda row=row: store.advance(step(row)), "advance() after together()")  # type: ignore[misc]
