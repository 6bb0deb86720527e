"""Answers to objects and errors: the shapes that Stripe sends, and those that only something else would send."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from typing import Any

import pytest

from atom_stripe import errors
from atom_stripe._wire.decoding import decode, error_of, json_object, unreadable
from atom_stripe._wire.messages import Reply
from atom_stripe.models.base import ListObject, StripeModel, StripeObject
from atom_stripe.models.customer import Customer
from atom_stripe.models.payment_intent import PaymentIntent
from tests.canary import API_KEY, CLIENT_SECRET, MARK

OUTSIDE_SUCCESS = [*range(100, 200), *range(300, 1000)]


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    """Return an answer; a body that is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def failure(answer: Reply, *, reads: bool = False) -> errors.APIError:
    """Return the error that *answer* is raised as."""
    with pytest.raises(errors.APIError) as caught:
        decode(answer, reads=reads)
    assert type(caught.value) is type(error_of(answer, reads=reads))
    return caught.value


def expected_kind(status: int) -> type[errors.APIError]:
    """Return the class of an error of Stripe's that says no more than its status."""
    if status >= 500 or status == 424:
        return errors.ServerError
    kinds: dict[int, type[errors.APIError]] = {
        401: errors.AuthenticationError,
        402: errors.CardError,
        403: errors.PermissionDeniedError,
        404: errors.NotFoundError,
        409: errors.ConflictError,
        429: errors.RateLimitedError,
    }
    return kinds.get(status, errors.InvalidRequestError if 400 <= status < 500 else errors.APIError)


@pytest.mark.parametrize("kind", ["invalid_request_error", "api_error", "authentication_error", "unheard_of_error", None, 5])
def test_every_status_has_its_class(kind: object) -> None:
    """The status decides about the class, since Stripe calls a wrong key, a lock and a limit all invalid_request_error."""
    body = {"error": {"type": kind, "message": "Nope."}}
    assert {status: type(failure(reply(status, body))) for status in OUTSIDE_SUCCESS} == {
        status: expected_kind(status) for status in OUTSIDE_SUCCESS
    }


def test_card_errors_and_idempotency_errors_are_told_by_type() -> None:
    """These two types mean the same with any status below 500 that Stripe may send them with."""
    for status in (400, 402, 409, 429):
        assert type(failure(reply(status, {"error": {"type": "card_error"}}))) is errors.CardError
        assert type(failure(reply(status, {"error": {"type": "idempotency_error"}}))) is errors.IdempotencyError
    assert type(failure(reply(500, {"error": {"type": "card_error"}}))) is errors.ServerError


def test_a_wrong_key() -> None:
    """A 401 comes without a code."""
    body = {"error": {"message": "Invalid API Key provided: sk_test_****4242", "type": "invalid_request_error"}}
    error = failure(reply(401, body, request_id="req_1"))
    assert type(error) is errors.AuthenticationError
    assert (error.status, error.type, error.code, error.param, error.request_id, error.retryable) == (
        401,
        "invalid_request_error",
        None,
        None,
        "req_1",
        False,
    )
    assert str(error) == "Invalid API Key provided: sk_test_****4242 (status 401, request req_1)"


def test_an_expired_key() -> None:
    """A 401 with a code keeps it, which stripe-python hides."""
    assert failure(reply(401, {"error": {"code": "api_key_expired", "message": "Expired API Key"}})).code == "api_key_expired"


def test_a_missing_permission() -> None:
    """A restricted key without the permission is a PermissionDeniedError."""
    error = failure(
        reply(
            403, {"error": {"message": "The provided key does not have the required permissions.", "type": "invalid_request_error"}}
        )
    )
    assert type(error) is errors.PermissionDeniedError
    assert not error.retryable


