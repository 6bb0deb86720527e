"""
What the answers look like, as JSON Schema.

An object is Stripe's own, whole: the schema names what callers can count on, and everything else that Stripe says is there too.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
MINOR: Schema = {"type": "integer", "description": "In the currency's minor unit."}
MAYBE_MINOR: Schema = {"type": ["integer", "null"], "description": "In the currency's minor unit."}
CURRENCY: Schema = {"type": "string", "description": "Three letters, in lower case."}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "integer", "description": "Seconds since 1970."}
METADATA: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
# An id, or with ``expand`` the object itself.
REFERENCE: Schema = {"type": ["string", "object", "null"]}


def stripe(kind: str, fields: Schema, *, source: str) -> Schema:
    """Return the schema of Stripe's object *kind*, with *fields* that are always there."""
    return {
        "type": "object",
        "description": f"Stripe's {kind}: {source}",
        "required": ["id", "object", *fields],
        "properties": {"id": TEXT, "object": {"const": kind}, **fields},
        "additionalProperties": True,
    }


def page(schema: Schema, **facts: Schema) -> Schema:
    """Return the schema of a page of a list."""
    return {
        "type": "object",
        "required": ["data", "has_more", "next_cursor", *facts],
        "properties": {
            "data": {"type": "array", "items": schema, "maxItems": 100},
            "has_more": FLAG,
            "next_cursor": {**MAYBE, "description": "What to give as cursor for the next page; null on the last one."},
            **facts,
        },
        "additionalProperties": False,
    }


def record(fields: Schema) -> Schema:
    """Return the schema of an object of our own: it has these *fields* and no others."""
    return {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}


_API = "https://docs.stripe.com/api"
PAYMENT = stripe(
    "payment_intent",
    {"amount": MINOR, "currency": CURRENCY, "status": TEXT, "customer": REFERENCE, "created": TIME, "livemode": FLAG},
    source=f"{_API}/payment_intents/object",
)
REFUND = stripe(
    "refund",
    {"amount": MINOR, "currency": CURRENCY, "status": MAYBE, "payment_intent": REFERENCE, "charge": REFERENCE, "created": TIME},
    source=f"{_API}/refunds/object",
)
CUSTOMER = stripe(
    "customer",
    {"email": MAYBE, "name": MAYBE, "created": TIME, "livemode": FLAG, "metadata": METADATA},
    source=f"{_API}/customers/object",
)
