"""The way through Stripe's pages and back: a state that works once, and a code that is sent once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from atom_stripe import errors
from atom_stripe._engine.connect.checks import digest
from atom_stripe.testing import AsyncFaultyTokenStore, FaultyTokenStore
from tests.connect.conftest import CALLBACK

if TYPE_CHECKING:
    from tests.connect.conftest import Platform


def faulty(platform: Platform) -> Any:
    return (FaultyTokenStore if platform.sync else AsyncFaultyTokenStore)(platform.store())


def test_connecting(platform: Platform, settle: Any) -> None:
    """A user who agrees is connected, with the account and the scope that Stripe named, and the tokens are encrypted."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        assert (made.user_id, made.state, made.scope, made.livemode) == ("user_1", "active", "read_write", False)
        assert made.account == made.stripe_user_id
        assert made.account is not None
        assert made.connected
        assert await settle(manager.connection("user_1")) == made
        token = await settle(manager.token("user_1"))
        row = platform.row()
        assert token.value.get_secret_value().startswith("sk_test_")
        assert token.value.get_secret_value() not in repr((row, token, made))
        assert row.access_token is not None
        assert row.access_token.startswith("as1:one:")

    platform.run(flow)


def test_the_url(platform: Platform, settle: Any) -> None:
    """The URL asks for the scope explicitly, fills in the form, and holds a state that is nowhere in the store."""

    async def flow() -> None:
        manager = platform.manager()
        url = await settle(
            manager.authorize_url(
                "user_1",
                session="s",
                stripe_user={"email": "jenny@example.com", "country": "NL"},
                capabilities=["card_payments", "transfers"],
                landing="login",
            )
        )
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "connect.stripe.com", "/oauth/authorize")
        assert query["scope"] == ["read_write"]
        assert query["response_type"] == ["code"]
        assert query["stripe_user[email]"] == ["jenny@example.com"]
        assert query["suggested_capabilities[1]"] == ["transfers"]
        assert query["stripe_landing"] == ["login"]
        assert len(query["state"][0]) >= 43
        assert query["state"][0] not in repr(vars(platform.memory))
        other = await settle(manager.authorize_url("user_1", session="s"))
        assert parse_qs(urlsplit(other).query)["state"] != query["state"]

    platform.run(flow)


def test_a_stripe_app(platform: Platform, settle: Any) -> None:
    """A Stripe App's page is the marketplace's, and its tokens run out after an hour although no answer says so."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        url = await settle(manager.authorize_url("user_1", session="s"))
        assert url.startswith("https://marketplace.stripe.com/oauth/v2/authorize?client_id=ca_")
        made = await platform.connect(manager)
        assert made.scope == "stripe_apps"
        assert made.expires_at == platform.sandbox.clock.timestamp + 3600

    platform.run(flow)


def test_the_dashboards_link(platform: Platform, settle: Any) -> None:
    """A link copied from Stripe's Dashboard keeps its own parameters and gets the state."""

    async def flow() -> None:
        link = "https://marketplace.stripe.com/oauth/v2/chnlink_1/authorize?client_id=ca_FromTheDashboard&redirect_uri=https%3A%2F%2Fa.example%2Fcb"
        url = await settle(platform.manager("stripe_app", install_link=link).authorize_url("user_1", session="s"))
        assert url.startswith(link + "&state=")

    platform.run(flow)


@pytest.mark.parametrize(
    "options",
    [
        {"redirect_uri": "https://service.example/other"},
        {"redirect_uri": "javascript:alert(1)"},
        {"scope": "everything"},
        {"user_id": ""},
        {"user_id": "x" * 256},
        {"user_id": "nul\x00"},
        {"session": ""},
    ],
)
def test_what_cannot_be_asked(platform: Platform, settle: Any, options: dict[str, Any]) -> None:
    """An unregistered redirect URI, an unknown scope, and what can name no user or session are refused before anybody is sent away."""

    async def flow() -> None:
        asked = {"user_id": "user_1", "session": "s", **options}
        with pytest.raises(errors.ConfigurationError):
            await settle(platform.manager().authorize_url(asked.pop("user_id"), **asked))

    platform.run(flow)


