"""Webhooks on a bad day: twice, late, in another order, never; retries as time passes; what a test injects."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe import WebhookVerifier
from atom_stripe._wire.signature import parse
from atom_stripe.errors import ConfigurationError, InvalidSignatureError, NotFoundError
from atom_stripe.testing import StripeSandbox
from tests.canary import WEBHOOK_SECRET
from tests.sandbox.test_deliveries import shop

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 24 * 60 * 60
LIVE = [300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 43200, 43200, 43200, 43200]


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


class Receiver:
    """Remembers the bodies it was sent, and fails as often as it is told to."""

    def __init__(self, *, failures: float = 0) -> None:
        self.failures = failures
        self.bodies: list[dict[str, Any]] = []
        self.signatures: list[str] = []

    def __call__(self, body: bytes, signature: str) -> None:
        self.bodies.append(json.loads(body))
        self.signatures.append(signature)
        if self.failures > 0:
            self.failures -= 1
            raise OSError

    @property
    def ids(self) -> list[str]:
        return [body["id"] for body in self.bodies]


def emit(sandbox: StripeSandbox, number: int) -> list[str]:
    """Make events and return their ids."""
    return [sandbox.webhooks.emit("invoice.paid", {"id": f"in_{index}", "object": "invoice"})["id"] for index in range(number)]


def pending(sandbox: StripeSandbox, event: str) -> int:
    return sandbox.client().events.retrieve(event).pending_webhooks


# Faults.


def test_duplicates(sandbox: StripeSandbox) -> None:
    """A duplicate is the same event, newly signed, and counts once as delivered."""
    receive = Receiver()
    moments = iter(range(1_800_000_000, 1_900_000_000))
    sandbox.webhooks.signing_clock = lambda: next(moments)
    sandbox.webhooks.deliver_to(receive)
    sandbox.webhooks.deliver_to(Receiver(failures=9), events=("invoice.*",))
    with sandbox.faults.duplicate():
        (event,) = emit(sandbox, 1)
    assert receive.ids == [event, event]
    assert receive.signatures[0] != receive.signatures[1]
    assert pending(sandbox, event) == 1
    emit(sandbox, 1)
    assert len(receive.ids) == 3


def test_a_reordering(sandbox: StripeSandbox) -> None:
    """Within each window the order is another one and nothing is missing; what is held back leaves at wait()."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    sandbox.faults.reorder(window=10)
    made = emit(sandbox, 25)
    assert len(receive.ids) == 20
    sandbox.webhooks.wait()
    for start in (0, 10, 20):
        window, sent = receive.ids[start : start + 10], made[start : start + 10]
        assert sorted(window) == sorted(sent)
    assert receive.ids[:10] != made[:10]
    assert receive.ids[10:20] != made[10:20]


@pytest.mark.parametrize("end", ["clear", "block", "advance", "drain"])
def test_what_is_held_back_is_not_lost(sandbox: StripeSandbox, end: str) -> None:
    """The end of the faults, the clock and drain() let go what a reordering held back."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    with sandbox.faults.reorder(window=1000) as faults:
        made = emit(sandbox, 5)
        assert receive.ids == []
        if end == "clear":
            faults.deliveries_clear()
        elif end == "advance":
            sandbox.clock.advance(seconds=1)
        elif end == "drain":
            asyncio.run(sandbox.webhooks.drain())
        assert (receive.ids != []) == (end != "block")
    assert sorted(receive.ids) == sorted(made)


def test_a_missed_event(sandbox: StripeSandbox) -> None:
    """What is dropped never arrives, however much time passes, and only the list of events knows of it."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    with sandbox.faults.drop():
        (event,) = emit(sandbox, 1)
    sandbox.clock.advance(days=10)
    assert sandbox.webhooks.retry_failed() == 0
    assert receive.ids == []
    assert [(delivery.lost, delivery.ok) for delivery in sandbox.webhooks.deliveries] == [(True, False)]
    assert [found.id for found in sandbox.client().events.list(delivery_success=False)] == [event]


