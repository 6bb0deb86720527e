"""The storefront of the examples: a visitor pays, subscribes and leaves, the staff looks on, in a plain browser and in Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe.errors import ConfigurationError
from tests.browser.market import EXAMPLES, PATIENCE
from tests.browser.serving import fastapi_serving
from tests.browsers import PlainBrowser
from tests.canary import API_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from atom_stripe.testing import StripeSandbox
    from tests.browsers import Browser

    OpenBrowser = Callable[[], Browser]

FACE = "/api/v1/stripe"
MAIL = "jenny@example.com"
# https://docs.stripe.com/testing#declined-payments and #regulatory-cards
DECLINED, ASKING = "4000000000000002", "4000002760003184"
# Far more than a program takes to end.
ENDING = 60


@dataclass(frozen=True, slots=True)
class Shop:
    """A running shop."""

    url: str
    sandbox: StripeSandbox = field(repr=False)
    staff_key: str = field(repr=False)

    def payments(self) -> list[tuple[str, int]]:
        """Return the status and the amount of each payment."""
        return [(payment.status, payment.amount) for payment in self.sandbox.client().payment_intents.list()]

    def sessions(self) -> list[Any]:
        """Return the checkout sessions."""
        return list(self.sandbox.client().checkout.sessions.list())


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Generator[Shop]:
    """The example, running with a Stripe of its own."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example, stripe = import_module("storefront"), import_module("storefront_sandbox")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with stripe.stripe_here(url) as here, fastapi_serving(example.create_app(here.config, url, here.staff_key), listener):
            yield Shop(url, here.sandbox, here.staff_key)


def wait_for(browser: Browser, words: str) -> None:
    """Wait until the page says so: by its own script, or by looking again where scripts do not run."""
    until = time.monotonic() + PATIENCE
    while words not in browser.text():
        assert time.monotonic() < until, browser.text()
        time.sleep(0.05)
        if isinstance(browser, PlainBrowser):
            browser.open(browser.url())


def pay(browser: Browser, card: str | None = None) -> None:
    """Fill in Stripe's page."""
    browser.fill("email", MAIL)
    if card:
        browser.fill("card", card)
    browser.click("pay")


def subscribed(shop: Shop, browser: Browser) -> Any:
    """Subscribe, and return the subscription as Stripe has it."""
    browser.open(shop.url)
    browser.click("buy-coffee")
    pay(browser)
    wait_for(browser, "Coffee every month: active")
    (subscription,) = shop.sandbox.client().subscriptions.list()
    return subscription


def signed_in(shop: Shop, browser: Browser) -> None:
    """Go into the back office."""
    browser.open(f"{shop.url}/staff")
    browser.fill("key", shop.staff_key)
    browser.click("enter")
    assert browser.url() == f"{shop.url}/staff"


def token_of(browser: PlainBrowser) -> dict[str, str]:
    """Return what the first form of a page carries."""
    fields: dict[str, str] = dict(browser._document.elements["buy-mug"]["form"]["fields"])
    return fields


def post(shop: Shop, browser: PlainBrowser, path: str, fields: dict[str, str]) -> httpx.Response:
    """Send a form with the browser's cookies, and stay where it leads."""
    return browser._client.post(f"{shop.url}{path}", data=fields, follow_redirects=False)


# Visitors.


def test_buy(shop: Shop, open_browser: OpenBrowser) -> None:
    """A visitor pays what the shop says on Stripe's page, comes back, and sees the order paid once the webhook has said so."""
    browser = open_browser()
    browser.open(shop.url)
    browser.click("buy-mug")
    assert "1 of A mug" in browser.text()
    pay(browser)
    assert browser.url() == f"{shop.url}/?paid"
    assert "Thank you." in browser.text()
    wait_for(browser, "A mug: paid")
    assert shop.payments() == [("succeeded", 1800)]


def test_cancel(shop: Shop, open_browser: OpenBrowser) -> None:
    """A visitor who goes back from Stripe's page has paid nothing and reads that; buying afterwards works."""
    browser = open_browser()
    browser.open(shop.url)
    browser.click("buy-mug")
    browser.click("cancel")
    assert browser.url() == f"{shop.url}/?canceled"
    assert "nothing was paid" in browser.text()
    assert "A mug: waiting for the payment" in browser.text()
    assert shop.payments() == []
    browser.click("buy-mug")
    pay(browser)
    wait_for(browser, "A mug: paid")
    assert shop.payments() == [("succeeded", 1800)]


