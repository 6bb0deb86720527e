"""The sandbox's front: names and docstrings over the machine, the webhooks and the ways in."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from atom_stripe.config import RateLimits, RetryPolicy, StripeConfig
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import resources
from atom_stripe.testing._state.access import is_live
from atom_stripe.testing._state.clock import START, Clock
from atom_stripe.testing._state.machine import Machine
from atom_stripe.testing._state.store import copied, shown
from atom_stripe.testing.resources import accounts, payment_intents, setup_flow
from atom_stripe.testing.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from datetime import datetime

    import httpx

    from atom_stripe._wire.messages import Reply, Request
    from atom_stripe.client import AsyncStripeClient, StripeClient
    from atom_stripe.metrics import Metrics
    from atom_stripe.oauth import AsyncOAuthManager, OAuthManager
    from atom_stripe.protocols import AsyncTokenStore, TokenStore
    from atom_stripe.testing._state.faults import Faults
    from atom_stripe.testing._state.machine import Held
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.asgi import SandboxApp
    from atom_stripe.testing.oauth import SandboxOAuth
    from atom_stripe.testing.server import SandboxServer
    from atom_stripe.testing.transport import SandboxTransport


class StripeSandbox:
    """
    A Stripe that runs here: it keeps what is created, and nothing leaves this machine.

    It is a pure state machine with its own clock, ids and randomness, so the same *seed* and the same requests give the same answers, byte
    by byte. Threads may share it. What Stripe can do and the sandbox cannot is refused by name, with the code ``sandbox_unsupported``.

    Args:
        seed: Where ids come from.
        start: The time on its clock at first.
        webhook_hosts: Hosts beyond this machine that may get webhooks, such as the other containers of a test.

    Source: https://docs.stripe.com/api
    """

    def __init__(self, seed: int = 0, *, start: datetime = START, webhook_hosts: Collection[str] = ()) -> None:
        self.webhooks = Webhooks(webhook_hosts)
        self.clock = Clock(start, self._move)
        self._machine = Machine(resources.catalog(), self.clock, self.webhooks, seed=seed)
        self.webhooks.bind(self._machine)
        self._servers: list[SandboxServer] = []
        self._clients: list[httpx.Client] = []

    def handle(self, request: Request) -> Reply:
        """
        Return Stripe's answer to *request*, once the webhooks that it caused have been given to their functions.

        Raises:
            LostAnswerError: A fault says that no answer arrives.
            ConfigurationError: The sandbox is closed.
        """
        try:
            return self._machine.handle(request)
        finally:
            self.webhooks.deliver()

    async def handle_async(self, request: Request) -> Reply:
        """
        As ``handle()``; coroutine functions that take webhooks are awaited too.

        It works in the event loop, so that tasks meet it in the same order every time. Only a request that is held or delayed waits in a thread.
        """
        try:
            if not self._machine.waits(request):
                return self._machine.handle(request)
            import anyio.to_thread

            return await anyio.to_thread.run_sync(self._machine.handle, request)
        finally:
            await self.webhooks.deliver_async()

    def transport(self) -> SandboxTransport:
        """Return a transport for ``httpx.Client`` or ``httpx.AsyncClient`` that answers from here."""
        from atom_stripe.testing.transport import SandboxTransport

        return SandboxTransport(self)

    def client(self, api_key: str | None = None, *, oauth: OAuthManager | None = None, **settings: Any) -> StripeClient:
        """
        Return a client of this sandbox, without a socket. *settings* are those of ``StripeConfig``.

        It keeps to no rate and waits for no retry, unless *settings* say so. *oauth*: who knows the users of ``for_user()``.

        Raises:
            ConfigurationError: *api_key* is a live key, or a setting is malformed.
        """
        import httpx

        from atom_stripe.client import StripeClient

        http_client = httpx.Client(transport=self.transport())
        self._clients.append(http_client)
        return StripeClient(config=self._config(api_key, settings), http_client=http_client, oauth=oauth)

    def async_client(
        self, api_key: str | None = None, *, oauth: AsyncOAuthManager | None = None, **settings: Any
    ) -> AsyncStripeClient:
        """As ``client()``, for async programs."""
        import httpx

        from atom_stripe.client import AsyncStripeClient

        http_client = httpx.AsyncClient(transport=self.transport())
        return AsyncStripeClient(config=self._config(api_key, settings), http_client=http_client, oauth=oauth)

    def oauth_manager(self, store: TokenStore | None = None, *, metrics: Metrics | None = None, **settings: Any) -> OAuthManager:
        """
        Return a manager that connects users to accounts of this sandbox, by its clock. *settings* are those of ``OAuthConfig``.

        *store*: where connections are kept; in memory, if left out. *metrics*: where renewals of tokens are counted. Without ``token_keys`` in
        *settings*, a key is made up for each manager.

        Raises:
            ConfigurationError: A setting is malformed.
        """
        import httpx

        from atom_stripe.oauth import OAuthManager
        from atom_stripe.stores.memory import MemoryTokenStore

        http_client = httpx.Client(transport=self.transport())
        self._clients.append(http_client)
        config = self.oauth.config(self._config(None, {}), settings)
        return OAuthManager(
            config, store or MemoryTokenStore(), http_client=http_client, clock=lambda: self.clock.timestamp, metrics=metrics
        )

    def async_oauth_manager(
        self, store: AsyncTokenStore | None = None, *, metrics: Metrics | None = None, **settings: Any
    ) -> AsyncOAuthManager:
        """As ``oauth_manager()``, for async programs."""
        import httpx

        from atom_stripe.oauth import AsyncOAuthManager
        from atom_stripe.stores.memory import AsyncMemoryTokenStore

        http_client = httpx.AsyncClient(transport=self.transport())
        config = self.oauth.config(self._config(None, {}), settings)
        return AsyncOAuthManager(
            config,
            store or AsyncMemoryTokenStore(),
            http_client=http_client,
            clock=lambda: self.clock.timestamp,
            metrics=metrics,
        )

    def serve(self, port: int = 0) -> SandboxServer:
        """Serve the same state over HTTP on 127.0.0.1, at any free port if *port* is 0. It stops with the sandbox, or with ``close()``."""
        from atom_stripe.testing.server import SandboxServer

        server = SandboxServer(
            self.handle, lambda api_key=None, **settings: self._config(api_key, settings), port, self._machine.hurry
        )
        self._servers.append(server)
        return server

    @cached_property
    def app(self) -> SandboxApp:
        """The same state as an ASGI application."""
        from atom_stripe.testing.asgi import SandboxApp

        return SandboxApp(self)

    @property
    def faults(self) -> Faults:
        """Bad days on demand: ``sandbox.faults.next(status=500)``."""
        return self._machine.faults

    @property
    def search_lag(self) -> int:
        """
        How many seconds of the sandbox's clock searches are behind: 0 unless it is set. At Stripe it is up to a minute, as a rule.

        What changes from then on is found by ``/v1/customers/search`` and the like when that time has passed, and as it was until then.
        Source: https://docs.stripe.com/search#data-freshness
        """
        return self._machine.index.lag

    @search_lag.setter
    def search_lag(self, seconds: int) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = "search_lag is a whole number of seconds, 0 or more"
            raise ConfigurationError(msg)
        self._machine.index.lag = seconds

    @property
    def account(self) -> str:
        """The id of the sandbox's own account."""
        return self._machine.account.id

    @cached_property
    def oauth(self) -> SandboxOAuth:
        """The other side of OAuth: the merchant who gives access and takes it back, and what the platform has registered."""
        from atom_stripe.testing.oauth import SandboxOAuth

        return SandboxOAuth(self._machine, self.webhooks)

    def connect(self) -> Account:
        """Connect another account and return it. ``Stripe-Account`` with its ``id`` works in it; it begins empty."""
        return self._machine.connect()

    def hold(self, idempotency_key: str) -> AbstractContextManager[Held]:
        """
        Keep requests under a key in flight until the block ends, so that a second one meets the first.

        ``held.wait()`` in the block returns once the first is there, which has to come from another thread::

            with sandbox.hold("order-42") as held:
                thread.start()      # its request waits
                held.wait()
                ...                 # the same key now gets 409
        """
        return self._machine.hold(idempotency_key)

    def complete_action(
        self, payment_intent: str, outcome: Literal["succeeded", "failed"] = "succeeded", *, account: str | None = None
    ) -> Row:
        """
        Do what the customer would: pass or fail the authentication that a payment asks for. Returns the payment intent as it then is.

        *payment_intent*: its id, or that of a setup intent. *account*: the connected account that it is in.

        Raises:
            ConfigurationError: There is no such payment, or it does not ask for anything.
        """
        flow = setup_flow if payment_intent.startswith("seti_") else payment_intents
        return self._happen(
            lambda work: flow.complete_action(work, payment_intent, succeeded=outcome == "succeeded"),
            account or self.account,
        )

    def complete_onboarding(self, account: str) -> Row:
        """
        Be the owner of an account that the platform made, and answer all that Stripe's onboarding asks. Returns the account as it then is.

        Raises:
            ConfigurationError: There is no such account, or it is not connected.
        """
        return self._happen(accounts.complete_onboarding, account)

    def require(self, account: str, *fields: str) -> Row:
        """
        Let Stripe want to know more of an account, such as ``individual.verification.document``. Returns the account as it then is.

        Until ``complete_onboarding()`` answers, it takes no payments and gets no payouts.

        Raises:
            ConfigurationError: There is no such account, it is not connected, or *fields* are no names of fields.
        """
        return self._happen(lambda work: accounts.require(work, *fields), account)

    def close(self) -> None:
        """Stop the servers, the deliveries and the clients. What is asked afterwards gets no answer. Closing twice is harmless."""
        self._machine.hurry()
        for server in self._servers:
            server.close()
        self._machine.close()
        self.webhooks.close()
        for client in self._clients:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StripeSandbox(account={self.account!r}, clock={self.clock.now.isoformat()})"

    def _happen(self, job: Callable[[Transaction], Row], account: str) -> Row:
        """Let *job* happen in an account, deliver its events, and return what it returned, as Stripe shows it."""
        if account not in self._machine.accounts:
            msg = "the sandbox has no such account; sandbox.connect(), a consent or POST /v1/accounts makes one"
            raise ConfigurationError(msg)
        found: list[Row] = []
        self._machine.perform(lambda work: found.append(job(work)), self._machine.accounts[account])
        self.webhooks.deliver()
        result: Row = copied(shown(found[0]))
        return result

    def _move(self, moment: int) -> None:
        self.webhooks.move(moment)

    def _config(self, api_key: str | None, settings: dict[str, Any]) -> StripeConfig:
        from pydantic import SecretStr

        key = api_key or f"sk_test_{self._machine.token('key', 24)}"
        if is_live(key):
            msg = "the sandbox takes no live keys; leave api_key out, or pass one that begins with sk_test_"
            raise ConfigurationError(msg)
        defaults: dict[str, Any] = {"rate_limits": RateLimits.NONE, "retry": RetryPolicy(initial_delay=0.0, max_delay=0.0)}
        return StripeConfig(api_key=SecretStr(key), **{**defaults, **settings})