def test_a_loss_that_is_noticed(sandbox: StripeSandbox) -> None:
    """With retried=True the first attempt fails and the next one arrives."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    sandbox.faults.drop(retried=True)
    (event,) = emit(sandbox, 1)
    sandbox.clock.advance(seconds=LIVE[0])
    assert receive.ids == [event]
    assert [delivery.attempt for delivery in sandbox.webhooks.deliveries] == [1, 2]
    assert pending(sandbox, event) == 0


def test_a_delay(sandbox: StripeSandbox) -> None:
    """A late delivery arrives when its time has come, and is over when the sandbox's clock says so."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    sandbox.faults.delay((60, 120))
    emit(sandbox, 20)
    sandbox.clock.advance(seconds=59)
    assert receive.ids == []
    sandbox.clock.advance(seconds=61)
    assert len(receive.ids) == 20
    began = int(sandbox.clock.now.timestamp()) - 120
    waited = [delivery.at - began for delivery in sandbox.webhooks.deliveries]
    assert waited == sorted(waited)
    assert len(set(waited)) > 5


def test_one_second(sandbox: StripeSandbox) -> None:
    """Events of different times say the same created, until the faults end."""
    sandbox.faults.same_second()
    stripe = sandbox.client()
    for _ in range(3):
        stripe.customers.create()
        sandbox.clock.advance(seconds=5)
    assert len({event.created for event in stripe.events.list()}) == 1
    sandbox.faults.deliveries_clear()
    stripe.customers.create()
    assert len({event.created for event in stripe.events.list()}) == 2


def test_twins(sandbox: StripeSandbox) -> None:
    """Two events with ids of their own tell of one change; both are delivered and kept."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    with sandbox.faults.twin():
        customer = sandbox.client().customers.create()
    assert len(set(receive.ids)) == 2
    assert {(body["type"], body["data"]["object"]["id"]) for body in receive.bodies} == {("customer.created", customer.id)}
    assert {event.id for event in sandbox.client().events.list()} == set(receive.ids)


def story(seed: int) -> list[tuple[str, int, bool]]:
    with StripeSandbox(seed=seed) as sandbox:
        sandbox.webhooks.deliver_to(Receiver(failures=20))
        sandbox.faults.duplicate(0.2).reorder(7).drop(0.1).twin(0.1).delay((0, 50))
        emit(sandbox, 100)
        sandbox.clock.advance(hours=1)
        return [(delivery.event, delivery.at, delivery.ok) for delivery in sandbox.webhooks.deliveries]


def test_faults_depend_on_the_seed() -> None:
    """One seed gives one bad day, another seed another; about as many are struck as was asked for."""
    first = story(1)
    assert story(1) == first
    assert [at for _, at, _ in story(2)] != [at for _, at, _ in first]
    with StripeSandbox() as sandbox:
        receive = Receiver()
        sandbox.webhooks.deliver_to(receive)
        sandbox.faults.duplicate(0.1).drop(0.2)
        emit(sandbox, 1000)
        assert 130 < sum(delivery.lost for delivery in sandbox.webhooks.deliveries) < 270
        assert 50 < len(receive.ids) - len(set(receive.ids)) < 120


def test_faults_do_not_disturb_ids() -> None:
    """The same requests get the same ids with and without faults of deliveries."""
    with StripeSandbox() as calm, StripeSandbox() as wild:
        for sandbox in (calm, wild):
            sandbox.webhooks.deliver_to(Receiver())
        wild.faults.duplicate(0.5).reorder().drop(0.5).delay(3)
        assert emit(calm, 20) == emit(wild, 20)


@pytest.mark.parametrize(
    ("fault", "argument"),
    [("duplicate", -0.1), ("drop", 1.1), ("twin", 2), ("reorder", 1), ("reorder", 1001), ("reorder", True), ("delay", -1), ("delay", (5, 1)),
     ("delay", float("inf"))],
)  # fmt: skip
def test_what_is_no_fault(sandbox: StripeSandbox, fault: str, argument: Any) -> None:
    """Nonsense is refused."""
    with pytest.raises(ConfigurationError):
        getattr(sandbox.faults, fault)(argument)


def test_faults_of_requests_are_others(sandbox: StripeSandbox) -> None:
    """clear() ends the faults that wait for requests, deliveries_clear() those of webhooks; neither touches the other's."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    sandbox.faults.next(status=500)
    sandbox.faults.drop().deliveries_clear()
    assert len(sandbox.faults) == 1
    sandbox.faults.drop()
    sandbox.faults.clear()
    emit(sandbox, 1)
    assert (len(sandbox.faults), receive.ids) == (0, [])


# Retries.


