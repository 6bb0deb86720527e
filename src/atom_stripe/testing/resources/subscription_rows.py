"""
Subscriptions and their items as they are kept.

The period is on the items. Source: https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid, unsupported
from atom_stripe.testing._state.pages import envelope
from atom_stripe.testing._state.periods import boundary
from atom_stripe.testing._state.store import Kind, copied
from atom_stripe.testing.resources.price_rows import plan_of, resolve_price
from atom_stripe.testing.resources.shared import assign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

SUBSCRIPTION = Kind(
    "subscription",
    "sub",
    expands={"customer": "customer", "default_payment_method": "payment_method", "latest_invoice": "invoice"},
    refuses=frozenset(
        {
            "application",
            "automatic_tax.liability.account",
            "cancellation_details.feedback_option",
            "default_source",
            "discounts",
            "invoice_settings.account_tax_ids",
            "invoice_settings.issuer.account",
            "on_behalf_of",
            "pending_setup_intent",
            "pending_update.discounts",
            "schedule",
            "test_clock",
            "transfer_data.destination",
        }
    ),
)
ITEM = Kind("subscription_item", "si", length=14, refuses=frozenset({"discounts"}))

ENDED = frozenset({"canceled", "incomplete_expired"})
DAY = 24 * 60 * 60
# Amounts have up to eight digits.
_MOST = 99_999_999


def new_subscription(work: Transaction, params: Mapping[str, Any], origin: str) -> Row:
    """Make a subscription with its items, before anything is billed."""
    subscription: Row = work.add(
        {
            "id": work.new_id(SUBSCRIPTION),
            "object": "subscription",
            "application": None,
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": work.now,
            "billing_cycle_anchor_config": None,
            # The default since 2025. Source: https://docs.stripe.com/billing/subscriptions/billing-mode
            "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
            "billing_schedules": [],
            "billing_thresholds": None,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": params.get("collection_method", "charge_automatically"),
            "created": work.now,
            "currency": "",
            "customer": params["customer"],
            "customer_account": None,
            "days_until_due": params.get("days_until_due"),
            "default_payment_method": None,
            "default_source": None,
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
            "ended_at": None,
            "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
            "items": {},
            "latest_invoice": None,
            "livemode": False,
            "metadata": {},
            "next_pending_invoice_item_invoice": None,
            "on_behalf_of": None,
            "pause_collection": None,
            "payment_settings": {
                "payment_method_options": None,
                "payment_method_types": None,
                "save_default_payment_method": "off",
            },
            "pending_invoice_item_interval": None,
            "pending_setup_intent": None,
            "pending_update": None,
            "schedule": None,
            "start_date": work.now,
            "status": "incomplete",
            "test_clock": None,
            "transfer_data": None,
            "trial_end": None,
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
            "trial_start": None,
            # How many periods there were since the anchor, and whether anybody was told that there is this subscription.
            "_cycle": 0,
            "_announced": False,
            "_origin": origin,
        }
    )
    items = [_new_item(work, subscription, sent, f"items[{number}]") for number, sent in enumerate(params["items"])]
    put_items(subscription, items)
    assign(subscription, params, "description")
    subscription["payment_settings"].update(params.get("payment_settings") or {})
    subscription["trial_settings"]["end_behavior"].update(params.get("trial_settings", {}).get("end_behavior", {}))
    return subscription


def put_items(subscription: Row, items: Sequence[Row]) -> None:
    """Let *items* be those of a subscription: of one currency, and here also of one interval."""
    if not items:
        raise invalid("A subscription needs at least one item.", "items", code="parameter_missing")
    currencies = {item["price"]["currency"] for item in items}
    if len(currencies) > 1:
        raise invalid("The prices of a subscription must have one currency.", "items")
    if len({_interval(item["price"]) for item in items}) > 1:
        raise unsupported("A subscription to prices of different intervals", "items")
    if len({item["price"]["id"] for item in items}) < len(items):
        raise invalid("A subscription has one item for a price; use its quantity.", "items")
    if sum(item["price"]["unit_amount"] * item["quantity"] for item in items) > _MOST:
        raise invalid(
            f"The invoice for a period may be up to {_MOST}, in the currency's smallest unit.", "items", code="amount_too_large"
        )
    subscription["currency"] = currencies.pop()
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    subscription["items"] = {**envelope(list(items), url), "total_count": len(items)}


def changed_items(work: Transaction, subscription: Row, sent: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the items of a subscription after a change: named ones are changed or go, the others are new."""
    items = {item["id"]: copied(item) for item in subscription["items"]["data"]}
    before = _interval(next(iter(items.values()))["price"])
    for number, change in enumerate(sent):
        param = f"items[{number}]"
        if "id" not in change:
            added = _new_item(work, subscription, change, param)
            current = next(iter(items.values()), subscription["items"]["data"][0])
            added.update(current_period_end=current["current_period_end"], current_period_start=current["current_period_start"])
            items[added["id"]] = added
        elif change["id"] not in items:
            raise invalid(f"The subscription has no item {change['id'][:255]!r}.", f"{param}[id]", code="resource_missing")
        elif change.get("deleted"):
            del items[change["id"]]
        else:
            _change_item(work, items[change["id"]], change, param)
    if any(_interval(item["price"]) != before for item in items.values()):
        raise unsupported("A change of a subscription's interval, which begins another period,", "items")
    return list(items.values())


def set_period(subscription: Row, start: int, end: int) -> None:
    """Let a period begin."""
    for item in subscription["items"]["data"]:
        item.update(current_period_end=end, current_period_start=start)


def period(subscription: Row) -> tuple[int, int]:
    """Return when the current period began and when it ends."""
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def next_end(subscription: Row) -> int:
    """Return when the period ends that comes after *_cycle* periods since the anchor."""
    interval, count = _interval(subscription["items"]["data"][0]["price"])
    return boundary(subscription["billing_cycle_anchor"], interval, count * (subscription["_cycle"] + 1))


def _interval(price: Row) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _new_item(work: Transaction, subscription: Row, sent: Mapping[str, Any], param: str) -> Row:
    price = _recurring(resolve_price(work, sent, param), param)
    return {
        "id": work.new_id(ITEM),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": work.now,
        "current_period_end": work.now,
        "current_period_start": work.now,
        "discounts": [],
        "metadata": {key: value for key, value in (sent.get("metadata") or {}).items() if value is not None},
        "plan": plan_of(price),
        "price": copied(price),
        "quantity": sent.get("quantity", 1),
        "subscription": subscription["id"],
        "tax_rates": [],
    }


def _change_item(work: Transaction, item: Row, change: Mapping[str, Any], param: str) -> None:
    if "price" in change or "price_data" in change:
        price = _recurring(resolve_price(work, change, param), param)
        # Another price begins with a quantity of its own: 1, unless the change says another.
        # https://docs.stripe.com/api/subscriptions/update#update_subscription-items-price
        item.update(plan=plan_of(price), price=copied(price), quantity=1)
    assign(item, change, "quantity")


def _recurring(price: Row, param: str) -> Row:
    if not price["recurring"]:
        message = f"The price {price['id']} is paid once; a subscription needs prices with recurring set."
        raise invalid(message, f"{param}[price]")
    return price
