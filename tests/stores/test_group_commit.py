"""Many callers, one commit: who is told what, and when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import closing
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe._engine.inbox import group_commit
from atom_stripe._engine.inbox.group_commit import GroupCommit
from atom_stripe.errors import ClientClosedError, InboxBusyError, StoreError
from atom_stripe.protocols import Appended, Arrival, Refusal
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe._engine.inbox.pending import Pending

PATIENCE = 30.0


def arrival(number: int, **changes: Any) -> Arrival:
    values: dict[str, Any] = {
        "event_id": f"evt_{number}",
        "type": "invoice.paid",
        "account": "",
        "livemode": False,
        "lane": f"lane_{number}",
        "payload": b"{}",
        "endpoint": "main",
        "received_at": 1_700_000_000.0 + number,
    }
    return Arrival(**{**values, **changes})


class Slow(MemoryInboxStore):
    """A store whose first ``append`` waits, and which notes how many came at once. *fail*: called before each later one."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.began, self.go_on = Event(), Event()
        self.sizes: list[int] = []
        self._fail = fail

    def append(self, arrivals: Sequence[Arrival | Refusal], /) -> Sequence[Appended | StoreError | None]:
        self.sizes.append(len(arrivals))
        if len(self.sizes) == 1:
            self.began.set()
            assert self.go_on.wait(PATIENCE)
        else:
            self._fail()
        return super().append(arrivals)


def held(commit: GroupCommit, store: Slow) -> Pending:
    """Have the writer stand in the store, with one arrival."""
    first = commit.submit(arrival(0))
    assert store.began.wait(PATIENCE)
    return first


def failure(pending: Pending, timeout: float = PATIENCE) -> BaseException | None:
    """Return what *pending* raises."""
    try:
        pending.result(timeout)
    except (StoreError, InboxBusyError) as error:
        return error
    return None


def test_a_lone_arrival_waits_for_nobody() -> None:
    """One arrival is stored without a second one and without a timer; a refusal is answered with nothing."""
    store = MemoryInboxStore()
    with closing(GroupCommit(store)) as commit:
        assert commit.submit(arrival(1)).result(PATIENCE) == Appended("stored", 1, "lane_1")
        assert commit.submit(arrival(1)).result(PATIENCE) == Appended("duplicate", 1, "lane_1")
        assert commit.submit(Refusal(endpoint="main", reason="WebhookError", received_at=1.0)).result(PATIENCE) is None


def test_what_came_meanwhile_is_one_batch() -> None:
    """While the store is busy arrivals gather; they are stored together, a hundred at most, in the order in which they came."""
    store = Slow()
    with closing(GroupCommit(store)) as commit:
        first = held(commit, store)
        futures = [commit.submit(arrival(number)) for number in range(1, 251)]
        store.go_on.set()
        for future in (first, *futures):
            future.result(PATIENCE)
    assert store.sizes == [1, 100, 100, 50]
    assert [future.result() for future in futures] == [Appended("stored", n + 1, f"lane_{n}") for n in range(1, 251)]


def test_a_full_queue_refuses_at_once() -> None:
    """When the queue is full the caller is told at once, with the time to come back; nothing that was taken is lost."""
    store = Slow()
    with closing(GroupCommit(store, room=2, retry_after=7.0)) as commit:
        taken = [held(commit, store), commit.submit(arrival(1)), commit.submit(arrival(2))]
        with pytest.raises(InboxBusyError, match="no room") as refused:
            commit.submit(arrival(3))
        store.go_on.set()
        assert [future.result(PATIENCE) for future in taken] == [Appended("stored", n + 1, f"lane_{n}") for n in range(3)]
    assert refused.value.retry_after == 7.0


