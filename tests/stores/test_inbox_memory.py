"""The inbox in memory."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atom_stripe.errors import ClaimLostError, StoreError
from atom_stripe.protocols import Appended, Arrival, HandlerState, InboxQuery, InboxRecord, Nothing, Refusal, Step
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import INBOX_STORE_CHECKS
from tests.canary import MARK

if TYPE_CHECKING:
    from atom_stripe.testing.inbox_conformance import InboxCheck

ARRIVAL = Arrival(
    event_id="evt_1",
    type="invoice.paid",
    account="",
    livemode=False,
    lane="in_1",
    payload=b"{}",
    endpoint="default",
    received_at=1.0,
)
DONE = {"h": HandlerState(status="done")}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def claim(store: MemoryInboxStore, run: str = "r", lease: float = 10.0) -> InboxRecord:
    row = store.claim("in_1", run, lease)
    assert isinstance(row, InboxRecord)
    return row


def done(row: InboxRecord) -> Step:
    return Step(id=row.id, run=row.run or "", handlers=DONE, status="done")


def status(store: MemoryInboxStore, id_: int = 1) -> str:
    return store.find(InboxQuery(after=id_ - 1, limit=1))[0].status


@pytest.mark.parametrize("check", INBOX_STORE_CHECKS)
def test_it_keeps_every_promise(check: InboxCheck) -> None:
    """The inbox in memory keeps each promise of ``InboxStore``, where several share their rows."""
    rows = MemoryInboxStore()
    check.run(lambda: MemoryInboxStore(rows))


def test_time_is_that_of_its_clock() -> None:
    """Claims end, and events are due, by the clock that the store was given, also in stores that share its rows."""
    clock = Clock()
    store = MemoryInboxStore(clock=clock)
    other = MemoryInboxStore(store)
    store.append([ARRIVAL])
    assert claim(store).run_until == 1_010.0
    assert other.claim("in_1", "s", 10.0) == Nothing(1_010.0, 1_000.0)
    clock.now = 1_010.0
    row = claim(other, "s")
    assert (row.attempts, row.run_until) == (2, 1_020.0)
    store.advance(replace(done(row), status="pending", due_at=1_030.0))
    assert store.claim("in_1", "r", 10.0) == Nothing(1_030.0, 1_010.0)
    clock.now = 1_030.0
    claim(store)
    assert store.counts().now == 1_030.0


def test_effects_are_those_of_committed_transactions() -> None:
    """What a handler appends to its connection is an effect once the transaction has committed, and nothing after an exception."""
    store = MemoryInboxStore()
    store.append([ARRIVAL])
    row = claim(store)

    def fail() -> None:
        with store.transaction() as connection:
            connection.append("undone")
            store.advance(done(row), connection=connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (store.effects, status(store)) == ((), "pending")
    with store.transaction() as connection:
        connection.append("first")
        store.advance(done(row), connection=connection)
        assert (store.effects, status(store)) == ((), "pending")
        connection.append("second")
    assert (store.effects, status(store)) == (("first", "second"), "done")


def test_a_claim_that_ends_in_a_transaction_undoes_it() -> None:
    """A handler whose time is up when its transaction commits has no effect, although its step was accepted before."""
    clock = Clock()
    store = MemoryInboxStore(clock=clock)
    store.append([ARRIVAL])
    row = claim(store)

    def work_too_long() -> None:
        with store.transaction() as connection:
            connection.append("undone")
            store.advance(done(row), connection=connection)
            clock.now += 10.0

    with pytest.raises(ClaimLostError):
        work_too_long()
    assert (store.effects, status(store)) == ((), "pending")
    assert claim(store, "s").attempts == 2


def test_a_heartbeat_in_a_transaction_is_kept() -> None:
    """A claim that is extended while a transaction with its step is open holds when it commits, and for as long as it was extended."""
    clock = Clock()
    store = MemoryInboxStore(clock=clock)
    store.append([ARRIVAL])
    row = claim(store)
    with store.transaction() as connection:
        store.advance(replace(done(row), status="pending", keep=True), connection=connection)
        store.extend(["r"], 100.0)
        clock.now += 50.0
    assert store.waiting(0, 1)[0].run_until == 1_100.0


def test_steps_of_one_transaction_follow_each_other() -> None:
    """A second step in a transaction sees the first: it goes on from it, or is refused if the first has ended the claim."""
    store = MemoryInboxStore()
    store.append([ARRIVAL])
    row = claim(store)
    with store.transaction() as connection:
        store.advance(replace(done(row), status="pending", handlers={}, keep=True), connection=connection)
        store.advance(done(row), connection=connection)
        with pytest.raises(ClaimLostError):
            store.advance(done(row), connection=connection)
    assert status(store) == "done"


def test_a_transaction_that_has_ended_takes_nothing() -> None:
    """After its transaction a connection refuses effects and steps, instead of losing them."""
    store = MemoryInboxStore()
    store.append([ARRIVAL])
    row = claim(store)
    with store.transaction() as connection:
        pass
    with pytest.raises(StoreError, match="ended"):
        connection.append("late")
    with pytest.raises(StoreError, match="ended"):
        store.advance(done(row), connection=connection)
    assert status(store) == "pending"


def test_two_transactions_at_once() -> None:
    """Transactions of two handlers may be open at the same time: none waits for the other, and each is undone alone."""
    store = MemoryInboxStore()

    def work() -> None:
        with store.transaction() as one:
            one.append("one")
            with store.transaction() as other:
                other.append("other")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert store.effects == ("other",)


def test_parked_handlers_begin_anew() -> None:
    """A duplicate of a parked event gives its parked handlers all their attempts again, and still says why they failed last."""
    store = MemoryInboxStore()
    store.append([ARRIVAL])
    parked = HandlerState(status="parked", attempts=9, error="ValueError: no", finished_at=5.0)
    store.advance(replace(done(claim(store)), status="parked", handlers={"h": parked, "i": DONE["h"]}))
    assert store.append([ARRIVAL]) == [Appended("requeued", 1, "in_1")]
    assert claim(store).handlers == {"h": HandlerState(error="ValueError: no"), "i": DONE["h"]}


def test_every_delivery_is_logged() -> None:
    """The log of deliveries names each one, what became of it, and nothing of what a refused one held; what cannot be stored is not there."""
    store = MemoryInboxStore()
    said = store.append([ARRIVAL, Refusal(endpoint="default", reason="InvalidSignatureError", received_at=2.0), ARRIVAL])
    assert [each and each.outcome for each in said if not isinstance(each, StoreError)] == ["stored", None, "duplicate"]
    assert store.deliveries == (
        (1.0, "default", "stored", 1, ""),
        (2.0, "default", "refused", None, "InvalidSignatureError"),
        (1.0, "default", "duplicate", 1, ""),
    )
    (error,) = store.append([replace(ARRIVAL, event_id="\ud800")])
    assert isinstance(error, StoreError)
    assert not error.retryable
    assert len(store.deliveries) == 3


def test_what_is_returned_is_not_the_row() -> None:
    """Changing the handlers of a record that was returned, or those of a step that was written, changes no row."""
    store = MemoryInboxStore()
    store.append([ARRIVAL])
    row = claim(store)
    handlers = dict(DONE)
    store.advance(replace(done(row), handlers=handlers, status="pending"))
    handlers.clear()
    for found in (store.find(InboxQuery())[0], claim(store)):
        assert isinstance(found.handlers, dict)
        found.handlers["x"] = HandlerState()
    assert store.find(InboxQuery())[0].handlers == DONE


def test_a_forked_child_is_not_locked() -> None:
    """A child that was forked while another thread was at work in the store can use its copy at once."""
    store = MemoryInboxStore()
    entered, leave = threading.Event(), threading.Event()

    def slow(row: InboxRecord) -> None:
        entered.set()
        leave.wait(30)

    store.append([ARRIVAL])
    worker = threading.Thread(target=store.change, args=([1], slow))
    worker.start()
    assert entered.wait(30)
    child = os.fork()
    if child == 0:
        os._exit(7 if store.counts().pending == 1 else 8)
    leave.set()
    worker.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_repr_shows_counts_only() -> None:
    """The repr of a store says how much is in it; those of its records show no payload."""
    store = MemoryInboxStore()
    store.append([replace(ARRIVAL, payload=MARK.encode(), event_id=f"evt_{MARK}")])
    assert repr(store) == "MemoryInboxStore(1 events, 1 pending)"
    assert MARK.encode().hex() not in repr(replace(claim(store), event_id="evt_1"))
    assert MARK not in repr(replace(claim_again(store), event_id="evt_1"))


def claim_again(store: MemoryInboxStore) -> InboxRecord:
    store.release("r")
    return claim(store)
