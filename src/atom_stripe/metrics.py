"""
What an inbox, a manager and the routes do and how they are, as numbers.

    metrics = PrometheusMetrics()
    inbox = WebhookInbox(verifier, store, metrics=metrics)

``OpenTelemetryMetrics`` records them with OpenTelemetry, and a ``Metrics`` of your own takes them anywhere else. ``INSTRUMENTS`` lists all there
are. Labels have few values: no id of an account, an event or an object is one, and types of events are those that handlers were registered for;
the others are ``"other"``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

__all__ = ["INSTRUMENTS", "Instrument", "Metrics", "NoMetrics", "OpenTelemetryMetrics", "PrometheusMetrics", "Readable"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """
    One metric. *unit*: in the notation of UCUM: ``s`` for seconds, ``{event}`` for a number of events. *values*: all that its one label can be,
    where rates are made of it.
    """

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


INSTRUMENTS: Mapping[str, Instrument] = {
    "atom_stripe_webhook_received_total": Instrument(
        "counter",
        "{delivery}",
        "Deliveries, by what became of them: stored, duplicate, requeued, refused, busy.",
        ("result",),
        ("stored", "duplicate", "requeued", "refused", "busy"),
    ),
    "atom_stripe_webhook_ack_seconds": Instrument("histogram", "s", "From a verified delivery to its durable answer."),
    "atom_stripe_inbox_group_commit_batch_size": Instrument(
        "histogram", "{delivery}", "Deliveries that were written to the store together, in one transaction."
    ),
    "atom_stripe_inbox_events": Instrument(
        "gauge", "{event}", "Events in the inbox: pending, and of those running and delayed; parked.", ("status",)
    ),
    "atom_stripe_inbox_oldest_pending_age_seconds": Instrument(
        "gauge", "s", "How long the oldest pending event has waited; 0 if there is none. The one to have an alert on."
    ),
    "atom_stripe_inbox_lag_seconds": Instrument(
        "histogram", "s", "From the arrival of an event to the success of a handler with it.", ("event_type",)
    ),
    "atom_stripe_inbox_process_seconds": Instrument(
        "histogram", "s", "How long attempts of handlers took.", ("event_type", "outcome")
    ),
    "atom_stripe_inbox_attempts_total": Instrument(
        "counter", "{attempt}", "Attempts of handlers, by outcome: handled, failed, parked.", ("outcome",)
    ),
    "atom_stripe_inbox_dead_total": Instrument("counter", "{handler}", "Handlers that gave up on an event, which is parked."),
    "atom_stripe_inbox_lease_lost_total": Instrument("counter", "{claim}", "Claims that were lost to another worker."),
    "atom_stripe_inbox_sweeper_recovered_total": Instrument(
        "counter",
        "{lane}",
        "Lanes that had work and no alarm, so that the sweeper had to find them. 0, unless processes die or operators replay.",
    ),
    "atom_stripe_inbox_timeouts_total": Instrument(
        "counter", "{attempt}", "Attempts that took longer than their handler's timeout."
    ),
    "atom_stripe_inbox_store_failures_total": Instrument(
        "counter", "{failure}", "Failures of the store while events were handled."
    ),
    "atom_stripe_http_request_seconds": Instrument(
        "histogram", "s", "How long the routes took to answer.", ("operation", "status")
    ),
    "atom_stripe_http_requests_total": Instrument(
        "counter",
        "{request}",
        "Requests to the routes, by the class of the answer's status: 2xx, 3xx, 4xx, 5xx.",
        ("operation", "status"),
    ),
    "atom_stripe_payments_total": Instrument(
        "counter",
        "{payment}",
        "Payments that Stripe told the inbox of, each event once: succeeded; failed, which is each failed attempt to pay.",
        ("outcome",),
        ("succeeded", "failed"),
    ),
    "atom_stripe_token_refresh_total": Instrument(
        "counter",
        "{refresh}",
        "Renewals of access tokens by this process: refreshed; failed, to be tried again; reauthorization_required, for the grant is dead.",
        ("outcome",),
        ("refreshed", "failed", "reauthorization_required"),
    ),
}
"""Every metric, by its name."""


class Metrics(Protocol):
    """
    Where numbers go. Called from many threads, on the way of every event: it must neither block nor wait.

    What it raises is logged once and does no harm to an event. *name* is one of ``INSTRUMENTS``, *labels* holds the labels that are listed there.
    """

    def count(self, name: str, value: int, labels: Mapping[str, str], /) -> None:
        """Add *value* to a counter."""
        ...

    def gauge(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Set a gauge to *value*."""
        ...

    def observe(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Put *value* into a histogram."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A ``Metrics`` that can be read, too: the route ``/metrics`` shows it."""

    @property
    def content_type(self) -> str:
        """The media type of ``text``."""
        ...

    def text(self) -> bytes:
        """Return all numbers, as a collector reads them."""
        ...


class NoMetrics:
    """A ``Metrics`` that keeps nothing: the default."""

    def count(self, name: str, value: int, labels: Mapping[str, str], /) -> None:
        """Keep nothing."""

    def gauge(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Keep nothing."""

    def observe(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Keep nothing."""


# From the time of one commit to that of the longest handlers.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)
_NUMBERS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class OpenTelemetryMetrics:
    """
    A ``Metrics`` that records with OpenTelemetry's API, and so wherever your program's ``MeterProvider`` sends them.

    *provider*: another ``MeterProvider`` than the global one.

    Raises:
        MissingExtraError: opentelemetry-api is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        with require("opentelemetry", extra="otel"):
            from opentelemetry.metrics import get_meter

        meter: Any = get_meter("atom_stripe") if provider is None else provider.get_meter("atom_stripe")
        self._instruments: dict[str, Any] = {name: _made(meter, name, one) for name, one in INSTRUMENTS.items()}

    def count(self, name: str, value: int, labels: Mapping[str, str], /) -> None:
        """Add *value* to a counter."""
        self._instruments[name].add(value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Set a gauge to *value*."""
        self._instruments[name].set(value, labels)

    def observe(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Put *value* into a histogram."""
        self._instruments[name].record(value, labels)


def _made(meter: Any, name: str, one: Instrument) -> Any:
    if one.kind == "histogram":
        buckets = _SECONDS if one.unit == "s" else _NUMBERS
        return meter.create_histogram(name, unit=one.unit, description=one.description, explicit_bucket_boundaries_advisory=buckets)
    make = meter.create_counter if one.kind == "counter" else meter.create_gauge
    return make(name, unit=one.unit, description=one.description)


class PrometheusMetrics:
    """
    A ``Metrics`` that Prometheus collects: ``text()`` is what its collector reads, and the route ``/metrics`` shows it.

    *registry*: where the metrics are registered, such as ``prometheus_client.REGISTRY`` to show them beside your own; one of its own, if left out.

    Each process has its own numbers. Where several processes of one service share a port, set ``PROMETHEUS_MULTIPROC_DIR`` before they start, and
    ``text()`` of any of them has the numbers of all. Source: https://prometheus.github.io/client_python/multiprocess/

    Raises:
        ConfigurationError: *registry* has these metrics already.
        MissingExtraError: prometheus-client is not installed.
    """

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        with require("prometheus_client", extra="prometheus"):
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

        self._content_type = CONTENT_TYPE_LATEST
        self._registry = CollectorRegistry() if registry is None else registry
        try:
            self._instruments = {name: _registered(self._registry, name, one) for name, one in INSTRUMENTS.items()}
        except ValueError as error:
            msg = "this registry has these metrics already: one PrometheusMetrics is enough for all inboxes, managers and routes of a process"
            raise ConfigurationError(msg) from error

    @property
    def content_type(self) -> str:
        """The media type of ``text``."""
        return self._content_type

    def text(self) -> bytes:
        """Return all numbers of the registry in Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = self._registry
        if _MANY in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def count(self, name: str, value: int, labels: Mapping[str, str], /) -> None:
        """Add *value* to a counter."""
        self._of(name, labels).inc(value)

    def gauge(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Set a gauge to *value*."""
        self._of(name, labels).set(value)

    def observe(self, name: str, value: float, labels: Mapping[str, str], /) -> None:
        """Put *value* into a histogram."""
        self._of(name, labels).observe(value)

    def _of(self, name: str, labels: Mapping[str, str]) -> Any:
        found = self._instruments[name]
        return found.labels(**labels) if labels else found


_MANY = "PROMETHEUS_MULTIPROC_DIR"


def _registered(registry: CollectorRegistry, name: str, one: Instrument) -> Any:
    from prometheus_client import Counter, Gauge, Histogram

    made: Any
    if one.kind == "histogram":
        buckets = _SECONDS if one.unit == "s" else _NUMBERS
        made = Histogram(name, one.description, one.labels, registry=registry, buckets=buckets)
    elif one.kind == "counter":
        # The library puts its own _total at the end.
        made = Counter(name.removesuffix("_total"), one.description, one.labels, registry=registry)
    else:
        # Of one store, whose depth every process sees alike.
        made = Gauge(name, one.description, one.labels, registry=registry, multiprocess_mode="mostrecent")
    for value in one.values:
        # From 0 on, or the first one would be no increase, and a share of none no number.
        made.labels(value)
    return made
