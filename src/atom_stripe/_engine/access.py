"""A client's way to Stripe: its settings, and the connections and lines that everything made from it shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from atom_stripe._engine import transports
from atom_stripe._engine.calls import CallFlow
from atom_stripe._engine.limiter import Limiter
from atom_stripe._engine.ports import Ports, blocking_sleep, native_sleep
from atom_stripe._engine.settings import Settings
from atom_stripe._wire.operation import Operation
from atom_stripe._wire.paths import check_path
from atom_stripe.config import StripeConfig, secret
from atom_stripe.errors import ConfigurationError, EncodingError, ModeMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import stripe
    from pydantic import SecretStr

    from atom_stripe._engine.connect.manager import ConnectFlows
    from atom_stripe.config import RateLimits, RetryPolicy
    from atom_stripe.models import EventNotification, StripeObject


class ClientOptions(TypedDict, total=False):
    """What ``with_options`` can change. The rest is shared: connections, and lines of the rate limiter."""

    api_key: str | SecretStr
    """Another key."""
    stripe_account: str | None
    """Act for this connected account (``acct_…``)."""
    stripe_context: str | None
    """Act in this context."""
    stripe_version: str
    """Another version of Stripe's API."""
    timeout: float
    """Seconds for each attempt."""
    retry: RetryPolicy
    """How calls go on after a failure."""
    rate_limits: RateLimits
    """How many requests a second."""


def resolve(api_key: str | SecretStr | None, config: StripeConfig | None) -> StripeConfig:
    """Return the settings of a client: those given, or those of the environment."""
    settings: dict[str, Any] = {} if api_key is None else {"api_key": secret(api_key)}
    if config is None:
        return StripeConfig.from_env(**settings)
    return config.with_settings(**settings)


class Access:
    """
    Settings, ports and the lines of the rate limiter, and the flow that carries out calls with them.

    *connect*: the flows of the manager that knows the users' accounts. *user_id*: the user that every call acts for.
    """

    def __init__(
        self, config: StripeConfig, ports: Ports, limiter: Limiter, connect: ConnectFlows | None = None, user_id: str | None = None
    ) -> None:
        self.config = config
        self._ports = ports
        self._limiter = limiter
        self._connect = connect
        self._user_id = user_id
        lines = limiter if config.rate_limits.enabled else None
        if connect is None or user_id is None:
            self.flow = CallFlow(Settings(config), ports, lines)
        else:
            from atom_stripe._engine.connect.acting import ActingFlow

            self.flow = ActingFlow(Settings(config), ports, lines, connect.tokens, user_id)

    def with_options(self, options: Mapping[str, Any]) -> Access:
        """Return an access with *options* that shares the connections and lines of this one."""
        settings = dict(options)
        if "api_key" in settings:
            settings["api_key"] = secret(settings["api_key"])
        # An account and a context name the acting account in two ways; the new one replaces the other.
        if settings.get("stripe_account") is not None:
            settings.setdefault("stripe_context", None)
        if settings.get("stripe_context") is not None:
            settings.setdefault("stripe_account", None)
        if self._user_id is not None and not settings.keys().isdisjoint(_ACTING):
            msg = "a client made with for_user() acts for that user alone; use the client that it was made from"
            raise ConfigurationError(msg)
        return Access(self.config.with_settings(**settings), self._ports, self._limiter, self._connect, self._user_id)

    def for_user(self, user_id: str) -> Access:
        """Return an access that acts for the account of a user of ours, sharing the connections and lines of this one."""
        if self._connect is None:
            msg = "this client does not know your users: make it with oauth=, the OAuthManager that connects them"
            raise ConfigurationError(msg)
        from atom_stripe._engine.connect.checks import check_user_id

        return Access(self.config, self._ports, self._limiter, self._connect, check_user_id(user_id))

    async def request(self, method: str, path: str, params: Mapping[str, Any] | None, options: Mapping[str, Any]) -> StripeObject:
        """Send a request that has no method of its own."""
        verb = _VERBS.get(str(method).upper())
        if verb is None:
            msg = "Stripe's API knows the methods GET, POST and DELETE"
            raise EncodingError(msg)
        # A brace would make an argument out of a part of the path.
        operation = Operation(verb, check_path(path).replace("{", "%7B").replace("}", "%7D"))
        return cast("StripeObject", await self.flow.object(operation, {**(params or {}), **options}))

    async def event(self, notification: EventNotification, options: Mapping[str, Any]) -> StripeObject:
        """Fetch the whole event that *notification* announced."""
        return cast("StripeObject", await self.flow.object(_EVENT, {**_context(notification), **options}, notification.id))

    async def related_object(self, notification: EventNotification, options: Mapping[str, Any]) -> StripeObject:
        """Fetch the object that *notification* is about."""
        related = notification.related_object
        if related is None:
            msg = f"a {notification.type} is about no object that could be fetched"
            raise EncodingError(msg)
        return await self.request("GET", related.url, None, {**_context(notification), **options})

    async def close(self) -> None:
        """Close the connections."""
        await self._ports.transport.close()

    def describe(self) -> str:
        """Return what a repr may show: the mode and the acting account, nothing of the key."""
        account = self._user_id and "one user"
        account = account or self.config.stripe_account or self.config.stripe_context
        return f"{'live' if self.config.livemode else 'test'} mode{f', for {account}' if account else ''}"

    def official(self) -> stripe.StripeClient:
        """Return stripe-python's own client with the same key, account, version and hosts."""
        if self._user_id is not None:
            msg = "the official client cannot act for a user: take connection().account of the manager, and with_options(stripe_account=…).sdk"
            raise ConfigurationError(msg)
        import stripe

        config = self.config
        return stripe.StripeClient(
            config.api_key.get_secret_value(),
            stripe_account=config.stripe_account,
            stripe_context=config.stripe_context,
            stripe_version=config.stripe_version,
            max_network_retries=config.retry.attempts - 1,
            base_addresses={
                "api": config.api_base,
                "connect": config.connect_base,
                "files": config.files_base,
                "meter_events": config.meter_events_base,
            },
        )


