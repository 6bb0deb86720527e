"""Invoices, checkout and portal sessions, and setup intents, in both frameworks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import SHOES, customer, look, monthly, press, subscribe

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
DONE = "https://shop.example/done?session={CHECKOUT_SESSION_ID}"
PAYMENT: dict[str, Any] = {"mode": "payment", "success_url": DONE, "line_items": [SHOES]}
SUBSCRIPTION: dict[str, Any] = {
    **PAYMENT,
    "mode": "subscription",
    "line_items": [{**SHOES, "price_data": {**SHOES["price_data"], "recurring": {"interval": "month"}}}],
}
SETUP: dict[str, Any] = {"mode": "setup", "success_url": DONE, "currency": "usd"}
PORTAL = {"customer": "cus_1", "return_url": "https://shop.example/"}


def items(**price_data: Any) -> dict[str, Any]:
    """Return what replaces the items of a session: shoes at another price."""
    return {"line_items": [{**SHOES, "price_data": {**SHOES["price_data"], **price_data}}]}


@pytest.fixture
def ask(world: World) -> Asking:
    """Somebody who asks the sandbox itself."""
    return Asking(world.sandbox)


def test_invoices(ask: Asking, visitor: Visitor) -> None:
    """An invoice is found by itself and in lists, by its customer, its subscription and its status, and comes as Stripe has it."""
    first, second = subscribe(ask), subscribe(ask, collection_method="send_invoice", days_until_due=7)
    paid, draft = first["latest_invoice"], second["latest_invoice"]
    found = visitor.get(f"/invoices/{paid}")
    assert (found.status, found.json["status"], found.json["total"], found.json["currency"]) == (200, "paid", 2000, "usd")
    assert found.json["hosted_invoice_url"].startswith("https://")
    for query, ids in (
        ("", [draft, paid]),
        ("?status=paid", [paid]),
        ("?status=void", []),
        (f"?customer={second['customer']}", [draft]),
        (f"?subscription={first['id']}", [paid]),
        (f"?subscription={first['id']}&customer={second['customer']}", []),
    ):
        page = visitor.get(f"/invoices{query}").json
        assert [one["id"] for one in page["data"]] == ids
        assert (page["has_more"], page["next_cursor"]) == (False, None)


def test_pages_of_invoices(ask: Asking, visitor: Visitor) -> None:
    """Every invoice is on exactly one page, and the last page leads nowhere."""
    made = [subscribe(ask)["latest_invoice"] for _ in range(3)]
    found, cursor = list[str](), ""
    while cursor is not None:
        page = visitor.get("/invoices?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        found += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]


def test_no_invoice_brings_the_secret_of_its_payment(world: World, ask: Asking, visitor: Visitor) -> None:
    """What confirms an invoice's payment in a browser is in no answer."""
    waiting = subscribe(ask, payment_behavior="default_incomplete")["latest_invoice"]
    assert ask.get(f"/v1/invoices/{waiting}", expand=["confirmation_secret"])["confirmation_secret"]
    for path in (f"/invoices/{waiting}", "/invoices"):
        assert b"_secret" not in visitor.get(path).body


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=late", "status"),
        ("customer=cus_1/../x", "customer"),
        ("customer=", "customer"),
        ("subscription=in_1", "subscription"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=a-b", "cursor"),
        ("statsu=paid", "statsu"),
        ("status=paid&status=open", "status"),
    ],
)
def test_wrong_filters(visitor: Visitor, query: str, parameter: str) -> None:
    """A filter that Stripe would misread or not know is refused by name."""
    answer = visitor.get(f"/invoices?{query}")
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


def test_the_pdf_of_an_invoice(world: World, ask: Asking, visitor: Visitor) -> None:
    """A browser is sent to Stripe's file, a script gets where it is, and it is the same."""
    path = f"/invoices/{subscribe(ask)['latest_invoice']}/pdf"
    told, sent = visitor.get(path), visitor.get(path, headers=BROWSER)
    assert (told.status, sent.status) == (200, 302)
    assert told.json == {"url": sent.headers["location"]}
    assert look(world.sandbox, told.json["url"]).status_code == 200
    fetched = visitor.get(path, headers={**BROWSER, "Sec-Fetch-Mode": "cors"})
    assert (fetched.status, fetched.json) == (200, told.json)


