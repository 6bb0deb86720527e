"""
Managers on a sandbox, in three colours: a test is written once, as ``async def`` code, and runs behind sync ports, under asyncio and under trio.

Time is the sandbox's, for both sides: ``await platform.pass_time(hours=1)``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from atom_stripe import (
    AsyncOAuthManager,
    AsyncStripeClient,
    Connection,
    Keyring,
    OAuthConfig,
    OAuthManager,
    StripeClient,
    StripeConfig,
    WebhookVerifier,
)
from atom_stripe._engine.connect import refresh
from atom_stripe._engine.drive import run
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from atom_stripe.protocols import Profile, TokenRecord

CALLBACK = "https://service.example/stripe/callback"
KEYS = (Keyring.generate_key("one"),)


async def settled(value: Any) -> Any:
    """Await *value* if it is the async colour's."""
    return await value if inspect.isawaitable(value) else value


@dataclass
class Platform:
    """A platform with users, and the Stripe that they have accounts at."""

    colour: str
    sandbox: StripeSandbox
    memory: MemoryTokenStore = field(default_factory=MemoryTokenStore)
    told: list[Connection] = field(default_factory=list)
    managers: list[Any] = field(default_factory=list)

    @property
    def sync(self) -> bool:
        return self.colour == "sync"

    def stripe_config(self, **settings: Any) -> StripeConfig:
        return self.sandbox._config(API_KEY, settings)

    def config(self, profile: Profile = "connect", **settings: Any) -> OAuthConfig:
        own: dict[str, Any] = {
            "stripe": self.stripe_config(),
            "client_id": self.sandbox.oauth.app_client_id if profile == "stripe_app" else self.sandbox.oauth.client_id,
            "redirect_uris": (CALLBACK,),
            "token_keys": KEYS,
            "profile": profile,
        }
        return OAuthConfig(**{**own, **settings})

    def http_client(self, transport: Any = None) -> Any:
        transport = transport or self.sandbox.transport()
        return httpx.Client(transport=transport) if self.sync else httpx.AsyncClient(transport=transport)

    def store(self) -> Any:
        return self.memory if self.sync else AsyncMemoryTokenStore(self.memory)

    def manager(
        self, profile: Profile = "connect", *, store: Any = None, hook: Any = None, transport: Any = None, **settings: Any
    ) -> Any:
        kind: Any = OAuthManager if self.sync else AsyncOAuthManager
        made = kind(
            self.config(profile, **settings),
            store or self.store(),
            http_client=self.http_client(transport),
            on_reauthorization_required=hook or self.told.append,
            clock=lambda: self.sandbox.clock.timestamp,
        )
        self.managers.append(made)
        return made

    def client(self, manager: Any, **settings: Any) -> Any:
        kind: Any = StripeClient if self.sync else AsyncStripeClient
        return kind(config=self.stripe_config(**settings), http_client=self.http_client(), oauth=manager)

    async def redirect(
        self, manager: Any, user_id: str = "user_1", *, session: str = "browser-1", **options: Any
    ) -> httpx.QueryParams:
        """What Stripe's redirect brings after the merchant agreed."""
        account, deny = options.pop("account", None), options.pop("deny", False)
        url = await settled(manager.authorize_url(user_id, session=session, **options))
        return httpx.URL(self.sandbox.oauth.consent(url, account=account, deny=deny)).params

    async def connect(self, manager: Any, user_id: str = "user_1", **options: Any) -> Connection:
        """Let a user connect an account."""
        back = await self.redirect(manager, user_id, **options)
        return await settled(manager.callback(back["code"], back["state"], session="browser-1"))

    def row(self, user_id: str = "user_1", profile: Profile = "connect") -> TokenRecord:
        """What is stored of a user."""
        found = self.memory.load((user_id, profile, False))
        assert found is not None
        return found

    async def landed(self, manager: Any) -> None:
        """Wait for what goes on in the background."""
        flights = manager._flows.tokens._flights
        while flights.under_way():
            await flights._sleep(0.005)

    def pass_time(self, **by: float) -> None:
        self.sandbox.clock.advance(**by)

    def refreshes(self) -> int:
        """How often a refresh token came to Stripe."""
        return sum(request.grant_type == "refresh_token" for request in self.sandbox.oauth.token_requests)

    def exchanges(self) -> int:
        """How often a code came to Stripe."""
        return sum(request.grant_type == "authorization_code" for request in self.sandbox.oauth.token_requests)

    def events(self) -> list[Any]:
        """The events that a Connect webhook got, from now on."""
        secret = "whsec_" + "c" * 24
        verifier = WebhookVerifier([secret])
        got: list[Any] = []
        self.sandbox.webhooks.deliver_to(lambda body, signature: got.append(verifier.verify(body, signature)), secret, connect=True)
        return got

    def run(self, flow: Callable[[], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            try:
                return await flow()
            finally:
                for manager in self.managers:
                    await settled(manager.close())

        return run(whole()) if self.sync else anyio.run(whole, backend=self.colour)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    with StripeSandbox() as sandbox:
        sandbox.oauth.register(CALLBACK)
        yield Platform(request.param, sandbox)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else stores anything while these tests wait, so they wait less."""
    monkeypatch.setattr(refresh, "_SETTLING", 0.05)
    monkeypatch.setattr(refresh, "_FIRST_ATTEMPT", 0.01)


@pytest.fixture
def settle() -> Any:
    return settled
