"""
Webhook endpoints at Stripe: ``WebhookEndpoints`` and its async twin. They hold names, types and docstrings; every decision is in ``_engine``.

Source: https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe._engine.doctor import Finding
from atom_stripe._engine.drive import run
from atom_stripe._engine.endpoint_values import EnsuredEndpoint, RegisteredEndpoint, RollOver
from atom_stripe._engine.endpoints import blocking_endpoints, examine, native_endpoints, store_of
from atom_stripe.config import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atom_stripe.client import AsyncStripeClient, StripeClient
    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox

__all__ = [
    "AsyncWebhookEndpoints",
    "EnsuredEndpoint",
    "Finding",
    "RegisteredEndpoint",
    "RollOver",
    "WebhookEndpoints",
]


class WebhookEndpoints:
    """
    The webhook endpoints of your account, in the mode of the client's key: ``WebhookEndpoints(stripe).ensure(url, ["invoice.paid"])``.

    Args:
        client: Whose endpoints. It stays yours to close.

    Raises:
        ConfigurationError: The client is of the other colour.

    Source: https://docs.stripe.com/api/webhook_endpoints
    """

    def __init__(self, client: StripeClient) -> None:
        self._flow = blocking_endpoints(client)

    def list(self) -> tuple[RegisteredEndpoint, ...]:
        """
        Return all endpoints, the newest first.

        Raises:
            APIError, TransportError: Stripe did not tell.
        """
        return run(self._flow.all())

    def ensure(
        self,
        url: str,
        events: Iterable[str],
        *,
        connect: bool = False,
        description: str | None = None,
        api_version: str | None = API_VERSION,
        adopt: str | None = None,
    ) -> EnsuredEndpoint:
        """
        See to it that there is an endpoint at *url* for *events*, that it is enabled, and that there is one.

        It can be part of every deployment: what is there is found by its URL and by what it is for, and changed only where it differs. Programs that
        do this at the same time get the same endpoint. When it is created, and only then, the result holds its signing secret: store it at once.

        Args:
            url: Where Stripe posts to.
            events: The types to deliver; ``["*"]`` is nearly all.
            connect: Get the events of connected accounts instead of your own. For both, make two endpoints.
            description: For people who look at it.
            api_version: In which events are written: that of this package, unless you say otherwise. ``None``: whichever it has, and your
                account's when it is created.
            adopt: The id of an endpoint at this URL that was made elsewhere, to take it over.

        Raises:
            ConfigurationError: An argument is malformed; or the endpoint that is there has another API version, or was made elsewhere.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return run(self._flow.ensure(url, events, connect=connect, description=description, api_version=api_version, adopt=adopt))

    def update(
        self,
        endpoint: RegisteredEndpoint | str,
        *,
        events: Iterable[str] | None = None,
        url: str | None = None,
        description: str | None = None,
    ) -> RegisteredEndpoint:
        """
        Change an endpoint, and return it as it then is. Its API version and its accounts cannot be changed.

        Raises:
            ConfigurationError: An argument is malformed.
            APIError, TransportError: Stripe did not do it.
        """
        return run(self._flow.update(endpoint, events=events, url=url, description=description))

    def disable(self, endpoint: RegisteredEndpoint | str) -> RegisteredEndpoint:
        """
        Turn an endpoint off. It gets no new events, and what Stripe would have tried again is given up; ``reconcile()`` finds it for 30 days.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        return run(self._flow.enable(endpoint, enabled=False))

    def enable(self, endpoint: RegisteredEndpoint | str) -> RegisteredEndpoint:
        """
        Turn an endpoint on again.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        return run(self._flow.enable(endpoint, enabled=True))

    def delete(self, endpoint: RegisteredEndpoint | str) -> None:
        """
        Delete an endpoint, with its secret. One that is gone already is no error.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        run(self._flow.delete(endpoint))

    def roll_over(
        self, endpoint: RegisteredEndpoint | str, api_version: str = API_VERSION, *, connect: bool | None = None
    ) -> EnsuredEndpoint:
        """
        Begin to move an endpoint to another API version, which Stripe does not let an endpoint change.

        A second endpoint is made at the same URL, with the same events and the new version. Both are alive, and events come from both until
        ``finish_roll_over()``; the inbox stores each once, as it came first. Add the new secret to your verifier at once: until then, what
        the new endpoint sends is refused, and Stripe sends it again later. Calling it again returns the second endpoint, without its secret.

        *connect*: whether it is for connected accounts, if Stripe does not say.

        Raises:
            ConfigurationError: There is no such endpoint, it has this version already, or *connect* has to be said.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return run(self._flow.roll_over(endpoint, api_version, connect=connect))

    def finish_roll_over(
        self,
        new: RegisteredEndpoint | str,
        *,
        inbox: WebhookInbox | None = None,
        delete: bool = False,
        force: bool = False,
    ) -> RollOver:
        """
        Turn the old endpoint off, once *new*, which ``roll_over()`` made, has delivered an event into *inbox*.

        Whether it has is seen by the version that its events are written in, so another endpoint with this version that feeds the same inbox is
        taken for it. If it has not, nothing is changed, and the result says why.

        *delete*: delete the old endpoint instead of disabling it. *force*: do not look whether the new one has delivered.

        Raises:
            ConfigurationError: *new* was not made by ``roll_over()``, or there is neither *inbox* nor *force*.
            StoreError: The store is away.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return run(self._flow.finish_roll_over(new, store_of(inbox), delete=delete, force=force))

    def doctor(
        self, inbox: WebhookInbox | Mapping[str, Iterable[str]], *, url: str | None = None, connect: bool | None = None
    ) -> tuple[Finding, ...]:
        """
        Compare Stripe's endpoints with the handlers of *inbox*, and return what is wrong, the problems first. Empty: nothing is.

        *inbox*: an inbox, or the types of each handler by its name. *url*: look at endpoints with this URL alone. *connect*: whether you want the
        events of connected accounts; left out, the handlers' types say.

        Raises:
            APIError, TransportError: Stripe did not tell.
        """
        return run(examine(self._flow, inbox, url=url, connect=connect))

    def __repr__(self) -> str:
        return f"WebhookEndpoints({self._flow.describe()})"


class AsyncWebhookEndpoints:
    """
    The webhook endpoints of your account, in the mode of the client's key: ``WebhookEndpoints(stripe).ensure(url, ["invoice.paid"])``.

    Args:
        client: Whose endpoints. It stays yours to close.

    Raises:
        ConfigurationError: The client is of the other colour.

    Source: https://docs.stripe.com/api/webhook_endpoints
    """

    def __init__(self, client: AsyncStripeClient) -> None:
        self._flow = native_endpoints(client)

    async def list(self) -> tuple[RegisteredEndpoint, ...]:
        """
        Return all endpoints, the newest first.

        Raises:
            APIError, TransportError: Stripe did not tell.
        """
        return await self._flow.all()

    async def ensure(
        self,
        url: str,
        events: Iterable[str],
        *,
        connect: bool = False,
        description: str | None = None,
        api_version: str | None = API_VERSION,
        adopt: str | None = None,
    ) -> EnsuredEndpoint:
        """
        See to it that there is an endpoint at *url* for *events*, that it is enabled, and that there is one.

        It can be part of every deployment: what is there is found by its URL and by what it is for, and changed only where it differs. Programs that
        do this at the same time get the same endpoint. When it is created, and only then, the result holds its signing secret: store it at once.

        Args:
            url: Where Stripe posts to.
            events: The types to deliver; ``["*"]`` is nearly all.
            connect: Get the events of connected accounts instead of your own. For both, make two endpoints.
            description: For people who look at it.
            api_version: In which events are written: that of this package, unless you say otherwise. ``None``: whichever it has, and your
                account's when it is created.
            adopt: The id of an endpoint at this URL that was made elsewhere, to take it over.

        Raises:
            ConfigurationError: An argument is malformed; or the endpoint that is there has another API version, or was made elsewhere.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return await self._flow.ensure(url, events, connect=connect, description=description, api_version=api_version, adopt=adopt)

    async def update(
        self,
        endpoint: RegisteredEndpoint | str,
        *,
        events: Iterable[str] | None = None,
        url: str | None = None,
        description: str | None = None,
    ) -> RegisteredEndpoint:
        """
        Change an endpoint, and return it as it then is. Its API version and its accounts cannot be changed.

        Raises:
            ConfigurationError: An argument is malformed.
            APIError, TransportError: Stripe did not do it.
        """
        return await self._flow.update(endpoint, events=events, url=url, description=description)

    async def disable(self, endpoint: RegisteredEndpoint | str) -> RegisteredEndpoint:
        """
        Turn an endpoint off. It gets no new events, and what Stripe would have tried again is given up; ``reconcile()`` finds it for 30 days.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        return await self._flow.enable(endpoint, enabled=False)

    async def enable(self, endpoint: RegisteredEndpoint | str) -> RegisteredEndpoint:
        """
        Turn an endpoint on again.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        return await self._flow.enable(endpoint, enabled=True)

    async def delete(self, endpoint: RegisteredEndpoint | str) -> None:
        """
        Delete an endpoint, with its secret. One that is gone already is no error.

        Raises:
            APIError, TransportError: Stripe did not do it.
        """
        await self._flow.delete(endpoint)

    async def roll_over(
        self, endpoint: RegisteredEndpoint | str, api_version: str = API_VERSION, *, connect: bool | None = None
    ) -> EnsuredEndpoint:
        """
        Begin to move an endpoint to another API version, which Stripe does not let an endpoint change.

        A second endpoint is made at the same URL, with the same events and the new version. Both are alive, and events come from both until
        ``finish_roll_over()``; the inbox stores each once, as it came first. Add the new secret to your verifier at once: until then, what
        the new endpoint sends is refused, and Stripe sends it again later. Calling it again returns the second endpoint, without its secret.

        *connect*: whether it is for connected accounts, if Stripe does not say.

        Raises:
            ConfigurationError: There is no such endpoint, it has this version already, or *connect* has to be said.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return await self._flow.roll_over(endpoint, api_version, connect=connect)

    async def finish_roll_over(
        self,
        new: RegisteredEndpoint | str,
        *,
        inbox: AsyncWebhookInbox | None = None,
        delete: bool = False,
        force: bool = False,
    ) -> RollOver:
        """
        Turn the old endpoint off, once *new*, which ``roll_over()`` made, has delivered an event into *inbox*.

        Whether it has is seen by the version that its events are written in, so another endpoint with this version that feeds the same inbox is
        taken for it. If it has not, nothing is changed, and the result says why.

        *delete*: delete the old endpoint instead of disabling it. *force*: do not look whether the new one has delivered.

        Raises:
            ConfigurationError: *new* was not made by ``roll_over()``, or there is neither *inbox* nor *force*.
            StoreError: The store is away.
            APIError, TransportError: Stripe did not do it. Call it again.
        """
        return await self._flow.finish_roll_over(new, store_of(inbox), delete=delete, force=force)

    async def doctor(
        self, inbox: AsyncWebhookInbox | Mapping[str, Iterable[str]], *, url: str | None = None, connect: bool | None = None
    ) -> tuple[Finding, ...]:
        """
        Compare Stripe's endpoints with the handlers of *inbox*, and return what is wrong, the problems first. Empty: nothing is.

        *inbox*: an inbox, or the types of each handler by its name. *url*: look at endpoints with this URL alone. *connect*: whether you want the
        events of connected accounts; left out, the handlers' types say.

        Raises:
            APIError, TransportError: Stripe did not tell.
        """
        return await examine(self._flow, inbox, url=url, connect=connect)

    def __repr__(self) -> str:
        return f"AsyncWebhookEndpoints({self._flow.describe()})"