def test_a_decline() -> None:
    """A declined card carries the issuer's reason, and the payment intent that it left behind in the payload."""
    intent = {"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method", "client_secret": CLIENT_SECRET}
    sent = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "advice_code": "try_again_later",
        "doc_url": "https://docs.stripe.com/error-codes/card-declined",
        "param": "payment_method",
        "message": "Your card has insufficient funds.",
        "charge": "ch_1",
        "payment_intent": intent,
    }
    error = failure(reply(402, {"error": sent}, request_id="req_1"))
    assert type(error) is errors.CardError
    assert (error.code, error.decline_code, error.advice_code, error.param) == (
        "card_declined",
        "insufficient_funds",
        "try_again_later",
        "payment_method",
    )
    assert error.doc_url == "https://docs.stripe.com/error-codes/card-declined"
    assert error.message == "Your card has insufficient funds."
    assert error.payload == sent
    assert (error.retryable, error.outcome_unknown) == (False, False)
    assert str(error) == "Your card has insufficient funds. (status 402, code card_declined, param payment_method, request req_1)"


def test_a_missing_object() -> None:
    """An id in the path that does not exist is 404; in a parameter it is 400 with the same code, which is no NotFoundError."""
    body = {
        "error": {
            "code": "resource_missing",
            "param": "id",
            "message": "No such customer: 'cus_1'",
            "type": "invalid_request_error",
        }
    }
    missing, wrong = failure(reply(404, body)), failure(reply(400, body))
    assert (type(missing), missing.code, missing.param) == (errors.NotFoundError, "resource_missing", "id")
    assert (type(wrong), wrong.code, wrong.param) == (errors.InvalidRequestError, "resource_missing", "id")


def test_a_lock() -> None:
    """A lock is a 429 without a reason, called invalid_request_error; Stripe's word says that it may be retried."""
    body = {
        "error": {"code": "lock_timeout", "type": "invalid_request_error", "message": "This object cannot be accessed right now."}
    }
    error = failure(reply(429, body, stripe_should_retry="true"))
    assert isinstance(error, errors.RateLimitedError)
    assert (error.code, error.reason, error.retryable, error.outcome_unknown) == ("lock_timeout", None, True, False)


@pytest.mark.parametrize(
    "reason", ["global-rate", "global-concurrency", "endpoint-rate", "endpoint-concurrency", "resource-specific"]
)
def test_a_limit(reason: str) -> None:
    """A 429 of the limiter says which limit it was."""
    error = failure(
        reply(429, {"error": {"code": "rate_limit", "type": "invalid_request_error"}}, stripe_rate_limited_reason=reason)
    )
    assert isinstance(error, errors.RateLimitedError)
    assert (error.reason, error.retryable) == (reason, True)


def test_a_limit_in_old_words() -> None:
    """A 400 with the code rate_limit is a limit too; with any other code it is not, nor is this code with another status."""
    assert type(failure(reply(400, {"error": {"code": "rate_limit"}}))) is errors.RateLimitedError
    assert type(failure(reply(400, {"error": {"code": "amount_too_small"}}))) is errors.InvalidRequestError
    assert type(failure(reply(403, {"error": {"code": "rate_limit"}}))) is errors.PermissionDeniedError


def test_only_limits_have_a_reason() -> None:
    """The header of the limiter means nothing on another error."""
    assert "reason" not in vars(failure(reply(400, {"error": {}}, stripe_rate_limited_reason="global-rate")))


def test_a_key_used_for_something_else() -> None:
    """The same idempotency key with other parameters is 400 and an IdempotencyError, which no retry can help."""
    error = failure(
        reply(
            400,
            {
                "error": {
                    "type": "idempotency_error",
                    "message": "Keys for idempotent requests can only be used with the same parameters.",
                }
            },
        )
    )
    assert type(error) is errors.IdempotencyError
    assert (error.type, error.code, error.retryable) == ("idempotency_error", None, False)


@pytest.mark.parametrize("status", [400, 409, 500])
def test_a_key_used_for_something_else_is_never_retried(status: int) -> None:
    """Whatever status it comes with, the same request under that key fails again, unless Stripe itself says otherwise."""
    sent = {"error": {"type": "idempotency_error"}}
    assert failure(reply(status, sent)).retryable is False
    assert failure(reply(status, sent, stripe_should_retry="true")).retryable is True


def test_a_key_in_use() -> None:
    """A 409 because the same key is at work is a conflict to be retried."""
    error = failure(reply(409, {"error": {"type": "invalid_request_error", "code": "idempotency_key_in_use"}}))
    assert type(error) is errors.ConflictError
    assert (error.code, error.retryable, error.outcome_unknown) == ("idempotency_key_in_use", True, False)


