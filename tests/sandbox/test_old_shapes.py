"""Events in older API versions: what moved since is where it was, and the readers of the models answer the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError
from atom_stripe.models import (
    CheckoutSession,
    Discount,
    Invoice,
    InvoiceItem,
    InvoiceLineItem,
    PaymentIntent,
    Product,
    Subscription,
)
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state import known, shapes
from tests.sandbox.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST, ACACIA, BASIL, CLOVER = "2020-08-27", "2024-09-30.acacia", "2025-03-31.basil", "2025-09-30.clover"

COUPON = {"id": "off20", "object": "coupon"}
DISCOUNT = {"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": "off20"}}
ITEM: dict[str, Any] = {"id": "si_1", "object": "subscription_item", "current_period_start": 100, "current_period_end": 200}
LINE: dict[str, Any] = {
    "id": "il_1",
    "object": "line_item",
    "parent": {
        "type": "subscription_item_details",
        "subscription_item_details": {"subscription": "sub_1", "subscription_item": "si_1", "proration": True},
    },
    "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}, "unit_amount_decimal": "100"},
}  # fmt: skip
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1",
    "object": "subscription",
    "discounts": [DISCOUNT],
    "items": {"object": "list", "data": [ITEM, {**ITEM, "id": "si_2", "current_period_start": 50, "current_period_end": 300}]},
}
INVOICE: dict[str, Any] = {
    "id": "in_1",
    "object": "invoice",
    "amount_paid_off_stripe": 0,
    "confirmation_secret": {"client_secret": "x"},
    "discounts": [DISCOUNT],
    "lines": {"object": "list", "data": [LINE]},
    "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {"plan": "team"}}},
    "payments": {
        "object": "list",
        "data": [
            {"id": "inpay_1", "object": "invoice_payment", "is_default": False, "payment": {"type": "charge", "charge": "ch_0"}},
            {"id": "inpay_2", "object": "invoice_payment", "is_default": True,
             "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "latest_charge": "ch_1"}}},
        ],
    },
    "status": "paid",
    "total_taxes": [{"amount": 40}, {"amount": 2}],
}  # fmt: skip


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def listen(sandbox: StripeSandbox, version: str | None) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    sandbox.webhooks.deliver_to(lambda body, _: heard.append(json.loads(body)), api_version=version)
    return heard


def sent(sandbox: StripeSandbox, version: str, about: dict[str, Any], type: str = "invoice.paid") -> dict[str, Any]:
    """Return what an endpoint of a version gets of an event about something."""
    heard = listen(sandbox, version)
    sandbox.webhooks.emit(type, about)
    assert heard[-1]["api_version"] == version
    found: dict[str, Any] = heard[-1]["data"]["object"]
    return found


@pytest.mark.parametrize("version", [BASIL, ACACIA])
def test_a_subscription(sandbox: StripeSandbox, version: str) -> None:
    """Before basil the period stood at the top of a subscription, and not in its items."""
    old = sent(sandbox, version, SUBSCRIPTION, "customer.subscription.updated")
    before_basil = version == ACACIA
    assert (old.get("current_period_start"), old.get("current_period_end")) == ((100, 200) if before_basil else (None, None))
    assert all(("current_period_end" in item) != before_basil for item in old["items"]["data"])
    assert ("discount" in old) == before_basil
    model = Subscription.from_stripe(old)
    assert (model.current_period_start, model.current_period_end) == (100, 200)


def test_an_invoice(sandbox: StripeSandbox) -> None:
    """Before basil an invoice named its subscription, payment intent, charge and tax itself, and said whether it was paid."""
    assert sent(sandbox, CLOVER, INVOICE) == INVOICE
    old = sent(sandbox, ACACIA, INVOICE)
    assert not {"parent", "payments", "total_taxes", "confirmation_secret", "amount_paid_off_stripe"} & old.keys()
    named = ("subscription", "subscription_details", "payment_intent", "charge", "paid", "paid_out_of_band", "tax", "quote")
    assert {name: old[name] for name in named} == {
        "subscription": "sub_1",
        "subscription_details": {"metadata": {"plan": "team"}},
        "payment_intent": "pi_1",
        "charge": "ch_1",
        "paid": True,
        "paid_out_of_band": False,
        "tax": 42,
        "quote": None,
    }
    new, model = Invoice.from_stripe(INVOICE), Invoice.from_stripe(old)
    for reader in ("subscription_id", "payment_intent_id", "charge_id", "paid", "paid_out_of_band", "tax"):
        assert getattr(model, reader) == getattr(new, reader)


def test_a_line_of_an_invoice(sandbox: StripeSandbox) -> None:
    """Before basil a line named its price and subscription itself; what is inside another object is written in the version too."""
    (line,) = sent(sandbox, ACACIA, INVOICE)["lines"]["data"]
    assert not {"parent", "pricing"} & line.keys()
    assert line["price"] == {"id": "price_1", "object": "price", "product": "prod_1"}
    assert (line["subscription"], line["subscription_item"], line["proration"]) == ("sub_1", "si_1", True)
    for reader in ("price_id", "product_id", "subscription_item", "proration"):
        assert getattr(InvoiceLineItem.from_stripe(line), reader) == getattr(InvoiceLineItem.from_stripe(LINE), reader)


@pytest.mark.parametrize(("version", "is_old"), [(CLOVER, False), ("2025-08-27.basil", True), (OLDEST, True)])
def test_a_discount(sandbox: StripeSandbox, version: str, is_old: bool) -> None:
    """Before clover a discount held its coupon itself."""
    (discount,) = sent(sandbox, version, SUBSCRIPTION)["discounts"]
    assert discount == ({"id": "di_1", "object": "discount", "coupon": COUPON} if is_old else DISCOUNT)
    assert Discount.from_stripe(discount).coupon_id == "off20"


def test_other_kinds(sandbox: StripeSandbox) -> None:
    """Invoice items, credit notes, promotion codes, Checkout Sessions and products have their older shapes, too."""
    parent = {"subscription_details": {"subscription": "sub_1", "subscription_item": "si_1"}}
    item = {"id": "ii_1", "object": "invoiceitem", "parent": parent, "pricing": LINE["pricing"]}
    old = sent(sandbox, ACACIA, item)
    assert (old["subscription"], old["subscription_item"], old["unit_amount_decimal"]) == ("sub_1", "si_1", "100")
    assert InvoiceItem.from_stripe(old).price_id == "price_1"
    note = {"id": "cn_1", "object": "credit_note", "refunds": [{"refund": "re_1", "amount_refunded": 5}]}
    assert sent(sandbox, ACACIA, note)["refund"] == "re_1"
    code = {"id": "promo_1", "object": "promotion_code", "promotion": {"type": "coupon", "coupon": COUPON}}
    assert sent(sandbox, BASIL, code) == {"id": "promo_1", "object": "promotion_code", "coupon": COUPON}
    session = {"id": "cs_1", "object": "checkout.session", "collected_information": {"shipping_details": {"name": "Jenny"}}}
    for version, place in ((ACACIA, "shipping_details"), (OLDEST, "shipping")):
        shown = sent(sandbox, version, session)
        assert shown[place] == {"name": "Jenny"}
        details = CheckoutSession.from_stripe(shown).shipping_details
        assert details is not None
        assert details.name == "Jenny"
    product = {"id": "prod_1", "object": "product", "marketing_features": [{"name": "Fast"}]}
    assert sent(sandbox, OLDEST, product)["features"] == [{"name": "Fast"}]
    (feature,) = Product.from_stripe(sent(sandbox, OLDEST, product)).marketing_features
    assert feature.name == "Fast"


def test_charges_of_a_payment(sandbox: StripeSandbox) -> None:
    """Before 2022-11-15 a payment intent held its charges, latest first, as they were: none when it was created."""
    old, newer, ask = listen(sandbox, "2022-08-01"), listen(sandbox, "2022-11-15"), Asking(sandbox)
    payment = ask.pay()
    by_type = {event["type"]: event["data"]["object"] for event in old}
    paid = by_type["payment_intent.succeeded"]
    assert "latest_charge" not in paid
    assert [charge["id"] for charge in paid["charges"]["data"]] == [payment["latest_charge"]]
    assert paid["charges"]["data"][0]["captured"]
    assert by_type["payment_intent.created"]["charges"]["data"] == []
    assert PaymentIntent.from_stripe(paid).latest_charge_id == payment["latest_charge"]
    assert newer[-1]["data"]["object"].get("charges") is None
    injected = {"id": "pi_1", "object": "payment_intent", "latest_charge": "ch_1"}
    (charge,) = sent(sandbox, OLDEST, injected, "payment_intent.succeeded")["charges"]["data"]
    assert charge["id"] == "ch_1"


def test_what_changed(sandbox: StripeSandbox) -> None:
    """The old values of an update are in the endpoint's version as well."""
    heard = listen(sandbox, ACACIA)
    before = {"items": {"object": "list", "data": [{**ITEM, "current_period_end": 150}]}}
    sandbox.webhooks.emit("customer.subscription.updated", SUBSCRIPTION, previous_attributes=before)
    previous = heard[0]["data"]["previous_attributes"]
    assert (previous["current_period_end"], previous["items"]["data"]) == (150, [{"id": "si_1", "object": "subscription_item"}])


