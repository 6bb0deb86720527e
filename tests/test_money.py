"""Money: exact in every currency, and nothing that is not exact gets in."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atom_stripe.errors import AtomStripeError, InvalidAmountError, UnknownCurrencyError
from atom_stripe.money import CURRENCIES, Money

currencies = st.sampled_from(sorted(CURRENCIES))
minors = st.integers(-(10**18) + 1, 10**18 - 1)
# What Stripe charges in each of its special currencies.
STEPS = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "text"),
    [
        ("12.50", "usd", 1250, "12.50 USD"),
        ("12.5", "EUR", 1250, "12.50 EUR"),
        (12, "usd", 1200, "12.00 USD"),
        (Decimal("12.500"), "usd", 1250, "12.50 USD"),
        (Decimal("1.2e2"), "usd", 12000, "120.00 USD"),
        ("-0.05", "usd", -5, "-0.05 USD"),
        ("+3", "usd", 300, "3.00 USD"),
        ("-0", "usd", 0, "0.00 USD"),
        ("007", "gbp", 700, "7.00 GBP"),
        ("500", "jpy", 500, "500 JPY"),
        ("1.23", "kwd", 1230, "1.230 KWD"),
        ("1.230", "kwd", 1230, "1.230 KWD"),
        ("5", "isk", 500, "5.00 ISK"),
        ("5.00", "ugx", 500, "5.00 UGX"),
        ("10.45", "huf", 1045, "10.45 HUF"),
        ("800.45", "twd", 80045, "800.45 TWD"),
    ],
)
def test_major_units(amount: str | Decimal | int, currency: str, minor: int, text: str) -> None:
    """Major units become the minor units that Stripe documents for the currency."""
    money = Money(amount, currency)
    assert (money.minor, money.currency, str(money)) == (minor, currency.lower(), text)


@pytest.mark.parametrize(
    "currency", ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
def test_zero_decimal_currencies(currency: str) -> None:
    """A currency without decimals counts in major units, and refuses a decimal, even a zero."""
    assert Money("500", currency).minor == 500
    assert str(Money.from_minor(500, currency)) == f"500 {currency.upper()}"
    with pytest.raises(InvalidAmountError, match=f"{currency} has no decimals"):
        Money("500.0", currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("1.234", "kwd"), (Decimal("0.001"), "bhd"), ("1.50", "isk"), (Decimal("0.01"), "ugx"), ("-1.50", "isk")],
)
def test_what_stripe_does_not_charge(amount: str | Decimal, currency: str) -> None:
    """An amount that Stripe refuses in a special currency is refused here, with the step that would do."""
    with pytest.raises(InvalidAmountError, match="in multiples of"):
        Money(amount, currency)


@pytest.mark.parametrize(
    "amount",
    [
        12.5, 12.0, float("nan"), True, False, None, b"12", [12], 12 + 0j,
        "", " ", " 12", "12 ", "12\n", "1,50", "1,000.00", "1_000", "$12", "12 USD", ".5", "5.", "--1", "1e2", "0x10", "NaN", "Infinity",
        "-inf", "1e999999", "١٢", "\N{FULLWIDTH DIGIT ONE}", "9" * 41, "0" * 5000, "12.505", "12.500", "9" * 17,
        Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1e999999"), Decimal("1e-999999"),
        Decimal("0.001"), Decimal("9" * 41), Decimal("1e17"), 10**16, -(10**16), 10**4000,
    ],
)  # fmt: skip
def test_refused_amounts(amount: Any) -> None:
    """What is not an exact amount is refused with one kind of error, which does not repeat what came in."""
    with pytest.raises(InvalidAmountError) as refused:
        Money(amount, "usd")
    assert len(str(refused.value)) < 150
    assert isinstance(refused.value, AtomStripeError)


@pytest.mark.parametrize("minor", [12.0, True, "12", Decimal(12), None, 10**18, -(10**18), 10**4000])
def test_refused_minor_units(minor: Any) -> None:
    """Minor units are whole numbers of at most 18 digits, not something that can be turned into one."""
    with pytest.raises(InvalidAmountError):
        Money.from_minor(minor, "usd")


def test_a_float_is_told_what_to_do() -> None:
    """The commonest mistake, a float, is answered with the way to write it."""
    with pytest.raises(InvalidAmountError, match="write it in quotes, as in Money"):
        Money(12.5, "usd")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "currency", ["", "us", "usdd", "xyz", "u$d", " usd", "usd\n", "\N{KELVIN SIGN}wd", "x" * 100_000, None, 840, b"usd", ["usd"]]
)
def test_unknown_currencies(currency: Any) -> None:
    """A currency that Stripe does not have is refused, for major and for minor units, without being repeated."""
    with pytest.raises(UnknownCurrencyError) as major:
        Money("1", currency)
    with pytest.raises(UnknownCurrencyError):
        Money.from_minor(1, currency)
    assert len(str(major.value)) < 150


def test_the_table_of_currencies() -> None:
    """The table has lower-case codes, the decimals of Stripe's kinds of currencies, and cannot be changed."""
    assert all(len(code) == 3 and code.isalpha() and code.islower() for code in CURRENCIES)
    assert {CURRENCIES[code] for code in ("usd", "eur", "huf", "isk", "twd", "ugx")} == {2}
    assert {code for code, decimals in CURRENCIES.items() if decimals == 3} == {"bhd", "jod", "kwd", "omr", "tnd"}
    assert sum(decimals == 0 for decimals in CURRENCIES.values()) == 15
    with pytest.raises(TypeError):
        CURRENCIES["usd"] = 3  # type: ignore[index]


