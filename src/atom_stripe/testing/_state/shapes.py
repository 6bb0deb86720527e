"""
Objects as older API versions had them: what moved since, put back where it was.

For the kinds and fields that integrations read most; the readers in ``atom_stripe.models.moved`` are the other direction. What is already
in its old place stays there. Source: https://docs.stripe.com/changelog
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.store import copied

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.testing._state.store import Row

    Charges = Callable[[str], list[Row]]
    Change = Callable[[Row, Charges], None]

VERSIONS = (
    "2020-08-27", "2022-08-01", "2022-11-15", "2023-08-16", "2023-10-16", "2024-04-10", "2024-06-20",
    "2024-09-30.acacia", "2024-10-28.acacia", "2024-11-20.acacia", "2024-12-18.acacia", "2025-01-27.acacia", "2025-02-24.acacia",
    "2025-03-01.dashboard",
    "2025-03-31.basil", "2025-04-30.basil", "2025-05-28.basil", "2025-06-30.basil", "2025-07-30.basil", "2025-08-27.basil",
    "2025-09-30.clover", "2025-10-29.clover", "2025-11-17.clover", "2025-12-15.clover", "2026-01-28.clover", "2026-02-25.clover",
    "2026-03-25.dahlia", "2026-04-22.dahlia", "2026-05-27.dahlia", "2026-06-24.dahlia", "2026-07-29.dahlia", "2026-08-26.dahlia",
    "2026-09-30.endive", "2026-10-28.endive",
)  # fmt: skip
"""The versions whose shapes are known here, oldest first: Stripe's since then."""


def check_version(version: str) -> str:
    """Return *version*. Raises ``ConfigurationError`` if objects cannot be written in it."""
    if version not in VERSIONS:
        msg = f"the sandbox writes events in Stripe's API versions from {VERSIONS[0]} to {API_VERSION}; this is none of them"
        raise ConfigurationError(msg)
    return version


def rendered(row: Row, version: str, charges: Charges, kind: str | None = None) -> Row:
    """
    Return *row*, which is in the newest shape, as *version* had it.

    *charges*: gives the charges of a payment intent, latest first. *kind*: what *row* is a part of, where it does not say so itself.
    """
    due = _changes(version)
    if not due:
        return row
    result: Row = copied(row)
    _render(result, due, charges, kind)
    return result


def _render(value: Any, due: dict[str, tuple[Change, ...]], charges: Charges, kind: str | None = None) -> None:
    if isinstance(value, dict):
        name = value.get("object", kind)
        for change in due.get(name, ()) if isinstance(name, str) else ():
            change(value, charges)
        for entry in list(value.values()):
            _render(entry, due, charges)
    elif isinstance(value, list):
        for entry in value:
            _render(entry, due, charges)


@cache
def _changes(version: str) -> dict[str, tuple[Change, ...]]:
    """Return what *version* does not have yet, newest first, by kind of object."""
    due: dict[str, tuple[Change, ...]] = {}
    for since, kind, change in _CHANGES:
        if _date(version) < since:
            due[kind] = (*due.get(kind, ()), change)
    return due


def _date(version: str) -> str:
    return version[:10]


# What a change finds may be any JSON, because events can be made of any object: it moves what it knows and leaves the rest.


def _hash(value: Any, *path: str) -> Row:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _entries(value: Any) -> list[Row]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value


def _whole(value: Any, kind: str, **fields: Any) -> Any:
    """Return an object of which only the id is known. Older versions had it in full, and the sandbox cannot know the rest."""
    return {"id": value, "object": kind, **fields} if isinstance(value, str) else value


def _discount(row: Row, _: Charges) -> None:
    if "source" in row:
        row.setdefault("coupon", _whole(_hash(row.pop("source")).get("coupon"), "coupon"))


def _promotion_code(row: Row, _: Charges) -> None:
    if "promotion" in row:
        row.setdefault("coupon", _whole(_hash(row.pop("promotion")).get("coupon"), "coupon"))


def _subscription(row: Row, _: Charges) -> None:
    items = _entries(_hash(row, "items").get("data"))
    ends = [
        (end, start)
        for item in items
        if isinstance(end := item.pop("current_period_end", None), int)
        and isinstance(start := item.pop("current_period_start", None), int)
    ]
    if ends:
        end, start = min(ends)
        row.setdefault("current_period_end", end)
        row.setdefault("current_period_start", start)
    _single_discount(row)


def _single_discount(row: Row) -> None:
    if isinstance(discounts := row.get("discounts"), list):
        row.setdefault("discount", discounts[0] if len(discounts) == 1 and isinstance(discounts[0], dict) else None)


