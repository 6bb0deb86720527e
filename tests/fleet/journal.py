"""
Where handlers leave their traces: a file of their own for what ran, and a table in the inbox's database for what took effect.

The file is written to by many processes, each line in one piece and to the end: its order is that in which things happened, and what was
written before a process was killed stays.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from tests.fleet.checker import Clash, Effect, End, Incident, Line, Start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS: dict[str, type[Line]] = {kind.__name__: kind for kind in (Start, End, Clash, Incident)}

TABLES = {
    "sqlite": (
        "CREATE TABLE effects (seq INTEGER PRIMARY KEY AUTOINCREMENT, round INTEGER NOT NULL, event TEXT NOT NULL, handler TEXT NOT NULL)",
    ),
    "postgresql": (
        "CREATE TABLE effects (seq bigserial PRIMARY KEY, round integer NOT NULL, event text NOT NULL, handler text NOT NULL)",
    ),
}
EFFECT = text("INSERT INTO effects (round, event, handler) VALUES (:round, :event, :handler)")
# Held until the end of the transaction: whoever is at work on the same lane meanwhile does not get it.
ALONE = text("SELECT pg_try_advisory_xact_lock(77, hashtext(:lane))")


class Journal:
    """The journals of all rounds, one file each, in *folder*. Threads share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def path(self, round_: int) -> Path:
        return self._folder / f"round-{round_}.log"

    def write(self, round_: int, line: Line) -> None:
        data = json.dumps([type(line).__name__, *astuple(line)], separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if round_ not in self._files:
                self._files[round_] = os.open(self.path(round_), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                for old in [number for number in self._files if number < round_ - 3]:
                    os.close(self._files.pop(old))
            os.write(self._files[round_], data)

    def read(self, round_: int) -> Iterator[Line]:
        if not self.path(round_).exists():
            return
        with self.path(round_).open("rb") as file:
            for data in file:
                kind, *values = json.loads(data)
                yield KINDS[kind](*values)

    def remove(self, round_: int) -> None:
        self.path(round_).unlink(missing_ok=True)

    def close(self) -> None:
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])


class Lane:
    """
    That somebody is at work on a lane, as the operating system sees it: the holder's death ends it, nothing else does.

    Locks belong to what was opened, so those of two threads are two.
    """

    def __init__(self, folder: Path, lane: str, worker: str) -> None:
        self._path = folder / f"{lane.replace('/', '_')}.lane"
        self._worker = worker
        self._file = -1
        self.holder: str | None = None

    def enter(self) -> None:
        """Begin; *holder* is who was there already."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.holder = os.pread(self._file, 100, 0).decode().strip() or "somebody"
            return
        os.pwrite(self._file, self._worker.ljust(20).encode(), 0)

    def leave(self) -> None:
        os.close(self._file)


def read_effects(connection: Any, round_: int) -> Iterator[Effect]:
    """Yield what took effect in a round."""
    rows = connection.execute(text("SELECT event, handler FROM effects WHERE round = :round"), {"round": round_})
    for event, handler in rows:
        yield Effect(event, handler)


def read_deliveries(connection: Any, first: int, last: int) -> Iterator[Any]:
    """Yield how many deliveries are in the inbox's log, for rows from *first* to *last*, by row and outcome."""
    rows = connection.execute(
        text("SELECT event, outcome, count(*) FROM stripe_deliveries WHERE event BETWEEN :first AND :last GROUP BY event, outcome"),
        {"first": first, "last": last},
    )
    yield from rows
