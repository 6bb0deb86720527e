"""What the service can be asked for: one ``Operation`` for each route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atom_stripe.service.exchange import Exchange
    from atom_stripe.service.messages import Answer

Access = Literal["open", "browser", "signed", "caller", "operator"]
"""
Who may: ``"open"`` anybody; ``"browser"`` the browser that began; ``"signed"`` whoever signs as Stripe does; ``"caller"`` whom ``authorize`` knows;
``"operator"`` whom ``authorize_operator`` knows.
"""

Part = Literal["client", "oauth", "inbox", "metrics"]


class Nothing(BaseModel, extra="forbid"):
    """A query or a body without any parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    One route: ``method`` and ``path`` under the prefix of the host's choice, with ``{id}`` for an object's id.

    *name*: its operationId. *part*: what must have been given for the route to be there. *prefixes*: what ids in the path begin with.
    *query*, *body*: what may come, checked before *handle* is called. *schema*: the JSON Schema of the answer. *redirects*: whether browsers
    are sent elsewhere. *unwell*: whether a 503 looks like any other answer of it. *failures*: the statuses of problems beyond those that every
    route of its kind can have.
    """

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    handle: Callable[[Exchange], Awaitable[Answer]]
    part: Part | None = "client"
    access: Access = "caller"
    prefixes: tuple[str, ...] = ()
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    status: int = 200
    schema: dict[str, Any] | None = None
    media_type: str = "application/json"
    redirects: bool = False
    unwell: bool = False
    failures: tuple[int, ...] = ()
    description: str = ""

    @property
    def writes(self) -> bool:
        """Whether it takes an ``Idempotency-Key``."""
        return self.method == "POST" and self.part == "client"
