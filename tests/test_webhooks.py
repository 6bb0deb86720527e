"""The verifier: what Stripe signed gets in, nothing else does, and nothing but a WebhookError comes out of what does not."""

from __future__ import annotations

import copy
import json
import pickle
import time
import traceback
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from atom_stripe._wire.signature import sign, signature_header
from atom_stripe.config import StripeConfig
from atom_stripe.errors import (
    ConfigurationError,
    InvalidSignatureError,
    MalformedEventError,
    StaleTimestampError,
    WebhookError,
)
from atom_stripe.models.base import StripeObject
from atom_stripe.models.customer import Customer
from atom_stripe.models.event import Event, EventNotification
from atom_stripe.models.payment_intent import PaymentIntent
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import API_KEY, CLIENT_SECRET, MARK, WEBHOOK_SECRET

NOW = 1_795_435_200
OTHER_SECRET = f"whsec_other{MARK}"
SNAPSHOT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "account": "acct_1",
    "api_version": "2026-10-28.endive",
    "created": NOW - 2,
    "data": {
        "object": {"id": "pi_1", "object": "payment_intent", "amount": 2000, "client_secret": CLIENT_SECRET},
        "previous_attributes": {"status": "processing"},
    },
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_1", "idempotency_key": None},
    "type": "payment_intent.succeeded",
}
THIN: dict[str, Any] = {
    "id": "evt_2",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "livemode": True,
    "created": "2026-11-23T10:00:00.330Z",
    "context": "acct_1",
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "k1"}},
}


def written(event: object) -> bytes:
    """Return *event* as Stripe writes it."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def verifier(secrets: Any = WEBHOOK_SECRET, *, now: float = NOW, **settings: Any) -> WebhookVerifier:
    """Return a verifier whose clock stands still."""
    return WebhookVerifier(secrets, clock=lambda: now, **settings)


def header(body: bytes, *secrets: str, at: int = NOW) -> str:
    """Return the header that Stripe sends with *body*."""
    return signature_header(body, secrets or (WEBHOOK_SECRET,), at)


def verify(event: object) -> Event | EventNotification:
    """Return what the verifier makes of *event*, rightly signed."""
    body = written(event)
    return verifier().verify(body, header(body))


def refused(kind: type[WebhookError], body: Any, signature: Any, checker: WebhookVerifier | None = None) -> str:
    """Return the message with which a delivery is refused as *kind*."""
    with pytest.raises(WebhookError) as caught:
        (checker or verifier()).verify(body, signature)
    assert type(caught.value) is kind
    assert MARK not in str(caught.value) + repr(caught.value) + str(vars(caught.value)) + "".join(
        traceback.format_exception(caught.value)
    )
    return str(caught.value)


BODY = written(SNAPSHOT)


def test_a_snapshot() -> None:
    """A snapshot event comes with its object, typed, and everything else that Stripe sent."""
    event = verifier().verify(BODY, header(BODY))
    assert isinstance(event, Event)
    assert (event.id, event.type, event.account, event.api_version, event.livemode) == (
        "evt_1",
        "payment_intent.succeeded",
        "acct_1",
        "2026-10-28.endive",
        False,
    )
    assert isinstance(event.data.object, PaymentIntent)
    assert (event.data.object.id, event.data.object.amount) == ("pi_1", 2000)
    assert event.data.previous_attributes == {"status": "processing"}
    assert event.request is not None
    assert event.request.id == "req_1"
    assert event.to_dict() == SNAPSHOT
    assert event.last_response is None


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"id": "cus_1", "object": "customer"}, Customer),
        ({"id": "x", "object": "unheard_of"}, StripeObject),
        ({}, StripeObject),
        ({"object": 5}, StripeObject),
        ({"id": "evt_9", "object": "event"}, Event),
    ],
)
def test_the_object_of_an_event_is_typed(sent: dict[str, Any], kind: type) -> None:
    """The object of an event has the type that Stripe names in it; one of no known type is a StripeObject."""
    event = verify({**SNAPSHOT, "data": {"object": sent}})
    assert isinstance(event, Event)
    assert type(event.data.object) is kind


def test_a_notification() -> None:
    """A thin event says what happened to which object, without the object."""
    event = verify(THIN)
    assert isinstance(event, EventNotification)
    assert (event.id, event.type, event.context, event.created) == (
        "evt_2",
        "v1.billing.meter.error_report_triggered",
        "acct_1",
        "2026-11-23T10:00:00.330Z",
    )
    assert event.related_object is not None
    assert (event.related_object.id, event.related_object.url) == ("mtr_1", "/v1/billing/meters/mtr_1")
    assert event.reason is not None
    assert event.reason.request is not None
    assert event.reason.request.idempotency_key == "k1"
    assert event.to_dict() == THIN


@pytest.mark.parametrize("changes", [{"related_object": None}, {"related_object": ...}])
def test_a_notification_about_no_object(changes: dict[str, Any]) -> None:
    """A notification without a related object, such as that of a deauthorized application, is one."""
    event = verify({name: value for name, value in {**THIN, **changes}.items() if value is not ...})
    assert isinstance(event, EventNotification)
    assert event.related_object is None


def test_unknown_types_of_events_pass() -> None:
    """A type of event that is newer than this package is an event like any other."""
    assert verify({**SNAPSHOT, "type": "brand.new"}).type == "brand.new"
    assert verify({**THIN, "type": "v9.brand.new"}).type == "v9.brand.new"


def test_what_an_event_may_leave_out() -> None:
    """Nothing but id, type and object is needed to be an event, so that no change of Stripe's loses one."""
    event = verify({"id": "evt_1", "object": "event", "type": "x", "data": {"object": {}}})
    assert isinstance(event, Event)
    assert (event.account, event.api_version, event.request, event.created_at) == (None, None, None, None)


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview, bytes.decode], ids=["bytes", "bytearray", "memoryview", "str"])
def test_bodies_of_every_kind(convert: Any) -> None:
    """A body may come as any kind of bytes, or as the text that they are in UTF-8."""
    body = written({**SNAPSHOT, "account": "Größe 💶"})
    assert verifier().verify(convert(body), header(body)).to_dict()["account"] == "Größe 💶"