def test_retries_of_live_mode(sandbox: StripeSandbox) -> None:
    """What fails is tried again with growing pauses for up to three days, each time newly signed, and then no more."""
    receive = Receiver(failures=99)
    moments = iter(range(1_800_000_000, 1_900_000_000))
    sandbox.webhooks.signing_clock = lambda: next(moments)
    sandbox.webhooks.deliver_to(receive)
    (event,) = emit(sandbox, 1)
    sandbox.clock.advance(days=30)
    at = [delivery.at for delivery in sandbox.webhooks.deliveries]
    assert [later - earlier for earlier, later in pairwise(at)] == LIVE
    assert at[-1] - at[0] <= 3 * DAY
    assert [delivery.attempt for delivery in sandbox.webhooks.deliveries] == list(range(1, 14))
    assert len(set(receive.signatures)) == len(receive.ids) == receive.ids.count(event) == 13


@pytest.mark.parametrize(("schedule", "pauses"), [("test", [1800, 3600, 7200]), ("off", [])])
def test_other_retries(sandbox: StripeSandbox, schedule: Any, pauses: list[int]) -> None:
    """In test mode there are three retries, over a few hours; they can be turned off."""
    sandbox.webhooks.retries = schedule
    sandbox.webhooks.deliver_to(Receiver(failures=99))
    emit(sandbox, 1)
    sandbox.clock.advance(days=30)
    at = [delivery.at for delivery in sandbox.webhooks.deliveries]
    assert [later - earlier for earlier, later in pairwise(at)] == pauses


def test_a_retry_that_arrives(sandbox: StripeSandbox) -> None:
    """After a success nothing is sent again, and the event counts its endpoints rightly."""
    receive, other = Receiver(failures=2), Receiver(failures=99)
    sandbox.webhooks.deliver_to(receive)
    sandbox.webhooks.deliver_to(other)
    (event,) = emit(sandbox, 1)
    assert pending(sandbox, event) == 2
    sandbox.clock.advance(seconds=LIVE[0])
    assert pending(sandbox, event) == 2
    sandbox.clock.advance(days=10)
    assert (len(receive.ids), len(other.ids)) == (3, 13)
    assert pending(sandbox, event) == 1


def test_time_passes_in_order(sandbox: StripeSandbox) -> None:
    """Retries and what the sandbox does by itself happen in the order of their times, and the clock shows each."""
    seen: list[tuple[str, datetime]] = []

    def receive(body: bytes, signature: str) -> None:
        seen.append((json.loads(body)["type"], sandbox.clock.now))
        if len(seen) == 1:
            raise OSError

    sandbox.webhooks.deliver_to(receive, events=("customer.created", "balance.available"))
    began = sandbox.clock.now
    stripe = sandbox.client()
    stripe.customers.create()
    cards = {"enabled": True, "allow_redirects": "never"}
    stripe.payment_intents.create(
        amount=2000, currency="usd", payment_method="pm_card_visa", confirm=True, automatic_payment_methods=cards
    )
    sandbox.clock.advance(days=8)
    assert [(name, moment - began) for name, moment in seen[:2]] == [
        ("customer.created", timedelta(0)),
        ("customer.created", timedelta(seconds=300)),
    ]
    assert seen[2:] == sorted(seen[2:], key=lambda entry: entry[1])
    assert sandbox.clock.now == began + timedelta(days=8)


@pytest.mark.parametrize("over_http", [False, True])
def test_an_endpoint_that_is_turned_off(sandbox: StripeSandbox, over_http: bool) -> None:
    """A retry that falls due while its endpoint is off is given up for good; one that comes after it was turned on again is made."""
    with shop([500, 500]) as (url, received):
        receive = Receiver(failures=2)
        endpoint = sandbox.webhooks.deliver_to(url if over_http else receive)
        (event,) = emit(sandbox, 1)
        sandbox.webhooks.wait()
        sandbox.webhooks.disable(endpoint)
        assert emit(sandbox, 1)
        sandbox.webhooks.enable(endpoint)
        sandbox.clock.advance(seconds=LIVE[0])
        assert len(sandbox.webhooks.deliveries) == 2
        sandbox.webhooks.disable(endpoint.id)
        sandbox.clock.advance(seconds=LIVE[1])
        sandbox.webhooks.enable(endpoint.id)
        sandbox.clock.advance(days=10)
        assert sandbox.webhooks.retry_failed() == 0
    assert [delivery.event for delivery in sandbox.webhooks.deliveries] == [event, event]
    assert len(received if over_http else receive.ids) == 2


