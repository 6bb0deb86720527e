"""atom-stripe smoke, against services that are as they should be, and against such as are not."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI, Response
from fastapi import Request as FastAPIRequest
from flask import request as flask_request

from atom_stripe import WebhookVerifier
from atom_stripe.cli import smoke_asking, smoke_examining, smoke_judging
from atom_stripe.contrib.fastapi import create_router
from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox
from atom_stripe.metrics import PrometheusMetrics
from atom_stripe.protocols import InboxQuery
from atom_stripe.service import Caller, Problem
from atom_stripe.service.routes import OPERATIONS
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import StripeSandbox
from tests.browser.serving import fastapi_serving
from tests.canary import MARK
from tests.cli.conftest import Command
from tests.service.conftest import PREFIX, _Portal, fastapi_service, flask_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Change = Callable[[httpx.Request, httpx.Response], httpx.Response | None]

URL = "https://shop.example"
TOKEN = f"token-{MARK}"
SECRET = f"whsec_{MARK}{'s' * 20}"
HSTS = {"strict-transport-security": "max-age=63072000"}


def known(authorization: str | None) -> Caller | None:
    return Caller("platform", platform=True) if authorization == f"Bearer {TOKEN}" else None


async def fastapi_caller(request: FastAPIRequest) -> Caller | None:
    return known(request.headers.get("authorization"))


def flask_caller() -> Caller | None:
    return known(flask_request.headers.get("authorization"))


class Face(httpx.BaseTransport):
    """A service behind a proxy that ends TLS, and may change what comes back."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.asked: list[tuple[str, str, int]] = []
        self.change: Change | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "http":
            answer = httpx.Response(308, headers={"location": str(request.url.copy_with(scheme="https"))})
        else:
            answer = self._inner.handle_request(request)
            answer.headers.update(HSTS)
        changed = (self.change(request, answer) if self.change else None) or answer
        self.asked.append((request.method, request.url.path, changed.status_code))
        return changed

    def close(self) -> None:
        """The service outlives who asks it."""


