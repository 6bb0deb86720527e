"""Thin events and the destinations of the second API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import stripe as official

from atom_stripe import WebhookVerifier
from atom_stripe._wire.messages import Reply, Request
from atom_stripe.errors import ConfigurationError, NotFoundError
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state import thin
from tests.canary import API_KEY
from tests.sandbox.test_deliveries import shop

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/v2/core/event_destinations"
WANTED: dict[str, Any] = {
    "name": "Mine",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.customer.created"],
    "webhook_endpoint": {"url": "http://127.0.0.1:1/hook"},
}


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def send(sandbox: StripeSandbox, method: str, path: str, body: Any = None) -> Reply:
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    return sandbox.handle(Request(method, f"https://api.stripe.com{path}", headers, sent))


def listen(sandbox: StripeSandbox, **options: Any) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    sandbox.webhooks.deliver_to(lambda body, _: heard.append(json.loads(body)), thin=True, **options)
    return heard


def test_what_is_sent(sandbox: StripeSandbox) -> None:
    """A thin event says what happened to which object, when and by which request, and holds nothing of the object."""
    heard = listen(sandbox)
    customer = sandbox.client().customers.create(email="jenny@example.com", idempotency_key="order-42")
    (snapshot,) = sandbox.client().events.list()
    assert heard == [
        {
            "id": snapshot.id.replace("evt_", "evt_test_"),
            "object": "v2.core.event",
            "type": "v1.customer.created",
            "livemode": False,
            "created": "2026-11-02T09:00:00.000Z",
            "context": None,
            "reason": {
                "type": "request",
                "request": {"id": snapshot.request.id if snapshot.request else "", "idempotency_key": "order-42"},
            },
            "related_object": {"id": customer.id, "type": "customer", "url": f"/v1/customers/{customer.id}"},
        }
    ]


def test_both_libraries_read_it(sandbox: StripeSandbox) -> None:
    """Our verifier and stripe's accept a thin event and fetch the event and its object, in the account that it is from."""
    heard: list[tuple[bytes, str]] = []
    endpoint = sandbox.webhooks.deliver_to(lambda *arrived: heard.append(arrived), thin=True, connect=True)
    account = sandbox.connect()
    customer = sandbox.client(stripe_account=account.id).customers.create(name="Jenny")
    with sandbox.serve() as server:
        theirs = official.StripeClient(API_KEY, base_addresses={"api": server.url})
        notification = theirs.parse_event_notification(*heard[0], endpoint.secret)
        assert notification.type == "v1.customer.created"
        assert str(notification.context) == account.id
        assert notification.fetch_related_object().id == customer.id  # type: ignore[union-attr]
        assert notification.fetch_event().id == notification.id
    ours: Any = WebhookVerifier(endpoint.secret).verify(*heard[0])
    assert (ours.type, ours.context, ours.related_object.id) == ("v1.customer.created", account.id, customer.id)
    with pytest.raises(NotFoundError):
        sandbox.client().customers.retrieve(customer.id)
    assert sandbox.client(stripe_context=ours.context).customers.retrieve(customer.id).name == "Jenny"


def test_only_what_was_asked_for(sandbox: StripeSandbox) -> None:
    """A thin endpoint names thin types; it hears nothing of changes that Stripe has no thin event for."""
    some, everything = listen(sandbox, events=("v1.customer.*",)), listen(sandbox)
    none = listen(sandbox, events=("customer.created",))
    sandbox.client().customers.create()
    sandbox.webhooks.emit("invoice.paid", {"id": "in_1", "object": "invoice"})
    row = sandbox.webhooks.emit("treasury.received_credit.created", {"id": "rc_1", "object": "treasury.received_credit"})
    assert [event["type"] for event in some] == ["v1.customer.created"]
    assert [event["type"] for event in everything] == ["v1.customer.created", "v1.invoice.paid"]
    assert (none, row["pending_webhooks"]) == ([], 0)


