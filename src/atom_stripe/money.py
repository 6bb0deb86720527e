"""
Exact amounts of money, in the currencies and minor units of Stripe's API.

Rule: nothing is ever rounded. An amount that its currency cannot hold is an error, and splitting one loses no minor unit.

Source: https://docs.stripe.com/currencies
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import total_ordering
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Self, final

from atom_stripe.errors import InvalidAmountError, UnknownCurrencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TWO = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf cny cop crc cve czk dkk
    dop dzd egp etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl htg huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd
    lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr
    sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx usd uyu uzs wst xcd xcg yer zar zmw
"""
# No longer in use, but objects from before remain.
_RETIRED = "hrk mro sll svc"
_ZERO = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE = "bhd jod kwd omr tnd"

_DECIMALS: dict[str, int] = {
    **dict.fromkeys(f"{_TWO} {_RETIRED}".split(), 2),
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
}
CURRENCIES: Mapping[str, int] = MappingProxyType(_DECIMALS)
"""The currencies of Stripe's API in lower case, each with the number of decimals that its minor unit stands for."""

# What an amount must be a multiple of where Stripe charges no single minor units: Icelandic krónur and Ugandan shillings are
# written with two decimals but have none, and the last of three decimals must be 0.
_STEPS = {"isk": 100, "ugx": 100} | dict.fromkeys(_THREE.split(), 10)

_LARGEST = 10**18
# Long enough for every amount up to _LARGEST, with more decimals than any currency has.
_LONGEST = 40
_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?")