@given(minors, currencies)
@example(10**18 - 1, "usd")
@example(-1, "jpy")
def test_minor_units_round_trip(minor: int, currency: str) -> None:
    """Every amount of minor units that Stripe could send is kept, shown with its currency's decimals, and pickled and copied."""
    money = Money.from_minor(minor, currency)
    assert money.minor == minor
    assert money.amount.as_tuple().exponent == -CURRENCIES[currency]
    assert money.amount * 10 ** CURRENCIES[currency] == minor
    assert str(money) == f"{money.amount:f} {currency.upper()}"
    for copied in (pickle.loads(pickle.dumps(money)), copy.deepcopy(money), copy.copy(money), eval(repr(money))):  # noqa: S301, S307 - ours
        assert copied == money
        assert hash(copied) == hash(money)


@given(minors, currencies)
def test_major_units_round_trip(minor: int, currency: str) -> None:
    """What an amount shows, as a string or as a Decimal, makes the same amount again, wherever Stripe would charge it."""
    money = Money.from_minor(minor - minor % STEPS.get(currency, 1) if minor > 0 else 0, currency)
    assert Money(str(money).split()[0], currency) == money
    assert Money(money.amount, currency) == money


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.text() | st.floats() | st.integers(), currencies)
def test_any_amount_is_exact_or_refused(amount: Any, currency: str) -> None:
    """Whatever comes in either is that very amount afterwards, or is refused with our error."""
    try:
        money = Money(amount, currency)
    except InvalidAmountError:
        return
    assert not isinstance(amount, float)
    assert money.amount == Decimal(amount)
    assert money.minor % STEPS.get(currency, 1) == 0


def test_the_callers_decimal_context_rounds_nothing() -> None:
    """A context of three digits, as some programs set it, changes no amount."""
    with localcontext(prec=3):
        money = Money(Decimal("123456.78"), "usd")
        assert (money.minor, str(money)) == (12345678, "123456.78 USD")
        assert str(money.amount) == "123456.78"


@given(minors, st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any), currencies)
@example(1000, [1, 1, 1], "usd")
@example(-1, [1, 1], "jpy")
@example(500, [1, 1], "isk")
def test_allocation_loses_nothing(minor: int, weights: list[int], currency: str) -> None:
    """Parts add up to the whole, are less than a unit from their exact share, and are chargeable if the whole is."""
    money = Money.from_minor(minor, currency)
    parts = money.allocate(weights)
    step = STEPS.get(currency, 1)
    unit = 1 if minor % step else step
    assert sum(parts, Money(0, currency)) == money
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.minor * sum(weights) - minor * weight) < unit * sum(weights)
        assert part.minor % unit == 0
        assert part.minor == 0 or (weight > 0 and (part.minor < 0) == (minor < 0))


