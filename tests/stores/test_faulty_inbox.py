"""An inbox's store with faults on demand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_args

import pytest

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Arrival, AuditEntry, HandlerState, InboxQuery, InboxRecord, Step
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import FaultyInboxStore
from atom_stripe.testing.faulty_inbox import InboxCall, InboxOperation

if TYPE_CHECKING:
    from collections.abc import Callable

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
ENTRY = AuditEntry(at=1.0, actor="somebody", action="replay", subject="evt_1")
STEP = Step(id=1, run="r", handlers={"h": HandlerState(status="done")}, status="done")


def commit(store: FaultyInboxStore) -> None:
    with store.transaction() as connection:
        connection.append("effect")


# A call of each method, and what shows that it did its work, for those that write.
WRITES: dict[InboxOperation, tuple[Callable[[FaultyInboxStore], Any], Callable[[MemoryInboxStore], bool]]] = {
    "append": (lambda store: store.append([ARRIVAL, ARRIVAL]), lambda behind: len(behind.deliveries) == 3),
    "claim": (lambda store: store.claim("in_1", "s", 60.0), lambda behind: behind.find(InboxQuery())[0].run == "s"),
    "advance": (lambda store: store.advance(STEP), lambda behind: behind.counts().pending == 0),
    "together": (lambda store: store.together([STEP], {}, 60.0, bool), lambda behind: behind.counts().pending == 0),
    "extend": (lambda store: store.extend(["r"], 1e9), lambda behind: (behind.waiting(0, 1)[0].run_until or 0) > time.time() + 1e8),
    "release": (lambda store: store.release("r"), lambda behind: behind.counts().running == 0),
    "commit": (commit, lambda behind: behind.effects == ("effect",)),
    "change": (lambda store: store.change([1], lambda row: row, ENTRY), lambda behind: len(behind.logged(0, 10)) == 1),
    "purge": (lambda store: store.purge(1e11, 10), lambda behind: behind.find(InboxQuery(payloads=True))[0].payload is None),
    "log": (lambda store: store.log(ENTRY), lambda behind: len(behind.logged(0, 10)) == 1),
    "keep": (lambda store: store.keep("cursor", "1"), lambda behind: behind.value("cursor") == "1"),
}
READS: dict[InboxOperation, Callable[[FaultyInboxStore], Any]] = {
    "waiting": lambda store: store.waiting(0, 10),
    "find": lambda store: store.find(InboxQuery()),
    "counts": lambda store: store.counts().pending,
    "logged": lambda store: store.logged(0, 10),
    "value": lambda store: store.value("cursor"),
    "delivered": lambda store: store.delivered(1, 10),
}


def world(operation: InboxOperation) -> tuple[FaultyInboxStore, MemoryInboxStore]:
    """A faulty store in front of one that holds an event, in the state that *operation* can change."""
    behind = MemoryInboxStore()
    behind.append([ARRIVAL])
    if operation != "claim":
        assert isinstance(behind.claim("in_1", "r", 60.0), InboxRecord)
    if operation == "purge":
        behind.advance(STEP)
    return FaultyInboxStore(behind), behind


def test_every_operation_is_tried() -> None:
    """The tests below know every method of the store."""
    assert {*WRITES, *READS, "transaction"} == set(get_args(InboxOperation))


@pytest.mark.parametrize("operation", WRITES)
def test_fail_writes_nothing(operation: InboxOperation) -> None:
    """``fail`` raises ``StoreError`` and nothing is written; the same call after it does its work."""
    store, behind = world(operation)
    call, is_written = WRITES[operation]
    store.faults.next(kind="fail", operation=operation)
    with pytest.raises(StoreError):
        call(store)
    assert not is_written(behind)
    call(store)
    assert is_written(behind)


@pytest.mark.parametrize("operation", WRITES)
def test_lose_answer_writes(operation: InboxOperation) -> None:
    """``lose_answer`` raises ``StoreError`` although the work was done."""
    store, behind = world(operation)
    call, is_written = WRITES[operation]
    store.faults.next(kind="lose_answer", operation=operation)
    with pytest.raises(StoreError):
        call(store)
    assert is_written(behind)


@pytest.mark.parametrize("kind", ["fail", "lose_answer"])
@pytest.mark.parametrize("operation", READS)
def test_reads_fail_too(operation: InboxOperation, kind: Any) -> None:
    """What only reads raises ``StoreError`` once, and then answers as the store behind does."""
    store, behind = world(operation)
    store.faults.next(kind=kind, operation=operation)
    with pytest.raises(StoreError):
        READS[operation](store)
    assert READS[operation](store) == READS[operation](FaultyInboxStore(behind))


def test_a_transaction_can_fail_at_its_beginning() -> None:
    """``fail`` of ``transaction`` lets nothing begin: what stands inside is not run."""
    store, behind = world("commit")
    store.faults.next(kind="fail", operation="transaction")
    with pytest.raises(StoreError):
        commit(store)
    assert behind.effects == ()
    assert store.calls == (InboxCall("transaction", "fail"),)


def test_what_an_exception_ends_is_not_committed() -> None:
    """A transaction that an exception ends meets no fault of ``commit``, and is undone as the store behind does."""
    store, behind = world("commit")
    store.faults.next(kind="lose_answer", operation="commit")

    def fail() -> None:
        with store.transaction() as connection:
            connection.append("undone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (behind.effects, len(store.faults)) == ((), 1)


def test_delay_waits_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """``delay`` waits the seconds that it was given before the store behind is asked, and then answers."""
    store, behind = world("append")
    slept: list[tuple[float, int]] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append((seconds, len(behind.deliveries))))
    store.faults.next(kind="delay", operation="append", seconds=2.5)
    store.append([ARRIVAL])
    assert slept == [(2.5, 1)]
    assert len(behind.deliveries) == 2


def test_faults_wait_for_their_operation() -> None:
    """A fault waits for a call of its method; one without a method meets any, but no lost answer meets the beginning of a transaction."""
    store, behind = world("commit")
    store.faults.next(kind="lose_answer")
    store.faults.next(kind="fail", operation="keep", times=2)
    with pytest.raises(StoreError):
        commit(store)
    assert behind.effects == ("effect",)
    store.counts()
    assert len(store.faults) == 2
    store.faults.clear()
    store.keep("cursor", "1")
    calls = [(call.operation, call.fault) for call in store.calls]
    assert calls == [("transaction", None), ("commit", "lose_answer"), ("counts", None), ("keep", None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "lose"},
        {"kind": "fail", "operation": "load"},
        {"kind": "lose_answer", "operation": "transaction"},
        {"kind": "delay"},
        {"kind": "fail", "seconds": 1.0},
        {"kind": "delay", "seconds": -1.0},
        {"kind": "delay", "seconds": float("nan")},
        {"kind": "fail", "times": 0},
    ],
)
def test_faults_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """A fault that no call could meet is refused when it is asked for."""
    store, _behind = world("append")
    with pytest.raises(ConfigurationError):
        store.faults.next(**wrong)
    assert len(store.faults) == 0
