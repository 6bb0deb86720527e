"""Requests to a sandbox without a client in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.encoding import form
from atom_stripe._wire.messages import Reply, Request

if TYPE_CHECKING:
    from atom_stripe.testing import StripeSandbox

NO_REDIRECTS = {"confirm": True, "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


class Asking:
    """Asks a sandbox, as its own account or as one that is connected."""

    def __init__(self, sandbox: StripeSandbox, *, account: str | None = None) -> None:
        self.sandbox = sandbox
        self.headers = {"Authorization": "Bearer sk_test_any", **({"Stripe-Account": account} if account else {})}

    def send(self, method: str, path: str, params: dict[str, Any] | None = None, **headers: str) -> Reply:
        """Return the whole answer. Header names have underscores here."""
        encoded = form(params or {})
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if method == "POST":
            return self.sandbox.handle(Request(method, f"https://api.stripe.com{path}", sent, encoded.encode()))
        return self.sandbox.handle(Request(method, f"https://api.stripe.com{path}?{encoded}", sent))

    def get(self, path: str, **params: Any) -> Any:
        return self._answer(self.send("GET", path, params))

    def post(self, path: str, **params: Any) -> Any:
        return self._answer(self.send("POST", path, params))

    def delete(self, path: str) -> Any:
        return self._answer(self.send("DELETE", path))

    def pay(self, **params: Any) -> Any:
        """Return a payment of 20 dollars that is made at once."""
        return self.post(
            "/v1/payment_intents", **{**NO_REDIRECTS, "amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", **params}
        )

    def refused(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Return the status and the error of a request that is refused."""
        reply = self.send(method, path, params)
        assert reply.status >= 400, reply.body
        return reply.status, json.loads(reply.body)["error"]

    def events(self) -> list[str]:
        """Return the types of what happened so far, in order."""
        return [event["type"] for event in reversed(self.get("/v1/events", limit=100)["data"])]

    @staticmethod
    def _answer(reply: Reply) -> Any:
        assert reply.status == 200, reply.body
        return json.loads(reply.body)
