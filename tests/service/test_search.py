"""Search, in both frameworks."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import subscribe

if TYPE_CHECKING:
    from tests.service.conftest import Reply, Visitor, World

TAG = "metadata['order']:'42'"


def search(visitor: Visitor, query: str, **more: Any) -> Reply:
    return visitor.get(f"/search?query={quote(query)}" + "".join(f"&{name}={quote(str(value))}" for name, value in more.items()))


def tagged(world: World, number: int) -> list[str]:
    """Return the ids of *number* new products and one customer with the same metadata."""
    ask = Asking(world.sandbox)
    products = [ask.post("/v1/products", name="Gold", metadata={"order": "42"})["id"] for _ in range(number)]
    return [*products, ask.post("/v1/customers", name="Jenny", metadata={"order": "42"})["id"]]


def forged(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def unforged(cursor: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


@pytest.mark.parametrize(
    ("kind", "query", "name"),
    [
        ("customers", "email:'jenny@example.com'", "customer"),
        ("payments", "amount:2000", "payment_intent"),
        ("subscriptions", "status:'active'", "subscription"),
        ("products", "name~'gol'", "product"),
        ("prices", "type:'recurring'", "price"),
        ("invoices", "total>=2000", "invoice"),
        ("charges", "refunded:'false'", "charge"),
    ],
)
def test_each_type(world: World, visitor: Visitor, kind: str, query: str, name: str) -> None:
    """Each type is found under its name here, whole, as Stripe's own objects and without client secrets."""
    subscribe(Asking(world.sandbox))
    answer = search(visitor, query, type=kind)
    assert answer.status == 200, answer.body
    assert [one["object"] for one in answer.json["data"]] == [name]
    assert (answer.json["has_more"], answer.json["next_cursor"], answer.json["skipped"]) == (False, None, [])
    assert b"client_secret" not in answer.body


def test_pages_of_one_type(world: World, visitor: Visitor) -> None:
    """Every object is on exactly one page, and the last page leads nowhere."""
    made = tagged(world, 5)[:5]
    found, cursor = list[str](), dict[str, str]()
    while True:
        page = search(visitor, TAG, type="products", limit=2, **cursor).json
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(found) == sorted(made)


def test_all_types(world: World, visitor: Visitor) -> None:
    """Without a type, all are searched: up to the limit of each, and with a cursor those that have more, until there is no more."""
    made = tagged(world, 3)
    first = search(visitor, TAG, limit=2).json
    assert [one["object"] for one in first["data"]] == ["customer", "product", "product"]
    assert (first["has_more"], first["skipped"]) == (True, [])
    rest = search(visitor, TAG, limit=2, cursor=first["next_cursor"]).json
    assert [one["object"] for one in rest["data"]] == ["product"]
    assert (rest["has_more"], rest["next_cursor"], rest["skipped"]) == (False, None, [])
    assert sorted(one["id"] for one in first["data"] + rest["data"]) == sorted(made)


def test_types_that_have_no_such_field_are_skipped(world: World, visitor: Visitor) -> None:
    """A query fits the types that have its fields; the others are named."""
    tagged(world, 1)
    found = search(visitor, "name:'Jenny'").json
    assert [one["name"] for one in found["data"]] == ["Jenny"]
    assert found["skipped"] == ["payments", "subscriptions", "prices", "invoices", "charges"]


@pytest.mark.parametrize("query", ["nonsense", "name:'a' AND", "colour:'red'", "name:'a' AND email:'b' OR phone:'c'"])
def test_a_query_that_fits_no_type(visitor: Visitor, query: str) -> None:
    """When no type can be searched that way, it is a problem with the query, and so it is in a single type."""
    for more in ({}, {"type": "customers"}):
        refused = search(visitor, query, **more)
        assert (refused.status, refused.kind, refused.json["param"]) == (400, "invalid_request", "query")


def test_search_is_behind(world: World, visitor: Visitor) -> None:
    """What was just made is not found until Stripe's index has it."""
    world.sandbox.search_lag = 60
    assert visitor.post("/payments", {"amount": 2000, "currency": "usd"}).status == 201
    assert search(visitor, "amount:2000").json["data"] == []
    world.sandbox.clock.advance(seconds=60)
    assert [one["amount"] for one in search(visitor, "amount:2000").json["data"]] == [2000]


