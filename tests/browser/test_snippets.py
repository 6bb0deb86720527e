"""
Code that frontends already have, against the HTTP face: the endpoints object, the way to Stripe's page, and the way back.

In Chromium the snippets run as they are, with one correction: ``fetch`` gives a ``Response``, and ``window.location.href`` set to one leads to a page
called "[object Response]", whatever service there is. So the URL is taken out of the answer: ``(await (await fetch(…)).json()).url``. A plain browser
runs no scripts; there, the same requests are sent by hand.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from atom_stripe import AsyncOAuthManager, AsyncStripeClient, AsyncWebhookInbox, Keyring, OAuthConfig, WebhookVerifier
from atom_stripe.contrib.fastapi import create_router
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.memory import AsyncMemoryTokenStore
from atom_stripe.testing import StripeSandbox
from tests.browser.market import PATIENCE
from tests.browser.serving import fastapi_serving
from tests.browsers import PlainBrowser
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from tests.browsers import Browser

    OpenBrowser = Callable[[], Browser]

FACE = "/api/v1/stripe"
PAGE = "/auth/stripe/callback"

CONFIG = """
const stripeConfig = {
  apiKey: process.env.STRIPE_PUBLISHABLE_KEY,
  integration: {
    endpoints: {
      payments: '/api/v1/stripe/payments',
      customers: '/api/v1/stripe/customers',
      subscriptions: '/api/v1/stripe/subscriptions',
      webhooks: '/api/v1/stripe/webhooks'
    }
  }
};
"""
AUTHORIZE = """
const initiateStripeOAuth = async () => {
  const authUrl = await fetch('/api/v1/stripe/oauth/authorize');
  window.location.href = authUrl;
};
"""
CORRECTED = """
const initiateStripeOAuth = async () => {
  const authUrl = (await (await fetch('/api/v1/stripe/oauth/authorize')).json()).url;
  window.location.href = authUrl;
};
"""
CALLBACK = """
const handleOAuthCallback = async (code) => {
  const response = await fetch('/api/v1/stripe/oauth/callback', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ code })
  });
  return response.json();
};
"""

# What the frontend around them does. Bundlers write the settings of the build in place of `process.env`.
BUNDLED = "const process = { env: { STRIPE_PUBLISHABLE_KEY: 'pk_test_1' } };\n"
BEGIN = "document.getElementById('connect').addEventListener('click', initiateStripeOAuth);\n"
TELL = "const tell = (value) => { document.getElementById('result').textContent = JSON.stringify(value); };\n"
FINISH = "handleOAuthCallback(new URLSearchParams(location.search).get('code')).then(tell);\n"
ASK = """
const ask = async () => {
  const { webhooks, ...lists } = stripeConfig.integration.endpoints;
  const found = {};
  for (const [name, url] of Object.entries(lists)) {
    const response = await fetch(url);
    found[name] = [response.status, await response.json()];
  }
  const response = await fetch(webhooks, { method: 'POST', body: '{}' });
  found.webhooks = [response.status, await response.json()];
  tell(found);
};
ask();
"""
# What a page of another origin can try: as our own page does, without asking first, and with all that it may say of itself.
ATTACK = """
const code = new URLSearchParams(location.search).get('code');
const attempts = [
  { headers: { 'Content-Type': 'application/json' } },
  { mode: 'no-cors', headers: { 'Content-Type': 'text/plain' } },
  { mode: 'no-cors', headers: { 'Content-Type': 'application/json' } },
];
const attack = async () => {
  const found = [];
  for (const attempt of attempts) {
    try {
      const response = await fetch(TARGET, {
        method: 'POST', credentials: 'include', referrerPolicy: 'unsafe-url', body: JSON.stringify({ code }), ...attempt,
      });
      found.push(response.type);
    } catch (error) {
      found.push(error.name);
    }
  }
  tell(found);
};
attack();
"""


@dataclass(frozen=True, slots=True)
class Frontend:
    """
    A running service and the pages of its frontend.

    *elsewhere*: where a page of another origin is. *answers*: method, path and status of every answer of the HTTP face.
    """

    url: str
    elsewhere: str
    sandbox: StripeSandbox = field(repr=False)
    answers: list[tuple[str, str, int]] = field(repr=False)

    def tried(self) -> list[tuple[str, int]]:
        """Return what was asked of the callback, and how it was answered."""
        return [(method, status) for method, path, status in self.answers if path == f"{FACE}/oauth/callback"]


def page(*scripts: str) -> HTMLResponse:
    """Return a page that runs *scripts*."""
    body = f'<button id="connect">Connect</button><p id="result"></p><script type="module">{"".join(scripts)}</script>'
    return HTMLResponse(f'<!doctype html><title>A frontend</title><link rel="icon" href="data:,">{body}')


def service(url: str, sandbox: StripeSandbox, answers: list[tuple[str, str, int]]) -> FastAPI:
    """Return the service with its frontend, whose users are known by a cookie."""
    server = sandbox.serve()
    sandbox.oauth.register(url + PAGE)
    config = OAuthConfig(
        stripe=server.config(),
        client_id=sandbox.oauth.client_id,
        redirect_uris=(url + PAGE,),
        token_keys=(Keyring.generate_key(),),
    )
    manager = AsyncOAuthManager(config, AsyncMemoryTokenStore())
    client = AsyncStripeClient(config=config.stripe, oauth=manager)
    inbox = AsyncWebhookInbox(WebhookVerifier(WEBHOOK_SECRET), MemoryInboxStore())

    async def authorize(request: Request) -> str | None:
        return request.cookies.get("user")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with manager, client, inbox:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def noted(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        answers.append((request.method, request.url.path, response.status_code))
        return response

    @app.get("/")
    async def home() -> Response:
        response = page(CORRECTED, BEGIN)
        response.set_cookie("user", f"user_{secrets.token_hex(8)}", httponly=True, samesite="lax")
        return response

    @app.get("/as-written")
    async def as_written() -> Response:
        return page(AUTHORIZE, BEGIN)

    @app.get(PAGE)
    async def callback() -> Response:
        return page(CALLBACK, TELL, FINISH)

    @app.get("/endpoints")
    async def endpoints() -> Response:
        return page(BUNDLED, CONFIG, TELL, ASK)

    app.include_router(create_router(client=client, oauth=manager, inbox=inbox, authorize=authorize), prefix=FACE)
    return app


def stranger(target: str) -> FastAPI:
    """Return a site that would complete what it did not begin."""
    app = FastAPI()

    @app.get(PAGE)
    async def attack() -> Response:
        return page(TELL, f"const TARGET = {json.dumps(target)};\n", ATTACK)

    return app


@pytest.fixture
def frontend() -> Generator[Frontend]:
    """A service, its frontend, and a page of another origin."""
    answers: list[tuple[str, str, int]] = []
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        url, elsewhere = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in (ours, theirs))
        sandbox = stack.enter_context(StripeSandbox(start=datetime.now(UTC)))
        stack.enter_context(fastapi_serving(service(url, sandbox, answers), ours))
        stack.enter_context(fastapi_serving(stranger(f"{url}{FACE}/oauth/callback"), theirs))
        yield Frontend(url, elsewhere, sandbox, answers)


# What a user does, in a browser with scripts and in one without.


def told(browser: Browser) -> Any:
    """Return what the page's script tells, once it does."""
    until = time.monotonic() + PATIENCE
    while not (words := browser.text().removeprefix("Connect").strip()):
        assert time.monotonic() < until, "the script tells nothing"
        time.sleep(0.02)
    return json.loads(words)


