"""What is let in, what is refused, and what is said about it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from atom_stripe.errors import (
    ConfigurationError,
    InboxBusyError,
    InvalidSignatureError,
    MalformedEventError,
    StaleTimestampError,
    StoreError,
    WebhookError,
)
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import MARK, WEBHOOK_SECRET

OTHER_SECRET = f"whsec_{MARK}connect"


def refused(world: Any) -> list[str]:
    """Return the reasons that are written down. Nobody waits for them, so the inbox is closed first."""
    world.call(world.inbox.close)
    return [delivery.reason for delivery in world.store.deliveries if delivery.outcome == "refused"]


def test_the_row_says_everything(world: Any, make: Any) -> None:
    """What is stored are the exact bytes, and beside them what is needed to find and to order the event."""
    world.open({"platform": WebhookVerifier(WEBHOOK_SECRET), "connect": WebhookVerifier(OTHER_SECRET)}, clock=lambda: 1234.5)
    body = json.dumps(make.event(account="acct_5", livemode=True), indent=3).encode()
    receipt = world.call(lambda: world.inbox.receive(body, make.signed(body, secret=OTHER_SECRET), endpoint="connect"))
    record = world.only()
    assert record.payload == body
    assert (record.id, record.event_id, record.type) == (receipt.id, "evt_1", "customer.updated")
    assert (record.account, record.livemode, record.endpoint, record.lane) == ("acct_5", True, "connect", "live/acct_5/cus_1")
    assert (record.object_id, record.received_at, record.created) == ("cus_1", 1234.5, 1_790_000_000.0)
    assert record.api_version == make.event()["api_version"]


def test_a_secret_is_good_for_its_own_endpoint(world: Any, make: Any) -> None:
    """A delivery for one endpoint does not verify at another, and which one it is has to be said."""
    world.open({"platform": WebhookVerifier(WEBHOOK_SECRET), "connect": WebhookVerifier(OTHER_SECRET)})
    with pytest.raises(InvalidSignatureError):
        world.receive(make.event(), endpoint="connect")
    with pytest.raises(ConfigurationError, match="platform, connect"):
        world.receive(make.event())
    with pytest.raises(ConfigurationError, match="platform, connect"):
        world.receive(make.event(), endpoint="other")
    assert world.receive(make.event(), endpoint="platform").outcome == "stored"


def test_a_duplicate_is_stored_once(world: Any, make: Any) -> None:
    """A second delivery of an event is answered as the first, and is no second event."""
    world.open()
    first, second = world.receive(make.event()), world.receive(make.event())
    assert (first.outcome, second.outcome, second.duplicate) == ("stored", "duplicate", True)
    assert first.id == second.id
    assert len(world.records()) == 1


def test_accounts_and_modes_are_apart(world: Any, make: Any) -> None:
    """One event id in two accounts and two modes is four events in four lanes."""
    world.open()
    for account in (None, "acct_1"):
        for livemode in (True, False):
            assert world.receive(make.event(account=account, livemode=livemode)).outcome == "stored"
    assert len({record.lane for record in world.records()}) == 4


def test_fifty_senders_of_one_event(sync_world: Any, make: Any) -> None:
    """However many deliveries of an event come at once, one is stored."""
    inbox = sync_world.open()
    body = json.dumps(make.event()).encode()
    header = make.signed(body)
    with ThreadPoolExecutor(50) as pool:
        receipts = list(pool.map(lambda _: inbox.receive(body, header), range(50)))
    assert sorted(receipt.outcome for receipt in receipts) == ["duplicate"] * 49 + ["stored"]
    assert len({receipt.id for receipt in receipts}) == 1


@pytest.mark.parametrize(
    ("body", "header", "error"),
    [
        (b"{}", None, InvalidSignatureError),
        (b"{}", "t=1,v1=00", InvalidSignatureError),
        (b"", "", InvalidSignatureError),
        (b"{}", "t=1," + ",".join(["v1=" + "0" * 64] * 1000), InvalidSignatureError),
        (b"[" * 2000, "t=1,v1=00", InvalidSignatureError),
        ("\ud800", "t=1,v1=00", MalformedEventError),
        (7, "t=1,v1=00", MalformedEventError),
    ],
)
def test_what_is_not_stripes_is_refused(world: Any, body: Any, header: Any, error: type[WebhookError]) -> None:
    """A delivery that is not signed leaves a row with the reason, and nothing of itself."""
    inbox = world.open()
    with pytest.raises(error):
        world.call(lambda: inbox.receive(body, header))
    assert refused(world) == [error.__name__]
    assert world.records() == []
    assert inbox.counts["refused"] == 1


def test_an_old_signature_is_refused(world: Any, make: Any) -> None:
    """A captured delivery that is sent again later is refused, and the store hears nothing of its contents."""
    inbox = world.open()
    body = json.dumps(make.event()).encode()
    with pytest.raises(StaleTimestampError):
        world.call(lambda: inbox.receive(body, make.signed(body, at=1_600_000_000)))
    assert refused(world) == ["StaleTimestampError"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, bytes.decode])
def test_a_body_at_the_limit_is_let_in(world: Any, make: Any, kind: Any) -> None:
    """A body of just the largest size is stored, in whatever form it comes; one byte more is refused although it is signed."""
    raw = json.dumps(make.event()).encode()
    inbox = world.open(max_body_bytes=len(raw))
    with pytest.raises(MalformedEventError, match="longer than"):
        world.receive(raw + b" ")
    assert world.call(lambda: inbox.receive(kind(raw), make.signed(raw))).outcome == "stored"
    assert world.only().payload == raw
    assert refused(world) == ["MalformedEventError"]


def test_refusals_do_not_fill_the_disk(sync_world: Any) -> None:
    """Of a flood of rubbish only so many deliveries a second are written down; all are counted."""
    now = [1000.0]
    inbox = sync_world.open(refusals_per_second=3, clock=lambda: now[0])
    for _ in range(50):
        with pytest.raises(InvalidSignatureError):
            inbox.receive(b"{}", None)
    now[0] += 0.4
    for _ in range(2):
        with pytest.raises(InvalidSignatureError):
            inbox.receive(b"{}", None)
    assert len(refused(sync_world)) == 4
    assert (inbox.counts["refused"], inbox.counts["refused_unlogged"]) == (52, 48)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"7",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"id":"evt_1","type":"a.b","object":"event"}',
        b'{"id":"evt_1","type":"a.b","object":"event","data":{"object":7}}',
        b'{"id":"evt_1","type":"a.b","object":"event","data":{"object":{}},"account":{"id":"acct_1"}}',
        b'{"id":"evt_\\u0000","type":"a.b","object":"event","data":{"object":{}}}',
        b'{"id":"' + b"e" * 300 + b'","type":"a.b","object":"event","data":{"object":{}}}',
        b'{"id":"evt_1","type":"a.b","object":"event","data":{"object":{"a":NaN}}}',
        b'{"a":' * 5000,
        b"1" * 10_000,
    ],
)
def test_signed_bytes_that_are_no_event_are_kept(sync_world: Any, body: bytes) -> None:
    """What is signed and not an event is stored once as it came, and parked for somebody to look at; Stripe is answered with 200."""
    inbox = sync_world.open()
    receipt = sync_world.receive(body)
    assert (receipt.outcome, receipt.type, receipt.unparsable) == ("stored", "unparsable", True)
    assert sync_world.receive(body).outcome == "duplicate"
    sync_world.drain()
    record = sync_world.only()
    assert (record.status, record.payload, record.event_id) == ("parked", body, receipt.event_id)
    assert record.handlers["inbox"].error == "MalformedEventError: the stored bytes are not an event"
    assert inbox.counts["unparsable"] == 2


def test_a_full_queue_says_when_to_come_back(world: Any, make: Any) -> None:
    """Beyond the longest queue a delivery is not taken, and the error says what to tell Stripe."""
    entered, free = threading.Event(), threading.Event()

    class Slow(MemoryInboxStore):
        def append(self, arrivals: Any, /) -> Any:
            entered.set()
            free.wait()
            return super().append(arrivals)

    world.store = Slow()
    world.open(queue_length=1, retry_after=7.0)
    other = make.World("sync", world.store)
    other.inbox = world.inbox if world.colour == "sync" else None
    bodies = [json.dumps(make.event(f"evt_{number}")).encode() for number in range(3)]
    core = world.inbox._core
    futures = []
    for body in bodies[:2]:
        futures.append(core.intake.submit(core.intake.arrival(body, make.signed(body), None)))
        entered.wait()
    with pytest.raises(InboxBusyError) as caught:
        world.receive(bodies[2])
    assert caught.value.retry_after == 7.0
    free.set()
    assert [future.result().outcome for future in futures] == ["stored", "stored"]
    assert world.inbox.counts["busy"] == 1


def test_a_store_that_is_away_is_no_acceptance(world: Any, make: Any) -> None:
    """When the store fails nothing is promised: Stripe is asked to deliver again."""

    class Away(MemoryInboxStore):
        def append(self, arrivals: Any, /) -> Any:
            msg = "the database is away"
            raise StoreError(msg)

    world.store = Away()
    world.open()
    with pytest.raises(InboxBusyError, match="the database is away"):
        world.receive(make.event())


def test_a_store_that_hangs_is_no_acceptance(world: Any, make: Any) -> None:
    """When the store does not answer in time, Stripe is asked to deliver again, which is no second event then."""
    free = threading.Event()

    class Hangs(MemoryInboxStore):
        def append(self, arrivals: Any, /) -> Any:
            free.wait()
            return super().append(arrivals)

    world.store = Hangs()
    world.open(accept_timeout=0.05)
    with pytest.raises(InboxBusyError, match="did not answer"):
        world.receive(make.event())
    free.set()
    world.inbox._core.config = world.inbox.config.__class__()
    world.receive(make.event())
    assert len(world.records()) == 1


def test_the_lane_can_be_chosen(world: Any, make: Any) -> None:
    """A function of the user's names the lane; accounts and modes stay apart whatever it says."""
    world.open(lane=lambda event: event.data.object.metadata["order"])
    for number, account in enumerate(("acct_1", "acct_2")):
        obj = {"id": f"cus_{number}", "object": "customer", "metadata": {"order": "order-7"}}
        world.receive(make.event(f"evt_{number}", obj=obj, account=account))
    assert [record.lane for record in world.records()] == ["test/acct_1/order-7", "test/acct_2/order-7"]


