"""
Renewing a token that rolls: each refresh token works once, and losing the answer to it can lose the grant.

The protocol, for every process alike: claim the row for a while and write down the idempotency key (the intent) before the token is
sent; send it under that key and no other until its outcome is known; store the new pair before anybody sees it. A process that dies
in between leaves an intent, and whoever claims the row next sends the same token under the same key.
"""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._wire import oauth
from atom_stripe._wire.oauth import TOKEN, Grant, covers, grant, verdict
from atom_stripe._wire.retry import delay
from atom_stripe.connections import Connection
from atom_stripe.errors import APIError, NotConnectedError, RefreshFailedError, StoreError, TokenUnreadableError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.connect.ports import ConnectPorts
    from atom_stripe._engine.connect.vault import Vault
    from atom_stripe.oauth_config import OAuthConfig
    from atom_stripe.protocols import DataKey, Reference, TokenRecord

_LOG = logging.getLogger("atom_stripe.oauth")

# Seconds between looks at a row that somebody else renews.
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.25
# Seconds between attempts to store what Stripe gave.
_FIRST_WRITE, _LONGEST_WRITE = 0.05, 5.0
# Seconds between attempts at Stripe.
_FIRST_ATTEMPT, _LONGEST_ATTEMPT = 0.25, 4.0
# How long somebody else gets to store what they were given, before a refused token counts as dead.
_SETTLING = 2.0


@dataclass(slots=True)
class _Claim:
    """A row that is ours for a while. *uncertain*: its token may have been used under this key already, by us or by a process that died."""

    record: TokenRecord
    owner: str
    key: str
    uncertain: bool