def test_an_event_without_a_snapshot(sandbox: StripeSandbox) -> None:
    """An event of the second API's own is thin only: it is not among the first one's events."""
    heard = listen(sandbox)
    fat: list[bytes] = []
    sandbox.webhooks.deliver_to(lambda body, _: fat.append(body))
    meter = {"id": "mtr_1", "object": "billing.meter"}
    row = sandbox.webhooks.emit("v1.billing.meter.error_report_triggered", meter)
    (event,) = heard
    assert event["related_object"] == {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
    assert event["reason"] is None
    stripe = sandbox.client()
    assert (fat, list(stripe.events.list())) == ([], [])
    with pytest.raises(NotFoundError):
        stripe.events.retrieve(row["id"])
    assert "snapshot_event" not in stripe.v2.core.events.retrieve(event["id"]).to_dict()


def test_fetching_events(sandbox: StripeSandbox) -> None:
    """The API tells more than what was sent: what an update changed, and which snapshot event is the same."""
    heard = listen(sandbox)
    stripe = sandbox.client()
    customer = stripe.customers.create(name="Jenny")
    stripe.customers.update(customer.id, name="Tom")
    found = [stripe.v2.core.events.retrieve(event["id"]).to_dict() for event in heard]
    assert [{name: event[name] for name in sent} for event, sent in zip(found, heard, strict=True)] == heard
    assert found[1]["changes"] == {"before": {"name": "Jenny"}, "after": {"name": "Tom"}}
    assert [event["snapshot_event"] for event in found] == [event.id for event in stripe.events.list()][::-1]


def test_pages_of_events(sandbox: StripeSandbox) -> None:
    """Lists go on at next_page_url and back at previous_page_url, newest first, narrowed by type, object and time."""
    stripe = sandbox.client()
    customers = [stripe.customers.create() for _ in range(7)]
    everything = [event.to_dict() for event in stripe.v2.core.events.list(limit=2)]
    assert [event["related_object"]["id"] for event in everything] == [customer.id for customer in reversed(customers)]
    first = json.loads(send(sandbox, "GET", "/v2/core/events?limit=3&types[0]=v1.customer.*").body)
    assert set(first) == {"data", "next_page_url", "previous_page_url"}
    second = json.loads(send(sandbox, "GET", first["next_page_url"]).body)
    assert (first["previous_page_url"], second["data"]) == (None, everything[3:6])
    assert json.loads(send(sandbox, "GET", second["previous_page_url"]).body)["data"] == everything[:3]
    sandbox.clock.advance(seconds=1)
    stripe.customers.update(customers[0].id, name="Jenny")
    later = stripe.v2.core.events.list(created={"gt": "2026-11-02T09:00:00Z"})
    assert [event.to_dict()["type"] for event in later] == ["v1.customer.updated"]
    assert len(list(stripe.v2.core.events.list(object_id=customers[0].id))) == 2
    assert list(stripe.v2.core.events.list(types=["v1.charge.succeeded"])) == []


@pytest.mark.parametrize(
    "query",
    ["created[gt]=yesterday", "created[gt]=2026-11-02T09:00:00", "page=evt_nobody", "page[a]=1", "limit=101", "nothing=1",
     "&".join(f"types[{number}]=a" for number in range(21))],
)  # fmt: skip
def test_what_is_no_list(sandbox: StripeSandbox, query: str) -> None:
    """Malformed times, pages that are not there and parameters that Stripe has not are refused."""
    assert send(sandbox, "GET", f"/v2/core/events?{query}").status == 400


def test_thin_events_are_kept_for_thirty_days(sandbox: StripeSandbox) -> None:
    """After 30 days there is no event any more, and never one of another account or with another id."""
    heard, stripe = listen(sandbox), sandbox.client()
    stripe.customers.create()
    (sent,) = heard
    assert stripe.v2.core.events.retrieve(sent["id"]).id == sent["id"]
    for identity in ("evt_test_nobody", sent["id"].replace("evt_test_", "evt_")):
        with pytest.raises(NotFoundError):
            stripe.v2.core.events.retrieve(identity)
    sandbox.clock.advance(days=30)
    with pytest.raises(NotFoundError):
        stripe.v2.core.events.retrieve(sent["id"])
    assert list(stripe.v2.core.events.list()) == []


@pytest.mark.parametrize(
    ("type", "about", "related"),
    [
        ("balance.available", {"object": "balance"}, {"type": "balance", "url": "/v1/balance"}),
        ("customer.discount.created", {"id": "di_1", "object": "discount", "customer": "cus_1"},
         {"type": "discount", "url": "/v1/customers/cus_1/discount"}),
        ("capability.updated", {"id": "transfers", "object": "capability", "account": "acct_1"},
         {"id": "transfers", "type": "capability", "url": "/v1/accounts/acct_1/capabilities/transfers"}),
        ("checkout.session.completed", {"id": "cs_1", "object": "checkout.session"},
         {"id": "cs_1", "type": "checkout.session", "url": "/v1/checkout/sessions/cs_1"}),
        ("invoice.upcoming", {"object": "invoice"}, None),
        ("capability.updated", {"id": "transfers", "object": "capability"}, None),
        ("charge.succeeded", {"object": "charge"}, None),
        ("account.application.deauthorized", {"id": "ca_1", "object": "application"}, None),
        ("v2.core.account.created", {"id": "acct_1", "object": "v2.core.account"},
         {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"}),
    ],
)  # fmt: skip
def test_related_objects(sandbox: StripeSandbox, type: str, about: dict[str, Any], related: Any) -> None:
    """Each kind of object has its address: inside another one, without an id, or none at all."""
    heard = listen(sandbox)
    sandbox.webhooks.emit(type, about)
    assert [event.get("related_object") for event in heard] == [related]


def test_types_are_stripes() -> None:
    """Thin events have the types for which stripe's library has classes, and every exception of ours is one of them."""
    assert {"v1.customer.created", "v2.core.event_destination.ping"} <= thin.types()
    assert thin.types() >= thin._WITHOUT_OBJECT
    assert len(thin.types()) > 300


# Destinations.


def test_life_of_a_destination(sandbox: StripeSandbox) -> None:
    """A destination is made, changed, turned off and on, listed and deleted; its secret and URL are shown only where they are asked for."""
    stripe = sandbox.client()
    include = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]
    made = stripe.v2.core.event_destinations.create(**WANTED, include=include).to_dict()
    assert made["webhook_endpoint"]["signing_secret"].startswith("whsec_")
    assert (made["webhook_endpoint"]["url"], made["events_from"], made["status"]) == (
        "http://127.0.0.1:1/hook",
        ["@self"],
        "enabled",
    )
    assert not any(name.startswith("_") for name in made)
    bare = {**made, "webhook_endpoint": {"signing_secret": None, "url": None}}
    destinations = stripe.v2.core.event_destinations
    assert destinations.retrieve(made["id"]).to_dict() == bare
    assert [entry.to_dict() for entry in destinations.list()] == [bare]
    shown = destinations.retrieve(made["id"], include=["webhook_endpoint.url"]).to_dict()
    assert shown["webhook_endpoint"] == {"signing_secret": None, "url": "http://127.0.0.1:1/hook"}
    sandbox.clock.advance(seconds=1)
    changed = destinations.update(
        made["id"], name="Yours", description="A", metadata={"a": "1", "b": "2"}, enabled_events=["*"],
        webhook_endpoint={"url": "http://127.0.0.1:2/"}, include=["webhook_endpoint.url"],
    ).to_dict()  # fmt: skip
    assert (changed["name"], changed["description"], changed["enabled_events"]) == ("Yours", "A", ["*"])
    assert (changed["webhook_endpoint"]["url"], changed["updated"]) == ("http://127.0.0.1:2/", "2026-11-02T09:00:01.000Z")
    assert destinations.update(made["id"], metadata={"a": None}).to_dict()["metadata"] == {"b": "2"}
    assert destinations.disable(made["id"]).to_dict()["status_details"] == {"disabled": {"reason": "user"}}
    assert destinations.enable(made["id"]).to_dict()["status"] == "enabled"
    assert destinations.delete(made["id"]).to_dict()["id"] == made["id"]
    with pytest.raises(NotFoundError):
        destinations.retrieve(made["id"])
    assert list(destinations.list()) == []


def test_pages_of_destinations(sandbox: StripeSandbox) -> None:
    """The list of destinations has pages, in both directions."""
    destinations = sandbox.client().v2.core.event_destinations
    made = [destinations.create(**WANTED).id for _ in range(5)][::-1]
    assert [entry.id for entry in destinations.list(limit=2)] == made
    second = json.loads(send(sandbox, "GET", json.loads(send(sandbox, "GET", f"{PATH}?limit=2").body)["next_page_url"]).body)
    assert [entry["id"] for entry in second["data"]] == made[2:4]
    assert [entry["id"] for entry in json.loads(send(sandbox, "GET", second["previous_page_url"]).body)["data"]] == made[:2]
    assert send(sandbox, "GET", f"{PATH}?page=ed_nobody").status == 400


def test_a_destination_gets_events(sandbox: StripeSandbox) -> None:
    """A destination hears of the accounts that it names, thin or in the version that it is pinned to, and its secret can be rolled."""
    stripe, account = sandbox.client(), sandbox.connect()
    with shop([]) as (url, received):
        common: dict[str, Any] = {**WANTED, "webhook_endpoint": {"url": url}, "include": ["webhook_endpoint.signing_secret"]}
        everywhere: dict[str, Any] = {**common, "events_from": ["@self", "@accounts"]}
        thin_one = stripe.v2.core.event_destinations.create(**everywhere).to_dict()
        snapshot: dict[str, Any] = {
            **common,
            "event_payload": "snapshot",
            "enabled_events": ["*"],
            "snapshot_api_version": "2024-09-30.acacia",
        }
        fat_one = stripe.v2.core.event_destinations.create(**snapshot).to_dict()
        stripe.customers.create()
        sandbox.client(stripe_account=account.id).customers.create()
        sandbox.webhooks.wait()
        secret = thin_one["webhook_endpoint"]["signing_secret"]
        thin_events: list[Any] = [WebhookVerifier(secret).verify(*received[number]) for number in (0, 2)]
        assert [(event.type, event.context) for event in thin_events] == [
            ("v1.customer.created", None),
            ("v1.customer.created", account.id),
        ]
        fat: Any = WebhookVerifier(fat_one["webhook_endpoint"]["signing_secret"]).verify(*received[1])
        assert (fat.api_version, len(received)) == ("2024-09-30.acacia", 3)
        stripe.v2.core.event_destinations.disable(fat_one["id"])
        new = sandbox.webhooks.roll_secret(thin_one["id"])
        stripe.customers.create()
        sandbox.webhooks.wait()
    assert len(received) == 4
    assert WebhookVerifier(new).verify(*received[3]).type == "v1.customer.created"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": None}, 400), ({"type": "amazon_eventbridge"}, 501), ({"type": "pigeon"}, 400), ({"event_payload": "fat"}, 400),
        ({"enabled_events": ["customer.created"]}, 400), ({"enabled_events": ["v1.made.up"]}, 400), ({"enabled_events": "*"}, 400),
        ({"event_payload": "snapshot"}, 400), ({"snapshot_api_version": "2024-09-30.acacia"}, 400),
        ({"event_payload": "snapshot", "enabled_events": ["*"], "snapshot_api_version": "2019-12-03"}, 501),
        ({"event_payload": "snapshot", "enabled_events": ["*"], "snapshot_api_version": "newest"}, 400),
        ({"events_from": ["@organization_members"]}, 501), ({"events_from": ["everybody"]}, 400), ({"include": ["everything"]}, 400),
        ({"webhook_endpoint": {"url": "shop.test"}}, 400), ({"webhook_endpoint": {}}, 400), ({"webhook_endpoint": "x"}, 400),
        ({"webhook_endpoint": {"url": "http://127.0.0.1/", "port": 1}}, 400), ({"amazon_eventbridge": {"aws_region": "x"}}, 501),
        ({"secret": "whsec_x"}, 400), ({"name": "\ud800"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_destination(sandbox: StripeSandbox, change: dict[str, Any], status: int) -> None:
    """What Stripe would refuse is refused, what only the sandbox cannot do by name; neither leaves a destination."""
    assert send(sandbox, "POST", PATH, {**WANTED, **change}).status == status
    assert list(sandbox.client().v2.core.event_destinations.list()) == []


def test_a_destination_needs_a_target(sandbox: StripeSandbox) -> None:
    """Without a URL there is no destination."""
    reply = send(sandbox, "POST", PATH, {name: value for name, value in WANTED.items() if name != "webhook_endpoint"})
    assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, "webhook_endpoint")


@pytest.mark.parametrize(
    "body", [b"name=Mine", b"[]", b"\xff", b"{" * 100, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"name": ' + b"9" * 5000 + b"}"]
)
def test_bodies_that_are_no_json(sandbox: StripeSandbox, body: bytes) -> None:
    """The second API takes JSON objects and refuses everything else, however deep or long."""
    assert send(sandbox, "POST", PATH, body).status == 400


def test_thin_events_have_no_version(sandbox: StripeSandbox) -> None:
    """A thin endpoint cannot be pinned to a version."""
    with pytest.raises(ConfigurationError, match="api_version"):
        sandbox.webhooks.deliver_to(lambda body, signature: None, thin=True, api_version="2024-09-30.acacia")


def test_a_thin_url(sandbox: StripeSandbox) -> None:
    """deliver_to() with a URL makes a destination, which the API shows."""
    with shop([]) as (url, received):
        endpoint = sandbox.webhooks.deliver_to(url, thin=True)
        sandbox.client().customers.create()
        sandbox.webhooks.wait()
    assert [entry.id for entry in sandbox.client().v2.core.event_destinations.list()] == [endpoint.id]
    assert WebhookVerifier(endpoint.secret).verify(*received[0]).type == "v1.customer.created"
