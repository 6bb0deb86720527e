"""
A hundred thousand answers and deliveries that no sane server sends: nothing outside our errors comes out.

Each example of hypothesis is a batch: a drawn JSON document and a seed, from which the variants are made by mutation.
Both tests count their calls, so the number is what was run and not what was hoped for.
"""

from __future__ import annotations

import json
import pickle
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atom_stripe._wire.decoding import decode
from atom_stripe._wire.messages import Reply
from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import APIError, AtomStripeError, InvalidResponseError, WebhookError
from atom_stripe.models.base import ListObject, StripeModel, View, declared, model_for
from atom_stripe.models.registry import MODULES
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_435_200
EXAMPLES = 520
DECODED = 130  # in one example
VERIFIED = 70

MODELS: list[type[StripeModel]] = sorted(
    {model for name in MODULES if (model := model_for(name))}, key=lambda model: model.__name__
)


def readers(cls: type) -> list[str]:
    """Return the properties that our own classes add to an object's fields."""
    found = {
        name
        for base in cls.__mro__
        if base.__module__.startswith("atom_stripe.")
        for name, value in vars(base).items()
        if isinstance(value, property) and not name.startswith("_")
    }
    return sorted(found)


READERS = {cls: readers(cls) for cls in MODELS}
# Every name that means something to one of our classes.
NAMES = sorted(
    {
        "id",
        "object",
        "data",
        "has_more",
        "error",
        "message",
        "type",
        "code",
        "metadata",
        *(name for cls in MODELS for name in (*declared(cls), *READERS[cls])),
    }
)
KINDS = [*MODULES, "list", "search_result", "event", "v2.core.event", "unheard_of"]

REAL: list[dict[str, Any]] = [
    {
        "id": "cus_1",
        "object": "customer",
        "address": {"city": "Bonn", "line2": None},
        "email": "jenny@example.com",
        "metadata": {"order": "42"},
        "created": 1_790_000_000,
    },
    {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2000,
        "currency": "usd",
        "latest_charge": {"id": "ch_1", "object": "charge"},
        "status": "succeeded",
        "last_payment_error": {"code": "x", "payment_method": {"id": "pm_1", "object": "payment_method"}},
    },
    {
        "id": "sub_1",
        "object": "subscription",
        "items": {
            "object": "list",
            "has_more": False,
            "data": [
                {
                    "id": "si_1",
                    "object": "subscription_item",
                    "current_period_end": 1_790_000_000,
                    "price": {"id": "price_1", "object": "price", "unit_amount_decimal": "12.5"},
                }
            ],
        },
        "discounts": ["di_1"],
    },
    {
        "id": "in_1",
        "object": "invoice",
        "parent": {"subscription_details": {"subscription": "sub_1"}},
        "payments": {
            "object": "list",
            "data": [
                {
                    "id": "inpay_1",
                    "object": "invoice_payment",
                    "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
                    "is_default": True,
                }
            ],
        },
        "lines": {
            "object": "list",
            "data": [{"id": "il_1", "object": "line_item", "pricing": {"price_details": {"price": "price_1"}}}],
        },
        "total_taxes": [{"amount": 1}],
    },
    {
        "id": "in_2",
        "object": "invoice",
        "subscription": "sub_1",
        "tax": 5,
        "paid": True,
        "charge": "ch_1",
        "discount": {"id": "di_1", "object": "discount", "source": {"coupon": "c"}},
        "subscription_details": {"metadata": {}},
    },
    {
        "id": "ii_1",
        "object": "invoiceitem",
        "pricing": {"price_details": {"price": "price_1"}, "unit_amount_decimal": "12.5"},
        "parent": {"subscription_details": {"subscription": "sub_1", "subscription_item": "si_1"}},
    },
    {
        "id": "il_1",
        "object": "line_item",
        "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}},
        "parent": {"subscription_item_details": {"subscription_item": "si_1", "invoice_item": "ii_1", "proration": True}},
    },
    {
        "id": "ch_1",
        "object": "charge",
        "invoice": "in_1",
        "refunds": {
            "object": "list",
            "data": [{"id": "re_1", "object": "refund", "destination_details": {"card": {"reference": "x"}}}],
        },
    },
    {
        "id": "pi_2",
        "object": "payment_intent",
        "invoice": "in_1",
        "charges": {"object": "list", "data": [{"id": "ch_1", "object": "charge"}]},
    },
    {
        "id": "cs_1",
        "object": "checkout.session",
        "discounts": [{"coupon": "c"}],
        "shipping_details": {"name": "x"},
        "collected_information": {"shipping_details": {"address": {"city": "Bonn"}}},
    },
    {
        "id": "promo_1",
        "object": "promotion_code",
        "promotion": {"coupon": {"id": "c", "object": "coupon"}},
        "coupon": {"id": "c", "object": "coupon"},
    },
    {
        "id": "prod_1",
        "object": "product",
        "marketing_features": [{"name": "x"}],
        "features": [{"name": "y"}],
        "default_price": "price_1",
    },
    {
        "object": "list",
        "url": "/v1/customers",
        "has_more": True,
        "data": [{"id": "cus_1", "object": "customer"}, {"id": "cus_2", "object": "customer", "deleted": True}],
    },
    {
        "data": [{"id": "evt_1", "object": "v2.core.event", "created": "2026-11-23T10:00:00.330Z"}],
        "next_page_url": "/v2/core/events?page=x",
        "previous_page_url": None,
    },
    {
        "error": {
            "type": "card_error",
            "code": "card_declined",
            "decline_code": "lost_card",
            "message": "Declined.",
            "payment_intent": {"id": "pi_1", "object": "payment_intent"},
        }
    },
    {
        "error": {
            "type": "invalid_request_error",
            "code": "lock_timeout",
            "param": "items[0]",
            "message": "Locked.",
            "doc_url": "https://docs.stripe.com",
        }
    },
    {"error": "invalid_grant", "error_description": "This authorization code has expired."},
    {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_790_000_000,
        "data": {
            "object": {"id": "sub_1", "object": "subscription", "items": {"object": "list", "data": []}},
            "previous_attributes": {"status": "active"},
        },
        "request": {"id": None, "idempotency_key": None},
        "type": "customer.subscription.updated",
    },
    {
        "id": "evt_2",
        "object": "v2.core.event",
        "type": "v1.customer.created",
        "created": "2026-11-23T10:00:00.330Z",
        "context": "org_1/acct_1",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"},
        "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "k"}},
    },
]

