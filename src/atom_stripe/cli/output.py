"""What the commands print: results to stdout, all else to stderr, the same at every width."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

JSON = "atom_stripe.json"
"""Where a context keeps whether JSON was asked for."""


def emit(document: object) -> None:
    """Print *document* as JSON to stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=True))


def say(text: str) -> None:
    """Print a result to stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """Print progress, advice or an error to stderr."""
    typer.echo(text, err=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print *rows* in columns, nothing cut off and no line broken, whatever the width of the terminal."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def pairs(values: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    known = list(values)
    width = max(len(name) for name, _ in known)
    for name, value in known:
        say(f"{name.ljust(width)}  {_cell(value)}")


def moment(seconds: float | None) -> str | None:
    """Return a time as people read it, in UTC."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return *number* with the word that goes with it."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _cell(value: object) -> str:
    # What stands in a database must not move the cursor of whoever looks at it.
    text = "-" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None]]:
    """Yield a function that takes how much is done, and of how much. It draws a bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield _silent
        return
    with require("rich", extra="cli"):
        from rich.console import Console
        from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


def _silent(_done: int, _total: int) -> None:
    """Draw nothing."""


def document(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without secrets, for JSON, which has no infinite numbers."""
    from dataclasses import asdict

    return {name: None if isinstance(field, float) and not isfinite(field) else field for name, field in asdict(value).items()}
