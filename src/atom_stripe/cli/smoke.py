"""``atom-stripe smoke``: whether a service that runs answers as it should, and refuses what it should."""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from atom_stripe._extras import require
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import emit, note, progress
from atom_stripe.cli.smoke_report import Report
from atom_stripe.config import is_finite
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe.cli.smoke_asking import Who

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where the service is, without the prefix: https://shop.example")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="PATH", help="Under which path its routes are mounted.")]

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_LOCAL = {"localhost", "127.0.0.1", "::1"}
# Nobody has this one.
_STRANGER = "smoke.nobody.has.this"


def smoke(
    url: Url,
    *,
    prefix: Prefix = "/api/v1/stripe",
    max_latency: Annotated[
        float, typer.Option("--max-latency", metavar="SECONDS", help="How long an answer may take; a slow one is asked for again.")
    ] = 2.0,
    require_: Annotated[
        str | None,
        typer.Option(
            "--require", metavar="PARTS", help="Whose routes must be there: of client,oauth,inbox,metrics, with commas between."
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also make a customer, a product, a payment, a refund and the like, in test mode.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="With --write: also in live mode, where nothing is charged.")] = False,
    webhook: Annotated[bool, typer.Option("--webhook", help="Also deliver an event, signed with STRIPE_WEBHOOK_SECRET.")] = False,
    webhook_endpoint: Annotated[
        str | None, typer.Option("--webhook-endpoint", metavar="NAME", help="With --webhook: which of several endpoints.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write the report as JUnit XML.")] = None,
    json: Json = False,
) -> None:
    """
    Ask a running service for everything, and try what it must refuse. Exits with 1 if something is not as it should be.

    It only reads, and what it tries to write is refused by every service that works; --write and --webhook write more. The bearer token comes
    from STRIPE_SERVICE_TOKEN, and one for operators' routes from STRIPE_OPERATOR_TOKEN, if that is another.
    """
    report = Report(url=base_url(url), prefix=checked_prefix(prefix), max_latency=max_latency)
    if not is_finite(max_latency):
        msg = "--max-latency is a number of seconds"
        raise ConfigurationError(msg)
    parts = _parts(require_)
    secrets = _webhook_secrets() if webhook else []
    if not webhook and webhook_endpoint is not None:
        msg = "--webhook-endpoint goes with --webhook"
        raise ConfigurationError(msg)
    if webhook_endpoint is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", webhook_endpoint):
        msg = "--webhook-endpoint is the name of an endpoint: letters, digits, _ and -"
        raise ConfigurationError(msg)
    if live and not write:
        msg = "--live goes with --write"
        raise ConfigurationError(msg)
    if junit is not None and not junit.absolute().parent.is_dir():
        msg = f"there is no folder {junit.absolute().parent}"
        raise ConfigurationError(msg)
    _examined(report, parts, secrets, write=write, live=live, endpoint=webhook_endpoint)
    if junit is not None:
        report.write_junit(junit)
    if json:
        emit(report.document())
    else:
        report.show()
    if not report.ok:
        first = next(check for check in report.checks if check.result == "failed")
        note(f"error: {first.request}: {first.check}: {first.message}")
        raise typer.Exit(1)


def base_url(url: str) -> str:
    """
    Return *url* without a slash at its end.

    Raises:
        ConfigurationError: It is no URL of a service, or a token would go over the network in the clear.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.query or parts.fragment:
        msg = "--url is where the service is, such as https://shop.example"
        raise ConfigurationError(msg)
    if parts.username is not None or parts.password is not None:
        msg = "everybody on this machine can read the arguments of a command: give --url without a name and a password"
        raise ConfigurationError(msg)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        msg = "anybody on the way could read the token: --url begins with https://, except on this machine"
        raise ConfigurationError(msg)
    return url.rstrip("/")


def checked_prefix(prefix: str) -> str:
    """
    Return *prefix* without a slash at its end.

    Raises:
        ConfigurationError: It is no path.
    """
    if prefix.strip("/") and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", prefix):
        msg = "--prefix is a path, such as /api/v1/stripe"
        raise ConfigurationError(msg)
    return prefix.rstrip("/")


def tokens() -> dict[Who, str]:
    """
    Return the bearer tokens of the environment, by whose they are.

    Raises:
        ConfigurationError: One is none.
    """
    found: dict[Who, str] = {}
    pairs: Mapping[Who, Sequence[str]] = {
        "caller": ("STRIPE_SERVICE_TOKEN",),
        "operator": ("STRIPE_OPERATOR_TOKEN", "STRIPE_SERVICE_TOKEN"),
    }
    for who, names in pairs.items():
        for name in names:
            if token := os.environ.get(name, "").strip():
                if not _TOKEN.fullmatch(token):
                    msg = f"{name} is no bearer token"
                    raise ConfigurationError(msg)
                found[who] = token
                break
    return found


def _parts(text: str | None) -> frozenset[str]:
    from atom_stripe.cli.smoke_examining import PARTS

    found = frozenset(part.strip() for part in (text or "").split(",") if part.strip())
    if strange := sorted(found - set(PARTS)):
        msg = f"--require takes {', '.join(PARTS)}, and not {strange[0]!r}"
        raise ConfigurationError(msg)
    return found


def _webhook_secrets() -> list[str]:
    found = [secret.strip() for secret in os.environ.get("STRIPE_WEBHOOK_SECRET", "").split(",") if secret.strip()]
    if not found:
        msg = "--webhook signs an event: set STRIPE_WEBHOOK_SECRET"
        raise ConfigurationError(msg)
    return found


def _examined(report: Report, parts: frozenset[str], secrets: list[str], *, write: bool, live: bool, endpoint: str | None) -> None:
    from atom_stripe.cli import smoke_asking, smoke_examining, smoke_writes

    known = tokens()
    with smoke_asking.new_client() as client, progress("asking") as told:
        asker = smoke_asking.Asker(client, report.url + report.prefix, {**known, "stranger": _STRANGER})
        examiner = smoke_examining.Examiner(asker, report, secrets=[*known.values(), *secrets], require=parts)
        try:
            if not examiner.reachable():
                return
            if write and not live:
                smoke_writes.check_mode(asker)
            examiner.examine(told)
            if write:
                smoke_writes.Writer(examiner, live=live).write()
            if secrets:
                smoke_writes.deliver(examiner, secrets, endpoint=endpoint)
            if (check := smoke_examining.plain_http(report, client)) is not None:
                report.checks.append(check)
        except smoke_asking.AwayError as error:
            examiner.note(
                "service", "*", "reachable", "failed", f"the service has stopped answering, and the rest was not asked: {error}"
            )
