"""
What may be charged in each currency.

Source: https://docs.stripe.com/currencies
"""

from __future__ import annotations

from decimal import Decimal

from atom_stripe.errors import InvalidAmountError
from atom_stripe.money import CURRENCIES, Money
from atom_stripe.testing._state.errors import invalid

# In minor units. For the other currencies Stripe converts and looks at the account's own; the sandbox knows no rates.
_SMALLEST = {
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
    "usd": 50,
}
# Amounts have up to eight digits.
_LARGEST = 99_999_999


def check_amount(amount: int, currency: str) -> None:
    """Refuse what Stripe would not charge: too little, too much, or a part of the smallest coin."""
    smallest = _SMALLEST.get(currency, 1)
    if amount < smallest:
        message = (
            f"The amount must be at least {Money.from_minor(smallest, currency)}. Amounts are in the currency's smallest unit."
        )
        raise invalid(message, "amount", code="amount_too_small")
    if amount > _LARGEST:
        raise invalid(f"The amount must be at most {Money.from_minor(_LARGEST, currency)}.", "amount", code="amount_too_large")
    try:
        Money(Decimal(amount).scaleb(-CURRENCIES[currency]), currency)
    except InvalidAmountError as error:
        raise invalid(f"The amount is too exact for its currency: {error}.", "amount", code="invalid_charge_amount") from None


def check_currency(code: str, param: str) -> str:
    """Return the currency in lower case, or refuse what is none."""
    currency = code.lower()
    if currency not in CURRENCIES:
        raise invalid(f"{param} must be the three-letter code of a currency that Stripe supports.", param)
    return currency
