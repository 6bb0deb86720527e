"""Parameters to forms and JSON: Stripe's rules, where we differ from stripe-python on purpose, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stripe._encode import _api_encode, _coerce_v2_params, _make_suitable_for_json

from atom_stripe._wire.encoding import form, json_body
from atom_stripe._wire.multipart import multipart
from atom_stripe.errors import EncodingError
from atom_stripe.models.base import StripeObject, StripePart
from atom_stripe.models.customer import Customer

DEEPEST = 32
BERLIN = timezone(timedelta(hours=2))


class Colour(Enum):
    RED = "red"
    NONE = None
    LIST = ("a", "b")


class Interval(StrEnum):
    MONTH = "month"


class Mixed(str, Enum):  # noqa: UP042 - people still write enums this way, and str() and f-strings disagree about them
    MONTH = "month"


class Count(IntEnum):
    TWO = 2


class NumpyFloat(float):
    """A float that does not look like one in its repr, as numpy's do not."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


class LoudInt(int):
    """An int that does not look like one when it is printed."""

    def __str__(self) -> str:
        return "loud"

    __repr__ = __str__


class LoudStr(str):
    """A str that does not look like itself when it is printed."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"

    __repr__ = __str__


class Money:
    """Stands for the class of this name in atom_stripe.money."""


class Mute:
    """An object that cannot be printed, compared or hashed."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


def official(params: dict[str, Any]) -> str:
    """Return *params* as stripe-python sends them."""
    return brackets(urlencode(list(_api_encode(params))))


def brackets(encoded: str) -> str:
    """Return *encoded* with the brackets that stripe-python leaves literal in values too."""
    return encoded.replace("%5B", "[").replace("%5D", "]")


def nested(depth: int, kind: type) -> Any:
    """Return *depth* lists or dicts within each other."""
    value: Any = "x"
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


def refused(params: Any) -> EncodingError:
    """Return the error that both encoders refuse *params* with."""
    with pytest.raises(EncodingError) as form_error:
        form(params)
    with pytest.raises(EncodingError) as json_error:
        json_body(params)
    assert (str(form_error.value), form_error.value.param) == (str(json_error.value), json_error.value.param)
    return form_error.value


FORMS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"a": "b"}, "a=b"),
    ({"b": 1, "a": 2}, "b=1&a=2"),
    ({"a": ""}, "a="),
    ({"a": None}, ""),
    ({"a": None, "b": "c", "d": None}, "b=c"),
    ({"a": {"b": None, "c": {"d": "e"}}}, "a[c][d]=e"),
    ({"a": {"b": ""}}, "a[b]="),
    ({"a": ["x", "y"]}, "a[0]=x&a[1]=y"),
    ({"a": ("x", "y")}, "a[0]=x&a[1]=y"),
    ({"a": [["x"], ["y", "z"]]}, "a[0][0]=x&a[1][0]=y&a[1][1]=z"),
    (
        {"items": [{"price": "price_1", "quantity": 2}, {"price": "price_2"}]},
        "items[0][price]=price_1&items[0][quantity]=2&items[1][price]=price_2",
    ),
    ({"a": True, "b": False}, "a=true&b=false"),
    ({"a": 0, "b": -1, "c": 10**60}, f"a=0&b=-1&c={10**60}"),
    ({"a": 1.5, "b": 0.1, "c": 100.0}, "a=1.5&b=0.1&c=100.0"),
    ({"a": "a b&c=d/é[0]"}, "a=a+b%26c%3Dd%2F%C3%A9%5B0%5D"),
    ({"metadata": {"a b&c=d": "1"}}, "metadata[a+b%26c%3Dd]=1"),
    ({"a": "💶"}, "a=%F0%9F%92%B6"),
    ({"a": datetime(2026, 11, 23, 12, tzinfo=UTC)}, "a=1795435200"),
    ({"a": datetime(2026, 11, 23, 14, tzinfo=BERLIN)}, "a=1795435200"),
    ({"a": {"gte": datetime(1970, 1, 1, tzinfo=UTC)}}, "a[gte]=0"),
    ({"a": Decimal("12.50")}, "a=12.50"),
    ({"a": MappingProxyType({"b": "c"})}, "a[b]=c"),
    ({"a": Interval.MONTH, "b": [Mixed.MONTH, Count.TWO]}, "a=month&b[0]=month&b[1]=2"),
    ({"a": Colour.RED}, "a=red"),
    ({"a": Colour.LIST}, "a[0]=a&a[1]=b"),
    ({"a": LoudStr("x"), "b": [LoudStr("y")]}, "a=x&b[0]=y"),
    ({"a": LoudInt(5), "b": [LoudInt(6)]}, "a=5&b[0]=6"),
    ({"a": NumpyFloat(1.5), "b": [NumpyFloat(2.5)]}, "a=1.5&b[0]=2.5"),
    ({LoudStr("a"): "x", LoudStr("b"): ["y"], "c": {LoudStr("d"): "z"}}, "a=x&b[0]=y&c[d]=z"),
    ({Interval.MONTH: "x", Mixed.MONTH + "s": {Mixed.MONTH: "y"}}, "month=x&months[month]=y"),
]


