"""What operators do to an inbox: on every store, beside workers, and in the audit log."""

from __future__ import annotations

import getpass
import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe import API_VERSION
from atom_stripe._engine.inbox.operated import Changes
from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import ConfigurationError
from atom_stripe.inbox import HandlerRetry, InboxConfig, Park, Retry, WebhookInbox
from atom_stripe.protocols import Arrival, HandlerState, InboxRecord, Nothing, Step
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import MARK, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_790_000_000.0
PATIENCE = 20.0
SETTINGS: dict[str, Any] = {"workers": 2, "poll_interval": 0.02, "sweep_interval": 0.05, "grace": 5.0}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryInboxStore()
        return
    url = request.getfixturevalue(f"{request.param}_url")
    upgrade(url)
    with SqlInboxStore.from_url(url) as opened:
        yield opened


@pytest.fixture
def operations(store: Any) -> InboxOperations:
    return InboxOperations(store, sleep=lambda _seconds: None)


def arrival(number: int = 1, **changes: Any) -> Arrival:
    body = {
        "id": f"evt_{number}",
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_790_000_000,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
        "livemode": False,
        "pending_webhooks": 1,
        "type": changes.get("type", "customer.updated"),
    }
    values: dict[str, Any] = {
        "event_id": f"evt_{number}",
        "type": "customer.updated",
        "account": "",
        "livemode": False,
        "lane": "test//cus_1",
        "payload": json.dumps(body).encode(),
        "endpoint": "default",
        "received_at": NOW + number,
    }
    return Arrival(**{**values, **changes})


def finish(store: Any, number: int = 1, *, status: Any = "done", due_at: float | None = None, **handlers: Any) -> int:
    """Store an event in a lane of its own, and leave it as a worker would. Returns its number."""
    lane = f"test//obj_{number}"
    (appended,) = store.append([arrival(number, lane=lane)])
    record = store.claim(lane, f"run_{number}", 60.0)
    assert isinstance(record, InboxRecord)
    store.advance(Step(id=record.id, run=f"run_{number}", handlers=handlers, status=status, due_at=due_at))
    assert record.id == appended.id
    return int(appended.id)


DONE = HandlerState(status="done", attempts=1, finished_at=NOW)
PARKED = HandlerState(status="parked", attempts=10, error="ValueError: no", finished_at=NOW)
DELAYED = HandlerState(status="pending", attempts=3, due_at=NOW + 10**9, error="ValueError: not yet")


def record_of(store: Any, number: int) -> InboxRecord:
    (found,) = InboxOperations(store).inspect(number, payload=True)
    return found.record


def entries(store: Any) -> list[Any]:
    return [entry for _, entry in store.logged(0, 1000)]


class Service:
    """A program with an inbox on *store*, and a note of what its handlers did."""

    def __init__(self, store: Any, **options: Any) -> None:
        self.store = store
        self.ran: list[tuple[str, str]] = []
        self.raises: dict[str, Exception] = {}
        self.inbox = WebhookInbox(WebhookVerifier(WEBHOOK_SECRET), store, config=InboxConfig(**{**SETTINGS, **options}))

    def handler(self, name: str, *types: str, **options: Any) -> None:
        @self.inbox.on(*(types or ("*",)), name=name, **options)
        def handle(event: Any, context: Any) -> None:
            self.ran.append((name, event.id))
            if name in self.raises:
                raise self.raises[name]

    @property
    def operations(self) -> InboxOperations:
        core = self.inbox._core
        return InboxOperations(self.store, handlers=core.handlers, wake=core.wake)

    def work(self, until: Callable[[], Any]) -> None:
        with self.inbox.worker():
            wait_for(until)

    def drain(self) -> None:
        self.work(lambda: not self.store.waiting(0, 1))


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


# Replay.


def test_a_replay_runs_all_handlers_again(store: Any) -> None:
    """An event from a month ago, whose signature is long too old, is handled again by every handler that wants it, from the same bytes."""
    month_ago = int(time.time()) - 30 * 24 * 3600
    service = Service(store)
    service.inbox._core.intake._clock = lambda: float(month_ago)
    service.inbox._core.intake._verifiers = {"default": WebhookVerifier(WEBHOOK_SECRET, clock=lambda: month_ago)}
    service.handler("a")
    service.handler("b", "customer.*")
    service.handler("c", "invoice.*")
    body = arrival(1).payload
    receipt = service.inbox.receive(body, signature_header(body, [WEBHOOK_SECRET], month_ago))
    service.drain()
    assert service.operations.replay([receipt.id]).changed == (receipt.id,)
    service.drain()
    assert service.ran == [("a", "evt_1"), ("b", "evt_1")] * 2
    record = record_of(store, receipt.id)
    assert (record.status, record.payload, record.event_id, record.received_at) == ("done", body, "evt_1", float(month_ago))


