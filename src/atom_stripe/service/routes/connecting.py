"""The way to Stripe's page and back, and what it led to."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, StringConstraints

from atom_stripe.errors import AtomStripeError, NotConnectedError
from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import Input
from atom_stripe.service.messages import Answer, Cookie
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem, problem_of

if TYPE_CHECKING:
    from atom_stripe.connections import Connection
    from atom_stripe.service.exchange import Exchange
    from atom_stripe.service.messages import Request

_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
# Stripe's codes and our states are shorter by far.
_Word = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[\x21-\x7e]+$")]

CONNECTION = schemas.record(
    {
        "account": {**schemas.MAYBE, "description": "The account (acct_…) that calls act for."},
        "state": schemas.TEXT,
        "connected": {**schemas.FLAG, "description": "Whether Stripe can be called for it."},
        "livemode": schemas.FLAG,
        "profile": schemas.TEXT,
        "scope": schemas.MAYBE,
        "stripe_publishable_key": {**schemas.MAYBE, "description": "For Stripe.js."},
        "last_error": {**schemas.MAYBE, "description": "OAuth's word for what ended the grant."},
        "connected_at": schemas.TIME,
    }
)
_STATUS = schemas.record({"connected": schemas.FLAG, "connection": {"anyOf": [CONNECTION, {"type": "null"}]}})
_URL = schemas.record({"url": {**schemas.TEXT, "description": "Stripe's page. Send the browser there."}})


class AuthorizeQuery(Input):
    """*replace*: let the user come back with another account than the one that they are connected to."""

    replace: bool = False


class CallbackQuery(BaseModel):
    """What Stripe adds to the redirect. It adds more than these, and may add others."""

    code: _Word | None = None
    state: _Word | None = None
    error: _Word | None = None


class CallbackBody(Input):
    """
    What Stripe added to the URL of your page. Without *state*, that of the page which sends this is taken, as its browser names it in ``Referer``.
    """

    code: _Word | None = None
    state: _Word | None = None
    error: _Word | None = None


async def authorize(exchange: Exchange) -> Answer:
    request, manager = exchange.request, exchange.service.parts.oauth
    secure = _secure(exchange)
    session = request.cookies.get(_cookie_name(secure=secure), "")
    if not _SESSION.fullmatch(session):
        session = secrets.token_urlsafe(32)
    url = await settled(manager.authorize_url(exchange.user_id, session=session, replace=exchange.query.replace))
    lifetime = int(manager.config.state_lifetime)
    cookie = Cookie(name=_cookie_name(secure=secure), value=session, max_age=lifetime, secure=secure)
    if navigates(request):
        return Answer(status=302, headers={"Location": url}, cookie=cookie)
    return Answer(content={"url": url}, cookie=cookie)


async def callback(exchange: Exchange) -> Answer:
    """The browser comes back by itself. Where it cannot do anything with JSON, it is sent on."""
    query: CallbackQuery = exchange.query
    onwards = exchange.service.config.connected_url if navigates(exchange.request) else None
    try:
        connection = await _completed(exchange, query.code, query.state, query.error)
    except AtomStripeError as error:
        if onwards is None:
            raise
        return Answer(status=302, headers={"Location": _with(onwards, stripe_error=problem_of(error).kind)})
    if onwards is None:
        return Answer(content=told(connection))
    return Answer(status=302, headers={"Location": _with(onwards, stripe="connected")})


async def callback_from_page(exchange: Exchange) -> Answer:
    """A page of yours, to which Stripe sent the browser, hands over what came."""
    body: CallbackBody = exchange.body
    state = body.state or _state_of_page(exchange.request, body.code)
    return Answer(content=told(await _completed(exchange, body.code, state, body.error)))


async def status(exchange: Exchange) -> Answer:
    try:
        connection = await settled(exchange.service.parts.oauth.connection(exchange.user_id))
    except NotConnectedError:
        return Answer(content={"connected": False, "connection": None})
    return Answer(content={"connected": connection.connected, "connection": told(connection)})


async def disconnect(exchange: Exchange) -> Answer:
    return Answer(content=told(await settled(exchange.service.parts.oauth.disconnect(exchange.user_id))))


def told(connection: Connection) -> dict[str, Any]:
    """Return what its user may know of a connection."""
    return {
        "account": connection.account,
        "state": connection.state,
        "connected": connection.connected,
        "livemode": connection.livemode,
        "profile": connection.profile,
        "scope": connection.scope,
        "stripe_publishable_key": connection.stripe_publishable_key,
        "last_error": connection.last_error,
        "connected_at": int(connection.created_at),
    }


def navigates(request: Request) -> bool:
    """Return whether a browser is on its way here, and would show what it gets; a script wants JSON."""
    return "text/html" in request.headers.get("accept", "") and request.headers.get("sec-fetch-mode", "navigate") == "navigate"


async def _completed(exchange: Exchange, code: str | None, state: str | None, error: str | None) -> Connection:
    if code is None and error is None:
        raise Problem(400, "code_missing", "Neither a code nor an error came. Begin at /oauth/authorize.")
    if state is None:
        raise Problem(
            400, "state_missing", "Send the state too: it stands beside the code in the URL to which Stripe sent the browser."
        )
    session = exchange.request.cookies.get(_cookie_name(secure=_secure(exchange)), "")
    if not _SESSION.fullmatch(session):
        raise Problem(400, "state_mismatch", "This browser did not begin an authorization, or its cookie did not come along.")
    completed: Connection = await settled(exchange.service.parts.oauth.callback(code, state, session=session, error=error))
    return completed


def _state_of_page(request: Request, code: str | None) -> str | None:
    """
    Return the state in the URL of the page that sent *request*.

    A browser says it of pages of the same origin only, and nobody else can make it say another: it is what the page itself would send. It counts
    only beside the same code.
    """
    try:
        page = urlsplit(request.headers.get("referer", ""))
        came = parse_qs(page.query, max_num_fields=20)
    except ValueError:
        return None
    if page.netloc != request.host or code is None or came.get("code") != [code] or len(came.get("state", ())) != 1:
        return None
    return came["state"][0]


def _secure(exchange: Exchange) -> bool:
    # Not by the request: behind a proxy that ends TLS, it came over http.
    uris = exchange.service.parts.oauth.config.redirect_uris
    return exchange.request.secure or (bool(uris) and uris[0].startswith("https://"))


def _cookie_name(*, secure: bool) -> str:
    # Browsers take __Host- from this very host over https only, so no neighbour can plant one.
    return "__Host-stripe_oauth" if secure else "stripe_oauth"


def _with(url: str, **words: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(words))))))


OPERATIONS = (
    Operation(
        name="authorize",
        method="GET",
        path="/oauth/authorize",
        summary="Begin to connect a Stripe account",
        description="A browser is sent to Stripe's page; a script gets its URL. Both get a cookie, with which only this browser can come back.",
        part="oauth",
        handle=authorize,
        query=AuthorizeQuery,
        schema=_URL,
        redirects=True,
    ),
    Operation(
        name="callback",
        method="GET",
        path="/oauth/callback",
        summary="Come back from Stripe's page",
        part="oauth",
        access="browser",
        handle=callback,
        query=CallbackQuery,
        schema=CONNECTION,
        redirects=True,
    ),
    Operation(
        name="callback_from_page",
        method="POST",
        path="/oauth/callback",
        summary="Come back from Stripe's page, by way of a page of yours",
        part="oauth",
        access="browser",
        handle=callback_from_page,
        body=CallbackBody,
        schema=CONNECTION,
    ),
    Operation(
        name="disconnect",
        method="POST",
        path="/oauth/disconnect",
        summary="End the connection, at Stripe and here",
        part="oauth",
        handle=disconnect,
        schema=CONNECTION,
    ),
    Operation(
        name="connection_status",
        method="GET",
        path="/oauth/status",
        summary="Say what is connected",
        part="oauth",
        handle=status,
        schema=_STATUS,
    ),
)
