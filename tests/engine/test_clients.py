"""What a client does beside calling operations: options, other requests, notifications, uploads, closing."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe import AsyncStripeClient, RateLimits, StripeClient, StripeConfig
from atom_stripe.errors import ConfigurationError, EncodingError, InvalidResponseError
from atom_stripe.models import Customer, EventNotification

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk_test_" + "e" * 24


def test_an_answer_is_typed_and_says_where_it_came_from(colour: Any, world: Any, make: Any) -> None:
    """request_id, idempotent_replayed and api_version of the answer are on the object."""
    headers = {"idempotent_replayed": "true", "stripe_version": "2026-10-28.endive"}
    world.script = [make.answer({"id": "cus_1", "object": "customer", "email": "a@b.c", "new_field": [1]}, **headers)]
    customer = colour.call(lambda: colour.client(world).customers.create(email="a@b.c"))
    assert isinstance(customer, Customer)
    assert (customer.request_id, customer.idempotent_replayed, customer.api_version) == ("req_1", True, "2026-10-28.endive")
    assert customer.to_dict() == {"id": "cus_1", "object": "customer", "email": "a@b.c", "new_field": [1]}


def test_with_options_acts_for_another_account(colour: Any, world: Any) -> None:
    """A client made with_options sends its own account and leaves the first one as it was."""
    stripe = colour.client(world)
    merchant = stripe.with_options(stripe_account="acct_1", timeout=7)
    colour.call(lambda: merchant.customers.retrieve("cus_1"))
    colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert [request.headers.get("Stripe-Account") for request in world.requests] == ["acct_1", None]
    assert world.timeouts == [7, 80]


def test_an_account_and_a_context_replace_each_other(colour: Any, world: Any) -> None:
    """Only one of the two headers is ever sent: the newest word counts."""
    merchant = colour.client(world).with_options(stripe_account="acct_1")
    colour.call(lambda: merchant.customers.retrieve("cus_1", stripe_context="acct_2"))
    colour.call(lambda: merchant.with_options(stripe_context="acct_3").customers.retrieve("cus_1"))
    sent = [(request.headers.get("Stripe-Account"), request.headers.get("Stripe-Context")) for request in world.requests]
    assert sent == [(None, "acct_2"), (None, "acct_3")]


def test_options_with_line_breaks_are_refused(colour: Any, world: Any) -> None:
    """A header value that would smuggle in another header is refused before anything is sent."""
    stripe = colour.client(world)
    for options in ({"stripe_account": "acct_1\r\nX: y"}, {"idempotency_key": "a\nb"}, {"stripe_version": ""}):
        with pytest.raises((ConfigurationError, EncodingError)):
            colour.call(lambda options=options: stripe.customers.retrieve("cus_1", **options))
    assert world.requests == []


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": "3"}, {"max_retries": -1}, {"max_retries": 1.5}, {"idempotency_key": ""}]
)
def test_options_of_the_wrong_kind_are_refused(colour: Any, world: Any, options: dict[str, Any]) -> None:
    """A timeout or a number of retries that is none says so."""
    with pytest.raises((ConfigurationError, EncodingError)):
        colour.call(lambda: colour.client(world).customers.retrieve("cus_1", **options))


def test_request_reaches_what_has_no_method(colour: Any, world: Any) -> None:
    """request() sends any verb to any path of Stripe's, as a form or as JSON after the path's version."""
    stripe = colour.client(world)
    colour.call(lambda: stripe.request("post", "/v1/new_things", {"a": [True]}, stripe_version="2026-10-28.preview"))
    colour.call(lambda: stripe.request("POST", "/v2/new_things", {"a": [True]}))
    colour.call(lambda: stripe.request("GET", "/v1/new_things?limit=3", {"b": 1}))
    assert [request.body for request in world.requests] == [b"a[0]=true", b'{"a":[true]}', None]
    assert world.requests[2].url.endswith("/v1/new_things?limit=3&b=1")
    assert world.requests[0].headers["Stripe-Version"] == "2026-10-28.preview"


@pytest.mark.parametrize("path", ["https://evil.example/v1/x", "//evil.example", "@evil.example/", "v1/customers", "/v1/ x", ""])
def test_request_stays_on_stripes_host(colour: Any, world: Any, path: str) -> None:
    """A path that would send the key elsewhere is refused."""
    with pytest.raises(EncodingError):
        colour.call(lambda: colour.client(world).request("GET", path))
    assert world.requests == []


def test_request_knows_stripes_verbs_only(colour: Any, world: Any) -> None:
    """PUT and the like do not exist at Stripe."""
    with pytest.raises(EncodingError, match="GET, POST and DELETE"):
        colour.call(lambda: colour.client(world).request("PUT", "/v1/customers"))


def test_ids_cannot_leave_their_place(colour: Any, world: Any) -> None:
    """An empty id would address the whole list, and a slash another operation: one is refused, the other quoted."""
    stripe = colour.client(world)
    for bad in ("", "  ", "..", None):
        with pytest.raises(EncodingError):
            colour.call(lambda bad=bad: stripe.customers.delete(bad))
    colour.call(lambda: stripe.customers.retrieve("cus_1/../../v1/balance?x#y"))
    assert world.requests[0].url.endswith("/v1/customers/cus_1%2F..%2F..%2Fv1%2Fbalance%3Fx%23y")


def test_a_notification_leads_to_its_event_and_object(colour: Any, world: Any) -> None:
    """What a thin event is about is fetched in the context in which it arose."""
    notification = EventNotification.from_stripe(
        {
            "id": "evt_1",
            "object": "v2.core.event",
            "type": "v1.customer.created",
            "context": "acct_9",
            "related_object": {"url": "/v1/customers/cus_1"},
        }
    )
    stripe = colour.client(world)
    colour.call(lambda: stripe.fetch_event(notification))
    colour.call(lambda: stripe.fetch_related_object(notification))
    assert [request.url for request in world.requests] == [
        "https://api.stripe.com/v2/core/events/evt_1",
        "https://api.stripe.com/v1/customers/cus_1",
    ]
    assert {request.headers["Stripe-Context"] for request in world.requests} == {"acct_9"}


def test_a_notification_about_nothing_says_so(colour: Any, world: Any) -> None:
    """Some events have no related object; asking for it is a clear error."""
    notification = EventNotification.from_stripe(
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.account.application.deauthorized"}
    )
    with pytest.raises(EncodingError, match="about no object"):
        colour.call(lambda: colour.client(world).fetch_related_object(notification))


def test_files_are_uploaded_with_their_names(colour: Any, world: Any, tmp_path: Path) -> None:
    """A path, an open file and plain bytes all arrive whole, at Stripe's host for files."""
    path = tmp_path / "receipt.pdf"
    path.write_bytes(b"%PDF-\x00\xff")
    stripe = colour.client(world)
    with path.open("rb") as opened:
        for file in (path, opened, ("receipt.pdf", b"%PDF-\x00\xff")):
            colour.call(lambda file=file: stripe.files.create(file=file, purpose="dispute_evidence"))
    for request in world.requests:
        assert request.url == "https://files.stripe.com/v1/files"
        assert b'filename="receipt.pdf"' in request.body
        assert b"%PDF-\x00\xff" in request.body
        assert b"dispute_evidence" in request.body


