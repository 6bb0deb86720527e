"""Which request brings the next page, whatever the page says."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.decoding import decode
from atom_stripe._wire.messages import Reply
from atom_stripe._wire.operation import Operation
from atom_stripe._wire.pages import next_page
from atom_stripe.models.base import ListObject, StripeModel, StripeObject

LIST = Operation("GET", "/v1/customers")
SEARCH = Operation("GET", "/v1/customers/search")
EVENTS = Operation("GET", "/v2/core/events")
SEARCH_2 = Operation("POST", "/v2/core/accounts/search")


def page(**fields: Any) -> StripeModel:
    """Return a page as the client reads it."""
    return decode(Reply(200, {}, json.dumps(fields).encode()), reads=True)


def of_list(*ids: str, has_more: bool = True) -> StripeModel:
    """Return a page of a v1 list."""
    return page(
        object="list", url="/v1/customers", has_more=has_more, data=[{"id": identity, "object": "customer"} for identity in ids]
    )


def test_forward() -> None:
    """A list goes on behind the last object of the page, with the same filters."""
    params = {"limit": 2, "email": "x", "expand": ["data.subscriptions"]}
    assert next_page(LIST, "/v1/customers", params, of_list("cus_1", "cus_2")) == (
        "/v1/customers",
        {**params, "starting_after": "cus_2"},
    )


def test_forward_again() -> None:
    """The cursor of the page before is replaced, not kept."""
    assert next_page(LIST, "/v1/customers", {"starting_after": "cus_0", "limit": 1}, of_list("cus_1")) == (
        "/v1/customers",
        {"limit": 1, "starting_after": "cus_1"},
    )


def test_backward() -> None:
    """With ending_before a list goes on before the first object of the page, towards the newer ones."""
    params = {"ending_before": "cus_9", "limit": 2}
    expected = ("/v1/customers", {"limit": 2, "ending_before": "cus_7"})
    assert next_page(LIST, "/v1/customers", params, of_list("cus_7", "cus_8")) == expected
    assert next_page(LIST, "/v1/customers", {**params, "starting_after": None}, of_list("cus_7", "cus_8")) == expected


def test_a_cursor_of_none_is_none() -> None:
    """ending_before=None means a list that goes forward, and the name is not sent on."""
    assert next_page(LIST, "/v1/customers", {"ending_before": None}, of_list("cus_1")) == (
        "/v1/customers",
        {"starting_after": "cus_1"},
    )


def test_the_path_is_the_one_that_was_asked_for() -> None:
    """The url that a page gives plays no part: a list goes on where it was asked for."""
    hostile = page(object="list", url="https://evil.example/v1/customers", has_more=True, data=[{"id": "cus_1"}])
    assert next_page(LIST, "/v1/customers", {}, hostile) == ("/v1/customers", {"starting_after": "cus_1"})


def test_params_are_left_alone() -> None:
    """The parameters of the page before are not changed."""
    params = {"starting_after": "cus_0", "limit": 1}
    next_page(LIST, "/v1/customers", params, of_list("cus_1"))
    assert params == {"starting_after": "cus_0", "limit": 1}


@pytest.mark.parametrize(
    "last",
    [
        of_list("cus_1", has_more=False),
        of_list(),
        page(object="list", data=[{"id": "cus_1"}]),
        page(object="list", has_more=None, data=[{"id": "cus_1"}]),
        page(),
    ],
)
def test_the_last_page(last: StripeModel) -> None:
    """A page that says that no more follows, or holds nothing to go on from, is the last."""
    assert next_page(LIST, "/v1/customers", {}, last) is None
    assert next_page(SEARCH, "/v1/customers/search", {}, last) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        True,
        1.5,
        "abc",
        {},
        {"a": 1},
        {"id": "x"},
        {"0": {"id": "x"}},
        [None],
        [5],
        ["x"],
        [[]],
        [{}],
        [{"id": None}],
        [{"id": 5}],
        [{"id": ""}],
        [{"id": ["x"]}],
    ],
)
@pytest.mark.parametrize("params", [{}, {"ending_before": "x"}])
@pytest.mark.parametrize("name", ["list", "search_result", "customer", None])
def test_pages_without_a_cursor(data: Any, params: dict[str, Any], name: str | None) -> None:
    """A page whose data is not a list of objects with ids is the last, of whatever kind it calls itself."""
    assert next_page(LIST, "/v1/customers", params, page(object=name, has_more=True, data=data)) is None


def test_searches_go_by_token() -> None:
    """A search goes on with the token of the page, in place of the token before."""
    found = page(object="search_result", has_more=True, next_page="tok_2", data=[{"id": "cus_1"}])
    assert next_page(SEARCH, "/v1/customers/search", {"query": "q", "page": "tok_1"}, found) == (
        "/v1/customers/search",
        {"query": "q", "page": "tok_2"},
    )


@pytest.mark.parametrize("token", [None, "", 5, ["tok"], {"a": "b"}])
def test_searches_without_a_token_end(token: object) -> None:
    """A search page whose token is no text is the last."""
    assert (
        next_page(
            SEARCH,
            "/v1/customers/search",
            {"query": "q"},
            page(object="search_result", has_more=True, next_page=token, data=[{"id": "cus_1"}]),
        )
        is None
    )
    assert (
        next_page(
            SEARCH, "/v1/customers/search", {"query": "q"}, page(object="search_result", has_more=True, data=[{"id": "cus_1"}])
        )
        is None
    )


def test_the_second_api_goes_by_url() -> None:
    """A v2 list goes on at the URL of the page, whose query says it all."""
    url = "/v2/core/events?limit=5&page=abc"
    assert next_page(EVENTS, "/v2/core/events", {"limit": 5, "types": ["x"]}, page(data=[], next_page_url=url)) == (url, {})
    assert next_page(EVENTS, "/v2/core/events?page=first", {}, page(data=[], next_page_url=url)) == (url, {})
    for other in ("/v2/core/events", "/v2/core/events?page=a?b=c"):
        assert next_page(EVENTS, "/v2/core/events", {}, page(data=[], next_page_url=other)) == (other, {})
    assert next_page(EVENTS, "/v2/core/events", {}, page(data=[{"id": "evt_1"}], has_more=True)) is None


def test_searches_of_the_second_api_keep_their_body() -> None:
    """What a v2 search looks for is sent again with every page, but for the limit, which is in the URL."""
    url = "/v2/core/accounts/search?limit=5&page=abc"
    assert next_page(SEARCH_2, "/v2/core/accounts/search", {"limit": 5, "query": "q"}, page(data=[], next_page_url=url)) == (
        url,
        {"query": "q"},
    )


HOSTILE_URLS: list[object] = [
    None,
    "",
    5,
    True,
    ["/v2/core/events?page=a"],
    {"url": "/v2/core/events?page=a"},
    "https://evil.example/v2/core/events?page=a",
    "https://api.stripe.com/v2/core/events?page=a",
    "//evil.example/v2/core/events?page=a",
    "@evil.example/v2/core/events?page=a",
    "/v2/core/events@evil.example?page=a",
    "/v2/core/accounts?page=a",
    "/v2/core/events/../accounts?page=a",
    "/v2/core/events/evt_1?page=a",
    "/v2/core/events/?page=a",
    "/v2/core/event?page=a",
    "/v1/events?page=a",
    " /v2/core/events?page=a",
    "/v2/core/events?page=a b",
    "/v2/core/events?page=a\r\nHost: evil.example",
    "/v2/core/events?page=a\\",
    "/v2/core/events?page=a#b",
    "/v2/core/events?page=" + "a" * 9000,
]


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_end_the_list(url: object) -> None:
    """A next URL that leads anywhere but on through the same list is not followed."""
    assert next_page(EVENTS, "/v2/core/events", {}, page(data=[], next_page_url=url)) is None


def test_only_the_second_api_follows_urls() -> None:
    """A v1 list never follows a URL from its answer."""
    assert (
        next_page(LIST, "/v1/customers", {}, page(object="list", has_more=False, data=[], next_page_url="/v1/customers?x=y"))
        is None
    )


@pytest.mark.parametrize("model", [StripeObject, ListObject])
def test_a_list_leads_through_every_page_once(model: type[StripeModel]) -> None:
    """Following the pages of a list visits every object once and ends, forward and backward."""
    ids = [f"cus_{number}" for number in range(7)]
    for backward in (False, True):
        params: dict[str, Any] = {"limit": 3, "ending_before": "none"} if backward else {"limit": 3}
        rest, seen = list(ids), []
        found: tuple[str, dict[str, Any]] | None = ("/v1/customers", params)
        while found is not None:
            part, rest = (rest[-3:], rest[:-3]) if backward else (rest[:3], rest[3:])
            seen += reversed(part) if backward else part
            answer = model.from_stripe({"object": "list", "has_more": bool(rest), "data": [{"id": identity} for identity in part]})
            found = next_page(LIST, found[0], found[1], answer)
            if found is not None:
                assert found[1] == {
                    "limit": 3,
                    "ending_before" if backward else "starting_after": part[0] if backward else part[-1],
                }
        assert seen == (ids[::-1] if backward else ids)


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["id", "object", "data", "x"]), values, max_size=3)
    ),
    max_leaves=8,
)


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "object": st.sampled_from(["list", "search_result", "event", 5]) | _junk,
            "data": _junk,
            "has_more": _junk,
            "next_page": _junk,
            "next_page_url": _junk | st.sampled_from(HOSTILE_URLS),
        },
    ),
    operation=st.sampled_from([LIST, SEARCH, EVENTS, SEARCH_2]),
    params=st.dictionaries(st.sampled_from(["limit", "page", "ending_before", "starting_after"]), st.none() | st.text(max_size=3)),
)
@settings(max_examples=400)
def test_no_page_breaks_the_reader(fields: dict[str, Any], operation: Operation, params: dict[str, Any]) -> None:
    """Whatever is in a page, it is the last or leads to the same path on the same host."""
    found = next_page(operation, operation.path, params, page(**fields))
    if found is not None:
        assert urlsplit("https://api.stripe.com" + found[0])[:3] == ("https", "api.stripe.com", operation.path)
        assert all(isinstance(name, str) for name in found[1])
