"""How the service is: for load balancers, for operators, and in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.service import schemas
from atom_stripe.service.health import NAMES, watch, worst
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange
    from atom_stripe.service.findings import Status

# An answer of a moment ago is of no use to who asks now.
_FRESH = {"Cache-Control": "no-store"}

_STATUS: schemas.Schema = {
    "type": "string",
    "enum": ["ok", "degraded", "down"],
    "description": "degraded: it works, and somebody should look. down: it does not work.",
}
_CHECK: schemas.Schema = {
    "type": "object",
    "description": "What was found, with numbers of the check's own. off: there is nothing to check.",
    "required": ["status", "detail"],
    "properties": {"status": {"type": "string", "enum": ["ok", "degraded", "down", "off"]}, "detail": schemas.TEXT},
    "additionalProperties": True,
}
HEALTH = schemas.record({"status": _STATUS})
DETAILS = schemas.record({"status": _STATUS, "checks": schemas.record(dict.fromkeys(NAMES, _CHECK))})


def _answer(status: Status, **content: Any) -> Answer:
    return Answer(status=503 if status == "down" else 200, content={"status": status, **content}, headers=_FRESH)


async def health(exchange: Exchange) -> Answer:
    """Stripe is not asked, and nothing is told but one word: anybody may call."""
    return _answer(await watch(exchange.service).ready())


async def health_detailed(exchange: Exchange) -> Answer:
    found = await watch(exchange.service).examined()
    return _answer(worst(found), checks={name: one.content() for name, one in found.items()})


async def metrics(exchange: Exchange) -> Answer:
    await watch(exchange.service).measured()
    shown: Any = exchange.service.parts.metrics
    return Answer(content=shown.text(), media_type=shown.content_type, headers=_FRESH)


OPERATIONS = (
    Operation(
        name="health",
        unwell=True,
        method="GET",
        path="/health",
        summary="Whether the service works",
        description="For load balancers: 200 for ok and degraded, 503 for down. Stripe is not asked.",
        handle=health,
        part=None,
        access="open",
        schema=HEALTH,
        failures=(503,),
    ),
    Operation(
        name="health_detailed",
        unwell=True,
        method="GET",
        path="/health/detailed",
        summary="How each part of the service is",
        description="For operators and alerts: 200 for ok and degraded, 503 for down. What Stripe says is believed for a while.",
        handle=health_detailed,
        part=None,
        access="operator",
        schema=DETAILS,
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        summary="The metrics of this process",
        description="In Prometheus's text format.",
        handle=metrics,
        part="metrics",
        access="operator",
        schema=schemas.TEXT,
        media_type="text/plain",
    ),
)
