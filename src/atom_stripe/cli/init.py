"""``atom-stripe init``: from nothing to a service that can be started."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from atom_stripe._extras import require
from atom_stripe.cli import environment, init_values, settings
from atom_stripe.cli.init_values import CALLBACK, Values
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads it
from atom_stripe.cli.output import emit, note, say
from atom_stripe.cli.sandbox import PORT
from atom_stripe.config import RetryPolicy, StripeConfig
from atom_stripe.errors import AtomStripeError, AuthenticationError, ConfigurationError, PermissionDeniedError
from atom_stripe.service.settings import CONNECT_EVENTS, EVENTS, PREFIX

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe.client import StripeClient

WEBHOOKS = f"{PREFIX}/webhooks"
_LOCAL = "http://127.0.0.1:8000"
_ADDRESS = "Address of the service, as Stripe sees it (https://…; empty if there is none yet)"
_QUICK = RetryPolicy(attempts=2, deadline=30.0)
_TIMEOUT = 15.0


def _refused(variable: str) -> Any:
    def refuse(value: str | None) -> None:
        if value is not None:
            msg = (
                f"no secret is an argument of a command: everybody on this machine can read those, and your shell keeps them. Set {variable} in the "
                "environment, give it with --stdin, or type it in when you are asked. If it is a key of live mode, roll it in the Dashboard now"
            )
            raise ConfigurationError(msg)

    return refuse


def _secret(option: str, variable: str) -> Any:
    return typer.Option(option, hidden=True, callback=_refused(variable), help=f"Refused: {variable} in the environment.")


def init(
    *,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ca_…", help="Of your Connect platform.")] = None,
    redirect_uri: Annotated[
        str | None,
        typer.Option("--redirect-uri", metavar="URL", help="Where Stripe sends users back to, as registered with Stripe."),
    ] = None,
    publishable_key: Annotated[str | None, typer.Option("--publishable-key", metavar="pk_…", help="For browsers.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where the service will be, as Stripe sees it: https://shop.example")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            show_default="sqlite:///stripe.db",
            help="sqlite:///path or postgresql://host/name. One with a password goes into DATABASE_URL.",
        ),
    ] = None,
    client_secret: Annotated[str | None, _secret("--client-secret", "STRIPE_CLIENT_SECRET")] = None,
    secret_key: Annotated[str | None, _secret("--secret-key", "STRIPE_SECRET_KEY")] = None,
    webhook_secret: Annotated[str | None, _secret("--webhook-secret", "STRIPE_WEBHOOK_SECRET")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read settings from stdin, NAME=value, one a line.")] = False,
    from_env: Annotated[
        bool, typer.Option("--from-env", help="Ask nothing: what is missing in the environment is missing.")
    ] = False,
    env_file: Annotated[
        Path, typer.Option("--env-file", metavar="FILE", help="Where the settings are kept.")
    ] = environment.DEFAULT,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Settings for a Stripe that runs on this machine: no account is needed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace settings that the file has already. Keys are never replaced.")
    ] = False,
    json: Json = False,
) -> None:
    """
    Make all that the service needs: its settings in .env, its keys, the tables, and the webhook endpoint at Stripe.

    Secrets come from the environment (STRIPE_SECRET_KEY, STRIPE_CLIENT_SECRET, STRIPE_WEBHOOK_SECRET, DATABASE_URL), from stdin or from prompts.
    Run it again whenever you like: what is there stays.
    """
    del client_secret, secret_key, webhook_secret
    flags = {
        "STRIPE_CLIENT_ID": client_id or "",
        "STRIPE_REDIRECT_URI": redirect_uri or "",
        "STRIPE_PUBLISHABLE_KEY": publishable_key or "",
        "DATABASE_URL": settings.database_url(database_url) if database_url else "",
    }
    ask = not (stdin or from_env or sandbox or json) and sys.stdin.isatty()
    if ask and url is None:
        url = typer.prompt(_ADDRESS, default="", show_default=False, err=True) or None
    base = _base(url)
    with _stripe_of(env_file, flags, sandbox=sandbox) as (flags, served):
        values = init_values.gathered(env_file, flags, from_stdin=stdin, ask=ask, force=force, url=base)
        values.make_keys()
        config = init_values.check(values.all)
        done = _Done(values)
        done.run(config.with_settings(timeout=_TIMEOUT, retry=_QUICK, **served), base, sandbox=sandbox)
    if json:
        emit(done.told)
    else:
        done.say()
    if done.problems:
        raise typer.Exit(1)


@dataclass(slots=True)
class _Done:
    """What was done, step by step, so that it can be told."""

    values: Values
    livemode: bool = False
    account: str | None = None
    revision: str | None = None
    upgraded: bool = False
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)

    def run(self, config: StripeConfig, url: str | None, *, sandbox: bool) -> None:
        from atom_stripe.client import StripeClient

        self.livemode = config.livemode
        elsewhere = [name for name, value in self.values.all.items() if os.environ.get(name, value) != value]
        if elsewhere:
            self.notes.append(
                f"The environment has another {', '.join(elsewhere)}, and comes first: unset it before you start the service."
            )
        with StripeClient(config=config) as client:
            self._ask(client)
            self._write()
            self._upgrade()
            if sandbox:
                self.next = [f"atom-stripe sandbox --deliver-to {_LOCAL}{WEBHOOKS}", "atom-stripe serve"]
                return
            self.next = ["atom-stripe serve"]
            if self.values.all.get("STRIPE_WEBHOOK_SECRET"):
                return
            if url is None or not _is_public(url):
                self.notes.append(
                    "No webhook endpoint was made, because Stripe reaches public https addresses alone: run this again with --url, or put what "
                    "`stripe listen` prints into STRIPE_WEBHOOK_SECRET."
                )
                return
            self._endpoint(client, url, EVENTS, connect=False)
            if self.values.all.get("STRIPE_CLIENT_ID") and not self.problems:
                self._endpoint(client, url, CONNECT_EVENTS, connect=True)

    def _ask(self, client: StripeClient) -> None:
        try:
            self.account = client.accounts.retrieve_current().id
        except AuthenticationError:
            # Not in Stripe's words, which hold parts of the key.
            msg = "Stripe does not accept STRIPE_SECRET_KEY: put in the one that the Dashboard shows, under Developers, API keys"
            raise ConfigurationError(msg) from None
        except PermissionDeniedError:
            self.notes.append("The key is a restricted one, which may not say whose it is. Stripe accepts it.")

    def _write(self) -> None:
        path = self.values.path
        if self.values.new or not path.exists() or environment.open_to_others(path):
            environment.write(path, self.values.new)
        self.written = sorted(self.values.new)

    def _upgrade(self) -> None:
        from atom_stripe.stores import sql
        from atom_stripe.stores.original import holds_original

        database = self.values.all["DATABASE_URL"]
        self.upgraded = bool(sql.upgrade(database))
        self.revision = sql.current(database)
        if holds_original(database):
            self.notes.append("There are tokens in plaintext from before. Run: atom-stripe connections import")

    def _endpoint(self, client: StripeClient, url: str, events: tuple[str, ...], *, connect: bool) -> None:
        from atom_stripe.endpoints import WebhookEndpoints

        try:
            made = WebhookEndpoints(client).ensure(url + WEBHOOKS, events, connect=connect)
        except AtomStripeError as error:
            again = f"atom-stripe endpoints create {url + WEBHOOKS}{' --connect' if connect else ''} --enabled-events {','.join(events)}"
            self.problems.append(f"The webhook endpoint could not be made: {error}. Everything else is done. Make it with: {again}")
            return
        if made.secret is None:
            self.problems.append(
                f"{made.endpoint.id} is at this URL already, and its signing secret is not known here: Stripe showed it when it was made. Put it "
                f"into STRIPE_WEBHOOK_SECRET, or run `atom-stripe endpoints delete {made.endpoint.id}` and then this again."
            )
            return
        # At once: Stripe does not show it again.
        known = self.values.all.get("STRIPE_WEBHOOK_SECRET", "")
        self.values.new["STRIPE_WEBHOOK_SECRET"] = ",".join(filter(None, (known, made.secret.get_secret_value())))
        self._write()
        self.endpoints.append(
            {"id": made.endpoint.id, "url": made.endpoint.url, "connect": connect, "enabled_events": list(events)}
        )

    @property
    def told(self) -> dict[str, Any]:
        """What was done, for programs."""
        return {
            "ok": not self.problems,
            "env_file": str(self.values.path),
            "written": self.written,
            "kept": sorted(self.values.kept.keys() - self.values.new.keys()),
            "mode": "live" if self.livemode else "test",
            "account": self.account,
            "revision": self.revision,
            "endpoints": self.endpoints,
            "problems": self.problems,
            "notes": self.notes,
            "next": self.next,
        }

    def say(self) -> None:
        """Print what was done, for people."""
        mode = "live" if self.livemode else "test"
        say(f"Stripe    {self.account or 'an account'}, in {mode} mode")
        say(f"{self.values.path}      {'wrote ' + ', '.join(self.written) if self.written else 'nothing changed'}")
        say(f"tables    {'upgraded to' if self.upgraded else 'up to date at'} {self.revision}")
        for one in self.endpoints:
            whose = "connected accounts" if one["connect"] else "your account"
            say(f"webhooks  {one['id']} at {one['url']}, {len(one['enabled_events'])} types of events of {whose}")
        for text in (*self.notes, *self.problems):
            note(text)
        if _is_tracked(self.values.path):
            note(f"{self.values.path} holds secrets: add it to .gitignore")
        for number, command in enumerate(self.next):
            note(f"{'In another terminal' if number else 'Next'}: {command}")


@contextmanager
def _stripe_of(env_file: Path, flags: dict[str, str], *, sandbox: bool) -> Generator[tuple[dict[str, str], dict[str, str]]]:
    """Yield the settings that come before all others, and where Stripe is while they are looked at."""
    if not sandbox:
        yield flags, {}
        return
    from atom_stripe.testing import StripeSandbox

    kept = environment.read(env_file) if env_file.exists() else {}
    here = f"http://127.0.0.1:{PORT}"
    with StripeSandbox() as stripe, stripe.serve() as server:
        made = {
            "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}",
            "STRIPE_PUBLISHABLE_KEY": f"pk_test_{secrets.token_hex(16)}",
            "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        }
        if kept.get("STRIPE_API_BASE") == here:
            # Of a run before this one.
            made = {name: kept.get(name) or value for name, value in made.items()}
        made |= {
            "STRIPE_CLIENT_ID": stripe.oauth.client_id,
            "STRIPE_REDIRECT_URI": flags["STRIPE_REDIRECT_URI"] or _LOCAL + CALLBACK,
            "STRIPE_API_BASE": here,
            "STRIPE_CONNECT_BASE": here,
        }
        yield {**flags, **made}, {"api_base": server.url, "connect_base": server.url}


def _base(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        msg = "--url is the address of the service, such as https://shop.example"
        raise ConfigurationError(msg)
    return url.rstrip("/").removesuffix(WEBHOOKS).removesuffix(PREFIX)


def _is_public(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host


def _is_tracked(path: Path) -> bool:
    """Return whether git would take *path* along, as far as the files beside it tell."""
    folder = path.resolve().parent
    root = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)
    if root is None:
        return False
    ignored = [one / ".gitignore" for one in (folder, root)]
    lines = {
        line.strip().lstrip("/") for file in ignored if file.is_file() for line in file.read_text("utf-8", "replace").splitlines()
    }
    return not lines & {path.name, "*.env", ".env*", ".env.*"}
