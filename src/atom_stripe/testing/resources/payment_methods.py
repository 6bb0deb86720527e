"""
Payment methods: cards, one for each use of a magic id, and those that customers keep.

Source: https://docs.stripe.com/api/payment_methods
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import Refusal, invalid, missing, no_such, unsupported
from atom_stripe.testing._state.pages import PAGE, equal, page
from atom_stripe.testing._state.params import Choice, Hash, Id, Integer, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import cards
from atom_stripe.testing.resources.shared import BILLING_DETAILS, METADATA, assign, billing_details

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.resources.cards import Decline, MagicCard

PAYMENT_METHOD = Kind(
    "payment_method", "pm", expands={"customer": "customer"}, refuses=frozenset({"card.generated_from.setup_attempt"})
)


# Of Stripe's many types the sandbox knows cards; the others are refused by name.
_TYPES = ("POST /v1/payment_methods", "type")
TYPE = Choice(("card",), beyond=_TYPES)
CARD = Hash(
    {
        "cvc": Text(unsettable=False),
        "exp_month": Integer(),
        "exp_year": Integer(),
        "number": Text(unsettable=False),
        "token": Text(unsettable=False),
    }
)
REDISPLAY = Choice(("always", "limited", "unspecified"))
DATA: dict[str, Parameter] = {
    "allow_redisplay": REDISPLAY,
    "billing_details": BILLING_DETAILS,
    "card": CARD,
    "type": Choice(("card",), required=True, beyond=_TYPES),
    **METADATA,
}
"""What makes a payment method, on its own or inside a payment."""


def create_from(work: Transaction, data: Mapping[str, Any], param: str = "") -> Row:
    """Make a payment method of *data*. *param*: where the data stands among the parameters."""
    sent = data.get("card")
    if sent is None:
        raise missing(f"{param}[card]" if param else "card")
    card = _card_sent(sent, f"{param}[card]" if param else "card", work)
    row = _new(work, card, exp_month=sent.get("exp_month", 8), exp_year=sent.get("exp_year", _year(work) + 1))
    row["billing_details"] = billing_details(data.get("billing_details"))
    assign(row, data, "allow_redisplay")
    return work.add(row)


def resolve(work: Transaction, identity: str, param: str | None = None) -> Row:
    """
    Return the payment method with this id. A magic id makes a new one at each use.

    Source: https://docs.stripe.com/testing
    """
    if identity.startswith("pm_card_"):
        card = cards.by_name().get(identity.removeprefix("pm_card_"))
        if card is not None:
            return work.add(_new(work, _usable(card), exp_month=8, exp_year=_year(work) + 1))
    if identity.startswith("pm_") and identity in _ELSEWHERE:
        raise unsupported(f"The test payment method {identity}", param)
    return work.find("payment_method", identity, param)


def card_of(method: Row) -> MagicCard:
    """Return what a card does."""
    return cards.by_number()[method["_number"]]


def attach_to(work: Transaction, method: Row, customer: str) -> Row:
    """
    Let a customer keep a payment method.

    One that was used alone or was detached cannot be kept any more. Source: https://docs.stripe.com/api/payment_methods/attach
    """
    if method["customer"] is not None:
        raise invalid("The payment method already belongs to a customer; detach it first.", code="payment_method_unexpected_state")
    check_unspent(method)
    card = card_of(method)
    if card.decline and not card.attaches:
        raise declined(card.decline, payment_method=method)
    work.change(method)["customer"] = customer
    work.emit("payment_method.attached", method)
    return method


def check_unspent(method: Row) -> None:
    """Refuse a payment method that was used without a customer, or detached from one: it has had its use."""
    if method["_spent"]:
        message = "The payment method was used without a customer, or was detached from one, and cannot be used again. Attach it first next time."
        raise invalid(message, "payment_method", code="payment_method_unexpected_state")


def declined(decline: Decline, **fields: Any) -> Refusal:
    """A declined card (402)."""
    return Refusal(
        402,
        decline.message,
        type="card_error",
        code=decline.code,
        decline_code=decline.decline_code,
        param=_PARAMS.get(decline.code),
        **fields,
    )


def detach_from_customer(work: Transaction, method: Row) -> Row:
    """Take a payment method away from its customer, for good."""
    customer = work.get("customer", method["customer"])
    work.change(method).update(customer=None, _spent=True)
    # The event alone says whose it was.
    work.emit("payment_method.detached", method)
    if customer and customer["invoice_settings"]["default_payment_method"] == method["id"]:
        work.change(customer)["invoice_settings"]["default_payment_method"] = None
        work.emit("customer.updated", customer)
    return method


@route("POST", "/v1/payment_methods", DATA)
def create(call: Call) -> Row:
    return create_from(call, call.params)


@route("GET", "/v1/payment_methods", {**PAGE, "allow_redisplay": REDISPLAY, "customer": Id(), "type": TYPE})
def list_all(call: Call) -> Row:
    # Without a customer, only those count that Treasury keeps, of which there are none here.
    if customer := call.params.get("customer"):
        call.find("customer", customer, "customer")
    return page(
        call.rows("payment_method"),
        call.params,
        kind="payment_method",
        url=call.path,
        where=lambda row: customer is not None and equal(row, call.params, "customer", "type", "allow_redisplay"),
    )


@route("GET", "/v1/payment_methods/{payment_method}")
def retrieve(call: Call) -> Row:
    return resolve(call, call.arguments["payment_method"])


@route(
    "POST",
    "/v1/payment_methods/{payment_method}",
    {
        "allow_redisplay": REDISPLAY,
        "billing_details": BILLING_DETAILS,
        "card": Hash({"exp_month": Integer(), "exp_year": Integer()}),
        **METADATA,
    },
)
def update(call: Call) -> Row:
    method = call.change(call.find("payment_method", call.arguments["payment_method"]))
    if method["customer"] is None:
        raise invalid("Only a payment method that a customer keeps can be updated.", code="payment_method_unexpected_state")
    assign(method, call.params, "allow_redisplay")
    if "billing_details" in call.params:
        method["billing_details"] = billing_details(call.params["billing_details"], method["billing_details"])
    expiry = call.params.get("card", {})
    _check_expiry(call, {**method["card"], **expiry}, "card")
    method["card"].update(expiry)
    if call.changed(method):
        call.emit("payment_method.updated", method)
    return method


@route("POST", "/v1/payment_methods/{payment_method}/attach", {"customer": Id(required=True)})
def attach(call: Call) -> Row:
    customer = call.find("customer", call.params["customer"], "customer")
    return attach_to(call, resolve(call, call.arguments["payment_method"]), customer["id"])


@route("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(call: Call) -> Row:
    method = call.find("payment_method", call.arguments["payment_method"])
    if method["customer"] is None:
        raise invalid("The payment method belongs to no customer.", code="payment_method_unexpected_state")
    return detach_from_customer(call, method)


# Test payment methods of Stripe's that are no cards.
_ELSEWHERE = frozenset({"pm_usBankAccount_success", "pm_usBankAccount", "pm_bankAccount"})
_PARAMS = {"incorrect_number": "number", "expired_card": "exp_month", "incorrect_cvc": "cvc"}


def _card_sent(sent: Mapping[str, Any], param: str, work: Transaction) -> MagicCard:
    if token := sent.get("token"):
        card = cards.by_name().get(token.removeprefix("tok_")) if token.startswith("tok_") else None
        if card is None:
            raise no_such("token", token, f"{param}[token]")
        return _usable(card)
    for name in ("number", "exp_month", "exp_year"):
        if name not in sent:
            raise missing(f"{param}[{name}]")
    _check_expiry(work, sent, param)
    digits = sent["number"].replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19) or not cards.passes_luhn(digits):
        raise declined(cards.INCORRECT_NUMBER)
    if digits not in cards.by_number():
        # Whatever it is, it may be somebody's: the number is not repeated.
        raise declined(cards.NOT_A_TEST_CARD)
    cvc = sent.get("cvc", "000")
    if not (cvc.isascii() and cvc.isdigit() and len(cvc) in {3, 4}):
        raise Refusal(402, "The card's security code is malformed.", type="card_error", code="invalid_cvc", param="cvc")
    return _usable(cards.by_number()[digits])


def _check_expiry(work: Transaction, card: Mapping[str, Any], param: str) -> None:
    month, year = card["exp_month"], card["exp_year"]
    if not 1 <= month <= 12:
        raise Refusal(
            402, "The card's expiry month is wrong.", type="card_error", code="invalid_expiry_month", param=f"{param}[exp_month]"
        )
    now = work.clock.now
    if not now.year <= year <= now.year + 50 or (year, month) < (now.year, now.month):
        raise Refusal(
            402, "The card's expiry year is wrong.", type="card_error", code="invalid_expiry_year", param=f"{param}[exp_year]"
        )


def _usable(card: MagicCard) -> MagicCard:
    if card.beyond:
        raise unsupported(f"The test card for {card.beyond} ({card.names[0]})", "payment_method")
    return card


def _new(work: Transaction, card: MagicCard, *, exp_month: int, exp_year: int) -> Row:
    checks = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None}
    return {
        "id": work.new_id(PAYMENT_METHOD),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(None),
        "card": {
            "brand": card.brand,
            "checks": checks,
            "country": "US",
            "display_brand": card.brand,
            "exp_month": exp_month,
            "exp_year": exp_year,
            # The same for the same number, whoever pays with it.
            "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
            "funding": card.funding,
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": card.brand != "amex"},
            "wallet": None,
        },
        "created": work.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_number": card.number,
        "_set_up": False,
        "_spent": False,
    }


def _year(work: Transaction) -> int:
    return work.clock.now.year
