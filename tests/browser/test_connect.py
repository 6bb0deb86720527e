"""A merchant connects an account in the browser: each scenario in both example services, in a plain browser and in Chromium."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.browser.market import account_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browsers import Browser, PlainBrowser

    OpenBrowser = Callable[[], Browser]


def connected(market: Any, browser: Browser, account: str | None = None) -> str:
    """Go all the way through Stripe's page, and return the account that is connected in the end."""
    browser.open(market.url)
    browser.click("connect")
    assert "asks for access" in browser.text()
    if account:
        browser.choose("account", account)
    browser.click("connect")
    assert browser.url() == f"{market.url}/"
    assert "Connected to" in browser.text()
    return account_in(browser.text())


def callback_of(browser: Browser) -> str:
    """Return the URL with the code that Stripe sent the browser to."""
    return next(url for url in reversed(browser.visited) if "/stripe/callback?" in url)


def test_connect_and_charge(market: Any, open_browser: OpenBrowser) -> None:
    """A merchant connects; the charge is in the merchant's account and the fee is the platform's."""
    browser = open_browser()
    account = connected(market, browser)
    browser.click("charge")
    (payment,) = market.payments(account)
    assert f"{payment.id} over $20.00 in the merchant's account: succeeded. Our share is $1.50." in browser.text()
    assert (payment.status, payment.amount_received, payment.application_fee_amount) == ("succeeded", 2000, 150)
    assert market.payments(market.sandbox.account) == []
    assert [(fee.account, fee.amount) for fee in market.fees()] == [(account, 150)]


def test_a_stripe_app(start: Any, open_browser: OpenBrowser) -> None:
    """With the profile of Stripe Apps, a merchant installs the app, and the charge is in the merchant's account, without a fee."""
    market, browser = start(profile="stripe_app"), open_browser()
    account = connected(market, browser)
    browser.click("charge")
    (payment,) = market.payments(account)
    assert f"{payment.id} over $20.00 in the merchant's account: succeeded." in browser.text()
    assert market.fees() == []
    browser.click("home")
    browser.click("disconnect")
    assert "Not connected" in browser.text()


def test_the_session_is_a_safe_cookie(market: Any, open_browser: OpenBrowser) -> None:
    """The session is a random value in a cookie that no script reads and no other site's form sends; the state is another one each time."""
    browser = open_browser()
    connected(market, browser)
    browser.click("again")
    (cookie,) = browser.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == ("session", True, "Lax", False)
    assert len(cookie["value"]) == 43
    states = [parse_qs(urlsplit(url).query)["state"][0] for url in browser.visited if "/oauth/authorize?" in url]
    assert len(set(states)) == 2
    assert all(cookie["value"] not in url for url in browser.visited)


def test_the_cookie_is_secure_behind_https(start: Any, plain_browser: PlainBrowser) -> None:
    """Where Stripe sends browsers back to an https address, the cookie travels over https only."""
    market = start(redirect_uris=("https://market.example/stripe/callback",))
    plain_browser.open(market.url)
    assert [cookie["secure"] for cookie in plain_browser.cookies()] == [True]


def test_deny(market: Any, open_browser: OpenBrowser) -> None:
    """A merchant who says no is told so and is not connected; saying yes afterwards works."""
    browser = open_browser()
    browser.open(market.url)
    browser.click("connect")
    browser.click("deny")
    assert "you did not agree" in browser.text()
    browser.click("home")
    assert "Not connected" in browser.text()
    connected(market, browser)


def test_another_browser_cannot_complete_it(market: Any, open_browser: OpenBrowser) -> None:
    """A callback opened in another browser than the one that began is refused there, and the code still works where it belongs."""
    attacker, victim = open_browser(), open_browser()
    attacker.open(market.url)
    url = authorized_elsewhere(market, attacker)
    victim.open(market.url)
    victim.open(url)
    assert "did not begin in this browser" in victim.text()
    victim.open(market.url)
    assert "Not connected" in victim.text()
    assert market.sandbox.oauth.token_requests == []
    attacker.open(url)
    assert "Connected to" in attacker.text()


def authorized_elsewhere(market: Any, browser: Browser) -> str:
    """Let the merchant of *browser* consent, and return where Stripe would send the browser, before it goes there."""
    browser.click("connect")
    url: str = market.sandbox.oauth.consent(browser.url())
    return url


def test_reload_of_the_callback(market: Any, open_browser: OpenBrowser) -> None:
    """Opening the callback's URL again, twice, gives the same connection, sends no code twice and revokes nothing."""
    browser = open_browser()
    account = connected(market, browser)
    url = callback_of(browser)
    for _ in range(2):
        browser.open(url)
        assert browser.url() == f"{market.url}/"
        assert f"Connected to {account}" in browser.text()
    assert len(market.sandbox.oauth.token_requests) == 1
    browser.click("charge")
    assert len(market.payments(account)) == 1


