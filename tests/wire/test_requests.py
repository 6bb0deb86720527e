"""One call as one HTTP request."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe._wire.messages import Reply, Request
from atom_stripe._wire.operation import Operation
from atom_stripe._wire.requests import build, check_key
from atom_stripe.errors import ConfigurationError, EncodingError
from tests.canary import API_KEY, MARK

HEADERS = {"Authorization": f"Bearer {API_KEY}", "Stripe-Version": "2026-10-28.endive"}
BASE = "https://api.stripe.com"


def request(operation: Operation, params: dict[str, Any], *, path: str | None = None, key: str | None = None) -> Request:
    """Return the request of a call with our usual headers."""
    return build(operation, path or operation.path, params, base=BASE, headers=HEADERS, idempotency_key=key, boundary="b0")


@pytest.mark.parametrize("path", ["/v1/customers", "/v2/core/events"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_reads_and_deletes_have_a_query(method: Any, path: str) -> None:
    """The parameters of a GET or DELETE are in the query of both APIs, as stripe-python sends them, and there is no body."""
    made = request(Operation(method, path), {"limit": 3, "types": ["a", "b"], "none": None})
    assert made == Request(method, f"{BASE}{path}?limit=3&types[0]=a&types[1]=b", HEADERS, None)


@pytest.mark.parametrize("params", [{}, {"limit": None}])
def test_no_parameters_no_query(params: dict[str, Any]) -> None:
    """Without parameters the URL is the path alone."""
    assert request(Operation("GET", "/v1/balance"), params).url == f"{BASE}/v1/balance"


def test_a_query_goes_on() -> None:
    """Parameters are added to the query that a path already has."""
    assert (
        request(Operation("GET", "/v2/core/events"), {"limit": 3}, path="/v2/core/events?page=x").url
        == f"{BASE}/v2/core/events?page=x&limit=3"
    )


def test_forms_of_the_first_api() -> None:
    """A POST of v1 is a form, and an empty one has an empty body."""
    operation = Operation("POST", "/v1/customers")
    headers = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": "k1"}
    assert request(operation, {"name": "é"}, key="k1") == Request("POST", f"{BASE}/v1/customers", headers, b"name=%C3%A9")
    assert request(operation, {}, key="k1").body == b""


def test_json_of_the_second_api() -> None:
    """A POST of v2 is JSON, with the strings that its schema asks for, and an empty one is an empty object."""
    operation = Operation("POST", "/v2/core/accounts", encodings={"amount": "int64_string"})
    headers = {**HEADERS, "Content-Type": "application/json"}
    assert request(operation, {"amount": 5, "name": None}) == Request(
        "POST", f"{BASE}/v2/core/accounts", headers, b'{"amount":"5","name":null}'
    )
    assert request(operation, {}).body == b"{}"


def test_files_are_multipart() -> None:
    """An upload names its boundary in the header and uses it in the body."""
    made = request(Operation("POST", "/v1/files", "files", multipart=True), {"file": b"x"}, key="k1")
    assert (made.method, made.url) == ("POST", f"{BASE}/v1/files")
    assert made.headers == {**HEADERS, "Content-Type": "multipart/form-data; boundary=b0", "Idempotency-Key": "k1"}
    assert made.body is not None
    assert made.body.startswith(b"--b0\r\n")


def test_searches_of_the_second_api() -> None:
    """The limit of a v2 search stands in the URL and everything else in its body."""
    operation = Operation("POST", "/v2/core/accounts/search")
    assert request(operation, {"limit": 5, "query": "x"}).url == f"{BASE}/v2/core/accounts/search?limit=5"
    assert request(operation, {"limit": 5, "query": "x"}).body == b'{"query":"x"}'
    assert request(operation, {"query": "x"}).url == f"{BASE}/v2/core/accounts/search"
    assert request(operation, {"query": "x"}).body == b'{"query":"x"}'
    assert request(Operation("POST", "/v2/core/accounts"), {"limit": 5}).body == b'{"limit":5}'


def test_headers_of_others_stay_as_they_are() -> None:
    """The headers that all requests of a client share are copied and not changed."""
    before = dict(HEADERS)
    made = request(Operation("POST", "/v1/customers"), {"name": "x"}, key="k1")
    assert before == HEADERS
    assert made.headers is not HEADERS


def test_no_key_no_header() -> None:
    """A request without an idempotency key has no such header."""
    assert "Idempotency-Key" not in request(Operation("POST", "/v1/customers"), {}).headers
    assert "Idempotency-Key" not in request(Operation("GET", "/v1/customers"), {}).headers
    assert request(Operation("DELETE", "/v2/core/x"), {}, key="k1").headers["Idempotency-Key"] == "k1"


def test_requests_and_replies_hide_secrets() -> None:
    """Neither a request's headers nor any body is in a repr."""
    made = request(Operation("POST", "/v1/customers"), {"name": MARK})
    assert MARK not in repr(made)
    assert MARK not in repr(Reply(200, {"x": MARK}, MARK.encode()))


@pytest.mark.parametrize(
    ("path", "version", "searches"),
    [
        ("/v1/customers", 1, False),
        ("/v1/customers/search", 1, True),
        ("/v2/core/events", 2, False),
        ("/v2/core/accounts/search", 2, True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_operations_know_what_they_are(method: Any, path: str, version: int, searches: bool) -> None:
    """An operation's API follows from its path; GETs and searches read."""
    operation = Operation(method, path)
    assert (operation.version, operation.searches, operation.reads) == (version, searches, method == "GET" or searches)
    assert (operation.host, operation.multipart, operation.encodings) == ("api", False, None)


@pytest.mark.parametrize("key", ["k", "order-42", "a" * 255, "~!@#"])
def test_idempotency_keys_pass(key: str) -> None:
    """A key of 1 to 255 visible characters is returned as it is."""
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "a" * 256, None, 5, b"k", ["k"]])
def test_idempotency_keys_have_a_length(key: object) -> None:
    """What is no string of 1 to 255 characters is refused."""
    with pytest.raises(EncodingError, match=r"^an idempotency key is a string of 1 to 255 characters$") as caught:
        check_key(key)
    assert caught.value.param == "idempotency_key"


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "é", " ", "a\x00", "\ud800"])
def test_idempotency_keys_are_headers(key: str) -> None:
    """A key that would smuggle a header in, or cannot be sent as one, is refused."""
    with pytest.raises(ConfigurationError, match=r"^idempotency_key must be"):
        check_key(key)
