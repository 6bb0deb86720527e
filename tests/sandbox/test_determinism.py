"""The same seed and the same requests give the same bytes; any requests give Stripe's shapes."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.messages import Request
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

KEY = {"Authorization": f"Bearer {API_KEY}"}
CARD = {"automatic_payment_methods[enabled]": "true", "automatic_payment_methods[allow_redirects]": "never"}
STORY = [
    ("POST", "/v1/customers", {"email": "jenny@example.com", "metadata[order]": "42"}),
    (
        "POST",
        "/v1/payment_intents",
        {
            "amount": "2000",
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            **CARD,
        },
    ),
    (
        "POST",
        "/v1/payment_intents",
        {
            "amount": "2000",
            "currency": "usd",
            "payment_method": "pm_card_visa_chargeDeclined",
            "confirm": "true",
            **CARD,
        },
    ),
    ("GET", "/v1/charges?limit=1&expand[]=data.payment_intent", {}),
    ("GET", "/v1/events", {}),
    ("GET", "/v1/customers/cus_nobody", {}),
]


def play(seed: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Return the answers of a new sandbox to the story, and what its webhooks carried."""
    with StripeSandbox(seed=seed) as sandbox:
        bodies: list[bytes] = []
        sandbox.webhooks.signing_clock = lambda: 1_800_000_000.0
        sandbox.webhooks.deliver_to(lambda body, signature: bodies.append(body + signature.encode()))
        answers = []
        for method, path, form in STORY:
            sandbox.clock.advance(seconds=1)
            reply = sandbox.handle(Request(method, f"https://api.stripe.com{path}", KEY, urlencode(form).encode() or None))
            answers.append((reply.status, dict(reply.headers), reply.body))
        return [*answers, *((0, {}, body) for body in bodies)]


def test_the_same_run() -> None:
    """One seed gives one run, to the byte: answers, headers, webhooks and their signatures."""
    first = play(7)
    assert [status for status, _, _ in first[:6]] == [200, 200, 402, 200, 200, 404]
    assert len(first) > 6
    assert play(7) == first


def test_another_run() -> None:
    """Another seed gives other ids."""
    assert json.loads(play(7)[0][2])["id"] != json.loads(play(8)[0][2])["id"]


PLACES = [
    "customers",
    "payment_intents",
    "charges",
    "refunds",
    "payment_methods",
    "events",
    "webhook_endpoints",
    "balance",
    "nothing",
    "",
]
NAMES = st.sampled_from(
    ["amount", "currency", "confirm", "limit", "expand[]", "metadata[a]", "metadata", "email", "url", "a[b][c]", "[", "created[gt]"]
)
VALUES = st.one_of(
    st.text(max_size=8), st.sampled_from(["-1", "0", "2000", "usd", "true", "1e9", "9" * 40, "pm_card_visa", "cus_1"])
)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PATCH", ""]),
    path=st.builds("/".join, st.lists(st.one_of(st.sampled_from(["v1", "v2", *PLACES]), st.text(max_size=4)), max_size=4)),
    place=st.sampled_from(PLACES),
    form=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    body=st.one_of(st.none(), st.binary(max_size=20)),
    headers=st.dictionaries(
        st.sampled_from(["Authorization", "Idempotency-Key", "Stripe-Version", "Stripe-Account", "Content-Type"]),
        st.text(max_size=8),
    ),
)
@settings(max_examples=100)
def test_any_request(
    method: str, path: str, place: str, form: list[tuple[str, str]], body: bytes | None, headers: dict[str, str]
) -> None:
    """No request makes the sandbox raise, fail or answer anything but a JSON object."""
    sent = urlencode(form).encode() if body is None else body
    with StripeSandbox() as sandbox:
        for url in (f"https://api.stripe.com/v1/{place}", f"https://api.stripe.com/{path}"):
            for credentials in ({**headers, **KEY}, headers):
                reply = sandbox.handle(Request(method, url, credentials, sent))
                answer = json.loads(reply.body)
                assert isinstance(answer, dict)
                assert (reply.status == 200) != ("error" in answer)
                assert reply.status in {501, *range(200, 500)}