@pytest.mark.parametrize(("headers", "status"), [({}, 200), (BROWSER, 302)], ids=["script", "browser"])
def test_a_draft_has_no_pdf(world: World, ask: Asking, visitor: Visitor, headers: dict[str, str], status: int) -> None:
    """Before an invoice is final there is no file: a conflict, which ends when Stripe has made it."""
    draft = subscribe(ask, collection_method="send_invoice", days_until_due=7)["latest_invoice"]
    answer = visitor.get(f"/invoices/{draft}/pdf", headers=headers)
    assert (answer.status, answer.kind) == (409, "no_pdf")
    world.sandbox.clock.advance(hours=1)
    assert visitor.get(f"/invoices/{draft}/pdf", headers=headers).status == status


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://pay.example/\r\nSet-Cookie: a=b", "https://pay.example/é", 1, ""])
def test_a_browser_is_not_sent_just_anywhere(world: World, visitor: Visitor, url: Any) -> None:
    """Where Stripe names no place that a browser can be sent to, it is a failure of Stripe's, and no header is made of it."""
    body = json.dumps({"id": "in_1", "object": "invoice", "invoice_pdf": url}).encode()
    world.sandbox.faults.next(body=body)
    answer = visitor.get("/invoices/in_1/pdf", headers=BROWSER)
    assert (answer.status, answer.kind) == (502, "stripe_failed")
    assert not {"location", "set-cookie"} & set(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/invoices/in_gone",
        "/invoices/in_gone/pdf",
        "/checkout/sessions/cs_test_gone",
        "/setup-intents/seti_gone",
        "/invoices/cus_1",
    ],
)
def test_what_is_not_there(visitor: Visitor, path: str) -> None:
    """An object that does not exist, or is of another kind, is a 404; and nobody asks without saying who they are."""
    answer = visitor.get(path)
    assert (answer.status, answer.kind) == (404, "not_found")
    assert visitor.get(path, user=None).status == 401


@pytest.mark.parametrize("body", [PAYMENT, SUBSCRIPTION, SETUP], ids=lambda body: str(body["mode"]))
def test_a_checkout_session(world: World, visitor: Visitor, body: Any) -> None:
    """Its page leads a customer to the end, and the session then says so; it keeps the shop's own reference and metadata."""
    body = {**body, "client_reference_id": "cart-42", "metadata": {"order": "42"}, "customer_email": "jenny@example.com"}
    made = visitor.post("/checkout/sessions", {**body, "cancel_url": "https://shop.example/cart"})
    assert made.status == 201, made.body
    assert (made.json["mode"], made.json["status"], made.json["success_url"]) == (body["mode"], "open", DONE)
    assert (made.json["client_reference_id"], made.json["metadata"]) == ("cart-42", {"order": "42"})
    assert made.json["amount_total"] == (None if body["mode"] == "setup" else 1800)
    found = visitor.get(f"/checkout/sessions/{made.json['id']}")
    assert (found.status, found.json["url"]) == (200, made.json["url"])
    assert "client_secret" in made.json.keys() - found.json.keys()
    paid = press(world.sandbox, made.json["url"], "pay")
    assert paid.headers["location"] == f"https://shop.example/done?session={made.json['id']}"
    assert visitor.get(f"/checkout/sessions/{made.json['id']}").json["status"] == "complete"


