"""Endpoints, and what is on its way to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receiver = Callable[[bytes, str], object]
    AsyncReceiver = Callable[[bytes, str], Awaitable[object]]
    Key = tuple[str, str, str]


class LostDeliveryError(Exception):
    """A delivery that a fault let vanish: the endpoint never saw it. It is the ``error`` of that delivery."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A webhook endpoint of the sandbox. *secret* (``whsec_…``) is what its deliveries are signed with.

    *payload*: whether it gets events with the object as it was, or thin ones. *api_version*: the version that it is pinned to, ``None`` for the
    account's. *connect*, *own*: whether it hears of connected accounts, and of the one that it belongs to. *old_secrets*: those that were
    replaced, each with the second of the sandbox's time at which it ends.
    """

    id: str
    events: tuple[str, ...]
    secret: str = field(repr=False)
    url: str | None = None
    receiver: Receiver | AsyncReceiver | None = None
    connect: bool = False
    own: bool = True
    payload: Literal["snapshot", "thin"] = "snapshot"
    api_version: str | None = None
    enabled: bool = True
    owner: str = ""
    old_secrets: tuple[tuple[str, int], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One attempt to deliver an event.

    *status*: what a URL answered. *error*: what a function raised, or why a URL could not be reached or was not tried. *at*: the sandbox's time
    when it ended. *resent*: whether ``resend()`` made it; *attempt* counts the others.
    """

    event: str
    type: str
    endpoint: str
    account: str
    attempt: int
    status: int | None
    error: BaseException | None
    body: bytes = field(repr=False)
    at: int = 0
    resent: bool = False

    @property
    def ok(self) -> bool:
        """Whether the endpoint took the event: a function returned, a URL answered 2xx. A redirect is a failure."""
        return self.error is None and (self.status is None or 200 <= self.status < 300)

    @property
    def timed_out(self) -> bool:
        """Whether a URL did not answer in time."""
        return isinstance(self.error, TimeoutError)

    @property
    def lost(self) -> bool:
        """Whether a fault let it vanish on the way."""
        return isinstance(self.error, LostDeliveryError)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An event on its way to an endpoint."""

    event: str
    type: str
    account: str
    endpoint: Endpoint
    body: bytes = field(repr=False)
    attempt: int = 1
    resent: bool = False

    @property
    def key(self) -> Key:
        """What it shares with the other attempts at the same delivery."""
        return self.endpoint.id, self.account, self.event
