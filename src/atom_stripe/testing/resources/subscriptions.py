"""
Subscriptions. What happens to them is in ``billing``; prorations are refused by name.

Source: https://docs.stripe.com/api/subscriptions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import exclusive, invalid, missing, no_such, unsupported
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Currency, Hash, Id, Integer, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import copied, shown
from atom_stripe.testing.resources import billing, subscription_ends, subscription_rows
from atom_stripe.testing.resources.price_rows import PRICE_DATA, RECURRING_DATA
from atom_stripe.testing.resources.shared import METADATA, assign
from atom_stripe.testing.resources.subscription_rows import DAY, ENDED, changed_items, new_subscription, period, put_items

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

SUBSCRIPTION = subscription_rows.SUBSCRIPTION
ITEM = subscription_rows.ITEM

_ONE = "/v1/subscriptions/{subscription_exposed_id}"
_STATUSES = ("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")
_COLLECTION = Choice(("charge_automatically", "send_invoice"))
_BEHAVIOR = Choice(("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"))
_PRORATION = Choice(("always_invoice", "create_prorations", "none"))
_FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused",
)  # fmt: skip
_ITEM: dict[str, Parameter] = {
    "metadata": METADATA["metadata"],
    "price": Id(),
    "price_data": Hash({**PRICE_DATA, "recurring": RECURRING_DATA}),
    "quantity": Integer(least=0),
}
_DETAILS = Hash({"comment": Text(), "feedback": Choice(_FEEDBACK, unsettable=True)})
_LONGEST_TRIAL = 730
_FIELDS: dict[str, Parameter] = {
    "cancel_at_period_end": Boolean(),
    "default_payment_method": Id(unsettable=True),
    "description": Text(longest=500),
    "off_session": Boolean(),
    "payment_behavior": _BEHAVIOR,
    "payment_settings": Hash({"save_default_payment_method": Choice(("off", "on_subscription"))}),
    "proration_behavior": _PRORATION,
    **METADATA,
}


class Moment:
    """``now``, or seconds since 1970. Reads ``now`` to ``None``."""

    required = False
    unsettable = False

    def read(self, value: Any, name: str) -> int | None:
        """Return the moment."""
        return None if value == "now" else Integer(least=0).read(value, name)


TRIAL: dict[str, Parameter] = {
    "trial_end": Moment(),
    "trial_period_days": Integer(least=1, most=_LONGEST_TRIAL),
    "trial_settings": Hash(
        {
            "end_behavior": Hash(
                {
                    "missing_payment_method": Choice(
                        ("cancel", "create_invoice"),
                        required=True,
                        beyond=("POST /v1/subscriptions", "trial_settings", "end_behavior", "missing_payment_method"),
                    )
                },
                required=True,
            )
        }
    ),
}
"""What makes a subscription begin with a trial."""


def begin(work: Transaction, params: Mapping[str, Any], origin: str, *, off_session: bool, behavior: str) -> Row:
    """Make a subscription of *params* and bill it for the first time."""
    subscription = new_subscription(work, params, origin)
    assign(subscription, params)
    set_default(work, subscription, params)
    billing.start(work, subscription, trial_end=_trial_end(work, params), behavior=behavior, off_session=off_session)
    return subscription


@route(
    "POST",
    "/v1/subscriptions",
    {
        **_FIELDS,
        **TRIAL,
        "collection_method": _COLLECTION,
        "currency": Currency(),
        "customer": Id(),
        "days_until_due": Integer(least=0),
        "items": ListOf(Hash(_ITEM)),
    },
)
def create(call: Call) -> Row:
    params = call.params
    for name in ("customer", "items"):
        if not params.get(name):
            raise missing(name)
    call.find("customer", params["customer"], "customer")
    behavior = params.get("payment_behavior", "allow_incomplete")
    if behavior == "pending_if_incomplete":
        raise invalid("pending_if_incomplete is for updates of subscriptions.", "payment_behavior")
    sends = params.get("collection_method") == "send_invoice"
    if sends != ("days_until_due" in params):
        message = "days_until_due goes together with collection_method=send_invoice, and with no other."
        raise invalid(message, "days_until_due", code="parameter_missing" if sends else None)
    _check_method(call, params, sends=sends, behavior=behavior)
    subscription = begin(call, params, call.origin, off_session=params.get("off_session", False), behavior=behavior)
    if params.get("currency", subscription["currency"]) != subscription["currency"]:
        raise invalid("The prices are in another currency.", "currency")
    if params.get("cancel_at_period_end"):
        # It was told of as it is now.
        _set_end(call, subscription, ends=True)
        told = next(entry for entry in call.happenings if entry.type == "customer.subscription.created")
        told.object.update(copied(shown(subscription)))
    return subscription


@route(
    "GET",
    "/v1/subscriptions",
    {
        **PAGE,
        "collection_method": _COLLECTION,
        "created": CREATED,
        "customer": Id(),
        "price": Id(),
        "status": Choice((*_STATUSES, "all", "ended")),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    return page(
        call.rows("subscription"),
        params,
        kind="subscription",
        url=call.path,
        where=lambda row: (
            equal(row, params, "collection_method", "customer")
            and _has_status(row, params.get("status"))
            and ("price" not in params or any(item["price"]["id"] == params["price"] for item in row["items"]["data"]))
            and within(row["created"], params.get("created"))
        ),
    )


@route("GET", _ONE)
def retrieve(call: Call) -> Row:
    return call.find("subscription", call.arguments["subscription_exposed_id"])


@route(
    "POST",
    _ONE,
    {**_FIELDS, "cancellation_details": _DETAILS, "items": ListOf(Hash({**_ITEM, "deleted": Boolean(), "id": Id()}))},
)
def update(call: Call) -> Row:
    params, subscription = call.params, call.change(_live(call))
    if subscription["status"] == "incomplete" and (
        fixed := sorted(params.keys() - {"default_payment_method", "expand", "metadata"})
    ):
        raise invalid(f"The subscription is incomplete: its {fixed[0]} can be changed once its first invoice is paid.", fixed[0])
    assign(subscription, params, "description")
    set_default(call, subscription, params)
    subscription["payment_settings"].update(params.get("payment_settings") or {})
    subscription["cancellation_details"].update(params.get("cancellation_details", {}))
    if "items" in params:
        _change_items(call, subscription)
    if "cancel_at_period_end" in params and params["cancel_at_period_end"] != subscription["cancel_at_period_end"]:
        _set_end(call, subscription, ends=params["cancel_at_period_end"])
    subscription_ends.tell(call, subscription)
    return subscription


@route(
    "DELETE",
    _ONE,
    {"cancellation_details": _DETAILS, "expand": ListOf(Text(longest=500)), "invoice_now": Boolean(), "prorate": Boolean()},
)
def cancel(call: Call) -> Row:
    for name in ("invoice_now", "prorate"):
        if call.params.get(name):
            raise unsupported(f"The parameter {name} of DELETE {_ONE}", name)
    return subscription_ends.cancel(call, _live(call), "cancellation_requested", call.params.get("cancellation_details"))


def _live(call: Call) -> Row:
    subscription = call.find("subscription", call.arguments["subscription_exposed_id"])
    if subscription["status"] in ENDED:
        # Stripe does not know it any more, except to read it.
        raise no_such("subscription", subscription["id"])
    return subscription


def end_with_period(work: Transaction, subscription: Row, *, ends: bool) -> None:
    """Let a subscription end with its period, or go on after all, and say so."""
    work.change(subscription)
    if subscription["cancel_at_period_end"] != ends:
        _set_end(work, subscription, ends=ends)
    subscription_ends.tell(work, subscription)


def use_method(work: Transaction, subscription: Row, method: str) -> None:
    """Let a subscription be paid with another payment method, and say so."""
    work.change(subscription)["default_payment_method"] = method
    subscription_ends.tell(work, subscription)


def _set_end(work: Transaction, subscription: Row, *, ends: bool) -> None:
    subscription.update(
        cancel_at=period(subscription)[1] if ends else None,
        cancel_at_period_end=ends,
        canceled_at=work.now if ends else None,
    )
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if ends else None


def _change_items(call: Call, subscription: Row) -> None:
    items = changed_items(call, subscription, call.params["items"])
    prorates = call.params.get("proration_behavior", "create_prorations") != "none" and subscription["status"] != "trialing"
    before = [(item["price"]["id"], item["quantity"]) for item in subscription["items"]["data"]]
    if prorates and [(item["price"]["id"], item["quantity"]) for item in items] != before:
        raise unsupported("A proration (send proration_behavior=none to do without)", "proration_behavior")
    put_items(subscription, items)


def _check_method(call: Call, params: Mapping[str, Any], *, sends: bool, behavior: str) -> None:
    """Refuse a subscription that nobody could pay. Source: https://docs.stripe.com/api/subscriptions/create"""
    customer = call.find("customer", params["customer"], "customer")
    if sends or behavior == "default_incomplete" or _trial_end(call, params) is not None or params.get("default_payment_method"):
        return
    amounts = [call.get("price", item.get("price", "")) or item.get("price_data", {}) for item in params["items"]]
    if customer["invoice_settings"]["default_payment_method"] is None and any(price.get("unit_amount") for price in amounts):
        message = "The customer has no default payment method. Set one, or use payment_behavior=default_incomplete and let the customer pay."
        raise invalid(message, code="resource_missing")


def set_default(work: Transaction, subscription: Row, params: Mapping[str, Any]) -> None:
    """Set the payment method that a subscription is paid with, which the customer must have."""
    if "default_payment_method" not in params:
        return
    method = params["default_payment_method"]
    if method:
        found = work.get("payment_method", method)
        if found is None or found["customer"] != subscription["customer"]:
            message = f"The customer does not have the payment method {method[:255]!r}; attach it first."
            raise invalid(message, "default_payment_method", code="resource_missing")
    subscription["default_payment_method"] = method


def _trial_end(work: Transaction, params: Mapping[str, Any]) -> int | None:
    if "trial_period_days" in params and "trial_end" in params:
        raise exclusive("trial_period_days", "trial_end")
    if "trial_period_days" in params:
        days: int = params["trial_period_days"]
        return work.now + days * DAY
    end: int | None = params.get("trial_end")
    if end is not None and not work.now < end <= work.now + _LONGEST_TRIAL * DAY:
        raise invalid("trial_end must be in the future, and within two years.", "trial_end")
    return end


def _has_status(row: Row, wanted: str | None) -> bool:
    if wanted is None:
        return row["status"] not in ENDED
    return wanted == "all" or row["status"] == wanted or (wanted == "ended" and row["status"] in ENDED)