_texts = st.text(max_size=8)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _texts
    | st.sampled_from(
        [
            "",
            "12.5",
            "-1",
            "1e999999",
            "sNaN",
            "evt_1",
            "9" * 5000,
            "2026-11-23T10:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "\x00",
            "💶",
        ]
    )
)
_values = st.recursive(
    _scalars,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | _texts, values, max_size=4),
    max_leaves=10,
)
_documents = st.builds(
    lambda kind, fields: {"id": "x_1", "object": kind, **fields},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(NAMES) | _texts, _values, max_size=6),
)

JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    5,
    2**63,
    -(2**70),
    1.5,
    1e308,
    "",
    "x",
    "12.50",
    "-",
    "NaN",
    "1" * 400,
    [],
    [[]],
    [None],
    ["x", 5],
    [{}],
    {},
    {"id": None},
    {"object": "list"},
    {"object": "list", "data": 5},
    {"data": None},
    {"object": "price", "id": 5},
    {"object": "charge", "id": "ch_1"},
]
BODIES: list[bytes] = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"x"',
    b"5",
    b"true",
    b"{",
    b"}",
    b"{}",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e999,"id":"x"}',
    b'{"a":' + b"9" * 4000 + b"}",
    b'{"a":' + b"9" * 20_000 + b"}",
    b'{"a":0.' + b"9" * 20_000 + b"}",
    b'{"a":1e' + b"9" * 1000 + b"}",
    b"[" * 100_000,
    b'{"data":' * 100_000,
    b'{"data":' * 180 + b"{}" + b"}" * 180,
    b'{"data":' + b"[" * 150 + b"]" * 150 + b"}",
    b'{"error":' + b"[" * 150 + b"]" * 150 + b"}",
    b'{"id":"\\ud800","object":"event"}',
    b'{"id":"\xed\xa0\x80"}',
    b'{"id":"\xff"}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"object":"customer","object":"invoice","id":1,"id":[]}',
    b'{"error":{"message":"' + b"x" * 50_000 + b'"}}',
    b'{"error":"' + b"x" * 50_000 + b'"}',
    b"<html><body>502 Bad Gateway</body></html>",
    b"\x00" * 100,
]
HEADER_NAMES = [
    "request-id",
    "stripe-should-retry",
    "idempotent-replayed",
    "stripe-rate-limited-reason",
    "stripe-version",
    "content-type",
    "retry-after",
    "x",
]
HEADER_VALUES = ["", "true", "false", "req_1", "global-rate", "x" * 5000, "\x00", "é", "\ud800", "a\r\nb: c"]
STATUSES = [200, 200, 200, 201, 204, 302, 400, 400, 401, 402, 403, 404, 409, 424, 429, 500, 503]