def test_a_declined_card(shop: Shop, open_browser: OpenBrowser) -> None:
    """A decline is told on Stripe's page, the order stays unpaid, and another card pays it, once."""
    browser = open_browser()
    browser.open(shop.url)
    browser.click("buy-mug")
    pay(browser, DECLINED)
    assert "The card was declined." in browser.text()
    page = browser.url()
    browser.open(shop.url)
    assert "A mug: waiting for the payment" in browser.text()
    browser.open(page)
    pay(browser)
    wait_for(browser, "A mug: paid")
    assert shop.payments() == [("succeeded", 1800)]


@pytest.mark.parametrize("article", ["mug", "coffee"])
def test_a_bank_that_asks(shop: Shop, open_browser: OpenBrowser, article: str) -> None:
    """Where the bank asks, nothing is paid until it got its answer; a wrong answer leaves the page, a right one pays."""
    browser = open_browser()
    browser.open(shop.url)
    browser.click(f"buy-{article}")
    pay(browser, ASKING)
    browser.click("fail")
    assert "authentication failed" in browser.text()
    pay(browser, ASKING)
    assert "Your bank asks" in browser.text()
    assert [status for status, _ in shop.payments()] == ["requires_action"]
    browser.click("complete")
    assert browser.url() == f"{shop.url}/?paid"
    wait_for(browser, "A mug: paid" if article == "mug" else "Coffee every month: active")
    assert [status for status, _ in shop.payments()] == ["succeeded"]


def test_subscribe_and_leave(shop: Shop, open_browser: OpenBrowser) -> None:
    """A visitor subscribes, cancels on the billing portal's page, and the shop hears both that it will end and that it has."""
    browser = open_browser()
    subscription = subscribed(shop, browser)
    assert [item.price.unit_amount for item in subscription.items] == [1500]
    browser.click("manage")
    assert "1 at 15.00 USD, active, renews" in browser.text()
    cancel(browser, subscription.id)
    assert "active, ends on" in browser.text()
    browser.click("return")
    wait_for(browser, "Coffee every month: canceled, goes on until the end of what is paid")
    shop.sandbox.clock.advance(days=32)
    wait_for(browser, "Coffee every month: ended")


def cancel(browser: Any, subscription: str) -> None:
    """Press the portal's button, which has no id."""
    if isinstance(browser, PlainBrowser):
        browser._go("POST", browser.url(), {"action": "cancel", "subscription": subscription})
        return

    def click() -> None:
        with browser._page.expect_navigation(wait_until="load"):
            browser._page.click("button.cancel")

    browser._do(click)


def test_nothing_to_manage(shop: Shop, open_browser: OpenBrowser) -> None:
    """A visitor without a subscription is told so, also when somebody else has one."""
    subscribed(shop, open_browser())
    browser = open_browser()
    browser.open(shop.url)
    browser.click("manage")
    assert browser.url() == f"{shop.url}/?nothing"
    assert "no subscription of yours" in browser.text()


def test_to_come_back_proves_nothing(shop: Shop, plain_browser: PlainBrowser) -> None:
    """An address that says "paid" marks no order as paid."""
    plain_browser.open(shop.url)
    plain_browser.click("buy-mug")
    plain_browser.open(f"{shop.url}/?paid")
    shop.sandbox.webhooks.wait(PATIENCE)
    assert "A mug: waiting for the payment" in plain_browser.text()


def test_a_forged_webhook(shop: Shop, plain_browser: PlainBrowser) -> None:
    """A delivery that Stripe did not sign is 400 and pays no order."""
    plain_browser.open(shop.url)
    order = token_of(plain_browser)["order"]
    plain_browser.click("buy-mug")
    session = {
        "id": "cs_1",
        "object": "checkout.session",
        "client_reference_id": order,
        "payment_status": "paid",
        "mode": "payment",
    }
    body = {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "data": {"object": session}}
    answer = httpx.post(f"{shop.url}{FACE}/webhooks", json=body, headers={"Stripe-Signature": "t=1,v1=00"}, trust_env=False)
    assert answer.status_code == 400
    plain_browser.open(shop.url)
    assert "A mug: waiting for the payment" in plain_browser.text()