def _invoice(row: Row, _: Charges) -> None:
    whole = "id" in row
    if whole or "parent" in row:
        parent = row.pop("parent", None)
        details = _hash(parent, "subscription_details")
        row.setdefault("subscription", _id(details.get("subscription")))
        row.setdefault("subscription_details", {"metadata": details.get("metadata")} if details else None)
        row.setdefault("quote", _id(_hash(parent, "quote_details").get("quote")))
    if whole or "payments" in row:
        payments = _entries(_hash(row.pop("payments", None)).get("data"))
        payment = _hash(min(payments, key=lambda entry: entry.get("is_default") is not True, default=None), "payment")
        intent = payment.get("payment_intent")
        row.setdefault("payment_intent", _id(intent))
        row.setdefault("charge", _id(payment.get("charge") or _hash(intent).get("latest_charge")))
    if "status" in row:
        row.setdefault("paid", row["status"] == "paid")
    if whole:
        outside = row.pop("amount_paid_off_stripe", 0)
        row.setdefault("paid_out_of_band", bool(row.get("paid")) and isinstance(outside, int) and outside > 0)
    if "total_taxes" in row:
        amounts = [tax["amount"] for tax in _entries(row.pop("total_taxes")) if isinstance(tax.get("amount"), int)]
        row.setdefault("tax", sum(amounts) if amounts else None)
    row.pop("confirmation_secret", None)
    _single_discount(row)


def _line_item(row: Row, _: Charges) -> None:
    _priced(row)
    if "parent" in row:
        parent = row.pop("parent")
        billed, added = _hash(parent, "subscription_item_details"), _hash(parent, "invoice_item_details")
        row.setdefault("subscription", _id(billed.get("subscription") or added.get("subscription")))
        row.setdefault("subscription_item", billed.get("subscription_item"))
        row.setdefault("invoice_item", added.get("invoice_item") or billed.get("invoice_item"))
        row.setdefault("proration", bool(billed.get("proration") or added.get("proration")))


def _invoice_item(row: Row, _: Charges) -> None:
    _priced(row)
    if "parent" in row:
        details = _hash(row.pop("parent"), "subscription_details")
        row.setdefault("subscription", _id(details.get("subscription")))
        row.setdefault("subscription_item", details.get("subscription_item"))


def _priced(row: Row) -> None:
    if "pricing" in row:
        pricing = _hash(row.pop("pricing"))
        details = _hash(pricing, "price_details")
        row.setdefault("price", _whole(details.get("price"), "price", product=details.get("product")))
        if "unit_amount_decimal" in pricing:
            row.setdefault("unit_amount_decimal", pricing["unit_amount_decimal"])


def _invoiced(row: Row, _: Charges) -> None:
    if "id" in row:
        row.setdefault("invoice", None)


def _credit_note(row: Row, _: Charges) -> None:
    if "refunds" in row:
        refunds = _entries(row.pop("refunds"))
        row.setdefault("refund", _id(refunds[0].get("refund")) if len(refunds) == 1 else None)


def _checkout_session(row: Row, _: Charges) -> None:
    if "collected_information" in row:
        row.setdefault("shipping_details", _hash(row.pop("collected_information")).get("shipping_details"))


def _checkout_session_shipping(row: Row, _: Charges) -> None:
    if "shipping_details" in row:
        row.setdefault("shipping", row.pop("shipping_details"))


def _product(row: Row, _: Charges) -> None:
    if "marketing_features" in row:
        row.setdefault("features", row.pop("marketing_features"))


def _payment_intent(row: Row, charges: Charges) -> None:
    if "latest_charge" not in row:
        return
    latest, identity = row.pop("latest_charge"), row.get("id")
    if "charges" in row or not isinstance(identity, str):
        return
    # At the time of the event there was none after its latest one.
    made = charges(identity)
    known_here = [number for number, charge in enumerate(made) if charge["id"] == _id(latest)]
    data = made[known_here[0] :] if known_here else [_whole(latest, "charge", payment_intent=identity)] if latest else []
    url = f"/v1/charges?payment_intent={identity}"
    row["charges"] = {"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url}


_CLOVER, _BASIL = "2025-09-30", "2025-03-31"
# Each with the first version that has the new shape.
_CHANGES: tuple[tuple[str, str, Change], ...] = (
    (_CLOVER, "discount", _discount),
    (_CLOVER, "promotion_code", _promotion_code),
    (_BASIL, "subscription", _subscription),
    (_BASIL, "invoice", _invoice),
    (_BASIL, "line_item", _line_item),
    (_BASIL, "invoiceitem", _invoice_item),
    (_BASIL, "payment_intent", _invoiced),
    (_BASIL, "charge", _invoiced),
    (_BASIL, "credit_note", _credit_note),
    (_BASIL, "checkout.session", _checkout_session),
    ("2024-04-10", "product", _product),
    ("2022-11-15", "payment_intent", _payment_intent),
    ("2022-08-01", "checkout.session", _checkout_session_shipping),
)
