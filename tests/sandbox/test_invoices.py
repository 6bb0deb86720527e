"""Invoices of subscriptions: what can be done with them, and the pages that they lead to."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import customer, look, subscribe


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def latest(ask: Asking, subscription: Any) -> Any:
    return ask.get("/v1/invoices", subscription=subscription["id"])["data"][0]


def do(ask: Asking, invoice: Any, name: str, **params: Any) -> Any:
    return ask.post(f"/v1/invoices/{invoice['id']}/{name}", **params)


def test_lists_of_invoices(ask: Asking) -> None:
    """Invoices are listed by subscription, customer and status; their lines and payments have lists of their own."""
    paid = subscribe(ask)
    waiting = subscribe(ask, payment_behavior="default_incomplete")
    for wanted, found in (
        ({}, [waiting, paid]),
        ({"status": "paid"}, [paid]),
        ({"customer": waiting["customer"]}, [waiting]),
        ({"subscription": paid["id"]}, [paid]),
    ):
        assert [row["id"] for row in ask.get("/v1/invoices", **wanted)["data"]] == [row["latest_invoice"] for row in found]
    lines = ask.get(f"/v1/invoices/{paid['latest_invoice']}/lines")["data"]
    assert [(line["amount"], line["description"]) for line in lines] == [
        (2000, "1 \N{MULTIPLICATION SIGN} Gold (at 20.00 USD / month)")
    ]
    payment = ask.get("/v1/invoice_payments", invoice=paid["latest_invoice"])["data"][0]
    assert (payment["status"], payment["amount_paid"], payment["is_default"]) == ("paid", 2000, True)
    assert ask.get(f"/v1/invoice_payments/{payment['id']}") == payment
    assert ask.get("/v1/invoice_payments", status="open")["data"][0]["invoice"] == waiting["latest_invoice"]


def test_finalizing_a_draft(ask: Asking) -> None:
    """A draft that is finalized by hand has a number and is open; its payment is tried an hour later."""
    subscription = subscribe(ask)
    ask.sandbox.clock.advance(days=30)
    draft = latest(ask, subscription)
    opened = do(ask, draft, "finalize")
    assert (draft["status"], draft["number"], opened["status"]) == ("draft", None, "open")
    assert opened["number"].endswith("-0002")
    assert ask.refused("POST", f"/v1/invoices/{draft['id']}/finalize")[1]["code"] == "invoice_not_editable"
    ask.sandbox.clock.advance(minutes=59)
    assert latest(ask, subscription)["status"] == "open"
    ask.sandbox.clock.advance(minutes=1)
    assert latest(ask, subscription)["status"] == "paid"


def test_paying_a_draft(ask: Asking) -> None:
    """A draft that is paid is made final on the way, and nothing is taken for it a second time."""
    subscription = subscribe(ask)
    ask.sandbox.clock.advance(days=30)
    paid = do(ask, latest(ask, subscription), "pay")
    assert (paid["status"], paid["attempt_count"]) == ("paid", 1)
    ask.sandbox.clock.advance(hours=2)
    assert len(ask.get("/v1/charges")["data"]) == 2
    assert ask.refused("POST", f"/v1/invoices/{paid['id']}/pay")[1]["code"] == "invoice_already_paid"


def test_paying_with_another_card(ask: Asking) -> None:
    """An open invoice can be paid with a card that is named; one that is declined is an error, and leaves the invoice open."""
    subscription = subscribe(ask, customer=customer(ask, "pm_card_chargeCustomerFail"))
    invoice = latest(ask, subscription)
    status, error = ask.refused("POST", f"/v1/invoices/{invoice['id']}/pay")
    assert (status, error["code"], latest(ask, subscription)["status"]) == (402, "card_declined", "open")
    # Only the first attempt and those by the clock count.
    assert latest(ask, subscription)["attempt_count"] == 1
    assert do(ask, invoice, "pay", payment_method="pm_card_visa")["status"] == "paid"
    assert ask.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "active"


def test_paying_without_the_customer(ask: Asking) -> None:
    """A payment that needs the customer fails when nobody is there; with the customer there, it waits for the answer."""
    subscription = subscribe(ask, customer=customer(ask, "pm_card_authenticationRequired"), payment_behavior="default_incomplete")
    path = f"/v1/invoices/{subscription['latest_invoice']}/pay"
    assert ask.refused("POST", path)[1]["code"] == "authentication_required"
    assert ask.refused("POST", path, off_session=False)[1]["code"] == "invoice_payment_intent_requires_action"
    payment = ask.get("/v1/invoice_payments")["data"][0]["payment"]["payment_intent"]
    ask.sandbox.complete_action(payment)
    assert ask.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "active"


def test_giving_up(ask: Asking) -> None:
    """An open invoice can be given up as uncollectible, and voided, which cancels its payment; a void one cannot be paid."""
    subscription = subscribe(ask, payment_behavior="default_incomplete")
    invoice = latest(ask, subscription)
    assert do(ask, invoice, "mark_uncollectible")["status"] == "uncollectible"
    void = do(ask, invoice, "void")
    assert (void["status"], void["amount_remaining"]) == ("void", 0)
    assert ask.get("/v1/payment_intents")["data"][0]["status"] == "canceled"
    assert ask.events()[-1] == "invoice.voided"
    for name in ("pay", "void", "mark_uncollectible"):
        assert ask.refused("POST", f"/v1/invoices/{invoice['id']}/{name}")[0] == 400


def test_the_payment_is_the_invoices(ask: Asking) -> None:
    """The payment of an invoice can neither be canceled nor changed on its own."""
    subscribe(ask, payment_behavior="default_incomplete")
    payment = f"/v1/payment_intents/{ask.get('/v1/payment_intents')['data'][0]['id']}"
    for path, params in ((f"{payment}/cancel", {}), (payment, {"amount": 5})):
        assert ask.refused("POST", path, **params)[1]["code"] == "payment_intent_unexpected_state"


def test_the_pages_of_an_invoice(ask: Asking) -> None:
    """An invoice that is final leads to a page and to a PDF, in the sandbox; other addresses lead nowhere."""
    subscription = subscribe(ask)
    invoice = latest(ask, subscription)
    shown = look(ask.sandbox, invoice["hosted_invoice_url"])
    assert (shown.status_code, invoice["number"] in shown.text) == (200, True)
    pdf = look(ask.sandbox, invoice["invoice_pdf"])
    assert (pdf.headers["content-type"], pdf.content[:5], pdf.content[-6:]) == ("application/pdf", b"%PDF-", b"%%EOF\n")
    assert int(pdf.content.rpartition(b"startxref\n")[2].split()[0]) == pdf.content.index(b"xref\n0")
    for url in ("https://connect.stripe.com/i/other", "https://connect.stripe.com/i/other/pdf"):
        assert look(ask.sandbox, url).status_code == 404


def test_what_invoices_do_not_do(ask: Asking) -> None:
    """Invoices without a subscription, previews and other changes are refused by name."""
    for path in ("/v1/invoices", "/v1/invoices/create_preview", "/v1/invoices/in_1", "/v1/invoices/in_1/send"):
        assert ask.refused("POST", path)[1]["code"] == "sandbox_unsupported"
