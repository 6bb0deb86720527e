"""The storefront's pages and articles, and how its staff is known."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple

from connect_pages import STYLE, button, is_ours, page, session_of, user_of

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["is_ours", "session_of", "user_of"]


class Article(NamedTuple):
    """What is sold. *amount*: in cents; *interval*: how often it is paid, ``None`` for once."""

    name: str
    amount: int
    interval: Literal["month"] | None = None


ARTICLES = {"mug": Article("A mug", 1800), "coffee": Article("Coffee every month", 1500, "month")}
_BUTTONS = {"mug": "Buy", "coffee": "Subscribe"}


@dataclass(slots=True)
class Order:
    """
    An order, as Stripe's webhooks left it: open, paid, expired or failed; of a subscription, its status at Stripe, or "ending".

    *customer*: who it was begun for, Stripe's id, or an empty text for somebody new. It stays, so that a second click asks for the same.
    """

    id: str
    visitor: str
    article: str
    status: str = "open"
    customer: str | None = None


_WORDS = {
    "open": "waiting for the payment",
    "expired": "not paid in time",
    "failed": "not paid: the bank did not send the money",
    "ending": "canceled, goes on until the end of what is paid",
    "past_due": "the last payment failed",
    "canceled": "ended",
}


def words(order: Order) -> str:
    """Return what a visitor reads about an order."""
    return f"{ARTICLES[order.article].name}: {_WORDS.get(order.status, order.status)}"


# Of scripts and styles, only our own files and the one style of the pages. No form-action: forms lead on to Stripe's pages, which may have a domain
# of your own.
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-{_HASH}'; img-src data:; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_CAME = {
    "paid": "Thank you. The list says when the payment has arrived.",
    "canceled": "You went back, and nothing was paid.",
    "nothing": "There is no subscription of yours to look after.",
}


def shop(session: str, orders: list[Order], *, came: str) -> str:
    """Return what visitors see. *came*: where from."""
    said = f'<p id="status">{_CAME[came]}</p>\n' if came in _CAME else ""
    sold = "".join(
        f"<p>{escape(article.name)}, ${article.amount / 100:.2f} "
        f"{button(session, f'/buy/{key}', f'buy-{key}', _BUTTONS[key], 'main')}</p>\n"
        for key, article in ARTICLES.items()
    )
    rows = "".join(f"<li>{escape(words(order))}</li>" for order in orders)
    return page(
        "A shop",
        f'{said}{sold}<h2>Your orders</h2>\n<ul id="orders">{rows}</ul>\n'
        f'{button(session, "/manage", "manage", "Manage subscriptions")}\n<script src="/static/shop.js" defer></script>\n',
    )


def trouble() -> str:
    """Return the page when Stripe does not answer."""
    body = '<p id="status">Try again in a minute; nothing is charged twice.</p>\n<a class="button" id="home" href="/">Back</a>'
    return page("That did not work", body)


# The staff. Your service has a sign-in, and its session instead of this cookie.

# How long the staff stays signed in, in seconds, and how long its key is at least.
SHIFT, SHORTEST_KEY = 8 * 3600, 32


def door(said: str = "") -> str:
    """Return the way into the back office."""
    warning = f'<p id="status">{escape(said)}</p>\n' if said else ""
    key = '<input id="key" name="key" type="password" aria-label="Key" autocomplete="current-password" required>'
    return page(
        "Staff", f'{warning}<form method="post" action="/staff">{key} <button id="enter" class="main">Sign in</button></form>'
    )


def office() -> str:
    """Return the back office, which its script fills."""
    return page(
        "Back office",
        '<p id="status" role="status"></p>\n'
        '<form id="sale">Sell something else for <input id="cents" inputmode="numeric" pattern="[0-9]+" value="500" aria-label="Cents" required> '
        'cents <button id="sell" class="main">Sell</button></form>\n'
        '<h2>Payments</h2>\n<ul id="payments"></ul>\n<h2>Subscriptions</h2>\n<ul id="subscriptions"></ul>\n'
        '<script src="/static/staff.js" defer></script>\n',
    )


def is_key(expected: SecretStr, key: str) -> bool:
    """Return whether *key* is the staff's."""
    return hmac.compare_digest(expected.get_secret_value().encode(), key.encode(errors="replace"))


def pass_for(key: SecretStr) -> str:
    """Return what the cookie of the staff holds: until when, signed."""
    return _signed(key, str(int(time.time()) + SHIFT))


def is_staff(key: SecretStr, cookie: str) -> bool:
    """Return whether *cookie* was made by ``pass_for`` and is still good."""
    until = cookie.partition(".")[0]
    genuine = hmac.compare_digest(cookie.encode(errors="replace"), _signed(key, until).encode(errors="replace"))
    return genuine and time.time() < int(until)


def _signed(key: SecretStr, until: str) -> str:
    signature = hmac.digest(key.get_secret_value().encode(), f"staff {until}".encode(errors="replace"), "sha256")
    return f"{until}.{signature.hex()}"
