"""Checkout sessions and the billing portal, with the pages on which customers act."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import SHOES, URLS, checkout, customer, look, monthly, press, subscribe

DECLINED, ASKS, FAILS_LATER = "4000000000000002", "4000002760003184", "4000000000000341"


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def again(ask: Asking, session: Any, **params: Any) -> Any:
    return ask.get(f"/v1/checkout/sessions/{session['id']}", **params)


# Checkout.


def test_a_payment(ask: Asking) -> None:
    """A customer who pays is sent to the success URL with the session's id, and the session has its payment."""
    session = checkout(ask, client_reference_id="cart-1", payment_intent_data={"metadata": {"order": "42"}})
    assert (session["status"], session["payment_status"], session["payment_intent"]) == ("open", "unpaid", None)
    assert "2 of Shoes: 18.00 USD" in look(ask.sandbox, session["url"]).text
    back = press(ask.sandbox, session["url"], "pay")
    assert (back.status_code, back.headers["location"]) == (302, f"https://shop.test/done?session={session['id']}")
    done = again(ask, session, expand=["payment_intent", "line_items"])
    assert (done["status"], done["payment_status"], done["url"]) == ("complete", "paid", None)
    assert (done["payment_intent"]["amount"], done["payment_intent"]["metadata"]) == (1800, {"order": "42"})
    assert done["customer_details"]["email"] == "jenny@example.com"
    assert done["line_items"]["data"][0]["amount_total"] == 1800
    assert ask.events()[-2:] == ["checkout.session.completed", "charge.updated"]
    told = ask.get("/v1/events", type="checkout.session.completed")["data"][0]
    assert (told["data"]["object"]["client_reference_id"], told["request"]["id"]) == ("cart-1", None)


def test_a_session_is_completed_once(ask: Asking) -> None:
    """Whoever presses the button again pays nothing more."""
    session = checkout(ask)
    press(ask.sandbox, session["url"], "pay")
    assert press(ask.sandbox, session["url"], "pay").status_code == 200
    assert len(ask.get("/v1/charges")["data"]) == 1
    assert "done" in look(ask.sandbox, session["url"]).text


def test_a_declined_card(ask: Asking) -> None:
    """A card that is declined leaves the session open, and another one pays the same payment."""
    session = checkout(ask)
    assert "declined" in press(ask.sandbox, session["url"], "pay", card=DECLINED).text
    assert again(ask, session)["status"] == "open"
    assert "wrong" in press(ask.sandbox, session["url"], "pay", card="4242424242424241").text
    assert press(ask.sandbox, session["url"], "pay").status_code == 302
    assert [charge["status"] for charge in ask.get("/v1/charges")["data"]] == ["succeeded", "failed"]
    assert len(ask.get("/v1/payment_intents")["data"]) == 1


@pytest.mark.parametrize("mode", ["payment", "setup", "subscription"])
def test_the_bank_asks(ask: Asking, mode: str) -> None:
    """In every mode the bank may ask: a customer who fails can try again, one who passes is done."""
    session = checkout(ask, mode)
    for answer in ("fail", "complete"):
        assert "Your bank asks" in press(ask.sandbox, session["url"], "pay", card=ASKS).text
        assert "Your bank asks" in look(ask.sandbox, session["url"]).text
        assert press(ask.sandbox, session["url"], "pay").status_code == 400
        answered = press(ask.sandbox, session["url"], answer)
        assert answered.status_code == {"fail": 200, "complete": 302}[answer]
    assert again(ask, session)["status"] == "complete"


def test_a_subscription(ask: Asking) -> None:
    """A customer who subscribes is new, has the card as the subscription's, and a trial if the session gives one."""
    data = {"metadata": {"order": "42"}, "trial_period_days": 7}
    session = checkout(ask, "subscription", subscription_data=data)
    assert session["customer"] is None
    press(ask.sandbox, session["url"], "pay")
    done = again(ask, session, expand=["subscription", "invoice", "customer"])
    assert (done["subscription"]["status"], done["subscription"]["metadata"]) == ("trialing", {"order": "42"})
    assert done["customer"]["email"] == "jenny@example.com"
    assert (done["invoice"]["status"], done["payment_status"]) == ("paid", "paid")
    method = done["subscription"]["default_payment_method"]
    assert ask.get(f"/v1/payment_methods/{method}")["customer"] == done["customer"]["id"]


def test_a_subscription_that_is_declined(ask: Asking) -> None:
    """A card that is declined begins no subscription and makes no customer."""
    session = checkout(ask, "subscription")
    for card in (DECLINED, FAILS_LATER):
        assert "declined" in press(ask.sandbox, session["url"], "pay", card=card).text
    assert ask.get("/v1/subscriptions", status="all")["data"] == []
    assert ask.get("/v1/customers")["data"] == []
    press(ask.sandbox, session["url"], "pay")
    assert ask.get("/v1/subscriptions")["data"][0]["status"] == "active"


