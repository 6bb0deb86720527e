"""Subscriptions, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.service.routes.subscriptions import ChangedSubscription, NewSubscription

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

BASIC = {"customer": "cus_1", "items": [{"price": "price_1"}]}


def _price(visitor: Visitor, amount: int = 1500, **price: Any) -> str:
    product = visitor.post("/products", {"name": "Gold"}).json["id"]
    monthly = {"product": product, "currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}}
    return str(visitor.post("/prices", {**monthly, **price}).json["id"])


def _customer(world: World, visitor: Visitor, card: str = "pm_card_visa") -> tuple[str, str]:
    """A customer, and the card that they pay with."""
    made = str(visitor.post("/customers", {"payment_method": card}).json["id"])
    [method] = world.sandbox.client().customers.payment_methods.list(made).data
    return made, method.id


def _subscribe(visitor: Visitor, **body: Any) -> Any:
    """A subscription of a new customer to a new price, unless *body* has others."""
    if "customer" not in body:
        body["customer"] = visitor.post("/customers").json["id"]
    if "items" not in body:
        body["items"] = [{"price": _price(visitor)}]
    made = visitor.post("/subscriptions", body)
    assert made.status == 201, made.json
    return made.json


def test_a_browser_pays_the_first_invoice(world: World) -> None:
    """The answer to a new subscription holds what a browser pays with, once; the card that paid pays from then on."""
    visitor = world.mount(client=world.client())
    customer, card = _customer(world, visitor)
    made = _subscribe(visitor, customer=customer, items=[{"price": _price(visitor), "quantity": 2}], metadata={"order": "42"})
    assert (made["status"], made["items"]["data"][0]["quantity"], made["metadata"]) == ("incomplete", 2, {"order": "42"})
    assert made["latest_invoice"]["amount_due"] == 3000
    secret = made["latest_invoice"]["confirmation_secret"]["client_secret"]
    payment = secret.partition("_secret_")[0]
    found = visitor.get(f"/subscriptions/{made['id']}")
    assert found.json["latest_invoice"] == made["latest_invoice"]["id"]
    assert secret.encode() not in found.body
    world.sandbox.client().payment_intents.confirm(payment, payment_method=card)
    paid = visitor.get(f"/subscriptions/{made['id']}").json
    assert (paid["status"], paid["default_payment_method"]) == ("active", card)


def test_a_card_that_is_there_is_charged_now(world: World) -> None:
    """With another payment_behavior, the customer's card pays at once."""
    visitor = world.mount(client=world.client())
    customer, card = _customer(world, visitor)
    made = _subscribe(visitor, customer=customer, default_payment_method=card, payment_behavior="error_if_incomplete")
    assert (made["status"], made["default_payment_method"], made["latest_invoice"]["status"]) == ("active", card, "paid")


def test_a_first_payment_that_fails(world: World) -> None:
    """A card that is declined is a problem, and there is no subscription; where it may be incomplete, there is one that says so."""
    visitor = world.mount(client=world.client())
    customer, card = _customer(world, visitor, "pm_card_chargeCustomerFail")
    body = {"customer": customer, "items": [{"price": _price(visitor)}], "default_payment_method": card}
    declined = visitor.post("/subscriptions", {**body, "payment_behavior": "error_if_incomplete"})
    assert (declined.status, declined.kind, declined.json["decline_code"]) == (402, "card_declined", "generic_decline")
    assert visitor.get("/subscriptions?status=all").json["data"] == []
    allowed = visitor.post("/subscriptions", {**body, "payment_behavior": "allow_incomplete"})
    assert (allowed.status, allowed.json["status"]) == (201, "incomplete")


def test_a_trial(visitor: Visitor) -> None:
    """While a trial lasts nothing is due, and the subscription goes on without a card."""
    made = _subscribe(visitor, trial_period_days=14)
    assert made["status"] == "trialing"
    assert made["trial_end"] - made["trial_start"] == 14 * 24 * 60 * 60
    assert (made["latest_invoice"]["amount_due"], made["latest_invoice"]["confirmation_secret"]) == (0, None)