@pytest.mark.parametrize(("params", "expected"), FORMS)
def test_form(params: dict[str, Any], expected: str) -> None:
    """A form is written by Stripe's rules: nesting in brackets, lists indexed, order kept, None left out."""
    assert form(params) == expected


# What stripe-python sends for these is not what Stripe can read, or is nothing at all.
DIFFERENT: list[tuple[dict[str, Any], str, str]] = [
    ({"a": [True, False]}, "a[0]=true&a[1]=false", "a[0]=True&a[1]=False"),
    ({"a": [None, "x", None, "y"]}, "a[0]=x&a[1]=y", "a[0]=None&a[1]=x&a[2]=None&a[3]=y"),
    ({"a": [datetime(1970, 1, 2, tzinfo=UTC)]}, "a[0]=86400", "a[0]=1970-01-02+00%3A00%3A00%2B00%3A00"),
    ({"a": Decimal("1E+3")}, "a=1000", "a=1E%2B3"),
    ({"a": [Decimal("1E+3")]}, "a[0]=1000", "a[0]=1E%2B3"),
    ({"a": Decimal("1E-9")}, "a=0.000000001", "a=1E-9"),
    ({"a": 1e22}, "a=10000000000000000000000", "a=1e%2B22"),
    ({"a": 1e-7}, "a=0.0000001", "a=1e-07"),
    ({"a": "[x]"}, "a=%5Bx%5D", "a=[x]"),
]


@pytest.mark.parametrize(("params", "ours", "theirs"), DIFFERENT)
def test_form_where_the_official_encoder_errs(params: dict[str, Any], ours: str, theirs: str) -> None:
    """Where stripe-python writes Python's words or exponents, we write what Stripe reads."""
    assert (form(params), official(params)) == (ours, theirs)


# Keys and values on which stripe-python is right: no booleans, times or None in lists, nothing empty, no exponents.
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
_numbers = (
    st.integers(min_value=-(10**63), max_value=10**63)
    | st.floats(min_value=0.001, max_value=1e15)
    | st.decimals(min_value=-(10**9), max_value=10**9, places=2)
)
_times = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones())  # noqa: DTZ001 - hypothesis adds the zone


def _dicts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    given_values = values | st.none() | st.booleans() | _times
    return st.dictionaries(_names, given_values, min_size=1, max_size=4).filter(
        lambda made: any(value is not None for value in made.values())
    )


_entries = st.recursive(_texts | _numbers, lambda values: st.lists(values, min_size=1, max_size=4) | _dicts(values), max_leaves=12)


@given(params=st.dictionaries(_names, _entries | st.none() | st.booleans() | _times, max_size=5))
@settings(max_examples=300)
def test_form_equals_the_official_one(params: dict[str, Any]) -> None:
    """On everything that stripe-python encodes rightly, our form is the same to the byte, but for brackets in values."""
    assert brackets(form(params)) == official(params)