_VERBS: dict[str, Literal["GET", "POST", "DELETE"]] = {"GET": "GET", "POST": "POST", "DELETE": "DELETE"}
_EVENT = Operation("GET", "/v2/core/events/{id}")


def _context(notification: EventNotification) -> dict[str, Any]:
    """Return the options that act for the account in which *notification* arose."""
    return {"stripe_context": notification.context} if notification.context else {}


# What would make a user's client act for somebody else.
_ACTING = frozenset({"api_key", "stripe_account", "stripe_context"})


def blocking_access(config: StripeConfig, http_client: object = None, connect: ConnectFlows | None = None) -> Access:
    """Return the access of a sync client."""
    _check_connect(config, connect, blocking=True)
    return Access(config, Ports(transports.blocking(config, http_client), blocking_sleep), Limiter(), connect)


def native_access(config: StripeConfig, http_client: object = None, connect: ConnectFlows | None = None) -> Access:
    """Return the access of an async client."""
    _check_connect(config, connect, blocking=False)
    return Access(config, Ports(transports.native(config, http_client), native_sleep), Limiter(), connect)


def flows_of(manager: object) -> ConnectFlows | None:
    """Return the flows of an ``OAuthManager`` of either colour."""
    flows: ConnectFlows | None = getattr(manager, "_flows", None)
    if manager is not None and flows is None:
        msg = "oauth= takes an OAuthManager, or an AsyncOAuthManager for an AsyncStripeClient"
        raise ConfigurationError(msg)
    return flows


def _check_connect(config: StripeConfig, connect: ConnectFlows | None, *, blocking: bool) -> None:
    if connect is None:
        return
    if connect.ports.blocking != blocking:
        msg = "StripeClient takes an OAuthManager, AsyncStripeClient an AsyncOAuthManager"
        raise ConfigurationError(msg)
    if connect.ports.config.livemode != config.livemode:
        msg = "the client and its OAuthManager are of different modes (live and test)"
        raise ModeMismatchError(msg)