def test_a_session_that_expires(shop: Shop, plain_browser: PlainBrowser) -> None:
    """An order that nobody pays in time says so."""
    plain_browser.open(shop.url)
    plain_browser.click("buy-mug")
    plain_browser.open(shop.url)
    shop.sandbox.clock.advance(days=2)
    wait_for(plain_browser, "A mug: not paid in time")


def test_a_visitor_says_no_price(shop: Shop, plain_browser: PlainBrowser) -> None:
    """Whatever a form says of amounts, customers and pages, the price is the shop's."""
    plain_browser.open(shop.url)
    more = {"amount": "1", "unit_amount": "1", "customer": "cus_1", "success_url": "https://elsewhere.example"}
    assert post(shop, plain_browser, "/buy/mug", {**token_of(plain_browser), **more}).status_code == 303
    (session,) = shop.sessions()
    assert (session.amount_total, session.customer, session.success_url) == (1800, None, f"{shop.url}/?paid")


def test_a_double_click_is_one_order(shop: Shop, plain_browser: PlainBrowser) -> None:
    """The same form sent twice leads to the same page of Stripe's, also after something else was paid in between."""
    plain_browser.open(shop.url)
    fields = token_of(plain_browser)
    first = post(shop, plain_browser, "/buy/mug", fields)
    subscribed(shop, plain_browser)
    again = post(shop, plain_browser, "/buy/mug", fields)
    assert (first.status_code, again.status_code) == (303, 303)
    assert first.headers["location"] == again.headers["location"]
    assert len(shop.sessions()) == 2


@pytest.mark.parametrize("path", ["/buy/mug", "/manage"])
def test_forms_of_other_sites(shop: Shop, plain_browser: PlainBrowser, another_browser: PlainBrowser, path: str) -> None:
    """A form without this session's token, or with another session's, does nothing."""
    plain_browser.open(shop.url)
    another_browser.open(shop.url)
    for fields in ({}, {"token": "ü"}, token_of(another_browser)):
        assert post(shop, plain_browser, path, fields).status_code == 403
    assert shop.sessions() == []


def test_orders_that_are_none(shop: Shop, plain_browser: PlainBrowser, another_browser: PlainBrowser) -> None:
    """An article that is not sold and an order that is none are 404; somebody else's order, or one of another article, is 409."""
    plain_browser.open(shop.url)
    another_browser.open(shop.url)
    fields, others = token_of(plain_browser), token_of(another_browser)
    assert post(shop, plain_browser, "/buy/house", fields).status_code == 404
    for order in ("", "../../etc", "a" * 17):
        assert post(shop, plain_browser, "/buy/mug", {**fields, "order": order}).status_code == 404
    assert post(shop, another_browser, "/buy/mug", others).status_code == 303
    assert post(shop, plain_browser, "/buy/mug", {**fields, "order": others["order"]}).status_code == 409
    assert post(shop, another_browser, "/buy/coffee", others).status_code == 409
    assert len(shop.sessions()) == 1


def test_orders_are_their_visitors(shop: Shop, plain_browser: PlainBrowser, another_browser: PlainBrowser) -> None:
    """Nobody sees the orders of somebody else, neither on the page nor where its script asks."""
    plain_browser.open(shop.url)
    plain_browser.click("buy-mug")
    another_browser.open(shop.url)
    assert "A mug:" not in another_browser.text()
    assert another_browser._client.get(f"{shop.url}/orders").json() == []
    (order,) = plain_browser._client.get(f"{shop.url}/orders").json()
    assert order["words"] == "A mug: waiting for the payment"


def test_stripe_is_away(shop: Shop, open_browser: OpenBrowser) -> None:
    """While Stripe is down, a visitor reads that in plain words and nothing of the failure; afterwards everything works."""
    browser = open_browser()
    browser.open(shop.url)
    shop.sandbox.faults.next(status=503, times=3)
    browser.click("buy-mug")
    assert browser.text() == "That did not work Try again in a minute; nothing is charged twice. Back"
    browser.click("home")
    browser.click("buy-mug")
    pay(browser)
    wait_for(browser, "A mug: paid")


