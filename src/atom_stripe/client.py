"""The clients. They hold names, types and docstrings; every decision is in ``_engine``."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from atom_stripe._engine import access
from atom_stripe._engine.drive import run
from atom_stripe._engine.pages import BlockingCalls, NativeCalls
from atom_stripe.resources.services import AsyncServices, Services

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    import httpx
    import stripe
    from pydantic import SecretStr

    from atom_stripe._engine.access import Access, ClientOptions
    from atom_stripe.config import RequestOptions, StripeConfig
    from atom_stripe.models import EventNotification, StripeObject
    from atom_stripe.oauth import AsyncOAuthManager, OAuthManager


class StripeClient(Services):
    """
    Stripe's API: ``stripe.customers.create(email="jenny@example.com")``.

    Every operation has its method, named as in stripe-python. One client serves a whole process: any number of threads may share it, and
    it works in forked children. Close it, or use it as a context manager.

    Args:
        api_key: Your secret or restricted key; without it and without *config*, ``STRIPE_SECRET_KEY`` of the environment.
        config: All other settings.
        http_client: Your own ``httpx.Client``, which stays yours to close.
        oauth: The manager that connects your users' accounts, for ``for_user()``. It stays yours to close.

    Raises:
        ConfigurationError: A setting is missing or malformed. Keys are never shown.

    Source: https://docs.stripe.com/api
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        config: StripeConfig | None = None,
        http_client: httpx.Client | None = None,
        oauth: OAuthManager | None = None,
    ) -> None:
        self._begin(access.blocking_access(access.resolve(api_key, config), http_client, access.flows_of(oauth)))

    def _begin(self, opened: Access) -> Self:
        self._access = opened
        super().__init__(BlockingCalls(opened.flow))
        return self

    @property
    def config(self) -> StripeConfig:
        """The settings of this client."""
        return self._access.config

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """Return a client with other settings, such as a connected account. It shares this one's connections; making it is cheap."""
        return type(self).__new__(type(self))._begin(self._access.with_options(options))  # noqa: SLF001 - an instance of this very class

    def for_user(self, user_id: str) -> Self:
        """
        Return a client that acts for the Stripe account of a user of yours, whom the manager in *oauth* connected. Making it is cheap.

        Each call finds out anew how to act: with the platform's key and the user's account (Connect), or with the user's own token (Stripe
        Apps), which is renewed in time, and once more if Stripe refuses it. A call for a user who is not connected, or not any more, raises
        ``NotConnectedError``.

        Raises:
            ConfigurationError: This client was made without *oauth*.
        """
        return type(self).__new__(type(self))._begin(self._access.for_user(user_id))  # noqa: SLF001 - an instance of this very class

    def request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, /, **options: Unpack[RequestOptions]
    ) -> StripeObject:
        """
        Send a request that has no method here, such as a preview of Stripe's: ``stripe.request("GET", "/v1/new_things", {"limit": 3})``.

        Raises:
            EncodingError: *path* is not a path on Stripe's host, or a parameter cannot be sent.
            APIError: Stripe answered with an error.
            TransportError: No answer came.
        """
        return run(self._access.request(method, path, params, options))

    def fetch_event(self, notification: EventNotification, **options: Unpack[RequestOptions]) -> StripeObject:
        """Fetch the whole event that *notification* announced, in the context in which it arose."""
        return run(self._access.event(notification, options))

    def fetch_related_object(self, notification: EventNotification, **options: Unpack[RequestOptions]) -> StripeObject:
        """Fetch the object that *notification* is about, as it is now."""
        return run(self._access.related_object(notification, options))

    @cached_property
    def sdk(self) -> stripe.StripeClient:
        """stripe-python's own client, with the same key, account and version."""
        return self._access.official()

    def close(self) -> None:
        """Close the connections, also those of clients made with ``with_options``. Later calls raise ``ClientClosedError``."""
        run(self._access.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StripeClient({self._access.describe()})"


class AsyncStripeClient(AsyncServices):
    """
    Stripe's API: ``await stripe.customers.create(email="jenny@example.com")``.

    Every operation has its method, named as in stripe-python. One client serves a whole process: any number of tasks and event loops may
    share it, one after the other or at once, under asyncio and trio, and it works in forked children. Close it, or use it as a context manager.

    Args:
        api_key: Your secret or restricted key; without it and without *config*, ``STRIPE_SECRET_KEY`` of the environment.
        config: All other settings.
        http_client: Your own ``httpx.AsyncClient``, which stays yours to close.
        oauth: The manager that connects your users' accounts, for ``for_user()``. It stays yours to close.

    Raises:
        ConfigurationError: A setting is missing or malformed. Keys are never shown.

    Source: https://docs.stripe.com/api
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        config: StripeConfig | None = None,
        http_client: httpx.AsyncClient | None = None,
        oauth: AsyncOAuthManager | None = None,
    ) -> None:
        self._begin(access.native_access(access.resolve(api_key, config), http_client, access.flows_of(oauth)))

    def _begin(self, opened: Access) -> Self:
        self._access = opened
        super().__init__(NativeCalls(opened.flow))
        return self

    @property
    def config(self) -> StripeConfig:
        """The settings of this client."""
        return self._access.config

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """Return a client with other settings, such as a connected account. It shares this one's connections; making it is cheap."""
        return type(self).__new__(type(self))._begin(self._access.with_options(options))  # noqa: SLF001 - an instance of this very class

    def for_user(self, user_id: str) -> Self:
        """
        Return a client that acts for the Stripe account of a user of yours, whom the manager in *oauth* connected. Making it is cheap.

        Each call finds out anew how to act: with the platform's key and the user's account (Connect), or with the user's own token (Stripe
        Apps), which is renewed in time, and once more if Stripe refuses it. A call for a user who is not connected, or not any more, raises
        ``NotConnectedError``.

        Raises:
            ConfigurationError: This client was made without *oauth*.
        """
        return type(self).__new__(type(self))._begin(self._access.for_user(user_id))  # noqa: SLF001 - an instance of this very class

    async def request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, /, **options: Unpack[RequestOptions]
    ) -> StripeObject:
        """
        Send a request that has no method here, such as a preview of Stripe's: ``stripe.request("GET", "/v1/new_things", {"limit": 3})``.

        Raises:
            EncodingError: *path* is not a path on Stripe's host, or a parameter cannot be sent.
            APIError: Stripe answered with an error.
            TransportError: No answer came.
        """
        return await self._access.request(method, path, params, options)

    async def fetch_event(self, notification: EventNotification, **options: Unpack[RequestOptions]) -> StripeObject:
        """Fetch the whole event that *notification* announced, in the context in which it arose."""
        return await self._access.event(notification, options)

    async def fetch_related_object(self, notification: EventNotification, **options: Unpack[RequestOptions]) -> StripeObject:
        """Fetch the object that *notification* is about, as it is now."""
        return await self._access.related_object(notification, options)

    @cached_property
    def sdk(self) -> stripe.StripeClient:
        """stripe-python's own client, with the same key, account and version."""
        return self._access.official()

    async def close(self) -> None:
        """Close the connections, also those of clients made with ``with_options``. Later calls raise ``ClientClosedError``."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncStripeClient({self._access.describe()})"
