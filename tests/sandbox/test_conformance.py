"""The sandbox against Stripe's own descriptions: its objects, operations, parameters and expandable fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.testing import StripeSandbox, resources
from atom_stripe.testing._state import known
from atom_stripe.testing._state.params import Choice, Either, Hash, ListOf
from tests.sandbox.asking import NO_REDIRECTS, Asking
from tests.sandbox.billing_world import billing_world
from tests.sandbox.stripe_document import annotations, classes, mistakes, part_of, schemas

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Mapping

CATALOG = resources.catalog()


def world() -> list[dict[str, Any]]:
    """Return at least one object of every kind, in as many states as there are."""
    heard: list[dict[str, Any]] = []
    with StripeSandbox() as sandbox:
        for connect in (False, True):
            sandbox.webhooks.deliver_to(lambda body, _: heard.append(json.loads(body)), connect=connect)
        ask = Asking(sandbox)
        address = {"line1": "1 Main Street", "city": "Springfield", "postal_code": "12345", "country": "US"}
        customer = ask.post(
            "/v1/customers",
            email="jenny@example.com",
            address=address,
            shipping={"name": "Jenny", "address": address},
            payment_method="pm_card_visa",
            metadata={"order": "42"},
        )
        ask.post(f"/v1/customers/{customer['id']}", name="Jenny Rosen", individual_name="Jenny", business_name="Rosen")
        paid = ask.pay(customer=customer["id"], setup_future_usage="off_session", shipping={"name": "Jenny", "address": address})
        ask.post("/v1/refunds", payment_intent=paid["id"], amount=700, reason="requested_by_customer")
        ask.post(f"/v1/charges/{paid['latest_charge']}", fraud_details={"user_report": "safe"}, description="Shoes")
        held = ask.pay(capture_method="manual", payment_method_options={"card": {"request_three_d_secure": "any"}})
        ask.post(f"/v1/payment_intents/{held['id']}/capture", amount_to_capture=900)
        ask.post(f"/v1/payment_intents/{ask.pay(capture_method='manual')['id']}/cancel")
        ask.pay(capture_method="manual")
        asked = ask.pay(payment_method="pm_card_authenticationRequired")
        sandbox.complete_action(asked["id"])
        sandbox.complete_action(ask.pay(payment_method="pm_card_authenticationRequired")["id"], "failed")
        for card in ("pm_card_visa_chargeDeclined", "pm_card_radarBlock", "pm_card_chargeDeclinedExpiredCard"):
            ask.refused("POST", "/v1/payment_intents", amount=2000, currency="usd", payment_method=card, **NO_REDIRECTS)
        redirecting = {"automatic_payment_methods": {"enabled": True}, "return_url": "https://shop.test/"}
        ask.pay(payment_method="pm_card_threeDSecure2Required", **redirecting)
        ask.post("/v1/payment_intents", amount=2000, currency="jpy", automatic_payment_methods={"enabled": False})
        ask.post("/v1/webhook_endpoints", url="http://127.0.0.1:1/", enabled_events=["charge.failed"])
        account = sandbox.connect()
        Asking(sandbox, account=account.id).pay(application_fee_amount=100)
        fees = f"application_fees/{ask.get('/v1/application_fees')['data'][0]['id']}/refunds"
        ask.post(f"/v1/{fees}", amount=30)
        wanted = {"card_payments": {"requested": True}}
        made = [ask.post("/v1/accounts", type=name, capabilities=wanted) for name in ("custom", "express", "standard")]
        address_of_shop = dict.fromkeys(("refresh_url", "return_url"), "https://shop.test/")
        link = ask.post("/v1/account_links", account=made[0]["id"], type="account_update", **address_of_shop)
        ask.post(f"/v1/accounts/{made[0]['id']}", business_profile={"support_address": address}, email="jenny@example.com")
        capabilities = f"/v1/accounts/{made[0]['id']}/capabilities"
        ask.post(f"{capabilities}/transfers", requested=True)
        gone = ask.delete(f"/v1/accounts/{made[2]['id']}")
        billing = billing_world(sandbox, ask)
        sandbox.clock.advance(days=8)
        ask.delete(f"/v1/customers/{ask.post('/v1/customers')['id']}")
        lists = [
            "customers",
            "payment_intents",
            "charges",
            "refunds",
            "balance_transactions",
            "webhook_endpoints",
            "application_fees",
            fees,
            "accounts",
        ]
        lists += ["customers/" + customer["id"] + "/payment_methods", "events"]
        objects = [entry for name in lists for entry in ask.get(f"/v1/{name}", limit=100)["data"]]
        objects += [ask.get(f"/v1/payment_methods/{paid['payment_method']}"), ask.get("/v1/balance"), ask.get("/v1/account")]
        objects += [*billing, *made, link, gone, *ask.get(capabilities)["data"]]
    return objects + heard + [event["data"]["object"] for event in heard]


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return world()


def named(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in objects:
        yield f"deleted_{row['object']}" if row.get("deleted") else row["object"], row


def test_the_world_has_every_kind(objects: list[dict[str, Any]]) -> None:
    """The objects that are compared below are of every kind that the sandbox has."""
    assert {row["object"] for row in objects} == set(CATALOG.kinds)


def test_objects_fit_the_openapi_document(objects: list[dict[str, Any]]) -> None:
    """Every object has the fields that Stripe's document requires, with its types and words."""
    wrong = {mistake for name, row in named(objects) for mistake in mistakes(row, schemas()[name], name)}
    assert sorted(wrong) == []


