"""Reconciliation: what Stripe lists and the inbox has not, in three colours, against a sandbox that delivers badly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe import AsyncStripeClient, RetryPolicy, StripeClient
from atom_stripe._engine.drive import run
from atom_stripe._engine.inbox import comparing
from atom_stripe._engine.inbox.reconciling import reconcile
from atom_stripe._wire.entries import sent_entries
from atom_stripe.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidResponseError,
    ModeMismatchError,
    ServerError,
    StoreError,
)
from atom_stripe.protocols import InboxQuery
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = 86_400
AWAY = StoreError("away")
CUT = httpx.ConnectError("cut")


@dataclass
class Scene:
    """A sandbox, and an inbox that is its endpoint, by the sandbox's clock."""

    world: Any
    sandbox: StripeSandbox
    asked: list[httpx.Request] = field(default_factory=list)
    change: Callable[[httpx.Request, httpx.Response], httpx.Response] | None = None
    client: Any = None

    @property
    def sync(self) -> bool:
        return bool(self.world.colour == "sync")

    def now(self) -> int:
        return int(self.sandbox.clock.timestamp)

    def open(self, **config: Any) -> Any:
        self.client = self.new_client()
        return self.world.open(client=self.client, clock=self.now, **config)

    def new_client(self, **settings: Any) -> Any:
        kind: Any = StripeClient if self.sync else AsyncStripeClient
        transport = Watched(self)
        http = httpx.Client(transport=transport) if self.sync else httpx.AsyncClient(transport=transport)
        return kind(config=self.sandbox._config(API_KEY, settings), http_client=http)

    def reconcile(self, client: Any = None, **options: Any) -> Any:
        flow = reconcile(self.world.inbox._core, client, **options)
        return run(flow) if self.sync else self.world.run(lambda: flow)

    def emit(self, number: int = 1, *, every: int = 60, **options: Any) -> list[str]:
        """Let *number* events happen that nobody hears of."""
        made = []
        for _ in range(number):
            self.sandbox.clock.advance(seconds=every)
            made.append(self.sandbox.webhooks.emit("customer.updated", {"id": "cus_1", "object": "customer"}, **options)["id"])
        return made

    def ids(self, **query: Any) -> list[str]:
        return [record.event_id for record in self.world.store.find(InboxQuery(limit=100_000, **query))]

    def cursors(self) -> dict[str, str]:
        return {name: value for name, value in self.world.store._rows.values.items() if name.startswith("reconcile:")}

    def listings(self) -> list[httpx.Request]:
        return [request for request in self.asked if request.url.path == "/v1/events"]