class World:
    """A service, and the command to try it with."""

    def __init__(self, command: Command, stack: ExitStack, framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.command = command
        self.stack = stack
        self.framework = framework
        self.sandbox = stack.enter_context(StripeSandbox())
        self.store = MemoryInboxStore()
        self._monkeypatch = monkeypatch

    @property
    def asynchronous(self) -> bool:
        return self.framework == "fastapi"

    def client(self, **settings: Any) -> Any:
        return (self.sandbox.async_client if self.asynchronous else self.sandbox.client)(**settings)

    def inbox(self, *endpoints: str) -> Any:
        kind = AsyncWebhookInbox if self.asynchronous else WebhookInbox
        verifier = WebhookVerifier(SECRET)
        made = kind(verifier=dict.fromkeys(endpoints, verifier) if endpoints else verifier, store=self.store)
        self.stack.callback(made._core.close)
        return made

    def manager(self) -> Any:
        make = self.sandbox.async_oauth_manager if self.asynchronous else self.sandbox.oauth_manager
        return make(redirect_uris=(f"{URL}{PREFIX}/oauth/callback",))

    def mount(self, **parts: Any) -> Face:
        """Mount *parts*, or a client alone."""
        parts = {"client": self.client(), "authorize": fastapi_caller if self.asynchronous else flask_caller} | parts
        serve = fastapi_service if self.asynchronous else flask_service
        return self._shown(self.stack.enter_context(serve(**parts))._transport)

    def mount_app(self, app: FastAPI) -> Face:
        """Mount an application of its own."""
        return self._shown(_Portal(self.stack.enter_context(start_blocking_portal()), app))

    def _shown(self, transport: httpx.BaseTransport) -> Face:
        face = Face(transport)
        self._monkeypatch.setattr(smoke_asking, "new_client", lambda: httpx.Client(transport=face))
        return face

    def narrow(self, *names: str) -> None:
        """Look at these routes alone."""
        chosen = tuple(operation for operation in OPERATIONS if operation.name in names)
        assert len(chosen) == len(names)
        self._monkeypatch.setattr(smoke_examining, "OPERATIONS", chosen)

    def __call__(self, *arguments: str, **environment: str | None) -> Outcome:
        settings: dict[str, str | None] = {
            "STRIPE_SERVICE_TOKEN": TOKEN,
            "STRIPE_OPERATOR_TOKEN": None,
            "STRIPE_WEBHOOK_SECRET": None,
        }
        return self.command("smoke", "--url", URL, *arguments, **{**settings, **environment})

    def found(self, *arguments: str, **environment: str | None) -> dict[str, Any]:
        """The report, which is of the shape that is promised."""
        done = self(*arguments, "--json", **environment)
        report = done.json
        assert set(report) == {"ok", "url", "prefix", "max_latency", "slowest", "counts", "checks"}
        assert sum(report["counts"].values()) == len(report["checks"])
        for check in report["checks"]:
            assert set(check) == {"operation", "request", "check", "result", "message", "status", "seconds"}
            assert check["result"] in report["counts"]
        assert report["ok"] is (report["counts"]["failed"] == 0)
        assert done.status == (0 if report["ok"] else 1)
        return report

    def failures(self, *arguments: str, **environment: str | None) -> list[tuple[str, str, str]]:
        """Route, check and message of what failed."""
        checks = self.found(*arguments, **environment)["checks"]
        return [(one["operation"], one["check"], one["message"]) for one in checks if one["result"] == "failed"]


@pytest.fixture
def alone() -> Command:
    """The command without a database, which it does not need here."""
    return Command({}, None)  # type: ignore[arg-type]


@pytest.fixture
def world(alone: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(alone, stack, "fastapi", monkeypatch)


@pytest.fixture
def payments(world: World) -> World:
    """A service of which a few routes are looked at, because every one more takes time."""
    world.narrow("home", "list_payments", "get_payment", "create_payment", "health")
    return world


def replaced(answer: httpx.Response, status: int | None = None, content: bytes | None = None, **headers: str) -> httpx.Response:
    kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
    kept.update({name.replace("_", "-"): value for name, value in headers.items()})
    return httpx.Response(status or answer.status_code, headers=kept, content=answer.read() if content is None else content)


# Services as they should be.


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_a_service_that_is_well(alone: Command, monkeypatch: pytest.MonkeyPatch, framework: str) -> None:
    """Of a service with all parts nothing fails, every route there is has been looked at, and nothing was written."""
    with ExitStack() as stack:
        world = World(alone, stack, framework, monkeypatch)
        manager = world.manager()
        face = world.mount(client=world.client(oauth=manager), oauth=manager, inbox=world.inbox(), metrics=PrometheusMetrics())
        report = world.found("--require", "client,oauth,inbox,metrics")
        assert [one for one in report["checks"] if one["result"] == "failed"] == []
        looked = {one["operation"] for one in report["checks"] if one["result"] == "passed"}
        assert looked >= {operation.name for operation in OPERATIONS}
        guarded = {one.name for one in OPERATIONS if one.access in {"caller", "operator"}}
        assert {one["operation"] for one in report["checks"] if (one["check"], one["result"]) == ("no token", "passed")} == guarded
        assert [one for one in face.asked if one[0] != "GET" and one[2] < 400] == []
        assert not list(world.store.find(InboxQuery()))


def test_over_a_socket(alone: Command) -> None:
    """The command works as a program of its own against a server, and shows each request in one line of a table."""
    app = FastAPI()
    with StripeSandbox() as sandbox, socket.create_server(("127.0.0.1", 0)) as listener:
        app.include_router(create_router(client=sandbox.async_client(), authorize=fastapi_caller), prefix="/pay")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with fastapi_serving(app, listener):
            done = alone.program("smoke", "--url", url, "--prefix", "/pay/", "--max-latency", "60", STRIPE_SERVICE_TOKEN=TOKEN)
    assert (done.status, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["RESULT", "REQUEST", "CHECKS"]
    assert any(line.split()[:3] == ["passed", "POST", "/payments"] for line in lines)
    assert any(line.split()[:3] == ["skipped", "POST", "/webhooks"] and line.endswith("not mounted") for line in lines)


def test_what_is_written(world: World) -> None:
    """With --write a sale is made from the customer to the refund, each thing is checked, and each route that made something says so."""
    world.mount()
    report = world.found("--write")
    written = {one["operation"] for one in report["checks"] if (one["check"], one["result"]) == ("write", "passed")}
    assert {"create_customer", "update_customer", "create_product", "create_price", "create_payment", "create_refund"} <= written
    assert {"create_subscription", "cancel_subscription"} <= written
    refused = {one["check"]: one["status"] for one in report["checks"] if one["check"] in {"declined card", "more than was paid"}}
    assert refused == {"declined card": 402, "more than was paid": 400}
    # What there was nothing of before has been read after all.
    assert not [one for one in report["checks"] if "nothing that could be read" in one["message"]]
    with world.sandbox.client() as stripe:
        customers = list(stripe.customers.list())
        assert len(customers) == 1
        assert set(customers[0].to_dict()["metadata"]) == {"atom_stripe_smoke"}


def test_nothing_is_written_where_money_is_real(payments: World) -> None:
    """With --write a service in live mode, or one that does not say what it is, is left alone, and --live says that it is meant."""
    face = payments.mount()

    def live(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if answer.headers.get("content-type") == "application/json":
            return replaced(answer, content=answer.read().replace(b'"livemode":false', b'"livemode":true'))
        return None

    face.change = live
    done = payments("--write")
    assert (done.status, done.stdout) == (2, "")
    assert "real money" in done.stderr
    assert {method for method, _, _ in face.asked} == {"GET"}
    face.change = lambda request, answer: replaced(answer, 403) if request.url.path != f"{PREFIX}/" else None
    assert "nothing says" in payments("--write").stderr
    face.change = live
    checks = payments.found("--write", "--live")["checks"]
    made = [one for one in checks if one["operation"] == "create_payment" and one["check"] == "write"]
    assert [one["result"] for one in made] == ["passed"]
    with payments.sandbox.client() as stripe:
        assert [one.status for one in stripe.payment_intents.list()] == ["requires_payment_method"]


def test_a_signed_delivery(world: World) -> None:
    """With --webhook an event is delivered twice and stored once, and one that was changed on the way is refused."""
    world.narrow("home", "receive_webhook", "receive_webhook_at")
    inbox = world.inbox()
    world.mount(inbox=inbox)
    report = world.found("--webhook", STRIPE_WEBHOOK_SECRET=SECRET)
    checks = {one["check"]: (one["result"], one["status"]) for one in report["checks"] if one["operation"] == "receive_webhook"}
    assert checks["signed delivery"] == checks["the same delivery again"] == ("passed", 200)
    assert checks["changed after it was signed"] == checks["forged signature"] == checks["no signature"] == ("passed", 400)
    assert dict(inbox.counts)["stored"] == 1


def test_several_webhook_endpoints(world: World) -> None:
    """Where each endpoint has a path of its own, the delivery goes to the one that is named."""
    world.narrow("home", "receive_webhook", "receive_webhook_at")
    inbox = world.inbox("own", "connect")
    world.mount(inbox=inbox)
    report = world.found("--webhook", "--webhook-endpoint", "connect", STRIPE_WEBHOOK_SECRET=SECRET)
    assert report["ok"]
    assert "see --webhook-endpoint" in next(
        one["message"] for one in report["checks"] if one["result"] == "warning" and "own" in one["message"]
    )
    assert dict(inbox.counts)["stored"] == 1


def test_a_user_without_a_connection(world: World) -> None:
    """Where calls act for accounts that users connect, a caller without one is told of, and nothing has failed."""
    world.narrow("home", "list_payments", "get_payment", "connection_status")
    manager = world.manager()

    async def user(request: FastAPIRequest) -> Caller | None:
        return Caller("user_1") if await fastapi_caller(request) else None

    world.mount(client=world.client(oauth=manager), oauth=manager, authorize=user)
    report = world.found()
    assert report["ok"]
    checks = {(one["operation"], one["check"]): one for one in report["checks"]}
    assert checks["list_payments", "answer"]["result"] == "warning"
    assert "has no connection to Stripe" in checks["list_payments", "answer"]["message"]
    assert checks["connection_status", "answer"]["result"] == "passed"


def test_a_token_that_is_no_operators(world: World) -> None:
    """Operators' routes that a caller's token does not open are told of, and STRIPE_OPERATOR_TOKEN opens them."""
    world.narrow("home", "health_detailed")

    async def operator(request: FastAPIRequest) -> Caller | None:
        if request.headers.get("authorization") == f"Bearer {TOKEN}":
            raise Problem(403, "forbidden", "This is for operators.")
        return Caller("operator") if request.headers.get("authorization") == f"Bearer {TOKEN}-operator" else None

    def problem(_: FastAPIRequest, error: Exception) -> Response:
        assert isinstance(error, Problem)
        answer = error.answer()
        return Response(answer.body, answer.status, answer.all_headers, answer.media_type)

    app = FastAPI(exception_handlers={Problem: problem})
    router = create_router(client=world.client(), authorize=fastapi_caller, authorize_operator=operator)
    app.include_router(router, prefix=PREFIX)
    world.mount_app(app)
    results = {
        token: {
            one["check"]: one["result"]
            for one in world.found(STRIPE_OPERATOR_TOKEN=token)["checks"]
            if one["operation"] == "health_detailed"
        }
        for token in (None, f"{TOKEN}-operator")
    }
    assert (results[None]["no token"], results[None]["answer"]) == ("passed", "warning")
    assert set(results[f"{TOKEN}-operator"].values()) == {"passed"}


def test_a_delivery_with_another_secret(world: World) -> None:
    """A service that verifies with another secret than ours is found."""
    world.narrow("home", "receive_webhook", "receive_webhook_at")
    world.mount(inbox=world.inbox())
    found = world.failures("--webhook", STRIPE_WEBHOOK_SECRET=f"{SECRET}x")
    assert {check for _, check, _ in found} == {"signed delivery", "the same delivery again"}


def test_without_a_token(payments: World) -> None:
    """Without a token what needs one is skipped and the rest is looked at."""
    payments.mount()
    report = payments.found(STRIPE_SERVICE_TOKEN=None)
    results = {one["check"]: one["result"] for one in report["checks"] if one["operation"] == "list_payments"}
    assert (results["no token"], results["answer"]) == ("passed", "skipped")


# Services that are not.


def html(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
    return replaced(answer, content=b"<h1>Not authorized</h1>", content_type="text/html") if answer.status_code == 401 else None


def on(path: str, change: Change) -> Change:
    return lambda request, answer: change(request, answer) if request.url.path == PREFIX + path else None


def with_key(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    return replaced(answer, content=json.dumps({**json.loads(answer.read()), "note": f"sk_test_{MARK}4242"}).encode())


def with_trace(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    return replaced(answer, 500, b"Traceback (most recent call last)\n", content_type="text/plain")


def without(name: str) -> Change:
    def change(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        return httpx.Response(
            answer.status_code,
            headers={key: value for key, value in answer.headers.items() if key not in {name, "content-length"}},
            content=answer.read(),
        )

    return change


def open_to_all(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
    if "authorization" in request.headers or answer.status_code != 401:
        return None
    return replaced(answer, 200, b'{"data":[],"has_more":false,"next_cursor":null}', content_type="application/json")


def echo(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    return replaced(answer, x_debug=request.headers.get("authorization", ""))


def misshapen(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
    return replaced(answer, content=b'{"data":{},"has_more":false}') if answer.status_code == 200 else None


def lenient(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
    if answer.status_code not in {413, 415, 422}:
        return None
    return replaced(answer, 201, b'{"id":"pi_1"}', content_type="application/json")


def any_token(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
    return open_to_all(httpx.Request("GET", URL), answer) if "authorization" in request.headers else None


BROKEN: list[tuple[str, Change, tuple[str, str, str]]] = [
    (
        "a wrong status",
        on("/payments", lambda _, a: replaced(a, 500) if a.status_code == 200 else None),
        ("list_payments", "answer", "200 was"),
    ),
    ("HTML for an error", on("/payments", html), ("list_payments", "no token", "text/html")),
    ("a leaked key", on("/payments", with_key), ("list_payments", "answer", "looks like a secret key")),
    ("a leaked token", on("/payments", echo), ("list_payments", "answer", "a secret that this command was given")),
    ("a traceback", on("/payments", with_trace), ("list_payments", "unknown parameter", "where in the program")),
    ("no nosniff", without("x-content-type-options"), ("health", "answer", "nosniff is missing")),
    ("caches may keep it", without("cache-control"), ("list_payments", "answer", "no-store is missing")),
    ("no HSTS", without("strict-transport-security"), ("health", "answer", "Strict-Transport-Security is missing")),
    (
        "short HSTS",
        lambda _, a: replaced(a, strict_transport_security="max-age=300"),
        ("health", "answer", "less than half a year"),
    ),
    ("an open list", on("/payments", open_to_all), ("list_payments", "no token", "open to everybody")),
    ("any token", on("/payments", any_token), ("list_payments", "wrong token", "401 or 403 was expected")),
    ("an open write", on("/payments", open_to_all), ("create_payment", "no token", "open to everybody")),
    ("a missing member", on("/payments", misshapen), ("list_payments", "answer", "has no next_cursor")),
    ("a wrong type", on("/payments", misshapen), ("list_payments", "answer", "/data is not of the type array")),
    ("floats for money", on("/payments", lenient), ("create_payment", "money as a float", "422 was expected")),
    ("large bodies", on("/payments", lenient), ("create_payment", "oversized body", "413 was expected")),
    ("other content types", on("/payments", lenient), ("create_payment", "content type", "415 was expected")),
    ("an unsafe cookie", lambda _, a: replaced(a, set_cookie="a=b; HttpOnly"), ("health", "answer", "not SameSite and not Secure")),
    (
        "open to other sites",
        lambda r, a: replaced(a, access_control_allow_origin=r.headers.get("origin", "-")),
        ("service", "other origins", "any"),
    ),
    (
        "plain http",
        lambda r, a: httpx.Response(200) if r.url.scheme == "http" else None,
        ("service", "plain http", "not sent to https"),
    ),
    (
        "a vague problem",
        lambda _, a: replaced(a, content=b'{"status":401}') if a.status_code == 401 else None,
        ("get_payment", "no token", "title"),
    ),
    ("another method", lambda r, a: replaced(a, 200) if r.method == "PUT" else None, ("health", "another method", "405 was")),
]


def test_a_proxy_with_a_smaller_limit(payments: World) -> None:
    """Where something before the service refuses large bodies in its own words, that is no failure."""
    payments.mount().change = lambda _, answer: (
        replaced(answer, content=b"<h1>too large", content_type="text/html") if answer.status_code == 413 else None
    )
    checks = payments.found()["checks"]
    assert [one["result"] for one in checks if one["check"] == "oversized body"] == ["warning"]


def test_over_tls(alone: Command, tmp_path: Path) -> None:
    """The certificate is verified, and how long it lasts is told; without its issuer nothing is asked."""
    key, cert = certificate(tmp_path)
    app = FastAPI()
    with StripeSandbox() as sandbox, socket.create_server(("127.0.0.1", 0)) as listener:
        app.include_router(create_router(client=sandbox.async_client(), authorize=fastapi_caller), prefix=PREFIX)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with secured(app, listener, ssl_keyfile=str(key), ssl_certfile=str(cert)):
            trusted = alone("smoke", "--url", url, "--json", SSL_CERT_FILE=str(cert), STRIPE_SERVICE_TOKEN=TOKEN).json["checks"]
            strange = alone("smoke", "--url", url, STRIPE_SERVICE_TOKEN=TOKEN)
    found = {one["check"]: (one["result"], one["message"]) for one in trusted if one["request"] == "TLS"}
    assert found == {"version": ("passed", "TLSv1.3"), "certificate": ("warning", "it ends in 5 days")}
    assert strange.status == 1
    assert "certificate verify failed" in strange.stderr


@contextmanager
def secured(app: FastAPI, listener: socket.socket, **settings: Any) -> Iterator[None]:
    """Serve over TLS until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, **settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service ended at once"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(30)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key, and a certificate of this machine that lasts five days and some hours."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=5, hours=6))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "key.pem", folder / "cert.pem"
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, content in zip(paths, (plain, made.public_bytes(Encoding.PEM)), strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_is_broken_is_found(payments: World, change: Change, expected: tuple[str, str, str]) -> None:
    """Each fault of a service is found where it is, and named without repeating what must not be seen."""
    payments.mount().change = change
    operation, check, told = expected
    found = [message for name, looked, message in payments.failures() if (name, looked) == (operation, check)]
    assert found
    assert told in found[0]


def test_slow_answers(payments: World) -> None:
    """An answer that takes longer than is allowed is a failure, once it was asked for again and was slow again."""
    face = payments.mount()
    messages = {message for _, check, message in payments.failures("--max-latency", "0") if check == "answer"}
    assert messages
    assert all("0 s are allowed" in message for message in messages)
    assert sum(one[:2] == ("GET", f"{PREFIX}/health") for one in face.asked) >= 4


def test_a_forged_delivery_that_is_taken(world: World) -> None:
    """A service that takes deliveries without a signature is found."""
    world.narrow("home", "receive_webhook", "receive_webhook_at")
    face = world.mount(inbox=world.inbox())
    face.change = on("/webhooks", lambda _, answer: replaced(answer, 200, b'{"received":true}', content_type="application/json"))
    assert {check for _, check, _ in world.failures()} >= {"no signature", "forged signature", "oversized body"}


def test_a_token_that_is_not_accepted(payments: World) -> None:
    """With a token that the service does not know, it says so."""
    payments.mount()
    found = payments.failures(STRIPE_SERVICE_TOKEN="another-token")
    assert ("list_payments", "answer", "200 was expected: the service does not accept the token") in found


def test_parts_that_are_not_there(payments: World) -> None:
    """A part that is not mounted is no failure, unless it is required."""
    payments.narrow("home", "list_payments", "receive_webhook")
    payments.mount()
    report = payments.found()
    assert ("receive_webhook", "skipped", "not mounted") in {
        (one["operation"], one["result"], one["message"]) for one in report["checks"]
    }
    assert [name for name, check, _ in payments.failures("--require", "inbox") if check == "mounted"] == ["receive_webhook"]


def test_a_route_that_a_proxy_hides(payments: World) -> None:
    """A route that the service lists and that does not answer is a failure; so is one whose neighbours are there, if there is no list."""

    def hidden(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if request.url.path.startswith(f"{PREFIX}/payments/"):
            return httpx.Response(404, content=b"not here")
        return None

    face = payments.mount()
    face.change = hidden
    assert "get_payment" in {name for name, _, _ in payments.failures()}
    face.change = lambda request, answer: (
        replaced(answer, content=b"{}") if request.url.path == f"{PREFIX}/" else hidden(request, answer)
    )
    assert ("get_payment", "mounted") in {(name, check) for name, check, _ in payments.failures()}


def test_another_prefix(payments: World) -> None:
    """Where nothing is mounted, one line says so and points to the option."""
    payments.mount()
    done = payments("--prefix", "/nowhere")
    assert done.status == 1
    assert "no route of atom-stripe is at /nowhere: see --prefix" in done.stdout


def test_limits_are_obeyed(payments: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is waited out as long as it says, and the route is asked again."""
    waits: list[float] = []
    monkeypatch.setattr(smoke_asking.time, "sleep", waits.append)
    face = payments.mount()
    face.change = on(
        "/payments",
        lambda _, answer: None if waits else replaced(answer, 429, b"{}", content_type="application/problem+json", retry_after="7"),
    )
    report = payments.found()
    assert report["ok"]
    assert waits == [7.0]
    assert [one["result"] for one in report["checks"] if one["check"] == "rate limits"] == ["warning"]


def test_a_service_that_is_away(world: World, tmp_path: Path) -> None:
    """Where nothing listens, the status is 1, one line says it, and the reports say it too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    path = tmp_path / "report.xml"
    done = world.command("smoke", "--url", url, "--junit", str(path), STRIPE_SERVICE_TOKEN=TOKEN)
    assert done.status == 1
    assert ET.parse(path).getroot().attrib["failures"] == "1"  # noqa: S314 - ours
    assert done.stderr.startswith("error: GET /: reachable: no answer: ConnectError")
    assert done.stderr.count("\n") == 1


def test_a_service_that_goes_away(payments: World) -> None:
    """When several requests in a row get no answer, the rest is not asked."""
    face = payments.mount()

    def gone(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.path == f"{PREFIX}/":
            return answer
        msg = "gone"
        raise httpx.ReadError(msg)

    face.change = gone
    found = payments.failures()
    assert found[-1][1] == "reachable"
    assert "stopped answering" in found[-1][2]
    assert len(found) <= 3


def test_an_answer_without_end(payments: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of an answer is read than is reasonable."""
    monkeypatch.setattr(smoke_asking, "LARGEST", 100_000)
    payments.mount().change = on("/health", lambda _, answer: replaced(answer, content=b"x" * 100_001))
    assert ("health", "answer", "the answer is longer than 100000 bytes") in payments.failures()


# Reports and usage.


def test_junit(payments: World, tmp_path: Path) -> None:
    """The JUnit XML is well-formed, whatever a service answers, and its counts are those of the report."""
    payments.mount().change = on("/payments", lambda _, answer: replaced(answer, content=b"{}", content_type="text/\x01<b>"))
    path = tmp_path / "report.xml"
    counts = payments.found("--junit", str(path))["counts"]
    root = ET.parse(path).getroot()  # noqa: S314 - ours
    assert root.tag == "testsuites"
    for element in (root, root[0]):
        facts = {name: int(element.attrib[name]) for name in ("tests", "failures", "skipped", "errors")}
        assert facts == {"tests": sum(counts.values()), "failures": counts["failed"], "skipped": counts["skipped"], "errors": 0}
    assert len(root.findall(".//failure")) == counts["failed"] > 0
    assert len(root.findall(".//testcase")) == sum(counts.values())


def test_the_order_is_the_same(payments: World) -> None:
    """Two runs look at the same things in the same order."""
    payments.mount()
    runs = [[(one["operation"], one["check"], one["result"]) for one in payments.found()["checks"]] for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_terminal_gets_colours(payments: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the table is drawn with rich, and shows the same findings."""
    from atom_stripe.cli import smoke_report

    report = smoke_report.Report(url=URL, prefix=PREFIX, max_latency=2.0)
    report.checks.append(
        smoke_report.Check(
            operation="health", request="GET /health", check="answer", result="failed", message="[b]\x1b[2J", status=500
        )
    )
    monkeypatch.setattr(smoke_report.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    report.show()
    drawn = capsys.readouterr().out
    assert "answer (500): [b]" in drawn
    assert "\x1b[2J" not in drawn


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "shop.example"], "such as https://shop.example"),
        (["--url", "ftp://shop.example"], "such as https://shop.example"),
        (["--url", "https://shop.example:x"], "such as https://shop.example"),
        (["--url", "http://shop.example"], "anybody on the way could read the token"),
        (["--url", f"https://me:p{MARK}@shop.example"], "without a name and a password"),
        (["--url", URL, "--prefix", "api v1"], "--prefix is a path"),
        (["--url", URL, "--require", "clients"], "--require takes"),
        (["--url", URL, "--live"], "--live goes with --write"),
        (["--url", URL, "--webhook"], "set STRIPE_WEBHOOK_SECRET"),
        (["--url", URL, "--webhook-endpoint", "own"], "goes with --webhook"),
        (["--url", URL, "--junit", "/nowhere/at/all.xml"], "there is no folder /nowhere/at"),
        (["--url", URL, "--max-latency", "nan"], "a number of seconds"),
    ],
)
def test_wrong_usage(alone: Command, arguments: list[str], told: str) -> None:
    """Wrong usage ends with status 2, before anything is asked."""
    done = alone("smoke", *arguments, STRIPE_SERVICE_TOKEN=TOKEN, STRIPE_WEBHOOK_SECRET=None)
    assert (done.status, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_token_that_is_none(alone: Command) -> None:
    """A token that cannot stand in a header is refused, and not shown."""
    done = alone("smoke", "--url", URL, STRIPE_SERVICE_TOKEN=f"{TOKEN}\r\nx: y")
    assert (done.status, done.stderr) == (2, "error: STRIPE_SERVICE_TOKEN is no bearer token\n")


@pytest.mark.parametrize(
    ("value", "schema", "told"),
    [
        (
            {"a": 1},
            {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
            [],
        ),
        ({"a": True}, {"properties": {"a": {"type": "integer"}}}, ["/a is not of the type integer"]),
        ({"b": 1}, {"properties": {}, "additionalProperties": False}, ["the answer has a member that it must not have"]),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, ["/1 is not of the type integer"]),
        (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, []),
        (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}, ["the answer is none of what it may be"]),
        ({"object": "refund"}, {"properties": {"object": {"const": "charge"}}}, ["/object is not 'charge'"]),
        ("c", {"enum": ["a", "b"]}, ["the answer is not one of the values that it may have"]),
        ({"x": {"a": "1"}}, {"additionalProperties": {"type": "object", "required": ["b"]}}, ["/… has no b"]),
    ],
)
def test_shapes(value: Any, schema: dict[str, Any], told: list[str]) -> None:
    """An answer is held against its JSON Schema, and where it differs is told without its values."""
    assert smoke_judging.shape(value, schema) == told


@pytest.mark.parametrize(
    ("text", "leaked"),
    [
        (f"sk_live_{MARK}", True),
        (f"rk_test_{MARK}", True),
        (f"sk_acct_{MARK}", True),
        (f"rt_{MARK}4242", True),
        (f"whsec_{MARK}", True),
        (f"key=sk_org_live_{MARK}", True),
        (f"pk_live_{MARK}", False),
        (f"pi_1_secret_{MARK}", False),
        (f"task_test_{MARK}", False),
        ("sk_test_", False),
    ],
)
@pytest.mark.parametrize("place", ["body", "header", "cookie"])
def test_what_counts_as_a_secret(text: str, leaked: bool, place: str) -> None:
    """Secret keys, tokens and signing secrets count, wherever they stand in an answer; publishable keys and ordinary words do not."""
    shown: dict[str, Any] = {
        "body": {"body": f'"{text}"'.encode()},
        "header": {"headers": {"x": text}},
        "cookie": {"cookies": (f"a={text}",)},
    }
    reply = smoke_asking.Reply(status=200, **shown[place])
    assert bool(list(smoke_judging.leaks(reply, ()))) is leaked
