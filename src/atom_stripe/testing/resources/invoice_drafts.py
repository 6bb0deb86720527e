"""
Drafts of invoices: their lines, and what is due once the customer's balance has paid.

Source: https://docs.stripe.com/api/invoices/object
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.currencies import check_amount
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.pages import envelope
from atom_stripe.testing._state.store import Kind, copied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

LINE = Kind("line_item", "il", expands={"pricing.price_details.price": "price"}, refuses=frozenset({"discounts", "subscription"}))


def line_for(work: Transaction, item: Row, period: tuple[int, int], *, free: bool) -> Row:
    """Return the line of an invoice for a period of an item of a subscription. *free*: it is a trial."""
    price, quantity = item["price"], item["quantity"]
    unit = 0 if free else price["unit_amount"]
    product = work.account.table("product").get(price["product"], {}).get("name", price["product"])
    cost = str(Money.from_minor(price["unit_amount"], price["currency"]))
    text = (
        f"Trial period for {product}"
        if free
        else f"{quantity} \N{MULTIPLICATION SIGN} {product} (at {cost} / {price['recurring']['interval']})"
    )
    return {
        "id": work.new_id(LINE),
        "object": "line_item",
        "amount": unit * quantity,
        "currency": price["currency"],
        "description": text,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": copied(item["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(unit),
        },
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": item["subscription"],
        "subtotal": unit * quantity,
        "taxes": [],
    }


def draft(work: Transaction, subscription: Row, lines: Sequence[Row], reason: str, period: tuple[int, int]) -> Row:
    """Make the invoice of a subscription, as a draft that Stripe goes on with by itself."""
    identity = work.ids.new("in")
    customer = work.find("customer", subscription["customer"])
    total = sum(line["amount"] for line in lines)
    invoice = work.add(
        {
            "id": identity,
            "object": "invoice",
            "account_country": "US",
            "account_name": None,
            "account_tax_ids": None,
            "amount_due": total,
            "amount_overpaid": 0,
            "amount_paid": 0,
            "amount_paid_off_stripe": 0,
            "amount_remaining": total,
            "amount_shipping": 0,
            "application": None,
            "attempt_count": 0,
            "attempted": False,
            "auto_advance": True,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
            "automatically_finalizes_at": None,
            "billing_reason": reason,
            "collection_method": subscription["collection_method"],
            "created": work.now,
            "currency": subscription["currency"],
            "custom_fields": None,
            "customer": customer["id"],
            "customer_account": None,
            "customer_address": copied(customer["address"]),
            "customer_email": customer["email"],
            "customer_name": customer["name"],
            "customer_phone": customer["phone"],
            "customer_shipping": copied(customer["shipping"]),
            "customer_tax_exempt": customer["tax_exempt"],
            "customer_tax_ids": [],
            "default_payment_method": None,
            "default_source": None,
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
            "due_date": None,
            "effective_at": None,
            "ending_balance": None,
            "footer": None,
            "from_invoice": None,
            "hosted_invoice_url": None,
            "invoice_pdf": None,
            "issuer": {"type": "self"},
            "last_finalization_error": None,
            "latest_revision": None,
            "lines": envelope([{**line, "invoice": identity} for line in lines], f"/v1/invoices/{identity}/lines"),
            "livemode": False,
            "metadata": {},
            "next_payment_attempt": None,
            "number": None,
            "on_behalf_of": None,
            "parent": {
                "quote_details": None,
                "subscription_details": {"metadata": copied(subscription["metadata"]), "subscription": subscription["id"]},
                "type": "subscription_details",
            },
            "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
            "period_end": period[1],
            "period_start": period[0],
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "receipt_number": None,
            "rendering": None,
            "shipping_cost": None,
            "shipping_details": None,
            "starting_balance": customer["balance"],
            "statement_descriptor": None,
            "status": "draft",
            "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
            "subtotal": total,
            "subtotal_excluding_tax": total,
            "test_clock": None,
            "total": total,
            "total_discount_amounts": [],
            "total_excluding_tax": total,
            "total_pretax_credit_amounts": [],
            "total_taxes": [],
            "webhooks_delivered_at": None,
            "_days_until_due": subscription["days_until_due"],
            "_intent": None,
            "_origin": subscription["_origin"],
            "_token": work.ids.token("invoice_page", 32),
        }
    )
    apply_balance(work, invoice, customer, keep=False)
    return invoice


def apply_balance(work: Transaction, invoice: Row, customer: Row, *, keep: bool) -> None:
    """
    Let the customer's balance pay, or add to, what is due. What is too little for a charge goes to the balance.

    Source: https://docs.stripe.com/billing/customer/balance
    """
    due = invoice["total"] + customer["balance"]
    left = 0
    if due <= 0 or _too_little(due, invoice["currency"]):
        due, left = 0, due
    invoice.update(amount_due=due, amount_remaining=due, starting_balance=customer["balance"])
    if keep:
        invoice["ending_balance"] = left
        if customer["balance"] != left:
            customer["balance"] = left
            work.emit("customer.updated", customer)


def _too_little(amount: int, currency: str) -> bool:
    try:
        check_amount(amount, currency)
    except Refusal as refusal:
        return refusal.code == "amount_too_small"
    return False
