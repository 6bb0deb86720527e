"""Connections after they were made: looked up, ended, told of by webhooks, encrypted with a new key."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from atom_stripe._engine.connect.checks import check_user_id
from atom_stripe._wire import oauth
from atom_stripe._wire.operation import Operation
from atom_stripe.connections import Connection, Rotation
from atom_stripe.errors import (
    ConfigurationError,
    ControlledAccountError,
    ModeMismatchError,
    NotConnectedError,
    NotFoundError,
    OAuthError,
    PermissionDeniedError,
    TokenUnreadableError,
)
from atom_stripe.models import Event, EventNotification
from atom_stripe.protocols import Reference, TokenQuery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from atom_stripe._engine.connect.authorizations import AuthorizationFlow
    from atom_stripe._engine.connect.ports import ConnectPorts
    from atom_stripe._engine.connect.vault import Vault
    from atom_stripe.protocols import ConnectionState, DataKey, TokenRecord

_LOG = logging.getLogger("atom_stripe.oauth")

_ACCOUNT = Operation("GET", "/v1/account")
_INSTALLS = Operation("GET", "/v1/apps/installs")
_INSTALL = Operation("POST", "/v1/apps/installs")
_UNINSTALL = Operation("POST", "/v1/apps/installs/{id}/uninstall")
_LIVE: frozenset[ConnectionState] = frozenset({"onboarding", "active", "reauthorization_required"})
_ENDS = frozenset({"account.application.deauthorized", "v1.account.application.deauthorized"})
_APP_ENDS = frozenset({"apps.install.deleted", "v1.apps.install.deleted"})
_UPDATES = frozenset({"account.updated", "v1.account.updated"})
_ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9]{1,100}")


class ConnectionFlow:
    """Everything about connections that is not a token."""

    def __init__(self, ports: ConnectPorts, vault: Vault, authorizations: AuthorizationFlow) -> None:
        self._ports = ports
        self._vault = vault
        self._authorizations = authorizations
        self._config = ports.config

    async def get(self, user_id: str) -> TokenRecord:
        """Return a user's row, whatever its state."""
        record = await self._ports.tokens.load(self._reference(user_id))
        if record is None:
            msg = "this user is not connected to Stripe"
            raise NotConnectedError(msg, user_id=user_id)
        return record

    async def each(
        self, *, account: str | None, state: ConnectionState | None, access_token: str | None
    ) -> AsyncGenerator[Connection, None]:
        """Go over the connections of this profile and mode, in the order of their ids."""
        query = TokenQuery(
            account=account,
            profile=self._config.profile,
            livemode=self._config.livemode,
            states=None if state is None else frozenset({state}),
            fingerprints=None if access_token is None else self._vault.fingerprints(access_token),
        )
        while page := await self._ports.tokens.find(query):
            for record in page:
                yield Connection.of(record)
            query = replace(query, after=page[-1].id)

    # Ending.

    async def disconnect(self, user_id: str) -> Connection:
        """End a connection at Stripe, then here."""
        record = await self.get(user_id)
        if record.state == "revoked":
            return Connection.of(record)
        if record.account is not None and not await self._shared(record):
            if self._config.profile == "stripe_app":
                await self._uninstalled(record.account)
            else:
                await self._deauthorized(record)
        return Connection.of(await self._ended(record, "disconnected"))

    async def forget(self, user_id: str) -> Connection:
        """End a connection here alone."""
        return Connection.of(await self._ended(await self.get(user_id), "forgotten"))

    async def _shared(self, record: TokenRecord) -> bool:
        """Return whether another user is connected to the same account, whom Stripe's revocation would disconnect too."""
        query = TokenQuery(account=record.account, profile=record.profile, livemode=record.livemode, states=_LIVE, limit=2)
        return any(other.id != record.id for other in await self._ports.tokens.find(query))

    async def _deauthorized(self, record: TokenRecord) -> None:
        if record.stripe_user_id is None:
            raise _controlled()
        if self._config.client_id is None:
            msg = "there is no client id: set STRIPE_CLIENT_ID, or client_id in OAuthConfig"
            raise ConfigurationError(msg)
        params = {"client_id": self._config.client_id, "stripe_user_id": record.stripe_user_id}
        try:
            await self._ports.calls.send(oauth.DEAUTHORIZE, oauth.DEAUTHORIZE.path, params)
        except OAuthError as error:
            if oauth.is_controlled(error):
                raise _controlled() from error
            if error.code != "invalid_client":
                raise
            # Stripe says invalid_client for four different things. Whether the account can still be reached tells them apart for certain.
            if await self._reachable(record.stripe_user_id):
                if oauth.is_about_modes(error):
                    msg = "the client id is of the other mode (live or test) than the key"
                    raise ModeMismatchError(msg) from error
                msg = "Stripe does not accept the client id with this key: check STRIPE_CLIENT_ID"
                raise ConfigurationError(msg) from error

    async def _reachable(self, account: str) -> bool:
        """Return whether the platform can act for *account*."""
        try:
            await self._ports.calls.object(_ACCOUNT, {"stripe_account": account})
        except (PermissionDeniedError, NotFoundError):
            return False
        return True

    async def _uninstalled(self, account: str) -> None:
        """Remove the app from *account*. An app that is not there is removed."""
        wanted: dict[str, Any] = {"app": self._config.app} if self._config.app else {}
        try:
            found: Any = await self._ports.calls.object(_INSTALLS, {"stripe_account": account, "limit": 100, **wanted})
            installs = [install.to_dict() for install in found.data]
            if len({install.get("app") for install in installs}) > 1:
                msg = "there is more than one app on this account: say which is yours, with app in OAuthConfig"
                raise ConfigurationError(msg)
            for install in installs:
                await self._ports.calls.object(_UNINSTALL, {"stripe_account": account}, str(install.get("id")))
        except (PermissionDeniedError, NotFoundError):
            return

    async def _ended(self, record: TokenRecord, reason: str) -> TokenRecord:
        """Revoke a row here: no token is left in it, and a renewal that is under way finds it revoked and lets go."""

        def change(current: TokenRecord) -> TokenRecord | None:
            if current.state == "revoked":
                return None
            return replace(
                current,
                state="revoked",
                generation=current.generation + 1,
                access_token=None,
                refresh_token=None,
                access_token_fingerprint=None,
                key_id=None,
                expires_at=None,
                lease_owner=None,
                lease_until=None,
                intent_key=None,
                intent_generation=None,
                intent_at=None,
                last_error=reason,
                updated_at=self._ports.time(),
            )

        ended = await self.changed(record, change)
        self._vault.remember(ended)
        _LOG.info("stripe oauth: %s", reason, extra={"stripe_event": "revoked", "stripe_connection": record.id})
        return ended

    async def changed(self, record: TokenRecord, change: Callable[[TokenRecord], TokenRecord | None]) -> TokenRecord:
        """Write a change of a row, made again if somebody else was faster. A change of ``None`` leaves it."""
        current: TokenRecord | None = record
        while current is not None:
            wanted = change(current)
            if wanted is None:
                return current
            if await self._ports.tokens.save(wanted):
                return replace(wanted, version=current.version + 1)
            current = await self._ports.tokens.load(record.reference)
        msg = "this user is not connected to Stripe"
        raise NotConnectedError(msg, user_id=record.user_id)

    # Stripe Apps.

    async def install(self, user_id: str, *, app: str, account: str, channel: str | None) -> Connection:
        """Install the app on an account through Stripe's API, and connect the user with the code that this gives."""
        check_user_id(user_id)
        if self._config.profile != "stripe_app":
            msg = "install() is for Stripe Apps: OAuthConfig(profile='stripe_app')"
            raise ConfigurationError(msg)
        params = {"app": app, "stripe_account": account, **({"channel": channel} if channel else {})}
        installed: Any = await self._ports.calls.object(_INSTALL, params)
        code = installed.to_dict().get("auth_code")
        if not isinstance(code, str):
            msg = "Stripe installed the app without an authorization code: it is not an OAuth app, or was installed before"
            raise ConfigurationError(msg)
        return await self._authorizations.connect_installed(user_id, code, account)

    # Webhooks.

    async def heard(self, event: Event | EventNotification) -> list[Connection]:
        """Do what an event of Stripe's says about connections."""
        account = event.account or _object_account(event)
        kind = event.type
        if account is None or not _ACCOUNT_ID.fullmatch(account) or event.livemode != self._config.livemode:
            return []
        if kind in _ENDS and self._is_ours(event):
            return await self._revoked(account, event)
        if kind in _APP_ENDS and self._config.profile == "stripe_app" and self._is_our_app(event):
            return await self._revoked(account, event)
        if kind in _UPDATES and isinstance(event, Event):
            return await self._updated(account, event)
        return []

    def _is_ours(self, event: Event | EventNotification) -> bool:
        """Return whether the application that lost its access is this one. A thin event does not say which it was."""
        application = _object(event).get("id")
        return application is None or self._config.client_id is None or application == self._config.client_id

    def _is_our_app(self, event: Event | EventNotification) -> bool:
        """Return whether the app that was uninstalled is this one, as far as the event and the settings say."""
        app = _object(event).get("app")
        return app is None or self._config.app is None or app == self._config.app

    async def _revoked(self, account: str, event: Event | EventNotification) -> list[Connection]:
        happened = event.created_at
        ended: list[Connection] = []
        for record in await self._of_account(account):
            # Stripe delivers late and twice: an old farewell does not end a connection that was made after it.
            if happened is not None and happened.timestamp() < int(record.created_at):
                continue
            ended.append(Connection.of(await self._ended(record, "deauthorized")))
        return ended

    async def _updated(self, account: str, event: Event) -> list[Connection]:
        """Note that an account which was being filled in is complete."""
        if _object(event).get("details_submitted") is not True:
            return []
        return [
            Connection.of(await self.activated(record))
            for record in await self._of_account(account)
            if record.state == "onboarding"
        ]

    async def activated(self, record: TokenRecord) -> TokenRecord:
        """Note that the onboarding of a row's account is done."""

        def change(current: TokenRecord) -> TokenRecord | None:
            return replace(current, state="active", updated_at=self._ports.time()) if current.state == "onboarding" else None

        return await self.changed(record, change)

    async def _of_account(self, account: str) -> Sequence[TokenRecord]:
        query = TokenQuery(account=account, profile=self._config.profile, livemode=self._config.livemode, states=_LIVE)
        found: list[TokenRecord] = []
        while page := await self._ports.tokens.find(query):
            found += page
            query = replace(query, after=page[-1].id)
        return found

    # Keys.

    async def rotate(self, after: str | None, limit: int) -> Rotation:
        """Encrypt a batch of rows with the current key. A row that cannot be read is left as it is and named."""
        current = await self._vault.key()
        rotated = 0
        unreadable: list[tuple[str, str]] = []
        page = await self._ports.tokens.find(TokenQuery(not_key_id=current.id, after=after, limit=limit))
        for record in page:
            try:
                rotated += await self._rotated(record, current)
            except TokenUnreadableError as error:
                unreadable.append((record.id, type(error).__name__))
        return Rotation(rotated=rotated, unreadable=tuple(unreadable), after=page[-1].id if len(page) == limit else None)

    async def _rotated(self, record: TokenRecord, current: DataKey) -> bool:
        found: TokenRecord | None = record
        while found is not None and found.key_id not in {None, current.id}:
            token = await self._vault.access_token(found)
            refresh_token = await self._vault.refresh_token(found)
            wanted = self._vault.put(found, cast("str", token), refresh_token, current)
            if await self._ports.tokens.save(wanted):
                return True
            found = await self._ports.tokens.load(record.reference)
        return False

    def _reference(self, user_id: str) -> Reference:
        return Reference(check_user_id(user_id), self._config.profile, self._config.livemode)


def _object(event: Event | EventNotification) -> dict[str, Any]:
    """Return what an event happened to; a thin event does not hold it."""
    data = event.to_dict().get("data")
    found = data.get("object") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _object_account(event: Event | EventNotification) -> str | None:
    account = _object(event).get("account")
    return account if isinstance(account, str) else None


def _controlled() -> ControlledAccountError:
    msg = (
        "the platform controls this account, so it cannot be disconnected: delete the account at Stripe, or forget() the connection"
    )
    return ControlledAccountError(msg)