def test_a_session_for_a_customer_and_a_price(ask: Asking, visitor: Visitor) -> None:
    """A session can be of prices and for a customer that exist."""
    buyer = customer(ask)
    line_items = [{"price": monthly(ask), "quantity": 3}]
    made = visitor.post("/checkout/sessions", {**SUBSCRIPTION, "line_items": line_items, "customer": buyer})
    assert (made.status, made.json["customer"], made.json["amount_total"]) == (201, buyer, 6000)
    product = ask.post("/v1/products", name="Boots")["id"]
    price_data = {"currency": "usd", "unit_amount": 500, "product": product}
    made = visitor.post("/checkout/sessions", {**PAYMENT, "line_items": [{"price_data": price_data, "quantity": 1}]})
    assert (made.status, made.json["amount_total"]) == (201, 500)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/checkout/sessions", {**PAYMENT, "allow_promotion_codes": True}, "allow_promotion_codes"),
        ("/billing-portal/sessions", {**PORTAL, "configuration": "bpc_1"}, "configuration"),
    ],
    ids=["allow_promotion_codes", "configuration"],
)
def test_what_the_sandbox_has_not_is_passed_on(
    visitor: Visitor, caplog: pytest.LogCaptureFixture, path: str, body: Any, name: str
) -> None:
    """These reach Stripe as they are: the sandbox names them as what it cannot do."""
    answer = visitor.post(path, body)
    assert (answer.status, answer.kind) == (400, "sandbox_unsupported")
    assert f"The parameter {name} of POST" in caplog.text


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"mode": "rent"}, "/mode"),
        ({"mode": None}, "/mode"),
        ({"success_url": None}, "/success_url"),
        ({"success_url": "javascript:alert(1)"}, "/success_url"),
        ({"success_url": "/done"}, "/success_url"),
        ({"cancel_url": "https://shop.example/a b"}, "/cancel_url"),
        ({"line_items": None}, ""),
        ({"line_items": []}, "/line_items"),
        ({"line_items": [SHOES] * 101}, "/line_items"),
        ({"line_items": SHOES}, "/line_items"),
        ({"line_items": [{"quantity": 1}]}, "/line_items/0"),
        ({"line_items": [SHOES, {**SHOES, "price": "price_1"}]}, "/line_items/1"),
        ({"line_items": [{"price_data": SHOES["price_data"]}]}, "/line_items/0"),
        ({"line_items": [{"price": "price 1", "quantity": 1}]}, "/line_items/0/price"),
        ({"line_items": [{"price": "price_1", "quantity": 0}]}, "/line_items/0/quantity"),
        ({"line_items": [{"price": "price_1", "quantity": 1.5}]}, "/line_items/0/quantity"),
        ({"line_items": [{"price": "price_1", "quantity": "1"}]}, "/line_items/0/quantity"),
        ({"line_items": [{"price": "price_1", "quantity": True}]}, "/line_items/0/quantity"),
        (items(unit_amount=9.5), "/line_items/0/price_data/unit_amount"),
        (items(unit_amount="900"), "/line_items/0/price_data/unit_amount"),
        (items(unit_amount=-1), "/line_items/0/price_data/unit_amount"),
        (items(unit_amount=10**15), "/line_items/0/price_data/unit_amount"),
        (items(currency="zzz"), "/line_items/0/price_data/currency"),
        (items(currency="isk", unit_amount=901), "/line_items/0/price_data"),
        (items(product="prod_1"), "/line_items/0/price_data"),
        (items(product_data=None), "/line_items/0/price_data"),
        (items(product_data={"name": ""}), "/line_items/0/price_data/product_data/name"),
        (items(product_data={"name": "Shoes", "nmae": "x"}), "/line_items/0/price_data/product_data/nmae"),
        (items(recurring={"interval": "month"}), ""),
        (items(recurring={"interval": "hour"}), "/line_items/0/price_data/recurring/interval"),
        (items(recurring={"interval": "year", "interval_count": 4}), "/line_items/0/price_data/recurring"),
        (items(recurring={"interval": "day", "interval_count": 0}), "/line_items/0/price_data/recurring/interval_count"),
        ({"line_items": [SHOES, *items(currency="eur")["line_items"]]}, ""),
        ({"currency": "eur"}, ""),
        ({"mode": "subscription"}, ""),
        ({"mode": "subscription", "line_items": [{"price": "price_1", "quantity": 1}] * 41}, ""),
        ({"mode": "subscription", "line_items": SUBSCRIPTION["line_items"] * 21}, ""),
        ({"mode": "subscription", "line_items": [{"price": "price_1", "quantity": 1}, *[SHOES] * 21]}, ""),
        ({"mode": "setup", "currency": "usd"}, ""),
        ({"mode": "setup", "line_items": None}, ""),
        ({"mode": "setup", "line_items": None, "currency": "usd", "allow_promotion_codes": True}, ""),
        ({"customer": "cus_1", "customer_email": "jenny@example.com"}, ""),
        ({"customer": "jenny"}, "/customer"),
        ({"customer_email": "jenny"}, "/customer_email"),
        ({"client_reference_id": "a" * 201}, "/client_reference_id"),
        ({"client_reference_id": ""}, "/client_reference_id"),
        ({"allow_promotion_codes": "yes"}, "/allow_promotion_codes"),
        ({"metadata": {"order": 42}}, "/metadata/order"),
        ({"payment_method_types": ["card"]}, "/payment_method_types"),
    ],
)
def test_wrong_sessions_never_reach_stripe(world: World, visitor: Visitor, changes: dict[str, Any], pointer: str) -> None:
    """Each mistake is refused with where it stands, and no session is made."""
    body = {name: value for name, value in {**PAYMENT, **changes}.items() if value is not None}
    answer = visitor.post("/checkout/sessions", body)
    assert (answer.status, answer.kind) == (422, "invalid_input"), answer.body
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert Asking(world.sandbox).get("/v1/checkout/sessions")["data"] == []