def test_a_deleted_endpoint(sandbox: StripeSandbox) -> None:
    """An endpoint that was deleted through the API is not tried again."""
    stripe = sandbox.client()
    with shop([500]) as (url, received):
        endpoint = stripe.webhook_endpoints.create(url=url, enabled_events=["*"])
        emit(sandbox, 1)
        sandbox.webhooks.wait()
        stripe.webhook_endpoints.delete(endpoint.id)
        sandbox.clock.advance(days=10)
    assert len(received) == 1


def test_a_retry_over_http(sandbox: StripeSandbox) -> None:
    """advance() makes the retries to a URL and waits until they have been answered."""
    with shop([500, 302, 500]) as (url, received):
        endpoint = sandbox.webhooks.deliver_to(url)
        emit(sandbox, 1)
        sandbox.clock.advance(days=4)
        assert [delivery.status for delivery in sandbox.webhooks.deliveries] == [500, 302, 500, 200]
    for arrived in received:
        WebhookVerifier(endpoint.secret).verify(*arrived)


def test_retries_by_hand(sandbox: StripeSandbox) -> None:
    """retry_failed() takes the place of the next retry and does not add one."""
    receive = Receiver(failures=2)
    sandbox.webhooks.deliver_to(receive)
    emit(sandbox, 1)
    assert sandbox.webhooks.retry_failed() == 1
    sandbox.clock.advance(seconds=LIVE[0])
    assert len(receive.ids) == 2
    sandbox.clock.advance(seconds=LIVE[1])
    assert len(receive.ids) == 3


def test_resending(sandbox: StripeSandbox) -> None:
    """A resent event arrives once more, to all or to one; it is counted once, and cancels no retry."""
    receive, other = Receiver(failures=1), Receiver()
    sandbox.webhooks.deliver_to(receive)
    chosen = sandbox.webhooks.deliver_to(other, events=("customer.created",))
    (event,) = emit(sandbox, 1)
    assert sandbox.webhooks.resend(event) == 1
    assert (receive.ids, pending(sandbox, event)) == ([event] * 2, 0)
    assert sandbox.webhooks.resend(event, chosen) == 1
    assert (other.ids, pending(sandbox, event)) == ([event], 0)
    sandbox.clock.advance(seconds=LIVE[0])
    assert receive.ids == [event] * 3
    assert [(delivery.resent, delivery.attempt) for delivery in sandbox.webhooks.deliveries] == [
        (False, 1), (True, 1), (True, 1), (False, 2),
    ]  # fmt: skip


def test_what_cannot_be_resent(sandbox: StripeSandbox) -> None:
    """An unknown event or endpoint is refused, and so is an event of more than 30 days ago."""
    sandbox.webhooks.deliver_to(Receiver())
    (event,) = emit(sandbox, 1)
    with pytest.raises(ConfigurationError, match="no such webhook endpoint"):
        sandbox.webhooks.resend(event, "we_nobody")
    sandbox.clock.advance(days=30)
    for identity in (event, "evt_nobody"):
        with pytest.raises(ConfigurationError, match="no such event"):
            sandbox.webhooks.resend(identity)


# Secrets.


@pytest.mark.parametrize("over_http", [False, True])
def test_a_secret_that_is_rolled(sandbox: StripeSandbox, over_http: bool) -> None:
    """Until the old secret ends, deliveries are signed with both; afterwards, with the new one alone."""
    receive = Receiver()
    with shop([]) as (url, received):
        endpoint = sandbox.webhooks.deliver_to(url if over_http else receive, secret=WEBHOOK_SECRET)
        new = sandbox.webhooks.roll_secret(endpoint, expires_in=3600)
        counts = []
        for _ in range(2):
            emit(sandbox, 1)
            sandbox.webhooks.wait()
            body, signature = sandbox.webhooks.deliveries[-1].body, received[-1][1] if over_http else receive.signatures[-1]
            parsed = parse(signature)
            assert parsed is not None
            counts.append(len(parsed.candidates))
            WebhookVerifier(new).verify(body, signature)
            if counts == [2]:
                WebhookVerifier(WEBHOOK_SECRET).verify(body, signature)
            sandbox.clock.advance(hours=1)
    assert counts == [2, 1]
    with pytest.raises(InvalidSignatureError):
        WebhookVerifier(WEBHOOK_SECRET).verify(body, signature)


