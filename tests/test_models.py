"""
The typed objects: exactly what Stripe sent, readable by name, and nothing that can be changed.

Samples are made from the annotations, so that every model is tried with every field it declares. The official SDK is the witness
for which fields there are.
"""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import json
import pickle
import pkgutil
import subprocess
import sys
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from stripe._object_classes import get_object_class

from atom_stripe import models
from atom_stripe.models import (
    BalanceTransaction,
    Charge,
    Customer,
    Event,
    EventNotification,
    Invoice,
    ListObject,
    PaymentIntent,
    Price,
    Product,
    StripeModel,
    StripeObject,
    Subscription,
    SubscriptionItem,
    WebhookEndpoint,
)
from atom_stripe.models.answer import Answer
from atom_stripe.models.base import StripePart, View, declared, model_for
from atom_stripe.models.registry import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TYPED = {name: model for name in sorted(MODULES) if (model := model_for(name))}
EVERY_MODEL = [pytest.param(name, model, id=name) for name, model in TYPED.items()]
SCALARS: dict[str, Any] = {"str": "text", "int": 7, "float": 0.5, "bool": True, "Decimal": "0.125", "Any": {"any": 1}}


def bodies(cls: type) -> Iterator[type]:
    """Yield a model and the classes inside it, at every depth."""
    yield cls
    for inner in vars(cls).values():
        if isinstance(inner, type) and issubclass(inner, StripePart):
            yield from bodies(inner)


def sample(cls: type, name: str | None = None) -> dict[str, Any]:
    """Return a JSON object with every field that *cls* declares, and two that it does not."""
    raw: dict[str, Any] = {"brand_new": {"object": "brand_new", "id": "new_1", "x": [1, {"y": None}]}, "brand_new_list": [1, "two"]}
    for field, annotation in inspect.get_annotations(cls).items():
        if field[0] != "_":
            raw[field] = value_of(ast.parse(annotation.strip(), mode="eval").body, cls)
            if cls._shapes.get(field) is int:
                raw[field] = "9007199254740993"
    return raw if name is None else {**raw, "id": "id_1", "object": name}


def value_of(annotation: ast.expr, cls: type) -> Any:
    """Return a JSON value of the kind that an annotation promises: of an id or an object the object, of an enum a known value."""
    members = [annotation]
    while isinstance(members[0], ast.BinOp):
        members[:1] = [members[0].left, members[0].right]
    wanted = next((member for member in members if ast.unparse(member) not in {"str", "None"}), members[0])
    match wanted:
        case ast.Name(name):
            return named(name, cls)
        case ast.Subscript(ast.Name("Literal"), values):
            return ast.literal_eval(values.elts[0] if isinstance(values, ast.Tuple) else values)
        case ast.Subscript(ast.Name("dict"), ast.Tuple([_, member])):
            return {"a key of the caller's": value_of(member, cls)}
        case ast.Subscript(ast.Name("list" | "ListObject" as container), member):
            entries = [value_of(member, cls), value_of(member, cls)]
            return entries if container == "list" else {"object": "list", "data": entries, "has_more": False, "url": "/v1/things"}
        case _:
            raise AssertionError(ast.unparse(annotation))


def named(name: str, cls: type) -> Any:
    """Return a JSON value of the kind called *name* inside the class *cls*."""
    if name in SCALARS:
        return SCALARS[name]
    if isinstance(part := vars(cls).get(name), type):
        return sample(part)
    model = getattr(models, name if name in models.__all__ else name.removesuffix("Object"))
    return {"id": "obj_1", "object": next((key for key, known in TYPED.items() if known is model), "untyped_thing")}


def plain(value: Any) -> Any:
    """Return the JSON that an attribute stands for."""
    match value:
        case View():
            return value.to_dict()
        case list():
            return [plain(entry) for entry in value]
        case Decimal():
            return str(value)
        case dict():
            return {key: plain(entry) for key, entry in value.items()}
        case _:
            return value