def test_a_replay_counts_attempts_anew(store: Any) -> None:
    """A handler with one attempt has it again in each replay, although the event has been claimed often."""
    service = Service(store)
    service.handler("a", retry=HandlerRetry.NONE)
    service.handler("b", retry=HandlerRetry.NONE)
    number = store.append([arrival()])[0].id
    for count in range(1, 4):
        service.drain()
        assert service.ran == [("a", "evt_1"), ("b", "evt_1")] * count
        assert record_of(store, number).status == "done"
        assert service.operations.replay([number]).changed == (number,)


def test_a_replay_of_an_event_that_nobody_wanted(store: Any) -> None:
    """Its one new handler has its one attempt, and is not taken for one that ended the process."""
    service = Service(store)
    number = store.append([arrival()])[0].id
    service.drain()
    service.handler("new", retry=HandlerRetry.NONE)
    service.operations.replay([number])
    service.drain()
    assert service.ran == [("new", "evt_1")]
    assert record_of(store, number).handlers["new"].status == "done"


def test_a_replay_of_one_handler(store: Any) -> None:
    """Only the named handler runs again; the others keep their states, and one that never saw the event is not let loose on it."""
    service = Service(store)
    service.handler("a")
    service.handler("b")
    number = store.append([arrival()])[0].id
    service.drain()
    before = record_of(store, number).handlers["a"]
    service.handler("later")
    service.ran.clear()
    service.operations.replay([number], handlers=["b"])
    service.drain()
    record = record_of(store, number)
    assert service.ran == [("b", "evt_1")]
    assert record.handlers["a"] == before
    assert record.handlers["later"].status == "discarded"
    assert record.status == "done"


def test_a_replay_for_a_new_handler(store: Any) -> None:
    """A handler that was written later gets past events by its name, and the old ones do not run again."""
    service = Service(store)
    service.handler("old")
    store.append([arrival(1), arrival(2)])
    service.drain()
    service.handler("new")
    service.ran.clear()
    operations = service.operations
    assert len(operations.replay(operations.select(types=frozenset({"customer.updated"})), handlers=["new"]).changed) == 2
    service.drain()
    assert service.ran == [("new", "evt_1"), ("new", "evt_2")]


def test_a_replay_that_nobody_wants(store: Any) -> None:
    """An event that the named handler does not want is left as it is."""
    service = Service(store)
    service.handler("a", "invoice.paid")
    number = finish(store, a=DONE)
    assert service.operations.replay([number], handlers=["a"]) == Changes(unconcerned=(number,))
    assert record_of(store, number).status == "done"


def test_a_handler_that_is_gone(store: Any) -> None:
    """A replay of everything does not look for a handler that is no longer registered, and the event is done without it."""
    service = Service(store)
    service.handler("a")
    number = finish(store, gone=PARKED, status="parked")
    service.operations.replay([number])
    service.drain()
    record = record_of(store, number)
    assert (service.ran, record.status) == ([("a", "evt_1")], "done")


@pytest.mark.parametrize("status", ["done", "parked", "discarded"])
def test_what_can_be_replayed(store: Any, operations: InboxOperations, status: Any) -> None:
    """Events that were done, parked or discarded can be replayed, from whatever lane they were set aside in."""
    number = finish(store, status=status, a=PARKED)
    store.change([number], lambda record: replace(record, lane=f"{record.lane}~{number}"))
    assert operations.replay([number]).changed == (number,)
    record = record_of(store, number)
    assert (record.status, record.due_at, record.lane, record.finished_at) == ("pending", None, "test//obj_1", None)
    assert "a" not in record.handlers


def test_a_replay_of_a_running_event(store: Any, operations: InboxOperations) -> None:
    """An event that a worker has claimed is left to it, and reported."""
    number = store.append([arrival()])[0].id
    store.claim("test//cus_1", "run", 60.0)
    assert operations.replay([number]) == Changes(running=(number,))
    store.advance(Step(id=number, run="run", handlers={"a": DONE}, status="done"))
    assert operations.replay([number]).changed == (number,)