def mutated_value(random: Random, value: Any, depth: int = 0) -> Any:
    """Return *value* with something in it replaced by junk, dropped, wrapped or moved."""
    chance = random.random()
    if depth > 5 or not isinstance(value, (dict, list)) or not value or chance < 0.1:
        return (
            random.choice(JUNK)
            if chance < 0.8
            else random.choice([[value], {"id": value}, {"object": random.choice(KINDS), "data": value}])
        )
    if isinstance(value, list):
        index = random.randrange(len(value))
        return [*value[:index], mutated_value(random, value[index], depth + 1), *value[index + 1 :]]
    name = random.choice(list(value))
    if chance < 0.2:
        return {kept: entry for kept, entry in value.items() if kept != name}
    if chance < 0.4:
        return {**value, random.choice(NAMES): random.choice(JUNK)}
    return {**value, name: mutated_value(random, value[name], depth + 1)}


def mutated_bytes(random: Random, body: bytes) -> bytes:
    """Return *body* with bits flipped, cut, repeated or with foreign bytes in it."""
    if not body:
        return random.randbytes(random.randrange(20))
    place, other = random.randrange(len(body)), random.randrange(len(body))
    foreign = random.choice([b"\\ud800", b"\xff", b"\x00", b"NaN", b"1e999", b"{", b"[[", b'"', b"9" * 5000])
    return random.choice(
        [
            body[:place],
            body[:place] + body[place + 1 :],
            body[:place] + bytes([body[place] ^ 1 << random.randrange(8)]) + body[place + 1 :],
            body[:place] + random.randbytes(random.randrange(1, 8)) + body[place:],
            body[:place] + foreign + body[place + 1 :],
            body[: max(place, other)] + body[min(place, other) :],
        ]
    )