def test_pages_run_nothing_from_elsewhere(shop: Shop, plain_browser: PlainBrowser) -> None:
    """Pages run their own scripts only, are in no frame, and cookies are out of every script's reach."""
    signed_in(shop, plain_browser)
    for path in ("/", "/staff"):
        answer = plain_browser._client.get(f"{shop.url}{path}")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-")
        assert policy.endswith("base-uri 'none'; frame-ancestors 'none'")
        assert "unsafe" not in policy
    assert {(cookie["name"], cookie["httpOnly"], cookie["sameSite"]) for cookie in plain_browser.cookies()} == {
        ("session", True, "Lax"),
        ("staff", True, "Lax"),
    }


# The staff.


def test_the_back_office(shop: Shop, open_browser: OpenBrowser) -> None:
    """The staff sees what was paid and who subscribed, and gives a payment back, all by way of the HTTP face."""
    subscription = subscribed(shop, open_browser())
    (payment,) = shop.sandbox.client().payment_intents.list()
    browser = open_browser()
    signed_in(shop, browser)
    if isinstance(browser, PlainBrowser):
        # What its script does.
        assert [found["id"] for found in asked(shop, browser, "/payments")["data"]] == [payment.id]
        assert [found["id"] for found in asked(shop, browser, "/subscriptions")["data"]] == [subscription.id]
        asked(shop, browser, "/refunds", {"payment_intent": payment.id})
    else:
        wait_for(browser, f"{payment.id} $15.00 succeeded")
        wait_for(browser, f"{subscription.id} active")
        browser.click(f"refund-{payment.id}")
        wait_for(browser, "Refunded.")
    assert [(refund.payment_intent, refund.amount) for refund in shop.sandbox.client().refunds.list()] == [(payment.id, 1500)]


def test_a_sale_of_the_staff(shop: Shop, open_browser: OpenBrowser) -> None:
    """The staff says what something costs, and the customer beside it pays on Stripe's page."""
    browser = open_browser()
    signed_in(shop, browser)
    if isinstance(browser, PlainBrowser):
        price = {"currency": "usd", "unit_amount": 4200, "product_data": {"name": "Something else"}}
        sale = {"mode": "payment", "line_items": [{"price_data": price, "quantity": 1}], "success_url": f"{shop.url}/staff"}
        browser.open(asked(shop, browser, "/checkout/sessions", sale)["url"])
    else:
        browser.fill("cents", "4200")
        browser.click("sell")
    assert "1 of Something else" in browser.text()
    pay(browser)
    assert browser.url() == f"{shop.url}/staff"
    assert shop.payments() == [("succeeded", 4200)]


def test_what_the_face_refuses(shop: Shop, open_browser: OpenBrowser) -> None:
    """A refused request is told to the staff in the problem's own words."""
    browser = open_browser()
    signed_in(shop, browser)
    if isinstance(browser, PlainBrowser):
        price = {"currency": "usd", "unit_amount": 10**12, "product_data": {"name": "Something else"}}
        sale = {"mode": "payment", "line_items": [{"price_data": price, "quantity": 1}], "success_url": f"{shop.url}/staff"}
        answer = browser._client.post(f"{shop.url}{FACE}/checkout/sessions", json=sale)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    else:
        chromium: Any = browser
        chromium.fill("cents", str(10**12))
        chromium._do(lambda: chromium._page.click("#sell"))
        # Not wait_for_function: the page's policy forbids the eval that it polls with.
        chromium._do(lambda: chromium._page.locator("#status:not(:empty)").wait_for())
        assert browser.url() == f"{shop.url}/staff"
    assert shop.sessions() == []


