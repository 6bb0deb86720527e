"""
Payment intents: one for each thing that is to be paid. What happens to them is in ``payment_flow``.

Source: https://docs.stripe.com/api/payment_intents
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.currencies import check_amount
from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Currency, Hash, Id, Integer, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import payment_flow, payment_methods
from atom_stripe.testing.resources.payment_flow import unexpected
from atom_stripe.testing.resources.shared import METADATA, SHIPPING, assign, shipping

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

PAYMENT_INTENT = Kind(
    "payment_intent",
    "pi",
    expands={"customer": "customer", "latest_charge": "charge", "payment_method": "payment_method"},
    refuses=frozenset({"application", "on_behalf_of", "payment_record", "review", "source", "transfer_data.destination"}),
)


class RemovedTypes:
    """``payment_method_types``, which cannot be sent any more. Source: https://docs.stripe.com/changelog/endive"""

    required = False
    unsettable = True

    def read(self, value: Any, name: str) -> Any:
        """Refuse it."""
        del value
        message = (
            f"{name} can no longer be sent. Use allowed_payment_method_types, or leave the choice to automatic_payment_methods."
        )
        raise invalid(message, name, code="payment_method_types_no_longer_supported")


_CAPTURE_METHOD = Choice(("automatic", "automatic_async", "manual"))
_OPTIONS = Hash(
    {
        "card": Hash(
            {
                "capture_method": Choice(("manual",), unsettable=True),
                "request_three_d_secure": Choice(("any", "automatic", "challenge")),
            },
            unsettable=True,
        )
    }
)
_CARD_OPTIONS = {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
# What confirming takes, on its own or while creating.
_CONFIRMING: dict[str, Parameter] = {
    "error_on_requires_action": Boolean(),
    "off_session": Choice(("true", "false", "one_off", "recurring")),
    "return_url": Text(unsettable=False),
    "use_stripe_sdk": Boolean(),
}
# What can be set at any time before the payment.
_FIELDS: dict[str, Parameter] = {
    "allowed_payment_method_types": ListOf(payment_methods.TYPE),
    "capture_method": _CAPTURE_METHOD,
    "payment_method": Id(unsettable=True),
    "payment_method_data": Hash(payment_methods.DATA),
    "payment_method_options": _OPTIONS,
    "payment_method_types": RemovedTypes(),
    "receipt_email": Text(longest=512),
    "setup_future_usage": Choice(("off_session", "on_session"), unsettable=True),
    "shipping": SHIPPING,
}
_DESCRIPTION: dict[str, Parameter] = {
    "application_fee_amount": Integer(least=0),
    "customer": Id(),
    "description": Text(longest=1000),
    "statement_descriptor": Text(longest=22),
    "statement_descriptor_suffix": Text(longest=22),
    "transfer_group": Text(),
    **METADATA,
}


@route(
    "POST",
    "/v1/payment_intents",
    {
        **_FIELDS,
        **_CONFIRMING,
        **_DESCRIPTION,
        "amount": Integer(least=0, required=True),
        "automatic_payment_methods": Hash({"allow_redirects": Choice(("always", "never")), "enabled": Boolean(required=True)}),
        "confirm": Boolean(),
        "confirmation_method": Choice(("automatic", "manual")),
        "currency": Currency(required=True),
    },
)
def create(call: Call) -> Row:
    params = call.params
    confirms = params.get("confirm", False)
    for name in _CONFIRMING:
        if name in params and not confirms:
            raise invalid(f"{name} is for confirming: send confirm=true with it, or send it when you confirm.", name)
    intent = new_intent(call, params)
    return payment_flow.confirm(call, intent, params) if confirms else intent


def new_intent(work: Transaction, params: Mapping[str, Any]) -> Row:
    """Make a payment intent: for a request, an invoice or a checkout session."""
    identity = work.new_id(PAYMENT_INTENT)
    intent: Row = work.add(
        {
            "id": identity,
            "object": "payment_intent",
            "allowed_payment_method_types": None,
            "amount": params["amount"],
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": _automatic(params.get("automatic_payment_methods")),
            "canceled_at": None,
            "cancellation_reason": None,
            # Source: https://docs.stripe.com/payments/payment-intents/asynchronous-capture
            "capture_method": "automatic_async",
            "client_secret": f"{identity}_secret_{work.ids.token('client_secret', 25)}",
            "confirmation_method": params.get("confirmation_method", "automatic"),
            "created": work.now,
            "currency": params["currency"],
            "customer": None,
            "customer_account": None,
            "description": None,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": dict(_CARD_OPTIONS)},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
            "_authenticated": False,
            "_platform": work.account.platform,
        }
    )
    check_amount(params["amount"], params["currency"])
    _assign(work, intent, params)
    work.emit("payment_intent.created", intent)
    return intent


@route("GET", "/v1/payment_intents", {**PAGE, "created": CREATED, "customer": Id()})
def list_all(call: Call) -> Row:
    return page(
        call.rows("payment_intent"),
        call.params,
        kind="payment_intent",
        url=call.path,
        where=lambda row: equal(row, call.params, "customer") and within(row["created"], call.params.get("created")),
    )


@route("GET", "/v1/payment_intents/{intent}")
def retrieve(call: Call) -> Row:
    return _named(call)


@route("POST", "/v1/payment_intents/{intent}", {**_FIELDS, **_DESCRIPTION, "amount": Integer(least=0), "currency": Currency()})
def update(call: Call) -> Row:
    intent = call.change(_named(call))
    _check_own(intent, call.params.keys() & {"amount", "currency", "customer"})
    # What was paid stays what it was; what merely describes it can change. Source: https://docs.stripe.com/api/payment_intents/update
    fixed = sorted(call.params.keys() - {"description", "expand", "metadata", "receipt_email", "shipping", "transfer_group"})
    if fixed and intent["status"] not in payment_flow.OPEN:
        raise unexpected(intent, f"Its {fixed[0]} can no longer be changed.", fixed[0])
    amount: Any = call.params.get("amount", intent["amount"])
    currency: Any = call.params.get("currency", intent["currency"])
    check_amount(amount, currency)
    changes = (amount, currency) != (intent["amount"], intent["currency"])
    intent.update(amount=amount, currency=currency)
    _assign(call, intent, call.params)
    if intent["status"] == "requires_action" and (changes or "payment_method" in call.params):
        # The customer was asked about another payment.
        intent.update(status="requires_confirmation", next_action=None)
    # Stripe has no event for this.
    return intent


@route("POST", "/v1/payment_intents/{intent}/confirm", {**_FIELDS, **_CONFIRMING})
def confirm(call: Call) -> Row:
    intent = call.change(_named(call))
    payment_flow.check_confirmable(intent)
    _assign(call, intent, call.params)
    return payment_flow.confirm(call, intent, call.params)


@route(
    "POST",
    "/v1/payment_intents/{intent}/capture",
    {
        "amount_to_capture": Integer(),
        "application_fee_amount": Integer(least=0),
        "statement_descriptor": Text(longest=22),
        "statement_descriptor_suffix": Text(longest=22),
        **METADATA,
    },
)
def capture(call: Call) -> Row:
    intent = call.change(_named(call))
    if intent["status"] != "requires_capture":
        raise unexpected(intent, "There is nothing to capture.")
    amount: Any = call.params.get("amount_to_capture", intent["amount_capturable"])
    if amount < 1:
        raise invalid("amount_to_capture must be at least 1.", "amount_to_capture", code="parameter_invalid_integer")
    if amount > intent["amount_capturable"]:
        message = f"amount_to_capture must be at most {intent['amount_capturable']}, which is what was authorized."
        raise invalid(message, "amount_to_capture", code="amount_too_large")
    _assign(call, intent, call.params)
    payment_flow.check_descriptor(intent)
    return payment_flow.capture(call, intent, amount)


@route(
    "POST",
    "/v1/payment_intents/{intent}/cancel",
    {"cancellation_reason": Choice(("abandoned", "duplicate", "fraudulent", "requested_by_customer"))},
)
def cancel(call: Call) -> Row:
    intent = call.change(_named(call))
    if intent["status"] not in {*payment_flow.OPEN, "processing", "requires_capture"}:
        raise unexpected(intent, "It can no longer be canceled.")
    _check_own(intent, {"status"})
    return payment_flow.cancel(call, intent, call.params.get("cancellation_reason"))


def _check_own(intent: Row, fields: Collection[str]) -> None:
    """Refuse to change what an invoice says. Source: https://docs.stripe.com/api/payment_intents/cancel"""
    if "_invoice" in intent and fields:
        raise unexpected(intent, "It belongs to an invoice: void the invoice, or cancel the subscription.")


complete_action = payment_flow.complete_action


def _named(call: Call) -> Row:
    return call.find("payment_intent", call.arguments["intent"])


def _automatic(sent: Mapping[str, Any] | None) -> Row | None:
    """Return the automatic payment methods, which are on unless they are turned off."""
    if sent is None:
        return {"allow_redirects": "always", "enabled": True}
    return {"allow_redirects": sent.get("allow_redirects", "always"), "enabled": True} if sent["enabled"] else None


def _assign(call: Transaction, intent: Row, params: Mapping[str, Any]) -> None:
    """Put what was sent into the intent. A payment method makes it ready to be confirmed."""
    assign(
        intent,
        params,
        "allowed_payment_method_types",
        "capture_method",
        "description",
        "receipt_email",
        "setup_future_usage",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "transfer_group",
    )
    if "shipping" in params:
        intent["shipping"] = shipping(params["shipping"])
    if "customer" in params:
        intent["customer"] = call.find("customer", params["customer"], "customer")["id"]
    # An empty value takes an option back.
    options = params.get("payment_method_options", {}).get("card", {})
    intent["payment_method_options"]["card"] = (
        {**intent["payment_method_options"]["card"], **options} if options is not None else dict(_CARD_OPTIONS)
    )
    _assign_fee(call, intent, params)
    _assign_method(call, intent, params)


def _assign_fee(call: Transaction, intent: Row, params: Mapping[str, Any]) -> None:
    if "application_fee_amount" not in params:
        return
    fee = params["application_fee_amount"]
    if call.account.platform is None:
        message = "An application fee is for payments in a connected account: send Stripe-Account."
        raise invalid(message, "application_fee_amount")
    if fee > intent["amount"]:
        raise invalid("The application fee is greater than the payment.", "application_fee_amount", code="amount_too_large")
    intent["application_fee_amount"] = fee


def _assign_method(call: Transaction, intent: Row, params: Mapping[str, Any]) -> None:
    if "payment_method" in params and "payment_method_data" in params:
        raise invalid("Send payment_method or payment_method_data, not both.", "payment_method", code="parameters_exclusive")
    if "payment_method_data" in params:
        method = payment_methods.create_from(call, params["payment_method_data"], "payment_method_data")
    elif params.get("payment_method"):
        method = payment_methods.resolve(call, params["payment_method"], "payment_method")
    else:
        if "payment_method" in params:
            intent.update(payment_method=None, status="requires_payment_method")
        return
    payment_flow.check_owner(intent, method)
    intent["payment_method"] = method["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"
