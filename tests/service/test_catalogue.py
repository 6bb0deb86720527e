"""Products and prices, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

MONTHLY = {"currency": "usd", "unit_amount": 1500, "recurring": {"interval": "month"}}
PRODUCT = {
    "name": "Gold",
    "description": "Everything there is",
    "active": True,
    "url": "https://shop.example/gold",
    "images": ["https://shop.example/gold.png"],
    "metadata": {"tier": "3"},
}


def _pages(visitor: Visitor, path: str, **asked: str) -> list[dict[str, Any]]:
    """Everything that a list holds, two at a time."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = visitor.get(path, params={"limit": "2", **asked, **({"cursor": cursor} if cursor else {})}).json
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += page["data"]
        cursor = page["next_cursor"]
    return found


def test_a_product_is_made_and_found(visitor: Visitor) -> None:
    """A product that was made can be got, and says what was said of it."""
    made = visitor.post("/products", PRODUCT)
    assert made.status == 201
    found = visitor.get(f"/products/{made.json['id']}")
    assert (found.status, found.json) == (200, made.json)
    assert {name: found.json[name] for name in PRODUCT} == PRODUCT


def test_a_product_with_its_first_price(visitor: Visitor) -> None:
    """A product is made along with what it costs, which is then one of its prices."""
    made = visitor.post("/products", {"name": "Gold", "default_price_data": {**MONTHLY, "currency": "EUR"}}).json
    price = visitor.get(f"/prices/{made['default_price']}").json
    assert (price["product"], price["unit_amount"], price["currency"]) == (made["id"], 1500, "eur")
    assert (price["recurring"]["interval"], price["recurring"]["interval_count"]) == ("month", 1)
    assert [one["id"] for one in visitor.get(f"/prices?product={made['id']}").json["data"]] == [price["id"]]


def test_a_price_is_made_and_found(visitor: Visitor) -> None:
    """A price is paid once or in every period, and can be 0."""
    product = visitor.post("/products", {"name": "Gold"}).json["id"]
    yearly = {"product": product, **MONTHLY, "nickname": "Yearly", "recurring": {"interval": "month", "interval_count": 12}}
    made = visitor.post("/prices", {**yearly, "metadata": {"tier": "3"}})
    assert (made.status, made.json["type"], made.json["nickname"]) == (201, "recurring", "Yearly")
    assert made.json["recurring"]["interval_count"] == 12
    assert visitor.get(f"/prices/{made.json['id']}").json == made.json
    free = visitor.post("/prices", {"product": product, "currency": "jpy", "unit_amount": 0, "active": False})
    assert (free.status, free.json["type"], free.json["unit_amount"], free.json["active"]) == (201, "one_time", 0, False)


def test_null_and_nothing_are_the_same(visitor: Visitor) -> None:
    """Null and empty metadata say nothing of a new object, and are no mistakes."""
    product = visitor.post("/products", {"name": "Gold", "url": None, "metadata": {}, "default_price_data": None})
    assert (product.status, product.json["metadata"], product.json["default_price"]) == (201, {}, None)
    price = visitor.post("/prices", {**MONTHLY, "product": product.json["id"], "recurring": None, "metadata": {}})
    assert (price.status, price.json["recurring"], price.json["metadata"]) == (201, None, {})


def test_lists_of_products_go_on(world: World) -> None:
    """Every product is on exactly one page, also where the account chose its id; those no longer sold can be left out."""
    visitor = world.mount(client=world.client())
    sold = [visitor.post("/products", {"name": f"Gold {number}"}).json["id"] for number in range(3)]
    gone = visitor.post("/products", {"name": "Lead", "active": False}).json["id"]
    chosen = [world.sandbox.client().products.create(id=name, name=name).id for name in ("gold_plan", "gold.plan-1", "7")]
    assert [one["id"] for one in _pages(visitor, "/products")] == [*chosen[::-1], gone, *sold[::-1]]
    assert [one["id"] for one in _pages(visitor, "/products", active="true")] == [*chosen[::-1], *sold[::-1]]
    assert [one["id"] for one in _pages(visitor, "/products", active="false")] == [gone]


