"""Metrics: their names and labels, and OpenTelemetry's API behind them."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from atom_stripe import API_VERSION, InboxConfig, WebhookInbox, WebhookVerifier, errors
from atom_stripe._engine.connect import refresh
from atom_stripe._engine.drive import run
from atom_stripe._engine.inbox.signals import Signals
from atom_stripe._engine.inbox.tally import Tally
from atom_stripe.metrics import INSTRUMENTS, NoMetrics, OpenTelemetryMetrics, PrometheusMetrics, Readable
from atom_stripe.protocols import InboxCounts
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import AsyncFaultyTokenStore, FaultyInboxStore, FaultyTokenStore, StripeSandbox, sign
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


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
        assert re.fullmatch(r"atom_stripe_(webhook|inbox|http|payments|token)_[a-z_]+", name)
        assert name.endswith("_total") == (one.kind == "counter")
        assert name.endswith("_seconds") == (one.unit == "s")
        assert set(one.labels) <= {"result", "outcome", "status", "event_type", "operation"}
        assert not one.values or len(one.labels) == 1


def test_the_names_in_the_documentation() -> None:
    """Every metric and every value of a label that the page on monitoring asks for is one that there is."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
    asked = re.findall(r"(atom_stripe_[a-z_]+)(?:\{([^}]*)\})?\[|max\((atom_stripe_[a-z_]+)", page)
    names = {(name or gauge).removesuffix("_bucket") for name, _, gauge in asked}
    assert len(names) == 7
    assert names <= INSTRUMENTS.keys()
    for name, labels, _ in asked:
        for label, values in re.findall(r'(\w+)!?=~?"([^"]*)"', labels):
            one = INSTRUMENTS[name]
            assert label in one.labels
            assert not one.values or set(values.replace("\\", "").split("|")) <= set(one.values)


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


def test_prometheus() -> None:
    """What is told is in the text, under the names and labels that are listed, in a registry of its own."""
    metrics = PrometheusMetrics()
    assert isinstance(metrics, Readable)
    assert not isinstance(NoMetrics(), Readable)
    assert metrics.content_type.startswith("text/plain")
    metrics.count("atom_stripe_payments_total", 2, {"outcome": "succeeded"})
    metrics.count("atom_stripe_inbox_dead_total", 1, {})
    metrics.gauge("atom_stripe_inbox_events", 5, {"status": "pending"})
    metrics.observe("atom_stripe_inbox_group_commit_batch_size", 17, {})
    metrics.observe("atom_stripe_inbox_lag_seconds", 0.5, {"event_type": "other"})
    text = metrics.text().decode()
    assert set(re.findall(r"^# TYPE (atom_stripe_\w+) (?:counter|gauge|histogram)$", text, re.MULTILINE)) >= set(INSTRUMENTS)
    lines = text.splitlines()
    for line in (
        'atom_stripe_payments_total{outcome="succeeded"} 2.0',
        'atom_stripe_payments_total{outcome="failed"} 0.0',
        "atom_stripe_inbox_dead_total 1.0",
        'atom_stripe_inbox_events{status="pending"} 5.0',
        'atom_stripe_inbox_group_commit_batch_size_bucket{le="10.0"} 0.0',
        'atom_stripe_inbox_group_commit_batch_size_bucket{le="20.0"} 1.0',
        'atom_stripe_inbox_lag_seconds_bucket{event_type="other",le="0.5"} 1.0',
        'atom_stripe_inbox_lag_seconds_sum{event_type="other"} 0.5',
    ):
        assert line in lines
    assert 'outcome="succeeded"} 0.0' in PrometheusMetrics().text().decode()


def test_prometheus_from_the_beginning() -> None:
    """What shares are made of is there from the beginning, so that the first failure is an increase and a share a number."""
    text = PrometheusMetrics().text().decode()
    for name, one in INSTRUMENTS.items():
        for value in one.values:
            assert f'{name}{{{one.labels[0]}="{value}"}} 0.0' in text


