"""
Invoices of subscriptions: to read, to finalize, to pay and to void. Those without a subscription are refused by name.

Source: https://docs.stripe.com/api/invoices
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import Refusal, invalid
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Hash, Id
from atom_stripe.testing._state.routing import route
from atom_stripe.testing.resources import billing, invoice_rows, payment_flow, payment_methods

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

INVOICE = invoice_rows.INVOICE
LINE = invoice_rows.LINE
INVOICE_PAYMENT = invoice_rows.INVOICE_PAYMENT


@route(
    "GET",
    "/v1/invoices",
    {
        **PAGE,
        "collection_method": Choice(("charge_automatically", "send_invoice")),
        "created": CREATED,
        "customer": Id(),
        "status": Choice(("draft", "open", "paid", "uncollectible", "void")),
        "subscription": Id(),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    return page(
        call.rows("invoice"),
        params,
        kind="invoice",
        url=call.path,
        where=lambda row: (
            equal(row, params, "collection_method", "customer", "status")
            and row["_subscription"] == params.get("subscription", row["_subscription"])
            and within(row["created"], params.get("created"))
        ),
    )


@route("GET", "/v1/invoices/{invoice}")
def retrieve(call: Call) -> Row:
    return _named(call)


@route("GET", "/v1/invoices/{invoice}/lines", PAGE)
def lines(call: Call) -> Row:
    return page(_named(call)["lines"]["data"], call.params, kind="line_item", url=call.path)


@route("POST", "/v1/invoices/{invoice}/finalize", {"auto_advance": Boolean()})
def finalize(call: Call) -> Row:
    invoice = _named(call)
    if invoice["status"] != "draft":
        raise invalid("The invoice is final already.", code="invoice_not_editable")
    call.change(invoice)["auto_advance"] = call.params.get("auto_advance", invoice["auto_advance"])
    billing.finalize(call, invoice)
    # What is final is collected within the hour. Source: https://docs.stripe.com/invoicing/integration/automatic-advancement-collection
    if invoice["status"] == "open" and invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically":
        moment = invoice["next_payment_attempt"] = call.now + billing.HOUR
        call.at(moment, lambda later: billing.retry(later, invoice["id"], moment))
    return invoice


@route("POST", "/v1/invoices/{invoice}/pay", {"off_session": Boolean(), "payment_method": Id()})
def pay(call: Call) -> Row:
    invoice = _named(call)
    if invoice["status"] == "draft":
        billing.finalize(call, invoice)
    elif invoice["status"] == "paid":
        raise invalid("The invoice is paid already.", code="invoice_already_paid")
    if invoice["status"] == "paid":
        return invoice
    if invoice["status"] == "void":
        raise invalid("The invoice is void and cannot be paid.", code="invoice_not_payable")
    method = None
    if sent := call.params.get("payment_method"):
        row = payment_methods.resolve(call, sent, "payment_method")
        intent = invoice_rows.intent_of(call, invoice)
        if intent:
            payment_flow.check_owner(intent, row)
        method = row["id"]
    refusal = billing.attempt(call, invoice, off_session=call.params.get("off_session", True), method=method)
    if refusal:
        raise refusal
    if invoice["status"] != "paid":
        message = "The payment needs the customer's authentication: let the customer confirm the invoice's payment intent."
        raise Refusal(402, message, type="card_error", code="invoice_payment_intent_requires_action", committed=True)
    return invoice


@route("POST", "/v1/invoices/{invoice}/void")
def void(call: Call) -> Row:
    invoice = _named(call)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(f"The invoice is {invoice['status']}; an open or uncollectible one can be voided.")
    return invoice_rows.abandon(call, invoice, "void", "invoice.voided", "voided_at")


@route("POST", "/v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible(call: Call) -> Row:
    invoice = _named(call)
    if invoice["status"] != "open":
        raise invalid(f"The invoice is {invoice['status']}; an open one can be marked uncollectible.")
    invoice_rows.abandon(call, invoice, "uncollectible", "invoice.marked_uncollectible", "marked_uncollectible_at")
    invoice_rows.blame(call, invoice["customer"], delinquent=False)
    return invoice


@route(
    "GET",
    "/v1/invoice_payments",
    {
        **PAGE,
        "created": CREATED,
        "invoice": Id(),
        "payment": Hash(
            {
                "payment_intent": Id(),
                "type": Choice(("payment_intent",), required=True, beyond=("GET /v1/invoice_payments", "payment", "type")),
            }
        ),
        "status": Choice(("canceled", "open", "paid")),
    },
)
def list_payments(call: Call) -> Row:
    params = call.params
    return page(
        call.rows("invoice_payment"),
        params,
        kind="invoice_payment",
        url=call.path,
        where=lambda row: (
            equal(row, params, "invoice", "status")
            and equal(row["payment"], params.get("payment", {}), "payment_intent")
            and within(row["created"], params.get("created"))
        ),
    )


@route("GET", "/v1/invoice_payments/{invoice_payment}")
def retrieve_payment(call: Call) -> Row:
    return call.find("invoice_payment", call.arguments["invoice_payment"])


def _named(call: Call) -> Row:
    return call.find("invoice", call.arguments["invoice"])