def test_the_other_browser(platform: Platform, settle: Any) -> None:
    """A redirect that comes in another browser session connects nobody, and still works in its own."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        with pytest.raises(errors.StateMismatchError):
            await settle(manager.callback(back["code"], back["state"], session="browser-2"))
        assert platform.exchanges() == 0
        made = await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert made.connected

    platform.run(flow)


def test_the_other_redirect_uri(platform: Platform, settle: Any) -> None:
    """A redirect that arrives at another URI than the one that it was sent to is refused."""

    async def flow() -> None:
        other = "https://service.example/other"
        platform.sandbox.oauth.register(other)
        manager = platform.manager(redirect_uris=(CALLBACK, other))
        back = await platform.redirect(manager, redirect_uri=other)
        with pytest.raises(errors.StateMismatchError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1", redirect_uri=CALLBACK))
        assert (await settle(manager.callback(back["code"], back["state"], session="browser-1", redirect_uri=other))).connected

    platform.run(flow)


@pytest.mark.parametrize("state", ["guessed", "x" * 5000, "", None])
def test_a_state_that_we_never_gave(platform: Platform, settle: Any, state: str | None) -> None:
    """A made-up state is refused and the code is not used."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        with pytest.raises(errors.StateMismatchError):
            await settle(manager.callback(back["code"], state, session="browser-1"))
        assert platform.exchanges() == 0

    platform.run(flow)


def test_the_same_redirect_twice(platform: Platform, settle: Any) -> None:
    """The same redirect again gives the same connection, and the code is not sent again."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        first = await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        again = await settle(platform.manager().callback(back["code"], back["state"], session="browser-1"))
        assert again == first
        assert platform.exchanges() == 1
        assert platform.sandbox.client().accounts.retrieve(first.account).charges_enabled

    platform.run(flow)


def test_the_state_with_another_code(platform: Platform, settle: Any) -> None:
    """A state that has done its work takes no other code."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        with pytest.raises(errors.StateReusedError):
            await settle(manager.callback("ac_another", back["state"], session="browser-1"))
        with pytest.raises(errors.StateReusedError):
            await settle(manager.callback(None, back["state"], session="browser-1", error="access_denied"))
        assert platform.exchanges() == 1
        assert (await settle(manager.connection("user_1"))).connected

    platform.run(flow)