def test_a_part_of_a_buffer() -> None:
    """A memoryview of a part of a buffer is that part."""
    assert verifier().verify(memoryview(b"xx" + BODY + b"yy")[2:-2], header(BODY)).id == "evt_1"


def test_headers_of_both_kinds() -> None:
    """A header may come as text or, as ASGI has it, as bytes."""
    assert verifier().verify(BODY, header(BODY).encode()).id == "evt_1"


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        b"",
        " ",
        5,
        ["t=1"],
        bytearray(b"t=1"),
        "t=1",
        "v1=" + "a" * 64,
        f"t={NOW},v1=short",
        f"t={NOW},v0=" + "a" * 64,
        "é" * 100,
        b"\xff\xfe",
        "\ud800",
        "t=" + "1" * 10_000,
        "x" * 10_000,
    ],
)
def test_no_signature(signature: Any) -> None:
    """Without a header that Stripe would send there is nothing to check, and the message asks who sent this."""
    assert (
        refused(InvalidSignatureError, BODY, signature)
        == "there is no Stripe-Signature header with a time and a v1 signature; is this request from Stripe?"
    )


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BODY + b" ", header(BODY)),
        (BODY[:-1], header(BODY)),
        (BODY.replace(b"2000", b"2001"), header(BODY)),
        (json.dumps(SNAPSHOT).encode(), header(BODY)),
        (b"", header(BODY)),
        (BODY, header(BODY, OTHER_SECRET)),
        (BODY, header(BODY).replace(f"t={NOW}", f"t={NOW + 1}")),
        (BODY, f"t={NOW},v1={'0' * 64}"),
        (BODY, header(BODY).replace("v1=", "v0=") + f",v1={'0' * 64}"),
        (BODY, header(BODY).upper().replace("T=", "t=").replace("V1=", "v1=")),
    ],
    ids=range(10),
)
def test_wrong_signatures(body: bytes, signature: str) -> None:
    """A body that was changed, a time that was changed, another secret, or a scheme that is a decoy: nobody signed this."""
    assert (
        refused(InvalidSignatureError, body, signature)
        == "no v1 signature fits: is this the endpoint's own secret, and is the body passed on exactly as it came?"
    )


