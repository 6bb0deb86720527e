"""A user's token: fresh, renewed in time, by one at a time, and never lost."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from atom_stripe import Keyring, OAuthManager, errors
from atom_stripe.testing import AsyncFaultyTokenStore, FaultyTokenStore

if TYPE_CHECKING:
    from tests.connect.conftest import Platform


def value(token: Any) -> str:
    return str(token.value.get_secret_value())


def test_a_fresh_token(platform: Platform, settle: Any) -> None:
    """A token that is far from its end is handed out without asking Stripe."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        first = await settle(manager.token("user_1"))
        platform.pass_time(minutes=40)
        assert await settle(manager.token("user_1")) == first
        assert platform.refreshes() == 0

    platform.run(flow)


def test_in_the_margin(platform: Platform, settle: Any) -> None:
    """Near its end a token is still handed out at once, and renewed in the background, once for all callers."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        first = await settle(manager.token("user_1"))
        platform.pass_time(minutes=51)
        for _ in range(5):
            token = await settle(manager.token("user_1"))
            assert token.generation <= 2
        await platform.landed(manager)
        second = await settle(manager.token("user_1"))
        assert second.generation == 2
        assert value(second) != value(first)
        assert second.expires_at == platform.sandbox.clock.timestamp + 3600
        assert platform.refreshes() == 1

    platform.run(flow)


def test_after_its_end(platform: Platform, settle: Any) -> None:
    """A token that has run out is renewed while the caller waits, year after year."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        for generation in range(2, 6):
            platform.pass_time(days=300)
            token = await settle(manager.token("user_1"))
            assert token.generation == generation
            assert token.expires_at > platform.sandbox.clock.timestamp
        row = platform.row(profile="stripe_app")
        assert (row.lease_owner, row.lease_until, row.intent_key, row.intent_generation, row.last_error) == (None,) * 5

    platform.run(flow)


