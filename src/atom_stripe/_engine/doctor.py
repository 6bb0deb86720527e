"""What is wrong between the endpoints that Stripe has and the handlers that we have. Nothing here asks anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from atom_stripe._engine.inbox.reading import major
from atom_stripe.config import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from atom_stripe._engine.endpoint_values import RegisteredEndpoint

FindingCode = Literal[
    "no_endpoint",
    "disabled",
    "not_subscribed",
    "not_handled",
    "other_version",
    "mode_mismatch",
    "mixed_modes",
    "no_connect_endpoint",
    "insecure_url",
    "doubled",
    "unfinished_roll_over",
    "thin_events",
    "unknown_accounts",
]

# Types that arise in connected accounts alone. Source: https://docs.stripe.com/connect/webhooks
_OF_CONNECTED = frozenset(
    {
        "account.application.authorized",
        "account.application.deauthorized",
        "capability.updated",
        "person.created",
        "person.deleted",
        "person.updated",
    }
)
_THIN = ("v1.", "v2.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    Something that is wrong, or that may be. *problem*: events are lost or misread for it; otherwise it may be meant so. *message*: what it is, in a
    sentence. *remedy*: what mends it. *endpoint*: the id of the endpoint in question.
    """

    code: FindingCode
    problem: bool
    message: str
    remedy: str
    endpoint: str | None = None

    def __str__(self) -> str:
        return f"{'problem' if self.problem else 'note'}: {self.message} -> {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """
    What is examined. *handlers*: the patterns of each handler by its name, ``None`` if they are not known. *connect*: whether events of connected
    accounts are wanted, ``None`` if only the types say. *inbox_livemode*: the mode of the inbox, ``None`` for both.
    """

    endpoints: Sequence[RegisteredEndpoint]
    handlers: Mapping[str, tuple[str, ...]] | None
    url: str | None
    connect: bool | None
    livemode: bool
    inbox_livemode: bool | None


def diagnose(patient: Patient) -> tuple[Finding, ...]:
    """Return what is wrong, the problems first."""
    found = [finding for check in _CHECKS for finding in check(patient)]
    return tuple(sorted(found, key=lambda finding: not finding.problem))


def _at_url(patient: Patient) -> list[RegisteredEndpoint]:
    return [one for one in patient.endpoints if patient.url is None or one.url == patient.url]


def _listening(patient: Patient, *, connect: bool | None = None) -> list[RegisteredEndpoint]:
    """Return the enabled endpoints in question; with *connect*, those that are or may be of this kind."""
    return [one for one in _at_url(patient) if one.enabled and (connect is None or one.connect in {None, connect})]


def _modes(patient: Patient) -> Iterator[Finding]:
    mode = _mode(patient.livemode)
    if patient.inbox_livemode not in {None, patient.livemode}:
        yield Finding(
            code="mode_mismatch",
            problem=True,
            message=f"the client's key is of {mode} mode, and the inbox discards the events of that mode",
            remedy=f"InboxConfig(livemode={patient.livemode}), or a client with a key of {_mode(not patient.livemode)} mode",
        )
    for one in _at_url(patient):
        if one.livemode != patient.livemode:
            yield Finding(
                code="mode_mismatch",
                problem=True,
                message=f"{one.id} is of {_mode(one.livemode)} mode, and the client's key of {mode} mode",
                remedy="ensure() with a key of the mode that is meant: each mode has its own endpoints and secrets",
                endpoint=one.id,
            )
        if one.enabled and one.connect and one.livemode and patient.inbox_livemode is None:
            yield Finding(
                code="mixed_modes",
                problem=False,
                message=f"{one.id} gets the test events of connected accounts too, and the inbox handles both modes",
                remedy="InboxConfig(livemode=True) sets test events aside",
                endpoint=one.id,
            )


def _urls(patient: Patient) -> Iterator[Finding]:
    if not _at_url(patient):
        where = f"at {patient.url}" if patient.url else f"in {_mode(patient.livemode)} mode"
        yield Finding(
            code="no_endpoint",
            problem=True,
            message=f"Stripe has no webhook endpoint {where}, so nothing is delivered",
            remedy="endpoints.ensure(url, events)",
        )
    for one in _at_url(patient):
        if one.livemode and one.url.startswith("http://"):
            yield Finding(
                code="insecure_url",
                problem=True,
                message=f"{one.id} has an http:// URL, and Stripe delivers live events to https:// only",
                remedy=f"endpoints.update({one.id!r}, url='https://…')",
                endpoint=one.id,
            )
        if not one.enabled and not any(other.replaces == one.id for other in patient.endpoints):
            yield Finding(
                code="disabled",
                problem=True,
                message=f"{one.id} is disabled, by somebody or by Stripe after days of failures: it gets nothing",
                remedy=f"endpoints.enable({one.id!r}), then inbox.reconcile() for what it missed",
                endpoint=one.id,
            )


def _pairs(patient: Patient) -> Iterator[Finding]:
    """Endpoints that deliver the same twice."""
    listening = _listening(patient)
    for number, one in enumerate(listening):
        for other in listening[number + 1 :]:
            if one.url != other.url or one.connect != other.connect or one.connect is None:
                continue
            if other.id == one.replaces or one.id == other.replaces:
                new = one if one.replaces == other.id else other
                yield Finding(
                    code="unfinished_roll_over",
                    problem=False,
                    message=f"{new.id} is to replace {new.replaces}, and both are alive: every event comes twice and is stored once",
                    remedy=f"endpoints.finish_roll_over({new.id!r}, inbox=inbox)",
                    endpoint=new.id,
                )
            else:
                yield Finding(
                    code="doubled",
                    problem=False,
                    message=f"{one.id} and {other.id} are at one URL for the same accounts: events that both want come twice",
                    remedy="endpoints.delete() for one of them, once its secret is no longer used",
                    endpoint=one.id,
                )


def _versions(patient: Patient) -> Iterator[Finding]:
    for one in _listening(patient):
        # Of an account's own version Stripe tells nothing here.
        if one.api_version is not None and major(one.api_version) != major(API_VERSION):
            yield Finding(
                code="other_version",
                problem=False,
                message=f"{one.id} writes events in the API version {one.api_version}, and this package is made for {API_VERSION}",
                remedy=f"endpoints.roll_over({one.id!r}), or handlers with versions='refetch'",
                endpoint=one.id,
            )


def _accounts(patient: Patient) -> Iterator[Finding]:
    listening = _listening(patient)
    unknown = [one for one in listening if one.connect is None]
    if patient.connect is not None:
        for one in unknown:
            yield Finding(
                code="unknown_accounts",
                problem=False,
                message=f"{one.id} was made elsewhere, and Stripe does not say whether it is for connected accounts",
                remedy=f"endpoints.ensure(…, connect=…, adopt={one.id!r})",
                endpoint=one.id,
            )
    handlers = patient.handlers or {}
    wanted = sorted(pattern for patterns in handlers.values() for pattern in patterns if pattern in _OF_CONNECTED)
    if (patient.connect or (patient.connect is None and wanted)) and listening and not _listening(patient, connect=True):
        what = f"{', '.join(wanted)} arise" if wanted else "events of your users' accounts arise"
        yield Finding(
            code="no_connect_endpoint",
            problem=True,
            message=f"{what} in connected accounts, and no endpoint gets the events of those",
            remedy="endpoints.ensure(url, events, connect=True)",
        )


def _types(patient: Patient) -> Iterator[Finding]:
    if patient.handlers is None:
        return
    listening = _listening(patient)
    subscribed = {event for one in listening for event in one.enabled_events}
    for name, patterns in patient.handlers.items():
        thin = sorted(pattern for pattern in patterns if pattern.startswith(_THIN))
        if thin:
            yield Finding(
                code="thin_events",
                problem=False,
                message=f"the handler {name} wants thin events ({', '.join(thin)}), which webhook endpoints do not get",
                remedy="an event destination with thin payloads, in the Dashboard or by stripe.v2.core.event_destinations",
            )
        missing = sorted(pattern for pattern in patterns if not pattern.startswith(_THIN) and not _covered(pattern, subscribed))
        if missing and listening:
            yield Finding(
                code="not_subscribed",
                problem=True,
                message=f"the handler {name} waits for {', '.join(missing)}, and no endpoint is subscribed to that",
                remedy="endpoints.ensure(url, events) with these types too, then inbox.reconcile()",
            )
    everything = {pattern for wanted in patient.handlers.values() for pattern in wanted}
    for one in listening:
        if "*" in one.enabled_events:
            unhandled = "every type" if "*" not in everything else ""
        else:
            unhandled = ", ".join(event for event in one.enabled_events if not _wanted(event, everything))
        if unhandled:
            yield Finding(
                code="not_handled",
                problem=False,
                message=f"{one.id} is subscribed to {unhandled}, and no handler wants {'most of it' if unhandled == 'every type' else 'that'}",
                remedy=f"endpoints.update({one.id!r}, events=[…]) with what is handled, or a handler",
                endpoint=one.id,
            )


def _covered(pattern: str, subscribed: set[str]) -> bool:
    """Return whether an endpoint is subscribed to some of what *pattern* means."""
    if "*" in subscribed or pattern in subscribed:
        return True
    if pattern == "*":
        return bool(subscribed)
    return pattern.endswith(".*") and any(event.startswith(pattern[:-1]) for event in subscribed)


def _wanted(event: str, patterns: set[str]) -> bool:
    return any(pattern in {"*", event} or (pattern.endswith(".*") and event.startswith(pattern[:-1])) for pattern in patterns)


def _mode(livemode: bool) -> str:  # noqa: FBT001 - it is what is named
    return "live" if livemode else "test"


_CHECKS = (_urls, _modes, _accounts, _types, _versions, _pairs)
