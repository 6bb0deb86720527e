"""Deliveries that somebody made to do harm: bodies, headers, and captured requests, on real databases."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from atom_stripe._wire import signature
from atom_stripe.errors import InvalidSignatureError, MalformedEventError, StaleTimestampError, WebhookError
from atom_stripe.inbox import InboxConfig
from atom_stripe.protocols import InboxQuery
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import MARK, WEBHOOK_SECRET
from tests.inbox_faults.shop import Shop, drain, effect, event, new_inbox, raw, send, signed

GOOD = event("good")


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def inside(value: bytes) -> bytes:
    """Return an event, good but for *value* in its object."""
    return raw(event("odd", obj="cus_odd")).replace(b'"object": "customer"}', b'"object": "customer", "name": ' + value + b"}")


NO_EVENTS = {
    "nothing": b"",
    "a byte": b"{",
    "no UTF-8": b'{"id": "\xff\xfe"}',
    "a mark": b"\xef\xbb\xbf" + raw(GOOD),
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "a list": b"[" + raw(GOOD) + b"]",
    "text": b'"evt_1"',
    "a hundred thousand deep": nested(100_000),
    "a hundred thousand lists deep": b"[" * 100_000,
    "ten thousand digits": inside(b"1" * 10_000),
    "NaN": inside(b"NaN"),
    "Infinity": inside(b"-Infinity"),
    "a NUL in its id": raw(event("a\0b")),
    "half a pair in its id": raw(event("a\ud800b")),
    "half a pair": inside(b'"\\ud800"'),
    "half a pair in the name of its lane": raw(event("odd", obj="~/\ud800")),
    "an id of a megabyte": raw(event("x" * 900_000)),
    "zeros": b"\0" * 1000,
}
ODD_EVENTS = {
    "a NUL": inside(b'"a\\u0000b"'),
    "a large number": inside(b"1e400"),
    "twice the same key": inside(b'"first", "name": "second"'),
    "a hundred deep": inside(nested(100)),
    "an object that is a list": raw(event("odd")).replace(
        b'{"id": "cus_1", "object": "customer"}', b'{"id": ["cus"], "object": 7}'
    ),
    "a type of an object": raw({**event("odd"), "created": "yesterday", "pending_webhooks": None}),
    "a name of a lane": raw(event("odd", obj="~/\0" * 100)),
}


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_signed_bytes_of_any_kind_are_kept(request: pytest.FixtureRequest, kind: str) -> None:
    """What is signed is stored as it came and answered with 200; what is no event is parked, an odd one is handled, none holds up the rest."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    bodies = {**NO_EVENTS, **ODD_EVENTS}
    seen: list[str] = []
    stored: dict[str, Any] = {}
    with shop.inbox(workers=1) as inbox:
        inbox.on("*", name="h")(lambda event, context: seen.append(event.id))
        for name, body in bodies.items():
            odd = body.replace(b'"evt_odd"', json.dumps(f"evt_{len(stored)}").encode()) if name in ODD_EVENTS else body
            receipt = inbox.receive(odd, signed(odd))
            assert receipt.outcome == "stored", name
            assert inbox.receive(odd, signed(odd)).outcome == "duplicate", name
            stored[receipt.event_id] = (name, odd)
        send(inbox, GOOD)
        drain(inbox)
        records = {record.event_id: record for record in inbox.store.find(InboxQuery(payloads=True))}
    assert records.pop("evt_good").status == "done"
    assert set(records) == set(stored)
    for id_, (name, body) in stored.items():
        assert records[id_].payload == body, name
        assert records[id_].status == ("parked" if name in NO_EVENTS else "done"), (name, records[id_].handlers)
    assert "evt_good" in seen


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_unsigned_bytes_of_any_kind_leave_nothing(request: pytest.FixtureRequest, kind: str) -> None:
    """What nobody signed is a WebhookError and nothing else, whatever bytes it is, and nothing of it is kept."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    with shop.inbox(refusals_per_second=1000) as inbox:
        for body in (*NO_EVENTS.values(), *ODD_EVENTS.values()):
            for header in (None, "", signed(body, f"whsec_{MARK}wrong"), signed(b"other")):
                with pytest.raises(WebhookError):
                    inbox.receive(body, header)
    assert shop.statuses() == {}
    assert shop.rows("SELECT count(*) FROM stripe_event_payloads") == [(0,)]
    ((refused,),) = shop.rows("SELECT count(*) FROM stripe_deliveries WHERE outcome = 'refused' AND event IS NULL")
    assert refused == 4 * len({**NO_EVENTS, **ODD_EVENTS})


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_sizes_around_the_limit(request: pytest.FixtureRequest, kind: str) -> None:
    """A body of a byte less than the limit and one at the limit are stored, one byte more is refused although it is signed."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    limit = InboxConfig().max_body_bytes
    with shop.inbox() as inbox:
        for number, size in enumerate((limit - 1, limit)):
            body = raw(event(number)).ljust(size)
            assert inbox.receive(body, signed(body)).outcome == "stored"
        body = raw(event("large")).ljust(limit + 1)
        with pytest.raises(MalformedEventError, match="longer than"):
            inbox.receive(body, signed(body))
    assert shop.statuses() == {"evt_0": "pending", "evt_1": "pending"}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_huge_body_is_refused_before_anything_is_done(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """A hundred megabytes are refused by their length: they are not copied, and nothing is computed over them."""
    body = kind(bytes(100 * 1024 * 1024))
    monkeypatch.setattr(signature.SigningKey, "sign", lambda *_: pytest.fail("it was looked at"))
    with sqlite_shop.inbox() as inbox:
        inbox.store.counts()
        tracemalloc.start()
        try:
            with pytest.raises(MalformedEventError):
                inbox.receive(body, f"t={int(time.time())},v1={'0' * 64}")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1024 * 1024


TIME = int(time.time())
HEADERS = {
    "a megabyte": "t=1,v1=" + "0" * 1_000_000,
    "a megabyte of bytes": b"t=1,v1=" + b"0" * 1_000_000,
    "a thousand signatures": f"t={TIME}" + f",v1={'0' * 64}" * 1000,
    "seventeen signatures": f"t={TIME}" + f",v1={'0' * 64}" * 17,
    "empty": "",
    "commas": "," * 8000,
    "no time": f"v1={'0' * 64}",
    "two times": f"t={TIME},t={TIME},v1={'0' * 64}",
    "a huge time": f"t={'9' * 4000},v1={'0' * 64}",
    "a negative time": f"t=-{TIME},v1={'0' * 64}",
    "a time with a sign": f"t=+{TIME},v1={'0' * 64}",
    "a time in other digits": "t=\u0661\u0662\u0663,v1=" + "0" * 64,
    "superscript digits": "t=\u00b2\u00b3,v1=" + "0" * 64,
    "bytes of other digits": b"t=\xb2\xb3,v1=" + b"0" * 64,
    "a time in hex": f"t=0x6,v1={'0' * 64}",
    "a NUL": f"t={TIME}\0,v1={'0' * 64}",
    "lines": f"t={TIME}\r\nv1: {'0' * 64}",
    "two headers as one": f"t={TIME},v1={'0' * 64},t={TIME - 1},v1={'1' * 64}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_stripe_would_not_send(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch, header: Any) -> None:
    """A header that Stripe would not send is refused before the body is looked at."""
    monkeypatch.setattr(signature.SigningKey, "sign", lambda *_: pytest.fail("the body was looked at"))
    with sqlite_shop.inbox() as inbox, pytest.raises(InvalidSignatureError):
        inbox.receive(raw(GOOD), header)
    assert sqlite_shop.statuses() == {}


def test_only_so_many_signatures_are_tried_in_constant_time(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen signatures and three secrets are forty-eight comparisons, wherever the right one stands, each by hmac.compare_digest."""
    compared: list[bool] = []
    compare = signature.hmac.compare_digest

    def counted(first: Any, second: Any) -> bool:
        compared.append(compare(first, second))
        return compared[-1]

    monkeypatch.setattr(signature.hmac, "compare_digest", counted)
    secrets = [f"whsec_{MARK}other1", WEBHOOK_SECRET, f"whsec_{MARK}other2"]
    for place in (0, 7, 15):
        body = raw(event(place))
        time_, right = signed(body).split(",")
        wrong = [f"v1={'0' * 64}"] * 16
        wrong[place] = right
        compared.clear()
        with sqlite_shop.inbox(verifier=WebhookVerifier(secrets)) as inbox:
            assert inbox.receive(body, ",".join([time_, *wrong])).outcome == "stored"
        assert (len(compared), sum(compared)) == (48, 1)


@pytest.mark.parametrize("kind", ["sqlite", "pgqueuer"])
def test_a_captured_delivery(request: pytest.FixtureRequest, kind: str) -> None:
    """A captured delivery that comes too late, with another body, or at another endpoint is refused, and never reaches the table of events."""
    shop: Shop = request.getfixturevalue(f"{kind}_shop")
    other = f"whsec_{MARK}platform"
    with shop.inbox(verifier={"shop": WebhookVerifier(WEBHOOK_SECRET), "platform": WebhookVerifier(other)}) as inbox:
        body = raw(event())
        late = signed(body, at=time.time() - 301)
        with pytest.raises(StaleTimestampError):
            inbox.receive(body, late, endpoint="shop")
        with pytest.raises(StaleTimestampError):
            inbox.receive(body, signed(body, at=time.time() + 600), endpoint="shop")
        header = signed(body)
        with pytest.raises(InvalidSignatureError):
            inbox.receive(body.replace(b"cus_1", b"cus_2"), header, endpoint="shop")
        with pytest.raises(InvalidSignatureError):
            inbox.receive(body, header, endpoint="platform")
        assert shop.statuses() == {}
        assert inbox.receive(body, header, endpoint="shop").outcome == "stored"
        # Within the tolerance a copy verifies, and is a duplicate.
        assert inbox.receive(body, header, endpoint="shop").outcome == "duplicate"
    assert list(shop.statuses()) == ["evt_1"]


@pytest.mark.parametrize(
    ("skew", "taken"), [(-600, False), (-301, False), (-299, True), (0, True), (59, True), (299, False), (600, False)]
)
def test_a_clock_that_is_wrong(shop: Shop, skew: int, taken: bool) -> None:
    """Signed over five minutes ago, or over a minute ahead of our clock, a delivery is refused; within that it is taken and handled as ever."""
    now = time.time()
    body = raw(event())
    header = signed(body, at=now + skew)
    with shop.open() as store:
        verifier = WebhookVerifier(WEBHOOK_SECRET, clock=lambda: now)
        with new_inbox(store, verifier=verifier) as inbox:
            inbox.on("*", name="h")(effect)
            if taken:
                assert inbox.receive(body, header).outcome == "stored"
                drain(inbox)
            else:
                with pytest.raises(StaleTimestampError):
                    inbox.receive(body, header)
    assert shop.effects() == ([("evt_1", 1)] if taken else [])