def begin(frontend: Frontend, browser: Browser) -> None:
    """Go to Stripe's page."""
    browser.open(frontend.url)
    if isinstance(browser, PlainBrowser):
        browser.open(browser._client.get(f"{frontend.url}{FACE}/oauth/authorize").json()["url"])
    else:
        browser.click("connect")
    assert "asks for access" in browser.text()


def finish(frontend: Frontend, browser: Browser) -> Any:
    """Return what the service answers to the page to which Stripe sent the browser."""
    assert browser.url().startswith(f"{frontend.url}{PAGE}?")
    if isinstance(browser, PlainBrowser):
        body = {"code": parse_qs(urlsplit(browser.url()).query)["code"][0]}
        answer = browser._client.post(f"{frontend.url}{FACE}/oauth/callback", json=body, headers={"Referer": browser.url()})
        return answer.json()
    return told(browser)


def connected(frontend: Frontend, browser: Browser) -> Any:
    """Go all the way, and return what the frontend learned."""
    begin(frontend, browser)
    browser.click("connect")
    return finish(frontend, browser)


def status(frontend: Frontend, browser: Browser) -> Any:
    """Return what is connected for the user of *browser*."""
    browser.open(f"{frontend.url}{FACE}/oauth/status")
    return json.loads(browser.text())