def test_a_file_opened_as_text_is_refused(colour: Any, world: Any) -> None:
    """Text mode would change bytes; the error says to open it in binary mode."""
    with pytest.raises(EncodingError, match="binary mode"):
        colour.call(lambda: colour.client(world).files.create(file=io.StringIO("x"), purpose="dispute_evidence"))


def test_a_missing_file_is_an_error_of_ours(colour: Any, world: Any, tmp_path: Path) -> None:
    """A path that cannot be read names the parameter."""
    with pytest.raises(EncodingError) as caught:
        colour.call(lambda: colour.client(world).files.create(file=tmp_path / "none.pdf", purpose="dispute_evidence"))
    assert caught.value.param == "file"


def test_documents_come_as_bytes(colour: Any, world: Any, make: Any) -> None:
    """A quote's PDF is bytes, and a proxy's HTML in its place is an error."""
    stripe = colour.client(world)
    world.script = [
        make.answer(b"%PDF", content_type="application/pdf"),
        make.answer(b"<html>", content_type="text/html; charset=utf-8"),
    ]
    assert colour.call(lambda: stripe.quotes.pdf("qt_1")) == b"%PDF"
    with pytest.raises(InvalidResponseError):
        colour.call(lambda: stripe.quotes.pdf("qt_1"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"id": ', b"\xff\xfe"])
def test_a_success_that_is_not_stripes_is_an_error(colour: Any, world: Any, make: Any, body: bytes) -> None:
    """A captive portal's 200 is not a customer; for a write the outcome is unknown."""
    world.otherwise = lambda _request: make.answer(body)
    stripe = colour.client(world)
    with pytest.raises(InvalidResponseError) as caught:
        colour.call(lambda: stripe.customers.create())
    assert caught.value.outcome_unknown
    assert caught.value.request_id == "req_1"


def test_every_call_leaves_a_line_in_the_log_without_secrets(colour: Any, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the operation, the outcome and the request id, and neither the key nor an id nor a parameter."""
    stripe = colour.client(world)
    with caplog.at_level(logging.DEBUG, logger="atom_stripe"):
        colour.call(lambda: stripe.customers.update("cus_private", email="jenny@example.com"))
    (record,) = (entry for entry in caplog.records if entry.name == "atom_stripe.client")
    assert vars(record)["stripe_request_id"] == "req_1"
    assert vars(record)["stripe_path"] == "/v1/customers/{customer}"
    text = f"{record.getMessage()}{vars(record)}"
    assert not any(secret in text for secret in (KEY, "jenny", "cus_private"))


def test_closing_closes_the_transport(colour: Any, world: Any) -> None:
    """close() reaches the connections, and may be called twice."""
    stripe = colour.client(world)
    colour.call(stripe.close)
    colour.call(stripe.close)
    assert world.closed == 2


def test_the_wrong_http_client_is_named() -> None:
    """A sync client refuses an async HTTP client and the other way round, naming the right one."""
    with pytest.raises(ConfigurationError, match=r"httpx\.Client"):
        StripeClient(KEY, http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        AsyncStripeClient(KEY, http_client=httpx.Client())  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "hello", "pk_test_" + "a" * 20, "whsec_" + "a" * 20, "sk_test_" + "a" * 20 + "\n", 5])
def test_what_is_no_key_is_refused_without_being_shown(key: Any) -> None:
    """A key that is not one says what it is instead, and is not echoed."""
    with pytest.raises(ConfigurationError) as caught:
        StripeClient(key)
    assert not key or str(key) not in str(caught.value)


def test_the_environment_is_read_when_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """StripeClient() takes STRIPE_SECRET_KEY; without it the error says what to set."""
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    with StripeClient() as stripe:
        assert stripe.config.api_key.get_secret_value() == KEY
    monkeypatch.delenv("STRIPE_SECRET_KEY")
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY"):
        StripeClient()


def test_reprs_show_the_mode_and_the_account_only() -> None:
    """A client in a log says whom it acts for, and nothing of its key."""
    with StripeClient(KEY) as stripe:
        assert repr(stripe.with_options(stripe_account="acct_1")) == "StripeClient(test mode, for acct_1)"
        assert KEY not in repr(vars(stripe)) + repr(stripe.config)


def test_sdk_is_the_official_client_with_the_same_settings() -> None:
    """stripe-python's client has the same key, account and version."""
    config = StripeConfig(api_key=KEY, stripe_account="acct_1", rate_limits=RateLimits.NONE)  # type: ignore[arg-type]
    with StripeClient(config=config) as stripe:
        options = stripe.sdk._requestor._options
    assert (options.api_key, options.stripe_account, options.stripe_version) == (KEY, "acct_1", config.stripe_version)
