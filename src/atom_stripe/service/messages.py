"""What passes between a framework and the service: a request without its framework, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who calls, as your ``authorize`` found out.

    *user_id*: the user's id in your own system: calls go to the Stripe account that this user connected, and are counted under it. *platform*: the
    call is for the platform's own account instead.
    """

    user_id: str
    platform: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.user_id, str) or not 0 < len(self.user_id) <= _LONGEST:
            msg = f"a user's id is a text of 1 to {_LONGEST} characters"
            raise ConfigurationError(msg)


_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One HTTP request.

    *path*: the arguments that the route took from its path. *query*: each parameter with its values, decoded. *headers*: names in lower case.
    *body*: as it came. *address*: where it came from, ``None`` if that is unknown. *host*: the host that the browser named, with its port.
    *secure*: whether it came over https. *root*: the path under which the service is mounted.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    address: str | None = None
    host: str = ""
    secure: bool = False
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """A cookie to set: no script reads it, and it goes along when another site sends the browser here, but not when it posts. *max_age*: seconds."""

    name: str
    value: str = field(repr=False)
    max_age: int
    secure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    One HTTP answer.

    *content*: what the body says, as JSON; ``bytes`` are sent as they are, and ``None`` is an empty body.
    """

    status: int = 200
    content: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    cookie: Cookie | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers as they are sent: nothing of this is for caches, and nothing of it is what it does not say it is."""
        return {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **self.headers}

    @property
    def body(self) -> bytes:
        """The body as it is sent."""
        if isinstance(self.content, bytes):
            return self.content
        return b"" if self.content is None else to_json(self.content)
