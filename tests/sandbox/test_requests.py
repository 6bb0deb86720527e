"""What comes in: keys, versions, forms, idempotency keys. Whatever the bytes, the answer has Stripe's shape."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atom_stripe._wire.messages import Request
from atom_stripe.config import API_VERSION
from atom_stripe.testing import StripeSandbox, resources
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.requests import MAX_BODY, tree
from tests.canary import API_KEY, LIVE_KEY, MARK, RESTRICTED_KEY
from tests.sandbox.asking import Asking


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


# Who asks.


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


@pytest.mark.parametrize("header", [f"Bearer {API_KEY}", f"bearer {RESTRICTED_KEY}", basic(API_KEY)])
def test_any_test_key_opens_the_sandbox(ask: Asking, header: str) -> None:
    """A secret or restricted test key is enough, as a bearer token or as a user name."""
    assert ask.send("GET", "/v1/balance", Authorization=header).status == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", None),
        ("Bearer", None),
        ("Basic not-base64!", None),
        ("Basic /w==", None),
        (f"Digest {API_KEY}", None),
        (f"Bearer {LIVE_KEY}", None),
        (basic(LIVE_KEY), None),
        (f"Bearer pk_test_{MARK}", "secret_key_required"),
        (f"Bearer {MARK}", None),
        ("Bearer sk_test_", None),
        (f"Bearer sk_test_{'x' * 300}", None),
    ],
)
def test_no_other_key_does(ask: Asking, header: str, code: str | None) -> None:
    """No key, a live key, a publishable one and a malformed one are 401, and the answer does not repeat it."""
    reply = ask.send("GET", "/v1/balance", Authorization=header)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["type"], error.get("code")) == (401, "invalid_request_error", code)
    assert MARK not in repr((reply.body, reply.headers))
    assert reply.headers["www-authenticate"] == 'Basic realm="Stripe"'


def test_live_keys_are_told_what_this_is(ask: Asking) -> None:
    """Whoever sends a live key learns that this is a sandbox."""
    reply = ask.send("GET", "/v1/balance", Authorization=f"Bearer {LIVE_KEY}")
    assert "sandbox" in json.loads(reply.body)["error"]["message"]


def test_accounts(ask: Asking) -> None:
    """A request works in the account of its key, or in a connected one; each sees what is its own."""
    connected = ask.sandbox.connect().id
    mine = ask.post("/v1/customers")["id"]
    for header in ("Stripe_Account", "Stripe_Context"):
        assert json.loads(ask.send("GET", "/v1/customers", **{header: connected}).body)["data"] == []
        assert ask.send("GET", f"/v1/customers/{mine}", **{header: connected}).status == 404
        assert ask.send("GET", f"/v1/customers/{mine}", **{header: ask.sandbox.account}).status == 200
    stranger = ask.send("GET", "/v1/customers", Stripe_Account="acct_stranger")
    assert (stranger.status, json.loads(stranger.body)["error"]["code"]) == (403, "account_invalid")
    assert ask.send("GET", "/v1/customers", Stripe_Context=f"{connected}/acct_2").status == 501


@pytest.mark.parametrize(
    ("version", "status"),
    [(API_VERSION, 200), ("2026-09-30.endive", 200), ("2026-08-26.dahlia", 501), ("2020-08-27", 501), ("latest", 400)],
)
def test_versions(ask: Asking, version: str, status: int) -> None:
    """Versions with the pinned one's shapes are answered and repeated; others are refused by name."""
    reply = ask.send("GET", "/v1/balance", Stripe_Version=version)
    assert reply.status == status
    assert reply.headers["stripe-version"] == (version if status == 200 else API_VERSION)


def test_what_every_answer_says(ask: Asking) -> None:
    """Every answer has its own request id, the version and a content type; errors too."""
    replies = [ask.send("GET", path) for path in ("/v1/balance", "/v1/customers/cus_gone", "/v1/made_up")]
    assert [reply.status for reply in replies] == [200, 404, 404]
    assert len({reply.headers["request-id"] for reply in replies}) == 3
    for reply in replies:
        assert reply.headers["request-id"].startswith("req_")
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["stripe-version"] == API_VERSION


