"""``atom-stripe load``: how many requests a service answers, and how fast, when many callers ask at once."""

from __future__ import annotations

import importlib.util
import json as json_
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import emit, note, progress, say, table
from atom_stripe.cli.smoke import Prefix, Url, base_url, checked_prefix, tokens
from atom_stripe.errors import AtomStripeError, ConfigurationError, MissingExtraError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DURATION = re.compile(r"(\d{1,5})(s|m|h)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}
_HEAD = ("REQUEST", "REQUESTS", "PER S", "FAILED", "LIMITED", "P50 MS", "P95 MS", "P99 MS")
_PERCENTILES = (50, 95, 99)
# Seconds: for locust to start, and for requests under way to end.
_GRACE = 60.0
_STOP = 10
_LOOK = 0.2


def load(
    url: Url,
    *,
    prefix: Prefix = "/api/v1/stripe",
    users: Annotated[int, typer.Option("--users", min=1, max=100_000, help="How many callers ask at once.")] = 50,
    spawn_rate: Annotated[
        float, typer.Option("--spawn-rate", min=0.1, max=10_000, help="How many of them begin each second.")
    ] = 10.0,
    duration: Annotated[str, typer.Option("--duration", metavar="TIME", help="How long: 30s, 5m, 1h.")] = "30s",
    max_failures: Annotated[
        float, typer.Option("--max-failures", min=0, max=100, metavar="PERCENT", help="How many requests may fail, of a hundred.")
    ] = 1.0,
    max_p95: Annotated[
        float | None,
        typer.Option("--max-p95", min=0, metavar="MS", help="How long 95 of 100 answers may take at most, in milliseconds."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Also make customers and payments, in test mode.")] = False,
    live: Annotated[bool, typer.Option("--live", help="With --write: also in live mode.")] = False,
    json: Json = False,
) -> None:
    """
    Have many callers ask a running service at once. Exits with 1 if too much failed or was too slow.

    It reads customers, payments, products and the health; what is refused with 429 is counted apart. The bearer token comes from
    STRIPE_SERVICE_TOKEN.
    """
    base, path, seconds = base_url(url), checked_prefix(prefix), _seconds(duration)
    _check_locust()
    # Says so, if one is none.
    tokens()
    if live and not write:
        msg = "--live goes with --write"
        raise ConfigurationError(msg)
    if write and not live:
        _check_mode(base + path)
    found = summed(_run(base, path, users, spawn_rate, seconds, write=write))
    wrong = list(_wrong(found["total"], max_failures, max_p95))
    if json:
        emit({"ok": not wrong, "url": base, "prefix": path, "users": users, "problems": wrong, **found})
    else:
        table(_HEAD, [_line(one) for one in (*found["endpoints"], found["total"])])
        for error in found["errors"]:
            say(f"{error['count']} x {error['method']} {error['path']}: {error['error']}")
    if wrong:
        note(f"error: {'; '.join(wrong)}")
        raise typer.Exit(1)


def summed(measured: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return rates and percentiles, for each endpoint and over all, of what the locustfile wrote down.

    What was limited is in none of the other numbers: it says how fast a refusal is.
    """
    seconds = float(measured["seconds"])
    endpoints: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in measured["entries"]:
        one = endpoints.setdefault((entry["path"], entry["method"]), _nothing(entry["method"], entry["path"]))
        if entry["limited"]:
            one["limited"] += entry["requests"]
            continue
        one["requests"] += entry["requests"]
        one["failures"] += entry["failures"]
        for milliseconds, number in entry["times"].items():
            one["times"][float(milliseconds)] = one["times"].get(float(milliseconds), 0) + number
    total = _nothing("", "all")
    for one in endpoints.values():
        for name in ("requests", "failures", "limited"):
            total[name] += one[name]
        for milliseconds, number in one["times"].items():
            total["times"][milliseconds] = total["times"].get(milliseconds, 0) + number
    return {
        "seconds": round(seconds, 3),
        "total": _told(total, seconds),
        "endpoints": [_told(endpoints[key], seconds) for key in sorted(endpoints)],
        "errors": list(measured["errors"]),
    }


def percentile(times: Mapping[float, int], percent: int) -> float | None:
    """Return the time within which *percent* of a hundred answers came; ``None`` if there was none. *times*: how often each was seen."""
    wanted, seen = sum(times.values()) * percent / 100, 0
    for milliseconds in sorted(times):
        seen += times[milliseconds]
        if seen >= wanted:
            return milliseconds
    return None


def _nothing(method: str, path: str) -> dict[str, Any]:
    return {"method": method, "path": path, "requests": 0, "failures": 0, "limited": 0, "times": {}}


def _told(one: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    rates = {"requests_per_second": round(one["requests"] / seconds, 2) if seconds > 0 else 0.0}
    times = {f"p{percent}": percentile(one["times"], percent) for percent in _PERCENTILES}
    return {name: value for name, value in one.items() if name != "times"} | rates | times


def _line(one: Mapping[str, Any]) -> Sequence[object]:
    times = ("-" if one[f"p{percent}"] is None else f"{one[f'p{percent}']:g}" for percent in _PERCENTILES)
    name = f"{one['method']} {one['path']}".strip()
    return (name, one["requests"], f"{one['requests_per_second']:.1f}", one["failures"], one["limited"], *times)


def _wrong(total: Mapping[str, Any], max_failures: float, max_p95: float | None) -> list[str]:
    if not total["requests"]:
        why = ", because all were limited (429)" if total["limited"] else ": does the service run there?"
        return [f"no request was answered{why}"]
    wrong: list[str] = []
    percent = 100 * total["failures"] / total["requests"]
    if percent > max_failures:
        wrong.append(f"{percent:.2f} % of the requests failed, and {max_failures:g} % may")
    if max_p95 is not None and (total["p95"] is None or total["p95"] > max_p95):
        wrong.append(f"95 % of the answers took {total['p95']:g} ms, and {max_p95:g} ms are allowed")
    return wrong


def _check_locust() -> None:
    # It is not imported here: gevent would change this process too.
    if importlib.util.find_spec("locust") is None:
        msg = "locust is not installed: pip install 'atom-stripe[load]'"
        raise MissingExtraError(msg, name="locust")


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= 24 * 3600:
        msg = "--duration is a time such as 30s, 5m or 1h, up to a day"
        raise ConfigurationError(msg)
    return seconds


def _check_mode(root: str) -> None:
    from atom_stripe.cli import smoke_asking, smoke_writes

    with smoke_asking.new_client() as client:
        try:
            smoke_writes.check_mode(smoke_asking.Asker(client, root, tokens()))
        except smoke_asking.AwayError as error:
            msg = f"the service does not answer: {error}"
            raise AtomStripeError(msg) from None


def _run(base: str, path: str, users: int, spawn_rate: float, seconds: int, *, write: bool) -> Any:
    """Run locust in a process of its own, which gevent may change as it likes, and return what was written down."""
    with tempfile.TemporaryDirectory(prefix="atom-stripe-load-") as folder, progress("asking") as told:
        result = Path(folder) / "result.json"
        # Locust reads settings of its own from variables and from files in the folder that it is started in: none are meant here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        environment |= {
            "ATOM_STRIPE_LOAD_PREFIX": path,
            "ATOM_STRIPE_LOAD_RESULT": str(result),
            "ATOM_STRIPE_LOAD_WRITES": "1" if write else "0",
        }
        arguments = [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--exit-code-on-error", "0"),
            *("-f", str(Path(__file__).with_name("load_file.py")), "--host", base),
            *("--users", str(users), "--spawn-rate", str(spawn_rate), "--run-time", f"{seconds}s", "--stop-timeout", str(_STOP)),
            *("--loglevel", "WARNING"),
        ]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - ours
                arguments, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            _wait(process, seconds, told)
        try:
            return json_.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            msg = f"locust ended with the status {process.returncode} and without a result: {_last_line(log)}"
            raise AtomStripeError(msg) from None


def _wait(process: subprocess.Popen[bytes], seconds: int, told: Any) -> None:
    """Wait for the end, and no longer than is reasonable. Whoever stops this stops locust too."""
    began = time.monotonic()
    try:
        while process.poll() is None:
            passed = time.monotonic() - began
            if passed > seconds + _GRACE + _STOP:
                break
            told(min(int(passed), seconds), seconds)
            time.sleep(_LOOK)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    text = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return "".join(letter for letter in text[:300] if letter.isprintable())
