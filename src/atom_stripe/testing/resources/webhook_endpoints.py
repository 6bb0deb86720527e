"""
Webhook endpoints: where events are delivered.

The secret is in the answer that creates one and nowhere else. Source: https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from atom_stripe.testing._state import known
from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.pages import PAGE, page
from atom_stripe.testing._state.params import Boolean, Choice, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.shapes import VERSIONS
from atom_stripe.testing._state.store import Kind, shown
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

WEBHOOK_ENDPOINT = Kind("webhook_endpoint", "we")

_FIELDS: dict[str, Parameter] = {"description": Text(), **METADATA}


def add(work: Transaction, url: str, events: list[str], *, secret: str, connect: bool, api_version: str | None = None) -> Row:
    """Add an endpoint."""
    return work.add(
        {
            "id": work.new_id(WEBHOOK_ENDPOINT),
            "object": "webhook_endpoint",
            "api_version": api_version,
            "application": None,
            "created": work.now,
            "description": None,
            "enabled_events": events,
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
            "_secret": secret,
            "_connect": connect,
        }
    )


@route(
    "POST",
    "/v1/webhook_endpoints",
    {
        **_FIELDS,
        # It cannot be changed later. What older versions than the oldest of these looked like, the sandbox does not know.
        "api_version": Choice(VERSIONS, beyond=("POST /v1/webhook_endpoints", "api_version")),
        "connect": Boolean(),
        "enabled_events": ListOf(Text(unsettable=False), required=True),
        "url": Text(required=True, unsettable=False),
    },
)
def create(call: Call) -> Row:
    check_url(call.params.get("url"), "url")
    _check(call.params)
    secret = f"whsec_{call.ids.token('whsec', 32)}"
    connect = call.params.get("connect", False)
    endpoint = add(call, call.params["url"], call.params["enabled_events"], secret=secret, connect=connect)
    assign(endpoint, call.params, "api_version", "description")
    return {**shown(endpoint), "secret": secret}


@route("GET", "/v1/webhook_endpoints", PAGE)
def list_all(call: Call) -> Row:
    rows = (row for row in call.rows("webhook_endpoint") if not row.get("deleted"))
    return page(rows, call.params, kind="webhook_endpoint", url=call.path)


@route("GET", "/v1/webhook_endpoints/{webhook_endpoint}")
def retrieve(call: Call) -> Row:
    return call.find("webhook_endpoint", call.arguments["webhook_endpoint"])


@route(
    "POST",
    "/v1/webhook_endpoints/{webhook_endpoint}",
    {**_FIELDS, "disabled": Boolean(), "enabled_events": ListOf(Text(unsettable=False)), "url": Text(unsettable=False)},
)
def update(call: Call) -> Row:
    check_url(call.params.get("url"), "url")
    _check(call.params)
    endpoint = call.change(call.find("webhook_endpoint", call.arguments["webhook_endpoint"]))
    assign(endpoint, call.params, "description", "enabled_events", "url")
    if "disabled" in call.params:
        endpoint["status"] = "disabled" if call.params["disabled"] else "enabled"
    return endpoint


@route("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}")
def delete(call: Call) -> Row:
    endpoint = call.change(call.find("webhook_endpoint", call.arguments["webhook_endpoint"]))
    identity = endpoint["id"]
    endpoint.clear()
    endpoint.update(id=identity, object="webhook_endpoint", deleted=True)
    return endpoint


def check_url(url: str | None, param: str) -> None:
    """Refuse what is no URL."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        complete = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        complete = False
    if not complete:
        raise invalid(f"{param} must be a complete URL, with its http:// or https://.", param, code="url_invalid")


def _check(params: dict[str, Any]) -> None:
    """Refuse events that Stripe does not send: a misspelled one would never arrive."""
    for index, name in enumerate(params.get("enabled_events", ())):
        if name not in known.words("POST /v1/webhook_endpoints", "enabled_events"):
            raise invalid(f"{name[:255]!r} is no type of event at Stripe.", f"enabled_events[{index}]")
