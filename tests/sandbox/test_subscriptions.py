"""Subscriptions: how they begin, and what makes none."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import customer, ending, intent_of, invoices, monthly, read, seen_by, since, subscribe


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_a_subscription_that_is_paid(ask: Asking) -> None:
    """With a card that pays, a subscription is active at once, and its first invoice is paid."""
    subscription = subscribe(ask, expand=["latest_invoice.payments", "items.data.price.product"])
    invoice, item = subscription["latest_invoice"], subscription["items"]["data"][0]
    assert (subscription["status"], invoice["status"], invoice["billing_reason"]) == ("active", "paid", "subscription_create")
    assert (invoice["amount_due"], invoice["amount_paid"], invoice["amount_remaining"]) == (2000, 2000, 0)
    assert invoice["parent"]["subscription_details"]["subscription"] == subscription["id"]
    assert item["price"]["product"]["name"] == "Gold"
    assert "current_period_end" not in subscription
    line = invoice["lines"]["data"][0]
    assert line["period"] == {"start": item["current_period_start"], "end": item["current_period_end"]}
    assert line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]
    paid = invoice["payments"]["data"][0]["payment"]["payment_intent"]
    assert ask.get(f"/v1/payment_intents/{paid}")["status"] == "succeeded"


def test_what_happens_when_a_subscription_is_paid(ask: Asking) -> None:
    """The events of a subscription's beginning: it, its invoice, the payment, and the invoice again."""
    buyer, price = customer(ask), monthly(ask)
    seen = seen_by(ask)
    subscription = ask.post("/v1/subscriptions", customer=buyer, items=[{"price": price}])
    assert since(ask, seen) == [
        "customer.subscription.created",
        "invoice.created",
        "payment_intent.created",
        "invoice.finalized",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
        "charge.updated",
    ]
    told = ask.get("/v1/events", type="customer.subscription.created")["data"][0]["data"]["object"]
    assert told == subscription


def test_a_declined_card_leaves_it_incomplete(ask: Asking) -> None:
    """A card that is declined leaves the subscription incomplete; the customer pays with another one, and it is active."""
    subscription = subscribe(ask, customer=customer(ask, "pm_card_chargeCustomerFail"))
    assert subscription["status"] == "incomplete"
    invoice = invoices(ask, subscription)[0]
    assert (invoice["status"], invoice["attempted"], invoice["attempt_count"]) == ("open", True, 1)
    waiting = intent_of(ask, subscription)
    assert (waiting["status"], waiting["last_payment_error"]["code"]) == ("requires_payment_method", "card_declined")
    seen = seen_by(ask)
    ask.post(f"/v1/payment_intents/{waiting['id']}/confirm", payment_method="pm_card_visa")
    assert read(ask, subscription)["status"] == "active"
    assert invoices(ask, subscription)[0]["status"] == "paid"
    assert since(ask, seen) == [
        "charge.succeeded",
        "payment_method.attached",
        "payment_intent.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
        "charge.updated",
    ]


def test_a_first_payment_has_23_hours(ask: Asking) -> None:
    """A subscription whose first invoice is not paid within 23 hours expires, and the invoice is void."""
    subscription = subscribe(ask, payment_behavior="default_incomplete")
    assert ask.refused("POST", f"/v1/subscriptions/{subscription['id']}", description="x")[1]["param"] == "description"
    assert (subscription["status"], intent_of(ask, subscription)["status"]) == ("incomplete", "requires_confirmation")
    ask.sandbox.clock.advance(hours=22, minutes=59)
    assert read(ask, subscription)["status"] == "incomplete"
    seen = seen_by(ask)
    ask.sandbox.clock.advance(minutes=1)
    assert read(ask, subscription)["status"] == "incomplete_expired"
    assert invoices(ask, subscription)[0]["status"] == "void"
    assert since(ask, seen) == ["payment_intent.canceled", "invoice.voided", "customer.subscription.updated"]
    ask.sandbox.clock.advance(days=40)
    assert len(invoices(ask, subscription)) == 1


def test_the_bank_asks(ask: Asking) -> None:
    """A card that needs the customer leaves the subscription incomplete until the customer has answered."""
    subscription = subscribe(ask, customer=customer(ask, "pm_card_authenticationRequired"))
    asked = intent_of(ask, subscription)
    assert (subscription["status"], asked["status"]) == ("incomplete", "requires_action")
    assert "invoice.payment_action_required" in ask.events()
    ask.sandbox.complete_action(asked["id"])
    assert read(ask, subscription)["status"] == "active"


def test_an_error_leaves_nothing(ask: Asking) -> None:
    """With error_if_incomplete, a declined card is an error, and there is neither subscription nor invoice."""
    buyer, price = customer(ask, "pm_card_chargeCustomerFail"), monthly(ask)
    seen = seen_by(ask)
    status, error = ask.refused(
        "POST", "/v1/subscriptions", customer=buyer, items=[{"price": price}], payment_behavior="error_if_incomplete"
    )
    assert (status, error["code"], error["type"]) == (402, "card_declined", "card_error")
    assert ask.get("/v1/subscriptions", status="all")["data"] == []
    assert ask.get("/v1/invoices")["data"] == []
    assert since(ask, seen) == []


