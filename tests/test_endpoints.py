"""Webhook endpoints at Stripe: made once, kept as they should be, moved to another version, compared with handlers; in three colours."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from atom_stripe import API_VERSION, AsyncStripeClient, RetryPolicy, StripeClient
from atom_stripe._engine.doctor import Patient, diagnose
from atom_stripe._engine.drive import run
from atom_stripe.endpoints import AsyncWebhookEndpoints, RegisteredEndpoint, WebhookEndpoints
from atom_stripe.errors import APIError, ConfigurationError, ServerError
from atom_stripe.inbox import InboxConfig, WebhookInbox
from atom_stripe.models import Event
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import StripeSandbox
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import API_KEY, LIVE_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "https://shop.example/stripe/webhooks"
OLD = "2024-06-20"


class Proxy:
    """The async or sync endpoints, called in one way."""

    def __init__(self, colour: str, endpoints: Any) -> None:
        self._colour = colour
        self._endpoints = endpoints

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            async def flow() -> Any:
                result = getattr(self._endpoints, name)(*args, **options)
                return await result if inspect.isawaitable(result) else result

            return run(flow()) if self._colour == "sync" else anyio.run(flow, backend=self._colour)

        return call


@dataclass
class Account:
    """An account with endpoints."""

    colour: str
    sandbox: StripeSandbox
    asked: list[tuple[str, str]] = field(default_factory=list)

    def client(self, key: str = API_KEY, **settings: Any) -> Any:
        transport = self.sandbox.transport()

        def note(request: httpx.Request) -> None:
            self.asked.append((request.method, request.url.path))

        async def note_async(request: httpx.Request) -> None:
            note(request)

        config = replace(self.sandbox._config(API_KEY, settings), api_key=key)
        if self.colour == "sync":
            return StripeClient(config=config, http_client=httpx.Client(transport=transport, event_hooks={"request": [note]}))
        return AsyncStripeClient(
            config=config, http_client=httpx.AsyncClient(transport=transport, event_hooks={"request": [note_async]})
        )

    def endpoints(self, client: Any = None) -> Any:
        kind: Any = WebhookEndpoints if self.colour == "sync" else AsyncWebhookEndpoints
        return Proxy(self.colour, kind(client or self.client()))

    def writes(self) -> list[tuple[str, str]]:
        return [entry for entry in self.asked if entry[0] != "GET"]


@pytest.fixture(params=["sync", "asyncio", "trio"])
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    with StripeSandbox() as sandbox:
        yield Account(request.param, sandbox)


def inbox(**handlers: Any) -> WebhookInbox:
    made = WebhookInbox(WebhookVerifier(WEBHOOK_SECRET), MemoryInboxStore(), config=handlers.pop("config", None))
    for name, types in handlers.items():
        made.on(*types, name=name)(lambda event, context: None)
    return made


# Ensuring.


def test_creates_one_and_shows_its_secret_once(account: Account) -> None:
    """The first call creates the endpoint and holds its secret; the next finds it, and asks for nothing to be changed."""
    endpoints = account.endpoints()
    first = endpoints.ensure(URL, ["invoice.paid", "customer.updated"], description="shop")
    assert first.created
    assert first.secret.get_secret_value().startswith("whsec_")
    assert (first.endpoint.url, first.endpoint.api_version, first.endpoint.connect) == (URL, API_VERSION, False)
    assert first.endpoint.enabled_events == ("customer.updated", "invoice.paid")
    account.asked.clear()
    again = endpoints.ensure(URL, ["customer.updated", "invoice.paid"], description="shop")
    assert (again.endpoint, again.secret, again.created, again.changed) == (first.endpoint, None, False, ())
    assert account.writes() == []


def test_the_secret_verifies_what_arrives(account: Account) -> None:
    """What the sandbox sends to the endpoint is signed with the secret of the result."""
    result = account.endpoints().ensure("http://127.0.0.1:9/hook", ["customer.created"])
    assert result.secret.get_secret_value() == account.sandbox.webhooks._directory.find(result.endpoint.id).secret


def test_secrets_stay_secret(account: Account) -> None:
    """The secret is in no repr and no text of the result, and the result is not pickled."""
    result = account.endpoints().ensure(URL, ["*"])
    secret = result.secret.get_secret_value()
    assert secret not in repr(result) + str(result)
    assert "store its signing secret now" in str(result)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(result)


def test_changes_what_differs(account: Account) -> None:
    """Events and description are brought up to date, and an endpoint that was disabled is enabled."""
    endpoints = account.endpoints()
    made = endpoints.ensure(URL, ["invoice.paid"], description="old").endpoint
    endpoints.disable(made)
    result = endpoints.ensure(URL, ["invoice.voided"], description="new")
    assert (result.created, result.changed) == (False, ("enabled_events", "description", "disabled"))
    assert str(result).endswith("changed: enabled_events, description, disabled")
    (now,) = endpoints.list()
    assert (now.id, now.enabled_events, now.description, now.enabled) == (made.id, ("invoice.voided",), "new", True)
    assert endpoints.ensure(URL, ["invoice.voided"]).changed == ()


def test_own_and_connected_accounts_are_two(account: Account) -> None:
    """At one URL there can be an endpoint for your own account and one for connected ones, and each is found again."""
    endpoints = account.endpoints()
    own = endpoints.ensure(URL, ["*"]).endpoint
    connected = endpoints.ensure(URL, ["*"], connect=True).endpoint
    assert own.id != connected.id
    assert account.sandbox.webhooks._directory.find(connected.id).connect
    assert endpoints.ensure(URL, ["*"]).endpoint == own
    assert endpoints.ensure(URL, ["*"], connect=True).endpoint == connected


def test_two_programs_at_once_get_one_endpoint(account: Account) -> None:
    """Programs that saw no endpoint and create it at the same time get the same one, each with its secret."""
    endpoints = account.endpoints()
    flow = endpoints._endpoints._flow
    seen = flow.all

    async def nothing_yet() -> tuple[RegisteredEndpoint, ...]:
        return ()

    flow.all = nothing_yet
    one, two = endpoints.ensure(URL, ["*"]), endpoints.ensure(URL, ["*"])
    flow.all = seen
    assert one.endpoint == two.endpoint
    assert one.secret == two.secret
    assert len(endpoints.list()) == 1


def test_a_deleted_endpoint_is_made_anew(account: Account) -> None:
    """Whoever deletes an endpoint and wants it again gets a new one, and not Stripe's answer of before."""
    endpoints = account.endpoints()
    first = endpoints.ensure(URL, ["*"])
    endpoints.delete(first.endpoint)
    endpoints.delete(first.endpoint.id)
    second = endpoints.ensure(URL, ["*"])
    assert second.created
    assert second.endpoint.id != first.endpoint.id
    assert second.secret != first.secret
    assert [one.id for one in endpoints.list()] == [second.endpoint.id]


