"""Where the processes of the world come from, and how they are spoken to. See ``programs.py`` for the other end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Bounds for what is usually over much sooner; they are only reached when something is broken.
PATIENCE = 120.0
ROOT = Path(__file__).parents[2]


def wait_for(ready: Callable[[], object], what: Callable[[], str], patience: float = PATIENCE) -> None:
    """Return once *ready* holds."""
    until = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < until, f"waited in vain for {what()}"
        time.sleep(0.05)


class Process:
    """A member of the world. *name*: what it is called in the journal."""

    def __init__(self, nest: Nest, job: int, program: str) -> None:
        self._nest = nest
        self.job = job
        self.name = f"w{job}"
        self.program = program
        self.messages: list[dict[str, Any]] = []

    @property
    def receives(self) -> bool:
        return self.program.endswith("receiver")

    def told(self, key: str) -> Any:
        """Return what it told under *key*, or ``None``."""
        return next((message[key] for message in self.messages if key in message), None)

    def wait_for(self, key: str) -> Any:
        """Return what it tells under *key*, once it does."""
        self._nest.wait(
            lambda: self.told(key) is not None or self.told("ended") is not None, f"{key} of {self.program} {self.name}"
        )
        told = self.told(key)
        assert told is not None, f"{self.program} {self.name} ended: {self.messages}"
        return told

    def ended(self) -> int:
        """Return the exit status, negative for a signal, once it is there."""
        status: int = self.wait_for("ended")
        return status

    def send(self, number: int) -> None:
        """Send a signal, if it is still there."""
        self._nest.order({"job": self.job, "signal": number})


class Nest:
    """Where processes come from. See ``tests/fleet/programs.py``."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._processes: dict[int, Process] = {}
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.programs"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, program: str, settings: dict[str, Any]) -> Process:
        """Start a process."""
        process = Process(self, next(self._numbers), program)
        with self._changed:
            self._processes[process.job] = process
        self.order({"job": process.job, "program": program, "settings": settings})
        return process

    def order(self, order: dict[str, Any]) -> None:
        """Tell the nest something."""
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return once *condition* holds; look whenever something is told."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"waited in vain for {what}"

    def forget(self, process: Process) -> None:
        """Keep nothing of a process that has ended."""
        with self._changed:
            self._processes.pop(process.job, None)

    def close(self) -> None:
        """End the nest, and with it whatever still runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE)
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                process = self._processes.get(message["job"])
                if process is not None:
                    process.messages.append(message)
                self._changed.notify_all()
