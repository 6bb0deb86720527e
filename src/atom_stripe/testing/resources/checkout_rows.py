"""
Checkout sessions as they are kept, with what they sell.

Source: https://docs.stripe.com/api/checkout/sessions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid, missing, unsupported
from atom_stripe.testing._state.pages import envelope
from atom_stripe.testing._state.store import Kind, copied
from atom_stripe.testing.resources.price_rows import new_price, resolve_price
from atom_stripe.testing.resources.products import new_product
from atom_stripe.testing.resources.shared import assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

_SHOWN_ITEMS = 10


def _line_items(work: Transaction, session: Row) -> Row:
    del work
    rows = session["_items"]
    return envelope(rows[:_SHOWN_ITEMS], f"/v1/checkout/sessions/{session['id']}/line_items", has_more=len(rows) > _SHOWN_ITEMS)


SESSION = Kind(
    "checkout.session",
    "cs_test",
    length=42,
    expands={
        "customer": "customer",
        "invoice": "invoice",
        "payment_intent": "payment_intent",
        "setup_intent": "setup_intent",
        "subscription": "subscription",
    },
    includes={"line_items": _line_items},
    refuses=frozenset(
        {
            "automatic_tax.liability.account",
            "invoice_creation.invoice_data.account_tax_ids",
            "invoice_creation.invoice_data.issuer.account",
            "payment_link",
            "shipping_cost.shipping_rate",
        }
    ),
)
ITEM = Kind("item", "li", length=14)

LIFETIME = 24 * 60 * 60


def new_session(work: Transaction, params: Mapping[str, Any], origin: str) -> Row:
    """Make a session that is open."""
    mode = params["mode"]
    items = [_item(work, sent, f"line_items[{number}]") for number, sent in enumerate(params.get("line_items", ()))]
    _check_items(items, mode)
    total = sum(item["amount_total"] for item in items)
    identity = work.new_id(SESSION)
    email = params.get("customer_email")
    session: Row = work.add(
        {
            "id": identity,
            "object": "checkout.session",
            "adaptive_pricing": {"enabled": False} if mode == "payment" else None,
            "after_expiration": None,
            "allow_promotion_codes": None,
            "amount_subtotal": total if items else None,
            "amount_total": total if items else None,
            "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
            "billing_address_collection": None,
            "cancel_url": params.get("cancel_url"),
            "client_reference_id": params.get("client_reference_id"),
            "client_secret": None,
            "collected_information": None,
            "consent": None,
            "consent_collection": None,
            "created": work.now,
            "currency": items[0]["currency"] if items else params.get("currency"),
            "currency_conversion": None,
            "custom_fields": [],
            "custom_text": {
                "after_submit": None,
                "shipping_address": None,
                "submit": None,
                "terms_of_service_acceptance": None,
            },
            "customer": None,
            "customer_account": None,
            "customer_creation": _creation(params),
            "customer_details": _details(email) if email else None,
            "customer_email": email,
            "discounts": [],
            "expires_at": params.get("expires_at", work.now + LIFETIME),
            "invoice": None,
            "invoice_creation": _invoice_creation() if mode == "payment" else None,
            "livemode": False,
            "locale": None,
            "metadata": {},
            "mode": mode,
            "origin_context": None,
            "payment_intent": None,
            "payment_link": None,
            "payment_method_collection": params.get(
                "payment_method_collection", "always" if mode == "subscription" else "if_required"
            ),
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            # A trial without a payment is paid, too. Source: https://docs.stripe.com/api/checkout/sessions/object
            "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
            "permissions": None,
            "phone_number_collection": {"enabled": False},
            "recovered_from": None,
            "saved_payment_method_options": None,
            "setup_intent": None,
            "shipping_address_collection": None,
            "shipping_cost": None,
            "shipping_options": [],
            "status": "open",
            "submit_type": params.get("submit_type"),
            "subscription": None,
            "success_url": params["success_url"],
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0} if items else None,
            "ui_mode": "hosted_page",
            "url": f"{origin}/c/pay/{identity}",
            "wallet_options": None,
            "_items": items,
            "_origin": origin,
            "_data": {
                name: copied(params.get(name, {})) for name in ("payment_intent_data", "subscription_data", "setup_intent_data")
            },
        }
    )
    assign(session, params)
    if "customer" in params:
        customer = work.find("customer", params["customer"], "customer")
        session.update(customer=customer["id"], customer_details=_details(customer["email"], customer))
    return session


def describe_customer(session: Row, customer: Mapping[str, Any]) -> None:
    """Note who came to the session."""
    session["customer_details"] = _details(customer.get("email"), customer)


def _item(work: Transaction, sent: Mapping[str, Any], param: str) -> Row:
    data = sent.get("price_data")
    if data and "product_data" in data:
        if "product" in data or "price" in sent:
            raise invalid(f"Send {param}[price_data][product_data] alone.", f"{param}[price_data][product_data]")
        product = new_product(work, data["product_data"])
        work.change(product)["active"] = False
        work.emit("product.created", product)
        price = new_price(work, {**data, "active": False}, product["id"], f"{param}[price_data]")
    else:
        price = resolve_price(work, sent, param)
    if "quantity" not in sent:
        raise missing(f"{param}[quantity]")
    amount = price["unit_amount"] * sent["quantity"]
    return {
        "id": work.new_id(ITEM),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": work.find("product", price["product"])["name"],
        "metadata": {},
        "price": copied(price),
        "quantity": sent["quantity"],
    }


def _check_items(items: list[Row], mode: str) -> None:
    if mode == "setup":
        if items:
            raise invalid("A session in setup mode sells nothing.", "line_items")
        return
    if not items:
        raise missing("line_items")
    if len({item["currency"] for item in items}) > 1:
        raise invalid("The line items must have one currency.", "line_items")
    recurring = [item["price"]["type"] == "recurring" for item in items]
    if mode == "payment" and any(recurring):
        raise invalid("A session in payment mode takes no recurring prices; use mode=subscription.", "line_items")
    if mode == "subscription" and not any(recurring):
        raise invalid("A session in subscription mode needs a recurring price.", "line_items")
    if mode == "subscription" and not all(recurring):
        raise unsupported("A session in subscription mode with a price that is paid once", "line_items")


def _creation(params: Mapping[str, Any]) -> str | None:
    if "customer" in params:
        return None
    return {"payment": params.get("customer_creation", "if_required"), "subscription": "always"}.get(params["mode"])


def _details(email: str | None, customer: Mapping[str, Any] | None = None) -> Row:
    known = customer or {}
    return {
        "address": copied(known.get("address")),
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": known.get("name"),
        "phone": known.get("phone"),
        "tax_exempt": known.get("tax_exempt", "none"),
        "tax_ids": [],
    }


def _invoice_creation() -> Row:
    names = ("account_tax_ids", "custom_fields", "description", "footer", "issuer", "rendering_options")
    return {"enabled": False, "invoice_data": {**dict.fromkeys(names), "metadata": {}}}