def test_an_answer_that_got_lost(account: Account) -> None:
    """If the answer that creates an endpoint is lost, the retry gets it, with the secret, and there is one endpoint."""
    account.sandbox.faults.next(drop_after=True, operation="POST /v1/webhook_endpoints")
    endpoints = account.endpoints()
    result = endpoints.ensure(URL, ["*"])
    assert result.secret is not None
    assert len(endpoints.list()) == 1


def test_many_endpoints(account: Account) -> None:
    """An endpoint is found also behind the first page of the list."""
    stripe = account.sandbox.client()
    first = account.endpoints().ensure(URL, ["*"]).endpoint
    for number in range(101):
        stripe.webhook_endpoints.create(url=f"https://other.example/{number}", enabled_events=["*"])
    assert account.endpoints().ensure(URL, ["*"]).endpoint == first


def test_endpoints_made_elsewhere_are_adopted_by_name(account: Account) -> None:
    """An endpoint of the Dashboard at this URL is not taken over and not doubled in silence; with adopt= it is taken over."""
    made = account.sandbox.client().webhook_endpoints.create(url=URL, enabled_events=["*"], metadata={"team": "billing"})
    endpoints = account.endpoints()
    with pytest.raises(ConfigurationError, match="adopt"):
        endpoints.ensure(URL, ["invoice.paid"])
    with pytest.raises(ConfigurationError, match="another API version"):
        endpoints.ensure(URL, ["invoice.paid"], adopt=made.id)
    result = endpoints.ensure(URL, ["invoice.paid"], adopt=made.id, api_version=None)
    assert (result.endpoint.id, result.created, result.secret) == (made.id, False, None)
    assert result.endpoint.connect is False
    assert endpoints.ensure(URL, ["invoice.paid"], api_version=None).changed == ()
    assert account.sandbox.client().webhook_endpoints.retrieve(made.id).metadata["team"] == "billing"
    with pytest.raises(ConfigurationError, match="another URL"):
        endpoints.ensure(URL + "/2", ["invoice.paid"], adopt=made.id, api_version=None)
    with pytest.raises(ConfigurationError, match="other accounts"):
        endpoints.ensure(URL, ["invoice.paid"], adopt=made.id, api_version=None, connect=True)
    with pytest.raises(ConfigurationError, match="no webhook endpoint"):
        endpoints.ensure(URL, ["invoice.paid"], adopt="we_unknown")


