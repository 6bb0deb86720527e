"""What an inbox tells its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.errors import InvalidSignatureError
from atom_stripe.inbox import InboxConfig, Park, WebhookInbox
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping


class Noted:
    """A ``Metrics`` that notes what it is told."""

    def __init__(self) -> None:
        self.values: list[tuple[str, tuple[str, ...], float]] = []

    def count(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        self.values.append((name.removeprefix("atom_stripe_"), tuple(labels.values()), value))

    gauge = observe = count

    def of(self, name: str) -> list[tuple[str, ...]]:
        return [labels for noted, labels, _ in self.values if noted == name]


def test_the_life_of_two_events(make: Any) -> None:
    """Deliveries, attempts, times, depth and what is parked are told, with bounded labels, from the delivery to the end."""
    noted = Noted()
    world = make.World("sync")
    world.store = MemoryInboxStore()
    world.inbox = inbox = WebhookInbox(
        WebhookVerifier(WEBHOOK_SECRET),
        world.store,
        metrics=noted,
        config=InboxConfig(workers=1, poll_interval=0.02, sweep_interval=0.02),
    )

    @inbox.on("*", name="a")
    def handle(event: Any, context: Any) -> None:
        if event.id == "evt_2":
            raise Park

    @inbox.on("customer.updated", name="b")
    def also(event: Any, context: Any) -> None:
        pass

    world.receive(make.event("evt_1"))
    world.receive(make.event("evt_1"))
    world.receive(make.event("evt_2", type="charge.refunded"))
    with pytest.raises(InvalidSignatureError):
        inbox.receive(b"{}", "t=1,v1=00")
    assert noted.of("webhook_received_total") == [("stored",), ("duplicate",), ("stored",), ("refused",)]
    assert len(noted.of("webhook_ack_seconds")) == 3
    inbox.close()
    assert sum(value for name, _, value in noted.values if name == "inbox_group_commit_batch_size") == 4
    world.drain()
    assert noted.of("inbox_attempts_total") == [("handled",), ("handled",), ("parked",)]
    assert noted.of("inbox_dead_total") == [()]
    assert noted.of("inbox_process_seconds") == [("customer.updated", "handled")] * 2 + [("other", "parked")]
    assert noted.of("inbox_lag_seconds") == [("customer.updated",)] * 2
    world.work(lambda: ("inbox_events", ("parked",), 1) in noted.values and ("inbox_events", ("pending",), 0) in noted.values)
    assert all(value >= 0 for name, _, value in noted.values if name == "inbox_oldest_pending_age_seconds")
    assert noted.of("inbox_oldest_pending_age_seconds")
