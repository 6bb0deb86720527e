"""Events and webhook endpoints, as the API has them. Deliveries are in test_deliveries.py."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.config import API_VERSION
from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_an_event(ask: Asking) -> None:
    """An event says what happened, when, in which version and by which request, and keeps the object as it was."""
    made = ask.post("/v1/customers", name="Jenny")
    ask.post(f"/v1/customers/{made['id']}", name="Tom")
    updated, created = ask.get("/v1/events")["data"]
    assert (created["type"], created["data"], created["api_version"]) == ("customer.created", {"object": made}, API_VERSION)
    assert (created["created"], created["livemode"], created["pending_webhooks"]) == (made["created"], False, 0)
    assert created["request"]["id"].startswith("req_")
    assert updated["data"]["previous_attributes"] == {"name": "Jenny"}
    assert ask.get(f"/v1/events/{created['id']}") == created
    assert "account" not in created


def test_events_of_a_version(ask: Asking) -> None:
    """The version of a request does not change that of the events."""
    ask.send("POST", "/v1/customers", {}, Stripe_Version="2026-09-30.endive")
    assert ask.get("/v1/events")["data"][0]["api_version"] == API_VERSION


@pytest.mark.parametrize(
    ("params", "types"),
    [
        ({"type": "charge.succeeded"}, ["charge.succeeded"]),
        ({"type": "charge.*"}, ["charge.updated", "charge.succeeded"]),
        ({"types": ["customer.created", "charge.updated"]}, ["charge.updated", "customer.created"]),
        ({"type": "invoice.paid"}, []),
        ({"limit": 1}, ["charge.updated"]),
    ],
)
def test_events_are_narrowed(ask: Asking, params: dict[str, Any], types: list[str]) -> None:
    """Events are listed newest first, by one type with stars in it or by several."""
    ask.post("/v1/customers")
    ask.pay()
    assert [event["type"] for event in ask.get("/v1/events", **params)["data"]] == types


def test_two_ways_of_narrowing(ask: Asking) -> None:
    """One type and several do not go together."""
    assert ask.refused("GET", "/v1/events", type="a", types=["b"])[1]["param"] == "type"


def test_events_are_kept_for_thirty_days(ask: Asking) -> None:
    """After 30 days an event is gone; by time it can be asked for until then."""
    ask.post("/v1/customers")
    (old,) = ask.get("/v1/events")["data"]
    ask.sandbox.clock.advance(days=29, hours=23)
    ask.post("/v1/customers")
    assert [event["id"] for event in ask.get("/v1/events", created={"lte": old["created"]})["data"]] == [old["id"]]
    ask.sandbox.clock.advance(hours=1)
    assert len(ask.get("/v1/events")["data"]) == 1
    assert ask.refused("GET", f"/v1/events/{old['id']}")[0] == 404
    assert ask.refused("GET", "/v1/events", starting_after=old["id"])[1]["code"] == "resource_missing"


def test_delivered_or_not(ask: Asking) -> None:
    """An event counts the endpoints that have not taken it, and can be listed by that."""

    def refuse(body: bytes, signature: str) -> None:
        raise OSError

    ask.sandbox.webhooks.deliver_to(lambda body, signature: None)
    ask.sandbox.webhooks.deliver_to(refuse, events=("customer.updated",))
    made = ask.post("/v1/customers")["id"]
    ask.post(f"/v1/customers/{made}", name="Jenny")
    for success, types in ((True, ["customer.created"]), (False, ["customer.updated"])):
        assert [event["type"] for event in ask.get("/v1/events", delivery_success=success)["data"]] == types
    assert [event["pending_webhooks"] for event in ask.get("/v1/events")["data"]] == [1, 0]


# Endpoints.


def test_life_of_an_endpoint(ask: Asking) -> None:
    """An endpoint is made, with a secret that is shown once, changed, turned off, listed and deleted."""
    made = ask.post("/v1/webhook_endpoints", url="https://shop.test/hook", enabled_events=["charge.failed"], metadata={"a": "1"})
    assert made["secret"].startswith("whsec_")
    path = f"/v1/webhook_endpoints/{made['id']}"
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert ask.get(path) == shown
    assert ask.get("/v1/webhook_endpoints")["data"] == [shown]
    changed = ask.post(path, disabled=True, enabled_events=["*"], description="Mine", url="https://shop.test/other")
    assert changed == {
        **shown,
        "status": "disabled",
        "enabled_events": ["*"],
        "description": "Mine",
        "url": "https://shop.test/other",
    }
    assert ask.post(path, disabled=False)["status"] == "enabled"
    assert ask.delete(path) == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert ask.get("/v1/webhook_endpoints")["data"] == []
    assert ask.refused("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"url": "shop.test/hook"}, 400, "url"),
        ({"url": "ftp://shop.test"}, 400, "url"),
        ({"url": "https://"}, 400, "url"),
        ({"url": "https://[::1"}, 400, "url"),
        ({"url": ""}, 400, "url"),
        ({"enabled_events": ["charge.suceeded"]}, 400, "enabled_events[0]"),
        ({"enabled_events": ["*", "charge.*"]}, 400, "enabled_events[1]"),
        ({"enabled_events": ""}, 400, "enabled_events"),
        ({"enabled_events": "*"}, 400, "enabled_events"),
        ({"api_version": "2019-12-03"}, 501, "api_version"),
        ({"api_version": "newest"}, 400, "api_version"),
        ({"secret": "whsec_x"}, 400, "secret"),
    ],
)
def test_what_is_no_endpoint(ask: Asking, params: dict[str, Any], status: int, param: str) -> None:
    """A URL has to be complete, and events have to be Stripe's: a misspelled one would never come. Other versions are refused by name."""
    answered, error = ask.refused(
        "POST", "/v1/webhook_endpoints", **{"url": "https://shop.test/", "enabled_events": ["*"], **params}
    )
    assert (answered, error["param"]) == (status, param)
    assert ask.get("/v1/webhook_endpoints")["data"] == []


def test_an_endpoint_needs_events(ask: Asking) -> None:
    """Without events or a URL there is no endpoint."""
    assert ask.refused("POST", "/v1/webhook_endpoints", url="https://shop.test/")[1]["code"] == "parameter_missing"
    assert ask.refused("POST", "/v1/webhook_endpoints", enabled_events=["*"])[1]["param"] == "url"
