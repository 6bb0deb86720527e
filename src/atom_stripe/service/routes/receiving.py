"""What Stripe posts to: stored, then answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange

_RECEIPT = schemas.record({"received": schemas.FLAG})


async def receive(exchange: Exchange) -> Answer:
    request, inbox = exchange.request, exchange.service.parts.inbox
    endpoint = request.path.get("endpoint")
    if endpoint not in inbox.endpoints and not (endpoint is None and len(inbox.endpoints) == 1):
        raise Problem(404, "not_found", "There is no such endpoint: each has a path of its own, /webhooks/{endpoint}.")
    await settled(inbox.receive(request.body, request.headers.get("stripe-signature"), endpoint=endpoint))
    # Whether it was there before is nobody's business but the log's.
    return Answer(content={"received": True})


OPERATIONS = tuple(
    Operation(
        name=name,
        method="POST",
        path=path,
        summary=summary,
        description="200 when the event is stored and safe, also if it was before. 503: Stripe delivers it again.",
        part="inbox",
        access="signed",
        handle=receive,
        schema=_RECEIPT,
    )
    for name, path, summary in (
        ("receive_webhook", "/webhooks", "Take a delivery of Stripe's"),
        ("receive_webhook_at", "/webhooks/{endpoint}", "Take a delivery for one of several webhook endpoints"),
    )
)