@pytest.mark.parametrize("more", [{"type": "products"}, {}], ids=["one", "all"])
def test_page_tokens_of_any_letters(world: World, visitor: Visitor, more: dict[str, str]) -> None:
    """What Stripe's page tokens are made of is not documented: one with any visible letters comes back to Stripe as it was."""
    token = "WyJhIl0+/=&page=x%20_-~"
    page = {"object": "search_result", "data": [], "has_more": True, "next_page": token, "url": "/v1/products/search"}
    world.sandbox.faults.next(body=json.dumps(page).encode(), operation="GET /v1/products/search")
    cursor = search(visitor, TAG, **more).json["next_cursor"]
    assert (cursor if more else unforged(cursor)["pages"]["products"]) == token
    # The sandbox gave out no such token.
    refused = search(visitor, TAG, cursor=cursor, **more)
    assert (refused.status, refused.json["param"]) == (400, "page")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "query"),
        ("query=", "query"),
        ("query=%20%20", "query"),
        (f"query={'a' * 501}", "query"),
        ("query=a&query=b", "query"),
        ("query=a&type=refunds", "type"),
        ("query=a&limit=0", "limit"),
        ("query=a&limit=101", "limit"),
        ("query=a&limit=ten", "limit"),
        ("query=a&page=2", "page"),
        ("query=a&type=products&cursor=", "cursor"),
        ("query=a&type=products&cursor=a%20b", "cursor"),
        ("query=a&type=products&cursor=%C3%A9", "cursor"),
        ("query=a&type=products&cursor=a%0A", "cursor"),
        (f"query=a&type=products&cursor={'a' * 1025}", "cursor"),
    ],
)
def test_wrong_input_is_refused(visitor: Visitor, query: str, parameter: str) -> None:
    """Each wrong parameter is named, before Stripe is asked."""
    answer = visitor.get(f"/search?{query}")
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert {error["parameter"] for error in answer.json["errors"]} == {parameter}


@pytest.mark.parametrize(
    "cursor",
    [
        "a",
        "page_2",
        "!!!!",
        "a" * 12_289,
        forged(b"\xff\xfe"),
        forged(b"[" * 9000),
        forged(b"1" * 9000),
        forged([]),
        forged({}),
        forged({"query": "0" * 16, "pages": {}}),
        forged({"query": "0" * 16, "pages": {"products": "page_1"}}),
    ],
    ids=range(11),
)
def test_a_forged_cursor(visitor: Visitor, cursor: str) -> None:
    """A cursor of all types that was not given out is refused as what it is."""
    answer = search(visitor, TAG, cursor=cursor)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == ["cursor"]


def test_a_cursor_that_was_tampered_with(world: World, visitor: Visitor) -> None:
    """A cursor leads on in its own query alone, and holds page tokens of searchable types and nothing else."""
    tagged(world, 3)
    given = search(visitor, TAG, limit=2).json["next_cursor"]
    assert search(visitor, "metadata['order']:'43'", cursor=given).status == 422
    content = unforged(given)
    assert search(visitor, TAG, cursor=forged(content)).status == 200
    for pages in ({"refunds": "page_2"}, {"products": ""}, {"products": 2}, {"products": "a b"}, {"products": "a" * 1025}, []):
        assert search(visitor, TAG, cursor=forged({**content, "pages": pages})).status == 422
    assert search(visitor, TAG, cursor=forged({**content, "more": 1})).status == 422
    # One that looks right is for Stripe to judge; no type is skipped for it.
    refused = search(visitor, TAG, cursor=forged({**content, "pages": {"products": "page_x"}}))
    assert (refused.status, refused.kind, refused.json["param"]) == (400, "invalid_request", "page")


def test_a_failure_is_not_skipped(world: World, visitor: Visitor) -> None:
    """When Stripe is busy or refuses the key, that is said, and no type is left out in silence."""
    tagged(world, 1)
    world.sandbox.faults.next(status=401, operation="GET /v1/products/search")
    assert search(visitor, TAG).kind == "service_misconfigured"
    assert search(visitor, TAG).status == 200


def test_search_is_in_the_account_of_the_caller(world: World) -> None:
    """A caller finds what is in the account that calls go to, and nobody finds anything without saying who they are."""
    other = world.sandbox.connect().id
    Asking(world.sandbox, account=other).post("/v1/customers", name="Jenny")
    mine, theirs = (world.mount(client=world.client(**settings)) for settings in ({}, {"stripe_account": other}))
    assert search(mine, "name:'Jenny'").json["data"] == []
    assert len(search(theirs, "name:'Jenny'").json["data"]) == 1
    assert mine.get("/search?query=a", user=None).status == 401


def test_a_cursor_fits_in_a_url(world: World, visitor: Visitor) -> None:
    """Where every type has more, the cursor still goes through, and needs no escaping."""
    ask = Asking(world.sandbox)
    for _ in range(2):
        subscribe(ask)
    first = search(visitor, "created>0", limit=1).json
    given = first["next_cursor"]
    assert first["skipped"] == ["products", "prices"]
    assert set(unforged(given)["pages"]) == {"customers", "payments", "subscriptions", "invoices", "charges"}
    assert quote(given) == given
    rest = search(visitor, "created>0", limit=1, cursor=given).json
    assert {one["id"] for one in rest["data"]}.isdisjoint(one["id"] for one in first["data"])
    assert (len(first["data"]), len(rest["data"])) == (5, 5)