@given(params=st.dictionaries(_names, _texts, max_size=5))
@settings(max_examples=200)
def test_form_can_be_read_back(params: dict[str, str]) -> None:
    """No name and no text can add a field or change another: a form parser reads back exactly what was given."""
    assert parse_qsl(form(params), keep_blank_values=True, strict_parsing=bool(params)) == list(params.items())


@given(moment=st.datetimes(timezones=st.timezones()))
@settings(max_examples=200)
def test_times_are_whole_seconds(moment: datetime) -> None:
    """A time is the seconds since 1970 that have passed in full, before 1970 and in the year 9999 too."""
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert form({"a": moment}) == f"a={expected}"
    assert json_body({"a": moment}) == b'{"a":%d}' % expected


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), -1),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253402300799),
        (datetime(1, 1, 1, tzinfo=BERLIN), -62135604000),
    ],
)
def test_times_are_not_rounded(moment: datetime, seconds: int) -> None:
    """Microseconds never turn into another second."""
    assert form({"a": moment}) == f"a={seconds}"


EMPTY: list[tuple[dict[str, Any], str]] = [
    ({"a": []}, "a"),
    ({"a": {}}, "a"),
    ({"a": ()}, "a"),
    ({"a": [None]}, "a"),
    ({"a": {"b": None}}, "a"),
    ({"a": {"b": []}}, "a[b]"),
    ({"a": ["x", {}]}, "a[1]"),
    ({"items": [{"price": "p"}, {"discounts": []}]}, "items[1][discounts]"),
]


@pytest.mark.parametrize(("params", "param"), EMPTY)
def test_form_refuses_what_would_vanish(params: dict[str, Any], param: str) -> None:
    """An empty list or dict, which stripe-python drops without a word, is refused by name, with the way to clear a field."""
    with pytest.raises(EncodingError, match=r"empty (list|dict).*leave it out, or send '' to clear it") as caught:
        form(params)
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param} is an empty ")


def test_empty_is_said_by_its_kind() -> None:
    """The message says whether it was a list or a dict that was empty."""
    with pytest.raises(EncodingError, match="empty list"):
        form({"a": ()})
    with pytest.raises(EncodingError, match="empty dict"):
        form({"a": {}})


UNREADABLE: list[tuple[object, str]] = [
    ({"x"}, "set, which Stripe cannot read: send a list, which has an order"),
    (frozenset({"x"}), "frozenset"),
    (b"x", "bytes"),
    (bytearray(b"x"), "bytearray"),
    (date(2026, 1, 1), "date, which Stripe cannot read: send a datetime with a zone, or seconds since 1970"),
    (time(12), "time"),
    (timedelta(1), "timedelta"),
    (Money(), "Money, which Stripe cannot read: send its .minor"),
    (Fraction(1, 3), "Fraction"),
    (1j, "complex"),
    (UUID(int=1), "UUID"),
    (object(), "object"),
    (Mute(), "Mute"),
    (iter(["x"]), "list_iterator"),
    (range(3), "range"),
    (int, "type"),
    (datetime(2026, 1, 1), "time without a zone: give it one, such as datetime.now\\(UTC\\)"),  # noqa: DTZ001 - that is the point
    (float("nan"), "number of at most 64 digits"),
    (float("inf"), "number of at most 64 digits"),
    (float("-inf"), "number of at most 64 digits"),
    (Decimal("NaN"), "number of at most 64 digits"),
    (Decimal("sNaN"), "number of at most 64 digits"),
    (Decimal("-Infinity"), "number of at most 64 digits"),
    (10**5000, "number of at most 64 digits"),
    (-(10**5000), "number of at most 64 digits"),
    (10**64, "number of at most 64 digits"),
    (-(10**64), "number of at most 64 digits"),
    (1e64, "number of at most 64 digits"),
    (1e-64, "number of at most 64 digits"),
    (Decimal("1E+999999"), "number of at most 64 digits"),
    (Decimal("1E-999999"), "number of at most 64 digits"),
    (Decimal("0." + "1" * 1000), "number of at most 64 digits"),
    (Decimal((0, (1,) * 100_000, -99_999)), "number of at most 64 digits"),
]