def test_authorize_and_callback(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """The corrected first snippet leads to Stripe's page, and the second, as it is, connects the user: it posts the code and nothing else."""
    browser = open_browser()
    connection = connected(frontend, browser)
    assert (connection["connected"], connection["state"]) == (True, "active")
    assert status(frontend, browser) == {"connected": True, "connection": connection}
    assert frontend.tried() == [("POST", 200)]
    asked = next(url for url in browser.visited if "/oauth/authorize?" in url)
    assert parse_qs(urlsplit(asked).query)["redirect_uri"] == [frontend.url + PAGE]
    assert len(frontend.sandbox.oauth.token_requests) == 1


def test_a_reload_of_the_page(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """Loading the page to which Stripe sent the browser once more gives the same connection, and sends no code twice."""
    browser = open_browser()
    connection = connected(frontend, browser)
    browser.open(next(url for url in reversed(browser.visited) if f"{PAGE}?" in url))
    assert finish(frontend, browser) == connection
    assert len(frontend.sandbox.oauth.token_requests) == 1


def test_a_user_who_says_no(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """Without a code there is nothing to hand over: the second snippet gets a problem that says so, and nobody is connected."""
    browser = open_browser()
    begin(frontend, browser)
    browser.click("deny")
    if isinstance(browser, PlainBrowser):
        headers = {"Referer": browser.url()}
        problem = browser._client.post(f"{frontend.url}{FACE}/oauth/callback", json={"code": None}, headers=headers).json()
    else:
        problem = told(browser)
    assert (problem["status"], problem["type"]) == (400, "urn:atom-stripe:problem:code_missing")
    assert status(frontend, browser)["connected"] is False


def test_endpoints(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """The lists of the endpoints object answer for the account that the user connected; the fourth URL takes what Stripe signed and nothing else."""
    browser = open_browser()
    account = connected(frontend, browser)["account"]
    payment = frontend.sandbox.client(stripe_account=account).payment_intents.create(amount=2000, currency="usd")
    customer = frontend.sandbox.client(stripe_account=account).customers.create(name="Jenny")
    browser.open(f"{frontend.url}/endpoints")
    if isinstance(browser, PlainBrowser):
        found = {name: browser._client.get(f"{frontend.url}{FACE}/{name}") for name in ("payments", "customers", "subscriptions")}
        found["webhooks"] = browser._client.post(f"{frontend.url}{FACE}/webhooks", content="{}")
        answers = {name: [answer.status_code, answer.json()] for name, answer in found.items()}
    else:
        answers = told(browser)
    lists = {name: (answers[name][0], [one["id"] for one in answers[name][1]["data"]]) for name in ("payments", "customers")}
    assert lists == {"payments": (200, [payment.id]), "customers": (200, [customer.id])}
    assert answers["subscriptions"] == [200, {"data": [], "has_more": False, "next_cursor": None}]
    assert (answers["webhooks"][0], answers["webhooks"][1]["type"]) == (400, "urn:atom-stripe:problem:not_from_stripe")


def test_endpoints_of_a_user_without_an_account(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """Until a user has connected an account, each list is a problem that says so; nobody sees somebody else's."""
    connected(frontend, open_browser())
    browser = open_browser()
    browser.open(frontend.url)
    for name in ("payments", "customers", "subscriptions"):
        browser.open(f"{frontend.url}{FACE}/{name}")
        assert '"type":"urn:atom-stripe:problem:not_connected"' in browser.text()


def test_a_page_of_another_origin(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """
    A page of another origin that has the code and the state in its own URL completes nothing, although the user's cookies would go along.

    Afterwards the code still works where it belongs.
    """
    browser = open_browser()
    begin(frontend, browser)
    back = urlsplit(frontend.sandbox.oauth.consent(browser.url()))
    browser.open(f"{frontend.elsewhere}{PAGE}?{back.query}")
    if isinstance(browser, PlainBrowser):
        # Without a browser's rules, the service's own remain.
        headers = {"Referer": browser.url(), "Origin": frontend.elsewhere}
        body = {"code": parse_qs(back.query)["code"][0]}
        answer = browser._client.post(f"{frontend.url}{FACE}/oauth/callback", json=body, headers=headers)
        assert answer.json()["type"] == "urn:atom-stripe:problem:state_missing"
        assert frontend.tried() == [("POST", 400)]
    else:
        assert told(browser) == ["TypeError", "opaque", "opaque"]
        # The first asks before it posts, and is not allowed to; the other two come as plain text.
        assert frontend.tried() == [("OPTIONS", 405), ("POST", 415), ("POST", 415)]
    assert frontend.sandbox.oauth.token_requests == []
    assert status(frontend, browser)["connected"] is False
    browser.open(back.geturl())
    assert finish(frontend, browser)["connected"] is True


def test_a_code_of_somebody_else(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """A user who is led to the page with somebody else's code and state is not connected to that account."""
    attacker, victim = open_browser(), open_browser()
    begin(frontend, attacker)
    url = frontend.sandbox.oauth.consent(attacker.url())
    # Their own authorization is under way, so that they have a session.
    begin(frontend, victim)
    victim.open(url)
    assert finish(frontend, victim)["type"] == "urn:atom-stripe:problem:state_mismatch"
    assert status(frontend, victim)["connected"] is False
    assert frontend.sandbox.oauth.token_requests == []


def test_why_the_first_snippet_is_corrected(frontend: Frontend, open_browser: OpenBrowser) -> None:
    """As it was written, the first snippet leaves for a page that no service has; with the correction, the same answer leads to Stripe's page."""
    browser = open_browser()
    browser.open(frontend.url)
    if isinstance(browser, PlainBrowser):
        browser.open(f"{frontend.url}/[object%20Response]")
    else:
        browser.open(f"{frontend.url}/as-written")
        browser.click("connect")
    assert browser.url() == f"{frontend.url}/[object%20Response]"
    assert "Not Found" in browser.text()
    begin(frontend, browser)
    assert frontend.sandbox.oauth.client_id in browser.url()