def body_of(random: Random, document: Any) -> bytes:
    """Return the next variant: often JSON that was changed in its structure, sometimes in its bytes, sometimes no JSON at all."""
    chance = random.random()
    if chance < 0.08:
        return random.choice(BODIES)
    if chance < 0.12:
        return random.randbytes(random.randrange(60))
    value = document if chance < 0.6 else random.choice(REAL)
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        value = mutated_value(random, value)
    body = json.dumps(value, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass")
    return mutated_bytes(random, body) if chance > 0.8 else body


def headers_of(random: Random) -> dict[str, str]:
    """Return headers, known ones and others, with values that fit and values that do not."""
    return {random.choice(HEADER_NAMES): random.choice(HEADER_VALUES) for _ in range(random.randrange(4))}


def views(value: Any) -> Iterator[View]:
    """Yield every object in *value*, itself included, after looking at each attribute that Stripe sent in it."""
    if isinstance(value, list):
        for entry in value:
            yield from views(entry)
    elif isinstance(value, View):
        yield value
        hash(value)
        assert value == value.from_stripe(value.to_dict())
        assert set(value._raw) <= set(dir(value))
        for name in value._raw:
            yield from views(value[name])
            # A name that the class itself has, as copy or json, is read with brackets only, and so is a private one.
            if not name.startswith("_") and not hasattr(type(value), name):
                getattr(value, name)


def pickled(value: Any) -> Any:
    """Return what comes out of a pickle of *value*."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def touch(made: StripeModel) -> None:
    """Read *made* in every way that it can be read."""
    for view in views(made):
        for name in READERS.get(type(view), ()):
            getattr(view, name)
        assert len(repr(view)) < 400
        if isinstance(view, ListObject) and not view._raw.get("has_more"):
            assert len(list(view)) == len(view)
    assert made.to_dict() == made._raw
    again = pickled(made)
    assert type(again) is type(made)
    assert again._raw == made._raw


def check_error(error: AtomStripeError) -> None:
    """See that *error* is whole, short and can travel."""
    assert len(str(error)) < 5000
    assert len(repr(error)) < 5000
    again = pickled(error)
    assert (type(again), again.args) == (type(error), error.args)
    if isinstance(error, APIError):
        texts = (error.type, error.code, error.decline_code, error.param, error.doc_url, error.advice_code, error.request_id)
        assert all(text is None or (isinstance(text, str) and 0 < len(text) <= 1000) for text in texts)
        assert isinstance(error.message, str)
        assert isinstance(error.payload, dict)
        assert {type(error.retryable), type(error.outcome_unknown), type(error.idempotent_replayed)} == {bool}


def batched(batch: Any, count: int) -> Any:
    """Return *batch*, a function of random, document and index, as a hypothesis test that runs it *count* times an example."""

    @given(document=_documents, seed=st.integers(0, 2**64 - 1))
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    def run(document: dict[str, Any], seed: int) -> None:
        random = Random(seed)
        for _ in range(count):
            batch(random, document)

    return run


def test_answers() -> None:
    """Every answer is an object whose every attribute can be read, or an error of ours."""
    outcomes = {"objects": 0, "errors": 0, "unreadable": 0}

    def one(random: Random, document: dict[str, Any]) -> None:
        body = body_of(random, document)
        status = random.choice(STATUSES) if random.random() < 0.9 else random.randrange(100, 1000)
        reply = Reply(status, headers_of(random), body)
        try:
            touch(decode(reply, reads=random.random() < 0.5))
            outcomes["objects"] += 1
        except APIError as error:
            assert not 200 <= status < 300
            check_error(error)
            outcomes["errors"] += 1
        except InvalidResponseError as error:
            assert 200 <= status < 300
            check_error(error)
            outcomes["unreadable"] += 1
        except Exception as error:  # noqa: BLE001 - nothing else may come out
            pytest.fail(f"{error!r} left a reply with status {status}, headers {reply.headers!r} and body {body[:2000]!r}")

    batched(one, DECODED)()
    assert sum(outcomes.values()) >= 65_000
    assert min(outcomes.values()) >= 5_000


def signature_of(random: Random, body: bytes) -> Any:
    """Return a header: mostly the right one, else one that was changed in some way or has nothing to do with the body."""
    right = signature_header(body, [WEBHOOK_SECRET], NOW)
    if random.random() < 0.7:
        return right
    digits = right[-64:]
    return random.choice(
        [
            None,
            "",
            "x" * 10_000,
            right + "," + "y" * 10_000,
            f"t={NOW}" + f",v1={digits}" * 1000,
            f"t={NOW}" + f",v1={'0' * 64}" * 10 + f",v1={digits}",
            f"t=-{NOW},v1={digits}",
            f"t={NOW}{NOW},v1={digits}",
            f"t={NOW}.5,v1={digits}",
            right.replace(str(NOW), str(NOW).translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})),
            right.replace(str(NOW), "²"),
            f"{right},{right}",
            f"t={NOW},{right}",
            right.replace(",", " , "),
            right.replace("=", " = "),
            right.replace("v1", "v0"),
            right.upper(),
            right.encode(),
            right.encode("utf-16"),
            mutated_bytes(random, right.encode()),
            mutated_bytes(random, right.encode()).decode("latin-1"),
            mutated_bytes(random, right.encode()).decode(errors="surrogateescape"),
            signature_header(body, [WEBHOOK_SECRET], NOW - random.choice([-61, -60, 0, 300, 301, 10**9])),
            random.randbytes(random.randrange(200)),
            5,
        ]
    )


def test_deliveries() -> None:
    """Every delivery is an event whose every attribute can be read, or a WebhookError, signed or not."""
    outcomes = {"events": 0, "errors": 0}
    kinds: set[str] = set()
    verifier = WebhookVerifier(["whsec_another1", WEBHOOK_SECRET], clock=lambda: NOW)

    def one(random: Random, document: dict[str, Any]) -> None:
        if random.random() < 0.5:
            # What the object of an event is, a reader of events looks at first.
            document = {"id": "evt_1", "object": "event", "type": "x.y", "data": {"object": document}}
        body = body_of(random, document if random.random() < 0.5 else random.choice(REAL[-2:]))
        signature = signature_of(random, body)
        given_body: Any = (
            random.choice([body, body, bytearray(body), memoryview(body), body.decode(errors="surrogateescape"), None])
            if random.random() < 0.2
            else body
        )
        try:
            touch(verifier.verify(given_body, signature))
            outcomes["events"] += 1
        except WebhookError as error:
            check_error(error)
            kinds.add(type(error).__name__)
            outcomes["errors"] += 1
        except Exception as error:  # noqa: BLE001 - nothing else may come out
            pytest.fail(f"{error!r} left a delivery with the header {signature!r} and the body {body[:2000]!r}")

    batched(one, VERIFIED)()
    assert sum(outcomes.values()) >= 35_000
    assert min(outcomes.values()) >= 5_000
    assert kinds == {"InvalidSignatureError", "StaleTimestampError", "MalformedEventError"}
