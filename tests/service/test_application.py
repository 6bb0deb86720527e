"""The reference application, in this process."""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import jwt
import pytest

from atom_stripe.contrib.fastapi import BearerTokens, ServiceConfig, create_app
from atom_stripe.errors import ClientClosedError, ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.protocols import InboxQuery
from atom_stripe.service import Caller
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.testing import StripeSandbox, sign
from tests.canary import API_KEY, LIVE_KEY, MARK, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from fastapi import FastAPI

SECRET_KEY = f"{MARK}{'k' * 64}"
PREFIX = "/api/v1/stripe"
CALLBACK = "https://shop.example/api/v1/stripe/oauth/callback"
PAID = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}


@pytest.fixture
def stripe() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        sandbox.oauth.register(CALLBACK)
        yield sandbox


@pytest.fixture
def settings(stripe: StripeSandbox, sqlite_url: str) -> dict[str, str]:
    """Return what the application reads."""
    upgrade(sqlite_url)
    url = stripe.serve().url
    return {
        "STRIPE_SECRET_KEY": API_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_BASE": url,
        "STRIPE_CONNECT_BASE": url,
        "DATABASE_URL": sqlite_url,
        "SECRET_KEY": SECRET_KEY,
    }


@pytest.fixture
def connecting(settings: dict[str, str], stripe: StripeSandbox) -> dict[str, str]:
    """Return the settings of a service to which users connect accounts."""
    return {
        **settings,
        "STRIPE_CLIENT_ID": stripe.oauth.client_id,
        "STRIPE_REDIRECT_URI": CALLBACK,
        "STRIPE_TOKEN_KEYS": Keyring.generate_key(),
    }


@asynccontextmanager
async def visiting(app: FastAPI, base: str = "https://shop.example") -> AsyncIterator[httpx.AsyncClient]:
    """Run the application, and yield somebody who asks it."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=base) as visitor:
        yield visitor


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {BearerTokens(SECRET_KEY).mint('user_1', **claims)}"}


def signed(claims: Mapping[str, Any], *, key: str = SECRET_KEY, algorithm: str = "HS256") -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(dict(claims), key, algorithm=algorithm)}"}


async def asked(
    app: FastAPI, *requests: tuple[str, str, dict[str, Any]], base: str = "https://shop.example"
) -> list[httpx.Response]:
    async with visiting(app, base) as visitor:
        return [await visitor.request(method, path, **options) for method, path, options in requests]


def handled(url: str) -> list[str | None]:
    with SqlInboxStore.from_url(url) as store:
        return [one.type for one in store.find(InboxQuery(status="done"))]


def delivery(stripe: StripeSandbox) -> tuple[str, str, dict[str, Any]]:
    """Return a delivery of a payment's event."""
    bodies: list[bytes] = []
    stripe.webhooks.deliver_to(lambda body, _signature: bodies.append(body), WEBHOOK_SECRET, ["payment_intent.succeeded"])
    stripe.client().payment_intents.create(
        amount=2000, currency="usd", payment_method="pm_card_visa", confirm=True, return_url="https://shop.example"
    )
    (body,) = bodies
    return "POST", f"{PREFIX}/webhooks", {"content": body, "headers": {"Stripe-Signature": sign(body, WEBHOOK_SECRET)}}


# What it is made of.


def test_a_payment(settings: dict[str, str]) -> None:
    """A service from settings takes a payment of the platform's, whose token says so."""
    (paid,) = anyio.run(
        asked, create_app(settings), ("POST", f"{PREFIX}/payments", {"json": PAID, "headers": bearer(platform=True)})
    )
    assert (paid.status_code, paid.json()["status"]) == (201, "succeeded")


