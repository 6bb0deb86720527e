"""
Event destinations: the second API's webhook endpoints, which get thin events or those with the object.

The URL and the secret are in an answer only if they are asked for, the secret only in the one that creates. Source:
https://docs.stripe.com/api/v2/core/event_destinations
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atom_stripe.config import API_VERSION
from atom_stripe.testing._delivery.parcels import Endpoint
from atom_stripe.testing._state import known, thin
from atom_stripe.testing._state.errors import exclusive, invalid, missing, unsupported
from atom_stripe.testing._state.params import Choice, Hash, ListOf, Text
from atom_stripe.testing._state.shapes import VERSIONS
from atom_stripe.testing._state.store import shown
from atom_stripe.testing.resources.shared import METADATA, assign
from atom_stripe.testing.resources.v2 import PAGE, page, route
from atom_stripe.testing.resources.webhook_endpoints import check_url

if TYPE_CHECKING:
    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

NAME = "v2.core.event_destination"

_PATH = "/v2/core/event_destinations"
_OWN, _CONNECTED = "@self", "@accounts"
_SECRET, _URL = "webhook_endpoint.signing_secret", "webhook_endpoint.url"


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a destination is, read to its URL."""

    required: bool = False
    unsettable: bool = False

    def read(self, value: Any, name: str) -> str:
        url: str = Hash({"url": Text(required=True, unsettable=False)}).read(value, name)["url"]
        check_url(url, f"{name}[url]")
        return url


_FIELDS: dict[str, Parameter] = {"description": Text(), **METADATA}
_INCLUDE: dict[str, Parameter] = {"include": ListOf(Choice((_URL,)))}


def add(
    work: Transaction,
    url: str,
    events: list[str],
    *,
    secret: str,
    payload: str,
    events_from: list[str],
    name: str = "",
    api_version: str | None = None,
) -> Row:
    """Add a destination that is a webhook endpoint."""
    now = thin.moment(work.now)
    return work.add(
        {
            "id": f"ed_test_{work.ids.token('ed', 40)}",
            "object": NAME,
            "amazon_eventbridge": None,
            "azure_event_grid": None,
            "created": now,
            "description": "",
            "enabled_events": events,
            "event_payload": payload,
            "events_from": events_from,
            "livemode": False,
            "metadata": {},
            "name": name,
            "snapshot_api_version": api_version,
            "status": "enabled",
            "status_details": None,
            "type": "webhook_endpoint",
            "updated": now,
            "webhook_endpoint": {"signing_secret": None, "url": None},
            "_secret": secret,
            "_url": url,
        }
    )


def endpoint(row: Row, owner: str) -> Endpoint:
    """Return a destination as what events are delivered to."""
    return Endpoint(
        row["id"],
        tuple(row["enabled_events"]),
        row["_secret"],
        url=row["_url"],
        connect=_CONNECTED in row["events_from"],
        own=_OWN in row["events_from"],
        payload=row["event_payload"],
        api_version=row["snapshot_api_version"],
        enabled=row["status"] == "enabled",
        owner=owner,
        old_secrets=row.get("_old_secrets", ()),
    )


