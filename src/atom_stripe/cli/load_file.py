"""
What each user of ``atom-stripe load`` does, as a locustfile: mostly reading, as the callers of a shop do.

``locust -f`` takes it too, with the variables that are read below. gevent replaces parts of the standard library when this is imported, so
nothing else of this package imports it.
"""

from __future__ import annotations

import json
import os
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require

with require("locust", extra="load"):
    import gevent  # type: ignore[import-untyped]
    from locust import FastHttpUser, constant, events, task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locust.env import Environment

_PREFIX = os.environ.get("ATOM_STRIPE_LOAD_PREFIX", "/api/v1/stripe")
_RESULT = os.environ.get("ATOM_STRIPE_LOAD_RESULT")
_WRITES = os.environ.get("ATOM_STRIPE_LOAD_WRITES") == "1"
_TOKEN = os.environ.get("STRIPE_SERVICE_TOKEN", "").strip()
# Seconds that a user waits who was asked for patience: the others of the same caller wait too.
_LONGEST_PAUSE = 2.0
_LIMITED = "429"


class Caller(FastHttpUser):
    """One caller, who asks again as soon as an answer is there."""

    wait_time = constant(0)
    # Seconds.
    network_timeout = 30.0
    connection_timeout = 10.0
    # Certificates are verified: a token goes over this.
    insecure = False
    _ids: Mapping[str, str]

    def on_start(self) -> None:
        """Find something to get."""
        self._ids = {}
        self._list("/customers")
        self._list("/payments")

    @task(4)
    def list_customers(self) -> None:
        """A page of customers."""
        self._list("/customers")

    @task(6)
    def get_customer(self) -> None:
        """One customer."""
        self._get("/customers")

    @task(4)
    def list_payments(self) -> None:
        """A page of payments."""
        self._list("/payments")

    @task(6)
    def get_payment(self) -> None:
        """One payment."""
        self._get("/payments")

    @task(3)
    def list_products(self) -> None:
        """A page of products."""
        self._list("/products")

    @task(1)
    def health(self) -> None:
        """Whether the service is there."""
        self._ask("GET", "/health", "/health")

    if _WRITES:

        @task(2)
        def create_customer(self) -> None:
            """A new customer."""
            mark = uuid.uuid4().hex
            self._write("/customers", {"email": f"load-{mark[:12]}@example.com", "metadata": {"atom_stripe_load": mark}})

        @task(2)
        def create_payment(self) -> None:
            """A payment that nobody has completed."""
            self._write("/payments", {"amount": 2000, "currency": "usd", "metadata": {"atom_stripe_load": "1"}})

    def _list(self, path: str) -> None:
        found = self._ask("GET", f"{path}?limit=10", path)
        data = found.get("data") if isinstance(found, dict) else None
        if isinstance(data, list) and data and isinstance(data[0], dict) and str(data[0].get("id")).replace("_", "").isalnum():
            self._ids = {**self._ids, path: str(data[0]["id"])}

    def _get(self, path: str) -> None:
        if path in self._ids:
            self._ask("GET", f"{path}/{self._ids[path]}", f"{path}/{{id}}")
        else:
            self._list(path)

    def _write(self, path: str, body: Mapping[str, Any]) -> None:
        # One that is sent again by something in between is still one.
        self._ask("POST", path, path, body, {"Idempotency-Key": f"load-{uuid.uuid4()}"})

    def _ask(
        self, method: str, path: str, name: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send a request, which counts under *name*. Return the answer as JSON, ``None`` if it is none."""
        sent = {"Accept": "application/json", **(headers or {}), **({"Authorization": f"Bearer {_TOKEN}"} if _TOKEN else {})}
        text, pause = None, 0.0
        with self.client.request(
            method, _PREFIX + path, name=name, json=body, headers=sent, catch_response=True, allow_redirects=False
        ) as answer:
            status = answer.status_code
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                # Counted apart: it is quick, and would make the service look so.
                answer.request_meta["name"] = f"{name} {_LIMITED}"
                answer.success()
                pause = _pause(str((answer.headers or {}).get("Retry-After")))
            elif 200 <= status < 300:
                text = answer.text
            else:
                # The status alone: what an answer says may be anybody's data.
                answer.failure(f"status {status}" if status else "no answer")
        if pause:
            gevent.sleep(pause)
        try:
            return json.loads(text) if text else None
        except ValueError:
            return None


def _pause(text: str) -> float:
    return min(float(text), _LONGEST_PAUSE) if text.isdecimal() and len(text) < 10 else 1.0


def _begin(**_: Any) -> None:
    # Its clock stood still while everything was imported, and the run would end earlier by as much.
    gevent.get_hub().loop.update_now()


def _tell(environment: Environment, **_: Any) -> None:
    """Write down what was measured, where ``atom-stripe load`` reads it."""
    if _RESULT:
        stats = environment.stats
        entries = [_numbers(entry) for _, entry in sorted(stats.entries.items())]
        total = stats.total
        document = {
            "entries": entries,
            "seconds": max(total.last_request_timestamp - total.start_time, 0.0) if total.last_request_timestamp else 0.0,
            "errors": [
                {"method": one.method, "path": one.name, "error": str(one.error)[:200], "count": one.occurrences}
                for _, one in sorted(stats.errors.items())
            ],
        }
        Path(_RESULT).write_text(json.dumps(document), encoding="utf-8")


def _numbers(entry: Any) -> dict[str, Any]:
    """Return one endpoint's numbers. *times*: how often an answer took so many milliseconds, rounded as locust does."""
    path, limited = entry.name.removesuffix(f" {_LIMITED}"), entry.name.endswith(f" {_LIMITED}")
    return {
        "method": entry.method,
        "path": path,
        "limited": limited,
        "requests": entry.num_requests,
        "failures": entry.num_failures,
        "times": {str(milliseconds): number for milliseconds, number in entry.response_times.items()},
    }


events.init.add_listener(_begin)  # type: ignore[no-untyped-call]
events.quitting.add_listener(_tell)  # type: ignore[no-untyped-call]
