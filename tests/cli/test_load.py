"""atom-stripe load: a short run against a real server, and what is made of the numbers."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest

from atom_stripe.cli import load
from atom_stripe.contrib.fastapi import create_router
from atom_stripe.service import Caller, ServiceConfig
from atom_stripe.testing import StripeSandbox
from tests.browser.serving import fastapi_serving
from tests.canary import MARK
from tests.cli.conftest import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "/api/v1/stripe"
TOKEN = f"token-{MARK}"
HEALTHY = {
    "method": "GET",
    "path": "/health",
    "limited": False,
    "requests": 98,
    "failures": 0,
    "times": {"10": 90, "20": 5, "500": 3},
}
FAILING = {"method": "GET", "path": "/payments", "limited": False, "requests": 2, "failures": 2, "times": {"900": 2}}
LIMITED = {"method": "GET", "path": "/payments", "limited": True, "requests": 50, "failures": 0, "times": {"1": 50}}


@pytest.fixture
def alone() -> Command:
    """The command without a database, which it does not need here."""
    return Command({"STRIPE_SERVICE_TOKEN": TOKEN}, None)  # type: ignore[arg-type]


async def caller(request: FastAPIRequest) -> Caller | None:
    return Caller("platform", platform=True) if request.headers.get("authorization") == f"Bearer {TOKEN}" else None


@contextmanager
def served(sandbox: StripeSandbox, **settings: Any) -> Iterator[str]:
    """Serve a service on this machine."""
    app = FastAPI()
    config = ServiceConfig(**{"caller_limit": None, "address_limit": None, **settings})
    app.include_router(create_router(client=sandbox.async_client(), authorize=caller, config=config), prefix=PREFIX)
    with socket.create_server(("127.0.0.1", 0)) as listener, fastapi_serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def measured(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, Any]) -> None:
    """Have a run give these numbers."""
    monkeypatch.setattr(load, "_run", lambda *_, **__: {"seconds": 10.0, "entries": list(entries), "errors": []})


def test_a_short_run(alone: Command) -> None:
    """A run against a server asks every kind of route, writes what it was told to, and gives rates and percentiles for each."""
    with StripeSandbox() as sandbox, served(sandbox) as url:
        done = alone("load", "--url", url, "--users", "3", "--spawn-rate", "10", "--duration", "3s", "--write", "--json")
        with sandbox.client() as stripe:
            customers = len(list(stripe.customers.list(limit=100)))
    assert done.status == 0
    total = done.json["total"]
    assert total["requests"] > 0
    assert total["requests_per_second"] > 0
    assert (total["failures"], total["limited"]) == (0, 0)
    assert 0 < total["p50"] <= total["p95"] <= total["p99"]
    assert done.json["seconds"] > 0
    paths = {one["path"]: one for one in done.json["endpoints"]}
    assert {"/customers", "/payments"} <= set(paths)
    assert sum(one["requests"] for one in done.json["endpoints"]) == total["requests"]
    made = sum(one["requests"] for one in done.json["endpoints"] if (one["method"], one["path"]) == ("POST", "/customers"))
    # Of each of the three, one may have been under way at the end.
    assert made <= customers <= made + 3


def test_limits_are_counted_apart(alone: Command) -> None:
    """What a service refuses with 429 is no failure, and in none of the times."""
    with StripeSandbox() as sandbox, served(sandbox, caller_limit="1/hour") as url:
        done = alone("load", "--url", url, "--users", "1", "--spawn-rate", "10", "--duration", "2s", "--json")
    assert done.json["total"]["limited"] > 0
    assert done.json["total"]["failures"] == 0
    assert done.status == 0


def test_nobody_answers(alone: Command) -> None:
    """Where nothing listens, all requests fail, and the status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    done = alone("load", "--url", url, "--users", "1", "--spawn-rate", "10", "--duration", "1s")
    assert done.status == 1
    assert "100.00 % of the requests failed, and 1 % may" in done.stderr
    assert "no answer" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 1, "2.00 % of the requests failed, and 1 % may"),
        (["--max-failures", "2"], 0, ""),
        (["--max-failures", "2", "--max-p95", "500"], 0, ""),
        (["--max-failures", "2", "--max-p95", "19"], 1, "95 % of the answers took 20 ms, and 19 ms are allowed"),
    ],
)
def test_what_is_allowed(alone: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, told: str) -> None:
    """Too many failures or too slow answers end with status 1, and one line says which."""
    measured(monkeypatch, HEALTHY, FAILING, LIMITED)
    done = alone("load", "--url", "https://shop.example", *arguments)
    assert done.status == status
    assert told in done.stderr
    lines = {line.split("  ")[0]: line.split()[-6:] for line in done.stdout.splitlines()}
    assert lines["GET /payments"] == ["0.2", "2", "50", "900", "900", "900"]
    assert lines["all"] == ["10.0", "2", "50", "10", "20", "900"]


def test_nothing_but_refusals(alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in which everything was limited measured nothing, and says so."""
    measured(monkeypatch, LIMITED)
    done = alone("load", "--url", "https://shop.example", "--json")
    assert (done.status, done.json["ok"], done.json["total"]["p50"]) == (1, False, None)
    assert done.json["problems"] == ["no request was answered, because all were limited (429)"]


@pytest.mark.parametrize(
    ("times", "percent", "expected"),
    [
        ({}, 50, None),
        ({5.0: 1}, 99, 5.0),
        ({1.0: 50, 2.0: 50}, 50, 1.0),
        ({1.0: 50, 2.0: 50}, 51, 2.0),
        ({3.0: 1, 1.0: 99}, 99, 1.0),
    ],
)
def test_percentiles(times: dict[float, int], percent: int, expected: float | None) -> None:
    """A percentile is the least time within which so many of a hundred answers came."""
    assert load.percentile(times, percent) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "http://shop.example"], "anybody on the way could read the token"),
        (["--url", "https://shop.example", "--duration", "soon"], "--duration is a time"),
        (["--url", "https://shop.example", "--duration", "0s"], "--duration is a time"),
        (["--url", "https://shop.example", "--duration", "25h"], "up to a day"),
        (["--url", "https://shop.example", "--live"], "--live goes with --write"),
        (["--url", "https://shop.example", "--users", "0"], "--users"),
    ],
)
def test_wrong_usage(alone: Command, arguments: list[str], told: str) -> None:
    """Wrong usage ends with status 2, before anything is asked."""
    done = alone("load", *arguments)
    assert (done.status, done.stdout) == (2, "")
    assert told in done.stderr


def test_without_locust(alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locust one line says what to install."""
    monkeypatch.setitem(sys.modules, "locust", None)
    done = alone("load", "--url", "https://shop.example")
    assert (done.status, done.stderr) == (2, "error: locust is not installed: pip install 'atom-stripe[load]'\n")


def test_a_run_that_breaks_off(alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """When locust ends without a result, its last line is told."""
    monkeypatch.setattr(load.sys, "executable", "/bin/false")
    done = alone("load", "--url", "https://shop.example", "--duration", "1s")
    assert (done.status, done.stderr) == (1, "error: locust ended with the status 1 and without a result: it said nothing\n")


def test_nothing_is_written_where_money_is_real(alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --write, a service that does not say that it is in test mode is left alone."""
    monkeypatch.setattr(load, "_run", lambda *_, **__: pytest.fail("it was asked"))
    app = FastAPI()
    with socket.create_server(("127.0.0.1", 0)) as listener, fastapi_serving(app, listener):
        done = alone("load", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}", "--write")
    assert done.status == 2
    assert "nothing says that this service is in test mode" in done.stderr