def test_a_card_for_later(ask: Asking) -> None:
    """In setup mode the customer's card is kept, and nothing is paid."""
    buyer = customer(ask)
    session = checkout(ask, "setup", customer=buyer)
    press(ask.sandbox, session["url"], "pay")
    done = again(ask, session, expand=["setup_intent.payment_method"])
    assert (done["payment_status"], done["setup_intent"]["status"]) == ("no_payment_required", "succeeded")
    assert done["setup_intent"]["payment_method"]["customer"] == buyer
    assert ask.get("/v1/charges")["data"] == []


def test_going_back(ask: Asking) -> None:
    """The way back leads to the cancel URL and leaves the session open; a button that there is not does nothing."""
    session = checkout(ask)
    back = press(ask.sandbox, session["url"], "cancel")
    assert (back.status_code, back.headers["location"]) == (302, URLS["cancel_url"])
    assert press(ask.sandbox, session["url"], "complete").status_code == 400
    assert again(ask, session)["status"] == "open"
    assert press(ask.sandbox, "https://connect.stripe.com/c/pay/cs_none", "pay").status_code == 404


def test_sessions_expire(ask: Asking) -> None:
    """A session ends after a day, or sooner if that was said, or at once; its page then takes nothing more."""
    day, soon, now = checkout(ask), checkout(ask, expires_at=int(ask.sandbox.clock.now.timestamp()) + 1800), checkout(ask)
    ended = ask.post(f"/v1/checkout/sessions/{now['id']}/expire")
    assert (ended["status"], ended["url"], ask.events()[-1]) == ("expired", None, "checkout.session.expired")
    assert ask.refused("POST", f"/v1/checkout/sessions/{now['id']}/expire")[0] == 400
    ask.sandbox.clock.advance(minutes=30)
    assert [again(ask, session)["status"] for session in (day, soon)] == ["open", "expired"]
    assert press(ask.sandbox, soon["url"], "pay").status_code == 410
    ask.sandbox.clock.advance(days=1)
    assert [row["status"] for row in ask.get("/v1/checkout/sessions")["data"]] == ["expired"] * 3


def test_lists_of_sessions(ask: Asking) -> None:
    """Sessions are listed by status and by what they led to."""
    done, other = checkout(ask), checkout(ask)
    press(ask.sandbox, done["url"], "pay")
    payment = again(ask, done)["payment_intent"]
    for wanted, found in (({"payment_intent": payment}, [done]), ({"status": "open"}, [other]), ({}, [other, done])):
        assert [row["id"] for row in ask.get("/v1/checkout/sessions", **wanted)["data"]] == [row["id"] for row in found]


def test_nothing_from_outside_runs_on_the_page(ask: Asking) -> None:
    """Names of products and customers are shown as text, and the page allows no scripts."""
    shoes = {**SHOES, "price_data": {**SHOES["price_data"], "product_data": {"name": "<script>x</script>"}}}
    shown = look(ask.sandbox, checkout(ask, line_items=[shoes], customer_email='"><b>')["url"])
    assert "<script>" not in shown.text
    assert "<b>" not in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")


def test_over_http(ask: Asking) -> None:
    """Served, the session's page is at the server's own address, for a browser."""
    with ask.sandbox.serve() as server, httpx.Client() as browser:
        key = {"Authorization": "Bearer sk_test_any"}
        form = {"mode": "setup", "currency": "usd", "success_url": "http://localhost/done"}
        session = browser.post(f"{server.url}/v1/checkout/sessions", data=form, headers=key).json()
        assert session["url"] == f"{server.url}/c/pay/{session['id']}"
        done = browser.post(session["url"], data={"action": "pay", "card": "4242424242424242"})
        assert (done.status_code, done.headers["location"]) == (302, "http://localhost/done")


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"mode": None}, 400, "mode"),
        ({"success_url": None}, 400, "success_url"),
        ({"success_url": "http://shop.test/"}, 400, "success_url"),
        ({"line_items": None}, 400, "line_items"),
        ({"mode": "setup"}, 400, "line_items"),
        ({"mode": "subscription"}, 400, "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, 400, "line_items[0][price]"),
        ({"line_items": [{"price_data": SHOES["price_data"]}]}, 400, "line_items[0][quantity]"),
        ({"customer": "cus_none"}, 400, "customer"),
        ({"customer": "cus_none", "customer_email": "a@example.com"}, 400, "customer"),
        ({"expires_at": 5}, 400, "expires_at"),
        ({"subscription_data": {"description": "x"}}, 400, "subscription_data"),
        ({"payment_method_types": ["card"]}, 400, "payment_method_types"),
        ({"ui_mode": "embedded_page"}, 501, "ui_mode"),
        ({"allow_promotion_codes": True}, 501, "allow_promotion_codes"),
    ],
)
def test_sessions_that_are_refused(ask: Asking, params: dict[str, Any], status: int, param: str) -> None:
    """What makes no session is refused as Stripe does, and what only the sandbox does not do, by name."""
    sent = {**URLS, "mode": "payment", "line_items": [SHOES], "currency": "usd", **params}
    found, error = ask.refused("POST", "/v1/checkout/sessions", **{name: value for name, value in sent.items() if value})
    assert (found, error["param"]) == (status, param)