def test_the_decoy_is_ignored() -> None:
    """A right signature under v0 does not count, and a wrong one does not spoil a right v1."""
    right = sign(BODY, WEBHOOK_SECRET.encode(), NOW).decode()
    refused(InvalidSignatureError, BODY, f"t={NOW},v0={right}")
    assert verifier().verify(BODY, f"t={NOW},v0={'0' * 64},v1={right}").id == "evt_1"


@pytest.mark.parametrize(
    "secrets",
    [
        [WEBHOOK_SECRET, OTHER_SECRET],
        (OTHER_SECRET, WEBHOOK_SECRET),
        {WEBHOOK_SECRET},
        {WEBHOOK_SECRET: "endpoint"}.keys(),
        SecretStr(WEBHOOK_SECRET),
        WEBHOOK_SECRET,
    ],
    ids=range(6),
)
def test_any_of_several_secrets(secrets: Any) -> None:
    """Secrets are one or several, bare or wrapped, and any of them is enough, at every delivery."""
    checker = verifier(secrets)
    for _ in range(2):
        assert checker.verify(BODY, header(BODY)).id == "evt_1"
    refused(InvalidSignatureError, BODY, header(BODY, "whsec_neither1"), checker)


def test_rolling_a_secret() -> None:
    """While Stripe signs with the old secret and the new one, whoever knows either of them can check."""
    both = header(BODY, WEBHOOK_SECRET, OTHER_SECRET)
    for known in (WEBHOOK_SECRET, OTHER_SECRET, [WEBHOOK_SECRET, OTHER_SECRET]):
        assert verifier(known).verify(BODY, both).id == "evt_1"
    refused(InvalidSignatureError, BODY, both, verifier("whsec_neither1"))


@pytest.mark.parametrize("age", [-60, -59, -1, 0, 1, 299, 300])
def test_fresh_signatures(age: int) -> None:
    """A signature counts until it is 300 seconds old, and from 60 seconds before our clock reaches it."""
    assert verifier().verify(BODY, header(BODY, at=NOW - age)).id == "evt_1"


@pytest.mark.parametrize("age", [-(10**9), -3600, -61, 301, 3600, NOW])
def test_stale_signatures(age: int) -> None:
    """A second beyond either limit the signature does not count, and the error says how far off it is."""
    with pytest.raises(StaleTimestampError) as caught:
        verifier().verify(BODY, header(BODY, at=NOW - age))
    assert caught.value.age == age
    when = f"{age} s ago" if age > 0 else f"{-age} s in the future"
    assert str(caught.value) == f"the body was signed {when}: a replayed delivery, or this machine's clock is wrong"


def test_fractions_of_seconds_count() -> None:
    """The clock is not rounded: half a second beyond a limit is beyond it."""
    signature = header(BODY)
    assert verifier(now=NOW + 300.0).verify(BODY, signature).id == "evt_1"
    refused(StaleTimestampError, BODY, signature, verifier(now=NOW + 300.5))
    refused(StaleTimestampError, BODY, signature, verifier(now=NOW - 60.5))


def test_tolerances_can_be_set() -> None:
    """Both limits are the caller's; the one for the future may be none at all."""
    strict = verifier(tolerance=10, future_tolerance=0)
    for age in (0, 10):
        assert strict.verify(BODY, header(BODY, at=NOW - age)).id == "evt_1"
    for age in (-1, 11):
        refused(StaleTimestampError, BODY, header(BODY, at=NOW - age), strict)
    assert "signed 1 s ago" in refused(StaleTimestampError, BODY, header(BODY, at=NOW - 1), verifier(tolerance=0.5))


