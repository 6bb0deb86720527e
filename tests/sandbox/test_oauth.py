"""OAuth in the sandbox: consent, codes and tokens, for Connect and for Stripe Apps."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import stripe as official
import stripe.oauth_error as official_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.messages import Request
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing.oauth import ConsentRefusedError
from tests.canary import API_KEY, LIVE_KEY, RESTRICTED_KEY
from tests.sandbox.asking import Asking
from tests.sandbox.connecting import APP, CALLBACK, CONNECT, World, answer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.sandbox:
        yield world


def test_a_connection(world: World) -> None:
    """Consent, code and token make a connection: Stripe-Account works then and not before, and one event says so."""
    back = world.oauth.consent(world.url())
    assert back.startswith(f"{CALLBACK}?")
    assert {name: value for name, value in answer(back).items() if name != "code"} == {"scope": "read_write", "state": "s-1"}
    account = next(iter(set(world.sandbox._machine.accounts) - {world.sandbox.account}))
    assert (world.status(API_KEY, account=account), world.types) == ((403, "account_invalid"), [])
    token = world.token(CONNECT, grant_type="authorization_code", code=answer(back)["code"])
    secrets = {name: token.pop(name) for name in ("access_token", "refresh_token", "stripe_publishable_key")}
    assert token == {"livemode": False, "token_type": "bearer", "stripe_user_id": account, "scope": "read_write"}
    assert [value.split("_")[0] for value in secrets.values()] == ["sk", "rt", "pk"]
    assert world.status(API_KEY, account=account) == (200, None)
    (event,) = world.heard
    application = {"id": world.oauth.client_id, "object": "application", "name": "Sandbox Platform"}
    assert (event["type"], event["account"], event["data"]) == (
        "account.application.authorized",
        account,
        {"object": application},
    )


def test_an_access_token_is_a_key_of_its_account(world: World) -> None:
    """An access token works in exactly the account that gave it."""
    first, second = world.exchanged(), world.exchanged()
    Asking(world.sandbox, account=first["stripe_user_id"]).post("/v1/customers")
    with world.sandbox.client(first["access_token"]) as stripe:
        assert len(list(stripe.customers.list())) == 1
        assert len(list(stripe.customers.list(stripe_account=first["stripe_user_id"]))) == 1
    assert world.status(first["access_token"], account=second["stripe_user_id"]) == (403, "account_invalid")
    assert world.status(first["access_token"], account=world.sandbox.account) == (403, "account_invalid")
    assert world.status(f"{first['access_token']}x") == (401, None)


def test_the_fee_of_a_platform(world: World) -> None:
    """The client id is the application of the platform's fees."""
    account = world.exchanged()["stripe_user_id"]
    Asking(world.sandbox, account=account).pay(application_fee_amount=100)
    (fee,) = Asking(world.sandbox).get("/v1/application_fees")["data"]
    assert fee["application"] == world.oauth.client_id


def test_read_only(world: World) -> None:
    """Without a scope a connection can only read."""
    url = world.url().replace("scope=read_write&", "").replace("&scope=read_write", "")
    token = world.token(CONNECT, grant_type="authorization_code", code=answer(world.oauth.consent(url))["code"])
    assert token["scope"] == "read_only"
    assert world.status(token["access_token"]) == (200, None)
    assert world.status(token["access_token"], "POST") == (403, None)


def test_an_account_that_exists(world: World) -> None:
    """The owner of an account that is connected already connects it again, and no second event comes of it."""
    account = world.exchanged()["stripe_user_id"]
    assert world.exchanged(account)["stripe_user_id"] == account
    assert world.types == ["account.application.authorized"]
    world.oauth.deauthorize(account)
    assert world.exchanged(account)["stripe_user_id"] == account
    assert world.types == ["account.application.authorized", "account.application.deauthorized", "account.application.authorized"]


