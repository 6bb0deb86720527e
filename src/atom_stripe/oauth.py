"""
Connecting users' Stripe accounts: ``OAuthManager`` and its async twin. They hold names, types and docstrings; every decision is in ``_engine``.

Source: https://docs.stripe.com/connect/oauth-reference, https://docs.stripe.com/stripe-apps/api-authentication/oauth and
https://docs.stripe.com/api/account_links
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Self

from atom_stripe._engine.connect.authorizations import Returned
from atom_stripe._engine.connect.manager import blocking_flows, native_flows
from atom_stripe._engine.drive import iterate, run
from atom_stripe.connections import AccessToken, AccountLink, Connection, OnboardingStatus, Rotation, Sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    import httpx

    from atom_stripe.metrics import Metrics
    from atom_stripe.models import Event, EventNotification
    from atom_stripe.oauth_config import OAuthConfig
    from atom_stripe.protocols import AsyncKeyProvider, AsyncTokenStore, ConnectionState, KeyProvider, TokenStore

__all__ = [
    "AccessToken",
    "AccountLink",
    "AsyncOAuthManager",
    "Connection",
    "OAuthManager",
    "OnboardingStatus",
    "Rotation",
    "Sweep",
]


class OAuthManager:
    """
    The connections of your users to their Stripe accounts, and the tokens that belong to them.

    One manager serves a whole process: any number of threads may share it, and any number of processes may share its store.
    Access tokens are renewed before they run out, by one process at a time, and what Stripe gives is stored before anybody sees it. Close
    it, or use it as a context manager: closing waits for renewals that are under way.

    Args:
        config: The settings: ``OAuthConfig.from_env()``.
        store: Where connections are kept, such as ``SqlTokenStore.from_url("sqlite:///stripe.db")``.
        keys: What encrypts tokens; without it, *config*'s ``token_keys``.
        http_client: Your own ``httpx.Client``, which stays yours to close.
        on_reauthorization_required: Called once with the connection when a grant turns out to be dead, so that you can ask its user back;
            not at all if the process is killed at that moment, when only the connection's state says it. What it raises is logged.
        clock: The time, in seconds since 1970.
        metrics: Where the renewals of tokens are counted, such as ``atom_stripe.metrics.PrometheusMetrics()``.

    Raises:
        ConfigurationError: A setting is missing or malformed. Keys are never shown.
    """

    def __init__(
        self,
        config: OAuthConfig,
        store: TokenStore,
        *,
        keys: KeyProvider | None = None,
        http_client: httpx.Client | None = None,
        on_reauthorization_required: Callable[[Connection], None] | None = None,
        clock: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
    ) -> None:
        self._flows = blocking_flows(
            config, store, keys=keys, http_client=http_client, hook=on_reauthorization_required, clock=clock, metrics=metrics
        )

    @property
    def config(self) -> OAuthConfig:
        """The settings of this manager."""
        return self._flows.ports.config

    def authorize_url(
        self,
        user_id: str,
        *,
        session: str,
        redirect_uri: str | None = None,
        scope: str | None = None,
        stripe_user: Mapping[str, Any] | None = None,
        capabilities: Sequence[str] = (),
        landing: Literal["login", "register"] | None = None,
        express: bool = False,
        replace: bool = False,
    ) -> str:
        """
        Return the URL of Stripe's page on which the user connects their account. Redirect the user's browser there.

        It works once, in one browser, for ``state_lifetime`` seconds. Who was connected before has to come back with the same account.

        Args:
            user_id: The user's id in your own system, up to 255 characters.
            session: A text that only this browser's session holds, such as a random value in a signed, HTTPS-only cookie. ``callback()``
                wants the same one, so that nobody can plant their account in somebody else's session.
            redirect_uri: One of the ``redirect_uris`` of the settings; the first, if left out.
            scope: Another scope than the settings say.
            stripe_user: What Stripe's form is filled in with: ``{"email": …, "country": …}``. Stripe ignores what is not valid.
            capabilities: What to suggest for Express accounts.
            landing: Whether new users see the form to log in or to register.
            express: Connect an Express account; Stripe no longer gives this to new platforms.
            replace: Let the user come back with another account than before.

        Raises:
            ConfigurationError: There is no client id, or a parameter is none of this profile's.
            StoreError: The state could not be stored, so nobody was sent anywhere.
        """
        return run(
            self._flows.authorizations.begin(
                user_id,
                session,
                redirect_uri=redirect_uri,
                scope=scope,
                stripe_user=stripe_user,
                capabilities=capabilities,
                landing=landing,
                express=express,
                replace=replace,
            )
        )

    def callback(
        self, code: str | None, state: str | None, *, session: str, redirect_uri: str | None = None, error: str | None = None
    ) -> Connection:
        """
        Complete an authorization with what came in Stripe's redirect, and return the connection, which is stored by then.

        The code is sent to Stripe once and never again, whatever happens: its second use would revoke the connection. The same redirect
        coming twice, as browsers do, gives the same connection twice.

        Args:
            code: The parameter ``code`` of the redirect, ``None`` if there is none.
            state: The parameter ``state``.
            session: What ``authorize_url()`` was given for this browser.
            redirect_uri: Where the redirect arrived, to be compared with where it was sent; needed if you have several.
            error: The parameter ``error``, which comes in place of a code.

        Raises:
            StateMismatchError: The state is none of this browser's. ``StateExpiredError``, ``StateReusedError``: it was, and no longer works.
            CodeReusedError: The code came back with another state before.
            AuthorizationDeniedError: The user did not agree.
            AuthorizationInterruptedError: The code was sent and its outcome never became known. Let the user begin again.
            GrantMismatchError: Stripe granted another mode, scope or account than was asked for. It was not stored.
            OAuthError: Stripe refused the code.
            StoreError: The connection could not be stored. Let the user begin again.
        """
        return run(self._flows.authorizations.complete(Returned(state, code, session, redirect_uri, error)))

    def token(self, user_id: str) -> AccessToken:
        """
        Return a user's access token, for calls of your own; ``StripeClient(oauth=…).for_user()`` needs none.

        It works now: near its end it is renewed in the background, and only when it has run out does a caller wait.

        Raises:
            NotConnectedError: The user is not connected, or was connected without OAuth.
            ReauthorizationRequiredError: The grant is dead, and the last access token has run out.
            RefreshFailedError: The token has run out and could not be renewed in time. Nothing is lost.
            TokenUnreadableError: The stored token cannot be decrypted.
            StoreError: The store is away.
        """
        return run(self._flows.tokens.token(user_id))

    def connection(self, user_id: str) -> Connection:
        """
        Return a user's connection, whatever its state.

        Raises:
            NotConnectedError: There never was one.
        """
        return Connection.of(run(self._flows.connections.get(user_id)))

    def connections(
        self, *, account: str | None = None, state: ConnectionState | None = None, access_token: str | None = None
    ) -> Iterator[Connection]:
        """
        Go over the connections of this profile and mode, in the order of their ids.

        *account*, *state*: only those with it. *access_token*: the one that has this token, such as one that turned up where it should not be.
        """
        return iterate(self._flows.connections.each(account=account, state=state, access_token=access_token))

    def disconnect(self, user_id: str) -> Connection:
        """
        End a user's connection: at Stripe first, then here. Doing it twice is harmless.

        An account that another user is connected to as well stays connected at Stripe. A Stripe App is uninstalled.

        Raises:
            NotConnectedError: There never was a connection.
            ControlledAccountError: The platform made this account, so Stripe does not let go of it.
            ConfigurationError: Stripe does not accept the client id with this key. ``ModeMismatchError``: it is of the other mode.
            APIError, TransportError: Stripe did not do it. Nothing was changed here; try again.
        """
        return run(self._flows.connections.disconnect(user_id))

    def forget(self, user_id: str) -> Connection:
        """
        End a user's connection here alone, whatever Stripe thinks of it: no token is kept. Doing it twice is harmless.

        Raises:
            NotConnectedError: There never was a connection.
        """
        return run(self._flows.connections.forget(user_id))

    def install(self, user_id: str, *, app: str, account: str, channel: str | None = None) -> Connection:
        """
        Install a Stripe App on a connected account through Stripe's API, and connect the user with the code that this gives.

        Args:
            user_id: The user's id in your own system.
            app: The app's id.
            account: The account (``acct_…``) to install it on.
            channel: From where: ``"public"``, if left out.

        Raises:
            ConfigurationError: This is not the profile of a Stripe App, or the app uses no OAuth.
            APIError: Stripe refused.

        Source: https://docs.stripe.com/api/apps/installs
        """
        return run(self._flows.connections.install(user_id, app=app, account=account, channel=channel))

    def uninstall(self, user_id: str) -> Connection:
        """Remove a Stripe App from the user's account, and end the connection: another name for ``disconnect()``."""
        return run(self._flows.connections.disconnect(user_id))

    def account_link(
        self,
        user_id: str,
        *,
        return_url: str,
        refresh_url: str,
        type: Literal["account_onboarding", "account_update"] = "account_onboarding",
        account: Mapping[str, Any] | None = None,
    ) -> AccountLink:
        """
        Return a link to Stripe's pages where the user fills in their account: for platforms to which Stripe gives no OAuth.

        The first call makes the account. Calling again, also after a crash, gives a new link to the same account.

        Args:
            user_id: The user's id in your own system.
            return_url: Where Stripe sends the user when they leave its pages. Whether all is filled in, ``account_status()`` tells.
            refresh_url: Where Stripe sends the user when the link was used or has expired: send them to a new link from there.
            type: What the pages are for.
            account: How to make the account, as ``stripe.accounts.create()`` takes it; a standard account, if left out.

        Raises:
            ConfigurationError: This is not the profile of Connect.
            APIError, TransportError: Stripe did not make the account or the link. Call again.
        """
        return run(self._flows.onboarding.link(user_id, return_url=return_url, refresh_url=refresh_url, type=type, account=account))

    def account_status(self, user_id: str) -> OnboardingStatus:
        """
        Ask Stripe how far the user's account is.

        Raises:
            NotConnectedError: The user has no account here.
            APIError, TransportError: Stripe did not say.
        """
        return run(self._flows.onboarding.status(user_id))

    def handle_event(self, event: Event | EventNotification) -> list[Connection]:
        """
        Do what an event says about connections, and return those that it changed. Other events change nothing.

        ``account.application.deauthorized`` and ``apps.install.deleted`` end the connections of an account, snapshot or thin, and win over a
        renewal that is under way. ``account.updated`` ends the onboarding of an account that is complete. Handling an event twice, or late,
        is harmless.
        """
        return run(self._flows.connections.heard(event))

    def refresh_due(self) -> Sweep:
        """
        Renew every access token that is near its end. Call it every few minutes, from one process or from all, so that no request has to wait.

        One that fails does not stop the others.
        """
        return run(self._flows.tokens.sweep())

    def rotate_keys(self, *, after: str | None = None, limit: int = 100) -> Rotation:
        """
        Encrypt up to *limit* tokens that another key encrypted with the current one. Go on with the ``after`` of the answer until it is ``None``.

        Tokens may be used and renewed meanwhile, and a rotation that was stopped can begin anew. When ``rotated`` is 0 and nothing was
        unreadable from the beginning to the end, the old keys are needed no more.
        """
        return run(self._flows.connections.rotate(after, limit))

    def close(self) -> None:
        """Wait for renewals that are under way, ``close_timeout`` seconds at most, and close the connections to Stripe. Twice is harmless."""
        run(self._flows.tokens.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"OAuthManager({self._flows.describe()})"


class AsyncOAuthManager:
    """
    The connections of your users to their Stripe accounts, and the tokens that belong to them.

    One manager serves a whole process: any number of tasks and event loops may share it, and any number of processes may share its store.
    Access tokens are renewed before they run out, by one process at a time, and what Stripe gives is stored before anybody sees it. Close
    it, or use it as a context manager: closing waits for renewals that are under way.

    Args:
        config: The settings: ``OAuthConfig.from_env()``.
        store: Where connections are kept, such as ``AsyncSqlTokenStore.from_url("sqlite:///stripe.db")``.
        keys: What encrypts tokens; without it, *config*'s ``token_keys``.
        http_client: Your own ``httpx.AsyncClient``, which stays yours to close.
        on_reauthorization_required: Called once with the connection when a grant turns out to be dead, so that you can ask its user back;
            not at all if the process is killed at that moment, when only the connection's state says it. What it raises is logged.
        clock: The time, in seconds since 1970.
        metrics: Where the renewals of tokens are counted, such as ``atom_stripe.metrics.PrometheusMetrics()``.

    Raises:
        ConfigurationError: A setting is missing or malformed. Keys are never shown.
    """

    def __init__(
        self,
        config: OAuthConfig,
        store: AsyncTokenStore,
        *,
        keys: KeyProvider | AsyncKeyProvider | None = None,
        http_client: httpx.AsyncClient | None = None,
        on_reauthorization_required: Callable[[Connection], Awaitable[None] | None] | None = None,
        clock: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
    ) -> None:
        self._flows = native_flows(
            config, store, keys=keys, http_client=http_client, hook=on_reauthorization_required, clock=clock, metrics=metrics
        )

    @property
    def config(self) -> OAuthConfig:
        """The settings of this manager."""
        return self._flows.ports.config

    async def authorize_url(
        self,
        user_id: str,
        *,
        session: str,
        redirect_uri: str | None = None,
        scope: str | None = None,
        stripe_user: Mapping[str, Any] | None = None,
        capabilities: Sequence[str] = (),
        landing: Literal["login", "register"] | None = None,
        express: bool = False,
        replace: bool = False,
    ) -> str:
        """
        Return the URL of Stripe's page on which the user connects their account. Redirect the user's browser there.

        It works once, in one browser, for ``state_lifetime`` seconds. Who was connected before has to come back with the same account.

        Args:
            user_id: The user's id in your own system, up to 255 characters.
            session: A text that only this browser's session holds, such as a random value in a signed, HTTPS-only cookie. ``callback()``
                wants the same one, so that nobody can plant their account in somebody else's session.
            redirect_uri: One of the ``redirect_uris`` of the settings; the first, if left out.
            scope: Another scope than the settings say.
            stripe_user: What Stripe's form is filled in with: ``{"email": …, "country": …}``. Stripe ignores what is not valid.
            capabilities: What to suggest for Express accounts.
            landing: Whether new users see the form to log in or to register.
            express: Connect an Express account; Stripe no longer gives this to new platforms.
            replace: Let the user come back with another account than before.

        Raises:
            ConfigurationError: There is no client id, or a parameter is none of this profile's.
            StoreError: The state could not be stored, so nobody was sent anywhere.
        """
        return await self._flows.authorizations.begin(
            user_id,
            session,
            redirect_uri=redirect_uri,
            scope=scope,
            stripe_user=stripe_user,
            capabilities=capabilities,
            landing=landing,
            express=express,
            replace=replace,
        )

    async def callback(
        self, code: str | None, state: str | None, *, session: str, redirect_uri: str | None = None, error: str | None = None
    ) -> Connection:
        """
        Complete an authorization with what came in Stripe's redirect, and return the connection, which is stored by then.

        The code is sent to Stripe once and never again, whatever happens: its second use would revoke the connection. The same redirect
        coming twice, as browsers do, gives the same connection twice.

        Args:
            code: The parameter ``code`` of the redirect, ``None`` if there is none.
            state: The parameter ``state``.
            session: What ``authorize_url()`` was given for this browser.
            redirect_uri: Where the redirect arrived, to be compared with where it was sent; needed if you have several.
            error: The parameter ``error``, which comes in place of a code.

        Raises:
            StateMismatchError: The state is none of this browser's. ``StateExpiredError``, ``StateReusedError``: it was, and no longer works.
            CodeReusedError: The code came back with another state before.
            AuthorizationDeniedError: The user did not agree.
            AuthorizationInterruptedError: The code was sent and its outcome never became known. Let the user begin again.
            GrantMismatchError: Stripe granted another mode, scope or account than was asked for. It was not stored.
            OAuthError: Stripe refused the code.
            StoreError: The connection could not be stored. Let the user begin again.
        """
        return await self._flows.authorizations.complete(Returned(state, code, session, redirect_uri, error))

    async def token(self, user_id: str) -> AccessToken:
        """
        Return a user's access token, for calls of your own; ``StripeClient(oauth=…).for_user()`` needs none.

        It works now: near its end it is renewed in the background, and only when it has run out does a caller wait.

        Raises:
            NotConnectedError: The user is not connected, or was connected without OAuth.
            ReauthorizationRequiredError: The grant is dead, and the last access token has run out.
            RefreshFailedError: The token has run out and could not be renewed in time. Nothing is lost.
            TokenUnreadableError: The stored token cannot be decrypted.
            StoreError: The store is away.
        """
        return await self._flows.tokens.token(user_id)

    async def connection(self, user_id: str) -> Connection:
        """
        Return a user's connection, whatever its state.

        Raises:
            NotConnectedError: There never was one.
        """
        return Connection.of(await self._flows.connections.get(user_id))

    def connections(
        self, *, account: str | None = None, state: ConnectionState | None = None, access_token: str | None = None
    ) -> AsyncIterator[Connection]:
        """
        Go over the connections of this profile and mode, in the order of their ids.

        *account*, *state*: only those with it. *access_token*: the one that has this token, such as one that turned up where it should not be.
        """
        return self._flows.connections.each(account=account, state=state, access_token=access_token)

    async def disconnect(self, user_id: str) -> Connection:
        """
        End a user's connection: at Stripe first, then here. Doing it twice is harmless.

        An account that another user is connected to as well stays connected at Stripe. A Stripe App is uninstalled.

        Raises:
            NotConnectedError: There never was a connection.
            ControlledAccountError: The platform made this account, so Stripe does not let go of it.
            ConfigurationError: Stripe does not accept the client id with this key. ``ModeMismatchError``: it is of the other mode.
            APIError, TransportError: Stripe did not do it. Nothing was changed here; try again.
        """
        return await self._flows.connections.disconnect(user_id)

    async def forget(self, user_id: str) -> Connection:
        """
        End a user's connection here alone, whatever Stripe thinks of it: no token is kept. Doing it twice is harmless.

        Raises:
            NotConnectedError: There never was a connection.
        """
        return await self._flows.connections.forget(user_id)

    async def install(self, user_id: str, *, app: str, account: str, channel: str | None = None) -> Connection:
        """
        Install a Stripe App on a connected account through Stripe's API, and connect the user with the code that this gives.

        Args:
            user_id: The user's id in your own system.
            app: The app's id.
            account: The account (``acct_…``) to install it on.
            channel: From where: ``"public"``, if left out.

        Raises:
            ConfigurationError: This is not the profile of a Stripe App, or the app uses no OAuth.
            APIError: Stripe refused.

        Source: https://docs.stripe.com/api/apps/installs
        """
        return await self._flows.connections.install(user_id, app=app, account=account, channel=channel)

    async def uninstall(self, user_id: str) -> Connection:
        """Remove a Stripe App from the user's account, and end the connection: another name for ``disconnect()``."""
        return await self._flows.connections.disconnect(user_id)

    async def account_link(
        self,
        user_id: str,
        *,
        return_url: str,
        refresh_url: str,
        type: Literal["account_onboarding", "account_update"] = "account_onboarding",
        account: Mapping[str, Any] | None = None,
    ) -> AccountLink:
        """
        Return a link to Stripe's pages where the user fills in their account: for platforms to which Stripe gives no OAuth.

        The first call makes the account. Calling again, also after a crash, gives a new link to the same account.

        Args:
            user_id: The user's id in your own system.
            return_url: Where Stripe sends the user when they leave its pages. Whether all is filled in, ``account_status()`` tells.
            refresh_url: Where Stripe sends the user when the link was used or has expired: send them to a new link from there.
            type: What the pages are for.
            account: How to make the account, as ``stripe.accounts.create()`` takes it; a standard account, if left out.

        Raises:
            ConfigurationError: This is not the profile of Connect.
            APIError, TransportError: Stripe did not make the account or the link. Call again.
        """
        return await self._flows.onboarding.link(
            user_id, return_url=return_url, refresh_url=refresh_url, type=type, account=account
        )

    async def account_status(self, user_id: str) -> OnboardingStatus:
        """
        Ask Stripe how far the user's account is.

        Raises:
            NotConnectedError: The user has no account here.
            APIError, TransportError: Stripe did not say.
        """
        return await self._flows.onboarding.status(user_id)

    async def handle_event(self, event: Event | EventNotification) -> list[Connection]:
        """
        Do what an event says about connections, and return those that it changed. Other events change nothing.

        ``account.application.deauthorized`` and ``apps.install.deleted`` end the connections of an account, snapshot or thin, and win over a
        renewal that is under way. ``account.updated`` ends the onboarding of an account that is complete. Handling an event twice, or late,
        is harmless.
        """
        return await self._flows.connections.heard(event)

    async def refresh_due(self) -> Sweep:
        """
        Renew every access token that is near its end. Call it every few minutes, from one process or from all, so that no request has to wait.

        One that fails does not stop the others.
        """
        return await self._flows.tokens.sweep()

    async def rotate_keys(self, *, after: str | None = None, limit: int = 100) -> Rotation:
        """
        Encrypt up to *limit* tokens that another key encrypted with the current one. Go on with the ``after`` of the answer until it is ``None``.

        Tokens may be used and renewed meanwhile, and a rotation that was stopped can begin anew. When ``rotated`` is 0 and nothing was
        unreadable from the beginning to the end, the old keys are needed no more.
        """
        return await self._flows.connections.rotate(after, limit)

    async def close(self) -> None:
        """Wait for renewals that are under way, ``close_timeout`` seconds at most, and close the connections to Stripe. Twice is harmless."""
        await self._flows.tokens.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncOAuthManager({self._flows.describe()})"