def test_many_callers(platform: Platform, settle: Any) -> None:
    """However many callers want a token that has run out, and through however many managers, Stripe is asked once."""

    async def flow() -> None:
        store = platform.store()
        managers = [platform.manager("stripe_app", store=store) for _ in range(3)]
        await platform.connect(managers[0])
        platform.pass_time(hours=2)
        got: list[str] = []

        async def call(index: int) -> None:
            got.append(value(await settle(managers[index % 3].token("user_1"))))

        if platform.sync:
            threads = [
                threading.Thread(target=lambda manager=managers[index % 3]: got.append(value(manager.token("user_1"))))
                for index in range(30)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            async with anyio.create_task_group() as group:
                for index in range(30):
                    group.start_soon(call, index)
        assert len(got) == 30
        assert len(set(got)) == 1
        assert platform.refreshes() == 1

    platform.run(flow)


def test_both_colours_on_one_store(platform: Platform, settle: Any) -> None:
    """A manager that cannot see another's work, as in another process, finds the lease in the store and takes what the other stored."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        row = platform.row(profile="stripe_app")
        # Another process is at it.
        now = platform.sandbox.clock.timestamp
        claimed = replace(
            row, lease_owner="other", lease_until=now + 30, intent_key="key-of-the-other", intent_generation=1, intent_at=now
        )
        assert platform.memory.save(claimed)
        short = platform.manager("stripe_app", store=platform.store(), wait=0.3)
        with pytest.raises(errors.RefreshFailedError):
            await settle(short.token("user_1"))
        assert platform.refreshes() == 0
        # It died. Whoever comes after the lease goes on under its key.
        platform.pass_time(seconds=31)
        token = await settle(manager.token("user_1"))
        assert token.generation == 2
        keys = [
            request.idempotency_key for request in platform.sandbox.oauth.token_requests if request.grant_type == "refresh_token"
        ]
        assert keys == ["key-of-the-other"]

    platform.run(flow)


FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "times": 2},
    {"status": 429},
    {"drop": True},
    {"drop_after": True},
    {"timeout": True},
    {"timeout": True, "done": True},
    {"body": b"<html>"},
    {"body": b"{}", "done": True},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_bad_moment(platform: Platform, settle: Any, fault: dict[str, Any]) -> None:
    """A failure on the way to Stripe or back costs time and not the grant: the same token goes out under the same key until the answer is known."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        platform.sandbox.faults.next(operation="POST /v1/oauth/token", **fault)
        token = await settle(manager.token("user_1"))
        assert token.generation == 2
        keys = {
            request.idempotency_key for request in platform.sandbox.oauth.token_requests if request.grant_type == "refresh_token"
        }
        assert len(keys) == 1
        platform.pass_time(hours=2)
        assert (await settle(manager.token("user_1"))).generation == 3

    platform.run(flow)


def test_a_failure_that_is_remembered(platform: Platform, settle: Any) -> None:
    """A failure that Stripe repeats under its key is overcome with a new key."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        network = Remembering(platform.sandbox.transport())
        assert (await settle(platform.manager("stripe_app", transport=network).token("user_1"))).generation == 2
        first, again, other = network.keys
        assert first == again != other

    platform.run(flow)


def test_a_failure_after_the_roll(platform: Platform, settle: Any) -> None:
    """When Stripe rolled the token and can only ever answer that it failed, the grant is gone, and that is said once."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        platform.sandbox.faults.next(operation="POST /v1/oauth/token", status=500, done=True)
        with pytest.raises(errors.ReauthorizationRequiredError):
            await settle(manager.token("user_1"))
        assert len(platform.told) == 1
        assert platform.refreshes() <= 4

    platform.run(flow)


@pytest.mark.parametrize("replays", [True, False])
def test_an_outage(platform: Platform, settle: Any, replays: Any) -> None:
    """While Stripe is away callers are told so, nothing is lost, and the first call afterwards gets a token."""

    async def flow() -> None:
        platform.sandbox.oauth.replays_token_requests = replays
        manager = platform.manager("stripe_app", refresh_timeout=0.4, wait=5)
        await platform.connect(manager)
        platform.pass_time(hours=2)
        platform.sandbox.faults.next(operation="POST /v1/oauth/token", status=503, times=50)
        with pytest.raises(errors.RefreshFailedError) as caught:
            await settle(manager.token("user_1"))
        assert caught.value.user_id == "user_1"
        assert platform.row(profile="stripe_app").state == "active"
        platform.sandbox.faults.clear()
        assert (await settle(manager.token("user_1"))).generation == 2
        assert platform.told == []

    platform.run(flow)


@pytest.mark.parametrize("error", [401, 403])
def test_a_wrong_key(platform: Platform, settle: Any, error: int) -> None:
    """A refusal that is about our own key changes nothing of the connection, and the next call with a good key works."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        platform.sandbox.faults.next(operation="POST /v1/oauth/token", status=error)
        with pytest.raises(errors.APIError):
            await settle(manager.token("user_1"))
        row = platform.row(profile="stripe_app")
        assert (row.state, row.lease_owner, row.intent_key) == ("active", None, None)
        assert (await settle(manager.token("user_1"))).generation == 2

    platform.run(flow)


def test_a_dead_grant(platform: Platform, settle: Any) -> None:
    """A refresh token that Stripe does not know any more ends in one clear state, with one call of the hook, and no row is deleted."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        made = await platform.connect(manager)
        platform.pass_time(days=366)
        with pytest.raises(errors.ReauthorizationRequiredError):
            await settle(manager.token("user_1"))
        asked = platform.refreshes()
        for _ in range(3):
            with pytest.raises(errors.ReauthorizationRequiredError):
                await settle(manager.token("user_1"))
        assert platform.refreshes() == asked == 1
        assert [(told.user_id, told.state, told.last_error) for told in platform.told] == [
            ("user_1", "reauthorization_required", "invalid_grant")
        ]
        again = await platform.connect(manager, account=made.account)
        assert (again.id, again.state) == (made.id, "active")
        assert (await settle(manager.token("user_1"))).generation == again.generation

    platform.run(flow)


def test_the_last_access_token(platform: Platform, settle: Any) -> None:
    """When the grant dies early, the access token is handed out until it runs out."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        first = await settle(manager.token("user_1"))
        platform.sandbox.oauth.replays_token_requests = False
        platform.pass_time(minutes=51)
        # The answer is lost after Stripe rolled the token, and Stripe replays nothing.
        platform.sandbox.faults.next(operation="POST /v1/oauth/token", drop_after=True)
        assert await settle(manager.token("user_1")) == first
        await platform.landed(manager)
        assert (await settle(manager.connection("user_1"))).state == "reauthorization_required"
        assert await settle(manager.token("user_1")) == first
        assert len(platform.told) == 1
        platform.pass_time(minutes=10)
        with pytest.raises(errors.ReauthorizationRequiredError):
            await settle(manager.token("user_1"))

    platform.run(flow)


def test_a_hook_that_fails(platform: Platform, settle: Any) -> None:
    """What the hook raises changes nothing."""

    async def flow() -> None:
        calls: list[Any] = []

        def hook(connection: Any) -> None:
            calls.append(connection)
            raise ValueError

        manager = platform.manager("stripe_app", hook=hook)
        await platform.connect(manager)
        platform.pass_time(days=366)
        with pytest.raises(errors.ReauthorizationRequiredError):
            await settle(manager.token("user_1"))
        assert len(calls) == 1

    platform.run(flow)


def test_the_store_is_away_when_the_answer_comes(platform: Platform, settle: Any) -> None:
    """A new pair that the store does not take is kept until it does, and nobody sees it before."""

    async def flow() -> None:
        store = (FaultyTokenStore if platform.sync else AsyncFaultyTokenStore)(platform.store())

        def away(_request: Any) -> None:
            store.faults.next(operation="save", kind="fail", times=3)
            store.faults.next(operation="save", kind="lose_answer")

        await platform.connect(platform.manager("stripe_app", store=store))
        platform.pass_time(hours=2)
        manager = platform.manager("stripe_app", store=store, transport=Between(platform.sandbox.transport(), away))
        token = await settle(manager.token("user_1"))
        assert token.generation == platform.row(profile="stripe_app").generation == 2
        assert platform.refreshes() == 1

    platform.run(flow)


def test_a_store_that_takes_no_claim(platform: Platform, settle: Any) -> None:
    """A refresh token is not sent while the store takes no writes."""

    async def flow() -> None:
        store = (FaultyTokenStore if platform.sync else AsyncFaultyTokenStore)(platform.store())
        manager = platform.manager("stripe_app", store=store)
        await platform.connect(manager)
        platform.pass_time(hours=2)
        store.faults.next(operation="save", kind="fail")
        with pytest.raises(errors.StoreError):
            await settle(manager.token("user_1"))
        assert platform.refreshes() == 0
        assert (await settle(manager.token("user_1"))).generation == 2

    platform.run(flow)


def test_a_revocation_wins(platform: Platform, settle: Any) -> None:
    """A connection that is revoked while its token is being renewed stays revoked, and holds no token."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        platform.pass_time(hours=2)
        events = platform.events()
        account = (await settle(manager.connection("user_1"))).account

        def revoke(_request: Any) -> None:
            platform.sandbox.oauth.deauthorize(account)
            # In another process: the store is what they share.
            with OAuthManager(
                platform.config("stripe_app"), platform.memory, clock=lambda: platform.sandbox.clock.timestamp
            ) as elsewhere:
                for event in events:
                    elsewhere.handle_event(event)

        other = platform.manager("stripe_app", transport=Between(platform.sandbox.transport(), revoke))
        with pytest.raises(errors.NotConnectedError):
            await settle(other.token("user_1"))
        row = platform.row(profile="stripe_app")
        assert (row.state, row.access_token, row.refresh_token) == ("revoked", None, None)

    platform.run(flow)


class Between(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Lets something happen after Stripe has renewed a token and before the answer arrives."""

    def __init__(self, behind: Any, after: Any) -> None:
        self.behind, self.after = behind, after

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = self.behind.handle_request(request)
        self.after(request)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await self.behind.handle_async_request(request)
        self.after(request)
        return response


class Remembering(Between):
    """Stripe on a day on which it keeps a failure under an idempotency key, and nothing was done."""

    def __init__(self, behind: Any) -> None:
        super().__init__(behind, lambda _request: None)
        self.keys: list[str] = []

    def _failure(self, request: httpx.Request) -> httpx.Response | None:
        key = request.headers["idempotency-key"]
        self.keys.append(key)
        if key != self.keys[0]:
            return None
        replayed = {"idempotent-replayed": "true"} if self.keys.count(key) > 1 else {}
        return httpx.Response(500, headers=replayed, json={"error": {"type": "api_error", "message": "no"}})

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._failure(request) or super().handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._failure(request) or await super().handle_async_request(request)


def test_a_copied_row(platform: Platform, settle: Any) -> None:
    """A token that was copied from another user's row is refused, and so is an older token of the same row."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        await platform.connect(manager, "user_2")
        old, other = platform.row(profile="stripe_app"), platform.row("user_2", "stripe_app")
        assert platform.memory.save(replace(old, access_token=other.access_token, refresh_token=other.refresh_token))
        with pytest.raises(errors.TamperedTokenError) as caught:
            await settle(manager.token("user_1"))
        assert caught.value.connection_id == old.id
        assert platform.memory.save(replace(old, version=platform.row(profile="stripe_app").version))
        platform.pass_time(hours=2)
        assert (await settle(manager.token("user_1"))).generation == 2
        now = platform.row(profile="stripe_app")
        assert platform.memory.save(replace(now, access_token=old.access_token))
        with pytest.raises(errors.ReplayedTokenError):
            await settle(manager.token("user_1"))

    platform.run(flow)


def test_a_row_that_was_put_back(platform: Platform, settle: Any) -> None:
    """A whole row of an earlier day, put back with its generation, is noticed by a process that saw the newer one."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        await platform.connect(manager)
        old = platform.row(profile="stripe_app")
        platform.pass_time(hours=2)
        await settle(manager.token("user_1"))
        assert platform.memory.save(replace(old, version=platform.row(profile="stripe_app").version))
        with pytest.raises(errors.ReplayedTokenError):
            await settle(manager.token("user_1"))

    platform.run(flow)


def test_a_missing_key(platform: Platform, settle: Any) -> None:
    """A token whose key is not configured is told by the key's id, and the connection is left as it is."""

    async def flow() -> None:
        await platform.connect(platform.manager())
        manager = platform.manager(store=platform.store(), token_keys=(Keyring.generate_key("two"),))
        with pytest.raises(errors.UnknownKeyError) as caught:
            await settle(manager.token("user_1"))
        assert caught.value.key_id == "one"
        assert (await settle(manager.connection("user_1"))).connected

    platform.run(flow)


def test_the_sweeper(platform: Platform, settle: Any) -> None:
    """A pass over the store renews what is near its end, says what became of each, and leaves the rest."""

    async def flow() -> None:
        manager = platform.manager("stripe_app")
        for user in ("user_1", "user_2"):
            await platform.connect(manager, user)
        dead = platform.row("user_2", "stripe_app")
        platform.pass_time(minutes=55)
        await platform.connect(manager, "user_3")
        # The grant of user_2 was ended without a word to us.
        platform.sandbox.oauth.uninstall(dead.account)
        swept = await settle(manager.refresh_due())
        assert (swept.refreshed, swept.failed, swept.reauthorization_required) == (1, 0, 1)
        again = await settle(manager.refresh_due())
        assert (again.refreshed, again.failed, again.reauthorization_required) == (0, 0, 0)
        assert platform.refreshes() == 2
        assert [told.user_id for told in platform.told] == ["user_2"]

    platform.run(flow)


def test_no_token(platform: Platform, settle: Any) -> None:
    """Who was never connected, or is no more, gets an error that names the user, and no other."""

    async def flow() -> None:
        manager = platform.manager()
        with pytest.raises(errors.NotConnectedError) as caught:
            await settle(manager.token("user_1"))
        assert caught.value.user_id == "user_1"
        await platform.connect(manager)
        await settle(manager.forget("user_1"))
        with pytest.raises(errors.NotConnectedError):
            await settle(manager.token("user_1"))

    platform.run(flow)


def test_a_cancelled_caller() -> None:
    """A caller that is cancelled while its token is renewed loses nothing: the renewal goes on and is stored."""
    from atom_stripe.testing import StripeSandbox
    from tests.connect.conftest import CALLBACK, Platform

    with StripeSandbox() as sandbox:
        sandbox.oauth.register(CALLBACK)
        platform = Platform("asyncio", sandbox)

        async def flow() -> None:
            manager = platform.manager("stripe_app")
            await platform.connect(manager)
            platform.pass_time(hours=2)
            sandbox.faults.next(operation="POST /v1/oauth/token", delay=0.2)
            caller = asyncio.ensure_future(manager.token("user_1"))
            await asyncio.sleep(0.05)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            await platform.landed(manager)
            assert platform.row(profile="stripe_app").generation == 2
            assert platform.refreshes() == 1

        platform.run(flow)
