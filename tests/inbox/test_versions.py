"""Events of other API versions, and the current state of objects."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from atom_stripe import API_VERSION, AsyncStripeClient, StripeClient
from atom_stripe._engine.inbox.reading import major
from atom_stripe._engine.inbox.refetching import path_of
from atom_stripe.errors import EncodingError
from atom_stripe.inbox import HandlerRetry
from atom_stripe.models import Event
from tests.canary import API_KEY, LIVE_KEY

OLD = "2024-06-20"


def client(world: Any, requests: list[Any], key: str = API_KEY) -> Any:
    """Return a client of the world's colour, and note what it asks."""

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append((request.url.path, request.headers.get("stripe-account"), request.headers.get("stripe-context")))
        return httpx.Response(200, json={"id": "cus_1", "object": "customer", "name": "now"})

    transport = httpx.MockTransport(answer)
    if world.colour == "sync":
        return StripeClient(key, http_client=httpx.Client(transport=transport))
    return AsyncStripeClient(key, http_client=httpx.AsyncClient(transport=transport))


@pytest.mark.parametrize(
    ("version", "expected"), [("2025-03-31.basil", "basil"), ("2026-10-28.endive", "endive"), (OLD, OLD), (None, None)]
)
def test_majors(version: str | None, expected: str | None) -> None:
    """Versions with one name have no breaking changes between them; before there were names, each date may break."""
    assert major(version) == expected


@pytest.mark.parametrize("version", [OLD, None])
@pytest.mark.parametrize("policy", ["accept", "refetch", "park"])
def test_each_policy(world: Any, make: Any, policy: str, version: str | None) -> None:
    """An event of another major is handed over as it is, with the object of now, or parked."""
    requests: list[Any] = []
    inbox, seen = world.open(client=client(world, requests)), []
    inbox.on("*", name="h", versions=policy)(
        world.handler(lambda event, context: seen.append((event.id, event.api_version, event.data.object["name"])))
    )
    obj = {"id": "cus_1", "object": "customer", "name": "then"}
    world.receive(make.event(api_version=version, account="acct_1", obj=obj))
    world.receive(make.event("evt_2", account="acct_1", obj=obj))
    world.drain()
    ours = ("evt_2", API_VERSION, "then")
    record = world.records(event_id="evt_1")[0]
    if policy == "accept":
        assert seen == [("evt_1", version, "then"), ours]
    elif policy == "refetch":
        assert seen == [("evt_1", API_VERSION, "now"), ours]
        assert requests == [("/v1/customers/cus_1", "acct_1", None)]
    else:
        assert seen == [ours]
        assert (record.status, record.handlers["h"].attempts) == ("parked", 1)
        assert API_VERSION in record.handlers["h"].error


def test_an_older_version_of_our_major_is_ours(world: Any, make: Any) -> None:
    """A version with our version's name is handed over whatever its date."""
    inbox, seen = world.open(), []
    inbox.on("*", name="h", versions="park")(world.handler(lambda event, context: seen.append(event.id)))
    world.receive(make.event(api_version="2026-09-30." + API_VERSION.partition(".")[2]))
    world.receive(make.thin())
    world.drain()
    assert sorted(seen) == ["evt_1", "evt_thin"]


@pytest.mark.parametrize("thin", [False, True])
def test_refetch_gives_the_current_object(world: Any, make: Any, *, thin: bool) -> None:
    """``context.refetch()`` asks Stripe for the object, in the account or context of the event, in both colours and in both kinds of handler."""
    requests: list[Any] = []
    inbox, names = world.open(client=client(world, requests)), []

    def blocking(event: Any, context: Any) -> None:
        names.append(context.refetch().name)

    async def native(event: Any, context: Any) -> None:
        names.append((await context.refetch()).name)

    inbox.on("*", name="blocking")(blocking)
    if world.colour != "sync":
        inbox.on("*", name="native")(native)
    url = "/v2/core/accounts/acct_9"
    related = {"id": "acct_9", "type": "v2.core.account", "url": url}
    world.receive(make.thin(context="org_1/acct_1", related_object=related) if thin else make.event(account="acct_1"))
    world.drain()
    expected = (url, None, "org_1/acct_1") if thin else ("/v1/customers/cus_1", "acct_1", None)
    assert requests == [expected] * len(inbox.handlers)
    assert names == ["now"] * len(inbox.handlers)


def test_no_client_and_the_wrong_mode_are_named(world: Any, make: Any) -> None:
    """Without a client, or with one of the other mode, ``context.client`` says so; nothing is asked with a wrong key."""
    requests: list[Any] = []
    for key, error in ((None, "ConfigurationError"), (LIVE_KEY, "ModeMismatchError")):
        world.store = type(world.store)()
        inbox = world.open(client=key and client(world, requests, key), retry=HandlerRetry.NONE)
        inbox.on("*", name="h")(world.handler(lambda event, context: context.client))
        world.receive(make.event())
        world.drain()
        assert world.only().handlers["h"].error.startswith(error)
    assert requests == []


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({"object": "customer", "id": "cus_1"}, "/v1/customers/cus_1"),
        ({"object": "checkout.session", "id": "cs_1"}, "/v1/checkout/sessions/cs_1"),
        ({"object": "balance"}, "/v1/balance"),
        ({"object": "person", "id": "person_1", "account": "acct_1"}, "/v1/accounts/acct_1/persons/person_1"),
        ({"object": "card", "id": "card_1", "customer": {"id": "cus_1"}}, "/v1/customers/cus_1/sources/card_1"),
        ({"object": "customer", "id": "../charges/ch_1?x"}, "/v1/customers/..%2Fcharges%2Fch_1%3Fx"),
        ({"object": "customer", "deleted": True}, None),
        ({"object": "person", "id": "person_1"}, None),
        ({"object": "unheard_of", "id": "x_1"}, None),
        ({"object": ["customer"], "id": "x_1"}, None),
        ({"id": 7}, None),
    ],
)
def test_the_path_of_an_object(obj: dict[str, Any], path: str | None) -> None:
    """An object is fetched from its own place in the API, and an id from outside never leads to another."""
    event = Event.from_stripe(json.loads(json.dumps({"id": "evt_1", "type": "a.b", "data": {"object": obj}})))
    if path is None:
        with pytest.raises(EncodingError):
            path_of(event)
    else:
        assert path_of(event) == path