@pytest.mark.parametrize("result", [None, "", 7, LookupError()])
def test_a_broken_lane_function_costs_no_event(sync_world: Any, make: Any, result: Any) -> None:
    """When the function fails or returns no text, the event has its default lane."""

    def lane(event: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    sync_world.open(lane=lane)
    sync_world.receive(make.event())
    assert sync_world.only().lane == "test//cus_1"


@pytest.mark.parametrize("verifier", [None, {}, "whsec_1", {"a": "b"}, {"": WebhookVerifier(WEBHOOK_SECRET)}])
def test_an_inbox_needs_verifiers(world: Any, verifier: Any) -> None:
    """Without something that verifies there is no inbox."""
    with pytest.raises(ConfigurationError):
        world.open(verifier if verifier is not None else 7)


def test_other_wrong_arguments_are_named(world: Any) -> None:
    """A store, a client or a config that cannot work is refused when the inbox is made."""
    from atom_stripe import AsyncStripeClient, StripeClient
    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox
    from tests.canary import API_KEY

    kind, wrong = (WebhookInbox, AsyncStripeClient) if world.colour == "sync" else (AsyncWebhookInbox, StripeClient)
    verifier = WebhookVerifier(WEBHOOK_SECRET)
    for arguments in ({"store": object()}, {"client": wrong(API_KEY)}, {"config": 7}, {"lane": 7}):
        given = {"verifier": verifier, "store": world.store, **arguments}
        with pytest.raises(ConfigurationError):
            kind(**given)


def test_a_closed_inbox_takes_nothing(world: Any, make: Any) -> None:
    """After ``close()``, which may be called twice, a delivery is an error and not a lost event."""
    from atom_stripe.errors import ClientClosedError

    inbox = world.open()
    world.call(inbox.close)
    world.call(inbox.close)
    with pytest.raises(ClientClosedError):
        world.receive(make.event())
