"""What forks processes for tests when it is told to: warm, so that starting one costs nothing."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = 4096


def emit(message: dict[str, Any]) -> None:
    """Write one line, in one piece, so that the lines of many processes do not mix."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    assert len(line) <= _LINE, "a line that pipes may tear apart"
    os.write(1, line)


class Nest:
    """Forks processes, each of which performs an order, sends them signals while they are there, and tells how they ended."""

    def __init__(self, perform: Callable[[dict[str, Any]], object]) -> None:
        self._perform = perform
        self._members: dict[int, int] = {}
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Do what the input says, until it ends."""
        left = b""
        emit({"job": 0, "warm": True})
        while True:
            ready, _, _ = select.select([0, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if 0 in ready:
                read = os.read(0, 65536)
                if not read:
                    break
                *lines, left = (left + read).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        for pid in self._members.values():
            os.kill(pid, signal.SIGKILL)

    def _obey(self, order: dict[str, Any]) -> None:
        if "signal" in order:
            if order["job"] in self._members:
                os.kill(self._members[order["job"]], order["signal"])
            return
        pid = os.fork()
        if pid == 0:
            self._be(order)
        self._members[order["job"]] = pid
        emit({"job": order["job"], "pid": pid})

    def _be(self, order: dict[str, Any]) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            self._perform(order)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            logging.getLogger(__name__).exception("a process failed")
            emit({"job": order["job"], "crashed": f"{type(error).__name__}: {error}"[:1000]})
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for job, pid in list(self._members.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._members[job]
                emit({"job": job, "ended": os.waitstatus_to_exitcode(status)})
