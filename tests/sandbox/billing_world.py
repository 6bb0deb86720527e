"""Products, subscriptions, invoices and sessions in as many states as there are, to compare with Stripe's descriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from atom_stripe.testing import StripeSandbox
    from tests.sandbox.asking import Asking


def subscribe(ask: Asking, **params: Any) -> Any:
    """Return a new subscription of a new customer, to a new product for 20 dollars a month."""
    return ask.post("/v1/subscriptions", **{"customer": customer(ask), "items": [{"price": monthly(ask)}], **params})


def customer(ask: Asking, card: str = "pm_card_visa") -> str:
    """Return the id of a new customer who pays with a card."""
    made = ask.post(
        "/v1/customers", email="jenny@example.com", payment_method=card, invoice_settings={"default_payment_method": card}
    )
    identity: str = made["id"]
    return identity


def monthly(ask: Asking, amount: int = 2000, **recurring: Any) -> str:
    """Return the id of a price, of a new product."""
    made = ask.post(
        "/v1/prices",
        product_data={"name": "Gold"},
        currency="usd",
        unit_amount=amount,
        recurring={"interval": "month", **recurring},
    )
    identity: str = made["id"]
    return identity


SHOES: dict[str, Any] = {"price_data": {"currency": "usd", "product_data": {"name": "Shoes"}, "unit_amount": 900}, "quantity": 2}
URLS: dict[str, Any] = {
    "success_url": "https://shop.test/done?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.test/cart",
}


def checkout(ask: Asking, mode: str = "payment", **params: Any) -> Any:
    """Return a new checkout session, for two pairs of shoes unless *params* say otherwise."""
    sold: dict[str, Any] = {"payment": {"line_items": [SHOES]}, "setup": {"currency": "usd"}}.get(mode, {})
    if mode == "subscription" and "line_items" not in params:
        sold = {"line_items": [{"price": monthly(ask), "quantity": 1}]}
    return ask.post("/v1/checkout/sessions", **{**URLS, "mode": mode, **sold, **params})


def press(sandbox: StripeSandbox, url: str, action: str, **form: str) -> httpx.Response:
    """Press a button on one of the sandbox's pages."""
    with httpx.Client(transport=sandbox.transport()) as browser:
        return browser.post(url, data={"action": action, "email": "jenny@example.com", "card": "4242424242424242", **form})


def look(sandbox: StripeSandbox, url: str) -> httpx.Response:
    """Open one of the sandbox's pages."""
    with httpx.Client(transport=sandbox.transport()) as browser:
        return browser.get(url)


def session_world(sandbox: StripeSandbox, ask: Asking) -> list[Any]:
    """Return the objects of checkout, of the billing portal, and of what is set up for later."""
    buyer = customer(ask)
    sessions = [checkout(ask, mode) for mode in ("payment", "setup", "subscription")]
    known = checkout(ask, customer=buyer, metadata={"order": "42"}, payment_intent_data={"description": "Shoes"})
    for session in (*sessions, known):
        assert press(sandbox, session["url"], "pay").status_code == 302
    open_session = checkout(ask, "setup", customer_email="tom@example.com")
    ask.post(f"/v1/checkout/sessions/{checkout(ask)['id']}/expire")
    kept = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}, "confirm": True}
    cards = ("pm_card_visa", "pm_card_authenticationRequired")
    setups = [ask.post("/v1/setup_intents", payment_method=card, customer=buyer, **kept) for card in cards]
    waiting = ask.post("/v1/setup_intents", payment_method=cards[1], confirm=True, return_url="https://shop.test/")
    sandbox.complete_action(waiting["id"], "failed")
    ask.refused("POST", "/v1/setup_intents", payment_method="pm_card_visa_chargeDeclined", **kept)
    ask.post(f"/v1/setup_intents/{ask.post('/v1/setup_intents')['id']}/cancel", cancellation_reason="abandoned")
    items = ask.get(f"/v1/checkout/sessions/{known['id']}/line_items")["data"]
    portal = ask.post("/v1/billing_portal/sessions", customer=buyer, return_url="https://shop.test/")
    listed = [*ask.get("/v1/checkout/sessions")["data"], *ask.get("/v1/setup_intents")["data"]]
    return [*listed, *setups, *items, open_session, portal, ask.get(f"/v1/checkout/sessions/{known['id']}", expand=["line_items"])]


