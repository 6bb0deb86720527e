"""The webhook route, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from atom_stripe import InboxConfig, WebhookVerifier
from atom_stripe.errors import StoreError
from atom_stripe.service import ServiceConfig
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import sign
from tests.service.conftest import SECRET

if TYPE_CHECKING:
    from tests.service.conftest import Reply, Visitor, World

EVENT = b'{"id":"evt_1","object":"event","type":"invoice.paid","api_version":"2026-10-28.endive","created":1,"livemode":false,"data":{"object":{}}}'


class _Away(MemoryInboxStore):
    """A store that does not answer."""

    def append(self, *_: object, **__: object) -> NoReturn:
        msg = "the database is away"
        raise StoreError(msg)


def deliver(world: World, visitor: Visitor, body: bytes = EVENT, *, secret: str = SECRET, path: str = "/webhooks") -> Reply:
    signature = sign(body, secret, timestamp=int(world.sandbox.clock.timestamp))
    return visitor.post(path, content=body, headers={"Stripe-Signature": signature}, user=None)


def test_a_delivery_is_stored_then_answered(world: World) -> None:
    """A signed delivery is in the store when it is answered, a second one is answered too, and a forged one leaves nothing."""
    inbox = world.inbox()
    visitor = world.mount(inbox=inbox, authorize=None)
    for _ in range(2):
        answer = deliver(world, visitor)
        assert (answer.status, answer.json) == (200, {"received": True})
    forged = deliver(world, visitor, secret="whsec_" + "x" * 32)
    assert (forged.status, forged.kind) == (400, "not_from_stripe")
    assert dict(inbox.counts)["stored"] == 1


def test_a_delivery_without_a_signature(world: World) -> None:
    """What is not signed is a 400, and none of it is said back."""
    visitor = world.mount(inbox=world.inbox(), authorize=None)
    answer = visitor.post("/webhooks", content=b"<script>", user=None)
    assert (answer.status, answer.kind) == (400, "not_from_stripe")
    assert b"script" not in answer.body


def test_a_busy_inbox_asks_stripe_to_come_back(world: World) -> None:
    """When nothing can be stored, Stripe hears 503 and when to deliver again."""
    inbox = world.inbox(store=_Away(), config=InboxConfig(retry_after=7))
    visitor = world.mount(inbox=inbox, authorize=None)
    answer = deliver(world, visitor)
    assert (answer.status, answer.kind, answer.headers["retry-after"]) == (503, "busy", "7")
    inbox._core.close()
    assert deliver(world, visitor).kind == "shutting_down"


def test_deliveries_have_a_limit_of_their_own(world: World) -> None:
    """A delivery may be as long as the inbox allows and no longer, whatever the other routes allow."""
    config = InboxConfig(max_body_bytes=2000)
    visitor = world.mount(inbox=world.inbox(config=config), authorize=None, config=ServiceConfig(max_body_bytes=10))
    assert deliver(world, visitor, EVENT + b" " * (2000 - len(EVENT))).status == 200
    long = deliver(world, visitor, EVENT + b" " * (2001 - len(EVENT)))
    assert (long.status, long.kind) == (413, "too_large")


def test_deliveries_are_not_limited(world: World) -> None:
    """However low the limits are, Stripe is never told to slow down."""
    visitor = world.mount(inbox=world.inbox(), authorize=None, config=ServiceConfig(address_limit="1/hour", caller_limit="1/hour"))
    assert {deliver(world, visitor).status for _ in range(5)} == {200}


def test_several_endpoints_have_a_path_each(world: World) -> None:
    """Each endpoint's deliveries are checked with its own secret, and a path that names none is not there."""
    other = "whsec_" + "t" * 32
    clock = world.sandbox.clock
    verifiers = {
        name: WebhookVerifier(secret, clock=lambda: clock.timestamp) for name, secret in (("account", SECRET), ("connect", other))
    }
    visitor = world.mount(inbox=world.inbox(verifier=verifiers), authorize=None)
    assert deliver(world, visitor, path="/webhooks/account").status == 200
    assert deliver(world, visitor, path="/webhooks/connect").status == 400
    assert deliver(world, visitor, secret=other, path="/webhooks/connect").status == 200
    for path in ("/webhooks", "/webhooks/nobody"):
        assert deliver(world, visitor, path=path).status == 404


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_the_bytes_count_and_not_their_name(world: World, kind: str) -> None:
    """A delivery is taken by its signature, whatever its Content-Type says."""
    visitor = world.mount(inbox=world.inbox(), authorize=None)
    signature = sign(EVENT, SECRET, timestamp=int(world.sandbox.clock.timestamp))
    answer = visitor.post("/webhooks", content=EVENT, headers={"Stripe-Signature": signature, "Content-Type": kind}, user=None)
    assert answer.status == 200