@pytest.mark.parametrize("status", [424, 500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize(
    "body", [{"error": {"type": "api_error", "message": "Sorry."}}, b"", b"<html><h1>502 Bad Gateway</h1></html>", {"error": None}]
)
def test_failures_of_the_server(status: int, body: Any) -> None:
    """Stripe cannot say what became of a write that failed with 5xx or 424; of a read it does not matter."""
    write, read = failure(reply(status, body)), failure(reply(status, body), reads=True)
    assert (type(write), write.retryable, write.outcome_unknown) == (errors.ServerError, True, True)
    assert (type(read), read.retryable, read.outcome_unknown) == (errors.ServerError, True, False)


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 409, 423, 425, 429, 499])
def test_refusals_are_certain(status: int) -> None:
    """What Stripe refused, it did not do."""
    assert failure(reply(status, {"error": {}})).outcome_unknown is False


def test_the_word_of_stripe_on_retries() -> None:
    """Stripe-Should-Retry decides, also against the status."""
    assert failure(reply(400, {"error": {}}, stripe_should_retry="true")).retryable is True
    assert failure(reply(500, {"error": {}}, stripe_should_retry="false")).retryable is False


def test_a_replayed_error() -> None:
    """An error that Stripe had stored under the idempotency key says so."""
    assert failure(reply(402, {"error": {}}, idempotent_replayed="true")).idempotent_replayed is True
    assert failure(reply(402, {"error": {}}, idempotent_replayed="false")).idempotent_replayed is False
    assert failure(reply(402, {"error": {}})).idempotent_replayed is False


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "code",
    [
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
        "unsupported_response_type",
        "access_denied",
        "a_new_one",
    ],
)
def test_oauth_errors(code: str, status: int) -> None:
    """An error of the OAuth endpoint is a word and a description, known to us or not; stripe-python fails on unknown words."""
    error = failure(reply(status, {"error": code, "error_description": "This authorization code has expired."}, request_id="req_1"))
    assert type(error) is errors.OAuthError
    assert (error.code, error.message, error.status, error.request_id, error.retryable) == (
        code,
        "This authorization code has expired.",
        status,
        "req_1",
        False,
    )
    assert (error.type, error.param, error.decline_code) == (None, None, None)


@pytest.mark.parametrize("description", [None, "", 5, ["x"], {"a": "b"}])
def test_oauth_errors_without_a_description(description: object) -> None:
    """A description that is no text is left out."""
    error = failure(reply(400, {"error": "invalid_grant", "error_description": description}))
    assert (error.code, error.message) == ("invalid_grant", "Stripe's OAuth endpoint refused the request")
    assert str(error) == "Stripe's OAuth endpoint refused the request (status 400, code invalid_grant)"


@pytest.mark.parametrize("status", [302, 424, 429, 500, 502, 503, 504])
def test_a_word_of_a_gateway_is_no_oauth_error(status: int) -> None:
    """A proxy's {"error": "Service Unavailable"} is what its status says: a failure or a limit, and no refusal of OAuth's."""
    error = failure(reply(status, {"error": "Service Unavailable", "error_description": "no healthy upstream"}))
    assert type(error) is expected_kind(status)
    assert "Service Unavailable" not in str(error)
    assert "upstream" not in str(error)


@pytest.mark.parametrize("sent", [None, True, 5, 1.5, [], ["invalid_grant"], [{"message": "x"}], {}])
@pytest.mark.parametrize("status", [400, 404, 500])
def test_errors_of_no_shape(sent: object, status: int) -> None:
    """An error that is neither an object nor a word leaves the status, and a message of our own."""
    error = failure(reply(status, {"error": sent}))
    assert type(error) is expected_kind(status)
    assert error.payload == {}
    assert error.message == "the answer is not Stripe's JSON"
    assert error.code is None


@pytest.mark.parametrize("name", ["message", "type", "code", "decline_code", "param", "doc_url", "advice_code"])
@pytest.mark.parametrize("sent", [None, "", 0, 5, True, 1.5, ["x"], {"x": "y"}])
def test_fields_of_the_wrong_type(name: str, sent: object) -> None:
    """A field that should be text and is not, or is empty, counts as not sent; the payload still has it."""
    error = failure(reply(400, {"error": {"type": "invalid_request_error", name: sent}}))
    assert error.payload[name] == sent
    if name == "message":
        assert error.message == "Stripe gave no message"
    else:
        assert getattr(error, name) is None


