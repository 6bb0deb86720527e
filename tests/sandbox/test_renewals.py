"""Subscriptions from period to period: renewals, and what becomes of those that fail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state.periods import boundary
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import customer, ending, intent_of, invoices, monthly, read, seen_by, since, subscribe


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_a_renewal(ask: Asking) -> None:
    """At the end of a period the next begins with a draft, which is final and paid an hour later."""
    subscription = subscribe(ask)
    ask.sandbox.clock.advance(days=29)
    seen = seen_by(ask)
    ask.sandbox.clock.advance(days=1)
    assert since(ask, seen) == ["invoice.created", "customer.subscription.updated"]
    latest = invoices(ask, subscription)[0]
    assert (latest["status"], latest["billing_reason"], latest["hosted_invoice_url"]) == ("draft", "subscription_cycle", None)
    assert latest["automatically_finalizes_at"] == latest["created"] + 3600
    assert ending(ask, subscription) == "2027-01-02"
    seen = seen_by(ask)
    ask.sandbox.clock.advance(hours=1)
    assert since(ask, seen)[:3] == ["payment_intent.created", "invoice.finalized", "charge.succeeded"]
    assert invoices(ask, subscription)[0]["status"] == "paid"


@pytest.mark.parametrize(
    ("begins", "interval", "count", "ends"),
    [
        ("2026-01-31", "month", 1, ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("2027-12-31", "month", 2, ["2028-02-29", "2028-04-30", "2028-06-30"]),
        ("2028-02-29", "year", 1, ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
        ("2026-10-24", "week", 2, ["2026-11-07", "2026-11-21"]),
        ("2026-12-31", "day", 1, ["2027-01-01", "2027-01-02"]),
    ],
)
def test_the_ends_of_months(begins: str, interval: str, count: int, ends: list[str]) -> None:
    """Periods end on the day on which they began, or on the last one of a shorter month, which moves nothing that follows."""
    anchor = int(datetime.fromisoformat(f"{begins}T09:00:00+00:00").timestamp())
    found = [boundary(anchor, interval, count * number) for number in range(1, len(ends) + 1)]
    assert [datetime.fromtimestamp(moment, UTC).isoformat() for moment in found] == [f"{end}T09:00:00+00:00" for end in ends]


def test_renewals_on_the_last_day(ask: Asking) -> None:
    """A subscription that began on the 31st renews on the last days of months."""
    ask = Asking(StripeSandbox(start=datetime(2026, 1, 31, 9, tzinfo=UTC)))
    subscription = subscribe(ask)
    days = [ending(ask, subscription)]
    for _ in range(2):
        ask.sandbox.clock.advance_to(datetime.fromisoformat(f"{days[-1]}T11:00:00+00:00"))
        days.append(ending(ask, subscription))
    assert days == ["2026-02-28", "2026-03-31", "2026-04-30"]
    assert [invoice["status"] for invoice in invoices(ask, subscription)] == ["paid"] * 3


def test_a_renewal_that_fails(ask: Asking) -> None:
    """A renewal that is declined makes the subscription past due; it is tried again three times, and then the subscription ends."""
    buyer = customer(ask)
    subscription = subscribe(ask, customer=buyer)
    bad = ask.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=buyer)["id"]
    ask.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=bad)
    ask.sandbox.clock.advance(days=30, hours=1)
    assert (read(ask, subscription)["status"], ask.get(f"/v1/customers/{buyer}")["delinquent"]) == ("past_due", True)
    attempts = []
    for days in (3, 5, 7):
        latest = invoices(ask, subscription)[0]
        attempts.append((latest["attempt_count"], latest["next_payment_attempt"] - int(ask.sandbox.clock.now.timestamp())))
        ask.sandbox.clock.advance(days=days)
    assert attempts == [(1, 3 * 86400), (2, 5 * 86400), (3, 7 * 86400)]
    ended = read(ask, subscription)
    assert (ended["status"], ended["cancellation_details"]["reason"]) == ("canceled", "payment_failed")
    latest = invoices(ask, subscription)[0]
    assert (latest["status"], latest["next_payment_attempt"], latest["auto_advance"]) == ("open", None, False)


def test_a_renewal_that_is_paid_later(ask: Asking) -> None:
    """With another card, the next attempt pays a renewal that failed, and the subscription is active again."""
    buyer = customer(ask)
    subscription = subscribe(ask, customer=buyer)
    bad = ask.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=buyer)["id"]
    ask.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=bad)
    ask.sandbox.clock.advance(days=30, hours=1)
    ask.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method="")
    ask.sandbox.clock.advance(days=3)
    assert (read(ask, subscription)["status"], ask.get(f"/v1/customers/{buyer}")["delinquent"]) == ("active", False)
    latest = invoices(ask, subscription)[0]
    assert (latest["status"], latest["attempt_count"]) == ("paid", 2)


def test_a_renewal_that_needs_the_customer(ask: Asking) -> None:
    """A card that needs the customer each time fails when nobody is there, and the invoice says what is missing."""
    subscription = subscribe(ask, customer=customer(ask, "pm_card_authenticationRequired"))
    ask.sandbox.complete_action(intent_of(ask, subscription)["id"])
    ask.sandbox.clock.advance(days=30)
    seen = seen_by(ask)
    ask.sandbox.clock.advance(hours=1)
    assert read(ask, subscription)["status"] == "past_due"
    types = since(ask, seen)
    assert types.index("invoice.payment_action_required") < types.index("invoice.payment_failed")


def test_invoices_that_are_sent(ask: Asking) -> None:
    """An invoice that is sent is a draft for an hour, then open until it is due; after that the subscription is past due until it is paid."""
    subscription = subscribe(ask, collection_method="send_invoice", days_until_due=7)
    assert (subscription["status"], invoices(ask, subscription)[0]["status"]) == ("active", "draft")
    ask.sandbox.clock.advance(hours=1)
    sent = invoices(ask, subscription)[0]
    assert (sent["status"], sent["due_date"] - sent["status_transitions"]["finalized_at"]) == ("open", 7 * 86400)
    assert ask.events()[-1] == "invoice.sent"
    ask.sandbox.clock.advance(days=7)
    assert read(ask, subscription)["status"] == "past_due"
    ask.post(f"/v1/invoices/{sent['id']}/pay")
    assert read(ask, subscription)["status"] == "active"


def test_a_card_that_is_gone(ask: Asking) -> None:
    """A renewal without any card makes the subscription past due; with one, whoever confirms the payment makes it active."""
    buyer = customer(ask)
    subscription = subscribe(ask, customer=buyer)
    method = ask.get(f"/v1/customers/{buyer}")["invoice_settings"]["default_payment_method"]
    ask.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=method)
    ask.post(f"/v1/payment_methods/{method}/detach")
    ask.sandbox.clock.advance(days=30, hours=1)
    assert read(ask, subscription)["status"] == "past_due"
    invoice = invoices(ask, subscription)[0]
    assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
    assert ask.refused("POST", f"/v1/invoices/{invoice['id']}/pay")[1]["code"] == "resource_missing"
    path = f"/v1/payment_intents/{intent_of(ask, subscription)['id']}/confirm"
    assert ask.refused("POST", path, payment_method="pm_card_visa_chargeDeclined")[0] == 402
    # What customers try counts for nothing in the schedule.
    again = invoices(ask, subscription)[0]
    assert (again["attempt_count"], again["next_payment_attempt"]) == (1, invoice["next_payment_attempt"])
    ask.post(path, payment_method="pm_card_visa")
    assert read(ask, subscription)["status"] == "active"


def test_a_newer_invoice_counts(ask: Asking) -> None:
    """A subscription that is past due is active again when its latest invoice is paid, and not for an older one."""
    buyer = customer(ask)
    product = ask.post("/v1/products", name="Paper")["id"]
    weekly = {"currency": "usd", "unit_amount": 300, "product": product, "recurring": {"interval": "week"}}
    subscription = subscribe(ask, customer=buyer, items=[{"price_data": weekly, "quantity": 2}])
    bad = ask.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=buyer)["id"]
    ask.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=bad)
    ask.sandbox.clock.advance(days=14)
    newer, older, _ = invoices(ask, subscription)
    assert (newer["status"], older["status"]) == ("draft", "open")
    ask.post(f"/v1/invoices/{older['id']}/pay", payment_method="pm_card_visa")
    assert read(ask, subscription)["status"] == "past_due"
    ask.post(f"/v1/invoices/{newer['id']}/pay", payment_method="pm_card_visa")
    assert read(ask, subscription)["status"] == "active"


def test_prices_made_on_the_way(ask: Asking) -> None:
    """An item can describe its price; it needs a product, and cannot name another price as well. One that is not active is refused."""
    buyer, price = customer(ask), monthly(ask)
    data = {"currency": "usd", "unit_amount": 300, "recurring": {"interval": "week"}}
    product = ask.get(f"/v1/prices/{price}")["product"]
    for item, param in (
        ({"price_data": data}, "items[0][price_data][product]"),
        ({"price": price, "price_data": {**data, "product": product}}, "items[0][price_data]"),
    ):
        assert ask.refused("POST", "/v1/subscriptions", customer=buyer, items=[item])[1]["param"] == param
    ask.post(f"/v1/prices/{price}", active=False)
    assert ask.refused("POST", "/v1/subscriptions", customer=buyer, items=[{"price": price}])[1]["code"] == "price_inactive"