def test_an_invoice_is_sent(visitor: Visitor) -> None:
    """A customer who pays by invoice is charged nothing, and has the subscription at once."""
    made = _subscribe(visitor, collection_method="send_invoice", days_until_due=30)
    assert (made["status"], made["collection_method"], made["days_until_due"]) == ("active", "send_invoice", 30)


def test_it_may_end_with_its_first_period(visitor: Visitor) -> None:
    """A new subscription can be one that is not renewed."""
    made = _subscribe(visitor, trial_period_days=3, cancel_at_period_end=True)
    assert made["cancel_at_period_end"] is True


def test_what_a_new_subscription_says_to_stripe() -> None:
    """A browser pays and its card is kept, unless the body says otherwise; of an invoice that is sent, neither is said."""
    kept = {"payment_behavior": "default_incomplete", "payment_settings": {"save_default_payment_method": "on_subscription"}}
    off = {"payment_settings": {"save_default_payment_method": "off"}}
    sent = {"collection_method": "send_invoice", "days_until_due": 0}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, kept),
        ({"metadata": {}, "trial_period_days": None}, kept),
        (off, {**kept, **off}),
        ({"default_payment_method": "pm_1"}, {"default_payment_method": "pm_1", "payment_behavior": "default_incomplete"}),
        (sent, sent),
    ]
    for given, said in cases:
        assert NewSubscription.model_validate({**BASIC, **given}).params() == {**BASIC, **said}


def test_lists_go_on(world: World) -> None:
    """Every subscription is on exactly one page; those of one customer, price or status are found, ended ones if asked for."""
    visitor = world.mount(client=world.client())
    jenny, jo = (visitor.post("/customers").json["id"] for _ in range(2))
    gold, silver = _price(visitor), _price(visitor, 500)

    def found(**asked: str) -> list[str]:
        ids: list[str] = []
        cursor = ""
        while cursor is not None:
            page = visitor.get("/subscriptions", params={"limit": "2", **asked, **({"cursor": cursor} if cursor else {})}).json
            assert page["has_more"] is (page["next_cursor"] is not None)
            ids += [one["id"] for one in page["data"]]
            cursor = page["next_cursor"]
        return ids

    one, two, three, ended = (
        _subscribe(visitor, customer=customer, items=[{"price": price}], **trial)["id"]
        for customer, price, trial in (
            (jenny, gold, {"trial_period_days": 3}),
            (jenny, silver, {}),
            (jo, gold, {"trial_period_days": 3}),
            (jo, silver, {"trial_period_days": 3}),
        )
    )
    assert visitor.delete(f"/subscriptions/{ended}").status == 200
    assert found() == [three, two, one]
    assert found(status="all") == [ended, three, two, one]
    assert found(status="ended") == found(status="canceled") == [ended]
    assert found(status="trialing") == [three, one]
    assert found(status="incomplete", customer=jenny) == [two]
    assert found(customer=jenny) == [two, one]
    assert found(customer=jo, status="all") == [ended, three]
    assert found(price=gold) == [three, one]


def test_items_change(visitor: Visitor) -> None:
    """An item gets another price or quantity, another comes beside it, and one goes."""
    gold, silver, bronze = (_price(visitor, amount) for amount in (1500, 1000, 500))
    made = _subscribe(visitor, items=[{"price": gold}, {"price": bronze}], trial_period_days=3)
    first, second = (item["id"] for item in made["items"]["data"])
    changes = [{"id": first, "price": silver, "quantity": 3}, {"id": second, "deleted": True}, {"price": gold}]
    changed = visitor.post(f"/subscriptions/{made['id']}", {"items": changes, "proration_behavior": "none"})
    assert changed.status == 200, changed.json
    items = [(item["price"]["id"], item["quantity"]) for item in changed.json["items"]["data"]]
    assert items == [(silver, 3), (gold, 1)]
    more = visitor.post(f"/subscriptions/{made['id']}", {"items": [{"id": first, "quantity": 5}]}).json
    assert [item["quantity"] for item in more["items"]["data"]] == [5, 1]


