"""Subscriptions: how they change, how they end, and how they are found."""

from __future__ import annotations

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import customer, invoices, monthly, read, subscribe


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_changing_items(ask: Asking) -> None:
    """Without a proration, items are changed, added and taken away, and the next invoice is for what is then there."""
    subscription = subscribe(ask)
    item = subscription["items"]["data"][0]["id"]
    path = f"/v1/subscriptions/{subscription['id']}"
    status, error = ask.refused("POST", path, items=[{"id": item, "quantity": 3}])
    assert (status, error["code"]) == (501, "sandbox_unsupported")
    other = monthly(ask, 500)
    changed = ask.post(path, items=[{"id": item, "quantity": 3}, {"price": other}], proration_behavior="none")
    assert [entry["quantity"] for entry in changed["items"]["data"]] == [3, 1]
    assert ask.events()[-1] == "customer.subscription.updated"
    ask.sandbox.clock.advance(days=30, hours=1)
    assert invoices(ask, subscription)[0]["total"] == 6500
    assert ask.refused("POST", path, items=[{"id": "si_none", "quantity": 3}])[1]["param"] == "items[0][id]"
    yearly = [{"id": item, "price": monthly(ask, interval="year")}]
    assert ask.refused("POST", path, items=yearly, proration_behavior="none")[0] == 501
    everything = [{"id": entry["id"], "deleted": True} for entry in changed["items"]["data"]]
    assert ask.refused("POST", path, items=everything, proration_behavior="none")[0] == 400
    dearer = ask.post(path, items=[{"id": item, "price": monthly(ask, 2500)}], proration_behavior="none")
    assert dearer["items"]["data"][0]["price"]["unit_amount"] == 2500
    left = ask.post(path, items=[{"id": item, "deleted": True}], proration_behavior="none")
    assert [entry["price"]["id"] for entry in left["items"]["data"]] == [other]


def test_an_end_with_the_period(ask: Asking) -> None:
    """A subscription that is to end with its period does so then, without another invoice; the wish can be taken back."""
    subscription, other = subscribe(ask), subscribe(ask)
    for entry in (subscription, other):
        wished = ask.post(f"/v1/subscriptions/{entry['id']}", cancel_at_period_end=True)
        assert wished["cancel_at"] == wished["items"]["data"][0]["current_period_end"]
        assert (wished["status"], wished["cancellation_details"]["reason"]) == ("active", "cancellation_requested")
    back = ask.post(f"/v1/subscriptions/{other['id']}", cancel_at_period_end=False)
    assert (back["cancel_at"], back["canceled_at"]) == (None, None)
    ask.sandbox.clock.advance(days=31)
    assert (read(ask, subscription)["status"], len(invoices(ask, subscription))) == ("canceled", 1)
    assert (read(ask, other)["status"], len(invoices(ask, other))) == ("active", 2)
    assert "customer.subscription.deleted" in ask.events()


def test_an_end_from_the_beginning(ask: Asking) -> None:
    """A subscription that is to end with its first period is told of like that."""
    subscription = subscribe(ask, cancel_at_period_end=True)
    assert subscription["cancel_at"] == subscription["items"]["data"][0]["current_period_end"]
    assert ask.get("/v1/events", type="customer.subscription.created")["data"][0]["data"]["object"] == subscription
    ask.sandbox.clock.advance(days=30)
    assert read(ask, subscription)["status"] == "canceled"


def test_items_show_their_price(ask: Asking) -> None:
    """An item has its price in full, as it is now, also when its lookup key has moved to another price."""
    subscription = subscribe(ask)
    price = subscription["items"]["data"][0]["price"]["id"]
    ask.post(f"/v1/prices/{price}", nickname="old", lookup_key="gold")
    shown = read(ask, subscription)["items"]["data"][0]
    assert (shown["price"]["nickname"], shown["plan"]["nickname"], shown["price"]["lookup_key"]) == ("old", "old", "gold")
    ask.post(f"/v1/prices/{monthly(ask)}", lookup_key="gold", transfer_lookup_key=True)
    assert read(ask, subscription)["items"]["data"][0]["price"] == ask.get(f"/v1/prices/{price}")