@pytest.mark.parametrize("name", ["message", "type", "code", "decline_code", "param", "doc_url", "advice_code"])
def test_texts_are_bounded(name: str) -> None:
    """No text of an error is longer than a thousand characters, however much was sent."""
    error = failure(reply(400, {"error": {name: "x" * 2_000_000}}))
    assert getattr(error, name) == "x" * 1000
    assert len(str(error)) < 1100
    whole = failure(reply(400, {"error": {name: "x" * 1000}}))
    assert getattr(whole, name) == "x" * 1000


def test_headers_are_bounded() -> None:
    """A request id of any length is cut, and an empty one is none."""
    assert failure(reply(400, {"error": {}}, request_id="r" * 5000)).request_id == "r" * 1000
    assert failure(reply(400, {"error": {}}, request_id="")).request_id is None
    limited = failure(reply(429, {"error": {}}, stripe_rate_limited_reason="r" * 5000))
    assert isinstance(limited, errors.RateLimitedError)
    assert limited.reason == "r" * 1000


NOT_JSON = [
    b"",
    b" ",
    b"null",
    b"true",
    b"5",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{",
    b"{}x",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b"{'a': 1}",
    b'{"a":' + b"9" * 100_000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' * 250 + b"1" + b"}" * 250,
    b"<html><body>Sign in to the hotel's Wi-Fi</body></html>",
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_object(body: bytes) -> None:
    """Anything but one JSON object is None and raises nothing."""
    assert json_object(body) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' \n{"a": 1}\t', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":"\\u00e9\\ud83d\\udcb6\\u0000"}', {"a": "é💶\x00"}),
        (b'{"a":12345678901234567890123}', {"a": 12345678901234567890123}),
        (b'{"a":1.5,"b":-0,"c":1E2,"d":null,"e":[true,false]}', {"a": 1.5, "b": 0, "c": 100.0, "d": None, "e": [True, False]}),
    ],
)
def test_json_objects(body: bytes, expected: dict[str, Any]) -> None:
    """A JSON object is read as it is; of a name that comes twice the last value counts."""
    assert json_object(body) == expected


def test_nesting_that_is_read() -> None:
    """An object may be nested nearly two hundred deep, which is far beyond any of Stripe's."""
    assert json_object(b'{"a":' * 150 + b"1" + b"}" * 150) is not None


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_successes_that_are_not_stripes(status: int, body: bytes) -> None:
    """A success without an object says what to look for; a read may be sent again, and what became of a write is unknown."""
    answer = reply(status, body, request_id="req_1")
    for reads in (True, False):
        with pytest.raises(errors.InvalidResponseError) as caught:
            decode(answer, reads=reads)
        error = caught.value
        assert (error.status, error.request_id, error.outcome_unknown, error.retryable) == (status, "req_1", not reads, reads)
        assert str(error) == f"the answer (status {status}) is not Stripe's JSON; is there a proxy between here and Stripe?"
        assert vars(error) == vars(unreadable(answer, reads=reads))


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_errors_that_are_not_stripes(body: bytes) -> None:
    """An error without a word of Stripe's has a message that says so and repeats nothing of what was sent."""
    error = failure(reply(400, body))
    assert type(error) is errors.InvalidRequestError
    assert str(error) == "the answer is not Stripe's JSON (status 400)"
    assert error.payload == {}


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 399])
def test_redirects(status: int) -> None:
    """A redirect is never followed: it is an error that asks about a proxy."""
    error = failure(reply(status, b"", location="https://evil.example"))
    assert type(error) is errors.APIError
    assert error.message == "the answer is a redirect, which Stripe's API never sends; is there a proxy between here and Stripe?"
    assert (error.retryable, error.outcome_unknown) == (False, False)


