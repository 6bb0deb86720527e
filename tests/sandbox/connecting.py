"""A platform that connects accounts of a sandbox, without a client in between."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from atom_stripe._wire.messages import Request
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state import grants
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._wire.messages import Reply

CALLBACK = "https://shop.test/callback"
CONNECT, APP = "/oauth/token", "/v1/oauth/token"


class World:
    """A platform with its sandbox, and what its endpoint for connected accounts heard."""

    def __init__(self, seed: int = 0) -> None:
        self.sandbox = StripeSandbox(seed)
        self.oauth = self.sandbox.oauth
        self.oauth.register(CALLBACK)
        self.heard: list[dict[str, Any]] = []
        self.sandbox.webhooks.deliver_to(lambda body, _: self.heard.append(json.loads(body)), connect=True)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.heard]

    def url(self, *, app: bool = False, path: str | None = None, **query: Any) -> str:
        """Return an authorize URL, as a program would make it."""
        asked = {"client_id": self.oauth.app_client_id if app else self.oauth.client_id, "state": "s-1"}
        if not app:
            asked |= {"response_type": "code", "scope": "read_write"}
        host = "https://marketplace.stripe.com" if app else "https://connect.stripe.com"
        return f"{host}{path or ('/oauth/v2/authorize' if app else '/oauth/authorize')}?{urlencode({**asked, **query})}"

    def code(self, account: str | None = None, *, app: bool = False, **query: Any) -> str:
        return str(answer(self.oauth.consent(self.url(app=app, **query), account=account))["code"])

    def send(self, path: str, *, key: str | None = API_KEY, idempotency_key: str | None = None, **form: Any) -> Reply:
        """Return the answer of an endpoint of OAuth's."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return self.sandbox.handle(Request("POST", f"https://connect.stripe.com{path}", headers, urlencode(form).encode()))

    def token(self, path: str, **form: Any) -> dict[str, Any]:
        """Return what a token endpoint gives."""
        reply = self.send(path, **form)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = json.loads(reply.body)
        return found

    def exchanged(self, account: str | None = None, *, app: bool = False, **query: Any) -> dict[str, Any]:
        code = self.code(account, app=app, **query)
        return self.token(APP if app else CONNECT, grant_type="authorization_code", code=code)

    def refused(self, path: str, **form: Any) -> tuple[int, str, str]:
        """Return the status, the error and the description of a refusal."""
        reply = self.send(path, **form)
        found = json.loads(reply.body)
        return reply.status, found["error"], found["error_description"]

    def status(self, key: str, method: str = "GET", account: str | None = None) -> tuple[int, str | None]:
        """Return the status and the error's code that the API answers a request with *key*."""
        headers = {"Authorization": f"Bearer {key}", **({"Stripe-Account": account} if account else {})}
        reply = self.sandbox.handle(Request(method, "https://api.stripe.com/v1/customers", headers))
        return reply.status, json.loads(reply.body).get("error", {}).get("code")


def answer(url: str) -> dict[str, str]:
    """Return the query of a redirect."""
    return {name: value[-1] for name, value in parse_qs(urlsplit(url).query).items()}


def eventually(happened: Callable[[], bool]) -> None:
    """Wait for another thread."""
    for _ in range(10_000):
        if happened():
            return
        threading.Event().wait(0.001)
    pytest.fail("it did not happen")


def used(world: World, token: dict[str, Any]) -> bool:
    """Return whether a refresh token was used up."""
    return bool(world.sandbox._machine.account.table(grants.REFRESH)[token["refresh_token"]]["ended"])
