"""
A shop in one file: a FastAPI service that takes payments, gives them back, and learns from webhooks what became of them.

    STRIPE_SECRET_KEY=sk_test_… STRIPE_WEBHOOK_SECRET=whsec_… uvicorn --factory --app-dir examples service:create_app

Orders live in memory here, and anybody may call. A real shop has a database, computes amounts itself and asks who wants a refund.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from atom_stripe import AsyncStripeClient, AtomStripeError, Event, StripeConfig, WebhookVerifier
from atom_stripe.errors import CardError, InvalidRequestError, WebhookError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG = logging.getLogger("shop")
# Of these, a customer is told no more than that the card was declined: whoever holds it may be the thief.
CONFIDENTIAL = {"fraudulent", "lost_card", "merchant_blacklist", "stolen_card"}
router = APIRouter()


class NewOrder(BaseModel):
    """
    What the browser sends. *amount* is in the currency's smallest unit: 2000 is 20 dollars, but 2000 yen.

    *payment_method* comes from Stripe.js: card numbers never reach this service.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    amount: int = Field(gt=0)
    currency: str = Field(pattern=r"^[a-z]{3}$")
    payment_method: str = Field(pattern=r"^pm_[A-Za-z0-9_]{1,100}$")


class Order(NewOrder):
    """An order: unpaid, paid, partly refunded or refunded. *payment* is Stripe's id of its payment."""

    status: str = "unpaid"
    payment: str | None = None


class Shop(NamedTuple):
    """What the service works with."""

    stripe: AsyncStripeClient
    verifier: WebhookVerifier
    orders: dict[str, Order]


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


OurShop = Annotated[Shop, Depends(_shop)]


@router.post("/orders", status_code=201)
async def pay(new: NewOrder, shop: OurShop) -> dict[str, str | None]:
    """Take the payment of an order. Sent twice, it is taken once; after a decline, the same order may come with another card."""
    order = shop.orders.setdefault(new.id, Order(**new.model_dump()))
    if (order.amount, order.currency) != (new.amount, new.currency):
        raise HTTPException(409, "there is an order with this id and another amount")
    # The key makes it one payment for each order, whatever gets lost on the way, and Stripe lets a payment succeed only once.
    payment = await shop.stripe.payment_intents.create(
        amount=order.amount,
        currency=order.currency,
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        metadata={"order": order.id},
        idempotency_key=f"order-{order.id}",
    )
    order.payment = payment.id
    payment = await shop.stripe.payment_intents.confirm(
        payment.id, payment_method=new.payment_method, idempotency_key=f"order-{order.id}-{new.payment_method}"
    )
    # For "requires_action", Stripe.js takes the secret and lets the customer's bank ask. That it is paid, the webhook says.
    return {"status": payment.status, "payment": payment.id, "client_secret": payment.client_secret}


@router.get("/orders/{order_id}")
async def show(order_id: str, shop: OurShop) -> Order:
    """Return an order as it is now."""
    if order_id not in shop.orders:
        raise HTTPException(404, "there is no such order")
    return shop.orders[order_id]


@router.post("/orders/{order_id}/refund", status_code=202)
async def refund(order_id: str, shop: OurShop) -> dict[str, str | None]:
    """Give the money of an order back, once."""
    order = await show(order_id, shop)
    if order.payment is None or order.status == "unpaid":
        raise HTTPException(409, "this order is not paid")
    made = await shop.stripe.refunds.create(payment_intent=order.payment, idempotency_key=f"refund-{order.id}")
    return {"status": made.status, "refund": made.id}


@router.post("/webhooks")
async def webhook(request: Request, shop: OurShop) -> None:
    """Hear from Stripe. The signature is that of the body exactly as it came."""
    try:
        event = shop.verifier.verify(await request.body(), request.headers.get("stripe-signature"))
    except WebhookError as error:
        LOG.warning("refused a webhook: %s", error)
        raise HTTPException(400, "this is not from Stripe") from None
    orders = {order.payment: order for order in shop.orders.values()}
    # Stripe may send an event twice, or a later one first; neither does harm here.
    match event:
        case Event(type="payment_intent.succeeded") if (order := orders.get(event.data.object.id)) and order.status == "unpaid":
            order.status = "paid"
        case Event(type="charge.refunded") if order := orders.get(event.data.object.payment_intent):
            order.status = "refunded" if event.data.object.refunded else "partly refunded"


async def _failed(request: Request, error: AtomStripeError) -> JSONResponse:
    """Tell the customer what helps, and the log what happened."""
    if isinstance(error, CardError):
        code = error.decline_code or error.code
        return JSONResponse({"code": "generic_decline" if code in CONFIDENTIAL else code, "detail": error.message}, 402)
    LOG.error("%s failed: %s", request.scope["route"].path, error)
    if isinstance(error, InvalidRequestError):
        return JSONResponse({"code": "not_possible", "detail": "This cannot be done with this order."}, 409)
    return JSONResponse({"code": "try_again", "detail": "Try this order again in a minute; it is never charged twice."}, 503)


def create_app(config: StripeConfig | None = None) -> FastAPI:
    """Return the service. Without *config*, its settings are those of the environment."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = config or StripeConfig.from_env()
        async with AsyncStripeClient(config=settings) as stripe:
            app.state.shop = Shop(stripe, WebhookVerifier.from_config(settings), {})
            yield

    app = FastAPI(title="A small shop", lifespan=lifespan, exception_handlers={AtomStripeError: _failed})
    app.include_router(router)
    return app