@route(
    "POST",
    _PATH,
    {
        **_FIELDS,
        "enabled_events": ListOf(Text(unsettable=False), required=True),
        "event_payload": Choice(("snapshot", "thin"), required=True),
        "events_from": ListOf(Text(unsettable=False)),
        "include": ListOf(Choice((_SECRET, _URL))),
        "name": Text(required=True, unsettable=False),
        "snapshot_api_version": Text(unsettable=False),
        "type": Choice(("webhook_endpoint",), required=True, beyond=(f"POST {_PATH}", "type")),
        "webhook_endpoint": _Target(),
    },
)
def create(call: Call) -> Row:
    params = call.params
    if "webhook_endpoint" not in params:
        raise missing("webhook_endpoint")
    payload, version = params["event_payload"], params.get("snapshot_api_version")
    if payload == "thin" and version is not None:
        raise exclusive("snapshot_api_version", "event_payload=thin")
    if version is not None and version not in VERSIONS:
        if version in known.words("POST /v1/webhook_endpoints", "api_version"):
            raise unsupported(f"The version {version}", "snapshot_api_version")
        raise invalid("snapshot_api_version is no version of Stripe's API.", "snapshot_api_version")
    events_from = params.get("events_from", [_OWN])
    for name in events_from:
        if name.startswith("@organization_members"):
            raise unsupported(f"Events from {name[:100]}", "events_from")
        if name not in {_OWN, _CONNECTED}:
            raise invalid(f"events_from takes {_OWN} and {_CONNECTED}.", "events_from")
    _check(params["enabled_events"], payload)
    row = add(
        call,
        params["webhook_endpoint"],
        params["enabled_events"],
        secret=f"whsec_{call.ids.token('whsec', 32)}",
        payload=payload,
        events_from=events_from,
        name=params["name"],
        api_version=version or (API_VERSION if payload == "snapshot" else None),
    )
    assign(row, params, "description")
    return _answer(row, params)


@route("GET", _PATH, {**PAGE, **_INCLUDE})
def list_all(call: Call) -> Row:
    rows = [_answer(row, call.params) for row in call.rows(NAME) if not row.get("deleted")]
    return page(call, rows)


@route("GET", f"{_PATH}/{{id}}", _INCLUDE)
def retrieve(call: Call) -> Row:
    return _answer(call.find(NAME, call.argument("id")), call.params)


@route(
    "POST",
    f"{_PATH}/{{id}}",
    {
        **_FIELDS,
        **_INCLUDE,
        "enabled_events": ListOf(Text(unsettable=False)),
        "name": Text(unsettable=False),
        "webhook_endpoint": _Target(),
    },
)
def update(call: Call) -> Row:
    row = call.find(NAME, call.argument("id"))
    _check(call.params.get("enabled_events", ()), row["event_payload"])
    changed = _changed(call, row)
    assign(changed, call.params, "description", "enabled_events", "name")
    changed["description"] = changed["description"] or ""
    changed["_url"] = call.params.get("webhook_endpoint", changed["_url"])
    return _answer(changed, call.params)


@route("DELETE", f"{_PATH}/{{id}}")
def delete(call: Call) -> Row:
    row = call.change(call.find(NAME, call.argument("id")))
    identity = row["id"]
    row.clear()
    row.update(id=identity, object=NAME, deleted=True)
    return {"id": identity, "object": NAME}


@route("POST", f"{_PATH}/{{id}}/disable")
def disable(call: Call) -> Row:
    row = _changed(call, call.find(NAME, call.argument("id")))
    row.update(status="disabled", status_details={"disabled": {"reason": "user"}})
    return _answer(row, {})


@route("POST", f"{_PATH}/{{id}}/enable")
def enable(call: Call) -> Row:
    row = _changed(call, call.find(NAME, call.argument("id")))
    row.update(status="enabled", status_details=None)
    return _answer(row, {})


def _changed(call: Call, row: Row) -> Row:
    changed = call.change(row)
    changed["updated"] = thin.moment(call.now)
    return changed


def _answer(row: Row, params: dict[str, Any]) -> Row:
    included = params.get("include", ())
    visible = {"signing_secret": row["_secret"] if _SECRET in included else None, "url": row["_url"] if _URL in included else None}
    return {**shown(row), "webhook_endpoint": visible}


def _check(events: Any, payload: str) -> None:
    """Refuse events that Stripe does not send in this form."""
    listed = thin.types() if payload == "thin" else known.words("POST /v1/webhook_endpoints", "enabled_events")
    for index, name in enumerate(events):
        if name != "*" and name not in listed:
            raise invalid(f"{name[:255]!r} is no type of {payload} event at Stripe.", f"enabled_events[{index}]")
