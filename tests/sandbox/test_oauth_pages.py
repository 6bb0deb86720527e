"""The sandbox's pages: the form on which a merchant gives access, and what pages are in general."""

from __future__ import annotations

import asyncio
import json
import re
from html.parser import HTMLParser
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from atom_stripe._wire.messages import Request
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state.browsing import Shown, Visit, escaped, page
from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.requests import origin_of
from atom_stripe.testing._state.routing import Catalog
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe._wire.messages import Reply

CALLBACK = "https://shop.test/callback"
BASE = "https://connect.stripe.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVIL = "\"><script>alert('evil')</script>"


class Found(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(reply.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        sandbox.oauth.register(CALLBACK)
        yield sandbox


def path(sandbox: StripeSandbox, kind: str = "/oauth/authorize", **query: str) -> str:
    client = sandbox.oauth.app_client_id if "v2" in kind else sandbox.oauth.client_id
    return f"{kind}?{urlencode({'client_id': client, 'response_type': 'code', 'scope': 'read_write', 'state': 's-1', **query})}"


def show(sandbox: StripeSandbox, where: str) -> Reply:
    return sandbox.handle(Request("GET", f"{BASE}{where}", {}))


def decide(sandbox: StripeSandbox, where: str, **form: str) -> Reply:
    return sandbox.handle(Request("POST", f"{BASE}{where}", FORM, urlencode(form).encode()))


def sent_back(location: str) -> dict[str, str]:
    assert location.startswith(f"{CALLBACK}?")
    return {name: value[-1] for name, value in parse_qs(urlsplit(location).query).items()}


@pytest.mark.parametrize(
    "kind", ["/oauth/authorize", "/express/oauth/authorize", "/oauth/v2/authorize", "/oauth/v2/chnlink_1/authorize"]
)
def test_the_form(sandbox: StripeSandbox, kind: str) -> None:
    """Each page has a form with two buttons and the accounts, and allowing it redirects with a code that can be exchanged."""
    account = sandbox.connect().id
    where = path(sandbox, kind)
    reply = show(sandbox, where)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    found = Found(reply)
    buttons = {button["id"]: (button["name"], button["value"]) for button in found.all("button")}
    assert buttons == {"connect": ("decision", "allow"), "deny": ("decision", "deny")}
    assert [option["value"] for option in found.all("option")] == ["new", account]
    assert found.all("form") == [{"method": "post"}]
    for form in ({"decision": "allow", "account": "new"}, {"decision": "allow", "account": account}, {"decision": "allow"}):
        reply = decide(sandbox, where, **form)
        assert (reply.status, reply.body) == (302, b"")
        back = sent_back(reply.headers["location"])
        assert (back["state"], back["scope"]) == ("s-1", "stripe_apps" if "v2" in kind else "read_write")
        token = urlencode({"grant_type": "authorization_code", "code": back["code"]}).encode()
        endpoint = "/v1/oauth/token" if "v2" in kind else "/oauth/token"
        exchanged = sandbox.handle(Request("POST", f"{BASE}{endpoint}", {"Authorization": f"Bearer {API_KEY}"}, token))
        chosen = json.loads(exchanged.body)["stripe_user_id"]
        assert (chosen == account) == (form.get("account") == account)


def test_a_denial(sandbox: StripeSandbox) -> None:
    """Cancel redirects with access_denied, and makes no account."""
    before = len(sandbox._machine.accounts)
    back = sent_back(decide(sandbox, path(sandbox), decision="deny").headers["location"])
    assert (back["error"], back["state"], "code" in back) == ("access_denied", "s-1", False)
    assert len(sandbox._machine.accounts) == before


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"client_id": EVIL}, "invalid_client"),
        ({"redirect_uri": f"https://evil.test/{EVIL}"}, "invalid_redirect_uri"),
        ({"scope": EVIL}, "invalid_scope"),
        ({"response_type": EVIL}, "unsupported_response_type"),
    ],
)
def test_errors_are_shown(sandbox: StripeSandbox, query: dict[str, str], error: str) -> None:
    """What is wrong is shown as JSON and never redirected, before the decision and after it, and nothing of the request is in it."""
    where = path(sandbox, **query)
    for reply in (show(sandbox, where), decide(sandbox, where, decision="allow"), decide(sandbox, where, decision="deny")):
        assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
        assert (json.loads(reply.body)["error"], "location" in reply.headers) == (error, False)
        assert b"evil" not in reply.body


@pytest.mark.parametrize(
    "form", [{}, {"decision": EVIL}, {"decision": "allow", "account": EVIL}, {"decision": "allow", "account": "own"}]
)
def test_decisions_that_are_none(sandbox: StripeSandbox, form: dict[str, str]) -> None:
    """A form that the page did not make gives no access."""
    if form.get("account") == "own":
        form = {**form, "account": sandbox.account}
    reply = decide(sandbox, path(sandbox), **form)
    assert (reply.status, json.loads(reply.body)["error"]) == (400, "invalid_request")
    assert b"evil" not in reply.body


def test_hostile_input(sandbox: StripeSandbox) -> None:
    """Nothing that came in becomes markup, now or when an account's address is shown later, and a page may load nothing."""
    email = "a'<b>&\"@evil.example"
    hostile = {"state": EVIL, "stripe_user[email]": email, "stripe_user[country]": EVIL, EVIL: EVIL}
    where = path(sandbox, **hostile)
    assert b"evil" not in show(sandbox, where).body
    assert sent_back(decide(sandbox, where, decision="allow").headers["location"])["state"] == EVIL
    reply = show(sandbox, path(sandbox))
    found = Found(reply)
    assert email in found.text
    assert b"<b>" not in reply.body
    assert [tag for tag, _ in found.tags if tag in {"script", "img", "link", "b", "iframe"}] == []
    assert [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name in {"src", "href"}] == []
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert ("frame-ancestors 'none'" in policy, reply.headers["referrer-policy"]) == (True, "no-referrer")


