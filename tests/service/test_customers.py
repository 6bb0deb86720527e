"""Customers, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.service.routes.customers import ChangedCustomer

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

ADDRESS = {"line1": "1 High Street", "line2": "Flat 2", "city": "London", "postal_code": "N1 1AA", "country": "GB"}
JENNY = {
    "email": "jenny@example.com",
    "name": "Jenny Rosen",
    "phone": "+442071838750",
    "description": "Buys every year",
    "address": ADDRESS,
    "preferred_locales": ["en-GB", "de"],
    "metadata": {"order": "42", "source": "shop"},
}


def test_a_customer_is_made_and_found(visitor: Visitor) -> None:
    """A customer that was made can be got, with everything that was said of them."""
    made = visitor.post("/customers", JENNY)
    assert made.status == 201
    found = visitor.get(f"/customers/{made.json['id']}")
    assert (found.status, found.json) == (200, made.json)
    assert {name: found.json[name] for name in JENNY} == {**JENNY, "address": {**ADDRESS, "state": None}}


def test_nothing_is_required(visitor: Visitor) -> None:
    """A customer can be nobody yet: null and an empty object say nothing, and are no mistakes."""
    for body in ({}, {"name": None, "address": None, "metadata": {}}):
        made = visitor.post("/customers", body)
        assert (made.status, made.json["name"], made.json["address"], made.json["metadata"]) == (201, None, None, {})


def test_lists_go_on(visitor: Visitor) -> None:
    """Every customer is on exactly one page, and the last page leads nowhere."""
    made = [visitor.post("/customers", {"name": f"Jenny {number}"}).json["id"] for number in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = visitor.get("/customers?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]


def test_customers_of_one_address(visitor: Visitor) -> None:
    """The filter for the e-mail address takes the whole of it, plus signs and capitals included, page by page."""
    for email in ("jenny+1@example.com", "jenny@example.com", "Jenny+1@example.com", "jenny+1@example.com"):
        visitor.post("/customers", {"email": email})
    asked = {"email": "jenny+1@example.com", "limit": "1"}
    first = visitor.get("/customers", params=asked).json
    rest = visitor.get("/customers", params={**asked, "cursor": first["next_cursor"]}).json
    assert [one["email"] for one in first["data"] + rest["data"]] == ["jenny+1@example.com"] * 2
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_what_is_not_there_stays(visitor: Visitor) -> None:
    """A change touches what is in it and nothing else, and an empty one touches nothing."""
    made = visitor.post("/customers", JENNY).json
    for body in ({}, {"metadata": {}}):
        same = visitor.post(f"/customers/{made['id']}", body)
        assert (same.status, same.json) == (200, made)
    changed = visitor.post(f"/customers/{made['id']}", {"name": "Jenny Miller", "metadata": {"order": "43"}})
    assert changed.json == {**made, "name": "Jenny Miller", "metadata": {"order": "43", "source": "shop"}}
    assert visitor.get(f"/customers/{made['id']}").json == changed.json


def test_null_clears(visitor: Visitor) -> None:
    """Null in a change clears what it stands for: a text, an address, a name in the metadata or all of that."""
    made = visitor.post("/customers", JENNY).json["id"]
    texts = ["email", "name", "phone", "description"]
    cleared = visitor.post(f"/customers/{made}", {**dict.fromkeys(texts), "address": None, "metadata": {"order": None}})
    assert cleared.status == 200
    assert [cleared.json[name] for name in (*texts, "address")] == [None] * 5
    assert cleared.json["metadata"] == {"source": "shop"}
    assert visitor.post(f"/customers/{made}", {"metadata": {"source": "", "a": "1"}}).json["metadata"] == {"a": "1"}
    assert visitor.post(f"/customers/{made}", {"metadata": None}).json["metadata"] == {}


def test_an_address_is_replaced_as_a_whole(visitor: Visitor) -> None:
    """No part of an old address is left between those of a new one."""
    made = visitor.post("/customers", JENNY).json["id"]
    new = {"line1": "5 Rue Neuve", "city": "Lyon", "country": "FR"}
    changed = visitor.post(f"/customers/{made}", {"address": new}).json
    assert changed["address"] == {"line2": None, "postal_code": None, "state": None, **new}


def test_what_a_change_says_to_stripe() -> None:
    """Every part of a new address is said, so that Stripe has none to decide on, and what is cleared is an empty text."""
    change = {"name": None, "address": {"city": "Lyon"}, "default_payment_method": None, "metadata": {"a": None, "b": "1"}}
    assert ChangedCustomer.model_validate(change).params() == {
        "name": "",
        "address": {"line1": "", "line2": "", "city": "Lyon", "state": "", "postal_code": "", "country": ""},
        "invoice_settings": {"default_payment_method": ""},
        "metadata": {"a": "", "b": "1"},
    }


def test_the_default_payment_method(world: World) -> None:
    """A card comes with a new customer, becomes the default by a change, and null lets go of it."""
    visitor = world.mount(client=world.client())
    made = visitor.post("/customers", {"payment_method": "pm_card_visa"}).json
    assert made["invoice_settings"]["default_payment_method"] is None
    [card] = world.sandbox.client().customers.payment_methods.list(made["id"]).data
    changed = visitor.post(f"/customers/{made['id']}", {"default_payment_method": card.id})
    assert changed.json["invoice_settings"]["default_payment_method"] == card.id
    cleared = visitor.post(f"/customers/{made['id']}", {"default_payment_method": None})
    assert cleared.json["invoice_settings"]["default_payment_method"] is None


def test_a_card_that_cannot_be_kept(visitor: Visitor) -> None:
    """A card that its bank declines is a problem, and there is no customer without it."""
    declined = visitor.post("/customers", {"name": "Jenny", "payment_method": "pm_card_visa_chargeDeclined"})
    assert (declined.status, declined.kind) == (402, "card_declined")
    assert visitor.get("/customers").json["data"] == []


WRONG = [
    ({"email": "jenny"}, "/email"),
    ({"email": 5}, "/email"),
    ({"email": "j@" + "x" * 511}, "/email"),
    ({"name": ""}, "/name"),
    ({"name": "x" * 257}, "/name"),
    ({"name": ["Jenny"]}, "/name"),
    ({"phone": "0" * 21}, "/phone"),
    ({"description": "x" * 5001}, "/description"),
    ({"address": {}}, "/address"),
    ({"address": {"country": "Germany"}}, "/address/country"),
    ({"address": {"street": "5 Rue Neuve"}}, "/address/street"),
    ({"address": "5 Rue Neuve"}, "/address"),
    ({"preferred_locales": []}, "/preferred_locales"),
    ({"preferred_locales": ["English, please"]}, "/preferred_locales/0"),
    ({"metadata": {"note": "x" * 501}}, "/metadata/note"),
    ({"metadata": {"number": 5}}, "/metadata/number"),
    ({"metadata": {"a[b]": "x"}}, "/metadata"),
    ({"metadata": {f"n{number}": "x" for number in range(51)}}, "/metadata"),
    ({"metadata": []}, "/metadata"),
    ({"nmae": "Jenny"}, "/nmae"),
    ({"balance": -5000}, "/balance"),
    ([], ""),
]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        *WRONG,
        ({"payment_method": "4242424242424242"}, "/payment_method"),
        ({"default_payment_method": "pm_1"}, "/default_payment_method"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_input_never_reaches_stripe(visitor: Visitor, body: Any, pointer: str) -> None:
    """What Stripe would refuse or misread is refused with where it stands."""
    answer = visitor.post("/customers", body)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert pointer in {error["pointer"] for error in answer.json["errors"]}
    assert visitor.get("/customers").json["data"] == []


def test_wrong_changes_never_reach_stripe(visitor: Visitor) -> None:
    """A change is held to what a new customer is held to, and null where nothing can be cleared is refused."""
    made = visitor.post("/customers", JENNY).json
    for body, pointer in [
        *WRONG,
        ({"payment_method": "pm_1"}, "/payment_method"),
        ({"preferred_locales": None}, "/preferred_locales"),
    ]:
        answer = visitor.post(f"/customers/{made['id']}", body)
        assert (answer.status, answer.kind) == (422, "invalid_input"), body
        assert pointer in {error["pointer"] for error in answer.json["errors"]}, body
    assert visitor.get(f"/customers/{made['id']}").json == made


@pytest.mark.parametrize("body", [rb'{"name": "\ud800"}', rb'{"metadata": {"\udfff": "x"}}', rb'{"metadata": {"a": "\ud800"}}'])
def test_half_a_letter_is_no_text(visitor: Visitor, body: bytes) -> None:
    """Half of a surrogate pair, which JSON can spell and a form cannot carry, is refused and not echoed."""
    answer = visitor.post("/customers", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert b"\\ud" not in answer.body.lower()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("email=jenny", "email"), ("limit=0", "limit"), ("limit=101", "limit"), ("cursor=a/b", "cursor"), ("name=Jenny", "name")],
)
def test_wrong_questions(visitor: Visitor, query: str, parameter: str) -> None:
    """A list is asked for with known parameters, each within its bounds."""
    answer = visitor.get(f"/customers?{query}")
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


def test_a_deleted_customer_is_not_found(world: World) -> None:
    """Of a deleted customer Stripe still has the id; here there is no such customer, to get or to change."""
    visitor = world.mount(client=world.client())
    made = visitor.post("/customers", JENNY).json["id"]
    world.sandbox.client().customers.delete(made)
    for answer in (visitor.get(f"/customers/{made}"), visitor.post(f"/customers/{made}", {"name": "Jenny"})):
        assert (answer.status, answer.kind) == (404, "not_found")
    assert visitor.get("/customers").json["data"] == []


@pytest.mark.parametrize("identity", ["cus_unknown", "sub_1", "cus_1%2F..%2F", "cus_..", "cus_" + "x" * 252])
def test_there_is_no_such_customer(visitor: Visitor, identity: str) -> None:
    """An id of no customer, and what is no id at all, is not found."""
    for answer in (visitor.get(f"/customers/{identity}"), visitor.post(f"/customers/{identity}", {"name": "Jenny"})):
        assert answer.status == 404


def test_the_idempotency_key_is_passed_on(visitor: Visitor) -> None:
    """The same request under the same key makes one customer, and another request under it is refused."""
    key = {"Idempotency-Key": "signup-42"}
    first, again = (visitor.post("/customers", JENNY, headers=key).json["id"] for _ in range(2))
    assert first == again
    other = visitor.post("/customers", {**JENNY, "name": "Jo"}, headers=key)
    assert (other.status, other.kind) == (409, "idempotency_key_reused")
    changed = visitor.post(f"/customers/{first}", {"name": "Jo"}, headers=key)
    assert (changed.status, changed.kind) == (409, "idempotency_key_reused")