def test_one_event_in_several_versions(sandbox: StripeSandbox) -> None:
    """Each endpoint gets the same event in its own version, and the API shows it in the account's."""
    pinned, unpinned = listen(sandbox, ACACIA), listen(sandbox, None)
    row = sandbox.webhooks.emit("invoice.paid", INVOICE)
    assert (pinned[0]["id"], unpinned[0]["id"]) == (row["id"], row["id"])
    assert (pinned[0]["api_version"], unpinned[0]["api_version"], row["api_version"]) == (ACACIA, API_VERSION, API_VERSION)
    assert (pinned[0]["data"]["object"]["paid"], unpinned[0]["data"]["object"]) == (True, INVOICE)


def test_the_version_of_the_account(sandbox: StripeSandbox) -> None:
    """An event keeps the version that the account had when it was made, whatever a request says and whatever comes later."""
    heard, pinned = listen(sandbox, None), listen(sandbox, API_VERSION)
    sandbox.webhooks.api_version = ACACIA
    old = sandbox.webhooks.emit("invoice.paid", INVOICE)
    sandbox.webhooks.api_version = API_VERSION
    new = sandbox.webhooks.emit("invoice.paid", INVOICE)
    once = sandbox.webhooks.emit("invoice.paid", INVOICE, api_version=ACACIA)
    assert [event["api_version"] for event in heard] == [ACACIA, API_VERSION, ACACIA]
    assert all(event["data"]["object"] == INVOICE for event in pinned)
    ask = Asking(sandbox)
    for version in ("2026-09-30.endive", API_VERSION):
        reply = json.loads(ask.send("GET", "/v1/events", {}, Stripe_Version=version).body)
        assert [event["api_version"] for event in reply["data"]] == [ACACIA, API_VERSION, ACACIA]
        assert [event["data"] for event in reply["data"]] == [once["data"], new["data"], old["data"]]
    assert old["data"]["object"]["subscription"] == "sub_1"


