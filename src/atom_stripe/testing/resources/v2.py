"""
What operations of the second API have in common: no ``expand``, and lists with the address of the next page.

Source: https://docs.stripe.com/api-v2-overview
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from atom_stripe._wire.encoding import form
from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.params import Integer
from atom_stripe.testing._state.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atom_stripe.testing._state.errors import Refusal
    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

PAGE: dict[str, Parameter] = {"limit": Integer(least=1, most=100)}
"""The parameters of every list. The addresses of further pages have one more, which only the sandbox reads."""

_CURSOR = "page"
_DEFAULT_LIMIT = 20


@dataclass(frozen=True, slots=True)
class V2Route(Route):
    """An operation of the second API."""

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a request, and where its page begins if it is for a further one."""
        rest = dict(raw)
        cursor = rest.pop(_CURSOR, None) if "limit" in self.takes else None
        if cursor is not None and not isinstance(cursor, str):
            raise lost_page()
        params = Route.read(self, rest)
        return params if cursor is None else {**params, _CURSOR: cursor}


def route(method: str, path: str, takes: Mapping[str, Parameter] | None = None) -> Callable[[Callable[[Call], Row]], V2Route]:
    """Make a function the operation ``method path``."""

    def declare(run: Callable[[Call], Row]) -> V2Route:
        return V2Route(method, path, dict(takes or {}), run)

    return declare


def page(call: Call, rows: Sequence[Row]) -> Row:
    """Return the page of *rows* that a call asks for."""
    start, limit = 0, page_size(call)
    if (cursor := cursor_of(call)) is not None:
        start = next((index for index, row in enumerate(rows) if row["id"] == cursor), -1)
        if start < 0:
            raise lost_page()
    further = rows[start + limit]["id"] if start + limit < len(rows) else None
    before = rows[max(start - limit, 0)]["id"] if start > 0 else None
    return envelope(call, list(rows[start : start + limit]), further, before)


def cursor_of(call: Call) -> str | None:
    """Return the id with which the page begins that a call asks for, ``None`` for the first page."""
    return call.params.get(_CURSOR)


def page_size(call: Call) -> int:
    """Return how many entries a call wants at once."""
    return int(call.params.get("limit", _DEFAULT_LIMIT))


def lost_page() -> Refusal:
    """A page that the list does not have."""
    return invalid("page is not one that this list has: follow next_page_url as it is.", _CURSOR)


def envelope(call: Call, data: list[Row], further: str | None, before: str | None) -> Row:
    """Return a page with the addresses of the next and of the previous one, which begin with these ids."""
    return {"data": data, "next_page_url": _url(call, further), "previous_page_url": _url(call, before)}


def _url(call: Call, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    asked = form({name: value for name, value in call.params.items() if name != _CURSOR})
    return f"{call.path}?{asked}{'&' if asked else ''}{urlencode({_CURSOR: cursor})}"
