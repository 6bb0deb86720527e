"""Replays of many events, several at once, beside workers, purges and duplicates, on real databases."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe.protocols import InboxQuery
from tests.inbox_faults.shop import PATIENCE, Shop, drain, effect, event, send, wait_for

MANY = 300


def test_many_replays_by_several_at_once(any_shop: Shop) -> None:
    """Two operators replay the same events beside workers: none runs twice at once, each as often as it was replayed, all is audited."""
    running: set[str] = set()
    overlaps: list[str] = []
    lock = threading.Lock()

    def handle(event: Any, context: Any) -> None:
        lane = context.event_record.lane
        with lock:
            if lane in running:
                overlaps.append(lane)
            running.add(lane)
        effect(event, context)
        with lock:
            running.discard(lane)

    with (
        any_shop.inbox(workers=2, sweep_interval=0.1, accept_timeout=PATIENCE) as inbox,
        ThreadPoolExecutor(8) as threads,
    ):
        inbox.on("*", name="h")(handle)
        list(threads.map(lambda number: send(inbox, event(number, obj=f"cus_{number % 50}")), range(MANY)))
        drain(inbox)
        ids = inbox.operations.select()
        slept: list[float] = []
        operators = [InboxOperations(inbox.store, sleep=slept.append) for _ in range(2)]
        with inbox.worker():
            futures = [
                threads.submit(one.replay, ids, rate=400.0, batch=50, actor=f"ops_{number}", reason="twice")
                for number, one in enumerate(operators)
            ]
            changes = [future.result(PATIENCE) for future in futures]
            wait_for(lambda: not inbox.store.waiting(0, 1))
        audited = [entry for _, entry in inbox.operations.audit(limit=1000) if entry.action == "replay"]
    assert overlaps == []
    assert {status for _, status in any_shop.statuses().items()} == {"done"}
    replayed = sum(len(change.changed) for change in changes)
    assert MANY <= replayed <= 2 * MANY
    runs = Counter(name for name, _ in any_shop.effects())
    assert sum(runs.values()) == MANY + replayed
    assert set(runs.values()) <= {2, 3}
    assert {entry.actor for entry in audited} == {"ops_0", "ops_1"}
    asked = [entry for entry in audited if entry.detail.startswith("events ")]
    left = [entry for entry in audited if entry not in asked]
    assert len(asked) == 2 * MANY // 50
    assert sum(int(entry.subject.split()[0]) for entry in asked) - sum(int(entry.subject.split()[0]) for entry in left) == replayed
    # A batch that changed something is followed by a rest, but for the last one.
    assert 0 < len(slept) <= 2 * (MANY // 50 - 1)


def test_a_replay_of_what_is_dead_old_or_running(any_shop: Shop) -> None:
    """A parked event and one of a month ago are replayed from their bytes; one that runs is left alone and told of."""
    seen: list[str] = []
    with any_shop.inbox() as inbox:

        def handle(event: Any, context: Any) -> None:
            seen.append(event.id)
            if seen.count("evt_dead") <= 5 and event.id == "evt_dead":
                raise LookupError

        inbox.on("*", name="h")(handle)
        for name in ("old", "dead", "running"):
            send(inbox, event(name, obj=name))
        with inbox.worker():
            wait_for(lambda: any_shop.statuses().get("evt_dead") == "parked" and not inbox.store.waiting(0, 1))
        any_shop.execute("UPDATE stripe_events SET received_at = received_at - 2592000 WHERE event_id = 'evt_old'")
        ids = inbox.operations.select()
        inbox.operations.replay(ids, rate=None)
        drain(inbox)
        inbox.operations.replay(ids, rate=None)
        claimed = inbox.store.claim("test//running", "somebody", 60.0)
        assert claimed.event_id == "evt_running"
        changes = inbox.operations.replay([claimed.id], rate=None)
        assert claimed.id not in changes.changed
        inbox.store.release("somebody")
        drain(inbox)
    assert Counter(seen) == {"evt_old": 3, "evt_running": 3, "evt_dead": 7}
    assert set(any_shop.statuses().values()) == {"done"}


def test_a_purge_beside_replays_takes_nothing_that_is_needed(any_shop: Shop) -> None:
    """While one purges and another replays, an event is either replayed with its bytes or purged: none is parked because its bytes are gone."""
    with any_shop.inbox(workers=2, accept_timeout=PATIENCE) as inbox, ThreadPoolExecutor(8) as threads:
        inbox.on("*", name="h")(effect)
        list(threads.map(lambda number: send(inbox, event(number, obj=f"cus_{number}")), range(MANY)))
        drain(inbox)
        ids = inbox.operations.select()
        with inbox.worker():
            purging = threads.submit(inbox.operations.purge, older_than=timedelta(0), batch=20)
            replaying = [threads.submit(inbox.operations.replay, ids[start::3], rate=None, batch=20) for start in range(3)]
            purging.result(PATIENCE)
            changes = [future.result(PATIENCE) for future in replaying]
            wait_for(lambda: not inbox.store.waiting(0, 1))
    assert set(any_shop.statuses().values()) == {"done"}
    replayed = sum(len(change.changed) for change in changes)
    assert len(any_shop.effects()) == MANY + replayed


def test_what_was_purged_is_still_known(any_shop: Shop) -> None:
    """An event whose payload was purged is a duplicate when Stripe delivers it again, is not handled again, and is not kept again."""
    with any_shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event())
        send(inbox, event("open", obj="other"))
        assert inbox.store.claim("test//other", "somebody", 60.0).event_id == "evt_open"
        with inbox.worker():
            wait_for(lambda: any_shop.statuses()["evt_1"] == "done")
        assert inbox.operations.purge(older_than=timedelta(0)) == 1
        assert send(inbox, event()) == "duplicate"
        (known,) = inbox.store.find(InboxQuery(event_id="evt_1", payloads=True))
        (unfinished,) = inbox.store.find(InboxQuery(event_id="evt_open", payloads=True))
        assert (known.status, known.payload) == ("done", None)
        assert unfinished.payload is not None
        assert inbox.operations.replay([known.id], rate=None).changed == ()
        assert len(any_shop.effects()) == 1


def test_a_replay_that_waits_for_a_purge_sees_what_it_left(postgres_shop: Shop) -> None:
    """A replay that had to wait for a purge of the same event finds it purged, and leaves it done."""
    with postgres_shop.inbox() as inbox, ThreadPoolExecutor(1) as threads:
        inbox.on("*", name="h")(effect)
        send(inbox, event())
        drain(inbox)
        ids = inbox.operations.select()
        with closing(postgres_shop.connect()) as purge:
            # What a purge does, between its look and its commit.
            purge.execute("SELECT id FROM stripe_events FOR UPDATE")
            purge.execute("DELETE FROM stripe_event_payloads")
            replaying = threads.submit(inbox.operations.replay, ids, rate=None)
            wait_for(lambda: postgres_shop.rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == [(1,)])
            purge.commit()
        assert replaying.result(PATIENCE).changed == ()
    assert postgres_shop.statuses() == {"evt_1": "done"}
