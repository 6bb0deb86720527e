"""What a manager is made of, in either colour."""

from __future__ import annotations

import atexit
import inspect
import weakref
from typing import TYPE_CHECKING, Any

from atom_stripe._engine import access
from atom_stripe._engine.connect.authorizations import AuthorizationFlow
from atom_stripe._engine.connect.flights import Flights
from atom_stripe._engine.connect.manage import ConnectionFlow
from atom_stripe._engine.connect.onboarding import OnboardingFlow
from atom_stripe._engine.connect.ports import BlockingTokens, ConnectPorts, Keys, NativeSpawn, thread_spawn
from atom_stripe._engine.connect.tokens import TokenFlow
from atom_stripe._engine.connect.vault import Vault
from atom_stripe._engine.drive import run
from atom_stripe._engine.ports import blocking_sleep, native_sleep
from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.oauth_config import OAuthConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.connect.ports import Hook
    from atom_stripe.metrics import Metrics
    from atom_stripe.protocols import AsyncKeyProvider, AsyncTokenStore, KeyProvider, TokenStore


class ConnectFlows:
    """The flows of one manager."""

    def __init__(self, ports: ConnectPorts, store: object) -> None:
        self.ports = ports
        vault = Vault(ports.keys, ports.random)
        flights = Flights(store, ports.spawn, ports.sleep, ports.clock)
        self.tokens = TokenFlow(ports, vault, flights)
        self.authorizations = AuthorizationFlow(ports, vault, flights)
        self.connections = ConnectionFlow(ports, vault, self.authorizations)
        self.onboarding = OnboardingFlow(ports, self.connections)

    def describe(self) -> str:
        """Return what a repr may show."""
        config = self.ports.config
        return f"{config.profile}, {'live' if config.livemode else 'test'} mode"


def blocking_flows(
    config: OAuthConfig,
    store: TokenStore,
    *,
    keys: KeyProvider | None,
    http_client: object,
    hook: Hook | None,
    clock: Callable[[], float],
    metrics: Metrics | None,
) -> ConnectFlows:
    """Return the flows of a sync manager."""
    _check(config, store, "AsyncOAuthManager", asynchronous=False)
    opened = access.blocking_access(config.stripe, http_client)
    ports = ConnectPorts(
        opened.flow,
        BlockingTokens(store),
        Keys(_keys(config, keys)),
        config,
        blocking_sleep,
        thread_spawn,
        blocking=True,
        hook=hook,
        metrics=metrics,
        time=clock,
    )
    flows = ConnectFlows(ports, store)
    if not _OPEN:
        atexit.unregister(_wait_at_exit)
        atexit.register(_wait_at_exit)
    _OPEN.add(flows.tokens)
    return flows


def native_flows(
    config: OAuthConfig,
    store: AsyncTokenStore,
    *,
    keys: KeyProvider | AsyncKeyProvider | None,
    http_client: object,
    hook: Hook | None,
    clock: Callable[[], float],
    metrics: Metrics | None,
) -> ConnectFlows:
    """Return the flows of an async manager."""
    _check(config, store, "OAuthManager", asynchronous=True)
    opened = access.native_access(config.stripe, http_client)
    ports = ConnectPorts(
        opened.flow,
        store,
        Keys(_keys(config, keys)),
        config,
        native_sleep,
        NativeSpawn(),
        blocking=False,
        hook=hook,
        metrics=metrics,
        time=clock,
    )
    return ConnectFlows(ports, store)


# A program that just ends lets renewals end first. Held weakly: a manager that is gone has nothing under way.
_OPEN: weakref.WeakSet[TokenFlow] = weakref.WeakSet()


def _wait_at_exit() -> None:
    for tokens in list(_OPEN):
        if not tokens.closed:
            run(tokens.close())


def _check(config: object, store: Any, other: str, *, asynchronous: bool) -> None:
    if not isinstance(config, OAuthConfig):
        msg = f"the first argument is an OAuthConfig, not {type(config).__name__}: OAuthConfig.from_env(), or OAuthConfig(stripe=…)"
        raise ConfigurationError(msg)
    load = getattr(store, "load", None)
    if load is None:
        msg = "the second argument is a token store, such as those in atom_stripe.stores"
        raise ConfigurationError(msg)
    if inspect.iscoroutinefunction(load) != asynchronous:
        msg = f"this token store is {'a sync' if asynchronous else 'an async'} one: use it with {other}"
        raise ConfigurationError(msg)


def _keys(config: OAuthConfig, keys: KeyProvider | AsyncKeyProvider | None) -> Any:
    if keys is not None:
        return keys
    if not config.token_keys:
        msg = (
            "there is no key to encrypt tokens with: set STRIPE_TOKEN_KEYS to what `atom-stripe keys generate` prints, or pass keys=, "
            "which in a test may be Keyring.generate()"
        )
        raise ConfigurationError(msg)
    return Keyring(config.token_keys)
