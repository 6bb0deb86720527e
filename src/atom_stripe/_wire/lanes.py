"""
The lane of an event: events with the same lane are handled one at a time, in the order of their arrival.

By default a lane is what the objects of one story have in common, because handlers mostly write to one row for all of them. The table below says
what that is for each kind of object: the first of these fields that holds an id, else the object's own id. A field with dots is a
nested one, and a field may hold the id or the whole object.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The parts of a lane are separated by the first, and what is moved aside from a lane is marked with the second.
_SEPARATOR = "/"
ASIDE = "~"
_LONGEST = 120

LANES: dict[str, tuple[str, ...]] = {
    # A subscription's story: its invoices and their lines. Where the subscription stands differs by API version.
    "invoice": ("parent.subscription_details.subscription", "subscription"),
    "invoiceitem": ("parent.subscription_details.subscription", "subscription", "invoice"),
    "subscription_item": ("subscription",),
    "subscription_schedule": ("subscription",),
    "quote": ("subscription", "invoice"),
    "credit_note": ("invoice",),
    "invoice_payment": ("invoice",),
    # A payment's story: what was charged, given back, and argued about.
    "charge": ("payment_intent",),
    "refund": ("payment_intent", "charge"),
    "dispute": ("payment_intent", "charge"),
    "review": ("payment_intent", "charge"),
    "radar.early_fraud_warning": ("payment_intent", "charge"),
    "checkout.session": ("subscription", "payment_intent", "setup_intent"),
    "setup_attempt": ("setup_intent",),
    "application_fee": ("charge",),
    "fee_refund": ("fee",),
    "transfer_reversal": ("transfer",),
    # What belongs to an account or to a customer and has no life of its own.
    "person": ("account",),
    "capability": ("account",),
    "bank_account": ("account", "customer"),
    "card": ("account", "customer"),
    "source": ("customer",),
    "discount": ("subscription", "customer"),
    "tax_id": ("customer",),
    "cash_balance": ("customer",),
    "customer_cash_balance_transaction": ("customer",),
    "customer_balance_transaction": ("customer",),
    "entitlements.active_entitlement_summary": ("customer",),
    # Issuing and Treasury.
    "issuing.transaction": ("authorization",),
    "issuing.dispute": ("transaction",),
    "treasury.transaction": ("financial_account",),
}


def lane_key(event: Mapping[str, object]) -> str:
    """Return the default lane of *event*, a snapshot or thin one as Stripe sent it. Whatever its shape, this is a text, and not empty."""
    data = event.get("data")
    thing = data.get("object") if isinstance(data, dict) else None
    related = event.get("related_object")
    if event.get("object") == "v2.core.event":
        thing = related
    if not isinstance(thing, dict):
        thing = {}
    name = thing.get("object")
    for field in LANES.get(name, ()) if isinstance(name, str) else ():
        found = _id(_at(thing, field))
        if found:
            return found
    # An object without an id, such as a balance, is one of its kind.
    return _id(thing) or (name if isinstance(name, str) and name else "") or _id(event) or "event"


def full_lane(key: str, *, account: str, livemode: bool) -> str:
    """Return the lane for *key*: apart for each account and mode, of bounded length, with nothing in it that means something else here."""
    # "surrogatepass", because JSON can hold half a pair, which no database takes.
    if not key.isascii() or not key.isprintable() or len(key) > _LONGEST or ASIDE in key or _SEPARATOR in key:
        key = "sha256-" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return _SEPARATOR.join(("live" if livemode else "test", account, key))


def aside(lane: str, number: int) -> str:
    """Return the lane of its own for the event *number* of *lane*, where it holds up nothing."""
    return f"{home(lane)}{ASIDE}{number}"


def home(lane: str) -> str:
    """Return the lane that an event belongs to, wherever it was moved."""
    return lane.partition(ASIDE)[0]


def _at(thing: dict[str, object], path: str) -> object:
    value: object = thing
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _id(value: object) -> str:
    """Return the id that *value* is, or has."""
    found = value.get("id") if hasattr(value, "get") else value  # type: ignore[attr-defined, unused-ignore]
    return found if isinstance(found, str) else ""
