"""From a delivery to its handlers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from atom_stripe.errors import ConfigurationError
from atom_stripe.inbox import HandlerRetry, Park, Retry


def test_an_event_reaches_its_handler(world: Any, make: Any) -> None:
    """What was received is stored first, then handled once, with the event and its context."""
    inbox, seen = world.open(), []

    def handle(event: Any, context: Any) -> None:
        seen.append((event.id, event.data.object.id, context.attempt, context.livemode, context.account, context.event_record.id))

    inbox.on("customer.updated", name="welcome")(world.handler(handle))
    receipt = world.receive(make.event())
    assert (receipt.outcome, receipt.event_id, receipt.type, receipt.duplicate) == ("stored", "evt_1", "customer.updated", False)
    assert world.only().status == "pending"
    world.drain()
    assert seen == [("evt_1", "cus_1", 1, False, None, receipt.id)]
    record = world.only()
    assert record.status == "done"
    assert record.run is None
    assert (record.handlers["welcome"].status, record.handlers["welcome"].attempts) == ("done", 1)


def test_an_event_that_comes_while_the_worker_runs_is_handled(world: Any, make: Any) -> None:
    """The worker of the same process hears of an event at once, long before it would look for new ones."""
    inbox, seen = world.open(poll_interval=3600.0, sweep_interval=3600.0), []
    inbox.on("customer.*", name="h")(world.handler(lambda event, context: seen.append(event.id)))

    def act() -> Any:
        body = b'{"id":"evt_9","object":"event","type":"customer.created","data":{"object":{"id":"cus_9"}}}'
        return inbox.receive(body, make.signed(body))

    world.work(lambda: seen, act)
    assert seen == ["evt_9"]


def test_an_event_that_another_process_stored_is_handled(world: Any, make: Any) -> None:
    """The worker finds what was stored by others while it runs."""
    inbox, seen = world.open(), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(event.id)))
    other = make.World("sync", world.store)
    other.open()
    world.work(lambda: seen, lambda: other.receive(make.event("evt_other")) and None)
    assert seen == ["evt_other"]


def test_an_unknown_type_is_done_at_once(world: Any, make: Any) -> None:
    """An event that no handler wants is stored and needs nothing more."""
    inbox = world.open()
    inbox.on("invoice.paid", name="h")(world.handler(lambda event, context: None))
    world.receive(make.event(type="something.new"))
    world.drain()
    assert world.only().status == "done"
    assert world.only().handlers == {}


@pytest.mark.parametrize(
    ("pattern", "type", "wanted"),
    [
        ("customer.*", "customer.updated", True),
        ("customer.*", "customer.subscription.updated", True),
        ("customer.*", "customers.updated", False),
        ("customer.subscription.*", "customer.updated", False),
        ("*", "anything.at.all", True),
        ("invoice.paid", "invoice.paid_out", False),
        ("v1.billing.*", "v1.billing.meter.no_meter_found", True),
    ],
)
def test_patterns_choose_types(sync_world: Any, make: Any, pattern: str, type: str, *, wanted: bool) -> None:
    """A pattern stands for the types that begin so, and a type for itself alone."""
    inbox, seen = sync_world.open(), []
    inbox.on(pattern, name="h")(lambda event, context: seen.append(event.type))
    sync_world.receive(make.event(type=type))
    sync_world.drain()
    assert seen == ([type] if wanted else [])


def test_thin_events_have_handlers_too(world: Any, make: Any) -> None:
    """A thin event reaches the handler of its type, as an ``EventNotification``."""
    inbox, seen = world.open(), []
    inbox.on("v1.billing.*", name="h")(world.handler(lambda event, context: seen.append((event.id, context.account))))
    world.receive(make.thin(context="acct_7"))
    world.drain()
    assert seen == [("evt_thin", "acct_7")]


def test_each_handler_has_its_own_state(world: Any, make: Any) -> None:
    """The failure of one handler runs it again, and no other."""
    inbox, ran = world.open(), []

    def fails_twice(event: Any, context: Any) -> None:
        ran.append(f"b{context.attempt}")
        if context.attempt < 3:
            msg = "not yet"
            raise ValueError(msg)

    inbox.on("*", name="a")(world.handler(lambda event, context: ran.append("a")))
    inbox.on("*", name="b")(world.handler(fails_twice))
    inbox.on("*", name="c")(world.handler(lambda event, context: ran.append("c")))
    world.receive(make.event())
    world.drain()
    assert ran == ["a", "b1", "c", "b2", "b3"]
    assert {name: state.attempts for name, state in world.only().handlers.items()} == {"a": 1, "b": 3, "c": 1}
    assert world.only().status == "done"
    assert world.only().handlers["b"].error is None


def test_a_handler_that_never_succeeds_parks_the_event(world: Any, make: Any) -> None:
    """After the last attempt the event is parked, with the error, and the lane goes on."""
    inbox, seen = world.open(), []

    def fail(event: Any, context: Any) -> None:
        seen.append((event.id, context.attempt))
        if event.id == "evt_1":
            msg = "broken"
            raise ValueError(msg)

    inbox.on("*", name="h")(world.handler(fail))
    world.receive(make.event())
    world.receive(make.event("evt_2"))
    world.drain()
    assert seen == [("evt_1", 1), ("evt_1", 2), ("evt_1", 3), ("evt_2", 1)]
    first, second = world.records()
    assert (first.status, first.handlers["h"].status, first.handlers["h"].error) == ("parked", "parked", "ValueError: broken")
    assert second.status == "done"
    assert inbox.counts["parked"] == 1


def test_a_delivery_of_a_parked_event_tries_it_again(world: Any, make: Any) -> None:
    """Stripe's delivery of an event that was parked is not swallowed as a duplicate: its parked handlers run again, others do not."""
    inbox, ran, broken = world.open(), [], [True]

    def fail(event: Any, context: Any) -> None:
        ran.append("b")
        if broken[0]:
            raise Park("look at this")  # noqa: EM101, TRY003 - as users write it

    inbox.on("*", name="a")(world.handler(lambda event, context: ran.append("a")))
    inbox.on("*", name="b")(world.handler(fail))
    world.receive(make.event())
    world.drain()
    assert world.only().handlers["b"].error == "Park: look at this"
    broken[0] = False
    assert world.receive(make.event()).outcome == "requeued"
    world.drain()
    assert ran == ["a", "b", "b"]
    assert world.only().status == "done"
    assert world.receive(make.event()).outcome == "duplicate"