def test_the_environment_of_the_process(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the settings are those of the process, as a factory for uvicorn needs it."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (found,) = anyio.run(asked, create_app(), ("GET", f"{PREFIX}/health", {}))
    assert found.status_code == 200


@pytest.mark.parametrize("worker", [True, False])
def test_events(settings: dict[str, str], stripe: StripeSandbox, worker: bool) -> None:
    """A delivery is stored and handled in the process, unless that is left to others."""
    app = create_app(settings, worker=worker)
    mine: list[str] = []
    done = anyio.Event()

    @app.state.inbox.on("payment_intent.succeeded", name="shop.paid")
    async def _paid(event: Any, _context: Any) -> None:
        mine.append(event.type)
        done.set()

    async def deliver() -> None:
        async with visiting(app) as visitor:
            method, path, options = delivery(stripe)
            assert (await visitor.request(method, path, **options)).status_code == 200
            if worker:
                await done.wait()

    anyio.run(deliver)
    expected = ["payment_intent.succeeded"] if worker else []
    assert handled(settings["DATABASE_URL"]) == mine == expected


def test_postgresql(connecting: dict[str, str], postgres_url: str, stripe: StripeSandbox) -> None:
    """On PostgreSQL users connect, and their connections are found by the next process."""
    upgrade(postgres_url)
    values = {**connecting, "DATABASE_URL": postgres_url}

    async def connect() -> None:
        async with visiting(create_app(values)) as visitor:
            began = await visitor.get(f"{PREFIX}/oauth/authorize", headers=bearer())
            back = await visitor.get(stripe.oauth.consent(began.json()["url"]))
            assert back.status_code == 200, back.text

    anyio.run(connect)
    (found,) = anyio.run(asked, create_app(values), ("GET", f"{PREFIX}/oauth/status", {"headers": bearer()}))
    assert found.json()["connected"] is True


def test_all_is_closed(connecting: dict[str, str]) -> None:
    """When the service has ended, nothing of it is open."""
    app = create_app(connecting)
    anyio.run(asked, app)

    async def closed() -> None:
        with pytest.raises(ClientClosedError):
            await app.state.client.customers.list()
        with pytest.raises(ClientClosedError):
            await app.state.oauth.token("user_1")

    anyio.run(closed)
    with pytest.raises(ClientClosedError):
        app.state.inbox.store.find(InboxQuery(limit=1))


def test_in_test_mode_webhooks_may_come_later(settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Without a signing secret a service of test mode has no /webhooks, and says so."""
    app = create_app({**settings, "STRIPE_WEBHOOK_SECRET": ""})
    (found,) = anyio.run(asked, app, ("POST", f"{PREFIX}/webhooks", {"content": b"{}"}))
    assert found.status_code in {404, 405}
    assert "there is no /webhooks" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"STRIPE_SECRET_KEY": ""}, "set STRIPE_SECRET_KEY"),
        ({"SECRET_KEY": " "}, "SECRET_KEY is not set: `atom-stripe init`"),
        ({"SECRET_KEY": "x" * 31}, "SECRET_KEY has 31 bytes and needs 32"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"STRIPE_CLIENT_ID": "ca_0123456789"}, "no STRIPE_REDIRECT_URI"),
        ({"STRIPE_WEBHOOK_SECRET": "nonsense"}, "whsec_"),
        ({"STRIPE_SECRET_KEY": LIVE_KEY, "STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET is missing"),
    ],
)
def test_settings_that_are_missing(settings: dict[str, str], changes: dict[str, str], message: str) -> None:
    """A setting that is missing or wrong is named before anything is opened."""
    with pytest.raises(ConfigurationError, match=message):
        create_app({**settings, **changes})


# Who calls.


def test_tokens_that_are_none(settings: dict[str, str]) -> None:
    """What is signed by another, in another way, without an end, too late, or for nobody, opens nothing."""
    now = int(time.time())
    good = {"sub": "user_1", "exp": now + 60, "platform": True}
    bad = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": f"Bearer {'x' * 9000}"},
        signed(good, key="another key of the right length, you see"),
        signed(good, algorithm="HS384"),
        signed(good, key="", algorithm="none"),
        signed({**good, "exp": now - 60}),
        signed({**good, "nbf": now + 60}),
        signed({**good, "aud": "another service"}),
        signed({"sub": "user_1", "platform": True}),
        signed({"exp": now + 60, "platform": True}),
        signed({**good, "sub": ""}),
        signed({**good, "sub": "u" * 256}),
    ]
    answers = anyio.run(asked, create_app(settings), *[("GET", f"{PREFIX}/payments", {"headers": headers}) for headers in bad])
    assert [answer.status_code for answer in answers] == [401] * len(bad)
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    (found,) = anyio.run(asked, create_app(settings), ("GET", f"{PREFIX}/payments", {"headers": signed(good)}))
    assert found.status_code == 200


def test_clocks_may_differ_a_little(settings: dict[str, str]) -> None:
    """A token that ended a moment ago still counts, because clocks differ."""
    headers = signed({"sub": "user_1", "exp": int(time.time()) - 2, "platform": True})
    (found,) = anyio.run(asked, create_app(settings), ("GET", f"{PREFIX}/payments", {"headers": headers}))
    assert found.status_code == 200


@pytest.mark.parametrize("platform", [None, "true", 1, False])
def test_the_platform_is_for_its_own_tokens(settings: dict[str, str], platform: Any) -> None:
    """Where users connect no accounts every call is the platform's, and a token that is not for it is refused."""
    headers = signed({"sub": "user_1", "exp": int(time.time()) + 60, "platform": platform})
    (found,) = anyio.run(asked, create_app(settings), ("GET", f"{PREFIX}/payments", {"headers": headers}))
    assert (found.status_code, found.json()["type"]) == (403, "urn:atom-stripe:problem:forbidden")
    assert found.headers["content-type"] == "application/problem+json"


def test_users_act_for_their_own_accounts(connecting: dict[str, str]) -> None:
    """With OAuth a token without the claim acts for its user's account, and one with it for the platform's."""
    own, platform = anyio.run(
        asked,
        create_app(connecting),
        ("GET", f"{PREFIX}/payments", {"headers": bearer()}),
        ("GET", f"{PREFIX}/payments", {"headers": bearer(platform=True)}),
    )
    assert (own.status_code, own.json()["type"]) == (409, "urn:atom-stripe:problem:not_connected")
    assert platform.status_code == 200


def test_operators(settings: dict[str, str]) -> None:
    """What operators see is shown to tokens that say so, and to no other."""
    paths = (f"{PREFIX}/health/detailed", f"{PREFIX}/metrics")
    for path in paths:
        nobody, user, operator = anyio.run(
            asked,
            create_app(settings),
            ("GET", path, {}),
            ("GET", path, {"headers": bearer(platform=True)}),
            ("GET", path, {"headers": bearer(operator=True)}),
        )
        assert [nobody.status_code, user.status_code, operator.status_code] == [401, 403, 200]


def test_an_authorize_of_your_own(settings: dict[str, str]) -> None:
    """With authorize= there are no bearer tokens, and no SECRET_KEY is needed."""

    async def authorize() -> Caller:
        return Caller("user_1", platform=True)

    app = create_app({**settings, "SECRET_KEY": ""}, authorize=authorize)
    (found,) = anyio.run(asked, app, ("GET", f"{PREFIX}/payments", {}))
    assert found.status_code == 200


@pytest.mark.parametrize(("user", "seconds"), [("", 60), ("u" * 256, 60), ("user_1", 0), ("user_1", -1), ("user_1", float("nan"))])
def test_tokens_that_are_not_made(user: str, seconds: float) -> None:
    """No token is made for nobody, or for no time."""
    with pytest.raises(ConfigurationError):
        BearerTokens(SECRET_KEY).mint(user, expires_in=seconds)


def test_the_key_is_not_shown() -> None:
    """The repr of what signs tokens shows nothing of the key."""
    assert repr(BearerTokens(SECRET_KEY)) == "BearerTokens(HS256)"


# What goes out.


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_headers(settings: dict[str, str], scheme: str) -> None:
    """Every answer, problems outside of the routes too, keeps browsers from caching, sniffing, framing and leaking it; HSTS over https only."""
    answers = anyio.run(
        lambda: asked(
            create_app(settings),
            ("GET", f"{PREFIX}/health", {}),
            ("GET", f"{PREFIX}/payments", {}),
            ("GET", "/nowhere", {}),
            ("PUT", f"{PREFIX}/payments", {}),
            base=f"{scheme}://shop.example",
        )
    )
    assert [answer.status_code for answer in answers] == [200, 401, 404, 405]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert ("strict-transport-security" in answer.headers) is (scheme == "https")
    assert [answer.json()["type"].rpartition(":")[2] for answer in answers[2:]] == ["not_found", "method_not_allowed"]
    assert answers[3].headers["allow"]


def test_other_sites_read_nothing(settings: dict[str, str]) -> None:
    """No page of another site may read an answer, or ask whether it may."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answers = anyio.run(
        asked,
        create_app(settings),
        ("OPTIONS", f"{PREFIX}/payments", {"headers": origin}),
        ("GET", f"{PREFIX}/payments", {"headers": {**origin, **bearer(platform=True)}}),
    )
    assert [answer.status_code for answer in answers] == [405, 200]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


def test_cookies_go_over_https_only(connecting: dict[str, str]) -> None:
    """The cookie of an authorization goes over https only, also where a proxy ends TLS, and no script reads it."""
    (began,) = anyio.run(
        lambda: asked(
            create_app(connecting), ("GET", f"{PREFIX}/oauth/authorize", {"headers": bearer()}), base="http://shop.example"
        )
    )
    cookie = began.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert {"Secure", "HttpOnly", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}


def test_hosts(settings: dict[str, str]) -> None:
    """With ALLOWED_HOSTS other host names are refused, with the same headers, except by /health; without it any is answered."""
    app = create_app({**settings, "ALLOWED_HOSTS": "shop.example, *.shop.example"})
    hosts = ("shop.example", "api.shop.example:8443", "evil.example")
    paths = [(path, host) for path in (f"{PREFIX}/", f"{PREFIX}/health") for host in hosts]
    found = anyio.run(asked, app, *[("GET", path, {"headers": {"Host": host}}) for path, host in paths])
    assert [answer.status_code for answer in found] == [200, 200, 400, 200, 200, 200]
    assert found[2].headers["x-content-type-options"] == "nosniff"


def test_the_description(settings: dict[str, str]) -> None:
    """The OpenAPI document is there, with the way to say who calls; pages that run scripts from elsewhere are not."""
    found, docs, redoc = anyio.run(
        asked, create_app(settings), ("GET", f"{PREFIX}/openapi.json", {}), ("GET", "/docs", {}), ("GET", "/redoc", {})
    )
    assert f"{PREFIX}/payments" in found.json()["paths"]
    assert [one["scheme"] for one in found.json()["components"]["securitySchemes"].values()] == ["bearer"]
    assert [docs.status_code, redoc.status_code] == [404, 404]


def test_the_log_of_requests(settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """A line for each request says what was asked and what came of it, without its query, in one line whatever the path holds."""
    with caplog.at_level(logging.INFO, "atom_stripe.access"):
        anyio.run(
            asked,
            create_app(settings),
            ("GET", f"{PREFIX}/oauth/callback?code={MARK[:4]}-code&state=s", {}),
            ("GET", "/a%0Ab", {}),
        )
    first, second = (record for record in caplog.records if record.name == "atom_stripe.access")
    assert first.getMessage() == f"GET '{PREFIX}/oauth/callback' 404"
    assert second.getMessage() == r"GET '/a\nb' 404"
    assert (vars(first)["method"], vars(first)["status"]) == ("GET", 404)
    assert "-code" not in repr(vars(first))


# Settings of the routes.


def test_limits_and_pages(connecting: dict[str, str]) -> None:
    """Where users go afterwards and where requests are counted come from the environment, or from a config in place of it."""
    (there,) = anyio.run(
        asked,
        create_app({**connecting, "STRIPE_CONNECTED_URL": "/settings"}),
        ("GET", f"{PREFIX}/oauth/callback?error=access_denied&state=s", {"headers": {"Accept": "text/html"}}),
    )
    assert (there.status_code, there.headers["location"].partition("?")[0]) == (302, "/settings")
    with pytest.raises(ConfigurationError, match=r"nonsense|limit|storage"):
        create_app({**connecting, "RATE_LIMIT_STORAGE": "nonsense"})
    limited = create_app(connecting, config=ServiceConfig(address_limit="1/minute"))
    first, second = anyio.run(asked, limited, *[("GET", f"{PREFIX}/oauth/callback", {})] * 2)
    assert (first.status_code, second.status_code) == (400, 429)