class Watched(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The way to the sandbox, with somebody who looks and may change what comes back."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._transport = scene.sandbox.transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._scene.asked.append(request)
        return self._changed(request, self._transport.handle_request(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._scene.asked.append(request)
        return self._changed(request, await self._transport.handle_async_request(request))

    def _changed(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return response if self._scene.change is None else self._scene.change(request, response)


@pytest.fixture
def scene(world: Any) -> Iterator[Scene]:
    with StripeSandbox() as sandbox:
        yield Scene(world, sandbox)


def rewritten(change: Callable[[dict[str, Any]], Any]) -> Callable[[httpx.Request, httpx.Response], httpx.Response]:
    """Change the lists that come back."""

    def rewrite(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        response.read()
        page = json.loads(response.content)
        changed = change(page)
        return httpx.Response(response.status_code, content=json.dumps(page if changed is None else changed).encode())

    return rewrite


# What is stored.


def test_stores_what_is_missing_in_the_order_of_time(scene: Scene) -> None:
    """Events that never arrived are stored, the oldest first, and those that arrived are left alone."""
    scene.open()
    first = scene.emit(3)
    delivered = scene.emit(1)[0]
    scene.world.receive(scene.sandbox.client().events.retrieve(delivered).to_dict())
    later = scene.emit(2)
    report = scene.reconcile()
    assert scene.ids() == [delivered, *first, *later]
    assert (report.listed, report.missing, report.stored, report.complete) == (6, 5, 5, True)
    assert [missed.event_id for missed in report.missed] == [*first, *later]


def test_twice_changes_nothing(scene: Scene) -> None:
    """A second run lists the overlap again, stores nothing, and writes nothing into the logs."""
    scene.open()
    scene.emit(5)
    scene.reconcile()
    before = (scene.world.records(), list(scene.world.store._rows.deliveries), scene.world.store.logged(0, 100))
    report = scene.reconcile()
    assert (report.listed, report.missing) == (5, 0)
    assert (scene.world.records(), list(scene.world.store._rows.deliveries), scene.world.store.logged(0, 100)) == before


def test_parked_events_stay_parked(scene: Scene) -> None:
    """An event that a handler gave up on is known, so a reconciliation does not try it again."""
    inbox = scene.open()
    calls = []

    def fail(event: Any, context: Any) -> None:
        calls.append(event.id)
        raise ValueError(event.id)

    inbox.on("*", name="fail")(scene.world.handler(fail))
    scene.emit(1)
    scene.reconcile()
    scene.world.work(lambda: scene.world.only().status == "parked")
    tried = len(calls)
    scene.reconcile()
    assert scene.world.only().status == "parked"
    assert len(calls) == tried


def test_handlers_run_with_what_was_missed(scene: Scene) -> None:
    """What a reconciliation stored is handled like any delivery, with its own account and version."""
    inbox = scene.open()
    heard = []
    inbox.on("customer.*", name="hear")(
        scene.world.handler(lambda event, context: heard.append((event.id, event.api_version, context.event_record.endpoint)))
    )
    made = scene.emit(1, api_version="2024-06-20") + scene.emit(1)
    scene.reconcile()
    scene.world.drain()
    assert [entry[0] for entry in heard] == made
    assert heard[0][1:] == ("2024-06-20", "reconcile")


def test_keeps_the_bytes_of_the_list(scene: Scene) -> None:
    """The payload is the event exactly as it stood in Stripe's list, with its spaces and the order of its fields."""
    scene.open()
    scene.emit(3)
    sent = []

    def spread(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        response.read()
        body = json.dumps(json.loads(response.content), indent=3, ensure_ascii=False).encode()
        sent.append(body)
        return httpx.Response(200, content=body)

    scene.change = spread
    scene.reconcile()
    records = scene.world.records()
    assert len(records) == 3
    for record in records:
        assert record.payload in sent[0]
        assert b"\n   " in record.payload
        assert json.loads(record.payload)["id"] == record.event_id


def test_a_race_with_a_delivery_stores_once(scene: Scene) -> None:
    """An event that is delivered between the look and the write is stored once, and counts as stored."""
    scene.open()
    (made,) = scene.emit(1)
    store = scene.world.store
    append = store.append
    raw = scene.sandbox.client().events.retrieve(made).to_dict()
    arrival = scene.world.inbox._core.intake.arrival_of(comparing.Event.from_stripe(raw), json.dumps(raw).encode(), "default")

    def late(arrivals: Any) -> Any:
        append([arrival])
        return append(arrivals)

    store.append = late
    report = scene.reconcile()
    assert scene.ids() == [made]
    assert (report.missing, report.stored) == (1, 1)


# Cursors.


def test_goes_on_behind_the_cursor(scene: Scene) -> None:
    """The second run asks from an overlap before the end of the first, and not for 30 days again."""
    scene.open()
    scene.emit(1)
    scene.reconcile()
    ended = scene.now()
    assert scene.cursors() == {"reconcile:test:": str(ended)}
    scene.sandbox.clock.advance(days=2)
    late = scene.emit(1)
    scene.asked.clear()
    report = scene.reconcile(overlap=600)
    assert scene.listings()[0].url.params["created[gte]"] == str(ended - 600)
    assert report.accounts[0].since == ended - 600
    assert scene.ids()[-1:] == late


def test_finds_what_stripe_listed_late(scene: Scene) -> None:
    """An event that came into Stripe's list after the cursor had passed it is found within the overlap."""
    scene.open()
    scene.emit(1)
    scene.reconcile()
    scene.sandbox.clock.advance(seconds=60)
    late = scene.sandbox.webhooks.emit("payout.paid", {"id": "po_1", "object": "payout"}, created=scene.now() - 1800)["id"]
    assert scene.reconcile().stored == 1
    assert late in scene.ids()


def test_first_run_takes_thirty_days(scene: Scene) -> None:
    """Without a cursor the run goes back as far as Stripe lists, and reports no hole."""
    scene.open()
    scene.emit(1)
    scene.sandbox.clock.advance(days=29)
    made = scene.emit(1)
    report = scene.reconcile()
    assert report.stored == 2
    assert scene.ids()[-1:] == made
    assert report.holes == ()
    assert report.accounts[0].since == scene.now() - 30 * DAY


@pytest.mark.parametrize("kind", ["datetime", "seconds"])
def test_first_run_since(scene: Scene, kind: str) -> None:
    """``since`` says where the first run begins."""
    scene.open()
    scene.emit(1)
    scene.sandbox.clock.advance(days=3)
    (made,) = scene.emit(1)
    since: Any = scene.now() - DAY
    scene.reconcile(since=datetime.fromtimestamp(since, tz=UTC) if kind == "datetime" else since)
    assert scene.ids() == [made]


def test_since_goes_back_behind_the_cursor_and_never_over_a_gap(scene: Scene) -> None:
    """With a cursor, ``since`` only ever widens the window, so that it leaves nothing out."""
    scene.open()
    scene.reconcile()
    cursor = scene.now()
    scene.sandbox.clock.advance(days=5)
    assert scene.reconcile(since=scene.now() - 10, dry_run=True).accounts[0].since == cursor - 3600
    assert scene.reconcile(since=cursor - 9 * DAY, dry_run=True).accounts[0].since == cursor - 9 * DAY


def test_a_hole_is_reported(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """When the last run is over 30 days ago, the report and the log name the time that nobody can list any more."""
    scene.open()
    scene.reconcile()
    ended = scene.now()
    scene.sandbox.clock.advance(days=40)
    report = scene.reconcile()
    (gaps,) = report.holes
    assert gaps.hole == (ended, scene.now() - 30 * DAY)
    assert "cannot be closed" in str(report)
    assert "may be missing for ever" in caplog.text
    assert scene.reconcile().holes == ()


def test_a_kill_between_slices_costs_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a run ends, the next one goes on at the last slice that was stored, and in the end all events are there once and in order."""
    monkeypatch.setattr(comparing, "_PAGE", 2)
    monkeypatch.setattr(comparing, "_MOST_PAGES", 2)
    scene.open()
    made = scene.emit(20)
    store = scene.world.store
    append, keep = store.append, store.keep

    class KillError(BaseException):
        pass

    left = [0]

    def fatal(function: Any) -> Any:
        def call(*args: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise KillError
            result = function(*args)
            left[0] -= 1
            if left[0] == 0:
                raise KillError
            return result

        return call

    store.append, store.keep = fatal(append), fatal(keep)
    kills = 0
    for survives in range(1, 100):
        left[0] = survives
        try:
            report = scene.reconcile(overlap=0)
        except KillError:
            kills += 1
        else:
            break
    assert kills > 3
    assert report.complete
    assert scene.ids() == made


def test_the_cursor_stays_before_what_was_not_stored(scene: Scene) -> None:
    """An event that the database refuses is reported, and keeps the cursor before it until it is stored."""
    scene.open()
    made = scene.emit(4)
    store = scene.world.store
    append = store.append
    store.append = lambda arrivals: [
        StoreError("refused") if arrival.event_id == made[1] else append([arrival])[0] for arrival in arrivals
    ]
    report = scene.reconcile()
    assert (report.missing, report.stored, report.accounts[0].failed, report.complete) == (4, 3, 1, False)
    assert [missed.event_id for missed in report.missed if not missed.stored] == [made[1]]
    store.append = append
    again = scene.reconcile(overlap=0)
    assert again.stored == 1
    assert set(scene.ids()) == set(made)


def test_a_broken_cursor_begins_anew(scene: Scene) -> None:
    """A cursor that cannot be read costs another full run, and no event."""
    scene.open()
    made = scene.emit(1)
    scene.world.store.keep("reconcile:test:", "rubbish")
    assert scene.reconcile().stored == 1
    assert scene.ids() == made
    assert scene.cursors() == {"reconcile:test:": str(scene.now())}


def test_each_filter_has_its_cursor(scene: Scene) -> None:
    """A run for some types leaves the cursor of the others where it is, so nothing is passed over."""
    scene.open()
    made = scene.emit(1)
    assert scene.reconcile(types=["invoice.paid"]).listed == 0
    scene.sandbox.clock.advance(days=1)
    assert scene.reconcile(overlap=0).stored == 1
    assert scene.ids() == made
    assert len(scene.cursors()) == 2


def test_a_clock_that_was_set_back(scene: Scene) -> None:
    """A cursor from the future does not keep the run from comparing the present."""
    scene.open()
    made = scene.emit(1)
    scene.sandbox.clock.advance(days=1)
    scene.world.store.keep("reconcile:test:", str(scene.now() + 10 * DAY))
    scene.reconcile()
    assert scene.ids() == made


# What is asked.


def test_asks_for_what_was_not_delivered(scene: Scene) -> None:
    """``delivery_success=False`` asks Stripe for events with a delivery that failed or is pending."""
    scene.open()
    scene.emit(2)
    with scene.sandbox.faults.drop(retried=True):
        scene.sandbox.webhooks.deliver_to(lambda body, signature: None, WEBHOOK_SECRET)
        failed = scene.emit(1)
    report = scene.reconcile(delivery_success=False, types=["customer.updated", "invoice.*"])
    assert scene.ids() == failed
    assert report.missed[0].reason == "undelivered"
    params = scene.listings()[0].url.params
    assert params["delivery_success"] == "false"
    assert params["limit"] == "100"
    assert [value for name, value in params.multi_items() if name.startswith("types")] == ["customer.updated", "invoice.*"]


@pytest.mark.parametrize("same", [False, True], ids=["spread", "one-second"])
def test_many_events_in_little_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    """However many events there are, also in one second, they are stored in order, and few pages are held at a time."""
    monkeypatch.setattr(comparing, "_PAGE", 3)
    monkeypatch.setattr(comparing, "_MOST_PAGES", 2)
    held: list[int] = []
    append = scene.world.store.append
    scene.world.store.append = lambda arrivals: (held.append(len(arrivals)), append(arrivals))[1]
    scene.open()
    made = scene.emit(2) + scene.emit(31, every=0 if same else 1) + scene.emit(2, every=5000)
    report = scene.reconcile()
    assert scene.ids() == made
    assert (report.listed, report.stored) == (35, 35)
    assert max(held) <= 3


def test_few_events_cost_few_calls(scene: Scene) -> None:
    """What fits on one page is one call; many events cost little more than their pages, and those that find where they are."""
    scene.open()
    scene.emit(5)
    scene.reconcile()
    assert len(scene.listings()) == 1
    scene.emit(1500, every=1)
    scene.asked.clear()
    assert scene.reconcile().stored == 1500
    assert len(scene.listings()) < 45


def test_waits_and_tries_again(scene: Scene) -> None:
    """A rate limit and an outage in the middle are the client's business: the run goes on."""
    scene.open()
    made = scene.emit(2)
    scene.sandbox.faults.next(status=429, reason="endpoint-rate", operation="GET /v1/events")
    scene.sandbox.faults.next(status=503, operation="GET /v1/events")
    assert scene.reconcile().complete
    assert scene.ids() == made


def test_an_outage_of_stripe_ends_the_run(scene: Scene) -> None:
    """When the own account cannot be listed, the error comes out, and the cursor stays."""
    scene.open()
    scene.emit(1)
    scene.sandbox.faults.next(status=503, times=9, operation="GET /v1/events")
    with pytest.raises(ServerError):
        scene.reconcile(scene.new_client(retry=RetryPolicy.NONE))
    assert scene.cursors() == {}


def test_an_outage_of_the_store_ends_the_run(scene: Scene) -> None:
    """When the store is away, the error comes out, and the cursor stays."""
    scene.open()
    scene.emit(1)

    def away(*_: Any) -> Any:
        raise AWAY

    scene.world.store.append = away
    with pytest.raises(StoreError):
        scene.reconcile()
    assert scene.cursors() == {}


def test_answers_that_are_no_list(scene: Scene) -> None:
    """A success that is no list of Stripe's is an error, not an empty list: the cursor must not pass."""
    scene.open()
    scene.change = lambda request, response: httpx.Response(200, content=b'{"object": "list"}')
    with pytest.raises(InvalidResponseError):
        scene.reconcile(scene.new_client(retry=RetryPolicy.NONE))
    assert scene.cursors() == {}


def test_a_list_without_an_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats one page for ever is found out."""
    monkeypatch.setattr(comparing, "_MOST_PAGES_OF_A_SECOND", 20)
    scene.open()
    scene.emit(1)
    first: list[bytes] = []

    def repeat(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        response.read()
        first.append(
            response.content.replace(b'"has_more": false', b'"has_more": true').replace(b'"has_more":false', b'"has_more":true')
        )
        return httpx.Response(200, content=first[0])

    scene.change = repeat
    with pytest.raises(InvalidResponseError, match="does not end"):
        scene.reconcile(since=scene.now())


def test_entries_that_are_no_events(scene: Scene) -> None:
    """What Stripe lists and is no event is counted and passed over; the events around it are stored."""
    scene.open()
    made = scene.emit(2)
    rubbish: list[Any] = [1, None, {"id": "evt_x"}, {"id": "evt_y\n", "object": "event", "type": "a", "data": {"object": {}}}]
    scene.change = rewritten(lambda page: page.update(data=[page["data"][0], *rubbish, page["data"][1]]))
    report = scene.reconcile()
    assert scene.ids() == made
    assert (report.accounts[0].unreadable, report.stored, report.complete) == (4, 2, False)


@pytest.mark.parametrize("second", [False, True], ids=["window", "second"])
@pytest.mark.parametrize("end", [[], [{"object": "event"}], [7]], ids=["empty", "no-id", "no-object"])
def test_a_list_that_cannot_be_followed(scene: Scene, end: list[Any], second: bool) -> None:
    """If there is more and nothing says where, the run ends with an error, so that the cursor passes over nothing."""
    scene.open()
    made = scene.emit(2)
    scene.change = rewritten(lambda page: page.update(data=end, has_more=True))
    with pytest.raises(InvalidResponseError, match="goes on"):
        scene.reconcile(since=scene.now() if second else None)
    assert scene.cursors() == {}
    scene.change = None
    scene.reconcile()
    assert scene.ids() == made


# Accounts and modes.


def test_connected_accounts(scene: Scene) -> None:
    """Each connected account is listed as itself, has its own cursor, and its events are stored under its name."""
    scene.open()
    one, two = scene.sandbox.connect().id, scene.sandbox.connect().id
    own, of_one, of_two = scene.emit(1), scene.emit(2, account=one), scene.emit(1, account=two)
    report = scene.reconcile(accounts=[one, two, one])
    assert scene.ids(account="") == own
    assert scene.ids(account=one) == of_one
    assert scene.ids(account=two) == of_two
    assert [(gaps.account, gaps.stored) for gaps in report.accounts] == [("", 1), (one, 2), (two, 1)]
    assert {"reconcile:test:", f"reconcile:test:{one}", f"reconcile:test:{two}"} == set(scene.cursors())


def test_a_delivery_and_a_listing_are_one_event(scene: Scene) -> None:
    """If Stripe's list leaves out the account that it was asked for, the event is still the one that was delivered with it."""
    scene.open()
    account = scene.sandbox.connect().id
    made = scene.emit(2, account=account)
    raw = scene.sandbox.client(stripe_account=account).events.retrieve(made[0]).to_dict()
    assert raw["account"] == account
    scene.world.receive(raw)
    scene.change = rewritten(lambda page: [event.pop("account") for event in page["data"]] and None)
    assert scene.reconcile(accounts=[account], own=False).stored == 1
    records = scene.world.records()
    assert [(record.event_id, record.account) for record in records] == [(made[0], account), (made[1], account)]
    assert json.loads(records[1].payload)["account"] == account


def test_a_client_of_one_account(scene: Scene) -> None:
    """The own account of a client that acts for a connected one is that one."""
    scene.open()
    account = scene.sandbox.connect().id
    made = scene.emit(1, account=account)
    report = scene.reconcile(scene.new_client(stripe_account=account))
    assert scene.ids(account=account) == made
    assert report.accounts[0].account == account


def test_one_account_that_is_gone(scene: Scene) -> None:
    """An account that Stripe refuses is reported, and the next one is compared."""
    scene.open()
    account = scene.sandbox.connect().id
    made = scene.emit(1, account=account)
    report = scene.reconcile(accounts=["acct_gone", account])
    gone = report.accounts[1]
    assert gone.account == "acct_gone"
    assert gone.error is not None
    assert gone.error.startswith("PermissionDeniedError")
    assert scene.ids() == made
    assert not report.complete
    assert "ended early" in str(report)


def test_a_wrong_key_ends_the_run(scene: Scene) -> None:
    """A key that Stripe does not know is nothing that the next account could heal."""
    scene.open()
    scene.sandbox.faults.next(status=401, times=9, operation="GET /v1/events")
    with pytest.raises(AuthenticationError):
        scene.reconcile(accounts=["acct_1"], own=False)


def test_a_line_that_is_cut_is_reported(scene: Scene) -> None:
    """A broken connection while a connected account is listed is reported for it."""
    scene.open()
    account = scene.sandbox.connect().id
    scene.emit(1, account=account)

    def cut(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        raise CUT

    scene.change = cut
    report = scene.reconcile(accounts=[account], own=False)
    assert report.accounts[0].error is not None
    assert report.accounts[0].error.startswith(ConnectionFailedError.__name__)


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_all_connections_of_a_manager(profile: str) -> None:
    """The accounts of an OAuthManager are compared, those that are connected now, each once."""
    from tests.inbox.conftest import World

    with StripeSandbox() as sandbox:
        scene = Scene(World("sync"), sandbox)
        sandbox.oauth.register("https://service.example/callback")
        manager = sandbox.oauth_manager(profile=profile)
        for user in ("one", "two", "gone"):
            url = manager.authorize_url(user, session="s")
            back = httpx.URL(sandbox.oauth.consent(url)).params
            manager.callback(back["code"], back["state"], session="s")
        accounts = [manager.connection(user).account for user in ("one", "two")]
        gone = manager.connection("gone").account
        manager.forget("gone")
        scene.open()
        client = sandbox.client(oauth=manager)
        made = [scene.emit(1, account=account)[0] for account in [*accounts, gone]]
        report = scene.reconcile(client, oauth=manager, own=False)
        assert {record.event_id for record in scene.world.records() if record.type == "customer.updated"} == set(made[:2])
        assert {gaps.account for gaps in report.accounts} == set(accounts)
        assert report.complete


def test_a_client_of_one_user_is_refused(scene: Scene) -> None:
    """A client that acts for one user is not taken for the platform's, whose events are stored under no account."""
    from tests.inbox.conftest import World

    scene.world = World("sync")
    scene.open()
    manager = scene.sandbox.oauth_manager()
    with pytest.raises(ConfigurationError, match="for_user"):
        scene.reconcile(scene.sandbox.client(oauth=manager).for_user("one"), oauth=manager)


def test_a_manager_of_the_other_mode_is_refused(scene: Scene) -> None:
    """The connections of a live manager are not looked up with a test key."""
    from tests.inbox.conftest import World

    scene.world = World("sync")
    scene.open()
    manager = scene.sandbox.oauth_manager()
    manager._flows.ports = replace(manager._flows.ports, config=FakeConfig(manager._flows.ports.config))
    with pytest.raises(ModeMismatchError):
        scene.reconcile(oauth=manager, own=False)


class FakeConfig:
    """Settings of a live manager."""

    livemode = True

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def test_on_real_databases(world: Any, database_url: str) -> None:
    """On SQLite and PostgreSQL too, a run stores what is missing in order, a second one nothing, and the cursor is kept."""
    upgrade(database_url)
    with SqlInboxStore.from_url(database_url) as store, StripeSandbox() as sandbox:
        world.store = store
        scene = Scene(world, sandbox)
        scene.open()
        made = scene.emit(150)
        scene.world.receive(sandbox.client().events.retrieve(made[0]).to_dict())
        report = scene.reconcile()
        assert (report.listed, report.missing, report.stored) == (150, 149, 149)
        assert scene.ids() == made
        assert store.value("reconcile:test:") == str(scene.now())
        assert scene.reconcile().missing == 0
        ((_, entry),) = store.logged(0, 10)
        assert entry.action == "reconcile"


def test_other_mode_is_refused(scene: Scene) -> None:
    """An inbox for live events does not take those of a test key."""
    scene.open(livemode=True)
    with pytest.raises(ModeMismatchError):
        scene.reconcile()


# The report.


def test_reasons(scene: Scene) -> None:
    """The report says for each event why it may have been missed, as far as Stripe says."""
    scene.open()
    (before,) = scene.emit(1)
    heard: list[bytes] = []
    endpoint = scene.sandbox.webhooks.deliver_to(lambda body, signature: heard.append(body), WEBHOOK_SECRET)
    scene.emit(1)
    scene.world.receive(heard.pop())
    (elsewhere,) = scene.emit(1)
    with scene.sandbox.faults.drop(retried=True):
        (undelivered,) = scene.emit(1)
    report = scene.reconcile()
    assert {missed.event_id: missed.reason for missed in report.missed} == {
        before: "before_inbox",
        elsewhere: "delivered_elsewhere",
        undelivered: "undelivered",
    }
    assert endpoint.secret == WEBHOOK_SECRET
    assert report.missed[2].pending_webhooks == 1
    assert f"customer.updated {undelivered}" in str(report)
    assert report.by_type["customer.updated", "undelivered"] == 1


def test_dry_run_only_looks(scene: Scene) -> None:
    """A dry run reports the gaps; it stores nothing and moves no cursor."""
    scene.open()
    made = scene.emit(2)
    report = scene.reconcile(dry_run=True)
    assert [missed.event_id for missed in report.missed] == made
    assert (report.missing, report.stored, report.accounts[0].failed, report.dry_run) == (2, 0, 0, True)
    assert scene.ids() == []
    assert scene.cursors() == {}


def test_the_report_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many missing events the first are named and all are counted."""
    from atom_stripe._engine.inbox import gaps

    monkeypatch.setattr(gaps, "_MOST_MISSED", 2)
    scene.open()
    made = scene.emit(5)
    report = scene.reconcile()
    assert [missed.event_id for missed in report.missed] == made[:2]
    assert report.by_type == {("customer.updated", "before_inbox"): 5}
    assert "and 3 more" in str(report)


def test_progress_and_audit(scene: Scene) -> None:
    """Every slice is told of as it is done, and a run that stored something is in the audit log under its actor."""
    scene.open()
    scene.emit(3)
    told: list[Any] = []
    scene.reconcile(on_progress=told.append, actor="nightly job")
    assert told[-1].until == scene.now()
    assert told[-1].stored == 3
    ((_, entry),) = scene.world.store.logged(0, 10)
    assert (entry.actor, entry.action, entry.detail) == ("nightly job", "reconcile", "3 listed, 3 missing, 3 stored")


@pytest.mark.parametrize(
    "options",
    [
        {"types": "invoice.paid"},
        {"types": ["t"] * 21},
        {"types": [1]},
        {"accounts": "acct_1"},
        {"accounts": ["cus_1"]},
        {"accounts": ["acct_1\n"]},
        {"since": datetime(2026, 11, 2)},  # noqa: DTZ001 - what is refused
        {"since": "yesterday"},
        {"overlap": -1},
        {"overlap": float("nan")},
        {"oauth": object()},
    ],
)
def test_bad_options(scene: Scene, options: dict[str, Any]) -> None:
    """What cannot be meant is refused with a sentence."""
    scene.open()
    with pytest.raises(ConfigurationError):
        scene.reconcile(**options)


def test_needs_a_client(scene: Scene) -> None:
    """An inbox without a client cannot ask Stripe, and a client of the other colour is named."""
    scene.world.open(clock=scene.now)
    with pytest.raises(ConfigurationError, match="client"):
        scene.reconcile()
    other = scene.sandbox.async_client() if scene.sync else scene.sandbox.client()
    with pytest.raises(ConfigurationError, match="AsyncStripeClient"):
        scene.reconcile(other)


@pytest.mark.parametrize(
    ("body", "entries"),
    [
        (b'{"data": []}', []),
        (b' { "a" : [1, {"data": [9]}] , "data" : [ {"x": "]\\"}"} ,2 , "\xc3\xa9" ] } ', [b'{"x": "]\\"}"}', b"2", b'"\xc3\xa9"']),
        (b'{"data": [1], "data": [2, 3]}', [b"2", b"3"]),
        (b'{"a": 1}', None),
        (b"[]", None),
        (b'{"data": {}}', None),
        (b'{"data": [1', None),
        (b'{"data": [1 2]}', None),
        (b"\xff", None),
        (b"", None),
        (b'{"data": ' + b"[" * 100_000, None),
    ],
)
def test_entries_as_sent(body: bytes, entries: list[bytes] | None) -> None:
    """The entries of a list are cut out byte by byte, and of anything else nothing is."""
    assert sent_entries(body) == entries
