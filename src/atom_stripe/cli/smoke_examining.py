"""Goes over every route of a service and says what it found: the whole of ``atom-stripe smoke`` that changes nothing."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from atom_stripe.cli import smoke_judging as judging
from atom_stripe.cli import smoke_probes as probes
from atom_stripe.cli.smoke_report import Check
from atom_stripe.service.routes import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import httpx

    from atom_stripe.cli.smoke_asking import Asker, Reply
    from atom_stripe.cli.smoke_probes import Probe
    from atom_stripe.cli.smoke_report import Report, Result
    from atom_stripe.service import Operation

PARTS = ("client", "oauth", "inbox", "metrics")
_DAY = 24 * 60 * 60
_FEW_DAYS = 14
_ELSEWHERE = "https://elsewhere.example"
_VARIABLES: Mapping[str, str] = {"caller": "STRIPE_SERVICE_TOKEN", "operator": "STRIPE_OPERATOR_TOKEN"}


class Examiner:
    """
    Asks, judges, and writes into *report*. *secrets*: what no answer may show. *require*: the parts whose routes must be there.
    *progress*: is told how many routes are done, and of how many.
    """

    def __init__(self, asker: Asker, report: Report, *, secrets: Collection[str], require: Collection[str]) -> None:
        self.asker = asker
        self.report = report
        self.secrets = tuple(secrets)
        self.require = frozenset(require)
        self.https = urlsplit(report.url).scheme == "https"
        #: The routes that are there, as far as they were asked.
        self.mounted: set[str] = set()
        #: Whether the service works with real money; ``None`` while nothing has said so.
        self.livemode: bool | None = None
        self._offered: frozenset[str] | None = None
        self._ids: dict[str, str] = {}
        self._methods: set[str] = set()
        self._missing: list[tuple[int, Operation]] = []
        self._unread: list[tuple[Check, Operation]] = []

    def reachable(self) -> bool:
        """Ask for the list of routes: what is not in it is not asked. Return whether anything answers at all."""
        reply = self.asker.ask("GET", "/")
        if reply.failure is not None:
            self.note("service", "GET /", "reachable", "failed", reply.failure)
            return False
        content = reply.content
        endpoints = content.get("endpoints") if reply.status == 200 and isinstance(content, dict) else None
        if isinstance(endpoints, dict):
            self._offered = frozenset(map(str, endpoints))
            if strange := sorted(self._offered - {one.name for one in OPERATIONS}):
                known = ", ".join(name for name in strange if name.isidentifier() and len(name) < 60)
                self.note(
                    "service", "GET /", "routes", "warning", f"routes that this version of the command does not know: {known}"
                )
        self.note("service", "GET /", "reachable", "passed", status=reply.status, seconds=reply.seconds)
        return True

    def examine(self, progress: Callable[[int, int], None]) -> None:
        """Ask every route what can be asked without changing anything."""
        self._connection()
        for number, operation in enumerate(OPERATIONS):
            self._route(operation)
            progress(number + 1, len(OPERATIONS))
        self._settle()
        if self.asker.waits:
            told = "the service asked for patience (429), and was given it: limits of the caller or the address"
            self.note("service", "429", "rate limits", "warning", told)

    def catch_up(self) -> None:
        """Read what was not there before something was written."""
        unread, self._unread = self._unread, []
        lists = {
            operation.path: operation for operation in OPERATIONS if operation.method == "GET" and operation.name in self.mounted
        }
        for skipped, operation in unread:
            parent = operation.path.partition("/{")[0]
            if operation.name not in self.mounted or not self.asker.knows("caller"):
                continue
            if parent not in self._ids and parent in lists:
                self._learn(lists[parent], self.asker.ask("GET", parent, who="caller").content)
            probe = probes.reading(operation, self._ids.get(parent))
            if probe is not None:
                self.report.checks.remove(skipped)
                self.judge(operation, skipped.request, probe, self._asked(operation, probe))

    def learned(self, path: str, identity: str) -> None:
        """Remember what was made under *path*."""
        self._ids.setdefault(path, identity)

    def note(self, operation: str, request: str, check: str, result: Result, message: str = "", **facts: Any) -> None:
        """Put one finding into the report."""
        self.report.checks.append(Check(operation=operation, request=request, check=check, result=result, message=message, **facts))

    # Routes.

    def _route(self, operation: Operation) -> None:
        line = f"{operation.method} {operation.path}"
        if self._offered is not None and operation.name not in self._offered:
            self._is_missing(operation, line)
            return
        asked = False
        for probe in self._probes(operation):
            if probe.who is not None and not self.asker.knows(probe.who):
                told = f"{_VARIABLES[probe.who]} is not set"
                self.note(operation.name, line, probe.check, "skipped", told)
                continue
            reply = self._asked(operation, probe)
            if not asked and self._offered is None and _absent(operation, reply):
                self._is_missing(operation, line)
                return
            asked = True
            self.mounted.add(operation.name)
            self.judge(operation, line, probe, reply)

    def _probes(self, operation: Operation) -> Iterator[Probe]:
        yield from probes.refusals_without_token(operation)
        parent = operation.path.partition("/{")[0]
        reading = probes.reading(operation, self._ids.get(parent))
        if reading is not None:
            yield reading
        elif operation.method == "GET":
            self.note(operation.name, f"GET {operation.path}", "answer", "skipped", "there is nothing that could be read")
            self._unread.append((self.report.checks[-1], operation))
        yield from probes.refusals(operation)
        if (vain := probes.in_vain(operation)) is not None:
            yield vain
        if operation.path not in self._methods:
            self._methods.add(operation.path)
            yield probes.another_method(operation)

    def _asked(self, operation: Operation, probe: Probe) -> Reply:
        def ask() -> Reply:
            return self.asker.ask(
                probe.method or operation.method, probe.path, who=probe.who, headers=probe.headers, content=probe.content
            )

        reply = ask()
        if reply.failure is None and reply.seconds > self.report.max_latency:
            # Once is chance: a connection to be made, a cache to be filled. None of these changes anything.
            reply = min(reply, ask(), key=lambda one: (one.failure is not None, one.seconds))
        return reply

    def judge(self, operation: Operation, line: str, probe: Probe, reply: Reply) -> bool:
        """Put what is to be said of *reply* into the report. Return whether it is as it should be."""
        facts = {"status": reply.status or None, "seconds": None if reply.failure else round(reply.seconds, 4)}
        if reply.failure is not None:
            self.note(operation.name, line, probe.check, "failed", reply.failure, **facts)
            return False
        faults = list(judging.leaks(reply, self.secrets))
        excuse = _excuse(operation, probe, reply)
        if excuse is None and not (reply.status == 405 and probe.method):
            # What no route answers is the framework's to answer.
            faults += judging.unsafe(reply, https=self.https)
        if reply.status not in probe.expected and excuse is None:
            faults.append(f"{' or '.join(map(str, probe.expected))} was expected{_aside(probe, reply)}")
        elif excuse is None and (probe.refused or reply.is_problem):
            faults += judging.problem(reply)
            faults += _names(probe, reply)
        elif excuse is None and probe.method is None:
            faults += self._content(operation, reply)
        if reply.seconds > self.report.max_latency:
            faults.append(f"it took {reply.seconds:.2f} s, and {self.report.max_latency:g} s are allowed")
        if faults:
            self.note(operation.name, line, probe.check, "failed", "; ".join(faults), **facts)
        else:
            self.note(operation.name, line, probe.check, "warning" if excuse else "passed", excuse or "", **facts)
        return not faults and excuse is None

    def _content(self, operation: Operation, reply: Reply) -> Iterator[str]:
        if reply.status != operation.status:
            if not reply.headers.get("location"):
                yield "it leads elsewhere, and does not say where"
            return
        wanted = operation.media_type.partition(";")[0]
        if reply.media_type != wanted:
            yield f"it is {reply.media_type or 'of no type'} and no {wanted}"
        elif wanted == "application/json":
            content = reply.content
            if operation.schema is not None:
                yield from judging.shape(content, operation.schema)
            self._learn(operation, content)

    def _learn(self, operation: Operation, content: Any) -> None:
        """Remember what can be named in the next questions, and which mode this is."""
        if not isinstance(content, dict):
            return
        listed = content.get("data")
        first = listed[0] if isinstance(listed, list) and listed else None
        if isinstance(first, dict) and isinstance(first.get("id"), str) and first["id"].replace("_", "").isalnum():
            self._ids.setdefault(operation.path, first["id"])
        for one in (content, first):
            if isinstance(one, dict) and isinstance(one.get("livemode"), bool):
                self.livemode = bool(self.livemode) or one["livemode"]

    # What is not there.

    def _is_missing(self, operation: Operation, line: str) -> None:
        self._missing.append((len(self.report.checks), operation))
        self.note(operation.name, line, "mounted", "skipped", "not mounted")

    def _settle(self) -> None:
        """A route may be missing with all of its part. Where others of the part are there, something stands in its way."""
        groups = {(one.part, one.access == "operator") for one in OPERATIONS if one.name in self.mounted}
        for place, operation in self._missing:
            there = (operation.part, operation.access == "operator") in groups or (
                operation.part is None and operation.access == "open"
            )
            if operation.part in self.require or (there and self._offered is None):
                told = "not mounted" + (", unlike others of its part" if there else ", and it is required")
            elif there:
                # The service says itself that it has none: it is of another version.
                told = "not mounted, unlike others of its part: is the service of an older version?"
            else:
                continue
            failed = operation.part in self.require or self._offered is None
            old = self.report.checks[place]
            self.report.checks[place] = Check(
                operation=old.operation,
                request=old.request,
                check=old.check,
                result="failed" if failed else "warning",
                message=told,
            )
        if not self.mounted:
            self.note("service", "*", "mounted", "failed", f"no route of atom-stripe is at {self.report.prefix}: see --prefix")

    # The way there.

    def _connection(self) -> None:
        reply = self.asker.ask("GET", "/", headers={"origin": _ELSEWHERE})
        allowed = reply.headers.get("access-control-allow-origin", "")
        if allowed == _ELSEWHERE:
            self.note("service", "GET /", "other origins", "failed", "pages of any other site may read the answers")
        elif allowed == "*":
            self.note("service", "GET /", "other origins", "warning", "pages of all sites may read what needs no cookie")
        else:
            self.note("service", "GET /", "other origins", "passed")
        if self.https and self.asker.connection is not None:
            self._certificate(**self.asker.connection)

    def _certificate(self, version: str | None, certificate: Mapping[str, Any]) -> None:
        fine = version in {"TLSv1.2", "TLSv1.3"}
        self.note("service", "TLS", "version", "passed" if fine else "failed", str(version))
        with suppress(KeyError, ValueError):
            days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / _DAY
            self.note(
                "service",
                "TLS",
                "certificate",
                "passed" if days > _FEW_DAYS else "warning",
                f"it ends in {days:.0f} days",
            )


def plain_http(report: Report, client: httpx.Client) -> Check | None:
    """Return whether a service at https leaves plain http to nobody; ``None`` where it has no usual port."""
    from atom_stripe.cli.smoke_asking import Asker

    parts = urlsplit(report.url)
    if parts.scheme != "https" or parts.port not in {None, 443}:
        return None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    reply = Asker(client, f"http://{host}{parts.path}{report.prefix}", {}).ask("GET", "/")
    leads = 300 <= reply.status < 400 and reply.headers.get("location", "").lower().startswith("https://")
    fine = reply.failure is not None or leads
    return Check(
        operation="service",
        request="GET http://",
        check="plain http",
        result="passed" if fine else "failed",
        message="nothing answers" if reply.failure else "" if leads else "it is answered, and not sent to https://",
        status=reply.status or None,
    )


def _absent(operation: Operation, reply: Reply) -> bool:
    """Return whether the framework answered that there is no such route, and not the route that there is no such object."""
    return reply.status in {404, 405} and (not reply.is_problem or (operation.access != "signed" and "{" not in operation.path))


def _excuse(operation: Operation, probe: Probe, reply: Reply) -> str | None:
    """Return why an answer that is not quite the expected one may be right."""
    if reply.status == 413 and not reply.is_problem:
        return "something before the service refused it, with a smaller limit"
    known = probe.who not in {None, "stranger"}
    # Such as the PDF of a draft.
    beneath = probe.check == "answer" and operation.path.rpartition("/")[2] != "{id}" and reply.is_problem
    reasons = (
        (reply.status == 429, "the service has had too many requests, so this could not be looked at"),
        (
            operation.access == "signed" and reply.status == 404 and reply.kind == "not_found",
            "each endpoint has a path of its own here: see --webhook-endpoint",
        ),
        (
            known and reply.status == 409 and reply.kind == "not_connected",
            "the user of STRIPE_SERVICE_TOKEN has no connection to Stripe, so this could not be looked at",
        ),
        (known and reply.status == 409 and beneath, "the first one in the list has none"),
        (
            known and operation.access == "operator" and reply.status == 403,
            "the token is no operator's: see STRIPE_OPERATOR_TOKEN",
        ),
    )
    return None if reply.status in probe.expected else next((reason for applies, reason in reasons if applies), None)


def _aside(probe: Probe, reply: Reply) -> str:
    if reply.status == 401 and probe.who not in {None, "stranger"}:
        return ": the service does not accept the token"
    if probe.who is None and probe.expected == (401,):
        return ": it is open to everybody" if reply.status < 500 else ""
    if reply.kind.isascii() and reply.kind.replace("_", "").isalpha():
        return f", and it is {reply.kind}"
    return ""


def _names(probe: Probe, reply: Reply) -> Iterator[str]:
    if probe.kind is not None and reply.is_problem and reply.kind != probe.kind:
        yield f"the problem is not {probe.kind}"
    if probe.named is None:
        return
    content = reply.content
    errors = content.get("errors") if isinstance(content, dict) else None
    named = (
        {one.get("pointer", one.get("parameter")) for one in errors if isinstance(one, dict)} if isinstance(errors, list) else set()
    )
    if probe.named not in named:
        yield f"the problem does not say that {probe.named} is wrong"
