"""Lists that go on: what is fetched, when, and in which order."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from atom_stripe.errors import InvalidResponseError

CUSTOMERS = [{"id": f"cus_{number:02}", "object": "customer"} for number in range(25, 0, -1)]


def shelf(make: Any) -> Any:
    """A list of 25 customers, newest first, that pages as Stripe does."""

    def reply(request: Any) -> Any:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        limit = int(query.get("limit", 10))
        ids = [customer["id"] for customer in CUSTOMERS]
        if cursor := query.get("ending_before"):
            end = ids.index(cursor)
            data, more = CUSTOMERS[max(0, end - limit) : end], end - limit > 0
        else:
            start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
            data, more = CUSTOMERS[start : start + limit], start + limit < len(ids)
        return make.answer({"object": "list", "url": "/v1/customers", "data": data, "has_more": more})

    return reply


async def all_of(pages: Any, most: int | None = None) -> list[Any]:
    """Go over a list in either colour, at most to the entry number *most*."""
    found: list[Any] = []
    if hasattr(pages, "__aiter__"):
        entries = pages.__aiter__()
        async for entry in entries:
            found.append(entry)
            if len(found) == most:
                break
        if hasattr(entries, "aclose"):
            await entries.aclose()
        return found
    for entry in pages:
        found.append(entry)
        if len(found) == most:
            break
    return found


def test_iterating_goes_over_all_pages(colour: Any, world: Any, make: Any) -> None:
    """25 customers at ten a page are 25 customers and three requests."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)
    found = colour.run(lambda: all_of(stripe.customers.list(email="a@b.c")))
    assert [customer.id for customer in found] == [customer["id"] for customer in CUSTOMERS]
    assert len(world.requests) == 3
    assert all("email=a%40b.c" in request.url for request in world.requests)


def test_backward_lists_come_in_order_of_time(colour: Any, world: Any, make: Any) -> None:
    """With ending_before the entries come oldest first, across pages."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)
    found = colour.run(lambda: all_of(stripe.customers.list(ending_before="cus_03", limit=4)))
    assert [customer.id for customer in found] == [f"cus_{number:02}" for number in range(4, 26)]


def test_a_loop_that_stops_fetches_no_more(colour: Any, world: Any, make: Any) -> None:
    """Eleven entries of a list are two pages; the third is never asked for."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)
    assert len(colour.run(lambda: all_of(stripe.customers.list(), most=11))) == 11
    assert len(world.requests) == 2


def test_a_page_knows_its_neighbour(colour: Any, world: Any, make: Any) -> None:
    """A page has its data and has_more, and brings the next one, and None behind the last."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)

    async def walk() -> list[int]:
        page = await make.settled(stripe.customers.list(limit=10))
        sizes = []
        while page is not None:
            sizes.append(len(page.data))
            assert page.has_more is (len(sizes) < 3)
            page = await make.settled(page.next_page())
        return sizes

    assert colour.run(walk) == [10, 10, 5]


def test_options_hold_for_every_page_but_the_key_for_the_first(colour: Any, world: Any, make: Any) -> None:
    """stripe_account goes along from page to page."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)
    colour.run(lambda: all_of(stripe.customers.list(stripe_account="acct_7")))
    assert [request.headers["Stripe-Account"] for request in world.requests] == ["acct_7"] * 3


def test_searches_follow_tokens(colour: Any, world: Any, make: Any) -> None:
    """A search goes on with next_page, and repeats its query."""
    first = {"object": "search_result", "data": CUSTOMERS[:2], "has_more": True, "next_page": "tok/2+"}
    world.script = [make.answer(first), make.answer({"object": "search_result", "data": CUSTOMERS[2:3], "has_more": False})]
    stripe = colour.client(world)
    assert len(colour.run(lambda: all_of(stripe.customers.search(query="email:'a'")))) == 3
    assert parse_qs(urlsplit(world.requests[1].url).query) == {"query": ["email:'a'"], "page": ["tok/2+"]}


def test_v2_lists_follow_urls_of_their_own_path_only(colour: Any, world: Any, make: Any) -> None:
    """A next_page_url is followed as Stripe wrote it, and one that leads elsewhere ends the list."""
    page = {"data": [{"id": "evt_1", "object": "v2.core.event"}], "next_page_url": "/v2/core/events?object_id=a&page=xyz"}
    elsewhere = {"data": [{"id": "evt_2", "object": "v2.core.event"}], "next_page_url": "//evil.example/v2/core/events?page=1"}
    world.script = [make.answer(page), make.answer(elsewhere)]
    stripe = colour.client(world)
    found = colour.run(lambda: all_of(stripe.v2.core.events.list(object_id="a")))
    assert [entry.id for entry in found] == ["evt_1", "evt_2"]
    assert [urlsplit(request.url).query for request in world.requests] == ["object_id=a", "object_id=a&page=xyz"]


def test_a_list_that_leads_back_to_itself_is_an_error(colour: Any, world: Any, make: Any) -> None:
    """A server that sends the same page for ever does not keep the program for ever."""
    world.otherwise = lambda _request: make.answer({"object": "list", "data": CUSTOMERS[:1], "has_more": True})
    stripe = colour.client(world)
    with pytest.raises(InvalidResponseError):
        colour.run(lambda: all_of(stripe.customers.list()))
    assert len(world.requests) == 2


def test_two_pages_that_lead_to_each_other_are_an_error(colour: Any, world: Any, make: Any) -> None:
    """Nor does a server that sends two pages in turn."""
    world.otherwise = lambda request: make.answer(
        {"object": "list", "data": [{"id": "cus_b" if "cus_a" in request.url else "cus_a", "object": "customer"}], "has_more": True}
    )
    stripe = colour.client(world)
    with pytest.raises(InvalidResponseError):
        colour.run(lambda: all_of(stripe.customers.list()))
    assert len(world.requests) < 6


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": "x"}, {"object": "customer", "id": "cus_1"}])
def test_what_is_no_list_is_refused(colour: Any, world: Any, make: Any, body: Any) -> None:
    """An answer without data in it is an error of the tree, not an empty list."""
    world.script = [make.answer(body)]
    stripe = colour.client(world)
    with pytest.raises(InvalidResponseError):
        colour.run(lambda: all_of(stripe.customers.list()))


def test_a_page_gives_back_what_stripe_sent(colour: Any, world: Any, make: Any) -> None:
    """to_dict() of a page is the body, and its request id is there."""
    world.otherwise = shelf(make)
    stripe = colour.client(world)
    page = colour.call(lambda: stripe.customers.list(limit=2))
    assert json.loads(json.dumps(page.to_dict()))["data"] == CUSTOMERS[:2]
    assert (page.request_id, len(page), bool(page)) == ("req_1", 2, True)
    assert "cus_" not in repr(page)