def test_what_a_new_account_says_of_itself(world: World) -> None:
    """What is prefilled goes into the new account, and what is wrong of it is ignored."""
    good: dict[str, Any] = {
        "stripe_user[email]": "jenny@example.com",
        "stripe_user[country]": "de",
        "stripe_user[business_type]": "llc",
    }
    bad: dict[str, Any] = {"stripe_user[email]": "<b>", "stripe_user[country]": "Germany", "stripe_user[business_type]": "club"}
    accounts = world.sandbox._machine.accounts
    first, second = world.exchanged(**good), world.exchanged(path="/express/oauth/authorize", **bad)
    assert accounts[first["stripe_user_id"]].profile == {
        "type": "standard",
        "email": "jenny@example.com",
        "country": "DE",
        "business_type": "company",
    }
    assert accounts[second["stripe_user_id"]].profile == {"type": "express"}


def test_a_merchant_who_says_no(world: World) -> None:
    """A denial is redirected with the state and without a code."""
    found = answer(world.oauth.consent(world.url(), deny=True))
    assert (found.pop("error_description") != "", found) == (True, {"error": "access_denied", "state": "s-1"})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"client_id": "ca_stranger"}, "invalid_client"),
        ({"redirect_uri": f"{CALLBACK}/"}, "invalid_redirect_uri"),
        ({"redirect_uri": "https://evil.test/"}, "invalid_redirect_uri"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
def test_what_is_not_redirected(world: World, query: dict[str, Any], error: str) -> None:
    """An authorize URL that is wrong leads nowhere: Stripe says so to the merchant alone."""
    with pytest.raises(ConsentRefusedError) as refused:
        world.oauth.consent(world.url(**query))
    assert refused.value.error == error
    assert refused.value.description


def test_a_client_id_of_the_other_kind(world: World) -> None:
    """The app's client id does not open Connect's page, nor the other way round."""
    for url in (world.url(client_id=world.oauth.app_client_id), world.url(app=True, client_id=world.oauth.client_id)):
        with pytest.raises(ConsentRefusedError, match="invalid_client"):
            world.oauth.consent(url)


def test_redirect_uris(world: World) -> None:
    """The first registered URI is the default, and a query that it has stays."""
    world.oauth.register("http://127.0.0.1:8000/back?shop=1")
    world.oauth.register(CALLBACK)
    assert world.oauth.redirect_uris == (CALLBACK, "http://127.0.0.1:8000/back?shop=1")
    back = world.oauth.consent(world.url(redirect_uri="http://127.0.0.1:8000/back?shop=1"))
    assert back.startswith("http://127.0.0.1:8000/back?shop=1&scope=")


@pytest.mark.parametrize(
    "uri",
    [
        "http://shop.test/",
        "https://shop.test/#a",
        "https:///a",
        "javascript:alert(1)",
        "https://[",
        "https://a@b/",
        "https://a/\n",
        "https://ä/",
        "",
    ],
)
def test_uris_that_cannot_be_registered(world: World, uri: str) -> None:
    """A redirect URI is https, or leads to this machine."""
    with pytest.raises(ConfigurationError):
        world.oauth.register(uri)


def test_nothing_registered() -> None:
    """Without a registered URI there is nowhere to send the merchant to."""
    with StripeSandbox() as sandbox, pytest.raises(ConsentRefusedError, match="invalid_redirect_uri"):
        sandbox.oauth.consent(f"https://connect.stripe.com/oauth/authorize?response_type=code&client_id={sandbox.oauth.client_id}")


@pytest.mark.parametrize("url", ["https://connect.stripe.com/", "https://["])
def test_urls_that_are_not_for_consent(world: World, url: str) -> None:
    """A mistake of the test is said to be one."""
    with pytest.raises(ConfigurationError):
        world.oauth.consent(url)


def test_accounts_that_cannot_be_asked(world: World) -> None:
    """Strangers, the platform itself and accounts that the platform made cannot be chosen, nor removed."""
    made = world.sandbox._machine.open_account()
    made.controller = True
    for account in ("acct_stranger", world.sandbox.account, made.id):
        with pytest.raises(ConfigurationError):
            world.oauth.consent(world.url(), account=account)
        with pytest.raises(ConfigurationError):
            world.oauth.deauthorize(account)
    unconnected = world.sandbox._machine.open_account().id
    for end in (world.oauth.deauthorize, world.oauth.uninstall):
        with pytest.raises(ConfigurationError):
            end(unconnected)


def test_codes_that_do_not_work(world: World) -> None:
    """A code works for five minutes, in its own mode and for its own application; what fails uses nothing up."""
    late, live, app = world.code(), world.code(client_id=world.oauth.live_client_id), world.code(app=True)
    assert world.refused(CONNECT, grant_type="authorization_code", code="ac_stranger")[:2] == (400, "invalid_grant")
    status, error, description = world.refused(CONNECT, grant_type="authorization_code", code=live)
    assert (status, error, "live mode" in description) == (400, "invalid_grant", True)
    assert world.refused(CONNECT, grant_type="authorization_code", code=app)[1] == "invalid_grant"
    assert world.refused(APP, grant_type="authorization_code", code=late)[1] == "invalid_grant"
    world.sandbox.clock.advance(seconds=299)
    assert world.token(APP, grant_type="authorization_code", code=app)["scope"] == "stripe_apps"
    world.sandbox.clock.advance(seconds=1)
    assert world.refused(CONNECT, grant_type="authorization_code", code=late)[1] == "invalid_grant"
    assert world.refused(APP, grant_type="authorization_code", code=app)[1] == "invalid_grant"
    # An app's code that is used again ends nothing.
    assert "account.application.deauthorized" not in world.types


@pytest.mark.parametrize(
    ("key", "form", "expected"),
    [
        (None, {"grant_type": "authorization_code", "code": "ac_1"}, (401, "invalid_client")),
        (LIVE_KEY, {"grant_type": "authorization_code", "code": "ac_1"}, (401, "invalid_client")),
        ("pk_test_1", {"grant_type": "authorization_code", "code": "ac_1"}, (401, "invalid_client")),
        (API_KEY, {}, (400, "invalid_request")),
        (API_KEY, {"grant_type": "password"}, (400, "unsupported_grant_type")),
        (API_KEY, {"grant_type": "authorization_code"}, (400, "invalid_request")),
        (API_KEY, {"grant_type": "refresh_token"}, (400, "invalid_request")),
        (API_KEY, {"grant_type": "refresh_token", "refresh_token": "rt_stranger"}, (400, "invalid_grant")),
        (API_KEY, {"grant_type[a]": "refresh_token", "expand[]": "x", "code": "\x00"}, (400, "invalid_request")),
    ],
)
@pytest.mark.parametrize("path", [CONNECT, APP])
def test_refused_token_requests(world: World, path: str, key: str | None, form: dict[str, str], expected: tuple[int, str]) -> None:
    """Refusals are in OAuth's form, with its words, and show nothing of the key."""
    status, error, description = world.refused(path, key=key, **form)
    assert (status, error) == expected
    assert "Canary" not in description


def test_ways_to_authenticate(world: World) -> None:
    """The platform's key may come as a bearer token, as the user of basic authentication, or in the form."""
    basic = base64.b64encode(f"{API_KEY}:".encode()).decode()
    for headers, extra in (
        ({"Authorization": f"Bearer {API_KEY}"}, {}),
        ({"Authorization": f"Basic {basic}"}, {}),
        ({}, {"client_secret": API_KEY}),
    ):
        form = urlencode({"grant_type": "authorization_code", "code": world.code(), **extra}).encode()
        assert world.sandbox.handle(Request("POST", "https://connect.stripe.com/oauth/token", headers, form)).status == 200


def test_who_may_ask_for_the_tokens_of_an_app(world: World) -> None:
    """The app's endpoint takes the developer's secret key, and neither a restricted key nor an access token."""
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    for key in (RESTRICTED_KEY, token["access_token"]):
        assert world.refused(APP, key=key, **form)[:2] == (401, "invalid_client")
    assert world.token(APP, **form)["stripe_user_id"] == token["stripe_user_id"]


def test_a_refresh_at_connect(world: World) -> None:
    """A refresh of Connect's ends the access token of the same scope, gives no more than was granted, and keeps the refresh token."""
    first = world.exchanged()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    less = world.token(CONNECT, scope="read_only", **form)
    assert (less["scope"], less["refresh_token"]) == ("read_only", first["refresh_token"])
    assert world.status(less["access_token"], "POST")[0] == 403
    assert world.status(first["access_token"], "POST")[0] == 200
    again = world.token(CONNECT, **form)
    assert again["stripe_publishable_key"] == first["stripe_publishable_key"]
    assert [world.status(token["access_token"])[0] for token in (first, less, again)] == [401, 200, 200]
    narrow = world.exchanged(scope="read_only")
    form = {"grant_type": "refresh_token", "refresh_token": narrow["refresh_token"]}
    assert world.refused(CONNECT, scope="read_write", **form)[:2] == (400, "invalid_scope")
    world.sandbox.clock.advance(days=3650)
    assert world.status(again["access_token"])[0] == 200


def test_a_refresh_of_an_app(world: World) -> None:
    """Each refresh of an app's gives a new pair; the refresh token that was used never works again."""
    first = world.exchanged(app=True)
    assert ("expires_in" in first, first["scope"]) == (False, "stripe_apps")
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = world.token(APP, **form)
    assert {first["access_token"], first["refresh_token"]}.isdisjoint({second["access_token"], second["refresh_token"]})
    assert world.refused(APP, **form)[:2] == (400, "invalid_grant")
    assert world.refused(CONNECT, **{**form, "refresh_token": second["refresh_token"]})[1] == "invalid_grant"
    assert world.token(APP, **{**form, "refresh_token": second["refresh_token"]})["stripe_user_id"] == first["stripe_user_id"]


def test_the_tokens_of_an_app_expire(world: World) -> None:
    """An app's access token lives for an hour, or as long as the test says, and its refresh token for a year."""
    token = world.exchanged(app=True)
    world.sandbox.clock.advance(seconds=3599)
    assert world.status(token["access_token"], "POST") == (200, None)
    world.sandbox.clock.advance(seconds=1)
    assert world.status(token["access_token"]) == (401, "api_key_expired")
    assert world.oauth.access_token_lifetime == 3600
    world.oauth.access_token_lifetime = 10
    brief = world.token(APP, grant_type="refresh_token", refresh_token=token["refresh_token"])
    world.sandbox.clock.advance(seconds=10)
    assert world.status(brief["access_token"]) == (401, "api_key_expired")
    world.sandbox.clock.advance(days=365)
    assert world.refused(APP, grant_type="refresh_token", refresh_token=brief["refresh_token"])[1] == "invalid_grant"
    with pytest.raises(ConfigurationError):
        world.oauth.access_token_lifetime = 0


def test_what_is_remembered_of_token_requests(world: World) -> None:
    """A test can count the requests for tokens and see what came of them; secrets are not among it, nor words from outside."""
    token = world.exchanged()
    world.send(CONNECT, idempotency_key="key-1", grant_type="refresh_token", refresh_token=token["refresh_token"])
    world.send(APP, grant_type="evil", key=LIVE_KEY)
    world.send("/oauth/deauthorize", client_id="ca_stranger", stripe_user_id="acct_stranger")
    world.sandbox.handle(Request("POST", CONNECT, {"Authorization": f"Bearer {API_KEY}", "Content-Type": "text/plain"}, b"x"))
    account = token["stripe_user_id"]
    found = [
        (entry.path, entry.grant_type, entry.outcome, entry.account, entry.idempotency_key) for entry in world.oauth.token_requests
    ]
    assert found == [
        (CONNECT, "authorization_code", "done", account, None),
        (CONNECT, "refresh_token", "done", account, "key-1"),
        (APP, "other", "invalid_client", None, None),
        (CONNECT, "other", "invalid_request_error", None, None),
    ]
    shown = repr([world.oauth.token_requests, world.oauth, world.sandbox._machine.accounts, world.sandbox._machine.account.keys])
    assert not [value for name, value in token.items() if "token" in name and name != "token_type" and value in shown]


def test_the_same_seed_gives_the_same_tokens() -> None:
    """Codes and tokens depend on the seed alone."""

    def play(seed: int) -> list[Any]:
        world = World(seed)
        with world.sandbox:
            return [world.oauth.app_client_id, world.exchanged(), world.exchanged(app=True), [event["id"] for event in world.heard]]

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_stripes_own_library(world: World) -> None:
    """The official library begins a connection, renews its token and ends it, and knows the refusals for what they are."""
    http = official.RequestsClient() if hasattr(official, "RequestsClient") else None
    with world.sandbox.serve() as server:
        stripe: Any = official.StripeClient(
            API_KEY,
            client_id=world.oauth.client_id,
            base_addresses={"api": server.url, "connect": server.url},
            http_client=http,
            max_network_retries=0,
        )
        params: Any = {"scope": "read_write", "state": "s-2", "stripe_user": {"email": "jenny@example.com"}}
        back = answer(world.oauth.consent(stripe.oauth.authorize_url(params)))
        token: Any = stripe.oauth.token({"grant_type": "authorization_code", "code": back["code"]})
        assert (back["state"], token.scope) == ("s-2", "read_write")
        renewed: Any = stripe.oauth.token({"grant_type": "refresh_token", "refresh_token": token.refresh_token})
        assert renewed.access_token != token.access_token
        form: Any = {"stripe_user_id": token.stripe_user_id}
        assert stripe.oauth.deauthorize({**form}).stripe_user_id == token.stripe_user_id
        with pytest.raises(official_errors.InvalidClientError):
            stripe.oauth.deauthorize({**form})
        with pytest.raises(official_errors.InvalidGrantError):
            stripe.oauth.token({"grant_type": "refresh_token", "refresh_token": token.refresh_token})
        if http is not None:
            http.close()


ODD = st.one_of(st.text(max_size=8), st.sampled_from(["authorization_code", "refresh_token", "allow", "deny", "new", "code", "x"]))
NAMES = ("grant_type", "code", "refresh_token", "scope", "client_secret", "client_id", "stripe_user_id", "decision", "account")
PATHS = (
    CONNECT,
    APP,
    "/oauth/deauthorize",
    "/oauth/authorize",
    "/express/oauth/authorize",
    "/oauth/v2/authorize",
    "/oauth/v2/a/authorize",
)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_nothing_breaks_the_endpoints(data: st.DataObject) -> None:
    """Whatever a caller or a browser sends, the answer is one of OAuth's, the API's or a page, and nobody gets access by it."""
    world = World()
    with world.sandbox:
        query = {"client_id": world.oauth.client_id, "response_type": "code"} if data.draw(st.booleans()) else {}
        more = data.draw(
            st.dictionaries(st.sampled_from(["state", "scope", "redirect_uri", "stripe_user[email]"]), ODD, max_size=3)
        )
        form = data.draw(st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), ODD, max_size=5))
        url = f"https://connect.stripe.com{data.draw(st.sampled_from(PATHS))}?{urlencode({**query, **more})}"
        headers = {"Authorization": f"Bearer {API_KEY}"} if data.draw(st.booleans()) else {}
        method = data.draw(st.sampled_from(["GET", "POST"]))
        reply = world.sandbox.handle(Request(method, url, headers, urlencode(form).encode() if method == "POST" else None))
        assert reply.status in {200, 302, 400, 401, 404}
        if reply.headers["content-type"] == "application/json":
            assert "error" in json.loads(reply.body)
        if reply.status == 302:
            assert reply.headers["location"].startswith(f"{CALLBACK}?")
        assert [account for account in world.sandbox._machine.accounts.values() if account.platform] == []