def test_rolling_at_once(sandbox: StripeSandbox) -> None:
    """Without a time the old secret ends at once; more than a day is refused, and so is an endpoint that is not there."""
    receive = Receiver()
    endpoint = sandbox.webhooks.deliver_to(receive)
    new = sandbox.webhooks.roll_secret(endpoint.id)
    emit(sandbox, 1)
    assert receive.signatures[0].count("v1=") == 1
    assert new != endpoint.secret
    for target, seconds in ((endpoint, DAY + 1), (endpoint, -1), ("we_nobody", 0)):
        with pytest.raises(ConfigurationError):
            sandbox.webhooks.roll_secret(target, expires_in=seconds)


def test_a_decoy(sandbox: StripeSandbox) -> None:
    """A v0 that no secret made can go with the signatures; a verifier ignores it."""
    receive = Receiver()
    endpoint = sandbox.webhooks.deliver_to(receive)
    sandbox.webhooks.decoys = True
    emit(sandbox, 1)
    assert receive.signatures[0].split(",")[-1].startswith("v0=")
    WebhookVerifier(endpoint.secret).verify(sandbox.webhooks.deliveries[0].body, receive.signatures[0])


def test_two_endpoints_at_one_url(sandbox: StripeSandbox) -> None:
    """An endpoint for the account and one for connected accounts share a URL: each event comes once, signed with the right secret."""
    with shop([]) as (url, received):
        own, connected = sandbox.webhooks.deliver_to(url), sandbox.webhooks.deliver_to(url, connect=True)
        account = sandbox.connect()
        sandbox.client().customers.create()
        sandbox.client(stripe_account=account.id).customers.create()
        sandbox.webhooks.wait()
    assert WebhookVerifier(own.secret).verify(*received[0]).account is None
    assert WebhookVerifier(connected.secret).verify(*received[1]).account == account.id
    for secret, arrived in ((connected.secret, received[0]), (own.secret, received[1])):
        with pytest.raises(InvalidSignatureError):
            WebhookVerifier(secret).verify(*arrived)
    assert len(received) == 2


# Injected events.


def test_an_injected_event(sandbox: StripeSandbox) -> None:
    """Any object makes an event of any type, which is delivered and kept with all that was said of it."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    invoice = {"id": "in_1", "object": "invoice", "status": "paid"}
    row = sandbox.webhooks.emit(
        "invoice.updated", invoice, id="evt_mine", created=sandbox.clock.now - timedelta(days=1), livemode=True,
        previous_attributes={"status": "open"},
    )  # fmt: skip
    assert (row["id"], row["livemode"], row["pending_webhooks"]) == ("evt_mine", True, 0)
    assert row["created"] == sandbox.clock.timestamp - DAY
    assert row["data"] == {"object": invoice, "previous_attributes": {"status": "open"}}
    kept = sandbox.client().events.retrieve("evt_mine")
    assert kept.to_dict() == row
    assert receive.bodies == [{**row, "pending_webhooks": 1}]
    invoice["status"] = "void"
    assert sandbox.client().events.retrieve("evt_mine").to_dict() == row


def test_an_event_of_a_connected_account(sandbox: StripeSandbox) -> None:
    """An injected event of a connected account reaches the endpoints for those, and is in that account's list."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive, connect=True)
    account = sandbox.connect()
    for which in (account, account.id):
        assert sandbox.webhooks.emit("payout.paid", {"id": "po_1", "object": "payout"}, account=which)["account"] == account.id
    assert len(receive.ids) == 2
    assert list(sandbox.client().events.list()) == []
    assert len(list(sandbox.client(stripe_account=account.id).events.list())) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"account": "acct_nobody"}, {"api_version": "2019-12-03"}, {"api_version": "newest"}, {"id": "in_1"}, {"id": "evt_"},
        {"created": datetime(2026, 1, 1)}, {"object": {"id": object()}}, {"type": "Invoice paid"}, {"type": ""},  # noqa: DTZ001 - the point
    ],
)  # fmt: skip
def test_what_cannot_be_injected(sandbox: StripeSandbox, wrong: dict[str, Any]) -> None:
    """Nonsense makes no event."""
    arguments: dict[str, Any] = {"type": "invoice.paid", "object": {"id": "in_1", "object": "invoice"}, **wrong}
    with pytest.raises(ConfigurationError):
        sandbox.webhooks.emit(**arguments)
    assert list(sandbox.client().events.list()) == []