def look(thing: View) -> None:
    """Read every declared field of *thing* and of all that is inside it, and hold them against what was sent."""
    raw = thing.to_dict()
    # Of another object inside this one, the sample has the name only: it has a sample of its own.
    fields = declared(type(thing)) & raw.keys()
    assert fields == declared(type(thing)) or raw.keys() == {"id", "object"} or isinstance(thing, ListObject)
    for field in fields:
        value = getattr(thing, field)
        assert thing[field] == value
        if type(thing)._shapes.get(field) is int:
            assert (type(value), str(value)) == (int, raw[field])
        else:
            assert plain(value) == raw[field], field
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, View):
                look(inner)


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_every_declared_field_is_read(name: str, model: type[StripeModel]) -> None:
    """Each declared field, at every depth, reads as what Stripe sent, and nothing that was sent is lost or changed."""
    raw = sample(model, name)
    kept = copy.deepcopy(raw)
    thing = model.from_stripe(raw)
    look(thing)
    assert thing.to_dict() == kept
    assert json.loads(thing.model_dump_json()) == kept
    assert thing.model_dump() == thing.model_dump(mode="json") == kept
    assert dict(thing).keys() == kept.keys() == thing.model_fields_set


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_unknown_fields_are_kept(name: str, model: type[StripeModel]) -> None:
    """A field that Stripe adds tomorrow is an attribute today, typed if its object is, and listed as extra."""
    thing: Any = model.from_stripe(sample(model, name) | {"new_price": {"id": "price_1", "object": "price"}})
    assert thing.brand_new.x[1].y is None
    assert thing.brand_new_list == [1, "two"]
    assert type(thing.new_price) is Price
    assert {"brand_new", "brand_new_list", "new_price"} <= thing.model_extra.keys()
    assert {"brand_new", "new_price"} <= set(dir(thing))


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_absent_and_misspelled_fields(name: str, model: type[StripeModel]) -> None:
    """A declared field that Stripe left out is None, at every depth, and a name that is none raises."""
    for body in bodies(model):
        thing = body.from_stripe({})  # type: ignore[attr-defined]
        assert [field for field in declared(body) if getattr(thing, field) is not None] == []
        assert [field for field in declared(body) if field in thing] == []
        with pytest.raises(AttributeError, match="no field 'misspeled'"):
            thing.misspeled  # noqa: B018 - reading is what fails
        with pytest.raises(KeyError):
            thing["misspeled"]
    assert model.from_stripe({}).to_dict() == {}, name


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_immutable(name: str, model: type[StripeModel]) -> None:
    """No field can be set or removed, and what to_dict and attributes hand out leads nowhere inside."""
    thing: Any = model.from_stripe(sample(model, name))
    before = thing.to_dict()
    for field in (*declared(model), "brand_new", "other", "_raw"):
        with pytest.raises(AttributeError):
            setattr(thing, field, 1)
        with pytest.raises(AttributeError):
            delattr(thing, field)
    handed = thing.to_dict()
    handed["brand_new"]["x"].append(2)
    handed.clear()
    assert thing.to_dict() == before


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_equality_copies_and_pickles(name: str, model: type[StripeModel]) -> None:
    """Objects are equal by content, hash by id, and survive pickle and copying with their type and every field."""
    raw = sample(model, name)
    thing = model.from_stripe(raw)
    for other in (
        model.from_stripe(copy.deepcopy(raw)),
        *(pickle.loads(pickle.dumps(thing, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),  # noqa: S301 - ours
        copy.copy(thing),
        copy.deepcopy(thing),
        thing.model_copy(),
        model(**raw),
    ):
        assert type(other) is model
        assert other == thing
        assert hash(other) == hash(thing)
        assert other.to_dict() == raw
    assert thing != model.from_stripe({**raw, "brand_new": None})
    assert thing != StripeObject.from_stripe(raw)
    assert thing != raw
    assert thing.model_copy(update={"livemode": None})["livemode"] is None


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_repr_shows_the_id_only(name: str, model: type[StripeModel]) -> None:
    """Neither repr nor str shows a field other than the id, at any depth, so that logs hold no personal data."""
    thing = model.from_stripe(sample(model, name))
    assert repr(thing) == str(thing) == f"{thing}" == f"{model.__name__}(id='id_1')"
    for body in bodies(model):
        assert repr(body.from_stripe({"email": "jenny@example.com"})) == f"{body.__name__}()"  # type: ignore[attr-defined]
    for identity in ("x" * 10_000, 7, None, {"email": "jenny@example.com"}):
        assert repr(model.from_stripe({"id": identity})) == f"{model.__name__}()"


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_pydantic(name: str, model: type[StripeModel]) -> None:
    """A model serves pydantic as a type: it validates, dumps, has a JSON schema, and refuses what is no object."""
    raw = sample(model, name)
    adapter = TypeAdapter(model)
    for thing in (
        adapter.validate_python(raw),
        adapter.validate_json(json.dumps(raw)),
        model.model_validate(raw),
        model.model_validate_json(json.dumps(raw)),
    ):
        assert type(thing) is model
        assert thing.to_dict() == raw
        assert adapter.dump_python(thing) == raw
        assert json.loads(adapter.dump_json(thing)) == raw
    assert adapter.validate_python(thing) is thing
    assert adapter.json_schema()["type"] == model.model_json_schema()["type"] == "object"
    for wrong in ("cus_1", 1, None, [raw]):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
        with pytest.raises(ValidationError):
            model.model_validate(wrong)


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_the_official_sdk_has_no_field_that_we_lack(name: str, model: type[StripeModel]) -> None:
    """Every field that the installed SDK declares for an object can be read from ours."""
    official = get_object_class("V2" if name.startswith("v2.") else "V1", name)
    thing = model.from_stripe({})
    fields = [field for field, text in inspect.get_annotations(official).items() if field[0] != "_" and "ClassVar" not in str(text)]
    assert fields
    assert [field for field in fields if not hasattr(thing, field)] == []


@pytest.mark.parametrize(("name", "model"), EVERY_MODEL)
def test_the_registry_finds_the_model(name: str, model: type[StripeModel]) -> None:
    """Whatever Stripe calls by a registered name becomes that model, wherever it stands, and the package has its name."""
    assert getattr(models, model.__name__) is model
    assert model.__name__ in models.__all__
    inside: Any = StripeObject.from_stripe({"a": [{"b": {"object": name}}]})
    assert type(inside.a[0].b) is model


def test_the_package_has_every_name_that_it_lists() -> None:
    """The names of the package import, are listed by dir, and any other name is the usual error."""
    assert all(issubclass(getattr(models, name), StripeModel) for name in models.__all__)
    assert set(models.__all__) <= set(dir(models))
    with pytest.raises(AttributeError, match="no attribute 'Custommer'"):
        models.Custommer  # type: ignore[attr-defined]  # noqa: B018 - reading is what fails


def test_importing_is_lazy_and_silent() -> None:
    """Importing the package loads no model, using one loads it alone, and every module imports without a warning."""
    modules = [info.name for info in pkgutil.iter_modules(models.__path__, "atom_stripe.models.")]
    program = f"""
import sys
import atom_stripe.models as models
loaded = {{name for name in sys.modules if name.startswith("atom_stripe.models.")}}
assert not loaded, loaded
models.Refund
loaded = {{name.rpartition(".")[2] for name in sys.modules if name.startswith("atom_stripe.models.")}}
assert loaded == {{"base", "refund", "registry"}}, loaded
from importlib import import_module
for name in {modules!r}:
    import_module(name)
assert "stripe" not in sys.modules and "httpx" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_numbers_in_strings() -> None:
    """Decimals and 64-bit integers that Stripe sends as strings are numbers, exact ones, and what is no number stays as it was sent."""
    price = Price.from_stripe({"unit_amount_decimal": "0.10000000000000000001", "recurring": None})
    assert price.unit_amount_decimal == Decimal("0.10000000000000000001")
    assert Price.from_stripe({"unit_amount_decimal": "much"}).unit_amount_decimal == "much"
    assert Price.from_stripe({"unit_amount_decimal": None}).unit_amount_decimal is None
    assert BalanceTransaction.from_stripe({"amount": 2**63}).amount == 2**63

    class Reading(StripePart):
        value: int

        _shapes: ClassVar[Mapping[str, Any]] = {"value": int}

    assert Reading.from_stripe({"value": "9007199254740993"}).value == 9007199254740993
    assert Reading.from_stripe({"value": "1e3"}).value == "1e3"


def test_metadata_is_a_plain_dict() -> None:
    """The caller's own keys are a dict's keys, whatever they are called, and changing it changes nothing else."""
    customer = Customer.from_stripe({"id": "cus_1", "metadata": {"object": "price", "id": "42", "keys": "x", "to_dict": "y"}})
    assert type(customer.metadata) is dict
    assert customer.metadata == {"object": "price", "id": "42", "keys": "x", "to_dict": "y"}
    customer.metadata["id"] = "43"
    assert customer.to_dict()["metadata"]["id"] == "42"
    assert Customer.from_stripe({"metadata": {}}).metadata == {}


def test_metadata_of_an_untyped_object() -> None:
    """Also where the object is not typed, the caller's own keys are a dict's keys, although one of them may be called object."""
    metadata = StripeObject.from_stripe({"metadata": {"object": "price"}}).metadata
    assert (type(metadata), metadata) == (dict, {"object": "price"})


def test_maps_of_parts_are_dicts() -> None:
    """A map from currencies to prices is a dict, and what it holds is typed."""
    sent = {"eur": {"unit_amount": 5, "unit_amount_decimal": "5.5"}, "jpy": {"unit_amount": 7}}
    price = Price.from_stripe({"currency_options": sent})
    assert price.currency_options is not None
    assert list(price.currency_options) == ["eur", "jpy"]
    assert type(price.currency_options["eur"]) is Price.CurrencyOptions
    assert price.currency_options["eur"].unit_amount_decimal == Decimal("5.5")
    assert price.currency_options["jpy"].unit_amount_decimal is None
    assert Price.from_stripe({"currency_options": None}).currency_options is None


def test_the_version_of_an_endpoint_is_its_own() -> None:
    """A webhook endpoint without a version says so, whichever version the answer that brought it was written in."""
    answer = Answer(200, {"stripe-version": "2026-09-30.endive"})
    assert WebhookEndpoint.from_stripe({"api_version": None}, answer).api_version is None
    assert WebhookEndpoint.from_stripe({"api_version": "2022-11-15"}, answer).api_version == "2022-11-15"


def test_fields_named_like_methods_and_keywords() -> None:
    """A field whose name is taken, as Python's keywords and dict's methods are, is read by index."""
    thing = StripeObject.from_stripe({"class": 1, "to_dict": 2, "from": 3})
    assert [thing["class"], thing["to_dict"], thing["from"]] == [1, 2, 3]
    subscription = Subscription.from_stripe({"items": {"object": "list", "data": [{"id": "si_1", "object": "subscription_item"}]}})
    assert type(subscription.items.data[0]) is SubscriptionItem


def test_embedded_lists() -> None:
    """A complete list inside an object is gone through, a cut-off one refuses and says where the rest is."""
    entries = [{"id": f"si_{number}", "object": "subscription_item"} for number in range(2)]
    raw = {"object": "list", "data": entries, "has_more": False, "url": "/v1/subscription_items?subscription=sub_1"}
    whole: ListObject[SubscriptionItem] = Subscription.from_stripe({"items": raw}).items
    assert [item.id for item in whole] == ["si_0", "si_1"]
    assert (len(whole), whole.url) == (2, raw["url"])
    cut = Subscription.from_stripe({"items": {**raw, "has_more": True}}).items
    assert [item.id for item in cut.data] == ["si_0", "si_1"]
    with pytest.raises(ValueError, match=r"only 2 entries .* list /v1/subscription_items"):
        list(cut)
    for broken in ({}, {"data": None}, {"data": "x"}, {"data": []}):
        assert list(ListObject.from_stripe(broken)) == []


def test_id_or_object() -> None:
    """An expandable field is the id, or the model when it was expanded, and its deleted remains say so."""
    assert Invoice.from_stripe({"customer": "cus_1"}).customer == "cus_1"
    expanded = Invoice.from_stripe({"customer": {"id": "cus_1", "object": "customer", "deleted": True}}).customer
    assert isinstance(expanded, Customer)
    assert expanded.deleted is True


def test_an_event_carries_the_typed_object() -> None:
    """The object of an event is its model, and the old values of an update are a plain dict of the caller's own."""
    raw = {"object": {"id": "pi_1", "object": "payment_intent", "amount": 5}, "previous_attributes": {"amount": 4}}
    event = Event.from_stripe({"id": "evt_1", "created": 1_700_000_000, "api_version": "2020-08-27", "data": raw})
    assert isinstance(event.data.object, PaymentIntent)
    assert event.data.previous_attributes == {"amount": 4}
    assert event.api_version == "2020-08-27"
    assert event.created_at is not None
    assert event.created_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert Event.from_stripe({"created": 10**30, "data": {}}).created_at is None
    assert Event.from_stripe({"created": "soon"}).created_at is None
    assert Event.from_stripe({"data": {"previous_attributes": [1]}}).data.previous_attributes is None


def test_what_an_event_hands_out_leads_nowhere_inside() -> None:
    """Old values and changes are the caller's own to the bottom: changing them leaves the event as it was sent."""
    sent = {"data": {"object": {}, "previous_attributes": {"items": {"data": [1]}}}}
    event = Event.from_stripe(copy.deepcopy(sent))
    assert event.data.previous_attributes is not None
    event.data.previous_attributes["items"]["data"].append(2)
    assert event.to_dict() == sent
    notification = EventNotification.from_stripe({"changes": {"before": {"name": "old"}}})
    assert notification.changes is not None
    notification.changes["before"]["name"] = "new"
    assert notification.to_dict() == {"changes": {"before": {"name": "old"}}}
    assert [EventNotification.from_stripe(raw).changes for raw in ({}, {"changes": None}, {"changes": [1]})] == [None, None, None]


def test_a_thin_event() -> None:
    """A notification says when, and about which account, and reads nonsense as nothing."""
    event = EventNotification.from_stripe({"created": "2025-01-02T03:04:05.678+02:00", "context": "org_1/acct_1"})
    assert event.created_at is not None
    assert event.created_at.isoformat() == "2025-01-02T01:04:05.678000+00:00"
    assert event.account == "acct_1"
    for created in (None, 5, "", "yesterday", "2025-01-02", "0001-01-01T00:00:00+23:00"):
        assert EventNotification.from_stripe({"created": created, "context": "org_1"}).created_at is None
    assert EventNotification.from_stripe({"context": "org_1"}).account is None


def test_what_came_with_the_answer() -> None:
    """An object knows the request that brought it; nested objects, copies through pickle and webhooks' objects do not."""
    answer = Answer(200, {"request-id": "req_1", "idempotent-replayed": "true", "stripe-version": "2026-09-30.endive"})
    charge = Charge.from_stripe({"id": "ch_1", "customer": {"id": "cus_1", "object": "customer"}}, answer)
    assert charge.last_response is answer
    assert (charge.request_id, charge.idempotent_replayed, charge.api_version) == ("req_1", True, "2026-09-30.endive")
    nested = charge.customer
    assert isinstance(nested, Customer)
    assert (nested.last_response, nested.request_id, nested.idempotent_replayed, nested.api_version) == (None, None, False, None)
    assert pickle.loads(pickle.dumps(charge)).last_response is None  # noqa: S301 - ours


def test_fastapi() -> None:
    """A service can take and give back Stripe's objects, alone and inside its own models, and document them."""

    class Order(BaseModel):
        number: int
        product: Product
        extra: list[Customer] = []

    app = FastAPI()

    async def order(body: Order) -> Order:
        assert type(body.product) is Product
        return body

    async def product() -> Product:
        return Product.from_stripe({"id": "prod_1", "object": "product", "brand_new": [1]})

    # What FastAPI would take from this function's local names.
    order.__annotations__ = {"body": Order, "return": Order}
    product.__annotations__ = {"return": Product}
    app.post("/order")(order)
    app.get("/product")(product)

    async def talk() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
            sent = {"number": 1, "product": {"id": "prod_1", "colour": "red"}, "extra": [{"id": "cus_1"}]}
            answer = await client.post("/order", json=sent)
            assert (answer.status_code, answer.json()) == (200, sent)
            assert (await client.post("/order", json={"number": 1, "product": "prod_1"})).status_code == 422
            assert (await client.get("/product")).json() == {"id": "prod_1", "object": "product", "brand_new": [1]}
            assert (await client.get("/openapi.json")).json()["paths"].keys() == {"/order", "/product"}

    import asyncio

    asyncio.run(talk())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(sorted(MODULES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "object", "data", "x"]), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(list(TYPED.values())), st.data())
def test_no_answer_fails_to_parse(model: type[StripeModel], data: st.DataObject) -> None:
    """Whatever stands in a declared field, reading it raises nothing and loses nothing."""
    names = sorted(declared(model))
    raw = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=6))
    thing: Any = model.from_stripe(copy.deepcopy(raw))
    for name in names:
        getattr(thing, name)
    assert repr(thing).startswith(model.__name__)
    assert thing.to_dict() == raw
    assert thing.model_dump() == raw
    assert isinstance(hash(thing), builtins.int)
    assert pickle.loads(pickle.dumps(thing)) == thing  # noqa: S301 - ours


def test_every_module_is_a_model_or_known() -> None:
    """No module of the package is left over from a model that is gone."""
    modules = {info.name for info in pkgutil.iter_modules(models.__path__)}
    used = {path.partition(":")[0].rpartition(".")[2] for path in MODULES.values()}
    assert modules == used | {"answer", "base", "moved", "registry"}
    assert all(import_module(path.partition(":")[0]) for path in MODULES.values())