def test_another_version_is_not_ensured(account: Account) -> None:
    """An endpoint with another API version is named, with what moves it, and nothing is changed."""
    endpoints = account.endpoints()
    endpoints.ensure(URL, ["*"], api_version=OLD)
    account.asked.clear()
    with pytest.raises(ConfigurationError, match=r"roll_over\(\)"):
        endpoints.ensure(URL, ["*"])
    assert account.writes() == []


@pytest.mark.parametrize(
    "options",
    [
        {"url": "shop.example"},
        {"url": "ftp://shop.example"},
        {"url": None},
        {"url": "http://["},
        {"events": "invoice.paid"},
        {"events": []},
        {"events": ["invoice.*"]},
        {"events": [None]},
        {"api_version": "latest"},
        {"api_version": 2024},
    ],
    ids=repr,
)
def test_bad_wishes(account: Account, options: dict[str, Any]) -> None:
    """What cannot be an endpoint is refused before Stripe is asked."""
    wish = {"url": URL, "events": ["*"], **options}
    with pytest.raises(ConfigurationError):
        account.endpoints().ensure(wish.pop("url"), wish.pop("events"), **wish)
    assert account.asked == []


def test_live_endpoints_are_https(account: Account) -> None:
    """With a live key an http URL is refused before Stripe is asked."""
    with pytest.raises(ConfigurationError, match="https"):
        account.endpoints(account.client(LIVE_KEY)).ensure("http://shop.example", ["*"])
    assert account.asked == []


def test_errors_come_out(account: Account) -> None:
    """What Stripe refuses is Stripe's error."""
    endpoints = account.endpoints(account.client(retry=RetryPolicy.NONE))
    account.sandbox.faults.next(status=500, operation="GET /v1/webhook_endpoints")
    with pytest.raises(ServerError):
        endpoints.list()
    with pytest.raises(APIError):
        endpoints.ensure(URL, ["invoice.payed"])


# Single ones.


def test_update_disable_enable(account: Account) -> None:
    """An endpoint is changed by its id or by what list() returns."""
    endpoints = account.endpoints()
    made = endpoints.ensure(URL, ["invoice.paid"]).endpoint
    assert endpoints.update(made, events=["invoice.voided"]).enabled_events == ("invoice.voided",)
    changed = endpoints.update(made.id, url=URL + "/2", description="second")
    assert (changed.url, changed.description) == (URL + "/2", "second")
    assert not endpoints.disable(made).enabled
    assert endpoints.enable(made.id).enabled
    with pytest.raises(ConfigurationError, match="say what"):
        endpoints.update(made)
    with pytest.raises(ConfigurationError, match="we_"):
        endpoints.disable("../account")


def test_needs_the_client_of_its_colour(account: Account) -> None:
    """A client of the other colour, or something else, is refused by name."""
    ours, others = (WebhookEndpoints, AsyncWebhookEndpoints)[:: 1 if account.colour == "sync" else -1]
    with pytest.raises(ConfigurationError, match="StripeClient"):
        others(account.client())
    with pytest.raises(ConfigurationError):
        ours(object())  # type: ignore[arg-type]
    assert "test mode" in repr(ours(account.client()))