def test_allocation_serves_the_shortest_first() -> None:
    """What is left over goes to the largest remainder, and among equal ones to the first."""
    ten = Money("10.00", "usd")
    assert [part.minor for part in ten.allocate([1, 1, 1])] == [334, 333, 333]
    assert [part.minor for part in Money("0.05", "usd").allocate([3, 7])] == [2, 3]
    assert [part.minor for part in Money("0.01", "usd").allocate([1, 2])] == [0, 1]
    assert [part.minor for part in Money("5", "isk").allocate([1, 1])] == [300, 200]
    assert [part.minor for part in Money.from_minor(-5, "usd").allocate([1, 0, 1])] == [-3, 0, -2]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [1.0], [True], ["1"], [None]])
def test_refused_weights(weights: Any) -> None:
    """Weights that say nothing, or are not whole numbers, are refused."""
    with pytest.raises(InvalidAmountError):
        Money(1, "usd").allocate(weights)


def test_arithmetic() -> None:
    """Sums, differences, multiples and signs are exact and stay in the currency."""
    a, b = Money("12.50", "usd"), Money("0.75", "usd")
    assert a + b == Money("13.25", "usd")
    assert b - a == Money("-11.75", "usd")
    assert a * 3 == 3 * a == Money("37.50", "usd")
    assert -a == Money("-12.50", "usd") == -abs(-a)
    assert sum([a, b], Money(0, "usd")) == Money("13.25", "usd")


def test_order() -> None:
    """Amounts of one currency are ordered by their size."""
    a, b = Money("12.50", "usd"), Money("0.75", "usd")
    assert b < a
    assert a > b
    assert a >= a  # noqa: PLR0124 - an amount is not less than itself
    assert b <= a
    assert sorted([a, b, -a]) == [-a, b, a]
    assert max(a, b) is a


@pytest.mark.parametrize("mix", ["a + b", "a - b", "a < b", "a <= b", "a > b", "a >= b", "sum([a], b)", "min(a, b)"])
def test_currencies_do_not_mix(mix: str) -> None:
    """Whatever would mix two currencies raises, while asking whether they are equal is answered with no."""
    names = {"a": Money(1, "usd"), "b": Money(1, "eur")}
    with pytest.raises(InvalidAmountError, match=r"usd|eur"):
        eval(mix, names)  # noqa: S307 - ours
    assert names["a"] != names["b"]
    assert len({names["a"], names["b"], Money("1.00", "USD")}) == 2


@pytest.mark.parametrize(
    "mix",
    ["a + 1", "1 + a", "a - 1", "a * 1.5", "a * True", "a * a", "a < 1", "a + '1'", "a * D('1.5')", "a / 2", "float(a)", "int(a)"],
)
def test_money_is_no_number(mix: str) -> None:
    """Numbers cannot be added to or compared with money, nor money multiplied by anything but whole numbers."""
    with pytest.raises(TypeError):
        eval(mix, {"a": Money(1, "usd"), "D": Decimal})  # noqa: S307 - ours
    assert Money(1, "usd") != 100


def test_results_stay_within_the_limit() -> None:
    """A result that no amount of money can have is refused instead of growing."""
    largest = Money.from_minor(10**18 - 1, "usd")
    for grow in (lambda: largest + largest, lambda: -largest - largest, lambda: largest * 10**100):
        with pytest.raises(InvalidAmountError, match="18 digits"):
            grow()


def test_immutable() -> None:
    """Nothing about an amount can be changed, removed or added."""
    money = Money(1, "usd")
    for name in ("minor", "currency", "_minor", "other"):
        with pytest.raises(AttributeError):
            setattr(money, name, 2)
        with pytest.raises(AttributeError):
            delattr(money, name)
    assert not hasattr(money, "__dict__")
    assert money == Money(1, "usd")