def test_what_only_stripe_can_know(visitor: Visitor) -> None:
    """A price that does not exist is Stripe's to refuse; the problem says which parameter it is."""
    refused = visitor.post("/checkout/sessions", {**PAYMENT, "line_items": [{"price": "price_gone", "quantity": 1}]})
    assert refused.status in {400, 404}
    assert refused.json["param"] == "line_items[0][price]"


def test_the_portal(world: World, ask: Asking, visitor: Visitor) -> None:
    """A customer gets a page of their own."""
    buyer = customer(ask)
    made = visitor.post("/billing-portal/sessions", {**PORTAL, "customer": buyer})
    assert (made.status, made.json["customer"], made.json["return_url"]) == (201, buyer, "https://shop.example/")
    assert look(world.sandbox, made.json["url"]).status_code == 200
    unknown = visitor.post("/billing-portal/sessions", PORTAL)
    assert unknown.status in {400, 404}
    assert unknown.json["param"] == "customer"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"customer": None}, "/customer"),
        ({"customer": "sub_1"}, "/customer"),
        ({"return_url": None}, "/return_url"),
        ({"return_url": "shop.example"}, "/return_url"),
        ({"configuration": "default"}, "/configuration"),
        ({"flow_data": {}}, "/flow_data"),
    ],
)
def test_wrong_portal_sessions(visitor: Visitor, changes: dict[str, Any], pointer: str) -> None:
    """Each mistake is refused with where it stands."""
    body = {name: value for name, value in {**PORTAL, **changes}.items() if value is not None}
    answer = visitor.post("/billing-portal/sessions", body)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_a_setup_intent(ask: Asking, visitor: Visitor) -> None:
    """Whoever makes one gets the secret that a browser confirms it with, and later nobody does."""
    buyer = customer(ask)
    made = visitor.post("/setup-intents", {"customer": buyer, "usage": "on_session", "description": "Card", "metadata": {"a": "b"}})
    assert (made.status, made.json["status"], made.json["customer"]) == (201, "requires_payment_method", buyer)
    assert (made.json["usage"], made.json["description"], made.json["metadata"]) == ("on_session", "Card", {"a": "b"})
    assert made.json["automatic_payment_methods"]["enabled"] is True
    assert made.json["client_secret"].startswith(made.json["id"])
    found = visitor.get(f"/setup-intents/{made.json['id']}")
    assert (found.status, found.json) == (200, {name: value for name, value in made.json.items() if name != "client_secret"})
    named = visitor.post("/setup-intents", {"payment_method": "pm_card_visa"}).json
    assert (named["status"], named["usage"]) == ("requires_confirmation", "off_session")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"customer": "jenny"}, "/customer"),
        ({"payment_method": "4242424242424242"}, "/payment_method"),
        ({"usage": "always"}, "/usage"),
        ({"description": ""}, "/description"),
        ({"metadata": {"a[b]": "c"}}, "/metadata"),
        ({"confirm": True}, "/confirm"),
        ([], ""),
    ],
)
def test_wrong_setup_intents(visitor: Visitor, body: Any, pointer: str) -> None:
    """Each mistake is refused with where it stands."""
    answer = visitor.post("/setup-intents", body)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "body"), [("/checkout/sessions", PAYMENT), ("/setup-intents", {}), ("/billing-portal/sessions", PORTAL)]
)
def test_the_idempotency_key_is_passed_on(ask: Asking, visitor: Visitor, path: str, body: Any) -> None:
    """The same request under the same key is one object, and another request under it is refused."""
    body = {**body, "customer": customer(ask)}
    key = {"Idempotency-Key": "order-42"}
    first, again = (visitor.post(path, body, headers=key) for _ in range(2))
    assert (first.status, first.json) == (201, again.json)
    other = visitor.post(path, {**body, "customer": customer(ask)}, headers=key)
    assert (other.status, other.kind) == (409, "idempotency_key_reused")
