"""One request on its way through the service."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from atom_stripe.models import StripeObject
    from atom_stripe.service.messages import Caller, Request
    from atom_stripe.service.service import Service


async def settled(value: Any) -> Any:
    """Return what a call of either colour gave: a sync client has answered already."""
    return await value if isawaitable(value) else value


class Exchange:
    """
    One request, checked, and what it may be answered with.

    *query*, *body*: instances of the operation's models. *caller*: ``None`` where nobody has to say who they are.
    """

    __slots__ = ("body", "caller", "query", "request", "service")

    def __init__(self, service: Service, request: Request, caller: Caller | None, query: Any, body: Any) -> None:
        self.service = service
        self.request = request
        self.caller = caller
        self.query = query
        self.body = body

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.request.path["id"]

    @property
    def user_id(self) -> str:
        """The user who calls."""
        if self.caller is None:
            msg = "nobody has to say who they are here"
            raise ConfigurationError(msg)
        return self.caller.user_id

    @property
    def acts_for_user(self) -> bool:
        """Whether calls go to the account that the caller connected."""
        return self.service.parts.oauth is not None and self.caller is not None and not self.caller.platform

    @property
    def stripe(self) -> Any:
        """A client that acts for the caller: for the account that they connected, or for the platform."""
        client = self.service.parts.client
        return client.for_user(self.user_id) if self.acts_for_user else client

    @property
    def options(self) -> dict[str, str]:
        """The request options that the caller chose."""
        key = self.request.headers.get("idempotency-key")
        return {"idempotency_key": key} if key else {}

    def content(self, found: StripeObject, *, secret: bool = False) -> dict[str, Any]:
        """Return what Stripe sent. *secret*: with the secrets with which a browser completes it, which only whoever made it needs."""
        # Not to_dict(): its copy would cost more than the rest of the answer.
        return visible(found._raw, secret=secret)  # noqa: SLF001 - read, and written out


# What lets a browser act on an object. https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret
_SECRETS = frozenset({"client_secret", "confirmation_secret"})


def visible(raw: dict[str, Any], *, secret: bool = False) -> dict[str, Any]:
    """Return *raw*, to be written and not to be changed; without its secrets, unless they are wanted."""
    return raw if secret or not _holds(raw) else _without(raw)


def _holds(raw: dict[str, Any]) -> bool:
    """Return whether there is a secret somewhere in *raw*; nearly always, there is none."""
    waiting: list[Any] = [raw]
    # The list grows while it is walked: the parts of a part come after it.
    for part in waiting:
        if isinstance(part, dict) and not _SECRETS.isdisjoint(part):
            return True
        waiting += [one for one in (part.values() if isinstance(part, dict) else part) if isinstance(one, (dict, list))]
    return False


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(part) for name, part in value.items() if name not in _SECRETS}
    if isinstance(value, list):
        return [_without(part) for part in value]
    return value