def test_the_signature_is_checked_before_the_age() -> None:
    """Who cannot sign does not learn what our clock says."""
    refused(InvalidSignatureError, BODY, f"t={NOW - 9999},v1={'0' * 64}")


def test_the_clock_is_read_at_each_delivery() -> None:
    """A verifier that lives long does not keep the time at which it was made."""
    now = [float(NOW)]
    checker = WebhookVerifier(WEBHOOK_SECRET, clock=lambda: now[0])
    assert checker.verify(BODY, header(BODY)).id == "evt_1"
    now[0] += 301
    refused(StaleTimestampError, BODY, header(BODY), checker)
    assert checker.verify(BODY, header(BODY, at=NOW + 301)).id == "evt_1"


def test_a_broken_clock_lets_nothing_in() -> None:
    """A clock that gives no number makes no signature fresh."""
    refused(StaleTimestampError, BODY, header(BODY), verifier(now=float("nan")))


def test_the_clock_is_the_machine_s() -> None:
    """Without a clock of the caller's the time is that of the machine."""
    assert WebhookVerifier(WEBHOOK_SECRET).verify(BODY, header(BODY, at=int(time.time()))).id == "evt_1"
    refused(StaleTimestampError, BODY, header(BODY, at=int(time.time()) - 1000), WebhookVerifier(WEBHOOK_SECRET))


@pytest.mark.parametrize("size", [1, len(BODY) - 1])
def test_bodies_are_bounded(size: int) -> None:
    """A body that is too long is refused before anything is computed over it, signed or not."""
    checker = verifier(max_body_bytes=size)
    for signature in (header(BODY), None):
        assert refused(MalformedEventError, BODY, signature, checker) == f"the body is longer than {size} bytes"


def test_the_longest_body() -> None:
    """A body may be exactly as long as allowed, and unless set otherwise that is four mebibytes; text counts in bytes."""
    assert verifier(max_body_bytes=len(BODY)).verify(BODY, header(BODY)).id == "evt_1"
    largest = written({**SNAPSHOT, "padding": ""})
    largest = written({**SNAPSHOT, "padding": "x" * (4 * 1024 * 1024 - len(largest))})
    assert len(largest) == 4 * 1024 * 1024
    assert verifier().verify(largest, header(largest)).id == "evt_1"
    refused(MalformedEventError, largest + b" ", header(largest + b" "))
    refused(MalformedEventError, "é" * 3, header("ééé".encode()), verifier(max_body_bytes=5))


@pytest.mark.parametrize("body", [None, 5, ["x"], {"id": "evt_1"}, SNAPSHOT, "\ud800", object(), range(3)])
def test_bodies_that_are_no_bytes(body: Any) -> None:
    """A body that was parsed already, or never was bytes, is refused with what to pass."""
    assert refused(MalformedEventError, body, header(BODY)) == "the body must be the bytes of the request, as they came"


def test_a_released_buffer() -> None:
    """A memoryview that was released holds no body any more."""
    view = memoryview(BODY)
    view.release()
    assert refused(MalformedEventError, view, header(BODY)) == "the body must be the bytes of the request, as they came"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"5",
        b'"evt_1"',
        b"[]",
        b"[" + BODY + b"]",
        b"{",
        BODY[:-1],
        BODY + b"x",
        b"\xef\xbb\xbf" + BODY,
        b'{"id":NaN}',
        b'{"id":"\xff"}',
        b'{"id":"\\ud800"}',
        b'{"a":' * 100_000,
        b"<xml/>",
        b"id=evt_1&object=event",
    ],
)
def test_signed_bodies_that_are_no_json_object(body: bytes) -> None:
    """What is signed and is not one JSON object is malformed."""
    assert refused(MalformedEventError, body, header(body)) == "the body is signed, but it is not a JSON object"


