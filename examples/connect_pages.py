"""What the two Connect examples share: their pages, their sessions, and what a merchant reads when something did not work."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from html import escape
from typing import TYPE_CHECKING, Literal, TypedDict

from atom_stripe.errors import (
    AccountMismatchError,
    AtomStripeError,
    AuthorizationDeniedError,
    AuthorizationInterruptedError,
    CardError,
    CodeReusedError,
    ControlledAccountError,
    GrantMismatchError,
    InvalidRequestError,
    NotConnectedError,
    OAuthError,
    PermissionDeniedError,
    StateExpiredError,
    StateMismatchError,
    StateReusedError,
)

if TYPE_CHECKING:
    from atom_stripe import Connection
    from atom_stripe.models import PaymentIntent

# In cents: what is sold, and the platform's share of it.
PRICE, FEE = 2000, 150
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; color: #1a1f36 }
h1 { font-size: 1.5rem } code { overflow-wrap: anywhere } form { display: inline-block; margin-right: .5rem }
a.button, button { display: inline-block; font: inherit; padding: .4rem 1rem; border: 1px solid #c1c9d2; border-radius: .4rem;
background: #fff; color: inherit; text-decoration: none; cursor: pointer }
a.main, button.main { background: #635bff; border-color: #635bff; color: #fff }"""


class Share(TypedDict, total=False):
    """What a payment says of the platform's share."""

    application_fee_amount: int


def share(profile: Literal["connect", "stripe_app"]) -> Share:
    """Return the platform's share of a payment: a platform of Connect takes one, a Stripe App does not."""
    return {"application_fee_amount": FEE} if profile == "connect" else {}


# Sessions. Whoever comes is a user of their own here; your service has a sign-in, and its session instead of this cookie.


def session_of(cookie: str | None) -> str:
    """Return the session in *cookie*, or a new one."""
    return cookie if cookie and re.fullmatch(r"[\w-]{43}", cookie, re.ASCII) else secrets.token_urlsafe(32)


def user_of(session: str) -> str:
    """Return the user whose session this is. The session itself is a secret, so it is stored nowhere."""
    return f"user_{hashlib.sha256(session.encode()).hexdigest()[:24]}"


def form_token(session: str) -> str:
    """Return what the forms of this session carry. Other sites can make a browser send a form, but cannot know this."""
    return hmac.digest(session.encode(), b"form", "sha256").hex()


def is_ours(session: str, token: str) -> bool:
    """Return whether a form came from our own page."""
    return hmac.compare_digest(token.encode(), form_token(session).encode())


# Pages.


def page(title: str, body_html: str) -> str:
    """Return a whole page. *body_html* goes into it as it is."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><h1>{escape(title)}</h1>\n{body_html}</body></html>\n'


def button(session: str, path: str, id: str, words: str, kind: str = "") -> str:
    """Return a button that does something. Two clicks on it, or a reload, are one order."""
    hidden = {"token": form_token(session), "order": secrets.token_hex(8)}
    fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in hidden.items())
    return f'<form method="post" action="{path}">{fields}<button id="{id}" class="{kind}">{escape(words)}</button></form>'


def home(session: str, connection: Connection | None, *, missing: int = 0, onboarding: bool = False) -> str:
    """Return the start page. *missing*: how much Stripe still wants to know; *onboarding*: offer a new account too."""
    if connection is None or connection.state == "revoked" or connection.account is None:
        body = '<p id="status">Not connected.</p>\n<a class="button main" id="connect" href="/stripe/connect">Connect with Stripe</a>\n'
        if onboarding:
            body += button(session, "/stripe/onboard", "onboard", "I have no Stripe account")
    elif connection.state == "onboarding":
        words = f"Your account <code>{escape(connection.account)}</code> is not complete. Answers that Stripe waits for: {missing}."
        body = f'<p id="status">{words}</p>\n'
        body += '<a class="button main" id="continue" href="/stripe/onboard">Continue at Stripe</a>'
    elif connection.state == "reauthorization_required":
        body = '<p id="status">Stripe no longer lets us act for you. Connect again.</p>\n'
        body += '<a class="button main" id="connect" href="/stripe/connect">Connect with Stripe</a>'
    else:
        body = f'<p id="status">Connected to <code>{escape(connection.account)}</code>.</p>\n'
        body += button(session, "/charge", "charge", f"Charge ${PRICE // 100}", "main")
        body += button(session, "/disconnect", "disconnect", "Disconnect")
        body += '<p><a id="again" href="/stripe/connect">Connect again</a></p>'
    return page("A marketplace", body)


def paid(payment: PaymentIntent) -> str:
    """Return the page after a charge."""
    fee = f" Our share is ${payment.application_fee_amount / 100:.2f}." if payment.application_fee_amount else ""
    words = f"<code>{escape(payment.id)}</code> over ${payment.amount / 100:.2f} in the merchant's account: {escape(payment.status)}.{fee}"
    return page("Charged", f'<p id="status">{words}</p>\n<a class="button" id="home" href="/">Back</a>')


def problem(words: str) -> str:
    """Return a page that says why something did not work."""
    return page("That did not work", f'<p id="status">{escape(words)}</p>\n<a class="button" id="home" href="/">Back</a>')


# What a merchant reads, and the HTTP status that goes with it. The first line that fits counts; what else an error says is for the log.
EXPLANATIONS: tuple[tuple[type[AtomStripeError], int, str], ...] = (
    (AuthorizationDeniedError, 400, "Nothing was connected, because you did not agree on Stripe's page."),
    (StateExpiredError, 400, "You were away for too long, so nothing was connected. Begin again."),
    (StateReusedError, 400, "This link has done its work already. Whether you are connected, the start page says."),
    (StateMismatchError, 400, "This did not begin in this browser, so nothing was connected. Begin again here."),
    (CodeReusedError, 400, "This link has done its work already. Begin again."),
    (
        AccountMismatchError,
        409,
        "You are connected to {error.expected} and came back with {error.account}. Disconnect first, then connect the other one.",
    ),
    (GrantMismatchError, 409, "Stripe did not give what we asked for, so nothing was connected."),
    (OAuthError, 409, "Stripe did not take this, so nothing was connected. Begin again."),
    (AuthorizationInterruptedError, 503, "Stripe did not answer, so nothing was connected. Begin again."),
    (NotConnectedError, 409, "You are not connected to Stripe. Connect first."),
    (ControlledAccountError, 409, "This account was made here, so it cannot be disconnected."),
    (CardError, 402, "{error.message}"),
    (InvalidRequestError, 409, "Stripe does not allow this for your account."),
    (PermissionDeniedError, 409, "Stripe does not let us act for your account. Connect again."),
    (AtomStripeError, 503, "Try again in a minute; nothing is charged twice."),
)


def explained(error: AtomStripeError) -> tuple[int, str]:
    """Return the HTTP status for *error*, and what the merchant should know."""
    status, words = next((status, words) for kind, status, words in EXPLANATIONS if isinstance(error, kind))
    return status, words.format(error=error)
