"""Search on every kind that Stripe searches, and an index that is behind."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import customer, subscribe


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def ids(ask: Asking, kind: str, query: str) -> list[str]:
    return [row["id"] for row in ask.get(f"/v1/{kind}/search", query=query)["data"]]


def test_billing_is_searched(ask: Asking) -> None:
    """Products, prices, subscriptions and invoices are found by what Stripe's page lists for them."""
    subscription = subscribe(ask, metadata={"order": "42"})
    price = subscription["items"]["data"][0]["price"]
    invoice = ask.get(f"/v1/invoices/{subscription['latest_invoice']}")
    for kind, query, found in (
        ("products", "name~'gol' AND active:'true'", price["product"]),
        ("prices", f"product:'{price['product']}' type:'recurring'", price["id"]),
        ("subscriptions", "status:'active' AND metadata['order']:'42'", subscription["id"]),
        ("subscriptions", "canceled_at:null", subscription["id"]),
        ("invoices", f"subscription:'{subscription['id']}' AND total>=2000", invoice["id"]),
        ("invoices", f"number:'{invoice['number'].lower()}'", invoice["id"]),
        ("charges", "payment_method_details.card.exp_month:8", ask.get("/v1/charges")["data"][0]["id"]),
    ):
        assert ids(ask, kind, query) == [found]
    assert ids(ask, "subscriptions", "-status:'active'") == []


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("customers", "status:'active'"),
        ("subscriptions", "customer:'cus_1'"),
        ("prices", "lookup_key~'gold'"),
        ("invoices", "status~'open'"),
        ("invoices", "total:'much'"),
        ("products", "name>'a'"),
        ("customers", "metadata['order']~'424'"),
        ("customers", "email:'a' name:'b' OR name:'c'"),
    ],
)
def test_queries_that_are_refused(ask: Asking, kind: str, query: str) -> None:
    """Fields that a kind has not, comparisons that a field does not know, and AND with OR are refused."""
    status, error = ask.refused("GET", f"/v1/{kind}/search", query=query)
    assert (status, error["param"]) == (400, "query")


def test_null_is_a_word_only_without_quotes(ask: Asking) -> None:
    """A field without a value is found by null; the same in quotation marks is text."""
    nobody = customer(ask)
    named = ask.post("/v1/customers", name="null")["id"]
    assert ids(ask, "customers", "name:null") == [nobody]
    assert ids(ask, "customers", "name:'null'") == [named]


def test_an_index_that_is_behind(ask: Asking) -> None:
    """With a lag, a new object is not found until then, a changed one as it was, and one that is gone still for a while."""
    old = ask.post("/v1/customers", name="Jenny")["id"]
    ask.sandbox.search_lag = 60
    new = ask.post("/v1/customers", name="Jenny")["id"]
    ask.post(f"/v1/customers/{old}", name="Tom")
    assert ids(ask, "customers", "name:'Jenny'") == [old]
    ask.sandbox.clock.advance(seconds=59)
    assert ids(ask, "customers", "name:'Jenny'") == [old]
    ask.delete(f"/v1/customers/{new}")
    ask.sandbox.clock.advance(seconds=1)
    assert ids(ask, "customers", "name:'Jenny'") == [new]
    assert ids(ask, "customers", "name:'Tom'") == [old]
    ask.sandbox.clock.advance(seconds=60)
    assert ids(ask, "customers", "name:'Jenny'") == []
    ask.sandbox.search_lag = 0
    ask.post("/v1/customers", name="Ann")
    assert len(ids(ask, "customers", "name:'Ann'")) == 1


def test_each_account_has_its_index(ask: Asking) -> None:
    """A search finds what is in its own account."""
    other = Asking(ask.sandbox, account=ask.sandbox.connect().id)
    ask.sandbox.search_lag = 60
    ask.post("/v1/customers", name="Jenny")
    ask.sandbox.clock.advance(seconds=60)
    assert (len(ids(ask, "customers", "name:'Jenny'")), ids(other, "customers", "name:'Jenny'")) == (1, [])


@pytest.mark.parametrize("lag", [-1, 0.5, True, "60"])
def test_a_lag_is_seconds(ask: Asking, lag: Any) -> None:
    """A lag that is no whole number of seconds is refused."""
    with pytest.raises(ConfigurationError, match="whole number"):
        ask.sandbox.search_lag = lag
    assert ask.sandbox.search_lag == 0