def unlike(row: dict[str, Any], cls: ast.ClassDef, where: str) -> Iterator[str]:
    """Yield the fields that stripe's class does not have, and those that it has without ``Optional`` and *row* has not."""
    fields = annotations(cls)
    for name, value in row.items():
        if name not in fields:
            yield f"{where}.{name} is not Stripe's"
        elif isinstance(value, dict) and (part := part_of(cls, fields[name])):
            yield from unlike(value, part, f"{where}.{name}")
    for name, annotation in fields.items():
        if not annotation.startswith("Optional[") and row.get(name) is None:
            yield f"{where}.{name} is missing"


def test_objects_fit_the_classes_of_stripes_library(objects: list[dict[str, Any]]) -> None:
    """Every field is one of the official library's, at every depth, and those that it has without Optional are there."""
    wrong = {
        mistake for row in objects if not row.get("deleted") for mistake in unlike(row, classes()[row["object"]], row["object"])
    }
    assert sorted(wrong) == []


def test_objects_are_whole(objects: list[dict[str, Any]]) -> None:
    """No answer and no event shows a field that is the sandbox's own."""

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name, entry in value.items():
                yield name
                yield from inside(entry)
        elif isinstance(value, list):
            for entry in value:
                yield from inside(entry)

    assert [name for row in objects for name in inside(row) if name.startswith("_")] == []


@pytest.mark.parametrize("route", CATALOG.routes, ids=lambda route: route.name)
def test_operations_are_stripes(route: Any) -> None:
    """Every operation exists at Stripe, every parameter is one of it, and none that Stripe requires is optional."""
    assert route.name in known.operations()
    unknown = [path for path, _ in parameters(route.takes) if known.parameter(route.name, path) is None]
    assert [path for path in unknown if path[:2] not in _UNDOCUMENTED] == []
    needed = {name for name, annotation in known.operations()[route.name].__annotations__.items() if "Required[" in str(annotation)}
    assert needed <= {name for name, kind in route.takes.items() if kind.required}


@pytest.mark.parametrize("route", CATALOG.routes, ids=lambda route: route.name)
def test_words_are_stripes(route: Any) -> None:
    """A parameter that takes some words takes all of Stripe's, or refuses the others by name."""
    for path, kind in parameters(route.takes):
        if isinstance(kind, Choice) and path not in _UNLISTED:
            at_stripe = known.words(route.name, *path) or {"true", "false"}
            here = set(kind.words) - {"true", "false"}
            assert here <= at_stripe, path
            assert here == at_stripe - {"true", "false"} or kind.beyond, path


def parameters(takes: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the parameters with their kinds, and those inside them."""
    for name, kind in takes.items():
        inner = kind.entry if isinstance(kind, ListOf) else kind.hashed if isinstance(kind, Either) else kind
        yield (*above, name), inner
        if isinstance(inner, Hash):
            yield from parameters(inner.fields, (*above, name))


def test_the_comparisons_notice_mistakes(objects: list[dict[str, Any]]) -> None:
    """What is missing, made up, of a wrong type or a word that Stripe does not use is found, at any depth."""
    charge = next(row for row in objects if row["object"] == "charge")
    card = {**charge["payment_method_details"]["card"], "extended_authorization": {"status": "perhaps"}, "made_up": 1}
    wrong = {**charge, "amount": "20", "paid": None, "payment_method_details": {**charge["payment_method_details"], "card": card}}
    assert sorted(mistakes(wrong, schemas()["charge"], "charge")) == [
        "charge.amount is str and not integer",
        "charge.paid is null",
        "charge.payment_method_details.card.extended_authorization.status is 'perhaps'",
    ]
    del wrong["captured"]
    assert sorted(unlike(wrong, classes()["charge"], "charge")) == [
        "charge.captured is missing",
        "charge.paid is missing",
        "charge.payment_method_details.card.made_up is not Stripe's",
    ]


@pytest.mark.parametrize("kind", CATALOG.kinds.values(), ids=lambda kind: kind.name)
def test_expandable_fields_are_stripes(kind: Any, objects: list[dict[str, Any]]) -> None:
    """Every field that Stripe can expand, in the parts that objects here have, is expanded or refused by name; nothing else is."""
    here = {*kind.expands, *kind.includes, *kind.refuses}
    rows = [row for row in objects if row["object"] == kind.name and not row.get("deleted")]
    at_stripe = set(expandable(classes()[kind.name]))
    assert {path for path in at_stripe if any(has_parent(row, path) for row in rows)} <= here
    assert here <= at_stripe | _INCLUDED


def has_parent(row: dict[str, Any], path: str) -> bool:
    """Return whether the object that holds the field at *path* can be in *row*: it may be null there."""
    value: Any = row
    for part in path.split(".")[:-1]:
        if value is None or part not in value:
            return False
        value = value[part]
    return True


def expandable(cls: ast.ClassDef, above: str = "") -> Iterator[str]:
    for name, annotation in annotations(cls).items():
        if "ExpandableField[" in annotation:
            yield above + name
        elif part := part_of(cls, annotation):
            yield from expandable(part, f"{above}{name}.")


_UNDOCUMENTED = {
    # Stripe's until the version before; refused in words of its own.
    ("payment_method_types",),
    # Stripe's guides send a token here, though its reference does not list it.
    ("payment_method_data", "card"),
}

# Stripe's document lists these as expandable though they are objects or lists, which are only there when they are asked for.
_INCLUDED = {
    "cash_balance",
    "confirmation_secret",
    "line_items",
    "payments",
    "refunds",
    "sources",
    "subscriptions",
    "tax",
    "tax_ids",
}

# With the card itself unlisted, the word for it is, too; Stripe has the same words for payment methods on their own.
_UNLISTED = {("payment_method_data", "type")}