# Another version.


def test_roll_over(account: Account) -> None:
    """A second endpoint with the new version is alive beside the old one until it has delivered, and then the old one is off."""
    endpoints = account.endpoints()
    old = endpoints.ensure(URL, ["customer.updated"], api_version=OLD, description="shop").endpoint
    begun = endpoints.roll_over(old)
    new = begun.endpoint
    assert begun.secret is not None
    assert (new.url, new.enabled_events, new.api_version, new.description) == (URL, ("customer.updated",), API_VERSION, "shop")
    assert (new.replaces, new.connect) == (old.id, False)
    assert [one.enabled for one in endpoints.list()] == [True, True]
    again = endpoints.roll_over(old.id)
    assert (again.endpoint, again.secret, again.created) == (new, None, False)

    ours = inbox()
    early = endpoints.finish_roll_over(new, inbox=ours)
    assert not early.finished
    assert "no event in the API version" in early.reason
    received(ours, account, "evt_1", OLD, "default")
    received(ours, account, "evt_2", API_VERSION, "reconcile")
    received(ours, account, "evt_same_second", API_VERSION, "default", later=0.5)
    received(ours, account, "evt_connected", API_VERSION, "default", of="acct_1")
    assert not endpoints.finish_roll_over(new, inbox=ours).finished
    for number in range(300):
        received(ours, account, f"evt_old_{number}", OLD, "default")
    received(ours, account, "evt_3", API_VERSION, "default")
    done = endpoints.finish_roll_over(new.id, inbox=ours)
    assert (done.finished, done.old.id, done.old.enabled, done.new) == (True, old.id, False, new)
    assert {one.id: one.enabled for one in endpoints.list()} == {old.id: False, new.id: True}
    assert endpoints.finish_roll_over(new, force=True, delete=True).finished
    assert [one.id for one in endpoints.list()] == [new.id]
    assert endpoints.finish_roll_over(new, inbox=inbox()).finished


def received(
    ours: WebhookInbox, account: Account, identity: str, version: str, endpoint: str, *, later: float = 1.0, of: str | None = None
) -> None:
    raw: dict[str, Any] = {
        "id": identity,
        "object": "event",
        "type": "customer.updated",
        "api_version": version,
        "livemode": False,
        "account": of,
    }
    raw["data"] = {"object": {"id": "cus_1", "object": "customer"}}
    intake = ours._core.intake
    arrival = intake.arrival_of(Event.from_stripe(raw), json.dumps(raw).encode(), endpoint)
    ours.store.append([replace(arrival, received_at=account.sandbox.clock.timestamp + later)])


def test_ensure_during_a_roll_over(account: Account) -> None:
    """While both are alive, ensure() gives both the same events, and returns the one of the wanted version."""
    endpoints = account.endpoints()
    old = endpoints.ensure(URL, ["invoice.paid"], api_version=OLD).endpoint
    new = endpoints.roll_over(old).endpoint
    assert endpoints.ensure(URL, ["invoice.voided"], api_version=OLD).endpoint.id == old.id
    assert endpoints.ensure(URL, ["invoice.voided"]).endpoint.id == new.id
    assert {one.enabled_events for one in endpoints.list()} == {("invoice.voided",)}


def test_roll_over_is_not_finished_while_something_is_missing(account: Account) -> None:
    """The old endpoint stays while the new one is off, or has fewer events."""
    endpoints = account.endpoints()
    old = endpoints.ensure(URL, ["invoice.paid", "invoice.voided"], api_version=OLD).endpoint
    new = endpoints.roll_over(old).endpoint
    endpoints.disable(new)
    assert "disabled" in endpoints.finish_roll_over(new, inbox=inbox()).reason
    endpoints.enable(new)
    endpoints.update(new, events=["invoice.paid"])
    assert "not subscribed" in endpoints.finish_roll_over(new, inbox=inbox()).reason
    assert all(one.enabled for one in endpoints.list())


