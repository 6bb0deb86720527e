"""
What Stripe would have sent: the bodies that the benchmarks work on, the same bytes for every contender.

They are written by hand in the shape of API version 2026-10-28.endive and laid out as Stripe does it, with two spaces a level.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CREATED = 1793534400


def invoice_event() -> bytes:
    """Return a webhook's body of about 6 KB: a subscription's monthly invoice was paid."""
    event = {
        "id": _identity("evt", 0),
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": _CREATED + 3605,
        "data": {"object": _invoice()},
        "livemode": False,
        "pending_webhooks": 2,
        "request": {"id": None, "idempotency_key": None},
        "type": "invoice.paid",
    }
    return _body(event)


def payment_intent() -> bytes:
    """Return the answer to the creation of a payment."""
    return _body(_payment_intent(0))


def payment_intents(count: int = 100) -> bytes:
    """Return a page of *count* payments. Every third one holds its charge, as ``expand=["data.latest_charge"]`` gives it."""
    data = [_payment_intent(number, expanded=number % 3 == 0) for number in range(count)]
    return _body({"object": "list", "data": data, "has_more": True, "url": "/v1/payment_intents"})


def _body(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def _identity(prefix: str, number: int, length: int = 24) -> str:
    digest = hashlib.sha512(f"{prefix}/{number}".encode()).digest()
    return f"{prefix}_{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])}"


def _address() -> dict[str, Any]:
    return {
        "city": "Portland",
        "country": "US",
        "line1": "1820 NW Lovejoy St",
        "line2": "Apt 4",
        "postal_code": "97209",
        "state": "OR",
    }


def _invoice() -> dict[str, Any]:
    identity, customer, subscription = _identity("in", 0), _identity("cus", 0, 14), _identity("sub", 0)
    metadata = {"tenant": "northwind", "plan": "team-monthly", "seats": "8"}
    return {
        "id": identity,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Example Software, Inc.",
        "account_tax_ids": None,
        "amount_due": 19600,
        "amount_overpaid": 0,
        "amount_paid": 19600,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": False,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": _CREATED,
        "currency": "usd",
        "custom_fields": None,
        "customer": customer,
        "customer_account": None,
        "customer_address": _address(),
        "customer_email": "accounts@northwind.example",
        "customer_name": "Northwind Traders",
        "customer_phone": None,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": _CREATED + 3600,
        "ending_balance": 0,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{_identity('acct', 0, 16)}/{_identity('test', 0, 60)}?s=ap",
        "invoice_pdf": f"https://pay.stripe.com/invoice/{_identity('acct', 0, 16)}/{_identity('test', 0, 60)}/pdf?s=ap",
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {
            "object": "list",
            "data": [_invoice_line(identity, subscription, metadata)],
            "has_more": False,
            "total_count": 1,
            "url": f"/v1/invoices/{identity}/lines",
        },
        "livemode": False,
        "metadata": metadata,
        "next_payment_attempt": None,
        "number": "7C31E0B2-0042",
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": metadata, "subscription": subscription},
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": _CREATED,
        "period_start": _CREATED - 2592000,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "paid",
        "status_details": None,
        "status_transitions": {
            "finalized_at": _CREATED + 3600,
            "marked_uncollectible_at": None,
            "paid_at": _CREATED + 3603,
            "voided_at": None,
        },
        "subtotal": 19600,
        "subtotal_excluding_tax": 19600,
        "test_clock": None,
        "total": 19600,
        "total_discount_amounts": [],
        "total_excluding_tax": 19600,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": _CREATED + 10,
    }


def _invoice_line(invoice: str, subscription: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {
        "id": _identity("il", 0),
        "object": "line_item",
        "amount": 19600,
        "currency": "usd",
        "description": "8 seats of Team (at $24.50 / month)",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice,
        "livemode": False,
        "metadata": metadata,
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription,
                "subscription_item": _identity("si", 0, 14),
            },
            "type": "subscription_item_details",
        },
        "period": {"end": _CREATED + 2592000, "start": _CREATED},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": _identity("price", 0), "product": _identity("prod", 0, 14)},
            "type": "price_details",
            "unit_amount_decimal": "2450",
        },
        "quantity": 8,
        "quantity_decimal": "8",
        "subtotal": 19600,
        "taxes": [],
    }


def _payment_intent(number: int, *, expanded: bool = False) -> dict[str, Any]:
    identity, charge, amount = _identity("pi", number), _identity("ch", number), 2000 + 17 * number
    return {
        "id": identity,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": amount,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "never", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{identity}_{_identity('secret', number, 25)}",
        "confirmation_method": "automatic",
        "created": _CREATED - 61 * number,
        "currency": "usd",
        "customer": _identity("cus", number % 20, 14),
        "customer_account": None,
        "description": f"Order {4200 + number}",
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": _charge(number, identity, charge, amount) if expanded else charge,
        "livemode": False,
        "metadata": {"order": str(4200 + number), "tenant": "northwind", "channel": "web", "cart": _identity("cart", number, 32)},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": _identity("pm", number),
        "payment_method_configuration_details": {"id": _identity("pmc", 0), "parent": None},
        "payment_method_options": {
            "card": {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"},
            "link": {"persistent_token": None},
        },
        "payment_method_types": ["card", "link"],
        "payment_record": None,
        "processing": None,
        "receipt_email": f"buyer{number}@northwind.example",
        "review": None,
        "setup_future_usage": "off_session",
        "shipping": {"address": _address(), "carrier": None, "name": "Jenny Rosen", "phone": None, "tracking_number": None},
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": "ORDER",
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def _charge(number: int, payment_intent: str, identity: str, amount: int) -> dict[str, Any]:
    return {
        "id": identity,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": _identity("txn", number),
        "billing_details": {
            "address": _address(),
            "email": f"buyer{number}@northwind.example",
            "name": "Jenny Rosen",
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "EXAMPLE* ORDER",
        "captured": True,
        "created": _CREATED - 61 * number + 1,
        "currency": "usd",
        "customer": _identity("cus", number % 20, 14),
        "description": f"Order {4200 + number}",
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {"order": str(4200 + number), "tenant": "northwind", "channel": "web"},
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 12 + number % 40,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": payment_intent,
        "payment_method": _identity("pm", number),
        "payment_method_details": {"card": _card(number, amount), "type": "card"},
        "presentment_details": None,
        "receipt_email": f"buyer{number}@northwind.example",
        "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/payment/{_identity('receipt', number, 60)}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": "ORDER",
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def _card(number: int, amount: int) -> dict[str, Any]:
    return {
        "amount_authorized": amount,
        "authorization_code": f"{100000 + number}",
        "brand": "visa",
        "checks": {"address_line1_check": "pass", "address_postal_code_check": "pass", "cvc_check": "pass"},
        "country": "US",
        "exp_month": 8,
        "exp_year": 2030,
        "extended_authorization": {"status": "disabled"},
        "fingerprint": _identity("fp", number % 20, 16)[3:],
        "funding": "credit",
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": "4242",
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": "visa",
        "network_token": {"used": False},
        "network_transaction_id": f"{763958273401234 + number}",
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "transaction_link_id": None,
        "wallet": None,
    }