@pytest.mark.parametrize("event", [SNAPSHOT, THIN], ids=["snapshot", "thin"])
@pytest.mark.parametrize("name", ["id", "type"])
@pytest.mark.parametrize("value", [..., None, "", 5, True, ["evt_1"], {"id": "evt_1"}])
def test_events_have_an_id_and_a_type(event: dict[str, Any], name: str, value: object) -> None:
    """An event without an id or type could not be told from another or given to a handler."""
    body = written({key: entry for key, entry in {**event, name: value}.items() if entry is not ...})
    assert refused(MalformedEventError, body, header(body)) == "the body is signed, but it has no event id and type"


NO_EVENTS: list[dict[str, Any]] = [
    {"object": None},
    {"object": "Event"},
    {"object": "charge"},
    {"object": "v2.core.event_destination"},
    {"object": 5},
    {"object": ["event"]},
    {"data": None},
    {"data": []},
    {"data": "x"},
    {"data": {}},
    {"data": {"object": None}},
    {"data": {"object": []}},
    {"data": {"object": "pi_1"}},
    {"data": {"objects": {}}},
]


@pytest.mark.parametrize("changes", NO_EVENTS)
def test_what_is_no_event(changes: dict[str, Any]) -> None:
    """What does not call itself an event, or calls itself one without an object in it, is malformed."""
    body = written({**SNAPSHOT, **changes})
    assert (
        refused(MalformedEventError, body, header(body))
        == "the body is signed, but it is neither an event with its object nor an event notification"
    )


EVIL_URLS: list[object] = [
    None,
    "",
    5,
    ["/v1/billing/meters/mtr_1"],
    "v1/billing/meters/mtr_1",
    "https://evil.example/v1/billing/meters/mtr_1",
    "https://api.stripe.com/v1/billing/meters/mtr_1",
    "//evil.example/v1/x",
    "/\\evil.example/v1/x",
    "\\\\evil.example\\v1",
    "@evil.example/v1/x",
    ".evil.example/v1/x",
    ":443@evil.example/v1/x",
    "/v1/x\r\nHost: evil.example",
    "/v1/x y",
    "/v1/x#y",
    "\t//evil.example",
    "/" + "a" * 9000,
]


@pytest.mark.parametrize("url", EVIL_URLS)
def test_related_objects_stay_with_stripe(url: object) -> None:
    """A notification whose related object is anywhere but on Stripe's host is refused: the key would be sent there."""
    body = written({**THIN, "related_object": {"id": "mtr_1", "type": "billing.meter", "url": url}})
    message = refused(MalformedEventError, body, header(body))
    assert message == "the notification's related_object has a URL that is not a path on Stripe's host"


@pytest.mark.parametrize("related", ["/v1/x", 5, [], ["/v1/x"], {}, {"id": "mtr_1"}, True, False, 0, ""])
def test_related_objects_have_a_url(related: object) -> None:
    """A related object that is none, or that cannot be fetched, is refused."""
    body = written({**THIN, "related_object": related})
    refused(MalformedEventError, body, header(body))


@pytest.mark.parametrize("secrets", [[], (), None, {}, iter(())], ids=range(5))
def test_a_missing_secret_in_words(secrets: Any) -> None:
    """Without any secret the message says how to give one."""
    with pytest.raises(
        ConfigurationError, match=r"needs your endpoint's signing secret \(whsec_…\): pass it, or set STRIPE_WEBHOOK_SECRET$"
    ):
        WebhookVerifier(secrets)


MALFORMED_SECRETS: list[Any] = [
    "",
    MARK,
    API_KEY,
    f"WHSEC_{MARK}",
    f" whsec_{MARK}",
    f"whsec_{MARK}\n",
    f"whsec_{MARK} {MARK}",
    f"whsec_{MARK},whsec_{MARK}",
    f"whsec_{MARK}é",
    f"whsec_{MARK}\x00",
    f"whsec_{MARK}\ud800",
    "whsec_",
    "whsec_1234567",
    f"we_{MARK}",
    f"whsec_{MARK}".encode(),
    5,
    5.0,
    object(),
    ...,
]