def test_a_store_that_hangs_is_given_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every writer has waited for the store for too long, new arrivals are refused instead of piling up."""
    monkeypatch.setattr(group_commit, "_STALL", -1.0)
    store = Slow()
    with closing(GroupCommit(store)) as commit:
        first = held(commit, store)
        with pytest.raises(InboxBusyError, match="waiting for its store"):
            commit.submit(arrival(1))
        store.go_on.set()
        assert first.result(PATIENCE) is not None


def test_one_failure_is_told_to_its_caller_alone() -> None:
    """Of a batch, the arrival that the store refuses fails, and those beside it are stored."""
    store = Slow()
    with closing(GroupCommit(store)) as commit:
        held(commit, store)
        good, bad, also_good = [commit.submit(arrival(n, event_id=name)) for n, name in enumerate(["evt_a", "\ud800", "evt_b"])]
        store.go_on.set()
        assert isinstance(failure(bad), StoreError)
        assert [future.result(PATIENCE) for future in (good, also_good)] == [
            Appended("stored", 2, "lane_0"),
            Appended("stored", 3, "lane_2"),
        ]


@pytest.mark.parametrize("error", [StoreError("away", retryable=False), OSError(5, "I/O"), SystemExit(1), KeyboardInterrupt()])
def test_every_caller_of_a_failed_batch_is_told(error: BaseException) -> None:
    """Whatever the store raises, each caller gets a StoreError of its own, and the writer goes on."""
    failing = [True]

    def fail() -> None:
        if failing:
            failing.clear()
            raise error

    store = Slow(fail)
    with closing(GroupCommit(store)) as commit:
        held(commit, store)
        futures = [commit.submit(arrival(n)) for n in (1, 2)]
        store.go_on.set()
        raised = [failure(future) for future in futures]
        assert [type(each) for each in raised] == [StoreError, StoreError]
        assert raised[0] is not raised[1]
        assert commit.submit(arrival(3)).result(PATIENCE) == Appended("stored", 2, "lane_3")


def test_a_store_that_answers_wrongly_leaves_nobody_waiting() -> None:
    """A store that returns fewer answers than it was given arrivals fails them all."""

    class Short(MemoryInboxStore):
        def append(self, arrivals: Sequence[Arrival | Refusal], /) -> Sequence[Appended | StoreError | None]:
            return super().append(arrivals)[1:]

    with closing(GroupCommit(Short())) as commit:
        assert isinstance(failure(commit.submit(arrival(1))), StoreError)


def test_a_writer_that_died_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a writer's thread has ended, the next arrival starts another one."""
    store = MemoryInboxStore()
    started: list[Thread] = []

    class Dying(Thread):
        def __init__(self, **options: Any) -> None:
            started.append(self)
            if len(started) == 1:
                options.update(target=int, args=())
            super().__init__(**options)

    monkeypatch.setattr(group_commit, "Thread", Dying)
    with closing(GroupCommit(store)) as commit:
        first = commit.submit(arrival(1))
        started[0].join(PATIENCE)
        second = commit.submit(arrival(2))
        assert [first.result(PATIENCE), second.result(PATIENCE)] == [Appended("stored", n, f"lane_{n}") for n in (1, 2)]


def test_who_gave_up_is_not_stored() -> None:
    """An arrival whose caller cancelled before it was begun is left out."""
    store = Slow()
    with closing(GroupCommit(store)) as commit:
        held(commit, store)
        given_up, kept = commit.submit(arrival(1)), commit.submit(arrival(2))
        assert given_up.cancel()
        store.go_on.set()
        assert kept.result(PATIENCE) == Appended("stored", 2, "lane_2")
        with pytest.raises(CancelledError):
            given_up.result(0)


def test_what_was_begun_is_not_given_up() -> None:
    """Cancelling comes too late for an arrival that the store has: whoever waits on learns what became of it."""
    store = Slow()
    with closing(GroupCommit(store)) as commit:
        first = held(commit, store)
        assert not first.cancel()
        with pytest.raises(TimeoutError):
            first.result(0.001)
        store.go_on.set()
        assert first.result(PATIENCE) == Appended("stored", 1, "lane_0")


def test_everybody_who_asks_is_told() -> None:
    """What became of an arrival is told to each thread that waits for it, and to each function once, before the end and after it."""
    store, told = Slow(), Event()
    calls: list[str] = []
    with closing(GroupCommit(store)) as commit:
        first = held(commit, store)
        first.add_done_callback(lambda _: calls.append("before"))
        first.add_done_callback(lambda _: told.set())
        results: list[Appended | None] = []
        threads = [Thread(target=lambda: results.append(first.result(PATIENCE))) for _ in range(5)]
        for thread in threads:
            thread.start()
        store.go_on.set()
        for thread in threads:
            thread.join()
        assert told.wait(PATIENCE)
        first.add_done_callback(lambda _: calls.append("after"))
    assert results == [Appended("stored", 1, "lane_0")] * 5
    assert calls == ["before", "after"]


