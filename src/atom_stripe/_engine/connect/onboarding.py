"""
Accounts without OAuth: the platform makes an account for its user, and a link to Stripe's pages where the user fills it in.

The row is written before the account is made, with the idempotency key that it is made under: whoever asks again after a crash gets
the same account.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.connect.checks import check_user_id
from atom_stripe._wire.operation import Operation
from atom_stripe.connections import AccountLink, OnboardingStatus
from atom_stripe.errors import ConfigurationError, InvalidResponseError, NotConnectedError
from atom_stripe.protocols import Reference, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._engine.connect.manage import ConnectionFlow
    from atom_stripe._engine.connect.ports import ConnectPorts

_CREATE = Operation("POST", "/v1/accounts")
_RETRIEVE = Operation("GET", "/v1/accounts/{account}")
_LINK = Operation("POST", "/v1/account_links")


class OnboardingFlow:
    """Makes accounts and the links to fill them in."""

    def __init__(self, ports: ConnectPorts, connections: ConnectionFlow) -> None:
        self._ports = ports
        self._connections = connections
        self._config = ports.config

    async def link(
        self, user_id: str, *, refresh_url: str, return_url: str, type: str, account: Mapping[str, Any] | None
    ) -> AccountLink:
        """Return a link to Stripe's pages for the user's account, which is made if there is none."""
        record = await self._with_account(check_user_id(user_id), account)
        made: Any = await self._ports.calls.object(
            _LINK, {"account": record.account, "refresh_url": refresh_url, "return_url": return_url, "type": type}
        )
        return AccountLink(url=made.url, account=record.account or "", expires_at=float(made.expires_at))

    async def status(self, user_id: str) -> OnboardingStatus:
        """Return how far the user's account is, and note when it is complete."""
        record = await self._connections.get(user_id)
        if record.account is None or record.state == "revoked":
            msg = "this user has no Stripe account here yet: begin with account_link()"
            raise NotConnectedError(msg, user_id=user_id)
        found: Any = await self._ports.calls.object(_RETRIEVE, {}, record.account)
        raw = found.to_dict()
        requirements = raw.get("requirements") or {}
        status = OnboardingStatus(
            account=record.account,
            details_submitted=raw.get("details_submitted") is True,
            charges_enabled=raw.get("charges_enabled") is True,
            payouts_enabled=raw.get("payouts_enabled") is True,
            currently_due=tuple(str(name) for name in requirements.get("currently_due") or ()),
            disabled_reason=requirements.get("disabled_reason"),
        )
        if status.details_submitted and record.state == "onboarding":
            await self._connections.activated(record)
        return status

    async def _with_account(self, user_id: str, account: Mapping[str, Any] | None) -> TokenRecord:
        """Return the user's row with an account in it."""
        if self._config.profile != "connect":
            msg = "account_link() is for Connect: OAuthConfig(profile='connect')"
            raise ConfigurationError(msg)
        reference = Reference(user_id, self._config.profile, self._config.livemode)
        while True:
            record = await self._ports.tokens.load(reference)
            if record is not None and record.account is not None and record.state != "revoked":
                return record
            if record is not None and record.state == "onboarding" and record.intent_key is not None:
                return await self._made(record, account)
            now = self._ports.time()
            begun = replace(
                record or TokenRecord(id=self._ports.new_id(), **reference._asdict()),
                state="onboarding",
                account=None,
                stripe_user_id=None,
                stripe_publishable_key=None,
                scope=None,
                token_type=None,
                last_error=None,
                intent_key=self._ports.new_id(),
                intent_at=now,
                created_at=now,
                updated_at=now,
            )
            # If somebody else was faster, theirs is found in the next round.
            await self._ports.tokens.save(begun)

    async def _made(self, record: TokenRecord, account: Mapping[str, Any] | None) -> TokenRecord:
        params = {"type": "standard", **(account or {})} if account is None or "controller" not in account else dict(account)
        # Of the parameters too: Stripe refuses a key that comes with others, and an account that was never shown to its user is no loss.
        told = hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode()).hexdigest()[:16]
        made: Any = await self._ports.calls.object(_CREATE, {**params, "idempotency_key": f"{record.intent_key}-{told}"})
        identity = made.to_dict().get("id")
        if not isinstance(identity, str) or not identity.startswith("acct_"):
            msg = "Stripe's answer holds no account"
            raise InvalidResponseError(msg, outcome_unknown=True)

        def change(current: TokenRecord) -> TokenRecord | None:
            if current.account is not None or current.state != "onboarding":
                return None
            return replace(current, account=identity, intent_key=None, intent_at=None, updated_at=self._ports.time())

        return await self._connections.changed(record, change)
