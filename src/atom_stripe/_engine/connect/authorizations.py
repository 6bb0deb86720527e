"""
The way through Stripe's pages and back: a ``state`` that works once, and a code that is sent once.

Stripe revokes the whole connection when a code is used a second time, so nothing here sends one again: not after a crash, not after a lost
answer, not for a second redirect. What was interrupted is begun anew by the user, with a new code, and nothing is lost by that.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from atom_stripe._engine.connect.checks import check_session, check_text, check_user_id, digest
from atom_stripe._engine.connect.refresh import expiry
from atom_stripe._wire import oauth
from atom_stripe._wire.oauth import TOKEN, Grant
from atom_stripe.connections import Connection
from atom_stripe.errors import (
    AccountMismatchError,
    APIError,
    AtomStripeError,
    AuthorizationDeniedError,
    AuthorizationInterruptedError,
    CodeReusedError,
    ConfigurationError,
    ConnectError,
    ModeMismatchError,
    OAuthError,
    RefreshFailedError,
    ScopeMismatchError,
    StateExpiredError,
    StateMismatchError,
    StateReusedError,
    StoreError,
    TransportError,
)
from atom_stripe.oauth_config import check_redirect_uri, check_scope
from atom_stripe.protocols import Authorization, Reference, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe._engine.connect.flights import Flights
    from atom_stripe._engine.connect.ports import ConnectPorts
    from atom_stripe._engine.connect.vault import Vault
    from atom_stripe.protocols import DataKey

_LOG = logging.getLogger("atom_stripe.oauth")

_ATTEMPTS = 3
# Seconds between looks at an authorization that somebody else completes, and between attempts to store a grant.
_LOOK, _LONGEST_WRITE = 0.1, 2.0
# A code lives five minutes at Stripe; after an hour nobody can use it any more.
_CODE_REMEMBERED = 3600.0


@dataclass(frozen=True, slots=True)
class Returned:
    """What came back in the redirect. *code* and *state* are secrets until they have been used."""

    state: str | None
    code: str | None
    session: str
    redirect_uri: str | None = None
    error: str | None = None


class AuthorizationFlow:
    """Begins and completes authorizations."""

    def __init__(self, ports: ConnectPorts, vault: Vault, flights: Flights) -> None:
        self._ports = ports
        self._vault = vault
        self._flights = flights
        self._config = ports.config

    async def begin(
        self,
        user_id: str,
        session: str,
        *,
        redirect_uri: str | None = None,
        scope: str | None = None,
        stripe_user: Mapping[str, Any] | None = None,
        capabilities: Sequence[str] = (),
        landing: Literal["login", "register"] | None = None,
        express: bool = False,
        replace: bool = False,
    ) -> str:
        """Return the URL to send the user to, once its state is stored."""
        config = self._config
        redirect_uri = self._redirect_uri(redirect_uri)
        scope = check_scope(config.profile, scope or config.scope)
        state = self._ports.new_state()
        url = oauth.authorize_url(
            config,
            state=state,
            redirect_uri=redirect_uri,
            scope=scope,
            stripe_user=stripe_user,
            capabilities=capabilities,
            landing=landing,
            express=express,
        )
        reference = Reference(check_user_id(user_id), config.profile, config.livemode)
        existing = await self._ports.tokens.load(reference)
        now = self._ports.time()
        authorization = Authorization(
            digest=digest("state", state),
            user_id=user_id,
            profile=config.profile,
            livemode=config.livemode,
            session=digest("session", check_session(session)),
            redirect_uri=redirect_uri,
            scope=scope,
            # Who was connected before comes back with the same account, unless the caller says otherwise.
            account=None if replace or existing is None or existing.state == "revoked" else existing.account,
            created_at=now,
            expires_at=now + config.state_lifetime,
        )
        if not await self._ports.tokens.save_authorization(authorization):
            msg = "the store did not take the state of an authorization"
            raise StoreError(msg)
        return url

    async def complete(self, returned: Returned) -> Connection:
        """Return the connection that a redirect leads to, made now or by an earlier copy of the same redirect."""
        authorization = await self._own(returned)
        if returned.code is None:
            await self._denied(authorization, returned.error)
        code = digest("code", check_text("code", returned.code))
        if authorization.state == "open":
            if self._ports.time() >= authorization.expires_at:
                msg = f"the user came back after more than {self._config.state_lifetime:g} seconds; let them begin again"
                raise StateExpiredError(msg)
            value = returned.code
            # Begun here, it goes on even if the browser hangs up: from the moment in which the code is sent there is something to lose.
            flight = self._flights.start(("code", code), lambda: self._completed(authorization, value or "", code))
            done = await self._flights.wait(flight, self._config.wait)
            if done is None:
                raise self._unfinished(authorization.user_id)
            return done
        return await self._repeated(authorization, code)

    # What came back.

    async def _own(self, returned: Returned) -> Authorization:
        """Return the authorization that this browser began, or refuse."""
        found = None
        if returned.state is not None:
            found = await self._ports.tokens.load_authorization(digest("state", check_text("state", returned.state)))
        session = digest("session", check_session(returned.session))
        if found is None or not hmac.compare_digest(found.session, session):
            msg = "this state was not given to this browser session; let the user begin again, in the same browser"
            raise StateMismatchError(msg)
        if found.livemode != self._config.livemode:
            msg = "this authorization was begun in the other mode (live or test)"
            raise ModeMismatchError(msg)
        if found.profile != self._config.profile:
            msg = "this authorization was begun with Stripe's other OAuth server"
            raise StateMismatchError(msg)
        if returned.redirect_uri is not None and returned.redirect_uri != found.redirect_uri:
            msg = "this redirect arrived at another URI than the one that it was sent to"
            raise StateMismatchError(msg)
        return found

    async def _denied(self, authorization: Authorization, error: str | None) -> NoReturn:
        word = oauth.known_error(error)
        if authorization.state == "open":
            await self._ports.tokens.save_authorization(replace(authorization, state="failed", error=word))
        if authorization.state == "done" or (error is None and authorization.state != "open"):
            msg = "this state has done its work already"
            raise StateReusedError(msg)
        if error is None:
            msg = "the redirect holds neither a code nor an error; let the user begin again"
            raise StateMismatchError(msg)
        msg = "the user did not agree" if word == "access_denied" else f"Stripe ended the authorization ({word})"
        raise AuthorizationDeniedError(msg, code=word)

    async def _repeated(self, authorization: Authorization, code: str) -> Connection:
        """Answer a redirect whose state is in use: the same redirect again waits for the first, another one is refused."""
        if authorization.code is None or not hmac.compare_digest(authorization.code, code):
            msg = "this state has done its work already, with another code"
            raise StateReusedError(msg)
        until = self._ports.clock() + self._config.refresh_timeout
        while authorization.state == "exchanging":
            marker = await self._ports.tokens.load_authorization(code)
            begun = authorization.created_at if marker is None else marker.created_at
            if self._ports.time() - begun > self._config.lease or self._ports.clock() >= until:
                raise _interrupted()
            await self._ports.sleep(_LOOK)
            found = await self._ports.tokens.load_authorization(authorization.digest)
            if found is None:
                raise _interrupted()
            authorization = found
        if authorization.state == "failed":
            if authorization.error == "interrupted":
                raise _interrupted()
            msg = f"this authorization failed already ({authorization.error}); let the user begin again"
            raise StateReusedError(msg)
        record = await self._ports.tokens.load(Reference(authorization.user_id, authorization.profile, authorization.livemode))
        if record is None or record.id != authorization.connection_id or record.state == "revoked":
            msg = "this authorization has done its work already, and its connection was ended since"
            raise StateReusedError(msg)
        return Connection.of(record)

    async def connect_installed(self, user_id: str, code: str, account: str) -> Connection:
        """Return the connection that the code of an installation through the API leads to. There was no browser, so there is no state."""
        now = self._ports.time()
        code_digest = digest("code", code)
        marker = Authorization(
            digest=code_digest,
            user_id=user_id,
            profile=self._config.profile,
            livemode=self._config.livemode,
            session="",
            redirect_uri="",
            scope=self._config.scope,
            account=account,
            created_at=now,
            expires_at=now + _CODE_REMEMBERED,
        )
        flight = self._flights.start(("code", code_digest), lambda: self._installed(marker, code))
        done = await self._flights.wait(flight, self._config.wait)
        if done is None:
            raise self._unfinished(user_id)
        return done

    async def _installed(self, marker: Authorization, code: str) -> Connection:
        return Connection.of(await self._used(marker, code))

    # The code.

    async def _completed(self, authorization: Authorization, code: str, code_digest: str) -> Connection:
        tokens = self._ports.tokens
        exchanging = replace(authorization, state="exchanging", code=code_digest)
        if not await tokens.save_authorization(exchanging):
            found = await tokens.load_authorization(authorization.digest)
            if found is None or found.state == "open":
                msg = "the store lost the state of an authorization"
                raise StateMismatchError(msg)
            return await self._repeated(found, code_digest)
        exchanging = replace(exchanging, version=authorization.version + 1)
        now = self._ports.time()
        # The code itself becomes a row, so that no other state can bring it again.
        marker = replace(
            authorization,
            digest=code_digest,
            version=0,
            state="done",
            created_at=now,
            expires_at=now + _CODE_REMEMBERED,
            read_at=None,
        )
        try:
            record = await self._used(marker, code)
        except AtomStripeError as error:
            await self._failed(exchanging, error)
            raise
        await self._noted(replace(exchanging, state="done", connection_id=record.id))
        return Connection.of(record)

    async def _used(self, marker: Authorization, code: str) -> TokenRecord:
        """Exchange *code*, the first and only time, and store what it brings."""
        if not await self._ports.tokens.save_authorization(marker):
            msg = "this authorization code came back before, with another state; it is not used again"
            raise CodeReusedError(msg)
        # What will store the answer must work before the code is spent.
        key = await self._vault.key()
        asked_at = self._ports.time()
        given = await self._exchanged(code)
        self._check(marker, given)
        return await self._connected(marker.user_id, given, asked_at, key)

    async def _exchanged(self, code: str) -> Grant:
        """Send *code* to Stripe. It is sent again only if it certainly never left."""
        operation = TOKEN[self._config.profile]
        params = {
            "grant_type": "authorization_code",
            "code": code,
            "max_retries": 0,
            "timeout": self._config.refresh_timeout,
            "idempotency_key": self._ports.new_id(),
        }
        attempt = 0
        while True:
            attempt += 1
            try:
                return oauth.grant(await self._ports.calls.send(operation, operation.path, params))
            except TransportError as error:
                if error.outcome_unknown:
                    raise _interrupted() from error
                if attempt >= _ATTEMPTS or not error.retryable:
                    raise
                await self._ports.sleep(attempt * 0.5)
            except APIError as error:
                if error.outcome_unknown:
                    raise _interrupted() from error
                if isinstance(error, OAuthError) and oauth.is_about_modes(error):
                    msg = "the code and the API key are of different modes (live and test): use the client id of the key's mode"
                    raise ModeMismatchError(msg) from error
                raise

    def _check(self, authorization: Authorization, given: Grant) -> None:
        """Refuse a grant that is not what was asked for, before anything of it is stored."""
        if given.livemode != authorization.livemode:
            msg = "the grant is of the other mode (live or test) than the key; it was not stored"
            raise ModeMismatchError(msg)
        if not oauth.covers(given.scope, authorization.scope):
            msg = "the grant covers less than the scope that was asked for; it was not stored"
            raise ScopeMismatchError(msg)
        if authorization.account is not None and given.account != authorization.account:
            msg = (
                f"the user is connected to {authorization.account} and came back with {given.account}: disconnect() first, or begin with "
                "authorize_url(replace=True)"
            )
            raise AccountMismatchError(msg, expected=authorization.account, account=given.account)

    # The connection.

    async def _connected(self, user_id: str, given: Grant, asked_at: float, key: DataKey) -> TokenRecord:
        """Store *given* as the user's connection, however often that takes: it exists nowhere else."""
        reference = Reference(user_id, self._config.profile, self._config.livemode)
        until = self._ports.clock() + self._config.wait
        wait = _LOOK
        while True:
            try:
                record = await self._ports.tokens.load(reference)
                following = self._following(reference, record, given, asked_at, key)
                if await self._ports.tokens.save(following):
                    _LOG.info("stripe oauth: connected", extra={"stripe_event": "connected", "stripe_connection": following.id})
                    return replace(following, version=following.version + 1)
            except StoreError:
                if self._ports.clock() >= until:
                    raise
                await self._ports.sleep(wait)
                wait = min(wait * 2, _LONGEST_WRITE)

    def _following(
        self, reference: Reference, record: TokenRecord | None, given: Grant, asked_at: float, key: DataKey
    ) -> TokenRecord:
        now = self._ports.time()
        base = record or TokenRecord(id=self._ports.new_id(), **reference._asdict())
        fresh = TokenRecord(
            id=base.id,
            **reference._asdict(),
            version=base.version,
            generation=base.generation + 1,
            state="active",
            account=given.account,
            stripe_user_id=given.account,
            stripe_publishable_key=given.stripe_publishable_key,
            scope=given.scope,
            token_type=given.token_type,
            expires_at=expiry(self._config, given, asked_at),
            # A renewal that is under way for the old grant finds another generation, and lets go.
            created_at=now,
            updated_at=now,
        )
        return self._vault.put(fresh, given.access_token, given.refresh_token, key)

    async def _failed(self, exchanging: Authorization, error: AtomStripeError) -> None:
        word = "interrupted" if isinstance(error, AuthorizationInterruptedError) else type(error).__name__
        await self._noted(replace(exchanging, state="failed", error=word))
        _LOG.warning("stripe oauth: not connected (%s)", word, extra={"stripe_event": "authorization_failed"})

    async def _noted(self, authorization: Authorization) -> None:
        """Record how an authorization ended. What counts is stored elsewhere, so a store that is away now changes nothing."""
        try:
            await self._ports.tokens.save_authorization(authorization)
        except StoreError:
            _LOG.warning("stripe oauth: the end of an authorization was not recorded")

    def _unfinished(self, user_id: str) -> RefreshFailedError:
        msg = f"the connection was not made within {self._config.wait:g} seconds; the work goes on, so ask for connection() in a moment"
        return RefreshFailedError(msg, user_id=user_id)

    def _redirect_uri(self, redirect_uri: str | None) -> str:
        if redirect_uri is None:
            if not self._config.redirect_uris:
                msg = "there is no redirect URI: set STRIPE_REDIRECT_URI, or redirect_uris in OAuthConfig"
                raise ConfigurationError(msg)
            return self._config.redirect_uris[0]
        if redirect_uri not in self._config.redirect_uris:
            check_redirect_uri(redirect_uri, livemode=self._config.livemode)
            msg = "this redirect URI is none of redirect_uris in OAuthConfig; Stripe compares it letter by letter"
            raise ConfigurationError(msg)
        return redirect_uri


def _interrupted() -> ConnectError:
    msg = "whether Stripe took the authorization code is unknown, and it is never sent twice: let the user begin again"
    return AuthorizationInterruptedError(msg)