def test_a_registry_that_is_shared() -> None:
    """Metrics can stand beside a program's own, once."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("orders", "Orders.", registry=registry).inc()
    metrics = PrometheusMetrics(registry=registry)
    metrics.count("atom_stripe_inbox_dead_total", 1, {})
    assert b"orders_total 1.0" in metrics.text()
    assert b"atom_stripe_inbox_dead_total 1.0" in prometheus_client.generate_latest(registry)
    with pytest.raises(errors.ConfigurationError, match="has these metrics already"):
        PrometheusMetrics(registry=registry)


def test_several_processes(tmp_path: Path) -> None:
    """With the folder that prometheus-client wants for it, each process shows the numbers of all."""
    program = (
        "from atom_stripe.metrics import PrometheusMetrics\n"
        "metrics = PrometheusMetrics()\n"
        "metrics.count('atom_stripe_payments_total', 1, {'outcome': 'succeeded'})\n"
        "metrics.gauge('atom_stripe_inbox_events', 5, {'status': 'pending'})\n"
        "print(metrics.text().decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    shown = ""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment
        )
        shown = done.stdout
    assert 'atom_stripe_payments_total{outcome="succeeded"} 2.0' in shown
    assert 'atom_stripe_inbox_events{status="pending"} 5.0' in shown


def test_without_prometheus() -> None:
    """It is missed only by who asks for it, and then in words that mend it."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from atom_stripe.metrics import PrometheusMetrics\n"
        "try: PrometheusMetrics()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "prometheus_client is not installed: pip install 'atom-stripe[prometheus]'\n"


# Payments.


def snapshot(id: str, type: str = "payment_intent.succeeded", **fields: Any) -> dict[str, Any]:
    thing = {"object": {"id": "pi_1", "object": "payment_intent"}}
    return {
        "id": id,
        "object": "event",
        "type": type,
        "api_version": API_VERSION,
        "created": 1,
        "livemode": False,
        "data": thing,
        **fields,
    }


class Shop:
    """An inbox that is told of payments. *told*: the outcomes that were counted, once everything was stored."""

    def __init__(self, **config: Any) -> None:
        self.noted = Noted()
        self.store = FaultyInboxStore(MemoryInboxStore())
        self.inbox = WebhookInbox(WebhookVerifier(WEBHOOK_SECRET), self.store, metrics=self.noted, config=InboxConfig(**config))

    def receive(self, raw: dict[str, Any]) -> None:
        body = json.dumps(raw).encode()
        self.inbox.receive(body, sign(body, WEBHOOK_SECRET))

    @property
    def told(self) -> list[str]:
        self.inbox.close()
        lines = [line for line in self.noted.lines if line.startswith("payments_total")]
        assert all(line.endswith("} 1") for line in lines)
        return [line[len("payments_total{outcome=") : -3] for line in lines]


def test_payments_are_counted_once() -> None:
    """Each event about a payment counts when it is first stored, snapshot or thin; a duplicate and other events do not."""
    shop = Shop()
    for _ in range(3):
        shop.receive(snapshot("evt_1"))
    shop.receive(snapshot("evt_2", "payment_intent.payment_failed"))
    shop.receive(snapshot("evt_3", "payment_intent.created"))
    shop.receive(snapshot("evt_4", "charge.succeeded"))
    thin = {"id": "evt_5", "object": "v2.core.event", "created": "2026-11-01T00:00:00Z", "livemode": False}
    for _ in range(2):
        shop.receive({**thin, "type": "v1.payment_intent.payment_failed"})
    shop.receive({**thin, "id": "evt_6", "type": "v1.payment_intent.succeeded"})
    assert shop.told == ["succeeded", "failed", "failed", "succeeded"]


def test_a_payment_that_could_not_be_stored() -> None:
    """What was refused counts when it is delivered again, and once."""
    shop = Shop()
    shop.store.faults.next(operation="append", kind="fail")
    with pytest.raises(errors.InboxBusyError):
        shop.receive(snapshot("evt_1"))
    shop.receive(snapshot("evt_1"))
    assert shop.told == ["succeeded"]


def test_a_payment_that_was_stored_too_late() -> None:
    """What was stored when nobody waited for it any more counts, although the next delivery of it is a duplicate."""
    shop = Shop(accept_timeout=0.05)
    shop.store.faults.next(operation="append", kind="delay", seconds=0.5)
    with pytest.raises(errors.InboxBusyError):
        shop.receive(snapshot("evt_1"))
    assert shop.told == ["succeeded"]