def billing_world(sandbox: StripeSandbox, ask: Asking) -> list[Any]:
    """Return the objects of billing."""
    product = ask.post(
        "/v1/products",
        name="Gold",
        marketing_features=[{"name": "Everything"}],
        images=["https://shop.test/gold.png"],
        default_price_data={"currency": "usd", "unit_amount": 900},
    )
    ask.post(f"/v1/products/{product['id']}", description="All of it", shippable=False, url="https://shop.test/")
    unused = ask.post("/v1/products", name="Lead")
    gone = ask.delete(f"/v1/products/{unused['id']}")
    active = subscribe(ask, metadata={"order": "42"}, description="Gold")
    ask.post(f"/v1/subscriptions/{active['id']}", cancel_at_period_end=True, cancellation_details={"feedback": "unused"})
    ask.post(f"/v1/subscriptions/{active['id']}", cancel_at_period_end=False)
    asked = customer(ask, "pm_card_authenticationRequired")
    waiting = subscribe(ask, customer=asked)
    sent = subscribe(ask, collection_method="send_invoice", days_until_due=7)
    subscribe(ask, trial_period_days=10)
    subscribe(ask, payment_behavior="default_incomplete", payment_settings={"save_default_payment_method": "on_subscription"})
    failing = subscribe(ask, customer=customer(ask, "pm_card_chargeCustomerFail"), trial_period_days=1)
    sessions = session_world(sandbox, ask)
    sandbox.clock.advance(days=32)
    void = ask.get("/v1/invoices", subscription=sent["id"])["data"][0]
    ask.post(f"/v1/invoices/{void['id']}/mark_uncollectible")
    ask.post(f"/v1/invoices/{void['id']}/void")
    lists = ("products", "prices", "invoices", "invoice_payments")
    objects = [entry for name in lists for entry in ask.get(f"/v1/{name}", limit=100)["data"]]
    subscriptions = ask.get("/v1/subscriptions", status="all", limit=100)["data"]
    items = [item for subscription in subscriptions for item in subscription["items"]["data"]]
    lines = [line for invoice in objects if invoice["object"] == "invoice" for line in invoice["lines"]["data"]]
    assert {row["id"] for row in subscriptions} >= {waiting["id"], failing["id"]}
    paid = ask.get(f"/v1/invoices/{active['latest_invoice']}", expand=["payments", "confirmation_secret"])
    return [*sessions, *objects, *subscriptions, *items, *(item["plan"] for item in items), *lines, gone, paid]


def read(ask: Asking, subscription: Any, **params: Any) -> Any:
    """Return a subscription as it is now."""
    return ask.get(f"/v1/subscriptions/{subscription['id']}", **params)


def invoices(ask: Asking, subscription: Any) -> Any:
    """Return the invoices of a subscription, newest first."""
    return ask.get("/v1/invoices", subscription=subscription["id"])["data"]


def intent_of(ask: Asking, subscription: Any) -> Any:
    """Return the payment intent of the latest invoice."""
    invoice = ask.get(f"/v1/invoices/{read(ask, subscription)['latest_invoice']}", expand=["payments.data.payment.payment_intent"])
    return invoice["payments"]["data"][0]["payment"]["payment_intent"]


def ending(ask: Asking, subscription: Any) -> str:
    """Return the day on which the current period ends."""
    end = read(ask, subscription)["items"]["data"][0]["current_period_end"]
    return datetime.fromtimestamp(end, UTC).date().isoformat()


def happened(ask: Asking) -> list[Any]:
    """Return the events that are kept, in order."""
    return list(reversed(ask.get("/v1/events", limit=100)["data"]))


def seen_by(ask: Asking) -> set[str]:
    """Return the ids of what has happened, for ``since()``."""
    return {event["id"] for event in happened(ask)}


def since(ask: Asking, seen: set[str]) -> list[str]:
    """Return the types of what happened since then: events are kept for 30 days only."""
    return [event["type"] for event in happened(ask) if event["id"] not in seen]