@pytest.mark.parametrize(("value", "words"), UNREADABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("shape", "param"), [("top", "a"), ("list", "a[1]"), ("dict", "a[b]")])
def test_unreadable_values_are_refused(value: object, words: str, shape: str, param: str) -> None:
    """What Stripe cannot read is refused wherever it stands, by name and with a hint what to send instead."""
    error = refused({"a": {"top": value, "list": ["x", value], "dict": {"b": value}}[shape]})
    assert error.param == param
    assert str(error).startswith(f"{param} is ")
    with pytest.raises(EncodingError, match=words):
        raise error


def test_what_has_no_hint() -> None:
    """Of a value that nothing could replace, the message gives the name and the type."""
    assert str(refused({"a": {"b": object()}})) == "a[b] is a object, which Stripe cannot read"


def test_the_largest_numbers_pass() -> None:
    """A number of 64 digits, before or behind the point, still goes through."""
    assert form({"a": 10**64 - 1, "b": 1 - 10**64}) == f"a={'9' * 64}&b=-{'9' * 64}"
    assert form({"a": [10**64 - 1], "b": [1 - 10**64]}) == f"a[0]={'9' * 64}&b[0]=-{'9' * 64}"
    assert form({"a": Decimal("1E-63")}) == f"a=0.{'0' * 62}1"
    assert form({"a": Decimal("1E+63")}) == f"a=1{'0' * 63}"
    assert form({"a": Decimal("9" * 64), "b": Decimal(f"0.{'9' * 63}")}) == f"a={'9' * 64}&b=0.{'9' * 63}"


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_ends(kind: type) -> None:
    """Thirty-two levels pass, one more is refused."""
    assert form({"a": nested(DEEPEST, kind)}).endswith("=x")
    assert refused({"a": nested(DEEPEST + 1, kind)}).param
    with pytest.raises(EncodingError, match="is nested too deeply") as caught:
        form({"a": nested(DEEPEST + 1, kind)})
    assert caught.value.param == "a" + ("[0]" if kind is list else "[k]") * DEEPEST


def test_cycles_end() -> None:
    """A dict or list that contains itself is refused instead of followed for ever."""
    ring: dict[str, Any] = {"b": 1}
    ring["self"] = ring
    refused(ring)
    loop: list[Any] = []
    loop += [loop, loop]
    refused({"a": loop})


@pytest.mark.parametrize("name", [1, 1.5, None, b"a", ("a",), True, Colour.RED, object(), date(2026, 1, 1)])
@pytest.mark.parametrize("value", ["x", 1, ["x"]])
def test_names_are_strings(name: object, value: object) -> None:
    """A name that is no string is refused by its type, on the top and below, whatever its value is."""
    for params in ({name: value}, {"a": {name: value}}, {"a": [{name: value}]}):
        assert str(refused(params)) == f"parameter names are strings, not {type(name).__name__}"


@pytest.mark.parametrize("params", [{"a": "\ud800"}, {"\udfff": "x"}, {"a": {"\ud800": "x"}}, {"a": ["x", "\ud83d"]}])
def test_halves_of_surrogates_are_refused(params: dict[str, Any]) -> None:
    """Half a character, which no UTF-8 can hold, is refused."""
    with pytest.raises(EncodingError, match="half of a surrogate pair"):
        raise refused(params)


def test_objects_of_stripe() -> None:
    """An object of Stripe's stands for its id, a part of one for its fields, of which those that are null are not sent."""
    customer = Customer.from_stripe({"id": "cus_1", "object": "customer", "email": "jenny@example.com"})
    address = StripePart.from_stripe({"city": "Bonn", "line2": None, "geo": {"lat": 1}})
    nameless = StripeObject.from_stripe({"name": "x"})
    params = {"customer": customer, "list": [customer], "address": address, "other": nameless}
    assert form(params) == "customer=cus_1&list[0]=cus_1&address[city]=Bonn&address[geo][lat]=1&other[name]=x"
    assert json.loads(json_body(params)) == {
        "customer": "cus_1",
        "list": ["cus_1"],
        "address": {"city": "Bonn", "line2": None, "geo": {"lat": 1}},
        "other": {"name": "x"},
    }