def test_payments_of_the_other_mode() -> None:
    """An inbox that sets test events aside does not count their payments."""
    shop = Shop(livemode=True)
    shop.receive(snapshot("evt_1"))
    shop.receive(snapshot("evt_2", livemode=True))
    assert shop.told == ["succeeded"]


def test_payments_that_were_missed() -> None:
    """What reconciling finds counts like what is delivered."""
    shop = Shop()
    with StripeSandbox() as sandbox, sandbox.client() as client:
        client.payment_intents.create(
            amount=2000,
            currency="usd",
            payment_method="pm_card_visa",
            confirm=True,
            automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        )
        for _ in range(2):
            shop.inbox.reconcile(client, since=sandbox.clock.timestamp - 3600)
    assert shop.told == ["succeeded"]


# Renewals.


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Users:
    """A user with a token that runs out, in either colour."""

    def __init__(self, sandbox: StripeSandbox, colour: str) -> None:
        self.sandbox = sandbox
        self.sync = colour == "sync"
        self.colour = colour
        self.noted = Noted()
        memory = MemoryTokenStore()
        self.store: Any = FaultyTokenStore(memory) if self.sync else AsyncFaultyTokenStore(AsyncMemoryTokenStore(memory))
        make = sandbox.oauth_manager if self.sync else sandbox.async_oauth_manager
        self.manager: Any = make(self.store, metrics=self.noted, profile="stripe_app")

    @property
    def told(self) -> list[str]:
        return [line.removeprefix("token_refresh_total{outcome=") for line in self.noted.lines]

    async def connect(self) -> None:
        url = await settled(self.manager.authorize_url("user_1", session="browser-1"))
        back = httpx.URL(self.sandbox.oauth.consent(url)).params
        await settled(self.manager.callback(back["code"], back["state"], session="browser-1"))

    async def token(self) -> Any:
        return await settled(self.manager.token("user_1"))

    def run(self, flow: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await self.connect()
            await flow()
            await settled(self.manager.close())

        run(whole()) if self.sync else anyio.run(whole, backend=self.colour)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def users(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(refresh, "_SETTLING", 0.01)
    with StripeSandbox() as sandbox:
        yield Users(sandbox, request.param)


def test_renewals_are_counted(users: Users) -> None:
    """Each renewal counts once, however many callers use its token; a token that is fresh costs none."""

    async def flow() -> None:
        await users.token()
        assert users.told == []
        for times in (1, 2):
            users.sandbox.clock.advance(hours=2)
            for _ in range(3):
                await users.token()
            assert users.told == ["refreshed} 1"] * times

    users.run(flow)


def test_renewals_that_fail(users: Users) -> None:
    """A renewal that comes to nothing counts as failed, whoever is to blame; one that is tried again within it does not."""

    async def flow() -> None:
        users.sandbox.clock.advance(hours=2)
        users.sandbox.faults.next(operation="POST /v1/oauth/token", status=401)
        with pytest.raises(errors.APIError):
            await users.token()
        assert users.told == ["failed} 1"]
        users.store.faults.next(operation="save", kind="fail")
        with pytest.raises(errors.StoreError):
            await users.token()
        assert users.told == ["failed} 1"] * 2
        users.sandbox.faults.next(operation="POST /v1/oauth/token", status=500)
        await users.token()
        assert users.told == ["failed} 1", "failed} 1", "refreshed} 1"]

    users.run(flow)


def test_a_grant_that_died(users: Users) -> None:
    """A grant that turns out to be dead counts once, however often its user's token is asked for."""

    async def flow() -> None:
        users.sandbox.clock.advance(days=366)
        for _ in range(3):
            with pytest.raises(errors.ReauthorizationRequiredError):
                await users.token()
        assert users.told == ["reauthorization_required} 1"]

    users.run(flow)


def test_renewals_with_metrics_that_fail(users: Users) -> None:
    """What a Metrics raises does no harm to a token."""

    def broken(*_: object) -> None:
        raise OSError

    async def flow() -> None:
        users.noted.count = broken  # type: ignore[method-assign]
        users.sandbox.clock.advance(hours=2)
        assert (await users.token()).generation == 2

    users.run(flow)