def test_roll_over_refuses_what_it_cannot_know(account: Account) -> None:
    """The version has to be another, the accounts have to be known, and the proof has to be somewhere."""
    endpoints = account.endpoints()
    made = endpoints.ensure(URL, ["*"]).endpoint
    with pytest.raises(ConfigurationError, match="already"):
        endpoints.roll_over(made)
    with pytest.raises(ConfigurationError, match="not made by roll_over"):
        endpoints.finish_roll_over(made, force=True)
    stranger = account.sandbox.client().webhook_endpoints.create(url=URL, enabled_events=["*"])
    with pytest.raises(ConfigurationError, match="connect="):
        endpoints.roll_over(stranger.id)
    new = endpoints.roll_over(stranger.id, connect=True).endpoint
    assert new.connect
    with pytest.raises(ConfigurationError, match="inbox="):
        endpoints.finish_roll_over(new)


# The doctor.


def codes(findings: Any) -> list[str]:
    return sorted(finding.code for finding in findings)


def test_a_healthy_account(account: Account) -> None:
    """Where everything fits, nothing is found."""
    endpoints = account.endpoints()
    endpoints.ensure(URL, ["invoice.paid", "customer.updated"])
    endpoints.ensure(URL, ["account.application.deauthorized"], connect=True)
    ours = inbox(billing=["invoice.paid"], people=["customer.*"], leaving=["account.application.deauthorized"])
    assert endpoints.doctor(ours, url=URL, connect=True) == ()


def test_types_that_do_not_fit(account: Account) -> None:
    """A type that is handled and not subscribed to is a problem; one that is subscribed to and not handled is a note."""
    endpoints = account.endpoints()
    made = endpoints.ensure(URL, ["invoice.paid", "payout.paid"]).endpoint
    findings = endpoints.doctor(inbox(billing=["invoice.paid", "invoice.voided", "charge.*"]), url=URL)
    assert [(finding.code, finding.problem) for finding in findings] == [("not_subscribed", True), ("not_handled", False)]
    assert "charge.*, invoice.voided" in findings[0].message
    assert "payout.paid" in findings[1].message
    assert findings[1].endpoint == made.id
    assert str(findings[0]).startswith("problem: the handler billing")


def test_no_endpoint(account: Account) -> None:
    """Without an endpoint nothing is delivered, and that is one finding, not one for each handler."""
    assert codes(account.endpoints().doctor(inbox(all=["*"]), url=URL)) == ["no_endpoint"]
    assert codes(account.endpoints().doctor({"all": ["*"]})) == ["no_endpoint"]


def test_a_disabled_endpoint(account: Account) -> None:
    """A disabled endpoint is a problem, unless it was replaced."""
    endpoints = account.endpoints()
    made = endpoints.ensure(URL, ["*"], api_version=OLD).endpoint
    endpoints.disable(made)
    (finding,) = endpoints.doctor({"all": "*"}, url=URL)
    assert (finding.code, finding.endpoint) == ("disabled", made.id)
    assert "reconcile" in finding.remedy
    endpoints.enable(made)
    endpoints.finish_roll_over(endpoints.roll_over(made).endpoint, force=True)
    assert endpoints.doctor({"all": "*"}, url=URL) == ()


def test_other_versions_and_roll_overs(account: Account) -> None:
    """An endpoint with another major version is named, and so is a roll-over that nobody finished."""
    endpoints = account.endpoints()
    old = endpoints.ensure(URL, ["*"], api_version=OLD).endpoint
    assert codes(endpoints.doctor({"all": "*"}, url=URL)) == ["other_version"]
    new = endpoints.roll_over(old).endpoint
    findings = endpoints.doctor({"all": "*"}, url=URL)
    assert codes(findings) == ["other_version", "unfinished_roll_over"]
    assert f"finish_roll_over('{new.id}'" in findings[-1].remedy