def test_an_id_is_used_once(sandbox: StripeSandbox) -> None:
    """A second event with an id that is taken is refused."""
    sandbox.webhooks.emit("invoice.paid", {}, id="evt_1")
    with pytest.raises(ConfigurationError, match="resend"):
        sandbox.webhooks.emit("invoice.paid", {}, id="evt_1")


def test_many_events_are_paged(sandbox: StripeSandbox) -> None:
    """Every event is on one page, whichever way the list is read."""
    made = emit(sandbox, 45)
    stripe = sandbox.client()
    assert [event.id for event in stripe.events.list(limit=7)] == made[::-1]
    assert [event.id for event in stripe.events.list(limit=7, ending_before=made[0])] == made[1:]
    page = stripe.events.list(limit=7, starting_after=made[7], types=["invoice.*"])
    assert [event.id for event in page.data] == made[6::-1]
    assert not page.has_more


# The receivers' own faults.


def test_a_receiver_that_hangs(sandbox: StripeSandbox) -> None:
    """An endpoint that never answers costs its time and no more; the attempt says so, and the event is tried again later."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sandbox.webhooks.timeout = 0.05
        sandbox.webhooks.deliver_to(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        emit(sandbox, 1)
        sandbox.webhooks.wait()
        (delivery,) = sandbox.webhooks.deliveries
        assert (delivery.ok, delivery.timed_out, delivery.status) == (False, True, None)
        sandbox.clock.advance(seconds=LIVE[0])
    assert len(sandbox.webhooks.deliveries) == 2


def test_closing_does_not_wait_for_a_receiver() -> None:
    """A sandbox is closed although an endpoint would keep it waiting for ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with StripeSandbox() as sandbox:
            sandbox.webhooks.timeout = 600
            sandbox.webhooks.deliver_to(f"http://127.0.0.1:{silent.getsockname()[1]}/")
            emit(sandbox, 1)
            connection, _ = silent.accept()
            assert connection.recv(4) == b"POST"
        assert not [thread for thread in threading.enumerate() if thread.name == "stripe-sandbox-webhooks"]
        connection.close()


ANSWERS = [
    (b"nonsense\r\n\r\n", False, None),
    (b"HTTP/1.1 200 " + b"x" * 70000 + b"\r\n\r\n", False, None),
    (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", False, None),
    (b"", False, None),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 200000, True, 200),
    (b"HTTP/1.1 204 No Content\r\n\r\n", True, 204),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, 200),
]