# Which operation.


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/customers/cus_gone", 404, "resource_missing"),
        ("GET", "/v1/customers/search", 400, "parameter_missing"),
        ("GET", "/v1/payouts", 501, "sandbox_unsupported"),
        ("POST", "/v1/payment_intents/pi_1/increment_authorization", 501, "sandbox_unsupported"),
        ("POST", "/v2/core/vault/us_bank_accounts", 501, "sandbox_unsupported"),
        ("GET", "/v1/setup_attempts", 501, "sandbox_unsupported"),
        ("POST", "/v1/customers/", 404, None),
        ("GET", "/v1/customers//payment_methods", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/v1", 404, None),
        ("PUT", "/v1/customers", 404, None),
        ("DELETE", "/v1/charges/ch_1", 404, None),
        ("GET", "/v1/made_up", 404, None),
    ],
)
def test_operations(ask: Asking, method: str, path: str, status: int, code: str | None) -> None:
    """What Stripe has is answered or refused by name, what it has not is a 404; neither is taken for something else."""
    answered, error = ask.refused(method, path)
    assert (answered, error.get("code")) == (status, code)


def test_a_wrong_verb_is_told_the_right_ones(ask: Asking) -> None:
    """A verb that a path does not take is answered with those that it takes."""
    assert "POST and DELETE" in ask.refused("PUT", "/v1/webhook_endpoints/we_1")[1]["message"].replace("GET, ", "").replace(
        "GET and ", ""
    )


def test_ids_are_decoded(ask: Asking) -> None:
    """An id in a path is decoded and looked up as it is, and does not lead to another path."""
    status, error = ask.refused("GET", "/v1/customers/cus_%2Fpayment_methods")
    assert (status, error["code"]) == (404, "resource_missing")
    assert "cus_/payment_methods" in error["message"]


# Forms.


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([("a[b]", "1"), ("a[c][d]", "2")], {"a": {"b": "1", "c": {"d": "2"}}}),
        ([("a[0]", "x"), ("a[1]", "y")], {"a": {"0": "x", "1": "y"}}),
        ([("a[]", "x"), ("a[]", "y")], {"a": ["x", "y"]}),
        ([("a[][b]", "1"), ("a[][c]", "2"), ("a[][b]", "3")], {"a": [{"b": "1", "c": "2"}, {"b": "3"}]}),
        ([("a[][b][]", "1")], {"a": [{"b": ["1"]}]}),
    ],
)
def test_forms(pairs: list[tuple[str, str]], expected: Any) -> None:
    """Brackets make objects and lists, numbered or not; of a value that is sent twice the last one counts."""
    assert tree(pairs) == expected


@pytest.mark.parametrize(
    "names",
    [["a[b"], ["a]"], ["[a]"], [""], ["a[b]c"], ["a", "a[b]"], ["a[b]", "a"], ["a[]", "a[b]"], ["a[b]", "a[]"], ["a" + "[b]" * 8]],
)
def test_broken_forms(names: list[str]) -> None:
    """Broken brackets, a name with two meanings, and nesting without end are refused."""
    with pytest.raises(Refusal):
        tree([(name, "1") for name in names])


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"email=\xff", None, 400),
        (b"email=%FF", None, 400),
        (b"&".join(b"metadata[%d]=1" % number for number in range(2001)), None, 400),
        (b"a" * (MAX_BODY + 1), None, 413),
        (b'{"email": "a"}', "application/json", 400),
        (b"--x", "multipart/form-data; boundary=x", 400),
        (b"email=a%40example.com", "application/x-www-form-urlencoded; charset=utf-8", 200),
        (b"email=a", None, 200),
        (b"", "application/json", 200),
    ],
)
def test_bodies(ask: Asking, body: bytes, content_type: str | None, status: int) -> None:
    """A body is a form in UTF-8 within bounds; anything else is refused."""
    headers = {"authorization": "Bearer sk_test_x", **({"content-type": content_type} if content_type else {})}
    reply = ask.sandbox.handle(Request("POST", "/v1/customers", headers, body))
    assert reply.status == status, reply.body
    assert "error" in json.loads(reply.body) or status == 200


def test_an_endless_url(ask: Asking) -> None:
    """A URL that is too long is refused."""
    assert ask.refused("GET", "/v1/customers", email="x" * 20_000)[0] == 414


PATHS = sorted({route.path for route in resources.catalog().routes})
NAMES = sorted({name for route in resources.catalog().routes for name in route.takes})
IDS = st.sampled_from(["pm_card_visa", "pm_card_chargeCustomerFail", "cus_gone", "%FF", "..", "search", "x y"])
VALUES = st.one_of(
    st.sampled_from(["true", "", "usd", "2000", "card", "pm_card_visa", "tok_visa", "manual", "off_session", "*", "0", "-1"]),
    st.text(max_size=8),
)


