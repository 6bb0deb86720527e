"""Paths stay on Stripe's host, and an id stays one segment of its path."""

from __future__ import annotations

import string
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stripe._util import validate_path

from atom_stripe._wire.paths import check_path, fill, segment
from atom_stripe.errors import EncodingError
from atom_stripe.models.base import StripeObject
from atom_stripe.models.customer import Customer

BASE = "https://api.stripe.com"
_any_text = st.text(st.characters(exclude_categories=[]), max_size=12)


@pytest.mark.parametrize(
    ("template", "arguments", "expected"),
    [
        ("/v1/customers", (), "/v1/customers"),
        ("/v1/customers/{customer}", ("cus_1",), "/v1/customers/cus_1"),
        ("/v1/customers/{customer}/sources/{id}/verify", ("cus_1", "ba_1"), "/v1/customers/cus_1/sources/ba_1/verify"),
        ("/v1/prices/{id}", ("a{b}c",), "/v1/prices/a%7Bb%7Dc"),
        ("/v1/products/{id}", ("Größe 4/5?#%",), "/v1/products/Gr%C3%B6%C3%9Fe%204%2F5%3F%23%25"),
    ],
)
def test_fill(template: str, arguments: tuple[str, ...], expected: str) -> None:
    """Arguments take the places of the braces in their order, quoted so that each stays one segment."""
    assert fill(template, arguments) == expected


def test_fill_names_the_argument() -> None:
    """An argument that is no id is refused under the name that it has in the path."""
    with pytest.raises(EncodingError, match=r"^id must be an id such as 'cus_123'") as caught:
        fill("/v1/customers/{customer}/sources/{id}", ("cus_1", ""))
    assert caught.value.param == "id"


@pytest.mark.parametrize("arguments", [("a", "b"), ("a", "b", "c")])
def test_fill_counts(arguments: tuple[str, ...]) -> None:
    """More arguments than places are a mistake of the caller's and never cut off in silence."""
    with pytest.raises(ValueError, match="zip"):
        fill("/v1/customers/{customer}", arguments)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "not an empty string"),
        (" ", "not an empty string"),
        ("\t\n\u3000", "not an empty string"),
        (None, "not NoneType"),
        (5, "not int"),
        (b"cus_1", "not bytes"),
        (["cus_1"], "not list"),
        ({"id": "cus_1"}, "not dict"),
        (Customer.from_stripe({"object": "customer"}), "not Customer"),
        (StripeObject.from_stripe({"id": None}), "not StripeObject"),
        (StripeObject.from_stripe({"id": 5}), "not StripeObject"),
        (StripeObject.from_stripe({"id": ""}), "not StripeObject"),
    ],
)
def test_segments_are_ids(value: object, words: str) -> None:
    """What is no id, or an empty one that would address the whole collection, is refused; what to pass is said."""
    with pytest.raises(EncodingError, match=f"^customer must be an id such as 'cus_123', {words}$") as caught:
        segment("customer", value)
    assert caught.value.param == "customer"


@pytest.mark.parametrize("value", [".", ".."])
def test_dots_are_no_ids(value: str) -> None:
    """A segment that would climb up the path is refused."""
    with pytest.raises(EncodingError, match=r"^customer is not an id$") as caught:
        segment("customer", value)
    assert caught.value.param == "customer"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cus_1", "cus_1"),
        ("a/b", "a%2Fb"),
        ("../accounts", "..%2Faccounts"),
        ("..\\x", "..%5Cx"),
        ("%2e%2e", "%252e%252e"),
        ("@evil.example", "%40evil.example"),
        ("?a=b&c#d", "%3Fa%3Db%26c%23d"),
        ("a\r\nHost: evil", "a%0D%0AHost%3A%20evil"),
        ("ü\u202e", "%C3%BC%E2%80%AE"),
        ("\x00", "%00"),
    ],
)
def test_segments_are_quoted(value: str, expected: str) -> None:
    """Whatever an id contains, it is one segment of the path."""
    assert segment("id", value) == expected


def test_objects_stand_for_their_ids() -> None:
    """An object of Stripe's can be passed where its id is wanted."""
    assert segment("customer", Customer.from_stripe({"id": "cus_1/2"})) == "cus_1%2F2"