def asked(shop: Shop, browser: PlainBrowser, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the HTTP face with the browser's cookies."""
    url = f"{shop.url}{FACE}{path}"
    answer = browser._client.get(url) if body is None else browser._client.post(url, json=body)
    assert answer.is_success, answer.text
    return answer.json()


def test_the_face_is_for_the_staff(shop: Shop, plain_browser: PlainBrowser, another_browser: PlainBrowser) -> None:
    """To visitors, and to whoever makes up or prolongs the staff's cookie, every route of the face is 401."""
    plain_browser.open(shop.url)
    signed_in(shop, another_browser)
    (genuine,) = [cookie["value"] for cookie in another_browser.cookies()]
    until, _, signature = genuine.partition(".")
    forged = ("", "staff", "1.", f"{int(until) + 1}.{signature}", f"{until}.{'0' * 64}", f"{until}.", f".{signature}")
    reads, writes = ("/payments", "/subscriptions", "/customers"), ("/checkout/sessions", "/billing-portal/sessions", "/refunds")
    for method, path in [*(("GET", path) for path in reads), *(("POST", path) for path in writes)]:
        for headers in ({}, *({"Cookie": f"staff={cookie}"} for cookie in forged)):
            answer = plain_browser._client.request(method, f"{shop.url}{FACE}{path}", headers=headers, json={})
            assert answer.status_code == 401, (method, path, headers)


def test_other_sites_make_the_staff_do_nothing(shop: Shop, plain_browser: PlainBrowser) -> None:
    """What a page of another site can make the staff's browser send without asking first, a form or plain text, is 415."""
    signed_in(shop, plain_browser)
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"):
        for path in ("/refunds", "/checkout/sessions", "/billing-portal/sessions"):
            answer = plain_browser._client.post(f"{shop.url}{FACE}{path}", content="{}", headers={"Content-Type": kind})
            assert answer.status_code == 415


def test_a_staff_cookie_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch, plain_browser: PlainBrowser) -> None:
    """After a shift the staff signs in again."""
    pages = import_module("storefront_pages")
    signed_in(shop, plain_browser)
    later = time.time() + pages.SHIFT + 1
    monkeypatch.setattr(pages.time, "time", lambda: later)
    answer = plain_browser._client.get(f"{shop.url}/staff")
    assert 'id="enter"' in answer.text


@pytest.mark.parametrize("key", ["", "guess", "ü" * 40])
def test_the_wrong_key(shop: Shop, plain_browser: PlainBrowser, key: str) -> None:
    """Without the key, the back office stays closed and no cookie is given."""
    answer = plain_browser._client.post(f"{shop.url}/staff", data={"key": key})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "This is not the key." in answer.text


# The program.


def test_program() -> None:
    """The program says where the shop is, a visitor can buy there, and SIGTERM ends it without a word."""
    settings = {**os.environ, "PYTHONUTF8": "1"}
    command = [sys.executable, str(EXAMPLES / "storefront.py")]
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as program:
        try:
            assert program.stdout
            line = program.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address, line
            browser = PlainBrowser()
            browser.open(address[0])
            browser.click("buy-mug")
            pay(browser)
            wait_for(browser, "A mug: paid")
            browser.close()
            program.send_signal(signal.SIGTERM)
            assert program.communicate(timeout=ENDING) == ("", "")
            assert program.returncode == 0
        finally:
            program.kill()


def test_settings_from_the_environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the environment says everything; behind https, cookies travel over https only."""
    server = shop.sandbox.serve()
    settings = {
        "STRIPE_SECRET_KEY": API_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_BASE": server.url,
        "SHOP_URL": "https://shop.example/",
        "STAFF_KEY": "k" * 32,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with fastapi_serving(import_module("storefront").create_app(), listener), httpx.Client(trust_env=False) as client:
            home = client.get(url)
            session = home.headers["set-cookie"]
            token = re.search(r'name="token" value="(\w+)"><input type="hidden" name="order" value="(\w+)"', home.text)
            assert token
            cookie = {"Cookie": session.partition(";")[0]}
            bought = client.post(f"{url}/buy/mug", data={"token": token[1], "order": token[2]}, headers=cookie)
    assert bought.status_code == 303
    assert "Secure" in session
    assert [made.success_url for made in shop.sessions()] == ["https://shop.example/?paid"]


def test_without_a_key_for_the_staff(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop whose back office anybody could open does not start."""
    for name, value in {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET, "STAFF_KEY": "short"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="STAFF_KEY needs 32"):
        import_module("storefront").create_app()
