"""What nobody knows for sure: a commit without an answer, a process that dies behind it, a batch of which one row is bad."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.errors import InboxBusyError, StoreError
from tests.inbox_faults.between import BadNetwork
from tests.inbox_faults.shop import (
    PATIENCE,
    Shop,
    drain,
    effect,
    event,
    new_inbox,
    raw,
    send,
    send_until_taken,
    signed,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.protocols import Appended
    from tests.inbox_faults.between import Cut


@pytest.fixture(params=["postgres", "pgqueuer"])
def server_shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


@pytest.fixture
def network(server_shop: Shop) -> Iterator[BadNetwork]:
    with BadNetwork(server_shop.url) as made:
        yield made


def test_a_death_after_the_commit_is_answered_by_the_next_delivery(any_shop: Shop) -> None:
    """A process that is killed between commit and answer leaves one event; the next delivery is a duplicate, and it is handled once."""
    with started("commit_and_die", any_shop.kind, any_shop.url) as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL
    if any_shop.engine is not None:
        assert any_shop.jobs() == 1
    with any_shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        assert send(inbox, event()) == "duplicate"
        drain(inbox)
    assert any_shop.effects() == [("evt_1", 1)]


@pytest.mark.parametrize(("cut", "then"), [("before", "stored"), ("after", "duplicate")])
def test_a_commit_without_an_answer_is_no_acceptance(server_shop: Shop, network: BadNetwork, cut: Cut, then: str) -> None:
    """When connections break during the commit, Stripe is asked to come back, and the next delivery finds the event or stores it: once."""
    with server_shop.inbox(network.url) as inbox:
        inbox.on("*", name="h")(effect)
        # The first connection has COMMITs of its own.
        send(inbox, event(0))
        # One is no reason to bother Stripe.
        network.cuts += [cut, cut]
        with pytest.raises(InboxBusyError, match="not known") as busy:
            send(inbox, event())
        assert busy.value.retry_after > 0
        # The server may be busy with it yet.
        wait_for(lambda: len(server_shop.statuses()) == 1 + (cut == "after"))
        assert send(inbox, event()) == then
        if server_shop.engine is not None:
            assert server_shop.jobs() == 2
        drain(inbox)
    assert network.made == 2
    assert server_shop.effects() == [("evt_0", 1), ("evt_1", 1)]


@pytest.mark.parametrize(("cut", "found"), [("before", "stored"), ("after", "duplicate")])
def test_a_commit_without_an_answer_is_asked_again(server_shop: Shop, network: BadNetwork, cut: Cut, found: str) -> None:
    """When one connection breaks during the commit, another one finds the event or stores it: once, with one job."""
    with server_shop.inbox(network.url) as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(0))
        network.cuts.append(cut)
        assert send(inbox, event()) == found
        if server_shop.engine is not None:
            assert server_shop.jobs() == 2
        drain(inbox)
    assert network.made == 1
    assert server_shop.effects() == [("evt_0", 1), ("evt_1", 1)]


@pytest.mark.parametrize(("cut", "attempt"), [("before", 2), ("after", 1)])
def test_a_handlers_commit_without_an_answer_takes_effect_once(
    server_shop: Shop, network: BadNetwork, cut: Cut, attempt: int
) -> None:
    """When the connection breaks while a handler's transaction commits, its effect is there once: it runs again only if nothing was committed."""
    seen: list[int] = []
    with server_shop.inbox(network.url, workers=1) as inbox:

        def handle(event: Any, context: Any) -> None:
            seen.append(context.attempt)
            effect(event, context)
            if len(seen) == 1:
                network.cuts.append(cut)

        inbox.on("*", name="h")(handle)
        send(inbox, event())
        drain(inbox)
        assert inbox.counts.get("store_failures") == 1
    assert network.made == 1
    assert seen == list(range(1, attempt + 1))
    assert server_shop.effects() == [("evt_1", attempt)]
    assert server_shop.statuses() == {"evt_1": "done"}


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_step_without_an_answer_runs_no_handler_again(server_shop: Shop, network: BadNetwork, cut: Cut) -> None:
    """When the connection breaks while it is written that a handler without a transaction is done, it is written again; it has run once."""
    seen: list[str] = []
    with server_shop.inbox(network.url, workers=1) as inbox:

        def handle(event: Any, context: Any) -> None:
            seen.append(event.id)
            if len(seen) == 1:
                network.cuts.append(cut)

        inbox.on("*", name="h")(handle)
        send(inbox, event(1))
        send(inbox, event(2))
        drain(inbox)
    assert network.made == 1
    assert seen == ["evt_1", "evt_2"]
    assert server_shop.statuses() == {"evt_1": "done", "evt_2": "done"}