def test_two_replays_at_once(store: Any) -> None:
    """However many replay the same events at the same time, no handler runs twice at once, and none more often than it was replayed."""
    service = Service(store)
    under_way: set[str] = set()
    overlaps: list[str] = []

    @service.inbox.on("*", name="a")
    def handle(event: Any, context: Any) -> None:
        if event.id in under_way:
            overlaps.append(event.id)
        under_way.add(event.id)
        time.sleep(0.001)
        service.ran.append(("a", event.id))
        under_way.discard(event.id)

    store.append([arrival(number, lane=f"test//{number}") for number in range(1, 21)])
    service.drain()
    numbers = service.operations.select()
    changed: list[Changes] = []
    with service.inbox.worker():
        threads = [
            threading.Thread(target=lambda: changed.append(service.operations.replay(numbers, batch=3, rate=None)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: not store.waiting(0, 1))
    assert overlaps == []
    assert len(service.ran) == 20 + sum(len(one.changed) for one in changed)
    assert all(len(one.changed) + sum(map(len, one.left.values())) == 20 for one in changed)
    assert all(one.left.keys() <= {"running", "waiting"} for one in changed)


def test_replayed_twice_before_it_ran(store: Any, operations: InboxOperations) -> None:
    """The second replay finds the event waiting and changes nothing."""
    number = finish(store, a=DONE)
    operations.replay([number])
    assert operations.replay([number]) == Changes(waiting=(number,))


def test_a_replay_after_the_purge(store: Any, operations: InboxOperations) -> None:
    """An event without its payload stays done: there is nothing to hand to a handler."""
    number = finish(store, a=DONE)
    assert operations.purge(older_than=timedelta(0)) == 1
    assert operations.replay([number]) == Changes(purged=(number,))
    assert record_of(store, number).status == "done"


def test_events_that_are_not_there(store: Any, operations: InboxOperations) -> None:
    """A number without an event is reported as missing."""
    assert operations.replay([999]) == Changes(missing=(999,))


def test_a_replay_keeps_to_its_rate(store: Any) -> None:
    """No batch is larger than the rate, and after each the time that it takes is waited; the last one waits for nothing."""
    slept: list[float] = []
    seen: list[tuple[int, int]] = []
    for number in range(1, 11):
        finish(store, number, a=DONE)
    operations = InboxOperations(store, sleep=slept.append)
    operations.replay(operations.select(), rate=4, batch=100, progress=lambda done, total: seen.append((done, total)))
    assert slept == [1.0, 1.0]
    assert seen == [(4, 10), (8, 10), (10, 10)]
    operations.replay(operations.select(), rate=4)
    # What was waiting already costs nobody anything.
    assert slept == [1.0, 1.0]


def test_a_replayed_event_goes_first(store: Any) -> None:
    """Within its lane, a replayed event is handled before later ones that wait."""
    service = Service(store, workers=1)
    service.handler("a")
    first = store.append([arrival(1)])[0].id
    service.drain()
    store.append([arrival(2)])
    service.operations.replay([first])
    service.drain()
    assert service.ran == [("a", "evt_1"), ("a", "evt_1"), ("a", "evt_2")]


def test_an_own_worker_is_told(store: Any) -> None:
    """In the process of the worker a replay is handled at once, and not when it next looks through everything."""
    service = Service(store, sweep_interval=3600.0, poll_interval=3600.0)
    service.handler("a")
    number = store.append([arrival()])[0].id
    with service.inbox.worker():
        wait_for(lambda: service.ran)
        wait_for(lambda: record_of(store, number).status == "done")
        service.operations.replay([number])
        wait_for(lambda: len(service.ran) == 2)


# Requeue and discard.


def test_parked_handlers_are_tried_again(store: Any) -> None:
    """Requeued, a parked handler has all its attempts again; one that was done does not run."""
    service = Service(store, retry=HandlerRetry(attempts=2, initial_delay=0.0))
    service.handler("good")
    service.handler("bad")
    service.raises["bad"] = ValueError("no")
    number = store.append([arrival()])[0].id
    service.drain()
    assert record_of(store, number).status == "parked"
    operations = service.operations
    assert operations.requeue(operations.parked()).changed == (number,)
    service.drain()
    assert [name for name, _ in service.ran] == ["good", "bad", "bad", "bad", "bad"]
    service.raises.clear()
    operations.requeue(operations.parked())
    service.drain()
    assert record_of(store, number).status == "done"
    assert operations.parked() == []


def test_which_are_parked(store: Any, operations: InboxOperations) -> None:
    """Events count as parked by their handlers, also while another handler of them is pending; filters and names narrow them down."""
    one = finish(store, 1, status="parked", a=PARKED, b=DONE)
    two = finish(store, 2, status="pending", due_at=NOW + 10**9, a=PARKED, b=DELAYED)
    three = finish(store, 3, status="pending", due_at=NOW + 10**9, b=DELAYED)
    finish(store, 4, a=DONE)
    assert operations.parked() == [one, two]
    assert operations.parked(delayed=True) == [one, two, three]
    assert operations.parked(handler="b") == []
    assert operations.parked(handler="b", delayed=True) == [two, three]
    assert operations.parked(status="parked") == [one]
    assert operations.parked(received_after=NOW + 2) == [two]


def test_a_requeue_of_one_handler(store: Any, operations: InboxOperations) -> None:
    """The other parked handlers stay parked."""
    number = finish(store, status="parked", a=PARKED, b=PARKED)
    operations.requeue([number], handler="a")
    record = record_of(store, number)
    assert record.status == "pending"
    assert record.handlers == {"a": HandlerState(error="ValueError: no"), "b": PARKED}


def test_what_waits_is_tried_at_once(store: Any, operations: InboxOperations) -> None:
    """With *delayed*, a handler that waits for another attempt waits no longer, and its attempts stay counted."""
    number = finish(store, status="pending", due_at=NOW + 10**9, a=DELAYED)
    assert operations.requeue([number]) == Changes(unconcerned=(number,))
    assert operations.requeue([number], delayed=True).changed == (number,)
    record = record_of(store, number)
    assert (record.due_at, record.handlers["a"].due_at, record.handlers["a"].attempts) == (None, None, 3)
    assert isinstance(store.claim(record.lane, "run", 60.0), InboxRecord)


def test_what_is_discarded(store: Any, operations: InboxOperations) -> None:
    """A discarded event is no longer parked and can be purged and replayed; what its handlers have done stays written down."""
    number = finish(store, status="parked", a=PARKED, b=DONE)
    assert operations.discard([number]).changed == (number,)
    record = record_of(store, number)
    assert (record.status, record.handlers["a"].status, record.handlers["a"].error) == ("discarded", "discarded", "ValueError: no")
    assert record.handlers["b"] == DONE
    assert store.counts().parked == 0
    assert operations.replay([number]).changed == (number,)


def test_one_of_two_is_discarded(store: Any, operations: InboxOperations) -> None:
    """While another handler of it is parked, the event stays parked."""
    number = finish(store, status="parked", a=PARKED, b=PARKED)
    operations.discard([number], handler="a")
    record = record_of(store, number)
    assert (record.status, record.handlers["a"].status, record.handlers["b"]) == ("parked", "discarded", PARKED)
    operations.discard([number], handler="b")
    assert record_of(store, number).status == "discarded"


def test_what_waits_is_discarded(store: Any) -> None:
    """A handler that fails again and again, and holds up its lane, can be discarded before its attempts are used up; the lane goes on."""
    service = Service(store)
    service.handler("a")
    service.raises["a"] = Retry(after=3600)
    first, second = (one.id for one in store.append([arrival(1), arrival(2)]))
    service.work(lambda: "a" in record_of(store, first).handlers and record_of(store, first).run is None)
    service.raises.clear()
    assert service.operations.discard([first]).changed == ()
    assert service.operations.discard([first], delayed=True).changed == (first,)
    service.drain()
    assert (record_of(store, first).status, record_of(store, second).status) == ("done", "done")
    assert service.ran == [("a", "evt_1"), ("a", "evt_2")]
    assert record_of(store, first).handlers["a"].status == "discarded"


@pytest.mark.parametrize("action", ["requeue", "discard"])
def test_what_is_not_parked(store: Any, operations: InboxOperations, action: str) -> None:
    """Events of which no handler is parked are left as they are."""
    number = finish(store, a=DONE)
    assert getattr(operations, action)([number]) == Changes(unconcerned=(number,))
    assert record_of(store, number).handlers == {"a": DONE}


def test_bytes_that_are_no_event(store: Any) -> None:
    """Signed bytes that are no event can be tried again, and are parked again; and they can be discarded."""
    service = Service(store)
    service.handler("a")
    body = b'{"object": "surprise"}'
    number = service.inbox.receive(body, signature_header(body, [WEBHOOK_SECRET], int(time.time()))).id
    service.drain()
    operations = service.operations
    for change in (operations.requeue, operations.replay):
        assert change([number]).changed == (number,)
        service.drain()
        assert record_of(store, number).status == "parked"
    operations.discard([number])
    assert (record_of(store, number).status, service.ran) == ("discarded", [])


# Purge.


def test_a_purge(store: Any, operations: InboxOperations) -> None:
    """Payloads of finished events go, in as many batches as it takes; events that are not finished keep theirs, and ids stay."""
    done = [finish(store, number, a=DONE) for number in range(1, 6)]
    discarded = finish(store, 6, status="discarded", a=PARKED)
    parked = finish(store, 7, status="parked", a=PARKED)
    (pending,) = (one.id for one in store.append([arrival(8, lane="test//other")]))
    seen: list[tuple[int, int]] = []
    assert operations.purge(older_than=timedelta(0), batch=4, progress=lambda *numbers: seen.append(numbers)) == 6
    assert seen == [(4, 4), (6, 6)]
    assert [record_of(store, number).payload for number in (*done, discarded)] == [None] * 6
    assert None not in [record_of(store, number).payload for number in (parked, pending)]
    assert operations.purge(older_than=timedelta(0)) == 0
    (again,) = store.append([arrival(1)])
    assert (again.outcome, again.id) == ("duplicate", done[0])


def test_what_is_kept_by_default(store: Any, operations: InboxOperations) -> None:
    """Without a word, what was finished within ninety days is kept."""
    number = finish(store, a=DONE)
    assert operations.purge() == 0
    assert record_of(store, number).payload is not None


def test_a_purge_leaves_a_replay_alone(store: Any, operations: InboxOperations) -> None:
    """What is being replayed is not finished, so its payload stays until it is."""
    number = finish(store, a=DONE)
    operations.replay([number])
    assert operations.purge(older_than=timedelta(0)) == 0
    claimed = store.claim("test//obj_1", "run", 60.0)
    assert claimed.payload is not None
    assert operations.purge(older_than=timedelta(0)) == 0


# Pausing, looking.


def test_a_pause_without_the_program(store: Any) -> None:
    """A handler paused from outside runs no more until it is resumed, and then with what waited first."""
    service = Service(store)
    service.handler("a")
    outside = InboxOperations(store)
    outside.pause("a", actor="ana")
    assert outside.status().paused == ("a",)
    store.append([arrival(1), arrival(2)])
    service.work(lambda: all(row.due_at for row in store.waiting(0, 10)) and len(store.waiting(0, 10)) == 2)
    assert service.ran == []
    assert outside.resume("a", actor="ana") == 2
    assert outside.paused() == ()
    service.drain()
    assert service.ran == [("a", "evt_1"), ("a", "evt_2")]
    assert [(one.actor, one.action, one.subject) for one in entries(store)] == [
        ("ana", "pause", "handler a"),
        ("ana", "resume", "handler a"),
    ]


def test_paused_by_the_program(store: Any) -> None:
    """What the program itself has paused is shown as well."""
    service = Service(store)
    service.handler("a")
    service.handler("b")
    service.inbox.pause("b")
    assert InboxOperations(store).paused() == service.operations.paused() == ("b",)


def test_looking(store: Any, operations: InboxOperations) -> None:
    """One event is found by its number or by Stripe's id, in each account and mode, with its payload only when that is asked for."""
    rows = [store.append([arrival(1, **keys)])[0].id for keys in ({}, {"account": "acct_1"}, {"livemode": True})]
    assert [one.record.id for one in operations.inspect("evt_1")] == rows
    (found,) = operations.inspect(rows[1])
    assert (found.record.account, found.record.payload) == ("acct_1", None)
    assert operations.inspect(rows[1], payload=True)[0].record.payload == arrival(1).payload
    assert operations.inspect("evt_2") == operations.inspect(999) == []
    assert operations.select(livemode=False) == rows[:2]


def test_selecting_more_than_a_page(store: Any, operations: InboxOperations) -> None:
    """A selection has no limit."""
    store.append([arrival(number) for number in range(1, 1102)])
    assert len(operations.select(types=frozenset({"customer.updated"}))) == 1101


def test_the_status(store: Any, operations: InboxOperations) -> None:
    """The age of the oldest pending event is counted in seconds, by the store's clock; without one there is none."""
    assert operations.status().oldest_pending_age is None
    now = operations.status().counts.now
    store.append([arrival(1, received_at=now - 60)])
    age = operations.status().oldest_pending_age
    assert age is not None
    assert 60 <= age < 60 + PATIENCE


# The audit log.


def test_every_action_is_audited(store: Any) -> None:
    """Who did what to which events, and why, is in the log; payloads are not."""
    operations = InboxOperations(store, clock=lambda: NOW, sleep=lambda _seconds: None)
    secret = f"cus_{MARK}"
    numbers = [finish(store, number, status="parked", a=PARKED) for number in (1, 2, 3)]
    store.append([arrival(4, payload=json.dumps({"id": secret}).encode())])
    operations.requeue(numbers, actor="ana", reason="the bug is fixed", batch=2, handler="a")
    operations.discard([numbers[0]], actor="ben")
    operations.replay([numbers[0]], handlers=["a"], actor="ben")
    operations.purge(actor="cron")
    assert MARK not in repr(entries(store))
    first = numbers[0]
    assert [(one.at, one.actor, one.action, one.subject, one.detail) for one in entries(store)] == [
        (NOW, "ana", "requeue", "2 events", f"events {first}-{first + 1}; parked handler a; reason: the bug is fixed"),
        (NOW, "ana", "requeue", "1 event", f"events {first + 2}; parked handler a; reason: the bug is fixed"),
        (NOW, "ben", "discard", "1 event", f"events {first}; parked handlers"),
        (NOW, "ben", "discard", "1 event", "left as they are (unconcerned: 1); parked handlers"),
        (NOW, "ben", "replay", "1 event", f"events {first}; handlers a"),
        (NOW, "ben", "replay", "1 event", "left as they are (waiting: 1); handlers a"),
        (NOW, "cron", "purge", "payloads", "begun; finished more than 90 days ago"),
        (NOW, "cron", "purge", "payloads", "0 purged; finished more than 90 days ago"),
    ]


def test_who_it_was(store: Any, operations: InboxOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an actor it is the user of the operating system; one without a name is known by a number."""
    monkeypatch.setattr(getpass, "getuser", lambda: "ana")
    operations.pause("a")
    monkeypatch.setattr(getpass, "getuser", lambda: {}["nobody"])
    operations.pause("a")
    assert entries(store)[0].actor == "ana"
    assert entries(store)[1].actor.startswith("uid ")


def test_changed_and_audited_together(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written in the transaction of the change: the store gets both in one call."""
    calls: list[tuple[Any, Any]] = []
    change = store.change

    def noted(ids: Any, decide: Any, entry: Any = None) -> Any:
        calls.append((tuple(ids), entry.action))
        return change(ids, decide, entry)

    monkeypatch.setattr(store, "change", noted)
    number = finish(store, a=DONE)
    InboxOperations(store).replay([number])
    assert calls == [((number,), "replay")]


# Arguments.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it: it.replay([1], rate=0), "rate is a number of events a second"),
        (lambda it: it.replay([1], batch=0), "batch is a whole number"),
        (lambda it: it.replay([1], handlers=[]), "names at least one handler"),
        (lambda it: it.replay([1], handlers=["typo"]), "there is no handler 'typo'; these are registered: a"),
        (lambda it: it.pause("typo"), "there is no handler 'typo'"),
        (lambda it: it.requeue([1], actor="two\nlines"), "actor is a text in one line"),
        (lambda it: it.requeue([1], actor=""), "actor is a text in one line"),
        (lambda it: it.discard([1], reason="x" * 201), "reason is a text in one line"),
        (lambda it: it.purge(older_than=timedelta(-1)), "older_than is not negative"),
        (lambda it: it.purge(batch=True), "batch is a whole number"),
    ],
)
def test_bad_arguments(call: Callable[[InboxOperations], Any], message: str) -> None:
    """What makes no sense is refused before anything is changed or logged."""
    service = Service(MemoryInboxStore())
    service.handler("a")
    with pytest.raises(ConfigurationError, match=message):
        call(service.operations)
    assert entries(service.store) == []


def test_a_parked_handler_by_its_own_wish(store: Any) -> None:
    """What a handler parks can be found by its name, and discarded."""
    service = Service(store)
    service.handler("a")
    service.raises["a"] = Park("not ours")
    number = store.append([arrival()])[0].id
    service.drain()
    assert service.operations.parked(handler="a") == [number]
    assert not isinstance(store.claim("test//cus_1", "run", 1.0), InboxRecord)
    assert isinstance(store.claim("test//cus_1", "run", 1.0), Nothing)