def test_an_object_that_is_old_already(sandbox: StripeSandbox) -> None:
    """What was injected in an old shape stays as it is."""
    old = {"id": "in_1", "object": "invoice", "subscription": "sub_9", "charge": "ch_9", "payment_intent": "pi_9", "paid": True}
    assert {**sent(sandbox, ACACIA, old), **old} == sent(sandbox, ACACIA, old)


def test_an_endpoint_of_the_api(sandbox: StripeSandbox) -> None:
    """An endpoint that is created with an api_version shows it and keeps it: an update cannot change it."""
    ask = Asking(sandbox)
    made = ask.post("/v1/webhook_endpoints", url="http://127.0.0.1:1/", enabled_events=["*"], api_version=ACACIA)
    assert made["api_version"] == ACACIA
    status, error = ask.refused("POST", f"/v1/webhook_endpoints/{made['id']}", api_version=API_VERSION)
    assert (status, error["code"]) == (400, "parameter_unknown")
    status, error = ask.refused(
        "POST", "/v1/webhook_endpoints", url="http://127.0.0.1:1/", enabled_events=["*"], api_version="2019-12-03"
    )
    assert (status, error["code"]) == (501, "sandbox_unsupported")


def test_versions_that_are_not_known(sandbox: StripeSandbox) -> None:
    """A version that is too old or none of Stripe's is refused."""
    listed = known.words("POST /v1/webhook_endpoints", "api_version")
    assert sorted(shapes.VERSIONS) == sorted(version for version in listed if version >= OLDEST)
    assert API_VERSION in shapes.VERSIONS
    for version in ("2019-12-03", "2024-01-01", "newest", ""):
        with pytest.raises(ConfigurationError, match="API versions"):
            sandbox.webhooks.deliver_to(lambda body, signature: None, api_version=version)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({
                "id", "object", "parent", "payments", "data", "payment", "items", "discounts", "pricing", "price_details", "source", "promotion",
                "refunds", "collected_information", "latest_charge", "charges", "status", "total_taxes", "subscription_details", "amount",
            })),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip
kinds = sorted({kind for _, kind, _ in shapes._CHANGES})


@given(st.dictionaries(st.sampled_from(["id", "parent", "payments", "items", "discounts", "pricing", "source", "promotion", "refunds",
    "collected_information", "latest_charge", "total_taxes"]), json_values), st.sampled_from(kinds))  # fmt: skip
def test_any_object(fields: dict[str, Any], kind: str) -> None:
    """Whatever is in an object, every version of it can be written, and writing it twice changes nothing."""
    row = {**fields, "object": kind}
    before = json.dumps(row)
    for version in shapes.VERSIONS:
        old = shapes.rendered(row, version, lambda _: [])
        assert shapes.rendered(old, version, lambda _: []) == old
    assert json.dumps(row) == before
