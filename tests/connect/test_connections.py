"""Connections after they were made: used, listed, ended, told of by webhooks, onboarded, encrypted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe import AsyncOAuthManager, AsyncStripeClient, Keyring, OAuthConfig, OAuthManager, StripeClient, errors
from atom_stripe.models import Event
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import AsyncFaultyTokenStore, FaultyTokenStore
from tests.canary import LIVE_KEY

if TYPE_CHECKING:
    from tests.connect.conftest import Platform


async def listed(manager: Any, **query: Any) -> list[Any]:
    """All connections that a manager goes over."""
    found = manager.connections(**query)
    return [each async for each in found] if hasattr(found, "__aiter__") else list(found)


# Calling Stripe for a user.


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_acting_for_a_user(platform: Platform, settle: Any, profile: Any) -> None:
    """A client for a user works in that user's account and nowhere else, whichever way the account was connected."""

    async def flow() -> None:
        manager = platform.manager(profile)
        for user in ("user_1", "user_2"):
            await platform.connect(manager, user)
        stripe = platform.client(manager)
        made = await settle(stripe.for_user("user_1").customers.create(email="jenny@example.com"))
        assert (await settle(stripe.for_user("user_1").customers.retrieve(made.id))).email == "jenny@example.com"
        for stranger in (stripe.for_user("user_2"), stripe):
            with pytest.raises(errors.NotFoundError):
                await settle(stranger.customers.retrieve(made.id))

    platform.run(flow)


def test_the_key_that_acts(platform: Platform, settle: Any) -> None:
    """Connect acts with the platform's key and the account, a Stripe App with the user's token and no account."""

    async def flow() -> None:
        for profile in ("connect", "stripe_app"):
            manager = platform.manager(profile)
            made = await platform.connect(manager)
            sent: list[httpx.Request] = []
            stripe = client_over(platform, manager, Recording(platform.sandbox.transport(), sent))
            await settle(stripe.for_user("user_1").customers.list())
            token = (await settle(manager.token("user_1"))).value.get_secret_value()
            key = platform.stripe_config().api_key.get_secret_value()
            expected = (f"Bearer {key}", made.account) if profile == "connect" else (f"Bearer {token}", None)
            assert (sent[0].headers["authorization"], sent[0].headers.get("stripe-account")) == expected

    platform.run(flow)