@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_breaks_the_sandbox(data: st.DataObject) -> None:
    """Whatever requests come in whatever order, each is answered in JSON, with a status of Stripe's, and money stays in balance."""
    ask = Asking(StripeSandbox())
    seen = ["cus_gone"]
    for _ in range(data.draw(st.integers(1, 12))):
        path = data.draw(st.sampled_from(PATHS))
        while "{" in path:
            path = path[: path.index("{")] + data.draw(st.one_of(st.sampled_from(seen), IDS)) + path[path.index("}") + 1 :]
        names = st.builds(
            str.__add__, st.sampled_from(NAMES), st.sampled_from(["", "", "", "[]", "[0]", "[x]", "[card][token]", "[type]"])
        )
        pairs = data.draw(st.lists(st.tuples(names, st.one_of(VALUES, st.sampled_from(seen))), max_size=6))
        if data.draw(st.booleans()):
            pairs += [
                ("amount", "2000"),
                ("currency", "usd"),
                ("payment_method", "pm_card_visa"),
                ("confirm", "true"),
                ("off_session", "true"),
            ]
        body = "&".join(f"{name}={value}" for name, value in pairs).encode(errors="surrogatepass")
        method = data.draw(st.sampled_from(["GET", "POST", "POST", "POST", "DELETE", "PATCH"]))
        reply = ask.sandbox.handle(Request(method, path, ask.headers, body))
        answer = json.loads(reply.body)
        assert reply.status in {200, 400, 401, 402, 403, 404, 413, 501}
        assert ("error" in answer) == (reply.status != 200)
        if isinstance(answer.get("id"), str):
            seen.append(answer["id"])
    ask.sandbox.clock.advance(days=8)
    moved = sum(row["net"] for row in ask.get("/v1/balance_transactions", limit=100, currency="usd")["data"])
    (available,) = [row["amount"] for row in ask.get("/v1/balance")["available"] if row["currency"] == "usd"]
    assert available == moved


# Idempotency keys.


CUSTOMER = {"email": "jenny@example.com"}


def keyed(ask: Asking, key: str, params: dict[str, Any] | None = None, path: str = "/v1/customers", **headers: str) -> Any:
    reply = ask.send("POST", path, CUSTOMER if params is None else params, Idempotency_Key=key, **headers)
    return reply.status, json.loads(reply.body), reply.headers


def test_the_same_key_brings_the_same_answer(ask: Asking) -> None:
    """A repeated request brings the first one's bytes, says so, and does nothing."""
    first = ask.send("POST", "/v1/customers", CUSTOMER, Idempotency_Key="k")
    second = ask.send("POST", "/v1/customers", CUSTOMER, Idempotency_Key="k")
    assert (second.status, second.body) == (first.status, first.body)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert {reply.headers["idempotency-key"] for reply in (first, second)} == {"k"}
    assert {reply.headers["original-request"] for reply in (first, second)} == {first.headers["request-id"]}
    assert first.headers["request-id"] != second.headers["request-id"]
    assert len(ask.get("/v1/customers")["data"]) == 1
    (event,) = ask.get("/v1/events")["data"]
    assert event["request"] == {"id": first.headers["request-id"], "idempotency_key": "k"}


@pytest.mark.parametrize(("params", "path"), [({"email": "tom@example.com"}, "/v1/customers"), (CUSTOMER, "/v1/payment_intents")])
def test_a_key_belongs_to_one_request(ask: Asking, params: dict[str, Any], path: str) -> None:
    """The key of another request is refused, and nothing is done."""
    made = keyed(ask, "k")[1]["id"]
    status, body, _ = keyed(ask, "k", params, f"/v1/customers/{made}" if path == "/v1/payment_intents" else path)
    assert (status, body["error"]["type"], body["error"].get("code")) == (400, "idempotency_error", None)
    assert len(ask.events()) == 1


def test_a_key_belongs_to_one_account(ask: Asking) -> None:
    """The same key in another account is another key."""
    connected = ask.sandbox.connect().id
    mine, theirs = keyed(ask, "k"), keyed(ask, "k", Stripe_Account=connected)
    assert mine[1]["id"] != theirs[1]["id"]


