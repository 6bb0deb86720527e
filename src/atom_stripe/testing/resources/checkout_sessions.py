"""
Checkout sessions: Stripe's own page to pay, to subscribe or to leave a card. The page is in ``checkout_pages``.

Source: https://docs.stripe.com/api/checkout/sessions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import exclusive, invalid, missing
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Choice, Currency, Hash, Id, Integer, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing.resources import checkout_flow, checkout_rows
from atom_stripe.testing.resources.account_links import check_url
from atom_stripe.testing.resources.payment_intents import RemovedTypes
from atom_stripe.testing.resources.price_rows import PRICE_DATA, RECURRING_DATA
from atom_stripe.testing.resources.products import PRODUCT_DATA
from atom_stripe.testing.resources.shared import METADATA
from atom_stripe.testing.resources.subscriptions import TRIAL

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

SESSION = checkout_rows.SESSION
ITEM = checkout_rows.ITEM

_MODES = ("payment", "setup", "subscription")
_SOONEST = 30 * 60
_DESCRIPTION = {"description": Text(longest=1000, unsettable=False), **METADATA}
_RECURRING = Hash(dict(RECURRING_DATA.fields))


@route(
    "POST",
    "/v1/checkout/sessions",
    {
        "cancel_url": Text(unsettable=False),
        "client_reference_id": Text(longest=200, unsettable=False),
        "currency": Currency(),
        "customer": Id(),
        "customer_creation": Choice(("always", "if_required")),
        "customer_email": Text(longest=512, unsettable=False),
        "expires_at": Integer(),
        "line_items": ListOf(
            Hash(
                {
                    "price": Id(),
                    "price_data": Hash({**PRICE_DATA, "product_data": Hash(PRODUCT_DATA), "recurring": _RECURRING}),
                    "quantity": Integer(least=1),
                }
            )
        ),
        **METADATA,
        "mode": Choice(_MODES),
        "payment_intent_data": Hash(
            {
                **_DESCRIPTION,
                "capture_method": Choice(("automatic", "automatic_async", "manual")),
                "receipt_email": Text(longest=512, unsettable=False),
                "setup_future_usage": Choice(("off_session", "on_session")),
            }
        ),
        "payment_method_collection": Choice(("always", "if_required")),
        "payment_method_types": RemovedTypes(),
        "setup_intent_data": Hash(_DESCRIPTION),
        "submit_type": Choice(("auto", "book", "donate", "pay", "subscribe")),
        "subscription_data": Hash({"description": Text(longest=500, unsettable=False), **METADATA, **TRIAL}),
        "success_url": Text(unsettable=False),
        "ui_mode": Choice(("hosted_page",), beyond=("POST /v1/checkout/sessions", "ui_mode")),
    },
)
def create(call: Call) -> Row:
    params = call.params
    for name in ("mode", "success_url"):
        if name not in params:
            raise missing(name)
    for name in ("success_url", "cancel_url"):
        if name in params:
            check_url(params[name], name)
    if "customer" in params and "customer_email" in params:
        raise exclusive("customer", "customer_email")
    mode = params["mode"]
    for name, only in (("payment_intent_data", "payment"), ("setup_intent_data", "setup"), ("subscription_data", "subscription")):
        if name in params and mode != only:
            raise invalid(f"{name} is for sessions in {only} mode.", name)
    if mode == "setup" and "currency" not in params:
        raise missing("currency")
    latest = call.now + checkout_rows.LIFETIME
    expires_at = params.get("expires_at", latest)
    if not call.now + _SOONEST <= expires_at <= latest:
        raise invalid("expires_at must be 30 minutes to 24 hours from now.", "expires_at")
    session = checkout_rows.new_session(call, params, call.origin)
    session.update(_asks=None, _subscription=None)
    call.at(expires_at, lambda later: _expire(later, session["id"]))
    return session


@route(
    "GET",
    "/v1/checkout/sessions",
    {
        **PAGE,
        "created": CREATED,
        "customer": Id(),
        "payment_intent": Id(),
        "status": Choice(("complete", "expired", "open")),
        "subscription": Id(),
    },
)
def list_all(call: Call) -> Row:
    return page(
        call.rows("checkout.session"),
        call.params,
        kind="checkout.session",
        url=call.path,
        where=lambda row: (
            equal(row, call.params, "customer", "payment_intent", "status", "subscription")
            and within(row["created"], call.params.get("created"))
        ),
    )


@route("GET", "/v1/checkout/sessions/{session}")
def retrieve(call: Call) -> Row:
    return _named(call)


@route("GET", "/v1/checkout/sessions/{session}/line_items", PAGE)
def line_items(call: Call) -> Row:
    return page(_named(call)["_items"], call.params, kind="item", url=call.path)


@route("POST", "/v1/checkout/sessions/{session}/expire")
def expire(call: Call) -> Row:
    session = _named(call)
    if session["status"] != "open":
        raise invalid(f"The session is {session['status']}; only one that is open can be expired.")
    return checkout_flow.expire(call, session)


def _named(call: Call) -> Row:
    return call.find("checkout.session", call.arguments["session"])


def _expire(work: Transaction, identity: str) -> None:
    session = work.find("checkout.session", identity)
    if session["status"] == "open":
        checkout_flow.expire(work, session)
