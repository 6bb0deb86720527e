"""The deliveries of one event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe.protocols import Arrival, Delivery, Refusal
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryInboxStore()
        return
    url = request.getfixturevalue(f"{request.param}_url")
    upgrade(url)
    with SqlInboxStore.from_url(url) as opened:
        yield opened


def arrival(name: str, at: float, endpoint: str) -> Arrival:
    return Arrival(
        event_id=name, type="invoice.paid", account="", livemode=False, lane=name, payload=b"{}", endpoint=endpoint, received_at=at
    )


def test_the_deliveries_of_an_event(store: Any) -> None:
    """Every delivery of an event is there, in the order in which it came, with where and when, and those of others are not."""
    (first,) = store.append([arrival("evt_1", 1.5, "main")])
    store.append([Refusal(endpoint="main", reason="InvalidSignatureError", received_at=2.0)])
    store.append([arrival("evt_2", 3.0, "main")])
    store.append([arrival("evt_1", 4.0, "other")])
    expected = [Delivery(at=1.5, endpoint="main", outcome="stored"), Delivery(at=4.0, endpoint="other", outcome="duplicate")]
    assert store.delivered(first.id, 10) == expected
    assert store.delivered(first.id, 1) == expected[:1]
    assert store.delivered(999, 10) == []
    (found,) = InboxOperations(store).inspect("evt_1")
    assert found.deliveries == expected
