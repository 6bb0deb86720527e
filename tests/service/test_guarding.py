"""What keeps the routes from those who are not meant: mounting, callers, limits, sizes, types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.contrib.fastapi import create_router
from atom_stripe.contrib.flask import create_blueprint
from atom_stripe.errors import ConfigurationError
from atom_stripe.service import Caller, Problem, ServiceConfig, document
from atom_stripe.service.routes import OPERATIONS
from tests.service.conftest import PREFIX

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

PAYMENT = {"amount": 2000, "currency": "usd"}


def test_money_is_never_open_to_everybody(world: World) -> None:
    """Routes of money and of tokens are refused at once when nobody says who calls; webhooks and health need nobody."""
    manager = world.manager()
    for parts in ({"client": world.client()}, {"oauth": manager}):
        with pytest.raises(ConfigurationError, match="authorize="):
            world.mount(**parts, authorize=None)
    assert world.mount(inbox=world.inbox(), authorize=None).get("/", user=None).status == 200


def test_parts_of_the_other_colour_are_refused(world: World) -> None:
    """A sync client would block an event loop, and an async one cannot be asked without: both are refused when they are mounted."""
    other: Any = world.sandbox.client() if world.asynchronous else world.sandbox.async_client()
    create: Any = create_router if world.asynchronous else create_blueprint
    with pytest.raises(ConfigurationError, match=r"client is an? a?sync"):
        create(client=other, authorize=lambda: "user_1")


def test_a_client_without_the_manager_is_refused(world: World) -> None:
    """A client that does not know the users' accounts cannot act for them, and that is said when it is mounted."""
    with pytest.raises(ConfigurationError, match="oauth"):
        world.mount(client=world.client(), oauth=world.manager())


def test_strangers_learn_nothing(world: World) -> None:
    """Every route that is not open answers 401 to a stranger, before it looks at anything else."""
    manager = world.manager()
    visitor = world.mount(client=world.client(oauth=manager), oauth=manager, inbox=world.inbox(), user=None)
    asked = 0
    for operation in OPERATIONS:
        if operation.access in {"caller", "operator"} and operation.part != "metrics":
            answer = visitor.ask(operation.method, operation.path.replace("{id}", "x"), content=b"{")
            assert (answer.status, answer.kind) == (401, "not_authorized"), operation.name
            asked += 1
    assert asked > 10


def test_authorize_that_returns_something_else(world: World) -> None:
    """An authorize that returns neither a caller nor nobody lets nobody in."""

    def authorize() -> bool:
        return True

    answer = world.mount(client=world.client(), authorize=authorize).get("/payments")
    assert (answer.status, answer.kind) == (500, "internal_error")


def test_authorize_that_says_no_in_its_own_words(world: World) -> None:
    """A problem that authorize raises is the answer."""

    def authorize() -> None:
        raise Problem(403, "not_yours", "This is for the owners of the shop.")

    answer = world.mount(client=world.client(), authorize=authorize).get("/payments")
    assert (answer.status, answer.kind) == (403, "not_yours")


@pytest.mark.parametrize("user_id", ["", "x" * 256])
def test_a_caller_has_an_id(user_id: str) -> None:
    """A caller without an id, or with an endless one, is a mistake of the program."""
    with pytest.raises(ConfigurationError, match="1 to 255"):
        Caller(user_id)


def test_every_caller_has_a_limit(world: World) -> None:
    """Beyond the limit a caller hears 429 and when to come back; others go on, and strangers' guesses are counted too."""
    config = ServiceConfig(caller_limit="3/hour", address_limit="2/hour")
    visitor = world.mount(client=world.client(), config=config)
    assert [visitor.get("/payments").status for _ in range(4)] == [200, 200, 200, 429]
    refused = visitor.get("/payments")
    assert refused.kind == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert visitor.get("/payments", user="other").status != 429
    assert [visitor.get("/payments", user=None).status for _ in range(3)] == [401, 401, 429]
    assert visitor.get("/", user=None).status == 429


def test_limits_are_shared_in_redis(world: World, redis_url: str) -> None:
    """Two processes that count in one Redis have one limit together."""
    config = ServiceConfig(caller_limit="3/hour", limit_storage=redis_url)
    first, second = (world.mount(client=world.client(), config=config, user=f"shared-{world.framework}") for _ in range(2))
    assert [visitor.get("/payments").status for visitor in (first, second, first, second)] == [200, 200, 200, 429]


