"""What ``atom-stripe smoke`` found: in a terminal, as JSON, and as the JUnit XML that build servers read."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

from atom_stripe._extras import require
from atom_stripe.cli.output import counted, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Result = Literal["passed", "warning", "failed", "skipped"]

_HEAD = ("RESULT", "REQUEST", "CHECKS", "SLOWEST MS", "FOUND")
_WORST: tuple[Result, ...] = ("failed", "warning", "passed", "skipped")
_COLOURS = {"passed": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One thing that was looked at. *operation*: its operationId, or ``service`` for what concerns all. *seconds*: until the whole answer was there.
    *status*: of the answer.
    """

    operation: str
    request: str
    check: str
    result: Result
    message: str = ""
    status: int | None = None
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Report:
    """All that was looked at, in the order in which it was."""

    url: str
    prefix: str
    max_latency: float
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.count("failed")

    def count(self, result: Result) -> int:
        """Return how many checks came out so."""
        return sum(check.result == result for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        results: tuple[Result, ...] = ("passed", "warning", "failed", "skipped")
        return {
            "ok": self.ok,
            "url": self.url,
            "prefix": self.prefix,
            "max_latency": self.max_latency,
            "slowest": max((check.seconds for check in self.checks if check.seconds is not None), default=None),
            "counts": {result: self.count(result) for result in results},
            "checks": [asdict(check) for check in self.checks],
        }

    def show(self) -> None:
        """Print a line for each request, and one beneath it for each check that did not pass."""
        rows = list(_lines(self.checks))
        if sys.stdout.isatty():
            _drawn(rows)
        else:
            table(_HEAD, rows)
        results: tuple[Result, ...] = ("failed", "warning", "skipped")
        rest = ", ".join(f"{self.count(one)} {one}" for one in results if self.count(one))
        say(f"{counted(len(self.checks), 'check')}: {self.count('passed')} passed{', ' + rest if rest else ''}")

    def write_junit(self, path: Path) -> None:
        """Write the report as JUnit XML to *path*. A warning passes, with its message as the output of the test."""
        seconds = sum(check.seconds or 0.0 for check in self.checks)
        facts = {
            "name": "atom-stripe smoke",
            "tests": str(len(self.checks)),
            "failures": str(self.count("failed")),
            "errors": "0",
            "skipped": str(self.count("skipped")),
            "time": f"{seconds:.3f}",
        }
        root = ET.Element("testsuites", facts)
        suite = ET.SubElement(root, "testsuite", facts)
        for check in self.checks:
            case = ET.SubElement(
                suite,
                "testcase",
                {
                    "classname": f"atom_stripe.smoke.{check.operation}",
                    "name": f"{check.request}: {check.check}",
                    "time": f"{check.seconds or 0.0:.3f}",
                },
            )
            message = plain(check.message)
            if check.result == "failed":
                ET.SubElement(case, "failure", {"message": message, "type": check.check}).text = message
            elif check.result == "skipped":
                ET.SubElement(case, "skipped", {"message": message})
            elif check.result == "warning":
                ET.SubElement(case, "system-out").text = message
        ET.indent(root)
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def plain(text: str) -> str:
    """Return *text* without what a terminal would obey and XML cannot hold."""
    return "".join(letter if letter.isprintable() and letter < "\ud800" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _lines(checks: Sequence[Check]) -> Iterator[tuple[str, ...]]:
    requests: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        requests.setdefault((check.operation, check.request), []).append(check)
    for (_, request), group in requests.items():
        worst = next(result for result in _WORST if any(check.result == result for check in group))
        times = [check.seconds for check in group if check.seconds is not None]
        skipped = [check.message for check in group if check.result == "skipped"]
        told = skipped[0] if worst == "skipped" else ""
        yield worst, request, str(len(group)), f"{max(times) * 1000:.0f}" if times else "", told
        for check in group:
            if check.result in {"failed", "warning"}:
                status = "" if check.status is None else f" ({check.status})"
                yield "", "", "", "", f"{check.result}: {check.check}{status}: {check.message}"


def _drawn(rows: Sequence[tuple[str, ...]]) -> None:
    with require("rich", extra="cli"):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

    drawn = Table(*_HEAD, box=None, pad_edge=False)
    for row in rows:
        drawn.add_row(Text(row[0], style=_COLOURS.get(row[0], "")), *(Text(plain(cell)) for cell in row[1:]))
    Console(highlight=False).print(drawn)