def test_parts_of_stripe_that_hold_nothing() -> None:
    """A part of an object whose fields are all null is as empty as an empty dict."""
    with pytest.raises(EncodingError, match="empty dict") as caught:
        form({"address": StripePart.from_stripe({"city": None})})
    assert caught.value.param == "address"


def test_an_id_that_is_none() -> None:
    """An object whose id is null stands for nothing that could be sent."""
    with pytest.raises(EncodingError, match=r"^customer is a NoneType") as caught:
        form({"customer": StripeObject.from_stripe({"id": None})})
    assert caught.value.param == "customer"


def test_params_are_left_alone() -> None:
    """Encoding changes nothing in what it was given."""
    params = {"a": [None, {"b": None}, "x"], "c": {"d": None, "e": 1}}
    with pytest.raises(EncodingError):
        form(params)
    json_body(params)
    assert params == {"a": [None, {"b": None}, "x"], "c": {"d": None, "e": 1}}


JSONS: list[tuple[dict[str, Any], str]] = [
    ({}, "{}"),
    ({"a": None, "b": [None, {"c": None}]}, '{"a":null,"b":[null,{"c":null}]}'),
    ({"a": [], "b": {}, "c": ()}, '{"a":[],"b":{},"c":[]}'),
    ({"a": True, "b": [False]}, '{"a":true,"b":[false]}'),
    ({"a": 1, "b": 1.5, "c": -0.25}, '{"a":1,"b":1.5,"c":-0.25}'),
    ({"a": "é\n💶"}, '{"a":"é\\n💶"}'),
    ({"a": datetime(1970, 1, 2, tzinfo=UTC), "b": [datetime(1970, 1, 2, tzinfo=BERLIN)]}, '{"a":86400,"b":[79200]}'),
    ({"a": Decimal("1E+3"), "b": Decimal("1.50")}, '{"a":"1000","b":"1.50"}'),
    ({"a": Interval.MONTH, "b": Colour.RED, "c": Count.TWO, "d": Colour.NONE}, '{"a":"month","b":"red","c":2,"d":null}'),
    ({"a": LoudStr("x"), "b": LoudInt(5), "c": NumpyFloat(1.5)}, '{"a":"x","b":5,"c":1.5}'),
    ({Interval.MONTH: 1, "a": {Mixed.MONTH: LoudStr("x")}}, '{"month":1,"a":{"month":"x"}}'),
    ({"a": MappingProxyType({"b": ("c",)})}, '{"a":{"b":["c"]}}'),
]


@pytest.mark.parametrize(("params", "expected"), JSONS)
def test_json(params: dict[str, Any], expected: str) -> None:
    """The JSON of a v2 request keeps null and what is empty: there both say something."""
    assert json_body(params) == expected.encode()
    assert json_body(params, {}) == expected.encode()


ENCODINGS = {
    "amount": {"value": "int64_string"},
    "count": "int64_string",
    "counts": "int64_string",
    "rate": "decimal_string",
    "rows": {"quantity": "int64_string", "price": {"unit": "decimal_string"}},
}
ENCODED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"amount": {"value": 2000, "currency": "usd"}}, {"amount": {"value": "2000", "currency": "usd"}}),
    ({"count": 2**63 - 1}, {"count": str(2**63 - 1)}),
    ({"counts": [1, 2, None]}, {"counts": ["1", "2", None]}),
    ({"count": None, "rate": None}, {"count": None, "rate": None}),
    ({"count": "7", "rate": "0.5"}, {"count": "7", "rate": "0.5"}),
    ({"count": True}, {"count": True}),
    ({"rate": Decimal("0.10"), "other": 3}, {"rate": "0.10", "other": 3}),
    ({"rate": 3}, {"rate": "3"}),
    ({"rate": 0.5}, {"rate": "0.5"}),
    (
        {"rows": [{"quantity": 1, "price": {"unit": Decimal(2)}}, {"quantity": 3}]},
        {"rows": [{"quantity": "1", "price": {"unit": "2"}}, {"quantity": "3"}]},
    ),
    ({"amount": 5, "value": 6}, {"amount": 5, "value": 6}),
    ({"count": {"value": 1}}, {"count": {"value": 1}}),
]


