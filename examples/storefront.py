"""
A shop and its back office: visitors pay, subscribe and look after their subscriptions on Stripe's pages; the staff sees and refunds payments.

    python examples/storefront.py      with a Stripe that runs on this machine

With Stripe itself, set STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET (of an endpoint at SHOP_URL/api/v1/stripe/webhooks with the events that are named
in ``_register``), STAFF_KEY (32 random characters or more, with which the staff signs in) and SHOP_URL (http://127.0.0.1:8000 if left out); then

    uvicorn --factory --app-dir examples storefront:create_app

The routes of ``create_router`` act for the merchant: whoever may call them sees every payment and says what things cost, so ``authorize`` lets the
staff in and nobody else. A visitor says only which article it is; price, customer and the page to come back to are the shop's to know, so its own
routes ask Stripe for visitors.

Orders live in memory here. A real shop has a database, and its handler writes there on ``context.connection``, exactly once.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

import storefront_pages as pages
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import SecretStr
from storefront_pages import ARTICLES, Order
from storefront_sandbox import demonstration

from atom_stripe import AsyncStripeClient, AsyncWebhookInbox, AtomStripeError, Event, StripeConfig, WebhookVerifier
from atom_stripe.contrib.fastapi import create_router
from atom_stripe.errors import ConfigurationError
from atom_stripe.inbox import InboxConfig
from atom_stripe.service import Caller
from atom_stripe.stores.inbox_memory import MemoryInboxStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atom_stripe.inbox import AsyncHandlerContext

LOG = logging.getLogger("storefront")
API = "/api/v1/stripe"
SCRIPTS = Path(__file__).parent / "storefront"
router = APIRouter()


@dataclass(frozen=True, slots=True)
class Shop:
    """What the shop works with. *customers*: Stripe's id of each visitor who has paid."""

    stripe: AsyncStripeClient
    url: str
    staff_key: SecretStr
    orders: dict[str, Order] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)

    @property
    def cookies(self) -> dict[str, Any]:
        """Return what every cookie is: no script reads it, and behind https it travels over https only."""
        return {"httponly": True, "secure": self.url.startswith("https://")}

    def orders_of(self, visitor: str) -> list[Order]:
        """Return a visitor's orders, the latest first."""
        return [order for order in reversed(self.orders.values()) if order.visitor == visitor]


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


OurShop = Annotated[Shop, Depends(_shop)]


# Visitors. Whoever comes is a visitor of their own, by a cookie; "Lax": it comes along when Stripe sends the browser back.


def _session(request: Request, response: Response, shop: OurShop) -> str:
    session = pages.session_of(request.cookies.get("session"))
    response.set_cookie("session", session, samesite="lax", **shop.cookies)
    return session


Session = Annotated[str, Depends(_session)]


async def _form(request: Request, session: Session) -> dict[str, str]:
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    if not pages.is_ours(session, form.get("token", "")):
        raise HTTPException(403, "this form is not from our page")
    return form


Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/", response_class=HTMLResponse)
async def home(request: Request, response: Response, session: Session, shop: OurShop) -> str:
    """Show what there is, and the visitor's orders. That somebody came back as if they had paid proves nothing; the webhook does."""
    response.headers.update(pages.HEADERS)
    return pages.shop(session, shop.orders_of(pages.user_of(session)), came=request.url.query)


@router.get("/orders")
async def orders(session: Session, shop: OurShop) -> list[dict[str, str]]:
    """Return the visitor's own orders, as the webhooks left them."""
    return [{"id": order.id, "words": pages.words(order)} for order in shop.orders_of(pages.user_of(session))]


@router.post("/buy/{article}", response_class=RedirectResponse, status_code=303)
async def buy(article: str, session: Session, form: Form, shop: OurShop) -> str:
    """Send the visitor to Stripe's page. Two clicks are one order, and a reload is the same one."""
    sold, visitor, order = ARTICLES.get(article), pages.user_of(session), form.get("order", "")
    if sold is None or not re.fullmatch(r"[0-9a-f]{16}", order):
        raise HTTPException(404, "there is no such article")
    known = shop.orders.setdefault(order, Order(order, visitor, article))
    if (known.visitor, known.article) != (visitor, article):
        raise HTTPException(409, "this is another order")
    if known.customer is None:
        known.customer = shop.customers.get(visitor, "")
    price: dict[str, Any] = {"currency": "usd", "unit_amount": sold.amount, "product_data": {"name": sold.name}}
    params: dict[str, Any] = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "client_reference_id": order,
        "success_url": f"{shop.url}/?paid",
        "cancel_url": f"{shop.url}/?canceled",
        "idempotency_key": f"order-{order}",
    }
    if sold.interval:
        price["recurring"] = {"interval": sold.interval}
        # What is heard of the subscription later names the order too.
        params |= {"mode": "subscription", "subscription_data": {"metadata": {"order": order}}}
    if known.customer:
        params["customer"] = known.customer
    session_at_stripe = await shop.stripe.checkout.sessions.create(**params)
    return session_at_stripe.url or "/"


