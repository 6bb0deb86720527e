"""
What an inbox does and how it is, as numbers.

    inbox = WebhookInbox(verifier, store, metrics=OpenTelemetryMetrics())

A ``Metrics`` of your own takes them anywhere else. ``INSTRUMENTS`` lists all there are. Labels have few values: no id of an account, an event or an
object is one, and types of events are those that handlers were registered for; the others are ``"other"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from atom_stripe._extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INSTRUMENTS", "Instrument", "Metrics", "NoMetrics", "OpenTelemetryMetrics"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric. *unit*: in the notation of UCUM: ``s`` for seconds, ``{event}`` for a number of events."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()


INSTRUMENTS: Mapping[str, Instrument] = {
    "atom_stripe_webhook_received_total": Instrument(
        "counter", "{delivery}", "Deliveries, by what became of them: stored, duplicate, requeued, refused, busy.", ("result",)
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