@pytest.mark.parametrize("value", MALFORMED_SECRETS, ids=range(len(MALFORMED_SECRETS)))
@pytest.mark.parametrize(
    "wrap",
    [lambda value: value, lambda value: [WEBHOOK_SECRET, value], lambda value: [value, SecretStr(WEBHOOK_SECRET)]],
    ids=["alone", "last", "first"],
)
def test_malformed_secrets(value: Any, wrap: Any) -> None:
    """What cannot be a signing secret, alone or among others, is refused when the verifier is made, and never shown."""
    with pytest.raises(
        ConfigurationError, match=r"^a signing secret looks like whsec_…, with nothing around it; this is something else$"
    ) as caught:
        WebhookVerifier(wrap(value))
    assert MARK not in str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))


def test_the_shortest_secret() -> None:
    """Eight characters behind the prefix are enough."""
    assert repr(WebhookVerifier("whsec_12345678")) == "WebhookVerifier(1 secrets)"


def test_the_most_secrets() -> None:
    """Thirty-two secrets pass; with more every delivery would cost more than it may, and the message says how many there can be."""
    many = [f"whsec_{number:08}" for number in range(33)]
    assert verifier(many[:32]).verify(BODY, header(BODY, many[31])).id == "evt_1"
    with pytest.raises(ConfigurationError, match="32"):
        WebhookVerifier(many)