def test_a_key_lives_a_day(ask: Asking) -> None:
    """After 24 hours a key is new again."""
    first = keyed(ask, "k")[1]["id"]
    ask.sandbox.clock.advance(hours=23, minutes=59)
    assert keyed(ask, "k")[1]["id"] == first
    ask.sandbox.clock.advance(minutes=1)
    assert keyed(ask, "k")[1]["id"] != first


def test_a_failure_is_kept(ask: Asking) -> None:
    """A declined payment is repeated with its status, and charged once."""
    params = {
        "amount": 2000,
        "currency": "usd",
        "payment_method": "pm_card_visa_chargeDeclined",
        "confirm": True,
        "off_session": True,
    }
    first, second = (keyed(ask, "k", params, "/v1/payment_intents") for _ in range(2))
    assert (first[0], second[0]) == (402, 402)
    assert first[1] == second[1]
    assert second[2]["idempotent-replayed"] == "true"
    assert len(ask.get("/v1/charges")["data"]) == 1


def test_a_refusal_after_the_start_is_kept(ask: Asking) -> None:
    """What was refused once the work had begun stays refused under its key, though it could now be done."""
    customer = ask.post("/v1/customers")["id"]
    payment = ask.post("/v1/payment_intents", amount=2000, currency="usd")["id"]
    path = f"/v1/payment_intents/{payment}/capture"
    assert keyed(ask, "k", {}, path)[0] == 400
    ask.post(f"/v1/payment_intents/{payment}", customer=customer, capture_method="manual")
    ask.post(f"/v1/payment_intents/{payment}/confirm", payment_method="pm_card_visa", off_session=True)
    status, _, headers = keyed(ask, "k", {}, path)
    assert (status, headers["idempotent-replayed"]) == (400, "true")
    assert keyed(ask, "another", {}, path)[0] == 200


@pytest.mark.parametrize("wrong", [{"made_up": "1"}, {"balance": "x"}, {"payment_method": ""}])
def test_a_wrong_request_leaves_its_key_free(ask: Asking, wrong: dict[str, Any]) -> None:
    """A request that was never carried out leaves nothing: mended, it may come under the same key."""
    assert keyed(ask, "k", wrong)[0] == 400
    assert keyed(ask, "k")[0] == 200


def test_a_fault_leaves_its_key_free_unless_the_work_was_done(ask: Asking) -> None:
    """A limit or an outage before the work keeps nothing; a failure after the work comes back under its key each time."""
    ask.sandbox.faults.next(status=429)
    ask.sandbox.faults.next(status=500)
    assert [keyed(ask, "k")[0] for _ in range(3)] == [429, 500, 200]
    ask.sandbox.faults.next(status=500, done=True)
    assert [keyed(ask, "l")[0] for _ in range(3)] == [500, 500, 500]
    assert len(ask.get("/v1/customers")["data"]) == 2


def test_keys_have_a_length(ask: Asking) -> None:
    """A key of 255 characters is taken, a longer one refused, an empty one is none."""
    assert keyed(ask, "k" * 255)[0] == 200
    assert keyed(ask, "k" * 256)[0] == 400
    first, second = (keyed(ask, "")[1]["id"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_only_posts_have_keys(ask: Asking, method: str) -> None:
    """A key with a GET or DELETE means nothing."""
    made = ask.post("/v1/customers")["id"]
    for _ in range(2):
        assert "idempotent-replayed" not in ask.send(method, f"/v1/customers/{made}", Idempotency_Key="k").headers


def test_two_at_a_time(ask: Asking) -> None:
    """While the first request under a key is at work, a second one is told to come back; many at once do the work once."""
    answers: list[Any] = []
    with ask.sandbox.hold("k") as held:
        thread = threading.Thread(target=lambda: answers.append(keyed(ask, "k")))
        thread.start()
        held.wait()
        status, body, headers = keyed(ask, "k")
        assert (status, body["error"]["code"], headers["stripe-should-retry"]) == (409, "idempotency_key_in_use", "true")
        assert keyed(ask, "k", {"email": "tom@example.com"})[0] == 400
    thread.join()
    assert answers[0][0] == 200
    threads = [threading.Thread(target=lambda: answers.append(keyed(ask, "many"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in answers} <= {200, 409}
    assert len({body["id"] for status, body, _ in answers[1:] if status == 200}) == 1
    assert len(ask.get("/v1/customers")["data"]) == 2