@router.post("/manage", response_class=RedirectResponse, status_code=303)
async def manage(session: Session, _form: Form, shop: OurShop) -> str:
    """Send the visitor to Stripe's page about their own subscriptions."""
    customer = shop.customers.get(pages.user_of(session))
    if customer is None:
        return "/?nothing"
    opened = await shop.stripe.billing_portal.sessions.create(customer=customer, return_url=shop.url)
    return opened.url


# The staff. Its cookie is "Lax" too, for it comes back from Stripe's page after a sale; what changes something has to be JSON, which no other site's
# page can make a browser send here.


async def _staff(request: Request, shop: OurShop) -> Caller | None:
    """Say who calls the HTTP face: the staff, for the merchant's own account, or nobody."""
    signed_in = pages.is_staff(shop.staff_key, request.cookies.get("staff", ""))
    return Caller("staff", platform=True) if signed_in else None


Staff = Annotated[Caller | None, Depends(_staff)]


@router.get("/staff", response_class=HTMLResponse)
async def office(response: Response, who: Staff) -> str:
    """Show the back office, whose script asks the HTTP face; to others, the way in."""
    response.headers.update(pages.HEADERS)
    return pages.office() if who else pages.door()


@router.post("/staff", response_class=RedirectResponse)
async def sign_in(request: Request, shop: OurShop) -> Response:
    """Let the staff in."""
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    if not pages.is_key(shop.staff_key, form.get("key", "")):
        return HTMLResponse(pages.door("This is not the key."), 403, pages.HEADERS)
    response = RedirectResponse("/staff", 303)
    response.set_cookie("staff", pages.pass_for(shop.staff_key), max_age=pages.SHIFT, samesite="lax", **shop.cookies)
    return response


# What Stripe says.


def _register(inbox: AsyncWebhookInbox, shop: Shop) -> None:
    """Have the orders follow Stripe."""

    @inbox.on(
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
        name="storefront.orders",
    )
    async def _settle(event: Event, _context: AsyncHandlerContext) -> None:
        session = event.data.object
        order = shop.orders.get(session.client_reference_id or "")
        if order is None:
            return  # the staff's own sale, or of another program
        if session.customer:
            shop.customers[order.visitor] = session.customer
        if order.status != "open":
            return
        if event.type == "checkout.session.expired":
            order.status = "expired"
        elif event.type == "checkout.session.async_payment_failed":
            order.status = "failed"
        elif session.payment_status in {"paid", "no_payment_required"}:
            # Otherwise the money takes days, as from a bank account, and another event tells.
            order.status = "paid" if session.mode == "payment" else "active"

    @inbox.on("customer.subscription.updated", "customer.subscription.deleted", name="storefront.subscriptions")
    async def _follow(_event: Event, context: AsyncHandlerContext) -> None:
        # As it is now: an older event may come late.
        subscription: Any = await context.refetch()
        order = shop.orders.get(subscription.metadata.get("order", ""))
        if order is None or subscription.status == "incomplete":
            return
        ends = subscription.cancel_at_period_end or subscription.cancel_at
        order.status = "ending" if ends and subscription.status == "active" else subscription.status


async def _failed(request: Request, error: AtomStripeError) -> HTMLResponse:
    """Tell the visitor what helps, and the log what happened."""
    LOG.error("%s failed: %s", request.scope["route"].path, error)
    return HTMLResponse(pages.trouble(), 503, pages.HEADERS)


def create_app(config: StripeConfig | None = None, url: str | None = None, staff_key: str | None = None) -> FastAPI:
    """Return the shop. What is not given, the environment says."""
    settings = config or StripeConfig.from_env()
    key = SecretStr(staff_key or os.environ.get("STAFF_KEY", ""))
    if len(key) < pages.SHORTEST_KEY:
        raise ConfigurationError(f"STAFF_KEY needs {pages.SHORTEST_KEY} random characters or more")
    stripe = AsyncStripeClient(config=settings)
    # Where money is real, an event of test mode pays no order.
    mode = InboxConfig(livemode=settings.livemode)
    inbox = AsyncWebhookInbox(WebhookVerifier.from_config(settings), MemoryInboxStore(), client=stripe, config=mode)
    shop = Shop(stripe, (url or os.environ.get("SHOP_URL", "http://127.0.0.1:8000")).rstrip("/"), key)
    _register(inbox, shop)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        async with stripe, inbox, inbox.worker():
            yield

    app = FastAPI(title="A shop", lifespan=lifespan, docs_url=None, redoc_url=None, exception_handlers={AtomStripeError: _failed})
    app.state.shop = shop
    app.include_router(router)
    app.include_router(create_router(client=stripe, inbox=inbox, authorize=_staff), prefix=API)
    app.mount("/static", StaticFiles(directory=SCRIPTS))
    return app


def main() -> None:
    """Run the shop with a Stripe of its own."""
    with demonstration() as (stripe, url, listener):
        app = create_app(stripe.config, url, stripe.staff_key)
        uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