def test_lists_of_prices_go_on(visitor: Visitor) -> None:
    """Every price of a product is on exactly one page; those that nobody can choose any more can be left out."""
    one, other = (visitor.post("/products", {"name": name}).json["id"] for name in ("Gold", "Silver"))
    made = [visitor.post("/prices", {**MONTHLY, "product": one, "unit_amount": number}).json["id"] for number in range(3)]
    closed = visitor.post("/prices", {**MONTHLY, "product": one, "active": False}).json["id"]
    strange = visitor.post("/prices", {**MONTHLY, "product": other}).json["id"]
    assert [price["id"] for price in _pages(visitor, "/prices")] == [strange, closed, *made[::-1]]
    assert [price["id"] for price in _pages(visitor, "/prices", product=one)] == [closed, *made[::-1]]
    assert [price["id"] for price in _pages(visitor, "/prices", product=one, active="true")] == made[::-1]


def test_a_chosen_id(world: World) -> None:
    """A product whose id the account chose is found by it, and takes a price."""
    visitor = world.mount(client=world.client())
    world.sandbox.client().products.create(id="gold.plan-1", name="Gold")
    assert visitor.get("/products/gold.plan-1").json["name"] == "Gold"
    assert visitor.post("/prices", {**MONTHLY, "product": "gold.plan-1"}).json["product"] == "gold.plan-1"


@pytest.mark.parametrize("identity", ["unknown", "%2E%2E", "a%2Fb", "a%20b", "a%3Fb=c", "%C3%A4", "x" * 256])
@pytest.mark.parametrize("kind", ["products", "prices"])
def test_there_is_no_such_object(visitor: Visitor, kind: str, identity: str) -> None:
    """An id of nothing, and what is no id at all, is not found: no text in a path leads anywhere else at Stripe."""
    assert visitor.get(f"/{kind}/{identity}").status == 404


def test_a_deleted_product_is_not_found(world: World) -> None:
    """Of a deleted product Stripe still has the id; here there is no such product."""
    visitor = world.mount(client=world.client())
    made = visitor.post("/products", PRODUCT).json["id"]
    world.sandbox.client().products.delete(made)
    answer = visitor.get(f"/products/{made}")
    assert (answer.status, answer.kind) == (404, "not_found")


