"""A merchant without a Stripe account: the service makes one, and Stripe's pages ask for what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.market import account_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browsers import Browser


@pytest.fixture
def framework() -> str:
    """The example in which merchants without an account get one."""
    return "flask"


def test_onboarding(market: Any, open_browser: Callable[[], Browser]) -> None:
    """A merchant who stops in the middle goes on later with the same account; when it is complete, the service charges there."""
    browser = open_browser()
    browser.open(market.url)
    browser.click("onboard")
    browser.click("later")
    account = account_in(browser.text())
    assert f"Your account {account} is not complete" in browser.text()
    assert not browser.has("charge")
    browser.click("continue")
    browser.click("finish")
    assert f"Connected to {account}" in browser.text()
    browser.click("charge")
    assert [payment.status for payment in market.payments(account)] == ["succeeded"]


def test_a_link_that_was_used(market: Any, open_browser: Callable[[], Browser]) -> None:
    """Going back to a link that was used leads to a new one for the same account, not to an error."""
    browser = open_browser()
    browser.open(market.url)
    browser.click("onboard")
    used = browser.url()
    browser.click("later")
    account = account_in(browser.text())
    browser.open(used)
    assert "/setup/" in browser.url()
    assert browser.url() != used
    browser.click("finish")
    assert f"Connected to {account}" in browser.text()


def test_only_a_click_makes_an_account(market: Any, open_browser: Callable[[], Browser]) -> None:
    """Opening the address of the onboarding makes no account."""
    browser = open_browser()
    browser.open(f"{market.url}/stripe/onboard")
    assert "You are not connected to Stripe" in browser.text()
    assert list(market.sandbox.client().accounts.list()) == []


def test_an_account_made_here_stays(market: Any, open_browser: Callable[[], Browser]) -> None:
    """An account that the platform made cannot be disconnected; the merchant reads why, and it goes on working."""
    browser = open_browser()
    browser.open(market.url)
    browser.click("onboard")
    browser.click("finish")
    account = account_in(browser.text())
    browser.click("disconnect")
    assert "This account was made here, so it cannot be disconnected." in browser.text()
    browser.click("home")
    assert f"Connected to {account}" in browser.text()
