"""A user's access token: fresh enough, renewed in the background when its end is near, and waited for only when it has run out."""

from __future__ import annotations

import logging
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr

from atom_stripe._engine.connect.refresh import RefreshFlow
from atom_stripe.connections import AccessToken, Sweep
from atom_stripe.errors import AtomStripeError, NotConnectedError, ReauthorizationRequiredError, RefreshFailedError
from atom_stripe.protocols import Reference, TokenQuery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from concurrent.futures import Future

    from atom_stripe._engine.connect.flights import Flights
    from atom_stripe._engine.connect.ports import ConnectPorts
    from atom_stripe._engine.connect.vault import Vault
    from atom_stripe.protocols import Profile, TokenRecord

_LOG = logging.getLogger("atom_stripe.oauth")
# Of how many users the decrypted token is kept, for as long as their row stays as it is.
_MOST_KEPT = 1000
# How many tokens a sweep renews at the same time.
_AT_ONCE = 8
# Seconds for which nobody begins another renewal in the background after one failed.
_COOLDOWN = 10.0


class TokenFlow:
    """Finds, renews and hands out the tokens of one manager's users."""

    def __init__(self, ports: ConnectPorts, vault: Vault, flights: Flights) -> None:
        self._ports = ports
        self._vault = vault
        self._flights = flights
        self._config = ports.config
        self._load = ports.tokens.load
        self._time = ports.time
        self._profile: Profile = ports.config.profile
        self._livemode = ports.config.livemode
        self._far = ports.config.refresh_margin + ports.config.refresh_jitter
        self._kept: dict[str, tuple[TokenRecord, AccessToken]] = {}
        self.closed = False
        self._refresh = RefreshFlow(ports, vault, lambda: self.closed)

    async def record(self, user_id: str) -> TokenRecord:
        """Return the row of a user whose connection is alive, or whose last access token still is."""
        reference = Reference(user_id, self._profile, self._livemode)
        known = 0
        record = await self._load(reference)
        if record is not None:
            known = self._vault.known_generation(record)
            if record.generation < known:
                # Another thread may have seen the next generation between our reading and now; a second look tells.
                record = await self._load(reference)
        if record is None:
            msg = "this user is not connected to Stripe"
            raise NotConnectedError(msg, user_id=user_id)
        self._vault.check(record, known)
        self._vault.remember(record)
        if record.state == "revoked":
            msg = "this user's connection to Stripe was revoked"
            raise NotConnectedError(msg, user_id=user_id)
        return record

    async def token(self, user_id: str) -> AccessToken:
        """Return an access token that works now."""
        kept = self._kept.get(user_id)
        if kept is not None:
            # The row is read each time, so that a token which was revoked or renewed elsewhere is noticed; decrypting it again
            # would tell nothing new.
            record = await self._load(Reference(user_id, self._profile, self._livemode))
            same = record is kept[0] or record == kept[0]
            if record is not None and same and (record.expires_at is None or record.expires_at - self._time() > self._far):
                return kept[1]
        return await self.token_of(await self.record(user_id))

    async def token_of(self, record: TokenRecord) -> AccessToken:
        """Return the access token of a row that was read just now, or the one that took its place."""
        expires_at = record.expires_at
        if expires_at is not None and expires_at - self._time() <= self._far:
            record = await self._near_its_end(record, expires_at)
        return await self._handed_out(record)

    async def _near_its_end(self, record: TokenRecord, expires_at: float) -> TokenRecord:
        left = expires_at - self._time()
        if record.state == "reauthorization_required":
            if left > 0:
                return record
            raise _needs_user(record)
        if left > 0:
            if left <= self._margin(record) and not self._flights.failed_within(record.id, _COOLDOWN):
                self.renew(record)
            return record
        renewed = await self._waited_for(record)
        if renewed.state == "active" and renewed.expires_at is not None and renewed.expires_at <= self._time():
            # Stripe's answer to a process that died long ago: it gave the next refresh token, and an access token that has run out.
            renewed = await self._waited_for(renewed)
        return self._usable(renewed)

    async def _waited_for(self, record: TokenRecord) -> TokenRecord:
        renewed = await self._flights.wait(self.renew(record), self._config.wait)
        if renewed is None:
            msg = f"the token was not renewed within {self._config.wait:g} seconds; the work goes on"
            raise RefreshFailedError(msg, user_id=record.user_id)
        return renewed

    def renew(self, record: TokenRecord) -> Future[TokenRecord]:
        """Begin to renew the tokens of a row, or join those who have."""
        reference, generation = record.reference, record.generation
        return self._flights.start(record.id, lambda: self._refresh.renewed(reference, generation))

    async def renewed_after(self, user_id: str, generation: int) -> int | None:
        """Return the generation of newer tokens than those which Stripe refused; ``None`` if there can be none."""
        record = await self.record(user_id)
        if record.generation == generation and record.state == "active" and record.refresh_token is not None:
            renewed = await self._flights.wait(self.renew(record), self._config.wait)
            if renewed is None:
                return None
            record = renewed
        return record.generation if record.generation > generation and record.state == "active" else None

    def _usable(self, record: TokenRecord) -> TokenRecord:
        """Return a row that was just renewed, if that is what became of it."""
        self._vault.remember(record)
        if record.state == "revoked":
            msg = "this user's connection to Stripe was revoked"
            raise NotConnectedError(msg, user_id=record.user_id)
        if record.state != "active" or record.refresh_token is None:
            raise _needs_user(record)
        if record.expires_at is not None and record.expires_at <= self._time():
            msg = "the token was renewed and has run out already: is the clock of this machine wrong?"
            raise RefreshFailedError(msg, user_id=record.user_id)
        return record

    def _margin(self, record: TokenRecord) -> float:
        """Return how long before its end this token is renewed: another moment for each token and process, the same at each look."""
        spread = hash((record.id, record.generation, self._ports.salt)) % 1000 / 1000
        return self._config.refresh_margin + spread * self._config.refresh_jitter

    async def _handed_out(self, record: TokenRecord) -> AccessToken:
        token = await self._vault.access_token(record)
        if token is None or record.account is None:
            if record.state == "reauthorization_required":
                raise _needs_user(record)
            msg = "this user's connection has no access token: it was made without OAuth; use for_user() to call Stripe"
            raise NotConnectedError(msg, user_id=record.user_id)
        handed_out = AccessToken(SecretStr(token), record.account, record.livemode, record.expires_at, record.generation)
        if record.state == "active":
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[record.user_id] = (record, handed_out)
        return handed_out

    async def sweep(self) -> Sweep:
        """Renew every token whose end is near, a few at a time. One that fails does not stop the others."""
        refreshed = failed = dead = 0
        async with aclosing(self._due()) as due:
            async for records in due:
                for record, flight in [(record, self.renew(record)) for record in records]:
                    try:
                        renewed = await self._flights.wait(flight, self._config.wait)
                    except AtomStripeError:
                        renewed = None
                    failed += renewed is None
                    if renewed is not None:
                        dead += renewed.state == "reauthorization_required"
                        refreshed += renewed.state == "active" and renewed.generation > record.generation
        return Sweep(refreshed=refreshed, failed=failed, reauthorization_required=dead)

    async def _due(self) -> AsyncGenerator[Sequence[TokenRecord], None]:
        after: str | None = None
        while not self.closed:
            page = await self._ports.tokens.find(
                TokenQuery(
                    profile=self._profile,
                    livemode=self._livemode,
                    states=frozenset({"active"}),
                    expires_before=self._time() + self._far,
                    after=after,
                    limit=_AT_ONCE,
                )
            )
            if not page:
                return
            yield [record for record in page if record.refresh_token is not None]
            after = page[-1].id

    async def close(self) -> None:
        """Wait for what is under way, as long as the settings say."""
        left = await self._flights.land_all(self._config.close_timeout)
        self.closed = True
        if left:
            _LOG.error("stripe oauth: closed while %d tokens were being renewed", left, extra={"stripe_event": "closed_early"})
        with suppress(AtomStripeError):
            await self._ports.calls.ports.transport.close()


def _needs_user(record: TokenRecord) -> ReauthorizationRequiredError:
    msg = "this user's grant is dead: send the user to authorize_url()"
    return ReauthorizationRequiredError(msg, user_id=record.user_id)
