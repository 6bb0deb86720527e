"""
Thin events: that something happened to an object, without the object and in no API version.

Each is the other face of a snapshot event, under an id of its own. Source: https://docs.stripe.com/api/v2/core/events
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_stripe.testing._state.store import Row

_LOOKUP = re.compile(r'"(v[12]\.[^"\s]+)"')
_PREFIX = "evt_test_"
# Nothing can be fetched for these.
_WITHOUT_OBJECT = frozenset({
    "v1.account.application.authorized",
    "v1.account.application.deauthorized",
    "v1.account.external_account.created",
    "v1.account.external_account.deleted",
    "v1.account.external_account.updated",
    "v1.billing.meter.no_meter_found",
    "v1.billing_portal.session.created",
    "v1.customer.discount.source_changed",
    "v1.entitlements.active_entitlement_summary.entitlement_added",
    "v1.entitlements.active_entitlement_summary.entitlement_removed",
    "v1.entitlements.active_entitlement_summary.updated",
    "v1.invoice.upcoming",
})  # fmt: skip
# There is one of each in an account, without an id.
_SINGLE = {
    "balance": "/v1/balance",
    "balance_settings": "/v1/balance_settings",
    "tax.settings": "/v1/tax/settings",
}
_INSIDE = {
    "capability": "/v1/accounts/{account}/capabilities/{id}",
    "cash_balance": "/v1/customers/{customer}/cash_balance",
    "customer_cash_balance_transaction": "/v1/customers/{customer}/cash_balance_transactions/{id}",
    "discount": "/v1/customers/{customer}/discount",
    "fee_refund": "/v1/application_fees/{fee}/refunds/{id}",
    "person": "/v1/accounts/{account}/persons/{id}",
}


@cache
def types() -> frozenset[str]:
    """Return the types that thin events can have, as stripe's sources list them."""
    spec = find_spec("stripe")
    if spec is None or spec.origin is None:
        return frozenset()
    listed = Path(spec.origin).parent / "events" / "_event_classes.py"
    return frozenset(_LOOKUP.findall(listed.read_text(encoding="utf-8")))


def thin_type(event: Row) -> str | None:
    """Return the type that *event* has as a thin one, ``None`` if Stripe sends none for it."""
    if event.get("_thin"):
        return str(event["type"])
    name = f"v1.{event['type']}"
    return name if name in types() else None


def thin_id(event: Row) -> str:
    """Return the id that *event* has as a thin one."""
    identity: str = event["id"]
    return _PREFIX + identity.removeprefix("evt_")


def snapshot_id(identity: str) -> str:
    """Return the id that the snapshot of a thin event has."""
    return "evt_" + identity.removeprefix(_PREFIX) if identity.startswith(_PREFIX) else ""


def notification(event: Row) -> Row:
    """Return *event* as it is sent to endpoints for thin events."""
    name = thin_type(event)
    caused = event["request"]
    result: dict[str, Any] = {
        "id": thin_id(event),
        "object": "v2.core.event",
        "type": name,
        "livemode": event["livemode"],
        "created": moment(event["created"]),
        # Whose key or Stripe-Context reads what it is about; nobody's but one's own, if it is missing.
        "context": event.get("account"),
        "reason": {"type": "request", "request": dict(caused)} if caused["id"] else None,
    }
    about = event["data"]["object"]
    if name not in _WITHOUT_OBJECT and isinstance(kind := about.get("object"), str):
        url = related_url(kind, about)
        if url:
            singleton = kind in _SINGLE or "id" not in about or not url.endswith(str(about["id"]))
            identity = {} if singleton else {"id": about["id"]}
            result["related_object"] = {**identity, "type": kind, "url": url}
    return result


def whole(event: Row) -> Row:
    """Return *event* as ``GET /v2/core/events/{id}`` shows it: what was sent, what changed, and where the snapshot is."""
    result = notification(event)
    previous = event["data"].get("previous_attributes")
    if previous:
        about = event["data"]["object"]
        result["changes"] = {"before": previous, "after": {name: about.get(name) for name in previous}}
    if not event.get("_thin"):
        result["snapshot_event"] = event["id"]
    return result


def related_url(kind: str, about: Row) -> str | None:
    """Return the path where an object of a kind can be fetched."""
    if kind in _SINGLE:
        return _SINGLE[kind]
    if template := _INSIDE.get(kind):
        names = re.findall(r"\{(\w+)\}", template)
        if not all(isinstance(about.get(name), str) for name in names):
            return None
        return template.format_map(about)
    if not isinstance(about.get("id"), str):
        return None
    *parts, last = kind.removeprefix("v2.").split(".")
    if last.endswith("y"):
        last = last[:-1] + "ie"
    return "/" + "/".join(["v2" if kind.startswith("v2.") else "v1", *parts, f"{last}s", about["id"]])


def moment(seconds: int) -> str:
    """Return a time as the second API writes it: ``2026-11-02T09:00:00.000Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