def test_back_button(market: Any, open_browser: OpenBrowser) -> None:
    """Going back to Stripe's page and consenting again is refused in plain words, and the connection stays as it was."""
    browser = open_browser()
    account = connected(market, browser)
    browser.back()
    browser.click("connect")
    assert "has done its work already" in browser.text()
    browser.click("home")
    assert f"Connected to {account}" in browser.text()
    browser.click("charge")
    assert len(market.payments(account)) == 1


def test_a_state_that_expired(start: Any, open_browser: OpenBrowser) -> None:
    """Who comes back too late is told to begin again; no code was used."""
    market, browser = start(state_lifetime=0.0001), open_browser()
    browser.open(market.url)
    browser.click("connect")
    browser.click("connect")
    assert "away for too long" in browser.text()
    assert market.sandbox.oauth.token_requests == []
    browser.click("home")
    assert "Not connected" in browser.text()


def test_another_account(market: Any, open_browser: OpenBrowser) -> None:
    """A connected merchant who comes back with another account is refused, and stays connected to the first, until disconnected."""
    browser = open_browser()
    first = connected(market, browser)
    second = market.sandbox.connect().id
    browser.click("again")
    browser.choose("account", second)
    browser.click("connect")
    assert f"You are connected to {first} and came back with {second}." in browser.text()
    browser.click("home")
    assert f"Connected to {first}" in browser.text()
    browser.click("disconnect")
    assert connected(market, browser, second) == second


def test_disconnect(market: Any, open_browser: OpenBrowser) -> None:
    """After disconnecting, an old page's button charges nothing, and connecting again works, with the same account."""
    browser = open_browser()
    account = connected(market, browser)
    page = browser.url()
    old = fields_of(browser, market)
    browser.open(page)
    browser.click("disconnect")
    assert "Not connected" in browser.text()
    assert not browser.has("charge")
    answer = post(market, browser, "/charge", old)
    assert (answer.status_code, "You are not connected to Stripe" in answer.text) == (409, True)
    assert connected(market, browser, account) == account
    assert market.payments(account) == []


def fields_of(browser: Browser, market: Any) -> dict[str, str]:
    """Return what the forms of this browser's start page carry."""
    with httpx.Client(cookies=jar(browser), trust_env=False) as client:
        found = re.findall(r'name="(\w+)" value="(\w+)"', client.get(market.url).text)
    return dict(found)


def jar(browser: Browser) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in browser.cookies()}


def post(market: Any, browser: Browser, path: str, fields: dict[str, str]) -> httpx.Response:
    """Send a form with this browser's cookies, as a script or an old page would."""
    return httpx.post(f"{market.url}{path}", data=fields, cookies=jar(browser), trust_env=False)


def test_removed_in_the_dashboard(market: Any, open_browser: OpenBrowser) -> None:
    """A merchant who removes the platform in Stripe's Dashboard is not connected here any more, as soon as the webhook came."""
    browser = open_browser()
    account = connected(market, browser)
    market.removed_by(account)
    assert [(delivery.type, delivery.status) for delivery in market.sandbox.webhooks.deliveries][-1] == (
        "account.application.deauthorized",
        200,
    )
    browser.open(market.url)
    assert "Not connected" in browser.text()
    assert connected(market, browser, account) == account


def test_a_double_click_charges_once(market: Any, plain_browser: PlainBrowser) -> None:
    """The same form sent twice is one charge."""
    browser = plain_browser
    account = connected(market, browser)
    fields = fields_of(browser, market)
    answers = [post(market, browser, "/charge", fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(market.payments(account)) == 1


@pytest.mark.parametrize("path", ["/charge", "/disconnect"])
def test_forms_of_other_sites(market: Any, plain_browser: PlainBrowser, another_browser: PlainBrowser, path: str) -> None:
    """A form without this session's token, or with another session's, does nothing."""
    browser, stranger = plain_browser, another_browser
    account = connected(market, browser)
    connected(market, stranger)
    for fields in ({}, {"token": "", "order": "1"}, {"token": "ü"}, fields_of(stranger, market)):
        assert post(market, browser, path, fields).status_code == 403
    browser.open(market.url)
    assert f"Connected to {account}" in browser.text()
    assert market.payments(account) == []


def test_a_forged_webhook(market: Any, plain_browser: PlainBrowser) -> None:
    """A webhook that Stripe did not sign is 400 and disconnects nobody."""
    browser = plain_browser
    account = connected(market, browser)
    body = {"id": "evt_1", "object": "event", "type": "account.application.deauthorized", "account": account}
    assert httpx.post(f"{market.url}/webhooks", json=body, trust_env=False).status_code == 400
    browser.open(market.url)
    assert f"Connected to {account}" in browser.text()


def test_stripe_is_away(market: Any, open_browser: OpenBrowser) -> None:
    """While Stripe is down, the merchant reads that in plain words and nothing of the failure; afterwards everything works."""
    browser = open_browser()
    account = connected(market, browser)
    market.sandbox.faults.next(status=503, times=3)
    browser.click("charge")
    assert "Try again in a minute" in browser.text()
    browser.click("home")
    browser.click("charge")
    assert len(market.payments(account)) == 1