def test_connect_events_without_an_endpoint(account: Account) -> None:
    """Types that only connected accounts have need an endpoint for those, whether said by the types or by connect=True."""
    endpoints = account.endpoints()
    endpoints.ensure(URL, ["*"])
    assert codes(endpoints.doctor({"leaving": "account.application.deauthorized", "all": "*"}, url=URL)) == ["no_connect_endpoint"]
    assert codes(endpoints.doctor({"all": "*"}, url=URL, connect=True)) == ["no_connect_endpoint"]
    assert endpoints.doctor({"leaving": "account.application.deauthorized", "all": "*"}, url=URL, connect=False) == ()
    endpoints.ensure(URL, ["*"], connect=True)
    assert endpoints.doctor({"all": "*"}, url=URL, connect=True) == ()


def test_endpoints_made_elsewhere(account: Account) -> None:
    """Of an endpoint that was made elsewhere, the accounts are not known, which is said; two of them are not called a pair."""
    stripe = account.sandbox.client()
    made = [stripe.webhook_endpoints.create(url=URL, enabled_events=["*"]).id for _ in range(2)]
    assert account.endpoints().doctor({"all": "*"}, url=URL) == ()
    findings = account.endpoints().doctor({"all": "*"}, url=URL, connect=True)
    assert {(finding.code, finding.endpoint) for finding in findings} == {("unknown_accounts", one) for one in made}


def test_modes(account: Account) -> None:
    """An inbox that discards the events of the client's mode is a problem."""
    endpoints = account.endpoints()
    endpoints.ensure(URL, ["*"])
    (finding,) = endpoints.doctor(inbox(all=["*"], config=InboxConfig(livemode=True)), url=URL)
    assert (finding.code, finding.problem) == ("mode_mismatch", True)
    assert endpoints.doctor(inbox(all=["*"], config=InboxConfig(livemode=False)), url=URL) == ()


ENDPOINT = RegisteredEndpoint(
    id="we_1",
    url=URL,
    enabled_events=("*",),
    enabled=True,
    livemode=True,
    connect=False,
    api_version=API_VERSION,
    description=None,
    created=1,
)
PATIENT = Patient(endpoints=[ENDPOINT], handlers={"all": ("*",)}, url=None, connect=None, livemode=True, inbox_livemode=True)


@pytest.mark.parametrize(
    ("endpoints", "found"),
    [
        ([ENDPOINT], []),
        ([replace(ENDPOINT, url="http://shop.example")], ["insecure_url"]),
        ([replace(ENDPOINT, livemode=False)], ["mode_mismatch"]),
        ([replace(ENDPOINT, livemode=False, url="http://127.0.0.1")], ["mode_mismatch"]),
        ([ENDPOINT, replace(ENDPOINT, id="we_2")], ["doubled"]),
        ([ENDPOINT, replace(ENDPOINT, id="we_2", connect=True)], []),
        ([replace(ENDPOINT, api_version=None)], []),
        ([replace(ENDPOINT, api_version="2026-09-01.endive")], []),
        ([replace(ENDPOINT, api_version="2024-06-20")], ["other_version"]),
        ([replace(ENDPOINT, enabled_events=())], ["not_subscribed"]),
    ],
)
def test_diagnoses(endpoints: list[RegisteredEndpoint], found: list[str]) -> None:
    """Each state of the endpoints has its finding, and a healthy one none."""
    assert codes(diagnose(replace(PATIENT, endpoints=endpoints))) == found


def test_both_modes_at_a_live_connect_endpoint() -> None:
    """A live endpoint for connected accounts gets test events too: an inbox for both modes is told so."""
    patient = replace(PATIENT, endpoints=[replace(ENDPOINT, connect=True)])
    assert codes(diagnose(patient)) == []
    assert codes(diagnose(replace(patient, inbox_livemode=None))) == ["mixed_modes"]


def test_thin_types_need_a_destination() -> None:
    """A handler of thin events is told that webhook endpoints do not bring them, and not that a type is missing."""
    findings = diagnose(replace(PATIENT, handlers={"thin": ("v1.customer.created",), "all": ("*",)}))
    assert codes(findings) == ["thin_events"]


def test_everything_subscribed_and_little_handled() -> None:
    """Being subscribed to everything and handling little is a note."""
    (finding,) = diagnose(replace(PATIENT, handlers={"one": ("invoice.paid",)}))
    assert (finding.code, finding.problem) == ("not_handled", False)
    assert "every type" in finding.message
