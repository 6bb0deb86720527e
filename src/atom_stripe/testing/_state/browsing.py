"""
Pages: what a person sees in a browser, such as the question whether an application may have access to an account.

They need no API key, and they show nothing from outside. What came in is in a page only if the page escapes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe.testing._state.machine import Machine

_HEADERS = {
    # The name of an account is text from outside: nothing of it may run, and a page in a frame could be clicked unseen.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    # The address of a page, and of where it leads, may hold a code.
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}button{font:inherit;margin-right:.5rem}"


@dataclass(frozen=True, slots=True)
class Visit:
    """
    A browser's request for a page.

    *query*: of the URL; *form*: of the body. Of a name that came twice, the last value counts. *arguments*: what the path holds. *origin*: where
    the browser found the sandbox, such as ``http://127.0.0.1:4242``. *machine*: the sandbox; ``machine.perform(job, account)`` does something in
    an account, with its events.
    """

    machine: Machine = field(repr=False)
    path: str = field(repr=False)
    origin: str
    query: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    arguments: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a browser gets."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def html(cls, status: int, body_html: str, *, title: str = "Stripe sandbox") -> Shown:
        """Return a page. *body_html* goes into it as it is: ``escaped()`` what is not written here."""
        text = (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f"<style>{_STYLE}</style></head>\n<body>\n{body_html}\n</body></html>\n"
        )
        return cls(status, {**_HEADERS, "content-type": "text/html; charset=utf-8"}, text.encode(errors="replace"))

    @classmethod
    def redirect(cls, url: str) -> Shown:
        """Send the browser on to *url*."""
        return cls(302, {**_HEADERS, "content-type": "text/html; charset=utf-8", "location": url})

    @classmethod
    def json(cls, status: int, value: Any) -> Shown:
        """Return an error that Stripe shows in the browser as JSON."""
        return cls(status, {**_HEADERS, "content-type": "application/json"}, json.dumps(value, indent=2).encode())


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its verb, path and the function that shows it."""

    method: str
    path: str
    run: Callable[[Visit], Shown] = field(repr=False)


def page(method: str, path: str) -> Callable[[Callable[[Visit], Shown]], Page]:
    """Make a function the page ``method path``."""

    def declare(run: Callable[[Visit], Shown]) -> Page:
        return Page(method, path, run)

    return declare


def escaped(text: str) -> str:
    """Return *text* as it may stand in a page, also between quotation marks."""
    return escape(text, quote=True)
