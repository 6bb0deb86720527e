"""``atom-stripe`` as a program of its own that goes on until it is told to end, in a folder and an environment of its own."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PATIENCE = 60.0
_OURS = ("STRIPE_", "DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS", "RATE_LIMIT_STORAGE", "PROMETHEUS_")


class Program:
    """A running command. *lines*: what it has written to stderr so far."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "atom_stripe.cli", *arguments],
            cwd=folder,
            env=clean(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._printed = ""
        self._new: queue.Queue[str | None] = queue.Queue()
        self._threads = [threading.Thread(target=self._hear), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _hear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := self._process.stdout.readline():
            self._printed += chunk

    def wait_for(self, text: str) -> str:
        """Return the first line on stderr, from the last one that was waited for, with *text* in it."""
        while True:
            line = self._new.get(timeout=_PATIENCE)
            assert line is not None, f"it ended: {self.lines}"
            if text in line:
                return line

    def wait_for_output(self) -> Any:
        """Return the JSON document on stdout, once it is whole."""
        while True:
            try:
                return json.loads(self._printed)
            except ValueError:
                assert self._process.poll() is None or any(thread.is_alive() for thread in self._threads), self.lines
                threading.Event().wait(0.05)

    def tell(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Return how it ended, and all that it printed to stdout."""
        status = self._process.wait(_PATIENCE)
        for thread in self._threads:
            thread.join()
        return status, self._printed

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[Program]:
    """Start a command, and kill it at the end, if it is still there."""
    program = Program(arguments, folder, environment)
    try:
        yield program
    finally:
        program.close()


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what the commands read, and with *environment*."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(_OURS)}, **environment}


def run(folder: Path, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "atom_stripe.cli", *arguments],
        cwd=folder,
        env=clean(environment),
        input=input,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
