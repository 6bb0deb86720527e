"""Disks that are full, files that are gone or may not be written, and power cuts."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy import event as events

from atom_stripe.errors import InboxBusyError
from atom_stripe.stores.sql import SqlInboxStore
from tests.inbox_faults.shop import (
    Shop,
    drain,
    effect,
    ended,
    event,
    new_inbox,
    reported,
    send,
    send_until_taken,
    started,
    wait_for,
)


def sound(file: str) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def test_a_file_that_may_not_grow(sqlite_shop: Shop) -> None:
    """When SQLite has no more pages Stripe is asked to come back; with room again the same inbox goes on, and the file is sound."""
    engine = create_engine(sqlite_shop.url)
    room = [0]

    @events.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        if room[0]:
            connection.execute(f"PRAGMA max_page_count = {room[0]}")

    ((pages,),) = sqlite_shop.rows("PRAGMA page_count")
    room[0] = pages + 20
    padding = "x" * 3000
    stored = []
    with SqlInboxStore(engine, close_engine=True) as store, new_inbox(store) as inbox:
        inbox.on("*", name="h")(effect)
        for number in range(100):
            try:
                send(inbox, event(number, request={"id": padding}))
            except InboxBusyError:
                break
            stored.append(f"evt_{number}")
        for _ in range(3):
            with pytest.raises(InboxBusyError, match="SQLITE_FULL"):
                send(inbox, event("late", request={"id": padding}))
        assert list(sqlite_shop.statuses()) == stored
        room[0] = 0
        engine.dispose()
        # A connection that was in use then may still know the old limit.
        assert send_until_taken(inbox, event("late", request={"id": padding})) == "stored"
        drain(inbox)
    assert len(stored) > 1
    assert sorted(name for name, _ in sqlite_shop.effects()) == sorted([*stored, "evt_late"])
    assert sound(sqlite_shop.file)


def test_a_disk_that_is_full(sqlite_shop: Shop) -> None:
    """When the system refuses to write, to the log or in a checkpoint, Stripe is asked to come back; with room again the same process goes on."""
    process = started("small_disk", sqlite_shop.kind, sqlite_shop.url)
    try:
        first, second, last, stored = (reported(process) for _ in range(4))
    finally:
        code = ended(process)
    assert code == 0
    assert 0 < first[0] < second[0] == last[0]
    assert (first[1], second[1], last[1]) == ([False] * 3, [False] * 3, [True] * 3)
    assert set(stored) <= set(sqlite_shop.statuses())
    assert sound(sqlite_shop.file)
    with sqlite_shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        drain(inbox)
    assert {name for name, _ in sqlite_shop.effects()} >= set(stored)


def test_a_server_whose_disk_is_full(postgres_shop: Shop) -> None:
    """When PostgreSQL's disk is full Stripe is asked to come back and handlers are tried again; with room again all goes on by itself."""
    postgres_shop.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    )
    with postgres_shop.inbox(workers=1) as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(1))
        for table in ("stripe_event_payloads", "effects"):
            postgres_shop.execute(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()")
        with inbox.worker():
            for _ in range(3):
                with pytest.raises(InboxBusyError, match="53100"):
                    send(inbox, event(2))
            wait_for(lambda: inbox.counts.get("failed"))
            for table in ("stripe_event_payloads", "effects"):
                postgres_shop.execute(f"DROP TRIGGER full_disk ON {table}")
            assert send(inbox, event(2)) == "stored"
            wait_for(lambda: not inbox.store.waiting(0, 1))
        assert list(postgres_shop.statuses()) == ["evt_1", "evt_2"]


def test_power_cuts(sqlite_shop: Shop) -> None:
    """Whatever is left of the files at any moment, with a torn end of the log or without, holds what was answered before, once, and is sound."""
    process = started("flood", sqlite_shop.kind, sqlite_shop.url)
    assert process.stdout
    chosen = random.Random(5)
    answered: set[int] = set()
    copies = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for cut in range(10):
                for _ in range(chosen.randrange(1, 60)):
                    answered.add(int(process.stdout.readline()))
                os.kill(process.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
                copy = Path(folder, str(cut))
                copy.mkdir()
                # Not the index of the log, which is in memory only.
                for suffix in ("", "-wal"):
                    shutil.copy(f"{sqlite_shop.file}{suffix}", copy / f"file.db{suffix}")
                copies.append((copy, set(answered)))
                os.kill(process.pid, signal.SIGCONT)
        finally:
            process.kill()
            with process:
                process.stdout.close()
        for number, (copy, before) in enumerate(copies):
            log = copy / "file.db-wal"
            if number % 2:
                # What was on its way to the disk: part of it arrived, part of it is something else.
                with log.open("ab") as end:
                    end.write(log.read_bytes()[32 : 32 + chosen.randrange(1, 9000)] + chosen.randbytes(chosen.randrange(1, 9000)))
            shop = Shop("sqlite", f"sqlite:///{copy / 'file.db'}")
            stored = shop.rows("SELECT event_id, status FROM stripe_events")
            assert {f"evt_{name}" for name in before} <= {name for name, _ in stored}
            assert shop.rows("SELECT count(*) FROM stripe_events WHERE id NOT IN (SELECT id FROM stripe_event_payloads)") == [(0,)]
            assert sound(shop.file)
        last = Shop("sqlite", f"sqlite:///{copies[-1][0] / 'file.db'}")
        with last.inbox() as inbox:
            inbox.on("*", name="h")(effect)
            assert send(inbox, event(min(copies[-1][1]))) == "duplicate"
            drain(inbox)
        assert len(last.effects()) == len(last.statuses())


def test_a_file_that_may_only_be_read(sqlite_shop: Shop) -> None:
    """With a file that may not be written Stripe is asked to come back, and what is in it can be looked at."""
    with sqlite_shop.inbox() as inbox:
        send(inbox, event(1))
    with sqlite_shop.inbox(f"sqlite:///file:{sqlite_shop.file}?mode=ro&uri=true") as inbox:
        with pytest.raises(InboxBusyError, match="SQLITE_READONLY"):
            send(inbox, event(2))
        assert inbox.operations.status().counts.pending == 1
    assert list(sqlite_shop.statuses()) == ["evt_1"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed(sqlite_shop: Shop, replaced: bool) -> None:
    """After the file was removed, or replaced by another, nothing is taken that would be lost with it; with the file back all is as ever."""
    with sqlite_shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(1))
        with closing(sqlite_shop.connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with tempfile.TemporaryDirectory() as elsewhere:
            for path in Path(sqlite_shop.file).parent.iterdir():
                shutil.move(path, elsewhere)
            if replaced:
                sqlite3.connect(sqlite_shop.file).close()
                Path(sqlite_shop.file).touch()
            for _ in range(3):
                with pytest.raises(InboxBusyError):
                    send(inbox, event(2))
            for path in Path(sqlite_shop.file).parent.iterdir():
                path.unlink()
            shutil.copy(Path(elsewhere, Path(sqlite_shop.file).name), sqlite_shop.file)
        assert send_until_taken(inbox, event(2)) == "stored"
        drain(inbox)
    assert [name for name, _ in sqlite_shop.effects()] == ["evt_1", "evt_2"]


def test_a_folder_that_is_not_there(sqlite_shop: Shop) -> None:
    """With a file that cannot be opened Stripe is asked to come back."""
    with (
        sqlite_shop.inbox(f"sqlite:///{sqlite_shop.file}/no/file.db") as inbox,
        pytest.raises(InboxBusyError, match="SQLITE_CANTOPEN"),
    ):
        send(inbox, event())


def test_a_file_that_is_no_database(sqlite_shop: Shop) -> None:
    """With a file that holds something else Stripe is asked to come back, and the file is left as it is."""
    content = b"something else entirely, in several words\n" * 100
    Path(sqlite_shop.file).write_bytes(content)
    with sqlite_shop.inbox() as inbox, pytest.raises(InboxBusyError, match="SQLITE_NOTADB"):
        send(inbox, event())
    assert Path(sqlite_shop.file).read_bytes() == content


OTHER = """
import json, sys
from tests.inbox_faults.shop import Shop, drain, effect, event, send
with Shop("sqlite", sys.argv[1]).inbox() as inbox:
    inbox.on("*", name="h")(effect)
    with inbox.worker():
        for number in range(50):
            send(inbox, event(f"other_{number}", obj=f"cus_{number % 5}"))
    print(json.dumps("done"), flush=True)
"""


def test_two_processes_share_the_file(sqlite_shop: Shop) -> None:
    """Two processes that store and handle events in one file at the same time lose and double none."""
    import subprocess

    from tests.inbox_faults.shop import ROOT

    with (
        sqlite_shop.inbox(accept_timeout=60.0) as inbox,
        subprocess.Popen([sys.executable, "-c", OTHER, sqlite_shop.url], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other,
    ):
        inbox.on("*", name="h")(effect)
        with inbox.worker():
            for number in range(50):
                send(inbox, event(number, obj=f"cus_{number % 5}"))
            assert other.stdout
            assert json.loads(other.stdout.readline()) == "done"
            wait_for(lambda: not inbox.store.waiting(0, 1))
        assert other.wait() == 0
    names = [f"evt_{number}" for number in range(50)] + [f"evt_other_{number}" for number in range(50)]
    assert sorted(name for name, _ in sqlite_shop.effects()) == sorted(names)


def test_a_long_reader(sqlite_shop: Shop) -> None:
    """While somebody reads an old state for long, events are stored and handled; when he has ended the log is used again and does not grow on."""

    def log() -> int:
        return Path(f"{sqlite_shop.file}-wal").stat().st_size

    padding = "x" * 50_000
    with sqlite_shop.inbox() as inbox, closing(sqlite_shop.connect()) as reader:
        inbox.on("*", name="h")(effect)

        def deliver(name: str) -> None:
            for number in range(150):
                send(inbox, event(f"{name}_{number}", obj=f"cus_{number}", request={"id": padding}))

        send(inbox, event("first"))
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM stripe_events").fetchone() == (1,)
        deliver("a")
        drain(inbox)
        assert reader.execute("SELECT count(*) FROM stripe_events").fetchone() == (1,)
        grown = log()
        # It was more than a checkpoint would leave.
        assert grown > 1000 * 4096
        reader.rollback()
        deliver("b")
        deliver("c")
        assert log() < 2 * grown
    assert len(sqlite_shop.statuses()) == 451