def test_retry_says_when(world: Any, make: Any) -> None:
    """``Retry(after=…)`` sets the time of the next attempt, instead of the handler's policy, and counts as an attempt."""
    inbox = world.open(retry=HandlerRetry(attempts=2, initial_delay=3600.0))
    attempts = []

    def handle(event: Any, context: Any) -> None:
        attempts.append(context.attempt)
        raise Retry(after=0.01)

    inbox.on("*", name="h")(world.handler(handle))
    world.receive(make.event())
    world.drain()
    assert attempts == [1, 2]
    assert world.only().status == "parked"


def test_a_waiting_event_holds_up_its_lane_and_no_other(world: Any, make: Any) -> None:
    """While an event waits for another attempt, later ones of its object wait too, and those of other objects do not."""
    inbox, seen = world.open(retry=HandlerRetry(initial_delay=3600.0)), []

    def handle(event: Any, context: Any) -> None:
        if event.id == "evt_1":
            raise LookupError
        seen.append(event.id)

    inbox.on("*", name="h")(world.handler(handle))
    for id_, customer in (("evt_1", "cus_1"), ("evt_2", "cus_1"), ("evt_3", "cus_2")):
        world.receive(make.event(id_, obj={"id": customer, "object": "customer"}))
    world.work(lambda: world.records(status="done"))
    assert seen == ["evt_3"]
    first, second = world.records(status="pending")
    assert first.due_at is not None
    assert (first.handlers["h"].status, first.handlers["h"].error) == ("pending", "LookupError")
    assert second.attempts == 0


def test_a_handler_without_order_holds_up_nothing(world: Any, make: Any) -> None:
    """An event of which only handlers with ``ordering="none"`` are left leaves its lane, which goes on."""
    inbox, seen = world.open(retry=HandlerRetry(initial_delay=3600.0)), []

    def fail(event: Any, context: Any) -> None:
        raise LookupError

    inbox.on("*", name="ordered")(world.handler(lambda event, context: seen.append(event.id)))
    inbox.on("*", name="loose", ordering="none")(world.handler(fail))
    for id_ in ("evt_1", "evt_2"):
        world.receive(make.event(id_))
    world.work(lambda: len(seen) == 2 and all("~" in record.lane for record in world.records()))
    assert seen == ["evt_1", "evt_2"]
    assert {record.handlers["ordered"].status for record in world.records()} == {"done"}
    assert {record.handlers["loose"].status for record in world.records()} == {"pending"}


def test_the_idempotency_key_is_stable(world: Any, make: Any) -> None:
    """The key of an event and a handler is the same in every attempt, and no other event or handler has it."""
    inbox, keys = world.open(), []

    def handle(event: Any, context: Any) -> None:
        keys.append(context.idempotency_key)
        if context.attempt == 1:
            raise Retry

    inbox.on("*", name="a")(world.handler(handle))
    inbox.on("*", name="b")(world.handler(lambda event, context: keys.append(context.idempotency_key)))
    world.receive(make.event("evt_1"))
    world.drain()
    world.receive(make.event("evt_2"))
    world.drain()
    assert len(keys) == 6
    assert keys[0] == keys[2]
    assert keys[3] == keys[5]
    assert len({*keys}) == 4
    assert all(len(key) <= 255 and key.startswith("inbox_") for key in keys)