@final
@total_ordering
class Money:
    """
    An amount in one currency: ``Money("12.50", "usd")``, or from minor units ``Money.from_minor(1250, "usd")``.

    Written for requests: ``amount=money.minor, currency=money.currency``. Amounts are immutable, hashable and picklable, and may be
    negative. ``+``, ``-`` and ``<`` need both amounts in the same currency and raise ``InvalidAmountError`` otherwise; ``==`` between
    currencies is false. ``*`` takes whole numbers only. ``sum()`` needs a start: ``sum(amounts, Money(0, "usd"))``.

    Stripe's special cases: Icelandic krónur (isk) and Ugandan shillings (ugx) have two decimals in the API that are always 00, and
    the third decimal of bhd, jod, kwd, omr and tnd is always 0. Payouts in huf and twd must be whole, which is for the caller to see
    to: charges in them need not be.

    Source: https://docs.stripe.com/currencies
    """

    __slots__ = ("_currency", "_minor")

    _currency: str
    _minor: int

    def __init__(self, amount: str | Decimal | int, currency: str) -> None:
        """
        Make an amount from major units (dollars, not cents).

        A string is plain digits with a point, no spaces or separators, and no more decimals than the currency has, not even zeros:
        ``"12.500"`` may have been meant as twelve thousand. A ``Decimal`` counts by its value. Raises ``InvalidAmountError`` for
        everything that is not an exact amount which Stripe can charge, floats among it, for amounts from 10**18 minor units on, and
        ``UnknownCurrencyError`` for a currency that Stripe does not have.
        """
        code = _known(currency)
        decimals = CURRENCIES[code]
        minor = _minor_units(amount, code, decimals)
        step = _STEPS.get(code, 1)
        if minor % step:
            msg = f"Stripe takes {code} in multiples of {Decimal(step).scaleb(-decimals)} only"
            raise InvalidAmountError(msg)
        self._fill(minor, code)

    @classmethod
    def from_minor(cls, minor: int, currency: str) -> Self:
        """
        Return the amount of *minor* units, as Stripe's objects have it in ``amount`` and ``currency``.

        Any whole number will do, also one that Stripe would not charge (5 fils): fees, taxes and conversions can come to it, and what
        Stripe sent must be readable. Raises ``InvalidAmountError`` for anything but an ``int`` below 10**18, and
        ``UnknownCurrencyError``.
        """
        if not isinstance(minor, int) or isinstance(minor, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = f"minor units are an int, not {_kind(minor)}"
            raise InvalidAmountError(msg)
        return cls._make(int(minor), _known(currency))

    @property
    def minor(self) -> int:
        """The amount in minor units (cents), as Stripe's API has it."""
        return self._minor

    @property
    def amount(self) -> Decimal:
        """The amount in major units, with all the decimals of its currency: ``Decimal("12.50")``."""
        # Made from its digits, so that no decimal context can round it.
        digits = tuple(int(digit) for digit in str(abs(self._minor)))
        return Decimal((int(self._minor < 0), digits, -CURRENCIES[self._currency]))

    @property
    def currency(self) -> str:
        """The currency's three letters, in lower case."""
        return self._currency

    def allocate(self, weights: Sequence[int]) -> list[Money]:
        """
        Split the amount in proportion to *weights*, without loss: the parts add up to the amount.

        No part is a whole unit away from its exact share; what is left over goes to the parts that are shortest of it, earlier ones
        first. A unit is the least that Stripe charges, so that every part of a chargeable amount is chargeable. A weight of 0 gets
        nothing. Raises ``InvalidAmountError`` unless the weights are whole numbers, none negative and not all 0.
        """
        weights = list(weights)
        # type: a bool is an int too, and True is no weight.
        if not any(weights) or not all(type(weight) is int and weight >= 0 for weight in weights):
            msg = "weights are whole numbers, none negative and at least one above 0"
            raise InvalidAmountError(msg)
        step = _STEPS.get(self._currency, 1)
        unit = step if self._minor % step == 0 else 1
        units = abs(self._minor) // unit
        total = sum(weights)
        shares, rests = map(list, zip(*(divmod(units * weight, total) for weight in weights), strict=True))
        # sorted() is stable: of equal rests the earlier one is served first.
        for index in sorted(range(len(rests)), key=lambda index: -rests[index])[: units - sum(shares)]:
            shares[index] += 1
        sign = -unit if self._minor < 0 else unit
        return [Money._make(share * sign, self._currency) for share in shares]

    def __add__(self, other: Money) -> Money:
        if not isinstance(other, Money):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return Money._make(self._minor + other._same(self), self._currency)

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return Money._make(self._minor - other._same(self), self._currency)

    def __mul__(self, factor: int) -> Money:
        if not isinstance(factor, int) or isinstance(factor, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return Money._make(self._minor * factor, self._currency)

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return Money._make(-self._minor, self._currency)

    def __abs__(self) -> Money:
        return Money._make(abs(self._minor), self._currency)

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return self._minor < other._same(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (self._minor, self._currency) == (other._minor, other._currency)

    def __hash__(self) -> int:
        return hash((self._minor, self._currency))

    def __str__(self) -> str:
        return f"{self.amount:f} {self._currency.upper()}"

    def __repr__(self) -> str:
        return f"Money.from_minor({self._minor}, {self._currency!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Money.from_minor, (self._minor, self._currency)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = "an amount of money cannot be changed: make a new one"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    @classmethod
    def _make(cls, minor: int, currency: str) -> Self:
        self = object.__new__(cls)
        self._fill(minor, currency)
        return self

    def _fill(self, minor: int, currency: str) -> None:
        if abs(minor) >= _LARGEST:
            raise _too_large()
        object.__setattr__(self, "_minor", minor)
        object.__setattr__(self, "_currency", currency)

    def _same(self, other: Money) -> int:
        """Return the minor units of this amount, which is to be in the currency of *other*."""
        if self._currency != other._currency:
            msg = f"amounts in {other._currency} and {self._currency} have nothing to do with each other: convert one of them first"
            raise InvalidAmountError(msg)
        return self._minor


def _minor_units(amount: object, currency: str, decimals: int) -> int:
    if isinstance(amount, str):
        match = _NUMBER.fullmatch(amount) if len(amount) <= _LONGEST else None
        if match is None:
            msg = 'an amount is written in plain digits with a point: "12.50"'
            raise InvalidAmountError(msg)
        sign, whole, fraction = match.groups(default="")
        if len(fraction) > decimals:
            raise _too_fine(currency, decimals)
        return int(f"{sign}{whole}{fraction:0<{decimals}}")
    if isinstance(amount, Decimal):
        return _from_decimal(amount, currency, decimals)
    if isinstance(amount, int) and not isinstance(amount, bool):
        return int(amount) * _ten_to(decimals)
    msg = f"an amount is a str, Decimal or int, not {_kind(amount)}"
    if isinstance(amount, float):
        msg += ': a float is not exact; write it in quotes, as in Money("12.50", "usd")'
    raise InvalidAmountError(msg)


def _from_decimal(amount: Decimal, currency: str, decimals: int) -> int:
    # By its digits, because arithmetic on Decimals rounds to the precision of the caller's context.
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int):
        msg = "an amount is a number, not infinite or undefined"
        raise InvalidAmountError(msg)
    if len(digits) > _LONGEST or abs(exponent) > _LONGEST:
        raise _too_large()
    value = int("".join(map(str, digits)))
    shift = exponent + decimals
    minor, rest = divmod(value * _ten_to(shift), _ten_to(-shift))
    if rest:
        raise _too_fine(currency, decimals)
    return -minor if sign else minor


def _ten_to(power: int) -> int:
    return int(10 ** max(power, 0))


def _known(currency: object) -> str:
    # isascii: the Kelvin sign in lower case is a k.
    if isinstance(currency, str) and currency.isascii() and (code := currency.lower()) in CURRENCIES:
        return code
    msg = "a currency is the three letters of one that Stripe supports, such as usd: see https://docs.stripe.com/currencies"
    raise UnknownCurrencyError(msg)


def _kind(value: object) -> str:
    return type(value).__name__


def _too_fine(currency: str, decimals: int) -> InvalidAmountError:
    return InvalidAmountError(
        f"{currency} has {decimals or 'no'} decimals; round the amount as your business does, before it gets here"
    )


def _too_large() -> InvalidAmountError:
    return InvalidAmountError("an amount of money has no more than 18 digits")