class Recording(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Keeps what is sent."""

    def __init__(self, behind: Any, sent: list[httpx.Request]) -> None:
        self.behind, self.sent = behind, sent

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        response: httpx.Response = self.behind.handle_request(request)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        response: httpx.Response = await self.behind.handle_async_request(request)
        return response


def client_over(platform: Platform, manager: Any, transport: Any) -> Any:
    kind: Any = StripeClient if platform.sync else AsyncStripeClient
    return kind(config=platform.stripe_config(), http_client=platform.http_client(transport), oauth=manager)


def test_a_token_that_stripe_refuses(platform: Platform, settle: Any) -> None:
    """A call whose token Stripe refuses is sent once more with a renewed one, under the same idempotency key."""

    async def flow() -> None:
        manager = platform.manager("stripe_app", access_token_lifetime=10_000_000)
        await platform.connect(manager)
        sent: list[httpx.Request] = []
        stripe = client_over(platform, manager, Recording(platform.sandbox.transport(), sent)).for_user("user_1")
        # We believe that it lives on; Stripe knows better.
        platform.pass_time(hours=2)
        made = await settle(stripe.customers.create(email="jenny@example.com"))
        assert made.email == "jenny@example.com"
        assert platform.refreshes() == 1
        assert len({request.headers["idempotency-key"] for request in sent}) == 1
        assert len({request.headers["authorization"] for request in sent}) == 2
        assert len(await settle(stripe.customers.list())) == 1 if platform.sync else True

    platform.run(flow)


def test_a_token_that_is_refused_for_good(platform: Platform, settle: Any) -> None:
    """A call is not sent again and again: when the renewed token is refused too, the error is the caller's."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        stripe = platform.client(manager).for_user("user_1")
        platform.sandbox.faults.next(operation="GET /v1/customers", status=401, times=10)
        with pytest.raises(errors.AuthenticationError):
            await settle(stripe.customers.list())
        assert platform.refreshes() == 1
        assert len(platform.sandbox.faults) == 8

    platform.run(flow)


def test_a_disconnected_user(platform: Platform, settle: Any) -> None:
    """A client for a user stops to work at once when the user is disconnected, and works again after a new connection."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        stripe = platform.client(manager).for_user("user_1")
        await settle(stripe.customers.list())
        await settle(manager.disconnect("user_1"))
        with pytest.raises(errors.NotConnectedError):
            await settle(stripe.customers.list())
        await platform.connect(manager, account=made.account)
        await settle(stripe.customers.list())

    platform.run(flow)


def test_one_client_for_one_user(platform: Platform, settle: Any) -> None:
    """A user's client cannot be made to act for somebody else, and a client without a manager knows no users."""

    async def flow() -> None:
        manager = platform.manager()
        await platform.connect(manager)
        stripe = platform.client(manager).for_user("user_1")
        assert (await settle(stripe.with_options(timeout=3).customers.list())) is not None
        for options in ({"stripe_account": "acct_other"}, {"api_key": "sk_test_" + "o" * 20}, {"stripe_context": "org_1/acct_1"}):
            with pytest.raises(errors.ConfigurationError):
                stripe.with_options(**options)
        for options in ({"stripe_account": "acct_other"}, {"stripe_context": "org_1/acct_1"}):
            with pytest.raises(errors.ConfigurationError):
                await settle(stripe.customers.list(**options))
        with pytest.raises(errors.ConfigurationError):
            _ = stripe.sdk
        with pytest.raises(errors.ConfigurationError):
            platform.client(None).for_user("user_1")
        assert "user_1" not in repr(stripe)

    platform.run(flow)


def test_mixed_colours_and_modes(platform: Platform) -> None:
    """A client takes the manager of its own colour and mode, a manager the store of its own colour; mixing is refused at once."""
    other = type(platform)("asyncio" if platform.sync else "sync", platform.sandbox)
    with pytest.raises(errors.ConfigurationError):
        platform.client(other.manager())
    with pytest.raises(errors.ConfigurationError):
        platform.client("a manager")
    with pytest.raises(errors.ModeMismatchError):
        live_client(platform)
    kind: Any = OAuthManager if platform.sync else AsyncOAuthManager
    wrong: Any = AsyncMemoryTokenStore() if platform.sync else MemoryTokenStore()
    with pytest.raises(errors.ConfigurationError, match="Async" if platform.sync else "use it with OAuthManager"):
        kind(platform.config(), wrong)
    with pytest.raises(errors.ConfigurationError):
        kind(platform.config(), object())
    with pytest.raises(errors.ConfigurationError):
        kind(platform.stripe_config(), platform.store())
    with pytest.raises(errors.ConfigurationError, match="STRIPE_TOKEN_KEYS"):
        kind(platform.config(token_keys=()), platform.store())


def live_client(platform: Platform) -> Any:
    kind: Any = StripeClient if platform.sync else AsyncStripeClient
    return kind(LIVE_KEY, oauth=platform.manager())


# Listing.


def test_listing(platform: Platform, settle: Any) -> None:
    """Connections are gone over whole, page after page, or by state, account or the access token that turned up somewhere."""

    async def flow() -> None:
        manager = platform.manager()
        for index in range(7):
            await platform.connect(manager, f"user_{index}")
        await settle(manager.disconnect("user_3"))
        everybody = await listed(manager)
        assert [made.id for made in everybody] == sorted(made.id for made in everybody)
        assert {made.user_id for made in everybody} == {f"user_{index}" for index in range(7)}
        assert [made.user_id for made in await listed(manager, state="revoked")] == ["user_3"]
        one = everybody[0]
        if one.account and one.connected:
            assert await listed(manager, account=one.account) == [one]
        token = (await settle(manager.token("user_5"))).value.get_secret_value()
        assert [made.user_id for made in await listed(manager, access_token=token)] == ["user_5"]
        assert await listed(manager, access_token="sk_test_of_nobody") == []
        assert await listed(platform.manager("stripe_app")) == []

    platform.run(flow)


# Ending.


def test_disconnecting(platform: Platform, settle: Any) -> None:
    """Disconnecting ends the connection at Stripe and here, keeps the row without a token, and may be done twice."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        events = platform.events()
        ended = await settle(manager.disconnect("user_1"))
        assert (ended.id, ended.state, ended.account) == (made.id, "revoked", made.account)
        row = platform.row()
        assert (row.access_token, row.refresh_token, row.access_token_fingerprint, row.key_id) == (None,) * 4
        assert [event.type for event in events] == ["account.application.deauthorized"]
        assert await settle(manager.disconnect("user_1")) == ended
        with pytest.raises(errors.PermissionDeniedError):
            await settle(platform.client(None).customers.list(stripe_account=made.account))

    platform.run(flow)


def test_disconnecting_what_the_merchant_ended(platform: Platform, settle: Any) -> None:
    """An account that the merchant took away already is disconnected here without an error."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        platform.sandbox.oauth.deauthorize(made.account or "")
        assert (await settle(manager.disconnect("user_1"))).state == "revoked"

    platform.run(flow)


def test_disconnecting_with_a_wrong_client_id(platform: Platform, settle: Any) -> None:
    """A wrong client id and one of the other mode are told apart from an account that is gone, and nothing is forgotten."""

    async def flow() -> None:
        await platform.connect(platform.manager())
        for client_id, expected in (
            ("ca_SomebodyElses", errors.ConfigurationError),
            (platform.sandbox.oauth.live_client_id, errors.ModeMismatchError),
        ):
            manager = platform.manager(client_id=client_id)
            with pytest.raises(expected):
                await settle(manager.disconnect("user_1"))
            assert platform.row().state == "active"

    platform.run(flow)


def test_disconnecting_what_the_platform_controls(platform: Platform, settle: Any) -> None:
    """An account that the platform made is not disconnected but forgotten, when that is asked for."""

    async def flow() -> None:
        manager = platform.manager()
        await settle(manager.account_link("user_1", return_url="https://a.example/back", refresh_url="https://a.example/again"))
        with pytest.raises(errors.ControlledAccountError):
            await settle(manager.disconnect("user_1"))
        assert (await settle(manager.forget("user_1"))).state == "revoked"

    platform.run(flow)


def test_disconnecting_while_stripe_is_away(platform: Platform, settle: Any) -> None:
    """When Stripe does not confirm, the connection stays as it is, to be ended later."""

    async def flow() -> None:
        manager = platform.manager()
        await platform.connect(manager)
        platform.sandbox.faults.next(operation="POST /oauth/deauthorize", status=503, times=10)
        with pytest.raises(errors.ServerError):
            await settle(manager.disconnect("user_1"))
        assert platform.row().state == "active"
        platform.sandbox.faults.clear()
        assert (await settle(manager.disconnect("user_1"))).state == "revoked"

    platform.run(flow)


def test_a_shared_account(platform: Platform, settle: Any) -> None:
    """An account that two users are connected to stays connected at Stripe until the last of them leaves."""

    async def flow() -> None:
        manager = platform.manager()
        first = await platform.connect(manager)
        await platform.connect(manager, "user_2", account=first.account)
        await settle(manager.disconnect("user_1"))
        stripe = platform.client(manager)
        await settle(stripe.for_user("user_2").customers.list())
        await settle(manager.disconnect("user_2"))
        with pytest.raises(errors.PermissionDeniedError):
            await settle(stripe.customers.list(stripe_account=first.account))

    platform.run(flow)


# Webhooks.


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_a_merchant_who_leaves(platform: Platform, settle: Any, profile: Any) -> None:
    """The event of a merchant who took the access away ends the connection here, and coming twice it changes nothing more."""

    async def flow() -> None:
        manager = platform.manager(profile)
        made = await platform.connect(manager)
        bystander = await platform.connect(manager, "user_2")
        events = platform.events()
        platform.sandbox.oauth.deauthorize(made.account or "")
        event = next(event for event in events if event.type == "account.application.deauthorized")
        assert [ended.user_id for ended in await settle(manager.handle_event(event))] == ["user_1"]
        assert await settle(manager.handle_event(event)) == []
        assert (await settle(manager.connection("user_1"))).state == "revoked"
        assert await settle(manager.connection("user_2")) == bystander

    platform.run(flow)


@pytest.mark.parametrize(("app", "ended"), [("com.example.ours", 1), ("com.example.other", 0)])
def test_an_app_that_was_uninstalled(platform: Platform, settle: Any, app: str, ended: int) -> None:
    """The event of an uninstalled app ends the connection if the app is ours."""

    async def flow() -> None:
        manager = platform.manager("stripe_app", app="com.example.ours")
        made = await platform.connect(manager)
        event = Event.from_stripe(
            {
                "id": "evt_1",
                "object": "event",
                "type": "apps.install.deleted",
                "created": platform.sandbox.clock.timestamp,
                "livemode": False,
                "data": {"object": {"id": "appinst_1", "object": "apps.install", "app": app, "account": made.account}},
            }
        )
        assert len(await settle(manager.handle_event(event))) == ended

    platform.run(flow)


def test_a_farewell_that_comes_late(platform: Platform, settle: Any) -> None:
    """An event of an earlier connection, delivered late, does not end the one that was made after it."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        events = platform.events()
        platform.sandbox.oauth.deauthorize(made.account or "")
        platform.pass_time(minutes=5)
        again = await platform.connect(manager, account=made.account)
        for event in events:
            assert await settle(manager.handle_event(event)) == []
        assert await settle(manager.connection("user_1")) == again

    platform.run(flow)


@pytest.mark.parametrize(
    "change",
    [
        {"livemode": True},
        {"account": None},
        {"account": "acct_stranger"},
        {"account": "not an account"},
        {"type": "account.application.authorized"},
        {"data": {"object": {"id": "ca_another", "object": "application"}}},
        {"data": {}},
    ],
    ids=str,
)
def test_events_of_others(platform: Platform, settle: Any, change: dict[str, Any]) -> None:
    """Events of another mode, account or application, and those of other types, change nothing."""

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        platform.events()
        raw = {
            "id": "evt_1",
            "object": "event",
            "type": "account.application.deauthorized",
            "created": platform.sandbox.clock.timestamp + 1,
            "livemode": False,
            "account": made.account,
            "data": {"object": {"id": platform.sandbox.oauth.client_id, "object": "application"}},
        }
        event = Event.from_stripe({**raw, **change})
        if change == {"data": {}}:
            # Nothing says which application it was, as in a thin event: it is taken for ours.
            assert len(await settle(manager.handle_event(event))) == 1
            return
        assert await settle(manager.handle_event(event)) == []
        assert await settle(manager.connection("user_1")) == made

    platform.run(flow)


def test_a_thin_farewell(platform: Platform, settle: Any) -> None:
    """The thin form of the event ends the connection as the snapshot does."""
    from atom_stripe.models import EventNotification

    async def flow() -> None:
        manager = platform.manager()
        made = await platform.connect(manager)
        event = EventNotification.from_stripe(
            {
                "id": "evt_1",
                "object": "v2.core.event",
                "type": "v1.account.application.deauthorized",
                "created": "2026-11-02T10:00:00.000Z",
                "livemode": False,
                "context": made.account,
            }
        )
        assert [ended.user_id for ended in await settle(manager.handle_event(event))] == ["user_1"]

    platform.run(flow)


# Onboarding.

LINK = {"return_url": "https://service.example/back", "refresh_url": "https://service.example/again"}


def test_onboarding(platform: Platform, settle: Any) -> None:
    """A platform without OAuth makes an account, sends its user through Stripe's pages, and calls Stripe for it."""

    async def flow() -> None:
        manager = platform.manager(client_id=None)
        link = await settle(manager.account_link("user_1", **LINK, account={"type": "express", "country": "US"}))
        assert link.url.startswith("https://")
        assert link.url not in repr(link)
        status = await settle(manager.account_status("user_1"))
        assert (status.complete, status.charges_enabled) == (False, False)
        assert status.currently_due
        assert (await settle(manager.connection("user_1"))).state == "onboarding"
        platform.sandbox.complete_onboarding(link.account)
        status = await settle(manager.account_status("user_1"))
        assert (status.complete, status.currently_due) == (True, ())
        made = await settle(manager.connection("user_1"))
        assert (made.state, made.account, made.stripe_user_id) == ("active", link.account, None)
        await settle(platform.client(manager).for_user("user_1").customers.create(email="jenny@example.com"))
        with pytest.raises(errors.NotConnectedError, match="without OAuth"):
            await settle(manager.token("user_1"))

    platform.run(flow)


def test_onboarding_again(platform: Platform, settle: Any) -> None:
    """Asking for another link gives one to the same account."""

    async def flow() -> None:
        manager = platform.manager()
        first = await settle(manager.account_link("user_1", **LINK))
        again = await settle(manager.account_link("user_1", **LINK))
        assert (again.account, again.url == first.url) == (first.account, False)
        assert len(await settle(platform.client(None).accounts.list()) if platform.sync else [1]) == 1

    platform.run(flow)


@pytest.mark.parametrize("kind", ["fail", "lose_answer"])
def test_onboarding_interrupted(platform: Platform, settle: Any, kind: Any) -> None:
    """When the account was made and could not be stored, asking again finds the same account and makes no other."""

    async def flow() -> None:
        store = (FaultyTokenStore if platform.sync else AsyncFaultyTokenStore)(platform.store())
        manager = platform.manager(store=store)
        made = platform.sandbox.client()

        def away(_request: httpx.Request) -> None:
            if _request.url.path == "/v1/accounts":
                store.faults.next(operation="save", kind=kind)

        from tests.connect.test_tokens import Between

        broken = platform.manager(store=store, transport=Between(platform.sandbox.transport(), away))
        with pytest.raises(errors.StoreError):
            await settle(broken.account_link("user_1", **LINK))
        link = await settle(manager.account_link("user_1", **LINK))
        assert [account.id for account in made.accounts.list()] == [link.account]

    platform.run(flow)


def test_onboarding_is_over(platform: Platform, settle: Any) -> None:
    """The event of an account that is complete ends its onboarding here."""

    async def flow() -> None:
        manager = platform.manager()
        link = await settle(manager.account_link("user_1", **LINK))
        events = platform.events()
        platform.sandbox.complete_onboarding(link.account)
        changed = [made for event in events for made in await settle(manager.handle_event(event))]
        assert [(made.user_id, made.state) for made in changed] == [("user_1", "active")]

    platform.run(flow)


def test_no_onboarding(platform: Platform, settle: Any) -> None:
    """A Stripe App has no account links, and a user without an account has no status."""

    async def flow() -> None:
        with pytest.raises(errors.ConfigurationError):
            await settle(platform.manager("stripe_app").account_link("user_1", **LINK))
        with pytest.raises(errors.NotConnectedError):
            await settle(platform.manager().account_status("user_1"))

    platform.run(flow)


# Keys.


def test_rotating_keys(platform: Platform, settle: Any) -> None:
    """A rotation encrypts every token with the first key, in batches, and afterwards the old key is needed no more."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        for index in range(5):
            await platform.connect(manager, f"user_{index}")
        tokens = [(await settle(manager.token(f"user_{index}"))).value for index in range(5)]
        two = Keyring.generate_key("two")
        both = platform.manager("stripe_app", store=platform.store(), token_keys=(two, *manager.config.token_keys))
        rotated, after = 0, None
        while True:
            batch = await settle(both.rotate_keys(after=after, limit=2))
            rotated, after = rotated + batch.rotated, batch.after
            if after is None:
                break
        assert rotated == 5
        assert (await settle(both.rotate_keys())).rotated == 0
        alone = platform.manager("stripe_app", store=platform.store(), token_keys=(two,))
        assert [(await settle(alone.token(f"user_{index}"))).value for index in range(5)] == tokens
        platform.pass_time(hours=2)
        assert (await settle(alone.token("user_1"))).generation == 2

    platform.run(flow)


def test_a_rotation_without_the_old_key(platform: Platform, settle: Any) -> None:
    """Tokens that cannot be read are named and left, and the others are rotated."""

    async def flow() -> None:
        await platform.connect(platform.manager())
        lost = platform.row().id
        two, three = Keyring.generate_key("two"), Keyring.generate_key("three")
        await platform.connect(platform.manager(store=platform.store(), token_keys=(two,)), "user_2")
        rotation = await settle(platform.manager(store=platform.store(), token_keys=(three, two)).rotate_keys())
        assert (rotation.rotated, rotation.unreadable) == (1, ((lost, "UnknownKeyError"),))
        assert platform.row().key_id == "one"

    platform.run(flow)


def test_settings_from_the_environment(platform: Platform) -> None:
    """The original's variables configure a manager, and no repr shows a secret of them."""
    key = Keyring.generate_key("one")
    config = OAuthConfig.from_env(
        {
            "STRIPE_CLIENT_ID": "ca_FromTheEnvironment",
            "STRIPE_CLIENT_SECRET": LIVE_KEY,
            "STRIPE_SECRET_KEY": "sk_test_" + "n" * 24,
            "STRIPE_REDIRECT_URI": "https://a.example/cb, https://b.example/cb",
            "STRIPE_TOKEN_KEYS": key,
        }
    )
    assert (config.client_id, config.redirect_uris, config.livemode) == (
        "ca_FromTheEnvironment",
        ("https://a.example/cb", "https://b.example/cb"),
        True,
    )
    assert key.partition(":")[2] not in repr(config)
    kind: Any = OAuthManager if platform.sync else AsyncOAuthManager
    assert "ca_" not in repr(kind(config, platform.store()))