def test_what_is_not_there_stays(world: World) -> None:
    """A change touches what is in it and nothing else; null clears the card and the metadata."""
    visitor = world.mount(client=world.client())
    customer, card = _customer(world, visitor)
    made = _subscribe(visitor, customer=customer, trial_period_days=3, metadata={"order": "42", "source": "shop"})
    path = f"/subscriptions/{made['id']}"
    before = visitor.get(path).json
    assert visitor.post(path, {}).json == before
    assert visitor.post(path, {"metadata": {}}).json == before
    changed = visitor.post(path, {"default_payment_method": card, "metadata": {"order": None, "a": "1"}}).json
    assert changed == {**before, "default_payment_method": card, "metadata": {"source": "shop", "a": "1"}}
    cleared = visitor.post(path, {"default_payment_method": None, "metadata": None}).json
    assert cleared == {**before, "metadata": {}}
    assert visitor.get(path).json == cleared


def test_what_a_change_says_to_stripe() -> None:
    """What is cleared is an empty text, and what is not there is not said."""
    change = {"default_payment_method": None, "metadata": {"a": None}, "items": [{"id": "si_1", "deleted": True}]}
    said = {"default_payment_method": "", "metadata": {"a": ""}, "items": [{"id": "si_1", "deleted": True}]}
    assert ChangedSubscription.model_validate(change).params() == said
    assert ChangedSubscription.model_validate({}).params() == {}


def test_it_ends_now(visitor: Visitor) -> None:
    """A subscription that is ended now stays to be seen, and can be ended or changed no more."""
    made = _subscribe(visitor, trial_period_days=3)["id"]
    ended = visitor.delete(f"/subscriptions/{made}", params={"prorate": "false", "invoice_now": "false"})
    assert (ended.status, ended.json["status"]) == (200, "canceled")
    assert visitor.get(f"/subscriptions/{made}").json["status"] == "canceled"
    path = f"/subscriptions/{made}"
    for answer in (
        visitor.delete(path),
        visitor.delete(f"{path}?at_period_end=true"),
        visitor.post(path, {"metadata": {"a": "1"}}),
    ):
        assert (answer.status, answer.kind) == (404, "not_found")


