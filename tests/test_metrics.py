"""Metrics: their names and labels, and OpenTelemetry's API behind them."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe._engine.inbox.signals import Signals
from atom_stripe._engine.inbox.tally import Tally
from atom_stripe.metrics import INSTRUMENTS, NoMetrics, OpenTelemetryMetrics
from atom_stripe.protocols import InboxCounts

if TYPE_CHECKING:
    from collections.abc import Mapping


class Noted:
    """A ``Metrics`` that notes what it is told, as one line each, and checks it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _note(self, kind: str, name: str, value: float, labels: Mapping[str, str]) -> None:
        assert INSTRUMENTS[name].kind == kind
        assert tuple(labels) == INSTRUMENTS[name].labels
        shown = ",".join(f"{key}={label}" for key, label in labels.items())
        self.lines.append(f"{name.removeprefix('atom_stripe_')}{{{shown}}} {value:g}")

    def count(self, name: str, value: int, labels: Mapping[str, str], /) -> None:
        self._note("counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        self._note("gauge", name, value, labels)

    def observe(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        self._note("histogram", name, value, labels)


def signals(metrics: Any, *patterns: str) -> Signals:
    handlers: Any = {"a": SimpleNamespace(patterns=patterns)}
    return Signals(metrics, lambda: handlers)


def test_the_names() -> None:
    """Names have our prefix and base units, counters end in _total, and no label can hold an id."""
    for name, one in INSTRUMENTS.items():
        assert re.fullmatch(r"atom_stripe_(webhook|inbox)_[a-z_]+", name)
        assert name.endswith("_total") == (one.kind == "counter")
        assert name.endswith("_seconds") == (one.unit == "s")
        assert set(one.labels) <= {"result", "outcome", "status", "event_type"}


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        ("stored", ["webhook_received_total{result=stored} 1"]),
        ("duplicate", ["webhook_received_total{result=duplicate} 1"]),
        ("requeued", ["webhook_received_total{result=requeued} 1"]),
        ("refused", ["webhook_received_total{result=refused} 1"]),
        ("busy", ["webhook_received_total{result=busy} 1"]),
        ("handled", ["inbox_attempts_total{outcome=handled} 1"]),
        ("failed", ["inbox_attempts_total{outcome=failed} 1"]),
        ("parked", ["inbox_attempts_total{outcome=parked} 1", "inbox_dead_total{} 1"]),
        ("claims_lost", ["inbox_lease_lost_total{} 1"]),
        ("recovered", ["inbox_sweeper_recovered_total{} 1"]),
        ("timeouts", ["inbox_timeouts_total{} 1"]),
        ("store_failures", ["inbox_store_failures_total{} 1"]),
        ("unparsable", []),
    ],
)
def test_what_is_counted(counted: str, told: list[str]) -> None:
    """What the inbox counts is told under the name of a metric."""
    noted = Noted()
    signals(noted).happened(counted)
    assert noted.lines == told


def test_what_is_counted_at_once() -> None:
    """Several of the same are one call, and the inbox's own counts say the same."""
    noted = Noted()
    tally = Tally(signals(noted))
    tally.count("recovered", 3)
    tally.count("recovered")
    assert noted.lines == ["inbox_sweeper_recovered_total{} 3", "inbox_sweeper_recovered_total{} 1"]
    assert tally.counts() == {"recovered": 4}


def test_what_is_stored_together() -> None:
    """The size of each batch is told."""
    noted = Noted()
    signals(noted).stored_together(17)
    assert noted.lines == ["inbox_group_commit_batch_size{} 17"]


def test_what_is_measured() -> None:
    """Depth and age are gauges; the age is 0 when nothing waits, and never less."""
    noted = Noted()
    watched = signals(noted)
    watched.measured(InboxCounts(pending=5, parked=2, delayed=3, running=1, oldest_pending_at=100.0, now=160.0))
    assert noted.lines == [
        "inbox_events{status=pending} 5",
        "inbox_events{status=running} 1",
        "inbox_events{status=delayed} 3",
        "inbox_events{status=parked} 2",
        "inbox_oldest_pending_age_seconds{} 60",
    ]
    for counts in (InboxCounts(pending=0, parked=0), InboxCounts(pending=1, parked=0, oldest_pending_at=10.0, now=9.0)):
        watched.measured(counts)
        assert noted.lines[-1] == "inbox_oldest_pending_age_seconds{} 0"


