"""
Setup intents: payment methods that are kept for later, without a payment. What happens to them is in ``setup_flow``.

Source: https://docs.stripe.com/api/setup_intents
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import exclusive, invalid
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Hash, Id, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import payment_methods, setup_flow
from atom_stripe.testing.resources.payment_intents import RemovedTypes
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

SETUP_INTENT = Kind(
    "setup_intent",
    "seti",
    expands={"customer": "customer", "payment_method": "payment_method"},
    refuses=frozenset({"application", "latest_attempt", "mandate", "on_behalf_of", "single_use_mandate"}),
)

_FIELDS: dict[str, Parameter] = {
    "allowed_payment_method_types": ListOf(payment_methods.TYPE),
    "payment_method": Id(),
    "payment_method_data": Hash(payment_methods.DATA),
    "payment_method_types": RemovedTypes(),
}
_CONFIRMING: dict[str, Parameter] = {"return_url": Text(unsettable=False), "use_stripe_sdk": Boolean()}
_DESCRIPTION: dict[str, Parameter] = {"customer": Id(), "description": Text(longest=1000), **METADATA}


def new_setup(work: Transaction, params: Mapping[str, Any]) -> Row:
    """Make a setup intent: for a request or a checkout session."""
    identity = work.new_id(SETUP_INTENT)
    automatic: Any = params.get("automatic_payment_methods", {"enabled": True})
    intent: Row = work.add(
        {
            "id": identity,
            "object": "setup_intent",
            "allowed_payment_method_types": None,
            "application": None,
            "automatic_payment_methods": (
                {"allow_redirects": automatic.get("allow_redirects", "always"), "enabled": True} if automatic["enabled"] else None
            ),
            "cancellation_reason": None,
            "client_secret": f"{identity}_secret_{work.ids.token('setup_secret', 25)}",
            "created": work.now,
            "customer": None,
            "customer_account": None,
            "description": None,
            "excluded_payment_method_types": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": False,
            "mandate": None,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": params.get("usage", "off_session"),
        }
    )
    _assign(work, intent, params)
    work.emit("setup_intent.created", intent)
    return intent


@route(
    "POST",
    "/v1/setup_intents",
    {
        **_FIELDS,
        **_CONFIRMING,
        **_DESCRIPTION,
        "automatic_payment_methods": Hash({"allow_redirects": Choice(("always", "never")), "enabled": Boolean(required=True)}),
        "confirm": Boolean(),
        "usage": Choice(("off_session", "on_session")),
    },
)
def create(call: Call) -> Row:
    confirms = call.params.get("confirm", False)
    for name in _CONFIRMING:
        if name in call.params and not confirms:
            raise invalid(f"{name} is for confirming: send confirm=true with it, or send it when you confirm.", name)
    intent = new_setup(call, call.params)
    return setup_flow.confirm(call, intent, call.params) if confirms else intent


@route("GET", "/v1/setup_intents", {**PAGE, "created": CREATED, "customer": Id(), "payment_method": Id()})
def list_all(call: Call) -> Row:
    return page(
        call.rows("setup_intent"),
        call.params,
        kind="setup_intent",
        url=call.path,
        where=lambda row: (
            equal(row, call.params, "customer", "payment_method") and within(row["created"], call.params.get("created"))
        ),
    )


@route("GET", "/v1/setup_intents/{intent}")
def retrieve(call: Call) -> Row:
    return _named(call)


@route("POST", "/v1/setup_intents/{intent}", {**_FIELDS, **_DESCRIPTION})
def update(call: Call) -> Row:
    intent = call.change(_named(call))
    if intent["status"] not in setup_flow.OPEN and call.params.keys() - {"description", "expand", "metadata"}:
        raise setup_flow.unexpected(intent, "It can no longer be changed.")
    _assign(call, intent, call.params)
    return intent


@route("POST", "/v1/setup_intents/{intent}/confirm", {**_FIELDS, **_CONFIRMING})
def confirm(call: Call) -> Row:
    intent = call.change(_named(call))
    if intent["status"] in setup_flow.OPEN:
        _assign(call, intent, call.params)
    return setup_flow.confirm(call, intent, call.params)


@route(
    "POST",
    "/v1/setup_intents/{intent}/cancel",
    {"cancellation_reason": Choice(("abandoned", "duplicate", "requested_by_customer"))},
)
def cancel(call: Call) -> Row:
    intent = call.change(_named(call))
    if intent["status"] not in setup_flow.OPEN:
        raise setup_flow.unexpected(intent, "It can no longer be canceled.")
    intent.update(status="canceled", cancellation_reason=call.params.get("cancellation_reason"), next_action=None)
    call.emit("setup_intent.canceled", intent)
    return intent


def _named(call: Call) -> Row:
    return call.find("setup_intent", call.arguments["intent"])


def _assign(work: Transaction, intent: Row, params: Mapping[str, Any]) -> None:
    assign(intent, params, "allowed_payment_method_types", "description")
    if "customer" in params:
        intent["customer"] = work.find("customer", params["customer"], "customer")["id"]
    if "payment_method" in params and "payment_method_data" in params:
        raise exclusive("payment_method", "payment_method_data")
    if "payment_method_data" in params:
        method = payment_methods.create_from(work, params["payment_method_data"], "payment_method_data")
    elif "payment_method" in params:
        method = payment_methods.resolve(work, params["payment_method"], "payment_method")
    else:
        return
    setup_flow.check_owner(intent, method)
    intent.update(payment_method=method["id"], next_action=None, status="requires_confirmation")