def test_it_ends_with_its_period(visitor: Visitor) -> None:
    """A subscription that ends with its period goes on until then, and after all if that is called off."""
    made = _subscribe(visitor, trial_period_days=3)["id"]
    ending = visitor.delete(f"/subscriptions/{made}?at_period_end=true")
    assert (ending.status, ending.json["status"], ending.json["cancel_at_period_end"]) == (200, "trialing", True)
    kept = visitor.post(f"/subscriptions/{made}", {"cancel_at_period_end": False})
    assert (kept.status, kept.json["cancel_at_period_end"]) == (200, False)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("at_period_end=true&invoice_now=true", "invoice_now"),
        ("prorate=false&at_period_end=true", "prorate"),
        ("at_period_end=later", "at_period_end"),
        ("now=true", "now"),
    ],
)
def test_an_end_that_nobody_can_mean(visitor: Visitor, query: str, parameter: str) -> None:
    """Invoices and credits go with an end now; a question that is wrong ends nothing."""
    made = _subscribe(visitor, trial_period_days=3)["id"]
    answer = visitor.delete(f"/subscriptions/{made}?{query}")
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]
    found = visitor.get(f"/subscriptions/{made}").json
    assert (found["status"], found["cancel_at_period_end"]) == ("trialing", False)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"customer": None}, "/customer"),
        ({"customer": "sub_1"}, "/customer"),
        ({"customer": "cus_1/../x"}, "/customer"),
        ({"items": None}, "/items"),
        ({"items": []}, "/items"),
        ({"items": {"price": "price_1"}}, "/items"),
        ({"items": [{"price": f"price_{number}"} for number in range(21)]}, "/items"),
        ({"items": [{"price": "price_1"}, {"price": "price_1"}]}, ""),
        ({"items": [{"price": "price_1", "quantity": 0}]}, "/items/0/quantity"),
        ({"items": [{"price": "price_1", "quantity": 1.0}]}, "/items/0/quantity"),
        ({"items": [{"price": "price_1", "quantity": "2"}]}, "/items/0/quantity"),
        ({"items": [{"price": "price_1"}, {"quantity": 2}]}, "/items/1/price"),
        ({"items": [{"price": "price_1", "plan": "gold"}]}, "/items/0/plan"),
        ({"default_payment_method": "4242424242424242"}, "/default_payment_method"),
        ({"trial_period_days": 0}, "/trial_period_days"),
        ({"trial_period_days": -1}, "/trial_period_days"),
        ({"trial_period_days": 14.0}, "/trial_period_days"),
        ({"trial_period_days": 731}, "/trial_period_days"),
        ({"cancel_at_period_end": "true"}, "/cancel_at_period_end"),
        ({"payment_behavior": "pending_if_incomplete"}, "/payment_behavior"),
        ({"payment_settings": {}}, "/payment_settings/save_default_payment_method"),
        ({"collection_method": "invoice"}, "/collection_method"),
        ({"collection_method": "send_invoice"}, ""),
        ({"days_until_due": 30}, ""),
        ({"days_until_due": -1}, "/days_until_due"),
        ({"collection_method": "send_invoice", "days_until_due": 30, "payment_behavior": "default_incomplete"}, ""),
        ({"collection_method": "send_invoice", "days_until_due": 30, "default_payment_method": "pm_1"}, ""),
        ({"metadata": {"note": "x" * 501}}, "/metadata/note"),
        ({"metadata": {f"n{number}": "x" for number in range(51)}}, "/metadata"),
        ({"trial_days": 14}, "/trial_days"),
        ([], ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_input_never_reaches_stripe(visitor: Visitor, body: Any, pointer: str) -> None:
    """What Stripe would refuse or misread is refused with where it stands."""
    answer = visitor.post("/subscriptions", {**BASIC, **body} if isinstance(body, dict) else body)
    # Stripe would say that there is no such customer.
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert pointer in {error["pointer"] for error in answer.json["errors"]}


def test_wrong_changes_never_reach_stripe(visitor: Visitor) -> None:
    """A change that Stripe would read in another way than it was meant is refused, and all stays as it was."""
    made = _subscribe(visitor, trial_period_days=3)
    item, price = made["items"]["data"][0]["id"], made["items"]["data"][0]["price"]["id"]
    path = f"/subscriptions/{made['id']}"
    before = visitor.get(path).json
    wrong: list[tuple[Any, str]] = [
        ({"items": None}, "/items"),
        ({"items": []}, "/items"),
        ({"items": [{}]}, "/items/0"),
        ({"items": [{"id": item}]}, "/items/0"),
        ({"items": [{"quantity": 2}]}, "/items/0"),
        ({"items": [{"deleted": True}]}, "/items/0"),
        ({"items": [{"id": item, "price": price}]}, "/items/0"),
        ({"items": [{"id": item, "deleted": False}]}, "/items/0"),
        ({"items": [{"id": item, "deleted": 1}]}, "/items/0/deleted"),
        ({"items": [{"id": item, "deleted": True, "quantity": 2}]}, "/items/0"),
        ({"items": [{"id": item, "quantity": None}]}, "/items/0/quantity"),
        ({"items": [{"id": item, "quantity": 2.0}]}, "/items/0/quantity"),
        ({"items": [{"id": "sub_1", "quantity": 2}]}, "/items/0/id"),
        ({"items": [{"id": item, "quantity": 2}, {"id": item, "deleted": True}]}, ""),
        ({"items": [{"price": f"price_{number}"} for number in range(21)]}, "/items"),
        ({"cancel_at_period_end": None}, "/cancel_at_period_end"),
        ({"cancel_at_period_end": 1}, "/cancel_at_period_end"),
        ({"default_payment_method": ""}, "/default_payment_method"),
        ({"proration_behavior": "none"}, ""),
        ({"payment_behavior": "error_if_incomplete"}, ""),
        ({"items": [{"id": item, "quantity": 2}], "proration_behavior": "never"}, "/proration_behavior"),
        ({"items": [{"id": item, "quantity": 2}], "proration_behavior": None}, "/proration_behavior"),
        ({"items": [{"id": item, "quantity": 2}], "payment_behavior": "pending_if_incomplete"}, "/payment_behavior"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"customer": "cus_1"}, "/customer"),
        ({"trial_end": "now"}, "/trial_end"),
    ]
    for body, pointer in wrong:
        answer = visitor.post(path, body)
        assert (answer.status, answer.kind) == (422, "invalid_input"), body
        assert pointer in {error["pointer"] for error in answer.json["errors"]}, body
    assert visitor.get(path).json == before


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=cancelled", "status"),
        ("customer=sub_1", "customer"),
        ("price=gold/1", "price"),
        ("limit=0", "limit"),
        ("plan=gold", "plan"),
    ],
)
def test_wrong_questions(visitor: Visitor, query: str, parameter: str) -> None:
    """A list is asked for with known parameters and Stripe's own words for statuses."""
    answer = visitor.get(f"/subscriptions?{query}")
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


