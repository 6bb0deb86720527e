"""OAuth as Stripe speaks it: the URL that begins it, the answers that end it, and what a refusal means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from atom_stripe._wire.decoding import json_object, unreadable
from atom_stripe._wire.encoding import form
from atom_stripe._wire.operation import Operation
from atom_stripe.errors import (
    APIError,
    ConfigurationError,
    ConflictError,
    IdempotencyError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe._wire.messages import Reply
    from atom_stripe.oauth_config import OAuthConfig
    from atom_stripe.protocols import Profile

TOKEN: dict[Profile, Operation] = {
    "connect": Operation("POST", "/oauth/token", host="connect"),
    "stripe_app": Operation("POST", "/v1/oauth/token"),
}
"""Where each profile exchanges codes and renews tokens."""

DEAUTHORIZE = Operation("POST", "/oauth/deauthorize", host="connect")

_ACCOUNT = re.compile(r"acct_[A-Za-z0-9]{1,100}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,2000}")
_MODE = re.compile(r"\b(live|test)[ -]?mode\b|\b(live|test) (key|secret|api key)\b", re.IGNORECASE)
# OAuth's own words; anything else that comes in a redirect is somebody's text.
_ERRORS = frozenset(
    {
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "invalid_redirect_uri",
        "unauthorized_client",
        "unsupported_response_type",
        "server_error",
        "temporarily_unavailable",
    }
)


def authorize_url(
    config: OAuthConfig,
    *,
    state: str,
    redirect_uri: str,
    scope: str,
    stripe_user: Mapping[str, Any] | None = None,
    capabilities: Sequence[str] = (),
    landing: Literal["login", "register"] | None = None,
    express: bool = False,
) -> str:
    """
    Return where to send the user's browser.

    Raises:
        ConfigurationError: There is no client id, or the profile knows no such parameter.
        EncodingError: A prefilled value cannot be sent.
    """
    if config.client_id is None:
        msg = "there is no client id: set STRIPE_CLIENT_ID, or client_id in OAuthConfig"
        raise ConfigurationError(msg)
    if config.profile == "stripe_app":
        if stripe_user or capabilities or landing or express:
            msg = "a Stripe App's authorization takes no prefill, capabilities, landing or express; those are Connect's"
            raise ConfigurationError(msg)
        link = config.install_link or f"{config.marketplace_base}/oauth/v2/authorize"
        asked = {"client_id": config.client_id, "redirect_uri": redirect_uri, "state": state}
        # The Dashboard's link has its own client id and redirect URI.
        there = dict(parse_qsl(urlsplit(link).query))
        query = urlencode({name: value for name, value in asked.items() if name not in there}, quote_via=quote)
        return f"{link}{'&' if '?' in link else '?'}{query}"
    params: dict[str, Any] = {
        "response_type": "code",
        "client_id": config.client_id,
        # Stripe's default would be read_only.
        "scope": scope,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if landing:
        params["stripe_landing"] = landing
    if capabilities:
        params["suggested_capabilities"] = list(capabilities)
    if stripe_user:
        params["stripe_user"] = dict(stripe_user)
    path = "/express/oauth/authorize" if express else "/oauth/authorize"
    return f"{config.stripe.connect_base}{path}?{form(params)}"


@dataclass(frozen=True, slots=True)
class Grant:
    """What the token endpoint gave. *refresh_token* is ``None`` if the one that was sent stays good."""

    account: str
    livemode: bool
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    token_type: str | None = None
    scope: str | None = None
    stripe_publishable_key: str | None = field(default=None, repr=False)
    expires_in: float | None = None


def grant(reply: Reply) -> Grant:
    """
    Return the grant in a successful answer of the token endpoint.

    Raises:
        InvalidResponseError: It holds none. What became of the request is unknown.
    """
    raw = json_object(reply.body) or {}
    account, token, livemode = raw.get("stripe_user_id"), raw.get("access_token"), raw.get("livemode")
    refresh = raw.get("refresh_token")
    if (
        not (isinstance(account, str) and _ACCOUNT.fullmatch(account))
        or not (isinstance(token, str) and _TOKEN.fullmatch(token))
        or not isinstance(livemode, bool)
        or not (refresh is None or (isinstance(refresh, str) and _TOKEN.fullmatch(refresh)))
    ):
        raise unreadable(reply, reads=False)
    expires_in = raw.get("expires_in")
    number = isinstance(expires_in, (int, float)) and not isinstance(expires_in, bool) and 0 < expires_in < 10**9
    return Grant(
        account,
        livemode,
        token,
        refresh,
        short(raw.get("token_type")),
        short(raw.get("scope")),
        short(raw.get("stripe_publishable_key")),
        float(expires_in) if number and expires_in is not None else None,
    )


Verdict = Literal["again", "dead", "spent", "refused"]
"""
What a failed renewal means. ``again``: the same request under the same idempotency key is the way on. ``dead``: Stripe knows no such refresh token.
``spent``: the idempotency key can only ever bring this answer again. ``refused``: Stripe did nothing, for a reason that is not the token's.
"""


def verdict(error: APIError | TransportError) -> Verdict:
    """Return what *error*, in answer to a refresh token, means for the token."""
    if isinstance(error, TransportError):
        return "again"
    if isinstance(error, OAuthError) and error.code == "invalid_grant":
        return "dead"
    if error.idempotent_replayed or isinstance(error, IdempotencyError):
        return "spent"
    if isinstance(error, (ServerError, RateLimitedError, ConflictError)):
        return "again"
    return "refused"


def is_about_modes(error: APIError) -> bool:
    """Return whether a refusal speaks of live and test mode: a key of the one with a client id or grant of the other."""
    return _MODE.search(error.message) is not None


def is_controlled(error: APIError) -> bool:
    """Return whether Stripe refuses because the platform controls the account. The word comes as a code or inside the description."""
    return "no_deauth_on_controlled_account" in f"{error.code} {error.message}"


def known_error(word: str | None) -> str:
    """Return OAuth's word for an error in a redirect, and never anybody's own text."""
    return word if word in _ERRORS else "unknown_error"


def covers(granted: str | None, asked: str | None) -> bool:
    """Return whether a grant's scope is all that was asked for. An answer without a scope grants what was asked (RFC 6749, 5.1)."""
    return granted is None or asked is None or granted == asked or (granted == "read_write" and asked == "read_only")


def short(value: object) -> str | None:
    """Return a word from the network if it is one: short, printable, fit for any database."""
    return value if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable() else None