def test_the_card_is_kept(ask: Asking) -> None:
    """With save_default_payment_method, the card that pays the first invoice becomes that of the subscription."""
    buyer = ask.post("/v1/customers")["id"]
    keeps = {"save_default_payment_method": "on_subscription"}
    subscription = subscribe(ask, customer=buyer, payment_behavior="default_incomplete", payment_settings=keeps)
    secret = ask.get(f"/v1/invoices/{subscription['latest_invoice']}", expand=["confirmation_secret"])["confirmation_secret"]
    assert secret["client_secret"] == intent_of(ask, subscription)["client_secret"]
    paid = ask.post(f"/v1/payment_intents/{intent_of(ask, subscription)['id']}/confirm", payment_method="pm_card_visa")
    assert read(ask, subscription)["default_payment_method"] == paid["payment_method"]


def test_a_trial(ask: Asking) -> None:
    """A trial begins with an invoice for nothing, is announced three days before its end, and is then paid for."""
    subscription = subscribe(ask, trial_period_days=10)
    assert (subscription["status"], subscription["trial_end"]) == ("trialing", subscription["created"] + 10 * 86400)
    assert [(invoice["total"], invoice["status"]) for invoice in invoices(ask, subscription)] == [(0, "paid")]
    assert ending(ask, subscription) == "2026-11-12"
    ask.sandbox.clock.advance(days=7)
    assert ask.events()[-1] == "customer.subscription.trial_will_end"
    ask.sandbox.clock.advance(days=3)
    assert (read(ask, subscription)["status"], ending(ask, subscription)) == ("active", "2026-12-12")
    ask.sandbox.clock.advance(hours=1)
    assert [(invoice["total"], invoice["status"]) for invoice in invoices(ask, subscription)] == [(2000, "paid"), (0, "paid")]


def test_a_trial_without_a_card(ask: Asking) -> None:
    """A trial that ends without a payment method ends the subscription, if that was wished; otherwise it is past due."""
    wish = {"end_behavior": {"missing_payment_method": "cancel"}}
    ends = subscribe(ask, customer=ask.post("/v1/customers")["id"], trial_period_days=1, trial_settings=wish)
    goes_on = subscribe(ask, customer=ask.post("/v1/customers")["id"], trial_period_days=1)
    ask.sandbox.clock.advance(days=1, hours=2)
    assert (read(ask, ends)["status"], read(ask, goes_on)["status"]) == ("canceled", "past_due")


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"customer": "cus_none"}, 400, "customer"),
        ({"items": [{"price": "price_none"}]}, 400, "items[0][price]"),
        ({"items": [{"quantity": 2}]}, 400, "items[0][price]"),
        ({"default_payment_method": "pm_card_visa"}, 400, "default_payment_method"),
        ({"payment_behavior": "pending_if_incomplete"}, 400, "payment_behavior"),
        ({"collection_method": "send_invoice"}, 400, "days_until_due"),
        ({"days_until_due": 3}, 400, "days_until_due"),
        ({"trial_end": 5}, 400, "trial_end"),
        ({"trial_end": "soon"}, 400, "trial_end"),
        ({"trial_end": 1793700000, "trial_period_days": 3}, 400, "trial_period_days"),
        ({"currency": "eur"}, 400, "currency"),
        ({"discounts": [{"coupon": "x"}]}, 501, "discounts"),
        ({"trial_settings": {"end_behavior": {"missing_payment_method": "pause"}}}, 501, None),
    ],
)
def test_subscriptions_that_are_refused(ask: Asking, params: dict[str, Any], status: int, param: str | None) -> None:
    """What makes no subscription is refused as Stripe does, what only the sandbox does not do by name, and nothing is left."""
    common: dict[str, Any] = {"customer": customer(ask), "items": [{"price": monthly(ask)}]}
    found, error = ask.refused("POST", "/v1/subscriptions", **{**common, **params})
    assert (found, error["param"] if param else None) == (status, param)
    assert ask.get("/v1/subscriptions", status="all")["data"] == []


def test_prices_that_do_not_go_together(ask: Asking) -> None:
    """The prices of a subscription are recurring ones, each once, of one currency; those of different intervals are refused by name."""
    buyer, price = customer(ask), monthly(ask)
    once = ask.post("/v1/prices", product_data={"name": "A"}, currency="usd", unit_amount=5)["id"]
    euro = ask.post("/v1/prices", product_data={"name": "A"}, currency="eur", unit_amount=5, recurring={"interval": "month"})["id"]
    for other, status in ((once, 400), (euro, 400), (price, 400), (monthly(ask, interval="year"), 501)):
        items = [{"price": price}, {"price": other}]
        assert ask.refused("POST", "/v1/subscriptions", customer=buyer, items=items)[0] == status


def test_a_subscription_that_nobody_can_pay(ask: Asking) -> None:
    """Without any payment method a subscription is refused, unless there is nothing to pay or the customer is to pay it."""
    common = {"customer": ask.post("/v1/customers")["id"], "items": [{"price": monthly(ask)}]}
    assert ask.refused("POST", "/v1/subscriptions", **common)[1]["code"] == "resource_missing"
    assert ask.post("/v1/subscriptions", **common, payment_behavior="default_incomplete")["status"] == "incomplete"
    free = [{"price": monthly(ask, 0)}]
    assert ask.post("/v1/subscriptions", **{**common, "items": free})["status"] == "active"
