"""
A marketplace in FastAPI: a merchant connects a Stripe account in the browser, and the service charges on the merchant's behalf.

    python examples/connect_fastapi.py      with a Stripe that runs on this machine

With Stripe itself, set STRIPE_SECRET_KEY, STRIPE_CLIENT_ID (ca_…), STRIPE_REDIRECT_URI (http://127.0.0.1:8000/stripe/callback, registered in
Stripe's Dashboard), STRIPE_WEBHOOK_SECRET, STRIPE_TOKEN_KEYS (what `atom-stripe keys generate` prints) and DATABASE_URL; then

    uvicorn --factory --no-access-log --app-dir examples connect_fastapi:create_app
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import parse_qsl

import connect_pages as pages
import uvicorn
from connect_sandbox import demonstration
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from atom_stripe import AsyncOAuthManager, AsyncStripeClient, AtomStripeError, OAuthConfig, WebhookVerifier
from atom_stripe.errors import NotConnectedError, WebhookError
from atom_stripe.stores.sql import AsyncSqlTokenStore, upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG = logging.getLogger("marketplace")
router = APIRouter()


class Service(NamedTuple):
    """What the service works with."""

    manager: AsyncOAuthManager
    stripe: AsyncStripeClient
    verifier: WebhookVerifier


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Ours = Annotated[Service, Depends(_service)]


def _session(request: Request, response: Response, service: Ours) -> str:
    """Return the session of this browser, in a cookie that no script reads. "Lax": it comes along when Stripe sends the browser back."""
    session = pages.session_of(request.cookies.get("session"))
    secure = service.manager.config.redirect_uris[0].startswith("https://")
    response.set_cookie("session", session, httponly=True, samesite="lax", secure=secure)
    return session


Session = Annotated[str, Depends(_session)]


async def _form(request: Request, session: Session) -> dict[str, str]:
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    if not pages.is_ours(session, form.get("token", "")):
        raise HTTPException(403, "this form is not from our page")
    return form


Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/", response_class=HTMLResponse)
async def home(session: Session, service: Ours) -> str:
    """Show the merchant what is connected."""
    try:
        connection = await service.manager.connection(pages.user_of(session))
    except NotConnectedError:
        connection = None
    return pages.home(session, connection)


@router.get("/stripe/connect", response_class=RedirectResponse, status_code=303)
async def connect(session: Session, service: Ours) -> str:
    """Send the merchant to Stripe's page."""
    return await service.manager.authorize_url(pages.user_of(session), session=session)


@router.get("/stripe/callback", response_class=RedirectResponse, status_code=303)
async def callback(
    session: Session, service: Ours, code: str | None = None, state: str | None = None, error: str | None = None
) -> str:
    """Take the merchant back. A reload of this, or the same redirect twice, is harmless."""
    await service.manager.callback(code, state, session=session, error=error)
    return "/"


@router.post("/charge", response_class=HTMLResponse)
async def charge(session: Session, form: Form, service: Ours) -> str:
    """Sell something in the merchant's account, and keep our share."""
    user = pages.user_of(session)
    payment = await service.stripe.for_user(user).payment_intents.create(
        amount=pages.PRICE,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        **pages.share(service.manager.config.profile),
        idempotency_key=f"{user}-{form.get('order', '')}",
    )
    return pages.paid(payment)


@router.post("/disconnect", response_class=RedirectResponse, status_code=303)
async def disconnect(session: Session, _form: Form, service: Ours) -> str:
    """Let go of the merchant's account, at Stripe and here."""
    await service.manager.disconnect(pages.user_of(session))
    return "/"


@router.post("/webhooks")
async def webhooks(request: Request, service: Ours) -> None:
    """Hear from Stripe, such as that a merchant removed us there. What fails otherwise is a 503, and Stripe sends it again."""
    try:
        event = service.verifier.verify(await request.body(), request.headers.get("stripe-signature"))
    except WebhookError:
        raise HTTPException(400, "this is not from Stripe") from None
    await service.manager.handle_event(event)


async def _failed(request: Request, error: AtomStripeError) -> HTMLResponse:
    LOG.warning("%s: %s", request.scope["route"].path, error)
    status, words = pages.explained(error)
    return HTMLResponse(pages.problem(words), status)


def create_app(config: OAuthConfig | None = None, database: str | None = None) -> FastAPI:
    """Return the service. What is not given, the environment says."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = config or OAuthConfig.from_env()
        url = database or os.environ.get("DATABASE_URL", "sqlite:///connect.sqlite3")
        upgrade(url)
        async with (
            AsyncSqlTokenStore.from_url(url) as store,
            AsyncOAuthManager(settings, store) as manager,
            AsyncStripeClient(config=settings.stripe, oauth=manager) as stripe,
        ):
            app.state.service = Service(manager, stripe, WebhookVerifier.from_config(settings.stripe))
            yield

    app = FastAPI(title="A marketplace", lifespan=lifespan, exception_handlers={AtomStripeError: _failed})
    app.include_router(router)
    return app


def main() -> None:
    """Run the service with a Stripe of its own."""
    with demonstration() as (stripe, listener):
        # Without an access log: the URLs that Stripe sends browsers back to hold codes.
        settings = uvicorn.Config(create_app(stripe.config, stripe.database), log_level="error", access_log=False)
        uvicorn.Server(settings).run(sockets=[listener])


if __name__ == "__main__":
    main()