def test_a_network_that_swallows_everything(server_shop: Shop, network: BadNetwork) -> None:
    """While nothing comes through to the database and nothing fails either, Stripe is asked to come back in time; afterwards all is as ever."""
    with server_shop.inbox(network.url, accept_timeout=0.5) as inbox:
        inbox.on("*", name="h")(effect)
        send_until_taken(inbox, event(0))
        network.flows.clear()
        for _ in range(3):
            with pytest.raises(InboxBusyError, match="did not answer"):
                send(inbox, event(1))
        network.flows.set()
        send_until_taken(inbox, event(1))
        drain(inbox)
    assert server_shop.effects() == [("evt_0", 1), ("evt_1", 1)]


class Breaks:
    """A store of which a method fails once, or does its work and then says that it did not."""

    def __init__(self, store: Any, method: str, *, after: bool) -> None:
        self._store, self._method, self._after, self.failures = store, method, after, 1

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name != self._method:
            return found

        def call(*args: Any, **options: Any) -> Any:
            if self.failures and not options:
                self.failures -= 1
                if self._after:
                    found(*args)
                msg = "the disk was away for a moment"
                raise StoreError(msg)
            return found(*args, **options)

        return call


@pytest.mark.parametrize("after", [False, True])
def test_a_completion_that_fails_costs_nothing(shop: Shop, after: bool) -> None:
    """When writing down that a handler is done fails, before or after it took effect, it is written again: no event is lost, and none runs twice."""
    seen: list[str] = []
    with shop.open() as store, new_inbox(Breaks(store, "advance", after=after)) as inbox:
        inbox.on("*", name="h")(lambda event, context: seen.append(event.id))
        send(inbox, event(1))
        send(inbox, event(2))
        drain(inbox)
    assert seen == ["evt_1", "evt_2"]
    assert set(shop.statuses().values()) == {"done"}


def test_an_engine_that_cannot_be_told_keeps_the_event_out(pgqueuer_shop: Shop) -> None:
    """When the engine's part of the commit fails nothing is stored and Stripe is asked to come back, until the engine's tables are there again."""
    pgqueuer_shop.execute("ALTER TABLE stripe_pgqueuer RENAME TO elsewhere")
    with pgqueuer_shop.inbox() as inbox:
        with pytest.raises(InboxBusyError):
            send(inbox, event())
        assert pgqueuer_shop.rows("SELECT count(*) FROM stripe_events") == [(0,)]
        assert pgqueuer_shop.rows("SELECT count(*) FROM stripe_deliveries") == [(0,)]
        pgqueuer_shop.execute("ALTER TABLE elsewhere RENAME TO stripe_pgqueuer")
        assert send(inbox, event()) == "stored"
    assert pgqueuer_shop.jobs() == 1


def test_a_bad_row_in_a_batch_fails_alone(any_shop: Shop) -> None:
    """Of deliveries that are stored together only the one that the database does not take fails; the others are stored, each with its wake-up."""
    if any_shop.kind == "sqlite":
        bad = "CREATE TRIGGER picky BEFORE INSERT ON stripe_events WHEN NEW.event_id = 'evt_7' BEGIN SELECT raise(ABORT, 'no'); END"
    else:
        any_shop.execute(
            "CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.event_id = 'evt_7' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END IF; RETURN NEW; END $$"
        )
        bad = "CREATE TRIGGER picky BEFORE INSERT ON stripe_events FOR EACH ROW EXECUTE FUNCTION picky()"
    any_shop.execute(bad)
    free = threading.Event()
    with any_shop.open() as store:
        append = store.append
        batches: list[int] = []

        def held(arrivals: Any, *wake: Any) -> Any:
            free.wait()
            batches.append(len(arrivals))
            return append(arrivals, *wake)

        store.append = held  # type: ignore[method-assign]
        with new_inbox(store, accept_timeout=PATIENCE) as inbox, ThreadPoolExecutor(20) as senders:
            futures = [senders.submit(send, inbox, event(number, obj=f"cus_{number}")) for number in range(20)]
            wait_for(lambda: sum(future.running() for future in futures) == 20)
            free.set()
            failed = [number for number, future in enumerate(futures) if future.exception(PATIENCE)]
        assert isinstance(futures[7].exception(), InboxBusyError)
    assert failed == [7]
    assert max(batches) > 1
    assert sorted(any_shop.statuses()) == sorted(f"evt_{number}" for number in range(20) if number != 7)
    if any_shop.engine is not None:
        assert any_shop.jobs() == 19


def test_a_writer_that_dies_is_replaced_while_deliveries_come(shop: Shop) -> None:
    """When the thread that writes ends in the middle of everything, its callers are told, and the next delivery finds another one."""
    with shop.open() as store:
        append = store.append
        dying = [True]

        def once(arrivals: Any, *wake: Any) -> list[Appended | StoreError | None]:
            if dying:
                dying.clear()
                raise SystemExit
            return list(append(arrivals, *wake))

        store.append = once  # type: ignore[method-assign]
        with new_inbox(store) as inbox:
            body = raw(event())
            with pytest.raises(InboxBusyError):
                inbox.receive(body, signed(body))
            assert send(inbox, event()) == "stored"