@pytest.mark.parametrize("value", ["\ud800", "cus_\udfff"])
def test_half_characters_are_refused(value: str) -> None:
    """Half of a surrogate pair, which cannot be quoted, is refused by name."""
    with pytest.raises(EncodingError, match=r"^customer holds half of a surrogate pair") as caught:
        segment("customer", value)
    assert caught.value.param == "customer"


@given(value=_any_text)
@settings(max_examples=500)
def test_any_text_is_one_segment_or_refused(value: str) -> None:
    """No text can leave its segment: the URL keeps its host, its depth and its end, and the segment reads back as the text."""
    try:
        path = fill("/v1/customers/{customer}/sources", (value,))
    except EncodingError:
        assert (
            value.strip(" \t\n") in {"", ".", ".."}
            or not value.strip()
            or any("\ud800" <= character <= "\udfff" for character in value)
        )
        return
    parts = urlsplit(BASE + path)
    segments = parts.path.split("/")
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "api.stripe.com", "", "")
    assert segments[:3] + segments[4:] == ["", "v1", "customers", "sources"]
    assert unquote(segments[3]) == value
    assert check_path(path) == path


GOOD_PATHS = [
    "/",
    "/v1/customers",
    "/v1/customers/cus_1",
    "/v1/customers?limit=3&starting_after=cus_1",
    "/v2/core/events?page=a%2Fb==&x=https://stripe.com",
    "/v1/charges/ch_1/refunds:x",
    "/v1/x@y",
]


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_paths_of_stripe_pass(path: str) -> None:
    """A path with or without a query is returned as it is."""
    assert check_path(path) == path


HOSTILE_PATHS: list[object] = [
    "",
    "v1/customers",
    "@evil.example/v1/x",
    ".evil.example/v1/x",
    ":443@evil.example/",
    "//evil.example/v1/x",
    "///evil.example/v1/x",
    "/\\evil.example/v1/x",
    "\\\\evil.example",
    "/v1\\..\\x",
    "https://evil.example/v1/x",
    "https:evil.example",
    "javascript:alert(1)",
    "http:/v1/customers",
    " /v1/customers",
    "/v1/customers ",
    "/v1/cus tomers",
    "/v1/customers\r\nHost: evil.example",
    "/v1/customers\x00",
    "/v1/customers\x7f",
    "/\t/evil.example",
    "/\n/evil.example",
    "/v1/customers#fragment",
    "/v1/customers#",
    "/v1/customers\ud800",
    "/v1/customers\udfff",
    "/" + "a" * 8192,
    None,
    5,
    b"/v1/customers",
    ["/v1/customers"],
    {"url": "/v1/customers"},
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_hostile_paths_are_refused(path: object) -> None:
    """What could lead off Stripe's host, or hide the rest of a URL, is refused, and the message repeats none of it."""
    with pytest.raises(EncodingError, match=r"^the path ") as caught:
        check_path(path)
    assert "evil" not in str(caught.value)


def test_the_longest_path() -> None:
    """A path may be 8192 characters long and no longer."""
    longest = "/" + "a" * 8191
    assert check_path(longest) == longest


_path_like = st.lists(
    st.sampled_from(
        [
            "/",
            "//",
            "\\",
            "@",
            ":",
            "?",
            "#",
            ".",
            "..",
            "[",
            "]",
            "%",
            "evil.example",
            "v1",
            "https:",
            " ",
            "\t",
            "\n",
            "\x85",
            "\u2028",
            "\uff0f",
            "℀",
            "é",
        ]
    )
    | st.sampled_from(string.printable),
    max_size=8,
).map("".join)


@given(path=_any_text | _path_like | _path_like.map("/".__add__) | _path_like.map("/v1/".__add__))
@settings(max_examples=1000)
def test_what_we_accept_stays_with_stripe(path: str) -> None:
    """Every accepted path is also one for stripe-python, and glued to Stripe's host it is still a URL of Stripe's."""
    try:
        accepted = check_path(path)
    except EncodingError:
        return
    validate_path(accepted)
    parts = urlsplit(BASE + accepted)
    assert (parts.scheme, parts.netloc, parts.username, parts.port, parts.fragment) == ("https", "api.stripe.com", None, None, "")
    assert parts.path + ("?" + parts.query if "?" in accepted else "") == accepted
