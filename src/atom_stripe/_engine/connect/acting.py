"""Calls for a user's account: which key and which account, found out anew for each call, so that a disconnected user is one at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.calls import CallFlow
from atom_stripe._engine.settings import Settings
from atom_stripe.errors import AuthenticationError, ConfigurationError, NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._engine.connect.tokens import TokenFlow
    from atom_stripe._wire.messages import Reply
    from atom_stripe._wire.operation import Operation


@dataclass(frozen=True, slots=True)
class ActingFlow(CallFlow):
    """
    Carries out calls for one user.

    Connect: with the platform's key and ``Stripe-Account``, as Stripe recommends. Stripe Apps: with the user's access token.
    """

    tokens: TokenFlow
    user_id: str
    # The flow of the present grant: its headers and settings are checked once for each token and not for each call.
    _present: list[tuple[tuple[str, int | None], CallFlow]] = field(default_factory=list, repr=False, compare=False)

    async def send(self, operation: Operation, path: str, params: Mapping[str, Any]) -> Reply:
        """Send one call as the user's account. A token that Stripe refuses is renewed, once."""
        if params.get("stripe_account") is not None or params.get("stripe_context") is not None:
            msg = "a client made with for_user() acts for that user alone; use the client that it was made from"
            raise ConfigurationError(msg)
        flow, generation = await self._flow()
        try:
            return await flow.send(operation, path, params)
        except AuthenticationError as error:
            if generation is None:
                raise
            renewed = await self.tokens.renewed_after(self.user_id, generation)
            if renewed is None:
                raise
            key = error.idempotency_key
        flow, _ = await self._flow()
        # The same key: an attempt before the refused one may have been carried out.
        return await flow.send(operation, path, {**params, "idempotency_key": key} if key else params)

    async def _flow(self) -> tuple[CallFlow, int | None]:
        """Return the flow that acts for the user now, and the generation of its token."""
        record = await self.tokens.record(self.user_id)
        if record.account is None:
            msg = "this user's Stripe account is still being made"
            raise NotConnectedError(msg, user_id=self.user_id)
        if record.profile == "connect":
            return self._kept((record.account, None), stripe_account=record.account), None
        token = await self.tokens.token_of(record)
        return self._kept((token.account, token.generation), stripe_account=None, api_key=token.value), token.generation

    def _kept(self, name: tuple[str, int | None], **settings: Any) -> CallFlow:
        """Return the flow of the grant that is called *name*: the one at hand, or a new one with *settings*."""
        if not self._present or self._present[0][0] != name:
            config = self.settings.config.with_settings(stripe_context=None, **settings)
            self._present[:] = [(name, CallFlow(Settings(config), self.ports, self.limiter))]
        return self._present[0][1]
