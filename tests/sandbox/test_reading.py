"""What all lists and objects have in common: pages, expansion, search."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


@pytest.fixture
def customers(ask: Asking) -> list[str]:
    """Twelve customers, newest first."""
    return [ask.post("/v1/customers", email=f"{number}@example.com")["id"] for number in range(12)][::-1]


def ids(page: Any) -> list[str]:
    return [row["id"] for row in page["data"]]


# Pages.


def test_ten_at_a_time(ask: Asking, customers: list[str]) -> None:
    """A page has ten entries unless asked otherwise, says where it is from and whether there are more."""
    page = ask.get("/v1/customers")
    assert (page["object"], page["url"], page["has_more"], ids(page)) == ("list", "/v1/customers", True, customers[:10])
    rest = ask.get("/v1/customers", starting_after=customers[9])
    assert (ids(rest), rest["has_more"]) == (customers[10:], False)


@given(limit=st.integers(1, 15), start=st.integers(0, 11))
@settings(deadline=None, max_examples=40)
def test_every_page_is_a_part_of_the_whole(limit: int, start: int) -> None:
    """After and before any entry, a page is the part of the list next to it, newest first."""
    ask = Asking(StripeSandbox())
    everything = [ask.post("/v1/customers")["id"] for _ in range(12)][::-1]
    after = ask.get("/v1/customers", limit=limit, starting_after=everything[start])
    older = everything[start + 1 :]
    assert (ids(after), after["has_more"]) == (older[:limit], len(older) > limit)
    before = ask.get("/v1/customers", limit=limit, ending_before=everything[start])
    newer = everything[:start]
    assert (ids(before), before["has_more"]) == (newer[-limit:], len(newer) > limit)


def test_pages_of_a_narrowed_list(ask: Asking, customers: list[str]) -> None:
    """A cursor counts by its place, also when the list is narrowed to entries that it is not one of."""
    assert ids(ask.get("/v1/customers", email="3@example.com", starting_after=customers[0])) == [customers[8]]
    assert ids(ask.get("/v1/customers", email="3@example.com", starting_after=customers[8])) == []


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"limit": 0}, "parameter_invalid_integer", "limit"),
        ({"limit": 101}, "parameter_invalid_integer", "limit"),
        ({"limit": "ten"}, "parameter_invalid_integer", "limit"),
        ({"starting_after": "cus_gone"}, "resource_missing", "starting_after"),
        ({"ending_before": "cus_gone"}, "resource_missing", "ending_before"),
        ({"starting_after": "cus_1", "ending_before": "cus_1"}, "parameters_exclusive", "starting_after"),
        ({"created": {"since": 1}}, "parameter_unknown", "created[since]"),
        ({"created": "today"}, "parameter_invalid_integer", "created"),
        ({"page": 2}, "parameter_unknown", "page"),
    ],
)
def test_a_page_that_there_is_not(ask: Asking, params: dict[str, Any], code: str, param: str) -> None:
    """Limits outside 1 to 100, unknown cursors and two cursors are refused."""
    status, error = ask.refused("GET", "/v1/customers", **params)
    assert (status, error["code"], error["param"]) == (400, code, param)


# Expansion.


def test_expansion_at_any_depth(ask: Asking) -> None:
    """Ids become objects where that is asked for, through objects and lists, and nowhere else."""
    customer = ask.post("/v1/customers", payment_method="pm_card_visa")["id"]
    (card,) = ids(ask.get(f"/v1/customers/{customer}/payment_methods"))
    ask.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": card})
    paid = ask.pay(customer=customer, payment_method=card)
    plain = ask.get(f"/v1/payment_intents/{paid['id']}")
    assert (plain["customer"], plain["payment_method"]) == (customer, card)
    full = ask.get(
        f"/v1/payment_intents/{paid['id']}",
        expand=["customer.invoice_settings.default_payment_method", "latest_charge.balance_transaction.source", "payment_method"],
    )
    assert full["customer"]["invoice_settings"]["default_payment_method"]["id"] == card
    assert full["latest_charge"]["balance_transaction"]["source"]["id"] == plain["latest_charge"]
    assert full["latest_charge"]["customer"] == customer
    assert full["payment_method"]["card"]["last4"] == "4242"
    (row,) = ask.get("/v1/payment_intents", expand=["data.latest_charge.balance_transaction"])["data"]
    assert row["latest_charge"]["balance_transaction"]["net"] == 1912
    assert plain == ask.get(f"/v1/payment_intents/{paid['id']}")


def test_what_is_empty_stays_empty(ask: Asking) -> None:
    """Expanding an empty field leaves it empty, also if the sandbox could not fill it."""
    made = ask.post(
        "/v1/payment_intents", amount=2000, currency="usd", expand=["customer.default_source", "review", "latest_charge.refunds"]
    )
    assert (made["customer"], made["review"], made["latest_charge"]) == (None, None, None)


def test_a_deleted_customer_expands(ask: Asking) -> None:
    """A deleted customer expands to what is left of it."""
    customer = ask.post("/v1/customers")["id"]
    paid = ask.pay(customer=customer)
    ask.delete(f"/v1/customers/{customer}")
    found = ask.get(f"/v1/payment_intents/{paid['id']}", expand=["customer.invoice_settings.default_payment_method"])["customer"]
    assert found == {"id": customer, "object": "customer", "deleted": True}


@pytest.mark.parametrize(
    ("path", "expand", "status"),
    [
        ("/v1/payment_intents", "customer", 400),
        ("/v1/payment_intents", "data.amount", 400),
        ("/v1/payment_intents", "data.made_up", 400),
        ("/v1/payment_intents", "data.metadata.made_up", 400),
        ("/v1/payment_intents", "data.latest_charge.balance_transaction.source.customer", 400),
        ("/v1/payment_intents", "data..customer", 400),
        ("/v1/payment_intents", "", 400),
        ("/v1/customers", "data.invoice_settings", 400),
        ("/v1/customers", "data.subscriptions", 501),
        ("/v1/customers", "data.sources.data", 501),
        ("/v1/balance", "available", 400),
    ],
)
def test_what_cannot_be_expanded(ask: Asking, path: str, expand: str, status: int) -> None:
    """Fields that hold no id, more than four levels and broken paths are refused; what only Stripe can expand, by name."""
    ask.pay(customer=ask.post("/v1/customers")["id"])
    answered, error = ask.refused("GET", path, expand=[expand])
    assert answered == status
    assert error["param"].startswith("expand")


def test_a_wrong_expansion_undoes_the_work(ask: Asking) -> None:
    """A creation whose answer cannot be expanded creates nothing, and keeps no key."""
    params = {"email": "a@example.com", "expand": ["made_up"]}
    assert ask.send("POST", "/v1/customers", params, Idempotency_Key="k").status == 400
    assert ask.get("/v1/customers")["data"] == []
    assert ask.send("POST", "/v1/customers", {"email": "a@example.com"}, Idempotency_Key="k").status == 200


# Search.


@pytest.fixture
def people(ask: Asking) -> dict[str, str]:
    """Three customers, by name."""
    found = {}
    for number, name in enumerate(("Jenny Rosen", "Tom O'Hara", "Jenny Miller")):
        found[name] = ask.post("/v1/customers", name=name, email=f"{number}@example.com", metadata={"order": str(number)})["id"]
        ask.sandbox.clock.advance(days=1)
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("email:'0@example.com'", ["Jenny Rosen"]),
        ('email:"0@EXAMPLE.com"', ["Jenny Rosen"]),
        ("name~'jenny'", ["Jenny Miller", "Jenny Rosen"]),
        ("name~'jenny' AND -email:'0@example.com'", ["Jenny Miller"]),
        ("metadata['order']:'0' OR metadata[\"order\"]:'1'", ["Tom O'Hara", "Jenny Rosen"]),
        ("-metadata['order']:'0'", ["Jenny Miller", "Tom O'Hara"]),
        ("name:'Tom O\\'Hara'", ["Tom O'Hara"]),
        ("phone:null", ["Jenny Miller", "Tom O'Hara", "Jenny Rosen"]),
        ("-phone:null", []),
        ("created>{time}", ["Jenny Miller"]),
        ("created<={time} and name~'Tom'", ["Tom O'Hara"]),
        ("metadata['made_up']:'x'", []),
    ],
)
def test_search(ask: Asking, people: dict[str, str], query: str, names: list[str]) -> None:
    """Customers are found by words, parts of them, metadata and times, joined by AND or by OR."""
    second = ask.get(f"/v1/customers/{people[chr(84) + 'om O' + chr(39) + 'Hara']}")["created"]
    found = ask.get("/v1/customers/search", query=query.replace("{time}", str(second)))
    assert found["object"] == "search_result"
    assert [row["name"] for row in found["data"]] == names


def test_search_has_pages(ask: Asking, people: dict[str, str]) -> None:
    """A page of results leads to the next one."""
    first = ask.get("/v1/customers/search", query="name~'enn'", limit=1)
    assert (first["has_more"], ids(first)) == (True, [people["Jenny Miller"]])
    second = ask.get("/v1/customers/search", query="name~'enn'", limit=1, page=first["next_page"])
    assert (second["has_more"], second["next_page"], ids(second)) == (False, None, [people["Jenny Rosen"]])


def test_payments_are_searched(ask: Asking) -> None:
    """Payment intents and charges are found by status, amount and what the charge knows."""
    paid = ask.pay(amount=3000, metadata={"order": "42"})
    ask.post("/v1/payment_intents", amount=2000, currency="usd")
    assert ids(ask.get("/v1/payment_intents/search", query="status:'succeeded' AND amount>2500")) == [paid["id"]]
    query = "payment_method_details.card.last4:4242 AND metadata['order']:'42' AND refunded:'false'"
    assert ids(ask.get("/v1/charges/search", query=query)) == [paid["latest_charge"]]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "jenny",
        "email:",
        "email:'a' AND",
        "email:'a' AND name:'b' OR name:'c'",
        "shoe_size:'42'",
        "name~'ab'",
        "name>'abc'",
        "created>soon",
        "(email:'a')",
    ],
)
def test_a_query_that_means_nothing(ask: Asking, query: str) -> None:
    """A query that cannot be understood is refused."""
    status, error = ask.refused("GET", "/v1/customers/search", query=query)
    assert (status, error["param"]) == (400, "query")


@pytest.mark.parametrize("page", ["2", "page_", "page_x", "page_99999999999"])
def test_a_page_of_results_that_there_is_not(ask: Asking, page: str) -> None:
    """A page that no search gave out is refused."""
    status, error = ask.refused("GET", "/v1/customers/search", query="name:'x'", page=page)
    assert (status, error["param"]) == (400, "page")
