"""
A day of a payment service, offline: ``make demo``.

On this machine run the service (demo_service.py, FastAPI under uvicorn), its worker, a process of its own which is killed on the way, and a Stripe,
the sandbox of atom_stripe.testing. They talk over HTTP. Every line of the story is checked before it is told, and its numbers are counted; if one
is not true, the demo says which, and its exit status is 1.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from demo_day import opened
from demo_steps import STEPS
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Generator

# Where `atom-stripe serve` listens if nobody says otherwise.
PORT = 8000


@contextmanager
def quiet() -> Generator[None]:
    """Keep the service's log out of the story."""
    logger, nowhere = logging.getLogger(), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(nowhere)


@contextmanager
def told_to_end() -> Generator[None]:
    """Let SIGTERM and the end of the terminal do what Ctrl-C does: everything is cleared away, and nothing interrupts that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def end(_number: int, _frame: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def line(mark: str, text: str, style: str = "") -> Table:
    """Return a line of the story. *text* stays beside its *mark*, however narrow the terminal."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(f"  {mark}", Text(text, style=style, overflow="fold"))
    return grid


def tell(console: Console) -> None:
    """Run the service for a day and tell what happens."""
    console.print(
        Panel("A day of a payment service, with a Stripe that runs on this machine. No account, no network.", title="atom-stripe")
    )
    with quiet(), opened() as day:
        for number, step in enumerate(STEPS, 1):
            console.print(Rule(f"{number}  {step.title}", align="left"))
            try:
                for fact in step.play(day):
                    console.print(line("*", fact))
            except Exception as error:
                error.add_note(f"step {number}, {step.title}")
                raise
            console.print(line(" ", f"Why: {step.why}", "italic"))
            console.print(line(" ", f"See: {step.look}", "dim"), "")


def serve_command() -> list[str]:
    """Return the command that starts the service with a Stripe of its own, in this environment."""
    script = Path(sys.executable).with_name("atom-stripe")
    command = [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "atom_stripe.cli"]
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", PORT)) == 0
    return [*command, "serve", "--sandbox", *(["--port", "0"] if taken else [])]


def shown(command: list[str]) -> str:
    """Return *command* as it can be typed in this folder."""
    here = f"{Path.cwd()}{os.sep}"
    return shlex.join([command[0].removeprefix(here), *command[1:]])


def wanted(console: Console, command: list[str]) -> bool:
    """Ask whether *command* is to be started, if there is somebody to ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        console.print(Text(f"Start it yourself: {shown(command)}", overflow="fold"))
        return False
    if os.name == "posix":
        import termios

        # What was typed during the story is no answer.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    # In one piece, so that it can be copied.
    console.print(Text(f"Press Enter to start `{shown(command)}`, or Ctrl-C to leave."), soft_wrap=True)
    return bool(sys.stdin.readline())


def main() -> int:
    """Run the demo and return its exit status."""
    # A terminal that cannot show a character gets another one, and not an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # What never leaves this machine does not go through its proxy, if it has one, and what is counted here is not added up with anything else.
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "PROMETHEUS_MULTIPROC_DIR"):
        os.environ.pop(name, None)
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        with told_to_end():
            tell(console)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever went wrong, a person reads this
        where = "".join(getattr(error, "__notes__", ())) or "at the start"
        failure = Text(f"The demo failed ({where}): {type(error).__name__}: {error}", style="bold red")
        Console(stderr=True, highlight=False).print(failure)
        return 1
    took = time.monotonic() - started
    try:
        console.print(
            Panel(f"All of this was true, in {took:.0f} seconds. Next: docs/quickstart.md and examples/README.md.", style="green")
        )
        command = serve_command()
        start = wanted(console, command)
    except KeyboardInterrupt:
        return 0
    if start:
        os.execv(command[0], command)  # noqa: S606 - that is what Enter is for
    return 0


if __name__ == "__main__":
    sys.exit(main())