def test_what_an_attempt_takes() -> None:
    """Each attempt has its time; only one that succeeded has a lag."""
    noted = Noted()
    watched = signals(noted, "invoice.paid")
    watched.acknowledged(0.25)
    watched.attempted("invoice.paid", "failed", 0.5, 9.0)
    watched.attempted("invoice.paid", "handled", 0.5, 9.0)
    assert noted.lines == [
        "webhook_ack_seconds{} 0.25",
        "inbox_process_seconds{event_type=invoice.paid,outcome=failed} 0.5",
        "inbox_process_seconds{event_type=invoice.paid,outcome=handled} 0.5",
        "inbox_lag_seconds{event_type=invoice.paid} 9",
    ]


@pytest.mark.parametrize(
    ("type", "label"),
    [
        ("invoice.paid", "invoice.paid"),
        ("customer.created", "customer.*"),
        ("customer.subscription.deleted", "customer.subscription.*"),
        ("charge.refunded", "other"),
        ("invoice.made_up_by_whoever_sent_it", "other"),
    ],
)
def test_labels_are_bounded(type: str, label: str) -> None:
    """The types in labels are those that somebody registered for, whatever Stripe sends."""
    watched = signals(Noted(), "*", "invoice.paid", "customer.*", "customer.subscription.*")
    assert watched.type_label(type) == label


def test_metrics_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    """What a Metrics raises goes no further, and is logged once."""

    class Broken(NoMetrics):
        def count(self, *arguments: Any) -> None:
            raise OSError

    watched = signals(Broken())
    with caplog.at_level(logging.ERROR):
        watched.happened("stored")
        watched.happened("stored")
    assert [record.message for record in caplog.records] == ["the inbox's metrics failed; this is said once"]


def test_nobody_listens() -> None:
    """Without metrics nothing is told, and nothing fails."""
    watched = signals(None)
    assert not watched.wanted
    watched.happened("stored")
    watched.attempted("invoice.paid", "handled", 1.0, 1.0)
    watched.measured(InboxCounts(pending=0, parked=0))
    assert signals(NoMetrics()).wanted


class Meter:
    """A meter of OpenTelemetry's, with instruments that note what is recorded."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}
        self.recorded: list[tuple[str, str, float, Any]] = []

    def get_meter(self, name: str) -> Meter:
        assert name == "atom_stripe"
        return self

    def _make(self, kind: str, method: str, name: str, unit: str, description: str) -> Any:
        assert description
        self.made[name] = (kind, unit)
        return SimpleNamespace(**{method: lambda value, labels: self.recorded.append((name, method, value, labels))})

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._make("counter", "add", name, unit, description)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._make("gauge", "set", name, unit, description)

    def create_histogram(
        self, name: str, unit: str = "", description: str = "", *, explicit_bucket_boundaries_advisory: Any = None
    ) -> Any:
        assert list(explicit_bucket_boundaries_advisory) == sorted(explicit_bucket_boundaries_advisory)
        assert (explicit_bucket_boundaries_advisory[0] < 1) == (unit == "s")
        return self._make("histogram", "record", name, unit, description)


def test_opentelemetry() -> None:
    """Every metric becomes an instrument of its kind and unit, and what is told is recorded there."""
    meter = Meter()
    metrics = OpenTelemetryMetrics(meter)
    assert meter.made == {name: (one.kind, one.unit) for name, one in INSTRUMENTS.items()}
    metrics.count("atom_stripe_inbox_dead_total", 1, {})
    metrics.gauge("atom_stripe_inbox_events", 5, {"status": "pending"})
    metrics.observe("atom_stripe_inbox_lag_seconds", 0.5, {"event_type": "other"})
    assert meter.recorded == [
        ("atom_stripe_inbox_dead_total", "add", 1, {}),
        ("atom_stripe_inbox_events", "set", 5, {"status": "pending"}),
        ("atom_stripe_inbox_lag_seconds", "record", 0.5, {"event_type": "other"}),
    ]


def test_the_global_provider() -> None:
    """With the API alone and no SDK, the instruments are made and record nothing."""
    metrics = OpenTelemetryMetrics()
    metrics.count("atom_stripe_inbox_dead_total", 1, {})
    metrics.gauge("atom_stripe_inbox_events", 5, {"status": "pending"})
    metrics.observe("atom_stripe_inbox_lag_seconds", 0.5, {"event_type": "other"})


def test_without_opentelemetry() -> None:
    """It is missed only by who asks for it, and then in words that mend it."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from atom_stripe.metrics import OpenTelemetryMetrics\n"
        "try: OpenTelemetryMetrics()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "opentelemetry is not installed: pip install 'atom-stripe[otel]'\n"