@pytest.mark.parametrize(("answer", "ok", "status"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_a_receiver_answers(sandbox: StripeSandbox, answer: bytes, ok: bool, status: int | None) -> None:
    """Whatever bytes come back, the delivery has an outcome, nothing of them is kept, and the next one is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    while not connection.recv(65536).endswith(b"}"):
                        pass
                    with suppress(OSError):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        sandbox.webhooks.deliver_to(f"http://127.0.0.1:{server.getsockname()[1]}/a b?c=d")
        for _ in range(2):
            emit(sandbox, 1)
            sandbox.webhooks.wait()
            thread.join(0.05)
        thread.join()
    assert [(delivery.ok, delivery.status) for delivery in sandbox.webhooks.deliveries] == [(ok, status)] * 2
    assert "xxx" not in str([delivery.error for delivery in sandbox.webhooks.deliveries])


def test_connections_stay_open(sandbox: StripeSandbox) -> None:
    """Deliveries share a connection; one that the receiver has closed is replaced, and no delivery fails for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        counts: list[int] = []

        def serve() -> None:
            for requests in (3, 2):
                connection, _ = server.accept()
                with connection:
                    for _ in range(requests):
                        while not connection.recv(65536).endswith(b"}"):
                            pass
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                counts.append(requests)

        thread = threading.Thread(target=serve)
        thread.start()
        sandbox.webhooks.deliver_to(f"http://127.0.0.1:{server.getsockname()[1]}/")
        emit(sandbox, 3)
        sandbox.webhooks.wait()
        while not counts:
            thread.join(0.01)
        emit(sandbox, 2)
        sandbox.webhooks.wait()
        thread.join()
    assert (counts, [delivery.status for delivery in sandbox.webhooks.deliveries]) == ([3, 2], [200] * 5)


def test_several_at_once(sandbox: StripeSandbox) -> None:
    """With a concurrency of three, three deliveries are on their way together and everything arrives once."""
    together = threading.Barrier(3)

    class Slow:
        met = 0

    def meet(answers: list[int]) -> None:
        together.wait(10)
        Slow.met += 1

    with shop([], meet) as (url, received):
        sandbox.webhooks.concurrency = 3
        sandbox.webhooks.deliver_to(url)
        made = emit(sandbox, 3)
        sandbox.webhooks.wait()
    assert Slow.met == 3
    assert sorted(json.loads(body)["id"] for body, _ in received) == sorted(made)


@pytest.mark.parametrize(("name", "value"), [("timeout", 0), ("timeout", 601), ("concurrency", 0), ("concurrency", 65), ("retries", "never"),
    ("api_version", "2019-12-03")])  # fmt: skip
def test_settings_have_bounds(sandbox: StripeSandbox, name: str, value: Any) -> None:
    """A setting that makes no sense is refused, and the old one stays."""
    before = getattr(sandbox.webhooks, name)
    with pytest.raises(ConfigurationError):
        setattr(sandbox.webhooks, name, value)
    assert getattr(sandbox.webhooks, name) == before


def test_waiting_for_oneself(sandbox: StripeSandbox) -> None:
    """wait() inside a receiver says at once that it cannot end; other calls work there, and what they cause comes afterwards."""
    errors: list[Exception] = []

    def receive(body: bytes, signature: str) -> None:
        try:
            sandbox.webhooks.wait()
        except ConfigurationError as error:
            errors.append(error)
        if len(errors) == 1:
            sandbox.clock.advance(hours=1)
            emit(sandbox, 1)

    sandbox.webhooks.deliver_to(receive)
    emit(sandbox, 1)
    assert [str(error)[:24] for error in errors] == ["wait() inside a receiver"] * 2
    sandbox.webhooks.wait()


def test_the_end() -> None:
    """A closed sandbox answers nothing more and lets nothing happen; what a reordering or a retry had in store is forgotten."""
    receive = Receiver(failures=1)
    with StripeSandbox() as sandbox:
        sandbox.webhooks.deliver_to(receive)
        emit(sandbox, 1)
        transport = sandbox.transport()
        sandbox.faults.reorder()
        emit(sandbox, 1)
    with httpx.Client(transport=transport) as client, pytest.raises(ConfigurationError, match="closed"):
        client.get("https://api.stripe.com/v1/events")
    for act in (
        lambda: emit(sandbox, 1),
        lambda: sandbox.clock.advance(days=1),
        lambda: sandbox.webhooks.deliver_to("http://127.0.0.1:1/"),
    ):
        with pytest.raises(ConfigurationError, match="closed"):
            act()
    sandbox.webhooks.wait()
    assert len(receive.ids) == 1


def test_only_so_many_are_remembered(sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of deliveries has a bound, and keeps the latest."""
    sandbox.webhooks.deliver_to(Receiver())
    assert sandbox.webhooks._dispatch._deliveries.maxlen == 100_000
    monkeypatch.setattr(sandbox.webhooks._dispatch, "_deliveries", deque(maxlen=3))
    made = emit(sandbox, 5)
    assert [delivery.event for delivery in sandbox.webhooks.deliveries] == made[-3:]


def test_coroutine_functions_fail_and_are_tried_again(sandbox: StripeSandbox) -> None:
    """The retries of a coroutine function wait for drain()."""
    heard: list[str] = []

    async def receive(body: bytes, signature: str) -> None:
        await asyncio.sleep(0)
        heard.append(json.loads(body)["id"])
        if len(heard) == 1:
            raise OSError

    sandbox.webhooks.deliver_to(receive)
    (event,) = emit(sandbox, 1)
    asyncio.run(sandbox.webhooks.drain())
    sandbox.clock.advance(seconds=LIVE[0])
    assert heard == [event]
    asyncio.run(sandbox.webhooks.drain())
    assert heard == [event, event]
    assert pending(sandbox, event) == 0


def test_events_of_the_past_are_gone(sandbox: StripeSandbox) -> None:
    """An event that is injected as of more than 30 days ago is delivered, and the API has none."""
    receive = Receiver()
    sandbox.webhooks.deliver_to(receive)
    sandbox.webhooks.emit("invoice.paid", {}, id="evt_old", created=datetime(2026, 1, 1, tzinfo=UTC))
    assert receive.ids == ["evt_old"]
    with pytest.raises(NotFoundError):
        sandbox.client().events.retrieve("evt_old")