@pytest.mark.parametrize("status", [100, 199, 400, 999])
def test_what_is_no_redirect(status: int) -> None:
    """Only statuses from 300 to 399 are called redirects."""
    assert failure(reply(status)).message == "the answer is not Stripe's JSON"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"id": "cus_1", "object": "customer"}, Customer),
        ({"id": "pi_1", "object": "payment_intent"}, PaymentIntent),
        ({"object": "list", "data": []}, ListObject),
        ({"object": "search_result", "data": []}, ListObject),
        ({"id": "x_1", "object": "unheard_of"}, StripeObject),
        ({"id": "x_1"}, StripeObject),
        ({"object": None}, StripeObject),
        ({"object": 5}, StripeObject),
        ({"object": ["customer"]}, StripeObject),
        ({"object": {"a": "b"}}, StripeObject),
        ({}, StripeObject),
    ],
)
def test_objects_have_their_type(sent: dict[str, Any], kind: type[StripeModel]) -> None:
    """An answer is read as the type that Stripe names in it, and as a StripeObject when there is none for it."""
    made = decode(reply(200, sent, request_id="req_1", stripe_version="2026-10-28.endive", idempotent_replayed="true"), reads=False)
    assert type(made) is kind
    assert made.to_dict() == sent
    assert (made.request_id, made.api_version, made.idempotent_replayed) == ("req_1", "2026-10-28.endive", True)
    assert made.last_response is not None
    assert made.last_response.status == 200


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_every_success_is_one(status: int) -> None:
    """All statuses from 200 to 299 are successes."""
    assert decode(reply(status, {"object": "customer"}), reads=True).last_response is not None


SECRET_PLACES: list[tuple[int, dict[str, Any]]] = [
    (402, {"type": "card_error", "message": "Declined.", "payment_intent": {"client_secret": CLIENT_SECRET}}),
    (402, {"type": "card_error", "setup_intent": {"client_secret": CLIENT_SECRET}, "source": {"client_secret": CLIENT_SECRET}}),
    (400, {"message": "Wrong.", "unknown": API_KEY, CLIENT_SECRET: 1}),
    (
        401,
        {
            "request_log_url": f"https://dashboard.stripe.com/{API_KEY}",
            "doc_url": API_KEY,
            "type": API_KEY,
            "advice_code": API_KEY,
            "decline_code": API_KEY,
        },
    ),
    (500, {"message": ["x", API_KEY], "code": {"x": API_KEY}, "param": [CLIENT_SECRET]}),
]


@pytest.mark.parametrize(("status", "sent"), SECRET_PLACES)
def test_secrets_of_the_payload_are_not_shown(status: int, sent: dict[str, Any]) -> None:
    """A client secret or key in an error's payload is in no message, no repr and no traceback; the payload itself still has it."""
    error = failure(reply(status, {"error": sent, "also": API_KEY}, authorization=API_KEY))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    for shown in (error, copy.copy(error), again):
        assert MARK not in str(shown) + repr(shown) + str(shown.args) + "".join(traceback.format_exception(shown))
        assert shown.payload == sent


@pytest.mark.parametrize(
    "body",
    [
        API_KEY.encode(),
        json.dumps([API_KEY]).encode(),
        json.dumps({"message": API_KEY, "detail": {"key": API_KEY}}).encode(),
        f"<p>{API_KEY}</p>".encode(),
    ],
)
@pytest.mark.parametrize("status", [302, 400, 502])
def test_what_is_not_stripes_is_not_echoed(status: int, body: bytes) -> None:
    """What a proxy sends in Stripe's place, which may be our own request, is in no error."""
    error = failure(reply(status, body))
    assert MARK not in str(error) + repr(error) + str(vars(error))


def test_successes_that_are_not_stripes_are_not_echoed() -> None:
    """The error of a success that is not Stripe's holds nothing of it."""
    error = unreadable(reply(200, f"<p>{API_KEY}</p>".encode()), reads=True)
    assert MARK not in str(error) + repr(error) + str(vars(error))


def test_errors_hold_nothing_of_the_answer_but_its_fields() -> None:
    """An error keeps neither the body nor the headers of the answer."""
    error = failure(reply(400, {"error": {"message": "m"}, "top": "level"}, request_id="req_1", x_other="header"))
    assert vars(error) == {
        "status": 400,
        "type": None,
        "code": None,
        "decline_code": None,
        "param": None,
        "doc_url": None,
        "advice_code": None,
        "request_id": "req_1",
        "retryable": False,
        "outcome_unknown": False,
        "idempotent_replayed": False,
        "payload": {"message": "m"},
        "attempts": 1,
        "idempotency_key": None,
    }
