"""What there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.config import API_VERSION
from atom_stripe.service import schemas
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange

_ENDPOINT = schemas.record({"method": schemas.TEXT, "path": schemas.TEXT, "summary": schemas.TEXT})


async def home(exchange: Exchange) -> Answer:
    root = exchange.request.root
    endpoints = {
        one.name: {"method": one.method, "path": root + one.path, "summary": one.summary} for one in exchange.service.operations
    }
    return Answer(content={"api_version": API_VERSION, "endpoints": endpoints})


OPERATIONS = (
    Operation(
        name="home",
        method="GET",
        path="/",
        summary="List the endpoints",
        part=None,
        access="open",
        handle=home,
        schema=schemas.record(
            {
                "api_version": {**schemas.TEXT, "description": "The version of Stripe's API in which objects are."},
                "endpoints": {"type": "object", "additionalProperties": _ENDPOINT},
            }
        ),
    ),
)