def test_a_location_is_one_header(sandbox: StripeSandbox) -> None:
    """Line breaks in the state stay in the URL."""
    where = path(sandbox, state="a\r\nSet-Cookie: b=c")
    location = decide(sandbox, where, decision="allow").headers["location"]
    assert not re.search(r"[\r\n ]", location)
    assert sent_back(location)["state"] == "a\r\nSet-Cookie: b=c"


def test_no_key_is_needed_and_other_methods_are_no_pages(sandbox: StripeSandbox) -> None:
    """A page is shown without a key; with another verb the path is not a page, and the API asks for its key."""
    assert show(sandbox, path(sandbox)).status == 200
    assert sandbox.handle(Request("DELETE", f"{BASE}{path(sandbox)}", {})).status == 401
    assert sandbox.handle(Request("GET", f"{BASE}/oauth/token", {})).status == 401


def test_over_http(sandbox: StripeSandbox) -> None:
    """A browser gets the page from the server, and events that its form causes are delivered."""
    heard: list[str] = []
    sandbox.webhooks.deliver_to(lambda body, _: heard.append(json.loads(body)["type"]), connect=True)
    with sandbox.serve() as server, httpx.Client(trust_env=False) as browser:
        url = f"{server.url}{path(sandbox, '/oauth/v2/authorize')}"
        assert "asks for access" in browser.get(url).text
        answer = browser.post(url, data={"decision": "allow"})
        assert (answer.status_code, "code" in sent_back(answer.headers["location"])) == (302, True)
    assert heard == ["account.application.authorized", "apps.install.created"]


def test_over_a_transport(sandbox: StripeSandbox) -> None:
    """An httpx client of the sandbox sees the pages as well."""
    with httpx.Client(transport=sandbox.transport()) as browser:
        url = f"{BASE}{path(sandbox)}"
        assert browser.get(url).headers["content-type"].startswith("text/html")
        assert browser.post(url, data={"decision": "deny"}).status_code == 302


def test_over_asgi(sandbox: StripeSandbox) -> None:
    """The ASGI application shows the pages as well."""

    async def main() -> tuple[str, dict[str, str]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url="http://sandbox.test") as browser:
            where = path(sandbox)
            text = (await browser.get(where)).text
            return text, sent_back((await browser.post(where, data={"decision": "allow"})).headers["location"])

    text, back = asyncio.run(main())
    assert ("asks for access" in text, "code" in back) == (True, True)


def test_faults_meet_pages(sandbox: StripeSandbox) -> None:
    """A page can be down, too."""
    sandbox.faults.next(status=503, operation="GET /oauth/authorize")
    assert [show(sandbox, path(sandbox)).status for _ in range(2)] == [503, 200]


def test_what_a_page_is_given(sandbox: StripeSandbox) -> None:
    """A page gets the path's arguments, the query, the form and where it was found; it can act in an account, or refuse."""
    visits: list[Visit] = []

    @page("POST", "/setup/{account}")
    def setup(visit: Visit) -> Shown:
        visits.append(visit)
        if visit.form.get("refuse"):
            msg = "No."
            raise invalid(msg)
        account = visit.machine.accounts[visit.arguments["account"]]
        visit.machine.perform(lambda work: work.emit("account.updated", {"id": account.id, "object": "account"}), account)
        return Shown.html(201, f"<p>{escaped(visit.query['name'])}</p>")

    module = ModuleType("module")
    vars(module)["setup"] = setup
    sandbox._machine._catalog.pages += Catalog([module]).pages
    account = sandbox.connect().id
    heard: list[str] = []
    sandbox.webhooks.deliver_to(lambda body, _: heard.append(json.loads(body)["account"]), connect=True)
    url = f"http://127.0.0.1:4242/setup/{account}?name=%3Cb%3E&name=%3Ci%3E"
    reply = sandbox.handle(Request("POST", url, FORM, b"a=1&a=2&b%5Bc%5D=3"))
    assert (reply.status, b"<p>&lt;i&gt;</p>" in reply.body, heard) == (201, True, [account])
    assert (visits[0].form, visits[0].origin) == ({"a": "2", "b[c]": "3"}, "http://127.0.0.1:4242")
    refused = sandbox.handle(Request("POST", url, FORM, b"refuse=1"))
    assert (refused.status, json.loads(refused.body)["error"]["message"]) == (400, "No.")
    assert account not in repr(visits)


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://api.stripe.com/v1/customers", None, "https://connect.stripe.com"),
        ("/v1/customers", "127.0.0.1:4242", "http://127.0.0.1:4242"),
        ("https://sandbox.test/v1/customers", "sandbox.test", "https://sandbox.test"),
        ("/v1/customers", "[::1]:80", "http://[::1]:80"),
        ("/v1/customers", 'evil"><b>', "https://connect.stripe.com"),
        ("/v1/customers", None, "https://connect.stripe.com"),
    ],
)
def test_where_pages_are(url: str, host: str | None, origin: str) -> None:
    """The address of pages is that of the sandbox as the caller sees it, and Stripe's own in the process."""
    assert origin_of(url, {} if host is None else {"host": host}) == origin