@pytest.mark.parametrize("identity", ["sub_unknown", "cus_1", "sub_1%2F..%2F", "sub_.."])
def test_there_is_no_such_subscription(visitor: Visitor, identity: str) -> None:
    """An id of no subscription, and what is no id at all, is not found."""
    path = f"/subscriptions/{identity}"
    for answer in (visitor.get(path), visitor.post(path, {"metadata": {"a": "1"}}), visitor.delete(path)):
        assert answer.status == 404


def test_what_stripe_refuses(visitor: Visitor) -> None:
    """A price that is paid once, and a change of what has not been paid yet, come back as Stripe's refusal with its parameter."""
    customer, once = visitor.post("/customers").json["id"], _price(visitor, recurring=None)
    refused = visitor.post("/subscriptions", {"customer": customer, "items": [{"price": once}]})
    assert (refused.status, refused.kind, refused.json["param"]) == (400, "invalid_request", "items[0][price]")
    incomplete = _subscribe(visitor)["id"]
    early = visitor.delete(f"/subscriptions/{incomplete}?at_period_end=true")
    assert (early.status, early.kind, early.json["param"]) == (400, "invalid_request", "cancel_at_period_end")


def test_the_idempotency_key_is_passed_on(visitor: Visitor) -> None:
    """The same request under the same key is one subscription with one secret, and another request under it is refused."""
    key = {"Idempotency-Key": "order-42"}
    body = {"customer": visitor.post("/customers").json["id"], "items": [{"price": _price(visitor)}]}
    first, again = (visitor.post("/subscriptions", body, headers=key).json for _ in range(2))
    assert first == again
    assert first["latest_invoice"]["confirmation_secret"]["client_secret"]
    other = visitor.post("/subscriptions", {**body, "trial_period_days": 3}, headers=key)
    assert (other.status, other.kind) == (409, "idempotency_key_reused")
    changed = visitor.post(f"/subscriptions/{first['id']}", {"metadata": {"a": "1"}}, headers=key)
    assert (changed.status, changed.kind) == (409, "idempotency_key_reused")
