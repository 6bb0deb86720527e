"""What may stand between a program and its PostgreSQL: a network that breaks, and a pooler that gives each transaction another session."""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Literal, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

Cut = Literal["before", "after"]

_SSL, _GSS = 80877103, 80877104


def read(connection: socket.socket, count: int) -> bytes:
    """Return *count* bytes. Raises ``ConnectionError`` at the end."""
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError
        found += part
    return found


def read_message(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the kind of a message, and all of its bytes."""
    head = read(connection, 5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + read(connection, length - 4)


def read_startup(connection: socket.socket) -> bytes:
    """Return the message with which a client begins, after saying no to encryption."""
    while True:
        head = read(connection, 8)
        length, code = struct.unpack("!ii", head)
        if code not in {_SSL, _GSS}:
            return head + read(connection, length - 8)
        connection.sendall(b"N")


def hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class Between:
    """Listens on the loopback, for the database at *url*; ``url`` leads here."""

    def __init__(self, url: str) -> None:
        self._target = url
        self._listener = socket.create_server(("127.0.0.1", 0))
        parsed = make_url(url).set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = parsed.set(query={"sslmode": "disable", "gssencmode": "disable"}).render_as_string(hide_password=False)
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        hang_up(*sockets)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._sockets.append(client)
                threading.Thread(target=self._quietly, args=(self._serve, client), daemon=True).start()

    def _quietly(self, function: Any, *args: Any) -> None:
        with suppress(OSError):
            function(*args)

    def _serve(self, client: socket.socket) -> None:
        raise AssertionError(client)


class BadNetwork(Between):
    """
    A network that breaks at the next COMMIT, before or after the server heard it, or that holds back all there is. A statement that stores
    events and is a transaction of its own commits when the client says Sync.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.cuts: list[Cut] = []
        self.made = 0
        self.flows = threading.Event()
        self.flows.set()

    def _upstream(self) -> socket.socket:
        where = conninfo_to_dict(self._target)
        host, port = str(where.get("host") or "localhost"), int(where.get("port") or 5432)
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
        else:
            server = socket.create_connection((host, port))
        with self._lock:
            self._sockets.append(server)
        return server

    def _serve(self, client: socket.socket) -> None:
        deaf, storing = threading.Event(), _Storing()
        server = self._upstream()
        try:
            server.sendall(read_startup(client))
            threading.Thread(target=self._quietly, args=(self._answer, client, server, deaf), daemon=True).start()
            while True:
                kind, message = read_message(client)
                self.flows.wait()
                commits = storing.commits(kind, message) or (kind == b"Q" and message[5:11] == b"COMMIT")
                if commits and self.cuts:
                    self.made += 1
                    if self.cuts.pop(0) == "before":
                        return
                    # From now on nothing comes back, and who waits for it hears that the line is dead.
                    deaf.set()
                server.sendall(message)
                if deaf.is_set():
                    # Who reads the answers hangs up.
                    return
        finally:
            if not deaf.is_set():
                hang_up(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        try:
            while True:
                kind, message = read_message(server)
                self.flows.wait()
                if not deaf.is_set():
                    client.sendall(message)
                elif kind == b"Z":
                    return
        finally:
            hang_up(client, server)


class _Storing:
    """Follows what a client says, to know when it commits without COMMIT."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        self._within = self._at_hand = False

    def commits(self, kind: bytes, message: bytes) -> bool:
        """Whether *message* ends a statement that stores events, outside of a transaction."""
        if kind == b"Q":
            self._within = message[5:10] == b"BEGIN"
        if kind == b"P":
            name, query = message[5:].split(b"\0")[:2]
            (self._names.add if b"INSERT INTO stripe_events" in query else self._names.discard)(name)
        if kind == b"B":
            self._at_hand = message[5:].split(b"\0")[1] in self._names
        return kind == b"S" and self._at_hand and not self._within


class Pooler(Between):
    """Gives each transaction another one of a few sessions, as PgBouncer's transaction pooling may."""

    def __init__(self, url: str, sessions: int = 3) -> None:
        super().__init__(url)
        self.sessions = [psycopg.connect(url, autocommit=True, sslmode="disable", gssencmode="disable") for _ in range(sessions)]
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for session in self.sessions:
            line = socket.socket(fileno=os.dup(session.fileno()))
            # With a timeout it waits, although libpq has made it one that does not.
            line.settimeout(60)
            self._free.put(line)
        self.transactions = 0

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for _ in self.sessions:
            self._free.get(timeout=60).close()
        for session in self.sessions:
            session.close()

    def states(self) -> set[tuple[Any, ...]]:
        """Return what is left in the sessions, once nobody uses them: prepared statements, locks, channels, settings."""
        taken = [self._free.get(timeout=60) for _ in self.sessions]
        found = {
            session.execute(
                "SELECT (SELECT count(*) FROM pg_prepared_statements),"
                " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
                " (SELECT count(*) FROM pg_listening_channels()),"
                " (SELECT count(*) FROM pg_settings WHERE source = 'session'"
                "  AND name NOT IN ('application_name', 'client_encoding')),"
                " current_setting('synchronous_commit'), current_setting('lock_timeout')",
                prepare=False,
            ).fetchone()
            or ()
            for session in self.sessions
        }
        for each in taken:
            self._free.put(each)
        return found

    def _serve(self, client: socket.socket) -> None:
        read_startup(client)
        client.sendall(self._welcome())
        session: socket.socket | None = None
        sound = True
        try:
            while True:
                batch = b""
                kind = b""
                while kind not in {b"Q", b"S"}:
                    kind, message = read_message(client)
                    if kind == b"X":
                        return
                    batch += message
                if session is None:
                    session = self._free.get()
                    self.transactions += 1
                sound = False
                session.sendall(batch)
                answer = b""
                while kind != b"Z":
                    kind, message = read_message(session)
                    answer += message
                sound = True
                if answer[-1:] == b"I":
                    self._free.put(session)
                    session = None
                client.sendall(answer)
        finally:
            if session is not None:
                if sound:
                    # A client that went away in the middle of its transaction.
                    session.sendall(b"Q" + struct.pack("!i", 13) + b"ROLLBACK\0")
                    while read_message(session)[0] != b"Z":
                        pass
                self._free.put(session)
            hang_up(client)

    def _welcome(self) -> bytes:
        said = b"R" + struct.pack("!ii", 8, 0)
        info: pq.abc.PGconn = self.sessions[0].pgconn
        for name in (
            b"server_version",
            b"server_encoding",
            b"client_encoding",
            b"DateStyle",
            b"TimeZone",
            b"standard_conforming_strings",
        ):
            pair = name + b"\0" + (info.parameter_status(name) or b"") + b"\0"
            said += b"S" + struct.pack("!i", len(pair) + 4) + pair
        # Process ids of its own, as poolers have.
        return said + b"K" + struct.pack("!iii", 12, 1, 1) + b"Z" + struct.pack("!i", 5) + b"I"