def test_an_end_now(ask: Asking) -> None:
    """A subscription that is canceled is over at once: it can be read, and neither changed nor canceled again."""
    subscription = subscribe(ask)
    path = f"/v1/subscriptions/{subscription['id']}"
    ended = ask.delete(path)
    assert (ended["status"], ended["ended_at"]) == ("canceled", ended["canceled_at"])
    assert ask.events()[-1] == "customer.subscription.deleted"
    assert ask.get(path)["status"] == "canceled"
    assert ask.refused("DELETE", path)[0] == 404
    assert ask.refused("POST", path, metadata={"a": "b"})[1]["code"] == "resource_missing"
    assert ask.refused("DELETE", f"/v1/subscriptions/{subscribe(ask)['id']}", prorate=True)[0] == 501


def test_an_end_before_the_first_payment(ask: Asking) -> None:
    """A subscription that is canceled while it is incomplete has expired, and its invoice is void."""
    subscription = subscribe(ask, payment_behavior="default_incomplete")
    ended = ask.delete(f"/v1/subscriptions/{subscription['id']}")
    assert (ended["status"], invoices(ask, subscription)[0]["status"]) == ("incomplete_expired", "void")


def test_an_end_with_a_draft(ask: Asking) -> None:
    """The draft of a subscription that is canceled is not collected any more."""
    subscription = subscribe(ask)
    ask.sandbox.clock.advance(days=30)
    ask.delete(f"/v1/subscriptions/{subscription['id']}")
    ask.sandbox.clock.advance(days=2)
    latest = invoices(ask, subscription)[0]
    assert (latest["status"], latest["auto_advance"], len(ask.get("/v1/charges")["data"])) == ("draft", False, 1)


def test_a_customer_who_goes(ask: Asking) -> None:
    """With a customer, the subscriptions end."""
    subscription = subscribe(ask)
    ask.delete(f"/v1/customers/{subscription['customer']}")
    assert read(ask, subscription)["status"] == "canceled"
    ask.sandbox.clock.advance(days=40)
    assert len(invoices(ask, subscription)) == 1


def test_lists_of_subscriptions(ask: Asking) -> None:
    """Subscriptions that have ended are only listed when they are asked for; the others by customer, price and status."""
    active, trial, gone = subscribe(ask), subscribe(ask, trial_period_days=5), subscribe(ask)
    ask.delete(f"/v1/subscriptions/{gone['id']}")
    price = active["items"]["data"][0]["price"]["id"]
    for wanted, found in (
        ({}, [trial, active]),
        ({"status": "all"}, [gone, trial, active]),
        ({"status": "trialing"}, [trial]),
        ({"status": "ended"}, [gone]),
        ({"status": "canceled"}, [gone]),
        ({"customer": active["customer"]}, [active]),
        ({"price": price}, [active]),
    ):
        assert [row["id"] for row in ask.get("/v1/subscriptions", **wanted)["data"]] == [row["id"] for row in found]


def test_a_balance_pays(ask: Asking) -> None:
    """What a customer has in credit pays first, and what is too little for a charge is owed."""
    buyer = customer(ask)
    ask.post(f"/v1/customers/{buyer}", balance=-1990)
    subscription = subscribe(ask, customer=buyer)
    invoice = invoices(ask, subscription)[0]
    assert (subscription["status"], invoice["starting_balance"], invoice["amount_due"]) == ("active", -1990, 0)
    assert (invoice["ending_balance"], ask.get(f"/v1/customers/{buyer}")["balance"]) == (10, 10)
    ask.sandbox.clock.advance(days=30, hours=1)
    latest = invoices(ask, subscription)[0]
    assert (latest["amount_due"], latest["amount_paid"], latest["ending_balance"]) == (2010, 2010, 0)