@pytest.mark.parametrize(("params", "expected"), ENCODED)
def test_json_numbers_in_strings(params: dict[str, Any], expected: dict[str, Any]) -> None:
    """A number becomes a string exactly where Stripe's schema says so, in objects and lists as deep as they go."""
    assert json.loads(json_body(params, ENCODINGS)) == expected
    assert (
        json.loads(json.dumps(_coerce_v2_params(params, ENCODINGS), default=_make_suitable_for_json)) == expected
    )  # stripe-python agrees


def test_json_numbers_in_tuples() -> None:
    """A tuple is a list for Stripe's schema too, which stripe-python overlooks."""
    assert json_body({"counts": (1, 2)}, ENCODINGS) == b'{"counts":["1","2"]}'


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(min_value=0.001, max_value=1e15) | _texts,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(_texts, values, max_size=4),
    max_leaves=12,
)


@given(params=st.dictionaries(_texts, _json_values, max_size=5))
@settings(max_examples=200)
def test_json_can_be_read_back(params: dict[str, Any]) -> None:
    """JSON values arrive as they were given."""
    assert json.loads(json_body(params)) == params


# Anything that a program might pass by mistake, and some things that nobody would.
_wild = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=[]), max_size=6),
    st.binary(max_size=6),
    st.dates(),
    st.times(timezones=st.none() | st.timezones()),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.timedeltas(),
    st.uuids(),
    st.frozensets(st.integers(), max_size=2),
    st.sampled_from(
        [
            *Colour,
            *Interval,
            *Mixed,
            *Count,
            object(),
            Money(),
            int,
            len,
            ...,
            NumpyFloat(1),
            NumpyFloat("nan"),
            LoudInt(7),
            LoudStr("\ud800"),
        ]
    ),
    st.builds(
        StripeObject.from_stripe,
        st.dictionaries(st.sampled_from(["id", "object", "x"]), st.none() | st.text(max_size=3) | st.integers(), max_size=3),
    ),
    st.builds(
        StripePart.from_stripe, st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3) | st.floats(), max_size=3)
    ),
)
_wild_names = (
    st.text(st.characters(exclude_categories=[]), max_size=5)
    | st.integers()
    | st.none()
    | st.sampled_from([Mixed.MONTH, Colour.RED, LoudStr("x"), object()])
)
_wilder = st.recursive(
    _wild,
    lambda values: st.lists(values, max_size=4) | st.tuples(values, values) | st.dictionaries(_wild_names, values, max_size=4),
    max_leaves=12,
)


@given(params=st.dictionaries(_wild_names, _wilder, max_size=4))
@settings(max_examples=500)
def test_only_encoding_errors_leave(params: dict[Any, Any]) -> None:
    """Whatever Python value is passed, it is encoded or refused with an EncodingError, and nothing else happens."""
    for encode in (
        form,
        json_body,
        lambda given_params: json_body(given_params, {"a": "int64_string"}),
        lambda given_params: multipart(given_params, "boundary"),
    ):
        try:
            encoded = encode(params)
        except EncodingError:
            continue
        assert isinstance(encoded, (str, bytes))


@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.decimals(allow_nan=False, allow_infinity=False))
@settings(max_examples=300)
def test_numbers_are_plain_decimals(value: float | Decimal) -> None:
    """A number that is sent has no exponent and the very value that was given."""
    try:
        sent = form({"a": value}).removeprefix("a=")
    except EncodingError:
        assert not 10**-60 < abs(value) < 10**60 or len(Decimal(value).as_tuple().digits) > 60
        return
    assert set(sent) <= set("-0123456789.")
    assert type(value)(sent) == value