@pytest.mark.parametrize(
    "settings",
    [
        *({"tolerance": value} for value in (0, -1, float("nan"), float("inf"), None, "300", True)),
        *({"future_tolerance": value} for value in (-1, float("nan"), float("inf"), None, "60")),
        *({"max_body_bytes": value} for value in (0, -1, float("nan"), float("inf"), None, "1000", 1.5)),
    ],
)
def test_limits_cannot_be_switched_off(settings: dict[str, Any]) -> None:
    """A limit that limits nothing, or is no number, is refused: a signature that never ages can be replayed for ever."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        WebhookVerifier(WEBHOOK_SECRET, **settings)


def test_from_config() -> None:
    """A verifier takes the secrets of a configuration, and says so when there are none."""
    config = StripeConfig(api_key=SecretStr(API_KEY), webhook_secrets=(SecretStr(OTHER_SECRET), SecretStr(WEBHOOK_SECRET)))
    assert WebhookVerifier.from_config(config).verify(BODY, header(BODY, at=int(time.time()))).id == "evt_1"
    with pytest.raises(ConfigurationError, match="set STRIPE_WEBHOOK_SECRET"):
        WebhookVerifier.from_config(config.with_settings(webhook_secrets=()))


def test_no_secret_is_shown() -> None:
    """A verifier shows how many secrets it has and nothing of them, and an event shows its id and nothing of its object."""
    checker = verifier([WEBHOOK_SECRET, OTHER_SECRET])
    assert repr(checker) == str(checker) == "WebhookVerifier(2 secrets)"
    event = checker.verify(BODY, header(BODY))
    assert isinstance(event, Event)
    assert MARK not in repr(event) + str(event) + repr(event.data) + repr(event.data.object)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_verifier_is_not_pickled(protocol: int) -> None:
    """A verifier does not go into a pickle, which would hold its secrets in clear."""
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(WebhookVerifier(WEBHOOK_SECRET), protocol)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_verifier_is_copied(copied: Any) -> None:
    """A copy of a verifier, which never changes, verifies what it does."""
    assert copied(verifier()).verify(BODY, header(BODY)).id == "evt_1"


def test_events_pickle() -> None:
    """An event can be handed to another process."""
    for sent in (SNAPSHOT, THIN):
        event = verify(sent)
        assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - our own bytes


# The official package as a second opinion. It reads the machine's clock, so ages keep far away from both limits.

_bodies = st.fixed_dictionaries(
    {
        "id": st.just("evt_1"),
        "object": st.just("event"),
        "type": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        "data": st.fixed_dictionaries(
            {"object": st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3)}
        ),
    }
).map(written)
_pieces = st.lists(
    st.tuples(st.sampled_from(["v1", "v1", "v0", "v2"]), st.sampled_from(["right", "other", "zeros", "short", "body"])), max_size=4
)


@given(body=_bodies, age=st.integers(0, 200) | st.integers(400, 10**8), pieces=_pieces, place=st.integers(0, 4))
@settings(max_examples=300)
def test_we_accept_what_the_official_package_accepts(body: bytes, age: int, pieces: list[tuple[str, str]], place: int) -> None:
    """Of well-formed headers and signatures of the past we accept exactly those that stripe-python accepts, with the same event."""
    at = int(time.time()) - age
    made = {
        "right": sign(body, WEBHOOK_SECRET.encode(), at),
        "other": sign(body, OTHER_SECRET.encode(), at),
        "body": sign(body + b" ", WEBHOOK_SECRET.encode(), at),
        "zeros": b"0" * 64,
        "short": b"0" * 63,
    }
    parts = [f"{scheme}={made[kind].decode()}" for scheme, kind in pieces]
    signature = ",".join([*parts[:place], f"t={at}", *parts[place:]])
    try:
        theirs: Any = json.loads(str(stripe.Webhook.construct_event(body, signature, WEBHOOK_SECRET, api_key=API_KEY)))
    except stripe.SignatureVerificationError:
        theirs = None
    try:
        ours: Any = WebhookVerifier(WEBHOOK_SECRET).verify(body, signature).to_dict()
    except (InvalidSignatureError, StaleTimestampError):
        ours = None
    assert ours == theirs
    assert (ours is not None) == (("v1", "right") in pieces and age <= 300)


def test_headers_of_the_official_package() -> None:
    """What stripe-python signs for tests, we accept."""
    signature = stripe.WebhookSignature.generate_signature_header(BODY.decode(), WEBHOOK_SECRET)
    assert WebhookVerifier(WEBHOOK_SECRET).verify(BODY, signature).id == "evt_1"


def official(body: Any, signature: Any) -> object:
    """Return the event that stripe-python reads, or the error it raises."""
    try:
        return stripe.Webhook.construct_event(body, signature, WEBHOOK_SECRET, api_key=API_KEY)
    except Exception as error:  # noqa: BLE001 - which one it is, is what the test is about
        return error


def test_where_we_refuse_more() -> None:
    """stripe-python accepts signatures of the future and takes the first of two times; we refuse both."""
    now = int(time.time())
    ahead = header(BODY, at=now + 3600)
    twice = header(BODY, at=now) + f",t={now - 10**6}"
    checker = WebhookVerifier(WEBHOOK_SECRET)
    for signature, kind in ((ahead, StaleTimestampError), (twice, InvalidSignatureError)):
        assert isinstance(official(BODY, signature), stripe.Event)
        refused(kind, BODY, signature, checker)


def test_where_we_accept_more() -> None:
    """stripe-python refuses a space behind the comma, which some proxies add, and thin events; we accept both."""
    now = int(time.time())
    spaced = header(BODY, at=now).replace(",", ", ")
    assert isinstance(official(BODY, spaced), stripe.SignatureVerificationError)
    assert WebhookVerifier(WEBHOOK_SECRET).verify(BODY, spaced).id == "evt_1"
    thin = written(THIN)
    assert isinstance(official(thin, header(thin, at=now)), ValueError)
    assert WebhookVerifier(WEBHOOK_SECRET).verify(thin, header(thin, at=now)).id == "evt_2"


def test_where_the_official_package_raises_something_else() -> None:
    """For a header that is not ASCII and a body that is not UTF-8 or not JSON, stripe-python raises what no handler expects."""
    now = int(time.time())
    for body, signature, theirs, ours in (
        (BODY, f"t={now},v1=é" + "a" * 63, TypeError, InvalidSignatureError),
        (b'{"id":"\xff"}', header(b'{"id":"\xff"}', at=now), UnicodeDecodeError, MalformedEventError),
        (b"hello", header(b"hello", at=now), ValueError, MalformedEventError),
        (b"[]", header(b"[]", at=now), AttributeError, MalformedEventError),
    ):
        assert isinstance(official(body, signature), theirs)
        refused(ours, body, signature, WebhookVerifier(WEBHOOK_SECRET))
