"""
Stripe's test cards: what each number, token and magic payment method does.

Source: https://docs.stripe.com/testing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

Authentication = Literal["none", "optional", "until_set_up", "on_session", "always"]


@dataclass(frozen=True, slots=True)
class Decline:
    """A reason for which a card is declined: Stripe's error code, the issuer's decline code, and words for the customer."""

    code: str
    decline_code: str | None
    message: str


GENERIC = Decline("card_declined", "generic_decline", "The card was declined.")
INSUFFICIENT_FUNDS = Decline("card_declined", "insufficient_funds", "The card was declined: there is not enough money on it.")
LOST = Decline("card_declined", "lost_card", "The card was declined.")
STOLEN = Decline("card_declined", "stolen_card", "The card was declined.")
VELOCITY = Decline("card_declined", "card_velocity_exceeded", "The card was declined: it was used too often.")
FRAUDULENT = Decline("card_declined", "fraudulent", "The card was declined.")
NOT_A_TEST_CARD = Decline("card_declined", "test_mode_live_card", "The card was declined: a sandbox takes test cards only.")
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required", "authentication_required", "The card was declined: this payment needs the customer's authentication."
)
EXPIRED = Decline("expired_card", None, "The card has expired.")
INCORRECT_CVC = Decline("incorrect_cvc", None, "The card's security code is wrong.")
PROCESSING_ERROR = Decline("processing_error", None, "An error occurred while the card was processed. Try again in a little while.")
INCORRECT_NUMBER = Decline("incorrect_number", None, "The card number is wrong.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MagicCard:
    """
    A test card.

    *names*: what follows ``pm_card_`` and ``tok_``. *decline*: why a payment fails. *attaches*: whether a customer can keep the card.
    *authentication*: when the customer is asked: ``until_set_up`` for later use, ``on_session`` but never without the customer, or ``always``.
    *after_authentication*: why a payment fails though the customer passed. *at_once*: whether funds are available immediately.
    *beyond*: what the card is for, if the sandbox cannot do that.
    """

    number: str
    names: tuple[str, ...]
    brand: str = "visa"
    funding: str = "credit"
    decline: Decline | None = None
    attaches: bool = True
    authentication: Authentication = "none"
    after_authentication: Decline | None = None
    checks: dict[str, str] = field(default_factory=dict)
    risk: str = "normal"
    blocked: bool = False
    at_once: bool = False
    beyond: str | None = None


def _declined(number: str, name: str, decline: Decline) -> MagicCard:
    # A card that is declined cannot be attached to a customer either: that, too, asks the issuer.
    return MagicCard(number=number, names=(name,), decline=decline, attaches=False)


def _beyond(number: str, name: str, purpose: str) -> MagicCard:
    return MagicCard(number=number, names=(name,), beyond=purpose)


CARDS = (
    MagicCard(number="4242424242424242", names=("visa",)),
    MagicCard(number="4000056655665556", names=("visa_debit",), funding="debit"),
    MagicCard(number="5555555555554444", names=("mastercard",), brand="mastercard"),
    MagicCard(number="5200828282828210", names=("mastercard_debit",), brand="mastercard", funding="debit"),
    MagicCard(number="5105105105105100", names=("mastercard_prepaid",), brand="mastercard", funding="prepaid"),
    MagicCard(number="378282246310005", names=("amex", "amex_threeDSecureNotSupported"), brand="amex"),
    MagicCard(number="6011111111111117", names=("discover",), brand="discover"),
    MagicCard(number="3056930009020004", names=("diners",), brand="diners"),
    MagicCard(number="3566002020360505", names=("jcb",), brand="jcb"),
    MagicCard(number="6200000000000005", names=("unionpay",), brand="unionpay"),
    MagicCard(number="4000000000000077", names=("bypassPending",), at_once=True),
    _declined("4000000000000002", "visa_chargeDeclined", GENERIC),
    _declined("4000000000009995", "visa_chargeDeclinedInsufficientFunds", INSUFFICIENT_FUNDS),
    _declined("4000000000009987", "visa_chargeDeclinedLostCard", LOST),
    _declined("4000000000009979", "visa_chargeDeclinedStolenCard", STOLEN),
    _declined("4000000000006975", "visa_chargeDeclinedVelocityLimitExceeded", VELOCITY),
    _declined("4000000000000069", "chargeDeclinedExpiredCard", EXPIRED),
    _declined("4000000000000127", "chargeDeclinedIncorrectCvc", INCORRECT_CVC),
    _declined("4000000000000119", "chargeDeclinedProcessingError", PROCESSING_ERROR),
    MagicCard(number="4000000000000341", names=("chargeCustomerFail",), decline=GENERIC),
    MagicCard(number="4000000000000101", names=("cvcCheckFail",), checks={"cvc_check": "fail"}),
    MagicCard(
        number="4000000000000010",
        names=("avsFail",),
        checks={"address_line1_check": "fail", "address_postal_code_check": "fail"},
    ),
    MagicCard(number="4000000000000028", names=("avsLine1Fail",), checks={"address_line1_check": "fail"}),
    MagicCard(number="4000000000000036", names=("avsZipFail",), checks={"address_postal_code_check": "fail"}),
    MagicCard(number="4100000000000019", names=("radarBlock",), decline=FRAUDULENT, risk="highest", blocked=True),
    MagicCard(number="4000000000004954", names=("riskLevelHighest",), decline=FRAUDULENT, risk="highest", blocked=True),
    MagicCard(number="4000000000009235", names=("riskLevelElevated",), risk="elevated"),
    MagicCard(number="4000002760003184", names=("authenticationRequired",), authentication="always"),
    MagicCard(number="4000002500003155", names=("authenticationRequiredOnSetup",), authentication="until_set_up"),
    MagicCard(number="4000003800000446", names=("authenticationRequiredSetupForOffSession",), authentication="on_session"),
    MagicCard(
        number="4000008260003178",
        names=("authenticationRequiredChargeDeclinedInsufficientFunds",),
        authentication="always",
        after_authentication=INSUFFICIENT_FUNDS,
    ),
    MagicCard(number="4000000000003220", names=("threeDSecure2Required",), authentication="on_session"),
    MagicCard(number="4000000000003063", names=("threeDSecureRequired",), authentication="on_session"),
    MagicCard(
        number="4000008400001629",
        names=("threeDSecureRequiredChargeDeclined",),
        authentication="on_session",
        after_authentication=GENERIC,
    ),
    MagicCard(
        number="4000008400001280",
        names=("threeDSecureRequiredProcessingError",),
        authentication="on_session",
        after_authentication=GENERIC,
    ),
    MagicCard(number="4000000000003055", names=("threeDSecureOptional",), authentication="optional"),
    _beyond("4000000000000259", "createDispute", "a dispute"),
    _beyond("4000000000002685", "createDisputeProductNotReceived", "a dispute"),
    _beyond("4000000000001976", "createDisputeInquiry", "an inquiry"),
    _beyond("4000000000005423", "createIssuerFraudRecord", "an early fraud warning"),
    _beyond("4000000404000079", "createMultipleDisputes", "disputes"),
    _beyond("4000000000007726", "pendingRefund", "a refund that takes its time"),
    _beyond("4000000000005126", "refundFail", "a refund that fails"),
)


@cache
def by_name() -> dict[str, MagicCard]:
    """Return the cards by what follows ``pm_card_`` and ``tok_``."""
    named = {name: card for card in CARDS for name in card.names}
    # Some tokens are written without the brand.
    short = {name.removeprefix("visa_"): card for name, card in named.items() if name.startswith("visa_charge")}
    return {**short, **named}


@cache
def by_number() -> dict[str, MagicCard]:
    """Return the cards by number."""
    return {card.number: card for card in CARDS}


def passes_luhn(number: str) -> bool:
    """Return whether the last digit of a card number fits the others."""
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0