def test_limits_without_their_storage_let_through(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that is away keeps nobody out, and the log says so, once."""
    config = ServiceConfig(caller_limit="1/hour", limit_storage="redis://127.0.0.1:1/0")
    visitor = world.mount(client=world.client(), config=config)
    assert [visitor.get("/payments").status for _ in range(3)] == [200, 200, 200]
    assert sum("not limited" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("limit", ["lots", "5/fortnight", "-1/minute"])
def test_a_limit_that_is_none(world: World, limit: str) -> None:
    """A limit that cannot be read is refused when the routes are mounted."""
    with pytest.raises(ConfigurationError, match="600/minute"):
        world.mount(client=world.client(), config=ServiceConfig(caller_limit=limit))


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"amount": NaN}', 400, "malformed_json"),
        (b'{"amount": 1, "amount": 2}', 400, "malformed_json"),
        (b"[" * 60_000, 400, "malformed_json"),
        (b" " * 70_000, 413, "too_large"),
        (b'{"amount": 1' + b"0" * 5000 + b"}", 400, "malformed_json"),
        (b'"\\ud800"', 422, "invalid_input"),
        (b'{"\\ud800": 1, "<script>": 2}', 422, "invalid_input"),
        (b"null", 422, "invalid_input"),
        (b"", 422, "invalid_input"),
    ],
    ids=["cut-off", "no-utf8", "nan", "twice", "deep", "long", "huge-number", "surrogate", "names", "null", "empty"],
)
def test_hostile_bodies(visitor: Visitor, body: bytes, status: int, kind: str) -> None:
    """Whatever is posted, the answer is a problem that says what is wrong with it, in JSON."""
    answer = visitor.post("/payments", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.kind) == (status, kind)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_what_a_page_of_another_site_could_post(visitor: Visitor, kind: str) -> None:
    """Only JSON that is called JSON is taken, because a browser asks first before it sends that from another site."""
    answer = visitor.post("/payments", content=json.dumps(PAYMENT), headers={"Content-Type": kind})
    assert (answer.status, answer.kind) == (415, "unsupported_media_type")


def test_parameters_that_are_none(visitor: Visitor) -> None:
    """A misspelled parameter, one that comes twice, and one out of bounds are named."""
    for query, name in (("limt=1", "limt"), ("limit=1&limit=2", "limit"), ("limit=0", "limit"), ("cursor=%2e%2e%2f", "cursor")):
        answer = visitor.get(f"/payments?{query}")
        assert (answer.status, [error["parameter"] for error in answer.json["errors"]]) == (422, [name])


@pytest.mark.parametrize("identity", ["cus_1", "pi_", "pi_1%2e%2e", "pi_%00", "pi_" + "x" * 300])
def test_an_id_that_is_none_of_this_kind(visitor: Visitor, identity: str) -> None:
    """An id of something else is not found."""
    assert visitor.get(f"/payments/{identity}").status == 404


def test_an_idempotency_key_that_is_none(visitor: Visitor) -> None:
    """A key that Stripe would not take is refused, and not left out in silence."""
    for key in ("", " ", "x" * 256):
        answer = visitor.post("/payments", PAYMENT, headers={"Idempotency-Key": key})
        assert (answer.status, answer.kind) == (400, "invalid_idempotency_key"), key


def test_a_failure_of_ours_says_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is a 500 without a word of it; the log has all of it."""

    class Broken(type(world.client())):  # type: ignore[misc]
        @property
        def payment_intents(self) -> Any:
            msg = "secret internals"
            raise RuntimeError(msg)

    made = world.client()
    made.__class__ = Broken
    answer = world.mount(client=made).get("/payments")
    assert (answer.status, answer.kind) == (500, "internal_error")
    assert b"internals" not in answer.body
    assert "secret internals" in caplog.text


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ({"status": 401}, 502, "service_misconfigured"),
        ({"status": 403}, 502, "permission_denied"),
        ({"status": 409}, 409, "conflict"),
        ({"status": 429}, 503, "stripe_busy"),
        ({"status": 500}, 502, "stripe_failed"),
        ({"timeout": True}, 504, "stripe_timeout"),
        ({"drop": True}, 502, "stripe_unreachable"),
        ({"body": b"<html>"}, 502, "stripe_unreachable"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_stripe_fails(world: World, fault: dict[str, Any], status: int, kind: str) -> None:
    """However Stripe fails, the answer is a problem that says what to do and nothing of the service's key."""
    visitor = world.mount(client=world.client())
    world.sandbox.faults.next(**fault, times=20)
    answer = visitor.post("/payments", PAYMENT)
    assert (answer.status, answer.kind) == (status, kind)
    assert b"sk_test" not in answer.body
    # What may have been done all the same is said.
    assert answer.json.get("outcome_unknown", False) is (kind in {"stripe_failed", "stripe_timeout", "stripe_unreachable"})


def test_answers_are_for_no_cache(visitor: Visitor) -> None:
    """No answer is kept by a cache on the way, or taken for something else by a browser."""
    for answer in (visitor.get("/payments"), visitor.get("/payments", user=None), visitor.get("/")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_both_frameworks_have_one_document(world: World) -> None:
    """The OpenAPI document of FastAPI's own is ours, route by route, and each of its routes is one of Flask's."""
    from fastapi import FastAPI
    from flask import Flask

    manager, sync = world.sandbox.async_oauth_manager(), world.sandbox.oauth_manager()
    app, flask = FastAPI(), Flask("shop")

    async def nobody() -> None:
        return None

    router = create_router(client=world.sandbox.async_client(oauth=manager), oauth=manager, authorize=nobody)
    app.include_router(router, prefix=PREFIX)
    blueprint = create_blueprint(client=world.sandbox.client(oauth=sync), oauth=sync, authorize=lambda: None)
    flask.register_blueprint(blueprint, url_prefix=PREFIX)
    ours = document((one for one in OPERATIONS if one.part in {None, "client", "oauth"}), prefix=PREFIX)
    assert json.loads(json.dumps(app.openapi()["paths"])) == json.loads(json.dumps(ours["paths"]))
    rules = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(PREFIX)
    }
    assert rules == {(path, method) for path, methods in ours["paths"].items() for method in methods}
