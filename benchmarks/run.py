"""
Measure atom-stripe beside stripe-python, print a table, and keep the figures in ``results.json``.

    python benchmarks/run.py [--only ROW …] [--quick] [--list]

A missed target is shown and fails nothing: time on a shared machine is no fact that a check could rest on. docs/benchmarks.md
says what each row means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any

from harness import BENCHMARKS, Effort, select
from rich.console import Console
from rich.table import Table

from atom_stripe._version import VERSION

if TYPE_CHECKING:
    from harness import Figures, Row

# Each of these files registers its benchmarks; they run in this order.
FILES = (
    "webhooks",
    "decoding",
    "calls",
    "starting",
    "memory",
    "sealing",
    "tokens",
    "embedded",
    "ingest",
    "growth",
    "http_ingest",
    "routes",
)
RESULTS = Path(__file__).parent / "results.json"
_PACKAGES = (
    "stripe",
    "httpx",
    "pyreqwest",
    "pydantic",
    "pydantic-core",
    "orjson",
    "uvloop",
    "requests",
    "cryptography",
    "sqlalchemy",
    "psycopg",
    "pgqueuer",
)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Measure atom-stripe beside stripe-python.")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="measure what fills these rows")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: figures for a first look")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    options = parser.parse_args()
    for name in FILES:
        import_module(name)
    console = Console(width=None if os.isatty(1) else 160)
    if options.list:
        for one in BENCHMARKS:
            for row in one.rows:
                console.print(f"{row.name}  {row.what}", highlight=False)
        return
    facts = machine()
    measured = measure(options.only, console, Effort(quick=options.quick))
    report(measured, facts, console, quick=options.quick)


def measure(only: list[str], console: Console, effort: Effort) -> list[tuple[Row, Figures]]:
    """Return each row with its figures."""
    measured: list[tuple[Row, Figures]] = []
    for one in select(only):
        started = monotonic()
        with console.status(f"{', '.join(row.name for row in one.rows)} …"):
            figures = one.measure(effort)
        measured += [(row, figures[row.name]) for row in one.rows]
        console.print(f"[dim]{one.measure.__module__}: {monotonic() - started:.0f} s[/dim]", highlight=False)
    return measured


def report(measured: list[tuple[Row, Figures]], facts: dict[str, Any], console: Console, *, quick: bool) -> None:
    """Print the table and keep the results."""
    table = Table(title=f"atom-stripe beside stripe-python{', quick look' if quick else ''}", title_justify="left")
    for heading in ("Row", "What", "Ours", "Theirs", "Ratio", "Spread", "Target", "Met"):
        table.add_column(heading, justify="right" if heading in {"Ours", "Theirs", "Ratio", "Spread", "Target"} else "left")
    for row, figures in measured:
        table.add_row(*cells(row, figures))
    console.print(table)
    for row, figures in measured:
        if figures.more:
            console.print(f"{row.name}: {', '.join(f'{name} {value:,}' for name, value in figures.more.items())}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    RESULTS.write_text(json.dumps(results(measured, facts, quick=quick), indent=2) + "\n", encoding="utf-8")
    console.print(f"Kept in {RESULTS.name}, beside this program.", highlight=False)


def cells(row: Row, figures: Figures) -> list[str]:
    """Return one line of the table."""
    low, high = figures.spread(row)
    sign = "≥" if row.better == "higher" else "≤"
    return [
        row.name,
        row.what,
        figures.unit.text(median(figures.ours)),
        figures.unit.text(median(figures.theirs)),
        f"{figures.ratio(row):.3g}x",
        f"{low:.3g} - {high:.3g}",
        "" if row.target is None else f"{sign} {row.target:g}x",
        {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[row.met(figures.ratio(row))],
    ]


def results(measured: list[tuple[Row, Figures]], facts: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return what ``results.json`` holds: each row's ratio under its name, and everything else about it under ``details``."""
    return {
        **{row.name: round(figures.ratio(row), 4) for row, figures in measured},
        "details": {
            row.name: {
                "what": row.what,
                "unit": figures.unit.name,
                "ours": round(median(figures.ours) * figures.unit.scale, 4),
                "theirs": round(median(figures.theirs) * figures.unit.scale, 4),
                "lowest": round(figures.spread(row)[0], 4),
                "highest": round(figures.spread(row)[1], 4),
                "rounds": len(figures.ours),
                "better": row.better,
                "target": row.target,
                "met": row.met(figures.ratio(row)),
                **figures.more,
            }
            for row, figures in measured
        },
        "machine": facts,
        "quick": quick,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside our code."""
    facts: dict[str, Any] = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    facts["atom-stripe"] = VERSION
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = None
    return facts


def processor() -> str:
    """Return the processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