def test_names_are_unique(world: Any) -> None:
    """Two handlers cannot share a name, under which their states would be mixed up."""
    inbox = world.open()

    def handle(event: Any, context: Any) -> None:
        """Do nothing."""

    inbox.on("a.b")(handle)
    assert list(inbox.handlers) == [f"{__name__}.test_names_are_unique.<locals>.handle"]
    with pytest.raises(ConfigurationError, match="already"):
        inbox.on("c.d")(handle)
    inbox.on("c.d", name="other")(handle)
    assert len(inbox.handlers) == 2


@pytest.mark.parametrize(
    ("types", "options", "message"),
    [
        ((), {}, "at least one type"),
        (("Invoice Paid",), {}, "no type of event"),
        (("invoice*",), {}, "no type of event"),
        ((7,), {}, "no type of event"),
        (("a.b",), {"name": "bad name"}, "name"),
        (("a.b",), {"ordering": "lane"}, "ordering"),
        (("a.b",), {"versions": "ignore"}, "versions"),
        (("a.b",), {"retry": 3}, "HandlerRetry"),
        (("a.b",), {"timeout": -1}, "timeout"),
    ],
)
def test_a_wrong_registration_says_what_is_wrong(sync_world: Any, types: Any, options: Any, message: str) -> None:
    """What cannot work is refused when it is registered."""
    with pytest.raises(ConfigurationError, match=message):
        sync_world.open().on(*types, **options)(lambda event, context: None)


def test_a_sync_inbox_refuses_async_handlers(sync_world: Any) -> None:
    """An async function cannot run in ``WebhookInbox``, and registering it says which class can."""
    inbox = sync_world.open()

    async def handle(event: Any, context: Any) -> None:
        """Do nothing."""

    with pytest.raises(ConfigurationError, match="AsyncWebhookInbox"):
        inbox.on("a.b")(handle)


def test_a_handler_that_returns_a_coroutine_fails(sync_world: Any, make: Any) -> None:
    """A function that is async without saying so would never run; its event is parked with the reason."""
    inbox = sync_world.open()

    async def later() -> None:
        """Do nothing."""

    inbox.on("*", name="h", retry=HandlerRetry.NONE)(lambda event, context: later())
    sync_world.receive(make.event())
    sync_world.drain()
    assert sync_world.only().handlers["h"].error.startswith("TypeError: handler h returned a coroutine")


def test_sync_handlers_run_beside_async_ones(async_world: Any, make: Any) -> None:
    """An async inbox runs both kinds: async ones in the event loop, sync ones in threads."""
    import threading

    inbox, threads = async_world.open(), {}

    async def native(event: Any, context: Any) -> None:
        threads["native"] = threading.current_thread()

    def blocking(event: Any, context: Any) -> None:
        threads["blocking"] = threading.current_thread()

    inbox.on("*")(native)
    inbox.on("*")(blocking)
    async_world.receive(make.event())
    async_world.drain()
    assert threads["native"] is threading.main_thread()
    assert threads["blocking"] is not threading.main_thread()


def test_handlers_of_any_kind_have_names(world: Any, make: Any) -> None:
    """A partial and an object that is called are handlers too, named after what they call, sync or async."""
    inbox, seen = world.open(), []

    class Callable:
        def __call__(self, event: Any, context: Any) -> None:
            seen.append("object")

    class Native:
        async def __call__(self, event: Any, context: Any) -> None:
            seen.append("native")

    def named(word: str, event: Any, context: Any) -> None:
        seen.append(word)

    inbox.on("*")(partial(named, "partial"))
    inbox.on("*")(Callable())
    if world.colour != "sync":
        inbox.on("*")(Native())
    assert [name.rpartition(".")[2] for name in inbox.handlers][:2] == ["named", "Callable"]
    world.receive(make.event())
    world.drain()
    assert seen == ["partial", "object", *(["native"] if world.colour != "sync" else [])]


def test_what_is_no_function_is_no_handler(world: Any) -> None:
    """Decorating what cannot be called says how a handler is registered."""
    inbox = world.open()
    with pytest.raises(ConfigurationError, match="decorates a function"):
        inbox.on("a.b")(7)


def test_refetching_without_a_client_is_warned_of(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that wants events refetched by an inbox that cannot is warned of when it is registered."""
    world.open().on("a.b", name="h", versions="refetch")(world.handler(lambda event, context: None))
    assert "this inbox has no client" in caplog.text
