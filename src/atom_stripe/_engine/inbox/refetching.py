"""Where an object is fetched again: its path in Stripe's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from atom_stripe.config import API_VERSION
from atom_stripe.errors import EncodingError
from atom_stripe.models.event import Event, EventNotification

if TYPE_CHECKING:
    from atom_stripe.models.base import StripeObject

# Objects whose path is their name and an "s" are not listed: customer, charge, invoice, price, …
_COLLECTIONS = {
    "application_fee": "application_fees",
    "balance_transaction": "balance_transactions",
    "billing.meter": "billing/meters",
    "billing_portal.configuration": "billing_portal/configurations",
    "checkout.session": "checkout/sessions",
    "climate.order": "climate/orders",
    "credit_note": "credit_notes",
    "entitlements.feature": "entitlements/features",
    "file_link": "file_links",
    "financial_connections.account": "financial_connections/accounts",
    "financial_connections.session": "financial_connections/sessions",
    "identity.verification_report": "identity/verification_reports",
    "identity.verification_session": "identity/verification_sessions",
    "invoice_payment": "invoice_payments",
    "invoiceitem": "invoiceitems",
    "issuing.authorization": "issuing/authorizations",
    "issuing.card": "issuing/cards",
    "issuing.cardholder": "issuing/cardholders",
    "issuing.dispute": "issuing/disputes",
    "issuing.transaction": "issuing/transactions",
    "payment_intent": "payment_intents",
    "payment_link": "payment_links",
    "payment_method": "payment_methods",
    "promotion_code": "promotion_codes",
    "radar.early_fraud_warning": "radar/early_fraud_warnings",
    "reporting.report_run": "reporting/report_runs",
    "reporting.report_type": "reporting/report_types",
    "scheduled_query_run": "sigma/scheduled_query_runs",
    "setup_intent": "setup_intents",
    "subscription_item": "subscription_items",
    "subscription_schedule": "subscription_schedules",
    "tax_rate": "tax_rates",
    "terminal.reader": "terminal/readers",
    "test_helpers.test_clock": "test_helpers/test_clocks",
    "treasury.financial_account": "treasury/financial_accounts",
    "webhook_endpoint": "webhook_endpoints",
    **{
        name: f"{name}s"
        for name in (
            "account", "charge", "coupon", "customer", "dispute", "event", "file", "invoice", "mandate", "payout", "plan", "price",
            "product", "quote", "refund", "review", "shipping_rate", "source", "subscription", "token", "topup", "transfer",
        )
    },
}  # fmt: skip

# Objects that live under another one: its collection, the field that holds its id, and their own collection.
_NESTED = {
    "bank_account": (("accounts", "account", "external_accounts"), ("customers", "customer", "sources")),
    "card": (("accounts", "account", "external_accounts"), ("customers", "customer", "sources")),
    "capability": (("accounts", "account", "capabilities"),),
    "person": (("accounts", "account", "persons"),),
    "tax_id": (("customers", "customer", "tax_ids"),),
    "customer_balance_transaction": (("customers", "customer", "balance_transactions"),),
    "customer_cash_balance_transaction": (("customers", "customer", "cash_balance_transactions"),),
    "fee_refund": (("application_fees", "fee", "refunds"),),
    "transfer_reversal": (("transfers", "transfer", "reversals"),),
}


def path_of(event: Event | EventNotification) -> str:
    """
    Return the path of the object that *event* is about.

    Raises:
        EncodingError: It is about none that can be fetched.
    """
    raw = event._raw  # noqa: SLF001 - to_dict() would copy it
    if isinstance(event, EventNotification):
        related = raw.get("related_object")
        url = related.get("url") if isinstance(related, dict) else None
        if isinstance(url, str):
            return url
    else:
        found = _path(raw["data"]["object"])
        if found is not None:
            return found
    msg = f"a {event.type} is about no object that could be fetched by its id"
    raise EncodingError(msg)


def with_current(event: Event, current: StripeObject) -> Event:
    """Return *event* with its object as it is now, in our version."""
    raw = dict(event._raw)  # noqa: SLF001 - to_dict() would copy it
    raw["data"] = {**raw["data"], "object": current.to_dict()}
    raw["api_version"] = API_VERSION
    return Event.from_stripe(raw)


def _path(thing: dict[str, Any]) -> str | None:
    name, identity = thing.get("object"), thing.get("id")
    if name == "balance":
        return "/v1/balance"
    if not isinstance(name, str) or not isinstance(identity, str) or not identity:
        return None
    if name in _COLLECTIONS:
        return f"/v1/{_COLLECTIONS[name]}/{quote(identity, safe='')}"
    for collection, field, own in _NESTED.get(name, ()):
        owner = thing.get(field)
        owner = owner.get("id") if isinstance(owner, dict) else owner
        if isinstance(owner, str) and owner:
            return f"/v1/{collection}/{quote(owner, safe='')}/{own}/{quote(identity, safe='')}"
    return None