class RefreshFlow:
    """Renews the tokens of one row at a time."""

    def __init__(self, ports: ConnectPorts, vault: Vault, closing: Callable[[], bool]) -> None:
        self._ports = ports
        self._vault = vault
        self._config = ports.config
        self._closing = closing
        self._count_has_failed = False
        # A lease that ends later than any would was written by a clock that went wrong since. Two holders have the same key.
        self._longest = 2 * (ports.config.lease + _SETTLING)

    async def renewed(self, reference: Reference, generation: int) -> TokenRecord:
        """
        Return the row of *reference* once its tokens are newer than *generation*, or once they cannot be renewed any more.

        Raises:
            NotConnectedError: There is no such row.
            RefreshFailedError: It cannot be done now. The grant is not lost.
            APIError: Stripe refuses us, and not the token: a wrong key or client id.
        """
        try:
            return await self._renewed(reference, generation)
        except NotConnectedError:
            raise
        except Exception:
            self._count("failed")
            raise

    async def _renewed(self, reference: Reference, generation: int) -> TokenRecord:
        claim = await self._claimed(reference, generation)
        if not isinstance(claim, _Claim):
            return claim
        try:
            # What will store the answer must work before the token is spent.
            key = await self._vault.key()
            given = await self._exchanged(claim)
        except BaseException as error:
            await self._released(claim, error)
            raise
        if given is None:
            return await self._dead(claim)
        return await self._stored(claim, given, key)

    # Claiming.

    async def _claimed(self, reference: Reference, generation: int) -> _Claim | TokenRecord:
        owner = self._ports.new_id()
        until = self._ports.clock() + self._config.lease + self._config.wait
        look = _FIRST_LOOK
        while True:
            record = await self._load(reference)
            if record.generation != generation or record.state != "active" or record.refresh_token is None:
                return record
            now = self._ports.now(record)
            if record.lease_owner is None or record.lease_until is None or not now < record.lease_until <= now + self._longest:
                uncertain = record.intent_generation == generation and record.intent_key is not None
                key = record.intent_key if uncertain and record.intent_key else self._ports.new_id()
                claimed = replace(
                    record,
                    lease_owner=owner,
                    lease_until=now + self._config.lease,
                    intent_key=key,
                    intent_generation=generation,
                    # By our own clock, like every other moment at which a token may have begun to age.
                    intent_at=record.intent_at if uncertain else self._ports.time(),
                )
                # This write also proves that the store takes writes, before the token is spent.
                if await self._ports.tokens.save(claimed):
                    return _Claim(replace(claimed, version=record.version + 1), owner, key, uncertain)
                continue
            if self._ports.clock() >= until:
                msg = "another process is renewing this token and does not come to an end"
                raise RefreshFailedError(msg, user_id=reference.user_id)
            await self._ports.sleep(look)
            look = min(look * 1.5, _LONGEST_LOOK)

    async def _load(self, reference: Reference) -> TokenRecord:
        record = await self._ports.tokens.load(reference)
        if record is None:
            msg = "this user is not connected to Stripe"
            raise NotConnectedError(msg, user_id=reference.user_id)
        return record

    # Asking Stripe.

    async def _exchanged(self, claim: _Claim) -> Grant | None:
        """Return what Stripe gives for the refresh token; ``None`` if it knows no such token."""
        token = await self._vault.refresh_token(claim.record)
        until = self._ports.clock() + self._config.refresh_timeout
        attempt, renewed_key, dead_once = 0, False, False
        while True:
            attempt += 1
            try:
                return await self._asked(claim, token or "", until - self._ports.clock())
            except (APIError, TransportError) as error:
                meaning = verdict(error)
                self._note(claim, error)
                if meaning == "dead":
                    if not claim.uncertain or dead_once:
                        return None
                    # An earlier attempt may have used it. Its answer may still be on its way into the memory of the key.
                    dead_once = True
                elif meaning == "spent" and not renewed_key:
                    # The key will repeat this for ever, so it says nothing more about the token. A new one may.
                    renewed_key = True
                    await self._rekeyed(claim)
                elif meaning == "again":
                    claim.uncertain = claim.uncertain or error.outcome_unknown
                else:
                    raise
                wait = delay(attempt, initial=_FIRST_ATTEMPT, longest=_LONGEST_ATTEMPT, jitter=0.5)
                if self._ports.clock() + wait >= until:
                    msg = "Stripe did not renew the token in time; it is tried again with the next call"
                    raise RefreshFailedError(msg, user_id=claim.record.user_id) from error
                await self._ports.sleep(wait)

    async def _asked(self, claim: _Claim, token: str, timeout: float) -> Grant:
        operation = TOKEN[self._config.profile]
        params = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            "idempotency_key": claim.key,
            "timeout": max(timeout, 0.001),
            "max_retries": 0,
        }
        return grant(await self._ports.calls.send(operation, operation.path, params))

    async def _rekeyed(self, claim: _Claim) -> None:
        """Write down another idempotency key for the same token, before it is used."""
        key = self._ports.new_id()

        def change(record: TokenRecord) -> TokenRecord:
            return replace(record, intent_key=key, intent_at=self._ports.time())

        if changed := await self._changed(claim, change):
            claim.record, claim.key = changed, key

    # Ending.

    async def _stored(self, claim: _Claim, given: Grant, key: DataKey) -> TokenRecord:
        """Make *given* durable, however long the store takes, unless the row was revoked or has newer tokens."""
        reference, generation = claim.record.reference, claim.record.generation
        wait = _FIRST_WRITE
        while True:
            try:
                record = await self._load(reference)
                if record.generation != generation or record.state == "revoked":
                    return record
                following = await self._following(record, given, claim.record.intent_at, key)
                if await self._ports.tokens.save(following):
                    self._report("token_refreshed" if following.state == "active" else "token_mismatch", following)
                    await self._told(following)
                    return replace(following, version=record.version + 1)
            except StoreError as error:
                # These tokens exist nowhere else, and the ones in the store are spent.
                _LOG.error(
                    "stripe oauth: the store does not take a renewed token (%s); trying on",
                    error,
                    extra={"stripe_event": "token_not_stored", "stripe_connection": claim.record.id},
                )
                if self._closing():
                    raise
                await self._ports.sleep(wait)
                wait = min(wait * 2, _LONGEST_WRITE)

    async def _following(self, record: TokenRecord, given: Grant, asked_at: float | None, key: DataKey) -> TokenRecord:
        """Return *record* as it is after *given*."""
        now = self._ports.time()
        bare = replace(
            record,
            generation=record.generation + 1,
            lease_owner=None,
            lease_until=None,
            intent_key=None,
            intent_generation=None,
            intent_at=None,
            last_error=None,
            updated_at=now,
        )
        mismatch = _mismatch(record, given)
        if mismatch:
            # Somebody else's tokens: using them would act on a stranger's account, and ours are spent.
            return replace(
                bare,
                state="reauthorization_required",
                access_token=None,
                refresh_token=None,
                access_token_fingerprint=None,
                key_id=None,
                expires_at=None,
                last_error=mismatch,
            )
        active = replace(
            bare,
            state="active",
            token_type=given.token_type or record.token_type,
            scope=given.scope or record.scope,
            stripe_publishable_key=given.stripe_publishable_key or record.stripe_publishable_key,
            # The token may have begun to age at any moment since it was asked for.
            expires_at=expiry(self._config, given, now if asked_at is None else min(now, asked_at)),
        )
        kept = None if given.refresh_token else await self._vault.refresh_token(record)
        return self._vault.put(active, given.access_token, given.refresh_token or kept, key)

    async def _dead(self, claim: _Claim) -> TokenRecord:
        """The refresh token is unknown to Stripe: give others time to store what they were given, then say that the user must come back."""
        reference, generation = claim.record.reference, claim.record.generation

        def hold(record: TokenRecord) -> TokenRecord:
            # For longer than we settle, or the next one claims the row meanwhile, and settles while we do.
            return replace(record, lease_until=self._ports.now(record) + self._config.lease + _SETTLING)

        if await self._changed(claim, hold):
            await self._ports.sleep(_SETTLING)

        def change(record: TokenRecord) -> TokenRecord:
            # The access token stays: it works until it runs out.
            return replace(
                record,
                state="reauthorization_required",
                last_error="invalid_grant",
                lease_owner=None,
                lease_until=None,
                updated_at=self._ports.time(),
            )

        changed = await self._changed(claim, change)
        if changed is None:
            # Newer tokens, a revocation, or another holder of the row who is still at work.
            record = await self._load(reference)
            return (
                record
                if record.generation != generation or record.state != "active"
                else await self._renewed(reference, generation)
            )
        self._report("reauthorization_required", changed)
        await self._told(changed)
        return changed

    async def _released(self, claim: _Claim, error: BaseException) -> None:
        """Let others try. The intent stays for as long as the outcome is unknown."""

        def change(record: TokenRecord) -> TokenRecord:
            word = getattr(error, "code", None)
            free = replace(record, lease_owner=None, lease_until=None, last_error=oauth.short(word) or type(error).__name__)
            return free if claim.uncertain else replace(free, intent_key=None, intent_generation=None, intent_at=None)

        try:
            await self._changed(claim, change)
        except (StoreError, TokenUnreadableError):
            # The lease runs out by itself.
            _LOG.warning("stripe oauth: a claim could not be given back", extra={"stripe_connection": claim.record.id})

    async def _changed(self, claim: _Claim, change: Callable[[TokenRecord], TokenRecord]) -> TokenRecord | None:
        """Write a change to the row while it is ours; ``None`` if it is not any more."""
        while True:
            record = await self._ports.tokens.load(claim.record.reference)
            if (
                record is None
                or record.generation != claim.record.generation
                or record.state != "active"
                or record.lease_owner != claim.owner
            ):
                return None
            changed = change(record)
            if await self._ports.tokens.save(changed):
                return replace(changed, version=record.version + 1)

    async def _told(self, record: TokenRecord) -> None:
        """Tell the hook of a row that needs its user."""
        if self._ports.hook is None or record.state != "reauthorization_required":
            return
        try:
            result: Any = self._ports.hook(Connection.of(record))
            if inspect.isawaitable(result):
                await result
        except Exception:  # noqa: BLE001 - whatever the hook does, the row is as it is
            _LOG.exception("stripe oauth: the hook on_reauthorization_required failed")

    def _report(self, event: str, record: TokenRecord) -> None:
        self._count("refreshed" if event == "token_refreshed" else "reauthorization_required")
        _LOG.log(
            logging.INFO if event == "token_refreshed" else logging.WARNING,
            "stripe oauth: %s",
            event,
            extra={"stripe_event": event, "stripe_connection": record.id, "stripe_generation": record.generation},
        )

    def _count(self, outcome: str) -> None:
        """Count a renewal, once, by whoever carried it out."""
        if self._ports.metrics is None:
            return
        try:
            self._ports.metrics.count("atom_stripe_token_refresh_total", 1, {"outcome": outcome})
        except Exception:  # noqa: BLE001 - a token is worth more than its number
            if not self._count_has_failed:
                self._count_has_failed = True
                _LOG.exception("stripe oauth: the manager's metrics failed; this is said once")

    def _note(self, claim: _Claim, error: APIError | TransportError) -> None:
        _LOG.warning(
            "stripe oauth: a token was not renewed (%s)",
            getattr(error, "code", None) or type(error).__name__,
            extra={
                "stripe_event": "refresh_failed",
                "stripe_connection": claim.record.id,
                "stripe_request_id": getattr(error, "request_id", None),
            },
        )


def expiry(config: OAuthConfig, given: Grant, asked_at: float) -> float | None:
    """Return when the access token of *given* runs out: Stripe's word, else what is known of the profile."""
    if given.expires_in is not None:
        return asked_at + given.expires_in
    return asked_at + config.access_token_lifetime if config.profile == "stripe_app" else None


def _mismatch(record: TokenRecord, given: Grant) -> str | None:
    if given.account != record.account:
        return "account_mismatch"
    if given.livemode != record.livemode:
        return "mode_mismatch"
    return None if covers(given.scope, record.scope) else "scope_mismatch"
