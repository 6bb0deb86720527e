"""What is parked and why, counted once; on each kind of store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.errors import StoreError
from atom_stripe.inbox import HandlerRetry, InboxConfig, WebhookInbox
from atom_stripe.protocols import Arrival, HandlerState
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = HandlerRetry(attempts=3, initial_delay=0.0, max_delay=0.0)
BODY = b'{"signed": "and no event"}'


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryInboxStore()
        return
    url = request.getfixturevalue(f"{request.param}_url")
    upgrade(url)
    with SqlInboxStore.from_url(url) as store:
        yield store


def test_bytes_that_are_no_event_stay_parked(store: Any, make: Any) -> None:
    """Sent once more, they are a duplicate: nobody looks at them again, and no handler has appeared that is called as the inbox is."""
    world = make.World("sync", store)
    inbox = world.open()
    world.receive(BODY)
    world.drain()
    before = world.only()
    again = world.receive(BODY)
    assert (again.outcome, again.id) == ("duplicate", before.id)
    assert world.only() == before
    assert before.handlers["inbox"] == HandlerState(
        status="parked",
        attempts=1,
        error="MalformedEventError: the stored bytes are not an event",
        finished_at=before.handlers["inbox"].finished_at,
    )
    assert inbox.counts.get("requeued", 0) == 0


def test_next_to_them_others_are_tried_again(store: Any, make: Any) -> None:
    """A batch with duplicates of both kinds: the event whose handler gave up goes on, and the bytes that are none stay."""
    world = make.World("sync", store)
    inbox = world.open()
    calls: list[str] = []

    @inbox.on("customer.updated", name="shop")
    def handle(event: Any, context: Any) -> None:
        calls.append(event.id)
        if len(calls) <= 3:
            msg = "not yet"
            raise LookupError(msg)

    world.receive(BODY)
    world.receive(make.event())
    world.drain()
    records = world.records()
    assert [record.status for record in records] == ["parked", "parked"]
    kept = {name: [getattr(record, name) for record in records] for name in ("event_id", "type", "lane", "payload")}
    arrivals = [
        Arrival(event_id=id_, type=type_, lane=lane, payload=payload, account="", livemode=False, endpoint="main", received_at=1.0)
        for id_, type_, lane, payload in zip(*kept.values(), strict=True)
    ]
    assert [result.outcome for result in store.append(arrivals)] == ["duplicate", "requeued"]
    world.drain()
    assert [record.status for record in world.records()] == ["parked", "done"]
    assert calls == ["evt_1"] * 4


class _NoCommit(MemoryInboxStore):
    """Commits nothing of a handler's."""

    def advance(self, step: Any, claim_next: float | None = None, /, *, connection: Any = None) -> Any:
        if connection is not None:
            msg = "the handler broke its connection"
            raise StoreError(msg, retryable=False)
        return super().advance(step, claim_next)


def test_a_commit_that_fails_is_no_success(make: Any) -> None:
    """An attempt whose transaction could not be committed is counted once, as what became of it, and has no lag."""
    told: list[tuple[str, str]] = []

    class Noted:
        def count(self, name: str, value: int, labels: Any, /) -> None:
            assert value == 1
            told.extend((name, label) for label in labels.values())

        def gauge(self, name: str, value: float, labels: Any, /) -> None:
            """Note nothing."""

        def observe(self, name: str, value: float, labels: Any, /) -> None:
            told.append((name, labels.get("outcome", "")))

    world = make.World("sync", _NoCommit())
    verifier, config = WebhookVerifier(WEBHOOK_SECRET), InboxConfig(retry=AT_ONCE, poll_interval=0.02)
    inbox = world.inbox = WebhookInbox(verifier, world.store, metrics=Noted(), config=config)

    @inbox.on("customer.updated", name="shop")
    def handle(event: Any, context: Any) -> None:
        context.connection.append(event.id)

    world.receive(make.event())
    world.drain()
    state = world.only().handlers["shop"]
    assert (state.status, state.attempts, state.error) == ("parked", 3, "StoreError: the handler broke its connection")
    assert {name: inbox.counts.get(name, 0) for name in ("handled", "failed", "parked")} == {"handled": 0, "failed": 2, "parked": 1}
    attempts = [label for name, label in told if name == "atom_stripe_inbox_attempts_total"]
    timed = [label for name, label in told if name == "atom_stripe_inbox_process_seconds"]
    assert attempts == timed == ["failed", "failed", "parked"]
    assert not [name for name, _ in told if name == "atom_stripe_inbox_lag_seconds"]