WRONG_PRICES = [
    ({"unit_amount": 15.0}, "/unit_amount"),
    ({"unit_amount": 15.5}, "/unit_amount"),
    ({"unit_amount": "1500"}, "/unit_amount"),
    ({"unit_amount": -1}, "/unit_amount"),
    ({"unit_amount": True}, "/unit_amount"),
    ({"unit_amount": None}, "/unit_amount"),
    ({"unit_amount": 10**15}, "/unit_amount"),
    ({"currency": "zzz"}, "/currency"),
    ({"currency": "dollars"}, "/currency"),
    ({"currency": "kwd", "unit_amount": 1501}, ""),
    ({"currency": "isk", "unit_amount": 150}, ""),
    ({"recurring": {}}, "/recurring/interval"),
    ({"recurring": {"interval": "quarter"}}, "/recurring/interval"),
    ({"recurring": {"interval": "month", "interval_count": 0}}, "/recurring/interval_count"),
    ({"recurring": {"interval": "month", "interval_count": 1.0}}, "/recurring/interval_count"),
    ({"recurring": {"interval": "month", "interval_count": 37}}, "/recurring"),
    ({"recurring": {"interval": "year", "interval_count": 4}}, "/recurring"),
    ({"recurring": {"interval": "week", "interval_count": 157}}, "/recurring"),
    ({"recurring": {"interval": "month", "usage_type": "metered"}}, "/recurring/usage_type"),
    ({"unit_amount_decimal": "15.5"}, "/unit_amount_decimal"),
]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        *WRONG_PRICES,
        ({"product": None}, "/product"),
        ({"product": "a/b"}, "/product"),
        ({"product": ""}, "/product"),
        ({"nickname": ""}, "/nickname"),
        ({"active": "true"}, "/active"),
        ({"metadata": {"note": "x" * 501}}, "/metadata/note"),
        ({"nicknmae": "Gold"}, "/nicknmae"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_prices_never_reach_stripe(visitor: Visitor, body: Any, pointer: str) -> None:
    """An amount that is no whole number of what its currency is charged in, and a period that Stripe has not, are refused."""
    product = visitor.post("/products", {"name": "Gold"}).json["id"]
    answer = visitor.post("/prices", {**MONTHLY, "product": product, **body})
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert pointer in {error["pointer"] for error in answer.json["errors"]}
    assert visitor.get("/prices").json["data"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 251}, "/name"),
        ({"name": 5}, "/name"),
        ({"description": "x" * 5001}, "/description"),
        ({"active": 1}, "/active"),
        ({"url": "javascript:alert(1)"}, "/url"),
        ({"images": []}, "/images"),
        ({"images": ["https://shop.example/x.png"] * 9}, "/images"),
        ({"images": ["x.png"]}, "/images/0"),
        ({"metadata": {f"n{number}": "x" for number in range(51)}}, "/metadata"),
        ({"default_price_data": {}}, "/default_price_data/currency"),
        ({"default_price_data": {**MONTHLY, "product": "prod_1"}}, "/default_price_data/product"),
        ({"id": "gold"}, "/id"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_products_never_reach_stripe(visitor: Visitor, body: Any, pointer: str) -> None:
    """What Stripe would refuse or misread is refused with where it stands."""
    answer = visitor.post("/products", {**PRODUCT, **body})
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert pointer in {error["pointer"] for error in answer.json["errors"]}
    assert visitor.get("/products").json["data"] == []


def test_a_first_price_is_checked_like_any_other(visitor: Visitor) -> None:
    """A wrong price beside a new product is refused with where it stands, and there is neither."""
    for body, pointer in WRONG_PRICES:
        answer = visitor.post("/products", {"name": "Gold", "default_price_data": {**MONTHLY, **body}})
        assert (answer.status, answer.kind) == (422, "invalid_input"), body
        assert f"/default_price_data{pointer}" in {error["pointer"] for error in answer.json["errors"]}, body
    assert visitor.get("/products").json["data"] == []


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/products?active=perhaps", "active"),
        ("/products?cursor=a/b", "cursor"),
        ("/products?limit=1.5", "limit"),
        ("/products?product=prod_1", "product"),
        ("/prices?product=a/b", "product"),
        ("/prices?active=", "active"),
    ],
)
def test_wrong_questions(visitor: Visitor, path: str, parameter: str) -> None:
    """A list is asked for with known parameters, each within its bounds."""
    answer = visitor.get(path)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


def test_a_price_of_nothing(visitor: Visitor) -> None:
    """A price of a product that is not there comes back as Stripe's refusal, with the parameter it complains of."""
    answer = visitor.post("/prices", {**MONTHLY, "product": "prod_unknown"})
    assert (answer.status, answer.kind, answer.json["param"]) == (400, "invalid_request", "product")
    assert visitor.get("/prices").json["data"] == []


def test_the_idempotency_key_is_passed_on(visitor: Visitor) -> None:
    """The same request under the same key makes one product or price, and another request under it is refused."""
    first, again = (visitor.post("/products", PRODUCT, headers={"Idempotency-Key": "p"}).json["id"] for _ in range(2))
    assert first == again
    price = {**MONTHLY, "product": first}
    cheap, same = (visitor.post("/prices", price, headers={"Idempotency-Key": "c"}).json["id"] for _ in range(2))
    assert cheap == same
    for path, body, key in (("/products", {"name": "Lead"}, "p"), ("/prices", {**price, "unit_amount": 1}, "c")):
        other = visitor.post(path, body, headers={"Idempotency-Key": key})
        assert (other.status, other.kind) == (409, "idempotency_key_reused")
