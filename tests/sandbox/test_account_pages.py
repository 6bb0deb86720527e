"""Account links, and the page that an owner sees behind one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY
from tests.sandbox.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

REFRESH, RETURN = "http://localhost:8000/again?a=1&b=2", "https://shop.test/done"
PLACES = {"refresh_url": REFRESH, "return_url": RETURN}
WISHES = {"card_payments": {"requested": True}}


@pytest.fixture
def ask() -> Iterator[Asking]:
    with StripeSandbox() as sandbox:
        yield Asking(sandbox)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as browser:
        yield browser


@pytest.fixture
def account(ask: Asking) -> dict[str, Any]:
    made: dict[str, Any] = ask.post("/v1/accounts", type="express", capabilities=WISHES, business_profile={"name": "<b>Rosen</b>"})
    return made


@pytest.fixture
def base(ask: Asking) -> Iterator[str]:
    with ask.sandbox.serve() as server:
        yield server.url


def link_of(base: str, account: dict[str, Any]) -> str:
    """Return the URL of a new link, asked for over HTTP."""
    sent = {"account": account["id"], "type": "account_onboarding", **PLACES}
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {API_KEY}"}) as client:
        answer = client.post(f"{base}/v1/account_links", data=sent)
    assert answer.status_code == 200
    return str(answer.json()["url"])


def went(answer: httpx.Response) -> str:
    """Return where a browser is sent."""
    assert answer.status_code == 302
    return answer.headers["location"]


def test_a_link(ask: Asking, account: dict[str, Any]) -> None:
    """A link is valid for five minutes; without HTTP, where no page could be opened, it leads to Stripe's own host."""
    link = ask.post(
        "/v1/account_links",
        account=account["id"],
        type="account_onboarding",
        collection_options={"fields": "currently_due"},
        **PLACES,
    )
    assert link["expires_at"] == link["created"] + 300
    assert link["url"].startswith("https://connect.stripe.com/setup/s/")


def test_a_link_leads_to_the_sandbox(base: str, account: dict[str, Any]) -> None:
    """A link that was asked for over HTTP leads to where it was asked."""
    assert link_of(base, account).startswith(f"{base}/setup/s/")


def test_the_page(base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """The page has both buttons and what is missing, and shows names as text."""
    shown = browser.get(link_of(base, account))
    assert shown.status_code == 200
    assert 'id="finish"' in shown.text
    assert 'id="later"' in shown.text
    assert "external_account" in shown.text
    assert "&lt;b&gt;Rosen" in shown.text
    assert "<b>" not in shown.text


def test_finishing(ask: Asking, base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """Who finishes is sent back, and the account can take payments; the events of it go to connect endpoints."""
    types: list[str] = []
    ask.sandbox.webhooks.deliver_to(lambda _body, _signature: types.append("event"), events=["account.updated"], connect=True)
    url = link_of(base, account)
    browser.get(url)
    assert went(browser.post(url, data={"action": "finish"})) == RETURN
    row = ask.get(f"/v1/accounts/{account['id']}")
    assert (row["charges_enabled"], row["payouts_enabled"], row["details_submitted"]) == (True, True, True)
    assert row["requirements"]["currently_due"] == []
    assert types == ["event"]
    again = link_of(base, account)
    assert "Nothing is missing" in browser.get(again).text


def test_finishing_later(ask: Asking, base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """Who finishes later is sent back to the same place, and nothing has changed: coming back does not mean being done."""
    url = link_of(base, account)
    browser.get(url)
    assert went(browser.post(url, data={"action": "later"})) == RETURN
    assert ask.get(f"/v1/accounts/{account['id']}") == account


def test_a_link_is_opened_once(ask: Asking, base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """Whoever opens a link again is sent for another one, also when a message's preview was the first; the open page still works, once."""
    url = link_of(base, account)
    assert browser.get(url).status_code == 200
    assert went(browser.get(url)) == REFRESH
    assert went(browser.post(url, data={"action": "finish"})) == RETURN
    assert went(browser.post(url, data={"action": "finish"})) == REFRESH
    assert went(browser.get(url)) == REFRESH
    assert ask.get(f"/v1/accounts/{account['id']}")["charges_enabled"]


def test_a_link_expires(ask: Asking, base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """A link that nobody opened within five minutes sends to another one; a page that was opened in time stays open."""
    expired, opened = link_of(base, account), link_of(base, account)
    ask.sandbox.clock.advance(minutes=4, seconds=59)
    assert browser.get(opened).status_code == 200
    ask.sandbox.clock.advance(seconds=1)
    assert went(browser.get(expired)) == REFRESH
    assert went(browser.post(expired, data={"action": "finish"})) == REFRESH
    assert not ask.get(f"/v1/accounts/{account['id']}")["charges_enabled"]
    assert went(browser.post(opened, data={"action": "finish"})) == RETURN


def test_odd_visits(ask: Asking, base: str, account: dict[str, Any], browser: httpx.Client) -> None:
    """A link that was never made, one of a deleted account and a form without a choice are told apart from the others."""
    assert browser.get(f"{base}/setup/s/nothing").status_code == 404
    assert browser.post(f"{base}/setup/s/nothing").status_code == 404
    url = link_of(base, account)
    assert browser.post(url, data={"action": "explode"}).status_code == 400
    assert browser.post(url).status_code == 400
    assert browser.get(url).status_code == 200
    ask.delete(f"/v1/accounts/{account['id']}")
    assert browser.post(url, data={"action": "finish"}).status_code == 404


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"refresh_url": None}, "parameter_missing", "refresh_url"),
        ({"return_url": None}, "parameter_missing", "return_url"),
        ({"return_url": "http://shop.test/"}, "url_invalid", "return_url"),
        ({"return_url": "javascript:alert(1)"}, "url_invalid", "return_url"),
        ({"return_url": "/done"}, "url_invalid", "return_url"),
        ({"return_url": "https://[shop"}, "url_invalid", "return_url"),
        ({"refresh_url": "https://shop.test/\r\nSet-Cookie: a=b"}, "url_invalid", "refresh_url"),
        ({"account": "acct_stranger"}, "resource_missing", "account"),
        ({"type": "account_update"}, None, "type"),
        ({"type": "account_surprise"}, None, "type"),
        ({"collect": "currently_due", "collection_options": {"fields": "currently_due"}}, "parameters_exclusive", "collect"),
    ],
)
def test_links_that_cannot_be_made(
    ask: Asking, account: dict[str, Any], change: dict[str, Any], code: str | None, param: str
) -> None:
    """A link has two places to go to, with TLS or on this machine, and is for an account that the platform may set up."""
    sent = {"account": account["id"], "type": "account_onboarding", **PLACES, **change}
    status, error = ask.refused("POST", "/v1/account_links", **{name: value for name, value in sent.items() if value is not None})
    assert (status, error.get("code"), error["param"]) == (400, code, param)


def test_links_are_for_accounts_of_the_platform(ask: Asking) -> None:
    """There are no links for an account that was connected, nor for the platform's own."""
    for identity in (ask.sandbox.connect().id, ask.sandbox.account):
        status, error = ask.refused("POST", "/v1/account_links", account=identity, type="account_onboarding", **PLACES)
        assert (status, error["param"]) == (400, "account")


def test_a_link_to_update(ask: Asking) -> None:
    """A platform that collects the requirements sends the owner to update what is known."""
    made = ask.post("/v1/accounts", type="custom", capabilities=WISHES)
    assert ask.post("/v1/account_links", account=made["id"], type="account_update", **PLACES)["object"] == "account_link"