def test_prices_for_a_mode(ask: Asking) -> None:
    """A payment takes no recurring price; a subscription with a price that is paid once is refused by name."""
    price = monthly(ask)
    both = [{"price": price, "quantity": 1}, SHOES]
    assert ask.refused("POST", "/v1/checkout/sessions", mode="payment", line_items=both, **URLS)[0] == 400
    assert ask.refused("POST", "/v1/checkout/sessions", mode="subscription", line_items=both, **URLS)[0] == 501


def test_an_answer_that_never_comes(ask: Asking) -> None:
    """A subscription that waits for the bank for 23 hours expires; the session, which has a day, begins another one."""
    session = checkout(ask, "subscription")
    press(ask.sandbox, session["url"], "pay", card=ASKS)
    ask.sandbox.clock.advance(hours=23, minutes=30)
    assert [row["status"] for row in ask.get("/v1/subscriptions", status="all")["data"]] == ["incomplete_expired"]
    assert press(ask.sandbox, session["url"], "complete").status_code == 200
    press(ask.sandbox, session["url"], "pay")
    assert [row["status"] for row in ask.get("/v1/subscriptions", status="all")["data"]] == ["active", "incomplete_expired"]
    other = checkout(ask, "subscription")
    press(ask.sandbox, other["url"], "pay", card=ASKS)
    ask.post(f"/v1/checkout/sessions/{other['id']}/expire")
    assert ask.get("/v1/subscriptions", status="all")["data"][0]["status"] == "incomplete_expired"


# The portal.


def test_the_portal(ask: Asking) -> None:
    """In the portal a customer cancels a subscription, goes on after all, sees the invoices, and changes the card."""
    subscription = subscribe(ask)
    path = f"/v1/subscriptions/{subscription['id']}"
    session = ask.post("/v1/billing_portal/sessions", customer=subscription["customer"], return_url="https://shop.test/")
    page = look(ask.sandbox, session["url"]).text
    assert ask.get(f"/v1/invoices/{subscription['latest_invoice']}")["hosted_invoice_url"] in page
    assert 'href="https://shop.test/"' in page
    press(ask.sandbox, session["url"], "cancel", subscription=subscription["id"])
    assert ask.get(path)["cancel_at_period_end"] is True
    assert ask.events()[-1] == "customer.subscription.updated"
    press(ask.sandbox, session["url"], "resume", subscription=subscription["id"])
    assert ask.get(path)["cancel_at_period_end"] is False
    before = ask.get(f"/v1/customers/{subscription['customer']}")["invoice_settings"]["default_payment_method"]
    assert "declined" in press(ask.sandbox, session["url"], "card", card=DECLINED).text
    press(ask.sandbox, session["url"], "card", card="5555555555554444")
    after = ask.get(f"/v1/customers/{subscription['customer']}", expand=["invoice_settings.default_payment_method"])
    method = after["invoice_settings"]["default_payment_method"]
    assert (method["id"] != before, method["card"]["brand"]) == (True, "mastercard")


def test_the_portal_changes_the_card_of_a_subscription(ask: Asking) -> None:
    """A subscription that is paid with a card of its own is paid with the new one."""
    session = checkout(ask, "subscription")
    press(ask.sandbox, session["url"], "pay")
    subscription = again(ask, session, expand=["subscription"])["subscription"]
    portal = ask.post("/v1/billing_portal/sessions", customer=subscription["customer"])
    press(ask.sandbox, portal["url"], "card", card="5555555555554444")
    after = ask.get(f"/v1/subscriptions/{subscription['id']}", expand=["default_payment_method"])
    assert after["default_payment_method"]["card"]["brand"] == "mastercard"


def test_the_portal_is_one_customers(ask: Asking) -> None:
    """In the portal nobody touches another customer's subscription, and a link is for now."""
    mine, other = subscribe(ask), subscribe(ask)
    session = ask.post("/v1/billing_portal/sessions", customer=mine["customer"])
    page = press(ask.sandbox, session["url"], "cancel", subscription=other["id"]).text
    assert "no such subscription" in page
    assert other["id"] not in look(ask.sandbox, session["url"]).text
    assert ask.get(f"/v1/subscriptions/{other['id']}")["cancel_at_period_end"] is False
    assert press(ask.sandbox, session["url"], "dance").status_code == 400
    ask.sandbox.clock.advance(minutes=5)
    assert look(ask.sandbox, session["url"]).status_code == 404
    assert press(ask.sandbox, session["url"], "cancel").status_code == 404


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({}, 400, "customer"),
        ({"customer": "cus_none"}, 400, "customer"),
        ({"customer": "cus_none", "flow_data": {"type": "payment_method_update"}}, 501, "flow_data"),
    ],
)
def test_portals_that_are_refused(ask: Asking, params: dict[str, Any], status: int, param: str) -> None:
    """A portal needs a customer; what only the sandbox does not do is refused by name."""
    found, error = ask.refused("POST", "/v1/billing_portal/sessions", **params)
    assert (found, error["param"]) == (status, param)