def test_closing_stores_what_waits() -> None:
    """close() returns when everything that was taken is stored; afterwards nothing is taken."""
    store = Slow()
    commit = GroupCommit(store)
    taken = [held(commit, store), *(commit.submit(arrival(n)) for n in range(1, 150))]
    store.go_on.set()
    commit.close()
    assert all(future.done() and future.result() for future in taken)
    with pytest.raises(ClientClosedError):
        commit.submit(arrival(200))


def test_closing_does_not_wait_for_ever() -> None:
    """When the store hangs, close() ends at its deadline: what was not begun fails, and says so."""
    store = Slow()
    commit = GroupCommit(store, drain=0.0)
    first, left = held(commit, store), commit.submit(arrival(1))
    commit.close()
    assert isinstance(failure(left, 0), InboxBusyError)
    assert not first.done()
    store.go_on.set()
    assert first.result(PATIENCE) is not None


@pytest.mark.parametrize("writers", [None, 4])
def test_many_callers_on_a_database(database_url: str, writers: int | None) -> None:
    """Callers on many threads, each event sent twice: each is stored once, and each caller is told so."""
    upgrade(database_url)
    with SqlInboxStore.from_url(database_url) as store, closing(GroupCommit(store, writers=writers)) as commit:
        futures = [[commit.submit(arrival(n)) for n in range(200)] for _ in range(2)]
        answers = [[future.result(PATIENCE) for future in some] for some in futures]
        outcomes = [{one.outcome for one in pair if one} for pair in zip(*answers, strict=True)]
        assert outcomes == [{"stored", "duplicate"}] * 200
        assert [one and one.id for one in answers[0]] == [one and one.id for one in answers[1]]
        assert store.counts().pending == 200


FORK = """
import os, sys, warnings
from tests.stores.test_group_commit import arrival
from atom_stripe._engine.inbox.group_commit import GroupCommit
from atom_stripe.stores.sql import SqlInboxStore
warnings.simplefilter("ignore")
store = SqlInboxStore.from_url(sys.argv[1])
commit = GroupCommit(store)
assert commit.submit(arrival(1)).result(30).outcome == "stored"
child = os.fork()
if not child:
    ok = commit.submit(arrival(2)).result(30).outcome == "stored"
    commit.close()
    os._exit(0 if ok else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert commit.submit(arrival(2)).result(30).outcome == "duplicate"
commit.close()
store.close()
"""


def test_a_fork_gets_writers_of_its_own(database_url: str) -> None:
    """After a fork both processes go on storing, each with its own threads and connections."""
    upgrade(database_url)
    subprocess.run([sys.executable, "-c", FORK, database_url], check=True, timeout=60)


SENDER = """
import sys
from tests.stores.test_group_commit import arrival
from atom_stripe._engine.inbox.group_commit import GroupCommit
from atom_stripe.stores.sql import SqlInboxStore
commit = GroupCommit(SqlInboxStore.from_url(sys.argv[1]))
for start in range(0, 1_000_000, 20):
    futures = [commit.submit(arrival(n)) for n in range(start, start + 20)]
    for n, future in enumerate(futures, start):
        future.result(30)
        print(n, flush=True)
"""


def test_what_was_answered_survives_a_kill(database_url: str) -> None:
    """Every arrival that was answered before kill -9 is in the database once."""
    upgrade(database_url)
    with subprocess.Popen([sys.executable, "-c", SENDER, database_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        answered = [int(process.stdout.readline()) for _ in range(150)]
        os.kill(process.pid, signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().splitlines()]
    with SqlInboxStore.from_url(database_url) as store:
        again = store.append([arrival(n) for n in answered])
    assert {result.outcome for result in again if isinstance(result, Appended)} == {"duplicate"}
