"""What comes after an outage: thousands of retries at once, clocks that jump, and events in any order."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from atom_stripe import StripeClient
from atom_stripe.errors import ClaimLostError, InvalidRequestError
from atom_stripe.inbox import HandlerRetry, Retry
from atom_stripe.protocols import Arrival, HandlerState, InboxQuery, InboxRecord, Nothing, Step
from atom_stripe.stores._sql import inbox as sql_inbox
from tests.canary import API_KEY
from tests.inbox_faults.shop import Shop, drain, effect, event, raw, send, wait_for


def store_many(shop: Shop, count: int, lanes: int) -> None:
    """Store *count* events at once, past the verifier."""

    arrivals = [
        Arrival(
            event_id=f"evt_{number}",
            type="customer.updated",
            account="",
            livemode=False,
            lane=f"test//cus_{number % lanes}",
            payload=raw(event(number, obj=f"cus_{number % lanes}")),
            endpoint="default",
            received_at=time.time(),
        )
        for number in range(count)
    ]
    with shop.open() as store:
        for start in range(0, count, 500):
            store.append(arrivals[start : start + 500])


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_a_storm_of_retries(request: pytest.FixtureRequest, kind: str) -> None:
    """After an outage retries are spread out, no more run at once than there are workers, and no lane goes short."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    count, lanes, workers = 2000, 1000, 4
    store_many(shop, count, lanes)
    away = [True]
    running: list[int] = []
    most: list[int] = []
    order: list[str] = []
    lock = threading.Lock()

    def handle(event: Any, context: Any) -> None:
        with lock:
            running.append(1)
            most.append(len(running))
        try:
            if away:
                raise ConnectionError
            order.append(event.data.object.id)
        finally:
            with lock:
                running.pop()

    retry = HandlerRetry(attempts=10, initial_delay=40.0, max_delay=40.0)
    with shop.inbox(workers=workers, retry=retry) as inbox:
        inbox.on("*", name="h")(handle)
        with inbox.worker():
            # The first of each lane fails; what is behind it waits for it.
            wait_for(lambda: inbox.counts.get("failed", 0) >= lanes)
        due = sorted(record.due_at or 0.0 for record in inbox.store.find(InboxQuery(limit=count)) if record.due_at is not None)
        assert len(due) == lanes
        # Spread over half of the wait, and not in one heap.
        assert due[-1] - due[0] > 10
        assert max(Counter(int(moment) for moment in due).values()) < lanes / 4
        away.clear()
        # Operators do not wait, and neither do tests.
        inbox.operations.requeue(inbox.operations.parked(delayed=True), delayed=True, rate=None)
        with inbox.worker():
            wait_for(lambda: len(order) == count)
            wait_for(lambda: not inbox.store.waiting(0, 1))
    assert max(most) <= workers
    # Each lane has had its turn once before the last one has had its first, but for those that the workers were at.
    assert len(set(order[: lanes * 3 // 2])) > lanes * 2 // 3
    assert Counter(order) == dict.fromkeys(order, count // lanes)


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_a_busy_lane_leaves_room_for_others(request: pytest.FixtureRequest, kind: str) -> None:
    """While one object has hundreds of events, those of others do not wait for all of them, even with a single worker."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    store_many(shop, 300, 1)
    order: list[str] = []
    with shop.inbox(workers=1, lane_turn=10) as inbox:
        inbox.on("*", name="h")(lambda event, context: order.append(event.data.object.id))
        for number in range(1, 6):
            send(inbox, event(f"other_{number}", obj=f"cus_{number}"))
        drain(inbox)
    assert len(order) == 305
    assert max(place for place, lane in enumerate(order) if lane != "cus_0") < 100


def test_retry_after_a_time_of_the_handlers_choice(any_shop: Shop) -> None:
    """An event whose handler wants to be asked later is due at that time, its lane waits for it, and other lanes do not."""
    with any_shop.inbox() as inbox:
        seen: list[str] = []

        def handle(event: Any, context: Any) -> None:
            seen.append(event.id)
            if event.id == "evt_later":
                raise Retry(after=3600.0)

        inbox.on("*", name="h")(handle)
        for name, lane in (("later", "a"), ("behind", "a"), ("other", "b")):
            send(inbox, event(name, obj=lane))
        with inbox.worker():
            wait_for(lambda: set(seen) == {"evt_later", "evt_other"} and any_shop.statuses()["evt_other"] == "done")
        (later,) = inbox.store.find(InboxQuery(event_id="evt_later"))
        assert later.due_at is not None
        assert 3500 < later.due_at - time.time() < 3700
        assert any_shop.statuses() == {"evt_later": "pending", "evt_behind": "pending", "evt_other": "done"}


def test_any_order_of_events_is_survived(any_shop: Shop) -> None:
    """Shuffled events of one second, some after a deletion and some twice, are each handled once, per object in the order of arrival."""
    chosen = random.Random(11)
    events = [
        event(f"{obj}_{number}", obj=f"cus_{obj}", type=kind, created=1_790_000_000)
        for obj in range(5)
        for number, kind in enumerate(
            ["customer.created", "customer.updated", "customer.updated", "customer.deleted", "customer.updated"]
        )
    ]
    chosen.shuffle(events)
    seen: list[tuple[str, str]] = []
    with any_shop.inbox() as inbox:
        inbox.on("customer.*", name="h")(lambda event, context: seen.append((event.data.object.id, event.id)))
        for one in events:
            send(inbox, one)
            if chosen.random() < 0.3:
                assert send(inbox, chosen.choice(events[: events.index(one) + 1])) == "duplicate"
        drain(inbox)
    for obj in range(5):
        arrived = [one["id"] for one in events if one["data"]["object"]["id"] == f"cus_{obj}"]
        assert [name for lane, name in seen if lane == f"cus_{obj}"] == arrived
    assert len(seen) == len(events)


def test_an_object_that_is_gone_is_told(any_shop: Shop) -> None:
    """Fetched again, the object of a stale event is what is there now, or deleted, or Stripe's error that there is none."""
    answers = {
        "/v1/customers/cus_now": httpx.Response(200, json={"id": "cus_now", "object": "customer", "name": "now"}),
        "/v1/customers/cus_deleted": httpx.Response(200, json={"id": "cus_deleted", "object": "customer", "deleted": True}),
        "/v1/customers/cus_gone": httpx.Response(
            404, json={"error": {"type": "invalid_request_error", "code": "resource_missing"}}
        ),
    }
    transport = httpx.MockTransport(lambda request: answers[request.url.path])
    found: dict[str, Any] = {}
    client = StripeClient(API_KEY, http_client=httpx.Client(transport=transport))
    with any_shop.inbox(client=client) as inbox:

        def handle(event: Any, context: Any) -> None:
            try:
                found[event.data.object.id] = context.refetch()
            except InvalidRequestError as error:
                found[event.data.object.id] = error.code

        inbox.on("*", name="h")(handle)
        for name in ("now", "deleted", "gone"):
            send(inbox, event(name, obj=f"cus_{name}"))
        drain(inbox)
    assert found["cus_now"].name == "now"
    assert found["cus_deleted"]["deleted"] is True
    assert found["cus_gone"] == "resource_missing"
    assert set(any_shop.statuses().values()) == {"done"}


def test_a_clock_of_one_machine_does_not_end_claims_in_postgres(postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is an hour ahead takes no claim of another one's from PostgreSQL, and its own claims are as long as they should be."""
    with postgres_shop.open() as store, postgres_shop.inbox() as inbox:
        send(inbox, event(1))
        first = store.claim("test//cus_1", "first", 60.0)
        assert isinstance(first, InboxRecord)
        monkeypatch.setattr(sql_inbox, "time", SimpleNamespace(time=lambda: time.time() + 3600))
        assert isinstance(store.claim("test//cus_1", "second", 60.0), Nothing)
        store.advance(Step(id=first.id, run="first", handlers={}, status="done"))
        send(inbox, event(2))
        second = store.claim("test//cus_1", "second", 60.0)
        assert isinstance(second, InboxRecord)
        assert second.run_until is not None
        assert second.run_until - time.time() < 120


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_under_a_handler(shop: Shop, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """When the machine's clock jumps while a handler runs, the event is handled, and its effect is there once."""
    offset = [0.0]
    monkeypatch.setattr(sql_inbox, "time", SimpleNamespace(time=lambda: time.time() + offset[0]))
    seen: list[int] = []
    with shop.inbox(clock=lambda: time.time() + offset[0], workers=1) as inbox:

        def handle(event: Any, context: Any) -> None:
            seen.append(context.attempt)
            offset[0] = jump
            effect(event, context)

        inbox.on("*", name="h")(handle)
        send(inbox, event(1))
        with inbox.worker():
            wait_for(lambda: shop.statuses() == {"evt_1": "done"})
    assert len(shop.effects()) == 1
    assert len(seen) <= 2


def test_who_was_overtaken_by_a_jump_writes_nothing(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a jump ahead ends a claim early and another run takes over, the first one is told and writes nothing."""
    offset = [0.0]
    monkeypatch.setattr(sql_inbox, "time", SimpleNamespace(time=lambda: time.time() + offset[0]))
    with sqlite_shop.open() as store, sqlite_shop.inbox() as inbox:
        send(inbox, event(1))
        first = store.claim("test//cus_1", "first", 60.0)
        offset[0] = 3600.0
        second = store.claim("test//cus_1", "second", 60.0)
        assert isinstance(first, InboxRecord)
        assert isinstance(second, InboxRecord)
        with pytest.raises(ClaimLostError):
            store.advance(Step(id=first.id, run="first", handlers={}, status="done"))
        store.advance(Step(id=second.id, run="second", handlers={}, status="done"))


def test_handlers_that_come_and_go(any_shop: Shop) -> None:
    """After a deployment events that nobody wants are done; those whose handler is gone, or in a version to park, are parked, counted and found."""
    with any_shop.inbox() as old:
        send(old, event("left", obj="a"))
        # As a worker of the old release leaves it, with a last attempt to come.
        left = old.store.claim("test//a", "old", 60.0)
        assert isinstance(left, InboxRecord)
        states = {"gone": HandlerState(attempts=9, error="LookupError")}
        old.store.advance(Step(id=left.id, run="old", handlers=states, status="pending"))
    with any_shop.inbox(retry=HandlerRetry(attempts=2, initial_delay=0.0, max_delay=0.0)) as new:
        new.on("invoice.*", name="careful", versions="park")(effect)
        send(new, event("unknown", obj="b", type="something.new"))
        send(new, event("foreign", obj="c", type="invoice.paid", api_version="2019-01-01"))
        send(new, event("ours", obj="d", type="invoice.paid"))
        drain(new)
        assert any_shop.statuses() == {"evt_left": "parked", "evt_unknown": "done", "evt_foreign": "parked", "evt_ours": "done"}
        assert new.operations.status().counts.parked == 2
        by_handler = {name: new.operations.parked(handler=name) for name in ("gone", "careful")}
        assert {name: len(found) for name, found in by_handler.items()} == {"gone": 1, "careful": 1}
        assert new.operations.discard(by_handler["gone"]).changed == tuple(by_handler["gone"])
        assert new.operations.status().counts.parked == 1
    assert any_shop.effects() == [("evt_ours", 1)]
