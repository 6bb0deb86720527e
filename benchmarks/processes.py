"""Other processes: fresh interpreters, the server, and contenders that wait for their turn. Each one ends with this process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    """Return this process's environment, in which every contender keeps its bytecode: what is measured is the second start."""
    return {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("STRIPE_")
    }


def fresh(code: str, *arguments: str) -> float:
    """Return the number that *code* prints in an interpreter of its own."""
    # -P: the folder that we happen to be in is not searched for modules.
    command = [sys.executable, "-P", "-c", code, *arguments]
    return float(subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout)


@contextmanager
def server() -> Iterator[str]:
    """Run the server and yield its address."""
    with _running("server.py") as process:
        yield f"http://127.0.0.1:{int(_line(process))}"


@contextmanager
def caller(*arguments: str) -> Iterator[Callable[[int], dict[str, float]]]:
    """Run a contender of the calls benchmark; yield what makes it do a number of calls and returns what they took."""
    with _running("caller.py", *arguments) as process:

        def calls(count: int) -> dict[str, float]:
            print(count, file=process.stdin, flush=True)
            result: dict[str, float] = json.loads(_line(process))
            return result

        yield calls


@contextmanager
def stripe_stub() -> Iterator[str]:
    """Run what stands in for Stripe's API where a contender asks it for objects; yield its address."""
    with _running("stripe_stub.py") as process:
        yield f"http://127.0.0.1:{int(_line(process))}"


@contextmanager
def sandbox() -> Iterator[tuple[str, str]]:
    """Run a sandbox; yield its address and the id of a customer that it has."""
    with _running("sandbox_server.py") as process:
        said = json.loads(_line(process))
        yield said["url"], said["customer"]


@contextmanager
def poster(url: str, connections: int, method: str = "POST") -> Iterator[Callable[[int], float]]:
    """Run what posts deliveries to *url*; yield what makes it post a number of them and returns how many were answered in a second."""
    with _running("poster.py", url, str(connections), method) as process:

        def post(count: int) -> float:
            print(count, file=process.stdin, flush=True)
            return count / float(json.loads(_line(process))["seconds"])

        yield post


@contextmanager
def web_server(folder: Path, *command: str, **variables: str) -> Iterator[str]:
    """
    Run *command* in *folder*, with *variables* in its environment, and yield its address when it listens. ``{port}`` in the command is a port
    that is free.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    filled = [part.format(port=port) for part in command]
    with subprocess.Popen(filled, env={**environment(), **variables}, cwd=folder) as process:
        try:
            _await(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when somebody listens on *port*."""
    until = monotonic() + 60
    while process.poll() is None and monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen; what it said is above")


@contextmanager
def _running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[Any]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended early; what it said is above")
    return str(line)