def test_the_code_with_another_state(platform: Platform, settle: Any) -> None:
    """A code that was used comes back with another state: it is not sent again, so the connection is not revoked."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        made = await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        other = await platform.redirect(manager, "user_2")
        with pytest.raises(errors.CodeReusedError):
            await settle(manager.callback(back["code"], other["state"], session="browser-1"))
        assert platform.exchanges() == 1
        assert await settle(manager.connection("user_1")) == made
        with pytest.raises(errors.NotConnectedError):
            await settle(manager.connection("user_2"))

    platform.run(flow)


def test_a_late_return(platform: Platform, settle: Any) -> None:
    """After the state's lifetime the user has to begin again."""

    async def flow() -> None:
        manager = platform.manager(state_lifetime=120)
        back = await platform.redirect(manager)
        platform.pass_time(seconds=121)
        with pytest.raises(errors.StateMismatchError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert platform.exchanges() == 0

    platform.run(flow)


def test_the_user_says_no(platform: Platform, settle: Any) -> None:
    """A refusal is told by its own error, and its state is used up."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager, deny=True)
        with pytest.raises(errors.AuthorizationDeniedError) as caught:
            await settle(manager.callback(None, back["state"], session="browser-1", error=back["error"]))
        assert caught.value.code == "access_denied"
        with pytest.raises(errors.StateReusedError):
            await settle(manager.callback("ac_late", back["state"], session="browser-1"))
        assert platform.exchanges() == 0

    platform.run(flow)


def test_somebodys_text_as_an_error(platform: Platform, settle: Any) -> None:
    """Text in a redirect's error is not repeated anywhere."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        with pytest.raises(errors.AuthorizationDeniedError) as caught:
            await settle(manager.callback(None, back["state"], session="browser-1", error="<script>alert(1)</script>"))
        assert caught.value.code == "unknown_error"
        assert "script" not in str(caught.value)

    platform.run(flow)


@pytest.mark.parametrize(
    "fault",
    [{"drop_after": True}, {"timeout": True, "done": True}, {"status": 500, "done": True}, {"body": b"not JSON", "done": True}],
)
def test_a_lost_answer(platform: Platform, settle: Any, fault: dict[str, Any]) -> None:
    """When the answer to a code got lost, the code is not sent again, not even for the same redirect, and beginning again connects."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        platform.sandbox.faults.next(operation="POST /oauth/token", **fault)
        with pytest.raises(errors.AuthorizationInterruptedError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        with pytest.raises(errors.AuthorizationInterruptedError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert platform.exchanges() == 1
        assert (await platform.connect(manager)).connected

    platform.run(flow)


def test_a_request_that_never_left(platform: Platform, settle: Any) -> None:
    """A code that certainly never reached Stripe is sent again."""

    async def flow() -> None:
        manager = platform.manager(transport=Unreachable(platform.sandbox.transport()))
        assert (await platform.connect(manager)).connected
        assert platform.exchanges() == 1

    platform.run(flow)


class Unreachable(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that comes up at the second attempt."""

    def __init__(self, behind: Any) -> None:
        self.behind, self.down = behind, 1

    def _fail(self, request: Any) -> None:
        if self.down:
            self.down -= 1
            reason = "no route"
            raise httpx.ConnectError(reason, request=request)

    def handle_request(self, request: Any) -> Any:
        self._fail(request)
        return self.behind.handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        self._fail(request)
        return await self.behind.handle_async_request(request)


def test_a_refused_code(platform: Platform, settle: Any) -> None:
    """A code that Stripe does not know is told as OAuth's own error."""

    async def flow() -> None:
        manager = platform.manager()
        back = await platform.redirect(manager)
        with pytest.raises(errors.OAuthError) as caught:
            await settle(manager.callback("ac_unknown", back["state"], session="browser-1"))
        assert caught.value.code == "invalid_grant"
        with pytest.raises(errors.StateReusedError):
            await settle(manager.callback("ac_unknown", back["state"], session="browser-1"))

    platform.run(flow)


def test_mixed_modes(platform: Platform, settle: Any) -> None:
    """A client id of live mode with a test key is told by its own error, and nothing is stored."""

    async def flow() -> None:
        manager = platform.manager(client_id=platform.sandbox.oauth.live_client_id)
        back = await platform.redirect(manager)
        with pytest.raises(errors.ModeMismatchError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        with pytest.raises(errors.NotConnectedError):
            await settle(manager.connection("user_1"))

    platform.run(flow)


def test_less_than_was_asked_for(platform: Platform, settle: Any) -> None:
    """A grant that covers less than the scope is refused before it is stored."""

    async def flow() -> None:
        manager = platform.manager()
        url = await settle(manager.authorize_url("user_1", session="browser-1"))
        back = httpx.URL(platform.sandbox.oauth.consent(url.replace("read_write", "read_only"))).params
        with pytest.raises(errors.ScopeMismatchError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        with pytest.raises(errors.NotConnectedError):
            await settle(manager.connection("user_1"))

    platform.run(flow)


def test_another_account(platform: Platform, settle: Any) -> None:
    """Who was connected comes back with the same account, unless another one was asked for."""

    async def flow() -> None:
        manager = platform.manager()
        first = await platform.connect(manager)
        with pytest.raises(errors.AccountMismatchError) as caught:
            await platform.connect(manager)
        assert caught.value.expected == first.account
        assert await settle(manager.connection("user_1")) == first
        again = await platform.connect(manager, account=first.account)
        assert (again.id, again.account, again.generation) == (first.id, first.account, 2)
        other = await platform.connect(manager, replace=True)
        assert other.account != first.account
        assert (other.id, other.generation) == (first.id, 3)

    platform.run(flow)


def test_a_store_that_is_away_for_a_moment(platform: Platform, settle: Any) -> None:
    """A grant is stored when the store is back, also when a write was done and its answer lost."""

    async def flow() -> None:
        store = faulty(platform)
        manager = platform.manager(store=store)
        back = await platform.redirect(manager)
        # Reading and claiming the state, remembering the code and storing the connection are writes in this order.
        store.faults.next(operation="save", kind="fail", times=2)
        made = await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert made.connected
        assert platform.exchanges() == 1

    platform.run(flow)


def test_a_store_that_takes_no_writes(platform: Platform, settle: Any) -> None:
    """A store that takes no writes is noticed before anybody is sent away, and before a code is used."""

    async def flow() -> None:
        store = faulty(platform)
        manager = platform.manager(store=store)
        store.faults.next(operation="save_authorization", kind="fail")
        with pytest.raises(errors.StoreError):
            await settle(manager.authorize_url("user_1", session="s"))
        back = await platform.redirect(manager)
        store.faults.next(operation="save_authorization", kind="fail")
        with pytest.raises(errors.StoreError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert platform.exchanges() == 0
        assert (await settle(manager.callback(back["code"], back["state"], session="browser-1"))).connected

    platform.run(flow)


def test_a_crash_before_the_code_was_sent(platform: Platform, settle: Any) -> None:
    """A redirect that comes again after a crash in the middle is answered, in bounded time, with the advice to begin again."""

    async def flow() -> None:
        manager = platform.manager(refresh_timeout=0.3)
        back = await platform.redirect(manager)
        found = platform.memory.load_authorization(digest("state", back["state"]))
        assert found is not None
        # What a process leaves that died after it had claimed the state.
        assert platform.memory.save_authorization(replace(found, state="exchanging", code=digest("code", back["code"])))
        with pytest.raises(errors.AuthorizationInterruptedError):
            await settle(manager.callback(back["code"], back["state"], session="browser-1"))
        assert platform.exchanges() == 0
        assert (await platform.connect(manager)).connected

    platform.run(flow)


def test_the_profiles_are_apart(platform: Platform, settle: Any) -> None:
    """A state of one OAuth server is none of the other's, and one user can have a connection of each."""

    async def flow() -> None:
        connect, app = platform.manager(), platform.manager("stripe_app")
        back = await platform.redirect(connect)
        with pytest.raises(errors.StateMismatchError):
            await settle(app.callback(back["code"], back["state"], session="browser-1"))
        await settle(connect.callback(back["code"], back["state"], session="browser-1"))
        await platform.connect(app)
        assert (await settle(connect.connection("user_1"))).scope == "read_write"
        assert (await settle(app.connection("user_1"))).scope == "stripe_apps"

    platform.run(flow)


def test_installing_through_the_api(platform: Platform, settle: Any) -> None:
    """A Stripe App that is installed through Stripe's API connects the user without a browser."""

    async def flow() -> None:
        account = platform.sandbox.connect().id
        manager = platform.manager("stripe_app")
        made = await settle(manager.install("user_1", app=platform.sandbox.oauth.app_id, account=account))
        assert (made.account, made.state) == (account, "active")
        assert (await settle(manager.token("user_1"))).account == account
        ended = await settle(manager.uninstall("user_1"))
        assert ended.state == "revoked"
        with pytest.raises(errors.ConfigurationError):
            await settle(platform.manager().install("user_1", app=platform.sandbox.oauth.app_id, account=account))

    platform.run(flow)
